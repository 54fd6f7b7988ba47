"""The enumeration of RULES: an operation is checked the moment it is entered. `oracles.py` has the how."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from oracles import (
    Case,
    along,
    cases,
    check_first,
    check_second,
    declared,
    gradients,
    identity,
    is_shape,
    leaf,
    leaves,
    parts,
    rng_of,
    slope,
    tolerance,
)

from tinygrad_fnn import RULES, Tensor, func, grad, relu, strict_edges
from tinygrad_fnn.rules import TOGETHER, Rule, Term

ALL = list(RULES.values())
DIFFERENTIABLE = [rule for rule in ALL if rule.kind != "constant"]
WITH_TERMS = [rule for rule in DIFFERENTIABLE if rule.kind != "composite"]
TERMS = [(rule, k) for rule in WITH_TERMS for k, term in enumerate(rule.terms) if term is not None]
CURVED = [(rule, k) for rule, k in TERMS if rule.terms[k].source != 0]  # 0 is zero to every order

every_rule = pytest.mark.parametrize("rule", DIFFERENTIABLE, ids=identity)
every_entry = pytest.mark.parametrize("rule", WITH_TERMS, ids=identity)
every_term = pytest.mark.parametrize(("rule", "k"), TERMS, ids=[f"{identity(rule)} {k}" for rule, k in TERMS])
every_point = pytest.mark.parametrize(
    ("rule", "point"), [(r, p) for r in ALL for p in r.at], ids=[f"{identity(r)} {p}" for r in ALL for p in r.at]
)

# Assigning broadcasts the value against the place it goes to, which is no shape of the call.
STRETCHES = {"assignment"}

# Sums in another order, and kernels that a face composes: a few roundings.
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}


# --- values -----------------------------------------------------------------------------------------------------------


def assert_same_result(ours: Any, theirs: Any, case: Case, exact: bool) -> None:
    if isinstance(theirs, tuple | list):
        assert type(ours) is type(theirs), f"{case}: {type(ours)} for {type(theirs)}"
        assert len(ours) == len(theirs), str(case)
        for a, b in zip(ours, theirs, strict=True):
            assert_same_result(a, b, case, exact)
        return
    floating = np.asarray(theirs).dtype.kind in "fc"
    assert isinstance(ours, Tensor) or not floating, f"{case}: a plain {type(ours).__name__} came back"
    values = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    assert type(values) is ndarray
    assert values.dtype == np.asarray(theirs).dtype, str(case)
    assert values.shape == np.shape(theirs), str(case)
    if exact:
        assert_array_equal(values, theirs, err_msg=str(case))
    else:
        assert_allclose(values, theirs, **ROUNDING, err_msg=str(case))


@every_rule
def test_value_is_that_of_the_plain_function(rule: Rule) -> None:
    """Also its dtype, its shape, and the container of several results."""
    for case in cases(rule):
        theirs = case.plain(*case.inputs)
        exact = rule.kind != "composite"
        assert_same_result(case.recorded(*map(leaf, case.inputs)), theirs, case, exact)
        if case.inputs:
            assert_same_result(case.recorded(*map(Tensor, case.inputs)), theirs, case, exact)


@pytest.mark.parametrize("rule", [rule for rule in ALL if rule.kind == "constant"], ids=identity)
def test_constant_gives_plain_results(rule: Rule) -> None:
    x, y = np.array([0.5, 1.5, 2.5]), np.array([1.0, 1.5, 2.0])
    square = np.outer(x, y)
    mask = x > 1
    for args in ((x,), (x, y), (x, 1), ((x, y),), (x, float), (square,), (mask,), (mask, mask)):
        try:
            theirs = rule.fun(*args)
        except (AttributeError, TypeError, ValueError):
            continue
        for wrap in (Tensor,) if args[0] is mask else (Tensor, leaf):
            ours = rule.fun(
                *(tuple(map(wrap, a)) if isinstance(a, tuple) else wrap(a) if type(a) is ndarray else a for a in args)
            )
            assert not any(isinstance(part, Tensor) for part in leaves(ours))
            assert type(ours) is type(theirs)
            if not isinstance(theirs, str):  # text says what it prints
                assert_array_equal(ours, theirs)
        return
    pytest.fail(f"{rule.name}: no arguments known to try it with")


# --- derivatives ------------------------------------------------------------------------------------------------------


@every_rule
def test_first_derivative(rule: Rule) -> None:
    for case in cases(rule):
        check_first(case)


@every_rule
def test_second_derivative(rule: Rule) -> None:
    for case in cases(rule):
        check_second(case)


@every_rule
def test_create_graph_changes_no_value(rule: Rule) -> None:
    for case in declared(rule):
        plain = gradients(case, case.inputs, case.cotangents)
        recorded = gradients(case, case.inputs, case.cotangents, create_graph=True)
        for ours, theirs in zip(recorded, plain, strict=True):
            assert_allclose(ours, theirs, **ROUNDING, err_msg=str(case))


@every_rule
def test_tensor_used_for_two_arguments(rule: Rule) -> None:
    """`f(x, x)` has the sum of both derivatives."""
    for case in cases(rule):
        same = [k for k in case.differentiable if case.inputs[k].shape == case.inputs[case.differentiable[0]].shape]
        if len(same) < 2:
            continue
        position = [p for _, p in case._slots]
        domains = [rule.domain[min(position[k], len(rule.domain) - 1)] for k in same]
        low, high = max(d[0] for d in domains), min(d[1] for d in domains)
        if low >= high:
            continue
        spread = rng_of(rule.name, "same").uniform(0.1, 0.9, case.inputs[same[0]].shape)
        x = leaf(low + (high - low) * spread)
        values = [x if k in same else v for k, v in enumerate(case.inputs)]
        outs = parts(case.recorded(*values))
        (found,) = grad(outs, x, [ct.copy() for ct in case.cotangents])
        for index in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[index] = 1

            def moved(t: Any, case=case, unit=unit, x=x, same=same) -> list[Any]:
                p = case.precision
                y = x.detach().numpy().astype(p) + t * unit.astype(p)
                return parts(case.plain(*(y if k in same else v.astype(p) for k, v in enumerate(case.inputs))))

            slopes = slope(moved, case.precision)
            wanted = sum(float(np.sum(ct * d)) for ct, d in zip(case.cotangents, slopes, strict=True))
            assert_allclose(found.numpy()[index], wanted, **tolerance(case), err_msg=str(case))


@every_point
def test_special_point(rule: Rule, point: tuple[float, ...]) -> None:
    """The derivatives there are those of the entry, exactly, and the second ones are numbers."""
    wanted = [w for w, term in zip(rule.at[point], rule.terms, strict=True) if term is not None]
    args = [leaf(v) if term is not None else v for v, term in zip(point, rule.terms, strict=True)]
    xs = [x for x in args if isinstance(x, Tensor)]
    with np.errstate(all="ignore"):
        out, again = rule.call(*args), rule.call(*args)
    firsts = grad(out, xs, create_graph=True)
    # An ulp or two, for constants such as log 2.
    assert_allclose([g.detach().numpy() for g in firsts], wanted, rtol=5e-16, atol=0)
    assert_allclose([g.numpy() for g in grad(again, xs)], wanted, rtol=5e-16, atol=0)
    for k, first in enumerate(firsts):
        if first.requires_grad:
            for second in grad(first, xs, retain_graph=True, allow_unused=True):
                assert second is None or np.isfinite(second.item()), f"second derivative of argument {k}"


# --- forward mode -----------------------------------------------------------------------------------------------------


def of_inputs(case: Case, dtype: Any = float) -> Callable[..., list[Any]]:
    """The call as a function of the differentiable inputs alone."""

    def f(*values: Any) -> list[Any]:
        given = dict(zip(case.differentiable, values, strict=True))
        return parts(case.recorded(*(given.get(k, x.astype(dtype)) for k, x in enumerate(case.inputs))))

    return f


def pushed(case: Case, f: Callable[..., Any], dtype: Any = float) -> Any:
    """The tangent of f in the case's direction."""
    primals = [case.inputs[k].astype(dtype) for k in case.differentiable]
    tangents = [case.directions[k].astype(dtype) for k in case.differentiable]
    return func.jvp(f, primals, tangents)[1]


