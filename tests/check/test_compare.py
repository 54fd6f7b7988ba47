"""The table: right where the course has numbers, wrong where the learner is, and open about what it cannot compare."""

import itertools
import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.io import loadmat

import tinygrad_fnn as tg
from tinygrad_fnn import nn
from tinygrad_fnn.check import compare, comparison, textbook
from tinygrad_fnn.check._problem import as_problem
from tinygrad_fnn.errors import ShapeError

ACTIVATIONS = ("sigmoid", "tanh", "relu")
OUTPUTS = ("sigmoid", "softmax", "identity")
REDUCTIONS = ("course", "mean")
KEYWORDS = [
    dict(zip(("activation", "output", "reduction"), words, strict=True))
    for words in itertools.product(ACTIVATIONS, OUTPUTS, REDUCTIONS)
]


def sines(*shape):
    """The course's debugInitializeWeights."""
    return np.sin(np.arange(1, 1 + np.prod(shape))).reshape(shape, order="F") / 10


def debug_network():
    """The course's checkNNGradients, 3-5-3."""
    return [sines(5, 4), sines(3, 6)], sines(5, 3), np.eye(3)[np.arange(1, 6) % 3]


def network(rng, widths, m=7, scale=1.0):
    thetas = [rng.normal(size=(out, below + 1)) * scale for below, out in itertools.pairwise(widths)]
    return thetas, rng.normal(size=(m, widths[0])), np.eye(widths[-1])[rng.integers(widths[-1], size=m)]


def agrees(table, numerical=1e-9):
    """Autograd and formula round differently, 1e-12 at most; the complex step rounds as they do."""
    assert table.worst < 1e-12
    for row in table.rows:
        assert max(row.autograd_numerical, row.formula_numerical) < numerical


def model_of(thetas, activation="sigmoid", output="sigmoid", dtype=float):
    layers = []
    kinds = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "softmax": nn.Softmax}
    for theta in thetas:
        linear = nn.Linear(theta.shape[1] - 1, len(theta), rng=0, dtype=dtype)
        linear.W.data, linear.b.data = theta[:, 1:], theta[:, 0]
        layers += [linear, kinds[activation]()]
    layers = layers[:-1] + ([] if output == "identity" else [kinds[output]()])
    return nn.Sequential(*layers)


# --- agreement ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0, 1, 3])
def test_the_debug_network_of_the_course(l2):
    agrees(compare(*debug_network(), l2), numerical=1e-12)  # the course's own limit, with step 1e-4, is 1e-9


@pytest.mark.parametrize("keywords", KEYWORDS, ids=lambda k: "-".join(k.values()))
@pytest.mark.parametrize("widths", [(3, 2), (4, 5, 3), (3, 6, 5, 4, 2), (2, 1, 1)], ids=str)
def test_every_kind_of_network(keywords, widths):
    thetas, X, Y = network(np.random.default_rng(0), widths)
    agrees(compare(thetas, X, Y, 0.7, **keywords))


@given(seed=st.integers(0, 10**6), keywords=st.sampled_from(KEYWORDS), depth=st.integers(1, 4))
def test_random_networks(seed, keywords, depth):
    rng = np.random.default_rng(seed)
    thetas, X, Y = network(
        rng, rng.integers(1, 8, size=depth + 1), m=int(rng.integers(1, 9)), scale=rng.uniform(0.1, 2)
    )
    agrees(compare(thetas, X, Y, float(rng.choice([0.0, 1.0, 10.0])), **keywords))


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("z", [40.0, 700.0, 1000.0])
@pytest.mark.parametrize("right", [True, False], ids=["targets agree", "targets disagree"])
def test_saturated_outputs(output, z, right):
    thetas = [np.array([[0.0, 1.0], [0.0, -1.0], [0.5, -1.0]])]
    Y = np.array([[1.0, 0, 0], [0, 0, 1]]) if right else np.array([[0, 1.0, 0], [1, 0, 0]])
    table = compare(thetas, [[z], [-z]], Y, output=output)
    if right and z == 700.0:
        # Gradients near 1e-304 times a step of 1e-20 are below the smallest number; the formulas still have them.
        assert table.worst < 1e-12
    else:
        agrees(table)


def test_a_relu_at_exactly_0_has_derivative_0_in_all_three():
    agrees(compare([np.array([[0.0, 1.0], [1.0, 1.0]]), np.ones((1, 3))], [[0.0]], [[1]], activation="relu"))


