"""Layers that hold or rearrange: the affine map, dropout, and those that leave the values as they are."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..ops import linear
from ..randomness import Seed, as_generator
from ..rules import Array, drawn
from ..tensor import Tensor
from .arguments import count_of, floating_of, number_of
from .init import glorot_bound, uniform
from .module import Module, Parameter

__all__ = ["Dropout", "Flatten", "Identity", "Linear", "as_input", "dropout"]


def as_input(function: str, x: Array, dtype: np.dtype[Any]) -> Array:
    """`x` as a Tensor or array of numbers; integers and booleans in `dtype`, that of the layer."""
    x = x if isinstance(x, Tensor) else np.asarray(x)
    if x.dtype.kind not in "biufc":
        raise TypeError(f"{function}: x has dtype {x.dtype}, wanted numbers")
    return x.astype(dtype) if x.dtype.kind in "biu" else x


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
        dtype = floating_of("Linear", dtype)
        bound, generator = glorot_bound(inputs, outputs), as_generator(rng)
        self.W = Parameter(uniform((outputs, inputs), bound, generator, dtype))
        self.b = Parameter(uniform((outputs,), bound, generator, dtype)) if bias else None

    def forward(self, x: Array) -> Tensor:
        """The pre-activations of `x`, shape (..., in_features) to (..., out_features)."""
        return linear(as_input("Linear", x, self.W.dtype), self.W, self.b)

    def extra_repr(self) -> str:
        """Its arguments."""
        outputs, inputs = self.W.shape
        dtype = "" if self.W.dtype == np.float64 else f", dtype={self.W.dtype}"
        return f"{inputs}, {outputs}{'' if self.b is not None else ', bias=False'}{dtype}"


def dropout(x: Array, p: float = 0.5, training: bool = True, *, rng: Seed = None) -> Tensor:
    """`x` with entries set to 0 by chance, the others scaled so that the expectation stays.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        Activations.
    p : float in [0, 1]
        Probability of each entry to be dropped.
    training : bool
        False gives `x` as it is.
    rng : numpy.random.Generator, int or None
        Where the choice comes from; the package's generator by default.

    Returns
    -------
    Tensor, shape of `x`
        ``x / (1 - p)`` or 0; all 0 for ``p = 1``.

    Raises
    ------
    TypeError, ValueError
        If `p` is no number in [0, 1].

    Notes
    -----
    An entry is kept where a number drawn evenly from [0, 1) is at least `p`: a seed drops the same entries in every
    precision. What is dropped has no share in the result, NaN and infinity included.

    References
    ----------
    Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014), section 10 for the
    scaling at training time.

    Examples
    --------
    >>> dropout(np.ones(6), 0.5, rng=0).tolist()
    [2.0, 0.0, 0.0, 0.0, 2.0, 2.0]
    """
    share = number_of("dropout", "p", p, 0, 1)
    t = x if isinstance(x, Tensor) else Tensor(x)
    if t.dtype.kind in "biu":
        t = t.astype(float)
    if not training or not share:
        return t
    keep = drawn(_kept, rng, t.shape, share)
    return np.where(keep, t if share == 1 else t * (1 / (1 - share)), 0)  # type: ignore[return-value]  # as for tanh


def _kept(rng: Seed, shape: tuple[int, ...], share: float) -> ndarray:
    return as_generator(rng).random(shape) >= share


class Dropout(Module):
    """Entries set to 0 by chance while training, and nothing in evaluation mode: see `functional.dropout`.

    Parameters
    ----------
    p : float in [0, 1]
        Probability of each entry to be dropped.
    rng : numpy.random.Generator, int or None
        Where the choice comes from. A seed starts a generator of the layer's own, which moves on with each call; None
        is the package's, see `manual_seed`.

    Raises
    ------
    TypeError, ValueError
        If `p` is no number in [0, 1].

    Examples
    --------
    >>> layer = Dropout(0.25, rng=0)
    >>> layer(np.ones(4)).shape, layer.eval()([1.0, 2.0])
    ((4,), Tensor([1., 2.]))
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        self.p = number_of("Dropout", "p", p, 0, 1)
        # Not the package's generator itself: a copy of the layer would have a copy of that, beyond `manual_seed`.
        self.rng = None if rng is None else as_generator(rng)

    def forward(self, x: Array) -> Tensor:
        """Activations of the shape of `x`."""
        return dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Its probability."""
        return f"p={self.p:g}"


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` made one.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of them; by default all but that of the examples.

    Raises
    ------
    ShapeError
        On a call, if the input has no such axes.

    Examples
    --------
    >>> Flatten()(np.zeros((5, 20, 20))).shape
    (5, 400)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = operator.index(start_dim), operator.index(end_dim)

    def forward(self, x: Array) -> Tensor:
        """The same numbers."""
        t = x if isinstance(x, Tensor) else Tensor(x)
        first, last = (k + t.ndim if k < 0 else k for k in (self.start_dim, self.end_dim))
        if not 0 <= first <= last < t.ndim:
            raise ShapeError(
                f"Flatten: axes {self.start_dim} to {self.end_dim} are not there; the input has shape {t.shape}"
            )
        between = t.shape[first : last + 1]
        return t.reshape(*t.shape[:first], int(np.prod(between, dtype=np.intp)), *t.shape[last + 1 :])

    def extra_repr(self) -> str:
        """Its axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """What it is given, as a Tensor: holds the place of a layer that is left out."""

    def forward(self, x: Array) -> Tensor:
        """`x` itself."""
        return x if isinstance(x, Tensor) else Tensor(x)
