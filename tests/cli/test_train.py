"""`train`, `evaluate` and `show`: what they compute, by other means; files of every kind; and to be stopped."""

import csv
import gzip
import json
import re
import resource
import shlex
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.special import expit, softmax

from tinygrad_fnn import data
from tinygrad_fnn.cli import main, train
from tinygrad_fnn.cli.networks import ACTIVATIONS, OUTPUTS, SCALINGS, load_network
from tinygrad_fnn.cli.train import _OPTIMIZERS, _SCHEDULES
from tinygrad_fnn.serialize import load, save

QUICK = ["--hidden", "4", "--epochs", "2"]


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """A file of 60 examples with 9 features in 3 classes, in a folder that is the present one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 9)) + 2 * np.eye(3, 9)[y]
    np.savez("flowers.npz", X=X, y=y)
    return X, y


def answer(capsys, *arguments):
    """What a command prints as JSON; the exit code must be 0."""
    assert main([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def by_hand(path, X, activation=expit):
    """The logits of a network in a file, by NumPy alone."""
    with np.load(path) as file:
        weights = {name.removeprefix("weights/"): file[name] for name in file.files if name.startswith("weights/")}
    a = X
    layers = len(weights) // 2
    for k in range(1, layers + 1):
        z = a @ weights[f"linear{k}.W"].T + weights[f"linear{k}.b"]
        a = activation(z)
    return z


# --- what it computes -----------------------------------------------------------------------------------------------


def test_the_file_holds_the_network_whose_figures_are_printed(flowers, capsys):
    X, y = flowers
    found = answer(capsys, "train", "--npz", "flowers.npz", *QUICK, "--validation", 0, "--out", "m.npz")
    z = by_hand("m.npz", X)
    Y = np.eye(3)[y]
    J = -np.sum(Y * np.log(expit(z)) + (1 - Y) * np.log(expit(-z))) / len(X)
    training = found["results"]["training"]
    assert training["examples"] == 60
    assert training["accuracy"] == np.mean(z.argmax(axis=1) == y)
    assert training["cost"] == pytest.approx(J, rel=1e-12)  # sums of 180 numbers, in another order


@pytest.mark.parametrize("output", OUTPUTS)
def test_evaluate_counts_what_a_loop_counts(flowers, capsys, output):
    X, y = flowers
    main(["train", "--npz", "flowers.npz", *QUICK, "--output", output, "--out", "m.npz"])
    capsys.readouterr()
    found = answer(capsys, "evaluate", "m.npz", "flowers.npz")
    z = by_hand("m.npz", X)
    Y, read = np.eye(3)[y], z.argmax(axis=1)
    costs = {
        "sigmoid": -np.sum(Y * np.log(expit(z)) + (1 - Y) * np.log(expit(-z))),
        "softmax": -np.sum(Y * np.log(softmax(z, axis=1))),
        "identity": np.sum((z - Y) ** 2) / 2,
    }
    assert found["cost"] == pytest.approx(costs[output] / len(X), rel=1e-12)  # as above
    assert found["accuracy"] == np.mean(read == y)
    assert found["confusion"] == [[int(np.sum((y == i) & (read == j))) for j in range(3)] for i in range(3)]
    for k, row in enumerate(found["classes"]):
        right, predicted, there = np.sum((y == k) & (read == k)), np.sum(read == k), np.sum(y == k)
        wanted = [k, right / predicted if predicted else 0, right / there, 2 * right / (predicted + there), there]
        assert list(row.values()) == pytest.approx(wanted, rel=1e-15)  # one division each


def test_the_penalty_is_that_of_the_course(flowers, capsys):
    """One full batch of plain gradient descent: the step of --l2 is -lr * lambda/m * W, of the biases nothing."""
    X, _ = flowers
    run = ["train", "--npz", "flowers.npz", "--hidden", "4", "--epochs", "1", "--batch-size", "60"]
    run += ["--optimizer", "sgd", "--lr", "0.1", "--validation", "0"]
    weights = {}
    for name, options in (("start", ["--epochs", "0"]), ("free", []), ("held", ["--l2", "3"])):
        assert main([*run, *options, "--out", f"{name}.npz"]) == 0
        weights[name] = load(f"{name}.npz")["weights"]
    for key, start in weights["start"].items():
        wanted = 0.1 * 3 / len(X) * start if key.endswith(".W") else 0
        # The steps are differences of numbers of size 1.
        np.testing.assert_allclose(weights["free"][key] - weights["held"][key], wanted + 0 * start, atol=1e-15)


def test_a_seed_gives_the_same_bits_and_another_one_others(flowers):
    run = ["train", "--npz", "flowers.npz", *QUICK, "--dropout", "0.3", "--shift", "1", "--out"]
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert main([*run, f"{name}.npz", "--seed", seed]) == 0
    a, b, c = (load(f"{name}.npz")["weights"] for name in "abc")
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not any(np.array_equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_scale_is_learned_from_the_training_part_and_stored(flowers, capsys, scaling):
    X, y = flowers
    run = ["train", "--npz", "flowers.npz", *QUICK, "--scale", scaling, "--validation", "0", "--out", "m.npz"]
    found = answer(capsys, *run)
    centre = X.mean(axis=0) if scaling == "standardize" else X.min(axis=0)
    width = X.std(axis=0) if scaling == "standardize" else np.ptp(X, axis=0)
    read = by_hand("m.npz", (X - centre) / width).argmax(axis=1)
    assert found["results"]["training"]["accuracy"] == np.mean(read == y)
    assert answer(capsys, "evaluate", "m.npz", "flowers.npz")["accuracy"] == np.mean(read == y)


def test_the_validation_part_has_its_share_of_every_class(flowers, capsys):
    results = answer(capsys, "train", "--npz", "flowers.npz", *QUICK, "--validation", "0.3")["results"]
    assert {name: part["examples"] for name, part in results.items()} == {"training": 42, "validation": 18}


@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_every_optimizer_learns(flowers, capsys, name):
    run = ["train", "--npz", "flowers.npz", "--hidden", "--validation", "0", "--optimizer", name]
    rate = ["--lr", "0.1"] if name in ("sgd", "adagrad") else []
    before = answer(capsys, *run, "--epochs", 0)["results"]["training"]["cost"]
    assert answer(capsys, *run, *rate, "--epochs", 5)["results"]["training"]["cost"] < before


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_trains_and_is_read_back(flowers, capsys, name):
    run = ["train", "--npz", "flowers.npz", *QUICK, "--activation", name, "--validation", "0", "--out", "m.npz"]
    found = answer(capsys, *run)
    again = answer(capsys, "evaluate", "m.npz", "flowers.npz")
    assert again["cost"] == found["results"]["training"]["cost"]
    assert again["network"] == found["network"] == f"9-4-3, {name}, sigmoid, float64"


@pytest.mark.parametrize("name", _SCHEDULES)
def test_every_schedule_sets_the_rates(flowers, capsys, name):
    run = ["train", "--npz", "flowers.npz", "--hidden", "3", "--epochs", "6", "--lr", "0.01", "--schedule", name]
    assert main([*run, "--log", "run.csv"]) == 0
    with open("run.csv", newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    wanted = {
        "constant": [0.01] * 6,
        "plateau": [0.01] * 6,  # the loss falls
        "step": [0.01, 0.01, 0.001, 0.001, 1e-4, 1e-4],
        "exponential": [0.01 * 0.95**k for k in range(6)],
        "cosine": [0.005 * (1 + np.cos(np.pi * k / 6)) for k in range(6)],
    }
    if name == "one-cycle":  # up within 0.3 of the 12 steps, from 1/25, and down
        assert rates[0] == pytest.approx(0.01 / 25)
        assert rates[2:] == sorted(rates[2:], reverse=True)
        assert rates[0] < rates[1] < rates[2]
    else:
        assert rates == pytest.approx(wanted[name], rel=1e-12)  # a few multiplications each


def test_patience_stops_and_goes_back_to_the_best(flowers, capsys):
    run = ["train", "--npz", "flowers.npz", "--hidden", "8", "--epochs", "500", "--lr", "0.05", "--patience", "3"]
    found = answer(capsys, *run, "--log", "run.jsonl")
    rows = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    losses = [row["val_loss"] for row in rows]
    assert found["epochs"] == len(rows) < 500
    assert losses.index(min(losses)) == len(rows) - 4
    assert "no better val_loss for 3 epochs" in found["stopped"]
    assert found["results"]["validation"]["cost"] == pytest.approx(min(losses), rel=1e-12)  # batches of another size


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_a_bar_takes_the_place_of_the_lines(flowers, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main(["train", "--npz", "flowers.npz", *QUICK, "--progress"]) == 0
    error = capsys.readouterr().err
    assert ("epoch 2/2: " in error) == terminal
    assert ("epoch 2/2  lr" in error) != terminal
    assert ("\r" in error) == terminal


def test_it_is_said_how_many_examples_there_are_to_learn_from_and_held_back(flowers, capsys):
    assert main(["train", "--npz", "flowers.npz", *QUICK]) == 0
    assert "; 48 examples to learn from and 12 held back, of flowers.npz\n" in capsys.readouterr().err
    assert main(["train", "--npz", "flowers.npz", *QUICK, "--validation", "0"]) == 0
    assert "; 60 examples to learn from, of flowers.npz\n" in capsys.readouterr().err


@pytest.mark.parametrize("rate", ["1e300", "1e-9"])
def test_a_cost_that_has_grown_is_warned_of(flowers, capsys, rate):
    """Cross-entropy of saturated logits is finite however wrong they are."""
    run = ["train", "--npz", "flowers.npz", *QUICK, "--output", "softmax", "--lr", rate]
    assert main(run) == 0
    warned = re.search(r"warning: the training cost is (\S+), it was (\S+) at the start", capsys.readouterr().err)
    assert bool(warned) == (rate == "1e300")
    if warned:
        assert float(warned[1]) > 1e100 > float(warned[2])


def test_logits_that_overflow_after_the_training_are_its_answer(flowers, capsys):
    run = ["train", "--npz", "flowers.npz", "--hidden", "50", "--epochs", "1", "--batch-size", "60"]
    assert main([*run, "--output", "softmax", "--lr", "1e308", "--out", "m.npz"]) == 1
    error = capsys.readouterr().err
    assert "try a smaller --lr" in error
    assert not Path("m.npz").exists()


def test_float32_stays_float32(flowers):
    assert main(["train", "--npz", "flowers.npz", *QUICK, "--dtype", "float32", "--scale", "normalize",
                 "--out", "m.npz"]) == 0  # fmt: skip
    assert {array.dtype.name for array in load("m.npz")["weights"].values()} == {"float32"}
    network = load_network(Path("m.npz"))
    assert network.logits(network.scaled(np.ones((2, 9)))).dtype == np.float32


# --- where examples come from ---------------------------------------------------------------------------------------


def idx(path, array, pack=gzip.compress):
    head = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(pack(head + array.astype(np.uint8).tobytes()))


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_folder_of_mnist_has_a_test_set(tmp_path, capsys, pack):
    rng = np.random.default_rng(0)
    ends = ".gz" if pack is gzip.compress else ""
    for part, m in (("train", 40), ("t10k", 20)):
        idx(tmp_path / f"{part}-images-idx3-ubyte{ends}", rng.integers(0, 256, (m, 5, 5)), pack)
        idx(tmp_path / f"{part}-labels-idx1-ubyte{ends}", np.arange(m) % 10, pack)
    out = tmp_path / "m.npz"
    found = answer(capsys, "train", "--mnist", tmp_path, *QUICK, "--shift", "1", "--out", out)
    assert {name: part["examples"] for name, part in found["results"].items()} == {
        "training": 32,
        "validation": 8,
        "test": 20,
    }
    tested = answer(capsys, "evaluate", out, tmp_path)
    assert {key: tested[key] for key in ("examples", "cost", "accuracy")} == found["results"]["test"]


def test_a_course_file_and_the_course_weights(tmp_path, capsys):
    """Theta2's last row is digit 0 there, since its label is 10."""
    X, y = data.digits()
    X, y = X[::50], y[::50]
    savemat(tmp_path / "data.mat", {"X": X, "y": np.where(y == 0, 10, y)[:, None]})
    rng = np.random.default_rng(0)
    thetas = [rng.normal(size=(25, 401)) * 0.1, rng.normal(size=(10, 26))]
    savemat(tmp_path / "weights.mat", {"Theta1": thetas[0], "Theta2": thetas[1]})
    a = expit(np.c_[np.ones(100), X] @ thetas[0].T)
    read = (1 + (np.c_[np.ones(100), a] @ thetas[1].T).argmax(axis=1)) % 10
    found = answer(capsys, "evaluate", tmp_path / "weights.mat", tmp_path / "data.mat")
    assert found["accuracy"] == np.mean(read == y)
    assert answer(capsys, "train", "--mat", tmp_path / "data.mat", *QUICK)["network"].startswith("400-4-10")