def weighted(case: Case, outs: Any) -> Any:
    """<cotangents, results>."""
    total: Any = 0.0
    for out, ct in zip(outs, case.cotangents, strict=True):
        total = total + np.sum(ct * out)
    return total


def with_inputs(rule: Rule, every: bool = True) -> list[Case]:
    return [case for case in (cases(rule) if every else declared(rule)) if case.differentiable]


@every_rule
def test_tangent_is_the_slope_along_a_direction(rule: Rule) -> None:
    for case in with_inputs(rule):
        tangents, slopes = pushed(case, of_inputs(case)), along(case, case.directions)
        for ours, theirs, out in zip(tangents, slopes, parts(case.plain(*case.inputs)), strict=True):
            assert type(ours) is ndarray
            assert (ours.shape, ours.dtype) == (theirs.shape, out.dtype), str(case)
            assert_allclose(ours, theirs, **tolerance(case), err_msg=str(case))


@every_rule
def test_tangent_in_one_argument_alone(rule: Rule) -> None:
    """The other arguments are plain then, and no tangent of theirs arrives."""
    for case in with_inputs(rule, every=False):
        for k in case.differentiable if len(case.differentiable) > 1 else ():

            def f(x: Any, case: Case = case, k: int = k) -> Any:
                return parts(case.recorded(*(x if j == k else v for j, v in enumerate(case.inputs))))

            _, tangents = func.jvp(f, (case.inputs[k],), (case.directions[k],))
            only = [v if j == k else np.zeros_like(v) for j, v in enumerate(case.directions)]
            for ours, theirs in zip(tangents, along(case, only), strict=True):
                assert_allclose(ours, theirs, **tolerance(case), err_msg=f"{case}: input {k}")


