"""Functions without a derivative on purpose: they give plain arrays, or Tensors to be filled by assignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..gate import apply
from ..rules import Sample, composite, constant, plain, sample
from ..tensor import Tensor, plain_value

__all__: list[str] = []

constant(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
constant(np.logical_and, np.logical_or, np.logical_xor, np.logical_not)
constant(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert)
constant(np.isnan, np.isinf, np.isfinite, np.signbit, np.isclose, np.allclose, np.array_equal, np.array_equiv)
constant(np.isreal, np.iscomplex, np.isrealobj, np.iscomplexobj, np.isneginf, np.isposinf)
constant(np.argmax, np.argmin, np.argsort, np.argpartition, np.nanargmax, np.nanargmin, np.searchsorted, np.nonzero)
constant(np.isin, np.linalg.matrix_rank, np.diag_indices_from, np.tril_indices_from, np.triu_indices_from)
constant(np.argwhere, np.flatnonzero, np.count_nonzero, np.digitize, np.all, np.any, np.lexsort)
constant(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type, of_values=False)
constant(np.min_scalar_type, np.array_repr, np.array_str, np.array2string, np.may_share_memory, np.shares_memory)


def _like(fun: Callable[..., Any], given: Sample) -> None:
    @composite(fun, samples=(given,))
    def like(prototype: Any, *args: Any, **kwargs: Any) -> Tensor:
        """The function's result as a Tensor."""
        result = fun(plain_value(prototype), *map(plain, args), **kwargs)
        return Tensor(result) if result.dtype.kind != "c" else apply(np.positive, result)


_like(np.zeros_like, sample((2, 3)))
_like(np.ones_like, sample((2, 3)))


@composite(np.full_like, samples=(sample((2, 3), 0.5),))
def full_like(a: Any, fill_value: Any, dtype: Any = None, **layout: Any) -> Tensor:
    """`numpy.full_like`, differentiable in the value."""
    like = np.full_like(plain_value(a), plain_value(fill_value), dtype, **layout)
    if not isinstance(fill_value, Tensor) or like.dtype.kind != "f":
        return Tensor(like)
    return np.broadcast_to(fill_value, like.shape).astype(like.dtype)  # type: ignore[return-value]  # the protocol's


_like(np.empty_like, sample((0, 3)))  # the only values it promises
