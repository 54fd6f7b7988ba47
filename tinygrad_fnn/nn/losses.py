"""Losses as modules: the functions of `functional` with their options fixed."""

from __future__ import annotations

import operator

import numpy as np

from ..rules import Array
from ..tensor import Tensor
from . import functional
from .arguments import number_of
from .module import Buffer, Module
from .targets import REDUCTIONS, check_reduction

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "FocalLoss", "HingeLoss", "HuberLoss", "KLDivLoss"]
__all__ += ["L1Loss", "MSELoss", "MultiMarginLoss", "NLLLoss", "SmoothL1Loss"]


class _Loss(Module):
    """What the losses share.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
        As for the function of the loss.

    Raises
    ------
    TypeError, ValueError
        If `reduction` is unknown.
    """

    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_reduction(type(self).__name__, reduction, self.reductions)

    def extra_repr(self) -> str:
        """Its reduction, and the options that are not the default."""
        return f"reduction={self.reduction!r}"


def _buffer(weight: Array | None) -> Buffer | None:
    """Weights as a part of the state, so that they are saved and converted with the rest."""
    if weight is None or isinstance(weight, Buffer):
        return weight
    values = np.asarray(weight)
    return Buffer(values.astype(float) if values.dtype.kind in "biu" else values)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities: see `functional.binary_cross_entropy`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    weight : array_like, optional
        Factors of the losses.

    Examples
    --------
    >>> z = Tensor([[800.0]], requires_grad=True)
    >>> loss = BCELoss()(functional.sigmoid(z), [[0.0]])
    >>> loss.backward()
    >>> print(loss.item(), z.grad)
    800.0 [[1.]]
    """

    def __init__(self, reduction: str = "mean", *, weight: Array | None = None) -> None:
        super().__init__(reduction)
        self.weight = _buffer(weight)

    def forward(self, p: Array, y: Array) -> Tensor:
        """The loss of probabilities `p` with targets `y` of the same shape."""
        return functional.binary_cross_entropy(p, y, self.reduction, weight=self.weight)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits: see `functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    weight : array_like, optional
        Factors of the losses.
    pos_weight : array_like, optional
        Factors of the share of ``y = 1``.

    Examples
    --------
    >>> round(BCEWithLogitsLoss()([[0.0]], [[1.0]]).item(), 6)
    0.693147
    """

    def __init__(
        self, reduction: str = "mean", *, weight: Array | None = None, pos_weight: Array | None = None
    ) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = _buffer(weight), _buffer(pos_weight)

    def forward(self, z: Array, y: Array) -> Tensor:
        """The loss of logits `z` with targets `y` of the same shape."""
        return functional.binary_cross_entropy_with_logits(
            z, y, self.reduction, weight=self.weight, pos_weight=self.pos_weight
        )


class FocalLoss(_Loss):
    """Binary cross-entropy of logits in which what is recognised well counts less: see `functional.sigmoid_focal_loss`.

    Parameters
    ----------
    gamma : float >= 0
        How much less.
    alpha : float in [0, 1], or None
        Factor for ``y = 1``, and ``1 - alpha`` for ``y = 0``.
    reduction : {'mean', 'sum', 'none', 'course'}
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.gamma = number_of("FocalLoss", "gamma", gamma, 0)
        self.alpha = None if alpha is None else number_of("FocalLoss", "alpha", alpha, 0, 1)

    def forward(self, z: Array, y: Array) -> Tensor:
        """The loss of logits `z` with targets `y`, 0 or 1, of the same shape."""
        return functional.sigmoid_focal_loss(z, y, self.alpha, self.gamma, self.reduction)

    def extra_repr(self) -> str:
        """Its options."""
        alpha = "None" if self.alpha is None else f"{self.alpha:g}"
        return f"gamma={self.gamma:g}, alpha={alpha}, {super().extra_repr()}"


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


class L1Loss(_Loss):
    """Absolute error: see `functional.l1_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    """

    def forward(self, x: Array, y: Array) -> Tensor:
        """The loss of results `x` with targets `y` of the same shape."""
        return functional.l1_loss(x, y, self.reduction)


class HuberLoss(_Loss):
    """Squared error near 0 and absolute error beyond: see `functional.huber_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    delta : float > 0
        Where the parabola ends.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = number_of("HuberLoss", "delta", delta, 0)
        if not self.delta:
            raise ValueError("HuberLoss: delta must be > 0; got 0")

    def forward(self, x: Array, y: Array) -> Tensor:
        """The loss of results `x` with targets `y` of the same shape."""
        return functional.huber_loss(x, y, self.reduction, self.delta)

    def extra_repr(self) -> str:
        """Its options."""
        return f"{super().extra_repr()}, delta={self.delta:g}"


