"""Promote and rollback: partitions, ledger, live version, online build, history and audit row in one transaction.

Rule: what a partition was staged against is compared with what is live inside the transaction that swaps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from timewell.backends.sql import epochs, partitions, schema, shadows
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import batched, to_line, to_record
from timewell.errors import PromoteConflict, Superseded, UnknownPromotion
from timewell.stores.registry import FileRecord, IntervalRecord, IntervalStatus, OnlineBuildRecord
from timewell.stores.shadows import PromoteOrder, Promotion, ShadowRecord, StagedPartition, staged_digest
from timewell.types import format_instant

_TOLD = 5
NO_FILE = 0
Bounds = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swap:
    """One partition: the file that leaves and the one that comes; 0 stands for none."""

    bounds: Bounds
    old: int
    new: int


def promote(connection: Connection, orders: Sequence[PromoteOrder], stamp: Stamp) -> list[Promotion]:
    """Make what is staged live; all orders or none."""
    done = [_promote_one(connection, order, stamp) for order in orders]
    made = [promotion for promotion in done if promotion is not None]
    if made:
        epochs.advance(connection)
    return made


def _promote_one(connection: Connection, order: PromoteOrder, stamp: Stamp) -> Promotion | None:
    shadow = shadows.require_open(connection, order.shadow)
    staged = shadows.staged(connection, order.shadow)
    found = staged_digest(staged)
    if found != order.staged_digest:
        raise Superseded(what=f"shadow {order.shadow}", held=f"files {found[:12]}", offered=order.staged_digest[:12])
    live = _live_files(connection, shadow.group, shadow.version)
    swaps = _swaps(shadow, staged, live)
    before = _live_version(connection, shadow.group)
    status: IntervalStatus = "held" if shadow.engine == "function" else "done"
    lines = partitions.changed_intervals(
        connection, shadow.group, shadow.version, [_line(part.file, status) for part in staged]
    )
    shadows.set_status(connection, order.shadow, "promoted")
    if not (swaps or lines or order.build or before != shadow.version):
        return None
    files = {part.file.id: part.file for part in staged}
    snapshot = _apply(connection, shadow, swaps, stamp, "promote")
    partitions.replace_intervals(connection, lines)
    if before != shadow.version:
        _set_live(connection, shadow.group, shadow.version, stamp)
    if order.build is not None:
        epochs.point_at(connection, order.build)
    promotion = _keep(
        connection,
        Promotion(
            id=0,
            kind="promote",
            group=shadow.group,
            shadow=order.shadow,
            from_version=before,
            to_version=shadow.version,
            partitions=len(swaps),
            snapshot=snapshot,
            epoch=epochs.current(connection) + 1,
            at_us=stamp.at_us,
            actor=stamp.actor,
            reason=order.reason,
        ),
        swaps,
    )
    rows = sum(files[swap.new].rows for swap in swaps)
    append(connection, [_deed(promotion, {"rows": rows, "files": order.staged_digest})], stamp)
    return promotion


def _swaps(shadow: ShadowRecord, staged: Sequence[StagedPartition], live: dict[Bounds, FileRecord]) -> list[_Swap]:
    """Return the partitions whose rows change; refuse where one changed since it was staged."""
    swaps, changed = [], []
    for part in staged:
        bounds = (part.file.start_us, part.file.end_us)
        held = live.get(bounds)
        if held is not None and (held.content_digest, held.rows) == (part.file.content_digest, part.file.rows):
            continue
        old = held.id if held else NO_FILE
        if old != part.base_file:
            changed.append(bounds)
        swaps.append(_Swap(bounds=bounds, old=old, new=part.file.id))
    if changed:
        raise _conflict(shadow.group, changed)
    return swaps


def _conflict(group: str, changed: Sequence[Bounds]) -> PromoteConflict:
    told = [format_instant(start) for start, _ in changed[:_TOLD]]
    told += [f"and {len(changed) - _TOLD} more"] if len(changed) > _TOLD else []
    return PromoteConflict(feature=group, count=len(changed), partitions=told)


def roll_back(
    connection: Connection, promotion: int, build: OnlineBuildRecord | None, stamp: Stamp, reason: str
) -> Promotion:
    """Take a promotion back and open its shadow again."""
    taken = _standing(connection, promotion)
    _refuse_buried(connection, taken, reason)
    between = taken.from_version != taken.to_version
    swaps: list[_Swap] = []
    snapshot = taken.snapshot
    if between:
        _set_live(connection, taken.group, taken.from_version, stamp)
        snapshot = partitions.live_snapshot(connection, taken.group, taken.from_version)
    else:
        swaps = _restored(connection, taken, reason)
        shadow = shadows.found(connection, taken.shadow)
        assert shadow is not None
        snapshot = _apply(connection, shadow, swaps, stamp, "rollback")
        partitions.replace_intervals(connection, _held_lines(connection, taken, swaps))
    if build is not None:
        epochs.point_at(connection, build)
    shadows.set_status(connection, taken.shadow, "open")
    _rebase(connection, taken.shadow, swaps)
    epoch = epochs.advance(connection)
    done = _keep(
        connection,
        Promotion(
            id=0,
            kind="rollback",
            group=taken.group,
            shadow=taken.shadow,
            from_version=taken.to_version,
            to_version=taken.from_version,
            partitions=len(swaps),
            snapshot=snapshot,
            epoch=epoch,
            at_us=stamp.at_us,
            actor=stamp.actor,
            reason=reason,
            undoes=taken.id,
        ),
        swaps,
    )
    table = schema.promotion
    connection.execute(update(table).where(table.c.id == taken.id).values(undone_by=done.id))
    append(connection, [_deed(done, {"undoes": taken.id})], stamp)
    return done


def _standing(connection: Connection, promotion: int) -> Promotion:
    table = schema.promotion
    line = connection.execute(select(table).where(table.c.id == promotion)).one_or_none()
    record = None if line is None else to_record(Promotion, line)
    if record is None or record.kind != "promote" or record.undone_by:
        detail = f" with id {promotion}" if record is None else f": {promotion} was taken back already"
        raise UnknownPromotion(feature=record.group if record else "the project", detail=detail)
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
        hint = "Take the later one back first."
        raise PromoteConflict(feature=taken.group, count=len(later), partitions=named, hint=hint)


def _restored(connection: Connection, taken: Promotion, reason: str) -> list[_Swap]:
    """Return the swaps that put back what a promotion replaced."""
    table = schema.promotion_file
    lines = connection.execute(select(table).where(table.c.promotion == taken.id).order_by(table.c.start_us)).all()
    live = _live_files(connection, taken.group, taken.to_version)
    swaps, changed = [], []
    for line in lines:
        bounds = (line.start_us, line.end_us)
        held = live[bounds].id if bounds in live else NO_FILE
        if held != line.new_file:
            changed.append(bounds)
        if held != line.old_file:
            swaps.append(_Swap(bounds=bounds, old=held, new=line.old_file))
    if changed and not reason:
        raise _conflict(taken.group, changed)
    return swaps


def _held_lines(connection: Connection, taken: Promotion, swaps: Sequence[_Swap]) -> list[IntervalRecord]:
    """Return ledger lines that say of restored partitions what their files were computed from, and that they are held."""
    table = schema.data_file
    ids = [swap.new for swap in swaps if swap.new != NO_FILE]
    lines = [line for some in batched(ids) for line in connection.execute(select(table).where(table.c.id.in_(some)))]
    files = {line.id: to_record(FileRecord, line) for line in lines}
    return [
        _line(files[swap.new], "held")
        if swap.new in files
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


def _rebase(connection: Connection, shadow: str, swaps: Sequence[_Swap]) -> None:
    """Let a shadow that was taken back stand on what is live again, so that it can be promoted once more."""
    if swaps:
        table = schema.shadow_file
        place = (
            table.c.shadow == shadow,
            table.c.start_us == bindparam("at_start"),
            table.c.end_us == bindparam("at_end"),
        )
        lines = [{"at_start": swap.bounds[0], "at_end": swap.bounds[1], "base": swap.new} for swap in swaps]
        connection.execute(update(table).where(*place).values(base_file=bindparam("base")), lines)


def _apply(connection: Connection, shadow: ShadowRecord, swaps: Sequence[_Swap], stamp: Stamp, action: str) -> int:
    """Swap partitions; returns the snapshot that is live afterwards."""
    if not swaps:
        return partitions.live_snapshot(connection, shadow.group, shadow.version)
    places = [
        {"group_name": shadow.group, "version": shadow.version, "start_us": swap.bounds[0], "end_us": swap.bounds[1]}
        for swap in swaps
    ]
    return partitions.move(connection, places, [swap.new for swap in swaps], stamp, action)


def _live_files(connection: Connection, group: str, version: str) -> dict[Bounds, FileRecord]:
    return {(file.start_us, file.end_us): file for file in partitions.files(connection, group, version, None)}


def _live_version(connection: Connection, group: str) -> str:
    version: str = connection.execute(
        select(schema.live.c.version).where(schema.live.c.group_name == group)
    ).scalar_one()
    return version


def _set_live(connection: Connection, group: str, version: str, stamp: Stamp) -> None:
    table = schema.live
    connection.execute(delete(table).where(table.c.group_name == group))
    connection.execute(insert(table).values(group_name=group, version=version, since_us=stamp.at_us))


def _line(file: FileRecord, status: IntervalStatus) -> IntervalRecord:
    return IntervalRecord(
        group=file.group,
        version=file.version,
        store="offline",
        start_us=file.start_us,
        end_us=file.end_us,
        status=status,
        rows=file.rows,
        content_hash=file.content_hash,
        source_fingerprint=file.source_fingerprint,
        watermark_us=file.watermark_us,
        rows_digest=file.rows_digest,
    )


def _keep(connection: Connection, promotion: Promotion, swaps: Sequence[_Swap]) -> Promotion:
    table = schema.promotion
    made: int = connection.execute(
        insert(table).values(to_line(promotion, without="id")).returning(table.c.id)
    ).scalar_one()
    lines = [
        {
            "promotion": made,
            "start_us": swap.bounds[0],
            "end_us": swap.bounds[1],
            "old_file": swap.old,
            "new_file": swap.new,
        }
        for swap in swaps
    ]
    if lines:
        connection.execute(insert(schema.promotion_file), lines)
    return to_record(Promotion, connection.execute(select(table).where(table.c.id == made)).one())


def _deed(promotion: Promotion, more: dict[str, object]) -> Deed:
    detail = {
        "promotion": promotion.id,
        "shadow": promotion.shadow,
        "from_version": promotion.from_version,
        "to_version": promotion.to_version,
        "partitions": promotion.partitions,
        "snapshot": promotion.snapshot,
        "epoch": promotion.epoch,
        "reason": promotion.reason,
        **more,
    }
    return Deed(action=promotion.kind, subject=promotion.group, detail=detail)


def history(connection: Connection, group: str | None) -> list[Promotion]:
    """Return promotions and rollbacks, newest first."""
    table = schema.promotion
    query = select(table).order_by(table.c.id.desc())
    if group is not None:
        query = query.where(table.c.group_name == group)
    return [to_record(Promotion, line) for line in connection.execute(query)]
