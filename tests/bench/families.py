"""Speed by family of operations against HIPS autograd: value and gradient, interleaved, by medians.

python tests/bench/families.py [--rounds 15] [--threads 1] [--family linalg] [--each] [--json]

Each operation runs ten times, and one given cotangent is pulled back through the sum of its results: a program of
twenty operations, in which the fixed cost of a call of `vjp` does not hide them. That cost is the family "one call".
Arrays have 1, 1000 and 100,000 entries; matrices are square, with that many entries or a few less. A row gives, for
each size, the median over the family of ours / HIPS, and the slowest of its operations; `--each` has all of them.
Gradients that differ, and operations without a rule, are reported. Run it by hand; no test asserts a time.
"""

import json
import math
import statistics
import sys

from timing import circumstances, installed, medians, options, set_threads

parser = options(__doc__, rounds=15)
parser.add_argument("--family", action="append", help="only this one; may be given several times")
parser.add_argument("--each", action="store_true", help="print every operation")
args = parser.parse_args()
set_threads(args.threads)  # before the imports below

import numpy as np  # noqa: E402
from scipy import special  # noqa: E402

import tinygrad_fnn as tg  # noqa: E402
from tinygrad_fnn.errors import NoRuleError  # noqa: E402

SIZES = (1, 1000, 100_000)
TIMES = 10  # how often an operation is repeated in its program
SLOW = 100.0  # milliseconds from which a third of the rounds is enough


# --- the operations: xp is the namespace of NumPy or of HIPS, x the argument, y a constant array ---------------------


def vector(rng, n):
    return rng.uniform(0.2, 0.9, size=(2, n))


def matrix(rng, n):
    side = math.isqrt(n)
    return rng.uniform(0.2, 0.9, size=(2, side, side)) + 0.5 * np.eye(side)


def positive_definite(rng, n):
    A, B = rng.normal(size=(2, math.isqrt(n), math.isqrt(n)))
    return A @ A.T / len(A) + np.eye(len(A)), B


def ids(x):
    return np.arange(len(x)) * 7919 % len(x)  # in no order


def repeated(x):
    return ids(x) // 2


def loop_over_rows(xp, x, y):
    total = 0.0
    for row in x:
        total = total + row * 2.0
    return total


