"""`train`: a network on labelled examples, with what a training in practice wants."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from .. import data, metrics, nn, optim
from ..errors import AnomalyError
from ..optim import lr_scheduler
from ..tensor import Tensor
from ..training import Callback, CSVLogger, EarlyStopping, History, JSONLogger, LearningRateMonitor, Run, fit
from .examples import Examples, add_source, as_argument, read
from .networks import ACTIVATIONS, DTYPES, OUTPUTS, SCALINGS, Loss, Network, loss_of, save_network
from .options import apart, command, fraction, integer, print_json, real, table, to_write, writing

__all__ = ["add"]

_TEXT: Final = """\
train a network on digits, or on any examples with labels

Fully connected layers. Without options: the 400-25-10 network of the course on the 5000 digits of the package, a fifth
of which is held back for validation. The same seed gives the same weights to the last bit.

A line for each epoch goes to the standard error, the result to the standard output."""

_EXAMPLES: Final = """\
  python -m tinygrad_fnn train --out model.npz
  python -m tinygrad_fnn train --mat ex4data1.mat --l2 1 --epochs 50
  python -m tinygrad_fnn train --mnist mnist/ --hidden 300 --activation relu --output softmax --dtype float32 \\
      --batch-size 128 --epochs 30 --schedule cosine --shift 1 --out mnist.npz
  python -m tinygrad_fnn train --csv iris.csv --label-column kind --scale standardize --hidden 8 --epochs 200
  python -m tinygrad_fnn train --epochs 100 --patience 5 --log run.csv --checkpoint run.npz
  python -m tinygrad_fnn train --epochs 100 --patience 5 --log run.csv --checkpoint run.npz --resume

Ctrl-C ends the training after the batch under way: the result is printed, --out is written, the exit code is 1, and
--resume goes on after the last whole epoch, as it does after a kill or a power cut. A loss or gradient that is no
number ends it too, with exit code 1 and nothing written but the checkpoint of the epoch before.

--out writes a dict that `tinygrad_fnn.serialize.load` reads: activation, output, classes, column_major, dropout,
scaling, scale (what it has learned), weights (by name, linear1.W and so on), and a record of the training.

