"""Compiled functions: what a function did is recorded twice and then replayed as straight-line code into its own buffers.

The forward and the backward pass of a call are one list of steps (see `trace`), because the rules of the table run on
Tensors too and so pass the gate. The list is cleaned of what does not change, each step is given a buffer that is free
at that point, tall batches are cut into blocks of rows that fit into the cache, and the rest is written out as the text
of a Python function: `plan.source` is that text.

Whatever cannot be told from two runs is refused and runs as it always did: a value that Python looked at, an operand
that differs from run to run without coming from the arguments. Numbers that the function finds outside (in its
closure, among the globals it names, in the attributes of its modules) are compared at every call.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import keyword
import operator
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy import ndarray

from .backward import grad
from .errors import GraphError
from .modes import MODE, traced
from .rules import RULES, TOGETHER, Rule, Term
from .tensor import Node, Tensor
from .trace import Argument, Constant, Found, Operand, Result, Step, Trace, accumulate, wrapped

__all__ = ["Compiled", "Plan", "compile"]

SCALARS: Final = (bool, int, float, complex, str, bytes, type(None))
COMPARISONS: Final = {
    operator.eq: np.equal,
    operator.ne: np.not_equal,
    operator.lt: np.less,
    operator.le: np.less_equal,
}
COMPARISONS.update({operator.gt: np.greater, operator.ge: np.greater_equal})


class Unrepeatable(Exception):
    """Why a function cannot be replayed."""


class _NotANumber(Exception):
    """A gradient holds a NaN: the careful walk is wanted."""


# --- from two traces to lines ---------------------------------------------------------------------------------------


class Line(NamedTuple):
    """One step with names for its operands. Several targets are those of a loop."""

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

    def constant(self, value: Any, foreign: bool = False) -> str:
        """A name for a value."""
        name = f"c{len(self.constants)}"
        self.constants[name] = self.patterns[name] = value
        if foreign:
            self.foreign.add(name)
        return name


def _same(a: Any, b: Any) -> bool:
    """Whether two parameters or constants are equal to the bit."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(_same, a.values(), b.values()))
    return bool(a == b) or bool(a != a and b != b)


def _lowered(first: Trace, second: Trace) -> tuple[Code, Callable[[Operand], str]]:
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
        if isinstance(one, Argument) or isinstance(one, Result):
            if one != two:
                raise Unrepeatable("an operand came from elsewhere the second time")
            return f"{'a' if isinstance(one, Argument) else 'v'}{one.k}"
        if isinstance(one, Found):
            a, b = one.tensor, two[0]
            if a is b:
                if id(a) not in loaded:
                    loaded[id(a)] = target = f"p{len(code.patterns)}"
                    code.patterns[target] = a._value
                    code.lines.append(Line(_values, (code.constant(a, foreign=True),), {}, (target,)))
                return loaded[id(a)]
            if not _same(a._value, b._value):
                raise Unrepeatable("a tensor that it makes anew had other values the second time")
            return code.constant(a._value)
        value, other = one.value, two[0]
        if isinstance(value, ndarray) and value is other:
            return code.constant(value, foreign=True)
        if not _same(value, other):
            raise Unrepeatable(f"an operand that does not come from its arguments changed, a {type(value).__name__}")
        return code.constant(value.copy() if isinstance(value, ndarray) else value)

    for k, (one, two) in enumerate(zip(first.steps, second.steps, strict=True)):
        if one.fun != two.fun or not _same(one.params, two.params) or len(one.operands) != len(two.operands):
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
            code.lines.append(Line(COMPARISONS.get(one.fun, one.fun), operands, one.params, (f"v{k}",), one.anew))
    return code, lambda operand: name(operand, operand)


def _values(tensor: Tensor) -> ndarray:
    return tensor._value


# --- what does not change -------------------------------------------------------------------------------------------


def _simplified(code: Code, outputs: Sequence[str]) -> dict[str, str]:
    """Compute what is constant, leave out what nobody wants and products with one; gives names that others stand for."""
    other: dict[str, str] = {}
    lines = []
    for line in code.lines:
        line = line._replace(operands=tuple(other.get(n, n) for n in line.operands))
        if len(line.targets) == 1 and not line.anew and line.fun is not _values:
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
    """The operands, with an array of equal entries as one number where the other operand has the result's shape."""
    names = list(line.operands)
    for i, (this, that) in enumerate((names, names[::-1])):
        value = code.constants.get(this)
        ours = isinstance(value, ndarray) and this not in code.foreign
        if ours and value.ndim and value.size and _alike(code.patterns[that], code.patterns[target]):
            corner = value[(0,) * value.ndim]
            if (value == corner).all():
                names[i] = code.constant(np.array(corner))
    return tuple(names)


