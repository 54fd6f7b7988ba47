"""The learner's gradient as it comes: arrays or one vector, any order and width; and what is no gradient is refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem, real_array, roll
from tinygrad_fnn.errors import ShapeError

__all__ = ["Given", "read_gradient"]

FUNCTION = "diagnose"


class Given(NamedTuple):
    """A gradient in order.

    Attributes
    ----------
    arrays : list of L arrays, shape (out, in + 1), float64, C order
    transposed : bool
        Whether every array had to be transposed to fit.
    width : {2, 4, 8}
        Bytes of the narrowest floating-point numbers in it: how many digits can be asked of it.
    """

    arrays: list[Float]
    transposed: bool
    width: int


def read_gradient(wrong: object, problem: Problem) -> Given:
    """`wrong` as arrays shaped like the thetas of `problem`.

    Raises
    ------
    ShapeError
        Another number of layers, another shape, a vector of another length.
    ValueError
        NaN or infinity.
    TypeError
        Complex, text or object data, or no list of arrays at all.
    """
    if isinstance(wrong, np.ndarray) and wrong.ndim == 3:
        wrong = list(wrong)
    if isinstance(wrong, np.ndarray) or (isinstance(wrong, list | tuple) and wrong and all(map(np.isscalar, wrong))):
        return _read_vector(np.asarray(wrong), problem)
    if not isinstance(wrong, list | tuple):
        hint = "; pass its .thetas" if hasattr(wrong, "thetas") else ""
        if hasattr(wrong, "parameters"):
            hint = (
                ", a model; after backward() the gradient of each of its Linear layers is "
                "numpy.column_stack([layer.b.grad, layer.W.grad])"
            )
        raise TypeError(
            f"{FUNCTION}: wrong must be a list of arrays shaped like thetas, or one vector; "
            f"got {type(wrong).__name__}{hint}"
        )
    if len(wrong) != len(problem.thetas):
        came = ", ".join(str(getattr(array, "shape", type(array).__name__)) for array in wrong)
        raise ShapeError(
            f"{FUNCTION}: wrong has {len(wrong)} layers, expected {len(problem.thetas)}, one array for each of thetas; "
            f"wrong holds [{came}], thetas are {problem.shapes}"
        )
    arrays = [real_array(FUNCTION, _name(l), array) for l, array in enumerate(wrong)]
    width = min(_width(array) for array in wrong)
    shapes = [array.shape for array in arrays]
    if shapes == problem.shapes:
        return Given([np.ascontiguousarray(array) for array in arrays], False, width)
    if shapes == [(columns, out) for out, columns in problem.shapes]:
        return Given([np.ascontiguousarray(array.T) for array in arrays], True, width)
    for l, (shape, expected) in enumerate(zip(shapes, problem.shapes, strict=True)):
        if shape != expected:
            raise ShapeError(
                f"{FUNCTION}: wrong: gradient of layer {l} has shape {shape}, expected {expected}"
                f"{_hint(shape, expected)}"
            )
    raise AssertionError  # one of the shapes differs


def _read_vector(vector: np.ndarray, problem: Problem) -> Given:
    size = sum(out * columns for out, columns in problem.shapes)
    if vector.dtype.kind not in "biuf":
        real_array(FUNCTION, "wrong", vector)
    if vector.shape in {(size, 1), (1, size)}:  # as scipy.io.loadmat gives a vector
        vector = vector.ravel()
    if vector.shape != (size,):
        hint = ""
        if vector.ndim == 2 and len(problem.thetas) == 1:
            hint = ". For a network of one layer: [gradient]"
        elif vector.size == size - sum(out for out, _ in problem.shapes):
            hint = ": are the bias columns missing?"
        raise ShapeError(
            f"{FUNCTION}: wrong has shape {vector.shape}, expected ({size},): arrays of shapes {problem.shapes}, "
            f"unrolled column by column{hint}"
        )
    with np.errstate(over="ignore"):  # a longdouble beyond float64 is found below
        rolled = roll(vector.astype(np.float64), problem.shapes)
    arrays = [real_array(FUNCTION, _name(l), array) for l, array in enumerate(rolled)]
    return Given(arrays, False, _width(vector))


def _name(layer: int) -> str:
    return f"wrong[{layer}], the gradient of layer {layer},"


def _width(array: object) -> int:
    dtype = np.asarray(array).dtype
    return min(dtype.itemsize, 8) if dtype.kind == "f" else 8


def _hint(shape: tuple[int, ...], expected: tuple[int, int]) -> str:
    out, columns = expected
    if shape == (out, columns - 1):
        return ": is the bias column missing?"
    if shape == (columns, out):
        return ": is it transposed?"
    if out == 1 and shape == (columns,):
        return ": give it as a row, reshape(1, -1)"
    return ""