@every_rule
def test_forward_is_the_transpose_of_reverse(rule: Rule) -> None:
    """<ct, J v> = <J^T ct, v>."""
    for case in with_inputs(rule):
        forward = sum(
            float(np.sum(ct * t)) for ct, t in zip(case.cotangents, pushed(case, of_inputs(case)), strict=True)
        )
        shares = gradients(case, case.inputs, case.cotangents)
        terms = [share * case.directions[k] for k, share in zip(case.differentiable, shares, strict=True)]
        # Both are sums of the same products, in another order.
        size = sum(float(np.sum(abs(term))) for term in terms)
        rtol = 1e-6 if case.precision is np.float32 else 1e-11
        assert_allclose(forward, sum(float(np.sum(t)) for t in terms), rtol=rtol, atol=rtol * size, err_msg=str(case))


@every_rule
def test_tangent_stays_float32(rule: Rule) -> None:
    for case in with_inputs(rule):
        theirs = parts(case.plain(*(x.astype(np.float32) for x in case.inputs)))
        for ours, out in zip(pushed(case, of_inputs(case, np.float32), np.float32), theirs, strict=True):
            assert ours.dtype == out.dtype, str(case)


@every_point
def test_tangent_at_special_point(rule: Rule, point: tuple[float, ...]) -> None:
    places = [k for k, term in enumerate(rule.terms) if term is not None]

    def f(*values: Any) -> Any:
        given = dict(zip(places, values, strict=True))
        return rule.call(*(given.get(k, v) for k, v in enumerate(point)))

    for k in places:
        with np.errstate(all="ignore"):
            _, tangent = func.jvp(f, [point[j] for j in places], [float(j == k) for j in places])
        assert_allclose(tangent, rule.at[point][k], rtol=5e-16, atol=0, err_msg=f"argument {k}")


def curvature(case: Case) -> float:
    """Second derivative of <cotangents, result> along the directions: second differences, extrapolated twice."""
    p = case.precision
    at = [x.astype(p) for x in case.inputs]

    def value(t: Any) -> Any:
        outs = parts(case.plain(*(x + t * v.astype(p) for x, v in zip(at, case.directions, strict=True))))
        return sum((np.sum(ct.astype(p) * o) for ct, o in zip(case.cotangents, outs, strict=True)), start=p(0))

    middle, h = value(p(0)), p(2.0**-7 if p is np.float64 else 2.0**-10)
    a, b, c = ((value(s) - 2 * middle + value(-s)) / s**2 for s in (h, h / 2, h / 4))
    return float((16 * (4 * c - b) - (4 * b - a)) / 45)


