"""Minimisation over the parameters of a model, with exact derivatives: L-BFGS of ours, and `scipy.optimize`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..backward import grad
from ..errors import MissingExtraError
from ..replay import compile
from ..tensor import Tensor
from .flat import store, unrolled
from .lbfgs import Minimum, lbfgs

__all__ = ["Minimum", "Progress", "minimize"]

_GRADIENT = ("L-BFGS", "L-BFGS-B", "CG", "BFGS")
_HESSIAN = ("Newton-CG", "trust-ncg", "trust-krylov", "trust-constr")


class Progress(NamedTuple):
    """Where a minimisation is, as its callback sees it.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    cost : float
        At the present parameters.
    gradient_norm : float
        Largest entry of the gradient, in absolute value, there.
    evaluations : int
        Of cost and gradient, so far.
    """

    iteration: int
    cost: float
    gradient_norm: float
    evaluations: int


def _cost(closure: Callable[[], Tensor]) -> Tensor:
    """What the closure gives, checked."""
    J = closure()
    if not isinstance(J, Tensor) or J.size != 1 or J._node is None:
        raise TypeError(f"minimize: closure must return the cost, a recorded scalar Tensor; it returned {J!r:.80}")
    return J


class _Objective:
    """A cost as a function of one vector: the parameters, unrolled one after the other."""

    def __init__(self, params: list[Tensor], closure: Callable[[], Tensor]) -> None:
        self.params = params
        self.cost: Callable[[], Tensor] = partial(_cost, closure)
        self.replayed: Callable[[], Tensor] = compile(self.cost, fallback="silent")
        self.evaluations = 0
        self.latest: tuple[bytes, float, ndarray] | None = None
        self._slopes: tuple[bytes, tuple[Tensor | None, ...]] | None = None

    def __call__(self, x: ndarray) -> tuple[float, ndarray]:
        """Cost and gradient at `x`."""
        store(self.params, x)
        J = self.replayed()
        slopes = grad(J, self.params)
        g = np.concatenate([s._data.ravel() for s in slopes if s is not None]).astype(float)
        self.evaluations += 1
        self.latest = (x.tobytes(), J.item(), g)
        return J.item(), g

    def hessp(self, x: ndarray, v: ndarray) -> ndarray:
        """The Hessian at `x` times `v`: the derivative of the gradient's product with `v`."""
        at = x.tobytes()
        if self._slopes is None or self._slopes[0] != at:  # one recorded gradient serves all products at this x
            store(self.params, x)
            self._slopes = at, grad(self.cost(), self.params, create_graph=True)
        pieces = np.split(v, np.cumsum([p.size for p in self.params])[:-1])
        slopes = [s for s in self._slopes[1] if s is not None]
        tracked = [(s, piece) for s, piece in zip(slopes, pieces, strict=True) if s._node is not None]
        rows = grad(
            [s for s, _ in tracked],
            self.params,
            [piece.reshape(s.shape) for s, piece in tracked],
            retain_graph=True,
            allow_unused=True,  # a parameter in which the cost is linear
        )
        parts = [np.zeros(p.size) if r is None else r._data.ravel() for r, p in zip(rows, self.params, strict=True)]
        return np.concatenate(parts).astype(float)


