"""What is live: the epoch and the pointers it stands for.

Rule: whoever moves a pointer moves the epoch in the same transaction; it only ever increases.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete, insert, select, update

from timewell.backends.sql import schema
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import to_line, to_record
from timewell.errors import Superseded, UnknownGroup
from timewell.stores.registry import EpochMap, OnlineBuildRecord


def current(connection: Connection) -> int:
    """Return the epoch."""
    epoch: int = connection.execute(select(schema.head.c.epoch)).scalar_one()
    return epoch


def advance(connection: Connection) -> int:
    """Move the epoch on; returns the new one."""
    connection.execute(update(schema.head).values(epoch=schema.head.c.epoch + 1))
    return current(connection)


def pin(connection: Connection) -> EpochMap:
    """Return the epoch with everything it stands for."""
    live = connection.execute(select(schema.live.c.group_name, schema.live.c.version))
    builds, tables = schema.online_build.c, schema.offline_table.c
    pointed = connection.execute(select(builds.group_name, builds.version, builds.build, builds.features)).all()
    snapshots = connection.execute(select(tables.group_name, tables.version, tables.snapshot))
    return EpochMap(
        epoch=current(connection),
        live={group: version for group, version in live},  # noqa: C416 - rows are no pairs to a type checker
        builds={(group, version): build for group, version, build, _ in pointed},
        layouts={(group, version): tuple(json.loads(features)) for group, version, _, features in pointed},
        snapshots={(group, version): snapshot for group, version, snapshot in snapshots},
    )


def live_version(connection: Connection, group: str) -> str:
    """Return a group's live version."""
    version: str = connection.execute(
        select(schema.live.c.version).where(schema.live.c.group_name == group)
    ).scalar_one()
    return version


def set_live(connection: Connection, group: str, version: str, stamp: Stamp) -> None:
    """Make a version live; the caller moves the epoch."""
    table = schema.live
    moving = update(table).where(table.c.group_name == group)
    connection.execute(moving.values(version=version, since_us=stamp.at_us))


def require_version(connection: Connection, group: str, version: str) -> None:
    """Refuse a version that nobody registered."""
    named = schema.definition.c
    versions = set(connection.scalars(select(named.version).where(named.kind == "group", named.name == group)))
    if version not in versions:
        known = [f"{group}@{one}" for one in sorted(versions)]
        raise UnknownGroup(asked=f"{group}@{version}", known=known)


def publish(connection: Connection, record: OnlineBuildRecord, stamp: Stamp) -> int:
    """Point a version at an online build, or update the figures of the one it points at."""
    require_version(connection, record.group, record.version)
    replaced = _pointed_at(connection, record)
    if not point_at(connection, record):
        return current(connection)
    epoch = advance(connection)
    detail = {
        "version": record.version,
        "build": record.build,
        "replaced": replaced.build if replaced else None,
        "as_of_us": record.as_of_us,
        "rows": record.rows,
        "epoch": epoch,
    }
    append(connection, [Deed(action="publish_build", subject=record.group, detail=detail)], stamp)
    return epoch


def point_at(connection: Connection, record: OnlineBuildRecord) -> bool:
    """Point a version at an online build, or update the figures of the one it points at.

    Returns
    -------
    bool
        Whether the pointer moved: the caller moves the epoch then.
    """
    table = schema.online_build
    place = (table.c.group_name == record.group, table.c.version == record.version)
    held = _pointed_at(connection, record)
    if held == record:
        return False
    if held is not None and held.build == record.build:
        _refuse_older(held, record)
        connection.execute(update(table).where(*place).values(to_line(record)))
        return False
    connection.execute(delete(table).where(*place))
    connection.execute(insert(table).values(to_line(record)))
    return True


def _pointed_at(connection: Connection, record: OnlineBuildRecord) -> OnlineBuildRecord | None:
    table = schema.online_build
    query = select(table).where(table.c.group_name == record.group, table.c.version == record.version)
    line = connection.execute(query).one_or_none()
    return None if line is None else to_record(OnlineBuildRecord, line)


def _refuse_older(held: OnlineBuildRecord, offered: OnlineBuildRecord) -> None:
    """Keep a refresher that was held up from reporting old figures over newer ones."""
    if (offered.as_of_us, offered.refresh_seq) < (held.as_of_us, held.refresh_seq):
        raise Superseded(
            what=f"the figures of online build {held.build}",
            held=f"as_of {held.as_of_us}, refresh {held.refresh_seq}",
            offered=f"as_of {offered.as_of_us}, refresh {offered.refresh_seq}",
        )


def builds(connection: Connection) -> list[OnlineBuildRecord]:
    """Return every online build that is pointed at."""
    table = schema.online_build
    lines = connection.execute(select(table).order_by(table.c.group_name, table.c.version))
    return [to_record(OnlineBuildRecord, line) for line in lines]
