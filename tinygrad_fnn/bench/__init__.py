"""Speed and memory against the bare matrix products and the peers that are installed: `python -m tinygrad_fnn bench`.

It stands apart because it alone imports other frameworks, none of which the package needs, and because each workload
runs in a process of its own: the threads of BLAS are settled when NumPy is loaded.
"""

from .command import main

__all__ = ["main"]
