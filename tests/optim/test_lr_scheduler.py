"""Learning rates against closed formulas written here, and against PyTorch step by step."""

import copy
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tinygrad_fnn import Tensor
from tinygrad_fnn.optim import SGD, Adam, RMSprop, lr_scheduler
from tinygrad_fnn.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

BASES = [0.5, 2.0]
STEPS = 23


def half(t):
    return 0.5**t


def optimizer(kind=SGD, **options):
    groups = [{"params": [Tensor([1.0], requires_grad=True)], "lr": lr} for lr in BASES]
    return kind(groups, **options)


def chain(module, made):
    parts = [module.LinearLR(made, 0.25, 1.0, 4), module.ExponentialLR(made, 0.9), module.StepLR(made, 5, 0.5)]
    return module.ChainedScheduler(parts)


def sequence(module, made):
    parts = [module.LinearLR(made, 0.1, 1.0, 4), module.CosineAnnealingLR(made, 10, 0.01), module.StepLR(made, 2, 0.5)]
    return module.SequentialLR(made, parts, milestones=[4, 14])


def cosine(t, T, base, low):
    return low + (base - low) * (1 + math.cos(math.pi * t / T)) / 2


def restarts(t, base):
    """T_0 = 3, T_mult = 2: restarts at 3, 9, 21."""
    begin, length = next((b, n) for b, n in [(21, 24), (9, 12), (3, 6), (0, 3)] if t >= b)
    return cosine(t - begin, length, base, 0.1)


def one_cycle(t, base):
    """30 % of 24 steps, less one, up from max_lr / 25; down to a 1e4th of that."""
    up, low, high = 6.2, 3.0 / 25, 3.0
    if t <= up:
        return high + (low - high) * (1 + math.cos(math.pi * t / up)) / 2
    return cosine(t - up, 23 - up, high, low / 1e4)


