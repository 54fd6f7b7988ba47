"""A checker that finds nothing is no checker: every kind of wrong gradient, and every kind of right one."""

import copy
import functools
import math
import re
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.check import GradcheckError, gradcheck
from tinygrad_fnn.check.stencil import differentiate
from tinygrad_fnn.gate import apply
from tinygrad_fnn.rules import RULES, dispatching, elementwise, primitive

RNG = np.random.default_rng(1)
X = RNG.uniform(0.5, 2.0, (3, 4))
report = functools.partial(gradcheck, raise_exception=False)


@pytest.fixture
def entered():
    """Enter a rule for the length of a test."""
    own = []

    def enter(fun, *derivatives, kind=elementwise):
        kind(fun, *derivatives, name=f"test.{fun.__name__}")
        own.append(fun)
        return lambda *args: apply(fun, *args)

    yield enter
    for fun in own:
        del RULES[fun]


def cube(x):
    return x * x * x


def cube_real(x):
    """The same for real numbers only, so that the complex step does not apply."""
    return np.asarray(x) ** 3 if np.isrealobj(x) else 1 / 0


FORMS = pytest.mark.parametrize("form", [cube, cube_real], ids=["complex step", "stencil"])


# --- right ----------------------------------------------------------------------------------------------------------

RIGHT = {
    "elementwise": (np.exp, X),
    "a number": (np.exp, 0.5),
    "0-d": (lambda x: x**2, np.array(3.0)),
    "a product": (lambda x, y: x @ y, [X, X.T]),
    "broadcast": (lambda x, y, z: x * y + z, [X, X[:1], 2.0]),
    "a list of numbers is several inputs": (lambda x, y: x * y, [2.0, 3.0]),
    "a scalar result": (lambda x: np.sum(np.log(x)), X),
    "used twice": (lambda x: x * np.exp(x), X),
    "max without ties": (lambda x: np.max(x, axis=1), X),
    "where": (lambda x: np.where(x > 1, x**2, -x), X),
    "abs, which drops imaginary parts": (lambda x: np.abs(x) * x, -X),
    "abs beside a term that keeps them": (lambda x: np.abs(x) + x, X),
    "sigmoid": (tg.sigmoid, X),
    "softplus": (tg.softplus, X),
    "softmax": (lambda x: tg.softmax(x, axis=1), X),
    "a sum that is constant": (lambda x: tg.softmax(x).sum(), X),
    "a constant": (lambda x: 0 * x + 1, X),
    "not recorded, and constant": (lambda x: Tensor([1.0, 2.0]), X),
    "saturated": (lambda x: tg.log_softmax(x * x, axis=1), 20 * X),
    "cross-entropy": (lambda z: nn.functional.binary_cross_entropy_with_logits(z, X > 1), X),
    "one input without influence": (lambda x, y: x**2, [X, X]),
    "tiny derivatives": (lambda x: 1e-20 * x**2, X),
    "tiny beside a large value": (lambda x: 1 + 1e-20 * x, X),
    "huge": (lambda x: 1e200 * x**2, X),
    "tiny inputs": (np.log, 1e-12 * X),
    "huge inputs": (np.sqrt, 1e200 * X),
    "a kink nearby": (tg.relu, [[1e-9, -1e-9, 2.0]]),
    "many results": (lambda x: np.exp(np.reshape(x, (-1, 1)) * np.ones(50)), X),
    "arrays as a mapping": (lambda b, W: W @ W.T + b, {"W": X, "b": 1.0}),
    "keyword-only": (lambda *, W: W**2, {"W": X}),
    "a generator of inputs": (lambda x, y: x * y, (a for a in (X, X))),
    "empty": (np.exp, np.zeros((0, 3))),
    "empty beside full": (lambda x, y: np.concatenate([x, y]), [np.zeros(0), X[0]]),
    "empty result": (lambda x: x[:0], X[0]),
    "read-only": (np.exp, np.broadcast_to(1.5, (2, 3))),
    "transposed": (np.exp, X.T),
    "longdouble": (np.exp, X.astype(np.longdouble)),
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("second_order", [False, True])
def test_right_gradients_pass(name, second_order):
    f, inputs = RIGHT[name]
    inputs = [X, X] if name.startswith("a generator") else inputs  # one that is used up, once for each test
    found = gradcheck(f, inputs, second_order=second_order)
    assert found
    assert found.ok
    assert found.verdict == "right"
    assert found.worst is None or found.worst.error <= found.tolerance
    assert "right" in str(found)


def test_a_change_below_the_digits_of_the_value_is_no_mistake():
    # The derivative is 1e-65, and the value is 0 all around: what is added to 150 is not seen.
    assert gradcheck(lambda x: tg.log_softmax(x)[1], [[0.0, 150.0]])


def test_a_generator_is_read_once():
    assert gradcheck(lambda x, y: x * y, (a for a in (X, X)))


FUNCTIONS = (
    lambda x, W: np.tanh(x @ W) * np.exp(-np.square(x @ W)),
    lambda x, W: tg.softplus(x @ W),
    lambda x, W: tg.relu(x @ W) * np.abs(x).sum(),
    lambda x, W: tg.log_softmax(x @ W, axis=1),
    lambda x, W: np.sqrt(1 + np.square(x @ W)),
)


def problem(seed, largest):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 3)) * 10.0 ** rng.integers(-6, largest + 1)
    return FUNCTIONS[seed % len(FUNCTIONS)], [x, rng.normal(size=(3, 2))]


