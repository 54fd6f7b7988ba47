"""Compiled functions: what a function did is recorded twice, and replayed as straight-line code into its own buffers.

The forward and the backward pass of a call are one list of steps (see `trace`), because the rules of the table run on
Tensors too and so pass the gate. The list is cleaned of what does not change, each step is given a buffer that is free
at that point, tall batches are cut into blocks of rows that fit into the cache, and the rest is written out as the text
of a Python function: `plan.source` is that text.

Whatever cannot be told from two runs is refused and runs as it always did: a value that Python looked at, an operand
that differs from run to run without coming from the arguments. Numbers that the function finds outside (in its
closure, among the globals it names, in the attributes of its modules) are compared at every call.
"""

from __future__ import annotations

import functools
import operator
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..errors import GraphError
from ..modes import MODE, Unforeseen, traced
from ..randomness import as_generator
from ..tensor import Tensor, _numbers
from .code import Unrepeatable
from .outside import Outside
from .plan import Plan, Record
from .trace import Trace, wrapped

__all__ = ["Compiled", "Plan", "compile"]

MOST: Final = 100  # plans of a thread; further kinds of arguments run as always
ROOM: Final = 1 << 30  # bytes that their buffers take, beyond which there are no further ones
WAITING: Final = 8  # first records of a thread
SCALARS: Final = (bool, int, float, complex, str, bytes, type(None))


class _Signature:
    """What is known of calls with one kind of arguments."""

    __slots__ = ("first", "objects", "plan", "refused", "trials", "why")

    def __init__(self, objects: Any) -> None:
        self.first: Record | None = None
        self.plan: Plan | None = None
        self.refused, self.why = False, ""
        self.trials = 0
        self.objects = objects  # kept, so that no other object gets their identity


