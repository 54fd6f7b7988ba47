"""Normalization: over the batch, with running statistics for evaluation, and over the features of each example."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..modes import no_grad
from ..rules import Array, on_plain_arrays
from ..tensor import Tensor
from .arguments import count_of, floating_of, number_of
from .layers import as_input
from .module import Buffer, Module, Parameter

__all__ = ["BatchNorm1d", "LayerNorm", "layer_norm"]


def _normalized(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array, Array]:
    """``(x - mean) / sqrt(var + eps)`` along the axes, and that mean and variance, with their axes kept."""
    t = x if isinstance(x, Tensor) else Tensor(x)
    mean = t.mean(axis=axes, keepdims=True)
    centred = t - mean
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    return centred / np.sqrt(variance + eps), mean, variance


class BatchNorm1d(Module):
    """Each feature brought to mean 0 and variance 1 over the batch, then scaled and shifted.

    Parameters
    ----------
    num_features : int > 0
        C, the length of axis 1 of the input.
    eps : float >= 0
        Added to the variance.
    momentum : float in [0, 1], or None
        How much of the running statistics the newest batch makes; None for the average over all batches.
    affine : bool
        Learn `weight` and `bias`; without them both are None.
    track_running_stats : bool
        Keep the running statistics, and use them in evaluation mode; without them the batch is used in both.
    dtype : dtype
        Of parameters and statistics, floating point.

    Attributes
    ----------
    weight, bias : Parameter, shape (C,), or None
        Scale, 1 at first, and shift, 0 at first.
    running_mean, running_var : Buffer, shape (C,), or None
        Running mean, and running variance with the divisor ``n - 1``.
    num_batches_tracked : Buffer of int, shape (), or None
        How many batches they are of.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.
    ShapeError
        On a call, if the input is not (m, C) or (m, C, L), or has a single value for each feature while training.

    Notes
    -----
    The batch is normalized with its own variance, of divisor ``n``, as in PyTorch. A single example has no variance:
    call `eval` first.

    References
    ----------
    Ioffe & Szegedy, *Batch normalization* (2015), algorithms 1 and 2.

    Examples
    --------
    >>> norm = BatchNorm1d(2)
    >>> norm([[1.0, 10.0], [3.0, 30.0]]).detach().numpy().round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> norm.running_mean
    Buffer([0.2, 2. ])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: Any = float,  # Any: a dtype in any of NumPy's spellings
    ) -> None:
        self.num_features = count_of("BatchNorm1d", "num_features", num_features)
        self.eps = number_of("BatchNorm1d", "eps", eps, 0)
        self.momentum = None if momentum is None else number_of("BatchNorm1d", "momentum", momentum, 0, 1)
        kind, tracking = floating_of("BatchNorm1d", dtype), bool(track_running_stats)
        self.weight = Parameter(np.ones(self.num_features, kind)) if affine else None
        self.bias = Parameter(np.zeros(self.num_features, kind)) if affine else None
        self.running_mean = Buffer(np.zeros(self.num_features, kind)) if tracking else None
        self.running_var = Buffer(np.ones(self.num_features, kind)) if tracking else None
        self.num_batches_tracked = Buffer(0) if tracking else None

    def forward(self, x: Array) -> Tensor:
        """The normalized batch, shape (m, C) or (m, C, L) of `x`."""
        x = as_input("BatchNorm1d", x, np.dtype(float) if self.weight is None else self.weight.dtype)
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            wanted = f"(m, {self.num_features}) or (m, {self.num_features}, L)"
            raise ShapeError(f"BatchNorm1d: the input must be {wanted}; got {x.shape}")
        column = (-1, 1) if x.ndim == 3 else (-1,)
        if self.training or self.running_mean is None or self.running_var is None:
            count = x.size // self.num_features
            if self.training and count < 2:
                raise ShapeError(
                    f"BatchNorm1d: training needs two values for each feature; the input is {x.shape}. "
                    "Call eval() on the network for single examples"
                )
            out, mean, variance = _normalized(x, (0, 2) if x.ndim == 3 else (0,), self.eps)
            if self.running_mean is not None:
                on_plain_arrays(self._track, mean, variance, count)
        else:
            deviation: Array = np.sqrt(self.running_var.reshape(*column) + self.eps)
            out = (x - self.running_mean.reshape(*column)) / deviation
        if self.weight is not None and self.bias is not None:
            out = out * self.weight.reshape(*column) + self.bias.reshape(*column)
        return out  # type: ignore[no-any-return]  # a Tensor, which NumPy's functions are not declared to give

    def _track(self, mean: ndarray, variance: ndarray, count: int) -> None:
        """Let the running statistics follow those of a batch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        batches: Tensor = self.num_batches_tracked
        with no_grad():
            batches += 1
            share = 1 / batches.item() if self.momentum is None else self.momentum
            unbiased = variance * (count / (count - 1))
            for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                now: Tensor = running
                now += share * (new.ravel() - now)

    def extra_repr(self) -> str:
        """Its arguments."""
        affine = "" if self.weight is not None else ", affine=False"
        tracking = "" if self.running_mean is not None else ", track_running_stats=False"
        momentum = self.momentum if self.momentum is None else f"{self.momentum:g}"
        return f"{self.num_features}, eps={self.eps:g}, momentum={momentum}{affine}{tracking}"


def layer_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The last axes of each example brought to mean 0 and variance 1, then scaled and shifted.

    Parameters
    ----------
    x : array_like or Tensor, shape (..., *normalized_shape)
        Activations.
    normalized_shape : int or tuple of int
        Lengths of the last axes, over which mean and variance are taken.
    weight, bias : array_like or Tensor, shape `normalized_shape`, optional
        Scale and shift.
    eps : float >= 0
        Added to the variance.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    ShapeError
        If `x` does not end with `normalized_shape`.

    References
    ----------
    Ba, Kiros & Hinton, *Layer normalization* (2016), eqs. 3 and 4.

    Examples
    --------
    >>> layer_norm([[1.0, 3.0], [-20.0, 0.0]], 2, eps=0.0, bias=[0.0, 5.0])
    Tensor([[-1.,  6.],
            [-1.,  6.]])
    """
    shape = _shape_of("layer_norm", normalized_shape)
    small = number_of("layer_norm", "eps", eps, 0)
    x = as_input("layer_norm", x, np.dtype(float))
    if x.shape[max(x.ndim - len(shape), 0) :] != shape:
        raise ShapeError(f"layer_norm: x must end with normalized_shape {shape}; got {x.shape}")
    out, _, _ = _normalized(x, tuple(range(-len(shape), 0)), small)
    out = out if weight is None else out * weight
    return out if bias is None else out + bias  # type: ignore[no-any-return]  # as above


