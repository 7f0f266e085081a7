"""Logging for the command line: everything under ``timewell.*``, to standard error, as text or as JSON lines.

Rule: a record above DEBUG never carries an entity key; who logs one logs it at DEBUG.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from timewell.cli.screen import clean

LogFormat = Literal["text", "json"]
ROOT = "timewell"
# what every record has; anything else was given as extra= and is worth keeping
_ORDINARY = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


def level_of(verbose: int) -> int:
    """Return the level that a count of ``-v`` asks for: warnings, then the run's steps, then everything."""
    return (logging.WARNING, logging.INFO)[verbose] if verbose < 2 else logging.DEBUG


@contextmanager
def to_stderr(*, verbose: int, log_format: LogFormat) -> Iterator[None]:
    """Send ``timewell.*`` to standard error for as long as a command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else Lines())
    logger = logging.getLogger(ROOT)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level_of(verbose))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _at(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _ORDINARY}


class Lines(logging.Formatter):
    """One line per record for people; control characters in it are written out, so that no record forges another."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``TIME LEVEL logger: message name=value``, and the traceback below if there is one."""
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        line = clean(f"{_at(record)} {record.levelname} {record.name}: {record.getMessage()}{extras}", keep="")
        return f"{line}\n{clean(self.formatException(record.exc_info))}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object per line for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record with its extra fields."""
        fields: dict[str, object] = {
            "at": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)
