"""Drills of sources: one that is dead, one that is late, one whose columns change, one whose values are gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.practice.card import Check
from timewell.practice.ground import Ground
from timewell.practice.stage import Stage, Wanted
from timewell.types import DAY_US, HOUR_US, format_instant

BALANCES: Final = "payments.balances_snapshots"
PAYMENTS: Final = "payments.transactions"
USERS: Final = tuple({"user_id": user} for user in range(50))


def served(ground: Ground, feature: str) -> list[object]:
    """Return what is served now of a feature, for some users."""
    answer = ground.fs.get_online_features([feature], USERS)
    return [row[0] for row in answer.rows]


def rewrite(ground: Ground, name: str, change: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """Put other rows into the file of a source; returns those that it held."""
    file = ground.root / "data" / f"{name}.parquet"
    before = pq.read_table(file)
    pq.write_table(change(before), file)
    return before


def stale_source(stage: Stage) -> Iterator[Check]:
    """Let the load of the balances die; the pipeline runs on, and every run succeeds."""
    yield from stage.calm()
    before = served(stage.ground, "balance_pti")

    def goes_on() -> None:
        stage.load(PAYMENTS)
        stage.refresh("balances")

    # 80 % of an SLA of an hour are over at the 6th tick of 8 minutes; a warning takes two evaluations
    wanted = Wanted(key=f"{BALANCES}:source_late", kind="warn", cause="SOURCE_LATE", within=7)
    told = yield from stage.fires(wanted, goes_on)
    if told is None:
        return
    yield Check(what="runs succeed all the while", passed=not stage.problems, found=f"{len(stage.problems)} failed")
    yield Check(
        what="the last values go on being served",
        passed=served(stage.ground, "balance_pti") == before and any(value is not None for value in before),
    )
    # whoever is called mends the load
    yield from stage.walks(told, mend=stage.load, mitigate=["timewell materialize online balances"])


def late_data(stage: Stage) -> Iterator[Check]:
    """Let the payments of a day arrive hours after they happened, all at once."""
    ground = stage.ground
    yield from stage.calm()
    began_us, before = ground.clock.now_us(), served(ground, "txn_count_7d")

    def goes_on() -> None:
        now_us = ground.clock.now_us()
        stage.load(BALANCES)
        stage.mark(PAYMENTS, began_us + (now_us - began_us) // 10)
        stage.refresh()

    # it falls behind by 0.9 h an hour: 80 % of 24 hours are over at the 7th tick of 3.2 hours
    wanted = Wanted(key=f"{PAYMENTS}:source_late", kind="warn", cause="SOURCE_LATE", within=8)
    told = yield from stage.fires(wanted, goes_on)
    if told is None:
        return

    def arrive() -> None:
        rewrite(ground, "transactions", lambda rows: _with_late(rows, began_us))
        stage.load()

    yield from stage.walks(told, mend=arrive, mitigate=["timewell materialize online transactions"])
    now_us = ground.clock.now_us()
    after = served(ground, "txn_count_7d")
    at = pa.array([now_us] * len(USERS), pa.timestamp("us", tz="UTC"))
    spine = pa.table({"user_id": [user["user_id"] for user in USERS], "at": at})
    trained = ground.fs.get_historical_features(spine, ["txn_count_7d"]).to_arrow()["txn_count_7d"].to_pylist()
    yield Check(
        what="payments that came late count as of when they happened, online as in training",
        passed=after == trained and after != before and after[0] == 3,
        found=f"user 0, who had none in seven days, has {after[0]} now",
    )


def _with_late(rows: pa.Table, began_us: int) -> pa.Table:
    """Return a table with three more payments of user 0, an hour apart."""
    last = pc.max(rows["transaction_id"]).as_py()
    late = pa.table(
        {
            "transaction_id": [last + number for number in (1, 2, 3)],
            "user_id": [0, 0, 0],
            "tx_ts": pa.array([began_us + number * HOUR_US for number in (1, 2, 3)], pa.timestamp("us", tz="UTC")),
            "amount": [10.0, 20.0, 30.0],
            "type": ["purchase"] * 3,
        }
    )
    return pa.concat_tables([rows, late.cast(rows.schema)])


def schema_change(stage: Stage) -> Iterator[Check]:
    """Rename a column of the balances, as whoever loads them might."""
    ground = stage.ground
    yield from stage.calm()
    before = served(ground, "balance_pti")
    names = rewrite(ground, "balances_snapshots", _renamed).column_names
    # as for a source that is dead; but it is the runs that fail
    wanted = Wanted(key="balances@v1:freshness", kind="warn", cause="PIPELINE_LATE", within=7)
    told = yield from stage.fires(wanted, lambda: stage.refresh("balances"))
    if told is None:
        return
    problem = str(stage.problems[-1]) if stage.problems else ""
    yield Check(
        what="each run fails before it writes, and says which column is gone",
        passed=len(stage.problems) == wanted.within and "balance" in problem,
        found=problem,
    )
    yield Check(
        what="the message has it, too",
        passed="balance" in str(told.get("details", {}).get("problem", "")),
        found=str(told.get("details", {}).get("problem", "")),
    )
    yield Check(what="the last values go on being served", passed=served(ground, "balance_pti") == before)

    def name_back() -> None:
        rewrite(ground, "balances_snapshots", lambda rows: rows.rename_columns(names))

    yield from stage.walks(told, mend=name_back, mitigate=["timewell materialize online balances"])


def _renamed(rows: pa.Table) -> pa.Table:
    return rows.rename_columns([name.replace("balance", "amount_cents") for name in rows.column_names])


def null_flood(stage: Stage) -> Iterator[Check]:
    """Make half of the balances null, as a join upstream that fails does."""
    ground = stage.ground
    midnight_us = ground.clock.now_us() // DAY_US * DAY_US
    day = format_instant(midnight_us - DAY_US)[:10]

    def nightly() -> None:
        stage.usual()
        stage.tried(lambda: ground.fs.materialize_offline("balances", start=day, end=day))

    yield from stage.calm(nightly)
    held = [(file.content_digest, file.rows) for file, _ in ground.fs.offline_files("balance_pti")]
    before = served(ground, "balance_pti")
    good = rewrite(ground, "balances_snapshots", _flooded)
    wanted = Wanted(key="balances@v1:gate", kind="breach", cause="GATE_BLOCKED", within=1)
    told = yield from stage.fires(wanted, nightly)
    if told is None:
        return
    problem = str(stage.problems[-1]) if stage.problems else ""
    yield Check(what="the gate says which test fails", passed="null_rate" in problem, found=problem)
    yield Check(
        what="the live table is untouched",
        passed=[(file.content_digest, file.rows) for file, _ in ground.fs.offline_files("balance_pti")] == held,
        found=f"{len(held)} partitions, {sum(rows for _, rows in held):,} rows",
    )

    yield Check(
        what="no null is served: the online build is the one before",
        passed=served(ground, "balance_pti") == before and any(value is not None for value in before),
    )

    def join_again() -> None:
        rewrite(ground, "balances_snapshots", lambda _: good)

    again = [f"timewell materialize offline balances --start {day} --end {day}", "timewell materialize online balances"]
    yield from stage.walks(told, mend=join_again, mitigate=again, goes_on=nightly)


def _flooded(rows: pa.Table) -> pa.Table:
    """Return a table in which every other balance is null."""
    hit = pc.equal(pc.bit_wise_and(pa.array(range(rows.num_rows)), 1), 1)
    column = pc.if_else(hit, pa.scalar(None, rows["balance"].type), rows["balance"])
    return rows.set_column(rows.column_names.index("balance"), "balance", column)
