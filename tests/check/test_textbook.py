"""The derivation by hand against published numbers, the complex step, and definitions in 1000 digits."""

import ast
import re
import tokenize
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn.check import _problem, textbook
from tinygrad_fnn.errors import ShapeError

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
ACTIVATIONS = ("sigmoid", "tanh", "relu")
OUTPUTS = ("sigmoid", "softmax", "identity")
REDUCTIONS = ("course", "mean")


# --- numbers somebody else computed ---------------------------------------------------------------

# Published to all digits; the order of summation moves the last one or two.
PUBLISHED = {"rtol": 1e-13, "atol": 0}


def column_major(numbers, *shapes):
    """Arrays filled column by column, each from where the last one ended."""
    arrays, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        arrays.append(np.asarray(numbers[start : start + size]).reshape(shape, order="F"))
        start += size
    return arrays


def sines(*shape):
    """The course's debugInitializeWeights."""
    return np.sin(np.arange(1, 1 + np.prod(shape))).reshape(shape, order="F") / 10


def debug_network():
    """The course's checkNNGradients, 3-5-3."""
    return [sines(5, 4), sines(3, 6)], sines(5, 3), np.eye(3)[np.arange(1, 6) % 3]


@pytest.mark.parametrize(("l2", "J"), [(0, 2.100950569902465), (1, 2.116086984943096), (3, 2.146359815024358)])
def test_cost_of_the_debug_network(l2, J):
    assert_allclose(textbook.cost(*debug_network(), l2), J, **PUBLISHED)


def test_gradient_of_the_debug_network_starts_as_published():
    unrolled = _problem.unroll(textbook.gradients(*debug_network()).thetas)
    # Published to six decimals.
    assert_allclose(unrolled[:5], [-0.009278, 0.008899, -0.008360, 0.007628, -0.006748], rtol=0, atol=5.1e-7)


@pytest.mark.parametrize("l2", [0, 1, 3])
def test_gradient_of_the_debug_network_is_that_of_its_cost(l2):
    """The course's own check: relative difference to central differences below 1e-9."""
    thetas, X, Y = debug_network()
    shapes = [theta.shape for theta in thetas]
    vector = _problem.unroll(thetas)

    def J(v):
        return textbook.cost(_problem.roll(v, shapes), X, Y, l2)

    numerical = np.array([(J(vector + step) - J(vector - step)) / 2e-4 for step in 1e-4 * np.eye(len(vector))])
    analytic = _problem.unroll(textbook.gradients(thetas, X, Y, l2).thetas)
    assert np.linalg.norm(numerical - analytic) / np.linalg.norm(numerical + analytic) < 1e-9


def small_network():
    """2-2-4 of Xingchen1224/machine_learning_2015."""
    thetas = column_major(np.arange(1, 19) / 10, (2, 3), (4, 3))
    return thetas, np.cos([[1, 2], [3, 4], [5, 6]]), np.eye(4)[[3, 1, 2]]


@pytest.mark.parametrize(("l2", "J"), [(0, 7.406969856065749), (3, 16.45696985606575), (4, 19.473636522732416)])
def test_cost_of_the_small_network(l2, J):
    assert_allclose(textbook.cost(*small_network(), l2), J, **PUBLISHED)


def test_gradient_of_the_small_network():
    # fmt: off
    published = [
        0.766138, 0.979897, -0.027540, -0.035844, -0.024929, -0.053862, 0.883417, 0.568762, 0.584668,
        0.598139, 0.459314, 0.344618, 0.256313, 0.311885, 0.478337, 0.368920, 0.259771, 0.322331,
    ]
    # fmt: on
    unrolled = _problem.unroll(textbook.gradients(*small_network()).thetas)
    assert_allclose(unrolled, published, rtol=0, atol=5.1e-7)  # published to six decimals


def test_logistic_regression_of_ex3():
    X = (np.arange(1, 16) / 10).reshape(5, 3, order="F")
    problem = [[[-2, -1, 1, 2]]], X, [[1], [0], [1], [0], [1]], 3
    assert_allclose(textbook.cost(*problem), 2.534819, rtol=0, atol=5.1e-7)  # published to six decimals
    gradient = textbook.gradients(*problem).thetas[0]
    assert_allclose(gradient, [[0.146561, -0.548558, 0.724722, 1.398003]], rtol=0, atol=5.1e-7)


@pytest.fixture(scope="module")
def ex4():
    if not (DATA / "ex4data1.mat").exists():
        pytest.skip(f"the course's ex4data1.mat is not in {DATA}")
    loadmat = pytest.importorskip("scipy.io").loadmat
    digits, weights = loadmat(DATA / "ex4data1.mat"), loadmat(DATA / "ex4weights.mat")
    return [weights["Theta1"], weights["Theta2"]], digits["X"], digits["y"].ravel()


