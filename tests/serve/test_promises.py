"""What was served is held against contracts in its samples: counted, logged once, and never in a request's way."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.server.metrics import metrics_text

NOW = "2026-03-01T12:00:00Z"
SHARED = {"entity": "user_id", "source": "payments", "owner": "risk@company", "ttl": "14d", "online": True}


def feature(**contract: object) -> tw.FeatureGroup:
    paid = tw.Feature(name="paid", aggregation=tw.latest("amount"), contract=contract or None)
    return tw.FeatureGroup(name="paying", features=[paid], **SHARED)


@pytest.fixture
def fs(tmp_path: Path) -> tw.FeatureStore:
    """Users 0 to 3 paid 0, 1, 2 and nothing that is known; every answer is sampled."""
    store = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    with (tmp_path / "shop" / "timewell.toml").open("a") as file:
        file.write("\n[serving]\nsample_rate = 1.0\n")
    store.close()
    store = tw.FeatureStore(tmp_path / "shop", now=NOW)
    at = pa.array([datetime(2026, 2, 27, tzinfo=UTC)] * 4, pa.timestamp("us", tz="UTC"))
    paid = pa.table({"user_id": range(4), "ts": at, "amount": [0.0, 1.0, 2.0, None]})
    store.register_source(tw.Source(name="payments", frame=paid, event_time="ts"))
    store.register_group(feature())
    store.materialize_online()
    return store


def served(fs: tw.FeatureStore) -> dict[str, float]:
    """Ask for everybody, one who was never seen as well, and return what is counted as broken."""
    for _ in range(2):
        answer = fs.get_online_features(["paid"], [{"user_id": user} for user in range(5)])
        assert [row[0] for row in answer.rows] == [0.0, 1.0, 2.0, None, None]
        fs._reader._account.write_samples()
    lines = metrics_text(fs).decode().splitlines()
    found = [line for line in lines if line.startswith("timewell_contract_breaks_total{")]
    return {line.partition('rule="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in found}


def test_what_breaks_a_contract_is_counted_and_logged_once(
    fs: tw.FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    fs.register_group(feature(min=2, nullable=False, policy="log"))
    with caplog.at_level(logging.WARNING, "timewell.serve"):
        assert served(fs) == {"range": 4.0, "nullable": 2.0}  # two of four values twice; one null twice, unseen is none
    told = [record.getMessage() for record in caplog.records if "break the contract" in record.getMessage()]
    assert len(told) == 2
    assert "paying@v1:paid: 2 of 4 values not in at least 2, such as 0.0" in told[1]
    fs.close()


def test_what_keeps_it_is_not_counted(fs: tw.FeatureStore) -> None:
    fs.register_group(feature(min=0))
    assert served(fs) == {}
    fs.close()
