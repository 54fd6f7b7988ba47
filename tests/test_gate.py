"""The shorter way through the gate: whatever it is given, `apply` gives the same."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from oracles import cases, identity, leaf

from tinygrad_fnn import RULES, Tensor, compile, detect_anomaly, func, no_grad, relu, sigmoid
from tinygrad_fnn.gate import apply, gate
from tinygrad_fnn.rules import Aval, Rule, elementwise

# Those that calls come by: ufuncs without a face of their own, and what is entered with `ahead`.
SHORT = [rule for rule in RULES.values() if rule.terms and not isinstance(gate(rule.fun), functools.partial)]
UFUNCS = [rule for rule in SHORT if isinstance(rule.fun, np.ufunc) or rule.ahead is not None]


def lent(values: Any) -> Tensor:
    """A leaf whose values have been handed out."""
    t = Tensor(values, requires_grad=True)
    assert t.data is not None
    return t


def outcome(fun: Callable[..., Any], *args: Any) -> Any:
    """The result, or the error instead."""
    try:
        return fun(*args)
    except Exception as error:
        return error


def assert_same(rule: Rule, *operands: Any) -> None:
    """Value, record and errors of both ways; the operands themselves are shared."""
    with np.errstate(all="ignore"):
        theirs, found = outcome(apply, rule.fun, *operands), outcome(gate(rule.fun), *operands)
    if isinstance(theirs, Exception):
        assert type(found) is type(theirs)
        assert str(found) == str(theirs)
        return
    assert_array_equal(found._data, theirs._data)
    assert found._data.dtype == theirs._data.dtype
    assert (found._node is None) == (theirs._node is None)
    if found._node is None or theirs._node is None:
        return
    assert found._node.rule is theirs._node.rule
    assert found._node.shape == theirs._node.shape
    assert len(found._node.edges or ()) == len(theirs._node.edges or ())
    for (parent, pull, kept, i), (parent2, pull2, kept2, i2) in zip(
        found._node.edges or (), theirs._node.edges or (), strict=True
    ):
        assert parent is parent2
        assert pull is pull2 or type(pull) is type(pull2)  # conjugating() and a partial that is ready are made anew
        assert i == i2
        for a, b in zip(kept, kept2, strict=True):
            if isinstance(a, Aval):
                assert a == b
            else:
                assert_array_equal(a, b)


KINDS: list[Callable[[Any], Any]] = [
    leaf,
    lent,
    Tensor,
    np.asarray,
    lambda x: float(x.flat[0]) if x.size else 1.5,
    lambda x: leaf(x.astype(np.float32)),
    lambda x: Tensor(np.array(x * 3, int)),
    lambda x: leaf(x.T),
    lambda x: leaf(x.sum()),
    lambda x: x.tolist(),
]


def test_there_are_short_ways() -> None:
    assert len(UFUNCS) > 100
    assert {"numpy.multiply", "numpy.exp", "tinygrad_fnn.sigmoid"} <= {rule.name for rule in UFUNCS}


@pytest.mark.parametrize("rule", UFUNCS, ids=identity)
def test_same_as_apply(rule: Rule) -> None:
    for case in cases(rule)[:6]:
        if all(isinstance(a, np.ndarray) for a in case.inputs) and len(case.inputs) == len(rule.terms):
            for kinds in itertools.product(KINDS, repeat=len(case.inputs)):
                assert_same(rule, *(kind(a) for kind, a in zip(kinds, case.inputs, strict=True)))


@pytest.mark.parametrize("rule", UFUNCS, ids=identity)
def test_same_as_apply_in_every_mode(rule: Rule) -> None:
    case = next(case for case in cases(rule) if len(case.inputs) == len(rule.terms))
    operands = [leaf(a) for a in case.inputs]
    with no_grad():
        assert_same(rule, *operands)
    with detect_anomaly():
        assert_same(rule, *operands)
    tangents = func.jvp(lambda *xs: gate(rule.fun)(*xs), tuple(operands), tuple(case.inputs))
    expected = func.jvp(lambda *xs: apply(rule.fun, *xs), tuple(operands), tuple(case.inputs))
    for a, b in zip(tangents, expected, strict=True):
        assert_array_equal(a.detach(), b.detach())


@pytest.mark.parametrize("operands", [(np.ones(2), np.ones(3)), ("text", 1.0), (1.0, None), ([[1.0], [1.0, 2.0]], 2.0)])
def test_same_errors(operands: tuple[Any, Any]) -> None:
    tracked = [leaf(a) if isinstance(a, np.ndarray) else a for a in operands]
    assert_same(RULES[np.multiply], *tracked)
    assert_same(RULES[np.multiply], leaf(np.ones(2)), tracked[0])


def test_partial_that_is_one_of_two_kept_values() -> None:
    """It is written as one that is the only one: its code is the same."""

    def first(x: Any, y: Any) -> Any:
        return np.multiply(x, y) + 0 * y

    elementwise(first, lambda y, x: y, lambda x: x)
    try:
        x, y = leaf(np.array([2.0, 3.0])), leaf(np.array([5.0, 7.0]))
        apply(first, x, y).sum().backward()
    finally:
        del RULES[first]
    assert_array_equal(x.grad, [5, 7])
    assert_array_equal(y.grad, [2, 3])


def test_a_trace_sees_it() -> None:
    step = compile(lambda x: sigmoid(x * 2.0 - relu(x)).sum())
    for values in (np.ones(3), np.linspace(-2, 2, 3), np.zeros(3)):
        x = Tensor(values, requires_grad=True)
        assert_array_equal(step(x).detach(), sigmoid(x * 2.0 - relu(x)).sum().detach())
    assert len(step.plans) == 1
