"""Batches: which examples, in which order, whose memory, and the same ones after an interruption."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tinygrad_fnn import Tensor, manual_seed
from tinygrad_fnn.data import DataLoader, shift_images
from tinygrad_fnn.errors import ShapeError

X, Y = np.arange(33.0).reshape(11, 3), np.arange(11)
BITS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


class Items:
    """A data set without arrays."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        assert type(index) is int
        return self.items[index]


def orders(loader: DataLoader, epochs: int = 1) -> list[list[int]]:
    return [np.concatenate([y for _, y in loader]).tolist() for _ in range(epochs)]


@given(m=st.integers(1, 11), size=st.integers(1, 13), shuffle=st.booleans(), drop=st.booleans())
def test_every_example_is_in_one_batch(m: int, size: int, shuffle: bool, drop: bool) -> None:
    if drop and m < size:
        with pytest.raises(ValueError, match=f"batch_size is {size} and dataset has {m} examples"):
            DataLoader(X[:m], size, drop_last=True)
        return
    loader = DataLoader((X[:m], Y[:m]), size, shuffle, rng=0, drop_last=drop)
    batches = list(loader)
    assert len(loader) == len(batches) == (m // size if drop else -(-m // size))
    assert all(len(y) == size for _, y in batches[:-1])
    seen = np.concatenate([y for _, y in batches]).tolist()
    assert len(seen) == (m - m % size if drop else m)
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(m))
    if not shuffle:
        assert seen == sorted(seen)
    for x, y in batches:
        assert_array_equal(x, X[y], strict=True)  # rows stay together


def test_the_order_is_the_generators_permutation_and_new_each_epoch() -> None:
    rng = np.random.default_rng(5)
    wanted = [rng.permutation(11).tolist() for _ in range(3)]
    assert orders(DataLoader((X, Y), 4, True, rng=5), 3) == wanted
    assert len(set(map(tuple, wanted))) == 3


def test_a_generator_passed_in_moves_on() -> None:
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    orders(DataLoader((X, Y), 4, True, rng=rng), 2)
    for _ in range(2):
        same.permutation(11)
    assert rng.random() == same.random()


def test_without_rng_the_packages_seed_decides_and_later_draws_do_not() -> None:
    manual_seed(3)
    loader = DataLoader((X, Y), 4, True)
    first = orders(loader, 2)
    manual_seed(3)
    loader = DataLoader((X, Y), 4, True)
    manual_seed(8).random(100)
    assert orders(loader, 2) == first


def test_without_shuffle_nothing_is_drawn() -> None:
    state = manual_seed(3).bit_generator.state
    list(DataLoader((X, Y), 4))
    assert manual_seed(3).bit_generator.state == state
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    list(DataLoader((X, Y), 4, rng=rng))
    assert rng.bit_generator.state == before


def test_numpys_global_state_is_untouched() -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002  # the state that must not change
    orders(DataLoader((X, Y), 4, True), 2)
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


# --- memory ----------------------------------------------------------------------------------------------------------


def test_in_order_batches_are_views_that_cannot_harm_the_data() -> None:
    data = X.copy()
    for batch in DataLoader(data, 4):
        assert np.shares_memory(batch, data)
        with pytest.raises(ValueError, match="read-only"):
            batch += 1
    assert data.flags.writeable


def test_shuffled_batches_are_the_callers_own() -> None:
    data = X.copy()
    held = []
    for batch in DataLoader(data, 4, True, rng=0):
        held.append(batch.copy())
        batch += 1
        held.append(batch - 1)
    assert_array_equal(data, X)
    for before, later in zip(held[::2], held[1::2], strict=True):
        assert_array_equal(before, later)


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]],
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_layout_does_not_matter(layout: Callable[[np.ndarray], np.ndarray], shuffle: bool) -> None:
    wanted = list(DataLoader(X, 4, shuffle, rng=1))
    for one, other in zip(DataLoader(layout(X), 4, shuffle, rng=1), wanted, strict=True):
        assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("dtype", ["f4", "f2", "u1", "?", "i8", "c16", ">f8"])
def test_dtype_is_kept(dtype: str) -> None:
    for shuffle in (False, True):
        for batch in DataLoader(X.astype(dtype), 4, shuffle):
            assert batch.dtype == np.dtype(dtype)


