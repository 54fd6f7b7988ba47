"""`diagnose` against mistakes made by hand in `wrong_backprop.py`, which shares no line with the package."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from check import wrong_backprop as hand
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.io import loadmat

from tinygrad_fnn.check import textbook
from tinygrad_fnn.check.diagnose import Diagnosis, diagnose
from tinygrad_fnn.check.mistakes import TABLE

Made, Net = hand.Made, hand.Net

seeds = st.integers(0, 2**32 - 1)
# Below this distance a mistake is rounding to a float64 gradient; a factor 10 keeps clear of the border.
VISIBLE = 1e-5


def ask(wrong, net: Net) -> Diagnosis:
    return diagnose(wrong, *net.question, **net.keywords)


def right_gradient(net: Net) -> list[np.ndarray]:
    return textbook.gradients(*net.question, **net.keywords).thetas


def same_arrays(name: str, wrong: list[np.ndarray], net: Net, numbers: list[float]) -> bool:
    """Whether `name`, made by hand somewhere, is `wrong` too."""
    slugs = name.split("+")
    if not set(slugs) <= set(hand.SLUGS):
        return False
    everywhere = [
        [
            Made(slug, place, way, number)
            for place in hand.possible(slug, net)
            for way in range(hand.WAYS.get(slug, 1))
            for number in (numbers if slug in {"scaled", "updated-weights"} else [0.0])
        ]
        for slug in slugs
    ]
    return any(hand.distance(hand.gradient(net, *made), wrong) < 1e-6 for made in itertools.product(*everywhere))


def nearest_factors(wrong: list[np.ndarray], net: Net) -> list[float]:
    """What the data term, or the whole gradient, would have to be multiplied by to come nearest to `wrong`."""
    right, data = hand.gradient(net), hand.gradient(replace(net, l2=0.0))
    if any(a.shape != b.shape for a, b in zip(wrong, right, strict=True)):
        return []
    flat = [np.concatenate([a.ravel() for a in arrays]) for arrays in (wrong, right, data)]
    w, r, d = flat
    return [float((w - r + d) @ d / (d @ d)), float(w @ r / (r @ r))]


def trained(net: Net, steps: int) -> Net:
    """Some steps down the slope."""
    for _ in range(steps):
        moved = [theta - 0.3 * g for theta, g in zip(net.thetas, right_gradient(net), strict=True)]
        net = replace(net, thetas=[np.clip(theta, -20, 20) for theta in moved])
    return net


def octave_vector(arrays: list[np.ndarray]) -> np.ndarray:
    return np.array([array[i, j] for array in arrays for j in range(array.shape[1]) for i in range(array.shape[0])])


def debug_network(l2: float = 0.0, **keywords: str) -> Net:
    """The course's checkNNGradients."""

    def sines(out, columns):
        return np.array([[np.sin(1 + i + out * j) / 10 for j in range(columns)] for i in range(out)])

    return Net([sines(5, 4), sines(3, 6)], sines(5, 3), np.eye(3)[[1, 2, 0, 1, 2]], l2, **keywords)


@pytest.fixture(scope="module")
def ex4(shared_data: Path) -> Net:
    """The course's digits and weights; columns of Y in file order, label 10 last."""
    weights, digits = loadmat(shared_data / "ex4weights.mat"), loadmat(shared_data / "ex4data1.mat")
    thetas = [weights["Theta1"], weights["Theta2"]]
    return Net(thetas, digits["X"], np.eye(10)[digits["y"].ravel().astype(int) - 1], 1.0)


