"""Tensor, the user's handle, on which NumPy's protocols arrive; Node, the record of one operation.

Nodes point to nodes only, towards what they were computed from, and never to a Tensor: there are no cycles, and a graph
is freed by reference counting alone. `requires_grad` means "has a node".
"""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self, TypeAlias

import numpy as np
from numpy import ndarray

from .errors import GraphError, NoRuleError, ShapeError
from .modes import MODE
from .rules import (
    METHODS,
    RULES,
    Array,
    Rule,
    load_fft_rules,
    load_scipy_rules,
    no_rule,
    plain,
)

__all__ = ["Node", "Tensor", "ndim_of", "refuse_out", "shape_of"]

_clock = itertools.count().__next__
SCALARS: Final = frozenset({bool, int, float, complex})


# --- the record ---------------------------------------------------------------------------------------------------


Edge: TypeAlias = "tuple[Node, Callable[..., Any], tuple[Any, ...], int]"


class Node:
    """The record of one operation, or of a leaf.

    Attributes
    ----------
    time : int
        The clock at creation; later nodes depend on earlier ones only, so this order is the tape.
    edges : tuple of (Node, pull, kept, position), or None
        One for each tracked argument: whose share it is, how it is computed, from what, and which argument it was.
        Empty for a leaf; None once the graph is freed.
    rule : Rule or None
        None for a leaf.
    shape, dtype
        Of the value, to which each share of its cotangent is fitted.
    grad : ndarray or None
        The gradient accumulated here, on leaves and where `retain_grad` asked for it.
    hooks : dict of callables, or None
        Called with the complete cotangent; None until there is one.
    aside : Node or None
        A second record of the same value, computed from the probability instead of its logit (see `Origin`). It leads
        to that probability and to nothing else.
    site : str or None
        The user's line, known under `detect_anomaly` only.
    """

    __slots__ = ("aside", "dtype", "edges", "grad", "hooks", "retains", "rule", "shape", "site", "time")

    edges: tuple[Edge, ...] | None
    hooks: dict[object, Callable[[Any], Any]] | None

    def __init__(self, edges: Any, rule: Rule | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.time = _clock()
        self.edges = edges
        self.rule = rule
        self.shape = shape
        self.dtype = dtype
        self.grad: ndarray | None = None
        self.hooks = None
        self.retains = rule is None
        self.aside: Node | None = None
        self.site: str | None = None

    @property
    def name(self) -> str:
        """The public name of the operation, for messages."""
        return "a leaf" if self.rule is None else self.rule.name


def _numbers(data: Any, what: str, kinds: str = "biuf") -> ndarray:
    """`data` as a plain array, itself if it is one; what NumPy would silently take for something else is refused."""
    if isinstance(data, ndarray) and data.__class__ is not ndarray and not isinstance(data, np.memmap):
        raise TypeError(f"{what}: got a {type(data).__name__}; pass a plain array, masks are not supported")
    try:
        values = np.asarray(data)
    except ValueError as error:
        raise TypeError(f"{what}: the data are ragged or no numbers: {error}") from error
    if values.dtype.kind not in kinds:
        real = "real numbers" if "c" not in kinds else "numbers"
        if hasattr(data, "toarray"):
            real += "; a sparse matrix must be made dense, with toarray()"
        raise TypeError(f"{what}: got data of dtype {values.dtype} ({type(data).__name__}); wanted {real}")
    return values


# --- operators and methods ----------------------------------------------------------------------------------------


def _face(fun: Callable[..., Any]) -> Callable[..., Tensor]:
    """What a call of `fun` on a Tensor runs."""
    return RULES[fun].call


def _unary(fun: np.ufunc) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Any:
        return RULES[fun].call(self)

    return method


def _binary(fun: np.ufunc) -> Callable[[Tensor, Any], Tensor]:
    def method(self: Tensor, other: Any) -> Any:
        return RULES[fun].call(self, other)

    return method


def _reflected(fun: np.ufunc) -> Callable[[Tensor, Any], Tensor]:
    """The operator of a right operand."""

    def method(self: Tensor, other: Any) -> Any:
        return RULES[fun].call(other, self)

    return method


def _call(fun: Callable[..., Any]) -> Callable[..., Tensor]:
    """NumPy's function as a method."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return RULES[fun].call(self, *args, **kwargs)

    method.__name__ = fun.__name__
    method.__doc__ = f"As `numpy.{fun.__name__}`."
    return method


def _augmented(operation: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Tensor]:
    """`y += x` is `y = y + x`; a leaf under `no_grad` takes the new values instead, as an update step expects."""

    def method(self: Tensor, other: Any) -> Any:
        result = operation(self, other)
        if MODE.get().record or not self.is_leaf:
            return result
        self._store(np.array(plain(result)))
        return self

    return method


def _compared(operation: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    """A comparison of values: plain booleans."""

    def method(self: Tensor, other: Any) -> Any:
        trace = MODE.get().trace
        if trace is not None:
            return trace.constant(operation, (self, other), {})
        return operation(self._value, plain_value(other))

    return method


# --- the handle ---------------------------------------------------------------------------------------------------


class Tensor:
    """An array that NumPy's and SciPy's own functions work on while the computation is recorded.

    Parameters
    ----------
    data : array_like
        Numbers; copied. Not complex, not objects, not text.
    requires_grad : bool
        Whether derivatives with respect to it will be wanted; floating-point data only.
    dtype : dtype, optional
        Of the values; that of `data` by default, float64 for Python floats.

    Attributes
    ----------
    data : ndarray
        The values. Of a leaf writable, and writes count from the next use on; of a result a read-only view.
    grad : ndarray or None
        The gradient that `backward` has accumulated here; shape and dtype of the values.
    requires_grad, is_leaf, shape, dtype, ndim, size, T, mT
        As in NumPy and PyTorch.

    Raises
    ------
    TypeError
        If the data are no real numbers, or integers that should require a gradient.

    Notes
    -----
    `==` compares elementwise and the hash is that of the object, as for arrays. `t[i] = v` gives this handle a new
    value and leaves every value computed before as it was.

    Examples
    --------
    >>> import numpy as np
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = np.sum(np.exp(x) * x)
    >>> y.backward()
    >>> np.allclose(x.grad, np.exp([1, 2]) * [2, 3])
    True
    """

    __slots__ = ("__weakref__", "_data", "_lent", "_node", "_origin")

    __array_priority__: ClassVar[float] = 1000.0  # scipy.sparse leaves the operation to us

    _data: ndarray  # never written to; None while `_lent` holds the values
    _lent: ndarray | None  # what `.data` handed out; the caller may write to it until the next use
    _node: Node | None
    _origin: Any  # what a probability was computed from; see ops.logistic

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        given = _numbers(data, "Tensor")
        # In the machine's byte order, as every result of NumPy's is.
        values = np.array(given, dtype=np.dtype(dtype or given.dtype).newbyteorder("="), order="K")
        if values.dtype.kind not in "biuf":
            raise TypeError(f"Tensor: dtype={values.dtype} is not for real numbers")
        if requires_grad and values.dtype.kind != "f":
            raise TypeError(
                f"Tensor: data of dtype {values.dtype} cannot require a gradient; write floats, or dtype=float"
            )
        self._data = values
        self._node = Node((), None, values.shape, values.dtype) if requires_grad else None
        self._origin = None
        trace = MODE.get().trace
        if trace is not None:
            trace.made(data, values)

    # --- values -----------------------------------------------------------------------------------------------

    @property
    def _value(self) -> ndarray:
        """The values as they are now, for reading."""
        value = self._data
        lent = None if value is not None else self._lent
        return self._data if lent is None else lent

    def _read(self) -> ndarray:
        """A read-only view of the values, tracked or not."""
        self._escape("its values were read")
        view = self._value.view()
        view.flags.writeable = False
        return view

    def _escape(self, how: str) -> None:
        """Say that a value goes where the gate does not see it, to whoever is tracing."""
        trace = MODE.get().trace
        if trace is not None:
            trace.fail(how)

    def _settle(self) -> ndarray:
        """Take a private copy of what `.data` handed out, and lock that: from now on a graph may keep the values."""
        lent = self._lent
        if lent is not None:  # another thread may have been first
            self._data = lent.copy()
            lent.flags.writeable = False
            self._lent = None
        return self._data

    def _store(self, values: Array) -> None:
        """New values for this handle, in its shape and dtype; `values` must belong to nobody else."""
        if values.shape != self.shape:
            raise ShapeError(f"Tensor: cannot store values of shape {values.shape} in a tensor of shape {self.shape}")
        values = values.astype(self.dtype, casting="same_kind", copy=False)
        if self._data is None:
            self._settle()
        self._data, self._origin = values, None

    @property
    def data(self) -> ndarray:
        """The values, writable for a leaf, read-only for a result."""
        self._escape("its .data was read")
        if not self.is_leaf:
            return self._read()
        if self._data is not None:
            self._lent = self._data.copy()
            self._data = None  # type: ignore[assignment]  # says that the values are lent, at no cost per operation
            self._origin = None
        return self._value

    @data.setter
    def data(self, values: Any) -> None:
        self._escape("its .data was set")
        if not self.is_leaf:
            raise GraphError(
                f"data: a result of {self._known_node().name} cannot be set; set a leaf, or use t[...] = v"
            )
        if self._data is not None or values is not self._lent:
            self._store(np.array(_numbers(plain(values), "data")))

    @property
    def grad(self) -> ndarray | None:
        """The accumulated gradient, None before the first `backward`."""
        self._escape("its .grad was read")
        return None if self._node is None else self._node.grad

    @grad.setter
    def grad(self, values: Any) -> None:
        if values is self.grad:  # after `t.grad *= 2`
            return
        node = self._known_node()
        if values is not None:
            values = np.array(_numbers(plain(values), "grad"), dtype=node.dtype)
            if values.shape != node.shape:
                raise ShapeError(f"grad: got shape {values.shape} for a tensor of shape {node.shape}")
        node.grad = values

    @property
    def requires_grad(self) -> bool:
        """Whether derivatives with respect to it are recorded."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if not self.is_leaf:
            raise GraphError("requires_grad: only a leaf can be switched; use detach() on a result")
        self._origin = None
        if wanted and self._node is None:
            if self.dtype.kind != "f":
                raise TypeError(f"requires_grad: data of dtype {self.dtype} cannot require a gradient")
            self._node = Node((), None, self.shape, self.dtype)
        elif not wanted:
            self._node = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch `requires_grad` of a leaf, and return it."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than computed from tracked tensors."""
        return self._node is None or self._node.rule is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._value.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._value.size

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return self._value.nbytes

    def numpy(self) -> ndarray:
        """A copy of the values as a plain array; refused while a gradient is tracked, see `detach`."""
        return self.__array__()

    def item(self, *index: Any) -> Any:
        """One element as a Python number, also of a tracked tensor."""
        self._escape("item() was called")
        return self._value.item(*index)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; refused while a gradient is tracked."""
        return self.__array__().tolist()

    def detach(self) -> Tensor:
        """The same values, not tracked."""
        result: Tensor = _new(Tensor)
        value = self._data
        result._data = self._settle() if value is None else value
        result._node = result._origin = None
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        if self._node is not None:
            _refuse_conversion("an array", "np.stack([t, u]) joins tensors, ")
        self._escape("it was converted to an array")
        if copy is False:
            return self._read() if dtype is None else np.asarray(self._read(), dtype=dtype, copy=False)
        return np.array(self._value, dtype=dtype)

    @property
    def _mask(self) -> NoReturn:  # numpy.ma asks for it, and would else take our `_data` for its own
        raise TypeError("a Tensor does not mix with masked arrays; pass a plain array, masks are not supported")

    def __float__(self) -> float:
        return float(self._plain_scalar("a float"))

    def __int__(self) -> int:
        return int(self._plain_scalar("an int"))

    def __complex__(self) -> complex:
        return complex(self._plain_scalar("a complex"))

    def __index__(self) -> int:
        return operator.index(self._plain_scalar("an index"))

    def __round__(self, ndigits: int | None = None) -> int | float:
        rounded: int | float = round(self._plain_scalar("a rounded number", "np.round(t) has derivative 0, "), ndigits)
        return rounded

    def __trunc__(self) -> int:
        return int(self._plain_scalar("an int", "np.trunc(t) has derivative 0, "))

    def __dlpack__(self, **options: Any) -> Any:
        return self.__array__().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._value.__dlpack_device__()

    if not TYPE_CHECKING:  # type checkers would take every attribute for known

        def __getattr__(self, name: str) -> NoReturn:  # asked for what is not there
            hint = ""
            if hasattr(ndarray, name) and not name.startswith("_"):
                hint = f"; arrays have it: t.detach().numpy().{name}, of a copy of the values and without derivative"
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def _plain_scalar(self, kind: str, hint: str = "") -> Any:
        if self._node is not None:
            hint = hint or "math.exp(t) must be np.exp(t), an array to be filled np.zeros_like(t), "
            _refuse_conversion(kind, hint)
        self._escape(f"it was converted to {kind}")
        return self._value.item()

    def as_integer_ratio(self) -> tuple[int, int]:
        """One element as a fraction, which `statistics` computes with; a tracked tensor refuses."""
        ratio: tuple[int, int] = self._plain_scalar("a fraction").as_integer_ratio()
        return ratio

    def __bool__(self) -> bool:
        self._escape("Python asked whether it is true")
        return bool(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        self._escape("it was printed")
        values = np.array2string(self._value, separator=", ", prefix="Tensor(")
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        origin = "" if self._node is None else ", requires_grad=True" if self.is_leaf else f", from {self._node.name}"
        return f"{type(self).__name__}({values}{dtype}{origin})"

    def _repr_html_(self) -> str:
        from .html import preformatted  # which imports what nothing else needs

        return preformatted(repr(self))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else format(str(self), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise GraphError("a result cannot be pickled or copied with its graph; use t.detach() or np.copy(t)")
        return _rebuild, (type(self), self._value, self.requires_grad, self.grad)

    # --- the graph --------------------------------------------------------------------------------------------

    def _known_node(self) -> Node:
        if self._node is None:
            raise GraphError("this tensor does not require a gradient, and was not computed from one that does")
        return self._node

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the derivative of this tensor to the `.grad` of every leaf it was computed from.

        Parameters
        ----------
        gradient : array_like of this shape, optional
            The cotangent to start from; 1 by default, which asks for a scalar.
        retain_graph : bool
            Keep what the graph holds, so that `backward` can be called again.

        Raises
        ------
        GraphError
            If nothing was recorded, the graph has been freed, or this is no scalar and `gradient` is missing.
        ShapeError
            If `gradient` has another shape.
        """
        from .backward import backward  # backward stands on this module

        backward(self, gradient, retain_graph)

    def retain_grad(self) -> None:
        """Have `backward` store the gradient of this result in `.grad`, as it does for leaves."""
        self._known_node().retains = True

    def register_hook(self, hook: Callable[[ndarray], Any]) -> Callable[[], None]:
        """Call `hook(ct)` with the complete cotangent of this tensor in each backward; what it returns replaces it.

        Parameters
        ----------
        hook : callable
            Gets an ndarray of this shape (under `create_graph` a Tensor); returns None or a replacement.

        Returns
        -------
        callable
            Takes the hook away again.
        """
        if not callable(hook):
            raise TypeError(f"register_hook: got a {type(hook).__name__}, wanted a function of the cotangent")
        node, key = self._known_node(), object()
        node.hooks = {**(node.hooks or {}), key: hook}

        def remove() -> None:
            node.hooks = {k: h for k, h in (node.hooks or {}).items() if k is not key} or None

        return remove

    # --- NumPy's protocols ------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = RULES.get(ufunc)
        if rule is None:
            load_scipy_rules()
            rule = RULES.get(ufunc)
        if rule is not None and method == "__call__" and not kwargs:
            return rule.call(*inputs)
        if not _any_tracked((inputs, kwargs)):
            written = inputs[:1] if method == "at" else kwargs.get("out", ())
            if any(isinstance(t, Tensor) for t in written):
                return _written(ufunc, method, inputs, kwargs, written[0])
            return getattr(ufunc, method)(*map(plain, inputs), **{k: plain(v) for k, v in kwargs.items()})
        if rule is None:
            raise no_rule(ufunc)
        if method != "__call__":
            face = METHODS.get((ufunc, method))
            if face is None:
                raise NoRuleError(f"{rule.name}.{method} has no derivative rule; the plain call has, or use t.detach()")
            return face(*inputs, **kwargs)
        return _with_keywords(rule, inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rule = RULES.get(func)
        if rule is None and func.__module__ == "numpy.fft":
            load_fft_rules()
            rule = RULES.get(func)
        if rule is not None:
            return rule.call(*args, **kwargs)
        if _any_tracked((args, kwargs)):
            raise no_rule(func)
        return func(*map(plain, args), **{k: plain(v) for k, v in kwargs.items()})

    def __getitem__(self, index: Any) -> Tensor:
        return _face(operator.getitem)(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        _face(operator.setitem)(self, index, value)

    # --- operators --------------------------------------------------------------------------------------------

    __neg__ = _unary(np.negative)
    __pos__ = _unary(np.positive)
    __abs__ = _unary(np.absolute)
    __add__ = _binary(np.add)
    __radd__ = _reflected(np.add)
    __sub__ = _binary(np.subtract)
    __rsub__ = _reflected(np.subtract)
    __mul__ = _binary(np.multiply)
    __rmul__ = _reflected(np.multiply)
    __truediv__ = _binary(np.divide)
    __rtruediv__ = _reflected(np.divide)
    __matmul__ = _binary(np.matmul)
    __rmatmul__ = _reflected(np.matmul)
    __floordiv__ = _call(np.floor_divide)
    __mod__ = _call(np.remainder)
    __rpow__ = _reflected(np.power)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _face(np.floor_divide)(other, self)

    def __rmod__(self, other: Any) -> Tensor:
        return _face(np.remainder)(other, self)

    def __divmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __pow__(self, other: Any) -> Any:
        if other.__class__ in SCALARS:  # the exponents that ndarray has shorter ways for, too
            shorter = _POWERS.get(other)
            if shorter is not None and self.dtype.kind == "f":
                return RULES[shorter].call(self)
        return RULES[np.power].call(self, other)

    # Of booleans and integers: plain results, as of comparisons.
    __and__ = _binary(np.bitwise_and)
    __rand__ = _reflected(np.bitwise_and)
    __or__ = _binary(np.bitwise_or)
    __ror__ = _reflected(np.bitwise_or)
    __xor__ = _binary(np.bitwise_xor)
    __rxor__ = _reflected(np.bitwise_xor)
    __invert__ = _unary(np.invert)

    __iadd__ = _augmented(operator.add)
    __isub__ = _augmented(operator.sub)
    __imul__ = _augmented(operator.mul)
    __itruediv__ = _augmented(operator.truediv)
    __ifloordiv__ = _augmented(operator.floordiv)
    __imod__ = _augmented(operator.mod)
    __ipow__ = _augmented(operator.pow)
    __imatmul__ = _augmented(operator.matmul)

    __eq__ = _compared(operator.eq)
    __ne__ = _compared(operator.ne)
    __lt__ = _compared(operator.lt)
    __le__ = _compared(operator.le)
    __gt__ = _compared(operator.gt)
    __ge__ = _compared(operator.ge)
    __hash__ = object.__hash__

    # --- ndarray's methods: NumPy's functions --------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return _face(np.matrix_transpose)(self)

    @property
    def real(self) -> Tensor:
        """The real part."""
        return np.real(self)

    @property
    def imag(self) -> Tensor:
        """The imaginary part."""
        return np.imag(self)

    @property
    def flat(self) -> Iterator[Tensor]:
        """The elements one by one."""
        return iter(self.ravel())

    def astype(self, dtype: Any) -> Tensor:
        """The values in another dtype; derivatives pass between floating-point types, and end at others."""
        return _face(ndarray.astype)(self, dtype)

    def reshape(self, *shape: Any, order: str = "C") -> Tensor:
        """As `numpy.reshape`; the lengths may also be given one by one."""
        return _face(np.reshape)(self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes: Any) -> Tensor:
        """As `numpy.transpose`; the axes may also be given one by one."""
        return _face(np.transpose)(self, axes[0] if len(axes) == 1 else axes or None)

    def flatten(self, order: str = "C") -> Tensor:
        """As `ndarray.flatten`."""
        return self.ravel(order)

    def compress(self, condition: Any, axis: int | None = None) -> Tensor:
        """As `numpy.compress`."""
        return np.compress(condition, self, axis)  # type: ignore[return-value]

    sum = _call(np.sum)
    mean = _call(np.mean)
    max = _call(np.max)
    min = _call(np.min)
    var = _call(np.var)
    std = _call(np.std)
    prod = _call(np.prod)
    cumsum = _call(np.cumsum)
    cumprod = _call(np.cumprod)
    ravel = _call(np.ravel)
    squeeze = _call(np.squeeze)
    swapaxes = _call(np.swapaxes)
    repeat = _call(np.repeat)
    take = _call(np.take)
    diagonal = _call(np.diagonal)
    trace = _call(np.trace)
    clip = _call(np.clip)
    dot = _call(np.dot)
    round = _call(np.round)
    conj = conjugate = _call(np.conj)
    copy = _call(np.copy)
    choose = _call(np.choose)

    # Plain arrays, since they have no derivative.
    argmax: Callable[..., Any] = _call(np.argmax)
    argmin: Callable[..., Any] = _call(np.argmin)
    argsort: Callable[..., Any] = _call(np.argsort)
    any: Callable[..., Any] = _call(np.any)
    all: Callable[..., Any] = _call(np.all)
    nonzero: Callable[..., Any] = _call(np.nonzero)
    searchsorted: Callable[..., Any] = _call(np.searchsorted)


_new = object.__new__
_POWERS: Final[dict[Any, np.ufunc]] = {1: np.positive, 2: np.square, 0.5: np.sqrt, -1: np.reciprocal}


def shape_of(x: Any) -> tuple[int, ...]:
    """`np.shape(x)`, of a Tensor or an array in a tenth of the time."""
    if isinstance(x, Tensor):
        value = x._data
        return (x._value if value is None else value).shape
    return x.shape if x.__class__ is ndarray else np.shape(x)


def ndim_of(x: Any) -> int:
    """`np.ndim(x)`, as `shape_of`."""
    return len(shape_of(x))


def plain_value(other: Any) -> Any:
    """The values of a Tensor, tracked or not, for comparisons; anything else as it is."""
    return other._value if isinstance(other, Tensor) else other


def _written(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any], target: Any) -> Any:
    """An untracked Tensor written to by `ufunc.at` or `out=`: it takes new values, as from an assignment."""
    values = np.array(target._value)
    operands = [values if method == "at" and a is target else plain(a) for a in inputs]
    kwargs = {k: plain(v) for k, v in kwargs.items()} | ({"out": values} if method != "at" else {})
    getattr(ufunc, method)(*operands, **kwargs)
    target[...] = values
    return None if method == "at" else target


def refuse_out(name: str, out: Any) -> None:
    """Raise where a tracked result of the function `name` is to go into an array.

    Raises
    ------
    TypeError
        If `out` is not None.
    """
    if out is not None:
        raise TypeError(
            f"{name}: out= cannot take a tracked result; write t = {name}(...) instead, or call it on t.detach()"
        )


def _with_keywords(rule: Rule, inputs: tuple[Any, ...], *, out: Any = None, where: Any = True, **others: Any) -> Any:
    """A ufunc called with `out=` a Tensor, and `where=`; others only where the rule's face has them."""
    if others and rule.kind != "composite":
        given = ", ".join(others)
        raise NoRuleError(f"{rule.name} with {given} has no derivative rule; the plain call has, or use t.detach()")
    target = out[0] if isinstance(out, tuple) else out
    if not isinstance(target, Tensor):
        refuse_out(rule.name, target)
    if target is None and where is not True:
        raise TypeError(f"{rule.name}: where= without out= leaves entries undefined; give out=, or use numpy.where")
    # NumPy leaves out the entries where `where` is False; here they are computed and not chosen, so without a warning.
    with contextlib.nullcontext() if where is True else np.errstate(all="ignore"):
        result = rule.call(*inputs, **others)
    if target is None:
        return result
    target[...] = result if where is True else np.where(plain(where), result, target)
    return target


def _rebuild(kind: type[Tensor], values: ndarray, requires_grad: bool, grad: ndarray | None) -> Tensor:
    """A leaf out of a pickle or a copy."""
    leaf = kind(values, requires_grad=requires_grad)
    leaf.grad = None if grad is None else grad.copy()
    return leaf


def _refuse_conversion(kind: str, hint: str) -> NoReturn:
    from .ops.missing import library_call, nearest  # read once something is refused only

    caller = library_call()
    instead = nearest(caller)
    raise TypeError(
        f"{caller}{': ' if caller else ''}a tensor that requires a gradient cannot become {kind}: its gradient would "
        f"be lost; {f'use {instead}, ' if instead else hint}t.detach() gives up the gradient, t.item() reads one number"
    )


def _any_tracked(value: Any) -> bool:
    """Whether a tracked Tensor is in these arguments, at any depth."""
    if isinstance(value, Tensor):
        return value._node is not None
    if isinstance(value, tuple | list):
        return any(map(_any_tracked, value))
    return isinstance(value, dict) and any(map(_any_tracked, value.values()))
