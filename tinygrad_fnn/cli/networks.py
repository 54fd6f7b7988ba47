"""Networks as the command line trains, keeps and reads them: fully connected, with their classes and scaling.

A file of one is what `save` writes of a dict, and is believed as far as it proves itself: the widths are those of the
arrays in it, and everything else is looked at before anything is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy import ndarray

from .. import data, nn
from ..errors import DataFormatError
from ..modes import no_grad
from ..randomness import Seed
from ..serialize import load, save
from ..tensor import Tensor
from .examples import Classes, Examples
from .options import writing

__all__ = ["ACTIVATIONS", "OUTPUTS", "SCALINGS", "Network", "load_network", "loss_of", "of_thetas", "save_network"]

ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}
SCALINGS: Final[dict[str, type[data.Standardize | data.Normalize]]] = {
    "standardize": data.Standardize,
    "normalize": data.Normalize,
}
DTYPES: Final = ("float64", "float32")
KIND: Final = "network of the command line"
VERSION: Final = 1
BATCH: Final = 2048  # examples at a time, so that a large test set takes little memory

Loss = Callable[[Any, Any], Tensor]

# The last layer with its loss, by the names of `check.textbook`.
OUTPUTS: Final[dict[str, Loss]] = {
    "sigmoid": lambda z, Y: nn.functional.binary_cross_entropy_with_logits(z, Y, "course"),
    "softmax": lambda z, Y: nn.functional.cross_entropy(z, Y),
    "identity": lambda z, Y: nn.functional.mse_loss(z, Y, "course") / 2,
}


@dataclass(eq=False)
class Network:
    """A network and what belongs to it.

    Attributes
    ----------
    widths : list of int
        Of the input and of each layer.
    activation, output : str
        Keys of `ACTIVATIONS` and `OUTPUTS`.
    classes : tuple of int or of str
        The label of each output.
    column_major : bool
        How pictures are unrolled.
    dropout : float
        Share of hidden activations that is dropped while training.
    dtype : str
        'float64' or 'float32'.
    scaling : str
        A key of `SCALINGS`, or 'none'.
    rng, dropout_rng : int or SeedSequence
        Where the first weights, and what is dropped, come from.
    scale : transform or None
        Fitted to the training part.
    model : nn.Sequential
        Gives logits.
    """

    widths: list[int]
    activation: str
    output: str
    classes: Classes
    column_major: bool
    dropout: float = 0.0
    dtype: str = "float64"
    scaling: str = "none"
    rng: Seed = 0
    dropout_rng: Seed = 0

    def __post_init__(self) -> None:
        weights, drops = (np.random.default_rng(rng) for rng in (self.rng, self.dropout_rng))
        layers: dict[str, nn.Module] = {}
        for k, (below, above) in enumerate(pairwise(self.widths), 1):
            layers[f"linear{k}"] = nn.Linear(below, above, rng=weights, dtype=self.dtype)
            if k < len(self.widths) - 1:
                layers[f"activation{k}"] = ACTIVATIONS[self.activation]()
                if self.dropout:
                    layers[f"dropout{k}"] = nn.Dropout(self.dropout, rng=drops)
        self.model = nn.Sequential(layers)
        self.scale = SCALINGS[self.scaling]() if self.scaling != "none" else None

    def inputs(self, examples: Examples) -> ndarray:
        """The examples as the model takes them."""
        if examples.X.shape[1] != self.widths[0]:
            raise ValueError(f"{examples.source}: {examples.X.shape[1]} features, the model wants {self.widths[0]}")
        return self.scaled(examples.X)

    def scaled(self, X: ndarray) -> ndarray:
        """`X` on the scale of the training part, in the dtype of the model."""
        return (X if self.scale is None else self.scale(X)).astype(self.dtype, copy=False)

    def logits(self, X: ndarray) -> ndarray:
        """What the last layer gives for inputs that are scaled already, shape (m, K)."""
        self.model.eval()
        with no_grad(), np.errstate(over="ignore", invalid="ignore"):
            z = np.concatenate([self.model(X[k : k + BATCH]).numpy() for k in range(0, len(X), BATCH)])
        if not np.isfinite(z).all():
            row = int(np.argwhere(~np.isfinite(z))[0][0])
            raise ValueError(f"the model gives {z[row][~np.isfinite(z[row])][0]} for example {row} (from 0)")
        return z

    def plain_model(self) -> nn.Sequential:
        """The model without dropout, as it answers: `Linear` and activation in turn."""
        layers = zip((name for name, _ in self.model.named_children()), self.model, strict=True)
        return nn.Sequential({name: layer for name, layer in layers if not isinstance(layer, nn.Dropout)})

    def text(self) -> str:
        """The network in a line."""
        ends = [self.activation, self.output, self.dtype]
        ends += [f"dropout {self.dropout:g}"] if self.dropout else []
        ends += [] if self.scale is None else [self.scaling]
        return f"{'-'.join(map(str, self.widths))}, {', '.join(ends)}"


def loss_of(output: str, K: int, dtype: str) -> Loss:
    """The loss of logits (m, K) and class numbers (m,)."""
    rows = np.eye(K, dtype=dtype)
    function = OUTPUTS[output]
    return lambda z, y: function(z, rows[y])


def of_thetas(thetas: list[ndarray], *, column_major: bool) -> Network:
    """The course's network with these weights, bias column first; the rows of the last are for 0, 1, ..."""
    widths = [thetas[0].shape[1] - 1, *map(len, thetas)]
    network = Network(widths, "sigmoid", "sigmoid", tuple(range(widths[-1])), column_major)
    names = [f"linear{k}.{name}" for k in range(1, len(widths)) for name in ("W", "b")]
    parts = [part for theta in thetas for part in (theta[:, 1:], theta[:, 0])]
    network.model.load_state_dict(dict(zip(names, parts, strict=True)))
    return network


