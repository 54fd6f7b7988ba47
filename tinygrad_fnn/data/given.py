"""What a caller passes, as arrays of numbers and as counts, or refused by name.

It stands apart because loader, splits, transforms and toy sets ask the same questions, and the errors must read alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinygrad_fnn.errors import ShapeError

__all__ = ["NUMBERS", "REAL", "arrays_of", "count_of", "numbers_of"]

NUMBERS: Final = "biufc"
REAL: Final = "iuf"


def numbers_of(function: str, name: str, given: Any, kinds: str = NUMBERS) -> NDArray[Any]:
    """`given` as an ndarray with a dtype of one of `kinds`; what is one already is not copied.

    Raises
    ------
    TypeError
        If it is sparse, masked, ragged, or of another dtype.

    Examples
    --------
    >>> numbers_of("split", "labels", [0, 1])
    array([0, 1])
    """
    if hasattr(given, "toarray"):
        raise TypeError(f"{function}: {name} is sparse ({type(given).__name__}); pass its toarray()")
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array, whose mask would be lost; pass its filled(value)")
    try:
        array = np.asarray(given)
    except ValueError as error:  # NumPy's word for ragged lists
        raise TypeError(f"{function}: {name} does not make an array: {error}") from None
    if array.dtype.kind not in kinds:
        wanted = "numbers" if kinds == NUMBERS else "real numbers"
        raise TypeError(f"{function}: {name} is of dtype {array.dtype}, wanted {wanted}")
    return array


def arrays_of(function: str, arrays: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """`arrays` as ndarrays of numbers, all of one length; what is an ndarray already is not copied.

    Raises
    ------
    TypeError
        If one is sparse, masked, ragged, or not of numbers.
    ShapeError
        If one has no axis, or they differ in length.
    ValueError
        If there are none.

    Examples
    --------
    >>> arrays_of("split", ([[1.0], [2.0]], [0, 1]))
    (array([[1.], [2.]]), array([0, 1]))
    """
    if not arrays:
        raise ValueError(f"{function}: the tuple of arrays is empty")
    converted = []
    for k, given in enumerate(arrays):
        name = f"array {k}" if len(arrays) > 1 else "the array"
        array = numbers_of(function, name, given)
        if not array.ndim:
            raise ShapeError(f"{function}: {name} is a single number, wanted an array with an example a row")
        converted.append(array)
    if len(set(map(len, converted))) > 1:
        shapes = ", ".join(str(array.shape) for array in converted)
        raise ShapeError(f"{function}: the arrays differ in length: {shapes}; wanted a row of each for every example")
    return tuple(converted)


def count_of(function: str, name: str, value: object, hint: str = "") -> int:
    """`value` as a positive int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive.

    Examples
    --------
    >>> count_of("moons", "n", np.int64(3))
    3
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, wanted an integer > 0{hint}")
    if value <= 0:
        raise ValueError(f"{function}: {name} is {value}, wanted an integer > 0")
    return int(value)
