"""Random programs: straight lines of analytic operations with fan-out, against the complex step.

The complex step evaluates the same program with NumPy alone at ``x + ih``: the imaginary part over `h` is the
derivative to rounding, since nothing is subtracted [1]_.

References
----------
.. [1] Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, example, given, note, settings
from hypothesis import strategies as st
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, detect_anomaly, grad

STEP = 1e-30  # its square vanishes beside every number that occurs


@dataclass(frozen=True)
class Line:
    """One line of a program: an operation on earlier values, by their position, with what else it takes."""

    name: str
    args: tuple[int, ...]
    extra: Any = None


@dataclass(frozen=True)
class Program:
    """Straight-line code: the shapes of the inputs, and lines that each append a value."""

    shapes: tuple[tuple[int, ...], ...]
    lines: tuple[Line, ...]
    seed: int

    def inputs(self) -> list[ndarray]:
        rng = np.random.default_rng(self.seed)
        return [rng.uniform(-1, 1, size=shape) for shape in self.shapes]

    def run(self, inputs: list[Any]) -> list[Any]:
        values = list(inputs)
        for line in self.lines:
            values.append(OPERATIONS[line.name](*[values[k] for k in line.args], line.extra))
        return values


def _where(x: Any, y: Any, seed: int) -> Any:
    mask = np.random.default_rng(seed).random(np.broadcast_shapes(x.shape, y.shape)) < 0.5
    return np.where(mask, x, y)


def _index(x: Any, seed: int) -> Any:
    """Rows picked with repetition."""
    rows = np.random.default_rng(seed).integers(0, x.shape[0], size=x.shape[0] + 1)
    return x[rows]


def _assigned(x: Any, y: Any, _: None) -> Any:
    """A copy of x with its first row replaced by the last one of y."""
    out = x * 1
    out[0] = y[-1]
    return out


# Each keeps values of moderate size moderate, so that no program overflows, and is analytic near the real axis.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y, _: x + y,
    "subtract": lambda x, y, _: x - y,
    "multiply": lambda x, y, _: x * y,
    "scale": lambda x, c: c * x,
    "divide": lambda x, y, _: x / (2.5 + np.tanh(y)),
    "exp": lambda x, _: np.exp(-x * x),
    "tanh": lambda x, _: np.tanh(x),
    "log": lambda x, _: np.log(3 + x * x),
    "sqrt": lambda x, _: np.sqrt(1 + x * x),
    "power": lambda x, _: (2 + x * x) ** 1.5,
    "matmul": lambda x, y, _: x @ y.T,
    "total": lambda x, axis: np.sum(x, axis=axis, keepdims=True),
    "reshape": lambda x, _: np.reshape(x, (-1, x.shape[0])),
    "transpose": lambda x, _: x.T,
    "index": _index,
    "slice": lambda x, _: x[::-1, 1:] if x.shape[1] > 1 else x[::-1],
    "where": _where,
    "concatenate": lambda x, y, _: np.concatenate([x, y, x]),
    "assign": _assigned,
}
UNARY = [name for name, f in OPERATIONS.items() if f.__code__.co_argcount == 2]


@st.composite
def programs(draw: st.DrawFn, least: int = 1, most: int = 12) -> Program:
    """Programs of matrices whose lines fit together, which is found out by running them as they are drawn."""
    n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shapes = [draw(st.sampled_from([(n, m), (1, m), (n, 1), (m, n)])) for _ in range(draw(st.integers(1, 3)))]
    seed = draw(st.integers(0, 2**32 - 1))
    values: list[ndarray] = Program(tuple(shapes), (), seed).inputs()
    lines: list[Line] = []
    for _ in range(draw(st.integers(least, most))):
        name = draw(st.sampled_from(sorted(OPERATIONS)))
        x = draw(st.integers(0, len(values) - 1))
        extra: Any = None
        if name in ("where", "index"):
            extra = draw(st.integers(0, 1000))
        elif name == "scale":
            extra = draw(st.sampled_from([-1.0, 0.0, 0.5, 2]))
        elif name == "total":
            extra = draw(st.sampled_from([None, 0, 1, (0, 1)]))
        args = (x,) if name in UNARY else (x, draw(st.integers(0, len(values) - 1)))
        line = Line(name, args, extra)
        try:
            value = OPERATIONS[name](*[values[k] for k in args], extra)
        except (ValueError, IndexError):
            continue  # shapes that do not fit
        if np.size(value) <= 60 and np.abs(value).max() < 1e3:  # small enough to be checked entry by entry
            lines.append(line)
            values.append(value)
    assume(lines)
    return Program(tuple(shapes), tuple(lines), seed)


def cost(program: Program, inputs: list[Any]) -> Any:
    """A weighted sum of the last value and of every second one before, so that there are many ways to it."""
    values = program.run(inputs)
    chosen = values[len(inputs) :: 2] + values[-1:]
    return sum((np.mean(v) * (0.3 + 0.1 * k) for k, v in enumerate(chosen)), start=0.0)


def complex_step(program: Program) -> list[ndarray]:
    inputs = program.inputs()
    slopes = [np.zeros(a.shape) for a in inputs]
    for a, slope in zip(inputs, slopes, strict=True):
        for index in np.ndindex(a.shape):
            moved = [b.astype(complex) for b in inputs]
            k = next(k for k, b in enumerate(inputs) if b is a)
            moved[k][index] += STEP * 1j
            slope[index] = cost(program, moved).imag / STEP
    return slopes


def tracked(program: Program) -> list[Tensor]:
    return [Tensor(a, requires_grad=True) for a in program.inputs()]


def filled(slopes: Iterable[Tensor | None], inputs: list[Tensor]) -> list[ndarray]:
    """Derivatives as arrays, zeros for inputs that the program does not use."""
    return [np.zeros(x.shape) if g is None else g.detach().numpy() for g, x in zip(slopes, inputs, strict=True)]


def size_of(slopes: list[ndarray]) -> float:
    """What roundings are compared with: the largest entry, and 1, the size of the values."""
    return max([1.0, *(float(np.abs(s).max(initial=0)) for s in slopes)])


FEW = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(program=programs())
@example(program=Program(((2, 2),), (Line("multiply", (0, 0)), Line("matmul", (0, 1)), Line("add", (0, 2))), 1))
@example(
    program=Program(((1, 3), (2, 1)), (Line("where", (0, 1), 3), Line("assign", (2, 0)), Line("index", (3,), 1)), 2)
)
def test_gradient_of_a_random_program_is_the_complex_step(program: Program) -> None:
    expected = complex_step(program)
    inputs = tracked(program)
    out = cost(program, inputs)
    note(str(program))
    assert_allclose(
        out.item(), cost(program, program.inputs()), rtol=1e-13
    )  # `tanh` and `**` take other roads in NumPy
    for value, slope in zip(filled(grad(out, inputs, allow_unused=True), inputs), expected, strict=True):
        # A few dozen operations, each right to a unit or two in the last place, and their condition of some tens.
        assert_allclose(value, slope, rtol=0, atol=1e-12 * size_of(expected))


@FEW
@given(program=programs())
def test_every_walk_gives_the_same_gradient(program: Program) -> None:
    """Plain, recorded, careful (under `detect_anomaly`), by `backward`, and a second time through a retained graph."""
    inputs = tracked(program)
    out = cost(program, inputs)
    plain = grad(out, inputs, retain_graph=True, allow_unused=True)
    recorded = grad(out, inputs, create_graph=True, allow_unused=True)
    with detect_anomaly():
        careful = grad(out, inputs, retain_graph=True, allow_unused=True)
    again = grad(out, inputs, retain_graph=True, allow_unused=True)
    out.backward()
    for x, one, two, three, four in zip(inputs, plain, recorded, careful, again, strict=True):
        if one is None:
            assert two is three is four is x.grad is None
            continue
        assert_array_equal(one.data, four.data)
        assert_array_equal(one.data, x.grad)
        # The plain walk adds the shares of an index one by one, the recorded one their sum.
        assert_allclose(two.detach().numpy(), one.data, rtol=0, atol=1e-14 * size_of([one.data]))
        # The careful walk's arrays lie otherwise in memory, and BLAS sums the few products in another order.
        assert_allclose(three.data, one.data, rtol=0, atol=1e-14 * size_of([one.data]))


@settings(FEW, max_examples=60)
@given(program=programs(most=6))
def test_second_derivative_of_a_random_program_is_the_slope_of_the_first(program: Program) -> None:
    """The derivative of the gradient along a direction, against five points of the gradient on that line."""
    inputs = tracked(program)
    first = grad(cost(program, inputs), inputs, create_graph=True, allow_unused=True)
    rng = np.random.default_rng(program.seed)
    directions = [rng.uniform(-1, 1, size=x.shape) for x in inputs]
    along = sum(((g * d).sum() for g, d in zip(first, directions, strict=True) if g is not None), start=Tensor(0.0))
    second = filled(grad(along, inputs, allow_unused=True) if along.requires_grad else [None] * len(inputs), inputs)

    def slopes(h: float) -> list[ndarray]:
        moved = [Tensor(a + h * d, requires_grad=True) for a, d in zip(program.inputs(), directions, strict=True)]
        return filled(grad(cost(program, moved), moved, allow_unused=True), moved)

    h = 1e-3
    stencil = zip(slopes(h), slopes(-h), slopes(2 * h), slopes(-2 * h), strict=True)
    expected = [(8 * (a - b) - (c - d)) / (12 * h) for a, b, c, d in stencil]
    for found, wanted in zip(second, expected, strict=True):
        # Five points: h**4 = 1e-12 times a fifth derivative of up to 1e5, and 1e-16 / h of rounding.
        assert_allclose(found, wanted, rtol=0, atol=1e-7 * size_of(expected))


@settings(FEW, max_examples=60)
@given(program=programs(most=6), data=st.data())
def test_cotangent_of_any_value_is_its_share(program: Program, data: st.DataObject) -> None:
    """With respect to an intermediate value: the derivative of the rest of the program at that value."""
    inputs = tracked(program)
    values = program.run(inputs)
    k = data.draw(st.integers(len(inputs), len(values) - 1))
    middle, last = values[k], values[-1]
    (g,) = grad(last, middle, np.ones(last.shape), allow_unused=True)
    plain = program.run(program.inputs())
    expected = np.zeros(middle.shape)
    for index in np.ndindex(middle.shape):
        moved = [np.asarray(v, dtype=complex) for v in plain[: k + 1]]
        moved[k] = moved[k].copy()
        moved[k][index] += STEP * 1j
        for line in program.lines[k + 1 - len(inputs) :]:
            moved.append(OPERATIONS[line.name](*[moved[j] for j in line.args], line.extra))
        expected[index] = np.sum(moved[-1].imag) / STEP
    (found,) = filled([g], [middle])
    assert_allclose(found, expected, rtol=0, atol=1e-12 * size_of([expected]))  # as above
