"""What every registry does with files that nothing refers to: marked, left for a while, forgotten."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from dataclasses import replace

import pytest

from timewell.errors import SnapshotCollected
from timewell.stores.garbage import Pin
from timewell.stores.registry import FileRecord, RegistryBackend
from timewell.stores.shadows import StagedPartition
from timewell.testing.registry_opened import Opened
from timewell.testing.registry_records import BY, SPEND, made_file, promote, shadow_record, stage, table
from timewell.types import DAY_US

NOW_US = BY["at_us"]  # when every change of these laws is made
FOREVER_US = 1 << 62


def contents(files: list[FileRecord]) -> list[tuple[int, str]]:
    """Return what some files hold, by partition."""
    return sorted((file.start_us // DAY_US, file.content_digest.removeprefix("rows of ")) for file in files)


def mark(registry: RegistryBackend, after_us: int = 1, *, keep_us: int = 0) -> list[tuple[int, str]]:
    """Mark a while after the changes; returns what is marked."""
    return contents(registry.garbage.mark(now_us=NOW_US + after_us, keep_us=keep_us))


def collect(registry: RegistryBackend, after_us: int = 2) -> list[tuple[int, str]]:
    """Collect a while after the changes; returns what was collected."""
    at_us = NOW_US + after_us
    return contents(registry.garbage.collect(marked_before_us=at_us, actor="gc@example.org", at_us=at_us))


def pin(snapshot: int, name: str = "reader", expires_us: int = FOREVER_US) -> Pin:
    """Return a claim on a snapshot of ``spend@v1``."""
    return Pin(name=name, group="spend", version="v1", snapshot=snapshot, expires_us=expires_us)


class GarbageLaws(Opened):
    """Marking, waiting, collecting, and what holds a file."""

    def test_what_is_live_or_staged_is_no_garbage(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        stage(spend, shadow_record(), 0, content="second")
        assert mark(other) == []
        assert collect(other) == []
        assert table(other) == {0: "first", 1: "first"}

    def test_what_was_replaced_is_garbage_after_a_while(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        promote(spend, "s1", 0, content="second")
        assert mark(other, 99, keep_us=100) == []
        assert mark(other, 100, keep_us=100) == [(0, "first")]
        assert mark(other, 101, keep_us=100) == [(0, "first")]

    def test_what_was_never_promoted_is_garbage(self, spend: RegistryBackend) -> None:
        stage(spend, shadow_record(), 0, 1, content="first")
        stage(spend, shadow_record(), 1, content="second")
        assert mark(spend, keep_us=100) == [(1, "first")]
        spend.shadows.abandon("s1", **BY)
        assert mark(spend, keep_us=100) == [(0, "first"), (1, "first"), (1, "second")]

    def test_only_what_waited_is_collected(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        assert mark(spend, 10) == [(0, "first")]
        assert mark(spend, 20) == [(0, "first")]  # it was marked at 10 and is still
        assert collect(other, 10) == []
        assert collect(other, 11) == [(0, "first")]
        told = spend.audit(limit=1)[0]
        assert (told.action, told.actor, told.detail["files"]) == ("collect", "gc@example.org", 1)

    def test_collecting_again_does_nothing(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        mark(spend)
        assert collect(spend) == [(0, "first")]
        rows = spend.audit()
        assert (collect(spend), collect(spend, 1_000), mark(spend)) == ([], [], [])
        assert spend.audit() == rows
        assert spend.check() == []

    def test_snapshots_that_lost_a_file_say_so(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        done = [
            promote(spend, f"s{n}", *days, content=f"c{n}") for n, days in enumerate([(0, 1), (1, 2), (0, 1), (3,)])
        ]
        mark(spend)
        assert collect(spend) == [(0, "c0"), (1, "c0"), (1, "c1")]
        for one, lost in zip(done, (2, 2, 0, 0), strict=True):
            if lost:
                with pytest.raises(SnapshotCollected) as gone:
                    other.files(*SPEND, one.snapshot)
                facts = {"snapshot": one.snapshot, "what": "spend@v1", "count": lost}
                assert gone.value.facts == facts
            else:
                assert table(other, snapshot=one.snapshot)[0] == "c2"
        assert table(other) == {0: "c2", 1: "c2", 2: "c1", 3: "c3"}
        promote(spend, "s9", 2, content="c9")
        mark(spend, 5)
        collect(spend, 6)
        with pytest.raises(SnapshotCollected) as gone:
            other.files(*SPEND, done[1].snapshot)
        assert gone.value.facts["count"] == 3
        with pytest.raises(SnapshotCollected):
            other.files(*SPEND, done[3].snapshot)

    def test_a_pin_holds_a_snapshot(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, 1, content="second")
        promote(spend, "s2", 0, 1, content="third")
        other.garbage.pin([pin(first.snapshot)])
        assert mark(spend) == [(0, "second"), (1, "second")]
        collect(spend)
        assert table(other, snapshot=first.snapshot) == {0: "first"}
        other.garbage.unpin(["reader", "nobody"])
        assert mark(spend) == [(0, "first")]
        assert other.garbage.pins() == []

    def test_a_pin_ends_by_itself(self, spend: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        spend.garbage.pin([pin(first.snapshot, expires_us=NOW_US + 50)])
        assert mark(spend, 49) == []
        assert mark(spend, 50) == [(0, "first")]
        spend.garbage.pin([pin(first.snapshot, expires_us=NOW_US + 90)])
        assert mark(spend, 60) == []
        assert spend.garbage.pins() == [pin(first.snapshot, expires_us=NOW_US + 90)]

    def test_a_pin_made_after_the_mark_holds_too(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        assert mark(spend) == [(0, "first")]
        other.garbage.pin([pin(first.snapshot)])
        assert collect(spend) == []
        assert table(spend, snapshot=first.snapshot) == {0: "first"}

    def test_what_is_gone_is_not_pinned(self, spend: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        second = promote(spend, "s1", 0, content="second")
        mark(spend)
        collect(spend)
        with pytest.raises(SnapshotCollected):
            spend.garbage.pin([pin(second.snapshot, "other"), pin(first.snapshot)])
        assert spend.garbage.pins() == []

    def test_a_snapshot_that_is_named_is_held(self, spend: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, 1, content="second")
        promote(spend, "s2", 1, content="third")
        marked = spend.garbage.mark(now_us=NOW_US + 1, keep_us=0, keep=[(*SPEND, first.snapshot)])
        assert contents(marked) == [(1, "second")]

    def test_what_is_referred_to_again_is_unmarked(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        taken = promote(spend, "s1", 0, content="second")
        assert mark(spend) == [(0, "first")]
        other.shadows.roll_back(taken.id, **BY)
        assert collect(spend) == []
        promote(other, "s2", 0, content="third")  # replaced anew: it waits anew
        assert collect(spend) == []
        assert mark(spend, 5, keep_us=100) == []
        assert mark(spend, 5) == [(0, "first")]

    def test_what_a_shadow_holds_that_opened_again_is_not_collected(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        taken = promote(spend, "s1", 0, content="second")
        promote(spend, "run", 0, content="late", kind="run")
        assert mark(spend) == [(0, "first"), (0, "second")]
        spend.shadows.roll_back(taken.id, reason="forced", **BY)
        assert collect(spend) == []
        assert [part.file.content_digest for part in spend.shadows.staged("s1")] == ["rows of second"]

    def test_a_path_that_another_line_names_is_not_given_away(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        order = stage(spend, shadow_record(), 0, content="first")  # the same file, staged with another provenance
        assert spend.shadows.promote([order], **BY) == []
        assert mark(spend) == [(0, "first")]
        assert collect(spend) == []
        assert spend.garbage.paths() == {made_file(0, "first").path}
        assert table(spend) == {0: "first"}

    def test_paths_are_those_of_all_files(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        stage(spend, shadow_record("s2"), 1, content="third")
        empty = replace(made_file(2, "empty"), path="", rows=0, bytes=0)
        spend.shadows.stage("s2", [StagedPartition(file=empty)])
        wanted = {made_file(day, content).path for day, content in ((0, "first"), (0, "second"), (1, "third"))}
        assert other.garbage.paths() == wanted
        mark(spend)
        collect(spend)
        assert other.garbage.paths() == wanted - {made_file(0, "first").path}

    def test_an_id_is_never_used_again(self, spend: RegistryBackend) -> None:
        stage(spend, shadow_record(), 0, content="first")
        (gone,) = spend.shadows.staged("s1")
        spend.shadows.abandon("s1", **BY)
        mark(spend)
        collect(spend)
        stage(spend, shadow_record("s2"), 0, content="second")
        (new,) = spend.shadows.staged("s2")
        assert new.file.id > gone.file.id
