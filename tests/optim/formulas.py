"""The update rules of the papers, written out on one vector and nothing shared with the package: oracles.

Each takes the hyperparameters and gives a function of the parameters, the gradient and the number of the step, which
returns the new parameters and remembers what it must.
"""

import numpy as np


def _decayed(p, g, o):
    g = -g if o.get("maximize") else g
    return g + o.get("weight_decay", 0.0) * p


def sgd(o):
    """Sutskever et al. (2013), eqs. 3-4, as PyTorch writes them."""
    momentum, dampening = o.get("momentum", 0), o.get("dampening", 0)
    kept = {}

    def step(p, g, t):
        g = _decayed(p, g, o)
        if momentum:
            kept["v"] = g if t == 1 else momentum * kept["v"] + (1 - dampening) * g
            g = g + momentum * kept["v"] if o.get("nesterov") else kept["v"]
        return p - o["lr"] * g

    return step


def adam(o, decoupled=False, default_decay=0.0):
    """Kingma and Ba (2015), algorithm 1; Reddi et al. (2018) and Loshchilov and Hutter (2019), algorithms 2."""
    b1, b2 = o.get("betas", (0.9, 0.999))
    eps, decay = o.get("eps", 1e-8), o.get("weight_decay", default_decay)
    kept = {"m": 0.0, "v": 0.0, "largest": 0.0}

    def step(p, g, t):
        g = -g if o.get("maximize") else g
        if decoupled:
            p = p - o["lr"] * decay * p
        else:
            g = g + decay * p
        kept["m"] = b1 * kept["m"] + (1 - b1) * g
        kept["v"] = b2 * kept["v"] + (1 - b2) * g**2
        kept["largest"] = np.maximum(kept["largest"], kept["v"])
        v = kept["largest"] if o.get("amsgrad") else kept["v"]
        return p - o["lr"] * (kept["m"] / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)

    return step


def adamw(o):
    return adam(o, decoupled=True, default_decay=1e-2)


def adam_decoupled(o):
    return adam(o, decoupled=o.get("decoupled_weight_decay", False))


def nadam(o):
    """Dozat (2016), algorithm 2, with his schedule of the momentum."""
    b1, b2 = o.get("betas", (0.9, 0.999))
    eps, decay, psi = o.get("eps", 1e-8), o.get("weight_decay", 0.0), o.get("momentum_decay", 4e-3)
    kept = {"m": 0.0, "v": 0.0}

    def mu(t):
        return b1 * (1 - 0.5 * 0.96 ** (t * psi))

    def step(p, g, t):
        g = -g if o.get("maximize") else g
        if o.get("decoupled_weight_decay"):
            p = p * (1 - o["lr"] * decay)
        else:
            g = g + decay * p
        kept["m"] = b1 * kept["m"] + (1 - b1) * g
        kept["v"] = b2 * kept["v"] + (1 - b2) * g**2
        product = np.prod([mu(k) for k in range(1, t + 1)])
        ahead = mu(t + 1) * kept["m"] / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return p - o["lr"] * ahead / (np.sqrt(kept["v"] / (1 - b2**t)) + eps)

    return step


def rmsprop(o):
    """Hinton (2012), lecture 6e; Graves (2013), eqs. 38-45."""
    lr, alpha, eps = o.get("lr", 1e-2), o.get("alpha", 0.99), o.get("eps", 1e-8)
    kept = {"s": 0.0, "a": 0.0, "b": 0.0}

    def step(p, g, t):
        g = _decayed(p, g, o)
        kept["s"] = alpha * kept["s"] + (1 - alpha) * g**2
        kept["a"] = alpha * kept["a"] + (1 - alpha) * g
        s = kept["s"] - kept["a"] ** 2 if o.get("centered") else kept["s"]
        kept["b"] = o.get("momentum", 0) * kept["b"] + g / (np.sqrt(s) + eps)
        return p - lr * kept["b"]

    return step


