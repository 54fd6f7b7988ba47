"""`custom_op`: a user's function together with its derivative.

It stands apart from the table's own five ways in because a user's function is met without the tests that walk the
table: here the signature, the names that a derivative asks for, the shapes it returns and, if wanted, its values are
checked, and the entry lives as long as the function that came out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from typing import Any, Final, NoReturn

import numpy as np
from numpy import ndarray

from .check.numerical import GradcheckError, gradcheck
from .errors import NoRuleError, ShapeError
from .func import jvp, vjp
from .gate import apply
from .rules import ORDER, RULES, Array, Aval, Function, elementwise, plain, primitive
from .tensor import Tensor

__all__ = ["custom_op"]

RESERVED: Final = ("ct", "out", "_out", "i")  # what these names mean in a derivative


def custom_op(
    *derivatives: Any, linear: bool = False, check: Sequence[Any] | None = None
) -> Callable[[Function], Function]:
    """A decorator for a function of arrays, that gives it its derivatives; the function itself may do anything.

    Parameters
    ----------
    *derivatives : callable, number or None
        One for each array argument, in order. A function whose first parameter is `ct` returns this argument's share
        of the cotangent `ct` of the result, in the argument's shape; any other function returns the partial derivative
        of a function that acts entry by entry. The other parameters name what is wanted: `out`, an argument by its
        name or by its place (`x`, `y`, `z`, `w`), `_x` for its shape and dtype only, a keyword of the function. A
        number is a constant partial derivative; None stands for an argument without derivative, and a Tensor that
        requires a gradient is refused there.
    linear : bool
        Whether the function is linear in each argument that has a derivative; `func.jvp` then calls the function.
    check : sequence, optional
        Arguments of the function. The derivatives are held there against the values, in first order, and in second
        order if they are written in functions that run on Tensors.

    Returns
    -------
    callable
        Makes of a function one that takes arrays or Tensors: arrays in, an array out; a Tensor in, a Tensor out.

    Raises
    ------
    ValueError
        If the derivatives are not as many as the array arguments, or one asks for a name that does not exist.
    GradcheckError
        If a derivative is wrong at `check`. Nothing is entered then.

    Notes
    -----
    Array arguments are the positional ones without default value, and further ones as far as there are derivatives. All
    others, positional or not, pass through as parameters without derivative.

    When a Tensor is among the arguments, the function gets plain arrays that cannot be written to.

    The entry in `RULES` goes when the returned function does, so a definition inside a loop keeps nothing alive,
    unless the function or a derivative refers to the returned function through a closure.

    Examples
    --------
    >>> from scipy.special import dawsn
    >>> @custom_op(lambda out, x: 1 - 2 * x * out, check=(np.array([-1.0, 0.5, 3.0]),))
    ... def dawson(x):
    ...     return dawsn(x)
    >>> x = Tensor([0.0, 1.0], requires_grad=True)
    >>> dawson(x).sum().backward()
    >>> x.grad
    array([ 1.        , -0.07615901])

    A function of matrices, by its vjps; it may be one that has been written already:

    >>> matvec = custom_op(lambda ct, x: np.outer(ct, x), lambda ct, W: W.T @ ct)(lambda W, x: W @ x)
    >>> matvec(np.eye(2), Tensor([1.0, 2.0]))
    Tensor([1., 2.])
    """
    for k, d in enumerate(derivatives):
        if not (d is None or callable(d) or isinstance(d, int | float | np.number)):
            raise TypeError(f"custom_op: derivative {k} is a {type(d).__name__}; wanted a function, a number or None")

    def decorate(fun: Function) -> Function:
        op = _read(fun, len(derivatives))
        wrapped = [
            _Derivative.of(op, k, d) if callable(d) else d if d is None or d == 0 else float(d)
            for k, d in enumerate(derivatives)
        ]
        by_vjps = [isinstance(d, _Derivative) and d.is_vjp for d in wrapped]
        by_entry = [d is not None and not vjp for d, vjp in zip(wrapped, by_vjps, strict=True)]
        kernel = _kernel(op, tuple(k for k, yes in enumerate(by_entry) if yes))
        enter = primitive if any(by_vjps) else elementwise
        enter(kernel, *[d.as_rule() if isinstance(d, _Derivative) else d for d in wrapped], name=op.name, linear=linear)
        face = _face(op, kernel)
        weakref.finalize(face, RULES.pop, kernel, None).atexit = False
        if check is not None:
            try:
                _check(op, face, derivatives, check, linear)
            except BaseException:
                del RULES[kernel]
                raise
        return face

    return decorate


@dataclass(frozen=True)
class _Op:
    """A user's function and what its signature says.

    Attributes
    ----------
    fun : callable
    name : str
        For messages.
    defaults : mapping of str to Any
        Names of the arguments that have derivatives, in order, with their default values.
    params : mapping of str to Parameter
        All others, in order.
    """

    fun: Function
    name: str
    defaults: dict[str, Any]
    params: dict[str, Parameter]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arguments that have derivatives, in order."""
        return tuple(self.defaults)

    @property
    def positions(self) -> dict[str, int]:
        """What a derivative may call the arguments: by place, and by name, which goes first."""
        places = {name: k for k, name in enumerate(ORDER[: len(self.arrays)]) if name not in self.params}
        return places | {name: k for k, name in enumerate(self.arrays)}

    @property
    def signature(self) -> Signature:
        """That of the function; arrays and the rest as they are told apart here."""
        arrays = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in self.arrays]
        others = [p if p.kind is p.VAR_KEYWORD else p.replace(kind=p.KEYWORD_ONLY) for p in self.params.values()]
        return Signature([*arrays, *others])


