"""Functions of functions against closed forms, the complex step, SciPy's Rosenbrock and derivatives by hand."""

import functools
import gc
import threading
import weakref
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn.errors import GraphError, ShapeError
from tinygrad_fnn.func import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from tinygrad_fnn.tensor import Tensor

# A few roundings of numbers of order one; nothing here cancels.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}

ENTRIES = st.floats(-2, 2, allow_subnormal=False)
VECTORS = hnp.arrays(float, st.integers(1, 5), elements=ENTRIES)


def complex_step(f, x, direction):
    """The derivative of `f` at `x` in a direction, to rounding: no difference is taken."""
    return np.imag(f(x + 1e-30j * direction)) / 1e-30


def complex_gradient(f, x):
    return np.array([complex_step(f, x, e) for e in np.eye(x.size)]).reshape(x.shape)


def wave(x):
    """Scalar, with a dense Hessian."""
    return np.sum(np.tanh(x) * np.exp(-0.3 * x * x)) + np.sum(x) ** 3 / 10


def spread(x):
    """Vector to matrix."""
    return np.exp(0.5 * x[:, None]) * np.tanh(x + np.sum(x * x))


def rosenbrock(x):
    """`scipy.optimize.rosen`, in operations of our table."""
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def is_plain(x):
    return type(x) is np.ndarray


# --- gradients of scalars -------------------------------------------------------------------------


@given(VECTORS)
def test_gradient_is_that_of_the_complex_step(x):
    value, slope = value_and_grad(wave)(x)
    assert_allclose(value, wave(x), **CLOSE)
    assert_allclose(slope, complex_gradient(wave, x), **CLOSE)
    assert_array_equal(grad(wave)(x), slope)


@given(hnp.arrays(float, st.integers(2, 6), elements=ENTRIES))
def test_rosenbrock_against_scipy(x):
    from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

    p = np.linspace(-1, 2, x.size)
    large = {"rtol": 1e-11, "atol": 1e-10}  # terms of order 1e3 cancel
    value, slope = value_and_grad(rosenbrock)(x)
    assert_allclose(value, rosen(x), **large)
    assert_allclose(slope, rosen_der(x), **large)
    assert_allclose(hessian(rosenbrock)(x), rosen_hess(x), **large)
    assert_allclose(hvp(rosenbrock, (x,), (p,))[0], rosen_hess_prod(x, p), **large)


@pytest.mark.parametrize("x", [0.3, -1.7, 2.5])
def test_derivatives_of_tanh_to_order_four_against_mpmath(x):
    import mpmath

    f = np.tanh
    for order in range(1, 5):
        f = grad(f)
        with mpmath.workdps(50):
            exact = float(mpmath.diff(mpmath.tanh, x, order))
        # The terms of the fourth derivative are some ten times larger than it.
        assert_allclose(f(x), exact, rtol=1e-12)


def test_python_float_in_ndarray_out():
    value, slope = value_and_grad(lambda x: x**3)(2.0)
    assert is_plain(value)
    assert is_plain(slope)
    assert value.shape == slope.shape == ()
    assert (value, slope) == (8.0, 12.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3, 2), (0,)])
def test_derivatives_have_shape_and_dtype_of_the_primal(dtype, shape):
    x = np.ones(shape, dtype)
    f = lambda x: np.sum(x * x * 0.5)
    assert (grad(f)(x).shape, grad(f)(x).dtype) == (shape, dtype)
    assert (hessian(f)(x).shape, hessian(f)(x).dtype) == (shape + shape, dtype)
    assert jvp(f, (x,), (x,))[1].dtype == dtype
    (product,) = hvp(f, (x,), (x.astype(float),))
    assert (product.shape, product.dtype) == (shape, dtype)
    assert_array_equal(product, x)


def test_mixed_dtypes_stay_apart():
    w, x = np.ones(2, np.float32), np.ones(2)
    slopes = grad(lambda w, x: np.sum(w * x), (0, 1))(w, x)
    assert [s.dtype for s in slopes] == [np.float32, np.float64]
    assert jvp(lambda w, x: w * x, (w, x), (w, x))[1].dtype == np.float64


def test_numpy_scalar_and_strided_and_read_only_arguments():
    x = np.arange(8.0)[::2]
    x.flags.writeable = False
    assert_array_equal(grad(lambda x: np.sum(x * x))(x), 2 * x)
    assert grad(lambda x: x * x)(np.float32(3)).dtype == np.float32
    assert_array_equal(grad(lambda x: np.sum(x * x))(np.asfortranarray(np.eye(3))), 2 * np.eye(3))


def test_results_own_their_memory_and_arguments_are_not_written_to():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    before = x.copy(), y.copy()
    for f in (lambda x, y: np.sum(x + y), lambda x, y: np.sum(x * y), lambda x, y: x @ y):
        slopes = grad(f, (0, 1))(x, y)
        for slope in slopes:
            slope += 100  # writable, and nobody else's
        assert not np.shares_memory(*slopes)
        assert_array_equal((x, y), before)
    value, pullback = vjp(lambda x: x, x)
    ct = np.array([5.0, 6.0])
    (back,) = pullback(ct)
    value += 1
    back += 1
    assert_array_equal(ct, [5, 6])
    assert_array_equal(x, before[0])
    assert_array_equal(pullback(ct)[0], [5, 6])