@every_rule
def test_nested_derivatives_agree(rule: Rule) -> None:
    """Forward over forward, reverse over forward and forward over reverse, with differences of the plain function."""
    for case in with_inputs(rule, every=False)[:1]:
        f = of_inputs(case)
        primals = [case.inputs[k] for k in case.differentiable]
        directions = [case.directions[k] for k in case.differentiable]
        every = tuple(range(len(primals)))

        def tangent(*xs: Any) -> Any:
            return weighted(case, func.jvp(f, xs, directions)[1])  # noqa: B023  # called within this round

        def slopes(*xs: Any) -> Any:
            return func.grad(lambda *ys: +weighted(case, f(*ys)) + 0 * np.sum(ys[0]), every)(*xs)  # noqa: B023

        _, forward_forward = func.jvp(tangent, primals, directions)
        reverse_forward = func.grad(lambda *xs: tangent(*xs) + 0 * np.sum(xs[0]), every)(*primals)
        _, forward_reverse = func.jvp(slopes, primals, directions)
        wanted = curvature(case)
        # Differences of second order: eps / step**2 = 1e-13 and 1e-10, and the poles that `step` speaks of.
        loose = {"rtol": 1e-4, "atol": 1e-5} if case.precision is not np.longdouble else {"rtol": 1e-6, "atol": 1e-9}
        assert_allclose(forward_forward, wanted, **loose, err_msg=str(case))
        for ours, theirs, v in zip(forward_reverse, reverse_forward, directions, strict=True):
            assert ours.shape == v.shape
            assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.max(abs(theirs), initial=1), err_msg=str(case))
        along_again = sum(float(np.sum(h * v)) for h, v in zip(reverse_forward, directions, strict=True))
        assert_allclose(along_again, forward_forward, rtol=1e-9, atol=1e-9, err_msg=str(case))


@every_rule
def test_tangent_sees_an_outer_variable(rule: Rule) -> None:
    """`jvp` inside a recorded computation: its tangent depends on a tracked factor from outside."""
    for case in with_inputs(rule, every=False)[:1]:
        outer = leaf(1.0)

        def f(*xs: Any) -> Any:
            return [outer * out for out in of_inputs(case)(*xs)]  # noqa: B023  # called within this round

        tangent = weighted(case, pushed(case, f))
        inner = weighted(case, pushed(case, of_inputs(case)))
        if isinstance(tangent, Tensor):
            assert_allclose(grad(tangent, outer)[0].item(), inner, rtol=1e-12, atol=1e-14, err_msg=str(case))
        else:
            assert tangent == inner == 0, f"{case}: plain, though it depends on the factor"


# What a choice leaves out has no tangent, whatever it is; a root at its minimum at rest neither.
CHOICES: list[tuple[str, Callable[[Any], Any], float, float]] = [
    ("where, log left out", lambda x: np.where(x > 0, np.log(x), 3 * x), 0.0, 3.0),
    ("where, both finite", lambda x: np.where(x > 0, x * x, np.sqrt(x)), 2.0, 4.0),
    ("select", lambda x: np.select([x > 1, x > -1], [np.log(x), 2 * x], 0.0), 0.0, 2.0),
    ("maximum", lambda x: np.maximum(np.sqrt(x) - 1, x), 0.0, 1.0),
    ("minimum", lambda x: np.minimum(np.sqrt(x) + 1, x), 0.0, 1.0),
    ("fmax of a NaN", lambda x: np.fmax(np.log(x), 5 * x), -1.0, 5.0),
    ("relu", lambda x: relu(np.sqrt(x) - 1), 0.0, 0.0),
    ("clip", lambda x: np.clip(np.log(x), -1, 1), 0.0, 0.0),
    ("an index", lambda x: np.stack([np.log(x), 2 * x])[1], 0.0, 2.0),
    ("max of several", lambda x: np.max(np.stack([np.log(x), 2 * x])), 0.0, 2.0),
    ("sqrt(x * x)", lambda x: np.sqrt(x * x), 0.0, 0.0),
    ("sqrt(x)**2 by hand", lambda x: np.sqrt(np.square(np.sqrt(x * x))), 0.0, 0.0),
    ("hypot", lambda x: np.hypot(x, 2 * x), 0.0, 0.0),
    ("norm", lambda x: np.linalg.norm(np.stack([x, 2 * x])), 0.0, 0.0),
    ("nansum", lambda x: np.nansum(np.stack([np.log(x), 2 * x])), -1.0, 2.0),
]


