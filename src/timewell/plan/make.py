"""Make a plan: what applying a folder would change, whom it touches, what it costs. Nothing is written."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog, source_catalog
from timewell.catalog.prepare import next_version, service_record
from timewell.define.load import Loaded
from timewell.errors import TimewellError, VersionConflict
from timewell.plan.affected import consumers
from timewell.plan.checked import Checked, CheckedGroup, check_folder, is_new, laid_over
from timewell.plan.collect import Collected, collect_folder, without_repeats
from timewell.plan.cost import WantedRange, work_of
from timewell.plan.diff import differences, entity_change, feature_changes, group_facts, service_change, source_change
from timewell.plan.lint import find_lints
from timewell.plan.missing import not_in_folder
from timewell.plan.parts import Action, Change, Finding, TestLine, Work
from timewell.plan.plan import Plan
from timewell.stores.frames import keep_frame, to_table
from timewell.stores.offline import EngineSession
from timewell.stores.project import Project
from timewell.stores.query import SourceCatalog
from timewell.types import DAY_US

TestRunner = Callable[[EngineSession, RegisteredGroup], Sequence[TestLine]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOrder:
    """What is to be planned.

    Attributes
    ----------
    folder
        Folder of definitions; relative to the project's root.
    bump
        Plan for ``apply --bump``: a group whose meaning changed gets the next version.
    wanted
        The range to compute; without one, what the live version's table covers.
    run_tests
        Runs the tests of a group that would be registered; without it, no test is run.
    """

    folder: Path
    bump: bool = False
    wanted: WantedRange = field(default_factory=WantedRange)
    run_tests: TestRunner | None = None


def make_plan(project: Project, order: PlanOrder) -> Plan:
    """Compare a folder of definitions with what is registered.

    Raises
    ------
    DefinitionError
        There is no such folder. Whatever is wrong inside it is in the plan's findings.
    InvalidRange
    """
    order.wanted.resolve(project, DAY_US, project.clock.now_us())  # a mistake in it shows whatever the folder holds
    collected = collect_folder(project.root / order.folder)
    catalog = load_catalog(project)
    with TemporaryDirectory(prefix="timewell-plan-") as kept:
        frames = Path(kept)
        loaded, problems = settle(collected.loaded, frames)
        merged = laid_over(catalog, loaded, loaded.sources)
        sources = with_frames(source_catalog(project, merged), merged, frames)
        with project.engine.session(sources, project.engine_settings) as session:
            checked = check_folder(loaded, merged, session, require_owner=project.config.require_owner)
            checked.problems = [*collected.problems, *problems, *checked.problems]
            tests = _tests(session, checked, catalog, order)
    return _plan(project, order, catalog, _Folder(loaded=loaded, collected=collected, checked=checked, tests=tests))


def settle(loaded: Loaded, frames: Path) -> tuple[Loaded, list[TimewellError]]:
    """Return the definitions without repeats and with digests for frames, whose rows are kept in a folder."""
    kept, problems = without_repeats(loaded)
    for number, (where, source) in enumerate(kept.sources):
        if source.frame is None:
            continue
        try:
            digest = keep_frame(to_table(source.frame), frames)
        except TimewellError as problem:
            problems.append(problem.located(where) if where else problem)
            continue
        kept.sources[number] = (where, source.model_copy(update={"frame": None, "frame_digest": digest}))
    return kept, problems


def with_frames(sources: SourceCatalog, catalog: Catalog, frames: Path) -> SourceCatalog:
    """Return what an engine needs to know, with the frames of the folder read from where they were just kept."""
    fresh = {
        source.frame_digest: frames / f"{source.frame_digest}.parquet"
        for source in catalog.sources.values()
        if source.frame_digest and (frames / f"{source.frame_digest}.parquet").is_file()
    }
    return replace(sources, frames={**sources.frames, **fresh})


def definitions_digest(loaded: Loaded) -> str:
    """Return a digest of a folder's definitions, wherever in it they stand and in whatever order."""
    lines = [
        [name, json.dumps(definition.model_dump(mode="json", exclude_unset=True), sort_keys=name != "entities")]
        for name in ("entities", "sources", "groups", "services")
        for _, definition in getattr(loaded, name)
    ]
    return _digest(sorted(lines))


def registered_digest(project: Project) -> str:
    """Return a digest of everything that is registered."""
    lines = [
        [record.kind, record.name, record.version, record.revision, record.content_hash]
        for record in project.registry.definitions()
    ]
    return _digest(sorted(lines))


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    loaded: Loaded
    collected: Collected
    checked: Checked
    tests: tuple[TestLine, ...]


