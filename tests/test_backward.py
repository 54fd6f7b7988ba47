"""The walk: what `backward` and `grad` compute, keep, free and refuse; choices and roots; ways past a probability."""

import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special

from tinygrad_fnn import Tensor, detect_anomaly, enable_grad, grad, no_grad, relu, sigmoid, softmax, strict_edges
from tinygrad_fnn.errors import AnomalyError, GraphError, ShapeError


def leaf(values: Any, dtype: Any = float) -> Tensor:
    return Tensor(values, requires_grad=True, dtype=dtype)


def slope(f: Callable[[Tensor], Any], at: Any) -> ndarray:
    """The gradient of the sum of `f` at a point, by `backward`."""
    x = leaf(at)
    f(x).sum().backward()
    assert x.grad is not None
    return x.grad


# --- sums over ways -----------------------------------------------------------------------------------------------


def test_tensor_used_twice_receives_both_terms() -> None:
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad == 6.0
    y = leaf(3.0)
    (y + y - y).backward()
    assert y.grad == 1.0


def test_diamond_receives_the_sum_over_its_ways() -> None:
    x = leaf(0.5)
    a = np.exp(x)
    b, c = a * 2, a * a
    (b * c).backward()  # 2 exp(3 x)
    assert_allclose(x.grad, 6 * np.exp(1.5), rtol=1e-15)  # a few roundings


def test_unused_branch_changes_nothing() -> None:
    x, other = leaf([1.0, 2.0]), leaf([1.0])
    unused = np.log(x * 0) if False else np.exp(x) * other
    (x * 2).sum().backward()
    assert_array_equal(x.grad, [2.0, 2.0])
    assert other.grad is None
    unused.sum().backward()  # and is itself still whole
    assert other.grad is not None


def test_gradient_is_the_same_to_the_last_bit_in_every_run() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=50)

    def run() -> bytes:
        x = leaf(a)
        y = sum((np.exp(x * k) * x for k in range(9)), x)
        y.sum().backward()
        assert x.grad is not None
        return x.grad.tobytes()

    assert len({run() for _ in range(5)}) == 1


def test_chain_of_100_000_operations() -> None:
    x = leaf([1.0, 2.0])
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.sum().backward()
    assert_array_equal(x.grad, [1.0, 1.0])


@pytest.mark.parametrize("create_graph", [False, True])
def test_fan_in_of_20_000_leaves_and_fan_out_of_one(create_graph: bool) -> None:
    """Would take minutes if an edge cost as much as there are edges."""
    leaves = [leaf(float(k)) for k in range(20_000)]
    shares = grad(np.stack(leaves).sum(), leaves, create_graph=create_graph)
    assert all(share is not None and share.item() == 1.0 for share in shares)
    x = leaf(2.0)
    assert grad(np.stack([x] * 20_000).sum(), x, create_graph=create_graph)[0].item() == 20_000.0


# --- twice, or not at all -----------------------------------------------------------------------------------------


def test_second_backward_says_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match=r"numpy\.multiply.*retain_graph=True"):
        y.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        grad(y, x)
    assert x.grad == 4.0


def test_graph_built_on_a_freed_part_is_refused() -> None:
    x = leaf(2.0)
    h = x * x
    h.backward()
    with pytest.raises(GraphError, match="retain_graph=True"):
        (h * 3).backward()
    assert x.grad == 4.0


def test_derivative_with_respect_to_a_freed_result_needs_nothing_below_it() -> None:
    x = leaf(2.0)
    h = x * x
    h.backward()
    (g,) = grad(h * 3, h)
    assert g.item() == 3.0


def test_derivative_does_not_need_the_freed_part_that_its_inputs_do_not_lead_through() -> None:
    x = leaf(2.0)
    h = x * x
    h.backward()
    w = leaf(3.0)
    (g,) = grad(h * w, w)
    assert g.item() == 4.0


def test_retained_graph_can_be_walked_again() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert x.grad == 8.0
    y.backward()
    assert x.grad == 12.0


def test_backward_of_what_was_not_recorded_is_refused() -> None:
    with pytest.raises(GraphError, match="nothing was recorded"):
        Tensor(1.0).backward()
    with no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(GraphError, match="no_grad"):
        y.backward()
    with pytest.raises(GraphError, match="nothing was recorded"):
        grad(y, leaf(1.0))


def test_backward_of_a_leaf_is_its_own_cotangent() -> None:
    x = leaf([1.0, 2.0])
    x.backward([3.0, 4.0])
    x.backward([3.0, 4.0])
    assert_array_equal(x.grad, [6.0, 8.0])


# --- upstream -----------------------------------------------------------------------------------------------------


def test_backward_of_several_entries_wants_their_cotangent() -> None:
    y = leaf([1.0, 2.0]) * 2
    with pytest.raises(GraphError, match=r"\(2,\).*scalar"):
        y.backward()
    with pytest.raises(GraphError, match="scalar"):
        leaf([]).backward()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1), (1, 2), (2, 2)])
def test_upstream_gradient_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(ShapeError, match=r"cotangent.*\(2,\)"):
        (x * 2).backward(np.ones(shape))
    with pytest.raises(ShapeError):
        grad(x * 2, x, np.ones(shape))
    assert x.grad is None


@pytest.mark.parametrize("bad", ["ab", [1.0, None], [[1.0], [1.0, 2.0]], [1j, 1.0], np.ma.masked_array([1.0, 2.0])])
def test_upstream_gradient_that_is_no_plain_array_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        (leaf([1.0, 2.0]) * 2).backward(bad)


