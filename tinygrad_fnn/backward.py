"""The walk over the tape: cotangents from the outputs back to whatever they were computed from.

Nodes are visited once each, latest first, without recursion. There are two walks. The plain one takes NumPy's
arithmetic as it comes. The careful one carries, beside each cotangent, which entries are cut off from the output by a
choice (a `where`, an index, a relu) and which are infinite because a root has a vertical slope at its minimum; it runs
only when the plain one has found a NaN, or when the gradient of a probability is asked for whose loss was computed from
the logit.
"""

from __future__ import annotations

import operator
from _thread import allocate_lock  # threading.Lock, without the rest of that module
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from .errors import AnomalyError, GraphError, ShapeError
from .modes import MODE, Mode
from .rules import Function, Term, plain
from .tensor import Edge, Node, Tensor, _new, _numbers, plain_value

__all__ = ["backward", "grad", "pull_back"]

# Pullbacks whose share is mostly zeros, with `add(total, ct, *kept)`, which adds it in place: k slices of an array then
# cost one array of its size and not k.
IN_PLACE: Final[dict[Function, Function]] = {}

_accumulating = allocate_lock()
_time = operator.attrgetter("time")
_UNRECORDED: Final = "nothing was recorded: no leaf of this result requires a gradient, or it was computed in no_grad"


def backward(output: Tensor, gradient: Any = None, retain_graph: bool = False) -> None:
    """`Tensor.backward`, which documents it."""
    root = output._node
    if root is None:
        raise GraphError(f"backward: {_UNRECORDED}")
    trace = MODE.get().trace
    seed = _seed("backward", output, gradient, trace is not None)
    order = _tape([root], None)
    wanted = [node for node in order if node.retains]
    shares = pull_back({root: seed}, order, wanted, create_graph=False)
    if trace is not None:
        shares, seed = trace.accumulated(wanted, shares), None
    with _accumulating:  # all or nothing, also when two threads share a leaf
        owned = [(node, share) for node, share in zip(wanted, _own(shares, seed), strict=True) if share is not None]
        # A sum is a new array, so that a gradient somebody holds does not change under him.
        sums = [share if node.grad is None else np.asarray(node.grad + share) for node, share in owned]
        for (node, _), total in zip(owned, sums, strict=True):
            node.grad = total
    if not retain_graph:
        _free(order)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Derivatives of outputs with respect to any tensors, intermediate results included; no `.grad` changes.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        What to differentiate; several are summed, each with its cotangent.
    inputs : Tensor or sequence of Tensor
        With respect to what.
    grad_outputs : array_like or sequence of array_like, optional
        One cotangent for each output, in its shape; 1 for scalars by default.
    create_graph : bool
        Record the computation of the derivative, so that it can be differentiated again.
    retain_graph : bool, optional
        Keep what the graph holds; the same as `create_graph` by default.
    allow_unused : bool
        Give None for an input that the outputs do not depend on, instead of raising.

    Returns
    -------
    tuple of Tensor
        One for each input, in its shape and dtype.

    Raises
    ------
    GraphError
        If something was not recorded or not used, the graph has been freed, or an output is no scalar and has no
        cotangent.
    ShapeError
        If a cotangent has another shape than its output.

    Examples
    --------
    >>> x = Tensor(3.0, requires_grad=True)
    >>> (slope,) = grad(x**3, x, create_graph=True)
    >>> (curvature,) = grad(slope, x)
    >>> print(slope.item(), curvature.item())
    27.0 18.0
    """
    outs = [outputs] if isinstance(outputs, Tensor) or not np.iterable(outputs) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) or not np.iterable(inputs) else list(inputs)
    if grad_outputs is None or (isinstance(outputs, Tensor) and not isinstance(grad_outputs, tuple | list)):
        grad_outputs = [grad_outputs] * len(outs)
    elif isinstance(outputs, Tensor) and len(np.shape(grad_outputs[0] if len(grad_outputs) else 0)) < outputs.ndim:
        grad_outputs = [grad_outputs]  # one cotangent, written as a list
    if len(grad_outputs) != len(outs):
        raise ValueError(f"grad: {len(grad_outputs)} grad_outputs for {len(outs)} outputs")
    traced = MODE.get().trace is not None
    seeds: dict[Node, Any] = {}
    for k, (out, ct) in enumerate(zip(outs, grad_outputs, strict=True)):
        if not isinstance(out, Tensor):
            raise TypeError(f"grad: outputs[{k}] is a {type(out).__name__}, wanted a Tensor")
        if out._node is None:
            raise GraphError(f"grad: outputs[{k}]: {_UNRECORDED}")
        seed = _seed("grad", out, ct, create_graph or traced)
        seeds[out._node] = seeds[out._node] + seed if out._node in seeds else seed
    wanted = []
    for k, x in enumerate(ins):
        if not isinstance(x, Tensor):
            raise TypeError(f"grad: inputs[{k}] is a {type(x).__name__}, wanted a Tensor")
        if x._node is None:
            raise GraphError(f"grad: inputs[{k}] does not require a gradient")
        wanted.append(x._node)
    order = _tape(list(seeds), set(wanted))
    shares = pull_back(seeds, order, wanted, create_graph)
    for k, share in enumerate(shares):
        if share is None and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on inputs[{k}] of shape {wanted[k].shape}; "
                "allow_unused=True gives None for it"
            )
    if not (create_graph if retain_graph is None else retain_graph):
        _free(order)
    if create_graph:
        return tuple(None if s is None else _tensor(s.detach()._data, s._node) for s in shares)
    if traced:
        return tuple(None if s is None else s.detach() for s in shares)
    return tuple(None if s is None else _tensor(s) for s in _own(shares, *seeds.values()))


def _seed(caller: str, output: Tensor, gradient: Any, create_graph: bool = False) -> Any:
    """The cotangent to start from, in the output's shape and dtype; a Tensor stays one under `create_graph`."""
    if gradient is None:
        value = output._value
        if value.size != 1:
            raise GraphError(
                f"{caller}: the output has shape {value.shape}; "
                "a gradient is that of a scalar: sum it, or pass the cotangent of each entry"
            )
        dtype = value.dtype
        if dtype.kind == "c":
            raise GraphError(f"{caller}: the output is complex; a gradient is that of a real scalar, such as abs(t)**2")
        ones = np.empty(value.shape, dtype)
        ones.fill(1)
        return _tensor(ones) if create_graph else ones
    if not isinstance(gradient, Tensor):
        kinds = "biufc" if output.dtype.kind == "c" else "biuf"
        gradient = _tensor(np.array(_numbers(gradient, caller, kinds), dtype=output.dtype))
    if gradient.shape != output.shape:
        raise ShapeError(f"{caller}: the cotangent has shape {gradient.shape}, the output {output.shape}")
    if gradient.dtype != output.dtype:
        gradient = gradient.astype(output.dtype)
    return gradient if create_graph else gradient._read()


