"""The digit network against the derivation by hand, the course's numbers, PyTorch and its own errors."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad, nn
from tinygrad_fnn.check import textbook
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.nn import functional as F


def same_up_to_rounding(ours, by_hand, tolerance=1e-10):
    """Equal to `tolerance` of the largest entry."""
    ours, by_hand = np.asarray(ours), np.asarray(by_hand)
    assert ours.shape == by_hand.shape
    assert np.abs(ours - by_hand).max(initial=0) <= tolerance * np.abs(by_hand).max(initial=np.finfo(float).tiny)


def by_layer(net):
    """The gradients in the form of theta."""
    return [np.column_stack([layer.b.grad, layer.W.grad]) for layer in net.layers]


def sines(*shape):
    """The course's debugInitializeWeights."""
    return np.sin(np.arange(1, 1 + np.prod(shape))).reshape(shape, order="F") / 10


def debug_network():
    """The course's checkNNGradients, 3-5-3."""
    return [sines(5, 4), sines(3, 6)], sines(5, 3), np.eye(3)[np.arange(1, 6) % 3]


@st.composite
def problems(draw):
    """Networks of any depth with examples, targets and a penalty; some are saturated."""
    widths = draw(st.lists(st.integers(1, 6), min_size=2, max_size=6))
    m = draw(st.integers(1, 40))
    size = draw(st.sampled_from([0.1, 1.0, 10.0, 60.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    thetas = [rng.normal(0, size, (above, below + 1)) for below, above in pairwise(widths)]
    X = rng.normal(size=(m, widths[0]))
    one_hot = draw(st.booleans())
    Y = np.eye(widths[-1])[rng.integers(0, widths[-1], m)] if one_hot else rng.random((m, widths[-1]))
    return thetas, X, Y, draw(st.sampled_from([0.0, 1.0, 3.5]))


# --- against the textbook ---------------------------------------------------------------------------------------------


@given(problem=problems())
def test_cost_and_gradients_are_those_derived_by_hand(problem):
    thetas, X, Y, l2 = problem
    net = nn.DigitNet.from_thetas(thetas)
    J = net.cost(X, Y, l2)
    J.backward()
    by_hand = textbook.gradients(thetas, X, Y, l2)
    assert_allclose(J.item(), textbook.cost(thetas, X, Y, l2), rtol=1e-12)
    for ours, formula in zip(by_layer(net), by_hand.thetas, strict=True):
        same_up_to_rounding(ours, formula)


@given(problem=problems())
def test_every_delta_is_the_cotangent_of_its_z(problem):
    thetas, X, Y, _ = problem
    z, a = [], Tensor(X)
    for layer in nn.DigitNet.from_thetas(thetas).layers:
        z.append(layer(a))
        a = tg.sigmoid(z[-1])
    by_hand = textbook.gradients(thetas, X, Y)
    for J in (F.binary_cross_entropy_with_logits(z[-1], Y, "course"), F.binary_cross_entropy(a, Y, "course")):
        for ct, delta in zip(grad(J, z, retain_graph=True), by_hand.deltas, strict=True):
            same_up_to_rounding(ct.numpy(), delta)


@given(problem=problems())
@settings(max_examples=30)
def test_the_network_is_its_forward_pass_by_hand(problem):
    thetas, X, _, _ = problem
    net, trace = nn.DigitNet.from_thetas(thetas), textbook.forward(thetas, X)
    same_up_to_rounding(net.logits(X).detach().numpy(), trace.z[-1])
    same_up_to_rounding(net(X).detach().numpy(), trace.a[-1])


def test_cost_is_the_loss_of_the_probabilities_too():
    thetas, X, Y = debug_network()
    net = nn.DigitNet.from_thetas(thetas)
    through = nn.BCELoss("course")(net(X), Y)
    assert through.item() == net.cost(X, Y).item()
    through.backward()
    for ours, formula in zip(by_layer(net), textbook.gradients(thetas, X, Y).thetas, strict=True):
        same_up_to_rounding(ours, formula, 1e-13)


def test_hessian_of_the_cost_is_symmetric_and_that_of_differences():
    thetas, X, Y = debug_network()
    net = nn.DigitNet.from_thetas(thetas)
    W = net.layers[0].W
    (slope,) = grad(net.cost(X, Y, 1.0), W, create_graph=True)
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, *W.shape))
    (Hu,) = grad((slope * u).sum(), W, retain_graph=True)
    (Hv,) = grad((slope * v).sum(), W)
    assert_allclose((Hu.numpy() * v).sum(), (Hv.numpy() * u).sum(), rtol=1e-12)
    step = 1e-5  # central differences of an exact gradient: error step**2 + 1e-16 / step

    def slope_at(t):
        moved = [thetas[0] + np.column_stack([np.zeros(5), t * u]), thetas[1]]
        return textbook.gradients(moved, X, Y, 1.0).thetas[0][:, 1:]

    assert_allclose(Hu.numpy(), (slope_at(step) - slope_at(-step)) / (2 * step), rtol=0, atol=1e-9)


# --- the course's numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("l2", "J"), [(0, 2.100950569902465), (1, 2.116086984943096), (3, 2.146359815024358)])
def test_debug_network(l2, J):
    thetas, X, Y = debug_network()
    # The order of summation moves the last digits.
    assert_allclose(nn.DigitNet.from_thetas(thetas).cost(X, Y, l2).item(), J, rtol=1e-13, atol=0)


@pytest.fixture(scope="module")
def course(shared_data):
    files = [shared_data / name for name in ("ex4data1.mat", "ex4weights.mat")]
    for file in files:
        if not file.is_file():
            pytest.skip(f"needs the course's file {file}")
    digits, weights = map(scipy.io.loadmat, files)
    y = digits["y"].ravel() % 10  # label 10 is digit 0
    # The course's weights were trained with class 10 in the last row.
    order = np.roll(np.arange(10), 1)
    return digits["X"], y, [weights["Theta1"], weights["Theta2"][order]]


@pytest.mark.parametrize(("l2", "J"), [(0, 0.2876291651613188), (1, 0.38376985909092354), (3, 0.576051246950133)])
def test_cost_of_the_course(course, l2, J):
    X, y, thetas = course
    assert_allclose(nn.DigitNet.from_thetas(thetas).cost(X, np.eye(10)[y], l2).item(), J, rtol=1e-13, atol=0)


def test_accuracy_and_gradient_of_the_course(course):
    X, y, thetas = course
    net = nn.DigitNet.from_thetas(thetas)
    assert net.accuracy(X, y) == 0.9752
    Y = np.eye(10)[y]
    net.cost(X, Y, 1.0).backward()
    for ours, formula in zip(by_layer(net), textbook.gradients(thetas, X, Y, 1.0).thetas, strict=True):
        same_up_to_rounding(ours, formula, 1e-12)


def test_the_course_in_float32(course):
    X, y, thetas = course
    net = nn.DigitNet.from_thetas(thetas, dtype=np.float32)
    J = net.cost(X.astype(np.float32), np.eye(10, dtype=np.float32)[y], 1.0)
    assert J.dtype == np.float32
    assert_allclose(J.item(), 0.38376985909092354, rtol=1e-5)  # 5000 x 10 sums of numbers with 7 digits


# --- prediction and accuracy ------------------------------------------------------------------------------------------


def test_prediction_tells_probabilities_apart_that_round_to_one():
    net = nn.DigitNet.from_thetas([np.array([[50.0, 0.0], [60.0, 0.0], [40.0, 0.0]])])
    assert (net(np.zeros((2, 1))) == 1).all()
    assert_array_equal(net.predict(np.zeros((2, 1))), [1, 1])
    assert net.accuracy(np.zeros((2, 1)), [1, 2]) == 0.5


def test_a_single_output_predicts_by_its_sign():
    net = nn.DigitNet.from_thetas([np.array([[0.0, 1.0]])])
    assert_array_equal(net.predict([[-1.0], [2.0]]), [0, 1])
    assert net.accuracy([[-1.0], [2.0]], [0, 0]) == 0.5


def test_prediction_records_nothing():
    net = nn.DigitNet(3, 2, 2, rng=0)
    predicted = net.predict(np.ones((4, 3)))
    assert type(predicted) is np.ndarray
    assert predicted.dtype.kind == "i"
    assert tg.is_grad_enabled()


# --- making -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [25, np.int64(25), [25], (25,), np.array([25])])
def test_hidden_is_a_width_or_several(hidden):
    net = nn.DigitNet(hidden=hidden, rng=0)
    assert [theta.shape for theta in net.thetas()] == [(25, 401), (10, 26)]
    assert [n for n, _ in net.named_parameters()] == ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"]


def test_any_depth():
    assert [t.shape for t in nn.DigitNet(4, (7, 5, 3), 2).thetas()] == [(7, 5), (5, 8), (3, 6), (2, 4)]
    assert [t.shape for t in nn.DigitNet(4, (), 2).thetas()] == [(2, 5)]


def test_first_weights_are_the_courses():
    net = nn.DigitNet(rng=0)
    for theta, epsilon in zip(net.thetas(), [0.1188, 0.4140], strict=True):
        assert_allclose(np.abs(theta).max(), epsilon, rtol=2e-2)  # the largest of 260 draws or more
    assert_array_equal(net.thetas()[1], nn.DigitNet(rng=0).thetas()[1])


def test_training_step_by_hand_lowers_the_cost():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8)), rng.integers(0, 3, 60)
    net, Y = nn.DigitNet(8, 6, 3, rng=1), np.eye(3)[y]
    before = net.cost(X, Y).item()
    for _ in range(100):
        net.zero_grad()
        net.cost(X, Y).backward()
        with tg.no_grad():
            for p in net.parameters():
                p -= 1.0 * p.grad
    assert net.cost(X, Y).item() < 0.7 * before


