"""Bessel functions of real order, plain, modified and scaled, and the complete elliptic integrals.

The derivative is taken as half a sum of neighbours in order, which has no removable point at 0. Orders 0 and 1 have
functions of their own, five to fifty times as fast as the general ones, and so the neighbour of order 2 is expressed by
them. The scaled modified functions cancel far out (``i1e(x) - i0e(x)`` is ``-i0e(x) / (2 x)``); their derivatives have
a kernel for it.

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


def _over(values: ndarray, x: ndarray) -> Array:
    """``values / x``, and 1 / 2 at 0, as it is there for J_1 and I_1."""
    return np.divide(values, x, out=np.full_like(x, 0.5), where=x != 0)


@in_double
def _j1_slope(x: ndarray) -> Array:
    return special.j0(x) - _over(special.j1(x), x)


@in_double
def _i1_slope(x: ndarray) -> Array:
    return special.i0(x) - _over(special.i1(x), x)


j1_slope, i1_slope = dispatching(_j1_slope), dispatching(_i1_slope)
elementwise(_j1_slope, lambda x: 0.25 * (special.jv(3, x) - 3 * special.j1(x)))
elementwise(_i1_slope, lambda x: 0.25 * (special.iv(3, x) + 3 * special.i1(x)))
elementwise(special.j0, lambda x: -special.j1(x), at={(0.0,): (0.0,)})
elementwise(special.j1, lambda x: j1_slope(x), at={(0.0,): (0.5,)})
elementwise(special.y0, lambda x: -special.y1(x), domain=(POSITIVE,))
elementwise(special.y1, lambda out, x: special.y0(x + (x == 0)) - out / x, domain=(POSITIVE,))
elementwise(special.i0, lambda x: special.i1(x), at={(0.0,): (0.0,)})
elementwise(special.i1, lambda x: i1_slope(x), at={(0.0,): (0.5,)})
elementwise(special.k0, lambda x: -special.k1(x), domain=(POSITIVE,))
elementwise(special.k1, lambda out, x: -special.k0(x) - out / x, domain=(POSITIVE,))

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


def _difference(orders: list[Array], v: int, n: int) -> Array:
    """The `n`-th derivative of the scaled I_v, or up to its sign K_v, from functions of the orders 0 to ``v + n``."""
    return sum((-1) ** j * math.comb(2 * n, j) * orders[abs(v - n + j)] for j in range(2 * n + 1)) / 2.0**n


@in_double
def _ive(x: ndarray, *, v: int, n: int) -> Array:
    """The `n`-th derivative of ``exp(-|x|) I_v(x)``; at 0, where one of two sides differs, the mean of both."""
    r = abs(x)
    orders = [special.i0e(r), special.i1e(r)]
    if v + n > 1:
        orders.append(orders[0] - 2 * _over(orders[1], r))  # its absolute error counts, beside the order 0
    orders += [special.ive(m, r) for m in range(3, v + n + 1)]
    out = _difference(orders, v, n)
    far = r > FAR
    if far.any():
        out[far] = _at_infinity(r[far], v, n, -1) / math.sqrt(2 * math.pi)
    return out * np.sign(x) if (v + n) % 2 else out


@in_double
def _kve(x: ndarray, *, v: int, n: int) -> Array:
    """The `n`-th derivative of ``exp(x) K_v(x)``."""
    orders = [special.k0e(x), special.k1e(x)]
    for m in range(1, v + n):
        orders.append(orders[-2] + 2 * m / x * orders[-1])
    out = np.where(x == 0, np.inf, _difference(orders, v, n)) * (-1) ** n
    far = x > FAR
    if far.any():
        out[far] = _at_infinity(x[far], v, n, 1) * math.sqrt(math.pi / 2)
    return out


ive, kve = dispatching(_ive), dispatching(_kve)
ORDERS = (sample((3,), v=0, n=1), sample((2, 3), v=1, n=2))
elementwise(_ive, lambda x, v, n: ive(x, v=v, n=n + 1), samples=ORDERS)
elementwise(_kve, lambda x, v, n: kve(x, v=v, n=n + 1), samples=ORDERS, domain=(POSITIVE,))
elementwise(special.i0e, lambda x: ive(x, v=0, n=1), at={(0.0,): (0.0,)})
elementwise(special.i1e, lambda x: ive(x, v=1, n=1), at={(0.0,): (0.5,)})
elementwise(special.k0e, lambda x: kve(x, v=0, n=1), domain=(POSITIVE,))
elementwise(special.k1e, lambda x: kve(x, v=1, n=1), domain=(POSITIVE,))

# --- complete elliptic integrals ------------------------------------------------------------------------------------


def _integrals(x: ndarray) -> tuple[ndarray, ndarray]:
    """K and D = ``(K - E) / x``, which has no removable point at 0 [1]_ (19.8.5, 19.8.6), of a number below 1.

    Of a and b, whose arithmetic-geometric mean is sought, the half difference c is kept beside them, as it cancels.
    """
    b = np.sqrt(1 - x)
    a, c, share, total = 0.5 * (1 + b), 0.5 * x / (1 + b), 0.5 / (1 + b), np.ones_like(x)
    b, share = np.sqrt(b), c * share  # c**2 / x
    for n in range(1, 20):
        total += 2**n * share
        b, ratio, a = np.sqrt(a * b), c, 0.5 * (a + b)
        ratio /= 4 * a
        c = 4 * a * ratio**2
        share *= ratio**2
        if not (2**n * abs(share) > 1e-18 * total).any():
            break
    out = math.pi / (a + b)
    return out, np.where(x == 1, np.inf, 0.5 * out * total)


@in_double
def _ellipk(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of K, a hypergeometric function [1]_ (15.5.2, 19.5.1) with its pole taken out (15.8.1)."""
    if n == 1:
        whole, part = _integrals(x)
        return np.where(x == 1, np.inf, (whole - part) / (2 * (1 - x)))
    factor = math.pi / 2 * math.prod(0.5 + j for j in range(n)) ** 2 / math.factorial(n)
    return factor * (1 - x) ** -n * special.hyp2f1(0.5, 0.5, 1 + n, x)


@in_double
def _ellipe(x: ndarray, *, n: int) -> Array:
    """The `n`-th derivative of E; as for K, with 19.5.2."""
    if n == 1:
        return -0.5 * _integrals(x)[1]
    factor = math.pi / 2 * math.prod((j - 0.5) * (j + 0.5) for j in range(n)) / math.factorial(n)
    return factor * (1 - x) ** (1 - n) * special.hyp2f1(1.5, 0.5, 1 + n, x)


ellipk, ellipe = dispatching(_ellipk), dispatching(_ellipe)
PARAMETER = (-2.0, 0.8)
OF_PARAMETER = (sample((3,), n=1), sample((2, 3), n=2))
elementwise(_ellipk, lambda x, n: ellipk(x, n=n + 1), domain=(PARAMETER,), samples=OF_PARAMETER)
elementwise(_ellipe, lambda x, n: ellipe(x, n=n + 1), domain=(PARAMETER,), samples=OF_PARAMETER)
elementwise(special.ellipk, lambda x: ellipk(x, n=1), domain=(PARAMETER,), at={(0.0,): (math.pi / 8,)})
elementwise(special.ellipe, lambda x: ellipe(x, n=1), domain=(PARAMETER,), at={(0.0,): (-math.pi / 8,)})
