"""The MNIST program as a user runs it, on the digits of the package in MNIST's files, and on MNIST where it is."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_fnn.data import load_idx, load_mnist
from tinygrad_fnn.serialize import load

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "train_mnist.py"
DIGITS = Path(__file__).resolve().parents[1] / "tinygrad_fnn" / "data"
SMALL = ["--hidden", 20, "--batch", 50]

# Ctrl-C at a moment of our choice: when the second epoch is reported.
CUT_SHORT = """
import logging, os, runpy, signal, sys
def cut(record):
    if record.getMessage().startswith("epoch 2/"):
        os.kill(os.getpid(), signal.SIGINT)
    return True
logging.getLogger("tinygrad_fnn").addFilter(cut)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def call(*arguments, before=()):
    command = [sys.executable, "-W", "error", *before, str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)


def run(*arguments):
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """2500 digits to learn from and 500 to be tested on, in files of MNIST's names."""
    folder = tmp_path_factory.mktemp("mnist")
    for kind in ("images", "labels"):
        (path,) = DIGITS.glob(f"digits-{kind}-*.gz")
        every = load_idx(path)
        for part, rows in (("train", every[::2]), ("t10k", every[1::10])):
            head = struct.pack(f">HBB{rows.ndim}I", 0, 8, rows.ndim, *rows.shape)
            (folder / f"{part}-{kind}-idx{rows.ndim}-ubyte").write_bytes(head + rows.tobytes())
    return folder


def accuracy_of(path, X, y):
    """The network in a file, by hand."""
    W1, b1, W2, b2 = load(path).values()
    return np.mean((np.maximum(X @ W1.T + b1, 0) @ W2.T + b2).argmax(axis=1) == y)


def test_the_table_has_each_seed_and_the_accuracy_of_the_network_it_saves(folder, tmp_path):
    out = run(folder, *SMALL, "--seeds", 0, 1, "--epochs", 5, "--markdown", "--out", tmp_path)
    assert len(re.findall(r"^epoch \d/5: loss \S+, accuracy \S+, \S+ s$", out, re.MULTILINE)) == 10
    head, rule, *rows = out.splitlines()[-4:]
    assert (head, rule) == ("| seed | test accuracy | seconds |", "| --- | --- | --- |")
    X, y = load_mnist(*sorted(folder.glob("t10k*")))
    for seed, row in enumerate(rows):
        network = tmp_path / f"seed{seed}.npz"
        assert [(a.dtype.name, a.shape) for a in load(network).values()] == [
            ("float32", (20, 784)),
            ("float32", (20,)),
            ("float32", (10, 20)),
            ("float32", (10,)),
        ]
        accuracy = accuracy_of(network, X, y)
        assert re.fullmatch(rf"\| {seed} \| {accuracy:.2%} \| \d+ \|", row)
        assert accuracy > 0.8  # of 500 digits, after five looks at 2500; guessing has 0.1
    assert not np.array_equal(*(load(tmp_path / f"seed{seed}.npz")["0.W"] for seed in (0, 1)))


def test_validation_never_opens_the_test_set(folder, tmp_path):
    for path in folder.glob("train*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    out = run(tmp_path, *SMALL, "--epochs", 1, "--validate", "--out", tmp_path / "out")
    assert "seed 0: 2083 digits" in out
    (reported,) = re.findall(r"val_accuracy (\S+),", out)
    assert f"validation accuracy {float(reported):.2%}" in out


def test_a_training_that_was_cut_short_goes_on_with_the_same_bits(folder, tmp_path):
    options = [folder, *SMALL, "--epochs", 3, "--dropout", 0.2]
    run(*options, "--out", tmp_path / "whole")
    done = call(*options, "--checkpoint", "--out", tmp_path / "cut", before=["-c", CUT_SHORT])
    assert done.returncode == 1
    assert "interrupted; --resume goes on" in done.stderr
    assert not (tmp_path / "cut" / "seed0.npz").exists()
    out = run(*options, "--resume", "--out", tmp_path / "cut")
    assert re.findall(r"^epoch \d", out, re.MULTILINE) == ["epoch 3"]
    assert (tmp_path / "cut" / "seed0.npz").read_bytes() == (tmp_path / "whole" / "seed0.npz").read_bytes()


@pytest.mark.parametrize("loss", ["course", "squared"])
def test_the_losses_of_the_comparisons_learn_in_float32(folder, tmp_path, loss):
    recipe = ["--activation", "sigmoid", "--loss", loss, "--lr", 0.02]
    out = run(folder, *SMALL, *recipe, "--epochs", 5, "--out", tmp_path)
    assert float(re.search(r"test accuracy (\S+)%", out).group(1)) > 50  # 70 to 80 came out; guessing has 10
    weights = load(tmp_path / "seed0.npz")
    assert {a.dtype.name for a in weights.values()} == {"float32"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: wanted train-images-idx3-ubyte"),
        ([".", "--epochs", "0"], "0 is below 1"),
        ([".", "--loss", "hinge"], "invalid choice: 'hinge'"),
        (["FOLDER", "--lr", "-1"], "lr"),
        (["FOLDER", "--dropout", "2"], "p must be a number in [0, 1]; got 2"),
        (["FOLDER", "--shift", "-1"], "shifts"),
    ],
)
def test_a_users_mistake_is_one_message_and_no_traceback(folder, tmp_path, arguments, message):
    done = call(*[folder if argument == "FOLDER" else argument for argument in arguments], "--out", tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_two_looks_at_mnist_are_worth_more_than_95_per_cent(shared_data, tmp_path):
    out = run(shared_data / "mnist", "--hidden", 100, "--epochs", 2, "--out", tmp_path)
    assert "seed 0: 60000 digits" in out
    # Beyond what no hidden layer reaches, 92 to 93; two seeds gave 96.1 and 96.4 on digits held out.
    assert float(re.search(r"test accuracy (\S+)%", out).group(1)) > 95
