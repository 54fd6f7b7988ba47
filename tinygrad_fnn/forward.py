"""Forward mode: tangents that the gate carries along while a function runs.

A `Level` is one direction of differentiation, kept in the mode. The gate hands it each operation as it is recorded; the
level combines the tangents of the arguments into that of the result, by the partials or by linearity where the rule has
them, and by the derivative of the pullback where not. Levels nest: what one computes is seen by those outside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy import ndarray

from .backward import _has_nan, _tensor, _wrapped, fit, grad
from .gate import apply
from .modes import MODE, Mode
from .rules import Array, Rule, Term, plain
from .tensor import Edge, Node, Tensor

__all__ = ["ALONE", "Level"]


def _alone() -> int:
    values = np.empty(0)
    return sys.getrefcount(values)


ALONE: Final = _alone()  # what `sys.getrefcount` says of an object that one local variable holds and nothing else


class Level:
    """One direction of differentiation.

    Parameters
    ----------
    tangents : dict of Node to ndarray or Tensor
        Of the variables.
    variables : list of Tensor
        They may be views of the caller's arrays; what outlives the call gets copies.
    record : bool
        Whether the tangents are to be recorded from the start, because something tracked is among the primals or the
        tangents. Otherwise recording begins when the function meets something tracked from outside.
    may_record : bool
        Whether the caller's mode records at all.

    Attributes
    ----------
    tangents : dict of Node to ndarray or Tensor
        Also of what has been computed from the variables, in the order of creation.
    """

    __slots__ = ("borrowed", "may_record", "outer", "record", "start", "tangents", "variables")

    def __init__(self, tangents: dict[Node, Any], variables: list[Tensor], record: bool, may_record: bool) -> None:
        self.tangents, self.variables = tangents, variables
        self.record, self.may_record = record, may_record
        self.outer: Level | None = MODE.get().level
        self.start = min((node.time for node in tangents), default=0)
        if record or self.outer is not None:  # their graphs will hold the values
            for variable in variables:
                variable._data = np.array(variable._data)
        self.borrowed = [variable._data for variable in variables if variable._data.base is not None]

    def push(self, node: Node, values: list[Any], params: dict[str, Any]) -> None:
        """Enter the tangent of a result that the gate has just recorded from `values`, the last of which it is."""
        if self.outer is not None:
            self.outer.push(node, values, params)
        arriving = []
        for edge in node.edges or ():
            tangent = self.tangents.get(edge[0])
            if tangent is not None:
                arriving.append((edge, tangent))
            elif self.may_record and edge[0].time < self.start:
                self.record = True  # tracked outside: the tangent may depend on it
        if self.record and self.borrowed:
            self._part(node)
            values = self._copies(values)
            arriving = [(edge, self.tangents[edge[0]]) for edge in node.edges or () if edge[0] in self.tangents]
        if not arriving:
            return
        with np.errstate(all="ignore"):
            if not self.record:  # plain arrays in every call that follows, which the gate does not see
                self.tangents[node] = self._tangent(node, arriving, values[:-1], params)
                return
            mode = MODE.get()
            token = MODE.set(Mode(True, mode.strict, False, mode, self.outer))
            try:
                self.tangents[node] = self._tangent(node, arriving, values[:-1], params)
            finally:
                MODE.reset(token)

    def leave(self) -> None:
        """Forget the tangents, and see that what outlives the call does not change with the caller's arrays."""
        nodes = list(self.tangents)
        self.tangents = {}
        while self.borrowed and nodes:  # latest first, so that a node held by nothing but another is gone with it
            node = nodes.pop()
            if sys.getrefcount(node) > ALONE:
                self._part(node)
        while self.borrowed and self.variables:
            variable = self.variables.pop()
            if sys.getrefcount(variable) > ALONE:
                variable._data = np.array(variable._data)

    def _part(self, node: Node) -> None:
        if node.edges:
            node.edges = tuple((parent, pull, tuple(self._copies(kept)), i) for parent, pull, kept, i in node.edges)

    def _copies(self, values: Sequence[Any]) -> list[Any]:
        return [np.array(v) if isinstance(v, ndarray) and self._is_borrowed(v) else v for v in values]

    def _is_borrowed(self, values: ndarray) -> bool:
        return values.base is not None and any(np.may_share_memory(values, b) for b in self.borrowed)

    def _tangent(self, node: Node, arriving: list[tuple[Edge, Any]], args: list[Any], params: dict[str, Any]) -> Any:
        rule = node.rule
        assert rule is not None
        if self.record:
            tracked = {edge[3]: edge[0] for edge in node.edges or ()}
            args = [_tensor(a, tracked[i]) if i in tracked else a for i, a in enumerate(args)]
        if rule.push is not None:
            found = {edge[3]: tangent for edge, tangent in arriving}
            pushed = rule.push([found.get(i) for i in range(len(args))], *args, **params)
            if pushed is not None:
                return self._fitted(pushed, node)
        if rule.linear == "jointly":
            found = {edge[3]: tangent for edge, tangent in arriving}
            moved = [
                found.get(i, a if rule.terms[0 if rule.variadic else i] is None else np.zeros_like(a))
                for i, a in enumerate(args)
            ]
            return self._fitted(self._run(rule, moved, params), node)
        total = None
        fresh = False  # whether the sum so far is an array that nothing else holds
        for edge, tangent in arriving:
            i = edge[3]
            term = rule.terms[0 if rule.variadic else i]
            assert term is not None
            if rule.linear:
                part = self._run(rule, [*args[:i], tangent, *args[i + 1 :]], params)
            elif term.partial is not None:
                part = self._by_partial(node, edge, term, rule, tangent)
            else:
                part = self._by_pullback(node, edge, tangent)
            part = self._fitted(part, node)
            if total is None:
                total, fresh = part, not self.record and part.base is None and part is not tangent
            elif fresh:
                total += part
            else:
                total, fresh = total + part, not self.record
        return total

    def _run(self, rule: Rule, args: list[Any], params: dict[str, Any]) -> Any:
        return apply(rule.fun, *args, **params) if self.record else rule.fun(*args, **params)

    def _fitted(self, part: Any, node: Node) -> Any:
        if not hasattr(part, "shape"):
            part = np.asarray(part)
        if part.shape != node.shape:
            part = fit(part, node.shape)
        if part.dtype != node.dtype:
            part = (part.real if part.dtype.kind == "c" != node.dtype.kind else part).astype(node.dtype)
        return part if part.__class__ is not np.float64 else np.asarray(part)

    def _kept(self, node: Node, edge: Edge) -> Any:
        return _wrapped(node, edge[2], edge[3]) if self.record else edge[2]

    def _by_partial(self, node: Node, edge: Edge, term: Term, rule: Rule, tangent: Any) -> Any:
        if not callable(term.source):
            return term.pull(tangent)
        partial = term.partial(*self._kept(node, edge)) if term.partial is not None else 0
        if edge[0].dtype.kind == "c" != node.dtype.kind:
            return np.real(np.conj(partial) * tangent)  # the derivative of a real result, as its cotangent has it
        if (
            partial.__class__ is ndarray
            and partial.base is None
            and partial.shape == tangent.shape
            and partial.dtype == tangent.dtype
            and not (rule.selects or rule.root)
            and sys.getrefcount(partial) <= ALONE  # and not an argument or the result, which the graph holds
        ):
            return np.multiply(tangent, partial, out=partial)
        part = tangent * partial
        if (rule.selects or rule.root) and not MODE.get().strict and _has_nan(part):
            # What is not chosen counts for nothing, whatever it is, and so does a root at its minimum at rest.
            slope = np.asarray(plain(partial))
            if rule.selects:
                silent = slope == 0
            else:
                silent = (slope == np.inf) & (np.asarray(plain(tangent)) == 0)
                if rule.root is not True:
                    silent = silent & rule.root(*map(plain, edge[2]))  # type: ignore[operator]  # a function, then
            part = np.where(silent, 0, part)
        return part

    def _by_pullback(self, node: Node, edge: Edge, tangent: Any) -> Any:
        """The pullback is linear in its cotangent, and its derivative there is its transpose."""
        mode = MODE.get()
        token = MODE.set(Mode(True, mode.strict, False, mode, self.outer))
        try:
            # Any cotangent does; ones meet an infinite partial without making a NaN.
            ct = _tensor(np.ones(node.shape, node.dtype), Node((), None, node.shape, node.dtype))
            share: Array = edge[1](ct, *self._kept(node, edge))
            if share.shape != edge[0].shape:
                share = fit(share, edge[0].shape)
            if share._node is None:
                return np.zeros(node.shape, node.dtype)
            (pushed,) = grad(share, ct, tangent, create_graph=self.record, allow_unused=True)
        finally:
            MODE.reset(token)
        if pushed is None:
            return np.zeros(node.shape, node.dtype)
        return pushed if self.record else pushed._read()
