"""The conventions at kinks, ties and degenerate points, each with its exact value and derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tinygrad_fnn import (
    Tensor,
    func,
    grad,
    log_sigmoid,
    log_softmax,
    logsumexp,
    relu,
    sigmoid,
    softmax,
    softplus,
    strict_edges,
)
from tinygrad_fnn.nn.functional import cross_entropy

INF, NAN = math.inf, math.nan
HALF = [0.5, 0.5]


def derivatives(f: Callable[[Tensor], Tensor], point: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and the rows' sums of the Hessian of a function that gives a number."""
    x = Tensor(point, requires_grad=True)
    with np.errstate(all="ignore"):
        out = f(x)
        (plain,) = grad(out, x, retain_graph=True)
        (first,) = grad(out, x, create_graph=True)
    assert_array_equal(plain.numpy(), first.detach().numpy())  # the recorded walk chooses as the plain one does
    second = np.zeros(x.shape)
    if first.requires_grad:
        (rows,) = grad(first, x, np.ones(x.shape), allow_unused=True)
        second = second if rows is None else rows.numpy()
    return out.item(), first.detach().numpy(), second


# name, function, point, value, first derivative, second derivative summed over rows (None: finite is all that is said)
POINTS: list[tuple[str, Callable[..., Any], Any, Any, Any, Any]] = [
    ("relu", relu, 0.0, 0, 0, 0),
    ("maximum(x, 0) ties", lambda x: np.maximum(x, 0), 0.0, 0, 0.5, 0),
    ("abs", abs, 0.0, 0, 0, 0),
    ("sign", np.sign, 0.0, 0, 0, 0),
    ("maximum of a tie", lambda x: np.maximum(x[0], x[1]), [1.0, 1.0], 1, HALF, [0, 0]),
    ("minimum of a tie", lambda x: np.minimum(x[0], x[1]), [1.0, 1.0], 1, HALF, [0, 0]),
    ("maximum with a constant", lambda x: np.maximum(x, 1.0), 1.0, 1, 0.5, 0),
    ("minimum with a constant", lambda x: np.minimum(1.0, x), 1.0, 1, 0.5, 0),
    ("maximum(x, x)", lambda x: np.maximum(x, x), 1.0, 1, 1, 0),
    ("minimum(x, x)", lambda x: np.minimum(x, x), 1.0, 1, 1, 0),
    ("max of ties", np.max, [1.0, 3.0, 3.0], 3, [0, 0.5, 0.5], [0, 0, 0]),
    ("amax of ties", np.amax, [3.0, 3.0, 3.0, 3.0], 3, [0.25] * 4, [0] * 4),
    ("min of ties", np.min, [1.0, 1.0, 3.0], 1, [0.5, 0.5, 0], [0, 0, 0]),
    ("amin of ties", np.amin, [1.0, 1.0], 1, HALF, [0, 0]),
    ("max of ties squared", lambda x: np.max(x) ** 2, [3.0, 3.0], 9, [3, 3], [1, 1]),
    ("clip at the lower bound", lambda x: np.clip(x, -1, 1), -1.0, -1, 1, 0),
    ("clip at the upper bound", lambda x: np.clip(x, -1, 1), 1.0, 1, 1, 0),
    ("clip without a lower bound", lambda x: np.clip(x, None, 1), 2.0, 1, 0, 0),
    ("norm of 0", np.linalg.norm, [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm 2 of 0", lambda x: np.linalg.norm(x, 2), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm 1 of 0", lambda x: np.linalg.norm(x, 1), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm 1.5 of 0", lambda x: np.linalg.norm(x, 1.5), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm 3 of 0", lambda x: np.linalg.norm(x, 3), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm inf of 0", lambda x: np.linalg.norm(x, INF), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("norm fro of 0", lambda x: np.linalg.norm(x, "fro"), [[0.0, 0.0]], 0, [[0, 0]], [[0, 0]]),
    ("norm of a 0 entry", np.linalg.norm, [0.0, 2.0], 2, [0, 1], [0.5, 0]),
    ("sqrt(x * x)", lambda x: np.sqrt(x * x), 0.0, 0, 0, None),
    ("sqrt(x**2)", lambda x: np.sqrt(x**2), 0.0, 0, 0, None),
    ("sqrt of a sum of squares", lambda x: np.sqrt(np.sum(x * x)), [0.0, 0.0], 0, [0, 0], None),
    ("(x * x)**0.5", lambda x: (x * x) ** 0.5, 0.0, 0, 0, None),
    ("distance to itself", lambda x: np.sqrt(np.sum((x - x) ** 2)), [1.0, 2.0], 0, [0, 0], None),
    ("std of a constant", np.std, [2.0, 2.0, 2.0], 0, [0, 0, 0], [0, 0, 0]),
    ("std of a constant that rounds", np.std, [0.1, 0.1, 0.1], np.std([0.1, 0.1, 0.1]), [0, 0, 0], None),
    ("var of a constant", np.var, [0.1, 0.1, 0.1], np.var([0.1, 0.1, 0.1]), [0, 0, 0], None),
    ("where(x > 0, log(x), 0)", lambda x: np.where(x > 0, np.log(x), 0), 0.0, 0, 0, 0),
    ("where(x > 0, log(x), 0) below 0", lambda x: np.where(x > 0, np.log(x), 0), -1.0, 0, 0, 0),
    ("where(x > 0, sqrt(x), 2 x)", lambda x: np.where(x > 0, np.sqrt(x), 2 * x), 0.0, 0, 2, 0),
    ("where(x == 0, 1, sin(x) / x)", lambda x: np.where(x == 0, 1, np.tanh(x) / x), 0.0, 1, 0, 0),
    ("where(x < 1, x, exp(1000 x))", lambda x: np.where(x < 1, x * x, np.exp(1000 * x)), 0.9, 0.81, 1.8, 2),
    ("where of a where", lambda x: np.where(x > 1, 1 / x, np.where(x > 0, np.log(x), 3 * x)), 0.0, 0, 3, 0),
    ("an index leaves the rest out", lambda x: np.log(x)[1], [0.0, 2.0], math.log(2), [0, 0.5], [0, -0.25]),
    ("a mask leaves the rest out", lambda x: np.sum(np.log(x)[x > 0]), [0.0, 2.0], math.log(2), [0, 0.5], [0, -0.25]),
    ("relu leaves the rest out", lambda x: relu(np.sqrt(x) - 1), 0.0, 0, 0, 0),
    ("x**0", lambda x: x**0, 0.0, 1, 0, 0),
    ("x**0.0", lambda x: np.power(x, 0.0), 0.0, 1, 0, 0),
    ("x**1", lambda x: np.power(x, 1), 0.0, 0, 1, 0),
    ("x**2", lambda x: np.power(x, 2), 0.0, 0, 0, 2),
    ("x**3", lambda x: x**3, 0.0, 0, 0, 0),
    ("x**1.5", lambda x: x**1.5, 0.0, 0, 0, INF),
    ("x**0.5", lambda x: x**0.5, 0.0, 0, INF, -INF),
    ("x**0.25", lambda x: x**0.25, 0.0, 0, INF, -INF),
    ("x**3 below 0", lambda x: x**3, -2.0, -8, 12, -12),
    ("x**-1", lambda x: x**-1, 2.0, 0.5, -0.25, 0.25),
    ("0**p at 0", lambda p: 0.0**p, 0.0, 1, 0, 0),
    ("0**p", lambda p: 0.0**p, 2.0, 0, 0, 0),
    ("xlogy(0, 0)", lambda x: special.xlogy(x[0], x[1]), [0.0, 0.0], 0, [0, 0], [0, 0]),
    ("xlogy(0, y)", lambda x: special.xlogy(x[0], x[1]), [0.0, 2.0], 0, [math.log(2), 0], [0.5, 0.5]),
    ("xlog1py(0, -1)", lambda x: special.xlog1py(x[0], x[1]), [0.0, -1.0], 0, [0, 0], [0, 0]),
    ("xlogy(x, x) at 0", lambda x: special.xlogy(x, x), 0.0, 0, 0, 0),
    ("logsumexp of -inf", logsumexp, [-INF, -INF], -INF, HALF, [0, 0]),
    ("logsumexp of one -inf", logsumexp, [-INF, 3.0], 3, [0, 1], [0, 0]),
    ("logsumexp of an equal pair", logsumexp, [3.0, 3.0], 3 + math.log(2), HALF, [0, 0]),
    ("logsumexp of large", logsumexp, [1000.0, 0.0], 1000, [1, 0], [0, 0]),
    ("softplus", softplus, 1000.0, 1000, 1, 0),
    ("log_sigmoid", log_sigmoid, -1000.0, -1000, 1, 0),
    ("log(sigmoid) below", lambda z: np.log(sigmoid(z)), -1000.0, -1000, 1, 0),
    ("log(sigmoid) above", lambda z: np.log(sigmoid(z)), 40.0, -math.exp(-40), math.exp(-40), -math.exp(-40)),
    ("log(expit)", lambda z: np.log(special.expit(z)), -1000.0, -1000, 1, 0),
    ("log(1 - sigmoid)", lambda z: np.log(1 - sigmoid(z)), 1000.0, -1000, -1, 0),
    ("log1p(-sigmoid)", lambda z: np.log1p(-sigmoid(z)), 1000.0, -1000, -1, 0),
    ("log1p(-sigmoid) far below", lambda z: np.log1p(-sigmoid(z)), -700.0, -math.exp(-700), -math.exp(-700), None),
    ("log(softmax)", lambda z: np.log(softmax(z))[0], [-1000.0, 0.0], -1000, [1, -1], [0, 0]),
    ("log_softmax", lambda z: log_softmax(z)[0], [-1000.0, 0.0], -1000, [1, -1], [0, 0]),
    ("sigmoid", sigmoid, 1000.0, 1, 0, 0),
    ("tanh", np.tanh, 400.0, 1, 0, 0),
    ("repeated indices", lambda x: np.sum(x[[0, 0, 1]] ** 2), [1.0, 2.0, 3.0], 6, [4, 4, 0], [4, 2, 0]),
    ("a scalar of the right kind", lambda x: 0 * x, 3.0, 0, 0, 0),
]


@pytest.mark.parametrize(
    ("f", "point", "value", "first", "second"), [p[1:] for p in POINTS], ids=[p[0] for p in POINTS]
)
def test_convention(f: Callable[..., Any], point: Any, value: Any, first: Any, second: Any) -> None:
    found = derivatives(f, point)
    # A few roundings where a logarithm or an exponential is in the expectation; zeros are zeros.
    assert_allclose(found[0], value, rtol=1e-14, atol=0)
    assert_allclose(found[1], first, rtol=1e-14, atol=0)
    if second is None:
        assert np.isfinite(found[2]).all()
    else:
        assert_allclose(found[2], second, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("z", [-1000.0, -40.0, -1.0, 0.0, 1.0, 36.5, 40.0, 1000.0])
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_cost_of_the_course_is_exact(z: float, y: float) -> None:
    """`-(y log h + (1 - y) log(1 - h))`, as it is written by hand: softplus(z) - y z, sigmoid(z) - y, h (1 - h)."""

    def cost(z: Tensor) -> Tensor:
        h = sigmoid(z)
        return -(y * np.log(h) + (1 - y) * np.log(1 - h))

    value, first, second = derivatives(cost, z)
    e = math.exp(-abs(z))
    softplus_z = max(z, 0.0) + math.log1p(e)
    exact_value = {0.0: softplus_z, 1.0: max(-z, 0.0) + math.log1p(e)}.get(y, softplus_z - y * z)
    exact_first = {0.0: special.expit(z), 1.0: -special.expit(-z)}.get(y, special.expit(z) - y)
    assert_allclose(value, exact_value, rtol=1e-13)
    assert_allclose(first, exact_first, rtol=1e-13)
    # Near an extremum of the second derivative tanh(z / 2) costs a few digits, none of them in size.
    assert_allclose(second, e / (1 + e) ** 2, rtol=1e-12, atol=1e-300)


def test_gradient_of_the_probability_itself_is_right_too() -> None:
    z = Tensor(0.5, requires_grad=True)
    p = sigmoid(z)
    ct_p, ct_z = grad(-np.log(p), [p, z])
    assert_allclose(ct_p.item(), -1 / special.expit(0.5), rtol=1e-15)
    assert_allclose(ct_z.item(), -special.expit(-0.5), rtol=1e-15)


# Where 0 would be a guess: no cut, no root at a minimum.
HONEST: list[tuple[str, Callable[[Tensor], Tensor], float]] = [
    ("sqrt(x) * sqrt(x)", lambda x: np.sqrt(x) * np.sqrt(x), 0.0),
    ("log(exp(x)) where exp underflows", lambda x: np.log(np.exp(x)), -800.0),
    ("x / x", lambda x: x / x, 0.0),
    ("(x**3)**(1/3), which is x", lambda x: (x**3) ** (1 / 3), 0.0),
    ("a weight that happens to be 0", lambda x: np.log(x) * np.array(0.0), 0.0),
]


@pytest.mark.parametrize(("f", "point"), [h[1:] for h in HONEST], ids=[h[0] for h in HONEST])
def test_nan_stays_where_zero_would_be_wrong(f: Callable[[Tensor], Tensor], point: float) -> None:
    x = Tensor(point, requires_grad=True)
    with np.errstate(all="ignore"):
        (slope,) = grad(f(x), x)
    assert np.isnan(slope.item())


@pytest.mark.parametrize(
    "f", [lambda x: np.sqrt(x * x), lambda x: np.where(x > 0, np.log(x), 0), lambda x: relu(np.sqrt(x) - 1)]
)
def test_strict_edges_keeps_ieee(f: Callable[[Tensor], Tensor]) -> None:
    x = Tensor(0.0, requires_grad=True)
    with np.errstate(all="ignore"), strict_edges():
        slope = grad(f(x), x)[0].item()
    assert np.isnan(slope)
    with np.errstate(all="ignore"):
        assert grad(f(x), x)[0].item() == 0


def test_zero_partial_gives_zeros_not_none() -> None:
    x = Tensor([1.5, -2.5], requires_grad=True)
    np.sum(np.sign(x)).backward()
    assert_array_equal(x.grad, [0, 0])


def test_one_bad_row_does_not_spoil_the_others() -> None:
    """A guarded walk changes nothing where nothing was wrong."""
    x = Tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    np.sum(np.sqrt(np.sum(x * x, axis=1))).backward()
    assert_allclose(x.grad, [[0, 0], [0.6, 0.8]], rtol=1e-15)


def test_ties_along_an_axis() -> None:
    x = Tensor([[1.0, 1.0, 0.0], [2.0, 5.0, 5.0]], requires_grad=True)
    np.sum(np.max(x, axis=1) * np.array([1.0, 10.0])).backward()
    assert_array_equal(x.grad, [[0.5, 0.5, 0], [0, 5, 5]])


@pytest.mark.parametrize(
    ("f", "point"),
    [
        (np.linalg.norm, [0.0, 0.0]),
        (lambda x: np.hypot(x[0], x[1]), [0.0, 0.0]),
        (lambda x: np.arctan2(x[0], x[1]), [0.0, 0.0]),
        (np.std, [2.0, 2.0, 2.0]),
        (lambda x: special.xlogy(x[0], x[1]), [0.0, 0.0]),
        (lambda x: special.xlog1py(x[0], x[1]), [0.0, -1.0]),
        (lambda x: special.rel_entr(x[0], x[1]), [0.0, 0.0]),
        (lambda x: special.kl_div(x[0], x[1]), [0.0, 0.0]),
        (lambda x: x[0] ** x[1], [0.0, 0.0]),
        (lambda x: np.float_power(x[0], x[1]), [0.0, 0.0]),
    ],
)
def test_point_without_direction_has_no_curvature(f: Callable[[Tensor], Tensor], point: Any) -> None:
    """The whole Hessian: rows that cancel, and one that is not symmetric, would sum to the same."""
    with np.errstate(all="ignore"):
        found = func.hessian(f)(np.array(point))
    assert_array_equal(found, np.zeros((len(point), len(point))))


@pytest.mark.parametrize("gap", [0.0, 5.0, 15.0, 30.0, 36.0, 100.0, 600.0])
@pytest.mark.parametrize(
    "f",
    [
        lambda z: log_softmax(z)[1],
        lambda z: np.log(softmax(z))[1],
        lambda z: -logsumexp(z),
        lambda z: -cross_entropy(z[None], np.array([1])),
    ],
    ids=["log_softmax", "log(softmax)", "logsumexp", "cross_entropy"],
)
def test_curvature_of_a_sure_class_keeps_its_digits(f: Callable[[Any], Any], gap: float) -> None:
    """``H v = -p (v - p . v)``, by 300 decimal places; the difference is of the size of the other probabilities."""
    z, v = [0.3, gap + 0.1, -0.7, 0.9], [1.0, -2.0, 0.5, 3.0]
    with mpmath.workdps(300):
        e = [mpmath.exp(mpmath.mpf(t)) for t in z]
        p = [t / mpmath.fsum(e) for t in e]
        mean = mpmath.fsum(a * b for a, b in zip(p, v, strict=True))
        wanted = [float(-a * (b - mean)) for a, b in zip(p, v, strict=True)]
    (found,) = func.hvp(f, (np.array(z),), (np.array(v),))
    # exp(z) has the roundings of z, up to 600 of them; a dozen operations besides.
    assert_allclose(found, wanted, rtol=(gap + 40) * 2.3e-16)
