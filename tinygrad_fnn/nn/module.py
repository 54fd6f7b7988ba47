"""Module: what holds parameters and computes with them. Parameters are found by looking at the attributes.

There is no registration: an attribute that is a `Parameter`, a `Buffer` or a `Module`, or a list, tuple or dict of
them, counts as soon as it is assigned, and no constructor of ours needs to run for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..html import preformatted
from ..modes import effect
from ..rules import Array, plain
from ..tensor import Tensor
from .arguments import floating_of
from .hooks import Handle, Hooks, call_hooked
from .summary import summary

__all__ = ["Buffer", "Module", "Parameter"]


class Parameter(Tensor):
    """A Tensor that a module learns.

    Parameters
    ----------
    data : array_like
        First values; copied. Integers are an error.
    requires_grad : bool
        False for a parameter that is held fixed.
    dtype : dtype, optional
        Of the values.

    Examples
    --------
    >>> Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:  # Any: as for Tensor
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A Tensor that belongs to a module's state and is not learned: a running mean, the weights of a loss.

    Parameters
    ----------
    data : array_like
        First values; copied. Integers and booleans are welcome.
    persistent : bool
        Whether it is in the `state_dict`.
    dtype : dtype, optional
        Of the values.

    Examples
    --------
    >>> Buffer([0.0, 0.0]).requires_grad
    False
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any, persistent: bool = True, dtype: Any = None) -> None:  # Any: as for Tensor
        super().__init__(data, False, dtype)
        self.persistent = persistent

    def __reduce__(self) -> tuple[Any, ...]:
        return Buffer, (self._value, self.persistent)


Held = Parameter | Buffer