@settings(max_examples=25)
@given(st.integers(0, 10**6))
def test_right_gradients_pass_anywhere(seed):
    assert gradcheck(*problem(seed, 2), rng=seed, second_order=seed % 2 == 0)


@settings(max_examples=25)
@given(st.integers(0, 10**6))
@example(362880)  # derivatives below the smallest normal number
def test_right_gradients_are_never_called_wrong(seed):
    # Beyond 1e2 a sum of large terms may cancel to a small x @ W, whose digits the gradient lacks as well.
    assert report(*problem(seed, 6), rng=seed, second_order=seed % 2 == 0).verdict != "wrong"


@settings(max_examples=25)
@given(st.integers(0, 10**6).filter(lambda seed: seed % len(FUNCTIONS) != 2))  # where relu is 0 nothing can be wrong
def test_wrong_gradients_are_caught_anywhere(seed):
    f, (x, W) = problem(seed, 0)

    def spoiled(x, W):
        out = f(x, W)
        return 1.001 * out - 0.001 * out.detach()

    assert report(spoiled, [x, W], rng=seed).verdict == "wrong"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_narrow_floats_get_a_wider_tolerance(dtype):
    x = X.astype(dtype)
    found = gradcheck(lambda x, y: np.tanh(x) * y, [x, x])
    assert found.tolerance == float(np.finfo(dtype).eps) ** 0.5
    # Backpropagation in this dtype is rounded, and the numerical derivative is not.
    assert found.worst.error < 10 * np.finfo(dtype).eps


def test_a_function_that_rounds_to_float32_is_measured_by_that():
    assert gradcheck(lambda x: np.exp(x.astype(np.float32)), X).tolerance == float(np.finfo(np.float32).eps) ** 0.5


@pytest.mark.parametrize("second_order", [False, True])
def test_module_and_its_parameters(second_order):
    model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh(), nn.Linear(3, 2, rng=1))
    assert gradcheck(lambda: np.square(model(X)).sum(), model.parameters(), second_order=second_order)
    assert gradcheck(lambda: model(X), dict(model.named_parameters()), second_order=second_order)


def test_float32_model():
    model = nn.DigitNet(4, 3, 2, rng=0, dtype=np.float32)
    assert gradcheck(lambda: model.cost(X.astype(np.float32), np.eye(2)[[0, 1, 1]]), model.parameters())
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}


# --- the digits -----------------------------------------------------------------------------------------------------


