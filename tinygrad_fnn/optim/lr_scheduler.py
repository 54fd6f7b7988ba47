"""Learning rates that change from epoch to epoch, or from step to step.

Each schedule is a closed formula of the number of steps and of the rate it starts from, so that a resumed run has the
same rates to the last bit. PyTorch multiplies its way there for most of them; the two agree up to rounding. What is
assigned to ``group["lr"]`` by hand lasts until the next `step`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from ..modes import effect
from .flat import Group
from .optimizer import Optimizer, in_range

__all__ = ["ChainedScheduler", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ExponentialLR", "LRScheduler"]
__all__ += ["LambdaLR", "LinearLR", "MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]


def _whole(caller: str, name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ValueError(f"{caller}: {name} is {value!r}, wanted an int >= {low}")
    return int(value)


def _for_each(caller: str, name: str, value: Any, groups: list[Group]) -> list[float]:
    """A rate for each group, out of one or of several."""
    rates = [value] * len(groups) if isinstance(value, Real) else list(value)
    if len(rates) != len(groups):
        raise ValueError(f"{caller}: {name} has {len(rates)} rates for {len(groups)} groups")
    return [in_range(caller, name, rate, 0, math.inf) for rate in rates]


class _Scheduler:
    """What all schedulers share: the optimiser, and their state."""

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: optimizer is a {type(optimizer).__name__}, wanted an Optimizer")
        self.optimizer = optimizer
        self.last_epoch: float = -1

    def get_last_lr(self) -> list[float]:
        """The present learning rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def _kept(self) -> dict[str, Any]:
        """What is neither a function nor another object."""
        apart = ("optimizer", "schedulers", "lr_lambdas")
        return {key: value for key, value in vars(self).items() if key not in apart}

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs besides the optimiser, functions excepted: a snapshot."""
        kept = {key: list(v) if isinstance(v, list | tuple) else v for key, v in self._kept().items()}
        return {"scheduler": type(self).__name__, **kept, "last_lr": self.get_last_lr()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state, the learning rates of the optimiser included: all of it, or nothing and an error.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` gave, of a scheduler of this class.

        Raises
        ------
        ValueError
            If it does not fit; every difference is named.
        TypeError
            If it is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: state must come from state_dict(); got a {type(state_dict).__name__}")
        wrong = self._differences(state_dict)
        if wrong:
            head = f"load_state_dict: the state does not fit this {type(self).__name__}; nothing was loaded"
            raise ValueError("\n  ".join([head, *wrong]))
        self._load(state_dict)
        for group, lr in zip(self.optimizer.param_groups, state_dict["last_lr"], strict=True):
            group["lr"] = lr

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        for key in self._kept():
            value = state_dict[key]
            setattr(self, key, list(value) if isinstance(value, list | tuple) else value)

    def _differences(self, state_dict: Mapping[str, Any]) -> list[str]:
        """In what a state differs from what this scheduler would give, a line each."""
        mine = self.state_dict()
        if state_dict.get("scheduler") != mine["scheduler"]:
            return [f"scheduler: it is of {state_dict.get('scheduler')}, wanted {mine['scheduler']}"]
        wrong = [f"missing: {key}" for key in mine if key not in state_dict]
        wrong += [f"unexpected: {key}" for key in state_dict if key not in mine]
        for key in ("last_lr", "base_lrs"):
            if not wrong and len(state_dict.get(key, [])) != len(mine.get(key, [])):
                wrong.append(f"groups: it has {len(state_dict[key])} of them, wanted {len(mine[key])}")
        return wrong

    def __repr__(self) -> str:
        rates = ", ".join(f"{lr:g}" for lr in self.get_last_lr())
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={rates})"


class LRScheduler(_Scheduler):
    """A learning rate that is a function of the number of steps; the base of those that are.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are set, now and at each `step`. What they are now is what the schedule starts from.
    last_epoch : int
        The number of steps so far, when a run goes on; the groups then need their 'initial_lr'.

    Attributes
    ----------
    last_epoch : int
        Calls of `step`.
    base_lrs : list of float
        What the schedule starts from, for each group.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    ValueError
        If a parameter of the schedule is out of range, or `last_epoch` is given and a group has no 'initial_lr'.

    Notes
    -----
    A subclass writes `_rate`.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        self.last_epoch = _whole(type(self).__name__, "last_epoch", last_epoch, -1)
        self.base_lrs: list[float] = []
        if last_epoch != -1 and not all("initial_lr" in group for group in optimizer.param_groups):
            raise ValueError(f"{type(self).__name__}: last_epoch={last_epoch} wants group['initial_lr'] in each group")
        self.step()

    def _rate(self, t: float, base: float) -> float:
        """The rate after `t` steps that starts from `base`."""
        raise NotImplementedError(f"{type(self).__name__}: write _rate(self, t, base)")

    def _rates(self, t: float, bases: list[float]) -> list[float]:
        """The rates of all groups."""
        return [self._rate(t, base) for base in bases]

    def _set(self, t: float) -> None:
        """Give the groups their rates after `t` steps."""
        groups = self.optimizer.param_groups
        for group in groups[len(self.base_lrs) :]:  # added since
            group.setdefault("initial_lr", group["lr"])
            self.base_lrs.append(group["initial_lr"])
        self.last_epoch = t
        for group, lr in zip(groups, self._rates(t, self.base_lrs), strict=True):
            group["lr"] = lr

    @effect
    def step(self) -> None:
        """Go on by one; to be called after the optimiser's steps, once an epoch unless the schedule counts steps."""
        self._set(self.last_epoch + 1)


