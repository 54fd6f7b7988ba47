"""Functions of functions: from a function of arrays to its gradient, Jacobian or Hessian, or to products with them.

Arguments and results are arrays, or nested lists, tuples (named ones too) and dicts of arrays. Arrays in, arrays out: a
derivative is an ndarray with the shape and dtype of its primal, in memory of its own, and what a function does not use
has derivative zero. Where the result depends on something tracked outside, it comes back as a recorded Tensor: where an
argument is tracked, or where the function closes over a parameter or over the variable of an enclosing derivative.
Under `no_grad` it is plain in any case. Each call makes variables of its own, so that nested derivatives are not mixed.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy import ndarray

from .backward import _handle, _own, _tape, _tensor, pull_back
from .errors import GraphError, ShapeError
from .forward import ALONE, Level
from .gate import apply
from .modes import MODE, Mode
from .rules import Array, Function
from .tensor import Node, Tensor

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Tree: TypeAlias = Any  # an array, or lists, tuples and dicts of arrays, which Python's types cannot say
Argnums: TypeAlias = int | Sequence[int]
Checked: TypeAlias = int | tuple[int, ...] | None  # None for all


def grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The gradient of a scalar function, as a function of the same arguments.

    Parameters
    ----------
    f : callable
        Returns one number; with `has_aux` a pair, whose second half is passed through.
    argnums : int or sequence of int
        The positional arguments to differentiate, from the end if negative; all others pass through.
    has_aux : bool
        Whether `f` returns ``(value, aux)``; the result is then ``(gradient, aux)``.

    Returns
    -------
    callable
        Gives one gradient for an int, a tuple of them for a sequence, in the shape of the arguments.

    Raises
    ------
    TypeError
        If an argument to differentiate is no floating-point number or array, or `f` returns no numbers.
    ValueError
        If `argnums` names an argument that was not given, or one twice.
    GraphError
        If `f` returns more than one number.

    Examples
    --------
    >>> w = np.array([1.0, 2.0])
    >>> w - 0.5 * grad(lambda w, b: np.sum((w - b) ** 2))(w, 3.0)
    array([3., 3.])
    >>> grad(grad(lambda x: x**3))(2.0)
    array(12.)
    """
    value_gradient = _value_and_grad("grad", f, argnums, has_aux)

    def gradient(*args: Tree, **kwargs: Tree) -> Tree:
        value, slopes = value_gradient(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes

    return _named(gradient, f"grad({_name(f)})")


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The value of a scalar function together with its gradient, ``(value, gradient)``; `grad` has the rest.

    With `has_aux` the result is ``((value, aux), gradient)``.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> found = minimize(value_and_grad(lambda x: np.sum((x - 3) ** 4)), np.zeros(2), jac=True, tol=1e-9)
    >>> bool(np.allclose(found.x, 3, atol=1e-2))
    True
    """
    return _named(_value_and_grad("value_and_grad", f, argnums, has_aux), f"value_and_grad({_name(f)})")


def _value_and_grad(caller: str, f: Function, argnums: Argnums, has_aux: bool = False) -> Function:
    chosen = _checked(caller, f, argnums)

    def value_gradient(*args: Tree, **kwargs: Tree) -> Tree:
        trace = _trace(caller, f, chosen, args, kwargs, has_aux=has_aux)
        if trace.value is not None:
            kind, hint = type(trace.value).__name__, "has_aux=True is for (value, aux)"
            raise GraphError(f"{caller}: {trace.name} returned a {kind}, wanted one number; {hint}")
        (out,) = trace.outs
        if out.size != 1:
            raise GraphError(
                f"{caller}: {trace.name} returned shape {out.shape}, and a gradient is that of one number; "
                "func.jacobian has the derivative of every entry, func.vjp that of a weighted sum"
            )
        seed = np.ones(out.shape, out.dtype)
        shares = trace.pull([_tensor(seed) if trace.outside else seed], trace.outside)
        value = out if trace.outside else np.array(out)
        return ((value, trace.aux) if has_aux else value), trace.arranged(shares, chosen)

    return _named(value_gradient, _name(f))


def vjp(f: Function, *primals: Tree) -> tuple[Tree, Callable[[Tree], tuple[Tree, ...]]]:
    """The value of `f(*primals)`, and the pullback that takes a cotangent of it to those of the primals.

    Parameters
    ----------
    f : callable
        Returns an array of any shape, or a container of arrays.
    *primals : array_like or container
        Where to differentiate.

    Returns
    -------
    value : ndarray or container
    pullback : callable
        ``pullback(ct)``, with `ct` in the shape of the value, is a tuple with one cotangent for each primal. It may be
        called any number of times; `f` is not evaluated again.

    Raises
    ------
    TypeError, ShapeError
        If a primal is not floating-point, or a cotangent does not fit the value.

    Examples
    --------
    >>> value, pullback = vjp(lambda X, w: X @ w, np.eye(2), np.array([3.0, 4.0]))
    >>> pullback([1.0, 0.0])
    (array([[3., 4.], [0., 0.]]), array([1., 0.]))
    """
    return _vjp("vjp", "the cotangent", f, primals)


def _vjp(caller: str, what: str, f: Function, primals: tuple[Tree, ...]) -> tuple[Tree, Callable[[Tree], Tree]]:
    trace = _trace(caller, f, None, primals, {})
    value = _given_out(trace)

    def pullback(ct: Tree) -> Tree:
        cts = _matched(caller, what, ct, trace.value, trace.roots)
        connected = MODE.get().record and (trace.outside or any(map(_is_tracked, cts)))
        seeds = list(map(_lasting if connected else _passing, cts))
        return trace.arranged(trace.pull(seeds, connected), None)

    return value, pullback


def jvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> tuple[Tree, Tree]:
    """The value of `f(*primals)`, and its derivative in the direction of the tangents.

    Parameters
    ----------
    f : callable
        Returns an array of any shape, or a container of arrays; evaluated once.
    primals, tangents : sequence of array_like or container
        The arguments, and a direction of the same shapes for each.

    Returns
    -------
    value, tangent : ndarray or container
        Both in the shape of what `f` returns.

    Raises
    ------
    TypeError, ShapeError
        If a primal is not floating-point, or a tangent does not fit its primal.

    Notes
    -----
    Forward mode: each operation carries the tangents along, at about the cost of the function itself. Nothing is copied
    on the way in: what `detach` or a view makes of an argument, and the function puts aside, shares the argument's
    memory, as NumPy's views do. Results, and all that a graph keeps beyond the call, do not.

    Examples
    --------
    >>> jvp(lambda x: x**3, (np.array([1.0, 2.0]),), (np.array([1.0, 0.5]),))
    (array([1., 8.]), array([3., 6.]))
    """
    primals = _arguments("jvp", "primals", primals)
    tangents = _arguments("jvp", "tangents", tangents)
    record = MODE.get().record
    directions: list[Array] = []

    def carrying(variables: list[Tensor], nodes: list[Node], trees: tuple[Tree, ...]) -> Level:
        matched = _matched("jvp", "tangents", tangents, trees, nodes)
        connected = record and (any(map(_is_tracked, matched)) or any(map(_is_computed, nodes)))
        directions.extend(map(_lasting if connected else _passing, matched))
        return Level(dict(zip(nodes, directions, strict=True)), variables, connected, record)

    trace = _trace("jvp", f, None, primals, {}, carrying)
    level = trace.level
    assert level is not None
    pushed = [_pushed(level, root) for root in trace.roots]
    pushed = pushed if level.record else _own(pushed, *directions)
    trace.roots.clear()  # the graph is held by what the function has put aside, or by tracked results
    level.leave()
    return _given_out(trace), _like(trace.value, iter(pushed))


def _pushed(level: Level, root: Node) -> Array:
    """The tangent of a result; 0 for one that does not depend on the variables."""
    found = level.tangents.get(root)
    if found is None:
        return np.zeros(root.shape, _slope_dtype(root))
    if not level.record:
        return found
    if not isinstance(found, Tensor):
        return np.array(found)
    return _handle(found) if level.may_record else np.array(found._value)


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """The derivative of every entry of the result with respect to every entry of the arguments.

    Parameters
    ----------
    f : callable
        Returns an array of any shape, or a container of arrays.
    argnums : int or sequence of int
        As for `grad`, which has the errors, too.

    Returns
    -------
    callable
        Gives an array of shape ``out.shape + in.shape``; for containers one for each pair, those of the result outside.

    Notes
    -----
    One evaluation of `f`, and one walk back for each entry of its result.

    Examples
    --------
    >>> jacobian(lambda x: x[:2] * x[2])(np.array([1.0, 2.0, 3.0]))
    array([[3., 0., 1.],
           [0., 3., 2.]])
    """
    return _named(_jacobian("jacobian", f, argnums), f"jacobian({_name(f)})")


def _jacobian(caller: str, f: Function, argnums: Argnums) -> Function:
    chosen = _checked(caller, f, argnums)

    def derivatives(*args: Tree, **kwargs: Tree) -> Tree:
        trace = _trace(caller, f, chosen, args, kwargs)
        return _like(trace.value, (trace.arranged(_blocks(trace, root), chosen) for root in trace.roots))

    return derivatives


def _blocks(trace: _Trace, root: Node) -> list[Array]:
    """The derivatives of one result with respect to each variable, of shape ``out.shape + in.shape``."""
    rows = []
    size = math.prod(root.shape)
    for k in range(max(size, 1)):  # of an empty result one row, for its shape and dtype
        seed = np.zeros(root.shape, root.dtype)
        seed.flat[k : k + 1] = 1
        seeds = {root: _tensor(seed) if trace.outside else seed}
        rows.append(_pull(seeds, trace.nodes, trace.outside))
    stacks = [np.stack(shares)[:size] for shares in zip(*rows, strict=True)]
    return [stack.reshape(root.shape + stack.shape[1:]) for stack in stacks]


def hessian(f: Function, argnums: Argnums = 0) -> Function:
    """The second derivatives of a scalar function, of shape ``in.shape + in.shape``.

    For several arguments, and for containers, the result has one block for each pair. Parameters and errors are those
    of `grad`; it costs one walk over the recorded gradient for each entry of the arguments.

    Examples
    --------
    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    gradient = _value_and_grad("hessian", f, argnums)
    second = _jacobian("hessian", _named(lambda *args, **kwargs: gradient(*args, **kwargs)[1], _name(f)), argnums)
    return _named(second, f"hessian({_name(f)})")


def hvp(f: Function, primals: Sequence[Tree], vectors: Sequence[Tree]) -> tuple[Tree, ...]:
    """The Hessian of a scalar function times a vector, without the Hessian.

    Parameters
    ----------
    f : callable
        Returns one number; evaluated once.
    primals, vectors : sequence of array_like or container
        The arguments, and a vector of the same shapes for each.

    Returns
    -------
    tuple of ndarray or container
        One for each primal, in its shape.

    Raises
    ------
    TypeError, ShapeError, GraphError
        As for `grad`, and if a vector does not fit its primal.

    Notes
    -----
    The gradient is recorded and pulled back: the Hessian is symmetric. For many vectors at one point,
    ``_, pullback = vjp(grad(f), x)`` records it once.

    Examples
    --------
    >>> hvp(lambda x: x[0] ** 2 * x[1], (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    (array([4., 2.]),)
    """
    primals = _arguments("hvp", "primals", primals)
    gradient = _value_and_grad("hvp", f, tuple(range(len(primals))))
    slopes = _named(lambda *args: gradient(*args)[1], _name(f))
    product: tuple[Tree, ...] = _vjp("hvp", "vectors", slopes, primals)[1](_arguments("hvp", "vectors", vectors))
    return product


# --- one call of a function -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trace:
    """What one call recorded: nodes of the variables, results, and whether it reached something tracked outside."""

    name: str
    trees: tuple[Tree, ...]  # the chosen arguments without their leaves
    nodes: list[Node]  # of the variables, which are those leaves in order
    value: Tree  # what the function returned, without its leaves
    outs: list[Array]  # those: values; if `outside` handles of our own, which later writes to its handles do not change
    roots: list[Node]  # their nodes
    aux: Tree
    outside: bool
    level: Level | None

    def pull(self, cts: Iterable[Array], create_graph: bool) -> list[Array]:
        seeds: dict[Node, Array] = {}
        for root, ct in zip(self.roots, cts, strict=True):
            seeds[root] = seeds[root] + ct if root in seeds else ct
        return _pull(seeds, self.nodes, create_graph)

    def arranged(self, shares: Iterable[Array], argnums: Checked) -> Tree:
        """One share for each variable as `argnums` asks: for one argument, or a tuple for several."""
        trees = _like(self.trees, iter(shares))
        return trees[0] if isinstance(argnums, int) else trees


def _trace(
    caller: str,
    f: Function,
    argnums: Checked,
    args: Sequence[Tree],
    kwargs: dict[str, Tree],
    carrying: Callable[[list[Tensor], list[Node], tuple[Tree, ...]], Level] | None = None,
    has_aux: bool = False,
) -> _Trace:
    """Call `f` with variables for the chosen arguments, recorded also under `no_grad`; `carrying` is for tangents."""
    if not callable(f):
        raise _no_function(caller, f)
    name, mode, given = _name(f), MODE.get(), list(args)
    if mode.trace is not None:
        mode.trace.fail(f"func.{caller} was called")
    variables: list[Tensor] = []
    nodes: list[Node] = []
    kinds: list[Tree] = []
    connected = False
    for k in _positions(caller, name, argnums, len(args)):
        arg, first = given[k], len(variables)
        for leaf in _leaves(arg):
            variable = _variable(leaf, mode.record, carrying is None)
            if variable is None or (node := variable._node) is None:
                raise _not_floating(f"{caller}: argument {k}{_path(arg, len(variables) - first)} of {name}", leaf)
            variables.append(variable)
            nodes.append(node)
            connected = connected or node.rule is not None
        kinds.append(_like(arg, _NOTHING))
        given[k] = _like(arg, iter(variables[first:]))
    trees = tuple(kinds)
    level = mode.level if carrying is None else carrying(variables, nodes, trees)
    token = MODE.set(Mode(True, mode.strict, mode.anomaly, mode, level))
    try:
        returned = f(*given, **kwargs)
    finally:
        MODE.reset(token)
    aux: Tree = None
    if has_aux:
        if not isinstance(returned, tuple) or len(returned) != 2:
            kind = type(returned).__name__
            raise TypeError(f"{caller}: has_aux=True, so {name} must return (value, aux), not a {kind}")
        returned, aux = returned
    outs = [_result(caller, name, leaf) for leaf in _leaves(returned)]
    reached = [*outs, *(leaf for leaf in _leaves(aux) if isinstance(leaf, Tensor))] if has_aux else outs
    carried = level if carrying is not None else None
    outside = mode.record and (connected or _reaches_outside(reached, nodes, carried))
    if has_aux:
        aux = _like(aux, (_released(leaf, outside) if isinstance(leaf, Tensor) else leaf for leaf in _leaves(aux)))
    roots = [out._node or Node((), None, out.shape, out.dtype) for out in outs]
    found = list(map(_handle, outs)) if outside else [out._value for out in outs]
    return _Trace(name, trees, nodes, _like(returned, _NOTHING), found, roots, aux, outside, carried)


def _variable(x: Array, record: bool, copied: bool) -> Tensor | None:
    """A leaf for plain values, an intermediate for a tracked tensor; None for what has no derivative."""
    if isinstance(x, Tensor):
        if record and x._node is not None:
            return apply(np.positive, x) if x.dtype.kind == "f" else None
        x = x._value
    elif x.__class__ is not ndarray:
        if isinstance(x, ndarray) and not isinstance(x, np.memmap):
            return None  # a mask, or the product of a matrix, would be lost
        x = np.asarray(x)
    if x.dtype.kind != "f":
        return None
    dtype = x.dtype if x.dtype.isnative else x.dtype.newbyteorder("=")
    if copied or dtype is not x.dtype:
        values = np.array(x, dtype, order="K")
    else:
        values = x.view()
        values.flags.writeable = False
    return _tensor(values, Node((), None, x.shape, dtype))


def _not_floating(where: str, x: Array) -> TypeError:
    if isinstance(x, int):
        return TypeError(f"{where} is the {type(x).__name__} {x}, and only floats have derivatives; write {x + 0}.0")
    dtype = x.dtype if isinstance(x, Tensor) else np.asarray(x).dtype
    if dtype.kind in "biu":
        return TypeError(f"{where} has dtype {dtype}, and only floats have derivatives; write x.astype(float)")
    return TypeError(f"{where} is a {type(x).__name__} of dtype {dtype}; wanted a plain array of real floats")


def _result(caller: str, name: str, x: Array) -> Tensor:
    """What the function returned, as a handle."""
    out = x if isinstance(x, Tensor) else _tensor(np.array(x))
    if out.dtype.kind not in "biuf":
        hint = "; take np.abs or np.real of them" if out.dtype.kind == "c" else ""
        kind = f"{type(x).__name__} of dtype {out.dtype}"
        raise TypeError(f"{caller}: {name} returned a {kind}, wanted real numbers{hint}")
    return out


def _released(x: Tensor, connected: bool) -> Array:
    return _handle(x) if connected else np.array(x._value)


def _given_out(trace: _Trace) -> Tree:
    """What the function returned, in memory of its own: plain arrays, or tracked where connected."""
    outs = trace.outs
    for _ in range(len(outs)):
        out = outs.pop(0)
        if trace.outside:
            if out._data.base is not None:
                out._data = np.array(out._data)
            if trace.level is not None:
                out._origin = None  # which may be the argument itself
        # Counted, since a graph, another result or a handle that the function has put aside may hold it, too.
        elif out.base is not None or not out.flags.writeable or sys.getrefcount(out) > ALONE:
            out = np.array(out)
        outs.append(out)
    return _like(trace.value, iter(outs))


def _reaches_outside(results: list[Tensor], variables: list[Node], level: Level | None) -> bool:
    """Whether the results depend on something tracked before the variables were made."""
    earliest = variables[0].time if variables else math.inf
    ahead = [result._node for result in results if result._node is not None]
    seen = set(variables)
    if level is not None and not level.record:
        seen |= level.tangents.keys()  # it has seen every operation, and none that led there
    while ahead:
        node = ahead.pop()
        if node not in seen:
            if node.time < earliest:
                return True
            seen.add(node)
            ahead += [edge[0] for edge in node.edges or ()]
            if node.aside is not None:
                ahead.append(node.aside)
    return False


def _pull(seeds: dict[Node, Array], nodes: list[Node], create_graph: bool) -> list[Array]:
    """The shares of the nodes for outputs with their cotangents; zeros for what does not depend on them."""
    shares = pull_back(seeds, _tape(list(seeds), set(nodes)), nodes, create_graph)
    if create_graph:
        zeros = (_tensor(np.zeros(node.shape, node.dtype)) for node in nodes)
        return [zero if share is None else _handle(share) for zero, share in zip(zeros, shares, strict=True)]
    return _own(
        [np.zeros(n.shape, n.dtype) if s is None else s for n, s in zip(nodes, shares, strict=True)], *seeds.values()
    )


# --- what the user hands in -----------------------------------------------------------------------------------------


def _name(f: Function) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _named(fun: Function, name: str) -> Function:
    fun.__name__ = fun.__qualname__ = name
    return fun


def _checked(caller: str, f: Function, argnums: Argnums) -> Checked:
    if not callable(f):
        raise _no_function(caller, f)
    try:
        return tuple(map(operator.index, argnums)) if isinstance(argnums, Sequence) else operator.index(argnums)
    except TypeError as error:
        hint = f"{caller}(f)(x) is what it gives at x"
        raise TypeError(f"{caller}: argnums is a {type(argnums).__name__}, wanted an int or several; {hint}") from error


def _no_function(caller: str, f: object) -> TypeError:
    hint = "; tinygrad_fnn.grad(outputs, inputs) differentiates tensors" if isinstance(f, Tensor) else ""
    return TypeError(f"{caller}: f is a {type(f).__name__}, wanted a function{hint}")


def _positions(caller: str, name: str, argnums: Checked, count: int) -> Sequence[int]:
    if argnums is None:
        return range(count)
    if isinstance(argnums, int) and 0 <= argnums < count:
        return (argnums,)
    positions = [k + count if k < 0 else k for k in (argnums if isinstance(argnums, tuple) else (argnums,))]
    if any(not 0 <= k < count for k in positions):
        raise ValueError(f"{caller}: argnums={argnums}, but {name} was given {count} positional arguments")
    if len(set(positions)) < len(positions):
        raise ValueError(f"{caller}: argnums={argnums} names an argument twice")
    return positions


def _arguments(caller: str, what: str, values: Sequence[Tree]) -> tuple[Tree, ...]:
    if not isinstance(values, _SEQUENCES):
        raise TypeError(f"{caller}: {what} is a {type(values).__name__}, wanted a tuple of arguments: write (x,)")
    return tuple(values)


def _matched(caller: str, what: str, given: Tree, like: Tree, wanted: Sequence[Node]) -> list[Array]:
    """The leaves of `given` in the shape and dtype of the wanted ones, the leaves of `like`; not copied."""
    matched = []
    for k, (x, want) in enumerate(zip(_aligned(caller, what, given, like), wanted, strict=True)):
        ct = x if isinstance(x, Tensor) else np.asarray(x)
        if ct.dtype.kind not in "biuf":
            kind = f"{type(x).__name__} of dtype {ct.dtype}"
            raise TypeError(f"{caller}: {what}{_path(like, k)} is a {kind}, wanted real numbers")
        if ct.shape != want.shape:
            raise ShapeError(f"{caller}: {what}{_path(like, k)} has shape {ct.shape}, wanted {want.shape}")
        dtype = _slope_dtype(want)
        matched.append(ct if ct.dtype == dtype else ct.astype(dtype))
    return matched


def _is_computed(node: Node) -> bool:
    return node.rule is not None


def _is_tracked(x: Array) -> bool:
    return isinstance(x, Tensor) and x._node is not None


def _lasting(x: Array) -> Tensor:
    """What a graph may keep."""
    return x if isinstance(x, Tensor) else _tensor(np.array(x))


def _passing(x: Array) -> ndarray:
    """What serves during a call."""
    return x._read() if isinstance(x, Tensor) else x


def _slope_dtype(x: Node) -> np.dtype[Any]:  # Any: whichever floating-point type it is
    return x.dtype if x.dtype.kind == "f" else np.dtype(float)


# --- containers -----------------------------------------------------------------------------------------------------


_SEQUENCES: Final = (tuple, list)
_CONTAINERS: Final = (tuple, list, dict)
_NOTHING: Final = repeat(None)


def _leaves(tree: Tree) -> list[Array]:
    """The arrays of a container in order; what is no container is an array."""
    if not isinstance(tree, _CONTAINERS):
        return [tree]
    return [leaf for branch in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(branch)]


def _like(tree: Tree, leaves: Iterator[Array]) -> Tree:
    """A container like `tree` with other leaves."""
    if not isinstance(tree, _CONTAINERS):
        return next(leaves)
    if isinstance(tree, dict):
        return {key: _like(branch, leaves) for key, branch in tree.items()}
    branches = [_like(branch, leaves) for branch in tree]
    if isinstance(tree, list):
        return branches
    return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)


