"""The average of the weights against its sum, and that it gives the parameters back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, nn
from tinygrad_fnn.optim import EMA, SGD


def test_average_is_the_weighted_sum_of_all_values():
    p = Tensor([1.0, -1.0], requires_grad=True)
    average = EMA([p], decay=0.8)
    path = [p.data.copy()]
    rng = np.random.default_rng(0)
    for _ in range(7):
        p.data = rng.normal(size=2)
        path.append(p.data.copy())
        average.update()
    weights = 0.2 * 0.8 ** np.arange(7, -1, -1)
    weights[0] = 0.8**7
    # A few roundings in each of 7 updates.
    assert_allclose(average.state_dict()["averages"]["0"], weights @ np.array(path), rtol=1e-14)
    assert average.updates == 7


def test_applied_gives_the_averages_and_then_the_values_back():
    model = nn.Linear(2, 1, rng=0)
    average = EMA(model, decay=0.5)
    start = model.state_dict()
    for p in model.parameters():
        p.data += 2.0
    average.update()
    trained = model.state_dict()
    with average.applied():
        for name, value in model.state_dict().items():
            assert_allclose(value, start[name] + 1, rtol=1e-15)
    for name, value in model.state_dict().items():
        assert_array_equal(value, trained[name])


def test_the_values_come_back_after_an_error_too():
    p = Tensor([1.0], requires_grad=True)
    average = EMA([p], decay=0.5)
    p.data = [3.0]
    with pytest.raises(ZeroDivisionError), average.applied():
        1 / (p.item() - 1.0)  # the average is still the first value
    assert p.item() == 3.0


def test_training_goes_on_after_applied_and_the_average_is_not_written_to():
    p = Tensor([1.0, 2.0], requires_grad=True)
    optimizer, average = SGD([p], lr=1.0), EMA([p], decay=0.5)
    for _ in range(3):
        p.grad = np.ones(2)
        optimizer.step()
        average.update()
        with average.applied():
            held = p.detach()
            before = held.numpy()
        average.update()
        assert_array_equal(held.numpy(), before)
    assert_array_equal(p.data, [-2.0, -1.0])


def test_float32_stays_float32():
    p = Tensor([1.0], requires_grad=True, dtype=np.float32)
    average = EMA([p], decay=0.5)
    average.update()
    assert average.state_dict()["averages"]["0"].dtype == np.float32


def test_a_resumed_average_has_the_same_bits():
    def run(average, p, steps):
        for _ in range(steps):
            p.data = np.sin(p.data + 1)
            average.update()

    p = Tensor([0.3, 0.7], requires_grad=True)
    average = EMA([p], decay=0.9)
    run(average, p, 5)
    state, values = average.state_dict(), p.data.copy()
    run(average, p, 5)
    q = Tensor(values, requires_grad=True)
    other = EMA([q])
    other.load_state_dict(state)
    run(other, q, 5)
    assert repr(other.state_dict()) == repr(average.state_dict())
    assert_array_equal(other.state_dict()["averages"]["0"], average.state_dict()["averages"]["0"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decay"), "missing: decay"),
        (lambda s: s["averages"].pop("W"), r"missing: W \(1, 2\)"),
        (lambda s: s["averages"].update(V=np.ones(3)), r"unexpected: V \(3,\)"),
        (lambda s: s["averages"].update(b=np.ones(3)), r"shape: b is \(3,\), wanted \(1,\)"),
        (lambda s: s.update(decay=1.5), "decay is 1.5"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    average = EMA(nn.Linear(2, 1, rng=0), decay=0.5)
    state = average.state_dict()
    before = repr(state)
    change(state)
    with pytest.raises(ValueError, match=message):
        average.load_state_dict(state)
    assert repr(average.state_dict()) == before


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: EMA(3), TypeError, "got a int"),
        (lambda: EMA(Tensor([1.0])), TypeError, "got a Tensor"),
        (lambda: EMA([np.ones(2)]), TypeError, "parameter 0 is no leaf"),
        (lambda: EMA([]), ValueError, "no parameters"),
        (lambda: EMA([Tensor([1.0])], decay=1.0), ValueError, r"decay is 1.0, wanted a number in \[0, 1\)"),
        (lambda: EMA([Tensor([1.0])]).load_state_dict(3), TypeError, "got a int"),
    ],
)
def test_refusals(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_representation():
    assert repr(EMA([Tensor([1.0])], decay=0.5)) == "EMA(1 parameters, decay=0.5, updates=0)"
