"""Where in backpropagation a mistake is made: one class for each stage, which says what a mistake there gets and gives.

The table of mistakes (`mistakes`) is written in these words, and `wrong_pass` runs a pass in which some stages go
wrong. A mistake is a function from the right quantity of its stage to the wrong one, so two mistakes at once are
simply both functions in one pass.

Layers are counted from 0, and the delta of ``z[l]`` belongs to layer l.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from tinygrad_fnn.check._problem import Float, Problem

__all__ = [
    "Back",
    "Backward",
    "Change",
    "Error",
    "Examples",
    "Hidden",
    "Layout",
    "Mistake",
    "Output",
    "Previous",
    "Reading",
    "Slope",
    "Targets",
    "Terms",
    "Total",
    "changes_of",
    "every_layer",
    "hidden_layers",
    "output_layer",
]

Way = TypeVar("Way")


@dataclass(frozen=True, eq=False)
class Hidden:
    """What the derivative of a hidden layer is made from.

    Attributes
    ----------
    z, a : array, shape (m, units)
        Pre-activation and activation of the layer.
    activation : {'sigmoid', 'tanh', 'relu'}
        g, by name.
    """

    z: Float
    a: Float
    activation: str


@dataclass(frozen=True, eq=False)
class Backward:
    """What a delta goes back through.

    Attributes
    ----------
    theta : array, shape (out, in + 1)
        Weights of the layer above; its columns 1: are what the delta is multiplied with.
    data : callable
        Gives the data term of the gradient of the layer above, as this pass has it, shape (out, in + 1).
    penalty : array, shape (out, in + 1)
        Penalty term of the gradient of the layer above.
    right : callable
        Gives the right gradient of the layer above, shape (out, in + 1).
    given : array, shape (out, in + 1)
        Gradient of the layer above as the learner's code has it.
    step : float
        Learning rate, solved for.
    """

    theta: Float
    data: Callable[[], Float]
    penalty: Float
    right: Callable[[], Float]
    given: Float
    step: float


@dataclass(frozen=True, eq=False)
class Terms:
    """The gradient of a layer as its two terms.

    Attributes
    ----------
    data, penalty : array, shape (out, in + 1)
        D and P; the gradient is their sum.
    weights : array, shape (out, in + 1)
        The weights as the penalty sees them; a bias column is in them, though the penalty leaves it out.
    rate : float
        l2 / m.
    m, K : int
        Number of examples and of outputs.
    value : float
        A factor, solved for.
    """

    data: Float
    penalty: Float
    weights: Float
    rate: float
    m: int
    K: int
    value: float = 1.0

    def times(self, data: float, penalty: float = 1.0) -> Terms:
        """Each term times its factor."""
        return replace(self, data=data * self.data, penalty=penalty * self.penalty)

    def each(self, change: Callable[[Float], Float]) -> Terms:
        """Both terms changed alike."""
        return replace(self, data=change(self.data), penalty=change(self.penalty))

    def bias(self, change: Callable[[Float], Float | float]) -> Terms:
        """Both bias columns, shape (out,), changed alike."""

        def changed(term: Float) -> Float:
            term = term.copy()
            term[:, 0] = change(term[:, 0])
            return term

        return self.each(changed)

    def without(self, row: int | slice, column: int | slice) -> Terms:
        """Both terms with zeros in a part."""

        def zeroed(term: Float) -> Float:
            term = term.copy()
            term[row, column] = 0.0
            return term

        return self.each(zeroed)


def every_layer(problem: Problem) -> tuple[int, ...]:
    """All layers."""
    return tuple(range(len(problem.thetas)))


def hidden_layers(problem: Problem) -> tuple[int, ...]:
    """The layers whose delta comes from the layer above."""
    return tuple(range(len(problem.thetas) - 1))


def output_layer(problem: Problem) -> tuple[int, ...]:
    """The last layer."""
    return (len(problem.thetas) - 1,)


@dataclass(frozen=True, eq=False)
class Mistake(Generic[Way]):
    """An entry of the table.

    Attributes
    ----------
    slug : str
        Its name.
    sentence : str
        What the code does, for a student; ``{m}``, ``{K}``, ``{value:g}`` stand for numbers of the case at hand.
    remedy : str
        What it should do.
    code : str
        Two lines of NumPy that make the mistake.
    ways : mapping
        The ways to make it, functions of what the stage works with, under the words that tell them apart; an empty
        word for the usual way.
    scope : str
        Made in ``'one'`` layer, in ``'all'`` that can have it, in ``'one or all'``, or in the ``'network'`` as a whole.
    layers : callable
        The layers of a `Problem` that can have it; none where it cannot be made.
    solved : bool
        Whether a number in it (a factor, a step) has to be found.
    seen : str
        Where it was made in public.
    """

    slug: str
    sentence: str
    remedy: str
    code: str
    ways: Mapping[str, Way]
    scope: Literal["one", "all", "one or all", "network"] = "one or all"
    layers: Callable[[Problem], tuple[int, ...]] = every_layer
    solved: bool = False
    seen: str = ""

    stage: ClassVar[int]
    """Order of the stages in a pass."""
    reach: ClassVar[Literal["network", "below", "layer"]]
    """Whose gradient it spoils: everyone's, that of its layers and all below them, or that of its layers."""


