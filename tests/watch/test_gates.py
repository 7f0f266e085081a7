"""What a gate keeps out is told to the owner: of a daily run, and of a backfill whose validation fails."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw

ORDERS = {"user_id": [7, 8], "order_ts": ["2026-02-20T09:00:00Z", "2026-02-25T12:00:00Z"], "amount": [10, 5]}
PASSES = ["count"]
FAILS = [{"type": "mean", "direction": "up", "min_change": 0.5}]  # nothing changed


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-03-01T00:00:00Z")
    fs.register_source(tw.Source(name="orders", frame=pa.table(ORDERS), event_time="order_ts"))
    fs.register_feature(
        tw.Feature(
            name="amount_7d",
            owner="growth@company",
            entity="user_id",
            source="orders",
            aggregation=tw.sum("amount", window="7d"),
        )
    )
    fs.materialize_offline(start="2026-02-26", end="2026-02-28")
    fs.backfill("amount_7d", days=3)
    return fs


def told(fs: tw.FeatureStore) -> list[tuple[str, str, str]]:
    notices = [turn.notice for turn in fs.watch().outcome.turns if turn.notice is not None]
    return [(one.kind, one.state.key[3], one.state.owner) for one in notices]


def test_a_backfill_that_fails_its_validation_is_told_until_it_passes(shop: tw.FeatureStore) -> None:
    assert told(shop) == []
    assert not shop.validate_shadow_vs_prod("amount_7d", FAILS).passed
    assert told(shop) == [("breach", "gate", "growth@company")]
    assert told(shop) == []
    assert shop.validate_shadow_vs_prod("amount_7d", PASSES).passed
    assert told(shop) == [("resolved", "gate", "growth@company")]


@pytest.mark.parametrize("end", ["promote", "abandon"])
def test_it_is_well_again_once_the_backfill_is_let_in_or_given_up(shop: tw.FeatureStore, end: str) -> None:
    shop.validate_shadow_vs_prod("amount_7d", FAILS)
    assert told(shop) == [("breach", "gate", "growth@company")]
    if end == "promote":
        shop.promote_shadow("amount_7d", force="it is meant to")
    else:
        shop.abandon_shadow("amount_7d")
    assert told(shop) == [("resolved", "gate", "growth@company")]
