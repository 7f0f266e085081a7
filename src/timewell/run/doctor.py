"""Look whether everything that the registry names is there and sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from timewell.catalog.lookup import load_catalog, source_catalog
from timewell.catalog.prepare import check_schema
from timewell.errors import StoreUnavailable, TimewellError
from timewell.stores.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    sound: bool
    detail: str
    hint: str = ""


def doctor(project: Project) -> list[Finding]:
    """Check registry, sources, offline files (checksums) and online builds."""
    return [*_registry(project), *_sources(project), *_files(project), *_builds(project)]


def _registry(project: Project) -> Iterator[Finding]:
    problems = project.registry.check()
    for problem in problems:
        yield Finding(subject="registry", sound=False, detail=problem, hint="Restore a backup: timewell restore FILE.")
    if not problems:
        yield Finding(subject="registry", sound=True, detail="integrity and audit chain hold")


def _sources(project: Project) -> Iterator[Finding]:
    catalog = load_catalog(project)
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        for group in catalog.live_groups():
            name = f"source {group.compiled.source.name} for {group.compiled.ref}"
            try:
                check_schema(group, session)
                report = session.report(group.query(group.compiled.features), project.clock.now_us())
            except TimewellError as error:
                yield Finding(subject=name, sound=False, detail=str(error), hint=error.hint)
                continue
            lost = [
                f"{count:,} {what}"
                for count, what in (
                    (report.null_event_time, "without event time"),
                    (report.null_arrival_time, "never arrived"),
                    (report.null_keys, "without key"),
                    (report.filtered_out, "dropped by the filter"),
                    (report.filtered_by_null, "dropped because the filter is null"),
                    (report.in_future, "not visible yet"),
                )
                if count
            ]
            yield Finding(subject=name, sound=True, detail="; ".join([f"{report.rows:,} rows", *lost]))


def _files(project: Project) -> Iterator[Finding]:
    for group, version in project.registry.epoch_map().snapshots:
        files = project.registry.files(group, version)
        problems = [(file, problem) for file in files if (problem := project.tables.problem(file))]
        for file, problem in problems:
            hint = f"Delete the file, then materialize {group} for that range again: it is made anew from the source."
            yield Finding(subject=str(project.tables.location(file)), sound=False, detail=problem, hint=hint)
        if not problems:
            yield Finding(subject=f"offline table {group}@{version}", sound=True, detail=f"{len(files):,} partitions")


def _builds(project: Project) -> Iterator[Finding]:
    for record in project.registry.builds():
        name = f"online build of {record.group}@{record.version}"
        try:
            mark = project.online.mark(record.build)
        except StoreUnavailable as error:
            yield Finding(subject="online store", sound=False, detail=str(error).rstrip("."), hint=error.hint)
            return
        if mark is None:
            hint = f"Run `timewell materialize online {record.group}`."
            yield Finding(subject=name, sound=False, detail="it is not in the online store", hint=hint)
        else:
            yield Finding(subject=name, sound=True, detail=f"{mark.rows:,} rows")
