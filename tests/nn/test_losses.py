"""Losses against their definition in many digits, against PyTorch, and at the edges."""

import itertools

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad, nn
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.nn import functional as F
from tinygrad_fnn.ops.losses import _bce, _bce_with_logits, _cross_entropy, _logistic_error, _softmax_error
from tinygrad_fnn.rules import RULES

EXTREMES = [0.0, 1e-300, 1e-8, 0.5, 1.0, 17.0, 36.7, 37.5, 100.0, 709.5, 745.0, 1000.0]
LOGITS = np.array([s * z for z in EXTREMES for s in (1, -1)])
FRACTIONS = [0.0, 1.0, 0.5, 1e-10, 1 - 1e-10, 0.3]

# Each value is a few roundings away from the exact one, none of which is magnified.
EXACT = {"rtol": 2e-15, "atol": 0}
# Where a and a fractional y nearly agree, a - y is the difference of two rounded numbers of at most 1.
DIFFERENCE = {"rtol": 2e-15, "atol": 4e-16}

logits = st.floats(-1000, 1000)
fractions = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


def leaf(values):
    return Tensor(values, requires_grad=True)


def exactly(z, y):
    """Loss and derivative with respect to the logit, from the definition in 1200 digits."""
    with mpmath.workdps(1200):
        z, y = mpmath.mpf(float(z)), mpmath.mpf(float(y))
        a = 1 / (1 + mpmath.exp(-z))
        return float(-y * mpmath.log(a) - (1 - y) * mpmath.log(1 - a)), float(a - y)


def exactly_softmax(z, y):
    with mpmath.workdps(1200):
        e = [mpmath.exp(mpmath.mpf(float(v))) for v in z]
        a = [v / sum(e) for v in e]
        y = [mpmath.mpf(float(v)) for v in y]
        loss = -sum(t * mpmath.log(p) for t, p in zip(y, a, strict=True))
        return float(loss), [float(p * sum(y) - t) for t, p in zip(y, a, strict=True)]


# --- binary cross-entropy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("y", FRACTIONS)
def test_binary_cross_entropy_of_logits_is_exact_at_any_logit(y):
    expected = np.array([exactly(z, y) for z in LOGITS])
    z = leaf(LOGITS)
    loss = F.binary_cross_entropy_with_logits(z, np.full(LOGITS.shape, y), "none")
    loss.sum().backward()
    assert_allclose(loss.detach().numpy(), expected[:, 0], **EXACT)
    assert_allclose(z.grad, expected[:, 1], **(EXACT if y in (0, 1) else DIFFERENCE))


@given(z=logits, y=fractions)
@example(z=745.0, y=1.0)
@example(z=-0.0, y=0.5)
@example(z=40.0, y=1 - 2**-53)
def test_bce_of_sigmoid_equals_bce_of_logits_bit_for_bit(z, y):
    through, past = leaf([[z]]), leaf([[z]])
    J_through = nn.BCELoss("course")(tg.sigmoid(through), [[y]])
    J_past = nn.BCEWithLogitsLoss("course")(past, [[y]])
    J_through.backward()
    J_past.backward()
    assert J_through.item() == J_past.item()
    assert_array_equal(through.grad, past.grad)
    loss, slope = exactly(z, y)
    assert_allclose(J_through.item(), loss, rtol=2e-15, atol=5e-324)
    assert_allclose(through.grad, [[slope]], rtol=2e-15, atol=4e-16)


def test_the_logit_is_remembered_through_rearrangements_and_modules():
    z = leaf([[900.0, -900.0]])
    for p in (
        tg.sigmoid(z).reshape(2, 1),
        tg.sigmoid(z).T,
        tg.sigmoid(z)[0],
        nn.Sigmoid()(z).ravel(),
        1 - tg.sigmoid(-z),
    ):
        (slope,) = grad(nn.BCELoss("sum")(p, np.ones(p.shape)), z)
        assert_array_equal(slope.numpy(), [[0.0, -1.0]])


