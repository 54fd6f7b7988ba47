"""fit: a model trained on batches, epoch by epoch. What it computes is what a loop of five lines computes."""

from __future__ import annotations

import inspect
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from os import path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from ..errors import AnomalyError, GraphError, ShapeError
from ..files import StrPath
from ..modes import no_grad
from ..nn import Buffer, Module
from ..nn.utils import clip_grad_norm_, clip_grad_value_
from ..optim import LBFGS, Optimizer
from ..randomness import Seed
from ..replay import compile
from ..rules import plain
from ..tensor import Tensor
from .anomalies import all_finite, cause
from .batches import as_batches, batch_count, examples_in, pairs
from .callbacks import Callback, Checkpoint
from .history import History, Row, number
from .interrupts import Interrupts
from .progress import Bar, progress_bar
from .run import Run

__all__ = ["evaluate", "fit"]

Loss: TypeAlias = Callable[[Any, Any], Tensor]
Metrics: TypeAlias = Mapping[str, Callable[[Any, Any], Any]]

_LOG: Final = logging.getLogger("tinygrad_fnn")
_LOG.addHandler(logging.NullHandler())


def fit(
    model: Module,
    data: Any,  # Any: arrays or batches, see `as_batches`
    loss: Loss,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    rng: Seed = None,
    validation: Any = None,  # Any: as `data`
    metrics: Metrics | None = None,
    scheduler: Any = None,  # Any: one of optim.lr_scheduler, or what behaves like one
    scheduler_interval: Literal["epoch", "batch"] = "epoch",
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
    accumulate: int = 1,
    callbacks: Iterable[Callback] = (),
    checkpoint: StrPath | None = None,
    resume: bool = False,
    progress: bool | Literal["tqdm"] = False,
    on_nan: Literal["raise", "stop", "warn", "ignore"] = "raise",
    compiled: bool = True,
) -> History:
    """Train a model: one step of the optimiser for each batch, and a look at the validation data after each epoch.

    Parameters
    ----------
    model : Module
        In training mode while it is trained and in evaluation mode while it is validated; at the end every module has
        the mode that it had.
    data : tuple (X, y), DataLoader, or re-iterable of pairs (x, y)
        Arrays with a row for each example, or batches.
    loss : callable
        ``loss(output, target)``, a scalar Tensor: ``nn.CrossEntropyLoss()``.
    optimizer : Optimizer
        Of parameters of `model`.
    epochs : int >= 0
        How often to go through the data, the epochs before a resumption included.
    batch_size : int > 0, optional
        For arrays; 32 by default. The validation arrays are taken in batches of this size as well.
    shuffle : bool, optional
        For arrays: whether each epoch has an order of its own; True by default.
    rng : numpy.random.Generator or int, optional
        For arrays: where the orders come from; the package's generator by default, see `manual_seed`.
    validation : as `data`, optional
        Its loss and metrics stand in the history under ``val_`` names.
    metrics : dict of str to callable, optional
        ``metric(y_true, output)``, a number, of all targets and outputs of an epoch in plain arrays. Those of the
        training data are what the model gave while it was trained.
    scheduler : optional
        One of `optim.lr_scheduler`, of the same optimiser. One that wants a value (`ReduceLROnPlateau`) is given the
        validation loss, or the loss where there is none.
    scheduler_interval : {'epoch', 'batch'}
        After what the scheduler takes a step.
    clip_grad_norm, clip_grad_value : float > 0, optional
        The most that the norm of the whole gradient, or any entry of it, may be; see `nn.utils`.
    accumulate : int > 0
        Batches for each step; its gradient is the mean of theirs.
    callbacks : iterable of Callback
        Called in this order, those of kind `Checkpoint` last.
    checkpoint : str or os.PathLike, optional
        A file for everything that going on needs, replaced after each epoch.
    resume : bool
        Go on from `checkpoint` if it is there. What follows has the bits of a training that never ended.
    progress : bool or 'tqdm'
        Show a bar on the standard error: tqdm's where it is installed, a plain line elsewhere; 'tqdm' insists.
    on_nan : {'raise', 'stop', 'warn', 'ignore'}
        What to do about a loss or a gradient that is NaN or infinite: raise an error that says where it comes from, end
        the training, or warn and leave out the step. In these cases parameters and buffers stay as they were before the
        batch. 'ignore' does not look.
    compiled : bool
        Record two batches of each shape and replay them from then on, where that can be done, with the same bits; see
        `compile`. Python code in the model or the loss that prints, or draws from a generator of its own, wants False.

    Returns
    -------
    History
        The loss of each epoch, the mean over its examples as the model met them; the metrics; those of the validation.

    Raises
    ------
    AnomalyError
        If a loss or a gradient is no number; names epoch, batch, and the operation if it can be found.
    TypeError, ValueError
        If an argument is of the wrong kind, there are no batches, or the loss is no scalar.
    GraphError
        If the loss does not depend on the parameters that the optimiser has.
    MissingExtraError
        If ``progress='tqdm'`` and tqdm is missing.

    Notes
    -----
    An exception carries the history so far in its attribute ``history``.

    Ctrl-C ends the training after the batch under way, and the history is returned with ``interrupted`` true; the
    second one raises KeyboardInterrupt at once. Each epoch is one line at level INFO of the logger ``tinygrad_fnn``.

    Examples
    --------
    >>> from tinygrad_fnn import nn, optim
    >>> X = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> model = nn.Linear(1, 1, rng=0)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.3)
    >>> history = fit(model, (X, 2 * X + 1), nn.MSELoss(), optimizer, epochs=50, batch_size=16, rng=0)
    >>> model.W.data.round(6).item(), model.b.data.round(6).item()
    (2.0, 1.0)
    """
    _check(model, loss, optimizer, epochs, accumulate, metrics, on_nan)
    _check_scheduler(scheduler, scheduler_interval, optimizer)
    for name, flag in (("shuffle", shuffle), ("compiled", compiled)):
        if not isinstance(flag, bool | np.bool) and not (flag is None and name == "shuffle"):
            raise TypeError(f"fit: {name} is {flag!r}, wanted True or False")
    if shuffle is None and isinstance(data, tuple):
        shuffle = True
    batches = as_batches("fit: data", data, batch_size, shuffle, rng)
    tests = None
    if validation is not None:
        tests = as_batches("fit: validation", validation, batch_size if isinstance(validation, tuple) else None)
    run = Run(model, optimizer, scheduler, batches, epochs, _in_order(callbacks, checkpoint))
    step = _Step(run, loss, clip_grad_norm, clip_grad_value, on_nan, compiled)
    if resume:
        if checkpoint is None:
            raise ValueError("fit: resume=True goes on from a file; pass checkpoint=path")
        if path.exists(checkpoint):
            run.resume(checkpoint)
    count = batch_count(batches)
    bar = progress_bar(None if count is None else count * max(epochs - run.epoch, 0), progress)

    with _history_kept(run.history), _modes_kept(model), Interrupts() as interrupts, closing(bar):
        try:
            run.tell("on_fit_begin")
            while run.epoch < epochs and not run.stopped:
                start = time.perf_counter()
                run.begin_epoch()
                bar.set_description(f"epoch {run.epoch}/{epochs}")
                run.tell("on_epoch_begin")
                score = _Score("fit", metrics)
                model.train()
                for group in _groups(pairs("fit: data", batches), accumulate):
                    outcomes = step(group)
                    run.batch += len(group)
                    if outcomes is not None:
                        run.loss = score.add(outcomes)
                        if scheduler is not None and scheduler_interval == "batch":
                            scheduler.step()
                        run.tell("on_batch_end")
                    bar.update(len(group))
                    interrupts.check()
                    if run.stopped:
                        break
                if run.stopped:  # an epoch that was cut short does not count
                    break
                run.row.update(score.numbers())
                if tests is not None:
                    run.row.update(_validated(run, interrupts.between(pairs("fit: validation", tests)), loss, metrics))
                if scheduler is not None and scheduler_interval == "epoch":
                    _advance(scheduler, run.row)
                if on_nan != "ignore" and not step.sound():
                    break
                run.end_epoch(time.perf_counter() - start)
                run.tell("on_epoch_end")
                _report(run, bar)
                interrupts.check()
        except KeyboardInterrupt:
            if interrupts.count > 1:
                raise
            run.history.interrupted = True
        run.tell("on_fit_end")
    return run.history