def _joined(code: Code) -> None:
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
                continue
        if len(line.targets) == 1:
            at[line.fun, line.operands] = len(lines)
        lines.append(line)
    code.lines = [line for line in lines if line is not None]


# --- blocks of rows -------------------------------------------------------------------------------------------------

BLOCK: Final = 1 << 22  # bytes that the rows of a block take in all arrays together: what a core's cache holds
FEWEST: Final = 16  # blocks, below which cutting does not pay


class Loop:
    """A part of the program run block by block along one axis of its arrays; sums over that axis are added up.

    The result differs from that of the whole in the order of these additions.
    """

    def __init__(
        self, code: Code, lines: Sequence[Line], length: int, rows: int, whole: Sequence[str], sums: Sequence[str]
    ) -> None:
        """`whole` are results that are wanted in full, `sums` those that are added up."""
        used = {n for line in lines for n in line.operands}
        made = {t for line in lines for t in line.targets}
        self.inputs = tuple(
            n for n in sorted(used - made) if n not in code.constants or _axis(code.patterns[n], length) is not None
        )
        self.outputs = (*whole, *sums)
        self.length, self.rows, self.sums = length, rows, len(sums)
        self.axes = [_axis(code.patterns[n], length) for n in self.inputs]
        self.shapes = [(code.patterns[n].shape, code.patterns[n].dtype, _axis(code.patterns[n], length)) for n in whole]
        self.parts = {
            size: Program(_cut(code, lines, length, size), self.inputs, self.outputs)
            for size in {rows, length % rows or rows}
        }
        self.__name__ = f"in_blocks_of_{rows}"
        self.source = self.parts[rows].source
        self.bytes = sum(part.bytes for part in self.parts.values())

    def __call__(self, *values: ndarray) -> tuple[ndarray, ...]:
        full = [np.empty(shape, dtype) for shape, dtype, _ in self.shapes]
        totals: list[ndarray] = []
        for start in range(0, self.length, self.rows):
            stop = min(start + self.rows, self.length)
            part = self.parts[stop - start]
            here = [
                v if k is None else v[(slice(None),) * k + (slice(start, stop),)]
                for v, k in zip(values, self.axes, strict=True)
            ]
            results = part.run(*here)
            for (_, _, k), into, result in zip(self.shapes, full, results, strict=False):
                into[(slice(None),) * (k or 0) + (slice(start, stop),)] = result
            sums = results[len(full) :]
            totals = [np.asarray(t + r) for t, r in zip(totals, sums, strict=True)] if totals else list(sums)
        return (*full, *totals)


def _axis(pattern: Any, length: int) -> int | None:
    """Which axis of an array is the one that is cut."""
    shape = pattern.shape if isinstance(pattern, ndarray) else ()
    return shape.index(length) if length in shape else None


def _cut(code: Code, lines: Sequence[Line], length: int, size: int) -> Code:
    """The lines for a block of `size` rows."""
    part = Code()
    part.constants, part.foreign = code.constants, code.foreign

    def cut(pattern: Any) -> Any:
        k = _axis(pattern, length)
        return pattern if k is None else pattern[(slice(None),) * k + (slice(size),)]

    part.patterns = {name: cut(pattern) for name, pattern in code.patterns.items()}
    for line in lines:
        params = {
            key: tuple(size if n == length else n for n in value) if key in ("shape", "newshape") else value
            for key, value in line.params.items()
        }
        part.lines.append(line._replace(params=params))
    return part


def _in_blocks(code: Code, outputs: Sequence[str]) -> None:
    """Put the lines that treat the rows of tall arrays alike into one loop, where that pays."""
    for length in sorted(
        {n for p in code.patterns.values() if isinstance(p, ndarray) for n in p.shape[:2]}, reverse=True
    ):
        if length < FEWEST * 16:
            return
        tall = {n: p for n, p in code.patterns.items() if isinstance(p, ndarray) and length in p.shape}
        rows = BLOCK * length // max(1, sum(p.nbytes for p in tall.values() if 0 not in p.strides))
        rows = max(16, 1 << int(rows).bit_length() - 1)
        if rows * FEWEST <= length and _put_into_loop(code, outputs, length, rows):
            return


