"""The gamma function's family: logarithms, beta functions, incomplete ones and their inverses.

References
----------
.. [1] Loader, *Fast and accurate computation of binomial probabilities* (2000): densities as saddle-point expansions.
.. [2] *NIST Digital Library of Mathematical Functions*, sections 5.5, 5.11, 8.8 and 8.17.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray
from scipy import special

from ..rules import Array, constant, dispatching, elementwise, sample
from .polygamma import polygamma_of
from .scipy_calls import in_double, of_reals, parameters_first

__all__: list[str] = []

POSITIVE = (0.4, 4.0)
PROBABILITY = (0.1, 0.9)
EULER = 0.5772156649015329

# --- one argument ---------------------------------------------------------------------------------------------------


@in_double
def _digamma(x: ndarray) -> Array:
    """Psi, by reflection [2]_ (5.5.4) below -3/4: SciPy's loses half its digits near the poles there."""
    low = x < -0.75
    if not low.any():
        return special.psi(x)
    low &= x != np.rint(x)
    out = special.psi(np.where(low, 1 - x, x))
    return np.where(low, out - math.pi / np.tan(math.pi * (x - np.rint(x))), out)


digamma = dispatching(_digamma)
elementwise(_digamma, lambda x: polygamma_of(1, x), domain=(POSITIVE,), at={(1.0,): (math.pi**2 / 6,)})
elementwise(special.psi, lambda x: polygamma_of(1, x), domain=(POSITIVE,), at={(1.0,): (math.pi**2 / 6,)})(
    of_reals(special.psi)
)
elementwise(special.gammaln, lambda x: digamma(x), domain=(POSITIVE,), at={(1.0,): (-EULER,)})
elementwise(special.loggamma, lambda x: digamma(x), domain=(POSITIVE,), at={(1.0,): (-EULER,)})(
    of_reals(special.loggamma)
)
elementwise(special.gamma, lambda out, x: out * digamma(x), domain=(POSITIVE,), at={(1.0,): (-EULER,)})(
    of_reals(special.gamma)
)
constant(special.gammasgn)


def _reciprocal_slope(x: Array, s: Array, c: Array) -> Array:
    """Derivative of 1 / gamma: below 1/2 of ``gamma(1 - x) sin(pi x) / pi``, which passes the poles [2]_ (5.5.3)."""
    low = x < 0.5
    high, mirrored = np.where(low, 1, x), np.where(low, 1 - x, 1)  # neither branch may overflow where it is not taken
    return np.where(
        low,
        special.gamma(mirrored) * (c - special.psi(mirrored) * s / math.pi),
        -special.psi(high) * special.rgamma(high),
    )


def _half_turns(x: Array) -> Array:
    return math.pi * (x - 2 * np.round(0.5 * x))  # the difference is exact, so that sin and cos of it are


elementwise(
    special.rgamma,
    lambda x: _reciprocal_slope(x, np.sin(_half_turns(x)), np.cos(_half_turns(x))),
    domain=((-2.5, 3.5),),
    at={(0.0,): (1.0,), (-1.0,): (-1.0,), (-2.0,): (2.0,), (-3.0,): (-6.0,), (1.0,): (EULER,)},
)(of_reals(special.rgamma))

# --- beta -----------------------------------------------------------------------------------------------------------

# Of psi at infinity, in 1 / x**2: log x - 1 / (2 x) - sum(...), [2]_ (5.11.2).
BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160)
SHIFT = 10


@in_double
def _psi_step(x: ndarray, y: ndarray) -> Array:
    """``psi(x) - psi(x + y)``, which keeps its digits when `y` is small beside `x`.

    Both are moved up by 10 and expanded at infinity; every term is then a multiple of `y`.
    """
    y = y + 0 * x
    up, far = x + SHIFT, x + SHIFT + y
    p, q = up**-2, far**-2
    gap = (y / up / far) * (1 / up + 1 / far)  # p - q
    total, powers, step = np.zeros_like(y), np.ones_like(y), np.zeros_like(y)
    for b in BERNOULLI:  # step = (p**k - q**k) / (p - q)
        step = step * p + powers
        powers = powers * q
        total += b * step
    out = -np.log1p(y / up) - 0.5 * (y / up / far) - gap * total
    for k in range(SHIFT):
        out -= y / ((x + k) * (x + k + y))
    return np.where((x > 0) & (x + y > 0), out, special.psi(x) - special.psi(x + y))