def test_upstream_gradient_takes_the_dtype_of_the_output() -> None:
    x = leaf([1.0, 2.0], np.float32)
    (x * 2).backward(np.array([1, 3]))
    assert x.grad.dtype == np.float32
    assert_array_equal(x.grad, [2.0, 6.0])
    x.grad = None
    (x * 2).backward(Tensor([1.0, 3.0]))
    assert_array_equal(x.grad, [2.0, 6.0])


def test_complex_output_has_no_gradient_of_its_own() -> None:
    with pytest.raises(GraphError, match="complex"):
        (leaf(1.0) * 1j).backward()


@pytest.mark.parametrize("mode", [enable_grad, detect_anomaly])
def test_complex_intermediates_give_real_gradients(mode: Callable[[], Any]) -> None:
    """The plain walk, and the careful one under `detect_anomaly`."""
    a, c = np.array([0.3, -0.7]), np.array([1 + 2j, 3 - 1j])
    with mode():
        # A quotient, a root of a sum of squares and a product of complex numbers: a few roundings each.
        assert_allclose(slope(lambda x: abs(x * c), a), np.sign(a) * abs(c), rtol=1e-15)
        assert_allclose(slope(lambda x: abs(1 / (x + c)), a), -(a + c.real) / abs(a + c) ** 3, rtol=1e-14)
        assert_allclose(slope(lambda x: abs(x * x * c + c) ** 2, a), 4 * a * (a * a + 1) * abs(c) ** 2, rtol=1e-14)


# --- grad() -------------------------------------------------------------------------------------------------------


def test_grad_gives_tensors_and_leaves_every_grad_alone() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0], np.float32)
    h = x * w
    h.retain_grad()
    cost = (h * h).sum()
    gx, gw, gh = grad(cost, [x, w, h])
    for g, t in ((gx, x), (gw, w), (gh, h)):
        assert isinstance(g, Tensor)
        assert not g.requires_grad
        assert (g.shape, g.dtype) == (t.shape, t.dtype)
        assert t.grad is None
    assert_array_equal(gh.data, [6.0, 16.0])
    assert_array_equal(gx.data, [18.0, 64.0])


def test_grad_frees_the_graph_unless_asked_not_to() -> None:
    x = leaf(2.0)
    y = x**3
    assert grad(y, x, retain_graph=True)[0].item() == 12.0
    assert grad(y, x)[0].item() == 12.0
    with pytest.raises(GraphError, match="freed"):
        grad(y, x)


def test_intermediate_hides_nothing_from_the_leaf() -> None:
    x = leaf(2.0)
    h = x * x
    y = h * x
    gx, gh, gy = grad(y, [x, h, y])
    assert (gx.item(), gh.item(), gy.item()) == (12.0, 2.0, 1.0)


def test_unused_input_raises_or_gives_none() -> None:
    x, other = leaf(1.0), leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"inputs\[1\] of shape \(2,\).*allow_unused"):
        grad(x * 2, [x, other])
    g, none = grad(x * 2, [x, other], allow_unused=True)
    assert g is not None
    assert g.item() == 2.0
    assert none is None
    later = x * 5
    assert grad(x * 2, later, allow_unused=True) == (None,)


def test_several_outputs_are_summed_with_their_cotangents() -> None:
    x = leaf([1.0, 2.0])
    a, b = x * 2, np.exp(x).sum()
    (g,) = grad([a, b], x, grad_outputs=[[1.0, 10.0], 3.0], retain_graph=True)
    assert_allclose(g.data, [2, 20] + 3 * np.exp([1.0, 2.0]), rtol=1e-15)  # a few roundings
    (g,) = grad([b, b], x, grad_outputs=[None, 2.0])
    assert_allclose(g.data, 3 * np.exp([1.0, 2.0]), rtol=1e-15)
    with pytest.raises(ValueError, match="1 grad_outputs for 2 outputs"):
        grad([x * 1, x * 2], x, grad_outputs=[1.0])


def test_same_input_twice_gets_two_arrays() -> None:
    x = leaf([1.0, 2.0])
    a, b = grad((x * 2).sum(), [x, x])
    a.data[0] = 9.0
    assert_array_equal(b.data, [2.0, 2.0])


def test_wrong_arguments_of_grad_are_named() -> None:
    x = leaf(1.0)
    with pytest.raises(TypeError, match=r"outputs\[0\] is a ndarray|outputs\[0\] is a float64"):
        grad([np.ones(2)], x)
    with pytest.raises(TypeError, match=r"outputs\[0\] is a NoneType"):
        grad(None, x)
    with pytest.raises(TypeError, match=r"inputs\[1\] is a float"):
        grad(x * 2, [x, 1.0])
    with pytest.raises(GraphError, match=r"inputs\[0\] does not require"):
        grad(x * 2, Tensor(1.0))


# --- higher orders ------------------------------------------------------------------------------------------------

