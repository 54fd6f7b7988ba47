"""The embedded digits are the course's, to the last bit."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from numpy.testing import assert_array_equal
from scipy.special import expit

from tinygrad_fnn import data
from tinygrad_fnn.errors import ShapeError

# Of the course's X in C order, little-endian float64.
SHA256_X = "88648740995ccf10c1b17ec8ab9d7a90c8b01055b86fd9d4cba0d31cf11cb657"


def accuracy(thetas: list[np.ndarray], X: np.ndarray, y: np.ndarray) -> float:
    a = X
    for theta in thetas:
        a = expit(np.column_stack([np.ones(len(a)), a]) @ theta.T)
    return float(np.mean((a.argmax(axis=1) + 1) % 10 == y))


def test_digits_have_the_bits_of_the_course() -> None:
    X, y = data.digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((5000, 400), np.float64, (5000,), np.int64)
    assert hashlib.sha256(X.astype("<f8").tobytes()).hexdigest() == SHA256_X
    assert_array_equal(y, np.repeat(np.arange(10), 500))


def test_digits_equal_the_course_file(shared_data: Path) -> None:
    course = scipy.io.loadmat(shared_data / "ex4data1.mat")
    X, y = data.digits()
    assert_array_equal(X, course["X"])
    assert_array_equal(y, course["y"].ravel() % 10)


def test_digits_of_28_are_the_first_500_of_each_class_of_mnist(shared_data: Path) -> None:
    mnist = shared_data / "mnist"
    all_X, all_y = data.load_mnist(mnist / "train-images-idx3-ubyte.gz", mnist / "train-labels-idx1-ubyte.gz")
    first = np.concatenate([np.flatnonzero(all_y == digit)[:500] for digit in range(10)])
    X, y = data.digits(size=28)
    assert_array_equal(X, all_X[first])
    assert_array_equal(y, all_y[first])


@pytest.mark.parametrize("size", [20, 28])
def test_callers_cannot_reach_each_others_digits(size: int) -> None:
    X, y = data.digits(size)  # type: ignore[arg-type]
    kept_X, kept_y = X.copy(), y.copy()
    X[:] = -1
    y[:] = -1
    again_X, again_y = data.digits(size)  # type: ignore[arg-type]
    assert_array_equal(again_X, kept_X)
    assert_array_equal(again_y, kept_y)


def test_digits_refuse_another_size() -> None:
    with pytest.raises(ValueError, match=r"size is 32, wanted 20 .* or 28"):
        data.digits(32)  # type: ignore[arg-type]


def test_course_weights_read_the_course_digits(shared_data: Path) -> None:
    thetas = data.load_mat_weights(shared_data / "ex4weights.mat")
    assert accuracy(thetas, *data.digits()) == 0.9752


def test_course_weights_read_mnist(shared_data: Path) -> None:
    mnist = shared_data / "mnist"
    X, y = data.load_mnist(mnist / "t10k-images-idx3-ubyte.gz", mnist / "t10k-labels-idx1-ubyte.gz")
    thetas = data.load_mat_weights(shared_data / "ex4weights.mat")
    assert accuracy(thetas, data.resize_to_course(X), y) == 0.9339


def test_resize_takes_every_form_of_the_same_images() -> None:
    X, _ = data.digits(28)
    course, _ = data.digits()
    grey = np.rint(X * 255).astype(np.uint8)
    for images in (X, X.reshape(-1, 28, 28), grey, grey.reshape(-1, 28, 28), grey.astype(np.int32)):
        assert_array_equal(data.resize_to_course(images), course)
    # float32 rounds the grey values by 2**-25 relative; the filter's weights have absolute sum below 1.5.
    np.testing.assert_allclose(data.resize_to_course(X.astype(np.float32)), course, rtol=0, atol=1.5 * 2**-24)


def test_resize_leaves_its_argument_alone_and_takes_none() -> None:
    X, _ = data.digits(28)
    X.flags.writeable = False
    data.resize_to_course(X[:3])
    assert data.resize_to_course(np.empty((0, 784))).shape == (0, 400)


def test_resize_keeps_a_constant_image_and_the_bounds_it_promises() -> None:
    # Weights are normalised, so a sum of up to 6 x 6 terms is 1 up to rounding.
    np.testing.assert_allclose(data.resize_to_course(np.ones((1, 784))), 1, rtol=0, atol=1e-14)
    rng = np.random.default_rng(0)
    noise = data.resize_to_course(rng.integers(0, 2, (500, 28, 28)).astype(float))
    assert -0.22 <= noise.min() < 0
    assert 1 < noise.max() <= 1.22


def bad_images() -> Iterator[tuple[np.ndarray, type[Exception], str]]:
    yield np.zeros((28, 28)), ShapeError, r"\(28, 28\), wanted \(m, 28, 28\).*image\[None\]"
    yield np.zeros(784), ShapeError, r"image\[None\]"
    yield np.zeros((5, 400)), ShapeError, r"\(5, 400\)"
    yield np.zeros((1, 784), dtype=complex), TypeError, "complex128"
    yield np.zeros((1, 784), dtype=bool), TypeError, "bool"
    yield np.full((1, 784), np.nan), ValueError, "from nan"
    yield np.full((1, 784), 255.0), ValueError, "from 255.0 to 255.0"
    yield np.full((1, 784), 256), ValueError, "to 256"
    yield np.full((1, 784), -1), ValueError, "from -1"


@pytest.mark.parametrize(("images", "error", "message"), list(bad_images()))
def test_resize_refuses(images: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.resize_to_course(images)
