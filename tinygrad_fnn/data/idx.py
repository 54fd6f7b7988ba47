"""IDX, the file format of MNIST, and MNIST itself.

A file is read only as far as its own header says, and the header is believed only as far as the size of the file
allows: a damaged or malicious file costs an exception, not the memory of the machine.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_fnn.errors import DataFormatError
from tinygrad_fnn.files import StrPath, opened

__all__ = ["load_idx", "load_mnist"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
DEFLATE_RATIO = 1032  # deflate's limit: 258 bytes from 2 bits
MAX_NDIM = 64  # NumPy's limit
PIECE = 1 << 20  # bytes per read
MAX_BYTES = 2**30


def load_idx(path: StrPath, *, max_bytes: int = MAX_BYTES) -> NDArray[np.number]:
    """Array of an IDX file, plain or gzipped; which of the two, its first bytes say, not its name.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    max_bytes : int
        Largest size of the array, in bytes, that the header may declare.

    Returns
    -------
    ndarray, shape as the header declares
        uint8, int8, int16, int32, float32 or float64, in the machine's byte order; writable.

    Raises
    ------
    DataFormatError
        If the file is not IDX, is truncated, goes on after its data, or declares more than `max_bytes` or than a file
        of its size can hold. A lie in the header is found before memory is taken.
    TypeError
        If `path` is no path.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read.

    Notes
    -----
    The header is two zero bytes, the type, the number of dimensions, and the dimensions as big-endian 32-bit integers;
    the elements follow, big-endian and row-major. Reading takes at most twice the memory of the array.

    Examples
    --------
    >>> from importlib.resources import files
    >>> load_idx(files("tinygrad_fnn.data") / "digits-images-idx3-ubyte.gz").shape
    (5000, 28, 28)
    """
    return _load("load_idx", path, max_bytes)


def load_mnist(
    images: StrPath, labels: StrPath, *, dtype: DTypeLike = np.float64
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """MNIST, or a data set in its form (Fashion-MNIST, KMNIST), from its two files.

    Parameters
    ----------
    images : str or os.PathLike
        File of the images: IDX, 3 dimensions, uint8; plain or gzipped.
    labels : str or os.PathLike
        File of their labels: IDX, 1 dimension, uint8, 0 to 9.
    dtype : dtype
        Floating-point type of X.

    Returns
    -------
    X : ndarray of `dtype`, shape (m, rows * columns)
        Grey in [0, 1], a picture a row, unrolled row by row: ``X[i].reshape(28, 28)`` is upright. `resize_to_course`
        makes the course's form of it.
    y : ndarray of int64, shape (m,)
        The digits 0 to 9.

    Raises
    ------
    DataFormatError
        If a file is damaged (see `load_idx`) or holds something else, or the two do not belong together.
    TypeError
        If `dtype` is not a floating-point type: grey in [0, 1] would become 0. If `images` or `labels` is no path.
    OSError
        If there is no such file (FileNotFoundError), or it cannot be read.

    Examples
    --------
    >>> from importlib.resources import files
    >>> folder = files("tinygrad_fnn.data")
    >>> X, y = load_mnist(folder / "digits-images-idx3-ubyte.gz", folder / "digits-labels-idx1-ubyte.gz")
    >>> X.shape, y.shape, float(X.max())
    ((5000, 784), (5000,), 1.0)
    """
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(f"load_mnist: dtype is {np.dtype(dtype)}, wanted a floating-point type")
    grey, digit = (_load("load_mnist", path, MAX_BYTES) for path in (images, labels))
    for path, array, ndim, wanted in ((images, grey, 3, "(m, rows, columns)"), (labels, digit, 1, "(m,)")):
        if array.ndim != ndim or array.dtype != np.uint8:
            hint = "; are images and labels swapped?" if (grey.ndim, digit.ndim) == (1, 3) else ""
            raise DataFormatError(f"load_mnist: {path} is {array.dtype} {array.shape}, wanted uint8 {wanted}{hint}")
    if len(grey) != len(digit):
        raise DataFormatError(
            f"load_mnist: {images} has {len(grey)} images, {labels} has {len(digit)} labels; is one of the training "
            "set and the other of the test set?"
        )
    if (digit > 9).any():
        row = int(np.argmax(digit > 9))
        raise DataFormatError(f"load_mnist: {labels} has label {digit[row]} at index {row}, wanted 0 to 9")
    X: NDArray[np.floating] = np.divide(grey.reshape(len(grey), -1), 255, dtype=dtype)
    return X, digit.astype(np.int64)


def _load(function: str, path: StrPath, max_bytes: int) -> NDArray[np.number]:
    """`load_idx`, on behalf of `function`."""
    with opened(function, path) as file:
        stored = os.fstat(file.fileno()).st_size
        try:
            if file.peek(2)[:2] == GZIP:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(unpacked, DEFLATE_RATIO * stored, max_bytes)
            return _read(file, stored, max_bytes)
        except DataFormatError as fault:
            raise DataFormatError(f"{function}: {path} {fault}") from fault.__cause__
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataFormatError(f"{function}: {path} is a damaged gzip file: {error}") from error


def _read(stream: BinaryIO | gzip.GzipFile, possible: int, max_bytes: int) -> NDArray[np.number]:
    """Array of the IDX data in `stream`, of which there cannot be more than `possible` bytes.

    The message of its errors is the end of a sentence that begins with the path.
    """
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= MAX_NDIM:
        raise DataFormatError(
            f"begins with {magic.hex(' ') or 'nothing'}, which is not IDX; wanted 00 00, a type "
            f"(one of {' '.join(f'{code:02x}' for code in DTYPES)}) and 1 to {MAX_NDIM} dimensions"
        )
    dtype, header = np.dtype(DTYPES[magic[2]]), 4 * magic[3]
    dimensions = stream.read(header)
    if len(dimensions) < header:
        raise DataFormatError(f"ends inside its header, which has {4 + header} bytes")
    shape = struct.unpack(f">{magic[3]}I", dimensions)
    size = dtype.itemsize * math.prod(shape)
    declared = f"declares {dtype.name} {shape}, {size} bytes"
    if dtype.itemsize * math.prod(max(n, 1) for n in shape) > max_bytes:  # NumPy too counts an empty axis as 1
        raise DataFormatError(f"{declared}; max_bytes is {max_bytes}")
    if 4 + header + size > possible:
        raise DataFormatError(f"{declared}; a file of its size holds no more than {possible}")
    data = bytearray()
    while len(data) < size:
        piece = stream.read(min(PIECE, size - len(data)))
        if not piece:
            raise DataFormatError(f"{declared}, but ends after {len(data)}")
        data += piece
    if stream.read(1):
        raise DataFormatError(f"{declared}, but goes on after them")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
