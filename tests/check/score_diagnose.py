"""How often `diagnose` names what was done: mistakes made by hand (`wrong_backprop.py`) on random networks.

python tests/check/score_diagnose.py                        # about two minutes
python tests/check/score_diagnose.py --networks 200 --pairs 1000 --seed 1
"""

import argparse
import itertools
import time
from collections import Counter

import numpy as np
import wrong_backprop as hand

from tinygrad_fnn.check.diagnose import diagnose

# Below this distance a mistake counts as invisible: rounding of a float64 gradient, with a margin.
VISIBLE = 1e-5


def ask(wrong, net):
    return diagnose(wrong, *net.question, **net.keywords)


def same_arrays(name, wrong, net, numbers):
    """Whether `name`, made by hand somewhere in `net`, is `wrong` too: then either name is right."""
    slugs = name.split("+")
    if not set(slugs) <= set(hand.SLUGS):
        return False
    ways = [
        [
            hand.Made(slug, place, way, number)
            for place in hand.possible(slug, net)
            for way in range(hand.WAYS.get(slug, 1))
            for number in (*numbers, *(-number for number in numbers))
        ]
        for slug in slugs
    ]
    return any(hand.distance(hand.gradient(net, *made), wrong) < 1e-6 for made in itertools.product(*ways))


def score_singles(rng, networks):
    """Each mistake once in each network, with a random place, way and number."""
    found, placed, same, missed, invisible, accused = (Counter() for _ in range(6))
    seconds = []
    for _ in range(networks):
        net = hand.random_net(rng)
        right = hand.gradient(net)
        accused["right gradients"] += not ask(right, net).ok
        for slug in hand.SLUGS:
            made = hand.random_mistake(rng, slug, net)
            if made is None:
                continue
            wrong = hand.gradient(net, made)
            start = time.perf_counter()
            answer = ask(wrong, net)
            seconds.append(time.perf_counter() - start)
            if hand.distance(wrong, right) < VISIBLE:
                invisible[slug] += answer.ok
                accused[slug] += not answer.ok
            elif answer.name == slug:
                found[slug] += 1
                placed[slug] += made.layers is None or len(made.layers) > 1 or answer.where == made.layers[0]
            elif same_arrays(answer.name, wrong, net, [made.number]):
                same[slug] += 1
            else:
                missed[slug] += 1
                print(f"missed: {made} -> {answer.name}; {net.keywords}, {[theta.shape for theta in net.thetas]}")
    print(
        f"{'mistake':<30} {'named':>6} {'placed':>6} {'same array':>11} {'missed':>7} {'invisible':>10} {'accused':>8}"
    )
    for slug in hand.SLUGS:
        print(
            f"{slug:<30} {found[slug]:>6} {placed[slug]:>6} {same[slug]:>11} {missed[slug]:>7} {invisible[slug]:>10} "
            f"{accused[slug]:>8}"
        )
    totals = [sum(counter.values()) for counter in (found, placed, same, missed, invisible, accused)]
    print("{:<30} {:>6} {:>6} {:>11} {:>7} {:>10} {:>8}".format("total", *totals))
    print(f"right gradients accused: {accused['right gradients']} of {networks}")
    print(f"time for a mistake: {np.mean(seconds):.3f} s, at most {max(seconds):.2f} s\n")


def score_pairs(rng, pairs):
    """Two mistakes at once, where each changes what the other alone would give."""
    counts = Counter()
    seconds = []
    while sum(counts.values()) < pairs:
        net = hand.random_net(rng, layers=int(rng.integers(1, 4)))
        first, second = (hand.random_mistake(rng, str(slug), net) for slug in rng.choice(hand.SLUGS, 2, replace=False))
        if first is None or second is None:
            continue
        wrong = hand.gradient(net, first, second)
        others = [hand.gradient(net), hand.gradient(net, first), hand.gradient(net, second)]
        if min(hand.distance(a, b) for a, b in itertools.combinations([*others, wrong], 2)) < VISIBLE:
            continue
        start = time.perf_counter()
        answer = ask(wrong, net)
        seconds.append(time.perf_counter() - start)
        if answer.name == "+".join(sorted([first.slug, second.slug])):
            counts["named together"] += 1
        elif answer.name == "unknown":
            counts["unknown"] += 1
            print(f"unknown: {first} {second}; {net.keywords}, {[theta.shape for theta in net.thetas]}")
        elif answer.name == "scaled" or same_arrays(answer.name, wrong, net, [first.number, second.number]):
            counts["another name of the same array"] += 1
        else:
            counts["wrong"] += 1
            print(f"wrong: {first} {second} -> {answer.name}; {net.keywords}, {[theta.shape for theta in net.thetas]}")
    print(f"two mistakes at once: {dict(counts)}")
    print(f"time for two: {np.mean(seconds):.3f} s, at most {max(seconds):.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=25, help="for the single mistakes (default: 25)")
    parser.add_argument("--pairs", type=int, default=100, help="of mistakes (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    score_singles(np.random.default_rng([options.seed, 1]), options.networks)
    score_pairs(np.random.default_rng([options.seed, 2]), options.pairs)
