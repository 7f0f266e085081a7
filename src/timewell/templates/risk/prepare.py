"""Make the data of the risk example: 150 days of payments that end now (or at ``$TIMEWELL_NOW``).

Run it in the project's directory. The same instant gives the same files; a later one moves all of them along. A number of
users may be given: ``python prepare.py 100``.

``data/transactions.parquet``        payments and refunds
``data/balances_snapshots.parquet``  balances, each time one was looked at
``data/fraud_reports.parquet``       what became of a payment, and when that was known
``data/training_spine.parquet``      the payments of the last 90 days with their label, to train on
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from timewell.clock import open_clock

SEED = 20
USERS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
DAYS = 150
TRAINING_DAYS = 90
# User 0 made one payment, eight days ago: it shows how a count falls back to 0 without a new event.
LONE_USER, LONE_DAYS_AGO = 0, 8
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
CLEARED_AFTER_DAYS = 30

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Write the four files below ``data/`` and say what they hold."""
    now_us = open_clock().now_us() // MINUTE_US * MINUTE_US
    draw = np.random.default_rng(SEED)
    user, age_us = _payments(draw)
    order = np.lexsort((user, -age_us))  # oldest first
    user, at_us = user[order], now_us - age_us[order]
    amount = np.round(draw.lognormal(3.2, 0.5, USERS)[user] * draw.lognormal(0, 0.6, len(user)), 2)
    refund = draw.random(len(user)) < 0.04
    fraud = ~refund & (draw.random(len(user)) < 0.01 + 0.04 * (amount > 80))
    reported_us = at_us + _days_until_known(draw, fraud)
    number = np.arange(len(user), dtype=np.int64)
    payments = {"transaction_id": number, "user_id": user, "tx_ts": at_us}
    _write("transactions", {**payments, "amount": amount, "type": np.where(refund, "refund", "purchase")})
    _write("fraud_reports", {**payments, "is_fraud": fraud.astype(np.int64), "reported_ts": reported_us})
    _write("balances_snapshots", _balances(draw, now_us))
    recent = at_us >= now_us - TRAINING_DAYS * DAY_US
    known = reported_us <= now_us
    spine = {"transaction_id": number[recent], "user_id": user[recent], "event_ts": at_us[recent]}
    label = pa.array(fraud[recent].astype(np.int64), mask=~known[recent])
    _write("training_spine", {**spine, "is_fraud": label})
    print(
        f"data/: {len(user):,} payments of {USERS:,} users over {DAYS} days, {int(recent.sum()):,} of them in the last"
        f" {TRAINING_DAYS} days to train on, {int((recent & known).sum()):,} of these with a label known by now"
    )


def _payments(draw: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw each payment's user and age: many users pay seldom, a few daily, and some have gone or are new."""
    a_day = draw.lognormal(-1.8, 1.1, USERS).clip(max=8)
    first = np.where(draw.random(USERS) < 0.2, draw.uniform(0, DAYS, USERS), DAYS)
    last = np.where(draw.random(USERS) < 0.3, draw.uniform(0, 60, USERS), 0.0)
    active = (first - last).clip(min=0)
    count = draw.poisson(a_day * active)
    count[LONE_USER] = 0
    user = np.repeat(np.arange(USERS, dtype=np.int64), count)
    age_us = ((last[user] + draw.random(len(user)) * active[user]) * DAY_US).astype(np.int64)
    # Whole seconds, so that some payments of a user share their instant; none at the very end.
    age_us = age_us // 1_000_000 * 1_000_000 + 1_000_000
    return np.append(user, LONE_USER), np.append(age_us, LONE_DAYS_AGO * DAY_US)


def _days_until_known(draw: np.random.Generator, fraud: npt.NDArray[np.bool_]) -> Ints:
    """Draw when the truth comes out: a fraud after days or weeks, all else is cleared after thirty days."""
    days = np.where(fraud, draw.gamma(2.0, 4.0, len(fraud)) + 0.5, CLEARED_AFTER_DAYS)
    return (days * DAY_US).astype(np.int64)


def _balances(draw: np.random.Generator, now_us: int) -> Mapping[str, Ints | Floats]:
    """Look at each account about every other day; every tenth user has never been looked at."""
    looked = np.flatnonzero(np.arange(USERS) % 10 != 9)
    user = np.repeat(looked.astype(np.int64), DAYS // 2)
    at_us = now_us - (draw.random(len(user)) * DAYS * DAY_US).astype(np.int64) // 1_000_000 * 1_000_000
    _, kept = np.unique(np.stack([user, at_us]), axis=1, return_index=True)
    balance = np.round(draw.lognormal(6.5, 1.0, len(kept)), 2)
    return {"user_id": user[kept], "snapshot_ts": at_us[kept], "balance": balance}


def _write(name: str, columns: Mapping[str, object]) -> None:
    """Write one table whole or not at all; columns ending in ``_ts`` are instants."""
    moment = pa.timestamp("us", tz="UTC")
    arrays = {key: pa.array(values, moment if key.endswith("_ts") else None) for key, values in columns.items()}
    target = Path("data") / f"{name}.parquet"
    target.parent.mkdir(exist_ok=True)
    temporary = target.with_suffix(".tmp")
    pq.write_table(pa.table(arrays), temporary)
    temporary.replace(target)


if __name__ == "__main__":
    main()
