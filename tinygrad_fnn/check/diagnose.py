"""Names the mistake in a gradient.

`diagnose` reads what it is given, asks the `search`, and says in words what was found. A direction is no diagnosis:
without g' the gradient of the course's debug network has cosine 0.994 with the right one, so values are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinygrad_fnn.check._problem import Problem, as_problem
from tinygrad_fnn.check.differences import affordable, central_differences
from tinygrad_fnn.check.given import Given, read_gradient
from tinygrad_fnn.check.measure import Measure
from tinygrad_fnn.check.mistakes import TABLE
from tinygrad_fnn.check.search import DIGITS, Found, Search
from tinygrad_fnn.check.stages import Change, hidden_layers
from tinygrad_fnn.check.textbook import trace_of
from tinygrad_fnn.check.wrong_pass import WrongPass
from tinygrad_fnn.html import preformatted

__all__ = ["Diagnosis", "diagnose"]


# Nearer than this to the right gradient, a gradient may be a numerical derivative that is none too exact.
NEARLY_RIGHT = 0.2


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a gradient.

    Attributes
    ----------
    name : str
        ``'correct'``, a slug of the table, two of them joined by ``+`` in alphabetical order, or ``'unknown'``.
    where : int or None
        The index into thetas of the layer at fault, if it is one.
    message : str
        The same in words.
    candidates : list of (str, float)
        What comes nearest, and its relative distance in the worst layer, 0 to 2; nearest first, at least three.
    """

    name: str
    where: int | None
    message: str
    candidates: list[tuple[str, float]]

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.name == "correct"

    def __str__(self) -> str:
        place = "" if self.where is None else f" (layer {self.where})"
        width = max(len(slug) for slug, _ in self.candidates[:3])
        nearest = [f"    {slug:<{width}}  {distance:.1e}" for slug, distance in self.candidates[:3]]
        return "\n".join([f"{self.name}{place}", f"  {self.message}", "  nearest, by relative distance:", *nearest])

    def _repr_html_(self) -> str:
        return preformatted(str(self))


@np.errstate(all="ignore")  # what a mistake lets overflow is far from the gradient, and that is all it takes
def diagnose(
    wrong: Sequence[npt.ArrayLike] | npt.ArrayLike,
    thetas: Iterable[npt.ArrayLike],
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    l2: float = 0.0,
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    reduction: str = "course",
) -> Diagnosis:
    """The mistake that was made in computing a gradient by hand.

    Parameters
    ----------
    wrong : list of L arrays, shape (out, in + 1), or array, shape (n,)
        The gradient in question; a vector is unrolled as Octave does, ``thetas[0]`` column by column first. Arrays
        that all have the transposed shape are taken too.
    thetas : list of L arrays, shape (out, in + 1)
        Weights, bias column first.
    X : array, shape (m, in)
        Examples in rows, without a column of ones.
    Y : array, shape (m, K)
        Targets.
    l2 : float >= 0
        Penalty l2/(2m) times the sum of squared weights; bias columns are exempt.
    activation : {'sigmoid', 'tanh', 'relu'}
        g of the hidden layers.
    output : {'sigmoid', 'softmax', 'identity'}
        Activation of the last layer, with its matching loss.
    reduction : {'course', 'mean'}
        Loss summed over outputs and averaged over examples, or averaged over both.

    Returns
    -------
    Diagnosis
        ``.ok``, ``.name``, ``.where``, ``.message``, ``.candidates``. Two mistakes at once are named together, or
        the answer is ``'unknown'``; the same question has the same answer.

    Raises
    ------
    ValueError
        Shapes that do not fit (`ShapeError`), no examples, NaN or infinity, an unknown keyword value.
    TypeError
        Complex, text or object data.

    Notes
    -----
    Two gradients are equal if in every layer the norm of their difference over the larger of their norms is at most
    1e-6, or 1e-5 if `wrong` is in float32.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_fnn.check import textbook
    >>> rng = np.random.default_rng(0)
    >>> thetas = [rng.normal(size=(4, 4)), rng.normal(size=(2, 5))]
    >>> X, Y = rng.normal(size=(6, 3)), np.eye(2)[[0, 1, 1, 0, 0, 1]]
    >>> gradients = textbook.gradients(thetas, X, Y).thetas
    >>> diagnose(gradients, thetas, X, Y).ok
    True
    >>> gradients[1][:, 0] *= 6
    >>> print(diagnose(gradients, thetas, X, Y))
    bias-not-over-m (layer 1)
      In layer 1: the bias column is 6 times too large: ...
      nearest, by relative distance:
        bias-not-over-m ...
    """
    problem = as_problem("diagnose", thetas, X, Y, l2, activation=activation, output=output, reduction=reduction)
    given = read_gradient(wrong, problem)
    trace = trace_of(problem)
    measure = Measure(problem, trace, given.arrays, given.width)
    search = Search(problem, WrongPass(problem, given.arrays), measure)

    right = search.right()
    differing = [l for l, distance in enumerate(right) if distance > measure.tolerance]
    singles = search.singles(solved=bool(differing))  # of a right gradient the number is what changes nothing
    explained = [single for single in singles if search.explains(single)] if differing else []
    zero = bool(differing) and not any(array.any() for array in given.arrays)
    if zero:  # no factor of the right one, and no two mistakes that happen to cancel
        explained = [single for single in explained if not any(c.mistake.solved for c in single.changes)]
    certain = any(not change.mistake.solved for single in explained for change in single.changes)
    if differing and not certain and max(right) < NEARLY_RIGHT and affordable(problem):
        numerical = [measure.to_given(l, central_differences(problem, l)) for l in differing]
        if max(numerical) <= measure.tolerance:
            differing, explained = [], []
    if differing and not explained and not given.transposed and not zero:
        explained = search.pairs(singles)
    found = min(explained, key=lambda f: f.order, default=None)

    slugs = _slugs(found, given.transposed)
    if differing and not found:
        name, message = "unknown", _ZERO if zero else _unknown(differing, max(right))
        where = differing[0] if len(differing) == 1 else None
    elif not slugs:
        name, message, where = "correct", _correct(max(right), measure.tolerance), None
    else:
        name, message, where = "+".join(slugs), _message(found, given.transposed, problem), _where(found, given)
    distance = found.distance if found else round(max(right), DIGITS)
    nearest = _nearest(singles, "transposed" if given.transposed else "correct", max(right))
    if name != "unknown":
        # what is as near but for rounding cannot be told from what is named
        others = [(slug, max(other, distance)) for slug, other in nearest if slug != name]
        nearest = [(name, distance), *others]
    return Diagnosis(name, where, message, nearest)