def _tensor(values: ndarray, node: Node | None = None) -> Tensor:
    result: Tensor = _new(Tensor)
    result._data, result._node, result._origin = values, node, None
    return result


def _handle(x: Tensor) -> Tensor:
    """Another handle to the same values and record, which a later `x[i] = v` does not change."""
    handle = x.detach()
    handle._node, handle._origin = x._node, x._origin
    return handle


def _tape(roots: list[Node], wanted: set[Node] | None) -> list[Node]:
    """The nodes to visit, latest first: all that the roots depend on, or those on a way to a wanted one."""
    earliest = min((node.time for node in wanted), default=0) if wanted is not None else 0
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node.edges is None:
            if wanted is not None and node.time <= earliest:
                continue
            raise GraphError(
                f"the graph of {node.name} has been freed by an earlier backward; "
                "pass retain_graph=True to the first one to walk it again"
            )
        edges = node.edges if node.aside is None else (*node.edges, (node.aside, fit, (), 0))
        for edge in edges:
            parent = edge[0]
            if parent not in seen and parent.time >= earliest:
                seen.add(parent)
                stack.append(parent)
    if wanted is None:
        return sorted(seen, key=_time, reverse=True)
    leading = set()
    order = []
    for node in sorted(seen, key=_time):
        leads = node in wanted or node.aside in leading
        for edge in node.edges or ():
            if leads:
                break
            leads = edge[0] in leading
        if leads:
            leading.add(node)
            order.append(node)
    order.reverse()
    return order


def _free(order: list[Node]) -> None:
    for node in order:
        if node.rule is not None:
            node.edges = None
            node.aside = None


def _own(shares: Sequence[Any], *foreign: Any) -> list[Any]:
    """Each array in memory of its own: not a view, not twice in the list, not the caller's."""
    seen = set(map(id, foreign))
    own = []
    for share in shares:
        if share is not None and (share.base is not None or id(share) in seen or not share.flags.writeable):
            share = np.array(share)
        seen.add(id(share))
        own.append(share)
    return own


