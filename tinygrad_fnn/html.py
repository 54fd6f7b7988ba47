"""HTML for notebooks: static, escaped, at most 20 kB, no script; text where the notebook does not trust its styles.

It stands apart because tensors, modules, histories and reports are all shown this way, and none of them knows the
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

__all__ = ["LIMIT", "preformatted", "table"]

LIMIT: Final = 20_000  # bytes of UTF-8: a notebook keeps every output in its file

# Without these rules, in a notebook that is not trusted, the table stays hidden and the text is what one reads.
_STYLE: Final = (
    "<style>.tg-repr>pre{display:none}.tg-repr>table{display:table!important;border-collapse:collapse}"
    ".tg-repr td,.tg-repr th{padding:.2em .8em;text-align:right}</style>"
)


def preformatted(text: str, limit: int = LIMIT) -> str:
    """A text as HTML that looks like it.

    Parameters
    ----------
    text : str
        Anything; markup in it stays text.
    limit : int
        Bytes of the result, at most. What is too long loses its end, and says so.

    Returns
    -------
    str

    Examples
    --------
    >>> preformatted("Linear(<b>)")
    '<pre>Linear(&lt;b&gt;)</pre>'
    """
    frame, more = "<pre></pre>", "\n... the rest is left out; print() shows all"
    inner = _escaped(text)
    if _size(inner) > limit - len(frame):
        room = limit - len(frame) - len(more)
        while (size := _size(inner)) > room:  # cut before escaping, so that no entity is cut in two
            text = text[: len(text) * room // size]
            inner = _escaped(text)
        inner += more
    return f"<pre>{inner}</pre>"


def table(head: Sequence[object], rows: Iterable[Sequence[object]], text: str) -> str:
    """A table, and the text that stands in for it.

    Parameters
    ----------
    head : sequence of n
        The names of the columns.
    rows : iterable of sequences of n
        Numbers are given four significant digits. Of too many rows those in the middle are left out.
    text : str
        The same as text: what is read where styles are removed.

    Returns
    -------
    str

    Examples
    --------
    >>> print(table(["epoch", "loss"], [[1, 0.25]], "epoch 1: loss 0.25"))  # doctest: +ELLIPSIS
    <div class="tg-repr"><style>...</style><pre>epoch 1: loss 0.25</pre><table hidden><tr><th>epoch</th>...
    """
    lines = [_row("td", row) for row in rows]
    top = _row("th", head)
    fallback = preformatted(text, LIMIT // 2)
    gap = f'<tr><td colspan="{len(head)}">...</td></tr>'
    room = LIMIT - _size(f'<div class="tg-repr">{_STYLE}{fallback}<table hidden>{top}{gap}</table></div>')
    if room < 0:  # so many columns that not even their names fit
        return preformatted(text)
    kept = _ends([_size(line) for line in lines], room)
    if kept < len(lines):
        lines = [*lines[: kept - kept // 2], gap, *lines[len(lines) - kept // 2 :]]
    return f'<div class="tg-repr">{_STYLE}{fallback}<table hidden>{top}{"".join(lines)}</table></div>'


def _ends(sizes: Sequence[int], room: int) -> int:
    """How many of these fit, taken in turn from the front and from the back."""
    for count in range(len(sizes)):
        room -= sizes[-(count // 2) - 1] if count % 2 else sizes[count // 2]
        if room < 0:
            return count
    return len(sizes)


def _row(kind: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{kind}>{_escaped(_cell(cell))}</{kind}>" for cell in cells) + "</tr>"


def _cell(cell: object) -> str:
    text = f"{cell:.4g}" if isinstance(cell, float) else str(cell)
    return text if len(text) <= 200 else text[:197] + "..."


def _escaped(text: str) -> str:
    # A lone surrogate, as a file name may have it, is no UTF-8.
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