def _shape_of(function: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    try:
        lengths = tuple(map(operator.index, shape if isinstance(shape, Sequence) else [shape]))
    except TypeError:
        lengths = ()
    if not lengths or min(lengths) <= 0:
        raise ValueError(f"{function}: normalized_shape must be an integer > 0 or several; got {shape!r}")
    return lengths


class LayerNorm(Module):
    """The features of each example brought to mean 0 and variance 1: see `functional.layer_norm`.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Lengths of the last axes.
    eps : float >= 0
        Added to the variance.
    elementwise_affine : bool
        Learn `weight` and `bias`; without them both are None.
    bias : bool
        Learn `bias`.
    dtype : dtype
        Of the parameters, floating point.

    Attributes
    ----------
    weight, bias : Parameter, shape `normalized_shape`, or None
        Scale, 1 at first, and shift, 0 at first.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> LayerNorm(400)
    LayerNorm(400, eps=1e-05)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = float,  # Any: a dtype in any of NumPy's spellings
    ) -> None:
        self.normalized_shape = _shape_of("LayerNorm", normalized_shape)
        self.eps = number_of("LayerNorm", "eps", eps, 0)
        kind = floating_of("LayerNorm", dtype)
        self.weight = Parameter(np.ones(self.normalized_shape, kind)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, kind)) if elementwise_affine and bias else None

    def forward(self, x: Array) -> Tensor:
        """The normalized examples, shape of `x`."""
        x = as_input("LayerNorm", x, np.dtype(float) if self.weight is None else self.weight.dtype)
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Its arguments."""
        shape = self.normalized_shape[0] if len(self.normalized_shape) == 1 else self.normalized_shape
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        bias = ", bias=False" if self.weight is not None and self.bias is None else ""
        return f"{shape}, eps={self.eps:g}{affine}{bias}"
