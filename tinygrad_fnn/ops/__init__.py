"""The operations: one entry each, in files by family; importing them fills `RULES`.

`special` and `fourier` stay out: they need SciPy, whose import costs more than NumPy's, and `numpy.fft`, which NumPy
itself does not import; they are entered at the first call.
"""

from . import (
    activations,
    arithmetic,
    choice,
    complexes,
    constants,
    contractions,
    convolution,
    cumulative,
    decompositions,
    determinant,
    diagonals,
    differences,
    einsum,
    elementary,
    indexing,
    joining,
    least_squares,
    linalg,
    logistic,
    losses,
    methods,
    nans,
    ordering,
    padding,
    picking,
    powers,
    products,
    quantiles,
    rearranging,
    reductions,
    rounding,
    selection,
    shapes,
    solving,
    splitting,
    statistics,
    trigonometry,
)
from .indexing import one_hot
from .logistic import log_sigmoid, log_softmax, logsumexp, relu, sigmoid, softmax, softplus
from .products import linear

__all__ = ["activations", "arithmetic", "choice", "complexes", "constants", "contractions", "convolution", "cumulative"]
__all__ += ["decompositions", "determinant", "diagonals", "differences", "einsum", "elementary"]
__all__ += ["indexing", "joining", "least_squares", "linalg", "linear", "log_sigmoid", "log_softmax"]
__all__ += ["logistic", "logsumexp", "losses", "methods", "nans", "one_hot", "ordering"]
__all__ += ["padding", "picking", "powers", "products", "quantiles", "rearranging", "reductions"]
__all__ += ["relu", "rounding", "selection", "shapes", "sigmoid", "softmax", "softplus"]
__all__ += ["solving", "splitting", "statistics", "trigonometry"]
