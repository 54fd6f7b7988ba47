"""Optimisers: those that step along `.grad`, and `minimize`, which drives L-BFGS and `scipy.optimize`."""

from .minimize import Minimum, Progress, minimize
from .optimizer import SGD, Adam, Optimizer

__all__ = ["SGD", "Adam", "Minimum", "Optimizer", "Progress", "minimize"]
