"""A run that goes on from a checkpoint has the same bits; one that does not fit is refused and nothing is changed."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_fnn import manual_seed, optim
from tinygrad_fnn.data import DataLoader
from tinygrad_fnn.errors import DataFormatError
from tinygrad_fnn.nn import Linear, MSELoss, ReLU, Sequential, Sigmoid
from tinygrad_fnn.optim import lr_scheduler
from tinygrad_fnn.randomness import as_generator
from tinygrad_fnn.serialize import load, load_checkpoint, save, save_checkpoint

BITS = [np.random.MT19937, np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64]


class Momentum:
    """A small optimizer with the methods that count here."""

    def __init__(self, model: Any, lr: float = 0.1) -> None:
        self.model, self.lr = model, lr
        self.velocity = {name: np.zeros_like(value) for name, value in model.state_dict().items()}

    def step(self) -> None:
        for name, parameter in self.model.named_parameters():
            self.velocity[name] = 0.9 * self.velocity[name] + parameter.grad
            parameter.data = parameter.data - self.lr * self.velocity[name]

    def state_dict(self) -> dict[str, Any]:
        return {"lr": self.lr, "velocity": {name: value.copy() for name, value in self.velocity.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["velocity"].keys() != self.velocity.keys():
            raise ValueError("velocity: other names")
        self.lr, self.velocity = state["lr"], {name: value.copy() for name, value in state["velocity"].items()}


class Halving:
    """A scheduler; `fault` is what loading raises, after it has changed something."""

    def __init__(self, optimizer: Momentum, fault: BaseException | None = None) -> None:
        self.optimizer, self.count, self.fault = optimizer, 0, fault

    def step(self) -> None:
        self.count += 1
        self.optimizer.lr *= 0.5

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        fault, self.fault = self.fault, None
        self.count = state["count"]
        if fault is not None:
            raise fault


class Loader:
    """Batches in an order of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def state_dict(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]


class Run:
    """A training whose every part draws or remembers."""

    def __init__(self, seed: int, fault: BaseException | None = None) -> None:
        self.model = Sequential(Linear(3, 4, rng=seed), Sigmoid(), Linear(4, 2, rng=seed + 1))
        self.optimizer = Momentum(self.model)
        self.scheduler = Halving(self.optimizer, fault)
        self.loader = Loader(seed)
        self.noise = np.random.Generator(np.random.MT19937(seed))
        self.rng: Any = {"loader": self.loader, "noise": self.noise}

    def epochs(self, count: int) -> None:
        for _ in range(count):
            X = self.loader.rng.random((5, 3)) + self.noise.random((5, 3)) + as_generator().random((5, 3))
            self.model.zero_grad()
            MSELoss()(self.model(X), np.ones((5, 2))).backward()
            self.optimizer.step()
            self.scheduler.step()

    def shown(self) -> str:
        """Every bit of its state."""
        own = as_generator().bit_generator.state
        parts = [self.model.state_dict(), self.optimizer.state_dict(), self.scheduler.state_dict()]
        return repr([shown(part) for part in (*parts, self.loader.state_dict(), self.noise.bit_generator.state, own)])

    def save(self, path: Path, **extra: Any) -> None:
        parts: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "rng": self.rng,
        }
        save_checkpoint(path, **parts, **extra)

    def load(self, path: Path) -> dict[str, Any]:
        return load_checkpoint(path, model=self.model, optimizer=self.optimizer, scheduler=self.scheduler, rng=self.rng)


def shown(obj: Any) -> Any:
    if isinstance(obj, dict):
        return {key: shown(value) for key, value in obj.items()}
    return (obj.dtype.str, obj.shape, obj.tobytes()) if isinstance(obj, np.ndarray) else obj


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.npz"


def test_resumed_run_has_the_same_bits(path: Path) -> None:
    manual_seed(5)
    whole = Run(1)
    whole.epochs(3)
    whole.save(path, epoch=3, best=0.5)
    whole.epochs(4)
    wanted = whole.shown()

    manual_seed(99)
    resumed = Run(2)
    resumed.epochs(1)
    assert resumed.load(path) == {"epoch": 3, "best": 0.5}
    resumed.epochs(4)
    assert resumed.shown() == wanted


