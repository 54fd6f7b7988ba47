"""Training: `fit` and what it calls, the history of its epochs."""

from .callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    JSONLogger,
    LambdaCallback,
    LearningRateMonitor,
    WeightAveraging,
)
from .fit import evaluate, fit
from .history import History
from .run import Run

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "History", "JSONLogger", "LambdaCallback"]
__all__ += ["LearningRateMonitor", "Run", "WeightAveraging", "evaluate", "fit"]