def evaluate(
    model: Module,
    data: Any,  # Any: as for `fit`
    loss: Loss,
    metrics: Metrics | None = None,
    *,
    batch_size: int | None = None,
) -> Row:
    """Loss and metrics of a model on data, as `fit` computes them for its validation.

    Parameters
    ----------
    model : Module
        In evaluation mode while it computes, and in its own mode again afterwards. Nothing is recorded.
    data, loss, metrics, batch_size
        As for `fit`.

    Returns
    -------
    dict of str to number
        'loss', the mean over the examples, and each metric.

    Raises
    ------
    TypeError, ValueError
        As for `fit`.

    Examples
    --------
    >>> from tinygrad_fnn import nn
    >>> model = nn.Linear(1, 1, rng=0)
    >>> model.W.data[:], model.b.data[:] = 2.0, 1.0
    >>> evaluate(model, (np.ones((3, 1)), np.full((3, 1), 5.0)), nn.MSELoss(), {"first": lambda y, z: z[0, 0]})
    {'loss': 4.0, 'first': 3.0}
    """
    _check_loss("evaluate", loss)
    _check_metrics("evaluate", metrics)
    batches = pairs("evaluate: data", as_batches("evaluate: data", data, batch_size))
    return _evaluate("evaluate", model, batches, loss, metrics)


