"""What a classifier does: whom it takes for whom, how far its probabilities are true, where it draws the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..modes import no_grad
from .canvas import axes, finite, one_for_each, points, same_length

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_calibration", "plot_confusion_matrix", "plot_decision_boundary"]

MARKERS = "os^Dv*Xp<>"  # a second sign beside the colour


def plot_confusion_matrix(
    matrix: Any,
    classes: Any = None,
    *,
    normalize: Literal["true", "pred", "all"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How often each class was read as which, with the numbers in the cells.

    Parameters
    ----------
    matrix : array_like, shape (K, K)
        Counts: a row for each true class, a column for each predicted one, as `metrics.confusion_matrix` gives them.
    classes : sequence of length K, optional
        Their names; 0 to K - 1 by default.
    normalize : {'true', 'pred', 'all'}, optional
        Show rates instead of counts: of each row (the diagonal is the recall), of each column (the diagonal is the
        precision), or of all. A rate of nothing is shown as '-'.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Colours go with the square root, so that a few mistakes among many right answers are seen.

    Raises
    ------
    ShapeError
        If the matrix is not square, or there is not one name for each class.
    ValueError
        If an entry is negative, NaN or infinite, or `normalize` is unknown.
    TypeError
        If it holds no real numbers.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> ax = plot_confusion_matrix([[8, 2], [0, 5]], ["cat", "dog"], normalize="true")
    >>> [text.get_text() for text in ax.texts]
    ['0.80', '0.20', '0', '1.00']
    """
    matrix = finite("plot_confusion_matrix", "matrix", matrix, 2, "(K, K)")
    K = len(matrix)
    if matrix.shape != (K, K):
        raise ShapeError(
            f"plot_confusion_matrix: matrix is {matrix.shape}, wanted (K, K): a row and column for a class"
        )
    if matrix.min() < 0:
        raise ValueError(f"plot_confusion_matrix: matrix holds {matrix.min()}, wanted counts >= 0")
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(f"plot_confusion_matrix: normalize is {normalize!r}, wanted 'true', 'pred', 'all' or None")
    names = (
        range(K) if classes is None else one_for_each("plot_confusion_matrix", "classes", classes, K, "a name for each")
    )
    if normalize is not None:
        over = {"true": 1, "pred": 0, "all": (0, 1)}[normalize]
        total = matrix.sum(axis=over, keepdims=True)
        matrix = np.ma.masked_invalid(np.where(total == 0, np.nan, matrix / np.where(total == 0, 1, total)))

    ax = axes("plot_confusion_matrix", ax, max(3.6, 1.8 + 0.45 * K), 1.6 + 0.45 * K)
    from matplotlib.colors import PowerNorm

    top = float(np.ma.max(matrix)) if np.ma.count(matrix) else 0.0
    norm = PowerNorm(0.5, vmin=0, vmax=1 if normalize else top or 1)
    ax.imshow(matrix, cmap="Blues", norm=norm)
    texts = {cell: _number(matrix[cell], normalize is not None) for cell in np.ndindex(K, K)}
    longest = max(map(len, texts.values()))
    size = float(np.clip(0.85 * min(points(ax)) / K / (0.65 * longest), 3, 10))  # a digit is 0.65 as wide as high
    for (i, j), text in texts.items():
        value = matrix[i, j]
        dark = value is not np.ma.masked and norm(value) > 0.55
        color = "white" if dark else "gray" if not value else "black"
        ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
    ax.set_xticks(range(K), list(map(str, names)), rotation=90 if max(len(str(n)) for n in names) > 3 else 0)
    ax.set_yticks(range(K), list(map(str, names)))
    share = {"true": ", share of each row", "pred": ", share of each column", "all": ", share of all", None: ""}
    ax.set(xlabel="read as", ylabel="true class", title=f"Confusion matrix{share[normalize]}")
    return ax


