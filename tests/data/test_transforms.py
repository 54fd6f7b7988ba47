"""Scales learned from the training part, and pictures moved by whole pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import manual_seed
from tinygrad_fnn.data import Normalize, Standardize, digits, shift_images
from tinygrad_fnn.errors import ShapeError

SCALINGS = [Standardize, Normalize]
KEYS = {Standardize: ("mean", "std"), Normalize: ("min", "range")}

tables = hnp.arrays(
    "f8", st.tuples(st.integers(1, 6), st.integers(1, 3)), elements=st.floats(-1e3, 1e3, allow_subnormal=False)
)


@given(X=tables)
def test_standardize_against_the_definition(X: np.ndarray) -> None:
    transform = Standardize().fit(X)
    wide = X.astype(np.longdouble)
    # The mean and the deviation lose a few digits of the largest entry, not of themselves.
    scale = np.abs(X).max()
    assert_allclose(transform.mean, wide.mean(axis=0).astype(float), rtol=0, atol=1e-14 * scale)
    constant = np.ptp(X, axis=0) == 0
    wanted = np.where(constant, 1, wide.std(axis=0).astype(float))
    assert_allclose(transform.std, wanted, rtol=1e-13, atol=0)
    assert (transform(X)[:, constant] == 0).all()
    assert_allclose(transform.inverse(transform(X)), X, rtol=0, atol=1e-14 * scale + 1e-300)


@given(X=tables)
def test_normalize_against_the_definition(X: np.ndarray) -> None:
    transform = Normalize().fit(X)
    Z = transform(X)
    constant = np.ptp(X, axis=0) == 0
    assert (Z.min(axis=0) == 0).all()
    assert (Z.max(axis=0) == np.where(constant, 0, 1)).all()
    assert_allclose(transform.inverse(Z), X, rtol=0, atol=1e-15 * np.ptp(X) + 1e-15 * np.abs(X).max())


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_squares_neither_overflow_nor_vanish(kind: Any, scale: float) -> None:
    X = np.array([[1.0], [2.0], [4.0]])
    assert_allclose(kind().fit(X * scale)(X * scale), kind().fit(X)(X), rtol=1e-14, atol=1e-15)  # powers of 10 round


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("value", [0.1, 0.0, -3.3e17, 1e308])
def test_a_constant_feature_becomes_zero_exactly(kind: Any, value: float) -> None:
    """The mean of equal numbers need not be that number in floating point, nor their deviation 0."""
    X = np.full((7, 2), value)
    transform = kind().fit(X)
    assert_array_equal(transform(X), np.zeros((7, 2)))
    assert_array_equal(transform(X[:1] + 1), X[:1] + 1 - value)
    assert_array_equal(transform.inverse(np.zeros((1, 2))), X[:1])


def test_axis_none_is_one_number_for_all() -> None:
    X, _ = digits(28)
    transform = Standardize(axis=None).fit(X)
    assert_allclose(transform.mean, X.mean(), rtol=1e-12)  # sums of four million numbers
    assert_allclose(transform.std, X.std(), rtol=1e-12)
    assert transform(X[0].reshape(1, 28, 28)).shape == (1, 28, 28)
    assert Normalize(axis=None).fit([[1, 3], [5, 2]])([[3, 5]]).tolist() == [[0.5, 1]]


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "u1"])
def test_dtype_is_kept_and_statistics_are_float64(kind: Any, dtype: str) -> None:
    X = np.array([[0, 1], [3, 8], [4, 2]], dtype)
    transform = kind().fit(X)
    Z = transform(X)
    assert Z.dtype == (dtype if dtype[0] == "f" else "f8")
    assert transform.inverse(Z).dtype == Z.dtype
    assert all(array.dtype == np.float64 for array in transform.state_dict().values())
    assert_allclose(Z, kind().fit(X.astype(float))(X.astype(float)), rtol=np.finfo(Z.dtype).eps)  # one rounding


def test_float32_loses_nothing_to_a_large_mean() -> None:
    X = (np.arange(8)[:, None] + 2**23).astype("f4")
    wide = X.astype(float)
    assert_allclose(Standardize().fit(X)(X), (wide - wide.mean()) / wide.std(), rtol=1e-7)  # one rounding to float32


@pytest.mark.parametrize("kind", SCALINGS)
def test_the_input_is_left_alone_and_the_result_is_new(kind: Any) -> None:
    X = np.array([[0.0, 0.0], [1.0, 1.0]])
    X.flags.writeable = False
    transform = kind().fit(X)
    assert not np.shares_memory(transform(X), X)
    assert_array_equal(X, [[0, 0], [1, 1]])


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("axis", [0, None])
def test_state(kind: Any, axis: Any) -> None:
    X = np.arange(12.0).reshape(4, 3) ** 2
    transform = kind(axis=axis).fit(X)
    state = transform.state_dict()
    assert tuple(state) == KEYS[kind]
    other = kind(axis=axis)
    other.load_state_dict(state)
    for array in state.values():
        array += 7
    assert_array_equal(other(X), transform(X), strict=True)
    for name in KEYS[kind]:
        assert_array_equal(getattr(other, name), getattr(transform, name), strict=True)
    assert "fitted" in repr(kind())
    assert str(np.shape(getattr(other, KEYS[kind][0]))) in repr(other)


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize(
    "damage",
    [
        {"more": 1},
        {0: np.zeros(2)},
        {1: np.zeros(2)},
        {1: -np.ones(2)},
        {0: np.array([np.nan, 0])},
        {1: np.array([np.inf, 1])},
    ],
)
def test_a_damaged_state_is_refused_and_nothing_changes(kind: Any, damage: dict[Any, Any]) -> None:
    transform = kind().fit([[0.0, 1.0, 5.0], [2.0, 5.0, 6.0]])
    before = repr(transform.state_dict())
    state = transform.state_dict() | {KEYS[kind][k] if isinstance(k, int) else k: v for k, v in damage.items()}
    if {0, 1} & set(damage) and np.isfinite(next(iter(damage.values()))).all() and 0 in damage:
        assert state[KEYS[kind][0]].shape != state[KEYS[kind][1]].shape
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.load_state_dict"):
        transform.load_state_dict(state)
    with pytest.raises(ValueError, match="those of one number"):
        kind(axis=None).load_state_dict(transform.state_dict())
    assert repr(transform.state_dict()) == before


@pytest.mark.parametrize("kind", SCALINGS)
def test_nothing_works_before_fit(kind: Any) -> None:
    new = kind()
    for use in (lambda: new([[1.0]]), lambda: new.inverse([[1.0]]), new.state_dict):
        with pytest.raises(RuntimeError, match=rf"{kind.__name__}.*call fit\(X_train\) first"):
            use()
    for name in KEYS[kind]:
        with pytest.raises(RuntimeError, match=rf"{kind.__name__}\.{name}: nothing is learned"):
            getattr(new, name)


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((0, 3)), ShapeError, r"X is \(0, 3\), wanted \(m, ...\) with at least one example"),
        (np.zeros((3, 0)), ShapeError, r"X is \(3, 0\)"),
        (3.0, ShapeError, r"X is \(\)"),
        (
            [[1.0, np.nan], [2.0, 3.0]],
            ValueError,
            r"X\[0, 1\] \(from 0\) is nan, wanted a number; leave",
        ),
        ([[1.0, 0.0], [-np.inf, 3.0]], ValueError, r"X\[1, 0\] \(from 0\) is -inf"),
        ([[-1e308], [1e308]], ValueError, "X reaches from -1e\\+308 to 1e\\+308, further than float64 does"),
        ([["a"]], TypeError, "X is of dtype <U1, wanted real numbers"),
        ([[1j]], TypeError, "X is of dtype complex128, wanted real numbers"),
        ([[True]], TypeError, "X is of dtype bool"),
        ([[1], [1, 2]], TypeError, "X does not make an array"),
    ],
)
def test_fit_refuses_and_keeps_what_it_had(kind: Any, X: Any, error: type[Exception], message: str) -> None:
    transform = kind().fit([[1.0], [2.0]])
    before = repr(transform.state_dict())
    with pytest.raises(error, match=rf"{kind.__name__}\.fit: {message}"):
        transform.fit(X)
    assert repr(transform.state_dict()) == before


@pytest.mark.parametrize("kind", SCALINGS)
def test_another_width_is_refused(kind: Any) -> None:
    transform = kind().fit(np.eye(3))
    for use in (transform, transform.inverse):
        with pytest.raises(ShapeError, match=r"X is \(2, 4\), fitted to \(m, 3\)"):
            use(np.zeros((2, 4)))
        with pytest.raises(ShapeError, match=r"X is \(3,\), fitted to \(m, 3\); a single example is X\[None\]"):
            use(np.zeros(3))
        with pytest.raises(TypeError, match="of dtype <U1"):
            use([["a", "b", "c"]])
    assert transform(np.zeros((0, 3))).shape == (0, 3)
    for axis in (1, True, "0"):
        with pytest.raises(ValueError, match="axis is"):
            kind(axis=axis)


def test_against_scikit_learn() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    X, _ = digits()
    # The same formula in another order of summation over 5000 examples; the smallest deviations are of pixels at 1e-6.
    assert_allclose(Standardize().fit(X)(X), preprocessing.StandardScaler().fit_transform(X), rtol=1e-9, atol=1e-9)
    assert_allclose(Normalize().fit(X)(X), preprocessing.MinMaxScaler().fit_transform(X), rtol=0, atol=1e-14)


# --- pictures --------------------------------------------------------------------------------------------------------


def moved_by_hand(image: np.ndarray, down: int, right: int, fill: float) -> np.ndarray:
    """Pixel by pixel."""
    moved = np.full_like(image, fill)
    for (i, j), value in np.ndenumerate(image):
        if 0 <= i + down < image.shape[0] and 0 <= j + right < image.shape[1]:
            moved[i + down, j + right] = value
    return moved


@given(
    m=st.integers(0, 4),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(["f4", "f8", "u1", "i4"]),
    seed=st.integers(0, 99),
    order=st.sampled_from("CF"),
    fill=st.sampled_from([0, 9]),
    reach=st.integers(0, 8),
)
def test_shifts_against_the_definition(
    m: int, shape: tuple[int, int], dtype: str, seed: int, order: Any, fill: float, reach: int
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (m, *shape)).astype(dtype)
    shifts = rng.integers(-reach, reach, (m, 2), endpoint=True)
    before = images.copy()
    wanted = np.array([moved_by_hand(image, *shift, fill) for image, shift in zip(images, shifts, strict=True)], dtype)
    wanted = wanted.reshape(images.shape)
    assert_array_equal(shift_images(images, shifts, fill=fill), wanted, strict=True)

    def unroll(pictures: np.ndarray) -> np.ndarray:
        return np.array([picture.ravel(order) for picture in pictures], dtype).reshape(m, shape[0] * shape[1])

    moved = shift_images(unroll(images), shifts, shape=shape, order=order, fill=fill)
    assert_array_equal(moved, unroll(wanted), strict=True)
    assert_array_equal(images, before)
    one = shift_images(images, shifts[0], fill=fill) if m else images
    assert_array_equal(one, [moved_by_hand(image, *shifts[0], fill) for image in images] if m else images)


def test_the_course_s_digits_move_down() -> None:
    X, _ = digits()
    upright = X[::1000].reshape(-1, 20, 20).mT
    moved = shift_images(X[::1000], (3, -1), order="F").reshape(-1, 20, 20).mT
    assert_array_equal(moved[:, 3:, :19], upright[:, :17, 1:])
    assert (moved[:, :3] == 0).all()
    assert (moved[:, :, 19] == 0).all()


def test_random_shifts_are_even_independent_and_repeatable() -> None:
    m, p = 25_000, 2
    images = np.zeros((m, 9, 9), "u1")
    images[:, 4, 4] = 1
    moved = shift_images(images, p, rng=0)
    assert_array_equal(moved, shift_images(images, p, rng=0))
    manual_seed(0)
    assert_array_equal(moved, shift_images(images, p))
    assert (moved != shift_images(images, p, rng=1)).any()
    counts = moved.sum(axis=0, dtype=int)
    assert counts[2:7, 2:7].sum() == m
    # 1000 expected in each of the 25 places, with a standard deviation of 31.
    assert np.abs(counts[2:7, 2:7] - 1000).max() < 6 * 31


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]])
def test_layout_does_not_matter(make: Callable[[np.ndarray], np.ndarray]) -> None:
    X = np.arange(32.0).reshape(2, 16)
    assert_array_equal(shift_images(make(X), (1, 1)), shift_images(X, (1, 1)), strict=True)


def test_result_is_new_where_nothing_moved() -> None:
    images = np.ones((2, 3, 3))
    assert not np.shares_memory(shift_images(images, 0), images)
    assert_array_equal(shift_images(images, 0), images)
    assert shift_images(images, 0).flags.writeable
    assert np.isnan(shift_images(images, (3, 0), fill=np.nan)).all()


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((np.zeros((2, 6)), 1), {}, ShapeError, r"images is \(2, 6\), and 6 pixels are no square; pass shape"),
        ((np.zeros((2, 6)), 1), {"shape": (2, 2)}, ShapeError, r"6 pixels do not make shape \(2, 2\)"),
        ((np.zeros((2, 6)), 1), {"shape": (-2, -3)}, ShapeError, "do not make shape"),
        ((np.zeros((2, 6)), 1), {"shape": (6,)}, ShapeError, "do not make shape"),
        ((np.zeros((2, 3, 3)), 1), {"shape": (3, 2)}, ShapeError, r"is not \(m, \*shape\)"),
        ((np.zeros((2, 3, 3)), 1), {"order": "F"}, ShapeError, "not unrolled; order='F'"),
        ((np.zeros(4), 1), {}, ShapeError, r"images is \(4,\), .*a single picture is image\[None\]"),
        ((np.zeros((1, 1, 2, 2)), 1), {}, ShapeError, r"wanted \(m, rows, columns\) or \(m, pixels\)"),
        ((np.zeros((2, 4)), 1), {"order": "K"}, ValueError, "order is 'K', wanted 'C'"),
        ((np.zeros((2, 4)), -1), {}, ValueError, "shifts is -1, wanted how far at most"),
        ((np.zeros((2, 4)), 1.0), {}, TypeError, "shifts is of dtype float64, wanted integers"),
        ((np.zeros((2, 4)), True), {}, TypeError, "shifts is of dtype bool"),
        ((np.zeros((2, 4)), [1, 2, 3]), {}, ShapeError, r"shifts is \(3,\), wanted an integer, \(2,\) or \(m, 2\)"),
        ((np.zeros((3, 4)), [[1, 2]]), {}, ShapeError, r"shifts is \(1, 2\).*\(3, 2\)"),
        ((np.zeros((2, 4), "u1"), 1), {"fill": -1}, ValueError, "fill is -1, which uint8 cannot hold"),
        ((np.zeros((2, 4), "u1"), 1), {"fill": 0.5}, ValueError, "fill is 0.5, which uint8 cannot hold"),
        ((np.zeros((2, 4), "u1"), 1), {"fill": np.nan}, ValueError, "fill is nan, which uint8 cannot hold"),
        (([["a"]], 1), {}, TypeError, "images is of dtype <U1"),
        ((np.zeros((2, 4)), 1), {"rng": "x"}, TypeError, "rng must be"),
    ],
)
def test_shift_images_refuses(args: Any, kwargs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        shift_images(*args, **kwargs)
