"""The error function's family: normal distribution, Dawson's integral, and their inverses, tails included.

Where a derivative is a small difference of large terms, as ``1 - 2 x F(x)`` is for Dawson's integral, a kernel has it
from a continued fraction or a series instead, for every order that a further derivative may ask for.

References
----------
.. [1] Gautschi, *Computational aspects of three-term recurrence relations*, SIAM Review 9 (1967), section 4.
.. [2] *NIST Digital Library of Mathematical Functions*, sections 7.10, 7.12 and 7.18.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray
from scipy import special

from ..rules import Array, dispatching, elementwise, sample
from .scipy_calls import in_double, of_reals

__all__: list[str] = []

ROOT_PI = math.sqrt(math.pi)
ROOT_2PI = math.sqrt(2 * math.pi)
PROBABILITY = (0.05, 0.95)
ORDERS = (sample((3,), n=1), sample((2, 3), n=2))

# --- repeated integrals of erfc, scaled -----------------------------------------------------------------------------


@in_double
def _scaled_integral(x: ndarray, *, n: int) -> Array:
    """``exp(x**2)`` times the `n`-th repeated integral of erfc; erfcx itself for `n` 0 [2]_ (7.18.2)."""
    before, out = np.full_like(x, 2 / ROOT_PI), np.asarray(special.erfcx(x))
    for k in range(1, n + 1):  # 7.18.7; positive terms below 0, and a loss that grows as x**2 above
        before, out = out, (before - 2 * x * out) / (2 * k)
    high = x > 1.5
    if n and high.any():
        z = x[high]
        ratio, product = np.zeros_like(z), np.asarray(special.erfcx(z))
        for k in range(n + 100, 0, -1):  # the minimal solution, by its continued fraction from below [1]_
            ratio *= k + 1
            ratio += z
            np.divide(0.5, ratio, out=ratio)
            if k <= n:
                product *= ratio
        out[high] = product
    return out


scaled_integral = dispatching(_scaled_integral)
elementwise(_scaled_integral, lambda x, n: -2 * (n + 1) * scaled_integral(x, n=n + 1), samples=ORDERS)
elementwise(
    special.erfcx,
    lambda x: -2 * scaled_integral(x, n=1),
    at={(0.0,): (-2 / ROOT_PI,)},
)(of_reals(special.erfcx))

# --- the normal distribution ----------------------------------------------------------------------------------------

ROOT_2 = math.sqrt(2)


@in_double
def _inverse_mills(x: ndarray) -> Array:
    """``phi(x) / Phi(x)``, the derivative of the logarithm of the normal distribution function."""
    low = np.minimum(x, 0)
    below = (2 / ROOT_2PI) / special.erfcx(low / -ROOT_2)
    return np.where(x < 0, below, np.exp(-0.5 * x * x) / ROOT_2PI / special.ndtr(x))


@in_double
def _mills_excess(x: ndarray) -> Array:
    """``x + phi(x) / Phi(x)``, which is ``1 / |x|`` far below 0, where its terms cancel."""
    s = np.maximum(x / -ROOT_2, 0)
    below = ROOT_2 * _scaled_integral(s, n=1) / special.erfcx(s)
    return np.where(x < 0, below, x + _inverse_mills(x))


inverse_mills, mills_excess = dispatching(_inverse_mills), dispatching(_mills_excess)
elementwise(_inverse_mills, lambda out, x: -out * mills_excess(x), domain=((-4.0, 4.0),))
elementwise(_mills_excess, lambda out, x: 1 - inverse_mills(x) * out, domain=((-4.0, 4.0),))

elementwise(
    special.ndtr,
    lambda x: np.exp(-0.5 * x * x) * (1 / ROOT_2PI),
    at={(0.0,): (1 / ROOT_2PI,), (-40.0,): (0.0,), (40.0,): (0.0,)},
)
elementwise(
    special.log_ndtr,
    lambda x: inverse_mills(x),
    domain=((-6.0, 4.0),),
    at={(0.0,): (2 / ROOT_2PI,), (50.0,): (0.0,), (-1e20,): (1e20,)},
)(of_reals(special.log_ndtr))
elementwise(
    special.ndtri, lambda out: ROOT_2PI * np.exp(0.5 * out * out), domain=(PROBABILITY,), at={(0.5,): (ROOT_2PI,)}
)
# y = ndtri(exp(x)), and so x = log_ndtr(y).
elementwise(special.ndtri_exp, lambda out: 1 / inverse_mills(out), domain=((-8.0, -0.2),))

# --- error functions ------------------------------------------------------------------------------------------------

elementwise(special.erfc, lambda x: np.exp(-x * x) * (-2 / ROOT_PI), at={(0.0,): (-2 / ROOT_PI,), (-40.0,): (0.0,)})
elementwise(special.erfi, lambda x: np.exp(x * x) * (2 / ROOT_PI), at={(0.0,): (2 / ROOT_PI,)})
elementwise(
    special.erfinv,
    lambda out: (ROOT_PI / 2) * np.exp(out * out),
    domain=((-0.9, 0.9),),
    at={(0.0,): (ROOT_PI / 2,)},
)
elementwise(
    special.erfcinv, lambda out: (-ROOT_PI / 2) * np.exp(out * out), domain=((0.1, 1.9),), at={(1.0,): (-ROOT_PI / 2,)}
)
elementwise(
    special.owens_t,
    lambda x, y: special.erf(x * y * (1 / ROOT_2)) * np.exp(-0.5 * x * x) * (-0.5 / ROOT_2PI),
    lambda x, y: np.exp(-0.5 * x * x * (1 + y * y)) / ((2 * math.pi) * (1 + y * y)),
    at={(0.0, 0.0): (0.0, 1 / (2 * math.pi))},
)

# --- Dawson's integral ----------------------------------------------------------------------------------------------


@in_double
def _dawson(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of Dawson's integral F, from ``F' = 1 - 2 x F``, or from its series at infinity."""
    before, out = np.zeros_like(x), np.asarray(special.dawsn(x))
    for k in range(1, n + 1):  # Leibniz
        before, out = out, (k == 1) - 2 * (x * out + (k - 1) * before)
    far = abs(x) > 6.5
    if n and far.any():  # [2]_ (7.12.1 at an imaginary argument); 36 terms give 1e-15 from 6.5 on
        total, inverse = np.zeros_like(x[far]), 1 / (x[far] * x[far])
        for k in reversed(range(36)):
            total = total * inverse + math.prod(range(1, 2 * k, 2)) / 2.0 ** (k + 1) * math.perm(2 * k + n, n)
        out[far] = (-1) ** n * total / x[far] ** (n + 1)
    return out


dawson = dispatching(_dawson)
elementwise(_dawson, lambda x, n: dawson(x, n=n + 1), samples=ORDERS)
elementwise(special.dawsn, lambda x: dawson(x, n=1), at={(0.0,): (1.0,), (1e200,): (-0.0,)})(of_reals(special.dawsn))
