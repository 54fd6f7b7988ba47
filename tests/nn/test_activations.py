"""Activations against their formulas in many digits, in both tails, at 0, and against PyTorch."""

import warnings

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad, nn
from tinygrad_fnn.nn import activations
from tinygrad_fnn.nn import functional as F

mp = mpmath.mp


def _gelu(z, order=0):
    """z Phi(z), Phi + z phi, (2 - z**2) phi: differences of it in many digits would take minutes."""
    Phi = mpmath.erfc(-z / mpmath.sqrt(2)) / 2
    return [z * Phi, Phi + z * mpmath.npdf(z), (2 - z * z) * mpmath.npdf(z)][order]


def _logistic(z):
    return 1 / (1 + mpmath.exp(-z))


def _tanh_gelu(z):
    return z * _logistic(2 * mpmath.sqrt(2 / mp.pi) * (z + mpmath.mpf("0.044715") * z**3))


ALPHA, SCALE = mpmath.mpf("1.6732632423543772848170429916717"), mpmath.mpf("1.0507009873554804934193349852946")

# Ours, the definition, and PyTorch's name and arguments.
ELEMENTWISE = {
    "relu": (F.relu, lambda z: max(z, mpmath.mpf(0)), {}),
    "sigmoid": (F.sigmoid, _logistic, {}),
    "tanh": (F.tanh, mpmath.tanh, {}),
    "softplus": (F.softplus, lambda z: mpmath.log1p(mpmath.exp(z)), {"threshold": 1e9}),
    "softplus 3": (
        lambda z: F.softplus(z, 3.0),
        lambda z: mpmath.log1p(mpmath.exp(3 * z)) / 3,
        {"beta": 3.0, "threshold": 1e9},
    ),
    "logsigmoid": (F.logsigmoid, lambda z: -mpmath.log1p(mpmath.exp(-z)), {}),
    "leaky_relu": (F.leaky_relu, lambda z: z if z > 0 else z * mpmath.mpf(0.01), {}),
    "leaky_relu .5": (lambda z: F.leaky_relu(z, 0.5), lambda z: z if z > 0 else z / 2, {"negative_slope": 0.5}),
    "elu": (F.elu, lambda z: z if z > 0 else mpmath.expm1(z), {}),
    "elu 2.5": (lambda z: F.elu(z, 2.5), lambda z: z if z > 0 else 2.5 * mpmath.expm1(z), {"alpha": 2.5}),
    "selu": (F.selu, lambda z: SCALE * (z if z > 0 else ALPHA * mpmath.expm1(z)), {}),
    "silu": (F.silu, lambda z: z * _logistic(z), {}),
    "gelu": (F.gelu, _gelu, {}),
    "gelu tanh": (lambda z: F.gelu(z, "tanh"), _tanh_gelu, {"approximate": "tanh"}),
}
EXTREMES = [1e-300, 1e-20, 1e-8, 0.3, 1.0, 5.0, 17.0, 30.0, 37.5, 100.0, 700.0, 745.0, 1000.0]
POINTS = np.array([s * z for z in EXTREMES for s in (1, -1)])
every = pytest.mark.parametrize("name", ELEMENTWISE)


def exactly(definition, z, order):
    """The function, or a derivative of it, at a number other than 0, in as many digits as 5e-324 beside 1 takes."""
    if definition is _gelu:
        with mpmath.workdps(50):
            return float(_gelu(mpmath.mpf(float(z)), order))
    with mpmath.workdps(360):
        return float(
            mpmath.diff(definition, mpmath.mpf(float(z)), order) if order else definition(mpmath.mpf(float(z)))
        )


def tower(f, z):
    """Value, first and second derivative."""
    z = Tensor(z, requires_grad=True)
    out = f(z)
    (first,) = grad(out.sum(), z, create_graph=True)
    second = grad(first.sum(), z, allow_unused=True)[0] if first.requires_grad else None
    return out.detach().numpy(), first.detach().numpy(), np.zeros(z.shape) if second is None else second.numpy()


@every
def test_values_are_exact_in_both_tails(name):
    f, definition, _ = ELEMENTWISE[name]
    expected = [exactly(definition, z, 0) for z in POINTS]
    # A few roundings; the exponent of a Gaussian tail is z**2 / 2 = 700 at the last point above 0, which its rounding
    # makes 700 units, and SciPy's ndtr is no better.
    rtol = 3e-13 if "gelu" in name else 2e-15
    assert_allclose(f(POINTS).numpy(), expected, rtol=rtol, atol=5e-324)


