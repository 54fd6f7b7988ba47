"""`gradcheck`: the gradient of a function held against derivatives taken from its values alone.

A derivative is taken along a direction: first a random one through all entries, which nothing wrong escapes, then along
one entry after the other. Along each, the complex step is tried, then the five-point stencil in float64 and in
longdouble, until one agrees with the gradient; what none confirms is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy import ndarray

from ..backward import grad
from ..html import preformatted
from ..randomness import Seed, as_generator
from ..rules import Array
from ..tensor import Tensor
from .point import Direction, Function, Name, Point, Unusable, read, signed
from .stencil import Estimate, differentiate

__all__ = ["Entry", "GradcheckError", "GradcheckReport", "gradcheck"]

SEVERITY: Final = ("right", "precision", "kink", "wrong")


class GradcheckError(AssertionError):
    """A gradient is not what the values of its function say; `.report` has the details."""

    def __init__(self, report: GradcheckReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Entry:
    """One derivative, taken twice.

    Attributes
    ----------
    input : int or str
        Which input: its position, or its key.
    index : tuple of int
        Which element of it.
    output : tuple of int or None
        Which element of the result; None if that is one number, or was contracted with a random cotangent.
    analytic, numerical : float
        By backpropagation, and from values of the function.
    error : float >= 0
        Their difference relative to the larger one, that one raised where rounding blurs both; right up to the
        tolerance.
    bound : float >= 0
        On the error of `numerical`, absolute.
    verdict : {'right', 'precision', 'kink', 'wrong'}
    hint : str
        What may be the matter.
    """

    input: Name
    index: tuple[int, ...]
    output: tuple[int, ...] | None
    analytic: float
    numerical: float
    error: float
    bound: float
    verdict: str
    hint: str

    def __str__(self) -> str:
        of = "" if self.output is None else f", output element {list(self.output)}"
        pair = f"analytic {self.analytic:.12g}, numerical {self.numerical:.12g}"
        return f"input {self.input!r}, element {list(self.index)}{of}: {pair}"


@dataclass(frozen=True)
class GradcheckReport:
    """What `gradcheck` found; true when the gradient is right.

    Attributes
    ----------
    verdict : {'right', 'wrong', 'kink', 'precision'}
        'kink': the derivatives from the two sides differ, or one is infinite, and there is nothing to compare with.
        'precision': the values of the function are too coarse to tell.
    worst : Entry or None
        The largest difference, of the gravest verdict; None if nothing could be compared.
    message : str
        In words.
    checked : int
        Elements of inputs that were looked at one by one.
    methods : tuple of str
        How the numerical derivatives were taken.
    order : {1, 2}
        Order of the derivative that this is about.
    tolerance : float
        Relative difference that counts as equal.
    """

    verdict: str
    worst: Entry | None
    message: str
    checked: int
    methods: tuple[str, ...]
    order: int
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.verdict == "right"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [f"gradcheck: {self.verdict}{' in second order' if self.order == 2 else ''}: {self.message}"]
        if self.worst is not None:
            lines.append(f"  {self.worst}")
            by = " and ".join(self.methods)
            lines.append(f"  elements checked: {self.checked}, by {by}; tolerance: {self.tolerance:.1e}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return preformatted(str(self))


def gradcheck(
    f: Function,
    inputs: Array | Iterable[Array] | Mapping[str, Array],
    *,
    second_order: bool = False,
    tolerance: float | None = None,
    max_elements: int = 100,
    rng: Seed = 0,
    raise_exception: bool = True,
) -> GradcheckReport:
    """Compare the gradient of a function with derivatives computed from its values.

    Parameters
    ----------
    f : callable
        Takes Tensors and returns one, of any shape. If it takes no arguments, `inputs` are the leaves that it uses:
        ``gradcheck(lambda: cost(model(X), Y), model.parameters())``.
    inputs : array_like, or several in a list, tuple or other iterable, or a mapping
        Floating-point numbers: arrays, Tensors, Parameters. A mapping is passed by keyword. None is written to; leaves
        that `f` uses are afterwards what they were, to the last bit, `.grad` included.
    second_order : bool
        Check the derivatives of ``<gradient, v>``, with a random `v`, in the same way.
    tolerance : float > 0, optional
        Relative difference that counts as equal; by default the square root of the machine precision, which is 1.5e-8
        in float64 and 3.5e-4 in float32. Where the values of `f` are too coarse to tell, an absolute one.
    max_elements : int >= 1
        How many elements are looked at one by one, those of all inputs together. The others are looked at all at
        once, and if that fails it is found out which one it is.
    rng : Generator or int
        Draws the directions, the cotangents and the elements.
    raise_exception : bool
        Raise if the gradient is not right.

    Returns
    -------
    GradcheckReport
        Counts as true when the gradient is right.

    Raises
    ------
    GradcheckError
        If it is not, unless `raise_exception` is false; an `AssertionError`, the report is its `.report`.
    TypeError
        If inputs are no floating-point numbers, or `f` returns no floating-point Tensor.
    ValueError
        If there are no inputs, one is not finite or given twice, or `tolerance` or `max_elements` is not positive.

    References
    ----------
    Squire & Trapp, *Using complex variables to estimate derivatives of real functions*, SIAM Review 40 (1998) 110.

    Examples
    --------
    >>> bool(gradcheck(lambda x, y: np.exp(x) * y, [np.ones(3), np.ones((2, 3))], second_order=True))
    True
    >>> print(gradcheck(np.abs, [0.0], raise_exception=False))
    gradcheck: kink: the derivative is -1 from the left and 1 from the right; move the input off the kink
      input 0, element []: analytic 0, numerical 0
      elements checked: 1, by five-point stencil; tolerance: 1.5e-08
    """
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"gradcheck: tolerance is {tolerance!r}, wanted a number > 0")
    if max_elements < 1:
        raise ValueError(f"gradcheck: max_elements is {max_elements!r}, wanted at least 1")
    values, call = read(f, inputs)
    generator = as_generator(rng)
    report = _checked(call, values, 1, tolerance, max_elements, generator)
    if report and second_order:
        slope = _Slope(call, values, generator)
        report = _checked(slope, values, 2, tolerance, max_elements, generator, slope.height)
    if raise_exception and not report:
        raise GradcheckError(report)
    return report


class _Slope:
    """``<grad <f, ct>, v>``, with random `ct` and `v`: the function whose gradient is of second order."""

    def __init__(self, f: Function, values: dict[Name, ndarray], rng: np.random.Generator) -> None:
        out = f(*(Tensor(x, requires_grad=True) for x in values.values()))
        self.f, self.height = f, float(np.abs(out._value).max(initial=0))
        self.ct, self.v = signed(rng, out.shape), [signed(rng, x.shape) for x in values.values()]

    def __call__(self, *leaves: Tensor) -> Tensor:
        out = self.f(*leaves)
        slope = Tensor(0.0)
        if out._node is not None:
            for g, v in zip(grad(out, leaves, self.ct, create_graph=True, allow_unused=True), self.v, strict=True):
                slope = slope if g is None else slope + (g * v).sum()
        return slope


def _checked(
    f: Function,
    values: dict[Name, ndarray],
    order: int,
    tolerance: float | None,
    max_elements: int,
    rng: np.random.Generator,
    height: float = 0.0,
) -> GradcheckReport:
    """Look along all entries at once, then one by one, then for the one that the sample has missed."""
    try:
        judge = _Judge(Point(f, values, rng, height), tolerance)
    except Unusable as trouble:
        return GradcheckReport(trouble.verdict, None, str(trouble), 0, (), order, tolerance or 0.0)
    count = len(judge.point.x)
    if not count:
        return GradcheckReport("right", None, "the inputs are empty", 0, (), order, judge.tolerance)
    whole = Direction(np.arange(count), signed(rng, (count,)) * judge.scale)
    everywhere = judge.entry(whole, judge.estimates(whole)[-1])
    judge.complex_step = everywhere.verdict == "right" and judge.agrees_with_complex_step(whole)
    sample = np.sort(rng.permutation(count)[:max_elements])
    worst = max((judge(_single(int(i))) for i in sample), key=_gravity)
    if worst.verdict == "right" and everywhere.verdict != "right" and len(sample) < count:
        worst = _found(judge, whole) or worst
    message = worst.hint
    if worst.verdict == "right":
        message = f"the largest relative difference is {worst.error:.1e}"
    return GradcheckReport(
        worst.verdict, worst, message, len(sample), tuple(sorted(judge.methods)), order, judge.tolerance
    )


def _single(entry: int) -> Direction:
    return Direction(np.array([entry]), np.ones(1))


def _gravity(entry: Entry) -> tuple[int, float]:
    return SEVERITY.index(entry.verdict), entry.error


def _found(judge: _Judge, direction: Direction) -> Entry | None:
    """The entry that makes a direction fail, by halving it, the gravest half first; None if no single one does."""
    pending = [direction]
    while pending:
        entries, far = pending.pop()
        if len(entries) == 1:
            return judge(_single(int(entries[0])))
        middle = len(entries) // 2
        halves = [Direction(entries[part], far[part]) for part in (slice(middle), slice(middle, None))]
        judged = sorted(((judge(half), half) for half in halves), key=lambda pair: _gravity(pair[0]))
        pending += [half for entry, half in judged if entry.verdict != "right"]
    return None


class _Judge:
    """Takes derivatives of a function along directions and says which of the four verdicts they get."""

    def __init__(self, point: Point, tolerance: float | None) -> None:
        self.point = point
        self.tolerance = point.eps**0.5 if tolerance is None else tolerance
        self.complex_step = False
        self.methods: set[str] = set()
        sizes = np.abs(point.x.astype(float))
        typical = np.concatenate([np.full(x.size, np.abs(x).mean() if x.size else 0) for x in point.inputs.values()])
        self.scale = np.maximum(sizes, 0.01 * typical)  # over which the function may change as a whole
        self.scale[self.scale == 0] = 1.0

    def __call__(self, direction: Direction) -> Entry:
        """The worst of the derivatives along a direction, one for each cotangent."""
        if self.complex_step:
            slopes = self.point.complex_step(direction)
            if slopes is not None:
                self.methods.add("complex step")
                nowhere = np.zeros(len(slopes), dtype=bool)
                entry = self.entry(
                    direction, Estimate(slopes, self.point.eps * np.abs(slopes), nowhere, slopes, slopes)
                )
                if entry.verdict == "right":
                    return entry
        return self.entry(direction, self.estimates(direction)[-1])

    def estimates(self, direction: Direction) -> list[Estimate]:
        """The five-point stencil in each precision, until one confirms the gradient."""
        self.methods.add("five-point stencil")
        analytic, size, rounding = self._analytic(direction)
        found = []
        for mode in self.point.modes:
            single = len(direction.entries) == 1
            estimate = differentiate(
                lambda t: self.point.values(mode.dtype, direction, t),  # noqa: B023  # called at once
                scale=float(self.scale[direction.entries[0]]) if single else 1.0,
                nearest=float(np.abs(self.point.x[direction.entries[0]])) if single else 0.0,
                eps=mode.eps,
                noise=mode.noise,
                enough=self.tolerance / 10 * size,
            )
            found.append(estimate)
            free = rounding + np.minimum(self.tolerance * size, estimate.error)
            if (self._excess(analytic, estimate.value, free) == 0).all() and not estimate.kink.any():
                break
        return found

    def agrees_with_complex_step(self, direction: Direction) -> bool:
        """Whether the complex step gives what the gradient does: a function may drop imaginary parts silently."""
        slopes = self.point.complex_step(direction)
        analytic, _, rounding = self._analytic(direction)
        return slopes is not None and bool((self._excess(analytic, slopes, rounding) == 0).all())

    def _analytic(self, direction: Direction) -> tuple[ndarray, float, float]:
        """The derivatives by backpropagation; the largest ones, which they may be small beside; their rounding.

        A small derivative may be a difference of large ones, and then its last digits are none.
        """
        entries, far = direction
        with np.errstate(all="ignore"):
            steps = self.point.gradient[:, entries] * far
            sizes = np.abs(self.point.gradient) if len(entries) == 1 else np.linalg.norm(steps, axis=1)
            size = float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
            # Shares that cancel leave their rounding, which is that of a derivative as large as f.
            cancelled = 1e2 * self.point.eps * self.point.height * np.abs(far).max()
            rounding = 1e3 * self.point.eps * size + min(self.tolerance, float(cancelled)) + self.point.tiny
            return steps.sum(axis=1), size, rounding

    def _excess(self, a: ndarray, b: ndarray, free: ndarray | float) -> ndarray:
        """By how much two derivatives differ beyond `free` and the tolerance; NaN differs infinitely."""
        with np.errstate(all="ignore"):
            gap = np.abs(a - b) - self.tolerance * np.maximum(np.abs(a), np.abs(b)) - free
        return np.asarray(np.maximum(np.nan_to_num(gap, nan=np.inf, posinf=np.inf), 0))

    def entry(self, direction: Direction, estimate: Estimate) -> Entry:
        """The judgement on a direction, for the cotangent where it is gravest."""
        analytic, size, rounding = self._analytic(direction)
        numerical, bound, kink, left, right = estimate
        free = rounding + np.minimum(self.tolerance * max(size, 1.0), bound)
        known = np.isfinite(bound)
        excess = self._excess(analytic, numerical, free)
        grave = np.where(excess == 0, 0, 1)  # right, or out of reach
        grave[known & (excess > bound)] = 3
        grave[kink | (~known & ((np.isfinite(left) != np.isfinite(right)) | np.isinf(analytic)))] = 2
        grave[np.isnan(analytic)] = 3
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(analytic), np.abs(numerical)) + free / self.tolerance
            error = np.abs(analytic - numerical) / size
        error = np.where(excess > 0, np.nan_to_num(error, nan=np.inf), np.nan_to_num(error))
        # A derivative of one element of the result says more than one that was contracted.
        picked = np.array([where is not None for where in self.point.outputs]) & bool(grave.any())
        k = int(np.lexsort((error, picked, grave))[-1])
        first = int(direction.entries[0])
        verdict = SEVERITY[grave[k]]
        name, index = self.point.place(first)
        a, n = float(analytic[k]), float(numerical[k])
        hint = _hint(
            verdict, a, n, float(bound[k]), (float(left[k]), float(right[k])), bool(self.point.unreached[first])
        )
        return Entry(name, index, self.point.outputs[k], a, n, float(error[k]), float(bound[k]), verdict, hint)


def _hint(verdict: str, a: float, n: float, bound: float, sides: tuple[float, float], unreached: bool) -> str:
    """What may be the matter."""
    if verdict == "right":
        return ""
    if verdict == "kink":
        if np.isinf(a) or not np.isfinite(sides).all():
            return f"the gradient is {a:g}, and there is no derivative from both sides; move the input off that point"
        left, right = (side + 0.0 for side in sides)  # not -0
        return f"the derivative is {left:.6g} from the left and {right:.6g} from the right; move the input off the kink"
    if verdict == "precision":
        return f"the numerical derivative is only known to {bound:.1g}: the values of f have too few digits to tell"
    if not np.isfinite(a):
        return f"the gradient is {a:g} where the function has a derivative"
    if unreached:
        return "no gradient reached this input, and f depends on it; is there a detach(), .data or .item() on the way?"
    if n == 0 or abs(n) <= bound:
        return "the gradient is not zero, and f does not depend on this element"
    if a == 0:
        return "the gradient is zero, and f depends on this element"
    if abs(a / n + 1) < 1e-6:
        return "the sign is flipped"
    return f"the gradient is {a / n:.6g} times what the values of f say"