class SmoothL1Loss(_Loss):
    """Absolute error with a parabola in the place of its kink: see `functional.smooth_l1_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    beta : float >= 0
        Where the parabola ends.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = number_of("SmoothL1Loss", "beta", beta, 0)

    def forward(self, x: Array, y: Array) -> Tensor:
        """The loss of results `x` with targets `y` of the same shape."""
        return functional.smooth_l1_loss(x, y, self.reduction, self.beta)

    def extra_repr(self) -> str:
        """Its options."""
        return f"{super().extra_repr()}, beta={self.beta:g}"


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits with labels or probabilities: see `functional.cross_entropy`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    weight : array_like, shape (K,), optional
        A factor for each class.
    ignore_index : int
        Labels that do not count.
    label_smoothing : float in [0, 1]
        How much of each target is spread evenly over all classes.

    Examples
    --------
    >>> round(CrossEntropyLoss()([[0.0, 0.0]], [1]).item(), 6)
    0.693147
    """

    def __init__(
        self,
        reduction: str = "mean",
        *,
        weight: Array | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _buffer(weight), operator.index(ignore_index)
        self.label_smoothing = number_of("CrossEntropyLoss", "label_smoothing", label_smoothing, 0, 1)

    def forward(self, logits: Array, target: Array) -> Tensor:
        """The loss of logits (m, K) with labels (m,) or probabilities (m, K)."""
        return functional.cross_entropy(
            logits,
            target,
            self.reduction,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        """Its options."""
        smoothing = f", label_smoothing={self.label_smoothing:g}" if self.label_smoothing else ""
        return super().extra_repr() + smoothing


class NLLLoss(_Loss):
    """Minus the logarithm of the probability of each label: see `functional.nll_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    weight : array_like, shape (K,), optional
        A factor for each class.
    ignore_index : int
        Labels that do not count.
    """

    def __init__(self, reduction: str = "mean", *, weight: Array | None = None, ignore_index: int = -100) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _buffer(weight), operator.index(ignore_index)

    def forward(self, log_p: Array, target: Array) -> Tensor:
        """The loss of logarithms of probabilities (m, K) with labels (m,)."""
        return functional.nll_loss(log_p, target, self.reduction, weight=self.weight, ignore_index=self.ignore_index)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence: see `functional.kl_div`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course', 'batchmean'}
    log_target : bool
        Whether the targets are logarithms of probabilities.
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", *, log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = bool(log_target)

    def forward(self, log_q: Array, p: Array) -> Tensor:
        """The loss of logarithms of probabilities with wanted probabilities of the same shape."""
        return functional.kl_div(log_q, p, self.reduction, log_target=self.log_target)

    def extra_repr(self) -> str:
        """Its options."""
        return super().extra_repr() + (", log_target=True" if self.log_target else "")


class HingeLoss(_Loss):
    """What a score lacks of the margin on its side of 0, the loss of support vectors: see `functional.hinge_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    margin : float >= 0
        Wanted distance from 0.
    """

    def __init__(self, reduction: str = "mean", *, margin: float = 1.0) -> None:
        super().__init__(reduction)
        self.margin = number_of("HingeLoss", "margin", margin, 0)

    def forward(self, x: Array, y: Array) -> Tensor:
        """The loss of scores `x` with targets `y`, -1 or 1, of the same shape."""
        return functional.hinge_loss(x, y, self.reduction, margin=self.margin)

    def extra_repr(self) -> str:
        """Its options."""
        return f"{super().extra_repr()}, margin={self.margin:g}"


class MultiMarginLoss(_Loss):
    """What the score of each label lacks of the margin over the others: see `functional.multi_margin_loss`.

    Parameters
    ----------
    reduction : {'mean', 'sum', 'none', 'course'}
    p : {1, 2}
        Power of each lack.
    margin : float
        Wanted distance.
    weight : array_like, shape (K,), optional
        A factor for each class.
    """

    def __init__(
        self, reduction: str = "mean", *, p: int = 1, margin: float = 1.0, weight: Array | None = None
    ) -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2; got {p!r}")
        self.p, self.margin, self.weight = p, number_of("MultiMarginLoss", "margin", margin), _buffer(weight)

    def forward(self, x: Array, target: Array) -> Tensor:
        """The loss of scores (m, K) with labels (m,)."""
        return functional.multi_margin_loss(x, target, self.reduction, p=self.p, margin=self.margin, weight=self.weight)

    def extra_repr(self) -> str:
        """Its options."""
        return f"{super().extra_repr()}, p={self.p}, margin={self.margin:g}"
