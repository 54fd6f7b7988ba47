"""Modules: what is found in their attributes, and that their state is all or nothing."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.errors import ShapeError


class Everything(nn.Module):
    """Parameters and modules in every place they may be in; no super().__init__()."""

    def __init__(self):
        self.first = nn.Linear(2, 3, rng=0)
        self.scale = nn.Parameter([1.0, 2.0])
        self.blocks = [nn.Linear(3, 3, rng=1), (nn.Parameter(0.5), nn.Tanh())]
        self.heads = {"a": nn.Linear(3, 1, bias=False, rng=2), 7: {"deep": nn.Parameter([[1.0]])}}
        self.net = nn.Sequential(nn.Linear(1, 1, rng=3), nn.Sigmoid())
        self.size, self.name, self.table, self.buffer = 3, "x", np.ones(2), Tensor([1.0], requires_grad=True)

    def forward(self, x):
        return self.first(x)


NAMES = ["first.W", "first.b", "scale", "blocks.0.W", "blocks.0.b", "blocks.1.0", "heads.a.W", "heads.7.deep"]
NAMES += ["net.0.W", "net.0.b"]


class Pair(nn.Module):
    def __init__(self):
        self.encoder = nn.Linear(2, 2, rng=0)
        self.decoder = self.encoder
        self.again = [self.encoder.W]


# --- what is found ----------------------------------------------------------------------------------------------------


def test_parameters_are_found_in_order_of_assignment_under_dotted_names():
    module = Everything()
    assert [name for name, _ in module.named_parameters()] == NAMES
    assert [id(p) for p in module.parameters()] == [id(p) for _, p in module.named_parameters()]
    assert dict(module.named_parameters())["heads.7.deep"] is module.heads[7]["deep"]


def test_modules_are_found_itself_first():
    names = [name for name, _ in Everything().named_modules()]
    assert names == ["", "first", "blocks.0", "blocks.1.1", "heads.a", "net", "net.0", "net.1"]
    assert [type(m).__name__ for m in nn.Sequential(nn.Tanh()).modules()] == ["Sequential", "Tanh"]


def test_an_attribute_counts_as_soon_as_it_is_assigned_and_no_longer():
    module = nn.Module()
    module.W = nn.Parameter([1.0])
    assert [n for n, _ in module.named_parameters()] == ["W"]
    del module.W
    assert list(module.parameters()) == []


def test_what_is_shared_is_listed_once_under_its_first_name():
    pair = Pair()
    assert [n for n, _ in pair.named_parameters()] == ["encoder.W", "encoder.b"]
    assert [n for n, _ in pair.named_modules()] == ["", "encoder"]
    pair.load_state_dict({"encoder.W": np.zeros((2, 2)), "encoder.b": np.ones(2)})
    assert_array_equal(pair.decoder.b.detach().numpy(), [1, 1])


def test_modules_that_contain_each_other_end():
    a, b = nn.Module(), nn.Module()
    a.other, b.other, a.things = b, a, [nn.Parameter(1.0)]
    a.things.append(a.things)
    assert [n for n, _ in a.named_parameters()] == ["things.0"]
    assert len(list(b.modules())) == 2


def test_a_shared_parameter_receives_the_sum():
    layer = nn.Linear(1, 1, bias=False, rng=0)
    net = nn.Sequential(layer, layer)
    w = layer.W.item()
    net([[3.0]]).sum().backward()
    assert_array_equal(layer.W.grad, [[2 * w * 3.0]])


def test_iterators_are_pytorchs():
    module = nn.Linear(2, 1, rng=0)
    assert next(module.parameters()) is module.W
    assert sum(p.size for p in module.parameters()) == 3


def test_one_name_for_two_parameters_is_refused():
    module = nn.Module()
    module.table = {1: nn.Parameter(1.0), "1": nn.Parameter(2.0)}
    with pytest.raises(ValueError, match=r"table\.1"):
        module.state_dict()


class Counted(nn.Module):
    """Buffers of every kind."""

    def __init__(self):
        self.inner = nn.BatchNorm1d(2)
        self.register_buffer("steps", 0)
        self.register_buffer("scratch", [0.0], persistent=False)
        self.register_buffer("nothing", None)
        self.more = [nn.Buffer([True, False]), nn.Parameter(1.0)]


def test_buffers_are_found_and_are_no_parameters():
    module = Counted()
    names = ["inner.running_mean", "inner.running_var", "inner.num_batches_tracked", "steps", "scratch", "more.0"]
    assert [name for name, _ in module.named_buffers()] == names
    assert [id(b) for b in module.buffers()] == [id(b) for _, b in module.named_buffers()]
    assert [name for name, _ in module.named_parameters()] == ["inner.weight", "inner.bias", "more.1"]
    assert module.nothing is None
    assert module.steps.dtype == np.int64
    assert set(module.state_dict()) == {*names, "inner.weight", "inner.bias", "more.1"} - {"scratch"}
    with pytest.raises(TypeError, match="Tensor"):
        module.register_buffer("text", "abc")


def test_a_buffer_stays_one_in_copies():
    module = Counted()
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(twin.scratch) is nn.Buffer
        assert not twin.scratch.persistent
        assert twin.steps.persistent
        twin.steps.data = 5
        assert module.steps.item() == 0


def test_children_are_those_directly_inside():
    module = Everything()
    assert [name for name, _ in module.named_children()] == ["first", "blocks.0", "blocks.1.1", "heads.a", "net"]
    assert [id(m) for m in module.children()] == [id(m) for _, m in module.named_children()]
    assert list(nn.Tanh().children()) == []


def test_apply_goes_from_the_inside_out_and_once():
    module, seen = Everything(), []
    module.again = module.net
    assert module.apply(lambda m: seen.append(m)) is module
    named = {id(m): name for name, m in module.named_modules()}
    order = ["first", "blocks.0", "blocks.1.1", "heads.a", "net.0", "net.1", "net", ""]
    assert [named[id(m)] for m in seen] == order
    a, b = nn.Module(), nn.Module()
    a.other, b.other = b, a
    seen.clear()
    a.apply(seen.append)
    assert seen == [b, a]


def test_apply_fills_the_weights():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    net.apply(lambda m: nn.init.ones_(m.W) if isinstance(m, nn.Linear) else None)
    assert all((layer.W == 1).all() for layer in (net[0], net[2]))


# --- precision --------------------------------------------------------------------------------------------------------


def test_conversion_is_in_place_with_gradients_hooks_and_identity():
    module, calls = Counted(), []
    kept = [*module.parameters(), *module.buffers()]
    module.inner.weight.register_hook(lambda ct: calls.append(ct.dtype))
    (module.inner(np.eye(2)).sum() + module.more[1] * 1.0).backward()
    grads = [p.grad for p in module.parameters()]
    assert module.float() is module
    assert [id(h) for h in [*module.parameters(), *module.buffers()]] == [id(h) for h in kept]
    for p, g in zip(module.parameters(), grads, strict=True):
        assert p.dtype == p.grad.dtype == np.float32
        assert p.requires_grad
        assert p.is_leaf
        assert_array_equal(p.grad, g.astype(np.float32))
    assert [b.dtype for b in module.buffers()] == [np.float32, np.float32, np.int64, np.int64, np.float32, np.bool_]
    module.inner(np.eye(2, dtype=np.float32)).sum().backward()
    assert module.inner.weight.grad.dtype == np.float32
    assert calls == [np.float64, np.float32]
    assert all(p.dtype == np.float64 for p in module.double().parameters())
    assert module.to("float32").more[1].dtype == np.float32


def test_conversion_sees_what_was_written_to_data_and_leaves_old_graphs():
    layer = nn.Linear(2, 1, rng=0)
    out = layer([[1.0, 2.0]]).sum()
    layer.W.data[...] = 7.0
    lent = layer.W.data
    layer.float()
    with pytest.raises(ValueError, match="read-only"):
        lent[...] = 9.0
    assert (layer.W == 7).all()
    out.backward()
    assert_array_equal(layer.W.grad, [[1, 2]])
    assert layer.W.grad.dtype == np.float32


@pytest.mark.parametrize("dtype", [int, "complex128", bool])
def test_conversion_to_what_cannot_be_learned_is_refused(dtype):
    layer = nn.Linear(2, 1, rng=0)
    with pytest.raises(TypeError, match=r"Linear.to: dtype must be floating point; got"):
        layer.to(dtype)
    assert layer.W.dtype == np.float64


def test_parameters_are_held_fixed_together():
    net = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0))
    assert net.requires_grad_(False) is net
    assert not net(np.ones((1, 2))).requires_grad
    net.requires_grad_()
    assert all(p.requires_grad for p in net.parameters())


# --- training ---------------------------------------------------------------------------------------------------------


def test_training_is_true_without_a_constructor_and_switched_everywhere():
    module = Everything()
    assert all(m.training for m in module.modules())
    assert module.eval() is module
    assert not any(m.training for m in module.modules())
    assert all(m.training for m in module.train().modules())
    assert nn.Module.training


def test_zero_grad_forgets():
    module = nn.Linear(2, 1, rng=0)
    module(np.ones((3, 2))).sum().backward()
    assert module.b.grad is not None
    module.zero_grad()
    assert module.W.grad is module.b.grad is None


def test_a_parameter_is_a_leaf_that_requires_a_gradient():
    assert nn.Parameter([1.0]).requires_grad
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    assert nn.Parameter(np.ones(2, np.float32)).dtype == np.float32
    assert type(nn.Parameter([1.0]) * 2) is Tensor
    with pytest.raises(TypeError, match="int64"):
        nn.Parameter([1, 2])


# --- state ------------------------------------------------------------------------------------------------------------


def test_state_is_a_snapshot():
    module = nn.Linear(2, 1, rng=0)
    state = module.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    module.W.data[...] = 9
    for name, value in before.items():
        assert_array_equal(state[name], value)
    state["b"][...] = 7
    module.load_state_dict(before)
    assert_array_equal(module.W.detach().numpy(), before["W"])
    before["W"][...] = 5
    assert not (module.W == 5).any()


def test_state_loads_into_a_twin_with_gradients_and_identity_kept():
    source, target = Everything(), Everything()
    for p in source.parameters():
        p.data[...] = np.random.default_rng(p.size).normal(size=p.shape)
    kept = list(target.parameters())
    target.load_state_dict(source.state_dict())
    for a, b, c in zip(source.parameters(), target.parameters(), kept, strict=True):
        assert b is c
        assert b.requires_grad
        assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_state_takes_tensors_lists_and_other_precisions():
    module = nn.Linear(2, 1, rng=0, dtype=np.float32)
    module.load_state_dict({"W": Tensor([[1.0, 2.0]], requires_grad=True), "b": [3]})
    assert module.W.dtype == module.b.dtype == np.float32
    assert_array_equal(module([[1.0, 1.0]]).detach().numpy(), [[6.0]])


GOOD = {"W": np.zeros((1, 2)), "b": np.zeros(1)}


@pytest.mark.parametrize(
    ("state", "error", "lines"),
    [
        ({"W": GOOD["W"]}, ValueError, ["missing: b (1,)"]),
        (GOOD | {"c": np.ones((4, 4))}, ValueError, ["unexpected: c (4, 4)"]),
        (GOOD | {"W": np.zeros((2, 1))}, ShapeError, ["shape: W is (2, 1), wanted (1, 2)"]),
        ({"W": np.zeros(3), "bias": np.zeros(1)}, ValueError, ["missing: b", "unexpected: bias", "shape: W is (3,)"]),
        ({}, ValueError, ["missing: W", "missing: b", "nothing was loaded", "Linear"]),
        (GOOD | {"b": ["a"]}, TypeError, ["b has dtype", "real numbers"]),
        (GOOD | {"b": [1j]}, TypeError, ["complex"]),
        ([1, 2], TypeError, ["list"]),
    ],
)
def test_loading_is_all_or_nothing_and_names_every_difference(state, error, lines):
    module = nn.Linear(2, 1, rng=0)
    before = module.state_dict()
    with pytest.raises(error) as caught:
        module.load_state_dict(state)
    for line in lines:
        assert line in str(caught.value)
    for name, value in module.state_dict().items():
        assert_array_equal(value, before[name])


def test_buffers_are_loaded_with_the_rest_or_not_at_all():
    module = Counted()
    before, other = module.state_dict(), module.state_dict()
    other |= {"steps": 7.0, "more.0": [0, 1], "inner.num_batches_tracked": np.float32(3)}
    module.load_state_dict(other)
    assert module.steps.item() == 7
    assert module.steps.dtype == np.int64
    assert module.more[0].dtype == np.bool_
    assert_array_equal(module.more[0].numpy(), [False, True])
    for bad, words in (({"steps": 1.5}, "steps has values that are no int64"), ({"more.0": [2, 0]}, "more.0.*bool")):
        with pytest.raises(TypeError, match=words):
            module.load_state_dict(before | bad)
    missing = {k: v for k, v in before.items() if k != "inner.running_var"} | {"scratch": [1.0]}
    with pytest.raises(
        ValueError, match=r"nothing was loaded\n  missing: inner.running_var \(2,\)\n  unexpected: scratch"
    ):
        module.load_state_dict(missing)
    with pytest.raises(ShapeError, match=r"shape: steps is \(1,\), wanted \(\)"):
        module.load_state_dict(before | {"steps": [1]})
    assert module.steps.item() == 7


def test_copies_and_pickles_share_what_was_shared_and_nothing_else():
    for twin in (copy.deepcopy(Pair()), pickle.loads(pickle.dumps(Pair()))):
        assert twin.decoder is twin.encoder
        assert twin.again[0] is twin.encoder.W
        assert type(twin.encoder.W) is nn.Parameter
        assert twin.encoder.W.requires_grad
    original = Pair()
    twin = copy.deepcopy(original)
    twin.encoder.W.data[...] = 0
    assert (original.encoder.W != 0).all()


def test_a_module_is_freed_without_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        module = Everything()
        module(np.ones((2, 2))).sum().backward()
        gone = weakref.ref(module)
        list(module.named_parameters())
        del module
        assert gone() is None
    finally:
        gc.enable()


# --- text -------------------------------------------------------------------------------------------------------------


def test_representation_is_nested():
    module = nn.Module()
    module.net = nn.Sequential(nn.Linear(2, 3, bias=False, dtype=np.float32), nn.Softmax())
    module.loss = nn.BCELoss()
    assert repr(module) == (
        "Module(\n"
        "  (net): Sequential(\n"
        "    (0): Linear(2, 3, bias=False, dtype=float32)\n"
        "    (1): Softmax(axis=-1)\n"
        "  )\n"
        "  (loss): BCELoss(reduction='mean')\n"
        ")"
    )


def test_summary_counts_shared_parameters_once_and_says_what_is_fixed():
    module = Pair()
    module.encoder.b.requires_grad = False
    lines = module.summary().splitlines()
    assert lines[0].split() == ["module", "kind", "parameters", "count"]
    assert lines[2].split() == ["encoder", "Linear", "W", "(2,", "2),", "b", "(2,)", "6"]
    assert lines[-1].split() == ["total", "2", "of", "them", "fixed", "6"]
    assert "(itself)" in nn.Linear(1, 1, rng=0).summary()
    assert nn.Module().summary().splitlines()[-1].split() == ["total", "0"]


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match=r"Everything2?: write forward|Module: write forward"):
        nn.Module()(1.0)
