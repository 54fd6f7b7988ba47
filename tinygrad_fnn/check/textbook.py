"""Backpropagation derived by hand: the formulas of ``docs/backprop.md``, whose equation numbers stand beside them.

It stands apart from the engine and imports nothing of it, so that their agreement is evidence. Arrays in, arrays out;
nothing that is passed in is written to.

Layers are counted from 0: layer l maps ``a[l]`` to ``z[l]`` by ``thetas[l]``, shape (out, in + 1), bias column first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygrad_fnn.check._problem import Float, Network, Problem, as_network, as_problem

__all__ = ["Gradients", "Trace", "cost", "forward", "gradients"]


@dataclass(frozen=True, eq=False)
class Trace:
    """What a forward pass computes.

    Attributes
    ----------
    z : list of L arrays, shape (m, out)
        Pre-activations.
    a : list of L + 1 arrays, shape (m, units)
        Activations without a bias column; ``a[0]`` is X, ``a[-1]`` the output.
    """

    z: list[Float]
    a: list[Float]


@dataclass(frozen=True, eq=False)
class Gradients:
    """Derivatives of the cost J.

    Attributes
    ----------
    thetas : list of L arrays, shape (out, in + 1)
        dJ/dtheta, penalty included.
    deltas : list of L arrays, shape (m, out)
        dJ/dz, the average over examples included.
    """

    thetas: list[Float]
    deltas: list[Float]


def forward(
    thetas: Iterable[npt.ArrayLike], X: npt.ArrayLike, *, activation: str = "sigmoid", output: str = "sigmoid"
) -> Trace:
    """The pre-activations z and activations a of every layer.

    Parameters
    ----------
    thetas : list of L arrays, shape (out, in + 1)
        Bias column first.
    X : array, shape (m, in)
        Examples in rows, without a column of ones.
    activation : {'sigmoid', 'tanh', 'relu'}
        g of the hidden layers.
    output : {'sigmoid', 'softmax', 'identity'}
        Activation of the last layer.

    Returns
    -------
    Trace
        ``.z`` and ``.a``.

    Raises
    ------
    ValueError
        Shapes that do not fit (`ShapeError`), no examples, NaN, infinity or overflow, an unknown keyword value.
    TypeError
        Complex, text or object data.

    Examples
    --------
    >>> trace = forward([[[0.0, 1.0, -1.0]]], [[3.0, 3.0], [800.0, -200.0]])
    >>> trace.z[0]
    array([[   0.], [1000.]])
    >>> trace.a[1]
    array([[0.5], [1. ]])
    """
    return trace_of(as_network("textbook.forward", thetas, X, activation=activation, output=output))


def cost(
    thetas: Iterable[npt.ArrayLike],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    l2: float = 0.0,
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    reduction: str = "course",
) -> float:
    """The cost J with its penalty, from the logits: exact for z from -1000 to 1000.

    Parameters
    ----------
    thetas, X, activation, output
        As for `forward`; `output` brings its matching loss: binary
        cross-entropy, cross-entropy, half the squared error.
    Y : array, shape (m, K)
        Targets: in [0, 1] for ``'sigmoid'``, rows that sum to 1 for ``'softmax'``, any for ``'identity'``.
    l2 : float >= 0
        Penalty l2/(2m) times the sum of squared weights; bias columns are exempt.
    reduction : {'course', 'mean'}
        Loss summed over outputs and averaged over examples, or averaged over both. The penalty is the same.

    Returns
    -------
    float
        J.

    Raises
    ------
    ValueError
        As `forward`; `Y` of labels or out of range; a negative `l2`.
    TypeError
        Complex, text or object data.

    Examples
    --------
    >>> round(cost([[[0.0, 1.0]]], [[2.0]], [[1]]), 12)  # log(1 + exp(-2))
    0.126928011043
    >>> cost([[[0.0, 1.0]]], [[1000.0]], [[0]])
    1000.0
    """
    problem = as_problem("textbook.cost", thetas, X, Y, l2, activation=activation, output=output, reduction=reduction)
    return cost_of(problem)


def gradients(
    thetas: Iterable[npt.ArrayLike],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    l2: float = 0.0,
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    reduction: str = "course",
) -> Gradients:
    """The derivatives of `cost` by backpropagation: exact for z from -1000 to 1000.

    Parameters
    ----------
    thetas, X, Y, l2, activation, output, reduction
        As for `cost`.

    Returns
    -------
    Gradients
        ``.thetas``, shaped like `thetas`, and ``.deltas``, dJ/dz of each layer.

    Raises
    ------
    ValueError, TypeError
        As `cost`.

    Examples
    --------
    >>> gradient = gradients([[[0.0, 1.0]]], [[0.0], [40.0]], [[0], [1]])
    >>> gradient.deltas[0]  # a - y over m; the second is -sigmoid(-40) / 2, though 1 - a is 0 in floating point
    array([[ 2.50000000e-01], [-2.12417713e-18]])
    >>> gradient.thetas[0].shape
    (1, 2)
    """
    problem = as_problem(
        "textbook.gradients", thetas, X, Y, l2, activation=activation, output=output, reduction=reduction
    )
    return gradients_of(problem)


@np.errstate(all="ignore")  # exp may underflow to 0; a z that overflows is refused
def trace_of(network: Network) -> Trace:
    """`forward` of a checked network."""
    z: list[Float] = []
    a = [network.X]
    last = len(network.thetas) - 1
    for l, theta in enumerate(network.thetas):
        b, W = theta[:, 0], theta[:, 1:]  # (6)
        z.append(a[l] @ W.T + b)  # (8)
        _refuse_overflow(f"z[{l}]", z[l])
        g = OUTPUT[network.output] if l == last else ACTIVATION[network.activation]
        a.append(g(z[l]))  # (9)
    return Trace(z, a)


@np.errstate(all="ignore")  # exp may underflow to 0; a J that overflows is refused
def cost_of(problem: Problem) -> float:
    """`cost` of a checked problem."""
    logits = trace_of(problem).z[-1]
    squares = sum(float(np.sum(theta[:, 1:] ** 2)) for theta in problem.thetas)
    data = np.sum(LOSS[problem.output](logits, problem.Y)) / problem.M
    penalty = problem.l2 / (2 * problem.m) * squares if problem.l2 else 0.0
    J = data + penalty  # (14)
    _refuse_overflow("the cost", J)
    return float(J)


@np.errstate(all="ignore")  # exp may underflow to 0; a gradient that overflows is refused
def gradients_of(problem: Problem, trace: Trace | None = None) -> Gradients:
    """`gradients` of a checked problem; `trace` is that of `trace_of`, if it is at hand."""
    if trace is None:
        trace = trace_of(problem)
    z, a = trace.z, trace.a
    g_prime = DERIVATIVE[problem.activation]

    delta = ERROR[problem.output](z[-1], problem.Y) / problem.M  # (22)
    deltas = [delta]
    for l in reversed(range(len(z) - 1)):
        W = problem.thetas[l + 1][:, 1:]  # without the bias column: no z of layer l reaches it
        delta = (delta @ W) * g_prime(z[l])  # (26)
        deltas.insert(0, delta)

    thetas = []
    for l, theta in enumerate(problem.thetas):
        gradient = np.empty(theta.shape)
        gradient[:, 0] = deltas[l].sum(axis=0)  # (29)
        gradient[:, 1:] = deltas[l].T @ a[l] + problem.l2 / problem.m * theta[:, 1:]  # (30)
        _refuse_overflow(f"the gradient of thetas[{l}]", gradient)
        thetas.append(gradient)
    return Gradients(thetas, deltas)


def sigmoid(z: Float) -> Float:
    """Logistic function, elementwise; small values keep their digits, so ``sigmoid(-z)`` is the better ``1 - a``."""
    e = np.exp(-np.abs(z))  # in (0, 1]: cannot overflow
    a: Float = np.where(z >= 0, 1.0, e) / (1 + e)  # (1)
    return a


def sigmoid_prime(z: Float) -> Float:
    """Derivative of `sigmoid` at z; not a (1 - a), which has no digits left where a is near 1."""
    return sigmoid(z) * sigmoid(-z)  # (3)


def tanh_prime(z: Float) -> Float:
    """Derivative of tanh at z; not 1 - a^2, which has no digits left where a is near 1 or -1."""
    return 4 * sigmoid(2 * z) * sigmoid(-2 * z)  # (4)


def relu(z: Float) -> Float:
    """The larger of z and 0."""
    return np.maximum(z, 0.0)  # (5)


def relu_prime(z: Float) -> Float:
    """Derivative of `relu` at z; 0 at the kink."""
    return (z > 0).astype(np.float64)  # (5)


def softmax(z: Float) -> Float:
    """exp(z) over its sum, for each row."""
    shifted, _, rest = _around_the_largest(z)
    return np.exp(shifted) / (1 + rest)  # (10)


def softplus(z: Float) -> Float:
    """log(1 + exp(z)), which is -log(1 - sigmoid(z)); its derivative is `sigmoid`."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))  # (31)


