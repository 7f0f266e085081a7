"""A refresher that died is missed, before anything is stale."""

from __future__ import annotations

from pathlib import Path

import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.run.refresher import Refresher, refresh
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from timewell.watch.heartbeat import heartbeats
from timewell.watch.round import watch


@pytest.fixture
def fs(tmp_path: Path):
    opened = tw.FeatureStore.init(tmp_path / "shop", now=FrozenClock("2026-03-01T00:00:00Z"))
    yield opened
    opened.close()


def moved(fs: tw.FeatureStore, by_us: int) -> None:
    assert isinstance(fs.project.clock, FrozenClock)
    fs.project.clock.move(by_us)


def opened(fs: tw.FeatureStore) -> list[str]:
    watch(fs.project)
    return [event.kind for event in fs.project.registry.alerts.history() if event.rule == "heartbeat"]


def test_nobody_is_missed_who_never_ran(fs) -> None:
    assert heartbeats(fs.project) == []
    refresh(fs.project)
    moved(fs, DAY_US)
    assert heartbeats(fs.project) == []  # a single turn that promised nothing


def test_one_that_died_is_told_of_and_its_heir_ends_the_alert(fs) -> None:
    Refresher(fs.project).turn()
    moved(fs, MINUTE_US)
    assert opened(fs) == []
    moved(fs, 2 * MINUTE_US)
    assert "breach" in opened(fs)
    Refresher(fs.project).turn()
    assert "resolved" in opened(fs)


def test_one_of_two_that_dies_is_not_missed(fs) -> None:
    first, second = Refresher(fs.project), Refresher(fs.project)
    first.turn()
    moved(fs, HOUR_US)
    second.turn()
    moved(fs, 30 * SECOND_US)
    [signal] = heartbeats(fs.project)
    assert signal.state == "ok"


def test_a_single_turn_that_promised_the_next_one_is_missed_when_that_does_not_come(fs) -> None:
    refresh(fs.project, promise="15m")
    moved(fs, 10 * MINUTE_US)
    assert [signal.state for signal in heartbeats(fs.project)] == ["ok"]
    moved(fs, 10 * MINUTE_US)
    assert [signal.state for signal in heartbeats(fs.project)] == ["breached"]


def test_signs_of_life_that_are_forgotten_end_the_alert(fs) -> None:
    Refresher(fs.project).turn()
    moved(fs, HOUR_US)
    assert "breach" in opened(fs)
    fs.project.registry.refresher.forget()
    assert opened(fs)[0] != "breach"
