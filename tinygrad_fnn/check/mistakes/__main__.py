"""Prints ``docs/mistakes.md``."""

from tinygrad_fnn.check.mistakes.page import page

print(page(), end="")
