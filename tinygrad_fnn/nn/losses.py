"""Losses as modules: the functions of `functional` with their reduction fixed."""

from __future__ import annotations

from ..rules import Array
from ..tensor import Tensor
from . import functional
from .module import Module
from .targets import check_reduction

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "MSELoss"]


class _Loss(Module):
    """What the losses share.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
        As for the function of the loss.

    Raises
    ------
    ValueError
        If `reduction` is unknown.
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(type(self).__name__, reduction)

    def extra_repr(self) -> str:
        """Its reduction."""
        return f"reduction={self.reduction!r}"


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities: see `functional.binary_cross_entropy`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}

    Examples
    --------
    >>> z = Tensor([[800.0]], requires_grad=True)
    >>> loss = BCELoss()(functional.sigmoid(z), [[0.0]])
    >>> loss.backward()
    >>> print(loss.item(), z.grad)
    800.0 [[1.]]
    """

    def forward(self, p: Array, y: Array) -> Tensor:
        """The loss of probabilities `p` with targets `y` of the same shape."""
        return functional.binary_cross_entropy(p, y, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits: see `functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}

    Examples
    --------
    >>> round(BCEWithLogitsLoss()([[0.0]], [[1.0]]).item(), 6)
    0.693147
    """

    def forward(self, z: Array, y: Array) -> Tensor:
        """The loss of logits `z` with targets `y` of the same shape."""
        return functional.binary_cross_entropy_with_logits(z, y, self.reduction)


class MSELoss(_Loss):
    """Squared error: see `functional.mse_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}

    Examples
    --------
    >>> MSELoss("sum")([[1.0, 2.0]], [[0.0, 0.0]]).item()
    5.0
    """

    def forward(self, x: Array, y: Array) -> Tensor:
        """The loss of results `x` with targets `y` of the same shape."""
        return functional.mse_loss(x, y, self.reduction)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits with labels or probabilities: see `functional.cross_entropy`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}

    Examples
    --------
    >>> round(CrossEntropyLoss()([[0.0, 0.0]], [1]).item(), 6)
    0.693147
    """

    def forward(self, logits: Array, target: Array) -> Tensor:
        """The loss of logits (m, K) with labels (m,) or probabilities (m, K)."""
        return functional.cross_entropy(logits, target, self.reduction)
