"""What a function finds outside: closures, the globals it names, attributes of modules and of the user's objects."""

from __future__ import annotations

import dis
import functools
import inspect
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Collection, Sequence
from operator import is_
from types import CodeType, ModuleType
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..randomness import as_generator
from ..tensor import Tensor
from .code import same

__all__ = ["Outside"]

MISSING: Final = object()
FEW: Final = 1000  # longer containers are data, whose entries are compared and not looked into
SMALL: Final = 1 << 16  # bytes of an array whose contents are compared
STANDARD: Final = os.path.dirname(os.path.realpath(os.__file__))
PACKAGE: Final = __name__.partition(".")[0]


class Outside:
    """What a function reads that is no argument: compared by identity at every call, which is how a change shows.

    Small arrays are compared by their contents.

    Parameters
    ----------
    fun : callable
        Its defaults and closure, the globals it names, the object it is a method of, and so on through functions,
        modules of `nn`, the user's own objects and classes, and containers.
    args : sequence
        Arguments that may be modules or functions themselves.
    """

    def __init__(self, fun: Callable[..., Any], args: Sequence[Any]) -> None:
        self.globals: list[tuple[dict[str, Any], str, Any]] = []
        self.contents: list[tuple[Collection[Any], tuple[Any, ...], Any]] = []  # a view, what was there, the container
        self.slots: list[tuple[Any, Any, Any]] = []  # a descriptor, an object, what is there
        self.cells: list[tuple[Any, Any]] = []
        self.arrays: list[tuple[ndarray, bytes]] = []
        self.tensors: dict[int, Tensor] = {}
        self.generators: dict[int, np.random.Generator] = {}
        self.moving = False  # there is an iterator, whose state cannot be compared
        self._seen: set[int] = set()
        for thing in (fun, *args):
            if not isinstance(thing, Tensor | ndarray):
                self._look(thing)
        self.generators.setdefault(id(own := as_generator()), own)
        self.states = self._states()

    def _states(self) -> list[Any]:
        """Where everything stands that draws by chance."""
        common = [random.getstate(), np.random.get_state(legacy=False)]  # noqa: NPY002  # what the user may draw from
        return [*common, *(g.bit_generator.state for g in self.generators.values())]

    def _look(self, thing: Any) -> None:
        """Remember what is reachable from a thing."""
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        if isinstance(thing, Tensor):
            self.tensors[id(thing)] = thing
        elif isinstance(thing, ndarray):
            self.arrays.append((thing, thing.tobytes() if thing.nbytes <= SMALL else b""))
        elif isinstance(thing, np.random.Generator):
            self.generators[id(thing)] = thing
        elif inspect.isclass(thing):
            for kind in thing.__mro__:
                if not _of_a_library(kind):
                    self._enter(vars(kind))
        elif hasattr(type(thing), "__next__"):
            self.moving = True
        elif inspect.ismethod(thing):
            self._look(thing.__self__)
            self._look(thing.__func__)
        elif isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.values()):
                self._look(part)
        elif inspect.isfunction(thing):
            self._look_into(thing)
        elif isinstance(thing, list | tuple | dict | set | frozenset | deque):
            self._enter(thing)
        elif callable(thing) and "__wrapped__" in getattr(thing, "__dict__", ()):
            self._look(thing.__wrapped__)
        elif isinstance(thing, staticmethod | classmethod):
            self._look(thing.__func__)
        elif isinstance(thing, property):
            self._look(thing.fget)
        elif hasattr(type(thing), "named_modules") or not (_of_a_library(type(thing)) or _has_a_step(thing)):
            self._look_at_object(thing)

    def _look_at_object(self, thing: Any) -> None:
        if hasattr(thing, "__dict__"):
            self._enter(vars(thing))
        self._look(type(thing))
        for kind in type(thing).__mro__:
            for slot in () if _of_a_library(kind) else filter(inspect.ismemberdescriptor, vars(kind).values()):
                value = _slot(slot, thing)
                self.slots.append((slot, thing, value))
                self._look(value)

    def _look_into(self, fun: Any) -> None:
        if not _of_a_library(fun):
            names, attributes = _names(fun.__code__)
            for key in names:
                value = fun.__globals__.get(key, MISSING)
                if value is not MISSING:
                    self._name(fun.__globals__, key)
                    if isinstance(value, ModuleType) and not _library(value.__name__.partition(".")[0]):
                        for attribute in attributes:
                            if attribute in vars(value):
                                self._name(vars(value), attribute)
            for part in (fun.__defaults__, fun.__kwdefaults__):
                self._look(part)
        self._look(vars(fun))
        for cell in fun.__closure__ or ():
            value = _content(cell)
            self.cells.append((cell, value))
            self._look(value)

    def _name(self, names: dict[str, Any], key: str) -> None:
        self.globals.append((names, key, names[key]))
        self._look(names[key])

    def _enter(self, container: Any) -> None:
        views: list[Any] = [container]
        if hasattr(container, "values"):
            views.append(container.values())
        for view in views:
            if not isinstance(view, tuple):
                self.contents.append((view, tuple(view), container))
        if len(container) <= FEW:
            for value in views[-1]:
                self._look(value)

    def leave_out(self, constants: Sequence[Any]) -> None:
        """Do not compare the contents of arrays that are operands, and so read anew at every run.

        Unless there are other arrays among the constants, which may have been computed from them.
        """
        live = {id(c) for c in constants if isinstance(c, ndarray | np.generic)}
        if live <= {id(a) for a, _ in self.arrays}:
            self.arrays = [(a, contents) for a, contents in self.arrays if id(a) not in live]

    def changed(self) -> str:
        """What is no longer what it was, empty if nothing is."""
        if self.moving:
            return "the state of an iterator"
        for view, before, container in self.contents:
            if len(view) != len(before):
                return "the length of a container"
            if not all(map(is_, view, before)):
                there = [not is_(a, b) for a, b in zip(view, before, strict=False)].index(True)
                return str(list(container)[there]) if view is not container else "an entry of a container"
        for names, key, value in self.globals:
            if names.get(key, MISSING) is not value:
                return key
        for cell, value in self.cells:
            if _content(cell) is not value:
                return "a variable of the function around it"
        for slot, thing, value in self.slots:
            if _slot(slot, thing) is not value:
                return str(slot.__name__)
        for array, contents in self.arrays:
            if contents and array.tobytes() != contents:
                return "the contents of an array"
        return ""

    def drawn(self, steps: Sequence[tuple[np.random.Generator, Callable[..., Any], tuple[Any, ...]]]) -> bool:
        """Whether something else has been drawn than in these steps: generator, function and further operands each."""
        twins = {}
        for (key, generator), state in zip(self.generators.items(), self.states[2:], strict=True):
            twins[key] = twin = np.random.Generator(type(generator.bit_generator)())
            twin.bit_generator.state = state
        for generator, fun, operands in steps:
            if id(generator) in twins:
                fun(twins[id(generator)], *operands)
        expected = [*self.states[:2], *(twin.bit_generator.state for twin in twins.values())]
        return not same(expected, self._states())


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty as yet
        return MISSING


