"""Check a shadow against what is live, and keep the report with the digest of exactly the files that were checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timewell import chance
from timewell.backfill.function import disagreements
from timewell.backfill.gate import judged
from timewell.backfill.shadow import shadow_of
from timewell.backfill.validate import Check, Live, Outcome, PartitionRows, ValidationReport, compare, parse_checks
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.stores.shadows import ShadowRecord, StagedPartition, ValidationRecord, staged_digest

Asked = Sequence[str | Mapping[str, object]]


def validate_shadow_vs_prod(project: Project, feature: str, asked: Asked | None) -> ValidationReport:
    """Compare the open shadow of a feature with what is live; never raises for a check that fails.

    Raises
    ------
    NoShadow, UsageError
        There is nothing to check; a check is not known.
    """
    catalog = load_catalog(project)
    group, shadow = shadow_of(project, catalog, feature)
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        return validate(project, session, catalog, group, shadow, parse_checks(asked))


def checks_of_last(record: ValidationRecord) -> list[Check]:
    """Return the checks that an earlier report was made with."""
    return parse_checks(record.body["checks"])


def validate(
    project: Project,
    session: EngineSession,
    catalog: Catalog,
    group: RegisteredGroup,
    shadow: ShadowRecord,
    checks: Sequence[Check],
) -> ValidationReport:
    """Check what is staged now, and keep the report."""
    staged = project.registry.shadows.staged(shadow.id)
    live_version = catalog.epochs.live[group.compiled.name]
    bounds = {(part.file.start_us, part.file.end_us) for part in staged}
    files = project.registry.files(group.compiled.name, live_version)
    live = [file for file in files if (file.start_us, file.end_us) in bounds]
    beside = Live(
        version=live_version,
        features=tuple(feature.name for feature in catalog.live(group.compiled.name).compiled.features),
        partitions=[_rows(project, file) for file in live],
    )
    extra = _extra(project, session, group, shadow, staged)
    report = compare(group, [_rows(project, part.file) for part in staged], beside, checks, extra=extra)
    now_us = project.clock.now_us()
    digest = staged_digest(staged)
    body = {**report.to_dict(), "failed": [line.detail for line in report.outcomes if line.verdict == "fail"]}
    body["contracts"] = contracts_of(group)
    record = ValidationRecord(
        id=chance.new_id(), shadow=shadow.id, at_us=now_us, passed=report.passed, staged_digest=digest, body=body
    )
    project.registry.shadows.keep_validation(record, actor=project.actor)
    return report


def contracts_of(group: RegisteredGroup) -> dict[str, object]:
    """Return the contracts of a group's features, as a report keeps which ones it was made with."""
    return {one.name: one.contract.dump() for one in group.compiled.features if one.contract is not None}


def _rows(project: Project, file: FileRecord) -> PartitionRows:
    path = project.tables.location(file) if file.path else None
    return PartitionRows(start_us=file.start_us, end_us=file.end_us, path=path, rows=file.rows)


def _extra(
    project: Project,
    session: EngineSession,
    group: RegisteredGroup,
    shadow: ShadowRecord,
    staged: Sequence[StagedPartition],
) -> list[Outcome]:
    """Return what is found besides the comparison: by tests, contracts, and of a function that is not what it is called."""
    seen = judged(project, group, [part.file for part in staged])
    found = [Outcome.failed(feature="", check="tests", detail=text) for text in seen.failed]
    found += [Outcome(feature="", check="contract", verdict="told", detail=text) for text in seen.told]
    if shadow.engine == "function" and staged:
        wrong = disagreements(project, session, group, staged)
        found += [Outcome.failed(feature=item.feature, check="definition", detail=str(item)) for item in wrong]
    return found
