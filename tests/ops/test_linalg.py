"""What the enumeration cannot see of products and `numpy.linalg`: conventions, containers, keywords, stacks, errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray
from numpy.linalg import LinAlgError
from numpy.testing import assert_allclose, assert_array_equal
from oracles import numeric_gradient

from tinygrad_fnn import Tensor, grad

INF = np.inf
RNG = np.random.default_rng(5)
M = RNG.normal(size=(5, 3))
S = M.T @ M + np.eye(3)
W = RNG.normal(size=(5, 5))


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


def check(fun: Any, *arrays: ndarray) -> None:
    """First and second derivatives against stencils, in double precision: good to about 1e-9 and 1e-8."""
    leaves = [leaf(x) for x in arrays]
    firsts = grad(fun(*leaves), leaves, create_graph=True)
    numeric = numeric_gradient(lambda *xs: float(fun(*map(Tensor, xs)).item()), *arrays)
    for ours, theirs in zip(firsts, numeric, strict=True):
        assert_allclose(ours.detach().numpy(), theirs, rtol=1e-7, atol=1e-8)
    directions = [np.random.default_rng(6).normal(size=x.shape) for x in arrays]

    def along(*xs: ndarray) -> float:
        fresh = [leaf(x) for x in xs]
        return float(sum(np.vdot(v, g.numpy()) for v, g in zip(directions, grad(fun(*fresh), fresh), strict=True)))

    total = sum(np.sum(v * g) for v, g in zip(directions, firsts, strict=True))
    seconds = grad(total, leaves, allow_unused=True)
    for ours, theirs in zip(seconds, numeric_gradient(along, *arrays), strict=True):
        assert_allclose(np.zeros(theirs.shape) if ours is None else ours.numpy(), theirs, rtol=1e-6, atol=1e-6)


# --- the determinant --------------------------------------------------------------------------------------------------


def minor(A: ndarray, rows: tuple[int, ...], columns: tuple[int, ...]) -> float:
    """The determinant of what is left of a matrix, by Leibniz' sum, with the sign of the cofactor."""
    left = np.delete(np.delete(A, rows, 0), columns, 1)
    n = len(left)
    total = 0.0
    for p in itertools.permutations(range(n)):
        total += np.linalg.det(np.eye(n)[list(p)]).round() * float(np.prod([left[i, p[i]] for i in range(n)]))
    return total * (-1) ** (sum(rows) + sum(columns))


def cofactors(A: ndarray) -> ndarray:
    return np.array([[minor(A, (i,), (j,)) for j in range(len(A))] for i in range(len(A))])


def second_cofactors(A: ndarray) -> ndarray:
    """Second derivatives of the determinant: it is linear in each entry, and in each row and column."""
    n = len(A)
    H = np.zeros((n, n, n, n))
    for i, j, k, l in itertools.product(range(n), repeat=4):
        if i != k and j != l:
            H[i, j, k, l] = minor(A, (i, k), (j, l)) * (1 if (i < k) == (j < l) else -1)
    return H


SINGULAR = {
    "rank 3 of 4": RNG.normal(size=(4, 3)) @ RNG.normal(size=(3, 4)),
    "rank 2 of 4": RNG.normal(size=(4, 2)) @ RNG.normal(size=(2, 4)),
    "rank 1 of 3": np.ones((3, 3)),
    "a row of zeros": np.array([[1.0, 2.0], [0.0, 0.0]]),
    "nothing but zeros": np.zeros((3, 3)),
    "zero": np.zeros((1, 1)),
    "nearly singular": np.array([[1.0, 2.0], [2.0, 4.0 + 1e-13]]),
    "regular": RNG.normal(size=(4, 4)),
}


@pytest.mark.parametrize("A", SINGULAR.values(), ids=SINGULAR)
def test_derivative_of_det_is_the_adjugate(A: ndarray) -> None:
    """Exactly what the polynomial says, to second order, whatever the rank."""
    a = leaf(A)
    (first,) = grad(np.linalg.det(a), a)
    (recorded,) = grad(np.linalg.det(a), a, create_graph=True)
    # Rounding of a singular value decomposition, relative to the entries of the matrix, which are near 1.
    assert_allclose(first.numpy(), cofactors(A), rtol=1e-9, atol=1e-11)
    assert_allclose(recorded.detach().numpy(), cofactors(A), rtol=1e-9, atol=1e-11)
    H = np.zeros(A.shape * 2)
    for index in np.ndindex(A.shape):
        if recorded.requires_grad:
            H[index] = grad(recorded[index], a, retain_graph=True)[0].numpy()
    assert_allclose(H, second_cofactors(A), rtol=1e-7, atol=1e-9)


