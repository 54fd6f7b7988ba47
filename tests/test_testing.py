"""`tinygrad_fnn.testing`: what the strategies draw, and that each failure is really reported."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, func, grad
from tinygrad_fnn.check import GradcheckError, textbook
from tinygrad_fnn.testing import (
    Graph,
    NetworkProblem,
    StrictGraph,
    StrictGraphError,
    assert_grads,
    broadcastable,
    graphs,
    indices,
    networks,
    tensors,
)

QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
FIND = settings(max_examples=2000, deadline=None, database=None, phases=[Phase.generate])  # need not be small
SHAPE = (2, 3, 4)


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


# --- strategies -------------------------------------------------------------------------------------------------------


@QUICK
@given(tensors())
def test_tensors_are_leaves_of_moderate_numbers(t: Tensor) -> None:
    assert isinstance(t, Tensor)
    assert t.is_leaf
    assert t.requires_grad
    assert t.dtype == np.float64
    assert t.ndim <= 3
    assert np.all(abs(t.data) <= 2)


@QUICK
@given(tensors(st.sampled_from([(2,), (0, 3)]), np.float32, st.just(0.5), requires_grad=False))
def test_tensors_take_shapes_dtype_and_elements(t: Tensor) -> None:
    assert t.shape in [(2,), (0, 3)]
    assert t.dtype == np.float32
    assert not t.requires_grad
    assert np.all(t.data == 0.5)


@pytest.mark.parametrize("what", [lambda t: t.ndim == 0, lambda t: t.size == 0, lambda t: t.ndim == 3 and t.size > 3])
def test_tensors_have_all_shapes(what: Any) -> None:
    find(tensors(), what, settings=FIND)


@QUICK
@given(broadcastable((3, 1, 4), count=3))
def test_broadcastable_tensors_fit_the_shape(several: tuple[Tensor, ...]) -> None:
    assert len(several) == 3
    assert np.broadcast_shapes((3, 1, 4), *(t.shape for t in several)) == (3, 1, 4)


@QUICK
@given(broadcastable())
def test_broadcastable_tensors_fit_each_other(pair: tuple[Tensor, ...]) -> None:
    x, y = pair
    assert (x * y).shape == np.broadcast_shapes(x.shape, y.shape)


def test_broadcastable_tensors_differ_in_axes_and_lengths() -> None:
    find(broadcastable((2, 3)), lambda p: p[0].shape[-1:] == (1,) and p[1].ndim == 1, settings=FIND)


@settings(QUICK, max_examples=200)
@given(index=indices(SHAPE), weights=st.integers(0, 9))
def test_tensor_is_indexed_as_an_array_is(index: Any, weights: int) -> None:
    """Value, and gradient: entries picked several times count as often."""
    x = np.arange(24.0).reshape(SHAPE)
    t = leaf(x)
    out = t[index]
    assert_array_equal(out.detach().numpy(), x[index])
    ct = np.random.default_rng(weights).integers(-3, 4, out.shape).astype(float)
    expected = np.zeros(SHAPE)
    np.add.at(expected, index, ct)
    assert_array_equal(grad(out, t, ct)[0].data, expected)


def parts(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


FORMS = {
    "negative integer": lambda p: isinstance(p, int) and p < 0,
    "NumPy integer": lambda p: isinstance(p, np.intp),
    "slice with negative step": lambda p: isinstance(p, slice) and (p.step or 1) < 0,
    "None": lambda p: p is None,
    "ellipsis": lambda p: p is Ellipsis,
    "list": lambda p: isinstance(p, list),
    "0-d array": lambda p: isinstance(p, np.ndarray) and p.ndim == 0,
    "2-d integers": lambda p: isinstance(p, np.ndarray) and p.ndim == 2 and p.dtype.kind == "i",
    "mask of one axis": lambda p: isinstance(p, np.ndarray) and p.ndim == 1 and p.dtype.kind == "b",
    "mask of two axes": lambda p: isinstance(p, np.ndarray) and p.ndim == 2 and p.dtype.kind == "b",
}


def test_indices_have_every_form() -> None:
    missing = dict(FORMS)

    def completes(index: Any) -> bool:
        for name in [name for name, form in missing.items() if any(map(form, parts(index)))]:
            del missing[name]
        return not missing

    find(indices(SHAPE), completes, settings=FIND)


def test_indices_mix_the_forms() -> None:
    def mixed(index: Any) -> bool:
        kinds = {type(p) for p in parts(index)}
        return {slice, np.ndarray, type(None)} <= kinds

    find(indices(SHAPE), mixed, settings=FIND)
    find(indices(SHAPE), lambda index: not isinstance(index, tuple), settings=FIND)
    find(indices(SHAPE), lambda index: index == (), settings=FIND)


@QUICK
@given(index=indices((0, 2)))
def test_indices_of_an_empty_array(index: Any) -> None:
    assert np.zeros((0, 2))[index].size == 0


@QUICK
@given(index=indices(()))
def test_indices_of_a_number(index: Any) -> None:
    assert np.asarray(np.array(3.0)[index]).size == 1


@settings(QUICK, max_examples=15)
@given(graphs(max_lines=6))
def test_gradient_of_a_graph_is_right(graph: Graph) -> None:
    assert_grads(graph.run, *graph.inputs)


@QUICK
@given(graphs())
def test_text_of_a_graph_is_its_program(graph: Graph) -> None:
    names: dict[str, Any] = {"np": np}
    exec(repr(graph), names)
    assert_array_equal(graph.run(), names["out"])
    assert_array_equal(graph.run(*graph.leaves()).item(), graph.run(*map(Tensor, graph.inputs)).item())
    assert_allclose(graph.run(*graph.leaves()).item(), graph.run(), rtol=1e-13)  # `**` takes other roads in NumPy


def test_graph_wants_its_inputs() -> None:
    graph = Graph((np.ones((1, 1)), np.ones((1, 1))), (("{0} + {1}", (0, 1), None),))
    assert graph.run() == 0.6
    with pytest.raises(TypeError, match=r"got 1 inputs, wanted 2"):
        graph.run(1.0)


def test_graphs_have_fan_out() -> None:
    def used_twice(graph: Graph) -> bool:
        used = [k for _, args, _ in graph.lines for k in args]
        return len(graph.lines) >= 3 and any(used.count(k) >= 3 for k in used)

    find(graphs(), used_twice, settings=FIND)


@QUICK
@given(networks())
def test_network_is_what_the_textbook_takes(problem: NetworkProblem) -> None:
    gradients = textbook.gradients(**problem.arguments)
    assert [g.shape for g in gradients.thetas] == [theta.shape for theta in problem.thetas]
    assert np.isfinite(textbook.cost(**problem.arguments))


@pytest.mark.parametrize("output", ["sigmoid", "softmax", "identity"])
def test_networks_have_every_depth_and_output(output: str) -> None:
    find(networks(), lambda p: p.output == output and len(p.thetas) == 3, settings=FIND)
    with pytest.raises(NoSuchExample):
        find(
            networks(outputs=[output], max_layers=1), lambda p: p.output != output or len(p.thetas) > 1, settings=QUICK
        )


# --- assert_grads -----------------------------------------------------------------------------------------------------


def test_assert_grads_names_the_function_and_the_worst_entry() -> None:
    def half(x: Any, y: Any) -> Any:
        return x * y.detach() + y * np.array([0.0, 0.0, 1.0])

    assert_grads(lambda x: half(x, Tensor([1.0, 2.0, 3.0])), np.ones(3))
    with pytest.raises(GradcheckError, match=r"wrong: half: .*\n  input 1, element \[[01]\].*analytic 0, numerical"):
        assert_grads(half, np.ones(3), np.ones(3))


def test_assert_grads_in_second_order() -> None:
    def cube(x: Any) -> Any:
        return x**3

    assert_grads(cube, [1.0, 2.0], second_order=True)

    with pytest.raises(GradcheckError, match="kink: <lambda>"):
        assert_grads(lambda x: np.maximum(x, 0), 0.0)


# --- StrictGraph by itself --------------------------------------------------------------------------------------------


def test_detached_value_used_again_is_found() -> None:
    x, w = leaf([1.0, 2.0]), leaf(3.0)
    for used in (
        lambda: (2 * x).detach() * w,
        lambda: w * x.detach(),
        lambda: np.where([True, False], x, (x * x).detach()),
        lambda: (x.sum()).item() * w,
        lambda: x + w.item(),
    ):
        with StrictGraph() as strict, pytest.raises(StrictGraphError, match=r"was taken out of a .* by (detach|item)"):
            used()
        assert "test_testing.py" in strict.trouble()


def test_detached_value_that_is_not_recorded_again_is_not_minded() -> None:
    x = leaf([1.0, 2.0])
    with StrictGraph() as strict:
        y = (x * x).sum()
        assert y.item() == 5.0
        assert_array_equal(y.detach().numpy() * 2, 10.0)
        np.sum(x.detach() * 2)
        with strict.allow_detach():
            y.backward()
            x * x.detach()
        x * Tensor(x.data) * float(y.detach())  # not recognised, as the documentation says
    assert not strict.trouble()


def test_package_detaches_nothing_behind_the_back_of_forward_mode_and_functions() -> None:
    from tinygrad_fnn import nn

    with StrictGraph() as strict:
        func.hessian(lambda x: np.sum(np.exp(x) * x))(np.ones(2))
        X = np.ones((1, 3))
        func.jvp(lambda x: nn.functional.linear(x, np.ones((2, 3)), np.ones(2)) ** 2, (X,), (X,))
        model = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
        nn.BCELoss()(model(np.ones((4, 3))), np.ones((4, 2))).backward()
    assert not strict.trouble()


def test_nan_gradient_is_found_in_every_way_to_ask_for_one() -> None:
    x = leaf([1.0, 0.0])

    def product(x: Any) -> Any:
        return np.sum(np.log(x) * x)

    for ask in (
        lambda: product(x).backward(),
        lambda: grad(product(x), x),
        lambda: grad(product(x), x, create_graph=True),
        lambda: func.grad(product)(np.array([1.0, 0.0])),
    ):
        with np.errstate(all="ignore"), StrictGraph() as strict:
            with pytest.raises(
                StrictGraphError, match=r"the gradient of numpy\.\w+ holds a NaN, for an input of shape"
            ):
                ask()
            with strict.allow_nan():
                ask()
        assert len(strict.failures) == 1


def test_living_graph_is_found_and_named() -> None:
    x = leaf([1.0, 2.0])
    kept: list[Any] = []
    with StrictGraph() as strict:
        kept.append(x * x * x)
    assert "2 recorded results are still alive" in strict.trouble()
    assert "numpy.multiply, held in a list of 1" in strict.trouble()
    kept[0].backward([1.0, 1.0])
    assert not strict.trouble()  # a freed graph holds nothing


def test_leaves_and_what_was_there_before_are_no_leak() -> None:
    x = leaf([1.0, 2.0])
    before = x * x
    cycle: list[Any] = []
    with StrictGraph() as strict:
        inside = leaf(1.0)
        with strict.allow_leak():
            after = x * inside
        cycle.extend([cycle, x * x])
        del cycle
    assert not strict.trouble()
    assert before.is_leaf is after.is_leaf is False


def test_everything_is_put_back() -> None:
    import tinygrad_fnn.backward
    from tinygrad_fnn.modes import MODE

    before = Tensor.item, Tensor.detach, tinygrad_fnn.backward.pull_back, MODE.get()
    strict = StrictGraph()
    with strict, pytest.raises(RuntimeError, match="watching already"):
        strict.__enter__()
    assert before == (Tensor.item, Tensor.detach, tinygrad_fnn.backward.pull_back, MODE.get())


def test_another_thread_computes_as_ever() -> None:
    x = leaf(2.0)
    found: list[Any] = []
    with StrictGraph():
        thread = threading.Thread(target=lambda: found.append(grad(x * x, x)[0].item()))
        thread.start()
        thread.join()
    assert found == [4.0]


# --- the fixture, in a pytest of its own ------------------------------------------------------------------------------

SUITE = """
import numpy as np
import pytest
from hypothesis import given, settings
from tinygrad_fnn import Tensor, grad
from tinygrad_fnn.testing import tensors

