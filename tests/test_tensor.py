"""The user's handle: what it takes, what it shows, what it refuses, and that no write reaches a recorded graph."""

import array
import copy
import math
import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tinygrad_fnn import Tensor, grad, linear, no_grad, sigmoid
from tinygrad_fnn.errors import GraphError, NoRuleError, ShapeError
from tinygrad_fnn.gate import apply
from tinygrad_fnn.ops.shapes import _reshape


def leaf(values: Any, dtype: Any = float) -> Tensor:
    return Tensor(values, requires_grad=True, dtype=dtype)


# --- construction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        [[1.0], [2.0, 3.0]],
        [1.0, None],
        np.array([1.0, "a"], dtype=object),
        "3.5",
        ["1.0"],
        b"1",
        None,
        {1.0},
        {"a": 1},
        object(),
        (x for x in [1.0]),
        1j,
        [1.0, 2j],
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.array([(1, 2.0)], dtype="i4,f8"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.ma.masked_array([1.0, 2.0]),
        np.ones((1, 1)).view(np.matrix),
    ],
    ids=lambda data: type(data).__name__,
)
@pytest.mark.parametrize("dtype", [None, float])
def test_what_is_no_plain_array_of_real_numbers_is_refused(data: Any, dtype: Any) -> None:
    """Also where NumPy would convert: None to NaN, text to numbers, a masked entry to what is below the mask."""
    with pytest.raises(TypeError, match="Tensor: "):
        Tensor(data, dtype=dtype)


@pytest.mark.parametrize("dtype", [complex, object, "U3", "M8[s]"])
def test_dtype_of_no_real_number_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="Tensor: dtype="):
        Tensor([1, 2], dtype=dtype)


@pytest.mark.parametrize("data", [[1, 2], [True], 3, np.array([1], np.uint8)])
def test_integers_and_booleans_cannot_require_a_gradient(data: Any) -> None:
    with pytest.raises(TypeError, match="cannot require a gradient; write floats"):
        Tensor(data, requires_grad=True)
    assert Tensor(data, requires_grad=True, dtype=float).requires_grad
    with pytest.raises(TypeError, match="cannot require a gradient"):
        Tensor(data).requires_grad = True


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", ">f8", "<f8", "i4", ">i2", "u1", "?"])
def test_dtype_is_kept_in_the_machines_byte_order(dtype: str) -> None:
    native = np.dtype(dtype).newbyteorder("=")
    for t in (Tensor(np.ones(3, dtype)), Tensor(Tensor(np.ones(3, dtype))), Tensor([1, 1, 1], dtype=dtype)):
        assert t.dtype == native
        assert_array_equal(t.data, np.ones(3))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", ">f4", ">f8"])
def test_gradient_has_shape_and_dtype_of_its_leaf(dtype: str) -> None:
    for shape in [(), (0,), (1,), (3,), (2, 0), (2, 3)]:
        x = leaf(np.ones(shape), dtype)
        (x * np.float64(2) + np.ones((2, *shape))).sum().backward()  # float64 operands, and broadcasting
        assert type(x.grad) is ndarray
        assert x.grad.shape == shape
        assert x.grad.dtype == x.dtype == np.dtype(dtype).newbyteorder("=")
        assert_array_equal(x.grad, np.full(shape, 4.0))


def test_python_floats_are_float64_and_ints_are_ints() -> None:
    assert Tensor(1.5).dtype == np.float64
    assert Tensor([1, 2]).dtype == np.array([1, 2]).dtype
    assert Tensor(True).dtype == np.bool_


@pytest.mark.parametrize("make", [np.asarray, np.asfortranarray, lambda a: a[::-1], lambda a: a.T, Tensor])
def test_constructor_copies_its_input(make: Callable[[ndarray], Any]) -> None:
    source = np.arange(6.0).reshape(2, 3)
    given = make(source)
    t = Tensor(given)
    before = t.data.copy()
    source[...] = -1
    if isinstance(given, Tensor):
        given.data[...] = -1
    assert_array_equal(t.data, before)


def test_constructor_takes_what_is_like_an_array() -> None:
    assert_array_equal(Tensor([Tensor(1.0), 2.0]).data, [1.0, 2.0])
    assert_array_equal(Tensor(array.array("d", [1.0, 2.0])).data, [1.0, 2.0])
    assert_array_equal(Tensor(range(3)).data, [0, 1, 2])
    assert Tensor([]).shape == (0,)


