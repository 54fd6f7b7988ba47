"""The bar: tqdm's where it is, a plain line elsewhere, nothing unless asked for."""

import io
import sys

import pytest
from training.problems import X, Y, loader

from tinygrad_fnn import nn, optim
from tinygrad_fnn.errors import MissingExtraError
from tinygrad_fnn.training import fit, progress


def train(**options):
    model = nn.Linear(4, 2, rng=0)
    return fit(model, loader(), nn.MSELoss(), optim.SGD(model.parameters()), epochs=3, **options)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def no_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def test_insisting_on_tqdm_fails_before_the_work(no_tqdm):
    model = nn.Linear(4, 2, rng=0)
    before = model.W.data.copy()
    with pytest.raises(MissingExtraError, match=r'pip install "tinygrad_fnn\[progress\]"'):
        fit(model, (X, Y), nn.MSELoss(), optim.SGD(model.parameters()), epochs=1, progress="tqdm")
    assert (model.W.data == before).all()


def test_into_a_file_the_plain_bar_writes_one_plain_line(no_tqdm, capsys):
    history = train(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("epoch 3/3: 100% #################### 12/12 [")
    assert err.endswith(f"loss {history['loss'][-1]:.6g}\n")
    assert "\r" not in err
    assert "\x1b" not in err


def test_on_a_terminal_one_line_is_rewritten_and_covers_what_was_there(no_tqdm, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = progress.progress_bar(4, True)
    bar.set_postfix_str("a long text behind it")
    bar.update(2)
    bar.set_postfix_str("")
    bar.update(2)
    bar.close()
    first, second, last = screen.getvalue().removeprefix("\r").split("\r")
    assert " 50% ##########.......... 2/4" in first
    assert "100% #################### 4/4" in second
    assert len(second) == len(first)
    assert last.endswith("\n")
    assert "\x1b" not in screen.getvalue()


def test_updates_are_rare(no_tqdm, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = progress.progress_bar(None, True)
    for _ in range(1000):
        now[0] += 0.001
        bar.update()
    assert screen.getvalue().count("\r") in (9, 10)  # in one second, the rounding of the clock aside
    assert "%" not in screen.getvalue()  # of an unknown total


def test_without_a_standard_error_nothing_is_shown(no_tqdm, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(train(progress=True)) == 3


def test_tqdm_is_taken_where_it_is(monkeypatch):
    tqdm_auto = pytest.importorskip("tqdm.auto")
    bars = []

    class Spy(tqdm_auto.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr(tqdm_auto, "tqdm", Spy)
    train(progress="tqdm")
    train(progress=True)
    assert [(bar.n, bar.total) for bar in bars] == [(12, 12)] * 2
    assert bars[0].desc == "epoch 3/3: "


def test_the_bar_is_closed_after_an_exception(no_tqdm, capsys):
    with pytest.raises(TypeError):
        train(progress=True, metrics={"m": lambda y, z: None})
    assert capsys.readouterr().err.endswith("\n")
