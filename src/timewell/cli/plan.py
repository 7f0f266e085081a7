"""Verbs about changes before they are made: what a folder of definitions would do."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from timewell.cli.define import definitions_folder
from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, verb


class PlanFormat(StrEnum):
    """How a plan is printed."""

    text = "text"
    markdown = "markdown"
    json = "json"


@verb
def plan(
    session: Session,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Folder of YAML and Python definitions; the project's own by default."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 on errors, missing owners, failing tests, or a changed meaning without --bump."
        ),
    ] = False,
    bump: Annotated[bool, typer.Option("--bump", help="Plan for `timewell apply --bump`.")] = False,
    output: Annotated[
        PlanFormat, typer.Option("--format", metavar="FORM", help="Print text, markdown for a pull request, or json.")
    ] = PlanFormat.text,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="INSTANT", help="First day to compute; else what the live table covers."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="INSTANT", help="Last day to compute; a date includes the whole day.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", help="Compute the last N complete days instead.")
    ] = None,
) -> Answer:
    """Show what applying a folder would change, whom it touches and what it costs; nothing is written.

    Example: timewell plan --check --format markdown
    """
    from timewell.plan.cost import WantedRange
    from timewell.run.review import plan_folder

    place = definitions_folder(session, folder)
    wanted = WantedRange(start=start, end=end, days=days)
    made = plan_folder(session.store.project, place.resolve(), bump=bump, wanted=wanted)

    def show(screen: Screen) -> None:
        if output is PlanFormat.json:
            screen.line(json.dumps(made.to_dict(), indent=2))
        else:
            screen.line((made.to_markdown() if output is PlanFormat.markdown else str(made)).rstrip("\n"))

    return Answer(document=made.to_dict(), show=show, exit_code=1 if check and not made.ok else 0)