def test_thetas_go_out_and_come_back():
    net = nn.DigitNet(4, 3, 2, rng=0)
    thetas = net.thetas()
    twin = nn.DigitNet.from_thetas(thetas)
    X = np.random.default_rng(0).normal(size=(5, 4))
    assert_array_equal(twin(X).detach().numpy(), net(X).detach().numpy())
    thetas[0][:] = 0
    assert (net.thetas()[0] != 0).all()
    parameters = list(net.parameters())
    net.load_thetas([t.tolist() for t in thetas])
    assert [id(p) for p in net.parameters()] == [id(p) for p in parameters]
    assert (net.layers[0].b == 0).all()
    assert all(p.requires_grad for p in net.parameters())


def test_thetas_in_the_files_byte_and_memory_order():
    theta = np.asfortranarray(np.arange(6.0).reshape(2, 3).astype(">f8"))
    theta.flags.writeable = False
    net = nn.DigitNet.from_thetas([theta])
    assert net.layers[0].W.dtype == np.float64
    assert net.layers[0].W.dtype.isnative
    assert_array_equal(net.thetas()[0], theta)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda t: t[:1], ShapeError, "got 1 thetas, the network has 2"),
        (
            lambda t: [t[0], t[1][:, 1:]],
            ShapeError,
            r"theta 1 has shape \(2, 3\), wanted \(2, 4\).*bias column",
        ),
        (lambda t: [t[0].T, t[1]], ShapeError, r"theta 0 has shape \(5, 3\), wanted \(3, 5\).*transposed"),
        (lambda t: [t[0], t[1].astype(complex)], TypeError, "theta 1 has dtype complex128"),
        (lambda t: t[0], TypeError, r"list of arrays; got one of shape \(3, 5\)"),
        (lambda t: None, TypeError, "load_thetas: thetas must be a list of arrays; got a NoneType"),
        (lambda t: "ab", TypeError, "load_thetas: thetas must be a list of arrays; got a str"),
        (lambda t: {0: t[0], 1: t[1]}, TypeError, "load_thetas: thetas must be a list of arrays; got a dict"),
    ],
)
def test_loading_thetas_is_all_or_nothing(change, error, words):
    net = nn.DigitNet(4, 3, 2, rng=0)
    before = net.thetas()
    with pytest.raises(error, match=words):
        net.load_thetas(change([t + 1 for t in before]))
    for now, then in zip(net.thetas(), before, strict=True):
        assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("thetas", "words"),
    [
        ([], "no thetas"),
        ([np.ones((5, 4)), np.ones((3, 5))], r"theta 1 has shape \(3, 5\), wanted \(out, 6\)"),
        ([np.ones(5)], r"theta 0 has shape \(5,\), wanted \(out, in \+ 1\)"),
        ([np.ones((3, 1))], "theta 0"),
        ([np.ones((0, 3))], "theta 0"),
    ],
)
def test_thetas_must_chain(thetas, words):
    with pytest.raises(ShapeError, match=words):
        nn.DigitNet.from_thetas(thetas)


