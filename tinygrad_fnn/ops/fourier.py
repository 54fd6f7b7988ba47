"""Fourier transforms, which lead through complex values.

A cotangent of a complex value is ``dL/dRe + i dL/dIm``. The gate conjugates around each rule whose result is complex,
so that such a rule is that of a holomorphic function, ``J^T ct``; of a real argument the real part counts.
Each transform is its own transpose, or the transpose of another one here, so that none needs a conjugate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, primitive, sample
from ..tensor import Tensor, ndim_of, refuse_out, shape_of
from .indexing import getitem
from .padding import zero_padded
from .rearranging import roll

__all__: list[str] = []

NORMS = {None: "backward", "backward": "backward", "ortho": "ortho", "forward": "forward"}
TURNED: dict[Any, Any] = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _fft(x: Array, *, axes: tuple[int, ...], norm: Any) -> Array:
    return np.fft.fftn(x, axes=axes, norm=norm)


def _ifft(x: Array, *, axes: tuple[int, ...], norm: Any) -> Array:
    return np.fft.ifftn(x, axes=axes, norm=norm)


# The matrix of a transform is symmetric.
BOTH = (sample((4,), axes=(0,), norm="backward"), sample((2, 3), axes=(1, 0), norm="ortho"))
primitive(
    _fft,
    lambda ct, axes, norm: np.fft.fftn(ct, None, axes, norm),
    name="numpy.fft.fftn",
    push=lambda tangents, x, axes, norm: np.fft.fftn(tangents[0], None, axes, norm),
    samples=BOTH,
)
primitive(
    _ifft,
    lambda ct, axes, norm: np.fft.ifftn(ct, None, axes, norm),
    name="numpy.fft.ifftn",
    push=lambda tangents, x, axes, norm: np.fft.ifftn(tangents[0], None, axes, norm),
    samples=BOTH,
)


def _rfft(x: Array, *, axis: int, norm: Any) -> Array:
    return np.fft.rfft(x, None, axis, norm)


def _ihfft(x: Array, *, axis: int, norm: Any) -> Array:
    return np.fft.ihfft(x, None, axis, norm)


def _irfft(x: Array, *, n: int, axis: int, norm: Any) -> Array:
    return np.fft.irfft(x, n, axis, norm)


def _hfft(x: Array, *, n: int, axis: int, norm: Any) -> Array:
    return np.fft.hfft(x, n, axis, norm)


def _counts(ct: Any, n: int, axis: int) -> Any:
    """How many of n frequencies each of the stored half stands for: 2; the first, and the last if n is even, 1."""
    counts = np.full(n // 2 + 1, 2, np.finfo(ct.dtype).dtype)
    counts[0] = 1
    if n % 2 == 0:
        counts[-1] = 1
    return counts.reshape((-1,) + (1,) * (len(ct.shape) - axis - 1))


def _half_to_real(inverse: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a transform of real numbers: the real part of the transpose, by the transform that gives reals."""

    def share(ct: Any, _x: Any, axis: int, norm: Any) -> Any:
        n = _x.shape[axis]
        return inverse(ct / _counts(ct, n, axis), n, axis, norm)

    return share


primitive(
    _rfft,
    _half_to_real(np.fft.hfft),
    name="numpy.fft.rfft",
    push=lambda tangents, x, axis, norm: np.fft.rfft(tangents[0], None, axis, norm),
    samples=(
        sample((4,), axis=0, norm="backward"),
        sample((5, 2), axis=0, norm="ortho"),
        sample((1,), axis=0, norm="forward"),
    ),
)
primitive(
    _ihfft,
    _half_to_real(np.fft.irfft),
    name="numpy.fft.ihfft",
    push=lambda tangents, x, axis, norm: np.fft.ihfft(tangents[0], None, axis, norm),
    samples=(sample((4,), axis=0, norm="backward"), sample((5, 2), axis=0, norm="forward")),
)


def _like(_x: Any, share: Any) -> Any:
    return share if _x.dtype.kind == "c" else share.real