def test_same_run_has_the_same_bytes(path: Path) -> None:
    contents = []
    for _ in range(2):
        manual_seed(5)
        run = Run(1)
        run.epochs(2)
        run.save(path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


# --- the package's own optimizers, schedulers and loader --------------------------------------------------------------

OPTIMIZERS = [
    kind
    for kind in (getattr(optim, name) for name in optim.__all__)
    if isinstance(kind, type) and issubclass(kind, optim.Optimizer) and kind is not optim.Optimizer
]
SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda opt: lr_scheduler.StepLR(opt, 2),
    "MultiStepLR": lambda opt: lr_scheduler.MultiStepLR(opt, [2, 4]),
    "ExponentialLR": lambda opt: lr_scheduler.ExponentialLR(opt, 0.9),
    "LinearLR": lambda opt: lr_scheduler.LinearLR(opt),
    "LambdaLR": lambda opt: lr_scheduler.LambdaLR(opt, lambda epoch: 1 / (1 + epoch)),
    "CosineAnnealingLR": lambda opt: lr_scheduler.CosineAnnealingLR(opt, 10),
    "CosineAnnealingWarmRestarts": lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 2),
    "OneCycleLR": lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=20),
    "ReduceLROnPlateau": lambda opt: lr_scheduler.ReduceLROnPlateau(opt, patience=0, threshold=0.5),
    "ChainedScheduler": lambda opt: lr_scheduler.ChainedScheduler(
        [SCHEDULERS["StepLR"](opt), SCHEDULERS["LinearLR"](opt)]
    ),
    "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
        opt, [SCHEDULERS["LinearLR"](opt), SCHEDULERS["ExponentialLR"](opt)], [2]
    ),
}


def test_every_scheduler_is_tried() -> None:
    assert SCHEDULERS.keys() == set(lr_scheduler.__all__) - {"LRScheduler"}


class Own:
    """A training with the parts of the package."""

    def __init__(self, seed: int, optimizer: Any, scheduler: str) -> None:
        rng = np.random.default_rng(0)
        self.model = Sequential(Linear(3, 4, rng=seed), Sigmoid(), Linear(4, 2, rng=seed))
        self.optimizer = optimizer(self.model.parameters(), lr=0.01)
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)
        self.loader = DataLoader((rng.random((12, 3)), rng.random((12, 2))), 5, shuffle=True, rng=seed)
        self.parts: dict[str, Any] = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.parts["rng"] = self.loader

    def epochs(self, count: int) -> None:
        for _ in range(count):
            for X, Y in self.loader:

                def closure(X: Any = X, Y: Any = Y) -> Any:
                    self.model.zero_grad()
                    cost = MSELoss()(self.model(X), Y)
                    cost.backward()
                    return cost

                if isinstance(self.optimizer, optim.LBFGS):
                    self.optimizer.step(closure)
                else:
                    closure()
                    self.optimizer.step()
            if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
                self.scheduler.step(1.0)
            else:
                self.scheduler.step()

    def shown(self) -> str:
        return repr([shown(part.state_dict()) for part in self.parts.values()])


PAIRS = [(kind, "StepLR") for kind in OPTIMIZERS] + [(optim.Adam, name) for name in SCHEDULERS if name != "StepLR"]