@every
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_are_exact_in_both_tails(name, order):
    f, definition, _ = ELEMENTWISE[name]
    expected = np.array([exactly(definition, z, order) for z in POINTS])
    # A few roundings of terms of size 1, or of z times a density that is smaller than 1; relative in the tails, where
    # z multiplies the rounding of an exponent as above.
    rtol = 1e-12 if "gelu" in name or "tanh" in name else 1e-13
    found = tower(f, POINTS)[order]
    assert_allclose(found, expected, rtol=rtol, atol=1e-15)
    far = np.abs(POINTS) >= 17
    assert_allclose(found[far], expected[far], rtol=rtol, atol=1e-310)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_argument_warns_or_gives_a_nan(name, dtype):
    huge = float(np.finfo(dtype).max)
    z = np.array([0.0, -0.0, 1000.0, -1000.0, 1e4, -1e4, huge / 2, -huge / 2], dtype)
    f = ELEMENTWISE[name][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if "3" not in name:  # 3 z overflows, as it says
            for result in tower(f, z):
                assert np.isfinite(result).all()
        result = f(z[:6])
    assert result.dtype == dtype
    assert_allclose(result.numpy(), f(z[:6].astype(float)).numpy(), rtol=1e-6, atol=1e-37)


@every
def test_infinite_arguments_give_the_limits(name):
    f, definition, _ = ELEMENTWISE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        high, low = f(np.array([np.inf, -np.inf])).numpy()
    at = [exactly(definition, z, 0) for z in (1e6, -1e6)]
    assert high == (np.inf if at[0] > 100 else at[0])
    assert low == (-np.inf if at[1] < -100 else at[1])


# Value, first and second derivative at 0; those of a kink are the ones from below.
AT_ZERO = {
    "relu": (0, 0, 0),
    "sigmoid": (0.5, 0.25, 0),
    "tanh": (0, 1, 0),
    "softplus": (np.log(2), 0.5, 0.25),
    "softplus 3": (np.log(2) / 3, 0.5, 0.75),
    "logsigmoid": (-np.log(2), 0.5, -0.25),
    "leaky_relu": (0, 0.01, 0),
    "leaky_relu .5": (0, 0.5, 0),
    "elu": (0, 1, 1),
    "elu 2.5": (0, 2.5, 2.5),
    "selu": (0, float(ALPHA * SCALE), float(ALPHA * SCALE)),
    "silu": (0, 0.5, 0.5),
    "gelu": (0, 0.5, 2 / np.sqrt(2 * np.pi)),
    "gelu tanh": (0, 0.5, 2 * np.sqrt(2 / np.pi) / 2),
}


@every
def test_derivatives_at_zero(name):
    for result, wanted in zip(tower(ELEMENTWISE[name][0], np.zeros(())), AT_ZERO[name], strict=True):
        assert_allclose(result, wanted, rtol=4e-16, atol=0)


@every
def test_the_module_is_the_function(name):
    """Through every class of the file; the numbers after a name are its argument."""
    function, _, number = name.partition(" ")
    classes = {
        kind.lower(): getattr(nn, kind) for kind in activations.__all__ if isinstance(getattr(activations, kind), type)
    }
    kind = classes[function.replace("_", "")]
    module = kind(float(number) if number and number[0] in "0123456789." else number) if number else kind()
    assert_array_equal(module(POINTS).numpy(), ELEMENTWISE[name][0](POINTS).numpy())


def test_every_activation_is_in_the_tables():
    functions = {name.partition(" ")[0].replace("_", "") for name in ELEMENTWISE}
    kinds = {kind.lower() for kind in activations.__all__ if isinstance(getattr(activations, kind), type)}
    assert kinds - functions == {"softmax", "logsoftmax"}
    assert ELEMENTWISE.keys() == AT_ZERO.keys()


@every
def test_activations_of_integers_lists_and_nothing(name):
    f = ELEMENTWISE[name][0]
    assert_allclose(f([1, -2]).numpy(), f(np.array([1.0, -2.0])).numpy(), rtol=1e-15)
    assert f(np.zeros((0, 3))).shape == (0, 3)
    assert isinstance(f(0.5), Tensor)


def shifted_logarithms(z, axis):
    shifted = z - z.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_pair_is_its_formula(axis):
    z = np.array([[-800.0, -1.0, 0.0], [0.5, 30.0, 800.0]])
    shifted = np.exp(z - z.max(axis=axis, keepdims=True))
    expected = shifted / shifted.sum(axis=axis, keepdims=True)
    assert_allclose(nn.Softmax(axis)(z).numpy(), expected, rtol=1e-15)
    logarithms = shifted_logarithms(z, axis)  # the difference of two terms of size 1
    assert_allclose(nn.LogSoftmax(axis)(z).numpy(), logarithms, rtol=1e-15, atol=1e-15)
    assert_array_equal(nn.LogSoftmax(axis)(z).numpy(), tg.log_softmax(z, axis).numpy())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: F.leaky_relu([1.0], "0.1"),
            TypeError,
            "leaky_relu: negative_slope must be a finite number; got '0.1'",
        ),
        (lambda: nn.LeakyReLU(np.nan), ValueError, "LeakyReLU: negative_slope"),
        (lambda: nn.ELU(None), TypeError, "ELU: alpha"),
        (lambda: F.elu([1.0], np.inf), ValueError, "elu: alpha"),
        (lambda: F.gelu([1.0], "exact"), ValueError, "gelu: approximate must be 'none' or 'tanh'; got 'exact'"),
        (lambda: nn.GELU(True), ValueError, "GELU: approximate"),
        (lambda: F.softplus([1.0], 0), ValueError, "softplus: beta must be > 0"),
        (lambda: nn.Softplus(-1.0), ValueError, "Softplus: beta"),
        (lambda: nn.Softplus(0.0), ValueError, "Softplus: beta must be > 0"),
        (lambda: nn.Softmax("rows"), TypeError, "str"),
    ],
)
def test_activations_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


@every
def test_values_and_gradients_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    f, _, options = ELEMENTWISE[name]
    z = np.concatenate([np.linspace(-8, 8, 65), [0.0, 50.0, -50.0]])
    ours, theirs = Tensor(z, requires_grad=True), torch.tensor(z, requires_grad=True)
    out = f(ours)
    other = getattr(torch.nn.functional, name.partition(" ")[0])(theirs, **options)
    # Both are some units of the last place from the exact value; theirs loses the small results of the tails,
    # 1 + tanh(u) to 8 u = 64 units of 1e-16 in the derivative.
    assert_allclose(out.detach().numpy(), other.detach().numpy(), rtol=1e-13, atol=1e-15)
    out.sum().backward()
    other.sum().backward()
    assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-14)