def _put_into_loop(code: Code, outputs: Sequence[str], length: int, rows: int) -> bool:
    """Whether the lines with arrays of this length could be put into a loop; then they are."""
    before, inside, after, made, sums = [], [], [], set(), set()
    late: set[str] = set()  # what is known after the loop only
    for line in code.lines:
        axes = [_axis(code.patterns[n], length) for n in (*line.operands, *line.targets)]
        tall = any(k is not None for k in axes)
        if late.intersection(line.operands):
            if tall:
                return False
            after.append(line)
            late.update(line.targets)
        elif not line.targets and (line.anew or after or line.fun in (accumulate, _no_nan)):
            after.append(line)  # an effect; what follows stays behind it
            late.update(line.targets)
            if any(n in made for n in line.operands):
                return False
        elif not tall or not any(n in made or axes[i] is not None for i, n in enumerate(line.operands)):
            if line.fun is _values and after:
                return False
            before.append(line)
        else:
            kind = _kind_of(code, line, length, axes)
            if kind is None or any(
                code.patterns[n].shape.count(length) > 1
                for n in (*line.operands, *line.targets)
                if isinstance(code.patterns[n], ndarray)
            ):
                return False
            inside.append(line)
            made.update(line.targets)
            if kind == "sum":
                sums.update(line.targets)
                late.update(line.targets)
    wanted = {*outputs, *(n for line in after for n in line.operands)}
    whole = [n for line in inside for n in line.targets if n in wanted and n not in sums]
    added = [n for line in inside for n in line.targets if n in sums]
    if not inside or any(n in late for line in before for n in line.operands):
        return False
    loop = Loop(code, inside, length, rows, whole, added)
    code.lines = [*before, Line(loop, loop.inputs, {}, loop.outputs), *after]
    return True


def _kind_of(code: Code, line: Line, length: int, axes: list[int | None]) -> str | None:
    """How a line treats the rows: 'each' by itself, their 'sum', or None for otherwise."""
    patterns = [code.patterns[n] for n in (*line.operands, *line.targets)]
    out, axis = patterns[-1], axes[-1]
    name = getattr(line.fun, "__name__", "").strip("_")
    pair = next((pair for pair, kernel in TOGETHER.items() if kernel is line.fun), None)
    if pair is not None:
        parts = [line._replace(fun=f, targets=(t,)) for f, t in zip(pair, line.targets, strict=True)]
        kinds = {_kind_of(code, part, length, [*axes[: len(line.operands)], axes[-1]]) for part in parts}
        return kinds.pop() if len(kinds) == 1 else None
    if _elementwise(line.fun):
        if axis is None:
            return None
        behind = out.ndim - axis
        return "each" if all(k is None or patterns[i].ndim - k == behind for i, k in enumerate(axes[:-1])) else None
    if line.fun is np.matmul and all(p.ndim == 2 for p in patterns):
        return {(0, None, 0): "each", (None, 1, 1): "each", (1, 0, None): "sum"}.get(tuple(axes))  # type: ignore[arg-type]
    if name == "linear":
        return "each" if axes[0] == 0 == axis and not any(k is not None for k in axes[1:-1]) else None
    if name == "sum":
        return "each" if axis is not None else "sum"
    if name in ROWWISE and axes[0] == 0 == axis and out.ndim > 1 and line.params.get("axis", -1) in (-1, out.ndim - 1):
        return "each"
    if name in ("transpose", "matrix_transpose"):
        return "each"
    if name in ("reshape", "broadcast_to") and axis is not None:
        if axes[0] is None:
            return "each" if name == "broadcast_to" else None
        return "each" if axis == axes[0] == 0 else None
    return None


ROWWISE: Final = {"softmax", "log_softmax", "logsumexp", "cross_entropy", "softmax_error"}


def _elementwise(fun: Callable[..., Any]) -> bool:
    if isinstance(fun, np.ufunc):
        return fun.signature is None and fun.nout == 1
    rule = RULES.get(fun)
    return rule is not None and rule.kind == "elementwise"


# --- the text -------------------------------------------------------------------------------------------------------


class Buffers:
    """Memory for results, lent until the last use."""

    def __init__(self) -> None:
        self.free: list[ndarray] = []
        self.bytes = 0

    def take(self, pattern: ndarray) -> tuple[ndarray, ndarray]:
        """An array like `pattern`, and the memory that it stands in."""
        fits = [m for m in self.free if m.nbytes == max(64, pattern.nbytes)]
        if fits:
            memory = fits[-1]
            self.free = [m for m in self.free if m is not memory]
        else:
            memory = np.empty(max(64, pattern.nbytes), np.uint8)
            self.bytes += memory.nbytes
        order = sorted(range(pattern.ndim), key=lambda k: -abs(pattern.strides[k]))
        flat = memory[: pattern.nbytes].view(pattern.dtype).reshape([pattern.shape[k] for k in order])
        return flat.transpose(np.argsort(order).tolist()) if order else flat.reshape(()), memory


