"""Products of two arrays summed over shared axes: one rule, by labels for the axes, of which NumPy has many cases."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import chain
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..gate import apply
from ..rules import Array, composite, dispatching, primitive, sample
from ..tensor import Tensor, ndim_of, refuse_out, shape_of
from .products import matmul
from .shapes import matrix_transpose, moveaxis, ravel, reshaped

__all__ = ["conjugated", "contracted"]

FEW = 3000  # multiplications up to which NumPy's plain loop is faster than arranging a matrix product


@functools.lru_cache(1024)
def _plan(left: str, right: str, result: str) -> tuple[Any, ...] | None:
    """How to lay out a contraction as a product of stacked matrices; None where the plain loop is as good."""
    batch = [s for s in left if s in right and s in result]
    summed = [s for s in left if s in right and s not in result]
    rows, columns = [s for s in left if s not in right], [s for s in right if s not in left]
    if not summed or (batch and not (rows and columns)):
        return None
    order = [*batch, *rows, *columns]
    return (
        [left.index(s) for s in batch + rows + summed],
        [right.index(s) for s in batch + summed + columns],
        [order.index(s) for s in result],
        len(batch),
        len(rows),
        len(summed),
    )


def _contract(x: Array, y: Array, *, left: str, right: str, result: str) -> Array:
    plan = _plan(left, right, result)
    if plan is None or x.size * (y.size >> 3) <= FEW:
        return np.einsum(f"{left},{right}->{result}", x, y)
    to_left, to_right, back, batch, rows, summed = plan
    x, y = x.transpose(to_left), y.transpose(to_right)
    stack, m, n = x.shape[:batch], x.shape[batch : batch + rows], y.shape[batch + summed :]
    k = math.prod(x.shape[batch + rows :])
    product = x.reshape(*stack, math.prod(m), k) @ y.reshape(*stack, k, math.prod(n))
    return product.reshape(stack + m + n).transpose(back)


contract = dispatching(_contract)
# Each label is in two of the three label strings at least, so that the adjoint is a contraction of the same kind.
primitive(
    _contract,
    lambda ct, y, left, right, result: contract(ct, y, left=result, right=right, result=left),
    lambda ct, x, left, right, result: contract(x, ct, left=left, right=result, result=right),
    name="numpy.einsum (two operands)",
    linear=True,
    samples=(
        sample((2, 3), (3, 4), left="ab", right="bc", result="ca"),
        sample((2, 3, 4), (4, 2, 5), left="abc", right="cad", result="dab"),
        sample((3,), (2,), left="a", right="b", result="ab"),
        sample((3,), (3,), left="a", right="a", result=""),
        sample((12, 2, 13), (13, 5, 12), left="abc", right="cda", result="db"),
        sample((3, 8, 9), (3, 9, 16), left="abc", right="acd", result="dab"),
    ),
)


def contracted(x: Any, y: Any, left: str, right: str, result: str) -> Tensor:
    """The product of `x` and `y` summed over the labels that are not in `result`."""
    return apply(_contract, x, y, left=left, right=right, result=result)


def conjugated(x: Any) -> Any:
    """The conjugate of complex values; real ones as they are."""
    return np.conj(x) if np.result_type(x).kind == "c" else x


def _refuse(name: str, out: Any) -> None:
    refuse_out(name, out)


@composite(
    np.tensordot,
    samples=(
        sample((2, 3), (3, 4), 1),
        sample((2, 3, 4), (3, 4)),
        sample((2, 3), (2,), axes=0),
        sample((2, 3, 4), (4, 5, 2), axes=([0, 2], [2, 0])),
        sample((2, 3), (3, 2), axes=(-1, 0)),
    ),
)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    """`numpy.tensordot`."""
    if np.iterable(axes):
        of_a, of_b = ((int(k),) if ndim_of(k) == 0 else tuple(map(int, k)) for k in axes)
    else:
        of_a, of_b = tuple(range(-int(axes), 0)), tuple(range(int(axes)))
    return contracted(a, b, *_paired(shape_of(a), shape_of(b), of_a, of_b))


@functools.lru_cache(1024)
def _paired(
    left: tuple[int, ...], right: tuple[int, ...], of_a: tuple[int, ...], of_b: tuple[int, ...]
) -> tuple[str, str, str]:
    """The labels of a contraction over the axes given of each operand."""
    try:
        of_a, of_b = normalize_axis_tuple(of_a, len(left)), normalize_axis_tuple(of_b, len(right))
        fits = [left[k] for k in of_a] == [right[k] for k in of_b]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"numpy.tensordot: shapes {left} and {right} do not fit together over axes {of_a} and {of_b}")
    x = list(ascii_letters[: len(left)])
    y = list(ascii_letters[len(left) : len(left) + len(right)])
    for i, j in zip(of_a, of_b, strict=True):
        y[j] = x[i]
    free = [s for k, s in enumerate(x) if k not in of_a] + [s for k, s in enumerate(y) if k not in of_b]
    return "".join(x), "".join(y), "".join(free)


@composite(np.linalg.tensordot, samples=(sample((2, 3), (3, 4), axes=1),))
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:
    """`numpy.linalg.tensordot`."""
    return tensordot(x1, x2, axes)


@composite(np.inner, samples=(sample((3,), (3,)), sample((2, 3), (4, 3)), sample((2, 3), (3,)), sample((2,), ())))
def inner(a: Any, b: Any, /) -> Tensor:
    """`numpy.inner`: the sum over the last axes."""
    if not ndim_of(a) or not ndim_of(b):
        return apply(np.multiply, a, b)
    return tensordot(a, b, (-1, -1))


@composite(np.outer, samples=(sample((2,), (3,)), sample((2, 2), (3,)), sample((), (2,))))
def outer(a: Any, b: Any, out: None = None) -> Tensor:
    """`numpy.outer`, of flattened operands."""
    _refuse("numpy.outer", out)
    return contracted(_flat(a), _flat(b), "a", "b", "ab")


def _flat(a: Any) -> Any:
    return a if ndim_of(a) == 1 else ravel(a)


@composite(np.linalg.outer, samples=(sample((2,), (3,)),))
def linalg_outer(x1: Any, x2: Any, /) -> Tensor:
    """`numpy.linalg.outer`, of vectors."""
    if ndim_of(x1) != 1 or ndim_of(x2) != 1:
        raise ValueError(f"numpy.linalg.outer: wants vectors, got shapes {shape_of(x1)} and {shape_of(x2)}")
    return outer(x1, x2)


@composite(np.vdot, samples=(sample((3,), (3,)), sample((2, 3), (2, 3)), sample((), ())))
def vdot(a: Any, b: Any, /) -> Tensor:
    """`numpy.vdot`, of flattened operands, the first one conjugated."""
    if math.prod(shape_of(a)) != math.prod(shape_of(b)):
        raise ValueError(f"numpy.vdot: operands of shape {shape_of(a)} and {shape_of(b)} differ in size")
    return contracted(_flat(conjugated(a)), _flat(b), "a", "a", "")


@composite(np.kron, samples=(sample((2,), (3,)), sample((2, 3), (2, 2)), sample((2, 2), (3,)), sample((), (2,))))
def kron(a: Any, b: Any) -> Tensor:
    """`numpy.kron`."""
    ndim = max(ndim_of(a), ndim_of(b))
    a, b = (reshaped(x, (1,) * (ndim - ndim_of(x)) + shape_of(x)) if ndim_of(x) < ndim else x for x in (a, b))
    left, right = ascii_letters[:ndim], ascii_letters[ndim : 2 * ndim]
    product = contracted(a, b, left, right, "".join(chain(*zip(left, right, strict=True))))
    return reshaped(product, tuple(m * n for m, n in zip(shape_of(a), shape_of(b), strict=True)))


def _cross(x: Array, y: Array) -> Array:
    return np.cross(x, y)


cross_of = dispatching(_cross)


def _cross_tangent(tangents: Any, x: Any, y: Any) -> Any:
    dx, dy = tangents
    if dx is None:
        return cross_of(x, dy)
    return cross_of(dx, y) if dy is None else cross_of(dx, y) + cross_of(x, dy)


primitive(
    _cross,
    lambda ct, y: cross_of(y, ct),
    lambda ct, x: cross_of(ct, x),
    name="numpy.cross",
    push=_cross_tangent,
    samples=(sample((3,), (3,)), sample((2, 3), (3,)), sample((2, 1, 3), (4, 3))),
)


@composite(np.cross, samples=(sample((3,), (2, 3)), sample((3, 2), (3, 2), axis=0), sample((3, 2), (2, 3), 0, 1, 0)))
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Tensor:
    """`numpy.cross`, of vectors of length 3."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _last(a, axisa), _last(b, axisb)
    if shape_of(a)[-1:] != (3,) or shape_of(b)[-1:] != (3,):
        raise ValueError(f"numpy.cross: wants vectors of length 3, got shapes {shape_of(a)} and {shape_of(b)}")
    out = apply(_cross, a, b)
    return out if axisc in (-1, out.ndim - 1) else moveaxis(out, -1, axisc)


