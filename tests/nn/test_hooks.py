"""Hooks, `capture` and `summary`: what goes through a module is seen, and otherwise as it was."""

import contextlib
import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad, nn
from tinygrad_fnn.check import textbook
from tinygrad_fnn.errors import GraphError, ShapeError

X = np.random.default_rng(0).normal(size=(5, 4))
Y = np.eye(3)[[0, 2, 1, 1, 0]]


def leaf(values):
    return Tensor(values, requires_grad=True)


class Twice(nn.Module):
    """Two arguments and two results."""

    def forward(self, x, y):
        return x * y, x + y


class First(nn.Module):
    """An argument that is not used."""

    def forward(self, x, y):
        return x * 2


# --- forward ----------------------------------------------------------------------------------------------------------


def test_forward_hook_sees_arguments_and_result_until_it_is_removed():
    layer, seen = nn.Linear(4, 3, rng=0), []
    handle = layer.register_forward_hook(lambda module, args, out: seen.append((module, args, out)))
    out = layer(X)
    assert seen == [(layer, seen[0][1], out)]
    assert seen[0][1][0] is X
    handle.remove()
    handle.remove()
    layer(X)
    assert len(seen) == 1
    assert list(vars(layer)) == ["W", "b"]


def test_forward_hooks_run_in_order_and_may_replace_the_result():
    layer = nn.Identity()
    layer.register_forward_hook(lambda module, args, out: out + 1)
    with layer.register_forward_hook(lambda module, args, out: out * 10):
        assert layer(1.0).item() == 20
    assert layer(1.0).item() == 2


def test_a_hook_may_remove_itself():
    layer, calls = nn.Identity(), []

    def once(module, args, out):
        calls.append(out)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer.register_forward_hook(lambda module, args, out: calls.append(out))
    layer(1.0)
    assert len(calls) == 2
    layer(1.0)
    assert len(calls) == 3


def test_hooks_must_be_callable():
    for register in (nn.Tanh().register_forward_hook, nn.Tanh().register_full_backward_hook):
        with pytest.raises(TypeError, match=r"Tanh: a \w+ hook must be callable; got a int"):
            register(1)


def test_without_hooks_a_call_is_forward_alone():
    class Bare(nn.Module):
        def forward(self, *args, **kwargs):
            return args, kwargs

    assert Bare()(1, 2, k=3) == ((1, 2), {"k": 3})
    with Bare().register_forward_hook(lambda *_: None):
        pass
    hooked = Bare()
    hooked.register_forward_hook(lambda *_: None)
    assert hooked(1, 2, k=3) == ((1, 2), {"k": 3})


# --- backward ---------------------------------------------------------------------------------------------------------


def test_backward_hook_gets_the_cotangents_of_arguments_and_results():
    module, seen = Twice(), []
    module.register_full_backward_hook(lambda m, ins, outs: seen.append((m, ins, outs)))
    x, y = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    product, total = module(x, y)
    (product * 10 + total * [1.0, 2.0]).sum().backward()
    (m, ins, outs) = seen[0]
    assert m is module
    assert len(seen) == 1
    assert_array_equal(outs, [[10, 10], [1, 2]])
    assert_array_equal(ins, [[31, 52], [11, 22]])
    assert_array_equal(x.grad, [31, 52])


def test_cotangents_are_those_through_the_module_alone():
    module, seen = nn.Identity(), []
    module.register_full_backward_hook(lambda m, ins, outs: seen.extend([ins, outs]))
    x = leaf([1.0])
    (x * 5 + module(x) * 2).sum().backward()
    assert_array_equal(seen, [[[2.0]], [[2.0]]])
    assert_array_equal(x.grad, [7])


def test_backward_hook_of_a_first_layer_has_no_cotangent_of_the_data():
    layer, seen = nn.Linear(4, 3, rng=0), []
    layer.register_full_backward_hook(lambda m, ins, outs: seen.append((ins, outs)))
    layer(X).sum().backward()
    assert seen[0][0] == (None,)
    assert_array_equal(seen[0][1][0], np.ones((5, 3)))
    assert_array_equal(layer.b.grad, [5, 5, 5])


def test_an_unused_argument_or_result_is_none():
    module, seen = First(), []
    module.register_full_backward_hook(lambda m, ins, outs: seen.append((ins, outs)))
    module(leaf([1.0]), leaf([1.0])).sum().backward()
    module(Tensor([1.0]), leaf([1.0]))
    assert [[None if part is None else part.tolist() for part in side] for side in seen[0]] == [[[2.0], None], [[1.0]]]
    pair = Twice()
    pair.register_full_backward_hook(lambda m, ins, outs: seen.append((ins, outs)))
    pair(leaf([2.0]), leaf([3.0]))[1].sum().backward()
    assert seen[1][1][0] is None
    assert_array_equal(seen[1][0], [[1], [1]])


