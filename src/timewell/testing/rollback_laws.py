"""What every registry does when a promotion is taken back: what it replaced returns, what came after it stays."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from timewell.errors import InvalidRequest, PromoteConflict, SnapshotCollected, UnknownPromotion
from timewell.stores.registry import RegistryBackend
from timewell.stores.shadows import PromoteOrder, staged_digest
from timewell.testing.registry_opened import Opened
from timewell.testing.registry_records import BY, SPEND, build_record, group_record, ledger, promote, table
from timewell.testing.shadow_laws import looks
from timewell.types import DAY_US, format_instant


def again(registry: RegistryBackend, shadow: str) -> PromoteOrder:
    """Return the order to promote what a shadow holds."""
    return PromoteOrder(shadow=shadow, staged_digest=staged_digest(registry.shadows.staged(shadow)))


class RollbackLaws(Opened):
    """Rollbacks, within a version and between versions."""

    def test_the_files_it_replaced_return_and_the_rest_stays(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        promote(spend, "s0", 0, 1, content="first")
        old = {file.start_us: file for file in spend.files(*SPEND)}
        taken = promote(spend, "s1", 1, 2, content="second")
        promote(spend, "run", 3, content="later", kind="run")
        epoch = spend.epoch()
        done = spend.shadows.roll_back(taken.id, actor="bo@example.org", at_us=9, reason="wrong currency")
        assert table(other) == {0: "first", 1: "first", 3: "later"}
        assert other.files(*SPEND)[1] == old[DAY_US]
        assert (done.kind, done.undoes, done.partitions, done.epoch) == ("rollback", taken.id, 2, epoch + 1)
        assert (other.epoch(), other.epoch_map().snapshots) == (epoch + 1, {SPEND: done.snapshot})
        told = other.audit(limit=1)[0]
        assert (told.action, told.actor, told.detail["reason"]) == ("rollback", "bo@example.org", "wrong currency")
        assert table(other, snapshot=taken.snapshot) == {0: "first", 1: "second", 2: "second"}
        assert other.check() == []

    def test_what_is_restored_is_held_and_tells_what_it_was_computed_from(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        (line,) = [line for line in spend.intervals(*SPEND, "offline") if line.start_us == DAY_US]
        taken = promote(spend, "s1", 1, 2, content="second")
        spend.shadows.roll_back(taken.id, **BY)
        assert ledger(spend) == {0: ("done", "first"), 1: ("held", "first"), 2: ("held", "")}
        kept, gone = spend.intervals(*SPEND, "offline")[1:]
        assert (kept, gone.rows) == (replace(line, status="held"), 0)
        promote(spend, "s2", 1, 2, content="third")
        assert ledger(spend) == {0: ("done", "first"), 1: ("done", "third"), 2: ("done", "third")}

    def test_the_first_promote_taken_back_leaves_an_empty_table(self, spend: RegistryBackend) -> None:
        taken = promote(spend, "s1", 0, 1, content="first")
        done = spend.shadows.roll_back(taken.id, **BY)
        assert (table(spend), table(spend, snapshot=done.snapshot)) == ({}, {})
        assert table(spend, snapshot=taken.snapshot) == {0: "first", 1: "first"}

    def test_between_versions_the_name_returns_and_both_tables_stay(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        spend.put([group_record(version="v2")], **BY)
        before = promote(spend, "s0", 0, content="first")
        taken = promote(spend, "s1", 0, 1, content="second", version="v2")
        promote(spend, "run", 2, content="later", version="v2", kind="run")
        epoch = spend.epoch()
        done = spend.shadows.roll_back(taken.id, build=build_record("b1"), **BY)
        assert (done.from_version, done.to_version, done.snapshot) == ("v2", "v1", before.snapshot)
        pinned = other.epoch_map()
        assert (pinned.live, pinned.epoch, pinned.builds) == ({"spend": "v1"}, epoch + 1, {SPEND: "b1"})
        assert (table(other), table(other, "v2")) == ({0: "first"}, {0: "second", 1: "second", 2: "later"})
        assert set(ledger(other, "v2").values()) == {("done", "second"), ("done", "later")}

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_it_can_be_promoted_again(self, spend: RegistryBackend, other: RegistryBackend, version: str) -> None:
        spend.put([group_record(version="v2")], **BY)
        promote(spend, "s0", 0, 1, 2, content="first")
        taken = promote(spend, "s1", 1, 2, 3, content="second", version=version)
        after = (table(spend, version), spend.epoch_map().live, ledger(spend, version))
        for _ in range(3):
            spend.shadows.roll_back(taken.id, **BY)
            assert [one.status for one in other.shadows.find() if one.id == "s1"] == ["open"]
            assert other.epoch_map().live == {"spend": "v1"}
            assert table(other) == dict.fromkeys(range(3), "first")
            (taken,) = other.shadows.promote([again(other, "s1")], **BY)
            assert (table(spend, version), spend.epoch_map().live, ledger(spend, version)) == after
        assert spend.check() == []

    def test_partitions_that_were_equal_belong_to_the_shadow_still(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="same")
        promote(spend, "s1", 1, content="else")
        taken = promote(spend, "s2", 0, 1, content="same")
        assert taken.partitions == 1
        spend.shadows.roll_back(taken.id, **BY)
        spend.garbage.mark(now_us=BY["at_us"] + 10, keep_us=0)
        spend.garbage.collect(marked_before_us=BY["at_us"] + 20, actor="gc", at_us=BY["at_us"] + 20)
        (done,) = spend.shadows.promote([again(spend, "s2")], **BY)
        assert (done.partitions, table(spend)) == (1, {0: "same", 1: "same"})

    def test_the_shadow_of_a_run_does_not_open_again(self, spend: RegistryBackend) -> None:
        taken = promote(spend, "run", 0, content="first", kind="run")
        spend.shadows.roll_back(taken.id, **BY)
        assert [one.status for one in spend.shadows.find()] == ["abandoned"]

    def test_history_tells_what_was_taken_back_newest_first(
        self, spend: RegistryBackend, other: RegistryBackend
    ) -> None:
        spend.put([group_record("visits")], **BY)
        first = promote(spend, "s0", 0, content="first")
        second = promote(spend, "s1", 0, content="second")
        promote(spend, "s2", 0, content="first", group="visits")
        back = spend.shadows.roll_back(second.id, **BY)
        told = [(one.id, one.kind, one.undoes, one.undone_by) for one in other.shadows.promotions("spend")]
        assert told == [
            (back.id, "rollback", second.id, 0),
            (second.id, "promote", 0, back.id),
            (first.id, "promote", 0, 0),
        ]
        assert len(other.shadows.promotions()) == 4

    def test_only_a_standing_promotion_is_taken_back(self, spend: RegistryBackend) -> None:
        taken = promote(spend, "s1", 0, content="first")
        back = spend.shadows.roll_back(taken.id, **BY)
        before, rows = looks(spend), spend.audit()
        for number in (taken.id, back.id, 99):
            with pytest.raises(UnknownPromotion, match=str(number)):
                spend.shadows.roll_back(number, **BY)
        assert (looks(spend), spend.audit()) == (before, rows)

    def test_what_changed_since_refuses_it(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        taken = promote(spend, "s1", 0, 1, content="second")
        promote(spend, "run", 1, content="late", kind="run")
        before, rows = looks(spend), spend.audit()
        with pytest.raises(PromoteConflict) as refused:
            spend.shadows.roll_back(taken.id, **BY)
        assert refused.value.facts["starts"] == [format_instant(DAY_US)]
        assert "reason" in refused.value.hint
        assert (looks(other), other.audit()) == (before, rows)

    def test_a_reason_restores_what_changed_since_too(self, spend: RegistryBackend, other: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        taken = promote(spend, "s1", 0, 1, content="second")
        late = promote(spend, "run", 1, 2, content="late", kind="run")
        spend.shadows.roll_back(taken.id, reason="all of it was wrong", **BY)
        assert table(other) == {0: "first", 1: "first", 2: "late"}
        with pytest.raises(PromoteConflict):  # its partition was changed in turn
            spend.shadows.roll_back(late.id, **BY)

    def test_an_older_promotion_of_other_partitions_is_taken_back_alone(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, 1, content="first")
        taken = promote(spend, "s1", 0, content="second")
        promote(spend, "s2", 1, content="third")
        spend.shadows.roll_back(taken.id, **BY)
        assert table(spend) == {0: "first", 1: "third"}

    def test_a_move_of_the_name_on_which_another_stands_is_refused(self, spend: RegistryBackend) -> None:
        spend.put([group_record(version=version) for version in ("v2", "v3")], **BY)
        within = promote(spend, "s0", 0, content="first")
        second = promote(spend, "s1", 0, content="second", version="v2")
        third = promote(spend, "s2", 0, content="third", version="v3")
        before = looks(spend)
        with pytest.raises(PromoteConflict, match="v2 to v3"):
            spend.shadows.roll_back(second.id, **BY)
        assert looks(spend) == before
        spend.shadows.roll_back(within.id, **BY)  # a table of its own
        spend.shadows.roll_back(third.id, **BY)
        spend.shadows.roll_back(second.id, **BY)
        assert spend.epoch_map().live == {"spend": "v1"}

    def test_a_reason_takes_it_back_all_the_same(self, spend: RegistryBackend) -> None:
        spend.put([group_record(version=version) for version in ("v2", "v3")], **BY)
        second = promote(spend, "s1", 0, content="second", version="v2")
        promote(spend, "s2", 0, content="third", version="v3")
        spend.shadows.roll_back(second.id, reason="v1 is the last that was right", **BY)
        assert spend.epoch_map().live == {"spend": "v1"}

    def test_files_that_were_collected_are_not_restored(self, spend: RegistryBackend) -> None:
        promote(spend, "s0", 0, content="first")
        taken = promote(spend, "s1", 0, content="second")
        spend.garbage.mark(now_us=BY["at_us"] + 1, keep_us=0)
        spend.garbage.collect(marked_before_us=BY["at_us"] + 2, actor="gc", at_us=BY["at_us"] + 2)
        before, rows = looks(spend), spend.audit()
        with pytest.raises(SnapshotCollected, match="1 of its files"):
            spend.shadows.roll_back(taken.id, **BY)
        assert (looks(spend), spend.audit()) == (before, rows)

    def test_a_build_of_another_group_refuses_it(self, spend: RegistryBackend) -> None:
        taken = promote(spend, "s1", 0, content="first")
        with pytest.raises(InvalidRequest):
            spend.shadows.roll_back(taken.id, build=replace(build_record("b"), group="visits"), **BY)
        assert table(spend) == {0: "first"}

    @pytest.mark.parametrize("seed", range(4))
    def test_any_order_of_promotes_and_rollbacks_equals_a_plain_model(
        self, spend: RegistryBackend, other: RegistryBackend, seed: int
    ) -> None:
        """The model: what each day holds, and for each standing promotion what it replaced and by what."""
        dice = random.Random(seed)  # noqa: S311 - no secret
        live: dict[int, str] = {}
        standing: dict[int, tuple[dict[int, str], dict[int, str]]] = {}
        seen: dict[int, dict[int, str]] = {}
        for step in range(40):
            epoch, before = spend.epoch(), dict(live)
            if standing and dice.random() < 0.4:
                chosen, reason = dice.choice(sorted(standing)), dice.choice(["", "forced"])
                old, new = standing[chosen]
                if not reason and any(live.get(day) != content for day, content in new.items()):
                    with pytest.raises(PromoteConflict):
                        spend.shadows.roll_back(chosen, **BY)
                    assert (table(other), spend.epoch()) == (before, epoch)
                    continue
                del standing[chosen]
                done = spend.shadows.roll_back(chosen, reason=reason, **BY)
                live = {day: content for day, content in {**live, **old}.items() if content}
            else:
                days = dice.sample(range(8), dice.randint(1, 4))
                done = promote(spend, f"s{step}", *days, content=f"c{step}", kind=dice.choice(["run", "backfill"]))
                standing[done.id] = ({day: live.get(day, "") for day in days}, dict.fromkeys(days, f"c{step}"))
                live = {**live, **standing[done.id][1]}
            assert (table(other), spend.epoch()) == (live, epoch + 1)
            seen[done.snapshot] = dict(live)
        assert all(table(other, snapshot=snapshot) == held for snapshot, held in seen.items())
        assert other.check() == []
