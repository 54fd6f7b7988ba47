"""Metrics against their definitions, counted by hand, and against scikit-learn where it is installed."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, metrics
from tinygrad_fnn.errors import ShapeError

labels = st.integers(1, 30).flatmap(
    lambda m: st.tuples(*(st.lists(st.integers(-1, 4), min_size=m, max_size=m) for _ in range(2)))
)
# A quotient of integers below 100, a sum of a few of them: a few roundings.
TIGHT = {"rtol": 1e-14, "atol": 1e-15}


def problem(m: int, count: int, seed: int, dtype: str = "f8") -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities, some of them tied or 0."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 5, (m, count)) + np.eye(count)[rng.integers(0, count, m)]
    return rng.integers(0, count, m), (weights / weights.sum(axis=1, keepdims=True)).astype(dtype)


# --- labels ----------------------------------------------------------------------------------------------------------


@given(pair=labels)
def test_accuracy_and_confusion_count(pair: tuple[list[int], list[int]]) -> None:
    true, predicted = pair
    assert metrics.accuracy(true, predicted) == sum(a == b for a, b in zip(true, predicted, strict=True)) / len(true)
    classes = sorted({*true, *predicted})
    wanted = [[sum((a, b) == (i, j) for a, b in zip(true, predicted, strict=True)) for j in classes] for i in classes]
    assert_array_equal(metrics.confusion_matrix(true, predicted), np.array(wanted), strict=True)
    order = [4, -1, 3, 0, 2, 1]
    wanted = [[sum((a, b) == (i, j) for a, b in zip(true, predicted, strict=True)) for j in order] for i in order]
    assert_array_equal(metrics.confusion_matrix(true, predicted, classes=order), wanted)


@given(pair=labels)
def test_precision_recall_f1_by_definition(pair: tuple[list[int], list[int]]) -> None:
    true, predicted = (np.array(part) for part in pair)
    classes = np.unique(np.concatenate([true, predicted]))
    scores = metrics.precision_recall_f1(true, predicted)
    rows = []
    for c in classes:
        tp = int(((true == c) & (predicted == c)).sum())
        fp = int(((true != c) & (predicted == c)).sum())
        fn = int(((true == c) & (predicted != c)).sum())
        ratios = [(tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn)]
        rows.append([*(a / b if b else 0.0 for a, b in ratios), tp + fn])
    table = np.array(rows, float)
    for got, wanted in zip(scores, table.T, strict=True):
        assert_allclose(got, wanted, **TIGHT)
    weights = {"macro": np.full(len(classes), 1 / len(classes)), "weighted": table[:, 3] / table[:, 3].sum()}
    for average, w in weights.items():
        averaged = metrics.precision_recall_f1(true, predicted, average=average)
        assert_allclose(averaged[:3], w @ table[:, :3], **TIGHT)
        assert averaged.support == len(true)
    micro = metrics.precision_recall_f1(true, predicted, average="micro")
    assert_allclose(micro[:3], [np.mean(true == predicted)] * 3, **TIGHT)


def test_worked_example() -> None:
    """Small enough to count on paper."""
    true, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 0]
    assert metrics.confusion_matrix(true, predicted, 3).tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 0]]
    scores = metrics.precision_recall_f1(true, predicted)
    assert_allclose(scores.precision, [2 / 3, 1 / 2, 0], **TIGHT)
    assert_allclose(scores.recall, [2 / 3, 1 / 2, 0], **TIGHT)
    assert_allclose(scores.f1, [2 / 3, 1 / 2, 0], **TIGHT)
    assert scores.support.tolist() == [3, 2, 1]


def test_absent_classes_are_zero_or_what_was_asked_for_without_a_warning() -> None:
    true, predicted = [0, 0, 1, 1], [0, 2, 0, 0]
    scores = metrics.precision_recall_f1(true, predicted, classes=4)
    assert_allclose(scores.precision, [1 / 3, 0, 0, 0], **TIGHT)
    assert scores.recall.tolist() == [0.5, 0, 0, 0]
    assert_allclose(scores.f1, [2 / 5, 0, 0, 0], **TIGHT)
    assert scores.support.tolist() == [2, 2, 0, 0]
    unknown = metrics.precision_recall_f1(true, predicted, classes=4, zero_division=np.nan)
    assert_array_equal(np.isnan(unknown.precision), [False, True, False, True])
    assert_array_equal(np.isnan(unknown.recall), [False, False, True, True])
    assert_array_equal(np.isnan(unknown.f1), [False, False, False, True])
    macro = metrics.precision_recall_f1(true, predicted, classes=4, zero_division=np.nan, average="macro")
    assert_allclose(macro[:3], [(1 / 3) / 2, 0.5 / 2, (2 / 5) / 3], **TIGHT)
    ones = metrics.precision_recall_f1(true, predicted, classes=4, zero_division=1)
    assert_allclose(ones.precision, [1 / 3, 1, 0, 1], **TIGHT)
    nothing = metrics.precision_recall_f1([0], [1], zero_division=np.nan, average="weighted")
    assert np.isnan(nothing.precision)
    assert (nothing.recall, nothing.f1) == (0, 0)


def test_one_class() -> None:
    assert metrics.accuracy([7, 7], [7, 7]) == 1
    assert metrics.confusion_matrix([7, 7], [7, 7]).tolist() == [[2]]
    assert metrics.precision_recall_f1([7, 7], [7, 7], average="macro") == (1, 1, 1, 2)
    report = metrics.classification_report([7, 7], [7, 7])
    assert report.splitlines()[2].split() == ["7", "1.00", "1.00", "1.00", "2"]


@pytest.mark.parametrize(
    "kind",
    [list, np.array, Tensor, lambda y: np.array(y, "u1"), lambda y: np.array(y, float), lambda y: np.array(y, ">i4")],
)
def test_labels_of_every_kind(kind: Callable[[list[int]], Any]) -> None:
    true, predicted = [0, 1, 2, 2], [0, 2, 2, 2]
    assert metrics.accuracy(kind(true), predicted) == metrics.accuracy(true, kind(predicted)) == 0.75
    assert_array_equal(metrics.confusion_matrix(kind(true), kind(predicted)), [[1, 0, 0], [0, 0, 1], [0, 0, 2]])


def test_words_and_booleans_are_labels() -> None:
    assert metrics.confusion_matrix(["cat", "ox", "cat"], ["cat", "cat", "ox"]).tolist() == [[1, 1], [1, 0]]
    words = np.array(["cat", "ox", "cat"], object)
    assert metrics.accuracy(words, ["cat", "giraffe", "ox"]) == pytest.approx(1 / 3, rel=1e-15)
    assert metrics.confusion_matrix(words, words, classes=["ox", "cat"]).tolist() == [[1, 0], [0, 2]]
    assert metrics.accuracy([True, False], np.array([0.7, 0.2]) > 0.5) == 1


def test_scores_count_by_their_largest_and_one_hot_rows_by_their_one() -> None:
    true, scores = np.array([0, 1, 2, 1]), np.array([[3.0, 3, 1], [0, 0, 5], [-9, -8, -7], [0, 1, 0]])
    predicted = [0, 2, 2, 1]
    for y in (true, np.eye(3)[true], np.eye(3, dtype=bool)[true], np.eye(3, dtype=int)[true]):
        assert metrics.accuracy(y, scores) == 0.75
        assert_array_equal(metrics.confusion_matrix(y, scores, 3), metrics.confusion_matrix(true, predicted, 3))
        assert metrics.top_k_accuracy(y, scores, 1) == 0.75
    tracked = Tensor(scores, requires_grad=True) * 1.0
    assert metrics.accuracy(true, tracked) == 0.75


@given(m=st.integers(1, 20), count=st.integers(1, 6), seed=st.integers(0, 999))
def test_top_k_by_sorting(m: int, count: int, seed: int) -> None:
    y, p = problem(m, count, seed)
    for k in range(1, count + 1):
        best = np.argsort(-p, axis=1, kind="stable")[:, :k]  # of equal scores the lower class first
        assert metrics.top_k_accuracy(y, p, k) == np.mean([label in row for label, row in zip(y, best, strict=True)])
    assert metrics.top_k_accuracy(y, p, 1) == metrics.accuracy(y, p.argmax(axis=1))
    assert metrics.top_k_accuracy(y, p, count) == 1


def test_top_k_takes_infinite_scores() -> None:
    scores = [[-np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]]
    assert metrics.top_k_accuracy([1, 2], scores, 1) == 0.5
    assert metrics.top_k_accuracy([1, 2], scores, 3) == 1


def test_report_rows() -> None:
    text = metrics.classification_report([0, 0, 1, 2], [0, 1, 1, 1], names=["no", "yes, indeed it is", "?"], digits=3)
    lines = text.splitlines()
    assert lines[0].split() == ["precision", "recall", "f1-score", "support"]
    assert lines[3].split() == ["yes,", "indeed", "it", "is", "0.333", "1.000", "0.500", "1"]
    assert lines[-3].split() == ["accuracy", "0.500", "4"]
    assert lines[-1].split() == ["weighted", "avg", "0.583", "0.500", "0.458", "4"]
    assert len({len(line) for line in lines if line}) == 1
    with pytest.raises(ValueError, match="there are 3 classes and 1 names"):
        metrics.classification_report([0, 1, 2], [0, 1, 2], names=["a"])


# --- probabilities ---------------------------------------------------------------------------------------------------


@given(m=st.integers(1, 20), count=st.integers(2, 5), seed=st.integers(0, 999))
def test_brier_by_definition(m: int, count: int, seed: int) -> None:
    y, p = problem(m, count, seed)
    wanted = np.mean([sum((p[i, c] - (y[i] == c)) ** 2 for c in range(count)) for i in range(m)])
    assert_allclose(metrics.brier_score(y, p), wanted, **TIGHT)
    if count == 2:
        assert_allclose(metrics.brier_score(y, p[:, 1]), wanted / 2, **TIGHT)


def test_brier_limits() -> None:
    assert metrics.brier_score([0, 1], np.eye(2)) == 0
    assert metrics.brier_score([1, 0], np.eye(2)) == 2
    assert metrics.brier_score([1, 0], [0.0, 1.0]) == 1
    assert metrics.brier_score([True, False], [0.5, 0.5]) == 0.25


@given(m=st.integers(1, 40), count=st.integers(2, 4), bins=st.integers(1, 12), seed=st.integers(0, 999))
def test_calibration_by_definition(m: int, count: int, bins: int, seed: int) -> None:
    y, p = problem(m, count, seed)
    events = [(p[:, 1], y), (p.max(axis=1), y == p.argmax(axis=1))] if count == 2 else [(p.max(axis=1), None)]
    for given_p, (q, happened) in zip((p[:, 1], p) if count == 2 else (p,), events, strict=True):
        event = y == p.argmax(axis=1) if happened is None else happened
        rows, edges = [], np.linspace(0, 1, bins + 1)
        for b in range(bins):
            inside = (q <= edges[b + 1]) & ((q > edges[b]) | (b == 0))
            if inside.any():
                rows.append([event[inside].mean(), q[inside].mean(), inside.sum()])
        curve = metrics.calibration_curve(y, given_p, bins)
        for got, wanted in zip(curve, np.array(rows).T, strict=True):
            assert_allclose(got, wanted, **TIGHT)
        error = sum(n / m * abs(a - b) for a, b, n in rows)
        assert_allclose(metrics.expected_calibration_error(y, given_p, bins), error, rtol=1e-13, atol=1e-15)


def test_perfect_and_worst_calibration() -> None:
    assert metrics.expected_calibration_error([0, 1], np.eye(2)) == 0
    assert metrics.expected_calibration_error([1, 0], np.eye(2)) == 1
    assert metrics.expected_calibration_error([0, 1, 0, 1], [0.5] * 4) == 0
    curve = metrics.calibration_curve([0, 1], [0.0, 1.0], 4)
    assert [part.tolist() for part in curve] == [[0, 1], [0, 1], [1, 1]]


def test_float32_probabilities_of_many_classes_pass() -> None:
    y, p = problem(50, 1000, 0, "f4")
    assert np.isfinite(metrics.brier_score(y, p))
    y, p = problem(50, 10, 0, "f2")
    assert np.isfinite(metrics.brier_score(y, p))


# --- scikit-learn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_as_scikit_learn_has_it(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(seed)
    m, count = int(rng.integers(5, 60)), int(rng.integers(2, 6))
    true, predicted = rng.integers(0, count, m), rng.integers(0, count + 1, m)
    assert metrics.accuracy(true, predicted) == sklearn.accuracy_score(true, predicted)
    assert_array_equal(metrics.confusion_matrix(true, predicted), sklearn.confusion_matrix(true, predicted))
    for average in (None, "macro", "micro", "weighted"):
        for zero in (0.0, 1.0, np.nan):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about classes that are absent
                wanted = sklearn.precision_recall_fscore_support(
                    true, predicted, average=average, zero_division=zero, labels=range(count + 2)
                )
            got = metrics.precision_recall_f1(true, predicted, average=average, zero_division=zero, classes=count + 2)
            for a, b in zip(got[:3], wanted[:3], strict=True):
                assert_allclose(a, b, **TIGHT)
    for names in (None, [f"class {k}" for k in range(len(np.unique(np.concatenate([true, predicted]))))]):
        assert metrics.classification_report(true, predicted, names=names, digits=3) == sklearn.classification_report(
            true, predicted, target_names=names, digits=3, zero_division=0
        )
    scores = rng.random((m, count + 1))  # no ties, which are decided otherwise there
    for k in range(1, count + 1):
        assert metrics.top_k_accuracy(true, scores, k) == sklearn.top_k_accuracy_score(
            true, scores, k=k, labels=range(count + 1)
        )
    p = rng.random(m)
    event = rng.integers(0, 2, m)
    assert_allclose(metrics.brier_score(event, p), sklearn.brier_score_loss(event, p, pos_label=1), **TIGHT)
    curve = metrics.calibration_curve(event, p, 7)
    for a, b in zip(curve, calibration.calibration_curve(event, p, n_bins=7, pos_label=1), strict=False):
        assert_allclose(a, b, **TIGHT)


# --- refusals --------------------------------------------------------------------------------------------------------

PAIRWISE = {
    "accuracy": metrics.accuracy,
    "confusion_matrix": metrics.confusion_matrix,
    "precision_recall_f1": metrics.precision_recall_f1,
    "classification_report": metrics.classification_report,
}
PROBABILISTIC = {
    "brier_score": metrics.brier_score,
    "calibration_curve": metrics.calibration_curve,
    "expected_calibration_error": metrics.expected_calibration_error,
}


def test_every_metric_is_among_those_refused_below() -> None:
    functions = {name for name in metrics.__all__ if not isinstance(getattr(metrics, name), type)}
    assert functions == {*PAIRWISE, *PROBABILISTIC, "top_k_accuracy"}


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize(
    ("true", "predicted", "error", "message"),
    [
        ([], [], ValueError, "there are no examples"),
        ([0, 1], [0], ShapeError, r"y_true is \(2,\), y_pred is \(1,\)"),
        (0, 0, ShapeError, r"y_true is \(\), y_pred is \(\)"),
        ([0, 1], [[0], [1]], ShapeError, r"y_pred is \(2, 1\); .*ravel them"),
        ([[[0]]], [[[0]]], ShapeError, "wanted"),
        ([0, 1], [0.2, 0.9], ValueError, "y_pred has 0.2, which is no label; .* p > 0.5"),
        ([0.5, 1], [0, 1], ValueError, "y_true has 0.5"),
        ([0, 1], [np.nan, 1], ValueError, "y_pred has nan"),
        ([0, 1], [[0, 1], [np.nan, 2]], ValueError, r"y_pred\[1, 0\] is NaN"),
        ([[0, 1], [0.5, 0.5]], [0, 1], ValueError, "row 1 is not one-hot"),
        ([[0, 2], [0, 1]], [0, 1], ValueError, "row 0 is not one-hot"),
        ([[1, 1, -1], [0, 1, 0]], [0, 1], ValueError, "row 0 is not one-hot"),
        (["a", "b"], [0, 1], TypeError, "y_true is of <U1, y_pred of int64; wanted the same kind"),
        ([0, 1], [1j, 0], TypeError, "y_pred is of dtype complex128, wanted labels"),
        ([0, 1], [None, 0], TypeError, "y_pred is of dtype object, wanted labels"),
        ([0, 1], [["a", "b"], ["c", "d"]], TypeError, "y_pred is of dtype <U1, wanted real numbers"),
    ],
)
def test_pairs_are_refused(name: str, true: Any, predicted: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"^{name}: .*{message}|^{name}: {message}"):
        PAIRWISE[name](true, predicted)


@pytest.mark.parametrize("name", [name for name in PAIRWISE if name != "accuracy"])
@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (2, ValueError, "y_true has the label 2, which is none of the classes 0, 1"),
        ([0, 2], ValueError, "y_pred has the label 1, which is none of the classes 0, 2"),
        ([0, 1, 2, 1], ValueError, "classes has 1 twice"),
        (0, ValueError, "classes is 0, wanted a number > 0"),
        ([], ShapeError, r"classes is \(0,\), wanted \(K,\)"),
        ([[0, 1, 2]], ShapeError, r"classes is \(1, 3\)"),
        (range(11, 40), ValueError, r"y_true has the label 0, .* 11, 12, .*20, \.\.\."),
        (True, ShapeError, r"classes is \(\)"),
    ],
)
def test_classes_are_refused(name: str, classes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        PAIRWISE[name]([0, 2], [0, 1], classes=classes)


@pytest.mark.parametrize("name", PROBABILISTIC)
@pytest.mark.parametrize(
    ("true", "p", "error", "message"),
    [
        ([], [], ValueError, "there are no examples"),
        ([], np.zeros((0, 3)), ValueError, "there are no examples"),
        ([0], np.zeros((1, 0)), ShapeError, r"p is \(1, 0\)"),
        ([0], 0.5, ShapeError, r"p is \(\), wanted \(m, K\), or \(m,\)"),
        ([0], [[[0.5]]], ShapeError, r"p is \(1, 1, 1\)"),
        ([0, 1], [0.5], ShapeError, r"y_true is \(2,\), wanted a label for each example, \(1,\)"),
        ([0], [1.5], ValueError, "p has 1.5, wanted probabilities in .* are these logits"),
        ([0], [-0.5], ValueError, "p has -0.5"),
        ([0], [np.nan], ValueError, "p has nan"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.4]], ValueError, r"p\[1\] sums to 0.9, wanted 1; divide by it, or use softmax"),
        ([0], [[0.5]], ValueError, r"p\[0\] sums to 0.5, wanted 1; pass p\[:, 0\]"),
        ([2], [0.5], ValueError, "y_true has the label 2, wanted 0 to 1"),
        ([3], [[0.5, 0.25, 0.25]], ValueError, "y_true has the label 3, wanted 0 to 2"),
        ([-1], [[0.5, 0.25, 0.25]], ValueError, "y_true has the label -1"),
        (["a"], [0.5], TypeError, "y_true is of dtype <U1, wanted numbers 0 to 1"),
        ([0], ["a"], TypeError, "p is of dtype <U1, wanted real numbers"),
    ],
)
def test_probabilities_are_refused(name: str, true: Any, p: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{name}: {message}"):
        PROBABILISTIC[name](true, p)


@pytest.mark.parametrize("name", ["calibration_curve", "expected_calibration_error"])
def test_bins_are_refused(name: str) -> None:
    for bins, error in ((0, ValueError), (-3, ValueError), (2.0, TypeError), (True, TypeError), ("3", TypeError)):
        with pytest.raises(error, match=f"^{name}: bins is "):
            PROBABILISTIC[name]([0, 1], [0.5, 0.5], bins=bins)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (([0], [[0.5, 0.5]], 0), ValueError, "k is 0, wanted 1 to 2, the number of classes"),
        (([0], [[0.5, 0.5]], 3), ValueError, "k is 3"),
        (([0], [[0.5, 0.5]], 1.0), TypeError, "k is a float"),
        (([0], [[0.5, 0.5]], True), TypeError, "k is a bool"),
        (([0], [0.5, 0.5], 1), ShapeError, r"scores is \(2,\), wanted \(m, K\)"),
        (([0, 1], [[0.5, 0.5]], 1), ShapeError, r"y_true is \(2,\), wanted a label for each example, \(1,\)"),
        (([2], [[0.5, 0.5]], 1), ValueError, "y_true has the label 2"),
        (([0], [[0.5, np.nan]], 1), ValueError, r"scores\[0, 1\] is NaN"),
        (([], np.zeros((0, 2)), 1), ValueError, "no examples"),
    ],
)
def test_top_k_refuses(args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^top_k_accuracy: {message}|^top_k_accuracy: there are {message}"):
        metrics.top_k_accuracy(*args)


def test_averages_and_zero_division_are_refused() -> None:
    with pytest.raises(ValueError, match="average is 'samples', wanted None or one of 'macro', 'micro', 'weighted'"):
        metrics.precision_recall_f1([0], [0], average="samples")
    with pytest.raises(ValueError, match=r"zero_division is 0\.5, wanted 0, 1 or NaN"):
        metrics.precision_recall_f1([0], [0], zero_division=0.5)
