"""Methods of ufuncs: `np.add.reduce(t)` is a sum, `np.multiply.accumulate(t)` a running product.

They stand apart from the rules because a method is no function of its own: `METHODS` is keyed by ufunc and name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..gate import apply
from ..rules import METHODS, RULES, plain
from ..tensor import Tensor, ndim_of, shape_of
from . import cumulative, reductions
from .indexing import getitem, scatter, setitem
from .logistic import logsumexp
from .reductions import masked, refuse

__all__: list[str] = []


def _enter(ufunc: np.ufunc, method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(face: Callable[..., Any]) -> Callable[..., Any]:
        METHODS[ufunc, method] = face
        return face

    return decorate


# --- reduce: the reductions, along the first axis by default --------------------------------------------------------


def _sum_or_product(ufunc: np.ufunc, fun: Callable[..., Tensor]) -> None:
    @_enter(ufunc, "reduce")
    def reduce(
        array: Any,
        axis: Any = 0,
        dtype: None = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        return fun(array, _axis(array, axis), dtype, out, keepdims, initial, where)


def _extreme(ufunc: np.ufunc, fun: Callable[..., Tensor]) -> None:
    @_enter(ufunc, "reduce")
    def reduce(
        array: Any,
        axis: Any = 0,
        dtype: None = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Tensor:
        refuse(f"numpy.{ufunc.__name__}.reduce", dtype, out)
        return fun(array, _axis(array, axis), None, keepdims, initial, where)


def _axis(array: Any, axis: Any) -> Any:
    """The axis; of a number there is none, and NumPy takes 0 for it."""
    return None if ndim_of(array) == 0 and axis in (0, -1) else axis


_sum_or_product(np.add, reductions.sum)
_sum_or_product(np.multiply, cumulative.prod)
_extreme(np.maximum, reductions.max)
_extreme(np.minimum, reductions.min)


@_enter(np.logaddexp, "reduce")
def _logaddexp_reduce(
    array: Any,
    axis: Any = 0,
    dtype: None = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Tensor:
    refuse("numpy.logaddexp.reduce", dtype, out)
    total = logsumexp(masked(array, where, -np.inf), _axis(array, axis), keepdims=keepdims)
    return total if initial is None else apply(np.logaddexp, total, initial)


# --- accumulate -----------------------------------------------------------------------------------------------------


@_enter(np.add, "accumulate")
def _cumsum(array: Any, axis: int = 0, dtype: None = None, out: None = None) -> Tensor:
    return cumulative.cumsum(array, axis, dtype, out)


@_enter(np.multiply, "accumulate")
def _cumprod(array: Any, axis: int = 0, dtype: None = None, out: None = None) -> Tensor:
    return cumulative.cumprod(array, axis, dtype, out)


def _running(ufunc: np.ufunc) -> None:
    @_enter(ufunc, "accumulate")
    def accumulate(array: Any, axis: int = 0, dtype: None = None, out: None = None) -> Tensor:
        """Each entry is the first one of the array that attains the value so far."""
        refuse(f"numpy.{ufunc.__name__}.accumulate", dtype, out)
        values = np.asarray(plain(array))
        axis = normalize_axis_index(axis, values.ndim)
        best = np.moveaxis(ufunc.accumulate(values, axis=axis), axis, -1)
        better = np.zeros(best.shape, bool)
        better[..., 1:] = (best[..., 1:] != best[..., :-1]) & ~np.isnan(best[..., :-1])
        attained = np.maximum.accumulate(np.where(better, np.arange(best.shape[-1]), 0), axis=-1)
        places = list(np.ogrid[tuple(map(slice, values.shape))])
        places[axis] = np.moveaxis(attained, -1, axis)
        return getitem(array, tuple(places))


_running(np.maximum)
_running(np.minimum)


@_enter(np.logaddexp, "accumulate")
def _logaddexp_accumulate(array: Any, axis: int = 0, dtype: None = None, out: None = None) -> Tensor:
    """By doubling: after k passes each entry has the 2**k entries up to it, none of them twice [1]_.

    References
    ----------
    .. [1] Hillis & Steele, *Data Parallel Algorithms*, CACM 29 (1986), p. 1173.
    """
    refuse("numpy.logaddexp.accumulate", dtype, out)
    axis = normalize_axis_index(axis, ndim_of(array))
    total, reach = array, 1
    while reach < shape_of(array)[axis]:
        before = (slice(None),) * axis
        head, tail = total[(*before, slice(reach))], total[(*before, slice(reach, None))]
        total = np.concatenate((head, np.logaddexp(total[(*before, slice(-reach))], tail)), axis=axis)
        reach *= 2
    return apply(np.positive, total)


# --- outer, at ------------------------------------------------------------------------------------------------------


def _outer(ufunc: np.ufunc) -> None:
    @_enter(ufunc, "outer")
    def outer(a: Any, b: Any, /) -> Any:
        a, b = (v if isinstance(v, Tensor) else np.asarray(v) for v in (a, b))
        return RULES[ufunc].call(np.reshape(a, a.shape + (1,) * b.ndim), b)


PAIRS = (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp)
for _ufunc in (*PAIRS, np.subtract, np.divide, np.power, np.hypot, np.arctan2):
    _outer(_ufunc)


def _at(ufunc: np.ufunc, sign: int) -> None:
    @_enter(ufunc, "at")
    def at(a: Any, indices: Any, b: Any, /) -> None:
        """As `a[indices] += b`, but an entry that is named twice takes both."""
        if not isinstance(a, Tensor):
            raise TypeError(
                f"numpy.{ufunc.__name__}.at: a plain array cannot take a tracked value; "
                "make it a Tensor, or give t.detach()"
            )
        index = plain(indices)
        index = np.asarray(index) if isinstance(index, list) else index
        share = np.broadcast_to(b, shape_of(a._value[index]))
        moved = scatter(share, index=index, shape=a.shape)
        setitem(a, Ellipsis, a + moved if sign > 0 else a - moved)


_at(np.add, 1)
_at(np.subtract, -1)