def _plan(project: Project, order: PlanOrder, catalog: Catalog, folder: _Folder) -> Plan:
    changes = [entity_change(where, entity, catalog) for where, entity in folder.loaded.entities]
    changes += [source_change(where, source, catalog) for where, source in folder.loaded.sources]
    groups = [_group_change(item, catalog, bump=order.bump) for item in folder.checked.groups]
    services, problems = _services(folder, catalog)
    work = [_work(project, item, catalog, order.wanted) for item in folder.checked.groups]
    findings = [_finding(problem) for problem in (*folder.checked.problems, *problems)]
    findings += [] if order.bump else [found for item in folder.checked.groups if (found := _conflict(item))]
    findings += [_failed(test) for test in folder.tests if test.refuses]
    everything = (*changes, *groups, *services)
    done = tuple(item for item in work if item is not None)
    return Plan(
        folder=_place(project, order.folder),
        bump=order.bump,
        made_us=project.clock.now_us(),
        epoch=catalog.epochs.epoch,
        registered=registered_digest(project),
        definitions=definitions_digest(folder.loaded),
        changes=everything,
        missing=() if folder.collected.unread else not_in_folder(catalog, folder.loaded, folder.collected.named),
        affected=consumers(project, catalog, everything),
        work=done,
        tests=folder.tests,
        findings=tuple(findings),
        lints=find_lints(project, [item.prepared.registered for item in folder.checked.groups if item.prepared]),
        commands=(
            *_commands(order, project, everything, done),
            *(f"timewell promote {name}" for name in _moved_at_once(folder, catalog)),
        ),
    )


def _place(project: Project, folder: Path) -> str:
    """Return the folder as it is written down: relative to the project, so that another checkout finds it."""
    whole = (project.root / folder).resolve()
    return whole.relative_to(project.root).as_posix() if whole.is_relative_to(project.root) else str(whole)


def _tests(session: EngineSession, checked: Checked, catalog: Catalog, order: PlanOrder) -> tuple[TestLine, ...]:
    """Run the tests of every group that would be written; one that cannot be run is a problem."""
    found: list[TestLine] = []
    for item in checked.groups:
        if item.prepared is None or order.run_tests is None or not is_new(item.prepared.registered, catalog):
            continue
        try:
            found += order.run_tests(session, item.prepared.registered)
        except TimewellError as problem:
            checked.problems.append(problem.located(item.where) if item.where else problem)
    return tuple(found)


def _group_change(item: CheckedGroup, catalog: Catalog, *, bump: bool) -> Change:
    """Say what would happen to a group."""
    definition, name = item.definition, item.definition.name
    live = catalog.epochs.live.get(name)
    if item.prepared is None:
        return Change(
            kind="group",
            name=name,
            version=definition.version,
            action="invalid",
            against=live or "",
            where=item.where,
            reason="it cannot be registered: the findings say why",
            owner=definition.owner or "",
        )
    new = item.prepared.registered
    same = catalog.groups.get(new.key)
    old = same or (catalog.groups[name, definition.version] if item.conflict else None)
    old = old or (catalog.groups[name, live] if live else None)
    fields = () if old is None else tuple(differences(group_facts(old), group_facts(new)))
    features = feature_changes(old, new)
    action, reason = _group_action(item, same, live, bump=bump)
    moved = {"online", "tier"}
    if action == "metadata" and any(each.field in moved for feature in features for each in feature.fields):
        action, reason = "compatible", "the same values, in other places: what is online changes with the next build"
    return Change(
        kind="group",
        name=name,
        version=definition.version,
        action=action,
        against=old.compiled.version if old else "",
        becomes=new.compiled.version if new.compiled.version != definition.version else "",
        where=item.where,
        reason=reason,
        owner=definition.owner or "",
        deprecated=definition.deprecated or "",
        fields=fields,
        features=features,
        keys=tuple(zip(new.compiled.entity.key_names, new.key_types, strict=True)),
    )


