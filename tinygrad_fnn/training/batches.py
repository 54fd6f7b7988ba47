"""What `fit` takes as data: arrays, or batches that can be iterated over again in each epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

import numpy as np

from ..data import DataLoader
from ..errors import ShapeError
from ..randomness import Seed
from ..rules import plain

__all__ = ["as_batches", "batch_count", "examples_in", "pairs"]

_WANTED = "wanted (X, y), a DataLoader, or a list of (x, y) batches"


def as_batches(
    caller: str, data: Any, batch_size: int | None, shuffle: bool | None = None, rng: Seed = None
) -> Iterable[Any]:
    """`data` as something that gives its batches each time it is iterated over.

    Parameters
    ----------
    caller : str
        The function and the argument, for messages.
    data : tuple (X, y) of array_like, or re-iterable of pairs
    batch_size, shuffle, rng
        For a tuple, which becomes a `DataLoader`; None where `data` comes in batches already.

    Returns
    -------
    iterable

    Raises
    ------
    TypeError
        If `data` is neither, or an iterator, which is used up after one epoch.
    ValueError
        If the arrays differ in length or are empty, or something is given that a loader decides for itself.
    """
    if isinstance(data, tuple):
        if len(data) != 2:
            raise TypeError(f"{caller}: got a tuple of {len(data)}, wanted (X, y); batches go in a list")
        if any(isinstance(part, tuple) for part in data):
            raise TypeError(f"{caller}: got a tuple of tuples; (X, y) are two arrays, and batches go in a list")
        X, y = (np.asarray(plain(part)) for part in data)
        if not X.ndim or not y.ndim or len(X) != len(y):
            raise ShapeError(f"{caller}: X is {X.shape} and y is {y.shape}, wanted a row of each for every example")
        if not len(X):
            raise ValueError(f"{caller}: X is {X.shape}, there are no examples")
        size = 32 if batch_size is None else batch_size
        return DataLoader((X, y), size, bool(shuffle), rng=rng)
    if isinstance(data, float | int):
        raise TypeError(f"{caller}: got {data!r}, {_WANTED}; data.split takes a share of the data apart")
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | dict | np.ndarray) or hasattr(data, "ndim"):
        raise TypeError(f"{caller}: got a {type(data).__name__}, {_WANTED}")
    if isinstance(data, Iterator):
        raise TypeError(f"{caller}: a {type(data).__name__} is used up after one epoch; pass list(...) or a DataLoader")
    given = {"batch_size": batch_size, "shuffle": shuffle, "rng": rng}
    if set_here := [name for name, value in given.items() if value is not None]:
        raise ValueError(
            f"{caller}: {' and '.join(set_here)} is for (X, y); a {type(data).__name__} brings its batches as they are"
        )
    return data


def batch_count(batches: Iterable[Any]) -> int | None:
    """How many batches there are, if that is known."""
    return len(batches) if isinstance(batches, Sized) else None


def pairs(caller: str, batches: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """The batches, each looked at."""
    k = 0
    for k, batch in enumerate(batches, 1):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            kind = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise TypeError(f"{caller}: batch {k} is a {kind}, wanted a pair (x, y)")
        yield batch[0], batch[1]
    if not k:
        raise ValueError(f"{caller}: there are no batches")


def examples_in(x: Any) -> int:
    """The length of the first axis; 1 for a single number."""
    shape = np.shape(x)
    return shape[0] if shape else 1
