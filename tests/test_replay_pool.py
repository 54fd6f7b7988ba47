"""Shares of the rows on threads: each task once, errors arrive, nothing outlives the call, and the bits stay."""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy import ndarray
from numpy.testing import assert_array_equal

from tinygrad_fnn import Tensor, compile, nn
from tinygrad_fnn.modes import MODE, no_grad
from tinygrad_fnn.replay import Compiled, blocks, pool
from tinygrad_fnn.replay.pool import together

COUNTS = (1, 2, 3, 4, 7)


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", COUNTS)
@pytest.mark.parametrize("tasks", [0, 1, 4, 50])
def test_every_task_is_done_once(tasks: int, threads: int) -> None:
    done: list[int] = []
    together([functools.partial(done.append, k) for k in range(tasks)], threads)
    assert sorted(done) == list(range(tasks))


def test_others_take_part() -> None:
    """Two tasks that wait for each other can only end on two threads."""
    meeting = threading.Barrier(2, timeout=30)
    together([lambda: meeting.wait() and None, lambda: meeting.wait() and None], 2)  # type: ignore[func-returns-value]


@pytest.mark.parametrize("mine", [True, False])
def test_an_error_arrives_when_nothing_runs_any_more(mine: bool) -> None:
    """Whether it is raised here or in another thread; what had not begun is left."""
    here, running, began = threading.get_ident(), [0], []

    def task(k: int) -> None:
        running[0] += 1
        began.append(k)
        time.sleep(0.01)
        running[0] -= 1
        if (threading.get_ident() == here) == mine:
            raise ArithmeticError(str(k))

    with pytest.raises(ArithmeticError):
        together([functools.partial(task, k) for k in range(50)], 2)
    assert running == [0]
    done: list[int] = []
    together([functools.partial(done.append, k) for k in range(3)], 2)
    assert sorted(done) == [0, 1, 2]


def test_threads_have_the_callers_mode_and_treatment_of_errors() -> None:
    meeting, found = threading.Barrier(2, timeout=30), []

    def task() -> None:
        meeting.wait()
        found.append((MODE.get().record, np.geterr()["divide"]))

    with no_grad(), np.errstate(divide="ignore"):
        together([task, task], 2)
    assert found == [(False, "ignore")] * 2


def test_ctrl_c_waits_for_the_others() -> None:
    """A task under way writes to buffers that are used again."""
    begun, ended = threading.Event(), []

    def task() -> None:
        if threading.current_thread() is threading.main_thread():
            begun.wait(30)
            signal.raise_signal(signal.SIGINT)
        begun.set()
        time.sleep(0.3)
        ended.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            together([task, task], 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    test_others_take_part()
    child = os.fork()
    if not child:  # no thread of the parent is here
        try:
            test_others_take_part()
        except BaseException:
            os._exit(1)
        os._exit(0)
    for _ in range(300):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it has not")
    assert os.waitstatus_to_exitcode(status) == 0


def test_blas_has_its_threads_back() -> None:
    control = pytest.importorskip("threadpoolctl", reason="without threadpoolctl nothing is limited")
    meeting, within = threading.Barrier(2, timeout=30), []

    def threads() -> list[int]:
        return [info["num_threads"] for info in control.threadpool_info() if info["user_api"] == "blas"]

    def task() -> None:
        meeting.wait()
        within.append(threads())

    with control.threadpool_limits(2, user_api="blas"):
        pool._blas.cache_clear()
        before = threads()
        together([task, task], 2)
        assert threads() == before
    assert within == [[1] * len(before)] * 2


# --- compiled functions -----------------------------------------------------------------------------------------------


def cost(threads: int, rows: int, dtype: Any = np.float64) -> tuple[Callable[[], tuple[ndarray, ...]], Any]:
    """Cost and gradients of a small network, replayed, and the compiled function."""
    rng = np.random.default_rng(0)
    model = nn.DigitNet(12, 7, 4, rng=0, dtype=dtype)
    X, Y = rng.normal(size=(rows, 12)).astype(dtype), np.eye(4, dtype=dtype)[rng.integers(0, 4, rows)]
    compiled = compile(lambda X, Y: model.cost(X, Y, 1.0), fallback="raise", threads=threads)

    def run() -> tuple[ndarray, ...]:
        model.zero_grad()
        J = compiled(X, Y)
        J.backward()
        return J.detach().numpy(), *(p.grad for p in model.parameters())

    for _ in range(3):
        run()
    assert "in_blocks_of" in compiled.plans[0].source
    return run, compiled


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 1 << 18)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [40_000, 40_037])
def test_bits_do_not_depend_on_the_threads(rows: int, dtype: Any) -> None:
    """The shares are the same, and are added up in the same order; twenty runs each."""
    expected = cost(1, rows, dtype)[0]()
    for threads in COUNTS[1:]:
        run, _ = cost(threads, rows, dtype)
        for _ in range(20):
            for ours, one in zip(run(), expected, strict=True):
                assert_array_equal(ours, one)


@pytest.mark.usefixtures("small_blocks")
def test_users_threads_share_the_pool() -> None:
    expected, found = cost(1, 40_000)[0](), {}

    def play(k: int) -> None:
        run, _ = cost(2, 40_000)
        found[k] = [run() for _ in range(10)]

    users = [threading.Thread(target=play, args=(k,)) for k in range(3)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    for results in (*found[0], *found[1], *found[2]):
        for ours, one in zip(results, expected, strict=True):
            assert_array_equal(ours, one)


@pytest.mark.usefixtures("small_blocks")
def test_memory_is_flat_in_the_rows() -> None:
    """Below 1 MB for each further 5000 rows, by tracemalloc: each thread has its buffers, whatever the rows."""

    def peak(rows: int) -> int:
        run, _ = cost(2, rows)
        tracemalloc.start()
        try:
            run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert abs(peak(80_000) - peak(40_000)) < 8 * 1e6 / 8


@pytest.mark.usefixtures("small_blocks")
def test_an_error_in_a_block_leaves_the_plan_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = cost(2, 40_000)
    expected = run()
    whole = blocks.Loop._block

    def failing(self: Any, parts: Any, start: int, *given: Any) -> Any:
        if start > 20_000:
            raise MemoryError("a block")
        return whole(self, parts, start, *given)

    with monkeypatch.context() as patched:
        patched.setattr(blocks.Loop, "_block", failing)
        with pytest.raises(MemoryError, match="a block"):
            run()
    for ours, one in zip(run(), expected, strict=True):
        assert_array_equal(ours, one)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None, True])
def test_threads_are_counted(threads: Any) -> None:
    with pytest.raises(ValueError, match=r"^compile: threads is .*, wanted a whole number from 1 on$"):
        compile(np.sum, threads=threads)


def test_a_copy_has_as_many() -> None:
    copied = pickle.loads(pickle.dumps(Compiled(np.sum, "silent", 3)))
    assert copied._threads == 3
    assert compile(threads=np.int64(2))(np.sum)._threads == 2
    assert float(compile(np.sum, threads=2)(np.ones(3))) == 3.0
    assert isinstance(compile(np.sum, threads=2)(Tensor([1.0])), Tensor)
