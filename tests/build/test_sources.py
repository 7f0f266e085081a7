"""Where rows may come from: every kind of location gives the same answers, and nothing else can be read."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import DefinitionError, NaiveTimestamp, SourceUnreadable, TimewellError, UnknownSource

ROWS = [
    {"user_id": 1, "paid_at": "2026-01-01T00:00:00Z", "amount": 5},
    {"user_id": 1, "paid_at": "2026-01-02T00:00:00Z", "amount": 7},
    {"user_id": 2, "paid_at": "2026-01-02T12:00:00Z", "amount": 11},
]
SPINE = pa.table({"user_id": [1, 2, 3], "event_ts": ["2026-01-03T00:00:00Z"] * 3})


def frame() -> pa.Table:
    """The rows with real timestamps."""
    instants = [datetime.fromisoformat(str(row["paid_at"])) for row in ROWS]
    columns = {name: [row[name] for row in ROWS] for name in ("user_id", "amount")}
    return pa.table({**columns, "paid_at": pa.array(instants, pa.timestamp("us", tz="UTC"))})


def in_parquet(root: Path) -> tw.Source:
    (root / "parts").mkdir()
    for number in range(3):
        pq.write_table(frame().slice(number, 1), root / "parts" / f"{number}.parquet")
    return tw.Source(name="payments", path="parts/*.parquet", event_time="paid_at")


def in_csv(root: Path) -> tw.Source:
    with (root / "payments.csv").open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ["user_id", "paid_at", "amount"])
        writer.writeheader()
        writer.writerows(ROWS)
    return tw.Source(name="payments", path="payments.csv", event_time="paid_at")


def in_json(root: Path) -> tw.Source:
    (root / "payments.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    return tw.Source(name="payments", path="payments.jsonl", event_time="paid_at")


def in_sqlite(root: Path) -> tw.Source:
    database = sqlite3.connect(root / "shop.sqlite")
    database.execute("CREATE TABLE payments (user_id INTEGER, paid_at TEXT, amount INTEGER)")
    database.executemany("INSERT INTO payments VALUES (:user_id, :paid_at, :amount)", ROWS)
    database.commit()
    database.close()
    return tw.Source(name="payments", table="payments", database="shop.sqlite", event_time="paid_at")


def in_duckdb(root: Path) -> tw.Source:
    pq.write_table(frame(), root / "x.parquet")
    with duckdb.connect(str(root / "shop.duckdb")) as database:
        database.execute(f"CREATE SCHEMA pay; CREATE TABLE pay.ments AS FROM '{root / 'x.parquet'}'")
    return tw.Source(name="payments", table="pay.ments", database="shop.duckdb", event_time="paid_at")


def in_a_frame(_root: Path) -> tw.Source:
    return tw.Source(name="payments", frame=frame(), event_time="paid_at")


def in_polars(_root: Path) -> tw.Source:
    return tw.Source(name="payments", frame=pl.from_arrow(frame()), event_time="paid_at")


MAKERS = [in_parquet, in_csv, in_json, in_sqlite, in_duckdb, in_a_frame, in_polars]


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """An empty project that refuses timestamps without a zone."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")
    (fs.project.root / "timewell.toml").write_text('project = "shop"\n')
    return tw.FeatureStore(fs.project.root, now="2026-02-01T00:00:00Z")


def paid(fs: tw.FeatureStore, source: str) -> list[object]:
    """Register the sum of 30 days over a source and ask for it."""
    feature = tw.Feature(
        name="paid_30d",
        owner="t@company",
        entity="user_id",
        source=source,
        aggregation=tw.sum("amount", window="30d"),
    )
    fs.register_feature(feature)
    values: list[object] = fs.get_historical_features(SPINE, ["paid_30d"]).to_arrow()["paid_30d"].to_pylist()
    return values


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_every_location_gives_the_same_answers(shop: tw.FeatureStore, make: Callable[[Path], tw.Source]) -> None:
    shop.register_source(make(shop.project.root))

    assert paid(shop, "payments") == [12, 11, 0]


@pytest.mark.parametrize("name", ["raw", "warehouse.raw", "lake.warehouse.raw"])
def test_a_query_over_other_sources_names_them_with_up_to_three_parts(shop: tw.FeatureStore, name: str) -> None:
    shop.register_source(tw.Source(name=name, frame=frame(), event_time="paid_at"))
    query = f"SELECT user_id, paid_at, amount * 2 AS amount FROM {name} WHERE amount < 11"
    shop.register_source(tw.Source(name="doubled", sql=query, event_time="paid_at"))

    assert paid(shop, "doubled") == [24, 0, 0]