X0 = np.array([0.4, 1.3])
THIRD: dict[str, tuple[Callable[[Any], Any], list[Callable[[ndarray], ndarray]]]] = {
    "cube": (lambda x: x**3, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
    "exp": (lambda x: np.exp(2 * x), [lambda x, k=k: 2**k * np.exp(2 * x) for k in (1, 2, 3)]),
    "log": (np.log, [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3]),
    "reciprocal": (lambda x: 1 / x, [lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4]),
    "tanh": (
        np.tanh,
        [
            lambda x: 1 - np.tanh(x) ** 2,
            lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
            lambda x: (6 * np.tanh(x) ** 2 - 2) * (1 - np.tanh(x) ** 2),
        ],
    ),
    "product": (
        lambda x: x * np.exp(x),
        [lambda x, k=k: (x + k) * np.exp(x) for k in (1, 2, 3)],
    ),
}


@pytest.mark.parametrize("name", THIRD)
def test_derivatives_to_third_order_are_the_closed_forms(name: str) -> None:
    f, forms = THIRD[name]
    x = leaf(X0)
    y = f(x)
    for form in forms:
        (y,) = grad(y.sum(), x, create_graph=True)
        assert y.requires_grad
        assert_allclose(y.detach().numpy(), form(X0), rtol=1e-13)  # cancellation in 1 - tanh**2 costs a digit or two


def test_mixed_second_derivative_through_a_matrix_product() -> None:
    rng = np.random.default_rng(2)
    A, v = rng.normal(size=(3, 3)), leaf(rng.normal(size=3))
    (g,) = grad((v @ A @ v) ** 2, v, create_graph=True)
    (h,) = grad(g @ np.array([1.0, 0.0, 0.0]), v)
    a, S = v.data, A + A.T
    expected = 2 * np.outer(S @ a, S @ a) + 2 * (a @ A @ a) * S
    assert_allclose(h.data, expected[0], rtol=1e-13)  # sums of a few products


def test_derivative_of_a_constant_slope_is_not_recorded() -> None:
    x = leaf([1.0, 2.0])
    (g,) = grad((3 * x).sum(), x, create_graph=True)
    assert_array_equal(g.data, [3.0, 3.0])
    with pytest.raises(GraphError, match="nothing was recorded"):
        grad(g.sum(), x)


def test_recorded_cotangent_can_be_differentiated() -> None:
    x, v = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (g,) = grad(x * x, x, grad_outputs=v, create_graph=True)  # 2 x v
    gx, gv = grad(g.sum(), [x, v])
    assert_array_equal(gx.data, 2 * v.data)
    assert_array_equal(gv.data, 2 * x.data)


def test_recorded_results_are_handles_of_their_own() -> None:
    x, y, v = leaf([1.0, 2.0]), leaf([1.0, 2.0]), leaf([3.0, 4.0])
    gx, gy = grad(x + y, [x, y], grad_outputs=v, create_graph=True)
    assert gx is not gy
    assert gx is not v
    with no_grad():
        gx[0] = 100.0
    assert_array_equal(v.data, [3.0, 4.0])
    assert_array_equal(gy.data, [3.0, 4.0])


def test_gradient_inside_a_loss() -> None:
    x = leaf([0.5, 1.5])
    (g,) = grad((x**3).sum(), x, create_graph=True)
    ((g * g).sum() + x.sum()).backward()  # 9 x**4 + x
    assert_allclose(x.grad, 36 * np.array([0.5, 1.5]) ** 3 + 1, rtol=1e-15)  # a few roundings


# --- .grad --------------------------------------------------------------------------------------------------------


def test_gradients_accumulate_over_backwards() -> None:
    x = leaf([1.0, 2.0])
    for _ in range(3):
        (x * x).sum().backward()
    assert_array_equal(x.grad, [6.0, 12.0])


def test_gradient_has_memory_of_its_own() -> None:
    x, y = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    ((x + y) * 2).sum().backward()
    assert x.grad is not y.grad
    assert not np.shares_memory(x.grad, y.grad)
    x.grad[0] = 100.0  # writable, although sum's share is a broadcast one
    assert_array_equal(y.grad, [2.0, 2.0])
    for f in (lambda t: t.reshape(2, 1), lambda t: t.T, lambda t: t[::-1], lambda t: np.broadcast_to(t, (3, 2))):
        x.grad = None
        (f(x) * np.ones(1)).sum().backward()
        assert x.grad.base is None
        assert x.grad.flags.writeable


def test_gradient_somebody_holds_does_not_change() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    held = x.grad
    (x * x).sum().backward()
    assert_array_equal(held, [2.0, 4.0])
    assert_array_equal(x.grad, [4.0, 8.0])


def test_upstream_gradient_is_not_the_gradient() -> None:
    x, upstream = leaf([1.0, 2.0]), np.array([1.0, 1.0])
    x.backward(upstream)
    assert not np.shares_memory(x.grad, upstream)


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf([1.0, 2.0])
    h = x * x
    assert h.grad is None
    h.retain_grad()
    (h * 3).sum().backward()
    assert_array_equal(h.grad, [3.0, 3.0])
    assert_array_equal(x.grad, [6.0, 12.0])
    with pytest.raises(GraphError):
        Tensor(1.0).retain_grad()


def test_failing_backward_leaves_every_grad_untouched() -> None:
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    x.grad = [7.0, 7.0]
    h = x * y

    def fail(ct: ndarray) -> None:
        raise KeyError("from the hook")

    x.register_hook(fail)  # the last one to be reached
    for _ in range(2):
        with pytest.raises(KeyError, match="from the hook"):
            h.sum().backward()
        assert_array_equal(x.grad, [7.0, 7.0])
        assert y.grad is None


def test_failing_backward_can_be_repeated() -> None:
    x = leaf(2.0)
    y = x * x
    remove = x.register_hook(lambda ct: np.zeros(5))
    with pytest.raises(ShapeError, match="hook on a leaf"):
        y.backward()
    remove()
    y.backward()
    assert x.grad == 4.0


def test_concurrent_backwards_lose_nothing() -> None:
    x, rounds = leaf(np.zeros(10)), 200
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(rounds):
                (x * 2).sum().backward()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_array_equal(x.grad, np.full(10, 2.0 * 8 * rounds))


# --- hooks --------------------------------------------------------------------------------------------------------


def test_hook_gets_the_complete_cotangent_once() -> None:
    x, seen = leaf([1.0, 2.0]), []
    h = x * 2
    h.register_hook(seen.append)
    (h * 3 + h * h).sum().backward()
    assert len(seen) == 1
    assert type(seen[0]) is ndarray
    assert_array_equal(seen[0], 3 + 2 * np.array([2.0, 4.0]))


def test_hook_is_called_once_also_where_a_nan_asks_for_the_second_walk() -> None:
    x, seen = leaf([0.0, 4.0]), []
    h = x * 1
    h.register_hook(seen.append)
    np.where(h > 0, np.sqrt(h), 0).sum().backward()
    assert len(seen) == 1
    assert_array_equal(seen[0], [0.0, 0.25])
    assert_array_equal(x.grad, [0.0, 0.25])


def test_nan_that_a_hook_returns_is_its_own() -> None:
    x, calls = leaf([1.0, 2.0]), []

    def spoil(ct: ndarray) -> ndarray:
        calls.append(1)
        return np.array([np.nan, 1.0])

    x.register_hook(spoil)
    (x * 2).sum().backward()
    assert_array_equal(x.grad, [np.nan, 1.0])
    assert calls == [1]


def test_hooks_run_in_order_and_each_sees_the_replacement() -> None:
    x = leaf([1.0, 2.0])
    x.register_hook(lambda ct: ct * 10)
    x.register_hook(lambda ct: ct + 1)
    (x * 2).sum().backward()
    assert_array_equal(x.grad, [21.0, 21.0])


def test_replaced_cotangent_flows_on() -> None:
    x = leaf([1.0, 2.0])
    h = x * 3
    h.register_hook(lambda ct: np.clip(ct, -1, 1))
    (h * 100).sum().backward()
    assert_array_equal(x.grad, [3.0, 3.0])


def test_replacement_is_copied_and_cast() -> None:
    kept = np.array([5, 6])
    x = leaf([1.0, 2.0], np.float32)
    x.register_hook(lambda ct: kept)
    (x * 2).sum().backward()
    kept[...] = 0
    assert x.grad.dtype == np.float32
    assert_array_equal(x.grad, [5.0, 6.0])
    y = leaf([1.0, 2.0])
    y.register_hook(lambda ct: ["a", "b"])
    with pytest.raises(TypeError, match="hook on a leaf"):
        (y * 2).sum().backward()


def test_hook_that_writes_into_its_argument_changes_nothing() -> None:
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])

    def write(ct: ndarray) -> None:
        ct[...] = 100.0

    x.register_hook(write)
    (x + y).sum().backward()
    assert_array_equal(x.grad, [1.0, 1.0])
    assert_array_equal(y.grad, [1.0, 1.0])


