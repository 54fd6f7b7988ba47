"""An average of the weights over the steps of a training, which often does better than the last weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from ..modes import effect
from ..tensor import Tensor
from .optimizer import in_range

__all__ = ["EMA"]


class EMA:
    """Exponential moving average of the parameters of a model.

    Parameters
    ----------
    model_or_params : Module or iterable of Tensor
        Whose values are averaged; the average starts with those they have now. Buffers are not averaged.
    decay : float
        How much of the average is kept at an `update`; in [0, 1).

    Raises
    ------
    TypeError
        If `model_or_params` is neither.
    ValueError
        If there are no parameters, or `decay` is out of range.

    Notes
    -----
    ``average += (1 - decay) * (p - average)``.

    References
    ----------
    Polyak and Juditsky, *Acceleration of stochastic approximation by averaging* (1992), with weights that fade.

    Examples
    --------
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> average = EMA([w], decay=0.75)
    >>> w.data = [5.0, 2.0]
    >>> average.update()
    >>> with average.applied():
    ...     print(w.data)
    [2. 2.]
    >>> w.data
    array([5., 2.])
    """

    def __init__(self, model_or_params: Any, decay: float = 0.999) -> None:  # Any: a Module, which stands beside optim
        self.decay = in_range("EMA", "decay", decay, 0, 1)
        self.updates = 0
        if hasattr(model_or_params, "named_parameters"):
            self._params: dict[str, Tensor] = dict(model_or_params.named_parameters())
        elif isinstance(model_or_params, Iterable) and not isinstance(model_or_params, Tensor):
            self._params = {str(k): p for k, p in enumerate(model_or_params)}
        else:
            kind = type(model_or_params).__name__
            raise TypeError(f"EMA: wanted a model or an iterable of leaves; got a {kind}")
        wrong = [name for name, p in self._params.items() if not isinstance(p, Tensor) or not p.is_leaf]
        if wrong:
            raise TypeError(f"EMA: parameter {wrong[0]} is no leaf: {self._params[wrong[0]]!r:.80}")
        if not self._params:
            raise ValueError("EMA: no parameters; pass a model or model.parameters()")
        self._averages = {name: p._value.copy() for name, p in self._params.items()}

    @effect
    def update(self) -> None:
        """Count the present values in; to be called after each step of the optimiser."""
        for name, p in self._params.items():
            average = self._averages[name]
            change = np.subtract(p._value, average)
            change *= 1 - self.decay
            average += change
        self.updates += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the parameters their averages inside the `with`, and the values they had back after it.

        For evaluation: what is assigned to the parameters inside, or learned there, is lost.
        """
        held = {name: p.detach() for name, p in self._params.items()}
        try:
            for name, p in self._params.items():
                p._store(self._averages[name].copy())
            yield
        finally:
            for name, p in self._params.items():
                p._store(held[name]._data)

    def state_dict(self) -> dict[str, Any]:  # Any: arrays and numbers by name
        """Decay, number of updates, and copies of the averages by name."""
        averages = {name: average.copy() for name, average in self._averages.items()}
        return {"decay": self.decay, "updates": self.updates, "averages": averages}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:  # Any: as above
        """Take over a state: all of it, or nothing and an error.

        Raises
        ------
        TypeError
            If it is no mapping.
        ValueError
            If names are missing or unknown, or shapes differ; every difference is named.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state must come from state_dict(); got a {type(state_dict).__name__}")
        wrong = [f"missing: {key}" for key in ("decay", "updates", "averages") if key not in state_dict]
        given: Mapping[str, ndarray] = state_dict.get("averages", {})
        if not wrong:
            wrong += [f"missing: {name} {p.shape}" for name, p in self._params.items() if name not in given]
            wrong += [f"unexpected: {name} {np.shape(a)}" for name, a in given.items() if name not in self._params]
            wrong += [
                f"shape: {name} is {np.shape(given[name])}, wanted {p.shape}"
                for name, p in self._params.items()
                if name in given and np.shape(given[name]) != p.shape
            ]
        if wrong:
            head = "load_state_dict: the state does not fit this EMA; nothing was loaded"
            raise ValueError("\n  ".join([head, *wrong]))
        averages = {name: np.array(given[name], p.dtype) for name, p in self._params.items()}
        decay = in_range("EMA", "decay", state_dict["decay"], 0, 1)
        self._averages, self.decay, self.updates = averages, decay, int(state_dict["updates"])

    def __repr__(self) -> str:
        return f"EMA({len(self._params)} parameters, decay={self.decay}, updates={self.updates})"
