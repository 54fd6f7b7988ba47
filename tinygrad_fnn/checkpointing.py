"""Gradient checkpointing: a part of a function whose intermediate results are computed again when they are wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .backward import _handle, _tape, _tensor, pull_back
from .errors import GraphError
from .modes import MODE, Mode
from .randomness import get_rng_state, set_rng_state
from .rules import Array, Rule, Term, conjugating
from .tensor import Node, Tensor

__all__ = ["checkpoint"]


def checkpoint(fun: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """`fun(*args, **kwargs)`, of which the graph keeps the arguments and the result only.

    What `fun` computes on the way is forgotten, and computed again in the backward pass [1]_: memory for time, one more
    call of `fun`. Derivatives are the same to the bit, of every order, also with respect to parameters that `fun` finds
    outside, such as those of a module.

    Parameters
    ----------
    fun : callable
        Returns one Tensor. What it draws from the package's own generator it draws again.
    *args, **kwargs
        What it is called with.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `fun` is no function, or returns something else.
    GraphError
        If it makes a leaf of its own; and in the backward pass, if the second call gives another result than the first,
        because it draws from a generator of its own, or a parameter has been assigned meanwhile.

    Notes
    -----
    What `fun` does beside its result (running averages of a normalisation, printing) it does twice. Without recording,
    in forward mode, under `detect_anomaly` and within `compile`, whose programs use memory again anyway, it is called
    as if there were no checkpoint.

    References
    ----------
    .. [1] Griewank and Walther, *Algorithm 799: revolve* (2000).

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = checkpoint(lambda x: np.exp(np.sin(x)) ** 2, x)
    >>> y.sum().backward()
    >>> bool(np.allclose(x.grad, 2 * np.cos(x.data) * np.exp(2 * np.sin(x.data))))
    True
    """
    if not callable(fun):
        raise TypeError(f"checkpoint: got a {type(fun).__name__}, wanted a function and what it is called with")
    mode = MODE.get()
    if not mode.record or mode.watch or mode.level is not None:
        return fun(*args, **kwargs)
    segment = _Segment(fun, args, kwargs)
    start = Node((), None, (), np.dtype(float)).time
    out = segment.called()
    root = out._node
    if root is None or root.time < start:
        return out
    segment.parents = _outside(root, start)
    segment.values = values = out._settle() if out._data is None else out._data
    pulls = [functools.partial(segment.share, k) for k in range(len(segment.parents))]
    conjugated = [conjugating(pull) for pull in pulls] if values.dtype.kind == "c" else pulls
    terms = tuple(Term(pull, pull, None, (), (), None) for pull in conjugated)
    rule = Rule(checkpoint, "checkpoint", "primitive", terms)
    edges = tuple((parent, pull, (), k) for k, (parent, pull) in enumerate(zip(segment.parents, pulls, strict=True)))
    return _tensor(values, Node(edges, rule, values.shape, values.dtype))


def _outside(root: Node, start: int) -> list[Node]:
    """What a result depends on that was there before, in the order of its creation."""
    found, seen, stack = set(), {root}, [root]
    while stack:
        node = stack.pop()
        if node.time < start:
            found.add(node)
            continue
        if node.rule is None:
            raise GraphError("checkpoint: the function makes a leaf of its own, which would be another one each time")
        aside = [node.aside] if node.aside is not None else []
        for parent in [*(edge[0] for edge in node.edges or ()), *aside]:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(found, key=lambda node: node.time)


class _Segment:
    """A call that can be made again, and the shares of one cotangent until all who want theirs have asked."""

    __slots__ = ("args", "fun", "kwargs", "parents", "ready", "state", "values")

    def __init__(self, fun: Callable[..., Tensor], args: Any, kwargs: Any) -> None:
        self.fun = fun
        self.args = [_handle(a) if isinstance(a, Tensor) else a for a in args]
        self.kwargs = {key: _handle(a) if isinstance(a, Tensor) else a for key, a in kwargs.items()}
        self.state = get_rng_state()
        self.parents: list[Node] = []
        self.values: Any = None
        self.ready: tuple[Any, list[Any]] | None = None

    def called(self) -> Tensor:
        """The result, with its graph."""
        out = self.fun(*self.args, **self.kwargs)
        if not isinstance(out, Tensor):
            raise TypeError(f"checkpoint: the function returned a {type(out).__name__}, wanted one Tensor")
        return out

    def share(self, k: int, ct: Array) -> Array:
        """That of parent `k`; all are computed when the first one asks."""
        if self.ready is None or self.ready[0] is not ct:
            self.ready = ct, self._shares(ct)
        shares = self.ready[1]
        if k == len(shares) - 1:
            self.ready = None
        return shares[k]

    def _shares(self, ct: Array) -> list[Any]:
        mode, state = MODE.get(), get_rng_state()
        token = MODE.set(Mode(True, mode.strict, False, mode))
        try:
            set_rng_state(self.state)
            out = self.called()
        finally:
            set_rng_state(state)
            MODE.reset(token)
        root = out._node
        if root is None or not np.array_equal(out._value, self.values, equal_nan=True):
            raise GraphError(
                "checkpoint: called again, the function gave another result; it may draw from a generator of its own, "
                "or what it uses has been assigned between forward and backward"
            )
        recorded = isinstance(ct, Tensor)
        shares = pull_back({root: ct}, _tape([root], set(self.parents)), self.parents, recorded)
        zeros = (np.zeros(node.shape, node.dtype) for node in self.parents)
        found = [zero if share is None else share for zero, share in zip(zeros, shares, strict=True)]
        return [_tensor(np.asarray(s)) if recorded and not isinstance(s, Tensor) else s for s in found]
