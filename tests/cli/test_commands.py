"""The command line as a whole: help, mistakes and their messages, pictures, checks, and the page."""

import argparse
import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tinygrad_fnn import __version__, check, nn
from tinygrad_fnn.cli import check as check_command
from tinygrad_fnn.cli import evaluate as evaluate_command
from tinygrad_fnn.cli import main
from tinygrad_fnn.cli import show as show_command
from tinygrad_fnn.cli.command import parser
from tinygrad_fnn.cli.page import page

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
PNG = b"\x89PNG\r\n\x1a\n"


def commands(whole=None, path=()):
    """Every command there is, by the words that lead to it."""
    for action in (whole or parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield (*path, name), command
                yield from commands(command, (*path, name))


COMMANDS = dict(commands())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with a network, its log and checkpoint, data, and files that are no such."""
    folder = tmp_path_factory.mktemp("filled")
    with contextlib.chdir(folder):
        fill()
    return folder


@pytest.fixture
def folder(filled, tmp_path, monkeypatch):
    """A copy of that folder, which is the present one."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill():
    rng = np.random.default_rng(0)
    np.savez("flowers.npz", X=rng.normal(size=(60, 9)), y=np.arange(60) % 3)
    np.savez("eight.npz", X=rng.normal(size=(60, 8)), y=np.arange(60) % 3)
    np.savez("rare.npz", X=rng.normal(size=(4, 9)), y=[0, 1, 2, 2])
    np.savez("four.npz", X=rng.normal(size=(4, 9)), y=[0, 1, 2, 3])
    np.savez("objects.npz", X=np.array([print], dtype=object), y=[0])
    np.savez("many.npz", X=np.zeros((1001, 1)), y=np.arange(1001))
    np.savez("empty.npz", X=np.zeros((4, 0)), y=[0, 1, 0, 1])
    np.savez("none.npz", X=np.zeros((0, 9)), y=np.zeros(0, int))
    Path("pipes.csv").write_text("1|2|0\n3|4|1\n")
    Path("comma.csv").write_text("1,5;2;0\n3;4;1\n")
    Path("mixed.csv").write_text("1,2,0\n3,4,red\n")
    Path("bytes.csv").write_bytes(bytes(range(256)))
    thetas = {"Theta1": np.full((3, 8), 1e308), "Theta2": np.full((10, 4), 1e308)}
    savemat("huge.mat", thetas)
    savemat("seven.mat", {"X": np.ones((3, 7)), "y": np.ones((3, 1))})
    Path("words.csv").write_text("a,b,kind\n1,2,red\n3,4,blue\n")
    Path("one.csv").write_text("1,2,0\n3,4,0\n")
    Path("two.csv").write_text("a,b\n1,2\n")
    Path("bad.npz").write_bytes(b"no archive")
    Path("bad.mat").write_bytes(b"no matrix")
    Path("nothing").mkdir()
    assert main(["train", "--npz", "flowers.npz", "--hidden", "16", "--epochs", "2", "--out", "m.npz",
                 "--log", "run.csv", "--checkpoint", "run.npz"]) == 0  # fmt: skip
    assert main(["train", "--npz", "eight.npz", "--hidden", "4", "--epochs", "0", "--activation", "gelu",
                 "--out", "eight-m.npz", "--log", "run.jsonl"]) == 0  # fmt: skip


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("", "arguments are required: COMMAND"),
    ("nonsense", "invalid choice: 'nonsense'"),
    ("demo --epochs 0", "--epochs: 0 is out of range, wanted an integer >= 1"),
    ("demo --seed -1", "--seed: -1 is out of range"),
    ("train --bogus", "unrecognized arguments: --bogus"),
    ("train --epochs two", "--epochs: 'two' is no integer, wanted an integer >= 0"),
    ("train --epochs -1", "--epochs: -1 is out of range, wanted an integer >= 0"),
    ("train --hidden 3 0", "--hidden: 0 is out of range, wanted an integer from 1 to 100000"),
    ("train --lr fast", "--lr: 'fast' is no number, wanted a number > 0"),
    ("train --lr 0", "--lr: 0 is out of range, wanted a number > 0"),
    ("train --lr nan", "--lr: nan is out of range"),
    ("train --l2 -1", "--l2: -1 is out of range, wanted a number >= 0"),
    ("train --dropout 1", "--dropout: 1 is out of range, wanted a number in [0, 1)"),
    ("train --optimizer foo", "--optimizer: invalid choice: 'foo'"),
    ("train --mat a.mat --npz b.npz", "--npz: not allowed with argument --mat"),
    ("train --mat nowhere.mat", "there is no file nowhere.mat"),
    ("train --mat bad.mat", "bad.mat"),
    ("train --mnist nowhere", "nowhere: there is no such folder; wanted train-images-idx3-ubyte"),
    ("train --mnist nothing", "nothing: there is no train-images* in it"),
    ("train --npz bad.npz", "bad.npz is no .npz file"),
    ("train --npz objects.npz", "dtype object, wanted real numbers"),
    ("train --npz many.npz", "many.npz has 1001 different labels"),
    ("train --npz empty.npz", "X is (4, 0)"),
    ("train --npz eight.npz --shift 1", "--shift moves square pictures; the examples have 8 features"),
    ("train --npz rare.npz", "--validation 0.2: split: stratify has the class 0 1 times"),
    (
        "train --npz flowers.npz --validation 0.001",
        "--validation 0.001: split: 60 examples would make parts of (60, 0)",
    ),
    ("train --npz none.npz", "none.npz: X is (0, 9); wanted at least one example"),
    ("train --csv words.csv", "--validation 0.2: split: 2 examples would make parts of (2, 0)"),
    ("train --csv pipes.csv", "pipes.csv has one column, wanted features and a label; is delimiter right?"),
    (
        "train --csv comma.csv",
        "has '1,5' in line 1, column 1, wanted a finite number; write a decimal comma as a point",
    ),
    ("train --csv mixed.csv", "mixed.csv has '0' among labels that are texts; wanted numbers only, or texts only"),
    ("train --csv words.csv --label-column color", "no columns named 'color'; they are a, b, kind"),
    ("train --csv one.csv", "every label is 0; there is nothing to tell apart"),
    ("train --out nowhere/m.npz", "--out: there is no folder nowhere; make it first"),
    ("train --out m.txt", "--out: m.txt: wanted a name that ends in .npz"),
    ("train --log run.txt", "--log: run.txt: wanted a name that ends in .csv or .jsonl"),
    ("train --resume", "--resume goes on from a file; add --checkpoint FILE.npz"),
    ("train --checkpoint run.npz", "--checkpoint run.npz exists; add --resume"),
    ("train --momentum 0.9", "--momentum is for sgd and rmsprop; adam has none"),
    ("train --optimizer rprop --weight-decay 1", "--weight-decay: rprop has none"),
    ("train --gamma 0.5", "--gamma is for step, exponential and plateau; --schedule is constant"),
    ("train --step-size 3 --schedule cosine", "--step-size is for --schedule step; it is cosine"),
    ("train --monitor loss", "--monitor says what --patience goes by; add --patience N"),
    ("train --npz flowers.npz --checkpoint bad.npz --resume", "bad.npz begins with 6e 6f"),
    ("train --npz flowers.npz --checkpoint m.npz --resume", "m.npz is no checkpoint"),
    ("evaluate", "arguments are required: MODEL"),
    ("evaluate nowhere.npz", "nowhere.npz: there is no such file; `train --out nowhere.npz` writes one"),
    ("evaluate nowhere.mat", "there is no file nowhere.mat"),
    ("evaluate bad.npz", "bad.npz begins with 6e 6f"),
    ("evaluate run.npz", "run.npz holds no network"),
    ("evaluate flowers.npz", "flowers.npz has no structure.json"),
    ("evaluate m.npz data.xyz", "DATA: data.xyz: wanted a file that ends in .mat, .npz"),
    ("evaluate m.npz nowhere.npz", "there is no file nowhere.npz"),
    ("evaluate m.npz eight.npz", "eight.npz: 8 features, the model wants 9"),
    ("evaluate m.npz none.npz", "none.npz: X is (0, 9); wanted at least one example"),
    ("evaluate m.npz words.csv", "words.csv: 2 features, the model wants 9"),
    ("evaluate m.npz", "the digits of the package: 400 features, the model wants 9"),
    ("evaluate m.npz four.npz", "four.npz: the label at row 3 (from 0) is 3, the model knows 0, 1, 2"),
    ("evaluate m.npz flowers.npz --misread wrong.gif", "--misread: wrong.gif: wanted a name that ends in .png"),
    ("evaluate eight-m.npz eight.npz --misread wrong.png", "wanted rows of square pictures"),
    ("check nowhere.npz", "nowhere.npz: there is no such file"),
    ("check m.npz --seed 1", "--seed: for random weights; MODEL brings its own"),
    ("check m.npz", "400 features, the model wants 9"),
    ("check eight-m.npz --npz eight.npz", "is a GELU, wanted Sigmoid or Tanh or ReLU"),
    ("check huge.mat --mat seven.mat", "exceeds the range of float64"),
    ("check --activation gelu", "--activation: invalid choice: 'gelu'"),
    ("check --tolerance 0", "--tolerance: 0 is out of range"),
    ("show", "arguments are required: WHAT"),
    ("check --npz none.npz", "none.npz: X is (0, 9); wanted at least one example"),
    ("show digits none.npz", "none.npz: X is (0, 9); wanted at least one example"),
    ("show confusion m.npz none.npz", "none.npz: X is (0, 9); wanted at least one example"),
    ("show digits eight.npz", "wanted rows of square pictures"),
    ("show digits --count 0", "--count: 0 is out of range, wanted an integer from 1 to 2500"),
    ("show hidden eight-m.npz", "wanted rows of square pictures"),
    ("show history nowhere.csv", "nowhere.csv: there is no such file; `train --log nowhere.csv` writes one"),
    ("show history run.csv --metric cost", "--metric is 'cost'; run.csv has epoch, lr, loss"),
    ("show history run.jsonl", "run.jsonl has no epochs"),
    ("show history words.csv", "words.csv, line 2"),
    ("show history bytes.csv", "bytes.csv is no text in UTF-8, as a log of the training is"),
    ("show history two.csv", "--metric is 'loss'; two.csv has a, b"),
    ("show history bad.npz", "bad.npz has no epochs"),
    ("show confusion m.npz eight.npz", "eight.npz: 8 features"),
    ("diagnose", "which gradients?"),
    ("info --bogus", "unrecognized arguments: --bogus"),
    ("bench --bogus", "unrecognized arguments: --bogus"),
    ("bench --workload W9", "--workload: invalid choice: 'W9'"),
    ("bench --json nowhere/x.json", "--json nowhere/x.json: there is no folder nowhere"),
    ("bench --json nothing", "--json nothing: nothing is a folder"),
    (
        "bench --workload mnist --mnist nothing",
        "bench: no train-images-idx3-ubyte or train-images-idx3-ubyte.gz in nothing",
    ),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_named_and_exits_with_2(folder, capsys, line, message):
    capsys.readouterr()
    assert main(line.split()) == 2
    out, error = capsys.readouterr()
    assert message in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if "examples to learn from" not in line]) == 1
    assert not out


