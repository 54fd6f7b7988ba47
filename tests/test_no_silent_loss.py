"""Whatever NumPy and SciPy have: differentiable, a constant on purpose, or an error that says what to do instead."""

from __future__ import annotations

import cmath
import itertools
import math
import operator
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy
from numpy.testing.overrides import get_overridable_numpy_array_functions, get_overridable_numpy_ufuncs
from scipy import fft, integrate, interpolate, linalg, optimize, signal, special, stats
from scipy.spatial import distance

import tinygrad_fnn.stats
from tinygrad_fnn import RULES, Tensor, func, grad, no_grad
from tinygrad_fnn.errors import NoRuleError
from tinygrad_fnn.ops.missing import NEAREST, nearest
from tinygrad_fnn.rules import public_name

UFUNCS = sorted(get_overridable_numpy_ufuncs(), key=public_name)
SPECIAL = sorted(
    {f for name in dir(special) if isinstance(f := getattr(special, name), np.ufunc)} - set(UFUNCS), key=public_name
)
FUNCTIONS = sorted(get_overridable_numpy_array_functions(), key=public_name)
PLAIN = np.array([1.0, 2.0, 4.0])
SECRET = math.pi / 10

# These dispatch on `like=` and make an array out of shapes and numbers; a tracked number among them is refused.
FROM_NOTHING = {
    *("arange", "array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray", "empty", "eye", "frombuffer"),
    *("fromfile", "fromfunction", "fromiter", "fromstring", "full", "genfromtxt", "identity", "loadtxt", "ones"),
    *("require", "tri", "zeros"),
}


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error with its causes: NumPy wraps what `__array__` and `__float__` raise in its own."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def message(error: BaseException) -> str:
    return " | ".join(map(str, chain(error)))


def carried(result: Any) -> list[Any]:
    """Floating-point or object arrays in a result that no longer know where they come from."""
    if isinstance(result, tuple | list):
        return [part for item in result for part in carried(item)]
    if isinstance(result, np.ndarray | np.generic | float | complex):
        given = any(str(result) == str(np.asarray(plain)) for plain in (PLAIN, np.zeros(3), np.sum))
        return [result] if np.asarray(result).dtype.kind in "fcO" and not given else []
    return [result] if isinstance(result, Tensor) and not result.requires_grad else []


@pytest.mark.parametrize("ufunc", UFUNCS + SPECIAL, ids=public_name)
def test_ufunc_is_differentiable_constant_or_refused(ufunc: np.ufunc) -> None:
    rule = RULES.get(ufunc)
    if rule is not None:
        assert rule.kind in ("elementwise", "primitive", "composite", "constant")
        assert rule.kind in ("composite", "constant") or any(term is not None for term in rule.terms)
        return
    t = leaf([0.25, 0.5])
    with pytest.raises(NoRuleError) as refused:
        ufunc(*[t] * ufunc.nin)
    assert public_name(ufunc) in str(refused.value)
    assert "detach()" in str(refused.value)


@pytest.mark.parametrize("ufunc", [f for f in UFUNCS + SPECIAL if f in RULES], ids=public_name)
@pytest.mark.parametrize("position", range(4))
def test_ufunc_with_one_tracked_argument(ufunc: np.ufunc, position: int) -> None:
    """Each argument alone: it has a derivative, or says that it has none; what comes back never is a plain number."""
    rule = RULES[ufunc]
    if position >= ufunc.nin or rule.kind == "constant":
        return
    args: list[Any] = [np.array([0.25, 0.5])] * ufunc.nin
    args[position] = leaf([0.25, 0.5])
    term = rule.terms[position] if rule.kind != "composite" else None
    try:
        with np.errstate(all="ignore"):
            out = ufunc(*args)
    except (TypeError, ValueError) as error:
        said = str(error)
    else:
        assert rule.kind == "composite" or term is not None
        assert not [part for part in carried(out) if np.asarray(part).dtype.kind != "i"]
        return
    assert rule.name in said
    assert rule.kind == "composite" or term is None or "safely coerced" in said or "n integer" in said


