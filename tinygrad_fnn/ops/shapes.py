"""Rearrangements: every entry of the result is one entry of the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, plain, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of

__all__ = ["carried", "reshaped"]


def carried(out: Tensor, x: Any, move: Callable[[Tensor], Tensor]) -> Tensor:
    """`out`, which is `x` rearranged by `move`, remembering what a probability was computed from."""
    origin = getattr(x, "_origin", None)
    if origin is not None:
        out._origin = origin.moved(move)
    return out


def _reshape(x: Array, *, shape: tuple[int, ...]) -> Array:
    return np.asarray(x).reshape(shape)  # what numpy.reshape calls after a look at its arguments


primitive(
    _reshape,
    lambda ct, _x: ct.reshape(_x.shape),
    name="numpy.reshape",
    linear=True,
    samples=(sample((2, 3), shape=(3, 2)), sample((6,), shape=(2, -1)), sample((), shape=(1, 1))),
)


def reshaped(x: Any, shape: tuple[int, ...]) -> Tensor:
    """`x` in another shape, in C order."""
    return carried(apply(_reshape, x, shape=shape), x, lambda z: reshaped(z, shape))


@composite(
    np.reshape,
    samples=(sample((2, 3), shape=(3, -1)), sample((2, 3), -1), sample((2, 3, 2), shape=(4, 3), order="F")),
)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: bool | None = None) -> Tensor:
    """`numpy.reshape` in C or F order."""
    shape = tuple(shape) if np.iterable(shape) else (shape,)
    if order == "C":
        return reshaped(a, shape)
    if order != "F":
        raise ValueError(f"numpy.reshape: order={order!r} depends on memory; a Tensor has 'C' and 'F'")
    return np.transpose(reshaped(np.transpose(a), shape[::-1]))  # type: ignore[return-value]  # the protocol's Tensor


@composite(np.ravel, samples=(sample((2, 3)), sample((2, 3), "F"), sample(())))
def ravel(a: Any, order: str = "C") -> Tensor:
    """`numpy.ravel` in C or F order."""
    return reshape(a, (-1,), order)


def _transpose(x: Array, *, axes: tuple[int, ...]) -> Array:
    return np.transpose(x, axes)


primitive(
    _transpose,
    lambda ct, axes: ct.transpose(tuple(int(k) for k in np.argsort(axes))),
    name="numpy.transpose",
    linear=True,
    samples=(sample((2, 3), axes=(1, 0)), sample((2, 3, 4), axes=(2, 0, 1)), sample((), axes=())),
)


@composite(np.transpose, samples=(sample((2, 3, 4)), sample((2, 3, 4), axes=(1, -1, 0)), sample((3,))))
def transpose(a: Any, axes: Any = None) -> Tensor:
    """`numpy.transpose`."""
    ndim = ndim_of(a)
    order = tuple(range(ndim))[::-1] if axes is None else tuple(normalize_axis_tuple(axes, ndim))
    return carried(apply(_transpose, a, axes=order), a, lambda z: apply(_transpose, z, axes=order))


@composite(np.matrix_transpose, samples=(sample((2, 3)), sample((2, 3, 4))))
def matrix_transpose(x: Any, /) -> Tensor:
    """`numpy.matrix_transpose`: the last two axes exchanged."""
    if ndim_of(x) < 2:
        raise ValueError(f"numpy.matrix_transpose: wants at least 2 axes, got shape {shape_of(x)}")
    return swapaxes(x, -1, -2)


@composite(np.swapaxes, samples=(sample((2, 3, 4), 0, -1), sample((2, 3), 0, 0)))
def swapaxes(a: Any, axis1: int, axis2: int) -> Tensor:
    """`numpy.swapaxes`."""
    axes = list(range(ndim_of(a)))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(a, axes)


@composite(np.moveaxis, samples=(sample((2, 3, 4), 0, -1), sample((2, 3, 4), [0, 1], [-1, 0])))
def moveaxis(a: Any, source: Any, destination: Any) -> Tensor:
    """`numpy.moveaxis`."""
    sources = normalize_axis_tuple(source, ndim_of(a), "source")
    targets = normalize_axis_tuple(destination, ndim_of(a), "destination")
    order = [k for k in range(ndim_of(a)) if k not in sources]
    for target, origin in sorted(zip(targets, sources, strict=True)):
        order.insert(target, origin)
    return transpose(a, order)


@composite(np.expand_dims, samples=(sample((2, 3), 1), sample((2, 3), axis=(0, -1)), sample((), 0)))
def expand_dims(a: Any, axis: Any) -> Tensor:
    """`numpy.expand_dims`."""
    return reshaped(a, np.expand_dims(np.broadcast_to(0, shape_of(a)), axis).shape)


@composite(np.squeeze, samples=(sample((1, 3, 1)), sample((1, 3, 1), axis=0), sample((1, 3, 1), axis=(0, -1))))
def squeeze(a: Any, axis: Any = None) -> Tensor:
    """`numpy.squeeze`."""
    return reshaped(a, np.squeeze(np.broadcast_to(0, shape_of(a)), axis).shape)


def _broadcast_to(x: Array, *, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(x, shape)


# The walk fits each share to its primal's shape, which is all that there is to do.
primitive(
    _broadcast_to,
    lambda ct: ct,
    name="numpy.broadcast_to",
    linear=True,
    samples=(sample((3,), shape=(2, 3)), sample((2, 1), shape=(4, 2, 3)), sample((), shape=(2,))),
)


@composite(np.broadcast_to, samples=(sample((2, 1), shape=(4, 2, 3)), sample((3,), 3), sample((), shape=(0,))))
def broadcast_to(array: Any, shape: Any) -> Tensor:
    """`numpy.broadcast_to`."""
    return apply(_broadcast_to, array, shape=tuple(shape) if np.iterable(shape) else (shape,))


def _astype(x: Array, *, dtype: Any) -> Array:
    return np.asarray(x).astype(dtype)


primitive(_astype, lambda ct: ct, name="ndarray.astype", linear=True, samples=(sample((3,), dtype=np.dtype(float)),))


@composite(ndarray.astype, name="ndarray.astype", samples=(sample((3,), float), sample((3,), "f4")))
def astype(x: Tensor, dtype: Any) -> Tensor:
    """`ndarray.astype`; to integers or booleans it ends the derivative, which is 0 there."""
    dtype = np.dtype(dtype)
    if dtype.kind in "biu":
        return Tensor(plain(x), dtype=dtype)
    return apply(_astype, x, dtype=dtype)


@composite(np.copy, samples=(sample((2, 3)),))
def copy(a: Any, order: str = "K", subok: bool = False) -> Tensor:
    """`numpy.copy`: the same values in a Tensor of its own."""
    return apply(np.positive, a)
