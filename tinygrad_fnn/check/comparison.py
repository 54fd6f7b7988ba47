"""`compare`: autograd, formula and numerical derivative side by side, layer by layer.

The three share no code: the engine runs the layers of `nn`, the formula is the textbook's or the learner's, and the
numerical derivative is that of a cost written out here for complex numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..backward import grad
from ..errors import ShapeError
from ..html import table
from ..modes import enable_grad
from ..nn import DigitNet, Linear, Module, ReLU, Sequential, Sigmoid, Softmax, Tanh
from ..ops.losses import bce_of_logits, cross_entropy_rows
from ..rules import plain
from ..tensor import Tensor
from . import textbook
from ._problem import Float, Problem, as_problem, real_array
from .point import in_place_of

__all__ = ["Comparison", "Row", "compare"]

STEP: Final = 1e-20  # of the complex step: nothing is subtracted, so the smaller the better
SAMPLE: Final = 48  # entries of a layer whose numerical derivative is taken; all of a small one
BIASES: Final = 8  # of them in the bias column, which a fair sample of 400 columns would hardly meet

HIDDEN: Final[dict[type[Module], str]] = {Sigmoid: "sigmoid", Tanh: "tanh", ReLU: "relu"}
LAST: Final[dict[type[Module], str]] = {Sigmoid: "sigmoid", Softmax: "softmax"}


@dataclass(frozen=True)
class Row:
    """How far apart the three derivatives of one layer are: ``||a - b|| / ||a + b||``, 0 when both are 0.

    Attributes
    ----------
    layer : int
        The index into thetas.
    autograd_formula, autograd_numerical, formula_numerical : float >= 0
        Infinite if one is minus the other. The last two are over the entries whose numerical derivative was taken.
    """

    layer: int
    autograd_formula: float
    autograd_numerical: float
    formula_numerical: float


@dataclass(frozen=True)
class Comparison:
    """The table: a `Row` for each layer, the first one first.

    Attributes
    ----------
    rows : list of Row
    """

    rows: list[Row]

    @property
    def worst(self) -> float:
        """The largest `autograd_formula`."""
        return max(row.autograd_formula for row in self.rows)

    def __str__(self) -> str:
        lines = ["layer  autograd/formula  autograd/numerical  formula/numerical"]
        for row in self.rows:
            lines.append(
                f"{row.layer:5d}  {row.autograd_formula:16.2e}  {row.autograd_numerical:18.2e}"
                f"  {row.formula_numerical:17.2e}"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ["layer", "autograd/formula", "autograd/numerical", "formula/numerical"]
        rows = [(row.layer, row.autograd_formula, row.autograd_numerical, row.formula_numerical) for row in self.rows]
        return table(head, rows, str(self))


def compare(
    model_or_thetas: Module | Iterable[npt.ArrayLike],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    l2: float = 0.0,
    *,
    activation: str | None = None,
    output: str | None = None,
    reduction: str = "course",
    formula: Callable[..., Any] = textbook.gradients,  # Any: a list of arrays, or an object with `.thetas`
) -> Comparison:
    """Hold the gradient by autograd, that by a formula and the numerical one against each other.

    Parameters
    ----------
    model_or_thetas : nn.Sequential, nn.DigitNet, or list of L arrays, shape (out, in + 1)
        A model brings its own activations: `Linear` and an activation in turn. Thetas have the bias column first.
    X : array, shape (m, in)
        Examples in rows, without a column of ones.
    Y : array, shape (m, K)
        Targets; one-hot for labels.
    l2 : float >= 0
        Penalty l2/(2m) times the sum of squared weights; bias columns are exempt.
    activation : {'sigmoid', 'tanh', 'relu'}, optional
        Of the hidden layers; the model's, or 'sigmoid'.
    output : {'sigmoid', 'softmax', 'identity'}, optional
        Of the last layer, with its matching loss; the model's, or 'sigmoid'. A model that ends in a `Linear` has
        'identity', unless this says that its results are logits.
    reduction : {'course', 'mean'}
        Loss summed over outputs and averaged over examples, or averaged over both.
    formula : callable
        ``f(thetas, X, Y, l2, activation=..., output=..., reduction=...)``, or without those keywords; returns a list of
        arrays shaped like `thetas`, or an object that has it as `.thetas`. It works on copies.

    Returns
    -------
    Comparison
        `.rows`, `.worst`; printed it is a table.

    Raises
    ------
    ShapeError
        Shapes that do not fit, labels for `Y`, a formula whose gradients have other shapes.
    ValueError
        NaN or infinity, targets out of range, a negative `l2`, an unknown keyword value, or one that the model
        contradicts.
    TypeError
        Complex, text or object data; a model that is no alternation of `Linear` and activations.
    Exception
        Whatever `formula` raises.

    Notes
    -----
    All three are computed in float64. The numerical derivative is the complex step's, ``Im J(theta + ih) / h``, which
    subtracts nothing and so is exact to rounding. Of a large layer it is taken at a fixed sample of entries.
    Agreement is below 1e-12 for the textbook's formula; a layer whose gradient all cancels has no digits to
    agree on.

    References
    ----------
    Squire & Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM Review 40 (1998) 110.

    Examples
    --------
    >>> thetas = [np.array([[0.1, -0.2, 0.3]])]
    >>> X, Y = [[1.0, 2.0], [3.0, 4.0]], [[1], [0]]
    >>> def half_too_much(thetas, X, Y, l2, **keywords):
    ...     return [1.5 * g for g in textbook.gradients(thetas, X, Y, l2, **keywords).thetas]
    >>> print(compare(thetas, X, Y, l2=1.0, formula=half_too_much))
    layer  autograd/formula  autograd/numerical  formula/numerical
        0          2.00e-01            ...e-1...           2.00e-01
    """
    if isinstance(model_or_thetas, Module):
        layers, activation, output = _of_model(model_or_thetas, activation, output)
        thetas: Iterable[npt.ArrayLike] = [np.column_stack([plain(layer.b), plain(layer.W)]) for layer in layers[::2]]
    else:
        layers, thetas = [], model_or_thetas
    given = {"activation": activation or "sigmoid", "output": output or "sigmoid", "reduction": reduction}
    problem = as_problem("compare", thetas, X, Y, l2, **given)
    by_autograd = _autograd(layers or _layers(problem), problem)
    by_formula = _by_formula(formula, problem, given)
    rows = []
    for l, (entries, numerical) in enumerate(_numerical(problem)):
        a, f = by_autograd[l], by_formula[l]
        rows.append(Row(l, _apart(a, f), _apart(a[entries], numerical), _apart(f[entries], numerical)))
    return Comparison(rows)


def _apart(a: Float, b: Float) -> float:
    """``||a - b|| / ||a + b||``, 0 when both are 0."""
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    if largest == 0:
        return 0.0
    a, b = a / largest, b / largest  # the squares of the smallest and the largest float64 are none
    sum_of_both = float(np.linalg.norm(a + b))
    return float(np.linalg.norm(a - b)) / sum_of_both if sum_of_both else np.inf


# --- autograd -------------------------------------------------------------------------------------------------------


def _of_model(model: Module, activation: str | None, output: str | None) -> tuple[list[Any], str | None, str]:
    """The layers of a model up to the last `Linear`, and the names of its activations.  Any: Linear, activation, ..."""
    layers = list(_flat(model))
    if not layers or not isinstance(layers[0], Linear):
        raise TypeError(f"compare: the model must begin with a Linear; it is {_listed(layers)}")
    for i, layer in enumerate(layers):
        last = i == len(layers) - 1
        wanted = (Linear,) if i % 2 == 0 else tuple(LAST) if last else tuple(HIDDEN)
        if not isinstance(layer, wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise TypeError(
                f"compare: layer {i} of the model is a {type(layer).__name__}, wanted {names}: the formula is that of "
                f"Linear and activation in turn, the last activation Sigmoid, Softmax or none; it is {_listed(layers)}"
            )
        if isinstance(layer, Linear) and layer.b is None:
            raise TypeError(f"compare: layer {i} of the model has no bias; the formula has one in every layer")
        if isinstance(layer, Softmax) and layer.axis not in {-1, 1}:
            raise TypeError(f"compare: layer {i} of the model is Softmax(axis={layer.axis}); the classes are axis 1")
    if len(set(map(id, layers[::2]))) < len(layers[::2]):
        raise TypeError("compare: the model uses a Linear twice; the formula has a theta for each layer")
    found = {name for layer in layers[1:-1:2] for kind, name in HIDDEN.items() if isinstance(layer, kind)}
    if len(found) > 1:
        raise TypeError(
            f"compare: the hidden layers have {' and '.join(sorted(found))}; the formula has one activation for all"
        )
    ends = [name for kind, name in LAST.items() if isinstance(layers[-1], kind)]
    for keyword, value, own in (("activation", activation, [*found]), ("output", output, ends)):
        if value is not None and own and value not in own:
            raise ValueError(f"compare: {keyword}={value!r}, but the model has {own[0]}; leave the keyword out")
    return layers[: len(layers) - len(ends)], next(iter(found), activation), (ends or [output or "identity"])[0]


def _flat(model: Module) -> Iterable[Module]:
    """The layers of a model in order, those of a Sequential inside it as well."""
    if isinstance(model, DigitNet) and (type(model).forward, type(model).logits) == (DigitNet.forward, DigitNet.logits):
        return chain.from_iterable((layer, model.activation) for layer in model.layers)
    if isinstance(model, Sequential) and type(model).forward is Sequential.forward:
        return chain.from_iterable(_flat(layer) if isinstance(layer, Sequential) else (layer,) for layer in model)
    raise TypeError(
        f"compare: the model is a {type(model).__name__}; wanted nn.Sequential or nn.DigitNet with its own forward, "
        "or thetas"
    )


def _listed(layers: Iterable[Module]) -> str:
    return ", ".join(type(layer).__name__ for layer in layers) or "empty"


def _layers(problem: Problem) -> list[Any]:
    """The network of `nn` for thetas, up to the last `Linear`.  Any: as for `_of_model`."""
    hidden = next(kind for kind, name in HIDDEN.items() if name == problem.activation)
    linears = [Linear(columns - 1, out, rng=0) for out, columns in problem.shapes]  # its values do not matter
    return list(chain.from_iterable((linear, hidden()) for linear in linears))[:-1]


def _autograd(layers: list[Any], problem: Problem) -> list[Float]:
    """dJ/dtheta by the engine: the layers run on float64 leaves in the place of their own parameters."""
    own = list(chain.from_iterable((layer.W, layer.b) for layer in layers[::2]))
    halves = chain.from_iterable((theta[:, 1:], theta[:, 0]) for theta in problem.thetas)
    leaves = [Tensor(half, requires_grad=True) for half in halves]

    def logits() -> Any:  # Any: what a module gives
        a: Any = problem.X
        for layer in layers:
            a = layer(a)
        return a

    with enable_grad():
        z = in_place_of(own, leaves, logits)
        if problem.output == "sigmoid":
            loss = bce_of_logits(z, problem.Y)
        elif problem.output == "softmax":
            loss = cross_entropy_rows(z, problem.Y)
        else:
            loss = np.square(z - problem.Y) / 2
        J = loss.sum() / problem.M
        if problem.l2:
            J = J + sum(np.square(W).sum() for W in leaves[::2]) * (problem.l2 / (2 * problem.m))
    found = [g.numpy() for g in grad(J, leaves) if g is not None]  # the cost depends on each
    return [np.column_stack([b, W]) for W, b in zip(found[::2], found[1::2], strict=True)]


# --- the formula ----------------------------------------------------------------------------------------------------


def _by_formula(formula: Callable[..., Any], problem: Problem, keywords: dict[str, str]) -> list[Float]:
    """What the formula gives, checked; it works on copies, with those of the keywords that it takes."""
    try:
        parameters = inspect.signature(formula).parameters
    except (ValueError, TypeError):  # written in C without a signature
        parameters = {}  # type: ignore[assignment]  # nothing is known of it
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        keywords = {key: value for key, value in keywords.items() if key in parameters}
    copies = [theta.copy() for theta in problem.thetas]
    result = formula(copies, problem.X.copy(), problem.Y.copy(), problem.l2, **keywords)
    result = getattr(result, "thetas", result)
    if not isinstance(result, list | tuple):
        raise TypeError(
            "compare: formula must return a list of arrays, one for each layer, or an object that has it as .thetas; "
            f"it returned a {type(result).__name__}"
        )
    if len(result) != len(problem.shapes):
        raise ShapeError(
            f"compare: formula returned {len(result)} gradients, expected {len(problem.shapes)}: one for each layer"
        )
    arrays = [real_array("compare", f"the formula's gradient of layer {l}", plain(g)) for l, g in enumerate(result)]
    for l, (array, (out, columns)) in enumerate(zip(arrays, problem.shapes, strict=True)):
        if array.shape != (out, columns):
            hint = {(out, columns - 1): ": is the bias column missing?", (columns, out): ": is it transposed?"}
            raise ShapeError(
                f"compare: the formula's gradient of layer {l} has shape {array.shape}, expected {(out, columns)}"
                f"{hint.get(array.shape, '')}"
            )
    return arrays


# --- the cost, for complex numbers ----------------------------------------------------------------------------------


def _numerical(problem: Problem) -> Iterable[tuple[tuple[npt.NDArray[np.intp], ...], Float]]:
    """For each layer a fixed sample of entries, and dJ/dtheta there by the complex step."""
    rng = np.random.default_rng(0)
    z, a = [], [problem.X]
    for theta in problem.thetas:
        z.append(a[-1] @ theta[:, 1:].T + theta[:, 0])
        a.append(ACTIVATION[problem.activation](z[-1]))
    for l, theta in enumerate(problem.thetas):
        entries = _sample(theta.shape, rng)
        slopes = np.array([_slope(problem, l, z[l], a[l], j, k) for j, k in zip(*entries, strict=True)])
        yield entries, slopes + problem.l2 / problem.m * np.where(entries[1] > 0, theta[entries], 0.0)


def _sample(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], ...]:
    size = shape[0] * shape[1]
    if size <= SAMPLE:
        return np.unravel_index(np.arange(size), shape)
    biases = np.arange(shape[0]) * shape[1]
    biases = rng.permutation(biases)[:BIASES]
    others = rng.permutation(np.setdiff1d(np.arange(size), biases))[: SAMPLE - len(biases)]
    return np.unravel_index(np.sort(np.concatenate([biases, others])), shape)


@np.errstate(all="ignore")  # exp may underflow to 0
def _slope(problem: Problem, l: int, z: Float, a: Float, j: int, k: int) -> float:
    """The derivative of the data term with respect to ``thetas[l][j, k]``, which moves column j of z[l] only."""
    moved: Any = z.astype(complex)  # Any: float64 at first, complex from here on
    moved[:, j] += 1j * STEP * (a[:, k - 1] if k else 1.0)
    for theta in problem.thetas[l + 1 :]:
        moved = ACTIVATION[problem.activation](moved) @ theta[:, 1:].T + theta[:, 0]
    return float(np.sum(LOSS[problem.output](moved, problem.Y)).imag / (STEP * problem.M))


def _sigmoid(z: Any) -> Any:  # Any, here and below: float64 or complex, and the derivatives of both must be right
    e = np.exp(-_size(z))
    return np.where(z.real >= 0, 1.0, e) / (1 + e)


def _size(z: Any) -> Any:
    """The one of z and -z that has the positive real part: |z| without the square root, which loses imaginary parts."""
    return np.where(z.real < 0, -z, z)


def _relu(z: Any) -> Any:
    return np.where(z.real > 0, z, 0)


def _bce(z: Any, y: Float) -> Any:
    """-y log a - (1 - y) log(1 - a) as (32), where nothing cancels."""
    size = _size(z)  # whose choice at 0 the two ramps must share, for the derivative there
    e = np.log1p(np.exp(-size))
    return y * ((size - z) / 2 + e) + (1 - y) * ((size + z) / 2 + e)


def _cross_entropy(z: Any, y: Float) -> Any:
    """-y log a, from the sum over all but the largest, as (34)."""
    top = np.argmax(z.real, axis=1, keepdims=True)
    shifted = z - np.take_along_axis(z, top, axis=1)
    e = np.exp(shifted)
    np.put_along_axis(e, top, 0.0, axis=1)
    return y * (np.log1p(e.sum(axis=1, keepdims=True)) - shifted)


ACTIVATION: Final[dict[str, Callable[[Any], Any]]] = {"sigmoid": _sigmoid, "tanh": np.tanh, "relu": _relu}
LOSS: Final[dict[str, Callable[[Any, Float], Any]]] = {
    "sigmoid": _bce,
    "softmax": _cross_entropy,
    "identity": lambda z, y: (z - y) ** 2 / 2,
}
