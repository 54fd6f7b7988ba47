"""Optimisers that take one step along the gradients in `.grad`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy import ndarray

from ..tensor import Tensor

__all__ = ["SGD", "Adam", "Optimizer"]


def _in_range(caller: str, name: str, value: float, low: float, high: float) -> float:
    """A hyperparameter in [low, high), refused otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value < high:
        raise ValueError(f"{caller}: {name} is {value!r}, wanted a number in [{low:g}, {high:g})")
    return float(value)


class Optimizer:
    """What optimisers share: the parameters, checked, and their state.

    Parameters
    ----------
    params : iterable of Tensor
        Leaves that require a gradient, each once.

    Raises
    ------
    TypeError
        If something else is among them.
    ValueError
        If there are none, or one comes twice.
    """

    def __init__(self, params: Iterable[Tensor]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            hint = "model.parameters()" if callable(params) else "[p]"
            raise TypeError(f"{name}: params is a {type(params).__name__}, wanted an iterable of leaves; pass {hint}")
        self.params: list[Tensor] = list(params)
        self.steps = 0
        if not self.params:
            raise ValueError(f"{name}: no parameters; pass model.parameters()")
        for k, p in enumerate(self.params):
            if not isinstance(p, Tensor) or not p.is_leaf or not p.requires_grad:
                raise TypeError(f"{name}: params[{k}] is no leaf that requires a gradient: {p!r:.80}")
        if len(set(map(id, self.params))) < len(self.params):
            raise ValueError(f"{name}: a parameter is listed twice and would be updated twice")

    def zero_grad(self) -> None:
        """Forget the accumulated gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update each parameter that has a gradient."""
        self.steps += 1
        for k, p in enumerate(self.params):
            if p.grad is not None:
                p._store(p._value - self._update(k, p._value, p.grad))

    def _update(self, k: int, p: ndarray, g: ndarray) -> ndarray:
        """What to subtract from parameter `k` with values `p` and gradient `g`."""
        raise TypeError(f"{type(self).__name__} has no update rule; use SGD, Adam or a subclass that defines _update")


class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's look ahead.

    Parameters
    ----------
    params : iterable of Tensor
        What to update.
    lr : float
        Learning rate, >= 0.
    momentum : float
        In [0, 1).
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    nesterov : bool
        Look ahead along the momentum.

    Raises
    ------
    ValueError
        For a hyperparameter out of range, or Nesterov without momentum.

    Notes
    -----
    ``v = momentum * v + g``, then ``p -= lr * v``, or ``p -= lr * (g + momentum * v)`` with Nesterov [1]_, in the form
    that PyTorch uses too.

    References
    ----------
    .. [1] Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013), eqs. 3-4.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> SGD([w], lr=0.1).step()
    >>> w.item()
    0.8
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        self.lr = _in_range("SGD", "lr", lr, 0, math.inf)
        self.momentum = _in_range("SGD", "momentum", momentum, 0, 1)
        self.weight_decay = _in_range("SGD", "weight_decay", weight_decay, 0, math.inf)
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ValueError("SGD: nesterov=True looks ahead along the momentum, which is 0")
        self.velocity: list[ndarray | None] = [None] * len(self.params)

    def _update(self, k: int, p: ndarray, g: ndarray) -> ndarray:
        if self.weight_decay:
            g = g + self.weight_decay * p
        if self.momentum:
            last = self.velocity[k]
            v = self.velocity[k] = g.copy() if last is None else self.momentum * last + g
            g = g + self.momentum * v if self.nesterov else v
        return self.lr * g


class Adam(Optimizer):
    """Adam: steps of about `lr` whatever the scale of the gradient.

    Parameters
    ----------
    params : iterable of Tensor
        What to update.
    lr : float
        Learning rate, >= 0.
    betas : (float, float)
        Decay of the averages of the gradient and of its square; in [0, 1).
    eps : float
        Keeps the denominator from 0; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.

    Raises
    ------
    ValueError
        For a hyperparameter out of range.

    References
    ----------
    Kingma and Ba, *Adam: a method for stochastic optimization* (2015), algorithm 1.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> Adam([w], lr=0.1).step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        self.lr = _in_range("Adam", "lr", lr, 0, math.inf)
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ValueError(f"Adam: betas is {betas!r}, wanted two numbers")
        self.betas = (_in_range("Adam", "betas[0]", betas[0], 0, 1), _in_range("Adam", "betas[1]", betas[1], 0, 1))
        self.eps = _in_range("Adam", "eps", eps, 0, math.inf)
        self.weight_decay = _in_range("Adam", "weight_decay", weight_decay, 0, math.inf)
        self.moments: list[tuple[ndarray, ndarray, int] | None] = [None] * len(self.params)

    def _update(self, k: int, p: ndarray, g: ndarray) -> Any:
        if self.weight_decay:
            g = g + self.weight_decay * p
        m, v, t = self.moments[k] or (np.zeros_like(g), np.zeros_like(g), 0)
        one, two = self.betas
        m = one * m + (1 - one) * g
        v = two * v + (1 - two) * np.square(g)
        t += 1
        self.moments[k] = m, v, t
        # Both averages start at 0 and are too small at first, by 1 - beta**t.
        return (self.lr / (1 - one**t)) * m / (np.sqrt(v) / math.sqrt(1 - two**t) + self.eps)