def binary_cross_entropy(z: Float, y: Float) -> Float:
    """-y log a - (1 - y) log(1 - a) with a = sigmoid(z), elementwise; neither term is rounded to 0 or infinite."""
    return y * softplus(-z) + (1 - y) * softplus(z)  # (11), (32)


def cross_entropy(z: Float, y: Float) -> Float:
    """-y log a with a = softmax(z), elementwise."""
    shifted, _, rest = _around_the_largest(z)
    return y * (np.log1p(rest) - shifted)  # (12), (34)


def half_squared_error(z: Float, y: Float) -> Float:
    """(a - y)^2 / 2 with a = z, elementwise."""
    return (z - y) ** 2 / 2  # (13)


def sigmoid_error(z: Float, y: Float) -> Float:
    """The a - y of `sigmoid`, written so that it keeps its digits where a rounds to 1."""
    return (1 - y) * sigmoid(z) - y * sigmoid(-z)  # (33)


def softmax_error(z: Float, y: Float) -> Float:
    """The a - y of `softmax`, written so that it keeps its digits where a rounds to 1."""
    shifted, top, rest = _around_the_largest(z)
    a = np.exp(shifted) / (1 + rest)  # (10)
    others = 1 - a  # at most the largest a exceeds 1/2, so only there digits are lost
    np.put_along_axis(others, top, rest / (1 + rest), axis=1)
    return (1 - y) * a - y * others  # (35)


