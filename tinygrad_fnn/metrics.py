"""How good predictions are, as plain numbers: nothing here is differentiated.

It stands apart from the losses because a metric is read by people: it takes labels as well as probabilities, and its
conventions (ties, absent classes) are those of the statistics books, not those of a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from .errors import ShapeError
from .rules import Array, plain

__all__ = [
    "Calibration",
    "Scores",
    "accuracy",
    "brier_score",
    "calibration_curve",
    "classification_report",
    "confusion_matrix",
    "expected_calibration_error",
    "precision_recall_f1",
    "top_k_accuracy",
]

AVERAGES: Final = ("macro", "micro", "weighted")


class Scores(NamedTuple):
    """Precision, recall and F1, and how many examples they rest on."""

    precision: Any  # Any: an array with an entry a class, or one number
    recall: Any
    f1: Any
    support: Any


class Calibration(NamedTuple):
    """The bins of a calibration curve that are not empty."""

    prob_true: ndarray  # share of the bin's examples where the event happened
    prob_pred: ndarray  # mean probability that was given for it
    counts: ndarray  # examples in the bin


# --- labels ---------------------------------------------------------------------------------------------------------


def accuracy(y_true: Array, y_pred: Array) -> float:
    """Share of the examples that are labelled right.

    Parameters
    ----------
    y_true : array_like or Tensor, shape (m,) or (m, K)
        Labels: integers, booleans, whole floating-point numbers or strings; or one-hot rows.
    y_pred : array_like or Tensor, shape (m,) or (m, K)
        Labels; or scores of K > 1 classes, logits or probabilities, of which the largest decides, the first of equal
        ones. Of the probability `p` of one class the labels are ``p > 0.5``.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ShapeError
        If the shapes are others.
    TypeError, ValueError
        If labels are none, rows not one-hot, or a score is NaN; if there are no examples.

    Examples
    --------
    >>> accuracy([0, 1, 2, 2], [0, 2, 2, 2])
    0.75
    >>> accuracy([0, 1], [[0.7, 0.3], [0.6, 0.4]])
    0.5
    """
    true, predicted = _labels("accuracy", y_true, y_pred)
    return float(np.mean(true == predicted))


def top_k_accuracy(y_true: Array, scores: Array, k: int) -> float:
    """Share of the examples whose label is among the `k` best-scored classes.

    Parameters
    ----------
    y_true : array_like or Tensor of int, shape (m,) or (m, K)
        Labels 0 to K - 1, or one-hot rows.
    scores : array_like or Tensor, shape (m, K)
        Logits or probabilities; the larger, the better.
    k : int, 1 <= k <= K

    Returns
    -------
    float
        In [0, 1]; 1 if `k` is K.

    Raises
    ------
    ShapeError
        If the shapes are others.
    TypeError, ValueError
        If a label or `k` is out of range or no integer, a score is NaN, or there are no examples.

    Notes
    -----
    Of equal scores the class with the lower number comes first, as in `numpy.argmax`: with `k` 1 this is
    ``accuracy(y_true, scores.argmax(axis=1))``.

    Examples
    --------
    >>> scores = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2]]
    >>> top_k_accuracy([1, 1], scores, 1), top_k_accuracy([1, 1], scores, 2)
    (0.0, 1.0)
    """
    values = _numbers("top_k_accuracy", "scores", scores)
    if values.ndim != 2:
        raise ShapeError(f"top_k_accuracy: scores is {values.shape}, wanted (m, K)")
    m, count = values.shape
    labels = _class_numbers("top_k_accuracy", y_true, m, count)
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise TypeError(f"top_k_accuracy: k is a {type(k).__name__}, wanted an integer")
    if not 1 <= k <= count:
        raise ValueError(f"top_k_accuracy: k is {k}, wanted 1 to {count}, the number of classes")
    _refuse_nan("top_k_accuracy", "scores", values)
    own = values[np.arange(m), labels][:, None]
    ahead = (values > own) | ((values == own) & (np.arange(count) < labels[:, None]))
    return float(np.mean(ahead.sum(axis=1) < k))


def confusion_matrix(y_true: Array, y_pred: Array, classes: int | Array | None = None) -> ndarray:
    """How often each class was taken for each other.

    Parameters
    ----------
    y_true, y_pred : array_like or Tensor, shape (m,) or (m, K)
        As for `accuracy`.
    classes : int, or array_like of shape (K,), optional
        The number K of classes if the labels are 0 to K - 1, or the labels in the order wanted; without it the labels
        that occur, sorted.

    Returns
    -------
    ndarray of int64, shape (K, K)
        Entry [i, j] counts the examples of class i that were taken for class j.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `accuracy`; and if a label is not one of `classes`, or one of these is there twice.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2], classes=3)
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    return _confusion("confusion_matrix", y_true, y_pred, classes)[1]


