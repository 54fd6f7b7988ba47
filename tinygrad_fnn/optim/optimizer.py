"""What optimisers that step along the gradients in `.grad` share: groups of parameters, checks, state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..modes import effect
from ..tensor import Tensor
from .flat import Group, Vector

__all__ = ["Optimizer", "in_range"]

# Where a hyperparameter of this name may lie, low <= value < high; of other names a user's optimiser may have any.
_RANGES: Final = {
    "lr": (0, math.inf),
    "momentum": (0, 1),
    "dampening": (0, math.inf),
    "weight_decay": (0, math.inf),
    "betas": (0, 1),
    "eps": (0, math.inf),
    "alpha": (0, 1),
    "rho": (0, 1),
    "lr_decay": (0, math.inf),
    "initial_accumulator_value": (0, math.inf),
    "momentum_decay": (0, math.inf),
    "tolerance_grad": (0, math.inf),
    "tolerance_change": (0, math.inf),
    "etas": (0, math.inf),
    "step_sizes": (0, math.inf),
}
_PAIRS: Final = ("betas", "etas", "step_sizes")
_FLAGS: Final = ("maximize", "nesterov", "amsgrad", "centered", "decoupled_weight_decay")


def in_range(caller: str, name: str, value: Any, low: float, high: float) -> float:
    """`value` as a float if it lies in [low, high), refused otherwise."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < high:
        raise ValueError(f"{caller}: {name} is {value!r}, wanted a number in [{low:g}, {high:g})")
    return float(value)


