"""Digits to learn from, the files that digits and other examples come in, and what lies between a file and a batch.

It stands apart from the engine: these modules import NumPy, SciPy and the package's errors, files and randomness, and
return plain arrays, one example a row.
"""

from tinygrad_fnn.data import toy
from tinygrad_fnn.data.embedded import digits
from tinygrad_fnn.data.idx import load_idx, load_mnist
from tinygrad_fnn.data.loader import DataLoader
from tinygrad_fnn.data.mat import load_mat_digits, load_mat_weights, save_mat_weights
from tinygrad_fnn.data.resize import resize_to_course
from tinygrad_fnn.data.splits import k_fold, split
from tinygrad_fnn.data.tables import load_csv_data, load_npz_data
from tinygrad_fnn.data.transforms import Normalize, Standardize, shift_images

__all__ = [
    "DataLoader",
    "Normalize",
    "Standardize",
    "digits",
    "k_fold",
    "load_csv_data",
    "load_idx",
    "load_mat_digits",
    "load_mat_weights",
    "load_mnist",
    "load_npz_data",
    "resize_to_course",
    "save_mat_weights",
    "shift_images",
    "split",
    "toy",
]
