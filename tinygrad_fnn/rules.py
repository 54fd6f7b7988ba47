"""The table of derivative rules, and the five ways to enter one; nothing here knows what a Tensor is.

A rule belongs to a function people already know (`numpy.exp`) or to a plain function of ours. It names what it needs,
and only that is kept until backward. Rules are written in NumPy's vocabulary, so that the same text runs on arrays and
on Tensors, which makes derivatives of every order out of the one that is entered.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from .errors import NoRuleError
from .modes import MODE

__all__ = ["RULES", "TOGETHER", "Rule", "Sample", "Term", "composite", "constant", "dispatching", "drawn"]
__all__ += ["elementwise", "no_rule", "on_plain_arrays", "primitive", "reduction", "sample"]

Array = Any  # an ndarray, a NumPy scalar, a Python number, or a Tensor: what a rule's text may meet
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

RULES: Final[dict[Function, Rule]] = {}
METHODS: Final[dict[tuple[np.ufunc, str], Function]] = {}  # what `np.add.reduce(t)` and its kind run
# Kernels for two functions of the same operands at once, with the same bits: a value and its derivative, mostly.
TOGETHER: Final[dict[tuple[Function, Function], Function]] = {}

ORDER: Final = "xyzw"  # the arguments of a function that does not name them, in order


class Aval(NamedTuple):
    """Shape and dtype of an array that is not kept itself: what a rule gets for a parameter called `_x`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.intp))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Sample(NamedTuple):
    """Arguments to test a rule with; `sample` says how they are read."""

    args: tuple[Any, ...]
    params: Mapping[str, Any]


def sample(*args: Any, **params: Any) -> Sample:
    """One set of arguments for the tests: `sample((3, 4), axis=0)`.

    A positional tuple of ints is the shape of an array to draw from the argument's domain, a list of such tuples a list
    of arrays, and a floating-point array is itself an input; all of these are differentiated. Anything else is passed
    on as it is, keywords always: constants may be given as Python numbers, lists of numbers, or integer arrays.
    """
    return Sample(args, params)


@dataclass(frozen=True, slots=True)
class Term:
    """The derivative with respect to one argument.

    `pull(ct, *kept)` is this argument's share of the cotangent, before it is fitted to the argument's shape.
    `partial(*kept)` is the factor it multiplies by, None where the share is no product. `keeps` are the values whose
    arrays are kept: positions of arguments, -1 for the result. `wraps` says the same for each entry of `kept`, None
    where it is no array. `take(values, params, i)` collects what is kept; None where nothing is.
    """

    source: Any
    pull: Function
    partial: Function | None
    keeps: tuple[int, ...]
    wraps: tuple[int | None, ...]
    take: Callable[[Sequence[Any], Mapping[str, Any], int], tuple[Any, ...]] | None


@dataclass(slots=True)
class Rule:
    """What the package knows of one function.

    Attributes
    ----------
    fun : callable
        What is called on plain arrays.
    name : str
        The public name, for messages and the page of operations.
    kind : {'elementwise', 'reduction', 'primitive', 'composite', 'constant'}
        How it was entered.
    terms : tuple of Term or None
        One for each argument, None where there is no derivative; the last one serves all further arguments when
        `variadic`.
    call : callable
        What a call on a Tensor runs.
    linear : bool or 'jointly'
        Linear in each differentiable argument, with coefficients that are products of the other arguments and
        never negative by themselves: a product, a rearrangement; 'jointly' if in all of them at once: a choice.
    push : callable or None
        The tangent of the result, `push(tangents, *args, **params)`, the tangents None for arguments without; wanted
        only where neither the partials nor linearity give it directly, or too slowly, and None to leave it to them.
    selects : bool
        A zero partial means that the argument was not chosen, not that it happens to count for nothing.
    root : bool or callable
        A root at its minimum, where the slope is infinite: `sqrt` at 0. A function of what the partial gets says where.
    probability : bool
        Its result remembers what it was computed from, and a loss may go past it (`Tensor._origin`).
    ahead : callable or None
        Gives value and partial derivative with respect to the first argument at once, where they share most of the
        work; the gate calls it when that argument alone is tracked.
    samples, domain, at
        For the tests: arguments to try; the interval that each drawn argument comes from; and special points with the
        exact derivative.
    """

    fun: Function
    name: str
    kind: str
    terms: tuple[Term | None, ...] = ()
    call: Function = field(default=lambda: None, repr=False)
    variadic: bool = False
    linear: bool | str = False
    push: Function | None = None
    selects: bool = False
    root: bool | Function = False
    probability: bool = False
    ahead: Function | None = None
    samples: tuple[Sample, ...] = ()
    domain: tuple[tuple[float, float], ...] = ((-2.0, 2.0),)
    at: Mapping[Any, Any] = field(default_factory=dict)


