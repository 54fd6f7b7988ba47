"""L-BFGS on NumPy alone.

SciPy's runs on a BLAS of its own, whose threads and those of NumPy's BLAS wait for each other: 50 iterations on the
digits took 13.8 s with both at two threads on two cores, and 1.0 s with SciPy's at one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy import ndarray

__all__ = ["Minimum", "lbfgs"]

Objective = Callable[[ndarray], tuple[float, ndarray]]

_DECREASE, _CURVATURE = 1e-4, 0.9  # the constants of the strong Wolfe conditions, Nocedal and Wright p. 62


class Minimum(NamedTuple):
    """Where a minimisation ended.

    Attributes
    ----------
    x : ndarray, shape (n,)
        The best parameters.
    fun : float
        The cost there.
    jac : ndarray, shape (n,)
        Its gradient there.
    nit, nfev : int
        Iterations, and evaluations of cost and gradient.
    success : bool
        Whether it ended because it converged.
    message : str
        Why it ended.
    """

    x: ndarray
    fun: float
    jac: ndarray
    nit: int
    nfev: int
    success: bool
    message: str


class _Point(NamedTuple):
    """A point on the line that is searched: step, cost, slope along the line, position, gradient."""

    step: float
    cost: float
    slope: float
    x: ndarray
    g: ndarray


def lbfgs(
    fun: Objective,
    x0: ndarray,
    *,
    maxiter: int = 15000,
    history: int = 10,
    gtol: float = 1e-5,
    ftol: float = 2.2e-9,
    callback: Callable[[ndarray], None] | None = None,
) -> Minimum:
    """Minimise a function of one vector by L-BFGS with a line search for the strong Wolfe conditions.

    Parameters
    ----------
    fun : callable
        `fun(x)` is the cost at `x` and its gradient; the arrays are not changed.
    x0 : ndarray of float64, shape (n,)
        Where to start.
    maxiter : int
        The most iterations.
    history : int
        How many steps the approximation of the Hessian remembers.
    gtol : float
        Converged when no entry of the gradient is larger.
    ftol : float
        Converged when an iteration lowers the cost by less than this times the larger of it and 1.
    callback : callable, optional
        Called with `x` after each iteration; StopIteration raised there ends the search.

    Returns
    -------
    Minimum

    References
    ----------
    Nocedal and Wright, *Numerical Optimization* (2006), algorithms 7.4, 7.5, 3.5 and 3.6.

    Examples
    --------
    >>> found = lbfgs(lambda x: (float(x @ x), 2 * x), np.array([3.0, -4.0]))
    >>> bool(np.abs(found.x).max() < 1e-5), found.success
    (True, True)
    """
    count = 0

    def at(step: float, x: ndarray, d: ndarray) -> _Point:
        nonlocal count
        count += 1
        there = x + step * d
        cost, g = fun(there)
        return _Point(step, cost, float(g @ d), there, g)

    x, d = np.array(x0), np.zeros_like(x0)
    here = at(0.0, x, d)
    steps: deque[tuple[ndarray, ndarray, float]] = deque(maxlen=history)  # s, y, 1 / y.s
    reason, success = f"stopped after {maxiter} iterations", False
    nit = 0
    while nit < maxiter:
        if np.abs(here.g).max() <= gtol:
            reason, success = f"no entry of the gradient is above {gtol:g}", True
            break
        d = -_times_inverse_hessian(here.g, steps)
        here = here._replace(step=0.0, slope=float(here.g @ d))
        first = 1.0 if steps else min(1.0, 1 / float(np.abs(here.g).sum()))
        start = here
        found = _search(lambda step, start=start, d=d: at(step, start.x, d), start, first)  # type: ignore[misc]  # bound now
        if found is None:
            reason = "no lower cost along the last direction: the precision of the cost is reached"
            success = bool(steps) and nit > 0
            break
        s, y = found.x - start.x, found.g - start.g
        curvature = float(s @ y)
        if curvature > np.finfo(float).eps * float(y @ y):  # else the step says nothing about the Hessian
            steps.append((s, y, 1 / curvature))
        here = found
        nit += 1
        if callback is not None:
            try:
                callback(here.x)
            except StopIteration:
                reason = "stopped by the callback"
                break
        if start.cost - here.cost <= ftol * max(abs(start.cost), abs(here.cost), 1.0):
            reason, success = f"the last iteration lowered the cost by less than {ftol:g} of it", True
            break
    return Minimum(here.x, here.cost, here.g, nit, count, success, reason)


def _times_inverse_hessian(g: ndarray, steps: deque[tuple[ndarray, ndarray, float]]) -> ndarray:
    """Algorithm 7.4: the two loops."""
    q = g.copy()
    weights = []
    for s, y, rho in reversed(steps):
        a = rho * float(s @ q)
        q -= a * y
        weights.append(a)
    if steps:
        s, y, rho = steps[-1]
        q /= rho * float(y @ y)
    for (s, y, rho), a in zip(steps, reversed(weights), strict=True):
        q += (a - rho * float(y @ q)) * s
    return q


def _search(at: Callable[[float], _Point], start: _Point, first: float) -> _Point | None:
    """Algorithm 3.5: a step that satisfies the strong Wolfe conditions; None if even the shortest lowers nothing."""
    low, step = start, first
    for turn in range(20):
        point = at(step)
        enough = point.cost <= start.cost + _DECREASE * step * start.slope  # False for NaN
        if not enough or (turn and point.cost >= low.cost):
            return _zoom(at, start, low, point)
        if abs(point.slope) <= -_CURVATURE * start.slope:
            return point
        if point.slope >= 0:
            return _zoom(at, start, point, low)
        low, step = point, 2 * step
    return low


def _zoom(at: Callable[[float], _Point], start: _Point, low: _Point, high: _Point) -> _Point | None:
    """Algorithm 3.6: such a step between two; the best one found if rounding hides it."""
    for _ in range(30):
        step = _cubic(low, high)
        point = at(step)
        if not point.cost <= start.cost + _DECREASE * step * start.slope or point.cost >= low.cost:
            high = point
        else:
            if abs(point.slope) <= -_CURVATURE * start.slope:
                return point
            if point.slope * (high.step - low.step) >= 0:
                high = low
            low = point
        if abs(high.step - low.step) <= 1e-14 * max(abs(low.step), 1e-14):
            break
    return low if low.cost < start.cost else None


def _cubic(a: _Point, b: _Point) -> float:
    """The minimum of the cubic through two points (eq. 3.59), kept well inside; the middle if there is none."""
    low, high = sorted((a.step, b.step))
    d1 = a.slope + b.slope - 3 * (a.cost - b.cost) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    middle = 0.5 * (low + high)
    if not 0 <= square < np.inf:  # no minimum, or the cost at one end is no number
        return middle
    d2 = np.copysign(np.sqrt(square), b.step - a.step)
    step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2)
    margin = 0.1 * (high - low)
    return float(np.clip(step, low + margin, high - margin)) if np.isfinite(step) else middle