def test_third_derivative_of_det_at_a_matrix_of_rank_one() -> None:
    a = leaf(np.diag([1.0, 0.0, 0.0]))
    (g,) = grad(np.linalg.det(a), a, create_graph=True)
    (h,) = grad(g[1, 1], a, create_graph=True)
    (t,) = grad(h[2, 2], a)
    assert_allclose(t.numpy(), np.diag([1.0, 0.0, 0.0]), atol=1e-14)


def test_det_of_a_stack_of_regular_and_singular_matrices() -> None:
    stack = np.stack([np.ones((3, 3)), np.eye(3), np.zeros((3, 3)), S])
    a = leaf(stack)
    for create_graph in (False, True):
        (g,) = grad(np.sum(np.linalg.det(a)), a, create_graph=create_graph)
        for ours, A in zip(g.detach().numpy(), stack, strict=True):
            assert_allclose(ours, cofactors(A), rtol=1e-12, atol=1e-12)


def test_singular_matrices_raise_or_give_infinity_as_in_numpy() -> None:
    a = leaf(np.ones((2, 2)))
    with pytest.raises(LinAlgError):
        np.linalg.inv(a)
    with pytest.raises(LinAlgError):
        np.linalg.solve(a, leaf([1.0, 2.0]))
    with pytest.raises(LinAlgError):
        np.linalg.cholesky(-a)
    found = np.linalg.slogdet(a)
    assert (found.sign.item(), found.logabsdet.item()) == (0, -INF)
    assert_array_equal(grad(found.logabsdet, a, retain_graph=True)[0].numpy(), np.full((2, 2), INF))
    assert_array_equal(grad(found.sign, a)[0].numpy(), np.zeros((2, 2)))


# --- triangles that are not read --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "lower"),
    [
        (np.linalg.cholesky, True),
        (lambda a: np.linalg.cholesky(a, upper=True), False),
        (np.linalg.eigvalsh, True),
        (lambda a: np.linalg.eigvalsh(a, "U"), False),
        (lambda a: np.linalg.eigh(a).eigenvectors, True),
        (lambda a: np.linalg.eigh(a, UPLO="u").eigenvectors, False),
    ],
)
def test_derivative_lies_in_the_triangle_that_is_read(fun: Any, lower: bool) -> None:
    a = leaf(S)
    out = fun(a)
    (g,) = grad(out, a, [np.arange(1.0, out.size + 1).reshape(out.shape)])
    unread = np.triu(g.numpy(), 1) if lower else np.tril(g.numpy(), -1)
    assert not unread.any()
    assert np.tril(g.numpy()).any()


def test_choice_of_triangle_cancels_for_symmetrised_arguments() -> None:
    for fun in (np.linalg.cholesky, lambda a: np.linalg.cholesky(a, upper=True).mT):
        check(lambda a, fun=fun: np.sum(fun(a + a.mT) ** 3), S)
    for UPLO in "LU":
        a = leaf(S)
        (g,) = grad(np.sum(np.linalg.eigh(a + a.mT, UPLO).eigenvalues ** 2), a)
        assert_allclose(g.numpy(), 8 * S, rtol=1e-12)  # the sum of the squares of the entries of A + A^T


# --- equal values -----------------------------------------------------------------------------------------------------


def test_eigenvectors_of_equal_values_count_as_zero() -> None:
    a = leaf(2 * np.eye(3))
    values, vectors = np.linalg.eigh(a)
    assert_array_equal(grad(vectors[0, 0] + vectors[1, 2], a, retain_graph=True)[0].numpy(), np.zeros((3, 3)))
    assert_array_equal(grad(values[0], a)[0].numpy(), np.diag([1.0, 0.0, 0.0]))
    assert_array_equal(grad(np.linalg.eigvalsh(a)[2], a)[0].numpy(), np.diag([0.0, 0.0, 1.0]))


def test_values_equal_up_to_rounding_are_equal() -> None:
    Q = np.linalg.qr(W)[0]
    a = leaf((Q * [1.0, 2.0, 2.0, 2.0, 3.0]) @ Q.T)
    (g,) = grad(np.sum(np.linalg.eigh(a).eigenvectors * W), a, create_graph=True)
    assert abs(g.detach().numpy()).max() < 100  # the gaps are 1; a rounding taken for a gap would give 1e15
    (h,) = grad(np.sum(g), a)
    assert np.isfinite(h.numpy()).all()


def test_singular_vectors_of_equal_and_zero_values_count_as_zero() -> None:
    a = leaf(np.eye(3))
    U, s, Vh = np.linalg.svd(a)
    assert_array_equal(grad(U[0, 1] + Vh[2, 0], a, retain_graph=True)[0].numpy(), np.zeros((3, 3)))
    assert_array_equal(abs(grad(np.sum(s), a)[0].numpy()), np.eye(3))
    b = leaf(np.zeros((3, 2)))
    out = np.linalg.svd(b)
    (g,) = grad(np.sum(out.U) + np.sum(out.S) + np.sum(out.Vh), b)
    assert np.isfinite(g.numpy()).all()