def attempts(t: Tensor, square: Tensor) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments that one NumPy function or another takes, with a tracked tensor in a place where arrays go."""
    for x in (t, square):
        yield from (((x,), {}), ((x, x), {}), ((x, 1), {}), ((x, 2, 2), {}), (([x, x],), {}), ((PLAIN, x), {}))
        yield from (((x, PLAIN), {}), ((np.sum, 0, x), {}), ((np.sum, x, 0), {}), ((x, [0], x), {}))
        yield from (
            ((x, x > 0, x), {}),
            ((x, [True] * 3, x), {}),
            ((x, x, 1), {}),
            ((np.zeros(3), np.arange(3), x), {}),
        )
    yield from (((t, (3,)), {}), ((t, [[0, 1]], [1]), {}), ((np.array([0, 1, 0]), [t, t]), {}), (("i,i", t, t), {}))
    yield from (((t, np.array([0, 2, 1]), 0), {}), ((np.zeros(3), np.arange(3), t, 0), {}), ((t, 0, t), {}))


@pytest.mark.parametrize("function", FUNCTIONS, ids=public_name)
def test_function_is_differentiable_constant_or_refused(function: Callable[..., Any]) -> None:
    rule = RULES.get(function)
    if rule is not None:
        return  # a constant on purpose, or enumerated by test_rules.py
    name = public_name(function)
    if function.__name__ in FROM_NOTHING and name.startswith("numpy."):
        for args in ((leaf(SECRET),), (3, leaf(SECRET)), (leaf([SECRET, 3.0]), float)):
            for like in ({}, {"like": leaf(1.0)}):
                try:
                    result = function(*args, **like)
                except (TypeError, ValueError, AttributeError):
                    continue
                assert SECRET not in np.asarray(result), f"{name}{args}"
        return
    refusals = []
    for args, kwargs in attempts(leaf([1.0, 2.0, 3.0]), leaf([[2.0, 1.0, 0.5], [1.0, 3.0, 0.0], [0.5, 0.0, 1.0]])):
        try:
            result = function(*args, **kwargs)
        except NoRuleError as error:
            refusals.append(str(error))
        except (TypeError, ValueError, AttributeError, IndexError):
            continue  # not its arguments
        else:
            assert not carried(result), f"{name}{args}: {result!r}"
    text = any(
        part in name for part in (".strings.", ".char.", "numpy.datetime", "busday", "recfunctions", "polynomial")
    )
    assert refusals or text or name in ACCEPTS, f"{name}: never met a tracked tensor"


# With arguments of these, the dispatcher sees no array.
ACCEPTS = {"numpy.fromregex", "numpy.ix_", "numpy.savez", "numpy.savez_compressed", "numpy.block"}

S, T, U = leaf(0.5), leaf([0.25, 0.5, 0.75]), leaf([1.0, 2.0, 3.0])
A = leaf([[2.0, 1.0], [1.0, 3.0]])

# What cannot dispatch: the call, what its message names, and the nearest thing in it.
UNDISPATCHED: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: special.logsumexp(T), "scipy.special.logsumexp", "tinygrad_fnn.logsumexp"),
    (lambda: special.softmax(T), "scipy.special.softmax", "tinygrad_fnn.softmax"),
    (lambda: special.log_softmax(T), "scipy.special.log_softmax", "tinygrad_fnn.log_softmax"),
    (lambda: special.polygamma(1, T), "scipy.special.polygamma", "polygamma"),
    (lambda: special.multigammaln(U, 1), "scipy.special.multigammaln", "gammaln"),
    (lambda: special.comb(T, 2), "scipy.special.comb", "scipy.special.binom"),
    (lambda: special.zeta(U), "scipy.special.zeta", ""),
    (lambda: special.lambertw(T), "scipy.special.lambertw", ""),
    (lambda: np.array([T, U]), "", "np.stack([t, u])"),
    (lambda: np.array([S, S]), "", "np.stack([t, u])"),
    (lambda: np.array([S, 1.0]), "", "np.stack([t, u])"),
    (lambda: np.array(T, dtype=object), "", "np.stack"),
    (lambda: np.asarray(S), "", "np.stack"),
    (lambda: np.sum([T, U]), "numpy.sum", "np.stack([t, u])"),
    (lambda: np.mean([S, S]), "numpy.mean", "np.stack([t, u])"),
    (lambda: np.exp([S, S]), "", "np.stack([t, u])"),
    (lambda: np.r_[T, U], "", "np.stack([t, u])"),
    (lambda: np.float64(S), "", ""),
    (lambda: math.exp(S), "", "np.exp(t)"),
    (lambda: math.hypot(S, S), "", "np.exp(t)"),
    (lambda: cmath.exp(S), "", "np.exp(t)"),
    (lambda: float(S), "", ""),
    (lambda: int(S), "", ""),
    (lambda: np.vectorize(lambda x: 2 * x)(T), "numpy.vectorize", "the Python function"),
    (lambda: np.vectorize(np.exp)(T), "numpy.vectorize", "the Python function"),
    (lambda: np.frompyfunc(lambda x: x, 1, 1)(T), "numpy.frompyfunc", "the Python function"),
    (lambda: np.full(3, S), "numpy.full", "numpy.full_like"),
    (lambda: np.linspace(0, S), "numpy.linspace", "numpy.linspace(0, 1, n)"),
    (lambda: np.poly1d(T), "numpy.poly1d", "a sum of products"),
    (lambda: np.polynomial.polynomial.polyval(2.0, T), "numpy.polynomial.polynomial.polyval", "a sum of products"),
    (lambda: np.zeros(3).__setitem__(0, S), "", ""),
    (lambda: np.zeros(3).__setitem__(slice(None), T), "", ""),
    (lambda: np.zeros(3).__setitem__(0, T[0]), "", ""),
    (lambda: np.zeros(3).fill(S), "", ""),
    (lambda: np.zeros(3).put(0, S), "", ""),
    (lambda: np.zeros(3).sum(initial=S), "", ""),
    (lambda: np.sum(np.zeros(3), initial=S), "numpy.sum", ""),
    (lambda: np.fromiter(T, float), "", ""),
    (lambda: statistics.fmean(T), "", ""),
    (lambda: np.full_like(PLAIN, S), "numpy.full_like", "numpy.zeros_like(t)"),
    (lambda: np.take(T, U), "numpy.take", "i.detach().astype(int)"),
    (lambda: T[U], "indexing", "i.detach().astype(int)"),
    (lambda: np.save("t.npy", T), "numpy.save", "numpy.save(file, t.detach())"),
    (lambda: np.savetxt("t.txt", T), "numpy.savetxt", "t.detach()"),
    (lambda: np.testing.assert_allclose(T, PLAIN), "numpy.testing.assert_allclose", "t.detach()"),
    (lambda: np.testing.assert_array_equal(T, PLAIN), "numpy.testing.assert_array_equal", "t.detach()"),
    (lambda: scipy.sparse.csr_matrix(A), "scipy.sparse.csr_matrix", "the dense tensor"),
    (lambda: scipy.sparse.csr_array(A), "scipy.sparse.csr_array", "the dense tensor"),
    (lambda: scipy.sparse.csr_array(np.eye(3)) @ T, "", ""),
    (lambda: np.add(T, U, out=np.zeros(3)), "numpy.add", "write t = numpy.add(...)"),
    (lambda: np.zeros(3).dot(T), "", ""),
    (lambda: np.random.default_rng(0).normal(T), "", ""),
    (lambda: linalg.solve(A, A), "scipy.linalg.solve", "numpy.linalg.solve"),
    (lambda: linalg.inv(A), "scipy.linalg.inv", "numpy.linalg.inv"),
    (lambda: linalg.cholesky(A), "scipy.linalg.cholesky", "numpy.linalg.cholesky"),
    (lambda: linalg.det(A), "scipy.linalg.det", "numpy.linalg.det"),
    (lambda: linalg.svd(A), "scipy.linalg.svd", "numpy.linalg.svd"),
    (lambda: linalg.eigh(A), "scipy.linalg.eigh", "numpy.linalg.eigh"),
    (lambda: linalg.norm(T), "scipy.linalg.norm", "numpy.linalg.norm"),
    (lambda: linalg.expm(A), "scipy.linalg.expm", "numpy.linalg.eigh"),
    (lambda: linalg.solve_triangular(A, A), "scipy.linalg.solve_triangular", "numpy.linalg.solve"),
    (lambda: linalg.cho_solve((A, True), A), "scipy.linalg.cho_solve", "numpy.linalg.solve"),
    (lambda: linalg.toeplitz(T), "scipy.linalg.toeplitz", "t[abs(i - j)]"),
    (lambda: linalg.block_diag(A, A), "scipy.linalg.block_diag", "numpy.block"),
    (lambda: stats.norm.logpdf(T), "scipy.stats.norm.logpdf", "tinygrad_fnn.stats.norm.logpdf"),
    (lambda: stats.norm.cdf(T), "scipy.stats.norm.cdf", "tinygrad_fnn.stats.norm.cdf"),
    (lambda: stats.norm(T).logpdf(1.0), "scipy.stats", ""),
    (lambda: stats.multivariate_normal.logpdf(T), "scipy.stats.multivariate_normal.logpdf", "tinygrad_fnn.stats"),
    (lambda: stats.t.logpdf(T, 3), "scipy.stats.t.logpdf", "tinygrad_fnn.stats.t.logpdf"),
    (lambda: stats.zscore(T), "scipy.stats.zscore", "numpy.std"),
    (lambda: stats.gmean(T), "scipy.stats.gmean", "numpy.mean"),
    (lambda: signal.convolve(T, U), "scipy.signal.convolve", "numpy.convolve"),
    (lambda: signal.fftconvolve(T, U), "scipy.signal.fftconvolve", "numpy.convolve"),
    (lambda: signal.lfilter([1.0], [1.0, 0.5], T), "scipy.signal.lfilter", "numpy.convolve"),
    (lambda: fft.fft(T), "scipy.fft.fft", "numpy.fft.fft"),
    (lambda: optimize.minimize(lambda x: np.sum(x**2), T), "scipy.optimize.minimize", "optim.minimize"),
    (lambda: integrate.trapezoid(T), "scipy.integrate.trapezoid", "numpy.trapezoid"),
    (lambda: integrate.quad(lambda x: x * S, 0, 1), "scipy.integrate.quad", ""),
    (lambda: interpolate.CubicSpline(T, U), "scipy.interpolate.CubicSpline", ""),
    (lambda: distance.euclidean(T, U), "scipy.spatial.distance.euclidean", "numpy.linalg.norm"),
    (lambda: scipy.ndimage.gaussian_filter(T, 1.0), "scipy.ndimage.gaussian_filter", ""),
    (lambda: T.numpy(), "", ""),
    (lambda: T.tolist(), "", ""),
    (lambda: round(S), "", "np.round(t)"),
    (lambda: round(S, 2), "", "np.round(t)"),
    (lambda: math.trunc(S), "", "np.trunc(t)"),
    (lambda: np.from_dlpack(T), "", ""),
    (lambda: T.view(np.int64), "view", "t.detach().numpy().view"),
    (lambda: T.tobytes(), "tobytes", "t.detach().numpy().tobytes"),
    (lambda: np.zeros(3).fill(S), "", ""),
    (lambda: operator.setitem(np.zeros(3), 0, S), "", ""),
    (lambda: np.fromiter(T, float), "", ""),
    (lambda: np.add(np.zeros(3), T, out=np.zeros(3)), "numpy.add", "write t = numpy.add(...)"),
    (lambda: operator.iadd(np.zeros(3), T), "numpy.add", "write t = numpy.add(...)"),
    (lambda: np.clip(T, 0, 1, out=np.zeros(3)), "numpy.clip", "write t = numpy.clip(...)"),
    (lambda: np.add.at(np.zeros(3), [0], S), "numpy.add.at", "make it a Tensor"),
    (lambda: np.nan_to_num(T, nan=S), "numpy.nan_to_num", ""),
]


@pytest.mark.parametrize(("call", "names", "near"), UNDISPATCHED, ids=map(str, itertools.count()))
def test_python_code_refuses_a_tracked_tensor(call: Callable[[], Any], names: str, near: str) -> None:
    with pytest.raises((TypeError, ValueError, IndexError, AttributeError)) as refused:
        call()
    said = message(refused.value)
    assert names in said
    assert near in said
    assert "detach()" in said


def test_what_a_tensor_has_not_is_named() -> None:
    """Of everything that arrays have: to be used on a copy of the values, or it is there."""
    for name in dir(np.ndarray):
        if not name.startswith("_") and not hasattr(Tensor, name):
            with pytest.raises(AttributeError, match=rf"t\.detach\(\)\.numpy\(\)\.{name},"):
                getattr(T, name)
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute 'gard'$"):
        T.gard  # noqa: B018


def test_values_without_a_gradient_go_where_they_are_asked_for() -> None:
    assert (round(Tensor(2.567), 1), round(Tensor(2.5)), math.trunc(Tensor(-2.5))) == (2.6, 2, -2)
    assert np.from_dlpack(T.detach()).tolist() == T.detach().tolist()


def test_under_no_grad_python_code_still_refuses_a_leaf() -> None:
    """The mode says what is recorded, not that a gradient may be lost."""
    with pytest.raises(TypeError, match=r"scipy\.special\.logsumexp"), no_grad():
        special.logsumexp(T)
    assert special.logsumexp(T.detach()) == special.logsumexp(T.detach().numpy())


def test_refusal_from_the_users_own_function_names_no_library() -> None:
    """`math.exp` in a function that SciPy calls is the user's."""
    with pytest.raises(TypeError, match=r"^a tensor that requires"):
        optimize.brentq(lambda x: math.exp(S) - x, 0, 5)


