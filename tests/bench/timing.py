"""What the benchmarks share: the command line, the threads, and medians of competitors that take turns.

Nothing here imports NumPy, so that a benchmark can settle the number of threads before BLAS is loaded.
"""

import argparse
import os
import platform
import statistics
import time
from importlib import metadata

PACKAGES = ("numpy", "scipy", "torch", "autograd", "mygrad", "jax", "tinygrad_fnn")


def options(description, rounds):
    """The arguments that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="how often each competitor runs (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="BLAS threads of every competitor (default: 1)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser


def set_threads(threads):
    """BLAS and OpenMP read these when they are loaded: call it before NumPy is imported."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads={threads}"
    os.environ["JAX_ENABLE_X64"] = "1"


def installed(*names):
    """The modules, None if one is missing."""
    try:
        return [__import__(name, fromlist=["_"]) for name in names]
    except ImportError:
        return None


def medians(competitors, rounds, threads, repeats=1):
    """Median milliseconds of each, the competitors taking turns; the first round warms up and does not count.

    On one thread it is the processor's time that counts, so that whatever else the machine does counts less.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    times = {name: [] for name in competitors}
    for turn in range(rounds + 1):
        for name, run in competitors.items():
            start = clock()
            for _ in range(repeats):
                run()
            if turn:
                times[name].append((clock() - start) / repeats * 1e3)
    return {name: statistics.median(t) for name, t in times.items()}


def circumstances(args):
    """Python, threads, rounds and versions, for the report."""
    versions = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"] in PACKAGES}
    return {"python": platform.python_version(), "threads": args.threads, "rounds": args.rounds, "versions": versions}
