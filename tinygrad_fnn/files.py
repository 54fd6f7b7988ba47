"""Files: replaced whole or not at all, and opened with errors that say which function wanted them and what to do.

It stands apart because data, checkpoints and pictures are all written and read this way, and none of them knows the
others. `open` alone takes a number for a file that is open already, and words its errors for the operating system.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, BinaryIO, Literal, TextIO, TypeAlias, overload

__all__ = ["StrPath", "opened", "replacing"]

StrPath: TypeAlias = str | os.PathLike[str]


@overload
def replacing(path: StrPath, mode: Literal["wb"] = "wb") -> AbstractContextManager[BinaryIO]: ...
@overload
def replacing(path: StrPath, mode: Literal["w"]) -> AbstractContextManager[TextIO]: ...
def replacing(path: StrPath, mode: Literal["wb", "w"] = "wb") -> AbstractContextManager[IO[bytes] | IO[str]]:
    r"""Open a stream whose content becomes the file `path` when the block ends without an exception.

    The stream writes to a file beside it, in the same folder, which is forced to the disk and then renamed, and so is
    the name: whoever opens `path` sees the old content or the new one, never a part. If the block raises, the old file
    is whole and the file beside it is gone. If the process is killed, a file ``.replacing-...`` may stay behind.

    Parameters
    ----------
    path : str or os.PathLike
        Used exactly as given, no extension is added; a symbolic link stays, and the file it names is replaced.
    mode : {"wb", "w"}
        Bytes, or text in UTF-8.

    Returns
    -------
    context manager of a writable file
        A new file has the permissions of any other new file (the umask), a replaced one keeps its own.

    Raises
    ------
    ValueError
        If `mode` is another one.
    OSError
        If the folder is missing or cannot be written (nothing has been touched then), or if `path` exists and is not a
        regular file: a rename would put a file in the place of a device.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Path(folder, "notes.txt")
    ...     with replacing(notes, "w") as file:
    ...         _ = file.write("θ saved\n")
    ...     notes.read_text(encoding="utf-8")
    'θ saved\n'
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"replacing: mode is {mode!r}; a file is replaced whole, by 'wb' or 'w'")
    return _replacing(path, mode)


@contextmanager
def _replacing(path: StrPath, mode: str) -> Iterator[IO[bytes] | IO[str]]:
    target = Path(os.path.realpath(path))
    replaces = target.exists()
    if replaces and not target.is_file():
        code = errno.EISDIR if target.is_dir() else errno.EINVAL
        raise OSError(code, "replacing: not a regular file", os.fspath(path))
    side = target.with_name(f".replacing-{secrets.token_hex(8)}")  # short, so that a name of 255 bytes still works
    try:
        stream = open(side, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8")  # noqa: SIM115
    except OSError as error:
        error.filename = os.fspath(path)  # the name the caller knows
        if isinstance(error, FileNotFoundError):
            error.strerror = f"there is no folder {target.parent}; make it before"
        raise
    try:
        with stream:
            if replaces:
                shutil.copymode(target, side)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(side, target)
    except BaseException:
        side.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # a folder that cannot be opened or forced: Windows, some network disks
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def opened(function: str, path: StrPath) -> Iterator[BufferedReader]:
    """The file `path`, open for reading bytes, for `function`.

    Parameters
    ----------
    function : str
        Whom the messages name.
    path : str or os.PathLike of str
        The file.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If there is no such file, it is a folder, or it cannot be read; the class and `errno` are those of `open`. Or
        if it is a pipe or a device.

    Examples
    --------
    >>> with opened("load_idx", "missing.gz"):
    ...     pass
    Traceback (most recent call last):
    FileNotFoundError: load_idx: there is no file missing.gz in ...
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"{function}: wanted the path of a file, as a str or a pathlib.Path; got {path!r:.60}")
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise OSError(errno.EINVAL, f"{function}: {path} is not a regular file")  # a pipe waits, a device never ends
    try:
        file = open(path, "rb")  # noqa: SIM115  # only its own errors are to be reworded
    except OSError as error:
        clear = type(error)(f"{function}: {_reason(os.fspath(path), error)}")
        clear.errno = error.errno
        raise clear from None
    with file:
        yield file


def _reason(path: str, error: OSError) -> str:
    """What stands in the way, and what to do about it."""
    if isinstance(error, FileNotFoundError):
        folder = Path(path).parent
        if not path:
            return "the path is empty"
        if not folder.is_dir():
            return f"there is no file {path}, for there is no folder {folder}; look at the path"
        other = path.removesuffix(".gz") if path.endswith(".gz") else f"{path}.gz"
        hint = f"; there is {Path(other).name}" if Path(other).is_file() else "; look at its name"
        return f"there is no file {Path(path).name} in {folder.absolute()}{hint}"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a folder; wanted a file, perhaps one of those in it"
    if isinstance(error, PermissionError):
        return f"{path} may not be read by this user; look at its permissions"
    return f"{path} cannot be opened: {error.strerror}"
