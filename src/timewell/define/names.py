"""What a name and a version label may look like; without pydantic, so that a transform costs little to import."""

from __future__ import annotations

import re

from timewell.errors import InvalidName

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
RESERVED_PREFIX = "__"


def check_name(name: str) -> str:
    """Return a name of ours unchanged, or raise ``InvalidName``."""
    if not NAME.fullmatch(name) or name.startswith(RESERVED_PREFIX):
        raise InvalidName(name=name)
    return name


def check_source_name(name: str) -> str:
    """Return a source name (up to three names joined by dots) unchanged, or raise ``InvalidName``."""
    parts = name.split(".")
    if len(parts) > 3:
        raise InvalidName(name=name, hint="A source name has at most three parts: catalog.schema.table.")
    for part in parts:
        check_name(part)
    return name


def check_version(version: str) -> str:
    """Return a version label such as ``v1`` unchanged, or raise ``InvalidName``."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,31}", version):
        raise InvalidName(name=version, hint="A version is a short label such as v1.")
    return version
