"""First values of weights: pure functions of shape and generator, and PyTorch's functions that fill a tensor in place.

The names in place end with an underscore, take a Parameter or another leaf, and return it. Weights have shape
(out, in), or (out, in, ...) where the further axes count as a receptive field. All numbers are drawn in float64 and
rounded to the tensor's dtype, so that a seed gives the same numbers in every precision.

References
----------
.. [1] Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16.
.. [2] He et al., *Delving deep into rectifiers* (2015), eqs. 10, 14 and 15.
.. [3] LeCun et al., *Efficient backprop* (1998), eq. 16.
.. [4] Saxe, McClelland & Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear neural
   networks* (2013), section 3.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..randomness import Seed, as_generator
from ..tensor import Tensor
from .arguments import number_of

__all__ = ["calculate_gain", "constant_", "course_", "glorot_bound", "glorot_uniform", "kaiming_normal_"]
__all__ += ["kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "normal_", "ones_", "orthogonal_", "trunc_normal_"]
__all__ += ["uniform", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_"]

# How much an activation shrinks the deviation of what goes through it; see `calculate_gain`.
GAINS: Final = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
GAINS_OF_PYTORCH: Final = [f"conv{n}d" for n in (1, 2, 3)] + [f"conv_transpose{n}d" for n in (1, 2, 3)]


def uniform(shape: tuple[int, ...], bound: float, rng: Seed = None, dtype: Any = float) -> ndarray:  # Any: a dtype
    """Numbers drawn evenly from [-bound, bound).

    Parameters
    ----------
    shape : tuple of int
    bound : float >= 0
    rng : numpy.random.Generator, int or None
        See `randomness.as_generator`.
    dtype : dtype
        Drawn in float64 and rounded to it, so that a seed gives the same numbers in every precision.

    Returns
    -------
    ndarray, shape `shape`

    Examples
    --------
    >>> uniform((3, 4), 0.5, rng=0).shape
    (3, 4)
    """
    return as_generator(rng).uniform(-bound, bound, shape).astype(dtype, copy=False)


def glorot_bound(in_features: int, out_features: int) -> float:
    """The course's epsilon: ``sqrt(6) / sqrt(in + out)``, 0.12 for 400 inputs and 25 outputs.

    References
    ----------
    Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16.

    Examples
    --------
    >>> round(glorot_bound(400, 25), 4)
    0.1188
    """
    return math.sqrt(6) / math.sqrt(in_features + out_features)


def glorot_uniform(shape: tuple[int, int], rng: Seed = None, dtype: Any = float) -> ndarray:  # Any: a dtype
    """Weights of shape (out, in), drawn evenly up to `glorot_bound`.

    Parameters
    ----------
    shape : (int, int)
        (out, in).
    rng, dtype
        As for `uniform`.

    Returns
    -------
    ndarray, shape (out, in)

    References
    ----------
    Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks* (2010), eq. 16.

    Examples
    --------
    >>> glorot_uniform((2, 3), rng=0).shape
    (2, 3)
    """
    out_features, in_features = shape
    return uniform(shape, glorot_bound(in_features, out_features), rng, dtype)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor for the deviation of weights before an activation, by which that is neither lost nor grows.

    Parameters
    ----------
    nonlinearity : {'linear', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'selu'}
        What follows; also PyTorch's names of convolutions, which are linear.
    param : float, optional
        Slope of 'leaky_relu' below 0, 0.01 by default.

    Returns
    -------
    float > 0

    Raises
    ------
    ValueError
        If the name is unknown.

    References
    ----------
    [2]_, eq. 15 for the rectifiers; the others are PyTorch's.

    Examples
    --------
    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else number_of("calculate_gain", "param", param)
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity in GAINS_OF_PYTORCH:
        return 1.0
    if nonlinearity not in GAINS:
        known = ", ".join(map(repr, [*GAINS, "leaky_relu"]))
        raise ValueError(f"calculate_gain: nonlinearity must be one of {known}; got {nonlinearity!r}")
    return GAINS[nonlinearity]


# --- in place: given numbers ----------------------------------------------------------------------------------------


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, rng: Seed = None) -> Tensor:
    """Fill with numbers drawn evenly from [a, b)."""
    low, high = number_of("uniform_", "a", a), number_of("uniform_", "b", b)
    if low > high:
        raise ValueError(f"uniform_: a must be at most b; got {a} and {b}")
    return _fill("uniform_", tensor, as_generator(rng).uniform(low, high, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, rng: Seed = None) -> Tensor:
    """Fill with numbers drawn from the normal distribution."""
    centre, deviation = number_of("normal_", "mean", mean), number_of("normal_", "std", std, 0)
    return _fill("normal_", tensor, as_generator(rng).normal(centre, deviation, tensor.shape))


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, rng: Seed = None
) -> Tensor:
    """Fill with numbers drawn from the normal distribution within [a, b].

    Parameters
    ----------
    tensor : Tensor
        A leaf.
    mean, std : float, std > 0
        Of the distribution before it is cut.
    a, b : float
        Where it is cut: values, not multiples of `std`.
    rng : numpy.random.Generator, int or None

    Returns
    -------
    Tensor
        `tensor`.

    Raises
    ------
    ValueError
        If `a` is not below `b`, or `std` is not positive.

    Notes
    -----
    By the inverse of the distribution function, from the nearer tail, so that an interval far out is right too.

    Examples
    --------
    >>> bool(abs(trunc_normal_(Tensor(np.zeros(1000)), std=10.0, rng=0).numpy()).max() <= 2)
    True
    """
    from scipy import special  # importing it costs more than the rest of the package

    centre, deviation = number_of("trunc_normal_", "mean", mean), number_of("trunc_normal_", "std", std, 0)
    if not a < b or not deviation:
        raise ValueError(f"trunc_normal_: wanted a < b and std > 0; got a={a}, b={b}, std={std}")
    low, high = (a - centre) / deviation, (b - centre) / deviation
    side = -1 if low > 0 else 1  # digits are there below 0 only: ndtr is 1 from 8.3 on
    low, high = sorted((side * low, side * high))
    share = as_generator(rng).uniform(special.ndtr(low), special.ndtr(high), tensor.shape)
    return _fill("trunc_normal_", tensor, np.clip(centre + side * deviation * special.ndtri(share), a, b))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return _fill("constant_", tensor, np.full(tensor.shape, number_of("constant_", "val", val)))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def course_(tensor: Tensor, epsilon: float = 0.12, rng: Seed = None) -> Tensor:
    """Fill evenly from [-epsilon, epsilon), as the course's ``randInitializeWeights``; see `glorot_bound`."""
    return uniform_(tensor, -number_of("course_", "epsilon", epsilon, 0), epsilon, rng)