def test_removal_takes_away_one_registration() -> None:
    x, seen = leaf(1.0), []
    hook = seen.append
    first = x.register_hook(hook)
    second = x.register_hook(hook)
    first()
    first()  # again is harmless
    (x * 1).backward()
    assert len(seen) == 1
    second()
    (x * 1).backward()
    assert len(seen) == 1


def test_hook_under_create_graph_gets_and_gives_what_is_recorded() -> None:
    x = leaf([1.0, 2.0])
    h = x * x
    for replace in (lambda ct: ct * h, lambda ct: np.array([1, 1])):
        remove = h.register_hook(replace)
        (g,) = grad((h * h).sum(), x, create_graph=True)
        assert isinstance(g, Tensor)
        assert g.requires_grad
        remove()
    assert_array_equal(g.data, [2.0, 4.0])  # 1 * 2 x


def test_hook_runs_unrecorded_in_backward() -> None:
    x, made = leaf(1.0), []
    x.register_hook(lambda ct: made.append(x * 2))
    (x * 3).backward()
    assert not made[0].requires_grad


def test_hook_on_what_is_not_tracked_is_refused() -> None:
    with pytest.raises(GraphError, match="does not require a gradient"):
        Tensor(1.0).register_hook(print)
    with pytest.raises(TypeError, match="wanted a function"):
        leaf(1.0).register_hook(None)


# --- where NaN would come from ------------------------------------------------------------------------------------

