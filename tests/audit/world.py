"""Small tables for the statements of ``cases/``, and the same tables with another future.

Rule: up to an instant t two worlds are equal, from there on they are not. A statement whose row for t comes out otherwise
in the second has seen the future.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import sqlglot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.audit.cases import Case

Row = dict[str, Any]
Tables = dict[str, list[Row]]

# (id, entity, time, other columns); a list of texts is drawn from, "number" is a whole number, "flag" is 0 or 1
_SHAPES: dict[str, tuple[str | None, str, str, dict[str, Any]]] = {
    "labels": (None, "user_id", "label_ts", {"churned": "flag"}),
    "orders": ("order_id", "user_id", "order_ts",
               {"amount": "number", "status": ["paid", "refunded", "cancelled"], "country": ["us", "de"]}),
    "logins": (None, "user_id", "login_at", {"device": ["phone", "laptop", "tv"]}),
    "events": ("event_id", "user_id", "event_ts", {"event_type": ["buy", "view"], "value": "number"}),
    "tx": (None, "user_id", "ts", {"amount": "number"}),
    "transactions": ("txn_id", "card_id", "ts",
                     {"amount": "number", "merchant": ["shop", "kiosk"], "is_fraud": "flag"}),
    "loans": ("loan_id", "account_id", "applied_at", {"defaulted": "flag"}),
    "balances": (None, "account_id", "balance_ts", {"balance": "number"}),
    "trades": ("trade_id", "symbol", "trade_ts", {"qty": "number", "fill": "number"}),
    "quotes": (None, "symbol", "quote_ts", {"bid": "number", "ask": "number"}),
    "tickets": ("ticket_id", "customer_id", "opened_at", {"priority": ["high", "low"]}),
    "churn": (None, "customer_id", "as_of_ts", {"churned": "flag"}),
    "admissions": ("stay_id", "patient_id", "admit_ts", {"readmitted": "flag"}),
    "labs": (None, "patient_id", "taken_at", {"test": ["creatinine", "sodium"], "result": "number"}),
    "impressions": ("imp_id", "user_id", "shown_at", {"ad_id": ["a", "b"], "clicked": "flag"}),
    "clicks": (None, "user_id", "clicked_at", {"ad_id": ["a", "b"]}),
}  # fmt: skip
_SPINES = {"labels", "loans", "trades", "churn", "admissions"}
_ENTITIES = 3  # the last one is new: nothing happened before its first row
_PER_ENTITY = 4
_BEGIN = datetime(2025, 1, 1)  # noqa: DTZ001  # the statements' columns are without a zone, as in many warehouses
# from a spine row to events of its entity: at it, around it on its day, in its month, long before and long after
_AROUND = [timedelta(seconds=s) for s in (-1, 1, -1_800, 1_800, -10_800, 10_800)] + [
    timedelta(days=d, hours=1) for d in (-400, -95, -45, -20, -8, -2, 2, 9, 40)
]
_AHEAD = [timedelta(0), timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=2), timedelta(days=1),
          timedelta(days=12), timedelta(days=75), timedelta(days=400)]  # fmt: skip


def moved(connection: duckdb.DuckDBPyConnection, case: Case, instants: int) -> bool:
    """Tell whether a statement's rows change with their future, tried at that many instants of its spine."""
    tables = frames(case.spine[0], case.event_times)
    sql = in_duckdb(case)
    usual = _answer(connection, case, sql, tables)
    rows = tables[case.spine[0]]
    chance = np.random.default_rng(7)
    for own in _tried(rows, instants, chance):
        for other in _other_futures(case, tables, own, chance):
            after = _answer(connection, case, sql, other)
            if _of(case, usual, own) != _of(case, after, own):
                return True
    return False


def _tried(rows: list[Row], instants: int, chance: np.random.Generator) -> list[Row]:
    """Draw rows of the spine, with the first one of the entity that has no past among them."""
    newcomer = -_PER_ENTITY
    return [rows[newcomer], *(rows[place] for place in chance.permutation(len(rows) - _PER_ENTITY)[: instants - 1])]


def in_duckdb(case: Case) -> str:
    """Give the statement in DuckDB's words."""
    if case.duckdb is not None or case.dialect == "duckdb":
        return case.duckdb or case.sql
    [sql] = sqlglot.transpile(case.sql, read=case.dialect, write="duckdb")
    return sql


# --- the tables ------------------------------------------------------------------------------------------------------


def frames(spine: str, sources: Iterable[str]) -> Tables:
    """Make a spine and the tables that are joined to it."""
    chance = np.random.default_rng(11)
    time = _SHAPES[spine][2]
    rows = []
    for entity in range(1, _ENTITIES + 1):
        days = np.sort(chance.choice(330, size=_PER_ENTITY, replace=False))
        for day in days:
            at = _BEGIN + timedelta(days=int(day) + 20, seconds=int(chance.integers(7 * 3_600, 20 * 3_600)))
            rows.append(_row(spine, entity, at, chance))
    tables = {spine: rows}
    for name in sources:
        if name != spine:
            made = [_row(name, _entity(row, spine), row[time] + away, chance) for row in rows for away in _AROUND]
            made += [_row(name, _entity(row, spine), row[time], chance) for row in rows[1::2]]
            begin = rows[-_PER_ENTITY][time]
            tables[name] = [row for row in made if row[_SHAPES[name][2]] >= begin or _entity(row, name) < _ENTITIES]
    for made in tables.values():
        _number(made)
    return tables


