"""The further losses and the options of all: each against its formula by hand, and against PyTorch."""

import inspect
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tinygrad_fnn as tg
from tinygrad_fnn import Tensor, grad, gradcheck, nn
from tinygrad_fnn.errors import NoRuleError, ShapeError
from tinygrad_fnn.nn import functional as F
from tinygrad_fnn.nn import losses

RNG = np.random.default_rng(5)
M, K = 6, 4
Z = RNG.normal(size=(M, K)) * 3
P = RNG.uniform(0.05, 0.95, (M, K))
ROWS = RNG.dirichlet(np.ones(K), M)
LOG_Q = np.log(RNG.dirichlet(np.ones(K), M))
LABELS = np.array([0, 3, 1, 1, 2, 0])
IGNORED = np.array([0, -100, 1, 1, -100, 0])
BITS = RNG.integers(0, 2, (M, K)).astype(float)
W = np.array([0.5, 2.0, 1.0, 0.0])
SPARSE = np.where(BITS == 1, ROWS, 0)
FRACTIONS = RNG.uniform(0, 1, (M, K))

SUMS = {"mean": np.mean, "sum": np.sum, "none": lambda loss: loss, "course": lambda loss: loss.sum(axis=-1).mean()}
SUMS_OF_ROWS = SUMS | {"course": np.mean}


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def smoothed(y, e):
    return y * (1 - e) + e / K


def huber(d, delta):
    return np.where(np.abs(d) <= delta, d**2 / 2, delta * (np.abs(d) - delta / 2))


def margins(x, y, p, margin, w):
    own = x[np.arange(M), y][:, None]
    lack = np.maximum(0, margin - own + x) ** p
    lack[np.arange(M), y] = 0
    return w[y] * lack.sum(axis=1) / K


def focal(z, y, alpha, gamma):
    p = 1 / (1 + np.exp(-z))
    true, share = np.where(y == 1, p, 1 - p), np.where(y == 1, alpha, 1 - alpha)
    return -share * (1 - true) ** gamma * np.log(true)


def weighted_rows(z, y, w, counts):
    """Losses of rows, and their average by what each counts."""
    rows = -(log_softmax(z) * y * w).sum(axis=1) * (counts > 0)
    return rows, rows.sum() / counts.sum()


ones = np.ones(K)

