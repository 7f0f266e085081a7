"""Verbs about versions that are on their way out."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen, plain
from timewell.cli.verb import Answer, Session, verb
from timewell.errors import UsageError

if TYPE_CHECKING:
    from timewell.run.retire import VersionReport

Named = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version of a group, or of one of its features.")]


@verb
def deprecate(
    session: Session,
    name: Named,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, and what to use instead; it is told to users.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the mark away.")] = False,
) -> Answer:
    """Mark a version as not to be used any more; it works as before, and whoever asks for it is told.

    Example: timewell deprecate order_amount_7d@v1 --reason "counts refunds; use order_amount_7d@v2"
    """
    from timewell.run.retire import deprecate

    if (reason is None) != undo:
        raise UsageError(problem="give --reason, or --undo", hint="--reason 'counts refunds; use NAME@v2'")
    return _answer(deprecate(session.store.project, name, reason))


@verb
def retire(
    session: Session,
    name: Named,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is told to whoever asks for the version.")
    ] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Bring a retired version back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: its files are left to the next collection.")] = False,
) -> Answer:
    """Take a version out of use; refused while it is live or a service is pinned to it.

    Example: timewell retire order_amount_7d@v1 --reason "counted refunds" --yes
    """
    from timewell.run.retire import retire

    return _answer(retire(session.store.project, name, reason=reason, yes=yes, undo=undo))


def _answer(report: "VersionReport") -> Answer:
    def show(screen: Screen) -> None:
        why = f": {report.reason}" if report.reason else ""
        screen.line(f"{report.group}@{report.version} {report.action}{why}")
        if report.live != report.version:
            screen.line(f"live is {report.group}@{report.live}")
        facts = [("partitions", report.partitions), ("training sets made with it", report.training_sets)]
        screen.facts([*facts, ("services pinned to it", report.services)])

    document = plain(report)
    return Answer(document=document if isinstance(document, dict) else {}, show=show)
