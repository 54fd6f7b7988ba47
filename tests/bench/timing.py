"""What the benchmarks of single operations share: the command line, and threads; the rest is the package's."""

import argparse
import os
import platform
import sys

from tinygrad_fnn.bench.timing import environment, installed, medians, versions

__all__ = ["circumstances", "installed", "medians", "options", "set_threads"]


def options(description, rounds):
    """The arguments that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="how often each competitor runs (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of every competitor (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser


def set_threads(threads):
    """Start this program again if its environment is another: BLAS has read it when NumPy was loaded."""
    wanted = environment(threads)
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)


def circumstances(args):
    """Python, threads, rounds and versions, for the report."""
    found = {"python": platform.python_version(), "threads": args.threads, "rounds": args.rounds}
    return found | {"versions": versions()}