def test_constructor_refuses_a_tracked_tensor_rather_than_cutting_it_off() -> None:
    t = leaf([1.0])
    for data in (t, [t, t], [t[0], 1.0], t * 2):
        with pytest.raises(TypeError, match="detach"):
            Tensor(data)


# --- attributes ---------------------------------------------------------------------------------------------------


def test_attributes_are_those_of_the_array() -> None:
    a = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    for t in (Tensor(a), leaf(a, np.float32), leaf(a, np.float32) * 1):
        for name in ("shape", "dtype", "ndim", "size", "nbytes"):
            assert getattr(t, name) == getattr(a, name), name
        assert_array_equal(t.T.data, a.T)
        assert_array_equal(t.mT.data, a.mT)
        assert len(t) == 2
        assert [row.shape for row in t] == [(3, 4)] * 2
        assert t.item(5) == 5.0
        assert [v.item() for v in t[0, 0].flat] == [0.0, 1.0, 2.0, 3.0]


def test_leaf_and_result_are_told_apart() -> None:
    x, c = leaf([1.0]), Tensor([1.0])
    assert x.is_leaf
    assert x.requires_grad
    assert not (x * 2).is_leaf
    assert (x * 2).requires_grad
    assert (c * 2).is_leaf
    assert not (c * 2).requires_grad
    assert (x * 2).detach().is_leaf
    assert not x.detach().requires_grad


def test_requires_grad_can_be_switched_on_leaves_only() -> None:
    c = Tensor([1.0, 2.0])
    assert c.requires_grad_() is c
    (c * c).sum().backward()
    assert_array_equal(c.grad, [2.0, 4.0])
    c.requires_grad = False
    assert (c * c).is_leaf
    assert c.grad is None
    with pytest.raises(GraphError, match="detach"):
        (leaf([1.0]) * 2).requires_grad_(False)


def test_ndarray_methods_run_the_rules_of_their_functions() -> None:
    a = np.array([[0.3, -1.2], [2.0, 0.7]])
    for name, args in [
        ("sum", ()),
        ("mean", (0,)),
        ("max", (1,)),
        ("min", ()),
        ("var", ()),
        ("std", (1,)),
        ("ravel", ()),
        ("flatten", ()),
        ("squeeze", ()),
        ("swapaxes", (0, 1)),
        ("reshape", (4,)),
        ("reshape", (2, 2, 1)),
        ("reshape", ((1, 4),)),
        ("transpose", ()),
        ("transpose", (1, 0)),
        ("transpose", ((1, 0),)),
        ("clip", (-1.0, 1.0)),
        ("dot", (a,)),
        ("copy", ()),
        ("astype", (np.float32,)),
    ]:
        t = leaf(a)
        out = getattr(t, name)(*args)
        assert isinstance(out, Tensor), name
        assert out.requires_grad, name
        assert_allclose(out.detach().numpy(), getattr(a, name)(*args), rtol=1e-15, err_msg=name)  # NumPy's own kernels
    for name in ("argmax", "argmin", "argsort", "any", "all", "nonzero"):
        assert_array_equal(getattr(leaf(a), name)(), getattr(a, name)())


# --- the data lend their buffer -----------------------------------------------------------------------------------


def test_data_of_a_leaf_is_written_through() -> None:
    p = leaf([1.0, 2.0])
    (p * p).sum().backward()
    p.data -= 0.5 * p.grad
    assert_array_equal(p.detach().numpy(), [0.0, 0.0])
    p.data[0] = 3.0
    p.data[...] += 1
    assert_array_equal(p.detach().numpy(), [4.0, 1.0])
    p.data = [7, 8]
    assert_array_equal(p.detach().numpy(), [7.0, 8.0])
    assert p.requires_grad
    assert p.is_leaf


def test_writes_to_data_after_forward_do_not_reach_the_graph() -> None:
    p = leaf([1.0, 2.0])
    handle = p.data
    cost = (p * p).sum()
    p.data[...] = 100.0
    cost.backward()
    assert_array_equal(p.grad, [2.0, 4.0])
    assert_array_equal(p.data, [100.0, 100.0])
    with pytest.raises(ValueError, match="read-only"):
        handle[...] = 5.0


def test_handle_to_replaced_data_is_read_only() -> None:
    p = leaf([1.0, 2.0])
    handle = p.data
    p.data = np.zeros(2)
    with pytest.raises(ValueError, match="read-only"):
        handle[0] = 1.0


