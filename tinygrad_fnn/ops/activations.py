"""Rules of the activations that are no chain of operations: leaky_relu, elu, silu, gelu; faces in `nn.functional`.

They stand apart from the logistic family because they serve networks alone. Each keeps its argument only, is exact in
both tails, and has second derivatives there and at 0.
"""

from __future__ import annotations

import math

import numpy as np

from ..rules import Array, dispatching, elementwise, sample
from .logistic import _floating, _sigmoid, logistic_density, sigmoid_of

__all__ = ["elu_kernel", "gelu_kernel", "leaky_relu_kernel", "silu_kernel"]

TAILS = (-40.0, 40.0)

# --- with a kink at 0 -----------------------------------------------------------------------------------------------


def _leaky_relu(x: Array, *, negative_slope: float = 0.01) -> Array:
    x = _floating(x)
    return np.where(x > 0, x, negative_slope * x)


# The derivative at 0 is the one from below, which makes relu the case of slope 0.
elementwise(
    _leaky_relu,
    lambda x, negative_slope: np.where(x > 0, 1.0, negative_slope).astype(x.dtype),
    samples=(sample((3,), negative_slope=0.01), sample((2, 3), negative_slope=0.5)),
    at={(0.0,): (0.01,), (-1000.0,): (0.01,), (1000.0,): (1.0,)},
)
leaky_relu_kernel = _leaky_relu


def _elu(x: Array, *, alpha: float = 1.0) -> Array:
    x = _floating(x)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu_slope(x: Array, *, alpha: float = 1.0, n: int = 1) -> Array:
    """The `n`-th derivative; at 0 the one from below."""
    x = _floating(x)
    return np.where(x > 0, x.dtype.type(n == 1), alpha * np.exp(np.minimum(x, 0)))


elu_slope = dispatching(_elu_slope)
elementwise(
    _elu_slope,
    lambda x, alpha, n: elu_slope(x, alpha=alpha, n=n + 1),
    samples=(sample((3,), alpha=0.5, n=1), sample((2, 3), n=2)),
)
elementwise(
    _elu,
    lambda x, alpha: elu_slope(x, alpha=alpha),
    samples=(sample((3,), alpha=1.0), sample((2, 3), alpha=0.5)),
    at={(0.0,): (1.0,), (-1000.0,): (0.0,), (1000.0,): (1.0,)},
)
elu_kernel = _elu

# --- smooth ---------------------------------------------------------------------------------------------------------


def _silu(x: Array) -> Array:
    x = np.maximum(_floating(x), -30000)  # its limit at -inf is 0, not -inf * 0
    root = np.exp(-0.5 * np.abs(x))  # in two factors, since exp(x) loses its digits where x exp(x) still has them
    return (np.maximum(x, 0) + np.minimum(x, 0) * root * root) / (1 + root * root)


def _silu_slope(x: Array) -> Array:
    x = np.clip(x, -30000, 30000)
    return sigmoid_of(x) + x * logistic_density(x)


elementwise(
    _silu,
    lambda x: _silu_slope(x),
    domain=(TAILS,),
    at={(0.0,): (0.5,), (-1000.0,): (0.0,), (1000.0,): (1.0,), (-1e200,): (0.0,), (1e200,): (1.0,)},
)
silu_kernel = _silu

ROOT_2_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def _cubic(x: Array) -> Array:
    """What the tanh form takes the logistic function of: ``(1 + tanh(u)) / 2 = sigmoid(2 u)`` loses no digits."""
    return (2 * ROOT_2_PI) * x * (1 + CUBIC * x * x)


def _gelu(x: Array, *, approximate: str = "none") -> Array:
    x = np.maximum(_floating(x), -30000)  # as for silu
    if approximate == "tanh":
        return x * _sigmoid(_cubic(np.clip(x, -60, 60)))
    from scipy import special  # importing it costs more than the rest of the package

    return x * special.ndtr(x)


def _gelu_slope(x: Array, approximate: str) -> Array:
    x = np.clip(x, -60, 60)  # beyond, both terms are settled, and x * x would overflow
    if approximate == "tanh":
        u = _cubic(x)
        return sigmoid_of(u) + (2 * ROOT_2_PI) * x * (1 + 3 * CUBIC * x * x) * logistic_density(u)
    from scipy import special  # as above

    return special.ndtr(x) + (0.5 * ROOT_2_PI) * x * np.exp(-0.5 * x * x)


elementwise(
    _gelu,
    lambda x, approximate: _gelu_slope(x, approximate),
    samples=(sample((3,)), sample((3,), approximate="tanh"), sample((2, 3), approximate="tanh")),
    domain=((-4.0, 4.0),),
    at={(0.0,): (0.5,), (-1000.0,): (0.0,), (1000.0,): (1.0,), (-1e200,): (0.0,), (1e200,): (1.0,)},
)
gelu_kernel = _gelu
