"""First values of weights: pure functions of shape and generator, which return plain arrays."""

from __future__ import annotations

import math
from typing import Any

from numpy import ndarray

from ..randomness import Seed, as_generator

__all__ = ["glorot_bound", "glorot_uniform", "uniform"]


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
