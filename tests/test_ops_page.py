"""docs/ops.md is what the table says today."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_fnn import RULES
from tinygrad_fnn.ops import __main__ as printer

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"


def test_page_is_up_to_date() -> None:
    # In a process of its own: tests enter operations of theirs.
    printed = subprocess.run([sys.executable, "-m", "tinygrad_fnn.ops"], capture_output=True, text=True, check=True)
    assert PAGE.read_text(encoding="utf-8") == printed.stdout, "run `python -m tinygrad_fnn.ops > docs/ops.md`"


def test_every_operation_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not [rule.name for rule in RULES.values() if f"`{rule.name}`" not in text and "numpy" in rule.name]


def test_every_name_of_the_package_on_the_page_is_public() -> None:
    names = re.findall(r"`(tinygrad_fnn(?:\.[a-z_0-9]+)+)`", PAGE.read_text(encoding="utf-8"))
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute)), name


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
