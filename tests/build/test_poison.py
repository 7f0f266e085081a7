"""Poisoning the future of any function that builds a frame: leaks are named, correct functions are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from timewell.errors import UsageError
from timewell.leakage import PoisonReport, poison_audit

START = pd.Timestamp("2026-01-01", tz="UTC")
CHANCE = np.random.default_rng(1)


def made_up(rows: int, users: int, last_s: int) -> pd.DataFrame:
    """Transactions in the order of their times, each loaded up to a day later."""
    seconds = np.sort(CHANCE.integers(0, last_s, rows))
    happened = START + pd.to_timedelta(seconds, unit="s")
    return pd.DataFrame(
        {
            "user_id": CHANCE.integers(0, users, rows),
            "ts": happened,
            "seen_at": happened + pd.to_timedelta(CHANCE.integers(0, 86_400, rows), unit="s"),
            "amount": CHANCE.normal(size=rows),
            "pieces": CHANCE.integers(1, 9, rows).astype("int8"),
            "kind": CHANCE.choice(["web", "shop", "phone"], rows),
            "paid": CHANCE.random(rows) < 0.5,
        }
    )


TX = made_up(2_000, users=40, last_s=30 * 86_400)
LABELS = pd.DataFrame(
    {
        "user_id": CHANCE.integers(0, 45, 200),  # some have no transaction
        "label_ts": START + pd.to_timedelta(CHANCE.integers(5 * 86_400, 29 * 86_400, 200), unit="s"),
        "churned": CHANCE.integers(0, 2, 200),
    },
    index=CHANCE.permutation(200),
)


def audit(build: Callable, **options: object) -> PoisonReport:
    given = {"event_times": {"tx": "ts"}, "spine_time": "label_ts", "rows": 6, **options}
    return poison_audit(build, {"tx": TX}, LABELS, **given)


# --- functions as people write them ----------------------------------------------------------------------------------


def in_spine_order(build: Callable) -> Callable:
    """Sort the spine by time for pandas, and bring the rows back."""

    def built(sources, spine):
        numbered = spine.assign(row=range(len(spine))).sort_values("label_ts")
        return build(sources, numbered).sort_values("row").drop(columns="row")

    return built


def as_of_join(**how: object) -> Callable:
    @in_spine_order
    def joined(sources, spine):
        tx = sources["tx"].rename(columns={"ts": "label_ts"})
        return pd.merge_asof(spine, tx, on="label_ts", by="user_id", **how)

    return joined


@in_spine_order
def as_of_known(sources, spine):
    """The newest row that had arrived; it had happened by then as well."""
    tx = sources["tx"].sort_values("seen_at").rename(columns={"seen_at": "label_ts"})
    tx = tx[tx["label_ts"] >= tx["ts"]].drop(columns="ts")
    return pd.merge_asof(spine, tx, on="label_ts", by="user_id", allow_exact_matches=False)


def mean_of_all(sources, spine):
    means = sources["tx"].groupby("user_id", as_index=False)["amount"].mean()
    return spine.merge(means, on="user_id", how="left")


def newest_of_all(sources, spine):
    newest = sources["tx"].drop_duplicates("user_id", keep="last")[["user_id", "amount"]]
    return spine.merge(newest, on="user_id", how="left")


def plain_merge(sources, spine):
    return spine.merge(sources["tx"], on="user_id", how="left")


def in_sql(condition: str) -> Callable:
    def built(sources, spine):
        tables = {"tx": sources["tx"], "spine": spine.assign(row=range(len(spine)))}
        query = f"""
            SELECT label_ts, count(tx.ts) AS n, sum(amount) AS amount
            FROM spine LEFT JOIN tx ON tx.user_id = spine.user_id AND {condition}
            GROUP BY row, label_ts ORDER BY row
        """
        with duckdb.connect() as connection:
            for name, table in tables.items():
                connection.register(name, pa.Table.from_pandas(table, preserve_index=False))
            return connection.sql(query).to_arrow_table()

    return built


def rate_of_the_spine(sources, spine):
    return spine.assign(rate=spine.groupby("user_id")["churned"].transform("mean"))


def count_of_month(sources, spine):
    tx = sources["tx"].assign(month=sources["tx"]["ts"].dt.day // 7)
    counts = tx.groupby(["user_id", "month"], as_index=False).size()
    return spine.assign(month=spine["label_ts"].dt.day // 7).merge(counts, how="left")


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (as_of_join(allow_exact_matches=False), {}),
        (as_of_join(), {"closed": "right"}),
        (as_of_join(), {"closed": {"tx": "right"}}),
        (as_of_known, {"arrival_times": {"tx": "seen_at"}}),
        (in_sql("ts < label_ts"), {}),
        (in_sql("greatest(ts, seen_at) < label_ts"), {"arrival_times": "seen_at"}),
    ],
    ids=["as-of", "as-of right", "as-of right by source", "as-of known", "sql", "sql known"],
)
def test_a_correct_function_is_left_alone(build, options) -> None:
    report = audit(build, **options)

    assert report.ok, str(report)
    assert report.leaks == report.unproven == ()
    assert "no leak found" in str(report)


@pytest.mark.parametrize(
    ("build", "options", "how"),
    [
        (mean_of_all, {}, "dropped"),
        (newest_of_all, {}, "dropped"),
        (as_of_join(direction="nearest"), {}, "planted"),
        (as_of_join(direction="nearest", allow_exact_matches=False), {}, "planted"),
        (as_of_join(direction="forward"), {}, "dropped"),
        (as_of_join(), {}, "planted"),  # sees the row at its own instant
        (as_of_join(allow_exact_matches=False), {"arrival_times": "seen_at"}, "planted"),  # sees what came later
        (in_sql("ts <= label_ts"), {}, "planted"),
        (in_sql("ts < label_ts + INTERVAL 1 SECOND"), {"closed": "right"}, "planted"),
        (in_sql("seen_at < label_ts"), {"arrival_times": "seen_at"}, "planted"),  # arrival without event
        (rate_of_the_spine, {}, "dropped"),
        (count_of_month, {}, "dropped"),
    ],
    ids=["mean", "newest", "nearest", "nearest not equal", "forward", "self", "late", "sql self", "sql after", "sql early",
         "spine", "calendar"],
)  # fmt: skip
def test_a_leak_is_found(build, options, how) -> None:
    report = audit(build, **options)

    assert not report.ok
    assert how in {leak.how for leak in report.leaks}
    assert all(leak.before != leak.after for leak in report.leaks)


def test_a_leak_is_named_by_its_cell() -> None:
    report = audit(mean_of_all)

    assert report.leaking == ("amount",)
    leak = report.leaks[0]
    user = LABELS["user_id"].iloc[leak.row]
    assert leak.before == pytest.approx(TX.loc[TX["user_id"] == user, "amount"].mean())
    past = TX[(TX["user_id"] == user) & (TX["ts"] < pd.Timestamp(leak.instant))]
    assert leak.after == pytest.approx(past["amount"].mean())
    assert f"row {leak.row}: amount went from {leak.before!r} to {leak.after!r} when the rows from" in str(report)


def test_only_the_leaking_column_is_accused() -> None:
    def two(sources, spine):
        right = as_of_join(allow_exact_matches=False)(sources, spine)["amount"].to_numpy()
        return mean_of_all(sources, spine).rename(columns={"amount": "mean_amount"}).assign(last_amount=right)

    report = audit(two)

    assert report.leaking == ("mean_amount",)
    assert report.columns == ("mean_amount", "last_amount")


def as_of_in_polars(**how: object) -> Callable:
    def joined(sources, spine):
        spine = spine.with_row_index("row").sort("label_ts")
        found = spine.join_asof(
            sources["tx"], left_on="label_ts", right_on="ts", by="user_id", check_sortedness=False, **how
        )
        return found.sort("row").drop("row")

    return joined


def as_of_in_arrow(tolerance: int) -> Callable:
    def joined(sources, spine):
        numbered = spine.append_column("row", pa.array(range(spine.num_rows)))
        tx = sources["tx"].select(["user_id", "ts", "amount"])
        options = {"on": "label_ts", "by": "user_id", "right_on": "ts", "right_by": "user_id", "tolerance": tolerance}
        return numbered.sort_by("label_ts").join_asof(tx, **options).sort_by("row").drop_columns(["row"])

    return joined


def test_polars_frames_are_given_as_polars_frames() -> None:
    frames = {"tx": pl.from_pandas(TX)}, pl.from_pandas(LABELS)
    times = {"event_times": "ts", "spine_time": "label_ts", "rows": 5}

    assert poison_audit(as_of_in_polars(allow_exact_matches=False), *frames, **times).ok
    assert not poison_audit(as_of_in_polars(), *frames, **times).ok
    assert not poison_audit(as_of_in_polars(strategy="nearest"), *frames, **times).ok


def test_arrow_tables_are_given_as_arrow_tables() -> None:
    tx, labels = pa.Table.from_pandas(TX), pa.Table.from_pandas(LABELS, preserve_index=False)
    times = {"event_times": "ts", "spine_time": "label_ts", "rows": 5, "closed": "right"}

    assert poison_audit(as_of_in_arrow(-(10**15)), {"tx": tx}, labels, **times).ok
    assert not poison_audit(as_of_in_arrow(10**15), {"tx": tx}, labels, **times).ok


def test_columns_keep_their_types_and_the_callers_frames_their_values() -> None:
    tx = TX.astype({"kind": "category"}).assign(lists=[[1]] * len(TX), mixed=[1, "a"] * (len(TX) // 2), empty=None)
    tx.index = [f"row {number}" for number in range(len(tx))]
    before, seen = tx.copy(), set()

    def look(sources, spine):
        seen.add((tuple(sources["tx"].dtypes), tuple(spine.dtypes), type(sources["tx"].index)))
        found = as_of_join(allow_exact_matches=False)(sources, spine)[["amount", "kind"]]
        sources["tx"]["amount"] = 0.0
        spine["churned"] = 7
        return found.reset_index(drop=True)

    report = poison_audit(look, {"tx": tx}, LABELS, event_times="ts", spine_time="label_ts", rows=3)

    assert report.ok, str(report)
    assert len(seen) == 1
    pd.testing.assert_frame_equal(tx, before)


def test_a_source_sorted_by_key_and_time_stays_so() -> None:
    sorted_tx = TX.sort_values(["user_id", "ts"], kind="stable", ignore_index=True)

    def by_bisection(sources, spine):
        tx = sources["tx"]
        assert tx["user_id"].is_monotonic_increasing
        assert tx.groupby("user_id")["ts"].is_monotonic_increasing.all()
        found = []
        for user, instant in zip(spine["user_id"], spine["label_ts"], strict=True):
            mine = tx[tx["user_id"] == user]
            place = mine["ts"].searchsorted(instant, "left")
            found.append(mine["amount"].iloc[place - 1] if place else None)
        return spine.assign(last_amount=found)

    report = poison_audit(by_bisection, {"tx": sorted_tx}, LABELS, event_times="ts", spine_time="label_ts", rows=3)

    assert report.ok, str(report)


# --- what the report says --------------------------------------------------------------------------------------------


def test_the_report_says_which_part_was_checked() -> None:
    shops = pd.DataFrame({"user_id": range(45), "shop": ["a", "b", "c"] * 15})

    def with_shop(sources, spine):
        found = as_of_join(allow_exact_matches=False)(sources, spine)[["user_id", "label_ts", "amount"]]
        return found.merge(sources["shops"], on="user_id", how="left")

    sources = {"tx": TX, "shops": shops}
    report = poison_audit(with_shop, sources, LABELS, event_times={"tx": "ts"}, spine_time="label_ts", rows=4)

    assert (report.rows, report.rows_given, report.rows_checked, report.cells_checked) == (200, 200, 4, 8)
    assert report.runs == 2 + 4 * 3
    assert report.columns == ("amount", "shop")
    assert report.not_checked == ("user_id", "label_ts")
    assert report.untouched == ("shops",)
    [source] = report.sources
    assert (source.name, source.keys, source.rule) == (
        "tx",
        ("user_id",),
        "ts strictly before the instant are the past",
    )
    assert source.future_rows > 0
    assert source.planted_rows == 4 * 2 * 2 * 4  # rows, instants, numbers far up and down, own words and three kinds
    text = str(report)
    assert "checked 4 rows at their own instants, of 200 in the spine; columns amount, shop" in text
    assert "left as they are, no event time was given: shops" in text
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    assert "<caption>no leak found" in report._repr_html_()


def test_the_same_seed_finds_the_same() -> None:
    assert audit(mean_of_all).to_dict() == audit(mean_of_all).to_dict()
    assert audit(mean_of_all).to_dict() != audit(mean_of_all, seed=1).to_dict()


def test_a_long_spine_is_cut_to_a_thousand_rows() -> None:
    spine = pd.concat([LABELS] * 10, ignore_index=True)

    report = poison_audit(mean_of_all, {"tx": TX}, spine, event_times="ts", spine_time="label_ts", rows=3)

    assert (report.rows, report.rows_given) == (2_000, 1_000)
    assert max(leak.row for leak in report.leaks) > 1_000  # positions in the caller's spine


def test_a_future_that_the_function_does_not_take_is_unproven() -> None:
    def careful(sources, spine):
        if len(sources["tx"]) > len(TX):
            raise ValueError("more rows than I know")
        return as_of_join(allow_exact_matches=False)(sources, spine)

    report = audit(careful, rows=2)

    assert not report.ok
    assert report.leaks == ()
    assert all("planted" in problem and "more rows than I know" in problem for problem in report.unproven)
    assert str(report).startswith("NOT PROVEN")


def test_a_function_that_takes_no_strange_values_gets_those_of_other_rows() -> None:
    def mapped(sources, spine):
        kinds = {"web": 1, "shop": 2, "phone": 3}
        tx = sources["tx"].assign(code=[kinds[kind] for kind in sources["tx"]["kind"]])
        return mean_of_all({"tx": tx.assign(amount=tx["code"])}, spine)

    report = audit(mapped)

    assert {"changed", "dropped"} <= {leak.how for leak in report.leaks} | {"changed"}
    assert report.unproven == ()


def test_an_empty_source_proves_nothing() -> None:
    report = poison_audit(mean_of_all, {"tx": TX.head(0)}, LABELS, event_times="ts", spine_time="label_ts", rows=2)

    assert report.unproven == ("source tx: it has no rows, so nothing in it could be changed",)


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(build: Callable = mean_of_all, tx: object = TX, spine: object = LABELS, **options: object) -> str:
    with pytest.raises(UsageError) as problem:
        poison_audit(build, {"tx": tx}, spine, **{"event_times": "ts", "spine_time": "label_ts", "rows": 2, **options})
    assert problem.value.hint
    return f"{problem.value} {problem.value.hint}"


def test_rows_that_are_not_the_spines_are_refused_with_a_fix() -> None:
    assert "rows for a spine of 200. Return one row for each row of the spine" in refused(plain_merge)
    assert "another order" in refused(lambda _, spine: spine.sort_values("label_ts").assign(f=1))
    fix = refused(lambda _, spine: spine.sort_values("label_ts").assign(f=1)[["f"]])
    assert "by the index" in fix
    assert '.sort_values("row")' in fix
    assert "no column besides" in refused(lambda _, spine: spine)


def test_a_function_that_gives_another_frame_each_time_is_refused() -> None:
    assert "not give the same frame twice" in refused(lambda _, spine: spine.assign(f=CHANCE.random(len(spine))))


def test_what_cannot_be_compared_is_refused() -> None:
    assert "no column 'when'" in refused(event_times="when")
    assert "holds no times" in refused(tx=TX.assign(ts=TX["ts"].astype(str)))
    assert "with a time zone" in refused(tx=TX.assign(ts=TX["ts"].dt.tz_localize(None)))
    assert "no source 'txx'. Did you mean 'tx'?" in refused(event_times={"txx": "ts"})
    assert "no source has an event time" in refused(event_times={})
    assert "no option 'arrival'" in refused(arrival={"tx": "seen_at"})
    assert "key in both frames called 'kind'" in refused(keys="kind")
    assert "no side called 'both'" in refused(closed="both")
    assert "the spine has no rows" in refused(spine=LABELS.head(0))
    assert "nulls" in refused(spine=LABELS.assign(label_ts=LABELS["label_ts"].where(LABELS["churned"] == 1)))
    assert "rows is a number" in refused(rows=0)
    assert "is no frame that can be changed" in refused(tx={"ts": [1]})
