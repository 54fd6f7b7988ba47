"""Examples made ready: features on one scale, learned from the training part alone, and pictures moved about.

It stands apart because a transform has a state that belongs to a trained network: whoever saves the weights saves the
means beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from tinygrad_fnn.data.given import REAL, numbers_of
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.randomness import Seed, as_generator

__all__ = ["Normalize", "Standardize", "shift_images"]


class _Scaling:
    """What `Standardize` and `Normalize` share: ``(X - centre) / scale`` with numbers learned by `fit`."""

    _names: ClassVar[tuple[str, str]]  # of the centre and the scale, in state and attributes

    def __init__(self, *, axis: Literal[0] | None = 0) -> None:
        if axis is not None and (isinstance(axis, bool) or axis != 0):
            raise ValueError(f"{type(self).__name__}: axis is {axis!r}, wanted 0 (each feature) or None (all together)")
        self.axis = axis
        self._fitted: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def fit(self, X: ArrayLike) -> Self:
        """Learn the numbers from the training examples, and forget earlier ones.

        Parameters
        ----------
        X : array_like, shape (m, ...), m > 0
            The training part only: what is learned from test examples makes a test worthless.

        Returns
        -------
        The transform itself.

        Raises
        ------
        TypeError
            If `X` is not of real numbers.
        ShapeError
            If it has no examples.
        ValueError
            If it has a NaN or an infinity, or its values lie further apart than float64 reaches.
        """
        name = f"{type(self).__name__}.fit"
        values = numbers_of(name, "X", X, REAL)
        if not values.ndim or not values.size:
            raise ShapeError(f"{name}: X is {values.shape}, wanted (m, ...) with at least one example")
        low, high = (np.asarray(f(values, axis=self.axis), dtype=np.float64) for f in (np.min, np.max))
        bad = ~(np.isfinite(low) & np.isfinite(high))
        if bad.any():
            row = np.argwhere(~np.isfinite(values))[0].tolist()
            raise ValueError(f"{name}: X{row} (from 0) is {values[tuple(row)]}, wanted a number; leave the example out")
        with np.errstate(over="ignore"):
            width = high - low
        if np.isinf(width).any():
            raise ValueError(f"{name}: X reaches from {low.min():g} to {high.max():g}, further than float64 does")
        constant = width == 0  # exact, where a standard deviation would be the rounding of the mean
        self._fitted = self._learn(values, low, np.where(constant, 1.0, width), constant)
        return self

    def _learn(
        self,
        values: NDArray[Any],
        low: NDArray[np.float64],
        width: NDArray[np.float64],
        constant: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise NotImplementedError

    def __call__(self, X: ArrayLike) -> NDArray[np.floating]:
        """`X` on the common scale.

        Parameters
        ----------
        X : array_like, shape (m, ...)
            Examples with the features of those in `fit`.

        Returns
        -------
        ndarray, shape of `X`
            New; in the dtype of `X`, float64 if that is an integer.

        Raises
        ------
        RuntimeError
            Before `fit`.
        ShapeError
            If the features are others in number.
        TypeError
            If `X` is not of real numbers.
        """
        values, centre, scale = self._prepared("", X)
        shifted = values - centre
        shifted /= scale
        return _like(values, shifted)

    def inverse(self, Z: ArrayLike) -> NDArray[np.floating]:
        """Back from the common scale: ``inverse(transform(X))`` is `X` up to rounding.

        Parameters
        ----------
        Z : array_like, shape (m, ...)

        Returns
        -------
        ndarray, shape of `Z`

        Raises
        ------
        RuntimeError, ShapeError, TypeError
            As a call.
        """
        values, centre, scale = self._prepared(".inverse", Z)
        stretched = values * scale
        stretched += centre
        return _like(values, stretched)

    def state_dict(self) -> dict[str, NDArray[np.float64]]:
        """What `fit` has learned: two arrays, by name, copied.

        Raises
        ------
        RuntimeError
            Before `fit`.
        """
        return {name: array.copy() for name, array in zip(self._names, self._learned(".state_dict"), strict=True)}

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Take what another transform has learned.

        Raises
        ------
        ValueError
            If `state` is not the state of such a transform; nothing has been changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if set(state) != set(self._names):
            raise ValueError(f"{name}: state has {sorted(map(str, state))}, wanted {sorted(self._names)}")
        centre, scale = (np.array(state[key], dtype=np.float64) for key in self._names)
        fits = centre.shape == scale.shape and (self.axis is not None or not centre.ndim)
        if not fits or not np.isfinite(centre).all() or not (np.isfinite(scale) & (scale > 0)).all():
            raise ValueError(
                f"{name}: {self._names[0]} is {centre.shape}, {self._names[1]} is {scale.shape}; wanted equal shapes"
                f"{'' if self.axis is not None else ', those of one number'}, finite, and the second one positive"
            )
        self._fitted = centre, scale

    def __repr__(self) -> str:
        features = "not fitted" if self._fitted is None else f"features {self._fitted[0].shape}"
        return f"{type(self).__name__}(axis={self.axis}; {features})"

    def _learned(self, method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._fitted is None:
            raise RuntimeError(f"{type(self).__name__}{method}: nothing is learned yet; call fit(X_train) first")
        return self._fitted

    def _prepared(self, method: str, X: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
        """`X`, centre and scale."""
        name = f"{type(self).__name__}{method}"
        centre, scale = self._learned(method)
        values = numbers_of(name, "X", X, REAL)
        if not values.ndim or (self.axis == 0 and values.shape[1:] != centre.shape):
            hint = "; a single example is X[None]" if values.shape == centre.shape else ""
            wanted = ", ".join(["m", *map(str, centre.shape)]) if self.axis == 0 else "m, ..."
            raise ShapeError(f"{name}: X is {values.shape}, fitted to ({wanted}){hint}")
        return values, centre, scale


class Standardize(_Scaling):
    """Each feature with mean 0 and standard deviation 1 over the training examples.

    Parameters
    ----------
    axis : {0, None}
        0 for every feature by itself; None for one mean and one deviation of all values, as is usual for pictures.

    Attributes
    ----------
    mean, std : ndarray of float64, shape of one example, or ()
        Learned by `fit`; the deviation divides by m, as `numpy.std`. A feature that is constant over the training
        examples has its value as mean and 1 as deviation: it becomes 0.

    Examples
    --------
    >>> X_train, X_test = np.array([[0.0, 7.0], [4.0, 7.0]]), np.array([[6.0, 8.0]])
    >>> standardize = Standardize().fit(X_train)
    >>> standardize(X_train)
    array([[-1.,  0.], [ 1.,  0.]])
    >>> standardize(X_test)
    array([[2., 1.]])
    """

    _names = ("mean", "std")

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each feature."""
        return self._learned(".mean")[0]

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each feature, 1 for a constant one."""
        return self._learned(".std")[1]

    def _learn(
        self,
        values: NDArray[Any],
        low: NDArray[np.float64],
        width: NDArray[np.float64],
        constant: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        unit = np.subtract(values, low, dtype=np.float64)
        unit /= width  # in [0, 1], where no square overflows or underflows
        mean = unit.mean(axis=self.axis)
        unit -= mean
        np.square(unit, out=unit)
        return low + width * mean, np.where(constant, 1.0, width * np.sqrt(unit.mean(axis=self.axis)))


class Normalize(_Scaling):
    """Each feature between 0 and 1 over the training examples.

    Parameters
    ----------
    axis : {0, None}
        0 for every feature by itself; None for one range of all values.

    Attributes
    ----------
    min, range : ndarray of float64, shape of one example, or ()
        Learned by `fit`. A feature that is constant over the training examples has the range 1: it becomes 0.

    Notes
    -----
    Examples outside the training range come out below 0 or above 1; nothing is clipped.

    Examples
    --------
    >>> normalize = Normalize().fit([[0, 7], [4, 7]])
    >>> normalize([[1, 7], [6, 7]])
    array([[0.25, 0.  ], [1.5 , 0.  ]])
    """

    _names = ("min", "range")

    @property
    def min(self) -> NDArray[np.float64]:
        """Least value of each feature."""
        return self._learned(".min")[0]

    @property
    def range(self) -> NDArray[np.float64]:
        """Greatest less least value of each feature, 1 for a constant one."""
        return self._learned(".range")[1]

    def _learn(
        self,
        values: NDArray[Any],
        low: NDArray[np.float64],
        width: NDArray[np.float64],
        constant: NDArray[np.bool_],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return low, width


def shift_images(
    images: ArrayLike,
    shifts: ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
    order: Literal["C", "F"] = "C",
    fill: float = 0.0,
    rng: Seed = None,
) -> NDArray[Any]:
    """Pictures moved by whole pixels, each by its own shift; what enters at the edge is `fill`.

    Parameters
    ----------
    images : array_like, shape (m, rows, columns) or (m, rows * columns)
        Real numbers of any dtype, kept.
    shifts : int >= 0, or array_like of int, shape (m, 2) or (2,)
        An integer p draws the shifts: from -p to p pixels, each equally likely, down and across independently. An array
        gives them: down (negative: up) and to the right (negative: to the left), for each picture or for all.
    shape : (rows, columns), optional
        Of the upright picture, if `images` are unrolled; without it pictures are squares.
    order : {"C", "F"}
        How they are unrolled: "C" row by row as in MNIST, "F" column by column as in the course.
    fill : float
        Representable in the dtype of `images`.
    rng : numpy.random.Generator, int or None
        Where shifts are drawn from; the package's generator by default.

    Returns
    -------
    ndarray, shape and dtype of `images`
        New, also where nothing moved.

    Raises
    ------
    TypeError
        If `images` is not of real numbers, or `shifts` not of integers.
    ShapeError
        If the shapes do not fit.
    ValueError
        If `order` is another one, an integer `shifts` is negative, or `fill` does not fit the dtype.

    Notes
    -----
    A window is taken out of each picture with a margin around it: 60,000 pictures of 28 x 28 in float32 take 0.1 s, and
    three times their memory.

    Examples
    --------
    >>> image = np.array([[[1, 2], [3, 4]]])
    >>> shift_images(image, (1, 0))
    array([[[0, 0], [1, 2]]])
    >>> shift_images(image.reshape(1, 4), (1, 0))
    array([[0, 0, 1, 2]])

    In a loader, anew for each batch; `rng` is the loader's:

    >>> from tinygrad_fnn.data import DataLoader, digits
    >>> X, y = digits()
    >>> def move(X, y, rng):
    ...     return shift_images(X, 2, order="F", rng=rng), y
    >>> loader = DataLoader((X, y), batch_size=100, shuffle=True, rng=0, transform=move)
    """
    pixels = numbers_of("shift_images", "images", images, REAL)
    if order not in ("C", "F"):
        raise ValueError(f"shift_images: order is {order!r}, wanted 'C' (row by row) or 'F' (column by column)")
    m, rows, columns = _extent(pixels, shape, order)
    down, right, margin = _shifts(shifts, m, rng)
    if pixels.dtype.kind in "iu":
        limits = np.iinfo(pixels.dtype)
        if not (limits.min <= fill <= limits.max and fill == int(fill)):
            raise ValueError(f"shift_images: fill is {fill!r}, which {pixels.dtype} cannot hold")
    unrolled = pixels.ndim == 2
    if unrolled and order == "F":  # seen as pictures row by row, these lie on their sides
        rows, columns, down, right = columns, rows, right, down
    # Beyond its own length a picture is gone, and the margin need not grow.
    tall, wide = min(margin, rows), min(margin, columns)
    framed = np.full((m, rows + 2 * tall, columns + 2 * wide), fill, dtype=pixels.dtype)
    framed[:, tall : tall + rows, wide : wide + columns] = pixels.reshape(m, rows, columns)
    windows = sliding_window_view(framed, (rows, columns), axis=(1, 2))
    moved: NDArray[Any] = windows[np.arange(m), tall - np.clip(down, -tall, tall), wide - np.clip(right, -wide, wide)]
    return moved.reshape(pixels.shape)


def _extent(pixels: NDArray[Any], shape: tuple[int, int] | None, order: str) -> tuple[int, int, int]:
    """Number, rows and columns of the upright pictures."""
    if pixels.ndim == 3:
        if shape is not None and tuple(shape) != pixels.shape[1:]:
            raise ShapeError(f"shift_images: images is {pixels.shape}, which is not (m, *shape) with shape {shape}")
        if order == "F":
            raise ShapeError(f"shift_images: images is {pixels.shape}, not unrolled; order='F' says how they were")
        return pixels.shape
    if pixels.ndim != 2:
        hint = "; a single picture is image[None]" if pixels.ndim == 1 else ""
        raise ShapeError(f"shift_images: images is {pixels.shape}, wanted (m, rows, columns) or (m, pixels){hint}")
    m, size = pixels.shape
    if shape is None:
        side = math.isqrt(size)
        if side * side != size:
            raise ShapeError(f"shift_images: images is {pixels.shape}, and {size} pixels are no square; pass shape")
        return m, side, side
    if len(shape) != 2 or math.prod(shape) != size or min(shape) < 0:
        raise ShapeError(f"shift_images: images is {pixels.shape}, and {size} pixels do not make shape {shape}")
    return m, int(shape[0]), int(shape[1])


def _shifts(given: ArrayLike, m: int, rng: Seed) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Shifts down and to the right, and the length of the longest."""
    shifts = np.asarray(given)
    if shifts.dtype.kind not in "iu":
        raise TypeError(f"shift_images: shifts is of dtype {shifts.dtype}, wanted integers, in pixels")
    if not shifts.ndim:
        if shifts < 0:
            raise ValueError(f"shift_images: shifts is {shifts}, wanted how far at most, an integer >= 0")
        p = int(shifts)
        drawn = as_generator(rng).integers(-p, p, size=(m, 2), endpoint=True)
    elif shifts.shape in ((2,), (m, 2)):
        drawn = np.broadcast_to(shifts.astype(np.int64), (m, 2))
        p = int(np.abs(drawn).max(initial=0))
    else:
        raise ShapeError(f"shift_images: shifts is {shifts.shape}, wanted an integer, (2,) or (m, 2) = ({m}, 2)")
    return drawn[:, 0], drawn[:, 1], p


def _like(X: NDArray[Any], result: NDArray[Any]) -> NDArray[Any]:
    """`result`, computed in float64 at least since float16 may hold no mean or deviation, in the dtype of `X`."""
    return result.astype(X.dtype, copy=False) if X.dtype.kind == "f" else result