@pytest.mark.parametrize(
    ("l2", "J"),
    [(0, 0.2876291651613188), (0.1, 0.29724323455427926), (1, 0.38376985909092354), (3, 0.576051246950133)],
)
def test_cost_of_ex4(ex4, l2, J):
    thetas, X, labels = ex4
    assert_allclose(textbook.cost(thetas, X, np.eye(10, dtype=np.uint8)[labels - 1], l2), J, **PUBLISHED)


def test_accuracy_of_ex4(ex4):
    thetas, X, labels = ex4
    assert np.mean(textbook.forward(thetas, X).a[-1].argmax(axis=1) + 1 == labels) == 0.9752


# --- an independent oracle: the complex step through a cost written another way -------------------


def complex_cost(thetas, X, Y, l2, activation, output, reduction, shifts=None):
    """J for complex arguments, by adding a column of ones and by the other form of each loss, B(z) - y z."""
    g = {
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
        "relu": lambda z: np.where(z.real > 0, z, 0),
    }[activation]
    loss = {
        "sigmoid": lambda z, y: np.log(1 + np.exp(z)).sum() - (y * z).sum(),
        "softmax": lambda z, y: np.log(np.exp(z).sum(axis=1)).sum() - (y * z).sum(),
        "identity": lambda z, y: ((z - y) ** 2).sum() / 2,
    }[output]
    a, penalty = X, 0
    for l, theta in enumerate(thetas):
        z = np.column_stack([np.ones(len(a)), a]) @ theta.T
        if shifts is not None:
            z = z + shifts[l]
        a = g(z)
        penalty += (theta * theta).sum() - (theta[:, 0] * theta[:, 0]).sum()
    m = len(X)
    return loss(z, Y) / (m if reduction == "course" else Y.size) + l2 * penalty / (2 * m)


def complex_step(J, arrays):
    """The derivative of J at each entry of `arrays`, exact but for rounding: the step is far below it."""
    derivatives = []
    for index, array in enumerate(arrays):
        derivative = np.empty(array.shape)
        for at in np.ndindex(array.shape):
            moved = [each.astype(complex) for each in arrays]
            moved[index][at] += 1e-30j
            derivative[at] = J(moved).imag / 1e-30
        derivatives.append(derivative)
    return derivatives