def test_later_writes_of_the_caller_do_not_reach_a_pullback():
    x, c = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    _, pullback = vjp(lambda x: x * x * c, x)
    x[:] = c[:] = 0
    assert_array_equal(pullback(np.ones(2))[0], [6, 16])


def test_update_step_keeps_an_array():
    w = np.array([1.0, 2.0])
    for _ in range(3):
        w = w - 0.5 * grad(lambda w: np.sum((w - 3) ** 2))(w)
    assert is_plain(w)
    assert_array_equal(w, [3, 3])


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "CG", "Newton-CG", "trust-ncg", "trust-exact"])
def test_scipy_optimize_finds_the_minimum(method):
    from scipy.optimize import minimize

    second = {"hess": hessian(rosenbrock)} if method == "trust-exact" else {}
    if method in ("Newton-CG", "trust-ncg"):
        second = {"hessp": lambda x, p: hvp(rosenbrock, (x,), (p,))[0]}
    found = minimize(value_and_grad(rosenbrock), np.array([-1.2, 1.0, 0.7]), jac=True, method=method, **second)
    assert found.success
    assert_allclose(found.x, 1, atol=1e-4)  # the default stopping rules leave about 1e-5


def test_scipy_least_squares_takes_the_jacobian():
    from scipy.optimize import least_squares

    t = np.linspace(0, 1, 7)
    residual = lambda p: p[0] * np.exp(p[1] * t) - 2 * np.exp(-t)
    fit = least_squares(lambda p: np.asarray(residual(p)), np.array([1.0, 0.0]), jac=jacobian(residual))
    assert_allclose(fit.x, [2, -1], rtol=1e-6)  # quadratic convergence from a zero residual, stopped at 1e-8


# --- which arguments ------------------------------------------------------------------------------


def polynomial(x, y, z=1.0, *, power=2):
    return x**power * y + z * y


def test_argnums_int_tuple_list_and_negative():
    assert grad(polynomial)(3.0, 2.0) == 12
    assert grad(polynomial, 1)(3.0, 2.0) == 10
    assert grad(polynomial, -1)(3.0, 2.0, 5.0) == 2
    assert grad(polynomial, (1, 0))(3.0, 2.0) == (10, 12)
    assert grad(polynomial, [0, -1])(3.0, 2.0) == (12, 10)
    assert grad(polynomial, (1,))(3.0, 2.0) == (10,)
    assert grad(polynomial, np.int64(1))(3.0, 2.0) == 10
    assert grad(polynomial, ())(3.0, 2.0) == ()


def test_further_arguments_and_keywords_pass_through_untouched():
    marker = object()

    def f(x, label, *, flag):
        assert label == "text"
        assert flag is marker
        return x * x

    assert grad(f)(3.0, "text", flag=marker) == 6
    assert grad(polynomial)(3.0, 2.0, power=3) == 54
    assert value_and_grad(polynomial, (0, 1))(3.0, 2.0, power=1) == (8, (2, 4))


def test_arguments_that_are_not_differentiated_are_handed_over_as_they_are():
    n, x = 3, np.arange(3)
    seen = []
    grad(lambda w, x, n: (seen.extend([x, n]), w * n)[1])(2.0, x, n)
    assert seen[0] is x
    assert seen[1] is n


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_argnums_that_do_not_fit(transform):
    name = transform.__name__
    with pytest.raises(ValueError, match=rf"{name}: argnums=2, but polynomial was given 2 positional"):
        transform(polynomial, 2)(1.0, 2.0)
    with pytest.raises(ValueError, match="given 0 positional"):
        transform(polynomial)(x=1.0, y=2.0)
    with pytest.raises(ValueError, match=r"argnums=\(0, -2\) names an argument twice"):
        transform(polynomial, (0, -2))(1.0, 2.0)
    with pytest.raises(TypeError, match=rf"{name}: argnums is a float, wanted an int or several"):
        transform(polynomial, 1.5)
    with pytest.raises(TypeError, match=rf"argnums is a ndarray.*{name}\(f\)\(x\)"):
        transform(polynomial, np.ones(2))
    with pytest.raises(TypeError, match=r"f is a Tensor, wanted a function; tinygrad_fnn.grad"):
        transform(Tensor(1.0))


def test_functions_without_a_name():
    class Cost:
        def __call__(self, x):
            return x * x

    assert grad(Cost())(3.0) == 6
    assert grad(functools.partial(polynomial, y=2.0))(3.0) == 12
    assert grad(np.tanh)(0.0) == 1
    with pytest.raises(TypeError, match="argument 0 of Cost"):
        grad(Cost())(3)
    assert grad(grad(polynomial)).__name__ == "grad(grad(polynomial))"


