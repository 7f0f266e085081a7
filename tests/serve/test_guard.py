"""A failing store is left alone for a moment, tried again by one read, and every refusal is counted by its cause."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from timewell.errors import StoreUnavailable
from timewell.serve.guard import Guard, GuardSettings


class Seconds:
    """A monotonic clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def down() -> None:
    raise StoreUnavailable(problem="down", store="redis")


def broken(guard: Guard, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            guard.call(down)


def test_the_breaker_opens_after_failures_in_a_row_and_one_read_closes_it_again() -> None:
    clock = Seconds()
    guard = Guard("redis", GuardSettings(failures=3, open_s=0.5), clock)
    broken(guard, 2)
    assert guard.call(lambda: 1) == 1  # a success begins the count anew
    broken(guard, 3)
    assert guard.state == "open"
    with pytest.raises(StoreUnavailable, match="left alone"):
        guard.call(lambda: pytest.fail("an open breaker lets nothing through"))
    clock.now += 0.5
    assert guard.state == "half_open"
    broken(guard, 1)  # the one that tries fails: closed for another while
    assert guard.state == "open"
    clock.now += 0.5
    assert guard.call(lambda: 2) == 2
    assert guard.state == "closed"
    assert guard.counts == {"no_answer": 6, "breaker_open": 1}


def test_while_one_read_tries_the_others_do_not() -> None:
    clock = Seconds()
    guard = Guard("redis", GuardSettings(failures=1, open_s=0.5), clock)
    broken(guard, 1)
    clock.now += 1
    tried, go = threading.Event(), threading.Event()

    def slow() -> int:
        tried.set()
        go.wait(60)
        return 1

    with ThreadPoolExecutor(1) as threads:
        trying = threads.submit(guard.call, slow)
        tried.wait(60)
        with pytest.raises(StoreUnavailable):
            guard.call(lambda: 2)
        go.set()
        assert trying.result() == 1
    assert guard.call(lambda: 2) == 2


def test_no_more_reads_than_allowed_are_under_way() -> None:
    guard = Guard("redis", GuardSettings(at_once=2))
    go, inside = threading.Event(), threading.Semaphore(0)

    def slow() -> bool:
        inside.release()
        return go.wait(60)

    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(guard.call, slow) for _ in range(2)]
        for _ in running:
            inside.acquire()
        with pytest.raises(StoreUnavailable, match="under way"):
            guard.call(lambda: True)
        go.set()
        assert all(one.result() for one in running)
    assert guard.call(lambda: True)
    assert guard.counts == {"crowded": 1}


def test_an_error_of_the_program_passes_and_counts_as_no_failure_of_the_store() -> None:
    guard = Guard("redis", GuardSettings(failures=1))
    with pytest.raises(ZeroDivisionError):
        guard.call(lambda: 1 // 0)
    assert guard.state == "closed"
