"""Layers, first values and the generator they come from."""

import copy
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.nn import functional as F
from tinygrad_fnn.nn import init
from tinygrad_fnn.randomness import as_generator, manual_seed

# --- Linear -----------------------------------------------------------------------------------------------------------


def test_linear_holds_weights_and_biases_and_nothing_else():
    layer = nn.Linear(3, 2, rng=0)
    assert list(vars(layer)) == ["W", "b"]
    assert layer.W.shape == (2, 3)
    assert layer.b.shape == (2,)
    assert nn.Linear(3, 2, bias=False).b is None


@pytest.mark.parametrize("shape", [(3,), (5, 3), (4, 5, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_the_affine_map(shape, bias):
    layer = nn.Linear(3, 2, bias, rng=0)
    x = np.random.default_rng(0).normal(size=shape)
    expected = x @ layer.W.detach().numpy().T + (layer.b.detach().numpy() if bias else 0)
    for given in (x, Tensor(x), Tensor(x, requires_grad=True)):
        assert_allclose(layer(given).detach().numpy(), expected, rtol=1e-14, atol=1e-16)


def test_linear_takes_lists():
    layer = nn.Linear(2, 1, rng=0)
    assert_array_equal(layer([[1, 2]]).detach().numpy(), layer(np.array([[1.0, 2.0]])).detach().numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_integer_inputs_are_taken_in_the_dtype_of_the_layer(dtype, kind):
    layer = nn.Linear(4, 2, rng=0, dtype=dtype)
    x = np.random.default_rng(0).integers(0, 256, (6, 4)).astype(kind)
    for given in (x, Tensor(x)):
        z = layer(given)
        assert z.dtype == dtype
        assert_array_equal(z.detach().numpy(), layer(x.astype(dtype)).detach().numpy())
        z.sum().backward()
        assert layer.W.grad.dtype == dtype


def test_floating_inputs_follow_numpys_promotion():
    layer = nn.Linear(4, 2, rng=0, dtype=np.float32)
    z = layer(np.ones((3, 4)))
    assert z.dtype == np.float64
    z.sum().backward()
    assert layer.W.grad.dtype == np.float32
    assert layer(np.ones((3, 4), np.float32)).dtype == np.float32


def test_first_values_are_even_within_glorots_bound_bias_included():
    layer = nn.Linear(400, 25, rng=0)
    theta = np.column_stack([layer.b.detach().numpy(), layer.W.detach().numpy()])
    bound = np.sqrt(6) / np.sqrt(425)
    assert np.abs(theta).max() < bound
    # 10,000 draws: their extremes reach 0.999 of the bound, the variance is bound**2 / 3 within 5 standard deviations.
    assert theta.max() > 0.999 * bound
    assert theta.min() < -0.999 * bound
    assert_allclose(layer.W.detach().numpy().var(), bound**2 / 3, rtol=5 * np.sqrt(0.8 / 10_000))
    assert (layer.b != 0).all()


def test_a_seed_gives_the_same_numbers_in_both_precisions():
    wide, narrow = nn.Linear(3, 2, rng=5), nn.Linear(3, 2, rng=5, dtype=np.float32)
    assert_array_equal(wide.W.detach().numpy().astype(np.float32), narrow.W.detach().numpy())
    assert narrow.b.dtype == np.float32


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        ((0, 2), ValueError, "in_features must be > 0; got 0"),
        ((2, -1), ValueError, "out_features must be > 0; got -1"),
        ((2.0, 1), TypeError, "in_features must be an integer > 0; got 2.0"),
        ((2, "3"), TypeError, "out_features.*'3'"),
        ((True, 1), TypeError, "in_features.*True"),
        ((None, 1), TypeError, "in_features"),
    ],
)
def test_linear_refuses_widths(args, error, words):
    with pytest.raises(error, match=f"Linear: {words}"):
        nn.Linear(*args)


def test_linear_refuses_integer_parameters():
    with pytest.raises(TypeError, match="floating point; got int64"):
        nn.Linear(2, 1, dtype=int)


def test_a_bias_column_left_in_is_named_at_the_users_line():
    net = nn.Sequential(nn.Linear(400, 25), nn.Sigmoid(), nn.Linear(25, 10))
    with pytest.raises(ShapeError, match=r"401 features, W expects 400.*\(7, 401\).*\(25, 400\).*bias column"):
        net(np.ones((7, 401)))


# --- Dropout, Flatten, Identity ---------------------------------------------------------------------------------------


def test_dropout_keeps_the_expectation():
    x = np.full((300, 100), 3.0)
    for p in (0.2, 0.5, 0.9):
        out = nn.Dropout(p, rng=0)(x).numpy()
        assert set(np.unique(out)) == {0, 3 / (1 - p)}
        dropped = (out == 0).mean()
        assert abs(dropped - p) < 5 * np.sqrt(p * (1 - p) / x.size)  # 5 standard errors
        assert_array_equal(nn.Dropout(p, rng=0)(x).numpy(), out)


def test_dropout_moves_on_and_starts_again_with_its_seed():
    layer, x = nn.Dropout(0.5, rng=0), np.ones((4, 50))
    first, second = layer(x).numpy(), layer(x).numpy()
    assert not np.array_equal(first, second)
    again = nn.Dropout(0.5, rng=np.random.default_rng(0))
    assert_array_equal(again(x).numpy(), first)
    assert_array_equal(again(x).numpy(), second)
    assert_array_equal(F.dropout(x, 0.5, rng=0).numpy(), first)


def test_dropout_follows_the_packages_generator_also_in_a_copy():
    layer, x = copy.deepcopy(nn.Dropout(0.5)), np.ones((4, 50))
    manual_seed(1)
    first = layer(x).numpy()
    manual_seed(1)
    assert_array_equal(nn.Dropout(0.5)(x).numpy(), first)


def test_dropout_does_nothing_in_evaluation_mode_or_without_probability():
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert nn.Dropout(0.5, rng=rng).eval()(x) is x
    assert nn.Dropout(0.0, rng=rng)(x) is x
    assert F.dropout(x, training=False, rng=rng) is x
    assert rng.bit_generator.state == state
    assert_array_equal(F.dropout([1, 2], 0.0).numpy(), [1.0, 2.0])


def test_a_dropped_entry_has_no_share_whatever_it_is():
    x = Tensor([1.0, np.nan, np.inf, 2.0], requires_grad=True)
    keep = np.array([True, False, False, True])
    seed = next(s for s in range(1000) if ((np.random.default_rng(s).random(4) >= 0.5) == keep).all())
    out = F.dropout(x, 0.5, rng=seed)
    out.sum().backward()
    assert_array_equal(out.detach().numpy(), [2, 0, 0, 4])
    assert_array_equal(x.grad, [2, 0, 0, 2])
    all_dropped = F.dropout(x, 1.0)
    all_dropped.sum().backward()
    assert_array_equal(all_dropped.detach().numpy(), [0, 0, 0, 0])


def test_dropout_drops_the_same_in_both_precisions():
    x = np.random.default_rng(1).normal(size=(5, 6))
    wide, narrow = F.dropout(x, 0.4, rng=2), F.dropout(x.astype(np.float32), 0.4, rng=2)
    assert narrow.dtype == np.float32
    assert_allclose(narrow.numpy(), wide.numpy(), rtol=1e-6)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan, "0.5", None, True])
