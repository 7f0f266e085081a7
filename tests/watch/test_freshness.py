"""How fresh features are said to be: of both stores, of what is computed, when runs fail, sources die, stores are lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.errors import PromoteRefused, SourceUnreadable, StoreUnavailable, UnknownFeature
from timewell.types import DAY_US, HOUR_US, SECOND_US, parse_instant
from timewell.watch.freshness import FreshnessRow, signals
from timewell.watch.signal import Signal

NOON = "2026-03-10T12:00:00Z"
NOON_US = parse_instant(NOON)
FINE = {("fresh", ""), ("fresh", "SOURCE_QUIET")}


def write(root: Path, *instants: str) -> None:
    moments = [datetime.fromisoformat(instant).replace(tzinfo=UTC) for instant in instants]
    columns = {"user_id": [1] * len(moments), "amount": [5] * len(moments)}
    pq.write_table(
        pa.table({**columns, "paid_at": pa.array(moments, pa.timestamp("us", tz="UTC"))}), root / "rows.parquet"
    )


class Shop:
    """A project whose clock a test sets; its group ``spend`` has an online feature that promises a day."""

    def __init__(self, folder: Path) -> None:
        self.fs = tw.FeatureStore.init(folder, now=NOON)
        self.root = self.fs.project.root
        write(self.root, "2026-03-09T12:00:00", "2026-03-10T11:00:00")

    @property
    def clock(self) -> FrozenClock:
        return cast("FrozenClock", self.fs.project.clock)

    def register(self, source: Mapping[str, Any] = {}, **group: Any) -> None:
        place = {"name": "payments", "path": "rows.parquet", "event_time": "paid_at"}
        self.fs.register_source(tw.Source(**{**place, **source}))
        given = {"name": "spend", "entity": "user_id", "source": "payments", "owner": "risk@shop", "ttl": "30d"}
        paid = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
        given |= {"online": True, "freshness_sla": "24h", "features": (paid,)}
        self.fs.register_group(tw.FeatureGroup(**{**given, **group}))

    def row(self, feature: str = "paid_7d") -> FreshnessRow:
        return next(row for row in self.fs.freshness().rows if row.feature == feature)

    def signal(self) -> Signal:
        [signal] = signals(self.fs.freshness())
        return signal

    def wait(self, hours: float) -> None:
        self.clock.move(round(hours * HOUR_US))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


# --- which clock is judged -------------------------------------------------------------------------------------------


def test_an_online_feature_is_judged_by_its_build(shop: Shop) -> None:
    shop.register({"delay": "1h"})
    shop.fs.materialize_online("spend")
    shop.wait(5)
    row = shop.row()
    assert (row.clocks.store, row.clocks.run_us, row.clocks.as_of_us) == ("online", NOON_US, NOON_US)
    assert row.clocks.data_us == NOON_US - HOUR_US
    assert (row.clocks.data_through_us, row.age_s, row.state) == (NOON_US - HOUR_US, 6 * 3600, "fresh")
    assert (row.owner, row.source, row.sla_us) == ("risk@shop", "payments", DAY_US)
    assert row.verdict.breach_us == NOON_US + 23 * HOUR_US


def test_an_offline_feature_is_judged_by_its_table_and_a_newer_build_does_not_help(shop: Shop) -> None:
    shop.register(
        features=(
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
            tw.Feature(name="paid_30d", aggregation=tw.sum("amount", window="30d"), online=False),
        )
    )
    shop.fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    shop.fs.materialize_online("spend")
    shop.wait(1)
    assert (shop.row("paid_7d").clocks.store, shop.row("paid_7d").age_s) == ("online", 3600)
    assert (shop.row("paid_30d").clocks.store, shop.row("paid_30d").age_s) == ("offline", 13 * 3600)
    both = {(one.store, one.data_through_us) for one in shop.fs.freshness().clocks}
    assert both == {("online", NOON_US), ("offline", NOON_US - 12 * HOUR_US)}


def test_a_feature_that_is_computed_on_read_is_as_fresh_as_its_source(shop: Shop) -> None:
    (shop.root / "loaded").write_text("2026-03-10T10:00:00Z")
    shop.register({"marker": "loaded"}, online="computed")
    row = shop.row()
    assert (row.clocks.store, row.age_s, row.state) == ("source", 2 * 3600, "fresh")
    assert row.verdict.breach_us == NOON_US + 22 * HOUR_US
    shop.wait(23)
    assert (shop.row().state, shop.row().cause) == ("breached", "SOURCE_LATE")


def test_a_computed_feature_whose_source_cannot_be_read_is_unknown(shop: Shop) -> None:
    shop.register({"marker": "loaded"}, online="computed")
    row = shop.row()
    assert (row.state, row.age_s) == ("unknown", None)
    assert "marker loaded" in row.verdict.reason
    assert shop.fs.check_freshness() == [("paid_7d", None, 86_400)]
    with pytest.raises(SourceUnreadable):
        shop.fs.get_last_update_epoch("paid_7d")


def test_what_was_flagged_online_after_the_last_build_was_never_built(shop: Shop) -> None:
    features = [tw.Feature(name=f"paid_{days}d", aggregation=tw.sum("amount", window=f"{days}d")) for days in (7, 30)]
    shop.register(features=(features[0], features[1].model_copy(update={"online": False})))
    shop.fs.materialize_online("spend")
    shop.register(features=tuple(features))
    assert (shop.row("paid_7d").state, shop.row("paid_30d").state) == ("fresh", "never")
    assert shop.fs.get_last_update_epoch("paid_30d") is None


def test_what_a_service_pins_is_watched_and_what_nobody_can_ask_for_is_not(shop: Shop) -> None:
    shop.register()
    shop.fs.materialize_online("spend")
    shop.fs.register_service(tw.FeatureService(name="fraud", features=("paid_7d",)))
    shop.register(version="v2", filter="amount > 1")
    shop.fs.backfill("spend", start="2026-03-09", end="2026-03-09")
    shop.fs.validate_shadow_vs_prod("spend")
    shop.fs.promote_shadow("spend")
    assert [row.feature for row in shop.fs.freshness().rows] == ["paid_7d", "paid_7d@v1"]
    assert {row.version: row.state for row in shop.fs.freshness().rows} == {"v2": "fresh", "v1": "fresh"}
    assert [row.version for row in shop.fs.freshness("paid_7d").rows] == ["v2"]


# --- states and causes of real runs ----------------------------------------------------------------------------------


def test_a_feature_that_was_never_built(shop: Shop) -> None:
    shop.register()
    assert (shop.row().state, shop.row().cause, shop.row().age_s) == ("never", "PIPELINE_LATE", None)
    assert shop.fs.check_freshness() == [("paid_7d", None, 86_400)]
    assert shop.fs.get_last_update_epoch("paid_7d") is None


def test_a_pipeline_that_stops_is_warned_of_before_it_is_in_breach_and_heals(shop: Shop) -> None:
    shop.register()
    shop.fs.materialize_online("spend")
    seen = []
    for hours in (0, 19, 1, 3, 1):  # 12:00, 07:00, 08:00, 11:00, 12:00
        shop.wait(hours)
        seen.append((shop.row().state, shop.row().cause))
    late = "PIPELINE_LATE"
    assert seen == [("fresh", ""), ("fresh", ""), ("warning", late), ("warning", late), ("breached", late)]
    assert shop.fs.check_freshness() == [("paid_7d", 86_400, 86_400)]
    shop.fs.materialize_online("spend")
    assert (shop.row().state, shop.fs.check_freshness()) == ("fresh", [])


def test_a_pipeline_whose_runs_fail_says_why(shop: Shop) -> None:
    shop.register()
    shop.fs.materialize_online("spend")
    (shop.root / "rows.parquet").rename(shop.root / "away")
    shop.wait(22)
    with pytest.raises(SourceUnreadable):
        shop.fs.materialize_online("spend")
    clocks = shop.row().clocks
    assert (shop.row().state, shop.row().cause) == ("warning", "PIPELINE_LATE")
    assert (clocks.failures, clocks.error, clocks.failed_us) == (1, "source_unreadable", NOON_US + 22 * HOUR_US)
    assert "rows.parquet" in clocks.problem


def hourly_runs(shop: Shop, hours: int) -> set[tuple[str, str]]:
    """Run every hour, and return what was said half an hour after each run."""
    said = set()
    for _ in range(hours):
        shop.wait(0.5)
        shop.fs.materialize_online("spend")
        shop.wait(0.5)
        said.add((shop.row().state, shop.row().cause))
    return said


@pytest.mark.parametrize("says", [{}, {"quiet_after": "12h"}, {"marker": "loaded"}])
def test_a_quiet_night_is_no_breach(shop: Shop, says: dict[str, str]) -> None:
    """Nothing happens for nine hours, which is nine times the SLA; the runs go on and the source is complete."""
    (shop.root / "loaded").write_text("2026-03-10T22:00:00Z")
    shop.register(says, freshness_sla="1h")
    assert hourly_runs(shop, 9) <= FINE


@pytest.mark.parametrize("says", [{"quiet_after": "1h"}, {"marker": "loaded"}])
def test_a_dead_source_under_runs_that_succeed_is_late(shop: Shop, says: dict[str, str]) -> None:
    (shop.root / "loaded").write_text("2026-03-10T12:00:00Z")
    shop.register(says, freshness_sla="4h")
    assert hourly_runs(shop, 3) <= FINE
    assert hourly_runs(shop, 2) >= {("breached", "SOURCE_LATE")}
    assert shop.row().clocks.run_us == shop.clock.now_us() - HOUR_US // 2  # by the run clock all is well


def test_a_source_that_recovers_ends_the_breach_with_the_next_run(shop: Shop) -> None:
    (shop.root / "loaded").write_text("2026-03-10T12:00:00Z")
    shop.register({"marker": "loaded"}, freshness_sla="4h")
    hourly_runs(shop, 5)
    (shop.root / "loaded").write_text("2026-03-10T17:00:00Z")
    assert shop.row().state == "breached"  # what is served does not know of it yet
    assert hourly_runs(shop, 1) <= FINE


def test_a_table_whose_tests_refuse_new_days_is_blocked_by_the_gate_until_they_pass(shop: Shop) -> None:
    shop.register(online=False, tests=({"type": "range", "min": 0, "max": 12},))
    shop.fs.materialize_offline("spend", start="2026-03-09", end="2026-03-09")
    write(shop.root, "2026-03-09T12:00:00", *[f"2026-03-10T1{hour}:00:00" for hour in range(4)])
    shop.wait(36)
    with pytest.raises(PromoteRefused):
        shop.fs.materialize_offline("spend", start="2026-03-09", end="2026-03-10")
    assert (shop.row().state, shop.row().cause) == ("breached", "GATE_BLOCKED")
    assert shop.row().age_s == 48 * 3600  # what is live stays what it was, and so does its age
    write(shop.root, "2026-03-09T12:00:00", "2026-03-10T11:00:00")
    shop.fs.materialize_offline("spend", start="2026-03-09", end="2026-03-10")
    assert (shop.row().age_s, shop.row().clocks.failures) == (24 * 3600, 0)


def test_a_table_whose_days_wait_for_their_source_is_late_by_it(shop: Shop) -> None:
    (shop.root / "loaded").write_text("2026-03-10T00:00:00Z")
    shop.register({"marker": "loaded"}, online=False, freshness_sla="30h")
    shop.fs.materialize_offline("spend", start="2026-03-09", end="2026-03-09")
    shop.wait(24)
    [report] = shop.fs.materialize_offline("spend", start="2026-03-09", end="2026-03-10")
    assert report.pending == 1
    assert (shop.row().state, shop.row().cause) == ("breached", "SOURCE_LATE")


def test_the_share_at_which_a_warning_is_given_is_the_projects_or_the_features_own(shop: Shop) -> None:
    with (shop.root / "timewell.toml").open("a") as opened:
        opened.write("warn_share = 0.5\n")
    fs = shop.fs = tw.FeatureStore(shop.root, now=NOON)
    features = [tw.Feature(name=f"paid_{days}d", aggregation=tw.sum("amount", window=f"{days}d")) for days in (7, 30)]
    shop.register(features=(features[0], features[1].model_copy(update={"warn_share": 0.9})))
    fs.materialize_online("spend")
    shop.wait(13)
    assert [(row.feature, row.state) for row in fs.freshness().rows] == [("paid_7d", "warning"), ("paid_30d", "fresh")]


# --- what cannot be known --------------------------------------------------------------------------------------------


def test_a_store_that_was_emptied_serves_nothing_whatever_the_registry_says(shop: Shop) -> None:
    shop.register()
    shop.fs.materialize_online("spend")
    [build] = shop.fs.project.online.builds()
    shop.fs.project.online.drop(build)
    row = shop.row()
    assert (row.state, row.age_s) == ("unknown", None)
    assert build in row.verdict.reason
    assert shop.fs.check_freshness() == [("paid_7d", None, 86_400)]


def test_a_store_that_does_not_answer_leaves_it_unknown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.register()
    shop.fs.materialize_online("spend")

    def down(_build: str) -> None:
        raise StoreUnavailable(problem="no answer within 50 ms", store="redis")

    monkeypatch.setattr(shop.fs.project.online, "mark", down)
    assert shop.row().state == "unknown"
    assert "50 ms" in shop.row().verdict.reason


def test_a_clock_that_was_set_back_calls_nothing_fresh(shop: Shop) -> None:
    shop.register()
    shop.fs.materialize_online("spend")
    shop.wait(-1)
    assert (shop.row().state, shop.fs.check_freshness()) == ("unknown", [("paid_7d", None, 86_400)])
    shop.wait(1.5)
    assert shop.row().state == "fresh"


# --- one path --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("online", [True, False, "computed"])
@pytest.mark.parametrize("says", [{}, {"delay": "90m"}, {"quiet_after": "30m"}])
def test_the_epoch_and_the_report_tell_one_age(shop: Shop, online: object, says: dict[str, str]) -> None:
    shop.register(says, online=online, freshness_sla="1s")
    shop.clock.move(123_456)
    if online is True:
        shop.fs.materialize_online("spend")
    shop.fs.materialize_offline("spend", start="2026-03-08", end="2026-03-09")
    shop.clock.move(7 * HOUR_US + 999_999)
    now_s = shop.clock.now_us() // SECOND_US
    epoch = shop.fs.get_last_update_epoch("paid_7d")
    assert epoch is not None
    assert shop.row().age_s == now_s - epoch
    assert shop.fs.check_freshness() in ([("paid_7d", now_s - epoch, 1)], [])


def test_an_unknown_name_is_refused_with_the_near_one(shop: Shop) -> None:
    shop.register()
    with pytest.raises(UnknownFeature, match="paid_7d"):
        shop.fs.freshness("paid_7dd")


def test_what_promises_nothing_is_listed_and_not_checked(shop: Shop) -> None:
    shop.register(freshness_sla=None)
    assert (shop.row().state, shop.fs.check_freshness(), shop.fs.freshness().bad) == ("unpromised", [], [])


# --- what alerts are told --------------------------------------------------------------------------------------------


def test_a_version_gives_one_signal_of_its_worst_feature(shop: Shop) -> None:
    strict = tw.Feature(name="paid_1d", aggregation=tw.sum("amount", window="1d"), freshness_sla="6h", owner="a@shop")
    loose = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    free = tw.Feature(name="paid_30d", aggregation=tw.sum("amount", window="30d"), freshness_sla="60d")
    shop.register(features=(free, loose, strict))
    shop.fs.materialize_online("spend")
    shop.wait(5)
    signal = shop.signal()
    assert signal.key == (shop.fs.project.config.project, "spend", "v1", "freshness")
    assert (signal.state, signal.cause, signal.owner) == ("warning", "PIPELINE_LATE", "a@shop")
    assert signal.value == pytest.approx(5 / 6)
    assert (signal.details["features"], signal.details["source"]) == (["paid_1d"], "payments")
    assert (signal.details["age_s"], signal.details["sla_s"]) == (5 * 3600, 6 * 3600)
    assert signal.details["breach"] == "2026-03-10T18:00:00Z"
    shop.wait(20)
    assert (shop.signal().state, shop.signal().details["features"]) == ("breached", ["paid_7d", "paid_1d"])


def test_a_signal_is_ok_while_all_is_fresh_and_there_is_none_without_a_promise(shop: Shop) -> None:
    shop.register()
    assert (shop.signal().state, shop.signal().value) == ("never", None)
    shop.fs.materialize_online("spend")
    assert (shop.signal().state, shop.signal().value) == ("ok", 0.0)
    shop.register(freshness_sla=None)
    assert signals(shop.fs.freshness()) == []
