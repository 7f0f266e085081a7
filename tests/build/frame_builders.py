"""Functions that build training frames as people write them: more than twenty that know the future, and twenty that
do not.

Each gets the frames by name and the spine, ``labels(user_id, label_ts, churned)``. ``payments`` are events with an arrival time,
``plans`` are states, valid from their own instant on.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from statistics import median

import duckdb
import numpy as np
import pandas as pd
import polars as pl

LEAKY: dict[str, Callable] = {}
CLEAN: dict[str, Callable] = {}
_DATABASE = duckdb.connect(config={"threads": 1})


def leaky(build: Callable) -> Callable:
    LEAKY[build.__name__] = build
    return build


def clean(build: Callable) -> Callable:
    CLEAN[build.__name__] = build
    return build


def joined(sources: dict, spine: pd.DataFrame) -> pd.DataFrame:
    """Every label with every payment of its user."""
    numbered = spine.assign(row=range(len(spine)))
    return numbered.merge(sources["payments"], on="user_id", how="left")


def per_label(spine: pd.DataFrame, found: pd.Series, name: str) -> pd.DataFrame:
    return spine.assign(**{name: found.reindex(range(len(spine))).to_numpy()})


def as_of(sources: dict, spine: pd.DataFrame, **how: object) -> pd.DataFrame:
    numbered = spine.assign(row=range(len(spine))).sort_values("label_ts")
    payments = sources["payments"].sort_values("paid_at", kind="stable")
    found = pd.merge_asof(numbered, payments, left_on="label_ts", right_on="paid_at", by="user_id", **how)
    return found.sort_values("row").drop(columns="row")


def asked(query: str) -> Callable:
    """Answer in SQL, by the row of the spine."""

    def build(sources, spine):
        _DATABASE.register("labels", spine.assign(row=range(len(spine))))
        for name, frame in sources.items():
            _DATABASE.register(name, frame)
        found = _DATABASE.execute(query).df().sort_values("row")
        return spine.reset_index(drop=True).join(found.set_index("row"), how="left")

    return build


def history(sources: dict) -> dict[int, list[tuple]]:
    """Each user's payments in plain tuples, oldest first."""
    found = defaultdict(list)
    rows = sources["payments"]
    for user, at, amount in zip(rows["user_id"], rows["paid_at"], rows["amount"], strict=True):
        found[user].append((at, amount))
    return {user: sorted(rows, key=lambda row: row[0]) for user, rows in found.items()}


# --- pandas, leaking -------------------------------------------------------------------------------------------------


@leaky
def mean_of_all_time(sources, spine):
    means = sources["payments"].groupby("user_id", as_index=False)["amount"].mean()
    return spine.merge(means, on="user_id", how="left")


@leaky
def next_payment(sources, spine):
    return as_of(sources, spine, direction="forward")[["user_id", "label_ts", "amount"]]


@leaky
def payment_at_the_same_instant(sources, spine):
    return as_of(sources, spine)[["user_id", "label_ts", "amount"]]  # allow_exact_matches is the default


@leaky
def up_to_and_at(sources, spine):
    both = joined(sources, spine)
    past = both[both["paid_at"] <= both["label_ts"]]
    return per_label(spine, past.groupby("row")["amount"].sum(), "spend")


@leaky
def newest_of_each_user(sources, spine):
    newest = sources["payments"].sort_values("paid_at").drop_duplicates("user_id", keep="last")
    return spine.merge(newest[["user_id", "kind"]], on="user_id", how="left")


@leaky
def whole_day(sources, spine):
    daily = sources["payments"].assign(day=sources["payments"]["paid_at"].dt.floor("D"))
    daily = daily.groupby(["user_id", "day"], as_index=False)["amount"].sum()
    keyed = spine.assign(day=spine["label_ts"].dt.floor("D"))
    return keyed.merge(daily, on=["user_id", "day"], how="left").drop(columns="day")


@leaky
def churn_rate_of_user(_sources, spine):
    return spine.assign(rate=spine.groupby("user_id")["churned"].transform("mean").to_numpy())


@leaky
def scaled_by_the_whole_table(sources, spine):
    found = as_of(sources, spine, allow_exact_matches=False)
    amounts = sources["payments"]["amount"]
    return spine.assign(scaled=((found["amount"] - amounts.mean()) / amounts.std()).to_numpy())


@leaky
def gaps_filled_with_the_median_of_everything(sources, spine):
    found = as_of(sources, spine, allow_exact_matches=False)["amount"]
    return spine.assign(amount=found.fillna(sources["payments"]["amount"].median()).to_numpy())