def test_cost_of_the_course_network_on_its_digits(shared_data):
    data, weights = loadmat(shared_data / "ex4data1.mat"), loadmat(shared_data / "ex4weights.mat")
    some = np.arange(0, 5000, 250)
    digits, Y = data["X"][some], np.eye(10)[data["y"].ravel()[some] - 1]
    net = nn.DigitNet.from_thetas([weights["Theta1"], weights["Theta2"]])
    found = gradcheck(lambda: net.cost(digits, Y, l2=1.0), net.parameters(), max_elements=20)
    assert found.checked == 20


# --- wrong ----------------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize(
    ("partial", "hint"),
    [
        (lambda x: 1.001 * 3 * x**2, r"1\.001 times"),
        (lambda x: (1 + 1e-6) * 3 * x**2, r"1 times|1\.00000\d* times"),
        (lambda x: -3 * x**2, "sign is flipped"),
        (lambda x: 0 * x, "gradient is zero"),
        (lambda x: 3 * x**2 + 1e-6, "times"),
        (lambda x: x * np.nan, "gradient is nan"),
        (lambda x: x * np.inf, "gradient is (inf|nan)"),
    ],
    ids=["scaled by 1.001", "scaled by 1 + 1e-6", "negated", "zero", "shifted by 1e-6", "nan", "inf"],
)
def test_wrong_rules_are_caught(form, partial, hint, entered):
    f = entered(form, partial)
    with pytest.raises(GradcheckError, match=r"gradcheck: wrong: .*") as caught:
        gradcheck(f, X)
    assert re.search(hint, caught.value.report.message)
    assert not caught.value.report
    assert isinstance(caught.value, AssertionError)


@FORMS
def test_scaled_by_1_001_is_caught_in_float32(form, entered):
    f = entered(form, lambda x: 1.001 * 3 * x**2)
    assert report(f, X.astype(np.float32)).verdict == "wrong"


@FORMS
def test_the_one_wrong_element_is_named_with_both_values(form, entered):
    def spoiled(ct, x):
        g = ct * 3 * x**2
        g[1, 2] *= 1.25
        return g

    f = entered(form, spoiled, kind=primitive)
    found = report(lambda y, x: f(x) * y, [1.0, X])
    assert (found.verdict, found.worst.input, found.worst.index) == ("wrong", 1, (1, 2))
    right = 3 * X[1, 2] ** 2
    assert "input 1, element [1, 2]" in str(found)
    assert found.worst.output == (1, 2)
    assert (found.worst.analytic, found.worst.numerical) == pytest.approx((1.25 * right, right), rel=1e-8)
    assert found.worst.error == pytest.approx(0.2, rel=1e-4)  # the larger one is raised by what rounding may blur


def test_inputs_of_a_mapping_are_named_by_their_key(entered):
    f = entered(cube, lambda x: 2 * x**2)
    assert report(lambda W, b: b + f(W), {"b": 1.0, "W": X}).worst.input == "W"


@FORMS
@pytest.mark.parametrize("place", [0, 1234, 4999])
def test_the_one_wrong_element_is_found_outside_the_sample(form, place, entered):
    def spoiled(ct, x):
        g = ct * 3 * x**2
        g[place] *= 1.001
        return g

    f = entered(form, spoiled, kind=primitive)
    x = np.random.default_rng(0).uniform(1, 2, 5000)
    found = report(lambda x: f(x).sum(), x, max_elements=5)
    assert (found.verdict, found.worst.index, found.checked) == ("wrong", (place,), 5)


def test_a_wrong_gradient_to_one_element_of_the_result_is_named():
    def wrong_second(x):
        return np.stack([x**2, x.detach() * x])

    found = report(wrong_second, 3.0)
    assert (found.verdict, found.worst.output) == ("wrong", (1,))
    assert (found.worst.analytic, found.worst.numerical) == pytest.approx((3, 6))


