"""Optimisers: those that step along `.grad`, and `minimize`, which drives L-BFGS and `scipy.optimize`."""

from . import lr_scheduler
from .adaptive import Adadelta, Adagrad, Adam, AdamW, NAdam, RMSprop
from .descent import SGD, Rprop
from .ema import EMA
from .minimize import Minimum, Progress, minimize
from .optimizer import Optimizer
from .quasi_newton import LBFGS

__all__ = ["EMA", "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Minimum", "NAdam", "Optimizer", "Progress"]
__all__ += ["RMSprop", "Rprop", "lr_scheduler", "minimize"]
