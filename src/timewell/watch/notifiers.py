"""How each kind of notifier sends one message.

Rule: a function returns once the receiver has the message, and raises ``DeliveryRefused`` where another try would end
alike, else ``DeliveryFailed``. No error holds an address, a header or a password in full.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from timewell import durable
from timewell.config.notify import (
    AnyNotifier,
    AppriseNotifier,
    CommandNotifier,
    EmailNotifier,
    FileNotifier,
    LogNotifier,
    WebhookNotifier,
)
from timewell.errors import DeliveryFailed, DeliveryRefused, MissingExtra
from timewell.types import SECOND_US, parse_duration

log = logging.getLogger("timewell.alerts")

_LEVELS: Final[Mapping[object, int]] = {"page": logging.ERROR, "ticket": logging.WARNING}
_QUIETLY: Final = frozenset({"resolved", "closed", "test"})

Document = Mapping[str, Any]


def send(notifier: AnyNotifier, document: Document, *, root: Path) -> None:
    """Send one message.

    Parameters
    ----------
    document
        As :meth:`timewell.watch.message.Message.document` makes it.
    root
        Where relative paths start.

    Raises
    ------
    DeliveryFailed, DeliveryRefused, AddressRefused, MissingExtra
    """
    _SENDERS[type(notifier)](notifier, document, root)


def receiver(notifier: AnyNotifier) -> str:
    """Name where a notifier sends to, without what may be secret.

    Examples
    --------
    >>> receiver(WebhookNotifier(name="chat", url="https://hooks.example/T0/secret"))
    'https://hooks.example'
    """
    if isinstance(notifier, WebhookNotifier):
        parts = urlsplit(notifier.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    if isinstance(notifier, EmailNotifier):
        return f"{notifier.host}:{notifier.port}"
    if isinstance(notifier, CommandNotifier):
        return notifier.command[0]
    if isinstance(notifier, FileNotifier):
        return notifier.path
    return log.name if isinstance(notifier, LogNotifier) else ", ".join(_scheme(url) for url in notifier.urls)


def _scheme(url: str) -> str:
    return f"{urlsplit(url).scheme or 'apprise'}://"


def _seconds(notifier: AnyNotifier) -> float:
    return parse_duration(notifier.timeout) / SECOND_US


def _log(_: LogNotifier, document: Document, __: Path) -> None:
    level = logging.INFO if document["kind"] in _QUIETLY else _LEVELS.get(document["severity"], logging.INFO)
    log.log(level, "%s", " | ".join(str(document["text"]).split("\n")), extra={"alert": document["id"]})


def _file(notifier: FileNotifier, document: Document, root: Path) -> None:
    try:
        durable.append_line(root / notifier.path, json.dumps(document, allow_nan=False).encode())
    except OSError as problem:
        raise DeliveryFailed(receiver=notifier.path, problem=problem.strerror or type(problem).__name__) from None


def _webhook(notifier: WebhookNotifier, document: Document, _: Path) -> None:
    from timewell.outbound import Post, post  # noqa: PLC0415  # loads an HTTP library that not every verb needs

    body = slack(document) if notifier.format == "slack" else document
    headers = {
        **notifier.headers,
        "Content-Type": "application/json",
        "User-Agent": "timewell",
        "Idempotency-Key": str(document["id"]),
    }
    order = Post(
        url=notifier.url,
        body=json.dumps(body, allow_nan=False).encode(),
        headers=headers,
        timeout_s=_seconds(notifier),
        allow=notifier.allow,
    )
    post(order)


def slack(document: Document) -> dict[str, object]:
    """Return a message in the form that Slack's incoming webhooks take; nothing in it can mention a channel."""
    title, *lines = (_escaped(line) for line in str(document["text"]).split("\n"))
    told = f"Timewell {_escaped(str(document['project']))} | {_escaped(str(document['id']))}"
    blocks: list[dict[str, object]] = [{"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"[:3_000]}}]
    if lines:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:3_000]}})
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": told[:3_000]}]})
    return {"text": title, "blocks": blocks}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _email(notifier: EmailNotifier, document: Document, _: Path) -> None:
    from timewell.watch.mail import send_mail  # noqa: PLC0415  # loads a mail library that few need

    send_mail(notifier, document, where=receiver(notifier), timeout_s=_seconds(notifier))


def _command(notifier: CommandNotifier, document: Document, root: Path) -> None:
    where, text = notifier.command[0], json.dumps(document, allow_nan=False).encode()
    try:
        ended = subprocess.run(  # noqa: S603  # the project's own settings name it, and no shell reads it
            notifier.command, input=text, cwd=root, timeout=_seconds(notifier), capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeliveryFailed(receiver=where, problem="it did not end in time and was killed") from None
    except OSError as problem:
        raise DeliveryRefused(receiver=where, problem=problem.strerror or type(problem).__name__) from None
    if ended.returncode:
        raise DeliveryFailed(receiver=where, problem=f"it ended with code {ended.returncode}")


def _apprise(notifier: AppriseNotifier, document: Document, _: Path) -> None:
    try:
        import apprise  # noqa: PLC0415  # an extra
    except ImportError:
        raise MissingExtra(what="a notifier of type apprise", package="apprise", extra="notify") from None
    sender = apprise.Apprise()
    if not all(sender.add(url) for url in notifier.urls):
        raise DeliveryRefused(receiver=receiver(notifier), problem="Apprise cannot read one of its addresses")
    title, body = (*str(document["text"]).split("\n", 1), "")[:2]
    if not sender.notify(title=title, body=f"{body}\nid: {document['id']}".strip()):
        raise DeliveryFailed(receiver=receiver(notifier), problem="Apprise says that it was not sent")


_SENDERS: Final[Mapping[type[AnyNotifier], Callable[[Any, Document, Path], None]]] = {
    LogNotifier: _log,
    FileNotifier: _file,
    WebhookNotifier: _webhook,
    EmailNotifier: _email,
    CommandNotifier: _command,
    AppriseNotifier: _apprise,
}
