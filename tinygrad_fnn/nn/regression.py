"""Losses of a difference: squared, absolute, and what lies between."""

from __future__ import annotations

import numpy as np

from ..rules import Array
from ..tensor import Tensor
from .arguments import number_of
from .targets import check_reduction, floats, reduced, targets

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def _difference(name: str, x: Array, y: Array, reduction: str) -> Array:
    """``x - y``, once the arguments are known to be in order."""
    check_reduction(name, reduction)
    x = floats(name, "x", x)
    return x - targets(name, "x", x, y)


def mse_loss(x: Array, y: Array, reduction: str = "mean") -> Tensor:
    """Squared error, ``(x - y)**2``; without the factor 1/2 of equation (13) of docs/backprop.md.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        What the network gives.
    y : array_like or Tensor, shape of `x`
        Targets.
    reduction : {'mean', 'sum', 'none', 'course'}
        The average over all elements; their sum; the loss of each element; or the course's: the sum over the last axis,
        averaged over the examples.

    Returns
    -------
    Tensor, shape () or that of `x`
        In [0, inf).

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `reduction` is unknown, or there is nothing to average.

    Examples
    --------
    >>> mse_loss([1.0, 2.0], [0.0, 4.0]).item()
    2.5
    """
    error = _difference("mse_loss", x, y, reduction)
    return reduced("mse_loss", error * error, reduction)


def l1_loss(x: Array, y: Array, reduction: str = "mean") -> Tensor:
    """Absolute error, ``|x - y|``.

    Parameters
    ----------
    x, y, reduction
        As for `mse_loss`.

    Returns
    -------
    Tensor, shape () or that of `x`
        In [0, inf). The derivative where `x` and `y` agree is 0.

    Raises
    ------
    ShapeError, ValueError
        As for `mse_loss`.

    Examples
    --------
    >>> l1_loss([1.0, 2.0], [0.0, 4.0]).item()
    1.5
    """
    return reduced("l1_loss", np.abs(_difference("l1_loss", x, y, reduction)), reduction)


def huber_loss(x: Array, y: Array, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Squared error near 0, ``(x - y)**2 / 2``, and from `delta` on the straight line that continues it.

    Parameters
    ----------
    x, y, reduction
        As for `mse_loss`.
    delta : float > 0
        Where the parabola ends.

    Returns
    -------
    Tensor, shape () or that of `x`
        In [0, inf); ``delta (|x - y| - delta / 2)`` on the line.

    Raises
    ------
    ShapeError, ValueError
        As for `mse_loss`; also if `delta` is not positive.

    References
    ----------
    Huber, *Robust estimation of a location parameter* (1964), section 2.

    Examples
    --------
    >>> huber_loss([0.5, 3.0], [0.0, 0.0], "none")
    Tensor([0.125, 2.5  ])
    """
    if not number_of("huber_loss", "delta", delta, 0):
        raise ValueError("huber_loss: delta must be > 0; got 0")
    error = _difference("huber_loss", x, y, reduction)
    # With c the error clipped to +-delta both cases are c (error - c / 2), and so are their derivatives.
    near = np.clip(error, -delta, delta)
    return reduced("huber_loss", near * (error - 0.5 * near), reduction)


def smooth_l1_loss(x: Array, y: Array, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Absolute error with a parabola below `beta` in the place of its kink: `huber_loss` divided by `beta`.

    Parameters
    ----------
    x, y, reduction
        As for `mse_loss`.
    beta : float >= 0
        Where the parabola ends; 0 gives `l1_loss`.

    Returns
    -------
    Tensor, shape () or that of `x`
        In [0, inf); ``|x - y| - beta / 2`` on the line.

    Raises
    ------
    ShapeError, ValueError
        As for `mse_loss`; also if `beta` is negative.

    References
    ----------
    Girshick, *Fast R-CNN* (2015), eq. 3.

    Examples
    --------
    >>> smooth_l1_loss([0.5, 3.0], [0.0, 0.0], "none", beta=2.0)
    Tensor([0.0625, 2.    ])
    """
    if not number_of("smooth_l1_loss", "beta", beta, 0):
        return l1_loss(x, y, reduction)
    error = _difference("smooth_l1_loss", x, y, reduction)
    near = np.clip(error, -beta, beta)
    return reduced("smooth_l1_loss", (near / beta) * (error - 0.5 * near), reduction)