def test_gradient_with_respect_to_the_probability_itself_is_that_of_the_plain_form():
    z = leaf([0.3, -1.2, 2.0])
    y = np.array([1.0, 0.0, 0.25])
    p = tg.sigmoid(z)
    wrt_p, wrt_z = grad(F.binary_cross_entropy(p, y, "sum"), [p, z])
    a = 1 / (1 + np.exp(-np.array([0.3, -1.2, 2.0])))
    assert_allclose(wrt_p.numpy(), (a - y) / (a * (1 - a)), rtol=1e-14)  # 1 - a costs one digit
    assert_allclose(wrt_z.numpy(), a - y, rtol=1e-14)
    hooked = []
    p = tg.sigmoid(z)
    p.register_hook(hooked.append)
    F.binary_cross_entropy(p, y, "sum").backward()
    assert_allclose(hooked[0], (a - y) / (a * (1 - a)), rtol=1e-14)
    assert_allclose(z.grad, a - y, rtol=1e-14)


def test_tracked_targets_receive_their_derivative_once_also_past_a_probability():
    for hook in (False, True):
        z, y = leaf([0.3, -700.0]), leaf([0.25, 1.0])
        p = tg.sigmoid(z)
        if hook:
            p.register_hook(lambda ct: None)
        F.binary_cross_entropy(p, y, "sum").backward()
        assert_allclose(y.grad, [-0.3, 700.0], rtol=1e-14)
        assert_allclose(z.grad, [exactly(0.3, 0.25)[1], -1.0], rtol=1e-14)


def test_derivative_stops_at_a_leaf_that_was_a_probability():
    p = tg.sigmoid(Tensor([0.3])).requires_grad_()
    F.binary_cross_entropy(p, [1.0], "sum").backward()
    assert_allclose(p.grad, -1 / p.detach().numpy(), rtol=1e-15)
    z = leaf([0.3])
    with tg.no_grad():
        p = tg.sigmoid(z)
    assert not F.binary_cross_entropy(p, [1.0]).requires_grad
    assert not F.binary_cross_entropy(tg.sigmoid(z).detach(), [1.0]).requires_grad


def test_plain_probabilities_of_zero_and_one():
    p = leaf([0.0, 0.0, 1.0, 1.0, 0.0])
    y = np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    loss = F.binary_cross_entropy(p, y, "none")
    loss.sum().backward()
    assert_array_equal(loss.detach().numpy(), [0, np.inf, np.inf, 0, np.inf])
    assert_array_equal(p.grad, [1, -np.inf, np.inf, -1, -np.inf])


def test_second_derivative_of_plain_probabilities_where_they_agree_with_the_target():
    p = leaf([0.0, 1.0])
    (slope,) = grad(F.binary_cross_entropy(p, [0.0, 1.0], "sum"), p, create_graph=True)
    (curvature,) = grad(slope.sum(), p)
    assert_array_equal(curvature.numpy(), [1.0, 1.0])


@pytest.mark.parametrize("y", [0.0, 1.0, 0.3])
def test_higher_derivatives_of_bce_in_the_logit(y):
    z = leaf([-30.0, -1.0, 0.0, 2.0, 30.0])
    for loss in (
        F.binary_cross_entropy_with_logits(z, np.full(5, y), "sum"),
        F.binary_cross_entropy(tg.sigmoid(z), np.full(5, y), "sum"),
    ):
        (first,) = grad(loss, z, create_graph=True)
        (second,) = grad(first.sum(), z, create_graph=True)
        (third,) = grad(second.sum(), z)
        e = np.exp(-np.abs(z.detach().numpy()))
        density = e / (1 + e) ** 2
        assert_allclose(second.detach().numpy(), density, rtol=1e-14)
        assert_allclose(third.numpy(), -density * np.tanh(z.detach().numpy() / 2), rtol=1e-13)


def test_infinite_logits_cost_nothing_where_they_agree():
    z = leaf([np.inf, -np.inf, np.inf, -np.inf])
    loss = F.binary_cross_entropy_with_logits(z, [1.0, 0.0, 0.0, 1.0], "none")
    loss.sum().backward()
    assert_array_equal(loss.detach().numpy(), [0, 0, np.inf, np.inf])
    assert_array_equal(z.grad, [0, 0, 1, -1])


