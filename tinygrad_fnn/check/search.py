"""Which mistakes, made in the textbook's pass, give the learner's gradient.

Every single mistake is tried; if none explains the gradient, every pair. Pairs are sifted layer by layer from the
output down: at a layer most of them look alike, so each kind is tried once, and only pairs that explain this layer
are looked at in the next. A number in a mistake is found by least squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.measure import Measure
from tinygrad_fnn.check.mistakes import TABLE
from tinygrad_fnn.check.stages import Change, changes_of
from tinygrad_fnn.check.wrong_pass import Changes, WrongPass, active

__all__ = ["Found", "Search"]

RANK = {mistake: rank for rank, mistake in enumerate(TABLE.values())}
# Distances that differ by less come from arrays that are the same but for rounding.
DIGITS = 12


class Found(NamedTuple):
    """Changes with their numbers solved for, how far they are from the given gradient, and whether they change it."""

    changes: Changes
    distance: float
    visible: bool

    @property
    def order(self) -> tuple[int, int, float, int, int, int]:
        """What comes first is the better explanation."""
        return (
            sum(c.mistake.solved for c in self.changes),  # what has a free number fits too easily
            sum(c.value < 0 for c in self.changes),  # a factor below 0 is a wrong sign and a factor
            self.distance,
            -len({c.mistake for c in self.changes}),  # two mistakes rather than one made twice
            sum(RANK[c.mistake] for c in self.changes),
            sum(len(c.layers) for c in self.changes),  # one layer rather than several that look the same
        )


class Search:
    """The changes of a pass held against a given gradient.

    Parameters
    ----------
    problem : Problem
        What the gradient is taken of.
    wrong_pass : WrongPass
        Makes gradients of it.
    measure : Measure
        Compares them with the given one.
    """

    def __init__(self, problem: Problem, wrong_pass: WrongPass, measure: Measure) -> None:
        self.problem = problem
        self._pass = wrong_pass
        self._measure = measure
        self._layers = range(len(problem.thetas))
        self._compared: dict[tuple[int, Changes], tuple[float, float]] = {}
        self._right = [wrong_pass.gradient(l, ()) for l in self._layers]

    def right(self) -> list[float]:
        """Distance of the right gradient in each layer."""
        return [self._compare(l, ())[0] for l in self._layers]

    def singles(self, solved: bool = True) -> list[Found]:
        """Every mistake in each of its ways, by itself; those with a number to be found only if `solved`."""
        mistakes = [mistake for mistake in TABLE.values() if solved or not mistake.solved]
        return [self._found((c,)) for mistake in mistakes for c in changes_of(mistake, self.problem)]

    def pairs(self, singles: Sequence[Found]) -> list[Found]:
        """The pairs of visible mistakes that explain the gradient; with solved numbers only if there are none else."""
        changes = [c for found in singles if found.visible or found.changes[0].mistake.solved for c in found.changes]
        fixed = [c for c in changes if not c.mistake.solved]
        solved = [c._replace(value=_start(c)) for c in changes if c.mistake.solved]
        output = len(self._layers) - 1
        return list(self._sift(output, fixed, fixed)) or [
            *self._sift(output, solved, fixed + solved),
            *self._sift(output, fixed, solved),
        ]

    def explains(self, found: Found) -> bool:
        """Whether it is the given gradient, to the resolution of its numbers."""
        return found.distance <= self._measure.tolerance

    def _sift(self, layer: int, firsts: Sequence[Change], seconds: Sequence[Change]) -> Iterator[Found]:
        """The pairs, first change made first, that explain `layer` and all below it."""
        if layer < 0:
            for first, second in product(firsts, seconds):
                if first.mistake is not second.mistake or not set(first.layers) & set(second.layers):
                    found = self._found((first, second))
                    if self.explains(found):
                        yield found
            return
        for (kind, alike), (other, also) in product(_kinds(firsts, layer), _kinds(seconds, layer)):
            if self._fits(layer, active([c for c in (kind, other) if c], layer)):
                yield from self._sift(layer - 1, alike, also)

    def _fits(self, layer: int, changes: Changes) -> bool:
        """Whether `changes` can explain `layer`: certain if they have no number to be solved for."""
        free = [c for c in changes if c.mistake.solved]
        if not free:
            return self._compare(layer, changes)[0] <= self._measure.tolerance
        if any(c.mistake.reach == "below" and len(c.layers) > 1 for c in free):
            return True  # a step enters every delta on the way down, so the gradient is no straight line in it
        start = [c.value for c in free]
        residual, slopes = self._linearised(range(layer, layer + 1), changes, start, 1.0)
        numbers = _least_squares(slopes, -residual)
        if np.any(_felt(slopes) & (np.linalg.norm(slopes * numbers, axis=0) < 0.01 * self._measure.tolerance)):
            return False  # this layer says that the number is what changes nothing: then a single mistake is left
        return float(np.linalg.norm(residual + slopes @ numbers)) <= 2 * self._measure.tolerance

    def _found(self, changes: Changes) -> Found:
        changes = self._solved(changes)
        compared = [self._compare(l, active(changes, l)) for l in self._layers]
        distance = max(to_given for to_given, _ in compared)
        visible = max(to_right for _, to_right in compared) > self._measure.tolerance
        return Found(changes, round(distance, DIGITS), visible)

    def _compare(self, layer: int, changes: Changes) -> tuple[float, float]:
        """Distance to the given gradient and to the right one."""
        key = layer, changes
        if key not in self._compared:
            gradient = self._pass.gradient(layer, changes)
            to_right = self._measure.between(layer, gradient, self._right[layer]) if changes else 0.0
            self._compared[key] = self._measure.to_given(layer, gradient), to_right
        return self._compared[key]

    def _solved(self, changes: Changes) -> Changes:
        """`changes` with the numbers in them found by Gauss-Newton, from the output down: a number that one layer has
        settled is a good start for the next.
        """
        free = [c for c in changes if c.mistake.solved]
        if not free:
            return changes
        values = np.array([c.value for c in free])
        straight = all(c.mistake.reach == "layer" for c in free)  # the gradient is a straight line in a factor
        for lowest in [0] if straight else reversed(self._layers):
            layers = range(lowest, len(self._layers))
            best, left = values, np.inf
            for _ in range(20):
                # a value of 0 is a step not settled yet: the layer that sees it first is linear in it
                width = 1e-3 * np.where(best == 0.0, 1e3, np.abs(best))
                residual, slopes = self._linearised(layers, changes, values, width)
                if not np.linalg.norm(residual) < left:
                    break
                best, left = values, float(np.linalg.norm(residual))
                values = best + _least_squares(slopes, -residual)
            values = best
            if left > 10 * self._measure.tolerance * len(layers):
                break  # no number explains these layers
        return _with_values(changes, values)

    def _linearised(
        self, layers: range, changes: Changes, values: Sequence[float] | Float, width: float | Float
    ) -> tuple[Float, Float]:
        """What is left to explain in `layers`, shape (n,), and its derivative by each number, shape (n, numbers)."""

        def residual(values: Float) -> Float:
            made = _with_values(changes, values)
            differences = []
            for l in layers:
                scale = self._measure.scales[l] or 1.0
                difference = self._pass.gradient(l, active(made, l)) - self._measure.given[l]
                differences.append(difference.ravel() / scale)
            return np.concatenate(differences)

        values = np.asarray(values, dtype=np.float64)
        steps = np.diag(np.broadcast_to(width, values.shape))
        slopes = [(residual(values + step) - residual(values - step)) / (2 * step.sum()) for step in steps]
        return residual(values), np.stack(slopes, axis=1)


def _kinds(changes: Sequence[Change], layer: int) -> list[tuple[Change | None, list[Change]]]:
    """`changes` grouped by what they do to the gradient of `layer`."""
    groups: dict[Change | None, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.at(layer), []).append(change)
    return list(groups.items())


def _felt(slopes: Float) -> npt.NDArray[np.bool_]:
    """The numbers that anything depends on."""
    felt: npt.NDArray[np.bool_] = np.linalg.norm(slopes, axis=0) > 1e-10
    return felt


def _least_squares(slopes: Float, target: Float) -> Float:
    """The numbers, shape (n,), that come nearest to ``slopes @ numbers = target``; 0 where nothing depends on one."""
    felt = _felt(slopes)
    numbers = np.zeros(len(felt))
    if felt.any() and np.isfinite(slopes).all():
        numbers[felt] = np.linalg.lstsq(slopes[:, felt], target)[0]
    return numbers


def _start(change: Change) -> float:
    """The value that changes nothing: a step of 0, a factor of 1."""
    return 0.0 if change.mistake.reach == "below" else 1.0


def _with_values(changes: Changes, values: Float) -> Changes:
    numbers = iter(values.tolist())
    return tuple(c._replace(value=next(numbers)) if c.mistake.solved else c for c in changes)
