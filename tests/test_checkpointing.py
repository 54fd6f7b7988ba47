"""`checkpoint`: the same numbers to the bit, to any order, in less memory; and what makes the second call another."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, checkpoint, compile, func, grad, nn, no_grad
from tinygrad_fnn.errors import GraphError

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)


def plainly(fun: Any, *args: Any, **kwargs: Any) -> Any:
    return fun(*args, **kwargs)


def layers(*sizes: int) -> list[nn.Module]:
    return [nn.Sequential(nn.Linear(a, b, rng=a), nn.Tanh()) for a, b in pairwise(sizes)]


@pytest.mark.parametrize("call", [plainly, checkpoint])
def test_a_network(call: Any) -> None:
    """Arguments, parameters found outside, and what is used twice; for both ways of calling the same test."""
    parts = layers(3, 5, 4, 1)
    x = Tensor(X, requires_grad=True)
    h = x
    for part in parts:
        h = call(part, h)
    (h.sum() * (x * x).sum() + h.mean()).backward()
    expected = Tensor(X, requires_grad=True)
    g = expected
    for part in parts:
        g = part(g)
    slopes = grad(
        g.sum() * (expected * expected).sum() + g.mean(), [expected, *(p for q in parts for p in q.parameters())]
    )
    for ours, theirs in zip([x, *(p for q in parts for p in q.parameters())], slopes, strict=True):
        assert_array_equal(ours.grad, theirs.detach().numpy())


def test_every_order() -> None:
    """Of `f` and of gradients through it, as without."""

    def f(x: Any, call: Any) -> Any:
        return np.sum(call(lambda x: np.exp(np.sin(x) * x), x) ** 2)

    for order in (func.grad, func.hessian, lambda f: func.grad(lambda x: np.sum(func.grad(f)(x) ** 3))):
        ours, theirs = (order(lambda x, call=call: f(x, call))(X[0]) for call in (checkpoint, plainly))
        assert_array_equal(ours, theirs)
    ours, theirs = (func.jvp(lambda x, call=call: f(x, call), (X[0],), (X[1],)) for call in (checkpoint, plainly))
    assert ours == theirs


def test_complex_numbers() -> None:
    def f(x: Any, call: Any) -> Any:
        return np.sum(np.abs(call(lambda x: np.fft.rfft(x) * 1j, x)) ** 2 * np.arange(2))

    ours, theirs = (func.grad(lambda x, call=call: f(x, call))(X[0]) for call in (checkpoint, plainly))
    assert_array_equal(ours, theirs)


def test_keywords_and_checkpoints_within() -> None:
    def inner(x: Any, *, k: Any) -> Any:
        return np.tanh(x * k)

    def outer(x: Any, k: Any, call: Any) -> Any:
        return np.exp(call(inner, x, k=k)) + call(inner, k, k=x)

    found = []
    for call in (checkpoint, plainly):
        x, k = Tensor(X, requires_grad=True), Tensor(X[::-1], requires_grad=True)
        call(outer, x, k, call).sum().backward()
        found.append((x.grad, k.grad))
    for ours, theirs in zip(*found, strict=True):
        assert_array_equal(ours, theirs)


def test_memory() -> None:
    """Twenty layers of three arrays each, in four parts: what is kept between them, and one part at a time."""
    blocks = [nn.Sequential(*layers(*[50] * 6)) for _ in range(4)]
    x = np.random.default_rng(0).normal(size=(4000, 50))

    def peak(call: Any) -> int:
        tracemalloc.start()
        h = Tensor(x)
        for block in blocks:
            h = call(block, h)
        h.sum().backward()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(checkpoint) < 0.6 * peak(plainly)


def test_draws_are_repeated() -> None:
    layer = nn.Dropout(0.5)
    found = []
    for call in (checkpoint, plainly):
        tg.manual_seed(3)
        x = Tensor(X, requires_grad=True)
        y = call(lambda x: layer(x) * np.exp(x), x)
        between = tg.get_rng_state()
        y.sum().backward()
        assert tg.get_rng_state() == between
        found.append((y.detach().numpy(), x.grad))
    for ours, theirs in zip(*found, strict=True):
        assert_array_equal(ours, theirs)


def test_a_generator_of_its_own_is_noticed() -> None:
    layer = nn.Dropout(0.5, rng=np.random.default_rng(0))
    x = Tensor(X, requires_grad=True)
    y = checkpoint(lambda x: layer(np.exp(x)), x)
    with pytest.raises(GraphError, match=r"^checkpoint: called again, .* another result; it may draw from a generator"):
        y.sum().backward()


def test_assignments_between() -> None:
    """A later `x[0] = 0` is not seen, as it is not by other operations; a parameter assigned in place is refused."""
    x, w = Tensor(X, requires_grad=True) * 1, Tensor(X, requires_grad=True)
    y = checkpoint(lambda x: np.exp(x * w), x)
    x[0] = 0.0
    y.sum().backward()
    assert_array_equal(w.grad, X * np.exp(X * X))
    y = checkpoint(lambda x: np.exp(x * w), Tensor(X))
    w.data[0] = 7.0
    with pytest.raises(GraphError, match="assigned between forward and backward"):
        y.sum().backward()


def test_graphs_are_freed_and_retained_as_others() -> None:
    x = Tensor(X, requires_grad=True)
    y = checkpoint(np.exp, x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert_array_equal(x.grad, 2 * np.exp(X))
    with pytest.raises(GraphError, match="freed"):
        y.backward()


def test_hooks_and_parts_of_the_gradient() -> None:
    x, w = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    y = checkpoint(lambda x: np.exp(x * w), x)
    y.register_hook(lambda ct: ct * 3)
    (slope,) = grad(y.sum(), x)
    assert_allclose(slope.detach(), 3 * (X * np.exp(X * X)), rtol=4e-16)  # three factors in another order


def test_a_nan_that_is_not_chosen() -> None:
    """The careful walk, through a checkpoint and within one."""
    x = Tensor([0.0, 4.0], requires_grad=True)
    y = checkpoint(lambda x: np.where(x > 0, np.sqrt(x), 0.0), x)
    np.where(x.detach().numpy() > 0, y, 0.0).sum().backward()
    assert_array_equal(x.grad, [0.0, 0.25])


def test_where_it_is_called_as_if_there_were_none() -> None:
    x = Tensor(X, requires_grad=True)
    with no_grad():
        assert checkpoint(np.exp, x)._node is None
    assert checkpoint(np.exp, Tensor(X))._node is None
    assert checkpoint(lambda x: x, x).is_leaf
    with tg.detect_anomaly():
        node = checkpoint(np.exp, x)._node
    assert node is not None
    assert node.name == "numpy.exp"
    step = compile(lambda x: np.sum(checkpoint(np.exp, x)), fallback="raise")
    for _ in range(3):
        x.grad = None
        step(x).backward()
    assert_array_equal(x.grad, np.exp(X))


def test_refusals() -> None:
    x = Tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match=r"^checkpoint: the function returned a tuple, wanted one Tensor"):
        checkpoint(lambda x: (x, x), x)
    with pytest.raises(TypeError, match=r"^checkpoint: got a Tensor, wanted a function and what it is called with"):
        checkpoint(x, np.exp)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^checkpoint: the function makes a leaf of its own"):
        checkpoint(lambda x: x * Tensor(2.0, requires_grad=True), x)
