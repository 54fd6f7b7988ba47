"""Forward mode by rule: what `func.jvp` costs in calls of the function itself, interleaved, by medians.

python tests/bench/forward.py [--rounds 9] [--size 100000] [--rule numpy.add] [--above 3] [--json]

Walks RULES. The arguments are those of an entry's first sample, stretched until the largest, or the result, has about
`--size` entries; all that have a derivative get a tangent. The function is called on plain arrays, and where it gives a
view, that is copied, since results of `jvp` own their memory. A ratio of 2 is one call for the value and one for the
tangent. Entries whose sample cannot be stretched are listed at the end. Run it by hand; no test asserts a time.
"""

import json
import statistics
import sys
import time
import warnings
from pathlib import Path

from timing import circumstances, medians, options, set_threads

parser = options(__doc__, rounds=9)
parser.add_argument("--size", type=int, default=100_000, help="entries of the largest argument (default: %(default)s)")
parser.add_argument("--rule", action="append", help="only this one; may be given several times")
parser.add_argument("--above", type=float, default=0.0, help="print only ratios above this one")
args = parser.parse_args()
set_threads(args.threads)  # before the imports below
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402
from oracles import Case, declared, is_shape, leaves, parts  # noqa: E402

from tinygrad_fnn import RULES, func  # noqa: E402
from tinygrad_fnn.errors import NoRuleError  # noqa: E402

SLOW = 20.0  # milliseconds of a function from which it need not grow further


def stretched(spec, factor):
    """A sample's argument with every axis `factor` times as long."""
    if isinstance(spec, list):
        return [stretched(part, factor) for part in spec]
    return tuple(max(round(n * factor), n) for n in spec) if is_shape(spec) else spec


def drawn(case):
    """Values for the inputs of a case; those of `oracles.draw` keep apart, which takes long."""
    rng, domain = np.random.default_rng(0), case.rule.domain
    low_high = [domain[min(position, len(domain) - 1)] for _, position in case._slots]
    return [
        rng.uniform(*lh, spec) if is_shape(spec) else spec for (spec, _), lh in zip(case._slots, low_high, strict=True)
    ]


def large(case):
    """The case with arguments or a result of the wanted size, None if the function takes no other size."""
    if not any(is_shape(spec) and spec for spec, _ in case._slots):
        return None
    factor, before = 1.0, 0
    while True:
        trial = Case(case.rule, tuple(stretched(spec, factor) for spec in case.args), case.params)
        trial.inputs = drawn(trial)
        start = time.perf_counter()
        try:
            outs = parts(trial.plain(*trial.inputs))
        except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
            return None
        if not outs or not trial.differentiable:
            return None
        size = max(x.size for x in [*trial.inputs, *outs])
        if size <= before:
            return None
        before = size
        ndim = max(len(spec) for spec, _ in trial._slots if is_shape(spec))
        if size >= 0.9 * args.size or time.perf_counter() - start > SLOW / 1e3:
            return trial
        factor *= 1.01 * min(args.size / size, 8.0) ** (1 / ndim)


def competitors(case):
    inputs, chosen = case.inputs, case.differentiable
    primals = [inputs[k] for k in chosen]
    tangents = [np.ones_like(x) for x in primals]

    def f(*values):
        given = dict(zip(chosen, values, strict=True))
        result = case.recorded(*(given.get(k, x) for k, x in enumerate(inputs)))
        return result if len(leaves(result)) == 1 and leaves(result)[0].dtype.kind == "f" else parts(result)

    def function():
        outs = leaves(case.plain(*inputs))
        return [out.copy() if any(np.may_share_memory(out, x) for x in inputs) else out for out in outs]

    return {"function": function, "jvp": lambda: func.jvp(f, primals, tangents)}


def rows():
    for rule in list(RULES.values()):
        if rule.kind == "constant" or (args.rule and rule.name not in args.rule):
            continue
        case = next((c for c in map(large, declared(rule)) if c is not None), None)
        if case is None:
            yield rule, None
            continue
        two = competitors(case)
        try:
            once = medians(two, 1, args.threads)
        except (NoRuleError, TypeError, ValueError) as error:
            print(f"{rule.name}: {error}", file=sys.stderr)
            continue
        repeats = max(1, min(30, int(1 / max(once["jvp"], 0.01))))
        rounds = args.rounds if once["jvp"] < SLOW else 3
        yield rule, medians(two, rounds, args.threads, repeats)


def main():
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    report = circumstances(args) | {"size": args.size, "rules": []}
    small = []
    for rule, found in rows():
        if found is None:
            small.append(rule.name)
            continue
        ratio = found["jvp"] / found["function"]
        linear = bool(rule.linear) or all(t is None or not callable(t.source) for t in rule.terms)
        kind = "composite" if rule.kind == "composite" else "linear" if linear else rule.kind
        report["rules"].append({"rule": rule.name, "kind": kind, "ms": found, "ratio": ratio})
    report["rules"].sort(key=lambda row: -row["ratio"])
    if args.json:
        print(json.dumps(report, indent=2))
        return
    for row in report["rules"]:
        if row["ratio"] >= args.above:
            ms = row["ms"]
            name = f"{row['rule']} ({row['kind']})"
            print(f"{name:60s} {ms['function'] * 1e3:9.1f} {ms['jvp'] * 1e3:9.1f} us {row['ratio']:7.2f}")
    print(f"\n{'kind':12s} {'rules':>6s} {'median':>7s} {'at most 3':>10s}")
    for kind in dict.fromkeys(row["kind"] for row in report["rules"]):
        ratios = [row["ratio"] for row in report["rules"] if row["kind"] == kind]
        share = sum(r <= 3 for r in ratios) / len(ratios)
        print(f"{kind:12s} {len(ratios):6d} {statistics.median(ratios):7.2f} {share:10.0%}")
    print(f"\nnot stretched: {', '.join(small)}")
    print(f"{args.size=} {args.rounds=} {report['python']} {report['versions']}")


if __name__ == "__main__":
    sys.exit(main())