def test_losses_of_single_numbers():
    z = leaf(0.3)
    F.binary_cross_entropy_with_logits(z, 1.0).backward()
    assert_allclose(z.grad, exactly(0.3, 1)[1], rtol=1e-15)
    assert z.grad.shape == ()
    assert_allclose(F.binary_cross_entropy(tg.sigmoid(z), 1.0, "course").item(), exactly(0.3, 1)[0], rtol=1e-15)
    assert F.mse_loss(2.0, 0.5).item() == 2.25


def test_nan_logits_give_nan():
    assert np.isnan(F.binary_cross_entropy_with_logits([np.nan], [1.0]).item())


# --- cross-entropy ----------------------------------------------------------------------------------------------------

ROWS = np.array([[0.0, 1.0, -2.0], [40.0, 0.0, -40.0], [1000.0, -1000.0, 999.0], [5.0, 5.0, 5.0], [0.0, -800.0, 700.0]])


@pytest.mark.parametrize("labels", list(itertools.product([0, 1, 2], [0, 1], [0, 2], [1], [0, 1, 2])))
def test_cross_entropy_of_labels_is_exact(labels):
    z = leaf(ROWS)
    loss = F.cross_entropy(z, list(labels), "none")
    loss.sum().backward()
    for row, label in enumerate(labels):
        value, slopes = exactly_softmax(ROWS[row], np.eye(3)[label])
        assert_allclose(loss.detach().numpy()[row], value, **EXACT)
        assert_allclose(z.grad[row], slopes, **EXACT)


