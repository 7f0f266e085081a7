"""What a name means at a place of a statement, and which rows an expression reads under which conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from sqlglot import exp

from timewell.audit.graph import Graph
from timewell.audit.predicates import COMPARISONS, Facts, Predicates
from timewell.audit.relations import Relation, Value, among
from timewell.audit.roles import Roles
from timewell.audit.terms import Term, Terms

Guards = tuple[exp.Expression, ...]
_QUERIES = (exp.Subquery, exp.Select, exp.SetOperation)
_NEUTRAL = (exp.Null, exp.Literal, exp.Boolean)
_TRUE_OR_FALSE = (*COMPARISONS, exp.And, exp.Or, exp.Not, exp.Between)


class QueryReader(Protocol):
    """What a scope asks of the reader of the whole statement."""

    graph: Graph
    roles: Roles
    line_offset: int
    window_terms: dict[int, Term]

    def outputs_of(self, tree: exp.Expression, scope: Scope) -> Sequence[Term | None]:
        """Return the terms of a subquery's outputs."""

    def extreme(self, tree: exp.Expression, scope: Scope) -> Term | None:
        """Return the term of an aggregate that picks one of its instants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Rows that an expression reads, and the conditions around that place."""

    rows: frozenset[int]
    guards: Guards = ()
    column: exp.Column | None = None