def _slugs(found: Found | None, transposed: bool) -> list[str]:
    slugs = {change.mistake.slug for change in found.changes} if found else set()
    return sorted(slugs | {"transposed"}) if transposed else sorted(slugs)


def _where(found: Found | None, given: Given) -> int | None:
    places = {change.where for change in found.changes} if found and not given.transposed else {None}
    return places.pop() if len(places) == 1 else None


def _nearest(singles: Sequence[Found], right: str, to_right: float) -> list[tuple[str, float]]:
    """Each slug and its distance, nearest first; `right` is the name of the right gradient.

    A mistake that changes nothing here is left out, unless there are fewer than three others.
    """
    visible = {right: round(to_right, DIGITS)}
    invisible: dict[str, float] = {}
    for found in singles:
        slugs, slug = visible if found.visible else invisible, found.changes[0].mistake.slug
        slugs[slug] = min(found.distance, slugs.get(slug, found.distance))
    for slug in [slug for slug in invisible if slug not in visible][: max(0, 3 - len(visible))]:
        visible[slug] = invisible[slug]
    return sorted(visible.items(), key=lambda item: item[1])  # stable: equal ones in the order of the table


def _correct(distance: float, tolerance: float) -> str:
    if distance > tolerance:
        return (
            "The gradient is right, but numerical: central differences with a step of 1e-4 are by this much, "
            f"{distance:.1e}, off the textbook's."
        )
    return f"The gradient is right: in no layer is its relative distance to the textbook's above {distance:.1e}."


_ZERO = "The gradient is zero in every layer. Was it returned before it was computed, or never accumulated?"


def _unknown(differing: Sequence[int], distance: float) -> str:
    return (
        f"The gradient is wrong {_place(differing)}, by a relative distance of {distance:.2g}. "
        "No mistake that is known here explains it, nor do two of them together."
    )


def _message(found: Found | None, transposed: bool, problem: Problem) -> str:
    """One or two sentences: a mistake and its remedy, or two mistakes."""
    sentences = [_sentence(change, problem) for change in found.changes] if found else []
    if transposed:
        sentences.append(TABLE["transposed"].sentence)
    if len(sentences) > 1:
        return " ".join(sentences)
    mistake = found.changes[0].mistake if found else TABLE["transposed"]
    return f"{sentences[0]} {mistake.remedy}"


def _sentence(change: Change, problem: Problem) -> str:
    mistake, value = change.mistake, change.value
    sentence = mistake.sentence.format(m=f"{problem.m:g}", K=f"{problem.K:g}", value=value, times=_times(value))
    if change.way:
        sentence = f"{sentence.removesuffix('.')} ({change.way})."
    if change.where is None and mistake.scope != "one or all":
        return sentence
    place = _place(change.layers)
    if change.where is None and change.layers == mistake.layers(problem):
        place = (
            "in every hidden layer" if change.layers == hidden_layers(problem) else "in every layer that can have it"
        )
        if len(change.layers) == len(problem.thetas):
            place = "in every layer"
    return f"{place.capitalize()}: {sentence[0].lower()}{sentence[1:]}"


def _place(layers: Sequence[int]) -> str:
    if len(layers) == 1:
        return f"in layer {layers[0]}"
    return f"in layers {', '.join(map(str, layers[:-1]))} and {layers[-1]}"


def _times(factor: float) -> str:
    """A wrong factor in words."""
    if factor > 1:
        return f"{factor:g} times too large"
    if 0 < factor < 1:
        return f"{factor:g} times the right one, {1 / factor:g} times too small"
    return f"{factor:g} times the right one"
