"""Losses as functions, with their checks and reductions; the activations stand beside them under PyTorch's names.

A loss takes what the network gives and its targets, in equal shapes: nothing is broadcast. `reduction` says how the
losses of all elements become one number.
"""

from __future__ import annotations

import numpy as np

from ..errors import ShapeError
from ..ops import linear, log_sigmoid, log_softmax, logsumexp, one_hot, relu, sigmoid, softmax, softplus
from ..ops.losses import bce_of_logits, bce_of_probabilities, cross_entropy_rows
from ..rules import Array
from ..tensor import Tensor
from .targets import check_labels, check_reduction, floats, fractions, reduced, rows_of, targets, values_of

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "linear", "log_sigmoid"]
__all__ += ["log_softmax", "logsumexp", "mse_loss", "one_hot", "relu", "sigmoid", "softmax", "softplus", "tanh"]


def tanh(z: Array) -> Tensor:
    """`numpy.tanh`, which gives a Tensor here also for an array."""
    return np.tanh(z if isinstance(z, Tensor) else Tensor(z))  # type: ignore[return-value]  # the protocol's Tensor


def binary_cross_entropy_with_logits(z: Array, y: Array, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of logits: ``log(1 + exp(z)) - y z``, exact for every `z`.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        Logits; all reals.
    y : array_like or Tensor, shape of `z`
        Targets in [0, 1]. An array is copied, if the gradient will need it; a Tensor is not.
    reduction : {'mean', 'sum', 'none', 'course'}
        The average over all elements; their sum; the loss of each element; or the course's: the sum over the last axis,
        the classes, averaged over the examples.

    Returns
    -------
    Tensor, shape () or that of `z`
        In [0, inf).

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If targets are outside [0, 1] or NaN, `reduction` is unknown, or there is nothing to average.

    Notes
    -----
    The derivative with respect to `z` is ``sigmoid(z) - y``, computed as ``(1 - y) sigmoid(z) - y sigmoid(-z)``.

    References
    ----------
    Equations (11), (32) and (33) of docs/backprop.md.

    Examples
    --------
    >>> binary_cross_entropy_with_logits([1000.0, -1000.0], [0.0, 0.0], reduction="none")
    Tensor([1000.,    0.])
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    z = floats(name, "z", z)
    return reduced(name, bce_of_logits(z, fractions(name, "z", z, y)), reduction)


def binary_cross_entropy(p: Array, y: Array, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of probabilities: ``-y log p - (1 - y) log(1 - p)``.

    Parameters
    ----------
    p : array_like or Tensor, any shape
        Probabilities in [0, 1].
    y : array_like or Tensor, shape of `p`
        Targets in [0, 1].
    reduction : {'mean', 'sum', 'none', 'course'}
        As for `binary_cross_entropy_with_logits`.

    Returns
    -------
    Tensor, shape () or that of `p`
        In [0, inf]; infinite where `p` is 0 or 1 and `y` is not the same.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `p` or `y` is outside [0, 1], targets are NaN, `reduction` is unknown, or there is nothing to average.

    Notes
    -----
    A `p` that comes from `sigmoid` remembers its logit: value and gradient are those of
    `binary_cross_entropy_with_logits`, and exact also where `p` rounds to 0 or 1. Nothing is clipped.

    Where `p` and `y` are both 0 or both 1 the term ``0 log 0`` is 0, and the derivative with respect to `p` is that of
    the other term, 1 or -1.

    References
    ----------
    Equations (11) and (17) of docs/backprop.md.

    Examples
    --------
    >>> z = Tensor([-1000.0, 1000.0], requires_grad=True)
    >>> loss = binary_cross_entropy(sigmoid(z), [1.0, 1.0], reduction="sum")
    >>> loss.backward()
    >>> print(loss.item(), z.grad)
    1000.0 [-1.  0.]
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    p = floats(name, "p", p)
    if p.size:
        low, high = p._value.min(), p._value.max()
        if low < 0 or high > 1:
            raise ValueError(
                f"{name}: p must be in [0, 1]; it reaches from {low:g} to {high:g}. "
                "Logits go to binary_cross_entropy_with_logits"
            )
    return reduced(name, bce_of_probabilities(p, fractions(name, "p", p, y)), reduction)


def mse_loss(x: Array, y: Array, reduction: str = "mean") -> Tensor:
    """Squared error, ``(x - y)**2``; without the factor 1/2 of equation (13) of docs/backprop.md.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        What the network gives.
    y : array_like or Tensor, shape of `x`
        Targets.
    reduction : {'mean', 'sum', 'none', 'course'}
        As for `binary_cross_entropy_with_logits`.

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
    check_reduction("mse_loss", reduction)
    x = floats("mse_loss", "x", x)
    error = x - targets("mse_loss", "x", x, y)
    return reduced("mse_loss", error * error, reduction)


def cross_entropy(logits: Array, target: Array, reduction: str = "mean") -> Tensor:
    """Cross-entropy of the softmax of logits: ``-log softmax(z)[target]``, exact for any logits.

    Parameters
    ----------
    logits : array_like or Tensor, shape (m, K) or (K,)
        One row for each example, one column for each class.
    target : array_like or Tensor
        Labels: integers in 0 ... K - 1, shape (m,) or (). Or probabilities: floats of the shape of `logits`.
    reduction : {'mean', 'sum', 'none', 'course'}
        The average over the examples, which is the course's as well; their sum; or the loss of each.

    Returns
    -------
    Tensor, shape () or (m,)
        In [0, inf).

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    TypeError
        If labels are no integers.
    ValueError
        If a label is out of range, a probability is negative or NaN, `reduction` is unknown, or there is nothing to
        average.

    References
    ----------
    Equations (12), (34) and (35) of docs/backprop.md.

    Examples
    --------
    >>> print(cross_entropy([[1000.0, 0.0], [1000.0, 0.0]], [1, 0], reduction="none").tolist())
    [1000.0, 0.0]
    """
    name = "cross_entropy"
    check_reduction(name, reduction)
    z = floats(name, "logits", logits)
    if z.ndim not in (1, 2) or not z.shape[-1]:
        raise ShapeError(f"{name}: logits must be (m, K) or (K,), with K > 0 classes; got {z.shape}")
    y = target if isinstance(target, Tensor) else np.asarray(target)
    if (y.dtype.kind in "iu" and y.shape != z.shape) or y.shape == z.shape[:-1]:
        check_labels(name, y, z.shape[-1], z.shape[:-1])
        y = rows_of(values_of(y), z)
    else:
        y = targets(name, "logits", z, y)
        if y.size and not values_of(y).min() >= 0:
            raise ValueError(f"{name}: target holds a negative probability or NaN; target is {y.shape}")
    return reduced(name, cross_entropy_rows(z, y).reshape(z.shape[:-1]), reduction)