# name: function, point, derivative. Each is NaN (or worse) in an unguarded walk.
GUARDED: dict[str, tuple[Callable[[Any], Any], Any, Any]] = {
    "log in a branch not taken": (lambda x: np.where(x > 0, np.log(x), 0), [0.0, 2.0], [0.0, 0.5]),
    "sqrt in a branch not taken": (lambda x: np.where(x > 1, np.sqrt(x), x), [0.0, 4.0], [1.0, 0.25]),
    "log of a negative number": (lambda x: np.where(x > 0, np.log(x), -x), [-1.0, 2.0], [-1.0, 0.5]),
    "division in a branch not taken": (lambda x: np.where(x != 0, np.exp(x) / x, 1), [0.0, 1.0], [0.0, 0.0]),
    "nested guards": (
        lambda x: np.where(x > 0, np.where(x > 1, np.log(x - 1), np.sqrt(1 - x)), x),
        [-1.0, 2.0, 0.75],
        [1.0, 1.0, -1.0],
    ),
    "guard around a chain": (lambda x: np.where(x > 0, np.exp(np.log(x) * 2), 0), [0.0, 3.0], [0.0, 6.0]),
    "selection by index": (lambda x: np.log(x)[1:], [0.0, 2.0], [0.0, 0.5]),
    "selection by mask": (lambda x: np.sqrt(x)[x > 0], [0.0, 4.0], [0.0, 0.25]),
    "selection by integer array": (lambda x: np.sqrt(x)[np.array([1, 1])], [0.0, 4.0], [0.0, 0.5]),
    "overwritten entry": (lambda x: _overwrite(np.sqrt(x)), [0.0, 4.0], [0.0, 0.25]),
    "maximum": (lambda x: np.maximum(np.log(x), 0), [0.0, 2.0], [0.0, 0.5]),
    "relu": (lambda x: relu(np.log(x)), [0.0, 2.0], [0.0, 0.5]),
    "max": (lambda x: np.max(np.log(x)), [0.0, 2.0], [0.0, 0.5]),
    "clip": (lambda x: np.clip(np.log(x), -5, 5), [0.0, 2.0], [0.0, 0.5]),
    "root of a square": (lambda x: np.sqrt(x * x), [0.0, -2.0], [0.0, -1.0]),
    "root of a sum of squares": (lambda x: np.sqrt((x * x).sum()), [0.0, 0.0], [0.0, 0.0]),
    "root of an absolute value of 0": (lambda x: np.sqrt(np.abs(x)), [0.0, -4.0], [0.0, -0.25]),
    "root through a reshape and a transpose": (
        lambda x: np.sqrt((x * x).reshape(2, 1).T * 1.0),
        [0.0, 3.0],
        [0.0, 1.0],
    ),
    "power as a root": (lambda x: (x**2) ** 0.5, [0.0, 2.0], [0.0, 1.0]),
}


def _overwrite(y: Tensor) -> Tensor:
    y[0] = 7.0
    return y


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of the branch not taken
@pytest.mark.parametrize("name", GUARDED)
def test_branch_not_taken_never_poisons(name: str) -> None:
    f, at, expected = GUARDED[name]
    assert_allclose(slope(f, at), expected, rtol=1e-14)  # a few roundings
    x = leaf(at)
    assert_allclose(grad(f(x).sum(), x)[0].data, expected, rtol=1e-14)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in GUARDED if name != "log of a negative number"])  # 0 * (1 / -1) is 0
def test_strict_edges_keep_ieee_arithmetic(name: str) -> None:
    f, at, _ = GUARDED[name]
    with strict_edges():
        assert np.isnan(slope(f, at)).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("log in a branch not taken", [0.0, -0.25]),
        ("sqrt in a branch not taken", [0.0, -1 / 32]),
        ("guard around a chain", [0.0, 2.0]),
        ("selection by mask", [0.0, -1 / 32]),
        ("maximum", [0.0, -0.25]),
        ("relu", [0.0, -0.25]),
    ],
)
def test_second_derivative_of_a_guarded_function_is_finite(name: str, second: list[float]) -> None:
    f, at, first = GUARDED[name]
    x = leaf(at)
    (g,) = grad(f(x).sum(), x, create_graph=True)
    assert_allclose(g.detach().numpy(), first, rtol=1e-14)
    (h,) = grad(g.sum(), x)
    assert_allclose(h.data, second, rtol=1e-13)  # a few roundings more


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_row_that_is_cut_off_does_not_reach_the_weights(poison: float) -> None:
    rng = np.random.default_rng(3)
    X, W, mask = rng.normal(size=(4, 3)), leaf(rng.normal(size=(3, 2))), np.array([True, False, True, True])
    X[1] = poison
    with np.errstate(invalid="ignore"):
        cost = np.where(mask[:, None], X @ W, 0).sum()
    cost.backward()
    expected = X[mask].sum(axis=0)[:, None] * np.ones((1, 2))
    assert_allclose(W.grad, expected, rtol=1e-14)  # sums of three numbers


def test_row_selected_by_index_does_not_bring_its_neighbour() -> None:
    rng = np.random.default_rng(4)
    X, W = rng.normal(size=(4, 3)), leaf(rng.normal(size=(3, 2)))
    X[1] = np.nan
    (X @ W)[np.array([0, 2, 3])].sum().backward()
    assert_allclose(W.grad, X[[0, 2, 3]].sum(axis=0)[:, None] * np.ones((1, 2)), rtol=1e-14)
    V = leaf(rng.normal(size=(3, 2)))
    relu(np.where(np.isnan(X), 0, X) @ V).sum().backward()
    assert np.isfinite(V.grad).all()


def test_living_row_brings_its_nan() -> None:
    X, W = np.array([[1.0, np.nan], [1.0, 1.0]]), leaf(np.ones((2, 1)))
    (X @ W).sum().backward()
    assert_array_equal(W.grad, [[2.0], [np.nan]])


# name: function, point; the derivative exists or not, but its computation passes 0 * inf on a living way
HONEST: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "sqrt(x) sqrt(x) at 0": (lambda x: np.sqrt(x) * np.sqrt(x), [0.0]),
    "0 log x at 0": (lambda x: 0 * np.log(x), [0.0]),
    "a weight of 0 on an infinite slope": (lambda x: np.sqrt(x) * np.array([0.0]), [0.0]),
    "log(exp(x)) where exp underflows": (lambda x: np.log(np.exp(x)), [-800.0]),
    "inf - inf": (lambda x: np.exp(x) - np.exp(x), [800.0]),
    "nan in the data": (lambda x: x * np.array([np.nan]), [1.0]),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", HONEST)