class Module:
    """A part of a network: subclass it, assign parameters and modules as attributes, write `forward`.

    Attributes
    ----------
    training : bool
        Whether the module is being trained; see `train` and `eval`.

    Notes
    -----
    The order is that of assignment. A parameter or module that is reachable in two ways is listed once, under the
    first name.

    Examples
    --------
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter(2.0)
    ...
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> scale = Scale()
    >>> scale(3.0).item()
    6.0
    >>> [name for name, _ in scale.named_parameters()]
    ['factor']
    """

    training: bool = True  # of the class, so that a subclass need not call super().__init__()
    _hooks: Hooks | None = None  # likewise; without hooks a call costs this one look more

    def forward(self, *args: Array, **kwargs: Array) -> Array:
        """What calling the module computes; each subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write forward(self, x)")

    def __call__(self, *args: Array, **kwargs: Array) -> Array:
        """The result of `forward`, seen by the hooks."""
        if self._hooks is None:
            return self.forward(*args, **kwargs)
        return call_hooked(self, self._hooks, args, kwargs)

    # --- what is inside ---------------------------------------------------------------------------------------

    def _members(self) -> Mapping[str, object]:
        """What is looked through for parameters and modules, by name."""
        return vars(self)

    def _found(self) -> Iterator[tuple[str, Held | Module, Module]]:
        """Every parameter, buffer and module here once, itself first: name, what it is, the module it is in."""
        seen = {id(self)}

        def look(module: Module, prefix: str) -> Iterator[tuple[str, Held | Module, Module]]:
            yield prefix, module, module
            for name, value in _leaves(module._members(), prefix, seen):
                if isinstance(value, Module):
                    yield from look(value, name)
                else:
                    yield name, value, module

        return look(self, "")

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """The module itself, under the name '', and every one inside it, under dotted names."""
        return ((name, value) for name, value, _ in self._found() if isinstance(value, Module))

    def modules(self) -> Iterator[Module]:
        """The module itself and every one inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, each once, with their names."""
        return ((name, value) for name, value in _leaves(self._members(), "", {id(self)}) if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one, each once."""
        return (module for _, module in self.named_children())

    def _found_parameters(self) -> Iterator[tuple[str, Parameter, Module]]:
        return ((name, value, owner) for name, value, owner in self._found() if isinstance(value, Parameter))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name: 'layers.0.W'."""
        return ((name, value) for name, value, _ in self._found_parameters())

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer once, with its dotted name: 'norm.running_mean'."""
        return ((name, value) for name, value, _ in self._found() if isinstance(value, Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """Every buffer once."""
        return (buffer for _, buffer in self.named_buffers())

    def register_buffer(self, name: str, data: Any, persistent: bool = True) -> None:  # Any: as for Tensor
        """Set the attribute `name` to a `Buffer` of `data`, or to None, which holds the place of none."""
        setattr(self, name, None if data is None else Buffer(data, persistent))

    def _by_name(self) -> dict[str, Held]:
        """Parameters and lasting buffers by name; keys like 1 and '1' of a dict would give one name to two."""
        named: dict[str, Held] = {}
        for name, value, _ in self._found():
            if isinstance(value, Module) or (isinstance(value, Buffer) and not value.persistent):
                continue
            if name in named:
                raise ValueError(f"{type(self).__name__}: two parameters are called {name}; rename a key")
            named[name] = value
        return named

    def apply(self, fun: Callable[[Module], object]) -> Self:
        """Call `fun` on every module inside and on this one, each once, the inner ones first; returns the module."""
        seen = {id(self)}

        def visit(module: Module) -> None:
            for child in list(module.children()):
                if id(child) not in seen:
                    seen.add(id(child))
                    visit(child)
            fun(module)

        visit(self)
        return self

    # --- training -----------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in every module inside; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    @effect
    def zero_grad(self) -> None:
        """Forget every accumulated gradient: `.grad` becomes None."""
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Have every parameter learned, or held fixed; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, dtype: Any) -> Self:  # Any: a dtype in any of NumPy's spellings
        """Convert every parameter with its gradient, and every floating-point buffer, in place.

        Parameters
        ----------
        dtype : dtype
            Floating point.

        Returns
        -------
        Module
            This one; its parameters are the same objects, so that an optimizer goes on with them.

        Raises
        ------
        TypeError
            If `dtype` is not floating point.
        """
        kind = floating_of(f"{type(self).__name__}.to", dtype)
        for _, value, _ in self._found():
            if not isinstance(value, Module) and value.dtype.kind == "f":
                _convert(value, kind)
        return self

    def float(self) -> Self:
        """`to` float32, as in PyTorch."""
        return self.to(np.float32)

    def double(self) -> Self:
        """`to` float64."""
        return self.to(np.float64)

    # --- hooks --------------------------------------------------------------------------------------------------

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have every call of the module seen by `hook`.

        Parameters
        ----------
        hook : callable
            ``hook(module, args, out)`` gets the positional arguments and the result; what it returns, unless None,
            takes the place of the result.

        Returns
        -------
        Handle
            Takes the hook away: by `remove`, or at the end of a `with` block.

        Examples
        --------
        >>> net = Module()
        >>> net.forward = lambda x: 2 * x
        >>> with net.register_forward_hook(lambda module, args, out: print(args, out)):
        ...     _ = net(3)
        (3,) 6
        """
        return self._register("forward", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have every backward through the module seen by `hook`.

        Parameters
        ----------
        hook : callable
            ``hook(module, grad_input, grad_output)`` gets two tuples: the cotangents of the positional arguments, None
            for those that are not tracked, and of the results. What it returns, unless None, takes the place of
            `grad_input`; that asks for one tracked argument.

        Returns
        -------
        Handle
            Takes the hook away for calls to come: by `remove`, or at the end of a `with` block.

        Notes
        -----
        A hook may change the cotangent of a probability, so a loss cannot go past it to the logit: on `Sigmoid` or
        `BCELoss` it costs the exactness of saturated units. `capture` does not, nor does a hook on `BCEWithLogitsLoss`.
        """
        return self._register("backward", hook)

    def _register(self, direction: str, hook: Callable[..., Any]) -> Handle:
        if not callable(hook):
            raise TypeError(f"{type(self).__name__}: a {direction} hook must be callable; got a {type(hook).__name__}")
        hooks = self._hooks = self._hooks or Hooks()
        key = object()
        getattr(hooks, direction)[key] = hook

        def take_away() -> None:
            getattr(hooks, direction).pop(key, None)
            if self._hooks is hooks and not hooks.forward and not hooks.backward:
                del self._hooks

        return Handle(take_away)

    # --- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, ndarray]:
        """The values of all parameters and buffers by name: copies, which later training does not change."""
        return {name: held._value.copy() for name, held in self._by_name().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the values of all parameters and buffers from `state`: all of them, or none and an error.

        Parameters
        ----------
        state : mapping from str to array_like
            A value for each name of `state_dict`, in its shape; copied, and converted to its dtype.

        Raises
        ------
        ValueError
            If names are missing or unknown, or shapes differ (`ShapeError` if that is all); every difference is named.
        TypeError
            If `state` is no mapping, or a value holds no real numbers, or fractions for a buffer of integers.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: state must map names to arrays; got a {type(state).__name__}")
        held = self._by_name()
        values = {name: _numbers(name, state[name], held[name].dtype) for name in held if name in state}
        missing = [f"missing: {name} {h.shape}" for name, h in held.items() if name not in state]
        unknown = [f"unexpected: {name} {np.shape(plain(v))}" for name, v in state.items() if name not in held]
        misfits = [
            f"shape: {name} is {value.shape}, wanted {held[name].shape}"
            for name, value in values.items()
            if value.shape != held[name].shape
        ]
        if missing or unknown or misfits:
            kind = ValueError if missing or unknown else ShapeError
            head = f"load_state_dict: the state does not fit {type(self).__name__}; nothing was loaded"
            raise kind("\n  ".join([head, *missing, *unknown, *misfits]))
        for name, value in values.items():
            held[name].data = value

    # --- text ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of the representation, before the modules inside."""
        return ""

    def __repr__(self) -> str:
        inner = list(self.named_children())
        if not inner:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in inner]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def _repr_html_(self) -> str:
        return preformatted(f"{self!r}\n\n{Module.summary(self)}")

    def summary(self, input_shape: int | Sequence[int] | None = None) -> str:
        """The modules as a table: see `nn.summary`."""
        return summary(self, input_shape)


def _leaves(members: Mapping[Array, object], prefix: str, seen: set[int]) -> Iterator[tuple[str, Held | Module]]:
    """Parameters, buffers and modules among `members`, also in lists, tuples and dicts, that are not in `seen` yet."""
    for key, value in members.items():
        if not isinstance(value, Parameter | Buffer | Module | list | tuple | dict) or id(value) in seen:
            continue
        name = f"{prefix}.{key}" if prefix else str(key)
        seen.add(id(value))
        if isinstance(value, Parameter | Buffer | Module):
            yield name, value
        else:
            yield from _leaves(value if isinstance(value, dict) else dict(enumerate(value)), name, seen)


def _convert(held: Held, dtype: np.dtype[Any]) -> None:
    """Give a leaf another dtype in place; its node stays, and with it hooks and identity."""
    grad, values = held.grad, held.detach()._data.astype(dtype)
    held._data, held._origin = values, None
    if held._node is not None:
        held._node.dtype = dtype
        held.grad = None if grad is None else grad.astype(dtype)


def _numbers(name: str, value: Array, dtype: np.dtype[Any]) -> ndarray:
    """An array of real numbers out of a state, in the dtype of its place."""
    values = np.asarray(plain(value))
    if values.dtype.kind not in "biuf":
        raise TypeError(f"load_state_dict: {name} has dtype {values.dtype}, wanted real numbers")
    converted = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(converted, values):
        raise TypeError(f"load_state_dict: {name} has values that are no {dtype}; dtype is {values.dtype}")
    return converted
