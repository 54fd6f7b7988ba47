"""L-BFGS on functions whose minima are known, where the line search is hard, and where rounding ends it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import rosen, rosen_der

from tinygrad_fnn.optim.lbfgs import lbfgs


def test_a_quadratic_is_solved_to_the_precision_asked_for():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 30))
    A = A @ A.T + np.eye(30)
    b = rng.normal(size=30)
    found = lbfgs(lambda x: (0.5 * x @ A @ x - b @ x, A @ x - b), np.zeros(30), gtol=1e-6, ftol=0)
    assert found.success
    assert np.abs(A @ found.x - b).max() <= 1e-6
    assert_allclose(found.x, np.linalg.solve(A, b), atol=1e-5)  # gtol over the smallest eigenvalue, which is above 1
    assert (found.jac == A @ found.x - b).all()


@pytest.mark.parametrize("start", [[-1.2, 1.0], [100.0, -50.0], [-1e4, 1e4]])
def test_the_valley_of_rosenbrock_from_near_and_far(start):
    found = lbfgs(lambda x: (rosen(x), rosen_der(x)), np.array(start), gtol=1e-8, ftol=0)
    assert_allclose(found.x, [1, 1], atol=1e-6)


def test_the_cost_never_rises_and_wolfe_holds():
    costs = []
    fun = lambda x: (rosen(x), rosen_der(x))
    lbfgs(fun, np.array([-1.2, 1.0, -0.5, 2.0]), callback=lambda x: costs.append(rosen(x)))
    assert len(costs) > 10
    assert (np.diff(costs) < 0).all()


def test_a_step_into_infinity_is_taken_back():
    with np.errstate(all="ignore"):
        found = lbfgs(lambda x: (float(x[0] - np.log(x[0])), 1 - 1 / x), np.array([1e-3]), gtol=1e-9, ftol=0)
    assert_allclose(found.x, [1.0], atol=1e-8)


def test_rounding_ends_the_search_without_an_endless_loop():
    found = lbfgs(lambda x: (1e16 + float(x @ x), 2 * x), np.array([1e-3, 2e-3]), gtol=0, ftol=0, maxiter=100)
    assert found.nfev < 200
    assert "precision" in found.message


def test_the_limit_of_iterations_and_the_callback_end_it():
    fun = lambda x: (rosen(x), rosen_der(x))
    found = lbfgs(fun, np.array([-1.2, 1.0]), maxiter=3)
    assert (found.nit, found.success) == (3, False)

    def stop(x):
        raise StopIteration

    found = lbfgs(fun, np.array([-1.2, 1.0]), callback=stop)
    assert found.nit == 1
    assert found.message == "stopped by the callback"


def test_a_start_at_the_minimum_needs_one_evaluation_and_the_start_is_not_written_to():
    x0 = np.ones(3)
    x0.flags.writeable = False
    found = lbfgs(lambda x: (rosen(x), rosen_der(x)), x0)
    assert (found.nit, found.nfev, found.success) == (0, 1, True)