# --- one update -----------------------------------------------------------------------------------------------------


class _Outcome(NamedTuple):
    """What a batch gave."""

    value: float
    x: Any
    y: Any
    output: Any


class _Step:
    """One step of the optimiser along the mean gradient of a few batches, if that is a number."""

    def __init__(
        self, run: Run, loss: Loss, clip_norm: float | None, clip_value: float | None, on_nan: str, compiled: bool
    ) -> None:
        self.run, self.loss, self.on_nan = run, loss, on_nan
        model = run.model

        def cost(x: Any, y: Any, count: int) -> tuple[Tensor, Tensor, Any]:
            output = model(x)
            value = _scalar("fit", loss(output, y))
            share = value if count == 1 else value / count
            return share, value.detach(), output.detach() if isinstance(output, Tensor) else output

        self.cost = compile(cost, fallback="silent") if compiled else cost
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.params: list[Tensor] = [p for group in run.optimizer.param_groups for p in group["params"]]
        self.buffers = list(run.model.buffers())

    def __call__(self, group: list[tuple[Any, Any]]) -> list[_Outcome] | None:
        """What each batch gave before the step; None if no step was taken."""
        before = [(buffer, buffer.detach()) for buffer in self.buffers]
        optimizer = self.run.optimizer
        optimizer.zero_grad()
        outcomes = []
        for k, (x, y) in enumerate(group, 1):
            loss, own, output = self.cost(x, y, len(group))
            if not loss.requires_grad:
                raise GraphError(
                    "fit: the loss depends on no parameter; is there no_grad(), detach() or .data on the way?"
                )
            value = own.item()
            problem = "" if math.isfinite(value) else f"the loss is {value}"
            if not problem or self.on_nan == "ignore":
                loss.backward()
                gradients = [p.grad for p in self.params if p.grad is not None]
                if not gradients:
                    raise GraphError("fit: the loss depends on no parameter that the optimizer has")
                if self.on_nan != "ignore" and not all(map(all_finite, gradients)):
                    problem = "the gradient is not finite"
            if problem and self.on_nan != "ignore":
                self._refuse(f"{problem} in epoch {self.run.epoch}, batch {self.run.batch + k}", x, y, before)
                return None
            outcomes.append(_Outcome(value, x, y, output))
        if self.clip_norm is not None:
            clip_grad_norm_(self.params, self.clip_norm)
        if self.clip_value is not None:
            clip_grad_value_(self.params, self.clip_value)
        optimizer.step()
        return outcomes

    def sound(self) -> bool:
        """Whether the parameters are numbers after an epoch, so that a checkpoint of them may replace the last one."""
        bad = next((name for name, p in self.run.model.named_parameters() if not all_finite(p._value)), None)
        if bad is None:
            return True
        message = (
            f"fit: {bad} is no longer finite after epoch {self.run.epoch}: a step was too large, so try a smaller lr"
        )
        if self.on_nan == "raise":
            raise AnomalyError(f"{message}. A checkpoint holds the epoch before")
        self.run.stop(message)
        return False

    def _refuse(self, problem: str, x: Any, y: Any, before: list[tuple[Buffer, Tensor]]) -> None:
        """Leave everything as it was before the batch, and say what happened."""
        run = self.run
        try:
            _put_back(before)
            why = cause(run.model, self.loss, x, y)
        finally:
            _put_back(before)
            run.optimizer.zero_grad()
        message = f"fit: {problem}: {why}"
        if self.on_nan == "raise":
            raise AnomalyError(f"{message}. The parameters are as before this batch; on_nan= says what else to do")
        if self.on_nan == "stop":
            run.stop(message)
        else:
            warnings.warn(f"{message}. The batch is left out", RuntimeWarning, stacklevel=4)


