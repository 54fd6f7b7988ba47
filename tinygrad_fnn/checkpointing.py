"""Gradient checkpointing: a part of a function whose intermediate results are computed again when they are wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .backward import _handle, _tape, _tensor, _way_past, pull_back
from .errors import GraphError
from .modes import MODE, Mode
from .ops.logistic import Origin, log_sigmoid
from .randomness import get_rng_state, set_rng_state
from .rules import RULES, Array, Rule, Term, conjugating
from .tensor import Node, Tensor

__all__ = ["checkpoint"]


def checkpoint(fun: Callable[..., Array], *args: Any, **kwargs: Any) -> Array:
    """`fun(*args, **kwargs)`, of which the graph keeps the arguments and the result only.

    What `fun` computes on the way is forgotten, and computed again in the backward pass [1]_: memory for time, one more
    call of `fun`. Values are the same to the bit, and so are derivatives, of every order, also with respect to
    parameters that `fun` finds outside, such as those of a module; only what is used several times, and not in one
    place, may have its shares added in another order.

    Parameters
    ----------
    fun : callable
        Returns a Tensor, or a tuple or list of Tensors; of several, each one that a derivative goes through costs one
        more call. What it draws from the package's own generator it draws again.
    *args, **kwargs
        What it is called with.

    Returns
    -------
    Tensor, or tuple or list of Tensor
        As `fun` returns them. A probability still remembers its logit.

    Raises
    ------
    TypeError
        If `fun` is no function, or returns something else.
    GraphError
        If `fun` makes a leaf of its own, writes to an argument, or goes past a probability made outside to its logit.
        In the backward pass, if the second call gives another result than the first, or depends on other tensors: it
        draws from a generator of its own, a parameter has been assigned meanwhile, or a loop variable that it reads has
        gone on. An assignment that leaves the result as it is goes unnoticed.

    Notes
    -----
    What `fun` does beside its result (running averages of a normalisation, printing) it does twice. While draws are
    repeated the package's generator stands where it stood then, also for other threads. Without recording, in forward
    mode, under `detect_anomaly` and within `compile`, whose programs use memory again anyway, it is called as if there
    were no checkpoint.

    What a `where` or an index outside has cut off is not known within, nor the other way about, so that an infinite
    derivative on one side and a zero on the other make a NaN: `np.where(x > 0, y, 0)` at 0 with `y` the checkpoint of
    `np.sqrt`. Both belong on the same side.

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
        out = fun(*args, **kwargs)
        _parts(out)
        return out
    segment = _Segment(fun, args, kwargs)
    out, results, start = segment.called()
    segment.forget()
    count = len(_parts(out))
    kept = [_recorded(segment, index, result, start) for index, result in enumerate(results)]
    sources = iter(kept[count:])
    for before, now in zip(results[:count], kept, strict=False):
        if now is not before and before._origin is not None:
            now._origin = _origin(before._origin, next(sources))
    return kept[0] if isinstance(out, Tensor) else type(out)(kept[:count])


def _parts(out: Any) -> list[Tensor]:
    """The results one by one."""
    parts = list(out) if type(out) in (tuple, list) else [out]
    for part in parts:
        if not isinstance(part, Tensor):
            what = f"a {type(out).__name__}" if part is out else f"a {type(out).__name__} with a {type(part).__name__}"
            raise TypeError(
                f"checkpoint: the function returned {what}, wanted a Tensor, or a tuple or list of nothing else"
            )
    return parts


def _is_within(node: Node | None, start: int) -> bool:
    return node is not None and node.time > start


def _within(root: Node, start: int) -> tuple[list[Node], list[Node]]:
    """The nodes of a call, and those from before it that they depend on; these in the order of their creation."""
    inner, outer, stack = {root}, set(), [root]
    while stack:
        node = stack.pop()
        if node.rule is None:
            raise GraphError("checkpoint: the function makes a leaf of its own, which would be another one each time")
        if not all(_is_within(passed, start) for passed in _way_past(node)):
            raise GraphError(
                "checkpoint: the function goes past a probability that was made outside, to its logit, for a logarithm "
                "or a loss; call the sigmoid or softmax within, or compute the loss outside"
            )
        aside = [] if node.aside is None else [node.aside]
        for parent in [*aside, *(edge[0] for edge in node.edges or ())]:
            if not _is_within(parent, start):
                outer.add(parent)
            elif parent not in inner:
                inner.add(parent)
                stack.append(parent)
    return list(inner), sorted(outer, key=lambda node: node.time)


def _origin(origin: Origin, source: Tensor) -> Origin:
    """That of a result, with the logit (the logarithm of a softmax) that is a result of the same call."""
    if origin.logit is None:
        return Origin(lambda: _handle(source), None, origin.negative)
    return Origin(lambda: log_sigmoid(source), lambda: source, origin.negative)


def _recorded(segment: _Segment, index: int, result: Tensor, start: int) -> Tensor:
    """A result with one node in place of its graph; itself if it has none of this call."""
    root = result._node
    if root is None or not _is_within(root, start):
        return result
    values = result._settle() if result._data is None else result._data
    shares = _Shares(segment, index, _within(root, start)[1], values)
    # The rule outlives the edges, so it must not hold the call.
    term = Term(_asked, _asked if values.dtype.kind != "c" else conjugating(_asked), None, (), (), None)
    rule = Rule(checkpoint, "checkpoint", "primitive", (term,), variadic=True, probability=result._origin is not None)
    edges = [(parent, _asked, (functools.partial(shares.of, k),), k) for k, parent in enumerate(shares.parents)]
    return _tensor(values, Node(tuple(edges), rule, values.shape, values.dtype))