# Class, its options, the input, the target, the loss of each element or row by hand, and what divides their sum in a
# mean (None: their number). PyTorch's class has the same name, unless it stands at the end.
CASES = {
    "BCELoss": ({}, P, FRACTIONS, lambda: -(FRACTIONS * np.log(P) + (1 - FRACTIONS) * np.log(1 - P)), None),
    "BCELoss weight": ({"weight": W}, P, BITS, lambda: -W * np.log(np.where(BITS == 1, P, 1 - P)), None),
    "BCELoss weight of examples": (
        {"weight": LABELS[:, None] * 1.0},
        P,
        BITS,
        lambda: -LABELS[:, None] * np.log(np.where(BITS == 1, P, 1 - P)),
        None,
    ),
    "BCEWithLogitsLoss": ({}, Z, FRACTIONS, lambda: np.log1p(np.exp(Z)) - FRACTIONS * Z, None),
    "BCEWithLogitsLoss weight": ({"weight": W}, Z, BITS, lambda: W * (np.log1p(np.exp(Z)) - BITS * Z), None),
    "BCEWithLogitsLoss pos_weight": (
        {"pos_weight": W},
        Z,
        FRACTIONS,
        lambda: (1 - FRACTIONS) * np.log1p(np.exp(Z)) + W * FRACTIONS * np.log1p(np.exp(-Z)),
        None,
    ),
    "BCEWithLogitsLoss both": (
        {"pos_weight": W, "weight": P},
        Z,
        BITS,
        lambda: P * np.where(BITS == 1, W * np.log1p(np.exp(-Z)), np.log1p(np.exp(Z))),
        None,
    ),
    "MSELoss": ({}, Z, P, lambda: (Z - P) ** 2, None),
    "L1Loss": ({}, Z, P, lambda: np.abs(Z - P), None),
    "HuberLoss": ({}, Z, P, lambda: huber(Z - P, 1.0), None),
    "HuberLoss delta": ({"delta": 2.5}, Z, P, lambda: huber(Z - P, 2.5), None),
    "SmoothL1Loss": ({}, Z, P, lambda: huber(Z - P, 1.0), None),
    "SmoothL1Loss beta": ({"beta": 2.5}, Z, P, lambda: huber(Z - P, 2.5) / 2.5, None),
    "SmoothL1Loss 0": ({"beta": 0.0}, Z, P, lambda: np.abs(Z - P), None),
    "CrossEntropyLoss": ({}, Z, LABELS, lambda: -log_softmax(Z)[np.arange(M), LABELS], None),
    "CrossEntropyLoss weight": (
        {"weight": W},
        Z,
        LABELS,
        lambda: -W[LABELS] * log_softmax(Z)[np.arange(M), LABELS],
        W[LABELS].sum(),
    ),
    "CrossEntropyLoss ignore": (
        {},
        Z,
        IGNORED,
        lambda: np.where(IGNORED >= 0, -log_softmax(Z)[np.arange(M), IGNORED % K], 0),
        4,
    ),
    "CrossEntropyLoss ignore 1": (
        {"ignore_index": 1, "weight": W},
        Z,
        LABELS,
        lambda: np.where(LABELS != 1, -W[LABELS] * log_softmax(Z)[np.arange(M), LABELS], 0),
        W[LABELS[LABELS != 1]].sum(),
    ),
    "CrossEntropyLoss smoothing": (
        {"label_smoothing": 0.3},
        Z,
        LABELS,
        lambda: -(smoothed(np.eye(K)[LABELS], 0.3) * log_softmax(Z)).sum(axis=1),
        None,
    ),
    "CrossEntropyLoss all": (
        {"label_smoothing": 0.3, "weight": W},
        Z,
        IGNORED,
        lambda: np.where(IGNORED >= 0, -(W * smoothed(np.eye(K)[IGNORED % K], 0.3) * log_softmax(Z)).sum(axis=1), 0),
        W[IGNORED[IGNORED >= 0]].sum(),
    ),
    "CrossEntropyLoss probabilities": (
        {"label_smoothing": 0.3, "weight": W},
        Z,
        ROWS,
        lambda: -(W * smoothed(ROWS, 0.3) * log_softmax(Z)).sum(axis=1),
        None,
    ),
    "NLLLoss": ({}, LOG_Q, LABELS, lambda: -LOG_Q[np.arange(M), LABELS], None),
    "NLLLoss weight": (
        {"weight": W},
        LOG_Q,
        IGNORED,
        lambda: np.where(IGNORED >= 0, -W[IGNORED % K] * LOG_Q[np.arange(M), IGNORED % K], 0),
        W[IGNORED[IGNORED >= 0]].sum(),
    ),
    "NLLLoss ignore 1": (
        {"ignore_index": 1},
        LOG_Q,
        LABELS,
        lambda: np.where(LABELS != 1, -LOG_Q[np.arange(M), LABELS], 0),
        4,
    ),
    "KLDivLoss": ({}, LOG_Q, ROWS, lambda: ROWS * (np.log(ROWS) - LOG_Q), None),
    "KLDivLoss zeros": (
        {},
        LOG_Q,
        SPARSE,
        lambda: np.where(SPARSE > 0, SPARSE * (np.log(np.where(SPARSE > 0, SPARSE, 1)) - LOG_Q), 0),
        None,
    ),
    "KLDivLoss log_target": (
        {"log_target": True},
        LOG_Q,
        np.log(ROWS),
        lambda: ROWS * (np.log(ROWS) - LOG_Q),
        None,
    ),
    "HingeLoss": ({}, Z, 2 * BITS - 1, lambda: np.maximum(0, 1 - (2 * BITS - 1) * Z), None),
    "HingeLoss margin": ({"margin": 3.0}, Z, 2 * BITS - 1, lambda: np.maximum(0, 3 - (2 * BITS - 1) * Z), None),
    "MultiMarginLoss": ({}, Z, LABELS, lambda: margins(Z, LABELS, 1, 1.0, ones), None),
    "MultiMarginLoss p": (
        {"p": 2, "margin": 1.5, "weight": W},
        Z,
        LABELS,
        lambda: margins(Z, LABELS, 2, 1.5, W),
        None,
    ),
    "FocalLoss": ({}, Z, BITS, lambda: focal(Z, BITS, 0.25, 2.0), None),
    "FocalLoss half": ({"gamma": 0.5, "alpha": 0.9}, Z, BITS, lambda: focal(Z, BITS, 0.9, 0.5), None),
    "FocalLoss plain": ({"gamma": 0.0, "alpha": None}, Z, BITS, lambda: 2 * focal(Z, BITS, 0.5, 0.0), None),
}
every = pytest.mark.parametrize("name", CASES)