def test_aux_is_passed_through_as_plain_values():
    f = lambda x: (x * x, {"twice": 2 * x, "label": "a"})
    (value, aux), slope = value_and_grad(f, has_aux=True)(3.0)
    assert (value, slope, aux["label"]) == (9, 6, "a")
    assert is_plain(aux["twice"])
    assert aux["twice"] == 6
    slope, aux = grad(f, has_aux=True)(3.0)
    assert slope == 6
    assert aux["twice"] == 6
    with pytest.raises(TypeError, match=r"grad: has_aux=True, so tanh must return \(value, aux\), not a Tensor"):
        grad(np.tanh, has_aux=True)(1.0)


# --- containers -----------------------------------------------------------------------------------

Layer = namedtuple("Layer", ["W", "b"])


def network(params, x):
    for W, b in params["layers"]:
        x = np.tanh(x @ W + b)
    return np.sum(x * params["scale"])


def network_params():
    rng = np.random.default_rng(3)
    layer = lambda n, m: Layer(rng.normal(size=(n, m)), rng.normal(size=m))
    return {"layers": [layer(3, 4), layer(4, 2)], "scale": 0.7}


def test_gradient_of_a_container_has_its_structure():
    params, x = network_params(), np.array([0.2, -0.4, 1.0])
    slopes = grad(network)(params, x)
    assert list(slopes) == ["layers", "scale"]
    assert [type(layer) for layer in slopes["layers"]] == [Layer, Layer]
    assert slopes["layers"][0].W.shape == (3, 4)
    assert is_plain(slopes["scale"])

    def at(W):
        first, second = params["layers"]
        return network(params | {"layers": [first._replace(W=W), second]}, x)

    W = params["layers"][0].W
    by_step = [complex_step(at, W, e.reshape(W.shape)) for e in np.eye(W.size)]
    assert_allclose(slopes["layers"][0].W.ravel(), by_step, **CLOSE)
    hidden = np.tanh(x @ W + params["layers"][0].b)
    assert_allclose(slopes["scale"], np.sum(np.tanh(hidden @ params["layers"][1].W + params["layers"][1].b)), **CLOSE)


def test_jvp_and_hvp_of_a_container():
    params, x = network_params(), np.array([0.2, -0.4, 1.0])
    along = grad(network)(params, x)
    value, tangent = jvp(lambda p: network(p, x), (params,), (along,))
    flat = [along["layers"][0].W, along["layers"][0].b, along["layers"][1].W, along["layers"][1].b, along["scale"]]
    assert_allclose(tangent, sum(np.sum(s * s) for s in flat), **CLOSE)
    assert_allclose(value, network(params, x), **CLOSE)
    (product,) = hvp(lambda p: network(p, x), (params,), (along,))
    # The cost is linear in the scale, so that row of the Hessian is the derivative of the cost at scale one.
    unit = params | {"scale": 1.0}
    rest = grad(network)(unit, x)
    expected = sum(np.sum(r * s) for r, s in zip([*rest["layers"][0], *rest["layers"][1]], flat[:4], strict=True))
    assert_allclose(product["scale"], expected, **CLOSE)


def test_jacobian_of_containers_has_a_block_for_each_pair():
    f = lambda p, y: {"u": p["a"] * y, "v": [np.sum(p["a"]), y]}
    J = jacobian(f, (0, 1))({"a": np.array([1.0, 2.0])}, 3.0)
    assert_array_equal(J["u"][0]["a"], 3 * np.eye(2))
    assert_array_equal(J["u"][1], [1, 2])
    assert_array_equal(J["v"][0][0]["a"], [1, 1])
    assert_array_equal(J["v"][1][0]["a"], [0, 0])
    assert J["v"][1][1] == 1


def test_hessian_of_several_arguments_has_blocks():
    H = hessian(lambda x, y: np.sum(x * x) * y**3, (0, 1))(np.array([1.0, 2.0]), 2.0)
    assert_allclose(H[0][0], 16 * np.eye(2), **CLOSE)
    assert_allclose(H[0][1], 12 * 2 * np.array([1, 2.0]), **CLOSE)
    assert_allclose(H[1][0], 12 * 2 * np.array([1, 2.0]), **CLOSE)
    assert_allclose(H[1][1], 5 * 6 * 2, **CLOSE)


def test_the_function_gets_a_container_of_its_own():
    params = {"a": 1.0, "b": [2.0]}

    def f(p):
        p["b"].append(p.pop("a"))
        return p["b"][0] * p["b"][1]

    assert grad(f)(params) == {"a": 2, "b": [1]}
    assert params == {"a": 1.0, "b": [2.0]}


def test_dicts_are_matched_by_key_and_not_by_order():
    _, pullback = vjp(lambda x: {"a": x, "b": 10 * x}, 1.0)
    assert pullback({"b": 1.0, "a": 0.0}) == (10,)
    _, tangent = jvp(lambda p: p["a"] + 10 * p["b"], ({"a": 1.0, "b": 1.0},), ({"b": 1.0, "a": 0.0},))
    assert tangent == 10


