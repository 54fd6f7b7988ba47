"""Programs of this package, as it comes and compiled; the bare matrix products; NumPy by hand."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from .. import nn, optim
from ..checkpointing import checkpoint
from ..ops import sigmoid
from ..replay import compile as compiled
from ..tensor import Tensor
from .competitor import BARE, COMPILED, LIMIT, OURS, Competitor, FlatAdam, Found, Problem, gradients, turns
from .problems import Chain, Cost, Steps

__all__ = ["bare", "by_hand", "in_parts", "network", "ours", "strictly", "trainer"]


def network(problem: Cost) -> nn.DigitNet:
    """The network of a problem, with its weights."""
    (first, _), *_, (last, _) = problem.pairs
    net = nn.DigitNet(first.shape[1], [W.shape[0] for W, _ in problem.pairs[:-1]], last.shape[0], rng=0)
    _fill(net, problem.weights)
    return net


def ours(problem: Problem, threads: int | None = 1) -> dict[str, Competitor]:
    """The programs of this package: eager, compiled, and on tall batches with threads that share the rows."""
    kinds: dict[type, Callable[..., Competitor]] = {Cost: _cost, Steps: _steps, Chain: _chain}
    make = kinds[type(problem)]
    found = {OURS: make(problem, lambda fun: fun), COMPILED: make(problem, strictly)}
    if isinstance(problem, Cost) and threads is not None and threads > 1:
        found[f"{COMPILED}, rows on {threads} threads"] = make(problem, functools.partial(strictly, threads=threads))
    return found


def strictly(fun: Callable[..., Any], threads: int = 1) -> Any:
    """The function compiled, or GraphError: what runs as before must not be timed under another name."""
    return compiled(fun, fallback="raise", threads=threads)


def _cost(problem: Cost, made: Callable[[Any], Any]) -> Competitor:
    net = network(problem)
    X, Y = Tensor(problem.X), Tensor(problem.Y)
    cost = made(lambda X, Y: net.cost(X, Y, problem.l2))

    def run() -> Tensor:
        net.zero_grad()
        J: Tensor = cost(X, Y)
        J.backward()
        return J

    def found() -> Found:
        for _ in range(3):
            J = run()
        return gradients(J.item(), [p.grad for p in net.parameters()])

    return Competitor(run, found)


def trainer(problem: Steps) -> tuple[nn.Module, nn.Module, optim.Optimizer, Callable[[Any, Any], Tensor]]:
    """The model, the loss and the optimiser of a problem, and the function that takes a step."""
    parts: list[nn.Module] = []
    for W, _ in problem.pairs:
        parts += [nn.Linear(W.shape[1], W.shape[0], rng=0, dtype=np.float32)]
        parts += [nn.Sigmoid() if problem.activation == "sigmoid" else nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    _fill(model, problem.weights)
    loss = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=problem.lr)

    def step(X: Any, y: Any) -> Tensor:
        optimizer.zero_grad()
        J: Tensor = loss(model(X), y)
        J.backward()
        optimizer.step()
        return J.detach()

    return model, loss, optimizer, step


def in_parts(problem: Cost, layers: int = 5) -> dict[str, Competitor]:
    """Eager, with `checkpoint` around so many layers at a time."""
    net = network(problem)
    X, Y = Tensor(problem.X), Tensor(problem.Y)
    *hidden, last = net.layers
    parts = [hidden[k : k + layers] for k in range(0, len(hidden), layers)]

    def through(part: list[nn.Linear], h: Tensor) -> Tensor:
        for layer in part:
            h = sigmoid(layer(h))
        return h

    def run() -> Tensor:
        net.zero_grad()
        h = X
        for part in parts:
            h = checkpoint(functools.partial(through, part), h)
        J: Tensor = nn.functional.binary_cross_entropy_with_logits(last(h), Y, "course")
        J = J + sum(np.square(layer.W).sum() for layer in net.layers) * (problem.l2 / (2 * len(X)))
        J.backward()
        return J

    def found() -> Found:
        J = run()
        return gradients(J.item(), [p.grad for p in net.parameters()])

    return {f"{OURS}, checkpoints each {layers} layers": Competitor(run, found)}


def _steps(problem: Steps, made: Callable[[Any], Any]) -> Competitor:
    model, _, _, step = trainer(problem)
    step = made(step)
    batches = itertools.cycle([(Tensor(X), Tensor(y)) for X, y in problem.batches])

    def run() -> Any:
        return step(*next(batches))

    def found() -> Found:
        return turns(lambda: run().item(), lambda: [p.grad for p in model.parameters()])

    return Competitor(run, found)


def _chain(problem: Chain, made: Callable[[Any], Any]) -> Competitor:
    x = Tensor(problem.start, requires_grad=True)

    def walk() -> Tensor:
        out: Tensor = problem(x, sigmoid)
        out.backward()
        return out.detach()

    walk = made(walk)

    def run() -> Tensor:
        x.grad = None
        return walk()

    def found() -> Found:
        for _ in range(3):
            out = run()
        return gradients(out.item(), [x.grad])

    return Competitor(run, found)


def _fill(model: nn.Module, weights: list[ndarray]) -> None:
    for p, values in zip(model.parameters(), weights, strict=True):
        p.data[...] = values


# --- NumPy alone ------------------------------------------------------------------------------------------------------


def bare(problem: Problem) -> dict[str, Competitor]:
    """What no NumPy program can do without, into outputs that are there already.

    The matrix products of a cost and its gradient or of a step; and those with the exponentials and logarithms of its
    units and its loss, and the passes of Adam. A chain has exponentials only.
    """
    if isinstance(problem, Chain):
        x, out = problem.start, np.empty_like(problem.start)

        def exponentials() -> None:
            for _ in range(problem.length):
                np.exp(x, out=out)

        return {} if problem.plain else {LIMIT: Competitor(exponentials, None)}
    products, zs = _products(problem)
    spare = [np.empty_like(z) for z in zs]
    units = len(zs) if isinstance(problem, Cost) or problem.activation == "sigmoid" else 0
    adam = None if isinstance(problem, Cost) else FlatAdam(problem.weights, problem.lr)

    def run() -> None:
        products()
        for z, e in zip(zs, spare, strict=True):
            np.negative(np.abs(z, out=e), out=e)
        for e in spare[:units] or spare[-1:]:
            np.exp(e, out=e)
        if adam is None:
            np.log1p(spare[-1], out=spare[-1])
        else:
            adam.step(adam.slots)

    return {BARE: Competitor(products, None), LIMIT: Competitor(run, None)}


def _products(problem: Cost | Steps) -> tuple[Callable[[], None], list[ndarray]]:
    """A function that does the matrix products, and the results that it leaves of the way forward.

    In float64 they are laid out by feature, in float32 by row: what is faster with tall batches.
    """
    batches = [problem.X] if isinstance(problem, Cost) else [X for X, _ in problem.batches]
    Ws = [W for W, _ in problem.pairs]
    rows, dtype = len(batches[0]), Ws[0].dtype
    order: Any = "F" if dtype == np.float64 else "C"
    zs = [np.empty((rows, W.shape[0]), dtype, order=order) for W in Ws]
    deltas = [np.empty((rows, W.shape[1]), dtype, order=order) for W in Ws]
    dWs = [np.empty_like(W) for W in Ws]
    given = itertools.cycle(batches)

    def run() -> None:
        h = X = next(given)
        for W, z in zip(Ws, zs, strict=True):
            h = np.matmul(h, W.T, out=z)
        for k in range(len(Ws) - 1, -1, -1):
            delta = zs[k] if k == len(Ws) - 1 else deltas[k + 1]
            np.matmul(delta.T, zs[k - 1] if k else X, out=dWs[k])
            if k:
                np.matmul(delta, Ws[k], out=deltas[k])

    return run, zs


def by_hand(problem: Problem) -> dict[str, Competitor]:
    """The derivation by hand in plain NumPy, with SciPy's `expit`, as one writes it."""
    kinds: dict[type, Callable[..., Competitor]] = {
        Cost: _cost_by_hand,
        Steps: _steps_by_hand,
        Chain: _chain_by_hand,
    }
    return {"NumPy by hand": kinds[type(problem)](problem)}


