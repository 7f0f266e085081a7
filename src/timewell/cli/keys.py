"""Entity keys, and values of a request, as people type them: ``user_id=7``, ``origin=OSL,dest=BGO``, or a JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date

from timewell.define.dtypes import is_float
from timewell.errors import InvalidKey, UsageError

_TRUTH = {"true": True, "false": False}


def parse_key(text: str, types: Mapping[str, str], *, what: str = "join key") -> dict[str, object]:
    """Read one entity's join keys, or the values of a request.

    Parameters
    ----------
    text
        ``name=value`` parts joined by commas, or a JSON object (for a value with a comma, or a null).
    types
        Type of each join key that may be given.
    what
        What they are called.

    Raises
    ------
    UsageError
        The text has neither form, or names a key that does not exist.
    InvalidKey
        A value is not of its key's type.

    Examples
    --------
    >>> parse_key("user_id=7", {"user_id": "int64"})
    {'user_id': 7}
    >>> parse_key('{"name": "Smith, J"}', {"name": "string"})
    {'name': 'Smith, J'}
    """
    given = _object(text) if text.lstrip().startswith("{") else _parts(text)
    key: dict[str, object] = {}
    for name, value in given.items():
        if name not in types:
            problem = f"there is no {what} {name!r} here."
            known = sorted(types)
            hint = f"{what.capitalize()}s: {', '.join(known) or 'none'}."
            raise UsageError(problem=problem, asked=name, known=known, hint=hint)
        key[name] = _typed(name, value, types[name]) if isinstance(value, str) else value
    return key


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise UsageError(problem=f"the key is not valid JSON: {problem}.", hint=_FORM) from None
    if not isinstance(found, dict):
        raise UsageError(problem="the key is no JSON object.", hint=_FORM)
    return found


_FORM = """Write user_id=7, or a=1,b=2 for several join keys, or '{"user_id": 7}'."""


def _parts(text: str) -> dict[str, object]:
    given: dict[str, object] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name or name in given:
            raise UsageError(problem=f"{part!r} is not of the form name=value, each name once.", hint=_FORM)
        given[name] = value
    return given


def _typed(name: str, value: str, dtype: str) -> object:
    try:
        if dtype in {"int32", "int64"}:
            return int(value)
        if is_float(dtype):
            return float(value)
        if dtype == "bool":
            return _TRUTH[value.strip().lower()]
        return date.fromisoformat(value) if dtype == "date" else value
    except (KeyError, ValueError):
        raise InvalidKey(key=name, found=repr(value), wanted=dtype) from None
