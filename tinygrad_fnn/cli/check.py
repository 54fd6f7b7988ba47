"""`check`: autograd, the derivation by hand and the numerical derivative held against each other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..check import compare
from .examples import add_source, read, sample
from .networks import OUTPUTS, Network, load_network
from .options import command, integer, print_json, real

__all__ = ["add"]

_TEXT: Final = """\
compare autograd, the derivation by hand and the numerical derivative

Of the network in MODEL, or of one with random weights. Each figure is the distance of two gradients of a layer,
||a - b|| / ||a + b||, in float64. The numerical derivative is the complex step's, taken at a fixed sample of 48
weights of each layer; the three share no code."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn check
  python -m tinygrad_fnn check model.npz --l2 1
  python -m tinygrad_fnn check --hidden 30 20 --activation tanh --output softmax --seed 7 --json

exit code: 0 they agree, 1 they do not"""


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "check", _TEXT, _run, _EXAMPLES)
    option = parser.add_argument
    option("model", type=Path, nargs="?", metavar="MODEL", help="a file of train --out, or a .mat file of thetas")
    option(
        "--hidden",
        type=integer(1, 10**5),
        nargs="*",
        metavar="UNITS",
        help="of each hidden layer, without MODEL (default: 25)",
    )
    option(
        "--activation",
        choices=["sigmoid", "tanh", "relu"],
        help="of the hidden layers, without MODEL (default: sigmoid)",
    )
    option("--output", choices=OUTPUTS, help="last layer, with its loss, without MODEL (default: sigmoid)")
    option("--seed", type=integer(0), metavar="SEED", help="of the random weights, without MODEL (default: 0)")
    option(
        "--l2", type=real(0), default=0.0, metavar="LAMBDA", help="LAMBDA/(2m) times the squared weights (default: 0)"
    )
    option(
        "--count", type=integer(0), default=100, metavar="N", help="examples, spread evenly; 0 for all (default: 100)"
    )
    option(
        "--tolerance", type=real(0, above=True), default=1e-9, metavar="T", help="the most that agrees (default: 1e-9)"
    )
    option("--json", action="store_true", help="print the result as JSON")
    add_source(parser)


def _run(options: argparse.Namespace) -> int:
    network = None if options.model is None else load_network(options.model)
    pixels = 0 if network is None else network.widths[0]
    examples = sample(read(options.source, options.label_column, pixels=pixels), options.count)
    if network is None:
        hidden = [25] if options.hidden is None else options.hidden
        network = Network(
            widths=[examples.X.shape[1], *hidden, len(examples.classes)],
            activation=options.activation or "sigmoid",
            output=options.output or "sigmoid",
            classes=examples.classes,
            column_major=examples.column_major,
            rng=options.seed or 0,
        )
    else:
        names = ("hidden", "activation", "output", "seed")
        given = [f"--{name}" for name in names if getattr(options, name) is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: for random weights; MODEL brings its own")
    X, Y = network.inputs(examples), np.eye(len(network.classes))[examples.numbered(network.classes)]
    with np.errstate(over="ignore", invalid="ignore"):  # `compare` says more of it than NumPy's warning
        found = compare(network.plain_model(), X, Y, options.l2, output=network.output)
    pairs = [(row.autograd_formula, row.autograd_numerical, row.formula_numerical) for row in found.rows]
    ok = max(map(max, pairs)) <= options.tolerance
    if options.json:
        rows = [vars(row) for row in found.rows]
        print_json({"ok": ok, "tolerance": options.tolerance, "network": network.text(), "layers": rows})
    else:
        print(f"{network.text()}; {len(examples)} examples of {examples.source}, lambda {options.l2:g}")
        print(found)
        print(f"they {'agree' if ok else 'DO NOT agree'} to {options.tolerance:g}")
    return 0 if ok else 1
