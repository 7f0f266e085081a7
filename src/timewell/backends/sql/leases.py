"""Leases: one holder of a name at a time, and a number that tells an old holder's writes from a new one's.

Rule: a name's line is never deleted, so its number never goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, insert, select, update

from timewell.backends.sql import schema
from timewell.backends.sql.rows import to_line, to_record
from timewell.stores.registry import Lease

_FREE_US = -(2**63)  # before any clock, also one frozen before 1970


def acquire(
    connection: Connection, wanted: Lease, *, now_us: int, is_gone: Callable[[str], bool] | None = None
) -> Lease | None:
    """Claim a name if it is free, expired or the holder's own; the epoch of ``wanted`` is not looked at."""
    table = schema.lease
    line = connection.execute(select(table).where(table.c.name == wanted.name)).one_or_none()
    if line is None:
        first = Lease(name=wanted.name, holder=wanted.holder, epoch=1, expires_us=wanted.expires_us)
        connection.execute(insert(table).values(to_line(first)))
        return first
    held = to_record(Lease, line)
    if held.expires_us > now_us and held.holder != wanted.holder and not (is_gone and is_gone(held.holder)):
        return None
    following = Lease(name=wanted.name, holder=wanted.holder, epoch=held.epoch + 1, expires_us=wanted.expires_us)
    connection.execute(update(table).where(table.c.name == wanted.name).values(to_line(following)))
    return following


def renew(connection: Connection, held: Lease, *, until_us: int) -> Lease | None:
    """Let a claim last longer, unless another claim was made since; one that expired unnoticed is good again."""
    done = connection.execute(update(schema.lease).where(*_mine(held)).values(expires_us=until_us))
    return replace(held, expires_us=until_us) if done.rowcount else None


def release(connection: Connection, held: Lease) -> None:
    """Free a name, unless another claim was made since."""
    connection.execute(update(schema.lease).where(*_mine(held)).values(holder="", expires_us=_FREE_US))


def _mine(held: Lease) -> tuple[ColumnElement[bool], ...]:
    table = schema.lease
    return table.c.name == held.name, table.c.epoch == held.epoch, table.c.holder == held.holder
