"""What competes: something to time, and what it finds, by which it is held to do the same work as the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy import ndarray

from .problems import Chain, Cost, Steps

__all__ = [
    "BARE",
    "COMPILED",
    "LIMIT",
    "OURS",
    "Competitor",
    "FlatAdam",
    "Found",
    "Problem",
    "disagreements",
    "gradients",
    "turns",
]

BARE: Final = "bare matrix products"
LIMIT: Final = "those, exp, log and Adam alone"
OURS: Final = "tinygrad_fnn"
COMPILED: Final = "tinygrad_fnn, compiled"
STEPS: Final = 5  # so many costs are compared: a compiled step is recorded twice before it is replayed

Problem: TypeAlias = Cost | Steps | Chain
Found: TypeAlias = dict[str, Any]  # Any: numbers and arrays of whichever framework, by what they are


class Competitor(NamedTuple):
    """One program for one problem.

    Attributes
    ----------
    run : callable
        What is timed.
    found : callable or None
        The numbers that are compared; called once, before anything is timed. None for the bare products and the limit.
    by_numpy : bool
        Whether its arrays are NumPy's.
    """

    run: Callable[[], Any]
    found: Callable[[], Found] | None
    by_numpy: bool = True


def gradients(cost: Any, found: Sequence[Any]) -> Found:
    """A cost and its gradients under the names by which they are compared."""
    return {"cost": cost} | {f"gradient {k}": g for k, g in enumerate(found)}


def turns(run: Callable[[], Any], slopes: Callable[[], Sequence[Any]]) -> Found:
    """The cost and the gradients of the first step, and the costs of those after it, which show the optimiser."""
    J = run()
    found = gradients(J, [np.array(g) for g in slopes()])  # copies: the next step may write over them
    return found | {f"cost {k}": run() for k in range(2, STEPS + 1)}


def disagreements(found: Mapping[str, Found], tolerance: float) -> dict[str, str]:
    """Who found something else than this package, and what.

    Parameters
    ----------
    found : dict of str to dict
        What each competitor found, by name.
    tolerance : float
        The relative difference allowed, of whole arrays in the Euclidean norm.

    Returns
    -------
    dict of str to str
        One line for each that differs; what somebody does not tell is not compared.
    """
    right = found[OURS]
    wrong = {}
    for name, theirs in found.items():
        for what in right.keys() & theirs.keys():
            a, b = (np.asarray(x, np.float64) for x in (right[what], theirs[what]))
            if a.shape != b.shape:
                wrong[name] = f"{what} has shape {b.shape}, wanted {a.shape}"
                break
            off = float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), np.finfo(float).tiny)
            if not off <= tolerance:  # a NaN differs
                wrong[name] = f"{what} differs by {off:.1e} of its size, allowed are {tolerance:.0e}"
                break
    return wrong


class FlatAdam:
    """Adam by hand on one vector, for those who bring none: ten passes in place, as fast as NumPy does it.

    Attributes
    ----------
    params, slots : list of ndarray
        Views of the vector, which `step` changes, and of the gradient's.
    """

    def __init__(self, weights: Sequence[ndarray], lr: float) -> None:
        self.theta = np.concatenate([w.ravel() for w in weights])
        self.params = self._views(self.theta, weights)
        self.m, self.v, self.g, self.spare = (np.zeros_like(self.theta) for _ in range(4))
        self.slots = self._views(self.g, weights)
        self.lr, self.t = lr, 0

    @staticmethod
    def _views(flat: ndarray, weights: Sequence[ndarray]) -> list[ndarray]:
        ends = list(itertools.accumulate(w.size for w in weights))
        return [flat[end - w.size : end].reshape(w.shape) for w, end in zip(weights, ends, strict=True)]

    def step(self, found: Sequence[ndarray]) -> None:
        """Update with these gradients, which may stand in `slots` already and are left as they are."""
        for slot, g in zip(self.slots, found, strict=True):
            if slot is not g:
                slot[...] = g
        self.t += 1
        g, m, v, spare = self.g, self.m, self.v, self.spare
        m *= 0.9
        v *= 0.999
        np.multiply(g, g, out=spare)
        spare *= 0.001
        v += spare
        np.multiply(g, 0.1, out=spare)
        m += spare
        root = (1 - 0.999**self.t) ** 0.5
        np.sqrt(v, out=spare)
        spare += 1e-8 * root
        np.divide(m, spare, out=spare)
        spare *= self.lr * root / (1 - 0.9**self.t)
        self.theta -= spare