def made(name, reduction):
    return getattr(nn, name.partition(" ")[0])(**CASES[name][0], reduction=reduction)


def reductions(name):
    return getattr(nn, name.partition(" ")[0]).reductions


def test_every_loss_and_every_option_has_a_case():
    for kind in losses.__all__:
        options = set(inspect.signature(getattr(nn, kind).__init__).parameters) - {"self", "reduction"}
        tried = set().union(*(case[0] for name, case in CASES.items() if name.partition(" ")[0] == kind))
        assert tried >= options, kind
        assert any(name.partition(" ")[0] == kind for name in CASES), kind


@every
def test_value_is_the_formula_by_hand(name):
    _, x, y, by_hand, count = CASES[name]
    loss = by_hand()
    for reduction in reductions(name):
        if reduction == "batchmean":
            expected = loss.sum() / M
        elif reduction in ("mean", "course") and loss.ndim == 1:
            expected = loss.mean() if count is None else loss.sum() / count
        else:
            expected = SUMS[reduction](loss)
        ours = made(name, reduction)(x, y)
        assert ours.shape == np.shape(expected)
        assert_allclose(ours.numpy(), expected, rtol=1e-13, atol=1e-15)  # sums of 24 numbers; theirs, log(1 + e**z)


@every
def test_gradient_is_that_of_differences_to_second_order(name):
    _, x, y, _, _ = CASES[name]
    assert gradcheck(lambda x: made(name, "mean")(x, y), Tensor(x, requires_grad=True))
    x = Tensor(x, requires_grad=True)
    (slope,) = grad(made(name, "sum")(x, y), x, create_graph=True)
    if slope.requires_grad:
        h, v = 1e-5, np.random.default_rng(0).normal(size=x.shape)
        (ours,) = grad((slope * v).sum(), x)

        def at(t):
            moved = Tensor(x.detach().numpy() + t * v, requires_grad=True)
            return grad(made(name, "sum")(moved, y), moved)[0].numpy()

        # Central differences of the exact slope: h**2 times a third derivative of 1e4 at p = 0.05, and 1e-16 / h.
        assert_allclose(ours.numpy(), (at(h) - at(-h)) / (2 * h), rtol=1e-5, atol=1e-8)


@every
def test_float32_stays_float32(name):
    _, x, y, _, _ = CASES[name]
    narrow = Tensor(x.astype(np.float32), requires_grad=True)
    target = y.astype(np.float32) if y.dtype.kind == "f" else y
    loss = made(name, "mean").float()(narrow, target)
    loss.backward()
    assert loss.dtype == narrow.grad.dtype == np.float32
    assert_allclose(loss.item(), made(name, "mean")(x, y).item(), rtol=1e-5)


@every
def test_losses_of_no_examples(name):
    _, x, y, _, _ = CASES[name]
    if "of examples" in name or name == "BCEWithLogitsLoss both":
        pytest.skip("its weights belong to the six examples")
    assert made(name, "sum")(x[:0], y[:0]).item() == 0
    assert made(name, "none")(x[:0], y[:0]).size == 0
    with pytest.raises(ValueError, match="no elements"):
        made(name, "mean")(x[:0], y[:0])


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # KLDivLoss tells that 'batchmean' is meant mostly
@every
def test_value_and_gradient_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    options, x, y, _, _ = CASES[name]
    kind = getattr(torch.nn, name.partition(" ")[0], None)
    if kind is None:
        pytest.skip("PyTorch has no such loss")
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    for reduction in {"mean", "sum", "none", *reductions(name)} - {"course"}:
        ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out = made(name, reduction)(ours, y)
        other = kind(**options, reduction=reduction)(theirs, torch.tensor(y))
        out.sum().backward()
        other.sum().backward()
        assert_allclose(out.detach().numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-15)
        assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-11, atol=1e-15)  # theirs rounds 1 / m, and 1 - p


