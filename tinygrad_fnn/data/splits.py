"""A data set in parts: for training, validation and test, or for cross-validation.

It stands apart because what is measured on the wrong part is worth nothing: every example is in one part, the sizes are
exact, and a seed repeats them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_fnn.data.given import arrays_of, count_of
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.randomness import Seed, as_generator

__all__ = ["k_fold", "split"]


def split(
    arrays: Any,  # Any: an array or a tuple of arrays, as in what is returned
    fractions: Sequence[float],
    *,
    rng: Seed = None,
    stratify: ArrayLike | None = None,
    shuffle: bool = True,
) -> list[Any]:
    """A data set in parts, each example in one of them.

    Parameters
    ----------
    arrays : array_like, or tuple of array_like
        The examples, one a row; all arrays of a tuple have the same number m of rows.
    fractions : sequence of float in (0, 1), or of int > 0
        Size of each part: fractions that sum to 1, or numbers of examples that sum to m.
    rng : numpy.random.Generator, int or None
        Where the order comes from; the package's generator by default.
    stratify : array_like, shape (m,), optional
        Labels: each part gets its share of every class. Of two parts, every class has its exact share rounded up or
        down; of more, the roundings of the parts before come on top.
    shuffle : bool
        False keeps the order, for examples that follow one another in time: the parts are views then.

    Returns
    -------
    list
        For each fraction what `arrays` is: an array, or a tuple of arrays. Copies in a random order if `shuffle`.

    Raises
    ------
    TypeError
        If `arrays` does not hold numbers, or `fractions` is no sequence of numbers.
    ShapeError
        If the arrays or the labels differ in length.
    ValueError
        If the fractions do not sum to 1, or the numbers to m; if a part would be empty; if a class has fewer examples
        than there are parts.

    Notes
    -----
    Fractions become numbers by the largest remainder: each part has its exact share rounded down or up, an earlier part
    first where they tie.

    Examples
    --------
    >>> X, y = np.arange(20.0).reshape(10, 2), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    >>> (X_train, y_train), (X_test, y_test) = split((X, y), (0.8, 0.2), rng=0, stratify=y)
    >>> X_train.shape, X_test.shape, sorted(y_test.tolist())
    ((8, 2), (2, 2), [0, 1])
    """
    checked = arrays_of("split", arrays if isinstance(arrays, tuple) else (arrays,))
    m = len(checked[0])
    sizes = _sizes(fractions, m)
    if shuffle:
        return [_pick(arrays, checked, rows) for rows in _parts("split", sizes, m, stratify, rng)]
    if stratify is not None:
        raise ValueError("split: stratify draws from every class, which shuffle=False forbids; choose one of them")
    stops = np.cumsum(sizes).tolist()
    return [_pick(arrays, checked, slice(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True)]


def k_fold(
    arrays: Any,  # Any: as in `split`
    k: int = 5,
    *,
    rng: Seed = None,
    stratify: ArrayLike | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Training and validation parts for cross-validation: each example is in one validation part.

    Parameters
    ----------
    arrays : array_like, or tuple of array_like
        The examples, one a row; all arrays of a tuple have the same number m of rows.
    k : int, 2 <= k <= m
        Number of parts, of m/k examples rounded down or up.
    rng : numpy.random.Generator, int or None
        Where the order comes from; the package's generator by default.
    stratify : array_like, shape (m,), optional
        Labels, as in `split`.

    Returns
    -------
    iterator of (training, validation)
        Each what `arrays` is; computed as it is asked for.

    Raises
    ------
    TypeError, ShapeError, ValueError
        As `split`; and if `k` is no integer, or out of range.

    Examples
    --------
    >>> for training, validation in k_fold(np.arange(5), 2, rng=0):
    ...     print(training, validation)
    [0 1] [2 4 3]
    [2 4 3] [0 1]
    """
    checked = arrays_of("k_fold", arrays if isinstance(arrays, tuple) else (arrays,))
    m = len(checked[0])
    if not 2 <= count_of("k_fold", "k", k) <= m:
        raise ValueError(f"k_fold: k is {k}, wanted 2 to {m}, the number of examples")
    folds = _parts("k_fold", _shares(m, [1] * int(k)), m, stratify, rng)
    return (
        (_pick(arrays, checked, np.concatenate(folds[:i] + folds[i + 1 :])), _pick(arrays, checked, folds[i]))
        for i in range(len(folds))
    )


def _sizes(fractions: Sequence[float], m: int) -> list[int]:
    """Number of examples of each part."""
    if np.ndim(fractions) != 1 or not len(fractions):
        raise TypeError(f"split: fractions is {fractions!r:.60}, wanted the size of every part, such as (0.8, 0.2)")
    parts = list(fractions)
    for part in parts:
        if isinstance(part, bool | np.bool) or not isinstance(part, int | float | np.integer | np.floating):
            raise TypeError(f"split: fractions has {part!r:.60}, wanted fractions or numbers of examples")
        if not part > 0:
            raise ValueError(f"split: fractions has {part}, wanted positive sizes")
    if all(isinstance(part, int | np.integer) for part in parts):
        sizes = [int(part) for part in parts]
        if sum(sizes) != m:
            raise ValueError(f"split: the parts {tuple(sizes)} sum to {sum(sizes)}, but there are {m} examples")
        return sizes
    total = math.fsum(parts)
    if abs(total - 1) > 1e-9:  # some roundings of decimal fractions
        hint = "; counts are integers" if total > 1.5 else ""
        raise ValueError(f"split: the fractions {tuple(map(float, parts))} sum to {total:g}, wanted 1{hint}")
    # Decimals as they were written: 0.7 is 7/10, though the float is less.
    sizes = _shares(m, [round(part * 10**12) for part in parts])
    if 0 in sizes:
        raise ValueError(f"split: {m} examples would make parts of {tuple(sizes)}; wanted none empty")
    return sizes


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in integers in proportion to `weights`, by the largest remainder, the first where they tie."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    for k in sorted(range(len(weights)), key=lambda k: -remainders[k])[: total - sum(shares)]:
        shares[k] += 1
    return shares


def _parts(
    function: str, sizes: Sequence[int], m: int, stratify: ArrayLike | None, rng: Seed
) -> list[NDArray[np.int64]]:
    """Row numbers of each part, in random order."""
    generator = as_generator(rng)
    order = generator.permutation(m)
    if stratify is None:
        return np.split(order, np.cumsum(sizes)[:-1])
    labels = np.asarray(stratify)
    if labels.shape != (m,):
        raise ShapeError(f"{function}: stratify is {labels.shape}, wanted a label for each of the {m} examples")
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < len(sizes):
        raise ValueError(
            f"{function}: stratify has the class {classes[counts.argmin()]} {counts.min()} times, fewer than the "
            f"{len(sizes)} parts"
        )
    # Where remainders tie, chance decides which class comes first, or the same ones would be short in every part.
    turn = generator.permutation(len(classes)).tolist()
    left = [order[inverse[order] == k] for k in turn]
    chosen = []
    for size in sizes:
        taken = _shares(size, list(map(len, left)))
        chosen.append(generator.permutation(np.concatenate([rows[:n] for rows, n in zip(left, taken, strict=True)])))
        left = [rows[n:] for rows, n in zip(left, taken, strict=True)]
    return chosen


def _pick(arrays: Any, checked: tuple[NDArray[Any], ...], rows: NDArray[np.int64] | slice) -> Any:
    picked = tuple(array[rows] for array in checked)
    return picked if isinstance(arrays, tuple) else picked[0]
