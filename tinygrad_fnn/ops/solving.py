"""Linear systems, inverses and determinants; Cholesky factors; powers of a matrix."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from ..gate import apply
from ..rules import Array, composite, dispatching, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from .products import matmul
from .shapes import expand_dims, matrix_transpose, reshaped, squeeze, transpose

__all__ = ["WELL", "result_type", "square"]

# Matrices far from singular, and one that is symmetric and positive.
WELL = np.array([[2.1, -0.3, 0.4], [0.2, 1.7, -0.6], [-0.5, 0.3, 1.4]])
STACK = np.stack([WELL, WELL.T - 0.25, WELL @ WELL])
POSITIVE = WELL @ WELL.T


def square(name: str, a: Any) -> None:
    """Refuse what is no stack of square matrices."""
    shape = shape_of(a)
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"{name}: wants square matrices, got shape {shape}")


@functools.cache
def result_type(fun: Any) -> Any:
    """The named tuple in which NumPy's function returns its results."""
    return type(fun(np.ones((1, 1))))


def _solve(x: Array, y: Array) -> Array:
    return np.linalg.solve(x, y)


primitive(
    _solve,
    lambda ct, out, x: -(np.linalg.solve(x.mT, ct) @ out.mT),
    lambda ct, x: np.linalg.solve(x.mT, ct),
    name="numpy.linalg.solve",
    samples=(sample(WELL, (3, 2)), sample(STACK, (3, 1)), sample(WELL, (2, 3, 2))),
)


@composite(np.linalg.solve, samples=(sample(WELL, (3,)), sample(WELL, (3, 2)), sample(STACK, (3,))))
def solve(a: Any, b: Any) -> Tensor:
    """`numpy.linalg.solve`: only a `b` with one axis is a vector."""
    square("numpy.linalg.solve", a)
    if ndim_of(b) == 1:
        return squeeze(apply(_solve, a, expand_dims(b, 1)), -1)
    return apply(_solve, a, b)


def _inv(x: Array) -> Array:
    return np.linalg.inv(x)


primitive(
    _inv,
    lambda ct, out: -(out.mT @ ct @ out.mT),
    name="numpy.linalg.inv",
    samples=(sample(WELL), sample(STACK)),
)


@composite(np.linalg.inv, samples=(sample(WELL), sample(STACK)))
def inv(a: Any) -> Tensor:
    """`numpy.linalg.inv`; a singular matrix raises `LinAlgError`, as in NumPy."""
    square("numpy.linalg.inv", a)
    return apply(_inv, a)


def _slogdet(x: Array) -> Array:
    return np.stack(np.linalg.slogdet(x), axis=-1)


def _inverse_or_inf(x: Array) -> Array:
    """The inverse; infinite where there is none."""
    try:
        return np.linalg.inv(x)
    except LinAlgError:
        rows = x.reshape(-1, *x.shape[-2:])
        inverses = [np.linalg.inv(a) if np.linalg.det(a) else np.full_like(a, np.inf) for a in rows]
        return np.stack(inverses).reshape(x.shape)


inverse_or_inf = dispatching(_inverse_or_inf)
primitive(_inverse_or_inf, lambda ct, out: -(out.mT @ ct @ out.mT), name="numpy.linalg.inv", samples=(sample(WELL),))
primitive(
    _slogdet,
    lambda ct, x: ct[..., 1, None, None] * inverse_or_inf(x).mT,
    name="numpy.linalg.slogdet",
    samples=(sample(WELL), sample(STACK)),
)


@composite(np.linalg.slogdet, samples=(sample(WELL), sample(STACK)))
def slogdet(a: Any) -> Any:
    """`numpy.linalg.slogdet`; infinite derivatives at a singular matrix, where the logarithm is minus infinity."""
    square("numpy.linalg.slogdet", a)
    real_only("numpy.linalg.slogdet", a)
    packed = apply(_slogdet, a)
    # As a sign it is cut off from the infinities of a singular matrix: its derivative is 0 there too.
    return result_type(np.linalg.slogdet)(apply(np.sign, packed[..., 0]), packed[..., 1])


def _cholesky(x: Array) -> Array:
    return np.linalg.cholesky(x)


