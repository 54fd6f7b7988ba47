"""Optimisers that divide the gradient of each parameter by how large it has been: Adam and its relatives.

They average ``g**2`` with weight ``1 - beta``. The gradient arrives multiplied by the root of that, so that the square
is the term to add; that saves a pass over memory, and costs one rounding of ``g``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy import ndarray

from ..tensor import Tensor
from .flat import Group
from .optimizer import Optimizer

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "RMSprop"]


class Adam(Optimizer):
    """Adam: steps of about `lr` whatever the scale of the gradient.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        Learning rate, >= 0.
    betas : (float, float)
        Decay of the averages of the gradient and of its square; in [0, 1).
    eps : float
        Keeps the denominator from 0; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    amsgrad : bool
        Divide by the largest average so far.
    maximize : bool
        Go up instead of down.
    decoupled_weight_decay : bool
        Take ``lr * weight_decay * p`` off `p` instead, as `AdamW` does.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    In step t: ``m = b1 * m + (1 - b1) * g``, ``v = b2 * v + (1 - b2) * g**2``,
    ``p -= lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps)`` [1]_. AMSGrad puts the largest `v` so far in its
    place [2]_.

    References
    ----------
    .. [1] Kingma and Ba, *Adam: a method for stochastic optimization* (2015), algorithm 1.
    .. [2] Reddi, Kale and Kumar, *On the convergence of Adam and beyond* (2018), algorithm 2.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> Adam([w], lr=0.1).step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _scale(self, group: Group) -> float:
        return math.sqrt(1 - group["betas"][1])

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
        lr, (one, two), t, scale = group["lr"], group["betas"], counts["step"], self._scale(group)
        m, v = slots["exp_avg"], slots["exp_avg_sq"]
        p = _decayed(group, p, g, out, spare, scale)
        v *= two
        v += np.multiply(g, g, out=spare)
        m *= one
        g *= (1 - one) / scale
        m += g
        if group["amsgrad"]:
            v = np.maximum(slots["max_exp_avg_sq"], v, out=slots["max_exp_avg_sq"])
        # Both averages start at 0 and are too small at first, by 1 - beta**t. That of v is taken out of the root and
        # into the step, where eps must follow it: section 2 of the paper.
        root = math.sqrt(1 - two**t)
        np.sqrt(v, out=spare)
        spare += group["eps"] * root
        np.divide(m, spare, out=spare)
        spare *= lr * root / (1 - one**t)
        np.subtract(p, spare, out=out)


class AdamW(Adam):
    """Adam with weight decay that does not pass through the averages.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        As for `Adam`.
    weight_decay : float
        Takes ``lr * weight_decay * p`` off `p` in each step; >= 0.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    ``p = (1 - lr * weight_decay) * p``, then a step of Adam without decay.

    References
    ----------
    Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), algorithm 2, with the factor `lr` that
    PyTorch puts before the decay.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (0 * w).backward()
    >>> AdamW([w], lr=0.1, weight_decay=0.5).step()
    >>> w.item()
    0.95
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead.

    Parameters
    ----------
    params, betas, eps, weight_decay, maximize, decoupled_weight_decay
        As for `Adam`.
    lr : float
        Learning rate, >= 0.
    momentum_decay : float
        How fast the momentum approaches ``betas[0]``; >= 0.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    With ``mu(t) = b1 * (1 - 0.96**(t * momentum_decay) / 2)`` and ``M(t) = mu(1) * ... * mu(t)``, and `m` and `v` as in
    Adam: ``p -= lr * (mu(t+1) * m / (1 - M(t+1)) + (1 - mu(t)) * g / (1 - M(t))) / (sqrt(v / (1 - b2**t)) + eps)``.

    References
    ----------
    Dozat, *Incorporating Nesterov momentum into Adam* (2016), algorithm 2.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> NAdam([w], lr=0.1).step()
    >>> round(w.item(), 3)
    0.894
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _scale(self, group: Group) -> float:
        return math.sqrt(1 - group["betas"][1])

    def _count(self, group: Group, counts: dict[str, Any]) -> None:
        super()._count(group, counts)
        counts["mu_product"] = counts.get("mu_product", 1.0) * _mu(group, counts["step"])

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
        lr, (one, two), t, scale = group["lr"], group["betas"], counts["step"], self._scale(group)
        m, v = slots["exp_avg"], slots["exp_avg_sq"]
        now, ahead = _mu(group, t), _mu(group, t + 1)
        p = _decayed(group, p, g, out, spare, scale)
        v *= two
        v += np.multiply(g, g, out=spare)
        m *= one
        m += np.multiply(g, (1 - one) / scale, out=spare)
        g *= (1 - now) / (1 - counts["mu_product"]) / scale
        g += np.multiply(m, ahead / (1 - counts["mu_product"] * ahead), out=spare)
        root = math.sqrt(1 - two**t)
        np.sqrt(v, out=spare)
        spare += group["eps"] * root
        np.divide(g, spare, out=spare)
        spare *= lr * root
        np.subtract(p, spare, out=out)


def _mu(group: Group, t: int) -> float:
    """Dozat's schedule of the momentum."""
    decay: float = group["betas"][0] * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"]))
    return decay


