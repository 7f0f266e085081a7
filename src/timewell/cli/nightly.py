"""The verb for every night: what is read most, offline against online."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, verb

if TYPE_CHECKING:
    from timewell.watch.nightly.report import NightlyReport


@verb
def nightly(
    session: Session,
    *,
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="How many features: those most asked for.")
    ] = 10,
    since: Annotated[
        str, typer.Option("--since", metavar="DURATION", help="Reads and samples of the last so long count.")
    ] = "24h",
    vectors: Annotated[
        int, typer.Option("--vectors", metavar="N", min=0, help="Most sampled vectors to recompute; 0 for none.")
    ] = 2_000,
    post: Annotated[
        list[str] | None,
        typer.Option("--post", metavar="NOTIFIER", help="Post the summary there, once a night; may be repeated."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="List the nights that are kept instead.")] = False,
) -> Answer:
    """Compare the features that are read most, offline against online; exit code 1 if one needs a look.

    Example: timewell nightly --top 10 --post chat
    """
    from timewell.watch.nightly.book import file_of, nights
    from timewell.watch.nightly.night import NightlyOrder
    from timewell.watch.nightly.night import nightly as run

    project = session.store.project
    if history:
        return _history(nights(project))
    with session.progress() as shown:
        report = run(project, NightlyOrder(top=top, since=since, vectors=vectors, post=post or ()), shown)

    def show(screen: Screen) -> None:
        for line in report.message().split("\n"):
            screen.line(line)

    document = {**report.to_dict(), "message": report.message(), "file": str(file_of(project, report.day))}
    return Answer(document=document, show=show, exit_code=0 if report.passed else 1)


def _history(kept: "list[NightlyReport]") -> Answer:
    rows = [
        {"night": one.day, "features": len(one.rows), "need_a_look": [row.feature for row in one.bad], "page": one.page}
        for one in kept
    ]

    def show(screen: Screen) -> None:
        cells = [
            (one.day, str(len(one.rows)), ", ".join(row.name for row in one.bad) or "none", one.page) for one in kept
        ]
        screen.table(("night", "features", "need a look", "page"), cells)

    return Answer(document={"nights": rows}, show=show)
