"""What every registry remembers of runs: how the last ones ended, and what they saw of the source."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from timewell.stores.registry import RegistryBackend
from timewell.stores.runs import TIMED, RunKey, RunRecord, SourceSight
from timewell.testing.registry_opened import Opened

ONLINE = RunKey(group="spend", version="v1", store="online")
OFFLINE = RunKey(group="spend", version="v1", store="offline")
SIGHT = SourceSight(read_us=90, complete_through_us=80, newest_event_us=70)


class RunLaws(Opened):
    """Runs that succeed, runs that fail, and what of them is kept."""

    def test_nobody_ran_yet(self, registry: RegistryBackend) -> None:
        assert registry.runs.last() == []

    def test_a_run_that_succeeds_leaves_what_it_saw(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        registry.runs.succeeded(ONLINE, SIGHT, at_us=100)
        [line] = other.runs.last()
        assert (line.group, line.version, line.store) == ("spend", "v1", "online")
        assert (line.succeeded_us, line.read_us, line.complete_through_us, line.newest_event_us) == (100, 90, 80, 70)
        assert (line.failed_us, line.failures, line.error) == (0, 0, "")

    def test_a_run_that_fails_leaves_what_the_last_good_one_saw(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        registry.runs.succeeded(ONLINE, SIGHT, at_us=100)
        for at_us in (200, 300):
            registry.runs.failed(ONLINE, error="source_unreadable", problem="gone", at_us=at_us)
        [line] = other.runs.last()
        assert (line.succeeded_us, line.complete_through_us, line.newest_event_us) == (100, 80, 70)
        assert (line.failed_us, line.failures, line.error, line.problem) == (300, 2, "source_unreadable", "gone")

    def test_a_run_that_succeeds_ends_a_row_of_failures(self, registry: RegistryBackend) -> None:
        registry.runs.failed(ONLINE, error="source_unreadable", problem="gone", at_us=100)
        registry.runs.succeeded(ONLINE, SIGHT, at_us=200)
        [line] = registry.runs.last()
        assert (line.failures, line.error, line.problem, line.failed_us) == (0, "", "", 100)

    def test_a_run_after_the_clock_was_set_back_counts_all_the_same(self, registry: RegistryBackend) -> None:
        registry.runs.succeeded(ONLINE, SIGHT, at_us=5_000)
        registry.runs.succeeded(ONLINE, SourceSight(read_us=40, complete_through_us=30), at_us=50)
        assert registry.runs.last() == [
            RunRecord(group="spend", version="v1", store="online", succeeded_us=50, read_us=40, complete_through_us=30)
        ]

    def test_how_long_the_last_runs_took_is_kept(self, registry: RegistryBackend, other: RegistryBackend) -> None:
        for number in range(TIMED + 10):
            registry.runs.succeeded(ONLINE, SIGHT, at_us=100 + number, took_us=number)
        registry.runs.failed(ONLINE, error="source_unreadable", problem="gone", at_us=900)
        registry.runs.succeeded(ONLINE, SIGHT, at_us=901)
        [line] = other.runs.last()
        assert line.took_last_us == tuple(range(10, TIMED + 10))
        assert line.p95_us == TIMED + 7  # the 48th of fifty

    def test_stores_are_told_apart(self, registry: RegistryBackend) -> None:
        registry.runs.succeeded(ONLINE, SIGHT, at_us=100)
        registry.runs.failed(OFFLINE, error="promote_refused", problem="null rate", at_us=200)
        assert [(line.store, line.failures) for line in registry.runs.last()] == [("offline", 1), ("online", 0)]

    def test_the_words_of_failures_can_be_forgotten_and_that_they_happened_is_not(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        for group in ("spend", "visits"):
            key = RunKey(group=group, version="v1", store="online")
            registry.runs.failed(key, error="source_unreadable", problem="'ann@example.org' is no number", at_us=100)
        registry.runs.redact(["spend"])
        assert [(line.group, line.failures, line.error, bool(line.problem)) for line in other.runs.last()] == [
            ("spend", 1, "source_unreadable", False),
            ("visits", 1, "source_unreadable", True),
        ]

    def test_runs_move_no_epoch_and_leave_no_line_in_the_audit_log(self, spend: RegistryBackend) -> None:
        before = spend.epoch(), len(spend.audit())
        spend.runs.succeeded(ONLINE, SIGHT, at_us=100)
        spend.runs.failed(ONLINE, error="source_unreadable", problem="gone", at_us=200)
        assert (spend.epoch(), len(spend.audit())) == before
