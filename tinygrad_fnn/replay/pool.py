"""Threads for shares of the rows: NumPy's functions let others run while they compute.

The pool is made when it is first wanted and belongs to the process; a fork makes its own. While it works BLAS has one
thread, if `threadpoolctl` is installed to say so: pools of threads that take turns on the same cores cost more than
they bring.
"""

from __future__ import annotations

import contextvars
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["together"]


@functools.cache
def _workers(count: int, process: int) -> Any:
    """A pool of `count` threads; `process` tells those of a fork from those of its parent, which it has not."""
    from concurrent.futures import ThreadPoolExecutor  # it costs a fifth of the import of the package

    return ThreadPoolExecutor(count, thread_name_prefix="tinygrad_fnn")


@functools.cache
def _blas() -> Any:
    """What limits the threads of BLAS, None without `threadpoolctl`."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def together(tasks: Sequence[Callable[[], None]], threads: int) -> None:
    """Run the tasks, of which no two write to the same memory, by so many threads; the calling one is among them.

    An error of a task is raised when none is running any more.
    """
    if threads == 1:
        for task in tasks:
            task()
        return
    left = list(reversed(tasks))

    def work() -> None:
        while left:
            try:
                task = left.pop()  # one step for the interpreter, so that nobody else gets the same
            except IndexError:
                return
            task()

    pool, blas = _workers(threads - 1, os.getpid()), _blas()
    limited = None if blas is None else blas.limit(limits=1, user_api="blas")
    # The mode, and what is done about floating-point errors, are the caller's.
    waiting = [pool.submit(contextvars.copy_context().run, work) for _ in range(min(threads, len(tasks)) - 1)]
    try:
        work()
    finally:
        left.clear()
        errors = [error for future in waiting if (error := _ended(future)) is not None]
        if limited is not None:
            limited.restore_original_limits()
    for error in errors:
        raise error


def _ended(future: Any) -> BaseException | None:
    """Wait for the end of a task, also where Ctrl-C comes meanwhile: it writes to memory that is used again."""
    try:
        error: BaseException | None = future.exception()
    except KeyboardInterrupt as interrupt:
        _ended(future)
        return interrupt
    return error
