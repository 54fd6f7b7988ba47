"""What the code is measured against: cases made of the table's samples, and derivatives that owe nothing to a rule."""

from __future__ import annotations

import operator
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.testing import assert_allclose

import tinygrad_fnn.ops.fourier  # enters the rules of numpy.fft
import tinygrad_fnn.ops.special  # noqa: F401  # and those of SciPy
from tinygrad_fnn import RULES, Tensor, grad
from tinygrad_fnn.rules import Rule

WIDE = np.longdouble if np.finfo(np.longdouble).eps < 1e-18 else np.float64


# --- cases ------------------------------------------------------------------------------------------------------------


def rng_of(*what: object) -> np.random.Generator:
    """A generator that depends on the names given, and not on the order of the tests."""
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def is_shape(spec: Any) -> bool:
    return isinstance(spec, tuple) and all(type(n) is int for n in spec)


def _inputs(spec: Any, position: int) -> Iterator[tuple[Any, int]]:
    """Shapes and floating-point arrays of a sample, with the argument each belongs to."""
    if isinstance(spec, list):
        for part in spec:
            yield from _inputs(part, position)
    elif is_shape(spec) or (isinstance(spec, ndarray) and spec.dtype.kind == "f"):
        yield spec, position


def _filled(spec: Any, values: Iterator[Any]) -> Any:
    """The sample's argument with values in the places of its inputs."""
    if isinstance(spec, list):
        return [_filled(part, values) for part in spec]
    return next(values) if any(True for _ in _inputs(spec, 0)) else spec


def draw(shapes: Sequence[Any], domains: Sequence[tuple[float, float]], rng: np.random.Generator) -> list[ndarray]:
    """Arrays in their intervals, no two entries of an interval close to each other.

    Neighbours are 0.3 of their mean distance apart at least, so that a maximum, a median or a comparison does not
    change within the steps of a stencil; and they keep off the multiples of 1/2, where rounding and `abs` have kinks.
    """
    pools = {}
    for interval in set(domains):
        n = int(sum(np.prod(s, dtype=int) for s, d in zip(shapes, domains, strict=True) if d == interval))
        low, high = interval
        places = (np.arange(n) + 0.5 + rng.uniform(-0.35, 0.35, n)) / max(n, 1)
        values = rng.permutation(low + (high - low) * places)
        if high - low > 0.5:
            off = values - np.round(2 * values) / 2
            values = np.where(abs(off) < 0.02, values - off + np.copysign(0.02 + abs(off) / 2, off), values)
        pools[interval] = iter(np.clip(values, low, high))
    drawn = []
    for shape, interval in zip(shapes, domains, strict=True):
        count = int(np.prod(shape, dtype=int))
        drawn.append(np.array([next(pools[interval]) for _ in range(count)]).reshape(shape))
    return drawn