def test_dropout_refuses_what_is_no_probability(p):
    for call in (nn.Dropout, lambda p: F.dropout([1.0], p)):
        with pytest.raises((TypeError, ValueError), match=r"(?i)dropout: p must be a number in \[0, 1\]; got"):
            call(p)


@pytest.mark.parametrize(
    ("axes", "shape", "flat"),
    [
        ((), (5, 2, 3), (5, 6)),
        ((), (5, 4), (5, 4)),
        ((), (0, 2, 3), (0, 6)),
        ((0,), (5, 2, 3), (30,)),
        ((0, 1), (5, 2, 3), (10, 3)),
        ((-2, -1), (5, 2, 3), (5, 6)),
        ((1, 1), (5, 2, 3), (5, 2, 3)),
    ],
)
def test_flatten_joins_axes(axes, shape, flat):
    x = np.arange(np.prod(shape)).reshape(shape) * 1.0
    assert_array_equal(nn.Flatten(*axes)(x).numpy(), x.reshape(flat))


@pytest.mark.parametrize(("axes", "shape"), [((), (5,)), ((2, 1), (5, 2, 3)), ((0, 3), (5, 2, 3)), ((-4,), (5, 2, 3))])
def test_flatten_refuses_axes_that_are_not_there(axes, shape):
    with pytest.raises(ShapeError, match=r"Flatten: axes .* the input has shape \(5"):
        nn.Flatten(*axes)(np.zeros(shape))