class Program:
    """Lines as the text of a Python function.

    Attributes
    ----------
    run : callable
        Takes the inputs' arrays, gives a tuple of the outputs'. Outputs are the caller's own; everything else stays in
        the program's buffers, which the next run overwrites.
    source : str
        The text of `run`.
    bytes : int
        What the buffers take.
    """

    def __init__(self, code: Code, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        root: dict[str, str] = {}
        for line in code.lines:
            shares = [n for n in line.operands if _shares(code, n, line)]
            for target in line.targets:
                root[target] = root.get(shares[0], shares[0]) if shares else target
        last = {root.get(n, n): k for k, line in enumerate(code.lines) for n in line.operands}
        handed = {root.get(n, n) for n in outputs}
        names: dict[str, Any] = {"asarray": np.asarray, "array": np.array, **code.constants}
        fixed: dict[str, ndarray] = {}  # buffers and views of them
        owner: dict[str, ndarray] = {}  # the memory of a root
        buffers, text = Buffers(), []

        def call(fun: Any, line: Line, k: int, out: str = "") -> str:
            name = _readable(fun)
            while names.setdefault(name, fun) is not fun:
                name += "_"
            words = [*line.operands]
            for key, value in line.params.items():
                names[f"{key}_{k}"] = value
                words.append(f"{key}={key}_{k}")
            return f"{name}({', '.join([*words, *([f'out={out}'] if out else [])])})"

        for k, line in enumerate(code.lines):
            done = [n for n in {root.get(n, n) for n in line.operands} if last[n] == k and n in owner]
            target = line.targets[0] if len(line.targets) == 1 else ""
            if not line.targets:
                text.append(call(line.fun, line, k))
            elif not target and isinstance(line.fun, Loop):
                text.append(f"{', '.join(line.targets)}, = {call(line.fun, line, k)}")
            elif not target:
                for t in line.targets:
                    pattern = code.patterns[t]
                    array, owner[t] = buffers.take(pattern)
                    fixed[t] = names[t] = array
                text.append(call(line.fun, line, k, f"({', '.join(line.targets)})"))
            elif root[target] != target:
                source = next(n for n in line.operands if _shares(code, n, line))
                if source in fixed:
                    fixed[target] = names[target] = line.fun(*(names[n] for n in line.operands), **line.params)
                else:
                    text.append(f"{target} = {call(line.fun, line, k)}")
            elif _takes_out(line.fun) and target not in handed and code.patterns[target].ndim:
                pattern = code.patterns[target]
                here = next((n for n in done if _overwritable(line, code, fixed, n, pattern)), None)
                if here is not None:
                    array, owner[target] = fixed[here], owner.pop(here)
                    done.remove(here)
                else:
                    array, owner[target] = buffers.take(pattern)
                fixed[target] = names[target] = array
                text.append(call(line.fun, line, k, target))
            else:
                made = call(line.fun, line, k)
                sure = line.fun is _values or (code.patterns[target].ndim and isinstance(line.fun, np.ufunc))
                text.append(f"{target} = {made}" if sure else f"{target} = asarray({made})")
            for n in done:
                if n in owner:
                    buffers.free.append(owner.pop(n))
        results = []
        seen: set[str] = set()
        for n in outputs:
            r = root.get(n, n)
            own = r in root and r not in fixed and r not in seen
            results.append(n if own else f"array({n})")
            seen.add(r)
        text.append(f"return ({''.join(r + ', ' for r in results)})")
        self.source = f"def run({', '.join(inputs)}):\n    " + "\n    ".join(text) + "\n"
        self.bytes = buffers.bytes
        words = set(self.source.replace("(", " ").replace(")", " ").replace(",", " ").replace("=", " ").split())
        bound = [n for n in names if n in words and n not in inputs]
        maker = f"def make({', '.join(bound)}):\n    " + self.source.replace("\n", "\n    ") + "\n    return run\n"
        scope: dict[str, Any] = {}
        exec(builtins.compile(maker, "<replay>", "exec"), scope)
        self.run: Callable[..., tuple[ndarray, ...]] = scope["make"](*(names[n] for n in bound))


def _shares(code: Code, operand: str, line: Line) -> bool:
    """Whether a line's result is a view of an operand."""
    if len(line.targets) != 1 or line.anew:
        return False
    a, b = code.patterns[operand], code.patterns[line.targets[0]]
    return isinstance(a, ndarray) and isinstance(b, ndarray) and a.size > 0 and np.may_share_memory(a, b)


def _readable(fun: Callable[..., Any]) -> str:
    """A name for a function in the text."""
    name = getattr(fun, "__name__", type(fun).__name__).strip("_")
    return name if name.isidentifier() and not keyword.iskeyword(name) else "call"


@functools.cache
def _takes_out(fun: Callable[..., Any]) -> bool:
    if isinstance(fun, np.ufunc):
        return fun.nout == 1
    own = getattr(fun, "__module__", "").startswith("tinygrad_fnn") and fun in RULES
    return own and "out" in inspect.signature(fun).parameters


def _overwritable(line: Line, code: Code, fixed: Mapping[str, ndarray], n: str, pattern: ndarray) -> bool:
    """Whether the result may stand where operand `n` stands, which nobody reads again."""
    array = fixed.get(n)
    alike = array is not None and array.shape == pattern.shape and array.dtype == pattern.dtype
    return alike and array.strides == _packed(pattern) and isinstance(line.fun, np.ufunc) and line.fun.signature is None


def _packed(pattern: ndarray) -> tuple[int, ...]:
    """The strides that a buffer like `pattern` gets."""
    return Buffers().take(pattern)[0].strides


# --- what the function finds outside --------------------------------------------------------------------------------


class _Outside:
    """What a function reads that is no argument: compared by identity at every call, which is how a change shows."""

    def __init__(self, fun: Callable[..., Any], args: Sequence[Any]) -> None:
        self.slots: list[tuple[Any, Any, Any]] = []  # where, under which key, what
        self.cells: list[tuple[Any, Any]] = []
        self.seen: set[int] = set()
        self.look(fun, 0)
        for a in args:
            self.look(a, 0)

    def look(self, thing: Any, depth: int) -> None:
        """Remember what is reachable from a function, a module or a container."""
        if id(thing) in self.seen or depth > 8:
            return
        self.seen.add(id(thing))
        thing = getattr(thing, "__wrapped__", thing)
        if inspect.ismethod(thing):
            self.look(thing.__self__, depth + 1)
            thing = thing.__func__
        if isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.values()):
                self.look(part, depth + 1)
        elif inspect.isfunction(thing) and not thing.__module__.startswith(__package__):
            for cell in thing.__closure__ or ():
                if cell.cell_contents is not thing:
                    self.cells.append((cell, cell.cell_contents))
                    self.look(cell.cell_contents, depth + 1)
            for key in thing.__code__.co_names:
                if key in thing.__globals__:
                    self.slots.append((thing.__globals__, key, thing.__globals__[key]))
                    self.look(thing.__globals__[key], depth + 1)
        elif hasattr(thing, "named_modules") and not inspect.isclass(thing):
            for key, value in vars(thing).items():
                self.slots.append((vars(thing), key, value))
                self.look(value, depth + 1)
        elif isinstance(thing, list | tuple | dict) and len(thing) <= 1000:
            for key, value in thing.items() if isinstance(thing, dict) else enumerate(thing):
                if not isinstance(thing, tuple):
                    self.slots.append((thing, key, value))
                self.look(value, depth + 1)

    def unchanged(self) -> bool:
        """Whether all is as it was."""
        try:
            for where, key, value in self.slots:
                if where[key] is not value:
                    return False
        except LookupError:
            return False
        for cell, value in self.cells:
            if cell.cell_contents is not value:
                return False
        return True