def minimize(
    model: Any,
    closure: Callable[[], Tensor],
    method: str = "L-BFGS",
    *,
    maxiter: int | None = None,
    tol: float | None = None,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
    options: dict[str, Any] | None = None,
) -> Minimum:
    """Minimise a cost over the parameters of a model.

    Parameters
    ----------
    model : Module or iterable of Tensor
        Whose parameters are changed, in place.
    closure : callable
        Computes the cost from the present parameters: a scalar Tensor. It calls no `backward`.
    method : str
        'L-BFGS' runs on NumPy alone. The others are those of `scipy.optimize.minimize` that take a gradient ('CG',
        'BFGS', 'L-BFGS-B'; the last can be many times slower for want of threads, see `optim.lbfgs`) or the product
        of the Hessian with a vector as well ('Newton-CG', 'trust-ncg', 'trust-krylov', 'trust-constr'). Both are exact.
    maxiter : int, optional
        The most iterations; the method's own default otherwise.
    tol : float, optional
        As in SciPy.
    callback : callable, optional
        Called with a `Progress` after each iteration, the parameters being those it speaks of; a true result stops.
    progress : bool
        Show a bar; wants the extra `progress`.
    options : dict, optional
        Further options of the method.

    Returns
    -------
    Minimum
        `x` is the vector that the parameters now hold, one parameter after the other.

    Raises
    ------
    ValueError
        If the method is unknown or takes no derivatives, or there are no parameters.
    TypeError
        If the closure returns no recorded scalar.
    FloatingPointError
        If the cost is not finite at the start.
    MissingExtraError
        If `progress` is asked for and tqdm is missing.

    Examples
    --------
    >>> w = Tensor([3.0, -2.0], requires_grad=True)
    >>> result = minimize([w], lambda: ((w - 1) ** 2).sum())
    >>> np.round(w.data, 6)
    array([1., 1.])
    """
    if method not in _GRADIENT + _HESSIAN:
        raise ValueError(f"minimize: method is {method!r}, wanted one of {', '.join(_GRADIENT + _HESSIAN)}")
    if maxiter is not None and (not isinstance(maxiter, int) or maxiter < 0):
        raise ValueError(f"minimize: maxiter is {maxiter!r}, wanted an int >= 0")
    if tol is not None and not tol >= 0:
        raise ValueError(f"minimize: tol is {tol!r}, wanted a number >= 0")
    if not callable(closure):
        raise TypeError(f"minimize: closure is a {type(closure).__name__}; wanted a function: lambda: model.cost(X, Y)")
    params = _parameters(model)
    objective = _Objective(params, closure)
    bar = _bar(maxiter) if progress else None
    start = unrolled(params)
    J, _ = objective(start)
    if not np.isfinite(J):
        raise FloatingPointError(f"minimize: the cost is {J} at the start; detect_anomaly() finds where it comes from")
    iteration = 0
    reached = start

    def each(intermediate_result: Any) -> None:  # the name is SciPy's sign for how it is called
        nonlocal iteration, reached
        iteration += 1
        reached = np.array(getattr(intermediate_result, "x", intermediate_result))
        if bar is not None:
            bar.update()
        if callback is not None:
            if objective.latest is None or objective.latest[0] != reached.tobytes():
                objective(reached)  # the line search went on after the point it chose
            store(params, reached)
            assert objective.latest is not None
            _, cost, g = objective.latest
            if callback(Progress(iteration, cost, float(np.abs(g).max()), objective.evaluations)):
                raise StopIteration

    limits: dict[str, Any] = {} if maxiter is None else {"maxiter": maxiter}
    try:
        if method == "L-BFGS":
            if tol is not None:
                limits["gtol"] = limits["ftol"] = tol
            result = lbfgs(objective, start, callback=each, **limits | (options or {}))
        else:
            result = _by_scipy(objective, start, method, tol, each, limits | (options or {}))
        reached = result.x
    finally:  # also when interrupted: the parameters are those of the last iteration, not of a step of its search
        store(params, reached)
        if bar is not None:
            bar.close()
    return result


def _by_scipy(
    objective: _Objective,
    start: ndarray,
    method: str,
    tol: float | None,
    callback: Callable[[Any], None],
    options: dict[str, Any],
) -> Minimum:
    from scipy import optimize  # slow to import, and not needed to train otherwise

    solve: Any = optimize.minimize  # its stubs have no overload with both jac=True and hessp
    hessp = objective.hessp if method in _HESSIAN else None
    found = solve(objective, start, jac=True, hessp=hessp, method=method, tol=tol, callback=callback, options=options)
    g = objective(found.x)[1]
    return Minimum(
        found.x, float(found.fun), g, found.nit, objective.evaluations, bool(found.success), str(found.message)
    )


def _parameters(model: Any) -> list[Tensor]:
    params: Iterable[Any] = model.parameters() if hasattr(model, "parameters") else model
    params = [p for p in params if not isinstance(p, Tensor) or p.requires_grad]
    if not params or not all(isinstance(p, Tensor) and p.is_leaf for p in params):
        raise ValueError("minimize: wanted a model, or leaves that require a gradient, as what to change")
    return params


def _bar(maxiter: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise MissingExtraError("minimize: progress=True needs tqdm", "progress") from error
    return tqdm(total=maxiter)
