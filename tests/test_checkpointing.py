"""`checkpoint`: the same numbers as without, to any order, in less memory; and what makes the second call another."""

from __future__ import annotations

import threading
import tracemalloc
import weakref
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, checkpoint, compile, func, grad, nn, no_grad
from tinygrad_fnn.errors import GraphError

X = np.linspace(-1.0, 1.0, 12).reshape(4, 3)
# Two sums of a few positive and negative terms of about 1 in another order, of every order of derivative.
ROUNDING = {"rtol": 1e-13, "atol": 1e-13}


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


def skip_connection(call: Any) -> Any:
    """Two arguments of which one is made of the other: the walk within must not go on to it."""
    x, W = Tensor(X, requires_grad=True), Tensor(np.eye(3) * 0.3 + 0.1, requires_grad=True)
    h = x
    for _ in range(3):
        h = call(lambda h: np.tanh(h @ W) + x * h, h)
    h.sum().backward()
    return x.grad, W.grad


def hooks(call: Any) -> Any:
    """Of an argument, of one found outside and of the result: each is called once, with the whole cotangent."""
    x = Tensor(X, requires_grad=True)
    h, seen = np.exp(x), []
    h.retain_grad()
    for t in (x, h):
        t.register_hook(lambda ct: (seen.append(ct), ct * 2)[1])
    y = call(lambda h: h * h * x, h)
    y.register_hook(lambda ct: ct * 4)
    y.sum().backward()
    return x.grad, h.grad, *seen, len(seen)


def module_hook(call: Any) -> Any:
    model, seen = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh()), []
    model[0].register_full_backward_hook(lambda module, into, out: seen.append(np.asarray(out[0])))
    x = Tensor(X, requires_grad=True)
    call(model, x).sum().backward()
    return x.grad, *seen


def closure_only(call: Any) -> Any:
    w = Tensor(X, requires_grad=True)
    call(lambda: np.exp(w) * 2).sum().backward()
    return (w.grad,)


def functions_of_functions(call: Any) -> Any:
    def f(w: Any, x: Any) -> Any:
        return np.sum(call(lambda x: np.exp(x @ w), x) ** 2)

    out, pull = func.vjp(f, X.T, X)
    return out, *pull(1.0), *func.value_and_grad(f, argnums=(0, 1))(X.T, X)[1], *func.grad(f, argnums=[0])(X.T, X)


def functions_of_functions_within(call: Any) -> Any:
    x = Tensor(X, requires_grad=True)
    y = call(lambda x: func.grad(lambda v: np.sum(np.exp(v) * x * v))(x), x)
    z = call(lambda x: func.jvp(lambda v: np.exp(v) * x * v, (x,), (x * 2,))[1], x)
    (y.sum() + z.sum()).backward()
    return (x.grad,)


def forward_mode(call: Any) -> Any:
    return func.jvp(lambda w, x: call(lambda x: np.exp(x @ w), x), (X.T, X), (X.T[::-1], X[::-1]))


def forward_over_a_graph_made_outside(call: Any) -> Any:
    """What the tangent depends on stands within the checkpoint."""

    def outer(x: Any) -> Any:
        y = call(lambda x: np.exp(x) * x**2, x)

        def slope(t: Any) -> Any:
            return grad(y, x, t * t, create_graph=True)[0]

        return np.sum(func.jvp(slope, (x.detach() * 0 + 3.0,), (X[1],))[1] * x)

    return func.grad(outer)(X[0])


def further_derivatives(call: Any) -> Any:
    x, w = Tensor(X, requires_grad=True), Tensor(X * 2, requires_grad=True)
    a, b = grad(np.sum(call(lambda x: np.exp(x * w) * w, x)), [x, w], create_graph=True)
    (c,) = grad(np.sum(a * b * b), x, create_graph=True)
    np.sum(c * w).backward()
    return a.detach(), b.detach(), c.detach(), x.grad, w.grad


def several_results(call: Any) -> Any:
    """One that is not used, with infinite derivatives; one from outside; one without a graph."""
    x, w = Tensor(np.abs(X), requires_grad=True), Tensor(X, requires_grad=True)
    with np.errstate(divide="ignore"):
        a, _, b, c = call(lambda x: (np.exp(x * w), np.log(x * 0), w * 2, Tensor(X)), x)
    (d, e) = call(lambda h: [h, np.sin(h).sum(axis=0)], a)
    np.sum((a + b + c + d) * e).backward()
    return x.grad, w.grad


