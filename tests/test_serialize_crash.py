"""A full disk, a killed process, a forbidden folder: the checkpoint from before is whole. All of it done for real."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_fnn
from tinygrad_fnn.serialize import load, save

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits, signals and permissions of POSIX")

HEAD = """
import os, random, resource, signal, sys, time
import numpy as np
from tinygrad_fnn.serialize import load, save
path, seed = sys.argv[1], int(sys.argv[2])

def version(k):  # a state that shows whether it is whole
    return {"k": k, "weights": [np.full(n, k, np.float64) for n in (1, 1000, 30_000)], "again": k}

def check():
    state = load(path)
    k = state["k"]
    assert state["again"] == k and all((w == k).all() for w in state["weights"]), k
    return k
"""

FULL_DISK = """
save(version(0), path)
room = os.path.getsize(path) // 2
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
for compress in (False, True):
    try:
        save({"noise": np.random.default_rng(seed).random(100_000)}, path, compress=compress)
    except OSError as error:
        print(error.errno, check(), os.listdir(os.path.dirname(path)))
"""

# `os.fork` in a process of one thread: a child starts in a millisecond.
KILLED = """
rng = random.Random(seed)
save(version(0), path)
seen = [0]
for _ in range(20):
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        k = check()
        while True:
            k += 1
            save(version(k), path, compress=k % 3 == 0)
            os.write(tell, b".")
    os.read(ready, 1)  # one is saved
    time.sleep(rng.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.append(check())
    os.close(ready), os.close(tell)
print(all(a < b for a, b in zip(seen, seen[1:])))
"""

# The same at each step of a save, one after another: every write to the file and every call of the system.
STEPS = """
import io
from tinygrad_fnn import files
def version(k, small=(2000,)):
    return {"k": k, "weights": [np.full(n, k, np.float64) for n in small], "again": k}

real = {name: getattr(os, name) for name in ("fsync", "replace", "open", "close")}
real_open = open

def countdown(steps):
    left = [steps]
    def step():
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    class Raw(io.FileIO):
        def write(self, data):
            step()
            half = super().write(bytes(data)[: len(data) // 2 + 1])  # and in the middle of it
            step()
            return half
    def opened(name, mode, **options):
        step()
        return io.BufferedRandom(Raw(name, "x+"))
    files.open = opened
    def stepping(name):
        def call(*args, **kwargs):
            step()
            result = real[name](*args, **kwargs)
            step()
            return result
        return call
    for name in real:
        setattr(os, name, stepping(name))

save(version(1), path)
found, steps = [], 0
while True:
    child = os.fork()
    if not child:
        countdown(steps)
        save(version(2), path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found.append(check())
    if status == 0:
        break
    if found[-1] == 2:
        save(version(1), path)
    steps += 1
print(steps, found == sorted(found), found[0], found[-1])
"""


def run(code: str, path: Path, seed: int = 0) -> list[str]:
    home = {"PYTHONPATH": str(Path(tinygrad_fnn.__file__).parents[1])}
    command = [sys.executable, "-c", HEAD + code, str(path), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **home})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_full_disk(tmp_path: Path) -> None:
    import errno

    lines = run(FULL_DISK, tmp_path / "x")
    assert lines == [f"{errno.EFBIG} 0 ['x']"] * 2


def test_killed_at_random_moments(tmp_path: Path) -> None:
    assert run(KILLED, tmp_path / "x", seed=1) == ["True"]  # each child got further, and none left a part behind


def test_killed_at_every_step(tmp_path: Path) -> None:
    (line,) = run(STEPS, tmp_path / "x")
    steps, ordered, first, last = line.split()
    assert int(steps) > 20
    assert (ordered, first, last) == ("True", "1", "2")  # the old one up to the rename, the new one from there on


def test_forbidden_folder(tmp_path: Path) -> None:
    """As a user who may not write there; root, who may everywhere, becomes nobody for it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:  # under tmp_path nobody may not even look
        path = Path(folder, "x")
        save("old", path)
        path.chmod(0o644)
        os.chmod(folder, 0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as caught:
                save("new", path)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o755)
        assert caught.value.filename == str(path)
        assert load(path) == "old"
        assert os.listdir(folder) == ["x"]


def test_file_and_name_are_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def forced(descriptor: int) -> None:
        done.append("folder" if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)) else "file")
        fsync(descriptor)

    def renamed(one: object, other: object) -> None:
        done.append("rename")
        replace(one, other)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", renamed)
    save(1, tmp_path / "x")
    assert done == ["file", "rename", "folder"]


def test_folder_that_cannot_be_forced_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is in place by then, whatever a network disk says of its folder."""
    fsync = os.fsync

    def forced(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)):
            raise OSError("not here")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", forced)
    save(1, tmp_path / "x")
    assert load(tmp_path / "x") == 1


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "latest").symlink_to("runs/1")
    save(np.ones(3), tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert (load(tmp_path / "latest") == load(tmp_path / "runs" / "1")).all()


def test_save_over_what_is_being_read(tmp_path: Path) -> None:
    """A mapped array keeps what it had: its file was replaced, not written to."""
    np.save(tmp_path / "x", np.ones(10_000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    save({"again": mapped}, tmp_path / "x.npy")
    assert (load(tmp_path / "x.npy")["again"] == 1).all()
    assert (mapped == 1).all()
