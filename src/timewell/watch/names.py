"""How people name alerts: ``transactions@v1:freshness``, or less of it where all are meant."""

from __future__ import annotations

from collections.abc import Iterable

from timewell.catalog.lookup import load_catalog
from timewell.errors import UnknownAlert
from timewell.stores.project import Project
from timewell.watch.alerts import Key, key_text
from timewell.watch.keeping import known_in
from timewell.watch.rules import RULES, SOURCE_LATE

Target = tuple[str, str, str]


def alert_key(text: str, known: Iterable[Key]) -> Key:
    """Return the key of an alert that was evaluated before.

    Raises
    ------
    UnknownAlert
    """
    named = {key_text(key): key for key in known}
    if text not in named:
        raise UnknownAlert(asked=text, known=sorted(named))
    return named[text]


def silence_target(project: Project, text: str) -> Target:
    """Return group, version and rule of what shall be silenced: also of what was never evaluated, ahead of a planned pause.

    Raises
    ------
    UnknownAlert
    """
    known = known_in(project.registry.alerts.book()).states
    named = {key_text(key): key[1:] for key in known}
    catalog = load_catalog(project)
    subjects = {(group, version) for group, version in catalog.groups} | {(key[1], key[2]) for key in known if key[1]}
    rules = [rule for rule in RULES if rule != SOURCE_LATE]
    for group, version in sorted(subjects):
        for subject, of_version in ((group, ""), (f"{group}@{version}" if version else group, version)):
            named.setdefault(subject, (group, of_version, ""))
            for rule in rules:
                named.setdefault(f"{subject}:{rule}", (group, of_version, rule))
    for declared in RULES.values():
        if declared.owner == "operator":
            named.setdefault(declared.name, ("", "", declared.name))
    if text not in named:
        raise UnknownAlert(asked=text, known=sorted(named))
    return named[text]