def complex_results(call: Any) -> Any:
    x, w = Tensor(X[0], requires_grad=True), Tensor(X[1], requires_grad=True)
    a, b = call(lambda x: (np.fft.rfft(x * w) * (1 + 2j), np.fft.rfft(x)), x)
    total = np.sum(np.abs(a * b * (2 - 1j) + a))
    slopes = grad(total, [x, w], retain_graph=True)
    with tg.detect_anomaly():  # the careful walk
        total.backward()
    return x.grad, w.grad, *slopes


def probability(call: Any) -> Any:
    """A loss goes past it to its logit, and the derivative with respect to it is still reported."""
    z, y = Tensor([-800.0, 0.0, 3.0, 800.0], requires_grad=True), np.array([1.0, 0.0, 1.0, 0.0])
    p = call(lambda z: tg.sigmoid(z * 2), z)
    nn.BCELoss()(p, y).backward(retain_graph=True)
    by_hand = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
    by_hand = by_hand + np.sum(np.log1p(call(lambda z: -tg.sigmoid(z * 1), z)))
    by_hand = by_hand + nn.BCELoss()(call(lambda z: call(lambda z: call(tg.sigmoid, z), z), z), y)
    q = call(lambda z: 1 - tg.sigmoid(z * 1).reshape(2, 2), z[1:3, None] * np.ones(2))
    return z.grad, by_hand, *grad(by_hand, z), *grad(nn.BCELoss()(q, np.eye(2)) + np.sum(q * q), [z, q])


def softmax(call: Any) -> Any:
    z = Tensor([[-800.0, 0.0, 3.0], [1.0, 2.0, 900.0]], requires_grad=True)
    p = call(lambda z: tg.softmax(z * 1, axis=1), z)
    np.log(p)[0] = 0.0  # writes to the logarithm of its own
    np.sum(np.log(p) * X[:2]).backward()
    return (z.grad,)


def loss_within(call: Any) -> Any:
    """It goes past the probability, unless that has a hook, which may change its cotangent."""

    def cost(z: Any, v: Any) -> Any:
        p, q = tg.sigmoid(z), tg.sigmoid(v)
        q.register_hook(lambda ct: ct * 2)
        return nn.BCELoss()(p, y) + nn.BCELoss()(q, y)

    z, y = Tensor([-800.0, 0.0, 3.0, 800.0], requires_grad=True), np.array([1.0, 0.0, 1.0, 0.0])
    v = z / 100
    call(cost, z, v).backward(retain_graph=True)
    return z.grad, *grad(call(cost, z, v), v)


def kinds_of_arrays(call: Any) -> Any:
    x, w, s = Tensor(X, True, dtype="float32"), Tensor(X, True), Tensor(2.0, True)
    empty, cut = Tensor(np.zeros((0, 3)), True), Tensor(X, True)
    total = call(lambda x: x * w * s, x).sum() + call(np.exp, s) + call(np.exp, empty).sum()
    (total + call(np.exp, cut[::2, 1]).sum()).backward()
    return x.grad, w.grad, s.grad, empty.grad, cut.grad


def modes_within(call: Any) -> Any:
    x = Tensor(X, requires_grad=True)

    def f(x: Any) -> Any:
        with no_grad():
            c = np.exp(x)
        return c * x

    with no_grad(), tg.enable_grad():
        y = call(f, x).sum()
    with no_grad():
        y.backward(retain_graph=True)
    with tg.detect_anomaly():
        y.backward()
    return (x.grad,)


def with_a_nan(call: Any) -> Any:
    x = Tensor(X, requires_grad=True)
    with np.errstate(invalid="ignore"):
        call(np.log, x).sum().backward()
    return (x.grad,)


def seeds_that_change(call: Any) -> Any:
    """The same cotangent object with other values: nothing of the walk before is left."""
    x, w = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    y, ct = call(lambda x: np.exp(x * w), x), Tensor(X)
    first = grad(y, x, ct, create_graph=True)
    ct[...] = X * 2
    return *first, *grad(y, x, ct, create_graph=True)


def compiled_within(call: Any) -> Any:
    cost, x, found = compile(lambda x: np.sum(np.exp(x) * x), fallback="raise"), Tensor(X, requires_grad=True), []
    for _ in range(4):
        x.grad = None
        (call(cost, x) ** 2).backward()
        found.append(x.grad)
    return found


