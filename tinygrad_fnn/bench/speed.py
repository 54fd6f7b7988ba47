"""Times of one evaluation or one step, as they are and as problems grow; and of the import."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from .contest import Settings, timed
from .problems import Chain, Steps, deep, digits, training
from .process import imported
from .table import Table

__all__ = ["growth", "second_problem", "w1", "w2", "w3", "w4", "w6"]


def w1(settings: Settings) -> Iterator[Table]:
    """Cost and gradient of 400-25-10 in float64, lambda 1, on 5000 digits and on 40,000."""
    sizes = (settings.size(5000, 200), settings.size(40_000, 400))
    table = Table("W1", "cost and gradient, 400-25-10, float64, lambda 1", "ms", [])
    yield timed(table, {f"{rows:,} rows": digits(rows) for rows in sizes}, settings, 1e-6, (3, 1))


def w2(settings: Settings) -> Iterator[Table]:
    """A step of Adam on 784-100-10, batch 64, float32."""
    table = Table("W2", "one step of Adam, 784-100-10 logistic, softmax cross-entropy, batch 64, float32", "ms", [])
    yield timed(table, {"step": second_problem(settings)}, settings, 1e-3, (40,))


def second_problem(settings: Settings) -> Steps:
    """What W2 is about."""
    return training((784, settings.size(100, 20), 10), settings.size(64, 8), "sigmoid")


def w3(settings: Settings) -> Iterator[Table]:
    """A step of Adam on 784-800-800-10, batch 256, float32."""
    table = Table("W3", "one step of Adam, 784-800-800-10 ReLU, softmax cross-entropy, batch 256, float32", "ms", [])
    width = settings.size(800, 30)
    problem = training((784, width, width, 10), settings.size(256, 16), "relu", count=4)
    yield timed(table, {"step": problem}, settings, 1e-3, (2,))


def w4(settings: Settings) -> Iterator[Table]:
    """A chain of 60 operations, forward and backward."""
    sizes = (8, settings.size(1000, 10), settings.size(100_000, 12))
    problems = {f"{n:,} elements": Chain(np.linspace(0, 1, n)) for n in sizes}
    table = Table("W4", "a chain of 60 operations, forward and backward, float64", "us per operation", [])
    yield timed(table, problems, settings, 1e-6, (40, 20, 1))


def w6(settings: Settings) -> Iterator[Table]:
    """Import in new processes, which find the compiled modules of the first."""
    table = Table("W6", "import in a new process", "ms", ["processor time"])
    programs = {
        "numpy": "numpy",
        "numpy, tinygrad_fnn": "numpy, tinygrad_fnn",
        "numpy, scipy.optimize": "numpy, scipy.optimize",
    }
    peers = {"scikit-learn": "sklearn.neural_network"}
    programs |= {peer: peers.get(peer, peer) for peer in settings.peers}
    times: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as bytecode:
        for turn in range(settings.size(min(settings.rounds, 9), 1) + 1):
            for name, modules in programs.items():
                answer = imported(modules, settings.threads, bytecode)
                if answer is None:
                    table.note(f"not installed: {name}")
                elif turn:  # the first one compiles
                    times[name].append(answer)
    table.rows = {name: [statistics.median(t)] for name, t in times.items() if t}
    base = table.rows["numpy"][0]
    both = table.rows["numpy, tinygrad_fnn"][0]
    if base and both:
        table.notes.append(f"the package adds {both / base - 1:.0%} to NumPy's own import")
    table.compared = False
    yield table


def growth(settings: Settings) -> Iterator[Table]:
    """Cost and gradient as rows, depth and width grow."""
    few = replace(settings, rounds=min(settings.rounds, 5))
    for title, what, make, sizes, small in (
        ("400-25-10", "rows", digits, (1250, 5000, 20_000, 80_000), (20, 40)),
        ("layers of 50, 500 rows", "layers", lambda n: deep(500, n, 50), (2, 8, 32, 128), (2, 3)),
        ("400-width-10, 1000 rows", "units", lambda n: digits(1000, n), (25, 100, 400, 1600), (5, 10)),
    ):
        table = Table("growth", f"cost and gradient, {title}, float64", "ms", [])
        chosen = small if settings.quick else sizes
        yield timed(table, {f"{n:,} {what}": make(n) for n in chosen}, few, 1e-6)