def precision_recall_f1(
    y_true: Array,
    y_pred: Array,
    *,
    average: str | None = None,
    classes: int | Array | None = None,
    zero_division: float = 0.0,
) -> Scores:
    """Precision, recall and F1 of each class, or their average.

    Parameters
    ----------
    y_true, y_pred : array_like or Tensor, shape (m,) or (m, K)
        As for `accuracy`.
    average : {None, "macro", "micro", "weighted"}
        None for each class by itself; the mean of the classes; all decisions counted together (which is the accuracy);
        or the mean weighted by support.
    classes : int, or array_like of shape (K,), optional
        As for `confusion_matrix`.
    zero_division : float
        What a ratio 0/0 is: 0, 1 or NaN. Classes where it is NaN do not take part in an average.

    Returns
    -------
    Scores
        `precision`, ``TP / (TP + FP)``; `recall`, ``TP / (TP + FN)``; `f1`, ``2 TP / (2 TP + FP + FN)``; `support`, the
        examples of the class. Arrays of shape (K,), or of an average three floats and the number of examples.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `confusion_matrix`; and if `average` or `zero_division` is another one.

    Notes
    -----
    The precision of a class that was never predicted is 0/0, and so is the recall of one that is absent from `y_true`,
    and the F1 of one that is absent from both.

    Examples
    --------
    >>> scores = precision_recall_f1([0, 0, 1, 1], [0, 1, 1, 1])
    >>> scores.recall, scores.support
    (array([0.5, 1. ]), array([2, 2]))
    >>> precision_recall_f1([0, 0, 1, 1], [0, 1, 1, 1], average="macro").recall
    0.75
    """
    function = "precision_recall_f1"
    if average is not None and average not in AVERAGES:
        raise ValueError(f"{function}: average is {average!r}, wanted None or one of {', '.join(map(repr, AVERAGES))}")
    if not (zero_division in (0, 1) or np.isnan(zero_division)):
        raise ValueError(f"{function}: zero_division is {zero_division}, wanted 0, 1 or NaN")
    return _scores(_confusion(function, y_true, y_pred, classes)[1], average, float(zero_division))


def classification_report(
    y_true: Array,
    y_pred: Array,
    *,
    classes: int | Array | None = None,
    names: Sequence[str] | None = None,
    digits: int = 2,
) -> str:
    """Precision, recall, F1 and support of each class, and their averages, as a table to print.

    Parameters
    ----------
    y_true, y_pred : array_like or Tensor, shape (m,) or (m, K)
        As for `accuracy`.
    classes : int, or array_like of shape (K,), optional
        As for `confusion_matrix`.
    names : sequence of str, optional
        What to call the classes, in the order of `classes`; without it their labels.
    digits : int >= 0
        Digits after the point.

    Returns
    -------
    str
        In the form of scikit-learn's function of this name; a ratio 0/0 is 0.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `confusion_matrix`; and if `names` are not as many as the classes.

    Examples
    --------
    >>> print(classification_report([0, 0, 1, 1], [0, 1, 1, 1], names=["cat", "dog"]))
                  precision    recall  f1-score   support
    <BLANKLINE>
             cat       1.00      0.50      0.67         2
             dog       0.67      1.00      0.80         2
    <BLANKLINE>
        accuracy                           0.75         4
       macro avg       0.83      0.75      0.73         4
    weighted avg       0.83      0.75      0.73         4
    <BLANKLINE>
    """
    labels, matrix = _confusion("classification_report", y_true, y_pred, classes)
    titles = [str(label) for label in labels] if names is None else list(names)
    if len(titles) != len(labels):
        raise ValueError(f"classification_report: there are {len(labels)} classes and {len(titles)} names")
    width = max(len("weighted avg"), *map(len, titles))
    m = int(matrix.sum())

    def line(title: str, numbers: Sequence[float | None], support: int) -> str:
        cells = (" " * 9 if number is None else f"{number:9.{digits}f}" for number in numbers)
        return f"{title:>{width}}  {' '.join(cells)} {support:9}"

    rows = [line(title, scores, int(n)) for title, *scores, n in zip(titles, *_scores(matrix, None, 0.0), strict=True)]
    averages = [line(f"{average} avg", _scores(matrix, average, 0.0)[:3], m) for average in ("macro", "weighted")]
    right = line("accuracy", [None, None, np.trace(matrix) / m], m)
    head = " ".join([" " * (width + 1), *(f"{title:>9}" for title in ("precision", "recall", "f1-score", "support"))])
    return "\n".join([head, "", *rows, "", right, *averages, ""])


