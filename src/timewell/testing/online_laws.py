"""The laws of an online store, to be inherited by the test of a back end.

Examples
--------
A back end's whole test::

    class TestMyStore(OnlineStoreLaws):
        opener = "my_package.store:open"

        def settings(self, place: Path) -> dict[str, object]:
            return {"path": str(place)}
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest

from timewell.errors import BuildMissing, Superseded
from timewell.stores.codec import encode_key
from timewell.stores.online import BuildMark, OnlineStore, ReadKeys
from timewell.testing.online_children import (
    BUILD,
    EXTRA,
    KEYS,
    UNKNOWN,
    TornStore,
    child,
    flaw,
    mark_of,
    open_store,
    row_of,
    step,
)
from timewell.testing.online_machine import check_against_dictionary

SCALE = int(os.environ.get("TIMEWELL_TEST_SCALE", "1"))
GROUP = "orders/v1/b1"


def text_key(text: str) -> bytes:
    """Return the key of one string."""
    key = encode_key([text], ["string"])
    assert key is not None
    return key


def edge_keys() -> list[bytes]:
    """Return keys that stores get wrong: empty parts, separators, control characters, long ones, twins at the end."""
    texts = ["", " ", "a", "a:b", "a/b", "\0", "\0\0", "ä", "a\u0308", "\U0001f600", "{a}", "*", "\r\n", "'; --"]
    long = [letter * size for letter in "xy" for size in (396, 397, 398, 400, 507, 508, 509, 1024)]
    texts += [*long, "x" * 1023 + "y", "é" * 512]
    pairs = [("a", "b"), ("ab", ""), ("", "ab"), ("x" * 500, "y" * 500), ("x" * 500, "y" * 499 + "z")]
    keys: list[bytes | None] = [text_key(text) for text in texts]
    keys += [encode_key(pair, ["string", "string"]) for pair in pairs]
    keys += [encode_key([number], ["int64"]) for number in (0, -1, 255, -(2**63), 2**63 - 1)]
    keys += [encode_key([flag], ["bool"]) for flag in (False, True)]
    keys.append(encode_key([date(1969, 12, 31)], ["date"]))
    # nothing of ours makes these; a store must still keep them apart from its own entries
    return [key for key in keys if key] + [b"", b"\0", b"\xff", bytes(400), bytes(401), bytes(511), bytes(600)]


class _Opening:
    """How the laws get at a store.

    Attributes
    ----------
    opener
        ``package.module:function`` that opens the store, also in other processes.
    kill_longest_s
        Longest time that a writer lives after its first write before it is killed, in seconds.
    """

    opener: ClassVar[str]
    kill_longest_s: ClassVar[float] = 0.02

    def settings(self, place: Path) -> dict[str, Any]:
        """Return the settings of a store that keeps its rows in a place of its own; JSON-able."""
        raise NotImplementedError

    def open(self, place: Path) -> OnlineStore:
        """Open the store of a place."""
        return open_store(self.opener, self.settings(place))

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        """Yield an empty store."""
        opened = self.open(tmp_path / "store")
        yield opened
        opened.close()


class OnlineRowLaws(_Opening):
    """What one caller at a time may rely on."""

    # --- what is written is read ---

    def test_a_loaded_build_is_read_back(self, store: OnlineStore) -> None:
        """Rows and mark come back; the store counts the rows."""
        report = store.load(GROUP, [(KEYS[0], b"one"), (KEYS[1], b"two")], mark_of(7))
        ((mark, rows),) = store.read([ReadKeys(GROUP, [KEYS[1], UNKNOWN, KEYS[0], KEYS[1]])])
        assert rows == [b"two", None, b"one", b"two"]
        assert mark == report.mark == store.mark(GROUP)
        assert (report.mark.as_of_us, report.mark.rows, report.rows, report.written) == (7, 2, 2, 2)

    def test_a_build_that_is_not_there_has_no_mark_and_no_rows(self, store: OnlineStore) -> None:
        """A missing build and a build without the key can be told apart."""
        store.load("empty/v1/b1", [], mark_of(1))
        missing, empty = store.read([ReadKeys(GROUP, KEYS[:2]), ReadKeys("empty/v1/b1", KEYS[:2])])
        assert (missing.mark, missing.rows) == (None, [None, None])
        assert empty.mark is not None
        assert (empty.mark.rows, empty.rows) == (0, [None, None])
        assert store.mark(GROUP) is None
        assert list(store.scan(GROUP)) == []
        assert store.builds() == ["empty/v1/b1"]

    def test_several_builds_are_read_at_once_each_with_its_own_rows(self, store: OnlineStore) -> None:
        """Builds do not share keys."""
        store.load("a/v1/b", [(KEYS[0], b"a")], mark_of(1))
        store.load("a/v1/b2", [(KEYS[0], b"b")], mark_of(2))
        found = store.read([ReadKeys("a/v1/b2", [KEYS[0]]), ReadKeys("a/v1/b", [KEYS[0]]), ReadKeys("a/v1/b", [])])
        assert [rows for _, rows in found] == [[b"b"], [b"a"], []]
        assert store.builds() == ["a/v1/b", "a/v1/b2"]

    def test_every_key_is_its_own(self, store: OnlineStore) -> None:
        """Edge keys are read, scanned, overwritten and deleted one by one."""
        keys = edge_keys()
        assert len(set(keys)) == len(keys)
        assert store.read([ReadKeys(GROUP, keys)])[0].rows == [None] * len(keys)
        store.load(GROUP, [], mark_of(1))
        assert store.read([ReadKeys(GROUP, keys)])[0].rows == [None] * len(keys)
        store.load(GROUP, [(key, b"row %d" % place) for place, key in enumerate(keys)], mark_of(2))
        wanted: list[bytes | None] = [b"row %d" % place for place in range(len(keys))]
        assert store.read([ReadKeys(GROUP, keys)])[0].rows == wanted
        assert dict(store.scan(GROUP)) == dict(zip(keys, wanted, strict=True))
        for place, key in enumerate(keys):
            assert store.refresh(GROUP, [], [key], mark_of(3)).deleted == 1
            wanted[place] = None
        assert store.read([ReadKeys(GROUP, keys)])[0].rows == wanted

    def test_a_scan_comes_in_the_order_that_the_store_promises(self, store: OnlineStore) -> None:
        """A refresh reads a build beside the new rows; out of order it would delete what it should keep."""
        limit = store.capabilities.ordered_key_bytes
        keys = [*edge_keys(), *KEYS, *(text_key(f"{number}") for number in range(500))]
        store.load(GROUP, [(key, b"row") for key in reversed(keys[:-100])], mark_of(1))
        store.refresh(GROUP, [(key, b"row") for key in reversed(keys[-100:])], [], mark_of(2))
        found = [key for key, _ in store.scan(GROUP)]
        assert sorted(found) == sorted(set(keys))
        in_order = [key for key in found if 0 < len(key) <= limit]
        assert in_order == sorted(in_order)

    def test_rows_may_be_empty_large_or_any_bytes(self, store: OnlineStore) -> None:
        """The store does not look into a row."""
        rows = [b"", b"\0", bytes(range(256)) * 8, b"x" * 200_000]
        store.load(GROUP, zip(KEYS, rows, strict=False), mark_of(1))
        assert store.read([ReadKeys(GROUP, KEYS[:4])])[0].rows == rows

    def test_rows_may_come_in_any_order_and_the_last_of_equal_keys_counts(self, store: OnlineStore) -> None:
        """Neither load nor refresh asks for sorted or distinct keys."""
        pairs = [(KEYS[3], b"old"), (KEYS[1], b"1"), (KEYS[2], b"2"), (KEYS[3], b"3")]
        assert store.load(GROUP, iter(pairs), mark_of(1)).rows == 3
        assert store.read([ReadKeys(GROUP, KEYS[1:4])])[0].rows == [b"1", b"2", b"3"]
        store.refresh(GROUP, iter([(KEYS[1], b"x"), (KEYS[0], b"0"), (KEYS[1], b"y")]), iter([]), mark_of(2))
        assert store.read([ReadKeys(GROUP, KEYS[:4])])[0].rows == [b"0", b"y", b"2", b"3"]

    def test_a_build_grows_far_beyond_its_first_size(self, store: OnlineStore) -> None:
        """Refreshes may add many times what was loaded."""
        store.load(GROUP, [(KEYS[0], b"first")], mark_of(1))
        for turn in range(3):
            more = [(text_key(f"{turn}-{place}"), b"%d" % place * 400) for place in range(2_000)]
            store.refresh(GROUP, more, [], mark_of(2 + turn))
        ((mark, rows),) = store.read([ReadKeys(GROUP, [KEYS[0], text_key("2-1999")])])
        assert mark is not None
        assert (mark.rows, rows) == (6_001, [b"first", b"1999" * 400])

    # --- refresh ---

    def test_a_refresh_changes_adds_and_removes_rows_and_moves_the_mark(self, store: OnlineStore) -> None:
        """Upserts, leavers and the mark go together; a key that is both deleted and upserted stays."""
        before = store.load(GROUP, [(key, b"old") for key in KEYS[:4]], mark_of(1)).mark
        report = store.refresh(
            GROUP, [(KEYS[0], b"new"), (KEYS[9], b"new"), (KEYS[2], b"new")], [KEYS[1], KEYS[2], UNKNOWN], mark_of(2)
        )
        ((mark, rows),) = store.read([ReadKeys(GROUP, [*KEYS[:4], KEYS[9]])])
        assert rows == [b"new", None, b"new", b"old", b"new"]
        assert mark == report.mark
        assert (report.mark.as_of_us, report.mark.rows, report.written) == (2, 4, 3)
        assert report.mark.refresh_seq > before.refresh_seq

    def test_changes_computed_against_other_rows_than_those_held_are_refused(self, store: OnlineStore) -> None:
        """Between a look and the write that follows from it another write may land; nothing is written then."""
        before = store.load(GROUP, [(KEYS[0], b"0"), (KEYS[1], b"1")], mark_of(1)).mark
        store.refresh(GROUP, [(KEYS[1], b"other")], [], mark_of(2), base_seq=before.refresh_seq)
        with pytest.raises(Superseded):
            store.refresh(GROUP, [(KEYS[0], b"mine")], [], mark_of(3), base_seq=before.refresh_seq)
        assert dict(store.scan(GROUP)) == {KEYS[0]: b"0", KEYS[1]: b"other"}

    def test_a_build_that_is_not_there_cannot_be_refreshed(self, store: OnlineStore) -> None:
        """A partial build must not look whole (an emptied store is rebuilt)."""
        with pytest.raises(BuildMissing):
            store.refresh(GROUP, [(KEYS[0], b"new")], [], mark_of(1))
        assert store.mark(GROUP) is None
        assert store.builds() == []

    @pytest.mark.parametrize("write", ["load", "refresh"])
    def test_an_older_write_is_refused_and_changes_nothing(self, store: OnlineStore, write: str) -> None:
        """Fencing: neither an older as_of nor a lower lease epoch gets in."""
        store.load(GROUP, [(KEYS[0], b"held")], mark_of(5, lease_epoch=3))
        held = store.mark(GROUP)
        for offered in (mark_of(4, lease_epoch=9), mark_of(5, lease_epoch=2)):
            with pytest.raises(Superseded):
                _write(store, write, b"older", offered)
        assert store.read([ReadKeys(GROUP, [KEYS[0]])])[0] == (held, [b"held"])

    @pytest.mark.parametrize("write", ["load", "refresh"])
    def test_a_correction_and_a_repetition_are_taken(self, store: OnlineStore, write: str) -> None:
        """Equal as_of under a higher lease epoch overwrites; an equal pair is applied again."""
        store.load(GROUP, [(KEYS[0], b"first")], mark_of(5, lease_epoch=3))
        seen = [store.mark(GROUP)]
        for row, epoch in ((b"again", 3), (b"corrected", 4), (b"corrected", 4)):
            _write(store, write, row, mark_of(5, lease_epoch=epoch))
            seen.append(store.mark(GROUP))
            assert store.read([ReadKeys(GROUP, [KEYS[0]])])[0].rows == [row]
        numbers = [mark.refresh_seq for mark in seen if mark]
        assert numbers == sorted(set(numbers)), "caches are keyed by refresh_seq: two states may not share one"

    # --- erase, drop, close ---

    def test_erase_forgets_a_row_keeps_the_rest_and_makes_caches_notice(self, store: OnlineStore) -> None:
        """The mark stays, apart from the count of rows and the number that caches are keyed by."""
        store.load(GROUP, [(key, b"row") for key in [*edge_keys(), *KEYS[:4]]], mark_of(5))
        before = store.mark(GROUP)
        long = text_key("x" * 1024)
        assert store.erase(GROUP, [KEYS[0], UNKNOWN, long]) == 2
        ((mark, rows),) = store.read([ReadKeys(GROUP, [KEYS[0], KEYS[1], long])])
        assert rows == [None, b"row", None]
        assert before is not None
        assert mark is not None
        assert (mark.as_of_us, mark.lease_epoch, mark.rows) == (5, 1, before.rows - 2)
        assert mark.refresh_seq > before.refresh_seq
        assert store.erase("not/there/1", [KEYS[0]]) == 0

    def test_a_dropped_build_is_gone_and_may_be_loaded_again(self, store: OnlineStore) -> None:
        """Dropping twice is fine; an older build may come back under the same id."""
        store.load(GROUP, [(KEYS[0], b"row")], mark_of(5))
        store.load("other/v1/b", [(KEYS[0], b"other")], mark_of(5))
        store.drop(GROUP)
        store.drop(GROUP)
        assert store.read([ReadKeys(GROUP, [KEYS[0]])])[0] == (None, [None])
        assert store.builds() == ["other/v1/b"]
        store.load(GROUP, [(KEYS[0], b"back")], mark_of(1))
        assert store.read([ReadKeys(GROUP, [KEYS[0]])])[0].rows == [b"back"]

    def test_a_closed_store_may_be_used_again_and_two_stores_share_a_place(
        self, store: OnlineStore, tmp_path: Path
    ) -> None:
        """Stores of one place in one process see each other's writes at once."""
        other = self.open(tmp_path / "store")
        store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
        assert other.read([ReadKeys(GROUP, [KEYS[0]])])[0].rows == [b"1"]
        store.close()
        other.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2))
        assert store.read([ReadKeys(GROUP, [KEYS[0]])])[0].rows == [b"2"]
        store.load(GROUP, [(KEYS[0], b"3")], mark_of(3))
        assert other.read([ReadKeys(GROUP, [KEYS[0]])])[0].rows == [b"3"]
        other.close()
        other.close()

    def test_a_scan_is_one_look_however_long_it_takes(self, store: OnlineStore) -> None:
        """Refresh, load and drop during a scan do not show in it."""
        store.load(GROUP, [(key, b"1") for key in KEYS], mark_of(1))
        scan = store.scan(GROUP)
        first = next(scan)
        store.refresh(GROUP, [(key, b"2") for key in KEYS], KEYS[:0], mark_of(2))
        store.load(GROUP, [], mark_of(3))
        store.drop(GROUP)
        assert dict([first, *scan]) == dict.fromkeys(KEYS, b"1")

    def test_it_behaves_like_a_dictionary(self, tmp_path: Path) -> None:
        """Random operations on the store and on plain dictionaries have equal outcomes."""
        check_against_dictionary(self.open, tmp_path, examples=15 * SCALE)


