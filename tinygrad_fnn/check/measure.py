"""How far a gradient is from another, and what counts as equal.

Layers are compared one by one, because one norm over everything hides a mistake in a layer with small gradients. What
arithmetic alone can do to a gradient is no mistake: where terms cancel, as near a minimum, rounding is large beside
what is left, so its size is estimated too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinygrad_fnn.check._problem import Float, Problem
from tinygrad_fnn.check.textbook import DERIVATIVE, Trace, cost_of, gradients_of

__all__ = ["Measure"]

# Relative distance that rounding and finite differences with step 1e-4 stay below, by the bytes of a number. Half
# precision keeps 3 digits; a difference of a few per cent must still be seen.
TOLERANCE = {2: 2e-3, 4: 1e-5, 8: 1e-6}
# Central differences with step 1e-4 of a cost J rounded to 1 ulp are off by 1.5e-12 J in each entry; a step away from
# its minimum J is some 1e-8, if it is 0 there.
DIFFERENCE_ROUNDING, STEP_SQUARED = 2e-12, 1e-8
# Estimated rounding is a standard deviation; of 5000 gradients computed naively one in a thousand was off by 1.8.
# Differences round more often, and double precision has digits to spare.
DEVIATIONS = {2: 2.0, 4: 2.0, 8: 8.0}
# An entry below this may be an underflow, or a neighbour of one.
UNDERFLOW = {2: 6e-8, 4: 1e-30, 8: 1e-290}


class Measure:
    """Relative distance of gradients to a given one, layer by layer.

    Parameters
    ----------
    problem : Problem
        What the gradient is taken of.
    trace : Trace
        Its forward pass.
    given : sequence of L arrays, shape (out, in + 1)
        The learner's gradient.
    width : {2, 4, 8}
        Bytes of its numbers.

    Attributes
    ----------
    tolerance : float
        A distance up to this is no difference.
    scales : list of L floats
        What distances are relative to, if the other gradient is no larger.
    """

    def __init__(self, problem: Problem, trace: Trace, given: Sequence[Float], width: int) -> None:
        self.given = given
        self.tolerance = TOLERANCE[width]
        deviations = _rounding(problem, trace, float(np.finfo(f"f{width}").eps) / 2)
        noise = UNDERFLOW[width] + (DIFFERENCE_ROUNDING * (abs(cost_of(problem)) + STEP_SQUARED) if width == 8 else 0.0)
        floors = [
            (DEVIATIONS[width] * deviation + noise * np.sqrt(theta.size)) / self.tolerance
            for deviation, theta in zip(deviations, problem.thetas, strict=True)
        ]
        self.scales = [max(_norm(array), float(floor)) for array, floor in zip(given, floors, strict=True)]
        self._floors = floors

    def to_given(self, layer: int, gradient: Float) -> float:
        """Distance of `gradient` to the given one in `layer`: 0 to 2."""
        return _relative(gradient, self.given[layer], self.scales[layer])

    def between(self, layer: int, gradient: Float, other: Float) -> float:
        """Distance of two gradients of `layer`: 0 to 2."""
        return _relative(gradient, other, max(_norm(other), self._floors[layer]))


def _norm(array: Float) -> float:
    norm = math.sqrt(np.vdot(array, array))
    if 1e-150 < norm < math.inf:
        return norm
    largest = float(np.max(np.abs(array), initial=0.0))  # the squares overflow or underflow, the norm need not
    return largest * float(np.linalg.norm(array / largest)) if 0.0 < largest < math.inf else largest


def _relative(gradient: Float, other: Float, scale: float) -> float:
    difference, scale = _norm(gradient - other), max(scale, _norm(gradient))
    distance = difference / scale if scale > 0.0 else 0.0
    return distance if math.isfinite(distance) else 2.0  # beyond float64: as far as two gradients can be


def _rounding(problem: Problem, trace: Trace, unit: float) -> list[float]:
    """Standard deviation of the rounding error of each layer's gradient, in Frobenius norm.

    First order propagation of independent relative errors of size `unit` through both passes.
    """
    z, a, u2 = trace.z, trace.a, unit**2
    g_prime = DERIVATIVE[problem.activation]
    deltas = gradients_of(problem, trace).deltas
    var_a = [u2 * a[0] ** 2]
    var_z = []
    for l, theta in enumerate(problem.thetas):
        squares = theta**2
        var_z.append((var_a[l] + u2 * a[l] ** 2) @ squares[:, 1:].T + u2 * (squares[:, 0] + z[l] ** 2))
        slope = g_prime(z[l]) if l < len(z) - 1 else 1.0  # every output has a slope of at most 1
        var_a.append(slope**2 * var_z[l] + u2 * a[l + 1] ** 2)
    var_delta = [(var_a[-1] + u2 * problem.Y**2) / problem.M**2]
    for l in reversed(range(len(z) - 1)):
        W = problem.thetas[l + 1][:, 1:]
        # 1 - a loses its digits near a = 1, however right the formula: an absolute error of g'
        lost = u2 * (deltas[l + 1] @ W) ** 2 * a[l + 1] ** 2 if problem.activation != "relu" else 0.0
        # |g''| is at most 2 g', so an error of z is at most twice that relative error of g'
        bent = deltas[l] ** 2 * (4 * var_z[l] + u2)
        var_delta.insert(0, g_prime(z[l]) ** 2 * (var_delta[0] @ W**2) + lost + bent)
    deviations = []
    for l, theta in enumerate(problem.thetas):
        data = np.sum(var_delta[l].sum(axis=1) * (1 + np.sum(a[l] ** 2, axis=1)))
        data += np.sum(np.sum(deltas[l] ** 2, axis=1) * (u2 + var_a[l].sum(axis=1)))
        penalty = u2 * (problem.l2 / problem.m) ** 2 * np.sum(theta[:, 1:] ** 2)
        deviations.append(float(np.sqrt(data + penalty)))
    return deviations
