"""Curves: the logistic function, costs, and how errors change with epochs, with examples and with the penalty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import ndarray

from ..backward import grad
from ..ops import sigmoid
from ..tensor import Tensor
from .canvas import axes, finite, same_length, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_costs", "plot_history", "plot_learning_curve", "plot_logistic", "plot_validation_curve"]


def plot_logistic(*, limit: float = 8.0, ax: Axes | None = None) -> Axes:
    """The logistic function with its derivative.

    Parameters
    ----------
    limit : float > 0
        Draw for z in [-limit, limit].
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If `limit` is not positive and finite.
    MissingExtraError
        If matplotlib is missing.
    """
    if not 0 < limit < np.inf:
        raise ValueError(f"plot_logistic: limit is {limit!r}, wanted a finite number > 0")
    ax = axes("plot_logistic", ax)
    z = Tensor(np.linspace(-limit, limit, 401), requires_grad=True)
    a = sigmoid(z)
    (slope,) = grad(a, z, np.ones(401))
    assert slope is not None
    ax.plot(z.data, a.data, label=r"$g(z) = 1\,/\,(1 + e^{-z})$")
    ax.plot(z.data, slope.data, "--", label=r"$g'(z) = g(z)\,(1 - g(z))$")
    ax.set(xlabel="z", title="Logistic function and its derivative")
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left")
    return ax


def plot_costs(costs: Any, *, log: bool = True, ax: Axes | None = None) -> Axes:
    """Cost against iterations.

    Parameters
    ----------
    costs : array_like, shape (n,)
        The cost J after each iteration.
    log : bool
        Whether the axis of J is logarithmic.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If there are none, or it is no vector.
    ValueError
        If a cost is NaN or infinite, or not positive on a logarithmic axis.
    TypeError
        If they are no real numbers.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> plot_costs([3.0, 2.0, 1.5]).lines[0].get_ydata()
    array([3. , 2. , 1.5])
    """
    costs = finite("plot_costs", "costs", costs, 1, "(n,), a cost for each iteration")
    _check_log("plot_costs", log, costs=costs)
    ax = axes("plot_costs", ax)
    _curve(ax, _counted(costs), costs, log_y=log)
    ax.set(xlabel="iteration", ylabel="cost J", title="Cost against iterations")
    return ax


def plot_history(
    history: Any,
    metric: str = "loss",
    *,
    mode: Literal["min", "max"] = "min",
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """A number that training reports, against epochs, for the training and the validation part; the best is marked.

    Parameters
    ----------
    history : History, or mapping from str to array_like of shape (n,)
        What `fit` returns, or a dict of lists: ``history[metric]`` and, if there was a validation,
        ``history["val_" + metric]``; epochs are counted from 1 unless there is a ``history["epoch"]``.
    metric : str
        Which number.
    mode : {'min', 'max'}
        Whether the smallest or the largest is the best: 'max' for an accuracy.
    log : bool
        Whether the axis of the metric is logarithmic.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The best epoch is that of the validation part if there is one; of equal ones the first.

    Raises
    ------
    KeyError
        If the history has no such metric.
    ShapeError
        If it has no epochs, or the two parts have not equally many.
    ValueError
        If a number is NaN or infinite, or not positive on a logarithmic axis, or `mode` is unknown.
    TypeError
        If they are no real numbers.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> ax = plot_history({"loss": [0.9, 0.5, 0.4], "val_loss": [1.0, 0.7, 0.8]})
    >>> [line.get_label() for line in ax.lines]
    ['training', 'validation', 'best: epoch 2, 0.7']
    """
    if mode not in ("min", "max"):
        raise ValueError(f"plot_history: mode is {mode!r}, wanted 'min' or 'max'")
    if metric == "epoch":
        raise KeyError("plot_history: metric is 'epoch', which the curve is drawn against; wanted another of its names")
    found: dict[str, ndarray] = {}
    for name, needed in ((metric, True), (f"val_{metric}", False), ("epoch", False)):
        try:
            values = history[name]
        except KeyError as error:
            if not needed:
                continue
            known = f"; it has {', '.join(map(str, history.keys())) or 'none'}" if hasattr(history, "keys") else ""
            raise KeyError(f"plot_history: history has no {name!r}{known}") from error
        found[f"history[{name!r}]"] = finite(
            "plot_history", f"history[{name!r}]", values, 1, "(n,), one for each epoch"
        )
    same_length("plot_history", **found)
    epochs = found.pop("history['epoch']", _counted(next(iter(found.values()))))
    _check_log("plot_history", log, **found)
    ax = axes("plot_history", ax)
    for part, values in zip(("training", "validation"), found.values(), strict=False):  # there may be no validation
        _curve(ax, epochs, values, label=part, log_y=log)
    best = int(values.argmin() if mode == "min" else values.argmax())
    _mark(ax, epochs[best], values[best], f"best: epoch {epochs[best]}, {values[best]:.4g}")
    ax.set(xlabel="epoch", ylabel=metric, title=f"{metric} against epochs")
    ax.legend()
    return ax


def plot_learning_curve(sizes: Any, train: Any, validation: Any, *, log: bool = False, ax: Axes | None = None) -> Axes:
    """Errors against the number of examples learned from: whether more data would help, or another model.

    Parameters
    ----------
    sizes : array_like, shape (n,)
        Examples that were learned from.
    train, validation : array_like, shape (n,)
        The error on just these examples, and on those of the validation part.
    log : bool
        Whether the axis of the error is logarithmic.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ShapeError
        If they are no vectors of one length.
    ValueError
        If a number is NaN or infinite, or not positive on a logarithmic axis, or a size is below 1.
    TypeError
        If they are no real numbers.
    MissingExtraError
        If matplotlib is missing.

    See Also
    --------
    tinygrad_fnn.curves.learning_curve : computes what is drawn here.

    Examples
    --------
    >>> ax = plot_learning_curve([10, 20, 40], [0.0, 0.1, 0.15], [0.9, 0.5, 0.3])
    >>> ax.get_title()
    'Error against the number of examples'
    """
    sizes, train, validation = _curves("plot_learning_curve", sizes=sizes, train=train, validation=validation)
    if sizes[0] < 1:
        raise ValueError(f"plot_learning_curve: sizes has {sizes[0]}, wanted numbers of examples, from 1 on")
    _check_log("plot_learning_curve", log, train=train, validation=validation)
    ax = axes("plot_learning_curve", ax)
    _curve(ax, sizes, train, label="training", log_y=log)
    _curve(ax, sizes, validation, label="validation", log_y=log)
    ax.set(xlabel="training examples m", ylabel="error", title="Error against the number of examples")
    ax.legend()
    return ax


def plot_validation_curve(
    lambdas: Any, train: Any, validation: Any, *, log: bool = False, ax: Axes | None = None
) -> Axes:
    """Errors against lambda, the weight of the penalty; the best lambda is marked.

    Parameters
    ----------
    lambdas : array_like, shape (n,)
        Weights of the penalty, >= 0. Their axis is logarithmic, and has a place for 0.
    train, validation : array_like, shape (n,)
        The error on the training and on the validation part, without the penalty.
    log : bool
        Whether the axis of the error is logarithmic.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        The best is that with the smallest error on the validation part; of equal ones the smallest lambda.

    Raises
    ------
    ShapeError
        If they are no vectors of one length.
    ValueError
        If a number is NaN or infinite, or not positive on a logarithmic axis, or a lambda is negative.
    TypeError
        If they are no real numbers.
    MissingExtraError
        If matplotlib is missing.

    See Also
    --------
    tinygrad_fnn.curves.validation_curve : computes what is drawn here.

    Examples
    --------
    >>> ax = plot_validation_curve([0, 0.1, 1, 10], [0.1, 0.1, 0.2, 0.4], [0.5, 0.4, 0.3, 0.5])
    >>> ax.lines[-1].get_label()
    'best: lambda 1, 0.3'
    """
    lambdas, train, validation = _curves("plot_validation_curve", lambdas=lambdas, train=train, validation=validation)
    if lambdas[0] < 0:
        raise ValueError(f"plot_validation_curve: lambdas has {lambdas[0]}, wanted weights of a penalty, >= 0")
    _check_log("plot_validation_curve", log, train=train, validation=validation)
    ax = axes("plot_validation_curve", ax)
    _curve(ax, lambdas, train, label="training", log_y=log)
    _curve(ax, lambdas, validation, label="validation", log_y=log)
    positive = lambdas[lambdas > 0]
    if len(positive) == len(lambdas):
        ax.set_xscale("log")
    elif len(positive):
        decade = 10 ** np.floor(
            np.log10(positive[0])
        )  # linear from 0 to here, where the first tick is; then logarithmic
        ax.set_xscale("symlog", linthresh=decade, linscale=0.5)
        ax.set_xlim(left=-0.3 * decade)
    best = int(validation.argmin())
    _mark(ax, lambdas[best], validation[best], f"best: lambda {lambdas[best]:g}, {validation[best]:.4g}")
    ax.set(xlabel=r"penalty $\lambda$", ylabel="error", title="Error against the penalty")
    ax.legend()
    return ax


def _curves(function: str, **named: Any) -> list[ndarray]:
    """Vectors of one length, sorted by the first."""
    vectors = {name: finite(function, name, values, 1, "(n,)") for name, values in named.items()}
    same_length(function, **vectors)
    order = np.argsort(next(iter(vectors.values())), kind="stable")
    return [vector[order] for vector in vectors.values()]


def _check_log(function: str, log: bool, **vectors: ndarray) -> None:
    for name, vector in vectors.items() if log else ():
        if vector.min() <= 0:
            raise ValueError(
                f"{function}: {name}[{vector.argmin()}] is {vector.min()}, and a logarithmic axis wants numbers > 0; "
                "log=False draws it"
            )


def _counted(values: ndarray) -> ndarray:
    return np.arange(1, len(values) + 1)


def _curve(ax: Axes, x: ndarray, y: ndarray, *, log_y: bool, **options: Any) -> None:
    # Few points are marked: a curve of one would not be seen.
    ax.plot(x, y, marker="o" if len(x) <= 30 else "", markersize=3, **options)
    if log_y:
        ax.set_yscale("log")
    if x.dtype.kind in "iu":
        whole_numbers(ax.xaxis)
    ax.grid(alpha=0.3, which="both")


def _mark(ax: Axes, x: float, y: float, label: str) -> None:
    ax.plot([x], [y], "*", color="black", markersize=10, linestyle="none", label=label)
