"""Backpropagation by hand, example by example and unit by unit, with the mistakes that people make.

Written apart from the package, whose table of mistakes it is to judge: nothing here imports it. Each mistake is an
`if` where a student would make it, so two mistakes at once are simply two of them in one run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np


@dataclass
class Net:
    """What a gradient is taken of."""

    thetas: list[np.ndarray]
    X: np.ndarray
    Y: np.ndarray
    l2: float = 0.0
    activation: str = "sigmoid"
    output: str = "sigmoid"
    reduction: str = "course"

    @property
    def question(self) -> tuple[Any, ...]:
        return self.thetas, self.X, self.Y, self.l2

    @property
    def keywords(self) -> dict[str, str]:
        return {"activation": self.activation, "output": self.output, "reduction": self.reduction}


class Made(NamedTuple):
    """A mistake: where (no layers: wherever it can be), in which of its ways, with which number."""

    slug: str
    layers: tuple[int, ...] | None = None
    way: int = 0
    number: float = 0.0


ALL_LAYERS = [
    "missing-1-over-m",
    "bias-not-trained",
    "bias-not-over-m",
    "bias-over-m-twice",
    "bias-summed-over-units",
    "l2-missing",
    "l2-sign-flipped",
    "l2-not-over-m",
    "l2-factor-two",
    "l2-factor-half",
    "l2-on-bias",
    "l2-ones-on-bias",
    "l2-exempts-wrong-column",
]
HIDDEN_LAYERS = [
    "missing-g-prime",
    "g-prime-of-a",
    "one-minus-a-only",
    "a-formula-on-z",
    "g-prime-of-other-activation",
    "wrong-column-dropped",
    "weights-not-transposed",
]
ONE_LAYER = [
    "layer-not-trained",
    "unit-not-trained",
    "input-not-trained",
]
WHOLE = [
    "extra-1-over-m",
    "extra-1-over-k",
    "missing-1-over-k",
    "sign-flipped",
    "scaled",
    "extra-g-prime-at-output",
    "updated-weights",
    "overwritten-not-accumulated",
    "first-example-only",
    "example-skipped",
    "bias-column-last",
    "bias-zeroed-in-place",
    "l1-instead-of-l2",
    "labels-off-by-one",
    "labels-not-one-hot",
    "wrong-output-activation",
    "softmax-wrong-axis",
    "weights-read-row-major",
    "unrolled-row-major",
    "transposed",
]
SLUGS = [*ALL_LAYERS, *HIDDEN_LAYERS, "z-in-outer-product", *ONE_LAYER, *WHOLE]
WAYS = {
    "missing-1-over-m": 2, "extra-1-over-m": 2, "sign-flipped": 2, "scaled": 2, "example-skipped": 2,
    "layer-not-trained": 2, "unit-not-trained": 2, "input-not-trained": 2, "labels-off-by-one": 2,
    "labels-not-one-hot": 2, "unrolled-row-major": 2,
}  # fmt: skip


def possible(slug: str, net: Net) -> list[tuple[int, ...] | None]:
    """The layers that `slug` can be made in, one by one and then together; empty if it cannot be made in `net`."""
    L = len(net.thetas)
    if slug in {"extra-g-prime-at-output", "wrong-output-activation"} and net.output == "identity":
        return []
    if slug == "softmax-wrong-axis" and net.output != "softmax":
        return []
    if slug == "missing-1-over-k" and net.reduction != "mean":
        return []
    if slug == "labels-not-one-hot" and len(net.thetas[-1]) == 1:
        return []
    if slug == "one-minus-a-only" and net.activation == "relu":
        return []
    if slug == "updated-weights":
        return [None] if L > 1 else []
    if slug in WHOLE:
        return [None]
    layers = range(L)
    if slug in HIDDEN_LAYERS:
        layers = range(L - 1)
    if slug == "weights-not-transposed":
        layers = [l for l in layers if net.thetas[l + 1].shape[0] == net.thetas[l + 1].shape[1] - 1]
    if slug == "z-in-outer-product":
        layers = range(1, L)
    alone = [(l,) for l in layers]
    return alone if slug in ONE_LAYER or len(alone) < 2 else [*alone, tuple(layers)]


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def activate(name: str, z: np.ndarray) -> np.ndarray:
    if name == "sigmoid":
        return np.array([logistic(x) for x in z])
    if name == "tanh":
        return np.array([math.tanh(x) for x in z])
    if name == "relu":
        return np.array([x if x > 0 else 0.0 for x in z])
    if name == "softmax":
        e = [math.exp(x - max(z)) for x in z]
        return np.array([x / sum(e) for x in e])
    return np.array([float(x) for x in z])


def slope(name: str, z: np.ndarray) -> np.ndarray:
    if name == "sigmoid":
        return np.array([logistic(x) * logistic(-x) for x in z])
    if name == "tanh":
        return np.array([1 / math.cosh(min(abs(x), 300)) ** 2 for x in z])
    return np.array([1.0 if x > 0 else 0.0 for x in z])


def wrong_slope(made: dict[str, Made], l: int, name: str, z: np.ndarray, a: np.ndarray) -> np.ndarray:
    """g' as the mistakes have it."""

    def has(slug: str) -> bool:
        return slug in made and (made[slug].layers is None or l in made[slug].layers)

    if has("missing-g-prime"):
        return np.ones(len(z))
    if has("g-prime-of-a"):
        return slope(name, a)
    if has("one-minus-a-only"):
        return 1.0 - a
    if has("a-formula-on-z"):
        return {"sigmoid": z * (1 - z), "tanh": 1 - z**2, "relu": slope("relu", z)}[name]
    if has("g-prime-of-other-activation"):
        return 1 - a**2 if name == "sigmoid" else a * (1 - a)
    return slope(name, z)


