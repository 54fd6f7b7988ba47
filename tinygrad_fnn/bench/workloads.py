"""The table of workloads, and what a process does that was started for one: see `process`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from .contest import Settings
from .memory import measured, w5
from .profile import profile
from .speed import growth, w1, w2, w3, w4, w6
from .table import Table
from .timing import pinned
from .training import lbfgs, minimized, mnist

__all__ = ["PIECES", "WORKLOADS", "Workload", "run"]


class Workload(NamedTuple):
    """One workload.

    Attributes
    ----------
    tables : callable
        Takes the settings, yields the tables.
    here : bool
        Whether it measures in its own process, or starts others.
    """

    tables: Callable[[Settings], Iterator[Table]]
    here: bool = True


WORKLOADS: Final = {
    "W1": Workload(w1),
    "W2": Workload(w2),
    "W3": Workload(w3),
    "W4": Workload(w4),
    "W5": Workload(w5, here=False),
    "W6": Workload(w6, here=False),
    "lbfgs": Workload(lbfgs, here=False),
    "mnist": Workload(mnist),
    "growth": Workload(growth),
    "profile": Workload(profile),
}


def run(name: str, **settings: Any) -> list[dict[str, Any]]:
    """The tables of a workload, as JSON has them."""
    chosen = Settings(**settings | {"peers": tuple(settings["peers"])})
    return [asdict(table) for table in WORKLOADS[name].tables(chosen)]


PIECES: Final[dict[str, Callable[..., Any]]] = {"run": run, "measured": measured, "minimized": minimized}


def _main(name: str, threads: str, text: str) -> None:
    arguments = json.loads(text)
    if threads != "None" and (name != "run" or WORKLOADS[arguments["name"]].here):
        pinned(int(threads))  # which the processes that this one starts would inherit
    print("\n" + json.dumps(PIECES[name](**arguments)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
