"""First values: bounds, deviations and orthogonality, and what the functions in place do to a tensor."""

import inspect
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.errors import ShapeError
from tinygrad_fnn.nn import init

OUT, IN = 120, 250
N = OUT * IN
IN_PLACE = [name for name in init.__all__ if name.endswith("_")]
DRAWING = [name for name in IN_PLACE if "rng" in inspect.signature(getattr(init, name)).parameters]

# Bound of an even distribution, or deviation of a normal one, by the formulas of the papers.
BOUNDS = {
    "uniform_": (lambda w: init.uniform_(w, -0.3, 0.3, rng=0), 0.3),
    "course_": (lambda w: init.course_(w, rng=0), 0.12),
    "course_ 2": (lambda w: init.course_(w, init.glorot_bound(IN, OUT), rng=0), math.sqrt(6 / (IN + OUT))),
    "xavier_uniform_": (lambda w: init.xavier_uniform_(w, rng=0), math.sqrt(6 / (IN + OUT))),
    "xavier_uniform_ 2": (lambda w: init.xavier_uniform_(w, 2.0, rng=0), 2 * math.sqrt(6 / (IN + OUT))),
    "kaiming_uniform_": (lambda w: init.kaiming_uniform_(w, rng=0), math.sqrt(2) * math.sqrt(3 / IN)),
    "kaiming_uniform_ 2": (
        lambda w: init.kaiming_uniform_(w, 0.5, "fan_out", rng=0),
        math.sqrt(2 / 1.25) * math.sqrt(3 / OUT),
    ),
    "lecun_uniform_": (lambda w: init.lecun_uniform_(w, rng=0), math.sqrt(3 / IN)),
}
DEVIATIONS = {
    "normal_": (lambda w: init.normal_(w, 0.0, 0.7, rng=0), 0.7),
    "xavier_normal_": (lambda w: init.xavier_normal_(w, 5 / 3, rng=0), 5 / 3 * math.sqrt(2 / (IN + OUT))),
    "kaiming_normal_": (lambda w: init.kaiming_normal_(w, nonlinearity="relu", rng=0), math.sqrt(2 / IN)),
    "kaiming_normal_ 2": (
        lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="tanh", rng=0),
        5 / 3 / OUT**0.5,
    ),
    "lecun_normal_": (lambda w: init.lecun_normal_(w, rng=0), 1 / math.sqrt(IN)),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_even_distributions_fill_their_bounds(name):
    fill, bound = BOUNDS[name]
    values = fill(nn.Parameter(np.zeros((OUT, IN)))).detach().numpy()
    assert np.abs(values).max() <= bound
    # 30,000 draws: the largest misses the bound by 1/15,000, and a false alarm has a chance of 1e-6.
    assert np.abs(values).max() > bound * (1 - 14 / N)
    assert stats.kstest(values.ravel(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DEVIATIONS)
def test_normal_distributions_have_their_deviation(name):
    fill, deviation = DEVIATIONS[name]
    values = fill(nn.Parameter(np.zeros((OUT, IN)))).detach().numpy()
    assert stats.kstest(values.ravel(), stats.norm(0, deviation).cdf).pvalue > 1e-4
    assert_allclose(values.std(), deviation, rtol=5 / math.sqrt(2 * N))  # 5 standard errors


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [(0, 1, -2, 2), (1, 3, -2, 2), (0, 1, 8, 9), (0, 1, -9, -8), (0, 1, 20, 30), (5, 0.1, 0, 9)],
)
def test_cut_normal_distribution(mean, std, a, b):
    values = init.trunc_normal_(Tensor(np.zeros((OUT, IN))), mean, std, a, b, rng=0).numpy()
    assert values.min() >= a
    assert values.max() <= b
    cut = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert stats.kstest(values.ravel(), cut.cdf).pvalue > 1e-4


@pytest.mark.parametrize("shape", [(3, 3), (40, 25), (25, 40), (6, 2, 5), (1, 4), (4, 1)])
def test_orthogonal_to_rounding(shape):
    tensor = init.orthogonal_(nn.Parameter(np.zeros(shape)), gain=3.0, rng=0)
    Q = tensor.detach().numpy().reshape(shape[0], -1) / 3
    product = Q @ Q.T if Q.shape[0] <= Q.shape[1] else Q.T @ Q
    assert_allclose(product, np.eye(len(product)), rtol=0, atol=2e-15)  # 40 roundings of products up to 1/40