# What each option that writes a file must keep away from: lines with {} for that file.
CLASHES = {
    ("train", "--out"): ["--npz {}.npz --out {}.npz", "--npz {}.npz --out ./{}.npz", "--npz {}.npz --out link.npz",
                         "--npz {}.npz --out hard.npz", "--out {}.npz --checkpoint {}.npz --resume"],
    ("train", "--log"): ["--csv {}.csv --log {}.csv"],
    ("train", "--checkpoint"): ["--npz {}.npz --checkpoint {}.npz --resume"],
    ("evaluate", "--misread"): ["{}.png flowers.npz --misread {}.png", "m.npz {}.npz --misread {}.npz"],
    ("show", "digits", "--out"): ["{}.npz --out {}.npz"],
    ("show", "hidden", "--out"): ["{}.png --out {}.png"],
    ("show", "history", "--out"): ["{}.png --out {}.png"],
    ("show", "confusion", "--out"): ["{}.png flowers.npz --out {}.png", "m.npz {}.npz --out {}.npz"],
}  # fmt: skip


def test_every_option_that_writes_has_its_clashes_in_the_table():
    writing = {
        (*path, action.option_strings[0])
        for path, command in COMMANDS.items()
        for action in command._actions
        if action.option_strings and getattr(action.type, "__qualname__", "").startswith("to_write")
    }
    assert writing == set(CLASHES)


