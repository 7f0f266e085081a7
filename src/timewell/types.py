"""Instants, durations and ranges: 64-bit microseconds since 1970 UTC, half-open.

Rule: everything past this door is an ``int`` of microseconds; text and datetimes are read here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from timewell.errors import InvalidDuration, InvalidInstant, InvalidRange, UnknownTimezone

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WEEK_US = 7 * DAY_US

_UNITS_US = {"w": WEEK_US, "d": DAY_US, "h": HOUR_US, "m": MINUTE_US, "s": SECOND_US, "ms": 1_000, "us": 1}
_PART = re.compile(r"(\d{1,19})(ms|us|w|d|h|m|s)")
_ISO = re.compile(r"P(?:(\d{1,19})W)?(?:(\d{1,19})D)?(?:T(?:(\d{1,19})H)?(?:(\d{1,19})M)?(?:(\d{1,19})S)?)?")
_MONTHS = re.compile(r"\d+\s*(mo|mon|month|months|y|yr|year|years)$|^P\d+[YM]", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def parse_duration(value: object) -> int:
    """Read a duration.

    Parameters
    ----------
    value
        ``7d``, ``24h``, ``90m``, ``1h30m``, ``2w``, ``20ms``, ISO 8601 such as ``P7D`` or ``PT1H30M``,
        or a ``timedelta``.

    Returns
    -------
    int
        Microseconds, > 0.

    Raises
    ------
    InvalidDuration
        Not a duration, not positive, or of no fixed length (months, years).

    Examples
    --------
    >>> parse_duration("1h30m") == parse_duration("PT90M") == 90 * MINUTE_US
    True
    """
    if isinstance(value, timedelta):
        total = value // _MICROSECOND
    elif isinstance(value, str):
        total = _duration_text(value)
    else:
        raise InvalidDuration(value=value, problem=f"it is a {type(value).__name__}")
    if total <= 0:
        raise InvalidDuration(value=value, problem="it must be longer than zero")
    if total >= 2**53:
        raise InvalidDuration(value=value, problem="it is longer than 285 years")
    return total


def _duration_text(text: str) -> int:
    if _MONTHS.search(text):
        raise InvalidDuration(value=text, problem="months and years have no fixed length")
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        units = [unit for _, unit in parts]
        if len(set(units)) != len(units):
            raise InvalidDuration(value=text, problem="a unit stands in it twice")
        return sum(int(number) * _UNITS_US[unit] for number, unit in parts)
    iso = _ISO.fullmatch(text)
    if iso and any(iso.groups()) and not text.endswith("T"):
        sizes = (WEEK_US, DAY_US, HOUR_US, MINUTE_US, SECOND_US)
        return sum(int(number or 0) * size for number, size in zip(iso.groups(), sizes, strict=True))
    raise InvalidDuration(value=text, problem="it cannot be read")


def format_duration(duration_us: int) -> str:
    """Write a duration the shortest way that :func:`parse_duration` reads back.

    Examples
    --------
    >>> format_duration(7 * DAY_US), format_duration(5_400 * SECOND_US)
    ('7d', '1h30m')
    """
    left, text = duration_us, ""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left = divmod(left, _UNITS_US[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_instant(value: object, *, assume_timezone: str | None = None) -> int:
    """Read a point in time.

    Parameters
    ----------
    value
        ISO 8601 text, a timezone-aware ``datetime`` (pandas timestamps are ones), or a date,
        which means that day's first instant in UTC. Parts below a microsecond are cut off.
    assume_timezone
        IANA name used for a value without offset; without it such a value is refused.

    Returns
    -------
    int
        Microseconds since 1970 UTC.

    Raises
    ------
    InvalidInstant
        The value cannot be read, or has no time zone.

    Examples
    --------
    >>> parse_instant("1970-01-02") == DAY_US == parse_instant("1970-01-02T01:00:00+01:00")
    True
    """
    if isinstance(value, str):
        if _DATE.fullmatch(value):
            return parse_instant(_iso(value, date), assume_timezone=assume_timezone)
        return parse_instant(_iso(value, datetime), assume_timezone=assume_timezone)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            if assume_timezone is None:
                raise InvalidInstant(value=str(value), problem="it has no time zone")
            return local_to_utc_us(value, zone(assume_timezone))
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return (value - _EPOCH.date()).days * DAY_US
    raise InvalidInstant(value=value, problem=f"it is a {type(value).__name__}")


def _iso(text: str, kind: type[date]) -> date:
    try:
        return kind.fromisoformat(text)
    except ValueError as problem:
        # "month must be in 1..12" helps; "Invalid isoformat string" only says the value again
        text_only = str(problem).startswith("Invalid isoformat")
        raise InvalidInstant(value=text, problem="it is not ISO 8601" if text_only else str(problem)) from None


def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name, or an error that names it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownTimezone(value=name) from None


def local_to_utc_us(local: datetime, at: tzinfo) -> int:
    """Turn a local time without zone into an instant.

    A local time that happened twice (clocks set back) is the later of the two: a row is then never
    visible too early.
    """
    both = (local.replace(tzinfo=at, fold=fold) for fold in (0, 1))
    return max((moment - _EPOCH) // _MICROSECOND for moment in both)


def to_datetime(instant_us: int) -> datetime:
    """Return an instant as a UTC ``datetime``."""
    return _EPOCH + timedelta(microseconds=instant_us)


def format_instant(instant_us: int) -> str:
    """Write an instant as ISO 8601 in UTC.

    Examples
    --------
    >>> format_instant(DAY_US)
    '1970-01-02T00:00:00Z'
    """
    moment = to_datetime(instant_us)
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A half-open range of time ``[start_us, end_us)``."""

    start_us: int
    end_us: int

    def __str__(self) -> str:
        return f"[{format_instant(self.start_us)}, {format_instant(self.end_us)})"


def parse_range(start: object, end: object, *, assume_timezone: str | None = None) -> Interval:
    """Read a range: a date as end means the whole of that day, a timestamp as end is exclusive.

    Examples
    --------
    >>> print(parse_range("2025-07-01", "2025-12-31"))
    [2025-07-01T00:00:00Z, 2026-01-01T00:00:00Z)
    """
    start_us = parse_instant(start, assume_timezone=assume_timezone)
    end_us = parse_instant(end, assume_timezone=assume_timezone)
    if _is_date(end):
        end_us += DAY_US
    if end_us > _LAST_US:
        raise InvalidRange(problem="the range ends after the year 9999", start=str(start), end=str(end))
    if start_us >= end_us:
        problem = f"the range from {format_instant(start_us)} to {format_instant(end_us)} is empty"
        raise InvalidRange(problem=problem, start=format_instant(start_us), end=format_instant(end_us))
    return Interval(start_us, end_us)


def _is_date(value: object) -> bool:
    if isinstance(value, str):
        return _DATE.fullmatch(value) is not None
    return isinstance(value, date) and not isinstance(value, datetime)
