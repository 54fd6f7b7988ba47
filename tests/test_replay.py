"""Compiled functions: whatever is replayed gives the bits of the eager run, and whatever cannot be is not."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import Case, cases, identity, leaf

import tinygrad_fnn as tg
from tinygrad_fnn import RULES, Tensor, compile, func, grad, nn, no_grad, optim
from tinygrad_fnn.errors import GraphError
from tinygrad_fnn.replay import blocks
from tinygrad_fnn.rules import Rule

DIFFERENTIABLE = [rule for rule in RULES.values() if rule.kind != "constant"]

# Their rules look at values to choose a way, so they run as always.
LOOKING = {
    "numpy.amax",
    "numpy.amin",
    "numpy.average",
    "numpy.cov",
    "numpy.frexp",
    "numpy.interp",
    "numpy.linalg.det",
    "numpy.linalg.eigh",
    "numpy.linalg.lstsq",
    "numpy.linalg.svd",
    "numpy.max",
    "numpy.mean",
    "numpy.median",
    "numpy.min",
    "numpy.nancumprod",
    "numpy.nancumsum",
    "numpy.nanmax",
    "numpy.nanmean",
    "numpy.nanmedian",
    "numpy.nanmin",
    "numpy.nanpercentile",
    "numpy.nanprod",
    "numpy.nanquantile",
    "numpy.nanstd",
    "numpy.nansum",
    "numpy.nanvar",
    "numpy.partition",
    "numpy.percentile",
    "numpy.piecewise",
    "numpy.prod",
    "numpy.quantile",
    "numpy.select",
    "numpy.sort",
    "numpy.std",
    "numpy.var",
    "tinygrad_fnn.multigammaln",
}


def flat(results: Any) -> list[Any]:
    return [part for r in results for part in flat(r)] if isinstance(results, tuple | list) else [results]


def total(case: Case) -> Callable[..., Any]:
    """A scalar that all results of a case are in, each entry twice."""

    def run(*inputs: Tensor) -> Any:
        value: Any = 0
        for out in flat(case.recorded(*inputs)):
            real = np.real(out) * 2 + np.imag(out) if np.result_type(out).kind == "c" else out
            value = value + np.sum(real * 0.7 + np.square(real))
        return value

    return run


@pytest.mark.parametrize("rule", DIFFERENTIABLE, ids=identity)
def test_replay_has_the_bits_of_the_eager_run(rule: Rule) -> None:
    """Every operation of the table, at values that change from call to call."""
    for case in cases(rule):
        eager = total(case)
        compiled = compile(eager, fallback="silent")
        for k in range(4):
            values = [np.array(x * (1 + k / 1000)) for x in case.inputs]
            ours, theirs = [leaf(x) for x in values], [leaf(x) for x in values]
            expected = eager(*theirs)
            if not isinstance(expected, Tensor) or not expected.requires_grad:
                break
            expected.backward()
            result = compiled(*ours)
            result.backward()
            assert_array_equal(result.detach(), expected.detach(), err_msg=str(case))
            for x, y in zip(ours, theirs, strict=True):
                if x.grad is None or y.grad is None:  # a share of zeros may be left out
                    assert not np.any(x.grad if y.grad is None else y.grad), str(case)
                else:
                    assert_array_equal(x.grad, y.grad, err_msg=str(case))
        else:
            assert bool(compiled.plans) or rule.name in LOOKING, f"{case}: {compiled.refusals}"


def test_what_looks_at_values_is_all_there() -> None:
    assert {rule.name for rule in DIFFERENTIABLE} >= LOOKING


# --- what is refused --------------------------------------------------------------------------------------------------

W = leaf([1.0, -2.0, 3.0])


def _with_item(x: Tensor) -> Any:
    return np.sum(W * x) * (2.0 if np.sum(x).item() > 0 else 3.0)


def _with_bool(x: Tensor) -> Any:
    return np.sum(W * x) if (x > 0).any() else np.sum(W)


def _with_if(x: Tensor) -> Any:
    return np.sum(W * x) if np.sum(x) > 0 else np.sum(W)


def _with_float(x: Tensor) -> Any:
    return np.sum(W * math.exp(np.sum(x.detach())))


def _with_array(x: Tensor) -> Any:
    return np.sum(W * np.asarray(x.detach()))


def _with_data(x: Tensor) -> Any:
    return np.sum(W * x.data)


def _with_list(x: Tensor) -> Any:
    return np.sum(W * x.tolist())


def _with_index(x: Tensor) -> Any:
    return W[np.argmax(x)] * 2


@pytest.mark.parametrize(
    "fun",
    [_with_item, _with_bool, _with_if, _with_float, _with_array, _with_data, _with_list, _with_index],
    ids=lambda f: f.__name__,
)
def test_python_that_looks_at_values_runs_as_always(fun: Callable[..., Any]) -> None:
    compiled = compile(fun, fallback="silent")
    for x in ([1.0, 2.0, 3.0], [-1.0, 2.0, 3.0], [-3.0, -2.0, -1.0], [1.0, 2.0, 3.0]):
        given = np.array(x)
        assert_array_equal(compiled(given).detach(), fun(Tensor(given)).detach())
    assert not compiled.plans
    assert compiled.refusals


def test_a_value_that_changes_by_itself_is_refused() -> None:
    count = iter(range(100))
    compiled = compile(lambda x: np.sum(W * x) * next(count), fallback="silent")
    assert [compiled(np.ones(3)).item() for _ in range(4)] == [0.0, 2.0, 4.0, 6.0]


def test_one_warning_at_the_users_line() -> None:
    compiled = compile(_with_item)
    with pytest.warns(RuntimeWarning, match=r"_with_item runs as before, uncompiled: item\(\) was called") as caught:
        compiled(np.ones(3))
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(np.ones(3))
        compiled(np.ones((2, 3)))


def test_fallback_raise_says_why() -> None:
    with pytest.raises(GraphError, match=r"_with_item cannot be replayed: item\(\) was called, at .*test_replay.py"):
        compile(_with_item, fallback="raise")(np.ones(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compile(3), "compile: got a int, wanted a function"),
        (lambda: compile(_with_if, fallback="never"), "compile: fallback is 'never'"),
    ],
)
def test_bad_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# --- what is noticed --------------------------------------------------------------------------------------------------


def agree(compiled: Any, eager: Callable[..., Any], *args: Any) -> None:
    """Value and gradients of W, to the bit."""
    W.grad = None
    expected = eager(*map(Tensor, args))
    expected.backward()
    slope, W.grad = W.grad, None
    result = compiled(*args)
    result.backward()
    assert_array_equal(result.detach(), expected.detach())
    assert_array_equal(W.grad, slope)


SCALE = 2.0


def test_numbers_outside_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    power = 2

    def cost(x: Tensor) -> Any:
        return np.sum((W * x) ** power) * SCALE

    compiled = compile(cost)
    for k in range(4):
        agree(compiled, cost, np.ones(3) * k)
    assert len(compiled.plans) == 1
    power = 3
    agree(compiled, cost, np.ones(3))
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    for k in range(4):
        agree(compiled, cost, np.ones(3) * k)
    assert len(compiled.plans) == 1


def test_arrays_outside_are_read_at_every_call() -> None:
    factor = np.ones(3)
    held = Tensor(np.ones(3))

    def cost(x: Tensor) -> Any:
        return np.sum(W * x * factor * held)

    compiled = compile(cost)
    for k in range(5):
        factor[:] = k + 1
        held.data[...] = k + 2
        agree(compiled, cost, np.ones(3))
    assert compiled.plans


def test_modules_are_noticed() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layers = [nn.Linear(3, 2, rng=0), nn.Sigmoid()]

        def forward(self, x: Any) -> Any:
            return self.layers[1](self.layers[0](x))

    model = Net()
    compiled = compile(lambda x: np.sum(model(x)))
    x = np.ones((2, 3))
    for _ in range(4):
        assert compiled(x).item() == np.sum(model(Tensor(x))).item()
    assert compiled.plans
    model.layers[0] = nn.Linear(3, 2, rng=1)
    for _ in range(4):
        assert compiled(x).item() == np.sum(model(Tensor(x))).item()
    model.layers[0].W.requires_grad = False
    for _ in range(4):
        model.zero_grad()
        compiled(x).backward()
        assert model.layers[0].W.grad is None
        assert model.layers[0].b.grad is not None


def test_shapes_and_dtypes_have_plans_of_their_own() -> None:
    compiled = compile(lambda x: np.sum(W * x))
    for x in (np.ones(3), np.ones((2, 3)), np.ones(3, np.float32), np.ones((3, 2)).T, 2.0):
        for _ in range(3):
            assert compiled(x).item() == np.sum(W * x).item()
    assert len(compiled.plans) == 5


def test_numbers_given_are_part_of_the_signature() -> None:
    compiled = compile(lambda x, l2, squared=False: np.sum(W * x) * l2 + (np.sum(W**2) if squared else 0))
    for l2 in (1.0, 2.0):
        for squared in (False, True):
            for _ in range(3):
                result = compiled(np.ones(3), l2, squared=squared)
                assert result.item() == 2 * l2 + 14 * squared


# --- whose arrays -----------------------------------------------------------------------------------------------------


def test_results_and_gradients_are_the_callers() -> None:
    compiled = compile(lambda x: (np.sum((W * x) ** 2), (np.tanh(x) * x).detach()))
    kept = []
    for k in range(5):
        x = np.ones(3) * (k + 1)
        W.grad = None
        cost, other = compiled(x)
        cost.backward()
        kept.append((k, cost, other, W.grad))
    for k, cost, other, slope in kept:
        x = np.ones(3) * (k + 1)
        assert cost.item() == np.sum((W.detach() * x) ** 2).item()
        assert_array_equal(other, np.tanh(x) * x)
        assert_array_equal(slope, 2 * W.detach() * x**2)
        slope *= 0  # the user's own
    cost, _ = compiled(np.ones(3))
    W.grad = None
    cost.backward()
    assert_array_equal(W.grad, [2.0, -4.0, 6.0])


def test_an_argument_that_is_returned_is_copied() -> None:
    compiled = compile(lambda x: (x * 1.0, x.reshape(3, 1) + 0))
    x = np.ones(3)
    for _ in range(4):
        same, tall = compiled(x)
    x[:] = 5
    assert_array_equal(same, np.ones(3))
    assert_array_equal(tall, np.ones((3, 1)))


def test_gradients_of_arguments() -> None:
    compiled = compile(lambda x, y: np.sum(np.exp(x) * y))
    for k in range(4):
        x, y = leaf([0.0, k]), leaf([1.0, 2.0])
        dx, dy = grad(compiled(x, y), (x, y))
        assert_array_equal(dx, np.exp([0, k]) * [1, 2])
        assert_array_equal(dy, np.exp([0.0, k]))
    assert_array_equal(func.grad(compiled)(np.zeros(2), np.ones(2)), np.ones(2))


def test_second_derivatives_are_refused_by_name() -> None:
    compiled = compile(lambda x: np.sum(x**3))
    for _ in range(3):
        x = leaf([1.0])
        result = compiled(x)
    with pytest.raises(GraphError, match="first derivatives only"):
        grad(result, x, create_graph=True)


def test_several_losses_with_shared_parameters() -> None:
    compiled = compile(lambda x: {"fit": np.sum((W * x) ** 2), "size": [np.sum(W**2), None]})
    for k in range(4):
        x = np.ones(3) * (k + 1)
        out = compiled(x)
        (fit,) = grad(out["fit"], W)
        (size,) = grad(out["size"][0], W)
        assert_array_equal(fit, 2 * W.detach() * x**2)
        assert_array_equal(size, 2 * W.detach())


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_nan_takes_the_careful_walk() -> None:
    """`sqrt` at 0 under a `where` has derivative 0, in the replay as well."""

    def cost(x: Tensor) -> Any:
        return np.sum(np.where(x > 0, np.sqrt(x), 0) * W)

    compiled = compile(cost)
    for x in ([1.0, 2.0, 3.0], [2.0, 1.0, 1.0], [1.0, 1.0, 2.0], [0.0, 1.0, 4.0], [1.0, 2.0, 3.0]):
        ours, theirs = leaf(x), leaf(x)
        compiled(ours).backward()
        cost(theirs).backward()
        assert_array_equal(ours.grad, theirs.grad)
        assert np.isfinite(ours.grad).all()
    assert compiled.plans


def test_an_error_in_the_middle_leaves_the_plan_whole() -> None:
    def cost(x: Tensor, y: Tensor) -> Any:
        return nn.functional.binary_cross_entropy_with_logits(W * x, y, reduction="sum")

    compiled = compile(cost, fallback="raise")
    x, y = np.ones(3), np.array([0.0, 1.0, 1.0])
    for _ in range(3):
        agree(compiled, cost, x, y)
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        compiled(x, y + 1)
    agree(compiled, cost, x, y)


def test_interleaved_and_nested() -> None:
    inner = compile(lambda x: np.sum(W * x))
    outer = compile(lambda x: inner(x) * 2)
    for k in range(4):
        x = np.ones(3) * k
        assert outer(x).item() == 4.0 * k
        assert inner(x).item() == 2.0 * k
        assert outer(x[:, None]).item() == 4.0 * k * 3


def test_each_thread_has_its_own_plan() -> None:
    compiled = compile(lambda x: (np.exp(x) * 2).sum())
    wrong: list[int] = []

    def run(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(200):
            x = rng.normal(size=500)
            if compiled(x).item() != np.sum(np.exp(x) * 2):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not compiled.plans  # of this thread


def test_under_no_grad() -> None:
    compiled = compile(lambda x: np.tanh(W * x))
    with no_grad():
        for k in range(4):
            assert_array_equal(compiled(np.ones(3) * k), np.tanh(W.detach() * k))
    assert len(compiled.plans) == 1


def test_modes_run_as_always() -> None:
    compiled = compile(lambda x: np.sum(W * np.log(x)))
    with np.errstate(invalid="ignore"), tg.detect_anomaly(), pytest.raises(FloatingPointError):
        compiled(leaf([-1.0, 1.0, 1.0]))


# --- training steps ---------------------------------------------------------------------------------------------------


def network(seed: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 9, rng=seed), nn.Sigmoid(), nn.Linear(9, 5, rng=seed + 1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_training_step_has_the_same_bits(dtype: Any) -> None:
    loss = nn.CrossEntropyLoss()
    rng = np.random.default_rng(0)
    steps, models = [], []
    for _ in range(2):
        model = network(3)
        for p in model.parameters():
            p.data = p.data.astype(dtype)
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def step(x: Tensor, y: Tensor, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            cost = loss(model(x), y)
            cost.backward()
            optimizer.step()
            return cost.detach()

        steps.append(step)
        models.append(model)
    compiled = compile(steps[1], fallback="raise")
    for _ in range(6):
        x, y = rng.normal(size=(16, 12)).astype(dtype), rng.integers(0, 5, 16)
        assert steps[0](Tensor(x), Tensor(y)).item() == compiled(x, y).item()
        for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
            assert_array_equal(p.detach(), q.detach())
            assert_array_equal(p.grad, q.grad)
    assert len(compiled.plans) == 1


def test_a_step_before_a_backward_is_refused() -> None:
    w = leaf([1.0])
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: Tensor) -> None:
        np.sum(w * x).backward()
        optimizer.step()
        np.sum(w * x).backward()

    compiled = compile(step, fallback="silent")
    for _ in range(3):
        compiled(np.ones(1))
    assert not compiled.plans
    assert "a step before a backward" in compiled.refusals[0]


# --- blocks of rows ---------------------------------------------------------------------------------------------------


def blocked(compiled: Any) -> bool:
    return "in_blocks_of" in compiled.plans[0].source


@pytest.mark.parametrize("rows", [40_000, 40_037])
def test_tall_batches_are_cut_into_blocks(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last block is shorter. The sums over rows are in another order: 1e-13 of the largest entry."""
    monkeypatch.setattr(blocks, "BLOCK", 1 << 18)
    rng = np.random.default_rng(0)
    model = nn.DigitNet(12, 7, 4, rng=0)
    X, Y = rng.normal(size=(rows, 12)), np.eye(4)[rng.integers(0, 4, rows)]
    compiled = compile(lambda X, Y: model.cost(X, Y, 1.0), fallback="raise")
    for _ in range(3):
        J = compiled(X, Y)
    assert blocked(compiled)
    ours = grad(J, tuple(model.parameters()))
    expected = model.cost(X, Y, 1.0)
    assert_allclose(J.item(), expected.item(), rtol=1e-13)
    for a, b in zip(ours, grad(expected, tuple(model.parameters())), strict=True):
        assert_allclose(a.detach(), b.detach(), rtol=0, atol=1e-13 * abs(b.detach().numpy()).max())


