"""Gradients held against each other: numerical, derived by hand, and a learner's."""

from . import textbook
from .comparison import compare
from .numerical import GradcheckError, gradcheck

__all__ = ["GradcheckError", "compare", "gradcheck", "textbook"]
