"""A person's own function as the engine of a backfill: its partitions are staged, and held against the definition.

Rule: a function may compute a partition in any way it likes, but what it computes is what the definition says. A sum
of one day under the name of seven is found by computing sampled partitions from the definition and comparing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from timewell.backfill.ledger import Ledger, SourceState
from timewell.backfill.partition import compute, partitions
from timewell.backfill.shadow import new_shadow, open_shadow, target_version
from timewell.backfill.staging import Staging
from timewell.catalog.lookup import RegisteredGroup, load_catalog, source_catalog
from timewell.define.compiled import CompiledFeature
from timewell.errors import MissingColumn, UnknownSource, UsageError, WrongColumnType
from timewell.stores.arrow import to_arrow_type
from timewell.stores.frames import to_table
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import AS_OF
from timewell.stores.shadows import StagedPartition
from timewell.types import DAY_US, Interval, format_duration, format_instant, parse_range

_SAMPLED = 5
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A value of a function that is not what the definition says.

    Attributes
    ----------
    values, wrong
        Values compared, and how many of them differ.
    looks_like
        What the function seems to compute instead, where a shorter or longer window explains every value.
    """

    feature: str
    partition: str
    entity: str
    found: object
    expected: object
    values: int
    wrong: int
    looks_like: str = ""

    def __str__(self) -> str:
        what = (
            f"{self.feature} in partition {self.partition}: {self.wrong:,} of {self.values:,} values are not what the"
        )
        what += (
            f" definition says; for {self.entity} the function gives {self.found!r}, the definition {self.expected!r}"
        )
        return what + (f"; the function computes {self.looks_like}" if self.looks_like else "")


def write_feature_partition(project: Project, feature: str, day: object, values: object) -> StagedPartition:
    """Stage the values that a function computed for one day; nothing that is live changes.

    Parameters
    ----------
    feature
        A feature or group; its newest version, or the one named.
    day
        The partition: a date.
    values
        A pandas Series or frame indexed by the entity, or a frame with its key columns: one row per entity. Writing the
        same day again replaces it.

    Raises
    ------
    MissingColumn, WrongColumnType, UsageError
        Nothing is written then.
    """
    catalog = load_catalog(project)
    group = target_version(catalog, feature)
    names = [item.name for item in catalog.select(f"{feature.partition('@')[0]}")[0][1]]
    every = partitions(group, parse_range(_day(day), _day(day)))
    if len(every) != 1:
        problem = f"{group.compiled.ref} has a partition every {format_duration(group.compiled.every_us or DAY_US)}"
        raise UsageError(problem=problem, hint="A day can be written only where partitions are days.")
    rows = _rows(group, names, values, every[0])
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        state = SourceState.of(project, session, group)
        shadow = open_shadow(project, group) or new_shadow(project, group, every[0], by_function=True)
        if shadow.engine != "function":
            problem = f"the open shadow of {group.compiled.ref} is computed from its definition"
            raise UsageError(problem=problem, hint="Promote or abandon it before a function writes partitions.")
        state.look(every)
        live = Ledger.of(project, group).files
        Staging(project=project, state=state, shadow=shadow, live=live).stage([(every[0], rows)])
    bounds = (every[0].start_us, every[0].end_us)
    staged = project.registry.shadows.staged(shadow.id)
    return next(part for part in staged if (part.file.start_us, part.file.end_us) == bounds)


def _day(day: object) -> object:
    if isinstance(day, datetime):
        return day.date() if day.time() == datetime.min.time() else day
    return day


def _rows(group: RegisteredGroup, names: Sequence[str], values: object, partition: Interval) -> pa.Table:
    """Return a function's values as the rows of a partition: keys, features, as-of, in the order of the keys."""
    late = [feature.name for feature in group.compiled.features if feature.is_latest]
    if late:
        problem = f"{late[0]} is the newest row's value, whose time a function does not tell"
        raise UsageError(problem=problem, hint="Let the definition compute it: `timewell backfill`.")
    table = _with_keys(group, names, values)
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for name, dtype in zip(group.compiled.entity.key_names, group.key_types, strict=True):
        columns[name] = _typed(group, table, name, dtype)
    for feature in group.compiled.features:
        columns[feature.name] = _typed(group, table, feature.name, group.dtypes[feature.name])
    rows = pa.table(columns).combine_chunks()
    keys = list(group.compiled.entity.key_names)
    rows = rows.filter(_filled(rows, keys)).sort_by([(name, "ascending") for name in keys])
    if rows.select(keys).group_by(keys).aggregate([]).num_rows != rows.num_rows:
        raise UsageError(
            problem=f"an entity has several rows in partition {format_instant(partition.start_us)} of {group.compiled.ref}",
            hint=f"Give one row per {', '.join(keys)}: aggregate before writing.",
        )
    stamp = pa.array(np.full(rows.num_rows, partition.end_us), pa.timestamp("us", tz="UTC"))
    return rows.append_column(AS_OF, stamp)


def _filled(rows: pa.Table, keys: Sequence[str]) -> pa.ChunkedArray:
    """Return which rows have their whole key: one with a null in it is an entity never seen."""
    kept = pc.is_valid(rows[keys[0]])
    for name in keys[1:]:
        kept = pc.and_(kept, pc.is_valid(rows[name]))
    return kept


