"""Take one key out of plain data that was kept: examples that name it, and sentences that do.

Rule: figures over all entities stay; what is about one entity and names it goes as a whole, its values with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from timewell.stores.project import Project

WITHHELD = "withheld: it named a key that was forgotten"


def redact_reports(project: Project, groups: Sequence[str], key: Mapping[str, object]) -> int:
    """Take a key out of every validation of some groups' shadows; returns how many named it."""
    erasure, named = project.registry.erasure, _named(key)
    bodies: dict[str, Mapping[str, object]] = {}
    for group in groups:
        for record in erasure.reports(group):
            body = {name: _without(value, key, named) for name, value in record.body.items()}
            if body != dict(record.body):
                bodies[record.id] = body
    if bodies:
        erasure.replace_reports(bodies)
    return len(bodies)


def _named(key: Mapping[str, object]) -> re.Pattern[str]:
    """Match sentences that name the key: ``user_id 7`` and not ``user_id 70``; a text that is a key also by itself."""
    phrase = ", ".join(f"{name} {value!r}" for name, value in key.items())
    texts = [phrase, *(value for value in key.values() if isinstance(value, str) and len(key) == 1)]
    return re.compile("|".join(rf"(?<!\w){re.escape(text)}(?!\w)" for text in texts))


def _without(value: object, key: Mapping[str, object], named: re.Pattern[str]) -> object:
    if isinstance(value, str):
        return WITHHELD if named.search(value) else value
    if isinstance(value, Mapping):
        return {name: _without(part, key, named) for name, part in value.items()}
    if isinstance(value, Sequence):
        return [_without(part, key, named) for part in value if not _is_about(part, key)]
    return value


def _is_about(part: object, key: Mapping[str, object]) -> bool:
    entity = part.get("entity") if isinstance(part, Mapping) else None
    return isinstance(entity, Mapping) and dict(entity) == {name: str(value) for name, value in key.items()}
