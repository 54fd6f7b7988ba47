"""A text and named arrays in one file: a zip archive of ``.npy`` files, as `numpy.savez` writes it, and no pickle.

It stands apart because this is where foreign bytes are met. Written with `zipfile`, but read by the lines below, which
take exactly what `write` makes. `zipfile` believes whatever a directory says, builds objects 13 times its size, and
refuses with a dozen kinds of exception that change from version to version.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy import ndarray
from numpy.lib import format as npy

from ..errors import DataFormatError

__all__ = ["DTYPES", "MAX_TEXT", "TEXT", "Archive", "check_bool", "write"]

TEXT: Final = "structure.json"  # the first entry, never compressed, so that its size is bounded by the file's
MAX_TEXT: Final = 16 << 20  # bytes; parsed, it takes some 25 times as much
# What is the same on every machine, by the name that a .npy header has for it. No longdouble, objects or text.
DTYPES: Final = {np.dtype(order + c).str: np.dtype(order + c) for c in "?bBhHiIqQefdFD" for order in "<>"}

_END: Final = struct.Struct("<4s4H2LH")  # signature, disks (4), size and offset of the directory, length of a comment
_END64: Final = struct.Struct("<4sQ2H2L4Q")  # signature, ..., entries twice, size and offset of the directory
_LOCATOR: Final = struct.Struct("<4sLQL")  # signature, disk, offset of _END64, disks
_LISTED: Final = struct.Struct("<4s4B4HL2L5H2L")  # one entry of the directory, before its name
_LOCAL: Final = struct.Struct("<4s5H3L2H")  # what stands before the data of an entry, before its name
_NPY: Final = re.compile(
    rb"\{'descr': '([^']{3,4})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?){0,64}(?:\d{1,19})?)\), \} *\n"
)
_DEFLATE_RATIO: Final = 1032  # deflate's limit: 258 bytes from 2 bits
_PIECE: Final = 1 << 20  # bytes per read


class _Entry(NamedTuple):
    """Where the data of an entry lie and what the directory says of them."""

    deflated: bool
    crc: int
    packed: int
    size: int
    at: int


def write(file: BinaryIO, text: bytes, arrays: Mapping[str, ndarray], *, compress: bool) -> None:
    """Write `text` and `arrays`; the same ones give the same bytes."""

    def put(name: str, method: int, *parts: Any) -> None:  # Any: whatever has a buffer
        info = zipfile.ZipInfo(name)  # its time stands at 1980, so that the bytes do not depend on the clock
        info.compress_type = method
        info.create_system = 3
        info.external_attr = 0o644 << 16
        info.file_size = sum(memoryview(part).nbytes for part in parts)  # decides on the form for above 4 GiB
        with archive.open(info, "w") as entry:
            for part in parts:
                entry.write(part)

    with zipfile.ZipFile(file, "w") as archive:
        put(TEXT, zipfile.ZIP_STORED, text)
        for name, array in arrays.items():
            header = npy.header_data_from_array_1_0(array)
            beginning = io.BytesIO()
            npy.write_array_header_1_0(beginning, header)
            flat = array.ravel("F" if header["fortran_order"] else "C").view(np.uint8)
            put(f"{name}.npy", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED, beginning.getvalue(), flat)


class Archive:
    """What `write` wrote, open for reading; nothing is taken from it before its size has been proved.

    Parameters
    ----------
    file : binary file
        Open for reading, from its beginning.
    size : int
        Of the file, in bytes.
    max_bytes : int
        What text and arrays may take in all.

    Raises
    ------
    DataFormatError
        If `write` would not have written this; the message goes on after the name of the file.
    """

    def __init__(self, file: BinaryIO, size: int, max_bytes: int) -> None:
        self._file = file
        self._entries = self._directory(size)
        total = sum(entry.size for entry in self._entries.values())
        if total > max_bytes:
            raise DataFormatError(
                f"unpacks to {total} bytes from {size}; the bound is {max_bytes}. "
                f"If you trust the file, pass max_bytes={total}"
            )

    @property
    def names(self) -> set[str]:
        """Names of the arrays that have not been read yet."""
        return {name.removesuffix(".npy") for name in self._entries}

    def text(self) -> bytes:
        """The text; read it first."""
        entry = self._entries.pop(TEXT, None)
        if entry is None or entry.deflated:
            raise DataFormatError(f"has no {TEXT}, which save() writes; numpy.load reads the files of numpy.savez")
        if entry.size > MAX_TEXT:
            raise DataFormatError(f"has a {TEXT} of {entry.size} bytes; the bound is {MAX_TEXT}")
        stream = _Stream(self._file, TEXT, entry)
        text = bytearray(entry.size)
        stream.fill(memoryview(text))
        stream.end()
        return bytes(text)

    def array(self, name: str) -> ndarray:
        """The array called `name`, once: each entry belongs to one place of the structure."""
        entry = self._entries.pop(f"{name}.npy", None)
        if entry is None:
            raise DataFormatError(f"has no array {name} left, which its structure names")
        stream = _Stream(self._file, f"{name}.npy", entry)
        start = stream.read(10)
        length = 10 + int.from_bytes(start[8:], "little")
        if start[:8] != b"\x93NUMPY\x01\x00":
            raise DataFormatError(f"has a damaged array {name}: it does not begin as .npy 1.0 does")
        header = _NPY.fullmatch(stream.read(length - 10))
        dtype = DTYPES.get(header[1].decode("latin-1")) if header else None
        if header is None or dtype is None:
            raise DataFormatError(f"has an array {name} of no dtype that is read here, or with a damaged header")
        shape = tuple(map(int, re.findall(rb"\d+", header[3])))
        # NumPy counts an empty axis as 1 where it asks whether a shape is possible at all.
        if (
            len(shape) > 64
            or dtype.itemsize * math.prod(max(n, 1) for n in shape) >= 2**63
            or dtype.itemsize * math.prod(shape) != entry.size - length
        ):
            raise DataFormatError(
                f"has a damaged array {name}: its header says {dtype} {shape}, its data are {entry.size - length} bytes"
            )
        array = np.empty(shape, dtype, "F" if header[2] == b"True" else "C")
        stream.fill(array.ravel("K").view(np.uint8).data)
        stream.end()
        check_bool(name, array)
        return array

    def _at(self, offset: int, length: int) -> bytes:
        """So many bytes at `offset`; an empty result where there are none."""
        if offset < 0:
            return b""
        self._file.seek(offset)
        data = self._file.read(length)
        return data if len(data) == length else b""

    def _directory(self, size: int) -> dict[str, _Entry]:
        """Every entry by its name, if together they fill the file from its beginning to the directory."""
        broken = DataFormatError("is truncated, damaged, or no file that save() wrote")
        start = self._at(0, 4)
        if start != b"PK\3\4":
            raise DataFormatError(f"begins with {start.hex(' ') or 'nothing'}; files of save() begin with 50 4b 03 04")
        end = size - _END.size
        tail = self._at(end, _END.size)
        if not tail:
            raise broken
        signature, *disks, count, again, length, offset, comment = _END.unpack(tail)
        if signature != b"PK\5\6" or any(disks) or count != again or comment:
            raise broken
        locator = self._at(end - _LOCATOR.size, _LOCATOR.size)
        if locator[:4] == b"PK\6\7":  # above 4 GiB or 65535 entries; no name holds such bytes
            end -= _LOCATOR.size + _END64.size
            record = self._at(end, _END64.size)
            if _LOCATOR.unpack(locator) != (b"PK\6\7", 0, end, 1) or record[:4] != b"PK\6\6":
                raise broken
            count, length, offset = _END64.unpack(record)[-3:]
        # What an entry has in the directory stands before its data again, with data behind it.
        if offset + length != end or length > offset:
            raise broken
        directory = self._at(offset, length)
        entries: dict[str, _Entry] = {}
        place = here = 0  # in the directory, in the file
        for _ in range(count):
            fields = directory[place : place + _LISTED.size]
            if len(fields) < _LISTED.size:
                raise broken
            signature, *_, flags, method, _, _, crc, packed, full, named, extra, comment, _, _, _, at = _LISTED.unpack(
                fields
            )
            place += _LISTED.size
            name = directory[place : place + named]
            wide = directory[place + named : place + named + extra]
            place += named + extra
            if 0xFFFFFFFF in (packed, full, at):  # above 4 GiB: the true ones stand in the extra field, in this order
                true = [int.from_bytes(wide[k : k + 8], "little") for k in range(4, len(wide), 8)]
                if len(true) != (packed, full, at).count(0xFFFFFFFF) or len(wide) != 4 + 8 * len(true):
                    raise broken
                full, packed, at = (true.pop(0) if n == 0xFFFFFFFF else n for n in (full, packed, at))
            local = self._at(here, _LOCAL.size)
            if signature != b"PK\1\2" or flags or comment or method not in (0, 8) or at != here or not local:
                raise broken
            marked, _, flags, again, *_, named, extra = _LOCAL.unpack(local)
            here += _LOCAL.size
            if marked != b"PK\3\4" or flags or again != method or self._at(here, named) != name:
                raise broken
            here += named + extra
            if not name.isascii() or name.decode() in entries or full > packed * (_DEFLATE_RATIO if method else 1):
                raise broken
            entries[name.decode()] = _Entry(bool(method), crc, packed, full, here)
            here += packed
        if place != length or here != offset:
            raise broken
        return entries


def check_bool(name: str, array: ndarray) -> None:
    """Refuse an array of bool with other bytes than 0 and 1, which NumPy counts wrongly and may index wrongly."""
    if array.dtype.kind == "b" and (array.ravel("K").view(np.uint8) > 1).any():
        raise DataFormatError(f"has a bool array {name} with other values than 0 and 1")


class _Stream:
    """The unpacked bytes of an entry, a given number at a time, and never more than that in memory."""

    def __init__(self, file: BinaryIO, name: str, entry: _Entry) -> None:
        self._file, self._name, self._entry = file, name, entry
        self._left = entry.packed
        self._unpack = zlib.decompressobj(-zlib.MAX_WBITS) if entry.deflated else None
        self._crc = 0
        file.seek(entry.at)

    def read(self, length: int) -> bytes:
        """So many bytes."""
        data = bytearray(length)
        self.fill(memoryview(data))
        return bytes(data)

    def fill(self, buffer: memoryview) -> None:
        """Bytes for the whole of `buffer`."""
        done = 0
        while done < len(buffer):
            piece = self._piece(min(_PIECE, len(buffer) - done))
            if not piece:
                raise DataFormatError(f"has a damaged entry {self._name}: its data end too early")
            buffer[done : done + len(piece)] = piece
            self._crc = zlib.crc32(piece, self._crc)
            done += len(piece)

    def end(self) -> None:
        """Nothing follows, and the checksum is right."""
        more = self._piece(1)
        whole = self._unpack is None or (self._unpack.eof and not self._unpack.unused_data)
        if more or self._left or not whole or self._crc != self._entry.crc:
            raise DataFormatError(f"has a damaged entry {self._name}: its checksum or its length is wrong")

    def _piece(self, length: int) -> bytes:
        """Up to `length` bytes, none at the end."""
        unpack = self._unpack
        if unpack is None:
            return self._taken(length)
        piece = b""
        while not piece and not unpack.eof:
            packed = unpack.unconsumed_tail or self._taken(_PIECE)
            try:
                piece = unpack.decompress(packed, length)
            except zlib.error as error:
                raise DataFormatError(f"has a damaged entry {self._name}: {error}") from error
            if not packed:
                break
        return piece

    def _taken(self, length: int) -> bytes:
        """Up to `length` bytes of the file."""
        data = self._file.read(min(length, self._left))
        self._left -= len(data)
        return data
