"""`show`: pictures of digits, hidden units, a training, and what is taken for what."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import metrics, plot
from ..training import History
from .examples import DIGITS, add_label_column, guessed, read
from .networks import load_network
from .options import apart, command, integer, to_write
from .pictures import PICTURES, save_picture

__all__ = ["add"]

_TEXT: Final = """\
draw digits, hidden units, the history of a training, or a confusion matrix

Written to --out, in the format that its suffix says; nothing is opened on the screen. Pictures need matplotlib:
python -m pip install "tinygrad_fnn[plot]\""""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn show digits --count 50
  python -m tinygrad_fnn show hidden model.npz --out hidden.svg
  python -m tinygrad_fnn show history run.csv --metric accuracy
  python -m tinygrad_fnn show confusion mnist.npz mnist/"""


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "show", _TEXT, _unreachable, _EXAMPLES)
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    data: dict[str, Any] = {"type": guessed, "nargs": "?", "default": DIGITS, "metavar": "DATA"}

    digits = command(what, "digits", "digits in a grid, drawn at random", _digits)
    digits.add_argument("source", help="a file, or a folder of MNIST (default: the digits of the package)", **data)
    digits.add_argument("--count", type=integer(1, 2500), default=100, metavar="N", help="how many (default: 100)")
    digits.add_argument("--seed", type=integer(0), default=0, help="of the choice (default: 0)")
    hidden = command(what, "hidden", "the weights of each hidden unit as the picture it looks for", _hidden)
    hidden.add_argument("model", type=Path, metavar="MODEL", help="a file of train --out, or a .mat file of thetas")
    history = command(what, "history", "a number against the epochs of a training", _history)
    history.add_argument("log", type=Path, metavar="LOG", help="a file of train --log, .csv or .jsonl")
    history.add_argument("--metric", default="loss", metavar="NAME", help="a column of it (default: loss)")
    history.add_argument("--log-scale", action="store_true", help="make the axis of the number logarithmic")
    confusion = command(what, "confusion", "how often each class was read as which", _confusion)
    confusion.add_argument("model", type=Path, metavar="MODEL", help="a file of train --out, or a .mat file of thetas")
    confusion.add_argument("source", help="a file, or a folder of MNIST (default: the digits of the package)", **data)

    for name, parser in what.choices.items():
        if name in ("digits", "confusion"):
            add_label_column(parser)
        out = Path(f"{name}.png")
        parser.add_argument("--out", type=to_write(*PICTURES), default=out, metavar="FILE", help=f"(default: {out})")


def _unreachable(options: argparse.Namespace) -> int:
    raise AssertionError  # argparse wants one of the four


def _digits(options: argparse.Namespace) -> int:
    apart({"--out": options.out}, {"DATA": options.source.path})
    examples = read(options.source, options.label_column, part="train")
    count = min(options.count, len(examples))
    rows = np.random.default_rng(options.seed).choice(len(examples), count, replace=False)
    ax = plot.plot_digits(examples.X[rows], examples.labels[rows], column_major=examples.column_major)
    return _written(ax, options.out)


def _hidden(options: argparse.Namespace) -> int:
    apart({"--out": options.out}, {"MODEL": options.model})
    network = load_network(options.model)
    W = network.model["linear1"].W  # type: ignore[attr-defined]  # a Linear, as the name says
    columns = max(5, math.isqrt(len(W)))  # as wide as it is tall, if there are many
    return _written(plot.plot_hidden_units(W, columns=columns, column_major=network.column_major), options.out)


def _history(options: argparse.Namespace) -> int:
    apart({"--out": options.out}, {"LOG": options.log})
    if not options.log.is_file():
        raise FileNotFoundError(f"{options.log}: there is no such file; `train --log {options.log}` writes one")
    history = (History.from_jsonl if options.log.suffix.lower() == ".jsonl" else History.from_csv)(options.log)
    if options.metric not in history:
        raise ValueError(
            f"--metric is {options.metric!r}; {options.log} has {', '.join(history.keys()) or 'no epochs'}"
        )
    mode: Any = "max" if "accuracy" in options.metric else "min"  # Any: a Literal
    return _written(plot.plot_history(history, options.metric, mode=mode, log=options.log_scale), options.out)


def _confusion(options: argparse.Namespace) -> int:
    apart({"--out": options.out}, {"MODEL": options.model, "DATA": options.source.path})
    network = load_network(options.model)
    examples = read(options.source, options.label_column, part="t10k", pixels=network.widths[0], dtype=network.dtype)
    predicted = network.logits(network.inputs(examples)).argmax(axis=1)
    matrix = metrics.confusion_matrix(examples.numbered(network.classes), predicted, classes=len(network.classes))
    return _written(plot.plot_confusion_matrix(matrix, network.classes), options.out)


def _written(ax: Any, path: Path) -> int:  # Any: an Axes of matplotlib, which may be missing
    save_picture(ax, path)
    print(path)
    return 0