def test_elementwise_blocks_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 1 << 16)
    compiled = compile(lambda x: np.sum(np.tanh(np.exp(x) * 0.5) / (1 + x * x)))
    start = np.linspace(-1, 1, 100_003)
    for _ in range(3):
        x = leaf(start)
        compiled(x).backward()
    assert blocked(compiled)
    y = leaf(start)
    np.sum(np.tanh(np.exp(y) * 0.5) / (1 + y * y)).backward()
    assert_array_equal(x.grad, y.grad)


def test_what_rows_share_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean over the rows that the rows need again: two passes, which one loop cannot be."""
    monkeypatch.setattr(blocks, "BLOCK", 1 << 16)
    compiled = compile(lambda x: np.sum((x - np.mean(x)) ** 4))
    start = np.linspace(-1, 1, 100_003)
    for _ in range(3):
        x = leaf(start)
        compiled(x).backward()
    assert not blocked(compiled)
    y = leaf(start)
    np.sum((y - np.mean(y)) ** 4).backward()
    assert_array_equal(x.grad, y.grad)


def memory(rows: int) -> int:
    rng = np.random.default_rng(0)
    model = nn.DigitNet(20, 7, 4, rng=0)
    X, Y = rng.normal(size=(rows, 20)), np.eye(4)[rng.integers(0, 4, rows)]
    compiled = compile(lambda X, Y: model.cost(X, Y, 1.0), fallback="raise")
    for _ in range(3):
        compiled(X, Y)
    size: int = compiled.plans[0].bytes
    return size


def test_memory_is_flat_in_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 1 << 18)
    assert abs(memory(80_000) - memory(40_000)) < 1 << 18


def test_buffers_are_used_again() -> None:
    """A chain of n operations needs what its derivative keeps, and not all that passes by."""

    def chain(x: ndarray) -> Any:
        for _ in range(50):
            x = x * 1.01 + 0.1  # neither keeps an array
        return np.sum(x)

    compiled = compile(chain)
    for _ in range(3):
        compiled(leaf(np.ones(1000)))
    assert compiled.plans[0].bytes <= 2 * 8000
