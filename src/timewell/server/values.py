"""Values between JSON and Python: what JSON cannot write, and what it cannot tell.

JSON has no NaN, no infinity and no date. The floats are written as the strings ``NaN``, ``Infinity`` and
``-Infinity`` (the rule of Protocol Buffers' JSON form), so that no value turns into another; a date key comes as text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from math import isfinite
from typing import Final

import msgspec

from timewell.errors import InvalidKey
from timewell.serve.response import OnlineFeatures

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_encode = msgspec.json.Encoder(decimal_format="string").encode


def encode_answer(answer: OnlineFeatures) -> bytes:
    """Return the JSON of an answer.

    The encoder writes a float that JSON does not have as ``null``; so an answer without a ``null`` needs no second
    look, and most cost no work per value here.

    Examples
    --------
    >>> answer = OnlineFeatures(
    ...     features=("a", "b"),
    ...     rows=[[float("nan"), 1.5]],
    ...     row_statuses=[["present", "present"]],
    ...     epoch=1,
    ...     as_of_us={"g": 0},
    ... )
    >>> encode_answer(answer).decode()
    '{"features":["a","b"],"rows":[{"values":["NaN",1.5],"statuses":["present","present"]}],"epoch":1,"as_of":{"g":"1970-01-01T00:00:00Z"},"degraded":false}'
    """
    body = _encode(answer.to_dict())
    if b"null" not in body:
        return body
    rows = [[_spelled(value) for value in row] for row in answer.rows]
    return _encode(msgspec.structs.replace(answer, rows=rows).to_dict())


def _spelled(value: object) -> object:
    """Return a float that JSON does not have as text, anything else as it is."""
    if type(value) is float and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124  # NaN
    return [_spelled(part) for part in value] if type(value) is list else value


def with_dates(entities: Sequence[Mapping[str, object]], names: Collection[str]) -> Sequence[Mapping[str, object]]:
    """Read the join keys of type date, which JSON brings as text.

    Raises
    ------
    InvalidKey
        A text is not a date ``YYYY-MM-DD``.
    """
    if not names:
        return entities
    return [
        {name: _date(name, value) if name in names else value for name, value in entity.items()} for entity in entities
    ]


def _date(name: str, value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:  # such as the 30th of February
        pass
    raise InvalidKey(key=name, found="text that is no date", wanted="date (YYYY-MM-DD)")
