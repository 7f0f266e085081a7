"""The audit of a training set: every value is proven from rows visible at its instant, or named."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build import leakage
from timewell.errors import MissingColumn, MissingKey, UsageError

NOW = "2026-03-31T00:00:00Z"
MOMENT = pa.timestamp("us", tz="UTC")


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, tzinfo=UTC) + timedelta(days=number - 1)


def us(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000


# user, happened, arrived, amount, channel
ORDERS = [
    (7, day(2), day(2, 1), 10, "web"),
    (7, day(4), day(4, 1), 20, "shop"),
    (7, day(5), day(9), 40, "web"),  # four days late
    (7, day(8), day(8, 1), 80, "phone"),
    (8, day(3), day(3, 1), 5, None),
]


def write_orders(folder: Path, orders: list[tuple]) -> None:
    users, happened, arrived, amounts, channels = zip(*orders, strict=True)
    columns = {
        "user_id": pa.array(users),
        "order_ts": pa.array(happened, MOMENT),
        "loaded_at": pa.array(arrived, MOMENT),
        "amount": pa.array(amounts, pa.int64()),
        "channel": pa.array(channels, pa.string()),
        "share": pa.array([{5: None, 80: math.nan}.get(amount, amount / 8) for amount in amounts], pa.float64()),
    }
    pq.write_table(pa.table(columns), folder / "orders.parquet")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    write_orders(fs.project.root, ORDERS)
    fs.register_source(tw.Source(name="orders", path="orders.parquet", event_time="order_ts", arrival_time="loaded_at"))
    fs.register_group(
        tw.FeatureGroup(
            name="spending",
            entity="user_id",
            source="orders",
            owner="growth@company",
            ttl="20d",
            features=[
                tw.Feature(name="amount_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="orders_3d", aggregation=tw.count(window="3d")),
                tw.Feature(name="last_channel", aggregation=tw.latest("channel")),
                tw.Feature(name="last_amount", aggregation=tw.latest("amount"), ttl="2d"),
                tw.Feature(name="last_share", aggregation=tw.latest("share")),
            ],
        )
    )
    yield fs
    fs.close()


FEATURES = ["amount_7d", "orders_3d", "last_channel", "last_amount", "last_share"]


def asked(*rows: tuple[int | None, datetime]) -> pa.Table:
    users, instants = zip(*rows, strict=True)
    return pa.table({"user_id": pa.array(users, pa.int64()), "event_ts": pa.array(instants, MOMENT)})


SPINE = asked((7, day(6)), (7, day(4)), (8, day(6)), (9, day(6)), (None, day(6)), (7, day(30)))


def planted(frame: pa.Table, row: int, column: str, value: object) -> pa.Table:
    """The frame with one cell written over by hand."""
    cells = frame[column].to_pylist()
    cells[row] = value
    return frame.set_column(frame.column_names.index(column), column, pa.array(cells, frame[column].type))


def only(report) -> tw.leakage.Violation:
    [violation] = report.violations
    assert not report.ok
    return violation


# --- what is right ---------------------------------------------------------------------------------------------------


def test_a_training_set_is_proven_cell_by_cell(shop: tw.FeatureStore) -> None:
    report = shop.audit_leakage(shop.get_historical_features(SPINE, FEATURES))

    assert report.ok
    assert (report.rows, report.rows_checked, report.cells_checked, report.cells_proven) == (6, 6, 30, 30)
    assert report.not_features == ("user_id", "event_ts")
    assert "clean: 30 cells proven" in str(report)
    assert "(all 6 rows, as known" in str(report)


def test_rows_may_be_dropped_and_shuffled_before_the_audit(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    shuffled = ts.to_arrow().take([3, 0, 5])

    report = shop.audit_leakage(shuffled, manifest=ts)

    assert report.ok
    assert report.rows_checked == 3


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_a_frame_of_any_library_is_read_as_the_training_set_it_was(shop: tw.FeatureStore, library: str) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    frame = getattr(ts, f"to_{library}")()

    assert shop.audit_leakage(frame, manifest=ts.manifest).ok


def test_a_file_and_its_table_carry_the_manifest(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    ts.to_parquet(shop.project.root / "train.parquet")

    assert shop.audit_leakage("train.parquet").ok
    assert shop.audit_leakage(pq.read_table(shop.project.root / "train.parquet")).ok


def test_a_manifest_may_be_given_in_every_form_it_has(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, ["amount_7d@v1"])
    frame = ts.to_arrow().replace_schema_metadata(None)

    for manifest in (ts, ts.manifest, ts.manifest.to_dict(), ts.manifest.id):
        assert shop.audit_leakage(frame, manifest=manifest).ok


@pytest.mark.parametrize(
    ("times", "fields"),
    [
        (["2026-03-02", "2026-03-04"], {"date_means": "end"}),
        (["2026-03-02 06:00:00", "2026-03-05 23:59:00"], {"timezone": "America/New_York"}),
        (["2026-03-02T06:00:00+02:00", "2026-03-05T00:00:00.0000001Z"], {}),
        ([datetime(2026, 3, 2), datetime(2026, 3, 5, 1)], {"timezone": "Asia/Tokyo"}),  # noqa: DTZ001
    ],
    ids=["dates", "local text", "text", "naive"],
)
@pytest.mark.parametrize("over", ["frame", "query"])
def test_times_of_every_form_are_read_as_the_source_says(tmp_path: Path, times, fields, over) -> None:
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    rows = pa.table({"person": [7, 7], "at": times, "seen": times, "v": times})
    mapped = {"keys": {"user_id": "person"}, "event_time": "at", "closed": "right", **fields}
    fs.register_source(tw.Source(name="visits", frame=rows, **mapped))
    if over == "query":
        fs.register_source(tw.Source(name="more", sql="SELECT * FROM visits", **mapped))
    source = "visits" if over == "frame" else "more"
    features = [
        tw.Feature(name="newest", aggregation=tw.latest("v")),
        tw.Feature(name="newest_3", aggregation=tw.last_n("v", n=3, window="9d")),
    ]
    fs.register_group(tw.FeatureGroup(name="g", entity="user_id", source=source, owner="a@b", features=features))
    spine = asked(*((7, day(number, hour)) for number in range(1, 8) for hour in (0, 5, 15, 16)))

    report = fs.audit_leakage(fs.get_historical_features(spine, ["newest", "newest_3"]))
    fs.close()

    assert report.ok, str(report)
    assert report.cells_proven == 56


def test_under_happened_only_the_event_has_to_precede(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES, as_of="happened")

    report = shop.audit_leakage(ts)

    assert ts.to_arrow()["amount_7d"][0].as_py() == 70
    assert report.ok
    assert "whether they had arrived is not part of the rule" in str(report)


# --- what was planted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_a_planted_future_value_is_found_with_the_row_it_came_from(shop: tw.FeatureStore, library: str) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    frame: object = planted(ts.to_arrow(), 0, "last_channel", "phone")
    if library == "pandas":
        frame = ts.to_pandas()
        frame.loc[0, "last_channel"] = "phone"
    if library == "polars":
        import polars as pl

        frame = pl.from_arrow(frame)

    violation = only(shop.audit_leakage(frame, manifest=ts))

    assert (violation.row, violation.key, violation.instant_us) == (0, {"user_id": 7}, us(day(6)))
    assert (violation.feature, violation.value, violation.expected) == ("last_channel", "phone", "shop")
    assert (violation.reason, violation.source) == ("future", "orders")
    assert (violation.event_us, violation.arrival_us) == (us(day(8)), us(day(8, 1)))
    assert "event 2026-03-08T00:00:00Z, arrival 2026-03-08T01:00:00Z" in str(violation)


@pytest.mark.parametrize(
    ("row", "feature", "value", "reason", "event", "arrival"),
    [
        (0, "amount_7d", 70, "not_arrived", day(5), day(9)),  # 10 + 20, and the 40 that came on day 9
        (0, "amount_7d", 110, "future", day(8), day(8, 1)),  # grown by the 80 of day 8, none left
        (0, "amount_7d", 140, "future", day(8), day(8, 1)),  # 20 + 40 + 80: the value of day 9, the 10 has left
        (0, "orders_3d", 2, "not_arrived", day(5), day(9)),
        (0, "last_channel", "web", "not_arrived", day(5), day(9)),
        (1, "last_amount", 20, "future", day(4), day(4, 1)),  # happened at the very instant
        (0, "last_channel", None, "unexplained", None, None),
        (2, "last_channel", "web", "unexplained", None, None),  # someone else's
        (3, "amount_7d", 1, "unexplained", None, None),  # an entity never seen
        (4, "orders_3d", 1, "unexplained", None, None),  # a null key
        (5, "last_amount", 80, "expired", None, None),
        (5, "last_channel", "shop", "outdated", day(4), day(4, 1)),
        (0, "last_share", float("inf"), "unexplained", None, None),
    ],
)
def test_a_wrong_cell_is_explained(shop: tw.FeatureStore, row, feature, value, reason, event, arrival) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)

    violation = only(shop.audit_leakage(planted(ts.to_arrow(), row, feature, value), manifest=ts))

    assert (violation.row, violation.feature, violation.value) == (row, feature, value)
    assert violation.expected == ts.to_arrow()[feature][row].as_py()
    assert violation.reason == reason
    assert violation.event_us == (None if event is None else us(event))
    assert violation.arrival_us == (None if arrival is None else us(arrival))


def test_a_moved_instant_makes_the_values_wrong(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(asked((7, day(10))), FEATURES)
    frame = ts.to_arrow()
    earlier = frame.set_column(1, "event_ts", pa.array([day(7)], MOMENT))

    report = shop.audit_leakage(earlier, manifest=ts)

    found = {violation.feature: violation.reason for violation in report.violations}
    assert found == {"amount_7d": "future", "last_channel": "future", "last_share": "future"}


def test_a_missing_float_is_told_from_nan_except_in_pandas_which_has_one_for_both(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(asked((7, day(10))), ["last_share"])
    assert math.isnan(ts.to_arrow()["last_share"][0].as_py())

    assert shop.audit_leakage(ts.to_pandas(), manifest=ts).ok
    assert not shop.audit_leakage(planted(ts.to_arrow(), 0, "last_share", None), manifest=ts).ok


# --- what cannot be proven -------------------------------------------------------------------------------------------


def test_after_a_change_of_the_source_nothing_is_proven(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    write_orders(shop.project.root, [*ORDERS, (7, day(6), day(7), 1, "web")])

    report = shop.audit_leakage(ts)

    assert not report.ok
    assert report.violations == ()
    assert set(report.unproven) == set(FEATURES)
    assert "source 'orders' has changed since the training set was made" in report.unproven["amount_7d"]
    assert "6 of 6 cells agree" in report.unproven["amount_7d"]
    assert (report.cells_checked, report.cells_proven) == (0, 0)
    assert str(report).startswith("NOT PROVEN: 5 of 5 features could not be checked")


def test_a_source_that_is_gone_is_told(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    (shop.project.root / "orders.parquet").unlink()

    assert "there is no such file" in shop.audit_leakage(ts).unproven["amount_7d"]


def test_a_feature_that_the_frame_lost_is_unproven_and_a_new_column_is_named(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    frame = ts.to_arrow().drop_columns(["orders_3d"]).append_column("label", pa.array([1] * 6))

    report = shop.audit_leakage(frame, manifest=ts)

    assert report.unproven == {"orders_3d": "the frame has no such column"}
    assert report.not_features == ("user_id", "event_ts", "label")
    assert not report.ok


def test_a_version_that_is_not_registered_here_is_unproven(shop: tw.FeatureStore, tmp_path: Path) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    with_other_meaning = tw.FeatureStore.init(tmp_path / "other", now=NOW)
    assert "spending@v1 is not registered here" in set(with_other_meaning.audit_leakage(ts).unproven.values())
    write_orders(with_other_meaning.project.root, ORDERS)
    source = tw.Source(name="orders", path="orders.parquet", event_time="order_ts")
    with_other_meaning.register_source(source)
    feature = tw.Feature(name="amount_7d", aggregation=tw.sum("amount", window="8d"))
    group = tw.FeatureGroup(name="spending", entity="user_id", source="orders", owner="a@b", features=[feature])
    with_other_meaning.register_group(group)

    assert "has another meaning here" in with_other_meaning.audit_leakage(ts).unproven["amount_7d"]
    with_other_meaning.close()


def test_a_frame_of_which_nothing_is_known_is_refused(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    frame = ts.to_arrow()
    for wrong in ({"training_set": frame}, {"training_set": frame, "manifest": "0123"}):
        with pytest.raises(UsageError) as refused:
            shop.audit_leakage(**wrong)
        assert "manifest=" in refused.value.hint
    with pytest.raises(MissingColumn, match="event_ts"):
        shop.audit_leakage(frame.drop_columns(["event_ts"]), manifest=ts)
    with pytest.raises(MissingKey, match="user_id"):
        shop.audit_leakage(frame.drop_columns(["user_id"]), manifest=ts)
    with pytest.raises(UsageError, match="sample"):
        shop.audit_leakage(ts, sample=0)


# --- large frames ----------------------------------------------------------------------------------------------------


LONG = pa.table({"user_id": [7, 8] * 200, "event_ts": pa.array([day(6)] * 400, MOMENT)})


def test_of_a_long_frame_a_sample_is_proven_and_every_row_that_differs(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(LONG, FEATURES)

    sampled = shop.audit_leakage(ts, sample=50)
    assert sampled.ok
    assert (sampled.rows, sampled.rows_checked, sampled.rows_screened) == (400, 50, 400)
    assert "(50 of 400 rows" in str(sampled)
    assert sampled.to_dict() == shop.audit_leakage(ts, sample=50).to_dict()
    assert shop.audit_leakage(ts.to_polars(), manifest=ts, sample=50).ok

    for row in (0, 123, 399):
        frame = planted(ts.to_arrow(), row, "last_channel", "phone")
        assert only(shop.audit_leakage(frame, manifest=ts, sample=10)).row == row


@pytest.mark.parametrize("sample", [None, 10])
def test_a_file_is_audited_piece_by_piece(shop: tw.FeatureStore, monkeypatch, sample: int | None) -> None:
    monkeypatch.setattr(leakage, "_PIECE_ROWS", 70)
    monkeypatch.setattr(leakage, "_SCREENED_ROWS", 90)
    file = shop.project.root / "train.parquet"
    made = shop.get_historical_features(LONG, FEATURES, to_parquet=file)

    report = shop.audit_leakage(made, sample=sample)
    assert report.ok
    assert (report.rows, report.rows_checked) == (400, sample or 400)

    pq.write_table(planted(planted(pq.read_table(file), 300, "orders_3d", 2), 8, "orders_3d", 9), file)
    found = shop.audit_leakage(file, manifest=made, sample=sample).violations
    assert [(violation.row, violation.reason) for violation in found] == [(8, "unexplained"), (300, "not_arrived")]


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_is_plain_data_and_can_be_shown(shop: tw.FeatureStore) -> None:
    ts = shop.get_historical_features(SPINE, FEATURES)
    frame = planted(planted(ts.to_arrow(), 0, "last_channel", "<phone>"), 0, "last_share", float("nan"))

    report = shop.audit_leakage(frame, manifest=ts)
    body = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert body["ok"] is False
    assert [violation["value"] for violation in body["violations"]] == ["<phone>", "nan"]
    assert body["violations"][0]["instant"] == "2026-03-06T00:00:00Z"
    assert body["features"][0]["rule"] == "rows strictly before the instant"
    assert "&lt;phone&gt;" in report._repr_html_()
    assert "NOT CLEAN: 2 of 30 checked cells are not proven" in str(report)
