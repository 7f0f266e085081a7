"""The verbs that hold what was served against what it should have been: many sampled vectors, or one value explained."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.keys import parse_key
from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.watch.replay_report import ReplayReport
    from timewell.watch.why_report import Why


@verb
def replay(
    session: Session,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DURATION", help="Look back so far from now; all samples by default."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features", metavar="NAMES", help="Features or groups, joined by commas; name@v1 for one version alone."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="COUNT", help="At most this many vectors, drawn evenly; 0 for all.")
    ] = 10_000,
) -> Answer:
    """Recompute sampled served vectors as of their builds; exit code 1 if a value differs. Tells the cause of each.

    Example: timewell replay --since 24h --features order_amount_7d
    """
    asked = names_in(features) or None
    with session.progress() as progress:
        report = session.store.replay(asked, since=since, limit=limit or None, progress=progress)
    return Answer(
        document=report.to_dict(), show=lambda screen: _show_replay(screen, report), exit_code=0 if report.ok else 1
    )


def _show_replay(screen: Screen, report: "ReplayReport") -> None:
    from timewell.watch.replay_report import COLUMNS, SHOWN, cells

    screen.line(report.verdict())
    if report.replayed:
        screen.line(f"served in [{format_instant(report.start_us)}, {format_instant(report.end_us)})")
        screen.line()
        screen.table(COLUMNS, [cells(one) for one in report.features])
    for ref, reason in report.skipped.items():
        screen.line(f"{ref}: not replayed, {reason}")
    if report.mismatches:
        screen.line()
        for one in report.mismatches[:SHOWN]:
            screen.line(str(one))


@verb
def why(
    session: Session,
    feature: Annotated[str, typer.Argument(metavar="FEATURE", help="A feature, with @version if not the live one.")],
    entity: Annotated[
        str, typer.Argument(metavar="ENTITY", help="Its join keys, such as user_id=7; or the key alone.")
    ],
    *,
    at: Annotated[
        str | None, typer.Option("--at", metavar="INSTANT", help="Explain the value of this instant; now by default.")
    ] = None,
) -> Answer:
    """Explain one value: which rows count and why others do not, what is served; exit code 1 if that is wrong.

    Example: timewell why order_amount_7d user_id=7 --at 2026-03-01T12:00:00Z
    """
    store = session.store
    found = store.catalog().resolve(feature).group
    names = found.compiled.entity.key_names
    text = entity if "=" in entity or len(names) > 1 or entity.lstrip().startswith("{") else f"{names[0]}={entity}"
    told = store.why(feature, parse_key(text, dict(zip(names, found.key_types, strict=True))), at)
    return Answer(document=told.to_dict(), show=lambda screen: _show_why(screen, told), exit_code=0 if told.ok else 1)


def _show_why(screen: Screen, told: "Why") -> None:
    from timewell.watch.why_report import ROW_COLUMNS, row_cells

    screen.line(told.title())
    screen.facts(told.facts())
    if told.offline.considered.rows:
        screen.line()
        screen.table(ROW_COLUMNS, [row_cells(row) for row in told.offline.considered.rows])
