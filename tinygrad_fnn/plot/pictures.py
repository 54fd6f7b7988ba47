"""Arrays as pictures: digits, the weights of hidden units, deltas. Several of them make one image, in one Axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from .canvas import axes, finite, one_for_each, points, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["plot_deltas", "plot_digits", "plot_hidden_units", "plot_misread"]

CELL = 0.8  # inches, of one picture in a figure of our own
COURSE = 400  # pixels of the course's pictures, which are unrolled column by column
OVERSHOOT = 0.25  # beyond [0, 1], that a filter may cause; the course's digits reach -0.13 and 1.13
WRONG = "firebrick"


def plot_digits(
    X: Any,
    labels: Any = None,
    predictions: Any = None,
    *,
    columns: int = 10,
    column_major: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Digits in a grid, upright.

    Parameters
    ----------
    X : array_like, shape (m, side * side)
        Grey values, one picture in each row; 0 is drawn black, 1 white. Values on another scale than [0, 1] are drawn
        from the smallest, black, to the largest, white.
    labels : sequence of length m, optional
        What to write above each.
    predictions : sequence of length m, optional
        What each was read as. Where it differs from the label, both are written: '7 read as 1'.
    columns : int > 0
        Pictures side by side.
    column_major : bool, optional
        Whether a row is a picture unrolled column by column. By default the course's pictures are, those of 20 x 20,
        and all others, as MNIST's, are row by row.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        It holds one image, the whole grid, in which the gaps are masked.

    Raises
    ------
    ShapeError
        If the rows are no square pictures, there are none, or there is not one label for each.
    ValueError
        If a grey value is NaN or infinite, or `columns` is below 1.
    TypeError
        If `X` holds no real numbers.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> from tinygrad_fnn import data
    >>> X, y = data.digits()
    >>> ax = plot_digits(X[::500], y[::500], columns=5)
    >>> [text.get_text() for text in ax.texts]
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']
    """
    X, captions = _read_digits("plot_digits", X, labels, predictions)
    ax, _ = _grid("plot_digits", X, captions, columns, column_major, ax, cmap="gray", **_grey_scale(X))
    return ax


