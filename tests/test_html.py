"""HTML for notebooks: static, escaped, small; whatever the objects and their names hold."""

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_fnn import Tensor, check, nn
from tinygrad_fnn.check import textbook
from tinygrad_fnn.html import LIMIT, preformatted, table
from tinygrad_fnn.training import History

EVIL = "<img src=x onerror=alert(1)>'\"&</pre><script>"
ALLOWED = {"div": {"class"}, "style": set(), "pre": set(), "table": {"hidden"}, "tr": set(), "th": set()}
ALLOWED |= {"td": {"colspan"}}


class Reader(HTMLParser):
    """What a browser would see: the text of each element; anything that is not allowed, or left open, fails."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.rows = [], {}, []
        self.feed(html)
        self.close()
        assert not self.open
        assert len(html.encode("utf-8")) <= LIMIT

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= ALLOWED[tag]
        self.open.append(tag)
        self.texts.setdefault(tag, [])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        self.texts[self.open[-1]].append(data)

    def handle_comment(self, data):
        pytest.fail(f"a comment: {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment

    def text(self, tag):
        return "".join(self.texts[tag])


# --- the helper -----------------------------------------------------------------------------------------------------

texts = st.text(max_size=300)


@given(text=texts)
@example(text=EVIL)
@example(text="]]> <!-- &amp; &#x3c;")
def test_any_text_stays_text(text):
    assert Reader(preformatted(text)).text("pre") == text


def test_a_lone_surrogate_as_a_file_name_may_have_is_no_error():
    assert Reader(preformatted("name \udcff")).text("pre") == r"name \udcff"


@pytest.mark.parametrize("letter", ["a", "&", '"', "θ", "\U0001f600", "a&\n"])
def test_a_text_that_is_too_long_loses_its_end_and_says_so(letter):
    text = letter * LIMIT
    shown, _, note = Reader(preformatted(text)).text("pre").rpartition("\n")
    assert text.startswith(shown)
    assert note == "... the rest is left out; print() shows all"
    assert len(preformatted(text).encode("utf-8")) > 0.9 * LIMIT  # not more than has to be
    assert Reader(preformatted(letter * 1000)).text("pre") == letter * 1000


@given(cells=st.lists(st.lists(st.one_of(texts, st.integers(), st.floats()), min_size=2, max_size=2), max_size=5))
@example(cells=[[EVIL, EVIL]])
def test_a_table_has_its_cells_and_its_text(cells):
    seen = Reader(table([EVIL, "b"], cells, EVIL))
    assert seen.text("pre") == EVIL
    assert seen.rows[0] == [EVIL, "b"]
    for row, given_row in zip(seen.rows[1:], cells, strict=True):
        for cell, value in zip(row, given_row, strict=True):
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
            assert cell == (text if len(text) <= 200 else text[:197] + "...")


def test_a_long_table_loses_its_middle():
    rows = [[k, float(k)] for k in range(5000)]
    html = table(["epoch", "loss"], rows, "\n".join(map(str, rows)))
    shown = Reader(html).rows[1:]
    gap = shown.index(["..."])
    assert [row[0] for row in shown[:gap]] == [str(k) for k in range(gap)]
    after = len(shown) - gap - 1
    assert [row[0] for row in shown[gap + 1 :]] == [str(k) for k in range(5000 - after, 5000)]
    assert abs(gap - after) <= 1
    assert len(html.encode("utf-8")) > 0.9 * LIMIT


def test_without_its_styles_the_text_is_what_is_read():
    html = table(["a"], [[1]], "as text")
    without = html[: html.index("<style>")] + html[html.index("</style>") + len("</style>") :]
    assert "<pre>as text</pre>" in without
    assert "<table hidden>" in without  # browsers show nothing of it, the rule that did is gone


def test_what_is_too_wide_for_a_table_is_shown_without_some_rows_or_as_text():
    assert Reader(table(["a"] * 40, [["&" * 300] * 40] * 3, "text")).rows == [["a"] * 40, ["..."]]
    assert table(["&" * 300] * 40, [[1] * 40], "text") == "<pre>text</pre>"


# --- the objects ----------------------------------------------------------------------------------------------------

problem = [np.array([[0.1, -0.2, 0.3], [0.5, 0.1, -0.4]])], [[1.0, 2.0], [3.0, 4.0]], [[1, 0], [0, 1]]


def evil_module():
    module = nn.Module()
    setattr(module, EVIL, nn.Linear(2, 3, rng=0))
    module.parts = {EVIL: nn.Parameter(np.ones(2))}
    return module


OBJECTS = {
    "Tensor": lambda: Tensor([1.0, 2.0], requires_grad=True),
    "Tensor, recorded": lambda: np.exp(Tensor([[1.0]], requires_grad=True)),
    "Tensor, large": lambda: Tensor(np.random.default_rng(0).normal(size=(999, 1))),
    "Tensor, empty": lambda: Tensor(np.zeros((0, 3))),
    "Parameter": lambda: nn.Parameter(np.float32(1)),
    "Module": lambda: nn.DigitNet(rng=0),
    "Module, deep": lambda: nn.Sequential(*(nn.Linear(1, 1, rng=0) for _ in range(500))),
    "Module, evil": evil_module,
    "History": lambda: History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]),
    "History, long": lambda: History([{"epoch": k, EVIL: 1 / k} for k in range(1, 3000)]),
    "History, empty": History,
    "Comparison": lambda: check.compare(*problem),
    "Diagnosis": lambda: check.diagnose(textbook.gradients(*problem).thetas, *problem),
    "Diagnosis, wrong": lambda: check.diagnose([g * 2 for g in textbook.gradients(*problem).thetas], *problem),
    "GradcheckReport": lambda: check.gradcheck(np.exp, [np.ones(3)]),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_shown_as_static_html(name):
    thing = OBJECTS[name]()
    seen = Reader(thing._repr_html_())
    shown = seen.text("pre").removesuffix("\n... the rest is left out; print() shows all")
    as_text = str(thing)
    assert shown.startswith(as_text) or as_text.startswith(shown)


def test_names_that_are_markup_stay_text():
    shown = Reader(evil_module()._repr_html_()).text("pre")
    assert f"({EVIL}): Linear" in shown
    assert f"{EVIL} (2,)" in shown  # the parameter, in the table of shapes


def test_a_module_shows_its_structure_and_its_counts():
    shown = Reader(nn.DigitNet(rng=0)._repr_html_()).text("pre")
    assert "(layers.0): Linear(400, 25" in shown
    assert "10,285" in shown


def test_a_comparison_has_a_row_for_each_layer():
    comparison = check.compare([np.ones((3, 3)) / 4, np.ones((2, 4)) / 5], *problem[1:])
    rows = Reader(comparison._repr_html_()).rows
    assert rows[0] == ["layer", "autograd/formula", "autograd/numerical", "formula/numerical"]
    assert [row[0] for row in rows[1:]] == ["0", "1"]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx([r.autograd_formula for r in comparison.rows], rel=1e-3)


def test_a_history_has_its_numbers_in_a_table():
    seen = Reader(OBJECTS["History"]()._repr_html_())
    assert seen.rows == [["epoch", "loss"], ["1", "0.5"], ["2", "0.25"]]
