"""Verbs to practice with: the mini project step by step, and drills of what goes wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timewell.practice.card import Card


@verb
def walkthrough(
    session: Session,
    steps: Annotated[
        list[int] | None,
        typer.Option("--step", metavar="NUMBER", min=1, max=5, help="Only this step; may be given several times."),
    ] = None,
) -> Answer:
    """Walk through the mini project of `init --template risk` and check each step; exit code 1 if one fails.

    Example: timewell walkthrough
    """
    from timewell.practice.walkthrough import walkthrough as walk

    def told(number: int, count: int, title: str) -> None:
        session.note(f"step {number} of {count}: {title}")

    done = walk(session.store, told, only=steps or ())

    def show(screen: Screen) -> None:
        show_cards(screen, done.steps)
        failed = [card for card in done.steps if not card.passed]
        named = ", ".join(card.title.partition(".")[0] for card in failed)
        screen.line(f"failed: step {named}" if failed else f"all {len(done.steps)} steps passed")

    return Answer(
        document={"passed": done.passed, "steps": plain_cards(done.steps)}, show=show, exit_code=0 if done.passed else 1
    )


@verb
def drill(
    session: Session,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="What goes wrong: stale-source, late-data, schema-change, null-flood, slow-store, skew, dead-refresher, half-backfill; or all.",
        ),
    ],
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without-rule", metavar="RULE", help="Switch this alert's rule off: the drill has to fail then."
        ),
    ] = None,
) -> Answer:
    """Let something go wrong in a copy of the sample project, and check that it is told, mended and over; exit code 1 if not.

    Example: timewell drill stale-source
    """
    from timewell.practice.drill import run_drills

    def told(number: int, count: int, title: str) -> None:
        session.note(f"drill {number} of {count}: {title}")

    cards = run_drills(names_in(names), without=without or (), told=told)
    passed = [card for card in cards if card.passed]

    def show(screen: Screen) -> None:
        show_cards(screen, cards)
        screen.line(f"{len(passed)} of {len(cards)} drills passed")

    document = {
        "passed": len(passed) == len(cards),
        "score": f"{len(passed)}/{len(cards)}",
        "drills": plain_cards(cards),
    }
    return Answer(document=document, show=show, exit_code=0 if len(passed) == len(cards) else 1)


def show_cards(screen: Screen, cards: "Sequence[Card]") -> None:
    """Print cards for people: what was looked at below what it belongs to."""
    for card in cards:
        screen.line(f"{'PASS' if card.passed else 'FAIL'}  {card.title}  ({card.took_s:.1f} s)")
        for check in card.checks:
            screen.line(f"      {'ok    ' if check.passed else 'FAILED'} {check.what}")
            if check.found:
                screen.line(f"             {check.found}")


def plain_cards(cards: "Sequence[Card]") -> list[dict[str, object]]:
    """Return cards as a document has them."""
    return [
        {"title": card.title, "passed": card.passed, "took_s": card.took_s, "checks": card.checks} for card in cards
    ]