@st.composite
def problems(draw, penalties=(0.0, 0.7, 3.0)):
    """Networks of depth 1 to 5 whose pre-activations stay moderate, and targets of every kind that is allowed."""
    depth, m = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    widths = draw(st.lists(st.integers(1, 4), min_size=depth + 1, max_size=depth + 1))
    output = draw(st.sampled_from(OUTPUTS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Divided by the root of the width, so that deep relu networks do not overflow the oracle's exp.
    thetas = [rng.normal(size=(out, below + 1)) / np.sqrt(below + 1) for below, out in pairwise(widths)]
    X = rng.normal(size=(m, widths[0]))
    if output == "identity":
        Y = rng.normal(size=(m, widths[-1]))
    elif draw(st.booleans()):
        Y = np.eye(widths[-1])[rng.integers(widths[-1], size=m)]
    else:
        Y = rng.uniform(size=(m, widths[-1]))
        if output == "softmax":
            Y /= Y.sum(axis=1, keepdims=True)
    keywords = {
        "activation": draw(st.sampled_from(ACTIVATIONS)),
        "output": output,
        "reduction": draw(st.sampled_from(REDUCTIONS)),
    }
    return thetas, X, Y, draw(st.sampled_from(penalties)), keywords


# Everything is of the order of 1 and a few hundred roundings deep; the oracle cancels where an output saturates, hence
# the absolute part.
ROUNDING = {"rtol": 1e-10, "atol": 1e-13}


@given(problems())
def test_cost_is_the_sum_of_its_definition(problem):
    thetas, X, Y, l2, keywords = problem
    expected = complex_cost(thetas, X, Y, l2, **keywords)
    # B(z) - y z loses absolutely about 1e-16 times its terms.
    assert_allclose(textbook.cost(thetas, X, Y, l2, **keywords), expected, rtol=1e-12, atol=1e-14)


@given(problems())
def test_gradient_is_the_derivative_of_the_cost(problem):
    thetas, X, Y, l2, keywords = problem
    gradient = textbook.gradients(thetas, X, Y, l2, **keywords).thetas
    expected = complex_step(lambda moved: complex_cost(moved, X, Y, l2, **keywords), thetas)
    assert len(gradient) == len(thetas)
    for ours, theirs in zip(gradient, expected, strict=True):
        assert_allclose(ours, theirs, strict=True, **ROUNDING)


@given(problems())
def test_delta_is_the_derivative_with_respect_to_z(problem):
    """Each z of each example is moved by itself; the average over examples is part of the derivative."""
    thetas, X, Y, l2, keywords = problem
    deltas = textbook.gradients(thetas, X, Y, l2, **keywords).deltas
    at_rest = [np.zeros((len(X), len(theta))) for theta in thetas]
    expected = complex_step(lambda moved: complex_cost(thetas, X, Y, l2, shifts=moved, **keywords), at_rest)
    for ours, theirs in zip(deltas, expected, strict=True):
        assert_allclose(ours, theirs, strict=True, **ROUNDING)


@given(problems())
def test_trace_is_the_forward_pass(problem):
    thetas, X, _, _, keywords = problem
    keywords.pop("reduction")
    trace = textbook.forward(thetas, X, **keywords)
    assert len(trace.z) == len(thetas)
    assert len(trace.a) == len(thetas) + 1
    assert_array_equal(trace.a[0], X)
    g = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "relu": lambda z: z * (z > 0)}
    output = {
        "sigmoid": g["sigmoid"],
        "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        "identity": lambda z: z,
    }[keywords["output"]]
    for l, theta in enumerate(thetas):
        ones_and_a = np.column_stack([np.ones(len(X)), trace.a[l]])
        # A handful of roundings; z may cancel to nearly 0.
        assert_allclose(trace.z[l], ones_and_a @ theta.T, rtol=1e-13, atol=1e-14, strict=True)
        function = output if l == len(thetas) - 1 else g[keywords["activation"]]
        assert_allclose(trace.a[l + 1], function(trace.z[l]), rtol=1e-14, atol=0, strict=True)


@given(problems(penalties=(2.0,)))
def test_mean_divides_the_data_term_by_k_and_leaves_the_penalty(problem):
    thetas, X, Y, l2, keywords = problem
    keywords.pop("reduction")
    K, m = Y.shape[1], len(X)
    penalty = l2 / (2 * m) * sum((theta[:, 1:] ** 2).sum() for theta in thetas)
    course = textbook.cost(thetas, X, Y, l2, **keywords)
    mean = textbook.cost(thetas, X, Y, l2, reduction="mean", **keywords)
    # The penalty is taken out of a sum, so digits are lost relative to the sum.
    assert_allclose(K * (mean - penalty), course - penalty, rtol=1e-12, atol=1e-14 * K * mean)


def test_relu_has_derivative_zero_at_zero():
    """One hidden unit with z = 0 exactly, which the weight below would like to move."""
    gradient = textbook.gradients([[[0, 1]], [[0, 1]]], [[0.0], [2.0]], [[1], [1]], activation="relu")
    assert gradient.deltas[0][0, 0] == 0
    assert gradient.deltas[0][1, 0] != 0


# --- exact at extreme logits: definitions in 1000 digits ------------------------------------------

# exp(-1000) is 4e-435, so that a, rounded to 1000 digits, has more than 500 left in 1 - a.
DIGITS = 1000
EXTREME = (-1000.0, -745.2, -700.1, -40.0, -36.7, -1.0, -1e-9, 0.0, 0.3, 17.0, 36.7, 38.1, 300.0, 709.9, 1000.0)
# Below the smallest normal float64, 2.2e-308, digits are lost one by one.
SUBNORMAL = 1e-307


def mp_output(z, output):
    if output == "sigmoid":
        return [1 / (1 + mpmath.exp(-each)) for each in z]
    if output == "softmax":
        total = mpmath.fsum(mpmath.exp(each) for each in z)
        return [mpmath.exp(each) / total for each in z]
    return list(z)


def mp_loss(a, y, output):
    """The definitions (11), (12), (13), as they stand."""
    if output == "sigmoid":
        return mpmath.fsum(-t * mpmath.log(p) - (1 - t) * mpmath.log(1 - p) for p, t in zip(a, y, strict=True))
    if output == "softmax":
        return mpmath.fsum(-t * mpmath.log(p) for p, t in zip(a, y, strict=True))
    return mpmath.fsum((p - t) ** 2 / 2 for p, t in zip(a, y, strict=True))


@pytest.mark.parametrize("z", EXTREME)
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25, 1 - 2**-30])
def test_sigmoid_output_is_exact(z, y):
    problem = [[[0.0, 1.0]]], [[z]], [[y]]
    with mpmath.workdps(DIGITS):
        a = mp_output([mpmath.mpf(z)], "sigmoid")
        J, error = float(mp_loss(a, [mpmath.mpf(y)], "sigmoid")), float(a[0] - mpmath.mpf(y))
    # Some five roundings of 1.1e-16. For the last two y, a - y takes a difference, but near no zero here.
    assert_allclose(textbook.cost(*problem), J, rtol=1e-15, atol=SUBNORMAL)
    assert_allclose(textbook.gradients(*problem).deltas[0], [[error]], rtol=1e-15, atol=SUBNORMAL)


