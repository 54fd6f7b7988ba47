"""Losses of classes: of logits, of probabilities and their logarithms, and of margins."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from ..ops import log_sigmoid, relu, softplus
from ..ops.losses import bce_of_logits, bce_of_probabilities, cross_entropy_of_labels, cross_entropy_rows
from ..ops.scipy_calls import refuse_tracked
from ..rules import Array, on_plain_arrays
from ..tensor import Tensor
from .arguments import number_of
from .targets import (
    REDUCTIONS,
    check_reduction,
    check_rows,
    class_weights,
    counting_labels,
    counts_of,
    factors,
    floats,
    fractions,
    reduced,
    rows_of,
    targets,
    values_of,
)

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "hinge_loss", "kl_div"]
__all__ += ["multi_margin_loss", "nll_loss", "sigmoid_focal_loss"]


def binary_cross_entropy_with_logits(
    z: Array,
    y: Array,
    reduction: str = "mean",
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
) -> Tensor:
    """Binary cross-entropy of logits: ``log(1 + exp(z)) - y z``, exact for every `z`.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        Logits; all reals.
    y : array_like or Tensor, shape of `z`
        Targets in [0, 1]. An array is copied, if the gradient will need it; a Tensor is not.
    reduction : {'mean', 'sum', 'none', 'course'}
        The average over all elements; their sum; the loss of each element; or the course's: the sum over the last axis,
        the classes, averaged over the examples.
    weight : array_like, broadcasting to the shape of `z`, optional
        Factors of the losses; the average is still over their number.
    pos_weight : array_like, broadcasting to the shape of `z`, optional
        Factors of the share of ``y = 1``: above 1 for what is rare.

    Returns
    -------
    Tensor, shape () or that of `z`
        In [0, inf).

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If targets are outside [0, 1] or NaN, weights are negative, `reduction` is unknown, or there is nothing to
        average.

    Notes
    -----
    The derivative with respect to `z` is ``sigmoid(z) - y``, computed as ``(1 - y) sigmoid(z) - y sigmoid(-z)``.

    References
    ----------
    Equations (11), (32) and (33) of docs/backprop.md.

    Examples
    --------
    >>> binary_cross_entropy_with_logits([1000.0, -1000.0], [0.0, 0.0], reduction="none")
    Tensor([1000.,    0.])
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    z = floats(name, "z", z)
    y = fractions(name, "z", z, y)
    if pos_weight is None:
        loss = bce_of_logits(z, y)
    else:  # both terms are positive, so that nothing cancels
        positive = factors(name, "pos_weight", pos_weight, z)
        loss = softplus(z) * (1 - y) + softplus(-z) * (y * positive)
    return reduced(name, loss if weight is None else loss * factors(name, "weight", weight, z), reduction)


