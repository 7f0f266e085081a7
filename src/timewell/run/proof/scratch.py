"""The scratch copy in which features are tried: their definitions, over generated rows in the shape of their sources.

Rule: it lives in a temporary directory with an embedded store of its own; nothing of the project is written, and no remote part
of it is reached.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from timewell import durable
from timewell.catalog.lookup import RegisteredGroup
from timewell.clock import FrozenClock
from timewell.config import FILE
from timewell.define.feature import COMPUTED, FeatureGroup
from timewell.define.load import Loaded
from timewell.define.source import Source
from timewell.run.proof.cases import ARRIVAL, EVENT, QUIET, SEQUENCE, Material, Subject
from timewell.run.proof.values import Row, plain, pools, rows_of, time_column
from timewell.run.register import register
from timewell.stores.arrow import to_arrow_type
from timewell.stores.project import Project
from timewell.stores.query import INSTANT, SourceCatalog
from timewell.types import DAY_US, format_instant

TTL_US: Final = 20_000 * DAY_US  # of a feature that has none, so that it can be read online
CANDIDATES: Final = 240
SAME: Final = "__same"  # of a row: it corrects the row of that number
_KEPT: Final = (
    "kind", "event_time", "arrival_time", "sequence", "unique_on", "keys", "timezone", "date_means", "closed",
    "arrival_trusted_from",
)  # fmt: skip
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One entity of the scratch copy: its key, and what belongs to it."""

    key: Key
    subject: Subject


def scratch(project: Project, root: Path) -> Project:
    """Make an empty project with the settings that change a value, its clock frozen."""
    config = project.config
    root.mkdir()
    (root / config.definitions).mkdir(parents=True)
    settings = f'project = "proof"\nrequire_owner = false\ndefinitions = "{config.definitions}"\n'
    settings += f'assume_timezone = "{config.assume_timezone}"\n' if config.assume_timezone else ""
    durable.write_bytes(root / FILE, settings.encode())
    return Project(root, profile=None, now=FrozenClock(format_instant(QUIET - 365 * DAY_US)))


def copy_code(project: Project, to: Project) -> None:
    """Copy the folder of definitions, where the functions of transforms are."""
    folder = project.root / project.config.definitions
    if folder.is_dir():
        shutil.copytree(folder, to.root / project.config.definitions, dirs_exist_ok=True)


def material_of(project: Project, group: RegisteredGroup, folder: Path) -> Material:
    """Find rows that a group's filter lets through, and rows that it does not: the engine says which."""
    source = group.compiled.source
    times = {source.event_time, source.arrival_time, source.sequence}
    keys = {source.column_of(name) for name in group.compiled.entity.key_names}
    values = {name: dtype for name, dtype in group.columns.items() if name not in times | keys}
    zone = source.timezone or project.config.assume_timezone or "UTC"
    candidates = rows_of(pools(values, group.compiled.filter), CANDIDATES)
    passing = _passing(project, group, candidates, folder, zone) if group.compiled.filter else [True] * CANDIDATES
    good = [row for row, passes in zip(candidates, passing, strict=True) if passes]
    bad = [row for row, passes in zip(candidates, passing, strict=True) if not passes]
    return Material(group=group, good=good, bad=bad, timezone=zone, values=values)


def _passing(
    project: Project, group: RegisteredGroup, candidates: Sequence[Row], folder: Path, zone: str
) -> list[bool]:
    """Ask the engine which rows a group counts."""
    event: Row = {EVENT: QUIET, ARRIVAL: QUIET, SEQUENCE: 0}
    asked = [
        Asked(key=key_of(group, number), subject=Subject(rows=({**row, **event},)))
        for number, row in enumerate(candidates)
    ]
    file = folder / f"{group.compiled.name}.candidates.parquet"
    pq.write_table(source_rows(group, asked, zone), file)
    alone = alone_source(group, "candidates", str(file))
    [first, *_] = group.compiled.features
    counted = replace(
        first, name="n", type="count", column=None, window_us=30 * DAY_US, n=None, empty=0, ttl_us=None, contract=None
    )
    compiled = replace(group.compiled, source=alone, features=(counted,), accuracy="exact", every_us=None)
    query = replace(group, compiled=compiled, dtypes={"n": "int64"}).query([counted])
    columns = key_columns(group, [one.key for one in asked])
    probes = pa.table({**columns, INSTANT: pa.array([QUIET + 2 * DAY_US] * len(asked), pa.int64())})
    sources = SourceCatalog(root=folder, sources={alone.name: alone}, assume_timezone=project.config.assume_timezone)
    with project.engine.session(sources) as session:
        return [bool(count) for count in session.evaluate(query, probes)["n"].to_pylist()]