@pytest.mark.parametrize(("f", "point", "slope"), [c[1:] for c in CHOICES], ids=[c[0] for c in CHOICES])
def test_tangent_of_what_is_not_chosen(f: Callable[[Any], Any], point: float, slope: float) -> None:
    with np.errstate(all="ignore"):
        _, once = func.jvp(f, (point,), (1.0,))
        _, twice = func.jvp(lambda x: func.jvp(f, (x,), (1.0,))[1], (point,), (1.0,))
        mixed = func.grad(lambda x: func.jvp(f, (x,), (1.0,))[1] + 0 * x)(point)
    assert_allclose(once, slope, rtol=1e-15)
    assert np.isfinite(twice)
    assert np.isfinite(mixed)


def test_tangent_is_nan_where_zero_would_be_wrong() -> None:
    for f, x in ((lambda x: np.sqrt(x) * np.sqrt(x), 0.0), (lambda x: (x**3) ** (1 / 3), 0.0)):
        with np.errstate(all="ignore"):
            assert np.isnan(func.jvp(f, (x,), (1.0,))[1])


def test_tangent_under_strict_edges_keeps_ieee() -> None:
    with np.errstate(all="ignore"), strict_edges():
        assert np.isnan(func.jvp(lambda x: np.sqrt(x * x), (0.0,), (1.0,))[1])
        assert np.isnan(func.jvp(lambda x: relu(np.sqrt(x) - 1), (0.0,), (1.0,))[1])


def test_tangent_through_complex_values() -> None:
    """A filter: real in, complex between, real out; linear, so that its tangent is the filtered direction."""
    weights = np.exp(-np.arange(5.0)) * (1 + 0.5j)
    x, v = rng_of("filter").normal(size=(2, 8))

    def filtered(x: Any) -> Any:
        return np.fft.irfft(np.fft.rfft(x) * weights, 8)

    assert_allclose(func.jvp(filtered, (x,), (v,))[1], filtered(v), rtol=1e-13, atol=1e-15)
    _, power = func.jvp(lambda x: np.abs(np.fft.fft(x)) ** 2, (x,), (v,))
    spectrum = np.fft.fft(x)
    assert_allclose(power, 2 * np.real(np.conj(spectrum) * np.fft.fft(v)), rtol=1e-12, atol=1e-13)


# --- operands of every make -------------------------------------------------------------------------------------------


def strided(x: ndarray) -> ndarray:
    big = np.full((2 * x.shape[0], *x.shape[1:]) if x.ndim else (2,), 7.0, x.dtype)
    big[::2] = x
    return big


LAYOUTS = {
    "reversed": (lambda x: x[(slice(None, None, -1),) * x.ndim], lambda x: x[(slice(None, None, -1),) * x.ndim]),
    "Fortran": (lambda x: x.T, lambda x: x.T),
    "strided": (strided, lambda x: x[::2] if x.ndim and x.shape else x),
}


@every_rule
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(rule: Rule, layout: str) -> None:
    """Each argument tracked as a view, the others plain read-only views, which stay as they are."""
    lay, take = LAYOUTS[layout]
    for case in declared(rule):
        expected = gradients(case, case.inputs, case.cotangents)
        for n, k in enumerate(case.differentiable):
            values: list[Any] = [take(np.array(lay(x))) if x.ndim else x.copy() for x in case.inputs]
            before = [v.copy() for v in values]
            for v in values:
                v.flags.writeable = False
            source = leaf(lay(case.inputs[k]) if case.inputs[k].ndim else case.inputs[k])
            values[k] = take(source) if source.ndim else +source
            outs = parts(case.recorded(*values))
            cts = [np.array(ct) for ct in case.cotangents]
            for ct in cts:
                ct.flags.writeable = False
            tracked = [(o, ct) for o, ct in zip(outs, cts, strict=True) if isinstance(o, Tensor) and o.requires_grad]
            if not tracked:
                assert not expected[n].any(), str(case)
                continue
            (found,) = grad([o for o, _ in tracked], source, [ct for _, ct in tracked])
            got = take(found.numpy()) if source.ndim else found.numpy()
            assert_allclose(got, expected[n], **ROUNDING, err_msg=f"{case}: input {k}")
            for j, (v, old) in enumerate(zip(values, before, strict=True)):
                if j != k:
                    assert_array_equal(v, old, err_msg=f"{case}: input {j} was written to")


