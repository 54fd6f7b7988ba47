"""The 5000 digits that come with the package; `SOURCE.md` beside this file says whence.

They are stored as MNIST's 28 x 28 images (0.8 MB), from which the course's 20 x 20 set follows to the last bit.
"""

from __future__ import annotations

import functools
from importlib.resources import as_file, files
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinygrad_fnn.data.idx import load_idx
from tinygrad_fnn.data.resize import resize_to_course

__all__ = ["digits"]


def digits(size: Literal[20, 28] = 20) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Handwritten digits: X and y of the Coursera exercises ex3 and ex4, equal to ``ex4data1.mat`` in every bit.

    Parameters
    ----------
    size : {20, 28}
        Side of a picture in pixels: 20 for the course set, 28 for the MNIST images that it was made from.

    Returns
    -------
    X : ndarray of float64, shape (5000, 400) or (5000, 784)
        A picture a row. With `size` 20 unrolled column by column (``X[i].reshape(20, 20).T`` is upright), values in
        [-0.132, 1.128] because the resizing filter overshoots; with `size` 28 row by row, as in MNIST, in [0, 1].
    y : ndarray of int64, shape (5000,)
        The digits 0 to 9, in order, 500 each (the course's file has label 10 for digit 0). Shuffle before splitting.

        Both arrays are the caller's own; writing to them changes nothing for the next caller.

    Notes
    -----
    These are MNIST *training* images: MNIST's test set is disjoint from them, its training set is not.

    Examples
    --------
    >>> X, y = digits()
    >>> X.shape, np.bincount(y)
    ((5000, 400), array([500, 500, 500, 500, 500, 500, 500, 500, 500, 500]))
    """
    images, labels = _stored()
    if size == 20:
        X = _course().copy()
    elif size == 28:
        X = np.divide(images.reshape(len(images), -1), 255, dtype=np.float64)
    else:
        raise ValueError(f"digits: size is {size!r}, wanted 20 (the course set) or 28 (MNIST)")
    return X, labels.astype(np.int64)


@functools.cache
def _stored() -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Grey values, shape (5000, 28, 28), and labels, shape (5000,), as they are stored."""
    folder = files("tinygrad_fnn.data")
    with as_file(folder / "digits-images-idx3-ubyte.gz") as path:
        images = load_idx(path)
    with as_file(folder / "digits-labels-idx1-ubyte.gz") as path:
        return images, load_idx(path)


@functools.cache
def _course() -> NDArray[np.float64]:
    """The course set, kept because its computation takes longer than its copy."""
    return resize_to_course(_stored()[0])
