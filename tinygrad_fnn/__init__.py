"""Reverse-mode automatic differentiation of NumPy code, and the network that reads handwritten digits.

`Tensor` is what NumPy's and SciPy's own functions work on; `RULES` holds their derivatives. Importing the package fills
that table.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops
from .backward import grad
from .modes import detect_anomaly, enable_grad, is_grad_enabled, no_grad, strict_edges
from .ops import linear, log_sigmoid, log_softmax, logsumexp, one_hot, relu, sigmoid, softmax, softplus
from .rules import RULES
from .tensor import Tensor

if TYPE_CHECKING:
    from . import check, curves, data, func, metrics, nn, optim, plot, stats, training
    from .check import gradcheck
    from .checkpointing import checkpoint
    from .custom import custom_op
    from .ops.polygamma import multigammaln, polygamma
    from .randomness import get_rng_state, manual_seed, set_rng_state
    from .replay import compile
    from .serialize import load, load_checkpoint, save, save_checkpoint
    from .training import fit  # type: ignore[no-redef]  # the function and not the file of its name

__version__ = "0.1.0"

__all__ = ["RULES", "Tensor", "check", "checkpoint", "compile", "curves", "custom_op", "data", "detect_anomaly"]
__all__ += ["enable_grad", "fit", "func", "get_rng_state", "grad", "gradcheck", "is_grad_enabled", "linear", "load"]
__all__ += ["load_checkpoint", "log_sigmoid", "log_softmax", "logsumexp", "manual_seed", "metrics", "multigammaln"]
__all__ += ["nn", "no_grad", "one_hot", "ops", "optim", "plot", "polygamma", "relu", "save", "save_checkpoint"]
__all__ += ["set_rng_state", "sigmoid", "softmax", "softplus", "stats", "strict_edges", "training"]

# What is imported when it is first asked for: all together take longer than NumPy.
_PACKAGES = {"check", "curves", "data", "func", "metrics", "nn", "optim", "plot", "stats", "testing", "training"}
_HOMES = {"checkpoint": "checkpointing", "compile": "replay", "custom_op": "custom", "fit": "training"}
_HOMES |= {"gradcheck": "check"}
_HOMES |= dict.fromkeys(["get_rng_state", "manual_seed", "set_rng_state"], "randomness")
_HOMES |= dict.fromkeys(["multigammaln", "polygamma"], "ops.polygamma")
_HOMES |= dict.fromkeys(["load", "load_checkpoint", "save", "save_checkpoint"], "serialize")


def __getattr__(name: str) -> Any:  # Any: whatever has that name
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


# glibc maps each large array anew, and the system clears it page by page, until a block as large as this one has been
# freed. That took a quarter of the time of cost and gradient on the 5000 digits. Nothing of it is touched.
np.empty(31 << 20, np.uint8)