def test_same_handle_serves_until_the_next_use() -> None:
    p = leaf([1.0, 2.0])
    handle = p.data
    assert p.data is handle
    handle[0] = 5.0
    assert p.item(0) == 5.0
    assert p.shape == (2,)
    assert (p * 1).item(0) == 5.0  # the use
    assert p.data is not handle


def test_assigned_data_are_copied_and_checked() -> None:
    p, source = leaf([1.0, 2.0], np.float32), np.array([3.0, 4.0])
    p.data = source
    source[...] = 9.0
    assert p.dtype == np.float32
    assert_array_equal(p.data, [3.0, 4.0])
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        p.data = np.zeros(3)
    for bad in ([1.0, None], [1j, 2j], "ab", np.ma.masked_array([1.0, 2.0])):
        with pytest.raises(TypeError):
            p.data = bad
    with pytest.raises(TypeError, match="same_kind"):
        Tensor([1, 2]).data = [0.5, 1.5]  # a cast that would lose the fractions
    assert_array_equal(p.data, [3.0, 4.0])


def test_results_hand_out_read_only_views() -> None:
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(ValueError, match="read-only"):
        y.data[0] = 5.0
    with pytest.raises(GraphError, match="set a leaf"):
        y.data = [1.0, 2.0]


def test_detached_tensor_keeps_the_values_it_was_made_of() -> None:
    p = leaf([1.0])
    p.data[0] = 2.0
    d = p.detach()
    p.data[0] = 3.0
    d.data[0] = 4.0
    assert (p.item(), d.item()) == (3.0, 4.0)


# --- no write of the caller reaches the graph -----------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda a: a, memoryview, lambda a: a.view(np.memmap), lambda a: a[:]])
def test_raw_operand_mutated_after_forward_leaves_the_gradient(wrap: Callable[[ndarray], Any]) -> None:
    x, other = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    cost = (x * wrap(other)).sum()
    other[...] = -100.0
    cost.backward()
    assert_array_equal(x.grad, [3.0, 4.0])


def test_matrix_operand_mutated_after_forward_leaves_the_gradient() -> None:
    W, X = leaf(np.ones((3, 2))), np.arange(6.0).reshape(2, 3)
    cost = (X @ W).sum()
    expected = X.sum(axis=0)[:, None] * np.ones((3, 2))
    X[...] = -1.0
    cost.backward()
    assert_array_equal(W.grad, expected)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (lambda t, ids: t[ids], [2.0, 0.0, 1.0]),
        (lambda t, ids: t[ids, None], [2.0, 0.0, 1.0]),
        (lambda t, ids: np.where(ids > 1, t, 0 * t), [0.0, 0.0, 1.0]),
    ],
)
def test_index_mutated_after_forward_leaves_the_gradient(select: Callable[..., Tensor], expected: list[float]) -> None:
    t, ids = leaf([1.0, 2.0, 3.0]), np.array([0, 0, 2])
    cost = select(t, ids).sum()
    ids[...] = 1
    cost.backward()
    assert_array_equal(t.grad, expected)


def test_mask_mutated_after_forward_leaves_the_gradient() -> None:
    for use in (lambda t, m: t[m].sum(), lambda t, m: np.where(m, t, 0).sum()):
        t, mask = leaf([1.0, 2.0, 3.0]), np.array([True, False, True])
        cost = use(t, mask)
        mask[...] = False
        cost.backward()
        assert_array_equal(t.grad, [1.0, 0.0, 1.0])
    t, mask = leaf([1.0, 2.0, 3.0]), np.array([True, False, True])
    y = t * 1
    y[mask] = 0.0
    mask[...] = True
    y.sum().backward()
    assert_array_equal(t.grad, [0.0, 1.0, 0.0])


def test_bounds_mutated_after_forward_leave_the_gradient() -> None:
    t, low = leaf([1.0, 2.0, 3.0]), np.array([2.0, 0.0, 0.0])
    cost = np.clip(t, low, 10.0).sum()
    low[...] = 9.0
    cost.backward()
    assert_array_equal(t.grad, [0.0, 1.0, 1.0])


def test_untracked_result_is_no_view_of_the_callers_array() -> None:
    source = np.arange(4.0)
    for out in (apply(_reshape, source, shape=(2, 2)), linear(source, np.eye(4)), np.where(True, source, Tensor(0.0))):
        expected = out.numpy()  # `.data` would lend, and so copy
        source[...] += 1
        assert_array_equal(out.numpy(), expected)


