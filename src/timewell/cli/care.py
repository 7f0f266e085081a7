"""Verbs that care for a project: check it, erase a key, sweep, copy it, put it back, bring it to a new format."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.keys import parse_key
from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import ConfirmationNeeded, UnknownEntity
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.catalog.lookup import RegisteredGroup
    from timewell.materialize.sweep import SweepReport
    from timewell.run.forget import ForgetReport
    from timewell.store import FeatureStore

Yes = Annotated[bool, typer.Option("--yes", help="Do it; without this the command only says what it would delete.")]


@verb
def doctor(session: Session) -> Answer:
    """Check registry, sources, offline files and online builds; exit code 1 when something is wrong.

    Example: timewell doctor
    """
    findings = session.store.doctor()
    unsound = [finding for finding in findings if not finding.sound]

    def show(screen: Screen) -> None:
        rows = [("ok" if item.sound else "WRONG", item.subject, item.detail) for item in findings]
        screen.table(("state", "what", "found"), rows)
        for item in unsound:
            if item.hint:
                screen.line(f"hint: {item.subject}: {item.hint}")
        screen.line("everything is sound" if not unsound else f"{len(unsound)} of {len(findings)} are wrong")

    return Answer(document={"sound": not unsound, "findings": findings}, show=show, exit_code=1 if unsound else 0)


@verb
def forget(
    session: Session,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="The entity, such as user_id.")],
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Its keys: user_id=7, a=1,b=2 or a JSON object.")],
    yes: Yes = False,
) -> Answer:
    """Erase entity keys from online builds, offline tables with all their earlier files, samples, and kept frames.

    Example: timewell forget user_id user_id=7 --yes
    """
    groups = _groups_of(session.store, entity)
    types = dict(zip(groups[0].compiled.entity.key_names, groups[0].key_types, strict=True))
    parsed = [parse_key(text, types) for text in keys]
    if not yes:
        places = _places(session.store, groups)
        items = f"{len(parsed)} of its keys from {', '.join(places) or 'nowhere: nothing holds one now'}"
        raise ConfirmationNeeded(what=f"forget {entity}", items=items, places=places)
    reports = [session.store.forget(entity, key) for key in parsed]

    def show(screen: Screen) -> None:
        columns = ("key digest", "online rows", "offline rows", "earlier files", "snapshots", "samples", "frame rows")
        screen.table(columns, [_erased(item) for item in reports])
        for line in _left_to_do(reports):
            screen.line(line)

    return Answer(document={"entity": entity, "forgotten": reports}, show=show)


def _erased(report: "ForgetReport") -> tuple[str, int, int, int, int, int, int]:
    earlier = report.earlier_files + report.unnamed_files
    online, offline, frames = report.online_rows, report.offline_rows, report.frame_rows
    return report.key_digest, online, offline, earlier, report.snapshots, report.sample_rows, frames


def _groups_of(store: "FeatureStore", entity: str) -> "list[RegisteredGroup]":
    catalog = store.catalog()
    groups = [group for group in catalog.groups.values() if group.compiled.entity.name == entity]
    if not groups:
        raise UnknownEntity(asked=entity, known=sorted({item.compiled.entity.name for item in catalog.groups.values()}))
    return groups


def _places(store: "FeatureStore", groups: "list[RegisteredGroup]") -> list[str]:
    """Say where keys would be erased."""
    registry = store.project.registry
    built = {(build.group, build.version) for build in registry.builds()}
    places = [f"the online build of {group.compiled.ref}" for group in groups if group.key in built]
    for group in groups:
        live = registry.files(*group.key)
        earlier = {file.path for file in registry.erasure.files(*group.key)} - {file.path for file in live} - {""}
        if live:
            places.append(f"the offline table of {group.compiled.ref} ({len(live):,} partitions)")
        if earlier:
            places.append(f"earlier snapshots and shadows of {group.compiled.ref} ({len(earlier):,} files)")
    frames = {group.compiled.source.name for group in groups if group.compiled.source.frame_digest}
    if any(_samples_of(store, group) for group in groups):
        places.append("samples of what was served")
    return places + [f"the kept frame of source {name}" for name in sorted(frames)]


def _samples_of(store: "FeatureStore", group: "RegisteredGroup") -> bool:
    from timewell.serve.samplefiles import files_of

    return bool(files_of(store.project, *group.key))


def _left_to_do(reports: "list[ForgetReport]") -> list[str]:
    """Say what a person still has to do."""
    sources = sorted({name for report in reports for name in report.sources})
    manifests = sorted({name for report in reports for name in report.manifests})
    shadows = sorted({name for report in reports for name in report.shadows})
    lines = []
    if shadows:
        named = ", ".join(shadows)
        lines.append(f"left to do: validate the open shadow of {named} again, whose files are other ones now")
    if sources:
        names = ", ".join(sources)
        lines.append(f"left to do: delete the key in {names}, or the next run computes it again")
    if manifests:
        names = ", ".join(manifests)
        lines.append(f"left to do: these training sets held the key; their files lie outside Timewell: {names}")
    return lines


@verb
def sweep(
    session: Session,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAMES]...", help="Features or groups; all when none is named.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go; change nothing.")] = False,
) -> Answer:
    """Remove rows of online builds that no request can tell from rows that are not there.

    Example: timewell sweep --dry-run
    """
    from timewell.materialize.sweep import sweep as sweep_online

    reports = sweep_online(session.store.project, names_in(names) or None, dry_run=dry_run)

    def show(screen: Screen) -> None:
        if not reports:
            screen.line("there are no online builds")
            return
        columns = ("group", "rows", "looked at", "would go" if dry_run else "removed", "bytes")
        screen.table(columns, [_swept(item) for item in reports])
        for item in reports:
            if item.busy:
                screen.line(f"{item.group}@{item.version} is being written by another process: sweep it again later")

    return Answer(document={"groups": reports, "dry_run": dry_run}, show=show)


def _swept(report: "SweepReport") -> tuple[object, ...]:
    return f"{report.group}@{report.version}", report.rows, report.looked_at, report.removed, report.bytes


@verb
def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, such as shop.tar.")],
) -> Answer:
    """Write a consistent copy of the project's state to one file, while others may be working.

    Example: timewell backup shop.tar
    """
    written = session.store.backup(file)
    size = written.stat().st_size
    document = {"file": written.resolve(), "bytes": size}
    return Answer(document=document, show=lambda screen: screen.line(f"wrote {written}: {size:,} bytes"))


@verb
def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `timewell backup` wrote.")],
    yes: Yes = False,
) -> Answer:
    """Put a backup in the place of the project's state; the state that is there is kept beside it.

    Example: timewell restore shop.tar --yes
    """
    session.store.restore(file, yes=yes)

    def show(screen: Screen) -> None:
        screen.line(f"restored {session.store.project.state} from {file}")
        screen.line("next: timewell materialize online (a backup holds no online builds)")

    return Answer(document={"restored": session.store.project.state, "file": file.resolve()}, show=show)


@verb
def upgrade(session: Session) -> Answer:
    """Bring the project's state to this program's format, after a backup.

    Example: timewell upgrade
    """
    before, after = session.store.upgrade()
    changed = before != after
    line = f"upgraded from format {before} to {after}" if changed else f"nothing to do: format {after} is the newest"
    document = {"from": before, "to": after, "changed": changed}
    return Answer(document=document, show=lambda screen: screen.line(line))


@verb
def reset(session: Session, yes: Yes = False) -> Answer:
    """Delete everything that Timewell wrote for this project; the definition files stay.

    Example: timewell reset --yes
    """
    state = session.store.project.state
    session.store.reset(yes=yes)
    return Answer(document={"deleted": state}, show=lambda screen: screen.line(f"deleted {state}"))


@verb
def audit_log(
    session: Session,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="NAME", help="Only what was done to this group, source or entity."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="COUNT", help="At most this many lines.")] = 100,
) -> Answer:
    """Show who changed what and when, newest first.

    Example: timewell audit-log --subject transactions --limit 10
    """
    found = session.store.audit_log(subject=subject, limit=limit)

    def show(screen: Screen) -> None:
        if not found:
            screen.line("the audit log has no such line")
            return
        rows = [(format_instant(row.at_us), row.actor, row.action, row.subject) for row in found]
        screen.table(("at", "who", "what", "subject"), rows)

    lines = [
        {
            "id": row.id,
            "at": format_instant(row.at_us),
            "actor": row.actor,
            "action": row.action,
            "subject": row.subject,
            "detail": row.detail,
            "digest": row.digest,
        }
        for row in found
    ]
    return Answer(document={"rows": lines}, show=show)


@verb
def version(session: Session) -> Answer:
    """Print the versions of Timewell and of what it runs on.

    Example: timewell version --json
    """
    import platform

    from timewell import __version__

    del session  # needs no project
    document = {"timewell": __version__, "python": platform.python_version(), "platform": platform.platform()}
    return Answer(document=document, show=lambda screen: screen.facts(document.items()))
