"""What every registry back end must do: a suite that a back end's test inherits.

A back end's whole test is a subclass named ``Test...`` that says how to open a registry in a directory. Each law looks
through a second handle where that could show a difference between what is remembered and what is kept.
"""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from timewell.errors import (
    DuplicateFeature,
    InvalidRequest,
    Superseded,
    TimewellError,
    UnknownGroup,
    VersionConflict,
)
from timewell.stores.registry import DefinitionKind, FileRecord, Lease, ManifestRecord, RegistryBackend
from timewell.testing.alert_laws import AlertLaws
from timewell.testing.erasure_laws import ErasureLaws
from timewell.testing.garbage_laws import GarbageLaws
from timewell.testing.refresher_laws import RefresherLaws
from timewell.testing.registry_opened import Opened
from timewell.testing.registry_records import (
    BY,
    SPEND,
    build_record,
    file_record,
    group_record,
    interval_record,
    source_record,
)
from timewell.testing.rollback_laws import RollbackLaws
from timewell.testing.run_laws import RunLaws
from timewell.testing.shadow_laws import PromoteLaws, StagingLaws
from timewell.testing.skew_laws import SkewLaws
from timewell.types import DAY_US


class DefinitionLaws(Opened):
    """Definitions: immutable revisions, one meaning per version, one group per feature name."""

    def test_a_new_registry_is_empty_and_sound(self, registry: RegistryBackend) -> None:
        assert registry.definitions() == []
        assert registry.audit() == []
        assert registry.manifests() == []
        assert registry.builds() == []
        assert registry.check() == []
        pinned = registry.epoch_map()
        assert (pinned.live, pinned.builds, pinned.snapshots) == ({}, {}, {})
        assert pinned.epoch == registry.epoch()

    def test_what_is_registered_comes_back_whole(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        record = group_record(
            body={"z": 1, "a": [1.5, None, True, {"ü": "\u202e"}]}, resolved={"key_types": ["string"]}
        )
        registry.put([record], **BY)
        kept = replace(record, revision=1, created_us=BY["at_us"], actor=BY["actor"])
        assert other.definitions() == [kept]
        assert list(other.definitions()[0].body) == ["z", "a"]

    def test_definitions_come_oldest_first_and_by_kind(self, registry: RegistryBackend) -> None:
        names = ["zeta", "alpha", "mid"]
        registry.put([group_record(name) for name in names], **BY)
        registry.put([source_record({"path": "a"}, "one")], **BY)
        registry.put([group_record("zeta", body={"owner": "else"})], **BY)
        assert [record.name for record in registry.definitions("group")] == names
        assert [record.name for record in registry.definitions()] == [*names, "shop.orders"]

    def test_registering_again_changes_nothing(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        before = (registry.epoch(), registry.definitions(), registry.audit())
        reordered = dict(reversed(list(group_record().body.items())))
        outcomes = registry.put([group_record(body=reordered)], **BY)
        assert [outcome.action for outcome in outcomes] == ["unchanged"]
        assert (registry.epoch(), registry.definitions(), registry.audit()) == before

    def test_metadata_makes_a_revision_and_no_version(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        epoch = registry.epoch()
        (outcome,) = registry.put([group_record(body={"owner": "new@example.org"})], **BY)
        (kept,) = registry.definitions()
        assert (outcome.action, kept.revision, kept.body) == ("metadata", 2, {"owner": "new@example.org"})
        assert registry.epoch() == epoch

    @pytest.mark.parametrize("kind", ["group", "service"])
    def test_a_version_keeps_its_meaning(self, registry: RegistryBackend, kind: DefinitionKind) -> None:
        registry.put([group_record(kind=kind)], **BY)
        changed = group_record(kind=kind, content_hash="other", body={**group_record().body, "window": "8d"})
        with pytest.raises(VersionConflict) as refused:
            registry.put([changed], **BY)
        assert "window" in str(refused.value)
        with pytest.raises(VersionConflict) as explained:
            registry.put([replace(changed, resolved={"changed": ["closed: left to right"]})], **BY)
        assert "closed: left to right" in str(explained.value)
        assert len(registry.definitions()) == 1

    def test_a_source_may_change_its_meaning(self, registry: RegistryBackend) -> None:
        bodies = [({"path": "a"}, "one"), ({"path": "b"}, "two"), ({"path": "b", "owner": "x"}, "two")]
        outcomes = [registry.put([source_record(body, found)], **BY)[0].action for body, found in bodies]
        assert outcomes == ["created", "new_version", "metadata"]
        assert [record.revision for record in registry.definitions("source")] == [3]

    def test_only_the_first_version_becomes_live(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        epoch = registry.epoch()
        assert epoch > 0
        (outcome,) = registry.put([group_record(version="v2")], **BY)
        assert outcome.action == "new_version"
        assert registry.epoch_map().live == {"spend": "v1"}
        assert registry.epoch() == epoch

    def test_a_feature_belongs_to_one_group(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        with pytest.raises(DuplicateFeature) as refused:
            registry.put([group_record("visits", features=("visits_7d", "spend_7d"))], **BY)
        assert refused.value.facts == {"feature": "spend_7d", "group": "spend"}
        with pytest.raises(DuplicateFeature):
            registry.put([group_record("a", features=("same",)), group_record("b", features=("same",))], **BY)
        assert [record.name for record in registry.definitions()] == ["spend"]

    def test_a_new_version_may_add_and_drop_features(self, registry: RegistryBackend) -> None:
        registry.put([group_record(features=("one", "two"))], **BY)
        registry.put([group_record(version="v2", features=("two", "three"))], **BY)
        with pytest.raises(DuplicateFeature):  # v1 still has it
            registry.put([group_record("visits", features=("one",))], **BY)

    def test_a_refused_definition_leaves_none_of_its_company(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        before = (registry.epoch_map(), registry.definitions(), registry.audit())
        company = [group_record("visits"), group_record(content_hash="other")]
        with pytest.raises(VersionConflict):
            registry.put(company, **BY)
        assert (registry.epoch_map(), registry.definitions(), registry.audit()) == before
        registry.put(company[:1], **BY)  # its feature name was not taken either

    def test_only_plain_data_is_kept(self, registry: RegistryBackend) -> None:
        for odd in (float("nan"), object(), b"bytes"):
            with pytest.raises(InvalidRequest):
                registry.put([group_record(body={"odd": odd})], **BY)
        assert registry.definitions() == []

    @pytest.mark.parametrize("text", ["'; DROP TABLE definition; --", "%s :a ?", 'q"uote', "\\", "名前", "x" * 5_000])
    def test_no_text_is_taken_for_sql(self, registry: RegistryBackend, text: str) -> None:
        registry.put([group_record(text, text, features=(text,))], actor=text, at_us=1)
        assert [(one.name, one.version, one.features) for one in registry.definitions()] == [(text, text, (text,))]
        assert [line.actor for line in registry.audit(subject=text)] == [text]
        assert registry.check() == []


class PartitionLaws(Opened):
    """Tables: snapshots that carry partitions over, a ledger, commits that happen once."""

    @staticmethod
    def commit(registry: RegistryBackend, *days: int, content: str = "first") -> int:
        """Commit files and ledger lines of some days."""
        files = [file_record(day, content) for day in days]
        lines = [interval_record(day, source_fingerprint=content) for day in days]
        return registry.commit_partitions(files, lines, action="materialize_offline", **BY)

    def test_a_commit_shows_as_a_whole(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        epoch = spend.epoch()
        snapshot = self.commit(spend, 2, 0, 1)
        assert [replace(file, id=0) for file in other.files(*SPEND)] == [file_record(day) for day in (0, 1, 2)]
        ledger = [interval_record(day, source_fingerprint="first") for day in (0, 1, 2)]
        assert other.intervals(*SPEND, "offline") == ledger
        assert other.intervals(*SPEND, "online") == []
        assert other.epoch_map().snapshots == {SPEND: snapshot}
        assert other.epoch() == epoch + 1

    def test_partitions_are_replaced_by_their_bounds_and_the_rest_is_carried_over(self, spend: RegistryBackend) -> None:
        first = self.commit(spend, 0, 1, 2)
        second = self.commit(spend, 1, 3, content="second")
        assert [file.path[-12:-8] for file in spend.files(*SPEND)] == ["irst", "cond", "irst", "cond"]
        assert spend.files(*SPEND, second) == spend.files(*SPEND)
        assert [file.start_us // DAY_US for file in spend.files(*SPEND, first)] == [0, 1, 2]
        assert {file.content_digest for file in spend.files(*SPEND, first)} == {"rows of first"}

    def test_a_snapshot_never_changes(self, spend: RegistryBackend) -> None:
        kept: dict[int, list[FileRecord]] = {}
        for step in range(12):
            snapshot = self.commit(spend, step % 5, step % 3, content=f"step {step}")
            kept[snapshot] = spend.files(*SPEND)
        assert sorted(kept) == list(kept)
        assert all(spend.files(*SPEND, snapshot) == files for snapshot, files in kept.items())

    def test_committing_again_changes_nothing(self, spend: RegistryBackend) -> None:
        snapshot = self.commit(spend, 0, 1)
        before = (spend.epoch_map(), spend.files(*SPEND), spend.intervals(*SPEND, "offline"), spend.audit())
        again = [replace(file_record(day), path=f"elsewhere/{day}", checksum="other writer") for day in (0, 1)]
        lines = [interval_record(day, source_fingerprint="first") for day in (0, 1)]
        assert spend.commit_partitions(again, lines, action="materialize_offline", **BY) == snapshot
        assert (spend.epoch_map(), spend.files(*SPEND), spend.intervals(*SPEND, "offline"), spend.audit()) == before

    def test_only_what_differs_is_swapped(self, spend: RegistryBackend) -> None:
        self.commit(spend, 0, 1)
        before = spend.files(*SPEND)
        moved = replace(file_record(0), path="elsewhere")
        spend.commit_partitions([moved, file_record(1, "second")], [], action="materialize_offline", **BY)
        assert spend.files(*SPEND)[0] == before[0]
        assert spend.files(*SPEND)[1].content_digest == "rows of second"

    def test_an_empty_partition_is_kept_as_one(self, spend: RegistryBackend) -> None:
        self.commit(spend, 0)
        empty = replace(file_record(0, "empty"), path="", rows=0, bytes=0)
        spend.commit_partitions([empty], [], action="materialize_offline", **BY)
        assert [(file.path, file.rows) for file in spend.files(*SPEND)] == [("", 0)]

    def test_the_ledger_alone_moves_no_epoch(self, spend: RegistryBackend) -> None:
        pending = interval_record(0, status="pending", rows=0)
        epoch, rows = spend.epoch(), len(spend.audit())
        assert spend.commit_partitions([], [pending], action="materialize_offline", **BY) == 0
        assert spend.intervals(*SPEND, "offline") == [pending]
        assert spend.epoch() == epoch
        assert len(spend.audit()) == rows + 1
        self.commit(spend, 0)
        assert [line.status for line in spend.intervals(*SPEND, "offline")] == ["done"]

    def test_ledgers_of_the_two_stores_are_apart(self, spend: RegistryBackend) -> None:
        lines = [interval_record(0), interval_record(0, store="online", rows=7)]
        spend.commit_partitions([], lines, action="materialize_online", **BY)
        assert spend.intervals(*SPEND, "online") == lines[1:]
        assert spend.intervals(*SPEND, "offline") == lines[:1]

    def test_versions_have_tables_of_their_own(self, spend: RegistryBackend) -> None:
        spend.put([group_record(version="v2")], **BY)
        self.commit(spend, 0)
        spend.commit_partitions([file_record(0, version="v2")], [], action="backfill", **BY)
        assert [file.version for file in spend.files("spend", "v2")] == ["v2"]
        assert len(spend.files(*SPEND)) == 1
        assert set(spend.epoch_map().snapshots) == {SPEND, ("spend", "v2")}

    def test_a_commit_is_about_one_known_version(self, spend: RegistryBackend) -> None:
        with pytest.raises(UnknownGroup):
            spend.commit_partitions([file_record(0, version="v9")], [], action="backfill", **BY)
        mixed = [file_record(0), file_record(0, version="v2")]
        with pytest.raises(InvalidRequest):
            spend.commit_partitions(mixed, [], action="backfill", **BY)
        with pytest.raises(InvalidRequest):
            spend.commit_partitions([], [], action="backfill", **BY)
        assert spend.epoch_map().snapshots == {}

    def test_an_unknown_table_has_no_files(self, spend: RegistryBackend) -> None:
        assert spend.files(*SPEND) == []
        assert spend.files("nobody", "v1") == []
        assert spend.intervals("nobody", "v1", "offline") == []


class PointerLaws(Opened):
    """Online builds, leases and manifests."""

    def test_pointing_at_a_build_moves_the_epoch(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        epoch = spend.epoch()
        assert spend.publish_build(build_record("b1"), **BY) == epoch + 1
        assert spend.publish_build(build_record("b2"), **BY) == epoch + 2
        assert other.epoch_map().builds == {SPEND: "b2"}
        assert other.builds() == [build_record("b2")]

    def test_a_refresh_updates_the_figures_alone(self, spend: RegistryBackend) -> None:
        epoch = spend.publish_build(build_record("b1"), **BY)
        newer = build_record("b1", as_of_us=2 * DAY_US, refresh_seq=2)
        assert spend.publish_build(newer, **BY) == epoch
        assert spend.publish_build(newer, **BY) == epoch
        assert (spend.builds(), spend.epoch()) == ([newer], epoch)

    def test_older_figures_do_not_replace_newer_ones(self, spend: RegistryBackend) -> None:
        newer = build_record("b1", as_of_us=2 * DAY_US, refresh_seq=2)
        spend.publish_build(newer, **BY)
        for late in (build_record("b1"), build_record("b1", as_of_us=2 * DAY_US)):
            with pytest.raises(Superseded):
                spend.publish_build(late, **BY)
        assert spend.builds() == [newer]

    def test_a_build_belongs_to_a_known_version(self, spend: RegistryBackend) -> None:
        with pytest.raises(UnknownGroup):
            spend.publish_build(replace(build_record("b1"), version="v9"), **BY)

    def test_one_holder_at_a_time(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        held = registry.leases.acquire("refresh", "a", now_us=0, ttl_us=10)
        assert held == Lease(name="refresh", holder="a", epoch=1, expires_us=10)
        assert other.leases.acquire("refresh", "b", now_us=9, ttl_us=10) is None
        assert other.leases.acquire("else", "b", now_us=9, ttl_us=10) is not None

    def test_lease_epochs_only_increase(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        claims = [
            registry.leases.acquire("refresh", "a", now_us=0, ttl_us=10),
            registry.leases.acquire("refresh", "a", now_us=5, ttl_us=10),  # the holder's own, renewed
            other.leases.acquire("refresh", "b", now_us=15, ttl_us=10),  # expired at exactly 15
        ]
        held = [claim for claim in claims if claim is not None]
        assert [claim.epoch for claim in held] == [1, 2, 3]
        registry.leases.release(held[1])  # taken over meanwhile
        assert registry.leases.acquire("refresh", "a", now_us=16, ttl_us=10) is None
        other.leases.release(held[2])
        again = registry.leases.acquire("refresh", "a", now_us=16, ttl_us=10)
        assert again is not None
        assert again.epoch == 4

    def test_a_renewed_lease_keeps_its_epoch(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        held = registry.leases.acquire("refresh", "a", now_us=0, ttl_us=10)
        assert held is not None
        assert registry.leases.renew(held, now_us=9, ttl_us=10) == Lease(
            name="refresh", holder="a", epoch=held.epoch, expires_us=19
        )
        assert other.leases.acquire("refresh", "b", now_us=18, ttl_us=10) is None
        assert registry.leases.renew(held, now_us=30, ttl_us=10) is not None  # expired, and nobody had claimed it

    def test_a_lease_that_was_taken_over_is_not_renewed(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        held = registry.leases.acquire("refresh", "a", now_us=0, ttl_us=10)
        taken = other.leases.acquire("refresh", "b", now_us=10, ttl_us=10)
        assert held is not None
        assert taken is not None
        assert registry.leases.renew(held, now_us=11, ttl_us=100) is None
        assert other.leases.acquire("refresh", "c", now_us=20, ttl_us=10) is not None  # b's ended when it should
        other.leases.release(taken)
        assert registry.leases.renew(taken, now_us=12, ttl_us=100) is None

    def test_manifests_are_kept_once_and_oldest_first(self, registry: RegistryBackend) -> None:
        records = [
            ManifestRecord(id=name, created_us=number, body={"n": number}, key_digests="k" * number)
            for number, name in enumerate("zay")
        ]
        for record in [*records, records[0]]:
            registry.put_manifest(record)
        assert registry.manifests() == records

    def test_threads_share_a_registry(self, spend: RegistryBackend) -> None:
        problems: list[TimewellError] = []

        def work(name: str) -> None:
            try:
                for day in range(5):
                    spend.put([group_record(f"{name}_{day}")], **BY)
                    spend.commit_partitions([file_record(day, name)], [], action="materialize_offline", **BY)
                    assert len(spend.files(*SPEND)) > day
            except TimewellError as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cy", "di")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert len(spend.definitions()) == 21
        assert spend.epoch() == 1 + 20 + 20
        assert spend.check() == []


class AuditLaws(Opened):
    """The audit log, and the registry as a whole."""

    def test_every_change_is_written_down(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        registry.commit_partitions([file_record(0)], [interval_record(0)], action="materialize_offline", **BY)
        registry.publish_build(build_record("b1"), **BY)
        registry.note("erase", "user_id", {"keys": 1}, actor="dpo@example.org", at_us=5)
        actions = [line.action for line in registry.audit()]
        assert actions == ["erase", "publish_build", "materialize_offline", "register"]
        newest = registry.audit(limit=1)[0]
        assert (newest.actor, newest.at_us, newest.subject, newest.detail) == (
            "dpo@example.org",
            5,
            "user_id",
            {"keys": 1},
        )

    def test_the_log_is_read_by_subject_newest_first(self, registry: RegistryBackend) -> None:
        for number in range(6):
            registry.note("look", "even" if number % 2 == 0 else "odd", {"number": number}, **BY)
        assert [line.detail["number"] for line in registry.audit(subject="even", limit=2)] == [4, 2]

    def test_digests_differ_and_ids_have_no_gaps(self, registry: RegistryBackend) -> None:
        for _ in range(5):
            registry.note("look", "same", {}, **BY)
        lines = registry.audit()
        assert [line.id for line in lines] == [5, 4, 3, 2, 1]
        assert len({line.digest for line in lines}) == 5

    def test_a_copy_is_a_registry(self, registry: RegistryBackend, tmp_path: Path) -> None:
        registry.put([group_record()], **BY)
        registry.commit_partitions([file_record(0)], [interval_record(0)], action="materialize_offline", **BY)
        registry.state.backup(tmp_path / "copies" / "copy")
        registry.put([group_record("visits")], **BY)
        assert [path.name for path in (tmp_path / "copies").iterdir()] == ["copy"]
        copied = self.open_copy(tmp_path / "copies" / "copy")
        copied.state.create_or_check()
        assert ([record.name for record in copied.definitions()], copied.check()) == (["spend"], [])
        assert (copied.files(*SPEND), len(copied.audit())) == (registry.files(*SPEND), 2)
        copied.close()

    def test_a_fitting_registry_needs_no_upgrade(self, registry: RegistryBackend, tmp_path: Path) -> None:
        registry.put([group_record()], **BY)
        before, after = registry.state.upgrade(tmp_path / "copy")
        assert before == after
        assert not (tmp_path / "copy").exists()
        registry.state.create_or_check()
        assert len(registry.definitions()) == 1

    def test_a_closed_registry_may_be_used_again(self, registry: RegistryBackend) -> None:
        registry.put([group_record()], **BY)
        registry.close()
        assert len(registry.definitions()) == 1


class RegistryLaws(
    DefinitionLaws,
    PartitionLaws,
    PointerLaws,
    AuditLaws,
    StagingLaws,
    PromoteLaws,
    RollbackLaws,
    GarbageLaws,
    ErasureLaws,
    RunLaws,
    AlertLaws,
    RefresherLaws,
    SkewLaws,
):
    """All laws of a registry.

    Examples
    --------
    >>> class TestOurs(RegistryLaws):
    ...     def open_registry(self, place: Path) -> RegistryBackend:
    ...         return ours.open(place / "registry")
    ...
    ...     def open_copy(self, copy: Path) -> RegistryBackend:
    ...         return ours.open(copy)
    """