def test_identity_gives_the_very_tensor():
    x = Tensor([1.0])
    assert nn.Identity()(x) is x
    assert isinstance(nn.Identity()([1.0]), Tensor)


# --- Sequential and Residual ------------------------------------------------------------------------------------------


def test_sequential_is_a_sequence():
    layers = [nn.Linear(3, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1)]
    net = nn.Sequential(*layers)
    assert list(net) == layers
    assert len(net) == 3
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert list(net[1:]) == layers[1:]
    with pytest.raises(IndexError):
        net[3]
    x = np.ones((4, 3))
    assert_array_equal(net(x).detach().numpy(), layers[2](np.tanh(layers[0](x))).detach().numpy())
    assert_array_equal(nn.Sequential()(x), x)


def test_sequential_grows_and_changes():
    net = nn.Sequential(nn.Linear(3, 2, rng=0))
    assert net.append(nn.Tanh()) is net
    assert net.extend([nn.Linear(2, 2, rng=1), nn.ReLU()]) is net
    assert [name for name, _ in net.named_children()] == ["0", "1", "2", "3"]
    net[1] = nn.Sigmoid()
    net[-1] = nn.Identity()
    assert [type(layer).__name__ for layer in net] == ["Linear", "Sigmoid", "Linear", "Identity"]
    assert [name for name, _ in net.named_parameters()] == ["0.W", "0.b", "2.W", "2.b"]
    with pytest.raises(TypeError, match="layer 5 must be a Module; got int"):
        net.extend([nn.Tanh(), 3])
    assert len(net) == 4
    with pytest.raises(TypeError, match="layer 4 must be a Module; got type"):
        net.append(nn.Tanh)
    with pytest.raises(TypeError, match="layer 0 must be a Module"):
        net[0] = None
    with pytest.raises(IndexError):
        net[4] = nn.Tanh()


def test_sequential_of_names():
    net = nn.Sequential({"hidden": nn.Linear(3, 2, rng=0), "act": nn.Tanh()})
    assert list(net.state_dict()) == ["hidden.W", "hidden.b"]
    assert net["act"] is net[1]
    net["act"] = nn.ReLU()
    assert [name for name, _ in net[:1].named_children()] == ["hidden"]
    assert repr(net[1:]) == "Sequential(\n  (act): ReLU()\n)"
    net.append(nn.Tanh())
    assert [name for name, _ in net.named_children()] == ["hidden", "act", "2"]
    assert_array_equal(
        net(np.ones((1, 3))).detach().numpy(), np.tanh(np.maximum(net[0](np.ones((1, 3))), 0)).detach().numpy()
    )
    for call in (lambda: net["no"], lambda: net.__setitem__("no", nn.Tanh())):
        with pytest.raises(KeyError, match="no layer is called 'no'"):
            call()
    with pytest.raises(ValueError, match="the name '1' is taken"):
        nn.Sequential({"1": nn.Tanh()}).append(nn.Tanh())
    for name in ("a.b", "", 3):
        with pytest.raises(TypeError, match="a name must be text without a dot"):
            nn.Sequential({name: nn.Tanh()})


def test_a_slice_of_a_sequential_counts_from_zero_and_shares_its_layers():
    net = nn.Sequential(nn.Tanh(), nn.Linear(2, 2, rng=0), nn.Tanh())
    part = net[1:].append(nn.ReLU())
    assert [name for name, _ in part.named_children()] == ["0", "1", "2"]
    assert part[0] is net[1]
    assert len(net) == 3


def test_residual_adds_and_refuses_other_shapes():
    net = nn.Residual(nn.Linear(3, 3, rng=0))
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert_array_equal(net(x).detach().numpy(), x + net.f(x).detach().numpy())
    assert [name for name, _ in net.named_parameters()] == ["f.W", "f.b"]
    assert_array_equal(nn.Residual(nn.Tanh())([0.0, 100.0]).numpy(), [0, 101])
    leaf = Tensor(x, requires_grad=True)
    net(leaf).sum().backward()
    assert_allclose(leaf.grad, 1 + net.f.W.detach().numpy().sum(axis=0) * np.ones((5, 3)), rtol=1e-14)
    for f in (nn.Linear(3, 2, rng=0), nn.Linear(3, 1, rng=0)):
        with pytest.raises(ShapeError, match=r"Residual: x is \(5, 3\), f\(x\) is \(5, .\); .*Linear"):
            nn.Residual(f)(x)
    with pytest.raises(TypeError, match="Residual: f must be a Module; got ufunc"):
        nn.Residual(np.tanh)


