"""From two traces to lines: what both runs did, without what does not change."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from ..rules import TOGETHER
from ..tensor import Tensor
from .trace import Argument, Found, Operand, Result, Trace

__all__ = ["Code", "Line", "Several", "Unrepeatable", "joined", "lowered", "same", "simplified"]

COMPARISONS: Final = {
    operator.eq: np.equal,
    operator.ne: np.not_equal,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
}


class Unrepeatable(Exception):  # noqa: N818  # a way to go, not an error
    """Why a function cannot be replayed."""


class Several:
    """A function that gives its results in a tuple, also if it is one."""


class Line(NamedTuple):
    """One step with names for its operands. Several targets are those of a kernel for both, or of `Several`."""

    fun: Callable[..., Any]
    operands: tuple[str, ...]
    params: Mapping[str, Any]
    targets: tuple[str, ...]
    anew: bool = False


class Code:
    """Lines, and what their names stand for."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.patterns: dict[str, Any] = {}  # shape, dtype and layout of each name's value: an array of the first trace
        self.constants: dict[str, Any] = {}
        self.foreign: set[str] = set()  # constants that somebody else may write to
        self.inputs: list[str] = []
        self.views: dict[str, int] = {}  # targets that are views, and the position of the operand they are views of

    def constant(self, value: Any, foreign: bool = False) -> str:
        """A name for a value."""
        name = f"c{len(self.constants)}"
        self.constants[name] = self.patterns[name] = value
        if foreign:
            self.foreign.add(name)
        return name


