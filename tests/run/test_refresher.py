"""The refresher: what is due is done once, whatever fails, whoever else does it, however long nobody did."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.errors import StateBusy
from timewell.materialize.claim import claimed
from timewell.run import jobs as jobs_module
from timewell.run import refresher as module
from timewell.run.refresher import Refresher
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US

START = datetime(2026, 2, 1, tzinfo=UTC)
NOW = "2026-03-01T00:00:00Z"
LONG_S = 30.0


class Shop:
    """A project whose clock is moved by hand."""

    def __init__(self, place: Path) -> None:
        self.clock = FrozenClock(NOW)
        self.place = place
        self.fs = tw.FeatureStore.init(place, now=self.clock)
        rows = [(user, START + timedelta(hours=6 * n + user), n) for user in range(4) for n in range(4 * 60)]
        user, at, amount = zip(*rows, strict=True)
        table = pa.table({"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount})
        pq.write_table(table, place / "orders.parquet")
        self.fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="at"))

    def group(self, name: str = "paid", **fields: object) -> None:
        feature = tw.Feature(name=f"{name}_7d", aggregation=tw.sum("amount", window="7d"))
        self.fs.register_group(
            tw.FeatureGroup(
                name=name,
                entity="user_id",
                source="orders",
                owner="a@b",
                **{"ttl": "30d", "freshness_sla": "24h", "online": True, "features": [feature], **fields},
            )
        )

    def as_of(self, name: str = "paid") -> int:
        return next(build.as_of_us for build in self.fs.project.registry.builds() if build.group == name)

    def ran(self) -> list[tuple[str, str, str]]:
        return [(one.group, one.kind, one.state) for one in self.fs.refresh().ran if one.kind != "sweep"]

    def days(self, name: str = "paid") -> int:
        return len(self.fs.project.registry.files(name, "v1"))


@pytest.fixture
def shop(tmp_path: Path):
    made = Shop(tmp_path / "shop")
    yield made
    made.fs.close()


def test_what_was_never_built_is_built_and_then_left_alone_until_it_is_due(shop: Shop) -> None:
    shop.group()
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.ran() == []
    shop.clock.move(6 * HOUR_US)  # 0.8 x 24 h / 3 is 6.4 h
    assert shop.ran() == []
    shop.clock.move(HOUR_US)
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.as_of() == shop.clock.now_us()


def test_after_days_without_a_refresher_each_build_is_refreshed_once(shop: Shop) -> None:
    shop.group(refresh="*/5 * * * *")
    shop.group("often", refresh="1m")
    shop.ran()
    shop.clock.move(9 * DAY_US + HOUR_US)
    assert sorted(shop.ran()) == [("often", "online", "done"), ("paid", "online", "done")]
    assert shop.ran() == []


def test_a_table_that_was_begun_is_continued_with_every_day_that_was_missed_in_one_run(shop: Shop) -> None:
    shop.group(refresh="never")
    shop.fs.materialize_offline(start="2026-02-20", end="2026-02-28")
    assert shop.days() == 9
    assert shop.ran() == []  # never
    shop.group()
    shop.ran()
    shop.clock.move(5 * DAY_US + 2 * HOUR_US)
    assert sorted(shop.ran()) == [("paid", "offline", "done"), ("paid", "online", "done")]
    assert shop.days() == 14
    assert shop.ran() == []
    runs = [row for row in shop.fs.project.registry.audit() if row.action.startswith("promote")]
    assert len(runs) == 2


def test_a_table_that_nobody_began_is_not_begun(shop: Shop) -> None:
    shop.group()
    shop.ran()
    shop.clock.move(5 * DAY_US)
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.days() == 0


def test_days_of_a_source_that_is_late_are_waited_for_longer_and_longer_and_computed_once_it_is_there(
    shop: Shop,
) -> None:
    (shop.place / "DONE").write_text("2026-03-01T00:00:00Z")
    shop.fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="at", marker="DONE"))
    shop.group(online=False, ttl=None, freshness_sla=None)
    shop.fs.materialize_offline(start="2026-02-20", end="2026-02-28")
    shop.clock.move(DAY_US + MINUTE_US)
    assert shop.ran() == [("paid", "offline", "waits")]
    assert shop.ran() == []
    pauses = []
    for _ in range(4):
        before = shop.clock.now_us()
        while not shop.ran():
            shop.clock.move(MINUTE_US)
        pauses.append((shop.clock.now_us() - before) // MINUTE_US)
    assert pauses == [1, 2, 4, 8]
    (shop.place / "DONE").write_text("2026-03-02T00:00:00Z")
    shop.clock.move(HOUR_US)
    assert shop.ran() == [("paid", "offline", "done")]
    assert shop.days() == 10


def test_one_that_fails_keeps_no_other_and_is_tried_again_later_and_later(shop: Shop, monkeypatch) -> None:
    shop.group()
    shop.group("other")
    honest = jobs_module.materialize_online

    def failing(project, *, feature, **given):
        if feature == "paid@v1":
            raise ZeroDivisionError("a mistake of ours")
        return honest(project, feature=feature, **given)

    monkeypatch.setattr(jobs_module, "materialize_online", failing)
    assert sorted(shop.ran()) == [("other", "online", "done"), ("paid", "online", "failed")]
    [line] = [line for line in shop.fs.project.registry.refresher.jobs() if line.state == "failed"]
    assert (line.tries, line.error, line.problem) == (1, "ZeroDivisionError", "ZeroDivisionError: a mistake of ours")
    assert shop.ran() == []
    tries = []
    for minute in range(1, 200):
        shop.clock.move(MINUTE_US)
        tries += [minute] * bool(shop.ran())
    assert tries == [1, 3, 7, 15, 31, 63, 123, 183]
    monkeypatch.undo()
    shop.clock.move(HOUR_US)
    assert shop.ran() == [("paid", "online", "done")]
    assert all(line.tries == 0 and not line.problem for line in shop.fs.project.registry.refresher.jobs())


def test_a_group_that_somebody_else_writes_is_waited_for_and_nothing_has_failed(shop: Shop) -> None:
    shop.group()
    with claimed(shop.fs.project, "paid@v1"):
        assert shop.ran() == [("paid", "online", "waits")]
    assert not shop.fs.refresh().failed
    shop.clock.move(2 * MINUTE_US)
    assert shop.ran() == [("paid", "online", "done")]


def test_two_refreshers_do_each_job_once(shop: Shop, monkeypatch) -> None:
    for number in range(6):
        shop.group(f"g{number}")
    second = tw.FeatureStore(shop.place, now=shop.clock)
    honest, done = jobs_module.materialize_online, []
    together = threading.Barrier(2)

    def counted(project, *, feature, **given):
        done.append(feature)
        return honest(project, feature=feature, **given)

    def turn(fs: tw.FeatureStore) -> None:
        together.wait(LONG_S)
        fs.refresh()

    monkeypatch.setattr(jobs_module, "materialize_online", counted)
    threads = [threading.Thread(target=turn, args=[fs]) for fs in (shop.fs, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.close()
    assert sorted(done) == [f"g{number}@v1" for number in range(6)]


def test_without_a_second_look_under_the_lease_a_job_is_done_twice(shop: Shop, monkeypatch) -> None:
    """The control of the test above: what was due before the lease was held may have been done by its last holder."""
    shop.group()
    done = []
    monkeypatch.setattr(Refresher, "_again", lambda self, job: job)
    monkeypatch.setattr(module, "do", lambda project, job: done.append(job.name))
    [stale] = [job for job in module.known_jobs(shop.fs.project) if job.kind == "online"]
    for _ in range(2):
        Refresher(shop.fs.project)._claimed(stale)
    assert len(done) == 2


def test_a_long_job_keeps_its_lease_and_gives_signs_of_life_and_alerts_are_evaluated(shop: Shop, monkeypatch) -> None:
    shop.group()
    refresher = Refresher(shop.fs.project)
    refresher._pause_s = 0.01
    looked, registry = threading.Event(), shop.fs.project.registry
    beside: list[str] = []

    def long_job(project, job) -> None:
        looked.clear()
        assert looked.wait(LONG_S), "nobody looked whether all is well"
        beside.extend(beat.doing for beat in registry.refresher.beats())

    monkeypatch.setattr(module, "do", long_job)
    monkeypatch.setattr(module, "watch", lambda project: looked.set())
    refresher.turn()
    assert beside == ["paid@v1 online"]
    assert not [thread for thread in threading.enumerate() if thread.name == "refresher"]


def test_a_job_that_never_ends_gives_no_sign_of_life_for_good(shop: Shop, monkeypatch) -> None:
    shop.group()
    refresher = Refresher(shop.fs.project)
    refresher._pause_s, refresher._longest_us = 0.01, SECOND_US // 20
    beats: list[str] = []
    silent = threading.Event()

    def hanging(project, job) -> None:
        [pulse] = [thread for thread in threading.enumerate() if thread.name == "refresher"]
        pulse.join(LONG_S)
        silent.set() if not pulse.is_alive() else None

    honest = refresher._beat
    monkeypatch.setattr(refresher, "_beat", lambda state, doing="": (beats.append(state), honest(state, doing)))
    monkeypatch.setattr(module, "do", hanging)
    refresher.turn()
    assert silent.is_set()
    assert 1 < beats.count("working") < 10


def test_a_round_of_alerts_that_fails_stops_nothing(shop: Shop, monkeypatch) -> None:
    shop.group()

    def broken(project) -> None:
        raise RuntimeError("the alerts are broken")

    monkeypatch.setattr(module, "watch", broken)
    assert shop.ran() == [("paid", "online", "done")]


def test_a_registry_that_is_busy_does_not_end_a_refresher(shop: Shop, monkeypatch) -> None:
    shop.group()
    stop, turns = threading.Event(), []
    refresher = Refresher(shop.fs.project)
    refresher._pause_s = 0.001

    def busy(stopped=None) -> None:
        turns.append(1)
        if len(turns) == 3:
            stop.set()
        raise StateBusy(what="the registry", waited_s=10)

    monkeypatch.setattr(refresher, "turn", busy)
    refresher.run(stop)
    assert len(turns) == 3
    [beat] = shop.fs.project.registry.refresher.beats()
    assert beat.state == "stopped"


def test_one_that_is_to_stop_finishes_its_run_and_begins_no_other(shop: Shop, monkeypatch) -> None:
    for number in range(3):
        shop.group(f"g{number}")
    stop, honest, done = threading.Event(), module.do, []

    def stopping(project, job) -> None:
        stop.set()
        honest(project, job)
        done.append(job.group)

    monkeypatch.setattr(module, "do", stopping)
    Refresher(shop.fs.project).run(stop)
    assert len(done) == 1
    assert shop.as_of(done[0]) == shop.clock.now_us()


def test_one_that_is_interrupted_leaves_nothing_locked(shop: Shop, monkeypatch) -> None:
    shop.group()

    def interrupted(project, job) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "do", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shop.fs.refresh()
    monkeypatch.undo()
    assert shop.ran() == [("paid", "online", "done")]


def test_a_store_that_lost_its_build_gets_a_new_one_at_once(shop: Shop) -> None:
    shop.group()
    shop.ran()
    [build] = shop.fs.project.registry.builds()
    shop.fs.project.online.drop(build.build)
    assert shop.ran() == [("paid", "online", "done")]


def test_a_feature_that_is_stored_from_now_on_is_stored_at_once(shop: Shop) -> None:
    for also in (False, True):
        features = [
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
            tw.Feature(name="paid_1d", aggregation=tw.sum("amount", window="1d"), online=also),
        ]
        shop.group(features=features)
        assert shop.ran() == [("paid", "online", "done")]
    assert shop.ran() == []


def test_a_group_on_a_grid_is_refreshed_once_for_each_step_of_it(shop: Shop) -> None:
    shop.group(accuracy="snapshot", every="1d", available_after="2h", ttl="3d")
    assert shop.ran() == [("paid", "online", "done")]
    first = shop.as_of()
    shop.clock.move(HOUR_US)
    assert shop.ran() == []
    shop.clock.move(HOUR_US + MINUTE_US)
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.as_of() == first + DAY_US
    assert shop.ran() == []


def test_a_snapshot_group_with_a_cron_expression_is_not_refreshed_again_and_again(shop: Shop) -> None:
    shop.group(accuracy="snapshot", every="1d", available_after="2h", ttl="3d", refresh="0 * * * *")
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.ran() == []
    shop.clock.move(HOUR_US + MINUTE_US)
    assert shop.ran() == [("paid", "online", "done")]
    assert shop.ran() == []


def test_the_version_before_is_kept_fresh_for_a_rollback(shop: Shop) -> None:
    shop.group()
    shop.ran()
    feature = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    shop.fs.register_group(
        tw.FeatureGroup(
            name="paid",
            entity="user_id",
            source="orders",
            owner="a@b",
            online=True,
            features=[feature],
            version="v2",
            ttl="30d",
            freshness_sla="24h",
            filter="amount > 3",
        )
    )
    shop.fs.backfill("paid", start="2026-02-20", end="2026-02-28")
    shop.fs.validate_shadow_vs_prod("paid", ["count"])
    shop.fs.promote_shadow("paid", force="another meaning")
    shop.clock.move(8 * HOUR_US)
    found = {(one.version, one.kind, one.state) for one in shop.fs.refresh().ran}
    assert {("v1", "online", "done"), ("v2", "online", "done")} <= found


def test_who_refreshes_and_what_is_due_when_can_be_seen(shop: Shop) -> None:
    shop.group()
    assert not shop.fs.refreshing().beats
    refresher = Refresher(shop.fs.project)
    refresher.turn()
    report = shop.fs.refreshing()
    assert [beat.state for beat in report.alive] == ["waiting"]
    online = next(one for one in report.jobs if one.job.kind == "online")
    assert online.at_us > report.at_us
    assert online.job.line.state == "done"
    shop.clock.move(10 * MINUTE_US)
    report = shop.fs.refreshing()
    assert (len(report.beats), report.alive) == (1, [])  # silent for longer than it promised


def test_single_turns_share_one_sign_of_life_and_promise_what_they_are_told_to(shop: Shop) -> None:
    shop.group()
    for _ in range(3):
        module.refresh(shop.fs.project, promise="15m")
    [beat] = shop.fs.refreshing().alive
    assert beat.allowed_us == 15 * MINUTE_US


def test_rows_that_are_dead_are_swept_once_a_day(shop: Shop) -> None:
    shop.group()
    sweeps = []
    for _ in range(48):
        sweeps += [one.state for one in shop.fs.refresh().ran if one.kind == "sweep"]
        shop.clock.move(HOUR_US)
    assert sweeps == ["done", "done"]