psi_step = dispatching(_psi_step)
elementwise(
    _psi_step,
    lambda x, y: polygamma_of(1, x) - polygamma_of(1, x + y),
    lambda x, y: -polygamma_of(1, x + y),
    domain=(POSITIVE, POSITIVE),
)
elementwise(
    special.betaln,
    lambda x, y: psi_step(x, y),
    lambda x, y: psi_step(y, x),
    domain=(POSITIVE, POSITIVE),
    at={(1.0, 1.0): (-1.0, -1.0), (1e20, 1.0): (-1e-20, -math.log(1e20) - EULER)},
)
elementwise(
    special.beta,
    lambda out, x, y: out * psi_step(x, y),
    lambda out, x, y: out * psi_step(y, x),
    domain=(POSITIVE, POSITIVE),
    at={(1.0, 1.0): (-1.0, -1.0)},
)
elementwise(
    special.poch,
    lambda out, x, y: -out * psi_step(x, y),
    lambda out, x, y: out * special.psi(x + y),
    domain=(POSITIVE, POSITIVE),
)
elementwise(
    special.binom,
    lambda out, x, y: -out * psi_step(x - y + 1, y),
    lambda out, x, y: out * (special.psi(x - y + 1) - special.psi(y + 1)),
    domain=((3.0, 5.0), (0.5, 2.5)),
)

# --- densities ------------------------------------------------------------------------------------------------------

LARGE = 20.0


def _stirling_error(x: ndarray) -> Array:
    """``gammaln(x) - ((x - 1/2) log x - x + log(2 pi) / 2)`` for x of 20 and more [1]_."""
    q = 1 / (x * x)
    return (1 / 12 - q * (1 / 360 - q * (1 / 1260 - q * (1 / 1680 - q * (1 / 1188))))) / x


def _log_beta(x: ndarray, y: ndarray) -> Array:
    """`betaln`, which in SciPy loses the digits of ``gammaln`` at a large argument beside a small one."""
    small, large = np.minimum(x, y), np.maximum(x, y)
    a = np.where(large < LARGE, LARGE, large)
    far = small - (a - 0.5) * np.log1p(small / a) - small * np.log(a + small)
    far += _stirling_error(a) - _stirling_error(a + small) + special.gammaln(small)
    return np.where((large < LARGE) | (small <= 0) | (small > LARGE), special.betaln(x, y), far)


@in_double
def _gamma_density(x: ndarray, y: ndarray) -> Array:
    """``y**(x - 1) exp(-y) / gamma(x)`` for any real `x`; at a large one without its large exponents [1]_."""
    scale = special.rgamma(x)
    direct = np.where(scale == 0, 0, scale * np.exp(special.xlogy(x - 1, y) - y))
    a = np.where(x < LARGE, LARGE, x)
    u = (y - a) / a
    log = np.where(abs(u) < 0.5, np.log1p(u), np.log(y / a))
    saddle = np.exp(a * (log - u) - _stirling_error(a)) * np.sqrt(a / (2 * math.pi)) / y
    return np.where((x < LARGE) | (y <= 0), direct, saddle)


gamma_density = dispatching(_gamma_density)
# (x - 1) / y - 1 times the density, written without a division by y; at x = 1 minus the density.
elementwise(
    _gamma_density,
    None,
    lambda x, y: gamma_density(x - 1, y) * ((x - 1 - y) / (x - 1 + (x == 1))) - (x == 1) * gamma_density(x, y),
    domain=(POSITIVE, POSITIVE),
    samples=(sample(2.5, (3,)), sample(1, (2, 3)), sample(25.0, (3,))),
)


@in_double
def _beta_density(x: ndarray, y: ndarray, z: ndarray) -> Array:
    """``z**(x - 1) (1 - z)**(y - 1) / beta(x, y)`` at any positive `x` and `y`; at large ones by [1]_."""
    powers = special.xlogy(x - 1, z) + special.xlog1py(y - 1, -z)
    direct = np.exp(powers - _log_beta(x, y))
    a, b = np.where(x < LARGE, LARGE, x), np.where(y < LARGE, LARGE, y)
    n = a + b
    u, v = (z * b - a * (1 - z)) / a, (a * (1 - z) - z * b) / b
    exponent = a * (np.log1p(u) - u) + b * (np.log1p(v) - v)
    correction = _stirling_error(n) - _stirling_error(a) - _stirling_error(b)
    saddle = np.exp(exponent + correction) * np.sqrt(a / n * b / (2 * math.pi)) / (z * (1 - z))
    return np.where((x < LARGE) | (y < LARGE) | (z <= 0) | (z >= 1), direct, saddle)


