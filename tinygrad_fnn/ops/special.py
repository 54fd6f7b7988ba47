"""`scipy.special`: entered when SciPy is first met, since importing it costs more than the rest of the package.

The logistic and entropy functions are here; importing this enters the other families too, each with its own file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ..gate import apply
from ..rules import elementwise
from ..tensor import Tensor
from . import bessels, divergences, error_functions, exponentials, gammas
from .logistic import OfLogit, _snapshot, logistic_density, sigmoid_of

__all__ = ["bessels", "divergences", "error_functions", "exponentials", "gammas"]

POSITIVE = (0.2, 4.0)


@elementwise(
    special.expit,
    lambda x: logistic_density(x),
    domain=((-30.0, 30.0),),
    at={(0.0,): (0.25,), (1000.0,): (0.0,), (-1000.0,): (0.0,)},
    probability=True,
)
def expit(x: Any) -> Tensor:
    """`scipy.special.expit`, which remembers its logit as `sigmoid` does."""
    a = apply(special.expit, x)
    a._origin = OfLogit(_snapshot(x))
    return a


elementwise(special.logit, lambda x: 1 / (x * (1 - x)), domain=((0.05, 0.95),))
elementwise(special.log_expit, lambda x: sigmoid_of(-x), domain=((-30.0, 30.0),), at={(-1000.0,): (1.0,)})
# x log y: log y and x / y, and 0, 0 where both factors vanish. Only that point is masked.
elementwise(
    special.xlogy,
    lambda x, y: np.log(np.where((x == 0) & (y == 0), 1, y)),
    lambda x, y: x / np.where((x == 0) & (y == 0), np.inf, y),
    domain=((0.2, 3.0), POSITIVE),
    at={(0.0, 0.0): (0.0, 0.0), (0.0, 2.0): (math.log(2.0), 0.0)},
)
elementwise(
    special.xlog1py,
    lambda x, y: np.log1p(np.where((x == 0) & (y == -1), 0, y)),
    lambda x, y: x / np.where((x == 0) & (y == -1), np.inf, 1 + y),
    domain=((0.2, 3.0), (-0.7, 3.0)),
    at={(0.0, -1.0): (0.0, 0.0), (0.0, 1.0): (math.log(2.0), 0.0)},
)
# At 0 the slope is infinite, as it is; the value there is 0.
elementwise(special.entr, lambda x: -np.log(x) - 1, domain=(POSITIVE,), at={(1.0,): (-1.0,)})
elementwise(special.erf, lambda x: np.exp(-x * x) * (2 / math.sqrt(math.pi)), at={(0.0,): (2 / math.sqrt(math.pi),)})