def test_sequential_keeps_attributes_assigned_to_it():
    net = nn.Sequential(nn.Linear(1, 1, rng=0))
    net.extra = nn.Parameter(1.0)
    assert [name for name, _ in net.named_parameters()] == ["0.W", "0.b", "extra"]


@pytest.mark.parametrize(
    ("layer", "hint"), [([nn.Tanh()], r"Sequential\(\*layers\)"), (nn.Tanh, r"Tanh\(\.\.\.\)"), (np.tanh, "ufunc")]
)
def test_sequential_refuses_what_is_no_module(layer, hint):
    with pytest.raises(TypeError, match=f"layer 1 must be a Module.*{hint}"):
        nn.Sequential(nn.Tanh(), layer)


def test_functional_has_pytorchs_names():
    for name in ("linear", "relu", "sigmoid", "tanh", "softmax", "log_softmax", "softplus", "one_hot"):
        assert callable(getattr(F, name))


def test_a_layer_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    layer, other = nn.Linear(3, 2, rng=0), torch.nn.Linear(3, 2, dtype=torch.float64)
    with torch.no_grad():
        other.weight.copy_(torch.tensor(layer.W.detach().numpy()))
        other.bias.copy_(torch.tensor(layer.b.detach().numpy()))
    x = np.random.default_rng(0).normal(size=(5, 3))
    (layer(x) ** 2).sum().backward()
    (other(torch.tensor(x)) ** 2).sum().backward()
    assert_allclose(layer.W.grad, other.weight.grad.numpy(), rtol=1e-12)
    assert_allclose(layer.b.grad, other.bias.grad.numpy(), rtol=1e-12)


# --- randomness -------------------------------------------------------------------------------------------------------


def test_the_packages_generator_is_set_by_manual_seed_also_for_who_holds_it():
    held = as_generator(None)
    manual_seed(3)
    first = nn.Linear(3, 2).W.detach().numpy()
    assert manual_seed(np.int64(3)) is held
    assert_array_equal(nn.Linear(3, 2).W.detach().numpy(), first)
    assert not np.array_equal(nn.Linear(3, 2).W.detach().numpy(), first)
    assert_array_equal(nn.Linear(3, 2, rng=3).W.detach().numpy(), first)


def test_a_generator_moves_on_and_a_seed_does_not():
    rng = np.random.default_rng(0)
    assert as_generator(rng) is rng
    assert not np.array_equal(init.glorot_uniform((2, 3), rng), init.glorot_uniform((2, 3), rng))
    assert_array_equal(init.glorot_uniform((2, 3), 1), init.glorot_uniform((2, 3), 1))
    assert as_generator(np.random.SeedSequence(4)).random() == as_generator(4).random()


def test_numpys_global_state_is_never_touched():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # the legacy state is what must not change
    manual_seed(0)
    nn.DigitNet(hidden=3)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002  # as above


@pytest.mark.parametrize("rng", [np.random.RandomState(0), np.random, "7", 1.0, True, [1, 2]])
def test_other_sources_of_randomness_are_refused(rng):
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator.*default_rng"):
        nn.Linear(2, 1, rng=rng)
    with pytest.raises(TypeError, match="manual_seed"):
        manual_seed(rng)


def test_negative_seeds_and_no_seed_are_refused():
    with pytest.raises(ValueError, match="rng must be >= 0; got -1"):
        as_generator(-1)
    for nothing in (None, np.random.default_rng(0)):
        with pytest.raises(TypeError, match="manual_seed"):
            manual_seed(nothing)


def test_threads_may_draw_from_the_packages_generator():
    manual_seed(0)
    expected = np.sort(as_generator(None).random(8 * 500))
    manual_seed(0)
    drawn = []

    def draw():
        mine = [as_generator(None).random() for _ in range(500)]
        drawn.extend(mine)

    threads = [threading.Thread(target=draw) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_array_equal(np.sort(drawn), expected)  # every number once, in whatever order


def test_no_grad_gives_results_without_a_graph():
    with tg.no_grad():
        assert not nn.Linear(2, 1, rng=0)(np.ones((1, 2))).requires_grad