def test_a_root_finder_in_c_refuses_in_some_words() -> None:
    """Its C code goes on after our error; which one comes out (ours, a `SystemError`, a `ValueError`) is CPython's."""
    with pytest.raises((TypeError, ValueError, SystemError)):
        optimize.brentq(lambda x: x - S, 0, 5)


@pytest.mark.parametrize("name", NEAREST)
def test_nearest_is_about_something_that_has_no_rule(name: str) -> None:
    module, _, last = name.rpartition(".")
    found: Any = {"numpy": np, "scipy": scipy}[name.partition(".")[0]]
    for part in [*module.split(".")[1:], last]:
        found = getattr(found, part)
    assert found not in RULES, f"{name} has a rule by now"


def test_every_name_that_is_advised_exists() -> None:
    for advice in NEAREST.values():
        for word in advice.replace("(", " ").replace(",", " ").replace("[", " ").split():
            root, _, rest = word.strip(".;:)").partition(".")
            if root in ("numpy", "scipy", "tinygrad_fnn") and rest:
                found: Any = {"numpy": np, "scipy": scipy, "tinygrad_fnn": tinygrad_fnn}[root]
                for part in rest.split("."):
                    found = getattr(found, part)
    assert nearest("scipy.linalg.qr") == "numpy.linalg.qr"
    assert nearest("scipy.nothing") == ""