def test_the_weights_of_the_course_read_975_of_1000(shared_data, capsys):
    found = answer(capsys, "evaluate", shared_data / "ex4weights.mat", shared_data / "ex4data1.mat")
    assert found["accuracy"] == 0.9752
    assert found["cost"] == pytest.approx(0.2876291651613188, rel=1e-14)  # DESIGN.md; sums of 50,000 terms


@pytest.mark.parametrize("column", ["kind", "0", "-3"])
def test_a_table_with_labels_of_any_numbers(tmp_path, capsys, monkeypatch, column):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = np.array([7, -2, 30])[np.arange(30) % 3]
    X = np.round(rng.normal(size=(30, 2)) + 10 * (kinds == 30)[:, None], 3)
    lines = [f"{k},{a},{b}" for k, (a, b) in zip(kinds, X, strict=True)]
    Path("t.csv").write_text("\n".join(["kind,width,length", *lines]))
    run = ["train", "--csv", "t.csv", f"--label-column={column}", "--hidden", "5", "--epochs", "3"]
    assert answer(capsys, *run, "--out", "m.npz")["network"].startswith("2-5-3,")
    found = answer(capsys, "evaluate", "m.npz", "t.csv", f"--label-column={column}")
    assert [row["class"] for row in found["classes"]] == [-2, 7, 30]
    read = np.array([-2, 7, 30])[by_hand("m.npz", X).argmax(axis=1)]
    assert found["accuracy"] == np.mean(read == kinds)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("mark", [",", ";", "\t", " "])