@pytest.mark.parametrize("A", [M, M.T.copy()], ids=["tall", "wide"])
def test_projector_on_the_null_space_through_full_matrices(A: ndarray) -> None:
    """What does not depend on the choice of vectors has its derivative, to second order."""

    def projected(a: Tensor) -> Tensor:
        U, _, Vh = np.linalg.svd(a)
        N = U[:, 3:] if A.shape[0] > 3 else Vh[3:].mT
        return np.sum((N @ N.mT) * W)

    check(projected, A)


# --- faces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "A"),
    [
        (np.linalg.slogdet, S),
        (np.linalg.eigh, S),
        (np.linalg.svd, M),
        (np.linalg.qr, M),
        (lambda a: np.linalg.lstsq(a, np.ones(5)), M),
    ],
)
def test_several_results_come_in_numpys_named_tuple(fun: Any, A: ndarray) -> None:
    ours, theirs = fun(leaf(A)), fun(A)
    assert type(ours) is type(theirs)
    for a, b in zip(ours, theirs, strict=True):
        values = a.detach().numpy() if isinstance(a, Tensor) else a
        assert_allclose(values, b, rtol=1e-12, atol=1e-14)
        assert np.asarray(values).dtype == np.asarray(b).dtype


def test_lstsq_rank_and_residuals_are_numpys() -> None:
    for A, b in [(M, np.ones((5, 2))), (M.T, np.ones(3)), (S, np.ones(3)), (M[:, [0, 0, 1]], np.ones(5))]:
        ours, theirs = np.linalg.lstsq(leaf(A), b), np.linalg.lstsq(A, b)
        assert ours[2] == theirs[2]
        assert ours[1].shape == theirs[1].shape
        assert_allclose(ours[0].detach().numpy(), theirs[0], rtol=1e-10, atol=1e-12)


def test_least_squares_to_second_order() -> None:
    check(lambda a, b: np.sum(np.linalg.lstsq(a, b)[0] ** 3) + np.sum(np.linalg.lstsq(a, b)[1] ** 2), M, W[:, :2])
    check(lambda a, b: np.sum(np.linalg.lstsq(a, b)[0] ** 3), M.T.copy(), W[:3, 0])


@pytest.mark.parametrize("p", [None, 1, -1, 2, -2, INF, -INF, "fro", "nuc"])
def test_cond_is_numpys(p: Any) -> None:
    A = S + np.triu(W[:3, :3])
    assert_allclose(np.linalg.cond(leaf(A), p).item(), np.linalg.cond(A, p), rtol=1e-13)
    check(lambda a: np.linalg.cond(a, p), A)


@given(n=st.integers(-6, 12))
def test_matrix_power_is_numpys(n: int) -> None:
    a = leaf(S / 5)
    out = np.linalg.matrix_power(a, n)
    # n products, each with a rounding per entry; the inverse costs the condition, which is 50.
    assert_allclose(out.detach().numpy(), np.linalg.matrix_power(S / 5, n), rtol=1e-11)
    (g,) = grad(np.trace(out), a)
    wanted = n * np.linalg.matrix_power(S / 5, n - 1).T if n else np.zeros((3, 3))
    assert_allclose(g.numpy(), wanted, rtol=1e-9, atol=1e-12)


def test_multi_dot_takes_the_cheapest_order() -> None:
    shapes = [(30, 2), (2, 40), (40, 1), (1, 50)]
    arrays = [leaf(np.ones(shape)) for shape in shapes]
    out = np.linalg.multi_dot(arrays)
    assert_array_equal(out.detach().numpy(), np.full((30, 50), 80.0))
    with pytest.raises(ValueError, match="vectors at the ends only"):
        np.linalg.multi_dot([arrays[0], leaf([1.0, 2.0]), arrays[1]])


@pytest.mark.parametrize("fun", [np.linalg.inv, np.linalg.det, np.linalg.cholesky, np.linalg.eigh, np.linalg.slogdet])
def test_what_is_not_square_is_refused_with_its_shape(fun: Any) -> None:
    with pytest.raises(ValueError, match=r"wants square matrices, got shape \(5, 3\)"):
        fun(leaf(M))


