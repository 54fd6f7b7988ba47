"""What the enumeration cannot see of rearrangements: errors, ties to NumPy over many arguments, who may hold what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray
from numpy.testing import assert_allclose, assert_array_equal

from tinygrad_fnn import Tensor, grad
from tinygrad_fnn.ops import indexing

X = np.arange(12.0).reshape(3, 4) + 0.5


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


def is_adjoint(fun: Any, x: ndarray) -> None:
    """`<ct, f(v)> = <pull(ct), v>` for a linear f, and values equal to NumPy's to the last bit."""
    rng = np.random.default_rng(0)
    t = leaf(x)
    out = fun(t)
    assert_array_equal(out.detach().numpy(), fun(x))
    ct, v = rng.normal(size=out.shape), rng.normal(size=x.shape)
    (share,) = grad(out, t, [ct])
    # Sums of at most a hundred products of numbers near 1, in another order.
    assert_allclose(np.vdot(ct, fun(v)), np.vdot(share.numpy(), v), rtol=1e-12, atol=1e-12)


@given(data=st.data())
def test_pad_is_numpys_for_any_width(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    width = [data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9))) for _ in shape]
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap"]))
    odd = mode in ("reflect", "symmetric") and data.draw(st.booleans())
    kwargs = {"reflect_type": "odd"} if odd else {}
    is_adjoint(lambda x: np.pad(x, width, mode, **kwargs), np.random.default_rng(1).normal(size=shape))


@pytest.mark.parametrize("width", [2, (1, 2), ((1, 2),), {0: 1}, {-1: (0, 3)}, np.array([[1, 0], [2, 1]])], ids=repr)
def test_pad_takes_every_form_of_width(width: Any) -> None:
    is_adjoint(lambda x: np.pad(x, width), X)


def test_pad_with_constants_adds_nothing_to_the_gradient() -> None:
    t = leaf(X)
    out = np.pad(t, ((1, 0), (0, 2)), constant_values=((7, 0), (0, 9)))
    assert_array_equal(out.detach().numpy(), np.pad(X, ((1, 0), (0, 2)), constant_values=((7, 0), (0, 9))))
    assert_array_equal(grad(np.sum(out), t)[0].numpy(), np.ones(X.shape))


@pytest.mark.parametrize("mode", ["linear_ramp", "mean", "maximum", "empty"])
def test_pad_refuses_other_modes_by_name(mode: str) -> None:
    with pytest.raises(TypeError, match=f"numpy.pad: mode='{mode}' has no derivative rule"):
        np.pad(leaf(X), 1, mode)


def test_pad_refuses_what_it_would_lose() -> None:
    with pytest.raises(ValueError, match="reflect_type='strange'; wanted 'even' or 'odd'"):
        np.pad(leaf(X), 1, "reflect", reflect_type="strange")
    with pytest.raises(TypeError, match="reflect_type has no derivative rule with mode='edge'"):
        np.pad(leaf(X), 1, "edge", reflect_type="odd")
    with pytest.raises(TypeError, match="constant_values cannot carry a gradient"):
        np.pad(leaf(X), 1, constant_values=leaf(1.0))


@given(data=st.data())
def test_windows_overlap_to_their_count(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 8))
    width = data.draw(st.integers(1, n))
    is_adjoint(lambda x: np.lib.stride_tricks.sliding_window_view(x, width, axis=1), np.ones((2, n)))


@given(k=st.integers(-5, 5), axes=st.permutations([0, 1, 2]))
def test_rot90_is_numpys(k: int, axes: list[int]) -> None:
    is_adjoint(lambda x: np.rot90(x, k, axes[:2]), np.arange(24.0).reshape(2, 3, 4))


@given(shift=st.integers(-9, 9), axis=st.sampled_from([None, 0, -1, (0, 1), (1, 1)]))
def test_roll_is_numpys(shift: int, axis: Any) -> None:
    is_adjoint(lambda x: np.roll(x, shift, axis), X)


@given(data=st.data())
def test_diagonal_is_numpys_for_any_axes_and_offset(data: st.DataObject) -> None:
    axis1, axis2 = data.draw(st.permutations([0, 1, 2]))[:2]
    offset = data.draw(st.integers(-5, 5))
    is_adjoint(lambda x: np.diagonal(x, offset, axis1, axis2), np.arange(24.0).reshape(2, 3, 4))
    is_adjoint(lambda x: np.diag(x, offset), np.arange(3.0))


def test_a_result_is_not_its_argument() -> None:
    """Assigning to what came back does not reach the argument, where nothing had to be rearranged either."""
    for fun in (np.atleast_1d, np.flip, lambda x: np.einsum("i", x), lambda x: np.pad(x, 0), lambda x: np.tile(x, 1)):
        t = leaf([1.0, 2.0]) * 1.0
        out = fun(t)
        out[:] = 7.0
        assert_array_equal(t.detach().numpy(), [1, 2])


# --- containers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "kind"),
    [
        (lambda x: np.split(x, 2, axis=1), list),
        (lambda x: np.array_split(x, 5), list),
        (lambda x: np.hsplit(x, [1]), list),
        (lambda x: np.unstack(x), tuple),
        (lambda x: np.meshgrid(x[0], x[1]), tuple),
        (lambda x: np.broadcast_arrays(x, x[0]), tuple),
        (lambda x: np.atleast_2d(x, x), tuple),
    ],
)
def test_several_results_come_in_numpys_container(fun: Any, kind: type) -> None:
    ours, theirs = fun(leaf(X)), fun(X)
    assert type(ours) is type(theirs) is kind
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(a, Tensor)
        assert_array_equal(a.detach().numpy(), b)


