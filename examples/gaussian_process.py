"""Fit the length scale, the signal and the noise of a Gaussian process by its marginal likelihood.

python examples/gaussian_process.py
python examples/gaussian_process.py --points 400 --seed 3 --out gp.png

The program is NumPy and SciPy throughout; `value_and_grad` is all that comes from here. The data are drawn from a
process whose parameters are known, so that what is found can be compared with them.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tinygrad_fnn.func import value_and_grad

TRUE = {"length": 0.8, "signal": 1.5, "noise": 0.2}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, help="number of observations (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the data (default: 0)")
    parser.add_argument("--out", type=Path, help="file for a picture of the fit (needs matplotlib)")
    return parser.parse_args()


def kernel(x1, x2, length, signal):
    """The RBF kernel of two vectors of points; Rasmussen and Williams (2006), eq. 2.31."""
    distance = (x1[:, None] - x2) / length
    return signal**2 * np.exp(-0.5 * distance**2)


def covariance(log_params, x):
    length, signal, noise = np.exp(log_params)
    return kernel(x, x, length, signal) + noise**2 * np.eye(len(x))


def negative_log_likelihood(log_params, x, y):
    """Minus the log marginal likelihood of the data; Rasmussen and Williams (2006), eq. 2.30 and algorithm 2.1."""
    L = np.linalg.cholesky(covariance(log_params, x))
    z = np.linalg.solve(L, y)
    log_det = 2 * np.sum(np.log(np.diag(L)))
    return 0.5 * (z @ z + log_det + len(x) * np.log(2 * np.pi))


def by_slogdet(log_params, x, y):
    """The same number without a Cholesky factor, as a check."""
    K = covariance(log_params, x)
    return 0.5 * (y @ np.linalg.solve(K, y) + np.linalg.slogdet(K)[1] + len(x) * np.log(2 * np.pi))


def predict(log_params, x, y, at):
    """Mean and standard deviation of the function at new points, eq. 2.25 and 2.26."""
    length, signal, _ = np.exp(log_params)
    K = covariance(log_params, x)
    across = kernel(at, x, length, signal)
    mean = across @ np.linalg.solve(K, y)
    variance = signal**2 - np.sum(across * np.linalg.solve(K, across.T).T, axis=1)
    return mean, np.sqrt(np.maximum(variance, 0))


def draw(log_params, x, y, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    at = np.linspace(x.min() - 0.5, x.max() + 0.5, 400)
    mean, deviation = predict(log_params, x, y, at)
    figure, axes = plt.subplots(figsize=(8, 4))
    axes.plot(x, y, "k.", markersize=3, label="observations")
    axes.plot(at, mean, label="mean")
    axes.fill_between(at, mean - 2 * deviation, mean + 2 * deviation, alpha=0.3, label="two standard deviations")
    axes.legend()
    figure.savefig(path, dpi=150)


def main():
    args = arguments()
    rng = np.random.default_rng(args.seed)
    x = np.sort(rng.uniform(0, 10, args.points))
    truth = np.log(list(TRUE.values()))
    y = np.linalg.cholesky(covariance(truth, x)) @ rng.normal(size=len(x))

    start = np.zeros(3)
    found = minimize(value_and_grad(negative_log_likelihood), start, args=(x, y), jac=True, options={"gtol": 1e-6})

    print(f"log marginal likelihood  {-negative_log_likelihood(start, x, y):.6f} at the start")
    print(f"                         {-found.fun:.10f} after {found.nit} iterations")
    print(f"  by slogdet and solve   {-by_slogdet(found.x, x, y):.10f}")
    print(f"  by scipy.stats         {multivariate_normal.logpdf(y, cov=covariance(found.x, x)):.10f}")
    print(f"  of the true parameters {-negative_log_likelihood(truth, x, y):.6f}")
    print(f"gradient norm            {np.linalg.norm(found.jac):.1e}")
    for name, value in zip(TRUE, np.exp(found.x), strict=True):
        print(f"{name:8s} {value:.4f}   true {TRUE[name]}")
    if args.out:
        try:
            draw(found.x, x, y, args.out)
            print(f"picture in {args.out}")
        except ImportError:
            print('no picture: it needs matplotlib; install it with: python -m pip install "tinygrad_fnn[plot]"')


if __name__ == "__main__":
    main()
