"""Kernels and rules of the cross-entropies; the faces with their checks and reductions are `nn.functional`.

They stand apart from the other operations because each is one fused pass: a loss computed from logits whose derivative
is ``a - y``, written so that no digit is lost where `a` rounds to 0 or 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from ..gate import apply
from ..modes import is_grad_enabled
from ..rules import RULES, TOGETHER, Array, dispatching, elementwise, primitive, sample
from ..tensor import Node, Tensor, shape_of
from .logistic import _BOUNDS, _floating, _log_softmax, logistic_density, softmax_of, softmax_pull

__all__ = ["bce_of_logits", "bce_of_probabilities", "cross_entropy_of_labels", "cross_entropy_rows"]

FRACTION = (0.05, 0.95)

# --- binary cross-entropy of logits ---------------------------------------------------------------------------------


def _side(z: ndarray, y: Array, out: ndarray | None) -> ndarray:
    """1 - y where z is positive and -y where it is negative, in memory laid out as `z` is."""
    dtype = np.result_type(z, y)
    if out is None:
        out = np.empty_like(z, dtype=dtype, shape=np.broadcast_shapes(z.shape, shape_of(y)))
    np.copyto(out, y)  # in the layout of z first: another one beside booleans takes three times as long
    np.subtract(~np.signbit(z), out, out=out)
    return out


def _minus_size(z: ndarray) -> ndarray:
    """``-|z|``, in half the time of `copysign`."""
    e = np.abs(z, out=np.empty_like(z))
    return np.negative(e, out=e)  # type: ignore[no-any-return]  # an array, as `e` is


def _bce_with_logits(z: Array, y: Array, out: Any = None) -> Array:
    # (32) as ((z > 0) - y) z + log(1 + exp(-|z|)): both terms are positive, so that nothing cancels, and for y = 1
    # and large z the first one is 0 exactly.
    z = _floating(z)
    e = _minus_size(z)
    loss = _on_its_side(z, _side(z, y, out), not np.isfinite(e.min(initial=0)))
    np.exp(e, out=e)
    loss += np.log1p(e, out=e)
    return loss


def _on_its_side(z: ndarray, side: ndarray, infinite: bool) -> ndarray:
    """The product, in `side`; an infinite logit that agrees with its target costs 0, not 0 * inf."""
    if infinite:
        z = np.where(side == 0, 0, z)
    side *= z
    return side


def _logistic_error(z: Array, y: Array, out: Any = None) -> Array:
    # (33) with s = sigmoid(-|z|): 1 - y - s where z is positive, -y + s where it is negative. For y = 1 and large z
    # this is -s with all its digits.
    z = _floating(z)
    error = _side(z, y, out)
    s = _minus_size(z)
    np.exp(s, out=s)
    return _less_the_other(z, s, error)


def _less_the_other(z: ndarray, e: ndarray, error: ndarray) -> ndarray:
    e /= e + 1
    error -= np.copysign(e, z, out=e)
    return error


def _bce_and_error(z: Array, y: Array, out: Any = None) -> tuple[ndarray, ndarray]:
    loss, error = (None, None) if out is None else out
    z = _floating(z)
    error = _side(z, y, error)
    if loss is None:
        loss = error.copy("K")
    else:
        np.copyto(loss, error)
    e = _minus_size(z)
    _on_its_side(z, loss, not np.isfinite(e.min(initial=0)))
    np.exp(e, out=e)
    loss += np.log1p(e)
    return loss, _less_the_other(z, e, error)


TOGETHER[_bce_with_logits, _logistic_error] = _bce_and_error
logistic_error = dispatching(_logistic_error)
elementwise(
    _logistic_error,
    lambda z: logistic_density(z),
    -1,
    name="tinygrad_fnn.logistic_error",
    domain=((-30.0, 30.0), FRACTION),
    at={(0.0, 0.0): (0.25, -1.0), (1000.0, 1.0): (0.0, -1.0)},
)
elementwise(
    _bce_with_logits,
    lambda z, y: logistic_error(z, y),
    lambda z: -z,
    name="binary_cross_entropy_with_logits",
    ahead=_bce_and_error,
    domain=((-30.0, 30.0), FRACTION),
    at={
        (0.0, 0.0): (0.5, 0.0),
        (0.0, 1.0): (-0.5, 0.0),
        (1000.0, 1.0): (0.0, -1000.0),
        (1000.0, 0.0): (1.0, -1000.0),
        (-1000.0, 0.0): (0.0, 1000.0),
        (-1000.0, 1.0): (-1.0, 1000.0),
    },
)


def bce_of_logits(z: Array, y: Array) -> Tensor:
    """Binary cross-entropy of each logit `z` with its target `y`, of the same shape; unchecked, not reduced."""
    return apply(_bce_with_logits, z, y)


# --- binary cross-entropy of probabilities --------------------------------------------------------------------------


def _bce(p: Array, y: Array) -> Array:
    p = _floating(p)
    no, yes = _settled(p, y)
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite where y disagrees with a p of 0 or 1
        return 0 - (y * np.log(p + no) + (1 - y) * np.log1p(yes - p))


def _settled(p: Array, y: Array) -> tuple[Any, Any]:
    """Where both are 0, and where both are 1: there the factor of the infinite logarithm is 0, and so is the term."""
    return (p == 0) & (y == 0), (p == 1) & (y == 1)


def _bce_slope(p: Array, y: Array) -> Array:
    # (17). At p = y = 0 the derivative is that of -log(1 - p) alone, which is 1; at p = y = 1 it is -1.
    no, yes = _settled(p, y)
    return (1 - y) / (1 - p + yes) - y / (p + no)


def _bce_tilt(p: Array, y: Array) -> Array:
    no, yes = _settled(p, y)
    return np.log1p(yes - p) - np.log(p + no)


elementwise(
    _bce,
    lambda p, y: _bce_slope(p, y),
    lambda p, y: _bce_tilt(p, y),
    name="binary_cross_entropy",
    domain=(FRACTION, FRACTION),
    at={(0.0, 0.0): (1.0, 0.0), (1.0, 1.0): (-1.0, 0.0), (0.5, 1.0): (-2.0, 0.0)},
)


def bce_of_probabilities(p: Tensor | ndarray, y: Tensor | ndarray) -> Tensor:
    """Binary cross-entropy of each probability `p` with its target `y`; unchecked, not reduced.

    Of a probability that remembers its logit it is computed from that, and exact; the derivative with respect to `p`
    itself is still that of the plain form.
    """
    z = _logit_behind(p)
    if z is None:
        return apply(_bce, p, y)
    if z._node is None or not is_grad_enabled():
        return bce_of_logits(z, y)
    if isinstance(y, Tensor) and y._node is not None:
        # The record aside may hold an edge to `p` only, so a tracked target takes the way of the two logarithms.
        return -(y * np.log(p) + (1 - y) * np.log(1 - p))
    y = y if isinstance(y, Tensor) else Tensor(y)
    aside = _unevaluated(_bce, p, y)  # before the exact one: the tape is walked latest first
    exact = bce_of_logits(z, y)
    assert exact._node is not None
    exact._node.aside = aside
    return exact


def _logit_behind(p: Any) -> Tensor | None:
    """The logit that a probability was computed from, None where it is not known or not what `p` depends on."""
    origin = getattr(p, "_origin", None)
    if origin is None or origin.negative or origin.logit is None:
        return None
    z: Tensor = origin.logit()
    if p._node is None:
        return z.detach()
    # A leaf has been cut off from its logit: the derivative stops at it.
    return None if p.is_leaf or z._node is None else z


def _unevaluated(fun: Any, p: Any, y: Tensor) -> Node:
    """The record of `fun(p, y)` without its value, which nobody reads: two logarithms would cost more than the loss."""
    rule = RULES[fun]
    term = rule.terms[0]
    assert term is not None
    assert term.take is not None
    values = [p._value, y._value]
    return Node(((p._node, term.pull, term.take(values, {}, 0), 0),), rule, p.shape, np.result_type(*values))


# --- cross-entropy of logits ----------------------------------------------------------------------------------------


class _Rows:
    """Rows of logits around their largest: z less it; exp of that, 0 in its place; the sum of those; their places."""

    __slots__ = ("e", "rest", "shape", "shifted", "top")

    def __init__(self, z: ndarray) -> None:
        self.shape = z.shape
        rows = z.reshape(-1, z.shape[-1])
        self.top = np.arange(len(rows)), rows.argmax(axis=1)  # plain indices: take_along_axis takes ten times as long
        self.shifted = rows - rows[self.top][:, np.newaxis]
        self.e = np.exp(self.shifted)
        self.e[self.top] = 0
        self.rest = np.add.reduce(self.e, axis=1, keepdims=True)  # with all its digits

    def entropy(self, y: ndarray) -> ndarray:
        """The cross-entropy with rows of probabilities, shape (..., 1)."""
        y = y.reshape(self.e.shape)
        # (34). A class masked by a logit of -inf costs 0, not 0 * inf.
        loss = y * (np.log1p(self.rest) - np.where(y != 0, self.shifted, 0))
        entropy: ndarray = np.add.reduce(loss, axis=1).reshape(*self.shape[:-1], 1)
        return entropy

    def error(self, y: ndarray) -> ndarray:
        """Its derivative with respect to the logits: (35), also where y does not sum to 1."""
        y = y.reshape(self.e.shape)
        total = 1 + self.rest
        a = self.e / total
        others = 1 - a  # at most the largest a exceeds 1/2, so only there digits are lost
        top = 1 / total
        a[self.top] = top[:, 0]
        top *= self.rest
        others[self.top] = top[:, 0]
        error: ndarray = np.add.reduce(y, axis=1, keepdims=True) - y
        error *= a
        others *= y
        error -= others
        return error.reshape(self.shape)


def _cross_entropy(z: Array, y: Array) -> Array:
    return _Rows(_floating(z)).entropy(np.asarray(y))


def _softmax_error(z: Array, y: Array) -> Array:
    return _Rows(_floating(z)).error(np.asarray(y))


def _cross_entropy_and_error(z: Array, y: Array, out: Any = None) -> Any:
    rows = _Rows(_floating(z))
    y = np.asarray(y)
    if out is None:
        return rows.entropy(y), rows.error(y)
    loss, error = out
    loss[...] = rows.entropy(y)
    error[...] = rows.error(y)
    return out


TOGETHER[_cross_entropy, _softmax_error] = _cross_entropy_and_error
softmax_error = dispatching(_softmax_error)
log_softmax_of = dispatching(_log_softmax)
ROWS = {"samples": (sample((5, 3), (5, 3)), sample((4,), (4,))), "domain": ((-2.0, 2.0), FRACTION)}


primitive(
    _softmax_error,
    lambda ct, z, y: y.sum(axis=-1, keepdims=True) * softmax_pull(ct, softmax_of(z, axis=-1), -1),
    lambda ct, z: (ct * softmax_of(z, axis=-1)).sum(axis=-1, keepdims=True) - ct,
    name="tinygrad_fnn.softmax_error",
    **ROWS,
)
primitive(
    _cross_entropy,
    lambda ct, z, y: ct * softmax_error(z, y),
    lambda ct, z: -ct * log_softmax_of(z, axis=-1),
    name="cross_entropy",
    ahead=_cross_entropy_and_error,
    **ROWS,
)


def cross_entropy_rows(z: Tensor | ndarray, y: Tensor | ndarray) -> Tensor:
    """Cross-entropy of each row of logits with its row of probabilities, shape (..., K) to (..., 1); unchecked."""
    return apply(_cross_entropy, z, y)


# --- cross-entropy of logits with labels ------------------------------------------------------------------------------


def _label_entropy_and_error(z: Array, labels: Array, out: Any = None) -> tuple[ndarray, ndarray]:
    """Each row's cross-entropy with the class of its label, shape (..., 1), and the derivative: a, less 1 at the label.

    To the bit what `_Rows` gives for a row with a single 1, in half the time: classes are taken by their places.
    """
    z = _floating(z)
    loss, error = (np.empty((*z.shape[:-1], 1), z.dtype), np.empty(z.shape, z.dtype)) if out is None else out
    rows, e = z.reshape(-1, z.shape[-1]), error.reshape(-1, z.shape[-1])
    flat, starts = e.reshape(-1), np.arange(0, e.size, e.shape[1])
    one = _BOUNDS[z.dtype][1]
    top = rows.argmax(axis=1)
    top += starts
    np.subtract(rows, rows.take(top)[:, np.newaxis], out=e)
    own = np.asarray(labels).reshape(-1).astype(np.intp, copy=False) + starts
    behind = flat[own]  # by how much the label's logit is less than the largest
    np.exp(e, out=e)
    flat[top] = 0
    rest = np.add.reduce(e, axis=1)  # with all its digits
    np.subtract(np.log1p(rest), behind, out=loss.reshape(-1))
    total = rest + one
    e /= total[:, np.newaxis]
    at_label = flat[own]
    at_label -= one
    np.divide(one, total, out=total)
    flat[top] = total
    rest *= total
    np.negative(rest, out=at_label, where=own == top)  # at most the largest a exceeds 1/2: only there digits are lost
    flat[own] = at_label
    return loss, error


def _label_entropy(z: Array, labels: Array) -> Array:
    return _label_entropy_and_error(z, labels)[0]


def _label_error(z: Array, labels: Array) -> Array:
    return _label_entropy_and_error(z, labels)[1]


TOGETHER[_label_entropy, _label_error] = _label_entropy_and_error
label_error = dispatching(_label_error)
LABELLED = {"samples": (sample((5, 3), np.array([0, 2, 1, 1, 0])), sample((4,), np.array(3)))}

primitive(
    _label_error,
    lambda ct, z: softmax_pull(ct, softmax_of(z, axis=-1), -1),
    None,
    name="tinygrad_fnn.label_error",
    **LABELLED,
)
primitive(
    _label_entropy,
    lambda ct, z, labels: ct * label_error(z, labels),
    None,
    name="cross_entropy (labels)",
    ahead=_label_entropy_and_error,
    **LABELLED,
)


def cross_entropy_of_labels(z: Tensor | ndarray, labels: Tensor | ndarray) -> Tensor:
    """Cross-entropy of each row of logits with its label, shape (..., K) to (..., 1); unchecked."""
    return apply(_label_entropy, z, labels)
