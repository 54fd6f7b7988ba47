"""Speed against the bare matrix products and the peers that are installed, in one process, interleaved, by medians.

python tests/bench/bench.py [--rounds 30] [--threads 1] [--json]

Machines are noisy, so read the ratios: every competitor of a workload runs once per round, in turn. Run it by hand;
no test asserts a time.
"""

import json
import sys

from timing import circumstances, installed, medians, options, set_threads

args = options(__doc__, rounds=30).parse_args()
set_threads(args.threads)  # before the imports below

import numpy as np  # noqa: E402
from scipy import special  # noqa: E402

import tinygrad_fnn as tg  # noqa: E402
from tinygrad_fnn import data, nn  # noqa: E402

# --- W1: cost and gradient of 400-25-10 on the 5000 digits, float64, lambda 1 -----------------------------------------


def digits_workload():
    X, y = data.digits()
    Y = np.eye(10)[y]
    m = len(X)
    model = nn.DigitNet(400, 25, 10, rng=0)
    parameters = list(model.parameters())
    W1, b1, W2, b2 = (p.detach().numpy() for p in parameters)
    XT, YT = tg.Tensor(X), tg.Tensor(Y)
    competitors = {}

    buffers = [np.empty(s) for s in ((25, m), (10, m), (10, 25), (m, 25), (25, 400))]

    def bare():
        z1, z2, dW2, d1, dW1 = buffers
        np.matmul(W1, X.T, out=z1)
        np.matmul(W2, z1, out=z2)
        np.matmul(z2, z1.T, out=dW2)
        np.matmul(z2.T, W2, out=d1)
        np.matmul(d1.T, X, out=dW1)

    def tape():
        J = model.cost(XT, YT, 1.0)
        return J, tg.grad(J, parameters)

    def plain():
        z1 = X @ W1.T + b1
        a1 = special.expit(z1)
        z2 = a1 @ W2.T + b2
        J = (np.logaddexp(0, z2) - Y * z2).sum() / m + (W1**2).sum() / (2 * m) + (W2**2).sum() / (2 * m)
        d2 = (special.expit(z2) - Y) / m
        d1 = d2 @ W2 * a1 * (1 - a1)
        return J, (d1.T @ X + W1 / m, d1.sum(0), d2.T @ a1 + W2 / m, d2.sum(0))

    competitors["bare matrix products"] = bare
    competitors["tinygrad_fnn"] = tape
    competitors["NumPy by hand (expit)"] = plain

    if modules := installed("torch"):
        (torch,) = modules
        torch.set_num_threads(args.threads)
        theirs = [torch.tensor(p, requires_grad=True) for p in (W1, b1, W2, b2)]
        tX, tY = torch.tensor(X), torch.tensor(Y)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits

        def by_torch():
            V1, c1, V2, c2 = theirs
            z2 = torch.nn.functional.linear(torch.sigmoid(torch.nn.functional.linear(tX, V1, c1)), V2, c2)
            J = entropy(z2, tY, reduction="sum") / m + ((V1**2).sum() + (V2**2).sum()) / (2 * m)
            return J, torch.autograd.grad(J, theirs)

        competitors["torch"] = by_torch
    if modules := installed("autograd", "autograd.numpy", "autograd.scipy.special"):
        autograd, anp, aspecial = modules

        def hips_cost(p):
            V1, c1, V2, c2 = p
            z2 = anp.dot(aspecial.expit(anp.dot(X, V1.T) + c1), V2.T) + c2
            penalty = (anp.sum(V1**2) + anp.sum(V2**2)) / (2 * m)
            return anp.sum(anp.logaddexp(0, z2) - Y * z2) / m + penalty

        hips = autograd.value_and_grad(hips_cost)
        competitors["HIPS autograd"] = lambda: hips((W1, b1, W2, b2))
    if modules := installed("mygrad", "mygrad.nnet.activations"):
        mg, activations = modules

        def by_mygrad():
            V1, c1, V2, c2 = (mg.tensor(p) for p in (W1, b1, W2, b2))
            z2 = mg.matmul(activations.sigmoid(mg.matmul(X, V1.T) + c1), V2.T) + c2
            J = mg.sum(mg.logaddexp(0, z2) - Y * z2) / m + (mg.sum(V1**2) + mg.sum(V2**2)) / (2 * m)
            J.backward()
            return J, [p.grad for p in (V1, c1, V2, c2)]

        competitors["MyGrad"] = by_mygrad
    if modules := installed("jax", "jax.numpy"):
        jax, jnp = modules

        def jax_cost(p, X, Y):
            V1, c1, V2, c2 = p
            z2 = jax.nn.sigmoid(X @ V1.T + c1) @ V2.T + c2
            return jnp.sum(jnp.logaddexp(0, z2) - Y * z2) / m + (jnp.sum(V1**2) + jnp.sum(V2**2)) / (2 * m)

        jitted = jax.jit(jax.value_and_grad(jax_cost))
        jargs = (tuple(map(jnp.array, (W1, b1, W2, b2))), jnp.array(X), jnp.array(Y))
        competitors["jax.jit"] = lambda: jax.block_until_ready(jitted(*jargs))
    return competitors


# --- W4: a chain of 60 elementwise operations, forward and backward ---------------------------------------------------


def chain(xp, x):
    for _ in range(10):
        x = xp.tanh(x * 1.01 + 0.1)
        x = xp.exp(x - 0.5) / 2.0
    return x.sum()


def chain_workload(size):
    start = np.linspace(0, 1, size)
    competitors = {}

    def tape():
        x = tg.Tensor(start, requires_grad=True)
        chain(np, x).backward()
        return x.grad

    competitors["tinygrad_fnn"] = tape
    if modules := installed("autograd", "autograd.numpy"):
        autograd, anp = modules
        hips = autograd.grad(lambda x: chain(anp, x))
        competitors["HIPS autograd"] = lambda: hips(start)
    if modules := installed("mygrad"):
        (mg,) = modules

        def by_mygrad():
            x = mg.tensor(start)
            chain(mg, x).backward()
            return x.grad

        competitors["MyGrad"] = by_mygrad
    if modules := installed("torch"):
        (torch,) = modules

        def by_torch():
            x = torch.tensor(start, requires_grad=True)
            chain(torch, x).backward()
            return x.grad

        competitors["torch"] = by_torch
    return competitors


def main():
    workloads = {
        "W1: cost + gradient, 400-25-10, 5000 digits, float64": (digits_workload(), 1, "bare matrix products"),
        "W4: chain of 60 operations, 8 elements": (chain_workload(8), 10, "HIPS autograd"),
        "W4: chain of 60 operations, 100,000 elements": (chain_workload(100_000), 1, "HIPS autograd"),
    }
    report = circumstances(args)
    report["workloads"] = {}
    for title, (competitors, repeats, reference) in workloads.items():
        found = medians(competitors, args.rounds, args.threads, repeats)
        against = found.get(reference, found["tinygrad_fnn"])
        report["workloads"][title] = {n: {"ms": ms, "ratio": ms / against} for n, ms in found.items()}
        if not args.json:
            print(f"\n{title} (ms; ratio to {reference if reference in found else 'tinygrad_fnn'})")
            for name, ms in found.items():
                print(f"  {name:24s} {ms:9.3f} {ms / against:7.2f}")
    print(json.dumps(report, indent=2) if args.json else f"\n{report['python']=} {args.threads=} {report['versions']}")


if __name__ == "__main__":
    sys.exit(main())