pytest_plugins = ["tinygrad_fnn.testing"]
pytestmark = pytest.mark.usefixtures("strict_graph")
KEPT = {}

def x():
    return Tensor([1.0, 2.0], requires_grad=True)

@pytest.fixture
def model():
    t = x()
    return {"weights": t, "earlier": t * t}

def test_fine(model):
    loss = np.sum(model["weights"] ** 2)
    loss.backward()
    KEPT["loss"] = loss

def test_leaks():
    KEPT["last"] = x() * x() * 2

def test_leaks_through_a_fixture(model):
    model["last"] = model["weights"] * 2

def test_nan():
    with np.errstate(all="ignore"):
        np.sum(np.log(x() * 0) * (x() * 0)).backward()

def test_detaches():
    t = x()
    (t * t).detach() * t

def test_swallows():
    t = x()
    try:
        t.detach() * t
    except AssertionError:
        pass

def test_own_failure_stays():
    KEPT["own"] = x() * 2
    assert 1 == 2, "the reason"

def test_allowed(strict_graph):
    t = x()
    with strict_graph.allow_detach(), strict_graph.allow_leak():
        KEPT["meant"] = t.detach() * t

@settings(max_examples=5)
@given(tensors((2,)))
def test_given_fine(t):
    np.sum(t * t).backward()

