"""Wrong deltas: the derivative g', and the weights that a delta goes back through."""

from collections.abc import Callable

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.stages import Back, Error, Hidden, Slope, hidden_layers, output_layer
from tinygrad_fnn.check.textbook import DERIVATIVE

__all__ = ["DELTAS"]

IN_TERMS_OF_A: dict[str, Callable[[Float], Float]] = {
    "sigmoid": lambda a: a * (1 - a),
    "tanh": lambda a: 1 - a * a,
    "relu": lambda a: (a > 0).astype(np.float64),
}
"""g' from a, for each activation; on z it is another function, save for relu."""


def _not_transposed(theta: Float) -> Float:
    return np.hstack([theta[:, :1], theta[:, 1:].T])


def _below_square_weights(problem: Problem) -> tuple[int, ...]:
    return tuple(
        l for l in hidden_layers(problem) if problem.thetas[l + 1].shape[1] - 1 == problem.thetas[l + 1].shape[0]
    )


def _bounded_output(problem: Problem) -> tuple[int, ...]:
    return output_layer(problem) if problem.output != "identity" else ()


def _derivative_of(other: str) -> Callable[[Hidden], Float]:
    return lambda h: IN_TERMS_OF_A[other](h.a)


DELTAS = (
    Slope(
        slug="missing-g-prime",
        sentence="The delta goes back through the weights, but is not multiplied by g'(z).",
        remedy="Multiply by the derivative of the activation, as the chain rule asks.",
        code="delta = delta @ theta[l + 1][:, 1:]\ngradient = delta.T @ below",
        ways={"": lambda h: np.ones_like(h.z)},
        layers=hidden_layers,
    ),
    Slope(
        slug="g-prime-of-a",
        sentence="The derivative g' is evaluated at the activation a; it belongs at z.",
        remedy="Call g'(z), or write it in terms of a: a(1 - a) for a sigmoid, 1 - a^2 for tanh; not both.",
        code="slope = sigmoid(a[l + 1]) * (1 - sigmoid(a[l + 1]))\ndelta = (delta @ theta[l + 1][:, 1:]) * slope",
        ways={"": lambda h: DERIVATIVE[h.activation](h.a)},
        layers=hidden_layers,
        seen="dwhitena/gophernet #6",
    ),
    Slope(
        slug="one-minus-a-only",
        sentence="The derivative g' is taken to be 1 - a, of which a part is missing.",
        remedy="It is a(1 - a) for a sigmoid, 1 - a^2 for tanh.",
        code="delta = delta @ theta[l + 1][:, 1:]\ndelta = delta * (1 - a[l + 1])",
        ways={"": lambda h: 1 - h.a},
        layers=hidden_layers,
    ),
    Slope(
        slug="a-formula-on-z",
        sentence="The formula of g' that is meant for a was given z: z(1 - z) for a sigmoid, 1 - z^2 for tanh.",
        remedy="Give it the activation a, not the pre-activation z.",
        code="def g_prime(a): return a * (1 - a)\ndelta = (delta @ theta[l + 1][:, 1:]) * g_prime(z[l])",
        ways={"": lambda h: IN_TERMS_OF_A[h.activation](h.z)},
        layers=hidden_layers,
        seen="iamtrask/iamtrask.github.io #12 and #32, as a question",
    ),
    Slope(
        slug="g-prime-of-other-activation",
        sentence="The derivative is that of another activation than the one that the forward pass applies.",
        remedy="Take a(1 - a) for a sigmoid, 1 - a^2 for tanh, 1 where z > 0 for relu.",
        code="a[l + 1] = sigmoid(z[l])\ndelta = (delta @ theta[l + 1][:, 1:]) * (1 - a[l + 1] ** 2)",
        ways={
            "it is a(1 - a)": _derivative_of("sigmoid"),
            "it is 1 - a^2": _derivative_of("tanh"),
        },
        layers=hidden_layers,
    ),
    Error(
        slug="extra-g-prime-at-output",
        sentence="The error at the output is multiplied by a(1 - a); with a cross-entropy this factor cancels.",
        remedy="The delta of the output is a - y, over m; the factor belongs to a squared error.",
        code="delta = (a[-1] - Y) / m\ndelta = delta * a[-1] * (1 - a[-1])",
        ways={"": lambda error, a: error * (a * (1 - a))},
        scope="one",
        layers=_bounded_output,
    ),
    Back(
        slug="wrong-column-dropped",
        sentence="The delta goes back through theta[:, :-1]: the last column is removed, and the bias is kept.",
        remedy="Go back through theta[:, 1:].",
        code="delta = delta @ theta[l + 1][:, :-1]\ndelta = delta * g_prime(z[l])",
        ways={"": lambda q: np.roll(q.theta, 1, axis=1)},
        layers=hidden_layers,
    ),
    Back(
        slug="weights-not-transposed",
        sentence="The delta goes back through W where its transpose belongs; it only runs because W is square.",
        remedy="Forward is a W^T, backward is delta W, with an example in each row.",
        code="z[l + 1] = a[l + 1] @ W.T + b\ndelta = (delta @ W.T) * g_prime(z[l])",
        ways={"": lambda q: _not_transposed(q.theta)},
        layers=_below_square_weights,
    ),
    Back(
        slug="updated-weights",
        sentence="The weights above were updated too early: the delta goes back through theta - {value:g} gradient.",
        remedy="Compute all the gradients first, update afterwards.",
        code="theta[l + 1] -= step * gradient[l + 1]\ndelta = (delta @ theta[l + 1][:, 1:]) * g_prime(z[l])",
        ways={
            "": lambda q: q.theta - q.step * (q.data() + q.penalty),
            "without the penalty": lambda q: q.theta - q.step * q.data(),
            "by the right gradient": lambda q: q.theta - q.step * q.right(),
            "by the gradient in question": lambda q: q.theta - q.step * q.given,
        },
        layers=hidden_layers,
        solved=True,
        seen="joelgrus/data-science-from-scratch #31, CodingTrain/Toy-Neural-Network-JS #72",
    ),
)