def same(a: Any, b: Any) -> bool:
    """Whether two parameters or constants are equal to the bit."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, ndarray):
        return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return bool(a == b) or bool(a != a and b != b)


def _in_one_place(a: ndarray, b: ndarray) -> bool:
    """Whether two arrays are one, or the same view of one."""
    return a is b or all(
        a.__array_interface__[key] == b.__array_interface__[key] for key in ("data", "shape", "strides", "typestr")
    )


def lowered(first: Trace, second: Trace) -> tuple[Code, Callable[[Operand], str]]:
    """The lines of two traces of the same run, and a function that gives the name of an operand of the first."""
    if len(first.steps) != len(second.steps):
        raise Unrepeatable("it took another way the second time")
    code = Code()
    loaded: dict[int, str] = {}  # tensors found outside, until an effect may have changed them
    for k, array in enumerate(first.arguments):
        code.inputs.append(f"a{k}")
        code.patterns[f"a{k}"] = array

    def name(one: Operand, two: Operand) -> str:
        if type(one) is not type(two):
            raise Unrepeatable("an operand came from elsewhere the second time")
        if isinstance(one, Argument | Result):
            if one != two:
                raise Unrepeatable("an operand came from elsewhere the second time")
            return f"{'a' if isinstance(one, Argument) else 'v'}{one.k}"
        if isinstance(one, Found):
            a, b = one.tensor, two.tensor  # type: ignore[union-attr]  # of the same type
            if a is b:
                if isinstance(second.where.get(id(a._value)), Result):
                    raise Unrepeatable("it assigned to a tensor that it did not make")
                if id(a) not in loaded:
                    loaded[id(a)] = target = f"p{len(code.patterns)}"
                    code.patterns[target] = a._value
                    code.lines.append(Line(values_of, (code.constant(a, foreign=True),), {}, (target,)))
                return loaded[id(a)]
            if not same(a._value, b._value):
                raise Unrepeatable("a tensor that it makes anew had other values the second time")
            return code.constant(a._value)
        value, other = one.value, two[0]
        if isinstance(value, ndarray) and isinstance(other, ndarray) and _in_one_place(value, other):
            return code.constant(value, foreign=True)
        if not same(value, other):
            raise Unrepeatable(f"an operand that does not come from its arguments changed, a {type(value).__name__}")
        return code.constant(value.copy() if isinstance(value, ndarray) else value)

    for k, (one, two) in enumerate(zip(first.steps, second.steps, strict=True)):
        if one.fun != two.fun or not same(one.params, two.params) or len(one.operands) != len(two.operands):
            what = getattr(one.fun, "__name__", "an operation").lstrip("_")
            raise Unrepeatable(f"{what} was called with other parameters, or another function was, the second time")
        operands = tuple(map(name, one.operands, two.operands))
        if one.out is None:
            code.lines.append(Line(one.fun, operands, one.params, (), one.anew))
            if one.anew:
                loaded.clear()
        else:
            if two.out is None or one.out.shape != two.out.shape or one.out.dtype != two.out.dtype:
                raise Unrepeatable("a result had another shape the second time")
            code.patterns[f"v{k}"] = one.out
            if one.view is not None:
                code.views[f"v{k}"] = one.view
            code.lines.append(Line(COMPARISONS.get(one.fun, one.fun), operands, one.params, (f"v{k}",), one.anew))
    return code, lambda operand: name(operand, operand)


def values_of(tensor: Tensor) -> ndarray:
    value = tensor._data
    return tensor._value if value is None else value  # without the call of a property in each run, mostly


# --- what does not change -------------------------------------------------------------------------------------------


def simplified(code: Code, outputs: Sequence[str]) -> dict[str, str]:
    """Compute what is constant, leave out products with one and what nobody wants; gives names others stand for."""
    other: dict[str, str] = {}
    lines = []
    for line in code.lines:
        line = line._replace(operands=tuple(other.get(n, n) for n in line.operands))
        if len(line.targets) == 1 and not line.anew and line.fun is not values_of:
            (target,) = line.targets
            if all(n in code.constants and n not in code.foreign for n in line.operands):
                value = np.asarray(line.fun(*(code.constants[n] for n in line.operands), **line.params))
                other[target] = code.constant(value)
                continue
            if line.fun in (np.multiply, np.divide, np.add, np.subtract) and len(line.operands) == 2:
                line = line._replace(operands=_scalars(code, line, target))
                left, right = line.operands
                for this, that in ((right, left), (left, right)):
                    one = line.fun is np.multiply and code.constants.get(this) is not None
                    if one and _is_one(code.constants[this]) and _alike(code.patterns[that], code.patterns[target]):
                        other[target] = that
                        break
                else:
                    lines.append(line)
                continue
        lines.append(line)
    wanted = {other.get(n, n) for n in outputs}
    kept = []
    for line in reversed(lines):
        if not line.targets or line.anew or wanted.intersection(line.targets):
            kept.append(line)
            wanted.update(line.operands)
    code.lines = kept[::-1]
    return other


def _is_one(value: Any) -> bool:
    return isinstance(value, int | float | ndarray) and np.ndim(value) == 0 and bool(value == 1)


def _alike(a: Any, b: ndarray) -> bool:
    return isinstance(a, ndarray) and a.shape == b.shape and a.dtype == b.dtype


def _scalars(code: Code, line: Line, target: str) -> tuple[str, ...]:
    """The operands, with an array of equal entries as one number where the other operand has the result's shape.

    A number of Python's becomes an array of the result's dtype, which ufuncs take in two thirds of the time.
    """
    names = list(line.operands)
    for i, (this, that) in enumerate((names, names[::-1])):
        value = code.constants.get(this)
        pattern = code.patterns[target]
        if type(value) in (int, float) and pattern.dtype.kind in "fc" and _alike(code.patterns[that], pattern):
            names[i] = code.constant(np.array(value, pattern.dtype))
        if not isinstance(value, ndarray) or this in code.foreign or not value.ndim or not value.size:
            continue
        if _alike(code.patterns[that], code.patterns[target]):
            corner = value[(0,) * value.ndim]
            if same(value, np.full_like(value, corner)):  # to the bit: -0.0 is another divisor than 0.0
                names[i] = code.constant(np.array(corner))
    return tuple(names)


def joined(code: Code) -> None:
    """Put two functions of the same operands into one line where there is a kernel for both."""
    seconds = {second: (first, kernel) for (first, second), kernel in TOGETHER.items()}
    at: dict[Any, int] = {}
    lines: list[Line | None] = []
    for line in code.lines:
        known = seconds.get(line.fun) if len(line.targets) == 1 and not line.params else None
        k = at.get((known[0], line.operands)) if known is not None else None
        if known is not None and k is not None:
            first = lines[k]
            assert first is not None
            patterns = [code.patterns[t] for t in (*first.targets, *line.targets)]
            if all(p.ndim and p.dtype.kind == "f" for p in patterns):
                lines[k] = Line(known[1], line.operands, {}, (*first.targets, *line.targets))
                del at[known[0], line.operands]  # it has its second
                continue
        if len(line.targets) == 1:
            at[line.fun, line.operands] = len(lines)
        lines.append(line)
    code.lines = [line for line in lines if line is not None]
