"""The audit log: numbered lines, each with a digest over the one before.

Rule: a line is written in the transaction of what it reports. The ``head`` line keeps how many there are and the last
digest, so that a log cut off at its end shows as well as one with a line changed or taken out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from timewell.backends.sql import schema
from timewell.backends.sql.rows import canonical, to_record
from timewell.stores.registry import AuditRow

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who acts, and when."""

    actor: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What was done to what."""

    action: str
    subject: str
    detail: Mapping[str, Any]


def digest_of(previous: str, values: Mapping[str, Any]) -> str:
    """Return the digest of a line, given that of the line before (empty for the first).

    Hex BLAKE2b-256 of the JSON array ``[previous, at_us, actor, action, subject, detail]``, ``detail`` as the JSON
    text that is stored: an array, so that no two different lines are written alike.
    """
    parts = [previous, *(values[name] for name in ("at_us", "actor", "action", "subject", "detail"))]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=32).hexdigest()


def append(connection: Connection, deeds: Sequence[Deed], stamp: Stamp) -> None:
    """Write lines at the end of the log."""
    if not deeds:
        return
    written, digest = connection.execute(select(schema.head.c.audit_rows, schema.head.c.audit_digest)).one()
    lines: list[dict[str, Any]] = []
    for number, deed in enumerate(deeds, start=written + 1):
        line: dict[str, Any] = {
            "id": number,
            "at_us": stamp.at_us,
            "actor": stamp.actor,
            "action": deed.action,
            "subject": deed.subject,
            "detail": canonical(deed.detail),
        }
        digest = digest_of(digest, line)
        lines.append({**line, "digest": digest})
    connection.execute(insert(schema.audit), lines)
    connection.execute(update(schema.head).values(audit_rows=written + len(lines), audit_digest=digest))


def newest(connection: Connection, *, subject: str | None, limit: int) -> list[AuditRow]:
    """Return lines, newest first."""
    query = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(schema.audit.c.subject == subject)
    return [to_record(AuditRow, line) for line in connection.execute(query)]


def breaks(connection: Connection) -> Iterator[str]:
    """Say where the chain is broken; the first place is enough to distrust all that follows."""
    count, digest = 0, ""
    lines = connection.execute(
        select(schema.audit).order_by(schema.audit.c.id), execution_options={"yield_per": _AT_ONCE}
    )
    for line in lines.mappings():
        count += 1
        if line["id"] != count:
            yield f"audit log: line {count} is missing"
            return
        digest = digest_of(digest, dict(line))
        if digest != line["digest"]:
            yield f"audit log: line {count} or the one before it was changed"
            return
    rows, last = connection.execute(select(schema.head.c.audit_rows, schema.head.c.audit_digest)).one()
    if (rows, last) != (count, digest):
        yield f"audit log: it ends at line {count}, but {rows} were written"
