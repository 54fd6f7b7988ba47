"""Files with seeded damage: each loads as the object it was, or is refused with the one error, in bounded memory.

Many more of them than the tests take: ``python tests/test_serialize_fuzz.py 100000 SEED``.
"""

import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_fnn
from tinygrad_fnn.errors import DataFormatError
from tinygrad_fnn.serialize import load, load_checkpoint, save, save_checkpoint

resource = pytest.importorskip("resource")  # limits of POSIX

HEADROOM = 48 << 20  # bytes of address space beyond what the imports took
BOUND = 1 << 20  # `max_bytes` for forged files, whose checksums are right


class Model:
    """What has a state."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        self.state = {"0.W": rng.random((5, 4)), "0.b": np.zeros(5, np.float32), "on": np.array([True, False])}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = dict(state)

    def __repr__(self) -> str:
        return "Model"


def originals(folder: Path) -> list[tuple[bytes, str]]:
    """A few valid files, and what their objects look like."""
    rng = np.random.default_rng(0)
    weights = {"layers.0.W": rng.random((6, 5)), "layers.0.b": np.zeros(5), "layers.1.W": rng.random((2, 6))}
    later = {name: value + 1 for name, value in weights.items()}  # the same layout, as of a later epoch
    nested = {
        "F": np.asfortranarray(rng.random((3, 4))),
        "big": np.arange(3, dtype=">i2"),
        "empty": [np.zeros((0, 3)), (), {}, []],
        "scalar": np.float32(0.1),
        "text": ["θ", None, True, 2**100, float("nan"), -0.0],
        "complex": np.array(1 + 2j),
        7: (np.array([True, False]), "x"),
    }
    files = []
    for k, (obj, compress) in enumerate([(weights, False), (later, False), (nested, False), (nested, True)]):
        path = folder / str(k)
        save(obj, path, compress=compress)
        files.append((path.read_bytes(), shown(obj)))
    path = folder / "run"
    mersenne = np.random.Generator(np.random.MT19937(1))
    save_checkpoint(path, model=Model(), rng=mersenne, epoch=3)
    files.append((path.read_bytes(), shown(load(path))))
    return files


def shown(obj: Any) -> str:
    """The object in full: types, bytes and layouts."""
    if isinstance(obj, dict):
        return "{" + ", ".join(f"{key!r}: {shown(value)}" for key, value in obj.items()) + "}"
    if isinstance(obj, list | tuple):
        return f"{type(obj).__name__}({', '.join(map(shown, obj))})"
    if isinstance(obj, np.ndarray | np.generic):
        return f"{type(obj).__name__} {obj.dtype.str} {obj.shape} {obj.flags.fnc} {obj.tobytes().hex()}"
    return f"{type(obj).__name__} {obj!r}"


# --- damage -----------------------------------------------------------------------------------------------------------

Damage = Callable[[random.Random, bytes, list[bytes]], bytes]
BYTES = bytes((0, 1, 2, 8, 0x7F, 0x80, 0xFF))
WORDS = [0, 1, 2, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


def bits(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    bent = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
    return bytes(bent)


def overwritten(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    start = rng.randrange(len(data))
    new = rng.choice((rng.randbytes, lambda n: bytes([rng.choice(BYTES)]) * n))(rng.choice((1, 2, 4, 8, 64)))
    return data[:start] + new + data[start + len(new) :]


def cut(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    start, stop = sorted(rng.choices(range(len(data) + 1), k=2))
    return rng.choice((data[:start], data[start:], data[:start] + data[stop:]))


def inserted(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    start, stop, place = (rng.randrange(len(data) + 1) for _ in range(3))
    return data[:place] + (data[start:stop] or rng.randbytes(3)) + data[place:]


def spliced(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """The beginning of one file and the rest of another: a write in place that was interrupted."""
    other = rng.choice(others)
    place = rng.randrange(min(len(data), len(other)))
    return data[:place] + other[rng.choice((place, place, rng.randrange(len(other)))) :]


def field(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A number in a record of the zip format."""
    places = [m.start() for m in re.finditer(b"PK(\1\2|\3\4|\5\6)", data)]
    bent = bytearray(data + b"\0" * 8)
    place = rng.choice(places) + rng.randrange(4, 46)
    form = rng.choice(("<B", "<H", "<L"))
    struct.pack_into(form, bent, min(place, len(data) - 1), rng.choice(WORDS) % 256 ** struct.calcsize(form))
    return bytes(bent[: len(data)])


ACCIDENTS: list[Damage] = [bits, overwritten, cut, inserted, spliced, field]


