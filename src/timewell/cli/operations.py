"""Verbs for whoever is on call: what to do about an alert, and the same rules for Prometheus, Alertmanager and Grafana."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, verb
from timewell.errors import TimewellError, UnknownRunbook, UsageError

if TYPE_CHECKING:
    from timewell.watch.made import Made
    from timewell.watch.runbook import Case


@verb
def runbook(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An alert's key, a feature, a group or a rule.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Make a page for each group, source and the project.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the pages into this directory.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit code 1 if a page in --out is stale, or an alert would have no owner."
        ),
    ] = False,
) -> Answer:
    """Show what to do about an alert: diagnose, mitigate, verify, and whom to call, with the commands filled in.

    Example: timewell runbook transactions@v1:freshness
    """
    if everything == (name is not None):
        hint = "`timewell runbook NAME` prints one, `timewell runbook --all --out docs/runbooks` writes pages."
        raise UsageError(problem="a runbook is asked for by a name, or all are with --all", hint=hint)
    if name is not None:
        if out is not None or check:
            raise UsageError(problem="--out and --check go with --all", hint=f"Leave them out, or `{name}`.")
        return _runbooks(session, name)
    return _pages(session, out, check=check)


def _runbooks(session: Session, name: str) -> Answer:
    from timewell.watch.runbook import runbook_of
    from timewell.watch.runbook_pages import markdown

    found = [runbook_of(case) for case in _cases(session, name)]

    def show(screen: Screen) -> None:
        screen.line("\n".join(markdown(one) for one in found).rstrip())

    return Answer(document={"runbooks": found}, show=show)


def _cases(session: Session, name: str) -> "list[Case]":
    """Find what is meant; an alert's key is enough where the project itself cannot be read."""
    from timewell.watch.runbook_cases import find_cases, unread_case
    from timewell.watch.runbook_now import with_now

    try:
        project = session.store.project
        return [with_now(project, case) for case in find_cases(project, name)]
    except UnknownRunbook:
        raise
    except TimewellError as problem:
        if (case := unread_case(name, problem)) is None:
            raise
        return [case]


def _pages(session: Session, out: Path | None, *, check: bool) -> Answer:
    from timewell.watch.made import keep
    from timewell.watch.runbook_cases import open_book, unowned
    from timewell.watch.runbook_pages import MADE, pages

    project = session.store.project
    made = pages(project)
    kept = None if out is None else keep(out, made, mark=MADE, check=check)
    nobody = unowned(open_book(project))
    stale = kept is not None and not kept.current
    document: dict[str, object] = {
        "pages": made if out is None else list(made),
        "written": kept,
        "without_owner": nobody,
    }

    def show(screen: Screen) -> None:
        if kept is None:
            screen.line("\n\n".join(made.values()).rstrip())
        else:
            _show_kept(screen, kept, out, check=check)
        for key in nobody:
            screen.line(f"nobody would be told of {key}: set `owner`, or `[alerts] operator`")

    return Answer(document=document, show=show, exit_code=1 if check and (stale or nobody) else 0)


def _show_kept(screen: Screen, kept: "Made", out: Path | None, *, check: bool) -> None:
    for name in kept.changed:
        screen.line(f"{'stale' if check else 'written'}: {name}")
    for name in kept.left:
        screen.line(f"{'left over' if check else 'removed'}: {name}")
    unchanged = len(kept.files) - len(kept.changed)
    screen.line(
        f"{out}: {unchanged:,} of {len(kept.files):,} files are as they should be"
        if check
        else f"{out}: {len(kept.files):,} files"
    )


@verb
def monitoring(
    session: Session,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write the files into this directory.")],
    job: Annotated[
        str, typer.Option("--job", metavar="NAME", help="The job_name under which Prometheus scrapes the servers.")
    ] = "timewell",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if a file there is not what it would be.")
    ] = False,
) -> Answer:
    """Write alert rules for Prometheus, routes for Alertmanager and a dashboard for Grafana, from the definitions.

    Example: timewell monitoring --out ops
    """
    from timewell.watch.kit.files import MADE, kit
    from timewell.watch.made import keep

    kept = keep(out, kit(session.store.project, job=job), mark=MADE, check=check)
    return Answer(
        document={"written": kept},
        show=lambda screen: _show_kept(screen, kept, out, check=check),
        exit_code=0 if kept.current or not check else 1,
    )
