"""Derivatives of special functions where they are hard: tails, poles, removable points; against mpmath.

The enumeration of the table has ordinary arguments. Here each function is asked for its first and second derivative at
points where a formula of the textbook would have lost digits, and the refusals are tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from oracles import leaf
from scipy import special

from tinygrad_fnn import RULES, Tensor, grad, no_grad
from tinygrad_fnn.errors import NoRuleError
from tinygrad_fnn.ops.polygamma import multigammaln, polygamma

EPS = 2.0**-52
Real = Callable[[Any], Any]


def derivatives(f: Callable[[Tensor], Any], x: float) -> tuple[float, float]:
    """First and second, by the engine."""
    t = leaf(float(x))
    with np.errstate(all="ignore"):
        (first,) = grad(f(t), t, create_graph=True)
        (second,) = grad(first, t, allow_unused=True) if first.requires_grad else (None,)
    return first.item(), 0.0 if second is None else second.item()


def phi(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def mills(x: Any) -> Any:
    return phi(x) / (mp.erfc(-x / mp.sqrt(2)) / 2)


def erfcx(x: Any) -> Any:
    return mp.exp(x * x) * mp.erfc(x)


def dawson(x: Any) -> Any:
    return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def dawson1(x: Any) -> Any:
    return 1 - 2 * x * dawson(x)


def erfcx1(x: Any) -> Any:
    return 2 * x * erfcx(x) - 2 / mp.sqrt(mp.pi)


def logrel(x: Any) -> Any:
    return mp.hyp2f1(1, 1, 2, 1 - x)


def i0e1(x: Any) -> Any:
    return mp.exp(-abs(x)) * (mp.besseli(1, x) - mp.sign(x) * mp.besseli(0, x))


def i0e2(x: Any) -> Any:
    r = abs(x)
    return mp.exp(-r) * (2 * mp.besseli(0, r) - 2 * mp.besseli(1, r) - mp.besseli(1, r) / r)


def k0e1(x: Any) -> Any:
    return mp.exp(x) * (mp.besselk(0, x) - mp.besselk(1, x))


def k0e2(x: Any) -> Any:
    return mp.exp(x) * (2 * mp.besselk(0, x) - 2 * mp.besselk(1, x) + mp.besselk(1, x) / x)


def gamma_density(a: Any) -> Real:
    return lambda x: mp.exp(-x + (a - 1) * mp.log(x) - mp.loggamma(a))


def gamma_density1(a: Any) -> Real:
    return lambda x: gamma_density(a)(x) * ((a - 1) / x - 1)


def beta_density(a: Any, b: Any) -> Real:
    return lambda x: mp.exp((a - 1) * mp.log(x) + (b - 1) * mp.log(1 - x) - mp.log(mp.beta(a, b)))


def beta_density1(a: Any, b: Any) -> Real:
    return lambda x: beta_density(a, b)(x) * ((a - 1) / x - (b - 1) / (1 - x))


def nth(f: Real, n: int) -> Real:
    return lambda x: mp.diff(f, x, n)


# function, its first and second derivative, points, and how many eps either may be off there
HARD: list[tuple[str, Callable[[Any], Any], Real, Real, tuple[float, ...], float]] = [
    # exp(-x**2) has the relative error of x**2: 1500 eps at 38. Below 0 Mills' ratio is exact to a few eps.
    ("log_ndtr", special.log_ndtr, mills, lambda x: -mills(x) * (x + mills(x)),
     (-1e4, -100.0, -37.5, -10.0, -3.0, -1.0, -1e-3, 0.0, 1.0, 5.0, 20.0, 37.0), 2000),
    ("erfcx", special.erfcx, erfcx1, lambda x: 2 * erfcx(x) + 2 * x * erfcx1(x),
     (-20.0, -1.0, 0.0, 0.5, 1.4999, 1.5001, 5.0, 26.0, 1e3), 1000),
    # Below 6.5 the recurrence loses x**2 at each order, 42 and 1800 with its factors; beyond is the series.
    ("dawsn", special.dawsn, dawson1, lambda x: -2 * dawson(x) - 2 * x * dawson1(x),
     (0.0, 0.5, -2.0, 5.0, 6.49, 6.51, 10.0, 25.0, -8.0), 4000),
    ("exprel", special.exprel, lambda x: mp.hyp1f1(2, 3, x) / 2, lambda x: mp.hyp1f1(3, 4, x) / 3,
     (-1e10, -50.0, -3.1, -2.9, -2.1, -1.9, -1e-5, 0.0, 1e-9, 1e-3, 1.9, 2.1, 2.9, 3.1, 50.0, 700.0), 400),
    ("spence", special.spence, lambda x: -logrel(x), lambda x: mp.hyp2f1(2, 2, 3, 1 - x) / 2,
     (1e-300, 1e-5, 0.5, 0.6999, 0.7001, 1 - 1e-9, 1.0, 1.2999, 1.3001, 5.0, 1e10), 100),
    # Up to 30 differences lose x at each order, 30 and 900 with its factors; beyond is the series.
    ("i0e", special.i0e, i0e1, i0e2, (1e-8, 0.5, -3.0, 29.0, 31.0, 100.0, 1e5, -1e5), 3000),
    ("k0e", special.k0e, k0e1, k0e2, (1e-8, 0.5, 3.0, 29.0, 31.0, 100.0, 1e5), 3000),
    ("j1", special.j1,
     nth(lambda x: mp.besselj(1, x), 1), nth(lambda x: mp.besselj(1, x), 2), (0.0, 1e-9, 0.3, 20.5), 300),
    ("i1", special.i1, nth(lambda x: mp.besseli(1, x), 1), nth(lambda x: mp.besseli(1, x), 2), (1e-9, 0.3, 20.5), 300),
    ("y1", special.y1, nth(lambda x: mp.bessely(1, x), 1), nth(lambda x: mp.bessely(1, x), 2), (1e-3, 0.3, 20.5), 300),
    ("k1", special.k1, nth(lambda x: mp.besselk(1, x), 1), nth(lambda x: mp.besselk(1, x), 2), (1e-3, 0.3, 20.5), 30),
    ("ellipk", special.ellipk, lambda m: mp.pi / 8 * mp.hyp2f1(1.5, 1.5, 2, m),
     lambda m: mp.pi * 9 / 64 * mp.hyp2f1(2.5, 2.5, 3, m), (-100.0, -1.5, -1e-9, 0.0, 1e-6, 0.9, 0.999, 1 - 1e-9), 300),
    ("ellipe", special.ellipe, lambda m: -mp.pi / 8 * mp.hyp2f1(0.5, 1.5, 2, m),
     lambda m: -mp.pi * 3 / 64 * mp.hyp2f1(1.5, 2.5, 3, m),
     (-100.0, -1.5, -1e-9, 0.0, 1e-6, 0.9, 0.999, 1 - 1e-9), 300),
    ("rgamma", special.rgamma, nth(mp.rgamma, 1), nth(mp.rgamma, 2),
     (-20.0, -5.0, -3 + 1e-9, -3.0, -2.5, -1.0, -1e-8, 0.0, 0.49, 0.51, 1.0, 5.0, 100.0), 400),
    ("gamma", special.gamma, nth(mp.gamma, 1), nth(mp.gamma, 2), (-20.5, -3 + 1e-7, -0.5, 1e-5, 0.5, 10.0, 170.0), 400),
    ("gammaln", special.gammaln, lambda x: mp.psi(0, x), lambda x: mp.psi(1, x),
     (-100.5, -5.3, -3 + 1e-7, -0.5, 1e-5, 1.4616321449683622, 10.0, 1e10), 400),
    ("psi", special.psi, lambda x: mp.psi(1, x), lambda x: mp.psi(2, x), (-5.3, -3 + 1e-7, 1e-5, 10.0, 1e10), 400),
    ("psi of a positive number", special.psi, lambda x: mp.psi(1, x), lambda x: mp.psi(2, x),
     (1e-100, 0.3, 1.0, 2.2, 9.99, 10.01, 1e10, 1e100), 10),
    ("polygamma", lambda x: polygamma(2, x), lambda x: mp.psi(3, x), lambda x: mp.psi(4, x),
     (-5.3, 1e-3, 10.0, 1e6), 400),
    # The exponent of the density is good to eps sqrt(a) per standard deviation, and x log(x / a) in the tails.
    ("gammainc 2.5", lambda x: special.gammainc(2.5, x), gamma_density(2.5),
     gamma_density1(2.5), (1e-10, 1.0, 5.0, 90.0), 1000),
    ("gammainc 1", lambda x: special.gammainc(1, x), gamma_density(1), gamma_density1(1), (1e-10, 1.0, 90.0), 500),
    ("gammainc 1e6", lambda x: special.gammainc(1e6, x), gamma_density(mp.mpf(10) ** 6),
     gamma_density1(mp.mpf(10) ** 6),
     (998e3, 999e3, 1001e3, 1003e3), 2000),
    ("betainc", lambda x: special.betainc(0.5, 0.5, x), beta_density(mp.mpf(0.5), mp.mpf(0.5)),
     beta_density1(mp.mpf(0.5), mp.mpf(0.5)), (1e-12, 0.25, 0.9), 300),
    ("betainc large", lambda x: special.betainc(1e5, 2e5, x), beta_density(mp.mpf(10) ** 5, 2 * mp.mpf(10) ** 5),
     beta_density1(mp.mpf(10) ** 5, 2 * mp.mpf(10) ** 5), (0.332, 0.335), 20000),
    ("betainc uneven", lambda x: special.betainc(1e6, 3.0, x), beta_density(mp.mpf(10) ** 6, 3),
     beta_density1(mp.mpf(10) ** 6, 3), (1 - 5e-6, 1 - 1e-6), 20000),
    ("boxcox in lambda",
     lambda y: special.boxcox(3.0, y), lambda y: mp.log(3) ** 2 * mp.hyp1f1(2, 3, y * mp.log(3)) / 2,
     lambda y: mp.log(3) ** 3 * mp.hyp1f1(3, 4, y * mp.log(3)) / 3, (-2.0, -1e-9, 0.0, 1e-5, 3.0), 200),
    ("betaln", lambda a: special.betaln(a, 1e-3), lambda a: mp.psi(0, a) - mp.psi(0, a + mp.mpf(1e-3)),
     lambda a: mp.psi(1, a) - mp.psi(1, a + mp.mpf(1e-3)), (1e-3, 0.5), 5000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("f", "first", "second", "x", "loss"),
    [(f, d1, d2, x, loss) for _, f, d1, d2, xs, loss in HARD for x in xs],
    ids=[f"{name} {x!r}" for name, _, _, _, xs, _ in HARD for x in xs],
)
def test_hard_arguments(f: Any, first: Real, second: Real, x: float, loss: float) -> None:
    with mp.workdps(60):
        wanted = [d(mp.mpf(x)) for d in (first, second)]
    for ours, exact in zip(derivatives(f, x), wanted, strict=True):
        assert abs(mp.mpf(ours) - exact) <= loss * EPS * abs(exact) + 1e-300, (ours, float(exact))


# The mean of 1 and sqrt(1 - m), to which both slopes are a few products; next to 1, K - D is a small part of K.
ELLIPTIC = (-1e10, -1e4, -2.0, -1e-9, 0.0, 1e-300, 0.5, 0.999, 1 - 1e-10, 1 - EPS)


@pytest.mark.parametrize("m", ELLIPTIC)
def test_slopes_of_the_elliptic_integrals(m: float) -> None:
    with mp.workdps(60):
        x = mp.mpf(m)
        k, e = mp.pi / 8 * mp.hyp2f1(1.5, 1.5, 2, x), -mp.pi / 8 * mp.hyp2f1(0.5, 1.5, 2, x)
    for f, exact in ((special.ellipk, k), (special.ellipe, e)):
        assert abs(mp.mpf(derivatives(f, m)[0]) - exact) <= 40 * EPS * abs(exact)


def test_slopes_at_the_end_of_the_domain() -> None:
    """One-sided limits, for which the formula says inf - inf."""
    slopes = {
        special.ellipk: (1.0, np.inf),
        special.ellipe: (1.0, -np.inf),
        special.y1: (0.0, np.inf),
        special.k1: (0.0, -np.inf),
        special.k0e: (0.0, -np.inf),
        special.k1e: (0.0, -np.inf),
        special.psi: (0.0, np.inf),
    }
    for f, (x, slope) in slopes.items():
        assert derivatives(f, x)[0] == slope, f


@pytest.mark.parametrize("b", [1e-8, 0.5, 3.0, 1e6])
@pytest.mark.parametrize("a", [1e-3, 0.5, 7.0, 1e4, 1e12])
def test_betaln_keeps_its_digits_beside_a_small_argument(a: float, b: float) -> None:
    """psi(a) - psi(a + b) is of the size of b / a."""
    with mp.workdps(60):
        exact = float(mp.psi(0, mp.mpf(a)) - mp.psi(0, mp.mpf(a) + mp.mpf(b)))
    assert_allclose(derivatives(lambda t: special.betaln(t, b), a)[0], exact, rtol=100 * EPS)


@pytest.mark.parametrize("x", [-1e8, -1e20])
def test_log_ndtr_at_the_end(x: float) -> None:
    """-x, and -1: where x + phi / Phi, which is 1 / |x|, would be nothing but rounding."""
    assert_allclose(derivatives(special.log_ndtr, x), (-x, -1.0), rtol=1e-15)


@pytest.mark.parametrize(
    ("f", "x", "first", "second"),
    [
        (special.log_ndtr, 60.0, 0.0, 0.0),
        (special.i0e, 0.0, 0.0, 1.5),  # e**-|x| has a kink, its mean slope counts; the curvature of either side
        (special.exprel, 0.0, 1 / 2, 1 / 3),
        (special.spence, 1.0, -1.0, 1 / 2),
        (lambda r: special.huber(1.0, r), 1.0, 1.0, None),
        (lambda r: special.huber(1.0, r), 0.0, 0.0, 1.0),
        (lambda r: special.huber(1.0, r), 5.0, 1.0, 0.0),
        (lambda r: special.pseudo_huber(2.0, r), 0.0, 0.0, 1.0),
        (lambda r: special.pseudo_huber(1.0, r), 1e200, 1.0, 0.0),
        (lambda d: special.pseudo_huber(d, 1e-9), 1.0, 2.5e-37, -7.5e-37),
        (lambda a: special.gammainc(1, a), 0.0, 1.0, -1.0),
        (lambda a: special.gammainc(2, a), 0.0, 0.0, 1.0),
        (lambda a: special.betainc(2, 3, a), 0.0, 0.0, 12.0),
        (lambda a: special.betainc(3, 2, a), 1.0, 0.0, -12.0),
        (lambda x: special.kl_div(x, 1.0), 1.0, 0.0, 1.0),
        (lambda y: special.kl_div(0.0, y), 2.0, 1.0, 0.0),
        (lambda y: special.rel_entr(0.0, y), 2.0, 0.0, 0.0),
        (special.entr, 0.0, math.inf, None),
        (lambda x: special.rel_entr(x, 2.0), 0.0, -math.inf, None),
        (lambda x: special.boxcox(x, 2.0), 0.0, 0.0, 1.0),
        (lambda y: special.inv_boxcox(1.0, y), 0.0, -math.e / 2, math.e * 11 / 12),
        (lambda y: special.boxcox1p(0.0, y), 0.0, 0.0, 0.0),
    ],
)
def test_points(f: Any, x: float, first: float, second: float | None) -> None:
    ours = derivatives(f, x)
    assert_allclose(ours[0], first, rtol=1e-14)
    if second is not None:
        assert_allclose(ours[1], second, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("x", [1.0, 1 + 1e-9, 1 - 3e-12])
def test_kl_div_near_its_minimum(x: float) -> None:
    """log(x / y) from the difference, not from the rounded quotient."""
    y = 1 + 2e-10
    with mp.workdps(50):
        exact = float(mp.log(mp.mpf(x) / mp.mpf(y)))
    assert_allclose(derivatives(lambda t: special.kl_div(t, y), x)[0], exact, rtol=4 * EPS)


def test_log_ratio_does_not_overflow() -> None:
    assert_allclose(derivatives(lambda t: special.kl_div(t, 1e-200), 1e200)[0], 400 * math.log(10), rtol=1e-15)


def test_terms_that_count_for_nothing_are_silent() -> None:
    """A Kullback-Leibler divergence of distributions with a common zero."""
    p, q = leaf([0.0, 0.25, 0.75]), leaf([0.0, 0.5, 0.5])
    gp, gq = grad(np.sum(special.rel_entr(p, q)), [p, q])
    assert_allclose(gp.numpy(), [0, 1 + math.log(0.5), 1 + math.log(1.5)], rtol=1e-15)
    assert_allclose(gq.numpy(), [0, -0.5, -1.5], rtol=1e-15)


# --- arguments without a derivative -----------------------------------------------------------------------------------

REFUSING: list[tuple[Callable[..., Any], str, tuple[float, ...]]] = [
    *((f, "a", (2.5, 0.7)) for f in (special.gammainc, special.gammaincc, special.gammaincinv, special.gammainccinv)),
    *((f, "a", (2.5, 1.5, 0.7)) for f in (special.betainc, special.betaincc, special.betaincinv)),
    *((f, "v", (1.5, 0.7)) for f in (special.jv, special.yv, special.iv, special.kv, special.ive, special.kve)),
    (special.stdtr, "df", (3.0, 0.7)),
    (polygamma, "n", (1.0, 0.7)),
]


@pytest.mark.parametrize(("f", "name", "args"), REFUSING, ids=[f"{f.__name__}" for f, _, _ in REFUSING])
def test_no_gradient_is_lost_in_silence(f: Any, name: str, args: tuple[float, ...]) -> None:
    """The call raises, and says what to do; what it says works, and so do modes that record nothing."""
    first, *rest = args
    with pytest.raises(NoRuleError, match=rf"{f.__name__} .* argument {name}; pass {name}\.detach\(\)"):
        f(leaf(first), *rest)
    with pytest.raises(NoRuleError):
        f(leaf(first), *rest[:-1], leaf(rest[-1]))
    plain = f(*args)
    plain = plain.item() if isinstance(plain, Tensor) else plain
    x = leaf(rest[-1])
    out = f(leaf(first).detach(), *rest[:-1], x)
    assert out.item() == plain
    assert np.isfinite(grad(out, x)[0].item())
    with no_grad():
        assert f(leaf(first), *rest).item() == plain


def test_second_argument_of_betainc_refuses() -> None:
    with pytest.raises(NoRuleError, match="argument b"):
        special.betainc(2.0, leaf(1.5), 0.5)


def test_every_argument_without_a_term_has_a_face_that_refuses() -> None:
    """Of SciPy's ufuncs: a None in the table and no refusal would be a silent loss."""
    for fun, rule in RULES.items():
        if isinstance(fun, np.ufunc) and rule.name.startswith("scipy.special") and rule.kind == "elementwise":
            for k, term in enumerate(rule.terms):
                if term is None:
                    args: list[Any] = [0.5] * len(rule.terms)
                    args[k] = leaf(0.5)
                    with pytest.raises(NoRuleError):
                        fun(*args)


# --- ours -------------------------------------------------------------------------------------------------------------


def test_polygamma_and_multigammaln_are_scipys() -> None:
    x = np.array([0.3, 1.5, 7.0])
    for n in (0, 1, 4, np.array([0, 1, 2])):
        assert_array_equal(polygamma(n, x).numpy(), special.polygamma(n, x))
    assert_array_equal(multigammaln(x + 1, 3).numpy(), special.multigammaln(x + 1, 3))
    assert multigammaln(x[0], 1).shape == ()


@pytest.mark.parametrize("d", [0, -1, 1.5, leaf(2.0), [1, 2]])
def test_multigammaln_wants_a_dimension(d: Any) -> None:
    with pytest.raises(ValueError, match="dimension"):
        multigammaln(5.0, d)


def test_multigammaln_wants_an_argument_that_is_large_enough() -> None:
    with pytest.raises(ValueError, match=r"above \(d - 1\) / 2 = 1\.0; its least is 0\.5"):
        multigammaln(leaf([0.5, 3.0]), 3)
