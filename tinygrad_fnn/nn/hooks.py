"""Hooks of a module: functions that see, and may replace, what goes through it forward and backward.

They stand apart from `Module`, whose call only asks whether there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np

from ..errors import GraphError
from ..gate import apply
from ..modes import MODE, is_grad_enabled
from ..rules import Array
from ..tensor import Node, Tensor

__all__ = ["Handle", "Hooks", "call_hooked", "parts_of", "rebuilt", "tracked", "twin"]

Hook = Callable[..., Any]


class Hooks:
    """The hooks of one module, in the order of their registration."""

    __slots__ = ("backward", "forward")

    def __init__(self) -> None:
        self.forward: dict[object, Hook] = {}
        self.backward: dict[object, Hook] = {}


class Handle:
    """Takes a hook away: by `remove`, or at the end of a `with` block.

    Parameters
    ----------
    take_away : callable
        What `remove` does; a second time it does nothing.
    """

    __slots__ = ("_take_away",)

    def __init__(self, take_away: Callable[[], None]) -> None:
        self._take_away: Callable[[], None] | None = take_away

    def remove(self) -> None:
        """Take the hook away."""
        if self._take_away is not None:
            self._take_away()
            self._take_away = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def call_hooked(module: Any, hooks: Hooks, args: tuple[Array, ...], kwargs: dict[str, Array]) -> Array:
    """What calling a module with hooks computes."""
    trace = MODE.get().trace
    if trace is not None:
        trace.fail("a hook of a module was called")
    backward = list(hooks.backward.values()) if is_grad_enabled() else []
    if backward:  # a node of its own for each argument: its cotangent is what comes through this module alone
        args = tuple(twin(a) if tracked(a) else a for a in args)
    out = module.forward(*args, **kwargs)
    for hook in list(hooks.forward.values()):
        replacement = hook(module, args, out)
        out = out if replacement is None else replacement
    return _watched(module, backward, args, out) if backward else out


def tracked(value: Array) -> bool:
    """Whether it is a Tensor with a gradient."""
    return isinstance(value, Tensor) and value.requires_grad


def twin(t: Tensor) -> Tensor:
    """The same values under a node of their own; a probability still remembers its logit."""
    same = apply(np.positive, t)
    same._origin = t._origin
    return same


def parts_of(out: Array) -> list[Array]:
    """What a module gave, which may be a tuple or a list, as a list."""
    return list(out) if isinstance(out, tuple | list) else [out]


def rebuilt(out: Array, parts: list[Array]) -> Array:
    """`parts` in the form of `out`."""
    if not isinstance(out, tuple | list):
        return parts[0]
    return type(out)(*parts) if hasattr(out, "_fields") else type(out)(parts)


def _watched(module: Any, hooks: list[Hook], args: tuple[Array, ...], out: Array) -> Array:
    """`out` with nodes of its own, whose cotangents and those of `args` go to the backward hooks."""
    outs = [twin(part) if tracked(part) else part for part in parts_of(out)]
    nodes_out = [part._node if tracked(part) else None for part in outs]
    reached = _ancestors([node for node in nodes_out if node is not None])
    nodes_in = [a._node if tracked(a) and a._node in reached else None for a in args]
    grad_output: list[Any] = [None] * len(outs)
    grad_input: list[Any] = [None] * len(args)
    places = [i for i, node in enumerate(nodes_in) if node is not None]

    def finish() -> Any:  # holds no tensor of this call: the nodes hold it
        """Call the hooks, once every cotangent is there; the replacement of the one that came last, or None."""
        ins, given = tuple(grad_input), tuple(grad_output)
        grad_input[:], grad_output[:] = [None] * len(ins), [None] * len(given)  # for another backward
        changed = False
        for hook in hooks:
            replacement = hook(module, ins, given)
            if replacement is None:
                continue
            if len(places) != 1:
                raise GraphError(
                    f"{type(module).__name__}: a backward hook can replace grad_input where one positional argument is "
                    f"tracked; here {len(places)} are. Return None, or use Tensor.register_hook"
                )
            wanted = len(ins)
            ins, changed = tuple(replacement) if isinstance(replacement, tuple | list) else (replacement,), True
            if len(ins) != wanted:
                raise ValueError(
                    f"{type(module).__name__}: a backward hook returned {len(ins)} cotangents for {wanted} arguments"
                )
        return ins[places[0]] if changed else None

    # The walk goes against the order of creation, so that the first of the nodes is the last to be reached.
    cells = [(node, grad_output, i) for i, node in enumerate(nodes_out)]
    cells = [(node, grad_input, i) for i, node in enumerate(nodes_in)] + cells
    present = [(node, into, i) for node, into, i in cells if node is not None]
    for k, (node, into, i) in enumerate(present):
        node.hooks = {**(node.hooks or {}), object(): partial(_arrived, into, i, finish if k == 0 else None)}
    return rebuilt(out, outs)


def _arrived(into: list[Any], i: int, finish: Callable[[], Any] | None, ct: Any) -> Any:
    into[i] = ct
    return None if finish is None else finish()


def _ancestors(nodes: list[Node]) -> set[Node]:
    """Everything that the nodes were computed from, themselves included."""
    seen = set(nodes)
    stack = list(seen)
    while stack:
        node = stack.pop()
        parents = [edge[0] for edge in node.edges or ()] + ([] if node.aside is None else [node.aside])
        stack += [parent for parent in parents if parent not in seen]
        seen.update(parents)
    return seen
