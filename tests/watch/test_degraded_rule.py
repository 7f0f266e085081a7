"""Answers that are fallbacks are told of, by what of a group's own values was lacking, while no request fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.serve.latency import LatencyBook
from timewell.serve.tally import Tallies
from timewell.watch.measures import DEGRADED_WINDOWS, degraded_signals
from timewell.watch.signal import Signal

SPEND, VISITS = ("spend@v1",), ("visits@v1",)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-10T12:00:00Z")
    rows = pa.table({"user_id": [1], "amount": [5], "at": pa.array([0], pa.timestamp("us", "UTC"))})
    fs.register_source(tw.Source(name="orders", frame=rows, event_time="at"))
    for group in ("spend", "visits"):
        fs.register_group(
            tw.FeatureGroup(
                name=group,
                owner=f"{group}@shop",
                entity="user_id",
                source="orders",
                online=True,
                features=[tw.Feature(name=f"{group}_7d", aggregation=tw.count(window="7d"), ttl="30d")],
            )
        )
    yield fs
    fs.close()


def answer(fs: tw.FeatureStore, groups: tuple[str, ...], requests: int, **marks: bool) -> LatencyBook:
    book = LatencyBook(fs.project.state / "metrics")
    for _ in range(requests):
        book.add(groups, None, 1_000_000, **marks)
    return book


def degrade(fs: tw.FeatureStore, groups: tuple[str, ...], lacking: tuple[str, ...], requests: int) -> None:
    book = answer(fs, groups, requests, degraded=True)
    for _ in range(requests):
        book.because(lacking, None, "no_answer")
    book.close()


def kinds(evaluation) -> list[tuple[str, ...]]:
    notices = [turn.notice for turn in evaluation.outcome.turns if turn.notice is not None]
    return [(one.kind, one.state.key[1], one.state.key[3], one.state.owner) for one in notices]


def test_a_store_that_is_down_is_told_to_the_owner_and_its_end_too(shop: tw.FeatureStore) -> None:
    answer(shop, SPEND, 500).close()
    assert kinds(shop.watch()) == []
    degrade(shop, SPEND, SPEND, 10)
    assert kinds(shop.watch()) == [("breach", "spend", "degraded", "spend@shop")]
    assert kinds(shop.watch()) == []
    answer(shop, SPEND, 1_000).close()
    assert kinds(shop.watch()) == [("resolved", "spend", "degraded", "spend@shop")]


def test_a_group_answers_for_its_own_values_alone(shop: tw.FeatureStore) -> None:
    degrade(shop, (*SPEND, *VISITS), VISITS, 10)
    assert kinds(shop.watch()) == [("breach", "visits", "degraded", "visits@shop")]


def test_what_fails_is_the_error_budgets_and_not_counted_twice(shop: tw.FeatureStore) -> None:
    book = answer(shop, SPEND, 10, error=True)
    for _ in range(10):
        book.because(SPEND, None, "no_answer")
    book.close()
    assert "degraded" not in {rule for _, _, rule, _ in kinds(shop.watch())}


def test_the_share_that_may_be_degraded_is_the_settings(shop: tw.FeatureStore) -> None:
    with (shop.project.root / "timewell.toml").open("a") as settings:
        settings.write("\n[serving]\nmost_degraded = 0.05\n")
    fs = tw.FeatureStore(shop.project.root, now="2026-03-10T12:00:00Z")
    answer(fs, SPEND, 390).close()
    degrade(fs, SPEND, SPEND, 10)
    assert kinds(fs.watch()) == []
    fs.close()
    assert kinds(shop.watch()) == [("breach", "spend", "degraded", "spend@shop")]


def measured(**windows: tuple[int, int]) -> Signal:
    """Measure fallbacks and requests by window, one in a hundred being allowed."""
    counted = {}
    for window in DEGRADED_WINDOWS:
        fallbacks, requests = windows[f"in_{window}"]
        counted[window] = Tallies()
        tally = counted[window].of(("group", "spend@v1"))
        tally.requests = requests
        tally.add_causes({"no_answer": fallbacks})
    [signal] = degraded_signals(counted, allowed=0.01, project="shop", owners={"spend@v1": "a@b"}, at_us=0)
    return signal


@pytest.mark.parametrize(
    ("windows", "state"),
    [
        ({"in_1h": (10, 1_000), "in_5m": (10, 100)}, "breached"),
        ({"in_1h": (9, 1_000), "in_5m": (9, 100)}, "ok"),
        ({"in_1h": (500, 1_000), "in_5m": (0, 100)}, "ok"),
        ({"in_1h": (4, 4), "in_5m": (4, 4)}, "ok"),
        ({"in_1h": (5, 5), "in_5m": (5, 5)}, "breached"),
        ({"in_1h": (0, 0), "in_5m": (0, 0)}, "ok"),
    ],
    ids=["both", "too few for the hour", "over by now", "hardly any", "all of a few", "nobody asks"],
)
def test_both_windows_and_at_least_five_decide(windows: dict[str, tuple[int, int]], state: str) -> None:
    assert measured(**windows).state == state