def test_backward_hook_may_replace_the_cotangent_of_its_argument():
    for replacement in (lambda ins: (ins[0] * 10,), lambda ins: ins[0] * 10):
        module = nn.Tanh()
        module.register_full_backward_hook(lambda m, ins, outs, replacement=replacement: replacement(ins))
        x = leaf([0.0])
        module(x).sum().backward()
        assert_array_equal(x.grad, [10])


def test_replacements_that_cannot_be_are_refused_and_leave_every_gradient():
    x, y = leaf([1.0]), leaf([2.0])
    pair, single, shaped = Twice(), nn.Tanh(), nn.Tanh()
    pair.register_full_backward_hook(lambda m, ins, outs: ins)
    single.register_full_backward_hook(lambda m, ins, outs: (*ins, *ins))
    shaped.register_full_backward_hook(lambda m, ins, outs: np.ones(3))
    with pytest.raises(GraphError, match=r"Twice: a backward hook can replace.*here 2 are"):
        pair(x, y)[0].sum().backward()
    with pytest.raises(ValueError, match="Tanh: a backward hook returned 2 cotangents for 1"):
        single(x).sum().backward()
    with pytest.raises(ShapeError):
        shaped(x).sum().backward()
    assert x.grad is None


def test_backward_hooks_fire_at_each_backward_and_not_after_removal():
    module, calls = nn.Tanh(), []
    handle = module.register_full_backward_hook(lambda m, ins, outs: calls.append(ins[0].item()))
    out = module(leaf(0.0))
    out.backward(retain_graph=True)
    out.backward(2.0)
    assert calls == [1, 2]
    handle.remove()
    module(leaf(0.0)).backward()
    assert calls == [1, 2]


def test_second_derivatives_pass_a_backward_hook():
    module, seen = nn.Sigmoid(), []
    module.register_full_backward_hook(lambda m, ins, outs: seen.append(ins))
    z = leaf([0.3])
    (first,) = grad(module(z).sum(), z, create_graph=True)
    (second,) = grad(first.sum(), z)
    with_hook = second.item()
    (first,) = grad(tg.sigmoid(z).sum(), z, create_graph=True)
    assert with_hook == grad(first.sum(), z)[0].item()
    assert isinstance(seen[0][0], Tensor)


def test_a_loss_stays_exact_past_a_hooked_sigmoid():
    module, loss = nn.Sigmoid(), nn.BCELoss("sum")
    module.register_forward_hook(lambda *_: None)
    loss.register_forward_hook(lambda *_: None)
    z = leaf([800.0, -800.0])
    with nn.capture(module) as seen:
        out = loss(module(z), [0.0, 0.0])
    out.backward()
    assert out.item() == 800
    assert_array_equal(z.grad, [1, 0])
    assert_array_equal(seen.deltas[""], [np.inf, 1])


def test_a_backward_hook_on_a_probability_sees_its_plain_derivative():
    module, loss, seen = nn.Sigmoid(), nn.BCELoss("sum"), []
    module.register_full_backward_hook(lambda m, ins, outs: seen.append(outs[0]))
    loss.register_full_backward_hook(lambda m, ins, outs: seen.append(ins[0]))
    z = leaf([2.0])
    loss(module(z), [1.0]).backward()
    p = 1 / (1 + np.exp(-2.0))
    assert_allclose(seen, [[-1 / p], [-1 / p]], rtol=1e-15)
    assert_allclose(z.grad, [p - 1], rtol=1e-14)


def test_backward_hooks_do_nothing_without_a_graph():
    module = nn.Tanh()
    module.register_full_backward_hook(lambda *_: pytest.fail("called"))
    with tg.no_grad():
        assert module(leaf(0.0)).item() == 0
    assert module(0.0).item() == 0


def test_hooked_modules_are_copied_and_freed():
    module = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh())
    module[1].register_forward_hook(print_shape)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert_array_equal(twin(X).detach().numpy(), module(X).detach().numpy())


class Recorder:
    """A hook that can be watched."""

    def __call__(self, module, grad_input, grad_output):
        pass


def test_hooks_die_with_the_graph_and_without_the_garbage_collector():
    module, hook = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh()), Recorder()
    gone = weakref.ref(hook)
    gc.collect()
    gc.disable()
    try:
        with module.register_full_backward_hook(hook), module[0].register_full_backward_hook(hook):
            out = module(leaf(X))
        del hook
        assert gone() is not None
        del out
        assert gone() is None
    finally:
        gc.enable()


def print_shape(module, args, out):
    assert out.shape == (5, 3)


