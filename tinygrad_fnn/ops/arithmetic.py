"""Arithmetic of two operands, and the choice of the larger or smaller one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backward import _has_nan
from ..gate import gate
from ..rules import elementwise
from ..tensor import Tensor, ndim_of

__all__ = ["tangent_of"]

POSITIVE = (0.3, 3.0)

elementwise(np.add, 1, 1)
elementwise(np.multiply, lambda y: y, lambda x: x)
elementwise(np.divide, lambda y: 1 / y, lambda out, y: -out / y, domain=((-2.0, 2.0), POSITIVE))
elementwise(np.positive, 1)
elementwise(np.square, lambda x: 2 * x)
elementwise(np.reciprocal, lambda out: -out * out, domain=(POSITIVE,))


@elementwise(np.negative, -1)
def negative(x: Any) -> Tensor:
    """Minus `x`; of a probability it remembers the logit, for `log1p(-p)`."""
    out = _negative(x)
    origin = getattr(x, "_origin", None)
    if origin is not None:
        out._origin = origin.negated()
    return out


@elementwise(np.subtract, 1, -1)
def subtract(x: Any, y: Any) -> Tensor:
    """Difference; `1 - p` of a probability remembers the logit, for `log(1 - p)`."""
    out = _subtract(x, y)
    origin = getattr(y, "_origin", None)
    if origin is not None and ndim_of(x) == 0 and not isinstance(x, Tensor) and x == 1:
        out._origin = origin.complement()
    return out


_negative, _subtract = gate(np.negative), gate(np.subtract)


# x**p at x = 0: the derivative is 0 for p = 0 and p * 0**(p - 1) otherwise, so only the point where both are 0 is
# masked, in the exponent; there it has no curvature. In p it is x**p log x, and 0 where x = 0 and p >= 0.
def _power_slope(x: Any, y: Any) -> Any:
    if isinstance(y, int | float) and y:  # an exponent that is one number has faster kernels than an array of them
        return y * np.power(x, y - 1)
    return y * x ** np.where((x == 0) & (y == 0), 1, y - 1)


elementwise(
    np.power,
    lambda x, y: _power_slope(x, y),
    lambda out, x, y: out * np.log(np.where((x == 0) & (y >= 0), 1, x)),
    domain=(POSITIVE, (-2.0, 2.0)),
    at={(0.0, 0.0): (0.0, 0.0), (0.0, 1.0): (1.0, 0.0), (0.0, 2.0): (0.0, 0.0), (0.0, 3.0): (0.0, 0.0)},
    root=lambda x, y: y >= 0.5,  # not below: (x**3)**(1/3) is x, with derivative 1 at 0
)


def _chosen(wins: Any, ties: Any, out: Any) -> Any:
    """Ties share equally, so that maximum(x, x) has derivative 1; in the dtype of the result, which bools have not."""
    return wins + ties * out.dtype.type(0.5)


def tangent_of(larger: np.ufunc, undecided_as_usual: bool = False) -> Any:
    """The tangent of the operand that wins; at a tie, and beside a NaN, half of each, or what the partials say."""

    def push(tangents: Any, x: Any, y: Any) -> Any:
        dx, dy = (0 if t is None else t for t in tangents)
        wins, loses = larger(x, y), larger(y, x)
        undecided = ~(wins | loses)
        if undecided.any():
            if undecided_as_usual:
                return None
            return np.where(undecided, 0.5 * (dx + dy), np.where(wins, dx, dy))
        # A product with a mask takes a seventh of the time of a choice, but makes a NaN of an infinity left out.
        parts = [mask * t for mask, t in ((wins, dx), (loses, dy)) if t.__class__ is np.ndarray]
        if len(parts) < sum(t is not None for t in tangents) or any(map(_has_nan, parts)):
            return np.where(wins, dx, dy)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]

    return push


elementwise(
    np.maximum,
    lambda _out, x, y: _chosen(x > y, x == y, _out),
    lambda _out, x, y: _chosen(y > x, x == y, _out),
    push=tangent_of(np.greater),
    selects=True,
    at={(1.0, 1.0): (0.5, 0.5)},
)
elementwise(
    np.minimum,
    lambda _out, x, y: _chosen(x < y, x == y, _out),
    lambda _out, x, y: _chosen(y < x, x == y, _out),
    push=tangent_of(np.less),
    selects=True,
    at={(1.0, 1.0): (0.5, 0.5)},
)
