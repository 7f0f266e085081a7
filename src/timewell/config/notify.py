"""``[[notify]]`` and ``[alerts]``: who is told, of what, and how."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from timewell.errors import ConfigError, InvalidDuration, did_you_mean
from timewell.types import parse_duration

Severity = Literal["page", "ticket", "info"]
_Names = tuple[str, ...]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class AlertsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[alerts]``: what holds for all of them.

    Attributes
    ----------
    operator
        Who is told what belongs to no group, or to one without an owner.
    repeat
        How often an alert is repeated that nobody acknowledged.
    runbooks
        Where the runbooks' pages are, ``{page}`` for the one of an alert; without it, messages name the command that
        prints the runbook.
    reports
        Where the pages of nightly comparisons are, with ``{page}`` for the file; without it, messages name the file.
    skew_every
        How often what is served is compared with what training has, where it is sampled.
    """

    operator: str = ""
    repeat: str = "4h"
    runbooks: str = ""
    reports: str = ""
    skew_every: str = "1h"


class Notifier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every ``[[notify]]`` has.

    Attributes
    ----------
    name
        Unique; the type if it is left out.
    owners, groups, rules
        Only what is of these, as names or patterns such as ``risk-*``; all without any.
    severities
        Only these.
    timeout
        How long one try may take.
    """

    name: str = ""
    owners: _Names = ()
    groups: _Names = ()
    rules: _Names = ()
    severities: tuple[Severity, ...] = ()
    timeout: str = "10s"

    @property
    def kind(self) -> str:
        """The type, as ``timewell.toml`` has it."""
        return str(self.__struct_config__.tag)

    def __repr__(self) -> str:
        """Return the kind and the name alone: addresses and passwords are secrets."""
        return f"<{self.kind} notifier {self.name!r}>"


class LogNotifier(Notifier, frozen=True, kw_only=True, tag="log"):
    """Writes to the log ``timewell.alerts``."""


class FileNotifier(Notifier, frozen=True, kw_only=True, tag="file"):
    """Appends a line of JSON to a file; a relative path starts at the project's root."""

    path: _Text


class WebhookNotifier(Notifier, frozen=True, kw_only=True, tag="webhook"):
    """Posts JSON.

    Attributes
    ----------
    format
        ``slack``: what Slack and those who read its form take; ``plain``: the message with all its facts.
    headers
        Added to each request.
    allow
        Networks or addresses that are not public and may be called all the same.
    """

    url: _Text
    format: Literal["slack", "plain"] = "plain"
    headers: dict[str, str] = {}  # msgspec copies it
    allow: _Names = ()


class EmailNotifier(Notifier, frozen=True, kw_only=True, tag="email"):
    """Sends a mail."""

    host: _Text
    sender: _Text
    to: Annotated[_Names, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None


class CommandNotifier(Notifier, frozen=True, kw_only=True, tag="command"):
    """Runs a program, without a shell, with the message as JSON on its standard input."""

    command: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]


class AppriseNotifier(Notifier, frozen=True, kw_only=True, tag="apprise"):
    """Sends through Apprise; needs the extra ``notify``."""

    urls: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]


AnyNotifier = LogNotifier | FileNotifier | WebhookNotifier | EmailNotifier | CommandNotifier | AppriseNotifier

KINDS: Final[Mapping[str, type[AnyNotifier]]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (LogNotifier, FileNotifier, WebhookNotifier, EmailNotifier, CommandNotifier, AppriseNotifier)
}


def read_notifiers(tables: object, file: Path) -> tuple[AnyNotifier, ...]:
    """Read the ``[[notify]]`` tables of a file; an error names the table and the key.

    Raises
    ------
    ConfigError
    """
    if not isinstance(tables, Sequence) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(file=str(file), problem="notify: write each notifier as a table [[notify]]")
    found = [_read_one(table, f"notify[{place}]", file) for place, table in enumerate(tables)]
    for place, notifier in enumerate(found):
        if notifier.name in {other.name for other in found[:place]}:
            problem = f"notify[{place}].name: there are two notifiers called {notifier.name!r}"
            raise ConfigError(file=str(file), problem=problem, hint="Give each [[notify]] a name of its own.")
    return tuple(found)


def _read_one(table: Mapping[str, object], place: str, file: Path) -> AnyNotifier:
    kind = table.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        told = "there is no type" if kind is None else f"there is no notifier of type {kind!r}"
        near = did_you_mean(kind, KINDS) if isinstance(kind, str) else ""
        raise ConfigError(
            file=str(file), problem=f"{place}.type: {told}; types: {', '.join(KINDS)}", hint=near.strip() or None
        )
    struct = KINDS[kind]
    for key in table:
        if key not in {"type", *struct.__struct_fields__}:
            known = ["type", *struct.__struct_fields__]
            problem = f"{place}: there is no key {key!r} for a {kind} notifier; known keys: {', '.join(known)}"
            raise ConfigError(file=str(file), problem=problem, hint=did_you_mean(key, known).strip() or None)
    try:
        notifier = msgspec.convert(table, struct)
    except msgspec.ValidationError as problem:
        what, _, below = str(problem).partition(" - at `$")
        key = below.rstrip("`") or _missing(what)
        raise ConfigError(file=str(file), problem=f"{place}{key}: {what[:1].lower()}{what[1:]}") from None
    for key, wrong in _wrong(notifier):
        raise ConfigError(file=str(file), problem=f"{place}.{key}: {wrong}")
    return notifier if notifier.name else msgspec.structs.replace(notifier, name=kind)


def _missing(what: str) -> str:
    """Return the key that msgspec says is missing: it names none as the place."""
    quoted = what.split("`")
    return f".{quoted[1]}" if len(quoted) > 1 else ""


def _wrong(notifier: AnyNotifier) -> Sequence[tuple[str, str]]:
    """Return what is wrong beyond types, as (key, problem)."""
    try:
        parse_duration(notifier.timeout)
    except InvalidDuration as problem:
        return [("timeout", str(problem).rstrip("."))]
    if not isinstance(notifier, WebhookNotifier):
        return []
    for place, network in enumerate(notifier.allow):
        try:
            ipaddress.ip_network(network)
        except ValueError as problem:
            return [(f"allow[{place}]", f"{problem}; write addresses or networks such as 10.1.0.0/16")]
    return _wrong_url(notifier.url)


def _wrong_url(url: str) -> list[tuple[str, str]]:
    """Say what is wrong with an address, without showing it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        scheme, host, _ = parts.scheme, parts.hostname, parts.port
    except ValueError:
        return [("url", "it cannot be read as an address")]
    if scheme not in {"http", "https"} or not host:
        return [("url", "it must begin with https:// or http:// and a host")]
    if parts.username is not None or parts.password is not None:
        return [("url", "it must hold no user name or password: use headers = { Authorization = ... }")]
    return []
