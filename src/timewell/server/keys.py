"""Join keys as they come over the wire: neither JSON nor MessagePack has dates, so a date key comes as text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final

from timewell.errors import InvalidKey

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def with_dates(entities: Sequence[Mapping[str, object]], names: Collection[str]) -> Sequence[Mapping[str, object]]:
    """Read the join keys of type date, which come as text.

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