def test_containers_of_another_structure_are_refused():
    _, pullback = vjp(lambda x: {"a": x, "b": [x, x]}, 1.0)
    wanted = r"vjp: the cotangent must be built like {'a': _, 'b': \[_, _\]}, not like"
    with pytest.raises(TypeError, match=wanted + " {'a': _}"):
        pullback({"a": 1.0})
    with pytest.raises(TypeError, match=wanted + " _"):
        pullback(1.0)
    with pytest.raises(ShapeError, match=r"vjp: the cotangent\['b'\]\[1\] has shape \(2,\), wanted \(\)"):
        pullback({"a": 1.0, "b": [1.0, [1.0, 2.0]]})
    with pytest.raises(TypeError, match=r"jvp: tangents must be built like \(_, _\), not like \(_\)"):
        jvp(polynomial, (1.0, 2.0), (1.0,))


def test_empty_containers():
    assert grad(lambda p: 2.0)([]) == []
    w = Tensor(2.0, requires_grad=True)
    assert value_and_grad(lambda p: w * w)([])[0].requires_grad
    assert grad(lambda p, x: x * x, (0, 1))({}, 3.0) == ({}, 6)


# --- vjp and jvp ----------------------------------------------------------------------------------


@given(VECTORS, st.data())
def test_jvp_is_the_complex_step_and_vjp_its_transpose(x, data):
    v = data.draw(hnp.arrays(float, x.shape, elements=ENTRIES))
    ct = data.draw(hnp.arrays(float, (x.size, x.size), elements=ENTRIES))
    value, tangent = jvp(spread, (x,), (v,))
    assert_allclose(value, spread(x), **CLOSE)
    large = {"rtol": 1e-11, "atol": 1e-11}  # exp(1) * 5 * 2 * 10 terms are summed in another order
    assert_allclose(tangent, complex_step(spread, x, v), **large)
    value, pullback = vjp(spread, x)
    assert_allclose(value, spread(x), **CLOSE)
    assert_allclose(np.sum(pullback(ct)[0] * v), np.sum(ct * complex_step(spread, x, v)), **large)


def test_jvp_against_central_differences():
    rng = np.random.default_rng(0)
    A, B, dA, dB = rng.normal(size=(4, 3, 3))
    f = lambda A, B: np.tanh(A @ B) + A / (2 + B * B)
    _, tangent = jvp(f, (A, B), (dA, dB))
    h = 1e-5
    numeric = (f(A + h * dA, B + h * dB) - f(A - h * dA, B - h * dB)) / (2 * h)
    assert_allclose(tangent, numeric, rtol=1e-7, atol=1e-8)  # h**2 of the formula, eps / h of rounding


def test_a_pullback_is_called_as_often_as_wanted_and_evaluates_nothing():
    calls = []

    def f(x, y):
        calls.append(1)
        return x * y, np.sum(x)

    (product, total), pullback = vjp(f, np.array([1.0, 2.0]), 3.0)
    assert_array_equal(product, [3, 6])
    assert total == 3
    for _ in range(3):
        dx, dy = pullback((np.array([1.0, 10.0]), 100.0))
        assert_array_equal(dx, [103, 130])
        assert dy == 21
    assert len(calls) == 1
    jvp(f, (np.array([1.0, 2.0]), 3.0), (np.ones(2), 1.0))
    assert len(calls) == 2


def test_one_result_returned_twice_counts_twice():
    def f(x):
        y = x * x
        return y, y, x, x

    _, pullback = vjp(f, 3.0)
    assert pullback((1.0, 10.0, 100.0, 1000.0)) == (11 * 6 + 1100,)
    assert jvp(f, (3.0,), (2.0,)) == ((9, 9, 3, 3), (12, 12, 2, 2))
    # Both cotangents of a sum are the same record, so the tangents meet in it.
    assert jvp(lambda x, y: x + y, (1.0, 2.0), (10.0, 100.0)) == (3, 110)


def test_tangents_and_cotangents_may_be_integers_and_lists():
    _, pullback = vjp(lambda x: 2 * x, np.array([1.0, 2.0]))
    assert_array_equal(pullback([1, 3])[0], [2, 6])
    assert jvp(lambda x: x * x, [3.0], [1])[1] == 6


def test_cotangents_and_tangents_that_do_not_fit():
    _, pullback = vjp(np.tanh, np.ones(3))
    with pytest.raises(ShapeError, match=r"vjp: the cotangent has shape \(\), wanted \(3,\)"):
        pullback(1.0)
    with pytest.raises(TypeError, match="vjp: the cotangent is a str"):
        pullback("abc")
    with pytest.raises(TypeError, match="complex128, wanted real"):
        pullback(np.ones(3) * 1j)
    with pytest.raises(ShapeError, match=r"jvp: tangents\[1\]\['b'\] has shape \(2,\), wanted \(3,\)"):
        jvp(lambda x, p: x * p["b"], (1.0, {"b": np.ones(3)}), (1.0, {"b": np.ones(2)}))
    with pytest.raises(ShapeError, match=r"hvp: vectors\[0\] has shape \(2,\), wanted \(3,\)"):
        hvp(wave, (np.ones(3),), (np.ones(2),))
    with pytest.raises(TypeError, match=r"jvp: primals is a ndarray, wanted a tuple of arguments: write \(x,\)"):
        jvp(np.tanh, np.ones(3), (np.ones(3),))
    with pytest.raises(TypeError, match=r"hvp: vectors is a ndarray"):
        hvp(wave, (np.ones(3),), np.ones(3))