def public_name(fun: Function) -> str:
    """`numpy.exp`, `scipy.special.expit`, `tinygrad_fnn.linear`."""
    name = fun.__name__.lstrip("_")
    if isinstance(fun, np.ufunc):
        if "(vectorized)" in name:
            return "numpy.frompyfunc"
        modules = ((home, sys.modules.get(home)) for home in ("numpy", "scipy.special", "numpy.strings"))
        home = next((home for home, module in modules if getattr(module, name, None) is fun), "scipy.special")
        return f"{home}.{name}"
    module = getattr(fun, "__module__", None) or "numpy"
    return f"{'tinygrad_fnn' if module.startswith('tinygrad_fnn') else module}.{name}"


def _parameters(fun: Any) -> tuple[list[str], dict[str, Any]]:
    """The names of the arguments by position, and what stands for those by name only, None without a default.

    From the function's code where it has some: `inspect.signature` would be a fifth of the time of the import.
    """
    fun = inspect.unwrap(fun)
    code = getattr(fun, "__code__", None)
    if code is None or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        found = inspect.signature(fun).parameters.values()
        named = {p.name: None if p.default is p.empty else p.default for p in found if p.kind is p.KEYWORD_ONLY}
        return [p.name for p in found if p.kind is not p.KEYWORD_ONLY], named
    count = code.co_argcount
    named = dict.fromkeys(code.co_varnames[count : count + code.co_kwonlyargcount])
    return list(code.co_varnames[:count]), named | (fun.__kwdefaults__ or {})


def _names(fun: Function) -> dict[str, int]:
    """Names of the arguments with their positions: the function's own first, then x, y, z, w in order."""
    if isinstance(fun, np.ufunc):
        return {name: i for i, name in enumerate(ORDER[: fun.nin])}
    try:
        own = _parameters(fun)[0]
    except ValueError:  # functions written in C without a signature
        return {name: i for i, name in enumerate(ORDER)}
    return {name: i for i, name in enumerate(ORDER[: len(own)])} | {name: i for i, name in enumerate(own)}


def _term(fun: Function, derivative: Any) -> Term:
    """One argument's derivative with its needs looked up, once, at registration."""
    if not callable(derivative):
        return Term(derivative, _multiply_by(derivative), lambda: derivative, (), (), None)
    needed = _parameters(derivative)[0]
    is_vjp = needed[0] == "ct"
    names = _names(fun)
    getters: list[tuple[str, Any]] = []
    for name in needed[is_vjp:]:
        if name == "out":
            getters.append(("array", -1))
        elif name == "_out":
            getters.append(("aval", -1))
        elif name == "i":
            getters.append(("position", None))
        elif name.startswith("_") and name[1:] in names:
            getters.append(("aval", names[name[1:]]))
        elif name in names:
            getters.append(("array", names[name]))
        elif isinstance(fun, np.ufunc) or name not in _parameters(fun)[1]:
            may = ["ct (first)", "out", *names, *[f"_{name}" for name in ("out", *names)], "i"]
            raise ValueError(f"{public_name(fun)}: its derivative asks for {name!r}; it may ask for {', '.join(may)}")
        else:
            getters.append(("param", name))
    wraps = tuple(key if kind == "array" else None for kind, key in getters)
    keeps = tuple(w for w in wraps if w is not None)
    if is_vjp:
        return Term(derivative, derivative, None, keeps, wraps, _taker(fun, getters))
    return Term(derivative, _times(derivative, len(getters)), derivative, keeps, wraps, _taker(fun, getters))


