"""Objects and training runs in files: written whole or not at all, and believed only as far as they are proved."""

from .checkpoint import load_checkpoint, save_checkpoint
from .saving import load, save

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]