def fit(share: Any, shape: tuple[int, ...]) -> Any:
    """Sum over what was broadcast, repeat what was reduced: the share of an argument in its shape."""
    if share.shape == () and share.__class__ is not Tensor:  # a view in a third of the time of `broadcast_to`
        view = ndarray(shape, share.dtype, share, 0, (0,) * len(shape))
        view.flags.writeable = False
        return view
    extra = len(share.shape) - len(shape)
    if extra > 0:
        share = share.sum(axis=tuple(range(extra)))
    stretched = tuple(
        k for k, (have, want) in enumerate(zip(share.shape[-len(shape) :], shape, strict=False)) if want == 1 != have
    )
    if stretched and shape:
        share = share.sum(axis=stretched, keepdims=True)
    return share if share.shape == shape else np.broadcast_to(share, shape)


def pull_back(seeds: dict[Node, Any], order: list[Node], wanted: list[Node], create_graph: bool) -> list[Any]:
    """The cotangents of the wanted nodes, None where none arrived; with `create_graph` as recorded Tensors."""
    mode = MODE.get()
    hooked: list[Node] = []
    ways: dict[Node, list[Node]] = {}
    watched = False
    special = [node for node in order if node.hooks is not None or node.aside is not None]
    if special:
        hooked = [node for node in special if node.hooks is not None]
        if hooked and mode.trace is not None:
            mode.trace.fail("a hook was called with a gradient")
        ways = {node: _way_past(node) for node in special if node.aside is not None}
        watched = not {node for way in ways.values() for node in way}.isdisjoint([*wanted, *hooked])
    token = MODE.set(Mode(create_graph, mode.strict, False, mode, mode.level))
    try:
        with np.errstate(all="ignore"):
            careful = mode.anomaly or watched
            if not careful and hooked and not mode.strict:  # each hook is called once, so a rehearsal looks for NaN
                numbers = {node: plain(seed) for node, seed in seeds.items()}
                rehearsal = _plain_walk(numbers, order, [*wanted, *hooked], through_gate=False, hooks=False)
                careful = any(map(_has_nan, rehearsal.values()))
            if not careful:
                found = _plain_walk(dict(seeds), order, wanted, create_graph or mode.trace is not None)
                careful = not mode.strict and not hooked and any(map(_has_nan, found.values()))
            if careful:
                if mode.trace is not None:
                    mode.trace.fail("a NaN was met on the way back", again=True)
                    seeds = {node: plain_value(seed) for node, seed in seeds.items()}
                found = _careful_walk(seeds, order, wanted, create_graph, mode, ways)
                if mode.trace is not None:
                    found = {node: None if s is None else _tensor(np.asarray(s)) for node, s in found.items()}
    finally:
        MODE.reset(token)
    return [found[node] for node in wanted]


def _way_past(node: Node) -> list[Node]:
    """Where a loss went past a probability: the nodes from the record aside to that probability."""
    way = [node.aside] if node.aside is not None else []
    for at in way:
        if not _is_probability(at):
            way.extend([edge[0] for edge in at.edges or ()])
    return way


def _has_nan(share: Any) -> bool:
    if share is None:
        return False
    values = share._value if isinstance(share, Tensor) else share
    square = np.vdot(values, values)  # one pass, no temporary; a NaN is the only thing that differs from itself
    return bool(square != square)


def _plain_walk(
    cts: dict[Node, Any], order: list[Node], wanted: list[Node], through_gate: bool, hooks: bool = True
) -> dict[Node, Any]:
    found: dict[Node, Any] = dict.fromkeys(wanted)
    needed = set(order)
    owned: set[Node] = set()  # whose sum so far is an array that nothing else holds
    for node in order:
        ct = cts.pop(node, None)
        if ct is None:
            continue
        if node.hooks is not None and hooks:
            ct = _hooked(node, ct)
        if node in found:
            found[node] = ct
        for parent, pull, kept, i in node.edges or ():  # None where a freed node is itself wanted
            if parent in needed:
                other = cts.get(parent)
                if other is not None and pull in IN_PLACE and not through_gate:
                    if parent not in owned or not parent.shape:  # it may be a seed, shared with a node, or a scalar
                        cts[parent] = other = np.array(other)
                        owned.add(parent)
                    IN_PLACE[pull](other, ct, *kept)
                    continue
                share = pull(ct, *_wrapped(node, kept, i)) if through_gate else pull(ct, *kept)
                if share.shape != parent.shape:
                    share = fit(share, parent.shape)
                if share.dtype is not parent.dtype and share.dtype != parent.dtype:
                    share = _cast(share, parent.dtype)
                cts[parent] = share if other is None else other + share
    return found


