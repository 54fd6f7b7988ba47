"""What every picture begins with: numbers that can be drawn, and an Axes to draw them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from ..errors import MissingExtraError, ShapeError
from ..rules import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["axes", "finite", "one_for_each", "points", "same_length", "whole_numbers"]


def axes(function: str, ax: Axes | None, width: float = 6.0, height: float = 4.0) -> Axes:
    """`ax`, or that of a new figure, `width` by `height` inches."""
    if ax is not None:
        if not hasattr(ax, "imshow"):
            kind = type(ax).__name__
            raise TypeError(f"{function}: ax is a {kind}, wanted one matplotlib Axes, such as figure.add_subplot()")
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib", "plot") from error
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.03, 0.03, 0.97, 0.97)  # nearly what the layout will find, for those who measure before it
    ax = figure.add_subplot()
    figure.set_layout_engine("constrained")
    return ax


def points(ax: Axes) -> tuple[float, float]:
    """The width and height of an Axes in points, in which the sizes of letters are measured."""
    extent = ax.get_window_extent()
    return extent.width / ax.figure.dpi * 72, extent.height / ax.figure.dpi * 72


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers only: of epochs and examples there are no halves."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def finite(function: str, name: str, values: Any, ndim: int, wanted: str) -> ndarray:
    """`values` as an array of finite real numbers with `ndim` axes, not empty; `wanted` is its shape in words."""
    try:
        array = np.asarray(plain(values))
    except ValueError as error:
        raise ShapeError(f"{function}: {name} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{function}: {name} has dtype {array.dtype}, wanted real numbers")
    if array.ndim != ndim:
        raise ShapeError(f"{function}: {name} is {array.shape}, wanted {wanted}")
    if not array.size:
        raise ShapeError(f"{function}: {name} is empty, {array.shape}; wanted {wanted}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = tuple(map(int, bad[0]))
        count = f", and so are {len(bad) - 1} others" if len(bad) > 1 else ""
        raise ValueError(f"{function}: {name}{list(at)} is {array[at]}{count}; wanted finite numbers")
    return array


def one_for_each(function: str, name: str, values: Any, count: int, of: str) -> list[Any]:
    """`values` as a list with one for each of `count` things, which are `of`."""
    array: Any = plain(values)
    if isinstance(array, str) or not np.iterable(array) or getattr(array, "ndim", 1) != 1:
        came = getattr(array, "shape", type(array).__name__)
        raise ShapeError(f"{function}: {name} is {came}, wanted ({count},): {of}")
    found = list(array)
    if len(found) != count:
        raise ShapeError(f"{function}: {name} has {len(found)} entries, wanted {count}: {of}")
    return found


def same_length(function: str, **vectors: ndarray) -> None:
    """Refuse vectors that differ in length."""
    if len({len(vector) for vector in vectors.values()}) > 1:
        lengths = ", ".join(f"{name} ({len(vector)},)" for name, vector in vectors.items())
        raise ShapeError(f"{function}: wanted vectors of one length; got {lengths}")
