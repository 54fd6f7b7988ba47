"""What the commands have in common: how one is entered, what an option may be, what is printed as JSON."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

__all__ = [
    *("PROGRAM", "Parser", "apart", "command", "fraction", "integer"),
    *("print_json", "real", "table", "to_write", "writing"),
]

PROGRAM: Final = "python -m tinygrad_fnn"


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong, and not before that all that would be right."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end with exit code 2."""
        self.exit(2, f"{self.prog}: {message}; --help lists what there is\n")


def command(
    commands: Any,  # Any: what add_subparsers returns, a class that argparse keeps to itself
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
    examples: str = "",
) -> argparse.ArgumentParser:
    """A parser for a command; the first line of `text` stands in the list of all of them."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text.partition("\n")[0],
        description=text,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


# --- values of options ----------------------------------------------------------------------------------------------


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option that is an integer from `least` to `most`."""
    wanted = f"an integer from {least} to {most}" if most is not None else f"an integer >= {least}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no integer, wanted {wanted}") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{value} is out of range, wanted {wanted}")
        return value

    return read


def real(least: float, *, above: bool = False) -> Callable[[str], float]:
    """An option that is a finite number of at least `least`, or above it."""
    return _number(f"a number {'>' if above else '>='} {least:g}", lambda x: x > least if above else x >= least)


def fraction(text: str) -> float:
    """An option that is a number in [0, 1)."""
    return _number("a number in [0, 1)", lambda x: 0 <= x < 1)(text)


def _number(wanted: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number, wanted {wanted}") from None
        if not (math.isfinite(value) and fits(value)):
            raise argparse.ArgumentTypeError(f"{value:g} is out of range, wanted {wanted}")
        return value

    return read


def to_write(*suffixes: str) -> Callable[[str], Path]:
    """An option that is a file to write, found out before the work whose result it is for."""

    def read(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text}: wanted a name that ends in {' or '.join(suffixes)}")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder, wanted a file")
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"there is no folder {path.parent}; make it first")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise argparse.ArgumentTypeError(f"{text} may not be written by this user; look at the permissions")
        return path

    return read


def apart(writes: dict[str, Path | None], reads: dict[str, Path | None]) -> None:
    """Refuse a file to write that is read as well, or is to be written twice, before anything is done.

    Parameters
    ----------
    writes, reads : dict of str to Path or None
        By the option or argument that named it.
    """
    named = [(name, path) for name, path in (reads | writes).items() if path is not None]
    for k, (name, path) in enumerate(named):
        for other, there in named[:k]:
            if name in writes and (
                path.resolve() == there.resolve() or (path.exists() and there.exists() and path.samefile(there))
            ):
                raise ValueError(f"{name} {path} and {other} {there} are the same file; give {name} another name")


# --- what comes out -------------------------------------------------------------------------------------------------


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Have a full disk and the like say which option is concerned; the error of a write does not know its file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{what} cannot be written: {error.strerror or error}") from error


def print_json(answer: Any) -> None:  # Any: what JSON holds, and numbers that it does not
    """`answer` as strict JSON: null for NaN and the infinities."""
    print(json.dumps(_strict(answer), indent=2, allow_nan=False))


def _strict(value: Any) -> Any:  # Any: as above
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows of text in columns: the first one flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