--out and --log replace a file that exists, --out whole or not at all. A checkpoint that exists is somebody's work: it
is refused without --resume."""

_OPTIMIZERS: Final[dict[str, Callable[..., optim.Optimizer]]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "nadam": optim.NAdam,
    "sgd": optim.SGD,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "rprop": optim.Rprop,
}
_WRITTEN: Final = ("out", "log", "checkpoint")
_WITH_MOMENTUM: Final = ("sgd", "rmsprop")
_SCHEDULES: Final = ("constant", "step", "exponential", "cosine", "one-cycle", "plateau")
_SMALLER: Final = "try a smaller --lr, or --scale standardize"
_LOGS: Final = {".csv": CSVLogger, ".jsonl": JSONLogger}


def add(commands: Any) -> None:  # Any: see `command`
    """Enter the command."""
    parser = command(commands, "train", _TEXT, _run, _EXAMPLES)
    add_source(parser)
    option = parser.add_argument_group("network").add_argument
    option(
        "--hidden",
        type=integer(1, 10**5),
        nargs="*",
        default=[25],
        metavar="UNITS",
        help="of each hidden layer (default: 25)",
    )
    option("--activation", choices=ACTIVATIONS, default="sigmoid", help="of the hidden layers (default: sigmoid)")
    option(
        "--output",
        choices=OUTPUTS,
        default="sigmoid",
        help="last layer, with its loss (default: sigmoid, as in the course)",
    )
    option(
        "--dropout", type=fraction, default=0.0, metavar="P", help="share of hidden activations to drop (default: 0)"
    )
    option("--dtype", choices=DTYPES, default="float64", help="float32 is the faster one (default: float64)")

    option = parser.add_argument_group("training").add_argument
    option(
        "--epochs", type=integer(0), default=30, metavar="N", help="how often to go through the examples (default: 30)"
    )
    option("--batch-size", type=integer(1), default=32, metavar="N", help="examples for each step (default: 32)")
    option("--optimizer", choices=_OPTIMIZERS, default="adam", help="how steps are taken (default: adam)")
    option(
        "--lr",
        type=real(0, above=True),
        metavar="RATE",
        help="learning rate (default: the optimizer's own, 0.001 for adam)",
    )
    option("--momentum", type=fraction, metavar="M", help=f"for {' and '.join(_WITH_MOMENTUM)} (default: 0)")
    option(
        "--weight-decay",
        type=real(0),
        metavar="W",
        help="of the optimizer, biases included (default: its own)",
    )
    option(
        "--l2", type=real(0), default=0.0, metavar="LAMBDA", help="LAMBDA/(2m) times the squared weights (default: 0)"
    )
    option("--schedule", choices=_SCHEDULES, default="constant", help="of the learning rate (default: constant)")
    option(
        "--gamma",
        type=real(0, above=True),
        metavar="F",
        help="of step and plateau (default: 0.1), of exponential (0.95)",
    )
    option("--step-size", type=integer(1), metavar="N", help="epochs before each step (default: a third of --epochs)")
    option(
        "--shift",
        type=integer(0),
        default=0,
        metavar="PIXELS",
        help="move square pictures by up to so many, anew each epoch (default: 0)",
    )
    option(
        "--scale",
        choices=["none", *SCALINGS],
        default="none",
        help="each feature, as the training part is (default: none)",
    )
    option("--validation", type=fraction, default=0.2, metavar="SHARE", help="held back, of every class (default: 0.2)")
    option(
        "--patience",
        type=integer(1),
        metavar="N",
        help="stop after N epochs that are no better, and go back to the best",
    )
    option(
        "--monitor",
        choices=["loss", "accuracy"],
        help="what --patience goes by (default: loss)",
    )
    option("--seed", type=integer(0), default=0, help="of split, weights, order, shifts and dropout (default: 0)")

    option = parser.add_argument_group("files and output").add_argument
    option("--out", type=to_write(".npz"), metavar="FILE.npz", help="write the network, for evaluate, check and show")
    option("--log", type=to_write(*_LOGS), metavar="FILE", help="write the epochs, .csv or .jsonl, as they come")
    option(
        "--checkpoint",
        type=to_write(".npz"),
        metavar="FILE.npz",
        help="write all that going on needs, after each epoch",
    )
    option("--resume", action="store_true", help="go on from the checkpoint if it is there, with the same bits")
    option(
        "--progress",
        action="store_true",
        help="on a terminal, a bar in the place of the lines; tqdm's if it is installed",
    )
    option("--json", action="store_true", help="print the result as JSON")


def _run(options: argparse.Namespace) -> int:
    _check(options)
    seeds = np.random.SeedSequence(options.seed).spawn(4)
    examples = read(options.source, options.label_column, dtype=options.dtype)
    if len(examples.classes) < 2:
        raise ValueError(f"{examples.source}: every label is {examples.classes[0]}; there is nothing to tell apart")
    y = examples.numbered(examples.classes)
    X_train, y_train, held_back = _parts(examples.X, y, options.validation, seeds[0])
    test = read(options.source, part="t10k", dtype=options.dtype) if options.source.kind == "mnist" else None

    network = Network(
        widths=[examples.X.shape[1], *options.hidden, len(examples.classes)],
        activation=options.activation,
        output=options.output,
        classes=examples.classes,
        column_major=examples.column_major,
        dropout=options.dropout,
        dtype=options.dtype,
        scaling=options.scale,
        rng=seeds[1],
        dropout_rng=seeds[2],
    )
    if network.scale is not None:
        network.scale.fit(X_train)
    if not options.shift:
        X_train = network.scaled(X_train)
    validation = None if held_back is None else (network.scaled(held_back[0]), held_back[1])
    loss = loss_of(options.output, len(examples.classes), options.dtype)
    shares = {"training": (network.scaled(X_train) if options.shift else X_train, y_train)}
    before = math.inf
    with suppress(ValueError):  # an overflow, of which the training says more
        before = _measured(network, *shares["training"], loss)["cost"]

    start = time.perf_counter()
    held = f" and {len(examples) - len(y_train)} held back" if validation is not None else ""
    print(f"{network.text()}; {len(y_train)} examples to learn from{held}, of {examples.source}", file=sys.stderr)
    history = _fitted(options, network, examples, (X_train, y_train), validation, loss, np.random.default_rng(seeds[3]))
    seconds = time.perf_counter() - start

    if validation is not None:
        shares["validation"] = validation
    if test is not None:
        shares["test"] = network.inputs(test), test.numbered(examples.classes)
    try:
        results = {name: _measured(network, *part, loss) for name, part in shares.items()}
    except ValueError as error:
        raise AnomalyError(f"after the training {error}\n{_SMALLER}") from error
    cost = results["training"]["cost"]
    if not cost <= before:
        print(
            f"warning: the training cost is {cost:.6g}, it was {before:.6g} at the start; {_SMALLER}", file=sys.stderr
        )
    answer = {
        "network": network.text(),
        "examples": str(examples.source),
        "seed": options.seed,
        "epochs": len(history),
        "stopped": history.stopped,
        "interrupted": history.interrupted,
        "seconds": round(seconds, 3),
        "results": results,
    }
    if options.out is not None:
        save_network(network, options.out, {key: value for key, value in answer.items() if key != "seconds"})
    _report(options, answer)
    return 1 if history.interrupted else 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what no single option shows to be wrong."""
    apart({f"--{name}": getattr(options, name) for name in _WRITTEN}, {f"--{options.source.kind}": options.source.path})
    if options.resume and options.checkpoint is None:
        raise ValueError("--resume goes on from a file; add --checkpoint FILE.npz")
    if options.checkpoint is not None and options.checkpoint.exists() and not options.resume:
        raise ValueError(f"--checkpoint {options.checkpoint} exists; add --resume to go on from it, or delete it")
    if options.momentum is not None and options.optimizer not in _WITH_MOMENTUM:
        raise ValueError(f"--momentum is for {' and '.join(_WITH_MOMENTUM)}; {options.optimizer} has none")
    if options.weight_decay is not None and options.optimizer == "rprop":
        raise ValueError("--weight-decay: rprop has none; --l2 is part of the cost and works with each optimizer")
    if options.gamma is not None and options.schedule not in ("step", "exponential", "plateau"):
        raise ValueError(f"--gamma is for step, exponential and plateau; --schedule is {options.schedule}")
    if options.step_size is not None and options.schedule != "step":
        raise ValueError(f"--step-size is for --schedule step; it is {options.schedule}")
    if options.monitor is not None and options.patience is None:
        raise ValueError("--monitor says what --patience goes by; add --patience N")


