"""Seed example 3: refunds no longer count; half a year is computed in a shadow, validated, promoted, taken back."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import NoShadow, PromoteRefused, UnknownPromotion

DEFINITION = {
    "name": "order_amount_7d",
    "owner": "growth-ml@company",
    "entity": "user_id",
    "source": "warehouse.orders",
    "aggregation": {"type": "sum", "column": "amount", "window": "7d"},
    "ttl": "14d",
    "freshness_sla": "24h",
    "online": True,
    "version": "v1",
}
CORRECTED = {**DEFINITION, "filter": "type <> 'refund'", "version": "v2"}
NOW = "2026-01-01T00:00:00Z"
START = datetime(2025, 6, 1, tzinfo=UTC)
USERS = 30
DAYS = 184

EXAMPLE = """
from datetime import date

# New business rule: exclude refunds from order amount

def compute_order_amount_7d(dt):
    # Read from raw orders for date dt
    df = read_orders(dt)
    df = df[df['type'] != 'refund']
    agg = df.groupby('user_id')['amount'].sum()
    write_feature_partition('order_amount_7d', dt, agg)

# Backfill last 180 days into a shadow location
for dt in daterange(date(2025, 7, 1), date(2025, 12, 31)):
    compute_order_amount_7d(dt)

# Validate before promote
validate_shadow_vs_prod('order_amount_7d', checks=['count','null_rate','p50','p95'])
promote_shadow('order_amount_7d')
"""


@cache
def orders() -> list[tuple[int, datetime, float, str]]:
    """Three thousand orders, one in ten of them a refund."""
    draw = random.Random(3)
    minutes = 214 * 24 * 60
    found = [
        (
            draw.randrange(USERS),
            START + timedelta(minutes=draw.randrange(minutes)),
            float(draw.randrange(1, 50_000)),
            "refund" if draw.random() < 0.1 else "order",
        )
        for _ in range(3_000)
    ]
    return sorted(found, key=lambda row: row[1])


def write(root: Path, rows: list[tuple[int, datetime, float, str]]) -> None:
    users, instants, amounts, kinds = zip(*rows, strict=True)
    moments = pa.array(instants, pa.timestamp("us", tz="UTC"))
    table = pa.table({"user_id": users, "order_ts": moments, "amount": amounts, "type": kinds})
    (root / "data" / "orders").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, root / "data" / "orders" / "part-0.parquet")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tw.FeatureStore:
    """A shop on 1 January 2026 whose feature has been live for half a year."""
    root = tmp_path / "shop"
    fs = tw.FeatureStore.init(root, now=NOW)
    write(root, orders())
    source = tw.Source(name="warehouse.orders", kind="events", path="data/orders/*.parquet", event_time="order_ts")
    fs.register_source(source)
    fs.register_feature(DEFINITION)
    fs.materialize_offline(feature="order_amount_7d", start="2025-07-01", end="2025-12-31")
    fs.materialize_online(feature="order_amount_7d")
    monkeypatch.chdir(root)
    monkeypatch.setenv("TIMEWELL_NOW", NOW)
    return fs


def spent(user: int, at: datetime, *, refunds: bool) -> float:
    """A user's orders of the seven days before an instant, added up by hand."""
    inside = [row for row in orders() if row[0] == user and at - timedelta(days=7) <= row[1] < at]
    return sum(amount for _, _, amount, kind in inside if refunds or kind != "refund")


def served(fs: tw.FeatureStore) -> list[object]:
    answer = fs.get_online_features(["order_amount_7d"], [{"user_id": user} for user in range(USERS)])
    return [row["order_amount_7d"] for row in answer.to_dicts()]


def trained(fs: tw.FeatureStore) -> list[object]:
    """The values of every user at the end of three days, from training data."""
    at = [datetime(2025, 8, day, tzinfo=UTC) for day in (2, 9, 31)]
    spine = pa.table(
        {"user_id": list(range(USERS)) * 3, "ts": pa.array([one for one in at for _ in range(USERS)])},
    )
    return (
        fs.get_historical_features(spine, ["order_amount_7d"], event_time="ts")
        .to_arrow()["order_amount_7d"]
        .to_pylist()
    )


def test_the_seeds_example_runs_as_written_and_is_refused_for_what_it_does(shop: tw.FeatureStore) -> None:
    from timewell.active import (
        daterange,
        promote_shadow,
        read_source,
        validate_shadow_vs_prod,
        write_feature_partition,
    )

    names = {
        "daterange": daterange,
        "promote_shadow": promote_shadow,
        "validate_shadow_vs_prod": validate_shadow_vs_prod,
        "write_feature_partition": write_feature_partition,
        "read_orders": lambda dt: read_source("warehouse.orders", dt).to_pandas(),
    }
    before = (served(shop), trained(shop), shop.offline_files("order_amount_7d"))

    with pytest.raises(PromoteRefused) as refused:
        exec(EXAMPLE, names)  # the example as it stands in the document

    assert "order_amount_7d" in str(refused.value)
    assert "the function computes the sum of 1d, not of the 7d that are declared" in str(refused.value)
    [shadow] = shop.project.registry.shadows.find(status="open")
    assert (shadow.engine, len(shop.project.registry.shadows.staged(shadow.id))) == ("function", DAYS)
    assert (served(shop), trained(shop), shop.offline_files("order_amount_7d")) == before


