"""Which notifiers a message goes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from timewell.config.notify import AnyNotifier, LogNotifier
from timewell.watch.message import Message

LAST_RESORT: Final = LogNotifier(name="log")


def notifiers_of(configured: Sequence[AnyNotifier]) -> dict[str, AnyNotifier]:
    """Return the notifiers by name; the log is always there, for what nobody else takes."""
    return {LAST_RESORT.name: LAST_RESORT, **{notifier.name: notifier for notifier in configured}}


def route(message: Message, configured: Sequence[AnyNotifier]) -> tuple[str, ...]:
    """Return the names of the notifiers that a message goes to: if nobody wants it, the log gets it.

    Examples
    --------
    >>> message = Message(
    ...     id="1",
    ...     kind="warn",
    ...     severity="ticket",
    ...     key=("shop", "spend", "v1", "freshness"),
    ...     status="warn",
    ...     title="",
    ...     owners=("risk@company",),
    ...     at_us=0,
    ... )
    >>> pager, chat = LogNotifier(name="pager", severities=("page",)), LogNotifier(name="chat", owners=("risk@*",))
    >>> route(message, [pager, chat]), route(message, [pager])
    (('chat',), ('log',))
    """
    wanted = tuple(notifier.name for notifier in configured if _wants(notifier, message))
    return wanted or (LAST_RESORT.name,)


def _wants(notifier: AnyNotifier, message: Message) -> bool:
    _, group, _, rule = message.key
    return (
        (not notifier.severities or message.severity in notifier.severities)
        and _matches(notifier.owners, message.owners)
        and _matches(notifier.groups, [group])
        and _matches(notifier.rules, [rule])
    )


def _matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    wanted = list(patterns)
    return not wanted or any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in wanted)