def alone_source(group: RegisteredGroup, name: str, path: str) -> Source:
    """Return a source of generated rows that is read as a group's is."""
    source = group.compiled.source
    kept: dict[str, object] = {field: getattr(source, field) for field in _KEPT if field in source.model_fields_set}
    kept["keys"] = {key: source.column_of(key) for key in group.compiled.entity.key_names}
    if source.arrival_trusted_from is not None:
        kept["arrival_trusted_from"] = format_instant(source.arrival_trusted_from)
    return Source(**{**kept, "name": name, "path": path})


def key_of(group: RegisteredGroup, number: int) -> Key:
    """Return the key of an entity by its number; where the types have few values, several have the same."""
    made: dict[str, object] = {
        "int64": number + 1,
        "string": f"é-{number}" if number % 3 == 0 else f"entity {number}",
        "bool": number % 2 == 0,
        "date": plain("date")[0],
    }
    return tuple(made[dtype] for dtype in group.key_types)


def key_columns(group: RegisteredGroup, keys: Sequence[Key]) -> dict[str, pa.Array]:
    """Return the columns of some keys."""
    names = group.compiled.entity.key_names
    return {
        name: pa.array([key[place] for key in keys], to_arrow_type(dtype))
        for place, (name, dtype) in enumerate(zip(names, group.key_types, strict=True))
    }


def source_rows(group: RegisteredGroup, asked: Sequence[Asked], zone: str) -> pa.Table:
    """Return the rows of entities in the shape of a group's source."""
    source = group.compiled.source
    names = [source.column_of(name) for name in group.compiled.entity.key_names]
    rows = [
        {**row, **dict(zip(names, one.key, strict=True))} for one in asked for row in _told_apart(source, one.subject)
    ]
    columns = {}
    for name, dtype in group.columns.items():
        place = EVENT if name == source.event_time else ARRIVAL if name == source.arrival_time else None
        if place is not None:
            instants: list[Any] = [row[place] for row in rows]
            columns[name] = time_column(instants, dtype, timezone=zone, date_means=source.date_means)
        elif name == source.sequence:
            columns[name] = pa.array([row[SEQUENCE] for row in rows], pa.int64()).cast(to_arrow_type(dtype))
        else:
            kind = pa.timestamp("us") if dtype == "naive" else to_arrow_type(dtype)
            columns[name] = pa.array([row.get(name) for row in rows], kind)
    return pa.table(columns)


_numbers = iter(range(1, 1 << 30))


def _told_apart(source: Source, subject: Subject) -> list[Row]:
    """Give each row its own value of what identifies a fact, but those that correct another."""
    if not source.unique_on:
        return list(subject.rows)
    found: list[Row] = []
    name = source.unique_on[0]
    for row in subject.rows:
        same = row.get(SAME)
        given = found[same][name] if isinstance(same, int) else _another(row.get(name))
        found.append({**row, name: given})
    return found


def _another(value: object) -> object:
    number = next(_numbers)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    return f"{value} {number}" if isinstance(value, str) else type(value)(number)


def definition_of(group: RegisteredGroup, source: str, on_demand: Collection[str]) -> FeatureGroup:
    """Return a group's definition for the scratch copy: over its own rows, all of it readable online, nothing refused.

    Of on-demand features those that are named.
    """
    features = []
    stored = [one for one in group.definition.features if one.transform is None or one.name in on_demand]
    for feature in stored:
        compiled = group.compiled.feature(feature.name)
        update: dict[str, object] = {"contract": None}
        if compiled.transform is None:
            online = COMPUTED if compiled.computed else True
            update |= {"tests": (), "online": online, "ttl": compiled.ttl_us or TTL_US, "tier": None}
        features.append(feature.model_copy(update=update))
    update = {"features": tuple(features), "tests": None, "validation": None, "tier": None, "refresh": None}
    if group.definition.source is not None:
        update["source"] = source
    return group.definition.model_copy(update=update)


def fill(
    to: Project, groups: Sequence[tuple[RegisteredGroup, Sequence[Asked], str]], on_demand: Collection[str] = ()
) -> None:
    """Write the rows of groups, and register them: those with on-demand features last, after what they are computed from."""
    loaded = Loaded()
    named = {group.compiled.entity.name: group.compiled.entity for group, _, _ in groups if group.key_types}
    for entity in named.values():
        loaded.add(entity, "")
    ordered = sorted(groups, key=lambda each: (bool(each[0].compiled.on_demand), not each[0].key_types))
    for number, (group, asked, zone) in enumerate(ordered):
        name = f"proof_{number}"
        if group.key_types:
            pq.write_table(source_rows(group, asked, zone), to.root / f"{name}.parquet")
            loaded.add(alone_source(group, name, f"{name}.parquet"), "")
        loaded.add(definition_of(group, name, on_demand), "")
    register(to, loaded)
