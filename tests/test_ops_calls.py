"""Operations the way users call them: functions, methods and operators, with every keyword that is listed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import numeric_gradient, rng_of
from scipy import special

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad

LABELS = np.array([2, 0, 2])
MASK = np.array([[True, False, True], [False, True, True]])
VECTOR = np.array([0.5, -1.5, 2.5])
MATRIX = np.array([[0.25, -0.75, 1.25], [1.75, -0.45, 0.65]])


def x_of(*shape: int, low: float = -2.0, high: float = 2.0) -> ndarray:
    """Distinct entries, seeded by the shape, off the kinks at 0 and at the bounds used here."""
    n = int(np.prod(shape, dtype=int))
    values = low + (high - low) * (np.arange(n) + 0.4) / max(n, 1)
    return rng_of("calls", shape).permutation(values).reshape(shape)


def positive(*shape: int) -> ndarray:
    return x_of(*shape, low=0.3, high=3.0)


def probability(*shape: int) -> ndarray:
    return x_of(*shape, low=0.05, high=0.95)


def by_rows(t: Any) -> Any:
    total: Any = 0.0
    for k, row in enumerate(t):
        total = total + (k + 1) * row**2
    return total


def by_pairs(t: Any, u: Any) -> Any:
    return sum((a * b * (k + 1) for k, (a, b) in enumerate(zip(t, u, strict=True))), start=0.0)


def branch(t: Any) -> Any:
    return t * t * t if t > 0 else -t


def unpacked(t: Any) -> Any:
    a, b, *rest = t
    return a * b + len(rest) * rest[0] * len(t)


# A name, the call, and the arrays it is called with: each of them becomes a Tensor, alone and with the others.
Call = tuple[str, Callable[..., Any], list[ndarray]]

BINARY = [
    ("add", np.add, operator.add, x_of(2, 3), x_of(3)),
    ("subtract", np.subtract, operator.sub, x_of(2, 3), x_of(2, 1)),
    ("multiply", np.multiply, operator.mul, x_of(2, 3), x_of(3)),
    ("divide", np.divide, operator.truediv, x_of(2, 3), positive(3)),
    ("true_divide", np.true_divide, operator.truediv, x_of(3), positive(2, 1)),
    ("power", np.power, operator.pow, positive(2, 3), x_of(3)),
    ("matmul", np.matmul, operator.matmul, x_of(2, 3), x_of(3, 2)),
    ("maximum", np.maximum, None, x_of(2, 3), x_of(3)),
    ("minimum", np.minimum, None, x_of(2, 3), x_of(3)),
    ("xlogy", special.xlogy, None, positive(2, 3), positive(3)),
    ("xlog1py", special.xlog1py, None, x_of(2, 3), positive(3)),
]

CALLS: list[Call] = [
    *((f"np.{name}", f, [x, y]) for name, f, _, x, y in BINARY),
    *((f"{op.__name__}", op, [x, y]) for _, _, op, x, y in BINARY if op),
    ("-t", operator.neg, [x_of(3)]),
    ("+t", operator.pos, [x_of(3)]),
    ("abs(t)", abs, [x_of(2, 3)]),
    ("negative", np.negative, [x_of(3)]),
    ("positive", np.positive, [x_of(3)]),
    ("t**2", lambda t: t**2, [x_of(3)]),
    ("t**3", lambda t: t**3, [x_of(3)]),
    ("t**0.5", lambda t: t**0.5, [positive(3)]),
    ("t**-1", lambda t: t**-1, [positive(3)]),
    ("t**1", lambda t: t**1, [positive(3)]),
    ("2**t", lambda t: 2**t, [x_of(3)]),
    ("1 - t", lambda t: 1 - t, [x_of(3)]),
    ("1 / t", lambda t: 1 / t, [positive(3)]),
    ("exp", np.exp, [x_of(2, 3)]),
    ("expm1", np.expm1, [x_of(3)]),
    ("log", np.log, [positive(3)]),
    ("log1p", np.log1p, [positive(3)]),
    ("sqrt", np.sqrt, [positive(3)]),
    ("square", np.square, [x_of(3)]),
    ("np.abs", np.abs, [x_of(3)]),
    ("absolute", np.absolute, [x_of(3)]),
    ("tanh", np.tanh, [x_of(3)]),
    ("sign", np.sign, [x_of(3)]),
    ("where", lambda t, u: np.where(MASK, t, u), [x_of(2, 3), x_of(3)]),
    ("where of numbers", lambda t: np.where(MASK[0], 1.0, t), [x_of(3)]),
    ("where of a comparison", lambda t: np.where(t > 0, t * t, 0), [x_of(2, 3)]),
    ("clip", lambda t: np.clip(t, -0.9, 0.9), [x_of(2, 3)]),
    ("clip(None, b)", lambda t: np.clip(t, None, 0.9), [x_of(2, 3)]),
    ("clip(a, None)", lambda t: np.clip(t, -0.9, None), [x_of(2, 3)]),
    ("clip(a_min=, a_max=)", lambda t: np.clip(t, a_min=-0.9, a_max=0.9), [x_of(2, 3)]),
    ("clip between arrays", np.clip, [x_of(2, 3), x_of(3, low=-1.25, high=-0.75), x_of(2, 1, low=0.75, high=1.25)]),
    ("t.clip", lambda t: t.clip(-0.9, 0.9), [x_of(2, 3)]),
    *(
        (
            f"{name}({', '.join(f'{k}={v}' for k, v in keywords.items())})",
            lambda t, f=f, k=keywords: f(t, **k),
            [x_of(2, 3, 2)],
        )
        for name, f in [(f.__name__, f) for f in (np.sum, np.mean, np.max, np.min, np.amax, np.amin, np.var, np.std)]
        for keywords in (
            {},
            {"axis": 1},
            {"axis": -1},
            {"axis": (0, 2)},
            {"axis": (-1, 0), "keepdims": True},
            {"keepdims": True},
        )
    ),
    *(
        (
            f"{name}({', '.join(f'{k}={v}' for k, v in keywords.items())})",
            lambda t, f=f, k=keywords: f(t, **k),
            [x_of(4, 2)],
        )
        for name, f in (("var", np.var), ("std", np.std))
        for keywords in ({"ddof": 1}, {"axis": 0, "ddof": 2}, {"correction": 1, "axis": 0}, {"correction": 0.5})
    ),
    *(
        (f"t.{name}{args}", lambda t, name=name, args=args: getattr(t, name)(*args), [x_of(2, 3)])
        for name in ("sum", "mean", "max", "min", "var", "std")
        for args in ((), (0,), (-1,))
    ),
    ("t.sum(axis=, keepdims=)", lambda t: t.sum(axis=(0, 1), keepdims=True), [x_of(2, 3)]),
    ("t.var(ddof=1)", lambda t: t.var(axis=1, ddof=1), [x_of(2, 3)]),
    ("reshape", lambda t: np.reshape(t, (3, 2)), [x_of(2, 3)]),
    ("reshape(-1)", lambda t: np.reshape(t, -1), [x_of(2, 3)]),
    ("reshape(order=F)", lambda t: np.reshape(t, (3, 2), order="F"), [x_of(2, 3)]),
    ("t.reshape(3, 2)", lambda t: t.reshape(3, 2), [x_of(2, 3)]),
    ("t.reshape((3, -1))", lambda t: t.reshape((3, -1)), [x_of(2, 3)]),
    ("t.reshape(order=F)", lambda t: t.reshape(3, 2, order="F"), [x_of(2, 3)]),
    ("ravel", np.ravel, [x_of(2, 3)]),
    ("ravel(order=F)", lambda t: np.ravel(t, order="F"), [x_of(2, 3)]),
    ("t.ravel()", lambda t: t.ravel(), [x_of(2, 3)]),
    ("t.ravel('F')", lambda t: t.ravel("F"), [x_of(2, 3)]),
    ("t.flatten()", lambda t: t.flatten(), [x_of(2, 3)]),
    ("transpose", np.transpose, [x_of(2, 3, 2)]),
    ("transpose(axes)", lambda t: np.transpose(t, (2, 0, 1)), [x_of(2, 3, 2)]),
    ("transpose(axes=)", lambda t: np.transpose(t, axes=(-1, 0, 1)), [x_of(2, 3, 2)]),
    ("t.transpose()", lambda t: t.transpose(), [x_of(2, 3)]),
    ("t.transpose(1, 0, 2)", lambda t: t.transpose(1, 0, 2), [x_of(2, 3, 2)]),
    ("t.transpose((1, 0))", lambda t: t.transpose((1, 0)), [x_of(2, 3)]),
    ("t.T", lambda t: t.T, [x_of(2, 3)]),
    ("t.mT", lambda t: t.mT, [x_of(2, 2, 3)]),
    ("swapaxes", lambda t: np.swapaxes(t, 0, -1), [x_of(2, 3, 2)]),
    ("t.swapaxes", lambda t: t.swapaxes(0, 1), [x_of(2, 3)]),
    ("moveaxis", lambda t: np.moveaxis(t, 0, -1), [x_of(2, 3, 2)]),
    ("moveaxis of several", lambda t: np.moveaxis(t, [0, 1], [-1, 0]), [x_of(2, 3, 2)]),
    ("expand_dims", lambda t: np.expand_dims(t, 1), [x_of(2, 3)]),
    ("expand_dims of several", lambda t: np.expand_dims(t, (0, -1)), [x_of(2, 3)]),
    ("squeeze", np.squeeze, [x_of(1, 3, 1)]),
    ("squeeze(axis)", lambda t: np.squeeze(t, axis=0), [x_of(1, 3, 1)]),
    ("t.squeeze(-1)", lambda t: t.squeeze(-1), [x_of(1, 3, 1)]),
    ("broadcast_to", lambda t: np.broadcast_to(t, (2, 2, 3)), [x_of(2, 1)]),
    ("copy", np.copy, [x_of(3)]),
    ("t.copy()", lambda t: t.copy(), [x_of(3)]),
    ("t.astype(float)", lambda t: t.astype(float), [x_of(3)]),
    ("t[1]", lambda t: t[1], [x_of(3, 2)]),
    ("t[-1, 0]", lambda t: t[-1, 0], [x_of(3, 2)]),
    ("t[::-1, 1:]", lambda t: t[::-1, 1:], [x_of(3, 4)]),
    ("t[3:0:-2]", lambda t: t[3:0:-2], [x_of(5)]),
    ("t[..., None]", lambda t: t[..., None], [x_of(2, 3)]),
    ("t[None, 1, ..., ::2]", lambda t: t[None, 1, ..., ::2], [x_of(2, 3, 4)]),
    ("t[labels]", lambda t: t[LABELS], [x_of(3, 2)]),
    ("t[list]", lambda t: t[[0, 0, -1]], [x_of(3, 2)]),
    ("t[labels, arange]", lambda t: t[LABELS, np.arange(3)], [x_of(3, 3)]),
    ("t[arange, labels] of a list", lambda t: t[[0, 1, 2], [2, 0, 2]], [x_of(3, 3)]),
    ("t[labels[:, None], 1:]", lambda t: t[LABELS[:, None], 1:], [x_of(3, 3)]),
    ("t[0, :, labels]", lambda t: t[0, :, LABELS], [x_of(2, 2, 3)]),
    ("t[mask]", lambda t: t[MASK], [x_of(2, 3)]),
    ("t[mask, 1:]", lambda t: t[MASK, 1:], [x_of(2, 3, 2)]),
    ("t[t > 0]", lambda t: t[t > 0], [x_of(2, 3)]),
    ("t[t.argmax()]", lambda t: t[t.argmax()], [x_of(5)]),
    ("t[np.int64]", lambda t: t[np.int64(1)], [x_of(3)]),
    ("t[()]", lambda t: t[()], [x_of(3)]),
    ("concatenate", lambda t, u: np.concatenate([t, u]), [x_of(2, 3), x_of(1, 3)]),
    ("concatenate(axis=1)", lambda t, u: np.concatenate((t, u), axis=1), [x_of(2, 1), x_of(2, 2)]),
    ("concatenate(axis=None)", lambda t, u: np.concatenate([t, u], axis=None), [x_of(2, 1), x_of(3)]),
    ("stack", lambda t, u: np.stack([t, u]), [x_of(2, 3), x_of(2, 3)]),
    ("stack(axis=-1)", lambda t, u: np.stack((t, u), axis=-1), [x_of(2, 3), x_of(2, 3)]),
    ("stack of elements", lambda t: np.stack([t[1] * t[0], t[0]]), [x_of(3)]),
    *(
        (f"dot {a} {b}", np.dot, [x_of(*a), x_of(*b)])
        for a, b in (
            *(((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((2, 2, 3), (3,)), ((3,), (2, 3, 2))),
            *(((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 2)), ((2, 2, 3), (2, 3, 2)), ((), (2, 3)), ((3,), ()), ((), ())),
        )
    ),
    *(
        (f"matmul {a} {b}", f, [x_of(*a), x_of(*b)])
        for f in (operator.matmul,)
        for a, b in (
            *(((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,))),
            *(((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 2)), ((2, 2, 3), (2, 3, 1)), ((2, 1, 2, 3), (2, 3, 2))),
        )
    ),
    ("t.dot", lambda t: t.dot(t.T) @ t.dot(VECTOR), [x_of(2, 3)]),
    *(
        (f"norm of a vector, {p}", lambda t, p=p: np.linalg.norm(t, p), [x_of(4)])
        for p in (None, 2, 1, np.inf, -np.inf, 3, 1.5)
    ),
    *(
        (f"norm of a matrix, {p}", lambda t, p=p: np.linalg.norm(t, p), [x_of(2, 3)])
        for p in (None, "fro", 1, -1, np.inf, -np.inf)
    ),
    *(
        (f"norm along an axis, {p}", lambda t, p=p: np.linalg.norm(t, ord=p, axis=-1, keepdims=True), [x_of(2, 3)])
        for p in (None, 2, 1, np.inf, -np.inf, 3)
    ),
    ("norm over two axes", lambda t: np.linalg.norm(t, axis=(0, 2)), [x_of(2, 3, 2)]),
    ("norm fro over two axes", lambda t: np.linalg.norm(t, "fro", axis=(-1, 0), keepdims=True), [x_of(2, 3, 2)]),
    ("expit", special.expit, [x_of(3)]),
    ("logit", special.logit, [probability(3)]),
    ("log_expit", special.log_expit, [x_of(3)]),
    ("entr", special.entr, [positive(3)]),
    ("erf", special.erf, [x_of(3)]),
    ("for row in t", by_rows, [x_of(3, 2)]),
    ("zip", by_pairs, [x_of(3, 2), x_of(3, 2)]),
    ("if t > 0", branch, [x_of(low=0.5)]),
    ("if t > 0, not", branch, [x_of(low=-2.0, high=0.5)]),
    ("a, b, *rest = t", unpacked, [x_of(4)]),
    ("len and shape", lambda t: t * len(t) * t.shape[0], [x_of(3)]),
    ("y += x", lambda t: operator.iadd(operator.iadd(t * 1, t), VECTOR), [x_of(3)]),
    ("y -= x", lambda t: operator.isub(operator.isub(t * 1, t), VECTOR), [x_of(3)]),
    ("y *= x", lambda t: operator.imul(operator.imul(t * 1, t), VECTOR), [x_of(3)]),
    ("y /= x", lambda t: operator.itruediv(operator.itruediv(t * t * t, t), VECTOR), [positive(3)]),
    ("y **= 2", lambda t: operator.ipow(t * 1, 2), [x_of(3)]),
]


def total(out: Any) -> Any:
    """Every entry with a weight of its own."""
    weights = np.linspace(1, 2, int(np.prod(np.shape(out), dtype=int))).reshape(np.shape(out))
    return np.sum(out * weights)


@pytest.mark.parametrize(("f", "arrays"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_call(f: Callable[..., Any], arrays: list[ndarray]) -> None:
    """A Tensor with NumPy's value and the stencil's gradient, whichever operands are Tensors."""
    value = np.asarray(f(*arrays))
    expected = numeric_gradient(lambda *xs: total(f(*xs)), *arrays)
    choices = [range(len(arrays)), *([k] for k in range(len(arrays)) if len(arrays) > 1)]
    for tracked in choices:
        args = [Tensor(x, requires_grad=True) if k in tracked else x for k, x in enumerate(arrays)]
        out = f(*args)
        assert isinstance(out, Tensor)
        assert out.dtype == value.dtype
        # Another order of summation at most.
        assert_allclose(out.detach().numpy(), value, rtol=1e-13, atol=1e-15, strict=True)
        found = grad(total(out), [args[k] for k in tracked])
        for k, share in zip(tracked, found, strict=True):
            # The stencil is in double precision, good to 1e-9; see oracles.step.
            assert_allclose(share.numpy(), expected[k], rtol=1e-7, atol=1e-9, strict=True)


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
OTHERS = {
    "float": 1.5,
    "int": 2,
    "bool": True,
    "np.float64": np.float64(1.5),
    "np.float32": np.float32(1.5),
    "np.int64": np.int64(2),
    "0-d": np.array(1.5),
    "array": np.array([1.5, 2.5, 0.5]),
    "matrix": np.array([[1.5, 2.5, 0.5], [0.75, 1.25, 2.25]]),
    "integers": np.array([1, 2, 3]),
}


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.__name__)
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_operator_with_anything_on_either_side(op: Callable[..., Any], other: Any) -> None:
    x = positive(3)
    for call in (lambda t: op(t, other), lambda t: op(other, t)):
        for dtype in (float, np.float32):
            t = Tensor(x, requires_grad=True, dtype=dtype)
            out, plain = call(t), call(x.astype(dtype))
            assert isinstance(out, Tensor)
            assert out.dtype == plain.dtype
            assert_allclose(out.detach().numpy(), plain, rtol=1e-15 if dtype is float else 1e-6, strict=True)
            (found,) = grad(total(out), t)
            assert found.dtype == dtype
            (expected,) = numeric_gradient(lambda x, call=call: total(call(x)), x)
            assert_allclose(found.numpy(), expected, rtol=1e-7 if dtype is float else 1e-5)


def test_matmul_with_an_array_on_either_side() -> None:
    t = Tensor(MATRIX, requires_grad=True)
    assert isinstance(MATRIX.T @ t, Tensor)
    assert isinstance(t @ MATRIX.T, Tensor)
    assert isinstance(VECTOR @ t.T, Tensor)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        t @ MATRIX
    with pytest.raises(ValueError, match="scalar"):
        t @ 2.0


# Ours, because SciPy's are Python code: name, ours, SciPy's.
OURS = [
    *(
        (f"logsumexp({k})", lambda t, k=k: tg.logsumexp(t, **k), lambda x, k=k: special.logsumexp(x, **k))
        for k in (
            {},
            {"axis": 0},
            {"axis": (0, 1)},
            {"axis": 1, "keepdims": True},
            {"b": 2.0},
            {"axis": 1, "b": np.array([1.0, 0.5, 2.0])},
        )
    ),
    *(
        (f"softmax({k})", lambda t, k=k: tg.softmax(t, **k), lambda x, k=k: special.softmax(x, **k))
        for k in ({}, {"axis": 0}, {"axis": -1})
    ),
    *(
        (f"log_softmax({k})", lambda t, k=k: tg.log_softmax(t, **k), lambda x, k=k: special.log_softmax(x, **k))
        for k in ({}, {"axis": 0}, {"axis": -1})
    ),
    ("sigmoid", tg.sigmoid, special.expit),
    ("log_sigmoid", tg.log_sigmoid, special.log_expit),
    ("softplus", tg.softplus, lambda x: np.logaddexp(0, x)),
    ("relu", tg.relu, lambda x: np.maximum(x, 0)),
]


@pytest.mark.parametrize(("ours", "theirs"), [o[1:] for o in OURS], ids=[o[0] for o in OURS])
def test_ours_is_scipys(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    x = x_of(2, 3)
    t = Tensor(x, requires_grad=True)
    out = ours(t)
    assert_allclose(out.detach().numpy(), theirs(x), rtol=1e-14, atol=1e-15, strict=True)
    (expected,) = numeric_gradient(lambda x: total(theirs(x)), x)
    assert_allclose(grad(total(out), t)[0].numpy(), expected, rtol=1e-7, atol=1e-9)
    assert_allclose(ours(x).numpy(), theirs(x), rtol=1e-14, atol=1e-15)  # arrays do as well


def test_logsumexp_in_its_factors() -> None:
    a, b = x_of(2, 3), positive(3)
    t, u = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    expected = numeric_gradient(lambda a, b: total(special.logsumexp(a, axis=1, b=b)), a, b)
    for found, wanted in zip(grad(total(tg.logsumexp(t, axis=1, b=u)), [t, u]), expected, strict=True):
        assert_allclose(found.numpy(), wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 2, 3), (200, 3)], ids=str)
def test_linear(shape: tuple[int, ...]) -> None:
    arrays = [x_of(*shape), x_of(2, 3), x_of(2)]
    for count in (2, 3):
        tensors = [Tensor(a, requires_grad=True) for a in arrays[:count]]
        out = tg.linear(*tensors)
        plain = arrays[0] @ arrays[1].T + (arrays[2] if count == 3 else 0)
        assert_allclose(out.detach().numpy(), plain, rtol=1e-13, atol=1e-15, strict=True)
        ct = np.linspace(1, 2, plain.size).reshape(plain.shape)
        rows, cts = arrays[0].reshape(-1, 3), ct.reshape(-1, 2)
        by_hand = [ct @ arrays[1], cts.T @ rows, cts.sum(axis=0)]
        for found, wanted in zip(grad(out, tensors, ct), by_hand, strict=False):
            assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-13, strict=True)


# --- what has no derivative -------------------------------------------------------------------------------------------


def test_plain_results() -> None:
    t = Tensor(MATRIX, requires_grad=True)
    assert type(t > 0) is ndarray
    assert type(t == t) is ndarray
    assert type(operator.lt(VECTOR, t)) is ndarray
    assert type(np.greater(t, 0)) is ndarray
    assert t.argmax() == np.argmax(t) == MATRIX.argmax()
    assert_array_equal(np.argsort(t, axis=1), np.argsort(MATRIX, axis=1))
    assert np.shape(t) == t.shape == (2, 3)
    assert np.ndim(t) == 2
    assert np.size(t) == t.size == 6
    assert len(t) == 2
    assert np.allclose(t, MATRIX)
    assert np.array_equal(t, MATRIX)
    assert np.result_type(t, 1.0) == np.float64
    assert bool(np.any(t > 0))
    assert not np.all(t > 0)
    assert np.count_nonzero(t) == 6
    assert_array_equal(np.nonzero(t > 0), np.nonzero(MATRIX > 0))
    assert np.isfinite(t).all()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(t > 0)
    with pytest.raises((TypeError, ValueError)):
        bool(t)
    with pytest.raises(TypeError):
        len(t[0, 0])


@pytest.mark.parametrize("like", [np.zeros_like, np.ones_like, np.empty_like], ids=lambda f: f.__name__)
def test_like_gives_a_tensor_to_be_filled(like: Callable[..., Any]) -> None:
    t = Tensor(x_of(3), requires_grad=True)
    y = like(t)
    assert isinstance(y, Tensor)
    for k in range(len(t)):
        y[k] = t[k] ** 2
    (found,) = grad(np.sum(y), t)
    assert_array_equal(found.numpy(), 2 * x_of(3))


def test_whole_of_numpy_is_not_lost_silently() -> None:
    t = Tensor(VECTOR, requires_grad=True)
    for call in (
        lambda: np.array(t),
        lambda: np.asarray([t, t]),
        lambda: float(t[0]),
        lambda: np.polyfit(VECTOR, t, 1),
    ):
        with pytest.raises(TypeError, match="detach"):
            call()
    plain = VECTOR.copy()
    with pytest.raises((TypeError, ValueError)):  # NumPy gives our error as the cause of its own
        plain[0] = t[0]
    with pytest.raises(TypeError, match="out="):
        plain += t
    assert_array_equal(plain, VECTOR)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.sum(t, dtype=float),
        lambda t: np.sum(t, out=np.zeros(())),
        lambda t: np.exp(t, out=np.zeros(3)),
        lambda t: np.exp(t, where=t > 0),
        lambda t: np.clip(t, 0, 1, out=np.zeros(3)),
        lambda t: np.concatenate([t, t], dtype=np.float32),
        lambda t: np.var(t, mean=0.0),
        lambda t: np.linalg.norm(t, 0),
    ],
)
def test_keyword_that_is_not_supported_raises(call: Callable[[Tensor], Any]) -> None:
    """It is never ignored."""
    with pytest.raises(TypeError):
        call(Tensor(VECTOR, requires_grad=True))


@pytest.mark.parametrize(
    "call",
    [
        lambda t: np.sum(t, where=t > 0),
        lambda t: np.sum(t, initial=2.0),
        lambda t: np.mean(t, where=t > 0),
        lambda t: np.max(t, initial=0.0),
        lambda t: np.max(t, initial=9.0),
        lambda t: np.min(t, where=t > 0, initial=9.0),
        lambda t: np.std(t, where=t < 2),
    ],
)
def test_keyword_of_the_nice_kind_is_honoured_or_refused(call: Callable[[Any], Any]) -> None:
    t = Tensor(VECTOR, requires_grad=True)
    try:
        out = call(t)
    except TypeError:
        return
    assert_allclose(out.item(), call(VECTOR), rtol=1e-14)
    (expected,) = numeric_gradient(call, VECTOR)
    assert_allclose(grad(out, t)[0].numpy(), expected, rtol=1e-7, atol=1e-9)