def _multiply_by(number: float) -> Function:
    """The pullback of a constant partial; 1 costs nothing, and 0 is no product: 0 * inf would be NaN."""
    if number == 1:
        return lambda ct: ct
    if number == -1:
        return lambda ct: -ct
    if number == 0:
        return lambda ct: np.zeros_like(ct)
    return lambda ct: ct * number


def _itself(value: Any) -> Any:
    return value


def _times(partial: Function, count: int) -> Function:
    """The pullback of a partial derivative, without argument unpacking for the common counts."""
    if count == 1:
        if getattr(partial, "__code__", _times.__code__).co_code == _itself.__code__.co_code:
            return operator.mul  # by a value that is kept: two calls less
        return lambda ct, a: ct * partial(a)
    if count == 2:
        return lambda ct, a, b: ct * partial(a, b)
    return lambda ct, *kept: ct * partial(*kept)


def conjugating(pull: Function) -> Function:
    """The pullback of a complex result: a cotangent is ``dL/dRe + i dL/dIm``, so its adjoint has J conjugated."""
    return lambda ct, *kept: np.conj(pull(np.conj(ct), *kept))


def _taker(
    fun: Function, getters: list[tuple[str, Any]]
) -> Callable[[Sequence[Any], Mapping[str, Any], int], Any] | None:
    """A function that collects what a term keeps from the values, the keywords and the argument's position."""
    if not getters:
        return None
    if all(kind == "array" for kind, _ in getters):
        keys = [key for _, key in getters]
        if len(keys) == 1:
            (j,) = keys
            return lambda values, params, i: (values[j],)
        if len(keys) == 2:
            j, k = keys
            return lambda values, params, i: (values[j], values[k])
    defaults = {}
    if not isinstance(fun, np.ufunc) and any(kind == "param" for kind, _ in getters):
        defaults = _parameters(fun)[1]

    def take(values: Sequence[Any], params: Mapping[str, Any], i: int) -> tuple[Any, ...]:
        kept = []
        for kind, key in getters:
            if kind == "array":
                kept.append(values[key])
            elif kind == "aval":
                kept.append(Aval(np.shape(values[key]), np.result_type(values[key])))
            elif kind == "param":
                kept.append(params[key] if key in params else defaults[key])
            else:
                kept.append(i)
        return tuple(kept)

    return take


