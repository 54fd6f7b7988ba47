"""A function at one point: its inputs read, its values nearby in every precision, its gradient there.

It stands apart from `numerical`, which judges, because running somebody's function takes care of its own: it must not
notice, must not leave a trace, and may refuse half of what it is asked.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy import ndarray

from ..backward import grad
from ..rules import Array
from ..tensor import Node, Tensor, _new

__all__ = ["Direction", "Function", "Mode", "Name", "Point", "Unusable", "in_place_of", "read"]
__all__ += ["signed"]

Function: TypeAlias = Callable[..., Tensor]
Name: TypeAlias = int | str  # of an input: its position, or its key

STEP: Final = 1e-20  # of the complex step: nothing is subtracted, so the smaller the better
OUTPUTS: Final = 16  # entries of the result that are looked at one by one


class Direction(NamedTuple):
    """Which entries of the unrolled inputs are moved, and how far each at a step of 1."""

    entries: ndarray
    far: ndarray


class Mode(NamedTuple):
    """A precision that a function runs in, its rounding error, and the noise that this is known to make of it."""

    dtype: np.dtype[Any]
    eps: float
    noise: ndarray


class Unusable(Exception):  # noqa: N818  # it ends a check, and is no error of the checker
    """The function or its gradient cannot be compared; the verdict, and why."""

    def __init__(self, verdict: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict


# --- inputs ---------------------------------------------------------------------------------------------------------


def read(f: Function, inputs: Array | Iterable[Array] | Mapping[str, Array]) -> tuple[dict[Name, ndarray], Function]:
    """The inputs by name, copied, and `f` as a function of one leaf for each.

    Raises
    ------
    TypeError
        For inputs that are no floating-point numbers, or no leaves where `f` takes no arguments.
    ValueError
        For no inputs, inputs that are not finite, or the same leaf twice.
    """
    keyed = isinstance(inputs, Mapping)
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    else:
        several = isinstance(inputs, Iterable) and not isinstance(inputs, Tensor | ndarray | np.generic | str)
        given = dict(enumerate(inputs if several else [inputs]))
    if not given:
        raise ValueError("gradcheck: there are no inputs")
    values = {name: _numbers(name, x) for name, x in given.items()}
    if _takes_arguments(f):
        if keyed:
            return values, lambda *leaves: f(**dict(zip(given, leaves, strict=True)))
        return values, f
    for name, x in given.items():
        if not isinstance(x, Tensor) or not x.is_leaf or not x.requires_grad:
            raise TypeError(
                f"gradcheck: f takes no arguments, so input {name!r} must be a leaf that f uses and that requires a "
                f"gradient; got {f'a {type(x).__name__}' if not isinstance(x, Tensor) else 'another Tensor'}"
            )
    own = list(given.values())
    if len(set(map(id, own))) < len(own):
        raise ValueError("gradcheck: the same leaf is given twice")
    return values, lambda *leaves: in_place_of(own, leaves, f)


def _numbers(name: Name, x: Any) -> ndarray:  # Any: what the user gives
    values = x._value.copy() if isinstance(x, Tensor) else np.array(x, order="C")
    if values.dtype.kind in "biu":
        raise TypeError(
            f"gradcheck: input {name!r} has dtype {values.dtype}, which has no derivative; write floats, "
            "or close over it: gradcheck(lambda x: f(x, labels), x)"
        )
    if values.dtype.kind != "f":
        raise TypeError(f"gradcheck: input {name!r} has dtype {values.dtype}; wanted real floating-point numbers")
    if not np.isfinite(values).all():
        raise ValueError(f"gradcheck: input {name!r} of shape {values.shape} holds NaN or infinity")
    return values


def _takes_arguments(f: Function) -> bool:
    try:
        parameters = inspect.signature(f).parameters.values()
    except (ValueError, TypeError):  # written in C without a signature
        return True
    return any(p.kind is not p.KEYWORD_ONLY or p.default is p.empty for p in parameters)


def _leaf(values: ndarray) -> Tensor:
    """A leaf that may be complex, which `Tensor` refuses to users."""
    leaf: Tensor = _new(Tensor)
    leaf._data, leaf._node, leaf._origin = values, Node((), None, values.shape, values.dtype), None
    return leaf


def in_place_of(own: Sequence[Tensor], leaves: Sequence[Tensor], f: Callable[[], Any]) -> Any:  # Any: what f returns
    """`f()` while the user's leaves hold other values, of any dtype; their nodes, with `.grad` and hooks, stand aside.

    Parameters
    ----------
    own : sequence of Tensor
        The user's; restored whatever happens, to the last bit.
    leaves : sequence of Tensor
        One for each, of the same shape; `f` sees these values, and its result is recorded as computed from these.
    f : callable
        Takes no arguments.
    """
    before = [(t, t._data, getattr(t, "_lent", None), t._node, t._origin) for t in own]
    try:
        for t, leaf in zip(own, leaves, strict=True):
            t._data, t._node, t._origin = leaf._data, leaf._node, None
        out = f()
        for t, leaf in zip(own, leaves, strict=True):
            leaf._data = t._value  # so that a write by `f` is noticed
        return out
    finally:
        for t, data, lent, node, origin in before:
            t._data, t._node, t._origin = data, node, origin
            t._lent = lent


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> ndarray:
    """Random numbers between 1/2 and 3/2, with a random sign: none is lost beside the others."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


