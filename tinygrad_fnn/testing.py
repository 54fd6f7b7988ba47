"""For the tests of users: Hypothesis strategies, `assert_grads`, and the pytest fixture `strict_graph`.

The package does not import it: Hypothesis and pytest are wanted by tests only. The fixture is there after
``pytest_plugins = ["tinygrad_fnn.testing"]`` in a test module or in the topmost conftest.py.

PYTEST_DONT_REWRITE: there are no asserts in here, and it may have been imported before pytest looks at it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import Token
from dataclasses import dataclass, replace
from itertools import pairwise
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Self
from unittest import mock

import numpy as np
from numpy import ndarray

from .backward import pull_back
from .check.numerical import GradcheckError, gradcheck
from .errors import MissingExtraError
from .gate import user_site
from .modes import MODE, Mode
from .randomness import Seed
from .rules import Array, Function, plain
from .tensor import Node, Tensor

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Graph", "NetworkProblem", "StrictGraph", "StrictGraphError", "assert_grads", "broadcastable", "graphs"]
__all__ += ["indices", "networks", "tensors"]

Shape = tuple[int, ...]


def assert_grads(
    f: Function,
    *inputs: Any,
    second_order: bool = False,
    tolerance: float | None = None,
    max_elements: int = 100,
    rng: Seed = 0,
) -> None:
    """Assert that the gradient of a function is what its values say, as `check.gradcheck` does.

    Parameters
    ----------
    f : callable
        Takes Tensors and returns one, of any shape.
    *inputs : array_like
        Its arguments, floating-point; what is not to be differentiated goes into a lambda.
    second_order, tolerance, max_elements, rng
        As for `check.gradcheck`.

    Raises
    ------
    GradcheckError
        An `AssertionError` that names the function and the worst entry.

    Examples
    --------
    >>> assert_grads(lambda x, y: np.sin(x) * y, [0.5, 1.0], 2.0, second_order=True)
    >>> assert_grads(lambda x: x * x.detach(), 3.0)
    Traceback (most recent call last):
        ...
    tinygrad_fnn.check.numerical.GradcheckError: gradcheck: wrong: <lambda>: the gradient is 0.5 times ...
      input 0, element []: analytic 3, numerical 6
      elements checked: 1, by five-point stencil; tolerance: 1.5e-08
    """
    options: dict[str, Any] = {"second_order": second_order, "tolerance": tolerance, "max_elements": max_elements}
    report = gradcheck(f, inputs, rng=rng, raise_exception=False, **options)
    if not report:
        name = getattr(f, "__name__", type(f).__name__)
        raise GradcheckError(replace(report, message=f"{name}: {report.message}"))


# --- strategies -------------------------------------------------------------------------------------------------------


def _hypothesis() -> tuple[ModuleType, ModuleType]:
    try:
        from hypothesis import strategies
        from hypothesis.extra import numpy
    except ImportError as error:
        raise MissingExtraError("strategies need hypothesis", "test") from error
    return strategies, numpy


def _numbers(dtype: np.dtype[Any], low: float = -2.0, high: float = 2.0) -> Any:
    """Numbers of moderate size, none of them subnormal."""
    st, _ = _hypothesis()
    return st.floats(low, high, width=dtype.itemsize * 8, allow_subnormal=False)


def tensors(
    shapes: Shape | SearchStrategy[Shape] | None = None,
    dtype: Any = float,
    elements: SearchStrategy[float] | None = None,
    requires_grad: bool = True,
) -> SearchStrategy[Tensor]:
    """Leaves of all shapes.

    Parameters
    ----------
    shapes : tuple of int or strategy, optional
        By default 0 to 3 axes of lengths 0 to 4.
    dtype : floating-point dtype
    elements : strategy, optional
        Of the numbers; by default from -2 to 2, none of them subnormal.
    requires_grad : bool

    Raises
    ------
    MissingExtraError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(tensors((2, 3)))
    ... def test_sum_does_not_care_for_order(t):
    ...     assert np.allclose(t.sum().item(), t.T.sum().item())
    >>> test_sum_does_not_care_for_order()
    """
    st, hnp = _hypothesis()
    kind = np.dtype(dtype)
    if shapes is None:
        shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    values = hnp.arrays(kind, shapes, elements=elements if elements is not None else _numbers(kind))
    found: SearchStrategy[Tensor] = st.builds(Tensor, values, requires_grad=st.just(requires_grad))
    return found


def broadcastable(
    shape: Shape | SearchStrategy[Shape] | None = None,
    count: int = 2,
    dtype: Any = float,
    elements: SearchStrategy[float] | None = None,
    requires_grad: bool = True,
) -> SearchStrategy[tuple[Tensor, ...]]:
    """Tensors whose shapes go together: each broadcasts to `shape`, so their result has at most that shape.

    Parameters
    ----------
    shape : tuple of int or strategy, optional
        By default as for `tensors`.
    count : int >= 1
        How many tensors.
    dtype, elements, requires_grad
        As for `tensors`.

    Raises
    ------
    MissingExtraError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(broadcastable((3, 4)))
    ... def test_sum_fits(pair):
    ...     x, y = pair
    ...     assert np.broadcast_to((x + y).detach(), (3, 4)).shape == (3, 4)
    >>> test_sum_fits()
    """
    st, hnp = _hypothesis()

    def together(draw: Callable[[Any], Any]) -> tuple[Tensor, ...]:
        if shape is None:
            whole = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        else:
            whole = shape if isinstance(shape, tuple) else draw(shape)
        found = []
        for _ in range(count):
            missing = draw(st.integers(0, len(whole)))
            part = tuple(1 if draw(st.booleans()) else n for n in whole[missing:])
            found.append(draw(tensors(part, dtype, elements, requires_grad)))
        return tuple(found)

    strategy: SearchStrategy[tuple[Tensor, ...]] = st.composite(together)()
    return strategy


def indices(shape: Shape) -> SearchStrategy[Any]:
    """Whatever NumPy takes as an index of an array of this shape, all its forms mixed.

    Integers of both signs, slices, `None`, an ellipsis, lists and arrays of integers that broadcast against each other
    (with repetitions), boolean masks of one or more axes; in a tuple or alone.

    Parameters
    ----------
    shape : tuple of int

    Raises
    ------
    MissingExtraError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(indices((3, 4)))
    ... def test_tensor_is_indexed_as_an_array(index):
    ...     x = np.arange(12.0).reshape(3, 4)
    ...     assert np.array_equal(Tensor(x)[index].numpy(), x[index])
    >>> test_tensor_is_indexed_as_an_array()
    """
    st, _ = _hypothesis()

    def integers(draw: Callable[[Any], Any], length: int, common: Shape) -> Any:
        kept = draw(st.integers(0, len(common)))
        part = tuple(n if draw(st.booleans()) else 1 for n in common[kept:])
        size = int(np.prod(part, dtype=int))
        entries = draw(st.lists(st.integers(-length, length - 1), min_size=size, max_size=size))
        array = np.array(entries, dtype=np.intp).reshape(part)
        return array.tolist() if part and size and draw(st.booleans()) else array

    def mask(draw: Callable[[Any], Any], lengths: Shape, wanted: int) -> Any:
        """As many true entries as the other arrays have in their last axis, or one."""
        size = int(np.prod(lengths, dtype=int))
        count = draw(st.sampled_from([1, wanted]))
        true = draw(st.permutations(range(size)))[: min(count, size)]
        flags = np.zeros(size, dtype=bool)
        flags[list(true)] = True
        return flags.reshape(lengths)

    def mixed(draw: Callable[[Any], Any]) -> Any:
        common = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))  # what the arrays in it broadcast to
        parts: list[Any] = []
        axis, ellipsis = 0, False
        while True:
            length = shape[axis] if axis < len(shape) else 0
            forms = ["stop", "None"] + (["ellipsis"] if not ellipsis else []) + (["slice"] if axis < len(shape) else [])
            forms += ["integer", "integers", "mask"] if length else []
            form = draw(st.sampled_from(forms))
            if form == "stop" or len(parts) > len(shape) + 2:
                break
            if form == "None":
                parts.append(None)
            elif form == "ellipsis":
                parts.append(Ellipsis)
                ellipsis = True
                axis = draw(st.integers(axis, len(shape)))
            elif form == "slice":
                parts.append(draw(st.slices(length)))
                axis += 1
            elif form == "integer":
                k = draw(st.integers(-length, length - 1))
                parts.append(np.intp(k) if draw(st.booleans()) else k)
                axis += 1
            elif form == "integers":
                parts.append(integers(draw, length, common))
                axis += 1
            else:
                ahead = draw(st.integers(1, len(shape) - axis))
                parts.append(mask(draw, shape[axis : axis + ahead], common[-1] if common else 1))
                axis += ahead
        if ellipsis:  # what stands after it counts from the end
            parts = _with_a_fitting_ellipsis(parts, shape)
        if len(parts) == 1 and draw(st.booleans()):
            return parts[0]
        return tuple(parts)

    strategy: SearchStrategy[Any] = st.composite(mixed)().filter(lambda index: _fits(index, shape))
    return strategy


def _with_a_fitting_ellipsis(parts: list[Any], shape: Shape) -> list[Any]:
    """The index without its ellipsis if that would put the parts after it at axes they were not drawn for."""
    return parts if _fits(tuple(parts), shape) else [p for p in parts if p is not Ellipsis]


def _fits(index: Any, shape: Shape) -> bool:
    try:
        np.broadcast_to(0.0, shape)[index]
    except IndexError:
        return False
    return True


# --- random programs --------------------------------------------------------------------------------------------------

# Each keeps values of moderate size moderate, so that no program overflows, and is smooth near the real axis.
OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "{0} + {1}": lambda x, y, _: x + y,
    "{0} - {1}": lambda x, y, _: x - y,
    "{0} * {1}": lambda x, y, _: x * y,
    "{extra} * {0}": lambda x, c: c * x,
    "{0} / (2.5 + np.tanh({1}))": lambda x, y, _: x / (2.5 + np.tanh(y)),
    "np.exp(-{0} * {0})": lambda x, _: np.exp(-x * x),
    "np.sin({0})": lambda x, _: np.sin(x),
    "np.tanh({0})": lambda x, _: np.tanh(x),
    "np.log(3 + {0} * {0})": lambda x, _: np.log(3 + x * x),
    "np.sqrt(1 + {0} * {0})": lambda x, _: np.sqrt(1 + x * x),
    "(2 + {0} * {0}) ** 1.5": lambda x, _: (2 + x * x) ** 1.5,
    "{0} @ {1}.T": lambda x, y, _: x @ y.T,
    "np.sum({0}, axis={extra}, keepdims=True)": lambda x, axis: np.sum(x, axis=axis, keepdims=True),
    "np.reshape({0}, (-1, {0}.shape[0]))": lambda x, _: np.reshape(x, (-1, x.shape[0])),
    "{0}.T": lambda x, _: x.T,
    "{0}[{extra}]": lambda x, rows: x[rows],
    "{0}[::-1, 1:]": lambda x, _: x[::-1, 1:],
    "np.where(np.array({extra}), {0}, {1})": lambda x, y, rows: np.where(np.array(rows), x, y),
    "np.concatenate([{0}, {1}, {0}])": lambda x, y, _: np.concatenate([x, y, x]),
}
LARGEST: Final = 60  # entries, so that every one can be looked at


@dataclass(frozen=True, repr=False, eq=False)
class Graph:
    """A random straight-line program of matrices; its repr is Python code.

    Attributes
    ----------
    inputs : tuple of ndarray
        Matrices with entries from -1 to 1, which cannot be written to.
    lines : tuple of (str, tuple of int, object)
        Each an operation of `OPERATIONS`, the values it takes by their position, and what else it takes.
    """

    inputs: tuple[ndarray, ...]
    lines: tuple[tuple[str, tuple[int, ...], Any], ...]

    def values(self, *inputs: Array) -> list[Array]:
        """All values: the inputs first, then one for each line."""
        found = list(inputs)
        for text, args, extra in self.lines:
            found.append(OPERATIONS[text](*[found[k] for k in args], extra))
        return found

    def run(self, *inputs: Array) -> Array:
        """One number, to which every second value and the last one contribute: there are many ways to it.

        Parameters
        ----------
        *inputs : array or Tensor
            As many as there are `inputs`, of their shapes; without any, `inputs` themselves.
        """
        given = inputs or self.inputs
        if len(given) != len(self.inputs):
            raise TypeError(f"Graph.run: got {len(given)} inputs, wanted {len(self.inputs)}")
        total: Array = 0.0
        values = self.values(*given)
        for weight, k in self._terms:
            total = total + weight * np.mean(values[k])
        return total

    def leaves(self) -> list[Tensor]:
        """The inputs as Tensors that require a gradient."""
        return [Tensor(x, requires_grad=True) for x in self.inputs]

    @property
    def _terms(self) -> list[tuple[float, int]]:
        first, last = len(self.inputs), len(self.inputs) + len(self.lines) - 1
        chosen = [*range(first, last, 2), last]
        return [(round(0.3 + 0.1 * n, 1), k) for n, k in enumerate(chosen)]

    def __repr__(self) -> str:
        lines = [f"v{k} = np.array({x.tolist()})" for k, x in enumerate(self.inputs)]
        for k, (text, args, extra) in enumerate(self.lines, start=len(self.inputs)):
            lines.append(f"v{k} = " + text.format(*(f"v{j}" for j in args), extra=extra))
        lines.append("out = " + " + ".join(f"{weight} * np.mean(v{k})" for weight, k in self._terms))
        return "\n".join(lines)


def graphs(min_lines: int = 1, max_lines: int = 12) -> SearchStrategy[Graph]:
    """Random programs with fan-out, broadcasting, reductions, products, indices and choices; all of them smooth.

    Parameters
    ----------
    min_lines, max_lines : int >= 1
        How many operations, at most; those whose shapes do not fit are left out.

    Raises
    ------
    MissingExtraError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=10, deadline=None)
    ... @given(graphs(max_lines=4))
    ... def test_gradient_is_right(graph):
    ...     assert_grads(graph.run, *graph.inputs)
    >>> test_gradient_is_right()
    """
    st, hnp = _hypothesis()
    unary = [text for text in OPERATIONS if "{1}" not in text]

    def programs(draw: Callable[[Any], Any]) -> Graph:
        n, m = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        shapes = draw(st.lists(st.sampled_from([(n, m), (1, m), (n, 1), (m, n)]), min_size=1, max_size=3))
        inputs = [draw(hnp.arrays(float, shape, elements=_numbers(np.dtype(float), -1, 1))) for shape in shapes]
        for x in inputs:
            x.flags.writeable = False
        values: list[Any] = list(inputs)
        lines: list[tuple[str, tuple[int, ...], Any]] = []
        for _ in range(draw(st.integers(min_lines, max_lines))):
            text = draw(st.sampled_from(list(OPERATIONS)))
            args = tuple(draw(st.integers(0, len(values) - 1)) for _ in range(1 if text in unary else 2))
            rows = values[args[0]].shape[0]
            extra: Any = None
            if text == "{extra} * {0}":
                extra = draw(st.sampled_from([2.0, -1.0, 0.5, 0.0]))
            elif "axis" in text:
                extra = draw(st.sampled_from([None, 0, 1, (0, 1)]))
            elif text == "{0}[{extra}]":
                extra = draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=4))
            elif "where" in text:
                extra = draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=1), min_size=rows, max_size=rows))
            try:
                value = OPERATIONS[text](*[values[k] for k in args], extra)
            except (ValueError, IndexError):
                continue  # shapes that do not fit
            if 0 < value.size <= LARGEST and np.abs(value).max() < 1e3:
                lines.append((text, args, extra))
                values.append(value)
        if not lines:
            lines.append(("np.tanh({0})", (0,), None))
        return Graph(tuple(inputs), tuple(lines))

    strategy: SearchStrategy[Graph] = st.composite(programs)()
    return strategy


# --- random networks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """A feed-forward network with examples, as `check.textbook` takes it.

    Attributes
    ----------
    thetas : list of L arrays, shape (out, in + 1)
        Bias column first.
    X : array, shape (m, in)
    Y : array, shape (m, K)
        Targets that suit the output.
    l2 : float >= 0
    activation : {'sigmoid', 'tanh', 'relu'}
    output : {'sigmoid', 'softmax', 'identity'}
    """

    thetas: list[ndarray]
    X: ndarray
    Y: ndarray
    l2: float
    activation: str
    output: str

    @property
    def arguments(self) -> dict[str, Any]:
        """All of it by keyword: ``textbook.gradients(**problem.arguments)``."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def networks(
    max_layers: int = 3,
    max_units: int = 4,
    max_examples: int = 4,
    activations: Sequence[str] = ("sigmoid", "tanh", "relu"),
    outputs: Sequence[str] = ("sigmoid", "softmax", "identity"),
) -> SearchStrategy[NetworkProblem]:
    """Random feed-forward problems; weights, inputs and targets of moderate size.

    Parameters
    ----------
    max_layers, max_units, max_examples : int >= 1
        Layers of weights; units of a layer, and inputs; rows of X.
    activations, outputs : sequence of str
        To choose from. A relu may be met at its kink, where its derivative is 0 by convention.

    Raises
    ------
    MissingExtraError
        If Hypothesis is not installed.

    Examples
    --------
    >>> from hypothesis import given
    >>> from tinygrad_fnn.check import textbook
    >>> @given(networks())
    ... def test_delta_has_the_shape_of_the_targets(problem):
    ...     assert textbook.gradients(**problem.arguments).deltas[-1].shape == problem.Y.shape
    >>> test_delta_has_the_shape_of_the_targets()
    """
    st, hnp = _hypothesis()

    def problems(draw: Callable[[Any], Any]) -> NetworkProblem:
        units = draw(st.lists(st.integers(1, max_units), min_size=2, max_size=max_layers + 1))
        m, K = draw(st.integers(1, max_examples)), units[-1]
        numbers = _numbers(np.dtype(float))
        thetas = [draw(hnp.arrays(float, (out, n + 1), elements=numbers)) for n, out in pairwise(units)]
        X = draw(hnp.arrays(float, (m, units[0]), elements=numbers))
        output = draw(st.sampled_from(list(outputs)))
        if output == "softmax":
            Y = np.eye(K)[draw(st.lists(st.integers(0, K - 1), min_size=m, max_size=m))]
        else:
            target = st.one_of(st.sampled_from([0.0, 1.0]), _numbers(np.dtype(float), 0, 1))
            Y = draw(hnp.arrays(float, (m, K), elements=target if output == "sigmoid" else numbers))
        l2 = draw(st.sampled_from([0.0, 1.0, 0.1, 3.0]))
        return NetworkProblem(thetas, X, Y, l2, draw(st.sampled_from(list(activations))), output)

    strategy: SearchStrategy[NetworkProblem] = st.composite(problems)()
    return strategy


