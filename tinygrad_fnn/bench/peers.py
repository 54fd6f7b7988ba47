"""The same work by other frameworks, each as its own users write it.

None is needed by this package: what is not installed is left out. Each function is given the problem, the modules and
the number of threads, and returns competitors by name, or none where its framework has no such thing.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .competitor import Competitor, FlatAdam, Found, Problem, gradients, turns
from .problems import Chain, Cost
from .timing import installed

__all__ = ["PEERS", "competing"]


def competing(peer: str, problem: Problem, threads: int | None) -> dict[str, Competitor] | None:
    """The competitors of one peer, None if it is not installed."""
    names, make = PEERS[peer]
    modules = installed(*names)
    return None if modules is None else make(problem, *modules, threads=threads)


def _torch(problem: Problem, torch: Any, *, threads: int | None) -> dict[str, Competitor]:
    if threads is not None:
        torch.set_num_threads(threads)
    F = torch.nn.functional
    if isinstance(problem, Chain):
        x = torch.tensor(problem.start, requires_grad=True)

        def chain() -> Found:
            x.grad = None
            out = problem(x, torch.sigmoid)
            out.backward()
            return gradients(out.detach(), [x.grad])

        return {"torch": Competitor(chain, chain, by_numpy=False)}

    if isinstance(problem, Cost):
        weights = [torch.tensor(w, requires_grad=True) for w in problem.weights]
        X, Y, m = torch.tensor(problem.X), torch.tensor(problem.Y), len(problem.X)

        def cost() -> Found:
            for w in weights:
                w.grad = None
            h = X
            for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                h = torch.sigmoid(F.linear(h, W, b))
            z = F.linear(h, weights[-2], weights[-1])
            penalty = sum((W**2).sum() for W in weights[::2])
            J = F.binary_cross_entropy_with_logits(z, Y, reduction="sum") / m + problem.l2 / (2 * m) * penalty
            J.backward()
            return gradients(J.detach(), [w.grad for w in weights])

        return {"torch": Competitor(cost, cost, by_numpy=False)}

    def steps(**options: Any) -> Competitor:
        parts: list[Any] = []
        for W, b in problem.pairs:
            layer = torch.nn.Linear(W.shape[1], W.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.tensor(W))
                layer.bias.copy_(torch.tensor(b))
            parts += [layer, torch.nn.Sigmoid() if problem.activation == "sigmoid" else torch.nn.ReLU()]
        model = torch.nn.Sequential(*parts[:-1])
        loss = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters(), lr=problem.lr, **options)
        batches = itertools.cycle([(torch.tensor(X), torch.tensor(y)) for X, y in problem.batches])

        def run() -> Any:
            X, y = next(batches)
            optimizer.zero_grad()
            J = loss(model(X), y)
            J.backward()
            optimizer.step()
            return J.detach()

        return Competitor(run, lambda: turns(run, lambda: [p.grad for p in model.parameters()]), by_numpy=False)

    return {"torch": steps(), "torch, fused Adam": steps(fused=True)}


def _jax(problem: Problem, jax: Any, jnp: Any, *, threads: int | None) -> dict[str, Competitor]:
    if isinstance(problem, Chain):
        both = jax.jit(jax.value_and_grad(lambda x: problem(x, jax.nn.sigmoid)))
        x = jnp.array(problem.start)

        def chain() -> Found:
            J, g = jax.block_until_ready(both(x))
            return gradients(J, [g])

        return {"jax.jit": Competitor(chain, chain, by_numpy=False)}

    if isinstance(problem, Cost):
        m = len(problem.X)

        def cost(weights: Any, X: Any, Y: Any) -> Any:
            h = X
            for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                h = jax.nn.sigmoid(h @ W.T + b)
            z = h @ weights[-2].T + weights[-1]
            penalty = sum(jnp.sum(W**2) for W in weights[::2])
            return jnp.sum(jnp.logaddexp(0, z) - Y * z) / m + problem.l2 / (2 * m) * penalty

        value_and_grad = jax.jit(jax.value_and_grad(cost))
        given = [jnp.array(w) for w in problem.weights], jnp.array(problem.X), jnp.array(problem.Y)

        def run_cost() -> Found:
            return gradients(*jax.block_until_ready(value_and_grad(*given)))

        return {"jax.jit": Competitor(run_cost, run_cost, by_numpy=False)}

    activation = jax.nn.sigmoid if problem.activation == "sigmoid" else jax.nn.relu

    def loss(weights: Any, X: Any, y: Any) -> Any:
        h = X
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(h @ W.T + b)
        logits = jax.nn.log_softmax(h @ weights[-2].T + weights[-1])
        return -jnp.take_along_axis(logits, y[:, None], axis=1).mean()

    def step(weights: Any, ms: Any, vs: Any, t: Any, X: Any, y: Any) -> Any:
        J, gs = jax.value_and_grad(loss)(weights, X, y)
        t = t + 1
        ms = [0.9 * m + 0.1 * g for m, g in zip(ms, gs, strict=True)]
        vs = [0.999 * v + 0.001 * g * g for v, g in zip(vs, gs, strict=True)]
        first, second = problem.lr / (1 - 0.9**t), 1 / (1 - 0.999**t)
        weights = [w - first * m / (jnp.sqrt(v * second) + 1e-8) for w, m, v in zip(weights, ms, vs, strict=True)]
        return J, (weights, ms, vs, t)

    jitted = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    state = [
        [jnp.array(w) for w in problem.weights],
        [jnp.zeros_like(w) for w in problem.weights],
        [jnp.zeros_like(w) for w in problem.weights],
        jnp.float32(0),
    ]
    batches = itertools.cycle([(jnp.array(X), jnp.array(y)) for X, y in problem.batches])

    def run() -> Any:
        J, state[:] = jitted(*state, *next(batches))
        return jax.block_until_ready(J)

    def found() -> Found:
        X, y = problem.batches[0]
        slopes = jax.grad(loss)([jnp.array(w) for w in problem.weights], X, y)  # the step itself hands out none
        return turns(run, lambda: slopes)

    return {"jax.jit": Competitor(run, found, by_numpy=False)}


def _autograd(problem: Problem, autograd: Any, anp: Any, special: Any, *, threads: int | None) -> dict[str, Competitor]:
    name = "HIPS autograd"
    if isinstance(problem, Chain):
        both = autograd.value_and_grad(lambda x: problem(x, special.expit))

        def chain() -> Found:
            J, g = both(problem.start)
            return gradients(J, [g])

        return {name: Competitor(chain, chain)}

    def logits(weights: Any, X: Any, activation: Callable[[Any], Any]) -> Any:
        h = X
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(anp.dot(h, W.T) + b)
        return anp.dot(h, weights[-2].T) + weights[-1]

    if isinstance(problem, Cost):
        X, Y, m = problem.X, problem.Y, len(problem.X)

        def cost(weights: Any) -> Any:
            z = logits(weights, X, special.expit)
            penalty = sum(anp.sum(W**2) for W in weights[::2])
            return anp.sum(anp.logaddexp(0, z) - Y * z) / m + problem.l2 / (2 * m) * penalty

        value_and_grad = autograd.value_and_grad(cost)

        def run_cost() -> Found:
            return gradients(*value_and_grad(problem.weights))

        return {name: Competitor(run_cost, run_cost)}

    activation = special.expit if problem.activation == "sigmoid" else lambda z: anp.maximum(z, 0)
    classes = len(problem.weights[-1])

    def loss(weights: Any, X: Any, Y: Any) -> Any:
        z = logits(weights, X, activation)
        return anp.mean(special.logsumexp(z, axis=1) - anp.sum(z * Y, axis=1))

    both = autograd.value_and_grad(loss)
    adam = FlatAdam(problem.weights, problem.lr)
    eye = np.eye(classes, dtype=np.float32)
    batches = itertools.cycle([(X, eye[y]) for X, y in problem.batches])

    def run() -> Any:
        J, found = both(adam.params, *next(batches))
        adam.step(found)
        return J

    return {f"{name}, Adam by hand": Competitor(run, lambda: turns(run, lambda: adam.slots))}


def _mygrad(problem: Problem, mg: Any, activations: Any, losses: Any, *, threads: int | None) -> dict[str, Competitor]:
    if isinstance(problem, Chain):

        def chain() -> Found:
            x = mg.tensor(problem.start)
            out = problem(x, activations.sigmoid)
            out.backward()
            return gradients(out.data, [x.grad])

        return {"MyGrad": Competitor(chain, chain)}

    def logits(weights: Any, X: Any, activation: Callable[[Any], Any]) -> Any:
        h = X
        for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(mg.matmul(h, W.T) + b)
        return mg.matmul(h, weights[-2].T) + weights[-1]

    if isinstance(problem, Cost):
        X, Y, m = problem.X, problem.Y, len(problem.X)

        def run_cost() -> Found:
            weights = [mg.tensor(w) for w in problem.weights]
            z = logits(weights, X, activations.sigmoid)
            penalty = sum(mg.sum(W**2) for W in weights[::2])
            J = mg.sum(mg.logaddexp(0, z) - Y * z) / m + problem.l2 / (2 * m) * penalty
            J.backward()
            return gradients(J.data, [w.grad for w in weights])

        return {"MyGrad": Competitor(run_cost, run_cost)}

    activation = activations.sigmoid if problem.activation == "sigmoid" else activations.relu
    adam = FlatAdam(problem.weights, problem.lr)
    batches = itertools.cycle(problem.batches)

    def run() -> Any:
        X, y = next(batches)
        weights = [mg.tensor(w) for w in adam.params]
        J = losses.softmax_crossentropy(logits(weights, X, activation), y)
        J.backward()
        adam.step([w.grad for w in weights])
        return J.data

    return {"MyGrad, Adam by hand": Competitor(run, lambda: turns(run, lambda: adam.slots))}


def _sklearn(problem: Problem, network: Any, *, threads: int | None) -> dict[str, Competitor]:
    if isinstance(problem, Chain):
        return {}
    widths = [len(b) for b in problem.weights[1::2]]
    if isinstance(problem, Cost):
        X, m = problem.X, len(problem.X)
        Y = problem.Y.astype(int)
        net = network.MLPClassifier(widths[:-1], activation="logistic", solver="lbfgs", alpha=problem.l2, max_iter=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not converged
            net.fit(X[:20], Y[:20])  # several columns of 0 and 1: logistic outputs, cross-entropy summed over them
        Ws, bs = [W.T for W in problem.weights[::2]], problem.weights[1::2]
        theta = np.concatenate([a.ravel() for a in (*Ws, *bs)])
        activations = [X, *(np.empty((m, width)) for width in widths)]
        spare = [[np.empty_like(a) for a in group] for group in (activations, Ws, bs)]

        def run_cost() -> Any:
            return net._loss_grad_lbfgs(theta, X, Y, None, activations, *spare)

        def found() -> Found:
            J, g = run_cost()
            ends = np.cumsum([a.size for a in (*Ws, *bs)])[:-1]
            parts = [part.reshape(a.shape) for part, a in zip(np.split(g, ends), (*Ws, *bs), strict=True)]
            pairs = zip(parts[: len(Ws)], parts[len(Ws) :], strict=True)
            return gradients(J, [g for dW, db in pairs for g in (dW.T, db)])

        return {"scikit-learn": Competitor(run_cost, found)}

    activation = "logistic" if problem.activation == "sigmoid" else "relu"
    net = network.MLPClassifier(
        widths[:-1], activation=activation, alpha=0.0, shuffle=False, batch_size=len(problem.batches[0][0])
    )
    X, y = problem.batches[0]
    net.partial_fit(X, y, classes=np.arange(widths[-1]))  # makes the parameters, which are then filled
    for values, ours in zip(net.coefs_ + net.intercepts_, problem.weights[::2] + problem.weights[1::2], strict=True):
        values[...] = ours.T
    del net._optimizer  # and its averages; the next call makes a new one
    batches = itertools.cycle(problem.batches)

    def run() -> Any:
        net.partial_fit(*next(batches))
        return net.loss_

    return {"scikit-learn": Competitor(run, lambda: turns(run, list))}


# What each is imported as, and the function above.
PEERS: Final[dict[str, tuple[tuple[str, ...], Callable[..., dict[str, Competitor]]]]] = {
    "torch": (("torch",), _torch),
    "jax": (("jax", "jax.numpy"), _jax),
    "autograd": (("autograd", "autograd.numpy", "autograd.scipy.special"), _autograd),
    "mygrad": (("mygrad", "mygrad.nnet.activations", "mygrad.nnet.losses"), _mygrad),
    "scikit-learn": (("sklearn.neural_network",), _sklearn),
}