@dataclass
class Case:
    """A rule with one set of arguments."""

    rule: Rule
    args: tuple[Any, ...]
    params: dict[str, Any]

    def __str__(self) -> str:
        given = [*map(repr, self.args), *(f"{key}={value!r}" for key, value in self.params.items())]
        return f"{self.rule.name}({', '.join(given)})"

    @cached_property
    def inputs(self) -> list[ndarray]:
        """The values of everything drawn, in order."""
        specs, domains = [], []
        for spec, position in self._slots:
            specs.append(spec)
            domains.append(self.rule.domain[min(position, len(self.rule.domain) - 1)])
        rng = rng_of(self.rule.name, str(self))
        shapes = [spec if is_shape(spec) else (0,) for spec in specs]
        return [x if is_shape(spec) else spec for spec, x in zip(specs, draw(shapes, domains, rng), strict=True)]

    @cached_property
    def _slots(self) -> list[tuple[Any, int]]:
        return [slot for position, spec in enumerate(self.args) for slot in _inputs(spec, position)]

    @cached_property
    def differentiable(self) -> list[int]:
        """Which of the inputs have a derivative: all of a composite's, and those with a term."""
        if self.rule.kind == "composite":
            return list(range(len(self._slots)))
        terms = self.rule.terms
        return [k for k, (_, p) in enumerate(self._slots) if terms[0 if self.rule.variadic else p] is not None]

    def _call(self, fun: Callable[..., Any], values: Sequence[Any]) -> Any:
        left = iter(values)
        return fun(*(_filled(spec, left) for spec in self.args), **self.params)

    def plain(self, *values: Any) -> Any:
        """The function itself, on arrays."""
        return self._call(_assigned if self.rule.fun is operator.setitem else self.rule.fun, values)

    def recorded(self, *values: Any) -> Any:
        """What a user's call runs: dispatch where the function is NumPy's or SciPy's, the entry's own call else."""
        fun = self.rule.fun
        if fun is operator.setitem:
            return self._call(_assigned_to_tensor, values)
        public = isinstance(fun, np.ufunc) or (getattr(fun, "__module__", None) or "").startswith(
            ("numpy", "_operator")
        )
        return self._call(fun if public else self.rule.call, values)

    @cached_property
    def precision(self) -> Any:
        """The widest type in which the function computes: what its stencils are taken in."""
        if any(o.dtype == np.float32 for o in parts(self.plain(*self.inputs))):
            return np.float32
        try:
            outs = parts(self.plain(*(x.astype(WIDE) for x in self.inputs)))
        except (TypeError, ValueError):
            return np.float64
        return WIDE if all(o.dtype == WIDE for o in outs) else np.float64

    @cached_property
    def cotangents(self) -> list[ndarray]:
        """One for each part of the result, none near 0."""
        rng = rng_of(self.rule.name, "ct")
        outs = parts(self.plain(*self.inputs))
        return [np.asarray(rng.uniform(0.5, 1.5, o.shape) * rng.choice([-1, 1], o.shape)) for o in outs]

    @cached_property
    def directions(self) -> list[ndarray]:
        """One for each input, 0 where there is no derivative."""
        rng = rng_of(self.rule.name, "direction")
        drawn = [np.asarray(rng.uniform(0.5, 1.5, x.shape)) for x in self.inputs]
        return [v if k in self.differentiable else np.zeros_like(v) for k, v in enumerate(drawn)]


def _assigned(x: Any, index: Any, value: Any) -> Any:
    out = np.array(x)
    out[index] = value
    return out


def _assigned_to_tensor(x: Tensor, index: Any, value: Any) -> Tensor:
    out = +x if isinstance(x, Tensor) else Tensor(x)
    out[index] = value
    return out


def leaves(result: Any) -> list[Any]:
    """The arrays of a result that may be a list, a tuple or a named tuple of them."""
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple | list) else [result]


def parts(result: Any) -> list[Any]:
    """The real arrays of a result: what can be differentiated of it."""
    found = []
    for leaf in leaves(result):
        leaf = leaf if isinstance(leaf, Tensor) else np.asarray(leaf)
        if leaf.dtype.kind == "c":
            found += [np.real(leaf), np.imag(leaf)]
        elif leaf.dtype.kind == "f":
            found.append(leaf)
    return found


def declared(rule: Rule) -> list[Case]:
    """The samples of an entry; of an elementwise one that has none, vectors and matrices."""
    if rule.samples or rule.kind != "elementwise":
        return [Case(rule, s.args, dict(s.params)) for s in rule.samples]
    return [Case(rule, (shape,) * len(rule.terms), {}) for shape in ((3,), (2, 3))]


def derived(rule: Rule) -> list[Case]:
    """Broadcast, 0-d and empty operands of an elementwise function; 0-d and empty ones of a reduction."""
    if rule.kind == "elementwise":
        model = declared(rule)[0]
        slots = [k for k, spec in enumerate(model.args) if is_shape(spec)]
        mixtures = [((),), ((0,),), ((2, 0),)]
        if len(slots) > 1:
            mixtures += [((2, 1), (3,), ()), ((2, 3), (3,)), ((2, 3), ()), ((1,), (4,)), ((2, 0), (1,))]
        cases = []
        for shapes in mixtures:
            for turn in range(len(shapes)):
                args = list(model.args)
                for n, k in enumerate(slots):
                    args[k] = shapes[(n + turn) % len(shapes)]
                cases.append(Case(rule, tuple(args), model.params))
        return cases
    if rule.kind == "reduction":
        params = declared(rule)[0].params
        edges = [
            Case(rule, (shape,), params | {"axis": axis}) for shape, axis in (((), None), ((2, 0), 0), ((0, 2), 1))
        ]
        return [case for case in edges if _works(case)]
    return []


