"""The one gate: `apply`, which every operation passes, and a shorter way to the same for one or two operands.

It computes the value, and records where it came from if an argument is tracked and the mode says so.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
from numpy import ndarray

from .errors import AnomalyError, NoRuleError, ShapeError
from .modes import MODE
from .rules import ORDER, RULES, Array, Rule, _names, conjugating, no_rule, owned
from .tensor import SCALARS, Edge, Node, Tensor, _new, _numbers

__all__ = ["apply", "gate", "user_site"]


def apply(fun: Callable[..., Any], *args: Array, **params: Any) -> Tensor:
    """The value of `fun(*args, **params)` as a Tensor, recorded if an argument is tracked and the mode says so.

    Parameters
    ----------
    fun : callable
        A key of `RULES` with derivatives.
    *args : array_like or Tensor
        What can be differentiated.
    **params
        What cannot: axes, shapes, indices.

    Returns
    -------
    Tensor

    Raises
    ------
    NoRuleError
        If `fun` is not in the table.
    ShapeError
        If the shapes do not fit together.
    """
    rule = RULES.get(fun)
    if rule is None:
        raise no_rule(fun)
    values: list[Any] = []
    tracked: list[tuple[Node, int]] = []
    raw = False
    for a in args:
        if isinstance(a, Tensor):
            value = a._data
            if value is None:
                value = a._settle()
            node = a._node
            if node is not None:
                tracked.append((node, len(values)))
            values.append(value)
        else:
            if a.__class__ not in SCALARS:
                a = _operand(a, rule)
                raw = True
            values.append(a)
    mode = MODE.get()
    ready = None
    try:
        if rule.ahead is not None and mode.record and not mode.watch and len(tracked) == 1 and tracked[0][1] == 0:
            out, ready = rule.ahead(*values)
        else:
            out = fun(*values, **params)
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError):  # it says more than we could: LinAlgError, AxisError, ours
            raise
        shapes = " and ".join(str(np.shape(v)) for v in values)
        kind = ShapeError if isinstance(error, ValueError) else TypeError
        raise kind(f"{rule.name}: operands of shape {shapes}: {error}") from error
    if out.__class__ is not ndarray:
        out = np.asarray(out)
    node = None
    if tracked and mode.record:
        terms = rule.terms
        values.append(out)
        if raw:
            _own_operands(rule, args, values, tracked)
        if params:  # once, and not for each edge: concatenate has as many entries in them as edges
            params = {key: owned(value) for key, value in params.items()}
        edges = []
        dtype = out.dtype
        kind = dtype.kind
        for parent, i in tracked:
            term = terms[0 if rule.variadic else i]
            if term is None:
                raise _no_term(rule, i)
            take = term.take
            pull = term.pull if kind != "c" else conjugating(term.pull)
            if ready is not None:
                pull = _Ready(ready, pull)
            edges.append((parent, pull, () if take is None else take(values, params, i), i))
        if kind not in "fc":
            raise TypeError(f"{rule.name}: a result of dtype {dtype} cannot carry a gradient; use detach()")
        node = Node(tuple(edges), rule, out.shape, dtype)
        if mode.level is not None:
            mode.level.push(node, values, params)
    elif raw and out.base is not None:
        out = out.copy()  # a view of the caller's array would change under us
    if mode.watch:
        if mode.trace is not None:
            mode.trace.step(fun, args, values, params, out)
        if mode.anomaly:
            _inspect(rule, values, out, node)
    result: Tensor = _new(Tensor)
    result._data = out
    result._node = node
    result._origin = None
    return result


def gate(fun: Callable[..., Any]) -> Callable[..., Tensor]:
    """What a call of `fun` on Tensors runs: `apply`, and a shorter way to the same for one or two operands.

    The shorter way serves Tensors and Python numbers in the usual mode, which is nearly every call; with anything else,
    errors among it, it turns to `apply`.
    """
    rule = RULES[fun]
    if None not in rule.terms and not rule.variadic:
        if len(rule.terms) == 1:
            return _gate_of_one(fun, rule)
        if len(rule.terms) == 2 and rule.ahead is None:
            return _gate_of_two(fun, rule)
    return functools.partial(apply, fun)


def _gate_of_one(fun: Callable[..., Any], rule: Rule) -> Callable[..., Tensor]:
    def call(x: Any) -> Tensor:
        if isinstance(x, Tensor) and MODE.get().usual:
            value, node = x._data, x._node
            if value is not None and node is not None:
                (term,) = rule.terms
                pull, take = term.pull, term.take  # type: ignore[union-attr]
                try:
                    if rule.ahead is None:
                        out = fun(value)
                    else:
                        out, partial = rule.ahead(value)
                        if partial is not None:
                            pull = _Ready(partial, pull)
                except (ValueError, TypeError):
                    return apply(fun, x)
                if out.__class__ is not ndarray:
                    out = np.asarray(out)
                dtype = out.dtype
                if dtype.kind == "f":
                    edges = ((node, pull, () if take is None else take((value, out), {}, 0), 0),)
                    result: Tensor = _new(Tensor)
                    result._data = out
                    result._node = Node(edges, rule, out.shape, dtype)
                    result._origin = None
                    return result
        return apply(fun, x)

    return call


def _gate_of_two(fun: Callable[..., Any], rule: Rule) -> Callable[..., Tensor]:
    def call(x: Any, y: Any) -> Tensor:
        node = other = None
        value: Any = x
        if isinstance(x, Tensor):
            value, node = x._data, x._node
        elif x.__class__ not in SCALARS:
            return apply(fun, x, y)
        operand: Any = y
        if isinstance(y, Tensor):
            operand, other = y._data, y._node
        elif y.__class__ not in SCALARS:
            return apply(fun, x, y)
        if value is None or operand is None or not MODE.get().usual:
            return apply(fun, x, y)
        try:
            out = fun(value, operand)
        except (ValueError, TypeError):
            return apply(fun, x, y)
        if out.__class__ is not ndarray:
            out = np.asarray(out)
        dtype = out.dtype
        if dtype.kind != "f":
            return apply(fun, x, y)
        edges: tuple[Edge, ...] = ()
        if node is not None:
            term: Any = rule.terms[0]
            take = term.take
            edges = ((node, term.pull, () if take is None else take((value, operand, out), {}, 0), 0),)
        if other is not None:
            term = rule.terms[1]
            take = term.take
            edges += ((other, term.pull, () if take is None else take((value, operand, out), {}, 1), 1),)
        if not edges:
            return apply(fun, x, y)
        result: Tensor = _new(Tensor)
        result._data = out
        result._node = Node(edges, rule, out.shape, dtype)
        result._origin = None
        return result

    return call


class _Ready:
    """A pullback whose partial derivative is there already; a recorded cotangent takes the one of the rule."""

    __slots__ = ("partial", "pull")

    def __init__(self, partial: ndarray, pull: Callable[..., Any]) -> None:
        self.partial, self.pull = partial, pull

    def __call__(self, ct: Any, *kept: Any) -> Any:
        return ct * self.partial if ct.__class__ is ndarray else self.pull(ct, *kept)


def _operand(a: Any, rule: Rule) -> Any:
    """A raw operand as an array or a NumPy scalar."""
    if (a.__class__ is ndarray or isinstance(a, np.generic)) and a.dtype.kind in "biufc":
        return a
    return _numbers(a, rule.name, "biufc")


def _own_operands(rule: Rule, args: tuple[Any, ...], values: list[Any], tracked: list[tuple[Node, int]]) -> None:
    """Copy the caller's arrays that a tracked term keeps, so that later writes to them do not reach the graph."""
    for _, i in tracked:
        term = rule.terms[0 if rule.variadic else i]
        for j in () if term is None else term.keeps:
            kept = values[j]
            raw = j >= 0 and isinstance(kept, ndarray) and not isinstance(args[j], Tensor)
            # A read-only array that owns its memory cannot change, unless its owner unlocks it on purpose.
            if raw and (kept.flags.writeable or kept.base is not None):
                values[j] = kept.copy()


