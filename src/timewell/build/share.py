"""Merge the queries of one retrieval that read the same rows, so that they cost one scan and one join.

Rule: what else is asked for may never change an answer. Ties, and which of two corrections counts, are decided by the
content of the columns that a group reads: where a feature or its source depends on that, groups are merged only if
they read the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from timewell.define.compiled import CompiledFeature
from timewell.stores.query import GroupQuery

# What these give does not depend on the order of rows; the sums of floats do, in the last bits, when they are folded
# in a fixed order.
_UNORDERED = frozenset({"count", "sum", "mean", "min", "max", "stddev", "variance", "count_distinct"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedQuery:
    """One query that answers several.

    Attributes
    ----------
    members
        Places of those queries in the list that was given, ascending.
    """

    query: GroupQuery
    members: tuple[int, ...]


def shared(queries: Sequence[GroupQuery]) -> list[SharedQuery]:
    """Return as few queries as give the same answers.

    Parameters
    ----------
    queries
        One per group; features of one name may be in several (two versions of a group), they are then kept apart.

    Returns
    -------
    list of SharedQuery
        Each query given is a member of one; a feature's column has its name there.
    """
    ordered: list[_Bucket] = []
    others: list[_Bucket] = []
    for place, query in enumerate(queries):
        buckets = ordered if depends_on_order(query) else others
        fitting = (bucket for bucket in buckets if bucket.takes(query))
        bucket = next(fitting, None)
        if bucket is None:
            buckets.append(_Bucket({place: query}))
        else:
            bucket.members[place] = query
    for bucket in others:  # whole, so that windows are not joined twice where they could be joined once
        host = next((one for one in ordered if all(map(one.takes, bucket.members.values()))), None)
        if host is None:
            ordered.append(bucket)
        else:
            host.members |= bucket.members
    merged = [SharedQuery(query=bucket.merged(), members=tuple(sorted(bucket.members))) for bucket in ordered]
    return sorted(merged, key=lambda one: one.members)


def depends_on_order(query: GroupQuery) -> bool:
    """Whether the columns that a query's group reads can decide an answer."""
    source = query.group.source
    superseding = source.kind == "snapshots" or bool(source.unique_on)
    return superseding or query.deterministic or any(feature.type not in _UNORDERED for feature in query.features)


@dataclass(slots=True)
class _Bucket:
    """Queries that will be one, by their places; those that depend on order come first."""

    members: dict[int, GroupQuery]

    @property
    def first(self) -> GroupQuery:
        return next(iter(self.members.values()))

    def takes(self, query: GroupQuery) -> bool:
        first = self.first
        if _rows_read(first) != _rows_read(query) or not self._names_differ(query):
            return False
        if depends_on_order(query):
            return _columns(first.group.features) == _columns(query.group.features)
        return not depends_on_order(first) or _columns(query.features) <= _columns(first.group.features)

    def _names_differ(self, query: GroupQuery) -> bool:
        """Two versions of one group have features of one name, and what is not asked for can break ties, too."""
        taken = {feature.name for member in self.members.values() for feature in member.group.features}
        return taken.isdisjoint(feature.name for feature in query.group.features)

    def merged(self) -> GroupQuery:
        first, queries = self.first, list(self.members.values())
        features = tuple(feature for query in queries for feature in query.features)
        if depends_on_order(first):
            read = (*first.group.features, *(part for query in queries[1:] for part in query.features))
        else:  # columns that nobody asked for are not read
            read = features
        names = dict.fromkeys(query.group.name for query in queries)
        dtypes = {name: dtype for query in queries for name, dtype in query.dtypes.items()}
        group = replace(first.group, name=", ".join(names), features=read)
        return replace(first, group=group, features=features, dtypes=dtypes)


def _rows_read(query: GroupQuery) -> tuple[object, ...]:
    """Return what two queries must have in common to look at the same rows at the same instants."""
    group = query.group
    steps = (group.every_us, group.available_after_us) if group.accuracy == "snapshot" else ()
    keys = (query.key_names, query.key_types)
    return (group.source, *keys, group.filter, group.accuracy, *steps, query.as_of, query.deterministic)


def _columns(features: Sequence[CompiledFeature]) -> set[str]:
    """Return the columns of some features; those of the filter are the same for all that share rows."""
    return {feature.column for feature in features if feature.column}
