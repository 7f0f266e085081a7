"""One value explained: the rows that count, those that do not and why, what is served, and what differs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog.transforms import Code
from timewell.errors import MissingKey, MissingRequestValue, TransformMismatch, UnknownFeature
from timewell.types import DAY_US, HOUR_US
from timewell.watch.why_on_demand import WhyOnDemand
from timewell.watch.why_report import Why

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.watch.replay_shop import Shop
    from timewell.clock import FrozenClock
    from timewell.define.on_demand import TransformUse

NOON = "2026-03-10T12:00:00Z"


def at(day: int, hour: int) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


ROWS = [  # amount, event, arrival, whether it was paid, number
    (1, at(1, 0), at(1, 1), True, 1),  # outside
    (2, at(8, 0), at(8, 1), True, 2),  # counts
    (4, at(8, 2), at(8, 3), False, 3),  # filtered
    (8, at(9, 0), at(11, 0), True, 4),  # not arrived
    (16, at(9, 2), at(9, 3), True, 5),  # superseded
    (32, at(9, 2), at(9, 4), True, 5),  # counts
    (None, at(9, 6), at(9, 7), True, 6),  # null
    (64, at(10, 12), at(10, 12), True, 7),  # future: a row never sees itself
]


def register_orders(store: tw.FeatureStore, rows: Sequence[Any] = ROWS) -> None:
    amount, event, arrival, paid, number = zip(*rows, strict=True)
    stamp = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "user_id": [7] * len(rows),
            "amount": pa.array(amount, pa.int64()),
            "at": pa.array(event, stamp),
            "loaded": pa.array(arrival, stamp),
            "paid": paid,
            "number": number,
        }
    )
    store.register_source(
        tw.Source(name="orders", frame=table, event_time="at", arrival_time="loaded", unique_on=("number",))
    )


def open_bank(folder: Path, *, online: bool = True) -> tw.FeatureStore:
    store = tw.FeatureStore.init(folder, now=NOON)
    register_orders(store)
    sums = tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))
    last = tw.Feature(name="last_paid", aggregation=tw.latest("amount"))
    given = {"ttl": "2d", "online": True} if online else {}
    store.register_group(
        tw.FeatureGroup(
            name="spend",
            entity="user_id",
            source="orders",
            filter="paid",
            owner="risk@bank",
            features=[sums, last],
            **given,
        )
    )
    return store


@pytest.fixture
def bank(tmp_path: Path) -> tw.FeatureStore:
    return open_bank(tmp_path / "bank")


def explained(store: tw.FeatureStore, feature: str, entity: dict[str, object], at: object = None) -> Why:
    found = store.why(feature, entity, at)
    assert isinstance(found, Why)
    return found


def verdicts(found: Why) -> dict[object, str]:
    return {row.value: row.verdict for row in found.offline.considered.rows}


def test_every_row_of_a_window_has_its_reason(bank: tw.FeatureStore) -> None:
    found = explained(bank, "paid_7d", {"user_id": 7})

    assert (found.feature, found.offline.value, found.offline.status) == ("spend:paid_7d@v1", 34, "present")
    assert verdicts(found) == {
        1: "outside",
        2: "counts",
        4: "filtered",
        8: "not arrived",
        16: "superseded",
        32: "counts",
        None: "null",
        64: "future",
    }
    assert found.offline.considered.counts["counts"] == 2


def test_of_a_latest_value_one_row_counts_and_older_ones_do_not(bank: tw.FeatureStore) -> None:
    found = explained(bank, "last_paid", {"user_id": 7})

    assert (found.offline.value, found.offline.status) == (None, "null")
    assert (verdicts(found)[None], verdicts(found)[32], verdicts(found)[2]) == ("counts", "older", "older")


def test_the_value_of_an_earlier_instant_is_the_one_that_training_data_has(bank: tw.FeatureStore) -> None:
    found = explained(bank, "paid_7d", {"user_id": 7}, "2026-03-09T03:30:00Z")
    labels = pa.table({"user_id": [7], "t": pa.array([datetime(2026, 3, 9, 3, 30, tzinfo=UTC)])})

    assert found.offline.value == 18
    assert bank.get_historical_features(labels, ["paid_7d"]).to_arrow()["paid_7d"].to_pylist() == [18]
    assert found.not_served == "no sample of the day before the instant holds this entity"


def test_a_value_past_its_ttl_is_said_to_be_expired_with_what_it_was(bank: tw.FeatureStore) -> None:
    bank.materialize_online()
    clock = cast("FrozenClock", bank.project.clock)
    for moved, status in ((2 * DAY_US - 1, "present"), (1, "expired")):
        clock.move(moved)
        found = explained(bank, "paid_7d", {"user_id": 7})
        assert found.online is not None
        assert (found.online.status, found.ok) == (status, True)
    assert (found.online.value, found.online.expires_us) == (None, found.at_us)
    later = explained(bank, "last_paid", {"user_id": 7}, "2026-03-12T12:00:00Z")
    assert (later.offline.status, later.offline.value, later.offline.before_ttl) == ("expired", None, 64)


@pytest.mark.parametrize("key", [8, None])
def test_an_entity_without_rows_is_empty_on_both_sides(bank: tw.FeatureStore, key: int | None) -> None:
    bank.materialize_online()
    found = explained(bank, "paid_7d", {"user_id": key})

    assert (found.offline.value, found.offline.status, found.offline.considered.rows) == (0, "empty", ())
    assert found.online is not None
    assert (found.online.value, found.online.status, found.ok) == (0, "not_found", True)
    assert ("an entity never seen" in str(found)) == (key is None)


def test_what_was_never_built_or_is_offline_only_is_said(bank: tw.FeatureStore, tmp_path: Path) -> None:
    assert "never been materialized" in explained(bank, "paid_7d", {"user_id": 7}).not_served
    offline = open_bank(tmp_path / "other", online=False)
    assert explained(offline, "paid_7d", {"user_id": 7}).not_served == "the feature is offline only"


def test_a_wrong_question_is_refused_by_name(bank: tw.FeatureStore) -> None:
    with pytest.raises(UnknownFeature, match="paid_7d"):
        bank.why("paid_7", {"user_id": 7})
    with pytest.raises(MissingKey, match="user_id"):
        bank.why("paid_7d", {"user": 7})


# --- what is served --------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop()


def test_a_build_that_was_overtaken_lags_and_is_right(shop: Shop) -> None:
    before = explained(shop.fs, "paid_3d", {"user_id": 3})
    assert before.online is not None
    assert (before.online.lags, before.online.difference) == (False, "none")

    shop.append([(3, shop.now, 5.0, "north")])
    shop.clock.move(HOUR_US)
    found = explained(shop.fs, "paid_3d", {"user_id": 3})

    assert found.online is not None
    assert (found.ok, found.online.lags) == (True, True)
    assert found.online.difference.startswith("lag: right as of its build, 1h old")
    assert found.online.written_us == found.online.as_of_us == shop.clock.now_us() - HOUR_US


def test_a_wrong_value_is_told_with_its_cause_and_so_is_the_one_that_was_served(shop: Shop) -> None:
    right = explained(shop.fs, "last_amount", {"user_id": 3}).offline.value
    shop.rewrite([3], lambda _, values: {"payments_1d": values[1] or None, "last_amount": 1.5})
    shop.serve([3])
    now = explained(shop.fs, "last_amount", {"user_id": 3})
    shop.fs.replay(limit=1)  # writes what waits
    shop.clock.move(HOUR_US)
    then = explained(shop.fs, "last_amount", {"user_id": 3}, shop.now)

    for found, origin in ((now, "build"), (then, "sample")):
        assert found.online is not None
        assert found.online.cause is not None
        assert (found.ok, found.online.origin, found.online.cause.cause) == (False, origin, "unknown")
        assert (found.online.value, found.online.wanted) == (1.5, right)


def test_an_arrival_time_that_was_written_anew_is_late_data(bank: tw.FeatureStore) -> None:
    bank.materialize_online()
    register_orders(bank, [(*row[:2], at(11, 0), *row[3:]) if row[0] == 32 else row for row in ROWS])
    found = explained(bank, "paid_7d", {"user_id": 7})

    assert found.online is not None
    assert found.online.cause is not None
    assert (found.online.value, found.online.wanted, found.online.cause.cause) == (34, 18, "late data")
    assert "the row of 2026-03-09T02:00:00Z counts" in found.online.cause.words


def test_a_correction_that_came_after_the_build_is_late_data(bank: tw.FeatureStore) -> None:
    bank.materialize_online()
    register_orders(bank, [*ROWS, (100, at(9, 2), at(9, 5), True, 5)])
    found = explained(bank, "paid_7d", {"user_id": 7})

    assert found.online is not None
    assert found.online.cause is not None
    assert (found.online.value, found.online.wanted, found.online.cause.cause) == (34, 102, "late data")


def test_a_computed_value_is_explained_as_of_the_request(tmp_path: Path) -> None:
    bank = open_bank(tmp_path / "bank")
    fresh = tw.Feature(name="paid_1d", aggregation=tw.sum("amount", window="1d"), online="computed", ttl="2d")
    bank.register_group(
        tw.FeatureGroup(name="now", entity="user_id", source="orders", owner="risk@bank", features=[fresh])
    )
    found = explained(bank, "paid_1d", {"user_id": 7})

    assert found.online is not None
    assert (found.online.origin, found.online.as_of_us, found.ok) == ("computed", found.at_us, True)


def test_an_explanation_is_plain_data_text_and_a_table(bank: tw.FeatureStore) -> None:
    bank.materialize_online()
    found = explained(bank, "paid_7d", {"user_id": 7})
    document = cast("dict[str, Any]", found.to_dict())

    assert document["online"]["build"] == found.online.build  # type: ignore[union-attr]
    assert [row["verdict"] for row in document["offline"]["rows"]][:2] == ["future", "null"]
    assert str(found).startswith("spend:paid_7d@v1 of user_id=7 at 2026-03-10T12:00:00Z")
    assert "<td>was replaced by a later version of the same fact</td>" in found._repr_html_()


# --- on demand -------------------------------------------------------------------------------------------------------


@tw.transform(version="v1")
def share_of_week(price: float, paid_7d: int) -> float | None:
    return price / paid_7d if paid_7d else None


@tw.transform(version="v1")
def hours_into_day(now: datetime) -> int:
    return now.hour


@pytest.fixture
def demanding(bank: tw.FeatureStore) -> tw.FeatureStore:
    """A bank with a feature of the request's price and of what was paid."""
    features = [
        tw.Feature(name="share", transform=share_of_week, inputs={"price": "request.price", "paid_7d": "paid_7d"}),
        tw.Feature(name="hour", transform=hours_into_day),
    ]
    bank.register_group(tw.FeatureGroup(name="asked", owner="risk@bank", features=features))
    return bank