def test_another_process_reads_a_registered_frame(shop: tw.FeatureStore) -> None:
    shop.register_source(in_a_frame(shop.project.root))
    shop.close()

    assert paid(tw.FeatureStore(shop.project.root), "payments") == [12, 11, 0]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT content AS amount, 1 AS user_id FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/out.csv'",
        "SELECT 1; SELECT 2",
        "ATTACH '/tmp/x.db'",
        "SELECT * FROM payments, read_text('/etc/hostname')",
    ],
)
def test_a_query_reads_registered_sources_and_nothing_else(shop: tw.FeatureStore, query: str) -> None:
    shop.register_source(in_parquet(shop.project.root))

    with pytest.raises(TimewellError):
        shop.register_source(tw.Source(name="stolen", sql=query, event_time="paid_at"))
    with pytest.raises(TimewellError):
        shop.get_historical_features(query, ["x"])


@pytest.mark.parametrize(
    "condition",
    [
        "amount > (SELECT 1)",
        "amount IN (SELECT amount FROM read_csv('/etc/passwd'))",
        "1 = 1) OR (1 = 1",
        "amount > 1 GROUP BY amount",
        "sum(amount) > 1",
        "amount > 1; DROP TABLE x",
        "amount >",
    ],
)
def test_a_filter_is_one_condition_on_one_row(shop: tw.FeatureStore, condition: str) -> None:
    shop.register_source(in_parquet(shop.project.root))

    with pytest.raises(DefinitionError, match="filter"):
        shop.register_feature(
            tw.Feature(
                name="paid",
                owner="t@company",
                entity="user_id",
                source="payments",
                filter=condition,
                aggregation=tw.latest("amount"),
            )
        )


def test_a_filter_may_hold_a_comment_quotes_and_odd_column_names(shop: tw.FeatureStore) -> None:
    odd = frame().append_column('say "hi"', pa.array(["a  b", "it's", None]))
    shop.register_source(tw.Source(name="payments", frame=odd, event_time="paid_at"))
    feature = tw.Feature(
        name="paid",
        owner="t@company",
        entity="user_id",
        source="payments",
        filter="\"say \"\"hi\"\"\" IN ('a  b', 'it''s') -- two spaces count",
        aggregation=tw.count('say "hi"', window="30d"),
    )
    shop.register_feature(feature)

    assert shop.get_historical_features(SPINE, ["paid"]).to_arrow()["paid"].to_pylist() == [2, 0, 0]


def test_text_times_without_a_zone_are_refused_and_read_in_the_zone_that_is_declared(shop: tw.FeatureStore) -> None:
    rows = [{**row, "paid_at": str(row["paid_at"]).replace("T00:00:00Z", " 00:00:00")} for row in ROWS[:2]]
    (shop.project.root / "p.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    shop.register_source(tw.Source(name="naive", path="p.jsonl", event_time="paid_at"))
    with pytest.raises(NaiveTimestamp, match="paid_at"):
        paid(shop, "naive")

    shop.register_source(tw.Source(name="oslo", path="p.jsonl", event_time="paid_at", timezone="Europe/Oslo"))
    feature = tw.Feature(name="newest", owner="t@c", entity="user_id", source="oslo", aggregation=tw.count(window="1d"))
    shop.register_feature(feature)
    spine = pa.table({"user_id": [1, 1], "event_ts": ["2026-01-01T23:00:00Z", "2026-01-01T23:00:00.000001Z"]})
    # midnight in Oslo is 23:00 UTC the day before; strictly before
    assert shop.get_historical_features(spine, ["newest"]).to_arrow()["newest"].to_pylist() == [1, 1]
    later = pa.table({"user_id": [1], "event_ts": [datetime(2026, 1, 2, 22, 59, tzinfo=UTC)]})
    assert shop.get_historical_features(later, ["newest"]).to_arrow()["newest"].to_pylist() == [1]


def test_a_missing_file_and_an_unknown_table_are_named(shop: tw.FeatureStore) -> None:
    with pytest.raises(SourceUnreadable, match=r"nowhere/\*\.parquet"):
        shop.register_source(tw.Source(name="payments", path="nowhere/*.parquet", event_time="t"))
    with pytest.raises(UnknownSource, match="paymens"):
        shop.register_source(tw.Source(name="q", sql="SELECT * FROM paymens", event_time="t"))


def test_parts_below_a_microsecond_round_a_row_up_and_a_spine_down(shop: tw.FeatureStore) -> None:
    moment = 1_767_225_600_000_000_000
    rows = pa.table({"user_id": [1], "at": pa.array([moment + 1_500], pa.timestamp("ns", tz="UTC")), "amount": [5]})
    shop.register_source(tw.Source(name="fine", frame=rows, event_time="at", kind="snapshots"))
    feature = tw.Feature(
        name="fine_amount", owner="t@c", entity="user_id", source="fine", aggregation=tw.latest("amount")
    )
    shop.register_feature(feature)
    asked = [moment + 1_999, moment + 2_000]
    spine = pa.table({"user_id": [1, 1], "ts": pa.array(asked, pa.timestamp("ns", tz="UTC"))})

    assert shop.get_historical_features(spine, ["fine_amount"]).to_arrow()["fine_amount"].to_pylist() == [None, 5]