class OnlineSharingLaws(_Opening):
    """What readers and writers at the same time may rely on, in one process or several, killed or forked."""

    def test_a_thread_reads_whole_states_while_another_writes(self, store: OnlineStore) -> None:
        """No read mixes two states, whatever the writer does: refresh, load, erase."""
        assert _flaws_seen_beside_a_writer(store, store, states=30 * SCALE) == []

    def test_a_torn_refresh_would_be_seen_by_that_check(self, store: OnlineStore) -> None:
        """The broken control: a store that writes in two goes."""
        assert _flaws_seen_beside_a_writer(store, TornStore(store), states=30)

    def test_a_process_reads_whole_states_while_another_writes(self, store: OnlineStore, tmp_path: Path) -> None:
        """The same between processes."""
        step(store, 5)
        with child("write", self.opener, self.settings(tmp_path / "store"), start=5) as writer:
            assert writer.answer() == "ready"
            found: list[str | None] = []
            began = time.monotonic()
            while len(found) < 1_000 * SCALE or (_as_of(store) < 20 and time.monotonic() - began < 20):
                found.append(flaw(store, scan=len(found) % 50 == 0))
        assert {text for text in found if text} == set()
        assert _as_of(store) >= 20, "the writer must have moved on meanwhile"

    def test_another_process_sees_every_write_as_soon_as_it_returned(self, store: OnlineStore, tmp_path: Path) -> None:
        """A reader that has the build open notices a refresh, a replaced build, an erasure and a drop."""
        keys = [KEYS[0].hex()]
        with child("read", self.opener, self.settings(tmp_path / "store")) as reader:
            assert reader.answer() == "ready"
            for turn in range(1, 4 * SCALE):
                assert reader.ask([GROUP, keys]) == [None, [None]]
                store.load(GROUP, [(KEYS[0], b"1"), (KEYS[1], b"1")], mark_of(turn))
                assert reader.ask([GROUP, keys]) == [turn, [b"1".hex()]]
                store.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(turn + 1))
                assert reader.ask([GROUP, keys]) == [turn + 1, [b"2".hex()]]
                store.load(GROUP, [(KEYS[0], b"3")], mark_of(turn + 2))
                assert reader.ask([GROUP, keys]) == [turn + 2, [b"3".hex()]]
                store.erase(GROUP, [KEYS[0]])
                assert reader.ask([GROUP, keys]) == [turn + 2, [None]]
                store.drop(GROUP)

    def test_writers_of_one_build_take_turns(self, store: OnlineStore) -> None:
        """Concurrent refreshes lose nothing: each one's row is there, and each was counted."""
        first = store.load(GROUP, [], mark_of(1)).mark
        failures = _in_threads(4, lambda number: _refresh_often(store, number, turns=5))
        last = store.mark(GROUP)
        assert not failures, repr(failures)
        assert last is not None
        assert (last.rows, last.refresh_seq) == (20, first.refresh_seq + 20)

    def test_of_concurrent_first_loads_the_newest_stays(self, store: OnlineStore) -> None:
        """Whatever order they come in: the newest is taken, an older one is refused or replaced."""
        for turn in range(5):
            build = f"first/v1/{turn}"
            failures = _in_threads(4, lambda as_of, build=build: _load_one(store, build, as_of))  # type: ignore[misc]
            assert [error for error in failures if not isinstance(error, Superseded)] == []
            ((mark, rows),) = store.read([ReadKeys(build, [KEYS[0]])])
            assert mark is not None
            assert (mark.as_of_us, rows) == (3, [b"3"])

    def test_a_killed_writer_leaves_a_whole_state(self, tmp_path: Path) -> None:
        """SIGKILL at random moments of refresh, load and erase; the next writer goes on."""
        told = self._kill(self.opener, self.settings(tmp_path / "store"), rounds=20 * SCALE)
        assert told["flaws"] == []
        assert told["reached"] > 20 * SCALE

    def test_a_writer_in_two_goes_would_be_caught_by_that_check(self, tmp_path: Path) -> None:
        """The broken control."""
        settings = {"opener": self.opener, "settings": self.settings(tmp_path / "store")}
        assert self._kill("timewell.testing.online_children:open_torn", settings, rounds=20)["flaws"]

    def _kill(self, opener: str, settings: dict[str, Any], *, rounds: int) -> Any:  # noqa: ANN401  # JSON
        with child("kill", opener, settings, rounds=rounds, seed=1, longest_s=self.kill_longest_s) as running:
            return running.answer()

    def test_forked_children_and_their_parent_go_on(self, tmp_path: Path) -> None:
        """A fork in the middle of other threads' reads breaks neither side."""
        with child("fork", self.opener, self.settings(tmp_path / "store"), rounds=5 * SCALE) as running:
            assert running.answer() == {"flaws": []}