# --- at the edges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_exact_at_any_logit(gamma):
    z = Tensor([1000.0, -1000.0, 800.0, -40.0, 40.0], requires_grad=True)
    y = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    loss = F.sigmoid_focal_loss(z, y, alpha=None, gamma=gamma, reduction="none")
    (first,) = grad(loss.sum(), z, create_graph=True)
    (second,) = grad(first.sum(), z)
    assert np.isfinite(second.numpy()).all()
    t = np.array([-1000.0, -1000.0, 800.0, -40.0, 40.0])
    q = np.array([1.0, 1.0, 0.0, 1 / (1 + np.exp(-40.0)), np.exp(-40.0) / (1 + np.exp(-40.0))])
    ce = np.array([1000.0, 1000.0, 0.0, 40.0 + np.exp(-40.0), np.exp(-40.0)])
    assert_allclose(loss.detach().numpy(), q**gamma * ce, rtol=1e-13, atol=1e-320)
    # d/dt of -q**gamma log p with q = 1 - p: -q**gamma (gamma p ce + q).
    slope = -(q**gamma) * (gamma * (1 - q) * ce + q)
    assert_allclose(first.detach().numpy(), np.where(y == 1, slope, -slope), rtol=1e-13, atol=1e-320)
    assert (t == np.where(y == 1, z.detach().numpy(), -z.detach().numpy())).all()