@pytest.mark.parametrize("f", [lambda x: x.detach() ** 2, lambda x: Tensor(x.detach()._read()) ** 2])
def test_a_gradient_that_does_not_arrive_is_named(f):
    for both in (f, lambda x: f(x) + Tensor(1.0, requires_grad=True)):
        assert "no gradient reached" in report(both, X).message
    assert "no gradient reached" in report(lambda x, y: f(x) + y, [X, X]).message


def test_a_detached_factor_is_wrong():
    found = report(lambda x: x * x.detach(), X)
    assert found.message == "the gradient is 0.5 times what the values of f say"


@FORMS
def test_first_order_right_and_second_order_wrong(form, entered):
    entered(square_times_three, lambda x: 5 * x)
    slope = dispatching(square_times_three)
    f = entered(form, lambda x: slope(x))
    assert gradcheck(f, X)
    found = report(f, X, second_order=True)
    assert (found.verdict, found.order) == ("wrong", 2)
    assert "second order" in str(found)
    assert "0.833333 times" in found.message


def square_times_three(x):
    return 3 * x**2


def test_a_rule_that_is_constant_under_create_graph_is_wrong_in_second_order_only(entered):
    f = entered(cube, lambda x: 3 * getattr(x, "_value", x) ** 2)
    assert gradcheck(f, X)
    assert "no gradient reached" in report(f, X, second_order=True).message


# --- not a function -------------------------------------------------------------------------------------------------


def test_a_function_that_draws_from_the_global_state_is_named():
    noisy = np.random.rand  # the global state is what this is about
    assert "draws random numbers" in report(lambda x: x * noisy(), X).message


def test_a_function_that_draws_from_a_generator_of_its_own_is_named():
    rng = np.random.default_rng(0)
    found = report(lambda x: x * rng.random(x.shape), X)
    assert found.verdict == "wrong"
    assert found.worst is None


def test_a_function_that_counts_its_calls_is_named():
    calls = []

    def f(x):
        calls.append(1)
        return x * len(calls)

    with pytest.raises(GradcheckError, match="keeps state"):
        gradcheck(f, X)


def test_a_function_that_writes_to_its_input_is_named():
    def through_data(x):
        x.data[...] = 1.0
        return x * 2

    def under_no_grad(x):
        with tg.no_grad():
            x -= 0.5
        return x * 2

    for f in (through_data, under_no_grad):
        assert "writes to its input 0" in report(f, X).message


def test_a_training_step_in_the_closure_is_named_and_undone():
    w = Tensor(X, requires_grad=True)

    def step():
        cost = np.square(w).sum()
        cost.backward()
        w.data -= 0.1 * w.grad
        return cost

    assert "writes to its input 0" in report(step, [w]).message
    np.testing.assert_array_equal(w.data, X)
    assert w.grad is None


# --- kinks, and values too coarse -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "x", "index", "sides"),
    [
        (tg.relu, [[1.0, 0.0, -1.0]], (1,), ("0", "1")),
        (np.abs, 0.0, (), ("-1", "1")),
        (lambda x: np.abs(x) + 5 * x, 0.0, (), ("4", "6")),
        (lambda x: np.max(x), [[3.0, 1.0, 3.0]], (0,), ("0", "1")),
        (lambda x: np.maximum(x, 2.0), [[2.0, 5.0]], (0,), ("0", "1")),
        (lambda x: np.clip(x, -1, 1), [[0.0, 1.0]], (1,), ("1", "0")),
        (lambda x: np.where(x >= 0, x, -x), 0.0, (), ("-1", "1")),
        (lambda x: np.linalg.norm(x), [[0.0, 0.0]], (0,), ("-1", "1")),
        (lambda x: 1e-8 * np.abs(x) + x, 0.0, (), ("1", "1")),
    ],
)
def test_a_kink_is_no_mistake(f, x, index, sides):
    found = report(f, x)
    assert (found.verdict, found.worst.index) == ("kink", index)
    assert f"{sides[0]} from the left and {sides[1]} from the right" in found.message
    assert not found