def test_the_corrected_version_is_promoted_taken_back_and_promoted_again(shop: tw.FeatureStore) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    shop.register_feature(CORRECTED)
    old, new = ([spent(user, at, refunds=refunds) for user in range(USERS)] for refunds in (True, False))
    assert old != new
    assert served(shop) == old

    built = shop.backfill("order_amount_7d", start=date(2025, 7, 1), end=date(2025, 12, 31))
    assert (built.version, built.live_version, built.computed, built.pending) == ("v2", "v1", DAYS, 0)
    assert served(shop) == old
    with pytest.raises(PromoteRefused, match="not validated"):
        shop.promote_shadow("order_amount_7d")
    checks: list[object] = ["count", "null_rate", "p50", {"type": "mean", "direction": "down", "min_change": -0.3}]
    report = shop.validate_shadow_vs_prod("order_amount_7d", checks=checks)
    assert report.passed, report
    before = shop.project.registry.epoch()

    [promoted] = shop.promote_shadow("order_amount_7d")
    assert (promoted.from_version, promoted.to_version, promoted.partitions) == ("v1", "v2", DAYS)
    assert shop.project.registry.epoch() > before
    assert served(shop) == new
    assert trained(shop) == [
        spent(u, datetime(2025, 8, d, tzinfo=UTC), refunds=False) for d in (2, 9, 31) for u in range(USERS)
    ]

    # the version before is refreshed beside the live one for its rollback window
    refreshed = {f"{one.group}@{one.version}" for one in shop.materialize_online()}
    assert refreshed == {"order_amount_7d@v1", "order_amount_7d@v2"}

    taken = shop.rollback("order_amount_7d")
    assert (taken.promotion.to_version, taken.promotion.undoes) == ("v1", promoted.id)
    assert served(shop) == old

    [again] = shop.promote_shadow("order_amount_7d")
    assert (again.to_version, served(shop)) == ("v2", new)
    kinds = [(line.kind, line.to_version) for line in shop.history("order_amount_7d")]
    assert kinds == [("promote", "v2"), ("rollback", "v1"), ("promote", "v2"), ("promote", "v1")]
    with pytest.raises(NoShadow):
        shop.promote_shadow("order_amount_7d")


def test_a_late_order_reopens_its_seven_days_and_a_second_run_does_nothing(shop: tw.FeatureStore) -> None:
    late = (3, datetime(2025, 9, 10, 12, tzinfo=UTC), 7.0, "order")
    write(shop.project.root, [*orders(), late])
    first, second = (shop.materialize_offline("order_amount_7d", start="2025-07-01", end="2025-12-31")[0] for _ in "12")
    assert (first.computed, first.skipped) == (7, DAYS - 7)
    assert (second.computed, second.skipped) == (0, DAYS)


def test_days_taken_back_within_a_version_stay_as_they_are_put(shop: tw.FeatureStore) -> None:
    files = {file.start_us: file.path for file, _ in shop.offline_files("order_amount_7d")}
    changed = [row if row[1] < datetime(2025, 12, 1, tzinfo=UTC) else (*row[:2], 0.0, row[3]) for row in orders()]
    write(shop.project.root, changed)
    [run] = shop.materialize_offline("order_amount_7d", start="2025-07-01", end="2025-12-31")
    assert run.computed == 31

    taken = shop.rollback("order_amount_7d")
    assert taken.promotion.partitions == 31
    assert {file.start_us: file.path for file, _ in shop.offline_files("order_amount_7d")} == files
    [again] = shop.materialize_offline("order_amount_7d", start="2025-07-01", end="2025-12-31")
    assert (again.computed, again.held) == (0, 31)
    tomorrow = tw.FeatureStore(shop.project.root, now="2026-01-02T00:00:00Z")
    [next_day] = tomorrow.materialize_offline("order_amount_7d", start="2025-07-01", end="2026-01-01")
    assert (next_day.computed, next_day.held) == (1, 31)
    kept = {file.start_us: file.path for file, _ in tomorrow.offline_files("order_amount_7d")}
    assert files.items() <= kept.items()
    tomorrow.close()


def test_what_was_never_promoted_cannot_be_taken_back(shop: tw.FeatureStore) -> None:
    shop.register_feature({**DEFINITION, "name": "other_7d"})
    with pytest.raises(UnknownPromotion):
        shop.rollback("other_7d")
