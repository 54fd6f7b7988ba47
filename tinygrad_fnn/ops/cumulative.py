"""Products, and running sums and products.

No derivative divides by an entry: that of a product in one factor is the product of the others, exactly, zeros
included, and so to every order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, plain, primitive, reduction, sample
from ..tensor import Tensor, ndim_of, shape_of
from .reductions import FACE, OVER, drop, masked, refuse
from .shapes import ravel

__all__: list[str] = []

ALONG = (sample((4,), axis=0), sample((3, 5), axis=1), sample((3, 2), axis=0), sample((2, 1, 3), axis=1))
RUNNING = (sample((2, 3)), sample((3, 4), axis=-1), sample((3, 4), 0), sample(()))

# --- the product ----------------------------------------------------------------------------------------------------


def _prod(x: Array, *, axis: Any) -> Array:
    return np.prod(x, axis=axis, keepdims=True)


def _others(x: Array) -> Array:
    """Along the last axis the product of all entries but this one: of those before it and those after it."""
    if not x.size:
        return x
    one = np.ones_like(x[..., :1])
    before = np.concatenate((one, np.cumprod(x[..., :-1], axis=-1)), axis=-1)
    after = np.concatenate((one, np.cumprod(x[..., :0:-1], axis=-1)), axis=-1)
    return before * after[..., ::-1]


def _others_over(x: Array, axis: Any) -> Array:
    """`_others` along the axes that are reduced, as one."""
    if x.ndim < 2:
        return _others(x.reshape(-1)).reshape(x.shape)
    gone = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
    order = tuple(k for k in range(x.ndim) if k not in gone) + gone
    moved = x.transpose(order)
    flat = moved.reshape((*moved.shape[: x.ndim - len(gone)], -1 if x.size else 0))
    return _others(flat).reshape(moved.shape).transpose(tuple(int(k) for k in np.argsort(order)))


def _prod_slope(out: Any, x: Any, axis: Any) -> Any:
    """`out / x` where the product has all its digits: it is not 0, and has neither overflowed nor underflowed."""
    size = abs(plain(out))
    if (size >= np.finfo(size.dtype).tiny).all() and (size < np.inf).all():
        return out / x
    return _others_over(x, axis)


reduction(_prod, lambda out, x, axis: _prod_slope(out, x, axis), name="numpy.prod", samples=OVER)


@composite(np.prod, samples=(*FACE, sample((2, 3), axis=1, where=np.array([True, False, True]), initial=2.0)))
def prod(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Tensor:
    """`numpy.prod`."""
    refuse("numpy.prod", dtype, out)
    result = drop(apply(_prod, masked(a, where, 1), axis=axis), ndim_of(a), axis, keepdims)
    return result if initial is None else apply(np.multiply, result, initial)


# --- running sums ---------------------------------------------------------------------------------------------------


def _cumsum(x: Array, *, axis: int) -> Array:
    return np.cumsum(x, axis=axis)


def _backwards(axis: int) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(None, None, -1),)


# An entry counts in every sum from its own on.
primitive(
    _cumsum,
    lambda ct, axis: np.cumsum(ct[_backwards(axis)], axis=axis)[_backwards(axis)],
    name="numpy.cumsum",
    samples=ALONG,
    linear=True,
)


def _line(a: Any, axis: int | None) -> tuple[Any, int]:
    """The array and its axis, not negative; flat where the axis is None."""
    if axis is None or ndim_of(a) == 0:
        return (a if ndim_of(a) == 1 else ravel(a)), 0
    return a, normalize_axis_tuple(axis, ndim_of(a))[0]


@composite(np.cumsum, samples=RUNNING)
def cumsum(a: Any, axis: int | None = None, dtype: None = None, out: None = None) -> Tensor:
    """`numpy.cumsum`."""
    refuse("numpy.cumsum", dtype, out)
    x, k = _line(a, axis)
    return apply(_cumsum, x, axis=k)


# --- running products -----------------------------------------------------------------------------------------------


def _recurrence(a: Array, b: Array) -> Array:
    """Along the last axis the solution of ``y[k] = a[k] y[k - 1] + b[k]``, ``y[0] = b[0]``; by pairs, in n steps.

    Every second equation put into the next one leaves a recurrence of half the length [1]_.

    References
    ----------
    .. [1] Blelloch, *Prefix Sums and Their Applications* (1990), section 1.4.
    """
    n = b.shape[-1]
    if n < 2:
        return b
    half = n // 2
    first, second = a[..., 1::2], a[..., 0 : 2 * half : 2]
    odd = _recurrence(first * second, first * b[..., 0 : 2 * half : 2] + b[..., 1::2])
    later = a[..., 2::2] * odd[..., : n - half - 1] + b[..., 2::2]
    even = np.concatenate((b[..., :1], later), axis=-1)
    both = np.stack((even[..., :half], odd), axis=-1).reshape((*b.shape[:-1], 2 * half))
    return np.concatenate((both, even[..., half:]), axis=-1) if n % 2 else both


def _cumprod(x: Array, *, axis: int) -> Array:
    return np.cumprod(x, axis=axis)


def _cumprod_share(ct: Array, out: Array, x: Array, axis: int) -> Array:
    """What comes before an entry, times ``h[j] = ct[j] + x[j + 1] h[j + 1]``, what comes after it."""
    if not x.size:
        return ct
    ct, out, x = (np.swapaxes(v, axis, -1) for v in (ct, out, x))
    one = np.ones_like(x[..., :1])
    before = np.concatenate((one, out[..., :-1]), axis=-1)
    factors = np.concatenate((one, x[..., :0:-1]), axis=-1)
    after = _recurrence(factors, ct[..., ::-1])[..., ::-1]
    return np.swapaxes(before * after, axis, -1)


primitive(
    _cumprod,
    lambda ct, out, x, axis: _cumprod_share(ct, out, x, axis),
    name="numpy.cumprod",
    samples=(*ALONG, sample((2, 7), axis=1)),
)


@composite(np.cumprod, samples=RUNNING)
def cumprod(a: Any, axis: int | None = None, dtype: None = None, out: None = None) -> Tensor:
    """`numpy.cumprod`."""
    refuse("numpy.cumprod", dtype, out)
    x, k = _line(a, axis)
    return apply(_cumprod, x, axis=k)


# --- the array API's names ------------------------------------------------------------------------------------------


def _cumulative(running: Any, x: Any, axis: int | None, start: float | None, name: str) -> Tensor:
    if axis is None and ndim_of(x) != 1:
        raise ValueError(f"{name}: of shape {shape_of(x)} it wants an axis; only one-dimensional arrays need none")
    out: Tensor = running(x, 0 if axis is None else axis)
    if start is None:
        return out
    shape = list(out.shape)
    shape[0 if axis is None else axis] = 1
    return np.concatenate((np.full(shape, start, out.dtype), out), axis=0 if axis is None else axis)  # type: ignore[return-value]  # the protocol gives a Tensor


STARTED = (sample((4,)), sample((2, 3), axis=-1), sample((2, 3), axis=0, include_initial=True))


@composite(np.cumulative_sum, samples=STARTED)
def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: None = None, out: None = None, include_initial: bool = False
) -> Tensor:
    """`numpy.cumulative_sum`."""
    refuse("numpy.cumulative_sum", dtype, out)
    return _cumulative(cumsum, x, axis, 0 if include_initial else None, "numpy.cumulative_sum")


@composite(np.cumulative_prod, samples=STARTED)
def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: None = None, out: None = None, include_initial: bool = False
) -> Tensor:
    """`numpy.cumulative_prod`."""
    refuse("numpy.cumulative_prod", dtype, out)
    return _cumulative(cumprod, x, axis, 1 if include_initial else None, "numpy.cumulative_prod")
