"""Convolution and correlation of two rows of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, dispatching, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from .contractions import conjugated

__all__: list[str] = []


def _convolve(x: Array, y: Array, *, mode: Any) -> Array:
    return np.convolve(x, y, mode)


OTHER = {"full": "valid", "valid": "full"}
convolved = dispatching(_convolve)
# With x the longer one, the adjoint of a full convolution is a valid one with y turned round, and the reverse.
primitive(
    _convolve,
    lambda ct, y, mode: convolved(ct, y[::-1], mode=OTHER[mode]),
    lambda ct, x, mode: (
        convolved(ct, x[::-1], mode="valid") if mode == "full" else convolved(x[::-1], ct, mode="valid")
    ),
    name="numpy.convolve",
    linear=True,
    samples=(sample((4,), (3,), mode="full"), sample((4,), (2,), mode="valid"), sample((3,), (3,), mode="valid")),
)


@composite(np.convolve, samples=(sample((3,), (4,)), sample((5,), (2,), "same"), sample((2,), (5,), mode="valid")))
def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """`numpy.convolve`, modes full, same and valid."""
    a, v = (x if ndim_of(x) else np.reshape(x, 1) for x in (a, v))
    if ndim_of(a) != 1 or ndim_of(v) != 1 or not len(a) or not len(v):
        raise ValueError(f"numpy.convolve: wants two vectors that are not empty, got {shape_of(a)} and {shape_of(v)}")
    if len(v) > len(a):
        a, v = v, a
    if mode == "same":
        start = (len(v) - 1) // 2
        return apply(_convolve, a, v, mode="full")[start : start + len(a)]
    if mode not in OTHER:
        raise ValueError(f"numpy.convolve: mode is {mode!r}, wanted 'full', 'same' or 'valid'")
    return apply(_convolve, a, v, mode=mode)


@composite(np.correlate, samples=(sample((4,), (2,)), sample((2,), (5,), "same"), sample((3,), (4,), mode="full")))
def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """`numpy.correlate`, modes valid, same and full: the convolution with `v` turned round and conjugated."""
    a, v = (x if ndim_of(x) else np.reshape(x, 1) for x in (a, v))
    turned = (conjugated(v) if isinstance(v, Tensor) else np.asarray(conjugated(v)))[::-1]
    if mode == "same" and ndim_of(a) == ndim_of(v) == 1 and len(a) < len(v):
        start = len(a) // 2  # NumPy swaps the operands, and the middle of an even length moves
        return convolve(a, turned, "full")[start : start + len(v)]
    return convolve(a, turned, mode)