def binary_cross_entropy(p: Array, y: Array, reduction: str = "mean", *, weight: Array | None = None) -> Tensor:
    """Binary cross-entropy of probabilities: ``-y log p - (1 - y) log(1 - p)``.

    Parameters
    ----------
    p : array_like or Tensor, any shape
        Probabilities in [0, 1].
    y : array_like or Tensor, shape of `p`
        Targets in [0, 1].
    reduction, weight
        As for `binary_cross_entropy_with_logits`.

    Returns
    -------
    Tensor, shape () or that of `p`
        In [0, inf]; infinite where `p` is 0 or 1 and `y` is not the same.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If `p` or `y` is outside [0, 1], targets are NaN, `reduction` is unknown, or there is nothing to average.

    Notes
    -----
    A `p` that comes from `sigmoid` remembers its logit: value and gradient are those of
    `binary_cross_entropy_with_logits`, and exact also where `p` rounds to 0 or 1. Nothing is clipped.

    Where `p` and `y` are both 0 or both 1 the term ``0 log 0`` is 0, and the derivative with respect to `p` is that of
    the other term, 1 or -1.

    References
    ----------
    Equations (11) and (17) of docs/backprop.md.

    Examples
    --------
    >>> from tinygrad_fnn import sigmoid
    >>> z = Tensor([-1000.0, 1000.0], requires_grad=True)
    >>> loss = binary_cross_entropy(sigmoid(z), [1.0, 1.0], reduction="sum")
    >>> loss.backward()
    >>> print(loss.item(), z.grad)
    1000.0 [-1.  0.]
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    p = floats(name, "p", p)
    on_plain_arrays(_check_probabilities, p, name)
    loss = bce_of_probabilities(p, fractions(name, "p", p, y))
    return reduced(name, loss if weight is None else loss * factors(name, "weight", weight, p), reduction)


def _check_probabilities(p: ndarray, name: str) -> None:
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError(
            f"{name}: p must be in [0, 1]; it reaches from {p.min():g} to {p.max():g}. "
            "Logits go to binary_cross_entropy_with_logits"
        )


def sigmoid_focal_loss(
    z: Array, y: Array, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of logits in which what is recognised well counts less: ``alpha_t (1 - p_t)**gamma`` of it.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        Logits; all reals.
    y : array_like or Tensor, shape of `z`
        Targets, 0 or 1. ``p_t`` is the probability given to the one that is true.
    alpha : float in [0, 1], or None
        Factor for ``y = 1``, and ``1 - alpha`` for ``y = 0``; None for 1 in both cases.
    gamma : float >= 0
        How much less; 0 gives the cross-entropy.
    reduction : {'mean', 'sum', 'none', 'course'}
        As for `binary_cross_entropy_with_logits`. torchvision, from which the name comes, has 'none' by default.

    Returns
    -------
    Tensor, shape () or that of `z`
        In [0, inf); exact for every `z`, and so are the derivatives.

    Raises
    ------
    ShapeError
        If the shapes differ.
    NoRuleError
        If the targets are tracked.
    ValueError
        If a target is neither 0 nor 1, `alpha` or `gamma` is out of range, `reduction` is unknown, or there is nothing
        to average.

    References
    ----------
    Lin et al., *Focal loss for dense object detection* (2017), eq. 5.

    Examples
    --------
    >>> sigmoid_focal_loss([1000.0, -1000.0], [0.0, 0.0], alpha=None, reduction="none").tolist()
    [1000.0, 0.0]
    """
    name = "sigmoid_focal_loss"
    check_reduction(name, reduction)
    power = number_of(name, "gamma", gamma, 0)
    share = None if alpha is None else number_of(name, "alpha", alpha, 0, 1)
    refuse_tracked(name, "y", y)
    z = floats(name, "z", z)
    true = values_of(fractions(name, "z", z, y))
    if not ((true == 0) | (true == 1)).all():
        raise ValueError(f"{name}: targets must be 0 or 1; there are others between")
    t = z * np.where(true, 1, -1).astype(z.dtype)  # the logit of what is true
    loss = softplus(-t)
    if power:
        # (1 - p_t)**gamma by its logarithm: the power of a probability that rounds to 0 has no derivative.
        loss = loss * np.exp(log_sigmoid(-t) * power)
    if share is not None:
        loss = loss * np.where(true, share, 1 - share).astype(z.dtype)
    return reduced(name, loss, reduction)