def test_jvp_of_what_does_not_depend_on_the_argument_is_zero():
    _, tangent = jvp(lambda x: (np.ones(2, np.float32), 3, x * 1), (2.0,), (1.0,))
    assert_array_equal(tangent[0], [0, 0])
    assert [t.dtype for t in tangent] == [np.float32, np.float64, np.float64]
    assert tangent[1:] == (0, 1)


def test_jvp_at_a_branch_not_taken_is_finite():
    f = lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 0)), 2 * x)
    with np.errstate(all="ignore"):
        _, tangent = jvp(f, (np.array([0.0, 4.0]),), (np.array([1.0, 1.0]),))
    assert_array_equal(tangent, [2, 0.25])


# --- jacobian, hessian, hvp -----------------------------------------------------------------------


@given(VECTORS)
def test_jacobian_of_a_matrix_valued_function(x):
    J = jacobian(spread)(x)
    assert J.shape == (x.size, x.size, x.size)
    columns = np.stack([complex_step(spread, x, e) for e in np.eye(x.size)], axis=-1)
    assert_allclose(J, columns, rtol=1e-11, atol=1e-11)  # as for the jvp


def test_jacobian_shapes():
    X = np.arange(6.0).reshape(2, 3)
    J = jacobian(lambda X: X.T @ X)(X)
    assert J.shape == (3, 3, 2, 3)
    by_hand = np.einsum("ac,jb->abjc", np.eye(3), X) + np.einsum("bc,ja->abjc", np.eye(3), X)
    assert_array_equal(J, by_hand)
    assert jacobian(lambda x: x * np.ones(4))(2.0).shape == (4,)
    assert jacobian(np.sum)(X).shape == (2, 3)
    assert jacobian(lambda x: x[:0])(np.ones(3, np.float32)).shape == (0, 3)
    assert jacobian(lambda x: x[:0])(np.ones(3, np.float32)).dtype == np.float32
    assert_array_equal(jacobian(lambda x: np.ones(2))(np.ones(3)), np.zeros((2, 3)))


@given(VECTORS, st.data())
def test_hessian_is_the_jacobian_of_the_gradient_and_hvp_its_product(x, data):
    v = data.draw(hnp.arrays(float, x.shape, elements=ENTRIES))
    H = hessian(wave)(x)
    assert_allclose(H, H.T, **CLOSE)
    # The gradient by hand, through the complex step.
    by_hand = lambda x: np.exp(-0.3 * x * x) * (1 - np.tanh(x) ** 2 - 0.6 * x * np.tanh(x)) + 0.3 * np.sum(x) ** 2
    columns = np.stack([complex_step(by_hand, x, e) for e in np.eye(x.size)], axis=-1)
    assert_allclose(H, columns, rtol=1e-11, atol=1e-12)  # 1 - tanh**2 of the formula by hand loses two digits at 2
    assert_allclose(jacobian(grad(wave))(x), H, **CLOSE)
    assert_allclose(hvp(wave, (x,), (v,))[0], columns @ v, rtol=1e-11, atol=1e-11)


def test_hvp_of_several_arguments():
    f = lambda x, y: np.sum(x * x) * y**3
    px, py = hvp(f, (np.array([1.0, 2.0]), 2.0), (np.array([1.0, -1.0]), 0.5))
    assert_allclose(px, 16 * np.array([1, -1]) + 24 * np.array([1, 2]) * 0.5, **CLOSE)
    assert_allclose(py, 24 * (1 - 2) + 60 * 0.5, **CLOSE)


def test_hvp_evaluates_once_and_a_pullback_of_the_gradient_serves_many_vectors():
    calls = []

    def f(x):
        calls.append(1)
        return rosenbrock(x)

    from scipy.optimize import rosen_hess

    x = np.array([0.5, -1.0, 2.0])
    hvp(f, (x,), (np.ones(3),))
    assert len(calls) == 1
    _, pullback = vjp(grad(f), x)
    rows = [pullback(e)[0] for e in np.eye(3)]
    assert len(calls) == 2
    assert_allclose(rows, rosen_hess(x), rtol=1e-12)  # entries of one sign, nothing cancels


def test_hvp_of_a_linear_function_is_zero():
    assert_array_equal(hvp(np.sum, (np.ones(3),), (np.ones(3),))[0], np.zeros(3))
    assert_array_equal(hessian(np.sum)(np.ones(3)), np.zeros((3, 3)))


# --- nesting --------------------------------------------------------------------------------------


def test_outer_variable_seen_by_the_inner_function():
    assert grad(lambda x: grad(lambda y: x * y)(2.0))(3.0) == 1
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1  # the classic test of perturbation confusion
    assert grad(lambda x: grad(lambda y: x * x * y**3)(2.0))(3.0) == 2 * 3 * 3 * 4


def test_inner_result_is_tracked_only_where_it_depends_on_something_outside():
    kinds = []

    def f(x):
        kinds.append([grad(lambda y: x * y)(2.0), grad(lambda y: y * y)(2.0)])
        kinds.append([grad(np.square)(x), grad(np.square)(x.detach())])
        return x * x

    assert grad(f)(3.0) == 6
    assert [isinstance(k, Tensor) and k.requires_grad for pair in kinds for k in pair] == [True, False, True, False]
    assert is_plain(kinds[0][1])
    assert is_plain(kinds[1][1])