# Of each scheduler: how it is made (of our module or PyTorch's), and the rate after t steps by a formula, or None.
CASES = {
    "LambdaLR": (lambda m, o: m.LambdaLR(o, half), lambda t, b: b / 2**t),
    "LambdaLR each": (lambda m, o: m.LambdaLR(o, [half, lambda t: 1 / (1 + t)]), None),
    "StepLR": (lambda m, o: m.StepLR(o, 4, 0.3), lambda t, b: b * 0.3 ** (t // 4)),
    "MultiStepLR": (
        lambda m, o: m.MultiStepLR(o, [9, 3, 9], 0.5),
        lambda t, b: b * (1.0 if t < 3 else 0.5 if t < 9 else 0.125),
    ),
    "ExponentialLR": (lambda m, o: m.ExponentialLR(o, 0.9), lambda t, b: b * 0.9**t),
    "LinearLR": (lambda m, o: m.LinearLR(o), lambda t, b: b * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    "LinearLR down": (lambda m, o: m.LinearLR(o, 1.0, 0.0, 8), lambda t, b: b * (1 - min(t, 8) / 8)),
    "CosineAnnealingLR": (lambda m, o: m.CosineAnnealingLR(o, 10, 0.1), lambda t, b: cosine(t, 10, b, 0.1)),
    "CosineAnnealingWarmRestarts": (lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.1), restarts),
    "CosineAnnealingWarmRestarts even": (
        lambda m, o: m.CosineAnnealingWarmRestarts(o, 5),
        lambda t, b: cosine(t % 5, 5, b, 0.0),
    ),
    "OneCycleLR": (lambda m, o: m.OneCycleLR(o, 3.0, 24, cycle_momentum=False), one_cycle),
    "OneCycleLR linear": (
        lambda m, o: m.OneCycleLR(o, [3.0, 1.0], epochs=4, steps_per_epoch=6, anneal_strategy="linear"),
        None,
    ),
    "OneCycleLR three": (lambda m, o: m.OneCycleLR(o, 3.0, 25, pct_start=0.4, three_phase=True), None),
    "OneCycleLR down": (lambda m, o: m.OneCycleLR(o, 3.0, 24, pct_start=0.0, div_factor=10, final_div_factor=7), None),
    "SequentialLR": (
        sequence,
        lambda t, b: (
            b * (0.1 + 0.9 * t / 4) if t < 4 else cosine(t - 4, 10, b, 0.01) if t < 14 else b * 0.5 ** ((t - 14) // 2)
        ),
    ),
    "ChainedScheduler": (chain, lambda t, b: b * (0.25 + 0.75 * min(t, 4) / 4) * 0.9**t * 0.5 ** (t // 5)),
}
CLOSED = {name: case for name, case in CASES.items() if case[1] is not None}
FIGURES = [5.0, 4.0, 4.0, 4.0, 4.0, 3.99999, 4.0, 4.0, math.nan, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, -1.0, 0.0]
PLATEAUS = [
    {},
    {"patience": 1},
    {"patience": 0, "factor": 0.5, "cooldown": 2},
    {"mode": "max", "patience": 1, "threshold": 0.2, "min_lr": [0.01, 0.3]},
    {"patience": 2, "threshold_mode": "abs", "threshold": 0.5, "min_lr": 0.05},
    {"mode": "max", "patience": 2, "threshold_mode": "abs", "threshold": 0.5},
    {"patience": 0, "eps": 0.3},
]


def test_every_scheduler_is_here():
    assert {name.split()[0] for name in CASES} | {"ReduceLROnPlateau", "LRScheduler"} == set(lr_scheduler.__all__)


@pytest.mark.parametrize("name", CLOSED)
def test_rates_follow_the_formula(name):
    make, formula = CASES[name]
    scheduler = make(lr_scheduler, optimizer())
    for t in range(STEPS):
        # A few roundings, of which a factor close to 0 keeps the absolute size.
        assert_allclose(scheduler.get_last_lr(), [formula(t, b) for b in BASES], rtol=1e-12, atol=1e-15)
        assert scheduler.get_last_lr() == [group["lr"] for group in scheduler.optimizer.param_groups]
        scheduler.step()


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, about the order of steps, and about its own code
def test_rates_are_those_of_pytorch(name, kind):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    options = {"momentum": 0.9} if kind is SGD else {}
    ours = optimizer(kind, **options)
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in BASES]
    theirs = getattr(torch.optim, kind.__name__)(groups, **options)
    make, _ = CASES[name]
    scheduler, reference = make(lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    for _ in range(STEPS):
        for group, other in zip(ours.param_groups, theirs.param_groups, strict=True):
            # PyTorch multiplies from step to step, and its roundings add up.
            assert_allclose(group["lr"], other["lr"], rtol=1e-10, atol=1e-14)
            key = "betas" if "betas" in group else "momentum"
            assert_allclose(group[key], other[key], rtol=1e-12)
        scheduler.step()
        theirs.step()
        reference.step()


@pytest.mark.parametrize("options", PLATEAUS)
def test_plateaus_are_those_of_pytorch(options):
    torch = pytest.importorskip("torch", reason="PyTorch is the oracle here")
    ours = optimizer()
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in BASES]
    theirs = torch.optim.SGD(groups)
    scheduler = ReduceLROnPlateau(ours, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for figure in FIGURES:
        scheduler.step(figure)
        reference.step(figure)
        assert scheduler.get_last_lr() == [group["lr"] for group in theirs.param_groups]


def test_plateau_by_hand():
    """Two steps of patience after the best, one reduction, a cooldown of one, and the floor."""
    made = optimizer()
    scheduler = ReduceLROnPlateau(made, factor=0.1, patience=2, cooldown=1, min_lr=0.02)
    rates = []
    for figure in (Tensor(1.0), np.float64(2.0), 2, 2, 2, 2, 2, 2, 2):
        scheduler.step(figure)
        rates.append(made.param_groups[0]["lr"])
    assert_allclose(rates, [0.5] * 3 + [0.05] * 4 + [0.02] * 2, rtol=1e-15)


def test_one_cycle_ends_at_the_lowest_rate_and_then_refuses():
    scheduler = OneCycleLR(optimizer(), 3.0, 10, anneal_strategy="linear", cycle_momentum=False)
    for _ in range(10):
        scheduler.step()
    assert_allclose(scheduler.get_last_lr(), [3.0 / 25 / 1e4] * 2, rtol=1e-12)
    with pytest.raises(ValueError, match="step 11 of a cycle of total_steps=10"):
        scheduler.step()


def test_one_cycle_of_momentum_reaches_betas_and_momentum():
    for kind, read in ((Adam, lambda g: g["betas"][0]), (RMSprop, lambda g: g["momentum"])):
        options = {} if kind is Adam else {"momentum": 0.5}
        made = optimizer(kind, **options)
        scheduler = OneCycleLR(made, 1.0, 11, pct_start=5 / 11 + 1 / 11)
        seen = [read(made.param_groups[0])]
        for _ in range(10):
            scheduler.step()
            seen.append(read(made.param_groups[1]))
        assert_allclose([seen[0], seen[5], seen[10]], [0.95, 0.85, 0.95], rtol=1e-12)


def test_restarts_may_go_to_a_fraction_of_an_epoch():
    scheduler = CosineAnnealingWarmRestarts(optimizer(), 3, 2, 0.1)
    scheduler.step(3.75)
    assert_allclose(scheduler.get_last_lr(), [cosine(0.75, 6, b, 0.1) for b in BASES], rtol=1e-14)
    scheduler.step(1)
    scheduler.step()
    assert_allclose(scheduler.get_last_lr(), [cosine(2, 3, b, 0.1) for b in BASES], rtol=1e-14)


def test_a_group_that_is_added_later_has_its_own_base():
    made = optimizer()
    scheduler = StepLR(made, 1, 0.5)
    scheduler.step()
    made.add_param_group({"params": [Tensor([1.0], requires_grad=True)], "lr": 8.0})
    scheduler.step()
    assert scheduler.get_last_lr() == [0.125, 0.5, 2.0]


def test_a_chain_gives_each_schedule_the_rate_of_the_one_before():
    made = optimizer()
    scheduler = ChainedScheduler([ExponentialLR(made, 0.5), CosineAnnealingLR(made, 4, 0.1)], made)
    for _ in range(3):
        scheduler.step()
    assert_allclose(scheduler.get_last_lr(), [cosine(3, 4, b / 8, 0.1) for b in BASES], rtol=1e-14)


def test_last_epoch_goes_on_from_the_initial_rate():
    made = optimizer()
    with pytest.raises(ValueError, match="last_epoch=3 wants group"):
        StepLR(made, 2, 0.5, last_epoch=3)
    for group in made.param_groups:
        group["initial_lr"] = 1.0
    assert StepLR(made, 2, 0.5, last_epoch=3).get_last_lr() == [0.25, 0.25]


# --- state ------------------------------------------------------------------------------------------------------------


def plain(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(v) for key, v in value.items())
    return all(map(plain, value)) if isinstance(value, list) else type(value) in (str, int, float, bool, type(None))


EVERY = {
    **{name: (lambda o, make=make: make(lr_scheduler, o), lambda s, t: s.step()) for name, (make, _) in CASES.items()},
    **{
        f"ReduceLROnPlateau {options}": (
            lambda o, options=options: ReduceLROnPlateau(o, **options),
            lambda s, t: s.step(FIGURES[t % len(FIGURES)]),
        )
        for options in PLATEAUS
    },
}


def rates(scheduler, step, times):
    seen = []
    for t in times:
        step(scheduler, t)
        seen.append([(g["lr"], g["momentum"]) for g in scheduler.optimizer.param_groups])
    return seen


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("optimizer_too", [True, False])
def test_a_resumed_run_has_the_same_rates(name, optimizer_too):
    make, step = EVERY[name]
    scheduler = make(optimizer(momentum=0.5))
    rates(scheduler, step, range(7))
    state, of_optimizer = scheduler.state_dict(), scheduler.optimizer.state_dict()
    assert plain(state)
    kept = copy.deepcopy(state)
    now = scheduler.get_last_lr()
    whole = rates(scheduler, step, range(7, 20))
    other = make(optimizer(momentum=0.5))
    if optimizer_too:
        other.optimizer.load_state_dict(of_optimizer)
    other.load_state_dict(state)
    assert other.get_last_lr() == now
    assert rates(other, step, range(7, 20)) == whole
    assert repr(state) == repr(kept)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.update(scheduler="StepLR"), "it is of StepLR, wanted SequentialLR"),
        (lambda s: s.pop("milestones"), "missing: milestones"),
        (lambda s: s.update(gamma=1.0), "unexpected: gamma"),
        (lambda s: s["last_lr"].pop(), "groups: it has 1 of them, wanted 2"),
        (lambda s: s["schedulers"].pop(), "schedulers: it has 2 of them, wanted 3"),
        (lambda s: s["schedulers"][1].pop("T_max"), r"schedulers\[1\] missing: T_max"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(spoil, message):
    scheduler = sequence(lr_scheduler, optimizer())
    scheduler.step()
    state = scheduler.state_dict()
    before = repr(state)
    spoil(state)
    with pytest.raises(ValueError, match=message):
        scheduler.load_state_dict(state)
    assert repr(scheduler.state_dict()) == before


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda o: StepLR([], 1), TypeError, "optimizer is a list, wanted an Optimizer"),
        (lambda o: LRScheduler(o), NotImplementedError, "write _rate"),
        (lambda o: StepLR(o, 0), ValueError, "step_size is 0, wanted an int >= 1"),
        (lambda o: StepLR(o, 1.5), ValueError, "step_size is 1.5"),
        (lambda o: StepLR(o, 1, -0.1), ValueError, "gamma is -0.1"),
        (lambda o: StepLR(o, 1, last_epoch=-2), ValueError, "last_epoch is -2"),
        (lambda o: MultiStepLR(o, [3, 2.5]), ValueError, "milestones is 2.5"),
        (lambda o: ExponentialLR(o, math.nan), ValueError, "gamma is nan"),
        (lambda o: LinearLR(o, 0.0), ValueError, "start_factor is 0.0"),
        (lambda o: LinearLR(o, 0.5, 1.5), ValueError, "end_factor is 1.5"),
        (lambda o: LinearLR(o, total_iters=0), ValueError, "total_iters is 0"),
        (lambda o: CosineAnnealingLR(o, 0), ValueError, "T_max is 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2, 0), ValueError, "T_mult is 0"),
        (lambda o: CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError, "epoch is -1"),
        (lambda o: LambdaLR(o, [half]), ValueError, "1 functions for 2 groups"),
        (lambda o: OneCycleLR(o, 1.0), ValueError, "give total_steps, or epochs and steps_per_epoch"),
        (lambda o: OneCycleLR(o, 1.0, 10), ValueError, "momentum or betas; pass False"),
        (lambda o: OneCycleLR(o, [1.0], 10), ValueError, "max_lr has 1 rates for 2 groups"),
        (lambda o: OneCycleLR(o, 1.0, 10, anneal_strategy="sin"), ValueError, "wanted 'cos' or 'linear'"),
        (lambda o: ReduceLROnPlateau(o, "less"), ValueError, "mode is 'less'"),
        (lambda o: ReduceLROnPlateau(o, factor=1.0), ValueError, "factor is 1.0"),
        (lambda o: ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode is 'x'"),
        (lambda o: ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "min_lr has 1 rates for 2 groups"),
        (lambda o: SequentialLR(o, [], []), ValueError, "no schedulers"),
        (lambda o: SequentialLR(o, [StepLR(o, 1), StepLR(o, 1)], []), ValueError, "wanted 1 ascending numbers"),
        (lambda o: SequentialLR(o, [StepLR(o, 1)] * 3, [4, 2]), ValueError, "wanted 2 ascending numbers"),
        (lambda o: SequentialLR(o, [StepLR(optimizer(), 1)], []), ValueError, "of another optimizer"),
        (lambda o: SequentialLR(o, [ReduceLROnPlateau(o)], []), TypeError, r"schedulers\[0\] is a ReduceLROnPlateau"),
        (lambda o: ChainedScheduler([]), ValueError, "no schedulers"),
        (lambda o: ChainedScheduler([OneCycleLR(o, 1.0, 9, cycle_momentum=False)]), ValueError, "do not start from"),
        (lambda o: StepLR(o, 1).load_state_dict(3), TypeError, "got a int"),
    ],
)
def test_refusals(make, kind, message):
    with pytest.raises(kind, match=message):
        make(optimizer())


def test_representation():
    assert repr(StepLR(optimizer(), 1)) == "StepLR(last_epoch=0, lr=0.5, 2)"