def plot_calibration(prob_true: Any, prob_pred: Any, counts: Any = None, *, ax: Axes | None = None) -> Axes:
    """The reliability diagram: how often what was predicted with some probability came true.

    Parameters
    ----------
    prob_true, prob_pred : array_like, shape (bins,)
        For each bin the share of examples that were of the class, and the mean of their predicted probabilities, as
        `metrics.calibration_curve` gives them: ``plot_calibration(*metrics.calibration_curve(y, p))``.
    counts : array_like, shape (bins,), optional
        Examples in each bin, > 0: the area of its dot.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Below the diagonal the classifier is too sure.

    Raises
    ------
    ShapeError
        If they are no vectors of one length.
    ValueError
        If a number is NaN or infinite, a probability outside [0, 1], or a count not positive.
    TypeError
        If they are no real numbers.
    MissingExtraError
        If matplotlib is missing.

    References
    ----------
    Guo et al., *On calibration of modern neural networks*, ICML 2017, figure 1.

    Examples
    --------
    >>> ax = plot_calibration([0.1, 0.4, 0.8], [0.2, 0.5, 0.9])
    >>> ax.lines[-1].get_ydata()
    array([0.1, 0.4, 0.8])
    """
    function = "plot_calibration"
    given = {"prob_true": prob_true, "prob_pred": prob_pred} | ({} if counts is None else {"counts": counts})
    found = {name: finite(function, name, values, 1, "(bins,)") for name, values in given.items()}
    same_length(function, **found)
    for name in ("prob_true", "prob_pred"):
        if found[name].min() < 0 or found[name].max() > 1:
            span = f"{found[name].min():g} to {found[name].max():g}"
            raise ValueError(f"{function}: {name} is from {span}, wanted numbers in [0, 1]")
    if counts is not None and found["counts"].min() <= 0:
        raise ValueError(f"{function}: counts holds {found['counts'].min()}, wanted numbers > 0; leave out empty bins")
    true, predicted = found["prob_true"], found["prob_pred"]

    ax = axes(function, ax, 4.5, 4.5)
    ax.plot([0, 1], [0, 1], ":", color="gray", label="calibrated")
    if counts is not None:
        ax.scatter(predicted, true, s=150 * found["counts"] / found["counts"].max(), alpha=0.4)
    ax.plot(predicted, true, marker="o", markersize=3, label="classifier")
    ax.set(xlabel="mean predicted probability", ylabel="share that came true", title="Reliability", aspect="equal")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.grid(alpha=0.3)
    ax.legend(loc="upper left")
    return ax


