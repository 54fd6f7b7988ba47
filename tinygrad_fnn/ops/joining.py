"""Joining arrays along an axis."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..gate import apply
from ..rules import Array, composite, primitive, sample
from ..tensor import Tensor, ndim_of, refuse_out, shape_of
from .shapes import expand_dims, ravel

__all__: list[str] = []


def _concatenate(*arrays: Array, axis: int, bounds: tuple[int, ...]) -> Array:
    return np.concatenate(arrays, axis=axis)


# The face hands over where each array begins: looking it up in each vjp would be quadratic in their number.
primitive(
    _concatenate,
    lambda ct, i, axis, bounds: ct[(slice(None),) * axis + (slice(bounds[i], bounds[i + 1]),)],
    name="numpy.concatenate",
    variadic=True,
    linear="jointly",
    samples=(
        sample((2, 3), (1, 3), (0, 3), axis=0, bounds=(0, 2, 3, 3)),
        sample((2, 1), (2, 2), axis=1, bounds=(0, 1, 3)),
        sample((2,), (2,), axis=0, bounds=(0, 2, 4)),
    ),
)


@composite(
    np.concatenate,
    samples=(
        sample([(2, 3), (1, 3), (0, 3)]),
        sample([(2, 1), (2, 2)], axis=-1),
        sample([(2, 2), (3,)], axis=None),
        sample((2, 3, 2), axis=1),
    ),
)
def concatenate(arrays: Any, /, axis: int | None = 0, out: None = None) -> Tensor:
    """`numpy.concatenate`; `axis=None` flattens."""
    refuse_out("numpy.concatenate", out)
    if isinstance(arrays, Tensor):
        arrays = list(arrays)
    if axis is None:
        arrays, axis = [ravel(a) for a in arrays], 0
    if not len(arrays):
        raise ValueError("numpy.concatenate: need at least one array")
    axis = normalize_axis_index(axis, ndim_of(arrays[0]))
    bounds = tuple(accumulate([shape_of(a)[axis] if ndim_of(a) > axis else 0 for a in arrays], initial=0))
    return apply(_concatenate, *arrays, axis=axis, bounds=bounds)


@composite(np.stack, samples=(sample([(2, 3), (2, 3)]), sample([(2, 3), (2, 3)], axis=-1), sample([(), ()])))
def stack(arrays: Any, axis: int = 0, out: None = None) -> Tensor:
    """`numpy.stack`."""
    shapes = sorted({shape_of(a) for a in arrays})
    if len(shapes) > 1:
        raise ValueError(f"numpy.stack: all arrays must have the same shape, got {' and '.join(map(str, shapes))}")
    return concatenate([expand_dims(a, axis) for a in arrays], axis, out)
