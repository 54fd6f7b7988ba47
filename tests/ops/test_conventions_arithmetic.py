"""Kinks, ties, zeros and NaN in arithmetic, choices and reductions: exact values, first and second derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, func, grad
from tinygrad_fnn.ops.methods import METHODS
from tinygrad_fnn.ops.ordering import _stable_order
from tinygrad_fnn.ops.quantiles import _METHODS, _index_of_ranks

INF, NAN = math.inf, math.nan
HALF = [0.5, 0.5]
LN2 = math.log(2)


def derivatives(f: Callable[[Tensor], Tensor], point: Any) -> tuple[Any, Any, Any]:
    """Value, gradient, and the rows' sums of the Hessian, of the sum of what a function gives."""
    x = Tensor(point, requires_grad=True)
    with np.errstate(all="ignore"):
        out = np.sum(f(x))
        (plain,) = grad(out, x, retain_graph=True)
        (first,) = grad(out, x, create_graph=True)
    assert_array_equal(plain.numpy(), first.detach().numpy())  # the recorded walk chooses as the plain one does
    second = np.zeros(x.shape)
    if first.requires_grad:
        (rows,) = grad(first, x, np.ones(x.shape), allow_unused=True)
        second = second if rows is None else rows.numpy()
    return out.item(), first.detach().numpy(), second


