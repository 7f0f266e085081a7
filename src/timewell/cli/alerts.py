"""Verbs about alerts: what is open, who takes care of it, who wants to hear nothing, and whether notifiers work."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, verb
from timewell.errors import TimewellError
from timewell.types import format_instant

if TYPE_CHECKING:
    from timewell.stores.alerts import EventRecord
    from timewell.watch.listing import AlertRow

Key = Annotated[str, typer.Argument(metavar="KEY", help="Its key, as the list has it: transactions@v1:freshness.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="The alert's key, or GROUP@VERSION, or GROUP: for all rules and versions of it."
    ),
]


@verb
def list_alerts(
    session: Session,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only the history of this alert.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Show what happened instead, newest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Most lines of the history.")] = 50,
    everything: Annotated[bool, typer.Option("--all", help="Show also what is well.")] = False,
) -> Answer:
    """List the alerts that are not well; exit code 1 while one is open that nobody takes care of.

    Example: timewell alerts list --history
    """
    from timewell.watch.listing import OPEN, alert_history, list_alerts, waiting

    project = session.store.project
    if history or key is not None:
        return _history(alert_history(project, key, limit=limit))
    rows, left = list_alerts(project, everything=everything), waiting(project)
    document = {
        "alerts": [{**_document(row), "since": format_instant(row.since_us)} for row in rows],
        "waiting_messages": left.waiting,
        "dead_messages": left.dead,
        "last_error": left.error,
    }

    def show(screen: Screen) -> None:
        for row in rows:
            _show(screen, row)
        if not rows:
            screen.line("all is well" if not everything else "nothing was evaluated yet")
        if left.waiting or left.dead:
            screen.line(f"messages: {left.waiting:,} wait, {left.dead:,} were given up; last error: {left.error}")

    return Answer(document=document, show=show, exit_code=1 if any(row.status in OPEN for row in rows) else 0)


def _document(row: "AlertRow") -> dict[str, object]:
    return {
        "key": row.key,
        "status": row.status,
        "level": row.level,
        "value": row.value,
        "cause": row.cause,
        "owner": row.owner,
        "by": row.by,
        "flapping": row.flapping,
        "evaluated": format_instant(row.at_us),
    }


def _show(screen: Screen, row: "AlertRow") -> None:
    """Print an alert as a few short lines: a table of all that there is to say would not fit a terminal."""
    status = f"{row.status} (flapping)" if row.flapping else row.status
    value = "" if row.value is None else f"{row.value:.0%} of what is allowed, "
    screen.line(f"{status}: {row.key}")
    screen.line(f"    {value}since {format_instant(row.since_us)}")
    facts = [row.cause, f"owner {row.owner}" if row.owner else "", f"by {row.by}" if row.by else ""]
    if any(facts):
        screen.line(f"    {', '.join(filter(None, facts))}")


def _history(events: "list[EventRecord]") -> Answer:
    from timewell.watch.listing import event_key

    rows = [
        {"at": format_instant(event.at_us), "key": event_key(event), "what": event.kind, "detail": event.detail}
        for event in events
    ]

    def show(screen: Screen) -> None:
        details = [", ".join(f"{name} {value}" for name, value in event.detail.items() if value) for event in events]
        cells = [(row["at"], row["key"], row["what"], detail) for row, detail in zip(rows, details, strict=True)]
        screen.table(("at", "key", "what", "detail"), cells)

    return Answer(document={"history": rows}, show=show)


@verb
def watch(
    session: Session,
    tests: Annotated[
        bool, typer.Option("--tests", help="Run the tests of all features as well, which reads their sources.")
    ] = False,
) -> Answer:
    """Measure everything once, and tell those whom it concerns: for cron, where no refresher runs.

    Example: timewell watch --tests
    """
    from timewell.watch.alerts import key_text

    store = session.store
    try:
        tested = store.test() if tests else []
    except TimewellError:
        store.watch()  # a source that cannot be read must not keep people from hearing of the rest
        raise
    evaluation = store.watch(tested=tested)
    turns = [turn for turn in evaluation.outcome.turns if turn.notice is not None]
    told = [{"key": key_text(turn.after.key), "what": turn.notice.kind} for turn in turns if turn.notice]
    delivery = evaluation.delivery
    document = {
        "evaluated": len(evaluation.outcome.turns),
        "told": told,
        "sent": delivery.sent,
        "failed": delivery.failed,
    }

    def show(screen: Screen) -> None:
        screen.line(f"{len(evaluation.outcome.turns):,} alerts evaluated, {len(told):,} told of")
        for one in told:
            screen.line(f"{one['what']}: {one['key']}")

    return Answer(document=document, show=show)


@verb
def ack(
    session: Session,
    key: Key,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who takes care of it; you by default.")
    ] = None,
) -> Answer:
    """Say that you take care of an alert: it is not repeated until it gets worse.

    Example: timewell alerts ack transactions@v1:freshness
    """
    from timewell.watch.care import acknowledge

    state = acknowledge(session.store.project, key, by=by)
    who = state.acknowledged.by if state.acknowledged else ""
    return Answer(
        document={"key": key, "level": state.level, "by": who},
        show=lambda screen: screen.line(f"{key} is taken care of by {who}; it is told again only if it gets worse"),
    )


@verb
def silence(
    session: Session,
    key: Target,
    lasting: Annotated[str, typer.Option("--for", metavar="DURATION", help="For how long, such as 2h.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for those who ask later.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who wants it.")],
) -> Answer:
    """Say that nobody wants to hear of an alert for a while; what still holds then is told then.

    Example: timewell alerts silence transactions@v1 --for 2h --reason "source is moved" --by ana
    """
    from timewell.watch.care import silence

    made = silence(session.store.project, key, lasting=lasting, reason=reason, by=by)
    until = format_instant(made.expires_us)
    return Answer(
        document={"key": key, "until": until, "reason": reason, "by": by},
        show=lambda screen: screen.line(f"{key} is silenced until {until}"),
    )


@verb
def unsilence(session: Session, key: Target) -> Answer:
    """End the silences that were asked for under a key.

    Example: timewell alerts unsilence transactions@v1
    """
    from timewell.watch.care import end_silences

    ended = end_silences(session.store.project, key)
    return Answer(
        document={"key": key, "ended": len(ended)},
        show=lambda screen: screen.line(f"{key}: {len(ended)} silences ended" if ended else f"{key} was not silenced"),
    )


@verb
def notify_test(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A notifier; all by default.")] = None,
) -> Answer:
    """Send a test message to the notifiers of timewell.toml; exit code 1 if one does not take it.

    Example: timewell notify test pager
    """
    from timewell.watch.trial import try_notifiers

    trials = try_notifiers(session.store.project, name)

    def show(screen: Screen) -> None:
        rows = [(one.name, one.kind, one.receiver, one.problem or "took it") for one in trials]
        screen.table(("notifier", "type", "where", "outcome"), rows)
        for one in trials:
            if one.hint:
                screen.line(f"hint: {one.name}: {one.hint}")

    failed = any(one.problem for one in trials)
    return Answer(document={"sound": not failed, "notifiers": trials}, show=show, exit_code=1 if failed else 0)
