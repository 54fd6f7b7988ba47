"""The modes: what the gate and the walk have been asked for, in the current thread or task.

They stand apart from the tensor because they are a story of their own: right in threads, in async code, on generators.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, TypeVar

__all__ = ["MODE", "Mode", "Switch", "Unforeseen", "detect_anomaly", "effect", "enable_grad", "is_grad_enabled"]
__all__ += ["no_grad", "strict_edges", "traced"]

F = TypeVar("F", bound=Callable[..., Any])


class Mode:
    """What the gate and the walk have been asked for; a linked list, so that leaving a mode needs no state."""

    __slots__ = ("anomaly", "level", "outer", "record", "strict", "trace", "usual", "watch")

    def __init__(self, record: bool, strict: bool, anomaly: bool, outer: Mode | None, level: Any = None) -> None:
        self.record, self.strict, self.anomaly, self.outer = record, strict, anomaly, outer
        self.level = level  # forward mode, see `forward.Level`
        self.trace: Any = None if outer is None else outer.trace  # what `compile` listens with, see `trace.Trace`
        self.watch = anomaly or self.trace is not None  # one question for the gate
        self.usual = record and not self.watch and level is None  # and one for its shorter way


MODE: Final[ContextVar[Mode]] = ContextVar("mode", default=Mode(True, False, False, None))  # noqa: B039  # immutable


class Switch:
    """A context manager and decorator that changes the mode of the current thread or task; re-entrant."""

    __slots__ = ("_changes",)

    def __init__(self, **changes: bool) -> None:
        self._changes = changes

    def __enter__(self) -> None:
        now = MODE.get()
        then = {"record": now.record, "strict": now.strict, "anomaly": now.anomaly} | self._changes
        MODE.set(Mode(**then, outer=now, level=now.level))

    def __exit__(self, *exception: object) -> None:
        outer = MODE.get().outer
        assert outer is not None
        MODE.set(outer)

    def __call__(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """`fun` run in this mode; of a generator, each step."""
        if inspect.isasyncgenfunction(fun):
            raise TypeError(f"an async generator runs in its caller's mode; decorate what {fun.__name__} calls instead")
        if inspect.iscoroutinefunction(fun):

            @functools.wraps(fun)
            async def in_mode(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await fun(*args, **kwargs)

        elif inspect.isgeneratorfunction(fun):

            @functools.wraps(fun)
            def in_mode(*args: Any, **kwargs: Any) -> Any:
                steps = fun(*args, **kwargs)
                step = functools.partial(next, steps)
                while True:
                    try:
                        with self:
                            value = step()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        step = functools.partial(steps.send, (yield value))
                    except GeneratorExit:
                        with self:
                            steps.close()
                        raise
                    except BaseException as error:
                        step = functools.partial(steps.throw, error)

        else:

            @functools.wraps(fun)
            def in_mode(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return fun(*args, **kwargs)

        return in_mode


def _switch(doc: str, **changes: bool) -> Callable[..., Any]:
    """A public mode: `mode()` is a context manager, `@mode` and `@mode()` are decorators."""
    switch = Switch(**changes)

    def mode(fun: Callable[..., Any] | None = None) -> Any:
        return switch if fun is None else switch(fun)

    mode.__doc__ = doc
    return mode


no_grad = _switch("Computations under it are not recorded.", record=False)
enable_grad = _switch("Computations under it are recorded, also inside `no_grad`.", record=True)
strict_edges = _switch(
    "Backward under it keeps IEEE arithmetic: 0 * inf is NaN, as in every other library.", strict=True
)
detect_anomaly = _switch(
    "Under it the first NaN raises `AnomalyError`, forward and backward, and names the operation, the module and the "
    "user's line. Slow: every result is inspected and every operation remembers where it was called.",
    anomaly=True,
)


class Unforeseen(Exception):  # noqa: N818  # a way to go, not an error
    """A value asks for another way than the one that was recorded; a replay that meets it starts again as always."""


@contextlib.contextmanager
def traced(trace: Any) -> Iterator[None]:
    """The mode in which `trace` is told of every operation; None for one in which nobody is."""
    now = MODE.get()
    mode = Mode(now.record, now.strict, now.anomaly, now, now.level)
    mode.trace, mode.watch = trace, now.anomaly or trace is not None
    mode.usual = now.record and not mode.watch and now.level is None
    token = MODE.set(mode)
    try:
        yield
    finally:
        MODE.reset(token)


def effect(method: F) -> F:
    """A method that is there for what it does, as an optimiser's step: a trace notes that it was called."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        trace = MODE.get().trace
        return method(*args, **kwargs) if trace is None else trace.called(method, *args, **kwargs)

    return call  # type: ignore[return-value]  # the same signature, which wraps() cannot say of a TypeVar


def is_grad_enabled() -> bool:
    """Whether operations are recorded here and now."""
    return MODE.get().record