@leaky
def smoothed_around_the_middle(sources, spine):
    payments = sources["payments"].sort_values("paid_at", kind="stable").copy()
    rolled = payments.groupby("user_id")["amount"].rolling(3, center=True, min_periods=1).mean()
    payments["amount"] = rolled.droplevel(0).reindex(payments.index)
    return as_of({"payments": payments}, spine, allow_exact_matches=False)[["user_id", "label_ts", "amount"]]


@leaky
def how_common_its_kind_is(sources, spine):
    share = sources["payments"]["kind"].value_counts(normalize=True)
    found = as_of(sources, spine, allow_exact_matches=False)
    return spine.assign(share=found["kind"].map(share).to_numpy())


@leaky
def bins_cut_at_the_quantiles_of_everything(sources, spine):
    found = as_of(sources, spine, allow_exact_matches=False)
    edges = sources["payments"]["amount"].quantile([0.25, 0.5, 0.75]).to_numpy()
    return spine.assign(bin=np.where(found["amount"].isna(), -1, np.searchsorted(edges, found["amount"].to_numpy())))


@leaky
def counted_before_it_arrived(sources, spine):
    """All payments were made before the label, but not all of them were known."""
    both = joined(sources, spine)
    past = both[both["paid_at"] < both["label_ts"]]
    return per_label(spine, past.groupby("row").size(), "payments")


@leaky
def first_payment_of_all_time(sources, spine):
    """It is of the past for all but those who never paid before."""
    first = sources["payments"].groupby("user_id")["paid_at"].min().rename("first")
    found = spine.merge(first, on="user_id", how="left")
    found["days"] = (found["label_ts"] - found["first"]).dt.days.clip(lower=0)
    return found.drop(columns="first")


@leaky
def great_cash_payments_ever(sources, spine):
    """There may be none of these in the data."""
    payments = sources["payments"]
    counts = payments[(payments["amount"] > 300) & (payments["kind"] == "cash")].groupby("user_id").size()
    return spine.assign(great=spine["user_id"].map(counts).fillna(0).to_numpy())


@leaky
def greatest_before_it_arrived(sources, spine):
    both = joined(sources, spine)
    past = both[both["paid_at"] < both["label_ts"]]
    return per_label(spine, past.groupby("row")["amount"].max(), "greatest")


# --- polars, SQL and plain Python, leaking ---------------------------------------------------------------------------


@leaky
def nearest_in_polars(sources, spine):
    labels = pl.from_pandas(spine).with_row_index("row").sort("label_ts")
    payments = pl.from_pandas(sources["payments"]).sort("paid_at")
    found = labels.join_asof(payments, left_on="label_ts", right_on="paid_at", by="user_id", strategy="nearest",
                             check_sortedness=False)  # fmt: skip
    return found.sort("row").select("user_id", "label_ts", "amount")


@leaky
def plan_of_tomorrow(sources, spine):
    both = spine.assign(row=range(len(spine))).merge(sources["plans"], on="user_id", how="left")
    past = both[both["valid_from"] <= both["label_ts"] + pd.Timedelta(days=1)].sort_values("valid_from")
    return per_label(spine, past.groupby("row")["plan"].last(), "plan")


LEAKY["newest_then_bounded"] = asked("""
    WITH newest AS (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY paid_at DESC, seen_at DESC) AS place FROM payments
    )
    SELECT l.row, n.amount AS last_amount
    FROM labels l LEFT JOIN newest n ON n.user_id = l.user_id AND n.place = 1 AND n.paid_at < l.label_ts
""")

LEAKY["share_of_the_greatest"] = asked("""
    WITH ranked AS (
        SELECT user_id, seen_at, paid_at, amount / max(amount) OVER (PARTITION BY user_id) AS share FROM payments
    )
    SELECT l.row, r.share
    FROM labels l ASOF LEFT JOIN ranked r ON r.user_id = l.user_id AND greatest(r.seen_at, r.paid_at) < l.label_ts
""")

LEAKY["payments_of_the_month"] = asked("""
    SELECT l.row, count(p.amount) AS payments
    FROM labels l
    LEFT JOIN payments p
      ON p.user_id = l.user_id AND date_trunc('month', p.paid_at) = date_trunc('month', l.label_ts)
    GROUP BY l.row
""")


@leaky
def bisected_on_the_wrong_side(sources, spine):
    found = history(sources)
    return spine.assign(
        payments=[
            bisect_right(found.get(user, []), at, key=lambda row: row[0])
            for user, at in zip(spine["user_id"], spine["label_ts"], strict=True)
        ]
    )