beta_density = dispatching(_beta_density)
# (x - 1) / z - (y - 1) / (1 - z) times the density; at an end where that is 0 * inf, what is left of it.
elementwise(
    _beta_density,
    None,
    None,
    lambda out, x, y, z: (
        out * ((x - 1) / (z + (z == 0)) - (y - 1) / (1 - z + (z == 1)))
        + (1 - z) * ((x == 2) & (z == 0)) * (y * (y + 1))
        - z * ((y == 2) & (z == 1)) * (x * (x + 1))
    ),
    domain=(POSITIVE, POSITIVE, PROBABILITY),
    samples=(sample(2.5, 1.5, (3,)), sample(1, 2, (2, 3)), sample(25.0, 30.0, (3,))),
)

# --- incomplete integrals, in their last argument -------------------------------------------------------------------

OF_GAMMA = (sample(2.5, (3,)), sample(0.5, (2, 3)))
OF_BETA = (sample(2.5, 1.5, (3,)), sample(0.5, 3, (2, 3)))

elementwise(
    special.gammainc,
    None,
    lambda x, y: gamma_density(x, y),
    domain=(POSITIVE, POSITIVE),
    samples=OF_GAMMA,
    at={(1, 0.0): (None, 1.0), (2, 0.0): (None, 0.0), (3, 0.0): (None, 0.0)},
)(parameters_first(special.gammainc, "a"))
elementwise(
    special.gammaincc,
    None,
    lambda x, y: -gamma_density(x, y),
    domain=(POSITIVE, POSITIVE),
    samples=OF_GAMMA,
    at={(1, 0.0): (None, -1.0), (2, 0.0): (None, 0.0)},
)(parameters_first(special.gammaincc, "a"))
elementwise(
    special.gammaincinv,
    None,
    lambda out, x: 1 / gamma_density(x, out),
    domain=(POSITIVE, PROBABILITY),
    samples=OF_GAMMA,
)(parameters_first(special.gammaincinv, "a"))
elementwise(
    special.gammainccinv,
    None,
    lambda out, x: -1 / gamma_density(x, out),
    domain=(POSITIVE, PROBABILITY),
    samples=OF_GAMMA,
)(parameters_first(special.gammainccinv, "a"))
elementwise(
    special.betainc,
    None,
    None,
    lambda x, y, z: beta_density(x, y, z),
    domain=(POSITIVE, POSITIVE, PROBABILITY),
    samples=OF_BETA,
    at={(1, 1, 0.5): (None, None, 1.0), (1, 2, 0.0): (None, None, 2.0), (2, 1, 1.0): (None, None, 2.0)},
)(parameters_first(special.betainc, "a", "b"))
elementwise(
    special.betaincc,
    None,
    None,
    lambda x, y, z: -beta_density(x, y, z),
    domain=(POSITIVE, POSITIVE, PROBABILITY),
    samples=OF_BETA,
)(parameters_first(special.betaincc, "a", "b"))
elementwise(
    special.betaincinv,
    None,
    None,
    lambda out, x, y: 1 / beta_density(x, y, out),
    domain=(POSITIVE, POSITIVE, PROBABILITY),
    samples=OF_BETA,
)(parameters_first(special.betaincinv, "a", "b"))


@in_double
def _student_density(x: ndarray, y: ndarray) -> Array:
    """Of Student's distribution with `x` degrees of freedom; `_log_beta` keeps its digits at a large `x`."""
    return np.asarray(
        np.exp(-_log_beta(0.5 * x, np.full_like(x, 0.5)) - 0.5 * (x + 1) * np.log1p(y * y / x)) / np.sqrt(x)
    )


student_density = dispatching(_student_density)
elementwise(
    _student_density,
    None,
    lambda out, x, y: -out * ((x + 1) * y / (x + y * y)),
    domain=(POSITIVE, (-2.0, 2.0)),
    samples=OF_GAMMA,
)
elementwise(
    special.stdtr,
    None,
    lambda x, y: student_density(x, y),
    domain=(POSITIVE, (-2.0, 2.0)),
    samples=OF_GAMMA,
    at={(1, 0.0): (None, 1 / math.pi)},
)(parameters_first(special.stdtr, "df"))
