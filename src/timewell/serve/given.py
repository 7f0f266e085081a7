"""Values that come with a request: in the types of the inputs they are for, one for each entity.

Rule: a value is what the spine's column of its name would hold, or it is refused by name; what is in the way is never
guessed at. Values that nobody asks for are passed over: a caller may send one request to several services.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import numpy as np

from timewell.catalog.evaluate import checked
from timewell.define.dtypes import decimal_parts, element_of
from timewell.errors import InvalidRequest, InvalidRequestValue, MissingRequestValue, TimewellError
from timewell.types import parse_instant, to_datetime

Request = Mapping[str, object] | Sequence[Mapping[str, object]]
Column = Sequence[object]

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_TABLE: Final = "the request"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInput:
    """A value that a feature takes from the request.

    Attributes
    ----------
    name
        As the request calls it.
    feature
        The first feature that takes it, for what is said of it.
    """

    name: str
    dtype: str
    feature: str


def given_columns(wanted: Sequence[RequestInput], request: Request | None, rows: int) -> list[Column]:
    """Return a column for each value wanted, with a value for each entity.

    Parameters
    ----------
    request
        One mapping of name to value: a value that all entities share, or a list of one for each (of an input that is a
        list itself the value is shared). Or a list with a mapping for each entity.
    rows
        How many entities there are; for none nothing is needed.

    Raises
    ------
    MissingRequestValue, InvalidRequestValue
        Naming the value.
    InvalidRequest
        There are more or fewer values than entities, or the request is neither of the two.

    Examples
    --------
    >>> country = RequestInput(name="country", dtype="string", feature="country_id")
    >>> given_columns([country], {"country": "US"}, 2), given_columns([country], {"country": ["US", "CA"]}, 2)
    ([['US', 'US']], [['US', 'CA']])
    >>> given_columns([country], [{"country": "US"}, {"country": None}], 2)
    [['US', None]]
    """
    if not rows:
        return [[] for _ in wanted]
    if isinstance(request, (list, tuple)):
        _check_length(_TABLE, request, rows)
        return [[_value(one, each) for each in request] for one in wanted]
    return [_column(one, request or {}, rows) for one in wanted]


def _column(wanted: RequestInput, request: object, rows: int) -> Column:
    value = _found(wanted, request)
    if isinstance(value, (list, tuple)) and element_of(wanted.dtype) is None:
        _check_length(f"the request's {wanted.name!r}", value, rows)
        return [_typed(wanted, each) for each in value]
    return [_typed(wanted, value)] * rows


def _value(wanted: RequestInput, request: object) -> object:
    return _typed(wanted, _found(wanted, request))


def _found(wanted: RequestInput, request: object) -> object:
    if not isinstance(request, Mapping):
        hint = "Write one mapping of name to value, or a list with one for each entity: request={'country': 'US'}."
        raise InvalidRequest(problem=f"the request's values are, or hold, a {type(request).__name__}", hint=hint)
    try:
        return request[wanted.name]
    except KeyError:
        known = sorted(map(str, request))
        raise MissingRequestValue(table=_TABLE, asked=wanted.name, feature=wanted.feature, known=known) from None


def _check_length(what: str, values: Sequence[object], rows: int) -> None:
    if len(values) != rows:
        problem = f"{what} has {len(values):,} values for {rows:,} entit{'y' if rows == 1 else 'ies'}"
        raise InvalidRequest(problem=problem, hint="Give one for each entity, in their order, or one for all.")


def _typed(wanted: RequestInput, value: object) -> object:
    """Return a value in its input's type; it is not told, it may be about a person."""
    try:
        return checked(_read(value, wanted.dtype), wanted.dtype)
    except (ArithmeticError, TypeError, ValueError, TimewellError):  # pyarrow's are ValueErrors, too
        found = f"a {type(value).__name__} that does not fit" if _is_near(value) else f"a {type(value).__name__}"
        facts = {"asked": wanted.name, "found": found, "wanted": wanted.dtype, "feature": wanted.feature}
        raise InvalidRequestValue(**facts) from None


def _is_near(value: object) -> bool:
    """Whether it is not the type alone that is wrong with a value: text that is no date, a number that is too large."""
    return isinstance(value, (str, int, float, list, tuple, date)) and not isinstance(value, bool)


def _read(value: object, dtype: str) -> object:
    """Read what neither JSON nor MessagePack has and comes as text: dates, instants, decimals."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        element = element_of(dtype)
        return [_read(each, element) for each in value] if element else value
    if dtype == "timestamp" and isinstance(value, (str, date)):
        return to_datetime(parse_instant(value))
    if not isinstance(value, str):
        return value
    if dtype == "date" and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    return Decimal(value) if decimal_parts(dtype) else value