def test_honest_nan_stays_nan(name: str) -> None:
    f, at = HONEST[name]
    assert np.isnan(slope(f, at)).all()


def test_infinite_slope_of_a_root_is_infinite() -> None:
    assert_array_equal(slope(np.sqrt, [0.0, 4.0]), [np.inf, 0.25])


def test_living_zero_is_not_taken_for_cut_off() -> None:
    """A weight of 0 times something finite beside a guarded NaN: the careful walk keeps what IEEE gives elsewhere."""
    x = leaf([0.0, 3.0])
    w = leaf([5.0, 0.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(x > 0, np.log(x), 0) * w
    y.sum().backward()
    assert_array_equal(x.grad, [0.0, 0.0])
    assert_allclose(w.grad, [0.0, np.log(3.0)], rtol=1e-15)


def test_what_is_cut_off_in_one_row_is_alive_in_another() -> None:
    """A number that is broadcast is cut off only where every one of its shares is."""
    x, s = leaf([0.0, 2.0]), leaf(3.0)
    with np.errstate(divide="ignore"):
        y = np.where(x > 0, np.log(x) * (s * 1), 0)
    y.sum().backward()
    assert_array_equal(x.grad, [0.0, 1.5])
    assert_allclose(s.grad, np.log(2.0), rtol=1e-15)  # one rounding


# --- past a probability -------------------------------------------------------------------------------------------

Z = np.array([-1000.0, -745.2, -40.0, -3.0, 0.0, 3.0, 40.0, 745.2, 1000.0])
FORMS: dict[str, Callable[[Any], Any]] = {
    "log p": np.log,
    "log(1 - p)": lambda p: np.log(1 - p),
    "log1p(-p)": lambda p: np.log1p(-p),
}


def exact(form: str, z: ndarray) -> tuple[ndarray, ndarray]:
    """Value and derivative from 700 binary digits, which tell 1 from 1 + exp(-400) and more, and mpmath's range."""
    sign = 1 if form == "log p" else -1
    values, slopes = [], []
    with mpmath.workprec(3000):
        for v in z:
            e = mpmath.exp(-sign * mpmath.mpf(float(v)))
            values.append(float(-mpmath.log(1 + e)))
            slopes.append(float(sign * e / (1 + e)))
    return np.array(values), np.array(slopes)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("function", [sigmoid, special.expit])
def test_logarithm_of_a_probability_is_exact(form: str, function: Callable[[Any], Any]) -> None:
    value, derivative = exact(form, Z)
    z = leaf(Z)
    y = FORMS[form](function(z))
    # Three or four roundings; at 745.2 the derivative is subnormal, and has the absolute precision of those.
    assert_allclose(y.detach().numpy(), value, rtol=1e-15, atol=1e-323)
    y.sum().backward()
    assert_allclose(z.grad, derivative, rtol=1e-15, atol=1e-323)


@pytest.mark.parametrize("form", FORMS)
def test_logarithm_of_a_probability_is_exact_where_nothing_is_recorded(form: str) -> None:
    value, _ = exact(form, Z)
    with no_grad():
        assert_allclose(FORMS[form](sigmoid(leaf(Z))).data, value, rtol=1e-15, atol=1e-323)
    assert_allclose(FORMS[form](sigmoid(Z)).data, value, rtol=1e-15, atol=1e-323)


def test_probability_computed_without_recording_is_a_constant_afterwards() -> None:
    z, w = leaf([0.3, -0.2]), leaf([1.0, 1.0])
    with no_grad():
        p = sigmoid(z)
    cost = (np.log(p) * w).sum()
    cost.backward()
    assert z.grad is None
    assert_allclose(w.grad, special.log_expit([0.3, -0.2]), rtol=1e-15)  # one rounding


def test_logarithm_of_softmax_is_exact() -> None:
    X = np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]])
    x = leaf(X)
    y = np.log(softmax(x, axis=-1))
    assert_allclose(y.detach().numpy(), special.log_softmax(X, axis=-1), rtol=1e-15)
    y[:, 2].sum().backward()
    # The first row's softmax is (1, 0, 0) to all digits; an entry of the second is 1 - p or -p.
    p = special.softmax(X[1])
    assert_allclose(x.grad, [[-1.0, 0.0, 1.0], [-p[0], -p[1], 1 - p[2]]], rtol=1e-14)


def test_course_cost_is_exact_at_saturated_units() -> None:
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    z0 = np.array([-1000.0, 1000.0, 1000.0, -1000.0, 3.0, -40.0])
    z = leaf(z0)
    h = sigmoid(z)
    cost = -(y * np.log(h) + (1 - y) * np.log(1 - h))
    assert_allclose(cost.detach().numpy(), np.logaddexp(0, z0) - y * z0, rtol=1e-14, atol=1e-16)  # one cancellation
    cost.sum().backward()
    # a - y, which loses no digit where they differ by much; e**-40 comes with its own digits
    assert_allclose(z.grad, special.expit(z0) - y, rtol=1e-14)


MOVES: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda p: p,
    "reshape": lambda p: p.reshape(3, 1),
    "index": lambda p: p[np.array([2, 0, 1])],
    "slice": lambda p: p[::-1],
    "transpose": lambda p: p.reshape(1, 3).T,
    "all of them": lambda p: p.reshape(3, 1).T[0][::-1],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("move", MOVES)
