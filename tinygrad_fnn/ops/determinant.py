"""The determinant, whose derivative is the matrix of cofactors, at singular matrices too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from numpy.linalg import LinAlgError

from ..backward import grad
from ..gate import apply
from ..rules import Array, composite, plain, primitive, sample
from ..tensor import Tensor
from .solving import STACK, WELL, square

__all__: list[str] = []

# Up to this condition the inverse gives second derivatives with half of their digits or more.
WORST = 1e7


def _det(x: Array) -> Array:
    return np.linalg.det(x)


def _cofactors(out: Any, x: Any) -> Any:
    """The derivative of the determinant: ``det(x) inv(x).T``, in a form that holds where there is no inverse."""
    values: ndarray = plain(x)
    inverse = _good_inverse(values)
    if inverse is not None:
        return out[..., None, None] * (inverse if x is values else np.linalg.inv(x)).mT
    U, s, Vh = np.linalg.svd(values)
    if x is values:
        # cof(U S V^T) = det(U) det(V) U cof(S) V^T, and the cofactors of S are the products of the others.
        n = s.shape[-1]
        others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(axis=-1)
        sign = np.sign(np.linalg.det(U) * np.linalg.det(Vh))
        return (U * (sign[..., None] * others)[..., None, :]) @ Vh
    (cofactors,) = grad(np.sum(_by_blocks(x, U, s, Vh)), x, create_graph=True)
    return cofactors


def _good_inverse(x: ndarray) -> ndarray | None:
    """The inverses of a stack of matrices, if each is far enough from singular."""
    try:
        inverse = np.linalg.inv(x)
    except LinAlgError:
        return None
    worst = abs(x).sum(axis=-1).max(axis=-1, initial=0) * abs(inverse).sum(axis=-1).max(axis=-1, initial=0)
    return inverse if (worst < min(WORST, 0.1 / np.finfo(x.dtype).eps)).all() else None


def _by_blocks(x: Tensor, U: ndarray, s: ndarray, Vh: ndarray) -> Any:
    """``det(x)`` as a polynomial in what is small: right to every order at a singular matrix.

    In the bases of its singular vectors `x` is diagonal. The large singular values come first and make a block A with
    an inverse; ``det [[A, B], [C, D]] = det(A) det(D - C inv(A) B)``, of which the second is small in both senses.
    """
    large = int((s > s[..., :1] * WORST**-0.5).sum(axis=-1).min(initial=s.shape[-1])) if s.any() else 0
    sign = np.sign(np.linalg.det(U) * np.linalg.det(Vh))
    turned: Any = U.mT @ x @ Vh.mT
    A, B = turned[..., :large, :large], turned[..., :large, large:]
    C, D = turned[..., large:, :large], turned[..., large:, large:]
    if not large:
        return sign * _without_division(D)
    return sign * np.linalg.det(A) * _without_division(D - C @ np.linalg.solve(A, B))


def _without_division(D: Any) -> Any:
    """Bird's determinant, n - 1 products of matrices [1]_.

    References
    ----------
    .. [1] R. S. Bird, *A simple division-free algorithm for computing determinants*, Inf. Proc. Letters 111 (2011).
    """
    n = D.shape[-1]
    F = D
    for _ in range(n - 1):
        below = np.diagonal(F, 0, -2, -1) @ np.tri(n, k=-1, dtype=bool)  # the sum of the diagonal from there on
        F = (np.triu(F, 1) - below[..., None] * np.eye(n, dtype=bool)) @ D
    return F[..., 0, 0] * (-1) ** (n - 1)


primitive(
    _det,
    lambda ct, out, x: ct[..., None, None] * _cofactors(out, x),
    name="numpy.linalg.det",
    samples=(sample(WELL), sample(STACK), sample((1, 1))),
)


@composite(np.linalg.det, samples=(sample(WELL), sample(STACK), sample((2, 2)), sample((0, 0))))
def det(a: Any) -> Tensor:
    """`numpy.linalg.det`; the derivative at a singular matrix is its adjugate, transposed."""
    square("numpy.linalg.det", a)
    return apply(_det, a)
