"""Reductions. While they are recorded they keep their axes, so that each is one partial derivative.

A sum or a mean of everything keeps none, since a number broadcasts against any array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, dispatching, on_plain_arrays, plain, primitive, reduction, sample
from ..tensor import Tensor, ndim_of, plain_value, shape_of
from .shapes import reshaped

__all__ = ["deviation", "drop", "masked", "refuse"]

OVER = (sample((4,), axis=None), sample((3, 4), axis=0), sample((3, 4), axis=(0, -1)), sample((2, 3, 4), axis=1))
FACE = (sample((2, 3)), sample((2, 3), axis=-1), sample((2, 3, 2), axis=(0, 2), keepdims=True), sample(()))
CHOSEN = np.array([[True, False, True], [True, True, False]])
BOUNDED = (
    sample((2, 3), axis=0, where=CHOSEN, initial=-2.5),
    sample((3,), initial=0.3),
    sample((2, 0), 1, initial=1.0),
)


def drop(out: Tensor, ndim: int, axis: Any, keepdims: bool) -> Tensor:
    """The result of a reduction over `axis` of an array with `ndim` axes, without the reduced axes."""
    if axis is None:
        wanted = (1,) * ndim if keepdims else ()
        return out if out.shape == wanted else reshaped(out, wanted)
    if keepdims:
        return out
    gone = {a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))} if ndim else ()
    return reshaped(out, tuple(n for k, n in enumerate(out.shape) if k not in gone))


def refuse(name: str, dtype: Any, out: Any) -> None:
    """Raise for keywords that have no derivative."""
    if dtype is not None or out is not None:
        raise TypeError(f"{name}: dtype= and out= have no derivative; convert with astype() before")


def masked(a: Any, where: Any, fill: Any) -> Any:
    """`a` with `fill` where a reduction's `where=` leaves it out; that may stretch over `a`, not `a` over it."""
    if where is True:
        return a
    return np.where(np.broadcast_to(plain(where), shape_of(a)), a, fill)


def _sum(x: Array, *, axis: Any, out: Any = None) -> Array:
    kept: Any = axis is not None  # the stubs know True and False apart, but no bool
    return np.add.reduce(x, axis=axis, out=out, keepdims=kept)  # what numpy.sum calls after a look at its arguments


reduction(_sum, 1, name="numpy.sum", samples=OVER, linear=True)


