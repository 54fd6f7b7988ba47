"""Nested dicts, lists and tuples as JSON beside named arrays, and back.

JSON holds None, bool, str, int, finite floats and lists as they are, and everything else as an object whose one key
says what it is: ``dict``, ``tuple``, ``float``, ``array``, ``scalar``. An array is named after the place where it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import numpy as np
from numpy import ndarray

from ..errors import DataFormatError
from ..rules import plain
from ..tensor import Tensor
from .archive import DTYPES, MAX_TEXT

__all__ = ["as_array", "decode", "encode", "parse", "spelled"]

MAX_DEPTH: Final = 64
MAX_NAME: Final = 4096  # characters
MAX_BITS: Final = 8192  # of an int; Python itself reads 14,000 from text
Path: TypeAlias = tuple[str | int, ...]
Node: TypeAlias = Any  # what json.dumps takes and json.loads gives


def encode(obj: object, caller: str) -> tuple[Node, dict[str, ndarray]]:
    """`obj` as JSON, and its arrays by name.

    Raises
    ------
    TypeError
        If something in it cannot be stored; it is named.
    ValueError
        If it is nested too deeply (or contains itself), or a name would be too long or twice there.
    """
    arrays: dict[str, ndarray] = {}

    def store(value: object, path: Path) -> str:
        name = _name(path)
        if name in arrays or len(name) > MAX_NAME:
            wrong = "has the name of another array, whose key is a str" if name in arrays else "has too long a name"
            raise ValueError(f"{caller}: {_place(path)} {wrong}; rename a key")
        arrays[name] = as_array(value, caller, _place(path))
        return name

    def node(value: object, path: Path) -> Node:
        if len(path) > MAX_DEPTH:
            raise ValueError(f"{caller}: obj is nested more than {MAX_DEPTH} deep; does it contain itself?")
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if value.bit_length() > MAX_BITS:  # type: ignore[attr-defined]  # an int it is
                raise ValueError(f"{caller}: {_place(path)} is an int of more than {MAX_BITS} bits")
            return value
        if isinstance(value, float) and kind is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if isinstance(value, np.generic):
            return {"scalar": store(value, path)}
        if isinstance(value, ndarray | Tensor):
            return {"array": store(value, path)}
        if isinstance(value, Mapping):
            return {"dict": [[key(k, path), node(v, (*path, k))] for k, v in value.items()]}
        if isinstance(value, list | tuple) and kind in (list, tuple):
            items = [node(v, (*path, k)) for k, v in enumerate(value)]
            return items if kind is list else {"tuple": items}
        raise TypeError(_advice(value, f"{caller}: {_place(path)} is a {kind.__name__}"))

    def key(value: object, path: Path) -> object:
        if type(value) not in (str, int):
            raise TypeError(f"{caller}: {_place(path)} has the key {value!r:.80}; wanted a str or an int")
        return node(value, path)

    return node(obj, ()), arrays


def decode(root: Node, read: Callable[[str], ndarray]) -> Any:
    """The object that `encode` made `root` of; `read` gives an array by name.

    Raises
    ------
    DataFormatError
        If `encode` would not have made this; the message goes on after the name of the file.
    """

    def wrong(path: Path) -> DataFormatError:
        return DataFormatError(f"has a structure that is not one of save(), at {_place(path)}")

    def read_at(name: object, path: Path) -> ndarray:
        if name != _name(path):  # so no entry can be given a name of the sender's choice
            raise wrong(path)
        return read(_name(path))

    def value(node: Node, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise wrong(path)
        if isinstance(node, list):
            return [value(item, (*path, k)) for k, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        (tag, inner), *others = node.items() or [("", None)]
        if others:
            raise wrong(path)
        if tag == "dict" and isinstance(inner, list):
            return mapping(inner, path)
        if tag == "tuple" and isinstance(inner, list):
            return tuple(value(inner, path))
        if tag == "float" and inner in ("nan", "inf", "-inf"):
            return float(inner)
        if tag == "array":
            return read_at(inner, path)
        if tag == "scalar":
            scalar = read_at(inner, path)
            if scalar.ndim == 0:
                return scalar[()]
        raise wrong(path)

    def mapping(pairs: list[Node], path: Path) -> dict[str | int, Any]:
        result: dict[str | int, Any] = {}
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) not in (str, int) or pair[0] in result:
                raise wrong(path)
            result[pair[0]] = value(pair[1], (*path, pair[0]))
        return result

    return value(root, ())


def spelled(node: Node, caller: str) -> bytes:
    """`node` as text."""
    text = json.dumps(node, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"{caller}: without its arrays obj takes {len(text)} bytes, more than {MAX_TEXT}; "
            "put long lists of numbers into arrays"
        )
    return text


def parse(text: bytes) -> Node:
    """What `text` spells."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(f"has a damaged structure: {error}") from error


def as_array(value: object, caller: str, place: str) -> ndarray:
    """The values of an array, a Tensor or a NumPy scalar, if every machine has its dtype."""
    array = plain(value) if isinstance(value, Tensor) else value
    if isinstance(array, ndarray) and type(array) not in (ndarray, np.memmap):
        raise TypeError(
            f"{caller}: {place} is a {type(array).__name__}, wanted a plain array: numpy.asarray(x) makes one"
        )
    array = np.asarray(array)
    if array.dtype.str not in DTYPES:
        raise TypeError(
            f"{caller}: {place} has dtype {array.dtype}; wanted bool, integers, or real or complex numbers of at most "
            "64 bits a part: x.astype(np.float64) makes one of them. Text is stored as a str or a list of str"
        )
    return array


def _advice(value: object, came: str) -> str:
    if callable(getattr(value, "state_dict", None)):
        return f"{came}; pass its numbers, save(x.state_dict(), path), and later x.load_state_dict(load(path))"
    if isinstance(value, np.random.Generator | np.random.BitGenerator):
        return f"{came}; pass rng.bit_generator.state, or use save_checkpoint(path, ..., rng=rng)"
    wanted = "arrays, str, int, float, bool and None, and dict, list and tuple of them"
    return f"{came}; wanted {wanted}, and no subclasses of these"


def _name(path: Path) -> str:
    """The name of the array at `path`: a relative path without dots, whatever the keys are."""
    return "/".join(map(_part, path)) or "arr_0"  # as numpy.savez(file, array) calls it


def _part(key: str | int) -> str:
    text = quote(str(key), safe="", errors="surrogatepass")
    return (text if text.strip(".") else text.replace(".", "%2E")) or "%"  # quote itself leaves no % alone


def _place(path: Path) -> str:
    return "obj" + "".join(f"[{key!r:.80}]" for key in path)
