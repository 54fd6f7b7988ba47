"""Where examples come from: the digits of the package, and four kinds of files."""

from __future__ import annotations

import argparse
import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy import ndarray

from .. import data
from ..errors import DataFormatError

__all__ = ["DIGITS", "Examples", "Source", "add_source", "as_argument", "guessed", "read", "sample"]

MOST_CLASSES: Final = 1000
COURSE: Final = 400  # pixels of the course's pictures, unrolled column by column

_SUFFIXES: Final = {".mat": "mat", ".npz": "npz", ".csv": "csv", ".tsv": "csv", ".txt": "csv"}


Classes: TypeAlias = tuple[int, ...] | tuple[str, ...]


class Source(NamedTuple):
    """A place that examples come from: a kind, and the file or folder."""

    kind: str
    path: Path | None = None

    def __str__(self) -> str:
        return "the digits of the package" if self.path is None else str(self.path)


DIGITS: Final = Source("digits")


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples with labels.

    Attributes
    ----------
    X : ndarray, shape (m, n)
    labels : ndarray of int or str, shape (m,)
        As in the file.
    classes : tuple of int or of str
        The labels that there are, in order; 0 to 9 for digits.
    column_major : bool
        How pictures are unrolled, if these are pictures.
    source : str
        For messages.
    """

    X: ndarray
    labels: ndarray
    classes: Classes
    column_major: bool
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def numbered(self, classes: Classes) -> ndarray:
        """The labels as positions in `classes`, shape (m,)."""
        known = np.asarray(classes)
        if (known.dtype.kind == "U") == (self.labels.dtype.kind == "U"):
            places = np.searchsorted(known, self.labels)
            wrong = known[np.minimum(places, len(known) - 1)] != self.labels
        else:  # texts beside numbers
            places, wrong = np.zeros(len(self), int), np.ones(len(self), bool)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{self.source}: the label at row {row} (from 0) is {self.labels[row]}, the model knows "
                f"{', '.join(map(str, classes[:12]))}{', ...' if len(classes) > 12 else ''}"
            )
        return places


# --- options --------------------------------------------------------------------------------------------------------


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that say where examples come from."""
    group = parser.add_argument_group("examples", "the 5000 digits of the package, 20 x 20, or one of")
    which = group.add_mutually_exclusive_group()
    texts = {
        "mat": ("FILE", "MATLAB file with X and y, as ex4data1.mat of the course; label 10 is digit 0"),
        "mnist": ("FOLDER", "folder with the files of MNIST, IDX, plain or gzipped; its test set is tested on"),
        "npz": ("FILE", "NumPy file with X (m, ...) and whole numbers y (m,)"),
        "csv": ("FILE", "text with an example a line; labels are whole numbers, or all of them texts"),
    }
    for kind, (metavar, text) in texts.items():
        which.add_argument(f"--{kind}", dest="source", type=_of_kind(kind), metavar=metavar, help=text)
    which.set_defaults(source=DIGITS)
    add_label_column(group)


def add_label_column(group: argparse._ActionsContainer) -> None:
    """The option that says where the labels of a table are."""
    group.add_argument(
        "--label-column",
        default="-1",
        metavar="COLUMN",
        help="of a CSV file, its name or number from 0 (default: the last)",
    )


def _of_kind(kind: str) -> Callable[[str], Source]:
    return lambda text: Source(kind, Path(text))


def guessed(text: str) -> Source:
    """The source that a path without a kind is: a folder is MNIST, and a file what its suffix says."""
    path = Path(text)
    kind = "mnist" if path.is_dir() else _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise argparse.ArgumentTypeError(
            f"{text}: wanted a file that ends in {', '.join(_SUFFIXES)}, or a folder with the files of MNIST"
        )
    return Source(kind, path)


def as_argument(source: Source, label: str) -> str | None:
    """What stands on a command line for `guessed` to find the source, a space before it; None if it cannot be found."""
    if source.path is None:
        return ""
    try:
        if guessed(str(source.path)) != source:
            return None
    except argparse.ArgumentTypeError:
        return None
    column = f" {shlex.quote(f'--label-column={label}')}" if source.kind == "csv" and label != "-1" else ""
    return f" {shlex.quote(str(source.path))}{column}"


# --- reading --------------------------------------------------------------------------------------------------------


def read(
    source: Source, label: str = "-1", *, part: str = "train", pixels: int = COURSE, dtype: str = "float64"
) -> Examples:
    """The examples of a source.

    Parameters
    ----------
    source : Source
    label : str
        Column of the labels, for a table.
    part : {'train', 't10k'}
        Of MNIST.
    pixels : int
        Of the digits of the package: 784, or else 400.
    dtype : {'float64', 'float32'}
        Of X.
    """
    X: ndarray
    y: ndarray
    columns = source.kind == "mat"
    if source.path is None:
        size = 28 if pixels == 28 * 28 else 20
        X, y = data.digits(28) if size == 28 else data.digits()
        columns = size == 20
    elif source.kind == "mnist":
        X, y = _mnist(source.path, part, dtype)
    elif source.kind == "mat":
        X, y = data.load_mat_digits(source.path)
    elif source.kind == "npz":
        X, y = data.load_npz_data(source.path)
        columns = math.prod(X.shape[1:]) == COURSE
    else:
        column = int(label) if re.fullmatch(r"-?\d+", label) else label
        X, y = data.load_csv_data(source.path, label=column, text=True)
        columns = X.shape[1] == COURSE
    if not X.size:
        raise DataFormatError(f"{source}: X is {X.shape}; wanted at least one example, with at least one feature")
    of_digits = source.kind in ("digits", "mnist", "mat")
    classes: Any = tuple(range(10)) if of_digits else tuple(np.unique(y).tolist())  # Any: of either kind
    if len(classes) > MOST_CLASSES:
        raise DataFormatError(
            f"{source} has {len(classes)} different labels, wanted {MOST_CLASSES} at most; are these labels at all?"
        )
    return Examples(X.reshape(len(X), -1).astype(dtype, copy=False), y, classes, columns, str(source))


def _mnist(folder: Path, part: str, dtype: str) -> tuple[ndarray, ndarray]:
    files = []
    for kind in ("images", "labels"):
        found = sorted(folder.glob(f"{part}-{kind}*"))
        if not found:
            there = "there is no such folder" if not folder.is_dir() else f"there is no {part}-{kind}* in it"
            raise FileNotFoundError(f"{folder}: {there}; wanted train-images-idx3-ubyte and the other three of MNIST")
        files.append(found[0])
    return data.load_mnist(*files, dtype=dtype)  # here, since in float64 MNIST takes 0.4 GB


def sample(examples: Examples, count: int) -> Examples:
    """`count` of the examples, spread evenly; all of them if that is 0."""
    if not 0 < count < len(examples):
        return examples
    rows = np.linspace(0, len(examples) - 1, count).astype(int)
    return replace(examples, X=examples.X[rows], labels=examples.labels[rows])