def _with_keys(group: RegisteredGroup, names: Sequence[str], values: object) -> pa.Table:
    """Return a Series or frame as a table with the entity's key columns."""
    frame: Any = values
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):
        frame = frame.to_frame(names[0] if len(names) == 1 else frame.name)
    if hasattr(frame, "reset_index") and not set(group.compiled.entity.key_names) <= set(map(str, frame.columns)):
        frame = frame.rename_axis(list(group.compiled.entity.key_names)).reset_index()
    return to_table(frame)


def _typed(group: RegisteredGroup, table: pa.Table, name: str, dtype: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise MissingColumn(table=f"the partition of {group.compiled.ref}", asked=name, known=table.column_names)
    column = table[name]
    try:
        return column.cast(to_arrow_type(dtype))
    except pa.ArrowException:
        found, place = str(column.type), f"the partition of {group.compiled.ref}"
        raise WrongColumnType(table=place, column=name, found=found, wanted=dtype) from None


def disagreements(
    project: Project, session: EngineSession, group: RegisteredGroup, staged: Sequence[StagedPartition]
) -> list[Disagreement]:
    """Compare a few partitions of a function with what the definition says of them; one finding per feature at most."""
    picked = sorted({round(place) for place in np.linspace(0, len(staged) - 1, min(_SAMPLED, len(staged)))})
    chosen = [Interval(staged[place].file.start_us, staged[place].file.end_us) for place in picked]
    expected = compute(session, group, chosen)
    found: dict[str, Disagreement] = {}
    for place, (partition, rows) in zip(picked, expected, strict=True):
        given = project.tables.read([staged[place].file])
        for feature in group.compiled.features:
            wrong = _compared(group, feature, partition, given, rows)
            if wrong is not None and feature.name not in found:
                like = _looks_like(session, group, feature, partition, given)
                found[feature.name] = replace(wrong, looks_like=like)
    return list(found.values())


def _compared(
    group: RegisteredGroup, feature: CompiledFeature, partition: Interval, given: pa.Table, rows: pa.Table
) -> Disagreement | None:
    mine, right = _by_key(group, feature, given), _by_key(group, feature, rows)
    wrong = [
        key for key in sorted(mine.keys() | right.keys()) if not _equal(mine.get(key), right.get(key), feature.empty)
    ]
    if not wrong:
        return None
    key = next((key for key in wrong if key in mine and key in right), wrong[0])
    names = group.compiled.entity.key_names
    return Disagreement(
        feature=feature.name,
        partition=format_instant(partition.start_us),
        entity=", ".join(f"{name} {part!r}" for name, part in zip(names, key, strict=True)),
        found=mine.get(key, feature.empty),
        expected=right.get(key, feature.empty),
        values=len(mine.keys() | right.keys()),
        wrong=len(wrong),
    )


def _by_key(group: RegisteredGroup, feature: CompiledFeature, rows: pa.Table) -> dict[tuple[object, ...], object]:
    if not rows.num_rows:
        return {}
    keys = zip(*(rows[name].to_pylist() for name in group.compiled.entity.key_names), strict=True)
    return dict(zip(keys, rows[feature.name].to_pylist(), strict=True))


def _equal(one: object, other: object, empty: object) -> bool:
    one, other = empty if one is None else one, empty if other is None else other
    if isinstance(one, float) and isinstance(other, (int, float)):
        both_nan = math.isnan(one) and math.isnan(other)
        return both_nan or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return one == other


def _looks_like(
    session: EngineSession, group: RegisteredGroup, feature: CompiledFeature, partition: Interval, given: pa.Table
) -> str:
    """Try the windows that a function is likely to have taken instead of the declared one."""
    declared = feature.window_us or 0
    for window_us in (DAY_US, 7 * DAY_US, 14 * DAY_US, 28 * DAY_US, 30 * DAY_US, 60 * DAY_US, 90 * DAY_US):
        if window_us == declared:
            continue
        other = replace(feature, window_us=window_us)
        asked = replace(group, compiled=replace(group.compiled, features=(other,)))
        rows = compute(session, asked, [partition])[0][1]
        if _compared(asked, other, partition, given, rows) is None:
            name = f"the {feature.type} of {format_duration(window_us)}"
            return f"{name}, not of the {format_duration(declared)} that are declared"
    return ""


def read_source(project: Project, source: str, first: date, last: date | None = None) -> pa.Table:
    """Return a source's rows of one day, or of the days from ``first`` to ``last``, as they lie there.

    A row belongs to the day that its event time names as it is written, in the source's own time zone.
    """
    catalog = load_catalog(project)
    found = catalog.sources.get(source)
    if found is None:
        raise UnknownSource(asked=source, known=sorted(catalog.sources))
    until = (last or first) + timedelta(days=1)
    column = exp.column(found.event_time, quoted=True)
    asked = exp.select("*").from_(exp.to_table(source))
    asked = asked.where(column >= exp.cast(exp.Literal.string(f"{first:%F}"), "TIMESTAMP"))
    asked = asked.where(column < exp.cast(exp.Literal.string(f"{until:%F}"), "TIMESTAMP"))
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        return session.read_spine(asked.sql("duckdb"))


def daterange(first: date, last: date) -> list[date]:
    """Return every day from the first to the last, both included.

    Examples
    --------
    >>> [str(day) for day in daterange(date(2025, 7, 1), date(2025, 7, 3))]
    ['2025-07-01', '2025-07-02', '2025-07-03']
    """
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]