def cross_entropy(
    logits: Array,
    target: Array,
    reduction: str = "mean",
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of the softmax of logits: ``-log softmax(z)[target]``, exact for any logits.

    Parameters
    ----------
    logits : array_like or Tensor, shape (m, K) or (K,)
        One row for each example, one column for each class.
    target : array_like or Tensor
        Labels: integers in 0 ... K - 1, shape (m,) or (). Or probabilities: floats of the shape of `logits`.
    reduction : {'mean', 'sum', 'none', 'course'}
        The average over the examples, which is the course's as well; their sum; or the loss of each. Of labels with
        class weights the average is weighted: the sum is divided by that of the weights of the labels.
    weight : array_like, shape (K,), optional
        A factor >= 0 for each class.
    ignore_index : int
        Labels that do not count, in the average neither; for labels only.
    label_smoothing : float in [0, 1]
        How much of each target is spread evenly over all classes.

    Returns
    -------
    Tensor, shape () or (m,)
        In [0, inf).

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    TypeError
        If labels are no integers.
    ValueError
        If a label is out of range, a probability or a weight is negative or NaN, `reduction` is unknown, or there is
        nothing to average.

    References
    ----------
    Equations (12), (34) and (35) of docs/backprop.md. Label smoothing: Szegedy et al., *Rethinking the Inception
    architecture* (2015), section 7.

    Examples
    --------
    >>> print(cross_entropy([[1000.0, 0.0], [1000.0, 0.0]], [1, 0], reduction="none").tolist())
    [1000.0, 0.0]
    """
    name = "cross_entropy"
    check_reduction(name, reduction)
    z = floats(name, "logits", logits)
    classes = check_rows(name, "logits", z)
    smoothing = number_of(name, "label_smoothing", label_smoothing, 0, 1)
    weights = None if weight is None else class_weights(name, weight, classes, z)
    y = target if isinstance(target, Tensor) else np.asarray(target)
    counts = None  # what each example counts in the average
    if (y.dtype.kind in "iu" and y.shape != z.shape) or y.shape == z.shape[:-1]:
        labels, counted = counting_labels(name, y, classes, z.shape[:-1], ignore_index)
        if weights is None and counted is None and not smoothing:
            return _of_rows(name, cross_entropy_of_labels(z, labels), reduction)
        y, counts = rows_of(labels, z), counts_of(labels, weights, counted)
    else:
        counted, y = None, targets(name, "logits", z, y)
        on_plain_arrays(_check_not_negative, y, name)
    if smoothing:
        y = y * (1 - smoothing) + smoothing / classes
    if weights is not None:
        y = y * weights
    if counted is not None:
        y = y * counted[..., np.newaxis]
    return _of_rows(name, cross_entropy_rows(z, y), reduction, counts)


def _of_rows(name: str, loss: Tensor, reduction: str, counts: ndarray | None = None) -> Tensor:
    """`reduced`, of losses that have an axis too many."""
    plain = reduction == "none" or not loss.size  # or for the message
    return reduced(name, loss.reshape(loss.shape[:-1]) if plain else loss, reduction, counts)


def _check_not_negative(y: ndarray, name: str) -> None:
    if y.size and not y.min() >= 0:
        raise ValueError(f"{name}: target holds a negative probability or NaN; target is {y.shape}")


def nll_loss(
    log_p: Array,
    target: Array,
    reduction: str = "mean",
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Minus the logarithm of the probability of each label: ``-log_p[target]``.

    Parameters
    ----------
    log_p : array_like or Tensor, shape (m, K) or (K,)
        Logarithms of probabilities, as `log_softmax` gives them.
    target : array_like of int, shape (m,) or ()
        Labels in 0 ... K - 1.
    reduction, weight, ignore_index
        As for `cross_entropy`.

    Returns
    -------
    Tensor, shape () or (m,)

    Raises
    ------
    ShapeError, TypeError, ValueError
        As for `cross_entropy`.

    Examples
    --------
    >>> nll_loss([[-1.0, -0.5], [-3.0, 0.0]], [1, 0]).item()
    1.75
    """
    name = "nll_loss"
    check_reduction(name, reduction)
    log_p = floats(name, "log_p", log_p)
    classes = check_rows(name, "log_p", log_p)
    weights = None if weight is None else class_weights(name, weight, classes, log_p)
    labels, counted = counting_labels(name, target, classes, log_p.shape[:-1], ignore_index)
    counts = counts_of(labels, weights, counted)
    loss: Array = -np.take_along_axis(log_p, labels[..., np.newaxis], axis=-1).reshape(labels.shape)
    if counts is not None:
        loss = np.where(counts > 0, loss, 0) * counts.astype(log_p.dtype)  # -inf that does not count is no NaN
    return reduced(name, loss, reduction, counts)


def kl_div(log_q: Array, p: Array, reduction: str = "mean", *, log_target: bool = False) -> Tensor:
    """Kullback-Leibler divergence of `q` from `p`, elementwise: ``p (log p - log q)``.

    Parameters
    ----------
    log_q : array_like or Tensor, any shape
        Logarithms of the probabilities that the network gives.
    p : array_like or Tensor, shape of `log_q`
        Probabilities wanted, or their logarithms with `log_target`.
    reduction : {'mean', 'sum', 'none', 'course', 'batchmean'}
        As for `binary_cross_entropy_with_logits`; or 'batchmean', the sum divided by the number of examples, which is
        the divergence. 'course' is the same for two axes.
    log_target : bool
        Whether `p` is given as its logarithm.

    Returns
    -------
    Tensor, shape () or that of `log_q`
        Where `p` is 0 it is 0.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If a probability is negative or NaN, `reduction` is unknown, or there is nothing to average.

    References
    ----------
    Kullback & Leibler, *On information and sufficiency* (1951), eq. 2.4.

    Examples
    --------
    >>> round(kl_div(np.log([[0.5, 0.5]]), [[1.0, 0.0]], "batchmean").item(), 6)
    0.693147
    """
    name = "kl_div"
    check_reduction(name, reduction, (*REDUCTIONS, "batchmean"))
    log_q = floats(name, "log_q", log_q)
    y: Array = floats(name, "p", targets(name, "log_q", log_q, p))
    values = values_of(y)
    none = np.isneginf(values) if log_target else values == 0
    if not log_target and values.size and not values.min() >= 0:
        raise ValueError(f"{name}: p holds a negative probability or NaN. Logarithms go with log_target=True")
    if none.any():  # 0 (log 0 - log q) is 0, whatever q is
        log_q, y = np.where(none, 0, log_q), np.where(none, 0, y) if log_target else y
    loss = np.exp(y) * (y - log_q) if log_target else y * (np.log(y + none) - log_q)
    return reduced(name, loss, reduction)


def hinge_loss(x: Array, y: Array, reduction: str = "mean", *, margin: float = 1.0) -> Tensor:
    """What a score lacks of the margin on its side of 0: ``max(0, margin - y x)``, the loss of support vectors.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        Scores; all reals.
    y : array_like, shape of `x`
        Targets, -1 or 1.
    reduction : {'mean', 'sum', 'none', 'course'}
        As for `binary_cross_entropy_with_logits`.
    margin : float >= 0

    Returns
    -------
    Tensor, shape () or that of `x`
        In [0, inf). The derivative at the margin is 0. PyTorch has no loss of this kind; its HingeEmbeddingLoss is one
        of distances.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ValueError
        If a target is neither -1 nor 1, `reduction` is unknown, or there is nothing to average.

    References
    ----------
    Cortes & Vapnik, *Support-vector networks* (1995), eqs. 21 and 22.

    Examples
    --------
    >>> hinge_loss([2.0, 0.5, -1.0], [1, 1, 1], "none")
    Tensor([0. , 0.5, 2. ])
    """
    check_reduction("hinge_loss", reduction)
    width = number_of("hinge_loss", "margin", margin, 0)
    x = floats("hinge_loss", "x", x)
    side = targets("hinge_loss", "x", x, y)
    if not (np.abs(values_of(side)) == 1).all():
        raise ValueError("hinge_loss: targets must be -1 or 1; 2 * y - 1 makes them of 0 and 1")
    return reduced("hinge_loss", relu(width - side * x), reduction)


def multi_margin_loss(
    x: Array,
    target: Array,
    reduction: str = "mean",
    *,
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
) -> Tensor:
    """What the score of each label lacks of the margin over the others, averaged over the classes.

    Parameters
    ----------
    x : array_like or Tensor, shape (m, K) or (K,)
        Scores.
    target : array_like of int, shape (m,) or ()
        Labels in 0 ... K - 1.
    reduction : {'mean', 'sum', 'none', 'course'}
        As for `cross_entropy`; the average is over the number of examples also with weights.
    p : {1, 2}
        Power of each lack.
    margin : float
        Wanted distance.
    weight : array_like, shape (K,), optional
        A factor >= 0 for each class.

    Returns
    -------
    Tensor, shape () or (m,)
        ``weight[target] sum(max(0, margin - x[target] + x[j])**p for j != target) / K``, in [0, inf).

    Raises
    ------
    ShapeError, TypeError, ValueError
        As for `cross_entropy`; also if `p` is neither 1 nor 2.

    References
    ----------
    Crammer & Singer, *On the algorithmic implementation of multiclass kernel-based vector machines* (2001); here with
    the sum over classes in the place of the largest.

    Examples
    --------
    >>> multi_margin_loss([[0.0, 2.0, 1.5, 0.0]], [1]).item()
    0.125
    """
    name = "multi_margin_loss"
    check_reduction(name, reduction)
    width = number_of(name, "margin", margin)
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2; got {p!r}")
    x = floats(name, "x", x)
    classes = check_rows(name, "x", x)
    labels, _ = counting_labels(name, target, classes, x.shape[:-1], None)
    lack = relu(x + (width - np.take_along_axis(x, labels[..., np.newaxis], axis=-1)))
    loss = (np.square(lack) if p == 2 else lack) * (1 - rows_of(labels, x))
    loss = loss.sum(axis=-1) / classes
    if weight is not None:
        loss = loss * class_weights(name, weight, classes, x)[labels]
    return reduced(name, loss, reduction)
