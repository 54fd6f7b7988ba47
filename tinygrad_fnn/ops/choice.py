"""Choosing between values: `where` and `clip`. A branch that is not taken contributes nothing, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import composite, elementwise, on_plain_arrays, primitive, sample
from ..tensor import Tensor, refuse_out

__all__: list[str] = []

MASK = np.array([[True, False, True], [False, True, False]])


def _where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


# Selects and never multiplies: 0 * inf would let the branch not taken in.
primitive(
    _where,
    None,
    lambda ct, condition: np.where(condition, ct, 0),
    lambda ct, condition: np.where(condition, 0, ct),
    name="numpy.where",
    linear="jointly",
    samples=(sample(MASK, (2, 3), (2, 3)), sample(MASK, (3,), ()), sample(MASK[0], (2, 1), (1, 3))),
)


@composite(np.where, samples=(sample(MASK, (2, 3), (3,)), sample(MASK[0], (3,), 0.5)))
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """`numpy.where`, with one or three arguments."""
    if x is None and y is None:
        return on_plain_arrays(np.where, condition)
    return apply(_where, condition.detach() if isinstance(condition, Tensor) else condition, x, y)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return np.clip(x, low, high)


# At a bound the derivative is 1, as inside: the value is still that of x.
elementwise(
    _clip,
    lambda x, low, high: (x >= low) & (x <= high),
    lambda x, low, high: (x < low) & (low <= high),
    lambda x, low, high: (high < x) | (high < low),
    name="numpy.clip",
    selects=True,
    domain=((-2.0, 2.0), (-1.2, -0.8), (0.8, 1.2)),
    at={(1.0, -1.0, 1.0): (1.0, 0.0, 0.0), (3.0, -1.0, 1.0): (0.0, 0.0, 1.0), (-3.0, -1.0, 1.0): (0.0, 1.0, 0.0)},
)


@composite(
    np.clip,
    domain=((-2.0, 2.0), (-1.2, -0.8), (0.8, 1.2)),
    samples=(sample((6,), -1.2, 1.2), sample((2, 3), None, (3,)), sample((6,), (), None), sample((6,), min=-0.7)),
)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: None = None, *, min: Any = None, max: Any = None) -> Tensor:
    """`numpy.clip`; either bound may be None, an array or a Tensor."""
    refuse_out("numpy.clip", out)
    low = a_min if min is None else min
    high = a_max if max is None else max
    if low is None and high is None:
        return apply(np.positive, a)
    dtype = a.dtype if isinstance(a, Tensor) else np.result_type(a)
    ends = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    infinite = dtype.kind == "f"
    low = (-np.inf if infinite else ends.min) if low is None else low
    high = (np.inf if infinite else ends.max) if high is None else high
    return apply(_clip, a, low, high)
