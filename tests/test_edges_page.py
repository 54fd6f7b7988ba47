"""docs/edges.md, row by row: the page has the numbers, and this evaluates them."""

from __future__ import annotations

import re
from math import inf, log, nan, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special

from tinygrad_fnn import Tensor, func, grad, logsumexp, relu, sigmoid, softmax
from tinygrad_fnn.nn import BCELoss, functional

PAGE = Path(__file__).parents[1] / "docs" / "edges.md"
NAMES = {"np": np, "special": special, "inf": inf, "nan": nan, "log": log, "pi": pi, "BCELoss": BCELoss}
NAMES |= {"functional": functional}
NAMES |= {"logsumexp": logsumexp, "relu": relu, "sigmoid": sigmoid, "softmax": softmax}


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[2:]]


ROWS = rows()


def number(cell: str) -> Any:
    return np.asarray(eval(cell.strip("`"), dict(NAMES)), dtype=float)


@pytest.mark.parametrize("row", ROWS, ids=[re.sub("`", "", row[0]) for row in ROWS])
def test_row(row: list[str]) -> None:
    _, expression, at, value, first, second, _ = row
    code = compile(expression.strip("`"), "docs/edges.md", "eval")
    point = number(at)

    def f(x: Any) -> Any:
        return eval(code, {**NAMES, "x": x})

    x = Tensor(point, requires_grad=True)
    with np.errstate(all="ignore"):
        out = f(x)
        (plain,) = grad(out, x, retain_graph=True)
        (slope,) = grad(out, x, create_graph=True)
        curvature = np.zeros(x.shape)
        if slope.requires_grad:
            (found,) = grad(slope, x, np.ones(x.shape), allow_unused=True)
            curvature = curvature if found is None else found.numpy()
    # Roundings of a logarithm, an exponential or a decomposition; a zero is one, or what a decomposition makes of it.
    assert_allclose(out.item(), number(value), rtol=1e-14, atol=1e-15)
    assert_allclose(plain.numpy(), number(first), rtol=1e-14, atol=1e-15)
    assert_allclose(slope.detach().numpy(), number(first), rtol=1e-14, atol=1e-15)
    if second == "finite":
        assert np.isfinite(curvature).all()
    else:
        assert_allclose(curvature, number(second), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("row", ROWS, ids=[re.sub("`", "", row[0]) for row in ROWS])
def test_row_forward(row: list[str]) -> None:
    """Forward mode has the same conventions, along each axis."""
    _, expression, at, _, first, _, _ = row
    point = number(at)
    for index in np.ndindex(point.shape):
        unit = np.zeros(point.shape)
        unit[index] = 1
        with np.errstate(all="ignore"):
            _, tangent = func.jvp(lambda x: eval(expression.strip("`"), {**NAMES, "x": x}), (point,), (unit,))
        assert_allclose(tangent, number(first)[index], rtol=1e-14, atol=1e-15)


def test_every_convention_has_a_row() -> None:
    """The names of the list of conventions that the operations are built to."""
    said = " ".join(row[0] + row[1] for row in ROWS)
    names = (
        "relu maximum minimum fmax fmin max min ptp sort median quantile abs fabs floor ceil rint round trunc fix sign"
    )
    names += " heaviside // % fmod copysign clip norm hypot arctan2 sqrt(x std where prod cumprod ** xlogy xlog1py sinc"
    names += " exprel i0e huber logaddexp logsumexp nansum repeated log(softmax log(sigmoid log1p(-sigmoid BCE det eigh"
    names += " svd eigvalsh cholesky lstsq pinv"
    assert [name for name in names.split() if name not in said] == []


def test_page_of_a_wrong_number_fails() -> None:
    """The reader itself: a row that says something else is found."""
    wrong = list(ROWS[0])
    wrong[4] = "`0.25`"
    with pytest.raises(AssertionError):
        test_row(wrong)
