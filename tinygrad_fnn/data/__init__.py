"""Digits to learn from: the embedded course set, and the files that digits and their weights come in.

It stands apart from the engine: these modules import NumPy, SciPy and the package's errors and files, and return plain
arrays, one example a row.
"""

from tinygrad_fnn.data.embedded import digits
from tinygrad_fnn.data.idx import load_idx, load_mnist
from tinygrad_fnn.data.mat import load_mat_digits, load_mat_weights, save_mat_weights
from tinygrad_fnn.data.resize import resize_to_course

__all__ = [
    "digits",
    "load_idx",
    "load_mat_digits",
    "load_mat_weights",
    "load_mnist",
    "resize_to_course",
    "save_mat_weights",
]
