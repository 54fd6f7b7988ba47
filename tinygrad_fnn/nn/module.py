"""Module: what holds parameters and computes with them. Parameters are found by looking at the attributes.

There is no registration: an attribute that is a `Parameter` or a `Module`, or a list, tuple or dict of them, counts as
soon as it is assigned, and no constructor of ours needs to run for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..rules import Array, plain
from ..tensor import Tensor

__all__ = ["Module", "Parameter"]


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

    def forward(self, *args: Array, **kwargs: Array) -> Array:
        """What calling the module computes; each subclass writes its own."""
        raise NotImplementedError(f"{type(self).__name__}: write forward(self, x)")

    def __call__(self, *args: Array, **kwargs: Array) -> Array:
        """The result of `forward`."""
        return self.forward(*args, **kwargs)

    # --- what is inside ---------------------------------------------------------------------------------------

    def _members(self) -> Mapping[str, object]:
        """What is looked through for parameters and modules, by name."""
        return vars(self)

    def _found(self) -> Iterator[tuple[str, Parameter | Module, Module]]:
        """Every parameter and module in here once, itself first, in order: name, what it is, the module it is in."""
        seen = {id(self)}

        def look(module: Module, prefix: str) -> Iterator[tuple[str, Parameter | Module, Module]]:
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

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name: 'layers.0.W'."""
        return ((name, value) for name, value, _ in self._found() if isinstance(value, Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def _by_name(self) -> dict[str, Parameter]:
        """`named_parameters` as a dict; keys like 1 and '1' of a dict of modules would give one name to two."""
        named: dict[str, Parameter] = {}
        for name, parameter in self.named_parameters():
            if name in named:
                raise ValueError(f"{type(self).__name__}: two parameters are called {name}; rename a key")
            named[name] = parameter
        return named

    # --- training -----------------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and in every module inside; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every accumulated gradient: `.grad` becomes None."""
        for parameter in self.parameters():
            parameter.grad = None

    # --- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, ndarray]:
        """The values of all parameters by name: copies, which later training does not change."""
        return {name: parameter._value.copy() for name, parameter in self._by_name().items()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take the values of all parameters from `state`: all of them, or none and an error.

        Parameters
        ----------
        state : mapping from str to array_like
            A value for each name of `named_parameters`, in its shape; copied, and converted to its dtype.

        Raises
        ------
        ValueError
            If names are missing or unknown, or shapes differ (`ShapeError` if that is all); every difference is named.
        TypeError
            If `state` is no mapping or a value holds no real numbers.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: state must map names to arrays; got a {type(state).__name__}")
        parameters = self._by_name()
        values = {name: _numbers(name, state[name]) for name in parameters if name in state}
        missing = [f"missing: {name} {p.shape}" for name, p in parameters.items() if name not in state]
        unknown = [f"unexpected: {name} {np.shape(plain(v))}" for name, v in state.items() if name not in parameters]
        misfits = [
            f"shape: {name} is {value.shape}, wanted {parameters[name].shape}"
            for name, value in values.items()
            if value.shape != parameters[name].shape
        ]
        if missing or unknown or misfits:
            kind = ValueError if missing or unknown else ShapeError
            head = f"load_state_dict: the state does not fit {type(self).__name__}; nothing was loaded"
            raise kind("\n  ".join([head, *missing, *unknown, *misfits]))
        for name, parameter in parameters.items():
            parameter.data = values[name]

    # --- text ---------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of the representation, before the modules inside."""
        return ""

    def __repr__(self) -> str:
        inner = [(name, value) for name, value in _leaves(self._members(), "", {id(self)}) if isinstance(value, Module)]
        if not inner:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [self.extra_repr()] if self.extra_repr() else []
        lines += [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in inner]
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def summary(self) -> str:
        """A table of the modules with the shapes of their own parameters and how many numbers these are.

        Returns
        -------
        str
            A line for each module that holds parameters or no module, and the total.
        """
        own: dict[int, list[tuple[str, Parameter]]] = {}
        for name, value, owner in self._found():
            if isinstance(value, Parameter):
                own.setdefault(id(owner), []).append((name.rpartition(".")[2], value))
        rows = [("module", "kind", "parameters", "count")]
        for name, module in self.named_modules():
            held = own.get(id(module), [])
            if held or len(list(module.modules())) == 1:
                shapes = ", ".join(f"{key} {parameter.shape}" for key, parameter in held)
                rows.append((name or "(itself)", type(module).__name__, shapes, f"{_count(p for _, p in held):,}"))
        fixed = _count(parameter for parameter in self.parameters() if not parameter.requires_grad)
        rows.append(("total", "", f"{fixed:,} of them fixed" if fixed else "", f"{_count(self.parameters()):,}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        form = "{:{}}  {:{}}  {:{}}  {:>{}}"
        lines = [form.format(*(part for pair in zip(row, widths, strict=True) for part in pair)) for row in rows]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _count(parameters: Iterable[Parameter]) -> int:
    return sum(parameter.size for parameter in parameters)


def _leaves(members: Mapping[Array, object], prefix: str, seen: set[int]) -> Iterator[tuple[str, Parameter | Module]]:
    """Parameters and modules among `members`, also inside lists, tuples and dicts, that are not in `seen` yet."""
    for key, value in members.items():
        if not isinstance(value, Parameter | Module | list | tuple | dict) or id(value) in seen:
            continue
        name = f"{prefix}.{key}" if prefix else str(key)
        seen.add(id(value))
        if isinstance(value, Parameter | Module):
            yield name, value
        else:
            yield from _leaves(value if isinstance(value, dict) else dict(enumerate(value)), name, seen)


def _numbers(name: str, value: Array) -> ndarray:
    """An array of real numbers out of a state."""
    values = np.asarray(plain(value))
    if values.dtype.kind not in "biuf":
        raise TypeError(f"load_state_dict: {name} has dtype {values.dtype}, wanted real numbers")
    return values
