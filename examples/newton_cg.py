"""Train a small network to the bottom with Newton's method, its steps solved for by conjugate gradients.

python examples/newton_cg.py
python examples/newton_cg.py --examples 1000 --hidden 20 --l2 3

Each step solves ``H p = -g`` with products of the exact Hessian and vectors, never the Hessian itself, and stops where
the curvature is negative. L-BFGS starts from the same weights for comparison.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from tinygrad_fnn import data
from tinygrad_fnn.func import grad, value_and_grad, vjp


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=500, help="digits to learn from (default: 500)")
    parser.add_argument("--hidden", type=int, default=10, help="hidden units (default: 10)")
    parser.add_argument("--l2", type=float, default=1.0, help="lambda, the weight of the penalty (default: 1)")
    parser.add_argument("--iterations", type=int, default=100, help="at most so many Newton steps (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the examples and the weights (default: 0)")
    parser.add_argument("--out", type=Path, help="file for a picture of the gradient norm (needs matplotlib)")
    return parser.parse_args()


def unpack(theta, shapes):
    """The layers' (W, b) as pieces of one vector."""
    layers, start = [], 0
    for inputs, outputs in shapes:
        W = theta[start : start + inputs * outputs].reshape(inputs, outputs)
        start += inputs * outputs
        layers.append((W, theta[start : start + outputs]))
        start += outputs
    return layers


def logits(theta, shapes, X):
    """The network: tanh between the layers."""
    a = X
    for k, (W, b) in enumerate(unpack(theta, shapes)):
        a = (np.tanh(a) if k else a) @ W + b
    return a


def cost(theta, shapes, X, Y, l2):
    """Mean cross-entropy of the softmax, and the penalty on all of the weights."""
    z = logits(theta, shapes, X)
    z = z - np.max(z, axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.sum(Y * log_p) / len(X) + l2 / (2 * len(X)) * np.sum(theta**2)


def newton_step(product, g):
    """An approximate solution of ``H p = -g``; Nocedal and Wright (2006), algorithm 7.1."""
    norm = np.linalg.norm(g)
    tolerance = min(0.5, np.sqrt(norm)) * norm
    p, residual, count = np.zeros_like(g), g, 0
    direction = -g
    while count < 10 * len(g):
        curved = product(direction)
        count += 1
        curvature = direction @ curved
        if curvature <= 0:
            return (p if count > 1 else direction), count
        alpha = (residual @ residual) / curvature
        p = p + alpha * direction
        smaller = residual + alpha * curved
        if np.linalg.norm(smaller) < tolerance:
            break
        direction = -smaller + (smaller @ smaller) / (residual @ residual) * direction
        residual = smaller
    return p, count


def newton_cg(f, theta, iterations, tolerance=1e-9):
    """Newton-CG with backtracking; the gradient norms on the way, and the number of Hessian-vector products."""
    value_and_gradient, norms, products = value_and_grad(f), [], 0
    value, g = value_and_gradient(theta)
    for step in range(iterations):
        norms.append(np.linalg.norm(g))
        print(f"step {step:3d}   J {value:.12f}   gradient {norms[-1]:.2e}   products {products}")
        if norms[-1] < tolerance:
            break
        _, pullback = vjp(grad(f), theta)  # hvp for many vectors at one point: the gradient is recorded once
        p, count = newton_step(lambda v, pullback=pullback: pullback(v)[0], g)
        products += count
        length = 1.0
        # At the bottom the cost has no digits left to fall by, so its rounding is allowed for.
        while f(theta + length * p) > value + 1e-4 * length * (g @ p) + 1e-14 * abs(value) and length > 1e-10:
            length /= 2
        theta = theta + length * p
        value, g = value_and_gradient(theta)
    return theta, norms, products


def draw(norms, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.semilogy(norms, "o-")
    axes.set(xlabel="Newton step", ylabel="norm of the gradient")
    figure.savefig(path, dpi=150)


def main():
    args = arguments()
    rng = np.random.default_rng(args.seed)
    X, y = data.digits()
    rows = rng.choice(len(X), args.examples, replace=False)
    X, y = X[rows], y[rows]
    Y = np.eye(10)[y]
    shapes = [(X.shape[1], args.hidden), (args.hidden, 10)]
    start = rng.uniform(-0.12, 0.12, sum((inputs + 1) * outputs for inputs, outputs in shapes))

    def f(theta):
        return cost(theta, shapes, X, Y, args.l2)

    theta, norms, products = newton_cg(f, start, args.iterations)
    right = np.argmax(logits(theta, shapes, X), axis=1) == y
    print(f"\nNewton-CG  J {f(theta):.12f}   gradient {norms[-1]:.2e}   {len(norms) - 1} steps, {products} products")
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0, "gtol": 1e-8}
    other = minimize(value_and_grad(f), start, jac=True, method="L-BFGS-B", options=options)
    # The cost has many valleys: whether Newton's is at its bottom shows where L-BFGS ends when it starts beside it.
    nearby = theta + 1e-3 * rng.normal(size=theta.size)
    again = minimize(value_and_grad(f), nearby, jac=True, method="L-BFGS-B", options=options)
    print(f"L-BFGS     J {other.fun:.12f}   gradient {np.linalg.norm(other.jac):.2e}   {other.nit} steps")
    apart = np.linalg.norm(again.x - theta)
    print(f"L-BFGS     J {again.fun:.12f}   from beside Newton's optimum, {apart:.1e} away from it")
    print(f"accuracy   {right.mean():.2%} on the {len(X)} examples")
    if args.out:
        try:
            draw(norms, args.out)
            print(f"picture in {args.out}")
        except ImportError:
            print('no picture: it needs matplotlib; install it with: python -m pip install "tinygrad_fnn[plot]"')


if __name__ == "__main__":
    main()
