"""The command line: `python -m tinygrad_fnn COMMAND`, a file for each command.

It stands apart because it alone prints, and turns what a user got wrong into one line and an exit code.
"""

from .command import main

__all__ = ["main"]