# --- one mistake ----------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", hand.SLUGS)
@settings(max_examples=6, suppress_health_check=[HealthCheck.filter_too_much])
@given(seed=seeds)
@example(seed=2875)
def test_a_mistake_made_by_hand_is_named_and_placed(slug, seed):
    rng = np.random.default_rng(seed)
    net = hand.random_net(rng)
    if rng.random() < 0.2:
        net = trained(net, 30)
    made = hand.random_mistake(rng, slug, net)
    assume(made is not None)
    wrong, right = hand.gradient(net, made), hand.gradient(net)
    # Of a network trained to rest a layer's gradient is nothing but rounding, in which no mistake can be seen.
    assume(not any(0 < np.linalg.norm(a) < 1e-12 for a in right))
    distance = hand.distance(wrong, right)
    assume(not 1e-7 < distance < VISIBLE)
    found = ask(wrong if rng.random() < 0.5 or slug == "transposed" else octave_vector(wrong), net)
    if distance < VISIBLE:
        assert found.name == "correct", "a mistake that changes nothing is none"
        return
    assert found.name == slug or same_arrays(found.name, wrong, net, [made.number]), (made, found)
    assert found.candidates[0][0] == found.name
    if found.name == slug and made.layers is not None and len(made.layers) == 1:
        assert found.where == made.layers[0]
        assert f"layer {made.layers[0]}" in found.message


@pytest.mark.parametrize("slug", hand.SLUGS)
@settings(max_examples=2, suppress_health_check=[HealthCheck.filter_too_much])
@given(seed=seeds)
def test_a_mistake_in_single_precision_is_named(slug, seed):
    rng = np.random.default_rng(seed)
    net = hand.random_net(rng)
    made = hand.random_mistake(rng, slug, net)
    assume(made is not None)
    wrong = hand.gradient(net, made)
    assume(hand.distance(wrong, hand.gradient(net)) > 1e-3)  # well above what single precision can resolve
    found = ask([array.astype(np.float32) for array in wrong], net)
    assert found.name == slug or same_arrays(found.name, wrong, net, [made.number]), (made, found)


@pytest.mark.parametrize(
    ("made", "distance"),
    [
        # LEARNER.md: cosine 0.994, 0.999 and 1 with the right gradient, so the direction says nothing
        (Made("missing-g-prime"), 0.75),
        (Made("one-minus-a-only"), 0.50),
        (Made("scaled", number=3.0), 0.67),
        (Made("extra-g-prime-at-output"), 0.75),
    ],
)
def test_mistakes_that_point_downhill_on_the_debug_network(made, distance):
    net = debug_network()
    wrong = hand.gradient(net, made)
    p, q = octave_vector(wrong), octave_vector(hand.gradient(net))
    assert p @ q / np.linalg.norm(p) / np.linalg.norm(q) > 0.994
    found = ask(wrong, net)
    assert found.name == made.slug
    assert dict(found.candidates)["correct"] == pytest.approx(distance, abs=0.01)


@pytest.mark.parametrize(
    "slug", [slug for slug in hand.SLUGS if slug not in {"missing-1-over-k", "softmax-wrong-axis"}]
)
def test_every_mistake_on_the_real_digits(slug, ex4):
    some = np.arange(0, 5000, 100)  # five of each digit
    net = replace(ex4, X=ex4.X[some], Y=ex4.Y[some])
    if slug == "weights-not-transposed":
        pytest.skip("no weights of 400-25-10 are square")
    place = hand.possible(slug, net)[-1]
    made = Made(slug, place, 0, 0.7)
    wrong = hand.gradient(net, made)
    if hand.distance(wrong, right_gradient(net)) < VISIBLE:
        assert slug == "input-not-trained"  # the first pixel is always 0
        assert ask(wrong, net).ok
        return
    assert ask(wrong, net).name == slug


def test_a_step_is_found():
    net = debug_network(1.0)
    found = ask(hand.gradient(net, Made("updated-weights", number=0.1)), net)
    assert found.name == "updated-weights"
    assert "theta - 0.1 gradient" in found.message


def test_a_step_is_found_through_several_layers():
    net = hand.random_net(np.random.default_rng(1), layers=5, sizes=[4, 3, 5, 4, 3, 3], m=6, activation="tanh", l2=1.0)
    found = ask(hand.gradient(net, Made("updated-weights", number=2.0)), net)
    assert (found.name, found.where) == ("updated-weights", None)
    assert "theta - 2 gradient" in found.message


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Made("scaled", number=3.0), "3 times too large"),
        (Made("scaled", number=0.5), "0.5 times"),
        (Made("scaled", number=-0.1), "-0.1 times"),
        (Made("missing-1-over-m"), "5 times too large"),
        (Made("extra-1-over-m"), "5 times too small"),
        (Made("extra-1-over-k"), "3 times too small"),
        (Made("bias-not-over-m"), "5 times too large"),
        (Made("bias-over-m-twice"), "5 times too small"),
        (Made("l2-not-over-m"), "5 times too large"),
        (Made("l2-factor-two"), "2 times too large"),
        (Made("l2-factor-half"), "0.5 times"),
    ],
)
def test_a_wrong_factor_is_in_the_message(made, words):
    net = debug_network(1.0)
    assert words in ask(hand.gradient(net, made), net).message


