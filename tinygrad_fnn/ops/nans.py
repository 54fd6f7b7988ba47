"""Reductions that leave NaN entries out; those have derivative 0, whatever the rest of the graph makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rules import composite, plain, sample
from ..tensor import Tensor, plain_value, shape_of
from . import cumulative, reductions
from .quantiles import checked, final, lines, quantiles, ranked
from .shapes import reshaped

__all__: list[str] = []

NAN = float("nan")
HOLES = np.array([[False, True, False], [True, False, False]])
FACE = (*reductions.FACE, sample((2, 3), axis=1, where=~HOLES))
LEAST = (*reductions.FACE, sample((2, 3), axis=1, where=~HOLES, initial=0.25), sample((3,), initial=0.5))


def _holes(a: Any) -> Any:
    """Where the NaN are; False where there are none."""
    values = np.asarray(plain(a))
    holes = np.isnan(values) if values.dtype.kind in "fc" else np.zeros(values.shape, bool)
    return holes if holes.any() else False


def _chosen(a: Any, where: Any) -> Any:
    """`where=` without the NaN."""
    holes = _holes(a)
    return where if holes is False else ~holes if where is True else ~holes & plain(where)


@composite(np.nansum, samples=FACE)
def nansum(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Tensor:
    """`numpy.nansum`."""
    return reductions.sum(a, axis, dtype, out, keepdims, initial, _chosen(a, where))


@composite(np.nanprod, samples=FACE)
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: None = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
) -> Tensor:
    """`numpy.nanprod`."""
    return cumulative.prod(a, axis, dtype, out, keepdims, initial, _chosen(a, where))


@composite(np.nancumsum, samples=cumulative.RUNNING)
def nancumsum(a: Any, axis: int | None = None, dtype: None = None, out: None = None) -> Tensor:
    """`numpy.nancumsum`."""
    return cumulative.cumsum(reductions.masked(a, _chosen(a, True), 0), axis, dtype, out)


@composite(np.nancumprod, samples=cumulative.RUNNING)
def nancumprod(a: Any, axis: int | None = None, dtype: None = None, out: None = None) -> Tensor:
    """`numpy.nancumprod`."""
    return cumulative.cumprod(reductions.masked(a, _chosen(a, True), 1), axis, dtype, out)


@composite(np.nanmean, samples=FACE)
def nanmean(
    a: Any, axis: Any = None, dtype: None = None, out: None = None, keepdims: bool = False, *, where: Any = True
) -> Tensor:
    """`numpy.nanmean`; NaN where there is nothing else."""
    with np.errstate(invalid="ignore"):
        return reductions.mean(a, axis, dtype, out, keepdims, where=_chosen(a, where))


@composite(np.nanvar, samples=(*FACE, sample((4,), ddof=1), sample((4,), correction=1)))
def nanvar(
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
    """`numpy.nanvar`; NaN where too few numbers are left."""
    return _spread(reductions.var, a, axis, dtype, out, ddof, keepdims, where, correction)


@composite(np.nanstd, samples=(*FACE, sample((4,), ddof=1), sample((4,), correction=1)))
def nanstd(
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
    """`numpy.nanstd`; that of a constant has derivative 0."""
    return _spread(reductions.std, a, axis, dtype, out, ddof, keepdims, where, correction)


def _spread(
    fun: Any, a: Any, axis: Any, dtype: Any, out: Any, ddof: Any, keepdims: bool, where: Any, correction: Any
) -> Tensor:
    chosen = _chosen(a, where)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Tensor = fun(a, axis, dtype, out, ddof, keepdims, where=chosen, correction=correction)
    few = np.sum(np.broadcast_to(chosen, shape_of(a)), axis=axis, keepdims=keepdims) <= (
        ddof if correction is None else correction
    )
    return np.where(few, result.dtype.type(NAN), result) if np.any(few) else result  # type: ignore[return-value]  # the protocol gives a Tensor


def _numbers(a: Any, axis: Any, fill: float) -> Any:
    """`a` with `fill` for NaN; with a NaN of ours for lines of nothing else, which the derivative does not go past."""
    holes = _holes(a)
    if holes is False:
        return a
    kind = np.result_type(plain_value(a)).type
    return np.where(holes, np.where(holes.all(axis=axis, keepdims=True), kind(NAN), kind(fill)), a)


@composite(np.nanmax, samples=LEAST)
def nanmax(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Tensor:
    """`numpy.nanmax`; ties share the derivative equally."""
    return reductions.max(_numbers(a, axis, -np.inf), axis, out, keepdims, initial, where)


@composite(np.nanmin, samples=LEAST)
def nanmin(
    a: Any, axis: Any = None, out: None = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> Tensor:
    """`numpy.nanmin`; ties share the derivative equally."""
    return reductions.min(_numbers(a, axis, np.inf), axis, out, keepdims, initial, where)


# --- ranks ----------------------------------------------------------------------------------------------------------

QUANTILES = (
    sample((5,), 0.3),
    sample((3, 4), [0, 1], axis=1),
    sample((2, 3), 1, axis=0, keepdims=True),
    sample((5,), 0.3, method="hazen"),
)


def _counted(x: Any) -> tuple[Any, Any]:
    """Lines, those of NaN only being constant, and how many numbers are in each."""
    holes = _holes(x)
    if holes is False:
        return x, x.shape[-1]
    count = np.sum(~holes, axis=-1, keepdims=True)
    return (x if count.all() else np.where(holes, np.result_type(plain_value(x)).type(NAN), x)), count


def _nanquantile(a: Any, q: Any, axis: Any, keepdims: bool, method: str) -> Tensor:
    x, kept = lines(a, axis)
    if not isinstance(q, Tensor):
        q = np.asarray(q, x.dtype if isinstance(q, int | float) and x.dtype.kind == "f" else None)
    x, count = _counted(x)
    return quantiles(x, q, count, final(kept, axis, keepdims), skip=True, method=method)


@composite(np.nanmedian, samples=reductions.FACE)
def nanmedian(
    a: Any, axis: Any = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Tensor:
    """`numpy.nanmedian`; NaN where there is nothing else."""
    checked("numpy.nanmedian", out)
    x, kept = lines(a, axis)
    if not x.shape[-1]:
        return reductions.mean(a, axis, keepdims=keepdims)
    x, count = _counted(x)
    # Of an odd number the middle one twice; of none the first, which is NaN.
    ranks = np.maximum(np.concatenate(np.atleast_1d((count - 1) // 2, count // 2), axis=-1), 0)
    return reshaped(reductions.mean(ranked(x, ranks), -1), final(kept, axis, keepdims))


@composite(np.nanquantile, samples=QUANTILES)
def nanquantile(
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
    """`numpy.nanquantile` by any of its methods; differentiable in `q`, too."""
    checked("numpy.nanquantile", out, method, weights)
    return _nanquantile(a, q, axis, keepdims, method)


@composite(np.nanpercentile, samples=QUANTILES)
def nanpercentile(
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
    """`numpy.nanpercentile` by any of its methods; differentiable in `q`, too."""
    checked("numpy.nanpercentile", out, method, weights)
    kind = np.result_type(plain_value(a))
    fraction = np.true_divide(q, kind.type(100) if kind.kind == "f" else 100)
    return _nanquantile(a, fraction, axis, keepdims, method)