def test_rearranged_probability_stays_exact(form: str, move: str) -> None:
    z0 = np.array([-1000.0, 0.5, 1000.0])
    z = leaf(z0)
    out = FORMS[form](MOVES[move](sigmoid(z)))
    value, derivative = exact(form, z0)
    assert_allclose(np.sort(out.detach().numpy(), axis=None), np.sort(value), rtol=1e-15)
    out.sum().backward()
    assert_allclose(z.grad, derivative, rtol=1e-15)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("create_graph", [False, True])
def test_derivative_at_the_probability_is_that_of_the_plain_form(form: str, move: str, create_graph: bool) -> None:
    z0 = np.array([-2.0, 0.5, 3.0])
    z = leaf(z0)
    p = sigmoid(z)
    gp, gz = grad(FORMS[form](MOVES[move](p)).sum(), [p, z], create_graph=create_graph)
    a = special.expit(z0)
    # Where 1 - a is formed it has lost two digits at z = 3.
    assert_allclose(gp.detach().numpy(), 1 / a if form == "log p" else -1 / (1 - a), rtol=1e-13)
    assert_allclose(gz.detach().numpy(), exact(form, z0)[1], rtol=1e-15)  # counted once


def test_retained_gradient_of_a_probability_does_not_count_twice() -> None:
    z0 = np.array([-1000.0, 0.5, 1000.0])
    z = leaf(z0)
    p = sigmoid(z)
    p.retain_grad()
    np.log(p).sum().backward()
    assert_allclose(p.grad[1:], 1 / special.expit(z0[1:]), rtol=1e-15)
    assert p.grad[0] == np.inf
    assert_allclose(z.grad, exact("log p", z0)[1], rtol=1e-15)


def test_probability_used_elsewhere_too_receives_both_shares() -> None:
    z0 = np.array([-3.0, 0.5, 40.0])
    z = leaf(z0)
    p = sigmoid(z)
    y = np.log(p) + p * p + np.log(1 - p[:2]).sum()
    gp, gz = grad(y.sum(), [p, z])
    a = special.expit(z0)
    away = np.array([3.0, 3.0, 0.0])  # the sum over two entries was added to three
    expected = 1 / a + 2 * a - away / np.where(away > 0, 1 - a, 1)
    assert_allclose(gp.data, expected, rtol=1e-13)  # 1 - a has lost a digit
    assert_allclose(gz.data, special.expit(-z0) + 2 * a * a * special.expit(-z0) - away * a, rtol=1e-14)


def test_hook_on_a_probability_sees_and_changes_what_flows_on() -> None:
    z0 = np.array([-2.0, 0.5])
    seen: list[ndarray] = []
    z = leaf(z0)
    p = sigmoid(z)
    p.register_hook(seen.append)
    np.log(p).sum().backward()
    a = special.expit(z0)
    assert_allclose(seen[0], 1 / a, rtol=1e-15)
    assert_allclose(z.grad, 1 - a, rtol=1e-14)
    z = leaf(z0)
    p = sigmoid(z)
    p.register_hook(lambda ct: ct * 10)
    (np.log(p).sum() + p.sum()).backward()
    assert_allclose(z.grad, 10 * (1 / a + 1) * a * (1 - a), rtol=1e-14)


def test_hook_beside_the_probability_does_not_cost_its_digits() -> None:
    z0 = np.array([-1000.0, 1000.0])
    z = leaf(z0)
    seen: list[ndarray] = []
    h = z * 1
    h.register_hook(seen.append)
    z.register_hook(seen.append)
    np.log(sigmoid(h)).sum().backward()
    assert_allclose(z.grad, [1.0, 0.0])
    assert len(seen) == 2


def test_change_of_the_logit_after_the_probability_is_not_seen() -> None:
    x = leaf([1.0, -1.0])
    z = x * 2
    p = sigmoid(z)
    z[0] = 100.0
    y = np.log(p)
    assert_allclose(y.detach().numpy(), special.log_expit([2.0, -2.0]), rtol=1e-15)
    y.sum().backward()
    assert_allclose(x.grad, 2 * special.expit([-2.0, 2.0]), rtol=1e-15)
    leaf_z = leaf([1.0])
    p = sigmoid(leaf_z)
    leaf_z.data[0] = 50.0
    assert_allclose(np.log(p).item(), special.log_expit(1.0), rtol=1e-15)


def test_probability_written_to_is_a_probability_no_longer() -> None:
    z = leaf([1.0, 2.0])
    p = sigmoid(z)
    p[0] = 0.25
    y = np.log(p)
    assert y.item(0) == np.log(0.25)
    y.sum().backward()
    assert_allclose(z.grad, [0.0, special.expit(-2.0)], rtol=1e-14)


def test_second_derivative_past_a_probability() -> None:
    z0 = np.array([-1000.0, -2.0, 0.5, 1000.0])
    z = leaf(z0)
    (g,) = grad(np.log(sigmoid(z)).sum(), z, create_graph=True)
    (h,) = grad(g.sum(), z)
    assert_allclose(h.data, -special.expit(z0) * special.expit(-z0), rtol=1e-14)


def test_anomaly_detection_is_silent_past_a_saturated_probability() -> None:
    z = leaf([-1000.0, 1000.0])
    y = np.array([0.0, 1.0])
    with detect_anomaly():
        h = sigmoid(z)
        (-(y * np.log(h) + (1 - y) * np.log(1 - h))).sum().backward()
    assert_array_equal(z.grad, [0.0, 0.0])


# --- detect_anomaly -----------------------------------------------------------------------------------------------


