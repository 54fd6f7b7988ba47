"""What a workload gives back, and how it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from .competitor import BARE, OURS

__all__ = ["Table", "markdown", "ratios", "text"]

REFERENCES: Final = (("to bare", BARE), ("to ours", OURS))


@dataclass
class Table:
    """Numbers of each competitor.

    Attributes
    ----------
    workload, title, unit : str
    columns : list of str
        What the numbers of a row are for.
    rows : dict of str to list of float or None
        Those of each competitor; None for what could not be measured.
    compared : bool
        Whether their ratios mean something.
    notes : list of str
        What to know when reading it: who was left out, and why.
    wrong : list of str
        Who computed something else, and was therefore left out.
    """

    workload: str
    title: str
    unit: str
    columns: list[str]
    rows: dict[str, list[float | None]] = field(default_factory=dict)
    compared: bool = True
    notes: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def as_json(self) -> dict[str, Any]:
        """Everything, with the ratios, as JSON has it."""
        rows = [
            {"name": name, "values": values} | {key.replace(" ", "_"): r for key, r in ratios(self, name)}
            for name, values in self.rows.items()
        ]
        return asdict(self) | {"rows": rows}


def ratios(table: Table, name: str) -> list[tuple[str, list[float | None]]]:
    """A row divided by that of the bare products, and by that of this package, where there are such."""
    if not table.compared:
        return []
    return [
        (
            key,
            [a / b if a is not None and b else None for a, b in zip(table.rows[name], table.rows[other], strict=True)],
        )
        for key, other in REFERENCES
        if other in table.rows
    ]


def _cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of a table: beside each number its ratios."""
    keys = [key for key, _ in ratios(table, next(iter(table.rows), ""))] if table.rows else []
    head = ["", *(title for column in table.columns for title in (column, *keys))]
    lines = []
    for name, values in table.rows.items():
        beside = [column for _, column in ratios(table, name)]
        line = [name]
        for k, value in enumerate(values):
            line += [_number(value), *(_ratio(column[k]) for column in beside)]
        lines.append(line)
    return head, lines


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _heading(table: Table) -> str:
    return f"{table.workload}: {table.title}, {table.unit}"


def text(table: Table) -> str:
    """The table as aligned text."""
    head, lines = _cells(table)
    widths = [max(len(line[k]) for line in (head, *lines)) for k in range(len(head))]
    rows = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in (head, *lines)
    ]
    return "\n".join([_heading(table), *(f"  {row.rstrip()}" for row in rows), *_remarks(table, "  ")])


def markdown(table: Table) -> str:
    """The table for a page of documentation."""
    head, lines = _cells(table)
    rows = [f"| {' | '.join(line)} |" for line in (head, ["---", *["--:"] * (len(head) - 1)], *lines)]
    return "\n".join([f"### {_heading(table)}", "", *rows, "", *_remarks(table, "- ")]).rstrip()


def _remarks(table: Table, lead: str) -> Sequence[str]:
    return [f"{lead}{note}" for note in (*table.notes, *(f"left out as wrong: {who}" for who in table.wrong))]
