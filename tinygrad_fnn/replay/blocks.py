"""Blocks of rows: the lines that treat the rows of tall arrays alike, run for as many rows at once as a cache holds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy import ndarray

from ..rules import RULES, TOGETHER
from .code import Code, Line, Several, values_of
from .pool import together
from .program import Program
from .trace import accumulate

__all__ = ["Loop", "in_blocks"]

BLOCK: Final = (
    1 << 23
)  # bytes that the rows of a block take in all arrays together, of which a part is in use at a time
ENOUGH: Final = 1 << 10  # rows, from which on a matrix product pays for reading its weights
FEWEST: Final = 4  # blocks, below which cutting does not pay in time
AMPLE: Final = 1 << 26  # bytes of all arrays together, above which it pays in memory, and so in two blocks
SHORTEST: Final = 256  # rows, and in so few
SHARES: Final = 4  # of the blocks, however many threads there are, so that sums have the same bits


class Loop(Several):
    """A part of the program run block by block along one axis of its arrays; sums over that axis are added up.

    The result differs from that of the whole in the order of these additions: within each of a few shares of the
    blocks, which threads may take, and then those of the shares.
    """

    def __init__(
        self,
        code: Code,
        lines: Sequence[Line],
        length: int,
        rows: int,
        whole: Sequence[str],
        sums: Sequence[str],
        threads: int,
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
        self.threads = min(threads, SHARES)
        starts = range(0, length, rows)
        cuts = [len(starts) * k // SHARES for k in range(SHARES + 1)]
        self.shares = [starts[a:b] for a, b in pairwise(cuts)]
        sizes = {rows, length % rows or rows}
        self.spare = [  # programs that nobody is running, each set with buffers of its own
            {size: Program(_cut(code, lines, length, size), self.inputs, self.outputs) for size in sizes}
            for _ in range(self.threads)
        ]
        self.__name__ = f"in_blocks_of_{rows}"
        self.source = self.spare[0][rows].source
        self.bytes = sum(part.bytes for parts in self.spare for part in parts.values())

    def __call__(self, *values: ndarray) -> tuple[ndarray, ...]:
        """The results wanted in full, then the sums."""
        full = [np.empty(shape, dtype) for shape, dtype, _ in self.shapes]
        totals: list[list[ndarray]] = [[] for _ in self.shares]

        def share(k: int) -> None:
            parts = self.spare.pop()
            try:
                for start in self.shares[k]:
                    results = self._block(parts, start, values, full)
                    totals[k] = _added(totals[k], results[len(full) :])
            finally:
                self.spare.append(parts)

        together([functools.partial(share, k) for k in range(SHARES)], self.threads)
        nothing: list[ndarray] = []  # as a share is where there are fewer blocks than shares
        return (*full, *functools.reduce(_added, filter(None, totals), nothing))

    def _block(
        self, parts: dict[int, Program], start: int, values: Sequence[ndarray], full: Sequence[ndarray]
    ) -> tuple[ndarray, ...]:
        """What the rows from `start` on give; the results wanted in full are put in their places."""
        stop = min(start + self.rows, self.length)
        here = [
            v if k is None else v[(slice(None),) * k + (slice(start, stop),)]
            for v, k in zip(values, self.axes, strict=True)
        ]
        results = parts[stop - start].run(*here)
        for (_, _, k), into, result in zip(self.shapes, full, results, strict=False):
            into[(slice(None),) * (k or 0) + (slice(start, stop),)] = result
        return results


def _added(totals: list[ndarray], sums: Sequence[ndarray]) -> list[ndarray]:
    return [np.asarray(t + s) for t, s in zip(totals, sums, strict=True)] if totals else list(sums)


def _axis(pattern: Any, length: int) -> int | None:
    """Which axis of an array is the one that is cut."""
    shape = pattern.shape if isinstance(pattern, ndarray) else ()
    return shape.index(length) if length in shape else None


def _cut(code: Code, lines: Sequence[Line], length: int, size: int) -> Code:
    """The lines for a block of `size` rows."""
    part = Code()
    part.constants, part.foreign, part.views = code.constants, code.foreign, code.views

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


def in_blocks(code: Code, outputs: Sequence[str], threads: int = 1) -> None:
    """Put the lines that treat the rows of tall arrays alike into one loop, where that pays, for so many threads."""
    for length in sorted(
        {n for p in code.patterns.values() if isinstance(p, ndarray) for n in p.shape[:2]}, reverse=True
    ):
        if length < 2 * SHORTEST:
            return
        tall = {n: p for n, p in code.patterns.items() if isinstance(p, ndarray) and length in p.shape}
        size = sum(p.nbytes for p in tall.values() if 0 not in p.strides)
        fit = 1 << max(1, BLOCK * length // max(1, size)).bit_length() - 1
        ample = size > AMPLE
        rows = max(fit, min(2 * fit, ENOUGH), SHORTEST) if ample else max(fit, ENOUGH)
        if length < rows * (2 if ample else FEWEST):
            continue
        # As equal as can be, since another size would want buffers of its own; few of them the same for each share.
        count = -(-length // rows) if ample else SHARES * round(length / rows / SHARES)
        if _put_into_loop(code, outputs, length, -(-length // count), threads):
            return


def _put_into_loop(code: Code, outputs: Sequence[str], length: int, rows: int, threads: int) -> bool:
    """Whether the lines with arrays of this length could be put into a loop; then they are."""
    before: list[Line] = []
    inside: list[Line] = []
    after: list[Line] = []
    made: set[str] = set()
    sums: set[str] = set()
    late: set[str] = set()  # what is known after the loop only
    for line in code.lines:
        axes = [_axis(code.patterns[n], length) for n in (*line.operands, *line.targets)]
        tall = any(k is not None for k in axes)
        if late.intersection(line.operands):
            if tall:
                return False
            after.append(line)
            late.update(line.targets)
        elif not line.targets:  # an effect, whose order with what it may change stays; or a check
            if made.intersection(line.operands):
                return False
            idle = not inside and not after
            (before if idle or not (line.anew or line.fun is accumulate) else after).append(line)
        elif not tall or not any(n in made or axes[i] is not None for i, n in enumerate(line.operands)):
            if line.fun is values_of and after:
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
    loop = Loop(code, inside, length, rows, whole, added, threads)
    code.lines = [*before, Line(loop, loop.inputs, {}, loop.outputs), *after]
    return True


# Functions of each row by itself, along the last axis.
ROWWISE: Final = {
    "softmax",
    "log_softmax",
    "logsumexp",
    "cross_entropy",
    "softmax_error",
    "label_entropy",
    "label_error",
}


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


def _elementwise(fun: Callable[..., Any]) -> bool:
    if isinstance(fun, np.ufunc):
        return fun.signature is None and fun.nout == 1
    rule = RULES.get(fun)
    return rule is not None and rule.kind == "elementwise"
