"""`save_checkpoint` and `load_checkpoint`: everything that a training run needs to go on with the same bits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from ..errors import DataFormatError
from ..files import StrPath
from ..randomness import get_rng_state, set_rng_state
from .saving import read, write

__all__ = ["load_checkpoint", "save_checkpoint"]


class Stateful(Protocol):
    """What modules, optimizers, schedulers and data loaders have in common."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


Draws: TypeAlias = "np.random.Generator | Stateful | Mapping[str, np.random.Generator | Stateful]"

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")  # of the objects without a text of their own; new in every run


class _Generator:
    """A generator with the methods of the others."""

    def __init__(self, rng: np.random.Generator | None = None) -> None:
        self.rng = rng

    def state_dict(self) -> dict[str, Any]:
        return get_rng_state(self.rng)

    def load_state_dict(self, state: Any) -> None:
        set_rng_state(state, self.rng)


def save_checkpoint(
    path: StrPath,
    *,
    model: Stateful,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    rng: Draws | None = None,
    epoch: int = 0,
    **extra: Any,  # whatever save() takes
) -> None:
    """Write the state of a training run, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
        As for `save`; the checkpoint before is there until this one is complete.
    model, optimizer, scheduler
        What has `state_dict` and `load_state_dict`.
    rng : Generator, data loader, or dict of them
        Whatever draws. The package's own generator (see `manual_seed`) is stored in any case.
    epoch : int
        How many are done.
    **extra
        Anything that `save` takes: a history, the best accuracy so far.

    Raises
    ------
    TypeError
        If an argument has no state, or it holds what `save` does not take.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from tinygrad_fnn.nn import Linear
    >>> from tinygrad_fnn.optim import Adam
    >>> model = Linear(3, 2, rng=0)
    >>> optimizer = Adam(model.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(f"{folder}/run.npz", model=model, optimizer=optimizer, epoch=5, best=0.97)
    ...     load_checkpoint(f"{folder}/run.npz", model=model, optimizer=optimizer)
    {'epoch': 5, 'best': 0.97}
    """
    caller = "save_checkpoint"
    parts = _parts(caller, model=model, optimizer=optimizer, scheduler=scheduler)
    if not parts:
        raise TypeError(f"{caller}: model is None, wanted what has state_dict and load_state_dict")
    stored = {name: {"class": _kind(part), "state": part.state_dict()} for name, part in parts.items()}
    if not isinstance(stored["model"]["state"], Mapping):
        came = type(stored["model"]["state"]).__name__
        raise TypeError(f"{caller}: model.state_dict() is a {came}, wanted a dict of arrays by name")
    stored["model"]["architecture"] = _text(model)
    draws = {name: {"class": _kind(part), "state": part.state_dict()} for name, part in _draws(caller, rng).items()}
    own = get_rng_state()
    write({"checkpoint": stored, "rng": draws, "generator": own, "epoch": epoch, "extra": extra}, path, caller)


def load_checkpoint(
    path: StrPath,
    *,
    model: Stateful | None = None,
    optimizer: Stateful | None = None,
    scheduler: Stateful | None = None,
    rng: Draws | None = None,
) -> dict[str, Any]:
    """Take the state of a training run from a file of `save_checkpoint`: all that is asked for, or nothing.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    model, optimizer, scheduler
        What to load into, built as in the run that was saved; None leaves that part of the file aside.
    rng : Generator, data loader, or dict of them
        As in `save_checkpoint`, with the same names. The package's own generator goes on from the file if `rng` or
        `optimizer` is given; a model alone is loaded without touching it.

    Returns
    -------
    dict
        'epoch' and everything extra, by the names given to `save_checkpoint`.

    Raises
    ------
    DataFormatError
        As for `load`, and if the file is no checkpoint.
    ValueError
        If the file has not what is asked for, or of another architecture, class, shape or dtype. The message says what
        differs, and nothing has been changed.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    save_checkpoint : has an example.
    """
    caller = "load_checkpoint"
    where = f"{caller}: {path}"
    found = read(path, caller)
    if not _is_checkpoint(found):
        raise DataFormatError(f"{where} is no checkpoint; load(path) reads it")
    stored, drawn = found["checkpoint"], found["rng"]
    asked: list[tuple[str, Stateful, Any]] = []  # what it is called, what to load into, its record in the file
    for name, part in _parts(caller, model=model, optimizer=optimizer, scheduler=scheduler).items():
        if name not in stored:
            raise ValueError(f"{where} was saved without a {name}; nothing was changed")
        asked.append((name, part, stored[name]))
    draws = _draws(caller, rng)
    if rng is not None and draws.keys() != drawn.keys():
        raise ValueError(f"{where} was saved with rng={_names(drawn)}, got {_names(draws)}; nothing was changed")
    asked += [(f"rng {name!r}" if name else "rng", part, drawn[name]) for name, part in draws.items()]
    for name, part, record in asked:
        if record["class"] != _kind(part):
            raise ValueError(f"{where}: its {name} is a {record['class']}, yours a {_kind(part)}; nothing was changed")
    if model is not None:
        _compare(where, model, stored["model"])
    if optimizer is not None or rng is not None:
        asked.append(("generator of the package", _Generator(), {"state": found["generator"]}))
    _load_all(where, asked)
    return {"epoch": found["epoch"], **found["extra"]}


