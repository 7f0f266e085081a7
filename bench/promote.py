"""What a promote costs, against a bare SQLite transaction that writes the same lines into the same database.

    ./run bench promote [--partitions 300] [--table 3650]

A table of so many partitions is live; a shadow over some of them is promoted and taken back, each time by a handle
that did neither before (so that our time includes making the statements). The bare transaction is
found by comparing the database before and after: it inserts, updates and deletes exactly the lines that differ, with
the same journal and the same synchronous setting. Both sides end with equal tables, which is checked. Ratios count;
the absolute times are this machine's.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from timewell.backends import sql
from timewell.testing.registry_records import BY, group_record, promote, shadow_record, stage

ROUNDS = 9
Lines = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]


def opened(path: Path) -> sql.SqlRegistry:
    registry = sql.open(url=f"sqlite:///{path}")
    registry.state.create_or_check()
    return registry


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")
    return connection


def columns(connection: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """Return a table's columns and those of its key."""
    found = connection.execute(f"PRAGMA table_info('{table}')").fetchall()
    keys = sorted((line[5], line[1]) for line in found if line[5])
    return [line[1] for line in found], [name for _, name in keys]


def lines(path: Path) -> Lines:
    """Return every line of every table by its key."""
    held: Lines = {}
    with closing(connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        for (table,) in tables.fetchall():
            names, keys = columns(connection, table)
            places = [names.index(key) for key in keys]
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            held[table] = {tuple(row[place] for place in places): row for row in rows}
    return held


def statements(path: Path, before: Lines, after: Lines) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return what turns one state into the other: per table one insert, one update by key and one delete by key."""
    found: list[tuple[str, list[tuple[Any, ...]]]] = []
    # first what others point at
    order = ["snapshot", "promotion", *sorted(after.keys() - {"snapshot", "promotion"})]
    with closing(connect(path)) as connection:
        for table in order:
            names, keys = columns(connection, table)
            old, new = before[table], after[table]
            place = " AND ".join(f'"{key}" = ?' for key in keys)
            gone = [key for key in old if key not in new]
            changed = [(*new[key], *key) for key in old if key in new and new[key] != old[key]]
            came = [row for key, row in new.items() if key not in old]
            setting = ", ".join(f'"{name}" = ?' for name in names)
            found += [(f'DELETE FROM "{table}" WHERE {place}', gone)] if gone else []
            found += [(f'UPDATE "{table}" SET {setting} WHERE {place}', changed)] if changed else []
            found += [(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(names))})', came)] if came else []
    return found


def timed_ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def bare(path: Path, wanted: list[tuple[str, list[tuple[Any, ...]]]]) -> float:
    """Write the lines in one transaction; returns milliseconds."""
    with closing(connect(path)) as connection:
        connection.execute("SELECT epoch FROM head").fetchall()

        def work() -> None:
            connection.execute("BEGIN IMMEDIATE")
            for statement, values in wanted:
                connection.executemany(statement, values)
            connection.execute("COMMIT")

        return timed_ms(work)


def ours(path: Path, work: Callable[[sql.SqlRegistry], object]) -> tuple[float, int]:
    """Run one change on a registry that was used before; returns milliseconds and statements."""
    sent: list[str] = []

    def count(*told: object) -> None:
        sent.append(str(told[2]))

    registry = opened(path)
    registry.shadows.promotions()
    event.listen(Engine, "before_cursor_execute", count)
    took = timed_ms(lambda: work(registry))
    event.remove(Engine, "before_cursor_execute", count)
    registry.close()
    return took, len(sent)


def compare(what: str, start: Path, work: Callable[[sql.SqlRegistry], object]) -> Path:
    """Print our time and that of the bare transaction from the same start; returns the state afterwards."""
    ours_ms, bare_ms, statements_sent, written, mine = [], [], 0, 0, start
    for number in range(ROUNDS):
        mine, plain = start.with_name(f"{what} ours {number}.db"), start.with_name(f"{what} bare {number}.db")
        shutil.copy(start, mine)
        shutil.copy(start, plain)
        before = lines(start)
        took, statements_sent = ours(mine, work)
        wanted = statements(mine, before, lines(mine))
        written = sum(len(values) for _, values in wanted)
        ours_ms.append(took)
        bare_ms.append(bare(plain, wanted))
        if lines(plain) != lines(mine):
            raise SystemExit(f"{what}: the bare transaction ended in another state")
    mid_ours, mid_bare = statistics.median(ours_ms), statistics.median(bare_ms)
    print(
        f"{what:<10} {written:>7,} lines {statements_sent:>4} statements "
        f"{mid_ours:>8.1f} ms   bare {mid_bare:>7.1f} ms   ratio {mid_ours / mid_bare:>5.2f}"
    )
    return mine


def main() -> None:
    reads = argparse.ArgumentParser(description=__doc__)
    reads.add_argument("--partitions", type=int, default=300)
    reads.add_argument("--table", type=int, default=3650)
    asked = reads.parse_args()
    with tempfile.TemporaryDirectory() as place:
        start = Path(place) / "start.db"
        registry = opened(start)
        registry.put([group_record()], **BY)
        promote(registry, "before", *range(asked.table), content="first")
        days = range(asked.table - asked.partitions, asked.table)
        order = stage(registry, shadow_record(), *days, content="second")
        registry.close()
        print(f"{asked.partitions} of {asked.table} partitions; median of {ROUNDS}")
        done = compare("promote", start, lambda one: one.shadows.promote([order], **BY))
        compare("rollback", done, lambda one: one.shadows.roll_back(2, **BY))


if __name__ == "__main__":
    main()