@dataclass(kw_only=True)
class Scope:
    """One select: its relation, the scope around it, and what names mean."""

    reader: QueryReader
    relation: Relation
    parent: Scope | None = None
    tables: Mapping[str, object] = field(default_factory=dict)
    aliases: dict[str, Value] = field(default_factory=dict)
    windows: Sequence[exp.Window] = ()
    line: int | None = None
    depth: int = 0
    images: dict[tuple[int, Guards], int] = field(default_factory=dict)

    @cached_property
    def terms(self) -> Terms:
        """Reads expressions of this scope."""
        return Terms(graph=self.reader.graph, resolve=self._term)

    @cached_property
    def predicates(self) -> Predicates:
        """Reads conditions of this scope."""
        return Predicates(terms=self.terms, outputs=lambda query: self.reader.outputs_of(query, self), flags=self._flag)

    def _flag(self, column: exp.Column) -> Facts | None:
        value = self.value(column)
        return None if value is None else value.facts

    def _term(self, tree: exp.Expression) -> Term | None:
        if isinstance(tree, exp.Column):
            value = self.value(tree)
            return None if value is None else value.term
        if isinstance(tree, (exp.Subquery, exp.Select)):
            found = self.reader.outputs_of(tree, self)
            return found[0] if found else None
        if isinstance(tree, (exp.Max, exp.Min, exp.AnyValue, exp.First, exp.Last, exp.ArgMax, exp.ArgMin)):
            return self.reader.extreme(tree, self)
        if isinstance(tree, exp.Window):
            return self.reader.window_terms.get(id(tree))
        return None

    def value(self, column: exp.Column) -> Value | None:
        """Return what a column is, looked up here and then outwards."""
        name, graph = column.name.lower(), self.reader.graph
        if column.table:
            return self._qualified(column.table.lower(), name)
        sources = self.relation.sources
        sure = [source for source in sources if source.surely_has(graph, name)]
        if sure:
            return sure[0].get(graph, name)
        if name in self.aliases:
            return self.aliases[name]
        if self.parent is not None and self.parent.surely_has(name):
            return self.parent.value(column)
        open_ones = [source for source in sources if source.is_open()]
        if open_ones:
            return among(graph, open_ones, name)
        return None if self.parent is None else self.parent.value(column)

    def _qualified(self, table: str, name: str) -> Value | None:
        for source in self.relation.sources:
            if source.alias == table or source.alias.rsplit(".", 1)[-1] == table:
                return source.get(self.reader.graph, name)
        return None if self.parent is None else self.parent._qualified(table, name)  # noqa: SLF001  # its own kind

    def surely_has(self, name: str) -> bool:
        """Whether a name is known to be a column here or further out."""
        if any(source.surely_has(self.reader.graph, name) for source in self.relation.sources):
            return True
        return self.parent is not None and self.parent.surely_has(name)

    def rows_of(self, column: exp.Column) -> set[int]:
        """Return the rows that a column may be of."""
        value = self.value(column)
        return set() if value is None else set(value.rows)

    def is_shared_key(self, column: exp.Column, others: set[int]) -> bool:
        """Whether a column is by which these rows were joined."""
        value = self.value(column)
        if value is None or value.term is None or value.term.lone is None:
            return False
        graph, node = self.reader.graph, value.term.lone
        if graph.nodes[node].owner in others:
            return True
        near = self.relation.bounds.of.get(node, {})
        return any(
            graph.nodes[other].owner in others and bound == (0.0, 1) and other not in self._times()
            for other, bound in near.items()
        )

    def _times(self) -> set[int]:
        return {row.time for row in self.reader.graph.instances if row.time is not None}

    def line_of(self, tree: exp.Expression) -> int | None:
        """Return the line that an expression begins on."""
        lines = [node.meta["line"] for node in tree.walk() if "line" in node.meta]
        return min(lines) + self.reader.line_offset if lines else None

    def reads(self, tree: object, guards: Guards = ()) -> Iterator[Read]:
        """Walk to every place that reads rows, outside of windows and subqueries."""
        if not isinstance(tree, exp.Expression) or isinstance(tree, (exp.Window, *_QUERIES)):
            return
        if isinstance(tree, exp.Column):
            if not isinstance(tree.this, exp.Star):
                yield Read(rows=frozenset(self.rows_of(tree)), guards=guards, column=tree)
        elif isinstance(tree, exp.Case) and tree.this is None:
            yield from self._case(tree, guards)
        elif isinstance(tree, exp.If):
            yield from self._branch(tree.this, tree.args.get("true"), guards)
            yield from self._branch(exp.Not(this=tree.this.copy()), tree.args.get("false"), guards)
        elif isinstance(tree, exp.Filter):
            yield from self._branch(tree.expression.this, tree.this, guards)
        elif isinstance(tree, exp.CountIf):
            yield from self._branch(tree.this, None, guards, always=True)
        elif isinstance(tree, exp.Mul):
            yield from self._product(tree, guards)
        elif isinstance(tree, _TRUE_OR_FALSE):
            yield from self._branch(tree, None, guards, always=True)
        elif _conditional(tree) is not None:
            value, condition = _conditional(tree) or (None, None)
            yield from self._branch(condition, value, guards, always=value is None)
        else:
            for part in tree.iter_expressions():
                yield from self.reads(part, guards)

    def _case(self, tree: exp.Case, guards: Guards) -> Iterator[Read]:
        before: Guards = ()
        for branch in tree.args.get("ifs") or ():
            yield from self._branch(branch.this, branch.args.get("true"), (*guards, *before))
            before = (*before, exp.Not(this=branch.this.copy()))
        default = tree.args.get("default")
        if default is not None:
            yield from self._branch(None, default, (*guards, *before))

    def _branch(self, condition: object, value: object, guards: Guards, *, always: bool = False) -> Iterator[Read]:
        """Walk a value that is taken where a condition holds; of a constant, the condition's rows are read."""
        inner = guards if not isinstance(condition, exp.Expression) else (*guards, condition)
        found = list(self.reads(value, inner))
        yield from found
        constant = isinstance(value, exp.Expression) and not found and not _is_neutral(value)
        if (constant or always) and isinstance(condition, exp.Expression):
            for column in condition.find_all(exp.Column):
                yield Read(rows=frozenset(self.rows_of(column)), guards=inner, column=None)

    def _product(self, tree: exp.Mul, guards: Guards) -> Iterator[Read]:
        for one, other in ((tree.this, tree.expression), (tree.expression, tree.this)):
            condition = one
            while isinstance(condition, (exp.Cast, exp.Paren)):
                condition = condition.this
            if isinstance(condition, _TRUE_OR_FALSE):
                yield from self._branch(condition, other, guards)
                return
        for part in tree.iter_expressions():
            yield from self.reads(part, guards)

    def inside(self, relation: Relation, **changed: object) -> Scope:
        """Return a scope within this one."""
        made = Scope(
            reader=self.reader, relation=relation, parent=self, tables=self.tables, line=self.line, depth=self.depth + 1
        )
        return replace(made, **changed)  # type: ignore[arg-type]  # names of its fields


def _is_neutral(tree: exp.Expression) -> bool:
    """Whether a value is what an aggregate passes over: null, nought, an empty text."""
    if isinstance(tree, exp.Literal):
        return str(tree.this) in ("0", "0.0", "")
    return isinstance(tree, exp.Null) or (isinstance(tree, exp.Boolean) and not tree.this)


def _conditional(tree: exp.Expression) -> tuple[exp.Expression | None, exp.Expression] | None:
    """Return value and condition of ClickHouse's ``sumIf(value, condition)`` and its like."""
    name = (
        str(tree.this).lower() if isinstance(tree, (exp.Anonymous, exp.AnonymousAggFunc, exp.CombinedAggFunc)) else ""
    )
    given = list(tree.expressions)
    if not name.endswith("if") or name in ("if", "nullif") or not given:
        return None
    return (given[0] if len(given) > 1 else None), given[-1]
