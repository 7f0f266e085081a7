"""Verbs that change the past without anyone noticing: backfill, validate, promote, rollback, history, gc."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import ConfirmationNeeded
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.stores.shadows import Promotion

Name = Annotated[str, typer.Argument(metavar="NAME", help="A feature or group; name@v2 for a version.")]


@verb
def backfill(
    session: Session,
    name: Name,
    start: Annotated[str | None, typer.Option("--start", metavar="INSTANT", help="First instant of the range.")] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="INSTANT", help="End of the range; a date includes that whole day.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", help="Instead of a range: the last N complete days.")
    ] = None,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Compute again only the days that changed since, and check again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be computed and what it costs; write nothing.")
    ] = False,
) -> Answer:
    """Compute a past beside the live one; nobody sees it until it is promoted.

    Example: timewell backfill order_amount_7d --days 90
    """
    with session.progress() as progress:
        report = session.store.backfill(
            name, start=start, end=end, days=days, rebase=rebase, dry_run=dry_run, progress=progress
        )

    def show(screen: Screen) -> None:
        screen.line(str(report))
        if not dry_run:
            checked = "" if report.validated else f"timewell validate {name}, then "
            screen.line(f"next: {checked}timewell promote {name}")

    document = {
        "shadow": report.shadow,
        "group": report.group,
        "version": report.version,
        "live_version": report.live_version,
        "range": {"start": format_instant(report.wanted.start_us), "end": format_instant(report.wanted.end_us)},
        "reads_from": None if report.reads_from_us is None else format_instant(report.reads_from_us),
        "computed": report.computed,
        "skipped": report.skipped,
        "pending": report.pending,
        "rows": report.rows,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "dry_run": report.dry_run,
        "validated": report.validated,
        **({"forecast": report.forecast.to_dict()} if report.forecast else {}),
    }
    return Answer(document=document, show=show)


@verb
def validate(
    session: Session,
    name: Name,
    checks: Annotated[
        list[str] | None,
        typer.Option("--checks", metavar="A,B", help="Checks such as count,null_rate,p50,p95,mean,distribution."),
    ] = None,
) -> Answer:
    """Compare a shadow with what is live; exit code 1 when a check fails.

    Example: timewell validate order_amount_7d --checks count,null_rate,p50,p95
    """
    report = session.store.validate_shadow_vs_prod(name, names_in(checks) or None)
    return Answer(
        document=report.to_dict(), show=lambda screen: screen.line(str(report)), exit_code=int(not report.passed)
    )


@verb
def promote(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Features or groups, all at one epoch.")],
    force: Annotated[
        str | None, typer.Option("--force", metavar="REASON", help="Overrule the validation; the reason is audited.")
    ] = None,
) -> Answer:
    """Make validated shadows live, offline and online together.

    Example: timewell promote order_amount_7d
    """
    done = session.store.promote_shadow(names_in(names), force=force)

    def show(screen: Screen) -> None:
        for item in done:
            screen.line(_told(item))
        screen.line(
            "nothing changed: the live partitions are the same" if not done else "to undo: timewell rollback NAME"
        )

    return Answer(document={"promotions": done}, show=show)


def _told(item: "Promotion") -> str:
    moved = f"{item.from_version} -> {item.to_version}" if item.from_version != item.to_version else item.to_version
    return f"{item.kind} {item.group} {moved}: {item.partitions} partitions, epoch {item.epoch}"


@verb
def rollback(
    session: Session,
    name: Name,
    promotion: Annotated[
        int | None, typer.Option("--promotion", metavar="ID", help="Which one, by its id in the history.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Move at once, whatever instant the version before serves.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Restore partitions even if they changed since.")
    ] = None,
) -> Answer:
    """Take a promotion back, the last one that a person made unless one is named; later days are kept.

    Example: timewell rollback order_amount_7d
    """
    done = session.store.rollback(name, promotion=promotion, fast=fast, reason=reason)
    as_of = None if done.as_of_us is None else format_instant(done.as_of_us)

    def show(screen: Screen) -> None:
        screen.line(_told(done.promotion))
        if as_of:
            screen.line(f"values of {as_of} are served now")

    return Answer(document={"promotion": done.promotion, "as_of": as_of}, show=show)


@verb
def history(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A feature or group; all without one.")] = None,
) -> Answer:
    """Show what was promoted and taken back, newest first.

    Example: timewell history order_amount_7d
    """
    lines = session.store.history(name)

    def show(screen: Screen) -> None:
        rows = [
            (
                item.id,
                format_instant(item.at_us),
                item.kind,
                item.group,
                f"{item.from_version} -> {item.to_version}",
                item.partitions,
                item.epoch,
                item.actor,
                f"undone by {item.undone_by}" if item.undone_by else item.reason,
            )
            for item in lines
        ]
        screen.table(("id", "at", "what", "group", "version", "partitions", "epoch", "by", "note"), rows)

    return Answer(document={"history": lines}, show=show)


@verb
def abandon(
    session: Session,
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this the command only says what it would close.")
    ] = False,
) -> Answer:
    """Close an open shadow without promoting it; its files are left to gc.

    Example: timewell abandon order_amount_7d --yes
    """
    if not yes:
        raise ConfirmationNeeded(what=f"abandon {name}", items=f"the open shadow of {name}", places=[])
    closed = session.store.abandon_shadow(name)
    return Answer(document={"shadow": closed}, show=lambda screen: screen.line(f"shadow {closed.id} is closed"))


@verb
def gc(
    session: Session,
    wait: Annotated[
        str | None, typer.Option("--wait", metavar="DURATION", help="How long a marked file waits; 1h by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be marked and deleted; delete nothing.")
    ] = False,
) -> Answer:
    """Delete files and builds that nothing refers to: marked by one run, deleted by a later one.

    Example: timewell gc
    """
    report = session.store.collect_garbage(wait=wait, dry_run=dry_run)

    def show(screen: Screen) -> None:
        verb_ = "would be deleted" if dry_run else "deleted"
        screen.line(
            f"{report.files} files, {report.orphans} orphans and {report.builds} online builds {verb_} "
            f"({report.bytes:,} bytes); {report.marked} files are marked and wait"
        )

    return Answer(document={"collected": report}, show=show)


class ExportForm(StrEnum):
    """What an exported table is."""

    parquet = "parquet"
    view = "view"
    iceberg = "iceberg"


@verb
def export(
    session: Session,
    form: Annotated[ExportForm, typer.Argument(metavar="FORM", help="One of parquet, view and iceberg.")],
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="PLACE", help="A directory; for a view, a .sql file.")],
) -> Answer:
    """Hand a live table to programs without Timewell.

    Example: timewell export parquet order_amount_7d --to exported/order_amount_7d
    """
    report = session.store.export(name, form.value, to.absolute())

    def show(screen: Screen) -> None:
        screen.line(f"{report.group}@{report.version}: {report.partitions} partitions, {report.rows:,} rows")
        screen.line(f"wrote {report.place}")

    return Answer(document={"export": report}, show=show)