def _read(fun: Function, count: int) -> _Op:
    """The signature of a user's function that comes with so many derivatives."""
    if not callable(fun):
        raise TypeError(f"custom_op: got a {type(fun).__name__}, wanted a function; custom_op(derivative)(function)")
    name = getattr(fun, "__name__", type(fun).__name__)
    module = getattr(fun, "__module__", None)
    full = f"{module}.{name}" if module else name
    if isinstance(fun, np.ufunc):
        if fun.nout > 1:
            raise TypeError(f"custom_op: {full} returns {fun.nout} arrays; write one function for each of them")
        if fun.nin != count:
            _miscounted(full, [*ORDER[: fun.nin]], [], count)
        return _Op(fun, full, dict.fromkeys(ORDER[:count], Parameter.empty), {})
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (ValueError, TypeError):  # written in C without a signature: what is known is the count of the derivatives
        if not 0 < count <= len(ORDER):
            raise ValueError(
                f"custom_op: {full} has no signature and {count} derivatives came; "
                "call it from a def that names its arguments"
            ) from None
        return _Op(fun, full, dict.fromkeys(ORDER[:count], Parameter.empty), {})
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(f"custom_op: {full} takes any number of arrays; write it with one name for each")
    required = [p.name for p in positional if p.default is p.empty]
    optional = [p.name for p in positional if p.default is not p.empty]
    if not len(required) <= count <= len(positional) or not count:
        _miscounted(full, required, optional, count)
    for p in parameters:
        if p.name in RESERVED or p.name.startswith("_"):
            raise ValueError(
                f"custom_op: {full} has an argument called {p.name}, which means something else in a derivative; "
                "rename it"
            )
    arrays = {p.name: p.default for p in positional[:count]}
    return _Op(fun, full, arrays, {p.name: p for p in parameters if p.name not in arrays})


def _miscounted(name: str, required: list[str], optional: list[str], count: int) -> NoReturn:
    has = f"{len(required)} array argument{'' if len(required) == 1 else 's'}"
    has += f" ({', '.join(required)})" if required else ""
    more = f", and {', '.join(optional)} may be arrays too" if optional else ""
    came = f"{count} derivative{' was' if count == 1 else 's were'} given"
    hint = "give None for an argument without derivative, and make what is no array keyword-only"
    raise ValueError(f"custom_op: {name} has {has}{more}; {came}; {hint}")


class OperationError(TypeError):
    """Says all that there is to say; the gate passes it on as it is."""


def _kernel(op: _Op, by_entry: tuple[int, ...]) -> Function:
    """What the gate calls: the function on arrays that it cannot write to, its result checked.

    `by_entry` are the arguments whose derivative is a partial one.
    """

    def kernel(*arrays: Array, **params: Any) -> Array:
        try:
            out = op.fun(*map(_locked, arrays), **params)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise OperationError(
                f"{op.name} writes to an argument, or calls what wants to; give that a copy, np.array(x). "
                f"It said: {error}"
            ) from error
        if out.__class__ is not ndarray:
            out = _one_array(op, out)
        for k in by_entry:
            shape = np.shape(arrays[k])
            if shape != out.shape and not _broadcasts(shape, out.shape):
                raise ShapeError(
                    f"{op.name}: {op.arrays[k]} has shape {shape}, the result {out.shape}; a function that does not go "
                    "entry by entry takes a derivative whose first parameter is ct"
                )
        if out.base is not None and any(np.may_share_memory(out, a) for a in arrays):
            return out.copy()  # a view of the caller's array would change under us
        return out

    kernel.__name__ = kernel.__qualname__ = op.name.rpartition(".")[2]
    kernel.__signature__ = op.signature  # type: ignore[attr-defined]  # what inspect.signature reads
    return kernel


def _locked(value: Array) -> Array:
    if value.__class__ is ndarray:
        value = value.view()
        value.flags.writeable = False
    return value


