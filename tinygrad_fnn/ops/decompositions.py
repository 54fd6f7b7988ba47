"""Eigenvalues, singular values and orthogonal factors.

The parts of a decomposition are one array while they are recorded, packed along the last axis; the faces unpack it into
NumPy's named tuples. Vectors that belong to equal values are not determined: their terms count as zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, plain, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .joining import concatenate
from .shapes import matrix_transpose, moveaxis, reshaped
from .solving import WELL, real_only, result_type, square

__all__ = ["spectral_norm", "svdvals"]

SYMMETRIC = (WELL + WELL.T) / 2 + np.diag([0.0, 1.0, 2.5])
TALL = np.array([[1.2, -0.4], [0.3, 2.1], [-0.7, 0.5]])
SKEWED = np.stack([WELL, WELL.T + np.triu(WELL)])


def _reciprocal_gaps(values: Any) -> Any:
    """``1 / (values[j] - values[i])`` at (i, j); 0 for the same and for equal values, up to rounding."""
    gaps = values[..., None, :] - values[..., :, None]
    largest = abs(plain(values)).max(axis=-1, initial=0)[..., None, None]
    equal = abs(gaps) <= 4 * values.shape[-1] * np.finfo(values.dtype).eps * largest
    return ~equal / (gaps + equal)


def _in_triangle(share: Any, lower: bool) -> Any:
    """A derivative of a function of symmetric matrices, for a function that reads one triangle."""
    return np.tril(share) + np.tril(share.mT, -1) if lower else np.triu(share) + np.triu(share.mT, 1)


def _eigh(x: Array, *, UPLO: Any) -> Array:
    values, vectors = np.linalg.eigh(x, UPLO)
    return np.concatenate([values[..., None], vectors], axis=-1)


def _eigh_share(ct: Any, out: Any, UPLO: Any) -> Any:
    """``V (diag(ct_w) + F * (V^T ct_V)) V^T`` with F the reciprocal gaps [1]_.

    References
    ----------
    .. [1] M. Giles, *Collected matrix derivative results for forward and reverse mode AD* (2008), section 3.1.
    """
    V = out[..., 1:]
    inner = _reciprocal_gaps(out[..., 0]) * (V.mT @ ct[..., 1:])
    return _in_triangle((V * ct[..., None, :, 0] + V @ inner) @ V.mT, UPLO == "L")


primitive(_eigh, _eigh_share, name="numpy.linalg.eigh", samples=(sample(SYMMETRIC, UPLO="L"), sample(SKEWED, UPLO="U")))


def _triangle_name(name: str, a: Any, UPLO: str) -> str:
    square(name, a)
    real_only(name, a)
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"{name}: UPLO is {UPLO!r}, wanted 'L' or 'U'")
    return UPLO.upper()


@composite(np.linalg.eigh, samples=(sample(SYMMETRIC), sample(SKEWED, "U")))
def eigh(a: Any, UPLO: str = "L") -> Any:
    """`numpy.linalg.eigh`.

    Notes
    -----
    The derivative is that of NumPy's function: it lies in the triangle `UPLO` that is read, and is 0 in the other.
    """
    packed = apply(_eigh, a, UPLO=_triangle_name("numpy.linalg.eigh", a, UPLO))
    return result_type(np.linalg.eigh)(packed[..., 0], packed[..., 1:])


def _eigvalsh(x: Array, *, UPLO: Any) -> Array:
    return np.linalg.eigvalsh(x, UPLO)


def _eigvalsh_share(ct: Any, x: Any, UPLO: Any) -> Any:
    V = np.linalg.eigh(x, UPLO)[1]
    return _in_triangle((V * ct[..., None, :]) @ V.mT, UPLO == "L")


primitive(_eigvalsh, _eigvalsh_share, name="numpy.linalg.eigvalsh", samples=(sample(SYMMETRIC, UPLO="L"),))


@composite(np.linalg.eigvalsh, samples=(sample(SYMMETRIC), sample(SKEWED, "U")))
def eigvalsh(a: Any, UPLO: str = "L") -> Tensor:
    """`numpy.linalg.eigvalsh`; about the triangles see `eigh`."""
    return apply(_eigvalsh, a, UPLO=_triangle_name("numpy.linalg.eigvalsh", a, UPLO))


def _packed(*parts: Any) -> Any:
    """Matrices and vectors, their last axes flattened and joined: (..., total)."""
    lead = parts[1].ndim - 1
    return np.concatenate([np.reshape(part, (*part.shape[:lead], -1)) for part in parts], axis=-1)


def _unpacked(packed: Any, *shapes: tuple[int, ...]) -> list[Any]:
    parts, start = [], 0
    for shape in shapes:
        stop = start + int(np.prod(shape))
        parts.append(np.reshape(packed[..., start:stop], (*packed.shape[:-1], *shape)))
        start = stop
    return parts


def _svd_shapes(shape: tuple[int, ...], full: bool) -> tuple[tuple[int, ...], ...]:
    m, n = shape[-2:]
    k = min(m, n)
    return (m, m if full else k), (k,), (n if full else k, n)


def _svd(x: Array, *, full: bool) -> Array:
    return _packed(*np.linalg.svd(x, full_matrices=full))


def _svd_share(ct: Any, out: Any, _x: Any, full: bool) -> Any:
    """With ``P = U^T dA V``: ``ds = diag(P)``, and rotations of U and V from the other entries of P [1]_.

    What lies outside of the first k columns of U moves with ``U^T dA V / s``; the further columns that
    `full_matrices` asks for turn back accordingly, and not among themselves, which nothing determines.

    References
    ----------
    .. [1] J. Townsend, *Differentiating the singular value decomposition* (2016).
    """
    shapes = _svd_shapes(_x.shape, full)
    (U, s, Vh), (ct_U, ct_s, ct_Vh) = _unpacked(out, *shapes), _unpacked(ct, *shapes)
    k = s.shape[-1]
    V, ct_V = Vh.mT, ct_Vh.mT
    U1, V1 = U[..., :k], V[..., :k]
    turn_U, turn_V = U1.mT @ ct_U[..., :k], V1.mT @ ct_V[..., :k]
    # 1 / (s_j**2 - s_i**2) from the gaps, which keep the digits that the squares lose.
    sums = s[..., None, :] + s[..., :, None]
    E = _reciprocal_gaps(s) / (sums + (sums == 0))
    inner = E * (turn_U - turn_U.mT) * s[..., None, :] + E * (turn_V - turn_V.mT) * s[..., :, None]
    share = (U1 * ct_s[..., None, :] + U1 @ inner) @ V1.mT
    m, n = _x.shape[-2:]
    if m != n:
        zero = s <= np.finfo(s.dtype).eps * max(m, n) * plain(s)[..., :1]
        inverse = (~zero / (s + zero))[..., None, :]
        if m > n:
            share = share + (_outside(U, U1, ct_U, turn_U, k) * inverse) @ V1.mT
        else:
            share = share + (U1 * inverse) @ _outside(V, V1, ct_V, turn_V, k).mT
    return share


def _outside(U: Any, U1: Any, ct: Any, turn: Any, k: int) -> Any:
    """The cotangent of the motion of U1 out of its own span."""
    away = ct[..., :k] - U1 @ turn
    return away - U[..., k:] @ (ct[..., k:].mT @ U1) if U.shape[-1] > k else away


primitive(
    _svd,
    _svd_share,
    name="numpy.linalg.svd",
    samples=(sample(WELL, full=True), sample(TALL, full=False), sample(TALL, full=True), sample(TALL.T, full=True)),
)


def _svdvals(x: Array) -> Array:
    return np.linalg.svd(x, compute_uv=False)


def _svdvals_share(ct: Any, x: Any) -> Any:
    U, _, Vh = np.linalg.svd(x, full_matrices=False)
    return (U * ct[..., None, :]) @ Vh


primitive(_svdvals, _svdvals_share, name="numpy.linalg.svdvals", samples=(sample(WELL), sample(TALL), sample(SKEWED)))


@composite(
    np.linalg.svd,
    samples=(
        sample(SKEWED),
        sample(TALL),
        sample(TALL.T),
        sample(np.stack([TALL.T, TALL.T[::-1] * [1, 2, 3]]), full_matrices=False),
        sample(TALL, compute_uv=False),
    ),
)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """`numpy.linalg.svd`, of real matrices."""
    if hermitian:
        raise TypeError("numpy.linalg.svd: hermitian=True has no derivative rule; use numpy.linalg.eigh")
    if not compute_uv:
        return svdvals(a)
    _matrices("numpy.linalg.svd", a)
    parts = _unpacked(apply(_svd, a, full=bool(full_matrices)), *_svd_shapes(shape_of(a), bool(full_matrices)))
    return result_type(np.linalg.svd)(*parts)


def _matrices(name: str, a: Any) -> None:
    if ndim_of(a) < 2:
        raise ValueError(f"{name}: wants matrices, got shape {shape_of(a)}")
    real_only(name, a)


@composite(np.linalg.svdvals, samples=(sample(SKEWED), sample(TALL)))
def svdvals(x: Any, /) -> Tensor:
    """`numpy.linalg.svdvals`."""
    _matrices("numpy.linalg.svdvals", x)
    return apply(_svdvals, x)


def spectral_norm(x: Any, ord: Any, axes: tuple[int, int], keepdims: bool) -> Tensor:
    """The norms of matrices by their singular values: the largest (2), the smallest (-2), or their sum ("nuc")."""
    s = svdvals(moveaxis(x, axes, (-2, -1)))
    fun = reductions.sum if ord == "nuc" else reductions.max if ord == 2 else reductions.min
    out = fun(s, axis=-1)
    if not keepdims:
        return out
    ndim = ndim_of(x)
    gone = {k % ndim for k in axes}
    return reshaped(out, tuple(1 if k in gone else n for k, n in enumerate(shape_of(x))))


def _qr(x: Array) -> Array:
    return np.concatenate(np.linalg.qr(x), axis=-2)


def _qr_share(ct: Any, out: Any, _x: Any) -> Any:
    """``(ct_Q + Q sym(R ct_R^T - ct_Q^T Q)) R^-T``, where sym mirrors the lower triangle [1]_.

    References
    ----------
    .. [1] M. Seeger et al., *Auto-differentiating linear algebra* (2017), arXiv:1710.08717, section 4.3 for LQ.
    """
    rows = _x.shape[-2]
    Q, R, ct_Q, ct_R = out[..., :rows, :], out[..., rows:, :], ct[..., :rows, :], ct[..., rows:, :]
    M = R @ ct_R.mT - ct_Q.mT @ Q
    return np.linalg.solve(R, (ct_Q + Q @ (np.tril(M) + np.tril(M, -1).mT)).mT).mT


primitive(_qr, _qr_share, name="numpy.linalg.qr", samples=(sample(TALL), sample(SKEWED)))


@composite(
    np.linalg.qr,
    samples=(sample(SKEWED), sample(TALL), sample(TALL.T), sample(TALL, mode="r"), sample(WELL, mode="complete")),
)
def qr(a: Any, mode: str = "reduced") -> Any:
    """`numpy.linalg.qr`, modes reduced and r, and complete where it is the same as reduced."""
    _matrices("numpy.linalg.qr", a)
    m, n = shape_of(a)[-2:]
    if mode == "complete" and m > n:
        raise TypeError(
            f"numpy.linalg.qr: mode='complete' of shape {shape_of(a)} has no derivative: the further columns of Q are "
            "any basis of what the first ones leave; use mode='reduced', or t.detach()"
        )
    if mode not in ("reduced", "r", "complete"):
        raise TypeError(f"numpy.linalg.qr: mode={mode!r} has no derivative rule; use 'reduced', or t.detach()")
    packed = apply(_qr, a if m >= n else a[..., :m])
    k = min(m, n)
    Q, R = packed[..., :m, :], packed[..., m:, :]
    if m < n:
        R = concatenate([R, matrix_transpose(Q) @ a[..., m:]], -1)
    assert R.shape[-2:] == (k, n)
    return R if mode == "r" else result_type(np.linalg.qr)(Q, R)
