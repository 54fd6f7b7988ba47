"""Least squares and pseudo-inverses of matrices of full rank; norms and condition numbers by singular values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from ..gate import apply
from ..rules import Array, composite, plain, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .decompositions import SKEWED, TALL, spectral_norm, svdvals
from .linalg import norm
from .products import matmul
from .shapes import reshaped, transpose
from .solving import WELL, inv, real_only

__all__: list[str] = []


def _pinv(x: Array, *, rcond: Any) -> Array:
    return np.linalg.pinv(x, rcond)


def _pinv_share(ct: Any, out: Any, x: Any) -> Any:
    """From the derivative of the pseudo-inverse of a matrix of constant rank [1]_.

    References
    ----------
    .. [1] G. Golub, V. Pereyra, *The differentiation of pseudo-inverses and nonlinear least squares problems whose
       variables separate*, SIAM J. Numer. Anal. 10 (1973), eq. 4.12.
    """
    m, n = x.shape[-2:]
    share = -(out.mT @ ct @ out.mT)
    if m > n:
        left = ct.mT @ out @ out.mT
        return share + left - x @ (out @ left)
    if m < n:
        right = out.mT @ out @ ct.mT
        return share + right - (right @ out) @ x
    return share


primitive(
    _pinv,
    _pinv_share,
    name="numpy.linalg.pinv",
    samples=(sample(TALL, rcond=None), sample(TALL.T, rcond=None), sample(SKEWED, rcond=None)),
)


@composite(
    np.linalg.pinv, samples=(sample(TALL), sample(np.stack([TALL.T, 2 * TALL.T[::-1]])), sample(WELL, rcond=1e-9))
)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Tensor:
    """`numpy.linalg.pinv`; the derivative is for full rank."""
    real_only("numpy.linalg.pinv", a)
    if hermitian:
        raise TypeError("numpy.linalg.pinv: hermitian=True has no derivative rule; leave it out")
    if ndim_of(a) < 2:
        raise ValueError(f"numpy.linalg.pinv: wants matrices, got shape {shape_of(a)}")
    return apply(_pinv, a, rcond=plain(rcond if rtol is None else rtol))


@composite(
    np.linalg.lstsq,
    samples=(sample(TALL, (3,)), sample(TALL, (3, 2)), sample(TALL.T, (2,), rcond=1e-9), sample(WELL, (3, 2))),
)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Tensor, Tensor, np.intc, Tensor]:
    """`numpy.linalg.lstsq`; the derivative is for full rank."""
    real_only("numpy.linalg.lstsq", a, b)
    if ndim_of(a) != 2 or ndim_of(b) not in (1, 2) or shape_of(a)[0] != shape_of(b)[0]:
        raise ValueError(f"numpy.linalg.lstsq: shapes {shape_of(a)} and {shape_of(b)}: wants (m, n) and (m,) or (m, k)")
    m, n = shape_of(a)
    s = svdvals(a)
    eps = np.finfo(s.dtype).eps
    cutoff = eps * max(m, n) if rcond is None else eps if rcond < 0 else float(rcond)
    values: ndarray = plain(s)
    rank = np.intc((values > cutoff * values[:1]).sum())
    x = matmul(pinv(a, cutoff), b)
    if rank < n or m <= n:
        return x, Tensor(np.empty(0, s.dtype)), rank, s
    residual: Any = b - matmul(a, x)
    return x, reshaped(reductions.sum(residual * residual, axis=0), (-1,)), rank, s


@composite(
    np.linalg.matrix_norm,
    samples=(
        sample((2, 3)),
        sample((2, 3, 2), ord=1),
        sample(SKEWED, ord=2),
        sample(SKEWED, ord=-2, keepdims=True),
        sample(TALL, ord="nuc"),
    ),
)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """`numpy.linalg.matrix_norm`, of the last two axes."""
    if ord in (2, -2, "nuc"):
        return spectral_norm(x, ord, (-2, -1), keepdims)
    return norm(x, ord, (-2, -1), keepdims)


@composite(
    np.linalg.vector_norm,
    samples=(
        sample((2, 3)),
        sample((2, 3), axis=1, ord=1),
        sample((2, 3, 2), axis=(0, 2), ord=3, keepdims=True),
        sample((2, 3), ord=np.inf, keepdims=True),
    ),
)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """`numpy.linalg.vector_norm`: over one axis, several, or all entries."""
    shape, ndim = shape_of(x), ndim_of(x)
    gone = [k % ndim for k in (range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))]
    kept = [k for k in range(ndim) if k not in gone]
    lengths = tuple(shape[k] for k in kept)
    line = x if gone == [ndim - 1] else reshaped(transpose(x, kept + gone), (*lengths, -1))
    out = norm(line, ord, -1)
    return reshaped(out, tuple(1 if k in gone else n for k, n in enumerate(shape))) if keepdims else out


@composite(
    np.linalg.cond,
    samples=(sample(TALL), sample(SKEWED, -2), sample(WELL, "fro"), sample(SKEWED, p=1), sample(WELL, p="nuc")),
)
def cond(x: Any, p: Any = None) -> Tensor:
    """`numpy.linalg.cond`."""
    if p in (None, 2, -2):
        s: Any = svdvals(x)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]  # type: ignore[no-any-return]
    return matrix_norm(x, ord=p) * matrix_norm(inv(x), ord=p)
