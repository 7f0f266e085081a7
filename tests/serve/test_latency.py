"""The account of requests: exact counts, true quantiles, many processes, and nothing lost or counted twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from timewell import durable
from timewell.clock import FrozenClock
from timewell.serve import slots
from timewell.serve.latency import STATES_US, LatencyBook, flush_books, reads_of
from timewell.serve.slots import SlotFiles
from timewell.serve.tally import ALL, MOST_SERIES, OTHER, Tallies
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US

GROUP = ("group", "transactions@v1")
SERVICE = ("service", "fraud_model")
QUANTILES = (0.5, 0.95, 0.99)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock("2026-03-01T10:00:30Z")


@pytest.fixture
def book(tmp_path: Path, clock: FrozenClock) -> LatencyBook:
    return LatencyBook(tmp_path / "metrics", clock)


def files(folder: Path) -> SlotFiles:
    return SlotFiles(folder / "metrics")


def count_one(book: LatencyBook) -> None:
    book.add(("transactions@v1",), None, 1_000_000)
    book.flush()


def test_a_request_counts_once_for_each_group_for_its_service_and_for_all(book: LatencyBook, tmp_path: Path) -> None:
    book.add(("transactions@v1", "profile@v2"), "fraud_model", 2_000_000)
    book.add(("transactions@v1",), None, 4_000_000)
    book.line(("transactions@v1",), None)(6_000_000)
    book.flush()

    found = files(tmp_path).totals()

    assert {series: tally.requests for series, tally in found.items()} == {
        ALL: 3,
        GROUP: 3,
        ("group", "profile@v2"): 1,
        SERVICE: 1,
    }
    assert found[GROUP].took_ns == 12_000_000


def test_reads_of_a_feature_are_counted_whatever_became_of_them(book: LatencyBook, tmp_path: Path) -> None:
    amount, count = "transactions@v1:amount_7d", "transactions@v1:count_7d"
    book.add(("transactions@v1",), None, 1_000, features=(amount,))
    book.add(("transactions@v1",), None, 1_000, features=(amount, count), degraded=True)
    book.line(("transactions@v1",), "fraud_model", (amount,))(1_000)
    book.flush()

    assert reads_of(files(tmp_path).totals()) == {amount: 3, count: 1}


def test_more_features_than_are_told_apart_leave_other_counts_their_names(book: LatencyBook, tmp_path: Path) -> None:
    features = tuple(f"transactions@v1:feature_{number}" for number in range(MOST_SERIES + 2))
    book.add(("transactions@v1",), None, 1_000, features=features)
    hits = [0]
    book.follow("cache_hits", lambda: hits[0])
    hits[0] = 7
    book.flush()

    found = files(tmp_path).totals()

    assert found["count", "cache_hits"].requests == 7
    assert reads_of(found)[OTHER] == 2


def test_failures_and_fallbacks_are_counted_with_their_causes(book: LatencyBook, tmp_path: Path) -> None:
    groups = ("transactions@v1",)
    book.add(groups, None, 1_000, degraded=True)
    book.because(groups, None, "breaker_open")
    book.add(groups, None, 1_000, degraded=True, error=True)
    book.because(groups, None, "breaker_open")
    book.because(groups, None, "no_answer")
    book.flush()

    found = files(tmp_path).totals()[GROUP]

    assert (found.requests, found.degraded, found.errors) == (2, 2, 1)
    assert found.causes == {"breaker_open": 2, "no_answer": 1}


def test_the_tail_is_within_two_hundredths_of_what_sorting_says(book: LatencyBook, clock, tmp_path: Path) -> None:
    """Skewed times in five minutes of three processes' worth of files: the p99 lies far from the bulk."""
    chance = np.random.default_rng(7)
    times = (np.exp(chance.normal(3, 0.6, 30_000)) * 1_000_000).astype(np.int64)
    times[:600] *= 20
    chance.shuffle(times)
    for part in np.split(times, 15):
        for took_ns in part.tolist():
            book.add(("transactions@v1",), None, took_ns)
        book.flush()
        clock.move(MINUTE_US // 3)

    found = files(tmp_path).read(0, clock.now_us())[GROUP].quantiles_ms(QUANTILES)

    exact = np.quantile(times, QUANTILES, method="inverted_cdf") / 1e6
    assert found == pytest.approx(exact, rel=0.02)
    assert found != pytest.approx(exact * 1.05, rel=0.02)


def test_only_the_minutes_asked_for_are_counted(book: LatencyBook, clock: FrozenClock, tmp_path: Path) -> None:
    count_one(book)
    clock.move(10 * MINUTE_US)
    book.flush()
    count_one(book)
    now_us = clock.now_us()

    assert files(tmp_path).read(now_us - 5 * MINUTE_US, now_us)[GROUP].requests == 1
    assert files(tmp_path).read(now_us - HOUR_US, now_us)[GROUP].requests == 2
    assert files(tmp_path).read(now_us + HOUR_US, now_us + DAY_US) == {}


def test_every_process_counts_for_itself_and_a_read_sees_them_all(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, timewell.serve.latency as latency;"
        "book = latency.LatencyBook(pathlib.Path(sys.argv[1]));"
        "[book.add(('transactions@v1',), None, 1_000_000) for _ in range(250)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "metrics")]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]  # the end of the interpreter wrote it

    assert files(tmp_path).totals()[GROUP].requests == 500


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # of Python 3.12; servers do it, too
def test_a_forked_child_counts_its_own_requests_and_none_of_its_parents(book: LatencyBook, tmp_path: Path) -> None:
    book.add(("transactions@v1",), None, 1_000_000)
    line = book.line(("transactions@v1",), None)
    child = os.fork()
    if child == 0:
        line(1_000_000)
        book.add(("transactions@v1",), None, 1_000_000)
        book.flush()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert files(tmp_path).totals()[GROUP].requests == 2

    book.flush()

    assert files(tmp_path).totals()[GROUP].requests == 3


def test_threads_that_count_while_others_write_lose_nothing(book: LatencyBook, tmp_path: Path) -> None:
    def count() -> None:
        for _ in range(5_000):
            book.add(("transactions@v1",), None, 1_000)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        book.flush()
    book.flush()

    assert files(tmp_path).totals()[GROUP].requests == 15_000


def test_what_is_not_as_usual_is_told_by_each_process_while_it_lasts(
    book: LatencyBook, clock: FrozenClock, tmp_path: Path
) -> None:
    state, other = ["open"], LatencyBook(tmp_path / "metrics", clock)
    book.watch("breaker", lambda: state[0], usual="closed")
    other.watch("breaker", lambda: "half_open", usual="closed")

    def told() -> dict[tuple[str, str], int]:
        return dict(files(tmp_path).states(clock.now_us(), STATES_US))

    book.flush()
    other.flush()
    assert told() == {("breaker", "open"): 1, ("breaker", "half_open"): 1}
    clock.move(MINUTE_US)
    book.flush()
    assert told() == {("breaker", "open"): 1}, "the other did not say it again: it may be dead"
    clock.move(SECOND_US)
    state[0] = "closed"
    book.flush()
    assert told() == {}
    state[0] = "open"
    book.flush()
    clock.move(-HOUR_US)
    assert told() == {}, "nor does a clock that was set back make it true for an hour"


def test_hours_are_merged_and_days_dropped_without_a_counter_ever_falling(
    book: LatencyBook, clock: FrozenClock, tmp_path: Path
) -> None:
    compacted = files(tmp_path)
    counted = 0
    for _ in range(80):
        for _ in range(2):
            count_one(book)
            counted += 1
            clock.move(20 * MINUTE_US)
            book.flush()
        clock.move(20 * MINUTE_US)
        book.flush()
        compacted.compact(clock.now_us())
        assert compacted.totals()[GROUP].requests == counted

    names = [path.name for path in (tmp_path / "metrics").glob("*.slot")]
    assert len([name for name in names if "-3600-" in name]) in range(72, 75)
    assert len([name for name in names if "-60-" in name]) <= 4
    now_us = clock.now_us()
    assert compacted.read(now_us - DAY_US, now_us)[GROUP].requests in range(46, 53)
    assert compacted.read(now_us - DAY_US, now_us)[GROUP].quantiles_ms([0.99]) == (1.0,)
    # of the two days before, the counts of each hour are left and not how long each request took
    before = compacted.read(now_us - 3 * DAY_US, now_us - 2 * DAY_US)[GROUP]
    assert (before.requests in range(46, 53), before.quantiles_ms([0.99])) == (True, (None,))


def test_a_file_that_is_late_by_a_day_is_added_to_an_hour_of_which_only_counts_are_left(
    book: LatencyBook, clock: FrozenClock, tmp_path: Path
) -> None:
    count_one(book)
    late_us = clock.now_us() - clock.now_us() % MINUTE_US
    for hours in (3, 23):
        clock.move(hours * HOUR_US)
        files(tmp_path).compact(clock.now_us())
    assert files(tmp_path).read(0, clock.now_us())[GROUP].quantiles_ms([0.5]) == (None,)
    late = Tallies()
    late.of(GROUP).add_times([1_000])
    files(tmp_path).write(late_us, "slept", late.written())
    files(tmp_path).compact(clock.now_us())

    assert files(tmp_path).read(0, clock.now_us())[GROUP].requests == 2
    assert len(list((tmp_path / "metrics").glob("*.slot"))) == 1


@pytest.mark.parametrize("merges", [1, 2], ids=["hours", "days"])
@pytest.mark.parametrize("names_what_it_merged", [True, False], ids=["as it is", "broken control"])
def test_a_merge_cut_short_before_it_removed_anything_counts_nothing_twice(
    book: LatencyBook, clock: FrozenClock, tmp_path: Path, monkeypatch, names_what_it_merged: bool, merges: int
) -> None:
    for _ in range(3):
        count_one(book)
        clock.move(MINUTE_US)
        book.flush()
    clock.move(3 * HOUR_US)
    if merges == 2:
        files(tmp_path).compact(clock.now_us())
        clock.move(4 * DAY_US)
    if not names_what_it_merged:
        monkeypatch.setattr(
            slots, "sorted", lambda found: [] if isinstance(found, set) else sorted(found), raising=False
        )
    with monkeypatch.context() as cut:
        cut.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            files(tmp_path).compact(clock.now_us())

    counted = files(tmp_path).totals()[GROUP].requests
    files(tmp_path).compact(clock.now_us())
    again = files(tmp_path).totals()[GROUP].requests

    assert (counted == again == 3) is names_what_it_merged


def _killed(path: Path, **_: object) -> None:
    if path.suffix == ".slot":
        raise KeyboardInterrupt


def test_a_late_file_of_a_merged_hour_is_added_to_it(book: LatencyBook, clock: FrozenClock, tmp_path: Path) -> None:
    count_one(book)
    late_us = clock.now_us() - clock.now_us() % MINUTE_US
    clock.move(3 * HOUR_US)
    files(tmp_path).compact(clock.now_us())
    late = Tallies()
    late.of(GROUP).add_times([1_000])
    files(tmp_path).write(late_us, "slept", late.written())
    files(tmp_path).compact(clock.now_us())

    assert files(tmp_path).totals()[GROUP].requests == 2
    assert len(list((tmp_path / "metrics").glob("*.slot"))) == 1


def test_files_of_a_newer_program_or_of_nobody_are_left_alone(book: LatencyBook, tmp_path: Path, caplog) -> None:
    count_one(book)
    folder = tmp_path / "metrics"
    durable.write_bytes(folder / "1772359200-60-newer.slot", msgspec.msgpack.encode({"format": 2, "series": []}))
    durable.write_bytes(folder / "1772359200-60-broken.slot", b"\xc1")
    (folder / "notes.txt").write_text("mine")

    assert files(tmp_path).totals()[GROUP].requests == 1
    assert "newer version" in caplog.text
    assert "broken.slot cannot be read" in caplog.text


def test_what_a_killed_writer_left_is_removed_after_an_hour(book: LatencyBook, clock, tmp_path: Path) -> None:
    count_one(book)
    left = tmp_path / "metrics" / ".1-60-x.slot.0123.tmp"
    left.touch()
    os.utime(left, (0, 0))

    files(tmp_path).compact(clock.now_us())

    assert not left.exists()


def test_a_full_disk_loses_nothing_and_tells_once(book: LatencyBook, tmp_path: Path, monkeypatch, caplog) -> None:
    book.add(("transactions@v1",), None, 1_000)
    with monkeypatch.context() as full:
        full.setattr(durable, "write_bytes", _no_space)
        book._background.once()
        book.add(("transactions@v1",), None, 1_000)
        book._background.once()
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.getMessage() for record in told] == ["LatencyBook._round failed: No space left on device"]
    book.close()

    assert files(tmp_path).totals()[GROUP].requests == 2


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_state_that_was_reset_does_not_come_back(clock: FrozenClock, tmp_path: Path) -> None:
    """A restore puts another state in its place: it must not find one there."""
    book = LatencyBook(tmp_path / "state" / "metrics", clock)
    book.add(("transactions@v1",), None, 1_000)
    book.flush()
    files(tmp_path / "state").compact(clock.now_us())

    assert not (tmp_path / "state").exists()


def test_names_beyond_a_thousand_are_counted_together(tmp_path: Path) -> None:
    tallies = Tallies()
    for number in range(MOST_SERIES + 500):
        tallies.of(("group", f"g{number}@v1")).requests += 1

    assert len(tallies) <= MOST_SERIES + 1
    assert tallies["group", OTHER].requests == 500


def test_a_count_that_something_else_keeps_is_followed(book: LatencyBook, tmp_path: Path) -> None:
    hits = 3
    book.follow("cache_hits", lambda: hits)
    book.flush()
    hits = 10
    book.flush()
    flush_books(tmp_path / "metrics")

    assert files(tmp_path).totals()["count", "cache_hits"].requests == 10
    book.close()
