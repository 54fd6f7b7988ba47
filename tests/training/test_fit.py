"""fit against the loop of five lines that it stands for, and what it refuses."""

import logging
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from training.problems import OPTIMIZERS, TESTS, X, Y, bits, loader, network, sgd

from tinygrad_fnn import Tensor, manual_seed, nn, no_grad, optim
from tinygrad_fnn.data import DataLoader
from tinygrad_fnn.errors import AnomalyError, GraphError, ShapeError
from tinygrad_fnn.training import Callback, LambdaCallback, evaluate, fit

MSE = nn.MSELoss()


def linear():
    model = nn.Linear(4, 2, rng=0)
    return model, optim.SGD(model.parameters(), lr=0.1)


# --- the loop of five lines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_fit_gives_the_bits_of_a_plain_loop(kind):
    ours, theirs = network(), network()
    manual_seed(11)
    fit(ours, loader(), MSE, kind(ours.parameters(), lr=0.01), epochs=3)

    manual_seed(11)
    optimizer = kind(theirs.parameters(), lr=0.01)
    batches = loader()
    for _ in range(3):
        for x, y in batches:
            optimizer.zero_grad()
            MSE(theirs(x), y).backward()
            optimizer.step()
    assert bits(ours) == bits(theirs)


def test_everything_at_once_gives_the_bits_of_the_loop_that_does_it():
    ours, theirs = network(), network()
    manual_seed(11)
    optimizer, scheduler = sgd(ours)
    history = fit(
        ours, loader(), MSE, optimizer, epochs=4, validation=DataLoader(TESTS, 4), scheduler=scheduler,
        clip_grad_norm=0.5, clip_grad_value=0.2, accumulate=3, metrics={"mae": lambda y, z: np.abs(y - z).mean()},
    )  # fmt: skip

    manual_seed(11)
    optimizer, scheduler = sgd(theirs)
    batches, losses, val_losses, val_maes = loader(), [], [], []
    for _ in range(4):
        theirs.train()
        rows = list(batches)
        seen = []
        for group in (rows[:3], rows[3:]):
            optimizer.zero_grad()
            for x, y in group:
                loss = MSE(theirs(x), y)
                (loss / len(group)).backward()
                seen.append((loss.item(), len(x)))
            nn.utils.clip_grad_norm_(list(theirs.parameters()), 0.5)
            nn.utils.clip_grad_value_(list(theirs.parameters()), 0.2)
            optimizer.step()
        losses.append(np.average([v for v, _ in seen], weights=[n for _, n in seen]))
        theirs.eval()
        with no_grad():
            val_losses.append(MSE(theirs(TESTS[0]), TESTS[1]).item())
            val_maes.append(np.abs(theirs(TESTS[0]).numpy() - TESTS[1]).mean())
        scheduler.step()
    assert bits(ours) == bits(theirs)
    # Means over batches are summed in another order than means over everything.
    assert_allclose(history["loss"], losses, rtol=1e-14)
    assert_allclose(history["val_loss"], val_losses, rtol=1e-14)
    assert_allclose(history["val_mae"], val_maes, rtol=1e-14)
    assert history["epoch"] == [1, 2, 3, 4]
    assert list(history[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"]


def test_scheduler_of_batches_steps_after_each():
    model, optimizer = linear()
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    fit(model, loader(), MSE, optimizer, epochs=2, scheduler=scheduler, scheduler_interval="batch")
    assert optimizer.param_groups[0]["lr"] == 0.1 * 0.5**8  # four batches of 30 examples by 8, twice; powers of 2


def test_plateau_is_given_the_validation_loss():
    class Recorder:
        def __init__(self, optimizer):
            self.optimizer, self.given = optimizer, []

        def step(self, metrics):
            self.given.append(metrics)

    model, optimizer = linear()
    recorder = Recorder(optimizer)
    history = fit(model, loader(), MSE, optimizer, epochs=2, scheduler=recorder, validation=TESTS)
    assert recorder.given == history["val_loss"]
    recorder.given.clear()
    history = fit(model, loader(), MSE, optimizer, epochs=2, scheduler=recorder)
    assert recorder.given == history["loss"]


@pytest.mark.parametrize("form", [tuple, list])
def test_arrays_lists_and_tensors_are_the_same_data(form):
    first, optimizer = linear()
    fit(first, (X, Y), MSE, optimizer, epochs=2, batch_size=8, rng=3)
    second, optimizer = linear()
    fit(
        second,
        (form(X.tolist()) if form is list else Tensor(X), Tensor(Y)),
        MSE,
        optimizer,
        epochs=2,
        batch_size=8,
        rng=3,
    )
    third, optimizer = linear()
    fit(third, loader(3), MSE, optimizer, epochs=2)
    assert bits(first) == bits(second) == bits(third)


def test_arrays_come_in_batches_of_32_and_in_a_new_order_unless_told_otherwise():
    sizes, orders = [], []

    class Spy(nn.Linear):
        def forward(self, x):
            sizes.append(len(x))
            orders.append(x[:, 0].tolist())
            return super().forward(x)

    model = Spy(1, 1, rng=0)
    rows = np.arange(40.0).reshape(-1, 1) / 40
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    fit(model, (rows, rows), MSE, optimizer, epochs=2, rng=0)
    assert sizes == [32, 8, 32, 8]
    assert orders[0] != orders[2] != sorted(orders[2])
    sizes.clear()
    orders.clear()
    fit(model, (rows, rows), MSE, optimizer, epochs=1, shuffle=False, validation=(rows, rows), batch_size=20)
    assert sizes == [20] * 4
    assert orders[0] + orders[1] == orders[2] + orders[3] == rows.ravel().tolist()


def test_a_list_of_batches_and_an_object_with_iter_will_do():
    class Batches:
        def __iter__(self):
            yield from [(X[:15], Y[:15]), [X[15:], Y[15:]]]

    first, optimizer = linear()
    fit(first, list(Batches()), MSE, optimizer, epochs=2)
    second, optimizer = linear()
    fit(second, Batches(), MSE, optimizer, epochs=2)
    assert bits(first) == bits(second)


def test_float32_stays_float32():
    model = nn.Linear(4, 2, rng=0, dtype=np.float32)
    data = X.astype(np.float32), Y.astype(np.float32)
    history = fit(
        model,
        data,
        MSE,
        optim.Adam(model.parameters()),
        epochs=2,
        validation=data,
        metrics={"n": lambda y, z: z.dtype.itemsize},
    )
    assert model.W.dtype == np.float32
    assert history["n"] == history["val_n"] == [4, 4]
    assert all(type(value) in (int, float) for row in history for value in row.values())


def test_a_single_batch_gives_its_loss_to_the_last_bit():
    model, optimizer = linear()
    loss = MSE(model(X), Y).item()
    history = fit(model, (X, Y), MSE, optimizer, epochs=1, batch_size=30, shuffle=False)
    assert history["loss"] == [loss]


# --- modes and ends -------------------------------------------------------------------------------------------------


def test_modes_are_what_each_part_wants_and_at_the_end_what_they_were():
    modes = []

    class Spy(nn.Module):
        def forward(self, x):
            modes.append(self.training)
            return x

    model = nn.Sequential(nn.Linear(4, 2, rng=0), Spy(), nn.Dropout(0.5))
    model.eval()
    model[2].train()
    before = [module.training for module in model.modules()]
    fit(model, [(X, Y)], MSE, optim.SGD(model.parameters()), epochs=2, validation=[(X, Y)])
    assert modes == [True, False, True, False]
    assert [module.training for module in model.modules()] == before
    evaluate(model, (X, Y), MSE)
    assert [module.training for module in model.modules()] == before

    def fail(run):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        fit(
            model, [(X, Y)], MSE, optim.SGD(model.parameters()), epochs=2, callbacks=[LambdaCallback(on_epoch_end=fail)]
        )
    assert [module.training for module in model.modules()] == before


def test_validation_records_nothing_and_draws_nothing():
    model = network()
    generator = manual_seed(1)
    state = generator.bit_generator.state
    seen = []
    evaluate(model, (X, Y), lambda output, y: seen.append(output.requires_grad) or MSE(output, y))
    assert seen == [False]
    assert generator.bit_generator.state == state


def test_no_epochs_change_nothing_and_give_an_empty_history():
    model, optimizer = linear()
    before = bits(model)
    history = fit(model, (X, Y), MSE, optimizer, epochs=0)
    assert len(history) == 0
    assert history.rows == []
    assert bits(model) == before


@pytest.mark.parametrize("moment", ["on_fit_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_fit_end"])
def test_an_exception_in_a_callback_reaches_the_caller_with_the_history(moment):
    def fail(run):
        if run.epoch == 2 or moment == "on_fit_begin":
            raise ZeroDivisionError(moment)

    model, optimizer = linear()
    with pytest.raises(ZeroDivisionError, match=moment) as caught:
        fit(model, (X, Y), MSE, optimizer, epochs=2, callbacks=[LambdaCallback(**{moment: fail})])
    rows = {"on_fit_begin": 0, "on_epoch_begin": 1, "on_batch_end": 1, "on_epoch_end": 2, "on_fit_end": 2}
    assert len(caught.value.history) == rows[moment]


def test_stop_after_an_epoch_counts_it_and_stop_in_its_middle_does_not():
    model, optimizer = linear()
    stop = LambdaCallback(on_epoch_end=lambda run: run.stop("enough") if run.epoch == 2 else None)
    history = fit(model, loader(), MSE, optimizer, epochs=9, callbacks=[stop])
    assert history["epoch"] == [1, 2]
    assert history.stopped == "enough"
    stop = LambdaCallback(on_batch_end=lambda run: run.stop("enough") if (run.epoch, run.batch) == (2, 3) else None)
    history = fit(model, loader(), MSE, optimizer, epochs=9, callbacks=[stop])
    assert history["epoch"] == [1]
    assert history.stopped == "enough"
    assert not history.interrupted


def test_one_line_of_the_log_for_each_epoch(caplog):
    caplog.set_level(logging.INFO, "tinygrad_fnn")
    model, optimizer = linear()
    history = fit(model, (X, Y), MSE, optimizer, epochs=2, validation=TESTS)
    assert [record.name for record in caplog.records] == ["tinygrad_fnn"] * 2
    first = history[0]
    assert caplog.messages[0].startswith(f"epoch 1/2: loss {first['loss']:.6g}, val_loss {first['val_loss']:.6g}, ")


def test_nothing_is_printed(capsys):
    model, optimizer = linear()
    fit(model, (X, Y), MSE, optimizer, epochs=2)
    assert capsys.readouterr() == ("", "")


# --- no numbers -----------------------------------------------------------------------------------------------------


def poisoned(at: int, value: float = math.nan):
    """Batches of which one holds `value`."""
    rows = X.copy()
    rows[at, 1] = value
    return DataLoader((rows, Y), 5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_data_are_named_and_nothing_is_changed(value):
    model = nn.Sequential(nn.Linear(4, 2, rng=0), nn.BatchNorm1d(2))
    kept = []
    spy = LambdaCallback(on_batch_end=lambda run: kept.append(bits(model)))
    where = f"epoch 1, batch 3: x holds {value} at [2, 1]".replace("[", r"\[")
    with np.errstate(invalid="ignore"), pytest.raises(AnomalyError, match=where) as caught:
        fit(model, poisoned(12, value), MSE, optim.SGD(model.parameters()), epochs=2, callbacks=[spy])
    assert len(kept) == 2
    assert bits(model) == kept[-1]
    assert all(p.grad is None for p in model.parameters())
    assert len(caught.value.history) == 0


class Root(nn.Linear):
    """The square root of an affine map: NaN below 0; the slope at 0 is infinite."""

    def forward(self, x):
        return np.sqrt(super().forward(x))


class Power(nn.Linear):
    def forward(self, x):
        return np.exp(1000 * (super().forward(x) + 1))


@pytest.mark.parametrize(
    ("kind", "weight", "words"),
    [
        (Root, -1.0, r"the loss is nan in epoch 1, batch 1: numpy\.sqrt made a NaN .*, in module Root, at .*forward"),
        (Root, 0.0, r"the gradient is not finite in epoch 1, batch 1: "),
        (Power, 1.0, r"the loss is inf in epoch 1, batch 1: overflow encountered in exp, at .*test_fit.py:\d+"),
    ],
)  # fmt: skip
def test_the_operation_is_named(kind, weight, words):
    model = kind(1, 1, bias=False)
    model.W.data[...] = weight
    with np.errstate(all="ignore"), pytest.raises(AnomalyError, match=words):
        fit(model, [(np.ones((3, 1)), np.full((3, 1), 2.0))], MSE, optim.SGD(model.parameters()), epochs=1)
    assert model.W.data == weight


def test_stop_ends_the_training_and_warn_leaves_the_batch_out():
    model, optimizer = linear()
    history = fit(model, poisoned(12), MSE, optimizer, epochs=2, on_nan="stop")
    assert len(history) == 0
    assert "batch 3" in history.stopped
    model, optimizer = linear()
    with pytest.warns(RuntimeWarning, match="batch 3.*left out") as caught:
        history = fit(model, poisoned(12), MSE, optimizer, epochs=1, on_nan="warn")
    assert caught[0].filename == __file__
    other, optimizer = linear()
    kept = [(X[k : k + 5], Y[k : k + 5]) for k in range(0, 30, 5) if k != 10]
    assert history.rows == fit(other, kept, MSE, optimizer, epochs=1).rows
    assert bits(model) == bits(other)


def test_an_epoch_without_a_number_has_the_loss_nan():
    model, optimizer = linear()
    with pytest.warns(RuntimeWarning, match="left out"):
        history = fit(
            model, [(X * math.nan, Y)], MSE, optimizer, epochs=1, on_nan="warn", metrics={"m": lambda y, z: 1}
        )
    assert math.isnan(history["loss"][0])
    assert math.isnan(history["m"][0])


def test_ignore_is_the_plain_loop():
    model, optimizer = linear()
    history = fit(model, poisoned(12), MSE, optimizer, epochs=1, on_nan="ignore")
    assert np.isnan(model.W.data).all()
    assert math.isnan(history["loss"][0])


def test_large_gradients_that_are_numbers_are_no_anomaly():
    """The square of 1e200 overflows, 1e200 does not."""
    model = nn.Linear(1, 1, bias=False, rng=0)
    history = fit(
        model, [(np.ones((1, 1)), 0)], lambda z, y: z.sum() * 1e200, optim.SGD(model.parameters(), lr=1e-210), epochs=1
    )
    assert len(history) == 1


# --- what is refused ------------------------------------------------------------------------------------------------


def arguments(**changes):
    model, optimizer = linear()
    return {"model": model, "data": (X, Y), "loss": MSE, "optimizer": optimizer, "epochs": 1} | changes


REFUSED = [
    ({"model": 3}, TypeError, "fit: model is a int, wanted a Module"),
    ({"model": nn.Linear}, TypeError, "fit: model is the class Linear, not an instance"),
    ({"data": (X, Y[:5])}, ShapeError, r"fit: data: X is \(30, 4\) and y is \(5, 2\)"),
    ({"data": (X[:0], Y[:0])}, ValueError, r"fit: data: X is \(0, 4\), there are no examples"),
    ({"data": (X, Y, Y)}, TypeError, "fit: data: got a tuple of 3"),
    ({"data": ((X, Y), (X, Y))}, TypeError, "batches go in a list"),
    ({"data": X}, TypeError, "fit: data: got a ndarray"),
    ({"data": {"X": X}}, TypeError, "fit: data: got a dict"),
    ({"data": None}, TypeError, "fit: data: got a NoneType"),
    ({"data": iter([(X, Y)])}, TypeError, "used up after one epoch"),
    ({"data": []}, ValueError, "fit: data: there are no batches"),
    ({"data": [X]}, TypeError, "fit: data: batch 1 is a ndarray of 30, wanted a pair"),
    ({"data": loader(), "batch_size": 3}, ValueError, "batch_size is for"),
    ({"data": loader(), "shuffle": True}, ValueError, "shuffle is for"),
    ({"data": loader(), "rng": 3}, ValueError, "rng is for"),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"validation": 0.2}, TypeError, "fit: validation: got 0.2.*data.split"),
    ({"validation": iter([])}, TypeError, "fit: validation: .*used up"),
    ({"validation": []}, ValueError, "fit: validation: there are no batches"),
    ({"loss": None}, TypeError, "fit: loss is a NoneType, wanted a function"),
    ({"loss": nn.MSELoss}, TypeError, "fit: loss is the class MSELoss, not an instance"),
    ({"loss": nn.MSELoss("none")}, ShapeError, r"fit: the loss has shape \(30, 2\), wanted a scalar"),
    ({"loss": lambda z, y: 1.0}, TypeError, "fit: the loss gave a float, wanted a scalar Tensor"),
    ({"loss": lambda z, y: MSE(z.detach(), y)}, GraphError, "fit: the loss depends on no parameter"),
    ({"optimizer": optim.SGD}, TypeError, "fit: optimizer is the class SGD, not an instance"),
    ({"optimizer": linear()[1]}, ValueError, r"2 parameters that are not the model's, the first of shape \(2, 4\)"),
    ({"epochs": -1}, ValueError, "fit: epochs is -1, wanted an integer >= 0"),
    ({"epochs": 1.0}, ValueError, "fit: epochs is 1.0"),
    ({"epochs": True}, ValueError, "fit: epochs is True"),
    ({"accumulate": 0}, ValueError, "fit: accumulate is 0"),
    ({"on_nan": "explode"}, ValueError, "fit: on_nan is 'explode'"),
    ({"metrics": [len]}, TypeError, "fit: metrics is a list"),
    ({"metrics": {"loss": len}}, ValueError, "cannot be called 'loss'"),
    ({"metrics": {"val_m": len}}, ValueError, "cannot be called 'val_m'"),
    ({"metrics": {"m": 3}}, TypeError, "metric m is a int"),
    ({"metrics": {"m": lambda y, z: y}}, TypeError, "(?s)metric m .*wanted a number"),
    ({"callbacks": Callback()}, TypeError, "callbacks is a Callback, wanted a list"),
    ({"callbacks": [print]}, TypeError, r"callbacks\[0\] is a builtin_function_or_method"),
    ({"scheduler": 3}, TypeError, "scheduler is a int"),
    ({"scheduler_interval": "step"}, ValueError, "scheduler_interval is 'step'"),
    ({"resume": True}, ValueError, "pass checkpoint=path"),
    ({"progress": 3}, ValueError, "fit: progress is 3"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_a_mistake_is_named(changes, kind, words):
    with pytest.raises(kind, match=words):
        fit(**arguments(**changes))


def test_parameters_that_the_loss_does_not_reach_are_an_error():
    model = nn.Sequential(nn.Linear(4, 2, rng=0), nn.Linear(2, 2, rng=1))
    optimizer = optim.SGD(model[1].parameters())
    with pytest.raises(GraphError, match="no parameter that the optimizer has"):
        fit(model, (X, Y), lambda z, y: model[0](X).sum(), optimizer, epochs=1)


def test_frozen_and_left_out_parameters_are_no_error():
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Linear(3, 2, rng=1))
    before = model[0].W.data.copy()
    fit(model, (X, Y), MSE, optim.SGD(model[1].parameters(), lr=0.1), epochs=1)
    assert (model[0].W.data == before).all()


def test_evaluate_names_itself():
    model, _ = linear()
    with pytest.raises(TypeError, match="evaluate: metric m is 'high'"):
        evaluate(model, (X, Y), MSE, {"m": lambda y, z: "high"})
    with pytest.raises(ShapeError, match="evaluate: the loss has shape"):
        evaluate(model, (X, Y), nn.MSELoss("none"))
    with pytest.raises(TypeError, match="evaluate: data: got 3"):
        evaluate(model, 3, MSE)
    with pytest.raises(TypeError, match="evaluate: loss is a NoneType"):
        evaluate(model, (X, Y), None)


def test_a_scheduler_of_another_optimizer_or_of_epochs_is_refused():
    model, optimizer = linear()
    other = optim.lr_scheduler.StepLR(linear()[1], 1)
    with pytest.raises(ValueError, match="another optimizer"):
        fit(model, (X, Y), MSE, optimizer, epochs=1, scheduler=other)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="ReduceLROnPlateau wants the loss of an epoch"):
        fit(model, (X, Y), MSE, optimizer, epochs=1, scheduler=plateau, scheduler_interval="batch")


def test_an_optimizer_that_evaluates_the_loss_itself_is_refused():
    model, _ = linear()
    with pytest.raises(TypeError, match="LBFGS evaluates the loss several times"):
        fit(model, (X, Y), MSE, optim.LBFGS(model.parameters()), epochs=1)


def test_ignored_and_bad_labels_that_come_late_are_those_of_the_plain_loop():
    """The first batches, which are recorded, hold neither."""
    X, y = np.random.default_rng(0).normal(size=(400, 4)), np.arange(400) % 3
    y[300:] = np.where(y[300:] == 2, -100, y[300:])
    loss, models = nn.CrossEntropyLoss(), [nn.Linear(4, 3, rng=0) for _ in range(2)]
    fit(models[0], (X, y), loss, optim.SGD(models[0].parameters(), lr=0.1), epochs=1, batch_size=20, shuffle=False)
    optimizer = optim.SGD(models[1].parameters(), lr=0.1)
    for k in range(0, 400, 20):
        optimizer.zero_grad()
        loss(models[1](X[k : k + 20]), y[k : k + 20]).backward()
        optimizer.step()
    assert models[0].W.data.tobytes() == models[1].W.data.tobytes()
    y[390] = 3
    with pytest.raises(ValueError, match="label 3 is outside"):
        fit(models[0], (X, y), loss, optim.SGD(models[0].parameters(), lr=0.1), epochs=1, batch_size=20, shuffle=False)


@pytest.mark.parametrize("word", ["shuffle", "compiled"])
def test_a_word_is_no_flag(word):
    model = network()
    with pytest.raises(TypeError, match=f"fit: {word} is 'yes', wanted True or False"):
        fit(model, (X, Y), nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), epochs=1, **{word: "yes"})