@pytest.mark.parametrize("output", OUTPUTS)
def test_logits_of_exactly_0_agree(output):
    """Weights of zero: there the cost is made of two ramps, whose derivatives must belong together."""
    thetas, X, Y = debug_network()
    agrees(compare([0 * theta for theta in thetas], X, Y, output=output))


def test_gradients_that_are_0_agree():
    dead = [np.array([[-1.0, 0.0], [-2.0, 0.0]]), np.ones((1, 3))]
    table = compare(dead, [[1.0], [2.0]], [[0], [1]], activation="relu")
    assert table.rows[0] == comparison.Row(0, 0.0, 0.0, 0.0)


# --- the numerical column -------------------------------------------------------------------------------------------


def cost_in_50_digits(thetas, X, Y, l2, activation, output, reduction):
    """J from its definitions, without a formula for stability."""
    mp = mpmath.mp
    J = mp.mpf(0)
    for x, y in zip(X, Y, strict=True):
        a = [mp.mpf(v) for v in x]
        for l, theta in enumerate(thetas):
            z = [row[0] + mp.fdot(row[1:], a) for row in theta]
            if l < len(thetas) - 1:
                g = {"sigmoid": lambda v: 1 / (1 + mp.exp(-v)), "tanh": mp.tanh, "relu": lambda v: max(v, mp.mpf(0))}
                a = [g[activation](v) for v in z]
        if output == "sigmoid":
            a = [1 / (1 + mp.exp(-v)) for v in z]
            J -= sum(t * mp.log(p) + (1 - t) * mp.log(1 - p) for t, p in zip(y, a, strict=True))
        elif output == "softmax":
            total = sum(mp.exp(v) for v in z)
            J -= sum(t * mp.log(mp.exp(v) / total) for t, v in zip(y, z, strict=True))
        else:
            J += sum((v - t) ** 2 / 2 for t, v in zip(y, z, strict=True))
    J /= len(X) * (len(thetas[-1]) if reduction == "mean" else 1)
    return J + mp.mpf(l2) / (2 * len(X)) * sum(w**2 for theta in thetas for row in theta for w in row[1:])


@pytest.mark.parametrize("keywords", KEYWORDS, ids=lambda k: "-".join(k.values()))
def test_the_numerical_derivative_is_that_of_the_cost(keywords):
    thetas, X, Y = network(np.random.default_rng(3), (2, 3, 2), m=3)
    columns = comparison._numerical(as_problem("compare", thetas, X, Y, 0.7, **keywords))
    with mpmath.workdps(50):
        for l, (entries, slopes) in enumerate(columns):
            assert len(slopes) == thetas[l].size
            for j, k, slope in zip(*entries, slopes, strict=True):
                h = mpmath.mpf(10) ** -20
                sides = []
                for step in (h, -h):
                    moved = [[[mpmath.mpf(w) for w in row] for row in theta] for theta in thetas]
                    moved[l][j][k] += step
                    sides.append(cost_in_50_digits(moved, X, Y, 0.7, **keywords))
                exact = float((sides[0] - sides[1]) / (2 * h))
                # Central differences in 50 digits are right to 30; what is left is rounding of the complex step.
                assert slope == pytest.approx(exact, rel=1e-12, abs=1e-14)


def test_a_large_layer_is_sampled_with_its_biases_and_always_alike():
    thetas, X, Y = network(np.random.default_rng(0), (400, 25, 10), m=3)
    problem = as_problem("compare", thetas, X, Y)
    once, again = (list(comparison._numerical(problem)) for _ in range(2))
    for (entries, slopes), (others, same), theta in zip(once, again, thetas, strict=True):
        assert_array_equal(entries, others)
        assert_array_equal(slopes, same)
        assert len(slopes) == comparison.SAMPLE < theta.size
        assert len(set(zip(*map(tuple, entries), strict=True))) == len(slopes)
        assert np.sum(entries[1] == 0) >= comparison.BIASES


# --- the learner's formula ------------------------------------------------------------------------------------------


def with_mistake(mistake):
    def formula(thetas, X, Y, l2, **keywords):
        gradients = textbook.gradients(thetas, X, Y, l2, **keywords).thetas
        return mistake(gradients)

    return formula


def test_a_mistake_is_seen_in_its_layer_and_in_the_formulas_columns_only():
    table = compare(*debug_network(), 1, formula=with_mistake(lambda g: [g[0], 3 * g[1]]))
    first, second = table.rows
    assert (first.layer, second.layer) == (0, 1)
    assert max(first.autograd_formula, first.autograd_numerical, first.formula_numerical) < 1e-12
    assert second.autograd_numerical < 1e-12
    assert second.autograd_formula == table.worst == pytest.approx(0.5)  # |3 - 1| / |3 + 1|
    assert second.formula_numerical == pytest.approx(0.5)


