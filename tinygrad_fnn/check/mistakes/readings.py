"""Right formulas on wrong data: targets, output activation, and arrays read or written in the wrong order."""

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.stages import Layout, Output, Reading, Targets, every_layer, output_layer
from tinygrad_fnn.check.textbook import sigmoid, softmax

__all__ = ["READINGS"]


def _several_outputs(problem: Problem) -> tuple[int, ...]:
    return every_layer(problem) if problem.K > 1 else ()


def _softmax_output(problem: Problem) -> tuple[int, ...]:
    return output_layer(problem) if problem.output == "softmax" else ()


def _square(problem: Problem) -> tuple[int, ...]:
    layers = every_layer(problem)
    return layers if all(theta.shape[0] == theta.shape[1] for theta in problem.thetas) else ()


def _label(Y: Float) -> Float:
    """The class of each example, counted from 0, shape (m, 1)."""
    label: Float = np.argmax(Y, axis=1, keepdims=True).astype(np.float64)
    return label


def _row_major(array: Float) -> Float:
    """Column by column into a vector, row by row out of it."""
    return array.ravel(order="F").reshape(array.shape, order="C")


def _column_major(array: Float) -> Float:
    """Row by row into a vector, column by column out of it."""
    return array.ravel(order="C").reshape(array.shape, order="F")


READINGS = (
    Targets(
        slug="labels-off-by-one",
        sentence="The targets are shifted by one class, as where label 10 stands for digit 0.",
        remedy="Check which column of Y belongs to which label.",
        code="Y = np.eye(10)[labels - 1]\ndelta = (a[-1] - Y) / m",
        ways={"one up": lambda Y: np.roll(Y, 1, axis=1), "one down": lambda Y: np.roll(Y, -1, axis=1)},
        scope="network",
        layers=_several_outputs,
    ),
    Targets(
        slug="labels-not-one-hot",
        sentence="The label itself is subtracted from every output: the targets are not one-hot.",
        remedy="Make a row of Y for each label: np.eye(K)[labels].",
        code="labels = labels.reshape(-1, 1)\ndelta = (a[-1] - labels) / m",
        ways={
            "labels from 0": _label,
            "labels from 1": lambda Y: _label(Y) + 1,
        },
        scope="network",
        layers=_several_outputs,
    ),
    Output(
        slug="wrong-output-activation",
        sentence="The output has another activation than it should.",
        remedy="Take the one that belongs to the loss: sigmoid for independent outputs, softmax for one class of K.",
        code="a[-1] = softmax(z[-1])\ndelta = (a[-1] - Y) / m",
        ways={"a sigmoid": sigmoid, "a softmax": softmax, "none": np.positive},
        scope="one",
        layers=output_layer,
    ),
    Output(
        slug="softmax-wrong-axis",
        sentence="The softmax is normalised over the examples, not over the outputs of each.",
        remedy="Sum over axis 1, with keepdims=True.",
        code="e = np.exp(z[-1])\na[-1] = e / e.sum(axis=0)",
        ways={"": lambda z: softmax(z.T).T},
        scope="one",
        layers=_softmax_output,
    ),
    Reading(
        slug="weights-read-row-major",
        sentence="The weights were rolled up row by row from a vector that holds them column by column.",
        remedy="Say reshape(shape, order='F').",
        code="vector = loadmat('weights.mat')['nn_params'].ravel()\ntheta[0] = vector[:size].reshape(out, columns)",
        ways={
            "": lambda theta: (_row_major(theta), _row_major(theta)),
            "the penalty has the right ones": lambda theta: (_row_major(theta), theta),
        },
        scope="network",
    ),
    Layout(
        slug="transposed",
        sentence="Every array of the gradient is the transpose of the right one.",
        remedy="With an example in each row the gradient is delta^T a, of shape (out, in + 1).",
        code="gradient = below.T @ delta\nreturn gradient",
        ways={"": lambda t: t.each(np.transpose)},
        scope="all",
        layers=_square,
    ),
    Layout(
        slug="unrolled-row-major",
        sentence="The numbers are right, but in the wrong order: unrolled row by row where column by column is wanted.",
        remedy="Say ravel(order='F'), and reshape(shape, order='F').",
        code="vector = np.concatenate([g.ravel() for g in gradients])\nreturn vector",
        ways={"": lambda t: t.each(_column_major), "the other way round": lambda t: t.each(_row_major)},
        scope="all",
    ),
)
