"""Hot, warm and cold: where values lie moves with the tier, and no value or status does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.run.tiers import TierReport, TierRow, tiers
from timewell.serve.preload import memory_of

NOW = "2026-03-01T00:00:00Z"
USERS = 300
ENTITIES = [{"user_id": user} for user in (1, 2, 300, 999)]
BOTH = ["paid_7d", "last_paid"]


def group(tier: str = "warm", other: str = "warm") -> tw.FeatureGroup:
    return tw.FeatureGroup(
        name="payments", entity="user_id", source="payments", owner="risk@company", ttl="48h", online=True,
        features=[
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"), tier=tier),
            tw.Feature(name="last_paid", aggregation=tw.latest("amount"), tier=other),
        ],
    )  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    rows = {
        "user_id": range(1, USERS + 1),
        "event_time": [datetime(2026, 2, 27 + user % 2, tzinfo=UTC) for user in range(USERS)],
        "amount": range(1_000_000, 1_000_000 + USERS),
    }
    pq.write_table(pa.table(rows), tmp_path / "shop" / "payments.parquet")
    fs.register_source(tw.Source(name="payments", path="payments.parquet", event_time="event_time"))
    return fs


def moved(shop: tw.FeatureStore, tier: str, other: str = "warm") -> dict[str, TierRow]:
    """Give the first feature a tier, let materializing move its values, and return where they are."""
    shop.register_group(group(tier, other))
    shop.materialize_online()
    return by_name(tiers(shop.project))


def by_name(report: TierReport) -> dict[str, TierRow]:
    return {row.name: row for row in report.features}


def test_moving_a_feature_moves_its_bytes_and_leaves_every_value_and_status_alone(shop: tw.FeatureStore) -> None:
    places, answers = [], []
    for tier in ("warm", "hot", "cold", "warm"):
        row = moved(shop, tier)["paid_7d"]
        places.append((row.read_from, row.memory_bytes > 0, row.store_bytes > 0))
        for _ in range(2):  # from the store while memory is being filled, then from memory
            answer = shop.get_online_features(BOTH, ENTITIES)
            answers.append((answer.rows, [list(statuses) for statuses in answer.row_statuses], answer.as_of))
            shop._reader._origins.hot.wait()

    assert places == [
        ("store", False, True),
        ("memory", True, True),
        ("source", False, False),
        ("store", False, True),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][1][:2] == [["present", "expired"], ["present", "present"]]


def test_the_bytes_of_a_build_are_those_of_its_keys_and_rows(shop: tw.FeatureStore) -> None:
    rows = moved(shop, "hot")
    [build] = shop.project.online.builds()
    pairs = list(shop.project.online.scan(build))

    assert len(pairs) == USERS
    assert sum(row.store_bytes for row in rows.values()) == sum(len(key) + len(row) for key, row in pairs)
    assert sum(row.memory_bytes for row in rows.values()) == pytest.approx(
        sum(memory_of(*pair) for pair in pairs), abs=2
    )
    assert rows["last_paid"].store_bytes > rows["paid_7d"].store_bytes, "it has the time of its row besides"


def test_offline_bytes_are_those_of_the_live_files(shop: tw.FeatureStore) -> None:
    shop.register_group(group())
    shop.materialize_offline("payments", start="2026-02-27", end="2026-02-28")
    files = shop.offline_files("payments")
    rows = by_name(tiers(shop.project))
    assert sum(row.offline_bytes for row in rows.values()) == pytest.approx(sum(file.bytes for file, _ in files), abs=2)
    assert {row.read_from for row in rows.values()} == {"nowhere yet"}


def test_a_hot_group_over_the_bound_is_served_from_the_store_and_the_report_says_so(shop: tw.FeatureStore) -> None:
    with (shop.project.root / "timewell.toml").open("a", encoding="utf-8") as file:
        file.write('[serving]\nhot_bytes = "10KB"\n')
    small = tw.FeatureStore(shop.project.root, now=NOW)
    row = moved(small, "hot")["paid_7d"]
    assert (row.read_from, row.memory_bytes) == ("store", 0)
    assert tiers(small.project).too_large == ("payments@v1",)
    assert small.get_online_features("paid_7d", ENTITIES[:1]).rows == [[1_000_000]]


def test_another_process_follows_a_tier_once_the_values_are_moved(shop: tw.FeatureStore) -> None:
    moved(shop, "warm")
    server = tw.FeatureStore(shop.project.root, now=NOW)
    server.get_online_features(BOTH, ENTITIES)
    moved(shop, "hot")
    server._reader._polled_ns = float("-inf")  # what a fifth of a second does

    server.get_online_features(BOTH, ENTITIES)
    server._reader._origins.hot.wait()
    server.get_online_features(BOTH, ENTITIES)

    assert server._reader._origins.hot.hits == 1


def test_from_computed_to_stored_nobody_is_refused_between_registering_and_materializing(
    shop: tw.FeatureStore,
) -> None:
    moved(shop, "cold", "cold")
    on_read = shop.get_online_features(BOTH, ENTITIES)

    shop.register_group(group("warm", "cold"))
    between = shop.get_online_features(BOTH, ENTITIES)
    [report] = shop.materialize_online()
    after = shop.get_online_features(BOTH, ENTITIES)

    assert (report.action, report.rows) == ("built", USERS)
    assert on_read.rows == between.rows == after.rows


def test_totals_are_by_tier(shop: tw.FeatureStore) -> None:
    rows = moved(shop, "hot", "cold")
    totals = tiers(shop.project).totals()
    assert list(totals) == ["hot", "cold"]
    assert totals["cold"] == {"features": 1, "memory_bytes": 0, "store_bytes": 0, "offline_bytes": 0}
    assert totals["hot"]["store_bytes"] == rows["paid_7d"].store_bytes


def test_an_event_loop_reads_what_is_hot_without_a_thread(shop: tw.FeatureStore) -> None:
    moved(shop, "hot")
    before = asyncio.run(shop.aget_online_features(BOTH, ENTITIES))
    shop._reader._origins.hot.wait()

    after = asyncio.run(shop.aget_online_features(BOTH, ENTITIES))

    assert (after.rows, after.row_statuses) == (before.rows, before.row_statuses)
    assert shop._reader._origins.hot.hits == 1


def test_a_forgotten_person_leaves_the_memory_of_the_process_at_once(shop: tw.FeatureStore) -> None:
    moved(shop, "hot")
    for _ in range(2):
        assert shop.get_online_features("paid_7d", ENTITIES[:1]).rows == [[1_000_000]]
        shop._reader._origins.hot.wait()
    shop.forget("user_id", {"user_id": 1})
    for _ in range(2):
        assert shop.get_online_features("paid_7d", ENTITIES[:1]).rows == [[0]]
        shop._reader._origins.hot.wait()