def _works(case: Case) -> bool:
    """Whether NumPy gives numbers there: there is no maximum of nothing, and no unbiased variance of one number."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return all(np.isfinite(out).all() for out in parts(case.plain(*case.inputs)))
    except (ValueError, RuntimeWarning):
        return False


def cases(rule: Rule) -> list[Case]:
    """All that a rule is tried on."""
    return declared(rule) + derived(rule)


# --- derivatives without rules ----------------------------------------------------------------------------------------


def step(precision: Any) -> Any:
    """Of a stencil of order 6: its error is about step**6 f7 / 3e5, and the rounding about eps f / step.

    With f7 up to 1e9 f' on the domains (a pole 0.1 away) that makes 1e-13 in extended precision, 1e-9 in double. What
    rounds to single, casts, is no stranger than a line.
    """
    return precision({np.float32: 2.0**-3, np.float64: 2.0**-8}.get(precision, 2.0**-11))


def slope(f: Callable[[Any], list[Any]], precision: Any = np.float64) -> list[ndarray]:
    """Derivative at 0 of a list of arrays: central differences with three steps, extrapolated twice (Richardson)."""
    h = step(precision)
    rows = []
    for s in (h, h / 2, h / 4):
        rows.append([(np.asarray(p) - np.asarray(m)) / (2 * s) for p, m in zip(f(s), f(-s), strict=True)])
    return [((16 * (4 * c - b) - (4 * b - a)) / 45).astype(float) for a, b, c in zip(*rows, strict=True)]


def along(case: Case, directions: Sequence[ndarray], precision: Any = None) -> list[ndarray]:
    """Derivative of the plain function's results in a direction of its inputs."""
    precision = case.precision if precision is None else precision
    inputs = [x.astype(precision) for x in case.inputs]

    def moved(t: Any) -> list[Any]:
        return parts(case.plain(*(x + t * v.astype(precision) for x, v in zip(inputs, directions, strict=True))))

    return slope(moved, precision)


def numeric_gradients(case: Case) -> list[ndarray]:
    """Gradient of <cotangents, result>, entry by entry of the differentiable inputs."""
    gradients = []
    for k in case.differentiable:
        gradient = np.zeros(case.inputs[k].shape)
        for index in np.ndindex(gradient.shape):
            unit = [np.zeros(x.shape) for x in case.inputs]
            unit[k][index] = 1
            slopes = along(case, unit)
            # Entries that did not move have slope 0 exactly, so that the sum adds no rounding of theirs.
            gradient[index] = sum(float(np.sum(ct * d)) for ct, d in zip(case.cotangents, slopes, strict=True))
        gradients.append(gradient)
    return gradients


def numeric_gradient(f: Callable[..., Any], *arrays: ndarray) -> list[ndarray]:
    """Gradients of a function that gives a number, in double precision: good to about 1e-9."""
    gradients = []
    for k, x in enumerate(arrays):
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[index] = 1
            moved = lambda t, k=k, unit=unit: [f(*(a + t * unit if j == k else a for j, a in enumerate(arrays)))]
            gradient[index] = slope(moved)[0]
        gradients.append(gradient)
    return gradients


# --- the code under test ----------------------------------------------------------------------------------------------


def filled(share: Any, x: ndarray) -> ndarray:
    return np.zeros(x.shape) if share is None else share.numpy() if isinstance(share, Tensor) else share


def leaf(x: Any, dtype: Any = None) -> Tensor:
    return Tensor(x, requires_grad=True, dtype=dtype)