def _one_array(op: _Op, out: Any) -> ndarray:
    if isinstance(out, tuple | list):
        raise OperationError(f"{op.name} returned a {type(out).__name__} of {len(out)}; an operation returns one array")
    array = np.asarray(out)
    if array.dtype.kind not in "biufc":
        raise OperationError(f"{op.name} returned a {type(out).__name__}; an operation returns an array of numbers")
    return array


def _face(op: _Op, kernel: Function) -> Function:
    """What the user calls."""
    count = len(op.arrays)
    arrays = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=d) for name, d in op.defaults.items()]
    signature = Signature([*arrays, *op.params.values()])

    def face(*args: Any, **params: Any) -> Any:
        if len(args) != count or any(name in params for name in op.arrays):
            args, params = _sorted(op, signature, args, params)
        for name, value in params.items():
            if isinstance(value, Tensor):
                if value.requires_grad:
                    raise TypeError(
                        f"{op.name}: {name} has no derivative and requires a gradient; pass {name}.detach(), or give "
                        "custom_op a derivative for it"
                    )
                params[name] = plain(value)
        if any(isinstance(a, Tensor) for a in args):
            return apply(kernel, *args, **params)
        out = op.fun(*args, **params)
        if isinstance(out, tuple | list) or out is None:
            _one_array(op, out)
        return out

    functools.update_wrapper(face, op.fun)
    face.__name__ = face.__qualname__ = op.name.rpartition(".")[2]
    face.__signature__ = signature  # type: ignore[attr-defined]  # what inspect.signature reads
    return face


