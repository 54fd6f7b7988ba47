"""What layers and losses are told, checked: counts and numbers. The errors of all of them read alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["count_of", "floating_of", "number_of"]


def count_of(function: str, name: str, value: object) -> int:
    """`value` as a positive int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive.

    Examples
    --------
    >>> count_of("Linear", "in_features", np.int64(3))
    3
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer > 0; got {value!r}")
    if value <= 0:
        raise ValueError(f"{function}: {name} must be > 0; got {value}")
    return int(value)


def number_of(function: str, name: str, value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite float in [low, high].

    Raises
    ------
    TypeError
        If it is no real number; text is none.
    ValueError
        If it is out of range, NaN or infinite.

    Examples
    --------
    >>> number_of("Dropout", "p", np.float32(0.5), 0, 1)
    0.5
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if number and low <= value <= high and math.isfinite(value):  # type: ignore[operator,arg-type]  # a number
        return float(value)  # type: ignore[arg-type]
    wanted = "a finite number" if low == -math.inf else f">= {low:g} and finite"
    wanted = wanted if high == math.inf else f"a number in [{low:g}, {high:g}]"
    if not number:
        raise TypeError(f"{function}: {name} must be {wanted}; got {value!r}")
    raise ValueError(f"{function}: {name} must be {wanted}; got {value}")


def floating_of(function: str, dtype: Any) -> np.dtype[Any]:  # Any: a dtype in any of NumPy's spellings
    """`dtype` if it is a floating-point one, else a TypeError."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind.kind != "f":
        raise TypeError(f"{function}: dtype must be floating point; got {kind}")
    return kind
