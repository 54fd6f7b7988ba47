"""Steps of the optimisers against the formulas of their papers and against PyTorch; groups, refusals, and state."""

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from optim.formulas import CASES, PAIRS

from tinygrad_fnn import Tensor, optim
from tinygrad_fnn.optim import SGD, Adam, AdamW, Optimizer, Rprop, flat

OPTIMIZERS = {
    name: getattr(optim, name)
    for name in optim.__all__
    if isinstance(getattr(optim, name), type)
    and issubclass(getattr(optim, name), Optimizer)
    and getattr(optim, name) is not Optimizer
}
# Every optimiser with every set of hyperparameters, and L-BFGS, whose oracle is in its own file.
RUNS = [*PAIRS, ("LBFGS", {"max_iter": 2, "lr": 0.1}), ("LBFGS", {"max_iter": 3, "line_search_fn": "strong_wolfe"})]

SHAPES = [(2, 3), (), (0,), (4,)]
SIZE = 11
START = np.linspace(-2, 1.5, SIZE)
SCALES = np.geomspace(0.1, 10, SIZE)


def leaf(values=(1.0, -2.0, 0.5), dtype=float):
    return Tensor(np.array(values), requires_grad=True, dtype=dtype)


def leaves(values=START, dtype=float):
    """Several parameters that hold one vector."""
    ends = np.cumsum([math.prod(shape) for shape in SHAPES])
    parts = np.split(values, ends[:-1])
    return [Tensor(part.reshape(s), requires_grad=True, dtype=dtype) for part, s in zip(parts, SHAPES, strict=True)]


def joined(params):
    return np.concatenate([p.detach().numpy().ravel() for p in params])


def gradient(p):
    """Of sum(scale * p**2 / 2 + cos(3 p)), whose gradient changes its sign along the way."""
    return SCALES * p - 3 * np.sin(3 * p)


def descend(optimizer, params, steps):
    """The path of the parameters, by the plain loop."""
    scales = [s.detach().numpy().astype(p.dtype) for s, p in zip(leaves(SCALES), params, strict=True)]
    path = []

    def cost():
        optimizer.zero_grad()
        terms = [(s * p * p / 2 + np.cos(3 * p)).sum() for s, p in zip(scales, params, strict=True)]
        loss = terms[0] + terms[1] + terms[2] + terms[3]
        loss.backward()
        return loss

    for _ in range(steps):
        if isinstance(optimizer, optim.LBFGS):
            optimizer.step(cost)
        else:
            cost()
            optimizer.step()
        path.append(joined(params))
    return np.array(path)


def by_formula(name, options, steps):
    step, p, path = CASES[name][0](options), START.copy(), []
    for t in range(1, steps + 1):
        p = step(p, gradient(p), t)
        path.append(p)
    return np.array(path)


# --- the formulas -----------------------------------------------------------------------------------------------------


