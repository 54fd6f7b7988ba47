"""Networks: modules that hold parameters, layers, losses, and the network of the course that reads digits."""

from . import functional, init, utils
from .activations import (
    ELU,
    GELU,
    SELU,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .capture import capture
from .containers import Residual, Sequential
from .digits import DigitNet
from .layers import Dropout, Flatten, Identity, Linear
from .losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    FocalLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
)
from .module import Buffer, Module, Parameter
from .normalization import BatchNorm1d, LayerNorm
from .summary import summary

__all__ = ["ELU", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d", "Buffer", "CrossEntropyLoss", "DigitNet", "Dropout"]
__all__ += ["GELU", "Flatten", "FocalLoss", "HingeLoss", "HuberLoss", "Identity", "KLDivLoss", "L1Loss", "LayerNorm"]
__all__ += ["LeakyReLU", "Linear", "LogSigmoid", "LogSoftmax", "MSELoss", "Module", "MultiMarginLoss", "NLLLoss"]
__all__ += ["SELU", "Parameter", "ReLU", "Residual", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax"]
__all__ += ["Softplus", "Tanh", "capture", "functional", "init", "summary", "utils"]