def test_a_table_with_texts_as_labels(tmp_path, capsys, monkeypatch, header, mark):
    """Features that are whole numbers: the first line is an example all the same, and is not lost."""
    monkeypatch.chdir(tmp_path)
    kinds = np.array(["virginica", "setosa", "Ärmel"])[np.arange(30) % 3]
    X = np.random.default_rng(0).integers(-9, 9, (30, 2))
    lines = [f"{a}{mark}{b}{mark}{k}" for k, (a, b) in zip(kinds, X, strict=True)]
    Path("t.csv").write_text("\n".join([mark.join(["width", "length", "kind"])] * header + lines), encoding="utf-8")
    column = ["--label-column", "kind"] if header else []
    found = answer(capsys, "train", "--csv", "t.csv", *column, *QUICK, "--out", "m.npz")
    assert sum(part["examples"] for part in found["results"].values()) == 30
    tested = answer(capsys, "evaluate", "m.npz", "t.csv", *column)
    assert [row["class"] for row in tested["classes"]] == ["setosa", "virginica", "Ärmel"]
    read = np.array(["setosa", "virginica", "Ärmel"])[by_hand("m.npz", X).argmax(axis=1)]
    assert tested["accuracy"] == np.mean(read == kinds)
    assert main(["evaluate", "m.npz", "t.csv", *column]) == 0
    assert re.search(r"^ *setosa +\d", capsys.readouterr().out, flags=re.M)
    np.savez("numbers.npz", X=X, y=np.arange(30) % 3)
    assert main(["evaluate", "m.npz", "numbers.npz"]) == 2
    assert "the label at row 0 (from 0) is 0, the model knows setosa, virginica, Ärmel" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["flowers.npz", "two words.npz", "t.csv", "t.tsv", "t.mat", "mnist", "t.dat", ""])
