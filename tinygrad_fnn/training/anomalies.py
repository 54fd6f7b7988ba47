"""Where a loss or a gradient that is no number comes from: looked for only once there is one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import AnomalyError
from ..modes import detect_anomaly
from ..nn import Module
from ..rules import plain
from ..tensor import Tensor

__all__ = ["all_finite", "cause"]


def all_finite(values: np.ndarray) -> bool:
    """Whether there is no NaN and no infinity in `values`; one pass, and no temporary."""
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())  # squares may overflow


def cause(model: Module, loss: Callable[[Any, Any], Tensor], x: Any, y: Any) -> str:
    """What makes the loss of a batch, or its gradient, infinite or NaN, as far as it shows when it is run again.

    Parameters
    ----------
    model, loss
        As for `fit`; parameters and buffers as they were before the batch.
    x, y
        The batch.

    Returns
    -------
    str
        The array that is bad from the start, or the operation that made a NaN or overflowed first.
    """
    named: Iterable[tuple[str, Any]] = [("x", x), ("y", y), *model.state_dict().items()]
    for name, given in named:
        values = np.asarray(plain(given))
        if values.dtype.kind in "fc" and not all_finite(values):
            index = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
            return f"{name} holds {values[index]} at {list(index)}"
    try:
        # Elsewhere the walk runs with warnings off, so only the forward pass can overflow here.
        with detect_anomaly(), np.errstate(over="raise", divide="raise"):
            loss(model(x), y).backward()
    except FloatingPointError as error:  # AnomalyError is one
        return str(error) if isinstance(error, AnomalyError) else ", ".join(filter(None, [str(error), _line(error)]))
    return "run again, no operation made a NaN or overflowed"


def _line(error: BaseException) -> str:
    """The innermost line outside this package."""
    site, trace = "", error.__traceback__
    package = __name__.partition(".")[0]
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals.get("__name__", "").partition(".")[0] not in (package, "numpy", "scipy"):
            site = f"at {frame.f_code.co_filename}:{trace.tb_lineno} in {frame.f_code.co_name}"
        trace = trace.tb_next
    return site
