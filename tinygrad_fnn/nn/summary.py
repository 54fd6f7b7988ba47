"""`summary`: a network as a table of its modules, their shapes and how many numbers they learn."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..modes import no_grad
from ..rules import Array
from .hooks import parts_of

if TYPE_CHECKING:
    from .module import Module, Parameter

__all__ = ["summary"]


def summary(model: Module, input_shape: int | Sequence[int] | None = None) -> str:
    """A table of the modules with the shapes of their own parameters and how many numbers these are.

    Parameters
    ----------
    model : Module
    input_shape : tuple of int, optional
        Shape of a batch, the axis of the examples included. With it the table has the shape of what each module gives,
        found by a call on zeros in evaluation mode, of which nothing is left.

    Returns
    -------
    str
        A line for each module that holds parameters or no module, and the total.

    Raises
    ------
    ShapeError
        If the network does not take that shape.

    Examples
    --------
    >>> from tinygrad_fnn import nn
    >>> print(summary(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), (1, 4)))
    module  kind    output  parameters        count
    -----------------------------------------------
    0       Linear  (1, 3)  W (3, 4), b (3,)     15
    1       Tanh    (1, 3)                        0
    2       Linear  (1, 2)  W (2, 3), b (2,)      8
    -----------------------------------------------
    total                                        23
    """
    own: dict[int, list[tuple[str, Parameter]]] = {}
    for name, parameter, owner in model._found_parameters():
        own.setdefault(id(owner), []).append((name.rpartition(".")[2], parameter))
    shapes = None if input_shape is None else _shapes(model, input_shape)
    rows: list[tuple[str, ...]] = [("module", "kind", "output", "parameters", "count")]
    for name, module in model.named_modules():
        held = own.get(id(module), [])
        if held or len(list(module.modules())) == 1:
            parameters = ", ".join(f"{key} {parameter.shape}" for key, parameter in held)
            output = ", ".join(map(str, shapes.get(name, []))) if shapes is not None else ""
            count = f"{_count(p for _, p in held):,}"
            rows.append((name or "(itself)", type(module).__name__, output, parameters, count))
    fixed = _count(parameter for parameter in model.parameters() if not parameter.requires_grad)
    total = f"{_count(model.parameters()):,}"
    rows.append(("total", "", "", f"{fixed:,} of them fixed" if fixed else "", total))
    if shapes is None:
        rows = [row[:2] + row[3:] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(["{:{}}"] * (len(widths) - 1) + ["{:>{}}"])
    lines = [form.format(*(part for pair in zip(row, widths, strict=True) for part in pair)) for row in rows]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _count(parameters: Iterable[Parameter]) -> int:
    return sum(parameter.size for parameter in parameters)


def _shapes(model: Module, input_shape: int | Sequence[int]) -> dict[str, list[tuple[int, ...]]]:
    """The shapes that each module gives, each once, by its name."""
    try:
        lengths = tuple(map(operator.index, [input_shape] if isinstance(input_shape, int) else input_shape))
    except TypeError:
        raise TypeError(f"summary: input_shape must be a tuple of integers; got {input_shape!r}") from None
    dtype = next((p.dtype for p in model.parameters()), np.dtype(float))
    found: dict[str, list[tuple[int, ...]]] = {}
    modes = [(module, module.training) for module in model.modules()]

    def record(name: str, module: Module, args: tuple[Array, ...], out: Array) -> None:
        seen = found.setdefault(name, [])
        seen.extend(shape for shape in map(np.shape, parts_of(out)) if shape not in seen)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.enter_context(module.register_forward_hook(partial(record, name)))
        stack.enter_context(no_grad())
        try:
            model.eval()(np.zeros(lengths, dtype))
        finally:
            for module, training in modes:
                module.training = training
    return found