def _group_action(
    item: CheckedGroup, same: RegisteredGroup | None, live: str | None, *, bump: bool
) -> tuple[Action, str]:
    prepared = item.prepared
    if prepared is None:
        return "invalid", ""
    ref = f"{item.definition.name}@{item.definition.version}"
    if same is not None:
        if same.definition.dump() != prepared.registered.definition.dump():
            return "metadata", ""
        if item.conflict is not None and not bump:
            return "breaking", f"{ref} means something else; this meaning is registered as {same.compiled.ref}"
        return "unchanged", ""
    if item.conflict is not None and not bump:
        changed = item.conflict.facts["changed"]
        told = ", ".join(str(name) for name in changed) if isinstance(changed, list | tuple) else str(changed)
        text = f"{ref} is registered with another meaning ({told})"
        return "breaking", f"{text}: --bump registers this as {prepared.registered.compiled.ref}"
    if live is None:
        return "added", ""
    return "version_bump", f"{item.definition.name}@{live} stays live until the new version is promoted"


def _conflict(item: CheckedGroup) -> Finding | None:
    if item.conflict is None:
        return None
    return _finding(item.conflict.located(item.where) if item.where else item.conflict)


def _services(folder: _Folder, catalog: Catalog) -> tuple[list[Change], list[TimewellError]]:
    """Say what would happen to each service; one that names an unknown feature is a problem."""
    changes, problems = [], []
    for where, service in folder.loaded.services:
        versions = [version for name, version in catalog.services if name == service.name]
        newest = versions[-1] if versions else None
        version = service.version if service.version in versions else newest
        known = catalog.services[service.name, version] if version else None
        pins: Sequence[str] = ()
        try:
            pins = service_record(service, folder.checked.catalog).resolved["features"]
        except TimewellError as problem:
            problems.append(problem.located(where) if where else problem)
            changes.append(
                Change(kind="service", name=service.name, version=service.version, action="invalid", where=where)
            )
            continue
        change = service_change(where, service, known, versions, pins)
        changes.append(change)
        if change.action == "breaking":
            problems.append(
                VersionConflict(
                    name=service.name,
                    version=service.version,
                    changed=[each.field for each in change.fields],
                    where=where,
                    hint=f"Write `version: {next_version(service.version, versions)}` in its definition.",
                )
            )
    return changes, problems


def _work(project: Project, item: CheckedGroup, catalog: Catalog, wanted: WantedRange) -> Work | None:
    """Return what has to be computed for a group: for a new meaning, or for one that is not live yet."""
    if item.prepared is None or not item.prepared.registered.compiled.features or not _is_to_come(item, catalog):
        return None
    new = item.prepared.registered
    live = catalog.epochs.live.get(new.compiled.name)
    return work_of(project, new, catalog.groups[new.compiled.name, live] if live else None, wanted)


def _is_to_come(item: CheckedGroup, catalog: Catalog) -> bool:
    """Whether a group's version is not live, and not older than the live one."""
    if item.prepared is None:
        return False
    name, version = item.prepared.registered.key
    live = catalog.epochs.live.get(name)
    if live == version:
        return False
    order = [key[1] for key in catalog.groups if key[0] == name]  # oldest first
    return live is None or version not in order or order.index(version) > order.index(live)


def _moved_at_once(folder: _Folder, catalog: Catalog) -> list[str]:
    """Return the groups that store nothing and have a version to promote: nothing has to be computed for them."""
    return [
        item.definition.name
        for item in folder.checked.groups
        if item.prepared
        and not item.prepared.registered.compiled.features
        and item.definition.name in catalog.epochs.live
        and _is_to_come(item, catalog)
    ]


def _finding(problem: TimewellError) -> Finding:
    return Finding(
        code=problem.code, message=str(problem), hint=problem.hint, where=str(problem.facts.get("where") or "")
    )


def _failed(test: TestLine) -> Finding:
    return Finding(
        code="tests_failed",
        message=f"test {test.test} of {test.feature} failed: {test.detail}",
        hint="Correct the definition, the source or the test.",
    )


def _commands(order: PlanOrder, project: Project, changes: Sequence[Change], work: Sequence[Work]) -> tuple[str, ...]:
    """Return what to type next: register, then compute."""
    acting = [change for change in changes if change.action not in {"unchanged", "invalid"}]
    found = []
    if acting:
        bump = order.bump or any(change.kind == "group" and change.action == "breaking" for change in changes)
        place = _place(project, order.folder)
        named = "" if place == project.config.definitions.rstrip("/") else f" {shlex.quote(place)}"
        found.append(f"timewell apply{named}{' --bump' if bump else ''}")
    online = [change.name for change in changes if change.kind == "group" and change.action == "compatible"]
    found += [f"timewell materialize online {name}" for name in online]
    return (*found, *(command for item in work for command in item.commands))
