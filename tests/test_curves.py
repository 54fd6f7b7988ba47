"""Learning and validation curves against linear regression by its normal equations, and what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, is_grad_enabled, nn
from tinygrad_fnn.curves import Curve, learning_curve, validation_curve
from tinygrad_fnn.errors import ShapeError

rng = np.random.default_rng(5)
X = rng.normal(size=(20, 3))
y = X @ [1.0, -2.0, 0.5] + 0.3 + rng.normal(size=20)
X_VAL = rng.normal(size=(9, 3))
Y_VAL = X_VAL @ [1.0, -2.0, 0.5] + 0.3 + rng.normal(size=9)


class Regression(nn.Module):
    """Linear regression as in the course's ex5, with its cost."""

    def __init__(self):
        self.map = nn.Linear(3, 1, rng=0)

    def forward(self, X):
        return self.map(X)[:, 0]

    def cost(self, X, y, l2=0.0):
        m = len(y)
        return np.square(self(X) - y).sum() / (2 * m) + l2 / (2 * m) * np.square(self.map.W).sum()


def by_normal_equations(X, y, l2):
    """The bias and the weights that minimise the same cost."""
    A = np.column_stack([np.ones(len(X)), X])
    return np.linalg.lstsq(A.T @ A + l2 * np.diag([0.0, 1, 1, 1]), A.T @ y, rcond=None)[0]


def squared_error(theta, X, y):
    return np.mean((theta[0] + X @ theta[1:] - y) ** 2) / 2


# L-BFGS stops where the cost changes by less than 1e-9 or so of itself; errors near 0 are left over from there.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def test_learning_curve_is_that_of_the_normal_equations():
    sizes = [5, 8, 20]
    curve = learning_curve(Regression, X, y, X_VAL, Y_VAL, sizes, l2=0.5)
    assert isinstance(curve, Curve)
    assert_array_equal(curve.at, sizes)
    thetas = [by_normal_equations(X[:m], y[:m], 0.5) for m in sizes]
    # The errors are without the penalty, the training error is of what was learned from.
    assert_allclose(curve.train, [squared_error(t, X[:m], y[:m]) for t, m in zip(thetas, sizes, strict=True)], **CLOSE)
    assert_allclose(curve.validation, [squared_error(t, X_VAL, Y_VAL) for t in thetas], **CLOSE)


def test_validation_curve_is_that_of_the_normal_equations():
    lambdas = [0, 0.1, 3, 100]
    curve = validation_curve(Regression, X, y, X_VAL, Y_VAL, lambdas)
    assert_array_equal(curve.at, lambdas)
    thetas = [by_normal_equations(X, y, l2) for l2 in lambdas]
    assert_allclose(curve.train, [squared_error(t, X, y) for t in thetas], **CLOSE)
    assert_allclose(curve.validation, [squared_error(t, X_VAL, Y_VAL) for t in thetas], **CLOSE)


def test_own_cost_and_error_are_called_with_what_they_are_promised():
    seen = []

    def cost(model, X, y, l2):
        assert (type(X), type(y), l2) == (Tensor, np.ndarray, 2.0)
        assert model.training
        return model.cost(X, y, l2)

    def error(model, X, y):
        seen.append((len(X), len(y), model.training, is_grad_enabled()))
        return len(y)

    curve = learning_curve(Regression, X, y, X_VAL, Y_VAL, [4, 6], l2=2.0, cost=cost, error=error, maxiter=1)
    assert seen == [(4, 4, False, False), (9, 9, False, False), (6, 6, False, False), (9, 9, False, False)]
    assert_array_equal(curve.train, [4, 6])
    assert_array_equal(curve.validation, [9, 9])


def test_each_point_has_a_new_model():
    made = []
    validation_curve(lambda: made.append(Regression()) or made[-1], X, y, X_VAL, Y_VAL, [1, 2, 3], maxiter=0)
    assert len(set(map(id, made))) == 3


