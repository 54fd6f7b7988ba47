"""The pictures: what is drawn, read back from matplotlib's objects; and the error when it is missing."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinygrad_fnn import data, plot
from tinygrad_fnn.errors import MissingExtraError, ShapeError


def test_digits_are_drawn_upright():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    X, _ = data.digits()
    figure = plot.plot_digits(X[:12], titles=range(12), columns=5)
    assert len(figure.axes) == 15
    shown = np.asarray(figure.axes[7].images[0].get_array())
    assert (shown == X[7].reshape(20, 20).T).all()
    assert figure.axes[7].get_title() == "7"
    assert not figure.axes[14].images


def test_hidden_units_are_scaled_one_by_one():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    W = np.random.default_rng(0).normal(size=(3, 16)) * [[1], [100], [0]]
    figure = plot.plot_hidden_units(W, column_major=False)
    for ax, row in zip(figure.axes, W, strict=False):
        assert_allclose(np.asarray(ax.images[0].get_array()).ravel() * np.abs(row).max(), row, rtol=1e-14)


def test_logistic_curve_and_its_derivative():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert plot.plot_logistic(ax) is ax
    curve, slope = (line.get_xydata() for line in ax.lines)
    assert_allclose(curve[:, 1], 1 / (1 + np.exp(-curve[:, 0])), rtol=1e-14)
    assert_allclose(slope[:, 1], curve[:, 1] * (1 - curve[:, 1]), rtol=1e-11)  # 1 - a loses digits up to z = 8


def test_costs_are_drawn_against_iterations_from_one():
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    ax = plot.plot_costs([3.0, 2.0, 1.0])
    assert_allclose(ax.lines[0].get_xydata(), [[1, 3], [2, 2], [3, 1]])


def test_rows_that_are_no_square_pictures_are_refused():
    with pytest.raises(ShapeError, match=r"plot_digits: wanted rows of square pictures, .* got \(2, 401\)"):
        plot.plot_digits(np.zeros((2, 401)))
    with pytest.raises(ShapeError, match="got"):
        plot.plot_hidden_units(np.zeros(400))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r'python -m pip install "tinygrad_fnn\[plot\]"'):
        plot.plot_costs([1.0])


def test_the_package_imports_without_matplotlib_and_without_scipy():
    code = "import tinygrad_fnn, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'matplotlib', 'scipy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
