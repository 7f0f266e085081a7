"""What a shared transform costs offline, against calling the same function for every row.

    ./run bench transform [--rows 10000000] [--rounds 3]

Three transforms, each a plain function: the look-up of the documentation, an expression of two numbers, and days since a date.
Ours is the column as a training set computes it (join, SQL, or calls in batches). The peers are the two usual ways to run a
Python function over a column: pandas (``Series.apply``, and for several inputs a comprehension over the columns) and a native
(row-wise) UDF in DuckDB on as many threads as it likes. All take turns in one process, results are compared cell for cell, and
the ratio of medians counts; the seconds are this machine's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

import timewell as tw
from timewell.backends.duckdb import open as open_duckdb
from timewell.catalog.evaluate import evaluate
from timewell.define.forms import form_of
from timewell.stores.offline import EngineSession
from timewell.stores.query import SourceCatalog

LEAST = {"look-up": 5.0}  # times as fast as the faster peer: what is promised
COUNTRIES = ["US", "CA", "GB", "DE", "FR", "日本", "BR", "IN", None]


@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    lut = {"US": 1, "CA": 2, "GB": 3, "DE": 4}
    return lut.get(country, 0)


@tw.transform(version="v1")
def charged(amount: float, rate: float) -> float:
    if amount is None or rate is None:
        return 0.0
    return amount * rate + 0.3 if amount < 500.0 else amount * rate * 0.9


@tw.transform(version="v1")
def days_since_signup(signup_date: date, now: datetime) -> int | None:
    return None if signup_date is None else (now.date() - signup_date).days


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A function, its columns, and how DuckDB names their types."""

    name: str
    function: Callable[..., Any]
    columns: dict[str, pa.Array]
    types: tuple[list[str], str]


def with_nulls(values: npt.NDArray[Any], dice: np.random.Generator, kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind, mask=dice.random(len(values)) < 0.01)


def made(rows: int) -> list[Case]:
    dice = np.random.default_rng(7)
    countries = pa.array(COUNTRIES).take(pa.array(dice.integers(0, len(COUNTRIES), rows)))
    amounts = with_nulls(dice.uniform(0, 1_000, rows), dice, pa.float64())
    rates = with_nulls(dice.uniform(0.01, 0.2, rows), dice, pa.float64())
    signups = with_nulls(dice.integers(18_000, 20_000, rows).astype("datetime64[D]"), dice, pa.date32())
    first = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    nows = pa.array(first + dice.integers(0, 90 * 86_400_000_000, rows)).cast(pa.timestamp("us", "UTC"))
    return [
        Case(name="look-up", function=country_to_id, columns={"country": countries}, types=(["VARCHAR"], "BIGINT")),
        Case(
            name="expression",
            function=charged,
            columns={"amount": amounts, "rate": rates},
            types=(["DOUBLE", "DOUBLE"], "DOUBLE"),
        ),
        Case(
            name="function",
            function=days_since_signup,
            columns={"signup_date": signups, "now": nows},
            types=(["DATE", "TIMESTAMPTZ"], "BIGINT"),
        ),
    ]


def ways(case: Case, session: EngineSession) -> dict[str, Callable[[], pa.Array]]:
    """Return ours and the peers; each returns the column."""
    transform, table = tw.transform_of(case.function), pa.table(case.columns)
    frame = table.to_pandas(date_as_object=True)
    wanted = evaluate(transform, case.columns, session=session).type
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    inputs, returns = case.types
    connection.create_function("udf", case.function, inputs, returns, type="native", null_handling="special")
    connection.register("given", table)
    names = ", ".join(f'"{name}"' for name in case.columns)

    def in_pandas() -> pa.Array:
        if len(case.columns) == 1:
            return pa.Array.from_pandas(frame.iloc[:, 0].apply(case.function), type=wanted)
        cells = [column.to_pylist() for column in case.columns.values()]
        return pa.array([case.function(*row) for row in zip(*cells, strict=True)], wanted)

    def in_duckdb() -> pa.Array:
        return connection.sql(f"SELECT udf({names}) AS v FROM given").to_arrow_table()["v"].combine_chunks()

    return {
        "ours": lambda: evaluate(transform, case.columns, session=session),
        "pandas": in_pandas,
        "DuckDB UDF": in_duckdb,
    }


def measured(case: Case, rounds: int) -> dict[str, float]:
    """Return the median seconds of each way; raises where their cells differ."""
    with open_duckdb().session(SourceCatalog(root=Path.cwd())) as session:
        todo = ways(case, session)
        seconds: dict[str, list[float]] = {name: [] for name in todo}
        for turn in range(rounds):
            expected = None
            for name, way in todo.items():
                start = time.perf_counter()
                column = way()
                seconds[name].append(time.perf_counter() - start)
                expected = column if expected is None else expected
                if turn == 0 and not column.equals(expected):
                    raise SystemExit(f"{case.name}: {name} gives other values")
    return {name: statistics.median(each) for name, each in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="one of look-up, expression, function")
    asked = parser.parse_args()
    broken = []
    for case in made(asked.rows):
        if asked.only not in {None, case.name}:
            continue
        found = measured(case, asked.rounds)
        best = min(seconds for name, seconds in found.items() if name != "ours")
        ratio = best / found["ours"]
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found.items())
        form = form_of(tw.transform_of(case.function)) or "called in batches"
        print(
            f"{case.name} ({form}), {asked.rows:,} rows: {told}; {ratio:.1f} times as fast as the faster peer",
            flush=True,
        )
        if ratio < LEAST.get(case.name, 0.0):
            broken.append(case.name)
    if broken:
        raise SystemExit(f"not as fast as promised: {', '.join(broken)}")


if __name__ == "__main__":
    main()
