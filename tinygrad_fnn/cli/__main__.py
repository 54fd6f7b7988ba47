"""`python -m tinygrad_fnn.cli` prints docs/command_line.md."""

from .page import page

if __name__ == "__main__":
    print(page(), end="")