# --- plans ----------------------------------------------------------------------------------------------------------


class Record:
    """One run, recorded: the trace, what came out, and its derivatives."""

    def __init__(self, trace: Trace, result: Any, tensors: Sequence[Tensor], outside: _Outside) -> None:
        self.trace, self.outside = trace, outside
        found: list[Tensor] = []
        self.form = _form(result, found, trace)
        self.results = [trace.operand(t) for t in found]
        self.live = [t._node is not None and t._node.edges is not None and t._node.rule is not None for t in found]
        self.leaves: list[list[Operand]] = []
        self.slopes: list[list[Operand]] = []
        for tensor, operand, live in zip(found, self.results, self.live, strict=True):
            if not isinstance(operand, Result) and not live:
                trace.fail("it returned something that it did not compute")
            handles = self._leaves(tensor, tensors) if live else []
            self.leaves.append([operand for operand, _ in handles])
            self.slopes.append([])
            if live and trace.failure is None:
                if tensor.size != 1:
                    trace.fail(f"it returned a result of shape {tensor.shape} with a graph; return t.detach()")
                    continue
                try:
                    with traced(trace):
                        ones = np.ones(tensor.shape, tensor.dtype)
                        slopes = grad(tensor, [t for _, t in handles], ones, retain_graph=True)
                except Exception as error:
                    trace.fail(f"a rule could not be followed ({error})")
                else:
                    self.slopes[-1] = [trace.operand(s) for s in slopes]

    def _leaves(self, tensor: Tensor, tensors: Sequence[Tensor]) -> list[tuple[Operand, Tensor]]:
        """The leaves that a result depends on."""
        handles = {t._node: (Argument(k), t) for k, t in enumerate(tensors) if t._node is not None}
        handles.update({t._node: (Found(t), t) for t in self.trace.tensors if t._node is not None})
        leaves, seen, stack = [], {tensor._node}, [tensor._node]
        while stack:
            node = stack.pop()
            assert node is not None
            if node.rule is None:
                if node in handles:
                    leaves.append(handles[node])
                else:
                    self.trace.fail("it depends on a leaf that it does not hold")
            elif node.time < self.trace.start:
                self.trace.fail("it depends on a result that was computed before")
            for edge in node.edges or ():
                if edge[0] not in seen:
                    seen.add(edge[0])
                    stack.append(edge[0])
        return leaves