class Compiled:
    """A function that replays what it did before; made by `compile`, which documents it.

    Attributes
    ----------
    plans : list of Plan
        Those of the calling thread, one for each kind of arguments.
    """

    def __init__(self, fun: Callable[..., Any], fallback: str, threads: int = 1) -> None:
        functools.update_wrapper(self, fun)
        self.__name__: str = getattr(fun, "__name__", type(fun).__name__)
        self.__qualname__: str = getattr(fun, "__qualname__", self.__name__)
        self.fun, self._fallback, self._threads = fun, fallback, threads
        self._local = threading.local()
        self._warned = False

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a function in a class is found: bound to the object."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:
        """By its name where it has one, as a function; without its plans."""
        found: Any = sys.modules.get(self.__module__)
        for name in self.__qualname__.split("."):
            found = getattr(found, name, None)
        return self.__qualname__ if found is self else (Compiled, (self.fun, self._fallback, self._threads))

    @property
    def plans(self) -> list[Plan]:
        """The plans of the calling thread."""
        known = getattr(self._local, "signatures", {})
        return [signature.plan for signature in known.values() if signature.plan is not None]

    @property
    def refusals(self) -> list[str]:
        """Why calls of the calling thread run as always."""
        known = getattr(self._local, "signatures", {})
        return [signature.why for signature in known.values() if signature.refused]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result."""
        mode = MODE.get()
        local = self._local.__dict__
        if mode.watch or mode.strict or mode.level is not None or "running" in local:
            return self._eager(args, kwargs)
        given = (*args, *kwargs.values()) if kwargs else args
        key: list[Any] = [mode.record, *kwargs]
        tensors: list[Tensor] = []
        for a in given:
            if isinstance(a, Tensor | ndarray):
                t = a if isinstance(a, Tensor) else wrapped(a)
                values, node = t._value, t._node
                kind = node is None, node is None or node.rule is None, a.__class__
                key.append((values.shape, values.dtype, values.strides, kind))
                tensors.append(t)
            else:
                key.append(_kind(a))
        signatures = local.get("signatures")
        if signatures is None:
            signatures = local["signatures"] = {}
        signature = signatures.get(tuple(key))
        if signature is None:
            full = len(signatures) >= MOST or sum(plan.bytes for plan in self.plans) > ROOM
            if full or any(isinstance(a, list | tuple | dict) for a in given):
                return self._eager(args, kwargs)
            arrays = [_numbers(a, "Tensor") for a in given if isinstance(a, ndarray)]
            signature = signatures[tuple(key)] = _Signature([a for a in given if not _is_array(a)])
            if not all(a.dtype.isnative for a in arrays):
                signature.refused, signature.why = True, "the bytes of an argument are in foreign order"
        if signature.refused:
            return self._eager(args, kwargs)
        plan = signature.plan
        if plan is not None:
            if not plan.changed():
                generators = list(map(as_generator, plan.generators))
                states = [g.bit_generator.state for g in generators]
                local["running"] = True
                try:
                    return plan.run(tensors)
                except Unforeseen:
                    for g, state in zip(generators, states, strict=True):
                        g.bit_generator.state = state
                    return self._eager(args, kwargs)
                finally:
                    del local["running"]
            signature.plan = signature.first = None
        return self._traced(signature, args, kwargs, tensors)

    def _eager(self, args: Any, kwargs: Any) -> Any:
        """Run as always, with Tensors for the arrays, as in the replay."""
        return self.fun(*map(_as_tensor, args), **{key: _as_tensor(a) for key, a in kwargs.items()})

    def _traced(self, signature: _Signature, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
        """Run as always, and remember how."""
        signature.trials += 1
        own = [t if t._node is not None else wrapped(t._value.copy(order="K")) for t in tensors]
        arrays = [t._settle() if t._data is None else t._data for t in own]
        outside = Outside(self.fun, (*args, *kwargs.values()))
        trace = Trace(arrays, outside.tensors, {t._node for t in own if t._node is not None})
        if len(set(map(id, arrays))) < len(arrays) or not set(map(id, arrays)).isdisjoint(
            id(t._data) for t in outside.tensors.values()
        ):
            trace.fail("an argument is another argument too, or something that it finds outside", again=True)
        handles = iter(own)
        given = [next(handles) if _is_array(a) else a for a in args]
        named = {key: next(handles) if _is_array(a) else a for key, a in kwargs.items()}
        if any(t._node is not None and t._node.rule is not None for t in own):
            trace.fail("an argument is a result with a graph")
        try:
            with traced(trace):
                result = self.fun(*given, **named)
        except Exception:
            if not trace.posed or trace.moved:
                raise
            result = self._eager(args, kwargs)
            self._refuse(signature, "it failed when its comparisons gave tensors")
            return result
        finally:
            for handle, t, values in zip(own, tensors, arrays, strict=True):
                if handle is not t and handle._data is not values:
                    trace.fail("it assigned to an argument")
                    t._data, t._node, t._origin = handle._data, handle._node, handle._origin
                    if handle._data is None:
                        t._lent = handle._lent
        record = Record(trace, result, own, outside)
        try:
            if trace.failure is not None:
                raise Unrepeatable(trace.failure)
            changed = "" if signature.first is None else signature.first.outside.changed()
            if signature.first is None or changed:
                self._wait(signature, record)
                if changed and signature.trials > 10:
                    raise Unrepeatable(f"what it finds outside changes from call to call ({changed})")
            else:
                first, signature.first = signature.first, None
                signature.plan = Plan(self.fun, first, record, self._threads)
                signature.trials = 0
        except Unrepeatable as reason:
            if trace.failure is None or not trace.again or signature.trials > 10:
                self._refuse(signature, str(reason))
        return result

    def _wait(self, signature: _Signature, record: Record) -> None:
        """Keep a first record, which holds all arrays of its run, until the second; and few of that kind."""
        waiting = self._local.__dict__.setdefault("waiting", deque())
        if signature not in waiting:
            waiting.append(signature)
        signature.first = record
        if len(waiting) > WAITING:
            waiting.popleft().first = None

    def _refuse(self, signature: _Signature, reason: str) -> None:
        signature.refused, signature.why = True, reason
        signature.first = None
        if self._fallback == "raise":
            raise GraphError(f"compile: {self.__name__} cannot be replayed: {reason}")
        if self._fallback == "warn" and not self._warned:
            self._warned = True
            warnings.warn(
                f"compile: {self.__name__} runs as before, uncompiled: {reason}", RuntimeWarning, stacklevel=4
            )


def _as_tensor(value: Any) -> Any:
    return Tensor(value) if isinstance(value, ndarray) else value


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | ndarray)


def _kind(value: Any) -> Any:
    """What a plan is made for of an argument that is no array."""
    if isinstance(value, np.generic):
        return type(value), value.tobytes()
    if isinstance(value, SCALARS):
        return type(value), value or repr(value)  # -0.0 is another number than 0.0
    return id(value)


def compile(fun: Callable[..., Any] | None = None, *, fallback: str = "warn", threads: int = 1) -> Any:
    """A function that records what `fun` does twice and from then on replays it without overhead.

    Parameters
    ----------
    fun : callable
        A cost, or a whole training step with `backward` and the optimiser's `step` in it. Its arguments are arrays or
        Tensors (it gets Tensors), numbers and other objects. It returns Tensors, also in tuples, lists and dicts, or
        None; a scalar that is returned with its graph can be differentiated, once.
    fallback : {'warn', 'silent', 'raise'}
        What to do where `fun` cannot be replayed, because Python looks at a value or something changes that does not
        come from the arguments: run it as always after one warning, without one, or raise.
    threads : int
        How many threads share the blocks of rows of tall batches, at most 4; more than one pays for thousands of rows.
        BLAS gets one thread meanwhile if `threadpoolctl` is installed; else start Python with OPENBLAS_NUM_THREADS=1.

    Returns
    -------
    Compiled
        Called like `fun`. There is one plan for each combination of shapes, dtypes, layouts and other arguments, in
        each thread, and a hundred at most, or a gigabyte of buffers; further kinds, and arguments that are lists,
        tuples or dicts, run as always. In a class it is a method.

    Raises
    ------
    GraphError
        With ``fallback='raise'``, at the call that shows that `fun` cannot be replayed.
    ValueError, TypeError
        If `fallback` or `threads` is something else, or `fun` is no function.

    Notes
    -----
    Results are those of `fun` to the bit, and so are gradients that start from 1; where a result is computed with
    further, the last product is rounded at another place. Only sums may be added up in another order: over the rows of
    large arrays, where tall batches are cut into blocks (with the same bits for any number of threads) or NumPy would
    have reused the memory, and so the layout, of a temporary; and the gradient of an array of which several parts were
    picked.
    What `fun` returns, and every `.grad`, is the caller's own. Floating-point warnings are not given.

    The Python code of `fun` runs twice and then no more. Its defaults, its closure, the globals it names, attributes of
    modules, objects and classes, and the entries of containers are compared by identity at every call, and a change
    records anew. An array outside is read anew where it is an operand itself; if other arrays are computed from it, its
    contents are compared up to 64 kB and taken for constant beyond. So is what it reads elsewhere (a file, the clock,
    the learning rate of an optimiser); what it prints is printed twice. While it is recorded, comparisons give Tensors.

    Examples
    --------
    >>> import numpy as np
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> cost = compile(lambda x: np.sum((w * x) ** 2))
    >>> for _ in range(3):
    ...     w.grad = None
    ...     cost(np.array([1.0, 3.0])).backward()
    >>> w.grad
    array([ 2., 36.])
    >>> len(cost.plans)
    1
    """
    if fallback not in ("warn", "silent", "raise"):
        raise ValueError(f"compile: fallback is {fallback!r}, wanted 'warn', 'silent' or 'raise'")
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or threads < 1:
        raise ValueError(f"compile: threads is {threads!r}, wanted a whole number from 1 on")
    if fun is None:
        return functools.partial(compile, fallback=fallback, threads=threads)
    if not callable(fun):
        raise TypeError(f"compile: got a {type(fun).__name__}, wanted a function")
    return Compiled(fun, fallback, operator.index(threads))
