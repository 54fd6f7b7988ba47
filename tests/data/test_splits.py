"""Parts of a data set: each example in one, sizes exact, classes in proportion."""

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tinygrad_fnn import manual_seed
from tinygrad_fnn.data import k_fold, split
from tinygrad_fnn.errors import ShapeError

X, Y = np.arange(60.0).reshape(20, 3), np.arange(20)


def largest_remainder(total: int, shares: list[Fraction]) -> list[int]:
    """The textbook's way: rounded down, and what is missing to the largest fractions."""
    exact = [share * total for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(exact)), key=lambda k: (-(exact[k] - counts[k]), k))
    for k in order[: total - sum(counts)]:
        counts[k] += 1
    return counts


@given(m=st.integers(10, 500), tenths=st.lists(st.integers(1, 8), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_fractions_become_counts_by_the_largest_remainder(m: int, tenths: list[int], seed: int) -> None:
    total = sum(tenths)
    shares = [Fraction(n, total) for n in tenths]
    wanted = largest_remainder(m, shares)
    if 0 in wanted:
        return
    parts = split(np.arange(m), [n / total for n in tenths], rng=seed)
    sizes = [len(part) for part in parts]
    # Decimals of 12 digits decide, so shares like 1/3 may tie otherwise than as fractions: by one example.
    assert sum(sizes) == m
    assert all(abs(n - w) <= 1 for n, w in zip(sizes, wanted, strict=True))
    assert sorted(np.concatenate(parts).tolist()) == list(range(m))


@pytest.mark.parametrize(
    ("m", "fractions", "sizes"),
    [
        (5000, (0.8, 0.2), [4000, 1000]),
        (10, (0.7, 0.3), [7, 3]),
        (10, (0.1, 0.2, 0.7), [1, 2, 7]),
        (11, (0.5, 0.5), [6, 5]),
        (7, (0.6, 0.2, 0.2), [4, 2, 1]),
        (3, (0.4, 0.3, 0.3), [1, 1, 1]),
        (10, (7, 3), [7, 3]),
        (10, (np.int64(4), 6), [4, 6]),
        (10, (1.0,), [10]),
        (1_000_003, (0.25, 0.75), [250_001, 750_002]),
    ],
)
def test_sizes(m: int, fractions: Any, sizes: list[int]) -> None:
    assert [len(part) for part in split(np.arange(m), fractions, rng=0)] == sizes


def test_rows_stay_together_and_kinds_are_kept() -> None:
    (a, b), (c, d) = split((X, Y), (15, 5), rng=3)
    assert_array_equal(np.concatenate([a, c]), X[np.concatenate([b, d])])
    (only,) = split((X,), (20,), rng=0)
    assert isinstance(only, tuple)
    part, _ = split(X.astype("f4"), (0.5, 0.5), rng=0)
    assert part.dtype == np.float32


def test_same_seed_same_parts() -> None:
    one, other = (split(Y, (0.5, 0.5), rng=4) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert_array_equal(a, b, strict=True)
    assert not np.array_equal(one[0], split(Y, (0.5, 0.5), rng=5)[0])
    manual_seed(4)
    first = split(Y, (0.5, 0.5))
    manual_seed(4)
    assert_array_equal(first[0], split(Y, (0.5, 0.5))[0])


def test_without_shuffle_parts_are_views_in_order() -> None:
    a, b, c = split(X, (5, 5, 10), shuffle=False)
    assert_array_equal(np.concatenate([a, b, c]), X)
    assert all(np.shares_memory(part, X) for part in (a, b, c))
    with pytest.raises(ValueError, match="shuffle=False forbids"):
        split(X, (10, 10), shuffle=False, stratify=Y)


@given(counts=st.lists(st.integers(2, 60), min_size=1, max_size=6), tenths=st.integers(1, 9), seed=st.integers(0, 99))
def test_two_stratified_parts_have_the_exact_share_of_every_class(counts: list[int], tenths: int, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3 - 1, counts))
    m = len(y)
    if not 0 < largest_remainder(m, [Fraction(tenths, 10), Fraction(10 - tenths, 10)])[0] < m:
        return
    parts = split((np.arange(m), y), (tenths / 10, 1 - tenths / 10), rng=seed, stratify=y)
    assert sorted(np.concatenate([rows for rows, _ in parts]).tolist()) == list(range(m))
    for rows, labels in parts:
        assert_array_equal(labels, y[rows])
        for label, count in zip(np.unique(y), counts, strict=True):
            exact = Fraction(count * len(rows), m)
            assert abs(int((labels == label).sum()) - exact) < 1


def test_many_stratified_parts() -> None:
    y = np.repeat(["a", "b", "c"], [50, 30, 20])
    for part in split(np.arange(100), (0.5, 0.3, 0.2), rng=0, stratify=y):
        _, counts = np.unique(y[part], return_counts=True)
        assert_array_equal(counts, np.array([50, 30, 20]) * len(part) // 100)


def test_stratified_parts_are_mixed() -> None:
    y = np.repeat([0, 1], 500)
    (part, _) = split(y, (0.5, 0.5), rng=0, stratify=y)
    changes = sum(a != b for a, b in pairwise(part.tolist()))
    assert 150 < changes < 350  # 250 expected of 500 fair coins, with a standard deviation of 11


def test_chance_decides_which_class_is_short() -> None:
    """Ten classes of five in halves of 25: each class is rounded up in one of them, not always the same ones."""
    y = np.repeat(np.arange(10), 5)
    up = np.zeros(10)
    for seed in range(100):
        up += np.bincount(split(y, (0.5, 0.5), rng=seed, stratify=y)[0], minlength=10) == 3
    assert up.sum() == 500
    assert up.min() > 25  # 50 expected, with a standard deviation of 5
    assert up.max() < 75


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((X, 0.8), {}, TypeError, r"fractions is 0.8, wanted the size of every part, such as \(0.8, 0.2\)"),
        ((X, ()), {}, TypeError, "wanted the size of every part"),
        ((X, (0.8, 0.3)), {}, ValueError, r"fractions \(0.8, 0.3\) sum to 1.1, wanted 1"),
        ((X, (0.8,)), {}, ValueError, "sum to 0.8, wanted 1"),
        ((X, (10.0, 10.0)), {}, ValueError, "sum to 20, wanted 1; counts are integers"),
        ((X, (10, 9)), {}, ValueError, r"parts \(10, 9\) sum to 19, but there are 20 examples"),
        ((X, (1.2, -0.2)), {}, ValueError, "fractions has -0.2, wanted positive"),
        ((X, (20, 0)), {}, ValueError, "fractions has 0, wanted positive"),
        ((X, (np.nan, 0.5)), {}, ValueError, "fractions has nan"),
        ((X, (np.inf, 0.5)), {}, ValueError, "sum to inf"),
        ((X, (True, 19)), {}, TypeError, "fractions has True"),
        ((X, ("0.8", "0.2")), {}, TypeError, "fractions has '0.8'"),
        ((X, (0.99, 0.01)), {}, ValueError, r"20 examples would make parts of \(20, 0\)"),
        (((X, Y[:3]), (10, 10)), {}, ShapeError, r"split: the arrays differ in length: \(20, 3\), \(3,\)"),
        ((X, (10, 10)), {"stratify": Y[:3]}, ShapeError, r"stratify is \(3,\), wanted a label for each of the 20"),
        ((X, (10, 10)), {"stratify": Y}, ValueError, "stratify has the class 0 1 times, fewer than the 2 parts"),
        ((["a"], (1,)), {}, TypeError, "split: the array is of dtype <U1"),
    ],
)
def test_split_refuses(args: Any, kwargs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split(*args, **kwargs)


@given(m=st.integers(2, 40), k=st.integers(2, 40), stratify=st.booleans())
def test_each_example_is_validated_once(m: int, k: int, stratify: bool) -> None:
    if k > m:
        with pytest.raises(ValueError, match=f"k is {k}, wanted 2 to {m}"):
            k_fold(np.arange(m), k)
        return
    y = np.zeros(m)
    seen = []
    for training, (rows, labels) in k_fold((np.arange(m), y), k, rng=0, stratify=y if stratify else None):
        assert isinstance(training, tuple)
        assert sorted([*training[0].tolist(), *rows.tolist()]) == list(range(m))
        assert len(rows) in (m // k, -(-m // k))
        assert len(labels) == len(rows)
        seen += rows.tolist()
    assert sorted(seen) == list(range(m))


def test_stratified_folds() -> None:
    y = np.repeat([0, 1], [40, 10])
    for _, part in k_fold(y, 5, rng=1, stratify=y):
        assert np.bincount(part).tolist() == [8, 2]
    assert len(list(k_fold(y))) == 5


def test_k_fold_refuses_at_the_call() -> None:
    for k in (2.0, True, "3"):
        with pytest.raises(TypeError, match="k_fold: k is a "):
            k_fold(X, k)  # type: ignore[arg-type]
    for k in (1, 21):
        with pytest.raises(ValueError, match=f"k_fold: k is {k}, wanted 2 to 20"):
            k_fold(X, k)
    with pytest.raises(ValueError, match="fewer than the 5 parts"):
        k_fold(X, stratify=Y)
