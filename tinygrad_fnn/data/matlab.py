"""The real matrices in a MATLAB file of version 5 to 7.2, the format of ``save -v6`` and ``save -v7``.

It stands apart, and beside SciPy's reader, because that one ends the process on damaged files (SciPy 1.17: segmentation
faults within seconds of random changes). This one reads real matrices only, trusts nothing, and takes memory only for
what is there. Titles in quotation marks are sections of MathWorks, *MAT-File Format*, chapter 1.
"""

from __future__ import annotations

import itertools
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tinygrad_fnn.data.idx import DEFLATE_RATIO
from tinygrad_fnn.errors import DataFormatError

__all__ = ["read_matlab"]

HEADER = 128
ORDERS = {b"IM": "<", b"MI": ">"}
HDF5 = b"\x89HDF\r\n\x1a\n"
OCTAVE = (b"# Created by Octave", b"Octave-1-")  # what `save` writes in Octave when no format is asked for
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT32, UINT32, MATRIX, COMPRESSED = 5, 6, 14, 15
CLASSES = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix", 16: "a function"}
NUMERIC, OPAQUE = range(6, 16), 17
COMPLEX = 0x0800


def read_matlab(content: bytes) -> dict[str, NDArray[np.float64] | str]:
    """Variables of a MATLAB file, by name, in the order of the file.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    dict of str to ndarray of float64, shape (rows, columns)
        A copy in C order. For a variable that is not a real, full matrix, a few words that say what it is.

    Raises
    ------
    DataFormatError
        If `content` is something else or is damaged. The message is the end of a sentence that begins with the path.

    Examples
    --------
    >>> import io, scipy.io
    >>> file = io.BytesIO()
    >>> scipy.io.savemat(file, {"y": [[1], [10]], "z": 1j})
    >>> read_matlab(file.getvalue())
    {'y': array([[ 1.], [10.]]), 'z': 'complex'}
    """
    if HDF5 in (content[:8], content[512:520]):
        raise DataFormatError(
            "is a MATLAB file of version 7.3 (HDF5), which is not read here; write it with `save -v7`, or read it with "
            "the package mat73"
        )
    if content.startswith(OCTAVE):
        raise DataFormatError("is in Octave's own format; write it with `save -v7`")
    order = ORDERS.get(content[HEADER - 2 : HEADER])
    if order is None or 0 in content[:4]:  # a zero among the first four bytes: version 4
        raise DataFormatError(
            f"begins with {content[:16]!r} and is no MATLAB file of version 5 to 7.2; write it with `save -v7`"
        )
    variables: dict[str, NDArray[np.float64] | str] = {}
    for kind, payload in _elements(memoryview(content)[HEADER:], order, align=1):
        if kind == COMPRESSED:
            kind, payload = _inflated(payload, order)
        if kind != MATRIX:
            raise DataFormatError(f"is damaged: an element of type {kind} where a variable was due")
        name, value = _variable(payload, order)
        if name in variables:
            raise DataFormatError(f"has {name} twice")
        if name:  # what has none belongs to functions and objects
            variables[name] = value
    return variables


def _elements(data: memoryview, order: str, align: int) -> Iterator[tuple[int, memoryview]]:
    """Type and payload of each data element, padded to a multiple of `align` bytes ("Data Element Format")."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise DataFormatError("is damaged: it ends inside a tag")
        kind, size = struct.unpack_from(order + "II", data, at)
        start, room, end = at + 8, len(data) - at - 8, at + 8 + size + -size % align
        if kind >> 16:  # the small format: size, type and up to four bytes share the eight of a tag
            kind, size = kind & 0xFFFF, kind >> 16
            start, room, end = at + 4, 4, at + 8
        if size > room:
            raise DataFormatError(f"is damaged: an element of {size} bytes where {room} are left")
        yield kind, data[start : start + size]
        at = end


def _inflated(payload: memoryview, order: str) -> tuple[int, memoryview]:
    """Type and payload of the one element that a compressed one holds."""
    inflate = zlib.decompressobj()
    try:
        tag = inflate.decompress(payload, 8)
        if len(tag) < 8:
            raise DataFormatError("is damaged: a compressed variable is empty")
        kind, size = struct.unpack(order + "II", tag)
        if not 0 < size <= DEFLATE_RATIO * len(payload):
            raise DataFormatError(f"is damaged: {len(payload)} compressed bytes declare {size}")
        data = inflate.decompress(inflate.unconsumed_tail, size)
        excess = inflate.decompress(inflate.unconsumed_tail, 1)  # reads the checksum
    except zlib.error as error:
        raise DataFormatError(f"is damaged: {error}") from error
    if len(data) < size or excess or not inflate.eof:
        raise DataFormatError(f"is damaged: a compressed variable is not the {size} bytes that it declares")
    return kind, memoryview(data)


def _variable(payload: memoryview, order: str) -> tuple[str, NDArray[np.float64] | str]:
    """Name and value from flags, dimensions, name and real part ("Numeric Array Data Element Formats")."""
    parts = list(itertools.islice(_elements(payload, order, align=8), 4))
    if len(parts) < 3 or parts[0][0] != UINT32 or len(parts[0][1]) != 8:
        raise DataFormatError("is damaged: a variable without flags, dimensions and name")
    flags = struct.unpack_from(order + "I", parts[0][1])[0]
    code = flags & 0xFF
    if code == OPAQUE:  # MATLAB's own, undocumented, without dimensions
        return "", "opaque"
    name = bytes(parts[2][1]).decode("ascii", "backslashreplace")
    if "\\" in name:
        raise DataFormatError(f"is damaged: a variable with the name {name}")
    if code not in NUMERIC:
        return name, CLASSES.get(code, f"of the unknown class {code}")
    if flags & COMPLEX:
        return name, "complex"
    kind, sizes = parts[1]
    if kind not in (INT32, UINT32) or len(sizes) % 4:  # some writers have the wrong one
        raise DataFormatError(f"is damaged: the dimensions of {name}")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if len(shape) != 2:
        return name, f"an array of shape {shape}"
    kind, numbers = parts[3] if len(parts) > 3 else (0, memoryview(b""))
    if kind not in NUMBERS or min(shape) < 0 or len(numbers) != math.prod(shape) * np.dtype(NUMBERS[kind]).itemsize:
        raise DataFormatError(f"is damaged: {name} is {shape}, and has {len(numbers)} bytes of type {kind}")
    flat = np.frombuffer(numbers, order + NUMBERS[kind])
    return name, np.array(flat.reshape(shape, order="F"), dtype=np.float64, order="C")