def test_operand_is_copied_only_when_a_rule_keeps_it() -> None:
    x = leaf(np.ones(1000))
    big = np.ones(1000)

    def kept(y: Tensor) -> list[ndarray]:
        assert y._node is not None
        return [a for edge in y._node.edges or () for a in edge[2] if isinstance(a, ndarray)]

    assert kept(x + big) == []
    (held,) = kept(x * big)
    assert not np.shares_memory(held, big)
    big.flags.writeable = False
    (held,) = kept(x * big)
    assert held is big  # read-only and the owner of its memory: nobody changes it
    (held,) = kept(x * big[:])
    assert not np.shares_memory(held, big)


def test_mutated_upstream_gradient_does_not_reach_grad() -> None:
    x, upstream = leaf([1.0, 2.0]), np.array([1.0, 10.0])
    y = x + 0
    y.backward(upstream)
    upstream[...] = -1.0
    assert_array_equal(x.grad, [1.0, 10.0])
    x.grad = upstream
    upstream[...] = 5.0
    assert_array_equal(x.grad, [-1.0, -1.0])


def test_mutated_grad_does_not_reach_a_later_backward() -> None:
    x = leaf([1.0, 2.0])
    cost = (x * x).sum()
    cost.backward(retain_graph=True)
    x.grad[...] = 0.0
    cost.backward()
    assert_array_equal(x.grad, [2.0, 4.0])


# --- conversion is refused ----------------------------------------------------------------------------------------