def test_the_opposite_sign_is_infinitely_far():
    table = compare(*debug_network(), formula=with_mistake(lambda g: [-g[0], g[1]]))
    assert table.worst > 1e12  # infinite, but for the last bits
    assert comparison._apart(np.ones(3), -np.ones(3)) == np.inf


def test_sizes_whose_squares_leave_float64_are_compared():
    for size in (1e-300, 1e300):
        assert comparison._apart(np.full(3, size), np.full(3, 3 * size)) == pytest.approx(0.5)


def test_formula_gets_the_problem_and_all_keywords():
    thetas, X, Y = debug_network()
    seen = {}

    def formula(thetas, X, Y, l2, **keywords):
        seen.update(thetas=thetas, X=X, Y=Y, l2=l2, **keywords)
        return textbook.gradients(thetas, X, Y, l2, **keywords)

    compare(thetas, X.astype(np.float32), Y.astype(np.uint8), 2, formula=formula, output="softmax")
    assert (seen["l2"], seen["activation"], seen["output"], seen["reduction"]) == (2, "sigmoid", "softmax", "course")
    assert seen["X"].dtype == seen["Y"].dtype == np.float64
    assert [t.shape for t in seen["thetas"]] == [(5, 4), (3, 6)]


def test_formula_without_keywords_or_with_some():
    def plain(thetas, X, Y, l2):
        return textbook.gradients(thetas, X, Y, l2).thetas

    def some(thetas, X, Y, l2=0.0, activation="sigmoid"):
        return tuple(textbook.gradients(thetas, X, Y, l2, activation=activation).thetas)

    agrees(compare(*debug_network(), 1, formula=plain))
    agrees(compare(*debug_network(), 1, formula=some, activation="tanh"))


def test_formula_may_give_lists_or_tensors():
    agrees(compare(*debug_network(), formula=with_mistake(lambda g: [a.tolist() for a in g])))
    agrees(compare(*debug_network(), formula=with_mistake(lambda g: [tg.Tensor(a) for a in g])))


def test_formula_cannot_spoil_what_it_is_given():
    thetas, X, Y = debug_network()
    before = [a.copy() for a in (*thetas, X, Y)]

    def spoils(thetas, X, Y, l2, **keywords):
        result = textbook.gradients(thetas, X, Y, l2, **keywords)
        for array in (*thetas, X, Y):
            array[...] = 0
        thetas.clear()
        return result

    agrees(compare(thetas, X, Y, formula=spoils))
    assert_array_equal(
        np.concatenate([a.ravel() for a in (*thetas, X, Y)]), np.concatenate([a.ravel() for a in before])
    )


def test_read_only_arrays_are_fine():
    thetas, X, Y = debug_network()
    for array in (*thetas, X, Y):
        array.flags.writeable = False
    agrees(compare(thetas, X, Y))


def test_the_exception_of_a_formula_passes():
    def formula(thetas, X, Y, l2, **keywords):
        raise LookupError("as the learner wrote it")

    with pytest.raises(LookupError, match="as the learner wrote it"):
        compare(*debug_network(), formula=formula)


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (
            lambda g: [g[0], g[1][:, 1:]],
            ShapeError,
            r"layer 1 has shape \(3, 5\), expected \(3, 6\): is the bias column",
        ),
        (lambda g: [g[0].T, g[1]], ShapeError, r"layer 0 has shape \(4, 5\), expected \(5, 4\): is it transposed\?"),
        (lambda g: [g[0], g[1].ravel()], ShapeError, r"layer 1 has shape \(18,\), expected \(3, 6\)"),
        (lambda g: g[:1], ShapeError, "formula returned 1 gradients, expected 2"),
        (lambda g: None, TypeError, "it returned a NoneType"),
        (lambda g: g[0], TypeError, "it returned a ndarray"),
        (lambda g: [g[0] * np.nan, g[1]], ValueError, r"formula's gradient of layer 0 holds NaN at \[0, 0\]"),
        (lambda g: [g[0], g[1] + 1j], TypeError, "formula's gradient of layer 1 must hold real numbers"),
    ],
)
def test_what_a_formula_may_not_return(result, error, message):
    with pytest.raises(error, match=message):
        compare(*debug_network(), formula=with_mistake(result))


