"""Where random numbers come from: a generator that is passed in, a seed, or the package's own generator.

It stands apart because layers, data loaders and tests all draw. NumPy's global state is never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

__all__ = ["Seed", "as_generator", "get_rng_state", "manual_seed", "set_rng_state"]

# What `rng` may be, wherever it is asked for.
Seed: TypeAlias = np.random.Generator | np.random.SeedSequence | int | None

# Every draw takes the lock of the bit generator, so that threads may share it.
_SHARED: Final = np.random.Generator(np.random.PCG64())
# Places in NumPy's buffers, which it reads at without a look at their length.
_PLACES: Final = {"pos": 624, "buffer_pos": 4}


def manual_seed(seed: int) -> np.random.Generator:
    """Start the package's own generator anew, also for those who hold it already.

    Parameters
    ----------
    seed : int >= 0

    Returns
    -------
    numpy.random.Generator
        The package's own.

    Raises
    ------
    TypeError
        If `seed` is no integer.
    ValueError
        If it is negative.

    Examples
    --------
    >>> first = manual_seed(0).random()
    >>> first == manual_seed(0).random() == np.random.default_rng(0).random()
    True
    """
    if isinstance(seed, np.random.Generator | np.random.SeedSequence) or seed is None:
        raise TypeError(f"manual_seed: seed must be an integer >= 0; got a {type(seed).__name__}")
    fresh = _generator("manual_seed: seed", seed).bit_generator
    with _SHARED.bit_generator.lock:
        _SHARED.bit_generator.state = fresh.state
    return _SHARED


def as_generator(rng: Seed = None) -> np.random.Generator:
    """The generator that `rng` stands for.

    Parameters
    ----------
    rng : numpy.random.Generator, int >= 0, numpy.random.SeedSequence or None
        A generator is used, and moves on; a seed starts a new one; None is the package's own, see `manual_seed`.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    TypeError
        If `rng` is none of these.
    ValueError
        If a seed is negative.

    Examples
    --------
    >>> as_generator(7).random() == as_generator(7).random()
    True
    """
    if rng is None:
        return _SHARED
    if isinstance(rng, np.random.Generator):
        return rng
    return _generator("rng", rng)


def get_rng_state(rng: np.random.Generator | None = None) -> dict[str, Any]:
    """Where a generator stands: a snapshot, which `set_rng_state` goes back to.

    Parameters
    ----------
    rng : numpy.random.Generator, optional
        The package's own if not given.

    Returns
    -------
    dict
        The name of the bit generator, and numbers and arrays as NumPy keeps them; `save` takes it.

    Notes
    -----
    What `spawn` has handed out is not part of it: NumPy's state does not hold it.

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> state = get_rng_state(rng)
    >>> first = rng.random()
    >>> set_rng_state(state, rng)
    >>> rng.random() == first
    True
    """
    bits = as_generator(rng).bit_generator
    with bits.lock:
        return dict(bits.state)


def set_rng_state(state: Mapping[str, Any], rng: np.random.Generator | None = None) -> None:
    """Put a generator where `get_rng_state` found it, or leave it alone and raise.

    Parameters
    ----------
    state : dict
        Of `get_rng_state`, or of ``rng.bit_generator.state``.
    rng : numpy.random.Generator, optional
        With a bit generator of the same kind; the package's own if not given.

    Raises
    ------
    TypeError
        If `state` is no mapping.
    ValueError
        If it is of another kind of bit generator, or of none.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"set_rng_state: state is a {type(state).__name__}, wanted what get_rng_state returns")
    bits = as_generator(rng).bit_generator
    kind, wanted = state.get("bit_generator"), type(bits).__name__
    if kind != wanted:
        raise ValueError(
            f"set_rng_state: the state is of a {kind!s:.80}, the generator is a {wanted}; "
            f"numpy.random.Generator(numpy.random.{kind!s:.80}()) makes the other one"
        )
    damaged = ValueError(f"set_rng_state: the state is not one that a {wanted} can be in")
    trial = type(bits)(0)
    try:
        trial.state = dict(state)
        as_taken = trial.state
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
        raise damaged from error
    if not _same(as_taken, state):  # NumPy takes numbers that do not fit for others
        raise damaged
    inner = state["state"]
    for name, last in _PLACES.items():
        for holder in (state, inner):
            if isinstance(holder, Mapping) and not 0 <= holder.get(name, 0) <= last:
                raise damaged
    with bits.lock:
        bits.state = as_taken


def _same(one: Any, other: Any) -> bool:  # Any: what the state of a bit generator may hold
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(np.array_equal(one, other)) and np.shape(one) == np.shape(other)


def _generator(name: str, seed: Any) -> np.random.Generator:  # Any: whatever a user may pass
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer | np.random.SeedSequence):
        raise TypeError(
            f"{name} must be a numpy.random.Generator, an integer >= 0 or None; got a {type(seed).__name__}. "
            "numpy.random.default_rng(seed) makes a generator"
        )
    if isinstance(seed, int | np.integer) and seed < 0:
        raise ValueError(f"{name} must be >= 0; got {seed}")
    return np.random.Generator(np.random.PCG64(seed))
