"""Promotes: partitions, ledger lines, live version, online build, history and audit row in one transaction.

Rule: what a partition was staged against is compared with what is live inside the transaction that swaps it; every
order of a call is looked at before an error leaves, so that it names all that changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, insert, select, update

from timewell.backends.sql import epochs, partitions, schema, shadows
from timewell.backends.sql.audit import Deed, Stamp, append
from timewell.backends.sql.rows import to_line, to_record
from timewell.backends.sql.swaps import NO_FILE, Bounds, Swap, carry_out, files_at, held_back, line_of
from timewell.errors import InvalidRequest, Superseded
from timewell.stores.registry import FileRecord, IntervalRecord, IntervalStatus
from timewell.stores.shadows import PromoteOrder, Promotion, ShadowRecord, StagedPartition, staged_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one order changes.

    Attributes
    ----------
    same
        Pairs (live, staged) of files with the same rows: the live one stays.
    changed
        Bounds of the partitions whose live file is not the one they were staged against.
    from_version
        The live version, where the name moves; else the version itself.
    """

    order: PromoteOrder
    shadow: ShadowRecord
    swaps: tuple[Swap, ...]
    same: tuple[tuple[FileRecord, FileRecord], ...]
    changed: tuple[Bounds, ...]
    lines: tuple[IntervalRecord, ...]
    from_version: str
    rows: int


def promote(connection: Connection, orders: Sequence[PromoteOrder], stamp: Stamp) -> list[Promotion]:
    """Make what is staged live; all orders or none."""
    epoch = epochs.current(connection) + 1
    made: list[Promotion] = []
    changed: list[tuple[str, Bounds]] = []
    for order in orders:
        plan = _plan(connection, order)
        changed += [(plan.shadow.group, bounds) for bounds in plan.changed]
        if not changed:
            made += _carry_out(connection, plan, epoch, stamp)
    if changed:
        raise held_back(changed)
    if made:
        epochs.advance(connection)
    return made


def history(connection: Connection, group: str | None) -> list[Promotion]:
    """Return promotions and rollbacks, newest first."""
    table = schema.promotion
    query = select(table).order_by(table.c.id.desc())
    if group is not None:
        query = query.where(table.c.group_name == group)
    return [to_record(Promotion, line) for line in connection.execute(query)]


def keep(connection: Connection, promotion: Promotion, swaps: Sequence[Swap]) -> int:
    """Write a line of the history with the files that left and came; returns its id."""
    table = schema.promotion
    values = to_line(promotion, without="id")
    made: int = connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one()
    lines = [
        {"promotion": made, "start_us": start, "end_us": end, "old_file": swap.old, "new_file": swap.new}
        for swap in swaps
        for start, end in [swap.bounds]
    ]
    if lines:
        connection.execute(insert(schema.promotion_file), lines)
    return made


def deed_of(promotion: Promotion, more: dict[str, object]) -> Deed:
    """Tell a promotion to the audit log; its files are in ``promotion_file``."""
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


def _plan(connection: Connection, order: PromoteOrder) -> _Plan:
    shadow = shadows.require_open(connection, order.shadow)
    key = (shadow.group, shadow.version)
    if order.build is not None and (order.build.group, order.build.version) != key:
        raise InvalidRequest(problem=f"online build {order.build.build} is not of {shadow.group}@{shadow.version}")
    staged = shadows.staged(connection, order.shadow)
    found = staged_digest(staged)
    if found != order.staged_digest:
        raise Superseded(what=f"shadow {order.shadow}", held=f"files {found[:12]}", offered=order.staged_digest[:12])
    live = files_at(connection, key, [part.file.start_us for part in staged])
    swaps, same, changed = _compare(staged, live)
    coming = {swap.new for swap in swaps}
    status: IntervalStatus = "held" if shadow.engine == "function" else "done"
    lines = partitions.changed_intervals(connection, *key, [line_of(part.file, status) for part in staged])
    return _Plan(
        order=order,
        shadow=shadow,
        swaps=tuple(swaps),
        same=tuple(same),
        changed=tuple(changed),
        lines=tuple(lines),
        # a run refreshes a version, also one that waits or was left: it never decides which one is live
        from_version=epochs.live_version(connection, shadow.group) if shadow.kind == "backfill" else shadow.version,
        rows=sum(part.file.rows for part in staged if part.file.id in coming),
    )


