"""Which table is the spine, which tables hold events, and in which column each keeps its time.

Rule: what is declared is believed; a guess by names is marked as one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp

from timewell.audit.graph import Role

_SPINE = re.compile(
    r"(^|_)(labels?|labelled|labeled|spines?|targets?|outcomes?|cohorts?|examples|observations?|train(ing)?)(_|$)"
)
_TIME = re.compile(r"(^|_)(ts|time|timestamp|datetime|at|date|dt|day|instant|tstamp|when)$|^(ts|time|date|valid_from)")
_NOT_TIME = re.compile(r"(^|_)(valid_to|valid_until|expires?|expired|end|ended|due|deleted|birth|dob|updated)(_|$)")
_ARRIVAL = re.compile(
    r"(^|_)(arriv\w*|load\w*|ingest\w*|insert\w*|receiv\w*|process\w*|available|known|knowledge|landed)(_|$)"
)
_SNAPSHOT = re.compile(r"snapshot|as_?of|effective|valid_from|start|begin|from$")
_DAYLIKE = re.compile(r"(^|_)(date|day|dt|ds)$")
_COMMENT = re.compile(r"timewell:\s*(.*)$", re.IGNORECASE | re.MULTILINE)
_DECLARED = re.compile(r"\b(spine|events?|snapshots?)\s+([\w.]+)\.(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """What is known of the tables.

    Attributes
    ----------
    events
        Table to its time column.
    spine
        Table of labelled rows and its time column.
    arrivals
        Table to the column of the instant from which a row is known.
    closed
        Table to ``right`` where its rows hold from their own instant on (snapshots), or ``left`` (events).
    guessed
        Whether tables and times were guessed by their names.
    weak
        Whether not even a name says which table is the spine: it is the one that stands first.
    """

    events: Mapping[str, str] = field(default_factory=dict)
    spine: tuple[str, str] | None = None
    arrivals: Mapping[str, str] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    guessed: bool = False
    weak: bool = False

    def is_snapshot(self, table: str) -> bool:
        """Whether a row counts from its own instant on."""
        return any(_same(table, name) and side == "right" for name, side in self.closed.items())

    def says_kind(self, table: str) -> bool:
        """Whether it is known that a table holds events, or snapshots."""
        return any(_same(table, name) for name in self.closed)

    def of(self, table: str) -> tuple[Role, str | None]:
        """Return what a table is, and its time column."""
        if self.spine is not None and _same(table, self.spine[0]):
            return "spine", self.spine[1].lower()
        for name, column in self.events.items():
            if _same(table, name):
                return "event", column.lower()
        return "static", None

    def with_comments(self, text: str) -> Roles:
        """Add what comments declare: ``timewell: spine labels.label_ts, event tx.ts``."""
        events, spine, closed = dict(self.events), self.spine, dict(self.closed)
        for comment in _COMMENT.findall(text):
            if comment.strip().lower().startswith("allow"):
                continue
            for kind, table, column in _DECLARED.findall(comment):
                if kind.lower() == "spine":
                    spine = (table, column)
                else:
                    events[table] = column
                    closed[table] = "right" if kind.lower().startswith("snapshot") else "left"
        return replace(self, events=events, spine=spine, closed=closed)

    def of_events_differ(self) -> bool:
        """Whether the spine is not itself a table of events whose rows are features."""
        return self.spine is None or not any(_same(self.spine[0], name) for name in self.events)


def is_arrival(column: str) -> bool:
    """Whether a column says by its name when a row became known."""
    return bool(_ARRIVAL.search(column.lower())) and is_time(column)


def is_time(column: str) -> bool:
    """Whether a column says by its name that it is an instant."""
    return bool(_TIME.search(column.lower()))


def is_day(column: str) -> bool:
    """Whether a column says by its name that it holds days."""
    return bool(_DAYLIKE.search(column.lower()))


def starts(column: str) -> bool:
    """Whether a day is, by the column's name, the one from whose start the row holds."""
    return bool(_SNAPSHOT.search(column.lower()))


def names_spine(table: str) -> bool:
    """Whether a table is, by its name, one of labelled rows."""
    return bool(_SPINE.search(table.rsplit(".", 1)[-1].lower()))


def _same(written: str, declared: str) -> bool:
    left, right = written.lower().split("."), declared.lower().split(".")
    shared = min(len(left), len(right))
    return left[-shared:] == right[-shared:]


def table_name(table: exp.Table) -> str:
    """Return a table's name with what stands before it."""
    return ".".join(part.name for part in table.parts)


def guess(tree: exp.Expression, given: Roles) -> Roles:
    """Fill in by names what was not given."""
    defined = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    order: list[str] = []
    aliases: dict[str, str] = {}
    for table in tree.find_all(exp.Table, bfs=True):
        name = table_name(table)
        if name.lower() not in defined and isinstance(table.this, exp.Identifier):
            order.append(name)
            aliases[table.alias_or_name.lower()] = name
    columns = _columns(tree, aliases)
    events, spine, weak = dict(given.events), given.spine, False
    if spine is None:
        times = {name: _best(columns[name]) for name in order}
        named = [name for name in order if names_spine(name) and given.of(name)[0] != "event"]
        rest = [name for name in order if times[name] and given.of(name)[0] != "event"] if not given.events else []
        chosen = next(iter(named), None) or (rest[0] if len(set(order)) > 1 and rest else None)
        if chosen is not None:
            spine, weak = (chosen, times.get(chosen) or "label_ts"), not named
    made = Roles(events=events, spine=spine, arrivals=given.arrivals, closed=given.closed, guessed=True, weak=weak)
    if not given.events:
        for name in order:
            time = _best(columns[name])
            if made.of(name)[0] == "static" and time is not None:
                events[name] = time
    states = {name: "right" for name in events if "snapshot" in name.lower() and not made.says_kind(name)}
    return replace(made, closed={**states, **given.closed})


def _columns(tree: exp.Expression, aliases: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Count the columns that are named with each table."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for column in tree.find_all(exp.Column):
        name = column.name.lower()
        if column.table:
            if column.table.lower() in aliases:
                found[aliases[column.table.lower()]][name] += 1
            continue
        select = column.find_ancestor(exp.Select)
        tables = [] if select is None else _own_tables(select)
        if len(tables) == 1 and tables[0].lower() in aliases:
            found[aliases[tables[0].lower()]][name] += 1
        elif is_time(name):
            for alias in tables:
                table = aliases.get(alias.lower())
                if table is not None and names_spine(table) == bool(re.search(r"label|cutoff|as_?of|predict", name)):
                    found[table][name] += 1
    return found


def _own_tables(select: exp.Select) -> list[str]:
    parts = [select.args.get("from_") or select.args.get("from"), *(select.args.get("joins") or [])]
    return [part.this.alias_or_name for part in parts if part is not None and isinstance(part.this, exp.Table)]


def _best(columns: Counter[str]) -> str | None:
    times = [name for name in columns if is_time(name) and not _NOT_TIME.search(name) and not is_arrival(name)]
    return min(times, key=lambda name: (is_day(name), -columns[name])) if times else None
