"""Toy sets: geometry exact without noise, balanced, repeatable."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import manual_seed
from tinygrad_fnn.data import toy

SETS = {name: getattr(toy, name) for name in toy.__all__}

# Angles up to 2 pi, whose rounding alone is 4e-16, and a few more of numbers of size 1.
ROUNDING = {"rtol": 0, "atol": 2e-15}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("noise", [0, 0.1])
def test_shape_type_and_balance(name: str, n: int, noise: float) -> None:
    X, y = SETS[name](n, noise, rng=0)
    assert X.shape == (n, 2)
    assert X.dtype == np.float64
    assert y.shape == (n,)
    assert y.dtype == np.int64
    counts = np.bincount(y, minlength=3 if name == "spiral" else 2)
    assert len(counts) == (3 if name == "spiral" else 2)
    assert counts.max() - counts.min() <= 1
    assert np.isfinite(X).all()


@pytest.mark.parametrize("name", SETS)
def test_same_seed_same_points(name: str) -> None:
    one, other = (SETS[name](50, 0.1, rng=3) for _ in range(2))
    assert_array_equal(one[0], other[0], strict=True)
    assert_array_equal(one[1], other[1], strict=True)
    assert not np.array_equal(one[0], SETS[name](50, 0.1, rng=4)[0])
    manual_seed(3)
    first = SETS[name](50, 0.1)
    manual_seed(3)
    assert_array_equal(first[0], SETS[name](50, 0.1)[0])


@pytest.mark.parametrize("name", SETS)
def test_noise_is_normal_on_top_of_the_same_points(name: str) -> None:
    clean, y = SETS[name](20_000, rng=5)
    noisy, same = SETS[name](20_000, 0.3, rng=5)
    assert_array_equal(y, same)
    moved = noisy - clean
    # Mean and deviation of 40,000 normal numbers: 0.3 / 200 and 0.3 / 283 are one standard error; six allowed.
    assert abs(moved.mean()) < 6 * 0.3 / 200
    assert abs(moved.std() - 0.3) < 6 * 0.3 / 283
    assert abs(np.corrcoef(moved.T)[0, 1]) < 6 / 141


@pytest.mark.parametrize("name", SETS)
def test_order_is_random(name: str) -> None:
    """A slice is no part of the picture: both halves have every class, and reach as far."""
    X, y = SETS[name](400, rng=0)
    for half in (slice(200), slice(200, None)):
        assert np.bincount(y[half]).min() > 40
        assert np.hypot(*X[half].T).max() > 0.9


def test_xor() -> None:
    X, y = toy.xor(1001, rng=0)
    assert_array_equal(y, (X[:, 0] > 0) != (X[:, 1] > 0))
    assert np.abs(X).max() <= 1
    assert (X != 0).all()
    quarters = np.bincount(2 * (X[:, 0] > 0) + (X[:, 1] > 0), minlength=4)
    assert sorted(quarters.tolist()) == [250, 250, 250, 251]
    assert abs(np.abs(X).mean() - 0.5) < 6 * 0.289 / np.sqrt(2002)  # uniform: deviation 0.289


def by_class(X: np.ndarray, y: np.ndarray, label: int, order: np.ndarray) -> np.ndarray:
    part = X[y == label]
    return part[np.argsort(order[y == label], kind="stable")]


@pytest.mark.parametrize("n", [2, 3, 100])
@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_circles(n: int, factor: float) -> None:
    X, y = toy.circles(n, factor=factor, rng=1)
    angle = np.arctan2(X[:, 1], X[:, 0]) % (2 * np.pi)
    angle[angle > 2 * np.pi - 1e-9] = 0
    for label, radius in ((0, 1), (1, factor)):
        count = int((y == label).sum())
        t = np.arange(count) * 2 * np.pi / count
        assert_allclose(by_class(X, y, label, angle), radius * np.exp(1j * t).view(float).reshape(-1, 2), **ROUNDING)


@pytest.mark.parametrize("n", [2, 3, 4, 101])
def test_moons(n: int) -> None:
    X, y = toy.moons(n, rng=1)
    upper, lower = X[y == 0], X[y == 1]
    assert_allclose(np.sort(upper[:, 0])[::-1], np.cos(np.linspace(0, np.pi, len(upper))), **ROUNDING)
    assert_allclose(np.hypot(*upper.T), 1, **ROUNDING)
    assert (upper[:, 1] >= 0).all()
    assert_allclose(np.sort(lower[:, 0]), 1 - np.cos(np.linspace(0, np.pi, len(lower))), **ROUNDING)
    assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, **ROUNDING)
    assert (lower[:, 1] <= 0.5).all()


@pytest.mark.parametrize(("n", "classes", "turns"), [(300, 3, 1.0), (7, 2, -0.5), (10, 5, 2.25), (4, 1, 0.0)])
def test_spiral(n: int, classes: int, turns: float) -> None:
    X, y = toy.spiral(n, classes=classes, turns=turns, rng=1)
    for arm in range(classes):
        count = int((y == arm).sum())
        r = np.arange(1, count + 1) / count
        points = r * np.exp(2j * np.pi * (turns * r + arm / classes))
        # The angle goes up to 14, whose rounding alone is 1e-15.
        assert_allclose(by_class(X, y, arm, np.hypot(*X.T)), points.view(float).reshape(-1, 2), rtol=0, atol=4e-15)


@pytest.mark.parametrize("name", ["circles", "moons"])
def test_as_scikit_learn_has_it(name: str) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    keywords = {"factor": 0.3} if name == "circles" else {}
    X, y = SETS[name](200, rng=0, **keywords)
    U, v = getattr(datasets, f"make_{name}")(200, shuffle=False, **keywords)
    for label in (0, 1):
        one = X[y == label] + 0.0
        one, other = (points[np.lexsort(points.round(9).T)] for points in (one, U[v == label] + 0.0))
        assert_allclose(one, other, **ROUNDING)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0,), ValueError, "n is 0, wanted an integer > 0"),
        ((-1,), ValueError, "n is -1"),
        ((2.0,), TypeError, "n is a float"),
        ((True,), TypeError, "n is a bool"),
        (("9",), TypeError, "n is a str"),
        ((9, -0.1), ValueError, "noise is -0.1, wanted a standard deviation >= 0"),
        ((9, np.nan), ValueError, "noise is nan"),
        ((9, np.inf), ValueError, "noise is inf"),
        ((9, "0.1"), TypeError, "noise is a str"),
        ((9, None), TypeError, "noise is a NoneType"),
    ],
)
def test_refuses(name: str, args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{name}: {message}"):
        SETS[name](*args)


def test_refuses_wrong_shapes_of_curves() -> None:
    for factor in (0, 1, -0.5, 2):
        with pytest.raises(ValueError, match=f"circles: factor is {factor}, wanted"):
            toy.circles(9, factor=factor)
    with pytest.raises(TypeError, match="factor is a str"):
        toy.circles(9, factor="0.5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="spiral: classes is 0"):
        toy.spiral(9, classes=0)
    with pytest.raises(ValueError, match="spiral: turns is nan"):
        toy.spiral(9, turns=np.nan)


@pytest.mark.parametrize("make", SETS.values())
def test_signatures_agree(make: Callable[..., Any]) -> None:
    parameters = inspect.signature(make).parameters
    assert list(parameters)[:2] == ["n", "noise"]
    assert list(parameters)[-1] == "rng"
    assert parameters["noise"].default == 0
