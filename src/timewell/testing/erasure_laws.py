"""What every registry does when files are written again without something: they follow everywhere, and nothing else moves."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from timewell.errors import PromoteConflict
from timewell.stores.erasure import Rewritten
from timewell.stores.garbage import Pin
from timewell.stores.registry import FileRecord, RegistryBackend
from timewell.stores.shadows import PromoteOrder, StagedPartition, ValidationRecord, staged_digest
from timewell.testing.registry_opened import Opened
from timewell.testing.registry_records import (
    BY,
    SPEND,
    group_record,
    ledger,
    made_file,
    promote,
    shadow_record,
    stage,
    table,
)


def without(file: FileRecord) -> FileRecord:
    """Return the record of a file that was written again with one row less; it says nothing of its making."""
    changed: dict[str, Any] = {
        name: f"{getattr(file, name)} less one" for name in ("path", "checksum", "content_digest")
    }
    blank: dict[str, Any] = {"content_hash": "", "source_fingerprint": "", "rows_digest": "", "watermark_us": 0}
    return replace(file, id=0, rows=file.rows - 1, bytes=900, **changed, **blank)


def take_out(registry: RegistryBackend, *contents: str) -> Rewritten:
    """Write every file of ``spend@v1`` with some contents again."""
    chosen = {f"rows of {content}" for content in contents}
    written = {file.path: without(file) for file in registry.erasure.files(*SPEND) if file.content_digest in chosen}
    return registry.erasure.rewrite(*SPEND, written, **BY)


def report(shadow: str, body: dict[str, object]) -> ValidationRecord:
    """Return a validation of a shadow."""
    return ValidationRecord(id=f"of {shadow}", shadow=shadow, at_us=5, passed=True, staged_digest="d", body=body)


class ErasureLaws(Opened):
    """Rewriting files wherever they are named, reports, and wiping."""

    def test_every_file_is_known_live_or_not(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.put([group_record(version="v2", content_hash="another")], **BY)
        promote(spend, "s0", 0, 1, content="first")
        promote(spend, "s1", 0, content="second")
        stage(spend, shadow_record("s2"), 2, content="third")
        spend.shadows.abandon("s2", **BY)
        spend.garbage.mark(now_us=BY["at_us"] + 1, keep_us=0)
        stage(spend, shadow_record("s3", version="v2"), 0, content="elsewhere")
        found = [(file.start_us and 1, file.content_digest) for file in other.erasure.files(*SPEND)]
        assert sorted(found) == [
            (0, "rows of first"),
            (0, "rows of second"),
            (1, "rows of first"),
            (1, "rows of third"),
        ]

    def test_every_snapshot_names_the_new_files(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, 1, content="first")
        second = promote(spend, "s1", 1, 2, content="second")
        third = promote(spend, "s2", 0, content="third")
        epoch, lines = spend.epoch(), spend.intervals(*SPEND, "offline")
        done = take_out(spend, "first")
        assert done == Rewritten(snapshots=2)
        assert table(other, snapshot=first.snapshot) == {0: "first less one", 1: "first less one"}
        assert table(other, snapshot=second.snapshot) == {0: "first less one", 1: "second", 2: "second"}
        assert table(other) == table(other, snapshot=third.snapshot) == {0: "third", 1: "second", 2: "second"}
        assert (other.epoch(), other.intervals(*SPEND, "offline")) == (epoch, lines)
        assert other.garbage.paths() == {file.path for file in other.erasure.files(*SPEND)}
        assert len(other.garbage.paths()) == 5
        assert other.check() == []

    def test_live_files_move_the_epoch_and_leave_snapshot_and_ledger(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        promote(spend, "s0", 0, 1, content="first")
        pinned, lines = spend.epoch_map(), spend.intervals(*SPEND, "offline")
        assert take_out(spend, "first") == Rewritten()
        assert table(other) == {0: "first less one", 1: "first less one"}
        assert (other.epoch(), other.epoch_map().snapshots) == (pinned.epoch + 1, pinned.snapshots)
        assert other.intervals(*SPEND, "offline") == lines  # more rows than the files: something was taken out
        told = other.audit(limit=1)[0]
        facts = {"version": "v1", "files": 2, "rows": 2, "snapshots": 0, "shadows": []}
        assert (told.action, told.subject, told.detail) == ("forget", "spend", facts)

    def test_a_new_file_has_a_new_id_and_does_not_say_what_state_of_the_source_it_has(
        self, spend: RegistryBackend
    ) -> None:
        promote(spend, "s0", 0, content="first")
        (old,) = spend.files(*SPEND)
        take_out(spend, "first")
        (new,) = spend.files(*SPEND)
        assert new.id > old.id
        kept: dict[str, Any] = {"content_hash": old.content_hash, "watermark_us": old.watermark_us}
        assert new == replace(without(old), id=new.id, **kept)
        assert (new.source_fingerprint, new.rows_digest) == ("", "")

    def test_a_promotion_is_taken_back_to_the_new_files(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        taken = promote(spend, "s1", 1, 2, content="second")
        assert take_out(spend, "first", "second").snapshots == 1
        other.shadows.roll_back(taken.id, **BY)
        assert table(spend) == {0: "first less one", 1: "first less one"}
        staged = other.shadows.staged("s1")
        assert [part.file.content_digest for part in staged] == ["rows of second less one"] * 2
        other.shadows.promote([PromoteOrder(shadow="s1", staged_digest=staged_digest(staged))], **BY)
        assert table(spend) == {0: "first less one", 1: "second less one", 2: "second less one"}
        assert ledger(spend)[2] == ("done", "")  # what a run then finds to be computed again

    def test_a_rollback_may_be_taken_back_too(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        taken = promote(spend, "s1", 0, content="second")
        spend.shadows.roll_back(taken.id, **BY)
        take_out(spend, "second")
        order = PromoteOrder(shadow="s1", staged_digest=staged_digest(spend.shadows.staged("s1")))
        (again,) = spend.shadows.promote([order], **BY)
        assert table(spend) == {0: "second less one"}
        take_out(spend, "first")
        spend.shadows.roll_back(again.id, **BY)
        assert table(spend) == {0: "first less one"}

    def test_an_open_shadow_holds_the_new_files_beside_the_same_live_ones(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        promote(spend, "s0", 0, 1, content="first")
        order = stage(spend, shadow_record(), 1, 2, content="second")
        assert take_out(spend, "first", "second") == Rewritten(shadows=("s1",))
        staged = other.shadows.staged("s1")
        assert staged_digest(staged) != order.staged_digest
        assert [part.base_file for part in staged] == [other.files(*SPEND)[1].id, 0]
        other.shadows.promote([replace(order, staged_digest=staged_digest(staged))], **BY)
        assert table(other) == {0: "first less one", 1: "second less one", 2: "second less one"}

    def test_what_was_staged_against_the_old_file_meanwhile_is_refused(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        (old,) = spend.files(*SPEND)
        take_out(spend, "first")
        spend.shadows.open(shadow_record(), **BY)
        spend.shadows.stage("s1", [StagedPartition(file=made_file(0, "second"), base_file=old.id)])
        order = PromoteOrder(shadow="s1", staged_digest=staged_digest(spend.shadows.staged("s1")))
        with pytest.raises(PromoteConflict):
            spend.shadows.promote([order], **BY)

    def test_lines_that_share_a_path_follow_together(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        stage(spend, shadow_record(), 0, content="first")  # the live file, with another provenance
        assert take_out(spend, "first") == Rewritten(shadows=("s1",))
        assert {file.path for file in spend.erasure.files(*SPEND)} == {without(made_file(0, "first")).path}
        assert len(spend.erasure.files(*SPEND)) == 2

    def test_marks_and_pins_hold_what_they_held(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, content="first")
        promote(spend, "s1", 0, content="second")
        at_us = BY["at_us"]
        spend.garbage.mark(now_us=at_us + 1, keep_us=0)
        take_out(spend, "first")
        pin = Pin(name="reader", group="spend", version="v1", snapshot=first.snapshot, expires_us=at_us + 10)
        spend.garbage.pin([pin])
        assert other.garbage.collect(marked_before_us=at_us + 2, actor="gc", at_us=at_us + 2) == []
        (gone,) = other.garbage.collect(marked_before_us=at_us + 2, actor="gc", at_us=at_us + 20)
        assert gone.content_digest == "rows of first less one"

    def test_thousands_of_files_follow(self, spend: RegistryBackend) -> None:
        days = range(1_200)  # more than one statement takes
        first = promote(spend, "s0", *days, content="first")
        taken = promote(spend, "s1", *days, content="second")
        assert take_out(spend, "first", "second") == Rewritten(snapshots=1)
        assert set(table(spend, snapshot=first.snapshot).values()) == {"first less one"}
        spend.shadows.roll_back(taken.id, **BY)
        assert table(spend) == dict.fromkeys(days, "first less one")
        assert spend.check() == []

    def test_doing_it_again_or_for_nothing_writes_nothing(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        (old,) = spend.files(*SPEND)
        take_out(spend, "first")
        rows, epoch = spend.audit(), spend.epoch()
        assert spend.erasure.rewrite(*SPEND, {old.path: without(old)}, **BY) == Rewritten()
        assert spend.erasure.rewrite(*SPEND, {}, **BY) == Rewritten()
        assert (spend.audit(), spend.epoch()) == (rows, epoch)

    def test_reports_are_replaced_and_decide_what_they_decided(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        for shadow in ("s1", "s2"):
            stage(spend, shadow_record(shadow), 0, content="first")
            spend.shadows.keep_validation(report(shadow, {"told": ["anna", 7]}), actor="mel@example.org")
        assert [one.shadow for one in other.erasure.reports("spend")] == ["s1", "s2"]
        assert other.erasure.reports("else") == []
        other.erasure.replace_reports({"of s1": {"told": [7]}, "of nobody": {}})
        other.erasure.replace_reports({})
        assert spend.shadows.validations("s1") == [report("s1", {"told": [7]})]
        assert spend.shadows.validations("s2") == [report("s2", {"told": ["anna", 7]})]

    def test_wiping_changes_nothing_that_is_read(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        before = (table(other), other.audit(), other.epoch_map(), other.erasure.files(*SPEND))
        spend.erasure.wipe()
        assert (table(other), other.audit(), other.epoch_map(), other.erasure.files(*SPEND)) == before
        assert promote(other, "s1", 0, content="second").partitions == 1
        assert other.check() == []
