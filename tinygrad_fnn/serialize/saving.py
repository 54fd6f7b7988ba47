"""`save` and `load`: nested dicts, lists and tuples of arrays, numbers and text in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
from numpy import ndarray

from ..errors import DataFormatError, MissingExtraError
from ..files import StrPath, opened, replacing
from . import archive, structure

__all__ = ["load", "save"]

Format = Literal["npz", "safetensors"]

VERSION: Final = 1  # of the format; one up when a reader of the old one would misread the new one
SUFFIX: Final = ".safetensors"
LEAST_BOUND: Final = 2**30  # bytes
RATIO: Final = 20  # how far an honest file is expected to have been compressed


def save(obj: Any, path: StrPath, *, compress: bool = False, format: Format | None = None) -> None:  # Any: nested
    r"""Write an object to a file, whole or not at all.

    Parameters
    ----------
    obj : nested dict, list or tuple of array, Tensor, NumPy scalar, str, int, float, bool or None
        What `state_dict()` of modules and optimizers returns, for example. Of a Tensor the values are stored, and an
        array comes back; a mapping comes back as a dict. Keys are str or int.
    path : str or os.PathLike
        Used exactly as given, no extension is added. A file that exists is replaced, or, if anything fails, kept.
    compress : bool
        Deflate the arrays. Trained weights hardly shrink, zeros and counts do.
    format : {"npz", "safetensors"}, optional
        "safetensors" takes a flat dict of arrays and needs that library; the default where `path` ends in
        ``.safetensors``. "npz" is the default elsewhere.

    Raises
    ------
    TypeError
        If something in `obj` cannot be stored; the message says where it is.
    ValueError
        If `obj` is nested more than 64 deep or contains itself.
    OSError
        If the file cannot be written.

    See Also
    --------
    save_checkpoint : a whole training run.

    Notes
    -----
    The format, which `numpy.load` reads too, is described in ``docs/files.md``. The same object gives the same bytes.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save({"W": np.eye(2), "classes": ["cat", "dog"], "lr": 0.1}, f"{folder}/net.npz")
    ...     load(f"{folder}/net.npz")
    {'W': array([[1., 0.],
           [0., 1.]]), 'classes': ['cat', 'dog'], 'lr': 0.1}
    """
    write(obj, path, "save", compress=compress, format=format)


def write(obj: Any, path: StrPath, caller: str, *, compress: bool = False, format: Format | None = None) -> None:
    """`save`, under the name of the function that was called."""
    path = _path(path, caller)
    if _format(path, caller, format) == SUFFIX[1:]:
        _save_safetensors(obj, path, caller, compress)
        return
    node, arrays = structure.encode(obj, caller)
    from .. import __version__

    head = {"format": "tinygrad_fnn", "version": VERSION, "package": __version__, "object": node}
    text = structure.spelled(head, caller)
    with replacing(path) as file:
        archive.write(file, text, arrays, compress=compress)


def load(path: StrPath, *, format: Format | None = None, max_bytes: int | None = None) -> Any:  # Any: nested
    """The object in a file of `save`.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    format : {"npz", "safetensors"}, optional
        As for `save`.
    max_bytes : int, optional
        What the arrays may take in memory; 20 times the size of the file if not given, and at least 1 GiB.

    Returns
    -------
    nested dict, list or tuple
        As it was given to `save`: dtypes, byte order and row- or column-major order included. The arrays are writable
        and share nothing.

    Raises
    ------
    DataFormatError
        If the file is truncated, damaged, too large when unpacked, of a newer version, or not one of `save`. Nothing
        in a file is ever run, and no memory is taken on the word of a header alone.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    save : has an example.
    """
    return read(path, "load", format=format, max_bytes=max_bytes)


def read(path: StrPath, caller: str, *, format: Format | None = None, max_bytes: int | None = None) -> Any:
    """`load`, under the name of the function that was called."""
    path = _path(path, caller)
    special = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    if special:  # opening a pipe would wait for ever
        raise DataFormatError(f"{caller}: {path} is not a regular file")
    with opened(caller, path) as file:
        size = os.fstat(file.fileno()).st_size
        bound = max(LEAST_BOUND, RATIO * size) if max_bytes is None else max_bytes
        try:
            if _format(path, caller, format) == SUFFIX[1:]:
                return _load_safetensors(path, size, bound)
            entries = archive.Archive(file, size, bound)
            obj = structure.decode(_object(structure.parse(entries.text())), entries.array)
            if entries.names:
                raise DataFormatError(f"has an array {min(entries.names)!r:.80} that its structure does not name")
        except DataFormatError as fault:
            raise DataFormatError(f"{caller}: {path} {fault}") from fault.__cause__
    return obj


def _object(head: Any) -> Any:  # Any: whatever JSON holds
    """What stands in the structure of a file of this version."""
    if not isinstance(head, dict) or head.get("format") != "tinygrad_fnn" or type(head.get("version")) is not int:
        raise DataFormatError("has a structure that is not one of save()")
    if head["version"] > VERSION:
        raise DataFormatError(
            f"has version {head['version']} of the format, written by tinygrad_fnn {head.get('package')!s:.20}; "
            f"this package reads up to {VERSION}: python -m pip install --upgrade tinygrad_fnn"
        )
    if head["version"] != VERSION or head.keys() != {"format", "version", "package", "object"}:
        raise DataFormatError("has a structure that is not one of save()")
    return head["object"]


def _path(path: StrPath, caller: str) -> str:
    if not isinstance(path, str | os.PathLike):
        order = "save(obj, path)" if caller == "save" else f"{caller}(path)"
        raise TypeError(f"{caller}: path is a {type(path).__name__}, wanted a str or a Path: {order}")
    return os.fspath(path)


def _format(path: str, caller: str, format: str | None) -> str:
    if format is None:
        return SUFFIX[1:] if path.endswith(SUFFIX) else "npz"
    if format not in ("npz", SUFFIX[1:]):
        raise ValueError(f"{caller}: format is {format!r}, wanted 'npz' or 'safetensors'")
    return format


# --- safetensors ----------------------------------------------------------------------------------------------------


def _library() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError("files of safetensors need its library", "safetensors") from error
    return safetensors


def _save_safetensors(obj: object, path: str, caller: str, compress: bool) -> None:
    library = _library()
    if compress:
        raise ValueError(f"{caller}: safetensors files are not compressed; drop compress=True or write an .npz")
    flat = isinstance(obj, Mapping) and all(type(key) is str and hasattr(v, "dtype") for key, v in obj.items())
    if not flat or not isinstance(obj, Mapping):
        raise TypeError(f"{caller}: a safetensors file holds a flat dict of arrays, keys str; .npz holds anything")
    arrays = {k: np.asarray(structure.as_array(v, caller, f"obj[{k!r}]"), order="C") for k, v in obj.items()}
    try:
        content = library.numpy.save(arrays)
    except (library.SafetensorError, UnicodeError) as error:
        raise TypeError(f"{caller}: safetensors refuses this: {error}; .npz holds every dtype") from error
    with replacing(path) as file:
        file.write(content)


def _load_safetensors(path: str, size: int, bound: int) -> dict[str, ndarray]:
    library = _library()
    if size > bound:
        raise DataFormatError(f"has {size} bytes; max_bytes is {bound}")
    try:
        arrays: dict[str, ndarray] = library.numpy.load_file(path)
    except (library.SafetensorError, KeyError, ValueError) as error:
        raise DataFormatError(f"is no safetensors file that can be read here: {error}") from error
    for name, array in arrays.items():
        archive.check_bool(name, array)
    return {name: array.copy() for name, array in arrays.items()}