class OnlineStoreLaws(OnlineRowLaws, OnlineSharingLaws):
    """What every online store must do; ``opener`` and ``settings`` are the back end's own."""


def _as_of(store: OnlineStore) -> int:
    mark = store.mark(BUILD)
    return mark.as_of_us if mark else -1


def _write(store: OnlineStore, write: str, row: bytes, mark: BuildMark) -> None:
    if write == "load":
        store.load(GROUP, [(KEYS[0], row)], mark)
    else:
        store.refresh(GROUP, [(KEYS[0], row)], [KEYS[1]], mark)


def _flaws_seen_beside_a_writer(reader: OnlineStore, writer: OnlineStore, *, states: int) -> list[str]:
    step(writer, 5)
    ended = threading.Event()

    def write() -> None:
        try:
            for number in range(6, 6 + states):
                step(writer, number)
        finally:
            ended.set()

    found: list[str | None] = []
    writing = threading.Thread(target=write)
    writing.start()
    while not ended.is_set():
        found.append(flaw(reader, scan=len(found) % 50 == 0))
    writing.join()
    mark = reader.mark(BUILD)
    assert mark is not None
    assert mark.as_of_us == 5 + states, "the writer must have come to its end"
    assert reader.read([ReadKeys(BUILD, [EXTRA])])[0].rows == [row_of(5 + states) if states % 2 == 0 else None]
    return [text for text in found if text]


def _load_one(store: OnlineStore, build: str, as_of: int) -> None:
    store.load(build, [(KEYS[0], b"%d" % as_of)], mark_of(as_of))


def _refresh_often(store: OnlineStore, number: int, *, turns: int) -> None:
    for turn in range(turns):
        store.refresh(GROUP, [(text_key(f"{number}-{turn}"), b"row")], [], mark_of(2))


def _in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  # shown by the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