def test_the_next_command_is_one_that_works(flowers, capsys, name):
    X, y = flowers
    kind = Path(name).suffix[1:]
    source = [f"--{kind if kind in ('npz', 'csv', 'mat') else 'mnist' if name == 'mnist' else 'csv'}", name]
    if kind == "npz":
        np.savez(name, X=X, y=y)
    elif kind == "mat":
        savemat(name, {"X": X, "y": y})
    elif name == "mnist":
        Path(name).mkdir()
        for part in ("train", "t10k"):
            idx(Path(name, f"{part}-images-idx3-ubyte.gz"), np.zeros((60, 3, 3)))
            idx(Path(name, f"{part}-labels-idx1-ubyte.gz"), np.arange(60) % 10)
    elif name:
        np.savetxt(name, np.column_stack([y, X]), delimiter=",")
        source += ["--label-column", "0"]
    assert main(["train", *(source if name else []), *QUICK, "--out", "my m.npz"]) == 0
    out = capsys.readouterr().out
    if kind == "dat":  # `evaluate` goes by the suffix, and would not know what it is
        assert "next:" not in out
    else:
        line = re.search(r"^next: python -m tinygrad_fnn (.*)$", out, flags=re.M)[1]
        assert main(shlex.split(line)) == 0


def test_without_data_a_network_is_shown_digits_of_its_width(tmp_path, capsys):
    for pixels in (400, 784):
        np.savez(tmp_path / "t.npz", X=np.eye(20, pixels), y=np.arange(20) % 10)
        main(["train", "--npz", str(tmp_path / "t.npz"), "--hidden", "--epochs", "0", "--out", str(tmp_path / "m.npz")])
        capsys.readouterr()
        X, y = data.digits() if pixels == 400 else data.digits(28)
        read = by_hand(tmp_path / "m.npz", X).argmax(axis=1)
        assert answer(capsys, "evaluate", tmp_path / "m.npz")["accuracy"] == np.mean(read == y)
        assert main(["evaluate", str(tmp_path / "m.npz")]) == 0
        assert "has seen most of them" in capsys.readouterr().err


