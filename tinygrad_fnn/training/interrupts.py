"""Ctrl-C during a training: held back until the batch under way is done, so that no update is cut in two."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Self, TypeVar

__all__ = ["Interrupts"]

Item = TypeVar("Item")


class Interrupts:
    """A context manager under which the first Ctrl-C is noted, and the second raises KeyboardInterrupt at once.

    It does so in the main thread, where Python handles signals, and only in the place of Python's own handler: a
    program that has another one has its reasons.

    Attributes
    ----------
    count : int
        How often Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.count = 0
        self.installed = False

    def __enter__(self) -> Self:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, self._note)
                self.installed = True
            except ValueError:  # not the main thread
                pass
        return self

    def __exit__(self, *exception: object) -> None:
        if self.installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back; called where it does no harm."""
        if self.count:
            raise KeyboardInterrupt

    def between(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, with a `check` after each."""
        for item in items:
            yield item
            self.check()