def test_a_value_on_demand_is_explained_by_its_inputs(demanding: tw.FeatureStore) -> None:
    demanding.materialize_online()
    found = demanding.why("share", {"user_id": 7}, request={"price": 17.0})

    assert isinstance(found, WhyOnDemand)
    assert (found.offline, found.online, found.difference, found.ok) == (0.5, 0.5, "none", True)
    price, paid = found.inputs
    assert (price.source, price.offline, paid.source, paid.offline) == ("request", 17.0, "feature", 34)
    assert paid.why is not None
    assert verdicts(paid.why)[8] == "not arrived"
    asked = demanding.get_online_features(["share"], [{"user_id": 7}], request={"price": 17.0})
    assert asked.rows[0][0] == found.online
    assert demanding.why("hour", {}).offline == 12  # type: ignore[union-attr]
    with pytest.raises(MissingRequestValue, match="price"):
        demanding.why("share", {"user_id": 7})


def test_another_function_is_the_explanation_and_is_not_run(
    demanding: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    demanding.materialize_online()

    def load(_: object, use: TransformUse, *, feature: str) -> None:
        facts = {"registered": use.hash, "found": "another"}
        raise TransformMismatch(feature=feature, name=use.name, version=use.version, **facts)

    monkeypatch.setattr(Code, "load", load)
    found = demanding.why("share", {"user_id": 7}, request={"price": 17.0})

    assert isinstance(found, WhyOnDemand)
    assert (found.ok, found.online, found.to_dict()["cause"]) == (False, None, "transform")
    assert found.difference.startswith("transform: feature 'share' was registered with transform share_of_week@v1")
