"""Arrays laid side by side and cut apart, in the shapes and containers of NumPy's own functions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..rules import Array, composite, plain, sample
from ..tensor import Tensor, ndim_of, shape_of
from .indexing import getitem
from .joining import concatenate
from .rearranging import atleast_1d, atleast_2d, atleast_3d
from .shapes import ravel, reshaped

__all__: list[str] = []


def _plain_call(name: str, tup: Any, dtype: Any, casting: str) -> list[Any]:
    """The arrays to join, after refusing what would change their dtype."""
    if dtype is not None or casting != "same_kind":
        raise TypeError(f"{name}: dtype= and casting= have no derivative; convert with astype() before")
    return list(tup)


@composite(np.vstack, samples=(sample([(3,), (2, 3)]), sample([(2, 1), (1, 1)]), sample([(), ()])))
def vstack(tup: Any, *, dtype: None = None, casting: str = "same_kind") -> Tensor:
    """`numpy.vstack`."""
    return concatenate([atleast_2d(a) for a in _plain_call("numpy.vstack", tup, dtype, casting)], 0)


@composite(np.hstack, samples=(sample([(2,), (3,)]), sample([(2, 1), (2, 2)]), sample([(), ()])))
def hstack(tup: Any, *, dtype: None = None, casting: str = "same_kind") -> Tensor:
    """`numpy.hstack`."""
    arrays = [atleast_1d(a) for a in _plain_call("numpy.hstack", tup, dtype, casting)]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@composite(np.dstack, samples=(sample([(2,), (2,)]), sample([(2, 3), (2, 3, 2)])))
def dstack(tup: Any) -> Tensor:
    """`numpy.dstack`."""
    return concatenate([atleast_3d(a) for a in tup], 2)


@composite(np.column_stack, samples=(sample([(2,), (2, 3)]), sample([(2,), (2,)])))
def column_stack(tup: Any) -> Tensor:
    """`numpy.column_stack`: vectors become columns."""
    return concatenate([reshaped(a, (-1, 1)) if ndim_of(a) < 2 else a for a in tup], 1)


@composite(np.append, samples=(sample((2, 2), (3,)), sample((2, 2), (1, 2), axis=0), sample((), ())))
def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    """`numpy.append`; without an axis both are flattened."""
    return concatenate([ravel(arr), ravel(values)], 0) if axis is None else concatenate([arr, values], axis)


@composite(np.block, samples=(sample([(2,), ()]), sample([[(2, 2), (2, 1)], [(1, 2), (1, 1)]]), sample((2,))))
def block(arrays: Any) -> Tensor:
    """`numpy.block`: nested lists, the innermost along the last axis."""
    depth = _depth(arrays)
    ndim = max(depth, *map(np.ndim, _blocks(arrays)))
    return _joined(arrays, depth, ndim)


def _depth(arrays: Any) -> int:
    if isinstance(arrays, tuple):
        raise TypeError("numpy.block: wants lists of arrays, got a tuple")
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(part) for part in arrays}
    if len(depths) != 1:
        raise ValueError(
            "numpy.block: a list is empty" if not depths else "numpy.block: the lists are not nested equally deep"
        )
    return depths.pop() + 1


def _blocks(arrays: Any) -> list[Any]:
    return [leaf for part in arrays for leaf in _blocks(part)] if isinstance(arrays, list) else [arrays]


def _joined(arrays: Any, depth: int, ndim: int) -> Tensor:
    if depth:
        return concatenate([_joined(part, depth - 1, ndim) for part in arrays], -depth)
    return reshaped(arrays, (1,) * (ndim - ndim_of(arrays)) + shape_of(arrays))


def _cut(ary: Any, cuts: list[int], axis: int) -> list[Tensor]:
    """The parts between the cuts, which lie anywhere, as in NumPy: `ary[start:stop]` with what slices make of it."""
    array = ary if isinstance(ary, Tensor) else Tensor(ary)
    lead = (slice(None),) * axis
    return [getitem(array, (*lead, slice(start, stop))) for start, stop in pairwise(cuts)]


@composite(
    np.array_split,
    samples=(sample((5, 2), 3), sample((2, 5), 2, axis=1), sample((5,), [1, 3]), sample((2,), 3)),
)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """`numpy.array_split`: a list, of nearly equal parts or cut at the indices."""
    axis = normalize_axis_index(axis, ndim_of(ary))
    length, sections = shape_of(ary)[axis], plain(indices_or_sections)
    if ndim_of(sections):
        return _cut(ary, [0, *map(int, sections), length], axis)
    count = int(sections)
    if count <= 0:
        raise ValueError(f"numpy.array_split: number of sections must be larger than 0, got {count}")
    each, longer = divmod(length, count)
    return _cut(ary, [k * each + min(k, longer) for k in range(count + 1)], axis)


@composite(np.split, samples=(sample((4, 2), 2), sample((2, 6), 3, axis=-1), sample((5,), [1, 3, 7])))
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    """`numpy.split`: as `array_split`, into equal parts."""
    sections = plain(indices_or_sections)
    length = shape_of(ary)[axis]
    if ndim_of(sections) == 0 and int(sections) > 0 and length % int(sections):
        raise ValueError(f"numpy.split: {length} along axis {axis} of {shape_of(ary)} is no multiple of {sections}")
    return array_split(ary, sections, axis)


def _split_along(fun: Callable[..., Any], least: int, axis_of: Callable[[int], int], *samples: Any) -> None:
    name = f"numpy.{fun.__name__}"

    @composite(fun, samples=samples)
    def split_along(ary: Any, indices_or_sections: Any) -> Array:
        """`numpy.split` along the axis that the function is named for."""
        if ndim_of(ary) < least:
            raise ValueError(f"{name}: wants at least {least} axes, got shape {shape_of(ary)}")
        return split(ary, indices_or_sections, axis_of(ndim_of(ary)))


_split_along(np.hsplit, 1, lambda ndim: 1 if ndim > 1 else 0, sample((4,), 2), sample((2, 4), [1]))
_split_along(np.vsplit, 2, lambda ndim: 0, sample((4, 2), 2))
_split_along(np.dsplit, 3, lambda ndim: 2, sample((2, 1, 4), [1, 2]))
