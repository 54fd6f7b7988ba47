"""Gradients held against each other: numerical, derived by hand, and a learner's."""

from . import textbook
from .comparison import compare
from .diagnose import Diagnosis, diagnose
from .numerical import GradcheckError, gradcheck

__all__ = ["Diagnosis", "GradcheckError", "compare", "diagnose", "gradcheck", "textbook"]