def gradient(net: Net, *mistakes: Made) -> list[np.ndarray]:
    """The gradient, with `mistakes` made on the way; arrays of shape (out, in + 1), unless they are transposed."""
    made = {mistake.slug: mistake for mistake in mistakes}
    m, K, L = len(net.X), len(net.thetas[-1]), len(net.thetas)

    def has(slug: str, l: int | None = None) -> bool:
        return slug in made and (l is None or made[slug].layers is None or l in made[slug].layers)

    def way(slug: str) -> int:
        return made[slug].way

    thetas = [np.array(theta, dtype=float) for theta in net.thetas]
    if has("weights-read-row-major"):
        for theta in thetas:
            rows, columns = theta.shape
            vector = [theta[i, j] for j in range(columns) for i in range(rows)]
            for i in range(rows):
                theta[i] = vector[i * columns : (i + 1) * columns]
    if has("bias-zeroed-in-place"):
        for theta in thetas:
            theta[:, 0] = 0

    Y = np.array(net.Y, dtype=float)
    if has("labels-off-by-one"):
        shift = 1 if way("labels-off-by-one") == 0 else -1
        Y = np.array([[row[(k - shift) % K] for k in range(K)] for row in Y])
    if has("labels-not-one-hot"):
        Y = np.array([[float(np.argmax(row)) + way("labels-not-one-hot")] * K for row in Y])

    # forward
    output = net.output
    if has("wrong-output-activation"):
        output = "softmax" if output == "sigmoid" else "sigmoid"
    z: list[list[np.ndarray]] = [[] for _ in range(L)]
    a: list[list[np.ndarray]] = [[] for _ in range(L + 1)]
    for i in range(m):
        a[0].append(np.array(net.X[i], dtype=float))
        for l in range(L):
            z[l].append(np.array([row[0] + float(row[1:] @ a[l][i]) for row in thetas[l]]))
            a[l + 1].append(activate(output if l == L - 1 else net.activation, z[l][i]))
    if has("softmax-wrong-axis"):
        for k in range(K):
            e = [math.exp(z[-1][i][k] - max(row[k] for row in z[-1])) for i in range(m)]
            for i in range(m):
                a[L][i][k] = e[i] / sum(e)

    # backward
    examples = list(range(m))
    if has("example-skipped"):
        examples = examples[1:] if way("example-skipped") == 0 else examples[:-1]
    data = [np.zeros(theta.shape) for theta in thetas]
    delta: list[np.ndarray] = []
    for l in range(L - 1, -1, -1):
        above, delta = delta, []
        for i in range(m):
            if l == L - 1:
                d = a[L][i] - Y[i]
                if has("extra-g-prime-at-output"):
                    d = d * a[L][i] * (1 - a[L][i])
            else:
                W = thetas[l + 1].copy()
                if has("updated-weights", l):
                    used = data[l + 1] + penalty(net, thetas[l + 1])
                    W = W - made["updated-weights"].number * used
                W = W[:, :-1] if has("wrong-column-dropped", l) else W[:, 1:]
                if has("weights-not-transposed", l):
                    W = W.T
                d = np.zeros(W.shape[1])
                for k in range(W.shape[0]):
                    d = d + above[i][k] * W[k]
                d = d * wrong_slope(made, l, net.activation, z[l][i], a[l + 1][i])
            delta.append(d)
        n = m if net.reduction == "course" else m * K
        for i in examples:
            before = z[l - 1][i] if l > 0 and has("z-in-outer-product", l) else a[l][i]
            term = np.array([np.append(d, d * before) for d in delta[i]])
            if has("overwritten-not-accumulated"):
                data[l] = term / n
            else:
                data[l] = data[l] + term / n
            if has("first-example-only"):
                break

    return finish(net, made, thetas, data)


def penalty(net: Net, theta: np.ndarray) -> np.ndarray:
    P = np.zeros(theta.shape)
    for i in range(theta.shape[0]):
        for j in range(1, theta.shape[1]):
            P[i, j] = net.l2 / len(net.X) * theta[i, j]
    return P


