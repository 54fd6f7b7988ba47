"""Backpropagation with mistakes in it: the textbook's pass, in which any of the stages may go wrong.

`WrongPass` gives the gradient of a layer for a set of changes. It works from the output down and keeps what it made,
so asking for the same pass with another mistake further down costs only what lies below.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.stages import (
    Back,
    Backward,
    Change,
    Error,
    Examples,
    Hidden,
    Output,
    Previous,
    Reading,
    Slope,
    Targets,
    Terms,
    Total,
)
from tinygrad_fnn.check.textbook import DERIVATIVE, ERROR, OUTPUT, Trace, trace_of

__all__ = ["Changes", "WrongPass", "active"]

Changes = tuple[Change, ...]

# What may be kept of earlier passes, in bytes for each kind of array.
MEMORY = 100e6

Value = TypeVar("Value")


def active(changes: Iterable[Change], layer: int) -> Changes:
    """What of `changes` spoils the gradient of `layer`, in the order of the stages; within a stage the order stays."""
    return tuple(sorted((c for change in changes if (c := change.at(layer))), key=lambda c: c.mistake.stage))


class Kept(Generic[Value]):
    """What was made lately, of about `size` numbers each. It holds no reference to its maker, so it goes with it."""

    def __init__(self, size: int) -> None:
        self._most = int(min(max(MEMORY / (8 * size), 8), 20000))
        self._values: dict[Hashable, Value] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What is kept for `key`, or made now."""
        if key in self._values:
            value = self._values.pop(key)
        else:
            value = make()
            if len(self._values) >= self._most:
                self._values.pop(next(iter(self._values)))
        self._values[key] = value  # the latest use is last
        return value


class WrongPass:
    """Gradients of a problem with mistakes made on the way.

    Parameters
    ----------
    problem : Problem
        What the gradient is taken of.
    given : sequence of L arrays, shape (out, in + 1)
        The learner's gradient, for mistakes that use a gradient once more.
    """

    def __init__(self, problem: Problem, given: Sequence[Float]) -> None:
        self.problem = problem
        self.given = given
        units = max(len(theta) for theta in problem.thetas)
        weights = max(theta.size for theta in problem.thetas)
        self._traces = Kept[Trace](2 * problem.m * sum(len(theta) for theta in problem.thetas))
        self._deltas = Kept[Float](problem.m * units)
        self._terms = Kept[Float](weights)

    def gradient(self, layer: int, changes: Changes) -> Float:
        """The gradient of `layer`, shape (out, in + 1), with the `active` changes of that layer made."""
        problem = self.problem
        passing = tuple(c for c in changes if not isinstance(c.mistake, Total))
        weights = self._read(changes, layer)[1]
        rate = problem.l2 / problem.m
        terms = Terms(self._data(layer, passing), _penalty(weights, rate), weights, rate, problem.m, problem.K)
        for change in changes[len(passing) :]:
            terms = change.mistake.ways[change.way](replace(terms, value=change.value))
        return terms.data + terms.penalty

    def _read(self, changes: Changes, layer: int) -> tuple[Float, Float]:
        """The weights of `layer`, shape (out, in + 1), as the pass reads them, and as the penalty does."""
        passing = penalised = self.problem.thetas[layer]
        for change in changes:
            if isinstance(change.mistake, Reading):
                read = change.mistake.ways[change.way]
                passing, penalised = read(passing)[0], read(penalised)[1]
        return passing, penalised

    def _trace(self, changes: Changes) -> Trace:
        """The forward pass with the weights as `changes` read them."""
        reading = tuple(c for c in changes if isinstance(c.mistake, Reading))
        return self._traces.get(reading, lambda: self._make_trace(reading))

    def _make_trace(self, reading: Changes) -> Trace:
        layers = range(len(self.problem.thetas))
        return trace_of(replace(self.problem, thetas=tuple(self._read(reading, l)[0] for l in layers)))

    def _data(self, layer: int, changes: Changes) -> Float:
        """The data term delta^T [1 a], shape (out, in + 1)."""
        return self._terms.get((layer, changes), lambda: self._make_data(layer, changes))

    def _make_data(self, layer: int, changes: Changes) -> Float:
        trace = self._trace(changes)
        below = trace.a[layer]
        examples = range(self.problem.m)
        for change in changes:
            if isinstance(change.mistake, Previous):
                below = change.mistake.ways[change.way](self._hidden(trace, layer - 1))
            elif isinstance(change.mistake, Examples):
                examples = change.mistake.ways[change.way](examples)
        counted = slice(examples.start, examples.stop)
        delta = self._delta(layer, _above(changes, layer))[counted]
        data = np.empty(self.problem.thetas[layer].shape)
        data[:, 0] = delta.sum(axis=0)
        data[:, 1:] = delta.T @ below[counted]
        return data

    def _delta(self, layer: int, changes: Changes) -> Float:
        """dJ/dz of `layer`, shape (m, out)."""
        return self._deltas.get((layer, changes), lambda: self._make_delta(layer, changes))

    def _make_delta(self, layer: int, changes: Changes) -> Float:
        trace = self._trace(changes)
        if layer == len(self.problem.thetas) - 1:
            return self._error(trace.z[-1], changes) / self.problem.M
        theta, _ = self._read(changes, layer + 1)
        slope = DERIVATIVE[self.problem.activation](trace.z[layer])
        above = active(changes, layer + 1)
        for change in changes:
            if layer not in change.layers:
                continue
            if isinstance(change.mistake, Back):
                theta = change.mistake.ways[change.way](self._backward(layer + 1, theta, above, change.value))
            elif isinstance(change.mistake, Slope):
                slope = change.mistake.ways[change.way](self._hidden(trace, layer))
        return (self._delta(layer + 1, _above(above, layer + 1)) @ theta[:, 1:]) * slope

    def _error(self, z: Float, changes: Changes) -> Float:
        Y = self.problem.Y
        a = OUTPUT[self.problem.output](z)
        right_output = True
        for change in changes:
            if isinstance(change.mistake, Targets):
                Y = change.mistake.ways[change.way](Y)
            elif isinstance(change.mistake, Output):
                a = change.mistake.ways[change.way](z)
                right_output = False
        error = ERROR[self.problem.output](z, Y) if right_output else a - Y
        for change in changes:
            if isinstance(change.mistake, Error):
                error = change.mistake.ways[change.way](error, a)
        return error

    def _hidden(self, trace: Trace, layer: int) -> Hidden:
        return Hidden(trace.z[layer], trace.a[layer + 1], self.problem.activation)

    def _backward(self, layer: int, theta: Float, changes: Changes, step: float) -> Backward:
        passing = tuple(c for c in changes if not isinstance(c.mistake, Total))
        penalty = _penalty(self._read(changes, layer)[1], self.problem.l2 / self.problem.m)
        return Backward(
            theta=theta,
            data=lambda: self._data(layer, passing),
            penalty=penalty,
            right=lambda: self.gradient(layer, ()),
            given=self.given[layer],
            step=step,
        )


def _penalty(weights: Float, rate: float) -> Float:
    penalty = rate * weights
    penalty[:, 0] = 0.0
    return penalty


def _above(changes: Changes, layer: int) -> Changes:
    """What reaches the delta of `layer`: neither what is multiplied with it nor which examples count."""
    return tuple(c for c in changes if not isinstance(c.mistake, Previous | Examples | Total))
