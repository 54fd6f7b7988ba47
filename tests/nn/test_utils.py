"""Clipping of gradients against NumPy's norms and PyTorch."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor
from tinygrad_fnn.nn.utils import clip_grad_norm_, clip_grad_value_

GRADIENTS = [np.array([[3.0, -4.0], [0.5, 0.0]]), np.array(-12.0), np.array([])]


def params(gradients=GRADIENTS, dtype=float):
    made = [Tensor(np.zeros(np.shape(g)), requires_grad=True, dtype=dtype) for g in gradients]
    for p, g in zip(made, gradients, strict=True):
        p.grad = g
    return [*made, Tensor([1.0], requires_grad=True), Tensor([1.0])]  # without a gradient, and without a node


def joined(made):
    return np.concatenate([p.grad.ravel() for p in made if p.grad is not None])


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, 3.5, math.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_norm_and_scaled_gradients(norm_type, dtype):
    made = params(dtype=dtype)
    before = joined(made)
    norm = clip_grad_norm_(made, 2.0, norm_type)
    rtol = 1e-14 if dtype == np.float64 else 1e-6  # a few roundings
    assert_allclose(norm, np.linalg.norm(before.astype(float), norm_type), rtol=rtol)
    assert_allclose(joined(made), before * (2.0 / (norm + 1e-6)), rtol=rtol)
    assert joined(made).dtype == dtype
    assert isinstance(norm, float)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 12.0, 100.0])
def test_as_pytorch(norm_type, max_norm):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    made = params()
    theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in GRADIENTS]
    for p, g in zip(theirs, GRADIENTS, strict=True):
        p.grad = torch.tensor(g)
    # inf-norm of an empty tensor is an error there
    expected = torch.nn.utils.clip_grad_norm_(theirs[:2], max_norm, norm_type)
    assert_allclose(clip_grad_norm_(made, max_norm, norm_type), expected.item(), rtol=1e-14)
    assert_allclose(joined(made), np.concatenate([p.grad.numpy().ravel() for p in theirs]), rtol=1e-13)


def test_small_gradients_keep_their_arrays():
    made = params()
    held = [p.grad for p in made]
    clip_grad_norm_(made, 1000.0)
    assert all(p.grad is g for p, g in zip(made, held, strict=True))


def test_a_gradient_that_somebody_holds_does_not_change():
    made = params()
    held = made[0].grad
    clip_grad_norm_(made, 0.1)
    clip_grad_value_(made, 0.001)
    assert_array_equal(held, GRADIENTS[0])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_squares_that_leave_float32_do_not_harm_the_norm(scale):
    made = params([np.array([3.0, 4.0]) * scale], np.float32)
    assert_allclose(clip_grad_norm_(made, 1.0), 5 * scale, rtol=1e-6)  # rounding of the entries


def test_without_gradients_the_norm_is_zero():
    assert clip_grad_norm_([Tensor([1.0], requires_grad=True)], 1.0) == 0.0
    assert clip_grad_norm_([], 1.0) == 0.0
    assert clip_grad_norm_(params([np.zeros(3)]), 1.0) == 0.0


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_norm_that_is_not_finite(bad, norm_type, place):
    g = np.array([1.0, 2.0])
    g[place] = bad
    made = params([g, np.ones(2)])
    with pytest.raises(FloatingPointError, match="nothing was changed"):
        clip_grad_norm_(made, 1.0, norm_type, error_if_nonfinite=True)
    assert_array_equal(made[0].grad, g)
    norm = clip_grad_norm_(made, 1.0, norm_type)
    assert np.isnan(norm) if np.isnan(bad) else norm == math.inf
    assert np.isnan(made[0].grad[place])  # it does not go unseen
    made = params([g, np.ones(2)])
    clip_grad_norm_(made, math.inf, norm_type)
    assert_array_equal(made[0].grad, g)


def test_a_parameter_that_comes_twice_is_scaled_once():
    made = params([np.array([3.0, 4.0])])[:1]
    assert clip_grad_norm_(made * 2, 1.0) == 5.0
    assert_allclose(made[0].grad, [0.6, 0.8], rtol=1e-6)  # the 1e-6 in the factor


def test_values_are_clipped():
    made = params([np.array([3.0, -0.5, np.nan, -np.inf]), np.array(2.0)], np.float32)
    clip_grad_value_(made, 1.0)
    assert_array_equal(made[0].grad, [1.0, -0.5, np.nan, -1.0])
    assert made[1].grad == 1.0
    assert made[0].grad.dtype == np.float32
    assert isinstance(made[1].grad, np.ndarray)
    clip_grad_value_(made[1], 0.25)
    assert made[1].grad == 0.25


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: clip_grad_norm_([], -1.0), ValueError, "max_norm is -1.0, wanted a number >= 0"),
        (lambda: clip_grad_norm_([], math.nan), ValueError, "max_norm is nan"),
        (lambda: clip_grad_norm_([], True), ValueError, "max_norm is True"),
        (lambda: clip_grad_norm_([], 1.0, 0), ValueError, "norm_type is 0, wanted a number > 0"),
        (lambda: clip_grad_norm_([], 1.0, "inf"), ValueError, "norm_type is 'inf'"),
        (lambda: clip_grad_value_([], -1.0), ValueError, "clip_value is -1.0"),
        (lambda: clip_grad_value_([np.ones(2)], 1.0), TypeError, r"parameters\[0\] is a ndarray, wanted a tensor"),
        (lambda: clip_grad_norm_(3, 1.0), TypeError, "parameters is a int"),
        (lambda: clip_grad_norm_(list, 1.0), TypeError, r"pass model.parameters\(\)"),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
