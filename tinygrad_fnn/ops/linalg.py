"""`numpy.linalg`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, reduction, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .decompositions import spectral_norm
from .reductions import drop

__all__: list[str] = []


def _norm(x: Array, *, ord: Any, axis: Any) -> Array:
    # NumPy takes one axis or two here, and no axis for the norm of all entries.
    everything = axis is None or ndim_of(x) == 0
    out = np.linalg.norm(x, None if everything else ord, None if everything else axis, keepdims=not everything)
    return np.reshape(out, (1,) * ndim_of(x)) if everything else out


def _slope(out: Any, x: Any, ord: Any) -> Any:
    """`x / norm`, and (|x| / norm)**(p - 1) sign(x); for a norm of 0 they are 0, and so is the curvature."""
    if ord in (None, 2, "fro"):
        return x / np.where(out == 0, np.inf, out)
    return np.sign(x) * ((abs(x) + (x == 0)) / (out + (out == 0))) ** (ord - 1)


reduction(
    _norm,
    lambda out, x, ord: _slope(out, x, ord),
    name="numpy.linalg.norm",
    samples=(
        sample((4,), ord=None, axis=None),
        sample((3, 4), ord=2, axis=1),
        sample((3, 4), ord=3.5, axis=0),
        sample((2, 3, 4), ord="fro", axis=(0, 2)),
    ),
)


@composite(
    np.linalg.norm,
    samples=(
        sample((4,)),
        sample((2, 3)),
        sample((2, 3), "fro", keepdims=True),
        sample((2, 2, 3), axis=(0, 2)),
        sample((2, 3), ord=2, axis=0),
        sample((2, 3), ord=1, axis=-1, keepdims=True),
        sample((4,), ord=2.5),
        sample((4,), ord=np.inf),
        sample((2, 3), ord=-np.inf, axis=1),
        sample((2, 3), ord=1),
        sample((2, 3), ord=-1),
        sample((3, 2, 3), ord=np.inf, axis=(2, 0), keepdims=True),
        sample((2, 3), ord=-np.inf),
    ),
)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """`numpy.linalg.norm`: vector orders None, p > 0, inf and -inf; matrix orders None, 'fro', 'nuc', 2, -2, 1, -1, inf
    and -inf.

    The derivative of the norm of 0 is 0.
    """
    ndim = ndim_of(x)
    if ord is None and (axis is None or isinstance(axis, tuple)):
        axis = None if axis is None or len(axis) == ndim else axis
        return drop(apply(_norm, x, ord=None, axis=axis), ndim, axis, keepdims)
    if axis is None:
        axis = tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError(f"numpy.linalg.norm: ord={ord!r} wants one axis or two, got {axis} of shape {shape_of(x)}")
    if ord == "fro":
        return drop(apply(_norm, x, ord="fro", axis=axes), ndim, axes, keepdims)
    if ord in (2, -2, "nuc"):
        return spectral_norm(x, ord, axes, keepdims)
    if ord in (1, -1, np.inf, -np.inf):
        inner = axes[0 if abs(ord) == 1 else 1]
        sums = reductions.sum(abs(x), axis=inner, keepdims=True)
        return (reductions.max if ord > 0 else reductions.min)(sums, axis=axes, keepdims=keepdims)
    raise TypeError(
        f"numpy.linalg.norm: matrix order {ord!r} has no derivative rule; wanted 'fro', 'nuc', +-1, +-2, +-inf"
    )


def _vector_norm(x: Any, ord: Any, axis: int, keepdims: bool) -> Tensor:
    if ord in (np.inf, -np.inf):
        return (reductions.max if ord > 0 else reductions.min)(abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return reductions.sum(abs(x), axis=axis, keepdims=keepdims)
    if isinstance(ord, str) or (ord is not None and ord <= 0):
        raise TypeError(f"numpy.linalg.norm: vector order {ord!r} has no derivative rule; wanted None, p > 0 or +-inf")
    return drop(apply(_norm, x, ord=ord, axis=axis), ndim_of(x), axis, keepdims)