def test_every_optimizer_has_its_formula():
    assert {name for name, _ in RUNS} == set(OPTIMIZERS)


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_steps_follow_the_formula_of_the_paper(name, options):
    params = leaves()
    path = descend(OPTIMIZERS[name](params, **options), params, 12)
    # A handful of roundings in each of 12 steps, which the slope of the gradient, up to 20, may amplify.
    assert_allclose(path, by_formula(name, options, 12), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_steps_equal_those_of_pytorch(name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    params = leaves()
    path = descend(OPTIMIZERS[name](params, **options), params, 12)
    theirs = [torch.tensor(p.detach().numpy(), requires_grad=True) for p in leaves()]
    scales = [torch.tensor(s.detach().numpy()) for s in leaves(SCALES)]
    optimizer = getattr(torch.optim, name)(theirs, **options)
    for row in path:
        optimizer.zero_grad()
        sum((s * p * p / 2 + torch.cos(3 * p)).sum() for s, p in zip(scales, theirs, strict=True)).backward()
        optimizer.step()
        reached = np.concatenate([p.detach().numpy().ravel() for p in theirs])
        # As for the formulas; but PyTorch keeps the product of NAdam's momenta in float32.
        assert_allclose(row, reached, rtol=1e-6 if name == "NAdam" else 1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_names_and_defaults_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
    ours = OPTIMIZERS[name]([leaf()]).defaults
    assert ours == {key: theirs[key] for key in ours}
    how = {"foreach", "differentiable", "fused", "capturable"}  # of the computation, not of the result
    assert set(theirs) - set(ours) <= how | {"decoupled_weight_decay"}


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_float32_follows_to_its_precision(name, options):
    params = leaves(dtype=np.float32)
    path = descend(OPTIMIZERS[name](params, **options), params, 5)
    assert path.dtype == np.float32
    # Where the gradient is nearly 0, the adaptive rules divide rounding by rounding; hence few steps and the atol.
    assert_allclose(path, by_formula(name, options, 5), rtol=2e-4, atol=2e-4)


def test_sgd_has_the_bits_of_its_formula():
    p, rng = leaf(START), np.random.default_rng(0)
    optimizer, options = SGD([p], lr=0.05, momentum=0.9), {"lr": 0.05, "momentum": 0.9}
    step, expected = CASES["SGD"][0](options), START
    for t in range(1, 11):
        p.grad = rng.normal(size=SIZE)
        expected = step(expected, p.grad, t)
        optimizer.step()
        assert_array_equal(p.detach().numpy(), expected)


@pytest.mark.parametrize(("name", "options"), PAIRS)
def test_chunks_do_not_change_a_bit(name, options, monkeypatch):
    params = leaves()
    whole = descend(OPTIMIZERS[name](params, **options), params, 4)
    monkeypatch.setattr(flat, "_LARGE", 1)
    monkeypatch.setattr(flat, "_CHUNK", 4)  # cuts through parameters
    params = leaves()
    assert_array_equal(descend(OPTIMIZERS[name](params, **options), params, 4), whole)


@pytest.mark.parametrize("name", CASES)
def test_a_zero_gradient_from_the_start_moves_nothing(name):
    p = leaf()
    optimizer = OPTIMIZERS[name]([p], weight_decay=0.0) if name == "AdamW" else OPTIMIZERS[name]([p])
    for _ in range(3):
        p.grad = np.zeros(3)
        optimizer.step()
    assert_array_equal(p.data, [1.0, -2.0, 0.5])


@pytest.mark.parametrize("name", CASES)
def test_a_nan_stays_in_its_entry(name):
    p = leaf()
    optimizer = OPTIMIZERS[name]([p])
    for _ in range(2):
        p.grad = np.array([1.0, np.nan, -1.0])
        optimizer.step()
    assert_array_equal(np.isnan(p.data), [False, True, False])


def test_rprop_sees_the_sign_of_gradients_whose_product_underflows():
    p = leaf([0.0])
    optimizer = Rprop([p], lr=1.0)
    for g in (1e-200, 1e-200):
        p.grad = np.array([g])
        optimizer.step()
    assert_allclose(p.data, [-2.2], rtol=1e-15)  # 1 and then 1.2


def test_a_constant_gradient_has_no_negative_variance():
    """Rounding takes s - a**2 below 0 for some of these, where the root would be NaN."""
    p = leaf(np.zeros(1000))
    g = np.random.default_rng(0).normal(size=1000)
    optimizer = optim.RMSprop([p], alpha=0.1, centered=True)
    for _ in range(40):
        p.grad = g
        optimizer.step()
    assert np.isfinite(p.data).all()


# --- which parameters -------------------------------------------------------------------------------------------------


def test_a_parameter_without_gradient_is_left_alone_and_counts_its_own_steps():
    params = leaves()
    optimizer = Adam(params, lr=0.1)
    alone = [Tensor(p.data, requires_grad=True) for p in params]
    each = [Adam([p], lr=0.1) for p in alone]
    for turn in range(14):
        for k, (p, q, single) in enumerate(zip(params, alone, each, strict=True)):
            p.grad = q.grad = None
            if turn % (k + 1) == 0:  # each, every second, every third, every fourth; all at 0 and 12
                p.grad = q.grad = np.full(p.shape, turn - k + 0.5)
                single.step()
        optimizer.step()
        assert_array_equal(joined(params), joined(alone))
    assert [state["step"] for state in optimizer.state_dict()["state"]] == [14, 7, 5, 4]


def test_frozen_parameters_stay_and_may_be_thawed():
    fixed, free = Tensor([1.0, 2.0]), leaf()
    optimizer = SGD([fixed, free], lr=1.0)
    free.grad = np.ones(3)
    optimizer.step()
    assert_array_equal(fixed.data, [1.0, 2.0])
    fixed.requires_grad = True
    free.requires_grad = False
    fixed.grad = np.ones(2)
    optimizer.step()
    assert_array_equal(fixed.data, [0.0, 1.0])
    assert_array_equal(free.data, [0.0, -3.0, -0.5])


def test_parameters_of_several_dtypes_step_together():
    a, b, c = leaf(dtype=np.float32), leaf(dtype=np.float64), leaf(dtype=np.float16)
    for p in (a, b, c):
        p.grad = np.ones(3)
    Adam([a, b, c], lr=0.5).step()
    assert [p.dtype for p in (a, b, c)] == [np.float32, np.float64, np.float16]
    for p in (a, b, c):
        # The first step of Adam is lr times the sign, up to eps and the rounding of a handful of operations.
        assert_allclose(p.data, [0.5, -2.5, 0.0], rtol=1e-2 if p is c else 1e-6, atol=1e-2 if p is c else 1e-6)


def test_groups_have_hyperparameters_of_their_own():
    a, b, c = leaf(), leaf(), leaf()
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 1.0}], lr=0.1)
    optimizer.add_param_group({"params": c, "weight_decay": 0.5})
    for p in (a, b, c):
        p.grad = np.ones(3)
    optimizer.step()
    start = np.array([1.0, -2.0, 0.5])
    assert_array_equal(a.data, start - 0.1)
    assert_array_equal(b.data, start - 1.0)
    assert_array_equal(c.data, start - 0.1 * (1 + 0.5 * start))
    optimizer.param_groups[1]["lr"] = 0.25
    b.grad = np.ones(3)
    optimizer.step()
    assert_array_equal(b.data, start - 1.25)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1, 1]