# --- capture ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [6, (6, 5), ()])
@pytest.mark.parametrize("loss", ["cost", "probabilities"])
def test_deltas_of_the_digit_network_are_those_derived_by_hand(hidden, loss):
    net = nn.DigitNet(4, hidden, 3, rng=1)
    with nn.capture(net) as seen:
        J = net.cost(X, Y) if loss == "cost" else nn.BCELoss("course")(net(X), Y)
    J.backward()
    trace, by_hand = textbook.forward(net.thetas(), X), textbook.gradients(net.thetas(), X, Y)
    for l, (z, delta) in enumerate(zip(trace.z, by_hand.deltas, strict=True)):
        # Equal up to rounding: sums of six products.
        assert_allclose(seen.outputs[f"layers.{l}"], z, rtol=1e-13, atol=1e-15)
        assert_allclose(seen.deltas[f"layers.{l}"], delta, rtol=1e-12, atol=1e-16)
    activations = [name for name in seen.outputs if name.startswith("activation")]
    assert activations == ["activation", "activation#2", "activation#3"][: len(activations)]
    assert len(activations) == len(by_hand.deltas) - (loss == "cost")
    for name, a in zip(activations, trace.a[1:], strict=False):
        assert_allclose(seen.outputs[name], a, rtol=1e-13)


def test_capture_changes_no_bit_and_leaves_nothing():
    net = nn.DigitNet(4, 6, 3, rng=1)
    net.cost(X, Y).backward()
    plain = [p.grad for p in net.parameters()]
    net.zero_grad()
    with nn.capture(net):
        net.cost(X, Y).backward()
    for p, grad_ in zip(net.parameters(), plain, strict=True):
        assert_array_equal(p.grad, grad_)
    assert not any("_hooks" in vars(module) for module in net.modules())


def test_capture_tells_a_module_that_passes_on_from_its_argument():
    net = nn.Residual(nn.Identity())
    x = leaf([1.0])
    with nn.capture(net) as seen:
        (net(x) * 3).sum().backward()
    assert list(seen.outputs) == ["f", ""]
    assert_array_equal(seen.deltas["f"], [3])
    assert_array_equal(seen.deltas[""], [3])
    assert_array_equal(x.grad, [6])


def test_capture_of_several_results_of_untracked_ones_and_under_no_grad():
    with nn.capture(Twice()) as seen:
        first, second = seen._model(leaf([2.0]), 3.0)
        (first + second * 2).sum().backward()
        seen._model(Tensor([1.0]), Tensor([1.0]))
    assert {name: out.tolist() for name, out in seen.outputs.items()} == {
        "[0]": [6.0],
        "[1]": [5.0],
        "[0]#2": [1.0],
        "[1]#2": [2.0],
    }
    assert {name: out.tolist() for name, out in seen.deltas.items()} == {"[0]": [1.0], "[1]": [2.0]}
    with tg.no_grad(), nn.capture(nn.Tanh()) as seen:
        seen._model(leaf([0.0]))
    assert list(seen.outputs) == [""]
    assert seen.deltas == {}


def test_outputs_cannot_be_written_to_and_hooks_end_with_an_exception():
    net = nn.Tanh()
    with contextlib.suppress(RuntimeError), nn.capture(net) as seen:
        net([0.0])
        raise RuntimeError
    assert net._hooks is None
    with pytest.raises(ValueError, match="read-only"):
        seen.outputs[""][0] = 1


# --- summary ----------------------------------------------------------------------------------------------------------


def test_summary_with_shapes_calls_the_network_and_leaves_it_as_it_was():
    net = nn.Sequential(nn.Linear(4, 3, rng=0), nn.BatchNorm1d(3), nn.Dropout(0.5, rng=0), nn.Linear(3, 2, rng=0))
    net[2].eval()
    state, modes = net.state_dict(), [module.training for module in net.modules()]
    rows = [line.split("  ") for line in nn.summary(net, (1, 4)).splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["module", "kind", "output", "parameters", "count"]
    assert cells[2] == ["0", "Linear", "(1, 3)", "W (3, 4), b (3,)", "15"]
    assert cells[3] == ["1", "BatchNorm1d", "(1, 3)", "weight (3,), bias (3,)", "6"]
    assert cells[4] == ["2", "Dropout", "(1, 3)", "0"]
    assert cells[-1] == ["total", "29"]
    assert [module.training for module in net.modules()] == modes
    assert not any("_hooks" in vars(module) for module in net.modules())
    for name, value in net.state_dict().items():
        assert_array_equal(value, state[name])


def test_summary_of_a_module_called_twice_has_both_shapes_and_of_an_uncalled_one_none():
    net = nn.DigitNet(4, 6, 3, rng=0)
    net.unused = nn.Linear(1, 1, rng=0)
    lines = net.summary((2, 4)).splitlines()
    assert "(2, 6), (2, 3)" in next(line for line in lines if line.startswith("activation"))
    assert next(line for line in lines if line.startswith("unused")).split()[2] == "W"
    assert net.summary() == nn.summary(net)
    assert "output" not in net.summary()


def test_summary_in_the_networks_precision_and_its_refusals():
    seen = []
    net = nn.Linear(4, 2, rng=0, dtype=np.float32)
    net.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    nn.summary(net, 4)
    assert seen == [np.float32]
    with pytest.raises(ShapeError, match="5 features"):
        nn.summary(net, (1, 5))
    assert net.training
    assert len(net._hooks.forward) == 1
    with pytest.raises(TypeError, match=r"summary: input_shape must be a tuple of integers; got \(1.5,\)"):
        nn.summary(net, (1.5,))