@pytest.mark.parametrize("f", [lambda x: x**1.5, np.sqrt, np.log1p])
def test_the_edge_of_a_domain_is_a_kink(f):
    x = -1.0 if f is np.log1p else 0.0
    with np.errstate(divide="ignore"):
        found = report(lambda x: f(x), x)
    # log1p(-1) is no number to begin with.
    assert found.verdict == ("precision" if f is np.log1p else "kink")


def test_a_mistake_is_worse_than_a_kink(entered):
    f = entered(cube, lambda x: 2 * x**2)
    assert report(lambda x, y: tg.relu(x) + f(y), [0.0, 1.0]).verdict == "wrong"


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: x + 1e16, 0.3),
        (lambda x: (x + 1e16) - 1e16, 0.3),
        (lambda x: np.abs(np.abs(x + 1e16) - 1e16), 3.0),
        (lambda x: np.exp(x.astype(np.float32)).astype(float), 0.3),
    ],
)
def test_values_with_too_few_digits_are_no_mistake(f, x):
    found = report(f, x)
    assert found.verdict == "precision"
    assert "too few digits" in found.message


def test_a_value_that_is_no_number_is_named():
    found = report(lambda x: np.log(x), [[1.0, 0.0]])
    assert (found.verdict, found.worst) == ("precision", None)
    assert "-inf in output element [1]" in found.message


# --- what is left behind --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_are_restored_to_the_last_bit(fails):
    w = Tensor(X, requires_grad=True)
    (w * 2).sum().backward()
    gradient, node, calls = w.grad.copy(), w._node, []
    removed = []
    w.register_hook(lambda ct: removed.append(ct))

    def f():
        calls.append(w._value.dtype)
        if fails and len(calls) == 7:
            raise KeyboardInterrupt
        return np.square(w).sum()

    if fails:
        with pytest.raises(KeyboardInterrupt):
            gradcheck(f, w)
    else:
        gradcheck(f, w, second_order=True)
    assert w._node is node
    np.testing.assert_array_equal(w.data.view(np.uint64), X.view(np.uint64))
    np.testing.assert_array_equal(w.grad, gradient)
    assert w.dtype == np.float64
    assert not removed
    assert len(set(calls)) > 1  # other precisions were tried, in the same handle


def test_what_data_handed_out_still_writes_through():
    w = Tensor(X, requires_grad=True)
    handed_out = w.data
    gradcheck(lambda: np.square(w).sum(), w)
    handed_out[...] = 1.0
    np.testing.assert_array_equal(w._value, np.ones_like(X))


def test_the_exception_of_a_function_passes():
    def f(x):
        raise LookupError("as the user wrote it")

    with pytest.raises(LookupError, match="as the user wrote it"):
        gradcheck(f, X)


def test_inputs_are_not_written_to():
    x, t = X.copy(), Tensor(X, requires_grad=True)
    gradcheck(lambda x, t: x * t, [x, t], second_order=True)
    np.testing.assert_array_equal(x, X)
    assert t.grad is None


def test_numpys_global_state_and_warnings_are_left_alone():
    state = copy.deepcopy(np.random.get_state())  # noqa: NPY002  # it is what must not move
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        gradcheck(lambda x: np.log(x) + np.abs(x), X, second_order=True)
    assert not seen
    after = np.random.get_state()  # noqa: NPY002  # as above
    assert all(np.array_equal(a, b) for a, b in zip(state, after, strict=True))


def test_the_same_question_gets_the_same_answer():
    assert str(report(np.tanh, X)) == str(report(np.tanh, X))
    assert report(np.tanh, X, rng=5) == report(np.tanh, X, rng=np.random.default_rng(5))


