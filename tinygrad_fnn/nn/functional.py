"""Activations, layers and losses as functions, under PyTorch's names.

A loss takes what the network gives and its targets, in equal shapes: nothing is broadcast. `reduction` says how the
losses of all elements become one number.
"""

from __future__ import annotations

from ..ops import linear, log_sigmoid, log_softmax, logsumexp, one_hot, relu, sigmoid, softmax
from .activations import elu, gelu, leaky_relu, logsigmoid, selu, silu, softplus, tanh
from .classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    hinge_loss,
    kl_div,
    multi_margin_loss,
    nll_loss,
    sigmoid_focal_loss,
)
from .layers import dropout
from .normalization import layer_norm
from .regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu"]
__all__ += ["hinge_loss", "huber_loss", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_sigmoid"]
__all__ += ["log_softmax", "logsigmoid", "logsumexp", "mse_loss", "multi_margin_loss", "nll_loss", "one_hot", "relu"]
__all__ += ["selu", "sigmoid", "sigmoid_focal_loss", "silu", "smooth_l1_loss", "softmax", "softplus", "tanh"]
