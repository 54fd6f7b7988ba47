"""Every module of `nn.__all__`: made, run, differentiated, saved, copied and printed, the moment it exists."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, gradcheck, nn

RNG = np.random.default_rng(6)
X = RNG.normal(size=(5, 4))
X[np.abs(X) < 0.05] = 0.3  # away from kinks, for the differences
P = RNG.uniform(0.1, 0.9, (5, 4))
LOG_P = np.log(RNG.dirichlet(np.ones(4), 5))
LABELS, BITS = np.array([0, 3, 1, 2, 2]), RNG.integers(0, 2, (5, 4)) * 1.0

# How each is made where it takes something, and what it is called with.
MADE = {
    "BatchNorm1d": lambda: nn.BatchNorm1d(4),
    "DigitNet": lambda: nn.DigitNet(4, 3, 2, rng=0),
    "Dropout": lambda: nn.Dropout(0.5, rng=0),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "Linear": lambda: nn.Linear(4, 3, rng=0),
    "Residual": lambda: nn.Residual(nn.Linear(4, 4, rng=0)),
    "Sequential": lambda: nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh(), nn.Linear(3, 2, rng=1)),
    "BCELoss": lambda: nn.BCELoss(weight=[1.0, 2.0, 3.0, 0.5]),
    "BCEWithLogitsLoss": lambda: nn.BCEWithLogitsLoss(pos_weight=[1.0, 2.0, 3.0, 0.5]),
    "CrossEntropyLoss": lambda: nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0, 0.5]),
}
CALLED = {
    "BCELoss": (P, BITS),
    "BCEWithLogitsLoss": (X, BITS),
    "CrossEntropyLoss": (X, LABELS),
    "FocalLoss": (X, BITS),
    "HingeLoss": (X, 2 * BITS - 1),
    "HuberLoss": (X, P),
    "KLDivLoss": (LOG_P, P),
    "L1Loss": (X, P),
    "MSELoss": (X, P),
    "MultiMarginLoss": (X, LABELS),
    "NLLLoss": (LOG_P, LABELS),
    "SmoothL1Loss": (X, P),
}
CLASSES = [
    name
    for name in nn.__all__
    if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module) and name != "Module"
]
every = pytest.mark.parametrize("name", CLASSES)


def made(name):
    return MADE.get(name, getattr(nn, name))()


def called(name):
    return CALLED.get(name, (X,))


def seeded(module):
    """The module with its own generators at their start, so that two calls draw alike."""
    for inner in module.modules():
        if isinstance(inner, nn.Dropout):
            inner.rng = np.random.default_rng(1)
    return module


@every
def test_it_runs_forward_and_backward_in_both_modes(name):
    x, *others = called(name)
    for training in (True, False):
        module, leaf = made(name).train(training), Tensor(x, requires_grad=True)
        out = module(leaf, *others)
        assert isinstance(out, Tensor)
        (out * 1.0).sum().backward()
        assert leaf.grad.shape == x.shape
        assert np.isfinite(leaf.grad).all()
        assert all(p.grad.shape == p.shape for p in module.parameters())


@every
def test_its_gradients_are_those_of_differences(name):
    x, *others = called(name)
    module, leaf = made(name), Tensor(x, requires_grad=True)
    v = np.random.default_rng(2).normal(size=module(x, *others).shape)
    assert gradcheck(lambda: (seeded(module)(leaf, *others) * v).sum(), [leaf, *module.parameters()])


@every
def test_it_stays_in_float32(name):
    x, *others = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in called(name)]
    module, leaf = made(name).float(), Tensor(x, requires_grad=True)
    assert all(held.dtype.kind != "f" or held.dtype == np.float32 for held in [*module.parameters(), *module.buffers()])
    out = seeded(module)(leaf, *others)
    (out * 1.0).sum().backward()
    assert out.dtype == leaf.grad.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in module.parameters())
    wide = seeded(made(name))(*called(name)).detach().numpy()
    assert_allclose(out.detach().numpy(), wide, rtol=1e-4, atol=1e-5)  # sums of four terms of up to 5, in 7 digits


@every
def test_its_state_goes_out_and_comes_back(name):
    module, twin = made(name), made(name)
    for held in [*module.parameters(), *module.buffers()]:
        held.data = np.asarray(held.numpy() if not held.requires_grad else held.detach().numpy()) * 3 + 1
    state = module.state_dict()
    assert list(state) == [n for n, _ in module.named_parameters()] + [n for n, _ in module.named_buffers()]
    twin.load_state_dict(state)
    assert state.keys() == twin.state_dict().keys()
    for key, value in twin.state_dict().items():
        assert_array_equal(value, state[key])
        assert value.dtype == state[key].dtype
    for mode in (True, False):
        a, b = seeded(module.train(mode))(*called(name)), seeded(twin.train(mode))(*called(name))
        assert_array_equal(a.detach().numpy(), b.detach().numpy())


@every
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_its_copies_are_alike_and_apart(name, copied):
    module = made(name)
    twin = copied(module)
    assert type(twin) is type(module)
    assert repr(twin) == repr(module)
    before = module.state_dict()
    for held in [*twin.parameters(), *twin.buffers()]:
        assert type(held) in (nn.Parameter, nn.Buffer)
    a, b = module(*called(name)), twin(*called(name))  # a generator of its own goes on from where it was
    assert_array_equal(a.detach().numpy(), b.detach().numpy())
    for held in twin.parameters():
        held.data[...] = 0
    for key, p in module.named_parameters():
        assert_array_equal(p.detach().numpy(), before[key])


@every
def test_its_representation_makes_it_again(name):
    """Its arguments are there, where they are not the default; weights of a loss are data and are not."""
    text = repr(made(name))
    assert text.startswith(f"{name}(")
    if "\n" not in text and not list(made(name).buffers()):
        assert repr(eval(text, vars(nn).copy())) == text
    for module in made(name).modules():
        assert "object at" not in repr(module)


@every
def test_it_does_not_write_to_its_inputs(name):
    given = [a.copy() for a in called(name)]
    for a in given:
        a.flags.writeable = False
    made(name)(*given)
    made(name)(*(np.asfortranarray(a) if a.ndim > 1 else a[::-1][::-1] for a in given))


@every
def test_memory_layout_does_not_matter(name):
    plain = seeded(made(name))(*called(name)).detach().numpy()
    strided = [np.repeat(a, 2, axis=0)[::2] for a in called(name)]
    fortran = [np.asfortranarray(a) for a in called(name)]
    for given in (strided, fortran):
        # BLAS takes another kernel for another layout: sums of four products.
        assert_allclose(seeded(made(name))(*given).detach().numpy(), plain, rtol=1e-13, atol=1e-15)


@every
def test_hooks_and_capture_change_no_value(name):
    module, seen = seeded(made(name)), []
    plain = module(*called(name)).detach().numpy()
    module = seeded(made(name))
    module.register_forward_hook(lambda *_: seen.append(1))
    module.register_full_backward_hook(lambda *_: seen.append(2))
    x, *others = called(name)
    with nn.capture(module) as record:
        out = module(Tensor(x, requires_grad=True), *others)
    assert_array_equal(out.detach().numpy(), plain)
    (out * 1.0).sum().backward()
    assert seen == [1, 2]
    assert_array_equal(record.deltas[""], np.ones(out.shape))


def test_everything_public_is_there():
    for name in nn.__all__:
        assert getattr(nn, name) is not None
    assert {*CALLED, *MADE} <= set(CLASSES)
    for name in nn.functional.__all__:
        assert callable(getattr(nn.functional, name))