def test_complex_matrices_are_refused_where_the_rule_is_for_real_ones() -> None:
    z = np.fft.fft(leaf(S))
    for fun in (np.linalg.eigh, np.linalg.svd, np.linalg.qr, np.linalg.cholesky, np.linalg.pinv, np.linalg.slogdet):
        with pytest.raises(TypeError, match="complex matrices have no derivative rule"):
            fun(z)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.linalg.svd(a, hermitian=True),
        lambda a: np.linalg.pinv(a, hermitian=True),
        lambda a: np.linalg.qr(M @ a, mode="complete"),
        lambda a: np.linalg.qr(a, mode="raw"),
        lambda a: np.linalg.multi_dot([a, a], out=np.empty((3, 3))),
        lambda a: np.outer(a, a, out=np.empty((9, 9))),
        lambda a: np.einsum("ij->i", a, dtype=np.float32),
    ],
)
def test_keywords_without_a_rule_raise(call: Any) -> None:
    with pytest.raises(TypeError):
        call(leaf(S))


def test_complete_qr_says_why_it_has_no_derivative() -> None:
    with pytest.raises(TypeError, match=r"mode='complete' of shape \(5, 3\).*any basis.*mode='reduced', or t.detach"):
        np.linalg.qr(leaf(M), mode="complete")


# --- products ---------------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_einsum_is_numpys_for_any_subscripts(data: st.DataObject) -> None:
    """Value and derivative; the derivative of a product in one operand is the product with a direction in its place."""
    count = data.draw(st.integers(1, 4))
    lengths = dict(zip("abcde", [2, 3, 1, 4, 2], strict=True))
    words = [data.draw(st.text("abcde", max_size=3)) for _ in range(count)]
    letters = sorted(set("".join(words)))
    result = "".join(data.draw(st.permutations(letters))[: data.draw(st.integers(0, 3))])
    text = ",".join(words) + data.draw(st.sampled_from(["->" + result, ""]))
    rng = np.random.default_rng(7)
    # An axis of length 1 goes with any length.
    narrow = [data.draw(st.booleans()) if len(set(word)) == len(word) else False for word in words]
    shapes = [
        tuple(1 if thin and k == 0 else lengths[s] for k, s in enumerate(word))
        for word, thin in zip(words, narrow, strict=True)
    ]
    arrays = [rng.normal(size=shape) for shape in shapes]
    theirs = np.einsum(text, *arrays)
    leaves = [leaf(x) for x in arrays]
    out = np.einsum(text, *leaves)
    assert out.shape == np.shape(theirs)
    # Up to 700 products of numbers near 1, summed in another order.
    assert_allclose(out.detach().numpy(), theirs, rtol=1e-11, atol=1e-11)
    ct = rng.normal(size=out.shape)
    for k, share in enumerate(grad(out, leaves, [ct])):
        direction = rng.normal(size=shapes[k])
        along = np.einsum(text, *(direction if j == k else x for j, x in enumerate(arrays)))
        assert_allclose(np.vdot(share.numpy(), direction), np.vdot(ct, along), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("text", "shapes", "said"),
    [
        ("ij,jk", [(2, 3)], "is for 2 operands, got 1"),
        ("ijk", [(2, 3)], "does not fit an operand of shape"),
        ("ij->ik", [(2, 3)], "unknown or repeated"),
        ("ij->ii", [(2, 3)], "unknown or repeated"),
        ("ij,jk", [(2, 3), (4, 2)], r"\(2, 3\) and \(4, 2\) differ in length along 'j'"),
        ("...i->i", [(2, 3)], "none in its result"),
    ],
)
def test_einsum_says_what_does_not_fit(text: str, shapes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        np.einsum(text, *(leaf(np.ones(shape)) for shape in shapes))


def test_a_branch_cut_off_stays_silent_through_a_product() -> None:
    """A sum over rows of which a `where` takes one: the infinity beside it does not reach it."""
    x = leaf([0.0, 2.0])
    with np.errstate(divide="ignore"):
        y = np.where(x > 0, np.log(x), 0.0)
    for product in (lambda a: np.einsum("i,i->", a, [1.0, 3.0]), lambda a: np.vdot(a, [1.0, 3.0])):
        assert_array_equal(grad(product(y), x, retain_graph=True)[0].numpy(), [0, 1.5])


def test_tensordot_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shapes \(5, 3\) and \(5, 5\) do not fit together over axes"):
        np.tensordot(leaf(M), W, 1)


@pytest.mark.parametrize("n", range(1, 6))
@pytest.mark.parametrize("m", range(1, 6))
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve_and_correlate_are_numpys(n: int, m: int, mode: Any) -> None:
    rng = np.random.default_rng(8)
    a, v = rng.normal(size=n), rng.normal(size=m)
    for fun in (np.convolve, np.correlate):
        assert_allclose(fun(leaf(a), leaf(v), mode).detach().numpy(), fun(a, v, mode), rtol=1e-13, atol=1e-14)
        check(lambda x, y, fun=fun: np.sum(fun(x, y, mode) ** 3), a, v)