@composite(np.sum, samples=(*FACE, sample((2, 3), axis=0, where=CHOSEN, initial=2.0)))
def sum(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Tensor:
    """`numpy.sum`."""
    refuse("numpy.sum", dtype, out)
    kept = apply(_sum, masked(a, where, 0), axis=axis)
    result = drop(kept, ndim_of(a), axis, keepdims)
    return result if initial is None else apply(np.add, result, initial)


def _mean(x: Array, *, axis: Any) -> Array:
    return np.mean(x, axis=axis, keepdims=axis is not None)


reduction(_mean, lambda _out, _x: _out.size / (_x.size or 1), name="numpy.mean", samples=OVER, linear=True)


def _count(a: Any, axis: Any, keepdims: bool, where: Any) -> Any:
    """How many entries `where=` leaves, in the dtype of `a`."""
    chosen = np.broadcast_to(plain(where), shape_of(a))
    return np.sum(chosen, axis=axis, keepdims=keepdims, dtype=np.result_type(plain_value(a), np.float16))


@composite(np.mean, samples=(*FACE, sample((2, 3), axis=1, where=CHOSEN), sample((2, 3), where=CHOSEN[0])))
def mean(
    a: Any, axis: Any = None, dtype: None = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Tensor:
    """`numpy.mean`."""
    refuse("numpy.mean", dtype, out)
    if where is not True:
        return sum(a, axis, keepdims=keepdims, where=where) / _count(a, axis, keepdims, where)  # type: ignore[no-any-return]  # the protocol gives a Tensor
    kept = apply(_mean, a, axis=axis)
    return drop(kept, ndim_of(a), axis, keepdims)


def _max(x: Array, *, axis: Any) -> Array:
    return np.max(x, axis=axis, keepdims=True)


def _min(x: Array, *, axis: Any) -> Array:
    return np.min(x, axis=axis, keepdims=True)


def _shares(out: Any, x: Any, axis: Any) -> Any:
    """Who attains the extreme value; ties share equally."""
    attained = x == out
    count = np.count_nonzero(attained, axis=axis, keepdims=True)
    return attained * (1 / count.astype(x.dtype))  # counted and multiplied in half the time of a sum and a division


def _shared(out: Any, x: Any, axis: Any) -> Any:
    return on_plain_arrays(_shares, out, x, axis=axis)


reduction(_max, _shared, name="numpy.max", samples=OVER, selects=True)
reduction(_min, _shared, name="numpy.min", samples=OVER, selects=True)


def _bounded(
    kernel: Any, pair: np.ufunc, a: Any, axis: Any, keepdims: bool, initial: Any, where: Any, worst: float
) -> Tensor:
    """The extreme value of the chosen entries and of `initial`, which ties with them as one entry does."""
    if initial is None:
        raise ValueError(f"numpy.{pair.__name__}.reduce: where= may leave nothing to choose from; give initial=")
    if np.result_type(plain_value(a)).kind != "f":
        worst = initial
    chosen = masked(a, where, worst)
    out = apply(kernel, chosen, axis=axis) if np.size(a) else np.full(_kept_shape(a, axis), worst, chosen.dtype)
    return apply(pair, drop(Tensor(out) if isinstance(out, np.ndarray) else out, ndim_of(a), axis, keepdims), initial)


def _kept_shape(a: Any, axis: Any) -> tuple[int, ...]:
    return np.sum(np.broadcast_to(False, shape_of(a)), axis=axis, keepdims=True).shape  # type: ignore[no-any-return]  # a shape


@composite(np.max, np.amax, samples=(*FACE, *BOUNDED))
def max(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Tensor:
    """`numpy.max`; ties share the derivative equally."""
    refuse("numpy.max", None, out)
    if initial is None and where is True:
        kept = apply(_max, a, axis=axis)
        return drop(kept, ndim_of(a), axis, keepdims)
    return _bounded(_max, np.maximum, a, axis, keepdims, initial, where, -np.inf)


@composite(np.min, np.amin, samples=(*FACE, *BOUNDED))
def min(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Tensor:
    """`numpy.min`; ties share the derivative equally."""
    refuse("numpy.min", None, out)
    if initial is None and where is True:
        kept = apply(_min, a, axis=axis)
        return drop(kept, ndim_of(a), axis, keepdims)
    return _bounded(_min, np.minimum, a, axis, keepdims, initial, where, np.inf)


def _deviation(x: Array, *, axis: Any) -> Array:
    x = np.asarray(x)
    if x.size == 0:
        return x
    d = x - np.min(x, axis=axis, keepdims=True)  # so that a constant deviates by exactly 0
    return d - np.mean(d, axis=axis, keepdims=True)


deviation = dispatching(_deviation)
primitive(
    _deviation,
    lambda ct, axis: deviation(ct, axis=axis),  # a symmetric projection
    push=lambda tangents, x, axis: deviation(tangents[0], axis=axis),
    samples=OVER,
)


def _var(x: Array, *, axis: Any, ddof: Any) -> Array:
    return np.var(x, axis=axis, ddof=ddof, keepdims=True)


def _std(x: Array, *, axis: Any, ddof: Any) -> Array:
    return np.std(x, axis=axis, ddof=ddof, keepdims=True)


def _freedom(out: Any, x: Any, ddof: Any) -> Any:
    return (x.size / out.size if out.size else 0) - ddof


reduction(
    _var,
    lambda _out, x, axis, ddof: deviation(x, axis=axis) * (2 / _freedom(_out, x, ddof)),
    name="numpy.var",
    samples=tuple(sample(*s.args, ddof=1, **s.params) for s in OVER),
)
# The std of a constant has derivative 0, and no curvature either: its deviations are 0 exactly.
reduction(
    _std,
    lambda out, x, axis, ddof: deviation(x, axis=axis) / (np.where(out == 0, np.inf, out) * _freedom(out, x, ddof)),
    name="numpy.std",
    samples=tuple(sample(*s.args, ddof=0, **s.params) for s in OVER),
)


def _ddof(ddof: Any, correction: Any) -> Any:
    return ddof if correction is None else correction


def _masked_var(a: Any, axis: Any, ddof: Any, keepdims: bool, where: Any) -> Tensor:
    d = masked(a - mean(a, axis, keepdims=True, where=where), where, 0)
    return sum(np.square(d), axis, keepdims=keepdims) / np.maximum(_count(a, axis, keepdims, where) - ddof, 0)  # type: ignore[no-any-return]  # the protocol gives a Tensor


@composite(
    np.var, samples=(*FACE, sample((4,), ddof=1), sample((4, 2), axis=0, correction=1), sample((2, 3), where=CHOSEN))
)
def var(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float | None = None,
) -> Tensor:
    """`numpy.var`."""
    refuse("numpy.var", dtype, out)
    if where is not True:
        return _masked_var(a, axis, _ddof(ddof, correction), keepdims, where)
    return drop(apply(_var, a, axis=axis, ddof=_ddof(ddof, correction)), ndim_of(a), axis, keepdims)


@composite(
    np.std, samples=(*FACE, sample((4,), ddof=1), sample((4, 2), axis=0, correction=1), sample((2, 3), where=CHOSEN))
)
def std(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = True,
    correction: float | None = None,
) -> Tensor:
    """`numpy.std`; that of a constant has derivative 0."""
    refuse("numpy.std", dtype, out)
    if where is not True:
        return np.sqrt(_masked_var(a, axis, _ddof(ddof, correction), keepdims, where))  # type: ignore[return-value]  # the protocol gives a Tensor
    return drop(apply(_std, a, axis=axis, ddof=_ddof(ddof, correction)), ndim_of(a), axis, keepdims)
