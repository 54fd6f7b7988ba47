"""What a function finds outside: closures, the globals it names, attributes of modules and of the user's objects."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

__all__ = ["Outside"]


class Outside:
    """What a function reads that is no argument: compared by identity at every call, which is how a change shows.

    Parameters
    ----------
    fun : callable
        Its closure, the globals it names, the object it is a method of, and so on through functions, modules of `nn`,
        the user's own objects and containers.
    args : sequence
        Arguments that may be modules or functions themselves.
    """

    def __init__(self, fun: Callable[..., Any], args: Sequence[Any]) -> None:
        self.entries: list[tuple[Any, Any, Any]] = []  # a dict or list, a key, what is there
        self.lengths: list[tuple[Any, int]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.moving = False  # there is an iterator, whose state cannot be compared
        self._seen: set[int] = set()
        for thing in (fun, *args):
            self._look(thing)

    def _look(self, thing: Any) -> None:
        """Remember what is reachable from a thing."""
        if id(thing) in self._seen or inspect.isclass(thing) or isinstance(thing, ModuleType):
            return
        self._seen.add(id(thing))
        if hasattr(thing, "__next__"):
            self.moving = True
        elif inspect.ismethod(thing):
            self._look(thing.__self__)
            self._look(thing.__func__)
        elif isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.values()):
                self._look(part)
        elif inspect.isfunction(thing):
            self._look_into(thing)
            if hasattr(thing, "__wrapped__"):
                self._look(thing.__wrapped__)
        elif isinstance(thing, list | tuple | dict):
            self._enter(thing)
        elif hasattr(thing, "named_modules") or (hasattr(thing, "__dict__") and not _of_a_library(type(thing))):
            self._enter(vars(thing))
            for kind in type(thing).__mro__:
                if not _of_a_library(kind):
                    for value in vars(kind).values():
                        if inspect.isfunction(value):
                            self._look(value)

    def _look_into(self, fun: Any) -> None:
        if not _of_a_library(fun):
            for key in fun.__code__.co_names:
                if key in fun.__globals__:
                    self.entries.append((fun.__globals__, key, fun.__globals__[key]))
                    self._look(fun.__globals__[key])
        for cell in fun.__closure__ or ():
            try:
                self.cells.append((cell, cell.cell_contents))
            except ValueError:  # empty as yet
                continue
            self._look(cell.cell_contents)

    def _enter(self, container: Any) -> None:
        if len(container) > 1000:  # data
            return
        self.lengths.append((container, len(container)))
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            self.entries.append((container, key, value))
            self._look(value)

    def changed(self) -> str:
        """What is no longer what it was, empty if nothing is."""
        if self.moving:
            return "the state of an iterator"
        for container, length in self.lengths:
            if len(container) != length:
                return "the length of a container"
        for container, key, value in self.entries:
            if container[key] is not value:
                return str(key)
        for cell, value in self.cells:
            if cell.cell_contents is not value:
                return "a variable of the function around it"
        return ""


def _of_a_library(thing: Any) -> bool:
    """Whether it comes from Python, NumPy, SciPy or this package: no place for a user's numbers."""
    home = (getattr(thing, "__module__", None) or "builtins").partition(".")[0]
    return home in ("builtins", "numpy", "scipy", __name__.partition(".")[0]) or home in sys.stdlib_module_names
