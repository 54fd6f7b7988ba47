"""The pictures: what matplotlib's objects hold, for every one of `plot.__all__`; and the errors."""

import io
import os
import subprocess
import sys
from itertools import chain, pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, data, nn, one_hot, plot
from tinygrad_fnn.check import textbook
from tinygrad_fnn.errors import MissingExtraError, ShapeError

X, Y = np.random.default_rng(0).uniform(size=(12, 400)), np.arange(12) % 10
READ = np.where(np.arange(12) % 3 == 1, 5, Y)
PLANE = np.random.default_rng(1).normal(size=(30, 2))
SIDES = (PLANE[:, 0] > 0).astype(int)


def weigh(points):
    return points[:, 0]


# One call of each function. A new function without one fails `test_every_picture_is_called`.
CALLS = {
    "plot_calibration": lambda **k: plot.plot_calibration([0.1, 0.6], [0.2, 0.7], [3, 9], **k),
    "plot_confusion_matrix": lambda **k: plot.plot_confusion_matrix([[8, 2], [1, 5]], ["cat", "dog"], **k),
    "plot_costs": lambda **k: plot.plot_costs([3.0, 2.0, 1.0], **k),
    "plot_decision_boundary": lambda **k: plot.plot_decision_boundary(weigh, PLANE, SIDES, threshold=0, **k),
    "plot_deltas": lambda **k: plot.plot_deltas([X[:, :5], -X[:, :3]], **k),
    "plot_digits": lambda **k: plot.plot_digits(X, Y, READ, **k),
    "plot_hidden_units": lambda **k: plot.plot_hidden_units(X - 0.5, **k),
    "plot_history": lambda **k: plot.plot_history({"loss": [2.0, 1.0], "val_loss": [2.0, 3.0]}, **k),
    "plot_learning_curve": lambda **k: plot.plot_learning_curve([1, 5, 9], [0.0, 0.1, 0.2], [0.9, 0.5, 0.4], **k),
    "plot_logistic": lambda **k: plot.plot_logistic(**k),
    "plot_misread": lambda **k: plot.plot_misread(X, Y, READ, **k),
    "plot_validation_curve": lambda **k: plot.plot_validation_curve([0, 1, 3], [0.1, 0.2, 0.4], [0.9, 0.5, 0.6], **k),
}
every_picture = pytest.mark.parametrize("name", plot.__all__)


@pytest.fixture(autouse=True)
def _drawable(request):
    if "without_matplotlib" not in request.node.name:
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")


def new_axes(**options):
    from matplotlib.figure import Figure

    return Figure(**options).add_subplot()


def cells(ax):
    """The pictures of a grid, cut out along the masked gaps; from left to right, line by line."""
    sheet = ax.images[0].get_array()
    shown = ~np.ma.getmaskarray(sheet)
    rows, columns = runs(shown.any(axis=1)), runs(shown.any(axis=0))
    found = [sheet[r, c] for r in rows for c in columns]
    return [np.asarray(cell) for cell in found if not np.ma.getmaskarray(cell).all()]


def runs(shown):
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]])))
    return [slice(*pair) for pair in edges.reshape(-1, 2)]


# --- every picture --------------------------------------------------------------------------------------------------


def test_every_picture_is_called():
    assert sorted(CALLS) == sorted(plot.__all__)


@every_picture
def test_it_draws_into_the_axes_it_is_given(name):
    ax = new_axes()
    assert CALLS[name](ax=ax) is ax
    assert ax.images or ax.lines or ax.texts


@every_picture
def test_without_axes_it_makes_a_figure_that_can_be_written_and_read(name):
    ax = CALLS[name]()
    stream = io.BytesIO()
    ax.figure.savefig(stream, dpi=100)  # warnings, of a layout that does not fit for example, are errors here
    assert stream.getvalue().startswith(b"\x89PNG")
    texts = [*ax.texts, *(t for t in [*ax.get_xticklabels(), *ax.get_yticklabels()] if ax.axison), ax.title]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)]


@every_picture
def test_a_second_picture_in_the_same_axes_is_possible(name):
    ax = new_axes()
    CALLS[name](ax=ax)
    assert CALLS[name](ax=ax) is ax


@every_picture
def test_axes_that_are_none_are_refused_by_name(name):
    with pytest.raises(TypeError, match=rf"{name}: ax is a list, wanted one matplotlib Axes"):
        CALLS[name](ax=[new_axes()])


@every_picture
def test_without_matplotlib_the_error_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tinygrad_fnn\[plot\]"'):
        CALLS[name]()


