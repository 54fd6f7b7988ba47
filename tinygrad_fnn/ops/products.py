"""Products of matrices and vectors, and the layer made of one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..gate import apply
from ..rules import Array, composite, dispatching, primitive, sample
from ..tensor import Tensor, ndim_of, refuse_out, shape_of
from .shapes import expand_dims, reshaped

__all__ = ["linear"]


def _of_vectors(x: Array, y: Array) -> Array:
    return x @ y


primitive(
    _of_vectors,
    lambda ct, y: ct * y,
    lambda ct, x: ct * x,
    name="numpy.matmul (vectors)",
    linear=True,
    samples=(sample((3,), (3,)), sample((0,), (0,))),
)


@primitive(
    np.matmul,
    lambda ct, y: ct @ y.mT,
    lambda ct, x: x.mT @ ct,
    linear=True,
    samples=(
        sample((2, 3), (3, 4)),
        sample((5, 2, 3), (3, 4)),
        sample((5, 1, 2, 3), (2, 3, 1)),
        sample((2, 0), (0, 3)),
        sample((2, 2), (2, 2)),
    ),
)
def matmul(x: Any, y: Any) -> Tensor:
    """`numpy.matmul`: the rule sees stacks of matrices only; a vector beside one gets an axis and loses it again."""
    left, right = ndim_of(x), ndim_of(y)
    if left > 1 and right > 1:
        return apply(np.matmul, x, y)
    if not left or not right:
        raise ShapeError(f"numpy.matmul: operands of shape {shape_of(x)} and {shape_of(y)}: use * with a scalar")
    if shape_of(x)[-1] != shape_of(y)[-2 if right > 1 else 0]:
        raise ShapeError(f"numpy.matmul: operands of shape {shape_of(x)} and {shape_of(y)}: inner lengths differ")
    if left == right:
        return apply(_of_vectors, x, y)
    out = apply(np.matmul, expand_dims(x, 0) if left == 1 else x, expand_dims(y, 1) if right == 1 else y)
    return reshaped(out, _without(out.shape, left, right))


def _without(shape: tuple[int, ...], left: int, right: int) -> tuple[int, ...]:
    """The shape of a product without the axes that vectors were given."""
    return shape[:-2] + (shape[-2:-1] if left > 1 else ()) + (shape[-1:] if right > 1 else ())


@composite(
    np.dot,
    samples=(
        sample((3,), (3,)),
        sample((2, 3), (3, 2)),
        sample((2, 3), (3,)),
        sample((3,), (3, 2)),
        sample((), (2, 3)),
        sample((2, 2, 3), (3,)),
        sample((2, 2, 3), (2, 3, 2)),
    ),
)
def dot(a: Any, b: Any, out: None = None) -> Tensor:
    """`numpy.dot` in all its cases."""
    refuse_out("numpy.dot", out)
    left, right = ndim_of(a), ndim_of(b)
    if not left or not right:
        return apply(np.multiply, a, b)
    if right <= 2:
        return matmul(a, b)
    # The last axis of a with the last but one of b, which goes to the front: (..., n) and (n, rest).
    shape = shape_of(b)
    front = np.moveaxis(b, -2, 0)
    product = matmul(a, reshaped(front, (shape[-2], -1)))
    return reshaped(product, shape_of(a)[:-1] + shape[:-2] + shape[-1:])


def _tall(rows: Array, units: int) -> bool:
    """Whether a batch goes feature by feature through a layer with so many units.

    With W on the left OpenBLAS runs 1.2 times as fast then, and biases are added, and summed, along rows. The result is
    the same array in another layout.
    """
    return bool(rows.dtype == np.float64 and len(rows) > 16 * units)


def _linear(x: Array, W: Array, b: Array | None = None, *, out: Any = None) -> Array:
    if _tall(x, len(W)) if out is None else out.strides[0] < out.strides[-1]:
        z = np.matmul(W, x.T, out=None if out is None else out.T)
        if b is not None:
            z += b[:, None]
        return z.T
    z = np.matmul(x, W.T, out=out)
    if b is not None:
        z += b
    return z


def _linear_tangent(tangents: Any, x: Any, W: Any, b: Any = None) -> Any:
    dx, dW, *db = tangents
    products = [] if dx is None else [_linear_of(dx, W)]
    products += [] if dW is None else [_linear_of(x, dW)]
    return sum([*products, *(d for d in db if d is not None)])


def _times_weights(ct: Array, W: Array) -> Array:
    """``delta W``, in the layout that the layer before gave its results, with whose derivative it is multiplied."""
    return (W.T @ ct.T).T if _tall(ct, W.shape[1]) else ct @ W


_linear_of = dispatching(_linear)


@primitive(
    _linear,
    lambda ct, W: _times_weights(ct, W),  # dJ/dx = delta W
    lambda ct, x: ct.T @ x,  # dJ/dW = delta^T x
    lambda ct: ct.sum(axis=0),  # dJ/db = the sum of delta over the batch
    linear=True,
    push=_linear_tangent,
    samples=(sample((5, 3), (2, 3), (2,)), sample((40, 3), (2, 3), (2,)), sample((5, 3), (2, 3))),
)
def linear(x: Array, W: Array, b: Array | None = None) -> Tensor:
    """The affine map of a layer: ``z = x W^T + b``.

    Parameters
    ----------
    x : array_like or Tensor, shape (..., in)
        A batch of inputs, without a column of ones.
    W : array_like or Tensor, shape (out, in)
        Weights.
    b : array_like or Tensor, shape (out,), optional
        Biases.

    Returns
    -------
    Tensor, shape (..., out)

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    References
    ----------
    Equations (7) and (26) to (28) of docs/backprop.md.

    Examples
    --------
    >>> linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5])
    Tensor([[11.5]])
    """
    xs, ws = shape_of(x), shape_of(W)
    if len(ws) != 2 or not xs or xs[-1] != ws[1]:
        hint = " Is a bias column still in x?" if xs and len(ws) == 2 and xs[-1] == ws[1] + 1 else ""
        wanted = f"W expects {ws[1]}" if len(ws) == 2 else "W must be (out, in)"
        has = f"{xs[-1]} features" if xs else "no axis of features"
        raise ShapeError(f"linear: x has {has}, {wanted}; x is {xs}, W is {ws}.{hint}")
    if b is not None and shape_of(b) != ws[:1]:
        raise ShapeError(f"linear: b is {shape_of(b)}, wanted {ws[:1]}, one for each row of W {ws}")
    operands = [a if isinstance(a, Tensor) else np.asarray(a) for a in ((x, W) if b is None else (x, W, b))]
    if len(xs) == 2:
        return apply(_linear, *operands)
    operands[0] = reshaped(operands[0], (-1, ws[1]))
    return reshaped(apply(_linear, *operands), (*xs[:-1], ws[0]))