def test_cost_is_bounded_by_max_elements():
    calls = []

    def f(x):
        calls.append(1)
        return np.exp(x).sum()

    found = gradcheck(f, np.zeros(100_000), max_elements=10)
    assert found.checked == 10
    assert found.methods == ("complex step", "five-point stencil")  # the latter once, to see that the former holds
    assert len(calls) < 60


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "inputs", "options", "error", "message"),
    [
        (np.exp, np.arange(3), {}, TypeError, "input 0 has dtype int64.*write floats.*close over it"),
        (np.exp, [X, X > 1], {}, TypeError, "input 1 has dtype bool"),
        (np.exp, X + 1j, {}, TypeError, "input 0 has dtype complex128; wanted real"),
        (np.exp, {"x": np.array(["a"])}, {}, TypeError, "input 'x' has dtype <U1"),
        (np.exp, [], {}, ValueError, "there are no inputs"),
        (np.exp, [[1.0, np.nan]], {}, ValueError, r"input 0 of shape \(2,\) holds NaN or infinity"),
        (np.exp, X, {"tolerance": 0.0}, ValueError, "tolerance is 0.0"),
        (np.exp, X, {"tolerance": math.nan}, ValueError, "tolerance is nan"),
        (np.exp, X, {"max_elements": 0}, ValueError, "max_elements is 0"),
        (lambda x: 1.0, X, {}, TypeError, "must return a Tensor of floating-point numbers; it returned a float"),
        (lambda x: x > 1, X, {}, TypeError, "must return a Tensor"),
        (lambda x: (x, x), X, {}, TypeError, "it returned a tuple"),
        (lambda x: Tensor([1, 2]), X, {}, TypeError, "it returned a Tensor of dtype int64"),
        (lambda: 1, X, {}, TypeError, "f takes no arguments.*must be a leaf.*got a ndarray"),
        (lambda: 1, Tensor(X), {}, TypeError, "f takes no arguments.*must be a leaf"),
    ],
)
def test_refused(f, inputs, options, error, message):
    with pytest.raises(error, match=message):
        gradcheck(f, inputs, **options)


def test_a_leaf_given_twice_is_refused():
    w = Tensor(X, requires_grad=True)
    with pytest.raises(ValueError, match="same leaf is given twice"):
        gradcheck(lambda: w * w, [w, w])


# --- the stencil by itself ------------------------------------------------------------------------------------------

EPS = float(np.finfo(float).eps)
SMOOTH = {
    "exp": (np.exp, mpmath.exp),
    "sin(20 t)": (lambda t: np.sin(20 * t), lambda t: mpmath.sin(20 * t)),
    "1/(1 - 3t)": (lambda t: 1 / (1 - 3 * t), lambda t: 1 / (1 - 3 * t)),
    "log(1e-3 + t)": (lambda t: np.log(1e-3 + t), lambda t: mpmath.log(mpmath.mpf(1e-3) + t)),
    "1e9 + exp": (lambda t: 1e9 + np.exp(t), mpmath.exp),
    "t |t|": (lambda t: t * abs(t), lambda t: t**2),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_the_error_of_the_stencil_is_within_its_bound(name):
    f, exact = SMOOTH[name]
    with np.errstate(invalid="ignore"):
        estimate = differentiate(lambda t: np.array([f(np.float64(t))]), 1.0, 1.0, EPS)
    off = abs(estimate.value[0] - float(mpmath.diff(exact, 0)))
    assert off <= estimate.error[0]
    assert not estimate.kink[0]
    # A bound that is no use would hold as well: eight digits, but for what the size of the value costs.
    assert estimate.error[0] < (1e-4 if name.startswith("1e9") else 1e-8) * max(1, abs(estimate.value[0]))


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-7])
def test_a_kink_nearby_is_stepped_around(distance):
    estimate = differentiate(lambda t: np.array([abs(t + distance)]), 1.0, 1.0, EPS)
    assert abs(estimate.value[0] - 1) <= estimate.error[0] < 1e-6
    assert not estimate.kink[0]


def test_noise_is_no_kink():
    rng = np.random.default_rng(0)
    estimate = differentiate(lambda t: t + 1e-9 * rng.normal(size=50), 1.0, 1.0, EPS)
    assert not estimate.kink.any()
    assert (np.abs(estimate.value - 1) <= estimate.error).mean() > 0.95