def test_a_memory_map_is_read_batch_by_batch(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    loader = DataLoader(mapped, 4, True, rng=0)
    assert np.shares_memory(loader.dataset, mapped)
    for one, other in zip(loader, DataLoader(X, 4, True, rng=0), strict=True):
        assert_array_equal(one, other)


# --- what a data set may be ------------------------------------------------------------------------------------------


def test_what_is_given_decides_what_is_yielded() -> None:
    assert isinstance(next(iter(DataLoader(X, 2))), np.ndarray)
    assert isinstance(next(iter(DataLoader((X,), 2))), tuple)
    assert len(next(iter(DataLoader((X, Y, Y.tolist()), 2)))) == 3
    (image,) = DataLoader((np.zeros((2, 4, 5)),), 2)
    assert image[0].shape == (2, 4, 5)


def test_tensors_are_taken_as_arrays() -> None:
    for x, y in DataLoader((Tensor(X), Y), 11):
        assert type(x) is np.ndarray
        assert_array_equal(x, X)
        assert_array_equal(y, Y)
    with pytest.raises(TypeError, match="detach"):
        DataLoader(Tensor(X, requires_grad=True), 11)


@pytest.mark.parametrize("shuffle", [False, True])
def test_items_are_stacked(shuffle: bool) -> None:
    wanted = list(DataLoader((X, Y), 4, shuffle, rng=2))
    for kind in (Items, list):
        loader = DataLoader(kind(list(zip(X, Y.tolist(), strict=True))), 4, shuffle, rng=2)
        for (x, y), (u, v) in zip(loader, wanted, strict=True):
            assert_array_equal(x, u, strict=True)
            assert_array_equal(y, v, strict=True)
    for x, (u, _) in zip(DataLoader(Items(list(X)), 4, shuffle, rng=2), wanted, strict=True):
        assert_array_equal(x, u, strict=True)
    assert_array_equal(next(iter(DataLoader([1.5, 2.5], 2))), [1.5, 2.5])


def test_transform_gets_the_arrays_and_the_loaders_generator() -> None:
    def noisy(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return x + rng.random(x.shape), y

    one, other = ([x for _ in range(2) for x, _ in DataLoader((X, Y), 4, rng=7, transform=noisy)] for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert_array_equal(a, b, strict=True)
    rng = np.random.default_rng(7)
    assert_array_equal(one[0], X[:4] + rng.random((4, 3)), strict=True)
    moved = DataLoader(np.ones((3, 4, 4)), 3, rng=0, transform=lambda images, rng: shift_images(images, 1, rng=rng))
    assert next(iter(moved)).shape == (3, 4, 4)


# --- state -----------------------------------------------------------------------------------------------------------


def noisy(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return x + rng.random(x.shape), y


def loaders(shuffle: bool, transform: Any, bits: Any = np.random.PCG64) -> Callable[[int], DataLoader]:
    return lambda seed: DataLoader(
        (X, Y), 3, shuffle, rng=np.random.Generator(bits(seed)), drop_last=True, transform=transform
    )


def batches(loader: DataLoader, count: int) -> list[Any]:
    """The next `count` batches, over as many epochs as it takes."""
    found: list[Any] = []
    while len(found) < count:
        for batch in loader:
            found.append(batch)
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("transform", [None, noisy])
@pytest.mark.parametrize("stop", range(7))
def test_resumed_after_any_batch_the_same_batches_follow(shuffle: bool, transform: Any, stop: int) -> None:
    make = loaders(shuffle, transform)
    loader, seen, state = make(4), [], make(4).state_dict()
    while len(seen) < 12:  # three batches an epoch
        for batch in loader:
            seen.append(batch)
            if len(seen) == stop:
                state = loader.state_dict()
    resumed = make(99)
    resumed.load_state_dict(copy.deepcopy(state))
    assert repr(resumed.state_dict()) == repr(state)  # before it goes on, and unharmed by what came later
    following = batches(resumed, 12 - stop)
    for (x, y), (u, v) in zip(following, seen[stop:], strict=True):
        assert_array_equal(x, u, strict=True)
        assert_array_equal(y, v, strict=True)


@pytest.mark.parametrize("shuffle", [False, True])
def test_interrupted_after_every_batch(shuffle: bool) -> None:
    make = loaders(shuffle, noisy)
    wanted, state = batches(make(4), 9), make(4).state_dict()
    found: list[Any] = []
    while len(found) < 9:
        loader = make(len(found) + 50)
        loader.load_state_dict(state)
        for batch in loader:
            found.append(batch)
            state = loader.state_dict()
            break
        else:
            state = loader.state_dict()  # the batch before was the last one of its epoch
    for (x, y), (u, v) in zip(found, wanted, strict=True):
        assert_array_equal(x, u, strict=True)
        assert_array_equal(y, v, strict=True)


@pytest.mark.parametrize("bits", BITS)
def test_every_bit_generator_can_be_resumed(bits: Any) -> None:
    make = loaders(True, noisy, bits)
    loader = make(1)
    batches(loader, 4)
    state = loader.state_dict()
    resumed = make(2)
    resumed.load_state_dict(state)
    for (x, _), (u, _) in zip(batches(resumed, 5), batches(loader, 5), strict=True):
        assert_array_equal(x, u, strict=True)


def test_draws_of_others_from_a_shared_generator_are_kept() -> None:
    """Dropout draws between the batches; a resumed run draws the same."""

    def run(rng: np.random.Generator, state: Any, count: int) -> tuple[list[Any], Any]:
        loader, found, saved = DataLoader(Y, 4, True, rng=rng), [], None
        if state is not None:
            loader.load_state_dict(state)
        while len(found) < count:
            for batch in loader:
                found.append((batch.tolist(), rng.random()))
                if len(found) == 2:
                    saved = loader.state_dict()
        return found, saved

    whole, state = run(np.random.default_rng(0), None, 6)
    rest, _ = run(np.random.default_rng(1), state, 4)
    assert rest == whole[2:]


def test_an_epoch_left_early_is_over() -> None:
    loader, other = DataLoader(Y, 4, True, rng=0), DataLoader(Y, 4, True, rng=0)
    for _ in loader:
        break
    orders(DataLoader((X, Y), 4, True, rng=other.rng))
    assert loader.state_dict()["epoch"] is None
    for one, two in zip(loader, other, strict=True):
        assert_array_equal(one, two)


def test_nested_loops_do_not_disturb_each_other() -> None:
    loader = DataLoader(Y, 4, True, rng=0)
    rng = np.random.default_rng(0)
    outer, inner = rng.permutation(11).tolist(), rng.permutation(11).tolist()
    found = []
    for k, batch in enumerate(loader):
        found += batch.tolist()
        if not k:
            assert np.concatenate(list(loader)).tolist() == inner
        else:
            assert loader.state_dict()["epoch"]["delivered"] == k + 1
    assert found == outer


def test_of_two_iterations_the_one_that_ends_leaves_the_other_alone() -> None:
    loader = DataLoader(Y, 4, True, rng=0)
    one, other = iter(loader), iter(loader)
    next(one), next(other)
    state = loader.state_dict()
    del one
    assert repr(loader.state_dict()) == repr(state)
    del other
    assert loader.state_dict()["epoch"] is None


def test_state_is_made_of_plain_things_and_survives_pickling() -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(part) for key, part in value.items())
        return value is None or type(value) in (str, int, bool, np.ndarray)

    for bits in (np.random.PCG64, np.random.MT19937):
        loader = loaders(True, None, bits)(0)
        for _ in loader:
            assert plain(loader.state_dict())
    again = pickle.loads(pickle.dumps(loader))
    assert orders(again, 2) == orders(loader, 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (DataLoader(X[:5], 3, True, rng=0), "examples was 5 and is 11"),
        (DataLoader(X, 4, True, rng=0), "batch_size was 4 and is 3"),
        (DataLoader(X, 3, rng=0), "shuffle was False and is True"),
        (DataLoader(X, 3, True, drop_last=True), "drop_last was True and is False"),
        (DataLoader(X, 3, True, transform=lambda x, rng: x), "transform was True and is False"),
        (DataLoader(X, 3, True, rng=np.random.Generator(np.random.MT19937(0))), "another kind of generator"),
    ],
)
def test_a_state_of_another_loader_is_refused_and_nothing_changes(other: DataLoader, message: str) -> None:
    loader = DataLoader(X, 3, True, rng=0)
    before = repr(loader.state_dict())
    with pytest.raises(ValueError, match=message):
        loader.load_state_dict(other.state_dict())
    assert repr(loader.state_dict()) == before


@pytest.mark.parametrize(
    "damage",
    [
        {"epoch": {"start": None, "delivered": 1}},
        {"epoch": {"delivered": 1}},
        {"epoch": 3},
        {"generator": None},
        {"generator": {}},
        {"generator": {"bit_generator": "PCG64"}},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("delivered", [1, -1, 5, "1", None])
def test_a_damaged_state_is_refused_and_nothing_changes(damage: dict[str, Any], delivered: Any) -> None:
    loader = DataLoader(X, 3, True, rng=0)
    for _ in loader:
        state = loader.state_dict()
        break
    before = repr(loader.state_dict())
    with pytest.raises(ValueError, match=r"DataLoader\.load_state_dict"):
        loader.load_state_dict(state | damage)
    if delivered != 1:
        state["epoch"]["delivered"] = delivered
        with pytest.raises(ValueError, match=r"DataLoader\.load_state_dict"):
            loader.load_state_dict(state)
    with pytest.raises(TypeError, match="state is a list"):
        loader.load_state_dict([])  # type: ignore[arg-type]
    assert repr(loader.state_dict()) == before


# --- refusals --------------------------------------------------------------------------------------------------------


class Sparse:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return self

    def toarray(self) -> np.ndarray:
        return np.zeros((3, 3))


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((X, 0), ValueError, "batch_size is 0, wanted an integer > 0"),
        ((X, -2), ValueError, "batch_size is -2"),
        ((X, True), TypeError, "batch_size is a bool"),
        ((X, "32"), TypeError, "batch_size is a str"),
        ((X, 2.0), TypeError, "batch_size is a float"),
        ((X, None), TypeError, "batch_size is a NoneType"),
        ((X, Y), TypeError, r"batch_size is a ndarray, .*go together in a tuple: DataLoader\(\(X, y\), 32\)"),
        ((X, 2, 1), TypeError, "shuffle is 1, wanted True or False"),
        ((X, 2, "no"), TypeError, "shuffle is 'no'"),
        (((X, Y[:5]), 2), ShapeError, r"differ in length: \(11, 3\), \(5,\)"),
        (((X, 3.0), 2), ShapeError, "array 1 is a single number"),
        ((np.float64(3), 2), ShapeError, "the array is a single number"),
        (((), 2), ValueError, "tuple of arrays is empty"),
        ((X[:0], 2), ValueError, "no examples"),
        (([], 2), ValueError, "no examples"),
        (("digits", 2), TypeError, "dataset is a str"),
        ((b"digits", 2), TypeError, "dataset is a bytes"),
        ((3, 2), TypeError, "dataset is a int"),
        ((iter([1]), 2), TypeError, "dataset is a list_iterator"),
        (({"X": X}, 2), TypeError, r"dataset is a dict.*tuple\(dataset.values\(\)\)"),
        ((np.array(["a", "b"]), 2), TypeError, "of dtype <U1, wanted numbers"),
        (((X, ["a"] * 11), 2), TypeError, "array 1 is of dtype <U1"),
        ((np.array([1, None]), 2), TypeError, "of dtype object"),
        ((np.ma.masked_equal(X, 3), 2), TypeError, r"masked array, .*filled\(value\)"),
        (([[1, 2], [3]], 2), ShapeError, r"item 0 is \(2,\), but item 1 is \(1,\)"),
        (((X, [[1, 2], [3]]), 2), TypeError, "array 1 does not make an array"),
        ((Sparse(), 2), TypeError, r"is sparse \(Sparse\); pass its toarray\(\)"),
        (((Sparse(), Y), 2), TypeError, "array 0 is sparse"),
        (([Sparse()], 2), TypeError, "item 0 is sparse"),
        ((["cat", "dog"], 2), TypeError, "item 0 is of dtype <U3"),
        (([{"x": 1}], 2), TypeError, "item 0 is of dtype object"),
        (([(X[0], 1), (X[1],)], 2), TypeError, "item 0 is a tuple of 2, but item 1 is one of 1"),
        (([(X[0], 1), X[1]], 2), TypeError, "item 0 is a tuple of 2, but item 1 is a ndarray"),
        (([(X[0], 1), (X[1, :2], 1)], 2), ShapeError, r"item 0\[0\] is \(3,\), but item 1\[0\] is \(2,\)"),
        (([X, Y], 2), ShapeError, "X and y go in a tuple"),
    ],
)
def test_refuses(args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(DataLoader(*args))


def test_refuses_wrong_options() -> None:
    with pytest.raises(TypeError, match="drop_last is None"):
        DataLoader(X, 2, drop_last=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="transform is a int"):
        DataLoader(X, 2, transform=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rng must be"):
        DataLoader(X, 2, True, rng="seed")  # type: ignore[arg-type]


def test_scipys_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    for kind in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        with pytest.raises(TypeError, match="sparse"):
            DataLoader(kind(np.eye(3)), 2)
        with pytest.raises(TypeError, match="array 0 is sparse"):
            DataLoader((kind(np.eye(3)), np.arange(3)), 2)
