"""The benchmarks: everything runs, everybody agrees, who does not is left out. No time is looked at."""

import gzip
import json
import os
import re
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinygrad_fnn import bench
from tinygrad_fnn.bench import (
    command,
    contest,
    memory,
    ours,
    peers,
    problems,
    process,
    speed,
    timing,
    training,
    workloads,
)
from tinygrad_fnn.bench.competitor import BARE, COMPILED, LIMIT, OURS, Competitor, FlatAdam, disagreements, gradients
from tinygrad_fnn.bench.contest import Settings, agreeing, everybody
from tinygrad_fnn.bench.ours import by_hand
from tinygrad_fnn.bench.table import Table, markdown, ratios, text

ALONE = Settings(rounds=1, quick=True, peers=())
PROBLEMS = {
    "cost": (problems.deep(7, 3, 4), 1e-6),
    "logistic steps": (problems.training((6, 5, 4, 3), 8, "sigmoid"), 1e-3),
    "relu steps": (problems.training((6, 5, 4, 3), 8, "relu"), 1e-3),
    "chain": (problems.Chain(np.linspace(0, 1, 5)), 1e-6),
    "plain chain": (problems.Chain(np.linspace(0, 1, 5), 9, plain=True), 1e-6),
}


@pytest.fixture
def here(monkeypatch):
    """Runs in this process what has processes of its own, which take longer to start than the quick sizes to run."""

    def piece(name, threads, /, **arguments):
        return json.loads(json.dumps(workloads.PIECES[name](**json.loads(json.dumps(arguments)))))

    for module in (command, memory, training):
        monkeypatch.setattr(module, "piece", piece)
    monkeypatch.setattr(speed, "imported", lambda modules, threads, bytecode: None if modules == "mygrad" else 2.0)