def test_anomaly_in_the_forward_pass_names_operation_and_line() -> None:
    x = leaf([-1.0])
    with (
        detect_anomaly(),
        np.errstate(invalid="ignore"),
        pytest.raises(
            AnomalyError, match=r"numpy\.log made a NaN.*test_backward\.py:\d+ in test_anomaly_in_the_forward"
        ),
    ):
        np.log(x)
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.log(x).item())  # only where it was asked for


def test_anomaly_is_not_blamed_on_whom_it_passes_through() -> None:
    x = leaf([np.nan, 1.0])
    with detect_anomaly():
        y = np.exp(x) * 2
    assert np.isnan(y.item(0))


def test_anomaly_in_backward_names_operation_and_line() -> None:
    x = leaf([0.0])
    with detect_anomaly():
        y = np.sqrt(x)
        z = y * y
        with pytest.raises(
            AnomalyError, match=r"backward of numpy\.sqrt made a NaN; it was called at .*test_backward\.py"
        ):
            z.sum().backward()
    assert x.grad is None


def test_anomaly_in_a_graph_recorded_before_has_no_line() -> None:
    x = leaf([0.0])
    y = np.sqrt(x)
    z = (y * y).sum()
    with detect_anomaly(), pytest.raises(AnomalyError, match=r"backward of numpy\.sqrt made a NaN$"):
        z.backward()


def test_anomaly_names_the_module() -> None:
    from tinygrad_fnn import nn

    class Roots(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return np.log(x)  # type: ignore[return-value]  # the protocol gives a Tensor

    with (
        detect_anomaly(),
        np.errstate(invalid="ignore"),
        pytest.raises(AnomalyError, match=r"numpy\.log.*in module Roots"),
    ):
        Roots()(leaf([-1.0]))


def test_anomaly_detection_does_not_change_the_numbers() -> None:
    def f(x: Tensor) -> Tensor:
        with np.errstate(divide="ignore"):
            return np.where(x > 0, np.log(x), 0) * np.exp(x) + np.sqrt(x * x)

    at = [0.0, 0.3, 2.0]
    plain = slope(f, at)
    with detect_anomaly():
        assert_array_equal(slope(f, at), plain)


# --- shares added in place --------------------------------------------------------------------------------------------


def sum_of_pieces(x: Tensor, indices: list[Any], weights: list[ndarray]) -> Any:
    total: Any = 0.0
    for index, weight in zip(indices, weights, strict=True):
        total = total + np.sum(x[index] * weight)
    return total


def pieces() -> list[Any]:
    """Indices of every kind into shape (4, 3), some of which name entries twice."""
    rows, mask = np.array([2, 0, 2]), np.array([True, False, True, True])
    return [0, -1, slice(1, 3), (slice(None), 1), rows, mask, (rows, rows), (Ellipsis, None, 2), [3, 3], ()]


def test_pieces_of_one_array_add_up_in_its_gradient() -> None:
    rng = np.random.default_rng(0)
    x = leaf(rng.normal(size=(4, 3)))
    weights = [rng.normal(size=np.zeros(x.shape)[index].shape) for index in pieces()]
    expected = np.zeros(x.shape)
    for index, weight in zip(pieces(), weights, strict=True):
        np.add.at(expected, index, weight)
    out = sum_of_pieces(x, pieces(), weights)
    (recorded,) = grad(out, x, create_graph=True)
    (plain,) = grad(out, x)
    assert_allclose(plain.numpy(), expected, rtol=1e-13, atol=1e-15)  # another order of the sum
    assert_allclose(recorded.detach().numpy(), expected, rtol=1e-13, atol=1e-15)


def test_pieces_leave_the_cotangents_of_others_alone() -> None:
    """The array that y receives first is also the share of z and the user's own; a piece of y must not write there."""
    x = leaf([1.0, 2.0, 3.0])
    pieces_first = x[0] + x[1]
    y, z = x * 1.0, x * 2.0
    ends = y[0] * 10.0 + y[2] * 10.0
    both = y + z  # recorded last, so that its cotangent reaches y and z before the pieces do
    ct = np.array([1.0, 1.0, 1.0])
    ct_y, ct_z, ct_x = grad([both, ends, pieces_first], [y, z, x], [ct, 1.0, 1.0])
    assert ct.tolist() == [1, 1, 1]
    assert ct_z.tolist() == [1, 1, 1]
    assert ct_y.tolist() == [11, 1, 11]
    assert ct_x.tolist() == [11 + 2 + 1, 1 + 2 + 1, 11 + 2]


def test_a_seed_that_also_receives_pieces_stays_the_callers() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3.0
    ct = np.ones(2)
    (found,) = grad([y, y[0], y[0]], x, [ct, 1.0, 1.0])
    assert found.tolist() == [9, 3]
    assert ct.tolist() == [1, 1]


def test_pieces_of_a_scalar_and_of_float32_keep_shape_and_dtype() -> None:
    scalar = leaf(2.0)
    (found,) = grad((scalar[()] + scalar[None] + scalar[...] + scalar * 1.0).sum(), scalar)
    assert (found.shape, found.item()) == ((), 4.0)
    single = leaf(np.ones(3), np.float32)
    (found,) = grad(single[0] + single[1:].sum() + single[0], single)
    assert (found.dtype, found.tolist()) == (np.float32, [2, 1, 1])


def test_rows_of_a_large_array_cost_no_array_each() -> None:
    X = leaf(np.ones((400, 400)))
    total: Any = 0.0
    for row in X:
        total = total + row.sum()
    tracemalloc.start()
    grad(total, X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * X.nbytes  # the first share, the sum, the copy handed out, and the walk's own records