# --- graphs under watch -----------------------------------------------------------------------------------------------


class StrictGraphError(AssertionError):
    """A gradient got lost or became NaN where `strict_graph` looks."""


class StrictGraph:
    """Watches what is recorded while a test runs; the fixture `strict_graph` is one.

    It raises at the user's line if a gradient that is computed holds a NaN, and if values taken out of a tracked tensor
    by `detach()` or `item()` go straight into a recorded operation. `trouble` says afterwards what was raised, even if
    it was caught, and which recorded results are still alive though the test is over.

    Notes
    -----
    What has been computed with before it comes back, such as ``2 * t.item()`` or a copy by ``t.detach().numpy()``, is
    an ordinary number, and not recognised; `assert_grads` finds that a gradient is missing there. Other threads are
    not watched for `detach()`.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> with StrictGraph() as strict:
    ...     y = x.detach() * x
    Traceback (most recent call last):
        ...
    tinygrad_fnn.testing.StrictGraphError: numpy.multiply: argument 0 was taken out of a leaf by detach(), ...
    >>> with StrictGraph() as strict, strict.allow_detach():
    ...     y = x.detach() * x
    """

    def __init__(self) -> None:
        self._entered: ExitStack | None = None
        self._start = 0

    def __enter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeError("StrictGraph: is watching already")
        self.failures: list[str] = []
        self._may_detach = self._may_nan = False
        self._arrays: dict[int, tuple[weakref.ref[ndarray], str]] = {}  # what was detached, by identity
        self._floats: dict[int, tuple[float, str]] = {}  # kept alive, so that an identity stays one
        self._allowed: list[tuple[int, int]] = []  # times between which what is recorded may stay
        self._start = _now()
        with ExitStack() as stack:
            mode = MODE.get()
            token: Token[Mode] = MODE.set(Mode(mode.record, mode.strict, mode.anomaly, mode, _Gate(self, mode.level)))
            stack.callback(MODE.reset, token)
            package = __name__.partition(".")[0]
            for name, module in list(sys.modules.items()):  # each has a name of its own for the walk
                ours = name.partition(".")[0] == package and name != __name__
                if ours and getattr(module, "pull_back", None) is pull_back:
                    stack.enter_context(mock.patch.object(module, "pull_back", self._pull_back))
            stack.enter_context(mock.patch.object(Tensor, "detach", self._watched_detach()))
            stack.enter_context(mock.patch.object(Tensor, "item", self._watched_item()))
            self._entered = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            entered.close()
        self._arrays, self._floats = {}, {}

    @contextmanager
    def allow_detach(self) -> Iterator[None]:
        """Inside it, what is detached may be used again."""
        before, self._may_detach = self._may_detach, True
        try:
            yield
        finally:
            self._may_detach = before

    @contextmanager
    def allow_nan(self) -> Iterator[None]:
        """Inside it, a gradient may be NaN."""
        before, self._may_nan = self._may_nan, True
        try:
            yield
        finally:
            self._may_nan = before

    @contextmanager
    def allow_leak(self) -> Iterator[None]:
        """What is recorded inside it may outlive the test."""
        start = _now()
        try:
            yield
        finally:
            self._allowed.append((start, _now()))

    def trouble(self) -> str:
        """What is wrong with the test that has ended, in words; nothing if all is well."""
        if self.failures:
            return "\n".join(self.failures)
        if self._left():
            gc.collect()  # what hangs in a cycle only is on its way out
        left = self._left()
        if not left:
            return ""
        latest = max(left, key=lambda node: node.time)
        count = f"{len(left)} recorded result{' is' if len(left) == 1 else 's are'}"
        return (
            f"{count} still alive after the test, with all that was kept for backward; the latest is "
            f"of {latest.name}, {_held(latest, left)}; keep t.detach() or t.item(), or let backward() free it"
        )

    def _left(self) -> list[Node]:
        found = [o for o in gc.get_objects() if type(o) is Node and o.time > self._start and o.rule and o.edges]
        return [node for node in found if not any(a < node.time < b for a, b in self._allowed)]

    def _fail(self, message: str) -> None:
        self.failures.append(f"{message} ({user_site()})")
        raise StrictGraphError(message)

    def _pull_back(self, seeds: dict[Node, Any], *args: Any, **kwargs: Any) -> list[Any]:
        found = pull_back(seeds, *args, **kwargs)
        if not self._may_nan:
            for share in found:
                if share is not None and np.isnan(plain(share)).any():
                    names = ", ".join(node.name for node in seeds)
                    self._fail(
                        f"the gradient of {names} holds a NaN, for an input of shape {share.shape}; "
                        "run it under detect_anomaly(), which names the operation"
                    )
        return found

    def _watched_detach(self) -> Function:
        original = Tensor.detach

        def detach(tensor: Tensor) -> Tensor:
            result = original(tensor)
            if tensor._node is not None and MODE.get().record:
                self._arrays[id(result._data)] = weakref.ref(result._data), _called(tensor._node)
            return result

        return detach

    def _watched_item(self) -> Function:
        original = Tensor.item

        def item(tensor: Tensor, *index: Any) -> Any:
            value = original(tensor, *index)
            if tensor._node is not None and MODE.get().record and isinstance(value, float):
                self._floats[id(value)] = value, _called(tensor._node)
            return value

        return item

    def recorded(self, node: Node, args: list[Any]) -> None:
        """Look at the arguments of an operation that the gate has recorded."""
        if self._may_detach or not (self._arrays or self._floats):
            return
        tracked = {edge[3] for edge in node.edges or ()}
        for i, value in enumerate(args):
            source = "" if i in tracked else self._source(value)
            if source:
                self._fail(
                    f"{node.name}: argument {i} was taken out of {source}, and no gradient goes back there; "
                    "if that is meant, write it under strict_graph.allow_detach()"
                )

    def _source(self, value: Any) -> str:
        if isinstance(value, ndarray):
            array = self._arrays.get(id(value))
            return f"{array[1]} by detach()" if array is not None and array[0]() is value else ""
        number = self._floats.get(id(value))
        return f"{number[1]} by item()" if number is not None else ""


