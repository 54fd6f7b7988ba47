"""Optimisers that step along the gradient, or along its sign: SGD and Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy import ndarray

from ..tensor import Tensor
from .flat import Group
from .optimizer import Optimizer

__all__ = ["SGD", "Rprop"]


class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's look ahead.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        Learning rate, >= 0.
    momentum : float
        In [0, 1).
    dampening : float
        By how much less than whole the gradient counts for the momentum; >= 0.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient; >= 0.
    nesterov : bool
        Look ahead along the momentum.
    maximize : bool
        Go up instead of down.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`; also for Nesterov without momentum, or with dampening.

    Notes
    -----
    ``v = g`` in the first step and ``v = momentum * v + (1 - dampening) * g`` later; ``p -= lr * v``, or
    ``p -= lr * (g + momentum * v)`` with Nesterov [1]_, in the form that PyTorch uses too.

    References
    ----------
    .. [1] Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013), eqs. 3-4.

    Examples
    --------
    >>> w = Tensor(1.0, requires_grad=True)
    >>> (w**2).backward()
    >>> SGD([w], lr=0.1).step()
    >>> w.item()
    0.8
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def _checked(self, group: Group) -> Group:
        checked = super()._checked(group)
        if checked["nesterov"] and not checked["momentum"]:
            raise ValueError("SGD: nesterov=True looks ahead along the momentum, which is 0")
        if checked["nesterov"] and checked["dampening"]:
            raise ValueError(f"SGD: nesterov=True wants dampening=0; it is {checked['dampening']:g}")
        return checked

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _scale(self, group: Group) -> float:
        return 1.0 if group["momentum"] else float(group["lr"])  # without momentum the gradient is the step

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
        momentum, lr = group["momentum"], group["lr"]
        if group["weight_decay"]:
            g += np.multiply(p, self._scale(group) * group["weight_decay"], out=spare)
        if not momentum:
            np.subtract(p, g, out=out)
            return
        v = slots["momentum_buffer"]
        if counts["step"] == 1:
            v[...] = g
        else:
            v *= momentum
            v += np.multiply(g, 1 - group["dampening"], out=spare) if group["dampening"] else g
        step = v
        if group["nesterov"]:
            g += np.multiply(v, momentum, out=spare)
            step = g
        np.subtract(p, np.multiply(step, lr, out=spare), out=out)


class Rprop(Optimizer):
    """Resilient backpropagation: a step size for each parameter, of which only the sign of the gradient decides.

    For whole batches: the noise of small ones changes signs at random.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        What to update; see `Optimizer`.
    lr : float
        The first step size, >= 0.
    etas : (float, float)
        Factors of the step size where the sign has changed, in (0, 1), and where it has not, > 1.
    step_sizes : (float, float)
        The smallest and the largest step size.
    maximize : bool
        Go up instead of down.

    Raises
    ------
    TypeError, ValueError
        As for `Optimizer`.

    Notes
    -----
    With ``c = sign(g) * sign(g of the step before)``, 0 in the first step: the step size ``d`` becomes
    ``clip(d * etas[1], *step_sizes)`` where ``c`` is 1 and ``clip(d * etas[0], *step_sizes)`` where it is -1; ``g``
    counts as 0 where ``c`` is -1, now and in the next step; ``p -= d * sign(g)``. This is the form without weight
    backtracking, iRprop- [2]_, which PyTorch has too.

    References
    ----------
    .. [1] Riedmiller and Braun, *A direct adaptive method for faster backpropagation learning: the RPROP algorithm*
       (1993).
    .. [2] Igel and Hüsken, *Improving the Rprop learning algorithm* (2000), section 2.3.

    Examples
    --------
    >>> w = Tensor([1.0, -100.0], requires_grad=True)
    >>> (w**2).sum().backward()
    >>> Rprop([w], lr=0.5).step()
    >>> w.data
    array([  0.5, -99.5])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Group],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)

    def _checked(self, group: Group) -> Group:
        checked = super()._checked(group)
        if not 0 < checked["etas"][0] < 1 < checked["etas"][1]:
            raise ValueError(f"Rprop: etas is {group['etas']!r}, wanted 0 < etas[0] < 1 < etas[1]")
        if checked["step_sizes"][0] > checked["step_sizes"][1]:
            raise ValueError(f"Rprop: step_sizes is {group['step_sizes']!r}, wanted the smaller one first")
        return checked

    def _slots(self, group: Group) -> tuple[str, ...]:
        return ("prev", "step_size")

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
        last, size = slots["prev"], slots["step_size"]
        if counts["step"] == 1:
            size.fill(group["lr"])
        np.sign(g, out=g)  # of each factor, since the product of small gradients may round to 0
        np.multiply(g, last, out=spare)
        turned = spare < 0
        np.multiply(size, group["etas"][1], out=size, where=spare > 0)
        np.multiply(size, group["etas"][0], out=size, where=turned)
        np.clip(size, *group["step_sizes"], out=size)
        g[turned] = 0
        last[...] = g
        np.subtract(p, np.multiply(g, size, out=spare), out=out)
