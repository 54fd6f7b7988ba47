"""Normalization against its formulas by hand and PyTorch, and what it keeps from batch to batch."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, gradcheck, nn
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.nn import functional as F

RNG = np.random.default_rng(4)
FLAT, LONG = RNG.normal(2, 3, (6, 4)), RNG.normal(-1, 2, (5, 4, 3))
SCALE, SHIFT = RNG.normal(size=4), RNG.normal(size=4)


def filled(norm):
    """The layer with scale and shift that are not 1 and 0."""
    if norm.weight is not None:
        norm.weight.data = RNG.normal(size=norm.weight.shape)
    if norm.bias is not None:
        norm.bias.data = RNG.normal(size=norm.bias.shape)
    return norm


def by_hand(x, eps, scale=None, shift=None, mean=None, var=None):
    """Over the batch, one feature after the other."""
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        column = x[:, c]
        m = column.mean() if mean is None else mean[c]
        v = ((column - m) ** 2).mean() if var is None else var[c]
        out[:, c] = (column - m) / np.sqrt(v + eps)
        out[:, c] = out[:, c] * (1 if scale is None else scale[c]) + (0 if shift is None else shift[c])
    return out


# --- BatchNorm1d ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x", [FLAT, LONG], ids=["flat", "long"])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_its_formula_in_both_modes(x, affine):
    norm = filled(nn.BatchNorm1d(4, eps=0.01, momentum=0.25, affine=affine))
    scale, shift = (norm.weight.detach().numpy(), norm.bias.detach().numpy()) if affine else (None, None)
    assert_allclose(norm(x).detach().numpy(), by_hand(x, 0.01, scale, shift), rtol=1e-12, atol=1e-14)
    columns = np.moveaxis(x, 1, 0).reshape(4, -1)
    mean, var = 0.25 * columns.mean(axis=1), 0.75 + 0.25 * columns.var(axis=1, ddof=1)
    assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-13)
    assert_allclose(norm.running_var.numpy(), var, rtol=1e-13)
    assert norm.num_batches_tracked.item() == 1
    norm.eval()
    assert_allclose(norm(x[:1]).detach().numpy(), by_hand(x[:1], 0.01, scale, shift, mean, var), rtol=1e-12, atol=1e-14)
    assert norm.num_batches_tracked.item() == 1


def test_without_momentum_the_statistics_are_the_average_over_batches():
    norm = nn.BatchNorm1d(4, momentum=None)
    batches = [RNG.normal(k, 1 + k, (7, 4)) for k in range(5)]
    for batch in batches:
        norm(batch)
    assert_allclose(norm.running_mean.numpy(), np.mean([b.mean(axis=0) for b in batches], axis=0), rtol=1e-13)
    assert_allclose(norm.running_var.numpy(), np.mean([b.var(axis=0, ddof=1) for b in batches], axis=0), rtol=1e-13)


def test_without_running_statistics_the_batch_is_used_in_both_modes():
    norm = nn.BatchNorm1d(4, track_running_stats=False, affine=False)
    assert norm.state_dict() == {}
    training = norm(FLAT).numpy()
    assert_array_equal(norm.eval()(FLAT).numpy(), training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("x", [FLAT, LONG], ids=["flat", "long"])
def test_gradients_of_batch_norm_to_second_order(x, training):
    norm = filled(nn.BatchNorm1d(4)).train(training)
    norm.running_var.data = [0.5, 2.0, 1.0, 3.0]
    v = RNG.normal(size=x.shape)
    leaves = [Tensor(x, requires_grad=True), norm.weight, norm.bias]
    assert gradcheck(lambda: (np.tanh(norm(leaves[0])) * v).sum(), leaves, second_order=True)


def test_a_graph_keeps_the_statistics_it_was_made_with():
    norm = nn.BatchNorm1d(4).eval()
    x = Tensor(FLAT, requires_grad=True)
    out = norm(x).sum()
    norm.train()(FLAT * 100)
    out.backward()
    assert_allclose(x.grad, np.full(FLAT.shape, 1 / np.sqrt(1 + 1e-5)), rtol=1e-14)


def test_running_statistics_are_followed_under_no_grad_and_never_tracked():
    norm = nn.BatchNorm1d(4)
    norm(Tensor(FLAT, requires_grad=True))
    with tg.no_grad():
        norm(FLAT)
    assert norm.num_batches_tracked.item() == 2
    assert norm.num_batches_tracked.dtype == np.int64
    assert not any(buffer.requires_grad for buffer in norm.buffers())


def test_integers_and_precisions():
    x = np.arange(24).reshape(6, 4)
    wide = nn.BatchNorm1d(4)(x).detach().numpy()
    for dtype in (np.float32, np.float64):
        norm = nn.BatchNorm1d(4, dtype=dtype)
        out = norm(x)
        assert out.dtype == norm.running_mean.dtype == norm.eval()(x).dtype == dtype
        assert_allclose(out.detach().numpy(), wide, rtol=1e-5)
        assert nn.LayerNorm(4, dtype=dtype)(x).dtype == dtype
    narrow = nn.BatchNorm1d(4, dtype=np.float32)
    assert narrow(x.astype(float)).dtype == np.float64
    assert narrow.running_var.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.BatchNorm1d(0), ValueError, "BatchNorm1d: num_features must be > 0"),
        (lambda: nn.BatchNorm1d(2, eps=-1.0), ValueError, "BatchNorm1d: eps must be >= 0"),
        (lambda: nn.BatchNorm1d(2, momentum=1.5), ValueError, r"BatchNorm1d: momentum must be a number in \[0, 1\]"),
        (lambda: nn.BatchNorm1d(2, dtype=int), TypeError, "BatchNorm1d: dtype must be floating point"),
        (lambda: nn.BatchNorm1d(3)(FLAT), ShapeError, r"BatchNorm1d.*\(m, 3\) or \(m, 3, L\); got \(6, 4\)"),
        (lambda: nn.BatchNorm1d(4)(FLAT[0]), ShapeError, r"got \(4,\)"),
        (
            lambda: nn.BatchNorm1d(4)(FLAT[:1]),
            ShapeError,
            r"two values for each feature; the input is \(1, 4\).*eval\(\)",
        ),
        (lambda: nn.BatchNorm1d(4)(FLAT[:0]), ShapeError, "two values"),
        (lambda: nn.BatchNorm1d(4)("abcd"), TypeError, "BatchNorm1d: x has dtype <U4, wanted numbers"),
        (lambda: nn.LayerNorm(4)([None] * 4), TypeError, "LayerNorm: x has dtype object"),
        (lambda: nn.LayerNorm(0), ValueError, "LayerNorm: normalized_shape"),
        (lambda: nn.LayerNorm("4"), ValueError, "LayerNorm: normalized_shape"),
        (lambda: nn.LayerNorm(()), ValueError, "LayerNorm: normalized_shape"),
        (
            lambda: nn.LayerNorm(3)(FLAT),
            ShapeError,
            r"layer_norm: x must end with normalized_shape \(3,\); got \(6, 4\)",
        ),
        (lambda: nn.LayerNorm((6, 4, 1))(FLAT), ShapeError, r"\(6, 4, 1\)"),
        (lambda: F.layer_norm(FLAT, 4, eps="0"), TypeError, "layer_norm: eps"),
    ],
)
def test_normalization_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_refused_batch_leaves_the_statistics():
    norm = nn.BatchNorm1d(4)
    before = norm.state_dict()
    with pytest.raises(ShapeError):
        norm(FLAT[:1])
    for name, value in norm.state_dict().items():
        assert_array_equal(value, before[name])


@pytest.mark.parametrize("x", [FLAT, LONG], ids=["flat", "long"])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_is_that_of_pytorch(x, momentum):
    torch = pytest.importorskip("torch")
    ours = filled(nn.BatchNorm1d(4, momentum=momentum))
    theirs = torch.nn.BatchNorm1d(4, momentum=momentum, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        x = x * 1.5 + 1
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out, other = ours(a), theirs(b)
        assert_allclose(out.detach().numpy(), other.detach().numpy(), rtol=1e-11, atol=1e-13)
        (out**3).sum().backward()
        (other**3).sum().backward()
        assert_allclose(a.grad, b.grad.numpy(), rtol=1e-9, atol=1e-12)  # sums that cancel
    for name, value in theirs.state_dict().items():
        assert_allclose(ours.state_dict()[name], value.numpy(), rtol=1e-13)
    for name, p in theirs.named_parameters():
        assert_allclose(getattr(ours, name).grad, p.grad.numpy(), rtol=1e-10)


# --- LayerNorm --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("x", "shape"), [(FLAT, 4), (LONG, 3), (LONG, (4, 3)), (FLAT[0], [4])])
def test_layer_norm_is_its_formula(x, shape):
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    norm = filled(nn.LayerNorm(shape, eps=0.01))
    examples = x.reshape(-1, int(np.prod(lengths)))
    expected = [(e - e.mean()) / np.sqrt(e.var() + 0.01) for e in examples]
    expected = np.reshape(expected, x.shape) * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    v = RNG.normal(size=x.shape)
    leaves = [Tensor(x, requires_grad=True), norm.weight, norm.bias]
    assert gradcheck(lambda: (np.tanh(norm(leaves[0])) * v).sum(), leaves)


def test_layer_norm_with_fewer_parameters():
    assert [n for n, _ in nn.LayerNorm(3, bias=False).named_parameters()] == ["weight"]
    assert list(nn.LayerNorm(3, elementwise_affine=False).parameters()) == []
    assert repr(nn.LayerNorm((2, 3), bias=False)) == "LayerNorm((2, 3), eps=1e-05, bias=False)"
    assert nn.LayerNorm(4).eval()(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_is_that_of_pytorch(bias):
    torch = pytest.importorskip("torch")
    ours = filled(nn.LayerNorm((4, 3), bias=bias))
    theirs = torch.nn.LayerNorm((4, 3), bias=bias, dtype=torch.float64)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in ours.state_dict().items()})
    a, b = Tensor(LONG, requires_grad=True), torch.tensor(LONG, requires_grad=True)
    out, other = ours(a), theirs(b)
    assert_allclose(out.detach().numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-14)
    (out**3).sum().backward()
    (other**3).sum().backward()
    assert_allclose(a.grad, b.grad.numpy(), rtol=1e-10, atol=1e-13)
