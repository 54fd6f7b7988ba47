"""History: columns, rows, the best epoch, files that read back to the same bits, and how it looks."""

import csv
import json
import math
import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_fnn.errors import DataFormatError
from tinygrad_fnn.training import History

ROWS = [{"epoch": 1, "loss": 0.75, "val_loss": 0.8}, {"epoch": 2, "loss": 0.1 + 0.2, "lr": 1e-300}]
NAMES = st.text(min_size=1, max_size=6).filter(lambda name: name.isprintable() or name in ',"\n\r')
NUMBERS = st.floats(width=64) | st.integers(-(2**70), 2**70)


def same(a, b):
    """Equal keys, types and bits, a NaN being itself."""
    return [[(k, repr(v)) for k, v in row.items()] for row in a] == [
        [(k, repr(v)) for k, v in row.items()] for row in b
    ]


def test_columns_and_rows():
    history = History(ROWS)
    assert history["loss"] == [0.75, 0.1 + 0.2]
    assert math.isnan(history["val_loss"][1])
    assert history[1] == ROWS[1]
    assert history[-1] == history[1]
    assert history.keys() == ["epoch", "loss", "val_loss", "lr"]
    assert "lr" in history
    assert "accuracy" not in history
    assert len(history) == 2
    assert list(history) == ROWS
    assert dict(history)["epoch"] == [1, 2]
    with pytest.raises(KeyError, match="no column 'accuracy'; it has epoch, loss, val_loss, lr"):
        history["accuracy"]
    with pytest.raises(IndexError):
        history[2]


def test_rows_are_copied_and_hold_python_numbers():
    given_rows = [{"loss": np.float32(0.5), "n": np.int64(3), "right": True, "array": np.ones(1)}]
    history = History(given_rows)
    assert [(type(v), v) for v in history[0].values()] == [(float, 0.5), (int, 3), (int, 1), (float, 1.0)]
    assert history.rows[0] is not given_rows[0]
    for wrong in ([3], [{"loss": "low"}], [{"loss": None}], [{"loss": np.ones(2)}], [{"loss": 1j}]):
        with pytest.raises(TypeError, match=r"History: .*wanted"):
            History(wrong)


def test_best_takes_the_first_of_equals_and_no_nan():
    history = History([{"epoch": k, "loss": v} for k, v in enumerate([math.nan, 3.0, 1.0, 1.0, 2.0, math.inf])])
    assert history.best()["epoch"] == 2
    assert history.best("loss", "max")["epoch"] == 5
    assert History(ROWS).best()["epoch"] == 1  # by val_loss, which the second has not
    assert History(ROWS).best("loss")["epoch"] == 2
    with pytest.raises(ValueError, match="mode is 'least'"):
        history.best("loss", "least")
    with pytest.raises(ValueError, match="NaN in every epoch"):
        History([{"loss": math.nan}]).best()
    with pytest.raises(KeyError, match="no column 'loss'; it has none"):
        History().best()


@given(rows=st.lists(st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=4), max_size=4))
def test_files_read_back_to_the_same_bits(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    history = History(rows)
    with patch("os.fsync"):  # which takes longer than all the rest
        history.to_jsonl(folder / "h.jsonl")
        history.to_csv(folder / "h.csv")
    assert same(History.from_jsonl(folder / "h.jsonl").rows, rows)
    order = history.keys()
    assert same(History.from_csv(folder / "h.csv").rows, [{k: row[k] for k in order if k in row} for row in rows])


def test_files_are_what_other_programs_read(tmp_path):
    history = History([*ROWS, {"loss": math.nan, "lr": math.inf}, {"lr": -math.inf}])
    history.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["loss"] for line in lines] == ["0.75", "0.30000000000000004", "nan", ""]
    history.to_jsonl(tmp_path / "h.jsonl")

    def refused(name):
        raise AssertionError(f"{name} is no JSON")

    rows = [json.loads(line, parse_constant=refused) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert rows[0] == ROWS[0]
    assert rows[2] == {"loss": None, "lr": math.inf}
    assert rows[3] == {"lr": -math.inf}


@pytest.mark.parametrize("text", ["epoch,loss\n1,0.5\n2\n", "epoch,loss\n1,0.5\n2,low\n"])
def test_a_damaged_csv_names_its_line(text, tmp_path):
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(DataFormatError, match=f"{re.escape(str(path))}, line 3: "):
        History.from_csv(path)


@pytest.mark.parametrize("line", ['{"loss": 0.', "[1]", '{"loss": "low"}', '{"loss": [1]}', ""])
def test_a_damaged_jsonl_names_its_line(line, tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text(f'{{"loss": 0.5}}\n{line}\n')
    with pytest.raises(DataFormatError, match=f"{re.escape(str(path))}, line 2: "):
        History.from_jsonl(path)


def test_repr_is_a_table_that_leaves_out_the_middle():
    history = History([{"epoch": k, "loss": 1 / k} for k in range(1, 101)])
    lines = repr(history).splitlines()
    assert lines[0].split() == ["epoch", "loss"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4", "...", *map(str, range(93, 101))]
    assert len(set(map(len, lines))) == 1
    history.stopped = "enough"
    assert repr(history).endswith("\nstopped: enough")
    history.interrupted = True
    assert repr(history).endswith("\ninterrupted")
    assert repr(History()) == "History of no epochs"


def test_html_is_escaped_and_small():
    html = History([{"epoch": k, "<script>alert(1)</script>": k} for k in range(10_000)])._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert len(html.encode()) <= 20_000
    assert "History of no epochs" in History()._repr_html_()


@pytest.mark.parametrize("reader", [History.from_csv, History.from_jsonl])
def test_a_file_that_is_no_text_or_missing_is_named(reader, tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, np.arange(300))
    with pytest.raises(DataFormatError, match=r"History.from_\w+: .*model.npz is no text"):
        reader(path)
    with pytest.raises(FileNotFoundError, match=r"History.from_\w+: there is no file"):
        reader(tmp_path / "missing")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it before"):
        History([{"epoch": 1, "loss": 2.0}]).to_csv(tmp_path / "nowhere" / "run.csv")