# --- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_model_brings_its_own_activations(activation, output):
    thetas, X, Y = network(np.random.default_rng(0), (4, 5, 3, 2))
    keywords = {"activation": activation, "output": output}
    seen = []

    def formula(thetas, X, Y, l2, **given):
        seen.append(given)
        return textbook.gradients(thetas, X, Y, l2, **given)

    table = compare(model_of(thetas, **keywords), X, Y, 0.7, formula=formula)
    agrees(table)
    assert seen[0].items() >= keywords.items()
    assert table == compare(thetas, X, Y, 0.7, **keywords)


def test_the_digit_network():
    net = nn.DigitNet(4, [5, 3], 2, rng=0)
    _, X, Y = network(np.random.default_rng(0), (4, 2))
    assert compare(net, X, Y, 0.7) == compare(net.thetas(), X, Y, 0.7)
    agrees(compare(net, X, Y, 0.7))


def test_float32_models_are_compared_in_float64():
    thetas, X, Y = network(np.random.default_rng(0), (4, 5, 2))
    agrees(compare(model_of(thetas, dtype=np.float32), X.astype(np.float32), Y))
    agrees(compare(nn.DigitNet(4, 3, 2, rng=0, dtype=np.float32), X, Y))


def test_the_model_is_left_as_it_was():
    net = nn.DigitNet(4, 3, 2, rng=0, dtype=np.float32)
    _, X, Y = network(np.random.default_rng(0), (4, 2))
    net.cost(X, Y).backward()
    before = [(p._data, p._node, p.grad.copy()) for p in net.parameters()]
    with tg.no_grad():
        agrees(compare(net, X, Y))
    for parameter, (data, node, gradient) in zip(net.parameters(), before, strict=True):
        assert parameter._data is data
        assert parameter._node is node
        assert_array_equal(parameter.grad, gradient)


def test_frozen_parameters_are_compared_as_well():
    net = nn.DigitNet(4, 3, 2, rng=0)
    for parameter in net.parameters():
        parameter.requires_grad = False
    _, X, Y = network(np.random.default_rng(0), (4, 2))
    agrees(compare(net, X, Y))
    assert not any(p.requires_grad for p in net.parameters())


def test_a_wrong_layer_of_the_model_shows_in_autograds_columns():
    class Wrong(nn.Tanh):
        def forward(self, z):
            return 0.5 * super().forward(z) + 0.5 * super().forward(z).detach()

    thetas, X, Y = network(np.random.default_rng(0), (4, 5, 2))
    model = nn.Sequential(*[Wrong() if isinstance(layer, nn.Tanh) else layer for layer in model_of(thetas, "tanh")])
    row = compare(model, X, Y).rows[0]
    assert row.autograd_formula == pytest.approx(1 / 3)  # |1 - 1/2| / |1 + 1/2|
    assert row.autograd_numerical == pytest.approx(1 / 3)
    assert row.formula_numerical < 1e-12


def test_nested_sequentials_and_logits():
    thetas, X, Y = network(np.random.default_rng(0), (4, 5, 2))
    linear, act, last = model_of(thetas, "tanh", "identity")
    nested = nn.Sequential(nn.Sequential(linear, act), nn.Sequential(last))
    for output in OUTPUTS:
        assert compare(nested, X, Y, output=output) == compare(thetas, X, Y, activation="tanh", output=output)


class Scaled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class Free(nn.Module):
    pass


L43, L32 = nn.Linear(4, 3, rng=0), nn.Linear(3, 2, rng=0)
SQUARE = nn.Linear(4, 4, rng=0)