@pytest.fixture
def mnist(tmp_path):
    """A folder with files as MNIST's: noise in 28 x 28."""
    rng = np.random.default_rng(0)
    for kind, count in (("train", 200), ("t10k", 50)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        head = struct.pack(">IIII", 2051, count, 28, 28)
        (tmp_path / f"{kind}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        (tmp_path / f"{kind}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
    return tmp_path


# --- the command ------------------------------------------------------------------------------------------------------


def test_help_names_every_workload():
    assert tuple(workloads.WORKLOADS) == command.NAMES
    for name in command.NAMES:
        assert name in command.DESCRIPTION


@pytest.mark.parametrize("name", workloads.WORKLOADS)
def test_each_workload_fills_its_tables(here, mnist, tmp_path, capsys, name):
    file = tmp_path / "report.json"
    options = ["--quick", "--rounds", "1", "--peers", "--mnist", str(mnist), "--json", str(file)]
    assert bench.main(["--workload", name, *options]) == 0
    printed = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert set(report) == {"machine", "versions", "rounds", "threads", "quick", "tables", "failures"}
    assert report["failures"] == []
    assert {"processor", "cores", "system", "python", "blas"} == set(report["machine"])
    assert report["versions"]["numpy"] == np.__version__
    assert report["tables"]
    for table in report["tables"]:
        assert table["workload"] == name
        assert table["title"] in printed
        assert table["rows"]
        assert table["wrong"] == []
        assert not [note for note in table["notes"] if "left out" in note]
        names = [row["name"] for row in table["rows"]]
        assert len(set(names)) == len(names)
        if table["compared"]:
            assert OURS in names
        if name in ("W1", "W2", "W3", "W4", "growth"):
            assert COMPILED in names
            assert (BARE in names) == (name != "W4")
            assert LIMIT in names
        for row in table["rows"]:
            assert row["name"] in printed
            assert len(row["values"]) == len(table["columns"])
            for value in row["values"]:
                assert value is None or np.isfinite(value)
            beside = {"to_ours"} if OURS in names else set()
            beside |= {"to_bare"} if BARE in names else set()
            assert set(row) == {"name", "values"} | (beside if table["compared"] else set())


def test_a_process_of_its_own_has_the_threads_that_were_asked_for(tmp_path, capfd):
    """The real way, once: one workload, its process, its environment."""
    assert bench.main(["--workload", "W4", "--quick", "--rounds", "1", "--peers"]) == 0
    out, err = capfd.readouterr()
    assert OURS in out
    assert err == ""
    assert process.imported("os; assert os.environ['OPENBLAS_NUM_THREADS'] == '2'", 2, str(tmp_path)) > 0
    assert process.imported("no_such_module", 1, str(tmp_path)) is None


def test_environment_leaves_the_threads_to_the_libraries_or_sets_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in timing.environment(None)
    assert timing.environment(2)["OMP_NUM_THREADS"] == "2"
    assert timing.environment(2)["PATH"] == os.environ["PATH"]


def test_a_workload_that_fails_does_not_stop_the_others(here, monkeypatch, capsys):
    quick = ["--quick", "--rounds", "1", "--peers"]
    before = command.piece

    def failing(name, threads, /, **arguments):
        if arguments["name"] == "W1":
            raise RuntimeError("bench: W1 ended with code 1: no memory")
        return before(name, threads, **arguments)

    monkeypatch.setattr(command, "piece", failing)
    assert bench.main(["--workload", "W1", "W2", *quick]) == 2
    out, err = capsys.readouterr()
    assert "W2: one step" in out
    assert err == "bench: W1 ended with code 1: no memory\n"


@pytest.mark.parametrize("option", ["rounds", "threads"])
def test_counts_that_are_not_positive_are_refused(option, capsys):
    assert bench.main([f"--{option}", "0"]) == 2
    assert capsys.readouterr().err == f"--{option} is 0, wanted 1 or more\n"


def test_a_folder_without_the_files_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train-images-idx3-ubyte or train-images-idx3-ubyte\.gz in"):
        list(training.mnist(Settings(quick=True, mnist=str(tmp_path))))


# --- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", peers.PEERS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_peers_agree(peer, problem):
    for module in peers.PEERS[peer][0]:
        pytest.importorskip(module)
    given, tolerance = PROBLEMS[problem]
    table = Table("t", "t", "ms", [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of is theirs
        left = agreeing(everybody(given, Settings(threads=None, peers=(peer,)), table), tolerance, table)
    assert (table.notes, table.wrong) == ([], [])
    theirs = set(left) - {BARE, LIMIT, OURS, COMPILED, "NumPy by hand"}
    assert theirs or (peer == "scikit-learn" and "chain" in problem)


def test_parts_that_are_computed_again_find_the_same():
    given = problems.deep(20, 12, 6)
    (name, parts), *_ = ours.in_parts(given).items()
    assert name == f"{OURS}, checkpoints each 5 layers"
    assert disagreements({OURS: ours.ours(given)[OURS].found(), name: parts.found()}, 1e-13) == {}


def test_threads_that_share_the_rows_compete():
    """With more than one; and they find what the others find."""
    given = problems.digits(20_000, 3)
    table = Table("t", "t", "ms", [])
    left = agreeing(everybody(given, Settings(threads=2, peers=()), table), 1e-9, table)
    assert f"{COMPILED}, rows on 2 threads" in left
    assert (table.notes, table.wrong) == ([], [])
    assert set(everybody(given, Settings(threads=1, peers=()), table)) == {BARE, LIMIT, OURS, COMPILED, "NumPy by hand"}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_programs_that_need_no_peer_agree(problem):
    given, tolerance = PROBLEMS[problem]
    table = Table("t", "t", "ms", [])
    left = agreeing(everybody(given, ALONE, table), tolerance, table)
    assert (table.notes, table.wrong) == ([], [])
    assert {OURS, COMPILED, "NumPy by hand"} <= set(left)
    assert left[OURS].found().keys() == left["NumPy by hand"].found().keys()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda found: found | {"cost": found["cost"] * (1 + 1e-5)},
            "cost differs by 1.0e-05 of its size, allowed are 1e-06",
        ),
        (lambda found: found | {"gradient 2": found["gradient 2"] * 1.01}, "gradient 2 differs by 1.0e-02"),
        (
            lambda found: found | {"gradient 0": found["gradient 0"].T},
            r"gradient 0 has shape \(400, 5\), wanted \(5, 400\)",
        ),
        (lambda found: found | {"gradient 1": found["gradient 1"] * np.nan}, "gradient 1 differs by nan"),
    ],
)
def test_a_wrong_competitor_is_left_out_and_named(change, why):
    problem = problems.digits(20, 5)
    (right,) = by_hand(problem).values()
    table = Table("t", "t", "ms", [])
    field = everybody(problem, ALONE, table) | {"mistaken": Competitor(right.run, lambda: change(right.found()))}
    assert "mistaken" not in agreeing(field, 1e-6, table)
    (line,) = table.wrong
    assert re.match(f"mistaken: {why}", line)


def test_a_wrong_competitor_is_printed_and_the_exit_code_is_1(here, monkeypatch, capsys):
    def wrong(problem):
        (right,) = by_hand(problem).values()
        return {"mistaken": Competitor(right.run, lambda: {"cost": 2.0})}

    monkeypatch.setattr(contest, "by_hand", wrong)
    assert bench.main(["--workload", "W4", "--quick", "--rounds", "1", "--peers"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("left out as wrong: mistaken: cost differs by ") == 3  # once for each size
    assert OURS in printed


@pytest.mark.parametrize("problem", ["logistic steps", "relu steps"])
def test_another_optimiser_is_found_by_the_costs_of_later_steps(monkeypatch, problem):
    monkeypatch.setattr(FlatAdam, "step", lambda self, found: self.theta.__isub__(1e-3 * self.g))
    given, tolerance = PROBLEMS[problem]
    found = {name: c.found() for name, c in everybody(given, ALONE, Table("t", "t", "ms", [])).items() if c.found}
    assert list(disagreements(found, tolerance)) == ["NumPy by hand"]


def test_a_difference_is_measured_against_the_size_of_the_array():
    right = gradients(2.0, [np.array([3.0, 4.0])])
    near = gradients(2.0, [np.array([3.0, 4.0 + 4e-6])])  # 0.8e-6 of the norm 5
    far = gradients(2.0, [np.array([3.0, 4.0 + 6e-6])])
    assert disagreements({OURS: right, "near": near, "far": far, "few": {"cost": 2.0}}, 1e-6).keys() == {"far"}


def test_adam_by_hand_is_the_textbook_form():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 2)), rng.normal(size=4)]
    adam = FlatAdam(weights, 0.01)
    theta, m, v = (np.concatenate([w.ravel() for w in weights]), np.zeros(10), np.zeros(10))
    for t in range(1, 6):
        found = [rng.normal(size=(3, 2)), rng.normal(size=4)]
        adam.step(found)
        g = np.concatenate([part.ravel() for part in found])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        theta = theta - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    # A few operations on numbers near 1, in another order.
    assert_allclose(np.concatenate([p.ravel() for p in adam.params]), theta, rtol=1e-13)
    assert_allclose(np.concatenate([s.ravel() for s in adam.slots]), g, rtol=0)


