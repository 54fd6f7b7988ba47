"""Errors of networks trained on more and more examples, or under a heavier and heavier penalty, as in the course's ex5.

They stand apart from the pictures because they take long, and their numbers are worth keeping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from .errors import ShapeError
from .modes import no_grad
from .optim import minimize
from .randomness import Seed, as_generator
from .rules import plain
from .tensor import Tensor

__all__ = ["Curve", "learning_curve", "validation_curve"]


class Curve(NamedTuple):
    """Errors of several networks, in the order that was asked for.

    Attributes
    ----------
    at : ndarray, shape (n,)
        Numbers of examples, or weights of the penalty.
    train : ndarray of float64, shape (n,)
        The error on the examples that were learned from.
    validation : ndarray of float64, shape (n,)
        The error on the validation part.
    """

    at: ndarray
    train: ndarray
    validation: ndarray


def learning_curve(
    model_factory: Callable[[], Any],
    X: Any,
    y: Any,
    X_val: Any,
    y_val: Any,
    sizes: Iterable[int],
    *,
    l2: float = 0.0,
    cost: Callable[[Any, Any, Any, float], Tensor] | None = None,
    error: Callable[[Any, Any, Any], Any] | None = None,
    method: str = "L-BFGS",
    maxiter: int | None = None,
    shuffle: bool = False,
    rng: Seed = None,
) -> Curve:
    """Errors against the number of examples learned from.

    Parameters
    ----------
    model_factory : callable
        Makes a new model, for each point of the curve: ``lambda: nn.DigitNet(400, 25, 10, rng=0)``. Let it use a seed,
        so that all start from the same weights.
    X, y : array_like, shapes (m, ...)
        Training examples and their targets, as `cost` wants them: one-hot for a `DigitNet`.
    X_val, y_val : array_like, shapes (n, ...)
        The validation part, all of which is used at every point.
    sizes : sequence of int, from 1 to m
        Learn from the first so many examples.
    l2 : float >= 0
        The course's lambda, while learning.
    cost : callable, optional
        ``cost(model, X, y, l2)``, a scalar Tensor, which is minimised; ``model.cost(X, y, l2)`` by default.
    error : callable, optional
        ``error(model, X, y)``, a number; the cost without its penalty by default, as in the course. It is called in
        eval mode, under `no_grad`.
    method, maxiter
        As for `optim.minimize`.
    shuffle : bool
        Put the training examples in a random order first, the same one for all sizes. Wanted where they are sorted by
        class, as `data.digits` are.
    rng : numpy.random.Generator, int or None
        Where that order comes from.

    Returns
    -------
    Curve
        ``plot.plot_learning_curve(*curve)`` draws it.

    Raises
    ------
    ShapeError
        If examples and targets differ in number, or there are none.
    ValueError
        If there are no sizes, a size is out of range, or an error is not finite.
    TypeError
        If a size is no integer, or something that is to be called cannot be.

    Examples
    --------
    >>> from tinygrad_fnn import nn
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> y = (X > 0.1).astype(float)
    >>> logistic_regression = lambda: nn.DigitNet(1, [], 1, rng=0)
    >>> curve = learning_curve(logistic_regression, X, y, X, y, [10, 20, 40], l2=1.0, shuffle=True, rng=0)
    >>> bool(curve.validation[0] > curve.validation[-1])
    True
    """
    trial = _Trial("learning_curve", model_factory, X, y, X_val, y_val, cost, error, method, maxiter)
    sizes = list(sizes)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise TypeError(f"learning_curve: sizes has {size!r}, wanted integers")
        if not 1 <= size <= len(trial.X):
            raise ValueError(f"learning_curve: sizes has {size}, wanted 1 to {len(trial.X)}, the training examples")
    if shuffle:
        order = as_generator(rng).permutation(len(trial.X))
        trial.X, trial.y = trial.X[order], trial.y[order]
    return trial.curve("sizes", sizes, lambda size: trial.errors(size, l2))


def validation_curve(
    model_factory: Callable[[], Any],
    X: Any,
    y: Any,
    X_val: Any,
    y_val: Any,
    lambdas: Iterable[float],
    *,
    cost: Callable[[Any, Any, Any, float], Tensor] | None = None,
    error: Callable[[Any, Any, Any], Any] | None = None,
    method: str = "L-BFGS",
    maxiter: int | None = None,
) -> Curve:
    """Errors against the weight of the penalty.

    Parameters
    ----------
    model_factory, X, y, X_val, y_val, cost, error, method, maxiter
        As for `learning_curve`. All training examples are learned from at every point.
    lambdas : sequence of float >= 0
        Weights of the penalty while learning; the errors are without it.

    Returns
    -------
    Curve
        ``plot.plot_validation_curve(*curve)`` draws it.

    Raises
    ------
    ShapeError, ValueError, TypeError
        As for `learning_curve`; ValueError if a lambda is negative or not finite.

    Examples
    --------
    >>> from tinygrad_fnn import nn
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> y = (X > 0.1).astype(float)
    >>> curve = validation_curve(lambda: nn.DigitNet(1, [], 1, rng=0), X, y, X, y, [0.1, 1, 10])
    >>> bool((np.diff(curve.train) > 0).all())
    True
    """
    trial = _Trial("validation_curve", model_factory, X, y, X_val, y_val, cost, error, method, maxiter)
    lambdas = [float(l2) for l2 in lambdas]
    for l2 in lambdas:
        if not 0 <= l2 < np.inf:
            raise ValueError(f"validation_curve: lambdas has {l2}, wanted finite numbers >= 0")
    return trial.curve("lambdas", lambdas, lambda l2: trial.errors(len(trial.X), l2))


class _Trial:
    """The question, checked, and what answers it for one point of a curve."""

    def __init__(
        self,
        function: str,
        model_factory: Callable[[], Any],
        X: Any,
        y: Any,
        X_val: Any,
        y_val: Any,
        cost: Callable[..., Any] | None,
        error: Callable[..., Any] | None,
        method: str,
        maxiter: int | None,
    ) -> None:
        for name, given in {"model_factory": model_factory, "cost": cost, "error": error}.items():
            if given is not None and not callable(given):
                raise TypeError(f"{function}: {name} is a {type(given).__name__}, wanted a function")
        self.function, self.model_factory, self.method, self.maxiter = function, model_factory, method, maxiter
        self.X, self.y = self.pair("X", X, "y", y)
        self.X_val, self.y_val = self.pair("X_val", X_val, "y_val", y_val)
        self.cost = cost or (lambda model, X, y, l2: model.cost(X, y, l2))
        self.error = error or (lambda model, X, y: self.cost(model, X, y, 0.0))

    def pair(self, name: str, X: Any, of: str, y: Any) -> tuple[ndarray, ndarray]:
        """Examples and targets, as many of the ones as of the others."""
        X, y = np.asarray(plain(X)), np.asarray(plain(y))
        if not X.ndim or not y.ndim or len(X) != len(y) or not len(X):
            raise ShapeError(
                f"{self.function}: {name} is {X.shape} and {of} is {y.shape}; wanted the same number, above 0, of both"
            )
        return X, y

    def errors(self, size: int, l2: float) -> tuple[float, float]:
        """The errors of a network that has learned from the first `size` examples, on these and on the others."""
        model, X, y = self.model_factory(), Tensor(self.X[:size]), self.y[:size]  # X is copied once, not at each step
        minimize(model, lambda: self.cost(model, X, y, l2), self.method, maxiter=self.maxiter)
        if hasattr(model, "eval"):
            model.eval()
        with no_grad():
            parts = ((self.X[:size], self.y[:size]), (self.X_val, self.y_val))
            train, validation = (float(self.error(model, *part)) for part in parts)
        return train, validation

    def curve(self, name: str, points: list[Any], errors: Callable[[Any], tuple[float, float]]) -> Curve:
        if not points:
            raise ValueError(f"{self.function}: {name} is empty; wanted one point or more")
        found = []
        for point in points:
            found.append(errors(point))
            if not np.isfinite(found[-1]).all():
                raise ValueError(
                    f"{self.function}: at {name} {point} the errors are {found[-1]}; look for NaN in the data, or "
                    "penalise more"
                )
        return Curve(np.array(points), *np.array(found).T)