# --- to be stopped, and to go on ------------------------------------------------------------------------------------

LONG = ["train", "--npz", "flowers.npz", "--hidden", "8", "--dropout", "0.2", "--shift", "1", "--log", "run.csv"]
LONG += ["--checkpoint", "run.npz", "--schedule", "exponential"]


def test_a_resumed_run_has_the_bits_of_one_that_never_ended(flowers):
    run = LONG[: LONG.index("--log")] + ["--schedule", "exponential"]
    assert main([*run, "--epochs", "6", "--log", "whole.csv", "--out", "whole.npz"]) == 0
    assert main([*LONG, "--epochs", "2"]) == 0
    assert main([*LONG, "--epochs", "6", "--resume", "--out", "parts.npz"]) == 0
    assert Path("run.csv").read_bytes() == Path("whole.csv").read_bytes()
    whole, parts = (load(f"{name}.npz")["weights"] for name in ("whole", "parts"))
    assert all(np.array_equal(whole[key], parts[key]) for key in whole)


@pytest.mark.parametrize("name", _SCHEDULES)
def test_an_interrupted_run_goes_on_in_the_middle_of_its_schedule(flowers, capsys, monkeypatch, name):
    run = ["train", "--npz", "flowers.npz", *QUICK, "--epochs", "5", "--schedule", name, "--out"]
    assert main([*run, "whole.npz"]) == 0

    def press(self, run):
        if run.epoch == 3:
            raise KeyboardInterrupt

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(train._Lines, "on_epoch_end", press)
        assert main([*run, "parts.npz", "--checkpoint", "run.npz", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["interrupted"] is True
    assert main([*run, "parts.npz", "--checkpoint", "run.npz", "--resume"]) == 0
    whole, parts = (load(f"{name}.npz")["weights"] for name in ("whole", "parts"))
    assert all(np.array_equal(whole[key], parts[key]) for key in whole)


def test_a_schedule_made_for_other_epochs_is_not_resumed(flowers, capsys):
    run = ["train", "--npz", "flowers.npz", "--schedule", "cosine", "--checkpoint", "run.npz", "--epochs"]
    assert main([*run, "2"]) == 0
    assert main([*run, "3", "--resume"]) == 2
    assert "epochs was 2, 3 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0.5"], "lr was not given, 0.5 now"),
        (["--batch-size", "7"], "batch"),
        (["--seed", "1"], "seed was 0, 1 now"),
        (["--hidden", "9"], "of another model"),
        (["--npz", "other.npz"], "source was flowers.npz, other.npz now"),
        (["--l2", "1"], "l2 was 0.0, 1.0 now"),
        (["--schedule", "cosine"], "scheduler"),
    ],
)
def test_other_settings_are_not_resumed(flowers, capsys, options, message):
    np.savez("other.npz", X=flowers[0], y=flowers[1])
    assert main([*LONG, "--epochs", "1"]) == 0
    before = Path("run.npz").read_bytes()
    assert main([*LONG, "--epochs", "2", *options, "--resume"]) == 2
    assert message in capsys.readouterr().err
    assert Path("run.npz").read_bytes() == before