def plot_decision_boundary(
    scores: Callable[[ndarray], Any],
    X: Any,
    y: Any,
    *,
    threshold: float | None = None,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Axes:
    """Which class each point of the plane is given, and the examples.

    Parameters
    ----------
    scores : callable
        From points, shape (n, 2), to scores: (n, K), of which the largest wins; (n,) or (n, 1), that of class 1, which
        wins above `threshold`; or (n,) of integers, the classes themselves. A module, or its `predict`. It is called
        once, under `no_grad`.
    X : array_like, shape (m, 2)
        Examples.
    y : array_like of int >= 0, shape (m,)
        Their classes.
    threshold : float, optional
        Needed for a single score, and only there: 0 for logits, 0.5 for probabilities.
    resolution : int > 1
        Points along each side of the picture.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        It holds one image, the classes of the points, the first row lowest.

    Raises
    ------
    ShapeError
        If `X`, `y` or the scores have other shapes.
    ValueError
        If a number is NaN or infinite, a class is negative or above 9, or `threshold` is missing or not needed.
    TypeError
        If classes are no integers, or `scores` cannot be called.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> X, y = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0, 0, 0, 1]
    >>> ax = plot_decision_boundary(lambda X: X.sum(axis=1) - 1.5, X, y, threshold=0)
    >>> ax.images[0].get_array()[0, 0], ax.images[0].get_array()[-1, -1]
    (np.int64(0), np.int64(1))
    """
    function = "plot_decision_boundary"
    X = finite(function, "X", X, 2, "(m, 2)")
    if X.shape[1] != 2:
        raise ShapeError(f"{function}: X is {X.shape}, wanted (m, 2): points of the plane")
    y = _classes(function, "y", finite(function, "y", y, 1, f"({len(X)},), a class for each row of X"))
    if len(y) != len(X):
        raise ShapeError(f"{function}: y is {y.shape}, wanted ({len(X)},), a class for each row of X")
    if not callable(scores):
        raise TypeError(f"{function}: scores is a {type(scores).__name__}, wanted a function of points (n, 2)")
    if not isinstance(resolution, int | np.integer) or resolution < 2:
        raise ValueError(f"{function}: resolution is {resolution!r}, wanted an integer > 1")

    low, high = X.min(axis=0).astype(float), X.max(axis=0).astype(float)
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    low, high = low - margin, high + margin
    steps = (np.arange(resolution) + 0.5) / resolution  # the middles of the pixels
    horizontal, vertical = (low + (high - low) * steps[:, None]).T
    plane = np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)
    with no_grad():
        given = scores(plane)
    single, regions = _regions(function, given, len(plane), threshold)
    regions = regions.reshape(resolution, resolution)

    ax = axes(function, ax, 5, 4.5)
    from matplotlib.colors import ListedColormap

    count = int(max(regions.max(), y.max())) + 1
    colors = [f"C{k}" for k in range(count)]
    extent = (low[0], high[0], low[1], high[1])
    scale: dict[str, Any] = {"cmap": ListedColormap(colors), "vmin": -0.5, "vmax": count - 0.5, "alpha": 0.3}
    ax.imshow(regions, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **scale)
    if single is not None and single.min() < threshold < single.max():
        surface = single.reshape(resolution, resolution)
        ax.contour(horizontal, vertical, surface, levels=[threshold], colors="black", linewidths=1)
    for k in range(count):
        if (y == k).any():
            sign: dict[str, Any] = {"color": colors[k], "marker": MARKERS[k], "edgecolors": "black"}
            ax.scatter(X[y == k, 0], X[y == k, 1], s=20, linewidths=0.4, label=str(k), **sign)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title="Decision boundary")
    ax.legend(title="class")
    return ax


def _regions(function: str, given: Any, n: int, threshold: float | None) -> tuple[ndarray | None, ndarray]:
    """The scores of class 1 if there is one score for a point, and the class of each point."""
    ndim = 2 if np.ndim(given) == 2 else 1
    found = finite(function, "what scores returned", given, ndim, f"({n}, K) or ({n},)")
    if len(found) != n:
        raise ShapeError(f"{function}: what scores returned is {found.shape}, wanted ({n}, K) or ({n},)")
    if ndim == 2 and found.shape[1] > 1:
        classes, single = found.argmax(axis=1), None
    elif found.dtype.kind in "iub":
        classes, single = found.reshape(n), None
    elif threshold is None:
        raise ValueError(f"{function}: one score for each point wants a threshold: 0 for logits, 0.5 for probabilities")
    else:
        single = found.reshape(n)
        classes = (single > threshold).astype(int)
    if single is None and threshold is not None:
        raise ValueError(f"{function}: threshold is {threshold}, but scores returned {found.shape} {found.dtype}")
    return single, _classes(function, "what scores returned", classes)


def _classes(function: str, name: str, values: ndarray) -> ndarray:
    if values.dtype.kind not in "iub":
        raise TypeError(f"{function}: {name} has dtype {values.dtype}, wanted integers, the classes")
    if values.min() < 0 or values.max() >= len(MARKERS):
        raise ValueError(
            f"{function}: {name} has classes from {values.min()} to {values.max()}, wanted 0 to {len(MARKERS) - 1}"
        )
    return values.astype(int)


def _number(value: Any, rate: bool) -> str:
    if value is np.ma.masked:
        return "-"
    return "0" if not value else f"{value:.2f}" if rate else f"{value:g}" if value < 1e6 else f"{value:.1e}"