# --- who is not there -------------------------------------------------------------------------------------------------


def test_missing_peers_are_said_in_one_line_each(here, monkeypatch, capsys):
    for module in (peers, training):
        monkeypatch.setattr(module, "installed", lambda *names: None)
    monkeypatch.setattr(speed, "imported", lambda modules, threads, bytecode: 2.0 if "numpy" in modules else None)
    assert bench.main(["--quick", "--rounds", "1", "--workload", "W1", "W4", "W6"]) == 0
    printed = capsys.readouterr().out
    for peer in peers.PEERS:
        assert printed.count(f"not installed: {peer}\n") == 3  # once a table
        monkeypatch.setattr(memory, "competing", lambda *args: None)
        assert memory.measured("deep", peer, (3, 2, 2)) == {"note": f"not installed: {peer}"}


def test_a_peer_that_fails_is_left_out_with_the_reason(monkeypatch):
    def refusing(problem, module, *, threads):
        raise AttributeError("no such function since version 9")

    def failing(problem, module, *, threads):
        return {"late": Competitor(lambda: 1 / 0, lambda: 1 / 0)}

    monkeypatch.setitem(peers.PEERS, "early", (("json",), refusing))
    monkeypatch.setitem(peers.PEERS, "late", (("json",), failing))
    table = next(speed.w1(Settings(rounds=1, quick=True, peers=("early", "late"))))
    assert table.notes == [
        "early left out: AttributeError: no such function since version 9",
        "late left out: ZeroDivisionError: division by zero",
    ]
    assert OURS in table.rows


