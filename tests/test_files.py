"""A file is replaced whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from tinygrad_fnn.files import opened, replacing


def test_content_and_exact_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "plain") as file:
        file.write(b"\x00\n")
    assert [p.name for p in tmp_path.iterdir()] == ["plain"]
    assert (tmp_path / "plain").read_bytes() == b"\x00\n"


def test_text_is_utf8(tmp_path: Path) -> None:
    with replacing(str(tmp_path / "θ.txt"), "w") as file:
        file.write("θ")
    assert (tmp_path / "θ.txt").read_bytes() == "θ".encode()


def test_old_content_is_there_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with replacing(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def interrupted(error: type[BaseException]) -> str:
    raise error


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(interruption), replacing(path, "w") as file:
        file.write("ne" + interrupted(interruption))
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failure_of_the_system_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="disk full"), replacing(path, "w") as file:
        file.write("new")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert path.read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_the_umasks_or_those_of_the_old_file(tmp_path: Path) -> None:
    plain, replaced, secret = tmp_path / "plain", tmp_path / "replaced", tmp_path / "secret"
    plain.touch()
    secret.touch(mode=0o600)
    for path in (replaced, secret):
        with replacing(path) as file:
            file.write(b"x")
    assert replaced.stat().st_mode == plain.stat().st_mode
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="links need privileges on Windows")
def test_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


def test_longest_possible_name(tmp_path: Path) -> None:
    with replacing(tmp_path / ("n" * 255)) as file:
        file.write(b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_folder_names_the_path_given(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "x"
    with pytest.raises(FileNotFoundError) as caught, replacing(path):
        pass
    assert caught.value.filename == str(path)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a regular file"), replacing(tmp_path / "pipe"):
            pass


def test_refuses_other_modes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode is 'a'"):
        replacing(tmp_path / "x", "a")  # type: ignore[call-overload]


def test_a_device_is_not_read_for_ever() -> None:
    with pytest.raises(OSError, match="load_mnist: /dev/zero is not a regular file"), opened("load_mnist", "/dev/zero"):
        pass
