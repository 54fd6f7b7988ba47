"""Layers: the affine map, the activations, and layers one after the other."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any, overload

import numpy as np

from ..randomness import Seed, as_generator
from ..rules import Array
from ..tensor import Tensor
from . import functional
from .init import glorot_bound, uniform
from .module import Module, Parameter

__all__ = ["Linear", "ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh", "count_of"]


class Linear(Module):
    """The affine map ``z = x W^T + b``.

    Parameters
    ----------
    in_features, out_features : int > 0
        Width of the input and of the output.
    bias : bool
        Without it `b` is None.
    rng : numpy.random.Generator, int or None
        Where the first values come from; the package's generator by default, see `manual_seed`.
    dtype : dtype
        Of the parameters, floating point.

    Attributes
    ----------
    W : Parameter, shape (out_features, in_features)
        Weights.
    b : Parameter, shape (out_features,), or None
        Biases.

    Raises
    ------
    TypeError
        If a width is no integer, or `dtype` is not floating point.
    ValueError
        If a width is not positive.

    Notes
    -----
    Weights and biases are drawn evenly from ``+-sqrt(6) / sqrt(in + out)`` [1]_. The course draws the bias column with
    the rest of theta, and so does this layer. A seed gives the same numbers in float32 and float64.

    Inputs follow NumPy's promotion: a float64 `x` makes a float32 layer compute in float64. Integer and boolean inputs
    are taken in the dtype of the layer.

    References
    ----------
    .. [1] Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16.

    Equations (8) and (26) to (28) of docs/backprop.md.

    Examples
    --------
    >>> layer = Linear(3, 2, rng=0)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, rng: Seed = None, dtype: Any = float
    ) -> None:  # Any: a dtype in any of NumPy's spellings
        inputs = count_of("Linear", "in_features", in_features)
        outputs = count_of("Linear", "out_features", out_features)
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"Linear: dtype must be floating point; got {np.dtype(dtype)}")
        bound, generator = glorot_bound(inputs, outputs), as_generator(rng)
        self.W = Parameter(uniform((outputs, inputs), bound, generator, dtype))
        self.b = Parameter(uniform((outputs,), bound, generator, dtype)) if bias else None

    def forward(self, x: Array) -> Tensor:
        """The pre-activations of `x`, shape (..., in_features) to (..., out_features)."""
        x = x if isinstance(x, Tensor) else np.asarray(x)
        if x.dtype.kind in "biu":
            x = x.astype(self.W.dtype)
        return functional.linear(x, self.W, self.b)

    def extra_repr(self) -> str:
        """Its arguments."""
        outputs, inputs = self.W.shape
        dtype = "" if self.W.dtype == np.float64 else f", dtype={self.W.dtype}"
        return f"{inputs}, {outputs}{'' if self.b is not None else ', bias=False'}{dtype}"


class Sigmoid(Module):
    """The logistic function, elementwise: see `functional.sigmoid`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [0, 1], shape of `z`."""
        return functional.sigmoid(z)


class Tanh(Module):
    """The hyperbolic tangent, elementwise: see `numpy.tanh`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [-1, 1], shape of `z`."""
        return functional.tanh(z)


class ReLU(Module):
    """The larger of `z` and 0, elementwise, with derivative 0 at 0: see `functional.relu`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [0, inf), shape of `z`."""
        return functional.relu(z)


class Softmax(Module):
    """Exponentials divided by their sum: see `functional.softmax`.

    Parameters
    ----------
    axis : int
        Along which the results sum to 1.

    Notes
    -----
    `CrossEntropyLoss` takes the logits, before this layer.
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = operator.index(axis)

    def forward(self, z: Array) -> Tensor:
        """Probabilities, shape of `z`."""
        return functional.softmax(z, axis=self.axis)

    def extra_repr(self) -> str:
        """Its axis."""
        return f"axis={self.axis}"


class Sequential(Module):
    """Modules one after the other, each on the result of the one before.

    Parameters
    ----------
    *layers : Module
        Listed under the names '0', '1', ...

    Raises
    ------
    TypeError
        If one of them is no Module.

    Examples
    --------
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
    """

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                hint = "; give its layers one by one: Sequential(*layers)" if isinstance(layer, list | tuple) else ""
                hint = "; make an object of it: " + layer.__name__ + "(...)" if isinstance(layer, type) else hint
                raise TypeError(f"Sequential: layer {i} must be a Module; got {type(layer).__name__}{hint}")
        self._layers = layers

    def _members(self) -> Mapping[str, object]:
        own = {str(i): layer for i, layer in enumerate(self._layers)}
        return own | {name: value for name, value in vars(self).items() if name != "_layers"}

    def forward(self, x: Array) -> Array:
        """The result of the last layer."""
        for layer in self._layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """A layer, or for a slice a Sequential of the same layers."""
        return Sequential(*self._layers[index]) if isinstance(index, slice) else self._layers[index]


def count_of(function: str, name: str, value: object) -> int:
    """`value` as a positive int.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is not positive.

    Examples
    --------
    >>> count_of("Linear", "in_features", np.int64(3))
    3
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{function}: {name} must be an integer > 0; got {value!r}")
    if value <= 0:
        raise ValueError(f"{function}: {name} must be > 0; got {value}")
    return int(value)