def _around_the_largest(z: Float) -> tuple[Float, npt.NDArray[np.intp], Float]:
    """The z less the largest of the row, (m, K); where that is, (m, 1); the sum of exp of all the others, (m, 1)."""
    top = np.argmax(z, axis=1, keepdims=True)
    shifted = z - np.take_along_axis(z, top, axis=1)
    e = np.exp(shifted)
    np.put_along_axis(e, top, 0.0, axis=1)  # its exponential is 1; without it small ones are summed with all digits
    return shifted, top, e.sum(axis=1, keepdims=True)


def _refuse_overflow(name: str, value: Float | np.floating) -> None:
    if not np.isfinite(value).all():
        raise ValueError(f"textbook: {name} exceeds the range of float64; are thetas or X of a reasonable size?")


ACTIVATION: dict[str, Callable[[Float], Float]] = {"sigmoid": sigmoid, "tanh": np.tanh, "relu": relu}
DERIVATIVE: dict[str, Callable[[Float], Float]] = {"sigmoid": sigmoid_prime, "tanh": tanh_prime, "relu": relu_prime}
# np.positive makes a copy, so that writing to a[-1] leaves z[-1] alone
OUTPUT: dict[str, Callable[[Float], Float]] = {"sigmoid": sigmoid, "softmax": softmax, "identity": np.positive}
LOSS: dict[str, Callable[[Float, Float], Float]] = {
    "sigmoid": binary_cross_entropy,
    "softmax": cross_entropy,
    "identity": half_squared_error,
}
ERROR: dict[str, Callable[[Float, Float], Float]] = {
    "sigmoid": sigmoid_error,
    "softmax": softmax_error,
    "identity": np.subtract,
}