def test_maxiter_and_method_reach_minimize():
    start = float(Regression().cost(X, y).item())
    assert validation_curve(Regression, X, y, X_VAL, Y_VAL, [0], maxiter=0).train[0] == start
    with pytest.raises(ValueError, match="minimize: method is 'guess'"):
        validation_curve(Regression, X, y, X_VAL, Y_VAL, [0], method="guess")


def test_shuffle_takes_the_same_order_for_all_sizes():
    subsets = []

    def error(model, X, y):
        subsets.append(X)
        return 0.0

    for _ in range(2):
        learning_curve(
            Regression, X, y, X_VAL, Y_VAL, [3, 5], error=error, maxiter=0, shuffle=True, rng=np.random.default_rng(1)
        )
    order = np.random.default_rng(1).permutation(20)
    for k, m in ((0, 3), (2, 5), (4, 3), (6, 5)):
        assert_array_equal(subsets[k], X[order[:m]])
        assert_array_equal(subsets[k + 1], X_VAL)


def test_labels_may_be_integers_and_the_error_the_share_of_wrong_ones():
    labels, labels_val = (y > 0).astype(int), (Y_VAL > 0).astype(int)
    curve = learning_curve(
        lambda: nn.DigitNet(3, 4, 2, rng=0), X, labels, X_VAL, labels_val, [20],
        cost=lambda model, X, y, l2: model.cost(X, np.eye(2)[y], l2),
        error=lambda model, X, y: 1 - model.accuracy(X, y),
        l2=0.1,
    )  # fmt: skip
    assert 0 <= curve.train[0] <= 0.2  # the two sides of a plane, with noise on the labels


REFUSED = {
    "factory": (
        lambda: learning_curve(3, X, y, X, y, [2]),
        (TypeError, "learning_curve: model_factory is a int, wanted a function"),
    ),
    "cost": (
        lambda: validation_curve(Regression, X, y, X, y, [2], cost=1),
        (TypeError, "validation_curve: cost is a int, wanted a function"),
    ),
    "sizes": (
        lambda: learning_curve(Regression, X, y, X, y, [2, 21]),
        (ValueError, "learning_curve: sizes has 21, wanted 1 to 20, the training examples"),
    ),
    "size 0": (lambda: learning_curve(Regression, X, y, X, y, [0]), (ValueError, "learning_curve: sizes has 0")),
    "size 2.0": (
        lambda: learning_curve(Regression, X, y, X, y, [2.0]),
        (TypeError, r"sizes has 2\.0, wanted integers"),
    ),
    "size True": (lambda: learning_curve(Regression, X, y, X, y, [True]), (TypeError, "sizes has True")),
    "no sizes": (lambda: learning_curve(Regression, X, y, X, y, []), (ValueError, "learning_curve: sizes is empty")),
    "no lambdas": (lambda: validation_curve(Regression, X, y, X, y, ()), (ValueError, "lambdas is empty")),
    "negative": (lambda: validation_curve(Regression, X, y, X, y, [-1]), (ValueError, r"lambdas has -1\.0")),
    "lambda NaN": (lambda: validation_curve(Regression, X, y, X, y, [np.nan]), (ValueError, "lambdas has nan")),
    "lengths": (
        lambda: validation_curve(Regression, X, y[:3], X, y, [1]),
        (ShapeError, r"validation_curve: X is \(20, 3\) and y is \(3,\)"),
    ),
    "no examples": (
        lambda: validation_curve(Regression, X, y, X[:0], y[:0], [1]),
        (ShapeError, r"validation_curve: X_val is \(0, 3\) and y_val is \(0,\)"),
    ),
    "NaN": (
        lambda: learning_curve(Regression, X, y, X * np.nan, y, [2], maxiter=0),
        (ValueError, "learning_curve: at sizes 2 the errors are"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_curve_is_refused_by_name(case):
    call, (kind, message) = REFUSED[case]
    with pytest.raises(kind, match=message):
        call()
