"""L-BFGS as an optimiser: some iterations per step, each of which may evaluate a closure several times."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from ..modes import effect
from ..tensor import Tensor
from .flat import Group, store, unrolled
from .lbfgs import _Point, _search, _times_inverse_hessian
from .optimizer import Optimizer

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """L-BFGS, for a cost of all data: each step iterates on a closure that computes cost and gradients.

    Parameters
    ----------
    params : iterable of Tensor
        What to update; one group.
    lr : float
        Length of the step without a line search, and the first one tried with it; >= 0.
    max_iter : int
        The most iterations in a step, >= 1.
    max_eval : int, optional
        No further iteration once the closure has been called this often in a step; ``max_iter * 5 // 4`` by default.
    tolerance_grad : float
        Ends a step when no entry of the gradient is larger.
    tolerance_change : float
        Ends a step when no parameter, or the cost, changes by more.
    history_size : int
        How many steps the approximation of the Hessian remembers, >= 1.
    line_search_fn : {'strong_wolfe', None}
        How to find the length of a step; None takes `lr` as it is, the first time divided by the sum of ``abs(g)``
        where that is above 1.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    ``p += t * d``, ``d = -H g``: `H` is made from the last changes ``s`` of the parameters and ``y`` of the gradient
    by two loops over them [1]_; pairs with ``s.y <= 1e-10`` are left out. The line search is that of `minimize`, for
    the strong Wolfe conditions [2]_. `minimize` needs no closure with `backward` and stops by itself.

    References
    ----------
    .. [1] Nocedal and Wright, *Numerical Optimization* (2006), algorithms 7.4 and 7.5.
    .. [2] The same, algorithms 3.5 and 3.6.

    Examples
    --------
    >>> w = Tensor([3.0, -2.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     cost = ((w - 1) ** 4).sum()
    ...     cost.backward()
    ...     return cost
    >>> optimizer.step(closure).item()
    97.0
    >>> closure().item() < 1e-6
    True
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            max_iter=max_iter,
            max_eval=max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        self._iterations = self._evaluations = 0
        self._last: tuple[ndarray, ndarray] | None = None  # the last change of the parameters, the gradient before it
        self._pairs: deque[tuple[ndarray, ndarray, float]] = deque(maxlen=self.param_groups[0]["history_size"])

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:  # Any: hyperparameters
        """Refused after the first group: one Hessian belongs to all parameters."""
        if self.param_groups:
            raise ValueError("LBFGS: one group only, since one Hessian belongs to all parameters")
        super().add_param_group(param_group)

    def _checked(self, group: Group) -> Group:
        checked = super()._checked(group)
        for key in ("max_iter", "history_size", "max_eval"):
            value = group[key]
            if key == "max_eval" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"LBFGS: {key} is {value!r}, wanted an int >= 1")
            checked[key] = int(value)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f"LBFGS: line_search_fn is {group['line_search_fn']!r}, wanted 'strong_wolfe' or None")
        return checked

    @effect
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate at most `max_iter` times.

        Parameters
        ----------
        closure : callable
            Forgets the gradients, computes the cost, calls `backward`, and returns the cost: a scalar Tensor or a
            number.

        Returns
        -------
        What `closure` returned at first.

        Raises
        ------
        TypeError
            If `closure` is missing.
        """
        if not callable(closure):
            raise TypeError("LBFGS: step wants a closure that calls zero_grad and backward and returns the cost")
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        before = self._evaluations
        limit = group["max_iter"] * 5 // 4 if group["max_eval"] is None else group["max_eval"]

        def point(returned: Any, step: float, x: ndarray, d: ndarray) -> _Point:
            self._evaluations += 1
            g = _gradient(params)
            cost = returned.item() if isinstance(returned, Tensor) else float(returned)
            return _Point(step, cost, float(g @ d), x, g)

        def at(step: float, x: ndarray, d: ndarray) -> _Point:
            there = x + step * d
            store(params, there)
            return point(closure(), step, there, d)

        first = closure()
        x = unrolled(params)
        here = point(first, 0.0, x, np.zeros_like(x))
        for turn in range(1, group["max_iter"] + 1):
            if np.abs(here.g).max(initial=0.0) <= group["tolerance_grad"]:
                break
            self._iterations += 1
            self._remember(here.g)
            d = -_times_inverse_hessian(here.g, self._pairs)
            start = here._replace(step=0.0, slope=float(here.g @ d))
            if start.slope > -group["tolerance_change"]:
                break
            length = group["lr"]
            if self._iterations == 1:
                length *= min(1.0, 1 / float(np.abs(start.g).sum()))
            if group["line_search_fn"] is None:
                if turn == group["max_iter"]:  # the next step begins with the cost here
                    store(params, start.x + length * d)
                    self._last = length * d, start.g
                    break
                here = at(length, start.x, d)
            else:
                found = _search(lambda step, start=start, d=d: at(step, start.x, d), start, length)  # type: ignore[misc]  # bound now
                if found is None:  # the precision of the cost is reached
                    store(params, start.x)
                    break
                here = found
                store(params, here.x)
            change = here.step * d
            self._last = change, start.g
            if self._evaluations - before >= limit or np.abs(change).max() <= group["tolerance_change"]:
                break
            if abs(here.cost - start.cost) < group["tolerance_change"]:
                break
        return first

    def _remember(self, g: ndarray) -> None:
        """Add what the last change says about the Hessian, now that the gradient after it is known."""
        if self._last is not None:
            s, y = self._last[0], g - self._last[1]
            curvature = float(s @ y)
            if curvature > 1e-10:
                self._pairs.append((s, y, 1 / curvature))
            self._last = None

    # --- state --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """As of every optimiser, with what the search remembers under 'search'."""
        s, y = [s.copy() for s, _, _ in self._pairs], [y.copy() for _, y, _ in self._pairs]
        last = None if self._last is None else [part.copy() for part in self._last]
        counts = {"iterations": self._iterations, "evaluations": self._evaluations}
        return {**super().state_dict(), "search": {**counts, "s": s, "y": y, "last": last}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As of every optimiser: all of it, or nothing and an error."""
        super().load_state_dict(state_dict)
        search = state_dict["search"]
        self._iterations, self._evaluations = search["iterations"], search["evaluations"]
        last = search["last"]
        self._last = None if last is None else (last[0].copy(), last[1].copy())
        pairs = [(s.copy(), y.copy(), 1 / float(s @ y)) for s, y in zip(search["s"], search["y"], strict=True)]
        self._pairs = deque(pairs, maxlen=self.param_groups[0]["history_size"])

    def _differences(self, state_dict: Mapping[str, Any]) -> list[str]:
        wrong = super()._differences(state_dict)
        if wrong or "search" not in state_dict:
            return wrong or ["missing: search"]
        search, n = state_dict["search"], sum(p.size for p in self.param_groups[0]["params"])
        missing = {"iterations", "evaluations", "s", "y", "last"} - set(search)
        if missing:
            return [f"missing: search {key}" for key in sorted(missing)]
        vectors = [*search["s"], *search["y"], *(search["last"] or [])]
        if len(search["s"]) != len(search["y"]) or any(np.shape(vector) != (n,) for vector in vectors):
            return [f"search: its vectors are not pairs of {n} numbers"]
        return []


def _gradient(params: list[Tensor]) -> ndarray:
    """The gradients, one after the other, in float64; zeros where there is none."""
    return np.concatenate([np.zeros(p.size) if p.grad is None else p.grad.ravel() for p in params]).astype(float)