def _sorted(
    op: _Op, signature: Signature, args: tuple[Any, ...], params: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arrays by position and all others by name, however they were given."""
    try:
        bound = signature.bind(*args, **params)
    except TypeError as error:
        raise TypeError(f"{op.name}: {error}") from None
    count = len(op.arrays)
    if len(bound.args) < count:
        bound.apply_defaults()
    return bound.args[:count], dict(zip(op.params, bound.args[count:], strict=False)) | bound.kwargs


# --- derivatives ------------------------------------------------------------------------------------------------------


class FirstOrderOnlyError(NoRuleError):
    """A derivative that does not run on Tensors was asked for its own derivative."""


@dataclass(frozen=True)
class _Derivative:
    """A user's derivative with its result checked.

    Attributes
    ----------
    op : _Op
    position : int
        Of the argument that it belongs to.
    fun : callable
    is_vjp : bool
    asks : tuple of str
        Names of its parameters, after `ct`.
    """

    op: _Op
    position: int
    fun: Function
    is_vjp: bool
    asks: tuple[str, ...]

    @classmethod
    def of(cls, op: _Op, position: int, fun: Function) -> _Derivative:
        """A derivative whose names are looked up now."""
        of = f"the derivative of {op.name} in {op.arrays[position]}"
        known = op.positions
        params = [name for name, p in op.params.items() if p.kind is not p.VAR_KEYWORD]
        if isinstance(fun, np.ufunc):
            return cls(op, position, fun, False, tuple(op.arrays[: fun.nin]))
        try:
            parameters = list(inspect.signature(fun).parameters.values())
        except (ValueError, TypeError):
            raise ValueError(
                f"custom_op: {of} has no signature; call it from a lambda that names its arguments"
            ) from None
        is_vjp = bool(parameters) and parameters[0].name == "ct"
        may = [*known, *(f"_{name}" for name in known), "out", "_out", *params]
        asks = []
        for p in parameters[is_vjp:]:
            if p.name in may:
                asks.append(p.name)
            elif p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.default is p.empty:
                if p.name == "ct":
                    raise ValueError(f"custom_op: {of} has ct in place {parameters.index(p)}; it comes first")
                raise ValueError(f"custom_op: {of} asks for {p.name}; it may ask for ct (first), {', '.join(may)}")
        return cls(op, position, fun, is_vjp, tuple(asks))

    def as_rule(self) -> Function:
        """What the table gets: it asks for what the user's asks, and for the shapes to hold the result against."""
        extra = ["_out", f"_{self.op.arrays[self.position]}"] if self.is_vjp else ["_out"]
        check = self._checked_share if self.is_vjp else self._checked_partial
        names = [*["ct"][: self.is_vjp], *self.asks]
        every = list(dict.fromkeys([*names, *extra]))  # the user's may have asked for the shapes itself
        shapes = [every.index(name) for name in extra]
        by_name = {name for name, kind in _kinds(self.fun, names).items() if kind is Parameter.KEYWORD_ONLY}

        def rule(*values: Any) -> Any:
            given = dict(zip(names, values, strict=False))
            tensors = any(isinstance(v, Tensor) for v in given.values())
            keywords = {name: given.pop(name) for name in by_name}
            try:
                found = self.fun(*given.values(), **keywords)
            except TypeError as error:
                if not tensors or isinstance(error, FirstOrderOnlyError):
                    raise
                raise FirstOrderOnlyError(
                    f"{self._name} does not run on Tensors, which second derivatives and func.jvp need; write it in "
                    f"NumPy's functions, or give what it calls a derivative with custom_op. It said: {error}"
                ) from error
            return check(found, tensors, *(values[k] for k in shapes))

        rule.__signature__ = Signature(  # type: ignore[attr-defined]  # what inspect.signature reads
            [Parameter(name, Parameter.POSITIONAL_ONLY) for name in every]
        )
        return rule

    def _numbers(self, found: Any, tensors: bool) -> Any:
        if isinstance(found, Tensor):
            return found
        array = np.asarray(found)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{self._name} returned a {type(found).__name__}; wanted an array of numbers")
        return Tensor(array) if tensors and array.dtype.kind != "c" else array

    def _checked_share(self, found: Any, tensors: bool, out: Aval, argument: Aval) -> Any:
        share = self._numbers(found, tensors)
        if share.shape == argument.shape:
            return share
        if share.shape == out.shape and _broadcasts(argument.shape, out.shape):  # the walk sums over what was repeated
            return share
        hint = ""
        if _broadcasts(share.shape, argument.shape):
            hint = f"; np.broadcast_to(share, _{self.op.arrays[self.position]}.shape) repeats it"
        raise ShapeError(
            f"{self._name} returned shape {share.shape}; "
            f"the argument has shape {argument.shape}, the result {out.shape}{hint}"
        )

    def _checked_partial(self, found: Any, tensors: bool, out: Aval) -> Any:
        if found.__class__ in (int, float):
            return found
        partial = self._numbers(found, tensors)
        if partial.shape != out.shape and not _broadcasts(partial.shape, out.shape):
            raise ShapeError(
                f"{self._name} returned shape {partial.shape}, the result has shape {out.shape}; a partial derivative "
                "goes entry by entry, a function of anything else takes ct first"
            )
        return partial

    @property
    def _name(self) -> str:
        return f"{self.op.name}: its derivative in {self.op.arrays[self.position]}"


def _kinds(fun: Function, names: list[str]) -> dict[str, Any]:
    """How each parameter is to be passed."""
    kinds: dict[str, Any] = dict.fromkeys(names, Parameter.POSITIONAL_ONLY)
    if not isinstance(fun, np.ufunc):
        skipped = False  # after one that keeps its default, the others go by name
        for name, p in inspect.signature(fun).parameters.items():
            if name in names:
                kinds[name] = Parameter.KEYWORD_ONLY if skipped else p.kind
            skipped = skipped or name not in names
    return kinds


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def _check(op: _Op, face: Function, derivatives: tuple[Any, ...], args: Sequence[Any], linear: bool) -> None:
    """Hold the derivatives against values of the function."""
    if isinstance(args, ndarray | Tensor | str) or not isinstance(args, Sequence):
        raise TypeError(f"custom_op: check is a {type(args).__name__}; wanted the arguments of {op.name} in a tuple")
    if len(args) < len(derivatives):
        raise ValueError(f"custom_op: check has {len(args)} arguments, {op.name} takes {len(derivatives)} arrays")
    moving = [k for k, d in enumerate(derivatives) if d is not None]
    if not moving:
        return
    inputs = [np.asarray(plain(args[k])) for k in moving]
    inputs = [x.astype(float) if x.dtype.kind in "biu" else x for x in inputs]

    def along(*leaves: Tensor) -> Any:
        values = list(args)
        for k, leaf in zip(moving, leaves, strict=True):
            values[k] = leaf
        return face(*values)

    report = gradcheck(along, inputs, raise_exception=False)
    if report:
        # One that does not run on Tensors is allowed: who asks for a second derivative will be told.
        with contextlib.suppress(FirstOrderOnlyError):
            report = gradcheck(along, inputs, second_order=True, raise_exception=False)
    if not report:
        where = report.worst.input if report.worst is not None else None
        argument = f" in {op.arrays[moving[where]]}" if isinstance(where, int) else ""
        raise GradcheckError(replace(report, message=f"the derivative of {op.name}{argument}: {report.message}"))
    if linear:
        value, pullback = vjp(along, *inputs)
        _, tangent = jvp(along, inputs, inputs)
        pairs = zip(inputs, pullback(np.ones_like(value)), strict=True)
        if not np.isclose(np.sum(tangent), sum(np.sum(x * ct) for x, ct in pairs), rtol=1e-6):  # rounding of a sum
            raise ValueError(f"custom_op: {op.name} is not linear in each argument at check; leave linear=True out")
