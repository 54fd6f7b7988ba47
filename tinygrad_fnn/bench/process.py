"""Processes for measurements: what BLAS reads from the environment must stand there before NumPy is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from .timing import environment

__all__ = ["imported", "piece"]


def piece(name: str, threads: int | None, /, **arguments: Any) -> Any:
    """What a function of `workloads.PIECES` returns in a new process with so many threads.

    Parameters
    ----------
    name : str
    threads : int or None
        None for as many as each library takes.
    **arguments
        For the function; they go there as JSON, and so does the answer.

    Raises
    ------
    RuntimeError
        If the process fails; with the last line that it wrote.

    Examples
    --------
    >>> piece("run", 1, name="nothing", peers=[])
    Traceback (most recent call last):
        ...
    RuntimeError: bench: nothing ended with code 1: KeyError: 'nothing'
    """
    command = [sys.executable, "-m", f"{__package__}.workloads", name, str(threads), json.dumps(arguments)]
    found = subprocess.run(command, env=environment(threads), capture_output=True, text=True)
    if found.returncode:
        last = (found.stderr.strip() or "no message").splitlines()[-1]
        raise RuntimeError(f"bench: {arguments.get('name', name)} ended with code {found.returncode}: {last}")
    return json.loads(found.stdout.splitlines()[-1])


def imported(modules: str, threads: int | None, bytecode: str) -> float | None:
    """Milliseconds of processor time that `import` takes in a new process, None if there is no such module.

    `bytecode` is a folder where Python keeps what it compiles, so that all but the first process find it there, whether
    or not they could write to where the modules are.
    """
    program = f"""
import time
start = time.process_time()
try:
    import {modules}
except ImportError:
    print("null")
else:
    print((time.process_time() - start) * 1e3)
"""
    there = environment(threads) | {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    found = subprocess.run([sys.executable, "-c", program], env=there, capture_output=True, text=True, check=True)
    answer: float | None = json.loads(found.stdout.splitlines()[-1])
    return answer
