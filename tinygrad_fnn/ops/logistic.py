"""The logistic family: sigmoid, softplus, relu, softmax and their logarithms, exact at any logit, on NumPy alone.

With ``e = exp(min(z, c))`` and `c` just below overflow, ``a = e / (1 + e)`` is the logistic function [1]_ to 1.5 units
in the last place for every `z`, subnormal results included, and ``a / (1 + e)`` its derivative to 2.5, up to `c`.

References
----------
.. [1] Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 4.59, 4.88 and 4.106.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.array_utils import normalize_axis_tuple

from ..gate import apply, gate
from ..modes import MODE
from ..rules import TOGETHER, Array, dispatching, elementwise, primitive, reduction, sample
from ..tensor import Tensor, _new, ndim_of
from .reductions import drop

__all__ = [
    "OfLogit",
    "Origin",
    "log_sigmoid",
    "log_softmax",
    "logistic_density",
    "logsumexp",
    "past",
    "relu",
    "sigmoid",
]
__all__ += ["softmax", "softplus"]

_FLOATS = (np.float16, np.float32, np.float64, np.longdouble)
# The largest exponent short of overflow, and 1: as an array, which a ufunc takes faster than Python's number.
_BOUNDS = {np.dtype(t): (int(np.log(np.finfo(t).max)), np.array(1, t)) for t in _FLOATS}
TAILS = (-745.0, -40.0, 40.0, 745.0)


def _floating(z: Array) -> ndarray:
    values: ndarray = z if z.__class__ is ndarray else np.asarray(z)
    return values if values.dtype.kind in "fc" else values.astype(float)


# --- past a probability ---------------------------------------------------------------------------------------------


class Origin:
    """What a probability was computed from, left on its handle so that its logarithm need not be taken of it.

    Attributes
    ----------
    log : callable
        Records the logarithm of the probability, from the logit.
    logit : callable or None
        Records the logit; None for a softmax, which has none.
    negative : bool
        Whether the handle holds minus the probability.
    """

    __slots__ = ("log", "logit", "negative")

    def __init__(self, log: Callable[[], Tensor], logit: Callable[[], Tensor] | None, negative: bool = False) -> None:
        self.log, self.logit, self.negative = log, logit, negative

    def negated(self) -> Origin:
        """That of -p."""
        return Origin(self.log, self.logit, not self.negative)

    def complement(self) -> Origin | None:
        """That of 1 - p."""
        logit = self.logit
        if logit is None or self.negative:
            return None
        return Origin(lambda: log_sigmoid(-logit()), lambda: -logit())

    def moved(self, fun: Callable[[Tensor], Tensor]) -> Origin:
        """That of the probabilities rearranged by `fun`."""
        log, logit = self.log, self.logit
        return Origin(lambda: fun(log()), None if logit is None else lambda: fun(logit()), self.negative)


class OfLogit(Origin):
    """That of the logistic function of a logit; one object, since each sigmoid makes one."""

    __slots__ = ("_handle",)

    negative = False

    def __init__(self, handle: Tensor) -> None:
        self._handle = handle

    def log(self) -> Tensor:
        """Records the logarithm of the probability."""
        return log_sigmoid(self._handle)

    def logit(self) -> Tensor:
        """The logit."""
        return self._handle


def past(plain: Tensor, exact: Tensor) -> Tensor:
    """`exact`, which goes past a probability to its logit, with the record of the plain form kept aside.

    The cotangent of the probability itself is that of the plain form; it is evaluated only when somebody asks for it.
    """
    if exact._node is not None:
        exact._node.aside = plain._node
    return exact


def _snapshot(z: Any) -> Tensor:
    """A handle of its own to the present value, so that a later `z[i] = v` is not seen."""
    if not isinstance(z, Tensor):
        return Tensor(z)
    snapshot: Tensor = _new(Tensor)
    value = z._data
    snapshot._data = z._settle() if value is None else value
    snapshot._node = z._node if MODE.get().record else None
    snapshot._origin = None
    return snapshot


# --- elementwise ----------------------------------------------------------------------------------------------------


def _sigmoid(z: Array, out: Any = None) -> Array:
    z = _floating(z)
    if z.dtype.kind == "c":
        e = np.exp(np.where(z.real < 0, z, -z))
        a: ndarray = np.where(z.real < 0, e, 1) / (1 + e)
        return a
    c, one = _BOUNDS[z.dtype]
    e, _ = _exponential(z, c, out)
    return np.divide(e, e + one, out=e)


def _exponential(z: ndarray, c: int, out: ndarray | None) -> tuple[ndarray, bool]:
    """``exp(min(z, c))``, short of overflow, and whether `z` may be beyond."""
    if z.ndim == 1:
        flat = z
    else:
        flat = z.ravel("K")
        if out is None and not z.ndim:
            out = np.empty_like(z)  # of a 0-d array a ufunc makes a scalar
    if flat.size and flat.item(flat.argmax()) <= c:  # the first NaN where there is one; half the cost of the minimum
        return np.exp(z, out), False
    e = np.minimum(z, c, out=out)
    return np.exp(e, e), True


sigmoid_of = dispatching(_sigmoid)


def _logistic_density(z: Array, out: Any = None) -> Array:
    z = _floating(z)
    if z.dtype.kind == "c":
        e = np.exp(np.where(z.real < 0, z, -z))  # it is even
        return e / np.square(1 + e)
    c, one = _BOUNDS[z.dtype]
    e, far = _exponential(z, c, out)
    r = e + one
    density = np.divide(np.divide(e, r, e), r, e)
    return _beyond(z, c, density) if far else density


def _beyond(z: ndarray, c: int, density: ndarray) -> ndarray:
    """Put ``exp(-z)`` where z is beyond the largest exponent; there it is the density to the last digit."""
    beyond = z > c
    density[beyond] = np.exp(-z[beyond])
    return density


def _sigmoid_and_density(z: Array, out: Any = None) -> tuple[ndarray, ndarray | None]:
    z = _floating(z)
    bounds = _BOUNDS.get(z.dtype)
    if bounds is None:  # complex
        return _sigmoid(z), None
    c, one = bounds
    a, density = (None, None) if out is None else out
    e, far = _exponential(z, c, a)
    if density is None and not z.ndim:
        density = np.empty_like(z)
    r = np.add(e, one, out=density)
    a = np.divide(e, r, e)
    density = np.divide(a, r, r)
    return a, _beyond(z, c, density) if far else density


TOGETHER[_sigmoid, _logistic_density] = _sigmoid_and_density
logistic_density = dispatching(_logistic_density)
elementwise(_logistic_density, lambda out, x: -out * np.tanh(0.5 * x), domain=((-30.0, 30.0),))


@elementwise(
    _sigmoid,
    lambda x: logistic_density(x),
    domain=((-30.0, 30.0),),
    at={(0.0,): (0.25,), (-745.0,): (5e-324,), (745.0,): (5e-324,), (1000.0,): (0.0,), (-1000.0,): (0.0,)},
    probability=True,
    ahead=_sigmoid_and_density,
)
def sigmoid(z: Array) -> Tensor:
    """Logistic function, elementwise.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        Pre-activation; all reals.

    Returns
    -------
    Tensor, shape of `z`
        Activation ``a = 1 / (1 + exp(-z))``, in [0, 1]. It remembers `z`: `np.log(a)`, `np.log(1 - a)` and
        `nn.BCELoss` are exact for any `z`.

    Notes
    -----
    ``da/dz = a (1 - a)`` [1]_, computed as ``e / (1 + e)**2`` with ``e = exp(-|z|)``, because ``1 - a`` loses its
    digits for large `z`.

    References
    ----------
    .. [1] Bishop, *Pattern Recognition and Machine Learning* (2006), eq. 4.88.

    Examples
    --------
    >>> z = Tensor(0.0, requires_grad=True)
    >>> sigmoid(z).backward()
    >>> float(z.grad)
    0.25
    """
    a = _gate(z)
    a._origin = OfLogit(_snapshot(z))
    return a


_gate = gate(_sigmoid)


def _log_sigmoid(z: Array) -> Array:
    z = _floating(z)
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


@elementwise(_log_sigmoid, lambda x: sigmoid_of(-x), domain=((-30.0, 30.0),), at={(-1000.0,): (1.0,)})
def log_sigmoid(z: Array) -> Tensor:
    """Logarithm of the logistic function, elementwise: ``-log(1 + exp(-z))`` without overflow.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.

    Returns
    -------
    Tensor, shape of `z`
        In (-inf, 0].

    Examples
    --------
    >>> log_sigmoid(-1000.0).item()
    -1000.0
    """
    return apply(_log_sigmoid, z)


def _softplus(z: Array) -> Array:
    z = _floating(z)
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


@elementwise(_softplus, lambda x: sigmoid_of(x), domain=((-30.0, 30.0),), at={(1000.0,): (1.0,), (0.0,): (0.5,)})
def softplus(z: Array) -> Tensor:
    """Smooth version of relu, elementwise: ``log(1 + exp(z))`` without overflow.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.

    Returns
    -------
    Tensor, shape of `z`
        In [0, inf).

    Examples
    --------
    >>> softplus(1000.0).item()
    1000.0
    """
    return apply(_softplus, z)


def _relu(z: Array, out: Any = None) -> Array:
    return np.maximum(z, 0, out=out)


# relu'(0) = 0, as everywhere; `out > 0` rather than `x > 0` lets the argument go.
@elementwise(_relu, lambda out: out > 0, selects=True, at={(0.0,): (0.0,), (-1.0,): (0.0,)})
def relu(z: Array) -> Tensor:
    """Rectified linear unit, elementwise: the larger of `z` and 0.

    Parameters
    ----------
    z : array_like or Tensor, any shape
        All reals.

    Returns
    -------
    Tensor, shape of `z`
        In [0, inf). The derivative at 0 is 0.

    Examples
    --------
    >>> relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    """
    return apply(_relu, z)


# --- along an axis --------------------------------------------------------------------------------------------------

ALONG = (sample((5,), axis=-1), sample((3, 4), axis=0), sample((3, 4), axis=(0, 1)))


def _largest(x: ndarray, axis: Any) -> ndarray:
    return np.asarray(np.max(x, axis=axis, keepdims=True, initial=-np.inf))


def _shifted(x: Array, axis: Any) -> tuple[ndarray, ndarray]:
    """`x` less its largest entry, and that entry; an infinite one leaves its ties at 0 and the rest at -inf."""
    x = _floating(x)
    top = _largest(x, axis)
    infinite = np.isinf(top)
    if infinite.any():
        return np.where(infinite, np.where(x == top, 0, -np.inf), x - np.where(infinite, 0, top)).astype(x.dtype), top
    return x - top, top


def _logsumexp(x: Array, *, axis: Any) -> Array:
    d, top = _shifted(x, axis)
    out = np.log(np.exp(d).sum(axis=axis, keepdims=True)) + top
    return np.where(np.isinf(top), top, out).astype(d.dtype)


def _softmax(x: Array, *, axis: Any) -> Array:
    e = np.exp(_shifted(x, axis)[0])
    return e / e.sum(axis=axis, keepdims=True)


def _log_softmax(x: Array, *, axis: Any) -> Array:
    d, _ = _shifted(x, axis)
    top = d == 0
    others = np.where(top, 0, np.exp(d)).sum(axis=axis, keepdims=True)
    # The logarithm of a sum that is hardly above 1 keeps its digits, and so does 1 - softmax = -expm1 of the result.
    return d - np.log1p(others + (top.sum(axis=axis, keepdims=True) - 1)).astype(d.dtype)


def _others(x: Array, *, axis: Any) -> Array:
    """Of each entry the sum of all the others; in the total less the entry a large one would drown them."""
    x = np.asarray(x)
    if x.ndim == 0 or x.size == 0:
        return np.zeros_like(x)
    if not isinstance(axis, int):  # several axes as one
        axes = normalize_axis_tuple(range(x.ndim) if axis is None else axis, x.ndim)
        last = range(-len(axes), 0)
        moved = np.moveaxis(x, axes, last)
        flat = moved.reshape(*moved.shape[: x.ndim - len(axes)], -1)
        return np.moveaxis(_others(flat, axis=-1).reshape(moved.shape), last, axes)
    top = np.argmax(abs(x), axis, keepdims=True)
    large, rest = np.take_along_axis(x, top, axis), x.copy()
    np.put_along_axis(rest, top, 0, axis)
    total = rest.sum(axis=axis, keepdims=True)
    out = np.subtract(total, rest, out=rest)
    out += large
    np.put_along_axis(out, top, total, axis)
    return out


softmax_of, others = dispatching(_softmax), dispatching(_others)
primitive(_others, lambda ct, axis: others(ct, axis=axis), linear=True, samples=ALONG)


def softmax_pull(ct: Array, out: Array, axis: Any) -> Array:
    """``a_k (ct_k - sum(ct a))``, where ``1 - a_k`` is the sum of the others, so that a sure class keeps its digits."""
    return out * (ct * others(out, axis=axis) - others(ct * out, axis=axis))


primitive(
    _softmax,
    lambda ct, out, axis: softmax_pull(ct, out, axis),
    samples=ALONG,
    probability=True,
)
primitive(
    _log_softmax,
    lambda ct, out, axis: -ct * np.expm1(out) - np.exp(out) * others(ct, axis=axis),
    samples=ALONG,
)
# Nothing but -inf, or several +inf, share equally: softmax has that, exp(x - out) has not.
reduction(_logsumexp, lambda x, axis: softmax_of(x, axis=axis), samples=ALONG)


def softmax(x: Array, axis: Any = None) -> Tensor:
    """Exponentials divided by their sum; SciPy's function of this name is Python code and cannot dispatch.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        Logits.
    axis : int or tuple of int, optional
        Along which the results sum to 1; all axes by default.

    Returns
    -------
    Tensor, shape of `x`
        In [0, 1]. `np.log` of it is exact, as `log_softmax`.

    References
    ----------
    Bishop, *Pattern Recognition and Machine Learning* (2006), eqs. 4.104 and 4.106.

    Examples
    --------
    >>> softmax([1000.0, 1000.0, -1000.0])
    Tensor([0.5, 0.5, 0. ])
    """
    out = apply(_softmax, x, axis=axis)
    logits = _snapshot(x)
    out._origin = Origin(lambda: log_softmax(logits, axis), None)
    return out


def log_softmax(x: Array, axis: Any = None) -> Tensor:
    """Logarithm of `softmax`, exact for any logits.

    Parameters
    ----------
    x : array_like or Tensor, any shape
        Logits.
    axis : int or tuple of int, optional
        Along which the exponentials of the results sum to 1; all axes by default.

    Returns
    -------
    Tensor, shape of `x`
        In [-inf, 0].

    Examples
    --------
    >>> log_softmax([0.0, 1000.0])
    Tensor([-1000.,     0.])
    """
    return apply(_log_softmax, x, axis=axis)


def logsumexp(a: Array, axis: Any = None, b: Array | None = None, keepdims: bool = False) -> Tensor:
    """Logarithm of the sum of ``b * exp(a)``, with the signature of `scipy.special.logsumexp`.

    Parameters
    ----------
    a : array_like or Tensor, any shape
        Exponents.
    axis : int or tuple of int, optional
        Axes to sum over; all by default.
    b : array_like or Tensor, optional
        Factors, broadcasting against `a`; 1 by default. A negative sum gives NaN.
    keepdims : bool
        Keep the summed axes with length 1.

    Returns
    -------
    Tensor
        Of nothing but -inf it is -inf, with equal shares as its derivative.

    Examples
    --------
    >>> round(logsumexp([1000.0, 1000.0]).item() - 1000, 6)
    0.693147
    """
    if b is None:
        return drop(apply(_logsumexp, a, axis=axis), ndim_of(a), axis, keepdims)
    top = _largest(_floating(a._read() if isinstance(a, Tensor) else a), axis)
    top = np.where(np.isfinite(top), top, 0)
    terms = apply(np.multiply, b, np.exp(apply(np.subtract, a, top)))
    out = np.log(np.sum(terms, axis=axis, keepdims=True))
    return drop(out + top, ndim_of(a), axis, keepdims)