@pytest.mark.parametrize("line", [f"{' '.join(path[:-1])} {line}" for path, lines in CLASHES.items() for line in lines])
def test_a_file_that_is_read_is_not_written(folder, capsys, monkeypatch, line):
    for module in (evaluate_command, show_command):  # as if pictures could have the names of data
        monkeypatch.setattr(module, "PICTURES", (".png", ".npz"))
    for suffix in ("npz", "csv", "png"):
        shutil.copy("flowers.npz", f"mine.{suffix}")
    Path("link.npz").symlink_to("mine.npz")
    Path("hard.npz").hardlink_to("mine.npz")
    capsys.readouterr()
    assert main(line.replace("{}", "mine").split()) == 2
    error = capsys.readouterr().err
    assert "are the same file; give --" in error, error
    assert len(error.splitlines()) == 1
    for suffix in ("npz", "csv", "png"):
        assert Path(f"mine.{suffix}").read_bytes() == Path("flowers.npz").read_bytes()


def test_every_command_has_a_mistake_in_the_table():
    assert {line.split()[0] for line, _ in MISTAKES if line} >= {path[0] for path in COMMANDS}


def test_a_mistake_is_one_line(capsys):
    assert main(["train", "--epochs", "two"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COMMANDS)
def test_help_teaches(path, capsys):
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python -m tinygrad_fnn {' '.join(path)}")
    if len(path) == 1 and path != ("bench",):
        assert f"examples:\n  python -m tinygrad_fnn {path[0]}" in text


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("bench",)])
def test_every_example_of_the_help_is_one_that_the_parser_takes(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    examples = re.findall(r"^  python -m tinygrad_fnn ((?:[^\\\n]|\\\n)*)$", COMMANDS[path].epilog or "", flags=re.M)
    assert examples or len(path) == 2
    for example in examples:
        words = example.replace("\\\n", " ").partition("  #")[0].split()
        assert words[: len(path)] == list(path)
        parser().parse_args(words)


@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("bench",)])
def test_the_default_that_the_help_names_is_the_default(path):
    for action in COMMANDS[path]._actions:
        named = re.search(r"\(default: ([\w.-]+)\)", action.help or "")
        value = action.default[0] if isinstance(action.default, list) else action.default
        if named and value is not None:
            text = named.group(1)
            assert str(value) == text or float(value) == float(text), action.option_strings


