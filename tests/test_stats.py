"""`tinygrad_fnn.stats` against `scipy.stats` in value, and against differences of it in every argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import leaf, numeric_gradient, slope
from scipy import stats as theirs

from tinygrad_fnn import Tensor, grad, stats
from tinygrad_fnn.errors import ShapeError

X = np.array([[-1.5, 0.2, 2.5], [0.7, -0.4, 1.1]])
LOC = np.array([0.3, -0.6, 1.2])
SCALE = np.array([[0.7], [1.9]])
DF = np.array([2.5, 4.0, 11.0])
COV = np.array([[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 0.8]])

CALLS: list[tuple[str, Callable[..., Any], Callable[..., Any], tuple[ndarray, ...]]] = [
    *(
        (f"norm.{name}", getattr(stats.norm, name), getattr(theirs.norm, name), (X, LOC, SCALE))
        for name in ("logpdf", "pdf", "cdf", "logcdf")
    ),
    ("t.logpdf", stats.t.logpdf, theirs.t.logpdf, (X, DF, LOC, SCALE)),
]
every_call = pytest.mark.parametrize(("ours", "scipys", "args"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])


@every_call
def test_value_is_scipys(ours: Any, scipys: Any, args: tuple[ndarray, ...]) -> None:
    # SciPy's t.logpdf takes another path; logarithms near 0 keep an absolute part.
    assert_allclose(ours(*args).numpy(), scipys(*args), rtol=1e-12, atol=1e-14)
    assert_allclose(ours(*map(Tensor, args)).numpy(), ours(*args).numpy(), rtol=0)
    assert_allclose(ours(*args[: len(args) - 2]).numpy(), scipys(*args[: len(args) - 2]), rtol=1e-12, atol=1e-14)


@every_call
def test_derivative_in_every_argument(ours: Any, scipys: Any, args: tuple[ndarray, ...]) -> None:
    xs = [leaf(a) for a in args]
    found = grad(np.sum(ours(*xs)), xs)
    for ours_, numeric in zip(found, numeric_gradient(lambda *a: np.sum(scipys(*a)), *args), strict=True):
        assert_allclose(ours_.numpy(), numeric, rtol=1e-8, atol=1e-9)  # a stencil in double precision


@every_call
def test_second_derivative(ours: Any, scipys: Any, args: tuple[ndarray, ...]) -> None:
    xs = [leaf(a) for a in args]
    firsts = grad(np.sum(ours(*xs)), xs, create_graph=True)
    found = grad(sum((np.sum(g) for g in firsts[1:]), start=np.sum(firsts[0])), xs)

    def moved(k: int) -> Callable[[Any], list[Any]]:
        def gradient(h: Any) -> list[Any]:
            moved_ = [leaf(a + h * (j == k)) for j, a in enumerate(args)]
            return [sum(np.sum(g.numpy()) for g in grad(np.sum(ours(*moved_)), moved_))]

        return gradient

    for k, second in enumerate(found):  # moving a whole argument sums what the second derivatives of its entries are
        assert_allclose(np.sum(second.numpy()), slope(moved(k))[0], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("mean", "cov"),
    [
        (np.array([0.5, -0.2, 0.1]), COV),
        (None, COV),
        (np.array([0.5, -0.2, 0.1]), 1.7),
        (np.zeros(3), np.array([0.5, 1.0, 2.0])),
    ],
    ids=["full", "no mean", "a number", "a diagonal"],
)
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 2, 3)], ids=str)
def test_multivariate_normal(mean: Any, cov: Any, shape: tuple[int, ...]) -> None:
    """Value and gradients; in `cov` along symmetric directions, as the density has no other."""
    x = np.random.default_rng(3).normal(size=shape)
    args = [a for a in (x, mean, np.asarray(cov, float)) if a is not None]
    take = (lambda x, c: (x, None, c)) if mean is None else (lambda x, m, c: (x, m, c))
    f = lambda *a: stats.multivariate_normal.logpdf(*take(*a))
    g = lambda *a: theirs.multivariate_normal.logpdf(*take(*a))
    xs = [leaf(a) for a in args]
    out = f(*xs)
    assert_allclose(out.detach().numpy(), g(*args), rtol=1e-12)
    assert out.shape == np.shape(g(*args))
    found = [t.numpy() for t in grad(np.sum(out), xs)]
    for k, a in enumerate(args):
        rng = np.random.default_rng(k)
        v = rng.normal(size=a.shape)
        v = v + v.T if k == len(args) - 1 and a.ndim == 2 else v
        along = lambda h, k=k, v=v: [np.sum(g(*(b + h * v if j == k else b for j, b in enumerate(args))))]
        assert_allclose(np.sum(found[k] * v), slope(along)[0], rtol=1e-8, atol=1e-8)


def test_multivariate_normal_of_one_component() -> None:
    x = np.array([0.3, -1.0, 2.0])
    for points in (x, x[0], x[:, None]):
        ours = stats.multivariate_normal.logpdf(points, 0.5, 2.0)
        assert_allclose(ours.numpy(), theirs.multivariate_normal.logpdf(points, 0.5, 2.0), rtol=1e-14)
        assert ours.shape == np.shape(theirs.multivariate_normal.logpdf(points, 0.5, 2.0))


def test_multivariate_normal_refuses_what_is_no_covariance() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        stats.multivariate_normal.logpdf(np.zeros(2), None, np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(np.linalg.LinAlgError, match="not symmetric"):
        stats.multivariate_normal.logpdf(np.zeros(2), None, np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ShapeError, match="x is"):
        stats.multivariate_normal.logpdf(np.zeros(3), None, np.eye(2))
    with pytest.raises(ShapeError, match="cov is"):
        stats.multivariate_normal.logpdf(np.zeros(3), np.zeros(3), np.eye(2))
    with pytest.raises(TypeError, match="allow_singular"):
        stats.multivariate_normal.logpdf(np.zeros(2), None, np.eye(2), allow_singular=True)


def test_scale_that_is_not_positive_gives_nan() -> None:
    assert_array_equal(np.isnan(stats.norm.logpdf(0.0, 0.0, [1.0, 0.0, -1.0]).numpy()), [False, True, True])
    assert np.isnan(stats.t.logpdf(0.0, -1.0).item())


def test_t_approaches_the_normal_distribution() -> None:
    """At infinity it is; at 1e10 the difference is 1e-10, derivative included."""
    x = leaf([0.5, -3.0])
    assert_allclose(stats.t.logpdf(x, [np.inf, 1e10]).detach().numpy(), theirs.norm.logpdf([0.5, -3.0]), rtol=1e-8)
    (slope_,) = grad(np.sum(stats.t.logpdf(x, [np.inf, 1e10])), x)
    assert_allclose(slope_.numpy(), [-0.5, 3.0], rtol=1e-8)


def test_logcdf_far_below() -> None:
    """Mills' ratio: the derivative is -x + 1/x - ..., with the next term of the series below 1e-12."""
    x = leaf([-1e4, -1e8])
    (found,) = grad(np.sum(stats.norm.logcdf(x)), x)
    assert_allclose(found.numpy(), [1e4 + 1e-4, 1e8], rtol=1e-12)