def _last(a: Any, axis: int) -> Any:
    ndim = ndim_of(a)
    return a if normalize_axis_index(axis, ndim) == ndim - 1 else moveaxis(a, axis, -1)


@composite(np.linalg.cross, samples=(sample((3,), (2, 3)), sample((3, 2), (3, 2), axis=0)))
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """`numpy.linalg.cross`."""
    return cross(x1, x2, axis=axis)


@composite(np.linalg.matmul, samples=(sample((2, 3), (3, 4)), sample((3,), (2, 3, 2))))
def linalg_matmul(x1: Any, x2: Any, /) -> Tensor:
    """`numpy.linalg.matmul`."""
    return matmul(x1, x2)


@composite(np.linalg.matrix_transpose, samples=(sample((2, 3)), sample((2, 3, 4))))
def linalg_matrix_transpose(x: Any, /) -> Tensor:
    """`numpy.linalg.matrix_transpose`."""
    return matrix_transpose(x)


@composite(np.linalg.multi_dot, samples=(sample([(2, 3), (3, 4), (4, 2)]), sample([(3,), (3, 2), (2, 4), (4,)])))
def multi_dot(arrays: Any, *, out: None = None) -> Tensor:
    """`numpy.linalg.multi_dot`: in the order that takes the fewest multiplications."""
    _refuse("numpy.linalg.multi_dot", out)
    arrays = list(arrays)
    if len(arrays) < 2:
        raise ValueError(f"numpy.linalg.multi_dot: wants at least two arrays, got {len(arrays)}")
    shapes = [shape_of(a) for a in arrays]
    ends = [shapes[0]] if len(shapes[0]) == 1 else []
    ends += [shapes[-1]] if len(shapes[-1]) == 1 else []
    if any(len(shape) != 2 for shape in shapes if shape not in ends):
        raise ValueError(f"numpy.linalg.multi_dot: wants matrices, with vectors at the ends only, got {shapes}")
    lengths = [1 if len(shapes[0]) == 1 else shapes[0][0], *(shape[0] for shape in shapes[1:])]
    lengths.append(1 if len(shapes[-1]) == 1 else shapes[-1][1])
    return _chained(arrays, 0, len(arrays) - 1, _best_cuts(lengths))  # type: ignore[no-any-return]  # of two at least


def _best_cuts(lengths: Sequence[int]) -> dict[tuple[int, int], int]:
    """After which factor to cut the product of factors i ... j; factor k is of shape (lengths[k], lengths[k + 1])."""
    count = len(lengths) - 1
    cost = {(i, i): 0 for i in range(count)}
    cuts = {}
    for span in range(1, count):
        for i in range(count - span):
            j = i + span
            choices = [
                (cost[i, k] + cost[k + 1, j] + lengths[i] * lengths[k + 1] * lengths[j + 1], k) for k in range(i, j)
            ]
            cost[i, j], cuts[i, j] = min(choices)
    return cuts


def _chained(arrays: Sequence[Any], i: int, j: int, cuts: dict[tuple[int, int], int]) -> Any:
    if i == j:
        return arrays[i]
    k = cuts[i, j]
    return matmul(_chained(arrays, i, k, cuts), _chained(arrays, k + 1, j, cuts))