def test_weighted_logits_are_exact_at_any_logit():
    z = Tensor([1000.0, -1000.0, 1000.0, -1000.0], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(z, [1.0, 1.0, 0.0, 0.0], "none", pos_weight=3.0)
    loss.sum().backward()
    assert_array_equal(loss.detach().numpy(), [0, 3000, 1000, 0])
    assert_array_equal(z.grad, [0, -3, 1, 0])


def test_weighted_probabilities_stay_exact_past_a_sigmoid():
    z = Tensor([800.0, -800.0], requires_grad=True)
    loss = F.binary_cross_entropy(tg.sigmoid(z), [0.0, 1.0], "sum", weight=[2.0, 3.0])
    loss.backward()
    assert loss.item() == 4000
    assert_array_equal(z.grad, [2, -3])


@pytest.mark.parametrize("loss", [F.huber_loss, F.smooth_l1_loss])
def test_second_derivative_of_the_parabola_and_the_line(loss):
    x = Tensor([0.0, 0.5, 1.0, -1.0, 1.5, -3.0, 1e200], requires_grad=True)
    (slope,) = grad(loss(x, np.zeros(7), "sum"), x, create_graph=True)
    assert_array_equal(slope.detach().numpy(), [0, 0.5, 1, -1, 1, -1, 1])
    (curvature,) = grad(slope.sum(), x)
    assert_array_equal(curvature.numpy(), [1, 1, 1, 1, 0, 0, 0])  # at the corner that of the parabola


def test_slopes_at_kinks_are_zero():
    for loss, x, y in ((F.l1_loss, [2.0], [2.0]), (F.hinge_loss, [1.0], [1.0]), (F.smooth_l1_loss, [3.0], [3.0])):
        x = Tensor(x, requires_grad=True)
        loss(x, y).backward()
        assert_array_equal(x.grad, [0])


def test_what_does_not_count_does_not_poison():
    log_p = Tensor([[0.0, -np.inf], [0.0, -np.inf], [-1.0, -2.0]], requires_grad=True)
    loss = F.nll_loss(log_p, [1, 1, 0], weight=[1.0, 0.0])
    loss.backward()
    assert loss.item() == 1
    assert_array_equal(log_p.grad, [[0, 0], [0, 0], [-1, 0]])
    log_q = Tensor([-np.inf, 0.0], requires_grad=True)
    y = Tensor([0.0, 1.0], requires_grad=True)
    F.kl_div(log_q, y, "sum").backward()
    assert_array_equal(log_q.grad, [0, -1])
    assert np.isfinite(y.grad).all()
    log_q.grad = None
    F.kl_div(log_q, [-np.inf, 0.0], "sum", log_target=True).backward()
    assert_array_equal(log_q.grad, [0, -1])


def test_derivatives_in_the_targets():
    y = Tensor(ROWS, requires_grad=True)
    assert gradcheck(lambda y: F.kl_div(LOG_Q, y), y)
    assert gradcheck(lambda y: F.kl_div(LOG_Q, y, log_target=True), y)
    assert gradcheck(lambda y: F.cross_entropy(Z, y, weight=W, label_smoothing=0.1), y)
    assert gradcheck(lambda y: F.binary_cross_entropy_with_logits(Z, y, pos_weight=W), y)
    assert gradcheck(lambda y: F.huber_loss(Z, y), y)


def test_ignored_labels_have_no_gradient():
    z = Tensor(Z, requires_grad=True)
    F.cross_entropy(z, IGNORED, label_smoothing=0.2, weight=W).backward()
    assert_array_equal(z.grad[IGNORED < 0], 0)
    assert (z.grad[IGNORED == 0] != 0).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_labels_of_every_integer_type(kind):
    for loss in (F.cross_entropy, F.nll_loss, F.multi_margin_loss):
        assert loss(LOG_Q, Tensor(LABELS.astype(kind))).item() == loss(LOG_Q, LABELS).item()


def test_one_example_without_a_batch():
    assert_allclose(F.nll_loss([-1.0, -2.0], 1).item(), 2)
    assert_allclose(F.cross_entropy([0.0, 0.0], 1, weight=[1.0, 3.0], label_smoothing=0.5).item(), np.log(2) * 5 / 6)
    assert_allclose(F.multi_margin_loss([0.0, 2.0], 0).item(), 1.5)
    assert F.kl_div(-1.0, 0.5, "batchmean").shape == ()


def test_weights_are_part_of_the_state_and_a_copy():
    weight = np.array([1, 2, 3])
    loss = nn.CrossEntropyLoss(weight=weight)
    weight[:] = 0
    assert_array_equal(loss.state_dict()["weight"], [1, 2, 3])
    assert loss.float().weight.dtype == np.float32
    assert list(nn.CrossEntropyLoss().state_dict()) == []


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.CrossEntropyLoss(W), TypeError, "CrossEntropyLoss: reduction.*a ndarray.*weight="),
        (lambda: F.cross_entropy(Z, LABELS, weight=W[:3]), ShapeError, r"cross_entropy: weight is \(3,\).*\(4,\)"),
        (lambda: F.nll_loss(Z, LABELS, weight=-W), ValueError, "nll_loss: weight must be >= 0"),
        (lambda: F.nll_loss(Z, LABELS, weight=W * np.nan), ValueError, "nll_loss: weight must be >= 0"),
        (lambda: F.cross_entropy(Z, LABELS, weight=["a"] * 4), TypeError, "weight has dtype"),
        (lambda: F.cross_entropy(Z, LABELS, label_smoothing=1.5), ValueError, r"label_smoothing.*\[0, 1\]; got 1.5"),
        (lambda: F.cross_entropy(Z, LABELS, label_smoothing="0.1"), TypeError, "label_smoothing.*'0.1'"),
        (
            lambda: F.cross_entropy(Z, np.full(M, -100)),
            ValueError,
            "cross_entropy: reduction='mean', but no target counts",
        ),
        (
            lambda: F.nll_loss(Z, np.full(M, 3), weight=W),
            ValueError,
            "nll_loss: reduction='mean', but no target counts",
        ),
        (lambda: F.nll_loss(Z, LABELS * 1.0), TypeError, "nll_loss: the labels have dtype float64"),
        (lambda: F.nll_loss(Z, LABELS + 4), ValueError, r"nll_loss: label . is outside 0 ... 3"),
        (lambda: F.nll_loss(Z[None], LABELS), ShapeError, r"nll_loss: log_p must be \(m, K\)"),
        (lambda: F.binary_cross_entropy_with_logits(Z, BITS, weight=np.ones(3)), ShapeError, r"weight is \(3,\)"),
        (lambda: F.binary_cross_entropy_with_logits(Z, BITS, pos_weight=-1), ValueError, "pos_weight must be >= 0"),
        (lambda: F.binary_cross_entropy(P, BITS, weight=np.ones((1, M, K))), ShapeError, r"weight is \(1, 6, 4\)"),
        (lambda: F.binary_cross_entropy(P, BITS, weight=Tensor(1.0, True)), NoRuleError, r"weight.detach\(\)"),
        (lambda: F.huber_loss(Z, P, delta=0.0), ValueError, "huber_loss: delta must be > 0"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "HuberLoss: delta must be > 0"),
        (lambda: nn.HuberLoss(delta=-1), ValueError, "HuberLoss: delta must be >= 0"),
        (lambda: F.smooth_l1_loss(Z, P, beta=-1.0), ValueError, "smooth_l1_loss: beta"),
        (lambda: F.kl_div(LOG_Q, -ROWS), ValueError, "kl_div: p holds a negative.*log_target=True"),
        (lambda: nn.MSELoss("batchmean"), ValueError, "MSELoss: reduction must be one of"),
        (lambda: F.hinge_loss(Z, BITS), ValueError, r"hinge_loss: targets must be -1 or 1; 2 \* y - 1"),
        (lambda: F.sigmoid_focal_loss(Z, FRACTIONS), ValueError, "sigmoid_focal_loss: targets must be 0 or 1"),
        (lambda: F.sigmoid_focal_loss(Z, Tensor(BITS, True)), NoRuleError, r"sigmoid_focal_loss.*y.detach\(\)"),
        (lambda: F.sigmoid_focal_loss(Z, BITS, alpha=2.0), ValueError, "sigmoid_focal_loss: alpha"),
        (lambda: nn.FocalLoss(-1.0), ValueError, "FocalLoss: gamma must be >= 0"),
        (lambda: nn.FocalLoss(alpha="0.5"), TypeError, "FocalLoss: alpha"),
        (lambda: nn.MultiMarginLoss(p=3), ValueError, "MultiMarginLoss: p must be 1 or 2; got 3"),
        (lambda: F.multi_margin_loss(Z, LABELS, p=1.5), ValueError, "multi_margin_loss: p"),
        (lambda: F.multi_margin_loss(Z, IGNORED), ValueError, "multi_margin_loss: label -100"),
    ],
)
def test_losses_refuse(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("alpha", "gamma", "reduction"), list(itertools.product([0.25, 0.7], [0.0, 2.0, 0.5], ["mean", "sum", "none"]))
)
def test_focal_loss_is_the_formula_of_pytorchs_library(alpha, gamma, reduction):
    torch = pytest.importorskip("torch")
    ours, theirs = Tensor(Z, requires_grad=True), torch.tensor(Z, requires_grad=True)
    y = torch.tensor(BITS)
    p = torch.sigmoid(theirs)
    ce = torch.nn.functional.binary_cross_entropy_with_logits(theirs, y, reduction="none")
    true = p * y + (1 - p) * (1 - y)
    other = (alpha * y + (1 - alpha) * (1 - y)) * ce * (1 - true) ** gamma
    other = {"mean": other.mean(), "sum": other.sum(), "none": other}[reduction]
    out = F.sigmoid_focal_loss(ours, BITS, alpha, gamma, reduction)
    assert_allclose(out.detach().numpy(), other.detach().numpy(), rtol=1e-11)  # theirs takes 1 - p_t, which cancels
    out.sum().backward()
    other.sum().backward()
    assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64])
