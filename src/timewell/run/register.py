"""Register definitions: check everything, run the tests, then write all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from timewell.build.checks import SAMPLED, TestOutcome, run_checks
from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import (
    PreparedGroup,
    check_source,
    plain_record,
    prepare_group,
    service_record,
    with_group,
)
from timewell.define.load import Loaded
from timewell.define.source import Source
from timewell.errors import TestsFailed, TimewellError
from timewell.plan.lint import find_lints
from timewell.plan.parts import Lint
from timewell.stores.frames import keep_frame, to_table
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.registry import DefinitionRecord, PutOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReport:
    """What registering did, definition by definition, how the tests went, and what is worth a look."""

    outcomes: tuple[PutOutcome, ...]
    tests: tuple[TestOutcome, ...]
    lints: tuple[Lint, ...] = ()
    dry_run: bool = False


def register(
    project: Project, loaded: Loaded, *, bump: bool = False, accept: bool = False, dry_run: bool = False
) -> RegisterReport:
    """Register entities, sources, groups and services in one transaction.

    Parameters
    ----------
    loaded
        The definitions, each with the place it was written at.
    bump
        Give a group whose meaning changed under the same version the next one.
    accept
        Take contracts that take back what they said under the same version.
    dry_run
        Check and test everything, write nothing.

    Raises
    ------
    TimewellError
        The first mistake, with its place; nothing is written then.
    TestsFailed
        A feature's own tests or contract do not hold.
    """
    catalog = load_catalog(project)
    sources = [(where, _keep(project, source)) for where, source in loaded.sources]
    merged = replace(
        catalog,
        sources={**catalog.sources, **{source.name: source for _, source in sources}},
        entities={**catalog.entities, **{entity.name: entity for _, entity in loaded.entities}},
    )
    engine_catalog = source_catalog(project, merged)
    with project.engine.session(engine_catalog, project.engine_settings) as session:
        for where, source in sources:
            with _place(where):
                check_source(source, session)
        prepared, merged = _prepare_groups(project, loaded, merged, session, bump=bump, accept=accept)
        changed = [item.registered for item in prepared if _is_new(item, catalog)]
        tests = _run_tests(project, session, changed)
    services = []
    for where, service in loaded.services:
        with _place(where):
            services.append(service_record(service, merged))
    records = [plain_record(entity) for _, entity in loaded.entities]
    records += [plain_record(source) for _, source in sources]
    records += [item.record for item in prepared] + services
    if dry_run:
        outcomes = [_foreseen(record, project) for record in records]
    else:
        outcomes = project.registry.put(records, actor=project.actor, at_us=project.clock.now_us())
    lints = find_lints(project, [item.registered for item in prepared])
    return RegisterReport(outcomes=tuple(outcomes), tests=tuple(tests), lints=lints, dry_run=dry_run)


def _keep(project: Project, source: Source) -> Source:
    """Keep a frame's rows as a file, so that other processes can read them."""
    if source.frame is None:
        return source
    digest = keep_frame(to_table(source.frame), project.state / "frames")
    return source.model_copy(update={"frame": None, "frame_digest": digest})


@contextmanager
def _place(where: str) -> Iterator[None]:
    """Say in every error which file it comes from."""
    try:
        yield
    except TimewellError as error:
        if where:
            raise error.located(where) from None
        raise


def _prepare_groups(
    project: Project, loaded: Loaded, catalog: Catalog, session: EngineSession, *, bump: bool, accept: bool
) -> tuple[list[PreparedGroup], Catalog]:
    """Check the groups one after the other; each sees those before it, so that a double name shows."""
    prepared, owned = [], project.config.require_owner
    for where, group in loaded.groups:
        with _place(where):
            item = prepare_group(group, catalog, session, require_owner=owned, bump=bump, accept=accept)
        prepared.append(item)
        catalog = with_group(catalog, item.registered)
    return prepared, catalog


def _is_new(item: PreparedGroup, catalog: Catalog) -> bool:
    known = catalog.groups.get(item.registered.key)
    return known is None or known.definition.dump() != item.registered.definition.dump()


def _run_tests(project: Project, session: EngineSession, groups: Sequence[RegisteredGroup]) -> list[TestOutcome]:
    now_us = project.clock.now_us()
    outcomes = [
        outcome
        for group in groups
        for outcome in run_checks(project.engine, session, group, now_us=now_us, sampled=SAMPLED)
    ]
    failed = [outcome for outcome in outcomes if outcome.refuses]
    if failed:
        failures = "; ".join(map(str, failed))
        raise TestsFailed(count=len(failed), failures=failures)
    return outcomes


def _foreseen(record: DefinitionRecord, project: Project) -> PutOutcome:
    """Say what writing a record would do."""
    known = [found for found in project.registry.definitions(record.kind) if found.name == record.name]
    same = [found for found in known if found.version == record.version]
    action = "created" if not known else "new_version"
    if same:
        action = "unchanged" if dict(same[0].body) == dict(record.body) else "metadata"
    return PutOutcome(kind=record.kind, name=record.name, version=record.version, action=action)  # type: ignore[arg-type]


def run_tests(project: Project, asked: str | Iterable[str] | None) -> list[TestOutcome]:
    """Run the tests of registered groups against the sources as they are now."""
    catalog = load_catalog(project)
    now_us = project.clock.now_us()
    outcomes = []
    with project.engine.session(source_catalog(project, catalog), project.engine_settings) as session:
        for group, _ in catalog.select(asked):
            outcomes += run_checks(project.engine, session, group, now_us=now_us)
    return outcomes