def test_split_refuses_unequal_parts() -> None:
    with pytest.raises(ValueError, match=r"numpy.split: 3 along axis 0 of \(3, 4\) is no multiple of 2"):
        np.split(leaf(X), 2)
    with pytest.raises(ValueError, match="number of sections"):
        np.array_split(leaf(X), 0)
    with pytest.raises(ValueError, match=r"numpy.dsplit: wants at least 3 axes"):
        np.dsplit(leaf(X), 2)


def test_block_refuses_what_numpy_refuses() -> None:
    a = leaf([1.0])
    with pytest.raises(TypeError, match="tuple"):
        np.block([(a, a)])
    with pytest.raises(ValueError, match="not nested equally deep"):
        np.block([[a], a])
    with pytest.raises(ValueError, match="empty"):
        np.block([[a], []])


@pytest.mark.parametrize("fun", [np.vstack, np.hstack])
def test_stacking_refuses_a_dtype(fun: Any) -> None:
    with pytest.raises(TypeError, match="dtype= and casting="):
        fun([leaf([1.0])], dtype=np.float32)


# --- picking ----------------------------------------------------------------------------------------------------------


def test_take_adds_up_repeated_indices() -> None:
    t = leaf([1.0, 2.0, 3.0])
    (g,) = grad(np.sum(np.take(t, [0, 2, 2, -1]) * [1.0, 10.0, 100.0, 1000.0]), t)
    assert_array_equal(g.numpy(), [1, 0, 1110])


@pytest.mark.parametrize("obj", [1, -1, 3, [1], [0, 2, 2], slice(0, 3, 2), np.array([True, False, True]), []], ids=repr)
def test_insert_and_delete_are_numpys(obj: Any) -> None:
    count = np.insert(np.zeros(3), obj, 0).size - 3
    values = 100 + np.arange(4.0 * count).reshape(4, count).T
    values = values[0] if np.ndim(obj) == 0 and not isinstance(obj, slice) else values
    is_adjoint(lambda x: np.insert(x, obj, np.zeros_like(values), axis=0), X)
    if not (np.ndim(obj) == 0 and obj == 3):
        is_adjoint(lambda x: np.delete(x, obj, axis=0), X)
    assert_array_equal(np.insert(leaf(X), obj, values, axis=0).detach().numpy(), np.insert(X, obj, values, axis=0))
    v = leaf(values)
    assert_array_equal(grad(np.sum(np.insert(X, obj, v, axis=0)), v)[0].numpy(), np.ones(values.shape))


def test_bincount_without_weights_is_plain() -> None:
    assert type(np.bincount(Tensor([0, 2, 2]))) is ndarray
    with pytest.raises(ValueError, match="wanted equal vectors"):
        np.bincount([0, 1], weights=leaf([1.0]))


def test_out_of_range_is_an_error_at_the_users_line() -> None:
    with pytest.raises(IndexError):
        np.take(leaf([1.0, 2.0]), [2])
    with pytest.raises(IndexError):
        np.take_along_axis(leaf([1.0]), np.array([0.0]), 0)


# --- the adjoint of an index ------------------------------------------------------------------------------------------

LONG = np.random.default_rng(3).integers(-4, 4, 700)
SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((4,), LONG),
    ((4, 3), LONG),
    ((40, 3), LONG),
    ((4, 4), (LONG, LONG[::-1])),
    ((4, 4, 2), (LONG, slice(1, 3))),
    ((2, 4, 3), (slice(None), LONG)),
    ((4, 3, 4), (LONG, slice(None), LONG)),
    ((2, 3, 4), (..., LONG)),
    ((4, 2, 3), (LONG, None, 1)),
    ((4, 3, 2), (LONG[:, None], [0, 2])),
    ((900, 2), np.arange(899, -1, -1)),
    ((3, 3, 4), (np.eye(3, dtype=bool), LONG[:3])),
    ((4, 200), (True, LONG[:5])),
]


@pytest.mark.parametrize(("shape", "index"), SHAPES, ids=[str(shape) for shape, _ in SHAPES])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.longdouble])
def test_scatter_adds_as_add_at_does(shape: tuple[int, ...], index: Any, dtype: Any) -> None:
    index = tuple(np.array(p) if isinstance(p, list) else p for p in index) if isinstance(index, tuple) else index
    # Whole numbers, so that sums in any order are exact.
    ct = np.random.default_rng(4).integers(-9, 9, np.zeros(shape)[index].shape).astype(dtype)
    wanted = np.zeros(shape, dtype)
    np.add.at(wanted, index, ct)
    ours = indexing._scatter(ct, index=index, shape=shape)
    assert ours.dtype == dtype
    assert_array_equal(ours, wanted)


def test_an_infinite_cotangent_stays_in_its_row() -> None:
    ct = np.ones((700, 3))
    ct[5] = np.inf
    found = indexing._scatter(ct, index=LONG % 4, shape=(4, 3))
    assert np.isinf(found[LONG[5] % 4]).all()
    assert np.isfinite(np.delete(found, LONG[5] % 4, 0)).all()
