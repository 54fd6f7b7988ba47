"""Indexing in all of NumPy's forms, and assignment that leaves every earlier value as it was."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy import ndarray

from ..backward import IN_PLACE
from ..errors import GraphError
from ..gate import apply
from ..modes import MODE
from ..rules import Array, composite, dispatching, plain, primitive, sample
from ..tensor import Tensor
from .shapes import carried

__all__ = ["one_hot"]

ROWS = np.array([2, 0, 2])
MASK = np.array([True, False, True])


def _getitem(x: Array, *, index: Any) -> Array:
    return x[index]


def _scatter(ct: Array, *, index: Any, shape: tuple[int, ...]) -> Array:
    """The adjoint of `x[index]`: entries picked several times add up."""
    out = np.zeros(shape, ct.dtype)
    if _may_repeat(index) and ct.size <= SMALL:
        np.add.at(out, index, ct)
    elif _may_repeat(index):
        _add_at(out, ct, index if isinstance(index, tuple) else (index,))
    else:
        out[index] = ct
    return out


SMALL = 500  # entries up to which finding a faster way costs more than it saves
FEW = 16  # rows up to which the product with a one-hot matrix is the fastest sum


def _add_at(out: ndarray, ct: ndarray, index: tuple[Any, ...]) -> None:
    """`np.add.at(out, index, ct)`, which is slow unless both are flat: over whole rows of the axes not indexed."""
    count = sum([_axes_taken(part) for part in index])
    if any(part is Ellipsis for part in index):
        count = out.ndim
    lead = out.shape[:count]
    rows, width = math.prod(lead), math.prod(out.shape[count:])
    if all(np.asarray(part).dtype.kind in "iu" for part in index):
        if len(index) == 1:
            ids = index[0].ravel()
        else:
            ids = np.ravel_multi_index(np.broadcast_arrays(*index), lead, mode="wrap").ravel()
    else:
        ids = np.arange(rows).reshape(lead)[index].ravel()
    if width == 1:
        np.add.at(out.reshape(-1), ids, ct.reshape(-1))
        return
    table, values = out.reshape(rows, width), ct.reshape(-1, width)
    ids = ids % rows
    if ids.size <= rows and np.bincount(ids).max() <= 1:
        table[ids] = values
    elif rows <= FEW < ids.size and ct.dtype.char in "fd" and np.isfinite(ct).all():  # 0 * inf would reach other rows
        np.matmul((np.arange(rows)[:, None] == ids).astype(ct.dtype), values, out=table)
    else:
        np.add.at(out.reshape(-1), (ids[:, None] * width + np.arange(width)).ravel(), values.ravel())


def _axes_taken(part: Any) -> int:
    """How many axes of the array a part of an index stands for."""
    if part is None or isinstance(part, bool | np.bool):
        return 0
    return part.ndim if isinstance(part, ndarray) and part.dtype.kind == "b" else 1


scatter = dispatching(_scatter)


def _share_of_all(ct: Array, _x: Array, index: Any) -> Array:
    return scatter(ct, index=index, shape=_x.shape)


def _add_share(total: ndarray, ct: ndarray, _x: Array, index: Any) -> None:
    """`total += _share_of_all(ct, _x, index)`, touching only what the index names."""
    if not _may_repeat(index):
        total[index] += ct
    elif ct.size <= SMALL:
        np.add.at(total, index, ct)
    else:
        total += _scatter(ct, index=index, shape=_x.shape)


IN_PLACE[_share_of_all] = _add_share
primitive(
    _getitem,
    _share_of_all,
    name="indexing",
    linear=True,
    samples=(
        sample((4,), index=1),
        sample((4, 3), index=(slice(None, None, -2), 0)),
        sample((3, 4), index=(Ellipsis, None, 1)),
        sample((3, 4), index=(ROWS, ROWS)),
        sample((3, 4), index=(ROWS[:, None], slice(1, 3))),
        sample((3, 4), index=MASK),
    ),
)
primitive(
    _scatter,
    lambda ct, index: ct[index],
    name="indexing (adjoint)",
    linear=True,
    samples=(sample((3,), index=ROWS, shape=(4,)), sample((2, 4), index=slice(0, 4, 2), shape=(4, 4))),
)


def _may_repeat(index: Any) -> bool:
    """Whether an index holds integer arrays, which may name an entry twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, ndarray) and part.dtype.kind != "b" for part in parts)


def _plain_index(index: Any) -> Any:
    """The index with arrays in the place of Tensors and lists."""
    if isinstance(index, tuple):
        return tuple(map(_plain_index, index))
    if isinstance(index, Tensor):
        if index.dtype.kind not in "iub":
            raise IndexError(
                f"indexing: an index has dtype {index.dtype}, wanted integers or booleans; an index has no derivative: "
                "write i.detach().astype(int)"
            )
        return index._read()
    return np.array(index, dtype=None if index else int) if isinstance(index, list) else index


