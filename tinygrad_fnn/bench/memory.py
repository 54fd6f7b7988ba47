"""Memory: peaks, and how they grow with rows and depth. Each measurement is made in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from .competitor import COMPILED, Problem
from .contest import Settings
from .ours import by_hand, in_parts, ours
from .peers import PEERS, competing
from .problems import Chain, deep, digits
from .process import piece
from .table import Table
from .timing import peak, seconds

__all__ = ["measured", "w5"]

MEMORY: Final = (
    "arrays of NumPy by tracemalloc, torch and jax by the growth of the resident set; replayed where compiled"
)


def w5(settings: Settings) -> Iterator[Table]:
    """Memory, each measurement in a process of its own."""
    rows, layers, width = settings.size(2000, 50), settings.size(30, 3), settings.size(100, 5)
    table = Table(
        "W5", f"peak of cost and gradient, {layers} layers of {width}, {rows:,} rows, float64", "MB", ["peak"]
    )
    for name, found in _peaks(settings, table, "deep", rows, layers, width):
        table.rows[name] = [None if found is None else found / 1e6]
    yield table

    few, many = settings.size(5000, 100), settings.size(40_000, 200)
    table = Table("W5", f"400-25-10, further memory for each further {few:,} rows, float64", "MB", ["MB"])
    small = dict(_peaks(settings, table, "digits", few))
    for name, found in _peaks(settings, table, "digits", many):
        before = small.get(name)
        slope = None if found is None or before is None else (found - before) * few / (many - few) / 1e6
        table.rows[name] = [slope]
    yield table

    lengths = (1000, settings.size(10_000, 2000), settings.size(100_000, 3000))
    table = Table("W5", "a long chain of multiplications of 8 elements", "bytes per operation", [])
    _long(settings, table, lengths, "chain", lambda found, n: found["bytes"] and found["bytes"] / n)
    yield table
    table = Table("W5", "the same chain, forward and backward", "us per operation", [])
    _long(settings, table, lengths, "chain_time", lambda found, n: found["seconds"] / n * 1e6)
    yield table


def _long(
    settings: Settings, table: Table, lengths: Sequence[int], kind: str, number: Callable[[Any, int], float | None]
) -> None:
    for k, n in enumerate(lengths):
        table.columns.append(f"{n:,}")
        for name, found in _peaks(settings, table, kind, n):
            table.rows.setdefault(name, [None] * k).append(None if found is None else number(found, n))


def _peaks(settings: Settings, table: Table, kind: str, *sizes: int) -> Iterator[tuple[str, Any]]:
    """What `measured` finds for each competitor."""
    if kind != "chain_time":
        table.note(MEMORY)
    for who in ("ours", "compiled", "checkpoint", "NumPy by hand", *settings.peers):
        if (who == "compiled" and kind.startswith("chain")) or (who == "checkpoint" and kind != "deep"):
            continue  # a program as long as the chain is made for a loop that is replayed, not for one this long
        answer = piece("measured", settings.threads, kind=kind, who=who, sizes=sizes)
        if "note" in answer:
            table.note(answer["note"])
        yield from answer.get("found", {}).items()


def measured(kind: str, who: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Bytes, or for chains bytes or seconds, that one competitor takes; in a process of its own."""
    make: dict[str, Callable[..., Problem]] = {"deep": deep, "digits": digits}
    problem = Chain(np.linspace(0, 1, 8), sizes[0], plain=True) if kind.startswith("chain") else make[kind](*sizes)
    if who in PEERS:
        try:
            competitors = competing(who, problem, 1)
        except Exception as error:  # as in `field_of`
            return {"note": f"{who} left out: {type(error).__name__}: {error}"}
        if competitors is None:
            return {"note": f"not installed: {who}"}
        if who == "jax" and kind.startswith("chain"):
            return {"note": "jax left out: it compiles the chain, which takes longer than quadratically"}
    elif who == "checkpoint":
        competitors = in_parts(problem)  # type: ignore[arg-type]  # a deep network is a Cost
    elif who == "NumPy by hand":
        competitors = by_hand(problem)
    else:
        competitors = {name: c for name, c in ours(problem).items() if (name == COMPILED) == (who == "compiled")}
    found: dict[str, Any] = {}
    for name, c in competitors.items():
        try:
            if kind == "chain_time":
                found[name] = {"seconds": seconds(c.run)}
            elif kind == "chain":
                found[name] = {"bytes": peak(c.run, c.by_numpy, calls=2)}
            else:
                found[name] = peak(c.run, c.by_numpy)
        except Exception as error:  # too deep for somebody's recursion, or compiled is refused
            return {"note": f"{name} left out: {type(error).__name__}: {error}"}
    return {"found": found}
