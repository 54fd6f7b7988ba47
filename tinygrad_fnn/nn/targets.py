"""What a loss is given, checked: results and targets in equal shapes, fractions, labels; and how it becomes one number.

It stands apart because every loss asks the same questions, and the errors must read alike.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..modes import MODE, Unforeseen
from ..ops.scipy_calls import refuse_tracked
from ..rules import Array, on_plain_arrays, plain
from ..tensor import Tensor

__all__ = ["REDUCTIONS", "check_labels", "check_reduction", "check_rows", "class_weights", "counting_labels"]
__all__ += ["counts_of", "factors", "floats", "fractions", "reduced", "rows_of", "targets", "values_of"]

REDUCTIONS: Final = ("mean", "sum", "none", "course")

# Targets computed in float32 (label smoothing) miss their range by a few times 6e-8; `check.textbook` allows the same.
TOLERANCE: Final = 1e-6


def check_reduction(function: str, reduction: str, choices: tuple[str, ...] = REDUCTIONS) -> str:
    """`reduction` if it is one of `choices`, else an error that lists them."""
    wanted = f"{function}: reduction must be one of {', '.join(map(repr, choices))}"
    if not isinstance(reduction, str):
        raise TypeError(f"{wanted}; got a {type(reduction).__name__}. Weights go by name: weight=...")
    if reduction not in choices:
        raise ValueError(f"{wanted}; got {reduction!r}")
    return reduction


def reduced(function: str, loss: Array, reduction: str, counts: ndarray | None = None) -> Tensor:
    """One number out of the losses of all elements; for the course the last of several axes is that of the classes.

    `counts` is what each element counts in an average; all the same without it.
    """
    if reduction != "none":
        divisor = _divisor(function, loss.shape, reduction, counts)
        loss = loss.sum() / divisor if divisor != 1 else loss.sum()
    return loss  # type: ignore[no-any-return]  # a Tensor, which NumPy's functions are not declared to give


def _divisor(function: str, shape: tuple[int, ...], reduction: str, counts: ndarray | None) -> float:
    if reduction == "sum":
        return 1
    size = math.prod(shape)
    if not size:
        raise ValueError(f"{function}: reduction={reduction!r} of no elements; the shape is {shape}")
    if counts is not None:
        count = float(counts.sum())
        if not count:
            raise ValueError(f"{function}: reduction={reduction!r}, but no target counts: ignored, or of weight 0")
        return count
    if reduction == "batchmean":
        return shape[0] if shape else 1
    return size // shape[-1] if reduction == "course" and len(shape) > 1 else size


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
    on_plain_arrays(_check_fractions, checked, function)
    return checked


def _check_fractions(values: ndarray, function: str) -> None:
    if values.size:
        low, high = values.min(), values.max()
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            hint = ". Labels become targets by one_hot" if 1 < high < np.inf and not (values % 1).any() else ""
            raise ValueError(f"{function}: targets must be in [0, 1]; they reach from {low:g} to {high:g}{hint}")


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


def counting_labels(
    function: str, labels: Array, count: int, shape: tuple[int, ...], ignored: int | None
) -> tuple[ndarray, ndarray | None]:
    """Checked labels, with 0 in the place of those that are `ignored`; and which count, None if all do."""
    trace = MODE.get().trace
    if trace is not None and isinstance(labels, Tensor):
        try:
            on_plain_arrays(_check_all_count, labels, function, count, shape, ignored)
        except Unforeseen:
            trace.fail("a label is ignored", again=True)
        else:
            return labels, None  # type: ignore[return-value]  # a Tensor, so that the trace sees what is made of it
    values = values_of(labels if isinstance(labels, Tensor) else np.asarray(labels))
    counted = None
    if _all_count(values, count, shape, ignored):
        return values, None
    if ignored is not None and values.dtype.kind in "iu":
        counted = values != ignored
        if counted.all():
            counted = None
        else:
            values = np.where(counted, values, 0)
    check_labels(function, values, count, shape)
    return values, counted


def _check_all_count(labels: ndarray, function: str, count: int, shape: tuple[int, ...], ignored: int | None) -> None:
    """Check labels in each replay. It gives nothing: a result that nobody reads is left out, and its check with it."""
    checked = _all_count(labels, count, shape, ignored)
    if not checked and counting_labels(function, labels, count, shape, ignored)[1] is not None:
        raise Unforeseen


def _all_count(labels: ndarray, count: int, shape: tuple[int, ...], ignored: int | None) -> bool:
    """Whether these are labels, one at least, and none is to be ignored."""
    if labels.dtype.kind not in "iu" or not labels.size or labels.shape != shape:
        return False
    if ignored is not None and 0 <= ignored < count:
        return False
    # Those below 0 are the largest as unsigned numbers: one pass for both bounds.
    return bool(np.maximum.reduce(labels.view(f"u{labels.itemsize}"), axis=None) < count)


def counts_of(labels: ndarray, weights: ndarray | None, counted: ndarray | None) -> ndarray | None:
    """What each label counts: the weight of its class, and nothing if it is ignored; None if all count the same."""
    if weights is None:
        return counted
    own: ndarray = weights[labels]
    return own if counted is None else own * counted


def check_rows(function: str, name: str, z: Tensor) -> int:
    """The number of classes of `z`, which must be rows of them, or one."""
    if z.ndim not in (1, 2) or not z.shape[-1]:
        raise ShapeError(f"{function}: {name} must be (m, K) or (K,), with K > 0 classes; got {z.shape}")
    return z.shape[-1]


def factors(function: str, name: str, weight: Array, z: Tensor) -> ndarray:
    """Weights as an array in the dtype of `z`, to whose shape they broadcast."""
    refuse_tracked(function, name, weight)
    values = np.asarray(plain(weight))
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{function}: {name} has dtype {values.dtype}, wanted real numbers")
    if values.ndim > z.ndim or any(n not in (1, m) for n, m in zip(values.shape[::-1], z.shape[::-1], strict=False)):
        raise ShapeError(f"{function}: {name} is {values.shape}, which does not broadcast to {z.shape}")
    if values.size and not values.min() >= 0:
        raise ValueError(f"{function}: {name} must be >= 0; it has {values.min():g}")
    return values.astype(z.dtype)


def class_weights(function: str, weight: Array, count: int, z: Tensor) -> ndarray:
    """A weight for each class, in the dtype of `z`."""
    if np.shape(plain(weight)) != (count,):
        raise ShapeError(f"{function}: weight is {np.shape(plain(weight))}, wanted one for each class, {(count,)}")
    return factors(function, "weight", weight, z)


def rows_of(labels: ndarray, z: Tensor) -> ndarray:
    """A row for each label with a 1 in its column, in the dtype of the logits `z`."""
    rows: ndarray = on_plain_arrays(_rows_of, labels, z.shape[-1], z.dtype)
    return rows


def _rows_of(labels: ndarray, count: int, dtype: Any) -> ndarray:
    rows: ndarray = np.equal.outer(labels, np.arange(count)).astype(dtype)
    rows.flags.writeable = False  # nobody else has it, so it need not be copied when it is kept
    return rows


def values_of(y: Tensor | ndarray) -> ndarray:
    """The values of a Tensor, tracked or not, or of an array."""
    if isinstance(y, Tensor):
        y._escape("a loss looked at its values")
        return y._value
    return y