def _no_term(rule: Rule, i: int) -> NoRuleError:
    argument = next((name for name, k in _names(rule.fun).items() if k == i and name not in ORDER), f"number {i + 1}")
    return NoRuleError(
        f"{rule.name} has no derivative rule for its argument {argument}; "
        "pass t.detach() there if it is to count as a constant"
    )


def _inspect(rule: Rule, values: list[Any], out: ndarray, node: Node | None) -> None:
    """Under `detect_anomaly`: remember the user's line, and raise at the first NaN."""
    site = user_site()
    if node is not None:
        node.site = site
    if _has_nan(out) and not any(v is not out and _has_nan(v) for v in values):
        raise AnomalyError(f"{rule.name} made a NaN out of numbers, {site}")


def _has_nan(value: Any) -> bool:
    kind = np.result_type(value).kind
    return kind in "fc" and bool(np.isnan(value).any())


def user_site() -> str:
    """The innermost line outside this package that led here, and the innermost module that was running."""
    site = module = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (site and module):
        if not site and frame.f_globals.get("__name__", "").partition(".")[0] != __name__.partition(".")[0]:
            site = f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        owner = frame.f_locals.get("self")
        if not module and hasattr(owner, "named_parameters"):
            module = f"in module {type(owner).__name__}, "
        frame = frame.f_back
    return module + site
