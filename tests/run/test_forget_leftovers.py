"""Forgetting reaches what is not live any more: replaced frames, earlier snapshots, files of killed runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import WrongColumnType

PERSON = "anna@example.org"
GROUP = tw.FeatureGroup(
    name="payments",
    entity="email",
    source="payments",
    owner="t@company",
    features=[tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))],
)


def rows(amount: int, time: str = "paid_at") -> pa.Table:
    instants = pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("us", tz="UTC"))
    return pa.table({"email": [PERSON, "otto@example.org"], time: instants, "amount": [amount] * 2})


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    return tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")


def holders(fs: tw.FeatureStore) -> list[str]:
    """Return every Parquet file below the state that names the person."""
    tables = {path: pq.read_table(path) for path in fs.project.state.rglob("*.parquet")}
    return [str(path) for path, table in tables.items() if PERSON in str(table.to_pylist())]


def test_no_frame_and_no_earlier_partition_holds_the_key(shop: tw.FeatureStore) -> None:
    for amount in (5, 7):  # the second frame replaces the first, and the partition made of it
        shop.register_source(tw.Source(name="payments", frame=rows(amount), event_time="paid_at"))
        shop.register_group(GROUP)
        shop.materialize_offline(start="2026-01-03", end="2026-01-03")
    (_, path), *_ = shop.offline_files("payments")
    pq.write_table(pq.read_table(path), path.with_name("2026-01-03T000000-killed.parquet"))
    assert len(holders(shop)) == 5

    shop.forget("email", {"email": PERSON})

    assert holders(shop) == []
    assert [finding for finding in shop.doctor() if not finding.sound] == []


def test_a_frame_that_an_old_version_still_reads_loses_the_key_and_stays_readable(shop: tw.FeatureStore) -> None:
    for amount, time in ((5, "paid_at"), (7, "booked_at")):
        shop.register_source(tw.Source(name="payments", frame=rows(amount, time), event_time=time))
        shop.register_group(GROUP, bump=True)

    shop.forget("email", {"email": PERSON})

    assert holders(shop) == []
    spine = pa.table({"email": ["otto@example.org"], "event_ts": ["2026-01-05T00:00:00Z"]})
    found = shop.get_historical_features(spine, ["paid_7d@v1", "paid_7d@v2"]).to_arrow()
    assert (found["paid_7d@v1"].to_pylist(), found["paid_7d@v2"].to_pylist()) == ([5], [7])


def test_an_entity_has_one_kind_of_key(shop: tw.FeatureStore) -> None:
    shop.register_source(tw.Source(name="payments", frame=rows(5), event_time="paid_at"))
    shop.register_group(GROUP)
    numbered = rows(5).set_column(0, "email", pa.array([1, 2]))
    shop.register_source(tw.Source(name="numbered", frame=numbered, event_time="paid_at"))
    feature = tw.Feature(name="other", aggregation=tw.count(window="7d"))

    with pytest.raises(WrongColumnType, match="string"):
        shop.register_group(GROUP.model_copy(update={"name": "g2", "source": "numbered", "features": (feature,)}))
