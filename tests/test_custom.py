"""`custom_op`: what it makes of a user's function, and every way to get it wrong."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import inspect
import math
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, linalg, special

from tinygrad_fnn import RULES, Tensor, func, grad
from tinygrad_fnn.check import GradcheckError, gradcheck
from tinygrad_fnn.custom import custom_op
from tinygrad_fnn.errors import NoRuleError, ShapeError

POINTS = np.array([-1.5, -0.25, 0.5, 2.0])


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


@pytest.fixture(autouse=True)
def table_is_left_as_it_was() -> Any:
    gc.collect()
    before = set(RULES)
    yield
    gc.collect()
    assert set(RULES) == before


# --- what it covers ---------------------------------------------------------------------------------------------------


def test_ufunc_with_its_partial_to_second_order() -> None:
    dawson = custom_op(lambda out, x: 1 - 2 * x * out, check=(POINTS,))(special.dawsn)
    assert gradcheck(dawson, [POINTS], second_order=True)
    assert_array_equal(dawson(POINTS), special.dawsn(POINTS))
    assert type(dawson(POINTS)) is np.ndarray
    assert isinstance(dawson(Tensor(POINTS)), Tensor)
    assert_allclose(func.jvp(dawson, (POINTS,), (np.ones(4),))[1], 1 - 2 * POINTS * special.dawsn(POINTS), rtol=1e-15)


def test_ufunc_as_derivative() -> None:
    sine = custom_op(np.cos, check=(POINTS,))(np.sin)
    assert_array_equal(grad(sine(x := leaf(POINTS)).sum(), x)[0].data, np.cos(POINTS))


def test_other_calls_of_the_same_ufunc_are_not_changed() -> None:
    custom = custom_op(0)(np.sin)
    x = leaf(1.0)
    assert grad(np.sin(x), x)[0].item() == math.cos(1.0)
    assert grad(custom(x), x)[0].item() == 0.0


def test_elementwise_of_two_arguments_broadcasts() -> None:
    @custom_op(lambda y: y, lambda x: x, check=(np.ones((3, 1)), POINTS))
    def product(x: Any, y: Any) -> Any:
        return x * y

    x, y = leaf(np.ones((3, 1))), leaf(POINTS)
    assert [g.shape for g in grad(product(x, y).sum(), [x, y])] == [(3, 1), (4,)]


def test_function_by_vjps() -> None:
    @custom_op(lambda ct, b, A: -np.outer(np.linalg.solve(A.T, ct), np.linalg.solve(A, b)), None)
    def solved(A: Any, b: Any) -> Any:
        return linalg.solve(A, b)  # LAPACK on plain arrays

    A, b = np.array([[2.0, 1.0], [0.5, 3.0]]), np.array([1.0, -1.0])
    assert gradcheck(lambda A: solved(A, b), [A], second_order=True)
    with pytest.raises(NoRuleError, match=r"solved has no derivative rule for its argument b; pass t\.detach\(\)"):
        solved(A, leaf(b))
    assert not solved(A, Tensor(b)).requires_grad


def test_function_of_a_library_in_C() -> None:
    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no C library of mathematics")
    erf = ctypes.CDLL(name).erf
    erf.restype, erf.argtypes = ctypes.c_double, [ctypes.c_double]

    @custom_op(lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x), check=(POINTS,))
    def error_function(x: Any) -> Any:
        return np.array([erf(float(v)) for v in np.ravel(x)]).reshape(np.shape(x))

    x = leaf(POINTS)
    assert_allclose(error_function(x).data, special.erf(POINTS), rtol=1e-14)  # another library: an ulp or two
    assert gradcheck(error_function, [POINTS], second_order=True)


def test_linear_function_and_its_adjoint() -> None:
    norm = {"norm": "ortho"}
    dct = custom_op(lambda ct: fft.idct(np.asarray(ct), **norm), linear=True, check=(POINTS,))(
        lambda x: fft.dct(x, **norm)
    )
    value, tangent = func.jvp(dct, (POINTS,), (POINTS,))
    assert_array_equal(value, tangent)
    with pytest.raises(ValueError, match="not linear in each argument at check"):
        custom_op(lambda ct, x: 2 * ct * x, linear=True, check=(POINTS,))(lambda x: x * x)


def test_parameters_pass_through_however_they_are_given() -> None:
    @custom_op(lambda x, p, q: p * q * x ** (p - 1), check=(POINTS, 3))
    def power(x: Any, p: int = 2, *, q: float = 1.0) -> Any:
        return q * np.asarray(x) ** p

    x = leaf(POINTS)
    for call, slope in (
        (lambda: power(x), 2 * POINTS),
        (lambda: power(x, 3), 3 * POINTS**2),
        (lambda: power(x=x, p=3), 3 * POINTS**2),
        (lambda: power(x, q=5.0), 10 * POINTS),
        (lambda: power(x, p=Tensor(3)), 3 * POINTS**2),
    ):
        assert_allclose(grad(call().sum(), x)[0].data, slope, rtol=1e-15)
    assert list(inspect.signature(power).parameters) == ["x", "p", "q"]
    with pytest.raises(TypeError, match=r"power: too many positional"):
        power(x, 1, 2)
    with pytest.raises(TypeError, match=r"power: p has no derivative and requires a gradient; pass p\.detach"):
        power(x, leaf(2.0))


def test_argument_with_default_value_may_have_a_derivative() -> None:
    scaled = custom_op(lambda c: c, lambda x: x)(lambda x, c=2.0: x * c)
    x, c = leaf(3.0), leaf(5.0)
    assert grad(scaled(x), x)[0].item() == 2.0
    assert grad(scaled(x, c=c), c)[0].item() == 3.0


def test_derivative_may_keep_defaults_of_its_own_and_ask_by_keyword() -> None:
    factor = 3.0
    op = custom_op(lambda x, k=factor, *, out: k * out / x)(lambda x: x**3)
    x = leaf(2.0)
    assert grad(op(x), x)[0].item() == 12.0


def test_derivative_may_ask_for_the_shapes_itself() -> None:
    total = custom_op(lambda ct, _x, _out: np.broadcast_to(ct, _x.shape) + np.zeros(_out.shape))(lambda x: x.sum())
    x = leaf(POINTS)
    assert_array_equal(grad(total(x), x)[0].data, np.ones(4))


def test_name_and_documentation_are_those_of_the_function() -> None:
    @custom_op(1)
    def shifted(x: Any) -> Any:
        """One more."""
        return x + 1

    assert (shifted.__name__, shifted.__doc__) == ("shifted", "One more.")
    assert repr(shifted(leaf(1.0))) == f"Tensor(2., from {__name__}.shifted)"


def test_result_that_is_the_argument_is_not_shared() -> None:
    same = custom_op(1)(lambda x: x)
    x = np.ones(2)
    y = custom_op(1, 1)(lambda x, y: x)(x, leaf(np.ones(2)))
    x[:] = 7
    assert_array_equal(y.data, [1, 1])
    z = leaf([1.0])
    out = same(z)
    z.data[:] = 5
    assert out.data == [1.0]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_entry_goes_with_the_function_and_the_graph_stays() -> None:
    count = len(RULES)

    def run() -> Tensor:
        op = custom_op(lambda x: 2 * x)(lambda x: x * x)
        assert len(RULES) == count + 1
        return op(x)

    x = leaf(3.0)
    y = run()
    gc.collect()
    assert len(RULES) == count
    (slope,) = grad(y, x, create_graph=True)
    assert (slope.item(), grad(slope, x)[0].item()) == (6.0, 2.0)


def test_what_a_derivative_holds_goes_too() -> None:
    big = np.ones(1000)
    alive = weakref.ref(big)
    op = custom_op(lambda x, big=big: big * x)(lambda x: x)
    del big, op
    gc.collect()
    assert alive() is None


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("derivatives", "fun", "message"),
    [
        ((1, 1), lambda a: a, r"has 1 array argument \(a\); 2 derivatives were given; give None"),
        ((1,), lambda a, b: a, r"has 2 array arguments \(a, b\); 1 derivative was given"),
        ((), lambda a: a, r"has 1 array argument \(a\); 0 derivatives were given"),
        ((1,), np.add, r"numpy\.add has 2 array arguments \(x, y\); 1 derivative was given"),
        (
            (lambda x, alpa: x,),
            lambda x, *, alpha: x,
            r"in x asks for alpa; it may ask for ct .*, x, _x, out, _out, al",
        ),
        ((lambda y: y,), lambda x: x, r"asks for y; it may ask for"),
        ((lambda x, ct: x,), lambda x: x, "has ct in place 1; it comes first"),
        ((1,), lambda *xs: xs, "takes any number of arrays"),
        ((1,), lambda out: out, "has an argument called out, which means something else"),
        ((lambda *kept: 1,), lambda x: x, "asks for kept"),
    ],
)
def test_definition_refuses(derivatives: Any, fun: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        custom_op(*derivatives)(fun)


def test_definition_refuses_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="derivative 0 is a str"):
        custom_op("x")
    with pytest.raises(TypeError, match="got a int, wanted a function"):
        custom_op(1)(3)
    with pytest.raises(TypeError, match=r"numpy\.modf returns 2 arrays|modf returns 2 arrays"):
        custom_op(1)(np.modf)
    with pytest.raises(TypeError, match="check is a ndarray; wanted the arguments"):
        custom_op(1, check=POINTS)(lambda x: x)
    with pytest.raises(ValueError, match=r"check has 1 arguments, .* takes 2 arrays"):
        custom_op(1, 1, check=(POINTS,))(lambda x, y: x + y)


def test_check_names_the_function_and_leaves_nothing() -> None:
    count = len(RULES)
    with pytest.raises(GradcheckError, match=r"the derivative of .*product in y: the sign is flipped"):

        @custom_op(lambda y: y, lambda x: -x, check=(POINTS, POINTS + 3))
        def product(x: Any, y: Any) -> Any:
            return x * y

    assert len(RULES) == count


def test_check_finds_a_derivative_whose_own_derivative_is_lost() -> None:
    """Right in first order: what is detached shows in second order only."""
    with pytest.raises(GradcheckError, match="second order"):
        custom_op(lambda x: 2 * (x.detach() if isinstance(x, Tensor) else x), check=(POINTS,))(lambda x: x * x)


def test_check_goes_by_first_order_where_the_derivative_does_not_dispatch() -> None:
    cube = custom_op(lambda x: np.array([3 * float(v) ** 2 for v in x]), check=(POINTS,))(lambda x: x**3)
    x = leaf(POINTS)
    assert_allclose(grad(cube(x).sum(), x)[0].data, 3 * POINTS**2, rtol=1e-15)
    with pytest.raises(NoRuleError, match=r"its derivative in x does not run on Tensors.*second derivatives"):
        grad(cube(x).sum(), x, create_graph=True)


@pytest.mark.parametrize("result", [(1.0, 2.0), [1.0], None, "text"])
def test_result_must_be_one_array(result: Any) -> None:
    op = custom_op(lambda ct: ct)(lambda x: result)
    with pytest.raises(TypeError, match="an operation returns"):
        op(leaf(1.0))


@pytest.mark.parametrize(
    ("derivative", "fun", "message"),
    [
        (lambda ct: ct, np.sum, r"in a returned shape \(\); the argument has shape \(4,\), the result \(\); np\.broad"),
        (lambda ct, x: np.outer(ct, x), lambda x: x * 2, r"returned shape \(4, 4\); the argument has shape \(4,\)"),
        (lambda x: np.ones(3), lambda x: x * 2, r"returned shape \(3,\), the result has shape \(4,\)"),
        (lambda x: np.ones((4, 4)), lambda x: x * 2, r"returned shape \(4, 4\), the result"),
    ],
)
def test_shape_of_a_derivative_is_checked_in_backward(derivative: Any, fun: Any, message: str) -> None:
    op = custom_op(derivative)(fun if fun is not np.sum else lambda a: a.sum())
    y = op(leaf(POINTS))
    for create_graph in (False, True):
        with pytest.raises(ShapeError, match=message):
            func.grad(lambda x: op(x).sum())(POINTS) if create_graph else y.backward(np.ones(y.shape), True)


def test_square_matrix_does_not_hide_a_vector_cotangent() -> None:
    """The engine alone would repeat it."""
    op = custom_op(lambda ct, v: ct * v, None)(lambda W, v: W @ v)
    with pytest.raises(ShapeError, match=r"returned shape \(2,\); the argument has shape \(2, 2\)"):
        op(leaf(np.eye(2)), np.ones(2)).sum().backward()


@pytest.mark.parametrize("value", [None, "text", [None]])
def test_derivative_must_return_numbers(value: Any) -> None:
    op = custom_op(lambda ct, x: value)(lambda x: x * 2)
    with pytest.raises(TypeError, match=r"its derivative in x returned a .*; wanted an array of numbers"):
        op(leaf(POINTS)).sum().backward()


def test_partial_of_a_function_that_is_not_elementwise_is_refused_at_the_call() -> None:
    for derivative in (1, lambda x: x):
        op = custom_op(derivative)(lambda x: x.sum())
        with pytest.raises(ShapeError, match=r"x has shape \(4,\), the result \(\); a function that does not go entry"):
            op(leaf(POINTS))


def test_function_that_writes_to_its_argument_is_refused() -> None:
    def doubled(x: Any) -> Any:
        x *= 2
        return x

    x = leaf(POINTS)
    with pytest.raises(TypeError, match=r"doubled writes to an argument.*np\.array\(x\)"):
        custom_op(2)(doubled)(x)
    assert_array_equal(x.data, POINTS)