# --- in place: by the number of inputs and outputs ------------------------------------------------------------------


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """Fill evenly up to ``gain sqrt(6 / (in + out))`` [1]_.

    Examples
    --------
    >>> from tinygrad_fnn import nn
    >>> layer = nn.Linear(400, 25)
    >>> xavier_uniform_(layer.W, gain=calculate_gain("tanh"), rng=0) is layer.W
    True
    """
    return _evenly("xavier_uniform_", tensor, _glorot("xavier_uniform_", tensor, gain), rng)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """Fill from the normal distribution of deviation ``gain sqrt(2 / (in + out))`` [1]_."""
    return _normally("xavier_normal_", tensor, _glorot("xavier_normal_", tensor, gain), rng)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Seed = None
) -> Tensor:
    """Fill evenly up to ``gain sqrt(3 / fan)`` [2]_.

    Parameters
    ----------
    tensor : Tensor, two axes or more
        A leaf.
    a : float
        Slope below 0, for 'leaky_relu'.
    mode : {'fan_in', 'fan_out'}
        Keep the deviation of what goes forward, or of the deltas that come back.
    nonlinearity : str
        As for `calculate_gain`.
    rng : numpy.random.Generator, int or None

    Returns
    -------
    Tensor
        `tensor`.
    """
    return _evenly("kaiming_uniform_", tensor, _he("kaiming_uniform_", tensor, a, mode, nonlinearity), rng)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Seed = None
) -> Tensor:
    """Fill from the normal distribution of deviation ``gain / sqrt(fan)`` [2]_; arguments as `kaiming_uniform_`."""
    return _normally("kaiming_normal_", tensor, _he("kaiming_normal_", tensor, a, mode, nonlinearity), rng)


