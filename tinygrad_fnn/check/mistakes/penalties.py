"""Weights that do not learn, and wrong penalties."""

from dataclasses import replace

import numpy as np

from tinygrad_fnn.check._problem import Problem
from tinygrad_fnn.check.stages import Terms, Total, every_layer

__all__ = ["PENALTIES", "UNTRAINED"]


def _with_inputs(problem: Problem) -> tuple[int, ...]:
    return tuple(l for l in every_layer(problem) if problem.thetas[l].shape[1] > 1)


def _with_bias(t: Terms) -> Terms:
    penalty = t.penalty.copy()
    penalty[:, 0] += t.rate * t.weights[:, 0]
    return replace(t, penalty=penalty)


def _ones_on_bias(t: Terms) -> Terms:
    penalty = t.penalty.copy()
    penalty[:, 0] = t.rate
    return replace(t, penalty=penalty)


def _exempt_column_1(t: Terms) -> Terms:
    return replace(t, penalty=_with_bias(t).penalty * (np.arange(t.penalty.shape[1]) != 1))


def _l1(t: Terms) -> Terms:
    signs = np.sign(t.weights)
    penalty = t.rate * signs
    penalty[:, 0] = 0.0
    return replace(t, penalty=penalty, weights=signs)


UNTRAINED = (
    Total(
        slug="layer-not-trained",
        sentence="The gradient of the whole layer lacks its data term.",
        remedy="See that the loop reaches this layer and that what it computes is kept.",
        code="gradients = [np.zeros_like(t) for t in theta]\nfor l in range(1, L): gradients[l] = delta[l].T @ a[l]",
        ways={"": lambda t: t.times(0.0, 0.0), "only its penalty is there": lambda t: t.times(0.0)},
        scope="one",
    ),
    Total(
        slug="unit-not-trained",
        sentence="A row of the gradient is zero, so one unit never learns.",
        remedy="Let the loop run over all units.",
        code="for j in range(len(theta[l]) - 1):\n    gradient[j] = delta[:, j] @ below",
        ways={
            "the first unit": lambda t: t.without(0, slice(None)),
            "the last unit": lambda t: t.without(-1, slice(None)),
        },
        scope="one",
    ),
    Total(
        slug="input-not-trained",
        sentence="A column of the gradient is zero, so the weights of one input never learn.",
        remedy="Let the loop run over all columns: theta has one more than there are inputs.",
        code="for k in range(theta[l].shape[1] - 1):\n    gradient[:, k] = delta.T @ below[:, k]",
        ways={
            "the first input": lambda t: t.without(slice(None), 1),
            "the last input": lambda t: t.without(slice(None), -1),
        },
        scope="one",
        layers=_with_inputs,
    ),
)

PENALTIES = (
    Total(
        slug="l2-missing",
        sentence="The penalty is missing from the gradient.",
        remedy="Add l2/m times the weights, the bias column left out.",
        code="gradient = delta.T @ below\nreturn gradient",
        ways={"": lambda t: t.times(1.0, 0.0)},
    ),
    Total(
        slug="l2-sign-flipped",
        sentence="The penalty is subtracted: its sign is wrong.",
        remedy="Add it.",
        code="gradient = delta.T @ below\ngradient[:, 1:] -= l2 / m * theta[l][:, 1:]",
        ways={"": lambda t: t.times(1.0, -1.0)},
    ),
    Total(
        slug="l2-not-over-m",
        sentence="The penalty is {m} times too large: it lacks its 1/m, with m = {m}.",
        remedy="Its gradient is l2/m times the weights.",
        code="gradient = delta.T @ below\ngradient[:, 1:] += l2 * theta[l][:, 1:]",
        ways={"": lambda t: t.times(1.0, t.m)},
    ),
    Total(
        slug="l2-factor-two",
        sentence="The penalty is 2 times too large: the 1/2 of l2/(2m) was forgotten.",
        remedy="Differentiating the square gives a 2 that cancels this 1/2: l2/m times the weights.",
        code="gradient = delta.T @ below\ngradient[:, 1:] += 2 * l2 / m * theta[l][:, 1:]",
        ways={"": lambda t: t.times(1.0, 2.0)},
        seen="Open-Deep-ML/DML-OpenProblem #54",
    ),
    Total(
        slug="l2-factor-half",
        sentence="The penalty is 2 times too small, 0.5 times the right one: l2/(2m) is the factor of the cost.",
        remedy="Differentiating the square gives a 2: l2/m times the weights.",
        code="gradient = delta.T @ below\ngradient[:, 1:] += l2 / (2 * m) * theta[l][:, 1:]",
        ways={"": lambda t: t.times(1.0, 0.5)},
    ),
    Total(
        slug="l2-on-bias",
        sentence="The penalty reaches the bias column.",
        remedy="Penalise theta[:, 1:] only.",
        code="gradient = delta.T @ np.hstack([ones, below])\ngradient += l2 / m * theta[l]",
        ways={"": _with_bias},
    ),
    Total(
        slug="l2-ones-on-bias",
        sentence="Every entry of the bias column has l2/m too much: a column of ones where zeros were meant.",
        remedy="The penalty has a column of zeros for the bias.",
        code="ones = np.ones((len(theta[l]), 1))\ngradient += l2 / m * np.hstack([ones, theta[l][:, 1:]])",
        ways={"": _ones_on_bias},
        seen="JWarmenhoven/Coursera-Machine-Learning #3",
    ),
    Total(
        slug="l2-exempts-wrong-column",
        sentence="The penalty exempts column 1 and reaches the bias in column 0: an index that counts from 1.",
        remedy="The bias is column 0.",
        code="penalty = l2 / m * theta[l]\npenalty[:, 1] = 0",
        ways={"": _exempt_column_1},
        layers=_with_inputs,
        seen="dibgerge/ml-coursera-python-assignments #45",
    ),
    Total(
        slug="l1-instead-of-l2",
        sentence="The penalty is that of the absolute values: l2/m times the sign of the weights.",
        remedy="The derivative of the square is the weight itself.",
        code="gradient = delta.T @ below\ngradient[:, 1:] += l2 / m * np.sign(theta[l][:, 1:])",
        ways={"": _l1},
        scope="all",
    ),
)
