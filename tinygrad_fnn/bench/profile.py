"""Where the time of one step of W2 goes: the parts of the eager one, the lines of the compiled one."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..tensor import Tensor
from .contest import Settings
from .ours import strictly, trainer
from .speed import second_problem
from .table import Table

__all__ = ["profile", "timed_lines"]


def profile(settings: Settings) -> Iterator[Table]:
    """Microseconds of the parts of a step of W2."""
    problem = second_problem(settings)
    times = settings.size(500, 3)
    model, loss, optimizer, step = trainer(problem)
    batches = itertools.cycle([(Tensor(X), Tensor(y)) for X, y in problem.batches])

    table = Table("profile", "one step of W2 as it comes", "us", ["median"], compared=False)
    parts: dict[str, list[float]] = {}

    def part(name: str, run: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = run(*args)
        parts.setdefault(name, []).append(time.perf_counter() - start)
        return result

    for _ in range(times):
        X, y = next(batches)
        part("zero_grad", optimizer.zero_grad)
        z = part("model", model, X)
        J = part("loss", loss, z, y)
        part("backward", J.backward)
        part("Adam", optimizer.step)
    table.rows = {name: [statistics.median(t) * 1e6] for name, t in parts.items()}
    yield table

    fast = strictly(step)
    for _ in range(3):
        fast(*next(batches))
    plan = fast.plans[0]
    run, lines = timed_lines(plan.program)
    table = Table("profile", "one step of W2, compiled, line by line", "us", ["median"], compared=False)
    whole, found = [], []
    for _ in range(times):
        X, y = next(batches)
        start = time.perf_counter()
        fast(X, y)
        whole.append(time.perf_counter() - start)
        X, y = next(batches)  # another one: the first is in the cache by now
        found.append(run(X._read(), y._read()))
    each = [statistics.median(t) * 1e6 for t in zip(*found, strict=True)]
    table.rows = {f"{k}. `{line}`": [t] for k, (line, t) in enumerate(zip(lines, each, strict=True), 1)}
    table.rows["all lines, with the clock between them"] = [statistics.median(map(sum, found)) * 1e6]
    table.rows["the whole call, without it"] = [statistics.median(whole) * 1e6]
    yield table


def timed_lines(program: Any) -> tuple[Callable[..., list[float]], list[str]]:
    """A function that runs a program and gives the seconds of each of its lines, and those lines."""
    bound = program.run.__closure__ or ()
    names = dict(zip(program.run.__code__.co_freevars, (cell.cell_contents for cell in bound), strict=True))
    head, *body = [line for line in program.source.splitlines() if line.strip()]
    text = [head, "    t = [clock()]"]
    for line in body[:-1]:
        text += [line, "    t.append(clock())"]
    text.append("    return [b - a for a, b in zip(t, t[1:])]")
    scope: dict[str, Any] = names | {"clock": time.perf_counter}
    exec(compile("\n".join(text), "<timed>", "exec"), scope)
    timed: Callable[..., list[float]] = scope["run"]
    return timed, [line.strip() for line in body[:-1]]