def _parts(
    X: ndarray, y: ndarray, share: float, seed: np.random.SeedSequence
) -> tuple[ndarray, ndarray, tuple[ndarray, ndarray] | None]:
    """The training part, and what is held back."""
    if not share:
        return X, y, None
    try:
        (X_train, y_train), held_back = data.split((X, y), (1 - share, share), rng=seed, stratify=y)
    except ValueError as error:
        raise ValueError(f"--validation {share:g}: {error}; 0 holds nothing back") from error
    return X_train, y_train, held_back


# --- the training ---------------------------------------------------------------------------------------------------


def _fitted(
    options: argparse.Namespace,
    network: Network,
    examples: Examples,
    training: tuple[ndarray, ndarray],
    validation: tuple[ndarray, ndarray] | None,
    loss: Loss,
    rng: np.random.Generator,
) -> History:
    model = network.model
    transform = _shifting(options.shift, network) if options.shift else None
    batches = data.DataLoader(training, options.batch_size, True, rng=rng, transform=transform)
    given = {name: getattr(options, name) for name in ("lr", "momentum", "weight_decay")}
    given = {name: value for name, value in given.items() if value is not None}
    optimizer = _OPTIMIZERS[options.optimizer](model.parameters(), **given)
    scheduler, interval = _schedule(options, optimizer, len(batches))

    part = "" if validation is None else "val_"
    callbacks: list[Callback] = [] if options.checkpoint is None else [_Settings(options, examples)]
    callbacks.append(LearningRateMonitor())
    if options.patience is not None:
        monitor = options.monitor or "loss"
        mode = "min" if monitor == "loss" else "max"
        callbacks.append(EarlyStopping(part + monitor, options.patience, mode=mode, restore_best=True))
    if options.log is not None:
        callbacks.append(_LOGS[options.log.suffix.lower()](options.log))
    progress = options.progress and sys.stderr.isatty()
    if not progress:
        callbacks.append(_Lines())
    try:
        # An overflow is looked for by `fit`, which says more of it than NumPy's warning.
        with writing("--log or --checkpoint"), np.errstate(over="ignore", invalid="ignore"):
            return fit(
                model,
                batches,
                _penalized(loss, model, options.l2 / len(training[1])),
                optimizer,
                epochs=options.epochs,
                validation=validation if validation is None else data.DataLoader(validation, 1000),
                metrics={"accuracy": lambda y, z: metrics.accuracy(y, z.argmax(axis=1))},
                scheduler=scheduler,
                scheduler_interval=interval,
                callbacks=callbacks,
                checkpoint=options.checkpoint,
                resume=options.resume,
                progress=progress,
            )
    except AnomalyError as error:
        raise AnomalyError(f"{error}\n{_SMALLER}") from error


def _penalized(loss: Loss, model: nn.Module, factor: float) -> Loss:
    """`loss` and, while training, the penalty on the weights; what is validated is the loss alone."""
    if not factor:
        return loss
    weights = [parameter for name, parameter in model.named_parameters() if name.endswith(".W")]

    def penalized(z: Any, y: Any) -> Tensor:  # Any: as for `Loss`
        J = loss(z, y)
        if model.training:
            for W in weights:
                J = J + np.square(W).sum() * (factor / 2)
        return J

    return penalized