def gradients(
    case: Case, inputs: Sequence[Any], cotangents: Sequence[Any], create_graph: bool = False
) -> list[ndarray]:
    """Gradient of <cotangents, result> from the engine, for the differentiable inputs."""
    xs = [leaf(x) if k in case.differentiable else x for k, x in enumerate(inputs)]
    wanted = [xs[k] for k in case.differentiable]
    outs = parts(case.recorded(*xs))
    tracked = [(o, ct) for o, ct in zip(outs, cotangents, strict=True) if isinstance(o, Tensor) and o.requires_grad]
    if not tracked:
        return [np.zeros(x.shape) for x in wanted]
    found = grad([o for o, _ in tracked], wanted, [ct for _, ct in tracked], create_graph=create_graph)
    return [share.detach().numpy() for share in found]


def tolerance(case: Case) -> dict[str, float]:
    """Of a stencil of the first derivative; see `step`."""
    rtol, atol = {np.float32: (1e-5, 1e-5), np.float64: (1e-7, 1e-10)}.get(case.precision, (1e-9, 1e-13))
    return {"rtol": rtol, "atol": atol}


def check_first(case: Case) -> None:
    """The first derivatives are those of a stencil on the plain function."""
    found = gradients(case, case.inputs, case.cotangents)
    for k, ours, theirs in zip(case.differentiable, found, numeric_gradients(case), strict=True):
        assert ours.shape == case.inputs[k].shape, f"{case}: input {k}"
        assert_allclose(ours, theirs, **tolerance(case), err_msg=f"{case}: input {k}")


def check_second(case: Case) -> None:
    """The derivative of <gradient, direction> is the stencil of the gradient in that direction.

    The gradient is linear in its cotangent, so that its derivative there is the slope of the function itself.
    """
    precision = case.precision
    xs = [leaf(x, precision) if k in case.differentiable else x.astype(precision) for k, x in enumerate(case.inputs)]
    wanted = [xs[k] for k in case.differentiable]
    directions = [case.directions[k] for k in case.differentiable]
    outs = parts(case.recorded(*xs))
    tracked = [k for k, o in enumerate(outs) if isinstance(o, Tensor) and o.requires_grad]
    if not tracked:
        return
    cts = [leaf(case.cotangents[k], precision) for k in tracked]
    firsts = grad([outs[k] for k in tracked], wanted, cts, create_graph=True)
    open_ = [(g, v) for g, v in zip(firsts, directions, strict=True) if g.requires_grad]
    seconds: Sequence[Any] = [None] * (len(wanted) + len(cts))
    if open_:
        seconds = grad([g for g, _ in open_], [*wanted, *cts], [v for _, v in open_], allow_unused=True)

    def moved(t: Any) -> list[Any]:
        at = [x.astype(precision) + t * v.astype(precision) for x, v in zip(case.inputs, case.directions, strict=True)]
        return gradients(case, at, [ct.astype(precision) for ct in case.cotangents])

    # Rules differ by a few roundings, and a stencil of them by eps / step: 1e-15 extended, 1e-13 double.
    loose = {key: 10 * value for key, value in tolerance(case).items()} | {"atol": 100 * tolerance(case)["atol"]}
    for k, ours, theirs in zip(case.differentiable, seconds, slope(moved, precision), strict=False):
        x = case.inputs[k]
        assert_allclose(
            filled(ours, x).astype(float), theirs, **loose, err_msg=f"{case}: second derivative in input {k}"
        )
    slopes = along(case, case.directions)
    for k, ours in zip(tracked, seconds[len(wanted) :], strict=True):
        ours = filled(ours, case.cotangents[k]).astype(float)
        assert_allclose(ours, slopes[k], **tolerance(case), err_msg=f"{case}: derivative in cotangent {k}")


def identity(rule: Rule) -> str:
    """A name for a test: the public one, and the kind where a kernel shares it with its face."""
    return (
        rule.name if rule.kind in ("composite", "constant") or _names().count(rule.name) == 1 else f"{rule.name} kernel"
    )


def _names() -> list[str]:
    return [rule.name for rule in RULES.values()]
