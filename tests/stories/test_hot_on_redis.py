"""What is hot is read without a look at Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.testing.redis_server import RedisServer, running_server

NOW = "2026-03-01T00:00:00Z"
TOML = """
project = "shop"

[online]
backend = "redis"
url = "redis://127.0.0.1:{port}/0"

[serving]
timeout = "10s"
on_unavailable = "error"
cache_entries = 0
"""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_server() as running:
        yield running


@pytest.mark.parametrize(("tier", "least", "most"), [("warm", 20, 40), ("hot", 0, 5)])
def test_a_hot_read_asks_redis_nothing(tier: str, least: int, most: int, tmp_path: Path, server: RedisServer) -> None:
    (tmp_path / "timewell.toml").write_text(TOML.format(port=server.port))
    fs = tw.FeatureStore(tmp_path, now=NOW)
    orders = pa.table({"user_id": [7, 8], "order_ts": ["2026-02-27T10:00:00Z"] * 2, "amount": [10, 20]})
    fs.register_source(tw.Source(name="orders", frame=orders, event_time="order_ts", timezone="UTC"))
    feature = tw.Feature(
        name="order_amount_7d", owner="growth@company", entity="user_id", source="orders", ttl="14d", online=True,
        aggregation=tw.sum("amount", window="7d"), tier=tier,
    )  # fmt: skip
    fs.register_feature(feature)
    fs.materialize_online()
    entities = [{"user_id": 7}, {"user_id": 9}]
    fs.get_online_features("order_amount_7d", entities)
    fs._reader._origins.hot.wait()
    before = reads(server)

    answers = [fs.get_online_features("order_amount_7d", entities).rows for _ in range(20)]

    assert answers == [[[10], [0]]] * 20
    assert least <= reads(server) - before <= most
    fs.close()


def reads(server: RedisServer) -> int:
    """Return how often Redis was asked for rows so far."""
    told = server.ask("INFO", "commandstats")
    text = told.decode() if isinstance(told, bytes) else str(told)
    lines = [line for line in text.split("\r\n") if line.startswith("cmdstat_mget:")]
    return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0
