"""Diagonals and triangles of matrices, and the Vandermonde matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..gate import apply
from ..rules import Array, composite, dispatching, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .shapes import moveaxis, ravel, reshaped

__all__: list[str] = []


def _diagonal(x: Array, *, offset: int) -> Array:
    return np.diagonal(x, offset, -2, -1)


def _on_diagonal(x: Array, *, offset: int, shape: tuple[int, int]) -> Array:
    """A matrix of zeros with `x` on a diagonal: the adjoint of taking it."""
    rows, columns = shape
    out = np.zeros(x.shape[:-1] + (rows * columns,), x.dtype)
    start = offset if offset >= 0 else -offset * columns
    out[..., start : start + x.shape[-1] * (columns + 1) : columns + 1] = x
    return out.reshape(x.shape[:-1] + shape)


diagonal_of, on_diagonal = dispatching(_diagonal), dispatching(_on_diagonal)
primitive(
    _diagonal,
    lambda ct, _x, offset: on_diagonal(ct, offset=offset, shape=_x.shape[-2:]),
    name="numpy.diagonal",
    linear=True,
    samples=(
        sample((3, 3), offset=0),
        sample((2, 4), offset=1),
        sample((2, 4, 2), offset=-3),
        sample((2, 2), offset=5),
    ),
)
primitive(
    _on_diagonal,
    lambda ct, offset: diagonal_of(ct, offset=offset),
    name="numpy.diagonal (adjoint)",
    linear=True,
    samples=(
        sample((3,), offset=0, shape=(3, 3)),
        sample((2, 2), offset=1, shape=(2, 5)),
        sample((0,), offset=5, shape=(2, 2)),
    ),
)


@composite(
    np.diagonal,
    samples=(sample((3, 4)), sample((3, 4), 1), sample((2, 3, 2), offset=-1, axis1=2, axis2=1)),
)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """`numpy.diagonal`."""
    ndim = ndim_of(a)
    if ndim < 2:
        raise ValueError(f"numpy.diagonal: wants at least 2 axes, got shape {shape_of(a)}")
    axes = normalize_axis_index(axis1, ndim), normalize_axis_index(axis2, ndim)
    if axes[0] == axes[1]:
        raise ValueError(f"numpy.diagonal: axis1 and axis2 are both axis {axes[0]} of shape {shape_of(a)}")
    return apply(_diagonal, a if axes == (ndim - 2, ndim - 1) else moveaxis(a, axes, (-2, -1)), offset=offset)


def _without_dtype(name: str, dtype: Any, out: Any = None) -> None:
    if dtype is not None or out is not None:
        raise TypeError(f"{name}: dtype= and out= have no derivative; convert with astype() before")


@composite(np.trace, samples=(sample((3, 3)), sample((2, 4), 1), sample((2, 3, 2), offset=1, axis1=0, axis2=2)))
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: None = None, out: None = None) -> Tensor:
    """`numpy.trace`."""
    _without_dtype("numpy.trace", dtype, out)
    return reductions.sum(diagonal(a, offset, axis1, axis2), axis=-1)


@composite(np.linalg.diagonal, samples=(sample((2, 3, 3)), sample((2, 3), offset=1)))
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """`numpy.linalg.diagonal`, of the last two axes."""
    return diagonal(x, offset, -2, -1)


@composite(np.linalg.trace, samples=(sample((2, 3, 3)), sample((2, 3), offset=-1)))
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: None = None) -> Tensor:
    """`numpy.linalg.trace`, of the last two axes."""
    _without_dtype("numpy.linalg.trace", dtype)
    return trace(x, offset, -2, -1)


@composite(np.diag, samples=(sample((3,)), sample((2,), -1), sample((2, 3), k=1), sample((2,), k=3)))
def diag(v: Any, k: int = 0) -> Tensor:
    """`numpy.diag`: the diagonal of a matrix, or the matrix of a diagonal."""
    if ndim_of(v) == 2:
        return diagonal(v, k)
    if ndim_of(v) != 1:
        raise ValueError(f"numpy.diag: wants 1 or 2 axes, got shape {shape_of(v)}")
    n = shape_of(v)[0] + abs(k)
    return apply(_on_diagonal, v, offset=k, shape=(n, n))


@composite(np.diagflat, samples=(sample((2, 2)), sample((), 1), sample((2,), k=-2)))
def diagflat(v: Any, k: int = 0) -> Tensor:
    """`numpy.diagflat`."""
    return diag(ravel(v), k)


def _triangle(x: Array, *, k: int, upper: bool) -> Array:
    return np.triu(x, k) if upper else np.tril(x, k)


triangle = dispatching(_triangle)
primitive(
    _triangle,
    lambda ct, k, upper: triangle(ct, k=k, upper=upper),
    name="numpy.tril, numpy.triu",
    linear=True,
    samples=(sample((3, 3), k=0, upper=False), sample((2, 4), k=1, upper=True), sample((2, 3, 2), k=-1, upper=False)),
)


def _square(m: Any) -> Any:
    """A vector as the rows of a square matrix, as NumPy has it; a matrix as it is."""
    return np.broadcast_to(m, 2 * shape_of(m)) if ndim_of(m) == 1 else m


@composite(np.tril, samples=(sample((3, 3)), sample((2, 3, 4), 1), sample((3,), k=-1)))
def tril(m: Any, k: int = 0) -> Tensor:
    """`numpy.tril`."""
    return apply(_triangle, _square(m), k=k, upper=False)


@composite(np.triu, samples=(sample((3, 3)), sample((2, 3, 4), -1), sample((3,), k=1)))
def triu(m: Any, k: int = 0) -> Tensor:
    """`numpy.triu`."""
    return apply(_triangle, _square(m), k=k, upper=True)


@composite(np.vander, samples=(sample((3,)), sample((3,), 2), sample((3,), N=4, increasing=True), sample((2,), N=0)))
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """`numpy.vander`, in its dtype: float32 becomes float64."""
    if ndim_of(x) != 1:
        raise ValueError(f"numpy.vander: wants a vector, got shape {shape_of(x)}")
    powers = np.arange(shape_of(x)[0] if N is None else N)
    column: Array = reshaped(x, (-1, 1))
    return column ** (powers if increasing else powers[::-1])  # type: ignore[no-any-return]  # an Array is anything