def ten_slices(xp, x, y):
    step = max(len(x) // 10, 1)
    total = 0.0
    for k in range(0, len(x) - step + 1, step):
        total = total + x[k : k + step]
    return total


EXPONENTIAL = ("exp", "expm1", "log", "log1p", "log2", "sqrt", "square", "abs")
TRIGONOMETRIC = ("sin", "cos", "tan", "arcsin", "arctan", "sinh", "tanh", "arctanh")
SPECIAL = ("expit", "logit", "erf", "erfc", "erfinv", "gammaln", "digamma", "gamma", "i0", "j0")
REDUCTIONS = ("sum", "mean", "max", "min", "var", "std", "prod")

FAMILIES = {
    "one call": {
        vector: {
            "x + y": lambda xp, x, y: x + y,
            "exp": lambda xp, x, y: xp.exp(x),
            "sum": lambda xp, x, y: xp.sum(x),
        }
    },
    "arithmetic": {
        vector: {
            "x + y": lambda xp, x, y: x + y,
            "x - 0.5": lambda xp, x, y: x - 0.5,
            "x * y": lambda xp, x, y: x * y,
            "x * x": lambda xp, x, y: x * x,
            "x / y": lambda xp, x, y: x / y,
            "y / x": lambda xp, x, y: y / x,
            "-x": lambda xp, x, y: -x,
            "x ** 2": lambda xp, x, y: x**2,
            "x ** 3": lambda xp, x, y: x**3,
            "x ** y": lambda xp, x, y: x**y,
            "2 ** x": lambda xp, x, y: 2.0**x,
            "x % 0.3": lambda xp, x, y: x % 0.3,
            "maximum": lambda xp, x, y: xp.maximum(x, y),
            "logaddexp": lambda xp, x, y: xp.logaddexp(x, y),
            "arctan2": lambda xp, x, y: xp.arctan2(x, y),
        },
        matrix: {"column + row": lambda xp, x, y: x[:, :1] + y[:1]},
    },
    "elementary": {
        vector: {name: lambda xp, x, y, name=name: getattr(xp, name)(x) for name in (*EXPONENTIAL, *TRIGONOMETRIC)}
        | {
            "where": lambda xp, x, y: xp.where(y > 0.5, x, 0.0),
            "clip": lambda xp, x, y: xp.clip(x, 0.3, 0.7),
        }
    },
    "special": {
        vector: {name: lambda xp, x, y, name=name: getattr(xp.special, name)(x) for name in SPECIAL}
        | {"logsumexp": lambda xp, x, y: xp.special.logsumexp(x)},
        matrix: {"logsumexp, axis 1": lambda xp, x, y: xp.special.logsumexp(x, axis=1)},
    },
    "reductions": {
        vector: {name: lambda xp, x, y, name=name: getattr(xp, name)(x) for name in REDUCTIONS},
        matrix: {
            f"{name}, axis {axis}": lambda xp, x, y, name=name, axis=axis: getattr(xp, name)(x, axis=axis)
            for name in ("sum", "mean", "max", "std", "prod")
            for axis in (0, 1)
        },
    },
    "shapes": {
        vector: {
            "reshape": lambda xp, x, y: xp.reshape(x, (-1, 1)),
            "expand_dims": lambda xp, x, y: xp.expand_dims(x, 0),
            "tile": lambda xp, x, y: xp.tile(x, 3),
            "repeat": lambda xp, x, y: xp.repeat(x, 3),
            "roll": lambda xp, x, y: xp.roll(x, 1),
            "pad": lambda xp, x, y: xp.pad(x, 2, "constant"),
        },
        matrix: {
            "x.T": lambda xp, x, y: x.T,
            "ravel": lambda xp, x, y: xp.ravel(x),
            "squeeze": lambda xp, x, y: xp.squeeze(x[None]),
            "swapaxes": lambda xp, x, y: xp.swapaxes(x, 0, 1),
            "moveaxis": lambda xp, x, y: xp.moveaxis(x, 0, 1),
            "rot90": lambda xp, x, y: xp.rot90(x),
            "fliplr": lambda xp, x, y: xp.fliplr(x),
            "diag": lambda xp, x, y: xp.diag(x),
            "tril": lambda xp, x, y: xp.tril(x),
            "trace": lambda xp, x, y: xp.trace(x),
        },
    },
    "indexing": {
        vector: {
            "x[0]": lambda xp, x, y: x[0],
            "x[: n // 2 + 1]": lambda xp, x, y: x[: len(x) // 2 + 1],
            "x[::-2]": lambda xp, x, y: x[::-2],
            "x[mask]": lambda xp, x, y: x[y > 0.5],
            "x[ids]": lambda xp, x, y: x[ids(x)],
            "x[repeated ids]": lambda xp, x, y: x[repeated(x)],
            "ten slices": ten_slices,
        },
        matrix: {
            "X[:, 0]": lambda xp, x, y: x[:, 0],
            "X[1:, :-1]": lambda xp, x, y: x[1:, :-1],
            "X[ids]": lambda xp, x, y: x[ids(x)],
            "X[repeated ids]": lambda xp, x, y: x[repeated(x)],
            "X[ids, arange]": lambda xp, x, y: x[ids(x), np.arange(len(x))],
            "for row in X": loop_over_rows,
        },
    },
    "joining": {
        vector: {
            "concatenate": lambda xp, x, y: xp.concatenate([x, y, x]),
            "append": lambda xp, x, y: xp.append(x, y),
            "stack": lambda xp, x, y: xp.stack([x, y, x]),
            "stack of scalars": lambda xp, x, y: xp.stack([x[k % len(x)] for k in range(10)]),
        },
        matrix: {
            "concatenate, axis 1": lambda xp, x, y: xp.concatenate([x, y], axis=1),
            "vstack": lambda xp, x, y: xp.vstack([x, y]),
            "hstack": lambda xp, x, y: xp.hstack([x, y]),
            "array_split": lambda xp, x, y: sum(part.sum() for part in xp.array_split(x, 3)),
        },
    },
    "products": {
        vector: {
            "dot of vectors": lambda xp, x, y: xp.dot(x, y),
            "x @ x": lambda xp, x, y: x @ x,
        },
        matrix: {
            "X @ Y": lambda xp, x, y: x @ y,
            "Y @ X": lambda xp, x, y: y @ x,
            "X @ y": lambda xp, x, y: x @ y[0],
            "dot": lambda xp, x, y: xp.dot(x, y),
            "tensordot": lambda xp, x, y: xp.tensordot(x, y, 1),
            "outer": lambda xp, x, y: xp.outer(x[0], y[0]),
            "inner": lambda xp, x, y: xp.inner(x, y),
            "einsum ij,jk->ik": lambda xp, x, y: xp.einsum("ij,jk->ik", x, y),
            "einsum ij,ij->i": lambda xp, x, y: xp.einsum("ij,ij->i", x, y),
            "kron": lambda xp, x, y: xp.kron(x, y[:2, :2]),
        },
    },
    "linalg": {
        positive_definite: {
            "inv": lambda xp, x, y: xp.linalg.inv(x),
            "det": lambda xp, x, y: xp.linalg.det(x / 2),
            "slogdet": lambda xp, x, y: xp.linalg.slogdet(x)[1],
            "solve": lambda xp, x, y: xp.linalg.solve(x, y),
            "solve, one column": lambda xp, x, y: xp.linalg.solve(x, y[:, 0]),
            "cholesky": lambda xp, x, y: xp.linalg.cholesky((x + x.T) / 2),
            "eigh": lambda xp, x, y: xp.linalg.eigh((x + x.T) / 2)[0],
            "svd": lambda xp, x, y: xp.linalg.svd(x, compute_uv=False),
            "pinv": lambda xp, x, y: xp.linalg.pinv(x),
            "norm": lambda xp, x, y: xp.linalg.norm(x),
        },
    },
    "cumulative": {
        vector: {
            "cumsum": lambda xp, x, y: xp.cumsum(x),
            "sort": lambda xp, x, y: xp.sort(x),
            # The order within the parts is open, and HIPS reports gradients for another one than it gives.
            "partition": lambda xp, x, y: xp.partition(x, len(x) // 2)[len(x) // 2],
        },
        matrix: {
            "cumsum, axis 0": lambda xp, x, y: xp.cumsum(x, axis=0),
            "cumsum, axis 1": lambda xp, x, y: xp.cumsum(x, axis=1),
            "diff": lambda xp, x, y: xp.diff(x),
            "diff, axis 0": lambda xp, x, y: xp.diff(x, axis=0),
        },
    },
    "fft": {
        vector: {
            "fft": lambda xp, x, y: xp.real(xp.fft.fft(x)),
            "ifft": lambda xp, x, y: xp.real(xp.fft.ifft(x)),
            "abs of fft": lambda xp, x, y: xp.abs(xp.fft.fft(x + 1.0)),
            "fftshift": lambda xp, x, y: xp.fft.fftshift(x),
        },
        matrix: {
            "fft2": lambda xp, x, y: xp.real(xp.fft.fft2(x)),
            "fftn": lambda xp, x, y: xp.real(xp.fft.fftn(x)),
        },
    },
}


# --- the two that compete ---------------------------------------------------------------------------------------------


class Namespace:
    """NumPy's functions, or those of HIPS, with the special functions beside them."""

    def __init__(self, numpy, special, **own):
        self._numpy = numpy
        self.special = type("special", (), {})()
        for name in (*SPECIAL, "logsumexp"):
            setattr(self.special, name, own.get(name) or getattr(special, name))

    def __getattr__(self, name):
        value = getattr(self._numpy, name)
        setattr(self, name, value)  # found directly from the second use on
        return value


OURS = Namespace(np, special, logsumexp=tg.logsumexp)


def competitors(program, x, ct, theirs, make_vjp):
    def ours():
        value, pullback = tg.func.vjp(lambda x: program(OURS, x), x)
        return value, pullback(ct)[0]

    def hips():
        pullback, value = make_vjp(lambda x: program(theirs, x))(x)
        return value, pullback(ct)

    return {"ours": ours, "HIPS": hips}


def programs():
    """Family, operation, entries, and a function of a namespace and an array with that array."""
    for family, by_input in FAMILIES.items():
        times = 1 if family == "one call" else TIMES
        for draw, operations in by_input.items():
            for name, operation in operations.items():
                for n in SIZES:
                    x, y = draw(np.random.default_rng(n), n)

                    def program(xp, x, operation=operation, y=y, times=times):
                        out = operation(xp, x, y)
                        for _ in range(times - 1):
                            out = out + operation(xp, x, y)
                        return out

                    yield family, name, n, program, x


def rows(theirs, make_vjp):
    """Family, operation, entries, and the milliseconds of both."""
    for family, name, n, program, x in programs():
        if args.family and family not in args.family:
            continue
        ct = np.random.default_rng(0).normal(size=np.shape(program(OURS, x)))
        two = competitors(program, x, ct, theirs, make_vjp)
        try:
            agree = all(map(np.allclose, two["ours"](), two["HIPS"]()))
        except NoRuleError as missing:
            print(f"{family}, {name}: {missing}", file=sys.stderr)
            continue
        if not agree:
            print(f"{family}, {name}, {n}: the results differ", file=sys.stderr)
        once = min(medians(two, 1, args.threads).values())
        rounds = args.rounds if once < SLOW else -(-args.rounds // 3)
        yield family, name, n, medians(two, rounds, args.threads, repeats=max(1, min(20, int(2 / max(once, 0.01)))))


def main():
    modules = installed("autograd", "autograd.numpy", "autograd.scipy.special")
    if modules is None:
        sys.exit("HIPS autograd is not installed: python -m pip install autograd scipy")
    autograd, anp, aspecial = modules
    report = circumstances(args) | {"operations": []}
    for family, name, n, found in rows(Namespace(anp, aspecial), autograd.make_vjp):
        ratio = found["ours"] / found["HIPS"]
        report["operations"].append({"family": family, "operation": name, "size": n, "ms": found, "ratio": ratio})
        if args.each and not args.json:
            print(f"{family:12s} {name:22s} {n:7d} {found['ours']:9.4f} {found['HIPS']:9.4f} {ratio:6.2f}", flush=True)
    report["families"] = table(report["operations"])
    if args.json:
        print(json.dumps(report, indent=2))
        return
    print("family         " + "".join(f"{f'{n:,} entries':>34s}" for n in SIZES))
    for family, cells in report["families"].items():
        texts = [f"{c['median']:5.2f}  {c['slowest']} {c['worst']:.2f}" for c in cells.values()]
        print(f"{family:15s}" + "".join(f"{text:>34s}" for text in texts))
    print(f"\n{report['python']=} {args.threads=} {args.rounds=} {report['versions']}")


def table(operations):
    """For each family and size the median ratio and the slowest operation."""
    cells = {}
    for row in operations:
        cells.setdefault(row["family"], {}).setdefault(row["size"], []).append(row)
    found = {}
    for family, sizes in cells.items():
        found[family] = {}
        for n, of in sizes.items():
            worst = max(of, key=lambda row: row["ratio"])
            median = statistics.median(row["ratio"] for row in of)
            found[family][n] = {"median": median, "slowest": worst["operation"], "worst": worst["ratio"]}
    return found


if __name__ == "__main__":
    sys.exit(main())