def plot_misread(
    X: Any,
    y: Any,
    predictions: Any,
    *,
    limit: int = 50,
    columns: int = 10,
    column_major: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The digits that are read wrongly, each with its label and what it was read as.

    Parameters
    ----------
    X, column_major, columns, ax
        As for `plot_digits`.
    y : sequence of length m
        Labels.
    predictions : sequence of length m
        What each was read as.
    limit : int > 0
        Show so many at most, the first ones.

    Returns
    -------
    matplotlib.axes.Axes
        The title says how many there are. If there are none it holds no image.

    Raises
    ------
    ShapeError, ValueError, TypeError, MissingExtraError
        As for `plot_digits`.

    Examples
    --------
    >>> from tinygrad_fnn import data
    >>> X, y = data.digits()
    >>> plot_misread(X[::500], y[::500], [0, 1, 2, 3, 4, 5, 5, 7, 8, 9]).texts[0].get_text()
    '6 read as 5'
    """
    X, captions = _read_digits("plot_misread", X, y, predictions)
    if not _positive(limit):
        raise ValueError(f"plot_misread: limit is {limit!r}, wanted an integer > 0")
    wrong = [k for k, (_, is_wrong) in enumerate(captions) if is_wrong]
    shown = wrong[:limit]
    if shown:
        captions = [captions[k] for k in shown]
        scale = _grey_scale(X)
        ax, _ = _grid("plot_misread", X[shown], captions, columns, column_major, ax, above=0.4, cmap="gray", **scale)
    else:
        ax = axes("plot_misread", ax, 4, 1)
        ax.set_axis_off()
    rest = f", the first {len(shown)} shown" if len(shown) < len(wrong) else ""
    ax.set_title(f"{len(wrong)} of {len(X)} misread{rest}")
    return ax


def plot_hidden_units(W: Any, *, columns: int = 5, column_major: bool | None = None, ax: Axes | None = None) -> Axes:
    """The weights of each hidden unit as the picture it looks for.

    Parameters
    ----------
    W : array_like, shape (units, side * side)
        Weights without the bias column. All pictures share one scale, symmetric about 0: blue is negative, red
        positive.
    columns, column_major, ax
        As for `plot_digits`.

    Returns
    -------
    matplotlib.axes.Axes
        It holds one image, the whole grid, in which the gaps are masked; the scale stands beside it.

    Raises
    ------
    ShapeError, ValueError, TypeError, MissingExtraError
        As for `plot_digits`. Is the bias column still in W?

    Examples
    --------
    >>> ax = plot_hidden_units([[0.5, -2.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    >>> ax.images[0].get_clim()
    (-2.0, 2.0)
    """
    W = finite("plot_hidden_units", "W", W, 2, "(units, side * side)")
    captions = [(str(unit), False) for unit in range(len(W))]
    ax, image = _grid("plot_hidden_units", W, captions, columns, column_major, ax, beside=1.0, **_diverging(W))
    ax.figure.colorbar(image, ax=ax, label="weight")
    return ax


def plot_deltas(deltas: Any, *, ax: Axes | None = None) -> Axes:
    r"""The deltas of every layer as one heat map: an example in each row, a unit in each column.

    Parameters
    ----------
    deltas : mapping from str to array_like, or sequence of them, shapes (m, ...)
        The cotangents of each layer for the same m examples, the first layer first; axes after the first are flattened.
        Or an object that has them as ``.deltas``: what `nn.capture` or `check.textbook.gradients` returns.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        It holds an image for each layer, side by side and equally wide. They share one scale, symmetric about 0; below
        each stands its largest delta, so that one that vanishes is seen.

    Raises
    ------
    ShapeError
        If there is no layer, or the layers differ in their number of examples.
    ValueError
        If a delta is NaN or infinite.
    TypeError
        If `deltas` is one array, or a layer holds no real numbers.
    MissingExtraError
        If matplotlib is missing.

    Examples
    --------
    >>> ax = plot_deltas({"hidden": [[0.1, -0.2, 0.0]], "output": [[1.0, -1.0]]})
    >>> [tick.get_text() for tick in ax.get_xticklabels()]
    ['hidden\nmax 0.2', 'output\nmax 1']
    """
    layers = _layers(deltas)
    ax = axes("plot_deltas", ax, max(6.0, 1.5 + 1.2 * len(layers)))
    scale = _diverging(*layers.values())
    for l, layer in enumerate(layers.values()):
        extent = (l, l + 0.95, len(layer) - 0.5, -0.5)  # the same width for each layer, and a gap
        image = ax.imshow(layer, aspect="auto", interpolation="nearest", extent=extent, **scale)
    names = [f"{name}\nmax {np.abs(layer).max():.2g}" for name, layer in layers.items()]
    longest = max(len(line) for name in names for line in name.split("\n"))
    fits = longest * 0.6 * 10 < points(ax)[0] / len(layers)  # a letter of 10 points is about 6 wide
    ax.set_xticks(np.arange(len(layers)) + 0.475, names, rotation=0 if fits else 90)
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(0, len(layers) - 0.05), ylabel="example", title="delta of each unit")
    whole_numbers(ax.yaxis)
    ax.figure.colorbar(image, ax=ax, label="delta")
    return ax


# --- reading --------------------------------------------------------------------------------------------------------


def _read_digits(function: str, X: Any, names: Any, predictions: Any) -> tuple[ndarray, list[tuple[str, bool]]]:
    """The pictures; and for each, if there are labels or predictions, its caption and whether it was misread."""
    X = finite(function, "X", X, 2, "rows of square pictures, (m, side * side)")
    if names is not None:
        names = one_for_each(
            function, "labels" if function == "plot_digits" else "y", names, len(X), "one for each row of X"
        )
    if predictions is not None:
        predictions = one_for_each(function, "predictions", predictions, len(X), "one for each row of X")
    if names is None or predictions is None:
        return X, [(str(name), False) for name in names or predictions or []]
    pairs = zip(names, predictions, strict=True)
    return X, [(f"{name} read as {read}", True) if name != read else (str(name), False) for name, read in pairs]


def _layers(deltas: Any) -> dict[str, ndarray]:
    outputs, deltas = getattr(deltas, "outputs", None), getattr(deltas, "deltas", deltas)
    if outputs is not None:  # what nn.capture records: backward came by in the opposite order
        deltas = {name: deltas[name] for name in outputs if name in deltas}
    if isinstance(deltas, Mapping):
        named: Iterable[tuple[Any, Any]] = deltas.items()
    elif isinstance(deltas, Sequence) and not isinstance(deltas, str):
        named = ((f"layer {l}", delta) for l, delta in enumerate(deltas))
    else:
        raise TypeError(
            f"plot_deltas: deltas is a {type(deltas).__name__}, wanted a dict of arrays by name, or a list of them"
        )
    layers: dict[str, ndarray] = {}
    for name, delta in named:
        if delta is None:
            raise ValueError(f"plot_deltas: deltas[{name!r}] is None; was backward() called?")
        count = max(2, np.ndim(delta))
        layer = finite("plot_deltas", f"deltas[{name!r}]", delta, count, "(m, units), one row for each example")
        layers[str(name) or "(itself)"] = layer.reshape(len(layer), -1)
    if len({len(layer) for layer in layers.values()}) != 1:
        shapes = ", ".join(f"{name} {layer.shape}" for name, layer in layers.items()) or "no layer"
        raise ShapeError(f"plot_deltas: wanted layers of the same examples, (m, units) each; got {shapes}")
    return layers


def _positive(count: Any) -> bool:
    return isinstance(count, int | np.integer) and not isinstance(count, bool) and bool(count > 0)


def _grey_scale(X: ndarray) -> dict[str, float]:
    low, high = float(X.min()), float(X.max())
    if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return {"vmin": 0.0, "vmax": 1.0}
    return {"vmin": low, "vmax": high}


def _diverging(*arrays: ndarray) -> dict[str, Any]:
    largest = max(max(float(array.max()), -float(array.min())) for array in arrays) or 1.0
    return {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}


# --- drawing --------------------------------------------------------------------------------------------------------


def _grid(
    function: str,
    rows: ndarray,
    captions: list[tuple[str, bool]],
    columns: int,
    column_major: bool | None,
    ax: Axes | None,
    *,
    above: float = 0.0,
    beside: float = 0.0,
    **scale: Any,  # Any: numbers and the name of a colour map
) -> tuple[Axes, AxesImage]:
    """Square pictures, one for each row, `columns` side by side, with a caption above each if there are captions.

    A figure of our own has `above` and `beside` inches more, for a title and for a scale.
    """
    side = round(np.sqrt(rows.shape[1]))
    if side * side != rows.shape[1]:
        name = "W" if function == "plot_hidden_units" else "X"
        inner = round(np.sqrt(rows.shape[1] - 1))
        biased = inner > 2 and inner * inner == rows.shape[1] - 1  # five features are no picture of four pixels
        hint = "; is the bias column still in it?" if biased else ""
        raise ShapeError(
            f"{function}: wanted rows of square pictures, (m, side * side), got {rows.shape} as {name}{hint}"
        )
    if not _positive(columns):
        raise ValueError(f"{function}: columns is {columns!r}, wanted an integer > 0")
    columns = min(columns, len(rows))
    lines = -(-len(rows) // columns)
    upright = rows.reshape(-1, side, side)
    if side * side == COURSE if column_major is None else column_major:
        upright = upright.transpose(0, 2, 1)

    tall = 1.25 if captions else 1.0  # about, with its caption
    ax = axes(function, ax, max(2.5, CELL * columns + beside), CELL * tall * lines + 0.1 + above)
    gap = max(1, side // 10)
    width, height = points(ax)
    cell = min(width / columns, height / lines / tall)  # points, the width of a picture and its gap
    longest = max((len(text) for text, _ in captions), default=1)
    size = float(np.clip(cell / (0.6 * longest), 3, 9))  # a letter is about 0.6 as wide as high
    pixels = (side + gap) / cell  # for each point
    head = int(np.ceil(1.3 * size * pixels)) if captions else 0  # pixels above a picture, for its caption
    sheet = np.full((lines * (head + side + gap) - gap, columns * (side + gap) - gap), np.nan)
    for k, picture in enumerate(upright):
        top, left = k // columns * (head + side + gap) + head, k % columns * (side + gap)
        sheet[top : top + side, left : left + side] = picture
        if captions:
            text, wrong = captions[k]
            middle = left + (side - 1) / 2
            options: dict[str, Any] = {"color": WRONG, "weight": "bold"} if wrong else {}
            ax.text(middle, top - 0.5 - 0.2 * size * pixels, text, fontsize=size, ha="center", va="baseline", **options)
    image = ax.imshow(np.ma.masked_invalid(sheet), **scale)
    ax.set_axis_off()
    return ax, image
