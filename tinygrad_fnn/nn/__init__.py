"""Networks: modules that hold parameters, layers, losses, and the network of the course that reads digits."""

from . import functional, init
from .digits import DigitNet
from .layers import Linear, ReLU, Sequential, Sigmoid, Softmax, Tanh
from .losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from .module import Module, Parameter

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "DigitNet", "Linear", "MSELoss", "Module", "Parameter"]
__all__ += ["ReLU", "Sequential", "Sigmoid", "Softmax", "Tanh", "functional", "init"]
