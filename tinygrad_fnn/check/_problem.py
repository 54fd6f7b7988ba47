"""What the learner's functions are asked, put in order once: arrays in float64, every refusal, unrolling.

`textbook`, `diagnose` and `compare` take the same arguments; they read and refuse them here, so that `textbook` has
room for the formulas only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tinygrad_fnn.errors import ShapeError

__all__ = [
    "ACTIVATIONS",
    "OUTPUTS",
    "REDUCTIONS",
    "Float",
    "Network",
    "Problem",
    "as_network",
    "as_problem",
    "real_array",
    "roll",
    "unroll",
]

Float = npt.NDArray[np.float64]

ACTIVATIONS = ("sigmoid", "tanh", "relu")
OUTPUTS = ("sigmoid", "softmax", "identity")
REDUCTIONS = ("course", "mean")

# Targets computed in float32 (label smoothing) miss their range or their sum by a few times 6e-8.
TARGET_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Network:
    """Weights and inputs that fit together.

    Attributes
    ----------
    thetas : tuple of L arrays, shape (out, in + 1), float64, finite
        ``[b W]`` of each layer, bias column first.
    X : array, shape (m, in), float64, finite
    activation, output : str
        Checked members of `ACTIVATIONS` and `OUTPUTS`.
    """

    thetas: tuple[Float, ...]
    X: Float
    activation: str
    output: str

    @property
    def m(self) -> int:
        """Number of examples."""
        return len(self.X)

    @property
    def K(self) -> int:
        """Number of outputs."""
        return len(self.thetas[-1])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shape of each theta."""
        return [(theta.shape[0], theta.shape[1]) for theta in self.thetas]


@dataclass(frozen=True, eq=False)
class Problem(Network):
    """A `Network` with targets, penalty and reduction; ``dataclasses.replace`` makes variants without a new check.

    Attributes
    ----------
    Y : array, shape (m, K), float64, finite
    l2 : float >= 0
    reduction : str
        Checked member of `REDUCTIONS`.
    """

    Y: Float
    l2: float
    reduction: str

    @property
    def M(self) -> int:
        """Divisor of the data term: m for ``'course'``, m K for ``'mean'``."""
        return self.m if self.reduction == "course" else self.m * self.K


def as_network(
    function: str, thetas: Iterable[npt.ArrayLike], X: npt.ArrayLike, *, activation: str, output: str
) -> Network:
    """The arguments of `textbook.forward`, checked; `function` is the name that errors begin with.

    Raises
    ------
    ShapeError
        `thetas` that do not chain, `X` that does not fit them, no examples.
    ValueError
        NaN or infinity, no layers, an unknown keyword value.
    TypeError
        Complex, text or object data.
    """
    _one_of(function, "activation", activation, ACTIVATIONS)
    _one_of(function, "output", output, OUTPUTS)
    checked = _thetas(function, thetas)
    return Network(checked, _inputs(function, X, checked[0]), activation, output)


def as_problem(
    function: str,
    thetas: Iterable[npt.ArrayLike],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    l2: float = 0.0,
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    reduction: str = "course",
) -> Problem:
    """The arguments of `textbook.cost`, `diagnose`, ..., checked; `function` is the name that errors begin with.

    Raises
    ------
    ShapeError
        Shapes that do not fit, no examples, labels for `Y`.
    ValueError
        NaN or infinity, targets out of range for their loss, a negative `l2`, an unknown keyword value.
    TypeError
        Complex, text or object data.
    """
    _one_of(function, "reduction", reduction, REDUCTIONS)
    network = as_network(function, thetas, X, activation=activation, output=output)
    targets = _targets(function, Y, network)
    return Problem(network.thetas, network.X, activation, output, targets, _penalty(function, l2), reduction)


