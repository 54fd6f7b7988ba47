"""A training that was ended anywhere, in any way, and goes on: the same bits as one that never ended."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from training.problems import EPOCHS, OPTIMIZERS, RECIPES, TESTS, X, Y, bits, loader, network, train

from tinygrad_fnn import manual_seed, nn, optim
from tinygrad_fnn.errors import AnomalyError
from tinygrad_fnn.serialize import load, save_checkpoint
from tinygrad_fnn.training import Callback, Checkpoint, EarlyStopping, History, LambdaCallback, fit

MSE = nn.MSELoss()
PROGRAM = Path(__file__).with_name("interrupted.py")


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def killed_at(batch):
    """A callback that ends the training after so many batches in all."""
    count = iter(range(1, 10**6))

    def kill(run):
        if next(count) == batch:
            raise Killed

    return LambdaCallback(on_batch_end=kill)


# --- in one process, at every batch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_after_any_batch_and_resumed(recipe, tmp_path):
    model, history = train(recipe, 3)
    for batch in range(1, 13):  # three epochs of four batches
        path = tmp_path / f"{batch}.npz"
        with pytest.raises(Killed):
            train(recipe, 3, [killed_at(batch)], checkpoint=path)
        again, rows = train(recipe, 3, checkpoint=path, resume=True)
        assert bits(again) == bits(model)
        assert rows.rows == history.rows
        assert len(rows.seconds) == 3


def test_killed_in_each_epoch_again(tmp_path):
    model, history = train("adam", 4)
    for _ in range(3):
        with pytest.raises(Killed):
            train("adam", 4, [killed_at(5)], checkpoint=tmp_path / "run.npz", resume=True)
    again, rows = train("adam", 4, checkpoint=tmp_path / "run.npz", resume=True)
    assert bits(again) == bits(model)
    assert rows.rows == history.rows


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_goes_on_with_the_same_bits(kind, tmp_path):
    def run(epochs, **options):
        manual_seed(2)
        model = network()
        return model, fit(model, loader(), MSE, kind(model.parameters()), epochs=epochs, **options)

    path = tmp_path / "run.npz"
    model, history = run(4)
    run(2, checkpoint=path)
    again, rows = run(4, checkpoint=path, resume=True)
    assert bits(again) == bits(model)
    assert rows.rows == history.rows


def test_generators_of_layers_and_of_arrays_go_on(tmp_path):
    def run(epochs, **options):
        model = nn.Sequential(nn.Linear(4, 8, rng=0), nn.Dropout(0.5, rng=9), nn.Linear(8, 2, rng=1))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        rng = np.random.Generator(np.random.MT19937(4))
        fit(model, (X, Y), MSE, optimizer, epochs=epochs, batch_size=8, rng=rng, **options)
        return bits(model)

    path = tmp_path / "run.npz"
    whole = run(4)
    run(2, checkpoint=path)
    assert run(4, checkpoint=path, resume=True) == whole


def test_a_training_that_is_over_is_not_gone_on_with(tmp_path):
    path = tmp_path / "run.npz"
    model, history = train("sgd", 3, checkpoint=path)
    seen = []
    again, rows = train("sgd", 3, [LambdaCallback(on_batch_end=seen.append)], checkpoint=path, resume=True)
    assert seen == []
    assert rows.rows == history.rows
    assert bits(again) == bits(model)
    train("sgd", 2, checkpoint=path, resume=True)  # of fewer epochs than there were
    assert seen == []


def test_a_training_stopped_early_stays_stopped(tmp_path):
    def run(**options):
        model = network(dropout=0.0)
        early = EarlyStopping(patience=2, restore_best=True, min_delta=1e9)
        history = fit(model, loader(), MSE, optim.SGD(model.parameters(), lr=0.1), epochs=9, validation=TESTS,
                      callbacks=[early], checkpoint=tmp_path / "run.npz", **options)  # fmt: skip
        return bits(model), history

    first, history = run()
    again, rows = run(resume=True)
    assert len(history) == len(rows) == 3
    assert again == first
    assert rows.stopped == history.stopped


def test_without_resume_it_begins_anew_and_without_a_file_at_the_beginning(tmp_path):
    path = tmp_path / "run.npz"
    model, history = train("sgd", 2, checkpoint=path, resume=True)
    again, rows = train("sgd", 2, checkpoint=path)
    assert bits(again) == bits(model)
    assert rows.rows == history.rows


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path):
    path = tmp_path / "run.npz"
    train("sgd", 2, checkpoint=path)
    model = nn.Linear(4, 2, rng=0)
    before = bits(model)
    with pytest.raises(ValueError, match="its model is a Sequential, yours a Linear; nothing was changed"):
        fit(model, loader(), MSE, optim.SGD(model.parameters()), epochs=3, checkpoint=path, resume=True)
    assert bits(model) == before


def test_a_callback_that_was_not_there_begins_anew_and_one_of_a_kind_keeps_its_own(tmp_path):
    class Counter(Callback):
        def __init__(self):
            self.count = 0

        def on_epoch_end(self, run):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    path = tmp_path / "run.npz"
    first, second = Counter(), Counter()
    second.count = 10
    train("sgd", 2, [first, second], checkpoint=path)
    callbacks = [Counter(), Counter(), Counter()]
    train("sgd", 3, callbacks, checkpoint=path, resume=True)
    assert [callback.count for callback in callbacks] == [3, 13, 1]


def test_the_best_epoch_may_lie_before_the_interruption(tmp_path):
    """The best of all is the second; after the third the training goes on, and the fourth is better than that."""
    scores = [5, 1, 3, 2, 4, 2]

    def score(run):
        run.row["score"] = scores[run.epoch - 1]

    def run(epochs, **options):
        best = Checkpoint(tmp_path / "best.npz", best_only=True, monitor="score")
        early = EarlyStopping("score", patience=5, restore_best=True)
        callbacks = [LambdaCallback(on_epoch_end=score), best, early]
        model, _ = train("adam", epochs, callbacks, checkpoint=tmp_path / "run.npz", **options)
        return bits(model), best.best, load(tmp_path / "best.npz")["epoch"]

    whole = run(6)
    assert whole[1:] == (1, 2)
    run(3)
    assert run(6, resume=True) == whole


def test_a_number_that_is_no_number_survives(tmp_path):
    """A validation loss of NaN stands in the history of the checkpoint too."""
    path = tmp_path / "run.npz"

    def run(epochs, **options):
        model = nn.Linear(4, 2, rng=0)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        tests = TESTS[0] * np.nan, TESTS[1]
        return fit(model, loader(), MSE, optimizer, epochs=epochs, validation=tests, checkpoint=path, **options)

    run(1)
    assert np.isnan(run(2, resume=True)["val_loss"]).all()


def test_the_good_checkpoint_is_kept_when_the_loss_is_no_number(tmp_path):
    path, epoch = tmp_path / "run.npz", [0]
    model = nn.Linear(4, 2, rng=0)

    def loss(output, y):
        return MSE(output, y) * (np.nan if epoch[0] == 3 else 1.0)

    count = LambdaCallback(on_epoch_begin=lambda run: epoch.__setitem__(0, run.epoch))
    with pytest.raises(FloatingPointError, match="epoch 3, batch 1") as caught:
        fit(model, loader(), loss, optim.SGD(model.parameters(), lr=0.1), epochs=5, callbacks=[count], checkpoint=path)
    assert load(path)["epoch"] == 2
    assert caught.value.history["epoch"] == [1, 2]


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def default_handler():
    """Python's own, as in a program; the test runner may have another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_at(epoch, batch):
    def press(run):
        if (run.epoch, run.batch) == (epoch, batch):
            signal.raise_signal(signal.SIGINT)

    return press


