"""Replay and why on the command line: for people, as a document, and as an exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def served(shop: Path, cli: Callable[..., Any]) -> Path:
    """Two vectors were served, and kept as samples."""
    with (shop / "timewell.toml").open("a") as file:
        file.write("\n[serving]\nsample_rate = 1.0\n")
    assert cli("get", "order_amount_7d", "--entity", "user_id=7", "--entity", "user_id=8").code == 0
    return shop


def late(shop: Path) -> None:
    """An order of yesterday comes in."""
    table = pq.read_table(next((shop / "data").glob("*.parquet")))
    row = table.slice(0, 1).set_column(
        table.column_names.index("order_ts"), "order_ts", pa.array([datetime(2025, 12, 31, tzinfo=UTC)])
    )
    pq.write_table(row.cast(table.schema), shop / "data" / "late.parquet")


def test_a_quiet_replay_is_code_0(served: Path, cli: Callable[..., Any]) -> None:
    ran = cli("replay")
    assert ran.code == 0
    assert ran.out.startswith("0 of 2 values differ (0.0000%) in all 2 sampled vectors; 0 lag\n")
    assert cli("replay", "--json").document["mismatch_rate"] == 0


def test_a_value_that_differs_is_code_1_with_its_cause(served: Path, cli: Callable[..., Any]) -> None:
    late(served)
    ran = cli("replay", "--features", "order_amount_7d", "--since", "1h", "--json")
    assert (ran.code, ran.document["different"], ran.document["causes"]) == (1, 1, {"late data": 1})
    [one] = ran.document["mismatches"]
    assert (one["key"], one["cause"], one["kind"]) == ({"user_id": 7}, "late data", "mismatch")
    assert "late data, the row of 2025-12-31T00:00:00Z was not there yet" in cli("replay", "--limit", "0").out


def test_without_samples_there_is_nothing_to_replay(shop: Path, cli: Callable[..., Any]) -> None:
    ran = cli("replay")
    assert (ran.code, ran.out) == (0, "nothing to replay: no sample was found\n")
    assert cli("replay", "--features", "order_amount").code == 2
    assert cli("replay", "--limit", "-1").code == 2


@pytest.mark.parametrize("entity", ["user_id=7", "7", '{"user_id": 7}'])
def test_one_value_is_explained(served: Path, cli: Callable[..., Any], entity: str) -> None:
    ran = cli("why", "order_amount_7d", entity)
    assert ran.code == 0
    assert ran.out.startswith("order_amount_7d:order_amount_7d@v1 of user_id=7 at 2026-01-01T00:00:00Z\n")
    assert "7 count; 24 outside" in ran.out


def test_a_wrong_value_is_explained_with_code_1_and_an_earlier_one_by_its_sample(
    served: Path, cli: Callable[..., Any]
) -> None:
    late(served)
    ran = cli("why", "order_amount_7d", "user_id=7", "--json")
    assert (ran.code, ran.document["online"]["cause"]) == (1, "late data")
    earlier = cli("why", "order_amount_7d", "user_id=7", "--at", "2025-12-31T12:00:00Z", "--json")
    assert (earlier.code, earlier.document["online"]) == (0, None)
    assert cli("why", "order_amount_7d", "user_id=x").code == 2
