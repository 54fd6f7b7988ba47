"""`capture`: what every module gives, and the delta of each, by name, while the network runs as it always does."""

from __future__ import annotations

from functools import partial
from typing import Self

from numpy import ndarray

from ..rules import Array
from ..tensor import Node, Tensor
from .hooks import Handle, parts_of, rebuilt, tracked, twin
from .module import Module

__all__ = ["Capture", "capture"]


class Capture:
    """What `capture` returns: a context manager, and the record.

    Parameters
    ----------
    model : Module

    Attributes
    ----------
    outputs : dict from str to ndarray
        What each module gave, by dotted name; '' is the model itself. Read-only.
    deltas : dict from str to ndarray
        Derivatives with respect to these, of what `backward` started from; they accumulate as `.grad` does.
    """

    def __init__(self, model: Module) -> None:
        self._model = model
        self._handles: list[Handle] = []
        self._nodes: dict[str, Node] = {}
        self.outputs: dict[str, ndarray] = {}

    @property
    def deltas(self) -> dict[str, ndarray]:
        """The derivatives by name, as far as `backward` has been there."""
        return {name: node.grad for name, node in self._nodes.items() if node.grad is not None}

    def __enter__(self) -> Self:
        for name, module in self._model.named_modules():
            self._handles.append(module.register_forward_hook(partial(self._record, name)))
        return self

    def __exit__(self, *exception: object) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _record(self, name: str, module: Module, args: tuple[Array, ...], out: Array) -> Array:
        parts, several = parts_of(out), isinstance(out, tuple | list)
        for i, part in enumerate(parts):
            if isinstance(part, Tensor):
                key = self._free(f"{name}[{i}]" if several else name)
                self.outputs[key] = part._read()
                if tracked(part):
                    # A node of its own: what a module passes on unchanged is told from what it was given. It retains
                    # its gradient and has no hook, which could change that of a probability, and would hinder the loss
                    # from going past it.
                    parts[i] = twin(part)
                    parts[i].retain_grad()
                    self._nodes[key] = parts[i]._node
        return rebuilt(out, parts)

    def _free(self, name: str) -> str:
        key, count = name, 1
        while key in self.outputs:
            count += 1
            key = f"{name}#{count}"
        return key


def capture(model: Module) -> Capture:
    """Record what every module gives, and after backward the deltas, by dotted name.

    Parameters
    ----------
    model : Module
        Its calls within the `with` block are recorded; `backward` may come after it.

    Returns
    -------
    Capture
        With dicts `outputs` and `deltas`. A second call of a module goes by 'name#2', a third by 'name#3', and so on;
        the parts of a tuple or list by 'name[0]', 'name[1]'.

    Notes
    -----
    The delta of a module is the cotangent of its result: for the affine maps of a network it is the book's delta,
    ``dJ/dz``, equations (18) and (19) of docs/backprop.md.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_fnn import nn
    >>> net = nn.DigitNet(4, 3, 2, rng=0)
    >>> with nn.capture(net) as seen:
    ...     J = net.cost(np.ones((5, 4)), np.zeros((5, 2)))
    >>> J.backward()
    >>> {name: z.shape for name, z in seen.outputs.items()}
    {'layers.0': (5, 3), 'activation': (5, 3), 'layers.1': (5, 2)}
    >>> sorted(seen.deltas)
    ['activation', 'layers.0', 'layers.1']
    """
    return Capture(model)
