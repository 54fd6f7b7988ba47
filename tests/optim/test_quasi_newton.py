"""L-BFGS with a closure: against PyTorch iteration by iteration, Newton's step on a parabola, and the line search."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.optim import LBFGS, minimize

START = np.array([-1.2, 1.0, 0.8])


def rosenbrock(w):
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


def closure_of(optimizer, cost):
    def closure():
        optimizer.zero_grad()
        J = cost()
        J.backward()
        return J

    return closure


def quartic(w):
    return ((w - 1) ** 4).sum() + (w * w).sum() / 2 + w[0] * w[1]


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1, "max_iter": 1},
        {"lr": 0.1, "max_iter": 4},
        {"lr": 0.1, "max_iter": 4, "history_size": 2},
        {"lr": 0.3, "max_iter": 20, "max_eval": 3},
        {"lr": 0.5, "max_iter": 50, "tolerance_change": 1e-3},
        {"lr": 0.5, "max_iter": 50, "tolerance_grad": 1e-2},
    ],
)
def test_without_a_line_search_iterations_equal_those_of_pytorch(options):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    w = Tensor(START, requires_grad=True)
    optimizer = LBFGS([w], **options)
    theirs = torch.tensor(START, requires_grad=True)
    reference = torch.optim.LBFGS([theirs], **options)
    for _ in range(6):
        ours = optimizer.step(closure_of(optimizer, lambda: quartic(w)))
        other = reference.step(closure_of(reference, lambda: quartic(theirs)))
        assert_allclose(ours.item(), other.item(), rtol=1e-9)
        # The same operations in another order; each iteration's curvature amplifies the roundings of the last.
        assert_allclose(w.data, theirs.detach().numpy(), rtol=1e-7, atol=1e-9)
    state = next(iter(reference.state.values()))
    assert optimizer.state_dict()["search"]["iterations"] == state["n_iter"]
    assert optimizer.state_dict()["search"]["evaluations"] == state["func_evals"]


def test_two_iterations_solve_a_parabola_of_one_parameter():
    """The second step has the exact curvature, y / s."""
    w = Tensor(5.0, requires_grad=True)
    optimizer = LBFGS([w], lr=1.0, max_iter=2, max_eval=10)
    optimizer.step(closure_of(optimizer, lambda: 3 * (w - 2) ** 2))
    assert_allclose(w.item(), 2.0, rtol=1e-14)


def test_where_the_cost_curves_down_the_pair_is_left_out():
    """Of cos near its maximum s.y < 0; what remains is the plain step down the slope."""
    w = Tensor(0.1, requires_grad=True)
    optimizer = LBFGS([w], lr=0.5, max_iter=3, max_eval=10)
    optimizer.step(closure_of(optimizer, lambda: np.cos(w)))
    expected = 0.1
    for _ in range(3):
        expected += 0.5 * np.sin(expected)
    assert_allclose(w.item(), expected, rtol=1e-14)  # a rounding or two in each of three steps


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_line_search_finds_the_minimum_of_rosenbrock(dtype):
    w = Tensor(START, requires_grad=True, dtype=dtype)
    optimizer = LBFGS([w], line_search_fn="strong_wolfe", max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-14)
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: rosenbrock(w)))
    # float32: the cost is flat to its precision, 6e-8, along the valley, whose curvature is 0.4.
    assert_allclose(w.data, np.ones(3), rtol=1e-8 if dtype == np.float64 else 2e-3)


def test_the_cost_falls_from_step_to_step_on_a_network():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)), rng.integers(0, 2, size=(30, 1)).astype(float)
    net = nn.Sequential(nn.Linear(4, 5, rng=1), nn.Tanh(), nn.Linear(5, 1, rng=2))
    loss = nn.BCEWithLogitsLoss()
    optimizer = LBFGS(net.parameters(), line_search_fn="strong_wolfe", max_iter=5)
    costs = [optimizer.step(closure_of(optimizer, lambda: loss(net(X), Y))).item() for _ in range(6)]
    assert (np.diff(costs) < 0).all()
    twin = nn.Sequential(nn.Linear(4, 5, rng=1), nn.Tanh(), nn.Linear(5, 1, rng=2))
    found = minimize(twin, lambda: loss(twin(X), Y), maxiter=25)
    # Another number of iterations on the same path to overfitting: the same order of magnitude.
    assert 0.1 < loss(net(X), Y).item() / found.fun < 10


def test_a_minimum_is_left_alone():
    w = Tensor([1.0, 1.0], requires_grad=True)
    for search in (None, "strong_wolfe"):
        optimizer = LBFGS([w], line_search_fn=search)
        J = optimizer.step(closure_of(optimizer, lambda: ((w - 1) ** 2).sum()))
        assert J.item() == 0.0
        assert optimizer.state_dict()["search"]["evaluations"] == 1
        assert_array_equal(w.data, [1.0, 1.0])


def test_parameters_without_a_gradient_stay():
    used, unused, fixed = Tensor([3.0], requires_grad=True), Tensor([2.0], requires_grad=True), Tensor([4.0])
    optimizer = LBFGS([unused, used, fixed], line_search_fn="strong_wolfe")
    optimizer.step(closure_of(optimizer, lambda: ((used - 1) ** 2).sum()))
    assert_allclose(used.data, [1.0], rtol=1e-7)
    assert_array_equal(unused.data, [2.0])
    assert_array_equal(fixed.data, [4.0])


def test_a_closure_may_return_a_number():
    w = Tensor([3.0], requires_grad=True)
    optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    assert optimizer.step(lambda: closure_of(optimizer, lambda: (w * w).sum())().item()) == 9.0
    assert_allclose(w.data, [0.0], atol=1e-7)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda w: LBFGS([w], max_iter=0), ValueError, "max_iter is 0, wanted an int >= 1"),
        (lambda w: LBFGS([w], max_eval=2.5), ValueError, "max_eval is 2.5"),
        (lambda w: LBFGS([w], history_size=True), ValueError, "history_size is True"),
        (lambda w: LBFGS([w], line_search_fn="armijo"), ValueError, "'armijo', wanted 'strong_wolfe' or None"),
        (lambda w: LBFGS([w], tolerance_grad=-1), ValueError, "tolerance_grad is -1"),
        (lambda w: LBFGS([w]).step(), TypeError, "step wants a closure"),
        (lambda w: LBFGS([w]).add_param_group({"params": [w]}), ValueError, "one group only"),
    ],
)
def test_refusals(make, kind, message):
    with pytest.raises(kind, match=message):
        make(Tensor([1.0], requires_grad=True))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("search"), "missing: search"),
        (lambda s: s["search"].pop("y"), "missing: search y"),
        (lambda s: s["search"]["y"].pop(), "not pairs of 3 numbers"),
        (lambda s: s["search"].update(last=[np.ones(2), np.ones(2)]), "not pairs of 3 numbers"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil, message):
    w = Tensor(START, requires_grad=True)
    optimizer = LBFGS([w], lr=0.1, max_iter=3)
    optimizer.step(closure_of(optimizer, lambda: quartic(w)))
    state = optimizer.state_dict()
    before = repr(state)
    spoil(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert repr(optimizer.state_dict()) == before