def _cholesky_share(ct: Any, out: Any) -> Any:
    """Murray (2016), eq. 10, as the derivative in the lower triangle, the only one that is read [1]_.

    References
    ----------
    .. [1] I. Murray, *Differentiation of the Cholesky decomposition*, arXiv:1602.07527.
    """
    inverse = np.linalg.inv(out)
    product = out.mT @ ct
    both = inverse.mT @ (np.tril(product) + np.tril(product, -1)) @ inverse / 2
    return np.tril(both) + np.tril(both.mT, -1)


primitive(_cholesky, _cholesky_share, name="numpy.linalg.cholesky", samples=(sample(POSITIVE),))


@composite(
    np.linalg.cholesky,
    samples=(sample(POSITIVE), sample(np.stack([POSITIVE, 2 * POSITIVE + np.eye(3)])), sample(POSITIVE, upper=True)),
)
def cholesky(a: Any, /, *, upper: bool = False) -> Tensor:
    """`numpy.linalg.cholesky`.

    Notes
    -----
    NumPy reads one triangle, the lower one, or the upper one when `upper`. The derivative is that of NumPy's function:
    it lies in the triangle that is read, and is 0 in the other.
    """
    square("numpy.linalg.cholesky", a)
    real_only("numpy.linalg.cholesky", a)
    return matrix_transpose(apply(_cholesky, matrix_transpose(a))) if upper else apply(_cholesky, a)


def real_only(name: str, *arrays: Any) -> None:
    """Refuse complex matrices where the rule is for real ones."""
    if any(np.result_type(a).kind == "c" for a in arrays if isinstance(a, Tensor | np.ndarray)):
        raise TypeError(f"{name}: complex matrices have no derivative rule; use detach()")


@composite(
    np.linalg.matrix_power,
    samples=(sample(WELL, 2), sample(STACK, 5), sample(WELL, -3), sample(WELL, 1), sample(WELL, 0)),
)
def matrix_power(a: Any, n: int) -> Tensor:
    """`numpy.linalg.matrix_power`, by repeated squaring; negative powers are those of the inverse."""
    square("numpy.linalg.matrix_power", a)
    n = int(n.__index__())
    if n == 0:  # the derivative is 0, and no infinity in a reaches it
        return np.where(False, a, np.eye(shape_of(a)[-1], dtype=np.result_type(a)))  # type: ignore[return-value]
    base: Any = inv(a) if n < 0 else apply(np.positive, a)
    power: Any = None
    digits = bin(abs(n))[:1:-1]
    for k, digit in enumerate(digits):
        if k:
            base = matmul(base, base)
        if digit == "1":
            power = base if power is None else matmul(power, base)
    return power  # type: ignore[no-any-return]  # the leading digit is 1


@composite(
    np.linalg.tensorsolve,
    samples=(
        sample(WELL[:, None], (3, 1)),
        sample(np.arange(36.0).reshape(2, 3, 6) % 7 + 3 * np.eye(6).reshape(2, 3, 6), (2, 3)),
        sample((np.arange(36.0) % 7 + 3 * np.eye(6).ravel()).reshape(6, 2, 3).transpose(1, 0, 2), (6,), axes=(0,)),
    ),
)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Tensor:
    """`numpy.linalg.tensorsolve`."""
    ndim = ndim_of(a)
    if axes is not None:
        moved = [k % ndim for k in (axes if np.iterable(axes) else (axes,))]
        a = transpose(a, [k for k in range(ndim) if k not in moved] + moved)
    rest = shape_of(a)[ndim_of(b) - ndim :]
    if math.prod(shape_of(a)) != math.prod(rest) ** 2:
        raise LinAlgError(
            f"numpy.linalg.tensorsolve: a of shape {shape_of(a)} is not square for b of shape {shape_of(b)}"
        )
    matrix = reshaped(a, (-1, math.prod(rest)))
    return reshaped(solve(matrix, reshaped(b, (-1,))), rest)


@composite(
    np.linalg.tensorinv,
    samples=(sample(WELL[:, None, :], ind=2), sample(WELL.reshape(3, 1, 3), ind=1)),
)
def tensorinv(a: Any, ind: int = 2) -> Tensor:
    """`numpy.linalg.tensorinv`."""
    if ind <= 0:
        raise ValueError(f"numpy.linalg.tensorinv: ind is {ind}, wanted a positive number of axes")
    shape = shape_of(a)
    inverse = inv(reshaped(a, (math.prod(shape[:ind]), -1)))
    return reshaped(inverse, shape[ind:] + shape[:ind])
