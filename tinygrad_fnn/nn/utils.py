"""What is done to the gradients between `backward` and `step`: clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy import ndarray

from ..modes import effect
from ..tensor import Node, Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


@effect
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by one factor, so that their norm together is at most `max_norm`.

    Parameters
    ----------
    parameters : iterable of Tensor, or Tensor
        Whose gradients are scaled; those without one are skipped.
    max_norm : float
        >= 0.
    norm_type : float
        p of the p-norm, > 0; ``inf`` for the largest entry.
    error_if_nonfinite : bool
        Raise if the norm is infinite or NaN, and change nothing. Otherwise the gradients become 0 or NaN.

    Returns
    -------
    float
        The norm before; 0 without gradients.

    Raises
    ------
    TypeError
        If something else than tensors is among the parameters.
    ValueError
        If `max_norm` or `norm_type` is out of range.
    FloatingPointError
        If the norm is not finite and `error_if_nonfinite`.

    Notes
    -----
    The factor is ``max_norm / (norm + 1e-6)`` where that is below 1, as in PyTorch. Gradients get new arrays: one that
    somebody holds does not change under him.

    References
    ----------
    Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks* (2013), algorithm 1.

    Examples
    --------
    >>> w = Tensor([3.0, 4.0], requires_grad=True)
    >>> (w**2 / 2).sum().backward()
    >>> clip_grad_norm_([w], max_norm=1.0)
    5.0
    >>> np.round(w.grad, 6)
    array([0.6, 0.8])
    """
    max_norm = _at_least_zero("clip_grad_norm_", "max_norm", max_norm)
    if isinstance(norm_type, bool) or not isinstance(norm_type, Real) or not float(norm_type) > 0:
        raise ValueError(f"clip_grad_norm_: norm_type is {norm_type!r}, wanted a number > 0, or inf")
    graded = _graded("clip_grad_norm_", parameters)
    norm = _norm([g.ravel() for _, g in graded], float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise FloatingPointError(
            f"clip_grad_norm_: the norm of the gradients is {norm}; nothing was changed. "
            "detect_anomaly() finds where it comes from"
        )
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1 and max_norm < math.inf:  # also for NaN
        with np.errstate(invalid="ignore"):  # 0 * inf
            for node, g in graded:
                node.grad = np.multiply(g, factor, dtype=g.dtype, out=np.empty_like(g))
    return norm


@effect
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip every entry of the gradients to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : iterable of Tensor, or Tensor
        Whose gradients are clipped; those without one are skipped.
    clip_value : float
        >= 0.

    Raises
    ------
    TypeError
        If something else than tensors is among the parameters.
    ValueError
        If `clip_value` is negative.

    Examples
    --------
    >>> w = Tensor([3.0, -0.5], requires_grad=True)
    >>> (w**2 / 2).sum().backward()
    >>> clip_grad_value_([w], clip_value=1.0)
    >>> w.grad
    array([ 1. , -0.5])
    """
    clip_value = _at_least_zero("clip_grad_value_", "clip_value", clip_value)
    for node, g in _graded("clip_grad_value_", parameters):
        node.grad = np.clip(g, -clip_value, clip_value, out=np.empty_like(g))


def _at_least_zero(caller: str, name: str, value: Any) -> float:  # Any: whatever a user may pass
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= 0:
        raise ValueError(f"{caller}: {name} is {value!r}, wanted a number >= 0")
    return float(value)


def _graded(caller: str, parameters: Tensor | Iterable[Tensor]) -> list[tuple[Node, ndarray]]:
    """The nodes that have a gradient, with it; one that comes twice is taken once."""
    if not isinstance(parameters, Tensor) and not isinstance(parameters, Iterable):
        hint = "; pass model.parameters()" if hasattr(parameters, "parameters") or callable(parameters) else ""
        raise TypeError(f"{caller}: parameters is a {type(parameters).__name__}, wanted an iterable of tensors{hint}")
    found: dict[Node, ndarray] = {}
    for k, p in enumerate([parameters] if isinstance(parameters, Tensor) else parameters):
        if not isinstance(p, Tensor):
            raise TypeError(f"{caller}: parameters[{k}] is a {type(p).__name__}, wanted a tensor")
        if p._node is not None and p._node.grad is not None:
            found[p._node] = p._node.grad
    return list(found.items())


def _norm(vectors: list[ndarray], order: float) -> float:
    """The norm of several vectors as if they were one."""
    largest = max((float(np.abs(v).max(initial=0.0)) for v in vectors), default=0.0)
    if order == math.inf or not 0 < largest < math.inf:
        # NaN is not seen by max() of Python, which keeps whichever of two came first.
        return math.nan if any(np.isnan(v).any() for v in vectors) else largest
    # By the largest entry, so that no power leaves the range of the dtype.
    scaled = [v / largest for v in vectors]
    powers = [float(v @ v if order == 2 else (np.abs(v) ** order).sum()) for v in scaled]
    return float(largest * math.fsum(powers) ** (1 / order))
