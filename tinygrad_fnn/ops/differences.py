"""Differences of neighbours, and what is built of them: slopes, areas, phases without jumps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .shapes import ravel, reshaped

__all__: list[str] = []


def _diff(x: Array, *, axis: int) -> Array:
    return np.diff(x, axis=axis)


def _between_zeros(ct: Array, axis: int) -> Array:
    zeros = np.zeros((*ct.shape[:axis], 1, *ct.shape[axis + 1 :]), ct.dtype)
    return np.concatenate((zeros, ct, zeros), axis=axis)


# The cotangent reaches the right neighbour with +1 and the left one with -1: its own difference, negative.
primitive(
    _diff,
    lambda ct, axis: -np.diff(_between_zeros(ct, axis), axis=axis),
    name="numpy.diff",
    push=lambda tangents, x, axis: np.diff(tangents[0], axis=axis),
    samples=(sample((4,), axis=0), sample((2, 3), axis=1), sample((2, 1), axis=0), sample((2, 3, 2), axis=1)),
)


def _edge(value: Any, x: Any, axis: int) -> Any:
    """`prepend` or `append` as an array: a scalar is one layer."""
    if ndim_of(value):
        return value
    layer = [*shape_of(x)]
    layer[axis] = 1
    return np.broadcast_to(value, layer)


@composite(
    np.diff,
    samples=(
        sample((4,)),
        sample((5,), 2),
        sample((3, 4), axis=0),
        sample((2, 3), 1, -1, (2, 1), ()),
        sample((2, 3), 2, 0, np.array([[0.5, 1.0, 2.5]])),
        sample((3,), n=0),
    ),
)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    """`numpy.diff`."""
    if n < 0:
        raise ValueError(f"numpy.diff: n is {n}, wanted 0 or more")
    axis = normalize_axis_index(axis, ndim_of(a))
    if n and (prepend is not None or append is not None):
        parts = [
            None if prepend is None else _edge(prepend, a, axis),
            a,
            None if append is None else _edge(append, a, axis),
        ]
        a = np.concatenate([part for part in parts if part is not None], axis=axis)
    out = a if isinstance(a, Tensor) else Tensor(a)
    for _ in range(n):
        out = apply(_diff, out, axis=axis)
    return out if n else apply(np.positive, out)


@composite(np.ediff1d, samples=(sample((4,)), sample((2, 3)), sample((3,), (2,), ()), sample((3,), to_begin=0.5)))
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """`numpy.ediff1d`: the differences of the flat array, with what comes before and after them."""
    out = apply(_diff, ravel(ary), axis=0)
    ends = [
        None if end is None else end if isinstance(end, Tensor) else np.asarray(end, out.dtype)
        for end in (to_begin, to_end)
    ]
    parts = [ends[0], out, ends[1]]
    if to_begin is None and to_end is None:
        return out
    return np.concatenate([ravel(part) for part in parts if part is not None])  # type: ignore[return-value]  # the protocol gives a Tensor


def _at(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    return x[(slice(None),) * axis + (slice(start, stop),)]


@composite(
    np.trapezoid,
    samples=(
        sample((4,)),
        sample((4,), (4,)),
        sample((2, 3), dx=0.5, axis=0),
        sample((2, 3), (3,)),
        sample((2, 3), (2, 3), axis=0),
    ),
)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Tensor:
    """`numpy.trapezoid`; differentiable in `x` and `dx`, too."""
    if not isinstance(y, Tensor):
        y = np.asarray(y)
    axis = normalize_axis_index(axis, y.ndim)
    if x is not None:
        dx = diff(x, axis=axis if ndim_of(x) > 1 else -1)
        if ndim_of(x) == 1:
            dx = reshaped(dx, (-1,) + (1,) * (y.ndim - 1 - axis))
    pairs = _at(y, axis, 1, None) + _at(y, axis, None, -1)
    return reductions.sum(dx * pairs / 2, axis)


# --- slopes ---------------------------------------------------------------------------------------------------------


def _spacings(f: Any, axes: tuple[int, ...], given: tuple[Any, ...]) -> list[Any]:
    """For each axis the distance of its points: a number, or one for each pair of neighbours."""
    if not given:
        return [1.0] * len(axes)
    if len(given) == 1 and ndim_of(given[0]) == 0:
        return [given[0]] * len(axes)
    if len(given) != len(axes):
        raise TypeError(f"numpy.gradient: {len(given)} spacings for {len(axes)} axes")
    spacings = []
    for axis, points in zip(axes, given, strict=True):
        if ndim_of(points) == 0:
            spacings.append(points)
            continue
        if shape_of(points) != (f.shape[axis],):
            raise ValueError(
                f"numpy.gradient: coordinates of shape {shape_of(points)} for axis {axis} of shape {f.shape}"
            )
        points = (
            points
            if isinstance(points, Tensor)
            else np.asarray(points, None if np.result_type(points).kind == "f" else float)
        )
        steps = np.diff(points)
        # Equal steps go the way of a number, as in NumPy, unless they are to be differentiated one by one.
        spacings.append(steps[0] if not isinstance(points, Tensor) and (steps == steps[0]).all() else steps)
    return spacings


def _slope(f: Any, axis: int, h: Any, edge_order: int) -> Tensor:
    """Central differences inside, one-sided ones at the ends."""
    n = f.shape[axis]
    if n < edge_order + 1:
        raise ValueError(f"numpy.gradient: axis {axis} of shape {f.shape} is shorter than {edge_order + 1}")
    column = (-1,) + (1,) * (f.ndim - 1 - axis)
    left, middle, right = _at(f, axis, None, -2), _at(f, axis, 1, -1), _at(f, axis, 2, None)
    if ndim_of(h) == 0:
        inner = (right - left) / (2 * h)
        before = after = (h, h)
    else:
        h1, h2 = (np.reshape(step, column) for step in (h[:-1], h[1:]))
        a, b, c = -h2 / (h1 * (h1 + h2)), (h2 - h1) / (h1 * h2), h1 / (h2 * (h1 + h2))
        inner = a * left + b * middle + c * right
        before, after = (h[0], h[1] if n > 2 else None), (h[-1], h[-2] if n > 2 else None)
    first = _end([_at(f, axis, k, k + 1) for k in range(edge_order + 1)], *before)
    last = _end([_at(f, axis, n - 1 - k, n - k) for k in range(edge_order + 1)], *after)
    return np.concatenate((first, inner, -last), axis=axis)  # type: ignore[return-value]  # the protocol gives a Tensor


def _end(f: list[Any], h1: Any, h2: Any) -> Any:
    """The slope at the first of two or three points, h1 and h2 apart."""
    if len(f) == 2:
        return (f[1] - f[0]) / h1
    a, b, c = -(2 * h1 + h2) / (h1 * (h1 + h2)), (h1 + h2) / (h1 * h2), -h1 / (h2 * (h1 + h2))
    return a * f[0] + b * f[1] + c * f[2]


UNEVEN = np.array([0.0, 1.0, 1.5, 3.5])


@composite(
    np.gradient,
    samples=(
        sample((4,)),
        sample((4,), 0.5, edge_order=2),
        sample((4,), UNEVEN),
        sample((4,), UNEVEN, edge_order=2),
        sample((3, 4)),
        sample((3, 4), 2.0, UNEVEN),
        sample((3, 4), axis=0),
        sample((2,)),
    ),
)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """`numpy.gradient`: an array for one axis, a tuple for several; differentiable in the spacings, too."""
    if edge_order not in (1, 2):
        raise ValueError(f"numpy.gradient: edge_order is {edge_order}, wanted 1 or 2")
    if not isinstance(f, Tensor):
        f = np.asarray(f)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    steps = _spacings(f, axes, varargs)
    slopes = tuple(_slope(f, k, h, edge_order) for k, h in zip(axes, steps, strict=True))
    return slopes[0] if len(slopes) == 1 else slopes


# --- phases ---------------------------------------------------------------------------------------------------------


def _unwrap(p: Array, *, discont: float | None, axis: int, period: float) -> Array:
    return np.unwrap(p, discont, axis, period=period)


# Multiples of the period are added, which do not move with the phases.
primitive(
    _unwrap,
    lambda ct: ct,
    name="numpy.unwrap",
    push=lambda tangents, x, **_: tangents[0],  # not linear: a tangent has no jumps to take out
    samples=(sample((4,), discont=None, axis=-1, period=2.0),),
)


@composite(np.unwrap, samples=(sample((5,)), sample((5,), period=1.7), sample((3, 4), 1.3, 0, period=1.0)))
def unwrap(p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi) -> Tensor:
    """`numpy.unwrap`; its derivative is 1."""
    return apply(_unwrap, p, discont=discont, axis=axis, period=period)
