"""Entries picked, left out and put in by number or by mask, along an axis; and sums of what falls into each bin."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_index

from ..gate import apply
from ..rules import Array, composite, plain, primitive, sample
from ..tensor import Tensor, ndim_of, refuse_out, shape_of
from .indexing import getitem
from .joining import concatenate
from .shapes import broadcast_to, moveaxis, ravel, reshaped

__all__: list[str] = []

ROWS = np.array([[2, 0], [-1, 2]])


def _along(a: Any, index: Any, axis: int) -> Tensor:
    """`a[:, ..., index]`, the index at the given axis."""
    return getitem(a if isinstance(a, Tensor) else Tensor(a), (slice(None),) * axis + (index,))


def _line(a: Any, axis: int | None) -> tuple[Any, int]:
    """The array and its axis counted from the front; flattened where the axis is None."""
    return (ravel(a), 0) if axis is None else (a, normalize_axis_index(axis, ndim_of(a)))


def _refuse(name: str, out: Any) -> None:
    refuse_out(name, out)


@composite(
    np.take,
    samples=(
        sample((3, 4), ROWS),
        sample((3, 4), ROWS, axis=1),
        sample((3, 4), 1, axis=-1),
        sample((3,), [5, -4, 1], mode="wrap"),
        sample((3, 2), [5, -4, 1], axis=0, mode="clip"),
    ),
)
def take(a: Any, indices: Any, axis: int | None = None, out: None = None, mode: str = "raise") -> Tensor:
    """`numpy.take`, modes raise, wrap and clip."""
    _refuse("numpy.take", out)
    a, axis = _line(a, axis)
    ids = np.asarray(plain(indices))
    if ids.size and ids.dtype.kind not in "iub":
        raise TypeError(
            f"numpy.take: indices have dtype {ids.dtype}, wanted integers; an index has no derivative: write "
            "i.detach().astype(int)"
        )
    ids = ids.astype(np.intp)
    length = shape_of(a)[axis]
    if mode == "wrap":
        ids = ids % length
    elif mode == "clip":
        ids = np.clip(ids, 0, length - 1)
    elif mode != "raise":
        raise ValueError(f"numpy.take: mode is {mode!r}, wanted 'raise', 'wrap' or 'clip'")
    return _along(a, ids, axis)


@composite(
    np.take_along_axis,
    samples=(
        sample((3, 2), np.array([[2, 0], [0, 0], [1, 2]]), 0),
        sample((3, 2), np.array([[1], [0], [1]]), axis=1),
        sample((1, 3), np.array([[2, 2], [0, 1]]), axis=-1),
        sample((2, 2), np.array([3, 0, 3]), axis=None),
    ),
)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """`numpy.take_along_axis`."""
    ids = np.asarray(plain(indices))
    if axis is None and ids.ndim != 1:
        raise ValueError(f"numpy.take_along_axis: without axis, indices must have 1 axis, got shape {ids.shape}")
    arr, axis = _line(arr, axis)
    ndim = ndim_of(arr)
    if ids.ndim != ndim:
        raise ValueError(f"numpy.take_along_axis: indices {ids.shape} and array {shape_of(arr)} differ in their axes")
    if ids.dtype.kind not in "iu":
        raise IndexError(f"numpy.take_along_axis: indices have dtype {ids.dtype}, wanted integers")
    shape = np.broadcast_shapes(*(s[:axis] + (1,) + s[axis + 1 :] for s in (ids.shape, shape_of(arr))))
    if shape[:axis] + shape[axis + 1 :] != shape_of(arr)[:axis] + shape_of(arr)[axis + 1 :]:
        arr = broadcast_to(arr, shape[:axis] + shape_of(arr)[axis : axis + 1] + shape[axis + 1 :])
    others = [np.arange(n).reshape((1,) * k + (-1,) + (1,) * (ndim - k - 1)) for k, n in enumerate(shape)]
    index = tuple(ids if k == axis else other for k, other in enumerate(others))
    return getitem(arr if isinstance(arr, Tensor) else Tensor(arr), index)


def _mask(length: int, kept: Any) -> ndarray:
    mask = np.zeros(length, bool)
    mask[kept] = True
    return mask


@composite(
    np.compress,
    samples=(
        sample([True, False, True], (3, 2), axis=0),
        sample([0, 1], (2, 3), axis=-1),
        sample([True, False, True], (2, 2)),
    ),
)
def compress(condition: Any, a: Any, axis: int | None = None, out: None = None) -> Tensor:
    """`numpy.compress`."""
    _refuse("numpy.compress", out)
    a, axis = _line(a, axis)
    condition = np.asarray(plain(condition))
    if condition.ndim != 1:
        raise ValueError(f"numpy.compress: condition must have 1 axis, got shape {condition.shape}")
    return _along(a, _mask(shape_of(a)[axis], np.flatnonzero(condition)), axis)


@composite(np.extract, samples=(sample(np.array([[True, False], [False, True]]), (2, 2)),))
def extract(condition: Any, arr: Any) -> Tensor:
    """`numpy.extract`."""
    return compress(np.ravel(plain(condition)), arr)


@composite(
    np.delete,
    samples=(
        sample((4, 2), 1, axis=0),
        sample((2, 4), [0, -1], axis=1),
        sample((2, 4), slice(0, 4, 2), axis=-1),
        sample((2, 2), np.array([True, False, True, False])),
    ),
)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Tensor:
    """`numpy.delete`: `obj` is an int, a slice, integers or a mask."""
    arr, axis = _line(arr, axis)
    length = shape_of(arr)[axis]
    return _along(arr, _mask(length, np.delete(np.arange(length), plain(obj))), axis)


@composite(
    np.insert,
    samples=(
        sample((3, 2), 1, (2,), axis=0),
        sample((2, 3), 1, (2,), axis=1),
        sample((2, 3), [1], (2, 1), axis=1),
        sample((2, 3), [2, 0, 2], (2, 3), axis=-1),
        sample((3,), slice(0, 2), (2,)),
        sample((2, 2), -1, ()),
    ),
)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """`numpy.insert`, with the values differentiable too."""
    arr, axis = _line(arr, axis)
    shape = shape_of(arr)
    length, places = shape[axis], plain(obj)
    if ndim_of(values) < len(shape):
        values = reshaped(values, (1,) * (len(shape) - ndim_of(values)) + shape_of(values))
    if ndim_of(places) == 0 and not isinstance(places, slice):
        values = moveaxis(values, 0, axis)  # as NumPy has it for a single place
        count = shape_of(values)[axis]
    else:
        count = np.insert(np.arange(length), places, 0).size - length
    values = broadcast_to(values, (*shape[:axis], count, *shape[axis + 1 :]))
    # Entry n of the result is entry order[n] of the array followed by the values.
    order = np.insert(np.arange(length), places, length + np.arange(count))
    return _along(concatenate([arr, values], axis), order, axis)


@composite(np.unstack, samples=(sample((2, 3)), sample((2, 3), axis=-1)))
def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """`numpy.unstack`."""
    if ndim_of(x) == 0:
        raise ValueError("numpy.unstack: wants at least 1 axis, got a scalar")
    x, axis = _line(x, axis)
    return tuple([_along(x, k, axis) for k in range(shape_of(x)[axis])])


def _bincount(weights: Array, *, ids: ndarray, minlength: int) -> Array:
    return np.bincount(ids, weights, minlength)


primitive(
    _bincount,
    lambda ct, ids: ct[ids],
    name="numpy.bincount",
    linear=True,
    samples=(sample((4,), ids=np.array([2, 0, 2, 3]), minlength=0), sample((2,), ids=np.array([1, 1]), minlength=4)),
)


@composite(np.bincount, samples=(sample([2, 0, 2, 3], (4,)), sample([1, 1], (2,), minlength=4)))
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Array:
    """`numpy.bincount`, differentiable in the weights; without them a plain array."""
    ids = np.asarray(plain(x))
    if weights is None:
        return np.bincount(ids, minlength=minlength)
    if ndim_of(weights) != 1 or ids.shape != shape_of(weights):
        raise ValueError(f"numpy.bincount: x has shape {ids.shape}, weights {shape_of(weights)}; wanted equal vectors")
    return apply(_bincount, weights, ids=ids, minlength=minlength)
