"""The feature columns of a spine: what is read from tables, what is asked of the engine, and how both become columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from timewell.build.share import shared
from timewell.build.spine import Spine
from timewell.build.tables import Mask, Partitions, table_values, usable_partitions
from timewell.catalog.lookup import RegisteredGroup, Resolved
from timewell.catalog.prepare import check_schema
from timewell.define.compiled import CompiledFeature
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import AsOf, GroupQuery

GroupKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The features wanted of one version of a group.

    Attributes
    ----------
    fingerprint
        Of its source as it is now.
    tables
        The partitions of its table that may stand for the source.
    """

    group: RegisteredGroup
    query: GroupQuery
    fingerprint: str
    tables: Partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One query to the engine.

    Attributes
    ----------
    members
        The groups it answers.
    rows
        Which rows of the spine it is asked for; ``None`` for all.
    """

    query: GroupQuery
    members: tuple[GroupKey, ...]
    probes: pa.Table
    rows: Mask | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The columns of each group, and how many rows of them came from its table."""

    columns: Mapping[GroupKey, pa.Table]
    from_tables: Mapping[GroupKey, int] = field(default_factory=dict)


def parts_of(
    project: Project, session: EngineSession, resolved: Sequence[Resolved], *, as_of: AsOf, deterministic: bool
) -> dict[GroupKey, Part]:
    """Put together what is wanted of each group, after a look at its source's columns.

    Raises
    ------
    SchemaChanged, SourceUnreadable
    """
    wanted: dict[GroupKey, tuple[RegisteredGroup, dict[str, CompiledFeature]]] = {}
    for item in resolved:
        _, features = wanted.setdefault(item.group.key, (item.group, {}))
        features[item.feature.name] = item.feature
    built = project.registry.epoch_map().snapshots
    parts = {}
    for key, (group, features) in wanted.items():
        check_schema(group, session)
        query = group.query(list(features.values()), as_of=as_of, deterministic=deterministic)
        fingerprint = session.fingerprint(group.compiled.source)
        # a table holds what was known at its instants
        usable = key in built and as_of == "known"
        tables = usable_partitions(project, group, fingerprint) if usable else Partitions()
        parts[key] = Part(group=group, query=query, fingerprint=fingerprint, tables=tables)
    return parts


def asks(spine: Spine, parts: Mapping[GroupKey, Part]) -> tuple[list[Ask], dict[GroupKey, Mask]]:
    """Decide what the engine is asked, and which rows of which group come from its table.

    Groups that a table serves whole are not asked for. Of those that share a query, rows that all of their tables
    hold are left out of it; where none is, the tables are not read.
    """
    covered = {key: part.tables.covers(part.query, spine.instants) for key, part in parts.items()}
    computed = [key for key in parts if not covered[key].all() or not len(covered[key])]
    queries = [parts[key].query for key in computed]
    probes = spine.all_probes(queries)
    made = []
    for one in shared(queries):
        members = tuple(computed[place] for place in one.members)
        held: Mask = np.logical_and.reduce([covered[key] for key in members])
        some = bool(held.any())
        asked = probes[one.members[0]]
        if some:
            asked = asked.filter(pa.array(~held))
        for key in members:
            covered[key] = held
        made.append(Ask(query=one.query, members=members, probes=asked, rows=~held if some else None))
    return made, {key: mask for key, mask in covered.items() if mask.any()}


def retrieve(session: EngineSession, spine: Spine, parts: Mapping[GroupKey, Part]) -> Retrieved:
    """Return the values of each group's wanted features for every row of a spine, in its order."""
    queries, covered = asks(spine, parts)
    found: dict[GroupKey, pa.Table] = {}
    for ask in queries:
        answer = session.evaluate(ask.query, ask.probes)
        for key in ask.members:
            found[key] = answer.select([feature.name for feature in parts[key].query.features])
    for key, mask in covered.items():
        query = parts[key].query
        (probes,) = spine.all_probes([query])
        stored = table_values(parts[key].tables, query, probes.filter(pa.array(mask)))
        found[key] = _interleaved(stored, found[key], mask) if key in found else stored
    return Retrieved(columns=found, from_tables={key: int(mask.sum()) for key, mask in covered.items()})


def _interleaved(stored: pa.Table, computed: pa.Table, mask: Mask) -> pa.Table:
    """Put rows from a table where the mask is true, and computed ones elsewhere."""
    places = np.where(mask, np.cumsum(mask) - 1, stored.num_rows + np.cumsum(~mask) - 1)
    return pa.concat_tables([stored, computed.cast(stored.schema)]).take(pa.array(places))
