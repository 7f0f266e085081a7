"""What the difference of a pair likely comes from: the rows that differ are looked at one by one.

Rule: only what can be shown is named. What was right at the build's instant is lag; what is left over is said to be
left over (``values``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from timewell.catalog.lookup import Resolved
from timewell.stores.project import Project
from timewell.watch.skew.pairs import differing, equal
from timewell.watch.skew.report import Cause, Example
from timewell.watch.skew.samples import Sample, pinned, values_at

_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """What the pairs of two samples showed: the share that differs, by cause, and some of them."""

    mismatched: float
    causes: Mapping[Cause, float]
    examples: tuple[Example, ...]


def look_at_pairs(project: Project, found: Resolved, online: Sample, offline: pa.Array) -> Pairs:
    """Compare two sides row by row, and find out what the differences come from.

    Parameters
    ----------
    offline
        What training has for the rows of ``online``, in their order.
    """
    served, trained = online.values.to_pylist(), offline.to_pylist()
    places = differing(online.values, offline)
    if not places:
        return Pairs(mismatched=0.0, causes={}, examples=())
    causes = _causes(project, found, online, [(place, served[place], trained[place]) for place in places])
    counts = Counter(causes)
    shares = {cause: count / len(served) for cause, count in counts.most_common()}
    examples = [
        Example(
            key=online.entities[place].as_py() if online.entities is not None else {},
            at_us=online.instants.cast(pa.int64())[place].as_py() if online.instants is not None else 0,
            served=served[place],
            trained=trained[place],
            cause=cause,
        )
        for place, cause in list(zip(places, causes, strict=True))[:_EXAMPLES]
    ]
    return Pairs(mismatched=len(places) / len(served), causes=shares, examples=tuple(examples))


def _causes(
    project: Project, found: Resolved, online: Sample, rows: Sequence[tuple[int, object, object]]
) -> list[Cause]:
    at_build = _at_build(project, found, online, [place for place, _, _ in rows])
    promoted = project.registry.shadows.promotions(found.group.compiled.name)
    since = promoted[0].epoch if promoted else 0
    causes: list[Cause] = []
    for (place, served, trained), then in zip(rows, at_build, strict=True):
        status = online.statuses[place].as_py() if online.statuses is not None else ""
        epoch = online.epochs[place].as_py() if online.epochs is not None else None
        if status == "default" or (online.degraded is not None and online.degraded[place].as_py()):
            causes.append("degraded")
        elif status == "expired" and trained is not None:
            causes.append("expired")
        elif then is not _NOT_KNOWN and equal(served, then):
            causes.append("stale")
        elif epoch is not None and epoch < since:
            causes.append("version")
        else:
            causes.append("null" if served is None or trained is None else "values")
    return causes


_NOT_KNOWN: Final = object()


def _at_build(project: Project, found: Resolved, online: Sample, places: Sequence[int]) -> list[object]:
    """Return what training has for some rows at the instant of the build that answered."""
    if online.as_ofs is None or online.entities is None:
        return [_NOT_KNOWN] * len(places)
    known = [place for place in places if online.as_ofs[place].is_valid]
    if not known:
        return [_NOT_KNOWN] * len(places)
    chosen = pa.array(known, pa.int64())
    then = replace(
        online,
        values=online.values.take(chosen),
        entities=online.entities.take(chosen),
        instants=online.as_ofs.take(chosen),
        request=None if online.request is None else online.request.take(chosen),
    )
    (values,) = values_at(project, [pinned(found)], then)
    by_place = dict(zip(known, values.to_pylist(), strict=True))
    return [by_place.get(place, _NOT_KNOWN) for place in places]