ROWS = (
    (1000.0, -1000.0, 999.7),
    (36.7, 0.0, -1.0),
    (0.1, 40.3, 0.2),
    (-1000.0, -300.2, -1000.0),
    (5.0, 5.0, 5.0),
    (1000.0, 1000.0, -1000.0),
    (700.3, 1.1, 0.0),
    (-1e-9, 0.0, -800.0),
)


@pytest.mark.parametrize("z", ROWS)
@pytest.mark.parametrize("y", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.25, 0.25)])
def test_softmax_output_is_exact(z, y):
    problem = [np.column_stack([np.zeros(3), np.eye(3)])], [z], [y]
    with mpmath.workdps(DIGITS):
        a = mp_output([mpmath.mpf(each) for each in z], "softmax")
        J = float(mp_loss(a, y, "softmax"))
        error = [float(p - t) for p, t in zip(a, y, strict=True)]
    # z less the largest of its row is rounded: by up to 5.7e-14 as long as its exponential is not 0 (|z| < 745).
    # For the mixed y, a - y may vanish (a = 1/2 in the sixth row): right absolutely, to a rounding.
    atol = SUBNORMAL if max(y) == 1 else 1e-16
    assert_allclose(textbook.cost(*problem, output="softmax"), J, rtol=1e-13, atol=SUBNORMAL)
    assert_allclose(textbook.gradients(*problem, output="softmax").deltas[0], [error], rtol=1e-13, atol=atol)


@pytest.mark.parametrize("z", EXTREME)
def test_derivatives_of_activations_keep_their_digits(z):
    """a (1 - a) and 1 - a^2 are 0 from z = 37 and z = 19 on; these are not."""
    with mpmath.workdps(DIGITS):
        logistic, tangent = 1 / (1 + mpmath.exp(-mpmath.mpf(z))), mpmath.tanh(z)
        exact = float(logistic * (1 - logistic)), float(1 - tangent**2)
    ours = textbook.sigmoid_prime(np.array(z)), textbook.tanh_prime(np.array(z))
    # Two exponentials and some eight roundings of 1.1e-16.
    assert_allclose(ours, exact, rtol=2e-15, atol=SUBNORMAL)