@pytest.mark.parametrize("recipe", RECIPES)
def test_ctrl_c_ends_cleanly_and_the_training_can_be_resumed(recipe, tmp_path, default_handler):
    path, ended = tmp_path / "run.npz", []
    whole, history = train(recipe, 4)
    callbacks = [LambdaCallback(on_batch_end=press_at(3, 2), on_fit_end=ended.append)]
    _, rows = train(recipe, 4, callbacks, checkpoint=path)
    assert rows.interrupted
    assert rows.rows == history.rows[:2]
    assert len(ended) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again, rows = train(recipe, 4, checkpoint=path, resume=True)
    assert not rows.interrupted
    assert rows.rows == history.rows
    assert bits(again) == bits(whole)


def test_ctrl_c_waits_for_the_step_under_way(default_handler):
    """Pressed within the forward pass: the update of this batch is made whole, and no other."""
    pressed = []

    class Spy(nn.Linear):
        def forward(self, x):
            pressed.append(len(x))
            if len(pressed) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    def after(batches, kind):
        model = kind(4, 2, rng=0)
        history = fit(model, batches, MSE, optim.SGD(model.parameters(), lr=0.1), epochs=1)
        return bits(model), history

    ours, history = after(loader(), Spy)
    assert history.interrupted
    assert len(pressed) == 3
    theirs, _ = after(list(loader())[:3], nn.Linear)
    assert ours == theirs


