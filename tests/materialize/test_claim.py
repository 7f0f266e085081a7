"""The claim on an online build lasts as long as the work, and whoever lost it writes nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.backends.lmdb import LmdbStore
from timewell.clock import SystemClock
from timewell.errors import StateBusy, Superseded
from timewell.materialize import claim as module
from timewell.materialize.claim import Claim, claimed, group_lease
from timewell.types import MINUTE_US

REF = "paid@v1"
LONG_S = 30.0  # a wait that ends long before, unless something is broken


@pytest.fixture
def fs(tmp_path: Path):
    opened = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    rows = pa.table({"user_id": [7], "at": [datetime(2026, 2, 28, tzinfo=UTC)], "amount": [5]})
    opened.register_source(tw.Source(name="orders", frame=rows, event_time="at"))
    feature = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    opened.register_group(
        tw.FeatureGroup(
            name="paid", entity="user_id", source="orders", owner="a@b", ttl="30d", online=True, features=[feature]
        )
    )
    yield opened
    opened.close()


class Clock:
    """The machine's clock, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.start_us = SystemClock().now_us()
        self.passed_us = 0
        monkeypatch.setattr(module, "SystemClock", lambda: self)

    def now_us(self) -> int:
        return self.start_us + self.passed_us


def test_a_claim_outlives_its_ten_minutes_while_its_holder_works(fs, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    lease = group_lease(fs.project, REF)
    held = Claim(fs.project, REF, lease)

    def ten_times(_wait_s: float) -> bool:
        clock.passed_us += 4 * MINUTE_US
        assert group_lease(fs.project, REF) is None, f"taken over after {clock.passed_us / MINUTE_US} minutes"
        return clock.passed_us >= 40 * MINUTE_US

    held.renew_until(ten_times)
    held.check()
    clock.passed_us += 11 * MINUTE_US
    assert group_lease(fs.project, REF) is not None


def test_a_claim_that_is_not_renewed_runs_out(fs, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    assert group_lease(fs.project, REF) is not None
    clock.passed_us = 10 * MINUTE_US - 1
    assert group_lease(fs.project, REF) is None
    clock.passed_us += 1
    assert group_lease(fs.project, REF) is not None


def test_a_claim_that_was_taken_over_says_so_before_anything_is_written(fs, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    held = Claim(fs.project, REF, group_lease(fs.project, REF))
    clock.passed_us = 11 * MINUTE_US
    later = group_lease(fs.project, REF)
    held.renew_until(lambda _wait_s: False)  # ends by itself
    with pytest.raises(Superseded, match="claim"):
        held.check()
    assert fs.project.registry.leases.renew(later, now_us=clock.now_us(), ttl_us=1) is not None


def test_a_busy_registry_is_asked_again(fs, monkeypatch) -> None:
    registry = fs.project.registry
    held = Claim(fs.project, REF, group_lease(fs.project, REF))
    honest, asked = registry.leases.renew, []

    def renew(lease, *, now_us, ttl_us):
        asked.append(lease)
        if len(asked) == 1:
            raise StateBusy(what="the registry", waited_s=10)
        return honest(lease, now_us=now_us, ttl_us=ttl_us)

    monkeypatch.setattr(registry.leases, "renew", renew)
    held.renew_until(lambda _wait_s: len(asked) == 2)
    assert len(asked) == 2
    held.check()


def test_a_long_write_renews_in_the_background_and_nobody_else_gets_in(fs, monkeypatch) -> None:
    monkeypatch.setattr(module, "RENEW_EVERY_S", 0.001)
    registry, renewed = fs.project.registry, threading.Event()
    honest_renew, honest_load = registry.leases.renew, LmdbStore.load

    def renew(lease, *, now_us, ttl_us):
        found = honest_renew(lease, now_us=now_us, ttl_us=ttl_us)
        renewed.set()
        return found

    def slow_load(self, build, rows, mark):
        renewed.clear()
        assert renewed.wait(LONG_S), "not renewed while the rows were written"
        with pytest.raises(StateBusy), claimed(fs.project, REF):
            pass
        return honest_load(self, build, rows, mark)

    monkeypatch.setattr(registry.leases, "renew", renew)
    monkeypatch.setattr(LmdbStore, "load", slow_load)
    [report] = fs.materialize_online()
    assert report.action == "built"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("claim on")]
    with claimed(fs.project, REF):
        pass  # given back


def test_whoever_lost_the_claim_during_the_computation_writes_nothing(fs, monkeypatch) -> None:
    honest = Claim.check
    monkeypatch.setattr(Claim, "check", lambda self: (setattr(self, "_lost", True), honest(self)))
    with pytest.raises(Superseded):
        fs.materialize_online()
    assert fs.project.online.builds() == []
