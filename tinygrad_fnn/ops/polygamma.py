"""`polygamma` and `multigammaln`, ours because SciPy's are Python code and cannot dispatch.

They stand apart from the rules of `scipy.special` because they are public names of the package, whose import must not
import SciPy.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy import ndarray

from ..gate import apply
from ..rules import Array, dispatching, elementwise, plain, sample
from ..tensor import Tensor, ndim_of
from .scipy_calls import in_double, refuse_tracked

__all__ = ["multigammaln", "polygamma", "polygamma_of"]


# B_2k of the expansion at infinity, k = 1 to 8; SHIFT is where those that follow are below 1e-16.
BERNOULLI: Final = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
SHIFT: Final = 10


def _trigamma(x: ndarray) -> Array:
    """That of positive numbers: moved up by the recurrence, then expanded at infinity [1]_ (6.4.6, 6.4.12)."""
    inverse = 1 / (x + SHIFT)
    square = inverse * inverse
    out = np.zeros_like(x)
    for b in reversed(BERNOULLI):
        out += b
        out *= square
    out = inverse * (1 + 0.5 * inverse + out)
    for k in range(SHIFT):
        inverse = 1 / (x + k)
        inverse *= inverse
        out += inverse
    return out


@in_double
def _polygamma(n: ndarray, x: ndarray) -> Array:
    """SciPy's, but for the derivative of psi, where a sum is a tenth of the cost of its Hurwitz zeta function."""
    from scipy import special  # importing it costs more than the rest of the package

    if n.size == 1 and n == 1 and (x > 0).all():
        return _trigamma(x)
    return special.polygamma(n, x)


polygamma_of = dispatching(_polygamma)


@elementwise(
    _polygamma,
    None,
    lambda n, x: polygamma_of(n + 1, x),
    domain=((0.0, 1.0), (0.4, 4.0)),
    samples=(sample(1, (3,)), sample(0, (2, 3)), sample(np.array([0, 1, 3]), (2, 3))),
    at={(1, 1.0): (None, -2 * 1.2020569031595942)},
)
def polygamma(n: Array, x: Array) -> Tensor:
    """Polygamma functions, elementwise: the derivatives of `psi`, with SciPy's signature.

    Parameters
    ----------
    n : array_like
        Order, a non-negative integer, broadcasting against `x`; not differentiable.
    x : array_like or Tensor
        All reals but the poles 0, -1, -2, ...

    Returns
    -------
    Tensor
        The `n`-th derivative of `psi`; its own derivative is of order ``n + 1`` [1]_.

    Raises
    ------
    NoRuleError
        If `n` is tracked.

    References
    ----------
    .. [1] Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 6.4.1.

    Examples
    --------
    >>> round(polygamma(1, 1.0).item(), 12)
    1.644934066848
    """
    refuse_tracked("tinygrad_fnn.polygamma", "n", n)
    return apply(_polygamma, n, x)


@in_double
def _multigammaln(x: ndarray, *, d: int) -> Array:
    from scipy import special  # importing it costs more than the rest of the package

    return special.multigammaln(x, d)


@elementwise(
    _multigammaln,
    lambda x, d: sum((polygamma_of(0, x - 0.5 * j) for j in range(1, d)), start=polygamma_of(0, x)),
    domain=((1.7, 5.0),),
    samples=(sample((3,), d=2), sample((2, 3), d=1), sample((3,), d=4)),
)
def multigammaln(a: Array, d: int) -> Tensor:
    """Logarithm of the multivariate gamma function, elementwise, with SciPy's signature.

    Parameters
    ----------
    a : array_like or Tensor
        Above ``(d - 1) / 2``.
    d : int
        Dimension of the space, at least 1.

    Returns
    -------
    Tensor, shape of `a`
        ``d (d - 1) / 4 log(pi) + sum(gammaln(a - j / 2) for j in range(d))`` [1]_.

    Raises
    ------
    ValueError
        If `d` is no positive integer, or `a` is not above ``(d - 1) / 2``.

    References
    ----------
    .. [1] Muirhead, *Aspects of Multivariate Statistical Theory* (1982), theorem 2.1.12.

    Examples
    --------
    >>> round(multigammaln(3.0, 1).item(), 12)
    0.69314718056
    """
    if isinstance(d, Tensor) or ndim_of(d) or math.floor(d) != d or d < 1:
        raise ValueError(f"multigammaln: d is the dimension of a space, a positive integer; got {d!r}")
    least = np.min(plain(a), initial=math.inf)
    if least <= 0.5 * (d - 1):
        raise ValueError(f"multigammaln: a must be above (d - 1) / 2 = {0.5 * (d - 1)}; its least is {least:.6g}")
    return apply(_multigammaln, a, d=int(d))
