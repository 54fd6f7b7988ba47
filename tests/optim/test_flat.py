"""Parameters as views of one vector: what old graphs and snapshots hold never changes, and what is assigned counts."""

import copy
import gc
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, nn, no_grad
from tinygrad_fnn.optim import SGD, Adam


def pair():
    return [Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), Tensor([5.0, 6.0], requires_grad=True)]


def values(params):
    return [p.detach().numpy() for p in params]


def take_a_step(optimizer, params, by=1.0):
    for p in params:
        p.grad = np.full(p.shape, by)
    optimizer.step()


def address(array):
    return array.__array_interface__["data"][0]


def memory(params):
    return address(params[0].detach()._value)


# --- nothing that was used changes ------------------------------------------------------------------------------------


def cost(params):
    return (params[0] @ params[1]).sum() + (params[1] ** 3).sum()


def test_a_graph_of_any_age_keeps_the_values_it_was_recorded_with():
    params = pair()
    optimizer = SGD(params, lr=0.25)
    recorded = []
    for _ in range(6):
        at = values(params)
        recorded.append((cost(params), at))
        take_a_step(optimizer, params)
    for J, (W, b) in recorded:
        for p in params:
            p.grad = None
        J.backward()
        assert_array_equal(params[0].grad, np.tile(b, (2, 1)))
        assert_allclose(params[1].grad, W.sum(axis=0) + 3 * b**2, rtol=1e-15)


def test_a_graph_that_is_kept_and_walked_again_gives_the_same():
    params = pair()
    optimizer = Adam(params, lr=0.25)
    take_a_step(optimizer, params)
    J = cost(params)
    for p in params:
        p.grad = None
    J.backward(retain_graph=True)
    first = [p.grad for p in params]
    for _ in range(4):
        take_a_step(optimizer, params)
    for p in params:
        p.grad = None
    J.backward()
    assert_array_equal(params[0].grad, first[0])
    assert_array_equal(params[1].grad, first[1])


HOLDERS = {
    "detach": lambda p: p.detach(),
    "a view of it": lambda p: p.detach()[:1],
    "transposed, recorded": lambda p: p.T,
    "an array that shares memory": lambda p: np.asarray(p.detach(), copy=False),
    "a view of that": lambda p: np.asarray(p.detach(), copy=False)[::-1, 1:],
    "a buffer": lambda p: memoryview(np.asarray(p.detach(), copy=False)),
    "data, lent": lambda p: p.data,
    "data of a result": lambda p: p.reshape(4).data,
    "a strided window": lambda p: np.lib.stride_tricks.sliding_window_view(np.asarray(p.detach(), copy=False), 2, 1),
}


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("others", [True, False], ids=["all step", "one steps"])
def test_whoever_holds_the_values_of_a_step_keeps_them(hold, others):
    params = pair()
    optimizer = SGD(params, lr=1.0)
    for _ in range(3):
        take_a_step(optimizer, params)
    held = hold(params[0])
    before = np.array(held.data if isinstance(held, Tensor) else held)
    for _ in range(4):
        take_a_step(optimizer, params if others else params[1:])
    assert_array_equal(held.data if isinstance(held, Tensor) else held, before)


def test_a_step_inside_a_forward_pass_does_not_reach_what_was_computed():
    params = pair()
    optimizer = SGD(params, lr=1.0)
    take_a_step(optimizer, params)
    half = params[0] @ params[1]
    with no_grad():
        expected = (params[0] @ params[1]).numpy()
    take_a_step(optimizer, params)
    take_a_step(optimizer, params)
    assert_array_equal(half.data, expected)


def test_without_such_holders_two_vectors_serve_all_steps():
    """If the count of references were off by one, each step would take a new vector, or worse, write to one in use."""
    params = pair()
    optimizer = SGD(params, lr=0.01)
    seen = []
    for _ in range(6):
        cost(params).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(memory(params))
    assert seen == seen[:2] * 3
    assert seen[0] != seen[1]


def test_a_parameter_that_is_skipped_does_not_hold_a_vector():
    params = pair()
    optimizer = SGD(params, lr=0.01)
    take_a_step(optimizer, params)
    params[1].grad = None
    seen = []
    for _ in range(6):
        params[0].grad = np.ones((2, 2))
        optimizer.step()
        seen.append(memory(params))
    assert seen == seen[:2] * 3


def test_an_old_graph_frees_its_vector_when_it_dies():
    params = pair()
    optimizer = SGD(params, lr=0.01)
    take_a_step(optimizer, params)
    J = cost(params)
    take_a_step(optimizer, params)
    take_a_step(optimizer, params)
    assert gc.is_tracked(J)
    del J
    take_a_step(optimizer, params)
    seen = []
    for _ in range(4):
        take_a_step(optimizer, params)
        seen.append(memory(params))
    assert seen == seen[:2] * 2


