"""The gradient of the textbook's cost by central differences, as a learner takes it to check another.

Such a gradient is right, yet not always to 1e-6: at a minimum the third derivative outweighs the first, and a kink of
relu may lie inside the step. What comes near is therefore held against this as well.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.textbook import cost_of

__all__ = ["affordable", "central_differences"]

STEP = 1e-4
"""The step of the course's ``computeNumericalGradient``."""


def affordable(problem: Problem) -> bool:
    """Whether all derivatives take about a second at most: two passes for each weight."""
    weights = sum(theta.size for theta in problem.thetas)
    return weights**2 * problem.m < 3e8


def central_differences(problem: Problem, layer: int) -> Float:
    """The derivatives by the weights of `layer`, shape (out, in + 1).

    Examples
    --------
    >>> from tinygrad_fnn.check._problem import as_problem
    >>> problem = as_problem("diagnose", [[[0.0, 1.0]]], [[2.0]], [[0]], output="identity")
    >>> central_differences(problem, 0).round(9)
    array([[2., 4.]])
    """
    thetas = [theta.copy() for theta in problem.thetas]
    moved = replace(problem, thetas=tuple(thetas))
    derivatives = np.empty(thetas[layer].shape)
    for at in np.ndindex(derivatives.shape):
        centre = thetas[layer][at]
        costs = []
        for step in (STEP, -STEP):
            thetas[layer][at] = centre + step
            costs.append(cost_of(moved))
        thetas[layer][at] = centre
        derivatives[at] = (costs[0] - costs[1]) / (2 * STEP)
    return derivatives
