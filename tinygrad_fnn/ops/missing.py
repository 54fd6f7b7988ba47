"""What to use instead of a function that has no derivative rule, or whose code cannot dispatch.

The messages of `NoRuleError` and of refused conversions read this table; nothing here enters a rule.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Final

import numpy as np

from ..rules import RULES, public_name

__all__ = ["NEAREST", "library_call", "nearest"]

_POLYNOMIAL: Final = "a sum of products, c[0] * x**2 + c[1] * x + c[2]"
_ASSIGN: Final = "t[...] = v on a Tensor such as numpy.zeros_like(t)"
_GRID: Final = "a + (b - a) * numpy.linspace(0, 1, n)"

# The nearest thing that works, by public name. What NumPy has under the same name as scipy.linalg, fft, signal or
# integrate needs no line.
NEAREST: Final[dict[str, str]] = {
    "numpy.apply_along_axis": "a vectorised expression with axis=, or numpy.stack of the rows' results",
    "numpy.apply_over_axes": "numpy.sum with a tuple for axis",
    "numpy.array": "numpy.stack([t, u])",
    "numpy.asarray": "the tensor as it is",
    "numpy.ascontiguousarray": "the tensor as it is",
    "numpy.asfortranarray": "the tensor as it is",
    "numpy.astype": "t.astype(dtype)",
    "numpy.copyto": _ASSIGN,
    "numpy.fill_diagonal": "numpy.where with numpy.eye, or numpy.diag",
    "numpy.frompyfunc": "the Python function on the tensor itself",
    "numpy.fromiter": "numpy.stack(list of tensors)",
    "numpy.full": "numpy.full_like, or value * numpy.ones(shape)",
    "numpy.geomspace": "numpy.exp of " + _GRID,
    "numpy.histogram": "numpy.bincount(numpy.digitize(x, edges), weights=t)",
    "numpy.linspace": _GRID,
    "numpy.logspace": "10 ** (" + _GRID + ")",
    "numpy.linalg.eig": "numpy.linalg.eigh for symmetric matrices",
    "numpy.linalg.eigvals": "numpy.linalg.eigvalsh for symmetric matrices",
    "numpy.place": _ASSIGN,
    "numpy.poly1d": _POLYNOMIAL,
    "numpy.polyfit": "numpy.linalg.lstsq with numpy.vander",
    "numpy.polyval": _POLYNOMIAL,
    "numpy.polynomial.polynomial.polyval": _POLYNOMIAL,
    "numpy.put": _ASSIGN,
    "numpy.put_along_axis": _ASSIGN,
    "numpy.putmask": _ASSIGN,
    "numpy.real_if_close": "numpy.real",
    "numpy.save": "numpy.save(file, t.detach())",
    "numpy.savetxt": "numpy.savetxt(file, t.detach())",
    "numpy.setdiff1d": "an index or a mask, t[mask]",
    "numpy.sort_complex": "numpy.sort",
    "numpy.testing.assert_allclose": "numpy.testing.assert_allclose(t.detach(), ...)",
    "numpy.testing.assert_array_equal": "numpy.testing.assert_array_equal(t.detach(), ...)",
    "numpy.trim_zeros": "a slice, t[a:b]",
    "numpy.union1d": "numpy.concatenate, then t[index]",
    "numpy.unique": "t[index] with index from numpy.unique(t.detach(), return_index=True)",
    "numpy.unique_values": "t[index] with index from numpy.unique(t.detach(), return_index=True)",
    "numpy.vectorize": "the Python function on the tensor itself, with numpy.where for its branches",
    "numpy.random.normal": "t + sigma * rng.normal(size=t.shape)",
    "scipy.integrate.simpson": "numpy.trapezoid",
    "scipy.linalg.block_diag": "numpy.block",
    "scipy.linalg.cho_solve": "numpy.linalg.solve",
    "scipy.linalg.expm": "numpy.linalg.eigh for symmetric matrices, V * exp(w) @ V.T",
    "scipy.linalg.lstsq": "numpy.linalg.lstsq",
    "scipy.linalg.solve_triangular": "numpy.linalg.solve",
    "scipy.linalg.toeplitz": "an index, t[abs(i - j)]",
    "scipy.linalg.eigvals": "numpy.linalg.eigvalsh for symmetric matrices",
    "scipy.linalg.eig": "numpy.linalg.eigh for symmetric matrices",
    "scipy.optimize.minimize": "tinygrad_fnn.optim.minimize, or a plain x0 with jac=True and func.value_and_grad(f)",
    "scipy.signal.fftconvolve": "numpy.convolve",
    "scipy.signal.lfilter": "numpy.convolve, or a loop",
    "scipy.sparse.coo_matrix": "the dense tensor",
    "scipy.sparse.csc_matrix": "the dense tensor",
    "scipy.sparse.csr_array": "the dense tensor",
    "scipy.sparse.csr_matrix": "the dense tensor",
    "scipy.spatial.distance.euclidean": "numpy.linalg.norm(x - y)",
    "scipy.spatial.distance.cdist": "numpy.linalg.norm(x[:, None] - y, axis=-1)",
    "scipy.special.comb": "scipy.special.binom",
    "scipy.special.ellipkm1": "scipy.special.ellipk(1 - p)",
    "scipy.special.factorial": "scipy.special.gamma(n + 1)",
    "scipy.special.log_softmax": "tinygrad_fnn.log_softmax",
    "scipy.special.logsumexp": "tinygrad_fnn.logsumexp",
    "scipy.special.multigammaln": "tinygrad_fnn.ops.polygamma.multigammaln",
    "scipy.special.polygamma": "tinygrad_fnn.ops.polygamma.polygamma",
    "scipy.special.powm1": "scipy.special.expm1(y * numpy.log(x))",
    "scipy.special.softmax": "tinygrad_fnn.softmax",
    "scipy.special.yn": "scipy.special.y0 and scipy.special.y1",
    "scipy.special.kn": "scipy.special.k0 and scipy.special.k1",
    "scipy.special.eval_legendre": _POLYNOMIAL,
    "scipy.special.voigt_profile": "scipy.special.erfcx, or its integral by numpy.trapezoid",
    "scipy.stats.multivariate_normal.logpdf": "tinygrad_fnn.stats.multivariate_normal.logpdf",
    "scipy.stats.norm.cdf": "tinygrad_fnn.stats.norm.cdf",
    "scipy.stats.norm.logcdf": "tinygrad_fnn.stats.norm.logcdf",
    "scipy.stats.norm.logpdf": "tinygrad_fnn.stats.norm.logpdf",
    "scipy.stats.norm.pdf": "tinygrad_fnn.stats.norm.pdf",
    "scipy.stats.norm.sf": "scipy.special.ndtr of minus the argument",
    "scipy.stats.t.logpdf": "tinygrad_fnn.stats.t.logpdf",
    "scipy.stats.norm.ppf": "scipy.special.ndtri",
    "scipy.stats.entropy": "numpy.sum(scipy.special.entr(p))",
    "scipy.stats.gmean": "numpy.exp(numpy.mean(numpy.log(t)))",
    "scipy.stats.zscore": "(t - numpy.mean(t)) / numpy.std(t)",
}
_HOMES: Final = {
    "scipy.linalg": np.linalg,
    "scipy.fft": np.fft,
    "scipy.signal": np,
    "scipy.integrate": np,
    "numpy.lib.scimath": np,
    "numpy.emath": np,
}


def nearest(name: str) -> str:
    """What works instead of the function of this public name; '' where there is nothing near."""
    if name in NEAREST:
        return NEAREST[name]
    module, _, last = name.rpartition(".")
    twin = getattr(_HOMES.get(module), last, None)
    return public_name(twin) if twin in RULES and RULES[twin].kind != "constant" else ""


def library_call() -> str:
    """The public name of the function of NumPy or SciPy that the user called and that led here; '' if none did."""
    own = __name__.partition(".")[0]
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _root(frame) == own:
        frame = frame.f_back
    found = ""
    while frame is not None and _root(frame) in ("numpy", "scipy"):
        found = _public(frame) or found
        frame = frame.f_back
    return found


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _public(frame: FrameType) -> str:
    """The name under which a user knows the function of this frame; '' for one that is private."""
    name, module = frame.f_code.co_name, frame.f_globals["__name__"]
    owner = frame.f_locals.get("self")
    if owner is not None:
        kind = type(owner).__name__
        called = name in ("__call__", "__init__")
        name = kind if called else f"{getattr(owner, 'name', None) or kind.removesuffix('_gen')}.{name}"
    found = _in_public(module, name)
    if found:
        return found
    for variable in ("f", "func", "fun", "hypotest_fun_in"):  # a decorator's frame: what it decorates
        decorated = frame.f_locals.get(variable)
        if _root(frame) == str(getattr(decorated, "__module__", "")).partition(".")[0]:
            return _in_public(decorated.__module__, getattr(decorated, "__name__", "_"))
    return ""


def _in_public(module: str, name: str) -> str:
    """The name with the public part of its module's path before it; '' if it is not found there."""
    parts = module.split(".")
    public = parts[: next((k for k, part in enumerate(parts) if part.startswith("_")), len(parts))]
    for length in range(len(public), 0, -1):
        home: Any = sys.modules.get(".".join(public[:length]))
        if not name.startswith("_") and "._" not in name and callable(_get(home, name)):
            return ".".join([*public[:length], name])
    return ""


def _get(thing: Any, name: str) -> Any:
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing
