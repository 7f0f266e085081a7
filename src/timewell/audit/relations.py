"""Rows that a statement puts together: what each is made of, and what holds between their times.

Rule: a relation's ``bounds`` speak of one of its rows. Rows that were taken in before a later condition (aggregated,
ranked, cut off by a limit) are doubles of their own, which no later condition reaches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from timewell.audit.bounds import EQUAL, Bounds
from timewell.audit.graph import Graph, Instance
from timewell.audit.predicates import Facts
from timewell.audit.terms import Term


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What an output column is: an instant, a key or a condition where that is known, and whose rows it comes from."""

    term: Term | None = None
    rows: frozenset[int] = frozenset()
    facts: Facts | None = None


@dataclass(slots=True, kw_only=True)
class Source:
    """What a name in FROM stands for.

    Attributes
    ----------
    alias
        The name.
    columns
        Known outputs.
    row
        The table's row, of a base table: every name may be a column of it.
    beneath
        Base tables whose columns pass through a ``*``.
    """

    alias: str
    columns: dict[str, Value] = field(default_factory=dict)
    row: int | None = None
    beneath: list[Source] = field(default_factory=list)
    hidden: frozenset[str] = frozenset()

    def surely_has(self, graph: Graph, name: str) -> bool:
        """Whether a column of that name is known to be there."""
        if name in self.hidden:
            return False
        if name in self.columns:
            return True
        if self.row is not None:
            time = graph.instances[self.row].time
            return time is not None and graph.nodes[time].column == name
        return any(below.surely_has(graph, name) for below in self.beneath)

    def is_open(self) -> bool:
        """Whether there may be columns that were not named."""
        return self.row is not None or any(below.is_open() for below in self.beneath)

    def get(self, graph: Graph, name: str) -> Value | None:
        """Return a column's value, or nothing."""
        if name in self.hidden:
            return None
        if name in self.columns:
            return self.columns[name]
        if self.row is not None:
            node = graph.column(self.row, name)
            grid = "day" if graph.nodes[node].grid == "day" else None
            return Value(term=Term(nodes=((node, 1),), grid=grid), rows=frozenset({self.row}))
        sure = [below for below in self.beneath if below.surely_has(graph, name)]
        if sure:
            return sure[0].get(graph, name)
        return among(graph, [below for below in self.beneath if below.is_open()], name)

    def was_asked(self, graph: Graph, name: str) -> bool:
        """Whether a column of that name was spoken of with this table."""
        if self.row is not None:
            return name in graph.columns_of(self.row)
        return any(below.was_asked(graph, name) for below in self.beneath)

    def all_rows(self) -> frozenset[int]:
        """Return every row that a ``*`` of this shows."""
        rows = {number for value in self.columns.values() for number in value.rows}
        rows |= {self.row} if self.row is not None else set()
        for below in self.beneath:
            rows |= below.all_rows()
        return frozenset(rows)


def among(graph: Graph, sources: list[Source], name: str) -> Value | None:
    """Return a column that any of several tables may have: the one it was named with before, or of all."""
    asked = [source for source in sources if source.was_asked(graph, name)]
    if len(sources) == 1 or asked:
        return (asked or sources)[0].get(graph, name)
    rows = frozenset(row for source in sources for row in source.all_rows())
    return Value(rows=rows) if sources else None


@dataclass(slots=True, kw_only=True)
class Relation:
    """The rows of one select while it is read, and after.

    Attributes
    ----------
    sources
        What stands in FROM, in order.
    rows
        Everything read, aggregated and ranked rows included.
    live
        Of those, the rows that are still single rows here.
    bounds
        What holds.
    said
        What conditions of outer joins say: true of the rows that are found, and no bound of the others.
    hints
        Pairs of nodes that a condition speaks of without proving a difference.
    exempt
        Rows whose every use was looked at apart.
    output
        What this select gives, once it is read.
    maxima
        For a ``max(time)``: the aggregated node, the node of the maximum, and the nodes of the group's keys.
    """

    sources: list[Source] = field(default_factory=list)
    rows: set[int] = field(default_factory=set)
    live: set[int] = field(default_factory=set)
    bounds: Bounds = field(default_factory=Bounds)
    said: Bounds = field(default_factory=Bounds)
    hints: set[tuple[int, int]] = field(default_factory=set)
    exempt: set[int] = field(default_factory=set)
    output: Source = field(default_factory=lambda: Source(alias=""))
    outputs: list[Value] = field(default_factory=list)
    maxima: list[tuple[int, int, frozenset[int]]] = field(default_factory=list)
    grouped: dict[int, frozenset[int]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def copy(self) -> Relation:
        """Return one that can be read on without changing this one."""
        return replace(
            self,
            sources=list(self.sources),
            rows=set(self.rows),
            live=set(self.live),
            bounds=self.bounds.copy(),
            said=self.said.copy(),
            hints=set(self.hints),
            exempt=set(self.exempt),
            maxima=list(self.maxima),
            grouped=dict(self.grouped),
            unread=list(self.unread),
        )

    def take(self, other: Relation, *, live: bool, bounds: Bounds | None = None) -> None:
        """Take in the rows of another relation."""
        self.rows |= other.rows
        self.live |= other.live if live else set()
        self.bounds.add_all(other.bounds if bounds is None else bounds)
        self.said.add_all(other.said)
        self.hints |= other.hints
        self.exempt |= other.exempt
        self.maxima += other.maxima
        self.grouped.update(other.grouped)
        self.unread += other.unread

    def double(
        self, graph: Graph, ids: Iterable[int], change: dict[str, object]
    ) -> tuple[dict[int, int], dict[int, int]]:
        """Take these rows in a second time, as they are bound now.

        Returns
        -------
        tuple
            Old row to new row, and old node to new node.
        """
        chosen = set(ids)
        rows, names = graph.double(chosen)
        self.bounds.add_all(self.bounds.renamed(names))
        for new in rows.values():
            graph.update(replace(graph.instances[new], **change))  # type: ignore[arg-type]  # names of its fields
            self.rows.add(new)
        for node, top, keys in list(self.maxima):
            if node in names:
                self.maxima.append((names[node], names.get(top, top), frozenset(names.get(key, key) for key in keys)))
        self.exempt |= {rows[number] for number in chosen & self.exempt}
        return rows, names


def held_by(graph: Graph, bounds: Bounds, rows: set[int], keep: set[int] = frozenset()) -> Bounds:  # type: ignore[assignment]  # an empty set
    """Return what bounds rows of one side only: the other side is there whether the condition holds or not."""
    made = Bounds()
    for a, b, bound in bounds:
        owner, other = graph.nodes[a].owner, graph.nodes[b].owner
        if owner in rows or other in keep or b in graph.ends:
            made.add(a, b, bound)
    return made


def same_instants(bounds: Bounds, left: Term, right: Term) -> None:
    """Enter that two terms are equal, where both are lone nodes."""
    if left.lone is not None and right.lone is not None:
        bounds.add(left.lone, right.lone, EQUAL)
        bounds.add(right.lone, left.lone, EQUAL)


def spine_rows(graph: Graph, rows: Iterable[int]) -> list[Instance]:
    """Return the rows of the spine among these."""
    return [graph.instances[number] for number in rows if graph.instances[number].role == "spine"]