@pytest.mark.parametrize("change", ["a number", "a label", "the length", "nothing"])
def test_other_data_under_the_same_name_are_not_resumed(flowers, capsys, change):
    X, y = flowers
    assert main([*LONG, "--epochs", "1"]) == 0
    if change == "a number":
        X[7, 3] += 1e-9
    elif change == "a label":
        y[[7, 8]] = y[[8, 7]]
    elif change == "the length":
        X, y = X[:57], y[:57]
    np.savez_compressed("flowers.npz", X=X, y=y)
    capsys.readouterr()
    assert main([*LONG, "--epochs", "2", "--resume"]) == (0 if change == "nothing" else 2)
    if change != "nothing":
        wanted = r"content was 60 examples with checksum \w{8}, 60 examples with checksum \w{8} now"
        wanted = "the loaders differ: examples was 48 and is 46" if change == "the length" else wanted
        assert re.search(wanted, capsys.readouterr().err)


def test_a_checkpoint_is_not_replaced_by_a_new_run(flowers, capsys):
    assert main([*LONG, "--epochs", "1"]) == 0
    before = Path("run.npz").read_bytes()
    assert main([*LONG, "--epochs", "1"]) == 2
    assert "exists; add --resume" in capsys.readouterr().err
    assert Path("run.npz").read_bytes() == before


def started(*options, **keywords):
    """A training in a process of its own, with one epoch behind it."""
    command = [sys.executable, "-m", "tinygrad_fnn", *LONG, "--epochs", "100000", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords)
    for line in process.stderr:
        if line.startswith("epoch"):
            return process
    raise AssertionError(process.wait())


def test_ctrl_c_ends_cleanly(flowers):
    process = started("--out", "m.npz", "--json")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1, error
    assert "Traceback" not in error
    found = json.loads(out)
    assert found["interrupted"]
    assert load("m.npz")["record"]["interrupted"] is True
    assert main([*LONG, "--epochs", str(found["epochs"] + 1), "--resume"]) == 0


def test_a_kill_loses_at_most_the_epoch_under_way(flowers, capsys):
    process = started()
    process.kill()
    process.communicate(timeout=60)
    epochs = len(Path("run.csv").read_text().splitlines()) - 1
    assert epochs >= 1
    # The checkpoint of an epoch follows its line in the log.
    found = answer(capsys, *LONG, "--epochs", epochs + 1, "--resume")
    assert found["epochs"] == epochs + 1