def adagrad(o):
    """Duchi et al. (2011), section 1.1."""
    kept = {"s": o.get("initial_accumulator_value", 0.0)}

    def step(p, g, t):
        g = _decayed(p, g, o)
        kept["s"] = kept["s"] + g**2
        lr = o["lr"] / (1 + (t - 1) * o.get("lr_decay", 0))
        return p - lr * g / (np.sqrt(kept["s"]) + o.get("eps", 1e-10))

    return step


def adadelta(o):
    """Zeiler (2012), algorithm 1."""
    rho, eps = o.get("rho", 0.9), o.get("eps", 1e-6)
    kept = {"s": 0.0, "d": 0.0}

    def step(p, g, t):
        g = _decayed(p, g, o)
        kept["s"] = rho * kept["s"] + (1 - rho) * g**2
        u = np.sqrt(kept["d"] + eps) / np.sqrt(kept["s"] + eps) * g
        kept["d"] = rho * kept["d"] + (1 - rho) * u**2
        return p - o.get("lr", 1.0) * u

    return step


def rprop(o):
    """Igel and Huesken (2000), section 2.3: iRprop-, entry by entry."""
    (down, up), (low, high) = o.get("etas", (0.5, 1.2)), o.get("step_sizes", (1e-6, 50))
    kept = {}

    def step(p, g, t):
        g = -g if o.get("maximize") else g.copy()
        last = kept.get("g", np.zeros_like(g))
        size = kept.get("size", np.full_like(g, o.get("lr", 1e-2)))
        p = p.copy()
        for i in range(len(p)):
            if g[i] * last[i] > 0:
                size[i] = min(size[i] * up, high)
            elif g[i] * last[i] < 0:
                size[i] = max(size[i] * down, low)
                g[i] = 0
            p[i] -= np.sign(g[i]) * size[i]
        kept["g"], kept["size"] = g, size
        return p

    return step


# Of each optimiser, its formula and the hyperparameters it is tried with.
CASES = {
    "SGD": (
        sgd,
        [
            {"lr": 0.05},
            {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
            {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
            {"lr": 0.01, "momentum": 0.5, "maximize": True},
        ],
    ),
    "Adam": (
        adam_decoupled,
        [
            {"lr": 0.1},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1},
            {"lr": 0.2, "betas": (0.8, 0.7), "amsgrad": True},
            {"lr": 0.1, "betas": (0.0, 0.9), "maximize": True},
            {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
        ],
    ),
    "AdamW": (
        adamw,
        [{"lr": 0.1}, {"lr": 0.2, "betas": (0.8, 0.7), "weight_decay": 0.2, "amsgrad": True, "maximize": True}],
    ),
    "NAdam": (
        nadam,
        [
            {"lr": 0.1},
            {"lr": 0.1, "betas": (0.8, 0.7), "weight_decay": 0.1, "momentum_decay": 0.3},
            {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
        ],
    ),
    "RMSprop": (
        rmsprop,
        [
            {"lr": 0.01},
            {"lr": 0.01, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.9},
            {"lr": 0.01, "alpha": 0.8, "momentum": 0.5, "centered": True},
            {"lr": 0.01, "centered": True, "maximize": True},
        ],
    ),
    "Adagrad": (
        adagrad,
        [
            {"lr": 0.1},
            {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3},
            {"lr": 0.1, "maximize": True},
        ],
    ),
    "Adadelta": (adadelta, [{}, {"lr": 0.5, "rho": 0.6, "eps": 1e-3, "weight_decay": 0.1}, {"maximize": True}]),
    "Rprop": (
        rprop,
        [
            {},
            {"lr": 0.3, "etas": (0.4, 1.5), "step_sizes": (0.2, 0.5)},
            {"lr": 0.3, "etas": (0.5, 1.2), "maximize": True},
        ],
    ),
}
PAIRS = [(name, options) for name, (_, every) in CASES.items() for options in every]
