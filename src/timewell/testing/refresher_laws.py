"""What every registry remembers of refreshers: that they live, and how their jobs stand."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from dataclasses import replace

from timewell.stores.refresher import BeatRecord, JobRecord
from timewell.stores.registry import RegistryBackend
from timewell.testing.registry_opened import Opened

ALIVE = BeatRecord(holder="a:1:x", started_us=10, beat_us=20, allowed_us=60, state="working", doing="spend@v1 online")
JOB = JobRecord(
    group="spend", version="v1", kind="online", epoch=3, holder="a:1:x", state="done", started_us=10, ended_us=20,
    done_us=10,
)  # fmt: skip


class RefresherLaws(Opened):
    """Signs of life, and jobs that only the newest claim may write."""

    def test_nobody_refreshed_yet(self, registry: RegistryBackend) -> None:
        assert (registry.refresher.beats(), registry.refresher.jobs()) == ([], [])

    def test_a_sign_of_life_takes_the_place_of_the_last_one(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        registry.refresher.beat(ALIVE)
        later = replace(ALIVE, beat_us=30, state="waiting", doing="")
        registry.refresher.beat(later)
        assert other.refresher.beats() == [later]

    def test_signs_of_life_are_newest_first(self, registry: RegistryBackend) -> None:
        for holder, beat_us in (("a", 20), ("b", 40), ("c", 30)):
            registry.refresher.beat(replace(ALIVE, holder=holder, beat_us=beat_us))
        assert [beat.holder for beat in registry.refresher.beats()] == ["b", "c", "a"]

    def test_old_signs_of_life_can_be_forgotten_and_so_can_all(self, registry: RegistryBackend) -> None:
        for holder, beat_us in (("a", 20), ("b", 40)):
            registry.refresher.beat(replace(ALIVE, holder=holder, beat_us=beat_us))
        assert registry.refresher.forget(40) == 1
        assert [beat.holder for beat in registry.refresher.beats()] == ["b"]
        assert registry.refresher.forget() == 1
        assert registry.refresher.beats() == []

    def test_a_job_is_noted_under_the_same_or_a_later_epoch_and_never_under_an_earlier_one(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        assert registry.refresher.note(JOB)
        assert other.refresher.note(replace(JOB, epoch=4, holder="b:2:y", state="running"))
        assert not registry.refresher.note(replace(JOB, state="failed", tries=1, problem="of one that lost its claim"))
        assert other.refresher.note(replace(JOB, epoch=4, holder="b:2:y", state="done"))
        assert registry.refresher.jobs() == [replace(JOB, epoch=4, holder="b:2:y")]

    def test_jobs_are_told_apart_by_version_and_kind(self, registry: RegistryBackend) -> None:
        kinds = (JOB, replace(JOB, kind="offline"), replace(JOB, version="v2"), JobRecord(kind="sweep", epoch=1))
        assert all(registry.refresher.note(job) for job in kinds)
        found = [(job.group, job.version, job.kind) for job in registry.refresher.jobs()]
        assert found == [
            ("", "", "sweep"),
            ("spend", "v1", "offline"),
            ("spend", "v1", "online"),
            ("spend", "v2", "online"),
        ]

    def test_the_words_of_failures_can_be_forgotten_and_that_they_happened_is_not(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        for group in ("spend", "visits"):
            words = "'ann@example.org' is no number"
            registry.refresher.note(replace(JOB, group=group, state="failed", tries=2, error="bad_row", problem=words))
        registry.refresher.redact(["spend"])
        assert [(job.group, job.tries, job.error, bool(job.problem)) for job in other.refresher.jobs()] == [
            ("spend", 2, "bad_row", False),
            ("visits", 2, "bad_row", True),
        ]

    def test_refreshers_move_no_epoch_and_leave_no_line_in_the_audit_log(self, spend: RegistryBackend) -> None:
        before = spend.epoch(), len(spend.audit())
        spend.refresher.beat(ALIVE)
        spend.refresher.note(JOB)
        assert (spend.epoch(), len(spend.audit())) == before