def _form(result: Any, found: list[Tensor], trace: Trace) -> Any:
    """The containers of a result, with its tensors collected."""
    if isinstance(result, Tensor):
        found.append(result)
        return Tensor
    if isinstance(result, tuple | list) and not hasattr(result, "_fields"):
        return type(result), tuple(_form(r, found, trace) for r in result)
    if isinstance(result, dict):
        return dict, tuple(result), tuple(_form(r, found, trace) for r in result.values())
    if result is not None:
        trace.fail(f"it returned a {type(result).__name__}")
    return None


def _rebuilt(form: Any, results: Iterator[Tensor]) -> Any:
    if form is Tensor:
        return next(results)
    if form is None:
        return None
    if form[0] is dict:
        return dict(zip(form[1], [_rebuilt(f, results) for f in form[2]], strict=True))
    return form[0](_rebuilt(f, results) for f in form[1])


class Plan:
    """A program for one signature.

    Attributes
    ----------
    source : str
        The Python text that is run, and that of its loop over blocks.
    bytes : int
        What its buffers take.
    """

    def __init__(self, fun: Callable[..., Any], first: Record, second: Record) -> None:
        code, named = _lowered(first.trace, second.trace)
        if first.form != second.form or first.live != second.live:
            raise Unrepeatable("it returned something else the second time")
        self.form = first.form
        values = [named(r) for r in first.results]
        slopes = [[named(s) for s in group] for group in first.slopes]
        self.leaves = [leaf for group in first.leaves for leaf in group]
        self.counts = [len(group) if live else None for group, live in zip(first.leaves, first.live, strict=True)]
        names = [*values, *(s for group in slopes for s in group)]
        other = _simplified(code, names)
        names = [other.get(n, n) for n in names]
        _joined(code)
        _in_blocks(code, names)
        _with_checks(code, names[len(values) :])
        self.program = Program(code, code.inputs, names)
        drawing = [code.constants.get(n) for line in code.lines if line.anew for n in line.operands]
        self.generators = [g for g in drawing if isinstance(g, np.random.Generator)]
        loops = [line.fun for line in code.lines if isinstance(line.fun, Loop)]
        self.source = "\n".join([self.program.source, *(f"# {loop.__name__}\n{loop.source}" for loop in loops)])
        self.bytes = self.program.bytes + sum(loop.bytes for loop in loops)
        self.outside = first.outside
        self.rule = _rule_of(fun, max([n for n in self.counts if n is not None], default=0))
        self.found = [leaf.tensor for leaf in self.leaves if isinstance(leaf, Found)]
        self.nodes = [t._node for t in self.found]

    def valid(self) -> bool:
        """Whether what the function finds outside is what it was."""
        for tensor, node in zip(self.found, self.nodes, strict=True):
            if tensor._node is not node:
                return False
        return self.outside.unchanged()

    def run(self, tensors: Sequence[Any], arrays: Sequence[ndarray]) -> Any:
        """The function's result for arguments that are `tensors` with the values `arrays`.

        Raises
        ------
        _NotANumber
            Before anything is changed, if a gradient holds a NaN.
        """
        with np.errstate(all="ignore"):
            values = self.program.run(*arrays)
        results = []
        at = len(self.counts)
        for value, count in zip(values, self.counts, strict=False):
            result = wrapped(value)
            if count is not None:
                edges = []
                for i in range(count):
                    leaf = self.leaves[at - len(self.counts) + i]
                    tensor = leaf.tensor if isinstance(leaf, Found) else tensors[leaf.k]
                    edges.append((tensor._node, _scaled, (values[at + i],), i))
                at += count
                result._node = Node(tuple(edges), self.rule, value.shape, value.dtype)
            results.append(result)
        return _rebuilt(self.form, iter(results))


