"""How often a group is refreshed, where its definition says so: a duration, a cron expression, or ``never``.

Cron expressions have five fields and are read in UTC.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BeforeValidator

from timewell.errors import DefinitionError, InvalidDuration
from timewell.types import format_duration, parse_duration, parse_instant, to_datetime

NEVER: Final = "never"
_CRON_FIELDS: Final = 5


def check_refresh(value: object) -> str:
    """Return how often to refresh in its one spelling, or raise ``DefinitionError``.

    Examples
    --------
    >>> check_refresh("90m"), check_refresh(" */15  * * * * ")
    ('1h30m', '*/15 * * * *')
    """
    if value is False or value == NEVER:  # YAML reads a bare `no` or `off` as false
        return NEVER
    if isinstance(value, str) and len(value.split()) == _CRON_FIELDS:
        expression = " ".join(value.split())
        next_instant(expression, 0)
        return expression
    try:
        return format_duration(parse_duration(value))
    except InvalidDuration:
        problem = (
            f"refresh: {value!r} is no duration (30m), no cron expression of five fields (*/15 * * * *), nor never."
        )
        raise DefinitionError(problem=problem) from None


def is_cron(refresh: str) -> bool:
    """Whether a checked ``refresh`` is a cron expression."""
    return " " in refresh


def next_instant(expression: str, after_us: int) -> int:
    """Return the first instant after another that a cron expression names.

    Raises
    ------
    DefinitionError
        It is no cron expression, or names no instant at all (30 February).

    Examples
    --------
    >>> from timewell.types import format_instant
    >>> format_instant(next_instant("30 6 * * mon-fri", parse_instant("2026-03-06T06:30:00Z")))
    '2026-03-09T06:30:00Z'
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - few definitions have one, and all are read at start

    try:
        return parse_instant(next(CronSim(expression, to_datetime(after_us))))
    except (CronSimError, StopIteration) as problem:
        why = str(problem) or "it names no instant"
        raise DefinitionError(problem=f"refresh: {expression!r} is no cron expression: {why}.") from None


Refresh = Annotated[str, BeforeValidator(check_refresh)]
