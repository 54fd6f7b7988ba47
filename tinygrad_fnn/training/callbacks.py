"""Callbacks: what else happens during a training, each a few lines that `fit` calls at the right moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..files import StrPath
from ..optim import EMA
from .history import History, csv_line, jsonl_line
from .run import Run

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "JSONLogger", "LambdaCallback"]
__all__ += ["LearningRateMonitor", "WeightAveraging"]


class Callback:
    """What `fit` calls; a subclass writes the methods it wants.

    An exception in one of them ends the training and reaches the caller of `fit`, with the history so far in its
    attribute `history`.

    Examples
    --------
    >>> class Until(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...
    ...     def on_epoch_end(self, run):
    ...         if run.row["loss"] < self.loss:
    ...             run.stop("good enough")
    """

    def on_fit_begin(self, run: Run) -> None:
        """Before the first epoch; ``run.epoch > 0`` if the training goes on from a checkpoint."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of an epoch; `run.row` holds its number only."""

    def on_batch_end(self, run: Run) -> None:
        """After an update; `run.batch` and `run.loss` are those of the batch."""

    def validating(self, run: Run) -> AbstractContextManager[object]:
        """A context in which the validation data are looked at."""
        return nullcontext()

    def on_epoch_end(self, run: Run) -> None:
        """After an epoch, its validation and the scheduler's step; `run.row` is in the history."""

    def on_fit_end(self, run: Run) -> None:
        """After the last epoch, also when the training was stopped or interrupted; not after an exception."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint has to keep of this callback: numbers, text, arrays, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`; called before `on_fit_begin`."""


class LambdaCallback(Callback):
    """Functions as a callback.

    Parameters
    ----------
    on_fit_begin, on_epoch_begin, on_batch_end, on_epoch_end, on_fit_end : callable, optional
        Each is called with the `Run`.

    Raises
    ------
    TypeError
        If one is not callable.

    Examples
    --------
    >>> shout = LambdaCallback(on_epoch_end=lambda run: print(run.row))
    """

    def __init__(
        self,
        on_fit_begin: Callable[[Run], object] | None = None,
        on_epoch_begin: Callable[[Run], object] | None = None,
        on_batch_end: Callable[[Run], object] | None = None,
        on_epoch_end: Callable[[Run], object] | None = None,
        on_fit_end: Callable[[Run], object] | None = None,
    ) -> None:
        given = {name: function for name, function in locals().items() if name.startswith("on_") and function}
        for name, function in given.items():
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} is {function!r:.80}, wanted a function of the run")
            setattr(self, name, function)


# --- by a number of the history -------------------------------------------------------------------------------------


class _Best(Callback):
    """The best value so far of a column of the history."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        name = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{name}: monitor is {monitor!r:.80}, wanted the name of a column, such as 'val_loss'")
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode is {mode!r}, wanted 'min' or 'max'")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"{name}: min_delta is {min_delta!r}, wanted a number >= 0")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best: float | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier training."""
        if not run.epoch:
            self.best = None

    def improved(self, run: Run) -> bool:
        """Whether this epoch is better than all before, by more than `min_delta`; a NaN is not."""
        if self.monitor not in run.row:
            hint = "; pass validation= to fit" if self.monitor.startswith("val_") else ""
            raise KeyError(
                f"{type(self).__name__}: monitor is {self.monitor!r}, and the epoch has {', '.join(run.row)}{hint}"
            )
        value, sign = run.row[self.monitor], 1 if self.mode == "min" else -1
        if math.isnan(value) or (self.best is not None and sign * (self.best - value) <= self.min_delta):
            return False
        self.best = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best value."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compare with that value from now on."""
        self.best = state["best"]