def _asked(ct: Array, share: Callable[[Array], Array]) -> Array:
    """The pullback of every edge; of a complex result, too, as the walk within conjugates by itself."""
    return share(ct)


def _same(one: Array, other: Array) -> bool:
    return one is other or np.array_equal(one, other, equal_nan=True)


def _own(a: Any) -> Any:
    return _handle(a) if isinstance(a, Tensor) else a


def _bare(a: Any) -> Any:
    """A handle without what a probability is made of, which would be an array more."""
    return _tensor(_handle(a)._data, a._node) if isinstance(a, Tensor) else a


def _noted(asked: list[bool], source: Callable[[], Tensor]) -> Tensor:
    asked.append(True)
    return source()


class _Segment:
    """A call that can be made again."""

    __slots__ = ("args", "asked", "fun", "kwargs", "state")

    def __init__(self, fun: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.fun = fun
        self.asked: list[bool] = []  # shared with the origins, which must not hold the call
        self.args = [self._held(a) for a in args]
        self.kwargs = {key: self._held(a) for key, a in kwargs.items()}
        self.state: dict[str, Any] | None = get_rng_state()

    def _held(self, a: Any) -> Any:
        """An argument as it is now; of a probability it is noted whether what that is made of is asked for."""
        if not isinstance(a, Tensor):
            return a
        handle, origin = _handle(a), a._origin
        if origin is not None:
            logit = origin.logit and functools.partial(_noted, self.asked, origin.logit)
            handle._origin = Origin(functools.partial(_noted, self.asked, origin.log), logit, origin.negative)
        return handle

    def forget(self) -> None:
        """After the first call: what need not be kept for a second one."""
        if get_rng_state() == self.state:
            self.state = None  # nothing was drawn, so the generator may be left alone
        if not self.asked:
            self.args = [_bare(a) for a in self.args]
            self.kwargs = {key: _bare(a) for key, a in self.kwargs.items()}

    def called(self) -> tuple[Any, list[Tensor], int]:
        """What it returns; its results and, of each probability among them, what that is made of; when it began."""
        start = Node((), None, (), np.dtype(float)).time
        args, kwargs = [*map(_own, self.args)], {key: _own(a) for key, a in self.kwargs.items()}
        out = self.fun(*args, **kwargs)
        parts = _parts(out)
        for given, a in zip([*args, *kwargs.values()], [*self.args, *self.kwargs.values()], strict=True):
            if isinstance(a, Tensor) and (given._node is not a._node or not _same(given._value, a._value)):
                raise GraphError("checkpoint: the function writes to an argument; let it write to a copy, np.copy(x)")
        origins = [part._origin for part in parts if _is_within(part._node, start)]
        return out, [*parts, *((o.logit or o.log)() for o in origins if o is not None)], start

    def again(self) -> tuple[list[Tensor], int]:
        """The results, with the same draws, and when it began."""
        if self.state is None:
            return self.called()[1:]
        present = get_rng_state()
        try:
            set_rng_state(self.state)
            return self.called()[1:]
        finally:
            set_rng_state(present)


class _Shares:
    """The pullbacks of one result of a segment, and the shares of a cotangent until all who want theirs have asked."""

    __slots__ = ("index", "parents", "ready", "segment", "values")

    def __init__(self, segment: _Segment, index: int, parents: list[Node], values: Any) -> None:
        self.segment, self.index, self.parents, self.values = segment, index, parents, values
        self.ready: tuple[Mode, Array, list[Any]] | None = None

    def of(self, k: int, ct: Array) -> Array:
        """That of parent `k`; all are computed when the first one asks."""
        mode, ready = MODE.get(), self.ready  # each walk has a mode of its own
        if ready is None or ready[0] is not mode or ready[1] is not ct:
            ready = self.ready = mode, ct, self._computed(ct, mode)
        if k == len(self.parents) - 1:
            self.ready = None
        return ready[2][k]

    def _computed(self, ct: Array, mode: Mode) -> list[Any]:
        recorded = isinstance(ct, Tensor)
        ends = {parent: _stand_in(parent) for parent in self.parents}
        token = MODE.set(Mode(True, mode.strict, False, mode, mode.level if recorded else None))
        try:
            results, start = self.segment.again()
        finally:
            MODE.reset(token)
        root = results[self.index]._node if self.index < len(results) else None
        inner, parents = _within(root, start) if root is not None and _is_within(root, start) else ([], [])
        if root is None or parents != self.parents:
            raise GraphError(
                "checkpoint: called again, the function depends on other tensors; a name that it reads, such as a loop "
                "variable, may stand for another one by now, so pass that as an argument"
            )
        if not _same(results[self.index]._value, self.values):
            raise GraphError(
                "checkpoint: called again, the function gave another result; it may draw from a generator of its own, "
                "or what it uses has been assigned between forward and backward"
            )
        for node in inner:
            node.edges = tuple((ends.get(edge[0], edge[0]), *edge[1:]) for edge in node.edges or ())
        wanted = list(ends.values())
        return pull_back({root: ct}, _tape([root], set(wanted)), wanted, recorded)


def _stand_in(parent: Node) -> Node:
    """Where a walk over one call ends: it neither goes on, should parents depend on each other, nor calls hooks.

    What is recorded in such a walk leads through it to the parent.
    """
    rule = RULES[np.positive]
    term = rule.terms[0]
    assert term is not None
    return Node(((parent, term.pull, (), 0),), rule, parent.shape, parent.dtype)