@pytest.mark.parametrize(
    ("widths", "error", "words"),
    [
        ((0, 1, 1), ValueError, "inputs must be > 0"),
        ((1, 0, 1), ValueError, "hidden must be > 0"),
        ((1, (2, -3), 1), ValueError, "hidden must be > 0; got -3"),
        ((1, 2.0, 1), TypeError, "hidden must be an integer > 0; got 2.0"),
        ((1, "25", 1), TypeError, "hidden"),
        ((1, True, 1), TypeError, "hidden"),
        ((1, 1, None), TypeError, "outputs"),
    ],
)
def test_widths_are_positive_integers(widths, error, words):
    with pytest.raises(error, match=f"DigitNet: {words}"):
        nn.DigitNet(*widths)


NET = nn.DigitNet(4, 3, 10, rng=0)
X = np.ones((5, 4))


def test_cost_refuses():
    with pytest.raises(ShapeError, match=r"5 features, W expects 4.*Is a bias column still in x\?"):
        NET.cost(np.ones((5, 5)), np.zeros((5, 10)))
    with pytest.raises(ShapeError, match=r"\(5, 10\).*\(5,\).*one_hot\(y, 10\)"):
        NET.cost(X, np.arange(5))
    with pytest.raises(ShapeError, match=r"\(m, 4\); got \(4,\)"):
        NET.cost(X[0], np.zeros(10))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        NET.cost(X, np.full((5, 10), 2.0))
    for l2 in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="l2 must be >= 0"):
            NET.cost(X, np.zeros((5, 10)), l2)
    for l2 in (None, "1", True, [1.0]):
        with pytest.raises(TypeError, match=r"DigitNet.cost: l2 must be >= 0 and finite; got"):
            NET.cost(X, np.zeros((5, 10)), l2)
    with pytest.raises(ValueError, match="no elements"):
        NET.cost(X[:0], np.zeros((0, 10)))
    for nothing in ("abc", None, [["a", "b", "c", "d"]]):
        with pytest.raises(TypeError, match=r"Linear: x has dtype .*, wanted numbers"):
            NET.cost(nothing, np.zeros((5, 10)))


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (np.zeros((5, 1), int), ShapeError, r"\(5, 1\).*reshape\(5,\)"),
        (np.zeros((5, 10), int), ShapeError, r"\(5, 10\)"),
        (np.zeros(5), TypeError, "float64"),
        ([1, 2, 3, 4, 10], ValueError, "label 10 is outside 0 ... 9.*load_mat_digits"),
        ([1, 2, 3, 4, -1], ValueError, "label -1"),
    ],
)
def test_accuracy_refuses(y, error, words):
    with pytest.raises(error, match=f"DigitNet.accuracy: .*{words}"):
        NET.accuracy(X, y)


