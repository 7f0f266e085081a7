"""``timewell.toml``: where a project's parts are and how they behave, with profiles and secrets by reference."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from timewell.config.notify import AlertsConfig, AnyNotifier, read_notifiers
from timewell.config.refresher import DURATIONS as REFRESHER_DURATIONS
from timewell.config.refresher import RefresherConfig
from timewell.errors import ConfigError, InvalidDuration, InvalidInstant, ProjectNotFound, did_you_mean
from timewell.types import parse_duration, zone

FILE = "timewell.toml"
PROFILE_ENVIRONMENT = "TIMEWELL_PROFILE"
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

DURATIONS = (
    ("alerts", "repeat"),
    ("alerts", "skew_every"),
    ("online", "timeout"),
    ("retention", "rollback_window"),
    ("retention", "snapshots"),
    ("serving", "sample_retention"),
    ("serving", "timeout"),
    ("serving", "cache_age"),
    ("server", "drain"),
    ("serving", "computed_wait"),
    *REFRESHER_DURATIONS,
)

TEMPLATE = """\
# A Timewell project. Every key: docs/reference/configuration.md
project = "{name}"

# Timestamps without a time zone are read in this one; remove the line to refuse them.
assume_timezone = "UTC"
"""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[engine]``: the offline engine and how much of the machine it may use."""

    backend: str = "duckdb"
    memory_limit: str | None = None
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None


class OnlineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[online]``: the online store; what is ``None`` is the back end's own default.

    Attributes
    ----------
    url
        Where a server is, for a back end that has one.
    prefix
        What every name in a shared server begins with; the project's name if it is ``None``.
    timeout
        How long a read may take for which the caller sets no limit.
    """

    backend: str = "lmdb"
    url: str | None = None
    prefix: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    timeout: str | None = None


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[registry]``: the database of definitions, pointers and ledgers; a SQLite file in the state by default."""

    url: str | None = None


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: the HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 6570
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    require_token: bool = False
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    drain: str = "1s"


class ServingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[serving]``: how online requests are answered and watched.

    The first five are about a store across a connection; an embedded one needs none of them.

    Attributes
    ----------
    timeout
        How long a request waits for the online store before it is answered without it.
    on_unavailable
        ``default`` answers from what was read before, else with defaults, and says so; ``error`` refuses.
    coalesce
        Concurrent reads share a round trip.
    cache_entries, cache_age
        Rows kept of each build, and for how long they answer without a look at the store.
    availability
        Share of the requests that are to be answered; what is left below it is the error budget.
    most_degraded
        Share of the answers in which a group's values may be fallbacks before somebody is told.
    sample_rate, sample_by
        Share of what is served that is kept to be compared later: always of the same entities, or of any request.
    sample_most
        About so many vectors a second each process keeps at most.
    sample_retention
        How long samples are kept.
    spans
        Make an OpenTelemetry span of each request.
    hot_bytes
        Memory for the rows of groups with ``hot`` features, in each serving process.
    computed_wait
        How long a read that computes waits for others to leave the engine.
    """

    timeout: str = "50ms"
    on_unavailable: Literal["default", "error"] = "default"
    coalesce: bool = True
    cache_entries: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    cache_age: str = "200ms"
    availability: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.999
    most_degraded: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.01
    sample_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    sample_by: Literal["entity", "request"] = "entity"
    sample_most: Annotated[int, msgspec.Meta(ge=1)] = 100
    sample_retention: str = "7d"
    spans: bool = False
    hot_bytes: str = "256MB"
    computed_wait: str = "1s"


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[retention]``: how long what is no longer live is kept.

    Attributes
    ----------
    rollback_window
        How long after a promote the version before keeps being refreshed, so that a rollback serves fresh values.
    snapshots
        How long replaced files of offline tables and online builds are kept.
    """

    rollback_window: str = "7d"
    snapshots: str = "30d"


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one project under one profile.

    Attributes
    ----------
    definitions, state
        Directories below the project's root: definition files; everything Timewell writes.
    assume_timezone
        IANA zone of timestamps that carry none; ``None`` refuses them.
    require_owner
        Refuse to register a group whose features have no owner.
    warn_share
        Share of an SLA from which a freshness warning is given.
    notify
        Who is told of alerts; the log alone if there is none.
    """

    project: str = "project"
    definitions: str = "features"
    state: str = ".timewell"
    assume_timezone: str | None = None
    require_owner: bool = True
    warn_share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    notify: tuple[AnyNotifier, ...] = ()
    engine: EngineConfig = EngineConfig()
    online: OnlineConfig = OnlineConfig()
    registry: RegistryConfig = RegistryConfig()
    server: ServerConfig = ServerConfig()
    serving: ServingConfig = ServingConfig()
    retention: RetentionConfig = RetentionConfig()
    alerts: AlertsConfig = AlertsConfig()
    refresher: RefresherConfig = RefresherConfig()


def find_root(start: Path) -> Path:
    """Return the nearest directory at or above ``start`` that holds a ``timewell.toml``."""
    for directory in (start, *start.parents):
        if (directory / FILE).is_file():
            return directory
    raise ProjectNotFound(path=str(start))


def read_config(root: Path, profile: str | None = None) -> Config:
    """Read a project's settings.

    Parameters
    ----------
    root
        Directory that holds ``timewell.toml``.
    profile
        Name of a ``[profile.NAME]`` table laid over the rest; ``$TIMEWELL_PROFILE`` when omitted.

    Raises
    ------
    ConfigError
        The file cannot be read, or a key, a type, a profile or a secret's reference is wrong.
    """
    file = root / FILE
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(file=str(file), problem=str(error)) from None
    profiles = content.pop("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        hint = f"Write a table [profile.NAME]; choose it with --profile NAME or ${PROFILE_ENVIRONMENT}."
        raise ConfigError(file=str(file), problem="profile: a profile is a table of settings", hint=hint)
    chosen = profile or os.environ.get(PROFILE_ENVIRONMENT)
    if chosen:
        if chosen not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            hint = f"Add a table [profile.{chosen}] to it, or choose one that it has; see also ${PROFILE_ENVIRONMENT}."
            raise ConfigError(
                file=str(file),
                problem=f"there is no profile {chosen!r}; it has: {known}",
                hint=hint + did_you_mean(chosen, profiles),
            )
        content = _merged(content, profiles[chosen])
    resolved = {name: _resolved(below, root) for name, below in content.items()}
    notifiers = read_notifiers(resolved.pop("notify", []), file)  # by itself: its errors name table and key
    try:
        config = msgspec.structs.replace(msgspec.convert(resolved, Config), notify=notifiers)
        if config.assume_timezone is not None:
            zone(config.assume_timezone)
    except msgspec.ValidationError as problem:
        raise ConfigError(file=str(file), problem=_explained(str(problem))) from None
    except InvalidInstant as problem:
        raise ConfigError(file=str(file), problem=f"assume_timezone: {problem}", hint=problem.hint) from None
    _refuse_wrong_durations(config, file)
    state = (root / config.state).resolve()
    for own in (root.resolve(), (root / config.definitions).resolve()):
        if own.is_relative_to(state):  # `timewell reset` deletes the state directory
            hint = 'Give the state a directory of its own, such as state = ".timewell".'
            raise ConfigError(file=str(file), problem=f"state: {state} would hold the project's own files", hint=hint)
    return config


def _refuse_wrong_durations(config: Config, file: Path) -> None:
    for table, name in DURATIONS:
        text = getattr(getattr(config, table), name)
        try:
            if text is not None:
                parse_duration(text)
        except InvalidDuration as problem:
            raise ConfigError(file=str(file), problem=f"{table}.{name}: {problem}", hint=problem.hint) from None


def _explained(problem: str) -> str:
    """Say in a person's words, with the key's place, what msgspec found wrong."""
    found = _PLACE.fullmatch(problem)
    what, place = (found["what"], found["place"] or "") if found else (problem, "")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown is None:
        return f"{place}: {what[:1].lower()}{what[1:]}"
    table: type[msgspec.Struct] = Config
    for part in filter(None, place.split(".")):
        table = msgspec.structs.fields(table)[table.__struct_fields__.index(part)].type
    known = [*table.__struct_fields__, *(["profile"] if table is Config else [])]
    inside = f" in [{place}]" if place else ""
    return f"there is no key {unknown[1]!r}{inside}; known keys: {', '.join(known)}.{did_you_mean(unknown[1], known)}"


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def _resolved(value: object, root: Path) -> object:
    """Replace ``${env:NAME}`` and ``file:PATH`` by what they refer to."""
    if isinstance(value, Mapping):
        return {name: _resolved(below, root) for name, below in value.items()}
    if isinstance(value, list):
        return [_resolved(below, root) for below in value]
    if not isinstance(value, str):
        return value
    if value.startswith("file:"):
        try:
            return (root / value[5:]).read_text(encoding="utf-8").strip()
        except OSError as problem:
            hint = "A file: reference is a path, relative to the project's root, of a file that you can read."
            raise ConfigError(file=FILE, problem=f"{value}: {problem.strerror}", hint=hint) from None
    return _REFERENCE.sub(_environment, value)


def _environment(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        hint = f"Set it: export {found[1]}=..."
        raise ConfigError(file=FILE, problem=f"the environment variable {found[1]} is not set", hint=hint)
    return os.environ[found[1]]
