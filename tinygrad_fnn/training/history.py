"""History: the numbers of each epoch, as a table that can be looked at, saved and read again."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, overload

from ..errors import DataFormatError
from ..files import StrPath, opened, replacing
from ..html import table

__all__ = ["History", "Row", "csv_line", "jsonl_line", "number"]

Row = dict[str, float]

_SHOWN: Final = 12  # rows of a representation; of a longer history the first and the last


class History:
    """What `fit` returns: a row of numbers for each whole epoch.

    Parameters
    ----------
    rows : iterable of mapping from str to number
        To start from; copied.

    Attributes
    ----------
    rows : list of dict
        ``{"epoch": 1, "loss": 0.7, "val_loss": 0.8}`` and so on. The same training gives the same rows to the last bit.
    seconds : list of float
        How long each epoch took, apart from the rows since it is never the same twice.
    interrupted : bool
        Whether Ctrl-C ended the training.
    stopped : str
        Why the training ended before its last epoch; empty if it did not.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.7, "val_loss": 0.8}, {"epoch": 2, "loss": 0.5, "val_loss": 0.9}])
    >>> history["loss"]
    [0.7, 0.5]
    >>> history.best("val_loss")["epoch"]
    1
    >>> history
    epoch  loss  val_loss
        1   0.7       0.8
        2   0.5       0.9
    """

    def __init__(self, rows: Any = ()) -> None:  # Any: an iterable of mappings, looked at row by row
        self.rows: list[Row] = []
        self.seconds: list[float] = []
        self.interrupted = False
        self.stopped = ""
        for k, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise TypeError(f"History: rows[{k}] is a {type(row).__name__}, wanted a dict of numbers")
            self.rows.append({str(name): number(f"History: {name}", value) for name, value in row.items()})

    # --- as a table ---------------------------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """The names of the columns, in the order in which they first came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @overload
    def __getitem__(self, key: str) -> list[float]: ...
    @overload
    def __getitem__(self, key: int) -> Row: ...
    def __getitem__(self, key: str | int) -> list[float] | Row:
        """A column by its name, NaN where an epoch has no such number; or a row by its index."""
        if not isinstance(key, str):
            return self.rows[key]
        if key not in self:
            raise KeyError(f"History: no column {key!r}; it has {', '.join(self.keys()) or 'none'}")
        return [row.get(key, math.nan) for row in self.rows]

    def __contains__(self, name: object) -> bool:
        return any(name in row for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def best(self, monitor: str | None = None, mode: str = "min") -> Row:
        """The row of the best epoch, the first of equals.

        Parameters
        ----------
        monitor : str, optional
            The column to go by; 'val_loss' by default, or 'loss' where there is none.
        mode : {'min', 'max'}
            Whether smaller or larger is better.

        Returns
        -------
        dict

        Raises
        ------
        KeyError
            If there is no such column.
        ValueError
            If `mode` is another one, or no epoch has a number there.
        """
        if mode not in ("min", "max"):
            raise ValueError(f"History.best: mode is {mode!r}, wanted 'min' or 'max'")
        name = monitor if monitor is not None else "val_loss" if "val_loss" in self else "loss"
        numbers = [(value, row) for value, row in zip(self[name], self.rows, strict=True) if not math.isnan(value)]
        if not numbers:
            raise ValueError(f"History.best: {name} is NaN in every epoch")
        choose: Callable[..., tuple[float, Row]] = min if mode == "min" else max
        return choose(numbers, key=lambda pair: pair[0])[1]

    # --- files --------------------------------------------------------------------------------------------------

    def to_csv(self, path: StrPath) -> None:
        """Write the rows as comma-separated values under a line of names; each number reads back to the same bits.

        Parameters
        ----------
        path : str or os.PathLike
            Replaced whole. A number that an epoch lacks is an empty cell.
        """
        names = self.keys()
        with replacing(path, "w") as file:
            if names:
                file.write(csv_line(names))
            file.writelines(csv_line([row.get(name) for name in names]) for row in self.rows)

    def to_jsonl(self, path: StrPath) -> None:
        """Write one JSON object per line; each number reads back to the same bits.

        Parameters
        ----------
        path : str or os.PathLike
            Replaced whole. JSON has no NaN and no infinity: they are written as null and as 1e999.
        """
        with replacing(path, "w") as file:
            file.writelines(map(jsonl_line, self.rows))

    @classmethod
    def from_csv(cls, path: StrPath) -> Self:
        """Read what `to_csv` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        History
            Of the rows; times are not in the file.

        Raises
        ------
        DataFormatError
            If it is no such file; names the line.
        """
        import csv  # used here only

        lines = csv.reader(io.StringIO(_text("History.from_csv", path), newline=""))
        names = next(lines, [])
        rows = []
        for k, cells in enumerate(lines, 2):
            if len(cells) != len(names):
                raise DataFormatError(f"{path}, line {k}: {len(cells)} cells, wanted {len(names)}")
            try:
                rows.append({name: _parsed(cell) for name, cell in zip(names, cells, strict=True) if cell})
            except ValueError as error:
                raise DataFormatError(f"{path}, line {k}: {error}") from error
        return cls(rows)

    @classmethod
    def from_jsonl(cls, path: StrPath) -> Self:
        """Read what `to_jsonl` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        History
            Of the rows; times are not in the file.

        Raises
        ------
        DataFormatError
            If it is no such file; names the line.
        """
        rows = []
        for k, line in enumerate(io.StringIO(_text("History.from_jsonl", path)), 1):
            try:
                row = json.loads(line)
                rows.append({name: number(name, math.nan if x is None else x) for name, x in row.items()})
            except (ValueError, TypeError, AttributeError) as error:
                raise DataFormatError(f"{path}, line {k}: wanted a JSON object of numbers: {error}") from error
        return cls(rows)

    # --- to look at ---------------------------------------------------------------------------------------------

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """The names, and the rows to show as text."""
        names = self.keys()
        cells = [[f"{row[name]:.6g}" if name in row else "" for name in names] for row in self.rows]
        if len(cells) > _SHOWN:
            cells = [*cells[: _SHOWN // 3], ["..."] * len(names), *cells[-(_SHOWN - _SHOWN // 3) :]]
        return names, cells

    def __repr__(self) -> str:
        if not self.rows:
            return "History of no epochs"
        names, cells = self._cells()
        widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
        lines = ["  ".join(f"{x:>{w}}" for x, w in zip(line, widths, strict=True)) for line in [names, *cells]]
        ends = ["interrupted"] if self.interrupted else [f"stopped: {self.stopped}"] if self.stopped else []
        return "\n".join(line.rstrip() for line in [*lines, *ends])

    def _repr_html_(self) -> str:
        return table(*self._cells(), repr(self))


def csv_line(cells: list[Any]) -> str:
    """A line of comma-separated values: names, or numbers and None."""
    texts = [
        "" if x is None else _quoted(x) if isinstance(x, str) else repr(number("History: a cell", x)) for x in cells
    ]
    return ",".join(texts) + "\n"


def jsonl_line(row: Row) -> str:
    """A row as a line of strict JSON."""
    cells = [f"{json.dumps(name)}: {_json(number(f'History: {name}', value))}" for name, value in row.items()]
    return "{" + ", ".join(cells) + "}\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in ',"\r\n') else name


def _json(value: float) -> str:
    if math.isnan(value):
        return "null"
    return repr(value) if math.isfinite(value) else "1e999" if value > 0 else "-1e999"


def _parsed(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def number(what: str, value: Any) -> float:  # Any: whatever a user may enter
    """A number as Python's own int or float, which every file and every comparison takes; `what` is for messages."""
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        value = value.item()
    if not isinstance(value, int | float):
        raise TypeError(f"{what} is {value!r:.80}, wanted a number")
    return int(value) if isinstance(value, bool) else value


def _text(function: str, path: StrPath) -> str:
    with opened(function, path) as file:
        try:
            return file.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataFormatError(
                f"{function}: {path} is no text in UTF-8, as a log of the training is: {error}"
            ) from error
