"""`diagnose` as a user meets it: answers, exit codes, JSON, and one line instead of a traceback."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tinygrad_fnn import check, nn
from tinygrad_fnn.check import textbook
from tinygrad_fnn.cli import main

RIGHT = """
from tinygrad_fnn.check import textbook

def gradients(thetas, X, Y, l2):
    return list(textbook.gradients(thetas, X, Y, l2).thetas)
"""
WRONG = RIGHT.replace("return list(", "return [2 * g for g in (").replace(".thetas)", ".thetas)]")


@pytest.fixture
def problem(tmp_path, capsys):
    """The problem written out, as a learner reads it: thetas, X, Y, l2."""
    assert main(["diagnose", "--write", str(tmp_path / "problem.npz")]) == 0
    assert "Theta1, Theta2, X, Y, l2" in capsys.readouterr().out
    arrays = np.load(tmp_path / "problem.npz")
    return [arrays["Theta1"], arrays["Theta2"]], arrays["X"], arrays["Y"], float(arrays["l2"])


def test_a_right_python_file_exits_with_0(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(RIGHT)
    assert main(["diagnose", str(tmp_path / "mine.py")]) == 0
    assert "correct" in capsys.readouterr().out


def test_a_wrong_python_file_exits_with_1_and_names_the_mistake(tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    command = [sys.executable, "-m", "tinygrad_fnn", "diagnose", str(tmp_path / "mine.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["name"] == "scaled"
    assert not answer["ok"]
    assert len(answer["candidates"]) >= 3


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ("{'Theta1_grad': g[0], 'Theta2_grad': g[1]}", 0),
        ("{'Theta2_grad': g[1], 'Theta1_grad': g[0]}", 0),
        ("{'grad': np.concatenate([a.ravel(order='F') for a in g])}", 0),
        ("{'Theta1_grad': -g[0], 'Theta2_grad': g[1]}", 1),
    ],
)
def test_a_python_file_may_return_a_dict(tmp_path, returned, code):
    text = RIGHT.replace("return list(", "g = list(") + f"    return {returned}\n"
    (tmp_path / "mine.py").write_text("import numpy as np\n" + text)
    assert main(["diagnose", str(tmp_path / "mine.py")]) == code


def test_a_syntax_error_in_a_module_that_is_imported_names_that_module(tmp_path, capsys):
    (tmp_path / "helper_of_mine.py").write_text("x = 1\ny = (2\n")
    (tmp_path / "mine.py").write_text("import helper_of_mine\n")
    assert main(["diagnose", str(tmp_path / "mine.py")]) == 2
    assert re.search(r"SyntaxError: .*helper_of_mine.py:2\)", capsys.readouterr().err)


@pytest.mark.parametrize("model", [nn.DigitNet(3, 2, 2, rng=0), nn.Sequential(nn.Linear(3, 2, rng=0))])
def test_a_model_is_neither_a_gradient_nor_thetas(model):
    X, Y, thetas = np.ones((2, 3)), np.eye(2), [np.ones((2, 4))]
    with pytest.raises(TypeError, match=rf"got {type(model).__name__}, a model; after backward.*b.grad, layer.W.grad"):
        check.diagnose(model, thetas, X, Y)
    wanted = r"pass its thetas\(\)" if isinstance(model, nn.DigitNet) else r"layer.b.data, layer.W.data"
    with pytest.raises(TypeError, match=rf"a {type(model).__name__}, a model: .*{wanted}"):
        check.diagnose(thetas, model, X, Y)


def test_the_learners_code_cannot_change_the_question(tmp_path):
    code = RIGHT.replace("return list", "g = list")
    code = code.replace("l2).thetas)", "l2).thetas)\n    thetas[0][:] = X[:] = 0\n    return g")
    (tmp_path / "mine.py").write_text(code)
    assert main(["diagnose", str(tmp_path / "mine.py")]) == 0


@pytest.mark.parametrize("suffix", ["npz", "mat"])
@pytest.mark.parametrize("form", ["layers", "vector"])
def test_files_of_arrays(problem, tmp_path, suffix, form):
    grads = textbook.gradients(*problem[:3], problem[3]).thetas
    arrays = {"Theta1_grad": grads[0], "Theta2_grad": grads[1]}
    if form == "vector":
        arrays = {"grad": np.concatenate([g.ravel(order="F") for g in grads])}
    path = tmp_path / f"mine.{suffix}"
    np.savez(path, **arrays) if suffix == "npz" else savemat(path, arrays)
    assert main(["diagnose", str(path)]) == 0
    assert main(["diagnose", str(path), "--l2", "2"]) == 1


def test_the_written_mat_file_holds_the_same_problem(problem, tmp_path):
    assert main(["diagnose", "--write", str(tmp_path / "problem.mat")]) == 0
    arrays = loadmat(tmp_path / "problem.mat")
    assert (arrays["Theta1"] == problem[0][0]).all()
    assert (arrays["X"] == problem[1]).all()


def test_own_data_weights_and_network(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(12, 4)), rng.normal(size=(12, 2))
    thetas = [rng.normal(size=(3, 5)), rng.normal(size=(2, 4))]
    np.savez(tmp_path / "data.npz", X=X, Y=Y)
    np.savez(tmp_path / "thetas.npz", *thetas)
    keywords = {"activation": "tanh", "output": "identity", "reduction": "mean"}
    np.savez(tmp_path / "mine.npz", *textbook.gradients(thetas, X, Y, 0.5, **keywords).thetas)
    options = [f"--{key}={value}" for key, value in keywords.items()]
    files = ["--data", str(tmp_path / "data.npz"), "--thetas", str(tmp_path / "thetas.npz")]
    assert main(["diagnose", str(tmp_path / "mine.npz"), *files, *options, "--l2", "0.5", "--examples", "0"]) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.py", "def gradients(thetas, X, Y, l2):\n    return 1 / 0\n", r"ZeroDivisionError.*mine.py:2"),
        ("mine.py", "import sys\nsys.exit()\n", r"raised SystemExit"),
        ("mine.py", "import math\n\ndef gradients(thetas X):\n    pass\n", r"SyntaxError: .*\(\S*mine.py:3\)"),
        ("mine.py", "def gradients(thetas):\nreturn thetas\n", r"IndentationError: .*\(\S*mine.py:2\)"),
        ("mine.py", "def gradients(thetas, X, Y, l2):\n    return {'Theta2_grad': X}\n", r"wanted Theta1_grad"),
        ("mine.py", "def gradients(thetas, X, Y, l2):\n    return {}\n", r"wanted Theta1_grad.*it has nothing"),
        ("mine.py", "x = 1\n", r"wanted a function gradients\(thetas, X, Y, l2\)"),
        ("mine.py", "def gradients(thetas, X, Y, l2):\n    return thetas[0]\n", r"has shape \(25, 401\)"),
        ("mine.py", "def gradients(thetas, X, Y, l2):\n    return [t[:, 1:] for t in thetas]\n", "bias column"),
        ("mine.npz", "no archive", "no .npz file"),
        ("mine.mat", "no matrix", "mine.mat"),
        ("mine.txt", "", "wanted a .py, .npz or .mat file"),
    ],
)
def test_what_is_no_gradient_exits_with_2_and_one_line(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_text(content)
    assert main(["diagnose", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("g[0].T", r"mine.py: its gradient has shape \(401, 25\), expected \(10285,\)"),
        ("[g[0].T, g[1]]", r"mine.py: gradient of layer 0 has shape \(401, 25\), expected \(25, 401\)"),
        ("g[:1]", r"mine.py: its gradient has 1 layers, expected 2"),
        ("[np.nan * g[0], g[1]]", r"mine.py: the gradient of layer 0 holds NaN"),
        ("None", r"mine.py: its gradient must be a list of arrays.*got NoneType"),
        ("{'grad': g}", r"mine.py: grad is no array; wanted one vector, or Theta1_grad"),
    ],
)
def test_a_wrong_shape_is_said_in_the_learners_words(tmp_path, capsys, returned, message):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n" + RIGHT.replace("return list(", "g = list(") + f"    return {returned}\n"
    )
    assert main(["diagnose", str(tmp_path / "mine.py")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "wrong" not in error.partition("mine.py")[2]  # the name of an argument that the learner has never seen


def test_a_gradient_that_nothing_explains_is_told_that_its_shape_is_wrong_too(tmp_path, capsys):
    returned = "    return [np.roll(a.T, 3) for a in g]\n"
    (tmp_path / "mine.py").write_text("import numpy as np\n" + RIGHT.replace("return list(", "g = list(") + returned)
    assert main(["diagnose", str(tmp_path / "mine.py")]) == 1
    note = "Its arrays have shapes [(401, 25), (26, 10)], wanted [(25, 401), (10, 26)]"
    assert note in capsys.readouterr().out
    assert main(["diagnose", str(tmp_path / "mine.py"), "--json"]) == 1
    assert note in json.loads(capsys.readouterr().out)["message"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((0, 4)), "y": np.zeros(0, int)}, "X is (0, 4), wanted at least one example"),
        ({"X": np.zeros((2, 4)), "y": ["a", "b"]}, "y of <U1, wanted numbers"),
        ({"X": np.zeros((2, 4)), "y": [1, 11]}, "y has labels from 1 to 11, wanted 0 to 9"),
        ({"X": np.zeros((2, 4))}, "wanted X and y (or Y), it has X"),
    ],
)
def test_data_that_are_none_are_named(tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "mine.py").write_text(RIGHT)
    assert main(["diagnose", str(tmp_path / "mine.py"), "--data", str(tmp_path / "data.npz")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--data", "--thetas"])
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path, capsys, option):
    (tmp_path / "a.csv").write_text("1,2\n")
    (tmp_path / "mine.py").write_text(RIGHT)
    assert main(["diagnose", str(tmp_path / "mine.py"), option, str(tmp_path / "a.csv")]) == 2
    assert re.search(rf"{option} \S*a.csv: wanted a .mat ", capsys.readouterr().err)


def test_a_problem_is_written_to_a_new_file_only(problem, tmp_path, capsys):
    before = (tmp_path / "problem.npz").read_bytes()
    assert main(["diagnose", "--write", str(tmp_path / "problem.npz")]) == 2
    assert "exists; give it another name, or delete it" in capsys.readouterr().err
    assert (tmp_path / "problem.npz").read_bytes() == before


def test_gradients_that_would_not_be_looked_at_are_refused(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(RIGHT)
    assert main(["diagnose", str(tmp_path / "mine.py"), "--write", str(tmp_path / "new.npz")]) == 2
    assert re.search(r"mine.py would not be looked at. Leave out one", capsys.readouterr().err)
    assert not (tmp_path / "new.npz").exists()


def test_pickles_are_not_run(tmp_path, capsys):
    np.savez(tmp_path / "mine.npz", Theta1_grad=np.array([print], dtype=object))
    assert main(["diagnose", str(tmp_path / "mine.npz")]) == 2
    assert "objects are not loaded" in capsys.readouterr().err


def test_a_missing_argument_and_a_missing_file(capsys):
    assert main(["diagnose"]) == 2
    assert "which gradients?" in capsys.readouterr().err
    assert main(["diagnose", "nowhere.npz"]) == 2
    assert "nowhere.npz" in capsys.readouterr().err