@pytest.mark.parametrize("moment", ["validation", "on_epoch_end of the last"])
def test_ctrl_c_elsewhere_is_not_lost(moment, default_handler):
    model = nn.Linear(4, 2, rng=0)
    if moment == "validation":
        callbacks = []
        tests = [TESTS, TESTS]

        def loss(output, y):
            if not output.requires_grad:
                signal.raise_signal(signal.SIGINT)
            return MSE(output, y)
    else:
        callbacks, tests, loss = [LambdaCallback(on_epoch_end=lambda run: press_at(2, 4)(run))], None, MSE
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, loader(), loss, optimizer, epochs=2, validation=tests, callbacks=callbacks)
    assert history.interrupted
    assert len(history) == (0 if moment == "validation" else 2)


def test_the_second_ctrl_c_is_not_held_back(default_handler):
    def press(run):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    model = nn.Linear(4, 2, rng=0)
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(
            model,
            loader(),
            MSE,
            optim.SGD(model.parameters()),
            epochs=2,
            callbacks=[LambdaCallback(on_batch_end=press)],
        )
    assert len(caught.value.history) == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_program_is_left_alone():
    def own(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGINT, own)
    try:
        model = nn.Linear(4, 2, rng=0)
        press = LambdaCallback(on_batch_end=press_at(1, 1))
        with pytest.raises(TimeoutError):
            fit(model, loader(), MSE, optim.SGD(model.parameters()), epochs=2, callbacks=[press])
        assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_the_training_runs_and_an_interrupt_ends_it_cleanly():
    found = []
    started = threading.Event()

    def work():
        model = nn.Linear(4, 2, rng=0)
        go = LambdaCallback(on_epoch_end=lambda run: started.set())
        found.append(fit(model, loader(), MSE, optim.SGD(model.parameters()), epochs=10**6, callbacks=[go]))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(60)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt))
    thread.join(60)
    assert not thread.is_alive()
    assert found[0].interrupted
    assert 1 <= len(found[0]) < 10**6


# --- processes that are killed --------------------------------------------------------------------------------------


def start(recipe, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), recipe, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_process_killed_at_random_moments_loses_the_epoch_under_way_only(recipe, tmp_path):
    model, history = train(recipe)
    moments = random.Random(recipe)
    killed = 0
    for _ in range(3):
        process = start(recipe, tmp_path)
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.06))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if killed:  # whole at any moment, with all epochs of the checkpoint and at most one that it has not yet
            done = load(tmp_path / "run.npz")["epoch"]
            for rows in (History.from_csv(tmp_path / "log.csv"), History.from_jsonl(tmp_path / "log.jsonl")):
                assert len(rows) - done in (0, 1)
                assert rows.rows == history.rows[: len(rows)]
    assert killed  # or nothing was tested
    process = start(recipe, tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    end = load(tmp_path / "end.npz")
    assert {name: values.tobytes() for name, values in end["state"].items()} == bits(model)
    assert end["rows"] == history.rows
    assert History.from_csv(tmp_path / "log.csv").rows == history.rows
    assert History.from_jsonl(tmp_path / "log.jsonl").rows == history.rows
    assert len(history) == EPOCHS


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")
def test_a_process_interrupted_by_ctrl_c_ends_by_itself(tmp_path):
    process = start("sgd", tmp_path)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    end = load(tmp_path / "end.npz")
    assert end["interrupted"] or len(end["rows"]) == EPOCHS


def test_a_file_of_save_checkpoint_is_refused_before_anything_is_changed(tmp_path):
    path, other, model = tmp_path / "c.npz", nn.Linear(4, 2, rng=1), nn.Linear(4, 2, rng=0)
    save_checkpoint(path, model=other, optimizer=optim.SGD(other.parameters(), lr=0.1), epoch=3)
    before = bits(model)
    with pytest.raises(ValueError, match="no checkpoint of a training: it has no history"):
        fit(model, loader(), MSE, optim.SGD(model.parameters(), lr=0.1), epochs=1, checkpoint=path, resume=True)
    assert bits(model) == before


@pytest.mark.filterwarnings("ignore:overflow")
def test_infinite_weights_do_not_replace_a_good_checkpoint(tmp_path):
    """The loss and the gradient of the only step are numbers, and what it leads to is not."""
    path, model = tmp_path / "c.npz", nn.Linear(4, 2, rng=0)
    batches = [(x * 10, y * 10) for x, y in list(loader())[:1]]
    with pytest.raises(AnomalyError, match=r"W is no longer finite after epoch 1"):
        fit(model, batches, MSE, optim.SGD(model.parameters(), lr=1.5e308), epochs=3, checkpoint=path)
    assert np.isfinite(load(path)["checkpoint"]["model"]["state"]["W"]).all()
