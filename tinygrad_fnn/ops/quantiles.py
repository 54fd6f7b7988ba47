"""Values at given ranks: median, quantiles, range. Equal entries are told apart by stable order, as in a sort."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, dispatching, plain, primitive, sample
from ..tensor import Tensor, plain_value, refuse_out
from . import reductions
from .reductions import FACE
from .shapes import reshaped

__all__ = ["checked", "final", "lines", "quantiles", "ranked"]

# --- entries at given ranks -----------------------------------------------------------------------------------------


def _picked(x: Array, *, index: ndarray) -> Array:
    return np.take_along_axis(x, index, -1)


def _put_back(ct: Array, *, index: ndarray, length: int) -> Array:
    """The adjoint of `_picked`, which may name an entry twice: one column of the index at a time does not."""
    out = np.zeros((*ct.shape[:-1], length), ct.dtype)
    for k in range(index.shape[-1]):
        column = index[..., k : k + 1]
        np.put_along_axis(out, column, np.take_along_axis(out, column, -1) + ct[..., k : k + 1], -1)
    return out


put_back = dispatching(_put_back)
PICKS = np.array([[1, 1], [0, 2]])
primitive(
    _picked,
    lambda ct, _x, index: put_back(ct, index=index, length=_x.shape[-1]),
    linear=True,
    samples=(sample((2, 3), index=PICKS),),
)
primitive(
    _put_back,
    lambda ct, index: np.take_along_axis(ct, index, -1) if isinstance(ct, ndarray) else apply(_picked, ct, index=index),
    linear=True,
    samples=(sample((2, 2), index=PICKS, length=3),),
)


def _index_of_ranks(x: ndarray, ranks: ndarray) -> ndarray:
    """Where along the last axis the values at these ranks are, in stable order; in linear time for a few ranks.

    `ranks` broadcasts against `x` but for the last axis, NaN ranking last.
    """
    if x.shape[-1] < 4096 or ranks.shape[-1] > 4 or ranks.ndim > 1:
        order = np.argsort(x, axis=-1, kind="stable")
        return np.take_along_axis(order, np.broadcast_to(ranks, (*x.shape[:-1], ranks.shape[-1])), -1)
    parted = np.partition(x, np.unique(ranks), axis=-1)
    columns = []
    for rank in ranks:
        value = parted[..., rank : rank + 1]
        # The entry is one of those equal to the value: after as many of them as the rank exceeds the smaller ones by.
        alike = (x == value) | (np.isnan(x) & np.isnan(value))
        smaller = (x < value) | (~np.isnan(x) & np.isnan(value))
        nth = rank - np.count_nonzero(smaller, axis=-1, keepdims=True)
        if nth.any():
            alike &= np.cumsum(alike, axis=-1) > nth
        columns.append(np.argmax(alike, axis=-1))
    return np.stack(columns, axis=-1)


def ranked(x: Any, ranks: ndarray) -> Tensor:
    """The entries of `x` at these ranks along the last axis."""
    return apply(_picked, x, index=_index_of_ranks(plain(x), ranks))


def lines(a: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """`a` with the axes to be reduced as one, the last; and its shape with those of length 1."""
    if not isinstance(a, Tensor):
        a = np.asarray(a)
    gone = tuple(range(a.ndim)) if axis is None else normalize_axis_tuple(axis, a.ndim)
    shape = tuple(1 if k in gone else n for k, n in enumerate(a.shape))
    if gone == (a.ndim - 1,):
        return a, shape
    if len(gone) == a.ndim:
        return reshaped(a, (-1 if a.size else 0,)), shape
    moved = np.transpose(a, [k for k in range(a.ndim) if k not in gone] + list(gone))
    length = int(np.prod([a.shape[k] for k in gone], dtype=int))
    return reshaped(moved, (*moved.shape[: a.ndim - len(gone)], length)), shape


# --- median and quantiles -------------------------------------------------------------------------------------------


def _with_nan(x: ndarray, ranks: ndarray) -> ndarray:
    """These ranks, but the last one, where NaN is, in lines that have one."""
    poisoned = np.isnan(x).any(axis=-1, keepdims=True) if x.dtype.kind == "f" else np.False_
    return np.where(poisoned, x.shape[-1] - 1, ranks) if np.any(poisoned) else ranks


# How much the entry above counts, from the fractional rank and its floor, and what that rank is: ``n q + m - 1`` with
# ``m = alpha + q (1 - alpha - beta)`` [1]_, or ``(n - 1) q`` where it says None.
# [1] Hyndman & Fan, *Sample Quantiles in Statistical Packages*, The American Statistician 50 (1996), p. 361.
_METHODS: Final[dict[str, tuple[tuple[float, float] | None, Callable[[Array, Array], Array]]]] = {
    "inverted_cdf": ((0, 1), lambda rank, floor: rank > floor),
    "averaged_inverted_cdf": ((0, 1), lambda rank, floor: np.where(rank > floor, 1, 0.5)),
    "closest_observation": ((-0.5, 1.5), lambda rank, floor: (rank > floor) | (floor % 2 == 0)),
    "interpolated_inverted_cdf": ((0, 1), np.subtract),
    "hazen": ((0.5, 0.5), np.subtract),
    "weibull": ((0, 0), np.subtract),
    "linear": (None, np.subtract),
    "median_unbiased": ((1 / 3, 1 / 3), np.subtract),
    "normal_unbiased": ((3 / 8, 3 / 8), np.subtract),
    "lower": (None, lambda rank, floor: rank < floor),
    "higher": (None, lambda rank, floor: rank > floor),
    "midpoint": (None, lambda rank, floor: np.where(rank > floor, 0.5, 0)),
    "nearest": (None, lambda rank, floor: np.round(rank) > floor),
}


def _ranks(q: Any, count: Any, method: str) -> tuple[ndarray, Any]:
    """The rank below each quantile, unbounded, and the share of the entry above it, in [0, 1)."""
    parameters, share = _METHODS[method]
    n = np.asarray(count).astype(q.dtype)
    if parameters is None:
        place = q * np.maximum(n - 1, 0)
    else:
        alpha, beta = parameters
        place = n * q + (alpha + q * (1 - alpha - beta)) - 1
    floor = np.floor(plain(place))
    if share is np.subtract:
        return floor, place - floor
    t = share(plain(place), floor)
    whole = t == 1
    return floor + whole, np.where(whole, 0, t).astype(floor.dtype) + 0 * place  # in the graph: a derivative of 0


def quantiles(x: Any, q: Any, count: Any, shape: tuple[int, ...], skip: bool = False, method: str = "linear") -> Tensor:
    """The quantiles `q` along the last axis among the first `count` of the sorted entries; `q` has the first axes.

    Parameters
    ----------
    x : Tensor or ndarray, shape (..., n)
        Lines.
    q : Tensor or ndarray, any shape
        In [0, 1].
    count : int or ndarray, shape (..., 1)
        How many entries count; the others rank last.
    shape : tuple of int
        Of the result for one quantile.
    skip : bool
        Whether lines with NaN have other quantiles than NaN.
    method : str
        One of NumPy's.
    """
    values = plain(q)
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"quantiles must be in the range [0, 1], got {values}")
    floor, t = _ranks(reshaped(q, (-1,)), count, method)
    last = np.maximum(count - 1, 0)
    below, above = (np.clip(rank, 0, last).astype(np.intp) for rank in (floor, floor + 1))
    both = np.concatenate((below, above), axis=-1)
    entries = ranked(x, both if skip else _with_nan(plain(x), both))
    n = values.size
    a, b = entries[..., :n], entries[..., n:]
    if np.all(plain(t) == 0):  # nothing between, where an infinite gap would make NaN
        out = a + 0 * t if isinstance(t, Tensor) and t.requires_grad else a
    else:
        gap = b - a
        out = np.where(plain(t) < 0.5, a + gap * t, b - gap * (1 - t))  # NumPy's rounding
    if values.ndim == 0:
        return reshaped(out, shape)
    return reshaped(np.moveaxis(out, -1, 0), values.shape + shape)  # type: ignore[type-var]  # the protocol gives a Tensor


def final(kept: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[int, ...]:
    """The shape of a reduction's result."""
    if keepdims:
        return kept
    gone = range(len(kept)) if axis is None else normalize_axis_tuple(axis, len(kept))
    return tuple(n for k, n in enumerate(kept) if k not in gone)