def _is_checkpoint(found: Any) -> bool:  # Any: whatever a file holds
    if not isinstance(found, dict) or list(found) != ["checkpoint", "rng", "generator", "epoch", "extra"]:
        return False
    stored, draws, extra = found["checkpoint"], found["rng"], found["extra"]
    if not all(isinstance(part, dict) and all(type(k) is str for k in part) for part in (stored, draws, extra)):
        return False
    records = [*stored.values(), *draws.values()]
    if not all(isinstance(r, dict) and r.keys() >= {"class", "state"} and type(r["class"]) is str for r in records):
        return False
    model = stored.get("model", {})
    return isinstance(model.get("state"), dict) and isinstance(model.get("architecture"), str)


def _load_all(where: str, asked: list[tuple[str, Stateful, Any]]) -> None:
    """Load each state; if one does not fit, put back what all of them were."""
    before = [(part, part.state_dict()) for _, part, _ in asked]
    try:
        for name, part, record in asked:
            try:
                part.load_state_dict(record["state"])
            except (ValueError, TypeError, LookupError) as error:
                raise ValueError(f"{where}: its {name} does not fit; nothing was changed\n  {error}") from error
    except BaseException:
        for part, state in before:
            part.load_state_dict(state)
        raise


def _compare(where: str, model: Stateful, record: Any) -> None:
    """Refuse the state of another architecture, and say in what it is another one."""
    has, wants = _forms(record["state"]), _forms(model.state_dict())
    wrong = [f"missing: {name} {form}" for name, form in wants.items() if name not in has]
    wrong += [f"unexpected: {name} {form}" for name, form in has.items() if name not in wants]
    common = [name for name in wants if name in has]
    wrong += [f"{name} is {has[name]}, wanted {wants[name]}" for name in common if has[name] != wants[name]]
    text = _text(model)
    if record["architecture"] != text:
        import difflib

        theirs, ours = record["architecture"].splitlines(), text.splitlines()
        changes = difflib.unified_diff(theirs, ours, "the file's", "yours", lineterm="", n=0)
        wrong += [line for line in changes if not line.startswith("@@")]
    if wrong:
        raise ValueError(
            "\n  ".join([f"{where} is of another model; nothing was changed", *wrong])
            + '\nThe weights alone are load(path)["checkpoint"]["model"]["state"], for model.load_state_dict'
        )


def _forms(state: Any) -> dict[str, str]:
    """Dtype and shape of everything in the state of a model."""
    return {name: f"{np.asarray(value).dtype} {np.shape(value)}" for name, value in state.items()}


def _text(model: Stateful) -> str:
    return _ADDRESS.sub("", repr(model))


def _kind(part: Stateful) -> str:
    return type(part.rng).__name__ if isinstance(part, _Generator) else type(part).__name__


def _parts(caller: str, **parts: Stateful | None) -> dict[str, Stateful]:
    """What is there of model, optimizer and scheduler."""
    given = {name: part for name, part in parts.items() if part is not None}
    for name, part in given.items():
        _check(caller, name, part)
    return given


def _draws(caller: str, rng: Draws | None) -> dict[str, Stateful]:
    """What draws, by name; a single one is called ''."""
    named: Mapping[str, Any] = rng if isinstance(rng, Mapping) else {} if rng is None else {"": rng}
    draws: dict[str, Stateful] = {}
    for name, part in named.items():
        if type(name) is not str:
            raise TypeError(f"{caller}: rng has the key {name!r:.80}; wanted a str")
        draws[name] = _Generator(part) if isinstance(part, np.random.Generator) else part
        _check(caller, f"rng[{name!r}]" if name else "rng", draws[name])
    return draws


def _check(caller: str, name: str, part: object) -> None:
    if isinstance(part, type) or not all(
        callable(getattr(part, method, None)) for method in ("state_dict", "load_state_dict")
    ):
        article = "the class " if isinstance(part, type) else "a "
        came = part.__name__ if isinstance(part, type) else type(part).__name__
        wanted = "a numpy.random.Generator or what" if name.startswith("rng") else "what"
        raise TypeError(f"{caller}: {name} is {article}{came}, wanted {wanted} has state_dict and load_state_dict")


def _names(named: Mapping[str, Any]) -> str:
    return "nothing" if not named else "one" if list(named) == [""] else "{" + ", ".join(map(repr, named)) + "}"
