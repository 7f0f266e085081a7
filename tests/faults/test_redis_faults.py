"""Redis slow, stalled, trickling, cut, refusing, frozen, killed, restarted empty: every read ends in time, and truly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from timewell.backends import redis
from timewell.backends.redis.links import Link, Server, server_at
from timewell.errors import StoreUnavailable
from timewell.stores.online import BuildRows, ReadKeys
from timewell.testing.fault_proxy import FaultProxy
from timewell.testing.online_children import mark_of
from timewell.testing.online_laws import GROUP, text_key
from timewell.testing.redis_server import RedisServer, running_server

LIMIT_S = 0.05
SLACK_S = 1.0  # of a busy machine; without a deadline a read takes longer than both, or for ever
HEALED_S = 10.0
KEYS = [text_key(f"{number}") for number in range(200)]


def row_of(number: int) -> bytes:
    return b"row of %d " % number * 20


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_server() as running:
        fill(running)
        yield running


def fill(server: RedisServer) -> None:
    store = redis.open(server.url, timeout_s=HEALED_S)
    store.load(GROUP, [(key, row_of(number)) for number, key in enumerate(KEYS)], mark_of(1))
    store.close()


@pytest.fixture
def proxy(server) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as running:
        yield running


@pytest.fixture
def store(proxy) -> Iterator[redis.RedisStore]:
    opened = redis.open(f"redis://127.0.0.1:{proxy.port}/0", timeout_s=HEALED_S)
    assert outcome(opened, 0, limit_s=HEALED_S) == "right"
    yield opened
    opened.close()


def outcome(store, number: int, *, limit_s: float = LIMIT_S) -> str:
    """Read two rows and say whether they are those that were asked for; fails if that took longer than it may."""
    wanted = [number % len(KEYS), (number * 7 + 1) % len(KEYS)]
    began = time.monotonic()
    try:
        ((mark, rows),) = store.read([ReadKeys(GROUP, [KEYS[place] for place in wanted])], timeout_s=limit_s)
    except StoreUnavailable:
        return "unavailable"
    finally:
        assert time.monotonic() - began < limit_s + SLACK_S
    if mark is None:
        return "emptied" if rows == [None, None] else "wrong"
    return "right" if rows == [row_of(place) for place in wanted] else "wrong"


def outcomes(store, count: int = 10) -> set[str]:
    return {outcome(store, number) for number in range(count)}


def heals(store) -> bool:
    """Whether reads are right again, and none is wrong before."""
    end = time.monotonic() + HEALED_S
    while time.monotonic() < end:
        found = outcome(store, int(time.monotonic() * 1e6))
        assert found in {"right", "unavailable"}
        if found == "right":
            return True
    return False


FAULTS: dict[str, Callable[[RedisServer, FaultProxy], None]] = {
    "every answer later than the limit": lambda _, proxy: proxy.delay(2 * LIMIT_S),
    "stalled": lambda _, proxy: proxy.stall(),
    "byte by byte": lambda _, proxy: proxy.trickle(LIMIT_S / 5),
    "cut before an answer": lambda _, proxy: proxy.cut_after(0),
    "cut in the middle of an answer": lambda _, proxy: proxy.cut_after(100),
    "refused": lambda _, proxy: proxy.refuse(),
    "frozen": lambda server, _: server.freeze(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_read_ends_in_time_and_reads_are_right_again_once_it_heals(store, server, proxy, fault) -> None:
    FAULTS[fault](server, proxy)
    assert outcomes(store) == {"unavailable"}
    proxy.heal()
    server.thaw()
    assert heals(store)
    assert all(outcome(store, number, limit_s=HEALED_S) == "right" for number in range(200))


def test_a_process_that_connects_for_the_first_time_waits_no_longer(server, proxy) -> None:
    server.freeze()
    new = redis.open(f"redis://127.0.0.1:{proxy.port}/0")
    assert outcomes(new) == {"unavailable"}
    server.thaw()
    assert heals(new)
    new.close()


def test_slow_but_in_time_is_right(store, proxy) -> None:
    proxy.delay(0.005)
    assert {outcome(store, number, limit_s=HEALED_S) for number in range(20)} == {"right"}


def test_killed_and_restarted_empty_is_emptied_not_no_value(store, server) -> None:
    server.kill()
    assert outcomes(store) == {"unavailable"}
    server.start()
    end = time.monotonic() + HEALED_S
    while (found := outcome(store, 1)) == "unavailable" and time.monotonic() < end:
        pass
    assert found == "emptied"
    fill(server)
    assert {outcome(store, number, limit_s=HEALED_S) for number in range(50)} == {"right"}


def test_flushed_is_emptied_not_no_value(store, server) -> None:
    server.ask("FLUSHALL")
    assert outcome(store, 1, limit_s=HEALED_S) == "emptied"


def test_an_idle_connection_that_the_server_closed_costs_no_read(store, server) -> None:
    server.ask("CLIENT", "KILL", "TYPE", "normal")
    assert outcome(store, 3, limit_s=HEALED_S) == "right"


class TrustingStore:
    """The broken control: what it cannot find it takes for "no value", as a store without marks would."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def read(self, wanted, *, timeout_s=None):
        return [BuildRows(mark_of(1), rows) for _, rows in self._inner.read(wanted, timeout_s=timeout_s)]