def test_rotations_are_equally_likely():
    first = [init.orthogonal_(Tensor(np.zeros((2, 2))), rng=seed).numpy()[0] for seed in range(400)]
    angles = np.arctan2(*np.transpose(first))
    assert stats.kstest(angles, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-4


def test_every_function_in_place_is_tried():
    tried = {name.split()[0] for name in (*BOUNDS, *DEVIATIONS)} | {"trunc_normal_", "orthogonal_"}
    assert set(DRAWING) == tried
    assert set(IN_PLACE) - set(DRAWING) == {"constant_", "zeros_", "ones_"}


def test_constants():
    w = nn.Parameter(np.full(3, np.nan))
    assert (init.constant_(w, 0.5) == 0.5).all()
    assert (init.ones_(w) == 1).all()
    assert (init.zeros_(w) == 0).all()


@pytest.mark.parametrize("name", DRAWING)
def test_in_place_means_the_same_parameter_and_any_precision(name):
    fill = getattr(init, name)
    wide, narrow = nn.Linear(5, 4, rng=0), nn.Linear(5, 4, rng=0, dtype=np.float32)
    for layer in (wide, narrow):
        assert fill(layer.W, rng=3) is layer.W
        assert layer.W.requires_grad
        assert layer.W.is_leaf
    assert narrow.W.dtype == np.float32
    assert_array_equal(narrow.W.detach().numpy(), wide.W.detach().numpy().astype(np.float32))
    again = fill(nn.Parameter(np.zeros((4, 5))), rng=np.random.default_rng(3)).detach().numpy()
    assert_array_equal(again, wide.W.detach().numpy())
    with pytest.raises(TypeError, match="floating-point"):
        fill(Tensor([[1, 2], [3, 4]]))
    with pytest.raises(TypeError, match="rng must be"):
        fill(wide.W, rng="0")
    before = wide.W.detach().numpy()
    with pytest.raises((ShapeError, ValueError, TypeError)):
        fill(wide.W, *["a"])
    assert_array_equal(wide.W.detach().numpy(), before)


@pytest.mark.parametrize("name", [n for n in DRAWING if n[:5] in ("xavie", "kaimi", "lecun", "ortho")])
@pytest.mark.parametrize("shape", [(), (3,), (0, 3)])
def test_weights_have_inputs_and_outputs(name, shape):
    with pytest.raises(ShapeError, match=rf"{name}: the tensor must be \(out, in\)"):
        getattr(init, name)(nn.Parameter(np.zeros(shape)))


def test_a_receptive_field_counts():
    w = init.xavier_uniform_(nn.Parameter(np.zeros((20, 30, 5, 5))), rng=0).detach().numpy()
    assert_allclose(np.abs(w).max(), math.sqrt(6 / (25 * 50)), rtol=1e-3)  # the largest of 15,000


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda w: init.uniform_(w, 1.0, 0.0), ValueError, "uniform_: a must be at most b"),
        (lambda w: init.normal_(w, 0.0, -1.0), ValueError, "normal_: std must be >= 0"),
        (lambda w: init.trunc_normal_(w, a=1.0, b=1.0), ValueError, "trunc_normal_: wanted a < b"),
        (lambda w: init.trunc_normal_(w, std=0.0), ValueError, "std > 0"),
        (
            lambda w: init.kaiming_normal_(w, mode="in"),
            ValueError,
            "kaiming_normal_: mode must be 'fan_in' or 'fan_out'",
        ),
        (
            lambda w: init.kaiming_uniform_(w, nonlinearity="swish"),
            ValueError,
            "nonlinearity must be one of.*'leaky_relu'",
        ),
        (lambda w: init.course_(w, -0.1), ValueError, "course_: epsilon must be >= 0"),
        (lambda w: init.constant_(w, "0"), TypeError, "constant_: val must be a finite number; got '0'"),
    ],
)
def test_init_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call(nn.Parameter(np.zeros((2, 2))))


GAINS = {("linear",): 1, ("sigmoid",): 1, ("tanh",): 5 / 3, ("relu",): 2**0.5, ("selu",): 0.75, ("conv2d",): 1}
GAINS |= {("leaky_relu",): (2 / 1.0001) ** 0.5, ("leaky_relu", 0.2): (2 / 1.04) ** 0.5}


@pytest.mark.parametrize("gain", GAINS)
def test_gains(gain):
    assert_allclose(init.calculate_gain(*gain), GAINS[gain], rtol=1e-15)


@pytest.mark.parametrize("gain", GAINS)
def test_gains_are_those_of_pytorch(gain):
    torch = pytest.importorskip("torch")
    assert_allclose(init.calculate_gain(*gain), torch.nn.init.calculate_gain(*gain), rtol=1e-15)


def test_the_deviation_neither_dies_nor_grows():
    """What the gain is for: with another factor 20 layers would shrink or grow the square a millionfold."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 400)) * math.sqrt(2)
    for _ in range(20):
        layer = nn.Linear(400, 400, bias=False)
        init.kaiming_normal_(layer.W, nonlinearity="relu", rng=rng)
        z = layer(np.maximum(z, 0)).detach().numpy()
    # Each layer's mean square is off by some 1/sqrt(200) of it, 20 of them by a third.
    assert 0.2 < (z**2).mean() / 2 < 5
