"""A Bayesian neural network: a normal distribution over its weights, fitted by black-box variational inference.

python examples/bayesian_network.py
python examples/bayesian_network.py --iterations 3000 --hidden 20 20 --out bnn.png

The posterior of the weights is approximated by independent normals. The evidence lower bound is estimated from draws
``mean + exp(log_std) * noise`` [1]_, so that its gradient reaches both, and climbed by Adam, written out below.
`grad` is all that comes from here.

.. [1] Kingma and Welling, "Auto-encoding variational Bayes" (2014), section 2.4.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from tinygrad_fnn.func import grad

NOISE = 0.1  # standard deviation of the observations
PRIOR = 1.0  # standard deviation of each weight before anything is seen


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=1500, help="of Adam (default: 1500)")
    parser.add_argument("--hidden", type=int, nargs="+", default=[10], help="units of the hidden layers (default: 10)")
    parser.add_argument("--draws", type=int, default=8, help="weights drawn in each iteration (default: 8)")
    parser.add_argument("--rate", type=float, default=0.02, help="step size of Adam at the start (default: 0.02)")
    parser.add_argument("--seed", type=int, default=0, help="of data and draws (default: 0)")
    parser.add_argument("--out", type=Path, help="file for a picture of the predictions (needs matplotlib)")
    return parser.parse_args()


def true_function(x):
    return np.cos(2 * x) + 0.3 * x


def observe(rng, count):
    """Noisy values at points left and right of a gap, in which nothing is seen."""
    x = np.concatenate([rng.uniform(-2, -0.5, count // 2), rng.uniform(0.5, 2, count - count // 2)])
    return x, true_function(x) + NOISE * rng.normal(size=count)


def predict(weights, sizes, x):
    """The network at `x` for each row of weights: shape (draws, points)."""
    a, start = x[None, :, None], 0
    for inputs, outputs in pairwise(sizes):
        W = weights[:, start : start + inputs * outputs].reshape(-1, inputs, outputs)
        start += inputs * outputs
        b = weights[:, None, start : start + outputs]
        start += outputs
        a = (np.tanh(a) if inputs > 1 else a) @ W * inputs**-0.5 + b
    return a[:, :, 0]


def log_joint(weights, sizes, x, y):
    """Log of prior times likelihood for each row of weights, up to a constant of the prior."""
    log_prior = -0.5 * np.sum((weights / PRIOR) ** 2, axis=1)
    error = (predict(weights, sizes, x) - y) / NOISE
    return log_prior - 0.5 * np.sum(error**2, axis=1) - len(x) * np.log(NOISE * np.sqrt(2 * np.pi))


def elbo(variational, noise, sizes, x, y):
    """Evidence lower bound: the mean of the log joint over the draws, and the entropy of the normals."""
    mean, log_std = variational
    weights = mean + np.exp(log_std) * noise
    entropy = np.sum(log_std) + 0.5 * len(mean) - len(mean) * np.log(PRIOR)  # with the constant of the prior
    return np.mean(log_joint(weights, sizes, x, y)) + entropy


def adam(gradient, params, iterations, rate):
    """Climb along the gradient; Kingma and Ba (2015), algorithm 1, with a step size that falls to zero."""
    m, v = np.zeros_like(params), np.zeros_like(params)
    for t in range(1, iterations + 1):
        g = gradient(params)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        falling = 0.5 * (1 + np.cos(np.pi * t / iterations))
        params = params + rate * falling * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        yield t, params


def draw(variational, sizes, x, y, rng, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    at = np.linspace(-3, 3, 300)
    mean, log_std = variational
    curves = predict(mean + np.exp(log_std) * rng.normal(size=(200, len(mean))), sizes, at)
    figure, axes = plt.subplots(figsize=(8, 4))
    axes.fill_between(at, *np.quantile(curves, [0.025, 0.975], axis=0), alpha=0.3, label="95 % of the draws")
    axes.plot(at, curves.mean(axis=0), label="mean")
    axes.plot(at, true_function(at), "k--", linewidth=1, label="the function")
    axes.plot(x, y, "k.", markersize=3, label="observations")
    axes.legend()
    figure.savefig(path, dpi=150)


def main():
    args = arguments()
    rng = np.random.default_rng(args.seed)
    x, y = observe(rng, 100)
    x_test, y_test = observe(rng, 400)
    sizes = [1, *args.hidden, 1]
    count = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    start = np.stack([rng.normal(size=count), np.full(count, -3.0)])
    judging = rng.normal(size=(500, count))  # the same draws each time, so that the bounds can be compared

    def gradient(params):
        return grad(elbo)(params, rng.normal(size=(args.draws, count)), sizes, x, y)

    print(f"iteration    0   ELBO {elbo(start, judging, sizes, x, y):12.3f}")
    for t, variational in adam(gradient, start, args.iterations, args.rate):
        if t % max(args.iterations // 10, 1) == 0:
            print(f"iteration {t:4d}   ELBO {elbo(variational, judging, sizes, x, y):12.3f}")

    mean, log_std = variational
    weights = mean + np.exp(log_std) * judging
    curves = predict(weights, sizes, x_test)
    error = y_test - curves.mean(axis=0)
    deviation = np.sqrt(curves.var(axis=0) + NOISE**2)
    rms = np.sqrt(np.mean(error**2))
    print(f"\nroot mean square error {rms:.4f} on {len(error)} new points, of which noise {NOISE}")
    print(f"{np.mean(abs(error) < 2 * deviation):.1%} of them within two standard deviations of the prediction")
    if args.out:
        try:
            draw(variational, sizes, x, y, rng, args.out)
            print(f"picture in {args.out}")
        except ImportError:
            print('no picture: it needs matplotlib; install it with: python -m pip install "tinygrad_fnn[plot]"')


if __name__ == "__main__":
    main()
