"""What a function did: the operations it put through the gate, in order, and where their operands came from.

A `Trace` listens at the gate. It knows arrays by their identity: the function's arguments, the tensors it found outside
(parameters), the results of operations. Whatever else appears as an operand is taken for a constant, and whether it is
one shows when a second trace, with other values, is compared with the first. A value that leaves the gate (`item()`,
`if t > 0`) ends the trace: what Python did with it cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from ..backward import _accumulating
from ..gate import user_site
from ..modes import traced
from ..tensor import Node, Tensor, _clock, _new

# Whose results have as many entries as their values say; Python may have looked at that number.
COUNTING: Final = (np.argwhere, np.flatnonzero)

__all__ = ["Argument", "Constant", "Found", "Result", "Step", "Trace", "given", "wrapped"]


class Argument(NamedTuple):
    """The `k`-th array among the arguments."""

    k: int


class Found(NamedTuple):
    """A tensor that the function did not make: its values are read anew at each run."""

    tensor: Tensor


class Result(NamedTuple):
    """What step number `k` computed."""

    k: int


class Constant(NamedTuple):
    """The same at each run."""

    value: Any


Operand = Argument | Found | Result | Constant


class Step(NamedTuple):
    """One operation.

    `out` is the array it gave while it was traced: the pattern of every later one. None for a step that is there for
    what it does: add to a `.grad`, update the parameters. `anew` says that it is no function of its operands: a draw.
    `view` is the position of the operand whose memory the result stands in.
    """

    fun: Callable[..., Any]
    operands: tuple[Operand, ...]
    params: dict[str, Any]
    out: ndarray | None
    anew: bool = False
    view: int | None = None


def wrapped(values: ndarray) -> Tensor:
    """An untracked Tensor of an array that nobody writes to."""
    tensor: Tensor = _new(Tensor)
    tensor._data, tensor._node, tensor._origin = values, None, None
    return tensor


class Trace:
    """The steps of one run.

    Parameters
    ----------
    arguments : sequence of ndarray
        What the function is given, in order.
    outside : dict of Tensor
        Those that the function finds outside, by identity: two of them may share an array now and not for ever.
    nodes : set of Node
        Those of the arguments.

    Attributes
    ----------
    steps : list of Step
        In the order in which they ran.
    failure : str or None
        Why the run cannot be repeated from its steps.
    moved : bool
        Whether something has been changed that a second run would change again.
    posed : bool
        Whether Python got a Tensor where it gets a plain array otherwise.
    """

    def __init__(
        self, arguments: Sequence[ndarray], outside: Mapping[int, Tensor] | None = None, nodes: Set[Node] = frozenset()
    ) -> None:
        self.steps: list[Step] = []
        self.moved = self.posed = False
        self.outside, self.nodes = outside or {}, nodes
        self.failure: str | None = None
        self.again = False
        self.arguments = list(arguments)
        self.where: dict[int, Operand] = {id(a): Argument(k) for k, a in enumerate(arguments)}
        self.tensors: list[Tensor] = []  # found outside
        self.start = _clock()
        self.alive: list[Any] = list(arguments)  # an array that is gone would lend its identity to another

    def fail(self, reason: str, again: bool = False) -> None:
        """Note why the run cannot be repeated, with the user's line; the first reason counts.

        `again` says that it is worth another trial: it was for the values and not for the function.
        """
        if self.failure is None:
            self.failure, self.again = f"{reason}, {user_site()}", again

    def operand(self, value: Any) -> Operand:
        """Where an operand of the gate came from."""
        values = value._value if isinstance(value, Tensor) else value
        known = self.where.get(id(values))
        another = isinstance(known, Found) and known.tensor is not value and id(value) in self.outside
        if known is not None and not another:
            return known
        if isinstance(value, Tensor):
            self.tensors.append(value)
            self.alive.append(values)
            return Found(value)
        return Constant(value)

    def _enter(self, step: Step, out: ndarray) -> None:
        self.where.setdefault(id(out), Result(len(self.steps)))  # it may be an operand as it is
        self.alive.append(out)
        self.steps.append(step)

    def step(
        self,
        fun: Any,
        args: Sequence[Any],
        values: Sequence[Any],
        params: dict[str, Any],
        out: ndarray,
        anew: bool = False,
    ) -> None:
        """Note an operation of the gate. `values` are the arrays of `args`, some copied because a graph keeps them."""
        operands = tuple(map(self.operand, args))
        arrays = [a._value if isinstance(a, Tensor) else a for a in args]
        shared = [isinstance(a, ndarray) and a.size > 0 and np.may_share_memory(a, out) for a in arrays]
        view = shared.index(True) if any(shared) and not anew else None
        for operand, value in zip(operands, values, strict=False):
            if isinstance(value, ndarray):
                self.where.setdefault(id(value), operand)
                self.alive.append(value)
        self._enter(Step(fun, operands, params, out, anew, view), out)

    def constant(self, fun: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Note a function of values that has no derivative; its result is a Tensor, so that its use is seen too."""
        values = [a._value if isinstance(a, Tensor) else a for a in args]
        if any(_holds_tensor(v) for v in (*values, *params.values())):
            self.fail(f"{getattr(fun, '__name__', fun)} was given tensors in a list or by name")
            return fun(*map(_plain, args), **{key: _plain(value) for key, value in params.items()})
        with traced(None):
            out = fun(*values, **params)
        if not any(isinstance(a, Tensor) for a in args):
            return out
        if out is None:  # a check, which raises where it must
            self.steps.append(Step(fun, tuple(map(self.operand, args)), params, None))
            return None
        if not isinstance(out, ndarray | np.generic):
            self.fail(f"{getattr(fun, '__name__', fun)} gave a {type(out).__name__}")
            return out
        if fun in COUNTING:
            self.fail(f"{fun.__name__} gave as many entries as there were values of a kind")
        out = np.asarray(out)
        self.step(fun, args, values, params, out)
        self.posed = True
        return wrapped(out)

    def made(self, data: Any, values: ndarray) -> None:
        """Note that a Tensor was made of an array, which is read anew at each run."""
        if isinstance(data, ndarray):
            self.step(given, (data,), (), {"dtype": values.dtype}, values)

    def drawn(self, fun: Callable[..., Any], *args: Any) -> Any:
        """Note a draw, to be repeated at each run."""
        out = np.asarray(fun(*args))
        self.step(fun, args, (), {}, out, anew=True)
        return wrapped(out)

    def accumulated(self, nodes: Sequence[Node], shares: Sequence[Any]) -> list[Any]:
        """Note that shares are added to the `.grad` of nodes; gives their arrays, to be added now."""
        self.moved = True
        for node, share in zip(nodes, shares, strict=True):
            if share is not None:
                if node in self.nodes:
                    self.fail("backward added to the .grad of an argument; return the cost, or use grad")
                self.steps.append(Step(accumulate, (Constant(node), self.operand(share)), {}, None))
        return [None if share is None else np.array(share._value) for share in shares]

    def called(self, fun: Callable[..., Any], *args: Any, **params: Any) -> Any:
        """Run what is there for its effect (an optimiser's step), and note it."""
        with traced(None):
            result = fun(*args, **params)
        self.moved = True
        self.steps.append(Step(fun, tuple(map(Constant, args)), params, None, anew=True))
        if not isinstance(result, float):
            return result
        values = np.asarray(result)
        self.where[id(values)] = Constant(object())  # if anything is computed from it, no other trace has the same
        self.alive.append(values)
        return wrapped(values)


def given(data: ndarray, dtype: Any) -> ndarray:
    """The values of somebody's array, not copied where that can be: nothing of a run outlives it unread."""
    return np.asarray(data, dtype)


def accumulate(node: Node, share: ndarray) -> None:
    """Add a share that nobody else holds to a gradient; a sum is a new array, since somebody may hold the old one."""
    with _accumulating:
        node.grad = share if node.grad is None else np.asarray(node.grad + share)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_plain, value))
    return value._value if isinstance(value, Tensor) else value


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(map(_holds_tensor, value))
    return isinstance(value, Tensor)
