"""The demo as a user runs it: its numbers, its files, and what it says when matplotlib is missing."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.io import loadmat, savemat

from tinygrad_fnn import load

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
    saved = load(tmp_path / "weights.npz")["weights"]
    assert (np.c_[saved["linear1.b"], saved["linear1.W"]] == weights["Theta1"]).all()
    theta2 = np.c_[saved["linear2.b"], saved["linear2.W"]]
    assert (theta2 == np.roll(weights["Theta2"], 1, axis=0)).all()  # label 10 is digit 0
    lines = [line for line in out.splitlines() if line.startswith("iteration")]
    assert len(lines) == 5  # into a pipe each tenth is enough
    assert "\r" not in out
    for name in ("weights.mat", "weights.npz"):
        read = [sys.executable, "-m", "tinygrad_fnn", "evaluate", str(tmp_path / name), "--json"]
        found = json.loads(subprocess.run(read, capture_output=True, check=True).stdout)
        assert found["accuracy"] == accuracy


def test_the_same_seed_writes_the_same_bits(tmp_path):
    for name in ("a", "b"):
        demo("--iterations", 3, "--hidden", 8, 6, "--out", tmp_path / name)
    first, second = (load(tmp_path / name / "weights.npz")["weights"] for name in ("a", "b"))
    assert [first[f"linear{k}.W"].shape for k in (1, 2, 3)] == [(8, 400), (6, 8), (10, 6)]
    assert all((first[key] == second[key]).all() for key in first)


def test_ctrl_c_keeps_what_has_been_learned(tmp_path):
    command = [sys.executable, str(DEMO), "--iterations", "100000", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    before = process.stdout.readline() + process.stdout.readline()
    assert "iteration   10" in before
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error == ""
    assert int(re.search(r"interrupted after (\d+) of 100000 iterations", out).group(1)) >= 10
    assert re.search(r"accuracy 0\.\d+ on 5000 examples", out)
    assert len(load(tmp_path / "weights.npz")["record"]["costs"]) >= 10
    assert (tmp_path / "weights.mat").exists()


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
    assert re.search(r"the test set:\naccuracy 0\.\d+ on 10000 examples", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iterations", "-3"], "-3 is below 0"),
        (["--hidden", "0"], "0"),
        (["--l2", "-1"], "l2"),
        (["--data", "nowhere.mat"], "nowhere.mat"),
        (["--mnist", "nowhere"], "wanted train-images-idx3-ubyte"),
        (["--mnist", "a", "--data", "b"], "not allowed with"),
    ],
)
def test_a_users_mistake_is_one_message_and_no_traceback(tmp_path, arguments, message):
    command = [sys.executable, str(DEMO), *arguments, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    demo("--iterations", 0, "--hidden", 3, "--out", tmp_path)
    weights = loadmat(tmp_path / "weights.mat")
    savemat(tmp_path / "other.mat", {"Theta1": weights["Theta1"][:, :30], "Theta2": weights["Theta2"]})
    command = [sys.executable, str(DEMO), "--weights", str(tmp_path / "other.mat"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "other.mat: from 29 to 10, wanted from 400 to 10" in done.stderr


# --- programs in the manner of those written for HIPS autograd --------------------------------------------------------

EXAMPLES = DEMO.parent


def example(name, *arguments, **options):
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, env=environment, **options
    ).stdout


def numbers(pattern, text):
    """What the one group of a pattern finds, as floats."""
    return [float(found) for found in re.findall(pattern, text)]


PROGRAMS = ["gaussian_process.py", "bayesian_network.py", "newton_cg.py"]
SHORT = {"gaussian_process.py": ["--points", 20], "bayesian_network.py": ["--iterations", 3]}
SHORT["newton_cg.py"] = ["--examples", 20, "--hidden", 2, "--iterations", 2]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_explains_itself(name):
    out = example(name, "--help")
    assert f"python examples/{name}" in out
    assert "--seed" in out


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_draws_its_picture(name, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    picture = tmp_path / "picture.png"
    assert f"picture in {picture}" in example(name, *SHORT[name], "--out", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_without_matplotlib_says_what_is_left_out(name, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('hidden for this test')")
    out = example(name, *SHORT[name], "--out", tmp_path / "picture.png", env={"PYTHONPATH": str(tmp_path)})
    assert 'no picture: it needs matplotlib; install it with: python -m pip install "tinygrad_fnn[plot]"' in out


def test_gaussian_process_finds_the_parameters_of_its_data():
    out = example("gaussian_process.py")
    (found,) = numbers(r"\s(\S+) after \d+ iterations", out)
    (slogdet,) = numbers(r"by slogdet and solve\s+(\S+)", out)
    (scipy,) = numbers(r"by scipy\.stats\s+(\S+)", out)
    (truth,) = numbers(r"of the true parameters\s+(\S+)", out)
    # A sum over 200 points of a matrix of condition 1e4, printed with 10 digits after the point.
    assert_allclose([found, slogdet], scipy, rtol=0, atol=1e-8)
    assert found >= truth
    assert numbers(r"gradient norm\s+(\S+)", out)[0] < 1e-6
    length, signal, noise = numbers(r"(?:length|signal|noise)\s+(\S+)   true", out)
    assert length == pytest.approx(0.8, rel=0.1)
    assert signal == pytest.approx(1.5, rel=0.3)  # ten length scales of data say no more about it
    assert noise == pytest.approx(0.2, rel=0.1)  # the noise of 200 points is known to 1/sqrt(400)


def test_bayesian_network_raises_its_bound_and_predicts():
    out = example("bayesian_network.py")
    bounds = numbers(r"ELBO\s+(\S+)", out)
    assert len(bounds) == 11
    assert bounds[-1] > bounds[1] > bounds[0]
    assert bounds[-1] == max(bounds)
    assert 0.09 < numbers(r"root mean square error (\S+)", out)[0] < 0.13  # the noise alone is 0.1
    assert 90 < numbers(r"(\S+)% of them", out)[0] < 99.5  # of a normal distribution 95.4


def test_newton_cg_reaches_the_bottom_with_quadratic_convergence():
    out = example("newton_cg.py", "--examples", 300, "--hidden", 5)
    norms = numbers(r"step .* gradient (\S+)   products", out)
    assert norms[-1] < 1e-6
    assert norms[-1] < norms[-2] ** 1.3  # min(1/2, sqrt|g|) as the tolerance promises an exponent of 3/2 in the limit
    newton, lbfgs, beside = numbers(r"\n(?:Newton-CG|L-BFGS) +J (\S+)", out)
    assert beside == pytest.approx(newton, rel=1e-9)  # the same valley has the same bottom
    assert lbfgs == pytest.approx(newton, rel=0.1)  # from the start it may be another one