def test_the_page_is_what_the_parser_says_today():
    printed = subprocess.run([sys.executable, "-m", "tinygrad_fnn.cli"], capture_output=True, text=True, check=True)
    wanted = "run `python -m tinygrad_fnn.cli > docs/command_line.md`"
    assert printed.stdout == page()
    assert PAGE.read_text(encoding="utf-8") == printed.stdout, wanted


def test_every_option_is_on_the_page():
    text = page()
    for path, command in COMMANDS.items():
        assert f"\n{'#' * (1 + len(path))} {' '.join(path)}\n" in text
        for action in command._actions:
            assert all(name in text for name in action.option_strings if name not in ("-h", "--help"))


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tinygrad_fnn {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["info"]])
def test_what_must_be_fast_imports_nothing_slow(arguments):
    slow = ["scipy.special", "scipy.optimize", "scipy.io", "matplotlib", "tqdm", "torch", "safetensors"]
    code = f"import sys; from tinygrad_fnn.cli import main; main({arguments!r}); "
    code += f"print([name for name in {slow!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- commands -------------------------------------------------------------------------------------------------------


def test_the_demo_prints_accuracy_and_agreement(capsys):
    assert main(["demo", "--epochs", "4"]) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"accuracy ([\d.]+)% on the 1000 digits it has not seen", out).group(1)) > 80
    found = re.search(r"autograd = textbook to (\S+), complex step to (\S+), finite differences to (\S+)", out)
    by_hand, by_complex_step, by_differences = map(float, found.groups())
    assert by_hand < 1e-14  # rounding of sums over 100 examples
    assert by_complex_step < 1e-14
    assert by_differences < 1e-7  # rounding of J over the step, 1e-16 / 1e-5, and more where a slope is small
    assert "next:\n  python -m tinygrad_fnn train" in out


def test_the_readme_shows_what_the_demo_prints(capsys):
    pattern = r"accuracy ([\d.]+)% on the 1000 digits.*\n"
    pattern += r"autograd = textbook to (\S+), complex step to (\S+), finite differences to (\S+)"
    assert main(["demo"]) == 0
    shown = re.search(pattern, (PAGE.parents[1] / "README.md").read_text(encoding="utf-8"))
    printed = re.search(pattern, capsys.readouterr().out)
    accuracy, *distances = (np.array([float(shown[k]), float(printed[k])]) for k in range(1, 5))
    assert np.ptp(accuracy) <= 1  # percent: another BLAS sums in another order, and 600 steps of Adam spread that
    assert all(d.max() / d.min() < 10 for d in distances)  # rounding, of the same size everywhere


