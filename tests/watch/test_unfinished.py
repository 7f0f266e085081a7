"""A shadow that stands open is told: after a day in which nothing was done about it, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog.lookup import load_catalog
from timewell.clock import FrozenClock
from timewell.types import HOUR_US
from timewell.watch.signal import Signal
from timewell.watch.unfinished import unfinished_signals

ORDERS = {"user_id": [7, 8], "order_ts": ["2026-02-20T09:00:00Z", "2026-02-25T12:00:00Z"], "amount": [10, 5]}


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
    return fs


def after(fs: tw.FeatureStore, hours: float) -> Signal | None:
    """Let time pass and measure."""
    cast("FrozenClock", fs.project.clock).move(round(hours * HOUR_US))
    found = unfinished_signals(fs.project, load_catalog(fs.project))
    return found[0] if found else None


def test_a_version_that_nobody_ever_backfilled_has_no_signal(shop: tw.FeatureStore) -> None:
    shop.materialize_offline(start="2026-02-26", end="2026-02-28")  # a daily run's shadow is no person's
    assert after(shop, 48) is None


def test_an_open_shadow_ages_until_something_is_done_about_it(shop: tw.FeatureStore) -> None:
    shop.backfill("amount_7d", days=3)
    ages = [after(shop, hours) for hours in (19, 0.2, 4.8)]
    assert [(signal.state, signal.cause) for signal in ages if signal] == [
        ("ok", ""),
        ("warning", "LEFT_OPEN"),
        ("breached", "LEFT_OPEN"),
    ]
    told = ages[-1]
    assert told is not None
    assert (told.owner, str(told.subject)) == ("growth@company", "amount_7d@v1")
    assert "3 partitions" in str(told.details["problem"])
    shop.validate_shadow_vs_prod("amount_7d")
    looked_at = after(shop, 1)
    assert looked_at is not None
    assert (looked_at.state, looked_at.details["age_s"]) == ("ok", 3600)


@pytest.mark.parametrize("end", ["promote", "abandon"])
def test_it_is_well_again_once_the_shadow_is_closed(shop: tw.FeatureStore, end: str) -> None:
    shop.backfill("amount_7d", days=3)
    assert after(shop, 30) is not None
    if end == "promote":
        shop.promote_shadow("amount_7d", force="a test")
    else:
        shop.abandon_shadow("amount_7d")
    closed = after(shop, 30)
    assert closed is not None
    assert (closed.state, closed.value) == ("ok", 0.0)
