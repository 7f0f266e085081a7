"""Hot rows in memory: they are the store's rows, whole and of one mark, or the store is asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from timewell.backends.lmdb.store import LmdbStore
from timewell.errors import StoreUnavailable
from timewell.serve import preload
from timewell.serve.preload import LOOK_S, TRUST_S, Preload, memory_of
from timewell.stores.online import BuildMark

BUILD = "g/v1/hot-1"
ROWS = [(b"a", b"row a"), (b"b", b"row b")]
PLENTY = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    opened = LmdbStore(tmp_path / "online")
    opened.load(BUILD, ROWS, mark(1))
    yield opened
    opened.close()


def mark(as_of_us: int) -> BuildMark:
    return BuildMark(as_of_us=as_of_us, lease_epoch=1, refresh_seq=0, rows=0, data_through_us=0, schema_hash="s")


def refresh(store: LmdbStore, as_of_us: int) -> None:
    store.refresh(BUILD, [(b"a", f"row a at {as_of_us}".encode())], [b"b"], mark(as_of_us))


def test_the_first_read_asks_the_store_and_the_next_ones_do_not(store: LmdbStore, clock: Clock) -> None:
    hot = Preload(store, PLENTY, clock)
    assert hot.read(BUILD, [b"a"]) is None
    hot.wait()

    found = hot.read(BUILD, [b"b", b"x", b"a"])

    assert found is not None
    assert (found.rows, found.mark) == ([b"row b", None, b"row a"], store.mark(BUILD))
    assert (hot.hits, hot.misses) == (1, 1)
    assert hot.taken_bytes == sum(memory_of(*pair) for pair in ROWS)


def test_a_refresh_is_followed_within_a_second_and_never_mixed_with_what_was(store: LmdbStore, clock: Clock) -> None:
    hot = loaded(store, clock)
    refresh(store, 2)
    before = hot.read(BUILD, [b"a", b"b"])
    clock.now_s += LOOK_S
    hot.read(BUILD, [b"a"])  # tells the background to look
    hot.wait()

    after = hot.read(BUILD, [b"a", b"b"])

    assert before is not None
    assert before.rows == [b"row a", b"row b"]
    assert after is not None
    assert (after.rows, after.mark) == ([b"row a at 2", None], store.mark(BUILD))


def test_rows_that_nobody_compared_with_the_store_for_a_second_are_not_served(store: LmdbStore, clock: Clock) -> None:
    hot = loaded(store, clock)
    refresh(store, 2)
    clock.now_s += TRUST_S
    assert hot.read(BUILD, [b"a"]) is None
    hot.wait()
    found = hot.read(BUILD, [b"a"])
    assert found is not None
    assert found.rows == [b"row a at 2"]


def test_an_erased_row_leaves_memory_like_a_refreshed_one(store: LmdbStore, clock: Clock) -> None:
    hot = loaded(store, clock)
    store.erase(BUILD, [b"a"])
    clock.now_s += LOOK_S
    hot.read(BUILD, [b"a"])
    hot.wait()
    found = hot.read(BUILD, [b"a", b"b"])
    assert found is not None
    assert found.rows == [None, b"row b"]


def test_a_build_over_the_bound_stays_in_the_store_and_says_so_once(
    store: LmdbStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hot = Preload(store, memory_of(*ROWS[0]), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert hot.read(BUILD, [b"a"]) is None
            hot.wait()
            clock.now_s += LOOK_S
    assert hot.taken_bytes == 0
    told = [record.getMessage() for record in caplog.records if "hot_bytes" in record.getMessage()]
    limit = memory_of(*ROWS[0])
    assert told == [
        f"{BUILD} is hot, but its rows are more than what is left of [serving] hot_bytes = {limit}: the store serves it"
    ]


def test_a_build_that_was_too_large_is_taken_when_a_refresh_made_it_fit(store: LmdbStore, clock: Clock) -> None:
    hot = Preload(store, memory_of(b"a", b"row a at 2"), clock)
    hot.look(BUILD)
    assert hot.taken_bytes == 0
    refresh(store, 2)
    hot.look(BUILD)
    found = hot.read(BUILD, [b"a"])
    assert found is not None
    assert found.rows == [b"row a at 2"]


def test_two_builds_share_one_bound(store: LmdbStore, clock: Clock) -> None:
    store.load("g/v2/hot-2", ROWS, mark(1))
    hot = Preload(store, sum(memory_of(*pair) for pair in ROWS) + 1, clock)
    hot.look(BUILD)
    hot.look("g/v2/hot-2")
    assert hot.read(BUILD, [b"a"]) is not None
    assert hot.read("g/v2/hot-2", [b"a"]) is None
    hot.wait()
    hot.keep_only(["g/v2/hot-2"])
    hot.look("g/v2/hot-2")
    assert hot.read("g/v2/hot-2", [b"a"]) is not None


def test_rows_refreshed_while_they_are_read_are_not_taken(
    store: LmdbStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = store.scan

    def slow(build: str) -> Iterator[tuple[bytes, bytes]]:
        found = list(honest(build))
        refresh(store, 2)
        yield from found

    monkeypatch.setattr(store, "scan", slow)
    hot = Preload(store, PLENTY, clock)
    hot.look(BUILD)
    assert hot.read(BUILD, [b"a"]) is None
    hot.wait()


def test_a_store_that_does_not_answer_takes_nothing_away_until_the_trust_ends(
    store: LmdbStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot = loaded(store, clock)

    def down(_: str) -> BuildMark | None:
        raise StoreUnavailable(problem="it is down", store="the store")

    monkeypatch.setattr(store, "mark", down)
    clock.now_s += TRUST_S / 2
    assert hot.read(BUILD, [b"a"]) is not None
    hot.wait()
    clock.now_s += TRUST_S / 2
    assert hot.read(BUILD, [b"a"]) is None
    hot.wait()


def test_a_build_that_left_the_store_leaves_memory(store: LmdbStore, clock: Clock) -> None:
    hot = loaded(store, clock)
    store.drop(BUILD)
    hot.look(BUILD)
    assert (hot.read(BUILD, [b"a"]), hot.taken_bytes) == (None, 0)
    hot.wait()


def test_memory_is_counted_to_within_a_quarter_of_what_a_process_takes() -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        rows = {number.to_bytes(9, "big"): bytes(100 + number % 7) for number in range(20_000)}
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert sum(memory_of(*pair) for pair in rows.items()) == pytest.approx(taken, rel=0.25)


def loaded(store: LmdbStore, clock: Clock) -> Preload:
    hot = Preload(store, PLENTY, clock)
    hot.look(BUILD)
    assert hot.read(BUILD, [b"a"]) is not None
    return hot


def test_a_read_that_does_not_compare_marks_is_caught(
    store: LmdbStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "TRUST_S", float("inf"))
    hot = loaded(store, clock)
    refresh(store, 2)
    clock.now_s += 10
    found = hot.read(BUILD, [b"a"])
    assert found is not None
    assert found.rows == [b"row a"], "the broken control serves what the store does not hold any more"
    hot.wait()