def test_a_label_has_the_bits_of_a_row_with_a_single_1(dtype, kind):
    """Masked classes, tails and ties too; laid out by column, as `linear` does with tall batches; one row alone."""
    inf = np.inf
    hard = [
        [0, -inf, 3, 3],
        [1e3, -1e3, 0, 1e3],
        [-0.0, 0, 0, 0],
        [-inf, -inf, -inf, 2],
        [inf, 0, 1, 2],
        [np.nan, 0, 1, 2],
    ]
    rows = np.concatenate((np.random.default_rng(0).normal(size=(5, 4)) * 10, hard)).astype(dtype)
    for label in range(4):
        y = np.full(len(rows), label, kind)
        for z in (rows, np.asfortranarray(rows), rows[::-1]):
            found = []
            for target in (y, np.eye(4, dtype=dtype)[y]):
                logits = Tensor(z, requires_grad=True)
                with np.errstate(all="ignore"):
                    loss = F.cross_entropy(logits, target, "none")
                loss.backward(np.full(len(z), 2, dtype))
                found.append((loss.detach().numpy(), logits.grad))
            for ours, theirs in zip(*found, strict=True):
                assert_array_equal(ours, theirs)
    alone = F.cross_entropy(rows[0], y[0], "none"), F.cross_entropy(rows[0], np.eye(4, dtype=dtype)[y[0]], "none")
    assert alone[0].shape == ()
    assert alone[0].item() == alone[1].item()
