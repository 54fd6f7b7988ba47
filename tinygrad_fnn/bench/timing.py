"""Threads, clocks and memory: how the benchmarks measure.

Everything that competes takes turns, and medians are compared: machines are noisy, and what disturbs one then disturbs
the others as well.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import platform
import re
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

__all__ = [
    "PACKAGES",
    "clock_for",
    "environment",
    "installed",
    "machine",
    "medians",
    "peak",
    "pinned",
    "seconds",
    "versions",
]

PACKAGES: Final = ("numpy", "scipy", "torch", "jax", "autograd", "mygrad", "scikit-learn")
PAUSE: Final = 0.05  # seconds; OpenBLAS and OpenMP spin for less
THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def environment(threads: int | None) -> dict[str, str]:
    """The environment for a process with so many threads of BLAS, OpenMP and XLA; None for what they take themselves.

    They read it when they are loaded, so it is too late to change that of a process that has imported NumPy.
    """
    found = {name: value for name, value in os.environ.items() if name not in THREADS}
    found["JAX_ENABLE_X64"] = "1"  # float64 is turned into float32 otherwise
    if threads is not None:
        found |= dict.fromkeys(THREADS, str(threads))
        found["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'false' if threads == 1 else 'true'}"
        found["XLA_FLAGS"] += f" intra_op_parallelism_threads={threads}"
    return found


def pinned(threads: int) -> None:
    """Keep this process on as many processors as it has threads, where the system can: the last of those allowed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def installed(*names: str) -> list[Any] | None:  # Any: modules, of which no types are known here
    """The modules, None if one is missing."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError:
        return None


def medians(
    competitors: Mapping[str, Callable[[], Any]], rounds: int, threads: int | None, repeats: int = 1
) -> dict[str, float]:
    """Median milliseconds of each, the competitors taking turns.

    Parameters
    ----------
    competitors : dict of str to callable
    rounds : int > 0
        How often each runs; a round before these warms up and does not count.
    threads : int or None
        With 1 it is the processor's time that counts, so that whatever else the machine does counts less. With more,
        each pauses before its turn, since idle threads of the one before it wait by spinning for a while, and then runs
        as long uncounted: processors that slept take some milliseconds to wake.
    repeats : int > 0
        Calls in a run, where one is too short for the clock.

    Returns
    -------
    dict of str to float
        Milliseconds of a call.
    """
    clock = clock_for(threads)
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(rounds + 1):
        for name, run in competitors.items():
            if threads != 1:
                time.sleep(PAUSE)
                awake = time.perf_counter() + PAUSE
                while True:
                    run()
                    if time.perf_counter() > awake:
                        break
            start = clock()
            for _ in range(repeats):
                run()
            if turn:
                times[name].append((clock() - start) / repeats * 1e3)
    return {name: statistics.median(t) for name, t in times.items()}


def clock_for(threads: int | None) -> Callable[[], float]:
    """The clock that suits so many threads."""
    return time.process_time if threads == 1 else time.perf_counter


def seconds(run: Callable[[], Any]) -> float:
    """The time of one call by the processor's clock, after one that warms up."""
    run()
    start = time.process_time()
    run()
    return time.process_time() - start


def peak(run: Callable[[], Any], by_numpy: bool, calls: int = 3) -> int | None:
    """Bytes that the last of some calls takes beyond what was there before the first: at most at a time.

    Parameters
    ----------
    run : callable
    by_numpy : bool
        Whether its arrays are NumPy's, which tell `tracemalloc` of their memory. What earlier calls have kept counts.
        Otherwise it is the growth of the resident set, what earlier calls have kept left out.
    calls : int > 0
        Three, because what is compiled is recorded twice.

    Returns
    -------
    int or None
        None where the system does not tell the resident set.
    """
    gc.collect()
    if by_numpy:
        tracemalloc.start()
        try:
            for _ in range(calls):
                tracemalloc.reset_peak()
                run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    if not Path("/proc/self/clear_refs").exists():
        return None
    for _ in range(calls - 1):
        run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what has been freed is given back, so that it counts when it is taken again
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def versions() -> dict[str, str]:
    """Those of this package and of the peers that are installed."""
    found = {}
    for name in (*PACKAGES, "tinygrad_fnn"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, system, Python, and the BLAS that NumPy was built with."""
    import numpy as np

    processor = platform.processor() or platform.machine()
    listed = Path("/proc/cpuinfo")
    if listed.exists() and (named := re.search(r"model name\s*: (.*)", listed.read_text())):
        processor = named[1]
    built: dict[str, Any] = np.show_config(mode="dicts") or {}  # type: ignore[assignment]  # the stubs say None
    blas = built.get("Build Dependencies", {}).get("blas", {})
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
    }