class _Gate:
    """Stands where the gate reports what it records, before a level of forward mode that is there already."""

    def __init__(self, watch: StrictGraph, outer: Any) -> None:
        self.watch, self.outer = watch, outer

    def push(self, node: Node, values: list[Any], params: dict[str, Any]) -> None:
        if self.outer is not None:
            self.outer.push(node, values, params)
        self.watch.recorded(node, values[:-1])


def _now() -> int:
    """The clock that nodes carry."""
    return Node((), None, (), np.dtype(float)).time


def _called(node: Node) -> str:
    return "a leaf" if node.rule is None else f"a result of {node.name}"


def _held(node: Node, ours: list[Node]) -> str:
    """Who keeps a node alive, as far as the garbage collector knows."""
    tensors = [o for o in gc.get_referrers(node) if isinstance(o, Tensor)]
    if not tensors:
        return "held by no Tensor; a closure or a generator may hold it"
    for holder in gc.get_referrers(tensors[0]):
        if holder is tensors or isinstance(holder, FrameType):
            continue
        if isinstance(holder, dict):
            key = next((k for k, v in holder.items() if v is tensors[0]), None)
            return f"held under the name {key!r}" + (f" of {holder['__name__']}" if "__name__" in holder else "")
        if isinstance(holder, list | tuple | set):
            return f"held in a {type(holder).__name__} of {len(holder)}"
        return f"held by a {type(holder).__name__}"
    return "held by a Tensor"


try:
    import pytest
except ImportError:  # the strategies and `assert_grads` do without
    pass
else:

    @pytest.fixture(scope="session")  # one for all, entered anew by each test, so that it goes together with @given
    def strict_graph() -> StrictGraph:
        """Fails the test on a NaN gradient, a silent detach, or a recorded graph that outlives it."""
        return StrictGraph()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
        """Watch a test that asked for `strict_graph`: its body only, since fixtures may hold graphs of their own."""
        strict = getattr(item, "funcargs", {}).get("strict_graph")
        if not isinstance(strict, StrictGraph):
            return (yield)
        with strict:
            result = yield
        trouble = strict.trouble()
        if trouble:
            pytest.fail(f"strict_graph: {trouble}", pytrace=False)
        return result