# --- the function ---------------------------------------------------------------------------------------------------


class Point:
    """A function at one point, its result contracted with some cotangents.

    Attributes
    ----------
    x : ndarray, shape (N,)
        The inputs, unrolled one after the other.
    gradient : ndarray, shape (cotangents, N)
        By backpropagation.
    outputs : list of (tuple of int or None)
        The entry of the result that each cotangent picks; None for a random one, and for that of a scalar.
    unreached : ndarray of bool, shape (N,)
        Where no gradient arrived.
    eps, tiny : float
        Machine precision, and the smallest number that has it, of the coarsest array among inputs and result.
    height : float
        The largest absolute value of the result, or of what it was computed from.
    modes : list of Mode
        The precisions that the function runs in, coarse ones first.
    """

    def __init__(self, f: Function, inputs: dict[Name, ndarray], rng: np.random.Generator, height: float) -> None:
        self.f, self.inputs = f, inputs
        self.ends = np.cumsum([x.size for x in inputs.values()])
        self.x = np.concatenate([x.ravel() for x in inputs.values()], dtype=np.result_type(float, *inputs.values()))
        out, leaves = self._run()
        kinds = [np.finfo(a.dtype) for a in (*inputs.values(), out._value)]
        self.eps, self.tiny = (max(float(getattr(kind, name)) for kind in kinds) for name in ("eps", "tiny"))
        self.picked = np.sort(rng.permutation(out.size)[:OUTPUTS]) if out.size > 1 else np.zeros(0, np.intp)
        self.outputs = [None, *(tuple(int(i) for i in np.unravel_index(k, out.shape)) for k in self.picked)]
        self.cotangent = signed(rng, out.shape) if out.size > 1 else np.ones(out.shape)
        self.height = max(height, float(np.abs(out._value).max(initial=0)))
        self.unreached = np.zeros(len(self.x), dtype=bool)
        self.gradient = self._gradient(out, leaves)
        self.modes = list(self._modes())

    def place(self, entry: int) -> tuple[Name, tuple[int, ...]]:
        """The input that an entry of `x` belongs to, and its index there."""
        k = int(np.searchsorted(self.ends, entry, side="right"))
        name, values = list(self.inputs.items())[k]
        index = np.unravel_index(entry - self.ends[k] + values.size, values.shape) if values.ndim else ()
        return name, tuple(int(i) for i in index)

    # --- once, at the point -------------------------------------------------------------------------------------

    def _run(self) -> tuple[Tensor, list[Tensor]]:
        """The result and the leaves that it was computed from; a function that is none is refused."""
        leaves, again = ([_leaf(x.copy()) for x in self.inputs.values()] for _ in range(2))
        with np.errstate(all="ignore"):  # a NaN is named below
            out, repeated = self.f(*leaves), self.f(*again)
        if not isinstance(out, Tensor) or out.dtype.kind != "f":
            what = f"a Tensor of dtype {out.dtype}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise TypeError(f"gradcheck: f must return a Tensor of floating-point numbers; it returned {what}")
        for leaf, (name, x) in zip((*leaves, *again), (*self.inputs.items(),) * 2, strict=True):
            if not np.array_equal(leaf._value, x):
                raise Unusable("wrong", f"f writes to its input {name!r}; compute a new array instead")
        if not np.array_equal(out._value, repeated._value, equal_nan=True):
            raise Unusable("wrong", "f gives another result when called again: it draws random numbers or keeps state")
        if not np.isfinite(out._value).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(out._value))[0])
            raise Unusable("precision", f"f is {out._value[at]} in output element {list(at)}: nothing to differentiate")
        return out, leaves

    def _gradient(self, out: Tensor, leaves: list[Tensor]) -> ndarray:
        rows = np.zeros((1 + len(self.picked), len(self.x)), self.x.dtype)
        for row, k in zip(rows, (None, *self.picked), strict=True):
            ct = self.cotangent
            if k is not None:
                ct = np.zeros(out.shape)
                ct.flat[k] = 1.0
            tracked = out._node is not None
            found = grad(out, leaves, ct, retain_graph=True, allow_unused=True) if tracked else [None] * len(leaves)
            for g, (name, x), end in zip(found, self.inputs.items(), self.ends, strict=True):
                here = slice(end - x.size, end)
                if g is None:
                    self.unreached[here] = True
                elif g.shape != x.shape or g.dtype != x.dtype:
                    what = f"has shape {g.shape}, dtype {g.dtype}; the input {x.shape}, {x.dtype}"
                    raise Unusable("wrong", f"the gradient of input {name!r} {what}")
                else:
                    row[here] = g._value.ravel()
        return rows

    # --- nearby -------------------------------------------------------------------------------------------------

    def values(self, dtype: np.dtype[Any], direction: Direction, step: complex) -> ndarray:
        """The result contracted with each cotangent, with the inputs moved by `step` along a direction."""
        return self._contracted(self._result(dtype, direction, step))

    def _result(self, dtype: np.dtype[Any], direction: Direction | None = None, step: complex = 0.0) -> ndarray:
        x = self.x.astype(dtype)
        if direction is not None:
            x[direction.entries] += dtype.type(step) * direction.far
        pieces = np.split(x, self.ends[:-1])
        leaves = [_leaf(p.reshape(v.shape).copy()) for p, v in zip(pieces, self.inputs.values(), strict=True)]
        with np.errstate(all="ignore"):
            return self.f(*leaves)._value

    def _contracted(self, out: ndarray) -> ndarray:
        with np.errstate(all="ignore"):
            return np.append(np.sum(self.cotangent * out), out.ravel()[self.picked])

    def _modes(self) -> Iterator[Mode]:
        coarser: tuple[float, ndarray] | None = None
        for kind in (np.float32, np.float64, np.longdouble):
            dtype: np.dtype[Any] = np.dtype(kind)
            eps = float(np.finfo(dtype).eps)
            if coarser is not None and eps >= coarser[0]:
                continue  # where longdouble is float64
            try:
                out = self._result(dtype)
            except Exception:  # whatever f raises says that it does not run in this precision
                if kind is np.float64:
                    raise
                continue
            eps = max(eps, float(np.finfo(out.dtype).eps))
            base = self._contracted(out)
            noise = np.zeros(len(base))
            if coarser is not None:  # what a coarser arithmetic does to f, this one does in proportion
                noise = np.nan_to_num(np.abs(base - coarser[1]) * (eps / coarser[0]), posinf=0.0).astype(float)
            coarser = eps, base
            if kind is not np.float32:
                yield Mode(dtype, eps, noise)

    def complex_step(self, direction: Direction) -> ndarray | None:
        """``Im f(x + ih) / h``, shape (cotangents,); None where the function does not take complex numbers."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # that an imaginary part is dropped is a warning only
                out = self.values(np.dtype(complex), direction, 1j * STEP)
        except Exception:  # whatever f raises says that it is not made for complex numbers
            return None
        return out.imag / STEP if out.dtype.kind == "c" and np.isfinite(out).all() else None
