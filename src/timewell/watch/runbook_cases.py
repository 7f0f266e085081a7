"""What runbooks there can be in a project: one for each rule of each group, source, and the project as a whole.

Rule: cases are made from definitions alone, so that pages do not change while nothing is changed; what holds now is added by
:mod:`timewell.watch.runbook_now`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from timewell.catalog.lookup import Catalog, RegisteredGroup, load_catalog
from timewell.config.notify import AlertsConfig
from timewell.define.compiled import CompiledFeature
from timewell.define.source import Source
from timewell.errors import TimewellError, UnknownFeature, UnknownGroup, UnknownRunbook
from timewell.serve.budgets import strictest
from timewell.stores.project import Project
from timewell.types import format_duration
from timewell.watch.alerts import Key, key_text
from timewell.watch.keeping import known_in
from timewell.watch.rules import RULES, SOURCE_LATE, rule_named
from timewell.watch.runbook import UNREAD, Case, Fact

LISTED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All that cases are made from."""

    project: str
    settings: AlertsConfig
    catalog: Catalog


def open_book(project: Project) -> Book:
    """Read what cases are made from."""
    return Book(project=project.config.project, settings=project.config.alerts, catalog=load_catalog(project))


def every_case(book: Book) -> list[Case]:
    """Return all that may need a runbook: groups, then sources, then the project."""
    groups = book.catalog.every_live_group()
    found = [case for group in groups for case in group_cases(book, group)]
    sources = {group.compiled.source.name for group in groups if _promised(group)}
    found += [source_case(book, name) for name in sorted(sources)]
    return [*found, *(operator_case(book, rule.name) for rule in RULES.values() if rule.owner == "operator")]


def find_cases(project: Project, asked: str) -> list[Case]:
    """Return the cases that a person means: an alert's key; a group or feature, for all rules that hold for it; a rule.

    Raises
    ------
    UnknownRunbook
    """
    book = open_book(project)
    keys = {key_text(key): key for key in known_in(project.registry.alerts.book()).states}
    subject, _, rule = asked.rpartition(":")
    if asked in keys:
        return [case_of(book, keys[asked])]
    if subject and rule == SOURCE_LATE and subject in book.catalog.sources:
        return [source_case(book, subject)]
    if subject and rule in RULES:
        return [group_case(book, group, rule) for group in _groups(book, subject, asked)]
    if not subject and asked in RULES and RULES[asked].owner == "operator":
        return [operator_case(book, asked)]
    return [case for group in _groups(book, asked, asked) for case in group_cases(book, group)]


def unread_case(asked: str, problem: TimewellError) -> Case | None:
    """Return the case of an alert's key where the project cannot be read at all; ``None`` if it is not plainly one.

    Examples
    --------
    >>> case = unread_case("spend@v1:freshness", TimewellError(problem="The registry is damaged"))
    >>> case.key[1:], case.now
    (('spend', 'v1', 'freshness'), (('cannot be found out', 'The registry is damaged.'),))
    """
    subject, _, rule = asked.rpartition(":")
    if rule not in RULES:
        return None
    group, _, version = subject.partition("@")
    source = subject if rule == SOURCE_LATE else ""
    groups = () if source or not subject else (group,)
    return Case(key=("", group, version, rule), groups=groups, source=source, now=((UNREAD, str(problem)),))


def case_of(book: Book, key: Key) -> Case:
    """Return the case of an alert, whatever became of what it is about."""
    _, group, version, rule = key
    if rule == SOURCE_LATE and group in book.catalog.sources:
        return source_case(book, group)
    registered = book.catalog.groups.get((group, version))
    if registered is not None:
        return group_case(book, registered, rule)
    operator = {"operator": book.settings.operator}
    return Case(key=key, groups=(group,) if group else (), call=operator)


def _groups(book: Book, subject: str, asked: str) -> list[RegisteredGroup]:
    try:
        return [book.catalog.group_of(subject)]
    except (UnknownFeature, UnknownGroup):
        names = [*book.catalog.epochs.live, *book.catalog.feature_names(), *_keys(book)]
        raise UnknownRunbook(asked=asked, known=sorted(set(names))) from None


def _keys(book: Book) -> Iterator[str]:
    for case in every_case(book):
        yield key_text(case.key)


def group_cases(book: Book, group: RegisteredGroup) -> list[Case]:
    """Return a case for each rule that can hold for a group, in the order of the rules."""
    features = group.compiled.every_feature
    promised = {
        "freshness": _promised(group),
        "latency": bool(strictest(_asked(features))),
        "degraded": any(feature.online for feature in features),
        "skew": any(feature.online for feature in features),
        "quality": any(feature.tests or feature.contract for feature in features),
    }
    rules = [rule.name for rule in RULES.values() if rule.owner == "group" and rule.name != SOURCE_LATE]
    has_rows = bool(group.compiled.features)  # else nothing is built that could be late
    return [group_case(book, group, rule) for rule in rules if promised.get(rule, has_rows)]