@given(ENTRIES, ENTRIES)
def test_nested_gradient_by_hand(x, y):
    inner = lambda x: grad(lambda y: np.exp(x * y) + y * y * x)(y)  # x exp(xy) + 2 x y
    assert_allclose(grad(inner)(x), np.exp(x * y) * (1 + x * y) + 2 * y, rtol=1e-12, atol=1e-13)
    assert_allclose(grad(grad(inner))(x), np.exp(x * y) * (2 * y + x * y * y), rtol=1e-12, atol=1e-13)


def test_one_variable_as_inner_argument_and_in_the_inner_closure():
    # d/dy (x y**2) at y = x is 2 x**2, of which the derivative is 4 x: both roles of x count, and only once.
    assert grad(lambda x: grad(lambda y: x * y * y)(x))(3.0) == 12
    assert grad(lambda x: grad(lambda a, b: a * b * b, 1)(x, x))(3.0) == 12
    assert grad(lambda x: sum(grad(lambda a, b: a * b * b, (0, 1))(x, x)))(3.0) == 2 * 3 + 4 * 3


def test_the_same_tensor_as_two_arguments_is_two_variables():
    t = Tensor(3.0, requires_grad=True)
    first, second = grad(lambda a, b: a * b * b, (0, 1))(t, t)
    assert (first.item(), second.item()) == (9, 18)
    (first + second).backward()
    assert t.grad == 6 + 12


def test_gradient_inside_a_loss():
    # J(w) = sum (d/dx tanh(w x))**2 at x = 0 is w**2, of which the derivative is 2 w.
    penalty = lambda w: np.sum(grad(lambda x: np.sum(np.tanh(w * x)))(np.zeros(3)) ** 2)
    w = np.array([1.0, -2.0, 0.5])
    value, slope = value_and_grad(penalty)(w)
    assert_allclose(value, np.sum(w**2), **CLOSE)
    assert_allclose(slope, 2 * w, **CLOSE)
    assert is_plain(slope)


def test_gradient_of_functions_that_use_every_transform():
    x, v = 1.5, 2.0
    cube = lambda x: x**3
    assert_allclose(grad(lambda x: jvp(cube, (x,), (v,))[1])(x), v * 6 * x, **CLOSE)
    assert_allclose(grad(lambda v: jvp(cube, (x,), (v,))[1])(v), 3 * x**2, **CLOSE)
    assert_allclose(grad(lambda x: vjp(cube, x)[1](v)[0])(x), v * 6 * x, **CLOSE)
    assert_allclose(grad(lambda v: vjp(cube, x)[1](v)[0])(v), 3 * x**2, **CLOSE)
    assert_allclose(grad(lambda x: hvp(cube, (x,), (v,))[0])(x), v * 6, **CLOSE)
    assert_allclose(grad(lambda v: hvp(cube, (x,), (v,))[0])(v), 6 * x, **CLOSE)
    assert_allclose(grad(lambda x: jacobian(cube)(x))(x), 6 * x, **CLOSE)
    assert_allclose(grad(lambda x: hessian(cube)(x) ** 2)(x), 72 * x, **CLOSE)
    assert_allclose(jvp(lambda x: jvp(cube, (x,), (v,))[1], (x,), (v,))[1], v * v * 6 * x, **CLOSE)
    assert_allclose(hvp(lambda x: hvp(lambda y: y**4, (x,), (1.0,))[0], (x,), (v,))[0], 24 * v, **CLOSE)
    assert_allclose(hessian(lambda x: hessian(lambda y: x * y**3)(x))(x), 12, **CLOSE)


def test_jvp_keeps_apart_the_tangents_of_nested_calls():
    # d/dx (x * d/dy (x + y)) = 1, forward in both.
    inner = lambda x: jvp(lambda y: x + y, (1.0,), (1.0,))[1]
    assert jvp(lambda x: x * inner(x), (1.0,), (1.0,))[1] == 1


def test_values_seen_from_an_enclosing_derivative_stay_tracked():
    assert grad(lambda x: value_and_grad(lambda y: x * y)(2.0)[0])(3.0) == 2
    assert grad(lambda x: vjp(lambda y: x * y, 2.0)[0])(3.0) == 2
    assert grad(lambda x: jvp(lambda y: x * y, (2.0,), (1.0,))[0])(3.0) == 2
    assert grad(lambda x: value_and_grad(lambda y: (y * 1.0, x * y), has_aux=True)(2.0)[0][1])(3.0) == 2


def test_a_pullback_may_meet_a_tracked_cotangent_later():
    _, pullback = vjp(lambda x: x * x, 3.0)
    ct = Tensor(2.0, requires_grad=True)
    (back,) = pullback(ct)
    back.backward()
    assert back.item() == 12
    assert ct.grad == 6
    assert is_plain(pullback(2.0)[0])


def test_backward_of_a_tensor_inside_a_function_does_not_disturb():
    def f(x):
        w = Tensor(2.0, requires_grad=True)
        (w**3).backward()
        return x * x * w.grad

    assert grad(f)(3.0) == 72


