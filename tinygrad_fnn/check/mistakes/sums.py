"""Wrong sums: what is multiplied with a delta, which examples count, and the bias column."""

from dataclasses import replace

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.stages import Examples, Layout, Previous, Reading, Total, every_layer

__all__ = ["SUMS"]


def _above_the_first(problem: Problem) -> tuple[int, ...]:
    return every_layer(problem)[1:]


def _without_bias(theta: Float) -> Float:
    return np.hstack([np.zeros((len(theta), 1)), theta[:, 1:]])


def _bias_last(term: Float) -> Float:
    return np.roll(term, -1, axis=1)


SUMS = (
    Previous(
        slug="z-in-outer-product",
        sentence="The delta is multiplied by z of the layer below, where its activation a belongs.",
        remedy="The gradient is delta^T a: what the weights were multiplied with on the way forward.",
        code="delta = deltas[l]\ngradient = delta.T @ z[l - 1]",
        ways={"": lambda h: h.z},
        layers=_above_the_first,
    ),
    Examples(
        slug="overwritten-not-accumulated",
        sentence="Only the last of the {m} examples counts: the loop assigns with = where += is meant.",
        remedy="Accumulate over the examples.",
        code="for delta_i, a_i in zip(delta, below):\n    gradient = np.outer(delta_i, a_i) / m",
        ways={"": lambda rows: rows[-1:]},
        scope="network",
    ),
    Examples(
        slug="first-example-only",
        sentence="Only the first of the {m} examples counts: the function returns inside its loop.",
        remedy="Move the return out of the loop.",
        code="for delta_i, a_i in zip(delta, below):\n    return np.outer(delta_i, a_i) / m",
        ways={"": lambda rows: rows[:1]},
        scope="network",
    ),
    Examples(
        slug="example-skipped",
        sentence="One of the {m} examples is left out: the loop is one short.",
        remedy="Let the loop run over range(m).",
        code="for i in range(1, m):\n    gradient += np.outer(delta[i], below[i]) / m",
        ways={"the first one": lambda rows: rows[1:], "the last one": lambda rows: rows[:-1]},
        scope="network",
    ),
    Total(
        slug="bias-not-trained",
        sentence="The bias column of the gradient is zero.",
        remedy="The gradient of a bias is its delta, summed over the examples.",
        code="gradient = np.zeros_like(theta[l])\ngradient[:, 1:] = delta.T @ below",
        ways={"": lambda t: t.bias(lambda column: 0.0)},
    ),
    Total(
        slug="bias-not-over-m",
        sentence="The bias column is {m} times too large: its sum over the m = {m} examples is not divided by m.",
        remedy="Divide the bias column by m too.",
        code="gradient_W = error.T @ below / m\ngradient_b = error.sum(axis=0)",
        ways={"": lambda t: t.bias(lambda column: t.m * column)},
        seen="kvfrans/notes #5",
    ),
    Total(
        slug="bias-over-m-twice",
        sentence="The bias column is {m} times too small: it is averaged over the m = {m} examples twice.",
        remedy="Where delta has its 1/m, take its sum, not its mean.",
        code="delta = (a[-1] - Y) / m\ngradient_b = delta.mean(axis=0)",
        ways={"": lambda t: t.bias(lambda column: column / t.m)},
        seen="deeplearning4j PR #366",
    ),
    Total(
        slug="bias-summed-over-units",
        sentence="Each entry of the bias column is the sum of the whole column: a sum without its axis.",
        remedy="Sum over the examples only: delta.sum(axis=0).",
        code="gradient_W = delta.T @ below\ngradient_b = delta.sum()",
        ways={"": lambda t: t.bias(lambda column: column.sum())},
        seen="rasbt/stat453-deep-learning-ss21 #5",
    ),
    Layout(
        slug="bias-column-last",
        sentence="The gradient of the bias is in the last column; thetas have the bias in the first.",
        remedy="Put the column of ones first: np.hstack([ones, a]).",
        code="ones = np.ones((m, 1))\ngradient = delta.T @ np.hstack([below, ones])",
        ways={
            "": lambda t: t.each(_bias_last),
            "the penalty is in place": lambda t: replace(t, data=_bias_last(t.data)),
        },
        scope="all",
    ),
    Reading(
        slug="bias-zeroed-in-place",
        sentence="The bias weights were set to 0 before the pass: the gradient is that of a network without biases.",
        remedy="Zero the bias column of a copy, for the penalty only.",
        code="theta[l][:, 0] = 0\npenalty = l2 / m * theta[l]",
        ways={"": lambda theta: (_without_bias(theta), _without_bias(theta))},
        scope="network",
        seen="lawlite19/MachineLearning_Python #4",
    ),
)
