"""Ten mistakes in one backpropagation, made one after another, and what `diagnose` says to each.

python examples/diagnose_mistakes.py
"""

import numpy as np

from tinygrad_fnn import data
from tinygrad_fnn.check.diagnose import diagnose


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gradients(thetas, X, Y, l2, mistake=""):
    """Backpropagation of 400-25-10 as in the course, with `mistake` made where one makes it."""
    m = len(X)
    ones = np.ones((m, 1))
    a1 = np.hstack([ones, X])
    a2 = np.hstack([ones, sigmoid(a1 @ thetas[0].T)])
    a3 = sigmoid(a2 @ thetas[1].T)

    delta3 = a3 - Y
    if mistake == "y - a":
        delta3 = Y - a3
    if mistake == "delta of the squared error":
        delta3 = (a3 - Y) * a3 * (1 - a3)
    gradient2 = delta3.T @ a2 / m
    W = thetas[1][:, 1:]
    if mistake == "weights updated before the gradient was done":
        W = (thetas[1] - 0.5 * gradient2)[:, 1:]
    if mistake == "last column dropped, not the first":
        W = thetas[1][:, :-1]
    delta2 = (delta3 @ W) * a2[:, 1:] * (1 - a2[:, 1:])
    if mistake == "no derivative of the sigmoid":
        delta2 = delta3 @ W
    if mistake == "derivative of a, not of z":
        delta2 = (delta3 @ W) * sigmoid(a2[:, 1:]) * (1 - sigmoid(a2[:, 1:]))
    gradient1 = delta2.T @ a1 / m
    if mistake == "= for += in the loop over examples":
        gradient1, gradient2 = np.outer(delta2[-1], a1[-1]) / m, np.outer(delta3[-1], a2[-1]) / m
    if mistake == "no 1/m in the bias":
        gradient1[:, 0], gradient2[:, 0] = delta2.sum(axis=0), delta3.sum(axis=0)

    for gradient, theta in [(gradient1, thetas[0]), (gradient2, thetas[1])]:
        penalty = l2 / m * theta
        penalty[:, 0] = 0
        if mistake == "ones in the bias column of the penalty":
            penalty[:, 0] = l2 / m
        gradient += penalty
    if mistake == "NumPy's order in Octave's vector":
        return np.concatenate([gradient1.ravel(), gradient2.ravel()])
    return [gradient1, gradient2]


def main():
    X, y = data.digits()
    X, y = X[::5], y[::5]
    Y = np.eye(10)[y]
    rng = np.random.default_rng(0)
    thetas = [rng.uniform(-0.12, 0.12, size=(25, 401)), rng.uniform(-0.12, 0.12, size=(10, 26))]
    for mistake in [
        "",
        "y - a",
        "delta of the squared error",
        "no derivative of the sigmoid",
        "derivative of a, not of z",
        "last column dropped, not the first",
        "weights updated before the gradient was done",
        "= for += in the loop over examples",
        "no 1/m in the bias",
        "ones in the bias column of the penalty",
        "NumPy's order in Octave's vector",
    ]:
        found = diagnose(gradients(thetas, X, Y, 1.0, mistake), thetas, X, Y, 1.0)
        print(f"{mistake or 'no mistake'}\n  {found.name}: {found.message}\n")


if __name__ == "__main__":
    main()