class LambdaLR(LRScheduler):
    """The first rate times a function of the number of steps.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    lr_lambda : callable, or list of callable
        ``lr_lambda(t)`` is the factor; one for all groups or one for each. Functions are not part of the state.

    Examples
    --------
    >>> from tinygrad_fnn import Tensor, optim
    >>> optimizer = optim.SGD([Tensor(1.0, requires_grad=True)], lr=0.1)
    >>> scheduler = LambdaLR(optimizer, lambda t: 1 / (1 + t))
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = lr_lambda if callable(lr_lambda) else list(lr_lambda)
        if not callable(self.lr_lambdas) and len(self.lr_lambdas) != len(optimizer.param_groups):
            groups = len(optimizer.param_groups)
            raise ValueError(f"LambdaLR: lr_lambda has {len(self.lr_lambdas)} functions for {groups} groups")
        super().__init__(optimizer, last_epoch)

    def _rates(self, t: float, bases: list[float]) -> list[float]:
        functions = [self.lr_lambdas] * len(bases) if callable(self.lr_lambdas) else self.lr_lambdas
        return [base * float(function(int(t))) for base, function in zip(bases, functions, strict=True)]


class StepLR(LRScheduler):
    """Times `gamma` every `step_size` steps: ``lr = base * gamma**(t // step_size)``.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    step_size : int
        >= 1.
    gamma : float
        >= 0.

    Examples
    --------
    >>> from tinygrad_fnn import Tensor, optim
    >>> optimizer = optim.SGD([Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = _whole("StepLR", "step_size", step_size, 1)
        self.gamma = in_range("StepLR", "gamma", gamma, 0, math.inf)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        return float(base * self.gamma ** (t // self.step_size))


class MultiStepLR(LRScheduler):
    """Times `gamma` at each milestone: ``lr = base * gamma**(number of milestones <= t)``.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    milestones : iterable of int
        Numbers of steps, >= 0.
    gamma : float
        >= 0.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(_whole("MultiStepLR", "milestones", m, 0) for m in milestones)
        self.gamma = in_range("MultiStepLR", "gamma", gamma, 0, math.inf)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        return float(base * self.gamma ** bisect_right(self.milestones, t))


class ExponentialLR(LRScheduler):
    """Times `gamma` at each step: ``lr = base * gamma**t``.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    gamma : float
        >= 0.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = in_range("ExponentialLR", "gamma", gamma, 0, math.inf)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        return float(base * self.gamma**t)


class LinearLR(LRScheduler):
    """A straight line from ``start_factor * base`` to ``end_factor * base`` in `total_iters` steps: a warm-up.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    start_factor : float
        In (0, 1].
    end_factor : float
        In [0, 1].
    total_iters : int
        >= 1.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        above_one = math.nextafter(1, 2)
        self.start_factor = in_range("LinearLR", "start_factor", start_factor, math.ulp(0.0), above_one)
        self.end_factor = in_range("LinearLR", "end_factor", end_factor, 0, above_one)
        self.total_iters = _whole("LinearLR", "total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        share = min(t, self.total_iters) / self.total_iters
        return base * ((1 - share) * self.start_factor + share * self.end_factor)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the first rate to `eta_min` in `T_max` steps, and back in as many more.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    T_max : int
        >= 1.
    eta_min : float
        >= 0.

    Notes
    -----
    ``lr = eta_min + (base - eta_min) * (1 + cos(pi * t / T_max)) / 2``.

    References
    ----------
    Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts* (2017), eq. 5.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = _whole("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = in_range("CosineAnnealingLR", "eta_min", eta_min, 0, math.inf)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        return _anneal(base, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the first rate to `eta_min`, over and over, each time `T_mult` times as long.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    T_0 : int
        Steps of the first half wave, >= 1.
    T_mult : int
        >= 1.
    eta_min : float
        >= 0.

    References
    ----------
    Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts* (2017), eq. 5.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = _whole("CosineAnnealingWarmRestarts", "T_0", T_0, 1)
        self.T_mult = _whole("CosineAnnealingWarmRestarts", "T_mult", T_mult, 1)
        self.eta_min = in_range("CosineAnnealingWarmRestarts", "eta_min", eta_min, 0, math.inf)
        super().__init__(optimizer, last_epoch)

    def _rate(self, t: float, base: float) -> float:
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.T_mult
        return _anneal(base, self.eta_min, t / length)

    @effect
    def step(self, epoch: float | None = None) -> None:
        """Go on by one, or to `epoch`, which may be a fraction: ``epoch + batch / batches``."""
        name = "CosineAnnealingWarmRestarts"
        self._set(self.last_epoch + 1 if epoch is None else in_range(name, "epoch", epoch, 0, math.inf))


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to far below the start, once; the momentum the other way round. Counts steps, not epochs.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`; the rate that the optimiser was made with is not used.
    max_lr : float, or list of float
        The highest rate, one for all groups or one for each.
    total_steps : int, optional
        Of the whole cycle; or give `epochs` and `steps_per_epoch`.
    pct_start : float
        Share of the steps that goes up, in [0, 1].
    anneal_strategy : {'cos', 'linear'}
        The form of each phase.
    cycle_momentum : bool
        Whether 'momentum', or the first of 'betas', goes from `max_momentum` to `base_momentum` and back.
    div_factor, final_div_factor : float
        The rate starts at ``max_lr / div_factor`` and ends at ``max_lr / div_factor / final_div_factor``.
    three_phase : bool
        Go down as steeply as up, to the start, and then to the end.

    Raises
    ------
    ValueError
        As for `LRScheduler`; also by `step` after `total_steps` of them.

    References
    ----------
    Smith and Topin, *Super-convergence: very fast training of neural networks using large learning rates* (2018).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        name = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: give total_steps, or epochs and steps_per_epoch")
            epochs, steps_per_epoch = (
                _whole(name, "epochs", epochs, 1),
                _whole(name, "steps_per_epoch", steps_per_epoch, 1),
            )
            total_steps = epochs * steps_per_epoch
        self.total_steps = _whole(name, "total_steps", total_steps, 1)
        self.pct_start = in_range(name, "pct_start", pct_start, 0, math.nextafter(1, 2))
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{name}: anneal_strategy is {anneal_strategy!r}, wanted 'cos' or 'linear'")
        self.anneal_strategy = anneal_strategy
        self.base_momentum = in_range(name, "base_momentum", base_momentum, 0, 1)
        self.max_momentum = in_range(name, "max_momentum", max_momentum, 0, 1)
        self.div_factor = in_range(name, "div_factor", div_factor, math.ulp(0.0), math.inf)
        self.final_div_factor = in_range(name, "final_div_factor", final_div_factor, math.ulp(0.0), math.inf)
        self.three_phase = three_phase
        self.cycle_momentum = cycle_momentum
        groups = optimizer.param_groups
        self.max_lrs = _for_each(name, "max_lr", max_lr, groups)
        if cycle_momentum and not all(group.get("momentum") or "betas" in group for group in groups):
            raise ValueError(f"{name}: cycle_momentum=True wants an optimizer with momentum or betas; pass False")
        super().__init__(optimizer, last_epoch)

    def _set(self, t: float) -> None:
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t:g} of a cycle of total_steps={self.total_steps}")
        super()._set(t)
        if self.cycle_momentum:
            high, low = self.max_momentum, self.base_momentum
            momentum = self._cycle(t, high, low, high, high)
            for group in self.optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (momentum, group["betas"][1])
                else:
                    group["momentum"] = momentum

    def _rates(self, t: float, bases: list[float]) -> list[float]:
        first = [lr / self.div_factor for lr in self.max_lrs]
        return [self._cycle(t, a, b, a, a / self.final_div_factor) for a, b in zip(first, self.max_lrs, strict=True)]

    def _cycle(self, t: float, first: float, top: float, again: float, last: float) -> float:
        """What goes from `first` to `top`, in three phases to `again`, and to `last`, after `t` steps."""
        up = self.pct_start * self.total_steps - 1
        phases = [(up, first, top), (self.total_steps - 1, top, last)]
        if self.three_phase:
            phases[1:] = [(2 * up, top, again), (self.total_steps - 1, again, last)]
        begin = 0.0
        for end, start, stop in phases:
            if t <= end:
                share = (t - begin) / (end - begin) if end > begin else 1.0
                return _anneal(start, stop, share) if self.anneal_strategy == "cos" else start + (stop - start) * share
            begin = end
        return last


class _Several(LRScheduler):
    """Schedules made of others, all of one optimiser."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None, last_epoch: int) -> None:
        name = type(self).__name__
        self.schedulers = list(schedulers)
        if not self.schedulers:
            raise ValueError(f"{name}: no schedulers")
        for k, inner in enumerate(self.schedulers):
            if not isinstance(inner, LRScheduler):
                raise TypeError(f"{name}: schedulers[{k}] is a {type(inner).__name__}, wanted an LRScheduler")
            optimizer = inner.optimizer if optimizer is None else optimizer
            if inner.optimizer is not optimizer:
                raise ValueError(f"{name}: schedulers[{k}] is of another optimizer")
        assert optimizer is not None
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """As of every scheduler, with the states of those inside."""
        return {**super().state_dict(), "schedulers": [inner.state_dict() for inner in self.schedulers]}

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        super()._load(state_dict)
        for inner, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            inner._load(state)

    def _differences(self, state_dict: Mapping[str, Any]) -> list[str]:
        wrong = super()._differences(state_dict)
        if wrong:
            return wrong
        states = state_dict["schedulers"]
        if len(states) != len(self.schedulers):
            return [f"schedulers: it has {len(states)} of them, wanted {len(self.schedulers)}"]
        pairs = enumerate(zip(self.schedulers, states, strict=True))
        return [f"schedulers[{k}] {line}" for k, (inner, state) in pairs for line in inner._differences(state)]


class SequentialLR(_Several):
    """One schedule after the other, each counting from its own beginning: a warm-up and then a decay.

    Parameters
    ----------
    optimizer, last_epoch
        As for `LRScheduler`.
    schedulers : list of LRScheduler
        Of the same optimiser.
    milestones : list of int
        When the second begins, the third and so on; ascending, >= 1.

    Examples
    --------
    >>> from tinygrad_fnn import Tensor, optim
    >>> optimizer = optim.SGD([Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> scheduler = SequentialLR(optimizer, [warm_up, StepLR(optimizer, 1, gamma=0.1)], milestones=[2])
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self.milestones = [_whole("SequentialLR", "milestones", m, 1) for m in milestones]
        ascending = sorted(set(self.milestones)) == self.milestones
        if schedulers and not (ascending and len(self.milestones) == len(schedulers) - 1):
            wanted = f"{len(schedulers) - 1} ascending numbers for {len(schedulers)} schedulers"
            raise ValueError(f"SequentialLR: milestones is {milestones!r}, wanted {wanted}")
        super().__init__(schedulers, optimizer, last_epoch)

    def _set(self, t: float) -> None:
        k = bisect_right(self.milestones, t)
        self.schedulers[k]._set(t - [0, *self.milestones][k])
        self.last_epoch = t


class ChainedScheduler(_Several):
    """Several schedules at once: each starts from the rate that the one before it gives.

    Parameters
    ----------
    schedulers : list of LRScheduler
        Of one optimiser; closed formulas of the rate, which `OneCycleLR` and `SequentialLR` are not.
    optimizer : Optimizer, optional
        Theirs.

    Notes
    -----
    Schedules that multiply give the product of their factors. Of one with an `eta_min`, PyTorch's recursion makes
    something else than this.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if any(isinstance(inner, OneCycleLR | SequentialLR) for inner in schedulers):
            raise ValueError("ChainedScheduler: OneCycleLR and SequentialLR do not start from another rate")
        super().__init__(schedulers, optimizer, -1)

    def _rates(self, t: float, bases: list[float]) -> list[float]:
        for inner in self.schedulers:
            bases = inner._rates(t, bases)
        return bases

    def _set(self, t: float) -> None:
        super()._set(t)
        for inner in self.schedulers:
            inner.last_epoch = t


def _anneal(start: float, stop: float, share: float) -> float:
    """Half a cosine wave from `start` at share 0 to `stop` at 1."""
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


class ReduceLROnPlateau(_Scheduler):
    """Times `factor` whenever a figure has not become better for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose rates are changed.
    mode : {'min', 'max'}
        Whether lower figures are better, or higher ones.
    factor : float
        In [0, 1).
    patience : int
        >= 0.
    threshold : float
        By how much a figure must be better to count, >= 0; `threshold_mode` says of what.
    threshold_mode : {'rel', 'abs'}
        Better than ``best * (1 - threshold)``, or than ``best - threshold``; with `mode` 'max', plus.
    cooldown : int
        Steps after a reduction in which nothing is counted, >= 0.
    min_lr : float, or list of float
        Not below this, one for all groups or one for each.
    eps : float
        No reduction by less.

    Examples
    --------
    >>> from tinygrad_fnn import Tensor, optim
    >>> optimizer = optim.SGD([Tensor(1.0, requires_grad=True)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in [3.0, 2.0, 2.0, 2.0]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.1]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        name = "ReduceLROnPlateau"
        if mode not in ("min", "max"):
            raise ValueError(f"{name}: mode is {mode!r}, wanted 'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{name}: threshold_mode is {threshold_mode!r}, wanted 'rel' or 'abs'")
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = in_range(name, "factor", factor, 0, 1)
        self.patience = _whole(name, "patience", patience, 0)
        self.threshold = in_range(name, "threshold", threshold, 0, math.inf)
        self.cooldown = _whole(name, "cooldown", cooldown, 0)
        self.eps = in_range(name, "eps", eps, 0, math.inf)
        self.min_lrs = _for_each(name, "min_lr", min_lr, optimizer.param_groups)
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def _better(self, figure: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * figure < sign * self.best * (1 - sign * self.threshold)
        return sign * figure < sign * self.best - self.threshold

    @effect
    def step(self, metrics: Any) -> None:
        """Look at a new figure, a number or what converts to one; a NaN is no better than anything."""
        figure = float(metrics.item() if hasattr(metrics, "item") else metrics)
        self.last_epoch += 1
        if self._better(figure):
            self.best, self.num_bad_epochs = figure, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _reduce(self) -> None:
        groups: list[Group] = self.optimizer.param_groups
        self.min_lrs += [self.min_lrs[-1]] * (len(groups) - len(self.min_lrs))  # of groups added since
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, lowest)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
