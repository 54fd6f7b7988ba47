"""Lines as the text of a Python function, with a buffer for each result that is free at that point."""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from ..rules import RULES
from .code import Code, Line, Several, values_of
from .trace import accumulate, given

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
            source = _source(code, line)
            for target in line.targets:
                root[target] = target if source is None else root.get(source, source)
        last = {root.get(n, n): k for k, line in enumerate(code.lines) for n in line.operands}
        last |= dict.fromkeys((root.get(n, n) for n in outputs), len(code.lines))  # read when all is done
        given_away = [n for line in code.lines if line.fun is accumulate for n in line.operands[1:]]
        handed = {root.get(n, n) for n in (*outputs, *given_away)}
        names: dict[str, Any] = {"asarray": np.asarray, "array": np.array, **code.constants}
        fixed: dict[str, ndarray] = {}  # buffers and views of them
        owner: dict[str, ndarray] = {}  # the memory of a root
        buffers, text = Buffers(), []
        borrowed = {t for line in code.lines if line.fun in (given, values_of) for t in line.targets}
        seen: set[str] = set()

        def own(n: str) -> str:
            """A name's array as one that nobody else holds."""
            r = root.get(n, n)
            fresh = r in root and r not in fixed and r not in seen and r not in borrowed
            seen.add(r)
            return n if fresh else f"array({n})"

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
            if line.fun is accumulate:
                node, share = line.operands
                text.append(call(line.fun, line._replace(operands=(node, own(share))), k))
            elif not line.targets:
                text.append(call(line.fun, line, k))
            elif isinstance(line.fun, Several):
                text.append(f"{', '.join(line.targets)}, = {call(line.fun, line, k)}")
            elif not target:
                for t in line.targets:
                    pattern = code.patterns[t]
                    array, owner[t] = buffers.take(pattern)
                    fixed[t] = names[t] = array
                text.append(call(line.fun, line, k, f"({', '.join(line.targets)})"))
            elif root[target] != target:
                source = _source(code, line)
                view = line.fun(*(names[n] for n in line.operands), **line.params) if source in fixed else None
                if view is not None and np.may_share_memory(view, fixed[source]):
                    fixed[target] = names[target] = view
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
        text.append(f"return ({''.join(own(n) + ', ' for n in outputs)})")
        self.source = f"def run({', '.join(inputs)}):\n    " + "\n    ".join(text) + "\n"
        self.bytes = buffers.bytes
        words = set(self.source.replace("(", " ").replace(")", " ").replace(",", " ").replace("=", " ").split())
        bound = [n for n in names if n in words and n not in inputs]
        maker = f"def make({', '.join(bound)}):\n    " + self.source.replace("\n", "\n    ") + "\n    return run\n"
        scope: dict[str, Any] = {}
        exec(compile(maker, "<replay>", "exec"), scope)
        self.run: Callable[..., tuple[ndarray, ...]] = scope["make"](*(names[n] for n in bound))


def _source(code: Code, line: Line) -> Any:
    """The operand that a line's result is a view of, None if it is none."""
    if len(line.targets) != 1 or isinstance(line.fun, Several) or line.targets[0] not in code.views:
        return None
    return line.operands[code.views[line.targets[0]]]


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
