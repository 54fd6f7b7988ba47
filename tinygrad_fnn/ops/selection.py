"""One of several values for each entry: by conditions, by an index, by a table, by what a number is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Array, composite, elementwise, plain, primitive, sample
from ..tensor import Tensor, refuse_out, shape_of
from .arithmetic import tangent_of
from .indexing import getitem, setitem

__all__: list[str] = []

# --- the larger and the smaller, numbers before NaN -----------------------------------------------------------------


def _partial(wins: Any, other: Any, ties: Any, out: Any) -> Any:
    """1 for who is chosen, which against NaN is anybody, 1/2 at a tie; in the dtype of the result."""
    return (wins | np.isnan(other)) + ties * out.dtype.type(0.5)


NAN = float("nan")
EXTREME = {(1.0, 1.0): (0.5, 0.5), (1.0, NAN): (1.0, 0.0), (NAN, 1.0): (0.0, 1.0)}

elementwise(
    np.fmax,
    lambda _out, x, y: _partial(x > y, y, x == y, _out),
    lambda _out, x, y: _partial(y > x, x, x == y, _out),
    push=tangent_of(np.greater, undecided_as_usual=True),
    selects=True,
    at=EXTREME,
)
elementwise(
    np.fmin,
    lambda _out, x, y: _partial(x < y, y, x == y, _out),
    lambda _out, x, y: _partial(y < x, x, x == y, _out),
    push=tangent_of(np.less, undecided_as_usual=True),
    selects=True,
    at=EXTREME,
)


def _nan_to_num(x: Array, *, nan: Any, posinf: Any, neginf: Any) -> Array:
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


FILLED = {"nan": 0.0, "posinf": None, "neginf": None}
elementwise(
    _nan_to_num,
    lambda x, _out: np.isfinite(x).astype(_out.dtype),
    name="numpy.nan_to_num",
    selects=True,
    samples=(sample((3,), **FILLED), sample((2, 3), **FILLED)),
)


@composite(np.nan_to_num, samples=(sample((2, 3)), sample((3,), nan=1.0, posinf=2.0, neginf=3.0)))
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Tensor:
    """`numpy.nan_to_num`; what is replaced has derivative 0."""
    if not copy:
        raise TypeError("numpy.nan_to_num: copy=False would write into a recorded value; write t = numpy.nan_to_num(t)")
    return apply(_nan_to_num, x, nan=nan, posinf=posinf, neginf=neginf)


# --- by conditions --------------------------------------------------------------------------------------------------

FIRST, SECOND = np.array([True, False, False]), np.array([True, True, False])


@composite(
    np.select,
    samples=(
        sample([FIRST, SECOND], [(3,), (3,)]),
        sample([FIRST, SECOND], [(2, 3), 0.5], 2.5),
        sample([FIRST[:, None]], [(3,)]),
    ),
)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    """`numpy.select`: the choice of the first condition that holds.

    NumPy looks for Tensors in the conditions and choices only; a tracked `default` among plain ones raises.
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            f"numpy.select: {len(condlist)} conditions for {len(choicelist)} choices; wanted as many, one at least"
        )
    conditions = [np.asarray(plain(c)) for c in condlist]
    for k, condition in enumerate(conditions):
        if condition.dtype != bool:
            raise TypeError(f"numpy.select: condition {k} has dtype {condition.dtype}, wanted bool")
    shape = np.broadcast_shapes(*(c.shape for c in conditions), *map(np.shape, choicelist), shape_of(default))
    conditions[-1] = np.broadcast_to(conditions[-1], shape)
    kind = np.result_type(*(plain(v) if not isinstance(v, list) else np.asarray(v) for v in (*choicelist, default)))
    out = default
    for condition, choice in zip(reversed(conditions), reversed(choicelist), strict=True):
        out = np.where(condition, choice, out)
    return out if out.dtype == kind else out.astype(kind)  # type: ignore[no-any-return]  # the protocol gives a Tensor


def _pieces(f: Callable[..., Any]) -> Callable[..., Any]:
    """For the samples: a function that meets part of the array only."""
    return functools.partial(lambda x, power=2.0: f(x) * power)


