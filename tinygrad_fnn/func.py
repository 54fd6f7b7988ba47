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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final, TypeAlias

import numpy as np
from numpy import ndarray

from .backward import _own, _tape, _tensor, pull_back
from .errors import GraphError, ShapeError
from .forward import Level
from .modes import MODE, enable_grad
from .rules import Array, Function
from .tensor import Node, Tensor, apply

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]

Tree: TypeAlias = Any  # an array, or lists, tuples and dicts of arrays, which Python's types cannot say
Argnums: TypeAlias = int | Sequence[int]
Checked: TypeAlias = int | tuple[int, ...]


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
        trace = _trace(caller, f, chosen, args, kwargs, has_aux)
        if not isinstance(trace.value, Tensor):
            kind, hint = type(trace.value).__name__, "has_aux=True is for (value, aux)"
            raise GraphError(f"{caller}: {trace.name} returned a {kind}, wanted one number; {hint}")
        out = trace.value
        if out.size != 1:
            raise GraphError(
                f"{caller}: {trace.name} returned shape {out.shape}, and a gradient is that of one number; "
                "func.jacobian has the derivative of every entry, func.vjp that of a weighted sum"
            )
        seed = np.ones(out.shape, out.dtype)
        shares = trace.pull([(out, _tensor(seed) if trace.outside else seed)], trace.outside)
        value = _released(out, trace.outside)
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
    every = _checked(caller, f, tuple(range(len(primals))))
    trace = _trace(caller, f, every, primals, {})

    def pullback(ct: Tree) -> Tree:
        cts = _matched(caller, what, ct, trace.value, trace.outs)
        connected = MODE.get().record and (trace.outside or any(map(_is_tracked, cts)))
        seeds = [(out, ct if connected else ct._read()) for out, ct in zip(trace.outs, cts, strict=True)]
        return trace.arranged(trace.pull(seeds, connected), every)

    return _like(trace.value, (_released(out, trace.outside) for out in trace.outs)), pullback


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
    Forward mode: each operation carries the tangents along, at about the cost of the function itself.

    Examples
    --------
    >>> jvp(lambda x: x**3, (np.array([1.0, 2.0]),), (np.array([1.0, 0.5]),))
    (array([1., 8.]), array([3., 6.]))
    """
    primals = _arguments("jvp", "primals", primals)
    record = MODE.get().record
    directions: list[Tensor] = []
    level: Level | None = None

    def ready(nodes: list[Node], trees: tuple[Tree, ...]) -> Level:
        nonlocal level
        directions.extend(_matched("jvp", "tangents", _arguments("jvp", "tangents", tangents), trees, nodes))
        connected = record and (any(n.rule is not None for n in nodes) or any(map(_is_tracked, directions)))
        level = Level(connected, record)
        level.tangents.update((n, d if connected else d._read()) for n, d in zip(nodes, directions, strict=True))
        return level

    trace = _trace("jvp", f, _checked("jvp", f, tuple(range(len(primals)))), primals, {}, within=ready)
    assert level is not None
    pushed = [_pushed(level, out) for out in trace.outs]
    owned = iter(_own([tangent for tangent in pushed if not isinstance(tangent, Tensor)]))
    pushed = [tangent if isinstance(tangent, Tensor) else next(owned) for tangent in pushed]
    value = _like(trace.value, (_released(out, trace.outside) for out in trace.outs))
    return value, _like(trace.value, iter(pushed))


def _pushed(level: Level, out: Tensor) -> Array:
    """The tangent of a result; 0 for one that does not depend on the variables."""
    found = None if out._node is None else level.tangents.get(out._node)
    if found is None:
        return np.zeros(out.shape, _slope_dtype(out))
    if isinstance(found, Tensor):
        return _handle(found) if level.record and level.may_record else np.array(found._value)
    return found


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
        return _like(trace.value, (trace.arranged(_blocks(trace, out), chosen) for out in trace.outs))

    return derivatives


def _blocks(trace: _Trace, out: Tensor) -> list[Array]:
    """The derivatives of `out` with respect to each variable, of shape ``out.shape + in.shape``."""
    rows = []
    for k in range(max(out.size, 1)):  # of an empty result one row, for its shape and dtype
        seed = np.zeros(out.shape, out.dtype)
        seed.flat[k : k + 1] = 1
        rows.append(trace.pull([(out, _tensor(seed) if trace.outside else seed)], trace.outside))
    stacks = [np.stack(shares)[: out.size] for shares in zip(*rows, strict=True)]
    return [stack.reshape(out.shape + stack.shape[1:]) for stack in stacks]


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
    value: Tree  # what the function returned, in handles of our own
    outs: list[Tensor]  # its leaves
    aux: Tree
    outside: bool

    def pull(self, pairs: Iterable[tuple[Tensor, Array]], create_graph: bool) -> list[Array]:
        return _pull(pairs, self.nodes, create_graph)

    def arranged(self, shares: Iterable[Array], argnums: Checked) -> Tree:
        """One share for each variable as `argnums` asks: for one argument, or a tuple for several."""
        trees = _like(self.trees, iter(shares))
        return trees if isinstance(argnums, tuple) else trees[0]


def _trace(
    caller: str,
    f: Function,
    argnums: Checked,
    args: Sequence[Tree],
    kwargs: dict[str, Tree],
    has_aux: bool = False,
    within: Callable[[list[Node], tuple[Tree, ...]], AbstractContextManager[object]] | None = None,
) -> _Trace:
    """Call `f` with variables for the chosen arguments; recorded also under `no_grad`; `within` makes the context."""
    name, record, given = _name(f), MODE.get().record, list(args)
    nodes: list[Node] = []
    trees: list[Tree] = []
    aux: Tree = None
    with enable_grad():
        for k in _positions(caller, name, argnums, len(args)):
            variables: list[Tensor] = []
            for leaf in _leaves(args[k]):
                variable = _variable(leaf, record)
                if variable is None:
                    raise _not_floating(f"{caller}: argument {k}{_path(args[k], len(variables))} of {name}", leaf)
                variables.append(variable)
                nodes.append(variable._known_node())
            trees.append(_like(args[k], repeat(None)))
            given[k] = _like(args[k], iter(variables))
        with nullcontext() if within is None else within(nodes, tuple(trees)):
            returned = f(*given, **kwargs)
    if has_aux:
        if not isinstance(returned, tuple) or len(returned) != 2:
            kind = type(returned).__name__
            raise TypeError(f"{caller}: has_aux=True, so {name} must return (value, aux), not a {kind}")
        returned, aux = returned
    outs = [_result(caller, name, leaf) for leaf in _leaves(returned)]
    roots = [*outs, *(leaf for leaf in _leaves(aux) if isinstance(leaf, Tensor))]
    outside = record and (any(node.rule is not None for node in nodes) or _reaches_outside(roots, nodes))
    if has_aux:
        aux = _like(aux, (_released(leaf, outside) if isinstance(leaf, Tensor) else leaf for leaf in _leaves(aux)))
    return _Trace(name, tuple(trees), nodes, _like(returned, iter(outs)), outs, aux, outside)


def _variable(x: Array, record: bool) -> Tensor | None:
    """A leaf for plain values, an intermediate for a tracked tensor; None for what has no derivative."""
    if isinstance(x, Tensor):
        if record and x._node is not None:
            return apply(np.positive, x) if x.dtype.kind == "f" else None
        x = x._value
    elif x.__class__ is not ndarray:
        if isinstance(x, ndarray) and not isinstance(x, np.memmap):
            return None  # a mask, or the product of a matrix, would be lost
        x = np.asarray(x)
    return Tensor(x, requires_grad=True) if x.dtype.kind == "f" else None


def _not_floating(where: str, x: Array) -> TypeError:
    if isinstance(x, int):
        return TypeError(f"{where} is the {type(x).__name__} {x}, and only floats have derivatives; write {x + 0}.0")
    dtype = x.dtype if isinstance(x, Tensor) else np.asarray(x).dtype
    if dtype.kind in "biu":
        return TypeError(f"{where} has dtype {dtype}, and only floats have derivatives; write x.astype(float)")
    return TypeError(f"{where} is a {type(x).__name__} of dtype {dtype}; wanted a plain array of real floats")


def _result(caller: str, name: str, x: Array) -> Tensor:
    """A handle of our own to what the function returned, which later writes to its handle do not change."""
    values = x._value if isinstance(x, Tensor) else np.asarray(x)
    if values.dtype.kind not in "biuf":
        hint = "; take np.abs or np.real of them" if values.dtype.kind == "c" else ""
        kind = f"{type(x).__name__} of dtype {values.dtype}"
        raise TypeError(f"{caller}: {name} returned a {kind}, wanted real numbers{hint}")
    return _handle(x) if isinstance(x, Tensor) else _tensor(np.array(values))


def _handle(x: Tensor) -> Tensor:
    handle = x.detach()
    handle._node, handle._origin = x._node, x._origin
    return handle


def _released(x: Tensor, connected: bool) -> Array:
    return _handle(x) if connected else np.array(x._value)


def _reaches_outside(roots: list[Tensor], variables: list[Node]) -> bool:
    """Whether the roots depend on something tracked before the variables were made."""
    earliest = variables[0].time if variables else math.inf
    seen = set(variables)
    ahead = [root._node for root in roots if root._node is not None]
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


def _pull(pairs: Iterable[tuple[Tensor, Array]], nodes: list[Node], create_graph: bool) -> list[Array]:
    """The shares of the nodes for outputs with their cotangents; zeros for what does not depend on them."""
    seeds: dict[Node, Array] = {}
    for out, ct in pairs:
        node = out._node
        if node is not None:
            seeds[node] = seeds[node] + ct if node in seeds else ct
    shares = pull_back(seeds, _tape(list(seeds), set(nodes)), nodes, create_graph) if seeds else [None] * len(nodes)
    if create_graph:
        zeros = (_tensor(np.zeros(node.shape, node.dtype)) for node in nodes)
        return [zero if share is None else _handle(share) for zero, share in zip(zeros, shares, strict=True)]
    owned = _own(shares, *seeds.values())
    return [np.zeros(n.shape, n.dtype) if share is None else share for n, share in zip(nodes, owned, strict=True)]


# --- what the user hands in -----------------------------------------------------------------------------------------


def _name(f: Function) -> str:
    return getattr(f, "__name__", type(f).__name__)


def _named(fun: Function, name: str) -> Function:
    fun.__name__ = fun.__qualname__ = name
    return fun


def _checked(caller: str, f: Function, argnums: Argnums) -> Checked:
    if not callable(f):
        hint = "; tinygrad_fnn.grad(outputs, inputs) differentiates tensors" if isinstance(f, Tensor) else ""
        raise TypeError(f"{caller}: f is a {type(f).__name__}, wanted a function{hint}")
    try:
        return tuple(map(operator.index, argnums)) if isinstance(argnums, Sequence) else operator.index(argnums)
    except TypeError as error:
        hint = f"{caller}(f)(x) is what it gives at x"
        raise TypeError(f"{caller}: argnums is a {type(argnums).__name__}, wanted an int or several; {hint}") from error


def _positions(caller: str, name: str, argnums: Checked, count: int) -> list[int]:
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


def _matched(caller: str, what: str, given: Tree, like: Tree, wanted: Sequence[Tensor | Node]) -> list[Tensor]:
    """The leaves of `given` as Tensors in the shape and dtype of the wanted ones, the leaves of `like`."""
    matched = []
    for k, (x, want) in enumerate(zip(_aligned(caller, what, given, like), wanted, strict=True)):
        where = f"{caller}: {what}{_path(like, k)}"
        ct = x if isinstance(x, Tensor) else _tensor(np.array(x))
        if ct.dtype.kind not in "biuf":
            raise TypeError(f"{where} is a {type(x).__name__} of dtype {ct.dtype}, wanted real numbers")
        if ct.shape != want.shape:
            raise ShapeError(f"{where} has shape {ct.shape}, wanted {want.shape}")
        dtype = _slope_dtype(want)
        matched.append(ct if ct.dtype == dtype else ct.astype(dtype))
    return matched


def _is_tracked(x: Tensor) -> bool:
    return x._node is not None


def _slope_dtype(x: Tensor | Node) -> np.dtype[Any]:  # Any: whichever floating-point type it is
    return x.dtype if x.dtype.kind == "f" else np.dtype(float)


# --- containers -----------------------------------------------------------------------------------------------------


_SEQUENCES: Final = (tuple, list)
_CONTAINERS: Final = (tuple, list, dict)


def _leaves(tree: Tree) -> list[Array]:
    """The arrays of a container in order; what is no container is an array."""
    if isinstance(tree, _CONTAINERS):
        return [leaf for branch in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(branch)]
    return [tree]


def _like(tree: Tree, leaves: Iterator[Array]) -> Tree:
    """A container like `tree` with other leaves."""
    if isinstance(tree, _SEQUENCES):
        branches = [_like(branch, leaves) for branch in tree]
        if isinstance(tree, list):
            return branches
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return {key: _like(branch, leaves) for key, branch in tree.items()} if isinstance(tree, dict) else next(leaves)


def _aligned(caller: str, what: str, given: Tree, like: Tree) -> list[Array]:
    """The leaves of `given` in the order of those of `like`, whose structure it must have."""
    if isinstance(like, dict):
        fits = isinstance(given, dict) and given.keys() == like.keys()
        pairs = [(given[key], like[key]) for key in like] if fits else []
    elif isinstance(like, _SEQUENCES):
        fits = isinstance(given, _SEQUENCES) and len(given) == len(like)
        pairs = list(zip(given, like, strict=True)) if fits else []
    else:
        return [given]
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
