"""Everyday calls of NumPy and SciPy, written as users write them, and not taken from the table of rules.

Each line is a call. ``theirs -> ours`` says what is written instead where NumPy or SciPy cannot dispatch, and
``theirs -> refused`` that there is nothing. Reverse and forward mode and the second order are measured against
differences of the call on plain arrays. `python tests/test_everyday_calls.py` prints the counts by family.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose
from oracles import parts, rng_of
from scipy import special, stats

import tinygrad_fnn as tg
import tinygrad_fnn.stats
from tinygrad_fnn import Tensor, func

CALLS = {
    "operators": """
        x + y
        x - y
        x * y
        x / p
        p ** x
        x % p
        x // p
        divmod(x, p)
        A @ C
        A @ w
        K @ M
        -x
        +x
        abs(x)
        c + x
        c - x
        c * x
        1 - x
        2 * x
        1 / p
        2 ** x
        x ** 2
        x ** 3
        p ** 0.5
        np.float64(3) * x
        z = x * y; z += p; z *= 2; z -= x; z /= p; z
    """,
    "arithmetic": """
        np.add(x, y)
        np.subtract(x, y)
        np.multiply(x, y)
        np.divide(x, p)
        np.true_divide(A, w)
        np.power(p, x)
        np.negative(x)
        np.positive(x)
        np.matmul(A, C)
        np.maximum(x, y)
        np.maximum(x, 0)
        np.minimum(x, y)
        np.remainder(x, p)
        np.mod(x, 0.65)
        np.fmod(x, p)
        np.float_power(p, x)
        np.fmax(x, y)
        np.fmin(x, y)
        np.arctan2(x, y)
        np.hypot(x, y)
        np.logaddexp(x, y)
        np.logaddexp2(x, y)
        np.copysign(x, y)
        np.heaviside(x, 0.5)
        np.floor_divide(x, p)
        np.divmod(x, p)
        np.modf(x)
        np.vecdot(A, B)
    """,
    "ufunc methods": """
        np.add.reduce(A)
        np.multiply.reduce(A, axis=1)
        np.maximum.reduce(A)
        np.logaddexp.reduce(x)
        np.add.accumulate(x)
        np.multiply.accumulate(A, axis=1)
        np.maximum.accumulate(x)
        np.add.outer(x, w)
        np.multiply.outer(x, w)
        z = x * 1; np.add.at(z, index, w); z
        z = np.zeros_like(x); np.multiply(x, y, out=z); z
        z = np.zeros_like(x); np.exp(x, out=z, where=mask); z
    """,
    "elementwise": """
        np.exp(x)
        np.expm1(x)
        np.log(p)
        np.log1p(p)
        np.sqrt(p)
        np.square(x)
        np.abs(x)
        np.tanh(x)
        np.sign(x)
        np.exp2(x)
        np.log2(p)
        np.log10(p)
        np.cbrt(p)
        np.reciprocal(p)
        np.fabs(x)
        np.sin(x)
        np.cos(x)
        np.tan(u)
        np.arcsin(u)
        np.arccos(u)
        np.arctan(x)
        np.sinh(x)
        np.cosh(x)
        np.arcsinh(x)
        np.arccosh(p + 1)
        np.arctanh(u)
        np.sinc(x)
        np.floor(x)
        np.ceil(x)
        np.rint(x)
        np.round(x)
        np.trunc(x)
        np.fix(x)
        np.nan_to_num(h, nan=0.5)
        np.deg2rad(x)
        np.real(x)
        np.conj(x)
    """,
    "choice": """
        np.where(mask, x, y)
        np.where(x > 0, x * x, 0)
        np.where(x > 0, np.log(abs(x)), np.exp(x))
        np.clip(x, -0.9, 0.9)
        np.clip(x, 0.1, None)
        x.clip(-0.9, 0.9)
        np.select([x > 1, x > 0], [x ** 2, y], default=3.0)
        np.piecewise(x, [x < 0, x >= 0], [np.exp, np.cos])
        np.choose(labels, A)
        np.interp(x, [-2.0, 0.1, 2.0], [1.0, 0.5, 3.0])
        np.interp(c / 3, [-1.0, 0.0, 1.0], w)
    """,
    "reductions": """
        np.sum(A)
        np.sum(A, axis=0)
        np.sum(T, axis=(0, 2), keepdims=True)
        A.sum()
        np.mean(A)
        np.mean(A, axis=-1, keepdims=True)
        np.max(A)
        np.max(A, axis=1)
        A.max()
        np.min(A, axis=0)
        np.amax(A)
        np.amin(A)
        np.var(x)
        np.var(A, axis=0, ddof=1)
        A.var()
        np.std(x)
        np.std(A, axis=1, keepdims=True)
        A.std(ddof=1)
        np.prod(x)
        np.prod(A, axis=1)
        np.ptp(x)
        np.average(x, weights=p)
        np.average(A, axis=1, weights=[0.2, 0.5, 0.3])
        np.cumsum(x)
        np.cumsum(A, axis=1)
        np.cumprod(x)
        np.median(x)
        np.median(A, axis=0)
        np.quantile(x, 0.3)
        np.percentile(x, [20, 60])
        np.sort(x)
        np.sort(A, axis=0)
        np.partition(x, 2)[2]
        np.diff(x)
        np.diff(A, n=2, axis=1)
        np.trapezoid(y, dx=0.5)
        np.trapezoid(y, x)
        np.gradient(x, 0.5)
        np.cov(A)
        np.sum(x, where=mask)
    """,
    "reductions without NaN": """
        np.nansum(h)
        np.nanmean(h)
        np.nanvar(h)
        np.nanstd(h)
        np.nanmax(h)
        np.nanmin(h)
        np.nanprod(h)
        np.nanmedian(h)
        np.nanquantile(h, 0.3)
        np.nanpercentile(h, 60)
        np.nancumsum(h)
        np.nancumprod(h)
    """,
    "shape": """
        np.reshape(A, (3, 2))
        A.reshape(3, 2)
        np.reshape(A, (3, 2), order="F")
        np.ravel(A)
        A.ravel()
        A.flatten()
        A.T
        np.transpose(T, (2, 0, 1))
        np.swapaxes(T, 0, 2)
        np.moveaxis(T, 0, -1)
        np.rollaxis(T, 2)
        np.expand_dims(x, 0)
        np.squeeze(A[None])
        np.broadcast_to(w, (2, 3))
        np.atleast_1d(s)
        np.atleast_2d(x)
        np.atleast_3d(x)
        np.broadcast_arrays(A, w)
        np.tile(w, 2)
        np.repeat(w, 3)
        np.repeat(A, [2, 0, 1], axis=1)
        np.roll(x, 2)
        np.flip(A, axis=1)
        np.fliplr(A)
        np.flipud(A)
        np.rot90(A)
        np.pad(A, 1)
        np.pad(x, (2, 1), mode="edge")
        np.pad(x, 2, mode="reflect")
        np.diag(M)
        np.diag(x)
        np.diagflat(w)
        np.diagonal(M, offset=1)
        np.trace(M)
        np.tril(M)
        np.triu(M, k=1)
        np.meshgrid(x, w)
        np.copy(x)
        x.copy()
        x.astype(float)
    """,
    "indexing": """
        x[2]
        x[-1]
        x[1:4]
        x[::-1]
        A[1]
        A[:, 1]
        A[..., 0]
        x[:, None]
        x[index]
        A[np.arange(2), [2, 0]]
        x[mask]
        x[x > 0]
        sum(k * row @ row for k, row in enumerate(A))
        np.take(x, index)
        np.take(A, [2, 0], axis=1)
        np.take_along_axis(A, np.argsort(A, axis=1), axis=1)
        np.compress(mask, x)
        np.extract(mask, x)
        np.delete(x, 1)
        np.insert(x, 2, s)
        z = x * 1; z[1] = 3.0; z
        z = x * y; z[mask] = s; z
        z = x * 1; z[1:3] += y[:2]; z
        z = np.zeros_like(x); z[0] = x[1] * y[0]; z[1:] = x[:-1]; z
    """,
    "joining": """
        np.concatenate([x, y])
        np.concatenate([A, B], axis=1)
        np.stack([x, y])
        np.stack([A, B], axis=-1)
        np.vstack([A, w])
        np.hstack([x, w])
        np.dstack([A, B])
        np.column_stack([x, y])
        np.append(x, y)
        np.block([[A, B], [B, A]])
        np.split(x, [2, 3])
        np.array_split(x, 2)
        np.hsplit(A, 3)
        np.vsplit(A, 2)
        np.dsplit(T, 3)
        np.array([x, y]) -> refused
        np.linspace(0, s, 5) -> refused
    """,
    "products": """
        np.dot(x, y)
        np.dot(A, C)
        A.dot(w)
        np.einsum("ij,jk->ik", A, C)
        np.einsum("ij,ij->", A, B)
        np.einsum("...i,i->...", A, w)
        np.einsum("ii->i", M)
        np.tensordot(A, C, axes=1)
        np.tensordot(T, A, axes=([1, 2], [0, 1]))
        np.inner(A, B)
        np.outer(x, w)
        np.vdot(A, B)
        np.kron(A, w)
        np.cross(w, M)
        np.convolve(x, w)
        np.polyval(x, 2.0) -> refused
    """,
    "linalg": """
        np.linalg.norm(x)
        np.linalg.norm(A)
        np.linalg.norm(A, axis=1)
        np.linalg.norm(x, 1)
        np.linalg.norm(x, np.inf)
        np.linalg.norm(A, "fro")
        np.linalg.matrix_norm(A)
        np.linalg.vector_norm(x, ord=3)
        np.linalg.solve(M, w)
        np.linalg.solve(K, K)
        np.linalg.inv(M)
        np.linalg.det(M)
        np.linalg.slogdet(M)
        np.linalg.cholesky(S)
        np.linalg.multi_dot([A, C, A])
        np.linalg.matrix_power(M, 3)
        np.linalg.eigh(S)[0]
        np.linalg.eigvalsh(S)
        np.linalg.svd(A, compute_uv=False)
        np.linalg.qr(C)
        np.linalg.lstsq(C, x[:3])[0]
        np.linalg.pinv(A)
    """,
    "fft": """
        np.fft.fft(x)
        np.fft.ifft(x)
        abs(np.fft.rfft(x)) ** 2
        np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(y), n=5)
        np.fft.fft2(A)
    """,
    "scipy.special": """
        sp.expit(x)
        sp.logit(u)
        sp.log_expit(x)
        sp.xlogy(p, u)
        sp.xlog1py(x, p)
        sp.entr(p)
        sp.erf(x)
        sp.erfc(x)
        sp.erfinv(u)
        sp.ndtr(x)
        sp.log_ndtr(x)
        sp.ndtri(u)
        sp.gammaln(p)
        sp.digamma(p)
        sp.psi(p)
        sp.rel_entr(p, u)
        sp.kl_div(p, u)
        sp.huber(0.6, x)
        sp.pseudo_huber(0.75, x)
        sp.expm1(x)
        sp.log1p(p)
        sp.exprel(x)
        sp.gamma(p)
        sp.betaln(p, u)
        sp.logsumexp(A, axis=1) -> tg.logsumexp(A, axis=1)
        sp.softmax(A, axis=1) -> tg.softmax(A, axis=1)
        sp.log_softmax(A, axis=1) -> tg.log_softmax(A, axis=1)
        sp.polygamma(1, p) -> tg.ops.polygamma.polygamma(1, p)
        stats.norm.pdf(x) -> tg.stats.norm.pdf(x)
    """,
}


# --- what the calls are made with -------------------------------------------------------------------------------------


def spread(name: str, shape: tuple[int, ...], low: float, high: float) -> ndarray:
    """Distinct entries in an interval, evenly apart, so that none comes near another or near 0 within a stencil."""
    count = int(np.prod(shape, dtype=int))
    places = (np.arange(count) + 0.43) / count
    return rng_of("everyday", name).permutation(low + (high - low) * places).reshape(shape)


INPUTS = {
    "x": spread("x", (5,), -2.0, 2.0),
    "y": spread("y", (5,), -2.3, 1.9),
    "p": spread("p", (5,), 0.4, 2.9),  # positive
    "u": spread("u", (5,), 0.1, 0.9),  # probabilities
    "w": spread("w", (3,), -1.2, 1.7),
    "s": spread("s", (), 0.3, 1.1),
    "h": np.array([0.7, np.nan, -1.3, 2.2, np.nan]),  # with holes
    "A": spread("A", (2, 3), -2.0, 2.2),
    "B": spread("B", (2, 3), -1.9, 2.1),
    "C": spread("C", (3, 2), -2.1, 2.3),
    "T": spread("T", (2, 2, 3), -2.0, 2.0),
    "M": spread("M", (3, 3), -1.0, 1.0) + 2 * np.eye(3),
    "K": spread("K", (2, 3, 3), -1.0, 1.0) + 2 * np.eye(3),
    "S": spread("S", (3, 3), -0.4, 0.4) + np.diag([1.5, 3.0, 4.5]),  # its lower triangle is that of a definite matrix
}
CONSTANTS = {
    "c": np.array([1.5, -0.5, 2.0, 0.75, -1.25]),
    "mask": np.array([True, False, True, True, False]),
    "index": np.array([2, 0, 2]),
    "labels": np.array([1, 0, 1]),
}
MODULES = {"np": np, "sp": special, "stats": stats, "tg": tg}


def evaluated(text: str, values: dict[str, Any]) -> Any:
    """The last expression of the statements."""
    names = {**MODULES, **CONSTANTS, **values}
    *before, last = text.split("; ")
    exec("\n".join(before), names)
    return eval(last, names)


@dataclass(frozen=True)
class Call:
    """One line of the list."""

    family: str
    theirs: str
    ours: str

    @classmethod
    def read(cls, family: str, line: str) -> Call:
        theirs, _, ours = line.strip().partition(" -> ")
        return cls(family, theirs, ours or theirs)

    @property
    def refused(self) -> bool:
        return self.ours == "refused"

    @property
    def dispatched(self) -> bool:
        return self.ours == self.theirs

    @cached_property
    def inputs(self) -> dict[str, ndarray]:
        """The arrays that are differentiated: all that the call names."""
        words = set(re.findall(r"[A-Za-z_]\w*", self.theirs))
        return {name: x for name, x in INPUTS.items() if name in words}

    @cached_property
    def cotangents(self) -> list[ndarray]:
        rng = rng_of(self.theirs, "ct")
        return [rng.uniform(0.5, 1.5, np.shape(part)) for part in parts(evaluated(self.theirs, self.inputs))]

    @cached_property
    def direction(self) -> list[ndarray]:
        rng = rng_of(self.theirs, "direction")
        return [rng.uniform(0.25, 0.5, x.shape) * rng.choice([-1, 1], x.shape) for x in self.inputs.values()]

    def of(self, text: str, values: Sequence[Any]) -> Any:
        """The result as one number: its parts times the cotangents."""
        found = parts(evaluated(text, dict(zip(self.inputs, values, strict=True))))
        return sum(np.sum(part * ct) for part, ct in zip(found, self.cotangents, strict=True))

    def plain(self, *values: ndarray) -> float:
        return float(self.of(self.theirs, values))

    def recorded(self, *values: Any) -> Any:
        return self.of(self.ours, values)

    def moved(self, t: float, along: Sequence[ndarray]) -> float:
        return self.plain(*(x + t * v for x, v in zip(self.inputs.values(), along, strict=True)))


ALL = [Call.read(family, line) for family, lines in CALLS.items() for line in lines.strip().splitlines()]
DIFFERENTIABLE = [call for call in ALL if not call.refused]

# --- differences ------------------------------------------------------------------------------------------------------

# Central differences of order 8 (Fornberg, Math. Comp. 51 (1988), table 1), and their step. With poles and kinks 0.04
# away or more their error is below 1e-9, and the rounding of the second one eps / STEP**2 = 1e-11.
STEP = 2.0**-8
SLOPE = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
BEND = (8 / 5, -1 / 5, 8 / 315, -1 / 560)
CLOSE = {"rtol": 1e-8, "atol": 1e-8}


def slope(call: Call, along: Sequence[ndarray]) -> float:
    """The derivative of the plain call in a direction."""
    pairs = ((call.moved(k * STEP, along) - call.moved(-k * STEP, along)) for k in range(1, 5))
    return sum(weight * pair for weight, pair in zip(SLOPE, pairs, strict=True)) / STEP


def bend(call: Call, along: Sequence[ndarray]) -> float:
    """The second one."""
    middle = 2 * call.moved(0.0, along)
    pairs = ((call.moved(k * STEP, along) + call.moved(-k * STEP, along) - middle) for k in range(1, 5))
    return sum(weight * pair for weight, pair in zip(BEND, pairs, strict=True)) / STEP**2


def units(call: Call) -> Iterator[tuple[int, tuple[int, ...], list[ndarray]]]:
    """Each entry of each input, and the direction that is 1/2 there and 0 elsewhere."""
    for k, x in enumerate(call.inputs.values()):
        for index in np.ndindex(x.shape):
            unit = [np.zeros(other.shape) for other in call.inputs.values()]
            unit[k][index] = 0.5
            yield k, index, unit


def check_reverse(call: Call) -> None:
    wanted = [np.zeros(x.shape) for x in call.inputs.values()]
    for k, index, unit in units(call):
        wanted[k][index] = 2 * slope(call, unit)
    found = func.grad(call.recorded, tuple(range(len(wanted))))(*call.inputs.values())
    for name, ours, theirs in zip(call.inputs, found, wanted, strict=True):
        assert_allclose(ours, theirs, **CLOSE, err_msg=f"{call.ours}: gradient in {name}")


def check_forward(call: Call) -> None:
    _, tangent = func.jvp(call.recorded, tuple(call.inputs.values()), call.direction)
    assert_allclose(tangent, slope(call, call.direction), **CLOSE, err_msg=f"{call.ours}: tangent")


def check_second(call: Call) -> None:
    """The Hessian times a direction, entry by entry, from second differences in the sum and in the difference."""
    wanted = [np.zeros(x.shape) for x in call.inputs.values()]
    for k, index, unit in units(call):
        sum_ = [v + e for v, e in zip(call.direction, unit, strict=True)]
        difference = [v - e for v, e in zip(call.direction, unit, strict=True)]
        wanted[k][index] = (bend(call, sum_) - bend(call, difference)) / 2
    found = func.hvp(call.recorded, tuple(call.inputs.values()), call.direction)
    for name, ours, theirs in zip(call.inputs, found, wanted, strict=True):
        assert_allclose(ours, theirs, **CLOSE, err_msg=f"{call.ours}: second derivative in {name}")


def check_value(call: Call) -> None:
    """Value, shapes and containers are those of the plain call; the results are tensors."""
    ours = evaluated(call.ours, {name: Tensor(x, requires_grad=True) for name, x in call.inputs.items()})
    theirs = evaluated(call.theirs, call.inputs)
    assert isinstance(theirs, tuple | list) == isinstance(ours, tuple | list)
    for part, plain in zip(parts(ours), parts(theirs), strict=True):
        assert isinstance(part, Tensor)
        assert part.shape == plain.shape
        # Sums in another order: a few roundings.
        assert_allclose(part.detach().numpy(), plain, rtol=1e-12, atol=1e-13, err_msg=call.ours)


CHECKS: dict[str, Callable[[Call], None]] = {
    "value": check_value,
    "reverse": check_reverse,
    "forward": check_forward,
    "second": check_second,
}

# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", DIFFERENTIABLE, ids=lambda call: call.ours)
def test_call_is_differentiated(call: Call) -> None:
    for check in CHECKS.values():
        check(call)


@pytest.mark.parametrize("call", [call for call in ALL if not call.dispatched], ids=lambda call: call.theirs)
def test_call_that_does_not_dispatch_is_refused_by_name(call: Call) -> None:
    """And says what to do: ours, or the way out."""
    tensors = {name: Tensor(x, requires_grad=True) for name, x in call.inputs.items()}
    with pytest.raises(TypeError) as refused:
        evaluated(call.theirs, tensors)
    said = str(refused.value)
    assert "detach()" in said
    called = call.theirs.partition("(")[0].split(".")[-1]
    assert called in said or "np.stack([t, u])" in said
    assert call.refused or call.ours.partition("(")[0].split(".")[-1] in said


def test_list_is_what_it_says() -> None:
    assert len(ALL) == len({call.theirs for call in ALL}) == 319
    assert len(DIFFERENTIABLE) >= 315
    assert sum(call.dispatched for call in ALL) >= 311
    for call in ALL:
        assert not call.dispatched or "tg." not in call.ours
        assert call.inputs


def test_differences_see_a_wrong_derivative() -> None:
    """The reader itself: a line that says something else is found, in every mode."""
    call = Call("", "np.sinh(x)", "np.cosh(x)")
    for check in CHECKS.values():
        with pytest.raises(AssertionError):
            check(call)


def counts() -> str:
    """By family: how many calls, and how many of them pass each check, and dispatch."""

    def passes(check: Callable[[Call], None], call: Call) -> bool:
        try:
            check(call)
        except (AssertionError, TypeError):
            return False
        return True

    rows = [("family", "calls", *CHECKS, "by dispatch")]
    for family in [*CALLS, "all"]:
        chosen = [call for call in ALL if family in (call.family, "all")]
        numbers = [sum(not call.refused and passes(check, call) for call in chosen) for check in CHECKS.values()]
        rows.append((family, *map(str, (len(chosen), *numbers, sum(call.dispatched for call in chosen)))))
    return "\n".join(f"{name:24}" + "".join(f"{cell:>12}" for cell in cells) for name, *cells in rows)


if __name__ == "__main__":
    print(counts())
