"""Modes belong to a thread, a task, a generator's step: whoever enters one changes nobody else's."""

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from tinygrad_fnn import Tensor, detect_anomaly, enable_grad, grad, is_grad_enabled, no_grad, strict_edges
from tinygrad_fnn.modes import MODE


def test_no_grad_records_nothing_and_enable_grad_inside_it_does() -> None:
    x = Tensor(2.0, requires_grad=True)
    assert is_grad_enabled()
    with no_grad():
        assert not is_grad_enabled()
        assert not (x * 2).requires_grad
        with enable_grad():
            assert is_grad_enabled()
            y = x * 2
        assert not is_grad_enabled()
    assert is_grad_enabled()
    y.backward()
    assert x.grad == 2.0


def test_derivative_can_be_taken_and_recorded_inside_no_grad() -> None:
    x = Tensor(2.0, requires_grad=True)
    y = x**3
    with no_grad():
        (g,) = grad(y, x, create_graph=True)
        (h,) = grad(g, x)
        assert not is_grad_enabled()
    assert (g.item(), h.item()) == (12.0, 12.0)


def test_mode_is_re_entrant() -> None:
    switch = no_grad()
    with switch, switch:
        with switch:
            assert not is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_modes_of_different_kinds_do_not_disturb_each_other() -> None:
    with strict_edges(), no_grad(), detect_anomaly(), enable_grad():
        mode = MODE.get()
        assert (mode.record, mode.strict, mode.anomaly) == (True, True, True)
    mode = MODE.get()
    assert (mode.record, mode.strict, mode.anomaly) == (True, False, False)


def test_exception_leaves_the_mode_and_passes_on() -> None:
    with pytest.raises(KeyError), no_grad(), strict_edges():
        raise KeyError
    assert is_grad_enabled()
    assert not MODE.get().strict


def test_failing_backward_leaves_the_mode() -> None:
    x = Tensor(1.0, requires_grad=True)

    def fail(ct: Any) -> None:
        raise KeyError

    x.register_hook(fail)
    before = MODE.get()
    with pytest.raises(KeyError):
        (x * 2).backward()
    assert MODE.get() is before


@pytest.mark.parametrize("decorate", [no_grad, no_grad()])
def test_decorated_function_runs_in_the_mode(decorate: Callable[..., Any]) -> None:
    @decorate
    def f(a: int, *, b: int = 2) -> tuple[int, int, bool]:
        """The docstring."""
        return a, b, is_grad_enabled()

    assert f(1, b=3) == (1, 3, False)
    assert f.__name__ == "f"
    assert f.__doc__ == "The docstring."
    assert is_grad_enabled()


def test_decorated_function_may_call_itself_and_raise() -> None:
    @no_grad
    def f(depth: int) -> bool:
        if not depth:
            raise KeyError
        return f(depth - 1)

    with pytest.raises(KeyError):
        f(5)
    assert is_grad_enabled()


def test_decorated_method_runs_in_the_mode() -> None:
    class Model:
        @no_grad()
        def predict(self, x: Tensor) -> Tensor:
            return x * 2

    assert not Model().predict(Tensor(1.0, requires_grad=True)).requires_grad


# --- generators ---------------------------------------------------------------------------------------------------


def test_decorated_generator_has_the_mode_in_its_steps_only() -> None:
    @no_grad
    def steps() -> Iterator[bool]:
        yield is_grad_enabled()
        yield is_grad_enabled()

    seen = []
    for inside in steps():
        seen.append((inside, is_grad_enabled()))
    assert seen == [(False, True), (False, True)]
    with no_grad():
        assert list(steps()) == [False, False]


def test_decorated_generators_can_be_interleaved() -> None:
    @no_grad
    def off() -> Iterator[bool]:
        while True:
            yield is_grad_enabled()

    @enable_grad
    def on() -> Iterator[bool]:
        while True:
            yield is_grad_enabled()

    a, b = off(), on()
    assert [next(a), next(b), next(a), is_grad_enabled(), next(b)] == [False, True, False, True, True]
    with no_grad():
        assert [next(a), next(b), is_grad_enabled()] == [False, True, False]


def test_decorated_generator_takes_sends_throws_and_close() -> None:
    log: list[Any] = []

    @no_grad
    def echo() -> Generator[Any, Any, str]:
        try:
            got = yield "ready"
            log.append((got, is_grad_enabled()))
            try:
                yield got * 2
            except KeyError:
                log.append(("caught", is_grad_enabled()))
                yield "after"
            return "done"
        finally:
            log.append(("closed", is_grad_enabled()))

    g = echo()
    assert next(g) == "ready"
    assert g.send(21) == 42
    assert g.throw(KeyError()) == "after"
    with pytest.raises(StopIteration) as stop:
        next(g)
    assert stop.value.value == "done"
    assert log == [(21, False), ("caught", False), ("closed", False)]
    log.clear()
    g = echo()
    next(g)
    g.close()
    assert log == [("closed", False)]
    assert is_grad_enabled()
    assert inspect.isgeneratorfunction(echo)


# --- threads and tasks --------------------------------------------------------------------------------------------


def test_thread_starts_with_recording_on_and_keeps_its_mode_to_itself() -> None:
    inside, leave, seen = threading.Event(), threading.Event(), []

    def work() -> None:
        seen.append(is_grad_enabled())
        with no_grad():
            inside.set()
            leave.wait(10)
            seen.append(is_grad_enabled())

    with strict_edges():
        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(10)
        assert is_grad_enabled()
        leave.set()
        thread.join()
    assert seen == [True, False]


def test_tasks_keep_their_modes_apart() -> None:
    async def worker(mode: Any, wanted: bool) -> list[bool]:
        seen = []
        with mode():
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(is_grad_enabled() is wanted)
        return seen

    async def main() -> list[list[bool]]:
        return await asyncio.gather(*[worker(*m) for m in [(no_grad, False), (enable_grad, True)] * 3])

    assert all(all(seen) for seen in asyncio.run(main()))
    assert is_grad_enabled()


def test_decorated_coroutine_runs_in_the_mode() -> None:
    @no_grad
    async def work() -> bool:
        await asyncio.sleep(0)
        return is_grad_enabled()

    async def main() -> tuple[bool, bool]:
        return await work(), is_grad_enabled()

    assert asyncio.run(main()) == (False, True)
    assert inspect.iscoroutinefunction(work)


def test_async_generator_is_refused_as_it_could_not_keep_the_mode() -> None:
    async def steps() -> Any:
        yield 1

    with pytest.raises(TypeError, match="async generator"):
        no_grad(steps)


def test_partial_functions_can_be_decorated() -> None:
    assert no_grad(functools.partial(lambda a: (a, is_grad_enabled()), 1))() == (1, False)


def test_backward_of_another_thread_is_not_disturbed_by_a_mode() -> None:
    x, results = Tensor(np.array([0.0, 4.0]), requires_grad=True), []

    def work() -> None:
        with np.errstate(divide="ignore"):
            (g,) = grad(np.sqrt(x * x).sum(), x)
        results.append(g.tolist())

    with strict_edges():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        work()
    (guarded, strict) = results
    assert guarded == [0.0, 1.0]
    assert np.isnan(strict[0])
