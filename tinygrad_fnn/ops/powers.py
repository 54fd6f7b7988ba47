"""Exponentials, logarithms and roots to other bases, and sums of what they are the logarithms of."""

from __future__ import annotations

import math

import numpy as np

from ..rules import Array, dispatching, elementwise, sample
from .logistic import sigmoid_of

__all__: list[str] = []

POSITIVE = (0.3, 3.0)
LN2 = math.log(2)

elementwise(np.exp2, lambda out: out * LN2)
elementwise(np.log2, lambda x: (1 / LN2) / x, domain=(POSITIVE,))
elementwise(np.log10, lambda x: (1 / math.log(10)) / x, domain=(POSITIVE,))
elementwise(np.cbrt, lambda out: (1 / 3) / (out * out), domain=(POSITIVE,), at={(-8.0,): (1 / 12,)})

# As `power`, in double precision.
elementwise(
    np.float_power,
    lambda x, y: y * np.float_power(x, np.where((x == 0) & (y == 0), 1, y - 1)),
    lambda out, x, y: out * np.log(np.where((x == 0) & (y >= 0), 1, x)),
    domain=(POSITIVE, (-2.0, 2.0)),
    at={(0.0, 0.0): (0.0, 0.0), (0.0, 1.0): (1.0, 0.0), (0.0, 2.0): (0.0, 0.0), (0.0, 3.0): (0.0, 0.0)},
    root=lambda x, y: y >= 0.5,  # below, a power of x**3 may hide a derivative that is not 0
)

# --- logarithms of sums ---------------------------------------------------------------------------------------------


def _gap(x: Array, y: Array) -> Array:
    gap = np.asarray(np.subtract(x, y))
    if np.isnan(gap).any():
        gap[np.broadcast_to(np.equal(x, y), gap.shape)] = 0
    return gap


gap = dispatching(_gap)
elementwise(_gap, 1, -1)  # x - y, with 0 between equal infinities

FAR = {(-math.inf, -math.inf): (0.5, 0.5), (math.inf, math.inf): (0.5, 0.5), (-math.inf, 0.0): (0.0, 1.0)}
NEAR = {(1.0, 1.0): (0.5, 0.5), (0.0, -2000.0): (1.0, 0.0), (2000.0, 2000.0): (0.5, 0.5)}

elementwise(
    np.logaddexp,
    lambda x, y: sigmoid_of(gap(x, y)),
    lambda x, y: sigmoid_of(gap(y, x)),
    at=FAR | NEAR,
)
elementwise(
    np.logaddexp2,
    lambda x, y: sigmoid_of(LN2 * gap(x, y)),
    lambda x, y: sigmoid_of(LN2 * gap(y, x)),
    at=FAR | NEAR,
)

# --- Bessel ---------------------------------------------------------------------------------------------------------


def _bessel(x: Array, *, n: int) -> Array:
    """The modified Bessel function of the first kind and order `n`, in the dtype of `x`."""
    from scipy import special  # importing it costs more than the rest of the package

    x = np.asarray(x)
    wide = x.astype(float) if x.dtype == np.longdouble else x
    return (special.i1(wide) if n == 1 else special.iv(n, wide)).astype(x.dtype)


bessel = dispatching(_bessel)
# Abramowitz & Stegun, 9.6.26: 2 I_n' = I_(n-1) + I_(n+1), which has no removable point at 0.
elementwise(
    _bessel,
    lambda x, n: 0.5 * (bessel(x, n=abs(n - 1)) + bessel(x, n=n + 1)),
    samples=(sample((3,), n=1), sample((2, 3), n=3), sample((3,), n=0)),
)
elementwise(np.i0, lambda x: bessel(x, n=1), at={(0.0,): (0.0,)}, samples=(sample((3,)), sample((2, 3)), sample(())))