def _aligned(caller: str, what: str, given: Tree, like: Tree) -> list[Array]:
    """The leaves of `given` in the order of those of `like`, whose structure it must have."""
    if not isinstance(like, _CONTAINERS):
        return [given]
    if isinstance(like, dict):
        fits = isinstance(given, dict) and given.keys() == like.keys()
        pairs = [(given[key], like[key]) for key in like] if fits else []
    else:
        fits = isinstance(given, _SEQUENCES) and len(given) == len(like)
        pairs = list(zip(given, like, strict=True)) if fits else []
    if not fits:
        raise TypeError(f"{caller}: {what} must be built like {_built(like)}, not like {_built(given)}")
    return [leaf for pair in pairs for leaf in _aligned(caller, what, *pair)]


def _built(tree: Tree) -> str:
    """`{'W': _, 'b': [_, _]}`: a container in words."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key!r}: {_built(branch)}" for key, branch in tree.items()) + "}"
    if isinstance(tree, _SEQUENCES):
        words = ", ".join(map(_built, tree))
        return f"[{words}]" if isinstance(tree, list) else f"({words})"
    return "_"


def _path(tree: Tree, k: int) -> str:
    """How the leaf number `k` is reached: `['W'][0]`."""
    if not isinstance(tree, _CONTAINERS):
        return ""
    for key, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
        count = len(_leaves(branch))
        if k < count:
            return f"[{key!r}]{_path(branch, k)}"
        k -= count
    return ""
