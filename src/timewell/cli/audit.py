"""The verb that audits SQL, Python and notebooks for leakage."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import ProjectNotFound, UsageError

if TYPE_CHECKING:
    from timewell.audit.roles import Roles
    from timewell.audit.verdicts import Audit


class AuditFormat(StrEnum):
    """How an audit is printed."""

    text = "text"
    json = "json"
    sarif = "sarif"
    markdown = "markdown"


@verb
def audit(
    session: Session,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files (.sql, .py, .ipynb) and folders of such files.")
    ],
    spine: Annotated[
        str | None,
        typer.Option(
            "--spine", metavar="TABLE.COLUMN", help="Table of the labelled rows, and the column of their instant."
        ),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="TABLE.COLUMN", help="A table of events and its time; may be given again."),
    ] = None,
    snapshot: Annotated[
        list[str] | None,
        typer.Option(
            "--snapshot", metavar="TABLE.COLUMN", help="Likewise a table of states, right from their own instant."
        ),
    ] = None,
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="NAME", help="SQL dialect to read first, such as bigquery.")
    ] = "duckdb",
    output: Annotated[
        AuditFormat,
        typer.Option("--format", metavar="FORM", help="Print text, json, sarif for code scanning, or markdown."),
    ] = AuditFormat.text,
) -> Answer:
    """Find joins and windows that let a training row know its future, in SQL, Python and notebooks; nothing is run.

    Example: timewell audit sql/ notebooks/ --spine labels.label_ts --event tx.ts
    """
    from timewell import __version__
    from timewell.audit.files import audit_files
    from timewell.audit.reports import as_document, as_markdown, as_sarif

    roles = _roles(session, spine, names_in(event), names_in(snapshot))
    with session.progress("files") as step:
        found = audit_files(paths, roles=roles, dialect=dialect, progress=step)
    document = as_sarif(found, version=__version__) if output is AuditFormat.sarif else as_document(found)

    def show(screen: Screen) -> None:
        if output in (AuditFormat.json, AuditFormat.sarif):
            screen.line(json.dumps(document, indent=2))
        elif output is AuditFormat.markdown:
            screen.line(as_markdown(found).rstrip("\n"))
        else:
            _show(screen, found)

    return Answer(document=document, show=show, exit_code=0 if found.ok else 1)


def _roles(session: Session, spine: str | None, events: list[str], snapshots: list[str]) -> "Roles":
    """Take what is given, and around it what the project has registered."""
    from timewell.audit.roles import Roles

    times, closed, arrivals = _registered(session)
    for given, side in ((events, "left"), (snapshots, "right")):
        for text in given:
            table, column = _parts(text)
            times[table], closed[table] = column, side
    return Roles(events=times, spine=_parts(spine) if spine else None, arrivals=arrivals, closed=closed)


def _parts(text: str) -> tuple[str, str]:
    table, _, column = text.rpartition(".")
    if not table or not column:
        raise UsageError(problem=f"{text!r} is no TABLE.COLUMN.", hint="Write it as in `--event tx.ts`.")
    return table, column


def _registered(session: Session) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return the event times, the closed sides and the arrival times of the project's sources, if there is a project."""
    times: dict[str, str] = {}
    closed: dict[str, str] = {}
    arrivals: dict[str, str] = {}
    try:
        catalog = session.store.catalog()
    except ProjectNotFound:
        if session.common.project is not None:
            raise
        return times, closed, arrivals
    for name, source in catalog.sources.items():
        for table in dict.fromkeys((name, *([source.table] if source.table else []))):
            times[table], closed[table] = source.event_time, source.closed_side
            if source.arrival_time is not None:
                arrivals[table] = source.arrival_time
    return times, closed, arrivals


def _show(screen: Screen, found: "Audit") -> None:
    from timewell.audit.reports import counts

    for finding in found.findings:
        screen.line(str(finding))
    told = ", ".join(f"{number:,} {name}" for name, number in counts(found).items() if number)
    screen.line(f"{found.verdict}: {found.statements:,} statements in {found.files:,} files; {told or 'nothing found'}")