@pytest.mark.parametrize(("optimizer", "scheduler"), PAIRS, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_own_parts_go_on_with_the_same_bits(path: Path, optimizer: Any, scheduler: str) -> None:
    run = Own(1, optimizer, scheduler)
    run.epochs(3)
    save_checkpoint(path, **run.parts, epoch=3)
    run.epochs(2)
    resumed = Own(2, optimizer, scheduler)
    assert load_checkpoint(path, **resumed.parts) == {"epoch": 3}
    resumed.epochs(2)
    assert resumed.shown() == run.shown()


def test_another_optimizer_is_refused(path: Path) -> None:
    run = Own(1, optim.SGD, "StepLR")
    save_checkpoint(path, **run.parts)
    other = Own(2, optim.Adam, "StepLR")
    before = other.shown()
    with pytest.raises(ValueError, match="its optimizer is a SGD, yours a Adam; nothing was changed"):
        load_checkpoint(path, **other.parts)
    fewer = Own(2, optim.SGD, "StepLR")
    fewer.parts["optimizer"] = optim.SGD([*fewer.model.parameters()][:2])
    with pytest.raises(ValueError, match="its optimizer does not fit; nothing was changed\n  load_state_dict: "):
        load_checkpoint(path, **fewer.parts)
    assert other.shown() == before


@pytest.mark.parametrize("kind", BITS, ids=lambda kind: kind.__name__)
def test_every_bit_generator(path: Path, kind: Any) -> None:
    model, rng = Linear(2, 2, rng=0), np.random.Generator(kind(3))
    rng.integers(0, 10, 7, dtype=np.uint32)  # leaves half a number in the buffer
    save_checkpoint(path, model=model, rng=rng)
    wanted = [rng.integers(0, 2**32, 9, dtype=np.uint32), rng.standard_normal(9)]
    other = np.random.Generator(kind(4))
    load_checkpoint(path, rng=other)
    np.testing.assert_array_equal(other.integers(0, 2**32, 9, dtype=np.uint32), wanted[0])
    np.testing.assert_array_equal(other.standard_normal(9), wanted[1])


def test_model_alone_leaves_the_packages_generator_alone(path: Path) -> None:
    model = Linear(2, 2, rng=0)
    own = manual_seed(1)
    save_checkpoint(path, model=model)
    other, state = Linear(2, 2, rng=1), manual_seed(2).bit_generator.state
    assert load_checkpoint(path, model=other) == {"epoch": 0}
    assert own.bit_generator.state == state
    np.testing.assert_array_equal(other.state_dict()["W"], model.state_dict()["W"])


def test_own_generator_goes_on_with_an_optimizer(path: Path) -> None:
    run = Run(1)
    manual_seed(1)
    run.save(path)
    wanted = as_generator().random()
    manual_seed(2)
    load_checkpoint(path, optimizer=run.optimizer)
    assert as_generator().random() == wanted


def test_extra_may_be_anything_that_is_stored(path: Path) -> None:
    extra: dict[str, Any] = {"history": [{"loss": 0.5}], "names": ("a", "b"), "checkpoint": 1, "state": None}
    save_checkpoint(path, model=Linear(2, 2), **extra)
    assert load_checkpoint(path) == {"epoch": 0, **extra}


def test_weights_alone_are_where_the_message_says(path: Path) -> None:
    run = Run(1)
    run.save(path)
    assert shown(load(path)["checkpoint"]["model"]["state"]) == shown(run.model.state_dict())


class Listed:
    """A model whose state has no names."""

    def state_dict(self) -> Any:
        return [1]

    load_state_dict = state_dict


# --- what does not fit ------------------------------------------------------------------------------------------------


def models() -> dict[str, tuple[Any, str]]:
    """Other models, and what is said of each."""
    half = Sequential(Linear(3, 4, rng=0, dtype=np.float32), Sigmoid(), Linear(4, 2, rng=0, dtype=np.float32))
    return {
        "shape": (
            Sequential(Linear(3, 5), Sigmoid(), Linear(5, 2)),
            r"is of another model; nothing was changed\n  0\.W is float64 \(4, 3\), wanted float64 \(5, 3\)",
        ),
        "names": (Sequential(Linear(3, 4), Sigmoid()), r"unexpected: 2\.W float64 \(2, 4\)"),
        "more": (Sequential(Linear(3, 4), Sigmoid(), Linear(4, 2), Linear(2, 2)), r"missing: 3\.W float64 \(2, 2\)"),
        "dtype": (half, r"0\.W is float64 \(4, 3\), wanted float32 \(4, 3\)"),
        "activation": (
            Sequential(Linear(3, 4), ReLU(), Linear(4, 2)),
            r"-  \(1\): Sigmoid\(\)\n  \+  \(1\): ReLU\(\)\n.*The weights alone are",
        ),
        "class": (Linear(3, 4), "its model is a Sequential, yours a Linear; nothing was changed"),
    }


@pytest.mark.parametrize("case", models())
def test_another_model_is_refused_and_nothing_is_changed(path: Path, case: str) -> None:
    Run(1).save(path)
    run = Run(2)
    run.model, message = models()[case]
    run.optimizer = Momentum(run.model)
    before = run.shown()
    with pytest.raises(ValueError, match=re.compile(f"^load_checkpoint: {re.escape(str(path))}.*{message}", re.DOTALL)):
        run.load(path)
    assert run.shown() == before


@pytest.mark.parametrize("kind", [ValueError, KeyError, TypeError, KeyboardInterrupt, OSError])
def test_fault_in_any_part_undoes_the_others(path: Path, kind: type[BaseException]) -> None:
    run = Run(1)
    run.epochs(2)
    run.save(path)
    manual_seed(3)
    other = Run(2, kind("no"))
    other.epochs(1)
    before = other.shown()
    wanted = ValueError if issubclass(kind, ValueError | LookupError | TypeError) else kind
    with pytest.raises(wanted) as caught:
        other.load(path)
    assert other.shown() == before
    if caught.type is ValueError:
        assert "its scheduler does not fit; nothing was changed" in str(caught.value)
    other.load(path)  # the fault is raised once: everything else was right
    assert other.shown() != before


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["checkpoint"].pop(name)


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "velocity": (lambda f: f["checkpoint"]["optimizer"]["state"]["velocity"].pop("0.W"), "its optimizer does not fit"),
    "no scheduler": (without("scheduler"), "was saved without a scheduler"),
    "no rng": (lambda f: f["rng"].clear(), r"was saved with rng=nothing, got \{'loader', 'noise'\}"),
    "one rng": (lambda f: f.update(rng={"": f["rng"]["noise"]}), "was saved with rng=one, got"),
    "other rng": (
        lambda f: f["rng"]["noise"].update({"class": "PCG64"}),
        "its rng 'noise' is a PCG64, yours a Generator",
    ),
    "kind of rng": (
        lambda f: f["rng"]["noise"].update(state=np.random.PCG64(1).state),
        r"its rng 'noise' does not fit; nothing was changed\n.*state is of a PCG64, the generator is a MT19937",
    ),
    "place in the buffer": (
        lambda f: f["rng"]["noise"]["state"]["state"].update(pos=2**20),
        "its rng 'noise' does not fit.*not one that a MT19937 can be in",
    ),
    "generator": (lambda f: f["generator"]["state"].update(inc=-1), "its generator of the package does not fit"),
    "optimizer": (lambda f: f["checkpoint"]["optimizer"].update({"class": "Adam"}), "is a Adam, yours a Momentum"),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_parts_that_do_not_fit_are_named_and_nothing_is_changed(path: Path, case: str) -> None:
    run = Run(1)
    run.epochs(1)
    run.save(path)
    change, message = FORGERIES[case]
    found = load(path)
    change(found)
    save(found, path)
    manual_seed(8)
    other = Run(2)
    before = other.shown()
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)) as caught:
        other.load(path)
    assert str(caught.value).startswith(f"load_checkpoint: {path}")
    assert "nothing was changed" in str(caught.value)
    assert other.shown() == before


