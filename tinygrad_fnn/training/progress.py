"""The bar that shows how far a training has come: tqdm's, or a quiet one of ours with as much of its interface."""

from __future__ import annotations

import sys
import time
from typing import Any, Final, Protocol

from ..errors import MissingExtraError

__all__ = ["Bar", "progress_bar"]

_TERMINAL, _FILE = 0.1, 30.0  # seconds between two updates: of a line that is rewritten, of lines that pile up
_WIDTH: Final = 20


class Bar(Protocol):
    """What `fit` asks of a bar; tqdm's names."""

    def update(self, n: int = 1) -> Any:
        """Count `n` more."""

    def set_description(self, desc: str) -> Any:
        """What stands before the bar."""

    def set_postfix_str(self, s: str, refresh: bool = True) -> Any:
        """What stands behind it."""

    def close(self) -> Any:
        """Leave the bar as it is, and end the line."""


class _NoBar:
    """Shows nothing."""

    def update(self, n: int = 1) -> None: ...

    def set_description(self, desc: str) -> None: ...

    def set_postfix_str(self, s: str, refresh: bool = True) -> None: ...

    def close(self) -> None: ...


class _QuietBar:
    """One line on the standard error, rewritten ten times a second at most; in a file, a line every half minute.

    Parameters
    ----------
    total : int or None
        How much there is to count, if that is known.
    """

    def __init__(self, total: int | None) -> None:
        self.total, self.n = total, 0
        self.before = self.behind = ""
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.length = 0

    def update(self, n: int = 1) -> None:
        self.n += n
        if time.monotonic() - self.shown >= (_TERMINAL if self.terminal else _FILE):
            self._show("" if self.terminal else "\n")

    def set_description(self, desc: str) -> None:
        self.before = f"{desc}: "

    def set_postfix_str(self, s: str, refresh: bool = True) -> None:
        self.behind = s

    def close(self) -> None:
        self._show("\n")

    def _show(self, end: str) -> None:
        self.shown = time.monotonic()
        share = (
            "" if not self.total else f"{self.n / self.total:4.0%} {'#' * (_WIDTH * self.n // self.total):.<{_WIDTH}} "
        )
        line = f"{self.before}{share}{self.n}{f'/{self.total}' if self.total else ''} "
        line += f"[{self.shown - self.start:.1f} s]{', ' if self.behind else ''}{self.behind}"
        # Spaces, not an escape sequence, cover what an earlier, longer line left.
        sys.stderr.write(("\r" if self.terminal else "") + line.ljust(self.length if self.terminal else 0) + end)
        sys.stderr.flush()
        self.length = len(line)


def progress_bar(total: int | None, progress: Any) -> Bar:  # Any: whatever a user may pass
    """The bar that `progress` asks for.

    Parameters
    ----------
    total : int or None
        How much there is to count, if that is known.
    progress : bool or 'tqdm'
        False shows nothing. True takes tqdm where it is installed, and a plain line where it is not; 'tqdm' insists.

    Returns
    -------
    Bar

    Raises
    ------
    ValueError
        If `progress` is none of these.
    MissingExtraError
        If tqdm is insisted on and missing.
    """
    if not isinstance(progress, bool) and progress != "tqdm":
        raise ValueError(f"fit: progress is {progress!r}, wanted True, False or 'tqdm'")
    if progress is False or sys.stderr is None:  # there is none where Windows has no console
        return _NoBar()
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        if progress == "tqdm":
            raise MissingExtraError("fit: progress='tqdm' needs tqdm", "progress") from error
        return _QuietBar(total)
    bar: Bar = tqdm(total=total)
    return bar