def _row(table: str, entity: int, at: datetime, chance: np.random.Generator) -> Row:
    key, entity_name, time, columns = _SHAPES[table]
    row: Row = {} if key is None else {key: 0}
    row |= {entity_name: entity, time: at}
    for name, kind in columns.items():
        row[name] = _value(kind, chance)
    return row


def _value(kind: Any, chance: np.random.Generator) -> object:
    if isinstance(kind, list):
        return kind[int(chance.integers(len(kind)))]
    return int(chance.integers(2)) if kind == "flag" else int(chance.integers(1, 500))


def _entity(row: Row, table: str) -> int:
    found = row[_SHAPES[table][1]]
    assert isinstance(found, int)
    return found


def _number(rows: list[Row]) -> None:
    for number, row in enumerate(rows, start=1):
        first = next(iter(row))
        if row[first] == 0 and first.endswith("_id"):
            row[first] = number


# --- another future --------------------------------------------------------------------------------------------------


def _other_futures(case: Case, tables: Tables, own: Row, chance: np.random.Generator) -> Iterator[Tables]:
    t = own[case.spine[1]]
    for how in ("dropped", "changed", "added"):
        yield {name: _other(case, name, rows, own, t, how, chance) for name, rows in tables.items()}


def _other(
    case: Case, name: str, rows: list[Row], own: Row, t: datetime, how: str, chance: np.random.Generator
) -> list[Row]:
    is_spine = name == case.spine[0]
    if is_spine and name not in case.event_times:
        return rows
    key, _, time, columns = _SHAPES[name]
    late = case.closed.get(name) == "right"
    past = [row for row in rows if (row[time] <= t if late else row[time] < t)]
    future = [row for row in rows if not (row[time] <= t if late else row[time] < t)]
    if how == "dropped":
        return past + [row for row in future if row is own]
    others = [_changed(row, columns, whole=row is not own) for row in future]
    if how == "changed":
        return past + others
    added: list[Row] = []
    for ahead in _AHEAD:
        if not ahead and (late or case.ties == "none"):
            continue
        for entity in range(1, _ENTITIES + 1):
            row = _row(name, _entity(own, case.spine[0]) if entity == 1 else entity, t + ahead, chance)
            kinds = [kind for kind in columns.values() if isinstance(kind, list)]
            for place in range(max((len(kind) for kind in kinds), default=1)):
                fixed = {c: kind[place % len(kind)] for c, kind in columns.items() if isinstance(kind, list)}
                extreme = {c: (-1) ** place * 1_000_000 for c, kind in columns.items() if kind == "number"}
                added.append(row | fixed | extreme | ({key: 10_000 + len(added)} if key else {}))
    return past + future + added


def _changed(row: Row, columns: dict[str, Any], *, whole: bool) -> Row:
    """Change a row's values; of the row that is asked about not what it may be joined by."""
    return row | {
        name: _unlike(row[name], kind) for name, kind in columns.items() if whole or not isinstance(kind, list)
    }


def _unlike(value: Any, kind: Any) -> object:
    if isinstance(kind, list):
        return kind[(kind.index(value) + 1) % len(kind)]
    return 1 - value if kind == "flag" else value + 10_000


# --- running ---------------------------------------------------------------------------------------------------------


def _answer(connection: duckdb.DuckDBPyConnection, case: Case, sql: str, tables: Tables) -> list[Row]:
    for name, rows in tables.items():
        connection.register(name, _arrow(rows))
    result = connection.execute(sql)
    if case.makes is not None:
        result = connection.execute(f"SELECT * FROM {case.makes}")
    names = [column[0].lower() for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _arrow(rows: list[Row]) -> pa.Table:
    return pa.table({name: [row[name] for row in rows] for name in rows[0]})


def _of(case: Case, answer: list[Row], own: Row) -> Counter[tuple[object, ...]]:
    """Return what the statement says of one row of the spine, without what the spine says itself."""
    key, entity, time, columns = _SHAPES[case.spine[0]]
    names = [name for name in (key, entity, time) if name is not None]
    wanted = dict(zip(case.row, (own[entity], own[time]), strict=True)) if case.row else {}
    if not wanted:
        wanted = {name: own[name] for name in names if answer and name in answer[0]}
    mine = [row for row in answer if all(row[name] == value for name, value in wanted.items())]
    return Counter(
        tuple(_rounded(value) for name, value in row.items() if name not in columns or name in wanted) for row in mine
    )


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(f"{value:.9g}")
    return value