@every_rule
def test_float32_stays_float32(rule: Rule) -> None:
    """Value, gradient and second derivative, each close to its double."""
    for case in cases(rule):
        inputs = [x.astype(np.float32) for x in case.inputs]
        xs = [leaf(x) if k in case.differentiable else x for k, x in enumerate(inputs)]
        outs = parts(case.recorded(*xs))
        theirs = parts(case.plain(*inputs))
        for ours, plain in zip(outs, theirs, strict=True):
            assert ours.dtype == plain.dtype, str(case)
        tracked = [k for k, o in enumerate(outs) if isinstance(o, Tensor) and o.requires_grad]
        if not tracked:
            continue
        wanted = [xs[k] for k in case.differentiable]
        cts = [case.cotangents[k].astype(np.float32) for k in tracked]
        firsts = grad([outs[k] for k in tracked], wanted, cts, create_graph=True)
        doubles = gradients(case, [x.astype(float) for x in inputs], [ct.astype(np.float32) for ct in case.cotangents])
        for first, double in zip(firsts, doubles, strict=True):
            assert first.dtype == np.float32, str(case)
            # eps is 1.2e-7; the conditions of the samples cost up to two digits, and an entry that cancels its own.
            scale = np.max(abs(double), initial=0)
            assert_allclose(first.detach().numpy(), double, rtol=2e-5, atol=1e-5 * scale + 1e-30, err_msg=str(case))
        open_ = [g for g in firsts if g.requires_grad]
        if open_:
            for second in grad([np.sum(g) for g in open_], wanted, allow_unused=True):
                assert second is None or second.dtype == np.float32, str(case)


@pytest.mark.parametrize("rule", [r for r in WITH_TERMS if r.kind == "elementwise" and len(r.terms) > 1], ids=identity)
def test_python_scalars_are_weak(rule: Rule) -> None:
    for case in declared(rule)[:1]:
        for k in case.differentiable:
            values: list[Any] = [x.ravel()[0].item() for x in case.inputs]
            values[k] = leaf(case.inputs[k], np.float32)
            plain: list[Any] = [
                np.float32(x) if j == k else v for j, (x, v) in enumerate(zip(case.inputs, values, strict=True))
            ]
            out = case.recorded(*values)
            assert out.dtype == np.asarray(case.plain(*plain)).dtype  # float32, but where SciPy itself says double
            (first,) = grad(out, values[k], np.ones(out.shape), create_graph=True)
            assert first.dtype == np.float32


# --- the raw terms ----------------------------------------------------------------------------------------------------


def raw_shares(case: Case, dtype: Any = float) -> list[tuple[int, Term, Any, ndarray, ndarray]]:
    """For each term: which input, the term, its pullback with what it keeps bound, the result, a cotangent for it."""
    locked = [np.array(x, dtype) for x in case.inputs]
    for x in locked:
        x.flags.writeable = False
    left = iter(locked)
    positions = [p for _, p in case._slots]
    values = [next(left) if p in positions else spec for p, spec in enumerate(case.args)]
    out = np.asarray(case.rule.fun(*values, **case.params))
    out.flags.writeable = False
    ct = np.asarray(rng_of(case.rule.name, "raw").uniform(0.5, 1.5, out.shape)).astype(out.dtype)
    ct.flags.writeable = False
    shares = []
    for k in case.differentiable:
        p = positions[k]
        term = case.rule.terms[0 if case.rule.variadic else p]
        assert term is not None
        kept = () if term.take is None else term.take([*values, out], case.params, p)
        shares.append((k, term, lambda c, term=term, kept=kept: np.asarray(term.pull(c, *kept)), out, ct))
    return shares


