"""What every registry does with shadows: staging is invisible, and a promote is one change or none.

Laws look through a second handle where that could show a difference between what is remembered and what is kept.
"""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from dataclasses import replace

import pytest

from timewell.errors import InvalidRequest, PromoteConflict, ShadowClosed, Superseded, UnknownGroup
from timewell.stores.registry import RegistryBackend
from timewell.stores.shadows import PromoteOrder, StagedPartition, ValidationRecord, staged_digest
from timewell.testing.registry_opened import Opened
from timewell.testing.registry_records import (
    BY,
    SPEND,
    build_record,
    group_record,
    ledger,
    made_file,
    promote,
    shadow_record,
    stage,
    table,
)
from timewell.types import DAY_US, format_instant


def looks(registry: RegistryBackend) -> object:
    """Return everything that a reader or an operator can see, except for the audit log and the shadows."""
    pinned = registry.epoch_map()
    tables = [(registry.files(*key), registry.intervals(*key, "offline")) for key in sorted(pinned.snapshots)]
    return (pinned, tables, registry.builds(), registry.shadows.promotions())


class StagingLaws(Opened):
    """Shadows: opened, filled, reported on, closed."""

    def test_staging_shows_to_no_reader(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        before = looks(other)
        stage(spend, shadow_record(), 0, 1, content="second")
        assert looks(other) == before
        assert len(other.shadows.staged("s1")) == 2

    def test_what_is_staged_comes_back_whole_and_by_partition(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        spend.shadows.open(shadow_record(), **BY)
        parts = [StagedPartition(file=made_file(day, "first"), base_file=day) for day in (2, 0, 1)]
        spend.shadows.stage("s1", parts)
        found = other.shadows.staged("s1")
        assert [replace(part.file, id=0) for part in found] == [made_file(day, "first") for day in (0, 1, 2)]
        assert [part.base_file for part in found] == [0, 1, 2]
        assert len({part.file.id for part in found} - {0}) == 3

    def test_staging_again_replaces_the_same_bounds(self, spend: RegistryBackend) -> None:
        stage(spend, shadow_record(), 0, 1, content="first")
        stage(spend, shadow_record(), 1, 2, content="second")
        found = [part.file.content_digest for part in spend.shadows.staged("s1")]
        assert found == ["rows of first", "rows of second", "rows of second"]
        twice = [StagedPartition(file=made_file(0, content)) for content in ("third", "fourth")]
        spend.shadows.stage("s1", twice)
        assert spend.shadows.staged("s1")[0].file.content_digest == "rows of fourth"

    def test_opening_again_returns_the_first(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = spend.shadows.open(shadow_record(), **BY)
        assert (first.created_us, first.actor) == (BY["at_us"], BY["actor"])
        again = other.shadows.open(shadow_record(end_us=DAY_US), actor="else", at_us=1)
        assert again == first
        assert other.shadows.find() == [first]

    def test_a_shadow_is_of_a_known_version(self, spend: RegistryBackend) -> None:
        with pytest.raises(UnknownGroup):
            spend.shadows.open(shadow_record(version="v9"), **BY)
        assert spend.shadows.find() == []

    def test_a_shadow_holds_one_version(self, spend: RegistryBackend) -> None:
        spend.shadows.open(shadow_record(), **BY)
        mixed = [StagedPartition(file=made_file(day, "first", version=f"v{day}")) for day in (1, 2)]
        with pytest.raises(InvalidRequest):
            spend.shadows.stage("s1", mixed)
        assert spend.shadows.staged("s1") == []

    def test_shadows_are_found_by_group_and_status_oldest_first(self, spend: RegistryBackend) -> None:
        spend.put([group_record("visits")], **BY)
        for name in ("z", "a", "m"):
            spend.shadows.open(shadow_record(name), **BY)
        spend.shadows.open(shadow_record("other", group="visits"), **BY)
        spend.shadows.abandon("a", **BY)
        assert [one.id for one in spend.shadows.find("spend")] == ["z", "a", "m"]
        assert [one.id for one in spend.shadows.find("spend", status="open")] == ["z", "m"]
        assert [one.id for one in spend.shadows.find(status="abandoned")] == ["a"]
        assert [one.id for one in spend.shadows.find("visits")] == ["other"]

    def test_a_closed_shadow_takes_nothing(self, spend: RegistryBackend) -> None:
        promote(spend, "promoted", 0, content="first")
        spend.shadows.open(shadow_record("abandoned"), **BY)
        spend.shadows.abandon("abandoned", **BY)
        before = looks(spend)
        for name in ("promoted", "abandoned", "not there"):
            with pytest.raises(ShadowClosed, match=name):
                spend.shadows.stage(name, [StagedPartition(file=made_file(5, "late"))])
            with pytest.raises(ShadowClosed):
                spend.shadows.promote([PromoteOrder(shadow=name, staged_digest=staged_digest([]))], **BY)
            with pytest.raises(ShadowClosed):
                spend.shadows.abandon(name, **BY)
        assert looks(spend) == before

    def test_reports_are_kept_once_and_oldest_first(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        order = stage(spend, shadow_record(), 0, content="first")
        records = [
            ValidationRecord(
                id=name, shadow="s1", at_us=at, passed=name == "a", staged_digest=order.staged_digest, body={"at": [at]}
            )
            for at, name in enumerate("za")
        ]
        for record in [*records, records[0]]:
            spend.shadows.keep_validation(record, actor="val@example.org")
        assert other.shadows.validations("s1") == records
        assert other.shadows.validations("s2") == []
        told = [(line.actor, line.subject) for line in other.audit() if line.action == "validate"]
        assert told == [("val@example.org", "spend")] * 2
        with pytest.raises(ShadowClosed):
            spend.shadows.keep_validation(replace(records[0], id="x", shadow="not there"), actor="val@example.org")

    def test_what_is_abandoned_shows_to_no_reader_either(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        stage(spend, shadow_record(), 0, content="first")
        before = looks(other)
        spend.shadows.abandon("s1", **BY)
        assert looks(other) == before
        assert other.audit(limit=1)[0].action == "abandon_shadow"


class PromoteLaws(Opened):
    """Promotes: exactly what was staged, against what it was staged against, all or nothing."""

    def test_a_promote_shows_as_a_whole(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        epoch, rows = spend.epoch(), len(spend.audit())
        order = replace(stage(spend, shadow_record(), 1, 0, content="first"), reason="known")
        (done,) = spend.shadows.promote([order], actor="ann@example.org", at_us=7)
        assert (table(other), ledger(other)) == ({0: "first", 1: "first"}, dict.fromkeys((0, 1), ("done", "first")))
        pinned = other.epoch_map()
        assert (pinned.epoch, pinned.live, pinned.snapshots) == (epoch + 1, {"spend": "v1"}, {SPEND: done.snapshot})
        assert other.shadows.promotions() == [done]
        assert (done.kind, done.group, done.shadow, done.from_version, done.to_version) == (
            "promote", "spend", "s1", "v1", "v1",
        )  # fmt: skip
        assert (done.partitions, done.epoch, done.at_us, done.actor, done.reason) == (
            2, epoch + 1, 7, "ann@example.org", "known",
        )  # fmt: skip
        assert (done.undoes, done.undone_by) == (0, 0)
        assert [one.status for one in other.shadows.find()] == ["promoted"]
        told = other.audit(limit=1)[0]
        assert (told.action, told.subject, told.actor, told.detail["reason"]) == (
            "promote", "spend", "ann@example.org", "known",
        )  # fmt: skip
        assert len(other.audit()) == rows + 2  # the shadow was opened, and promoted
        assert other.check() == []

    def test_files_bring_their_lines_of_the_ledger(self, spend: RegistryBackend) -> None:
        promote(spend, "s1", 3, content="first")
        (file,), (line,) = spend.files(*SPEND), spend.intervals(*SPEND, "offline")
        names = ("content_hash", "source_fingerprint", "rows_digest", "watermark_us", "rows", "start_us", "end_us")
        assert [getattr(line, name) for name in names] == [getattr(file, name) for name in names]
        assert replace(file, id=0) == made_file(3, "first")

    def test_exactly_what_was_staged_is_swapped(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        first = promote(spend, "s0", 0, 1, 2, content="first")
        order = stage(spend, shadow_record(), 1, content="second")
        promote(other, "run", 3, content="later", kind="run")
        spend.shadows.promote([order], **BY)
        assert table(other) == {0: "first", 1: "second", 2: "first", 3: "later"}
        assert ledger(other)[3] == ("done", "later")
        assert table(other, snapshot=first.snapshot) == dict.fromkeys((0, 1, 2), "first")

    def test_a_partition_that_changed_since_refuses_it(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        order = stage(spend, shadow_record(), 0, 1, 2, content="second")
        promote(other, "run", 1, 2, content="late", kind="run")
        before, rows = looks(spend), spend.audit()
        with pytest.raises(PromoteConflict) as refused:
            spend.shadows.promote([order], **BY)
        assert refused.value.facts["starts"] == [format_instant(day * DAY_US) for day in (1, 2)]
        assert (refused.value.facts["feature"], refused.value.facts["count"]) == ("spend", 2)
        assert (looks(other), other.audit()) == (before, rows)
        assert [one.status for one in other.shadows.find(status="open")] == ["open"]
        again = stage(spend, shadow_record(), 1, 2, content="mended")
        spend.shadows.promote([again], **BY)
        assert table(other) == {0: "second", 1: "mended", 2: "mended"}

    def test_many_conflicts_are_counted_and_the_first_named(self, spend: RegistryBackend) -> None:
        order = stage(spend, shadow_record(), *range(9), content="second")
        promote(spend, "run", *range(9), content="late", kind="run")
        with pytest.raises(PromoteConflict, match="9 partitions") as refused:
            spend.shadows.promote([order], **BY)
        assert "and 4 more" in str(refused.value)

    def test_equal_content_is_no_conflict(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        order = stage(spend, shadow_record(), 0, 1, content="same")
        lines = [replace(made_file(0, "same"), path="elsewhere", source_fingerprint="source of before")]
        spend.shadows.open(shadow_record("run", kind="run"), **BY)
        spend.shadows.stage("run", [StagedPartition(file=file) for file in lines])
        spend.shadows.promote(
            [PromoteOrder(shadow="run", staged_digest=staged_digest(spend.shadows.staged("run")))], **BY
        )
        live = other.files(*SPEND)[0]
        (done,) = spend.shadows.promote([order], **BY)
        assert done.partitions == 1
        kept = other.files(*SPEND)[0]
        assert (kept.id, kept.path, kept.source_fingerprint) == (live.id, "elsewhere", "source of same")
        assert ledger(other) == dict.fromkeys((0, 1), ("done", "same"))

    def test_where_nothing_changes_nothing_is_written(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        order = stage(spend, shadow_record(), 0, 1, content="first")
        before, rows = looks(spend), spend.audit()
        assert spend.shadows.promote([order], **BY) == []
        assert (looks(other), other.audit()) == (before, rows)
        assert [one.status for one in other.shadows.find()] == ["promoted", "promoted"]
        assert spend.shadows.promote([], **BY) == []

    def test_the_ledger_alone_is_no_promotion(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        epoch, rows = spend.epoch(), len(spend.audit())
        spend.shadows.open(shadow_record(), **BY)
        touched = replace(made_file(0, "first"), source_fingerprint="source of touched")
        spend.shadows.stage("s1", [StagedPartition(file=touched)])
        order = PromoteOrder(shadow="s1", staged_digest=staged_digest(spend.shadows.staged("s1")))
        assert spend.shadows.promote([order], **BY) == []
        assert (ledger(other), other.epoch()) == ({0: ("done", "touched")}, epoch)
        assert len(other.shadows.promotions()) == 1
        assert len(other.audit()) == rows + 2

    def test_other_files_than_those_validated_are_refused(self, spend: RegistryBackend) -> None:
        order = stage(spend, shadow_record(), 0, content="first")
        stage(spend, shadow_record(), 0, content="second")
        before = looks(spend)
        with pytest.raises(Superseded):
            spend.shadows.promote([order], **BY)
        assert looks(spend) == before

    def test_several_groups_switch_at_one_epoch(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.put([group_record("visits")], **BY)
        epoch = spend.epoch()
        orders = [
            stage(spend, shadow_record(), 0, content="first"),
            stage(spend, shadow_record("s2", group="visits"), 0, content="first"),
        ]
        done = spend.shadows.promote(orders, **BY)
        assert [(one.group, one.epoch) for one in done] == [("spend", epoch + 1), ("visits", epoch + 1)]
        assert other.epoch() == epoch + 1
        assert set(other.epoch_map().snapshots) == {SPEND, ("visits", "v1")}
        assert [line.subject for line in other.audit() if line.action == "promote"] == ["visits", "spend"]

    def test_several_groups_or_none(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.put([group_record("visits")], **BY)
        names = [("s1", "spend"), ("s2", "visits")]
        orders = [stage(spend, shadow_record(one, group=group), 0, content="second") for one, group in names]
        told = []
        for one, group in names:
            late = stage(other, shadow_record(f"late {one}", group=group), 0, content="late")
            other.shadows.promote([late], **BY)
            before, rows = looks(other), other.audit()
            with pytest.raises(PromoteConflict) as refused:
                spend.shadows.promote(orders, **BY)
            assert (looks(other), other.audit()) == (before, rows)
            told.append((refused.value.facts["feature"], refused.value.facts["count"]))
        assert told == [("spend", 1), ("spend, visits", 2)]
        assert [one.status for one in other.shadows.find(status="open")] == ["open", "open"]

    def test_two_shadows_of_one_partition_do_not_go_together(self, spend: RegistryBackend) -> None:
        orders = [stage(spend, shadow_record(one), 0, content=one) for one in ("s1", "s2")]
        before = looks(spend)
        with pytest.raises(PromoteConflict):
            spend.shadows.promote(orders, **BY)
        assert looks(spend) == before

    def test_a_new_version_becomes_live(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.put([group_record(version="v2")], **BY)
        promote(spend, "s0", 0, 1, content="first")
        epoch = spend.epoch()
        done = promote(spend, "s1", 0, content="second", version="v2")
        assert (done.from_version, done.to_version, done.epoch) == ("v1", "v2", epoch + 1)
        assert (other.epoch_map().live, other.epoch()) == ({"spend": "v2"}, epoch + 1)
        assert (table(other), table(other, "v2")) == ({0: "first", 1: "first"}, {0: "second"})

    def test_a_run_does_not_make_its_version_live(self, spend: RegistryBackend) -> None:
        spend.put([group_record(version="v2")], **BY)
        done = promote(spend, "s1", 0, content="waiting", version="v2", kind="run")
        assert (spend.epoch_map().live, done.from_version, done.to_version) == ({"spend": "v1"}, "v2", "v2")
        promote(spend, "s2", 1, content="second", version="v2")
        promote(spend, "s3", 0, content="left", kind="run")
        assert spend.epoch_map().live == {"spend": "v2"}
        assert (table(spend), table(spend, "v2")) == ({0: "left"}, {0: "waiting", 1: "second"})

    def test_what_a_function_wrote_is_held(self, spend: RegistryBackend) -> None:
        promote(spend, "s1", 0, content="by hand", engine="function")
        assert ledger(spend) == {0: ("held", "by hand")}
        promote(spend, "s2", 0, content="computed")
        assert ledger(spend) == {0: ("done", "computed")}

    def test_the_online_build_comes_with_it(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.publish_build(build_record("b1"), **BY)
        epoch = spend.epoch()
        order = replace(stage(spend, shadow_record(), 0, content="first"), build=build_record("b2"))
        spend.shadows.promote([order], **BY)
        assert (other.epoch_map().builds, other.epoch()) == ({SPEND: "b2"}, epoch + 1)
        newer = build_record("b2", as_of_us=2 * DAY_US, refresh_seq=2)
        figures = replace(stage(spend, shadow_record("s2"), 0, content="first"), build=newer)
        assert spend.shadows.promote([figures], **BY) == []
        assert (other.builds(), other.epoch()) == ([newer], epoch + 1)

    def test_a_build_alone_is_a_promotion(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        epoch = spend.epoch()
        order = replace(stage(spend, shadow_record(), 0, content="first"), build=build_record("b1"))
        (done,) = spend.shadows.promote([order], **BY)
        assert (done.partitions, done.epoch, other.epoch()) == (0, epoch + 1, epoch + 1)
        assert other.epoch_map().builds == {SPEND: "b1"}
        assert other.audit(limit=1)[0].detail["build"] == "b1"

    def test_a_build_that_does_not_fit_refuses_it(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        spend.publish_build(build_record("b1", as_of_us=2 * DAY_US, refresh_seq=2), **BY)
        order = stage(spend, shadow_record(), 0, content="first")
        before = looks(other)
        with pytest.raises(Superseded):
            spend.shadows.promote([replace(order, build=build_record("b1"))], **BY)
        with pytest.raises(InvalidRequest):
            spend.shadows.promote([replace(order, build=replace(build_record("b2"), version="v2"))], **BY)
        assert looks(other) == before
        spend.shadows.promote([order], **BY)