# --- probabilities --------------------------------------------------------------------------------------------------


def brier_score(y_true: Array, p: Array) -> float:
    """Mean squared distance of the probabilities from what happened.

    Parameters
    ----------
    y_true : array_like or Tensor of int, shape (m,) or (m, K)
        Labels 0 to K - 1, or one-hot rows; 0 or 1 with `p` of shape (m,).
    p : array_like or Tensor, shape (m, K) or (m,)
        Probabilities: of the classes, summing to 1; or of class 1.

    Returns
    -------
    float
        For (m, K) in [0, 2], as Brier defined it: the squares are summed over the classes. For (m,) in [0, 1], half as
        much as for ``(1 - p, p)``.

    Raises
    ------
    ShapeError
        If the shapes are others.
    TypeError, ValueError
        If a label is out of range, a probability not in [0, 1], or a row does not sum to 1; or there are no examples.

    References
    ----------
    G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1950,
    pp. 1-3, eq. 2.

    Examples
    --------
    >>> brier_score([1, 0], [0.5, 0.0])
    0.125
    >>> brier_score([1, 0], [[0.5, 0.5], [1.0, 0.0]])
    0.25
    """
    labels, values = _probabilities("brier_score", y_true, p)
    if values.ndim == 1:
        return float(np.mean((values - labels) ** 2))
    happened = labels[:, None] == np.arange(values.shape[1])
    return float(np.mean(np.sum((values - happened) ** 2, axis=1)))


def calibration_curve(y_true: Array, p: Array, bins: int = 10) -> Calibration:
    """How often what was given a probability happened, for probabilities in bins of equal width.

    Parameters
    ----------
    y_true : array_like or Tensor of int, shape (m,) or (m, K)
        As for `brier_score`.
    p : array_like or Tensor, shape (m, K) or (m,)
        Probabilities, as for `brier_score`. Of several classes the curve is that of the predicted one: its probability,
        and whether it was right.
    bins : int > 0
        Number of bins; a bin includes its upper end, and the first also 0.

    Returns
    -------
    Calibration
        `prob_true`, `prob_pred` and `counts`, for the bins that are not empty.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `brier_score`; and if `bins` is no positive integer.

    Examples
    --------
    >>> curve = calibration_curve([0, 1, 1, 1], [0.1, 0.2, 0.9, 1.0], bins=2)
    >>> curve.prob_true, curve.prob_pred.round(2), curve.counts
    (array([0.5, 1. ]), array([0.15, 0.95]), array([2, 2]))
    """
    return _calibration("calibration_curve", y_true, p, bins)


def expected_calibration_error(y_true: Array, p: Array, bins: int = 15) -> float:
    """Distance of the calibration curve from the diagonal, weighted by the examples in each bin.

    Parameters
    ----------
    y_true, p, bins
        As for `calibration_curve`.

    Returns
    -------
    float
        In [0, 1]; 0 for perfect calibration.

    Raises
    ------
    ShapeError, TypeError, ValueError
        As `calibration_curve`.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017, eq. 3.

    Examples
    --------
    >>> round(expected_calibration_error([0, 1, 1, 1], [0.1, 0.2, 0.9, 1.0], bins=2), 12)
    0.2
    """
    curve = _calibration("expected_calibration_error", y_true, p, bins)
    return float(np.sum(curve.counts * np.abs(curve.prob_true - curve.prob_pred)) / np.sum(curve.counts))