def _scaled(ct: Any, slope: ndarray) -> Any:
    if isinstance(ct, Tensor):
        raise GraphError("a compiled function has first derivatives only; differentiate the function itself twice")
    return ct * slope


def _rule_of(fun: Callable[..., Any], count: int) -> Rule:
    term = Term(_scaled, _scaled, None, (), (None,), None)
    return Rule(fun, f"compiled {getattr(fun, '__name__', 'function')}", "primitive", (term,) * count)


def _with_checks(code: Code, slopes: Sequence[str]) -> None:
    """Stop at a NaN in a gradient before anything has been done that running the function again would do twice."""
    adding = [k for k, line in enumerate(code.lines) if line.fun is accumulate]
    effects = [k for k, line in enumerate(code.lines) if line.anew and not line.targets]
    if slopes and (adding or effects):
        raise Unrepeatable("it took a step and returned a result with a graph; return loss.detach()")
    if not adding:
        code.lines += [Line(_no_nan, (n,), {}, ()) for n in slopes]
        return
    for k in effects:
        if k < adding[-1] and (k > adding[0] or code.lines[k].fun.__name__ != "zero_grad"):
            raise Unrepeatable("it took a step before a backward")
    moved = [code.lines[k] for k in adding]
    checks = [Line(_no_nan, line.operands[1:], {}, ()) for line in moved]
    head = [line for line in code.lines[: adding[-1]] if line.fun is not accumulate]
    code.lines = [*head, *checks, *moved, *code.lines[adding[-1] + 1 :]]


def _no_nan(values: ndarray) -> None:
    square = np.vdot(values, values)
    if square != square:
        raise _NotANumber


# --- the face -------------------------------------------------------------------------------------------------------


class _Signature:
    """What is known of calls with one kind of arguments."""

    __slots__ = ("first", "objects", "plan", "refused", "trials", "why")

    def __init__(self, objects: Any) -> None:
        self.first: Record | None = None
        self.plan: Plan | None = None
        self.refused, self.why = False, ""
        self.trials = 0
        self.objects = objects  # kept, so that no other object gets their identity


