"""Rollbacks: a promotion is taken back in one transaction, and what came after it stays.

Rule: nothing points back at a whole table. The files that a promotion replaced return to their places, or the live
name returns to the version before; every other partition is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, update

from timewell.backends.sql import epochs, partitions, schema, shadows
from timewell.backends.sql.audit import Stamp, append
from timewell.backends.sql.promotions import deed_of, history, keep
from timewell.backends.sql.rows import to_record
from timewell.backends.sql.swaps import NO_FILE, Swap, carry_out, files_at, files_by_id, held_back, line_of
from timewell.errors import InvalidRequest, PromoteConflict, SnapshotCollected, UnknownPromotion
from timewell.stores.registry import IntervalRecord, OnlineBuildRecord
from timewell.stores.shadows import Promotion
from timewell.types import format_instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which promotion is to be taken back, and how.

    Attributes
    ----------
    build
        The online build to serve from afterwards; ``None`` leaves the pointers as they are.
    reason
        Why it is done although something changed since; empty refuses that.
    """

    promotion: int
    build: OnlineBuildRecord | None
    reason: str


def roll_back(connection: Connection, request: Request, stamp: Stamp) -> Promotion:
    """Take a promotion back, and open its shadow again."""
    taken = _standing(connection, request)
    swaps: list[Swap] = []
    if taken.from_version != taken.to_version:
        _refuse_buried(connection, taken, request.reason)
        epochs.set_live(connection, taken.group, taken.from_version, stamp)
        snapshot = partitions.live_snapshot(connection, taken.group, taken.from_version)
    else:
        swaps = _restored(connection, taken, request.reason)
        held = _held_lines(connection, taken, swaps)
        snapshot = carry_out(connection, (taken.group, taken.to_version), swaps, stamp, "rollback")
        partitions.replace_intervals(connection, held)
    if request.build is not None:
        epochs.point_at(connection, request.build)
    _reopen(connection, taken.shadow)
    done = Promotion(
        id=0,
        kind="rollback",
        group=taken.group,
        shadow=taken.shadow,
        from_version=taken.to_version,
        to_version=taken.from_version,
        partitions=len(swaps),
        snapshot=snapshot,
        epoch=epochs.advance(connection),
        at_us=stamp.at_us,
        actor=stamp.actor,
        reason=request.reason,
        undoes=taken.id,
    )
    done = replace(done, id=keep(connection, done, swaps))
    table = schema.promotion
    connection.execute(update(table).where(table.c.id == taken.id).values(undone_by=done.id))
    append(connection, [deed_of(done, {"undoes": taken.id})], stamp)
    return done


def _standing(connection: Connection, request: Request) -> Promotion:
    """Return the promotion to take back; refuse one that is not there, is a rollback, or was taken back already."""
    table = schema.promotion
    line = connection.execute(select(table).where(table.c.id == request.promotion)).one_or_none()
    if line is None:
        raise UnknownPromotion(feature="the project", detail=f" with id {request.promotion}")
    record = to_record(Promotion, line)
    if record.kind != "promote":
        raise UnknownPromotion(feature=record.group, detail=f": {record.id} is a rollback")
    if record.undone_by:
        raise UnknownPromotion(feature=record.group, detail=f": {record.id} was taken back by {record.undone_by}")
    if request.build is not None and request.build.group != record.group:
        raise InvalidRequest(problem=f"online build {request.build.build} is not of {record.group}")
    return record


def _refuse_buried(connection: Connection, taken: Promotion, reason: str) -> None:
    """Refuse to take back a move of the live name on which another one stands."""
    later = [
        line
        for line in history(connection, taken.group)
        if line.id > taken.id and line.kind == "promote" and not line.undone_by and line.from_version != line.to_version
    ]
    if later and not reason:
        named = [f"{line.from_version} to {line.to_version} at {format_instant(line.at_us)}" for line in later]
        hint = f"Take promotion {later[0].id} back first, or give a reason: it is audited."
        raise PromoteConflict(feature=taken.group, count=len(later), partitions=named, hint=hint)


def _restored(connection: Connection, taken: Promotion, reason: str) -> list[Swap]:
    """Return the swaps that put back what a promotion replaced."""
    table = schema.promotion_file
    lines = connection.execute(select(table).where(table.c.promotion == taken.id).order_by(table.c.start_us)).all()
    live = files_at(connection, (taken.group, taken.to_version), [line.start_us for line in lines])
    swaps, changed = [], []
    for line in lines:
        bounds = (line.start_us, line.end_us)
        held = live[bounds].id if bounds in live else NO_FILE
        if held != line.new_file:
            changed.append((taken.group, bounds))
        if held != line.old_file:
            swaps.append(Swap(bounds=bounds, old=held, new=line.old_file))
    if changed and not reason:
        raise held_back(changed, hint="To restore them all the same, give a reason: it is audited.")
    return swaps


def _held_lines(connection: Connection, taken: Promotion, swaps: Sequence[Swap]) -> list[IntervalRecord]:
    """Return ledger lines that say what restored files were computed from, and that they are held.

    Raises
    ------
    SnapshotCollected
        Files to restore are gone.
    """
    wanted = {swap.new for swap in swaps} - {NO_FILE}
    files = files_by_id(connection, sorted(wanted))
    if len(files) < len(wanted):
        version = f"{taken.group}@{taken.to_version}"
        raise SnapshotCollected(snapshot=f"before promotion {taken.id}", what=version, count=len(wanted) - len(files))
    return [
        line_of(files[swap.new], "held")
        if swap.new != NO_FILE
        else IntervalRecord(
            group=taken.group,
            version=taken.to_version,
            store="offline",
            start_us=swap.bounds[0],
            end_us=swap.bounds[1],
            status="held",
            rows=0,
            content_hash="",
            source_fingerprint="",
            watermark_us=0,
        )
        for swap in swaps
    ]


def _reopen(connection: Connection, shadow: str) -> None:
    """Open a shadow that was taken back: what is live again is what it was staged against.

    That of a run is closed for good: the next run would find it open and promote it by itself.
    """
    record = shadows.found(connection, shadow)
    shadows.set_status(connection, shadow, "open" if record is not None and record.kind == "backfill" else "abandoned")
