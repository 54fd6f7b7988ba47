"""Modules made of modules: one after the other, and around a way past."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self, overload

import numpy as np

from ..errors import ShapeError
from ..rules import Array
from ..tensor import Tensor
from .module import Module

__all__ = ["Residual", "Sequential"]


class Sequential(Module):
    """Modules one after the other, each on the result of the one before.

    Parameters
    ----------
    *layers : Module
        Listed under the names '0', '1', ...; or a single dict of them, under its keys.

    Raises
    ------
    TypeError
        If one of them is no Module.

    Examples
    --------
    >>> from tinygrad_fnn.nn import Linear, Sigmoid
    >>> net = Sequential(Linear(400, 25, rng=0), Sigmoid(), Linear(25, 10, rng=1))
    >>> net
    Sequential(
      (0): Linear(400, 25)
      (1): Sigmoid()
      (2): Linear(25, 10)
    )
    >>> [name for name, _ in net.named_parameters()]
    ['0.W', '0.b', '2.W', '2.b']
    >>> len(net), net[-1], len(net[:2])
    (3, Linear(25, 10), 2)
    >>> net = Sequential({"hidden": Linear(4, 3), "act": Sigmoid()}).append(Linear(3, 2))
    >>> net["act"], [name for name, _ in net.named_children()]
    (Sigmoid(), ['hidden', 'act', '2'])
    """

    def __init__(self, *layers: Module | Mapping[str, Module]) -> None:
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        given = layers[0] if named else {str(i): layer for i, layer in enumerate(layers)}
        assert isinstance(given, Mapping)
        self._layers = {_name_of(name): _layer_of(name, layer) for name, layer in given.items()}

    def _members(self) -> Mapping[str, object]:
        return self._layers | {name: value for name, value in vars(self).items() if name != "_layers"}

    def forward(self, x: Array) -> Array:
        """The result of the last layer."""
        for layer in self._layers.values():
            x = layer(x)
        return x

    def append(self, layer: Module) -> Self:
        """Add a layer at the end, under its number; returns the network."""
        name = str(len(self))
        if name in self._layers:
            raise ValueError(f"Sequential.append: the name {name!r} is taken; make a new Sequential of a dict")
        self._layers[name] = _layer_of(name, layer)
        return self

    def extend(self, layers: Iterable[Module]) -> Self:
        """Add several layers at the end, or none and an error; returns the network."""
        added = [_layer_of(str(len(self) + i), layer) for i, layer in enumerate(layers)]
        for layer in added:
            self.append(layer)
        return self

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers.values())

    @overload
    def __getitem__(self, index: int | str) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | str | slice) -> Module:
        """A layer by number or name, or for a slice a Sequential of the same layers, its numbers from 0 again."""
        if isinstance(index, str):
            if index not in self._layers:
                raise KeyError(
                    f"Sequential: no layer is called {index!r}; there are {', '.join(self._layers) or 'none'}"
                )
            return self._layers[index]
        if isinstance(index, slice):
            taken = list(self._layers.items())[index]
            numbered = all(name.isdigit() for name, _ in taken)
            return Sequential(*(layer for _, layer in taken)) if numbered else Sequential(dict(taken))
        return list(self._layers.values())[index]

    def __setitem__(self, index: int | str, layer: Module) -> None:
        """Another layer in the place of one that is there."""
        name = index if isinstance(index, str) else list(self._layers)[index]
        if name not in self._layers:
            raise KeyError(f"Sequential: no layer is called {name!r}; append adds one")
        self._layers[name] = _layer_of(name, layer)


def _name_of(name: object) -> str:
    """The key of a layer, which its parameters will be called after."""
    if not isinstance(name, str) or not name or "." in name:
        raise TypeError(f"Sequential: a name must be text without a dot; got {name!r}")
    return name


def _layer_of(name: object, layer: object) -> Module:
    if isinstance(layer, Module):
        return layer
    hint = "; give its layers one by one: Sequential(*layers)" if isinstance(layer, list | tuple) else ""
    hint = "; make an object of it: " + layer.__name__ + "(...)" if isinstance(layer, type) else hint
    raise TypeError(f"Sequential: layer {name} must be a Module; got {type(layer).__name__}{hint}")


class Residual(Module):
    """``x + f(x)``: a module with a way past it.

    Parameters
    ----------
    f : Module
        Gives the shape that it takes.

    Raises
    ------
    TypeError
        If `f` is no Module.
    ShapeError
        On a call, if the shapes differ: nothing is broadcast.

    References
    ----------
    He et al., *Deep residual learning for image recognition* (2015), eq. 1.

    Examples
    --------
    >>> from tinygrad_fnn.nn import Tanh
    >>> Residual(Tanh())([0.0, 100.0])
    Tensor([  0., 101.])
    """

    def __init__(self, f: Module) -> None:
        if not isinstance(f, Module):
            raise TypeError(f"Residual: f must be a Module; got {type(f).__name__}")
        self.f = f

    def forward(self, x: Array) -> Tensor:
        """The sum, shape of `x`."""
        past = x if isinstance(x, Tensor) else np.asarray(x)
        through = self.f(x)
        if past.shape != through.shape:
            raise ShapeError(f"Residual: x is {past.shape}, f(x) is {through.shape}; wanted equal shapes from {self.f}")
        return past + through  # type: ignore[no-any-return]  # a module gives what its forward gives
