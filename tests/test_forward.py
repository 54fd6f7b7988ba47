"""Memory of functions of functions: `jvp` copies neither primals nor tangents, and nothing is shared afterwards."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, func

# Functions whose values or tangents NumPy gives as views, as the operand itself, or twice.
SHARING = {
    "identity": lambda x: x,
    "a view": lambda x: x[1:],
    "transposed": lambda x: x.T,
    "reshaped": lambda x: np.reshape(x, (2, 2)),
    "broadcast": lambda x: np.broadcast_to(x, (3, 4)),
    "real": np.real,
    "plus a constant": lambda x: x + 1.0,
    "times one": lambda x: x * 1.0,
    "a value and its view": lambda x: (lambda y: (y, y[::2], y))(np.exp(x)),
    "argument and result": lambda x: {"x": x, "y": [x, np.negative(x)]},
    "what the rule keeps": lambda x: (lambda y: (y, np.sqrt(y)))(np.exp(x)),
    "a constant": lambda x: CONSTANT,
    "a constant tensor": lambda x: (FIXED, FIXED[1:], x),
}
CONSTANT = np.arange(4.0)
FIXED = Tensor(np.arange(4.0))
TRANSFORMS = {
    "jvp": lambda f, x, v: func.jvp(f, (x,), (v,)),
    "vjp": lambda f, x, v: func.vjp(f, x)[0],
    "jacobian": lambda f, x, v: func.jacobian(f)(x),
}


def arrays(tree: Any) -> list[np.ndarray]:
    if isinstance(tree, tuple | list | dict):
        return [a for part in (tree.values() if isinstance(tree, dict) else tree) for a in arrays(part)]
    return [tree]


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=list(TRANSFORMS))
@pytest.mark.parametrize("f", SHARING.values(), ids=list(SHARING))
@pytest.mark.parametrize("dtype", [float, np.float32])
def test_results_are_the_callers_own(transform: Any, f: Any, dtype: Any) -> None:
    x, v = np.array([1.0, 2.0, 3.0, 4.0], dtype), np.array([1.0, 10.0, 100.0, 1000.0], dtype)
    found = arrays(transform(f, x, v))
    for k, a in enumerate(found):
        assert type(a) is np.ndarray
        assert a.flags.writeable
        for other in (x, v, CONSTANT, FIXED._value, *found[:k]):
            assert not np.shares_memory(a, other)


def test_a_strided_and_a_locked_argument() -> None:
    x = np.arange(8.0)[::2]
    x.flags.writeable = False
    value, tangent = func.jvp(lambda x: x[::-1], (x,), (x,))
    value += 1
    tangent += 1
    assert_array_equal(x, [0, 2, 4, 6])


def test_foreign_byte_order_and_a_memory_map(tmp_path: Any) -> None:
    big = np.array([1.0, 2.0], ">f8")
    value, tangent = func.jvp(lambda x: x * x, (big,), (big,))
    assert (value.dtype.isnative, tangent.tolist()) == (True, [2, 8])
    mapped = np.memmap(tmp_path / "x", float, "w+", shape=(2,))
    mapped[:] = 1, 2
    value, tangent = func.jvp(lambda x: x + 0.0, (mapped,), (mapped,))
    assert (type(value), type(tangent)) == (np.ndarray, np.ndarray)
    assert not np.shares_memory(value, mapped)
    assert not np.shares_memory(tangent, mapped)


# --- what outlives a call ---------------------------------------------------------------------------------------------


def test_later_writes_do_not_reach_a_graph_that_a_closed_over_parameter_keeps() -> None:
    """Recording begins in the middle: the sine is recorded before the parameter is met."""
    w = Tensor(3.0, requires_grad=True)
    x, v = np.array([1.0, 2.0]), np.array([1.0, 10.0])
    value, tangent = func.jvp(lambda x: np.sin(x) * x * w, (x,), (v,))
    (of_value,), (of_tangent,) = tg.grad(np.sum(value), w, retain_graph=True), tg.grad(np.sum(tangent), w)
    value, tangent = func.jvp(lambda x: np.sin(x) * x * w, (x,), (v,))
    x[:] = v[:] = 7
    assert_array_equal(tg.grad(np.sum(value), w)[0].numpy(), of_value.numpy())
    assert_array_equal(tg.grad(np.sum(tangent), w)[0].numpy(), of_tangent.numpy())


def test_later_writes_do_not_reach_a_view_among_tracked_results() -> None:
    w, x = Tensor(3.0, requires_grad=True), np.array([1.0, 2.0])
    (view, _), _ = func.jvp(lambda x: (x[1:], x * w), (x,), (x.copy(),))
    x[:] = 7
    assert_array_equal(view.detach().numpy(), [2])


def test_later_writes_do_not_reach_what_a_function_has_put_aside() -> None:
    aside: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        aside[:] = x, np.sin(x) * x
        return x + 1

    x = np.array([1.0, 2.0])
    func.jvp(f, (x,), (np.ones(2),))
    (wanted,) = tg.grad(np.sum(aside[1]), aside[0], retain_graph=True)
    x[:] = 7
    assert_array_equal(aside[0].detach().numpy(), [1, 2])
    assert_array_equal(tg.grad(np.sum(aside[1]), aside[0])[0].numpy(), wanted.numpy())


def test_a_result_put_aside_keeps_its_values() -> None:
    aside: list[Tensor] = []

    def f(x: Tensor) -> Tensor:
        aside[:] = [np.exp(x)]
        return aside[0]

    for value in (func.jvp(f, (0.0,), (1.0,))[0], func.vjp(f, 0.0)[0], func.value_and_grad(f)(0.0)[0]):
        value += 1
        assert aside[0].item() == 1


def test_the_result_of_a_pullback_does_not_change_with_its_value() -> None:
    """The exponential's rule keeps its result, which is also what the caller gets."""
    value, pullback = func.vjp(np.exp, np.zeros(2))
    value[:] = 7
    assert_array_equal(pullback(np.ones(2))[0], [1, 1])


def test_a_cotangent_and_a_tangent_are_not_written_to() -> None:
    x, ct = np.ones((2, 3)), np.full((2, 3), 5.0)
    f = lambda x: x[0] + x[1] + x.sum(axis=0) + (x * x)[1]
    _, pullback = func.vjp(lambda x: x + 0.0 * f(x), x)
    pullback(ct)
    assert_array_equal(ct, 5)
    func.jvp(lambda x: (f(x), x[0] * 2 + x[1] * x[0] + x[0]), (x,), (ct,))
    assert_array_equal(ct, 5)
    assert_array_equal(x, 1)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x: -x, 2),  # value and tangent
        (lambda x: x + 1.0, 2),
        (lambda x: np.reshape(x, (-1, 1)), 2),
        (lambda x: np.exp(x), 2),
        (lambda x: np.sin(x), 2),  # the cosine becomes the tangent
        (np.sum, 0),
    ],
)
def test_a_linear_function_allocates_its_value_and_its_tangent(f: Any, count: int) -> None:
    """And nothing else of that size, at any time: no copies of primals, tangents or values."""
    x, v = np.ones(200_000), np.ones(200_000)
    func.jvp(f, (x,), (v,))
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = func.jvp(f, (x,), (v,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result) == 2
    assert round((peak - before) / x.nbytes) == count