def group_case(book: Book, group: RegisteredGroup, rule: str) -> Case:
    """Return the case of a rule about a group."""
    compiled = group.compiled
    is_live = book.catalog.epochs.live.get(compiled.name) == compiled.version
    features = compiled.features
    has = {"online"} if compiled.online_features else set()
    has |= {"offline"} if any(not feature.online for feature in features) else set()
    return Case(
        key=(book.project, compiled.name, compiled.version, rule),
        groups=(compiled.name if is_live else compiled.ref,),
        source=compiled.source.name,
        has=frozenset(has),
        call=_called(book, compiled.source, [group], rule),
        facts=tuple(_group_facts(book, group, rule)),
    )


def source_case(book: Book, name: str) -> Case:
    """Return the case of a source that is late."""
    source = book.catalog.sources[name]
    readers = [group for group in book.catalog.live_groups() if group.compiled.source.name == name]
    waiting = [group for group in readers if _promised(group)] or readers
    waits = [f"{group.compiled.ref} ({_joined(_owners(group)) or 'no owner'})" for group in waiting]
    facts = [*_source_facts(source), ("waiting for it", _joined(waits))]
    online = any(group.compiled.online_features for group in waiting)
    return Case(
        key=(book.project, name, "", SOURCE_LATE),
        groups=tuple(group.compiled.name for group in waiting),
        source=name,
        has=frozenset({"online"} if online else ()),
        call=_called(book, source, waiting, SOURCE_LATE),
        facts=tuple(fact for fact in facts if fact[1]),
    )


def operator_case(book: Book, rule: str) -> Case:
    """Return the case of a rule about the project as a whole."""
    operator = book.settings.operator
    return Case(
        key=(book.project, "", "", rule),
        call={"operator": operator},
        facts=(("owner", operator),) if operator else (),
    )


def _called(book: Book, source: Source, groups: Sequence[RegisteredGroup], rule: str) -> dict[str, str]:
    owners = _joined(dict.fromkeys(owner for group in groups for owner in _owners(group, rule)))
    return {"owner": owners, "source": source.owner or owners, "operator": book.settings.operator}


def _asked(features: Iterable[CompiledFeature]) -> list[CompiledFeature]:
    return [feature for feature in features if feature.online]


def _promised(group: RegisteredGroup) -> bool:
    return any(feature.sla_us is not None for feature in group.compiled.features)


def _owners(group: RegisteredGroup, rule: str = "") -> list[str]:
    """Return whom a rule's alerts about a group concern: of freshness, who owns what promises it."""
    features = group.compiled.every_feature
    concerned = [feature for feature in features if feature.sla_us is not None] if rule == "freshness" else features
    return list(dict.fromkeys(feature.owner for feature in concerned if feature.owner))


def _group_facts(book: Book, group: RegisteredGroup, rule: str) -> Iterator[Fact]:
    compiled = group.compiled
    features = compiled.every_feature
    slas_us = [feature.sla_us for feature in features if feature.sla_us is not None]
    budget = strictest(_asked(features))
    users = [f"{name}@{version}" for name, version in book.catalog.pinned if group.key in _read_by(book, name, version)]
    facts = [
        ("owner", _joined(_owners(group, rule)) or book.settings.operator),
        ("features", _joined(feature.name for feature in features)),
        ("freshness_sla", format_duration(min(slas_us)) if slas_us else ""),
        ("latency_budget", _joined(f"{name} {most_ms:g} ms" for name, most_ms in budget.items())),
        ("services that use it", _joined(users)),
        *(_source_facts(compiled.source) if compiled.source.name else ()),
    ]
    yield from (fact for fact in facts if fact[1])


def _read_by(book: Book, service: str, version: str) -> set[tuple[str, str]]:
    try:
        return {book.catalog.resolve(pinned).group.key for pinned in book.catalog.pinned[service, version]}
    except TimewellError:  # it is pinned to a version that was retired since
        return set()


def _source_facts(source: Source) -> Iterator[Fact]:
    told = {"marker": source.marker, "complete_sql": source.complete_sql}
    told |= {name: format_duration(span) for name in ("delay", "quiet_after") if (span := getattr(source, name))}
    place = source.path or source.table or ("a query" if source.sql else "a frame")
    yield "source", f"{source.name} ({place})"
    yield "owner of the source", source.owner or ""
    yield "complete by", _joined(f"{name} {value}" for name, value in told.items() if value)


def _joined(texts: Iterable[str]) -> str:
    given = list(texts)
    more = len(given) - LISTED
    return ", ".join(given[:LISTED]) + (f" and {more} more" if more > 0 else "")


def unowned(book: Book) -> list[str]:
    """Return the keys of which nobody would be told: no owner, and no operator in ``[alerts]``."""
    cases = every_case(book)
    return [key_text(case.key) for case in cases if not _whom(case)]


def _whom(case: Case) -> str:
    whom = case.call.get("owner", "") if rule_named(case.key[3]).owner == "group" else ""
    return whom or case.call.get("operator", "")