def _decayed(group: Group, p: ndarray, g: ndarray, out: ndarray, spare: ndarray, scale: float) -> ndarray:
    """The parameters to step from; the decay is in them, or has been added to the gradient."""
    decay = group["weight_decay"]
    if decay and group.get("decoupled_weight_decay", False):
        np.multiply(p, 1 - group["lr"] * decay, out=out)
        return out
    if decay:
        g += np.multiply(p, scale * decay, out=spare)
    return p


class RMSprop(Optimizer):
    """The gradient divided by the root of the average of its square.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        Learning rate, >= 0.
    alpha : float
        Decay of the averages, in [0, 1).
    eps : float
        Keeps the denominator from 0; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    momentum : float
        In [0, 1).
    centered : bool
        Divide by the standard deviation: take the square of the average off the average of the square.
    maximize : bool
        Go up instead of down.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    ``s = alpha * s + (1 - alpha) * g**2``; centered, ``a = alpha * a + (1 - alpha) * g`` and ``s - a**2`` stands for
    `s` below [2]_. ``u = g / (sqrt(s) + eps)``; ``b = momentum * b + u``, ``p -= lr * b``.

    References
    ----------
    .. [1] Hinton, *Neural networks for machine learning*, lecture 6e (2012).
    .. [2] Graves, *Generating sequences with recurrent neural networks* (2013), eqs. 38-45, without its constants.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> RMSprop([w], lr=0.01).step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
        )

    def _slots(self, group: Group) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if group["momentum"] else ()
        return "square_avg", *momentum, *(("grad_avg",) if group["centered"] else ())

    def _scale(self, group: Group) -> float:
        return math.sqrt(1 - group["alpha"])

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
        lr, alpha, scale, s = group["lr"], group["alpha"], self._scale(group), slots["square_avg"]
        _decayed(group, p, g, out, spare, scale)
        s *= alpha
        s += np.multiply(g, g, out=spare)
        if group["centered"]:
            a = slots["grad_avg"]
            a *= alpha
            a += np.multiply(g, scale, out=spare)
            np.subtract(s, np.multiply(a, a, out=spare), out=spare)
            np.maximum(spare, 0, out=spare)  # a constant gradient has no variance, and rounding may take it below
            np.sqrt(spare, out=spare)
        else:
            np.sqrt(s, out=spare)
        spare += group["eps"]
        np.divide(g, spare, out=spare)
        if group["momentum"]:
            b = slots["momentum_buffer"]
            spare *= 1 / scale
            b *= group["momentum"]
            b += spare
            np.multiply(b, lr, out=spare)
        else:
            spare *= lr / scale
        np.subtract(p, spare, out=out)


class Adagrad(Optimizer):
    """The gradient divided by the root of the sum of all its squares so far.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        Learning rate, >= 0.
    lr_decay : float
        How the learning rate falls with the number of steps; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    initial_accumulator_value : float
        Where the sum starts; >= 0.
    eps : float
        Keeps the denominator from 0; >= 0.
    maximize : bool
        Go up instead of down.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    In step t: ``s = s + g**2``, ``p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)``.

    References
    ----------
    Duchi, Hazan and Singer, *Adaptive subgradient methods for online learning and stochastic optimization* (2011),
    section 1.1, the diagonal form.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> Adagrad([w], lr=0.1).step()
    >>> round(w.item(), 6)
    0.9
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("sum",)

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
        s, t = slots["sum"], counts["step"]
        if t == 1:
            s.fill(group["initial_accumulator_value"])
        _decayed(group, p, g, out, spare, 1.0)
        s += np.multiply(g, g, out=spare)
        np.sqrt(s, out=spare)
        spare += group["eps"]
        np.divide(g, spare, out=spare)
        spare *= group["lr"] / (1 + (t - 1) * group["lr_decay"])
        np.subtract(p, spare, out=out)


class Adadelta(Optimizer):
    """Steps as large as the steps before, as the units of the parameters ask; no learning rate to choose.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        A factor of the whole step, >= 0; 1 in the paper.
    rho : float
        Decay of the averages, in [0, 1).
    eps : float
        What the first steps grow from; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    maximize : bool
        Go up instead of down.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    ``s = rho * s + (1 - rho) * g**2``, ``u = sqrt(d + eps) / sqrt(s + eps) * g``, ``d = rho * d + (1 - rho) * u**2``,
    ``p -= lr * u``.

    References
    ----------
    Zeiler, *ADADELTA: an adaptive learning rate method* (2012), algorithm 1.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> Adadelta([w]).step()
    >>> round(w.item(), 6)
    0.996838
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("square_avg", "acc_delta")

    def _scale(self, group: Group) -> float:
        return math.sqrt(1 - group["rho"])

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
        rho, scale, s, d = group["rho"], self._scale(group), slots["square_avg"], slots["acc_delta"]
        _decayed(group, p, g, out, spare, scale)
        s *= rho
        s += np.multiply(g, g, out=spare)
        np.sqrt(np.add(d, group["eps"], out=spare), out=spare)
        g *= spare
        np.sqrt(np.add(s, group["eps"], out=spare), out=spare)
        g /= spare  # the step u, still times `scale`
        np.subtract(p, np.multiply(g, group["lr"] / scale, out=spare), out=out)
        d *= rho
        d += np.multiply(g, g, out=spare)
