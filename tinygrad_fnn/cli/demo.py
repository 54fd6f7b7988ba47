"""`demo`: what the package does, in a few seconds, with nothing to prepare."""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

import numpy as np
from numpy import ndarray

from .. import data, metrics, optim
from ..check import compare, textbook
from ..training import LambdaCallback, Run, fit
from .networks import Network, loss_of
from .options import command, integer

__all__ = ["add"]

_TEXT: Final = """\
train on the embedded digits, check the gradient, show a digit: ten seconds, offline

4000 of the 5000 digits train the 400-25-10 network of the course, 1000 test it. Then its gradient by autograd is held
against the derivation by hand, and both against numerical derivatives."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn demo
  python -m tinygrad_fnn demo --seed 7"""

_NEXT: Final = """\
next:
  python -m tinygrad_fnn train --out model.npz     # with validation, checkpoints, your own data: train --help
  python -m tinygrad_fnn evaluate model.npz        # which digits are taken for which
  python -m tinygrad_fnn diagnose mine.py          # what is wrong with a gradient of your own: diagnose --help"""

_GREYS: Final = " .:-=+*#%@"


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "demo", _TEXT, _run, _EXAMPLES)
    parser.add_argument(
        "--epochs", type=integer(1), default=12, metavar="N", help="how often to go through the digits (default: 12)"
    )
    parser.add_argument("--seed", type=integer(0), default=0, help="of split, weights and order (default: 0)")


def _run(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    split_seed, weights_seed, order_seed = np.random.SeedSequence(options.seed).spawn(3)
    X, y = data.digits()
    training, (X_test, y_test) = data.split((X, y), (0.8, 0.2), rng=split_seed, stratify=y)
    network = Network([400, 25, 10], "sigmoid", "sigmoid", tuple(range(10)), True, rng=weights_seed)
    print(f"{network.text()}; {len(training[1])} digits to learn from, {len(y_test)} others to test")

    def show(run: Run) -> None:
        print(f"epoch {run.epoch:2d}/{run.epochs}  cost {run.row['loss']:.4f}  accuracy {run.row['accuracy']:.2%}")

    history = fit(
        network.model,
        training,
        loss_of("sigmoid", 10, "float64"),
        optim.Adam(network.model.parameters(), lr=0.01),
        epochs=options.epochs,
        batch_size=50,
        rng=np.random.default_rng(order_seed),
        metrics={"accuracy": lambda y, z: metrics.accuracy(y, z.argmax(axis=1))},
        callbacks=[LambdaCallback(on_epoch_end=show)],
    )
    if history.interrupted:
        print(f"\ninterrupted after {len(history)} of {options.epochs} epochs; this is what it has learned so far")
    predicted = network.logits(X_test).argmax(axis=1)
    print(f"\naccuracy {metrics.accuracy(y_test, predicted):.2%} on the {len(y_test)} digits it has not seen")

    rows = slice(None, None, len(y_test) // 100)
    by_hand, by_complex_step, by_differences = _agreement(network, X_test[rows], np.eye(10)[y_test[rows]])
    print(f"autograd = textbook to {by_hand:.0e}, complex step to {by_complex_step:.0e}, "
          f"finite differences to {by_differences:.0e}")  # fmt: skip

    wrong = np.flatnonzero(predicted != y_test)
    if len(wrong):
        k = int(wrong[0])
        print(f"\na {y_test[k]} that it takes for a {predicted[k]}:\n{_picture(X_test[k])}")
    print(f"\n{time.perf_counter() - start:.1f} s\n\n{_NEXT}")
    return 1 if history.interrupted else 0


def _agreement(network: Network, X: ndarray, Y: ndarray) -> tuple[float, float, float]:
    """Relative distances of the gradient by autograd from that by hand, the complex step, and central differences."""
    rows = compare(network.plain_model(), X, Y, 1.0, output="sigmoid").rows
    weights = network.model.state_dict()
    thetas = [np.column_stack([weights[f"linear{k}.b"], weights[f"linear{k}.W"]]) for k in (1, 2)]
    gradients = textbook.gradients(thetas, X, Y, 1.0).thetas  # autograd's, but for the first of the figures
    rng = np.random.default_rng(0)
    slopes = []
    for _ in range(10):  # along directions through all weights, since there are 10,285 of them
        v = [rng.standard_normal(theta.shape) for theta in thetas]
        J = [textbook.cost([t + h * d for t, d in zip(thetas, v, strict=True)], X, Y, 1.0) for h in (1e-5, -1e-5)]
        slopes.append(((J[0] - J[1]) / 2e-5, sum(np.vdot(g, d) for g, d in zip(gradients, v, strict=True))))
    numerical, exact = np.array(slopes).T
    by_differences = float(np.linalg.norm(numerical - exact) / np.linalg.norm(numerical + exact))
    return max(r.autograd_formula for r in rows), max(r.autograd_numerical for r in rows), by_differences


def _picture(x: ndarray) -> str:
    """A digit in letters, two for each pixel since letters are tall."""
    levels = (np.clip(x.reshape(20, 20).T, 0, 1) * (len(_GREYS) - 1)).round().astype(int)
    return "\n".join("".join(2 * _GREYS[level] for level in row).rstrip() for row in levels).strip("\n")