@leaky
def days_to_the_nearest_payment(sources, spine):
    found = history(sources)
    days = []
    for user, at in zip(spine["user_id"], spine["label_ts"], strict=True):
        away = [abs((paid - at).total_seconds()) for paid, _ in found.get(user, [])]
        days.append(min(away) / 86_400 if away else None)
    return spine.assign(days=days)


# --- pandas, clean ---------------------------------------------------------------------------------------------------


def known(sources: dict) -> dict:
    """Payments by the instant at which they had happened and were known."""
    payments = sources["payments"]
    return {**sources, "payments": payments.assign(paid_at=payments[["paid_at", "seen_at"]].max(axis=1))}


@clean
def strictly_as_of(sources, spine):
    return as_of(known(sources), spine, allow_exact_matches=False)[["user_id", "label_ts", "amount", "kind"]]


@clean
def sum_of_thirty_days(sources, spine):
    both = joined(sources, spine)
    visible = both[["paid_at", "seen_at"]].max(axis=1) < both["label_ts"]
    recent = both["paid_at"] >= both["label_ts"] - pd.Timedelta(days=30)
    return per_label(spine, both[visible & recent].groupby("row")["amount"].sum(), "spend_30d").fillna({"spend_30d": 0})


@clean
def days_since_the_last(sources, spine):
    found = as_of(known(sources), spine, allow_exact_matches=False)
    days = (found["label_ts"] - found["paid_at"]).dt.total_seconds() / 86_400
    return spine.assign(days=days.to_numpy())


@clean
def running_mean_until_then(sources, spine):
    payments = known(sources)["payments"].sort_values("paid_at", kind="stable").copy()
    payments["amount"] = payments.groupby("user_id")["amount"].transform(lambda amounts: amounts.expanding().mean())
    return as_of({"payments": payments}, spine, allow_exact_matches=False)[["user_id", "label_ts", "amount"]]


@clean
def churn_rate_of_earlier_labels(_sources, spine):
    numbered = spine.assign(row=range(len(spine)))
    pairs = numbered.merge(numbered, on="user_id", suffixes=("", "_earlier"))
    pairs = pairs[pairs["label_ts_earlier"] < pairs["label_ts"]]
    return per_label(spine, pairs.groupby("row")["churned_earlier"].mean(), "rate")


@clean
def days_until_yesterday(sources, spine):
    both = joined(sources, spine)
    before = both[["paid_at", "seen_at"]].max(axis=1).dt.floor("D") < both["label_ts"].dt.floor("D")
    return per_label(spine, both[before].groupby("row")["paid_at"].agg(lambda at: at.dt.date.nunique()), "days")


@clean
def scaled_by_the_past(sources, spine):
    both = joined(known(sources), spine)
    past = both[both["paid_at"] < both["label_ts"]].sort_values("paid_at", kind="stable")
    by_row = past.groupby("row")["amount"]
    return per_label(spine, (by_row.last() - by_row.mean()) / by_row.std(), "scaled")


@clean
def counts_of_fixed_kinds(sources, spine):
    both = joined(known(sources), spine)
    past = both[both["paid_at"] < both["label_ts"]]
    counts = pd.crosstab(past["row"], past["kind"]).reindex(range(len(spine)), columns=["card", "cash"], fill_value=0)
    return spine.assign(card=counts["card"].to_numpy(), cash=counts["cash"].to_numpy())


@clean
def decayed_spend(sources, spine):
    """A float that depends on the order of its summands."""
    both = joined(known(sources), spine)
    past = both[both["paid_at"] < both["label_ts"]]
    age = (past["label_ts"] - past["paid_at"]).dt.total_seconds() / 86_400
    return per_label(spine, (past["amount"] * np.exp(-age / 30)).groupby(past["row"]).sum(), "decayed")


@clean
def row_by_row(sources, spine):
    payments = sources["payments"]

    def spread(label):
        mine = payments[payments["user_id"] == label["user_id"]]
        mine = mine[(mine["paid_at"] < label["label_ts"]) & (mine["seen_at"] < label["label_ts"])]
        return mine["amount"].max() - mine["amount"].min()

    return spine.assign(spread=spine.apply(spread, axis=1))


@clean
def plan_of_the_instant(sources, spine):
    numbered = spine.assign(row=range(len(spine))).sort_values("label_ts")
    plans = sources["plans"].sort_values(["valid_from", "plan"])
    found = pd.merge_asof(numbered, plans, left_on="label_ts", right_on="valid_from", by="user_id")
    return found.sort_values("row").drop(columns=["row", "valid_from"])