class Compiled:
    """A function that replays what it did before; made by `compile`, which documents it.

    Attributes
    ----------
    plans : list of Plan
        Those of the calling thread, one for each kind of arguments.
    """

    def __init__(self, fun: Callable[..., Any], fallback: str) -> None:
        functools.update_wrapper(self, fun)
        self.fun, self._fallback = fun, fallback
        self._local = threading.local()
        self._warned = False

    @property
    def plans(self) -> list[Plan]:
        """The plans of the calling thread."""
        known = getattr(self._local, "signatures", {})
        return [signature.plan for signature in known.values() if signature.plan is not None]

    @property
    def refusals(self) -> list[str]:
        """Why calls of the calling thread run as always."""
        known = getattr(self._local, "signatures", {})
        return [signature.why for signature in known.values() if signature.refused]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result."""
        mode = MODE.get()
        if mode.watch or mode.strict or mode.level is not None or getattr(self._local, "running", False):
            return self._eager(args, kwargs)
        signatures = self._local.__dict__.setdefault("signatures", {})
        key = (mode.record, tuple(kwargs), *map(_kind, args), *map(_kind, kwargs.values()))
        signature = signatures.get(key)
        if signature is None:
            signature = signatures[key] = _Signature((args, kwargs))
        if signature.refused:
            return self._eager(args, kwargs)
        tensors = [a if isinstance(a, Tensor) else wrapped(a) for a in (*args, *kwargs.values()) if _is_array(a)]
        arrays = [t._value for t in tensors]
        plan = signature.plan
        if plan is not None:
            if plan.valid():
                states = [g.bit_generator.state for g in plan.generators]
                self._local.running = True
                try:
                    return plan.run(tensors, arrays)
                except _NotANumber:
                    for g, state in zip(plan.generators, states, strict=True):
                        g.bit_generator.state = state
                    return self._eager(args, kwargs)
                finally:
                    self._local.running = False
            signature.plan = signature.first = None
        return self._traced(signature, args, kwargs, tensors)

    def _eager(self, args: Any, kwargs: Any) -> Any:
        """Run as always, with Tensors for the arrays, as in the replay."""
        return self.fun(*map(_as_tensor, args), **{key: _as_tensor(a) for key, a in kwargs.items()})

    def _traced(self, signature: _Signature, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
        """Run as always, and remember how."""
        signature.trials += 1
        own = [t if t._node is not None else wrapped(t._value.copy()) for t in tensors]
        trace = Trace([t._settle() if t._data is None else t._data for t in own])
        handles = iter(own)
        given = [next(handles) if _is_array(a) else a for a in args]
        named = {key: next(handles) if _is_array(a) else a for key, a in kwargs.items()}
        if any(t._node is not None and t._node.rule is not None for t in own):
            trace.fail("an argument is a result with a graph")
        outside = _Outside(self.fun, (*args, *kwargs.values()))
        try:
            with traced(trace):
                result = self.fun(*given, **named)
        except Exception:
            if not trace.steps:
                raise
            self._refuse(signature, "it failed when its comparisons gave tensors")
            return self._eager(args, kwargs)
        record = Record(trace, result, own, outside)
        try:
            if trace.failure is not None:
                raise Unrepeatable(trace.failure)
            if signature.first is None or not signature.first.outside.unchanged():
                signature.first = record
            else:
                first, signature.first = signature.first, None
                signature.plan = Plan(self.fun, first, record)
        except Unrepeatable as reason:
            if not trace.again or signature.trials > 10:
                self._refuse(signature, str(reason))
        return result

    def _refuse(self, signature: _Signature, reason: str) -> None:
        signature.refused, signature.why = True, reason
        signature.first = None
        if self._fallback == "raise":
            raise GraphError(f"compile: {self.__name__} cannot be replayed: {reason}")
        if self._fallback == "warn" and not self._warned:
            self._warned = True
            warnings.warn(
                f"compile: {self.__name__} runs as before, uncompiled: {reason}", RuntimeWarning, stacklevel=4
            )


def _as_tensor(value: Any) -> Any:
    return Tensor(value) if isinstance(value, ndarray) else value


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | ndarray)


def _kind(value: Any) -> Any:
    """What of an argument a plan is made for."""
    if isinstance(value, Tensor):
        values, node = value._value, value._node
        return values.shape, values.dtype, values.strides, node is None, node is None or node.rule is None
    if isinstance(value, ndarray):
        return value.shape, value.dtype, value.strides, True, True
    if isinstance(value, SCALARS):
        return type(value), value
    return id(value)


def compile(fun: Callable[..., Any] | None = None, *, fallback: str = "warn") -> Any:
    """A function that records what `fun` does twice and from then on replays it without overhead.

    Parameters
    ----------
    fun : callable
        A cost, or a whole training step with `backward` and the optimiser's `step` in it. Its arguments are arrays or
        Tensors (it gets Tensors), numbers and other objects. It returns Tensors, also in tuples, lists and dicts, or
        None; a scalar that is returned with its graph can be differentiated, once.
    fallback : {'warn', 'silent', 'raise'}
        What to do where `fun` cannot be replayed, because Python looks at a value or something changes that does not
        come from the arguments: run it as always after one warning, without one, or raise.

    Returns
    -------
    Compiled
        Called like `fun`. There is one plan for each combination of shapes, dtypes, layouts and other arguments, and for
        each thread.

    Raises
    ------
    GraphError
        With ``fallback='raise'``, at the call that shows that `fun` cannot be replayed.

    Notes
    -----
    Results are those of `fun` to the bit, except where tall batches are cut into blocks of rows: then sums over the rows
    are added up in another order. What it returns, and every `.grad`, is the caller's own. Floating-point warnings are
    not given. Numbers in the closure of `fun`, globals that it names and attributes of modules are compared by identity
    at every call, and a change records anew; what it reads elsewhere (a file, the clock) is taken for constant.

    Examples
    --------
    >>> import numpy as np
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> cost = compile(lambda x: np.sum((w * x) ** 2))
    >>> for _ in range(3):
    ...     w.grad = None
    ...     cost(np.array([1.0, 3.0])).backward()
    >>> w.grad
    array([ 2., 36.])
    >>> len(cost.plans)
    1
    """
    if fallback not in ("warn", "silent", "raise"):
        raise ValueError(f"compile: fallback is {fallback!r}, wanted 'warn', 'silent' or 'raise'")
    if fun is None:
        return functools.partial(compile, fallback=fallback)
    if not callable(fun):
        raise TypeError(f"compile: got a {type(fun).__name__}, wanted a function")
    return Compiled(fun, fallback)
