"""The command line of the benchmarks, and the report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..files import replacing
from .peers import PEERS
from .process import piece
from .table import Table, markdown, text
from .timing import machine, versions
from .training import mnist_files

__all__ = ["NAMES", "add_options", "main", "run"]

# What `workloads.WORKLOADS` holds, with what is run when nothing is named first.
USUAL: Final = ("W1", "W2", "W3", "W4", "W5", "W6", "lbfgs")
NAMES: Final = (*USUAL, "mnist", "growth", "profile")

DESCRIPTION: Final = """\
speed and memory against the bare matrix products and the peers that are installed

  W1       cost and gradient of 400-25-10 on 5000 and 40,000 digits, float64
  W2, W3   a step of Adam on 784-100-10, batch 64, and on 784-800-800-10, batch 256, float32
  W4       a chain of 60 elementwise operations on 8, 1000 and 100,000 elements
  W5       memory of a deep network, of more rows, of long chains
  W6       import in a new process
  lbfgs    50 iterations on W1, against SciPy's L-BFGS-B
  mnist    784-256-10 to 98 % of the test set; wants --mnist FOLDER
  growth   W1 as rows, depth and width grow
  profile  where the time of a step of W2 goes

Before anything is timed, all must agree with this package to a relative 1e-6 (float32: 1e-3). They take turns in one
process, and medians are compared. With one thread it is the processor's time that counts, otherwise the clock's.

exit code: 0 all agree, 1 somebody computes something else, 2 something could not be measured"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of `run`."""
    option = parser.add_argument
    option("--workload", nargs="+", choices=NAMES, default=list(USUAL), metavar="NAME", help=f"of {', '.join(NAMES)}")
    option("--rounds", type=int, default=15, help="how often each competitor runs (default: %(default)s)")
    option("--threads", type=int, default=1, help="of every competitor, pinned (default: %(default)s)")
    option("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    option("--mnist", metavar="FOLDER", help="where the four files of MNIST are")
    option("--quick", action="store_true", help="small sizes, to see that everything runs")
    option("--json", type=Path, metavar="FILE", help="write everything there as JSON")
    option("--markdown", action="store_true", help="print the tables for docs/performance.md")


def main(argv: Sequence[str] | None = None, parser: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> int:
    """Run the benchmarks as a command of their own.

    Parameters
    ----------
    argv : sequence of str, optional
        What stands after the program's name; that of the process by default.
    parser : type
        Of parser; another one may word its errors otherwise.

    Returns
    -------
    int
        The exit code: 0, 1 or 2.
    """
    form = argparse.RawDescriptionHelpFormatter
    made = parser(prog="python -m tinygrad_fnn bench", description=DESCRIPTION, formatter_class=form)
    add_options(made)
    try:
        return run(made.parse_args(argv))
    except (ValueError, OSError) as error:
        print(str(error), file=sys.stderr)
        return 2


def run(options: argparse.Namespace) -> int:
    """Run what the options of `add_options` ask for, print it, and give the exit code."""
    for name in ("rounds", "threads"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}, wanted 1 or more")
    _check(options)
    settings = {key: getattr(options, key) for key in ("rounds", "threads", "quick", "peers", "mnist")}
    report: dict[str, Any] = {"machine": machine(), "versions": versions()}
    report |= {key: settings[key] for key in ("rounds", "threads", "quick")}
    form = markdown if options.markdown else text
    head = circumstances(report)
    print(head, flush=True)
    tables, failures = [], []
    for name in dict.fromkeys(options.workload):
        try:
            found = piece("run", options.threads, name=name, **settings)
        except RuntimeError as error:
            failures.append(str(error))  # the others have answers yet
            print(failures[-1], file=sys.stderr)
            continue
        for fields in found:
            tables.append(Table(**fields))
            print(f"\n{form(tables[-1])}", flush=True)
    report |= {"tables": [table.as_json() for table in tables], "failures": failures}
    if options.json is not None:
        with replacing(options.json, "w") as file:
            file.write(json.dumps(report, indent=2) + "\n")
    return 2 if failures else 1 if any(table.wrong for table in tables) else 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what would fail only after all has been measured."""
    path = options.json
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        what = f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise ValueError(f"--json {path}: {what}; wanted a file in a folder that exists")
    if options.mnist is not None and "mnist" in options.workload:
        for kind in ("train", "t10k"):
            mnist_files(Path(options.mnist), kind)


def circumstances(report: dict[str, Any]) -> str:
    """The machine, the versions and how it was measured, in three lines."""
    on = report["machine"]
    threads = "1 thread, pinned; processor time" if report["threads"] == 1 else f"{report['threads']} threads; clock"
    listed = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{on['processor']}, {on['cores']} cores, {on['system']}; {on['blas']}\n"
        f"Python {on['python']}, {listed}\n"
        f"{threads}; medians of {report['rounds']} rounds{', small sizes' if report['quick'] else ''}."
    )
