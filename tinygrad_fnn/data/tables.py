"""Examples with labels from a table: NumPy's ``.npz`` and text with a row a line.

It stands apart because what people have at hand is a table, and because both formats come from strangers: nothing is
unpickled, and a bad cell is named by its line and column.
"""

from __future__ import annotations

import csv
import io
import math
import struct
import zipfile
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tinygrad_fnn.data.idx import DEFLATE_RATIO, MAX_BYTES
from tinygrad_fnn.errors import DataFormatError
from tinygrad_fnn.files import StrPath, opened

__all__ = ["load_csv_data", "load_npz_data"]

DELIMITERS = ("\t", ";", ",")  # in this order, since a comma may also be a decimal one


# What zipfile raises about a damaged file; a name that is no UTF-8 is a ValueError.
_DAMAGE: Final[tuple[type[Exception], ...]] = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError),
    *(ValueError, LookupError, OverflowError),
)


def load_npz_data(
    path: StrPath, *, X: str = "X", y: str = "y", max_bytes: int = MAX_BYTES
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Examples and labels of a file that `numpy.savez` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file; compressed or not.
    X, y : str
        Names of the two arrays in it; others are passed over.
    max_bytes : int
        What each array may take in memory; a gibibyte by default. A small compressed file may unpack to a thousand
        times its size.

    Returns
    -------
    X : ndarray of floating point, shape (m, ...)
        float64 if it was stored as integers.
    y : ndarray of int64, shape (m,)
        Stored as integers, booleans or whole floating-point numbers, in the shape (m,), (m, 1) or (1, m).

    Raises
    ------
    DataFormatError
        If the file is no ``.npz`` file or damaged, an array is missing, of Python objects, not of finite real numbers
        or larger than the file can hold or than `max_bytes`, a label is no whole number, or the lengths differ.
    TypeError
        If `path` is no path.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/two.npz", X=[[0.0, 0.5], [1.0, 0.25]], y=[0, 7])
    ...     load_npz_data(f"{folder}/two.npz")
    (array([[0.  , 0.5 ], [1.  , 0.25]]), array([0, 7]))
    """
    where = f"load_npz_data: {path}"
    with opened("load_npz_data", path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
                missing = [name for name in (X, y) if name not in members]
                if missing:
                    raise DataFormatError(
                        f"has no array {' and no '.join(missing)}; it has {', '.join(members) or 'none'}. "
                        "The names can be given: load_npz_data(path, X=..., y=...)"
                    )
                examples, labels = (_member(archive, members[name], name, max_bytes) for name in (X, y))
        except DataFormatError as fault:
            raise DataFormatError(f"{where} {fault}") from fault.__cause__
        except _DAMAGE as error:
            raise DataFormatError(f"{where} is no .npz file, or damaged: {error}") from error
    if not examples.ndim:
        raise DataFormatError(f"{where}: {X} is a single number, wanted an example a row")
    examples = examples.astype(examples.dtype if examples.dtype.kind == "f" else np.float64, copy=False)
    if not np.isfinite(examples).all():
        place = np.argwhere(~np.isfinite(examples))[0].tolist()
        raise DataFormatError(f"{where}: {X}{place} (from 0) is {examples[tuple(place)]}, wanted a number")
    if labels.size != len(examples) or labels.shape not in ((labels.size,), (labels.size, 1), (1, labels.size)):
        raise DataFormatError(
            f"{where}: {y} is {labels.shape}, {X} is {examples.shape}; wanted a label for each row of {X}"
        )
    labels = labels.ravel()
    wrong = _not_whole(labels)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(f"{where}: {y}[{row}] (from 0) is {labels[row]}, wanted a whole number as label")
    return examples, labels.astype(np.int64)


def load_csv_data(
    path: StrPath,
    *,
    label: int | str = -1,
    delimiter: str | None = None,
    header: bool | None = None,
    text: bool = False,
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    r"""Examples and labels of a text file with an example a line.

    Parameters
    ----------
    path : str or os.PathLike
        Text in UTF-8. Blank lines, and lines that begin with ``#``, are passed over.
    label : int or str
        Column of the label: 0 for the first, -1 for the last, or its name in the header.
    delimiter : str, optional
        One character between cells, or " " for any white space. Without it, what the first line has of tab, semicolon
        and comma, in this order, or else white space.
    header : bool, optional
        Whether the first line has names. Without it, whether a cell of that line is no number, and none is a decimal
        fraction: names that are all whole numbers look like an example, and must be announced.
    text : bool
        Whether labels may be texts, if they all are. Then the first line has names if a cell of a feature is no number,
        or `label` is a name.

    Returns
    -------
    X : ndarray of float64, shape (m, n)
        The other columns, in their order.
    y : ndarray of int64, shape (m,)
        Written as whole numbers, ``3`` or ``3.0``; of str, if the labels are texts.

    Raises
    ------
    DataFormatError
        If the file is not such text: a cell is no finite number, a label no whole one, or a line has more or fewer
        cells than the first; the message gives line and column, counted from 1. If there is no line, no such column, or
        no column besides the label.
    TypeError, ValueError
        If `path`, `label`, `delimiter` or `header` is not as above.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "iris.csv")
    ...     _ = file.write_text("width,length,kind\n1.4,0.2,0\n4.7,1.4,1\n")
    ...     load_csv_data(file, label="kind")
    (array([[1.4, 0.2], [4.7, 1.4]]), array([0, 1]))
    """
    if isinstance(label, bool) or not isinstance(label, int | np.integer | str):
        raise TypeError(f"load_csv_data: label is a {type(label).__name__}, wanted a column's number or name")
    if delimiter is not None and not isinstance(delimiter, str):
        raise TypeError(f"load_csv_data: delimiter is a {type(delimiter).__name__}, wanted one character")
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"#\n\r'):
        raise ValueError(f"load_csv_data: delimiter is {delimiter!r}, wanted one character, not a quote or a #")
    if header is not None and not isinstance(header, bool | np.bool):
        raise TypeError(f"load_csv_data: header is {header!r:.60}, wanted True, False or None")
    if not isinstance(text, bool | np.bool):
        raise TypeError(f"load_csv_data: text is {text!r:.60}, wanted True or False")
    with opened("load_csv_data", path) as file:
        try:
            content = file.read().decode("utf-8-sig")  # spreadsheets put a byte order mark first
        except UnicodeDecodeError as error:
            raise DataFormatError(
                f"load_csv_data: {path} is no text in UTF-8: {error.reason} at byte {error.start}"
            ) from None
    try:
        return _table(content, label, delimiter, header, text)
    except DataFormatError as fault:
        raise DataFormatError(f"load_csv_data: {path} {fault}") from None


# --- npz --------------------------------------------------------------------------------------------------------------


def _member(archive: zipfile.ZipFile, stored: str, name: str, max_bytes: int) -> NDArray[Any]:
    """An array of the archive, if it is no larger than the archive can hold, and than `max_bytes`."""
    entry = archive.getinfo(stored)
    with archive.open(stored) as stream:
        try:
            old = np.lib.format.read_magic(stream) == (1, 0)
            header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = header(stream)
        except ValueError as error:
            raise DataFormatError(f"has a damaged array {name}: {error}") from error
        if dtype.kind not in "biuf":
            hint = "; save it as an array of numbers" if dtype.kind == "O" else ""
            raise DataFormatError(f"has the array {name} of dtype {dtype}, wanted real numbers{hint}")
        size = dtype.itemsize * math.prod(shape)
        if min(shape, default=0) < 0 or size > DEFLATE_RATIO * entry.compress_size:
            raise DataFormatError(f"has an array {name} that declares {dtype} {shape}, more than the file can hold")
        if size > max_bytes:
            raise DataFormatError(f"has an array {name} of {size} bytes, {dtype} {shape}; max_bytes is {max_bytes}")
        data = bytearray(stream.read(size))
        if len(data) < size or stream.read(1):
            raise DataFormatError(f"has an array {name} that is not the {size} bytes of {dtype} {shape}")
    array: NDArray[Any] = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


# --- text -------------------------------------------------------------------------------------------------------------


def _table(
    content: str, label: int | str, delimiter: str | None, header: bool | None, text: bool
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Examples and labels in `content`; the message of an error is the end of a sentence that begins with the path."""
    lines = [
        (number, line)
        for number, line in enumerate(io.StringIO(content, newline=None), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise DataFormatError("has no line with an example")
    separator = delimiter or next((mark for mark in DELIMITERS if mark in lines[0][1]), " ")
    first = _cells(*lines[0], separator)
    detected = header is None
    # A decimal comma will be refused, which it must not escape as a name.
    cells = [cell.replace(",", ".") for cell in first] if separator == ";" else first
    if header is None:
        numbers = [cell for cell in cells if _is_number(cell)]
        header = len(numbers) < len([cell for cell in first if cell]) and not any("." in cell for cell in numbers)
    column = _column(label, first if header else None, len(first))
    last = _cells(*lines[-1], separator)
    named = text and len(last) == len(first) and not _is_number(last[column])
    if named and detected and not isinstance(label, str):
        header = not all(map(_is_number, cells[:column] + cells[column + 1 :]))
    lines = lines[header:]
    if not lines:
        raise DataFormatError("has a header and no line with an example")
    names: dict[str, int] = {}  # of the classes, in the order in which they come
    try:
        table = np.loadtxt(
            [line for _, line in lines],
            delimiter=None if separator == " " else separator,
            comments=None,
            quotechar='"',
            ndmin=2,
            converters={column: lambda cell: names.setdefault(cell.strip(), len(names))} if named else None,
        )
    except ValueError as error:
        raise DataFormatError(
            _fault(lines, separator, len(first), column, named) or f"cannot be read: {error}"
        ) from None
    if table.shape != (len(lines), len(first)) or not np.isfinite(table).all():
        fault = _fault(lines, separator, len(first), column, named)
        raise DataFormatError(fault or "cannot be read: a cell in quotes goes over several lines")
    labels = table[:, column]
    if named:
        odd = [name for name in names if not name or _is_number(name)]
        if odd:
            raise DataFormatError(f"has {odd[0]!r} among labels that are texts; wanted numbers only, or texts only")
        return np.delete(table, column, axis=1), np.array(list(names))[labels.astype(int)]
    wrong = _not_whole(labels)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataFormatError(
            f"has the label {labels[row]} in line {lines[row][0]}, column {column + 1}, wanted a whole number; "
            "is label the right column?"
        )
    return np.delete(table, column, axis=1), labels.astype(np.int64)


def _column(label: int | str, names: list[str] | None, width: int) -> int:
    """Position of the column of labels, from 0."""
    if width < 2:
        raise DataFormatError("has one column, wanted features and a label; is delimiter right?")
    if isinstance(label, str):
        if names is None:
            raise DataFormatError(f"has no header, in which to find the label's column {label!r}; give its number")
        if names.count(label) != 1:
            listed = ", ".join(names if width < 12 else [*names[:5], "...", *names[-5:]])
            raise DataFormatError(f"has {names.count(label) or 'no'} columns named {label!r}; they are {listed}")
        return names.index(label)
    if not -width <= label < width:
        raise DataFormatError(f"has {width} columns, but label is {label}")
    return int(label) % width


def _fault(lines: list[tuple[int, str]], separator: str, width: int, column: int, named: bool) -> str | None:
    """What is wrong with the first line that is wrong."""
    for number, line in lines:
        cells = _cells(number, line, separator)
        if len(cells) != width:
            return f"has {len(cells)} cells in line {number}, wanted {width} as in the first one"
        for k, cell in enumerate(cells):
            if k == column and named:
                continue
            if not _is_number(cell) or not math.isfinite(float(cell)):
                hint = "; number the classes 0, 1, ..." if k == column else ""
                if separator == ";" and _is_number(cell.replace(",", ".")):
                    hint = "; write a decimal comma as a point"
                return f"has {cell[:40]!r} in line {number}, column {k + 1}, wanted a finite number{hint}"
    return None


def _cells(number: int, line: str, separator: str) -> list[str]:
    try:
        return line.split() if separator == " " else [c.strip() for c in next(csv.reader([line], delimiter=separator))]
    except csv.Error as error:
        raise DataFormatError(f"cannot be read at line {number}: {error}") from None


def _is_number(cell: str) -> bool:
    """Whether NumPy reads `cell` as a number, to which underscores and foreign digits do not belong."""
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _not_whole(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a label is no int64."""
    if labels.dtype.kind in "bi":
        return np.zeros(labels.shape, dtype=bool)
    wrong: NDArray[np.bool_] = ~(np.abs(labels) < 2.0**63) | (labels != np.floor(labels))  # so that NaN is no label
    return wrong
