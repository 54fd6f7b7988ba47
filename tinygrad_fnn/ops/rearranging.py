"""Turning, repeating and spreading whole arrays: every entry of the result is one entry of the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from .shapes import broadcast_to, moveaxis, reshaped, transpose

__all__ = ["flip"]


def _at_least(name: str, ndim: int, arrays: tuple[Any, ...]) -> Any:
    """Each array with axes of length 1 where NumPy puts them; one array for one argument, a tuple for several."""
    found = []
    for a in arrays:
        shape = shape_of(a)
        if ndim == 3 and len(shape) in (1, 2):
            shape = (1, *shape, 1) if len(shape) == 1 else (*shape, 1)
        shape = (1,) * (ndim - len(shape)) + shape
        found.append(reshaped(a, shape))
    return found[0] if len(found) == 1 else tuple(found)


@composite(np.atleast_1d, samples=(sample(()), sample((2, 3)), sample((), (2,))))
def atleast_1d(*arys: Any) -> Array:
    """`numpy.atleast_1d`."""
    return _at_least("numpy.atleast_1d", 1, arys)


@composite(np.atleast_2d, samples=(sample(()), sample((3,)), sample((2, 3), (2,))))
def atleast_2d(*arys: Any) -> Array:
    """`numpy.atleast_2d`: a vector becomes a row."""
    return _at_least("numpy.atleast_2d", 2, arys)


@composite(np.atleast_3d, samples=(sample(()), sample((3,)), sample((2, 3)), sample((1, 2, 3), (2,))))
def atleast_3d(*arys: Any) -> Array:
    """`numpy.atleast_3d`: a vector becomes (1, n, 1), a matrix (m, n, 1)."""
    return _at_least("numpy.atleast_3d", 3, arys)


@composite(np.rollaxis, samples=(sample((2, 3, 4), 2), sample((2, 3, 4), 0, 3), sample((2, 3, 4), -1, start=1)))
def rollaxis(a: Any, axis: int, start: int = 0) -> Tensor:
    """`numpy.rollaxis`."""
    model = np.empty([0] * ndim_of(a))
    np.rollaxis(model, axis, start)  # raises what NumPy raises
    axis, start = axis % model.ndim, start + model.ndim * (start < 0)
    return moveaxis(a, axis, start - (axis < start))


@composite(np.broadcast_arrays, samples=(sample((2, 1), (3,)), sample((), (2,), (3, 1))))
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tensor, ...]:
    """`numpy.broadcast_arrays`."""
    shape = np.broadcast_shapes(*map(np.shape, args))
    return tuple([broadcast_to(a, shape) for a in args])


@composite(
    np.meshgrid,
    samples=(
        sample((2,), (3,)),
        sample((2,), (3,), (4,), indexing="ij"),
        sample((2,), (3,), sparse=True),
        sample((), (3,)),
    ),
)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Tensor, ...]:
    """`numpy.meshgrid`."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"numpy.meshgrid: indexing is {indexing!r}, wanted 'xy' or 'ij'")
    axes = list(range(len(xi)))
    if indexing == "xy" and len(xi) > 1:
        axes[:2] = [1, 0]
    grids = [reshaped(x, (1,) * k + (-1,) + (1,) * (len(xi) - k - 1)) for k, x in zip(axes, xi, strict=True)]
    return tuple(grids) if sparse else broadcast_arrays(*grids)


