"""Lines as the text of a Python function, with a buffer for each result that is free at that point."""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..rules import RULES, TOGETHER
from .code import Code, Line, values_of
from .trace import given

__all__ = ["Program"]


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
            elif not target and line.fun not in TOGETHER.values():  # a loop
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
                sure = line.fun is values_of or (code.patterns[target].ndim and isinstance(line.fun, np.ufunc))
                text.append(f"{target} = {made}" if sure else f"{target} = asarray({made})")
            for n in done:
                if n in owner:
                    buffers.free.append(owner.pop(n))
        borrowed = {t for line in code.lines if line.fun is given for t in line.targets}
        results = []
        seen: set[str] = set()
        for n in outputs:
            r = root.get(n, n)
            own = r in root and r not in fixed and r not in seen and r not in borrowed
            results.append(n if own else f"array({n})")
            seen.add(r)
        text.append(f"return ({''.join(r + ', ' for r in results)})")
        self.source = f"def run({', '.join(inputs)}):\n    " + "\n    ".join(text) + "\n"
        self.bytes = buffers.bytes
        words = set(self.source.replace("(", " ").replace(")", " ").replace(",", " ").replace("=", " ").split())
        bound = [n for n in names if n in words and n not in inputs]
        maker = f"def make({', '.join(bound)}):\n    " + self.source.replace("\n", "\n    ") + "\n    return run\n"
        scope: dict[str, Any] = {}
        exec(compile(maker, "<replay>", "exec"), scope)
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
    if array is None or array.shape != pattern.shape or array.dtype != pattern.dtype:
        return False
    return array.strides == _packed(pattern) and isinstance(line.fun, np.ufunc) and line.fun.signature is None


def _packed(pattern: ndarray) -> tuple[int, ...]:
    """The strides that a buffer like `pattern` gets."""
    return Buffers().take(pattern)[0].strides
