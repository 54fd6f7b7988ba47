"""Elementary functions of one argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..gate import apply
from ..rules import elementwise
from ..tensor import Tensor, plain_value
from .logistic import logistic_density, past

__all__: list[str] = []

POSITIVE = (0.2, 4.0)


def _direction(x: Any) -> Any:
    """The sign, of a complex number `x / |x|` with its derivative; 0 at 0."""
    if x.dtype.kind != "c":
        return np.sign(x)
    length = abs(x)
    return x * (length != 0) / (length + (length == 0))


elementwise(np.exp, lambda out: out)
elementwise(np.expm1, lambda x: np.exp(x))  # out + 1 has no digits for x far below 0
elementwise(np.sqrt, lambda out: 0.5 / out, domain=(POSITIVE,), root=True)
elementwise(np.absolute, lambda x: _direction(x), at={(0.0,): (0.0,), (-2.0,): (-1.0,)})
# 1 - out**2 has no digits beyond |x| = 19; sech(x)**2 = 4 e / (1 + e)**2 with e = exp(-2|x|) keeps them all.
elementwise(np.tanh, lambda x: 4 * logistic_density(2 * x), at={(0.0,): (1.0,), (400.0,): (0.0,)})


@elementwise(np.sign, 0, at={(0.0,): (0.0,)})
def sign(x: Any) -> Tensor:
    """The sign, constant but for jumps; of a complex number it turns with it."""
    return apply(np.sign, x) if np.result_type(plain_value(x)).kind != "c" else _direction(x)


@elementwise(np.log, lambda x: 1 / x, domain=(POSITIVE,))
def log(x: Any) -> Tensor:
    """Natural logarithm; of a probability computed here, from its logit, so that it never loses digits."""
    origin = getattr(x, "_origin", None)
    if origin is None or origin.negative:
        return apply(np.log, x)
    with np.errstate(divide="ignore"):
        plain = apply(np.log, x)
    return past(plain, origin.log())


@elementwise(np.log1p, lambda x: 1 / (1 + x), domain=((-0.7, 3.0),))
def log1p(x: Any) -> Tensor:
    """Logarithm of 1 + x; `log1p(-p)` of a probability computed here is exact, as `log` is."""
    origin = getattr(x, "_origin", None)
    complement = origin.negated().complement() if origin is not None and origin.negative else None
    if complement is None:
        return apply(np.log1p, x)
    with np.errstate(divide="ignore"):
        plain = apply(np.log1p, x)
    return past(plain, complement.log())
