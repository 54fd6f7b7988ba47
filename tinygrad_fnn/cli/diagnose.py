"""`diagnose`: the mistake in a gradient computed by hand."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import sys
import traceback
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from .. import data, nn
from ..check._problem import ACTIVATIONS, OUTPUTS, REDUCTIONS, as_problem
from ..check.diagnose import diagnose
from ..data.matlab import read_matlab
from ..errors import DataFormatError
from ..files import replacing
from .options import command, writing

__all__ = ["add"]

_TEXT: Final = """\
name the mistake in a gradient computed by hand

GRADIENTS is one of

- a Python file with a function gradients(thetas, X, Y, l2) that returns a list of arrays shaped like thetas, or a dict
  with the names below;
- an .npz or .mat file with Theta1_grad, Theta2_grad, ... (or arr_0, arr_1, ...), or with one unrolled vector, grad.

Without other options the network is 400-25-10 with seeded random weights, and the examples are 100 of the digits that
come with the package. A Python file is simply given the problem; for the other files, write it first."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn diagnose my_gradients.py
  python -m tinygrad_fnn diagnose --write problem.mat     # Theta1, Theta2, X, Y, l2, for any language
  python -m tinygrad_fnn diagnose my_gradients.mat

exit code: 0 the gradient is right, 1 it is wrong, 2 the input is no gradient"""


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    option = command(commands, "diagnose", _TEXT, _run, _EXAMPLES).add_argument
    option("gradients", nargs="?", type=Path, metavar="GRADIENTS", help="a .py, .npz or .mat file")
    option("--thetas", type=Path, help="weights, a .mat or .npz file with Theta1, Theta2, ... (bias column first)")
    option("--data", type=Path, help=".mat file with X and y, or .npz file with X and y or Y; the digits by default")
    option("--examples", type=int, default=100, help="how many of them, spread evenly; 0 for all (default: 100)")
    option(
        "--hidden", type=int, nargs="*", default=[25], help="units of the hidden layers of random weights (default: 25)"
    )
    option("--seed", type=int, default=0, help="of the random weights (default: 0)")
    option("--l2", type=float, default=1.0, help="lambda, the weight of the penalty (default: 1)")
    option("--activation", choices=ACTIVATIONS, default="sigmoid", help="of the hidden layers (default: sigmoid)")
    option("--output", choices=OUTPUTS, default="sigmoid", help="last layer, with its loss (default: sigmoid)")
    option("--reduction", choices=REDUCTIONS, default="course", help="of the loss (default: course)")
    option("--write", type=Path, metavar="FILE", help="write the problem to a new .mat or .npz file, and stop")
    option("--json", action="store_true", help="print the diagnosis as JSON")


def _run(options: argparse.Namespace) -> int:
    if options.write is not None and options.gradients is not None:
        raise ValueError(
            f"--write writes the problem and stops; {options.gradients} would not be looked at. Leave out one of them"
        )
    if options.write is not None and options.write.exists():
        raise ValueError(f"--write {options.write} exists; give it another name, or delete it")
    X, Y = _examples(options.data, options.examples)
    thetas = _thetas(options, X.shape[1], Y.shape[1])
    if options.write is not None:
        _write(options.write, thetas, X, Y, options.l2)
        return 0
    if options.gradients is None:
        raise ValueError("which gradients? give a .py, .npz or .mat file; --help has examples")
    keywords = {key: getattr(options, key) for key in ("activation", "output", "reduction")}
    as_problem("the question", thetas, X, Y, options.l2, **keywords)  # before the learner's file is blamed for it
    given = _gradients(options.gradients, thetas, X, Y, options.l2)
    try:
        found = diagnose(given, thetas, X, Y, options.l2, **keywords)
    except (ValueError, TypeError) as error:
        raise ValueError(_in_words(error, options.gradients)) from error
    shapes = [np.shape(array) for array in given] if isinstance(given, list | tuple) else []
    wanted = [theta.shape for theta in thetas]
    turned = len(shapes) == len(wanted) and shapes != wanted and found.name == "unknown"
    note = f"Its arrays have shapes {shapes}, wanted {wanted}; they were transposed to be looked at." if turned else ""
    if options.json:
        answer = {
            "ok": found.ok,
            "name": found.name,
            "where": found.where,
            "message": f"{found.message} {note}".rstrip(),
        }
        print(json.dumps(answer | {"candidates": [list(pair) for pair in found.candidates]}, indent=2))
    else:
        print(f"{found}\n{note}".rstrip())
    return 0 if found.ok else 1


def _examples(path: Path | None, count: int) -> tuple[ndarray, ndarray]:
    """X and Y, the latter one-hot where the file has labels; `count` of them, spread evenly."""
    if count < 0:
        raise ValueError(f"--examples is {count}, wanted 0 or more")
    if path is not None and path.suffix == ".npz":
        arrays = _arrays(path)
        X, Y = arrays.get("X"), arrays.get("Y", arrays.get("y"))
        if X is None or Y is None:
            raise DataFormatError(f"{path}: wanted X and y (or Y), it has {', '.join(arrays) or 'nothing'}")
    elif path is None:
        X, Y = data.digits()
    elif path.suffix == ".mat":
        X, Y = data.load_mat_digits(path)
    else:
        raise ValueError(f"--data {path}: wanted a .mat file with X and y, or an .npz file with X and y or Y")
    if X.ndim != 2 or Y.ndim not in (1, 2) or len(Y) != len(X):
        raise ValueError(f"--data: X is {X.shape} and y is {Y.shape}, wanted (m, features) and (m,) or (m, outputs)")
    if not X.size:
        raise ValueError(f"--data: X is {X.shape}, wanted at least one example, with at least one feature")
    if X.dtype.kind not in "biuf" or Y.dtype.kind not in "biuf":
        raise ValueError(f"--data: X is of {X.dtype} and y of {Y.dtype}, wanted numbers")
    if Y.ndim == 1 or (Y.shape[1] == 1 and Y.dtype.kind in "iu"):
        if not np.array_equal(Y, np.asarray(Y, int)):
            raise ValueError(
                "--data: y has labels that are no integers; give one-hot rows or other targets as Y (m, outputs)"
            )
        if Y.min() < 0 or Y.max() > 9:
            raise ValueError(
                f"--data: y has labels from {Y.min()} to {Y.max()}, wanted 0 to 9; "
                "give others as one-hot rows, Y (m, outputs)"
            )
        Y = nn.functional.one_hot(Y.ravel().astype(int), 10).numpy()
    rows = np.linspace(0, len(X) - 1, count).astype(int) if 0 < count < len(X) else slice(None)
    return X[rows], Y[rows]


def _thetas(options: argparse.Namespace, inputs: int, outputs: int) -> list[ndarray]:
    if options.thetas is not None:
        return _numbered(options.thetas, _arrays(options.thetas, "--thetas "), "Theta{}")
    sizes = [inputs, *options.hidden, outputs]
    if min(sizes) < 1 or max(sizes) > 10**5:
        raise ValueError(f"--hidden is {options.hidden}, wanted numbers of units from 1 to 100000")
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}, wanted 0 or more")
    rng = np.random.default_rng(options.seed)
    return [rng.uniform(-1, 1, (out, into + 1)) * nn.init.glorot_bound(into, out) for into, out in pairwise(sizes)]


def _arrays(path: Path, option: str = "") -> dict[str, Any]:
    """The arrays of an .npz or .mat file, by name; `option` named it."""
    if path.suffix not in (".mat", ".npz"):
        raise ValueError(f"{option}{path}: wanted a .mat or .npz file")
    if path.suffix == ".mat":
        try:
            return dict(read_matlab(path.read_bytes()))
        except DataFormatError as error:
            raise DataFormatError(f"{path}: {error}") from error
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file}
    except OSError:
        raise
    except Exception as error:  # whatever a damaged archive makes zipfile and NumPy raise
        raise DataFormatError(f"{path}: no .npz file of plain arrays (objects are not loaded)") from error


def _numbered(path: Path, arrays: dict[str, Any], name: str) -> list[Any]:
    """Theta1, Theta2, ... or arr_0, arr_1, ...: as many as there are."""
    for form, first in ((name, 1), ("arr_{}", 0)):
        found: list[Any] = []
        while form.format(first + len(found)) in arrays:
            found.append(arrays[form.format(first + len(found))])
        if found:
            return found
    raise DataFormatError(
        f"{path}: wanted {name.format(1)}, {name.format(2)}, ...; it has {', '.join(arrays) or 'nothing'}"
    )


def _gradients(path: Path, thetas: list[ndarray], X: ndarray, Y: ndarray, l2: float) -> Any:
    if path.suffix in (".npz", ".mat"):
        return _in_order(path, _arrays(path))
    if path.suffix != ".py":
        raise ValueError(f"{path}: wanted a .py, .npz or .mat file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    sys.path.insert(0, str(path.resolve().parent))  # as `python my_gradients.py` has it
    try:
        names = runpy.run_path(str(path))
        if not callable(names.get("gradients")):
            raise ValueError(f"{path}: wanted a function gradients(thetas, X, Y, l2)")
        # Copies: what the learner's code writes to must not change the question.
        given = names["gradients"]([t.copy() for t in thetas], X.copy(), Y.copy(), l2)
    except SyntaxError as error:  # the traceback ends where Python reads the file, not in it
        place = f"{error.filename}:{error.lineno}"
        raise ValueError(f"{path} raised {type(error).__name__}: {error.msg} ({place})") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise ValueError(f"{path} raised {type(error).__name__}: {error} ({line.filename}:{line.lineno})") from error
    finally:
        sys.path.pop(0)
    return _in_order(path, given) if isinstance(given, dict) else given


def _in_words(error: Exception, path: Path) -> str:
    """What is wrong with the learner's gradient, which `diagnose` calls by the name of its argument."""
    text = re.sub(r"wrong\[\d+\], (the gradient of layer \d+),", r"\1", str(error))
    return f"{path}: {re.sub('^diagnose: (wrong: )?', '', text).replace('wrong ', 'its gradient ')}"


def _in_order(path: Path, arrays: dict[str, Any]) -> Any:
    """Gradients by name as a list, or as the unrolled vector that there is."""
    if "grad" not in arrays:
        return _numbered(path, arrays, "Theta{}_grad")
    try:
        return np.ravel(arrays["grad"], order="F")
    except ValueError as error:  # a list of arrays that differ in shape
        raise ValueError(f"{path}: grad is no array; wanted one vector, or Theta1_grad, Theta2_grad, ...") from error


def _write(path: Path, thetas: list[ndarray], X: ndarray, Y: ndarray, l2: float) -> None:
    arrays: dict[str, Any] = {f"Theta{k}": theta for k, theta in enumerate(thetas, 1)} | {"X": X, "Y": Y, "l2": l2}
    if path.suffix not in (".npz", ".mat"):
        raise ValueError(f"--write {path}: wanted a name that ends in .mat or .npz")
    with writing(f"--write {path}"), replacing(path) as file:
        if path.suffix == ".npz":
            np.savez(file, **arrays)
        else:
            from scipy.io import savemat  # slow to import

            savemat(file, arrays)  # type: ignore[arg-type]  # an open file will do; the stubs want a path
    print(f"{path}: {', '.join(arrays)}")
