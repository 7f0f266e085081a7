"""The feature columns of a spine: what is asked of the engine, and how its answers become columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from timewell.build.share import SharedQuery, shared
from timewell.build.spine import Spine
from timewell.catalog.lookup import RegisteredGroup, Resolved
from timewell.catalog.prepare import check_schema
from timewell.define.compiled import CompiledFeature
from timewell.stores.offline import EngineSession
from timewell.stores.query import AsOf, GroupQuery

GroupKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The features wanted of one version of a group.

    Attributes
    ----------
    fingerprint
        Of its source as it is now.
    """

    group: RegisteredGroup
    query: GroupQuery
    fingerprint: str


def parts_of(
    session: EngineSession, resolved: Sequence[Resolved], *, as_of: AsOf, deterministic: bool
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
    parts = {}
    for key, (group, features) in wanted.items():
        check_schema(group, session)
        query = group.query(list(features.values()), as_of=as_of, deterministic=deterministic)
        parts[key] = Part(group=group, query=query, fingerprint=session.fingerprint(group.compiled.source))
    return parts


def shared_queries(spine: Spine, parts: Mapping[GroupKey, Part]) -> list[tuple[SharedQuery, pa.Table]]:
    """Return the queries that a retrieval asks the engine, each with its probes."""
    queries = [part.query for part in parts.values()]
    probes = spine.all_probes(queries)
    return [(one, probes[one.members[0]]) for one in shared(queries)]


def values(session: EngineSession, spine: Spine, parts: Mapping[GroupKey, Part]) -> dict[GroupKey, pa.Table]:
    """Return the values of each group's wanted features for every row of a spine, in its order."""
    keys, found = list(parts), {}
    for one, probes in shared_queries(spine, parts):
        answer = session.evaluate(one.query, probes)
        for member in one.members:
            names = [feature.name for feature in parts[keys[member]].query.features]
            found[keys[member]] = answer.select(names)
    return found
