"""Quoting, types and the SQL of single columns: the small pieces the templates are put together from.

Rule: every identifier goes through :func:`identifier`, every text through :func:`literal`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from sqlglot import exp
from sqlglot.errors import SqlglotError

from timewell.define.dtypes import decimal_parts, element_of

_TYPES = {
    "BOOLEAN": "bool",
    "TINYINT": "int64",
    "SMALLINT": "int64",
    "INTEGER": "int32",
    "BIGINT": "int64",
    "UTINYINT": "int64",
    "USMALLINT": "int64",
    "UINTEGER": "int64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "VARCHAR": "string",
    "UUID": "string",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMPTZ_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}
_SQL = {
    "bool": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}
_MOVING = (
    exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.CurrentDatetime, exp.Localtime, exp.Localtimestamp,
    exp.Rand, exp.Uuid,
)  # fmt: skip
_MOVING_NAMES = frozenset({
    "now", "get_current_timestamp", "transaction_timestamp", "current_localtime", "uuidv4", "uuidv7", "nextval",
    "currval", "getvariable", "current_setting", "txid_current", "setseed", "sleep_ms",
})  # fmt: skip
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
# A time of day followed by an offset: '2026-01-01' alone must not read as an offset of -01.
OFFSET = r":\d\d(\.\d+)?\s*(Z|[+-]\d\d(:?\d\d)?)$"
DATE = r"\s*\d{4}-\d{2}-\d{2}\s*"
_MICROSECOND, _TWO_DAYS = 1, 172_800_000_000
_FAR = 2**53  # beyond the year 2255 a bound would be close to the ends of what the narrower time types hold
# Digits below a microsecond, which DuckDB cuts off.
FINER = r"\.\d{6}\d*[1-9]"


def is_moving(function: exp.Func) -> bool:
    """Whether a function gives another answer tomorrow: a past value would change with the day it is computed on."""
    return isinstance(function, _MOVING) or function.name.lower() in _MOVING_NAMES


def identifier(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def dotted(name: str) -> str:
    """Quote each part of a dotted name."""
    return ".".join(identifier(part) for part in name.split("."))


def literal(value: object) -> str:
    """Write a constant."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return f"({value})" if value < 0 else str(value)
    if isinstance(value, (float, Decimal)):
        return (
            f"CAST('{value}' AS DOUBLE)"
            if isinstance(value, float)
            else f"CAST('{value}' AS DECIMAL(38,{_scale(value)}))"
        )
    return "'" + str(value).replace("'", "''") + "'"


def _scale(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def our_type(duck: str) -> str:
    """Return our name for a DuckDB type, ``naive`` for a timestamp without zone, else DuckDB's own name."""
    if duck.endswith("[]"):
        return f"list<{our_type(duck[:-2])}>"
    if found := _DECIMAL.fullmatch(duck):
        return f"decimal({found[1]},{found[2]})"
    if duck.startswith("ENUM"):
        return "string"
    if duck.startswith("TIMESTAMP") and duck not in _TYPES:
        return "naive"
    return _TYPES.get(duck, duck)


def duck_type(dtype: str) -> str:
    """Return DuckDB's name for one of our types."""
    if element := element_of(dtype):
        return f"{duck_type(element)}[]"
    if parts := decimal_parts(dtype):
        return f"DECIMAL({parts[0]},{parts[1]})"
    return _SQL[dtype]


def nan_shielded(relation: str, floats: Iterable[str]) -> str:
    """Select from a relation so that conditions on its float columns are true to NaN.

    DuckDB 2.0 believes a Parquet file's min and max, which leave NaN out, and folds or prunes conditions by them
    (duckdb/duckdb#25521): ``x > 1`` loses the NaN rows, ``x < 100`` gains them. A CASE that may yield NaN stops it.
    """
    shields = [
        f"CASE WHEN isnan({column}) THEN 'nan'::DOUBLE ELSE {column} END AS {column}"
        for column in map(identifier, floats)
    ]
    return f"SELECT * REPLACE ({', '.join(shields)}) FROM ({relation})" if shields else relation


def parse_problem(error: SqlglotError) -> str:
    """Return what a parser found wrong in one line; its own text is colored for a terminal and spans several."""
    found = getattr(error, "errors", None) or [{}]
    text = str(found[0].get("description") or error).split("\n", 1)[0].partition(" for <class")[0]
    near = str(found[0].get("highlight") or "").strip()
    return f"{text.rstrip('.')} near {near!r}" if near else text.rstrip(".")


def instant_us(column: str, duck: str, *, zone: str | None, date_means: str | None) -> str:
    """Return SQL for a column as microseconds since 1970 UTC; parts below a microsecond are rounded up.

    A row must never become visible before its instant, hence up. ``zone`` reads timestamps that carry none; a
    local time that happened twice is the later one (DuckDB's own choice, equal to ``local_to_utc_us``).
    """
    at_zone = f" AT TIME ZONE {literal(zone)}" if zone else ""
    shift = " + 86400000000" if date_means == "end" else ""
    if duck == "DATE":
        return f"(epoch_us({column}){shift})"
    if duck.endswith("_NS"):
        ns = f"epoch_ns({column})" if duck.startswith("TIMESTAMPTZ") else None
        if ns:
            return f"({ns} // 1000 + CAST({ns} % 1000 > 0 AS BIGINT))"
        ns = f"epoch_ns({column})"
        # The zone's offset is whole microseconds, so the fraction can be rounded before the zone is applied.
        whole = f"make_timestamp({ns} // 1000 + CAST({ns} % 1000 > 0 AS BIGINT))"
        return f"epoch_us({whole}{at_zone})"
    if duck == "VARCHAR":
        return _text_us(column, at_zone if zone else None, shift)
    if duck.startswith("TIMESTAMPTZ") or duck == "TIMESTAMP WITH TIME ZONE":
        return f"epoch_us({column})"
    return f"epoch_us(CAST({column} AS TIMESTAMP){at_zone})"


def bounds(column: str, duck: str, after_us: int | None, until_us: int) -> list[str]:
    """Return conditions on a time column that every row in ``(after_us, until_us]`` fulfills; others may too.

    They compare the column itself, so that a scan can skip by its statistics. A local time or a date may lie more than
    a day from its instant.
    """
    if duck == "TIMESTAMPTZ_NS":  # DuckDB 2.0 compares it with no other type
        return []
    zoned = duck in {"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"}
    if not zoned and duck != "DATE" and not duck.startswith("TIMESTAMP"):
        return []
    margin = _MICROSECOND if zoned else _TWO_DAYS
    found = []
    for sign, instant, moved in ((">=", after_us, -margin), ("<=", until_us, margin)):
        if instant is not None and abs(instant) < _FAR:
            at = f"make_timestamptz({instant + moved})" if zoned else f"make_timestamp({instant + moved})"
            found.append(f"{column} {sign} {at}")
    return found


def _text_us(column: str, at_zone: str | None, shift: str) -> str:
    """Read text row by row: a date, a time with its offset, or a local time of the source's zone."""
    local = f"epoch_us(CAST({column} AS TIMESTAMP){at_zone})" if at_zone else "NULL"
    finer = f"CAST(regexp_matches({column}, {literal(FINER)}) AS BIGINT)"
    return (
        f"(CASE WHEN regexp_full_match({column}, {literal(DATE)}) THEN epoch_us(CAST({column} AS DATE)){shift}"
        f" WHEN regexp_matches({column}, {literal(OFFSET)}) THEN epoch_us(CAST({column} AS TIMESTAMPTZ)) + {finer}"
        f" ELSE {local} + {finer} END)"
    )