def test_zero_grad_forgets_or_zeroes():
    p = leaf()
    optimizer = SGD([p])
    p.grad = held = np.ones(3)
    optimizer.zero_grad(set_to_none=False)
    assert_array_equal(p.grad, np.zeros(3))
    assert_array_equal(held, np.ones(3))
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is None


def test_step_returns_what_the_closure_does():
    p = leaf()
    optimizer = SGD([p], lr=0.5)

    def closure():
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5.25
    assert_array_equal(p.data, np.zeros(3))
    assert optimizer.step() is None


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD([], lr=0.1), "no parameters"),
        (lambda: SGD([{"params": []}], lr=0.1), "no parameters in the group"),
        (lambda: SGD([leaf()], lr=-1), r"SGD: lr is -1, wanted a number in \[0, inf\)"),
        (lambda: SGD([leaf()], lr=math.nan), "lr is nan"),
        (lambda: SGD([leaf()], momentum=1.0), r"momentum is 1.0, wanted a number in \[0, 1\)"),
        (lambda: SGD([leaf()], nesterov=True), "momentum, which is 0"),
        (lambda: SGD([leaf()], momentum=0.9, dampening=0.1, nesterov=True), "dampening=0; it is 0.1"),
        (lambda: SGD([leaf()], momentum=0.9, nesterov=1), "nesterov is 1, wanted True or False"),
        (lambda: Adam([leaf()], betas=(0.9, 1.0)), r"betas\[1\] is 1.0"),
        (lambda: Adam([leaf()], betas=0.9), "betas is 0.9, wanted two numbers"),
        (lambda: SGD([leaf()], lr=True), "lr is True"),
        (lambda: Adam([leaf()], eps=-1), "eps is -1"),
        (lambda: Adam([leaf()], lr="fast"), "lr is 'fast'"),
        (lambda: AdamW([leaf()], weight_decay=-0.1), "AdamW: weight_decay is -0.1"),
        (lambda: Rprop([leaf()], etas=(1.1, 1.2)), r"etas is \(1.1, 1.2\), wanted 0 < etas\[0\] < 1 < etas\[1\]"),
        (lambda: Rprop([leaf()], step_sizes=(1.0, 0.1)), "the smaller one first"),
        (lambda: SGD([p := leaf(), p]), "listed twice"),
        (lambda: SGD([{"params": [p := leaf()]}, {"params": [p]}]), "listed twice"),
        (lambda: SGD([{"params": [leaf()], "weight_decy": 0.1}]), "no hyperparameter weight_decy; there are lr, "),
        (lambda: SGD([{"params": [leaf()], "lr": -0.1}]), "lr is -0.1"),
        (lambda: SGD([Tensor([1.0])]), "no parameter requires a gradient; is everything frozen"),
    ],
)
def test_bad_hyperparameters_and_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_bare_tensor_or_a_model_is_refused_with_what_to_pass():
    with pytest.raises(TypeError, match=r"SGD: params is a Tensor, .*pass \[p\]"):
        SGD(leaf())
    with pytest.raises(TypeError, match=r"params is a .*pass model.parameters\(\)"):
        SGD(lambda: [leaf()])
    with pytest.raises(TypeError, match="a parameter group is a dict"):
        SGD([{"parameters": [leaf()]}])
    assert SGD([leaf()], lr=np.float32(0.5)).param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("bad", [np.ones(3), Tensor([1]), leaf() * 2])