def test_each_slug_has_a_message_of_its_own_of_at_most_two_sentences():
    messages = {}
    for slug, mistake in TABLE.items():
        messages[slug] = f"{mistake.sentence} {mistake.remedy}"
        assert len(re.findall(r"\.(?= [A-Z]|$)", messages[slug])) == 2, slug
    assert len(set(messages.values())) == len(TABLE)


# --- mistakes that cannot be told apart -----------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        Made("bias-summed-over-units", (1,)),  # the errors of an example sum to 0
        Made("bias-not-trained", (1,)),
    ],
)
def test_with_a_softmax_the_summed_bias_is_no_bias(made):
    net = debug_network(output="softmax")
    found = ask(hand.gradient(net, made), net)
    assert found.name in {"bias-summed-over-units", "bias-not-trained"}
    assert found.where == 1


def test_mistakes_that_add_up_to_one_have_its_name():
    net = debug_network(1.0)
    wrong = hand.gradient(net, Made("missing-1-over-m"), Made("l2-not-over-m"))
    assert ask(wrong, net).name == "missing-1-over-m"


@pytest.mark.parametrize("slug", [slug for slug in hand.SLUGS if slug.startswith("l2-")])
def test_without_a_penalty_its_mistakes_are_none(slug):
    net = debug_network(0.0)
    assert ask(hand.gradient(net, Made(slug)), net).ok


def test_a_transposed_vector_is_a_row_major_one():
    net = debug_network()
    found = ask(octave_vector(hand.gradient(net, Made("transposed"))), net)
    assert found.name == "unrolled-row-major"


# --- two mistakes ---------------------------------------------------------------------------------


@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
@given(seed=seeds)
def test_two_mistakes_at_once_are_named_together_or_unknown(seed):
    rng = np.random.default_rng(seed)
    net = hand.random_net(rng, layers=int(rng.integers(1, 4)))
    first, second = (hand.random_mistake(rng, str(slug), net) for slug in rng.choice(hand.SLUGS, 2, replace=False))
    assume(first is not None and second is not None)
    wrong = hand.gradient(net, first, second)
    alone = [hand.gradient(net), hand.gradient(net, first), hand.gradient(net, second)]
    assume(all(hand.distance(a, b) > VISIBLE for a, b in itertools.combinations([*alone, wrong], 2)))
    found = ask(wrong, net)
    if found.name == "unknown":
        return
    if "scaled" in found.name:
        # 1/m and 1/K together, or either with a factor, are a factor when there is no penalty
        factors = {"missing-1-over-m", "extra-1-over-m", "extra-1-over-k", "missing-1-over-k", "sign-flipped", "scaled"}
        if {first.slug, second.slug} <= factors:
            return
    together = "+".join(sorted([first.slug, second.slug]))
    assert found.name == together or same_arrays(
        found.name, wrong, net, [first.number, second.number, *nearest_factors(wrong, net)]
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Made("bias-not-trained"), Made("missing-g-prime")),
        (Made("missing-1-over-m", way=1), Made("l2-on-bias")),
        (Made("sign-flipped"), Made("updated-weights", number=0.3)),
        (Made("scaled", number=0.7), Made("updated-weights", number=0.3)),
        (Made("scaled", number=0.01), Made("l2-missing")),
        (Made("labels-off-by-one"), Made("labels-not-one-hot")),
        (Made("example-skipped", way=1), Made("overwritten-not-accumulated")),
        (Made("wrong-column-dropped"), Made("g-prime-of-a")),
        (Made("unrolled-row-major"), Made("weights-read-row-major")),
        (Made("bias-column-last"), Made("unit-not-trained", (1,))),
        (Made("l1-instead-of-l2"), Made("l2-not-over-m")),
        (Made("z-in-outer-product"), Made("bias-zeroed-in-place")),
        (Made("transposed"), Made("missing-g-prime")),
    ],
)
def test_a_pair_on_the_debug_network(first, second):
    net = debug_network(1.0)
    found = ask(hand.gradient(net, first, second), net)
    assert found.name == "+".join(sorted([first.slug, second.slug]))
    assert found.candidates[0][0] == found.name
    assert not found.ok


