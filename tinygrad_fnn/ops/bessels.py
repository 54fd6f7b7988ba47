"""Bessel functions of real order, plain, modified and scaled, and the complete elliptic integrals.

The derivative is taken as half a sum of neighbours in order, which has no removable point at 0. The scaled modified
functions cancel far out (``i1e(x) - i0e(x)`` is ``-i0e(x) / (2 x)``); those of order 0 and 1 have a kernel for it.

References
----------
.. [1] *NIST Digital Library of Mathematical Functions*, sections 10.6, 10.29, 10.40, 15.5, 15.8 and 19.5.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray
from scipy import special

from ..rules import Array, dispatching, elementwise, sample
from .scipy_calls import in_double, parameters_first

__all__: list[str] = []

POSITIVE = (0.3, 4.0)
OF_ORDER = (sample(1.5, (3,)), sample(0, (2, 3)), sample(2, (3,)))

# --- any order ------------------------------------------------------------------------------------------------------

for fun, slope in (
    (special.jv, lambda x, y: 0.5 * (special.jv(x - 1, y) - special.jv(x + 1, y))),
    (special.yv, lambda x, y: 0.5 * (special.yv(x - 1, y) - special.yv(x + 1, y))),
    (special.iv, lambda x, y: 0.5 * (special.iv(x - 1, y) + special.iv(x + 1, y))),
    (special.kv, lambda x, y: -0.5 * (special.kv(x - 1, y) + special.kv(x + 1, y))),
    (special.ive, lambda out, x, y: 0.5 * (special.ive(x - 1, y) + special.ive(x + 1, y)) - np.sign(y) * out),
    (special.kve, lambda out, x, y: out - 0.5 * (special.kve(x - 1, y) + special.kve(x + 1, y))),
):
    elementwise(fun, None, slope, domain=((0.0, 2.0), POSITIVE), samples=OF_ORDER)(parameters_first(fun, "v"))

# --- order 0 and 1 --------------------------------------------------------------------------------------------------

elementwise(special.j0, lambda x: -special.j1(x), at={(0.0,): (0.0,)})
elementwise(special.j1, lambda x: 0.5 * (special.j0(x) - special.jv(2, x)), at={(0.0,): (0.5,)})
elementwise(special.y0, lambda x: -special.y1(x), domain=(POSITIVE,))
elementwise(special.y1, lambda x: 0.5 * (special.y0(x) - special.yv(2, x)), domain=(POSITIVE,))
elementwise(special.i0, lambda x: special.i1(x), at={(0.0,): (0.0,)})
elementwise(special.i1, lambda x: 0.5 * (special.i0(x) + special.iv(2, x)), at={(0.0,): (0.5,)})
elementwise(special.k0, lambda x: -special.k1(x), domain=(POSITIVE,))
elementwise(special.k1, lambda x: -0.5 * (special.k0(x) + special.kv(2, x)), domain=(POSITIVE,))

# --- order 0 and 1, scaled ------------------------------------------------------------------------------------------

FAR = 30.0  # 10.40 gives 1e-16 from here on
TERMS = 30


def _at_infinity(x: ndarray, v: int, n: int, sign: int) -> Array:
    """The `n`-th derivative of ``sum(sign**k a_k(v) x**(-k - 1/2))`` [1]_ (10.17.1, 10.40.1, 10.40.2)."""
    total = np.zeros_like(x)
    coefficients = [1.0]
    for k in range(1, TERMS):
        coefficients.append(coefficients[-1] * sign * (4 * v * v - (2 * k - 1) ** 2) / (8 * k))
    for k in reversed(range(TERMS)):
        total = total / x + coefficients[k] * math.prod(k + 0.5 + j for j in range(n))
    return (-1) ** n * total * x ** (-n - 0.5)


@in_double
def _ive(x: ndarray, *, v: int, n: int) -> Array:
    """The `n`-th derivative of ``exp(-|x|) I_v(x)``; at 0, where one of two sides differs, the mean of both."""
    r = abs(x)
    out = sum((-1) ** j * math.comb(2 * n, j) * special.ive(abs(v - n + j), r) for j in range(2 * n + 1)) / 2.0**n
    out = np.where(r > FAR, _at_infinity(np.maximum(r, FAR), v, n, -1) / math.sqrt(2 * math.pi), out)
    return out * np.sign(x) if (v + n) % 2 else out


@in_double
def _kve(x: ndarray, *, v: int, n: int) -> Array:
    """The `n`-th derivative of ``exp(x) K_v(x)``."""
    out = sum((-1) ** j * math.comb(2 * n, j) * special.kve(abs(v - n + j), x) for j in range(2 * n + 1)) / (-2.0) ** n
    return np.where(x > FAR, _at_infinity(np.maximum(x, FAR), v, n, 1) * math.sqrt(math.pi / 2), out)


ive, kve = dispatching(_ive), dispatching(_kve)
ORDERS = (sample((3,), v=0, n=1), sample((2, 3), v=1, n=2))
elementwise(_ive, lambda x, v, n: ive(x, v=v, n=n + 1), samples=ORDERS)
elementwise(_kve, lambda x, v, n: kve(x, v=v, n=n + 1), samples=ORDERS, domain=(POSITIVE,))
elementwise(special.i0e, lambda x: ive(x, v=0, n=1), at={(0.0,): (0.0,)})
elementwise(special.i1e, lambda x: ive(x, v=1, n=1), at={(0.0,): (0.5,)})
elementwise(special.k0e, lambda x: kve(x, v=0, n=1), domain=(POSITIVE,))
elementwise(special.k1e, lambda x: kve(x, v=1, n=1), domain=(POSITIVE,))

# --- complete elliptic integrals ------------------------------------------------------------------------------------


@in_double
def _ellipk(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of K, a hypergeometric function [1]_ (15.5.2, 19.5.1) with its pole taken out (15.8.1)."""
    factor = math.pi / 2 * math.prod(0.5 + j for j in range(n)) ** 2 / math.factorial(n)
    return factor * (1 - x) ** -n * special.hyp2f1(0.5, 0.5, 1 + n, x)


@in_double
def _ellipe(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of E; as for K, with 19.5.2."""
    factor = math.pi / 2 * math.prod((j - 0.5) * (j + 0.5) for j in range(n)) / math.factorial(n)
    return factor * (1 - x) ** (1 - n) * special.hyp2f1(1.5, 0.5, 1 + n, x)


ellipk, ellipe = dispatching(_ellipk), dispatching(_ellipe)
PARAMETER = (-2.0, 0.8)
OF_PARAMETER = (sample((3,), n=1), sample((2, 3), n=2))
elementwise(_ellipk, lambda x, n: ellipk(x, n=n + 1), domain=(PARAMETER,), samples=OF_PARAMETER)
elementwise(_ellipe, lambda x, n: ellipe(x, n=n + 1), domain=(PARAMETER,), samples=OF_PARAMETER)
elementwise(special.ellipk, lambda x: ellipk(x, n=1), domain=(PARAMETER,), at={(0.0,): (math.pi / 8,)})
elementwise(special.ellipe, lambda x: ellipe(x, n=1), domain=(PARAMETER,), at={(0.0,): (-math.pi / 8,)})