@pytest.mark.parametrize(
    ("model", "keywords", "error", "message"),
    [
        (Free(), {}, TypeError, "the model is a Free; wanted nn.Sequential or nn.DigitNet"),
        (Scaled(L43, nn.Sigmoid()), {}, TypeError, "the model is a Scaled"),
        (L43, {}, TypeError, "the model is a Linear"),
        (nn.Sequential(), {}, TypeError, "must begin with a Linear; it is empty"),
        (nn.Sequential(nn.Sigmoid(), L43), {}, TypeError, "must begin with a Linear; it is Sigmoid, Linear"),
        (nn.Sequential(L43, L32), {}, TypeError, "layer 1 of the model is a Linear, wanted Sigmoid or Softmax"),
        (nn.Sequential(L43, L32, nn.Tanh()), {}, TypeError, "layer 1 of the model is a Linear, wanted Sigmoid or Tanh"),
        (nn.Sequential(L43, nn.Softmax(), L32), {}, TypeError, "layer 1 of the model is a Softmax"),
        (nn.Sequential(L43, nn.Tanh()), {}, TypeError, "layer 1 of the model is a Tanh, wanted Sigmoid or Softmax"),
        (nn.Sequential(L43, nn.Tanh(), nn.Tanh()), {}, TypeError, "layer 2 of the model is a Tanh, wanted Linear"),
        (nn.Sequential(L43, Free(), L32), {}, TypeError, "layer 1 of the model is a Free.*Linear, Free, Linear"),
        (nn.Sequential(nn.Linear(4, 2, bias=False)), {}, TypeError, "layer 0 of the model has no bias"),
        (nn.Sequential(L43, nn.Softmax(axis=0)), {}, TypeError, r"Softmax\(axis=0\); the classes are axis 1"),
        (nn.Sequential(SQUARE, nn.Tanh(), SQUARE), {}, TypeError, "uses a Linear twice"),
        (
            nn.Sequential(L43, nn.Tanh(), nn.Linear(3, 3), nn.ReLU(), L32),
            {},
            TypeError,
            "hidden layers have relu and tanh; the formula has one activation for all",
        ),
        (nn.DigitNet(4, 3, 2), {"activation": "tanh"}, ValueError, "activation='tanh', but the model has sigmoid"),
        (nn.DigitNet(4, 3, 2), {"output": "softmax"}, ValueError, "output='softmax', but the model has sigmoid"),
        (nn.DigitNet(4, 3, 2), {"reduction": "sum"}, ValueError, "reduction must be one of"),
    ],
)
def test_models_that_no_formula_stands_beside(model, keywords, error, message):
    with pytest.raises(error, match=message):
        compare(model, np.ones((1, 4)), np.array([[0.0, 1.0]]), **keywords)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"Y": [1, 2, 0, 1, 2]}, ShapeError, r"compare: Y is \(5,\), expected \(5, 3\).*one-hot encode"),
        ({"X": np.ones((5, 4))}, ShapeError, "compare: X has 4 features.*bias column still in X"),
        ({"X": np.full((5, 3), np.inf)}, ValueError, "compare: X holds infinity"),
        ({"l2": -1}, ValueError, "compare: l2 must be a number >= 0"),
        ({"activation": "swish"}, ValueError, "compare: activation must be one of"),
        ({"model_or_thetas": np.ones((5, 4))}, TypeError, "compare: thetas must be a list"),
        ({"model_or_thetas": []}, ValueError, "compare: thetas is empty"),
        ({"model_or_thetas": 3}, TypeError, "compare: thetas must be a list"),
    ],
)
def test_problems_that_are_refused(change, error, message):
    thetas, X, Y = debug_network()
    with pytest.raises(error, match=message):
        compare(**{"model_or_thetas": thetas, "X": X, "Y": Y} | change)


# --- the table as text, and the digits ------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", [textbook.gradients, with_mistake(lambda g: [-g[0], 0 * g[1]])])
def test_the_table_as_text(formula):
    table = compare(*debug_network(), formula=formula)
    head, *lines = str(table).splitlines()
    assert all(word in head for word in ("layer", "autograd", "formula", "numerical"))
    assert len(lines) == 2
    for line, row in zip(lines, table.rows, strict=True):
        layer, *numbers = line.split()
        assert int(layer) == row.layer
        values = (row.autograd_formula, row.autograd_numerical, row.formula_numerical)
        assert [float(n) for n in numbers] == pytest.approx(values, rel=6e-3)  # three digits are shown
        assert all(re.fullmatch(r"\d\.\d\de[+-]\d+|inf", n) for n in numbers)
        assert len(line) <= len(head) <= 120


@pytest.fixture(scope="module")
def digits(shared_data):
    data, weights = loadmat(shared_data / "ex4data1.mat"), loadmat(shared_data / "ex4weights.mat")
    return [weights["Theta1"], weights["Theta2"]], data["X"], np.eye(10)[data["y"].ravel() - 1]


@pytest.mark.parametrize("l2", [0, 1, 3])
def test_all_digits_of_the_course(digits, l2):
    thetas, X, Y = digits
    agrees(compare(nn.DigitNet.from_thetas(thetas), X, Y, l2), numerical=1e-12)


def test_all_digits_with_the_other_functions(digits):
    agrees(compare(*digits, 1, activation="relu", output="softmax", reduction="mean"))
