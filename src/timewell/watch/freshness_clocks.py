"""The three clocks of a version's stores: when a run last succeeded, how new its newest event is, how far its data reaches.

Rule: what is judged, shown, alerted on and returned by ``get_last_update_epoch`` comes from here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from timewell.build.completeness import complete_now
from timewell.catalog.lookup import Catalog, RegisteredGroup, source_catalog
from timewell.catalog.on_demand import pinned_inputs
from timewell.define.compiled import CompiledFeature
from timewell.errors import TimewellError
from timewell.stores.project import Project
from timewell.stores.records import FileRecord, OnlineBuildRecord
from timewell.stores.runs import RunRecord
from timewell.types import SECOND_US

Side = Literal["online", "offline", "source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """How far one store of one version is; ``None`` for what never was, or is not known.

    Attributes
    ----------
    store
        ``source`` for features that are computed on read: they are as far as their source is now.
    run_us
        The run clock: end of the last run that succeeded.
    data_us
        The data clock: the newest event that this run saw.
    data_through_us
        Up to when the data is complete: the earlier of ``as_of_us`` and up to when the sources were. This one is judged.
    as_of_us
        The instant whose values the online build holds; the end of the offline table's last partition.
    step_us
        Length of the table's partitions; 0 for other stores.
    read_us, complete_through_us
        When that run looked at the source, and up to when the source was complete then.
    failed_us, failures, error, problem
        When a run last failed, how many have since one succeeded, and why the last one did.
    trouble
        Why nothing can be said for certain; empty otherwise.
    """

    group: str
    version: str
    store: Side
    run_us: int | None = None
    data_us: int | None = None
    data_through_us: int | None = None
    as_of_us: int | None = None
    step_us: int = 0
    read_us: int | None = None
    complete_through_us: int | None = None
    failed_us: int | None = None
    failures: int = 0
    error: str = ""
    problem: str = ""
    trouble: str = ""


class ClockRoom:
    """One consistent look at the clocks of a project's versions.

    Parameters
    ----------
    project
        The opened project.
    catalog
        What is registered.
    ask_store
        Ask the online store for its builds, too: one that was emptied serves nothing, whatever the registry says.
    """

    def __init__(self, project: Project, catalog: Catalog, *, ask_store: bool = False) -> None:
        self._project = project
        self._catalog = catalog
        self._ask_store = ask_store

    def of(self, group: RegisteredGroup, feature: CompiledFeature) -> Clocks:
        """Return the clocks that a feature is judged by: online if it can be asked for there, else of its table.

        Of a feature computed on demand, those of its oldest input; one of request values alone is of this moment.

        Raises
        ------
        SourceUnreadable
            Of a feature that is computed on read.
        """
        if feature.transform is not None:
            return self._of_inputs(group, feature)
        return self.at(group, self.side(group, feature), feature.name)

    def side(self, group: RegisteredGroup, feature: CompiledFeature) -> Side:
        """Return which store a feature is judged by."""
        if feature.computed:
            return "source"
        if not feature.stored:
            return "offline"
        # what is to be stored from now on is computed until it is
        waits = feature.name in group.once_computed and not self._holds(group, feature.name)
        return "source" if waits else "online"

    def at(self, group: RegisteredGroup, store: Side, feature: str = "") -> Clocks:
        """Return the clocks of one store of a version; of an online build only if it holds ``feature``, where given."""
        if store == "source":
            return self._of_source(group)
        if store == "offline":
            return self._of_table(group)
        return self._of_build(group, feature)

    def _of_inputs(self, group: RegisteredGroup, feature: CompiledFeature) -> Clocks:
        stored = [one.reference for one in pinned_inputs(group, feature) if one.kind == "feature"]
        found = [self.of(item.group, item.feature) for item in map(self._catalog.resolve, stored)]
        if found:
            return min(found, key=lambda clocks: -1 if clocks.data_through_us is None else clocks.data_through_us)
        now_us, (name, version) = self._project.clock.now_us(), group.key
        return Clocks(
            group=name,
            version=version,
            store="source",
            as_of_us=now_us,
            data_through_us=now_us,
            read_us=now_us,
            complete_through_us=now_us,
        )

    @cached_property
    def _builds(self) -> Mapping[tuple[str, str], OnlineBuildRecord]:
        return {(build.group, build.version): build for build in self._project.registry.builds()}

    @cached_property
    def _runs(self) -> Mapping[tuple[str, str, str], RunRecord]:
        return {(run.group, run.version, run.store): run for run in self._project.registry.runs.last()}

    def _holds(self, group: RegisteredGroup, feature: str) -> bool:
        build = self._builds.get(group.key)
        return build is not None and feature in build.features

    def _of_build(self, group: RegisteredGroup, feature: str) -> Clocks:
        build, run = self._builds.get(group.key), self._runs.get((*group.key, "online"))
        if build is None or (feature and feature not in build.features):
            return _clocks(group, "online", run)
        return _clocks(
            group,
            "online",
            run,
            as_of_us=build.as_of_us,
            data_through_us=build.data_through_us,
            # a store that an earlier program wrote knows of its runs only what its builds say
            run_us=run.succeeded_us if run is not None and run.succeeded_us else build.run_end_us or None,
            trouble=self._missing(build),
        )

    def _missing(self, build: OnlineBuildRecord) -> str:
        """Say why a build that the registry points at does not serve."""
        if not self._ask_store:
            return ""
        try:
            held = self._project.online.mark(build.build)
        except TimewellError as problem:
            return str(problem)
        return "" if held is not None else f"the online store does not hold build {build.build}"

    def _of_table(self, group: RegisteredGroup) -> Clocks:
        run = self._runs.get((*group.key, "offline"))
        files = self._project.registry.files(*group.key)
        if not files:
            return _clocks(group, "offline", run)
        last = max(files, key=_reaches)
        return _clocks(
            group,
            "offline",
            run,
            as_of_us=last.end_us,
            data_through_us=_reaches(last),
            step_us=last.end_us - last.start_us,
        )

    def _of_source(self, group: RegisteredGroup) -> Clocks:
        now_us, source = self._project.clock.now_us(), group.compiled.source
        complete_us = complete_now(self._project, source_catalog(self._project, self._catalog), source)
        as_of_us = group.compiled.cut_off(now_us)
        return Clocks(
            group=group.compiled.name,
            version=group.compiled.version,
            store="source",
            as_of_us=as_of_us,
            data_through_us=min(as_of_us, complete_us),
            read_us=now_us,
            complete_through_us=complete_us,
        )


def _reaches(file: FileRecord) -> int:
    """Return up to when a partition is complete: a person's function may have written it before its source was."""
    return min(file.end_us, file.watermark_us) if file.watermark_us else file.end_us


def _clocks(
    group: RegisteredGroup,
    store: Side,
    run: RunRecord | None,
    **found: int | str | None,
) -> Clocks:
    known: dict[str, int | str | None] = {}
    if run is not None:
        known = {
            "run_us": run.succeeded_us or None,
            "data_us": run.newest_event_us,
            "read_us": run.read_us or None,
            "complete_through_us": run.complete_through_us if run.read_us else None,
            "failed_us": run.failed_us or None,
            "failures": run.failures,
            "error": run.error,
            "problem": run.problem,
        }
    name, version = group.key
    return Clocks(group=name, version=version, store=store, **{**known, **found})  # type: ignore[arg-type]


def last_update_epoch(project: Project, catalog: Catalog, feature: str) -> int | None:
    """Return until when a feature's data is complete, in whole seconds since 1970 UTC; ``None`` if never built."""
    found = catalog.resolve(feature)
    through_us = ClockRoom(project, catalog).of(found.group, found.feature).data_through_us
    return None if through_us is None else through_us // SECOND_US