# The result is real, and these give its derivative in the real and the imaginary part: the conjugate of J^T ct.
primitive(
    _irfft,
    lambda ct, _x, n, axis, norm: _like(_x, np.fft.rfft(ct, None, axis, TURNED[norm]) * _counts(ct, n, axis)),
    name="numpy.fft.irfft",
    push=lambda tangents, x, n, axis, norm: np.fft.irfft(tangents[0], n, axis, norm),
    samples=(sample((3,), n=4, axis=0, norm="backward"), sample((3, 2), n=5, axis=0, norm="forward")),
)
primitive(
    _hfft,
    lambda ct, _x, n, axis, norm: _like(_x, np.fft.ihfft(ct, None, axis, TURNED[norm]) * _counts(ct, n, axis)),
    name="numpy.fft.hfft",
    push=lambda tangents, x, n, axis, norm: np.fft.hfft(tangents[0], n, axis, norm),
    samples=(sample((3,), n=4, axis=0, norm="backward"), sample((3, 2), n=5, axis=0, norm="ortho")),
)


def _norm(name: str, norm: Any, out: Any) -> str:
    refuse_out(name, out)
    if norm not in NORMS:
        raise ValueError(f"{name}: norm is {norm!r}, wanted 'backward', 'ortho' or 'forward'")
    return NORMS[norm]


def _sized(name: str, a: Any, n: int, axis: int) -> Any:
    """`a` cut off or continued with zeros to length `n`."""
    shape = shape_of(a)
    if n < 1:
        raise ValueError(f"{name}: {n} points along axis {axis} of shape {shape}; wants 1 or more")
    if n > shape[axis]:
        return zero_padded(a, tuple((0, n - shape[k] if k == axis else 0) for k in range(len(shape))))
    if n < shape[axis]:
        return getitem(a if isinstance(a, Tensor) else Tensor(a), (slice(None),) * axis + (slice(n),))
    return a


def _shaped(name: str, a: Any, s: Any, axes: Any) -> tuple[Any, tuple[int, ...]]:
    """`a` with the lengths `s` along the axes, and the axes; -1 stands for the length it has."""
    ndim = ndim_of(a)
    if axes is None:
        axes = range(ndim) if s is None else range(ndim - len(s), ndim)
    axes = normalize_axis_tuple(axes, ndim, allow_duplicate=True)
    if s is not None:
        if len(s) != len(axes):
            raise ValueError(f"{name}: s is {tuple(s)} for axes {axes}")
        for n, axis in zip(s, axes, strict=True):
            a = a if n in (-1, None) else _sized(name, a, int(n), axis)
    if any(shape_of(a)[k] < 1 for k in axes):
        raise ValueError(f"{name}: no points along an axis of shape {shape_of(a)}")
    return a, axes


SAMPLES_1 = (sample((4,)), sample((5, 2), n=3, axis=0, norm="ortho"), sample((2, 3), n=6, norm="forward"))
SAMPLES_2 = (sample((3, 4)), sample((2, 3, 4), s=(3, 2), axes=(0, 2), norm="ortho"))
SAMPLES_N = (sample((2, 3)), sample((3, 2, 4), s=(2, 5), axes=(0, 2)), sample((2, 5), axes=(1,), norm="forward"))