TRACKED = {"leaf": lambda: leaf(2.0), "result": lambda: leaf([2.0]).sum()}
CONVERSIONS: dict[str, Callable[[Tensor], Any]] = {
    "asarray": np.asarray,
    "array": np.array,
    "float": float,
    "int": int,
    "complex": complex,
    "math.exp": math.exp,
    "math.floor": math.floor,
    "index": operator.index,
    "array of two": lambda t: np.array([t, t]),
    "object array": lambda t: np.array([t, t], dtype=object),
    "fill": lambda t: np.full(3, t),
    "write into an array": lambda t: np.zeros(2).__setitem__(0, t),
    "write a slice": lambda t: np.zeros(2).__setitem__(slice(None), t),
    "augment an array": lambda t: np.zeros(2).__iadd__(t),
    "out=": lambda t: np.add(t, 1.0, out=np.zeros(())),
    "numpy": lambda t: t.numpy(),
    "tolist": lambda t: t.tolist(),
    "round": round,
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
@pytest.mark.parametrize("kind", TRACKED)
def test_conversion_of_a_tracked_tensor_is_refused(conversion: str, kind: str) -> None:
    # NumPy turns the refusal of an array's element into "setting an array element with a sequence" and chains it.
    with pytest.raises((TypeError, ValueError)) as refusal:
        CONVERSIONS[conversion](TRACKED[kind]())
    assert isinstance(refusal.value, TypeError) or isinstance(refusal.value.__cause__, TypeError)


@pytest.mark.parametrize("conversion", ["asarray", "float", "math.exp", "array of two", "numpy"])
def test_refusal_says_what_to_write_instead(conversion: str) -> None:
    with pytest.raises(TypeError, match=r"detach\(\)"):
        CONVERSIONS[conversion](leaf(2.0))
    with pytest.raises(TypeError, match=r"np\.stack"):
        np.array([leaf(1.0), leaf(2.0)])


def test_untracked_tensors_convert_freely() -> None:
    t = Tensor([1.5, 2.5])
    assert_array_equal(np.asarray(t), [1.5, 2.5])
    assert_array_equal(np.array([t, t]), [[1.5, 2.5]] * 2)
    assert math.exp(Tensor(0.0)) == 1.0
    assert int(Tensor(3)) == 3
    assert float(Tensor(2.5)) == 2.5
    assert list(range(Tensor(2))) == [0, 1]
    assert t.tolist() == [1.5, 2.5]
    target = np.zeros(2)
    target[...] = t
    target += t
    np.add(t, target, out=target)
    assert_array_equal(target, [4.5, 7.5])
    assert_array_equal(np.sinc(t), np.sinc([1.5, 2.5]))  # no rule needed
    copied = np.asarray(t)
    copied[0] = -1.0
    assert t.item(0) == 1.5


def test_function_without_a_rule_is_named() -> None:
    t = leaf([1.0])
    with pytest.raises(NoRuleError, match=r"numpy\.linalg\.eigvals.*detach"):
        np.linalg.eigvals(t)
    with pytest.raises(NoRuleError, match=r"scipy\.special\.wofz"):
        special.wofz(t)


def test_floor_division_and_remainder_are_numpys() -> None:
    a = np.array([7.5, -7.5])
    for operation in (operator.floordiv, operator.mod, divmod):
        assert_array_equal(operation(Tensor(a), 2.0), operation(a, 2.0))
        assert_array_equal(operation(20.0, Tensor(a)), operation(20.0, a))


def test_keywords_of_a_ufunc_are_refused_by_name() -> None:
    t = leaf([1.0, 2.0])
    with pytest.raises(NoRuleError, match=r"numpy\.exp with dtype"):
        np.exp(t, dtype=np.float32)
    with pytest.raises(TypeError, match=r"numpy\.exp.*where"):
        np.exp(t, where=np.array([True, False]))
    with pytest.raises(NoRuleError, match=r"numpy\.divide\.reduceat"):
        np.divide.reduceat(t, [0])
    with pytest.raises(TypeError, match=r"out= cannot take a tracked result"):
        np.exp(t, out=np.zeros(2))
    assert_array_equal(np.exp(Tensor([0.0, 0.0]), where=np.array([True, True]), out=np.zeros(2)), [1.0, 1.0])


def test_out_takes_the_result_and_where_leaves_the_rest() -> None:
    t, old = leaf([1.0, 0.0]), leaf([5.0, 7.0])
    held = old * 1
    assert np.divide(1.0, t, out=held, where=np.array([True, False])) is held
    assert_array_equal(held.data, [1.0, 7.0])
    held.sum().backward()
    assert_array_equal(t.grad, [-1.0, 0.0])
    assert_array_equal(old.grad, [0.0, 1.0])


def test_an_untracked_tensor_written_to_by_a_ufunc_forgets_its_logit() -> None:
    p = sigmoid(Tensor([3.0, 2.0]))
    np.multiply.at(p, [0], 0.1)
    assert_allclose(np.log(p).data, np.log(p.data), rtol=1e-15)
    t = Tensor([1.0, 2.0])
    assert np.multiply(t, 2, out=t) is t
    assert_array_equal(t.data, [2.0, 4.0])


# --- arithmetic with what is no Tensor ----------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
@pytest.mark.parametrize(
    "other", [2.0, 2, True, np.float64(2), np.float32(2), np.int64(2), np.array([2.0, 3.0]), [2.0, 3.0]]
)
def test_either_side_may_be_no_tensor(operation: Callable[[Any, Any], Any], other: Any) -> None:
    a = np.array([0.5, 1.5])
    plain = np.array(other) if isinstance(other, list) else other
    for tensor_first in (True, False):
        x = leaf(a)
        if tensor_first:
            out, expected = operation(x, other), operation(a, plain)
            step = operation(a + 1e-30j, plain).imag / 1e-30
        else:
            out, expected = operation(other, x), operation(plain, a)
            step = operation(plain, a + 1e-30j).imag / 1e-30
        assert isinstance(out, Tensor)
        assert_allclose(out.detach().numpy(), expected, rtol=1e-15)  # one rounding, of NumPy's shorter pow
        out.sum().backward()
        # The complex step is exact up to a few roundings; a float32 base has a float32 logarithm.
        assert_allclose(x.grad, step, rtol=1e-7 if isinstance(other, np.float32) else 1e-14)


def test_matrix_product_with_an_array_on_the_left() -> None:
    X, w = np.arange(6.0).reshape(2, 3), leaf([1.0, 2.0, 3.0])
    y = X @ w
    assert isinstance(y, Tensor)
    y.sum().backward()
    assert_array_equal(w.grad, X.sum(axis=0))


@pytest.mark.parametrize(
    "other",
    [
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.ones((1, 2)).view(np.matrix),
        np.array([1.0, None]),
        None,
        "ab",
        ["a", "b"],
        [[1.0], [2.0, 3.0]],
        np.array(["2020"], "M8[Y]"),
        object(),
    ],
    ids=lambda other: type(other).__name__,
)
def test_operand_that_is_no_plain_array_is_refused(other: Any) -> None:
    for t in (leaf([1.0, 2.0]), Tensor([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"numpy\.multiply: "):
            t * other
        with pytest.raises(TypeError):
            other * t


def test_python_scalars_are_weak_and_numpy_scalars_are_not() -> None:
    x = leaf([1.0, 2.0], np.float32)
    for y in (x * 2.0, 2.0 * x, x + 1, 1 - x, x / 3.0, x**2, x**2.5, 2.0**x, np.exp(x) * 0.5, np.where(x > 1, x, 0.0)):
        assert y.dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert (leaf([1.0], np.float16) * 2.0).dtype == np.float16
    y = np.exp(-x) * 2.0
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_zero_dimensional_results_and_gradients_stay_arrays() -> None:
    x = leaf(2.0)
    y = x * x + np.exp(x)
    for value in (y.data, x.detach().numpy(), (x + 1).data, leaf([1.0, 2.0])[0].data):
        assert type(value) is ndarray
        assert value.shape == ()
    y.backward(retain_graph=True)
    assert type(x.grad) is ndarray
    y.backward()
    assert type(x.grad) is ndarray  # NumPy's sum of two 0-d arrays is a scalar
    (g,) = grad(x * x, x)
    assert type(g.data) is ndarray


def test_powers_of_integers_are_numpys() -> None:
    a = np.array([2, 3])
    for p in (0.5, 1, 2, 3, 2.0):
        assert_allclose((Tensor(a) ** p).data, a**p, rtol=1e-15)  # sqrt and pow differ in the last place
        assert (Tensor(a) ** p).dtype == (a**p).dtype
    with pytest.raises(ValueError, match="negative integer powers"):
        Tensor(a) ** -1
    assert_allclose((Tensor([True, False]) ** 2).data, np.array([True, False]) ** 2)


# --- assignment ---------------------------------------------------------------------------------------------------


def test_assignment_leaves_earlier_values_alone() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    before = y * y
    row = y[1]
    y[1] = 10.0
    assert row.item() == 4.0
    assert_array_equal(before.data, [4.0, 16.0, 36.0])
    (before.sum() + y.sum()).backward()
    assert_array_equal(x.grad, [8 + 2, 16 + 0, 24 + 2])


def test_assigned_value_receives_its_gradient() -> None:
    x, v = leaf([1.0, 2.0, 3.0]), leaf(5.0)
    y = x * 1
    y[1:] = v
    (y * [1.0, 10.0, 100.0]).sum().backward()
    assert_array_equal(x.grad, [1.0, 0.0, 0.0])
    assert_array_equal(v.grad, 110.0)


def test_of_values_assigned_to_one_entry_the_last_one_counts() -> None:
    x, v = leaf(np.zeros(3)), leaf([1.0, 2.0, 3.0, 4.0])
    y = x * 1
    y[np.array([0, 2, 0, 2])] = v
    assert_array_equal(y.data, [3.0, 0.0, 4.0])
    (y * [1.0, 10.0, 100.0]).sum().backward()
    assert_array_equal(v.grad, [0.0, 0.0, 1.0, 100.0])
    assert_array_equal(x.grad, [0.0, 10.0, 0.0])


def test_zeros_like_can_be_filled_in_a_loop() -> None:
    x = leaf([1.0, 2.0, 3.0])
    total = np.zeros_like(x)
    total[0] = x[0]
    for k in range(1, 3):
        total[k] = total[k - 1] * x[k]  # the running product
    assert_array_equal(total.data, [1.0, 2.0, 6.0])
    total.sum().backward()
    assert_array_equal(x.grad, [1 + 2 + 6, 1 + 3, 2])


def test_filling_an_untracked_tensor_is_not_quadratic() -> None:
    t = Tensor(np.zeros(10))
    t[0] = 1.0
    lent = t.data
    t[1] = 2.0
    assert t.data is lent  # the second write went into the first one's copy
    after = t + 0
    t[2] = 3.0
    assert_array_equal(after.data[:3], [1.0, 2.0, 0.0])
    assert_array_equal(t.data[:3], [1.0, 2.0, 3.0])


def test_augmented_assignment_of_an_entry() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    y[0] += x[1]
    y[1] *= y[0]
    assert_array_equal(y.data, [5.0, 30.0])
    y[1].backward()
    assert_array_equal(x.grad, [18.0, 6.0 + 15.0])  # of 3 x1 (3 x0 + x1)


def test_shifted_assignment_reads_the_old_values() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x * 1
    y[1:] = y[:-1]
    assert_array_equal(y.data, [1.0, 1.0, 2.0])
    y.sum().backward()
    assert_array_equal(x.grad, [2.0, 1.0, 0.0])
    u = Tensor([1.0, 2.0, 3.0])
    u[1:] = u[:-1]
    assert_array_equal(u.data, [1.0, 1.0, 2.0])


def test_leaf_and_result_under_no_grad_refuse_assignment() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match="no_grad"):
        x[0] = 1.0
    y = x * 2
    with no_grad(), pytest.raises(GraphError, match="history"):
        y[0] = 1.0
    assert_array_equal(y.data, [2.0, 4.0])
    with no_grad():
        x[0] = 7.0
    assert_array_equal(x.data, [7.0, 2.0])
    assert x.is_leaf
    assert x.requires_grad
    assert_array_equal(y.data, [2.0, 4.0])


def test_failed_assignment_changes_nothing() -> None:
    for t in (leaf([1.0, 2.0]) * 1, Tensor([1.0, 2.0])):
        node = t._node
        with pytest.raises((ValueError, IndexError)):
            t[5] = 1.0
        with pytest.raises((ValueError, IndexError)):
            t[:] = np.zeros(3)
        assert t._node is node
        assert_array_equal(t.data, [1.0, 2.0])


def test_integer_tensor_refuses_a_tracked_value() -> None:
    t = Tensor([1, 2])
    with pytest.raises(TypeError, match="carries a gradient"):
        t[0] = leaf(1.5)


AUGMENTED: list[Callable[[Any, Any], Any]] = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.ipow,
]


@pytest.mark.parametrize("augment", AUGMENTED)
def test_augmented_assignment_under_no_grad_updates_the_parameter(augment: Callable[[Any, Any], Any]) -> None:
    p = leaf([4.0, 9.0])
    cost = (p * p).sum()
    alias, node, expected = p, p._node, augment(np.array([4.0, 9.0]), 2.0)
    with no_grad():
        p = augment(p, 2.0)
    assert p is alias
    assert p._node is node
    assert_array_equal(p.data, expected)
    cost.backward()
    assert_array_equal(p.grad, [8.0, 18.0])  # at the old values


@pytest.mark.parametrize("augment", AUGMENTED)
def test_augmented_assignment_elsewhere_is_a_new_result(augment: Callable[[Any, Any], Any]) -> None:
    p = leaf([4.0, 9.0])
    q = augment(p, 2.0)
    assert q is not p
    assert not q.is_leaf
    assert_array_equal(p.data, [4.0, 9.0])
    with no_grad():
        r = augment(q, 2.0)  # a result keeps its history
    assert r is not q


def test_update_keeps_shape_and_dtype_of_the_parameter() -> None:
    p = leaf([1.0, 2.0], np.float32)
    with no_grad():
        p -= np.float64(0.5)
        assert p.dtype == np.float32
        with pytest.raises(ShapeError):
            p += np.zeros((2, 2))
        counts = Tensor([1, 2])
        with pytest.raises(TypeError, match="same_kind"):
            counts *= 0.5
    assert_array_equal(p.data, [0.5, 1.5])
    W = leaf(np.eye(2))
    with no_grad():
        W @= np.array([[0.0, 1.0], [1.0, 0.0]])
    assert_array_equal(W.data, [[0.0, 1.0], [1.0, 0.0]])


# --- pickles and copies -------------------------------------------------------------------------------------------

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("how", COPIES)
def test_leaf_survives_a_copy(how: str) -> None:
    x = leaf([1.0, 2.0], ">f4")
    (x * x).sum().backward()
    x.data[0] = 5.0
    y = COPIES[how](x)
    assert (y.dtype, y.requires_grad, y.is_leaf) == (x.dtype, True, True)
    assert_array_equal(y.data, [5.0, 2.0])
    assert_array_equal(y.grad, [2.0, 4.0])
    y.data[...] = 0.0
    y.grad[...] = 0.0
    assert_array_equal(x.data, [5.0, 2.0])
    assert_array_equal(x.grad, [2.0, 4.0])
    assert not COPIES[how](Tensor([1])).requires_grad


@pytest.mark.parametrize("how", COPIES)
def test_result_refuses_to_be_copied_with_its_graph(how: str) -> None:
    y = leaf([1.0]) * 2
    with pytest.raises(GraphError, match="detach"):
        COPIES[how](y)
    if how != "copy":  # a shallow copy of a list leaves what is in it alone
        with pytest.raises(GraphError, match="detach"):
            COPIES[how]({"nested": [y]})
    assert COPIES[how](y.detach()).item() == 2.0


def test_copy_of_a_leaf_does_not_carry_its_graph() -> None:
    x = leaf(np.zeros(1000))
    size = len(pickle.dumps(x))
    keep = [x * k for k in range(10)]
    assert len(pickle.dumps(x)) == size
    assert len(keep) == 10


def test_deepcopy_keeps_what_is_shared_shared() -> None:
    x = leaf([1.0])
    a, b = copy.deepcopy([x, x])
    assert a is b


# --- Python's protocols -------------------------------------------------------------------------------------------


def test_comparison_is_elementwise_and_plain() -> None:
    t, a = leaf([1.0, 2.0]), np.array([1.0, 3.0])
    for compare in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge):
        for x, y in ((t, a), (a, t), (t, leaf(a)), (t, 1.0), (1.0, t)):
            plain = [v.detach().numpy() if isinstance(v, Tensor) else v for v in (x, y)]
            result = compare(x, y)
            assert type(result) is ndarray
            assert_array_equal(result, compare(*plain))