@every_entry
def test_raw_share_has_the_shape_it_claims(rule: Rule) -> None:
    """The walk sums and repeats to fit, which must not hide a wrong shape."""
    for case in cases(rule):
        for k, _, pull, out, ct in raw_shares(case):
            share, x = pull(ct).shape, case.inputs[k].shape
            if rule.kind == "elementwise":
                assert share == out.shape, f"{case}: input {k}"
            elif rule.kind == "reduction":
                assert share in (x, out.shape), f"{case}: input {k}"
            elif rule.name in STRETCHES:
                assert np.broadcast_shapes(share, x) == share, f"{case}: input {k}"
            else:  # its own shape; or that of the result it was broadcast to, in all axes or in those of a stack
                stacked = [out.shape[: len(out.shape) - core] + x[len(x) - core :] for core in range(3)]
                assert share in (x, *stacked), f"{case}: input {k}: share {share}, argument {x}, result {out.shape}"


@every_entry
def test_raw_share_is_linear_in_the_cotangent(rule: Rule) -> None:
    for case in cases(rule):
        for _, _, pull, out, ct in raw_shares(case):
            other = np.asarray(rng_of(case.rule.name, "other").normal(size=out.shape))
            together = pull(2 * ct - 3 * other)
            assert_allclose(together, 2 * pull(ct) - 3 * pull(other), rtol=1e-10, atol=1e-12, err_msg=str(case))


@every_entry
def test_raw_share_is_not_wider_than_its_operands(rule: Rule) -> None:
    """The walk casts, which must not hide a rule that computes in double: it would take twice the time and memory."""
    for case in declared(rule):
        for k, _, pull, out, ct in raw_shares(case, np.float32):
            if out.dtype == np.float32:
                assert np.finfo(pull(ct).dtype).bits == 32, f"{case}: input {k}"  # or complex, of two singles


@every_entry
def test_node_keeps_what_its_terms_name(rule: Rule) -> None:
    """Everything else dies with its handle, and after backward everything does."""
    for case in declared(rule):
        sources = [leaf(x) if k in case.differentiable else x for k, x in enumerate(case.inputs)]
        operands = [s * 1.0 if isinstance(s, Tensor) else s for s in sources]
        out = case.recorded(*operands)
        if rule.call.__class__.__name__ == "function" and out._node.rule is not rule:
            continue  # the face does more than this one operation
        positions = [p for _, p in case._slots]
        named = {j for k in case.differentiable for j in (rule.terms[0 if rule.variadic else positions[k]].keeps)}
        node = out._node
        data = {positions[k]: o._data for k, o in enumerate(operands) if isinstance(o, Tensor)} | {-1: out._data}
        alive = {id(data[j]) for j in named if j in data} | {id(data[j].base) for j in named if j in data}
        watched = {j: weakref.ref(a) for j, a in data.items()}
        unnamed = {j for j, a in data.items() if id(a) not in alive}
        out.backward(np.ones(out.shape), retain_graph=True)
        del out, operands, data
        assert not {j for j in unnamed if watched[j]() is not None}, f"{case}: kept, but not named"
        assert node.edges is not None
        node.edges = None
        assert not {j for j in watched if watched[j]() is not None}, f"{case}: alive after the graph is freed"


@every_rule
def test_backward_frees_the_graph(rule: Rule) -> None:
    for case in declared(rule)[:1]:
        xs = [leaf(x) for x in case.inputs]
        operands = [x * 1.0 for x in xs]
        outs = [o for o in parts(case.recorded(*operands)) if isinstance(o, Tensor) and o.requires_grad]
        if not outs:
            continue
        watched = [weakref.ref(o._data) for o in operands]
        enabled = gc.isenabled()
        gc.disable()
        try:
            total = sum((np.sum(o) for o in outs), start=0.0)
            total.backward()
            node = total._node
            views = {id(o._data.base) for o in outs}
            held = [w for w, o in zip(watched, operands, strict=True) if id(o._data) not in views]
            del operands, outs
            assert not [w for w in held if w() is not None], f"{case}: alive after backward"
            assert node.edges is None
        finally:
            if enabled:
                gc.enable()


# --- two at once ------------------------------------------------------------------------------------------------------

AHEAD = [rule for rule in DIFFERENTIABLE if rule.ahead is not None]