# --- what they share ------------------------------------------------------------------------------------------------


def _confusion(function: str, y_true: Array, y_pred: Array, classes: Any) -> tuple[ndarray, ndarray]:
    """The classes in order, and the confusion matrix."""
    true, predicted = _labels(function, y_true, y_pred)
    if classes is None:
        labels = np.unique(np.concatenate([true, predicted]))
    elif isinstance(classes, int | np.integer) and not isinstance(classes, bool):
        if classes <= 0:
            raise ValueError(f"{function}: classes is {classes}, wanted a number > 0, or the labels")
        labels = np.arange(classes)
    else:
        labels = _as_labels(function, "classes", _array(classes))
        if labels.ndim != 1 or not labels.size:
            raise ShapeError(f"{function}: classes is {labels.shape}, wanted (K,)")
    order = np.argsort(labels)
    ranked = labels[order]
    if (ranked[1:] == ranked[:-1]).any():
        raise ValueError(f"{function}: classes has {ranked[1:][ranked[1:] == ranked[:-1]][0]!s} twice")
    places = []
    for name, given in (("y_true", true), ("y_pred", predicted)):
        place = order[np.minimum(np.searchsorted(ranked, given), len(ranked) - 1)]
        unknown = labels[place] != given
        if unknown.any():
            raise ValueError(
                f"{function}: {name} has the label {given[np.argmax(unknown)]!s}, which is none of the classes "
                f"{', '.join(map(str, labels[:10]))}{', ...' if len(labels) > 10 else ''}"
            )
        places.append(place)
    count = len(labels)
    matrix = np.bincount(places[0] * count + places[1], minlength=count * count).reshape(count, count)
    return labels, matrix


def _scores(matrix: ndarray, average: str | None, zero_division: float) -> Scores:
    right, predicted, support = np.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    if average == "micro":
        right, predicted, total = right.sum(), predicted.sum(), support.sum()
    else:
        total = support
    parts = []
    for above, below in ((right, predicted), (right, total), (2 * right, predicted + total)):
        ratio = np.full(np.shape(below), zero_division)
        np.divide(above, below, out=ratio, where=below > 0)
        if average in ("macro", "weighted"):
            weights = np.where(np.isnan(ratio), 0, support if average == "weighted" else 1)
            whole = weights.sum()
            ratio = np.nansum(ratio * weights) / whole if whole else np.asarray(np.nan)
        parts.append(ratio if average is None else float(ratio))
    precision, recall, f1 = parts
    return Scores(precision, recall, f1, support if average is None else int(matrix.sum()))


def _calibration(function: str, y_true: Array, p: Array, bins: int) -> Calibration:
    labels, values = _probabilities(function, y_true, p)
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer):
        raise TypeError(f"{function}: bins is a {type(bins).__name__}, wanted an integer > 0")
    if bins <= 0:
        raise ValueError(f"{function}: bins is {bins}, wanted an integer > 0")
    happened = labels
    if values.ndim == 2:
        predicted = values.argmax(axis=1)
        happened, values = (labels == predicted).astype(int), values[np.arange(len(values)), predicted]
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], values)
    count = np.bincount(bin_of, minlength=bins)
    filled = count > 0
    sums = (np.bincount(bin_of, weights=weights, minlength=bins)[filled] for weights in (happened, values))
    prob_true, prob_pred = (total / count[filled] for total in sums)
    return Calibration(prob_true, prob_pred, count[filled])


def _labels(function: str, y_true: Array, y_pred: Array) -> tuple[ndarray, ndarray]:
    """Two arrays of labels, shape (m,)."""
    true, predicted = _true(function, y_true), _array(y_pred)
    if predicted.ndim == 2 and predicted.shape[1] > 1:
        scores = _numbers(function, "y_pred", predicted)
        _refuse_nan(function, "y_pred", scores)
        predicted = scores.argmax(axis=1)
    predicted = _as_labels(function, "y_pred", predicted)
    if true.ndim != 1 or true.shape != predicted.shape:
        hint = "; ravel them" if true.size == predicted.size else ""
        raise ShapeError(
            f"{function}: y_true is {np.shape(y_true)}, y_pred is {np.shape(y_pred)}; wanted (m,) labels, one-hot rows "
            f"as y_true or scores (m, K) as y_pred{hint}"
        )
    if not true.size:
        raise ValueError(f"{function}: there are no examples")
    if (true.dtype.kind == "U") != (predicted.dtype.kind == "U"):
        raise TypeError(f"{function}: y_true is of {true.dtype}, y_pred of {predicted.dtype}; wanted the same kind")
    return true, predicted


