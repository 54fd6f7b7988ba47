"""What is computed: the three problems that every competitor is given, with the same numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray

from .. import data, nn

__all__ = ["Chain", "Cost", "Steps", "deep", "digits", "training"]


@dataclass(frozen=True)
class Cost:
    """Cost and gradient of a network of logistic units, as in `nn.DigitNet.cost`.

    Attributes
    ----------
    weights : list of ndarray
        W (out, in) and b (out,) of each layer in turn.
    X, Y : ndarray, shapes (m, inputs) and (m, outputs)
        Examples, and targets in {0, 1}.
    l2 : float >= 0
        The course's lambda.
    """

    weights: list[ndarray]
    X: ndarray
    Y: ndarray
    l2: float = 1.0

    @property
    def pairs(self) -> list[tuple[ndarray, ndarray]]:
        """W and b of each layer."""
        return list(zip(self.weights[::2], self.weights[1::2], strict=True))


@dataclass(frozen=True)
class Steps:
    """Steps of Adam on softmax cross-entropy, averaged over batches that come round again.

    Attributes
    ----------
    weights : list of ndarray
        W (out, in) and b (out,) of each layer in turn.
    batches : list of tuple of ndarray
        X (m, inputs) and the labels y (m,).
    activation : {'sigmoid', 'relu'}
        Of the hidden layers.
    lr : float > 0
    """

    weights: list[ndarray]
    batches: list[tuple[ndarray, ndarray]]
    activation: str
    lr: float = 1e-3

    @property
    def pairs(self) -> list[tuple[ndarray, ndarray]]:
        """W and b of each layer."""
        return list(zip(self.weights[::2], self.weights[1::2], strict=True))


@dataclass(frozen=True)
class Chain:
    """The sum of a chain of elementwise operations, and its gradient.

    Attributes
    ----------
    start : ndarray
    length : int > 0
        Rounds of the chain: ``x = sigmoid(4x - 2)``, which is three operations, or ``x = 0.999 x``.
    plain : bool
        Whether it is the second.
    """

    start: ndarray
    length: int = 20
    plain: bool = False

    @property
    def operations(self) -> int:
        """How many there are, without the sum."""
        return self.length if self.plain else 3 * self.length

    def __call__(self, x: Any, sigmoid: Any) -> Any:  # Any: an array of whichever framework
        """The chain on `x`, with the logistic function that goes with it."""
        for _ in range(self.length):
            x = x * 0.999 if self.plain else sigmoid(x * 4.0 - 2.0)
        return x.sum()


def digits(rows: int, hidden: int = 25) -> Cost:
    """The course's digits, repeated to so many rows, on 400-`hidden`-10."""
    X, y = data.digits()
    chosen = np.arange(rows) % len(X)
    net = nn.DigitNet(400, hidden, 10, rng=0)
    return Cost(_weights(net), X[chosen], np.eye(10)[y[chosen]])


def deep(rows: int, layers: int, width: int) -> Cost:
    """Random examples on `layers` layers of `width` units each."""
    rng = np.random.default_rng(0)
    net = nn.DigitNet(width, [width] * (layers - 1), 10, rng=0)
    return Cost(_weights(net), rng.normal(size=(rows, width)), np.eye(10)[rng.integers(0, 10, rows)])


def training(widths: tuple[int, ...], batch: int, activation: str, count: int = 8) -> Steps:
    """Random batches in float32 on a network of these widths."""
    rng = np.random.default_rng(0)
    weights: list[ndarray] = []
    for into, out in pairwise(widths):
        weights += [(rng.normal(size=(out, into)) * (2 / into) ** 0.5).astype(np.float32), np.zeros(out, np.float32)]
    batches = [
        (rng.uniform(size=(batch, widths[0])).astype(np.float32), rng.integers(0, widths[-1], batch))
        for _ in range(count)
    ]
    return Steps(weights, batches, activation)


def _weights(net: nn.DigitNet) -> list[ndarray]:
    return [p.detach().numpy().copy() for p in net.parameters()]