def test_what_is_no_leaf_that_can_have_a_gradient_is_refused(bad):
    with pytest.raises(TypeError, match=r"params\[0\] is no leaf"):
        Adam([bad])


def test_a_refused_group_is_not_added():
    p = leaf()
    optimizer = SGD([p])
    with pytest.raises(ValueError, match="twice"):
        optimizer.add_param_group({"params": [leaf(), p]})
    assert len(optimizer.param_groups) == 1


def test_an_optimizer_without_a_rule_says_so():
    p = leaf()
    p.grad = np.ones(3)
    with pytest.raises(TypeError, match="Optimizer has no update rule"):
        Optimizer([p]).step()


# --- state ------------------------------------------------------------------------------------------------------------


def plain(value):
    """Whether there is nothing in a state but what a file can hold."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(v) for key, v in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (str, int, float, bool, np.ndarray)


@pytest.mark.parametrize(("name", "options"), RUNS)
def test_a_resumed_run_has_the_same_bits(name, options):
    params = leaves()
    optimizer = OPTIMIZERS[name](params, **options)
    descend(optimizer, params, 5)
    state, values = optimizer.state_dict(), joined(params)
    assert plain(state)
    kept = copy.deepcopy(state)
    whole = descend(optimizer, params, 5)

    again = leaves(values)
    other = OPTIMIZERS[name](again)  # with its defaults: the state has the hyperparameters
    other.load_state_dict(state)
    assert_array_equal(descend(other, again, 5), whole)
    assert repr(state) == repr(kept)  # neither run has changed it


@pytest.mark.parametrize(("name", "options"), RUNS)
def test_a_state_before_the_first_step_can_be_loaded(name, options):
    params = leaves()
    state = OPTIMIZERS[name](params, **options).state_dict()
    assert plain(state)
    other = OPTIMIZERS[name](params)
    other.load_state_dict(state)
    again = leaves()
    assert_array_equal(descend(other, params, 3), descend(OPTIMIZERS[name](again, **options), again, 3))


def spoiled(**changes):
    params = leaves()
    optimizer = Adam(params)
    descend(optimizer, params, 1)
    return {**optimizer.state_dict(), **changes}


def without(key):
    state = spoiled()
    del state["param_groups"][0][key]
    return state


def reshaped():
    state = spoiled()
    state["state"][0]["exp_avg"] = np.zeros(6)
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: {"optimizer": "Adam"}, "missing: param_groups\n  missing: state"),
        (lambda: spoiled(optimizer="SGD"), "it is of SGD, wanted Adam"),
        (lambda: spoiled(state=[]), r"parameters: it has \[4\] of them in its groups, wanted \[4\]"),
        (lambda: SGD([leaf()]).state_dict() | {"optimizer": "Adam"}, r"it has \[1\] of them .* wanted \[4\]"),
        (lambda: without("eps"), r"missing: param_groups\[0\] eps"),
        (reshaped, r"shape: state\[0\] exp_avg is \(6,\), wanted \(2, 3\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state, message):
    params = leaves()
    optimizer = Adam(params, lr=0.5)
    before = repr(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state())
    assert repr(optimizer.state_dict()) == before


def test_a_state_that_is_no_mapping_is_refused():
    with pytest.raises(TypeError, match="got a list"):
        SGD([leaf()]).load_state_dict([])


def test_bad_hyperparameters_in_a_state_change_nothing():
    params = leaves()
    optimizer = Adam(params, lr=0.5)
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr is -1"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_the_representation_shows_each_group():
    text = repr(SGD([{"params": [leaf()]}, {"params": [leaf(), leaf()], "lr": 0.5}]))
    assert text.startswith("SGD(\n  1 parameters: lr=0.001, momentum=0.0")
    assert "\n  2 parameters: lr=0.5, " in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [entry.pop("exp_avg_sq") for entry in s["state"]], r"missing: state\[0\] exp_avg_sq"),
        (lambda s: s.update(param_groups=[{}]), "param_groups: wanted a list of dicts with params"),
        (lambda s: s.update(param_groups=3), "param_groups: wanted a list of dicts with params"),
        (lambda s: s.update(state=[3]), "state: wanted a list of dicts"),
    ],
)
def test_a_state_with_something_missing_is_refused(change, message):
    p = Tensor([1.0, 2.0], requires_grad=True)
    optimizer = Adam([p])
    p.grad = np.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
