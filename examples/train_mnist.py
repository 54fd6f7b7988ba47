"""Train 784-300-10 on MNIST to 98.9 %: one hidden layer of ReLU, digits moved by up to a pixel, and a rate that falls.

python examples/train_mnist.py FOLDER                               # the four IDX files of MNIST, plain or gzipped
python examples/train_mnist.py FOLDER --seeds 0 1 2 3 4 --markdown  # the table in docs/mnist.md
python examples/train_mnist.py FOLDER --validate                    # to choose by: the test set is not read

Each seed learns from all 60,000 digits and is tested once, at the end; with --validate it learns from 50,000 of them
and is judged on the other 10,000. --resume goes on where a training was cut short, with the same bits.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import tinygrad_fnn as tg
from tinygrad_fnn import data, metrics, nn, optim
from tinygrad_fnn.nn import functional
from tinygrad_fnn.serialize import save
from tinygrad_fnn.training import History, evaluate, fit

Digits: TypeAlias = tuple[np.ndarray, np.ndarray]

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
LOSSES: dict[str, Callable[[Any, Any], tg.Tensor]] = {  # of the last layer's z, summed over the classes
    "cross-entropy": nn.CrossEntropyLoss(),
    "course": lambda z, y: functional.binary_cross_entropy_with_logits(z, targets(y), "course"),
    "squared": lambda z, y: functional.mse_loss(tg.sigmoid(z), targets(y), "course"),
}
METRICS = {"accuracy": metrics.accuracy}


def targets(y: np.ndarray) -> tg.Tensor:
    return tg.one_hot(y, 10, np.float32)


def count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with the IDX files train-... and t10k-... of images and labels")
    parser.add_argument("--seed", "--seeds", dest="seeds", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--validate", action="store_true", help="judge on 10,000 of the training digits instead")
    parser.add_argument("--markdown", action="store_true", help="end with a table")
    parser.add_argument("--out", type=Path, default=Path("mnist-out"), help="for the models (default: mnist-out)")
    parser.add_argument("--checkpoint", action="store_true", help="write checkpoints there too, after each epoch")
    parser.add_argument("--resume", action="store_true", help="go on from these, with the options they were made with")
    recipe = parser.add_argument_group("the recipe")
    recipe.add_argument("--epochs", type=count, default=30, help="default: 30")
    recipe.add_argument("--hidden", type=count, nargs="+", default=[300], help="units of the layers (default: 300)")
    recipe.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of these (default: relu)")
    recipe.add_argument("--loss", choices=LOSSES, default="cross-entropy", help="default: cross-entropy, of a softmax")
    recipe.add_argument("--lr", type=float, default=0.006, help="the highest rate of Adam (default: 0.006)")
    recipe.add_argument("--batch", type=count, default=256, help="digits in a batch (default: 256)")
    recipe.add_argument("--shift", type=int, default=1, help="pixels, at most, that a digit is moved by (default: 1)")
    recipe.add_argument("--dropout", type=float, default=0.0, help="share of hidden units (default: 0)")
    recipe.add_argument("--decay", type=float, default=0.0, help="weight decay of Adam (default: 0)")
    return parser.parse_args()


def load(folder: Path, part: str) -> Digits:
    files = [sorted(folder.glob(f"{part}-{kind}*")) for kind in ("images", "labels")]
    if not all(files):
        raise FileNotFoundError(f"{folder}: wanted {part}-images-idx3-ubyte and {part}-labels-idx1-ubyte in it")
    return data.load_mnist(files[0][0], files[1][0], dtype=np.float32)


def network(args: argparse.Namespace, rng: np.random.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([784, *args.hidden, 10]):
        if layers:
            layers.append(ACTIVATIONS[args.activation]())
            layers += [nn.Dropout(args.dropout, rng=rng)] if args.dropout else []
        layers.append(nn.Linear(inputs, outputs, rng=rng, dtype=np.float32))
    return nn.Sequential(*layers)


def train(args: argparse.Namespace, seed: int, learned: Digits, held_out: Digits | None) -> tuple[nn.Module, History]:
    def moved(X: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Digits:
        return data.shift_images(X, args.shift, rng=rng), y

    rng = np.random.default_rng(seed)  # of the weights, the orders, the shifts
    model = network(args, rng)
    batches = data.DataLoader(learned, args.batch, shuffle=True, rng=rng, transform=moved)
    optimizer = optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.decay)
    rate = optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, epochs=args.epochs, steps_per_epoch=len(batches), cycle_momentum=False
    )
    history = fit(
        model,
        batches,
        LOSSES[args.loss],
        optimizer,
        epochs=args.epochs,
        validation=held_out and [held_out],
        metrics=METRICS,
        scheduler=rate,
        scheduler_interval="batch",
        checkpoint=args.out / f"seed{seed}-checkpoint.npz" if args.checkpoint or args.resume else None,
        resume=args.resume,
    )
    return model, history


def main() -> None:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)  # before the work, so that nothing is lost
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)  # what `fit` says of each epoch
    learned, held_out = load(args.folder, "train"), None
    if args.validate:  # the same digits for every seed
        learned, held_out = data.split(learned, (5 / 6, 1 / 6), rng=0, stratify=learned[1])
    name, judging = ("validation", held_out) if held_out else ("test", load(args.folder, "t10k"))

    rows = []
    for seed in args.seeds:
        print(f"seed {seed}: {len(learned[0])} digits, {args.epochs} epochs", flush=True)
        model, history = train(args, seed, learned, held_out)
        if history.interrupted:
            sys.exit(f"interrupted; {'--resume goes on' if args.checkpoint or args.resume else 'nothing is kept'}")
        accuracy = evaluate(model, judging, LOSSES[args.loss], METRICS, batch_size=1000)["accuracy"]
        save(model.state_dict(), args.out / f"seed{seed}.npz")
        seconds = sum(history.seconds)
        print(f"seed {seed}: {name} accuracy {accuracy:.2%} after {seconds:.0f} s, in {args.out / f'seed{seed}.npz'}\n")
        rows.append(f"| {seed} | {accuracy:.2%} | {seconds:.0f} |")
    if args.markdown:
        print("\n".join([f"| seed | {name} accuracy | seconds |", "| --- | --- | --- |", *rows]))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, TypeError, FloatingPointError, OSError) as error:
        sys.exit(f"train_mnist.py: {error}")
