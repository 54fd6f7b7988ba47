"""What lives how long: graphs die by reference counting alone, and nothing grows with the steps of a training."""

import gc
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_fnn import Tensor, grad, no_grad, sigmoid
from tinygrad_fnn.errors import GraphError, ShapeError
from tinygrad_fnn.tensor import Node


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The cyclic garbage collector off, so that only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Watched(Node):
    """A node that can be watched: Node itself spends no bytes on weak references."""

    __slots__ = ("__weakref__",)


def network(x: Tensor, W: Tensor) -> Tensor:
    """Every kind of edge: kept results, kept arrays, parameters, a record aside, a view."""
    z = np.tanh(x @ W)[:, ::-1] * np.ones(3)
    p = sigmoid(z)
    return (np.log(p) * p).sum() + np.where(z > 0, z, 0).mean()


def arrays(root: Any) -> list[weakref.ref[Any]]:
    """Weak references to every array in the graph of a tensor."""
    found: dict[int, weakref.ref[Any]] = {}
    stack, seen = [root._node], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for edge in node.edges or ():
            stack.append(edge[0])
            found |= {id(a): weakref.ref(a) for a in edge[2] if isinstance(a, np.ndarray)}
        if node.aside is not None:
            stack.append(node.aside)
    return list(found.values())


def leaves() -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    return Tensor(rng.normal(size=(5, 4))), Tensor(rng.normal(size=(4, 3)), requires_grad=True)


def test_dropped_graph_is_freed_at_once(no_collector: None) -> None:
    x, W = leaves()
    cost = network(x, W)
    watched = [w for w in arrays(cost) if w() is not x._data and w() is not W._data]
    assert len(watched) > 5
    del cost
    assert [w() for w in watched if w() is not None] == []


def test_backward_frees_what_the_graph_kept(no_collector: None) -> None:
    x, W = leaves()
    cost = network(x, W)
    watched = [w for w in arrays(cost) if w() is not x._data and w() is not W._data]
    cost.backward()
    assert [w() for w in watched if w() is not None] == []  # though `cost` is still here
    assert cost.item() != 0


def test_retained_graph_is_kept_and_freed_with_its_last_tensor(no_collector: None) -> None:
    x, W = leaves()
    cost = network(x, W)
    watched = arrays(cost)
    cost.backward(retain_graph=True)
    assert all(w() is not None for w in watched)
    del cost
    assert sum(w() is not None for w in watched) <= 2  # x and W themselves


def test_graph_of_a_recorded_derivative_is_freed(no_collector: None) -> None:
    x, W = leaves()
    cost = network(x, W)
    (g,) = grad(cost, W, create_graph=True)
    watched = [w for w in arrays(g) + arrays(cost) if w() is not x._data and w() is not W._data]
    del cost, g
    assert [w() for w in watched if w() is not None] == []


def test_failing_calls_keep_no_graph_alive(no_collector: None) -> None:
    x, W = leaves()
    cost = network(x, W)
    watched = [w for w in arrays(cost) if w() is not x._data and w() is not W._data]
    cost.backward()
    with pytest.raises(GraphError):
        cost.backward()
    y = network(x, W)
    watched += [w for w in arrays(y) if w() is not x._data and w() is not W._data]
    with pytest.raises(ShapeError):
        y + W @ np.zeros((7, 7))
    del y, cost
    assert [w() for w in watched if w() is not None] == []


def test_nothing_makes_reference_cycles(no_collector: None) -> None:
    def everything() -> None:
        x, W = leaves()
        network(x, W).backward()
        h = x @ W
        h.retain_grad()
        remove = h.register_hook(lambda ct: ct * 2)
        (g,) = grad(h.sum(), W, create_graph=True)
        (g * g).sum()
        h[0] = 1.0
        with no_grad():
            W -= 0.1
            h * 2
        remove()

    everything()  # caches are filled once
    gc.collect()
    everything()
    assert gc.collect() == 0


def test_node_dies_with_its_tensor_but_not_with_one_of_two_handles(no_collector: None) -> None:
    x = Tensor(1.0, requires_grad=True)
    x._node = Watched((), None, (), x.dtype)
    watched = weakref.ref(x._node)
    y = x * 2
    del x
    assert watched() is not None  # the graph of y holds the record, not the handle
    y.backward()
    assert watched() is None  # and lets it go


def test_update_by_data_frees_the_old_values(no_collector: None) -> None:
    p = Tensor(np.zeros(10), requires_grad=True)
    lent = weakref.ref(p.data)
    p.data[...] = 1.0
    (p * p).sum().backward()
    assert lent() is None  # only the private copy is left


def test_training_does_not_grow() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 6)), rng.integers(0, 2, size=(20, 3)).astype(float)
    W, b = Tensor(rng.normal(size=(6, 3)), requires_grad=True), Tensor(np.zeros(3), requires_grad=True)

    def step() -> None:
        h = sigmoid(X @ W + b)
        cost = -(Y * np.log(h) + (1 - Y) * np.log(1 - h)).mean()
        W.grad = b.grad = None
        cost.backward()
        W.data -= 0.1 * W.grad
        with no_grad():
            b.data = b.data - 0.1 * b.grad

    for _ in range(20):
        step()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        step()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(600):
            step()
        assert gc.collect() == 0  # no cycles; and it empties Python's lists of free tuples, which count as traced
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    # A leak of one node a step would be 600 * 130 bytes. The lists of free objects that Python and NumPy keep fill up
    # to some 22 kB, which 10,000 steps do not exceed.
    assert after - before < 40_000


def test_operation_costs_less_than_a_kilobyte() -> None:
    x, count = Tensor(np.ones(8), requires_grad=True), 10_000
    tracemalloc.start()
    try:
        y = x
        for _ in range(count):
            y = np.exp(-y * 0.5)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / (3 * count) < 1000  # with the 64 bytes of the values
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("backward", [False, True])
def test_deep_chain_is_freed_without_recursion(backward: bool) -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    y = x
    for _ in range(200_000):  # ten times what would overflow a C stack of 8 MB
        y = y * 1.0
    if backward:
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [1.0, 1.0]
    node = weakref.ref(y)
    del y
    assert node() is None


def test_fan_out_holds_one_cotangent_at_a_time() -> None:
    """Cotangents are summed as they come: backward over n uses of x needs a few arrays, not n."""
    x = Tensor(np.ones(100_000), requires_grad=True)
    total = x
    for _ in range(50):
        total = total + x
    tracemalloc.start()
    try:
        total.sum().backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * x.nbytes
    assert x.grad is not None
    assert x.grad[0] == 51.0
