"""Speed and memory against the bare matrix products and the peers that are installed.

python tests/bench/bench.py [--workload W1 W2 ...] [--rounds 15] [--threads 1] [--json FILE]

The program itself is in the package: `python -m tinygrad_fnn bench --help`. No test asserts a time.
"""

import sys

from tinygrad_fnn.bench import main

if __name__ == "__main__":
    sys.exit(main())