@given(
    z=st.lists(st.floats(-1000, 1000), min_size=3, max_size=3),
    y=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_cross_entropy_of_probabilities_need_not_sum_to_one(z, y):
    value, slopes = exactly_softmax(z, y)
    leaf_z = leaf([z])
    loss = F.cross_entropy(leaf_z, [y], "sum")
    loss.backward()
    # A difference of logits up to 745 is rounded by up to 6e-14, which the exponential makes a relative error.
    assert_allclose(loss.item(), value, rtol=1e-13, atol=1e-320)
    assert_allclose(leaf_z.grad[0], slopes, rtol=4e-15, atol=2e-15)  # sums of at most 3 rounded numbers of at most 3


def test_cross_entropy_higher_derivatives_and_targets():
    z, y = leaf([[0.3, -0.2, 1.0]]), leaf([[0.2, 0.5, 0.3]])
    wrt_z, wrt_y = grad(F.cross_entropy(z, y, "sum"), [z, y], create_graph=True)
    a = np.exp(z.detach().numpy())
    a /= a.sum()
    assert_allclose(wrt_z.detach().numpy(), a - y.detach().numpy(), rtol=1e-14)
    assert_allclose(wrt_y.detach().numpy(), -np.log(a), rtol=1e-14)
    direction = np.array([[1.0, 2.0, -1.0]])
    hz, hy = grad((wrt_z * direction).sum(), [z, y])
    assert_allclose(hz.numpy(), a * (direction - (a * direction).sum()), rtol=1e-13)
    assert_allclose(hy.numpy(), (a * direction).sum() - direction, rtol=1e-13)


def test_classes_masked_by_minus_infinity_do_not_count():
    z = leaf([[1.0, -np.inf, 0.0]])
    loss = F.cross_entropy(z, [2])
    loss.backward()
    a = 1 / (1 + np.exp(-1.0))
    assert_allclose(loss.item(), -np.log(1 - a), rtol=1e-14)
    assert_allclose(z.grad, [[a, 0, -a]], rtol=1e-14)


def test_cross_entropy_of_one_example_without_a_batch():
    assert_allclose(F.cross_entropy([0.0, 0.0], 1).item(), np.log(2), rtol=1e-15)
    assert F.cross_entropy([0.0, 0.0], 1, "none").shape == ()


# --- reductions, dtypes, shapes ---------------------------------------------------------------------------------------


def test_reductions_of_elementwise_losses():
    x, y = np.arange(12.0).reshape(4, 3), np.ones((4, 3))
    squares = (x - y) ** 2
    assert_array_equal(nn.MSELoss("none")(x, y).numpy(), squares)
    assert_allclose(nn.MSELoss("sum")(x, y).item(), squares.sum())
    assert_allclose(nn.MSELoss()(x, y).item(), squares.mean())
    assert_allclose(nn.MSELoss("course")(x, y).item(), squares.sum(axis=-1).mean())
    assert_allclose(nn.MSELoss("course")(x[:, 0], y[:, 0]).item(), squares[:, 0].mean())
    assert_allclose(nn.MSELoss("course")(x.reshape(2, 2, 3), y.reshape(2, 2, 3)).item(), squares.sum(axis=-1).mean())


def test_mse_derivatives_in_both_arguments():
    x, y = leaf([1.0, 2.0]), leaf([0.0, 4.0])
    F.mse_loss(x, y).backward()
    assert_array_equal(x.grad, [1.0, -2.0])
    assert_array_equal(y.grad, [-1.0, 2.0])


@pytest.mark.parametrize("target", [np.array([[1, 0]], np.uint8), np.array([[True, False]]), np.array([[1, 0]])])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integer_and_boolean_targets_do_not_wrap_or_promote(target, dtype):
    z = Tensor(np.array([[0.5, 0.5]], dtype), requires_grad=True)
    for loss in (
        F.binary_cross_entropy_with_logits(z, target, "sum"),
        F.binary_cross_entropy(tg.sigmoid(z), target, "sum"),
        F.mse_loss(z, target),
        F.cross_entropy(z, target),
        F.cross_entropy(z, [0]),
    ):
        z.grad = None
        loss.backward()
        assert loss.dtype == dtype
        assert z.grad.dtype == dtype
        assert (np.sign(z.grad) == [[-1, 1]]).all()


def test_float32_stays_float32_and_is_as_exact():
    z = leaf(np.array([-100.0, 0.3, 50.0], np.float32))
    loss = F.binary_cross_entropy(tg.sigmoid(z), np.array([1, 1, 1], np.float32), "none")
    assert loss.dtype == np.float32
    expected = [exactly(v, 1)[0] for v in z.detach().numpy()]
    assert_allclose(loss.detach().numpy(), expected, rtol=5e-7)  # a few units of 6e-8


def test_a_later_write_to_the_targets_does_not_reach_the_graph():
    z, y = leaf([0.5, 0.5]), np.array([1.0, 0.0])
    loss = F.binary_cross_entropy(tg.sigmoid(z), y, "sum") + F.binary_cross_entropy_with_logits(z, y, "sum")
    y[:] = 7.0
    loss.backward()
    assert_allclose(z.grad, 2 * (1 / (1 + np.exp(-0.5)) - np.array([1.0, 0.0])), rtol=1e-14)


def test_targets_given_as_a_tensor_are_not_copied():
    z, y = leaf(np.zeros((5, 2))), Tensor(np.zeros((5, 2)))
    loss = F.binary_cross_entropy_with_logits(z, y, "none")
    assert any(np.shares_memory(kept, y._value) for kept in loss._node.edges[0][2])


def test_feature_major_logits_give_the_same_bits():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(40, 3)) * 20, rng.integers(0, 2, (40, 3)).astype(float)
    for kernel in (_bce_with_logits, _logistic_error):
        assert_array_equal(kernel(np.asfortranarray(z), y), kernel(z, y))
        assert kernel(np.asfortranarray(z), y).flags.f_contiguous


def test_empty_batches():
    empty = np.zeros((0, 3))
    assert F.mse_loss(empty, empty, "none").shape == (0, 3)
    assert F.mse_loss(empty, empty, "sum").item() == 0
    assert F.binary_cross_entropy_with_logits(empty, empty, "sum").item() == 0
    assert F.cross_entropy(empty, np.zeros(0, int), "none").shape == (0,)
    for reduction in ("mean", "course"):
        with pytest.raises(ValueError, match="no elements"):
            F.binary_cross_entropy(empty, empty, reduction)


def test_kernels_are_entered_and_named_for_the_user():
    names = {RULES[kernel].name for kernel in (_bce, _bce_with_logits, _cross_entropy, _logistic_error, _softmax_error)}
    assert {"binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy"} < names


# --- errors -----------------------------------------------------------------------------------------------------------

P = np.full((5, 2), 0.5)


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss])
def test_shapes_must_be_equal(loss):
    with pytest.raises(ShapeError, match=r"\(5, 1\).*\(5,\).*reshape"):
        loss(P[:, :1], P[:, 0])
    with pytest.raises(ShapeError, match=r"\(5, 2\).*\(5,\).*one_hot\(y, 2\)"):
        loss(P, np.ones(5, int))
    with pytest.raises(ShapeError, match=r"\(5, 2\).*\(1, 2\)"):
        loss(P, P[:1])


