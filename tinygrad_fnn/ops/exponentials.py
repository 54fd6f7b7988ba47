"""Exponentials, logarithms and what interpolates between them: exprel, Box-Cox, dilogarithm, exponential integrals.

The quotients ``(exp(x) - 1) / x`` and ``log(x) / (x - 1)`` have a removable point, near which each further
derivative cancels more; their kernels give the derivative of any order, from the power series there and from a
recurrence elsewhere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray
from scipy import special

from ..rules import Array, dispatching, elementwise, sample
from .scipy_calls import in_double, of_reals, power_series

__all__: list[str] = []

POSITIVE = (0.3, 3.0)
LN2, LN10 = math.log(2), math.log(10)
DEGREE = math.pi / 180

# SciPy's ufuncs of these names are not NumPy's.
elementwise(special.expm1, lambda x: np.exp(x), at={(0.0,): (1.0,)})
elementwise(special.log1p, lambda x: 1 / (1 + x), domain=((-0.7, 3.0),), at={(0.0,): (1.0,)})
elementwise(special.exp2, lambda out: out * LN2, at={(0.0,): (LN2,)})
elementwise(special.exp10, lambda out: out * LN10, at={(0.0,): (LN10,)})
elementwise(special.cbrt, lambda out: (1 / 3) / (out * out), domain=(POSITIVE,), at={(-8.0,): (1 / 12,)})
elementwise(special.cosm1, lambda x: -np.sin(x), at={(0.0,): (0.0,)})
elementwise(special.sindg, lambda x: DEGREE * special.cosdg(x), domain=((-170.0, 170.0),), at={(90.0,): (0.0,)})
elementwise(special.cosdg, lambda x: -DEGREE * special.sindg(x), domain=((-170.0, 170.0),), at={(180.0,): (0.0,)})
elementwise(special.tandg, lambda out: DEGREE * (1 + out * out), domain=((-70.0, 70.0),), at={(0.0,): (DEGREE,)})
elementwise(special.cotdg, lambda out: -DEGREE * (1 + out * out), domain=((20.0, 160.0),))

# --- (exp(x) - 1) / x -----------------------------------------------------------------------------------------------


@in_double
def _exprel(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of exprel: the integral of ``t**n exp(x t)`` over [0, 1]."""
    out, e = np.asarray(special.exprel(x)), np.exp(x)
    for k in range(1, n + 1):  # of x F = exp(x) - 1, by Leibniz; loses x**-n, which the series below avoids
        out = (e - k * out) / x
        out = np.where(np.isposinf(e), np.inf, out)
    near = abs(x) < 1 + n
    if n and near.any():
        out[near] = power_series(x[near], n, lambda k: 1 / math.factorial(k + 1))
    return out


exprel = dispatching(_exprel)
elementwise(
    _exprel, lambda x, n: exprel(x, n=n + 1), domain=((-5.0, 5.0),), samples=(sample((3,), n=1), sample((3,), n=2))
)
elementwise(
    special.exprel,
    lambda x: exprel(x, n=1),
    domain=((-5.0, 5.0),),
    at={(0.0,): (0.5,), (1e-300,): (0.5,), (-1e100,): (1e-200,)},
)

# --- log(x) / (x - 1) -----------------------------------------------------------------------------------------------


@in_double
def _logrel(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of ``log(x) / (x - 1)``."""
    out = np.log(x) / (x - 1)
    for k in range(1, n + 1):
        out = ((-1) ** (k - 1) * math.factorial(k - 1) / x**k - k * out) / (x - 1)
    near = abs(x - 1) < 0.3
    if near.any():
        out[near] = power_series(x[near] - 1, n, lambda k: (-1) ** k / (k + 1))
    return out


logrel = dispatching(_logrel)
elementwise(
    _logrel,
    lambda x, n: logrel(x, n=n + 1),
    domain=(POSITIVE,),
    samples=(sample((3,), n=0), sample((3,), n=1), sample((3,), n=2)),
)
# The dilogarithm.
elementwise(special.spence, lambda x: -logrel(x, n=0), domain=(POSITIVE,), at={(1.0,): (-1.0,)})(
    of_reals(special.spence)
)

# --- Box and Cox ----------------------------------------------------------------------------------------------------

# With L = log x: boxcox(x, y) = L exprel(y L), so that y = 0 is no special case; at x = 0 it is -1/y.
elementwise(
    special.boxcox,
    lambda x, y: np.power(x, y - 1),
    lambda x, y: (
        np.log(x + ((x == 0) & (y > 0))) ** 2 * exprel(y * np.log(x + ((x == 0) & (y > 0))), n=1)
        + ((x == 0) & (y > 0)) / (y * y + (y == 0))
    ),
    domain=(POSITIVE, (-2.0, 2.0)),
    at={(1.0, 0.0): (1.0, 0.0), (0.0, 2.0): (0.0, 0.25), (0.0, 1.0): (1.0, 1.0), (math.e, 0.0): (1 / math.e, 0.5)},
)
elementwise(
    special.boxcox1p,
    lambda x, y: np.exp(special.xlog1py(y - 1, x)),
    lambda x, y: (
        np.log1p(x + ((x == -1) & (y > 0))) ** 2 * exprel(y * np.log1p(x + ((x == -1) & (y > 0))), n=1)
        + ((x == -1) & (y > 0)) / (y * y + (y == 0))
    ),
    domain=((-0.7, 2.0), (-2.0, 2.0)),
    at={(0.0, 0.0): (1.0, 0.0)},
)
# (1 + y x)**(1 / y) = exp(x logrel(1 + x y)).
BOXED = ((-0.8, 0.8), (-1.0, 1.0))
elementwise(
    special.inv_boxcox,
    lambda out, x, y: out / (1 + x * y),
    lambda out, x, y: out * x * x * logrel(1 + x * y, n=1),
    domain=BOXED,
    at={(0.0, 0.0): (1.0, 0.0), (1.0, 0.0): (math.e, -math.e / 2), (0.0, 1.0): (1.0, 0.0)},
)
elementwise(
    special.inv_boxcox1p,
    lambda x, y: special.inv_boxcox(x, y) / (1 + x * y),
    lambda x, y: special.inv_boxcox(x, y) * x * x * logrel(1 + x * y, n=1),
    domain=BOXED,
    at={(0.0, 0.0): (1.0, 0.0), (1.0, 0.0): (math.e, -math.e / 2)},
)

# --- integrals of exp(x) / x ----------------------------------------------------------------------------------------

elementwise(special.exp1, lambda x: -np.exp(-x) / x, domain=(POSITIVE,))
elementwise(special.expi, lambda x: np.exp(x) / x, domain=(POSITIVE,), at={(-1.0,): (-1 / math.e,)})
# w + log w = x.
elementwise(special.wrightomega, lambda out: out / (1 + out), at={(1.0,): (0.5,)})