def _compare(
    staged: Sequence[StagedPartition], live: dict[Bounds, FileRecord]
) -> tuple[list[Swap], list[tuple[FileRecord, FileRecord]], list[Bounds]]:
    """Return what is to be swapped, what has the staged rows already, and what changed since it was staged."""
    swaps: list[Swap] = []
    same: list[tuple[FileRecord, FileRecord]] = []
    changed: list[Bounds] = []
    for part in staged:
        bounds = (part.file.start_us, part.file.end_us)
        held = live.get(bounds)
        if held is not None and (held.content_digest, held.rows) == (part.file.content_digest, part.file.rows):
            same.append((held, part.file))
            continue
        swaps.append(Swap(bounds=bounds, old=held.id if held else NO_FILE, new=part.file.id))
        if swaps[-1].old != part.base_file:
            changed.append(bounds)
    return swaps, same, changed


def _carry_out(connection: Connection, plan: _Plan, epoch: int, stamp: Stamp) -> list[Promotion]:
    """Write what a plan says; returns its line of the history, none where no reader could tell the difference."""
    order, shadow = plan.order, plan.shadow
    shadows.set_status(connection, order.shadow, "promoted")
    _adopt(connection, plan)
    partitions.replace_intervals(connection, plan.lines)
    points = order.build is not None and epochs.point_at(connection, order.build)
    moves = plan.from_version != shadow.version
    if moves:
        epochs.set_live(connection, shadow.group, shadow.version, stamp)
    snapshot = carry_out(connection, (shadow.group, shadow.version), plan.swaps, stamp, "promote")
    promotion = Promotion(
        id=0,
        kind="promote",
        group=shadow.group,
        shadow=order.shadow,
        from_version=plan.from_version,
        to_version=shadow.version,
        partitions=len(plan.swaps),
        snapshot=snapshot,
        epoch=epoch,
        at_us=stamp.at_us,
        actor=stamp.actor,
        reason=order.reason,
    )
    more: dict[str, object] = {"rows": plan.rows, "lines": len(plan.lines), "files": order.staged_digest}
    if order.build is not None:
        more["build"] = order.build.build
    if plan.swaps or moves or points:
        promotion = replace(promotion, id=keep(connection, promotion, plan.swaps))
        append(connection, [deed_of(promotion, more)], stamp)
        return [promotion]
    if plan.lines:
        append(connection, [deed_of(replace(promotion, epoch=epoch - 1), more)], stamp)
    return []


def _adopt(connection: Connection, plan: _Plan) -> None:
    """Let live files that have the staged rows take the place of the staged ones, with what those were computed from.

    The staged ones are garbage from here on; the shadow still holds the validated content, should it open again.
    """
    pairs = [(held, made) for held, made in plan.same if held.id != made.id]
    if not pairs:
        return
    table, kept = schema.shadow_file, schema.data_file
    place = (table.c.shadow == plan.order.shadow, table.c.file_id == bindparam("made"))
    lines = [{"made": made.id, "held": held.id} for held, made in pairs]
    connection.execute(
        update(table).where(*place).values(file_id=bindparam("held"), base_file=bindparam("held")), lines
    )
    names = ("content_hash", "source_fingerprint", "rows_digest", "watermark_us")
    told = [{"held": held.id, **{f"new_{name}": getattr(made, name) for name in names}} for held, made in pairs]
    restating = update(kept).where(kept.c.id == bindparam("held"))
    connection.execute(restating.values({name: bindparam(f"new_{name}") for name in names}), told)