def _cost_by_hand(problem: Cost) -> Competitor:
    from scipy.special import expit

    pairs, X, Y, l2, m = problem.pairs, problem.X, problem.Y, problem.l2, len(problem.X)

    def run() -> Found:
        hs = [X]
        for W, b in pairs[:-1]:
            hs.append(expit(hs[-1] @ W.T + b))
        W, b = pairs[-1]
        z = hs[-1] @ W.T + b
        J = (np.logaddexp(0, z) - Y * z).sum() / m + l2 / (2 * m) * sum((W**2).sum() for W, _ in pairs)
        delta, found = (expit(z) - Y) / m, []
        for k in range(len(pairs) - 1, -1, -1):
            W = pairs[k][0]
            found += [delta.sum(axis=0), delta.T @ hs[k] + l2 / m * W]
            if k:
                delta = delta @ W * hs[k] * (1 - hs[k])
        return gradients(J, found[::-1])

    return Competitor(run, run)


def _steps_by_hand(problem: Steps) -> Competitor:
    from scipy.special import expit

    adam = FlatAdam(problem.weights, problem.lr)
    pairs = list(zip(adam.params[::2], adam.params[1::2], strict=True))
    slots = list(zip(adam.slots[::2], adam.slots[1::2], strict=True))
    batches = itertools.cycle(problem.batches)

    def run() -> Any:
        X, y = next(batches)
        hs = [X]
        for W, b in pairs[:-1]:
            z = hs[-1] @ W.T + b
            hs.append(expit(z) if problem.activation == "sigmoid" else np.maximum(z, 0))
        W, b = pairs[-1]
        z = hs[-1] @ W.T + b
        z -= z.max(axis=1, keepdims=True)
        delta = np.exp(z)
        total = delta.sum(axis=1, keepdims=True)
        rows = np.arange(len(y))
        J = (np.log(total[:, 0]) - z[rows, y]).mean()
        delta /= total
        delta[rows, y] -= 1
        delta /= len(y)
        for k in range(len(pairs) - 1, -1, -1):
            dW, db = slots[k]
            np.matmul(delta.T, hs[k], out=dW)
            delta.sum(axis=0, out=db)
            if k:
                h = hs[k]
                delta = delta @ pairs[k][0]
                delta = delta * h * (1 - h) if problem.activation == "sigmoid" else delta * (h > 0)
        adam.step(adam.slots)
        return J

    return Competitor(run, lambda: turns(run, lambda: adam.slots))


def _chain_by_hand(problem: Chain) -> Competitor:
    from scipy.special import expit

    def run() -> Found:
        kept, x = [], problem.start
        for _ in range(problem.length):
            x = x * 0.999 if problem.plain else expit(x * 4.0 - 2.0)
            kept.append(x)
        out, ct = x.sum(), np.ones_like(x)
        for a in reversed(kept):
            ct = ct * 0.999 if problem.plain else ct * (a * (1 - a)) * 4.0
        return gradients(out, [ct])

    return Competitor(run, run)