def test_a_pair_in_the_same_layer_says_which():
    net = debug_network(1.0)
    found = ask(hand.gradient(net, Made("bias-not-over-m", (1,)), Made("l2-missing", (1,))), net)
    assert (found.name, found.where) == ("bias-not-over-m+l2-missing", 1)
    assert found.message.count("layer 1") == 2


def test_a_mistake_in_two_of_three_hidden_layers_keeps_its_name():
    net = hand.random_net(np.random.default_rng(3), layers=4, sizes=[3, 4, 4, 5, 2], m=6, activation="sigmoid")
    found = ask(hand.gradient(net, Made("missing-g-prime", (0, 2))), net)
    assert (found.name, found.where) == ("missing-g-prime", None)


def test_three_mistakes_are_not_named_by_two_of_them():
    net = debug_network(1.0)
    wrong = hand.gradient(net, Made("missing-g-prime"), Made("bias-not-trained"), Made("l2-missing"))
    found = ask(wrong, net)
    assert found.name == "unknown"
    assert len(found.candidates) >= 3


# --- a right gradient is never accused ------------------------------------------------------------


def single_or_double_pass(net: Net, dtype: type) -> list[np.ndarray]:
    """Backpropagation as a learner writes it, a(1 - a) and all, in `dtype`."""
    thetas, X, Y = [theta.astype(dtype) for theta in net.thetas], net.X.astype(dtype), net.Y.astype(dtype)
    g = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}
    last = {
        "sigmoid": g["sigmoid"],
        "identity": lambda z: z,
        "softmax": lambda z: np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1)[:, None],
    }
    slope = {"sigmoid": lambda a: a * (1 - a), "tanh": lambda a: 1 - a * a, "relu": lambda a: (a > 0).astype(dtype)}
    a = [X]
    for l, theta in enumerate(thetas):
        z = a[-1] @ theta[:, 1:].T + theta[:, 0]
        a.append(last[net.output](z) if l == len(thetas) - 1 else g[net.activation](z))
    delta = (a[-1] - Y) / dtype(len(X) * (Y.shape[1] if net.reduction == "mean" else 1))
    gradient = []
    for l in reversed(range(len(thetas))):
        G = np.hstack([delta.sum(axis=0)[:, None], delta.T @ a[l]])
        G[:, 1:] += dtype(net.l2) / dtype(len(X)) * thetas[l][:, 1:]
        gradient.insert(0, G)
        if l:
            delta = (delta @ thetas[l][:, 1:]) * slope[net.activation](a[l])
    assert gradient[0].dtype == dtype
    return gradient


def differences(net: Net, step: float = 1e-4) -> list[np.ndarray]:
    thetas = [theta.copy() for theta in net.thetas]
    gradient = [np.zeros(theta.shape) for theta in thetas]

    def J():
        return textbook.cost(thetas, net.X, net.Y, net.l2, **net.keywords)

    for theta, G in zip(thetas, gradient, strict=True):
        for at in np.ndindex(theta.shape):
            centre = theta[at]
            theta[at] = centre + step
            above = J()
            theta[at] = centre - step
            G[at] = (above - J()) / (2 * step)
            theta[at] = centre
    return gradient


def net_of_any_size(rng: np.random.Generator) -> Net:
    """Weights small, trained, or so large that units saturate."""
    net = hand.random_net(rng, layers=int(rng.choice([1, 1, 1, 2, 2, 3])))
    kind = rng.integers(4)
    if kind == 1:
        net = trained(net, 40)
    if kind == 2:
        net = replace(net, thetas=[theta * rng.choice([3.0, 10.0]) for theta in net.thetas])
    return net


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("block", range(8))
def test_hundreds_of_right_passes_are_not_accused(dtype, block):
    rng = np.random.default_rng([block, np.dtype(dtype).itemsize])
    for _ in range(100):
        net = net_of_any_size(rng)
        with np.errstate(over="ignore"):  # exp(-z) as a learner writes it
            gradient = single_or_double_pass(net, dtype)
        found = ask(gradient, net)
        assert found.name == "correct", (found, net)
        assert found.ok
        assert found.where is None