def _enter(name: str, kernel: Callable[..., Any]) -> None:
    """Enter `name`, `name2` and `namen` of a transform from complex to complex values."""
    one, two, many = (getattr(np.fft, name + suffix) for suffix in ("", "2", "n"))

    @composite(one, samples=SAMPLES_1)
    def along_one(a: Any, n: int | None = None, axis: int = -1, norm: Any = None, out: None = None) -> Tensor:
        """The transform along one axis."""
        return along(a, None if n is None else (n,), (axis,), norm, out)

    @composite(two, samples=SAMPLES_2)
    def along_two(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Tensor:
        """The transform along two axes."""
        return along(a, s, axes, norm, out)

    @composite(many, samples=SAMPLES_N)
    def along(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Tensor:
        """The transform along any axes."""
        norm = _norm(f"numpy.fft.{name}n", norm, out)
        a, axes = _shaped(f"numpy.fft.{name}n", a, s, axes)
        return apply(kernel, a, axes=axes, norm=norm)


_enter("fft", _fft)
_enter("ifft", _ifft)


def _to_half(name: str, kernel: Callable[..., Any], a: Any, n: int | None, axis: int, norm: str) -> Tensor:
    """A transform of n real numbers to n // 2 + 1 complex ones."""
    axis = normalize_axis_index(axis, ndim_of(a))
    if np.result_type(a).kind == "c":
        raise TypeError(f"{name}: wants real numbers, got dtype {np.result_type(a)}")
    return apply(kernel, _sized(name, a, shape_of(a)[axis] if n is None else n, axis), axis=axis, norm=norm)


def _from_half(name: str, kernel: Callable[..., Any], a: Any, n: int | None, axis: int, norm: str) -> Tensor:
    """A transform of n // 2 + 1 complex numbers to n real ones."""
    axis = normalize_axis_index(axis, ndim_of(a))
    n = 2 * (shape_of(a)[axis] - 1) if n is None else int(n)
    if n < 1:
        raise ValueError(f"{name}: {n} points along axis {axis} of shape {shape_of(a)}; wants 1 or more")
    return apply(kernel, _sized(name, a, n // 2 + 1, axis), n=n, axis=axis, norm=norm)


HALF = (sample((3,)), sample((3, 2), n=5, axis=0, norm="ortho"), sample((2, 3), n=2, norm="forward"), sample((4,), n=1))


@composite(np.fft.rfft, samples=SAMPLES_1)
def rfft(a: Any, n: int | None = None, axis: int = -1, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.rfft`."""
    return _to_half("numpy.fft.rfft", _rfft, a, n, axis, _norm("numpy.fft.rfft", norm, out))


@composite(np.fft.ihfft, samples=SAMPLES_1)
def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.ihfft`."""
    return _to_half("numpy.fft.ihfft", _ihfft, a, n, axis, _norm("numpy.fft.ihfft", norm, out))


@composite(np.fft.irfft, samples=HALF)
def irfft(a: Any, n: int | None = None, axis: int = -1, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.irfft`."""
    return _from_half("numpy.fft.irfft", _irfft, a, n, axis, _norm("numpy.fft.irfft", norm, out))


@composite(np.fft.hfft, samples=HALF)
def hfft(a: Any, n: int | None = None, axis: int = -1, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.hfft`."""
    return _from_half("numpy.fft.hfft", _hfft, a, n, axis, _norm("numpy.fft.hfft", norm, out))


@composite(np.fft.rfftn, samples=SAMPLES_N)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.rfftn`: real to complex along the last axis, then complex along the others."""
    norm = _norm("numpy.fft.rfftn", norm, out)
    a, axes = _shaped("numpy.fft.rfftn", a, s, axes)
    half = _to_half("numpy.fft.rfftn", _rfft, a, None, axes[-1], norm)
    return apply(_fft, half, axes=axes[:-1], norm=norm) if axes[:-1] else half


@composite(np.fft.rfft2, samples=SAMPLES_2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.rfft2`."""
    return rfftn(a, s, axes, norm, out)


@composite(np.fft.irfftn, samples=SAMPLES_N)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.irfftn`: complex along the other axes, then complex to real along the last one."""
    norm = _norm("numpy.fft.irfftn", norm, out)
    last = None if s is None or s[-1] == -1 else s[-1]
    a, axes = _shaped("numpy.fft.irfftn", a, s if s is None else [*s[:-1], -1], axes)
    if axes[:-1]:
        a = apply(_ifft, a, axes=axes[:-1], norm=norm)
    return _from_half("numpy.fft.irfftn", _irfft, a, last, axes[-1], norm)


@composite(np.fft.irfft2, samples=SAMPLES_2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: None = None) -> Tensor:
    """`numpy.fft.irfft2`."""
    return irfftn(a, s, axes, norm, out)


def _shift(x: Any, axes: Any, sign: int) -> Tensor:
    shape = shape_of(x)
    axes = tuple(range(len(shape))) if axes is None else normalize_axis_tuple(axes, len(shape), allow_duplicate=True)
    # Half of an odd length is rounded down one way and up the other.
    return roll(x, tuple(sign * (shape[k] // 2) for k in axes), axes)


@composite(np.fft.fftshift, samples=(sample((5,)), sample((4, 3)), sample((2, 3), axes=1), sample((2, 3), axes=(0, 1))))
def fftshift(x: Any, axes: Any = None) -> Tensor:
    """`numpy.fft.fftshift`."""
    return _shift(x, axes, 1)


@composite(
    np.fft.ifftshift, samples=(sample((5,)), sample((4, 3)), sample((2, 3), axes=1), sample((2, 3), axes=(0, 1)))
)
def ifftshift(x: Any, axes: Any = None) -> Tensor:
    """`numpy.fft.ifftshift`."""
    return _shift(x, axes, -1)