def _slot(slot: Any, thing: Any) -> Any:
    try:
        return slot.__get__(thing)
    except AttributeError:  # nothing there as yet
        return MISSING


def _names(code: CodeType) -> tuple[dict[str, None], dict[str, None]]:
    """The globals that code reads, and the attributes, with those of the functions written in it."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")  # the last one in classes, from Python 3.12 on
    names = dict.fromkeys(line.argval for line in dis.get_instructions(code) if line.opname in loads)
    attributes = dict.fromkeys(code.co_names)  # and more: what else the name is for does not matter for a module
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            further = _names(constant)
            names, attributes = names | further[0], attributes | further[1]
    return names, attributes


def _has_a_step(thing: Any) -> bool:
    """Whether it is an optimiser of the user's, or the like: its step is noted as such, and changes it."""
    kinds = type(thing).__mro__
    return any(_home(kind) == PACKAGE and hasattr(kind, "step") for kind in kinds)


def _home(thing: Any) -> str:
    return (getattr(thing, "__module__", None) or "builtins").partition(".")[0]


def _of_a_library(thing: Any) -> bool:
    """Whether it comes from Python, NumPy, SciPy or this package: no place for a user's numbers."""
    return _library(_home(thing))


@functools.cache
def _library(home: str) -> bool:
    if home in ("builtins", "numpy", "scipy", PACKAGE):
        return True
    if home not in sys.stdlib_module_names:
        return False
    module = sys.modules.get(home)
    file = getattr(module, "__file__", None)  # a user's own `test.py` is no part of Python
    return (module is not None and file is None) or os.path.realpath(file or "").startswith(STANDARD)
