"""Train the 400-25-10 network on the 5000 digits that come with the package, and look at what it has learned.

python examples/train_digits.py --iterations 50
python examples/train_digits.py --data ex4data1.mat --weights ex4weights.mat    # evaluates the weights, trains nothing
python examples/train_digits.py --mnist FOLDER                                  # the four IDX files of MNIST, 784 wide
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import tinygrad_fnn as tg
from tinygrad_fnn import data, nn, optim, plot
from tinygrad_fnn.cli.networks import of_thetas, save_network
from tinygrad_fnn.errors import MissingExtraError


def count(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=count, help="of L-BFGS; 200 by default, none with --weights")
    parser.add_argument("--l2", type=float, default=1.0, help="lambda, the weight of the penalty (default: 1)")
    parser.add_argument("--hidden", type=int, nargs="+", default=[25], help="units of the hidden layers (default: 25)")
    parser.add_argument("--seed", type=count, default=0, help="of the initial weights (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("digits-out"), help="folder for weights and pictures")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--data", type=Path, help=".mat file with X and y, as ex4data1.mat of the course")
    parser.add_argument("--weights", type=Path, help=".mat file with Theta1, Theta2, ... to start from")
    source.add_argument("--mnist", type=Path, help="folder with the four IDX files of MNIST, plain or gzipped")
    return parser.parse_args()


def mnist(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    files = [sorted(folder.glob(f"{part}-{kind}*")) for kind in ("images", "labels")]
    if not all(files):
        raise FileNotFoundError(f"--mnist {folder}: wanted {part}-images-idx3-ubyte and {part}-labels-idx1-ubyte in it")
    return data.load_mnist(files[0][0], files[1][0])


def load(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    if args.mnist:
        return mnist(args.mnist, "train")
    return data.load_mat_digits(args.data) if args.data else data.digits()


def reordered(thetas: list[np.ndarray], step: int) -> list[np.ndarray]:
    """The rows of the last layer moved on by `step`: in the course's files digit 0 is label 10, and comes last."""
    return [*thetas[:-1], np.roll(thetas[-1], step, axis=0)]


def train(model: nn.DigitNet, X: tg.Tensor, y: np.ndarray, l2: float, iterations: int) -> tuple[list[float], bool]:
    """The cost after each iteration, and whether Ctrl-C ended them; the weights are those of the last one."""
    Y = tg.one_hot(y, 10)
    costs: list[float] = []

    def report(progress: optim.Progress) -> None:
        costs.append(progress.cost)
        end = "\n" if progress.iteration % 10 == 0 else "\r"
        if end == "\r" and not sys.stdout.isatty():
            return
        accuracy = model.accuracy(X, y)
        print(
            f"iteration {progress.iteration:4d}   J {progress.cost:.6f}   accuracy {accuracy:.2%}", end=end, flush=True
        )

    try:
        optim.minimize(model, lambda: model.cost(X, Y, l2), maxiter=iterations, callback=report)
    except KeyboardInterrupt:
        print(f"\ninterrupted after {len(costs)} of {iterations} iterations; this is what it has learned so far")
        return costs, True
    return costs, False


def evaluate(model: nn.DigitNet, X: tg.Tensor, y: np.ndarray, l2: float) -> None:
    right = model.predict(X) == y
    print(f"\naccuracy {right.mean():.4f} on {len(y)} examples")
    for penalty in sorted({0.0, 1.0, 3.0, l2}):
        print(f"J = {model.cost(X, tg.one_hot(y, 10), penalty).item():.16g} at lambda {penalty:g}")
    print("digit      " + "".join(f"{d:8d}" for d in range(10)))
    print("accuracy   " + "".join(f"{right[y == d].mean():8.2%}" if (y == d).any() else "       -" for d in range(10)))


def draw(model: nn.DigitNet, X: np.ndarray, y: np.ndarray, costs: list[float], args: argparse.Namespace) -> list[str]:
    rows = np.random.default_rng(args.seed).choice(len(X), min(100, len(X)), replace=False)
    figures = {
        "digits.png": plot.plot_digits(X[rows]).figure,
        "logistic.png": plot.plot_logistic().figure,
        "hidden_units.png": plot.plot_hidden_units(model.layers[0].W).figure,
    }
    if costs:
        figures["costs.png"] = plot.plot_costs(costs).figure
    for name, figure in figures.items():
        figure.savefig(args.out / name, dpi=150)
    return list(figures)


def main() -> int:
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)  # before the work, so that nothing is lost
    X, y = load(args)
    if args.weights:
        model = nn.DigitNet.from_thetas(reordered(data.load_mat_weights(args.weights), 1))
        (inputs, outputs) = (model.layers[0].W.shape[1], len(model.layers[-1].W))
        if (inputs, outputs) != (X.shape[1], 10):
            raise ValueError(f"--weights {args.weights}: from {inputs} to {outputs}, wanted from {X.shape[1]} to 10")
    else:
        model = nn.DigitNet(X.shape[1], args.hidden, 10, rng=args.seed)
    iterations = args.iterations if args.iterations is not None else 0 if args.weights else 200
    print("X", X.shape, " y", y.shape, "", "  ".join(f"Theta{k} {t.shape}" for k, t in enumerate(model.thetas(), 1)))

    inputs = tg.Tensor(X)  # copied once, instead of in each iteration
    costs, interrupted = train(model, inputs, y, args.l2, iterations) if iterations else ([], False)
    evaluate(model, inputs, y, args.l2)

    if args.mnist:
        print("\nthe test set:", end="")
        X_test, y_test = mnist(args.mnist, "t10k")
        evaluate(model, tg.Tensor(X_test), y_test, args.l2)
    data.save_mat_weights(args.out / "weights.mat", reordered(model.thetas(), -1))
    network = of_thetas(model.thetas(), column_major=not args.mnist)  # as `python -m tinygrad_fnn evaluate` reads it
    save_network(network, args.out / "weights.npz", {"costs": costs, "l2": args.l2})
    files = ["weights.mat", "weights.npz"]
    try:
        files += draw(model, X, y, costs, args)
    except MissingExtraError as missing:
        print(f"\nno pictures: {missing}")
    print(f"\nin {args.out}: {', '.join(files)}")
    return 1 if interrupted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("train_digits.py: interrupted")
    except (ValueError, TypeError, OSError) as error:
        sys.exit(f"train_digits.py: {error}")
