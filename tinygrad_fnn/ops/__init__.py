"""The operations: one entry each, in files by family; importing them fills `RULES`.

`special` stays out: it needs SciPy, whose import costs more than NumPy's, and is entered at the first SciPy call.
"""

from . import (
    arithmetic,
    choice,
    constants,
    elementary,
    indexing,
    joining,
    linalg,
    logistic,
    losses,
    products,
    reductions,
    rounding,
    shapes,
)
from .indexing import one_hot
from .logistic import log_sigmoid, log_softmax, logsumexp, relu, sigmoid, softmax, softplus
from .products import linear

__all__ = ["arithmetic", "choice", "constants", "elementary", "indexing", "joining", "linalg"]
__all__ += ["linear", "log_sigmoid", "log_softmax", "logistic", "logsumexp", "losses", "one_hot"]
__all__ += ["products", "reductions", "relu", "rounding", "shapes", "sigmoid", "softmax"]
__all__ += ["softplus"]
