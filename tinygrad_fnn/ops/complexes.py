"""Parts of complex numbers, which of real ones are the numbers themselves, and 0.

The cotangent of a complex value z is ``dL/dRe z + i dL/dIm z``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, elementwise, primitive, sample
from ..tensor import Tensor, plain_value

__all__: list[str] = []

SHAPES = (sample((3,)), sample((2, 3)), sample(()), sample((0,)))

primitive(np.real, lambda ct: ct, samples=SHAPES, linear=True)
elementwise(np.conjugate, lambda ct: np.conj(ct), linear=True)


def _nothing(x: Array) -> Array:
    return np.zeros_like(x)


elementwise(_nothing, 0, name="numpy.imag of real numbers")


@composite(np.imag, samples=SHAPES)
def imag(val: Any) -> Tensor:
    """`numpy.imag`; of real numbers 0, in the graph."""
    if np.result_type(plain_value(val)).kind == "c":
        return np.real(np.multiply(val, -1j))  # type: ignore[no-any-return]  # the protocol gives a Tensor
    return apply(_nothing, val)


@composite(np.angle, samples=(*SHAPES, sample((3,), deg=True)))
def angle(z: Any, deg: bool = False) -> Tensor:
    """`numpy.angle`: 0 or pi of real numbers, with derivative 0."""
    out = apply(np.arctan2, np.imag(z), np.real(z))
    return out * (180 / math.pi) if deg else out