def _put_back(before: list[tuple[Buffer, Tensor]]) -> None:
    for buffer, values in before:
        buffer.data = values


def _groups(batches: Iterator[tuple[Any, Any]], size: int) -> Iterator[list[tuple[Any, Any]]]:
    """The batches, so many at a time; fewer at the end."""
    while group := list(islice(batches, size)):
        yield group


# --- what is seen ---------------------------------------------------------------------------------------------------


class _Score:
    """The mean loss of what has been seen, and what the metrics want to see of it."""

    def __init__(self, caller: str, metrics: Metrics | None) -> None:
        self.caller, self.metrics = caller, metrics or {}
        self.mean, self.examples = 0.0, 0
        self.targets: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []

    def add(self, outcomes: list[_Outcome]) -> float:
        """Count batches; returns the mean of their losses."""
        for value, x, y, output in outcomes:
            n = examples_in(x)
            self.examples += n
            self.mean += (value - self.mean) * (n / self.examples)
            if self.metrics:
                self.targets.append(np.asarray(plain(y)))
                self.outputs.append(np.asarray(plain(output)))
        return sum(outcome.value for outcome in outcomes) / len(outcomes)

    def numbers(self) -> Row:
        """The loss and each metric; NaN where there was no batch with a number."""
        if not self.examples:
            return dict.fromkeys(["loss", *self.metrics], math.nan)
        row: Row = {"loss": self.mean}
        if self.metrics:
            y, output = np.concatenate(self.targets), np.concatenate(self.outputs)
            row.update(
                {
                    name: number(f"{self.caller}: metric {name}", metric(y, output))
                    for name, metric in self.metrics.items()
                }
            )
        return row


def _evaluate(
    caller: str, model: Module, batches: Iterable[tuple[Any, Any]], loss: Loss, metrics: Metrics | None
) -> Row:
    score = _Score(caller, metrics)
    with _modes_kept(model), no_grad():
        model.eval()
        for x, y in batches:
            output = model(x)
            score.add([_Outcome(_scalar(caller, loss(output, y)).item(), x, y, output)])
    return score.numbers()


def _validated(run: Run, batches: Iterable[tuple[Any, Any]], loss: Loss, metrics: Metrics | None) -> Row:
    """The numbers of the validation data, under their names in the history."""
    with ExitStack() as stack:
        for callback in run.callbacks:
            stack.enter_context(callback.validating(run))
        numbers = _evaluate("fit: validation", run.model, batches, loss, metrics)
    return {f"val_{name}": value for name, value in numbers.items()}


def _report(run: Run, bar: Bar) -> None:
    """One line of the log, and what stands behind the bar."""
    numbers = ", ".join(f"{name} {value:.6g}" for name, value in run.row.items() if name != "epoch")
    _LOG.info("epoch %d/%d: %s, %.2f s", run.epoch, run.epochs, numbers, run.history.seconds[-1])
    bar.set_postfix_str(numbers)


@contextmanager
def _history_kept(history: History) -> Iterator[None]:
    """An exception carries the history, which would be lost with the call."""
    try:
        yield
    except BaseException as error:
        error.history = history  # type: ignore[attr-defined]
        raise