def _shifting(pixels: int, network: Network) -> Callable[..., tuple[ndarray, ndarray]]:
    """Pictures moved about before they are scaled, since what enters at an edge is background."""
    order = "F" if network.column_major else "C"
    side = math.isqrt(network.widths[0])
    if side * side != network.widths[0]:
        raise ValueError(f"--shift moves square pictures; the examples have {network.widths[0]} features")

    def shifted(X: ndarray, y: ndarray, rng: np.random.Generator) -> tuple[ndarray, ndarray]:
        return network.scaled(data.shift_images(X, pixels, order=order, rng=rng)), y  # type: ignore[arg-type]

    return shifted


def _schedule(options: argparse.Namespace, optimizer: optim.Optimizer, batches: int) -> tuple[Any, Any]:
    """The scheduler, and after what it takes a step.  Any: they share no class, and a Literal."""
    name, epochs = options.schedule, max(options.epochs, 1)
    gamma = options.gamma if options.gamma is not None else 0.95 if name == "exponential" else 0.1
    if name == "constant":
        return None, "epoch"
    if name == "one-cycle":
        rate = optimizer.param_groups[0]["lr"]
        steps = epochs * batches
        momentum = any(key in optimizer.param_groups[0] for key in ("betas", "momentum"))
        return lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, cycle_momentum=momentum), "batch"
    if name == "step":
        return lr_scheduler.StepLR(optimizer, options.step_size or max(1, epochs // 3), gamma), "epoch"
    if name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, gamma), "epoch"
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, epochs), "epoch"
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=gamma), "epoch"


class _Settings(Callback):
    """Keeps in the checkpoint what a resumed training must have in common with the one before."""

    def __init__(self, options: argparse.Namespace, examples: Examples) -> None:
        others: tuple[str, ...] = ("command", "run", *_WRITTEN, "resume", "progress", "json", "source")
        if options.schedule not in ("step", "cosine", "one-cycle") or options.step_size is not None:
            others += ("epochs",)  # more of them may follow, unless the schedule was made for just these
        self.settings = {key: value for key, value in vars(options).items() if key not in others}
        self.settings["source"] = str(options.source)
        checksum = zlib.crc32(
            repr(examples.labels.tolist()).encode(), zlib.crc32(np.ascontiguousarray(examples.X).data)
        )
        self.settings["content"] = f"{len(examples)} examples with checksum {checksum:08x}"

    def state_dict(self) -> dict[str, Any]:
        """The options."""
        return self.settings

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Refuse other options."""
        values = {name: (state.get(name), self.settings.get(name)) for name in [*self.settings, *state]}
        texts = {name: ["not given" if v is None else v for v in pair] for name, pair in values.items()}
        wrong = [f"{name.replace('_', '-')} was {was}, {now} now" for name, (was, now) in texts.items() if was != now]
        if wrong:
            raise ValueError(f"--resume: the checkpoint is of other settings: {'; '.join(wrong)}")


class _Lines(Callback):
    """A line for each epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """Print it."""
        numbers = "  ".join(f"{name} {value:.5g}" for name, value in run.row.items() if name != "epoch")
        seconds = run.history.seconds[-1]
        print(f"epoch {run.epoch:{len(str(run.epochs))}d}/{run.epochs}  {numbers}  {seconds:.2f} s", file=sys.stderr)


# --- the result -----------------------------------------------------------------------------------------------------


def _measured(network: Network, X: ndarray, y: ndarray, loss: Loss) -> dict[str, float | int]:
    z = network.logits(X)
    return {"examples": len(y), "cost": loss(z, y).item(), "accuracy": metrics.accuracy(y, z.argmax(axis=1))}


def _report(options: argparse.Namespace, answer: dict[str, Any]) -> None:  # Any: numbers and text
    files: dict[str, Path] = {name: path for name in _WRITTEN if (path := getattr(options, name)) is not None}
    if options.json:
        print_json(answer | {"files": files})
        return
    rows: list[tuple[str, ...]] = [("", "examples", "cost", "accuracy")]
    rows += [
        (name, str(found["examples"]), f"{found['cost']:.6g}", f"{found['accuracy']:.4f}")
        for name, found in answer["results"].items()
    ]
    print(table(rows))
    print(f"{answer['epochs']} epochs in {answer['seconds']:.1f} s{', interrupted' if answer['interrupted'] else ''}")
    if answer["stopped"]:
        print(f"stopped: {answer['stopped']}")
    for name, path in files.items():
        print(f"--{name} {path}")
    data = as_argument(options.source, options.label_column)
    if options.out is not None and data is not None and not answer["interrupted"]:
        print(f"next: python -m tinygrad_fnn evaluate {shlex.quote(str(options.out))}{data}")