def test_accuracy_of_no_examples_is_refused():
    with pytest.raises(ShapeError, match="no examples"):
        NET.accuracy(X[:0], np.zeros(0, int))


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    net = nn.DigitNet(6, (5, 4), 3, rng=0)
    X, Y = rng.normal(size=(7, 6)), np.eye(3)[rng.integers(0, 3, 7)]
    net.cost(X, Y, 2.0).backward()
    parameters = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in net.parameters()]
    a = torch.tensor(X)
    for W, b in zip(parameters[::2], parameters[1::2], strict=True):
        z = a @ W.T + b
        a = torch.sigmoid(z)
    J = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(Y), reduction="sum") / 7
    (J + 2.0 / 14 * sum((W**2).sum() for W in parameters[::2])).backward()
    for ours, theirs in zip(net.parameters(), parameters, strict=True):
        same_up_to_rounding(ours.grad, theirs.grad.numpy(), 1e-12)


def test_a_prediction_from_no_number_is_refused():
    X = np.zeros((3, 400))
    X[1, 7] = np.nan
    for call in (lambda: nn.DigitNet(rng=0).predict(X), lambda: nn.DigitNet(rng=0).accuracy(X, np.zeros(3, int))):
        with pytest.raises(ValueError, match="example 1 has a NaN as its logit"):
            call()