# --- what happens to the values between steps counts ------------------------------------------------------------------


def rebind(p):
    p.data = np.full(p.shape, 7.0)


def write(p):
    p.data[...] = 7.0


def augment(p):
    with no_grad():
        p *= 0
        p += 7.0


@pytest.mark.parametrize("change", [rebind, write, augment])
@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_values_given_to_a_parameter_between_steps_are_stepped_from(change, which, steps):
    params = pair()
    expected = values(params)
    optimizer = SGD(params, lr=1.0)
    for _ in range(steps):
        take_a_step(optimizer, params)
        expected = [e - 1 for e in expected]
    for k in which:
        change(params[k])
        expected[k] = np.full(params[k].shape, 7.0)
    for _ in range(3):
        take_a_step(optimizer, params)
        expected = [e - 1 for e in expected]
        for p, e in zip(params, expected, strict=True):
            assert_array_equal(p.detach().numpy(), e)


def test_a_lent_array_of_a_skipped_parameter_stays_writable():
    params = pair()
    optimizer = SGD(params, lr=1.0)
    take_a_step(optimizer, params)
    lent = params[1].data
    params[1].grad = None
    for _ in range(2):
        optimizer.step()
    lent[...] = 9.0
    assert_array_equal(params[1].data, [9.0, 9.0])
    take_a_step(optimizer, params)
    assert_array_equal(params[1].data, [8.0, 8.0])


def test_a_lent_array_is_locked_by_a_step():
    params = pair()
    optimizer = SGD(params, lr=1.0)
    lent = params[0].data
    take_a_step(optimizer, params)
    with pytest.raises(ValueError, match="read-only"):
        lent[...] = 0.0
    assert_array_equal(lent, [[1.0, 2.0], [3.0, 4.0]])


def test_two_optimizers_may_share_a_parameter():
    a, b, c = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(3))
    first, second = SGD([a, b], lr=1.0), SGD([b, c], lr=10.0)
    for _ in range(3):
        take_a_step(first, [a, b, c])
        take_a_step(second, [a, b, c])
    assert_array_equal(a.data, [-2.0, -1.0])
    assert_array_equal(b.data, [-32.0, -31.0])
    assert_array_equal(c.data, [-29.0, -28.0])


def test_a_loaded_model_is_stepped_from():
    model = nn.Linear(2, 2, rng=0)
    optimizer = SGD(model.parameters(), lr=1.0)
    start = model.state_dict()
    for _ in range(3):
        take_a_step(optimizer, list(model.parameters()))
        model.load_state_dict(start)
    take_a_step(optimizer, list(model.parameters()))
    for name, value in model.state_dict().items():
        assert_array_equal(value, start[name] - 1)


def test_a_converted_model_goes_on_with_the_state_in_its_dtype():
    model = nn.Linear(2, 2, rng=0)
    twin = nn.Linear(2, 2, rng=0)
    optimizers = [Adam(m.parameters(), lr=0.1) for m in (model, twin)]
    for turn in range(4):
        if turn == 2:
            model.to(np.float32)
        for m, optimizer in zip((model, twin), optimizers, strict=True):
            take_a_step(optimizer, list(m.parameters()), by=turn + 1.0)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.dtype == np.float32
        assert_allclose(p.data, q.data, rtol=1e-5, atol=1e-6)  # two steps in float32


def test_parameters_in_column_order_and_gradients_of_any_layout():
    p = Tensor(np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    optimizer = SGD([p], lr=1.0)
    for k in range(3):
        p._node.grad = np.array([[0.0, 1.0], [2.0, 3.0]]).T if k % 2 else np.array([[0.0, 2.0], [1.0, 3.0]])
        optimizer.step()
    assert_array_equal(p.data, [[1.0, -4.0], [0.0, -5.0]])


def pickled(both):
    return pickle.loads(pickle.dumps(both))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickled])
def test_a_copy_of_model_and_optimizer_lives_its_own_life(duplicate):
    model = nn.Linear(2, 2, rng=0)
    optimizer = Adam(model.parameters(), lr=0.1)
    take_a_step(optimizer, list(model.parameters()))
    twin, its = duplicate((model, optimizer))
    before = model.state_dict()
    for _ in range(3):
        take_a_step(its, list(twin.parameters()))
    for name, value in model.state_dict().items():
        assert_array_equal(value, before[name])
    for _ in range(3):
        take_a_step(optimizer, list(model.parameters()))
    for name, value in model.state_dict().items():
        assert_array_equal(value, twin.state_dict()[name])