def test_a_full_disk_is_an_error_of_one_line_and_the_old_file_stays(flowers):
    assert main(["train", "--npz", "flowers.npz", *QUICK, "--out", "m.npz"]) == 0
    before = Path("m.npz").read_bytes()

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))  # bytes: less than a network takes

    command = [sys.executable, "-m", "tinygrad_fnn", "train", "--npz", "flowers.npz", *QUICK]
    for options, wanted in ((["--out", "m.npz"], "--out m.npz"), (["--checkpoint", "c.npz"], "--log or --checkpoint")):
        done = subprocess.run([*command, *options], capture_output=True, text=True, preexec_fn=limited, check=False)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == f"{wanted} cannot be written: File too large"
    assert Path("m.npz").read_bytes() == before
    assert not Path("c.npz").exists()


def test_a_nan_ends_the_training_with_exit_code_1(flowers, capsys):
    run = ["train", "--npz", "flowers.npz", *QUICK, "--activation", "relu", "--output", "identity"]
    assert main([*run, "--optimizer", "sgd", "--lr", "1e200", "--out", "m.npz"]) == 1
    error = capsys.readouterr().err
    assert "in epoch 1, batch 2" in error
    assert "try a smaller --lr" in error
    assert not Path("m.npz").exists()


# --- files that are no networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "other", "nothing of the kind"),
        ("version", 2, "its version is 2, wanted 1"),
        ("activation", "__import__", "activation is '__import__'"),
        ("activation", ["relu"], "activation is"),
        ("output", None, "output is None"),
        ("scaling", "standardize", "holds no network"),
        ("classes", [0, 1], "not 3 integers"),
        ("classes", [0, 2, 1], "not in order"),
        ("classes", [0, 1, 1.5], "not 3 integers"),
        ("classes", "abc", "not 3 integers"),
        ("classes", ["b", "a", "c"], "not in order"),
        ("classes", ["a", "b", 3], "not 3 integers or texts"),
        ("column_major", 1, "no bool"),
        ("dropout", 1.0, "no number in"),
        ("dropout", float("nan"), "no number in"),
        ("weights", {}, "no W and b"),
        ("weights", [1, 2], "no W and b"),
        ("weights", {"linear1.W": np.ones((3, 9)), "linear2.b": np.ones(3)}, "linear1.b"),
        ("weights", {"linear1.W": np.ones((3, 9)), "linear1.b": np.ones(4)}, "do not fit"),
        ("weights", {"linear1.W": np.ones((3, 0)), "linear1.b": np.ones(3)}, "do not fit"),
        ("weights", {"linear1.W": np.ones((3, 9), int), "linear1.b": np.ones(3)}, "not of float64"),
        ("weights", {"linear1.W": np.ones((3, 9), "f4"), "linear1.b": np.ones(3)}, "differ in dtype"),
        ("weights", {"linear1.W": np.full((3, 9), np.inf), "linear1.b": np.ones(3)}, "not finite"),
        ("weights", {"linear1.W": "a", "linear1.b": "b"}, "not of float64"),
    ],
)
def test_a_file_is_believed_as_far_as_it_proves_itself(flowers, capsys, key, value, message):
    main(["train", "--npz", "flowers.npz", *QUICK, "--out", "m.npz"])
    content = load("m.npz")
    save(content | {key: value}, "wrong.npz")
    capsys.readouterr()
    assert main(["evaluate", "wrong.npz", "flowers.npz"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wrong.npz holds no network that `train --out` wrote")
    assert message in error
    del content[key]
    save(content, "wrong.npz")
    assert main(["evaluate", "wrong.npz", "flowers.npz"]) == 2


@pytest.mark.parametrize(
    "scale",
    [{"mean": np.zeros(9), "std": np.zeros(9)}, {"mean": np.zeros(2), "std": np.ones(2)}, {"mean": np.zeros(9)}, None],
)
def test_a_wrong_scale_is_refused(flowers, capsys, scale):
    main(["train", "--npz", "flowers.npz", *QUICK, "--scale", "standardize", "--out", "m.npz"])
    save(load("m.npz") | {"scale": scale}, "wrong.npz")
    capsys.readouterr()
    assert main(["evaluate", "wrong.npz", "flowers.npz"]) == 2
    assert "holds no network" in capsys.readouterr().err
