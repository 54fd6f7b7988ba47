"""Rounding, remainders, signs, and the parts of a floating-point number.

Rounding is constant between its jumps: the derivative is 0 everywhere, and the result stays in the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, elementwise, plain, sample
from ..tensor import Tensor, refuse_out

__all__: list[str] = []

POSITIVE = (0.3, 3.0)
SIGNED = ((3,), (2, 3), (), (0,))

elementwise(np.floor, 0, at={(2.0,): (0.0,)})
elementwise(np.ceil, 0, at={(2.0,): (0.0,)})
elementwise(np.rint, 0, at={(2.5,): (0.0,)})
elementwise(np.trunc, 0, at={(-2.0,): (0.0,)})
elementwise(np.fix, 0, at={(-2.0,): (0.0,)}, samples=tuple(map(sample, SIGNED)))


def _round(x: Array, *, decimals: int) -> Array:
    return np.round(x, decimals)


elementwise(_round, 0, name="numpy.round", samples=(sample((3,), decimals=0), sample((2, 3), decimals=1)))


@composite(np.round, np.around, samples=(sample((3,)), sample((2, 3), 1), sample((3,), decimals=-1)))
def round(a: Any, decimals: int = 0, out: None = None) -> Tensor:
    """`numpy.round`; its derivative is 0."""
    refuse_out("numpy.round", out)
    return apply(_round, a, decimals=decimals)


# --- quotients and remainders ---------------------------------------------------------------------------------------

elementwise(np.floor_divide, 0, 0, domain=((-2.0, 2.0), POSITIVE))
# x - y floor(x / y): the quotient is constant between the jumps. A rounded x / y may be past the next integer where
# floor_divide, which starts from the exact remainder, is not.
elementwise(
    np.remainder,
    1,
    lambda x, y: -np.floor_divide(x, y),
    domain=((-2.0, 2.0), POSITIVE),
    at={(5.5, 2.0): (1.0, -2.0), (-5.5, 2.0): (1.0, 3.0), (5.5, -2.0): (1.0, 3.0), (4.0, 2.0): (1.0, -2.0)},
)
elementwise(
    np.fmod,
    1,
    lambda out, x, y: np.rint((out - x) / y),
    domain=((-2.0, 2.0), POSITIVE),
    at={(5.5, 2.0): (1.0, -2.0), (-5.5, 2.0): (1.0, 2.0), (5.5, -2.0): (1.0, 2.0), (4.0, 2.0): (1.0, -2.0)},
)


@composite(np.divmod, domain=((-2.0, 2.0), POSITIVE), samples=(sample((3,), (2, 3)), sample((3,), 0.7)))
def divmod(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """`numpy.divmod`: the quotient and the remainder."""
    return apply(np.floor_divide, x, y), apply(np.remainder, x, y)


def _fraction(x: Array) -> Array:
    return np.modf(x)[0]


elementwise(_fraction, 1, name="numpy.modf")


@composite(np.modf, samples=tuple(map(sample, SIGNED)))
def modf(x: Any) -> tuple[Tensor, Tensor]:
    """`numpy.modf`: the fractional part, which moves with `x`, and the whole one, which does not."""
    return apply(_fraction, x), apply(np.trunc, x)


# --- powers of two, neighbours --------------------------------------------------------------------------------------

POWERS = (sample((3,), 2), sample((2, 3), np.array([-3, 0, 4])))

# ct * 2**y may overflow where ldexp(ct, y) does not.
elementwise(np.ldexp, lambda ct, y: np.ldexp(ct, y), None, samples=POWERS)


@composite(np.frexp, samples=tuple(map(sample, SIGNED)))
def frexp(x: Any) -> tuple[Tensor, Any]:
    """`numpy.frexp`: the mantissa, and the exponent as plain integers."""
    exponent = np.frexp(plain(x))[1]
    return apply(np.ldexp, x, -exponent), exponent


elementwise(np.nextafter, 1, 0)
elementwise(np.spacing, 0)

# --- signs ----------------------------------------------------------------------------------------------------------

elementwise(np.fabs, lambda x: np.sign(x), at={(0.0,): (0.0,), (-2.0,): (-1.0,)})
# The sign of the result is that of y, -0.0 included.
elementwise(
    np.copysign,
    lambda out, x: np.sign(x) * np.sign(out),
    0,
    at={(0.0, -1.0): (0.0, 0.0), (2.0, -0.0): (-1.0, 0.0), (-2.0, -3.0): (1.0, 0.0), (-2.0, 0.0): (-1.0, 0.0)},
)
# At x = 0 the result is y, which it is nowhere else.
elementwise(
    np.heaviside,
    0,
    lambda x, _out: np.equal(x, 0).astype(_out.dtype),
    at={(0.0, 0.5): (0.0, 1.0), (1.0, 0.5): (0.0, 0.0)},
    samples=(sample(0.0, (3,)), sample((3,), (3,)), sample((2, 3), (3,))),
)