def finish(net: Net, made: dict[str, Made], thetas: list[np.ndarray], data: list[np.ndarray]) -> list[np.ndarray]:
    """Factors, bias column, penalty, zeros and order, layer by layer."""
    m, K = len(net.X), len(net.thetas[-1])
    result = []
    for l, (theta, D) in enumerate(zip(thetas, data, strict=True)):

        def has(slug: str, way: int | None = None, l: int = l) -> bool:
            there = slug in made and (made[slug].layers is None or l in made[slug].layers)
            return there and (way is None or made[slug].way == way)

        both = 1.0
        for slug, factor in (
            ("missing-1-over-m", m),
            ("extra-1-over-m", 1 / m),
            ("extra-1-over-k", 1 / K),
            ("missing-1-over-k", K),
            ("sign-flipped", -1),
            ("scaled", made["scaled"].number if "scaled" in made else 1.0),
        ):
            if has(slug, 0):
                D = D * factor
            if has(slug, 1):
                both *= factor
        if has("bias-summed-over-units"):
            D[:, 0] = sum(D[:, 0])
        if has("bias-not-trained"):
            D[:, 0] = 0
        if has("bias-not-over-m"):
            D[:, 0] *= m
        if has("bias-over-m-twice"):
            D[:, 0] /= m

        seen = np.sign(theta) if has("l1-instead-of-l2") else theta
        P = net.l2 / m * seen
        if has("l2-exempts-wrong-column"):
            P[:, 1] = 0
        elif has("l2-ones-on-bias"):
            P[:, 0] = net.l2 / m
        elif not has("l2-on-bias"):
            P[:, 0] = 0
        if has("l2-missing"):
            P = 0 * P
        if has("l2-sign-flipped"):
            P = -P
        if has("l2-not-over-m"):
            P = m * P
        if has("l2-factor-two"):
            P = 2 * P
        if has("l2-factor-half"):
            P = P / 2

        if has("layer-not-trained"):
            D = 0 * D
        G = both * (D + P)
        if has("layer-not-trained", 0):
            G[:] = 0
        if has("unit-not-trained"):
            G[0 if made["unit-not-trained"].way == 0 else -1] = 0
        if has("input-not-trained"):
            G[:, 1 if made["input-not-trained"].way == 0 else -1] = 0
        if has("bias-column-last"):
            G = np.array([[*row[1:], row[0]] for row in G])
        if has("unrolled-row-major"):
            rows, columns = G.shape
            if made["unrolled-row-major"].way == 0:
                G = np.array([G[i, j] for i in range(rows) for j in range(columns)]).reshape(columns, rows).T
            else:
                G = np.array([G[i, j] for j in range(columns) for i in range(rows)]).reshape(rows, columns)
        if has("transposed"):
            G = np.array([[G[i, j] for i in range(G.shape[0])] for j in range(G.shape[1])])
        result.append(G)
    return result


def distance(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Relative distance of two gradients in the worst layer."""
    worst = 0.0
    for A, B in zip(first, second, strict=True):
        if A.shape != B.shape:
            return 2.0
        larger = max(np.linalg.norm(A), np.linalg.norm(B))
        worst = max(worst, float(np.linalg.norm(A - B) / larger) if larger else 0.0)
    return worst


def random_net(rng: np.random.Generator, layers: int | None = None, **fixed: Any) -> Net:
    """A network of 1 to 5 layers with targets; square or not, one example or many, one output or many."""
    L = layers or int(rng.integers(1, 6))
    square = rng.random() < 0.25
    sizes = [int(rng.integers(2, 5))] * (L + 1) if square else [int(n) for n in rng.integers(2, 6, size=L + 1)]
    if rng.random() < 0.15:
        sizes[-1] = 1
    sizes = fixed.pop("sizes", sizes)
    m = fixed.pop("m", 1 if rng.random() < 0.1 else int(rng.integers(3, 9)))
    size = rng.choice([0.5, 1.0, 2.0])
    thetas = [size * rng.normal(size=(out, n + 1)) for n, out in pairwise(sizes)]
    output = fixed.pop("output", str(rng.choice(["sigmoid", "softmax", "identity"])))
    K = sizes[-1]
    if output == "identity" and rng.random() < 0.5:
        Y = rng.normal(size=(m, K))
    elif K == 1:
        Y = rng.integers(0, 2, size=(m, 1)).astype(float) if output == "sigmoid" else np.ones((m, 1))
    else:
        Y = np.eye(K)[rng.integers(0, K, size=m)]
    values = {
        "l2": float(rng.choice([0.0, 0.3, 1.0, 3.0])),
        "activation": str(rng.choice(["sigmoid", "tanh", "relu"])),
        "reduction": str(rng.choice(["course", "mean"])),
    }
    return Net(thetas, rng.normal(size=(m, sizes[0])), Y, output=output, **(values | fixed))


def random_mistake(rng: np.random.Generator, slug: str, net: Net) -> Made | None:
    """`slug` made somewhere in `net`, in one of its ways; None if it cannot be."""
    places = possible(slug, net)
    if not places:
        return None
    number = float(rng.choice([2.0, 0.5, 0.01, 3.0, -0.1, 1.05]))
    if slug == "updated-weights":
        number = float(rng.choice([0.1, 0.5, 1.0, 3.0]))
    place = places[int(rng.integers(len(places)))]
    return Made(slug, place, int(rng.integers(WAYS.get(slug, 1))), number)
