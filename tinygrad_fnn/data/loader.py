"""Batches of a data set, in a new order each epoch.

It stands apart because only training wants batches, and because the order must survive an interruption: a loader is its
data, a generator, and how far the epoch under way has come.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_fnn.data.given import arrays_of, count_of, numbers_of
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.randomness import Seed, as_generator, get_rng_state, set_rng_state

__all__ = ["DataLoader", "Dataset"]


class Dataset(Protocol):
    """What a loader can read item by item."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, index: int, /) -> Any:  # Any: an array or number, or a tuple of them
        """One example."""
        ...


class DataLoader:
    """Batches of a data set, to be iterated over once an epoch.

    Parameters
    ----------
    dataset : array_like, tuple of array_like, or object with ``__len__`` and ``__getitem__``
        An array, shape (m, ...), gives arrays. A tuple of arrays of one length, such as ``(X, y)``, gives tuples of
        arrays. Of any other object, a list included, the items are read one by one and stacked; if they are tuples,
        each place by itself. Arrays are not copied; what is not an ndarray but converts to one, such as an untracked
        Tensor, is converted here.
    batch_size : int > 0
        Examples in a batch.
    shuffle : bool
        Whether each epoch has an order of its own, drawn at its first batch.
    rng : numpy.random.Generator, int or None
        Where the orders come from. A generator that is passed in moves on with each epoch; None starts a generator of
        the loader's own, seeded by the package's.
    drop_last : bool
        Whether to leave out the last batch of an epoch if it is smaller than the others.
    transform : callable, optional
        Called as ``transform(*arrays, rng=generator)`` with the arrays of each batch; what it returns is the batch. Its
        draws then belong to the loader's state.

    Attributes
    ----------
    dataset, batch_size, shuffle, drop_last, transform
        As given; arrays as ndarrays.
    rng : numpy.random.Generator or None
        None if nothing is drawn.

    Raises
    ------
    TypeError
        If `dataset` is of another kind or holds anything but numbers, or another argument is of the wrong type.
    ShapeError
        If the arrays of a tuple differ in length; while iterating, if items differ in shape.
    ValueError
        If there are no examples, or `drop_last` leaves none, or `batch_size` is not positive.

    Notes
    -----
    Without `shuffle` the batches of arrays are read-only views: writing to one would change the data. With it they are
    copies, one `take` for each array and batch. A buffer filled anew each time would save 5 to 15 % of that copy, and
    change the batches that somebody still holds.

    Examples
    --------
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> loader = DataLoader((X, y), batch_size=2, shuffle=True, rng=0)
    >>> len(loader)
    3
    >>> for _ in range(2):
    ...     print([labels.tolist() for _, labels in loader])
    [[2, 4], [3, 0], [1]]
    [[4, 1], [2, 0], [3]]

    Stopped after the first batch of the third epoch, another loader goes on with the second:

    >>> for _, labels in loader:
    ...     state = loader.state_dict()
    ...     break
    >>> resumed = DataLoader((X, y), batch_size=2, shuffle=True)
    >>> resumed.load_state_dict(state)
    >>> labels.tolist(), [labels.tolist() for _, labels in resumed]
    ([0, 2], [[3, 4], [1]])
    """

    def __init__(
        self,
        dataset: ArrayLike | tuple[ArrayLike, ...] | Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        rng: Seed = None,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        several = getattr(batch_size, "ndim", isinstance(batch_size, list))
        hint = "; several arrays go together in a tuple: DataLoader((X, y), 32)" if several else ""
        size = count_of("DataLoader", "batch_size", batch_size, hint)
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not isinstance(value, bool | np.bool):
                raise TypeError(f"DataLoader: {name} is {value!r:.60}, wanted True or False")
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform is a {type(transform).__name__}, wanted a function of the arrays")
        self._arrays: tuple[NDArray[Any], ...] | None = None
        self.dataset: Any = dataset
        if isinstance(dataset, tuple):
            self.dataset = self._arrays = arrays_of("DataLoader", dataset)
        elif hasattr(dataset, "__array__"):
            self._arrays = arrays_of("DataLoader", (dataset,))
            self.dataset = self._arrays[0]
        else:
            _check_items(dataset)
        self.batch_size, self.shuffle, self.drop_last = size, bool(shuffle), bool(drop_last)
        self.transform = transform
        self._examples = len(self.dataset if self._arrays is None else self._arrays[0])
        if not self._examples:
            raise ValueError("DataLoader: dataset has no examples")
        if not len(self):
            raise ValueError(
                f"DataLoader: drop_last leaves no batch, for batch_size is {batch_size} and dataset has "
                f"{self._examples} examples"
            )
        generator = as_generator(rng)
        self.rng: np.random.Generator | None = None
        if self.shuffle or transform is not None:
            self.rng = np.random.default_rng(generator.integers(2**63)) if rng is None else generator
        self._running: _Epoch | None = None  # the epoch that delivered a batch last, until it ends
        self._resumed: _Epoch | None = None  # what the next iteration is to go on with

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        whole, rest = divmod(self._examples, self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        """The batches of one epoch, or of the rest of it after `load_state_dict`."""
        epoch, self._resumed = self._resumed or _Epoch(_state(self.rng)), None
        order = None
        if self.shuffle:
            assert self.rng is not None
            # An epoch that goes on repeats its draw, while the generator may have been used for other things since.
            generator = self.rng if not epoch.resumed else _generator_at(self.rng, epoch.start)
            order = generator.permutation(self._examples)
        try:
            for k in range(epoch.delivered, len(self)):
                start, stop = k * self.batch_size, min((k + 1) * self.batch_size, self._examples)
                batch = self._batch(slice(start, stop) if order is None else order[start:stop])
                epoch.delivered = k + 1
                self._running = epoch
                yield batch
        finally:
            if self._running is epoch:
                self._running = None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, for `load_state_dict`.

        Returns
        -------
        dict of str, int, bool, None, ndarray and dicts of these
            Taken inside the loop over the loader, it goes on after the batch just delivered; otherwise, also where the
            loop was left early, with a new epoch. The integers of a generator may have 128 bits.
        """
        epoch = self._running or self._resumed
        return self._shape() | {
            "generator": _state(self.rng),
            "epoch": epoch and {"start": copy.deepcopy(epoch.start), "delivered": epoch.delivered},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another loader of the same data stood: the same batches follow, to the last bit.

        Parameters
        ----------
        state : dict
            From `state_dict`. A generator that was passed in as `rng` is set to the state of the other one.

        Raises
        ------
        TypeError
            If `state` is no dict.
        ValueError
            If it is not the state of such a loader: other data, another `batch_size`, another kind of generator.
            Nothing has been changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"DataLoader.load_state_dict: state is a {type(state).__name__}, wanted a dict")
        wanted = self._shape()
        if set(state) != {*wanted, "generator", "epoch"}:
            raise ValueError(
                f"DataLoader.load_state_dict: state has the keys {sorted(map(str, state))}, "
                f"wanted {sorted([*wanted, 'generator', 'epoch'])}"
            )
        different = [f"{key} was {state[key]} and is {here}" for key, here in wanted.items() if state[key] != here]
        if different:
            raise ValueError(f"DataLoader.load_state_dict: the loaders differ: {', '.join(different)}")
        epoch = None
        try:
            if state["epoch"] is not None:
                epoch = _Epoch(copy.deepcopy(state["epoch"]["start"]), state["epoch"]["delivered"], resumed=True)
                if epoch.delivered not in range(len(self) + 1):
                    raise ValueError(f"{epoch.delivered} batches delivered of {len(self)}")
            if self.rng is not None:
                if epoch is not None:
                    _generator_at(self.rng, epoch.start)
                set_rng_state(state["generator"], self.rng)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"DataLoader.load_state_dict: the state is damaged, or of another kind of generator: {error!r}"
            ) from None
        self._running, self._resumed = None, epoch

    def _shape(self) -> dict[str, Any]:
        """What two loaders must have in common for the same batches."""
        return {
            "examples": self._examples,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "transform": self.transform is not None,
        }

    def _batch(self, rows: slice | NDArray[np.int64]) -> Any:
        """The examples in `rows`, transformed."""
        batch: Any
        if self._arrays is not None:
            parts = tuple(_rows(array, rows) for array in self._arrays)
            batch = parts if isinstance(self.dataset, tuple) else parts[0]
        else:
            places = range(rows.start, rows.stop) if isinstance(rows, slice) else rows.tolist()
            batch = _stacked(places, [self.dataset[place] for place in places])
        if self.transform is None:
            return batch
        return self.transform(*(batch if isinstance(batch, tuple) else (batch,)), rng=self.rng)


class _Epoch:
    """How far an epoch has come: the generator's state before its order was drawn, and the batches delivered."""

    __slots__ = ("delivered", "resumed", "start")

    def __init__(self, start: Any, delivered: int = 0, resumed: bool = False) -> None:
        self.start, self.delivered, self.resumed = start, delivered, resumed


def _check_items(dataset: Any) -> None:
    if isinstance(dataset, str | bytes | Mapping) or not (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    ):
        hint = "; pass tuple(dataset.values())" if isinstance(dataset, Mapping) else ""
        raise TypeError(
            f"DataLoader: dataset is a {type(dataset).__name__}, wanted an array, a tuple of arrays, or an object with "
            f"__len__ and __getitem__{hint}"
        )
    if hasattr(dataset, "toarray"):
        numbers_of("DataLoader", "dataset", dataset)


def _rows(array: NDArray[Any], rows: slice | NDArray[np.int64]) -> NDArray[Any]:
    if isinstance(rows, slice):
        view = array[rows]
        view.flags.writeable = False
        return view
    # `take` is the faster one, but copies the whole of an array that is not in C order first.
    return array.take(rows, axis=0) if array.flags.c_contiguous else array[rows]


def _stacked(places: Sequence[int], items: Sequence[Any]) -> Any:
    """The items of a batch as one array, or as a tuple of arrays."""
    if not isinstance(items[0], tuple):
        return _stack(places, items, "")
    for place, item in zip(places, items, strict=True):
        if not isinstance(item, tuple) or len(item) != len(items[0]):
            raise TypeError(
                f"DataLoader: item {places[0]} is a tuple of {len(items[0])}, but item {place} is "
                + (f"one of {len(item)}" if isinstance(item, tuple) else f"a {type(item).__name__}")
            )
    return tuple(_stack(places, column, f"[{k}]") for k, column in enumerate(zip(*items, strict=True)))


def _stack(places: Sequence[int], values: Sequence[Any], part: str) -> NDArray[Any]:
    arrays = [
        numbers_of("DataLoader", f"item {place}{part}", value) for place, value in zip(places, values, strict=True)
    ]
    for place, array in zip(places, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise ShapeError(
                f"DataLoader: item {places[0]}{part} is {arrays[0].shape}, but item {place}{part} is {array.shape}; "
                "a batch needs equal shapes (arrays for X and y go in a tuple)"
            )
    return np.stack(arrays)


def _state(rng: np.random.Generator | None) -> dict[str, Any] | None:
    return None if rng is None else get_rng_state(rng)


def _generator_at(like: np.random.Generator, state: Any) -> np.random.Generator:
    """A generator of the kind of `like`, in another state."""
    generator = np.random.Generator(type(like.bit_generator)(0))
    set_rng_state(state, generator)
    return generator