@contextmanager
def _modes_kept(model: Module) -> Iterator[None]:
    """At the end every module has the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


# --- arguments ------------------------------------------------------------------------------------------------------


def _check(
    model: object, loss: object, optimizer: object, epochs: object, accumulate: object, metrics: object, on_nan: str
) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"fit: model is {_kind(model)}, wanted a Module")
    _check_loss("fit", loss)
    _check_metrics("fit", metrics)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: optimizer is {_kind(optimizer)}, wanted one of optim: SGD(model.parameters(), lr=0.1)")
    if isinstance(optimizer, LBFGS):
        raise TypeError(
            "fit: LBFGS evaluates the loss several times a step; call its step in a loop, or optim.minimize"
        )
    own = set(map(id, model.parameters()))
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"] if id(p) not in own]
    if shapes:
        raise ValueError(
            f"fit: the optimizer holds {len(shapes)} parameters that are not the model's, "
            f"the first of shape {shapes[0]}; make it from model.parameters()"
        )
    for name, value, least in (("epochs", epochs, 0), ("accumulate", accumulate, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"fit: {name} is {value!r}, wanted an integer >= {least}")
    if on_nan not in ("raise", "stop", "warn", "ignore"):
        raise ValueError(f"fit: on_nan is {on_nan!r}, wanted 'raise', 'stop', 'warn' or 'ignore'")


def _check_loss(caller: str, loss: object) -> None:
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"{caller}: loss is {_kind(loss)}, wanted a function of (output, target): nn.MSELoss()")


def _check_metrics(caller: str, metrics: object) -> None:
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise TypeError(f"{caller}: metrics is {_kind(metrics)}, wanted a dict from names to functions of (y, output)")
    for name, metric in metrics.items():
        if not isinstance(name, str) or name in ("epoch", "loss") or name.startswith("val_"):
            raise ValueError(f"{caller}: a metric cannot be called {name!r}")
        if isinstance(metric, type) or not callable(metric):
            raise TypeError(f"{caller}: metric {name} is {_kind(metric)}, wanted a function of (y, output)")


def _check_scheduler(scheduler: Any, interval: str, optimizer: Optimizer) -> None:
    if interval not in ("epoch", "batch"):
        raise ValueError(f"fit: scheduler_interval is {interval!r}, wanted 'epoch' or 'batch'")
    if scheduler is None:
        return
    if isinstance(scheduler, type) or not callable(getattr(scheduler, "step", None)):
        raise TypeError(f"fit: scheduler is {_kind(scheduler)}, wanted one of optim.lr_scheduler")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("fit: the scheduler is for another optimizer than this one")
    if interval == "batch" and _wants_value(scheduler):
        raise ValueError(f"fit: {type(scheduler).__name__} wants the loss of an epoch; use scheduler_interval='epoch'")


def _wants_value(scheduler: Any) -> bool:
    parameters = inspect.signature(scheduler.step).parameters.values()
    return any(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)


def _advance(scheduler: Any, row: Row) -> None:
    """The step of a scheduler after an epoch."""
    if _wants_value(scheduler):
        scheduler.step(row.get("val_loss", row["loss"]))
    else:
        scheduler.step()


def _scalar(caller: str, loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"{caller}: the loss gave {_kind(loss)}, wanted a scalar Tensor; is it computed from arrays?")
    if loss.size != 1:
        raise ShapeError(f"{caller}: the loss has shape {loss.shape}, wanted a scalar; reduction='mean' gives one")
    return loss


def _kind(value: object) -> str:
    """What something is, for messages."""
    return f"the class {value.__name__}, not an instance" if isinstance(value, type) else f"a {type(value).__name__}"


def _in_order(callbacks: Iterable[Callback], checkpoint: StrPath | None) -> list[Callback]:
    """The callbacks as they are called: what writes checkpoints comes last, so that it finds the others up to date."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise TypeError(f"fit: callbacks is {_kind(callbacks)}, wanted a list of callbacks")
    found = list(callbacks)
    for k, callback in enumerate(found):
        if not isinstance(callback, Callback):
            raise TypeError(f"fit: callbacks[{k}] is {_kind(callback)}, wanted a Callback; LambdaCallback makes one")
    if checkpoint is not None:
        found.append(Checkpoint(checkpoint))
    return sorted(found, key=lambda callback: isinstance(callback, Checkpoint))