def test_a_store_without_marks_would_be_caught(store, server) -> None:
    server.ask("FLUSHALL")
    assert outcome(TrustingStore(store), 1, limit_s=HEALED_S) == "wrong"


def test_a_limit_for_each_piece_of_an_answer_would_be_caught(store, proxy, monkeypatch) -> None:
    """The broken control: as long as a byte comes now and then, it waits on."""
    receive = Link.receive

    def patient(self, count, until):
        return receive(self, count, until + HEALED_S)

    monkeypatch.setattr(Link, "receive", patient)
    proxy.trickle(LIMIT_S / 5)
    with pytest.raises(AssertionError):
        outcome(store, 1)


def test_many_threads_read_at_once_and_connections_are_used_again(store, proxy) -> None:
    found: set[str] = set()

    def read_on(first: int) -> None:
        for number in range(50):
            found.add(outcome(store, first + number * 11, limit_s=HEALED_S))

    threads = [threading.Thread(target=read_on, args=[first]) for first in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"right"}
    assert proxy.connections <= 1 + len(threads)


# --- answers that come too late --------------------------------------------------------------------------------------


def late_answers(store, proxy, *, wanted: set[str], seconds: float = 1.0) -> set[str]:
    """Read from several threads while answers take now shorter, now longer than the limit; return the outcomes.

    It goes on for as many seconds, and until the wanted outcomes were seen or a busy machine had time enough.
    """
    found: set[str] = set()
    failures: list[BaseException] = []
    ended = threading.Event()

    def read_on(first: int) -> None:
        number = first
        try:
            while not ended.is_set():
                number += 13
                found.add(outcome(store, number, limit_s=0.01))
        except BaseException as error:  # noqa: BLE001  # shown by the test
            failures.append(error)

    threads = [threading.Thread(target=read_on, args=[first]) for first in range(4)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    while time.monotonic() < began + seconds or (not wanted <= found and time.monotonic() < began + 2 * HEALED_S):
        for delay_s in (0.0, 0.02, 0.005, 0.015):
            proxy.delay(delay_s)
            time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    proxy.heal()
    assert failures == []
    return found


def test_no_read_gets_the_answer_to_another_one(store, proxy) -> None:
    assert late_answers(store, proxy, wanted={"right", "unavailable"}) == {"right", "unavailable"}


class ReusingServer(Server):
    """The broken control: it uses a connection again whose answer it did not wait for."""

    @contextmanager
    def linked(self, until: float) -> Iterator[Link]:
        link = self._take(until)
        try:
            yield link
        except OSError:
            raise StoreUnavailable(problem="it took too long", store=self.name) from None
        finally:
            self._give(link)

    def _take(self, until: float) -> Link:
        with suppress(IndexError):
            return self._idle.pop()
        return self._wait(until)


def test_a_store_that_uses_an_abandoned_connection_again_would_be_caught(proxy) -> None:
    broken = redis.RedisStore(
        ReusingServer(server_at(f"redis://127.0.0.1:{proxy.port}/0")._pool), prefix="timewell", timeout_s=HEALED_S
    )
    assert outcome(broken, 0, limit_s=HEALED_S) == "right"
    assert "wrong" in late_answers(broken, proxy, wanted={"wrong"})
    broken.close()