@pytest.mark.parametrize("block", range(5))
def test_right_finite_differences_are_not_accused(block):
    rng = np.random.default_rng(block)
    for _ in range(40):
        net = net_of_any_size(rng)
        found = ask(differences(net), net)
        assert found.ok, (found, net)


def test_differences_across_a_kink_are_right_and_called_numerical():
    net = Net(
        [np.array([[5e-5, 1.0], [0.5, 0.0]]), np.array([[0.1, 1.0, 0.5]])], np.array([[0.0], [3.0]]), np.ones((2, 1))
    )
    net = replace(net, activation="relu", output="identity")
    found = ask(differences(net), net)
    assert found.ok
    assert dict(found.candidates)["correct"] > 0.01
    assert "central differences" in found.message


def test_the_textbook_is_right_on_the_digits(ex4):
    for dtype in (np.float64, np.float32):
        assert ask([array.astype(dtype) for array in right_gradient(ex4)], ex4).ok
    assert ask(single_or_double_pass(ex4, np.float32), ex4).ok


def test_saturated_units_are_no_mistake():
    """At z = 1000 a(1 - a) is 0 where the derivative is exp(-1000); neither is wrong."""
    net = Net([np.array([[1000.0, 0.5]]), np.array([[-1000.0, 2000.0]])], np.ones((3, 1)), np.ones((3, 1)))
    assert ask(single_or_double_pass(net, np.float64), net).ok
    assert ask(right_gradient(net), net).ok


# --- what is none of these ------------------------------------------------------------------------


@settings(max_examples=10)
@given(seed=seeds)
@example(seed=0)
def test_noise_is_unknown(seed):
    rng = np.random.default_rng(seed)
    net = hand.random_net(rng, layers=int(rng.integers(2, 4)))
    right = right_gradient(net)
    noisy = [array * (1 + 0.03 * rng.normal(size=array.shape)) for array in right]
    assume(hand.distance(noisy, right) > 1e-3)  # a gradient of zeros has no noise
    found = ask(noisy, net)
    assert found.name == "unknown"
    assert len(found.candidates) >= 3
    assert all(np.isfinite(distance) for _, distance in found.candidates)


@settings(max_examples=10)
@given(seed=seeds)
def test_one_layer_slightly_too_large_is_unknown_and_placed(seed):
    rng = np.random.default_rng(seed)
    net = hand.random_net(rng, layers=int(rng.integers(2, 4)), m=6)
    assume(all(len(theta) > 1 for theta in net.thetas))
    l = int(rng.integers(len(net.thetas)))
    wrong = right_gradient(net)
    assume(all(np.linalg.norm(array) > 1e-6 for array in wrong))  # dead units: then one layer is all there is
    wrong[l] = 1.05 * wrong[l]
    found = ask(wrong, net)
    assert (found.name, found.where) == ("unknown", l)
    assert f"layer {l}" in found.message


def test_candidates_are_ordered_and_each_slug_is_there_once():
    net = debug_network(1.0)
    for made in [(), (Made("missing-g-prime"),), (Made("l2-missing"), Made("sign-flipped"))]:
        found = ask(hand.gradient(net, *made), net)
        slugs, distances = zip(*found.candidates, strict=True)
        assert slugs[0] == found.name
        assert len(set(slugs)) == len(slugs) >= 3
        assert list(distances) == sorted(distances)
        assert found.name in str(found)
        assert found.message in str(found)


def test_a_zero_gradient_of_a_perfect_fit_has_candidates_too():
    net = Net([np.array([[0.0, 1.0]])], np.array([[2.0]]), np.array([[2.0]]), output="identity")
    assert ask([np.zeros((1, 2))], net).ok
    found = ask([np.array([[1.0, 0.0]])], net)
    assert found.name == "unknown"
    assert len(found.candidates) >= 3


