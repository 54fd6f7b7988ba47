"""Complex intermediate values: every ufunc that takes them is differentiated rightly, or refuses them by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import slope
from scipy import special

from tinygrad_fnn import RULES, Tensor, func, grad
from tinygrad_fnn.errors import NoRuleError
from tinygrad_fnn.rules import public_name

# In both halves of the plane and off the cuts of logarithms, roots and inverse functions.
POINTS = np.array([0.4 + 0.3j, -0.7 + 0.2j, 0.3 - 0.6j])
WEIGHTS = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 0.7])

# scipy.special has these for complex numbers, and a rule for real ones only.
REAL_ONLY = {
    f"scipy.special.{name}" for name in ("erfcx", "log_ndtr", "dawsn", "psi", "loggamma", "gamma", "rgamma", "spence")
}

MATRIX = {"matvec": 0, "vecmat": 1}  # which argument is to be one


def _takes_complex(fun: Any) -> bool:
    return isinstance(fun, np.ufunc) and fun.nout == 1 and any(t.split("->")[0] == "D" * fun.nin for t in fun.types)


UFUNCS = sorted((f for f, rule in RULES.items() if _takes_complex(f) and rule.kind != "constant"), key=public_name)


def applied(fun: np.ufunc, *parts: Any) -> Any:
    """A number made of the ufunc's complex result; the arguments are the real and imaginary parts."""
    numbers = [parts[k] + 1j * parts[k + 1] for k in range(0, len(parts), 2)]
    if fun.__name__ in MATRIX:
        numbers[MATRIX[fun.__name__]] = numbers[MATRIX[fun.__name__]] * np.ones((3, 1))
    out = fun(*numbers)
    return np.sum(np.real(out) * WEIGHTS[0]) + np.sum(np.imag(out) * WEIGHTS[1])


def arguments(fun: np.ufunc) -> list[ndarray]:
    return [np.array(part) for k in range(fun.nin) for z in [POINTS * (1 + 0.3 * k)] for part in (z.real, z.imag)]


@pytest.mark.parametrize("fun", UFUNCS, ids=public_name)
def test_complex_ufunc(fun: np.ufunc) -> None:
    args = arguments(fun)
    if public_name(fun) in REAL_ONLY:
        with pytest.raises(NoRuleError, match=rf"{public_name(fun)} of complex numbers has no derivative rule.*detach"):
            applied(fun, *(Tensor(a, requires_grad=True) for a in args))
        return
    directions = [np.array([0.3, 0.5, -0.2]) * (k + 1) for k in range(len(args))]

    def moved(t: float) -> list[ndarray]:
        return [x + t * v for x, v in zip(args, directions, strict=True)]

    def value(*parts: Any) -> Any:
        return applied(fun, *parts)

    gradient = func.grad(value, tuple(range(len(args))))
    (along,) = slope(lambda t: [value(*moved(t))])
    (bend,) = slope(lambda t: [np.concatenate(gradient(*moved(t)))])
    close = {"rtol": 1e-8, "atol": 1e-9}  # those of the stencil in double precision
    pulled = sum(float(g @ v) for g, v in zip(gradient(*args), directions, strict=True))
    assert_allclose(pulled, along, **close)
    assert_allclose(func.jvp(value, args, directions)[1], along, **close)
    assert_allclose(np.concatenate(func.hvp(value, args, directions)), bend, **close)


def test_complex_sign_turns_with_its_argument_and_rests_at_zero() -> None:
    """`exp(i angle)`: its derivative in the angle is `i exp(i angle)`, and in the length 0."""
    angle, length = Tensor(0.7, requires_grad=True), Tensor(2.0, requires_grad=True)
    out = np.sign(length * np.exp(1j * angle))
    turned, stretched = grad(np.imag(out), [angle, length])
    # A few roundings of numbers near 1.
    assert_allclose(turned.numpy(), np.cos(0.7), rtol=1e-14)
    assert_allclose(stretched.numpy(), 0, atol=1e-15)
    x = Tensor(np.zeros(2), requires_grad=True)
    z = np.sign(x + 1j * x)
    assert not z.detach().numpy().any()
    assert not grad(np.sum(np.real(z)), x)[0].numpy().any()


@pytest.mark.parametrize("x", [400.0, -400.0])
def test_complex_tanh_is_flat_far_out(x: float) -> None:
    """Without an overflow on either side."""
    re = Tensor(x, requires_grad=True)
    out = np.tanh(re + 0.5j)
    assert out.detach().numpy() == np.sign(x)
    assert grad(np.real(out), re)[0].item() == 0


def test_zeros_like_a_transform_are_to_be_filled() -> None:
    x = Tensor([1.0, 2.0, 4.0], requires_grad=True)
    z = np.fft.fft(x)
    out = np.zeros_like(z)
    assert out.dtype == complex
    out[1:] = z[1:] * 2
    (g,) = grad(np.sum(np.real(out)), x)
    assert_allclose(g.numpy(), [4, -2, -2], rtol=1e-14)  # 2 (3 e_0 - 1)


@pytest.mark.parametrize("fun", [np.sign, special.gamma, special.erfcx], ids=public_name)
def test_number_written_into_a_tensor(fun: np.ufunc) -> None:
    """A face that looks at its argument meets a Python number here."""
    t = Tensor([1.0, 2.0], requires_grad=True) * 1
    fun(2.5, out=t)
    assert_array_equal(t.detach().numpy(), [fun(2.5)] * 2)
