"""The course's files: digits (``ex4data1.mat``) and weights (``ex4weights.mat``), as Octave and MATLAB write them.

The label 10 for digit 0 exists in these files only. It stands apart from the reader because a name, a label and the
shapes of consecutive layers are the course's, not MATLAB's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_fnn.data.matlab import read_matlab
from tinygrad_fnn.errors import DataFormatError, ShapeError
from tinygrad_fnn.files import StrPath, opened, replacing

__all__ = ["load_mat_digits", "load_mat_weights", "save_mat_weights"]


def load_mat_digits(path: StrPath) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pictures and labels of a course file, such as ``ex4data1.mat``.

    Parameters
    ----------
    path : str or os.PathLike
        MATLAB file (version 5 to 7.2) with `X`, shape (m, n), and `y`, shape (m, 1), (1, m) or (m,); other variables
        are passed over.

    Returns
    -------
    X : ndarray of float64, shape (m, n)
        A picture a row, as in the file: the course unrolls them column by column.
    y : ndarray of int64, shape (m,)
        The digits 0 to 9; the label 10 of the course has become 0.

    Raises
    ------
    DataFormatError
        If the file is not a MATLAB file that can be read here, `X` or `y` is missing, complex, not finite or not
        numeric, their lengths differ, or a label is not one of 0 to 10.
    TypeError
        If `path` is no path.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read; no extension is added to `path`.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import savemat
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     savemat(f"{folder}/two.mat", {"X": [[0.0, 0.5], [1.0, 0.25]], "y": [[10], [7]]})
    ...     X, y = load_mat_digits(f"{folder}/two.mat")
    >>> y
    array([0, 7])
    """
    where, variables = _variables("load_mat_digits", path)
    missing = [name for name in ("X", "y") if name not in variables]
    if missing:
        raise DataFormatError(f"{where} has no {' and no '.join(missing)}; it has {_listed(variables)}")
    X = _matrix(where, "X", variables["X"])
    y = _matrix(where, "y", variables["y"])
    if y.size != len(X) or 1 not in y.shape:
        raise DataFormatError(f"{where}: y is {y.shape}, X is {X.shape}; wanted a label for each row of X")
    labels = y.ravel()
    wrong = ~np.isin(labels, np.arange(11))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(f"{where}: the label at row {row} (from 0) is {labels[row]:g}, wanted 0 to 10")
    return X, labels.astype(np.int64) % 10


def load_mat_weights(path: StrPath) -> list[NDArray[np.float64]]:
    """Weights of a course file, such as ``ex4weights.mat``.

    Parameters
    ----------
    path : str or os.PathLike
        MATLAB file (version 5 to 7.2) with `Theta1`, `Theta2`, ...; other variables are passed over.

    Returns
    -------
    list of ndarray of float64, shapes (units, 1 + inputs)
        One for each layer, the bias in column 0.

    Raises
    ------
    DataFormatError
        If the file is not a MATLAB file that can be read here, the numbers of the thetas do not go 1, 2, 3, ..., one
        is complex, not finite or not numeric, or their shapes do not follow one another.
    TypeError
        If `path` is no path.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read; no extension is added to `path`.

    See Also
    --------
    save_mat_weights : has an example.
    """
    where, variables = _variables("load_mat_weights", path)
    names = [f"Theta{k}" for k in range(1, 1 + sum(bool(re.fullmatch(r"Theta\d+", name)) for name in variables))]
    if not names or not variables.keys() >= set(names):
        raise DataFormatError(f"{where} has {_listed(variables)}; wanted Theta1, Theta2, ... without a gap")
    thetas = [_matrix(where, name, variables[name]) for name in names]
    fault = _chain_fault(thetas)
    if fault:
        raise DataFormatError(f"{where}: {fault}")
    return thetas


def save_mat_weights(path: StrPath, thetas: Sequence[ArrayLike]) -> None:
    """Write weights as `Theta1`, `Theta2`, ... to a file that Octave, MATLAB and `load_mat_weights` read.

    Parameters
    ----------
    path : str or os.PathLike
        Used exactly as given, no extension is added. A file that exists is replaced whole, or, if anything fails, kept.
    thetas : sequence of array_like, shapes (units, 1 + inputs)
        One for each layer, the bias in column 0; real and finite. Written as float64 in MATLAB's format 5.

    Raises
    ------
    ShapeError
        If there are none, one is not a matrix, or their shapes do not follow one another.
    TypeError
        If one is not of real numbers.
    ValueError
        If one has a NaN or an infinity, which `load_mat_weights` would refuse.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_mat_weights(f"{folder}/weights.mat", [np.zeros((25, 401)), np.ones((10, 26))])
    ...     [theta.shape for theta in load_mat_weights(f"{folder}/weights.mat")]
    [(25, 401), (10, 26)]
    """
    from scipy.io import savemat

    matrices = [np.asarray(theta) for theta in thetas]
    if not matrices:
        raise ShapeError("save_mat_weights: thetas is empty, wanted a matrix for each layer")
    for k, theta in enumerate(matrices, 1):
        if theta.ndim != 2:
            raise ShapeError(f"save_mat_weights: Theta{k} is {theta.shape}, wanted (units, 1 + inputs)")
        if theta.dtype.kind not in "biuf":
            raise TypeError(f"save_mat_weights: Theta{k} is {theta.dtype}, wanted real numbers")
        if not np.isfinite(theta).all():
            raise ValueError(f"save_mat_weights: Theta{k} has a NaN or an infinity; the file is left as it was")
    fault = _chain_fault(matrices)
    if fault:
        raise ShapeError(f"save_mat_weights: {fault}")
    with replacing(path) as file:
        named = {f"Theta{k}": theta.astype(np.float64) for k, theta in enumerate(matrices, 1)}
        savemat(file, named)  # type: ignore[arg-type, unused-ignore]  # the stubs know paths only


def _variables(function: str, path: StrPath) -> tuple[str, dict[str, NDArray[np.float64] | str]]:
    """The beginning of messages of `function` about `path`, and every variable of that MATLAB file."""
    where = f"{function}: {path}"
    with opened(function, path) as file:
        content = file.read()
    try:
        return where, read_matlab(content)
    except DataFormatError as fault:
        raise DataFormatError(f"{where} {fault}") from fault.__cause__


def _matrix(where: str, name: str, value: NDArray[np.float64] | str) -> NDArray[np.float64]:
    """`value`, if it is a finite matrix."""
    if isinstance(value, str):
        raise DataFormatError(f"{where}: {name} is {value}, wanted a full matrix of real numbers")
    if not np.isfinite(value).all():
        row, column = np.argwhere(~np.isfinite(value))[0]
        raise DataFormatError(f"{where}: {name}[{row}, {column}] (from 0) is {value[row, column]}, wanted a number")
    return value


def _chain_fault(thetas: Sequence[NDArray[np.generic]]) -> str | None:
    """What is wrong with the shapes of consecutive layers: each reads a bias and the units of the one before."""
    for k, (theta, following) in enumerate(itertools.pairwise(thetas), 1):
        if following.shape[1] != theta.shape[0] + 1:
            return (
                f"Theta{k} is {theta.shape} and Theta{k + 1} is {following.shape}; "
                f"Theta{k + 1} needs {theta.shape[0] + 1} columns, the bias and the {theta.shape[0]} units of Theta{k}"
            )
    return None


def _listed(variables: Iterable[str]) -> str:
    return ", ".join(variables) or "no variables"
