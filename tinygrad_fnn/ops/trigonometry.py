"""Circular and hyperbolic functions, their inverses, and angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..rules import Array, dispatching, elementwise, sample

__all__: list[str] = []

INSIDE = (-0.9, 0.9)


def _hypotenuse(x: Any) -> Any:
    """The root of 1 + x**2; of a real x beyond 1e154 the square overflows and its root does not."""
    return np.hypot(x, 1) if x.dtype.kind != "c" else np.sqrt(1 + x * x)


elementwise(np.sin, lambda x: np.cos(x))
elementwise(np.cos, lambda x: -np.sin(x))
elementwise(np.tan, lambda out: 1 + out * out, domain=((-1.2, 1.2),))
# (1 - x)(1 + x), whose factors are exact near the ends, where 1 - x**2 has no digits left.
elementwise(np.arcsin, lambda x: 1 / np.sqrt((1 - x) * (1 + x)), domain=(INSIDE,))
elementwise(np.arccos, lambda x: -1 / np.sqrt((1 - x) * (1 + x)), domain=(INSIDE,))
elementwise(np.arctan, lambda x: 1 / (1 + x * x))

elementwise(np.sinh, lambda x: np.cosh(x))
elementwise(np.cosh, lambda x: np.sinh(x))
elementwise(np.arcsinh, lambda x: 1 / _hypotenuse(x), at={(0.0,): (1.0,), (1e200,): (1e-200,)})
elementwise(np.arccosh, lambda x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)), domain=((1.2, 4.0),))
elementwise(np.arctanh, lambda x: 1 / ((1 - x) * (1 + x)), domain=(INSIDE,))

elementwise(np.deg2rad, math.pi / 180)
elementwise(np.radians, math.pi / 180)
elementwise(np.rad2deg, 180 / math.pi)
elementwise(np.degrees, 180 / math.pi)

# --- of two sides of a triangle -------------------------------------------------------------------------------------

# hypot(0, 0) and arctan2(0, 0) have derivative 0 and no curvature: only there the denominator is infinite.
elementwise(
    np.hypot,
    lambda out, x: x / np.where(out == 0, np.inf, out),
    lambda out, y: y / np.where(out == 0, np.inf, out),
    domain=((0.2, 2.0),),
    at={(0.0, 0.0): (0.0, 0.0), (3.0, -4.0): (0.6, -0.8), (0.0, 2.0): (0.0, 1.0), (3e200, 4e200): (0.6, 0.8)},
    root=True,
)


def _over_square(side: Any, x: Any, y: Any) -> Any:
    """`side / (x**2 + y**2)` where the squares may overflow."""
    length = np.where((x == 0) & (y == 0), np.inf, np.hypot(x, y))
    return side / length / length


elementwise(
    np.arctan2,
    lambda x, y: _over_square(y, x, y),
    lambda x, y: _over_square(-x, x, y),
    at={(0.0, 0.0): (0.0, 0.0), (0.0, 2.0): (0.5, 0.0), (2.0, 0.0): (0.0, -0.5), (0.0, 1e-100): (1e100, 0.0)},
)

# --- sin(pi x) / (pi x) ---------------------------------------------------------------------------------------------


def _sinc_slope(x: Array, *, n: int) -> Array:
    """The derivative of order `n` of ``sin(t) / t``.

    From ``t f = sin(t)`` follows ``t f^(n) = sin^(n)(t) - n f^(n-1)``, which loses digits where t is smaller than n;
    there the power series is summed, whose largest terms lose one.
    """
    x = np.asarray(x)
    near = abs(x) < n + 1
    some = near.any()
    t = np.where(near, 1, x) if some else x
    sine, cosine = np.sin(t), np.cos(t)
    f = np.asarray(sine / t)
    for k in range(1, n + 1):
        f *= -k
        wave = cosine if k % 2 else sine
        np.add(f, wave, out=f) if k % 4 < 2 else np.subtract(f, wave, out=f)
        f /= t
    if some:
        f[near] = _sinc_series(x[near], n)
    return f


def _sinc_series(t: Array, n: int) -> Array:
    """The sum of ``(-1)**k (2k)! / ((2k + 1)! (2k - n)!) t**(2k - n)``, from the last term that counts."""
    first = (n + 1) // 2
    square = t * t
    total = np.zeros_like(t)
    for k in range(first + 14 + 2 * n, first - 1, -1):
        total = total * square + (-1) ** k / ((2 * k + 1) * math.factorial(2 * k - n))
    return total if n % 2 == 0 else total * t


sinc_slope = dispatching(_sinc_slope)
elementwise(
    _sinc_slope,
    lambda x, n: sinc_slope(x, n=n + 1),
    samples=(sample((6,), n=1), sample((2, 4), n=2), sample((3,), n=3)),
    domain=((-9.0, 9.0),),
)
elementwise(
    np.sinc,
    lambda x: math.pi * sinc_slope(math.pi * x, n=1),
    samples=(sample((6,)), sample((2, 4)), sample(()), sample((0,))),
    domain=((-3.0, 3.0),),
    at={(0.0,): (0.0,), (1.0,): (-1.0,), (-2.0,): (-0.5,)},
)
