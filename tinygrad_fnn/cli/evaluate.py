"""`evaluate`: how well a network reads examples."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from .. import metrics, plot
from .examples import DIGITS, add_label_column, guessed, read
from .networks import load_network, loss_of
from .options import apart, command, print_json, table, to_write
from .pictures import PICTURES, save_picture

__all__ = ["add"]

_TEXT: Final = """\
measure a network: accuracy, cost, confusion, precision and recall of each class

MODEL is a file of `train --out`, or a .mat file with Theta1, Theta2, ..., as ex4weights.mat of the course.
DATA is a .mat, .npz or .csv file or a folder with the files of MNIST, of which the test set is taken; without it, the
digits of the package, most of which a network trained on them has seen."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn evaluate model.npz
  python -m tinygrad_fnn evaluate mnist.npz mnist/ --misread misread.png
  python -m tinygrad_fnn evaluate ex4weights.mat ex4data1.mat --json"""


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "evaluate", _TEXT, _run, _EXAMPLES)
    option = parser.add_argument
    option("model", type=Path, metavar="MODEL", help="the network")
    option(
        "source",
        type=guessed,
        nargs="?",
        default=DIGITS,
        metavar="DATA",
        help="the examples (default: the digits of the package)",
    )
    add_label_column(parser)
    option("--misread", type=to_write(*PICTURES), metavar="FILE.png", help="draw what is misread, 100 at most")
    option("--json", action="store_true", help="print the result as JSON")


def _run(options: argparse.Namespace) -> int:
    apart({"--misread": options.misread}, {"MODEL": options.model, "DATA": options.source.path})
    network = load_network(options.model)
    examples = read(options.source, options.label_column, part="t10k", pixels=network.widths[0], dtype=network.dtype)
    z = network.logits(network.inputs(examples))
    predicted, y = z.argmax(axis=1), examples.numbered(network.classes)
    K = len(network.classes)
    if options.misread is not None:
        order = np.random.default_rng(0).permutation(len(y))  # of many, not those of the first classes alone
        names = [np.asarray(network.classes)[numbers[order]].tolist() for numbers in (y, predicted)]
        ax = plot.plot_misread(examples.X[order], *names, limit=100, column_major=network.column_major)
        save_picture(ax, options.misread, "--misread")
    confusion = metrics.confusion_matrix(y, predicted, classes=K)
    scores = metrics.precision_recall_f1(y, predicted, classes=K)
    answer = {
        "model": str(options.model),
        "network": network.text(),
        "source": examples.source,
        "examples": len(examples),
        "accuracy": metrics.accuracy(y, predicted),
        "cost": loss_of(network.output, K, network.dtype)(z, y).item(),
    }
    if options.json:
        per_class = [
            {"class": label, "precision": float(p), "recall": float(r), "f1": float(f), "examples": int(n)}
            for label, p, r, f, n in zip(network.classes, *scores, strict=True)
        ]
        print_json(answer | {"classes": per_class, "confusion": confusion.tolist(), "misread": options.misread})
        return 0
    labels = list(map(str, network.classes))
    print(f"{network.text()} on {len(examples)} examples of {examples.source}")
    print(f"accuracy {answer['accuracy']:.4f}   cost {answer['cost']:.6g}\n")
    print(metrics.classification_report(y, predicted, classes=K, names=labels, digits=4))
    if K <= 20:  # wider than that, nobody reads it
        print("rows: the class; columns: what it was read as")
        counts = [tuple(map(str, row)) for row in confusion.tolist()]
        print(table([("", *labels), *((label, *row) for label, row in zip(labels, counts, strict=True))]))
    if options.misread is not None:
        print(f"--misread {options.misread}")
    if options.source == DIGITS:
        print("a network trained on these digits has seen most of them; give DATA of its own for a fair figure",
              file=sys.stderr)  # fmt: skip
    return 0
