"""Which commands there are, and what becomes of an error."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from . import check, demo, diagnose, evaluate, info, show, train
from .options import PROGRAM, Parser

__all__ = ["main", "parser"]

_EPILOG = """\
examples:
  python -m tinygrad_fnn demo                                # ten seconds, nothing to prepare
  python -m tinygrad_fnn train --out model.npz               # on the 5000 digits of the package
  python -m tinygrad_fnn evaluate model.npz --misread wrong.png

python -m tinygrad_fnn COMMAND --help has examples for each; `tinygrad-fnn` is short for `python -m tinygrad_fnn`.

exit codes: 0 done, and the answer is yes; 1 the answer is no (a wrong gradient, a training that was interrupted or met
a NaN); 2 the question could not be asked (a bad option, a missing or damaged file, a missing extra)"""

_BENCH = "measure speed and memory against the bare matrix products and the peers that are installed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands after the program's name; that of the process by default.

    Returns
    -------
    int
        The exit code: 0, 1 or 2.

    Examples
    --------
    >>> main(["diagnose", "no-such-file.npz"])
    2
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(given)
        sys.stdout.flush()  # here, where a closed pipe is still met with grace
    except SystemExit as stop:  # argparse has printed help, or what is wrong
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head`: nobody reads any more, and Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except FloatingPointError as error:  # a number that is none: the training's answer, no mistake of the question
        print(str(error), file=sys.stderr)
        return 1
    except OSError as error:
        print(reason(error), file=sys.stderr)
        return 2
    except (ValueError, TypeError, MemoryError, ImportError) as error:
        print(str(error) or type(error).__name__, file=sys.stderr)
        return 2
    return code


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["bench"]:  # it has a parser of its own, --help included
        from ..bench import main as bench

        return bench(arguments[1:], Parser)
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def parser() -> argparse.ArgumentParser:
    """The whole of the command line."""
    whole = Parser(
        prog=PROGRAM,
        description="Gradients, networks that read digits, and what is wrong with them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"tinygrad_fnn {info.package_version()}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (demo, train, evaluate, check, show, diagnose, info):
        module.add(commands)
    commands.add_parser("bench", help=_BENCH, add_help=False)
    return whole


def reason(error: OSError) -> str:
    """What the system did not do, without the number of the error."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