# --- what a function closes over ------------------------------------------------------------------


def test_a_parameter_closed_over_stays_tracked():
    w = Tensor([1.0, 2.0], requires_grad=True)
    x = np.array([3.0, 4.0])
    saliency = grad(lambda x: np.sum((w * x) ** 2))(x)
    assert isinstance(saliency, Tensor)
    np.sum(saliency).backward()  # 2 w**2 x
    assert_array_equal(w.grad, 4 * np.array([1.0, 2.0]) * x)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: vjp(f, x)[1](np.ones(2))[0],
        lambda f, x: jvp(f, (x,), (np.ones(2),))[1],
        lambda f, x: jacobian(f)(x),
        lambda f, x: hessian(lambda x: np.sum(f(x)))(x),
        lambda f, x: hvp(lambda x: np.sum(f(x)), (x,), (np.ones(2),))[0],
    ],
)
def test_every_transform_sees_the_parameter_closed_over(transform):
    w = Tensor(2.0, requires_grad=True)
    product = transform(lambda x: x * x * w, np.array([1.0, 3.0]))
    total = np.sum(product)
    total.backward()
    assert_allclose(w.grad * 2, total.item(), **CLOSE)  # linear in w


def test_a_result_closed_over_stays_tracked():
    w = Tensor(2.0, requires_grad=True)
    h = w * w
    slope = grad(lambda x: h * x)(1.0)
    slope.backward()
    assert w.grad == 4


def test_what_is_closed_over_but_not_used_does_not_count():
    w = Tensor(2.0, requires_grad=True)

    def f(x):
        _ = w * x
        return x * x

    assert is_plain(grad(f)(1.0))
    assert is_plain(grad(lambda x: w.detach() * x)(1.0))


def test_leaves_keep_their_grad_and_their_graph():
    w = Tensor(2.0, requires_grad=True)
    h = w * w
    for _ in range(2):
        grad(lambda x: h * x * w)(1.0)
        hessian(lambda x: h * x * x)(1.0)
    assert w.grad is None
    h.backward()
    assert w.grad == 4


def test_a_tracked_argument_gives_a_tracked_result_and_another_does_not():
    t = Tensor([1.0, 2.0], requires_grad=True)
    value, slope = value_and_grad(lambda x: np.sum(x**3))(t)
    assert isinstance(value, Tensor)
    assert isinstance(slope, Tensor)
    np.sum(slope).backward()
    assert_array_equal(t.grad, [6, 12])
    assert is_plain(grad(lambda x: np.sum(x**3))(Tensor([1.0, 2.0])))


def test_unused_tracked_argument_has_a_derivative_of_zeros():
    t = Tensor([1.0, 2.0], requires_grad=True)
    used, unused = grad(lambda x, y: np.sum(x * x), (0, 1))(t, np.ones(3))
    assert_array_equal(used.detach(), [2, 4])
    assert isinstance(unused, Tensor)
    assert_array_equal(unused.detach(), np.zeros(3))


def test_a_pullback_is_not_disturbed_by_later_writes_to_handles():
    handles = []

    def f(x):
        y = x * x
        handles.append(y)
        return y

    t = Tensor([1.0, 2.0], requires_grad=True)
    value, pullback = vjp(f, t)
    handles[0][0] = 100.0
    assert_array_equal(pullback(np.ones(2))[0].detach(), [2, 4])
    assert_array_equal(value.detach(), [1, 4])


# --- modes ----------------------------------------------------------------------------------------


def test_no_grad_gives_the_derivative_as_a_plain_array():
    t = Tensor(3.0, requires_grad=True)
    f = lambda x: x * x * t
    with tg.no_grad():
        results = [grad(f)(2.0), grad(f)(t), jvp(f, (2.0,), (1.0,))[1], vjp(f, t)[1](1.0)[0], hessian(f)(2.0)]
        results += [hvp(f, (t,), (Tensor(1.0, requires_grad=True),))[0], jacobian(f)(2.0), value_and_grad(f)(t)[0]]
        assert not tg.is_grad_enabled()
    assert all(map(is_plain, results))
    assert results == [12, 18, 12, 18, 6, 6, 12, 27]


def test_no_grad_around_an_inner_gradient_makes_it_a_constant():
    def f(x):
        with tg.no_grad():
            slope = grad(np.square)(x)
        return slope * x

    assert grad(f)(3.0) == 6


def test_no_grad_inside_the_function_is_respected():
    @tg.no_grad
    def constant(x):
        return x * x

    assert grad(lambda x: constant(x) * x)(3.0) == 9
    assert grad(constant)(3.0) == 0


def test_a_failing_function_leaves_the_mode_as_it_was():
    def f(x):
        raise RuntimeError("mine")

    with tg.no_grad():
        with pytest.raises(RuntimeError, match="mine"):
            grad(f)(1.0)
        assert not tg.is_grad_enabled()


def test_threads_do_not_disturb_each_other():
    found = {}

    def work(k):
        x = np.full(3, float(k))
        found[k] = [hessian(wave)(x) for _ in range(5)][-1]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert_array_equal(found[k], hessian(wave)(np.full(3, float(k))))


