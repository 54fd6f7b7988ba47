"""Real functions through complex transforms, to second order; NumPy's forms of the arguments; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import numeric_gradient

from tinygrad_fnn import Tensor, grad

RNG = np.random.default_rng(9)
ROW, KERNEL = RNG.normal(size=6), RNG.normal(size=6)
X, H = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
NORMS = ["backward", "ortho", "forward"]


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


def energy(z: Any) -> Any:
    """A real function in which both parts of a complex value count, each in its own way."""
    return np.sum(np.real(z) ** 2 * 1.5 + np.imag(z) ** 3)


def check(fun: Any, *arrays: ndarray) -> None:
    """First and second derivatives against stencils, in double precision: good to about 1e-9 and 1e-8."""
    leaves = [leaf(x) for x in arrays]
    out = fun(*leaves)
    assert out.dtype == np.float64
    firsts = grad(out, leaves, create_graph=True)
    for ours, theirs in zip(firsts, numeric_gradient(lambda *xs: float(fun(*xs)), *arrays), strict=True):
        assert ours.dtype == np.float64
        assert_allclose(ours.detach().numpy(), theirs, rtol=1e-7, atol=1e-7)
    directions = [np.random.default_rng(6).normal(size=x.shape) for x in arrays]

    def along(*xs: ndarray) -> float:
        fresh = [leaf(x) for x in xs]
        return float(sum(np.vdot(v, g.numpy()) for v, g in zip(directions, grad(fun(*fresh), fresh), strict=True)))

    total = sum(np.sum(v * g) for v, g in zip(directions, firsts, strict=True))
    for ours, theirs in zip(grad(total, leaves), numeric_gradient(along, *arrays), strict=True):
        assert_allclose(ours.numpy(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 1, 2, 4, 5, 6, 9])
def test_transforms_of_real_and_of_complex_values(n: int | None, norm: Any) -> None:
    """Odd and even lengths, cut off and continued with zeros; then once more, on what the first one gave."""
    for transform in (np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.ihfft):
        check(lambda a, f=transform: energy(f(a, n, norm=norm) ** 2), ROW)
    for transform in (np.fft.fft, np.fft.ifft):
        check(lambda a, f=transform: energy(f(np.fft.fft(a, norm=norm) ** 2, n, norm=norm)), ROW)
    for transform in (np.fft.irfft, np.fft.hfft):
        check(lambda a, f=transform: np.sum(f(np.fft.fft(a, norm=norm) ** 2, n, norm=norm) ** 2), ROW)


@pytest.mark.parametrize(("s", "axes"), [(None, None), ((5, 3), (1, 0)), ((2,), (0,)), ((-1, 6), (0, 1))], ids=repr)
def test_transforms_over_several_axes(s: Any, axes: Any) -> None:
    check(lambda a: energy(np.fft.ifftn(np.fft.fftn(a, s, axes) ** 2, s, axes)), X)
    check(lambda a: np.sum(np.fft.irfftn(np.fft.rfftn(a, s, axes) ** 2, s, axes) ** 2), X)
    theirs = np.fft.irfftn(np.fft.rfftn(X, s, axes), s, axes)
    assert_allclose(np.fft.irfftn(np.fft.rfftn(leaf(X), s, axes), s, axes).detach().numpy(), theirs, atol=1e-14)


def test_two_axes() -> None:
    check(lambda a: energy(np.fft.ifft2(np.fft.fft2(a, (2, 5)) ** 2, axes=(0, 1))), X)
    check(lambda a: np.sum(np.fft.irfft2(np.fft.rfft2(a) ** 2, (3, 5)) ** 3), X)


def test_convolution_theorem() -> None:
    """The circular convolution by the transforms and by its sum have the same gradients."""

    def by_transforms(a: Any, b: Any) -> Any:
        return np.fft.irfft(np.fft.rfft(a) * np.fft.rfft(b))

    a, b = leaf(ROW), leaf(KERNEL)
    ct = RNG.normal(size=6)
    circulant = np.array([[KERNEL[(i - j) % 6] for j in range(6)] for i in range(6)])
    (share,) = grad(by_transforms(a, b), a, [ct])
    assert_allclose(share.numpy(), circulant.T @ ct, rtol=1e-12, atol=1e-13)
    check(lambda x, y: np.sum(by_transforms(x, y) ** 3), ROW, KERNEL)


def test_products_of_complex_values() -> None:
    check(lambda a, b: energy(np.fft.fft2(a) @ np.fft.fft2(b).T), X, H)
    check(lambda a, b: energy(np.einsum("ij,kj->ik", np.fft.fft2(a), np.fft.fft2(b))), X, H)
    check(lambda a, b: energy(np.vdot(np.fft.fft(a) ** 2, np.fft.fft(b))), ROW, KERNEL)
    check(lambda a, b: energy(np.fft.fftshift(np.fft.fft2(a)) * np.fft.ifftshift(np.fft.fft2(b))), X, H)
    check(lambda a: energy(np.linalg.solve(np.fft.fft(a)[:3] + 4 * np.eye(3), np.fft.fft(a)[0, :3])), X[:, :3].copy())
    check(lambda a: energy(np.linalg.det(np.fft.fft(a) + 4 * np.eye(3))), X[:, :3].copy())


def test_round_trip_has_the_gradient_of_the_identity() -> None:
    ct = RNG.normal(size=6)
    for there, back in [(np.fft.fft, np.fft.ifft), (np.fft.rfft, np.fft.irfft), (np.fft.ihfft, np.fft.hfft)]:
        for norm in NORMS:
            a = leaf(ROW)
            out = np.real(back(there(a, norm=norm), norm=norm))
            # Two transforms of six points: a few roundings.
            assert_allclose(grad(out, a, [ct])[0].numpy(), ct, rtol=1e-13, atol=1e-14)


def test_energy_has_the_gradient_that_parseval_gives() -> None:
    """Of the sum of the squares of an unscaled transform of n points: 2 n x."""
    a = leaf(ROW)
    z = np.fft.fft(a)
    (g,) = grad(np.sum(np.real(z) ** 2 + np.imag(z) ** 2), a)
    assert_allclose(g.numpy(), 12 * ROW, rtol=1e-13)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_imaginary_part_that_a_real_transform_ignores_has_derivative_zero(n: int) -> None:
    """`irfft` does not read the imaginary part of frequency 0, nor of the last one if n is even."""
    y = leaf(np.ones(n // 2 + 1))
    out = np.fft.irfft(1j * y, n)
    (g,) = grad(out, y, [RNG.normal(size=n)])
    unread = [0, -1] if n % 2 == 0 else [0]
    assert_allclose(g.numpy()[unread], 0, atol=1e-15)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "ihfft"])
def test_single_precision_stays_single(name: str) -> None:
    a = leaf(ROW.astype(np.float32))
    z = getattr(np.fft, name)(a)
    assert z.dtype == np.complex64
    (g,) = grad(np.sum(np.real(z) ** 2), a, create_graph=True)
    assert g.dtype == np.float32
    assert grad(np.sum(g), a)[0].dtype == np.float32


def test_refusals_name_the_function() -> None:
    a = leaf(ROW)
    with pytest.raises(TypeError, match=r"numpy.fft.fftn: out="):
        np.fft.fft(a, out=np.empty(6, complex))
    with pytest.raises(ValueError, match="norm is 'unit'"):
        np.fft.rfft(a, norm="unit")  # type: ignore[arg-type]
    for name in ("fft", "rfft", "irfft", "hfft"):
        with pytest.raises(ValueError, match="wants 1 or more"):
            getattr(np.fft, name)(a, 0)
    with pytest.raises(TypeError, match=r"numpy.fft.rfft: wants real numbers"):
        np.fft.rfft(np.fft.fft(a))
    with pytest.raises(ValueError, match=r"numpy.fft.fftn: s is"):
        np.fft.fftn(leaf(X), (2,), axes=(0, 1))


@pytest.mark.parametrize("axes", [None, 0, -1, (0, 1), (1,)])
def test_shifts_undo_each_other(axes: Any) -> None:
    x = leaf(np.arange(15.0).reshape(3, 5))
    assert_array_equal(np.fft.fftshift(x, axes).detach().numpy(), np.fft.fftshift(x.detach().numpy(), axes))
    assert_array_equal(np.fft.ifftshift(np.fft.fftshift(x, axes), axes).detach().numpy(), x.detach().numpy())
