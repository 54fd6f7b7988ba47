"""Wrong factors: the 1/m, the 1/K and the sign, of the data term or of the whole gradient."""

from tinygrad_fnn.check._problem import Problem
from tinygrad_fnn.check.stages import Total, every_layer

__all__ = ["SCALES"]


def _averaged_over_outputs(problem: Problem) -> tuple[int, ...]:
    return every_layer(problem) if problem.reduction == "mean" else ()


SCALES = (
    Total(
        slug="missing-1-over-m",
        sentence="The data term is {m} times too large: the sum over the m = {m} examples is not divided by m.",
        remedy="Divide the sum over the examples by m.",
        code="delta = a[-1] - Y\ngradient = delta.T @ below",
        ways={"": lambda t: t.times(t.m), "the penalty as well": lambda t: t.times(t.m, t.m)},
        seen="hunkim/DeepLearningZeroToAll #173",
    ),
    Total(
        slug="extra-1-over-m",
        sentence="The data term is {m} times too small: it is divided by m = {m}, the number of examples, twice.",
        remedy="Divide by m once, in the delta or in the product, not in both.",
        code="delta = (a[-1] - Y) / m\ngradient = delta.T @ below / m",
        ways={"": lambda t: t.times(1 / t.m), "the penalty as well": lambda t: t.times(1 / t.m, 1 / t.m)},
    ),
    Total(
        slug="extra-1-over-k",
        sentence="The data term is {K} times too small: it is averaged over the outputs as well, K = {K} of them.",
        remedy="Leave out this 1/K: the cost in question does not have it.",
        code="delta = (a[-1] - Y) / Y.size\ngradient = delta.T @ below",
        ways={"": lambda t: t.times(1 / t.K)},
        scope="all",
    ),
    Total(
        slug="missing-1-over-k",
        sentence="The data term is {K} times too large: the cost is a mean over K = {K} outputs, its gradient is not.",
        remedy="Divide by K as the cost does; scikit-learn's MLPRegressor leaves this out.",
        code="cost = np.mean((a[-1] - Y) ** 2) / 2\ndelta = (a[-1] - Y) / len(Y)",
        ways={"": lambda t: t.times(t.K)},
        scope="all",
        layers=_averaged_over_outputs,
        seen="scikit-learn #8349",
    ),
    Total(
        slug="sign-flipped",
        sentence="The sign is wrong: the data term is that of y - a, -1 times the right one.",
        remedy="The error is a - y, and descent goes against the gradient.",
        code="delta = (Y - a[-1]) / m\ngradient = delta.T @ below",
        ways={"": lambda t: t.times(-1), "the penalty as well": lambda t: t.times(-1, -1)},
    ),
    Total(
        slug="scaled",
        sentence="The data term is {times}; its direction is right.",
        remedy="Look for a stray constant: a 2 from a square, a 1/2, a learning rate already multiplied in.",
        code="delta = 2 * (a[-1] - Y) / m\ngradient = delta.T @ below",
        ways={"": lambda t: t.times(t.value), "the penalty as well": lambda t: t.times(t.value, t.value)},
        scope="all",
        solved=True,
    ),
)
