"""Run: a training under way, as callbacks see it and as a checkpoint holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import StrPath
from ..nn import Module
from ..optim import Optimizer
from ..serialize import load_checkpoint, save_checkpoint
from .history import History, Row, number

if TYPE_CHECKING:
    from .callbacks import Callback

__all__ = ["Run"]


class Run:
    """A training under way.

    Attributes
    ----------
    model, optimizer, scheduler
        What `fit` was given.
    epochs : int
        How many there will be.
    epoch : int
        The one under way, from 1; 0 before the first. In a training that goes on from a checkpoint, the one before.
    batch : int
        The latest batch of this epoch, from 1; 0 before the first.
    loss : float
        Of the latest step: the mean of its batches.
    row : dict of str to number
        What will stand in the history for this epoch. A callback may add numbers to it.
    history : History
        The whole epochs so far; at the end of an epoch, the last row is `row`.
    stopped : str
        The reason that `stop` was given; empty so far.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        scheduler: Any,  # Any: one of optim.lr_scheduler, or what behaves like one
        data: object,
        epochs: int,
        callbacks: Sequence[Callback],
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.epochs, self.callbacks = epochs, callbacks
        self.epoch = self.batch = 0
        self.loss = float("nan")
        self.row: Row = {}
        self.history = History()
        self.stopped = ""
        self._draws = _draws(model, data)

    def begin_epoch(self) -> None:
        """Enter upon the next epoch; for `fit`."""
        self.epoch, self.batch, self.row = self.epoch + 1, 0, {"epoch": self.epoch + 1}

    def end_epoch(self, seconds: float) -> None:
        """Put the epoch into the history; for `fit`."""
        self.history.rows.append(self.row)
        self.history.seconds.append(seconds)

    def tell(self, event: str) -> None:
        """Call the method of this name of every callback; for `fit`."""
        for callback in self.callbacks:
            getattr(callback, event)(self)
        if event == "on_epoch_end":
            self.row.update({name: number(f"run.row: {name}", value) for name, value in self.row.items()})

    def stop(self, reason: str = "by a callback") -> None:
        """End the training after the batch or the epoch under way.

        Parameters
        ----------
        reason : str
            For `History.stopped`. An epoch that is cut short has no row in the history, and is run again by a training
            that goes on from a checkpoint.
        """
        self.stopped = self.history.stopped = reason or "by a callback"

    def save(self, path: StrPath) -> None:
        """Write a checkpoint from which `fit` goes on as if it had never ended.

        Parameters
        ----------
        path : str or os.PathLike
            Replaced whole.
        """
        save_checkpoint(
            path,
            model=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            rng=self._draws,
            epoch=len(self.history),
            history=self.history.rows,
            seconds=self.history.seconds,
            callbacks={name: callback.state_dict() for name, callback in self._named().items()},
        )

    def resume(self, path: StrPath) -> None:
        """Go on from what `save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        ValueError
            If it is no such file, or of another model, optimizer or scheduler; nothing has been changed then.
        """
        kept = load_checkpoint(path)
        lacking = [name for name in ("history", "seconds", "callbacks") if name not in kept]
        if lacking:
            raise ValueError(f"fit: {path} is no checkpoint of a training: it has no {', no '.join(lacking)}")
        found = load_checkpoint(
            path, model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, rng=self._draws
        )
        self.epoch = found["epoch"]
        self.history.rows[:] = History(found["history"]).rows
        self.history.seconds[:] = found["seconds"]
        for name, callback in self._named().items():
            if name in found["callbacks"]:  # a callback that was not there begins anew
                callback.load_state_dict(found["callbacks"][name])

    def _named(self) -> dict[str, Callback]:
        """The callbacks by the name of their class, numbered where there are several."""
        named: dict[str, Callback] = {}
        for callback in self.callbacks:
            name = type(callback).__name__
            count = sum(type(other).__name__ == name for other in named.values())
            named[f"{name}.{count}" if count else name] = callback
        return named


def _draws(model: Module, data: object) -> dict[str, Any]:
    """What draws random numbers while the model is trained, by name, besides the package's own generator."""
    draws: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, np.random.Generator) and not any(value is other for other in draws.values()):
                draws[f"model.{name}.{key}"] = value
    if hasattr(data, "state_dict") and hasattr(data, "load_state_dict"):
        draws["data"] = data
    return draws