NO_CHECKPOINTS: list[Callable[[dict[str, Any]], object]] = [
    lambda f: f.pop("extra"),
    lambda f: f.update(extra=[]),
    lambda f: f.update(extra={1: 2}),
    lambda f: f.update(rng=None),
    lambda f: f.update(checkpoint={}),
    lambda f: f["checkpoint"].pop("model"),
    lambda f: f["checkpoint"].update(model=3),
    lambda f: f["checkpoint"]["model"].pop("architecture"),
    lambda f: f["checkpoint"]["model"].update(architecture=3),
    lambda f: f["checkpoint"]["model"].update(state=[]),
    lambda f: f["checkpoint"]["optimizer"].pop("class"),
    lambda f: f["checkpoint"]["optimizer"].update({"class": np.zeros(2)}),
    lambda f: f["rng"].update(noise=None),
    lambda f: f["rng"].update({1: f["rng"]["noise"]}),
]


@pytest.mark.parametrize("change", NO_CHECKPOINTS, ids=range(len(NO_CHECKPOINTS)))
def test_what_is_no_checkpoint(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    Run(1).save(path)
    found = load(path)
    change(found)
    save(found, path)
    with pytest.raises(DataFormatError, match="is no checkpoint"):
        load_checkpoint(path)


def test_damage_is_found_before_anything_is_changed(path: Path) -> None:
    Run(1).save(path)
    path.write_bytes(path.read_bytes()[:-1])
    run = Run(2)
    before = run.shown()
    with pytest.raises(DataFormatError, match=re.escape(f"load_checkpoint: {path} is truncated, damaged")):
        run.load(path)
    assert run.shown() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": None}, "model is None, wanted what has state_dict and load_state_dict"),
        ({"model": Linear}, "model is the class Linear, wanted"),
        ({"model": Linear(1, 1), "optimizer": 3}, "optimizer is a int, wanted"),
        ({"model": Linear(1, 1), "rng": 3}, "rng is a int, wanted a numpy.random.Generator or what has"),
        ({"model": Linear(1, 1), "rng": {"a": None}}, r"rng\['a'\] is a NoneType"),
        ({"model": Linear(1, 1), "rng": {1: np.random.default_rng(0)}}, "rng has the key 1; wanted a str"),
        ({"model": Listed()}, r"model.state_dict\(\) is a list, wanted a dict of arrays by name"),
        ({"model": Linear(1, 1), "best": {1}}, r"obj\['extra'\]\['best'\] is a set"),
    ],
)
def test_arguments_without_a_state(path: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^save_checkpoint: {message}"):
        save_checkpoint(path, **arguments)
    assert not path.exists()


def test_text_of_a_model_may_hold_addresses(path: Path) -> None:
    class Plain(Halving):
        pass  # its repr has an address

    save_checkpoint(path, model=Plain(None))  # type: ignore[arg-type]
    load_checkpoint(path, model=Plain(None))  # type: ignore[arg-type]
