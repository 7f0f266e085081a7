"""Remove rows of online builds that no request can tell from rows that are not there.

Rule: a row goes only when no later answer changes, statuses included. What a request at instant ``t`` is told about a
feature, and until when:

=====================================  =====================================  =========================
the entity's row                       while it lives                         then
=====================================  =====================================  =========================
is not there                           empty value, ``not_found``, while      null, ``expired``
                                       ``t - as_of < ttl``
holds a window's value                 the value, while ``t - as_of < ttl``   null, ``expired``
holds a ``latest`` value               the value, while ``t - time < ttl``    null, ``expired``
has no ``latest`` value (no time)      as if the row were not there           null, ``expired``
=====================================  =====================================  =========================

So a row may go once each of its features is a window or a ``latest`` that is expired both with the row and without it,
or a ``latest`` without a value. An *expired* ``latest`` alone is not enough: while the build itself is younger than the
ttl, an entity without a row is ``not_found``, which is another answer than ``expired``. A build that is refreshed in
time therefore has nothing to sweep: entities whose windows emptied leave with the refresh itself.

A later refresh writes again whatever the entities' values are then; builds that nothing points at are the collection's
business (:mod:`timewell.backfill.collect`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Final, NamedTuple

import msgspec

from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.errors import NeverMaterialized, StateBusy, Superseded
from timewell.materialize.claim import Claim, claimed
from timewell.materialize.difference import Pair, in_chunks
from timewell.stores.online import BuildMark
from timewell.stores.project import Project
from timewell.stores.registry import OnlineBuildRecord
from timewell.types import MINUTE_US

CLOCKS_DIFFER_US: Final = MINUTE_US
"""Rows stay for so long after they could go: a request reads its clock first, and other hosts' clocks differ."""