# --- constants and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: 3.0,
        lambda x: 7,
        lambda x: True,
        lambda x: np.float32(1),
        lambda x: Tensor(2.0),
        lambda x: np.argmax(x),
        lambda x: np.sum(x.detach()),
        lambda x: np.sum(x > 0),
    ],
)
def test_what_does_not_depend_on_the_argument_has_derivative_zero(f):
    slope = grad(f)(np.ones(3, np.float32))
    assert_array_equal(slope, np.zeros(3))
    assert slope.dtype == np.float32
    assert is_plain(value_and_grad(f)(np.ones(3))[0])


def test_the_identity():
    assert value_and_grad(lambda x: x)(3.0) == (3, 1)
    assert_array_equal(jacobian(lambda x: x)(np.ones(2)), np.eye(2))
    assert_array_equal(jvp(lambda x: x, (np.ones(2),), (np.arange(2),))[1], [0, 1])


def cost(w, x):
    return w * x


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"argument 0 of cost is the int 3, and only floats have derivatives; write 3\.0"),
        (True, r"argument 0 of cost is the bool True, .* write 1\.0"),
        (np.arange(3), r"argument 0 of cost has dtype int64, .* write x\.astype\(float\)"),
        (np.int32(3), r"argument 0 of cost has dtype int32"),
        (Tensor([1, 2]), r"argument 0 of cost has dtype int64"),
        ({"W": [1.0, 2]}, r"argument 0\['W'\]\[1\] of cost is the int 2"),
        (1j, r"argument 0 of cost is a complex of dtype complex128; wanted a plain array of real"),
        ("text", r"argument 0 of cost is a str of dtype <U4; wanted a plain array of real floats"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), r"argument 0 of cost is a MaskedArray of dtype float64; wanted a plain"),
        (None, r"argument 0 of cost is a NoneType of dtype object"),
    ],
)
@pytest.mark.parametrize("transform", [grad, value_and_grad, jacobian, hessian])
def test_what_cannot_be_differentiated_is_refused_by_name(transform, value, message):
    with pytest.raises(TypeError, match=f"{transform.__name__}: {message}"):
        transform(cost)(value, 2.0)


def test_vjp_jvp_and_hvp_name_themselves():
    with pytest.raises(TypeError, match=r"vjp: argument 1 of cost is the int 2"):
        vjp(cost, 1.0, 2)
    with pytest.raises(TypeError, match=r"jvp: argument 1 of cost is the int 2"):
        jvp(cost, (1.0, 2), (1.0, 1.0))
    with pytest.raises(TypeError, match=r"hvp: argument 1 of cost is the int 2"):
        hvp(cost, (1.0, 2), (1.0, 1.0))


@pytest.mark.parametrize("transform", [grad, value_and_grad, hessian])
def test_more_than_one_number_has_no_gradient(transform):
    name = transform.__name__
    with pytest.raises(GraphError, match=rf"{name}: cost returned shape \(3,\).*func.jacobian.*func.vjp"):
        transform(cost)(1.0, np.ones(3))
    with pytest.raises(GraphError, match=rf"{name}: <lambda> returned a tuple, wanted one number; has_aux=True"):
        transform(lambda x: (x, x))(1.0)


def test_one_number_in_an_array_has_a_gradient():
    assert_array_equal(grad(lambda x: x[:1] * 3)(np.ones(2)), [3, 0])
    assert value_and_grad(lambda x: x[:1] * 3)(np.ones(2))[0].shape == (1,)
    assert_array_equal(hessian(lambda x: x[:1] ** 2)(np.ones(2)), [[2, 0], [0, 0]])


@pytest.mark.parametrize(
    ("value", "kind"), [("text", "str of dtype <U4"), (None, "NoneType of dtype object"), (1j, "complex")]
)
def test_what_is_no_number_cannot_be_returned(value, kind):
    for call in (grad(lambda x: value), jacobian(lambda x: [x, value]), lambda x: vjp(lambda x: value, x)):
        with pytest.raises(TypeError, match=rf"<lambda> returned a {kind}.*wanted real numbers"):
            call(1.0)


def test_an_error_of_the_function_passes_through():
    with pytest.raises(ZeroDivisionError):
        grad(lambda x: x * (1 // 0))(1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        grad(cost)(1.0, 2.0, z=3)


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed_over", [False, True])
def test_graphs_are_freed_by_reference_counting_alone(closed_over):
    w = Tensor(1.0, requires_grad=closed_over)
    alive = []

    def f(x):
        y = np.exp(x) * w
        alive.append(weakref.ref(y))
        alive.append(weakref.ref(x))
        return np.sum(y * y)

    def results():
        return sum(type(o) is tg.tensor.Node and o.rule is not None for o in gc.get_objects())

    x = np.ones(3)
    gc.collect()
    before = results()
    gc.disable()
    try:
        grad(f)(x)
        value_and_grad(f)(x)
        vjp(f, x)[1](1.0)
        jvp(f, (x,), (x,))
        jacobian(f)(x)
        hessian(f)(x)
        hvp(f, (x,), (x,))
        assert [ref() for ref in alive if ref() is not None] == []
        assert results() == before
    finally:
        gc.enable()
