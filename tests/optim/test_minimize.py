"""The bridge to scipy.optimize: SciPy's own test functions, exact Hessian products, callbacks and refusals."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import rosen, rosen_der, rosen_hess_prod

from tinygrad_fnn import Tensor
from tinygrad_fnn.errors import GraphError, MissingExtraError
from tinygrad_fnn.optim import Progress, minimize
from tinygrad_fnn.optim.minimize import _Objective

METHODS = ["L-BFGS", "CG", "BFGS", "L-BFGS-B", "Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"]


def rosenbrock():
    """Rosenbrock's function of five numbers, held in two parameters; from here its minimum at 1 is the nearest."""
    a, b = Tensor([1.3, 0.7, 0.8], requires_grad=True), Tensor([[1.9], [1.2]], requires_grad=True)

    def cost():
        x = np.concatenate([a, b.ravel()])
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    return [a, b], cost


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_the_minimum_of_rosenbrock(method):
    params, cost = rosenbrock()
    result = minimize(params, cost, method, maxiter=2000)
    # How near each method's own stopping rule lets it come.
    assert_allclose(np.concatenate([p.data.ravel() for p in params]), np.ones(5), atol=2e-3)
    assert_allclose(result.x, np.concatenate([p.data.ravel() for p in params]), rtol=0)


def test_cost_gradient_and_hessian_product_are_those_of_scipy():
    params, cost = rosenbrock()
    objective = _Objective(params, cost)
    rng = np.random.default_rng(0)
    for x in rng.normal(size=(5, 5)):
        J, g = objective(x)
        assert_allclose(J, rosen(x), rtol=1e-13)
        assert_allclose(g, rosen_der(x), rtol=1e-11)
        for v in rng.normal(size=(2, 5)):  # two products at one point share one recorded gradient
            assert_allclose(objective.hessp(x, v), rosen_hess_prod(x, v), rtol=1e-11)


def test_hessian_product_of_a_linear_parameter_is_zero():
    w, c = Tensor([1.0, 2.0], requires_grad=True), Tensor(3.0, requires_grad=True)
    objective = _Objective([w, c], lambda: (w**3).sum() + 2 * c)
    assert_allclose(objective.hessp(np.array([1.0, 2.0, 3.0]), np.ones(3)), [6.0, 12.0, 0.0])


def test_callback_sees_the_parameters_it_is_told_of():
    params, cost = rosenbrock()
    seen = []

    def callback(progress):
        assert isinstance(progress, Progress)
        seen.append((progress, rosen(np.concatenate([p._value.ravel() for p in params]))))

    result = minimize(params, cost, "L-BFGS", maxiter=7, callback=callback)
    assert [p.iteration for p, _ in seen] == list(range(1, 8)) == list(range(1, result.nit + 1))
    assert_allclose([p.cost for p, _ in seen], [J for _, J in seen], rtol=1e-13)
    assert all(later.evaluations > p.evaluations for (p, _), (later, _) in pairwise(seen))


@pytest.mark.parametrize("method", METHODS)
def test_a_true_result_of_the_callback_stops_and_keeps_the_parameters(method):
    params, cost = rosenbrock()
    costs = []
    minimize(params, cost, method, callback=lambda p: costs.append(p.cost) or p.iteration == 3)
    assert len(costs) == 3
    assert_allclose(cost().item(), costs[-1], rtol=1e-13)


def test_an_interrupt_leaves_the_parameters_of_the_last_iteration():
    params, cost = rosenbrock()
    costs, calls = [], iter(range(10**9))

    def interrupted():
        if next(calls) == 12:
            raise KeyboardInterrupt
        return cost()

    with pytest.raises(KeyboardInterrupt):
        minimize(params, interrupted, callback=lambda p: costs.append(p.cost))
    assert costs
    assert_allclose(cost().item(), costs[-1], rtol=1e-13)


def test_float32_parameters_keep_their_dtype():
    w = Tensor([3.0, -2.0], requires_grad=True, dtype=np.float32)
    minimize([w], lambda: ((w - 1) ** 2).sum())
    assert w.dtype == np.float32
    assert_allclose(w.data, [1, 1], atol=1e-6)  # a few units in the last place of float32


def test_refusals():
    params, cost = rosenbrock()
    with pytest.raises(ValueError, match="method is 'Powell', wanted one of L-BFGS, L-BFGS-B, CG"):
        minimize(params, cost, "Powell")
    with pytest.raises(ValueError, match="leaves that require a gradient"):
        minimize([], cost)
    with pytest.raises(ValueError, match="leaves that require a gradient"):
        minimize([np.ones(2)], cost)
    with pytest.raises(TypeError, match="closure must return the cost, a recorded scalar Tensor; it returned 3"):
        minimize(params, lambda: 3.0)
    with pytest.raises(ValueError, match="maxiter is -3, wanted an int >= 0"):
        minimize(params, cost, maxiter=-3)
    with pytest.raises(ValueError, match="tol is -1"):
        minimize(params, cost, tol=-1)
    with pytest.raises(TypeError, match="closure is a Tensor; wanted a function"):
        minimize(params, cost())
    with pytest.raises(TypeError, match="recorded scalar"):
        minimize(params, lambda: params[0] * 2)
    with pytest.raises(FloatingPointError, match="cost is nan at the start"):
        minimize(params, lambda: (params[0] * np.nan).sum() + params[1].sum())
    with pytest.raises(GraphError, match=r"do not depend on inputs\[1\]"):
        minimize(params, lambda: (params[0] ** 2).sum())


def test_progress_without_tqdm_names_the_extra_before_the_work(monkeypatch):
    params, _ = rosenbrock()
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tinygrad_fnn\[progress\]"'):
        minimize(params, lambda: pytest.fail("the work had begun"), progress=True)