# --- measuring --------------------------------------------------------------------------------------------------------


def test_medians_are_those_of_the_rounds_after_the_first(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing, "clock_for", lambda threads: lambda: now[0])
    lasting = {"a": iter([9.0, 9.0, 1.0, 1.0, 3.0, 1.0, 2.0, 6.0]), "b": iter([9.0] * 2 + [0.5] * 6)}
    order = []

    def taking(name):
        def run():
            order.append(name)
            now[0] += next(lasting[name])

        return run

    found = timing.medians({name: taking(name) for name in lasting}, 3, 1, repeats=2)
    assert found == {"a": 2000.0, "b": 500.0}
    assert "".join(order) == "aabb" * 4


def test_peak_counts_what_lives_at_a_time():
    kept = []

    def run():
        kept.append(np.ones(1 << 17))  # a megabyte that stays, and one after the other that does not
        for _ in range(3):
            np.ones(1 << 18)

    found = timing.peak(run, by_numpy=True)
    assert 5 << 20 <= found < (5 << 20) + (1 << 16)  # three kept ones and one of two megabytes; a few objects beside


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the resident set is read from /proc")
def test_peak_of_other_arrays_is_the_growth_of_the_resident_set():
    found = timing.peak(lambda: np.ones(1 << 22).sum(), by_numpy=False)
    # 32 megabytes; the system counts in pages, in batches, and other threads of this process come and go.
    assert 30 << 20 <= found < 48 << 20


# --- the report -------------------------------------------------------------------------------------------------------


def test_a_table_has_its_ratios_beside_its_numbers():
    table = Table("W9", "nothing", "ms", ["few", "many"], notes=["quiet"], wrong=["y: cost differs"])
    table.rows = {BARE: [2.0, 1000.0], OURS: [3.0, None], "x": [0.5, 1500.0]}
    assert dict(ratios(table, "x")) == {"to bare": [0.25, 1.5], "to ours": [0.5 / 3, None]}
    assert text(table).splitlines() == [
        "W9: nothing, ms",
        "                          few  to bare  to ours   many  to bare  to ours",
        "  bare matrix products   2.00     1.00     0.67  1,000     1.00        -",
        "  tinygrad_fnn           3.00     1.50     1.00      -        -        -",
        "  x                     0.500     0.25     0.17  1,500     1.50        -",
        "  quiet",
        "  left out as wrong: y: cost differs",
    ]
    assert markdown(table).splitlines() == [
        "### W9: nothing, ms",
        "",
        "|  | few | to bare | to ours | many | to bare | to ours |",
        "| --- | --: | --: | --: | --: | --: | --: |",
        "| bare matrix products | 2.00 | 1.00 | 0.67 | 1,000 | 1.00 | - |",
        "| tinygrad_fnn | 3.00 | 1.50 | 1.00 | - | - | - |",
        "| x | 0.500 | 0.25 | 0.17 | 1,500 | 1.50 | - |",
        "",
        "- quiet",
        "- left out as wrong: y: cost differs",
    ]
