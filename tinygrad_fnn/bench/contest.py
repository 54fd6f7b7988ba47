"""Who takes part in a workload, whether they agree, and their times."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .competitor import OURS, Competitor, Found, Problem, disagreements
from .ours import bare, by_hand, ours
from .peers import PEERS, competing
from .problems import Chain
from .table import Table
from .timing import medians

__all__ = ["Settings", "agreeing", "everybody", "timed"]


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Attributes
    ----------
    rounds : int > 0
        How often each competitor runs.
    threads : int or None
        Of BLAS and of each framework; None for what they take themselves.
    quick : bool
        Small sizes, to see that everything runs.
    peers : tuple of str
        Those that are asked for.
    mnist : str or None
        The folder with its files.
    """

    rounds: int = 15
    threads: int | None = 1
    quick: bool = False
    peers: tuple[str, ...] = tuple(PEERS)
    mnist: str | None = None

    def size(self, full: int, small: int) -> int:
        """A size, or what it is when all is small."""
        return small if self.quick else full


def everybody(problem: Problem, settings: Settings, table: Table) -> dict[str, Competitor]:
    """All who compete: the bare products, this package, NumPy by hand and the peers; who is missing is noted."""
    found: dict[str, Competitor] = bare(problem) | ours(problem, settings.threads) | by_hand(problem)
    for peer in settings.peers:
        try:
            theirs = competing(peer, problem, settings.threads)
        except Exception as error:  # another version of theirs, which must not stop the others
            table.note(f"{peer} left out: {type(error).__name__}: {error}")
            continue
        if theirs is None:
            table.note(f"not installed: {peer}")
        else:
            found |= theirs
    return found


def agreeing(competitors: Mapping[str, Competitor], tolerance: float, table: Table) -> dict[str, Competitor]:
    """Those that compute what this package computes; the others are noted in the table.

    Parameters
    ----------
    competitors : dict of str to Competitor
        With this package's own among them.
    tolerance : float
        See `disagreements`.
    table : Table
        Gets the notes.

    Returns
    -------
    dict of str to Competitor
    """
    found: dict[str, Found] = {}
    left = dict(competitors)
    for name, competitor in competitors.items():
        if competitor.found is None:
            continue
        try:
            found[name] = competitor.found()
        except Exception as error:  # as above
            if name == OURS:
                raise
            table.note(f"{name} left out: {type(error).__name__}: {error}")
            del left[name]
    for name, why in disagreements(found, tolerance).items():
        table.wrong.append(f"{name}: {why}")
        del left[name]
    return left


def timed(
    table: Table, problems: Mapping[str, Problem], settings: Settings, tolerance: float, repeats: Sequence[int] = ()
) -> Table:
    """Fill a table of milliseconds, a column for each problem; for chains, microseconds of one operation."""
    for k, (column, problem) in enumerate(problems.items()):
        competitors = agreeing(everybody(problem, settings, table), tolerance, table)
        times = medians(
            {name: c.run for name, c in competitors.items()},
            settings.rounds,
            settings.threads,
            repeats[k] if repeats and not settings.quick else 1,
        )
        table.columns.append(column)
        for name in {**table.rows, **times}:
            row = table.rows.setdefault(name, [None] * k)
            time = times.get(name)
            if time is not None and isinstance(problem, Chain):
                time *= 1e3 / problem.operations
            row.append(time)
        del competitors
        gc.collect()
    return table
