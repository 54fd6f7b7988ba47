"""The network of the course that reads handwritten digits, 400-25-10 there and any depth here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy import ndarray

from ..errors import ShapeError
from ..modes import no_grad
from ..randomness import Seed, as_generator
from ..rules import Array, plain
from ..tensor import Tensor
from .activations import Sigmoid
from .arguments import count_of, number_of
from .functional import binary_cross_entropy_with_logits
from .layers import Linear
from .module import Module
from .targets import check_labels

__all__ = ["DigitNet"]


class DigitNet(Module):
    """Affine maps with the logistic function after each, the last included; one output for each class.

    Parameters
    ----------
    inputs : int > 0
        Features of an example.
    hidden : int > 0, or sequence of them
        Units of the hidden layer, or of each hidden layer; none for logistic regression.
    outputs : int > 0
        Classes.
    rng : numpy.random.Generator, int or None
        Where the first weights come from; the package's generator by default.
    dtype : dtype
        Of the weights.

    Attributes
    ----------
    layers : list of Linear
        ``layers[l]`` maps the activations ``a[l]`` to ``z[l]``.
    activation : Sigmoid

    Raises
    ------
    TypeError, ValueError
        If a width is no positive integer.

    Notes
    -----
    Weights and biases are drawn evenly from ``+-sqrt(6) / sqrt(in + out)``, as the course's ``randInitializeWeights``.

    References
    ----------
    Equations (8), (9) and (14) of docs/backprop.md.

    Examples
    --------
    >>> net = DigitNet(rng=0)
    >>> print(net.summary())
    module      kind     parameters             count
    -------------------------------------------------
    layers.0    Linear   W (25, 400), b (25,)  10,025
    layers.1    Linear   W (10, 25), b (10,)      260
    activation  Sigmoid                             0
    -------------------------------------------------
    total                                      10,285
    >>> X, Y = np.zeros((3, 400)), np.eye(10)[:3]
    >>> J = net.cost(X, Y, l2=1.0)
    >>> J.backward()
    >>> net.layers[0].W.grad.shape
    (25, 400)
    """

    def __init__(
        self,
        inputs: int = 400,
        hidden: int | Sequence[int] = 25,
        outputs: int = 10,
        *,
        rng: Seed = None,
        dtype: Any = float,  # Any: a dtype in any of NumPy's spellings
    ) -> None:
        between = [hidden] if isinstance(hidden, int | np.integer) or not np.iterable(hidden) else list(hidden)
        widths = [count_of("DigitNet", "inputs", inputs)]
        widths += [count_of("DigitNet", "hidden", width) for width in between]
        widths += [count_of("DigitNet", "outputs", outputs)]
        generator = as_generator(rng)
        self.layers = [Linear(below, above, rng=generator, dtype=dtype) for below, above in pairwise(widths)]
        self.activation = Sigmoid()

    # --- the function -------------------------------------------------------------------------------------------

    def logits(self, X: Array) -> Tensor:
        """The pre-activations z of the last layer, shape (m, K), of examples `X`, shape (m, inputs)."""
        *hidden, last = self.layers
        a = X
        for layer in hidden:
            a = self.activation(layer(a))
        return last(a)  # type: ignore[no-any-return]  # a module gives what its forward gives

    def forward(self, X: Array) -> Tensor:
        """The probabilities of each class, shape (m, K), of examples `X`, shape (m, inputs)."""
        return self.activation(self.logits(X))  # type: ignore[no-any-return]  # as above

    def predict(self, X: Array) -> ndarray:
        """The most probable class of each example.

        Parameters
        ----------
        X : array_like or Tensor, shape (m, inputs)

        Returns
        -------
        ndarray of int, shape (m,)
            In 0 ... K - 1. By the logits, since probabilities tie at 1.0; a single output gives 1 where its probability
            is above 1/2.

        Raises
        ------
        ValueError
            If an example or a weight makes a logit that is no number.
        """
        with no_grad():
            z = self.logits(X)._read()
        if np.isnan(z).any():
            row = int(np.argwhere(np.isnan(z))[0][0])
            raise ValueError(
                f"DigitNet.predict: example {row} has a NaN as its logit; look for NaN in X and the weights"
            )
        labels: ndarray = np.argmax(z, axis=-1) if z.shape[-1] > 1 else (z[..., 0] > 0).astype(np.intp)
        return labels

    def cost(self, X: Array, Y: Array, l2: float = 0.0) -> Tensor:
        """The cost J: cross-entropy summed over classes and averaged over examples, and the penalty on the weights.

        Parameters
        ----------
        X : array_like or Tensor, shape (m, inputs)
            Examples.
        Y : array_like or Tensor, shape (m, K)
            Targets in [0, 1], one-hot for labels. A Tensor is not copied.
        l2 : float >= 0
            The course's lambda: penalty ``l2 / (2m)`` times the sum of squared weights, biases excluded.

        Returns
        -------
        Tensor, shape ()
            J.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        ValueError
            If targets are outside [0, 1], or `l2` is negative.

        References
        ----------
        Equation (14) of docs/backprop.md.
        """
        penalty = number_of("DigitNet.cost", "l2", l2, 0)
        z = self.logits(X)
        if z.ndim != 2:
            raise ShapeError(f"DigitNet.cost: X must be (m, {self.layers[0].W.shape[1]}); got {np.shape(X)}")
        J = binary_cross_entropy_with_logits(z, Y, "course")
        if penalty:
            for layer in self.layers:
                J = J + np.square(layer.W).sum() * (penalty / (2 * len(z)))
        return J

    def accuracy(self, X: Array, y: Array) -> float:
        """The share of examples that are read right.

        Parameters
        ----------
        X : array_like or Tensor, shape (m, inputs)
        y : array_like of int, shape (m,)
            Labels in 0 ... K - 1.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        ShapeError
            If there is not one label for each example, or no example.
        TypeError
            If labels are no integers.
        ValueError
            If a label is out of range.
        """
        labels, predicted = np.asarray(plain(y)), self.predict(X)
        check_labels("DigitNet.accuracy", labels, max(2, len(self.layers[-1].W)), predicted.shape)
        if not predicted.size:
            raise ShapeError(f"DigitNet.accuracy: X holds no examples; it is {np.shape(X)}")
        return float(np.mean(predicted == labels))

    # --- theta, at the border -----------------------------------------------------------------------------------

    def thetas(self) -> list[ndarray]:
        """The weights of each layer as in the course's files: shape (out, in + 1), bias column first; copies."""
        return [np.column_stack([plain(layer.b), plain(layer.W)]) for layer in self.layers]

    def load_thetas(self, thetas: Iterable[Array]) -> None:
        """Take the weights of all layers, or none and an error.

        Parameters
        ----------
        thetas : list of array_like, shape (out, in + 1)
            Bias column first; copied, and converted to the dtype of the layers.

        Raises
        ------
        ShapeError
            If their number or a shape differs.
        TypeError
            If one holds no real numbers.
        """
        arrays = _arrays("load_thetas", thetas)
        if len(arrays) != len(self.layers):
            raise ShapeError(f"load_thetas: got {len(arrays)} thetas, the network has {len(self.layers)} layers")
        for l, (theta, layer) in enumerate(zip(arrays, self.layers, strict=True)):
            outputs, inputs = layer.W.shape
            if theta.shape != (outputs, inputs + 1):
                hint = " Is the bias column missing?" if theta.shape == (outputs, inputs) else ""
                hint = " Is it transposed?" if theta.shape == (inputs + 1, outputs) else hint
                wanted = (outputs, inputs + 1)
                raise ShapeError(f"load_thetas: theta {l} has shape {theta.shape}, wanted {wanted}.{hint}")
        for theta, layer in zip(arrays, self.layers, strict=True):
            assert layer.b is not None
            layer.W.data, layer.b.data = theta[:, 1:], theta[:, 0]

    @classmethod
    def from_thetas(cls, thetas: Iterable[Array], *, dtype: Any = float) -> Self:  # Any: a dtype
        """The network with these weights.

        Parameters
        ----------
        thetas : list of array_like, shape (out, in + 1)
            Bias column first, each with a column for every row of the one before, and one more.
        dtype : dtype
            Of the weights.

        Returns
        -------
        DigitNet

        Raises
        ------
        ShapeError
            If there is none, or they do not chain.
        TypeError
            If one holds no real numbers.

        Examples
        --------
        >>> net = DigitNet.from_thetas([np.zeros((5, 4)), np.zeros((3, 6))])
        >>> net.predict(np.ones((2, 3)))
        array([0, 0])
        """
        arrays = _arrays("from_thetas", thetas)
        if not arrays:
            raise ShapeError("from_thetas: got no thetas; a network has at least one (out, in + 1)")
        for l, theta in enumerate(arrays):
            columns = str(len(arrays[l - 1]) + 1) if l else "in + 1"
            if theta.ndim != 2 or 0 in theta.shape or theta.shape[1] == 1 or (l and str(theta.shape[1]) != columns):
                raise ShapeError(
                    f"from_thetas: theta {l} has shape {theta.shape}, wanted (out, {columns}), bias column first"
                )
        widths = [len(theta) for theta in arrays]
        net = cls(arrays[0].shape[1] - 1, widths[:-1], widths[-1], rng=0, dtype=dtype)
        net.load_thetas(arrays)
        return net


def _arrays(function: str, thetas: Iterable[Array]) -> list[ndarray]:
    """`thetas` as arrays of real numbers."""
    if isinstance(thetas, ndarray | Tensor) and thetas.ndim != 3:
        raise TypeError(f"{function}: thetas must be a list of arrays; got one of shape {thetas.shape}")
    if not isinstance(thetas, Iterable) or isinstance(thetas, str | Mapping):
        raise TypeError(f"{function}: thetas must be a list of arrays; got a {type(thetas).__name__}")
    arrays = [np.asarray(plain(theta)) for theta in thetas]
    for l, theta in enumerate(arrays):
        if theta.dtype.kind not in "biuf":
            raise TypeError(f"{function}: theta {l} has dtype {theta.dtype}, wanted real numbers")
    return arrays