def owned(value: Any) -> Any:
    """A parameter that the caller cannot change afterwards: index arrays, masks and bounds are copied."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return type(value)(map(owned, value))
    return value


def _enter(fun: Function, kind: str, derivatives: tuple[Any, ...], call: Function | None, **facts: Any) -> Rule:
    if fun in RULES:
        raise ValueError(f"{public_name(fun)} has a rule already; an operation is one entry")
    rule = Rule(fun, facts.pop("name", None) or public_name(fun), kind, **facts)
    rule.terms = tuple(None if d is None else _term(fun, d) for d in derivatives)
    rule.call = call if call is not None else functools.partial(_through_the_gate, fun)
    RULES[fun] = rule
    return rule


def _through_the_gate(fun: Function, *args: Any, **params: Any) -> Any:
    from .gate import apply, gate  # the gate needs the table, so the table meets the gate at the first call only

    rule = RULES[fun]
    rule.call = gate(fun) if isinstance(fun, np.ufunc) else functools.partial(apply, fun)
    return rule.call(*args, **params)


def _face(rule: Rule) -> Callable[[F], F]:
    def decorate(face: F) -> F:
        rule.call = face
        return face

    return decorate


def elementwise(fun: Function, *derivatives: Any, **facts: Any) -> Callable[[F], F]:
    """Enter a function that acts entry by entry, by its partial derivatives.

    Parameters
    ----------
    fun : callable
        NumPy's, SciPy's or ours; called on plain arrays.
    *derivatives : callable, number or None
        One for each argument: a function of what it needs, named `out`, `x`, `y`, `_x` or as a keyword of `fun`; a
        constant; None for an argument without derivative. A function whose first parameter is `ct` is a vjp.
    **facts
        Fields of `Rule`.

    Returns
    -------
    callable
        A decorator for the public face of the operation, which calls on Tensors will then run.

    Raises
    ------
    ValueError
        If the function has a rule already.
    """
    return _face(_enter(fun, "elementwise", derivatives, None, **facts))


def primitive(fun: Function, *derivatives: Any, **facts: Any) -> Callable[[F], F]:
    """Enter a function by its vjps: `lambda ct, y: ct @ y.mT`. Arguments, result and errors as for `elementwise`."""
    return _face(_enter(fun, "primitive", derivatives, None, **facts))


def reduction(fun: Function, derivative: Any, **facts: Any) -> Callable[[F], F]:
    """Enter a function that keeps the axes it reduces, with length 1, by its partial derivative.

    `out` and `ct` then broadcast against `x`, so that the derivative of a sum is 1 and that of a norm `x / out`.
    Arguments, result and errors as for `elementwise`.
    """
    return _face(_enter(fun, "reduction", (derivative,), None, **facts))


def composite(*funs: Function, **facts: Any) -> Callable[[F], F]:
    """Enter functions that are made of others, and so need no rule: the decorated function runs in their place."""

    def decorate(face: F) -> F:
        for fun in funs:
            _enter(fun, "composite", (), face, **facts)
        return face

    return decorate


def constant(*funs: Function, of_values: bool = True) -> None:
    """Enter functions that have no derivative on purpose; they give plain arrays. Some look at the shape only."""
    for fun in funs:
        _enter(fun, "constant", (), functools.partial(on_plain_arrays if of_values else _on_shapes, fun))


def _on_shapes(fun: Function, *args: Any, **params: Any) -> Any:
    return fun(*(getattr(a, "_value", a) for a in args), **params)


def on_plain_arrays(fun: Function, *args: Any, **params: Any) -> Any:
    """`fun` of the values, without derivative. Code that reads a Tensor's values calls it, so that a trace sees it."""
    trace = MODE.get().trace
    if trace is not None:
        return trace.constant(fun, args, params)
    return fun(*map(plain, args), **{key: plain(value) for key, value in params.items()})


def drawn(fun: Function, *args: Any) -> Any:
    """What `fun` draws by chance; a trace notes the draw and not what came out."""
    trace = MODE.get().trace
    return fun(*args) if trace is None else trace.drawn(fun, *args)


def plain(value: Any) -> Any:
    """The array behind a Tensor, also inside lists and tuples; anything else as it is."""
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value)) if not hasattr(value, "_fields") else value
    return value._read() if hasattr(value, "_node") else value


def no_rule(fun: Function) -> NoRuleError:
    """The error that says so, and what to do instead."""
    from .ops.missing import library_call, nearest  # read once something is missing only

    name, caller = public_name(fun), library_call()
    instead = nearest(caller) or nearest(name)
    advice = f"use {instead}" if instead else "enter one with elementwise() or primitive()"
    within = f"{caller}: " if caller not in ("", name) else ""
    return NoRuleError(f"{within}{name} has no derivative rule; {advice}, or call it on t.detach()")


def load_scipy_rules() -> None:
    """Enter the rules of `scipy.special`, whose import costs more than NumPy and this package together."""
    from .ops import special as _  # noqa: F401  # importing it is what enters them

    load_fft_rules()


def load_fft_rules() -> None:
    """Enter the rules of `numpy.fft`, which NumPy imports when it is first asked for."""
    from .ops import fourier as _  # noqa: F401  # as above


def dispatching(fun: F) -> F:
    """`fun` made to dispatch as NumPy's functions do, so that a rule may call a kernel of ours on anything."""

    @functools.wraps(fun)
    def call(*args: Any, **params: Any) -> Any:
        for a in args:
            if a.__class__ is not np.ndarray and hasattr(a, "__array_function__"):
                return RULES[fun].call(*args, **params)
        return fun(*args, **params)

    return call  # type: ignore[return-value]  # the same signature, which wraps() cannot say of a TypeVar
