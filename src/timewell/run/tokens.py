"""Tokens that callers of the server show: made, listed, taken back, checked.

Rule: a token is shown once and never kept. What is kept, one small file for each below the state, is the SHA-256 of its
256 random bits: nobody can make the token from it.

They are files and not rows of the registry, because the server must be able to refuse a caller while the registry's
database cannot be reached, and because each file is written whole by itself: no two commands can undo each other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from timewell import chance, durable
from timewell.catalog.lookup import load_catalog
from timewell.errors import UnknownGroup, UnknownToken, UsageError
from timewell.stores.project import Project
from timewell.types import parse_duration

log = logging.getLogger("timewell.tokens")

Scope = Literal["features.read", "catalog.read", "metrics.read"]
SCOPES: Final[tuple[Scope, ...]] = ("features.read", "catalog.read", "metrics.read")
FOLDER: Final = "tokens"
_LOOK_AGAIN_S: Final = 0.5
_TEXT: Final = re.compile(r"tw_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token.

    Attributes
    ----------
    id
        Names the token; it is part of it and no secret.
    digest
        SHA-256 of its secret part (hex).
    scopes
        What it permits.
    groups
        The only feature groups it permits; ``None`` for all.
    note
        Who or what it was made for.
    created_by
        Who made it.
    """

    id: str
    digest: str
    scopes: tuple[Scope, ...]
    groups: tuple[str, ...] | None
    note: str
    created_by: str
    created_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None

    def state(self, now_us: int) -> Literal["valid", "expired", "revoked"]:
        """Say whether it lets anyone in at an instant; at its expiry it no longer does."""
        if self.revoked_at_us is not None:
            return "revoked"
        return "expired" if self.expires_at_us is not None and now_us >= self.expires_at_us else "valid"


class TokenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a new token shall permit, and for how long (a duration; ``None``: until it is taken back)."""

    scopes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    expires: str | None = None
    note: str = ""


def create_token(project: Project, order: TokenOrder) -> tuple[str, TokenRecord]:
    """Make a token; returns its text, which cannot be had again, and what is kept of it.

    Raises
    ------
    UsageError, UnknownGroup, InvalidDuration
    """
    scopes = _checked_scopes(order.scopes)
    _check_groups(project, order.groups)
    now_us = project.clock.now_us()
    secret = base64.urlsafe_b64encode(chance.new_secret()).rstrip(b"=").decode()
    record = TokenRecord(
        id=chance.new_id(),
        digest=_digest(secret),
        scopes=scopes,
        groups=order.groups or None,
        note=order.note,
        created_by=project.actor,
        created_at_us=now_us,
        expires_at_us=None if order.expires is None else now_us + parse_duration(order.expires),
    )
    # in the log first: a line about a token that was never made harms nobody, one that nobody knows of does
    _note(project, "create token", record)
    durable.write_bytes_once(_file(project, record.id), msgspec.json.encode(record))
    return f"tw_{record.id}_{secret}", record


def list_tokens(project: Project) -> list[TokenRecord]:
    """Return what is kept of every token, oldest first."""
    return sorted(_read_all(project.state / FOLDER), key=lambda record: (record.created_at_us, record.id))


def revoke_token(project: Project, token_id: str) -> TokenRecord:
    """Take a token back: servers refuse it within a second. Taking it back again changes nothing.

    Raises
    ------
    UnknownToken
    """
    known = {record.id: record for record in list_tokens(project)}
    if token_id not in known:
        raise UnknownToken(asked=token_id, known=sorted(known))
    record = known[token_id]
    if record.revoked_at_us is None:
        record = msgspec.structs.replace(record, revoked_at_us=project.clock.now_us())
        durable.write_bytes(_file(project, record.id), msgspec.json.encode(record))
        _note(project, "revoke token", record)
    return record


class TokenBook:
    """Says what a token permits; reads the files twice a second at most, and when it meets a token made since.

    Parameters
    ----------
    project
        The project whose tokens count.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._folder = project.state / FOLDER
        self._records: dict[str, TokenRecord] = {}
        self._looked_s = float("-inf")
        self._changed_ns = -1

    def find(self, text: str) -> TokenRecord | None:
        """Return what is kept of a token that is valid now, else ``None``."""
        parts = _TEXT.fullmatch(text)
        if parts is None:
            return None
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_AGAIN_S or (parts[1] not in self._records and self._is_changed()):
            self._changed_ns = _changed_ns(self._folder)
            self._records = {record.id: record for record in _read_all(self._folder)}
            self._looked_s = now_s
        record = self._records.get(parts[1])
        digest = _digest(parts[2])
        if record is None or not hmac.compare_digest(digest, record.digest):
            return None
        return record if record.state(self._project.clock.now_us()) == "valid" else None

    def _is_changed(self) -> bool:
        return _changed_ns(self._folder) != self._changed_ns


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:  # no token was ever made
        return -1


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checked_scopes(asked: Iterable[str]) -> tuple[Scope, ...]:
    scopes = tuple(dict.fromkeys(asked))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        problem = f"there is no scope {unknown[0]!r}" if unknown else "a token without a scope permits nothing"
        raise UsageError(problem=problem, hint=f"Scopes are: {', '.join(SCOPES)}.")
    return tuple(scope for scope in SCOPES if scope in scopes)


def _check_groups(project: Project, groups: Iterable[str]) -> None:
    """Refuse a group that is not registered: a misspelled one would permit nothing, and nobody would know why."""
    known = {name for name, _ in load_catalog(project).groups}
    for group in groups:
        if group not in known:
            raise UnknownGroup(asked=group, known=sorted(known))


def _file(project: Project, token_id: str) -> Path:
    return project.state / FOLDER / f"{token_id}.json"


def _read_all(folder: Path) -> list[TokenRecord]:
    """Read every file; a damaged one lets nobody in."""
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            record = msgspec.json.decode(path.read_bytes(), type=TokenRecord)
        except (OSError, msgspec.MsgspecError) as problem:
            log.warning("the token in %s cannot be read and is refused (%s)", path.name, type(problem).__name__)
            continue
        if record.id == path.stem:
            found.append(record)
    return found


def _note(project: Project, action: str, record: TokenRecord) -> None:
    detail = {"scopes": list(record.scopes), "groups": list(record.groups or ()), "note": record.note}
    project.registry.note(action, record.id, detail, actor=project.actor, at_us=project.clock.now_us())
