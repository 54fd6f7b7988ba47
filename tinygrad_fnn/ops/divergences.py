"""Divergences of distributions and robust losses, elementwise: rel_entr, kl_div, huber, pseudo_huber."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy import special

from ..rules import Array, dispatching, elementwise
from .scipy_calls import in_double

__all__: list[str] = []

POSITIVE = (0.2, 4.0)


@in_double
def _log_ratio(x: ndarray, y: ndarray) -> Array:
    """``log(x / y)``, exact near 1 and where the quotient overflows; 0 where both are 0."""
    ratio = x / y
    out = np.where((ratio > 0.5) & (ratio < 2), np.log1p((x - y) / y), np.log(ratio))
    beyond = ~((ratio > 1e-300) & (ratio < 1e300))
    if beyond.any():
        out = np.where(beyond, np.log(x) - np.log(y), out)
        out = np.where((x == 0) & (y == 0), 0, out)
    return out


log_ratio = dispatching(_log_ratio)
elementwise(
    _log_ratio,
    lambda x, y: 1 / np.where((x == 0) & (y == 0), np.inf, x),
    lambda x, y: -1 / np.where((x == 0) & (y == 0), np.inf, y),
    domain=(POSITIVE, POSITIVE),
)
# x log(x / y). Where both are 0 the term counts for nothing, as in xlogy; at x = 0 alone the slope is -inf, as it is.
elementwise(
    special.rel_entr,
    lambda x, y: log_ratio(x, y) + ((x != 0) | (y != 0)),
    lambda x, y: -x / np.where((x == 0) & (y == 0), np.inf, y),
    domain=(POSITIVE, POSITIVE),
    at={(0.0, 0.0): (0.0, 0.0), (1.0, 1.0): (1.0, -1.0)},
)
# x log(x / y) - x + y.
elementwise(
    special.kl_div,
    lambda x, y: log_ratio(x, y),
    lambda x, y: (y - x) / np.where((x == 0) & (y == 0), np.inf, y),
    domain=(POSITIVE, POSITIVE),
    at={(0.0, 0.0): (0.0, 0.0), (1.0, 1.0): (0.0, 0.0)},
)

# --- robust losses --------------------------------------------------------------------------------------------------

# x is delta, y the residual: y**2 / 2 up to delta, and delta (|y| - delta / 2) beyond. Both slopes are continuous.
elementwise(
    special.huber,
    lambda x, y: np.maximum(np.abs(y) - x, 0),
    lambda x, y: np.clip(y, -x, x),
    domain=((0.8, 1.2), (-2.5, 2.5)),
    at={(1.0, 0.0): (0.0, 0.0), (1.0, 1.0): (0.0, 1.0), (1.0, -3.0): (2.0, -1.0), (0.0, 2.0): (2.0, 0.0)},
)


@in_double
def _pseudo_huber_share(x: ndarray, y: ndarray) -> Array:
    """``hypot(x, y) - x`` for a positive `x`, without the cancellation where `y` is small."""
    total = np.hypot(x, y) + x
    return np.where(total == 0, 0, y * (y / np.where(total == 0, 1, total)))


pseudo_huber_share = dispatching(_pseudo_huber_share)

# x**2 (sqrt(1 + (y / x)**2) - 1) = x q, with h = hypot(x, y) and q = h - x: slopes q**2 / h and x y / h.
elementwise(
    special.pseudo_huber,
    lambda x, y: pseudo_huber_share(x, y) * (pseudo_huber_share(x, y) / (np.hypot(x, y) + ((x == 0) & (y == 0)))),
    lambda x, y: x * (y / (np.hypot(x, y) + ((x == 0) & (y == 0)))),
    domain=((0.5, 2.0), (-2.5, 2.5)),
    at={(1.0, 0.0): (0.0, 0.0), (0.0, 2.0): (2.0, 0.0), (0.0, 0.0): (0.0, 0.0)},
)
# dq/dx = x / h - 1 = -q / h, and dq/dy = y / h.
elementwise(
    _pseudo_huber_share,
    lambda out, x, y: -out / (np.hypot(x, y) + ((x == 0) & (y == 0))),
    lambda x, y: y / (np.hypot(x, y) + ((x == 0) & (y == 0))),
    domain=((0.5, 2.0), (-2.5, 2.5)),
)