def lecun_uniform_(tensor: Tensor, rng: Seed = None) -> Tensor:
    """Fill evenly up to ``sqrt(3 / in)`` [3]_, as `SELU` wants it."""
    return _evenly("lecun_uniform_", tensor, 1 / math.sqrt(_fans("lecun_uniform_", tensor)[0]), rng)


def lecun_normal_(tensor: Tensor, rng: Seed = None) -> Tensor:
    """Fill from the normal distribution of deviation ``1 / sqrt(in)`` [3]_, as `SELU` wants it."""
    return _normally("lecun_normal_", tensor, 1 / math.sqrt(_fans("lecun_normal_", tensor)[0]), rng)


def orthogonal_(tensor: Tensor, gain: float = 1.0, rng: Seed = None) -> Tensor:
    """Fill with orthonormal rows, or columns if there are more rows than columns, times `gain` [4]_.

    Parameters
    ----------
    tensor : Tensor, two axes or more
        A leaf; all axes after the first count as one.
    gain : float
        Length of the rows or columns.
    rng : numpy.random.Generator, int or None

    Returns
    -------
    Tensor
        `tensor`.

    Notes
    -----
    The Q of a normal matrix, with the signs that make the diagonal of R positive: all rotations are equally likely.
    """
    _fans("orthogonal_", tensor)
    factor = number_of("orthogonal_", "gain", gain)
    rows, columns = tensor.shape[0], tensor.size // tensor.shape[0]
    normal = as_generator(rng).normal(size=(max(rows, columns), min(rows, columns)))
    Q, R = np.linalg.qr(normal)
    Q = Q * np.sign(np.diagonal(R))
    return _fill("orthogonal_", tensor, factor * (Q.T if rows < columns else Q).reshape(tensor.shape))


def _fans(function: str, tensor: Tensor) -> tuple[int, int]:
    """How many numbers each output is made of, and how many each input goes to."""
    shape = np.shape(tensor)
    if len(shape) < 2 or 0 in shape:
        raise ShapeError(f"{function}: the tensor must be (out, in), or have more axes; it has shape {shape}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _glorot(function: str, tensor: Tensor, gain: float) -> float:
    return number_of(function, "gain", gain) * math.sqrt(2 / sum(_fans(function, tensor)))


def _he(function: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{function}: mode must be 'fan_in' or 'fan_out'; got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(function, tensor)[mode == "fan_out"])


def _evenly(function: str, tensor: Tensor, deviation: float, rng: Seed) -> Tensor:
    return _fill(function, tensor, uniform(tensor.shape, math.sqrt(3) * abs(deviation), rng))


def _normally(function: str, tensor: Tensor, deviation: float, rng: Seed) -> Tensor:
    return _fill(function, tensor, as_generator(rng).normal(0, abs(deviation), tensor.shape))


def _fill(function: str, tensor: Tensor, values: ndarray) -> Tensor:
    """`values` into a leaf, in its dtype."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{function}: wanted a tensor to fill, such as layer.W; got a {type(tensor).__name__}")
    if tensor.dtype.kind != "f":
        raise TypeError(f"{function}: the tensor must hold floating-point numbers; it has dtype {tensor.dtype}")
    tensor.data = values.astype(tensor.dtype, copy=False)
    return tensor