def test_pyplot_and_the_settings_are_left_alone():
    code = """
import sys, matplotlib, test_plot
before = dict(matplotlib.rcParams)
for call in test_plot.CALLS.values():
    call()
assert "matplotlib.pyplot" not in sys.modules
assert dict(matplotlib.rcParams) == before
print("done")
"""
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.strip() == "done", done.stderr


def test_the_package_imports_without_matplotlib_and_without_scipy():
    code = "import tinygrad_fnn, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'matplotlib', 'scipy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- what cannot be drawn -------------------------------------------------------------------------------------------

NAN = [0.5, np.nan]
REFUSED = {
    "digits, no squares": (lambda: plot.plot_digits(np.zeros((2, 401))), ShapeError, r"plot_digits: .*\(2, 401\)"),
    "digits, bias": (lambda: plot.plot_digits(np.zeros((2, 401))), ShapeError, r"is the bias column still in it\?"),
    "digits, a vector": (lambda: plot.plot_digits(np.zeros(400)), ShapeError, r"plot_digits: X is \(400,\), wanted"),
    "digits, none": (lambda: plot.plot_digits(np.zeros((0, 400))), ShapeError, r"plot_digits: X is empty, \(0, 400\)"),
    "digits, ragged": (lambda: plot.plot_digits([[1.0], [1.0, 2.0]]), ShapeError, "plot_digits: X is no array"),
    "digits, NaN": (lambda: plot.plot_digits([[0.0, 0, 0, np.nan]]), ValueError, r"plot_digits: X\[0, 3\] is nan"),
    "digits, text": (lambda: plot.plot_digits([["a"]]), TypeError, "plot_digits: X has dtype <U1"),
    "digits, complex": (lambda: plot.plot_digits([[1j]]), TypeError, "plot_digits: X has dtype complex128"),
    "digits, labels": (lambda: plot.plot_digits(X, Y[:5]), ShapeError, "plot_digits: labels has 5 entries, wanted 12"),
    "digits, one-hot": (lambda: plot.plot_digits(X, np.eye(12)), ShapeError, r"labels is \(12, 12\), wanted \(12,\)"),
    "digits, a word": (lambda: plot.plot_digits(X, "abcdefghijkl"), ShapeError, "plot_digits: labels is str"),
    "digits, read": (lambda: plot.plot_digits(X, Y, [1]), ShapeError, "plot_digits: predictions has 1 entries"),
    "digits, columns": (lambda: plot.plot_digits(X, columns=0), ValueError, "plot_digits: columns is 0, wanted"),
    "digits, columns 2.5": (lambda: plot.plot_digits(X, columns=2.5), ValueError, "plot_digits: columns is 2.5"),
    "misread, y": (lambda: plot.plot_misread(X, Y[:5], READ), ShapeError, "plot_misread: y has 5 entries"),
    "misread, limit": (lambda: plot.plot_misread(X, Y, READ, limit=-1), ValueError, "plot_misread: limit is -1"),
    "units, bias": (
        lambda: plot.plot_hidden_units(np.zeros((2, 401))),
        ShapeError,
        "plot_hidden_units: .* bias column",
    ),
    "units, infinite": (lambda: plot.plot_hidden_units([[np.inf]]), ValueError, r"plot_hidden_units: W\[0, 0\] is inf"),
    "deltas, array": (lambda: plot.plot_deltas(X), TypeError, "plot_deltas: deltas is a ndarray, wanted a dict"),
    "deltas, none": (lambda: plot.plot_deltas({}), ShapeError, "plot_deltas: .* got no layer"),
    "deltas, None": (lambda: plot.plot_deltas({"a": None}), ValueError, r"plot_deltas: deltas\['a'\] is None"),
    "deltas, lengths": (lambda: plot.plot_deltas([X, X[:3]]), ShapeError, r"layer 0 \(12, 400\), layer 1 \(3, 400\)"),
    "deltas, vector": (lambda: plot.plot_deltas({"a": Y}), ShapeError, r"plot_deltas: deltas\['a'\] is \(12,\)"),
    "deltas, NaN": (lambda: plot.plot_deltas({"a": [NAN]}), ValueError, r"plot_deltas: deltas\['a'\]\[0, 1\] is nan"),
    "logistic": (lambda: plot.plot_logistic(limit=0), ValueError, "plot_logistic: limit is 0"),
    "costs, none": (lambda: plot.plot_costs([]), ShapeError, "plot_costs: costs is empty"),
    "costs, NaN": (lambda: plot.plot_costs(NAN), ValueError, r"plot_costs: costs\[1\] is nan"),
    "costs, zero": (lambda: plot.plot_costs([1, 0]), ValueError, r"plot_costs: costs\[1\] is 0.* log=False"),
    "costs, a number": (lambda: plot.plot_costs(1.0), ShapeError, r"plot_costs: costs is \(\), wanted \(n,\)"),
    "history, metric": (lambda: plot.plot_history({"loss": [1]}, "f1"), KeyError, "plot_history: .*'f1'; it has loss"),
    "history, no epoch": (lambda: plot.plot_history({}), KeyError, "plot_history: .*'loss'; it has none"),
    "history, mode": (
        lambda: plot.plot_history({"loss": [1]}, mode="best"),
        ValueError,
        "plot_history: mode is 'best'",
    ),
    "history, none": (lambda: plot.plot_history({"loss": []}), ShapeError, r"plot_history: history\['loss'\] is empty"),
    "history, NaN": (
        lambda: plot.plot_history({"loss": NAN}),
        ValueError,
        r"plot_history: history\['loss'\]\[1\] is nan",
    ),
    "history, lengths": (
        lambda: plot.plot_history({"loss": [1, 2], "val_loss": [1]}),
        ShapeError,
        r"plot_history: .* history\['loss'\] \(2,\), history\['val_loss'\] \(1,\)",
    ),
    "history, log": (
        lambda: plot.plot_history({"loss": [1, 2], "val_loss": [1, -1]}, log=True),
        ValueError,
        r"plot_history: history\['val_loss'\]\[1\] is -1",
    ),
    "sizes": (lambda: plot.plot_learning_curve([0, 1], [1, 1], [1, 1]), ValueError, "plot_learning_curve: sizes has 0"),
    "sizes, lengths": (
        lambda: plot.plot_learning_curve([1, 2], [1], [1, 1]),
        ShapeError,
        r"sizes \(2,\), train \(1,\)",
    ),
    "sizes, NaN": (
        lambda: plot.plot_learning_curve([1, 2], NAN, [1, 1]),
        ValueError,
        r"plot_learning_curve: train\[1\]",
    ),
    "lambdas": (
        lambda: plot.plot_validation_curve([-1], [1], [1]),
        ValueError,
        "plot_validation_curve: lambdas has -1",
    ),
    "confusion, shape": (
        lambda: plot.plot_confusion_matrix([[1, 2]]),
        ShapeError,
        r"plot_confusion_matrix: .*\(1, 2\)",
    ),
    "confusion, negative": (lambda: plot.plot_confusion_matrix([[-1]]), ValueError, "plot_confusion_matrix: .* -1"),
    "confusion, classes": (lambda: plot.plot_confusion_matrix([[1]], ["a", "b"]), ShapeError, "classes has 2 entries"),
    "confusion, rates": (
        lambda: plot.plot_confusion_matrix([[1]], normalize=True),
        ValueError,
        "plot_confusion_matrix: normalize is True, wanted 'true', 'pred', 'all'",
    ),
    "calibration, lengths": (
        lambda: plot.plot_calibration([0.1], [0.1, 0.2]),
        ShapeError,
        r"plot_calibration: .*prob_pred \(2,\)",
    ),
    "calibration, range": (
        lambda: plot.plot_calibration([0.1], [1.2]),
        ValueError,
        "plot_calibration: prob_pred is .*1.2",
    ),
    "calibration, NaN": (
        lambda: plot.plot_calibration(NAN, [0, 1]),
        ValueError,
        r"plot_calibration: prob_true\[1\] is nan",
    ),
    "calibration, counts": (
        lambda: plot.plot_calibration([0.1], [0.2], [0]),
        ValueError,
        "plot_calibration: counts holds 0",
    ),
    "boundary, X": (
        lambda: plot.plot_decision_boundary(weigh, X, Y, threshold=0),
        ShapeError,
        r"plot_decision_boundary: X is \(12, 400\), wanted \(m, 2\)",
    ),
    "boundary, y": (
        lambda: plot.plot_decision_boundary(weigh, PLANE, SIDES[:3], threshold=0),
        ShapeError,
        r"plot_decision_boundary: y is \(3,\), wanted \(30,\)",
    ),
    "boundary, classes": (
        lambda: plot.plot_decision_boundary(weigh, PLANE, SIDES * 1.0, threshold=0),
        TypeError,
        "plot_decision_boundary: y has dtype float64, wanted integers",
    ),
    "boundary, too many": (
        lambda: plot.plot_decision_boundary(weigh, PLANE, SIDES + 99, threshold=0),
        ValueError,
        "plot_decision_boundary: y has classes from 99 to 100, wanted 0 to 9",
    ),
    "boundary, no function": (
        lambda: plot.plot_decision_boundary(3, PLANE, SIDES),
        TypeError,
        "plot_decision_boundary: scores is a int, wanted a function",
    ),
    "boundary, threshold": (
        lambda: plot.plot_decision_boundary(weigh, PLANE, SIDES),
        ValueError,
        "wants a threshold: 0 for logits, 0.5 for probabilities",
    ),
    "boundary, needless": (
        lambda: plot.plot_decision_boundary(lambda p: p, PLANE, SIDES, threshold=0),
        ValueError,
        r"threshold is 0, but scores returned \(40000, 2\)",
    ),
    "boundary, scores": (
        lambda: plot.plot_decision_boundary(lambda p: p[1:, 0], PLANE, SIDES, threshold=0),
        ShapeError,
        r"what scores returned is \(39999,\), wanted \(40000, K\)",
    ),
    "boundary, NaN": (
        lambda: plot.plot_decision_boundary(lambda p: p * np.nan, PLANE, SIDES),
        ValueError,
        r"plot_decision_boundary: what scores returned\[0, 0\] is nan",
    ),
    "boundary, resolution": (
        lambda: plot.plot_decision_boundary(weigh, PLANE, SIDES, threshold=0, resolution=1),
        ValueError,
        "plot_decision_boundary: resolution is 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_by_name_even_without_matplotlib(case):
    call, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        call()


# --- pictures -------------------------------------------------------------------------------------------------------


def test_the_courses_digits_are_drawn_upright():
    digits, labels = data.digits()
    ax = plot.plot_digits(digits[:4980:300], labels[:4980:300], columns=5)
    found = cells(ax)
    assert len(found) == 17
    for picture, row in zip(found, digits[:4980:300], strict=True):
        assert_array_equal(picture, row.reshape(20, 20).T)
    assert ax.images[0].get_clim() == (0, 1)  # an overshoot of 0.13 makes no black grey
    assert ax.images[0].origin == "upper"
    # A test of "upright" that does not repeat the reshape: the stroke of a 7 goes from the top to below.
    seven = cells(plot.plot_digits(digits[labels == 7].mean(axis=0)[None]))[0]
    assert seven[:10].sum(axis=0).argmax() > 5
    assert np.ptp(np.flatnonzero(seven[5] > 0.3)) > np.ptp(np.flatnonzero(seven[15] > 0.3))


def test_mnists_digits_are_drawn_upright_without_being_told():
    digits, _ = data.digits(28)
    found = cells(plot.plot_digits(digits[:3]))
    for picture, row in zip(found, digits[:3], strict=True):
        assert_array_equal(picture, row.reshape(28, 28))


@pytest.mark.parametrize(("side", "by_default"), [(20, True), (28, False), (1, False), (7, False)])
@pytest.mark.parametrize("column_major", [None, True, False])
def test_the_order_of_pixels(side, by_default, column_major):
    rows = np.random.default_rng(0).uniform(size=(3, side * side)).astype(np.float32)
    order = "F" if (by_default if column_major is None else column_major) else "C"
    for call in (plot.plot_digits, plot.plot_hidden_units):
        found = cells(call(rows, column_major=column_major))
        for picture, row in zip(found, rows, strict=True):
            assert_array_equal(picture, row.reshape(side, side, order=order))


def test_captions_stand_above_their_pictures_and_mark_what_was_misread():
    ax = plot.plot_digits(X, Y, READ, columns=5)
    expected = [str(y) if y == read else f"{y} read as {read}" for y, read in zip(Y, READ, strict=True)]
    assert [text.get_text() for text in ax.texts] == expected
    assert {text.get_color() for text in ax.texts if "read as" in text.get_text()} == {"firebrick"}
    assert {text.get_color() for text in ax.texts if "read as" not in text.get_text()} == {"black"}


@pytest.mark.parametrize("size", [None, (3, 3), (6, 2), (2, 6)])
@pytest.mark.parametrize("columns", [3, 10])
def test_captions_cover_no_picture(size, columns):
    ax = plot.plot_digits(X, Y, READ, columns=columns, ax=size and new_axes(figsize=size))
    ax.figure.draw_without_rendering()
    shown = ~np.ma.getmaskarray(ax.images[0].get_array())
    for text in ax.texts:
        left, bottom, right, top = ax.transData.inverted().transform(text.get_window_extent()).ravel()
        rows = slice(max(0, int(np.floor(top + 0.5))), int(np.floor(bottom + 0.5)))  # y grows downwards
        columns_of = slice(max(0, int(left)), int(right))
        assert not shown[rows, columns_of].any()


@pytest.mark.parametrize(("scale", "limits"), [(1, (0, 1)), (255, (0, 255)), (np.uint8(255), (0, 255))])
def test_grey_values_of_another_scale_are_drawn_from_black_to_white(scale, limits):
    rows = np.array([[0, 1, 1, 0]], dtype=getattr(scale, "dtype", float)) * scale
    assert plot.plot_digits(rows).images[0].get_clim() == limits


def test_labels_of_any_kind_and_tensors_are_taken():
    ax = plot.plot_digits(Tensor(X[:2], requires_grad=True), ["a", "b"])
    assert [text.get_text() for text in ax.texts] == ["a", "b"]
    assert [text.get_text() for text in plot.plot_digits(X, predictions=Tensor(Y)).texts] == [str(y) for y in Y]
    assert not plot.plot_digits(X).texts


def test_only_the_misread_are_shown():
    ax = plot.plot_misread(X, Y, READ, limit=2)
    wrong = np.flatnonzero(Y != READ)
    for picture, k in zip(cells(ax), wrong[:2], strict=True):
        assert_array_equal(picture, X[k].reshape(20, 20).T)
    assert [text.get_text() for text in ax.texts] == [f"{Y[k]} read as 5" for k in wrong[:2]]
    assert ax.get_title() == f"{len(wrong)} of 12 misread, the first 2 shown"
    assert plot.plot_misread(X, Y, READ).get_title() == f"{len(wrong)} of 12 misread"


def test_where_none_is_misread_it_says_so():
    ax = plot.plot_misread(X, Y, Y)
    assert ax.get_title() == "0 of 12 misread"
    assert not ax.images


def test_hidden_units_share_a_scale_that_is_symmetric_about_0():
    W = np.random.default_rng(0).normal(size=(7, 16)) * np.arange(7)[:, None]
    ax = plot.plot_hidden_units(W, columns=3)
    for picture, row in zip(cells(ax), W, strict=True):
        assert_array_equal(picture, row.reshape(4, 4))
    largest = np.abs(W).max()
    assert ax.images[0].get_clim() == (-largest, largest)
    bar = next(a for a in ax.figure.axes if a is not ax)
    assert bar.get_ylabel() == "weight"
    middle = ax.images[0].cmap(0.5)
    assert min(middle[:3]) > 0.9  # 0 is nearly white
    assert [text.get_text() for text in ax.texts] == [str(k) for k in range(7)]


@pytest.mark.parametrize("W", [np.zeros((2, 4)), np.ones((1, 1), np.float32), np.full((2, 4), -128, np.int8)])
def test_weights_that_are_all_equal_have_a_scale(W):
    low, high = plot.plot_hidden_units(W).images[0].get_clim()
    assert -low == high == (np.abs(W.astype(float)).max() or 1)


def test_deltas_of_the_textbook():
    model = nn.DigitNet(9, [5, 4], 3, rng=0)
    targets = np.eye(3)[[0, 1, 2, 1]]
    deltas = textbook.gradients(model.thetas(), X[:4, :9], targets).deltas
    ax = plot.plot_deltas(deltas)
    for image, delta in zip(ax.images, deltas, strict=True):
        assert_array_equal(image.get_array(), delta)
    largest = max(np.abs(delta).max() for delta in deltas)
    assert {image.get_clim() for image in ax.images} == {(-largest, largest)}
    expected = [f"layer {l}\nmax {np.abs(delta).max():.2g}" for l, delta in enumerate(deltas)]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == expected
    assert ax.get_ylim() == (3.5, -0.5)  # the first example is at the top
    left, right = np.array([image.get_extent()[:2] for image in ax.images]).T
    assert (left[1:] > right[:-1]).all()
    assert all(a < tick < b for a, tick, b in zip(left, ax.get_xticks(), right, strict=True))


def test_deltas_that_capture_recorded_stand_in_the_order_of_the_layers():
    model = nn.DigitNet(9, 4, 3, rng=0)
    targets = np.eye(3)[[0, 1, 2, 1]]
    with nn.capture(model) as seen:
        cost = model.cost(X[:4, :9], targets)
    cost.backward()
    ax = plot.plot_deltas(seen)
    names = [tick.get_text().split("\n")[0] for tick in ax.get_xticklabels()]
    assert names == ["layers.0", "activation", "layers.1"]
    by_hand = textbook.gradients(model.thetas(), X[:4, :9], targets)
    assert_allclose(ax.images[0].get_array(), by_hand.deltas[0], rtol=1e-12)  # two orders of summation
    assert_allclose(ax.images[2].get_array(), by_hand.deltas[1], rtol=1e-12)
    assert_array_equal(plot.plot_deltas(by_hand).images[0].get_array(), by_hand.deltas[0])


def test_deltas_by_name_and_of_more_axes():
    cube = np.arange(24.0).reshape(2, 3, 4)
    ax = plot.plot_deltas({"body.0": Tensor(cube), "head": [[0.0], [0.0]]})
    assert_array_equal(ax.images[0].get_array(), cube.reshape(2, 12))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["body.0\nmax 23", "head\nmax 0"]


@pytest.mark.parametrize("count", [2, 5, 9])
def test_long_names_of_layers_do_not_overlap(count):
    ax = plot.plot_deltas({f"encoder.blocks.{k}.linear": X[:, :3] for k in range(count)})
    ax.figure.draw_without_rendering()
    boxes = [tick.get_window_extent() for tick in ax.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


# --- curves ---------------------------------------------------------------------------------------------------------


def test_logistic_curve_and_its_derivative():
    ax = plot.plot_logistic(limit=6)
    curve, slope = (line.get_xydata() for line in ax.lines)
    assert_allclose(curve[[0, -1], 0], [-6, 6])
    assert_allclose(curve[:, 1], 1 / (1 + np.exp(-curve[:, 0])), rtol=1e-14)
    assert_allclose(slope[:, 1], curve[:, 1] * (1 - curve[:, 1]), rtol=1e-11)  # 1 - a loses digits up to z = 6


def test_costs_are_drawn_against_iterations_from_one():
    ax = plot.plot_costs([3.0, 2.0, 1.0])
    assert_array_equal(ax.lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    assert ax.get_yscale() == "log"
    ax = plot.plot_costs([1.0, 0.0, -1.0], log=False)
    assert ax.get_yscale() == "linear"
    assert_array_equal(ax.lines[0].get_ydata(), [1, 0, -1])


class Table:
    """As `training.History`: columns by name, a KeyError for others, no `get`."""

    def __init__(self, **columns):
        self.columns = columns

    def __getitem__(self, name):
        return self.columns[name]


@pytest.mark.parametrize("kind", [dict, Table])
def test_history_is_drawn_with_its_best_epoch(kind):
    history = kind(loss=[2.0, 1.0, 0.5, 0.25], val_loss=[3.0, 1.5, 1.5, 2.0])
    ax = plot.plot_history(history)
    training, validation, best = ax.lines
    assert_array_equal(training.get_xydata(), [[1, 2], [2, 1], [3, 0.5], [4, 0.25]])
    assert_array_equal(validation.get_xydata(), [[1, 3], [2, 1.5], [3, 1.5], [4, 2]])
    assert_array_equal(best.get_xydata(), [[2, 1.5]])
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["training", "validation", "best: epoch 2, 1.5"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "linear")


def test_history_without_validation_of_an_accuracy_and_from_a_later_epoch():
    ax = plot.plot_history({"epoch": [6, 7, 8], "accuracy": [0.5, 0.9, 0.8]}, "accuracy", mode="max", log=True)
    assert_array_equal(ax.lines[0].get_xydata(), [[6, 0.5], [7, 0.9], [8, 0.8]])
    assert_array_equal(ax.lines[1].get_xydata(), [[7, 0.9]])
    assert len(ax.lines) == 2
    assert (ax.get_ylabel(), ax.get_yscale()) == ("accuracy", "log")


def test_a_history_of_one_epoch_can_be_seen():
    line = plot.plot_history({"loss": [1.0]}).lines[0]
    assert line.get_marker() == "o"


def test_epochs_have_whole_numbers_as_ticks():
    ax = plot.plot_history({"loss": [1.0, 2.0, 3.0]})
    assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_learning_curve_is_drawn_in_the_order_of_the_sizes():
    ax = plot.plot_learning_curve([20, 5, 10], [0.2, 0.0, 0.1], [0.3, 0.9, 0.5])
    training, validation = ax.lines
    assert_array_equal(training.get_xydata(), [[5, 0], [10, 0.1], [20, 0.2]])
    assert_array_equal(validation.get_xydata(), [[5, 0.9], [10, 0.5], [20, 0.3]])
    assert plot.plot_learning_curve([1, 2], [0.1, 0.2], [0.5, 0.4], log=True).get_yscale() == "log"


@pytest.mark.parametrize(
    ("lambdas", "scale"), [([0, 0.01, 0.1, 1], "symlog"), ([0.001, 0.01, 0.1, 1], "log"), ([0, 0, 0, 0], "linear")]
)
def test_validation_curve_has_a_place_for_every_lambda(lambdas, scale):
    ax = plot.plot_validation_curve(lambdas, [0.1, 0.2, 0.3, 0.4], [0.9, 0.3, 0.3, 0.5])
    training, validation, best = ax.lines
    assert_array_equal(training.get_xydata(), np.transpose([lambdas, [0.1, 0.2, 0.3, 0.4]]))
    assert_array_equal(validation.get_ydata(), [0.9, 0.3, 0.3, 0.5])
    assert_array_equal(best.get_xydata(), [[lambdas[1], 0.3]])
    assert ax.get_xscale() == scale
    ax.figure.draw_without_rendering()  # limits are chosen when first drawn
    pixels = ax.transData.transform(validation.get_xydata())[:, 0]
    box = ax.get_window_extent()
    assert ((box.x0 < pixels) & (pixels < box.x1)).all()
    if scale != "linear":
        assert np.diff(pixels).min() > 30  # 0 is not drawn on top of the first lambda


# --- classifiers ----------------------------------------------------------------------------------------------------

COUNTS = np.array([[8, 2, 0], [1, 5, 0], [0, 0, 0]])


def test_confusion_matrix_has_its_counts_in_the_cells():
    ax = plot.plot_confusion_matrix(COUNTS, ["a", "b", "c"])
    assert_array_equal(ax.images[0].get_array(), COUNTS)
    where = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts}
    assert where == {cell: str(COUNTS[cell]) for cell in np.ndindex(3, 3)}
    for ticks in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["a", "b", "c"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("read as", "true class")


@pytest.mark.parametrize(
    ("normalize", "rates"),
    [
        ("true", [["0.80", "0.20", "0"], ["0.17", "0.83", "0"], ["-", "-", "-"]]),
        ("pred", [["0.89", "0.29", "-"], ["0.11", "0.71", "-"], ["0", "0", "-"]]),
        ("all", [["0.50", "0.12", "0"], ["0.06", "0.31", "0"], ["0", "0", "0"]]),
    ],
)
def test_confusion_matrix_as_rates(normalize, rates):
    ax = plot.plot_confusion_matrix(COUNTS, normalize=normalize)
    assert [text.get_text() for text in ax.texts] == list(chain.from_iterable(rates))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]


@pytest.mark.parametrize("K", [2, 10, 20])
@pytest.mark.parametrize("size", [None, (3, 3)])
def test_the_numbers_of_a_confusion_matrix_can_be_read(K, size):
    matrix = np.eye(K, dtype=int) * 490 + 1
    ax = plot.plot_confusion_matrix(matrix, ax=size and new_axes(figsize=size))
    grounds = ax.images[0].to_rgba(matrix)
    for text in ax.texts:
        j, i = map(round, text.get_position())
        # WCAG's contrast of letters and ground, for those that say something.
        ground, ink = luminance(grounds[i, j]), luminance(text.get_color())
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) > 4.5
    if size is None or K < 20:  # 20 classes on 3 inches have letters of the smallest size, and no room
        ax.figure.draw_without_rendering()
        cell = ax.get_window_extent().width / K
        assert max(text.get_window_extent().width for text in ax.texts) < cell


def luminance(color):
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("matrix", [[[0]], [[0, 0], [0, 0]], [[0.5, 1.5], [2e9, 3]]])
@pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
def test_confusion_matrices_of_nothing_and_of_weights(matrix, normalize):
    ax = plot.plot_confusion_matrix(matrix, normalize=normalize)
    ax.figure.savefig(io.BytesIO(), dpi=30)
    assert len(ax.texts) == np.size(matrix)


def test_calibration_is_drawn_beside_the_diagonal():
    ax = plot.plot_calibration([0.1, 0.4, 0.9], [0.2, 0.5, 0.8])
    diagonal, curve = ax.lines
    assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    assert_array_equal(curve.get_xydata(), [[0.2, 0.1], [0.5, 0.4], [0.8, 0.9]])


def test_calibration_shows_how_many_examples_a_bin_has():
    ax = plot.plot_calibration([0.1, 0.9], [0.2, 0.8], [25, 100])
    dots = ax.collections[0]
    assert_array_equal(dots.get_offsets(), [[0.2, 0.1], [0.8, 0.9]])
    assert dots.get_sizes()[1] == 4 * dots.get_sizes()[0]


def pixels(ax, resolution):
    """The middles of the pixels of the only image, from its extent."""
    left, right, bottom, top = ax.images[0].get_extent()
    steps = (np.arange(resolution) + 0.5) / resolution
    horizontal, vertical = left + (right - left) * steps, bottom + (top - bottom) * steps
    return np.stack(np.meshgrid(horizontal, vertical), axis=-1).reshape(-1, 2)


def test_decision_boundary_of_several_classes():
    centres = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    y = np.arange(30) % 3

    def scores(points):
        assert points.shape == (50 * 50, 2)
        return -np.square(points[:, None] - centres).sum(axis=-1)

    ax = plot.plot_decision_boundary(scores, PLANE, y, resolution=50)
    image = ax.images[0]
    assert image.origin == "lower"
    points = pixels(ax, 50)
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(axis=1)
    assert_array_equal(image.get_array().ravel(), nearest)
    for k, dots in enumerate(ax.collections):
        assert_array_equal(dots.get_offsets(), PLANE[y == k])
        assert_allclose(dots.get_facecolor()[0, :3], image.to_rgba([[k]])[0, 0, :3])  # the region has its colour
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2"]
    left, right, bottom, top = image.get_extent()
    assert (left, bottom) < tuple(PLANE.min(axis=0))
    assert (right, top) > tuple(PLANE.max(axis=0))


@pytest.mark.parametrize("shape", ["(n,)", "(n, 1)", "Tensor"])
def test_decision_boundary_of_one_score_is_a_line(shape):
    def scores(points):
        z = points @ [1.0, 2.0] + 0.25
        return {"(n,)": z, "(n, 1)": z[:, None], "Tensor": Tensor(z)}[shape]

    ax = plot.plot_decision_boundary(scores, PLANE, SIDES, threshold=0.5, resolution=40)
    assert_array_equal(ax.images[0].get_array().ravel(), pixels(ax, 40) @ [1.0, 2.0] + 0.25 > 0.5)
    line = next(c for c in ax.collections if len(c.get_offsets()) < 2)
    at = np.concatenate([path.vertices for path in line.get_paths()])
    assert len(at) > 10
    # The scores are linear, and so is the interpolation along the line; a few roundings remain.
    assert_allclose(at @ [1.0, 2.0] + 0.25, 0.5, atol=1e-12)


def test_decision_boundary_of_a_model_records_nothing():
    model = nn.DigitNet(2, 4, 1, rng=0)
    seen = []
    ax = plot.plot_decision_boundary(lambda p: seen.append(model(p)) or seen[0], PLANE, SIDES, threshold=0.5)
    assert not seen[0].requires_grad
    assert ax.images[0].get_array().shape == (200, 200)
    ax = plot.plot_decision_boundary(model.predict, PLANE, SIDES)  # classes are drawn as they come
    assert_array_equal(ax.images[0].get_array().ravel(), model.predict(pixels(ax, 200)))


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.ones((3, 2), np.float32), [[0, 1], [2, 1]]])
def test_decision_boundary_of_examples_in_one_place(points):
    ax = plot.plot_decision_boundary(lambda p: p[:, 0] * 0 + 1.0, points, [0] * len(points), threshold=0)
    left, right, bottom, top = ax.images[0].get_extent()
    assert left < right
    assert bottom < top
    assert (ax.images[0].get_array() == 1).all()


def test_what_is_drawn_is_not_written_to_and_may_be_read_only():
    given = [X - 0.5, np.array([0.5, 0.25]), COUNTS, one_hot(Y, 10).numpy()]
    copies = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = False
    plot.plot_digits(given[0])
    plot.plot_hidden_units(given[0][:, ::-1])
    plot.plot_costs(given[1])
    plot.plot_confusion_matrix(given[2].T, normalize="pred")
    plot.plot_deltas([given[3]])
    for array, copy in zip(given, copies, strict=True):
        assert_array_equal(array, copy)


def test_epochs_are_no_metric() -> None:
    with pytest.raises(KeyError, match="metric is 'epoch'"):
        plot.plot_history({"epoch": [1, 2], "loss": [2.0, 1.0]}, "epoch")


def test_five_features_are_not_suspected_of_a_bias_column() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 5\) as X$"):
        plot.plot_digits(np.zeros((2, 5)))