def test_hash_is_identity() -> None:
    a, b = leaf([1.0]), leaf([1.0])
    assert len({a, b, a}) == 2
    assert {a: "a", b: "b"}[a] == "a"


def test_truth_of_several_elements_is_refused() -> None:
    assert bool(leaf(1.0))
    assert not leaf([0.0])
    for t in (leaf([1.0, 2.0]), leaf([])):
        with pytest.raises(ValueError, match="ambiguous"):
            bool(t)


def test_length_and_iteration_stop_where_arrays_do() -> None:
    with pytest.raises(TypeError, match="unsized"):
        len(leaf(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(leaf(1.0))
    t = leaf([1.0, 2.0])
    assert [r.item() for r in reversed(list(t))] == [2.0, 1.0]
    first, second = t
    (first * 2 + second * 3).backward()
    assert_array_equal(t.grad, [2.0, 3.0])
    assert 2.0 in t
    assert sum(t).item() == 3.0


def test_format_reads_a_scalar_and_repr_says_where_from() -> None:
    x = leaf([1.0, 2.0])
    assert f"{(x * x).sum():.3f}" == "5.000"
    assert f"{Tensor(3):03d}" == "003"
    assert f"{x}" == str(x) == "Tensor([1., 2.], requires_grad=True)"
    assert repr(np.exp(x)).endswith(", from numpy.exp)")
    assert repr(Tensor([1, 2])) == "Tensor([1, 2])"
    assert "dtype=float32" in repr(Tensor([1.0], dtype=np.float32))
    with pytest.raises((TypeError, ValueError), match="format"):
        f"{x:.3f}"


def test_shapes_that_do_not_fit_are_named_at_the_call() -> None:
    with pytest.raises(ShapeError, match=r"numpy\.add: operands of shape \(2,\) and \(3,\)"):
        leaf([1.0, 2.0]) + np.zeros(3)
    with pytest.raises(ShapeError, match=r"\(2, 2\).*\(3,\)"):
        np.matmul(leaf(np.eye(2)), leaf([1.0, 2.0, 3.0]))
    with pytest.raises(IndexError, match="out of bounds"):
        leaf([1.0])[3]
    with pytest.raises(np.exceptions.AxisError):
        leaf([1.0]).sum(axis=3)


def test_grad_can_be_set_scaled_and_cleared() -> None:
    x = leaf([1.0, 2.0], np.float32)
    x.grad = [3.0, 4.0]
    x.grad *= 0.5
    assert x.grad.dtype == np.float32
    assert_array_equal(x.grad, [1.5, 2.0])
    with pytest.raises(ShapeError):
        x.grad = [1.0]
    with pytest.raises(TypeError):
        x.grad = [1.0, None]
    x.grad = None
    assert x.grad is None
    c = Tensor([1.0])
    c.grad = None
    with pytest.raises(GraphError, match="does not require a gradient"):
        c.grad = [1.0]


def test_probability_written_to_forgets_its_logit() -> None:
    for write in (
        lambda p: p.data.__setitem__(0, 0.25),
        lambda p: p.__setitem__(0, 0.25),
        lambda p: setattr(p, "data", [0.25]),
    ):
        p = sigmoid([3.0])
        write(p)
        assert np.log(p).item() == math.log(0.25)
    p = sigmoid([3.0])
    with no_grad():
        p *= 0.5
    assert np.log(p).item() == np.log(p.item())
    p = sigmoid([3.0]).requires_grad_()
    np.log(p).backward()
    assert_allclose(p.grad, 1 / p.detach().numpy(), rtol=1e-15)  # one division