@clean
def month_of_the_label(_sources, spine):
    at = spine["label_ts"]
    return spine.assign(month=at.dt.month, weekday=at.dt.day_of_week, night=(at.dt.hour < 6))


# --- polars, SQL and plain Python, clean -----------------------------------------------------------------------------


@clean
def strictly_as_of_in_polars(sources, spine):
    labels = pl.from_pandas(spine).with_row_index("row").sort("label_ts")
    payments = pl.from_pandas(sources["payments"])
    payments = payments.with_columns(visible=pl.max_horizontal("paid_at", "seen_at")).sort("visible")
    labels = labels.with_columns(cutoff=pl.col("label_ts") - pl.duration(microseconds=1))
    found = labels.join_asof(payments, left_on="cutoff", right_on="visible", by="user_id", check_sortedness=False)
    return found.sort("row").select("user_id", "label_ts", "amount")


@clean
def counted_in_polars(sources, spine):
    labels = pl.from_pandas(spine).with_row_index("row").lazy()
    payments = pl.from_pandas(sources["payments"]).lazy()
    past = labels.join(payments, on="user_id").filter(
        pl.col("paid_at") < pl.col("label_ts"), pl.col("seen_at") < pl.col("label_ts")
    )
    counts = past.group_by("row").agg(pl.len().alias("payments"), pl.col("kind").n_unique().alias("kinds"))
    return labels.join(counts, on="row", how="left").sort("row").drop("row").collect()


CLEAN["newest_by_lateral"] = asked("""
    SELECT l.row, p.amount AS last_amount
    FROM labels l
    LEFT JOIN LATERAL (
        SELECT amount FROM payments
        WHERE payments.user_id = l.user_id AND paid_at < l.label_ts AND seen_at < l.label_ts
        ORDER BY paid_at DESC, seen_at DESC, amount DESC
        LIMIT 1
    ) p ON true
""")

CLEAN["newest_by_asof"] = asked("""
    SELECT l.row, p.kind AS last_kind
    FROM labels l
    ASOF LEFT JOIN (SELECT *, greatest(paid_at, seen_at) AS visible FROM payments) p
      ON p.user_id = l.user_id AND p.visible < l.label_ts
""")

CLEAN["bounded_in_the_aggregate"] = asked("""
    SELECT l.row,
           count(*) FILTER (WHERE p.paid_at < l.label_ts AND p.seen_at < l.label_ts) AS payments,
           median(CASE WHEN greatest(p.paid_at, p.seen_at) < l.label_ts THEN p.amount END) AS usual
    FROM labels l
    LEFT JOIN payments p ON p.user_id = l.user_id
    GROUP BY l.row
""")

CLEAN["cancelled_out"] = asked("""
    SELECT l.row, coalesce(sum(p.amount), 0) - coalesce(sum(p.amount) FILTER (
               WHERE p.paid_at >= l.label_ts - INTERVAL 7 DAY), 0) AS spend_before_last_week
    FROM labels l
    LEFT JOIN payments p ON p.user_id = l.user_id AND p.paid_at < l.label_ts AND NOT p.seen_at >= l.label_ts
    GROUP BY l.row
""")


@clean
def bisected_on_the_right_side(sources, spine):
    found = history(known(sources))
    return spine.assign(
        payments=[
            bisect_left(found.get(user, []), at, key=lambda row: row[0])
            for user, at in zip(spine["user_id"], spine["label_ts"], strict=True)
        ]
    )


@clean
def one_walk_through_time(sources, spine):
    """Both streams in one order, labels before payments of the same instant."""
    payments = known(sources)["payments"]
    stream = [(at, 1, user, amount) for at, user, amount in zip(
        payments["paid_at"], payments["user_id"], payments["amount"], strict=True)]  # fmt: skip
    stream += [(at, 0, user, row) for row, (at, user) in enumerate(
        zip(spine["label_ts"], spine["user_id"], strict=True))]  # fmt: skip
    heapq.heapify(stream)
    seen, answers = defaultdict(list), [None] * len(spine)
    while stream:
        at, is_payment, user, what = heapq.heappop(stream)
        if is_payment:
            seen[user].append((at, what))
        else:
            recent = [amount for paid, amount in seen[user] if paid >= at - timedelta(days=60)]
            answers[what] = median(recent) if recent else None
    return spine.assign(median_60d=answers)
