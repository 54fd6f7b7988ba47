"""Whole trainings: fifty iterations of L-BFGS, and MNIST until 98 % of its test set are read right."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from .. import data, optim
from ..errors import GraphError
from ..modes import no_grad
from ..tensor import Tensor
from .competitor import COMPILED, OURS
from .contest import Settings
from .ours import network, strictly, trainer
from .problems import Steps, digits
from .process import piece
from .table import Table
from .timing import clock_for, installed

__all__ = ["lbfgs", "minimized", "mnist", "mnist_files"]


def lbfgs(settings: Settings) -> Iterator[Table]:
    """Fifty iterations on W1: this package's L-BFGS against SciPy's L-BFGS-B, on the same cost."""
    table = Table("lbfgs", "50 iterations on W1, by the clock", "s", ["default threads", "1 thread"])
    methods = {
        OURS: ("L-BFGS", False),
        COMPILED: ("L-BFGS", True),
        "SciPy's L-BFGS-B, same cost": ("L-BFGS-B", False),
        "SciPy's L-BFGS-B, same cost compiled": ("L-BFGS-B", True),
    }
    iterations, rows = settings.size(50, 2), settings.size(5000, 50)
    for threads in (None, 1):
        times: dict[str, list[float]] = {name: [] for name in methods}
        reached = {}
        for _ in range(settings.size(min(settings.rounds, 5), 1)):
            for name, (method, fast) in methods.items():
                answer = piece("minimized", threads, method=method, fast=fast, iterations=iterations, rows=rows)
                times[name].append(answer["seconds"])
                reached[name] = answer
        for name, t in times.items():
            table.rows.setdefault(name, []).append(statistics.median(t))
    table.notes = [
        f"{name}: cost {found['cost']:.4f} in {found['evaluations']} evaluations" for name, found in reached.items()
    ]
    yield table


def minimized(method: str, fast: bool, iterations: int, rows: int) -> dict[str, float]:
    """Seconds by the clock of so many iterations, and what they reached."""
    problem = digits(rows)
    net = network(problem)
    X, Y = Tensor(problem.X), Tensor(problem.Y)
    cost = strictly(net.cost) if fast else net.cost
    if method != "L-BFGS":
        from scipy import optimize  # noqa: F401  # loaded before the clock starts
    start = time.perf_counter()
    found = optim.minimize(net, lambda: cost(X, Y, problem.l2), method=method, maxiter=iterations)
    taken = time.perf_counter() - start
    return {"seconds": taken, "cost": float(found.fun), "evaluations": found.nfev}


# --- MNIST ------------------------------------------------------------------------------------------------------------

GOAL, MOST = 0.98, 15  # share of the test set, and epochs after which nobody waits any longer
BATCH, HIDDEN = 128, 256


def mnist(settings: Settings) -> Iterator[Table]:
    """784-256-10 with Adam on MNIST, its learning rate halved each epoch from the sixth on; epoch by epoch in turn.

    The stop is chosen on the test set, which says nothing of how well the network generalises, and is the same for all.
    """
    table = Table("mnist", "784-256-10 ReLU, Adam, batch 128, float32, to 98 % of the test set", "s", [])
    if settings.mnist is None:
        table.notes.append("left out: give --mnist FOLDER with the four files of MNIST")
        yield table
        return
    train, test = (
        data.load_mnist(*mnist_files(Path(settings.mnist), kind), dtype=np.float32) for kind in ("train", "t10k")
    )
    if settings.quick:
        train, test = (train[0][:512], train[1][:512]), (test[0][:100], test[1][:100])
    learners: dict[str, Learner] = {OURS: _ours(lambda f: f), COMPILED: _ours(strictly)}
    if "torch" in settings.peers:
        if modules := installed("torch"):
            learners |= {"torch": _torch(modules[0], settings.threads)}
            learners |= {"torch, fused Adam": _torch(modules[0], settings.threads, fused=True)}
        else:
            table.notes.append("not installed: torch")
    clock = clock_for(settings.threads)
    times: dict[str, list[float]] = {name: [] for name in learners}
    done: dict[str, float] = {}
    for epoch in range(1 if settings.quick else MOST):
        order = np.random.default_rng(epoch).permutation(len(train[0]))
        lr = 1e-3 * 0.5 ** max(0, epoch - 4)
        for name, (epoch_of, accuracy) in learners.items():
            if name in done:
                continue
            start = clock()
            try:
                epoch_of(*train, order, lr)
            except GraphError as error:
                done[name] = 0.0
                table.notes.append(f"{name} left out: {error}")
                continue
            times[name].append(clock() - start)
            right = accuracy(*test)
            if right >= GOAL:
                done[name] = right
    table.columns = ["an epoch", "in all"]
    table.rows = {name: [statistics.median(t), sum(t) if name in done else None] for name, t in times.items() if t}
    for name, t in times.items():
        if not t:
            continue
        end = f"{done[name]:.2%}" if name in done else f"less than {GOAL:.0%}"
        table.notes.append(f"{name}: {end} after {len(t)} epochs")
    yield table


# Trains an epoch in this order with this learning rate; the share of the examples that is read right.
Learner = tuple[Callable[[ndarray, ndarray, ndarray, float], None], Callable[[ndarray, ndarray], float]]


def mnist_files(folder: Path, kind: str) -> list[Path]:
    """Images and labels of a part of MNIST, 'train' or 't10k'; FileNotFoundError where there are none."""
    paths = []
    for part in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        found = sorted(folder.glob(f"{kind}-{part}*"))
        if not found:
            raise FileNotFoundError(
                f"bench: no {kind}-{part} or {kind}-{part}.gz in {folder}; --mnist wants MNIST's four files"
            )
        paths.append(found[0])
    return paths


def _weights() -> list[ndarray]:
    rng = np.random.default_rng(0)
    shapes = ((HIDDEN, 784), (HIDDEN,), (10, HIDDEN), (10,))
    return [rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(shape[-1] ** 0.5) for shape in shapes]


def _ours(made: Callable[[Any], Any]) -> Learner:
    model, _, optimizer, step = trainer(Steps(_weights(), [], "relu"))
    step = made(step)

    def epoch(X: ndarray, y: ndarray, order: ndarray, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            step(X[chosen], y[chosen])

    def accuracy(X: ndarray, y: ndarray) -> float:
        with no_grad():
            return float((model(X).numpy().argmax(axis=1) == y).mean())

    return epoch, accuracy


def _torch(torch: Any, threads: int | None, **options: Any) -> Learner:
    if threads is not None:
        torch.set_num_threads(threads)
    model = torch.nn.Sequential(torch.nn.Linear(784, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 10))
    with torch.no_grad():
        for p, values in zip(model.parameters(), _weights(), strict=True):
            p.copy_(torch.from_numpy(values))
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **options)

    def epoch(X: ndarray, y: ndarray, order: ndarray, lr: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            optimizer.zero_grad()
            loss(model(torch.from_numpy(X[chosen])), torch.from_numpy(y[chosen])).backward()
            optimizer.step()

    def accuracy(X: ndarray, y: ndarray) -> float:
        with torch.no_grad():
            return float((model(torch.from_numpy(X)).numpy().argmax(axis=1) == y).mean())

    return epoch, accuracy