def _cast(share: Any, dtype: np.dtype[Any]) -> Any:
    return (share.real if share.dtype.kind == "c" and dtype.kind != "c" else share).astype(dtype)


def _term(node: Node, i: int) -> Term:
    rule = node.rule
    assert rule is not None
    term = rule.terms[0 if rule.variadic else i]
    assert term is not None
    return term


def _wrapped(node: Node, kept: tuple[Any, ...], i: int) -> Sequence[Any]:
    """What an edge keeps, as Tensors where it is tracked (or traced), so that a rule run on it is recorded."""
    term = _term(node, i)
    if not term.keeps:
        return kept
    nodes: dict[int | None, Node | None] = {edge[3]: edge[0] for edge in node.edges or ()}
    nodes[-1] = node
    if MODE.get().trace is not None:
        nodes = {w: nodes.get(w) for value, w in zip(kept, term.wraps, strict=True) if isinstance(value, ndarray)}
    return [value if w not in nodes else _tensor(value, nodes[w]) for value, w in zip(kept, term.wraps, strict=True)]


def _hooked(node: Node, ct: Any) -> Any:
    recorded = isinstance(ct, Tensor)
    for hook in (node.hooks or {}).values():
        replacement = hook(ct if recorded else np.array(ct))
        if replacement is not None:
            if np.shape(replacement) != node.shape:
                raise ShapeError(f"hook on {node.name}: returned shape {np.shape(replacement)}, wanted {node.shape}")
            ct = replacement if recorded else plain(replacement)
            if not isinstance(ct, Tensor):
                values = np.array(_numbers(ct, f"hook on {node.name}", "biufc"), dtype=node.dtype)
                ct = _tensor(values) if recorded else values
            elif ct.dtype != node.dtype:
                ct = ct.astype(node.dtype)
    return ct


# --- the careful walk ---------------------------------------------------------------------------------------------


class _Flow(NamedTuple):
    """A cotangent, with the entries that a choice has cut off and those infinite because of a root at its minimum."""

    ct: Any
    cut: ndarray | None
    root: ndarray | None


def _careful_walk(
    seeds: dict[Node, Any],
    order: list[Node],
    wanted: list[Node],
    create_graph: bool,
    mode: Mode,
    ways: dict[Node, list[Node]],
) -> dict[Node, Any]:
    found: dict[Node, Any] = dict.fromkeys(wanted)
    needed = set(order)
    flows: dict[Node, _Flow] = {node: _Flow(seed, None, None) for node, seed in seeds.items()}
    asides: dict[Node, _Flow] = {}  # what arrives beside the counted path, to be reported and not passed on
    for node in order:
        flow, aside = flows.pop(node, None), asides.pop(node, None)
        if flow is not None and node.hooks is not None:
            flow = flow._replace(ct=_hooked(node, flow.ct))
        whole = flow if aside is None else aside if flow is None else _joined(flow, aside)
        if whole is None:
            continue
        if node in found:
            found[node] = whole.ct
        if node in ways and node.aside in needed:
            # A hook may change the cotangent of a probability, so that the way past it would be another function's.
            through = any(at.hooks is not None for at in ways[node])
            _meet(flows if through else asides, node.aside, whole)
            if through:
                continue
        if _is_probability(node):
            aside = None
        for this, ahead in ((flow, flows), (aside, asides)):
            for edge in node.edges or ():
                if this is not None and edge[0] in needed:
                    share = _careful_share(this, node, edge, create_graph, mode.strict)
                    _meet(ahead, edge[0], _fitted(share, edge[0]))
                    if mode.anomaly and ahead is flows and _has_nan(share.ct) and not _has_nan(this.ct):
                        called = f"; it was called {node.site}" if node.site else ""
                        raise AnomalyError(f"backward of {node.name} made a NaN{called}")
    return found


def _is_probability(node: Node) -> bool:
    return node.rule is not None and node.rule.probability


def _meet(flows: dict[Node, _Flow], node: Node | None, flow: _Flow) -> None:
    assert node is not None
    flows[node] = _joined(flows[node], flow) if node in flows else flow


