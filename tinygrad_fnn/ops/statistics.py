"""Weighted means, covariances and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..rules import composite, plain, sample
from ..tensor import Tensor, shape_of
from . import reductions
from .shapes import reshaped

__all__: list[str] = []


def _weights(a: Any, axis: tuple[int, ...] | None, weights: Any) -> Any:
    """The weights in a shape that broadcasts against `a`: that of `a`, or of its reduced axes, in their order."""
    shape = shape_of(a)
    if shape_of(weights) == shape:
        return weights
    if axis is None:
        raise TypeError(f"numpy.average: weights are {shape_of(weights)}, a is {shape}; give axis=")
    if shape_of(weights) != tuple(shape[k] for k in axis):
        raise ValueError(f"numpy.average: weights are {shape_of(weights)}, a is {shape}, axis is {axis}")
    spread = np.transpose(weights, np.argsort(axis).tolist())
    return np.reshape(spread, tuple(n if k in axis else 1 for k, n in enumerate(shape)))


@composite(
    np.average,
    domain=((-2.0, 2.0), (0.3, 2.0), (0.3, 2.0)),
    samples=(
        sample((2, 3)),
        sample((2, 3), 1, (3,)),
        sample((2, 3), None, (2, 3), True),
        sample((2, 3, 2), [2, 0], (2, 2), keepdims=True),
        sample((2, 3), 0, returned=True),
    ),
)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """`numpy.average`; differentiable in the weights, too."""
    if not isinstance(a, Tensor):
        a = np.asarray(a)
    axes = None if axis is None else normalize_axis_tuple(axis, a.ndim)
    if weights is None:
        mean = reductions.mean(a, axes, keepdims=keepdims)
        total = mean.dtype.type(a.size / mean.size)
    else:
        weights = _weights(a, axes, weights if isinstance(weights, Tensor) else np.asarray(weights))
        total = reductions.sum(np.broadcast_to(weights, a.shape), axes, keepdims=keepdims)
        if np.any(plain(total) == 0):
            raise ZeroDivisionError("numpy.average: weights sum to 0")
        mean = reductions.sum(a * weights, axes, keepdims=keepdims) / total
    if not returned:
        return mean
    return mean, total if shape_of(total) == mean.shape else Tensor(np.broadcast_to(total, mean.shape))


def _rows(m: Any, rowvar: bool, name: str) -> Any:
    """Variables as rows, in double precision."""
    m = m if isinstance(m, Tensor) else np.asarray(m)
    if m.ndim > 2:
        raise ValueError(f"{name}: shape {m.shape} has more than 2 axes")
    m = m.astype(np.result_type(m.dtype, float))
    rows = m if m.ndim == 2 else reshaped(m, (1, -1))
    return rows if rowvar or m.ndim < 2 or 1 in (m.ndim,) else rows.T


def _per_observation(given: Any, name: str, count: int) -> Any:
    """Weights of the observations; those that count them are integers, and so have no derivative."""
    values = np.asarray(plain(given), float)
    counts = name == "fweights"
    if counts and isinstance(given, Tensor) and given.requires_grad:
        raise TypeError("numpy.cov: fweights count observations and have no derivative; use detach(), or aweights")
    if values.shape != (count,) or (values < 0).any() or (counts and (values != np.round(values)).any()):
        raise ValueError(
            f"numpy.cov: {name} of shape {values.shape}, wanted {count} {'integers' if counts else 'numbers'} from 0 on"
        )
    return values if counts or not isinstance(given, Tensor) else given


@composite(
    np.cov,
    domain=(*[(-2.0, 2.0)] * 6, (0.3, 2.0)),
    samples=(
        sample((3, 5)),
        sample((5,)),
        sample((5, 2), rowvar=False),
        sample((2, 5), (5,), ddof=0),
        sample((2, 4), bias=True),
        sample((2, 4), fweights=np.array([1, 2, 1, 3])),
        sample((2, 4), None, True, False, None, [1, 2, 1, 3], [0.5, 1, 2, 1]),
        sample((2, 4), None, True, False, None, [1, 2, 1, 3], (4,)),
        sample((2, 4), (4,), True, False, 0, None, (4,)),
    ),
)
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: None = None,
) -> Tensor:
    """`numpy.cov`; differentiable in `aweights`, too."""
    reductions.refuse("numpy.cov", dtype, None)
    rows = _rows(m, rowvar, "numpy.cov")
    if y is not None:
        rows = np.concatenate((rows, _rows(y, rowvar, "numpy.cov")), axis=0)
    freedom = (0 if bias else 1) if ddof is None else ddof
    count = rows.shape[1]
    if fweights is None and aweights is None:
        d = rows - reductions.mean(rows, 1, keepdims=True)
        return np.squeeze(d @ d.mT / max(count - freedom, 0))  # type: ignore[no-any-return]  # the protocol gives a Tensor
    w = a = np.ones(count)
    if fweights is not None:
        w = _per_observation(fweights, "fweights", count)
    if aweights is not None:
        a = _per_observation(aweights, "aweights", count)
    w = w * a
    total = np.sum(w)
    d = rows - reductions.sum(rows * (w / total), 1, keepdims=True)
    left = total - freedom * np.sum(w * a) / total
    return np.squeeze(d @ (d * w).mT / (left if plain(left) > 0 else 0.0))  # type: ignore[no-any-return]  # the protocol gives a Tensor


@composite(np.corrcoef, samples=(sample((3, 5)), sample((5,), (5,)), sample((5, 2), rowvar=False)))
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: None = None) -> Tensor:
    """`numpy.corrcoef`."""
    reductions.refuse("numpy.corrcoef", dtype, None)
    c = cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    each = np.arange(len(c))
    deviation = np.sqrt(c[each, each])
    scaled = c / reshaped(deviation, (-1, 1)) / deviation
    return np.clip(scaled, -1, 1)  # type: ignore[return-value]  # the protocol gives a Tensor