# --- files ----------------------------------------------------------------------------------------------------------


def save_network(network: Network, path: Path, record: dict[str, Any]) -> None:  # Any: what `save` takes
    """Write a network; `record` says how it came about, and is only ever shown."""
    content = {
        "kind": KIND,
        "version": VERSION,
        "activation": network.activation,
        "output": network.output,
        "classes": list(network.classes),
        "column_major": network.column_major,
        "dropout": network.dropout,
        "scaling": network.scaling,
        "scale": None if network.scale is None else network.scale.state_dict(),
        "weights": network.model.state_dict(),
        "record": record,
    }
    with writing(f"--out {path}"):
        save(content, path)


def load_network(path: Path) -> Network:
    """The network in a file of `train`, or in a course file with Theta1, Theta2, ...

    Raises
    ------
    DataFormatError
        If it is neither.
    OSError
        If there is no such file.
    """
    if path.suffix.lower() == ".mat":
        thetas = data.load_mat_weights(path)
        if len(thetas[-1]) != 10:
            raise DataFormatError(
                f"{path}: its last theta is {thetas[-1].shape}; wanted 10 outputs, a row for each digit"
            )
        thetas[-1] = np.roll(thetas[-1], 1, axis=0)  # digit 0 has label 10 there, and comes last
        return of_thetas(thetas, column_major=True)
    try:
        content = load(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file; `train --out {path}` writes one") from error
    try:
        return _network(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DataFormatError(f"{path} holds no network that `train --out` wrote: {error}") from error


def _network(content: Any) -> Network:  # Any: whatever a file holds
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError("it says nothing of the kind")
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r:.20}, wanted {VERSION}")
    for key, table in (("activation", ACTIVATIONS), ("output", OUTPUTS), ("scaling", {"none": None, **SCALINGS})):
        if not isinstance(content[key], str) or content[key] not in table:
            raise ValueError(f"{key} is {content[key]!r:.80}, wanted one of {', '.join(table)}")
    weights = content["weights"]
    widths, dtype = _widths(weights)
    classes, column_major, dropout = content["classes"], content["column_major"], content["dropout"]
    kinds = {type(c) for c in classes} if isinstance(classes, list) else set()
    if kinds not in ({int}, {str}) or len(classes) != widths[-1]:
        raise ValueError(f"its classes are not {widths[-1]} integers or texts, one for each output")
    if classes != sorted(set(classes)):
        raise ValueError("its classes are not in order")
    if type(column_major) is not bool or type(dropout) is not float or not 0 <= dropout < 1:
        raise ValueError("column_major is no bool, or dropout no number in [0, 1)")
    network = Network(
        widths, content["activation"], content["output"], tuple(classes), column_major, dropout, dtype,
        content["scaling"],
    )  # fmt: skip
    network.model.load_state_dict(weights)
    if network.scale is not None:
        network.scale.load_state_dict(content["scale"])
        for name, array in network.scale.state_dict().items():
            if array.shape != (widths[0],):
                raise ValueError(f"scale has {name} of shape {array.shape}, wanted ({widths[0]},)")
    return network


def _widths(weights: Any) -> tuple[list[int], str]:  # Any: as above
    """The widths that the arrays in a file prove, and their dtype."""
    if not isinstance(weights, dict) or not weights or len(weights) % 2:
        raise ValueError("its weights are no W and b for each layer")
    widths: list[int] = []
    for k in range(1, len(weights) // 2 + 1):
        W, b = weights[f"linear{k}.W"], weights[f"linear{k}.b"]
        if not all(isinstance(array, ndarray) and array.dtype.name in DTYPES for array in (W, b)):
            raise ValueError(f"layer {k} is not of {' or '.join(DTYPES)}")
        if W.ndim != 2 or 0 in W.shape or b.shape != W.shape[:1] or (widths and W.shape[1] != widths[-1]):
            raise ValueError(f"layer {k} has W {W.shape} and b {b.shape}, which do not fit")
        widths += [W.shape[1], W.shape[0]] if k == 1 else [W.shape[0]]
    dtypes = {array.dtype.name for array in weights.values()}
    if len(dtypes) > 1 or not all(np.isfinite(array).all() for array in weights.values()):
        raise ValueError("its weights differ in dtype, or are not finite")
    return widths, dtypes.pop()
