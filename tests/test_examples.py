"""The demo as a user runs it: its numbers, its files, and what it says when matplotlib is missing."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.io import loadmat

DEMO = Path(__file__).resolve().parents[1] / "examples" / "train_digits.py"


def demo(*arguments, **options):
    command = [sys.executable, "-W", "error", str(DEMO), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, **options).stdout


def test_fifty_iterations_reach_the_accuracy_of_the_course(tmp_path):
    out = demo("--iterations", 50, "--seed", 1, "--out", tmp_path)
    assert re.search(r"iteration   50   J \d\.\d+   accuracy \d\d\.\d\d%", out)
    accuracy = float(re.search(r"accuracy (0\.\d+) on 5000 examples", out).group(1))
    assert accuracy >= 0.953  # the course: 95.3 % +- 1
    weights = loadmat(tmp_path / "weights.mat")
    assert weights["Theta1"].shape == (25, 401)
    assert weights["Theta2"].shape == (10, 26)
    saved = np.load(tmp_path / "weights.npz")
    assert (saved["arr_0"] == weights["Theta1"]).all()
    assert (saved["arr_1"] == np.roll(weights["Theta2"], 1, axis=0)).all()  # label 10 is digit 0


def test_the_same_seed_writes_the_same_bits(tmp_path):
    for name in ("a", "b"):
        demo("--iterations", 3, "--hidden", 8, 6, "--out", tmp_path / name)
    first, second = (np.load(tmp_path / name / "weights.npz") for name in ("a", "b"))
    assert [first[key].shape for key in first] == [(8, 401), (6, 9), (10, 7)]
    assert all((first[key] == second[key]).all() for key in first)


def test_pictures_are_written(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    demo("--iterations", 2, "--out", tmp_path)
    pictures = ["digits.png", "logistic.png", "hidden_units.png", "costs.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_without_matplotlib_it_says_what_is_left_out_and_how_to_get_it(tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('hidden for this test')")
    out = demo("--iterations", 1, "--out", tmp_path / "out", env={"PYTHONPATH": str(tmp_path)})
    assert 'no pictures: pictures need matplotlib; install it with: python -m pip install "tinygrad_fnn[plot]"' in out
    assert (tmp_path / "out" / "weights.mat").exists()


def test_the_articles_results_come_out_exactly(tmp_path, shared_data):
    files = ["--data", shared_data / "ex4data1.mat", "--weights", shared_data / "ex4weights.mat"]
    out = demo(*files, "--out", tmp_path)
    assert "X (5000, 400)  y (5000,)  Theta1 (25, 401)  Theta2 (10, 26)" in out
    assert "accuracy 0.9752 on 5000 examples" in out
    costs = [float(J) for J in re.findall(r"J = (\S+) at lambda", out)]
    # The last digits depend on the order of summation.
    assert_allclose(costs, [0.2876291651613188, 0.38376985909092354, 0.576051246950133], rtol=1e-13)


def test_mnist_files_train_a_wider_network(tmp_path, shared_data):
    out = demo("--mnist", shared_data / "mnist", "--iterations", 2, "--hidden", 10, "--out", tmp_path)
    assert "X (60000, 784)" in out