def mp_cost(thetas, X, Y, activation, output):
    """The data term with reduction='course' by its definition, in mpmath numbers."""
    g = {"sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)), "tanh": mpmath.tanh, "relu": lambda z: max(z, mpmath.mpf(0))}
    losses = []
    for x, y in zip(X, Y, strict=True):
        a = x
        for theta in thetas:
            z = [row[0] + mpmath.fsum(w * each for w, each in zip(row[1:], a, strict=True)) for row in theta]
            a = [g[activation](each) for each in z]
        losses.append(mp_loss(mp_output(z, output), y, output))
    return mpmath.fsum(losses) / len(X)


def to_mp(array):
    return [[mpmath.mpf(float(entry)) for entry in row] for row in array]


@pytest.mark.parametrize("x", [1.0, -1.0, 0.0078125])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradient_is_exact_at_extreme_logits(output, activation, x):
    """Central differences in 1000 digits, with hidden units at z = 40, -40, 300, -300 and outputs from -651 to 649.

    One example at a time, so that no large term hides a small one.
    """
    thetas = [np.array([[0.5, 40.0], [0.25, -300.0]]), np.array([[3.0, 25.0, 1.0], [-1.0, -400.0, 250.0]])]
    if activation == "relu":  # its a is 40 or 300: the outputs would leave the range
        thetas[1] /= 256
    X, Y = np.array([[x]]), np.array([[1.0, 0.0]])
    with mpmath.workdps(DIGITS):
        # The third derivative goes with the first, as exp does, so the truncation is about h^2 relatively; the
        # rounding is 1e-1000 / h absolutely.
        h = mpmath.mpf(10) ** -50
        moved, inputs, targets = [to_mp(theta) for theta in thetas], to_mp(X), to_mp(Y)
        expected = []
        for array in moved:
            for row in array:
                for i, entry in enumerate(row):
                    row[i] = entry + h
                    above = mp_cost(moved, inputs, targets, activation, output)
                    row[i] = entry - h
                    below = mp_cost(moved, inputs, targets, activation, output)
                    row[i] = entry
                    expected.append(float((above - below) / (2 * h)))
    gradient = textbook.gradients(thetas, X, Y, activation=activation, output=output).thetas
    ours = np.concatenate([each.ravel() for each in gradient])
    # z of the output is up to 651 and rounded by 1e-13, which exp(-z) inherits relatively.
    assert_allclose(ours, expected, rtol=1e-12, atol=SUBNORMAL)
    # There are entries that a (1 - a) or a - 1 would round to 0, or the test shows nothing.
    if activation != "relu" and abs(x) == 1:
        assert any(10 * SUBNORMAL < abs(entry) < 1e-16 for entry in expected)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_floating_point_exception_escapes(activation, output):
    """Underflow to 0 is right here; neither the user's errstate nor a warning (an error in these tests) interferes."""
    thetas = [np.array([[0.0, 1000.0], [0.0, -1000.0]]), np.array([[0.0, 1.0, 0.0], [-1000.0, 0.0, 1.0]])]
    problem = thetas, np.array([[1.0], [-1.0]]), np.eye(2)
    with np.errstate(all="raise"):
        assert np.isfinite(textbook.cost(*problem, activation=activation, output=output))
        gradient = textbook.gradients(*problem, activation=activation, output=output)
    assert all(np.isfinite(each).all() for each in gradient.thetas + gradient.deltas)


# --- what may be passed in ------------------------------------------------------------------------


def everything(thetas, X, Y, l2=0.5, **keywords):
    """All that the three functions return."""
    gradient = textbook.gradients(thetas, X, Y, l2, **keywords)
    trace = textbook.forward(thetas, X, **keywords)
    J = np.array(textbook.cost(thetas, X, Y, l2, **keywords))
    return [*gradient.thetas, *gradient.deltas, *trace.z, *trace.a, J]


def assert_same(ours, theirs):
    """To the last bit: the same float64 numbers go through the same operations."""
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == np.float64
        assert_array_equal(one, other, strict=True)


def dyadic_problem():
    """Numbers that float16 holds exactly, so that every type holds the same problem."""
    rng = np.random.default_rng(4)
    thetas = [rng.integers(-8, 9, size=shape) / 8 for shape in [(4, 4), (3, 5)]]
    return thetas, rng.integers(-8, 9, size=(6, 3)) / 8, np.eye(3)[[0, 1, 2, 2, 1, 0]]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", ">f4", "longdouble"])
def test_other_floats_are_computed_in_float64(dtype, output):
    thetas, X, Y = dyadic_problem()
    cast = [theta.astype(dtype) for theta in thetas], X.astype(dtype), Y.astype(dtype)
    assert_same(everything(*cast, output=output), everything(thetas, X, Y, output=output))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint64", "bool"])
def test_integer_targets_do_not_wrap(dtype, output):
    thetas, X, Y = dyadic_problem()
    assert_same(everything(thetas, X, Y.astype(dtype), output=output), everything(thetas, X, Y, output=output))


def test_integer_weights_and_inputs_do_not_overflow():
    thetas, X, Y = [np.array([[1, 100, 100]])], np.array([[100, 100], [-1, 1]]), np.array([[0], [1]])
    small = [theta.astype("int8") for theta in thetas], X.astype("int8"), Y.astype("uint8")
    assert textbook.forward(small[0], small[1]).z[0][0, 0] == 20001
    assert_same(everything(*small), everything([theta * 1.0 for theta in thetas], X * 1.0, Y * 1.0))


def test_nested_lists_and_tuples_are_arrays():
    thetas, X, Y = dyadic_problem()
    lists = tuple(theta.tolist() for theta in thetas), X.tolist(), tuple(map(tuple, Y.tolist()))
    assert_same(everything(*lists), everything(thetas, X, Y))


def test_memory_order_does_not_matter():
    thetas, X, Y = debug_network()
    fortran = [np.asfortranarray(theta) for theta in thetas], np.asfortranarray(X), np.asfortranarray(Y)
    strided = [np.repeat(theta, 2, axis=1)[:, ::2] for theta in thetas], X[::-1][::-1], np.repeat(Y, 3, axis=0)[::3]
    plain = everything(*(thetas, X, Y))
    for other in (fortran, strided):
        for one, two in zip(everything(*other), plain, strict=True):
            # BLAS may sum in another order.
            assert_allclose(one, two, rtol=1e-13, atol=1e-16, strict=True)


@given(problems())
def test_nothing_passed_in_is_written(problem):
    """Read-only arrays would raise on a write; and results have memory of their own."""
    thetas, X, Y, l2, keywords = problem
    for array in (*thetas, X, Y):
        array.flags.writeable = False
    gradient = textbook.gradients(thetas, X, Y, l2, **keywords)
    textbook.cost(thetas, X, Y, l2, **keywords)
    for result in gradient.thetas + gradient.deltas:
        assert not any(np.shares_memory(result, array) for array in (*thetas, X, Y))


@pytest.mark.parametrize("output", OUTPUTS)
def test_writing_to_an_activation_leaves_its_pre_activation(output):
    thetas, X, _ = debug_network()
    trace = textbook.forward(thetas, X, output=output)
    z = trace.z[-1].copy()
    trace.a[-1][...] = 0
    assert_array_equal(trace.z[-1], z)


def test_layer_without_inputs_has_a_bias_only():
    gradient = textbook.gradients([[[0.0]]], np.empty((2, 0)), [[1.0], [1.0]])
    assert_array_equal(gradient.thetas[0], [[-0.5]])


def test_targets_rounded_to_float32_are_accepted():
    Y = np.full((2, 3), np.float32(1) / np.float32(3))
    assert Y.astype(float).sum(axis=1)[0] != 1
    theta = np.zeros((3, 2))
    # log 3, with targets that are off by 1e-8.
    assert_allclose(textbook.cost([theta], [[1.0], [2.0]], Y, output="softmax"), np.log(3), rtol=1e-7)


# --- what is refused ------------------------------------------------------------------------------

THETAS, INPUTS, TARGETS = debug_network()


def with_entry(array, at, value):
    changed = np.array(array, dtype=np.result_type(array, type(value)))
    changed[at] = value
    return changed


# fmt: off
REFUSED = {
    "no layers": ({"thetas": []}, ValueError, r"thetas is empty"),
    "thetas not chained": ({"thetas": [THETAS[0], np.ones((3, 8))]}, ShapeError,
                           r"thetas\[1\] has 8 columns, expected 6.*\(5, 4\).*\(3, 8\)"),
    "a bias column missing": ({"thetas": [THETAS[0], np.ones((3, 5))]}, ShapeError,
                              r"\(5, 4\).*\(3, 5\)\. Is the bias column of thetas\[1\] missing\?"),
    "a theta transposed": ({"thetas": [THETAS[0], THETAS[1].T]}, ShapeError,
                           r"\(5, 4\).*\(6, 3\)\. Is thetas\[1\] transposed\?"),
    "thetas[1] 1-d": ({"thetas": [THETAS[0], THETAS[1].ravel()]}, ShapeError, r"thetas\[1\] must be .*got \(18,\)"),
    "theta without columns": ({"thetas": [np.ones((3, 0))]}, ShapeError, r"thetas\[0\] must be .*got \(3, 0\)"),
    "theta without units": ({"thetas": [np.ones((0, 4))]}, ShapeError, r"thetas\[0\] must be .*got \(0, 4\)"),
    "thetas one array": ({"thetas": THETAS[0]}, TypeError, r"thetas must be a list.*\(5, 4\).*\[theta\]"),
    "thetas None": ({"thetas": None}, TypeError, r"thetas must be a list.*NoneType"),
    "thetas text": ({"thetas": "Theta1"}, TypeError, r"thetas must be a list.*str"),
    "thetas a dict": ({"thetas": {"Theta1": THETAS[0]}}, TypeError, r"thetas must be a list.*dict"),
    "thetas ragged": ({"thetas": [[[1.0, 2.0], [3.0]]]}, ValueError, r"thetas\[0\] is no array"),
    "thetas NaN": ({"thetas": [THETAS[0], with_entry(THETAS[1], (2, 4), np.nan)]}, ValueError,
                   r"thetas\[1\] holds NaN at \[2, 4\]; thetas\[1\] is \(3, 6\)"),
    "thetas infinite": ({"thetas": [with_entry(THETAS[0], (0, 1), -np.inf), THETAS[1]]}, ValueError,
                        r"thetas\[0\] holds infinity at \[0, 1\]"),
    "thetas complex": ({"thetas": [THETAS[0] + 0j, THETAS[1]]}, TypeError, r"thetas\[0\] must hold real.*complex128"),
    "thetas object": ({"thetas": [THETAS[0], THETAS[1].astype(object)]}, TypeError, r"thetas\[1\] must .*dtype object"),
    "X with a bias column": ({"X": np.ones((5, 4))}, ShapeError,
                             r"X has 4 features, thetas\[0\] expects 3 .*\(5, 4\).*\(5, 4\)\. Is a bias column still"),
    "X too wide": ({"X": np.ones((5, 7))}, ShapeError, r"X has 7 features.*X is \(5, 7\), thetas\[0\] is \(5, 4\)\.$"),
    "X transposed": ({"X": INPUTS.T}, ShapeError, r"X is \(3, 5\).*Is X transposed\?"),
    "X 1-d": ({"X": np.ones(3)}, ShapeError, r"X must be \(m, 3\).*X is \(3,\).*X\.reshape\(1, -1\)"),
    "X 3-d": ({"X": np.ones((5, 3, 1))}, ShapeError, r"X must be \(m, 3\).*X is \(5, 3, 1\)"),
    "X a number": ({"X": 1.0}, ShapeError, r"X must be \(m, 3\).*X is \(\)"),
    "no examples": ({"X": np.ones((0, 3)), "Y": np.ones((0, 3))}, ShapeError, r"X has no examples; X is \(0, 3\)"),
    "X NaN": ({"X": with_entry(INPUTS, (4, 0), np.nan)}, ValueError, r"X holds NaN at \[4, 0\]"),
    "X text": ({"X": INPUTS.astype(str)}, TypeError, r"X must hold real numbers; got dtype <U"),
    "X dates": ({"X": np.zeros((5, 3), "M8[D]")}, TypeError, r"X must hold real numbers"),
    "X masked": ({"X": np.ma.masked_less(INPUTS, 0)}, TypeError, r"X is a masked array.*X\.filled\(0\)"),
    "labels": ({"Y": [2, 3, 1, 2, 3]}, ShapeError,
               r"Y is \(5,\), expected \(5, 3\).*Y holds labels; one-hot encode it: numpy\.eye\(3\)\[Y\].*\[Y - 1\]"),
    "a column of labels": ({"Y": [[2], [3], [1], [2], [3]]}, ShapeError,
                           r"Y is \(5, 1\), expected \(5, 3\).*Y holds labels.*\[Y\.ravel\(\)\]"),
    "Y transposed": ({"X": np.ones((4, 3)), "Y": np.ones((3, 4))}, ShapeError,
                     r"Y is \(3, 4\), expected \(4, 3\).*Is Y transposed\?"),
    "Y too short": ({"Y": TARGETS[:4]}, ShapeError, r"Y is \(4, 3\).*X is \(5, 3\).*same number of examples"),
    "Y too wide": ({"Y": np.eye(5)}, ShapeError, r"Y is \(5, 5\), expected \(5, 3\).*thetas\[-1\] is \(3, 6\)"),
    "Y a single vector": ({"thetas": [np.ones((1, 4))], "Y": np.ones(5)}, ShapeError,
                          r"Y is \(5,\), expected \(5, 1\).*Y\.reshape\(-1, 1\)"),
    "labels for one output": ({"thetas": [np.ones((1, 4))], "Y": [[1], [2], [1], [2], [1]]}, ValueError,
                              r"Y must be in \[0, 1\] for output='sigmoid'; it reaches from 1 to 2.*one-hot"),
    "negative probability": ({"Y": TARGETS - 0.1}, ValueError, r"Y must be in \[0, 1\].*from -0\.1 to 0\.9"),
    "softmax sums": ({"Y": with_entry(TARGETS, (3, 0), 1.0), "output": "softmax"}, ValueError,
                     r"each row of Y must sum to 1 .*row 3 sums to 2"),
    "Y None": ({"Y": None}, TypeError, r"Y must hold real numbers; got dtype object"),
    "Y infinite": ({"Y": with_entry(TARGETS, (1, 1), np.inf), "output": "identity"}, ValueError,
                   r"Y holds infinity at \[1, 1\]"),
    "Y beyond float64": ({"Y": TARGETS * np.finfo(np.longdouble).max, "output": "identity"}, ValueError,
                         r"Y holds infinity"),
    "negative l2": ({"l2": -1}, ValueError, r"l2 must be a number >= 0; got -1"),
    "l2 NaN": ({"l2": np.nan}, ValueError, r"l2 holds NaN"),
    "l2 text": ({"l2": "1"}, TypeError, r"l2 must hold real numbers"),
    "l2 complex": ({"l2": 1j}, TypeError, r"l2 must hold real numbers"),
    "l2 None": ({"l2": None}, TypeError, r"l2 must hold real numbers"),
    "l2 an array": ({"l2": [1.0]}, TypeError, r"l2 must be a number.*\(1,\)"),
    "activation": ({"activation": "softplus"}, ValueError, r"activation must be .*'relu'; got 'softplus'"),
    "activation None": ({"activation": None}, TypeError, r"activation must be .*got None"),
    "output": ({"output": "relu"}, ValueError, r"output must be one of 'sigmoid', 'softmax', 'identity'; got 'relu'"),
    "output a function": ({"output": np.tanh}, TypeError, r"output must be one of"),
    "reduction": ({"reduction": "sum"}, ValueError, r"reduction must be one of 'course', 'mean'; got 'sum'"),
    "z overflows": ({"thetas": [THETAS[0] * 1e300, THETAS[1] * 1e300], "activation": "relu"}, ValueError,
                    r"z\[1\] exceeds the range of float64"),
}
# fmt: on


@pytest.mark.parametrize(
    ("case", "name"),
    [
        (case, name)
        for case, (changes, _, _) in REFUSED.items()
        for name in ("forward", "cost", "gradients")
        if name != "forward" or not changes.keys() & {"Y", "l2", "reduction"} or case == "no examples"
    ],
)
def test_refused_with_a_message_that_names_the_argument(case, name):
    changes, error, message = REFUSED[case]
    arguments = {"thetas": THETAS, "X": INPUTS, "Y": TARGETS, "l2": 0.0} | changes
    if case == "Y beyond float64" and np.finfo(np.longdouble).max == np.finfo(np.float64).max:
        pytest.skip("longdouble is float64 on this machine")
    if name == "forward":
        del arguments["Y"], arguments["l2"]
    prefix = "textbook" if case == "z overflows" else rf"textbook\.{name}"
    with pytest.raises(error, match=rf"^{prefix}: .*{message}"):
        getattr(textbook, name)(**arguments)


def test_sparse_matrix_is_refused_with_the_way_out():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X is sparse; make it dense: X\.toarray\(\)"):
        textbook.forward(THETAS, sparse.csr_array(INPUTS))


def test_cost_and_gradient_that_overflow_are_refused():
    """z is finite, its square is not; and a delta that meets a weight of 1e200 twice."""
    with pytest.raises(ValueError, match="the cost exceeds the range"):
        textbook.cost([[[0.0, 1e200]]], [[1.0]], [[0.0]], output="identity")
    thetas = [[[1.0, 0.0]], [[0.0, 1e200]], [[0.0, 1e200]]]
    with pytest.raises(ValueError, match=r"the gradient of thetas\[0\] exceeds the range"):
        textbook.gradients(thetas, [[1.0]], [[-1e200]], activation="sigmoid", output="identity")


def test_huge_weights_cost_nothing_without_a_penalty():
    assert textbook.cost([[[0.0, 1e200]]], [[0.0]], [[1.0]]) == pytest.approx(np.log(2), rel=1e-15)


# --- the shared problem, and unrolling ------------------------------------------------------------


def test_replaced_problem_is_the_other_problem():
    """What `compare` and `diagnose` do to run variants without checking them again."""
    problem = _problem.as_problem("test", THETAS, INPUTS, TARGETS, 1.0)
    halved = replace(problem, thetas=tuple(theta / 2 for theta in problem.thetas))
    assert textbook.cost_of(halved) == textbook.cost([theta / 2 for theta in THETAS], INPUTS, TARGETS, 1.0)
    assert_same(textbook.gradients_of(halved).thetas, textbook.gradients(halved.thetas, INPUTS, TARGETS, 1.0).thetas)
    assert_same(
        textbook.gradients_of(problem, textbook.trace_of(problem)).thetas, textbook.gradients_of(problem).thetas
    )
    assert (problem.m, problem.K, problem.M, problem.shapes) == (5, 3, 5, [(5, 4), (3, 6)])
    assert replace(problem, reduction="mean").M == 15


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_roll_undoes_unroll_and_unroll_is_octaves(shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    vector = _problem.unroll(arrays)
    octave = [array[i, j] for array in arrays for j in range(array.shape[1]) for i in range(array.shape[0])]
    assert_array_equal(vector, octave)
    for rolled, array in zip(_problem.roll(vector, shapes), arrays, strict=True):
        assert_array_equal(rolled, array, strict=True)
        assert not np.shares_memory(rolled, vector)


@pytest.mark.parametrize("vector", [np.ones(37), np.ones(39), np.ones((38, 1))])
def test_roll_refuses_another_length(vector):
    with pytest.raises(ShapeError, match=re.escape(f"vector is {vector.shape}") + r".*\(38,\)"):
        _problem.roll(vector, [(5, 4), (3, 6)])


# --- code and page --------------------------------------------------------------------------------


def test_cited_equations_are_on_the_page():
    on_page = [int(tag) for tag in re.findall(r"\\tag\{(\d+)\}", (ROOT / "docs" / "backprop.md").read_text("utf-8"))]
    assert on_page == list(range(1, len(on_page) + 1))
    with open(textbook.__file__, "rb") as source:
        comments = [token.string for token in tokenize.tokenize(source.readline) if token.type == tokenize.COMMENT]
    cited = {int(number) for comment in comments for number in re.findall(r"\((\d+)\)", comment)}
    assert len(cited) > 20
    assert cited <= set(on_page)


@pytest.mark.parametrize("module", [textbook, _problem], ids=["textbook", "_problem"])
def test_textbook_imports_nothing_of_the_engine(module):
    imported = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module)
    ours = {name for name in imported if name.startswith("tinygrad_fnn")}
    assert ours <= {"tinygrad_fnn.errors", "tinygrad_fnn.check._problem"}