def at_hard_points(rule: Rule) -> list[list[ndarray]]:
    """The samples, and a row of logits in the tails beside targets, or beside each label."""
    drawn = [list(case._call(lambda *args: args, case.inputs)) for case in declared(rule)]
    tails = np.array([-1000.0, -745.0, -40.0, -0.0, 0.0, 1e-300, 40.0, 709.5, 745.0, 1000.0])
    if any(x.dtype.kind == "i" for x in drawn[0]):
        return [*drawn, [np.tile(tails, (10, 1)), np.arange(10)]]
    return [*drawn, [tails, *(np.full(10, 0.25) for _ in drawn[0][1:])]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rule", AHEAD, ids=identity)
def test_value_and_partial_at_once_are_those_of_the_rule(rule: Rule, dtype: Any) -> None:
    term = rule.terms[0]
    assert term is not None
    for inputs in at_hard_points(rule):
        args = [np.asfortranarray(x.astype(dtype) if x.dtype.kind == "f" else x) for x in inputs]
        out, partial = rule.ahead(*args)
        expected = np.asarray(rule.fun(*args))
        assert_array_equal(out, expected)
        kept = [expected if w == -1 else args[w] for w in term.wraps]
        assert_array_equal(partial, term.pull(np.ones_like(expected), *kept))
        assert partial.dtype == out.dtype == dtype


@pytest.mark.parametrize(("pair", "kernel"), TOGETHER.items(), ids=[f.__name__ for f, _ in TOGETHER])
def test_kernels_for_two_have_the_bits_of_both(pair: Any, kernel: Any) -> None:
    """Also into memory that is there."""
    for inputs in at_hard_points(RULES[pair[0]]):
        expected = [np.asarray(f(*inputs)) for f in pair]
        for out in (None, tuple(np.full_like(e, np.nan) for e in expected)):
            for found, wanted in zip(kernel(*inputs, out=out), expected, strict=True):
                assert_array_equal(found, wanted)


# --- the checks themselves --------------------------------------------------------------------------------------------


@every_rule
def test_is_tried_on_something(rule: Rule) -> None:
    """An entry without samples would pass all of this."""
    assert declared(rule), f"{rule.name}: give its entry samples"
    assert all(is_shape(spec) or not isinstance(spec, tuple) or spec for case in declared(rule) for spec in case.args)


def check_all(check: Callable[[Case], None], rule: Rule) -> None:
    for case in declared(rule):
        check(case)


def altered(rule: Rule, k: int, pull: Any) -> tuple[Term | None, ...]:
    return tuple(dataclasses.replace(t, pull=pull) if j == k and t else t for j, t in enumerate(rule.terms))


@every_term
def test_wrong_first_derivative_is_caught(rule: Rule, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A term scaled by 1.001; one that is zero, raised by 0.001."""
    term = rule.terms[k]
    assert term is not None
    monkeypatch.setattr(rule, "ahead", None)  # which has a test of its own
    if term.source == 0:
        monkeypatch.setattr(rule, "terms", altered(rule, k, lambda ct, *kept: term.pull(ct, *kept) + 0.001 * ct))
    else:
        monkeypatch.setattr(rule, "terms", altered(rule, k, lambda ct, *kept: 1.001 * term.pull(ct, *kept)))
    with pytest.raises(AssertionError):
        check_all(check_first, rule)


@pytest.mark.parametrize(("rule", "k"), CURVED, ids=[f"{identity(rule)} {k}" for rule, k in CURVED])
def test_wrong_second_derivative_is_caught(rule: Rule, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A term scaled by 1.001 only while it is recorded."""
    term = rule.terms[k]
    assert term is not None

    def pull(ct: Any, *kept: Any) -> Any:
        share = term.pull(ct, *kept)
        return 1.001 * share if isinstance(share, Tensor) and share.requires_grad else share

    monkeypatch.setattr(rule, "terms", altered(rule, k, pull))
    with pytest.raises(AssertionError):
        check_all(check_second, rule)


def test_a_tangent_of_unwrap_keeps_its_jumps() -> None:
    _, tangent = func.jvp(np.unwrap, (np.array([0.3, 4.0, 1.0, 8.0]),), (np.array([0.0, 9.0, 0.0, 0.0]),))
    assert_array_equal(tangent, [0.0, 9.0, 0.0, 0.0])
