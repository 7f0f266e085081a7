"""``timewell.toml``: where a project's parts are and how they behave, with profiles and secrets by reference."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from timewell.errors import ConfigError, ProjectNotFound, did_you_mean

FILE = "timewell.toml"
PROFILE_ENVIRONMENT = "TIMEWELL_PROFILE"
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

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
    threads: int | None = None


class OnlineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[online]``: the online store."""

    backend: str = "lmdb"


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[registry]``: the database of definitions, pointers and ledgers; a SQLite file in the state by default."""

    url: str | None = None


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: the HTTP server."""

    host: str = "127.0.0.1"
    port: int = 6570
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")


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
    """

    project: str = "project"
    definitions: str = "features"
    state: str = ".timewell"
    assume_timezone: str | None = None
    require_owner: bool = True
    warn_share: float = 0.8
    engine: EngineConfig = EngineConfig()
    online: OnlineConfig = OnlineConfig()
    registry: RegistryConfig = RegistryConfig()
    server: ServerConfig = ServerConfig()


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
    chosen = profile or os.environ.get(PROFILE_ENVIRONMENT)
    if chosen:
        if chosen not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            text = f"there is no [profile.{chosen}]; it has: {known}.{did_you_mean(chosen, profiles)}"
            raise ConfigError(file=str(file), problem=text)
        content = _merged(content, profiles[chosen])
    try:
        return msgspec.convert(_resolved(content, root), Config)
    except msgspec.ValidationError as problem:
        raise ConfigError(file=str(file), problem=str(problem)) from None


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
            raise ConfigError(file=FILE, problem=f"{value}: {problem.strerror}") from None
    return _REFERENCE.sub(_environment, value)


def _environment(found: re.Match[str]) -> str:
    if found[1] not in os.environ:
        raise ConfigError(file=FILE, problem=f"the environment variable {found[1]} is not set")
    return os.environ[found[1]]
