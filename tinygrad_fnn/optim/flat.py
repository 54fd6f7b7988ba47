"""Parameters as one vector, in which an update is a few passes over memory however many parameters there are.

Values that have been used are never written to (see `tensor`), so there are two vectors: the parameters are views of
one, and a step writes the other, which then takes its place. The one left behind is written by the next step only if
nothing refers to it any more: each view of an array, and each view of a view, counts as a reference to the array that
owns the memory. While a graph or a snapshot holds old values, a new vector is taken instead.
"""

from __future__ import annotations

import operator
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy import ndarray

from ..tensor import Tensor

__all__ = ["Group", "UpdateRule", "Vector", "store", "unrolled"]

Group: TypeAlias = dict[str, Any]  # "params" and the hyperparameters by name

# 64k elements of a few arrays stay in the cache, which pays once the whole vectors do not.
_CHUNK: Final = 1 << 16
_LARGE: Final = 1_000_000


class UpdateRule(Protocol):
    """What an optimiser says about its update; see `Optimizer`."""

    def _slots(self, group: Group) -> Sequence[str]: ...

    def _scale(self, group: Group) -> float: ...

    def _count(self, group: Group, counts: dict[str, Any]) -> None: ...

    def _update(
        self,
        group: Group,
        counts: dict[str, Any],
        p: ndarray,
        g: ndarray,
        out: ndarray,
        spare: ndarray,
        slots: dict[str, ndarray],
    ) -> None: ...


def unrolled(params: Sequence[Tensor]) -> ndarray:
    """The values of all parameters, one after the other, in float64."""
    return np.concatenate([p._value.ravel() for p in params]).astype(float)


def store(params: Sequence[Tensor], x: ndarray) -> None:
    """Put such a vector into the parameters."""
    start = 0
    for p in params:
        p._store(np.array(x[start : start + p.size], p.dtype).reshape(p.shape))
        start += p.size


def _references(held: list[ndarray]) -> int:
    return sys.getrefcount(held[0])


_held: Final = operator.attrgetter("_data")
_ALONE: Final = _references([np.empty(0)])  # measured, since versions of Python count their own reference differently


