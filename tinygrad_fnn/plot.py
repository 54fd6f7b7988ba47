"""Pictures, with matplotlib, which is an extra: it is imported when the first one is drawn.

Nothing here shows a window or changes a global setting. Grids return a Figure; single plots take `ax` and return it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MissingExtraError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_costs", "plot_digits", "plot_hidden_units", "plot_logistic"]


def _figure(**options: Any) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("pictures need matplotlib", "plot") from error
    return Figure(layout="constrained", **options)


def _axes(ax: Axes | None) -> Axes:
    return _figure(figsize=(6, 4)).add_subplot() if ax is None else ax


def _side(name: str, rows: np.ndarray) -> int:
    side = int(np.sqrt(rows.shape[-1])) if rows.ndim == 2 else 0
    if rows.ndim != 2 or side * side != rows.shape[-1]:
        raise ShapeError(f"{name}: wanted rows of square pictures, (m, side * side), got {rows.shape}")
    return side


def _grid(name: str, rows: Any, columns: int, column_major: bool, titles: Any, **image: Any) -> Figure:
    """Square pictures, one for each row, `columns` side by side."""
    rows = np.asarray(rows)
    side = _side(name, rows)
    lines = -(-len(rows) // columns)
    figure = _figure(figsize=(0.7 * columns, 0.7 * lines + (0.25 * lines if titles is not None else 0)))
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for k, row in enumerate(rows):
        picture = row.reshape(side, side)
        axes[k].imshow(picture.T if column_major else picture, **image)
        if titles is not None:
            axes[k].set_title(str(titles[k]), fontsize=8, pad=2)
    return figure


def plot_digits(X: Any, titles: Any = None, *, columns: int = 10, column_major: bool = True) -> Figure:
    """Digits in a grid, upright.

    Parameters
    ----------
    X : array_like, shape (m, side * side)
        Grey values, one picture in each row; 0 is drawn black, 1 white.
    titles : sequence of length m, optional
        What to write above each.
    columns : int
        Pictures side by side.
    column_major : bool
        Whether a row is a picture unrolled column by column, as in the course's data; MNIST's are row by row.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If the rows are no square pictures.
    MissingExtraError
        If matplotlib is missing.
    """
    return _grid("plot_digits", X, columns, column_major, titles, cmap="gray", vmin=0, vmax=1)


def plot_hidden_units(W: Any, *, columns: int = 5, column_major: bool = True) -> Figure:
    """The weights of each hidden unit as the picture it looks for.

    Parameters
    ----------
    W : array_like, shape (units, side * side)
        Weights without the bias column. Each picture is scaled by itself, symmetric about 0: blue is negative, red
        positive.
    columns : int
        Pictures side by side.
    column_major : bool
        As in `plot_digits`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ShapeError
        If the rows are no square pictures. Is the bias column still in W?
    MissingExtraError
        If matplotlib is missing.
    """
    W = np.asarray(W)
    _side("plot_hidden_units", W)
    scaled = W / np.abs(W).max(axis=1, keepdims=True, initial=np.finfo(float).tiny)
    return _grid("plot_hidden_units", scaled, columns, column_major, None, cmap="RdBu_r", vmin=-1, vmax=1)


def plot_logistic(ax: Axes | None = None, *, limit: float = 8.0) -> Axes:
    """The logistic function with its derivative.

    Parameters
    ----------
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.
    limit : float
        Draw for z in [-limit, limit].

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingExtraError
        If matplotlib is missing.
    """
    from . import Tensor, grad, sigmoid

    ax = _axes(ax)
    z = Tensor(np.linspace(-limit, limit, 401), requires_grad=True)
    a = sigmoid(z)
    (slope,) = grad(a, z, np.ones(401))
    assert slope is not None
    ax.plot(z.data, a.data, label=r"$g(z) = 1\,/\,(1 + e^{-z})$")
    ax.plot(z.data, slope.data, "--", label=r"$g'(z) = g(z)\,(1 - g(z))$")
    ax.set(xlabel="z", title="Logistic function and its derivative")
    ax.grid(alpha=0.3)
    ax.legend()
    return ax


def plot_costs(costs: Any, ax: Axes | None = None) -> Axes:
    """Cost against iterations.

    Parameters
    ----------
    costs : array_like, shape (n,)
        The cost J after each iteration; drawn on a logarithmic scale.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingExtraError
        If matplotlib is missing.
    """
    ax = _axes(ax)
    ax.semilogy(np.arange(1, len(costs) + 1), costs)
    ax.set(xlabel="iteration", ylabel="cost J", title="Cost against iterations")
    ax.grid(alpha=0.3, which="both")
    return ax
