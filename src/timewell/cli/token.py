"""Verbs about the tokens that callers of the server show."""

from typing import TYPE_CHECKING, Annotated

import typer

from timewell.cli.screen import Screen
from timewell.cli.verb import Answer, Session, names_in, verb

if TYPE_CHECKING:
    from timewell.run.tokens import TokenRecord


@verb
def create(
    session: Session,
    scope: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help="What it permits: features.read, catalog.read or metrics.read."),
    ],
    group: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="NAME", help="Permit this feature group only; may be repeated."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DURATION", help="Let it end after this time, such as 90d.")
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Who or what it is for.")] = "",
) -> Answer:
    """Make a token for a caller of the server; it is shown this once and kept nowhere.

    Example: timewell token create --scope features.read --expires 90d --note "risk service"
    """
    from timewell.run.tokens import TokenOrder, create_token

    scopes, groups = tuple(names_in(scope)), tuple(names_in(group))
    order = TokenOrder(scopes=scopes, groups=groups, expires=expires, note=note)
    text, record = create_token(session.store.project, order)
    now_us = session.store.project.clock.now_us()

    def show(screen: Screen) -> None:
        screen.line(text)
        session.note(f"Keep it now: it cannot be shown again. To take it back: timewell token revoke {record.id}")

    return Answer(document={"token": text, **_row(record, now_us)}, show=show)


@verb
def list_tokens(session: Session) -> Answer:
    """List the tokens that were made, without their secrets.

    Example: timewell token list
    """
    from timewell.run.tokens import list_tokens

    now_us = session.store.project.clock.now_us()
    rows = [_row(record, now_us) for record in list_tokens(session.store.project)]

    def show(screen: Screen) -> None:
        columns = ("id", "state", "scopes", "groups", "expires_at", "note")
        screen.table(columns, [[row[name] for name in columns] for row in rows])

    return Answer(document={"tokens": rows}, show=show)


@verb
def revoke(
    session: Session, token_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as the list has it.")]
) -> Answer:
    """Take a token back; running servers refuse it within a second.

    Example: timewell token revoke 3f9c2a7b10e4d586
    """
    from timewell.run.tokens import revoke_token

    record = revoke_token(session.store.project, token_id)
    now_us = session.store.project.clock.now_us()
    return Answer(document=_row(record, now_us), show=lambda screen: screen.line(f"{record.id} revoked"))


def _row(record: "TokenRecord", now_us: int) -> dict[str, object]:
    from timewell.types import format_instant

    def instant(at_us: int | None) -> str | None:
        return None if at_us is None else format_instant(at_us)

    return {
        "id": record.id,
        "state": record.state(now_us),
        "scopes": list(record.scopes),
        "groups": None if record.groups is None else list(record.groups),
        "note": record.note,
        "created_by": record.created_by,
        "created_at": instant(record.created_at_us),
        "expires_at": instant(record.expires_at_us),
        "revoked_at": instant(record.revoked_at_us),
    }
