"""Callbacks: when they are called, when they stop, and what they write."""

import inspect
import math

import numpy as np
import pytest
from training.problems import TESTS, bits, loader, network

from tinygrad_fnn import manual_seed, nn, no_grad, optim, training
from tinygrad_fnn.serialize import load_checkpoint
from tinygrad_fnn.training import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    History,
    JSONLogger,
    LambdaCallback,
    LearningRateMonitor,
    WeightAveraging,
    evaluate,
    fit,
)

MSE = nn.MSELoss()
KINDS = [getattr(training, name) for name in training.__all__ if inspect.isclass(getattr(training, name))]
CALLBACKS = [kind for kind in KINDS if issubclass(kind, Callback)]


def train(callbacks=(), epochs=3, model=None, **options):
    model = model or nn.Linear(4, 2, rng=0)
    optimizer = options.pop("optimizer", None) or optim.SGD(model.parameters(), lr=0.1)
    return fit(model, loader(), MSE, optimizer, epochs=epochs, callbacks=callbacks, **options)


class Scripted(Callback):
    """Puts numbers of its own into the rows."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, run):
        run.row["score"] = self.values[run.epoch - 1]


# --- the moments ----------------------------------------------------------------------------------------------------


def test_the_moments_come_in_order_and_know_where_they_are():
    seen = []
    moments = [name for name in vars(Callback) if name.startswith("on_")]

    def note(name):
        return lambda run: seen.append((name, run.epoch, run.batch, len(run.history), "loss" in run.row))

    history = train([LambdaCallback(**{name: note(name) for name in moments})], epochs=2, accumulate=3)
    assert {name for name, *_ in seen} == set(moments)
    epoch = [("on_epoch_begin", 1, 0, 0, False), ("on_batch_end", 1, 3, 0, False), ("on_batch_end", 1, 4, 0, False)]
    assert seen[:5] == [("on_fit_begin", 0, 0, 0, False), *epoch, ("on_epoch_end", 1, 4, 1, True)]
    assert seen[-1] == ("on_fit_end", 2, 4, 2, True)
    assert len(history) == 2


def test_every_event_has_its_function_in_lambda_callback():
    events = [name for name in vars(Callback) if name.startswith("on_")]
    assert sorted(inspect.signature(LambdaCallback).parameters) == sorted(events)
    with pytest.raises(TypeError, match="on_epoch_end is 3"):
        LambdaCallback(on_epoch_end=3)


def test_run_loss_is_that_of_the_batch():
    losses = []
    history = train([LambdaCallback(on_batch_end=lambda run: losses.append(run.loss))], epochs=1)
    assert math.isclose(np.average(losses, weights=[8, 8, 8, 6]), history["loss"][0], rel_tol=1e-14)


def test_what_a_callback_puts_into_the_row_is_in_the_history():
    history = train([Scripted([np.float32(0.5), 2, True])])
    assert [repr(v) for v in history["score"]] == ["0.5", "2", "1"]
    with pytest.raises(TypeError, match=r"run\.row: score is 'high', wanted a number"):
        train([Scripted(["high"] * 3)])


@pytest.mark.parametrize("kind", CALLBACKS)
def test_every_callback_is_the_base_class_or_says_what_it_is_for(kind):
    assert kind.__doc__
    assert kind.__doc__ != Callback.__doc__ or kind is Callback


# --- stopping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2}, 4, 2),
        ([3, 2, 2, 1, 1, 1], {"patience": 2}, 6, 1),
        ([1, 2, 3, 4], {"patience": 1}, 2, 1),
        ([1, 2, 3, 2, 1], {"patience": 2, "mode": "max"}, 5, 3),
        ([3, 2, 1.5, 1, 0.5, 0], {"patience": 2, "min_delta": 1}, 5, 1.5),  # 2 is better by 1, and not by more
        ([math.nan, 1, math.nan, math.nan, 0], {"patience": 2}, 4, 1),
        ([math.inf, math.nan, 3], {"patience": 2}, 3, 3),
    ],
)
def test_early_stopping_counts_epochs_without_a_better_one(values, options, epochs, best):
    early = EarlyStopping("score", **options)
    history = train([Scripted(values), early], epochs=len(values))
    assert len(history) == epochs
    assert early.best == best
    if epochs < len(values):
        assert history.stopped == f"no better score for {options['patience']} epochs, the best is {best}"
    else:
        assert "no better" in history.stopped or not history.stopped


def test_restore_best_brings_back_parameters_and_buffers():
    kept = {}

    def keep(run):
        kept[run.epoch] = bits(run.model)

    for restore in (True, False):
        model = network()
        early = EarlyStopping("score", patience=2, restore_best=restore)
        train([Scripted([3, 1, 2, 2, 0]), LambdaCallback(on_epoch_end=keep), early], epochs=5, model=model)
        assert bits(model) == kept[2 if restore else 4]
        assert kept[2] != kept[4]


def test_a_callback_begins_anew_in_another_training():
    early = EarlyStopping("score", patience=2, restore_best=True)
    assert len(train([Scripted([1, 2, 3, 4]), early], epochs=4)) == 3
    assert len(train([Scripted([9, 8, 7, 6]), early], epochs=4)) == 4


@pytest.mark.parametrize(
    "make", [EarlyStopping, lambda **options: Checkpoint("unwritten.npz", best_only=True, **options)]
)
def test_what_is_monitored_must_be_there(make):
    with pytest.raises(KeyError, match=r"monitor is 'val_loss', and the epoch has epoch, loss; pass validation="):
        train([make()])
    with pytest.raises(KeyError, match="monitor is 'acc', and the epoch has epoch, loss"):
        train([make(monitor="acc")])
    for wrong in ({"mode": "least"}, {"monitor": 3}):
        with pytest.raises((ValueError, TypeError), match=f"{next(iter(wrong))} is "):
            make(**wrong)


@pytest.mark.parametrize("wrong", [{"patience": 0}, {"patience": 1.5}, {"patience": True}, {"min_delta": -1}])
def test_early_stopping_refuses(wrong):
    with pytest.raises(ValueError, match=f"EarlyStopping: {next(iter(wrong))} is"):
        EarlyStopping(**wrong)


# --- files ----------------------------------------------------------------------------------------------------------


def test_checkpoint_of_the_best_epoch(tmp_path):
    kept = {}

    def keep(run):
        kept[run.epoch] = bits(run.model)

    path, model = tmp_path / "best.npz", network()
    best = Checkpoint(path, best_only=True, monitor="score", mode="max")
    train([best, Scripted([1, 3, 2]), LambdaCallback(on_epoch_end=keep)], model=model)
    other = network()
    found = load_checkpoint(path, model=other)
    assert found["epoch"] == 2
    assert [row["score"] for row in found["history"]] == [1, 3]
    assert bits(other) == kept[2]


def test_a_checkpoint_holds_every_epoch_and_the_start(tmp_path):
    path, epochs = tmp_path / "run.npz", []

    def look(run):
        epochs.append(load_checkpoint(path)["epoch"])

    train([LambdaCallback(on_epoch_begin=look)], checkpoint=path)
    look(None)
    assert epochs == [0, 1, 2, 3]


def test_a_place_that_cannot_be_written_to_is_found_out_before_the_work(tmp_path):
    place = tmp_path / "missing" / "file"
    for options in ({"checkpoint": place}, {"callbacks": [CSVLogger(place)]}, {"callbacks": [JSONLogger(place)]}):
        model = nn.Linear(4, 2, rng=0)
        before = bits(model)
        with pytest.raises(OSError, match="missing"):
            train(model=model, **options)
        assert bits(model) == before


@pytest.mark.parametrize(("kind", "read"), [(CSVLogger, History.from_csv), (JSONLogger, History.from_jsonl)])
def test_logs_hold_the_history_at_any_moment(kind, read, tmp_path):
    path = tmp_path / "log"
    path.write_text("of an earlier training")
    lengths = []

    def look(run):
        lengths.append(len(read(path)))

    logger = kind(path)
    history = train([LambdaCallback(on_epoch_begin=look), logger], validation=TESTS)
    assert lengths == [0, 1, 2]
    assert read(path).rows == history.rows


@pytest.mark.parametrize(("kind", "read"), [(CSVLogger, History.from_csv), (JSONLogger, History.from_jsonl)])
def test_a_column_that_comes_later_or_goes_is_no_trouble(kind, read, tmp_path):
    def sometimes(run):
        if run.epoch in (2, 3):
            run.row["extra"] = np.float64(run.epoch)

    path = tmp_path / "log"
    history = train([LambdaCallback(on_epoch_end=sometimes), kind(path)], epochs=4)
    assert read(path).rows == history.rows
    assert ["extra" in row for row in history] == [False, True, True, False]


# --- the rest -------------------------------------------------------------------------------------------------------


def test_learning_rates_are_those_that_the_epoch_was_trained_with():
    model = nn.Linear(4, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    history = train([LearningRateMonitor()], model=model, optimizer=optimizer, scheduler=scheduler)
    assert history["lr"] == [0.5, 0.25, 0.125]
    groups = optim.SGD([{"params": [model.W]}, {"params": [model.b], "lr": 0.25}], lr=0.5)
    history = train([LearningRateMonitor()], model=model, optimizer=groups, epochs=1)
    assert list(history[0]) == ["epoch", "lr_0", "lr_1", "loss"]
    assert (history["lr_0"], history["lr_1"]) == ([0.5], [0.25])


def test_averaged_weights_are_validated_and_put_back():
    model = network(dropout=0.0)
    ema = optim.EMA(model, 0.9)
    trained = []
    history = train([WeightAveraging(ema), LambdaCallback(on_epoch_end=lambda run: trained.append(bits(run.model)))],
                    model=model, validation=TESTS)  # fmt: skip
    assert bits(model) == trained[-1]
    plain = network(dropout=0.0)
    average = [p.data.copy() for p in plain.parameters()]
    optimizer = optim.SGD(plain.parameters(), lr=0.1)
    batches = loader()
    for _ in range(3):
        for x, y in batches:
            optimizer.zero_grad()
            MSE(plain(x), y).backward()
            optimizer.step()
            average = [0.9 * a + 0.1 * p.data for a, p in zip(average, plain.parameters(), strict=True)]
    assert bits(plain) == bits(model)
    with no_grad():
        for p, a in zip(plain.parameters(), average, strict=True):
            p.data = a
    expected = evaluate(plain, TESTS, MSE)["loss"]
    assert math.isclose(history["val_loss"][-1], expected, rel_tol=1e-12)  # of 12 updates, each rounded otherwise
    with pytest.raises(TypeError, match="ema is a float"):
        WeightAveraging(0.9)


def test_seconds_are_kept_apart():
    manual_seed(0)
    history = train()
    assert len(history.seconds) == 3
    assert all(s > 0 for s in history.seconds)
    assert "seconds" not in history