@pytest.mark.parametrize("loss", [F.binary_cross_entropy, F.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("bad", [1.5, -0.1, np.nan, np.inf])
def test_targets_must_be_fractions(loss, bad):
    with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
        loss(P, np.where(np.eye(5, 2) == 1, bad, 0.0))


def test_label_targets_are_told_from_fractions():
    with pytest.raises(ValueError, match="one_hot"):
        F.binary_cross_entropy(P[:, 0], [0, 1, 2, 3, 10])


def test_probabilities_out_of_range_name_the_other_loss():
    for p in (2 * P + 1, -tg.sigmoid(leaf(P))):
        with pytest.raises(ValueError, match="binary_cross_entropy_with_logits"):
            F.binary_cross_entropy(p, P)


@pytest.mark.parametrize("make", [nn.BCELoss, nn.BCEWithLogitsLoss, nn.MSELoss, nn.CrossEntropyLoss])
def test_unknown_reduction_lists_the_choices(make):
    with pytest.raises(ValueError, match=rf"{make.__name__}.*'mean', 'sum', 'none', 'course'; got 'avg'"):
        make("avg")


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ([0, 1, 2], ShapeError, r"\(3,\).*\(5,\)"),
        (np.zeros((5, 1), int), ShapeError, r"reshape\(5,\)"),
        ([0.0, 1.0, 0.0, 1.0, 0.0], TypeError, "integers"),
        ([0, 1, 2, 0, 0], ValueError, "label 2 is outside 0 ... 1"),
        ([0, -1, 1, 0, 0], ValueError, "label -1"),
        (-P, ValueError, "negative"),
        (P[:, :1], ShapeError, r"\(5, 1\)"),
    ],
)
def test_cross_entropy_refuses(target, error, words):
    with pytest.raises(error, match=words):
        F.cross_entropy(P, target)


def test_label_ten_has_a_hint():
    with pytest.raises(ValueError, match="load_mat_digits"):
        F.cross_entropy(np.zeros((1, 10)), [10])


def test_cross_entropy_refuses_more_axes():
    with pytest.raises(ShapeError, match=r"\(m, K\)"):
        F.cross_entropy(np.zeros((2, 3, 4)), np.zeros((2, 4), int))


def test_text_and_complex_are_refused():
    with pytest.raises(TypeError):
        F.mse_loss(["a"], [1.0])
    with pytest.raises(TypeError, match="real"):
        F.mse_loss([1.0], [1j])


# --- PyTorch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["BCELoss", "BCEWithLogitsLoss", "MSELoss", "CrossEntropyLoss"])
def test_losses_and_gradients_are_those_of_pytorch(name, reduction):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x = rng.uniform(0.05, 0.95, (6, 4)) if name == "BCELoss" else rng.normal(size=(6, 4))
    y = rng.integers(0, 4, 6) if name == "CrossEntropyLoss" else rng.uniform(0, 1, (6, 4))
    ours, theirs = leaf(x), torch.tensor(x, requires_grad=True)
    J = getattr(nn, name)(reduction)(ours, y)
    other = getattr(torch.nn, name)(reduction=reduction)(theirs, torch.tensor(y))
    assert_allclose(J.detach().numpy(), other.detach().numpy(), rtol=1e-13, atol=1e-15)
    J.sum().backward()
    other.sum().backward()
    assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-15)  # theirs multiplies by rounded 1/m


def test_cross_entropy_of_probabilities_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(6, 4)), rng.uniform(0, 1, (6, 4))
    assert_allclose(
        F.cross_entropy(x, y).item(),
        torch.nn.functional.cross_entropy(torch.tensor(x), torch.tensor(y)).item(),
        rtol=1e-14,
    )


@pytest.mark.parametrize("count", [0, -1, 2.5, "10"])
def test_one_hot_wants_a_number_of_classes(count):
    with pytest.raises(ValueError, match=r"one_hot: num_classes is .*, wanted an integer > 0"):
        F.one_hot([0, 1], count)