_MOST_AT_ONCE: Final = 100_000
_LOOKS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What sweeping one online build did, or would do (counts of rows).

    Attributes
    ----------
    rows
        Rows of the build before.
    looked_at
        Rows that were read; none where the build's own instant says that all must stay.
    removed, bytes
        Rows that went, with the size of their keys and values.
    busy
        Another process was writing this build: nothing was done.
    """

    group: str
    version: str
    rows: int
    looked_at: int
    removed: int
    bytes: int
    busy: bool = False
    dry_run: bool = False


def sweep(project: Project, feature: str | Iterable[str] | None = None, *, dry_run: bool = False) -> list[SweepReport]:
    """Remove dead rows from the online builds of some groups, or of all versions that are served.

    Parameters
    ----------
    feature
        A feature, a group, or several; ``name@v1`` for a version.
    dry_run
        Count what would go; change nothing.

    Raises
    ------
    NeverMaterialized
        A feature asked for by name has no online build.
    StateBusy
        Another process is writing a build that was asked for by name; without a name it is reported as ``busy``.
    """
    reports = []
    for group in _chosen(load_catalog(project), feature):
        try:
            reports.append(_sweep(project, group, dry_run=dry_run))
        except StateBusy:
            if feature is not None:
                raise
            reports.append(_report(group, _Tally(), busy=True))
    return reports


def _chosen(catalog: Catalog, feature: str | Iterable[str] | None) -> list[RegisteredGroup]:
    if feature is None:
        return [catalog.groups[key] for key in sorted(catalog.epochs.builds) if key in catalog.groups]
    chosen = catalog.select(feature)
    for group, features in chosen:
        if group.key not in catalog.epochs.builds:
            raise NeverMaterialized(feature=features[0].name)
    return [group for group, _ in chosen]


@dataclass(slots=True, kw_only=True)
class _Tally:
    rows: int = 0
    looked_at: int = 0
    removed: int = 0
    bytes: int = 0


def _report(group: RegisteredGroup, tally: _Tally, *, busy: bool = False, dry_run: bool = False) -> SweepReport:
    return SweepReport(
        group=group.compiled.name,
        version=group.compiled.version,
        rows=tally.rows,
        looked_at=tally.looked_at,
        removed=tally.removed,
        bytes=tally.bytes,
        busy=busy,
        dry_run=dry_run,
    )


def _sweep(project: Project, group: RegisteredGroup, *, dry_run: bool) -> SweepReport:
    tally = _Tally()
    if dry_run:
        record = _record(project, group)
        for dead in _dead(project, group, record, tally):
            _count(tally, dead)
        return _report(group, tally, dry_run=True)
    with claimed(project, group.compiled.ref) as claim:
        record = _record(project, group)  # only now: whoever wrote before us may have built another
        mark = _remove(project, group, record, claim, tally)
        now_us, actor = project.clock.now_us(), project.actor
        if mark is not None and mark.refresh_seq > record.refresh_seq:  # also by a sweep that was killed before this
            swept = replace(record, rows=mark.rows, refresh_seq=mark.refresh_seq)
            project.registry.publish_build(swept, actor=actor, at_us=now_us)
        if tally.removed:
            detail = {"version": record.version, "build": record.build, **asdict(tally)}
            project.registry.note("sweep", record.group, detail, actor=actor, at_us=now_us)
    return _report(group, tally)


def _record(project: Project, group: RegisteredGroup) -> OnlineBuildRecord:
    return next(record for record in project.registry.builds() if (record.group, record.version) == group.key)


def _remove(
    project: Project, group: RegisteredGroup, record: OnlineBuildRecord, claim: Claim, tally: _Tally
) -> BuildMark | None:
    """Remove what may go; begun again where a key was erased between two of our steps."""
    for _ in range(_LOOKS - 1):
        with suppress(Superseded):
            return _removed_once(project, group, record, claim, tally)
    return _removed_once(project, group, record, claim, tally)


def _removed_once(
    project: Project, group: RegisteredGroup, record: OnlineBuildRecord, claim: Claim, tally: _Tally
) -> BuildMark | None:
    """Remove a batch at a time: each leaves every answer as it was, so they need not come together."""
    mark = project.online.mark(record.build)
    if mark is None:
        return None
    for dead in _batches(_dead(project, group, record, tally)):
        claim.check()
        keys = [key for key, _ in dead]
        offered = msgspec.structs.replace(mark, lease_epoch=claim.lease.epoch)
        mark = project.online.refresh(record.build, (), keys, offered, base_seq=mark.refresh_seq).mark
        _count(tally, dead)
    return mark


def _count(tally: _Tally, dead: list[Pair]) -> None:
    tally.removed += len(dead)
    tally.bytes += sum(len(key) + len(row) for key, row in dead)


def _batches(parts: Iterable[list[Pair]]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for part in parts:
        batch += part
        if len(batch) >= _MOST_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _dead(project: Project, group: RegisteredGroup, record: OnlineBuildRecord, tally: _Tally) -> Iterator[list[Pair]]:
    """Yield the rows that may go, some thousands at a time, counting what is looked at."""
    layout = RowLayout.of(group, record.features)
    mark = project.online.mark(record.build)
    if mark is None or mark.schema_hash != layout.codec.schema_hash:  # no request can read it either
        return
    tally.rows, tally.looked_at = max(tally.rows, mark.rows), 0
    rules = latest_rules(layout, mark.as_of_us, project.clock.now_us() - CLOCKS_DIFFER_US)
    if rules is None:
        return
    for chunk in in_chunks(project.online.scan(record.build)):
        tally.looked_at += len(chunk)
        rows = layout.codec.decode_many([row for _, row in chunk])
        yield [pair for pair, row in zip(chunk, rows, strict=True) if row and all(rule.allows(row) for rule in rules)]


class LatestRule(NamedTuple):
    """What one ``latest`` feature of a row must be for the row to go.

    Attributes
    ----------
    place, time_place
        Where its value and its event time lie in the row.
    youngest_us
        The youngest event time that is expired; ``None`` while the build is younger than the ttl, so that no event time
        may be there at all, and the value must be ``empty``.
    """

    place: int
    time_place: int
    youngest_us: int | None
    empty: object

    def allows(self, row: Sequence[object]) -> bool:
        """Whether the feature answers as if the row were not there."""
        time_us = row[self.time_place]
        if self.youngest_us is None:
            return time_us is None and row[self.place] == self.empty
        return time_us is None or (isinstance(time_us, int) and time_us <= self.youngest_us)


def latest_rules(layout: RowLayout, as_of_us: int, now_us: int) -> list[LatestRule] | None:
    """Return what a row of a build must fulfil to go; ``None``: a window still lives in the build, and no row may."""
    rules: list[LatestRule] = []
    for place, (feature, empty) in enumerate(zip(layout.features, layout.empties, strict=True)):
        ended = feature.ttl_us is not None and as_of_us + feature.ttl_us <= now_us
        youngest_us = now_us - feature.ttl_us if ended and feature.ttl_us is not None else None
        if feature.is_latest:
            rules.append(LatestRule(place, len(layout.features) + len(rules), youngest_us, empty))
        elif not ended:
            return None
    return rules