@composite(
    operator.getitem,
    name="indexing",
    samples=(
        sample((4, 3), -1),
        sample((4, 3), (slice(None, None, -2), 0)),
        sample((3, 4), (Ellipsis, None, ROWS)),
        sample((3, 4), MASK),
        sample((3, 4, 2), (MASK, slice(1, None), ROWS[:2] % 2)),
        sample((3, 4), [0, 2, 0]),
        sample((), (None, Ellipsis)),
    ),
)
def getitem(x: Tensor, index: Any) -> Tensor:
    """`x[index]`: integers, slices, `...`, None, integer and boolean arrays, mixed as in NumPy."""
    if not isinstance(index, int | slice):
        index = _plain_index(index)
    return carried(apply(_getitem, x, index=index), x, lambda z: apply(_getitem, z, index=index))


def _setitem(x: Array, v: Array, *, index: Any, last: ndarray | None) -> Array:
    out = np.array(x)
    out[index] = v
    return out


def _kept_of(ct: Array, index: Any) -> Array:
    mask = np.ones(ct.shape, bool)
    mask[index] = False
    return np.where(mask, ct, 0)


def _written(ct: Array, index: Any, last: ndarray | None) -> Array:
    return ct[index] if last is None else np.where(last, ct[index], 0)


primitive(
    _setitem,
    lambda ct, index: _kept_of(ct, index),
    lambda ct, index, last: _written(ct, index, last),
    name="assignment",
    linear="jointly",
    samples=(
        sample((4,), (), index=1, last=None),
        sample((4, 3), (3,), index=slice(1, 3), last=None),
        sample((3, 4), (3,), index=(ROWS, np.array([0, 1, 0])), last=np.array([False, True, True])),
    ),
)


def _last_written(shape: tuple[int, ...], index: Any) -> ndarray | None:
    """Which of the values assigned stay, where an index names an entry twice: the last one, as in NumPy."""
    if not _may_repeat(index):
        return None
    order = np.zeros(shape, np.intp)
    picked = order[index].shape
    turn = np.arange(int(np.prod(picked))).reshape(picked)
    order[index] = turn
    last = order[index] == turn
    return None if last.all() else last


@composite(
    operator.setitem,
    name="assignment",
    samples=(
        sample((4,), 1, ()),
        sample((4, 3), slice(1, 3), (3,)),
        sample((3, 4), MASK, (2, 4)),
        sample((3, 4), (ROWS, np.array([0, 1, 0])), (3,)),
        sample((3,), Ellipsis, 0.5),
    ),
)
def setitem(x: Tensor, index: Any, value: Any) -> None:
    """`x[index] = value`: a new value for this handle; whatever was computed from the old one keeps it."""
    index = _plain_index(index)
    recording = MODE.get().record
    if x._node is not None and recording and x.is_leaf:
        raise GraphError("assignment: a leaf that requires a gradient is read-only; write under no_grad, or to a copy")
    if x._node is not None and not recording and not x.is_leaf:
        raise GraphError("assignment: a tracked result cannot be written to under no_grad: its history would be lost")
    if recording and (x._node is not None or (isinstance(value, Tensor) and value._node is not None)):
        if x.dtype.kind not in "fc":
            raise TypeError(f"assignment: a tensor of dtype {x.dtype} cannot take a value that carries a gradient")
        out = apply(_setitem, x, value, index=index, last=_last_written(x.shape, index))
        x._data, x._node = out._data, out._node
    else:
        x.data[index] = plain(value)  # the first write copies, further ones until the next use do not
    x._origin = None


def one_hot(labels: Any, num_classes: int | None = None, dtype: Any = float) -> Tensor:
    """A row for each label with a 1 in its column.

    Parameters
    ----------
    labels : array_like of int, shape (m,) or any
        In 0 ... num_classes - 1.
    num_classes : int, optional
        Number of columns; one more than the largest label by default.
    dtype : dtype
        Of the result.

    Returns
    -------
    Tensor, shape of `labels` + (num_classes,)

    Raises
    ------
    TypeError
        If the labels are no integers.
    ValueError
        If a label is outside the range, or `num_classes` is no integer > 0.

    Examples
    --------
    >>> one_hot([0, 2], 3)
    Tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    ids = np.asarray(plain(labels))
    if ids.dtype.kind not in "iu" and ids.size:
        raise TypeError(f"one_hot: labels have dtype {ids.dtype}, wanted integers")
    count = (int(ids.max()) + 1 if ids.size else 0) if num_classes is None else num_classes
    if num_classes is not None and (not isinstance(num_classes, int | np.integer) or num_classes < 1):
        raise ValueError(f"one_hot: num_classes is {num_classes!r}, wanted an integer > 0")
    if ids.size and (ids.min() < 0 or ids.max() >= count):
        bad = ids.min() if ids.min() < 0 else ids.max()
        hint = " Label 10 of the course's files is digit 0: data.load_mat_digits maps it." if bad == 10 == count else ""
        raise ValueError(f"one_hot: label {bad} is outside 0 ... {count - 1}.{hint}")
    # Class by class in memory, as the results of `linear` on a tall batch are.
    rows = np.equal.outer(np.arange(count), ids).astype(dtype)
    return Tensor(np.moveaxis(rows, 0, -1))