def checked(name: str, out: Any, method: str = "linear", weights: Any = None) -> None:
    """Raise for what is not differentiated."""
    refuse_out(name, out)
    if method not in _METHODS:
        raise ValueError(f"{name}: method={method!r} is none of {', '.join(_METHODS)}")
    if weights is not None:
        raise TypeError(f"{name}: weights= have no derivative rule; use t.detach(), or numpy.sort and a rank")


@composite(np.median, samples=(*FACE, sample((5,)), sample((4,))))
def median(a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False) -> Tensor:
    """`numpy.median`; an even number of entries shares between the two in the middle."""
    checked("numpy.median", out)
    x, kept = lines(a, axis)
    shape = final(kept, axis, keepdims)
    n = x.shape[-1]
    if not n:
        return reductions.mean(a, axis, keepdims=keepdims)
    ranks = np.array([n // 2] if n % 2 else [n // 2 - 1, n // 2])
    entries = ranked(x, _with_nan(plain(x), ranks))
    return reshaped(entries if n % 2 else reductions.mean(entries, -1), shape)


QUANTILES = (
    sample((5,), 0.3),
    sample((3, 4), np.array([[0, 1], [1, 0]]), axis=1),
    sample((2, 3, 2), 1, axis=(0, 2), keepdims=True),
)
EACH = tuple(sample((2, 6), (), axis=1, method=method) for method in _METHODS)


@composite(
    np.quantile, domain=((-2.0, 2.0), (0.0, 1.0)), samples=(*QUANTILES, sample((5,), ()), sample((6,), 0.31), *EACH)
)
def quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Tensor:
    """`numpy.quantile` by any of its methods; differentiable in `q`, too."""
    checked("numpy.quantile", out, method, weights)
    x, kept = lines(a, axis)
    if not isinstance(q, Tensor):
        q = np.asarray(q, x.dtype if isinstance(q, int | float) and x.dtype.kind == "f" else None)
    return quantiles(x, q, x.shape[-1], final(kept, axis, keepdims), method=method)


@composite(np.percentile, domain=((-2.0, 2.0), (0.0, 100.0)), samples=(*QUANTILES, sample((5,), (2,))))
def percentile(
    a: Any,
    q: Any,
    axis: Any = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: None = None,
) -> Tensor:
    """`numpy.percentile` by any of its methods; differentiable in `q`, too."""
    checked("numpy.percentile", out, method, weights)
    kind = np.result_type(plain_value(a))
    fraction = np.true_divide(q, kind.type(100) if kind.kind == "f" else 100)
    return quantile(a, fraction, axis, method=method, keepdims=keepdims)


@composite(np.ptp, samples=FACE)
def ptp(a: Any, axis: Any = None, out: None = None, keepdims: bool = False) -> Tensor:
    """`numpy.ptp`; ties share the derivative equally at either end."""
    checked("numpy.ptp", out)
    return reductions.max(a, axis, keepdims=keepdims) - reductions.min(a, axis, keepdims=keepdims)