def test_distances_are_finite_for_numbers_of_any_size():
    net = debug_network(1.0)
    for size in (1e200, 1e300, 1e-200, 1e-310):
        found = ask([size * array for array in right_gradient(net)], net)
        assert not found.ok
        assert all(np.isfinite(distance) for _, distance in found.candidates)


def test_the_same_question_has_the_same_answer():
    net = debug_network(1.0)
    wrong = [array + 0.01 for array in right_gradient(net)]
    first = ask(wrong, net)
    assert first == ask(wrong, net)
    assert first == ask([np.asfortranarray(array) for array in wrong], net)


# --- scikit-learn ---------------------------------------------------------------------------------


def test_scikit_learn_leaves_out_one_over_k():
    """scikit-learn #8349: its loss is a mean over the outputs, its gradient is not."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    X, Y, alpha = rng.normal(size=(7, 3)), rng.normal(size=(7, 4)), 0.5
    model = neural_network.MLPRegressor(
        hidden_layer_sizes=[5], activation="logistic", solver="lbfgs", alpha=alpha, max_iter=1
    )
    with pytest.warns(Warning, match="onverge"):
        model.fit(X, Y)
    coefs, biases = model.coefs_, model.intercepts_
    thetas = [np.column_stack([b, W.T]) for W, b in zip(coefs, biases, strict=True)]
    grads = [[np.empty_like(W) for W in coefs], [np.empty_like(b) for b in biases]]
    activations = [X, None, None]
    deltas = [None, None]
    if "sample_weight" in model._backprop.__code__.co_varnames:
        model._backprop(X, Y, None, activations, deltas, *grads)
    else:
        model._backprop(X, Y, activations, deltas, *grads)
    wrong = [np.column_stack([b, W.T]) for W, b in zip(*grads, strict=True)]

    as_its_loss = diagnose(wrong, thetas, X, Y, alpha, output="identity", reduction="mean")
    assert as_its_loss.name == "missing-1-over-k"
    assert "K = 4" in as_its_loss.message
    assert diagnose(wrong, thetas, X, Y, alpha, output="identity", reduction="course").ok


# --- what comes in --------------------------------------------------------------------------------


FORMS = {
    "lists": lambda arrays: [array.tolist() for array in arrays],
    "tuple": tuple,
    "vector": octave_vector,
    "list of numbers": lambda arrays: octave_vector(arrays).tolist(),
    "column vector": lambda arrays: octave_vector(arrays).reshape(-1, 1),
    "fortran order": lambda arrays: [np.asfortranarray(array) for array in arrays],
    "big endian": lambda arrays: [array.astype(">f8") for array in arrays],
    "longdouble": lambda arrays: [array.astype(np.longdouble) for array in arrays],
    "strided": lambda arrays: [np.repeat(array, 2, axis=1)[:, ::2] for array in arrays],
    "reversed strides": lambda arrays: [array[::-1, ::-1].copy()[::-1, ::-1] for array in arrays],
    "strided vector": lambda arrays: np.repeat(octave_vector(arrays), 3)[::3],
    "big endian single vector": lambda arrays: octave_vector(arrays).astype(">f4"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("slug", [None, "missing-g-prime", "unrolled-row-major"])
def test_any_form_of_the_same_gradient_has_the_same_name(form, slug):
    net = debug_network(1.0)
    wrong = hand.gradient(net, *[Made(slug)] if slug else [])
    assert ask(FORMS[form](wrong), net).name == (slug or "correct")


def test_a_zero_of_integers_is_a_gradient():
    net = debug_network()
    wrong = right_gradient(net)
    found = ask([np.zeros((5, 4), dtype=int), wrong[1]], net)
    assert (found.name, found.where) == ("layer-not-trained", 0)


def test_nothing_is_written_to():
    net = debug_network(1.0)
    arrays = [*net.thetas, net.X, net.Y, *hand.gradient(net, Made("bias-not-trained"), Made("missing-g-prime"))]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    ask(arrays[4:], net)
    for array, copy in zip(arrays, before, strict=True):
        assert_array_equal(array, copy)


def test_arrays_that_are_all_transposed_are_named():
    net = debug_network(1.0)
    found = ask([array.T for array in right_gradient(net)], net)
    assert found.name == "transposed"
    assert found.candidates[0][0] == "transposed"
    assert "transpose" in found.message


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (
            lambda w: [w[0], w[1][:, 1:]],
            ValueError,
            r"layer 1 has shape \(3, 5\), expected \(3, 6\): is the bias column",
        ),
        (lambda w: [w[0], w[1].T], ValueError, r"layer 1 has shape \(6, 3\), expected \(3, 6\): is it transposed"),
        (lambda w: [w[0], w[1][:2]], ValueError, r"layer 1 has shape \(2, 6\), expected \(3, 6\)"),
        (lambda w: w[:1], ValueError, r"wrong has 1 layers, expected 2.*\(5, 4\).*\(5, 4\), \(3, 6\)"),
        (lambda w: [], ValueError, r"wrong has 0 layers, expected 2"),
        (lambda w: octave_vector(w)[1:], ValueError, r"wrong has shape \(37,\), expected \(38,\)"),
        (
            lambda w: octave_vector([g[:, 1:] for g in w]),
            ValueError,
            r"\(30,\), expected \(38,\).*bias columns missing",
        ),
        (lambda w: w[0], ValueError, r"wrong has shape \(5, 4\), expected \(38,\)"),
        (lambda w: [w[0], w[1] * np.nan], ValueError, r"wrong\[1\], the gradient of layer 1, holds NaN"),
        (lambda w: [w[0] / 0.0, w[1]], ValueError, r"wrong\[0\], the gradient of layer 0, holds infinity"),
        (lambda w: octave_vector([w[0], w[1] * np.nan]), ValueError, "gradient of layer 1, holds NaN"),
        (lambda w: [w[0] + 1j, w[1]], TypeError, r"wrong\[0\].*complex128, shape \(5, 4\)"),
        (lambda w: [w[0].astype(str), w[1]], TypeError, r"wrong\[0\].*real numbers"),
        (lambda w: [w[0].astype(object), w[1]], TypeError, r"wrong\[0\].*object"),
        (lambda w: octave_vector(w) + 1j, TypeError, "wrong must hold real numbers"),
        (lambda w: None, TypeError, "wrong must be a list of arrays.*NoneType"),
        (lambda w: "gradient", TypeError, "wrong must be a list of arrays.*str"),
        (lambda w: dict(enumerate(w)), TypeError, "wrong must be a list of arrays.*dict"),
        (lambda w: [[[1.0, 2.0], [3.0]], w[1]], ValueError, r"wrong\[0\]"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_is_no_gradient_is_refused(spoil, error, words):
    net = debug_network()
    with pytest.raises(error, match=words) as caught:
        ask(spoil(right_gradient(net)), net)
    assert "diagnose" in str(caught.value)


def test_results_of_the_textbook_are_refused_with_a_hint():
    net = debug_network()
    with pytest.raises(TypeError, match=r"\.thetas"):
        ask(textbook.gradients(*net.question), net)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [({"l2": -1.0}, "l2"), ({"activation": "swish"}, "activation"), ({"reduction": "sum"}, "reduction")],
)
def test_the_question_is_checked_as_the_textbook_does(keywords, words):
    net = debug_network()
    with pytest.raises(ValueError, match=f"diagnose: {words}"):
        diagnose(right_gradient(net), net.thetas, net.X, net.Y, **keywords)


# --- many examples --------------------------------------------------------------------------------


def test_an_unknown_gradient_of_the_digits_is_placed(ex4):
    rng = np.random.default_rng(0)
    right = right_gradient(ex4)
    noisy = [right[0] * (1 + 0.03 * rng.normal(size=right[0].shape)), right[1]]
    found = ask(noisy, ex4)
    assert (found.name, found.where) == ("unknown", 0)


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_a_gradient_of_zeros_is_no_factor_of_the_right_one(l2):
    rng = np.random.default_rng(0)
    thetas = [rng.normal(size=(4, 4)), rng.normal(size=(2, 5))]
    X, Y = rng.normal(size=(6, 3)), np.eye(2)[[0, 1, 1, 0, 0, 1]]
    found = diagnose([0 * theta for theta in thetas], thetas, X, Y, l2)
    assert found.name == "unknown"
    assert "zero in every layer" in found.message
    assert len(found.candidates) >= 3