def compiled_training(call: Any) -> Any:
    parts = [nn.Sequential(nn.Linear(3, 3, rng=k), nn.Sigmoid(), nn.Dropout(0.3)) for k in range(3)]
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = tg.optim.Adam(parameters)
    tg.manual_seed(1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        for part in parts:
            x = call(part, x)
        cost = np.mean(x**2)
        cost.backward()
        optimizer.step()
        return cost.detach()

    replayed = compile(step, fallback="raise")
    return [replayed(Tensor(X * k)) for k in range(5)] + [p.detach() for p in parameters]


def compiled_gradient_of_a_graph_made_outside(call: Any) -> Any:
    x, w = Tensor(X, requires_grad=True), Tensor(X * 2, requires_grad=True)
    y = call(lambda x: np.exp(x * w), x)
    slopes = compile(lambda ct: grad(np.sum(y * ct), [x, w], retain_graph=True), fallback="silent")
    return [slope for k in range(4) for slope in slopes(Tensor(X * (k + 1)))]


CASES = [skip_connection, hooks, module_hook, closure_only, functions_of_functions, functions_of_functions_within]
CASES += [forward_mode, forward_over_a_graph_made_outside, further_derivatives, several_results, complex_results]
CASES += [probability, softmax, loss_within, kinds_of_arrays, modes_within, with_a_nan, seeds_that_change]
CASES += [compiled_within, compiled_training, compiled_gradient_of_a_graph_made_outside]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_as_without(case: Any) -> None:
    ours, theirs = case(checkpoint), case(plainly)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        one, other = (v.detach().numpy() if isinstance(v, Tensor) else np.asarray(v) for v in (one, other))
        assert one.dtype == other.dtype
        assert_allclose(one, other, **ROUNDING)


def test_shares_of_several_threads() -> None:
    x, w = Tensor(X, requires_grad=True), Tensor(X, requires_grad=True)
    y = checkpoint(lambda x: np.exp(np.sin(x) * w), x)
    wrong = []

    def walk(k: int) -> None:
        for _ in range(30):
            slopes = grad(y, [x, w], np.full(X.shape, float(k)), retain_graph=True)
            expected = [k * np.exp(np.sin(X) * X) * s for s in (np.cos(X) * X, np.sin(X))]
            # The formula multiplies in another order: a few roundings.
            wrong.extend(k for s, e in zip(slopes, expected, strict=True) if not np.allclose(s.numpy(), e, rtol=1e-14))

    threads = [threading.Thread(target=walk, args=(k,)) for k in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_memory() -> None:
    """Thirty layers of two arrays each, in six parts: kept are five results between them, and one part at a time."""
    parts = [nn.Sequential(*layers(*[50] * 6)) for _ in range(6)]
    x = np.random.default_rng(0).normal(size=(1000, 50))

    def peak(call: Any) -> int:
        tracemalloc.start()
        h = Tensor(x)
        for part in parts:
            h = call(part, h)
        h.sum().backward()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # 5 + 2 * 5 of the 2 * 30 arrays, and the cotangents, which are a few more on both sides.
    assert peak(checkpoint) < 0.45 * peak(plainly)


def test_an_argument_that_is_a_probability() -> None:
    """What it is made of is kept where the function asks for that, and only there."""
    z = Tensor(np.linspace(-800.0, 800.0, 50_000), requires_grad=True)
    tracemalloc.start()
    y = checkpoint(np.exp, checkpoint(lambda z: tg.sigmoid(z * 1), z))
    kept = tracemalloc.get_traced_memory()[0] / z.nbytes
    tracemalloc.stop()
    assert_allclose(kept, 2, atol=0.1)  # the two results; nodes and handles weigh some kilobytes of 400

    def reshaped(call: Any) -> Any:
        q = call(lambda p: 1 - p.reshape(-1, 2), tg.sigmoid(z * 1))
        return grad(nn.BCELoss()(q, np.ones(q.shape)), z)[0]

    assert_array_equal(reshaped(checkpoint).detach(), reshaped(plainly).detach())
    y.sum().backward()


@pytest.mark.parametrize(("fun", "count"), [(np.exp, 1), (tg.sigmoid, 2), (tg.softmax, 2)])
def test_what_is_kept(fun: Any, count: int) -> None:
    """The result, and of a probability what it is made of; after a walk the gradient, and nothing else of that."""
    x = Tensor(np.linspace(-1.0, 1.0, 50_000), requires_grad=True)
    tracemalloc.start()
    y = checkpoint(lambda x: fun(np.sin(np.tanh(x) * x)), x)
    kept = [tracemalloc.get_traced_memory()[0] / x.nbytes]
    np.sum(y * y).backward(retain_graph=True)
    kept.append(tracemalloc.get_traced_memory()[0] / x.nbytes)
    tracemalloc.stop()
    assert_allclose(kept, [count, count + 1], atol=0.1)  # nodes and handles weigh some kilobytes of 400


@pytest.mark.parametrize("fun", [np.exp, lambda p: tg.sigmoid(p * 2), lambda p: 1 - p])
def test_what_is_freed(fun: Any) -> None:
    """After backward nothing of the call is left, although its result is; and there are no cycles."""

    class Argument:
        pass

    for after in ("backward", "del"):
        x, argument = Tensor(X, requires_grad=True), Argument()
        gone = weakref.ref(argument)
        y = checkpoint(lambda p, _: fun(p), tg.sigmoid(x), argument)
        cost = y.sum() if fun is np.exp else nn.BCELoss()(y, np.ones(X.shape))
        del argument
        if after == "backward":
            cost.backward()
        else:
            del cost, y
        assert gone() is None


def test_draws_are_repeated() -> None:
    layer = nn.Dropout(0.5)
    found = []
    for call in (checkpoint, plainly):
        tg.manual_seed(3)
        x = Tensor(X, requires_grad=True)
        y = call(lambda x: layer(x) * np.exp(x), x)
        tg.manual_seed(4)
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


def test_parts_of_the_gradient() -> None:
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


def test_the_generator_is_left_alone_where_nothing_is_drawn() -> None:
    x = Tensor(X, requires_grad=True)
    calls: list[Any] = []

    def f(x: Any) -> Any:
        calls.append(tg.get_rng_state())
        return np.exp(x)

    tg.manual_seed(0)
    y = checkpoint(f, x)
    tg.manual_seed(1)
    y.sum().backward()
    assert calls[1] == tg.get_rng_state() != calls[0]


def test_a_loop_variable_that_has_gone_on() -> None:
    """The results are the same, but they depend on another gain; as an argument it is the right one."""
    gains = [Tensor(np.ones(3), requires_grad=True) for _ in range(3)]
    h = k = Tensor(X)
    for gain in gains:
        h, k = checkpoint(lambda h: np.tanh(h) * gain, h), checkpoint(lambda h, gain: np.tanh(h) * gain, k, gain)  # noqa: B023
    k.sum().backward()
    assert_array_equal(gains[2].grad, np.tanh(np.tanh(np.tanh(X))).sum(axis=0))
    with pytest.raises(
        GraphError, match=r"^checkpoint: .* depends on other tensors; .* loop variable.* as an argument$"
    ):
        h.sum().backward()


def test_cuts_do_not_cross() -> None:
    """The one difference, which the docstring names: NaN, and no wrong number."""
    x = Tensor([0.0, 4.0], requires_grad=True)
    np.where(x.detach().numpy() > 0, checkpoint(np.sqrt, x), 0.0).sum().backward()
    assert_array_equal(x.grad, [np.nan, 0.25])


def test_refusals() -> None:
    x = Tensor(X, requires_grad=True)
    pair = (
        r"^checkpoint: the function returned a tuple with a float, wanted a Tensor, or a tuple or list of nothing else"
    )
    with pytest.raises(TypeError, match=pair):
        checkpoint(lambda x: (x, 2.0), x)
    for mode in (no_grad(), tg.enable_grad()):
        with mode, pytest.raises(TypeError, match=r"^checkpoint: the function returned a dict, wanted a Tensor"):
            checkpoint(lambda x: {"x": x}, x)
    with pytest.raises(TypeError, match=r"^checkpoint: got a Tensor, wanted a function and what it is called with"):
        checkpoint(x, np.exp)  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^checkpoint: the function makes a leaf of its own"):
        checkpoint(lambda x: x * Tensor(2.0, requires_grad=True), x)
    for inner in (x * 1, Tensor(X)):
        with pytest.raises(GraphError, match=r"^checkpoint: the function writes to an argument; .*, np\.copy\(x\)$"):
            checkpoint(lambda h: (h.__setitem__(0, 1.0), np.exp(h) * x)[1], inner)
        checkpoint(lambda h: ((k := np.copy(h)).__setitem__(0, 1.0), np.exp(k) * x)[1], inner)
    with pytest.raises(GraphError, match=r"^checkpoint: the function goes past a probability that was made outside"):
        checkpoint(lambda p: nn.BCELoss()(p, np.ones(X.shape)), tg.sigmoid(x))
