"""`numpy.einsum`, and the products of vectors that are cases of it."""

from __future__ import annotations

import functools
from string import ascii_letters
from typing import Any

import numpy as np

from ..rules import composite, sample
from ..tensor import Tensor, ndim_of, shape_of
from . import reductions
from .contractions import conjugated, contracted
from .diagonals import diagonal
from .shapes import reshaped, transpose

__all__: list[str] = []


@composite(
    np.einsum,
    samples=(
        sample("ij,jk", (2, 3), (3, 2)),
        sample("ij,jk->ki", (2, 3), (3, 2), optimize=True),
        sample("...ij,...j->...i", (2, 3, 2), (2,)),
        sample("ii->i", (3, 3)),
        sample("iij,jk->k", (2, 2, 3), (3, 2)),
        sample("ij,k->i", (2, 3), (2,)),
        sample("ij,ij", (2, 3), (1, 3)),
        sample("i,ij,j", (2,), (2, 3), (3,)),
        sample("ab,bc,cd,de->ae", (2, 3), (3, 2), (2, 2), (2, 1)),
        sample("...i->...", (2, 3)),
        sample((2, 3), [0, 1], (3,), [1], [0]),
    ),
)
def einsum(*operands: Any, out: None = None, optimize: Any = False, **kwargs: Any) -> Tensor:
    """`numpy.einsum`: one or more operands, `...`, repeated and dropped indices, and the form with lists of axes.

    Three or more operands are contracted two at a time, in the order of `numpy.einsum_path`.
    """
    if out is not None or kwargs:
        raise TypeError(f"numpy.einsum: {', '.join(kwargs) or 'out'} has no derivative; convert with astype() after")
    text, arrays = _as_text(operands)
    letters, result, direct = _parsed(text, tuple([shape_of(a) for a in arrays]))
    if direct:
        return contracted(arrays[0], arrays[1], letters[0], letters[1], result)
    labels = list(letters)
    if len(arrays) == 1:
        a, names = _reduced(arrays[0], labels[0], set(result))
        return transpose(a, [names.index(s) for s in result])
    path: Any = [(0, 1)]
    if len(arrays) > 2:
        models = [np.broadcast_to(0.0, shape_of(a)) for a in arrays]
        path = np.einsum_path(f"{','.join(labels)}->{result}", *models, optimize=optimize or "greedy")[0][1:]
    for positions in path:
        chosen = [(arrays.pop(k), labels.pop(k)) for k in sorted(positions, reverse=True)][::-1]
        a, names = chosen[0]
        for n, (b, others) in enumerate(chosen[1:], 2):
            later = [text for _, text in chosen[n:]] + labels
            a, names = _pair(a, names, b, others, result, later)
        arrays.append(a)
        labels.append(names)
    (a,), (names,) = arrays, labels
    return a if names == result else transpose(a, [names.index(s) for s in result])