class Optimizer:
    """An update rule together with the parameters it is for and the state it keeps.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Leaves, each once; or groups of them, ``{"params": [...], "lr": 0.1}``, with hyperparameters of their own.
        One that is frozen, or has no gradient when a step is taken, is skipped.
    **defaults
        Hyperparameters of the groups that do not have their own.

    Attributes
    ----------
    param_groups : list of dict
        'params', and every hyperparameter by name; what is changed here counts from the next step on.

    Raises
    ------
    TypeError
        If something else than leaves is among the parameters.
    ValueError
        If there are none that require a gradient, one comes twice, or a hyperparameter is unknown or out of range.

    Notes
    -----
    A subclass writes `_update`, which is given all parameters of a group as one vector, and the names of the vectors
    it keeps in `_slots`. `step` never writes to values that have been used: graphs recorded before it keep theirs.

    Examples
    --------
    >>> class SignDescent(Optimizer):
    ...     def __init__(self, params, lr=0.01):
    ...         super().__init__(params, lr=lr)
    ...
    ...     def _update(self, group, counts, p, g, out, spare, slots):
    ...         np.subtract(p, group["lr"] * np.sign(g), out=out)
    >>> w = Tensor([3.0, -2.0], requires_grad=True)
    >>> (w**2).sum().backward()
    >>> SignDescent([w], lr=0.5).step()
    >>> w.data
    array([ 2.5, -1.5])
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], **defaults: Any) -> None:  # Any: hyperparameters
        name = type(self).__name__
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            hint = "model.parameters()" if callable(params) else "[p]"
            raise TypeError(f"{name}: params is a {type(params).__name__}, wanted an iterable of leaves; pass {hint}")
        self.defaults = self._checked(defaults)
        self.param_groups: list[Group] = []
        self._vectors: list[list[Vector]] = []
        given: list[Any] = list(params)
        if not given:
            raise ValueError(f"{name}: no parameters; pass model.parameters()")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)
        if not any(p.requires_grad for group in self.param_groups for p in group["params"]):
            raise ValueError(f"{name}: no parameter requires a gradient; is everything frozen?")

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:  # Any: hyperparameters
        """Update further parameters from now on.

        Parameters
        ----------
        param_group : dict
            'params', a leaf or an iterable of leaves, and hyperparameters that differ from the defaults.

        Raises
        ------
        TypeError, ValueError
            As for the constructor; nothing has been added then.
        """
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f'{name}: a parameter group is a dict with "params"; got {param_group!r:.80}')
        group = {**self.defaults, **param_group}
        unknown = sorted(set(group) - {"params", *self.defaults})
        if unknown:
            raise ValueError(f"{name}: no hyperparameter {', '.join(unknown)}; there are {', '.join(self.defaults)}")
        params = group.pop("params")
        params = [params] if isinstance(params, Tensor) else list(params)
        if not params:
            raise ValueError(f"{name}: no parameters in the group; pass model.parameters()")
        for k, p in enumerate(params):
            if not isinstance(p, Tensor) or not p.is_leaf or p.dtype.kind != "f":
                raise TypeError(f"{name}: params[{k}] is no leaf that requires a gradient: {p!r:.80}")
        seen = [id(p) for other in self.param_groups for p in other["params"]] + [id(p) for p in params]
        if len(set(seen)) < len(seen):
            raise ValueError(f"{name}: a parameter is listed twice and would be updated twice")
        self.param_groups.append({"params": params, **self._checked(group)})
        self._vectors.append(_vectors(params, [{} for _ in params]))

    def _checked(self, group: Group) -> Group:
        """The hyperparameters of a group, in range."""
        name = type(self).__name__
        checked: Group = {}
        for key, value in group.items():
            if key in _FLAGS:
                if not isinstance(value, bool | np.bool_):
                    raise ValueError(f"{name}: {key} is {value!r}, wanted True or False")
                checked[key] = bool(value)
            elif key in _PAIRS:
                if not isinstance(value, tuple | list) or len(value) != 2:
                    raise ValueError(f"{name}: {key} is {value!r}, wanted two numbers")
                checked[key] = tuple(in_range(name, f"{key}[{k}]", v, *_RANGES[key]) for k, v in enumerate(value))
            elif key in _RANGES:
                checked[key] = in_range(name, key, value, *_RANGES[key])
            else:
                checked[key] = value
        return checked

    # --- training -----------------------------------------------------------------------------------------------

    @effect
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the accumulated gradients; with ``set_to_none=False`` they become zeros, and still count as given."""
        for group in self.param_groups:
            for p in group["params"]:
                node = p._node
                if node is not None:  # else it is frozen
                    nothing = set_to_none or node.grad is None
                    node.grad = None if nothing else np.zeros(node.shape, node.dtype)

    @effect
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update each parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes the cost and the gradients first.

        Returns
        -------
        What `closure` returned; None without it.
        """
        cost = None if closure is None else closure()
        for k, group in enumerate(self.param_groups):
            if not all(vector.fits() for vector in self._vectors[k]):  # the model has been converted to another dtype
                self._vectors[k] = _vectors(group["params"], self._states(k))
            for vector in self._vectors[k]:
                vector.step(self, group)
        return cost

    def _slots(self, group: Group) -> tuple[str, ...]:
        """The names of the vectors that are kept for this group; zero at first."""
        return ()

    def _scale(self, group: Group) -> float:
        """By what `_update` wants the gradient multiplied."""
        return 1.0

    def _count(self, group: Group, counts: dict[str, Any]) -> None:
        """Bring up to date what is counted: 'step' is 1 in the first `_update` of a parameter."""
        counts["step"] = counts.get("step", 0) + 1

    def _update(
        self,
        group: Group,
        counts: dict[str, Any],
        p: ndarray,
        g: ndarray,
        out: ndarray,
        spare: ndarray,
        slots: dict[str, ndarray],
    ) -> None:
        """Write the new values of a stretch of parameters to `out`, and its new state to `slots`.

        Parameters
        ----------
        group, counts
            Hyperparameters, and what has been counted.
        p : ndarray, shape (n,)
            The values; may be `out` itself, so that nothing is written there before `p` has been read.
        g, spare : ndarray, shape (n,)
            The gradient times `_scale`, and nothing; both to be written to freely.
        out : ndarray, shape (n,)
        slots : dict of ndarray, shape (n,)
            What `_slots` named.
        """
        raise TypeError(f"{type(self).__name__} has no update rule; use SGD, Adam or a subclass that defines _update")

    # --- state --------------------------------------------------------------------------------------------------

    def _states(self, k: int) -> list[dict[str, Any]]:
        """What is kept for each parameter of group `k`."""
        found = {id(p): v.state(i) for v in self._vectors[k] for i, p in enumerate(v.params)}
        return [found[id(p)] for p in self.param_groups[k]["params"]]

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs besides the parameters: a snapshot.

        Returns
        -------
        dict
            'optimizer', the name of the class; 'param_groups', the hyperparameters, with the number of each parameter
            in 'params'; 'state', a dict for each parameter, empty where it has not been updated yet.
        """
        groups: list[Group] = []
        start = 0
        for group in self.param_groups:
            plain = {key: list(v) if isinstance(v, tuple) else v for key, v in group.items() if key != "params"}
            groups.append({**plain, "params": list(range(start, start + len(group["params"])))})
            start += len(group["params"])
        states = [state for k in range(len(groups)) for state in self._states(k)]
        return {"optimizer": type(self).__name__, "param_groups": groups, "state": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state: all of it, or nothing and an error.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` gave, of an optimiser with the same parameters in the same groups.

        Raises
        ------
        ValueError
            If it does not fit; every difference is named.
        TypeError
            If it is no mapping.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state must come from state_dict(); got a {type(state_dict).__name__}")
        wrong = self._differences(state_dict)
        if wrong:
            head = f"load_state_dict: the state does not fit this {name}; nothing was loaded"
            raise ValueError("\n  ".join([head, *wrong]))
        groups, states = state_dict["param_groups"], list(state_dict["state"])
        checked = [self._checked({key: group[key] for key in self.defaults}) for group in groups]
        for k, (group, hyper, saved) in enumerate(zip(self.param_groups, checked, groups, strict=True)):
            others = {key: value for key, value in saved.items() if key not in self.defaults and key != "params"}
            params = group["params"]
            group.update(hyper, **others)
            self._vectors[k] = _vectors(params, [states.pop(0) for _ in params])

    def _differences(self, state_dict: Mapping[str, Any]) -> list[str]:
        """In what a state differs from what this optimiser would give, a line each."""
        wrong = [f"missing: {key}" for key in ("optimizer", "param_groups", "state") if key not in state_dict]
        if wrong:
            return wrong
        if state_dict["optimizer"] != type(self).__name__:
            return [f"optimizer: it is of {state_dict['optimizer']}, wanted {type(self).__name__}"]
        groups, states = state_dict["param_groups"], state_dict["state"]
        if not isinstance(groups, list) or not all(isinstance(g, dict) and "params" in g for g in groups):
            return ["param_groups: wanted a list of dicts with params"]
        if not isinstance(states, list) or not all(isinstance(state, dict) for state in states):
            return ["state: wanted a list of dicts"]
        sizes = [len(group["params"]) for group in groups]
        wanted = [len(group["params"]) for group in self.param_groups]
        if sizes != wanted or len(states) != sum(wanted):
            return [f"parameters: it has {sizes} of them in its groups, wanted {wanted}"]
        for k, group in enumerate(groups):
            wrong += [f"missing: param_groups[{k}] {key}" for key in self.defaults if key not in group]
        if wrong:
            return wrong
        params = [p for group in self.param_groups for p in group["params"]]
        slots = [self._slots(group) for group in groups for _ in group["params"]]
        for k, (p, state, names) in enumerate(zip(params, states, slots, strict=True)):
            wrong += [f"missing: state[{k}] {key}" for key in names if state and key not in state]
            for key, value in state.items():
                if isinstance(value, ndarray) and value.shape != p.shape:
                    wrong.append(f"shape: state[{k}] {key} is {value.shape}, wanted {p.shape}")
        return wrong

    def __repr__(self) -> str:
        lines = []
        for group in self.param_groups:
            hyper = ", ".join(f"{key}={value!r}" for key, value in group.items() if key != "params")
            lines.append(f"{len(group['params'])} parameters: {hyper}")
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"


def _vectors(params: list[Tensor], states: list[dict[str, Any]]) -> list[Vector]:
    """One vector for each dtype, with what has been kept so far for each parameter."""
    by_dtype: dict[np.dtype[Any], list[int]] = {}
    for k, p in enumerate(params):
        by_dtype.setdefault(p.dtype, []).append(k)
    return [
        Vector.restored([params[k] for k in members], [states[k] for k in members]) for members in by_dtype.values()
    ]