def test_the_demo_interrupted_says_so(tmp_path):
    command = [sys.executable, "-u", "-m", "tinygrad_fnn", "demo", "--epochs", "5000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("epoch"):
            break
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"\ninterrupted after \d+ of 5000 epochs", out)
    assert "digits it has not seen" in out
    assert error == ""


def test_the_demo_is_the_same_for_a_seed(capsys):
    texts = []
    for seed in "001":
        assert main(["demo", "--epochs", "1", "--seed", seed]) == 0
        texts.append(re.sub(r"\n[\d.]+ s\n", "", capsys.readouterr().out))
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("output", ["sigmoid", "softmax", "identity"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_check_agrees_with_compare(folder, capsys, activation, output):
    run = ["--hidden", "5", "4", "--activation", activation, "--output", output, "--seed", "3", "--npz", "flowers.npz"]
    capsys.readouterr()
    assert main(["check", *run, "--l2", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2]
    for row in found["layers"]:
        assert max(row["autograd_formula"], row["autograd_numerical"], row["formula_numerical"]) < 1e-12  # see compare


def test_check_of_a_network_with_dropout_and_scale(folder, capsys):
    run = ["train", "--npz", "flowers.npz", "--epochs", "1", "--dropout", "0.5", "--scale", "standardize"]
    assert main([*run, "--dtype", "float32", "--out", "d.npz"]) == 0
    assert main(["check", "d.npz", "--npz", "flowers.npz", "--count", "0"]) == 0
    assert "they agree" in capsys.readouterr().out


def test_check_says_no_to_a_wrong_derivation(folder, capsys, monkeypatch):
    def wrong(*arguments, **keywords):
        double = lambda *a, **k: [2 * g for g in check.textbook.gradients(*a, **k).thetas]
        return check.compare(*arguments, **keywords, formula=double)

    monkeypatch.setattr(check_command, "compare", wrong)
    capsys.readouterr()
    assert main(["check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert main(["check"]) == 1
    assert "they DO NOT agree" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        "show digits flowers.npz",
        "show digits flowers.npz --count 7 --seed 1 --out digits.svg",
        "show hidden m.npz",
        "show history run.csv --metric accuracy --log-scale",
        "show confusion m.npz flowers.npz",
        "evaluate m.npz flowers.npz --misread misread.png",
    ],
)
def test_pictures_are_written(folder, capsys, line):
    pytest.importorskip("matplotlib")
    capsys.readouterr()
    words = line.split()
    assert main(words) == 0
    wanted = words[-1] if words[-2] in ("--out", "--misread") else f"{words[1]}.png"
    assert wanted in capsys.readouterr().out
    assert Path(wanted).read_bytes().startswith(b"<?xml" if wanted.endswith("svg") else PNG)


@pytest.mark.parametrize("line", ["show digits flowers.npz", "evaluate m.npz flowers.npz --misread wrong.png"])
def test_without_matplotlib_the_message_says_what_to_install(folder, capsys, monkeypatch, line):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(line.split()) == 2
    assert 'python -m pip install "tinygrad_fnn[plot]"' in capsys.readouterr().err
    assert not list(folder.glob("*.png"))


def test_info_as_text_and_json_says_the_same(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tinygrad_fnn"] == __version__
    assert found["numpy"] == np.__version__
    assert found["scipy"] == __import__("scipy").__version__
    assert main(["info"]) == 0
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines == {key: "not installed" if value is None else str(value) for key, value in found.items()}


def test_info_without_threadpoolctl(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert main(["info"]) == 0
    assert "pip install threadpoolctl" in capsys.readouterr().out


def test_bench_is_given_its_arguments(monkeypatch):
    from tinygrad_fnn import bench

    given = []
    monkeypatch.setattr(bench, "main", lambda arguments, parser: given.extend(arguments) or 1)
    assert main(["bench", "--quick", "--help"]) == 1
    assert given == ["--quick", "--help"]


# --- the edges of a process -----------------------------------------------------------------------------------------


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m tinygrad_fnn demo --epochs 1 | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("400-25-10")
    assert done.stderr == ""


def test_ctrl_c_anywhere_is_exit_code_1(capsys, monkeypatch):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(nn.Linear, "forward", interrupted)
    assert main(["check"]) == 1
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_the_script_is_the_module():
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["project"]["scripts"] == {"tinygrad-fnn": "tinygrad_fnn.cli:main"}
