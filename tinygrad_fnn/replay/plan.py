"""Plans: a run as it was recorded, and the program that repeats it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..backward import grad
from ..errors import GraphError
from ..modes import Unforeseen, traced
from ..ops.logistic import Origin, log_sigmoid
from ..randomness import as_generator
from ..rules import RULES, TOGETHER, Rule, Term
from ..tensor import Node, Tensor
from .blocks import Loop, in_blocks
from .code import Code, Line, Unrepeatable, joined, lowered, simplified, values_of
from .outside import Outside
from .program import Program
from .trace import Argument, Constant, Found, Operand, Result, Trace, accumulate, given, wrapped

__all__ = ["Plan", "Record"]


class Record:
    """One run, recorded: the trace, what came out, and its derivatives."""

    def __init__(self, trace: Trace, result: Any, tensors: Sequence[Tensor], outside: Outside) -> None:
        self.trace, self.outside = trace, outside
        if changed := outside.changed():
            trace.fail(f"it changed what it finds outside ({changed})")
        if outside.drawn(list(_draws(trace))):
            trace.fail("it drew numbers itself, and not by a layer such as Dropout", again=True)
        outside.leave_out([o.value for s in trace.steps for o in s.operands if isinstance(o, Constant)])
        found: list[Tensor] = []
        self.form = _form(result, found, trace)
        self.results = [trace.operand(t) for t in found]
        nodes = [t._node for t in found]
        if any(node is not None and node.rule is None for node in nodes):
            trace.fail("it returned a leaf")
        self.freed = [node is not None and node.edges is None for node in nodes]
        self.live = [node is not None and node.edges is not None for node in nodes]
        self.leaves: list[list[Operand]] = []
        self.slopes: list[list[Operand]] = []
        self.origins = [_past(t, trace) for t in found]
        for tensor, operand, live in zip(found, self.results, self.live, strict=True):
            if not isinstance(operand, Result) and not live:
                trace.fail("it returned something that it did not compute")
            handles = self._leaves(tensor, tensors) if live else []
            self.leaves.append([operand for operand, _ in handles])
            self.slopes.append([])
            if live and trace.failure is None:
                if tensor.size != 1:
                    trace.fail(f"it returned a result of shape {tensor.shape} with a graph; return t.detach()")
                    continue
                try:
                    with traced(trace):
                        ones = np.ones(tensor.shape, tensor.dtype)
                        slopes = grad(tensor, [t for _, t in handles], ones, retain_graph=True)
                except Exception as error:
                    trace.fail(f"a rule could not be followed ({error})")
                else:
                    self.slopes[-1] = [trace.operand(s) for s in slopes]

    def _leaves(self, tensor: Tensor, tensors: Sequence[Tensor]) -> list[tuple[Operand, Tensor]]:
        """The leaves that a result depends on."""
        handles: dict[Node, tuple[Operand, Tensor]] = {
            t._node: (Argument(k), t) for k, t in enumerate(tensors) if t._node is not None
        }
        handles.update({t._node: (Found(t), t) for t in self.trace.tensors if t._node is not None})
        leaves, seen, stack = [], {tensor._node}, [tensor._node]
        while stack:
            node = stack.pop()
            assert node is not None
            if node.hooks is not None:
                self.trace.fail("a hook waits for a gradient")
            if node.rule is None:
                if node in handles:
                    leaves.append(handles[node])
                else:
                    self.trace.fail("it depends on a leaf that it does not hold")
            elif node.time < self.trace.start:
                self.trace.fail("it depends on a result that was computed before")
            for edge in node.edges or ():
                if edge[0] not in seen:
                    seen.add(edge[0])
                    stack.append(edge[0])
        return leaves


def _draws(trace: Trace) -> Iterator[tuple[np.random.Generator, Callable[..., Any], tuple[Any, ...]]]:
    """The draws that can be repeated: generator, function and further operands."""
    for step in trace.steps:
        if step.anew and step.out is not None:
            rng, *others = (operand[0] for operand in step.operands)
            if rng is None or isinstance(rng, np.random.Generator):
                yield as_generator(rng), step.fun, tuple(others)


class _Past(NamedTuple):
    """What a probability remembers (see `Origin`): its logit, or its logarithm where it has no logit."""

    operand: Operand
    is_logit: bool
    negative: bool

    def origin(self, values: ndarray) -> Origin:
        """That of a replayed probability."""
        past = wrapped(values)
        if self.is_logit:
            return Origin(lambda: log_sigmoid(past), lambda: past, self.negative)
        return Origin(lambda: past, None, self.negative)


def _past(tensor: Tensor, trace: Trace) -> _Past | None:
    origin = tensor._origin
    if origin is None or trace.failure is not None:
        return None
    if tensor._node is not None:
        trace.fail("it returned a probability with a graph; return its logits")
        return None
    with traced(trace):
        past = (origin.logit or origin.log)()
    return _Past(trace.operand(past), origin.logit is not None, origin.negative)


def _form(result: Any, found: list[Tensor], trace: Trace) -> Any:
    """The containers of a result, with its tensors collected."""
    if isinstance(result, Tensor):
        found.append(result)
        return Tensor
    if type(result) in (tuple, list):
        return type(result), tuple(_form(r, found, trace) for r in result)
    if type(result) is dict:
        return dict, tuple(result), tuple(_form(r, found, trace) for r in result.values())
    if result is not None:
        trace.fail(f"it returned a {type(result).__name__}")
    return None


def _rebuilt(form: Any, results: Iterator[Tensor]) -> Any:
    if form is Tensor:
        return next(results)
    if form is None:
        return None
    if form[0] is dict:
        return dict(zip(form[1], [_rebuilt(f, results) for f in form[2]], strict=True))
    return form[0](_rebuilt(f, results) for f in form[1])


class Plan:
    """A program for one signature.

    Attributes
    ----------
    source : str
        The Python text that is run, and that of its loop over blocks.
    bytes : int
        What its buffers take.
    """

    def __init__(self, fun: Callable[..., Any], first: Record, second: Record, threads: int = 1) -> None:
        code, named = lowered(first.trace, second.trace)
        read = [code.constants[line.operands[0]] for line in code.lines if line.fun is values_of]
        if first.form != second.form or first.live != second.live or first.freed != second.freed:
            raise Unrepeatable("it returned something else the second time")
        self.form, self.freed = first.form, first.freed
        values = [named(r) for r in first.results]
        slopes = [[named(s) for s in group] for group in first.slopes]
        self.leaves = [leaf for group in first.leaves for leaf in group]
        self.counts = [len(group) if live else None for group, live in zip(first.leaves, first.live, strict=True)]
        self.pasts = [(k, past) for k, past in enumerate(first.origins) if past is not None]
        names = [*values, *(s for group in slopes for s in group)]
        count = len(names)
        names += [named(past.operand) for _, past in self.pasts]
        other = simplified(code, names)
        names = [other.get(n, n) for n in names]
        joined(code)
        in_blocks(code, names, threads)
        _with_checks(code, names[len(values) : count])
        self.program = Program(code, code.inputs, names)
        drawing = [code.constants[line.operands[0]] for line in code.lines if line.anew and line.targets]
        self.generators = [g for g in drawing if g is None or isinstance(g, np.random.Generator)]
        loops = [line.fun for line in code.lines if isinstance(line.fun, Loop)]
        self.source = "\n".join([self.program.source, *(f"# {loop.__name__}\n{loop.source}" for loop in loops)])
        self.bytes = self.program.bytes + sum(loop.bytes for loop in loops)
        self.outside = first.outside
        self.rule = _rule_of(fun, max([n for n in self.counts if n is not None], default=0))
        read += [leaf.tensor for leaf in self.leaves if isinstance(leaf, Found)]
        self.found = [(t, t._node, t.dtype) for t in read]

    def changed(self) -> str:
        """What the function finds outside that is no longer what it was, empty if nothing is."""
        for tensor, node, dtype in self.found:
            if tensor._node is not node or tensor._value.dtype != dtype:
                return "requires_grad or the dtype of a tensor"
            if node is not None and node.hooks is not None:
                return "the hooks of a tensor"
        return self.outside.changed()

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """The function's result for these arguments.

        Raises
        ------
        Unforeseen
            Before anything is changed, if a gradient holds a NaN, for which the careful walk is wanted.
        """
        with np.errstate(all="ignore"):
            values = self.program.run(*[t._value for t in tensors])
        results = []
        at = len(self.counts)
        for value, count, freed in zip(values, self.counts, self.freed, strict=False):
            result = wrapped(value)
            if freed:
                result._node = Node(None, self.rule, value.shape, value.dtype)
            elif count is not None:
                edges = []
                for i in range(count):
                    leaf = self.leaves[at - len(self.counts) + i]
                    tensor = leaf.tensor if isinstance(leaf, Found) else tensors[leaf[0]]
                    edges.append((tensor._node, _scaled, (values[at + i],), i))
                at += count
                result._node = Node(tuple(edges), self.rule, value.shape, value.dtype)
            results.append(result)
        for (k, past), value in zip(self.pasts, values[at:], strict=True):
            results[k]._origin = past.origin(value)
        return _rebuilt(self.form, iter(results))


def _scaled(ct: Any, slope: ndarray) -> Any:
    if isinstance(ct, Tensor):
        raise GraphError("a compiled function has first derivatives only; differentiate the function itself twice")
    return ct * slope


def _rule_of(fun: Callable[..., Any], count: int) -> Rule:
    term = Term(_scaled, _scaled, None, (), (None,), None)
    return Rule(fun, f"compiled {getattr(fun, '__name__', 'function')}", "primitive", (term,) * count)


def _with_checks(code: Code, slopes: Sequence[str]) -> None:
    """Stop at a NaN in a gradient before anything has been done that running the function again would do twice."""
    adding = [k for k, line in enumerate(code.lines) if line.fun is accumulate]
    effects = [k for k, line in enumerate(code.lines) if line.anew and not line.targets]
    if slopes and (adding or effects):
        raise Unrepeatable("it took a step and returned a result with a graph; return loss.detach()")
    looking = [k for k, line in enumerate(code.lines) if not line.anew and _may_look(line.fun)]
    stepping = [k for k in effects if code.lines[k].fun.__name__ != "zero_grad"]
    if stepping and looking and looking[-1] > stepping[0]:
        raise Unrepeatable("it took a step before it looked at labels")
    if not adding:
        code.lines += [Line(_no_nan, (n,), {}, ()) for n in slopes]
        return
    for k in effects:
        if k < adding[-1] and (k > adding[0] or code.lines[k].fun.__name__ != "zero_grad"):
            raise Unrepeatable("it took a step before a backward")
    moved = [code.lines[k] for k in adding]
    checks = [Line(_no_nan, line.operands[1:], {}, ()) for line in moved]
    head = [line for line in code.lines[: adding[-1]] if line.fun is not accumulate]
    code.lines = [*head, *checks, *moved, *code.lines[adding[-1] + 1 :]]


def _may_look(fun: Callable[..., Any]) -> bool:
    """Whether it may raise `Unforeseen`: functions of values that are in no table."""
    known = isinstance(fun, np.ufunc | Loop) or fun in RULES or fun in TOGETHER.values()
    return not known and fun not in (values_of, given, accumulate)


def _no_nan(values: ndarray) -> None:
    square = np.vdot(values, values)
    if square != square:
        raise Unforeseen