def _joined(a: _Flow, b: _Flow) -> _Flow:
    cut = None if a.cut is None or b.cut is None else a.cut & b.cut
    root = a.root if b.root is None else b.root if a.root is None else a.root | b.root
    return _Flow(a.ct + b.ct, cut, root)


def _fitted(flow: _Flow, parent: Node) -> _Flow:
    ct, cut, root = flow
    if ct.shape != parent.shape:
        if cut is not None:
            cut = fit(~cut, parent.shape) == 0  # cut off where every share is
        if root is not None:
            root = fit(root, parent.shape) != 0
        ct = fit(ct, parent.shape)
    return _Flow(ct if ct.dtype == parent.dtype else _cast(ct, parent.dtype), cut, root)


def _careful_share(flow: _Flow, node: Node, edge: Edge, create_graph: bool, strict: bool) -> _Flow:
    """One argument's share: what is cut off stays 0 whatever it meets; see DESIGN of the edges in docs/design.md."""
    if node.dtype.kind == "c":  # as `conjugating` does
        share = _share(flow._replace(ct=np.conj(flow.ct)), node, edge, create_graph, strict)
        return share._replace(ct=np.conj(share.ct))
    return _share(flow, node, edge, create_graph, strict)


def _share(flow: _Flow, node: Node, edge: Edge, create_graph: bool, strict: bool) -> _Flow:
    term, rule = _term(node, edge[3]), node.rule
    kept = _wrapped(node, edge[2], edge[3]) if create_graph else edge[2]
    assert rule is not None
    if strict:
        return _Flow(term.pull(flow.ct, *kept), None, None)
    if term.partial is not None:
        partial = term.partial(*kept)
        slope = np.asarray(plain(partial))
        share = flow.ct * partial
        cut = np.zeros(share.shape, bool) if flow.cut is None else np.broadcast_to(flow.cut, share.shape)
        if rule.selects or term.source == 0:
            cut = cut | (slope == 0)
        dead = cut if flow.root is None else cut | (flow.root & (slope == 0))
        if dead.any():
            share = np.where(dead, 0, share)
        root = np.zeros(share.shape, bool) if flow.root is None else np.broadcast_to(flow.root, share.shape) & ~dead
        if rule.root:
            steep = (slope == np.inf) & ~dead
            root = root | (steep if rule.root is True else steep & rule.root(*map(plain, kept)))
        return _Flow(share, cut, root if root.any() else None)
    if rule.linear:
        return _linear_share(flow, term, kept)
    share = term.pull(flow.ct, *kept)
    all_cut = flow.cut is not None and bool(flow.cut.all())
    return _Flow(np.where(True, 0, share), np.ones(share.shape, bool), None) if all_cut else _Flow(share, None, None)


def _linear_share(flow: _Flow, term: Term, kept: Sequence[Any]) -> _Flow:
    """The share through a selection, a rearrangement or a product, whose coefficients show where a flow goes.

    The pullback itself, run on indicators, says which entries of the result a living cotangent reaches, and where it
    meets an infinity or a NaN of the other operand.
    """
    share = term.pull(flow.ct, *kept)
    kind = share.dtype
    arrays = [w is not None and np.asarray(plain(k)).dtype.kind in "fc" for k, w in zip(kept, term.wraps, strict=True)]

    def reach(indicator: ndarray, of: Any) -> ndarray:
        operands = [of(k).astype(float) if a else k for k, a in zip(map(plain, kept), arrays, strict=True)]
        reached: ndarray = np.asarray(term.pull(indicator.astype(float), *operands)) != 0
        return reached

    alive = np.ones(flow.ct.shape, bool) if flow.cut is None else ~flow.cut
    root = np.zeros(flow.ct.shape, bool) if flow.root is None else flow.root
    cut = ~reach(alive, np.ones_like)
    rooted = reach(root, lambda k: k != 0)
    honest = reach(alive, lambda k: ~np.isfinite(k)) | rooted
    if any(arrays) and (flow.cut is not None or flow.root is not None):
        finite = [np.where(np.isfinite(plain(k)), k, 0) if a else k for k, a in zip(kept, arrays, strict=True)]
        share = np.where(honest, share, term.pull(np.where(root, 0, flow.ct), *finite))
    if cut.any():
        share = np.where(cut, 0, share)
    return _Flow(share if share.dtype == kind else share.astype(kind), cut, rooted if rooted.any() else None)
