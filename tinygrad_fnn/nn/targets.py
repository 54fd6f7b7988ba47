"""What a loss is given, checked: results and targets in equal shapes, fractions, labels; and how it becomes one number.

It stands apart because every loss asks the same questions, and the errors must read alike.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..rules import Array
from ..tensor import Tensor

__all__ = ["REDUCTIONS", "check_labels", "check_reduction", "floats", "fractions", "reduced", "rows_of", "targets"]

REDUCTIONS: Final = ("mean", "sum", "none", "course")

# Targets computed in float32 (label smoothing) miss their range by a few times 6e-8; `check.textbook` allows the same.
TOLERANCE: Final = 1e-6


def check_reduction(function: str, reduction: str) -> str:
    """`reduction` if it is one of `REDUCTIONS`, else a ValueError that lists them."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{function}: reduction must be one of {', '.join(map(repr, REDUCTIONS))}; got {reduction!r}")
    return reduction


def reduced(function: str, loss: Tensor, reduction: str) -> Tensor:
    """One number out of the losses of all elements; for the course the last of several axes is that of the classes."""
    if reduction == "none":
        return loss
    total = loss.sum()
    if reduction == "sum":
        return total
    count = loss.size
    if not count:
        raise ValueError(f"{function}: reduction={reduction!r} of no elements; the shape is {loss.shape}")
    return total / (count // loss.shape[-1] if reduction == "course" and loss.ndim > 1 else count)


def floats(function: str, name: str, value: Array) -> Tensor:
    """`value` as a Tensor of floating-point numbers."""
    tensor = value if isinstance(value, Tensor) else Tensor(value)
    if tensor.dtype.kind == "c":
        raise TypeError(f"{function}: {name} has dtype {tensor.dtype}, wanted real numbers")
    return tensor if tensor.dtype.kind == "f" else tensor.astype(float)


def targets(function: str, name: str, z: Tensor, y: Array) -> Tensor | ndarray:
    """`y` as a Tensor or array of the shape of `z`, which is called `name`; integers and booleans in its dtype."""
    y = y if isinstance(y, Tensor) else np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise TypeError(f"{function}: targets have dtype {y.dtype}, wanted real numbers")
    if y.shape != z.shape:
        hint = ""
        if y.shape == z.shape[::-1] and z.ndim == 2:
            hint = "; the targets stand the wrong way: y.T"
        elif y.size == z.size:
            hint = f"; reshape one of them: y.reshape{z.shape}"
        elif z.ndim == 2 and y.size == len(z):
            hint = f"; labels become targets by one_hot(y, {z.shape[1]})"
        raise ShapeError(f"{function}: {name} is {z.shape}, the targets are {y.shape}; wanted equal shapes{hint}")
    converted: Tensor | ndarray = y.astype(z.dtype) if y.dtype.kind in "biu" else y
    return converted


def fractions(function: str, name: str, z: Tensor, y: Array) -> Tensor | ndarray:
    """`targets`, in [0, 1]."""
    checked = targets(function, name, z, y)
    values = values_of(checked)
    if values.size:
        low, high = values.min(), values.max()
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            hint = ". Labels become targets by one_hot" if 1 < high < np.inf and not (values % 1).any() else ""
            raise ValueError(f"{function}: targets must be in [0, 1]; they reach from {low:g} to {high:g}{hint}")
    return checked


def check_labels(function: str, labels: Any, count: int, shape: tuple[int, ...]) -> None:  # Any: an array, or a user's
    """Refuse labels that are no integers in 0 ... count - 1, one for each example of `shape`.

    Raises
    ------
    ShapeError, TypeError, ValueError
        In this order.
    """
    if labels.shape != shape:
        hint = f"; reshape them: y.reshape{shape}" if labels.size == np.prod(shape) else ""
        raise ShapeError(f"{function}: the labels are {labels.shape}, wanted one for each example, {shape}{hint}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{function}: the labels have dtype {labels.dtype}, wanted integers")
    if labels.size and (labels.min() < 0 or labels.max() >= count):
        bad = labels.min() if labels.min() < 0 else labels.max()
        hint = " Label 10 of the course's files is digit 0: data.load_mat_digits maps it." if bad == 10 == count else ""
        raise ValueError(f"{function}: label {bad} is outside 0 ... {count - 1}.{hint}")


def rows_of(labels: ndarray, z: Tensor) -> ndarray:
    """A row for each label with a 1 in its column, in the dtype of the logits `z`."""
    rows: ndarray = np.equal.outer(labels, np.arange(z.shape[-1])).astype(z.dtype)
    rows.flags.writeable = False  # nobody else has it, so it need not be copied when it is kept
    return rows


def values_of(y: Tensor | ndarray) -> ndarray:
    """The values of a Tensor, tracked or not, or of an array."""
    return y._value if isinstance(y, Tensor) else y
