"""The verbs that hold what was served against what it should have been: many sampled vectors, or one value explained."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.keys import parse_key
from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb
from timewell.errors import UsageError
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.watch.replay_report import ReplayReport
    from timewell.watch.why_on_demand import WhyOnDemand
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
    request: Annotated[
        list[str] | None,
        typer.Option(
            "--request", metavar="NAME=VALUE", help="A value that comes with the request; once for each, JSON or text."
        ),
    ] = None,
) -> Answer:
    """Explain one value: which rows count and why others do not, what is served; exit code 1 if that is wrong.

    Example: timewell why order_amount_7d user_id=7 --at 2026-03-01T12:00:00Z
    """
    from timewell.watch.why import key_types

    types = key_types(session.store.catalog(), feature)
    alone = len(types) == 1 and "=" not in entity and not entity.lstrip().startswith("{")
    key = parse_key(f"{next(iter(types))}={entity}" if alone else entity, types)
    told = session.store.why(feature, key, at, request=dict(map(_given, request or ())))
    return Answer(document=told.to_dict(), show=lambda screen: _show_why(screen, told), exit_code=0 if told.ok else 1)


def _given(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        problem = f"{text!r} is not of the form name=value."
        raise UsageError(problem=problem, hint="Write --request country=US, once for each value.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show_why(screen: Screen, told: "Why | WhyOnDemand") -> None:
    from timewell.watch.why_on_demand import WhyOnDemand
    from timewell.watch.why_report import ROW_COLUMNS, row_cells

    screen.line(told.title())
    screen.facts(told.facts())
    if isinstance(told, WhyOnDemand):
        for one in told.inputs:
            if one.why is not None:
                screen.line()
                _show_why(screen, one.why)
    elif told.offline.considered.rows:
        screen.line()
        screen.table(ROW_COLUMNS, [row_cells(row) for row in told.offline.considered.rows])