class Reading(Mistake[Callable[[Float], tuple[Float, Float]]]):
    """The weights as they are read: ``theta -> theta of the pass, theta of the penalty``."""

    stage = 0
    reach = "network"


class Targets(Mistake[Callable[[Float], Float]]):
    """The targets: ``Y -> Y``; one column, if all outputs have the same, is enough."""

    stage = 1
    reach = "network"


class Output(Mistake[Callable[[Float], Float]]):
    """The activation of the last layer: ``z -> a``."""

    stage = 2
    reach = "network"


class Error(Mistake[Callable[[Float, Float], Float]]):
    """The error at the output: ``error, a -> error``."""

    stage = 3
    reach = "network"


class Back(Mistake[Callable[[Backward], Float]]):
    """The weights that a delta goes back through: ``Backward -> theta``, whose column 0 is then left out."""

    stage = 4
    reach = "below"


class Slope(Mistake[Callable[[Hidden], Float]]):
    """The factor g' of a hidden delta: ``Hidden -> array``."""

    stage = 5
    reach = "below"


class Previous(Mistake[Callable[[Hidden], Float]]):
    """What a delta is multiplied with for the gradient: ``Hidden -> array``, of the hidden layer below."""

    stage = 6
    reach = "layer"


class Examples(Mistake[Callable[[range], range]]):
    """The examples that enter the gradient: ``range -> range``."""

    stage = 7
    reach = "network"


class Total(Mistake[Callable[[Terms], Terms]]):
    """The gradient of a layer, once its terms are there: ``Terms -> Terms``."""

    stage = 8
    reach = "layer"


class Layout(Total):
    """The order of the numbers of a layer, once they are right or wrong: ``Terms -> Terms``."""

    stage = 9


class Change(NamedTuple):
    """A mistake made in one way, in some layers, with one value of its number."""

    mistake: Mistake[Any]  # Any: each stage has ways of its own type; whoever calls one has asked for the stage
    way: str
    layers: tuple[int, ...]
    value: float

    def at(self, layer: int) -> Change | None:
        """The part of it that spoils the gradient of `layer`; None if nothing does."""
        reach = self.mistake.reach
        if reach == "network":
            return self
        layers = tuple(l for l in self.layers if l == layer or (reach == "below" and l > layer))
        return self._replace(layers=layers) if layers else None

    @property
    def where(self) -> int | None:
        """The layer at fault, if it is one."""
        return self.layers[0] if len(self.layers) == 1 and self.mistake.scope != "network" else None


def changes_of(mistake: Mistake[Any], problem: Problem) -> list[Change]:  # Any: whatever its stage
    """Every way to make `mistake` in `problem`: in each layer that can have it, then in all of them."""
    layers = mistake.layers(problem)
    groups: list[tuple[int, ...]] = [(l,) for l in layers] if mistake.scope in {"one", "one or all"} else []
    if layers and (mistake.scope in {"all", "network"} or (mistake.scope == "one or all" and len(layers) > 1)):
        groups.append(layers)
    start = 0.0 if mistake.reach == "below" else 1.0  # a step of 0 and a factor of 1 leave the gradient right
    return [Change(mistake, way, group, start) for way in mistake.ways for group in groups]
