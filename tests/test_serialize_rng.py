"""A generator goes back to where it was; a state that it cannot be in is refused."""

import threading
from typing import Any

import numpy as np
import pytest

from tinygrad_fnn.randomness import as_generator, get_rng_state, manual_seed, set_rng_state

KINDS = [kind for kind in vars(np.random).values() if isinstance(kind, type) and hasattr(kind, "jumped")]
KINDS += [np.random.SFC64]  # the one that cannot jump


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_state_and_back(kind: Any) -> None:
    rng = np.random.Generator(kind(1))
    rng.integers(0, 9, 3, dtype=np.uint32)
    state = get_rng_state(rng)
    first = rng.random(700)  # more than any buffer
    set_rng_state(state, rng)
    np.testing.assert_array_equal(rng.random(700), first)
    other = np.random.Generator(kind(2))
    set_rng_state(state, other)  # the snapshot has not moved on
    np.testing.assert_array_equal(other.random(700), first)


def test_the_packages_own() -> None:
    manual_seed(3)
    state = get_rng_state()
    first = as_generator().random()
    set_rng_state(state)
    assert as_generator().random() == first


def test_held_by_another_thread_it_is_waited_for() -> None:
    rng = np.random.default_rng(0)
    state = get_rng_state(rng)
    with rng.bit_generator.lock:
        calls = (lambda: get_rng_state(rng), lambda: set_rng_state(state, rng))
        threads = [threading.Thread(target=call) for call in calls]
        for thread in threads:
            thread.start()
            thread.join(0.02)  # time to be wrong in
        assert all(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()


def changed(state: Any, values: dict[str, Any]) -> Any:
    """The state with other values, wherever in it these names are."""
    if not isinstance(state, dict):
        return state
    return {key: values[key] if key in values else changed(value, values) for key, value in state.items()}


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("MT19937", {"pos": 625}),
    ("MT19937", {"pos": -1}),
    ("MT19937", {"pos": 2**40}),
    ("MT19937", {"pos": "0"}),
    ("MT19937", {"key": np.zeros(3, np.uint32)}),
    ("MT19937", {"key": np.full(624, 0.5)}),
    ("MT19937", {"key": None}),
    ("MT19937", {"state": None}),
    ("Philox", {"buffer_pos": 5}),
    ("Philox", {"buffer_pos": -1}),
    ("Philox", {"buffer": np.zeros(1, np.uint64)}),
    ("Philox", {"state": {"key": np.zeros(9, np.uint64)}}),
    ("PCG64", {"state": 3}),
    ("PCG64", {"inc": 2**128}),
    ("PCG64", {"inc": -1}),
    ("PCG64", {"has_uint32": 2**70}),
    ("PCG64DXSM", {"uinteger": -3}),
    ("SFC64", {"state": {"state": np.zeros(2, np.uint64)}}),
]


@pytest.mark.parametrize(("kind", "values"), WRONG, ids=lambda x: str(x)[:30])
def test_impossible_states_are_refused_and_nothing_is_changed(kind: str, values: dict[str, Any]) -> None:
    rng = np.random.Generator(getattr(np.random, kind)(1))
    before = repr(get_rng_state(rng))
    state = changed(get_rng_state(rng), values)
    with pytest.raises(ValueError, match=f"set_rng_state: the state is not one that a {kind} can be in"):
        set_rng_state(state, rng)
    assert repr(get_rng_state(rng)) == before


def test_other_kinds_are_named() -> None:
    with pytest.raises(ValueError, match=r"state is of a MT19937, the generator is a PCG64; numpy.random.Generator"):
        set_rng_state(np.random.MT19937(0).state)
    with pytest.raises(ValueError, match="state is of a None"):
        set_rng_state({})
    with pytest.raises(TypeError, match="state is a int, wanted what get_rng_state returns"):
        set_rng_state(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rng must be"):
        get_rng_state("x")  # type: ignore[arg-type]