def of_two(f: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    return lambda x: f(x[0], x[1])


def at(ufunc: np.ufunc, method: str) -> Callable[..., Any]:
    return METHODS[ufunc, method]


WEIGHTS = np.array([1.0, 10.0, 100.0, 1000.0])

# name, function, point, value, first derivative, second derivative summed over rows (None: finite is all that is said)
POINTS: list[tuple[str, Callable[..., Any], Any, Any, Any, Any]] = [
    ("floor at a jump", np.floor, 2.0, 2, 0, 0),
    ("ceil at a jump", np.ceil, 2.0, 2, 0, 0),
    ("rint at a jump", np.rint, 2.5, 2, 0, 0),
    ("trunc at a jump", np.trunc, -2.0, -2, 0, 0),
    ("fix at a jump", np.fix, -2.0, -2, 0, 0),
    ("round", np.round, 2.5, 2, 0, 0),
    ("round to decimals", lambda x: np.round(x, 1), 2.34, 2.3, 0, 0),
    ("method round", lambda x: x.round(1), 2.34, 2.3, 0, 0),
    ("around", np.around, 2.5, 2, 0, 0),
    ("x // y", of_two(np.floor_divide), [7.5, 2.0], 3, [0, 0], [0, 0]),
    ("x % y", of_two(np.mod), [5.5, 2.0], 1.5, [1, -2], [0, 0]),
    ("x % y of signs", of_two(np.remainder), [-5.5, 2.0], 0.5, [1, 3], [0, 0]),
    ("x % y at a multiple", of_two(np.remainder), [4.0, 2.0], 0, [1, -2], [0, 0]),
    ("fmod", of_two(np.fmod), [-5.5, 2.0], -1.5, [1, 2], [0, 0]),
    ("fmod of a rounded quotient", of_two(np.fmod), [1.0, 0.1], np.fmod(1.0, 0.1), [1, -9], [0, 0]),
    ("% of a rounded quotient", of_two(np.remainder), [1.0, 0.1], np.remainder(1.0, 0.1), [1, -9], [0, 0]),
    ("divmod", lambda x: sum(np.divmod(x, 2.0)), 5.5, 3.5, 1, 0),
    ("modf", lambda x: np.modf(x)[0], -2.5, -0.5, 1, 0),
    ("modf, the whole part", lambda x: np.modf(x)[1], -2.5, -2, 0, 0),
    ("modf of an infinity", lambda x: np.modf(x)[0], INF, 0, 1, 0),
    ("frexp", lambda x: np.frexp(x)[0], 6.0, 0.75, 0.125, 0),
    ("ldexp", lambda x: np.ldexp(x, 3), 1.5, 12, 8, 0),
    ("nextafter", of_two(np.nextafter), [1.0, 2.0], np.nextafter(1.0, 2.0), [1, 0], [0, 0]),
    ("copysign", of_two(np.copysign), [2.0, -3.0], -2, [-1, 0], [0, 0]),
    ("copysign of negatives", of_two(np.copysign), [-2.0, -3.0], -2, [1, 0], [0, 0]),
    ("copysign to -0.0", of_two(np.copysign), [2.0, -0.0], -2, [-1, 0], [0, 0]),
    ("copysign at 0", of_two(np.copysign), [0.0, 1.0], 0, [0, 0], [0, 0]),
    ("heaviside at 0", lambda x: np.heaviside(x, 0.5), 0.0, 0.5, 0, 0),
    ("fabs at 0", np.fabs, 0.0, 0, 0, 0),
    ("fmax of a tie", of_two(np.fmax), [1.0, 1.0], 1, HALF, [0, 0]),
    ("fmin of a tie", of_two(np.fmin), [1.0, 1.0], 1, HALF, [0, 0]),
    ("fmax of itself", lambda x: np.fmax(x, x), 1.0, 1, 1, 0),
    ("fmax with NaN", of_two(np.fmax), [1.0, NAN], 1, [1, 0], [0, 0]),
    ("fmin with NaN", of_two(np.fmin), [NAN, 1.0], 1, [0, 1], [0, 0]),
    ("float_power at 0", lambda x: np.float_power(x, 2.0), 0.0, 0, 0, 2),
    ("float_power 0 ** 0", of_two(np.float_power), [0.0, 0.0], 1, [0, 0], [0, 0]),
    ("hypot(0, 0)", of_two(np.hypot), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("hypot", of_two(np.hypot), [3.0, 4.0], 5, [0.6, 0.8], [0.128 - 0.096, 0.072 - 0.096]),
    ("hypot of large", of_two(np.hypot), [3e200, 4e200], 5e200, [0.6, 0.8], None),
    ("arctan2(0, 0)", of_two(np.arctan2), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("arctan2 of large", of_two(np.arctan2), [1e200, 1e200], math.pi / 4, [5e-201, -5e-201], None),
    ("arctan2(0, -1)", of_two(np.arctan2), [0.0, -1.0], math.pi, [-1, 0], [-1, -1]),
    ("logaddexp of a pair", of_two(np.logaddexp), [1.0, 1.0], 1 + LN2, HALF, [0, 0]),
    ("logaddexp of -inf", of_two(np.logaddexp), [-INF, -INF], -INF, HALF, [0, 0]),
    ("logaddexp of one -inf", of_two(np.logaddexp), [-INF, 0.0], 0, [0, 1], [0, 0]),
    ("logaddexp with a constant", lambda x: np.logaddexp(x, 1.0), 1.0, 1 + LN2, 0.5, 0.25),
    ("logaddexp far apart", of_two(np.logaddexp), [0.0, -40.0], math.exp(-40), [1, math.exp(-40)], None),
    ("logaddexp2 of a pair", of_two(np.logaddexp2), [1.0, 1.0], 2, HALF, [0, 0]),
    ("logaddexp2 of -inf", of_two(np.logaddexp2), [-INF, -INF], -INF, HALF, [0, 0]),
    ("sinc at 0", np.sinc, 0.0, 1, 0, -(math.pi**2) / 3),
    ("sinc near 0", np.sinc, 1e-200, 1, -1e-200 * math.pi**2 / 3, -(math.pi**2) / 3),
    ("cbrt at 0", np.cbrt, 0.0, 0, INF, None),
    ("i0 at 0", np.i0, 0.0, 1, 0, 0.5),
    ("nan_to_num of NaN", np.nan_to_num, [1.0, NAN], 1, [1, 0], [0, 0]),
    ("nan_to_num of log", lambda x: np.nan_to_num(np.log(x), nan=5.0), [1.0, -1.0], 5, [1, 0], [-1, 0]),
    ("angle of a real", np.angle, -1.0, math.pi, 0, None),
    ("imag of a real", np.imag, -1.0, 0, 0, 0),
    ("conj of a real", np.conj, -1.0, -1, 1, 0),
    # choices
    ("select", lambda x: np.select([x > 0], [np.log(x)], 2 * x), [0.0, 2.0], LN2, [2, 0.5], [0, -0.25]),
    ("select takes the first", lambda x: np.select([x > 0, x > 1], [x, x**2]), [2.0, -1.0], 2, [1, 0], [0, 0]),
    ("piecewise", lambda x: np.piecewise(x, [x > 0], [np.log, 7.0]), [0.0, 2.0], 7 + LN2, [0, 0.5], [0, -0.25]),
    ("choose", lambda x: np.choose([1, 0], [np.log(x), x]), [0.0, 1.0], 0, [1, 1], [0, -1]),
    ("interp outside", lambda x: np.interp(x, [0.0, 1], [0.0, 3], left=-1), [-1.0, 2.0], 2, [0, 0], [0, 0]),
    ("interp at a corner", lambda x: np.interp(x, [0.0, 1, 2], [0.0, 1, 5]), [0.0, 1.0, 2.0], 6, [1, 4, 4], [0, 0, 0]),
    ("interp in fp", lambda f: np.interp([0.25, 9.0], [0.0, 1], f), [1.0, 2.0], 3.25, [0.75, 1.25], [0, 0]),
    ("interp in left", lambda x: np.interp(Tensor([-5.0]), [0.0, 1], [0.0, 1], left=x), 3.0, 3, 1, 0),
    # products
    ("prod", np.prod, [2.0, 3.0, 4.0], 24, [12, 8, 6], [7, 6, 5]),
    ("prod with a zero", np.prod, [0.0, 2.0, 3.0], 0, [6, 0, 0], [5, 3, 2]),
    ("prod with two zeros", np.prod, [0.0, 0.0, 3.0], 0, [0, 0, 0], [3, 3, 0]),
    ("prod of zeros", np.prod, [0.0, 0.0, 0.0], 0, [0, 0, 0], [0, 0, 0]),
    ("prod of nothing", lambda x: np.prod(x, axis=0), np.zeros((0, 2)), 2, np.zeros((0, 2)), np.zeros((0, 2))),
    ("cumprod with a zero", np.cumprod, [2.0, 0.0, 3.0], 2, [1, 8, 0], [4, 6, 2]),
    ("cumprod with two zeros", np.cumprod, [0.0, 0.0, 3.0], 0, [1, 0, 0], [4, 4, 0]),
    ("nanprod", np.nanprod, [2.0, NAN, 3.0], 6, [3, 0, 2], [1, 0, 1]),
    ("nancumprod", np.nancumprod, [2.0, NAN, 3.0], 10, [5, 0, 2], [1, 0, 1]),
    # order
    ("ptp of ties", np.ptp, [1.0, 1.0, 2.0, 2.0], 1, [-0.5, -0.5, 0.5, 0.5], [0] * 4),
    ("ptp of a constant", np.ptp, [1.0, 1.0], 0, [0, 0], [0, 0]),
    ("sort of ties", lambda x: np.sort(x) * WEIGHTS, [2.0, 1.0, 2.0, 1.0], 2211, [100, 1, 1000, 10], [0] * 4),
    ("sort of NaN", lambda x: np.sort(x)[:2], [NAN, 2.0, 1.0], 3, [0, 1, 1], [0] * 3),
    ("median of an odd number", np.median, [3.0, 1.0, 2.0], 2, [0, 0, 1], [0] * 3),
    ("median of an even number", np.median, [3.0, 1.0, 2.0, 9.0], 2.5, [0.5, 0, 0.5, 0], [0] * 4),
    ("median of ties", np.median, [1.0, 1.0, 1.0, 2.0], 1, [0, 0.5, 0.5, 0], [0] * 4),
    ("median with NaN", np.median, [1.0, NAN, 2.0], NAN, [0, 1, 0], [0] * 3),
    ("median of infinities", np.median, [-INF, 1.0, INF, INF], INF, [0, 0.5, 0.5, 0], [0] * 4),
    ("quantile of ties", lambda x: np.quantile(x, 0.25), [1.0, 1.0, 5.0], 1, [0.5, 0.5, 0], [0] * 3),
    ("quantile in q", lambda q: np.quantile([1.0, 2.0, 5.0], q), 0.75, 3.5, 6, 0),
    ("percentile", lambda x: np.percentile(x, [0, 50, 100]), [1.0, 4.0, 2.0], 7, [1, 1, 1], [0] * 3),
    # entries that are NaN
    ("nansum", np.nansum, [1.0, NAN, 2.0], 3, [1, 0, 1], [0] * 3),
    ("nansum of logarithms", lambda x: np.nansum(np.log(x)), [1.0, -1.0, 2.0], LN2, [1, 0, 0.5], [-1, 0, -0.25]),
    ("nanmean", np.nanmean, [1.0, NAN, 2.0], 1.5, [0.5, 0, 0.5], [0] * 3),
    ("nanvar", np.nanvar, [1.0, NAN, 2.0], 0.25, [-0.5, 0, 0.5], [0] * 3),
    ("nanstd", np.nanstd, [1.0, NAN, 2.0], 0.5, [-0.5, 0, 0.5], [0] * 3),
    ("nanstd of a constant", np.nanstd, [1.0, NAN, 1.0], 0, [0, 0, 0], [0, 0, 0]),
    ("nanmax of ties", np.nanmax, [1.0, NAN, 2.0, 2.0], 2, [0, 0, 0.5, 0.5], [0] * 4),
    ("nanmin", np.nanmin, [1.0, NAN, 2.0], 1, [1, 0, 0], [0] * 3),
    ("nanmedian", np.nanmedian, [5.0, NAN, 1.0, 2.0, 9.0], 3.5, [0.5, 0, 0, 0.5, 0], [0] * 5),
    ("nanmedian of infinities", np.nanmedian, [-INF, 1.0, INF, INF, NAN], INF, [0, 0.5, 0.5, 0, 0], [0] * 5),
    ("nanquantile", lambda x: np.nanquantile(x, 0.25), [1.0, NAN, 5.0], 2, [0.75, 0, 0.25], [0] * 3),
    ("nanpercentile", lambda x: np.nanpercentile(x, 25), [1.0, NAN, 5.0], 2, [0.75, 0, 0.25], [0] * 3),
    ("nancumsum", np.nancumsum, [1.0, NAN, 2.0], 5, [3, 0, 1], [0] * 3),
    ("std over where", lambda x: np.std(x, where=[True, False, True]), [1.0, NAN, 1.0], 0, [0, 0, 0], None),
    ("max with a tying initial", lambda x: np.max(x, initial=2.0), [1.0, 2.0], 2, [0, 0.5], [0, 0]),
    # methods of ufuncs
    ("multiply.reduce", at(np.multiply, "reduce"), [0.0, 2.0, 3.0], 0, [6, 0, 0], [5, 3, 2]),
    ("maximum.reduce of ties", at(np.maximum, "reduce"), [1.0, 3.0, 3.0], 3, [0, 0.5, 0.5], [0] * 3),
    ("logaddexp.reduce of -inf", at(np.logaddexp, "reduce"), [-INF, -INF], -INF, HALF, [0, 0]),
    ("logaddexp.accumulate", lambda x: at(np.logaddexp, "accumulate")(x)[-1], [0.0] * 2, LN2, HALF, [0, 0]),
    ("maximum.accumulate", at(np.maximum, "accumulate"), [1.0, 0.0, 3.0, 3.0], 8, [2, 0, 2, 0], [0] * 4),
    ("multiply.outer", lambda x: at(np.multiply, "outer")(x, x), [1.0, 2.0], 9, [6, 6], [4, 4]),
]


@pytest.mark.parametrize(
    ("f", "point", "value", "first", "second"), [p[1:] for p in POINTS], ids=[p[0] for p in POINTS]
)
def test_convention(f: Callable[..., Any], point: Any, value: Any, first: Any, second: Any) -> None:
    found = derivatives(f, point)
    # A few roundings where a logarithm, pi or a decimal fraction is in the expectation; zeros are zeros.
    assert_allclose(found[0], value, rtol=1e-14, atol=0)
    assert_allclose(found[1], first, rtol=1e-14, atol=0)
    if second is not None:
        assert_allclose(found[2], second, rtol=1e-12, atol=1e-14)
    elif np.isfinite(first).all():
        assert np.isfinite(found[2]).all()


@pytest.mark.parametrize("fun", [np.nanmax, np.nanmin, np.nanmean, np.nanvar, np.nanstd, np.nanmedian])
def test_nothing_but_nan_has_derivative_zero(fun: Callable[..., Any]) -> None:
    value, first, _ = derivatives(fun, [NAN, NAN])
    assert math.isnan(value)
    assert not first.any()


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("x", [0.0, 1e-300, 1e-9, 0.01, 0.3, 0.63, 0.64, 0.95, 0.96, 1.27, 1.28, 1.59, 2.0, 7.3])
def test_sinc_keeps_its_digits_to_every_order(x: float, n: int) -> None:
    """Against the power series; `np.sinc` itself multiplies by a pi of 53 digits, and so does this."""
    t = Tensor(x, requires_grad=True)
    found = np.sinc(t)
    for _ in range(n):
        (found,) = grad(found, t, create_graph=True)
    with mpmath.workdps(60):
        pi = mpmath.mpf(math.pi)
        terms = [
            (-1) ** k * pi ** (2 * k) * mpmath.mpf(x) ** (2 * k - n) / ((2 * k + 1) * mpmath.factorial(2 * k - n))
            for k in range((n + 1) // 2, 80)
        ]
        exact = float(mpmath.fsum(terms))
    # The derivatives are at most pi**n / (n + 1), and go through 0; the argument pi x is rounded once.
    assert_allclose(found.item(), exact, rtol=1e-15, atol=3e-16 * math.pi**n * min(1, x * 4))


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=7))
def test_derivatives_of_products_of_small_integers_are_exact(factors: list[int]) -> None:
    """Products of the others, whatever is 0; in integers below 2**53 nothing rounds."""
    x = np.array(factors, float)
    n = len(x)
    others = [np.prod(np.delete(x, k)) for k in range(n)]
    pairs = [sum(np.prod(np.delete(x, [j, k])) for j in range(n) if j != k) for k in range(n)]
    _, first, second = derivatives(np.prod, x)
    assert_array_equal(first, others)
    assert_array_equal(second, pairs)
    _, first, _ = derivatives(np.cumprod, x)
    assert_array_equal(first, [sum(np.prod(np.delete(x[: m + 1], k)) for m in range(k, n)) for k in range(n)])


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, NAN, INF]), min_size=1, max_size=9), st.integers(1, 700))
def test_long_lines_are_ranked_as_by_a_stable_sort(values: list[float], times: int) -> None:
    """Above 4096 entries a partition takes the place of the sort, and above 2048 a quick sort is tried first."""
    x = np.array(values * times)
    stable = np.argsort(x, kind="stable")
    ranks = np.array([0, len(x) // 3, len(x) - 1])
    assert_array_equal(_index_of_ranks(x, ranks), stable[ranks])
    assert_array_equal(_index_of_ranks(np.stack([x, x[::-1]]), ranks)[0], stable[ranks])
    assert_array_equal(_stable_order(x, 0), stable)


CALLED = [key for key in METHODS if key[1] != "at"]


@pytest.mark.parametrize("key", CALLED, ids=lambda key: f"{key[0].__name__}.{key[1]}")
def test_method_of_a_ufunc_has_numpys_values(key: tuple[np.ufunc, str]) -> None:
    ufunc, method = key
    x = np.array([[1.0, 2.0, 0.5], [3.0, 3.0, 1.0]])
    for given_ in [{}] if method == "outer" else [{}, {"axis": 1}, {"axis": -1}]:
        args = (np.array([1.0, 2.0]),) if method == "outer" else ()
        ours = METHODS[key](Tensor(x, requires_grad=True), *args, **given_)
        theirs = getattr(ufunc, method)(x, *args, **given_)
        # Another order of summation in logaddexp: a few roundings.
        assert_allclose(ours.detach().numpy(), theirs, rtol=1e-14)
        assert ours.dtype == theirs.dtype


def test_at_adds_for_every_time_an_entry_is_named() -> None:
    x, v = Tensor([1.0, 2.0], requires_grad=True), Tensor([10.0, 20.0], requires_grad=True)
    y = x * 1
    METHODS[np.add, "at"](y, [0, 0], v)
    METHODS[np.subtract, "at"](y, [1], v[:1])
    assert_array_equal(y.detach().numpy(), [31, -8])
    for found, wanted in zip(grad(np.sum(y * y), [x, v]), ([62, -16], [62 + 16, 62]), strict=True):
        assert_array_equal(found.numpy(), wanted)


def test_selected_default_alone_is_not_lost() -> None:
    """NumPy does not look for Tensors there, and a tracked one raises rather than losing its gradient."""
    with pytest.raises(TypeError, match="detach"):
        np.select([np.array([True, False])], [np.ones(2)], Tensor(2.0, requires_grad=True))


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_quantile_of_any_method_is_numpys(method: str, dtype: Any) -> None:
    """To the bit, at the places where a method jumps, too; an infinite entry counts where it is chosen only."""
    q = np.linspace(0, 1, 61).astype(dtype)
    for values in ([3.0, 1.0, 2.0, 2.0, -1.0], [2.0, 1.0, 1.0, 5.0], [0.5], [3.0, NAN, 2.0, 2.0, -1.0]):
        x = Tensor(np.array(values, dtype), requires_grad=True)
        for ours in (np.quantile, np.nanquantile):
            found = ours(x, q, method=method)
            assert found.dtype == dtype
            assert_array_equal(found.detach().numpy(), ours(np.array(values, dtype), q, method=method))
        # NumPy finds the rank of a Python number in double precision; here it has that of the array.
        found = np.percentile(x, 40, method=method).detach().numpy()
        wanted = np.percentile(np.array(values, dtype), 40, method=method)
        assert_allclose(found, wanted, rtol=0, atol=8 * np.finfo(dtype).eps)
    if not np.any([np.diff(np.quantile([1.0, 2.0, 3.0], q, method=method)) % 1]):  # of entries only
        assert np.quantile(Tensor([1.0, 2.0, INF], requires_grad=True), 0.5, method=method).item() == 2


@pytest.mark.parametrize("method", _METHODS)
def test_share_of_an_entry_in_a_quantile(method: str) -> None:
    """The derivative in the entries are the weights of the order statistics, which a unit vector shows."""
    x = np.array([0.4, -1.0, 2.0, 0.9, 3.0, 1.2])
    for q in (0.0, 0.03, 0.25, 0.5, 0.61, 0.97, 1.0):
        found = func.grad(lambda x, q=q: np.quantile(x, q, method=method))(x)
        base = np.sort(x)
        wanted = [np.quantile(base + 1e-3 * e, q, method=method) for e in np.eye(6)]
        rank = np.argsort(np.argsort(x))
        # A difference of numbers near 3, divided by 1e-3: a few times 1e-13.
        assert_allclose(found, ((wanted - np.quantile(base, q, method=method)) / 1e-3)[rank], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda t: np.quantile(t, 0.5, method="median"), "is none of inverted_cdf"),
        (lambda t: np.quantile(t, 0.5, method="inverted_cdf", weights=[1.0, 2.0, 1.0]), "weights="),
        (lambda t: np.quantile(t, 1.5), "range"),
        (lambda t: np.sum(t, out=np.zeros(())), "out="),
        (lambda t: np.max(t, where=[True, False, True]), "initial"),
        (lambda t: np.nan_to_num(t, copy=False), "copy"),
        (lambda t: np.choose([3, 0, 0], [t, t]), "choose"),
        (lambda t: np.select([np.array([1, 0, 1])], [t]), "bool"),
        (lambda t: np.average(t, weights=[1.0, -1.0, 0.0]), "sum to 0"),
        (lambda t: np.cov(t, fweights=[1, -1, 1]), "fweights"),
        (lambda t: np.cov([3.0, 1.0, 2.0], fweights=t), "fweights count observations .* detach"),
        (lambda t: np.cov(t, aweights=-t), "aweights of shape .* from 0 on"),
        (lambda t: np.diff(t, -1), "n is -1"),
        (lambda t: np.gradient(t, [1.0, 2.0]), "coordinates"),
        (lambda t: np.cumulative_sum(np.stack([t, t])), "axis"),
        (lambda t: np.interp(t, [0.0, 1.0], [1.0]), "same length"),
    ],
)
def test_what_is_not_supported_raises_and_says_so(call: Callable[[Tensor], Any], word: str) -> None:
    with pytest.raises((TypeError, ValueError, ZeroDivisionError), match=word):
        call(Tensor([1.0, 2.0, 4.0], requires_grad=True))
