"""Where random numbers come from: a generator that is passed in, a seed, or the package's own generator.

It stands apart because layers, data loaders and tests all draw. NumPy's global state is never touched.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

__all__ = ["Seed", "as_generator", "manual_seed"]

# What `rng` may be, wherever it is asked for.
Seed: TypeAlias = np.random.Generator | np.random.SeedSequence | int | None

# Every draw takes the lock of the bit generator, so that threads may share it.
_SHARED: Final = np.random.Generator(np.random.PCG64())


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


def _generator(name: str, seed: Any) -> np.random.Generator:  # Any: whatever a user may pass
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer | np.random.SeedSequence):
        raise TypeError(
            f"{name} must be a numpy.random.Generator, an integer >= 0 or None; got a {type(seed).__name__}. "
            "numpy.random.default_rng(seed) makes a generator"
        )
    if isinstance(seed, int | np.integer) and seed < 0:
        raise ValueError(f"{name} must be >= 0; got {seed}")
    return np.random.Generator(np.random.PCG64(seed))