class EarlyStopping(_Best):
    """Ends the training when a number has stopped getting better.

    Parameters
    ----------
    monitor : str
        The column of the history to go by.
    patience : int > 0
        So many epochs in a row without a new best one end the training.
    min_delta : float >= 0
        What counts as better: more than this.
    mode : {'min', 'max'}
        Whether smaller or larger is better.
    restore_best : bool
        Whether the model gets back its parameters and buffers of the best epoch at the end.

    Raises
    ------
    ValueError, TypeError
        If an argument is none of these.
    KeyError
        At the end of the first epoch, if there is no such column.

    Examples
    --------
    >>> EarlyStopping("val_accuracy", patience=5, mode="max").patience
    5
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if not isinstance(patience, int) or isinstance(patience, bool) or patience < 1:
            raise ValueError(f"EarlyStopping: patience is {patience!r}, wanted an integer > 0")
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0
        self.weights: dict[str, Any] | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier training; stop again one that was stopped and is resumed."""
        super().on_fit_begin(run)
        if not run.epoch:
            self.waited, self.weights = 0, None
        self._stop_if_waited(run)

    def on_epoch_end(self, run: Run) -> None:
        """Compare, and stop when it is time."""
        if self.improved(run):
            self.waited = 0
            self.weights = run.model.state_dict() if self.restore_best else None
        else:
            self.waited += 1
            self._stop_if_waited(run)

    def _stop_if_waited(self, run: Run) -> None:
        if self.waited >= self.patience:
            best = "no number at all" if self.best is None else f"the best is {self.best:.6g}"
            run.stop(f"no better {self.monitor} for {self.waited} epochs, {best}")

    def on_fit_end(self, run: Run) -> None:
        """Bring back the best epoch, if that is wanted."""
        if self.weights is not None:
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """The best value, the epochs since, and what to restore."""
        return super().state_dict() | {"waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        super().load_state_dict(state)
        self.waited, self.weights = state["waited"], state["weights"]


class Checkpoint(_Best):
    """Writes a checkpoint after each epoch, after all other callbacks, or after the best epochs only.

    Parameters
    ----------
    path : str or os.PathLike
        Replaced whole, each time: whoever opens it finds the old checkpoint or the new one.
    best_only : bool
        Only where the number is better than in all epochs before. Without it the start is written too.
    monitor : str
        The column of the history to go by.
    mode : {'min', 'max'}
        Whether smaller or larger is better.

    Raises
    ------
    ValueError, TypeError
        If an argument is none of these.

    Examples
    --------
    >>> Checkpoint("best.npz", best_only=True, monitor="val_accuracy", mode="max").path
    'best.npz'
    """

    def __init__(self, path: StrPath, best_only: bool = False, monitor: str = "val_loss", mode: str = "min") -> None:
        super().__init__(monitor, mode)
        self.path, self.best_only = path, best_only

    def on_fit_begin(self, run: Run) -> None:
        """Write the start, unless the training is resumed."""
        super().on_fit_begin(run)
        if not run.epoch and not self.best_only:  # a path that cannot be written to is found out before the work
            run.save(self.path)

    def on_epoch_end(self, run: Run) -> None:
        """Write the epoch, or leave it."""
        if not self.best_only or self.improved(run):
            run.save(self.path)


# --- what is written down -------------------------------------------------------------------------------------------


class _Logger(Callback):
    """The history in a file that is whole at any moment, also when the process is killed.

    It is written anew when the training begins, with the epochs that a resumed one has behind it; each epoch then adds
    a line in one piece.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = path

    def write(self, history: History) -> None:
        """The file for these epochs."""
        raise NotImplementedError

    def line(self, run: Run) -> str | None:
        """What to add for the latest epoch; None if the file has to be written anew."""
        raise NotImplementedError

    def on_fit_begin(self, run: Run) -> None:
        """Begin the file."""
        self.write(run.history)

    def on_epoch_end(self, run: Run) -> None:
        """Add the epoch."""
        line = self.line(run)
        if line is None:
            self.write(run.history)
        else:
            with open(self.path, "ab", buffering=0) as file:  # one call of the system, so no half line
                file.write(line.encode())


class CSVLogger(_Logger):
    """Writes each epoch to a file of comma-separated values, see `History.to_csv`.

    Parameters
    ----------
    path : str or os.PathLike
        Begun anew, unless the training is resumed.

    Examples
    --------
    >>> CSVLogger("digits.csv").path
    'digits.csv'
    """

    def write(self, history: History) -> None:
        """The file for these epochs."""
        history.to_csv(self.path)
        self.columns = history.keys()

    def line(self, run: Run) -> str | None:
        """The numbers of the latest epoch; None where it brings a new column."""
        if not set(run.row) <= set(self.columns):
            return None
        return csv_line([run.row.get(name) for name in self.columns])


class JSONLogger(_Logger):
    """Writes each epoch as a line of JSON, see `History.to_jsonl`.

    Parameters
    ----------
    path : str or os.PathLike
        Begun anew, unless the training is resumed.

    Examples
    --------
    >>> JSONLogger("digits.jsonl").path
    'digits.jsonl'
    """

    def write(self, history: History) -> None:
        """The file for these epochs."""
        history.to_jsonl(self.path)

    def line(self, run: Run) -> str:
        """The numbers of the latest epoch."""
        return jsonl_line(run.row)


class LearningRateMonitor(Callback):
    """Puts the learning rate at the beginning of each epoch into the history: `lr`, or `lr_0`, `lr_1` for groups.

    Examples
    --------
    >>> callbacks = [LearningRateMonitor(), CSVLogger("digits.csv")]
    """

    def on_epoch_begin(self, run: Run) -> None:
        """Note the rates, before the scheduler changes them."""
        rates = [float(group["lr"]) for group in run.optimizer.param_groups]
        run.row.update({"lr": rates[0]} if len(rates) == 1 else {f"lr_{k}": lr for k, lr in enumerate(rates)})


class WeightAveraging(Callback):
    """Updates an average of the weights after each step, and looks at the validation data with it.

    Parameters
    ----------
    ema : optim.EMA
        Of the model that is trained. After the training, ``with ema.applied():`` uses the average.

    Raises
    ------
    TypeError
        If it is something else.
    """

    def __init__(self, ema: EMA) -> None:
        if not isinstance(ema, EMA):
            raise TypeError(f"WeightAveraging: ema is a {type(ema).__name__}, wanted optim.EMA(model, decay)")
        self.ema = ema

    def on_batch_end(self, run: Run) -> None:
        """Update the average."""
        self.ema.update()

    def validating(self, run: Run) -> AbstractContextManager[object]:
        """The average in the place of the weights."""
        return self.ema.applied()

    def state_dict(self) -> dict[str, Any]:
        """The average."""
        return self.ema.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on averaging."""
        self.ema.load_state_dict(state)
