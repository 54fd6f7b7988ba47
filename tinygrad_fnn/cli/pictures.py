"""Pictures written to files: what `show` and `evaluate` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..files import replacing
from .options import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PICTURES", "save_picture"]

PICTURES: Final = (".png", ".svg", ".pdf")


def save_picture(ax: Axes, path: Path, option: str = "--out") -> None:
    """Write the figure of `ax`, whole or not at all; the suffix says in which format."""
    figure: Any = ax.figure  # Any: a figure or a part of one, and only the first can be saved
    with writing(f"{option} {path}"), replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), dpi=150)
