"""Between our records and lines of a table: a field is the column of its name, except that ``group`` is ``group_name``.

Rule: plain data is kept as JSON text; nothing that could run code goes in or comes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Row

from timewell.errors import InvalidRequest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

_PARAMETERS = 500
_COLUMNS = {"group": "group_name"}  # GROUP is a word of SQL
_JSON_FIELDS = frozenset({"body", "resolved", "features", "detail", "took_last_us"})
_TUPLES = frozenset({"features", "took_last_us"})


def batched(ids: Sequence[int]) -> list[Sequence[int]]:
    """Divide ids so that each part fits into one statement's parameters."""
    return [ids[first : first + _PARAMETERS] for first in range(0, len(ids), _PARAMETERS)]


def to_line(record: DataclassInstance, *, without: str = "") -> dict[str, object]:
    """Return a record as the values of a line; ``without`` names a field that the database fills."""
    names = [field.name for field in fields(record) if field.name != without]
    return {_COLUMNS.get(name, name): _to_column(name, getattr(record, name)) for name in names}


def to_record(kind: type[R], line: Row[Any]) -> R:
    """Return a line as a record."""
    values = line._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    found = {field.name: values[_COLUMNS.get(field.name, field.name)] for field in fields(kind)}
    return kind(**{name: _from_column(name, value) for name, value in found.items()})


def _to_column(name: str, value: object) -> object:
    return dump(value) if name in _JSON_FIELDS else value


def _from_column(name: str, value: object) -> object:
    if name not in _JSON_FIELDS:
        return value
    loaded = json.loads(str(value))
    return tuple(loaded) if name in _TUPLES else loaded


def dump(value: object) -> str:
    """Write plain data as JSON, in its own order.

    Raises
    ------
    InvalidRequest
        It holds something that is no plain data (a NaN, a date, an object).
    """
    return _dump(value, in_order=False)


def canonical(value: object) -> str:
    """Write plain data as JSON so that equal data give equal text.

    Examples
    --------
    >>> canonical({"b": (1, 2), "a": None})
    '{"a":null,"b":[1,2]}'
    """
    return _dump(value, in_order=True)


def _dump(value: object, *, in_order: bool) -> str:
    try:
        return json.dumps(value, sort_keys=in_order, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError) as problem:
        raise InvalidRequest(problem=f"the registry keeps plain data only: {problem}") from problem


def _plain(value: object) -> object:
    """Return what ``json`` cannot write by itself: read-only mappings and sets of names."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")
