"""The table of mistakes, entry by entry, and the page that is made from it."""

import re
import runpy
from pathlib import Path

import pytest

from tinygrad_fnn.check.mistakes import TABLE
from tinygrad_fnn.check.mistakes.page import page, shown

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT.parent / "shared" / "LEARNER.md"


@pytest.mark.parametrize("slug", TABLE)
def test_an_entry_is_found_where_the_page_shows_it(slug):
    case = shown(TABLE[slug])
    assert case.diagnosis.name == slug
    assert case.diagnosis.candidates[0] == (slug, 0.0)
    assert case.distance > 1e-3


@pytest.mark.parametrize("slug", TABLE)
def test_an_entry_can_be_read(slug):
    mistake = TABLE[slug]
    assert mistake.code.count("\n") == 1, "two lines of code"
    compile(mistake.code.replace("return ", ""), slug, "exec")
    assert max(map(len, mistake.code.splitlines())) <= 100
    for text in (mistake.sentence, mistake.remedy):
        assert re.fullmatch(r"[A-Z].*\.", text)
        assert len(text) <= 120
    assert len(set(mistake.ways)) == len(mistake.ways) > 0


def test_the_table_has_every_slug_of_the_contract():
    if not CONTRACT.is_file():
        pytest.skip(f"needs {CONTRACT}, which lies beside the project")
    section = CONTRACT.read_text().split("## Slugs")[1].split("## Fairness")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    slugs = {slug for row in rows for slug in re.findall(r"`([a-z0-9-]+)`", row)}
    assert slugs - {"correct", "unknown"} == set(TABLE)


def test_the_page_is_that_of_the_table():
    committed = (ROOT / "docs" / "mistakes.md").read_text()
    assert committed == page(), "stale: python -m tinygrad_fnn.check.mistakes > docs/mistakes.md"


def test_the_command_prints_the_page(capsys):
    runpy.run_module("tinygrad_fnn.check.mistakes", run_name="__main__")
    assert capsys.readouterr().out == page()


def test_the_example_finds_its_ten_mistakes(capsys):
    runpy.run_path(str(ROOT / "examples" / "diagnose_mistakes.py"), run_name="__main__")
    named = re.findall(r"^  ([a-z0-9-]+): ", capsys.readouterr().out, flags=re.MULTILINE)
    assert named == [
        "correct",
        "sign-flipped",
        "extra-g-prime-at-output",
        "missing-g-prime",
        "g-prime-of-a",
        "wrong-column-dropped",
        "updated-weights",
        "overwritten-not-accumulated",
        "bias-not-over-m",
        "l2-ones-on-bias",
        "unrolled-row-major",
    ]