@composite(np.tile, samples=(sample((2, 3), reps=2), sample((2, 3), reps=(2, 1, 3)), sample((), reps=(2,))))
def tile(A: Any, reps: Any) -> Tensor:
    """`numpy.tile`: spread over an axis of its own before each axis, which is then merged with it."""
    counts = tuple(reps) if np.iterable(reps) else (int(reps),)
    shape = shape_of(A)
    counts = (1,) * (len(shape) - len(counts)) + counts
    shape = (1,) * (len(counts) - len(shape)) + shape
    apart = reshaped(A, tuple(n for length in shape for n in (1, length)))
    spread = broadcast_to(apart, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return reshaped(spread, tuple(count * length for count, length in zip(counts, shape, strict=True)))


def _repeat(x: Array, *, count: int, axis: int) -> Array:
    return np.repeat(x, count, axis)


primitive(
    _repeat,
    lambda ct, _x, count, axis: ct.reshape((*_x.shape[: axis + 1], count, *_x.shape[axis + 1 :])).sum(axis=axis + 1),
    name="numpy.repeat (one count)",
    linear=True,
    samples=(sample((3, 2), count=2, axis=0), sample((3, 2), count=3, axis=1), sample((2,), count=0, axis=0)),
)


@composite(
    np.repeat,
    samples=(
        sample((2, 3), 2),
        sample((2, 3), 3, axis=1),
        sample((2, 3), [2, 0, 1], axis=-1),
        sample((3,), np.array([1, 0, 3])),
    ),
)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """`numpy.repeat`, with one count or one for each entry of the axis."""
    if axis is None:
        a, axis = reshaped(a, (-1,)), 0
    (axis,) = normalize_axis_tuple(axis, ndim_of(a))
    shape = shape_of(a)
    if ndim_of(repeats) == 0:
        return apply(_repeat, a, count=int(repeats), axis=axis)
    ids = np.repeat(np.arange(shape[axis]), np.asarray(repeats))
    return (a if isinstance(a, Tensor) else Tensor(a))[(slice(None),) * axis + (ids,)]


@composite(np.resize, samples=(sample((2, 3), new_shape=(2, 2)), sample((3,), new_shape=(2, 4)), sample((2,), 5)))
def resize(a: Any, new_shape: Any) -> Tensor:
    """`numpy.resize`: the entries in a row, over and over."""
    shape = tuple(new_shape) if np.iterable(new_shape) else (int(new_shape),)
    if any(n < 0 for n in shape):
        raise ValueError(f"numpy.resize: new_shape is {shape}; all lengths must be 0 or more")
    wanted, size = math.prod(shape), math.prod(shape_of(a))
    if not size:
        return broadcast_to(np.sum(a), shape)  # NumPy fills with zeros
    row = reshaped(a, (-1,))
    times = -(-wanted // size)
    if times != 1:
        row = tile(row, times)
    return reshaped(row if wanted == row.size else row[:wanted], shape)


def _roll(x: Array, *, shift: Any, axis: Any) -> Array:
    return np.roll(x, shift, axis)


primitive(
    _roll,
    lambda ct, shift, axis: np.roll(ct, tuple(-s for s in shift) if isinstance(shift, tuple) else -shift, axis),
    name="numpy.roll",
    linear=True,
    samples=(
        sample((5,), shift=2, axis=None),
        sample((2, 3), shift=-1, axis=None),
        sample((2, 3), shift=(1, 2), axis=(0, 1)),
        sample((2, 3), shift=4, axis=(0, 1)),
    ),
)


@composite(np.roll, samples=(sample((5,), 2), sample((2, 3), 1, axis=-1), sample((2, 3), shift=(1, -1), axis=(0, 1))))
def roll(a: Any, shift: Any, axis: Any = None) -> Tensor:
    """`numpy.roll`."""
    shift = tuple(map(int, shift)) if np.iterable(shift) else int(shift)
    if axis is None and isinstance(shift, tuple):
        shift = sum(shift)
    return apply(_roll, a, shift=shift, axis=tuple(axis) if np.iterable(axis) else axis)


def _flip(x: Array, *, axis: tuple[int, ...]) -> Array:
    return np.flip(x, axis)


primitive(
    _flip,
    lambda ct, axis: np.flip(ct, axis),
    name="numpy.flip",
    linear=True,
    samples=(sample((3,), axis=(0,)), sample((2, 3, 2), axis=(0, 2)), sample((), axis=())),
)


@composite(np.flip, samples=(sample((2, 3)), sample((2, 3), 1), sample((2, 3, 2), axis=(0, -1))))
def flip(m: Any, axis: Any = None) -> Tensor:
    """`numpy.flip`."""
    ndim = ndim_of(m)
    return apply(_flip, m, axis=tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim))


@composite(np.flipud, samples=(sample((3,)), sample((2, 3))))
def flipud(m: Any) -> Tensor:
    """`numpy.flipud`."""
    if ndim_of(m) < 1:
        raise ValueError("numpy.flipud: wants at least 1 axis, got a scalar")
    return flip(m, 0)


@composite(np.fliplr, samples=(sample((2, 3)), sample((2, 3, 2))))
def fliplr(m: Any) -> Tensor:
    """`numpy.fliplr`."""
    if ndim_of(m) < 2:
        raise ValueError(f"numpy.fliplr: wants at least 2 axes, got shape {shape_of(m)}")
    return flip(m, 1)


@composite(
    np.rot90,
    samples=(sample((2, 3)), sample((2, 3), 2), sample((2, 3), k=-1), sample((2, 3, 4), k=1, axes=(2, 0))),
)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Tensor:
    """`numpy.rot90`."""
    if len(axes) != 2:
        raise ValueError(f"numpy.rot90: axes is {axes}, wanted two of them")
    ndim = ndim_of(m)
    first, second = (normalize_axis_tuple(axis, ndim)[0] for axis in axes)
    if first == second:
        raise ValueError(f"numpy.rot90: axes {tuple(axes)} are the same axis of shape {shape_of(m)}")
    if k % 2 == 0:
        return flip(m, (first, second) if k % 4 else ())
    order = list(range(ndim))
    order[first], order[second] = second, first
    return transpose(flip(m, second), order) if k % 4 == 1 else flip(transpose(m, order), second)
