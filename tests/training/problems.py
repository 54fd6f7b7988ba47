"""What the tests of training share: a small problem, and models and optimisers that keep state of every kind."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_fnn import manual_seed, nn, optim
from tinygrad_fnn.data import DataLoader
from tinygrad_fnn.training import History, LearningRateMonitor, fit

X = np.random.default_rng(5).normal(size=(30, 4))
Y = np.column_stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]])
TESTS = X[:10] + 0.1, Y[:10]


def network(dropout: float = 0.25) -> nn.Module:
    """Dropout draws from the package's generator, BatchNorm1d keeps running statistics."""
    return nn.Sequential(
        nn.Linear(4, 8, rng=0), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2, rng=1)
    )


def loader(seed: int = 3) -> DataLoader:
    return DataLoader((X, Y), 8, shuffle=True, rng=seed)


def sgd(model: nn.Module) -> tuple[optim.Optimizer, Any]:
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return optimizer, optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


def adam(model: nn.Module) -> tuple[optim.Optimizer, Any]:
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return optimizer, optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)


RECIPES: dict[str, Callable[[nn.Module], tuple[optim.Optimizer, Any]]] = {"sgd": sgd, "adam": adam}


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in model.state_dict().items()}


# Those that fit drives.
OPTIMIZERS = [
    kind
    for name in optim.__all__
    if isinstance(kind := getattr(optim, name), type) and issubclass(kind, optim.Optimizer)
    if kind not in (optim.Optimizer, optim.LBFGS)
]

EPOCHS = 12


def train(recipe: str, epochs: int = EPOCHS, callbacks: Any = (), **options: Any) -> tuple[nn.Module, History]:
    """The same training each time: dropout and batch statistics, shuffled batches, a scheduler, a validation."""
    manual_seed(7)
    model = network()
    optimizer, scheduler = RECIPES[recipe](model)
    history = fit(
        model, loader(), nn.MSELoss(), optimizer, epochs=epochs, validation=TESTS, scheduler=scheduler,
        callbacks=[LearningRateMonitor(), *callbacks], **options,
    )  # fmt: skip
    return model, history
