"""Arrays made larger at their edges, and the windows that slide over them."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.lib.stride_tricks import sliding_window_view

from ..gate import apply
from ..rules import Array, composite, dispatching, plain, primitive, sample
from ..tensor import Tensor, ndim_of, shape_of
from .indexing import getitem

__all__ = ["zero_padded"]

Widths = tuple[tuple[int, int], ...]


def _zero_padded(x: Array, *, width: Widths) -> Array:
    out = np.zeros([n + before + after for n, (before, after) in zip(x.shape, width, strict=True)], x.dtype)
    out[_inside(x.shape, width)] = x
    return out


def _padded(x: Array, *, width: Widths, values: Any) -> Array:
    return np.pad(x, width, constant_values=values)


def _inside(shape: tuple[int, ...], width: Widths) -> tuple[slice, ...]:
    return tuple(slice(before, before + n) for n, (before, _) in zip(shape, width, strict=True))


# With zeros it is linear, which the tangent of the other one is not.
primitive(
    _zero_padded,
    lambda ct, _x, width: ct[_inside(_x.shape, width)],
    name="numpy.pad (zeros)",
    linear=True,
    samples=(sample((3,), width=((1, 2),)), sample((2, 3), width=((0, 1), (2, 0))), sample((), width=())),
)
primitive(
    _padded,
    lambda ct, _x, width: ct[_inside(_x.shape, width)],
    name="numpy.pad",
    push=lambda tangents, x, width, values: np.pad(tangents[0], width),
    samples=(
        sample((3,), width=((1, 2),), values=3.0),
        sample((2, 3), width=((0, 1), (2, 0)), values=((1, 2), (3, 4))),
    ),
)


def zero_padded(x: Any, width: Widths) -> Tensor:
    """`x` with zeros around it: so many before and after, for each axis."""
    return apply(_zero_padded, x, width=width)


def _widths(pad_width: Any, ndim: int) -> Widths:
    """NumPy's forms of `pad_width` as a pair for each axis."""
    if isinstance(pad_width, dict):
        pairs = [(0, 0)] * ndim
        for axis, pair in pad_width.items():
            pairs[axis] = (pair, pair) if ndim_of(pair) == 0 else tuple(pair)
        pad_width = pairs
    width = np.asarray(pad_width)
    if width.dtype.kind not in "iu":
        raise TypeError(f"numpy.pad: pad_width must be integers, got dtype {width.dtype}")
    if (width < 0).any():
        raise ValueError(f"numpy.pad: pad_width cannot be negative, got {pad_width}")
    return tuple((int(before), int(after)) for before, after in np.broadcast_to(width, (ndim, 2)))


@composite(
    np.pad,
    samples=(
        sample((2, 3), 1),
        sample((2, 3), [[1, 2], [0, 1]], constant_values=2.0),
        sample((3,), pad_width=(2, 1), mode="edge"),
        sample((3, 2), pad_width=((4, 3), (1, 0)), mode="reflect"),
        sample((3, 2), pad_width=((4, 3), (1, 0)), mode="symmetric"),
        sample((3, 2), pad_width=((4, 3), (1, 0)), mode="wrap"),
        sample((3, 2), pad_width=((4, 3), (1, 2)), mode="reflect", reflect_type="odd"),
        sample((3, 2), pad_width=((4, 3), (1, 0)), mode="symmetric", reflect_type="odd"),
        sample((1, 3), pad_width=((2, 1), (0, 0)), mode="reflect", reflect_type="odd"),
    ),
)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Tensor:
    """`numpy.pad`, modes constant, edge, reflect and symmetric (with either `reflect_type`), and wrap."""
    shape = shape_of(array)
    width = _widths(pad_width, len(shape))
    values = kwargs.pop("constant_values", 0) if mode == "constant" else 0
    mirrors = mode in ("reflect", "symmetric")
    reflect_type = kwargs.pop("reflect_type", "even") if mirrors else "even"
    if kwargs:
        raise TypeError(f"numpy.pad: {', '.join(kwargs)} has no derivative rule with mode={mode!r}")
    if reflect_type not in ("even", "odd"):
        raise ValueError(f"numpy.pad: reflect_type={reflect_type!r}; wanted 'even' or 'odd'")
    if mode == "constant":
        if any(
            getattr(value, "requires_grad", False)
            for value in (values if isinstance(values, list | tuple) else [values])
        ):
            raise TypeError("numpy.pad: constant_values cannot carry a gradient; use np.concatenate, or detach()")
        values = plain(values)
        return apply(_padded, array, width=width, values=values) if np.any(values) else zero_padded(array, width)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(
            f"numpy.pad: mode={mode!r} has no derivative rule; constant, edge, reflect, symmetric and wrap have"
        )
    # Every entry is one of the array's: the numbers along each axis, padded, say which.
    ids = [np.pad(np.arange(n), pair, mode=mode) for n, pair in zip(shape, width, strict=True)]
    padded = [k for k, pair in enumerate(width) if any(pair)]
    if reflect_type == "odd":
        for k in padded:
            array = _oddly_reflected(array, k, width[k], mode)
        return array if isinstance(array, Tensor) else Tensor(array)
    index: list[Any] = [slice(None)] * len(shape)
    for k, grid in zip(padded, np.ix_(*(ids[k] for k in padded)), strict=True):
        index[k] = grid
    if padded and padded != list(range(padded[0], padded[-1] + 1)):  # arrays apart would change the order of the axes
        index = list(np.ix_(*ids))
    return getitem(array if isinstance(array, Tensor) else Tensor(array), tuple(index))