def unroll(arrays: Iterable[Float]) -> Float:
    """One vector, as Octave's ``[Theta1(:); Theta2(:)]``: column by column, the first array first.

    Examples
    --------
    >>> unroll([np.array([[1.0, 3.0], [2.0, 4.0]]), np.array([[5.0, 6.0]])])
    array([1., 2., 3., 4., 5., 6.])
    """
    return np.concatenate([array.ravel(order="F") for array in arrays])


def roll(vector: Float, shapes: Sequence[tuple[int, int]]) -> list[Float]:
    """The inverse of `unroll`: arrays of the given shapes, own memory.

    Raises
    ------
    ShapeError
        If the length of `vector`, shape (n,), is not the sum of the sizes.

    Examples
    --------
    >>> roll(np.arange(1.0, 7.0), [(2, 2), (1, 2)])
    [array([[1., 3.], [2., 4.]]), array([[5., 6.]])]
    """
    sizes = [out * columns for out, columns in shapes]
    if vector.shape != (sum(sizes),):
        raise ShapeError(f"roll: vector is {vector.shape}, the shapes {list(shapes)} take ({sum(sizes)},)")
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return [np.array(part.reshape(shape, order="F"), order="C") for part, shape in zip(parts, shapes, strict=True)]


def real_array(function: str, name: str, value: npt.ArrayLike) -> Float:
    """`value` as finite float64, native byte order; not copied if it is that already.

    Raises
    ------
    TypeError
        Complex, text, object or masked data.
    ValueError
        Ragged lists, NaN, infinity, or what exceeds float64.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array; say what the masked entries are: {name}.filled(0)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        if hasattr(value, "toarray"):
            raise TypeError(f"{function}: {name} is sparse; make it dense: {name}.toarray()")
        raise TypeError(f"{function}: {name} must hold real numbers; got dtype {array.dtype}, shape {array.shape}")
    with np.errstate(over="ignore"):  # a longdouble beyond float64 is found below
        real = array.astype(np.float64, copy=False)
    finite = np.isfinite(real)
    if not finite.all():
        at = tuple(int(i) for i in np.argwhere(~finite)[0])
        what = "NaN" if np.isnan(real[at]) else "infinity"
        where = f" at [{', '.join(map(str, at))}]" if at else ""
        raise ValueError(f"{function}: {name} holds {what}{where}; {name} is {real.shape}")
    return real


def _one_of(function: str, name: str, value: object, values: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{function}: {name} must be one of {', '.join(map(repr, values))}; got {value!r}")
    if value not in values:
        raise ValueError(f"{function}: {name} must be one of {', '.join(map(repr, values))}; got {value!r}")


def _thetas(function: str, thetas: Iterable[npt.ArrayLike]) -> tuple[Float, ...]:
    if isinstance(thetas, np.ndarray) and thetas.ndim != 3:
        raise TypeError(
            f"{function}: thetas must be a list of arrays (out, in + 1); got one array of shape {thetas.shape}, "
            f"dtype {thetas.dtype}. For a network of one layer: [theta]"
        )
    if hasattr(thetas, "parameters"):
        hint = "of a Linear layer it is numpy.column_stack([layer.b.data, layer.W.data])"
        hint = "pass its thetas()" if hasattr(thetas, "thetas") else hint
        raise TypeError(
            f"{function}: thetas must be a list of arrays (out, in + 1); got a {type(thetas).__name__}, a model: {hint}"
        )
    if isinstance(thetas, str | bytes | dict) or not isinstance(thetas, Iterable):
        raise TypeError(f"{function}: thetas must be a list of arrays (out, in + 1); got {type(thetas).__name__}")
    checked = tuple(real_array(function, f"thetas[{l}]", theta) for l, theta in enumerate(thetas))
    if not checked:
        raise ValueError(f"{function}: thetas is empty; a network has at least one array (out, in + 1)")
    for l, theta in enumerate(checked):
        if theta.ndim != 2 or 0 in theta.shape:
            raise ShapeError(f"{function}: thetas[{l}] must be (out, in + 1), bias column first; got {theta.shape}")
    for l, (below, theta) in enumerate(pairwise(checked), start=1):
        expected = below.shape[0] + 1
        if theta.shape[1] != expected:
            hint = ""
            if theta.shape[1] == below.shape[0]:
                hint = f" Is the bias column of thetas[{l}] missing?"
            elif theta.shape[0] == expected:
                hint = f" Is thetas[{l}] transposed?"
            raise ShapeError(
                f"{function}: thetas[{l}] has {theta.shape[1]} columns, expected {expected}: the bias and one for each "
                f"unit of thetas[{l - 1}]; thetas[{l - 1}] is {below.shape}, thetas[{l}] is {theta.shape}.{hint}"
            )
    return checked


def _inputs(function: str, X: npt.ArrayLike, theta: Float) -> Float:
    checked = real_array(function, "X", X)
    features = theta.shape[1] - 1
    shapes = f"X is {checked.shape}, thetas[0] is {theta.shape}"
    if checked.ndim != 2:
        hint = " For a single example: X.reshape(1, -1)" if checked.shape == (features,) else ""
        raise ShapeError(f"{function}: X must be (m, {features}), an example per row; {shapes}.{hint}")
    if checked.shape[1] != features:
        hint = ""
        if checked.shape[1] == features + 1:
            hint = " Is a bias column still in X?"
        elif checked.shape[0] == features:
            hint = " Is X transposed? It has an example per row"
        raise ShapeError(
            f"{function}: X has {checked.shape[1]} features, thetas[0] expects {features} beside its bias column; "
            f"{shapes}.{hint}"
        )
    if checked.shape[0] == 0:
        raise ShapeError(f"{function}: X has no examples; {shapes}")
    return checked


def _targets(function: str, Y: npt.ArrayLike, network: Network) -> Float:
    checked = real_array(function, "Y", Y)
    m, K = network.m, network.K
    shapes = (
        f"Y is {checked.shape}, expected ({m}, {K}): X is {network.X.shape}, thetas[-1] is {network.thetas[-1].shape}"
    )
    if checked.shape != (m, K):
        if checked.shape == (m,) and K == 1:
            hint = "One column is wanted: Y.reshape(-1, 1)"
        elif checked.shape in {(m,), (m, 1)}:
            flat = "Y" if checked.ndim == 1 else "Y.ravel()"
            hint = (
                f"Y holds labels; one-hot encode it: numpy.eye({K})[{flat}] for labels 0 to {K - 1}, "
                f"numpy.eye({K})[{flat} - 1] for labels 1 to {K}"
            )
        elif checked.shape == (K, m):
            hint = "Is Y transposed? It has an example per row"
        elif checked.ndim == 2 and checked.shape[1] == K:
            hint = "X and Y must have the same number of examples"
        else:
            hint = "Y has a row per example and a column per output"
        raise ShapeError(f"{function}: {shapes}. {hint}")
    if network.output == "sigmoid" and (checked.min() < -TARGET_TOLERANCE or checked.max() > 1 + TARGET_TOLERANCE):
        raise ValueError(
            f"{function}: Y must be in [0, 1] for output='sigmoid'; it reaches from {checked.min():g} to "
            f"{checked.max():g}. {shapes}. If Y holds labels, one-hot encode it; real targets take output='identity'"
        )
    if network.output == "softmax":
        off = np.abs(checked.sum(axis=1) - 1)
        if off.max() > TARGET_TOLERANCE:
            row = int(off.argmax())
            raise ValueError(
                f"{function}: each row of Y must sum to 1 for output='softmax'; row {row} sums to "
                f"{checked[row].sum():g}. {shapes}. For outputs that are independent take output='sigmoid'"
            )
    return checked


def _penalty(function: str, l2: float) -> float:
    checked = real_array(function, "l2", l2)
    if checked.ndim != 0:
        raise TypeError(f"{function}: l2 must be a number >= 0; got an array of shape {checked.shape}")
    if checked < 0:
        raise ValueError(f"{function}: l2 must be a number >= 0; got {float(checked):g}")
    return float(checked)