@composite(
    np.piecewise,
    domain=((0.2, 2.0),),
    samples=(
        sample((3,), [FIRST, ~SECOND], [np.exp, np.log, 0.5]),
        sample((3,), [FIRST, ~FIRST], [_pieces(np.sin), _pieces(np.square)], power=3.0),
        sample((), [True], [np.exp]),
    ),
)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Tensor:
    """`numpy.piecewise`: each function sees the entries of its condition only, so that the others cannot spoil them."""
    values = np.asarray(plain(x))
    condlist = plain(condlist)
    if np.isscalar(condlist) or (not isinstance(condlist[0], list | np.ndarray) and values.ndim):
        condlist = [condlist]
    conditions = [np.asarray(c, dtype=bool) for c in condlist]
    if len(conditions) == len(funclist) - 1:
        conditions.append(~np.any(conditions, axis=0))
    if len(conditions) != len(funclist):
        n = len(conditions)
        raise ValueError(f"numpy.piecewise: {n} conditions and {len(funclist)} functions; wanted {n} or {n + 1}")
    out = Tensor(np.zeros_like(values))
    for condition, piece in zip(conditions, funclist, strict=True):
        if not callable(piece):
            setitem(out, condition, piece)
        elif condition.any():
            setitem(
                out,
                condition,
                piece(getitem(x, condition) if isinstance(x, Tensor) else values[condition], *args, **kw),
            )
    return out


# --- by an index ----------------------------------------------------------------------------------------------------

INDEX = np.array([1, 0, 2])


def _choose(*choices: Array, index: np.ndarray) -> Array:
    return np.choose(index, choices)


# Each entry is one of the choices': `linear` in all of them together.
primitive(
    _choose,
    lambda ct, i, index: np.where(index == i, ct, 0),
    name="numpy.choose",
    variadic=True,
    linear="jointly",
    samples=(sample((3,), (3,), (3,), index=INDEX), sample((3,), (3,), (3,), index=INDEX[[[0], [1]]])),
)


@composite(
    np.choose,
    samples=(
        sample(INDEX, [(3,), (3,), (3,)]),
        sample(INDEX, [(2, 3), ()], mode="clip"),
        sample(INDEX - 3, [(3,), (2, 1)], mode="wrap"),
    ),
)
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Tensor:
    """`numpy.choose`."""
    refuse_out("numpy.choose", out)
    index, count = np.asarray(plain(a)), len(choices)
    if index.dtype.kind not in "biu":
        raise TypeError(f"numpy.choose: a has dtype {index.dtype}, wanted integers")
    if mode == "wrap":
        index = index % count
    elif mode == "clip":
        index = np.clip(index, 0, count - 1)
    elif mode != "raise":
        raise ValueError(f"numpy.choose: mode is {mode!r}, wanted 'raise', 'wrap' or 'clip'")
    return apply(_choose, *choices, index=index)


# --- by a table -----------------------------------------------------------------------------------------------------

PLACES = np.array([-1.5, -0.5, 0.25, 1.5])


@composite(
    np.interp,
    samples=(
        sample((5,), PLACES, (4,)),
        sample((2, 3), PLACES, np.array([1.0, 3.0, 2.0, -1.0]), left=-2.5, right=7.0),
        sample((), PLACES, (4,)),
        sample((3,), PLACES, (4,), period=3.7),
        sample((3,), [0.3], [2.0]),
    ),
    domain=((-2.5, 2.5), (-2.0, 2.0), (-2.0, 2.0)),
)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: float | None = None) -> Tensor:
    """`numpy.interp`, in double precision as NumPy's; differentiable in all arrays, and in `left` and `right`.

    In `x` it has the slope of the piece to the right of a point of the table, at the last one of that to the left, and
    0 outside.
    """
    x, xp, fp = (v.astype(float) if isinstance(v, Tensor) else np.asarray(v, float) for v in (x, xp, fp))
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(
            f"numpy.interp: xp is {xp.shape}, fp is {fp.shape}; wanted one axis, of the same length, not 0"
        )
    if period is not None:
        if period == 0:
            raise ValueError("numpy.interp: period is 0")
        period, left, right = abs(period), None, None
        x, xp = x % period, xp % period
        order = np.argsort(plain(xp))
        xp, fp = xp[order], fp[order]
        xp = np.concatenate((xp[-1:] - period, xp, xp[:1] + period))
        fp = np.concatenate((fp[-1:], fp, fp[:1]))
    left, right = (fp[0] if left is None else left), (fp[-1] if right is None else right)
    at, places = plain(x), plain(xp)
    if len(places) == 1:
        inner = np.broadcast_to(fp[0], x.shape) if not np.isnan(at).any() else fp[0] + 0 * x
    else:
        k = np.clip(np.searchsorted(places, at, side="right") - 1, 0, len(places) - 2)
        x0, f0 = xp[k], fp[k]
        inner = (fp[k + 1] - f0) / (xp[k + 1] - x0) * (x - x0) + f0
    out = np.where(at < places[0], left, np.where(at > places[-1], right, inner))
    return out if isinstance(out, Tensor) else Tensor(out)