@settings(max_examples=5)
@given(tensors((2,)))
def test_given_detaches(t):
    t * t.detach()
"""


def run(folder: Path, code: str, *options: str) -> str:
    (folder / "test_inner.py").write_text(code)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--no-header", *options, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "400"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    return done.stdout + done.stderr


def test_fixture_reports_each_failure(tmp_path: Path) -> None:
    out = run(tmp_path, SUITE)
    for name in ("fine", "allowed", "given_fine"):
        assert f"PASSED test_inner.py::test_{name}\n" in out, out
    for name, reason in {
        "leaks": "strict_graph: 2 recorded results are still alive",
        "leaks_through_a_fixture": "strict_graph: 1 recorded result is still alive",
        "nan": "tinygrad_fnn.testing.StrictGraphError: the gradient of numpy.",
        "detaches": "tinygrad_fnn.testing.StrictGraphError: numpy.multiply: argument 0 was taken out of a result of nu",
        "swallows": "strict_graph: numpy.multiply: argument 0 was taken out of a leaf by detach()",
        "own_failure_stays": "AssertionError: the reason",
        "given_detaches": "tinygrad_fnn.testing.StrictGraphError: numpy.multiply: argument 1",
    }.items():
        assert f"test_inner.py::test_{name} - {reason}" in out.replace("- Failed: ", "- "), out
    assert "7 failed, 3 passed" in out
    assert "held under the name 'last'" in out


def test_strategies_say_what_to_install_without_hypothesis() -> None:
    code = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
from tinygrad_fnn import testing
testing.assert_grads(lambda x: x * x, 1.0)
for strategy in (testing.tensors, testing.broadcastable, testing.graphs, testing.networks, lambda: testing.indices(())):
    try:
        strategy()
    except ImportError as error:
        assert "strategies need hypothesis; install it with:" in str(error) and "[test]" in str(error), error
    else:
        raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
