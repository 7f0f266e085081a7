"""Replay what was served: recompute sampled vectors offline, as of the build that they came from.

Rule: a served value is compared with what the rows give at the served as_of and version, under the ttl at the instant of
the request. That a build had been overtaken by then is lag, and is reported apart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from timewell.catalog.lookup import Catalog, load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.errors import TimewellError, UsageError
from timewell.serve.samplereads import SampleRange, count_samples, drawn, read_pieces, sampled_versions
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.types import parse_duration
from timewell.watch.replay_pieces import VersionReplay
from timewell.watch.replay_report import FeatureReplay, Mismatch, ReplayReport, picked

log = logging.getLogger("timewell.watch")
LIMIT: Final = 10_000
EXAMPLES: Final = 100
Progress = Callable[[str, int, int], None]
Versions = Mapping[tuple[str, str], frozenset[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOrder:
    """What to replay.

    Attributes
    ----------
    features
        Features or groups, with ``@version`` for that version alone; all of which there are samples by default.
    since
        A duration back from now; all samples that are kept by default.
    limit
        At most so many vectors, drawn evenly with ``seed``; ``None`` for all.
    examples
        How many mismatches are listed.
    """

    features: Sequence[str] | str | None = None
    since: str | None = None
    limit: int | None = LIMIT
    seed: int = 0
    examples: int = EXAMPLES


def replay(project: Project, order: ReplayOrder, progress: Progress | None = None) -> ReplayReport:
    """Recompute sampled vectors and say which values differ, and why.

    Raises
    ------
    UnknownFeature, InvalidDuration, UsageError
    """
    if order.limit is not None and order.limit < 1:
        raise UsageError(problem=f"limit is a number of vectors, not {order.limit!r}", hint="Give None for all.")
    catalog, now_us = load_catalog(project), project.clock.now_us()
    asked = SampleRange(start_us=0 if order.since is None else now_us - parse_duration(order.since), end_us=now_us + 1)
    versions = _versions(project, catalog, order.features)
    counts = {key: count_samples(project, key, asked) for key in versions}
    total = sum(counts.values())
    places = _shares(counts, order)
    run = _Replay(project, order, asked, progress)
    run.todo = min(total, order.limit or total)
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        for key, names in versions.items():
            if counts[key]:
                run.version(session, catalog, key, names, places[key])
    return run.report(total)


def _versions(project: Project, catalog: Catalog, features: Sequence[str] | str | None) -> Versions:
    """Return the group versions to replay, and which of their features (``None``: all)."""
    sampled = sampled_versions(project)
    if features is None:
        return dict.fromkeys(sampled)
    wanted: dict[tuple[str, str], frozenset[str] | None] = {}
    for name in [features] if isinstance(features, str) else features:
        bare, _, version = name.partition("@")
        if bare in catalog.epochs.live and ":" not in bare:
            group, found = bare, None
        else:
            resolved = catalog.resolve(name)
            group, found = resolved.group.compiled.name, frozenset([resolved.feature.name])
        for key in sampled:
            if key[0] == group and version in {"", key[1]}:
                before = wanted.get(key, frozenset())
                wanted[key] = None if found is None or before is None else before | found
    return wanted


def _shares(counts: Mapping[tuple[str, str], int], order: ReplayOrder) -> dict[tuple[str, str], list[int] | None]:
    """Return which vectors of each group version are drawn."""
    chosen = drawn(sum(counts.values()), order.limit, order.seed)
    shares: dict[tuple[str, str], list[int] | None] = {}
    start = 0
    for key, count in counts.items():
        stop = start + count
        shares[key] = None if chosen is None else [place - start for place in chosen if start <= place < stop]
        start = stop
    return shares


class _Replay:
    """One run: what is counted, the examples, and what was skipped."""

    def __init__(self, project: Project, order: ReplayOrder, asked: SampleRange, progress: Progress | None) -> None:
        self.todo = 0
        self._project, self._asked, self._progress = project, asked, progress
        self._examples = order.examples
        self._done = self._replayed = 0
        self._features: list[FeatureReplay] = []
        self._mismatches: list[Mismatch] = []
        self._skipped: dict[str, str] = {}
        self._first_us = asked.end_us

    def version(
        self,
        session: EngineSession,
        catalog: Catalog,
        key: tuple[str, str],
        names: frozenset[str] | None,
        places: list[int] | None,
    ) -> None:
        """Replay the samples of one group version; what keeps them from being replayed is in the report."""
        ref = "@".join(key)
        group = catalog.groups.get(key)
        if group is None:
            self._skipped[ref] = "this version is not registered any more"
            return
        features = tuple(one for one in group.compiled.every_feature if names is None or one.name in names)
        try:
            version = VersionReplay(session, catalog, group, features)
            if group.compiled.features:
                check_schema(group, session)
            for rows in read_pieces(self._project, key, self._asked, places):
                version.add(rows)
                self._step(ref, rows.num_rows)
            self._replayed += version.vectors
        except TimewellError as problem:
            log.info("%s was not replayed: %s", ref, problem.code)
            self._skipped[ref] = str(problem).rstrip(".")
            return
        self._features += [one for one in version.found.values() if one.compared or one.not_served]
        self._mismatches += version.mismatches
        self._skipped |= version.skipped
        self._first_us = min(self._first_us, version.first_us)

    def _step(self, ref: str, rows: int) -> None:
        self._done += rows
        if self._progress:
            self._progress(ref, self._done, self.todo)

    def report(self, sampled: int) -> ReplayReport:
        """Return what was found."""
        return ReplayReport(
            start_us=self._asked.start_us or self._first_us,
            end_us=self._asked.end_us,
            sampled=sampled,
            replayed=self._replayed,
            features=tuple(self._features),
            mismatches=picked(self._mismatches, self._examples),
            skipped=self._skipped,
        )
