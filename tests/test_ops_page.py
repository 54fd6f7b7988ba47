"""docs/ops.md is what the table says today."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_fnn
import tinygrad_fnn.nn.functional
from tinygrad_fnn import RULES
from tinygrad_fnn.ops import __main__ as printer

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"


def test_page_is_up_to_date() -> None:
    # In a process of its own: tests enter operations of theirs.
    printed = subprocess.run([sys.executable, "-m", "tinygrad_fnn.ops"], capture_output=True, text=True, check=True)
    assert PAGE.read_text(encoding="utf-8") == printed.stdout, "run `python -m tinygrad_fnn.ops > docs/ops.md`"


def test_every_operation_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = {name.partition(" ")[0] for rule in RULES.values() for name in rule.name.split(", ")}
    assert not [name for name in names if name.startswith("numpy.") and f"`{name}`" not in text]


def titles() -> list[str]:
    """What the page calls each operation: in the first cell of a row, or in a list."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    lists = [line.partition(": ")[2].rstrip(".") for line in lines if line.startswith(("Composed, ", "Without "))]
    found = [title for cell in [*rows, *lists] for title in cell.split(", ")]
    return [title for title in found if title not in ("function", "---")]


def test_every_name_on_the_page_can_be_called() -> None:
    """As it is written there; what has no name, such as indexing, is not written as one, and helpers are called so."""
    found = titles()
    assert len(found) > 400
    for title in found:
        if title.startswith("`ndarray."):
            title = title.replace("`ndarray.", "`numpy.ndarray.")
        name = re.match(r"`([a-z]\w*(?:\.\w+)+)`", title)
        if name is None:
            assert title.startswith(("*helper* `", "indexing", "assignment", "sliding windows")), title
        else:
            assert callable(pkgutil.resolve_name(name[1])), title


def test_no_helper_has_a_public_name() -> None:
    """`tinygrad_fnn.helper` would be one that the page ought to give."""
    helpers = [title.removeprefix("*helper* ").strip("`") for title in titles() if title.startswith("*helper*")]
    assert helpers
    for module in (tinygrad_fnn, tinygrad_fnn.nn.functional):
        assert not set(helpers) & set(module.__all__)


@pytest.mark.parametrize(
    "row",
    [
        "| `numpy.multiply` | x: `y`<br>y: `x` | x, y |  |  |",
        "| `numpy.exp` | `out` | out |  |  |",
        "| `numpy.matmul` | x: `ct @ y.mT`<br>y: `x.mT @ ct` | x, y | linear |  |",
    ],
)
def test_formulas_are_those_of_the_entries(row: str) -> None:
    assert row in PAGE.read_text(encoding="utf-8")


def test_each_line_of_the_summary_counts_something() -> None:
    first, *rows = printer.summary().splitlines()
    assert first.split()[:3] == ["family", "operations", "dispatched"]
    totals = [int(cell) for cell in rows[-1].split()[1:]]
    assert [sum(int(row.split()[k]) for row in rows[:-1]) for k in range(1, len(totals) + 1)] == totals
    assert totals[0] > 300