def _as_text(operands: tuple[Any, ...]) -> tuple[str, list[Any]]:
    """The subscripts as NumPy writes them, also of the form with lists of axes; and the arrays."""
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    arrays = list(operands[0 : len(operands) // 2 * 2 : 2])
    lists = [*operands[1::2], *(operands[-1:] if len(operands) % 2 else ())]
    words = ["".join("..." if k is Ellipsis else ascii_letters[k] for k in part) for part in lists]
    return ",".join(words[: len(arrays)]) + ("->" + words[-1] if len(operands) % 2 else ""), arrays


@functools.lru_cache(1024)
def _parsed(text: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[str, ...], str, bool]:
    """A letter for each axis of the operands and of the result, those behind `...` included.

    The third value says whether it is a contraction as it stands: of two operands, without repeated labels, labels that
    only one operand has, and axes of length 1 that broadcast.
    """
    inputs, arrow, result = text.partition("->")
    labels = inputs.split(",")
    if len(labels) != len(shapes):
        raise ValueError(f"numpy.einsum: {text!r} is for {len(labels)} operands, got {len(shapes)}")
    hidden = [len(shape) - len(s.replace("...", "")) for shape, s in zip(shapes, labels, strict=True)]
    for shape, s, count in zip(shapes, labels, hidden, strict=True):
        if count < 0 or (count and "..." not in s):
            raise ValueError(f"numpy.einsum: {s!r} in {text!r} does not fit an operand of shape {shape}")
    spare = "".join(s for s in ascii_letters if s not in text)[: max(hidden)]
    labels = [s.replace("...", spare[len(spare) - count :]) for s, count in zip(labels, hidden, strict=True)]
    letters = "".join(labels)
    if not arrow:
        result = "..." + "".join(s for s in sorted(set(letters)) if letters.count(s) == 1 and s not in spare)
    if spare and "..." not in result:
        raise ValueError(f"numpy.einsum: {text!r} has '...' for {len(spare)} axes, and none in its result")
    result = result.replace("...", spare)
    if len(set(result)) < len(result) or not set(result) <= set(letters) or not (letters + "a").isalpha():
        raise ValueError(f"numpy.einsum: {text!r} has unknown or repeated indices in its result, or no letters")
    lengths: dict[str, int] = {}
    for shape, s in zip(shapes, labels, strict=True):
        for letter, n in zip(s, shape, strict=True):
            if lengths.setdefault(letter, n) == 1:
                lengths[letter] = n
            elif n not in (1, lengths[letter]):
                given = " and ".join(map(str, shapes))
                raise ValueError(
                    f"numpy.einsum: operands of shape {given} differ in length along {letter!r} of {text!r}"
                )
    direct = (
        len(labels) == 2
        and all(len(set(s)) == len(s) for s in labels)
        and all(letters.count(s) == 2 or s in result for s in letters)
        and all(
            lengths[s] == n
            for names, shape in zip(labels, shapes, strict=True)
            for s, n in zip(names, shape, strict=True)
        )
    )
    return tuple(labels), result, direct


def _reduced(a: Any, names: str, wanted: set[str]) -> tuple[Any, str]:
    """The diagonal over repeated labels, and the sum over those that nobody wants."""
    for s in names:
        while names.count(s) > 1:
            i, j = names.index(s), names.rindex(s)
            a = diagonal(a, 0, i, j)
            names = names[:i] + names[i + 1 : j] + names[j + 1 :] + s
    unwanted = tuple(k for k, s in enumerate(names) if s not in wanted)
    if unwanted:
        a = reductions.sum(a, axis=unwanted)
        names = "".join(s for s in names if s in wanted)
    return a, names


def _pair(a: Any, left: str, b: Any, right: str, result: str, later: list[str]) -> tuple[Tensor, str]:
    """The product of two operands, summed over what neither the result nor a later operand has."""
    wanted = set(result).union(*later)
    a, left = _reduced(a, left, wanted | set(right))
    b, right = _reduced(b, right, wanted | set(left))
    sizes = dict(zip(left, shape_of(a), strict=True)), dict(zip(right, shape_of(b), strict=True))
    a, left = _narrowed(a, left, sizes[1])
    b, right = _narrowed(b, right, sizes[0])
    a, left = _reduced(a, left, wanted | set(right))
    b, right = _reduced(b, right, wanted | set(left))
    kept = "".join(s for s in left + right if s in wanted)
    names = "".join(dict.fromkeys(kept)) if later else result
    return contracted(a, b, left, right, names), names


def _narrowed(a: Any, names: str, others: dict[str, int]) -> tuple[Any, str]:
    """Without the axes of length 1 that meet a longer one: those broadcast."""
    gone = [s for s, n in zip(names, shape_of(a), strict=True) if n == 1 != others.get(s, 1)]
    if not gone:
        return a, names
    shape = tuple(n for s, n in zip(names, shape_of(a), strict=True) if s not in gone)
    return reshaped(a, shape), "".join(s for s in names if s not in gone)


@composite(np.vecdot, samples=(sample((3,), (3,)), sample((2, 3), (3,)), sample((2, 1, 3), (4, 3))))
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """`numpy.vecdot`: the sum of ``conj(x1) x2`` over an axis of both."""
    if not ndim_of(x1) or not ndim_of(x2) or shape_of(x1)[axis] != shape_of(x2)[axis]:
        raise ValueError(f"numpy.vecdot: operands of shape {shape_of(x1)} and {shape_of(x2)} differ along axis {axis}")
    x1, x2 = (x if axis in (-1, ndim_of(x) - 1) else np.moveaxis(x, axis, -1) for x in (x1, x2))
    return einsum("...i,...i->...", conjugated(x1), x2)


@composite(np.linalg.vecdot, samples=(sample((2, 3), (3,)), sample((3, 2), (3, 2), axis=0)))
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """`numpy.linalg.vecdot`."""
    return vecdot(x1, x2, axis=axis)


if hasattr(np, "matvec"):  # NumPy 2.2

    @composite(np.matvec, samples=(sample((2, 3), (3,)), sample((4, 2, 3), (3,)), sample((2, 3), (4, 3))))
    def matvec(x1: Any, x2: Any, /) -> Tensor:
        """`numpy.matvec`."""
        if ndim_of(x1) < 2 or not ndim_of(x2) or shape_of(x1)[-1] != shape_of(x2)[-1]:
            raise ValueError(f"numpy.matvec: operands of shape {shape_of(x1)} and {shape_of(x2)} do not fit")
        return einsum("...ij,...j->...i", x1, x2)

    @composite(np.vecmat, samples=(sample((2,), (2, 3)), sample((2,), (4, 2, 3)), sample((4, 2), (2, 3))))
    def vecmat(x1: Any, x2: Any, /) -> Tensor:
        """`numpy.vecmat`, the vector conjugated."""
        if ndim_of(x2) < 2 or not ndim_of(x1) or shape_of(x1)[-1] != shape_of(x2)[-2]:
            raise ValueError(f"numpy.vecmat: operands of shape {shape_of(x1)} and {shape_of(x2)} do not fit")
        return einsum("...i,...ij->...j", conjugated(x1), x2)
