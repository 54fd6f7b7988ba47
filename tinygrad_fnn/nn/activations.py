"""Activations, each as a function and as a module: elementwise, or along an axis for the softmax pair.

Every one is exact in both tails, in value and in derivatives of every order, without a warning. At a kink the
derivative is the one from below.
"""

from __future__ import annotations

import operator
from typing import Final

import numpy as np

from ..gate import apply
from ..ops import log_sigmoid, log_softmax, relu, sigmoid, softmax
from ..ops import softplus as unscaled_softplus
from ..ops.activations import elu_kernel, gelu_kernel, leaky_relu_kernel, silu_kernel
from ..rules import Array
from ..tensor import Tensor
from .arguments import number_of
from .module import Module

__all__ = ["ELU", "GELU", "SELU", "LeakyReLU", "LogSigmoid", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax"]
__all__ += ["Softplus", "Tanh", "elu", "gelu", "leaky_relu", "logsigmoid", "selu", "silu", "softplus", "tanh"]

# Klambauer et al., *Self-normalizing neural networks* (2017), eq. 14: the fixed point of mean 0 and variance 1.
SELU_ALPHA: Final = 1.6732632423543772848
SELU_SCALE: Final = 1.0507009873554804934

APPROXIMATIONS: Final = ("none", "tanh")

logsigmoid = log_sigmoid  # PyTorch's name


def tanh(z: Array) -> Tensor:
    """`numpy.tanh`, which gives a Tensor here also for an array."""
    return np.tanh(z if isinstance(z, Tensor) else Tensor(z))  # type: ignore[return-value]  # the protocol's Tensor


def softplus(z: Array, beta: float = 1.0) -> Tensor:
    """Smooth version of relu, elementwise: ``log(1 + exp(beta z)) / beta`` without overflow.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.
    beta : float > 0
        Sharpness. PyTorch's `threshold` is not needed: no argument is too large.

    Returns
    -------
    Tensor, shape of `z`
        In [0, inf).

    Examples
    --------
    >>> softplus([-1000.0, 1000.0], beta=2.0)
    Tensor([   0., 1000.])
    """
    if beta == 1:
        return unscaled_softplus(z)
    beta = number_of("softplus", "beta", beta, 0)
    if not beta:
        raise ValueError("softplus: beta must be > 0; got 0.0")
    return unscaled_softplus(apply(np.multiply, z, beta)) / beta


def leaky_relu(z: Array, negative_slope: float = 0.01) -> Tensor:
    """`z` above 0 and ``negative_slope * z`` below, elementwise.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.
    negative_slope : float
        Slope below 0, and at 0.

    Returns
    -------
    Tensor, shape of `z`

    References
    ----------
    Maas, Hannun & Ng, *Rectifier nonlinearities improve neural network acoustic models* (2013), section 2.

    Examples
    --------
    >>> leaky_relu([-2.0, 0.0, 2.0], 0.25)
    Tensor([-0.5,  0. ,  2. ])
    """
    return apply(leaky_relu_kernel, z, negative_slope=number_of("leaky_relu", "negative_slope", negative_slope))


def elu(z: Array, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit, elementwise: `z` above 0 and ``alpha (exp(z) - 1)`` below.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.
    alpha : float
        Minus the limit at -inf; also the derivative at 0.

    Returns
    -------
    Tensor, shape of `z`
        Above ``-alpha``.

    References
    ----------
    Clevert, Unterthiner & Hochreiter, *Fast and accurate deep network learning by exponential linear units* (2015),
    eq. 15.

    Examples
    --------
    >>> elu([-1000.0, -1e-20, 2.0]).tolist()
    [-1.0, -1e-20, 2.0]
    """
    return apply(elu_kernel, z, alpha=number_of("elu", "alpha", alpha))


def selu(z: Array) -> Tensor:
    """Scaled `elu` that keeps mean 0 and variance 1 through the layers, elementwise.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.

    Returns
    -------
    Tensor, shape of `z`
        Above -1.7581.

    References
    ----------
    Klambauer et al., *Self-normalizing neural networks* (2017), eqs. 2 and 14.

    Examples
    --------
    >>> selu([-1000.0, 1.0])
    Tensor([-1.75809934,  1.05070099])
    """
    return apply(elu_kernel, z, alpha=SELU_ALPHA) * SELU_SCALE


def silu(z: Array) -> Tensor:
    """``z sigmoid(z)``, elementwise; also called swish.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.

    Returns
    -------
    Tensor, shape of `z`
        Above -0.2785.

    References
    ----------
    Elfwing, Uchibe & Doya, *Sigmoid-weighted linear units* (2018), eq. 12.

    Examples
    --------
    >>> silu([-1000.0, 0.0, 1000.0]).tolist()
    [0.0, 0.0, 1000.0]
    """
    return apply(silu_kernel, z)


def gelu(z: Array, approximate: str = "none") -> Tensor:
    """``z Phi(z)`` with the distribution function Phi of the normal distribution, elementwise.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.
    approximate : {'none', 'tanh'}
        The function itself, or ``z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z**3)))``, which is within 5e-4 of it.

    Returns
    -------
    Tensor, shape of `z`
        Above -0.1701.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    References
    ----------
    Hendrycks & Gimpel, *Gaussian error linear units* (2016), section 2.

    Examples
    --------
    >>> gelu([-1000.0, 1.0, 1000.0])
    Tensor([-0.00000000e+00,  8.41344746e-01,  1.00000000e+03])
    """
    return apply(gelu_kernel, z, approximate=_approximation("gelu", approximate))


def _approximation(function: str, approximate: str) -> str:
    if approximate not in APPROXIMATIONS:
        choices = " or ".join(map(repr, APPROXIMATIONS))
        raise ValueError(f"{function}: approximate must be {choices}; got {approximate!r}")
    return approximate


# --- modules --------------------------------------------------------------------------------------------------------


class Sigmoid(Module):
    """The logistic function, elementwise: see `functional.sigmoid`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [0, 1], shape of `z`."""
        return sigmoid(z)


class Tanh(Module):
    """The hyperbolic tangent, elementwise: see `numpy.tanh`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [-1, 1], shape of `z`."""
        return tanh(z)


class ReLU(Module):
    """The larger of `z` and 0, elementwise, with derivative 0 at 0: see `functional.relu`."""

    def forward(self, z: Array) -> Tensor:
        """Activations in [0, inf), shape of `z`."""
        return relu(z)


class LeakyReLU(Module):
    """Relu with a slope below 0, elementwise: see `functional.leaky_relu`.

    Parameters
    ----------
    negative_slope : float
        Below 0.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number_of("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, z: Array) -> Tensor:
        """Activations, shape of `z`."""
        return leaky_relu(z, self.negative_slope)

    def extra_repr(self) -> str:
        """Its slope."""
        return f"negative_slope={self.negative_slope:g}"


class ELU(Module):
    """The exponential linear unit, elementwise: see `functional.elu`.

    Parameters
    ----------
    alpha : float
        Minus the limit at -inf.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number_of("ELU", "alpha", alpha)

    def forward(self, z: Array) -> Tensor:
        """Activations above ``-alpha``, shape of `z`."""
        return elu(z, self.alpha)

    def extra_repr(self) -> str:
        """Its alpha."""
        return f"alpha={self.alpha:g}"


class SELU(Module):
    """The scaled exponential linear unit, elementwise: see `functional.selu`."""

    def forward(self, z: Array) -> Tensor:
        """Activations above -1.7581, shape of `z`."""
        return selu(z)


class SiLU(Module):
    """``z sigmoid(z)``, elementwise: see `functional.silu`."""

    def forward(self, z: Array) -> Tensor:
        """Activations above -0.2785, shape of `z`."""
        return silu(z)


class GELU(Module):
    """``z Phi(z)``, elementwise: see `functional.gelu`.

    Parameters
    ----------
    approximate : {'none', 'tanh'}
        As for the function.
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = _approximation("GELU", approximate)

    def forward(self, z: Array) -> Tensor:
        """Activations above -0.1701, shape of `z`."""
        return gelu(z, self.approximate)

    def extra_repr(self) -> str:
        """Its form."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """Smooth version of relu, elementwise: see `functional.softplus`.

    Parameters
    ----------
    beta : float > 0
        Sharpness.
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = number_of("Softplus", "beta", beta, 0)
        if not self.beta:
            raise ValueError("Softplus: beta must be > 0; got 0.0")

    def forward(self, z: Array) -> Tensor:
        """Activations in [0, inf), shape of `z`."""
        return softplus(z, self.beta)

    def extra_repr(self) -> str:
        """Its beta."""
        return f"beta={self.beta:g}"


class LogSigmoid(Module):
    """Logarithm of the logistic function, elementwise: see `functional.logsigmoid`."""

    def forward(self, z: Array) -> Tensor:
        """Logarithms of probabilities, in (-inf, 0], shape of `z`."""
        return log_sigmoid(z)


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
        return softmax(z, axis=self.axis)

    def extra_repr(self) -> str:
        """Its axis."""
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """Logarithm of `Softmax`: see `functional.log_softmax`.

    Parameters
    ----------
    axis : int
        Along which the exponentials of the results sum to 1.

    Notes
    -----
    `NLLLoss` takes its results; `CrossEntropyLoss` is both in one.
    """

    def forward(self, z: Array) -> Tensor:
        """Logarithms of probabilities, in [-inf, 0], shape of `z`."""
        return log_softmax(z, axis=self.axis)
