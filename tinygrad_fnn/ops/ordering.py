"""Sorting: every entry of the result is one of the argument, equal ones in stable order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_index

from ..gate import apply
from ..rules import Array, composite, dispatching, plain, primitive, sample
from ..tensor import Tensor, ndim_of
from .shapes import ravel

__all__: list[str] = []

SORTED = (sample((4,)), sample((3, 4), axis=0), sample((2, 3), axis=None), sample((2, 1, 3), 1))

# --- sorting --------------------------------------------------------------------------------------------------------


def _permuted(x: Array, *, order: ndarray, axis: int) -> Array:
    return np.take_along_axis(x, order, axis)


def _inverse(order: ndarray, axis: int) -> ndarray:
    inverse = np.empty_like(order)
    shape = (-1,) + (1,) * (order.ndim - 1 - axis)
    np.put_along_axis(inverse, order, np.arange(order.shape[axis]).reshape(shape), axis)
    return inverse


permuted = dispatching(_permuted)
primitive(
    _permuted,
    lambda ct, order, axis: permuted(ct, order=_inverse(order, axis), axis=axis),
    linear=True,
    samples=(
        sample((3,), order=np.array([2, 0, 1]), axis=0),
        sample((2, 3), order=np.array([[1, 2, 0], [0, 2, 1]]), axis=1),
    ),
)


def _stable_order(x: ndarray, axis: int) -> ndarray:
    """`argsort` in stable order; the quick method is taken where nothing ties, which is several times as fast."""
    if x.shape[axis] < 2048:
        return np.argsort(x, axis, kind="stable")
    order = np.argsort(x, axis)
    in_order = np.moveaxis(np.take_along_axis(x, order, axis), axis, -1)
    if (in_order[..., 1:] > in_order[..., :-1]).all():
        return order
    return np.argsort(x, axis, kind="stable")


def _reordered(a: Any, axis: int | None, order_of: Any) -> Tensor:
    if axis is None:
        a, axis = ravel(a), 0
    axis = normalize_axis_index(axis, ndim_of(a))
    return apply(_permuted, a, order=order_of(plain(a), axis), axis=axis)


@composite(np.sort, samples=(*SORTED, sample((4,), kind="heapsort"), sample((4,), stable=True)))
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: None = None, *, stable: bool | None = None) -> Tensor:
    """`numpy.sort`, by a stable method whatever `kind` asks for."""
    if order is not None:
        raise TypeError("numpy.sort: order= names fields of records, which a Tensor has not")
    return _reordered(a, axis, _stable_order)


# Ranks that leave parts of one entry, so that there is one right order.
FORCED = (sample((3,), 1), sample((3, 4), [1], axis=0), sample((2, 3), [1, 3, -2], axis=None))


@composite(np.partition, samples=FORCED)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: None = None) -> Tensor:
    """`numpy.partition`; NumPy leaves the order within the parts open, and so does this."""
    if order is not None:
        raise TypeError("numpy.partition: order= names fields of records, which a Tensor has not")
    return _reordered(a, axis, lambda x, k: np.argpartition(x, plain(kth), k))