# --- arguments without a derivative -----------------------------------------------------------------------------------

WITHOUT = [
    (rule, k)
    for rule in RULES.values()
    if rule.kind in ("elementwise", "primitive") and isinstance(rule.fun, np.ufunc)
    for k, term in enumerate(rule.terms)
    if term is None
]


@pytest.mark.parametrize(("rule", "k"), WITHOUT, ids=[f"{r.name} {k}" for r, k in WITHOUT])
def test_tracked_argument_without_derivative_is_refused(rule: Any, k: int) -> None:
    args: list[Any] = [0.5] * len(rule.terms)
    args[k] = leaf(1.0)
    with pytest.raises(TypeError, match=r"detach|safely coerced|integer"):
        rule.call(*args)


def test_gate_names_the_argument_without_derivative() -> None:
    from tinygrad_fnn.gate import apply
    from tinygrad_fnn.ops.choice import _where

    with pytest.raises(NoRuleError, match=r"numpy.where has no derivative rule for its argument condition; .*detach"):
        apply(_where, leaf([1.0, 0.0]), 1.0, 2.0)


def test_condition_of_where_counts_as_its_truth() -> None:
    x = leaf([1.0, 0.0])
    (found,) = grad(np.sum(np.where(x, 3 * x, 2 * x)), x)
    assert found.tolist() == [3, 2]


def test_full_like_keeps_the_gradient_of_its_value() -> None:
    assert func.grad(lambda v: np.sum(np.full_like(Tensor(np.zeros((2, 3))), v)))(0.5) == 6
    assert func.grad(lambda v: np.sum(np.full_like(v, v)))(0.5) == 1
