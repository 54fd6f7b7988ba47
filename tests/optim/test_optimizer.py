"""Steps of the optimisers against the formulas of their papers, written out for one parameter, and against PyTorch."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinygrad_fnn import Tensor
from tinygrad_fnn.optim import SGD, Adam

START = np.array([1.0, -2.0, 0.5])
SCALES = np.array([1.0, 10.0, 0.1])


def run(optimizer, w, steps=5):
    """Minimise sum(scale * w**2 / 2), whose gradient is scale * w; the path of w."""
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        (SCALES * w * w / 2).sum().backward()
        optimizer.step()
        path.append(w.data.copy())
    return np.array(path)


def leaf(dtype=float):
    return Tensor(START, requires_grad=True, dtype=dtype)


def test_plain_sgd_multiplies_by_one_minus_lr_times_curvature():
    w = leaf()
    path = run(SGD([w], lr=0.05), w)
    assert_allclose(path, [START * (1 - 0.05 * SCALES) ** k for k in range(1, 6)], rtol=1e-14)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_sutskever(nesterov):
    w = leaf()
    path = run(SGD([w], lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=nesterov), w)
    p, v = START.copy(), np.zeros(3)
    for row in path:
        g = SCALES * p + 0.1 * p
        v = 0.9 * v + g
        p = p - 0.05 * (g + 0.9 * v if nesterov else v)
        assert_allclose(row, p, rtol=1e-13)


def test_adam_follows_algorithm_1_of_kingma_and_ba():
    w = leaf()
    path = run(Adam([w], lr=0.1, betas=(0.8, 0.95), eps=1e-6), w)
    p, m, v = START.copy(), np.zeros(3), np.zeros(3)
    for t, row in enumerate(path, 1):
        g = SCALES * p
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g**2
        p = p - 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        assert_allclose(row, p, rtol=1e-12)


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (SGD, "SGD", {"lr": 0.05}),
        (SGD, "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
        (SGD, "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        (Adam, "Adam", {"lr": 0.1}),
        (Adam, "Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ],
)
def test_steps_equal_those_of_pytorch(ours, name, options):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    w = leaf()
    path = run(ours([w], **options), w, steps=20)
    theirs = torch.tensor(START, requires_grad=True)
    optimizer = getattr(torch.optim, name)([theirs], **options)
    for row in path:
        optimizer.zero_grad()
        (torch.tensor(SCALES) * theirs**2 / 2).sum().backward()
        optimizer.step()
        assert_allclose(row, theirs.detach().numpy(), rtol=1e-12)  # rounding of 20 steps


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_float32_parameters_stay_float32(optimizer):
    w = leaf(np.float32)
    run(optimizer([w], lr=0.01), w)
    assert w.dtype == np.float32


def test_a_parameter_without_gradient_is_left_alone():
    used, unused = leaf(), leaf()
    used.sum().backward()
    Adam([used, unused]).step()
    assert (unused.data == START).all()


def test_a_step_does_not_reach_a_graph_recorded_before_it():
    w = leaf()
    cost = (w * w).sum()
    w.grad = np.ones(3)
    SGD([w], lr=0.5).step()
    w.grad = None
    cost.backward()
    assert_allclose(w.grad, 2 * START)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD([], lr=0.1), "no parameters"),
        (lambda: SGD([leaf()], lr=-1), r"lr is -1, wanted a number in \[0, inf\)"),
        (lambda: SGD([leaf()], lr=math.nan), "lr is nan"),
        (lambda: SGD([leaf()], momentum=1.0), r"momentum is 1.0, wanted a number in \[0, 1\)"),
        (lambda: SGD([leaf()], nesterov=True), "momentum, which is 0"),
        (lambda: Adam([leaf()], betas=(0.9, 1.0)), r"betas\[1\] is 1.0"),
        (lambda: Adam([leaf()], betas=0.9), "betas is 0.9, wanted two numbers"),
        (lambda: SGD([leaf()], lr=True), "lr is True"),
        (lambda: Adam([leaf()], eps=-1), "eps is -1"),
        (lambda: Adam([leaf()], lr="fast"), "lr is 'fast'"),
        (lambda: SGD([p := leaf(), p]), "listed twice"),
    ],
)
def test_bad_hyperparameters_and_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_bare_tensor_or_a_model_is_refused_with_what_to_pass():
    with pytest.raises(TypeError, match=r"SGD: params is a Tensor, .*pass \[p\]"):
        SGD(leaf())
    with pytest.raises(TypeError, match=r"params is a .*pass model.parameters\(\)"):
        SGD(lambda: [leaf()])
    assert SGD([leaf()], lr=np.float32(0.5)).lr == 0.5


@pytest.mark.parametrize("bad", [np.ones(3), Tensor([1.0]), leaf() * 2])
def test_what_is_no_leaf_that_requires_a_gradient_is_refused(bad):
    with pytest.raises(TypeError, match=r"params\[0\] is no leaf"):
        Adam([bad])
