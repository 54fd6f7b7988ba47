"""Points in the plane in classes that no line separates: what a hidden layer is for, to be seen in a picture.

It stands apart because nothing here is data: every set is a formula, exact where `noise` is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_fnn.data.given import count_of
from tinygrad_fnn.randomness import Seed, as_generator

__all__ = ["circles", "moons", "spiral", "xor"]

Points: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]


def xor(n: int = 200, noise: float = 0.0, *, rng: Seed = None) -> Points:
    """A square in four quarters; class 1 where the coordinates differ in sign.

    Parameters
    ----------
    n : int > 0
        Number of points.
    noise : float >= 0
        Standard deviation of what is added to each coordinate afterwards.
    rng : numpy.random.Generator, int or None
        Where the points, their order and the noise come from; the package's generator by default.

    Returns
    -------
    X : ndarray of float64, shape (n, 2)
        Evenly distributed in [-1, 1], the same number in every quarter (or one more), and none on an axis.
    y : ndarray of int64, shape (n,)
        0 or 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer, or `noise` no number >= 0.

    Examples
    --------
    >>> X, y = xor(100, rng=0)
    >>> bool(np.all(y == (X[:, 0] * X[:, 1] < 0)))
    True
    """

    def place(k: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        sign = 1 - 2 * (k % 2)  # two quarters of each class, in turn
        magnitude = 1 - rng.random((len(k), 2))  # in (0, 1]
        return np.column_stack([sign * magnitude[:, 0], np.where(classes == 1, -sign, sign) * magnitude[:, 1]])

    return _points("xor", n, noise, 2, rng, place)


def circles(n: int = 200, noise: float = 0.0, *, factor: float = 0.5, rng: Seed = None) -> Points:
    """Two circles about the origin: class 0 with radius 1, class 1 with radius `factor`.

    Parameters
    ----------
    n : int > 0
        Number of points, half of them (or one more) in class 0.
    noise : float >= 0
        Standard deviation of what is added to each coordinate.
    factor : float in (0, 1)
        Radius of the inner circle.
    rng : numpy.random.Generator, int or None
        Where the order and the noise come from; the package's generator by default.

    Returns
    -------
    X : ndarray of float64, shape (n, 2)
        At equal angles on each circle, the first at angle 0.
    y : ndarray of int64, shape (n,)
        0 or 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer, `noise` no number >= 0, or `factor` out of range.

    Examples
    --------
    >>> X, y = circles(100, factor=0.25, rng=0)
    >>> np.unique(np.hypot(*X[y == 1].T).round(12))
    array([0.25])
    """
    _number("circles", "factor", factor)
    if not 0 < factor < 1:
        raise ValueError(f"circles: factor is {factor}, wanted a number between 0 and 1")

    def place(k: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        angle = 2 * np.pi * k / np.bincount(classes, minlength=2)[classes]
        radius = np.where(classes == 1, factor, 1.0)
        return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])

    return _points("circles", n, noise, 2, rng, place)


def moons(n: int = 200, noise: float = 0.0, *, rng: Seed = None) -> Points:
    """Two half circles that reach into each other.

    Parameters
    ----------
    n : int > 0
        Number of points, half of them (or one more) in class 0.
    noise : float >= 0
        Standard deviation of what is added to each coordinate.
    rng : numpy.random.Generator, int or None
        Where the order and the noise come from; the package's generator by default.

    Returns
    -------
    X : ndarray of float64, shape (n, 2)
        Class 0 is ``(cos t, sin t)``, class 1 is ``(1 - cos t, 1/2 - sin t)``, with t at equal distances from 0 to pi.
    y : ndarray of int64, shape (n,)
        0 or 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is no positive integer, or `noise` no number >= 0.

    Examples
    --------
    >>> X, y = moons(6, rng=0)
    >>> sorted(X[y == 1][:, 1].round(12).tolist())
    [-0.5, 0.5, 0.5]
    """

    def place(k: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        t = np.pi * (k / np.maximum(np.bincount(classes, minlength=2) - 1, 1)[classes])
        upper = np.column_stack([np.cos(t), np.sin(t)])
        return np.where(classes[:, None] == 1, [1.0, 0.5] - upper, upper)

    return _points("moons", n, noise, 2, rng, place)


def spiral(n: int = 300, noise: float = 0.0, *, classes: int = 3, turns: float = 1.0, rng: Seed = None) -> Points:
    """Arms of a spiral, one for each class.

    Parameters
    ----------
    n : int > 0
        Number of points, divided evenly among the arms; one more in the first ones if need be.
    noise : float >= 0
        Standard deviation of what is added to each coordinate.
    classes : int > 0
        Number of arms.
    turns : float
        How often an arm goes round; against the clock if positive.
    rng : numpy.random.Generator, int or None
        Where the order and the noise come from; the package's generator by default.

    Returns
    -------
    X : ndarray of float64, shape (n, 2)
        Arm c is ``r (cos t, sin t)`` with ``t = 2 pi (turns r + c / classes)``, r at equal distances in (0, 1].
    y : ndarray of int64, shape (n,)
        0 to ``classes - 1``.

    Raises
    ------
    TypeError, ValueError
        If `n` or `classes` is no positive integer, `noise` no number >= 0, or `turns` no number.

    Examples
    --------
    >>> X, y = spiral(300, classes=3, rng=0)
    >>> np.bincount(y), float(np.hypot(*X.T).max().round(12))
    (array([100, 100, 100]), 1.0)
    """
    count = count_of("spiral", "classes", classes)
    _number("spiral", "turns", turns)

    def place(k: NDArray[np.int64], arm: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
        r = (k + 1) / np.bincount(arm, minlength=count)[arm]
        t = 2 * np.pi * (turns * r + arm / count)
        return np.column_stack([r * np.cos(t), r * np.sin(t)])

    return _points("spiral", n, noise, count, rng, place)


def _points(
    function: str,
    n: int,
    noise: float,
    classes: int,
    rng: Seed,
    place: Callable[[NDArray[np.int64], NDArray[np.int64], np.random.Generator], NDArray[np.float64]],
) -> Points:
    """`n` points in random order: `place` puts the k-th of each class, and noise moves it."""
    n = count_of(function, "n", n)
    _number(function, "noise", noise)
    if noise < 0:
        raise ValueError(f"{function}: noise is {noise}, wanted a standard deviation >= 0")
    generator = as_generator(rng)
    k, y = np.divmod(generator.permutation(n), classes)
    X = place(k, y, generator)
    if noise:
        X += noise * generator.standard_normal(X.shape)
    return X, y


def _number(function: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}, wanted a number")
    if not np.isfinite(value):
        raise ValueError(f"{function}: {name} is {value}, wanted a finite number")
