"""Files opened for reading, with errors that say which function wanted them and what to do.

It stands apart because every reader opens its file this way. `open` alone takes a number for a file that is open
already, and words its errors for the operating system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from tinygrad_fnn.files import StrPath

__all__ = ["opened"]


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
        If there is no such file, it is a folder, or it cannot be read; the class and `errno` are those of `open`.

    Examples
    --------
    >>> with opened("load_idx", "missing.gz"):
    ...     pass
    Traceback (most recent call last):
    FileNotFoundError: load_idx: there is no file missing.gz in ...
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"{function}: wanted the path of a file, as a str or a pathlib.Path; got {path!r:.60}")
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