def _oddly_reflected(x: Any, axis: int, pair: tuple[int, int], mode: str) -> Any:
    """Continued through its ends, ``2 end - x``, in as many rounds as it takes."""
    x = np.moveaxis(x, axis, 0)
    skip, (before, after) = int(mode == "reflect" and len(x) > 1), pair
    period = len(x) - skip
    while before or after:
        stop = len(x) - skip
        whole = stop // period * period  # NumPy mirrors whole periods
        first, last = min(whole, before), min(whole, after)
        head = 2 * x[:1] - x[skip : skip + first][::-1]
        tail = 2 * x[-1:] - x[stop - last : stop][::-1]
        x = np.concatenate((head, x, tail))
        before, after = before - first, after - last
    return np.moveaxis(x, 0, axis)


def _windows(x: Array, *, width: int, axis: int) -> Array:
    return sliding_window_view(x, width, axis)


def _overlapped(x: Array, *, axis: int, length: int) -> Array:
    """The sum of windows laid where they were taken from: the adjoint of taking them."""
    windows = np.moveaxis(x, axis, -2)
    count, width = windows.shape[-2:]
    out = np.zeros((*windows.shape[:-2], length), x.dtype)
    for k in range(min(count, width)):  # over the windows or over the places in one, whatever is fewer
        if width <= count:
            out[..., k : k + count] += windows[..., k]
        else:
            out[..., k : k + width] += windows[..., k, :]
    return np.moveaxis(out, -1, axis)


windows, overlapped = dispatching(_windows), dispatching(_overlapped)
primitive(
    _windows,
    lambda ct, _x, axis: overlapped(ct, axis=axis, length=_x.shape[axis]),
    name="numpy.lib.stride_tricks.sliding_window_view",
    linear=True,
    samples=(sample((5,), width=2, axis=0), sample((2, 4, 2), width=3, axis=1), sample((3,), width=3, axis=0)),
)
primitive(
    _overlapped,
    lambda ct, _x, axis: windows(ct, width=_x.shape[-1], axis=axis),
    name="sliding windows (adjoint)",
    linear=True,
    samples=(sample((4, 2), axis=0, length=5), sample((2, 2, 3, 4), axis=1, length=5)),
)


@composite(
    sliding_window_view,
    samples=(sample((5,), 2), sample((3, 4), window_shape=(2, 3)), sample((3, 2, 4), window_shape=(2, 2), axis=(2, 0))),
)
def sliding(x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False) -> Tensor:
    """`numpy.lib.stride_tricks.sliding_window_view`."""
    if subok or writeable:
        raise TypeError("sliding_window_view: subok= and writeable= are not supported for tensors")
    width = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    ndim = ndim_of(x)
    axes = tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim, allow_duplicate=True)
    if len(axes) != len(width):
        raise ValueError(f"sliding_window_view: window_shape {width} for axes {axes} of shape {shape_of(x)}")
    for w, k in zip_longest(width, axes):
        x = apply(_windows, x, width=int(w), axis=k)
    return x  # type: ignore[no-any-return]  # a Tensor, since there is one window at least