def _true(function: str, y_true: Array) -> ndarray:
    """Labels, also of one-hot rows."""
    given = _array(y_true)
    if given.ndim == 2 and given.shape[1] > 1:
        rows = _numbers(function, "y_true", given)
        wrong = (rows.sum(axis=1) != 1) | (rows.max(axis=1) != 1) | (rows.min(axis=1) != 0)
        if wrong.any():
            raise ValueError(f"{function}: y_true is {given.shape}, and row {np.argmax(wrong)} is not one-hot")
        given = rows.argmax(axis=1)
    return _as_labels(function, "y_true", given)


def _as_labels(function: str, name: str, labels: ndarray) -> ndarray:
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    if labels.dtype.kind not in "biufU":
        raise TypeError(f"{function}: {name} is of dtype {labels.dtype}, wanted labels")
    if labels.dtype.kind == "f" and labels.ndim and (labels != np.floor(labels)).any():
        raise ValueError(
            f"{function}: {name} has {labels[labels != np.floor(labels)][0]}, which is no label; of the probability of "
            "one class the labels are p > 0.5"
        )
    return labels


def _class_numbers(function: str, y_true: Array, m: int, count: int) -> ndarray:
    """Labels 0 to `count` - 1, one for each of `m` examples."""
    labels = _true(function, y_true)
    if labels.shape != (m,):
        raise ShapeError(f"{function}: y_true is {np.shape(y_true)}, wanted a label for each example, ({m},)")
    if not m:
        raise ValueError(f"{function}: there are no examples")
    if labels.dtype.kind == "U":
        raise TypeError(f"{function}: y_true is of dtype {labels.dtype}, wanted numbers 0 to {count - 1}")
    wrong = ~((labels >= 0) & (labels < count))
    if wrong.any():
        raise ValueError(f"{function}: y_true has the label {labels[np.argmax(wrong)]}, wanted 0 to {count - 1}")
    return labels.astype(np.int64)


def _probabilities(function: str, y_true: Array, p: Array) -> tuple[ndarray, ndarray]:
    """Labels and probabilities, checked."""
    values = _numbers(function, "p", p)
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
        raise ShapeError(f"{function}: p is {values.shape}, wanted (m, K), or (m,) for the probability of class 1")
    labels = _class_numbers(function, y_true, len(values), 2 if values.ndim == 1 else values.shape[1])
    wrong = ~((values >= 0) & (values <= 1))  # written so that NaN is wrong
    if wrong.any():
        raise ValueError(f"{function}: p has {values[wrong][0]}, wanted probabilities in [0, 1]; are these logits?")
    if values.ndim == 2:
        # Half the digits of the type p was computed in, as rounding is far from that, and an unnormalised row too.
        sums, tolerance = values.sum(axis=1), np.sqrt(np.finfo(values.dtype).eps)
        wrong = np.abs(sums - 1) > tolerance
        if wrong.any():
            row = int(np.argmax(wrong))
            hint = "pass p[:, 0]" if values.shape[1] == 1 else "divide by it, or use softmax"
            raise ValueError(f"{function}: p[{row}] sums to {sums[row]:.6g}, wanted 1; {hint}")
    return labels, values.astype(np.float64, copy=False)


def _array(given: Array) -> ndarray:
    return np.asarray(plain(given))


def _numbers(function: str, name: str, given: Array) -> ndarray:
    values = _array(given)
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{function}: {name} is of dtype {values.dtype}, wanted real numbers")
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _refuse_nan(function: str, name: str, scores: ndarray) -> None:
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0].tolist()
        raise ValueError(f"{function}: {name}[{row}, {column}] is NaN")