class Vector:
    """The parameters of a group that have one dtype, and what an optimiser keeps for them.

    Parameters
    ----------
    params : list of Tensor
        Leaves of one dtype.

    Attributes
    ----------
    starts : list of int
        Where each parameter begins, and the end.
    counts : list of dict
        What is counted for each parameter: 'step', and further numbers of the optimiser. Empty before the first step.
    slots : dict of ndarray
        State of the size of the parameters, by name.
    """

    def __init__(self, params: list[Tensor]) -> None:
        self.params, self.dtype = params, params[0].dtype
        self.starts = list(accumulate((p.size for p in params), initial=0))
        self.counts: list[dict[str, Any]] = [{} for _ in params]
        self.slots: dict[str, ndarray] = {}
        self._values = np.empty(self.starts[-1], self.dtype)
        self._views = [np.empty(p.shape, self.dtype) for p in params]  # what the parameters hold if they are untouched
        self._left = [np.empty_like(self._values)]  # the vector left behind
        self._spans = list(pairwise(self.starts))
        self._g = self._spare = np.empty(0, self.dtype)
        self._places: list[ndarray] = []  # of each gradient in `_g`, if that has room for all
        self._together = False  # whether all parameters have been through the same

    def fits(self) -> bool:
        """Whether the parameters still have the dtype of this vector."""
        return self._untouched() or all(p.dtype == self.dtype for p in self.params)

    def _untouched(self) -> bool:
        return all(map(operator.is_, map(_held, self.params), self._views))

    # --- state --------------------------------------------------------------------------------------------------

    def slot(self, name: str) -> ndarray:
        """The state of this name, zero at first."""
        if name not in self.slots:
            self.slots[name] = np.zeros(self.starts[-1], self.dtype)
        return self.slots[name]

    def state(self, k: int) -> dict[str, Any]:
        """What is kept for parameter `k`: counts, and copies of arrays in its shape; empty before its first step."""
        if not self.counts[k]:
            return {}
        span, shape = slice(*self._spans[k]), self.params[k].shape
        return {**self.counts[k], **{name: a[span].reshape(shape).copy() for name, a in self.slots.items()}}

    @classmethod
    def restored(cls, params: list[Tensor], states: list[dict[str, Any]]) -> Vector:
        """A vector of these parameters that takes over what `state` gave for each."""
        vector = cls(params)
        for k, (span, state) in enumerate(zip(vector._spans, states, strict=True)):
            for name, value in state.items():
                if isinstance(value, ndarray):
                    vector.slot(name)[slice(*span)] = value.ravel()
                else:
                    vector.counts[k][name] = value
        return vector

    def __reduce__(self) -> tuple[Any, ...]:  # copied array by array, the views would be views no longer
        return Vector.restored, (self.params, [self.state(k) for k in range(len(self.params))])

    # --- the update ---------------------------------------------------------------------------------------------

    def step(self, rule: UpdateRule, group: Group) -> None:
        """Update every parameter that has a gradient."""
        grads = [None if (node := p._node) is None else node.grad for p in self.params]
        given = [g is not None for g in grads]
        if not any(given):
            return
        out, old = self._target(), self._values
        untouched = self._untouched()
        if not untouched:  # assigned, loaded or lent meanwhile
            np.concatenate([p._value.reshape(-1) for p in self.params], out=out)
            old = out
        scale = -rule._scale(group) if group.get("maximize", False) else rule._scale(group)
        slots = {name: self.slot(name) for name in rule._slots(group)}
        runs = [(0, len(grads))] if self._together and all(given) else list(self._runs(given))
        self._together = len(runs) == 1
        for i, j in runs:
            a, b = self.starts[i], self.starts[j]
            if not given[i]:
                if untouched:
                    out[a:b] = old[a:b]
                continue
            counts = dict(self.counts[i])
            rule._count(group, counts)
            self.counts[i:j] = [counts] * (j - i)
            if b - a == self.starts[-1] == self._g.size:  # all of it in one go, without slicing it
                g = self._gather(grads, a, b, scale)
                rule._update(group, counts, old, g, out, self._spare, slots)
                break
            for low in range(a, b, self._g.size):
                part = slice(low, min(low + self._g.size, b))
                g = self._gather(grads, low, part.stop, scale)
                pieces = {name: array[part] for name, array in slots.items()}
                rule._update(group, counts, old[part], g, out[part], self._spare[: g.size], pieces)
        self._hand_out(out, given)

    def _target(self) -> ndarray:
        """A vector to write to that nothing else refers to."""
        if _references(self._left) != _ALONE:
            self._left = [np.empty_like(self._values)]
        if not self._g.size:
            total = self.starts[-1]
            self._g = np.empty(max(1, total if total <= _LARGE else _CHUNK), self.dtype)
            self._spare = np.empty_like(self._g)
            if total <= _LARGE:
                self._places = self._shaped(self._g)
        return self._left[0]

    def _shaped(self, vector: ndarray) -> list[ndarray]:
        """The views of a vector that are the parameters."""
        return [vector[a:b].reshape(view.shape) for (a, b), view in zip(self._spans, self._views, strict=True)]

    def _runs(self, given: list[bool]) -> Iterator[tuple[int, int]]:
        """Stretches of parameters with a gradient that have been through the same, or without one."""
        start = 0
        for _, members in groupby(zip(given, self.counts, strict=True), key=lambda k: k if k[0] else None):
            end = start + len(list(members))
            yield start, end
            start = end

    def _gather(self, grads: list[ndarray | None], low: int, high: int, scale: float) -> ndarray:
        """The gradient from `low` to `high`, times `scale`."""
        if self._places and high - low == self.starts[-1]:
            for whole, place in zip(grads, self._places, strict=True):
                assert whole is not None
                np.multiply(whole, scale, out=place)
            return self._g
        starts, gathered = self.starts, self._g[: high - low]
        k = bisect_right(starts, low) - 1
        while starts[k] < high:
            start, g = starts[k], grads[k]
            a, b = max(start, low), min(starts[k + 1], high)
            if g is not None:
                np.multiply(g.reshape(-1)[a - start : b - start], scale, out=gathered[a - low : b - low])
            k += 1
        return gathered

    def _hand_out(self, out: ndarray, given: list[bool]) -> None:
        """Make the parameters views of `out`."""
        views = self._shaped(out)
        for p, stepped, old, view in zip(self.params, given, self._views, views, strict=True):
            if p._data is old:  # also without a gradient: else each step would have to collect the values again
                p._data = view
            elif stepped:
                p._store(view)
        self._left, self._values, self._views = [self._values], out, views
