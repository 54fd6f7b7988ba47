"""What the files on SciPy's functions share: arguments that must stay constant, and kernels that compute in double.

It imports nothing of SciPy itself, so that faces which do not need it until they are called may use it too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import NoRuleError
from ..gate import apply
from ..modes import is_grad_enabled
from ..rules import Array, public_name
from ..tensor import Tensor, plain_value

__all__ = ["in_double", "of_reals", "parameters_first", "power_series", "refuse_tracked"]


def refuse_tracked(function: str, argument: str, value: Any) -> None:
    """Raise where `value` asks for a gradient that cannot be given: it would be lost in silence.

    Raises
    ------
    NoRuleError
        If `value` is tracked and the mode records.
    """
    if isinstance(value, Tensor) and value.requires_grad and is_grad_enabled():
        raise NoRuleError(
            f"{function} has no derivative rule for its argument {argument}; "
            f"pass {argument}.detach() if it is to count as a constant"
        )


def parameters_first(fun: np.ufunc, *names: str) -> Callable[..., Tensor]:
    """A face for `fun` whose leading arguments, called `names`, have no derivative and refuse a tracked Tensor."""
    function = public_name(fun)

    def call(*args: Any) -> Tensor:
        for name, value in zip(names, args, strict=False):
            refuse_tracked(function, name, value)
        return apply(fun, *args)

    return call


def of_reals(fun: np.ufunc) -> Callable[..., Tensor]:
    """A face for `fun`, whose value SciPy has at complex numbers, too, and whose derivative has a rule at real ones."""
    function = public_name(fun)

    def call(x: Any) -> Tensor:
        if np.result_type(plain_value(x)).kind == "c":
            raise NoRuleError(f"{function} of complex numbers has no derivative rule; use t.detach(), or real numbers")
        return apply(fun, x)

    return call


def in_double(kernel: Callable[..., Array]) -> Callable[..., ndarray]:
    """`kernel` computing in double precision for any real arguments; its result is single if those floating are.

    It gets arrays of one axis at least, so that it may write into what it makes of them. Series and recurrences of
    single numbers would lose half of what they have; longdouble gives double, as SciPy has no more to offer.
    """

    @functools.wraps(kernel)
    def call(*args: Array, **params: Any) -> ndarray:
        floating = [a.dtype for a in args if isinstance(a, ndarray | np.generic) and a.dtype.kind == "f"]
        single = bool(floating) and max(dtype.itemsize for dtype in floating) <= 4
        shape = np.broadcast_shapes(*map(np.shape, args))
        with np.errstate(all="ignore"):
            out = kernel(*(np.atleast_1d(np.asarray(a, float)) for a in args), **params)
        return np.asarray(out, np.float32 if single else np.float64).reshape(shape)

    return call


def power_series(x: ndarray, n: int, coefficient: Callable[[int], float], terms: int = 40) -> ndarray:
    """The derivative of order `n` of ``sum(coefficient(k) * x**k)``, by Horner's rule."""
    total = np.zeros_like(x)
    for k in reversed(range(n, n + terms)):
        total = total * x + coefficient(k) * math.perm(k, n)
    return total