def forged(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    """An archive made anew with damage inside its entries, so that every checksum is right."""
    with tempfile.SpooledTemporaryFile() as file:
        file.write(data)
        with zipfile.ZipFile(file) as old:
            entries = [(info.filename, info.compress_type, old.read(info)) for info in old.infolist()]
        k = rng.randrange(len(entries))
        name, method, content = entries[k]
        if name == "structure.json":
            content = rng.choice((json_bent, text_bent))(rng, content)
        else:
            content = rng.choice((header_bent, numbers_bent, numbers_bent, lambda rng, c: cut(rng, c, [])))(
                rng, content
            )
        entries[k] = (rng.choice((name,) * 30 + ("../x.npy", "/x.npy", "x" * 300)), method, content)
        if rng.random() < 0.1:
            rng.shuffle(entries)
        if rng.random() < 0.1:
            entries.append(rng.choice(entries))
        file.seek(0)
        file.truncate()
        with zipfile.ZipFile(file, "w") as new, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a name twice
            for name, method, content in entries:
                new.writestr(zipfile.ZipInfo(name), content, method)
        file.seek(0)
        return file.read()


def text_bent(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((bits, overwritten))(rng, content or b"0", [])


def cut_short(rng: random.Random, content: bytes) -> bytes:
    return cut(rng, content, [])


def numbers_bent(rng: random.Random, content: bytes) -> bytes:
    return content[:128] + text_bent(rng, content[128:])


def json_bent(rng: random.Random, content: bytes) -> bytes:
    """Another value at any place of the structure."""
    root = {"": json.loads(content)}
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(root)
    node, key = rng.choice(places)
    if isinstance(node[key], int):
        node[key] = rng.choice((*WORDS, -1, 5, 624, 625, 2**64, 2**128, True, 0.5))
        return json.dumps(root[""]).encode()
    fresh: list[Any] = [None, True, -1, 2**70, 1e300, "", "x", "arr_0", [], {}, {"array": "x"}, {"dict": [[1, 1]]}]
    fresh += [{"tuple": 0}, {"scalar": "F"}, {"float": "nan"}, node, rng.choice(places)[0]]
    try:
        node[key] = json.loads(json.dumps(rng.choice(fresh)))
        return json.dumps(root[""]).encode()
    except ValueError:  # a node inside itself
        return content[: rng.randrange(len(content))]


def header_bent(rng: random.Random, content: bytes) -> bytes:
    """Another dtype or shape in front of the same data."""
    dtype = rng.choice(
        ["<f8", "|O", "|S8", "<U2", "|V8", "<f2", "|b1", "<c16", ">i8", "<M8", "<f16", "x" * rng.randrange(9)]
    )
    length = rng.choice(
        ["", "0,", "-1,", "3,", "3, 4", "4, 3", "30,", f"{2**63},", "9" * 30, "1," * 70, "nan,", "1e3,"]
    )
    text = f"{{'descr': '{dtype}', 'fortran_order': {rng.choice(('True', 'False', '0'))}, 'shape': ({length}), }}\n"
    header = b"\x93NUMPY" + rng.choice((b"\1\0",) * 9 + (b"\2\0",)) + struct.pack("<H", len(text)) + text.encode()
    return header + content[128:]


# --- the run ----------------------------------------------------------------------------------------------------------


def fuzz(count: int, seed: int) -> Counter[str]:
    """Damage files `count` times; AssertionError with the seed of the first that goes wrong."""
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        files = originals(Path(folder))
        contents = [data for data, _ in files]
        objects = {text for _, text in files}
        path = os.path.join(folder, "damaged")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _LINUX else 0
        if size:
            resource.setrlimit(resource.RLIMIT_AS, (size + HEADROOM, size + HEADROOM))
        for k in range(count):
            rng = random.Random(f"{seed}/{k}")
            data = rng.choice(contents)
            honest = k % 4 < 3
            damage = rng.choice(ACCIDENTS) if honest else forged
            data = damage(rng, data, contents)
            with open(path, "wb") as file:
                file.write(data)
            try:
                obj = load(path) if honest else load(path, max_bytes=BOUND)
                assert not honest or shown(obj) in objects, "another object"
                outcomes["loaded" if honest else "loaded, forged"] += 1
                if isinstance(obj, dict) and "checkpoint" in obj:
                    resumed(path)
            except DataFormatError as error:
                if not str(error).startswith(f"load: {path} ") or len(str(error)) > 600:
                    raise AssertionError(f"seed {seed}/{k}, {damage.__name__}: {error!r}") from error
                outcomes["refused" if honest else "refused, forged"] += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}/{k}, {damage.__name__}: {error!r}") from error
    return outcomes


def resumed(path: str) -> None:
    """A forged checkpoint is taken whole or refused, and nothing happens to those that it is for."""
    model, rng = Model(), np.random.Generator(np.random.MT19937(2))
    before = shown([model.state, rng.bit_generator.state])
    try:
        load_checkpoint(path, model=model, rng=rng)
    except ValueError:
        assert shown([model.state, rng.bit_generator.state]) == before
    rng.random(1000)  # a state that led outside of its buffer would be read here


_LINUX = sys.platform == "linux"


@pytest.mark.skipif(not _LINUX, reason="reads its own size, and limits it, as Linux does")
def test_damaged_files_are_refused_or_load_as_they_were() -> None:
    """In a process of its own, because its memory is limited."""
    count = 3200
    home = {"PYTHONPATH": str(Path(tinygrad_fnn.__file__).parents[1])}
    command = [sys.executable, __file__, str(count), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **home})
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert sum(outcomes.values()) == count
    assert outcomes["refused"] > 1500  # damage is found
    assert outcomes["loaded"] > 50  # and some of it is in places that mean nothing: times, permissions
    assert min(outcomes["loaded, forged"], outcomes["refused, forged"]) > 50


def test_fuzzer_notices_a_reader_without_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could not fail."""
    monkeypatch.setattr(zlib, "crc32", lambda data, start=0: 0)
    monkeypatch.setattr(zipfile, "crc32", lambda data, start=0: 0)
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(AssertionError, match=r"seed 1/\d+"):
        fuzz(200, seed=1)


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]))))
