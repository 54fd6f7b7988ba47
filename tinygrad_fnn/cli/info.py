"""`info`: what a report of a fault should say about the machine and the packages."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from .options import command, print_json

__all__ = ["add", "package_version"]

_TEXT: Final = """\
print versions, BLAS, threads and machine, for a report of a fault

Without names of users, machines or folders."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn info
  python -m tinygrad_fnn info --json"""

_EXTRAS: Final = ("matplotlib", "tqdm", "safetensors", "threadpoolctl")
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "info", _TEXT, _run, _EXAMPLES)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _run(options: argparse.Namespace) -> int:
    found = _found()
    if options.json:
        print_json(found)
        return 0
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {'not installed' if value is None else value}")
    return 0


def _found() -> dict[str, Any]:  # Any: text, numbers, and None for what is missing
    built: Any = np.show_config(mode="dicts")  # Any: a nested dict whose stubs leave most of it out
    blas = built.get("Build Dependencies", {}).get("blas", {})
    packages = {name: _version(name) for name in ("scipy", *_EXTRAS)}  # the metadata: importing takes seconds
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "tinygrad_fnn": package_version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        **packages,
        "BLAS": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "threads": _threads(),
        **{name: os.environ[name] for name in _THREADS if name in os.environ},
        "system": platform.platform(),
        "machine": platform.machine(),
        "processors": len(affinity(0)) if affinity else os.cpu_count(),
        "encoding": sys.stdout.encoding,
    }


def package_version() -> str:
    """Of this package, also where it is used without an installation."""
    from .. import __version__

    return __version__


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _threads() -> str:
    """Of the libraries that are loaded, as far as they can be asked."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown; python -m pip install threadpoolctl finds out"
    pools = threadpool_info()
    return ", ".join(f"{p['internal_api']} {p['version']} {p['num_threads']}" for p in pools) or "none found"
