"""SQL selects as relations.

Rule: a query gives one relation for each way to come to a row (each arm of a UNION): a verdict holds if it holds for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from timewell.audit.bounds import EQUAL
from timewell.audit.graph import Graph, Instance, TooLarge
from timewell.audit.predicates import COMPARISONS, Facts
from timewell.audit.relations import Relation, Source, Value, held_by, spine_rows
from timewell.audit.roles import Roles, is_arrival, is_day, table_name
from timewell.audit.scopes import Guards, Read, Scope
from timewell.audit.selects import (
    AGGREGATES,
    as_row,
    counts_rows,
    first,
    in_windows_clause,
    is_aggregate,
    queries_in,
    starred,
)
from timewell.audit.terms import Term
from timewell.audit.windows import add_window, pin

MAX_WAYS = 48


@dataclass(frozen=True, slots=True)
class Named:
    """A query under a name, with the names that were known where it stands."""

    query: exp.Expression
    tables: Mapping[str, object]
    columns: tuple[str, ...] = ()
    recursive: bool = False


@dataclass(slots=True)
class Reader:
    """Reads one statement."""

    roles: Roles
    graph: Graph = field(default_factory=Graph)
    line_offset: int = 0
    window_terms: dict[int, Term] = field(default_factory=dict)
    _read: dict[int, tuple[Sequence[Term | None], Relation]] = field(default_factory=dict)
    _extremes: dict[tuple[int, int], Term | None] = field(default_factory=dict)

    def statement(self, tree: exp.Expression, tables: Mapping[str, object]) -> list[Relation]:
        """Read a whole statement; a name in ``tables`` was made by one before it."""
        outer = Scope(reader=self, relation=Relation(), tables=tables, depth=-1)
        return self.query(tree, outer)

    def query(self, tree: exp.Expression, outer: Scope, tables: Mapping[str, object] | None = None) -> list[Relation]:
        """Read a query within a scope, that of a correlated subquery too."""
        known = dict(outer.tables if tables is None else tables)
        clause = tree.args.get("with_") or tree.args.get("with")
        recursive = clause is not None and bool(clause.args.get("recursive"))
        for cte in clause.expressions if clause is not None else ():
            columns = tuple(part.name.lower() for part in (cte.args["alias"].args.get("columns") or ()))
            known[cte.alias.lower()] = Named(cte.this, dict(known), columns, recursive)
        if isinstance(tree, (exp.Subquery, exp.Paren)):
            return self.query(tree.this, outer, known)
        if isinstance(tree, exp.SetOperation):
            return self._union(tree, outer, known)
        if isinstance(tree, exp.Table):
            tree = exp.select("*").from_(tree.copy())
        if isinstance(tree, exp.Select):
            return self._select(tree, outer, known)
        opaque = Relation(unread=[type(tree).__name__])
        return [opaque]

    def _union(self, tree: exp.SetOperation, outer: Scope, known: Mapping[str, object]) -> list[Relation]:
        left, right = self.query(tree.this, outer, known), self.query(tree.expression, outer, known)
        if isinstance(tree, (exp.Except, exp.Intersect)):
            return left
        names = list(left[0].output.columns) if left else []
        for relation in right:
            found = list(relation.outputs)
            if names and len(found) == len(names):
                relation.output = Source(alias="", columns=dict(zip(names, found, strict=True)))
        return _few([*left, *right])

    # --- FROM ----------------------------------------------------------------------------------------------------

    def source(self, tree: exp.Expression, scope: Scope) -> list[tuple[Source, Relation]]:
        """Read what stands in FROM or JOIN."""
        alias = tree.alias_or_name.lower()
        if isinstance(tree, exp.Table) and isinstance(tree.this, exp.Identifier):
            found = self._table(tree, scope, alias)
        elif isinstance(tree, (exp.Subquery, exp.Lateral)) and isinstance(
            tree.this, (exp.Select, exp.Subquery, exp.SetOperation)
        ):
            inner = tree.this
            joined = isinstance(tree, exp.Subquery) and isinstance(inner, exp.Table)
            found = (
                [] if joined else [(self._renamed(made.output, alias, tree), made) for made in self.query(inner, scope)]
            )
        elif isinstance(tree, exp.Subquery):
            found = self.source(tree.this, scope)
        else:
            rows = Relation()
            found = [(Source(alias=alias), rows)]
        for join in tree.args.get("joins") or ():
            found = self._nested_join(found, join, scope)
        return found

    def _nested_join(
        self, left: list[tuple[Source, Relation]], join: exp.Join, scope: Scope
    ) -> list[tuple[Source, Relation]]:
        made = []
        for source, relation in left:
            inner = scope.inside(relation)
            relation.sources.append(source)
            joined = self._join(relation, join, inner)
            made += [(Source(alias=source.alias, beneath=list(one.sources)), one) for one in joined]
        return made

    def _table(self, tree: exp.Table, scope: Scope, alias: str) -> list[tuple[Source, Relation]]:
        name = table_name(tree)
        named = scope.tables.get(name.lower())
        if isinstance(named, Named):
            known = dict(named.tables)
            if named.recursive:
                known[name.lower()] = None
            made = []
            for relation in self.query(named.query, scope.inside(Relation(), parent=None, tables=known), known):
                if named.columns:
                    columns = dict(zip(named.columns, relation.outputs, strict=False))
                    relation.output = Source(alias=alias, columns=columns)
                made.append((self._renamed(relation.output, alias, tree), relation))
            return made
        if name.lower() in scope.tables:
            return [
                (Source(alias=alias), Relation())
            ]  # a recursive query reads itself: its rows come from its first arm
        relation = Relation()
        line = scope.line_of(tree)
        row = self.new_row(name, line=line, depth=scope.depth)
        relation.rows.add(row.id)
        relation.live.add(row.id)
        if tree.args.get("version") is not None and row.role == "event":
            relation.unread.append("a version of a table by time")
        return [(Source(alias=alias, row=row.id), relation)]

    def new_row(self, name: str, *, line: int | None = None, depth: int = 0) -> Instance:
        """Make a row of a base table."""
        role, time = self.roles.of(name)
        made = self.graph.new_instance(Instance(id=0, table=name, role=role, time=None, line=line, depth=depth))
        if time is not None:
            grid = "day" if is_day(time) else None
            node = self.graph.column(made.id, time, grid=grid)
            made = Instance(id=made.id, table=name, role=role, time=node, line=line, depth=depth)
            self.graph.update(made)
        return made

    @staticmethod
    def _renamed(output: Source, alias: str, tree: exp.Expression) -> Source:
        given = tree.args.get("alias")
        names = (
            [part.name.lower() for part in (given.args.get("columns") or ())]
            if isinstance(given, exp.TableAlias)
            else []
        )
        columns = dict(output.columns)
        if names and len(names) <= len(columns):
            columns = dict(zip([*names, *list(columns)[len(names) :]], columns.values(), strict=True))
        return Source(alias=alias, columns=columns, row=output.row, beneath=output.beneath, hidden=output.hidden)

    def _join(self, relation: Relation, join: exp.Join, scope: Scope) -> list[Relation]:
        made = []
        options = self.source(join.this, scope)
        for source, right in options:
            joined = relation if len(options) == 1 else relation.copy()
            inner = scope if joined is relation else scope_of(scope, joined)
            self._join_one(joined, join, source, right, inner)
            made.append(joined)
        return _few(made)

    def _join_one(self, joined: Relation, join: exp.Join, source: Source, right: Relation, scope: Scope) -> None:
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        lateral = join.this
        outer_apply = isinstance(lateral, exp.Lateral) and lateral.args.get("cross_apply") is False
        left_rows = set(joined.rows)
        before = list(joined.sources)
        optional = side == "LEFT" or outer_apply or kind in ("SEMI", "ANTI")
        held = held_by(self.graph, right.bounds, right.rows) if optional else right.bounds
        joined.take(right, live=kind not in ("SEMI", "ANTI"), bounds=held)
        joined.sources.append(source)
        scope.line = scope.line_of(join) or scope.line
        facts = scope.predicates.of(join.args.get("on"))
        if join.args.get("match_condition") is not None:
            facts.both(scope.predicates.of(join.args["match_condition"]))
        proven = facts.bounds
        using = [part.name.lower() for part in join.args.get("using") or ()]
        asof = str(join.args.get("method") or "").upper() == "ASOF"
        if str(join.args.get("method") or "").upper() == "NATURAL":
            using = sorted(set(source.columns) & {name for one in before for name in one.columns})
        for at, name in enumerate(using):
            mine, theirs = source.get(self.graph, name), first(self.graph, before, name)
            if (
                mine is not None
                and theirs is not None
                and mine.term
                and theirs.term
                and mine.term.lone is not None
                and theirs.term.lone is not None
            ):
                proven.add(mine.term.lone, theirs.term.lone, EQUAL)
                if not (asof and at == len(using) - 1):
                    proven.add(theirs.term.lone, mine.term.lone, EQUAL)
        self._subqueries(join.args.get("on"), scope)
        spines = {row.id for row in spine_rows(self.graph, joined.rows)}
        if optional or side == "RIGHT":
            joined.said.add_all(proven)
        if optional:
            proven = held_by(self.graph, proven, right.rows, spines)
        elif side == "RIGHT":
            proven = held_by(self.graph, proven, left_rows, spines)
        joined.bounds.add_all(proven)
        joined.hints |= facts.hints

    # --- subqueries in expressions -------------------------------------------------------------------------------

    def _subqueries(self, tree: exp.Expression | None, scope: Scope) -> None:
        """Take in the rows of every subquery in an expression: what they hold decides, or is shown."""
        if tree is None:
            return
        for found in queries_in(tree):
            self.outputs_of(found, scope)
            relation = self._read[id(found)][1]
            self._take_subquery(found, relation, scope)

    def _take_subquery(self, found: exp.Expression, relation: Relation, scope: Scope) -> None:
        spines = {row.id for row in spine_rows(self.graph, relation.rows)}
        events = {number for number in relation.rows if self.graph.instances[number].role == "event"}
        held = held_by(self.graph, relation.bounds, relation.rows)
        scope.relation.take(relation, live=False, bounds=held)
        if (
            spines
            and not events
            and found.find_ancestor(exp.Where, exp.Join) is not None
            and self.roles.of_events_differ()
        ):
            scope.relation.exempt |= relation.rows  # rows of the spine chosen by others of the spine

    def outputs_of(self, tree: exp.Expression, scope: Scope) -> Sequence[Term | None]:
        """Return the terms of a subquery's outputs, read once in its place."""
        while isinstance(tree, exp.Subquery) and tree.args.get("alias") is None:
            tree = tree.this
        if id(tree) not in self._read:
            whole = Relation()
            outputs: Sequence[Term | None] = ()
            for relation in self.query(tree, scope):
                whole.take(relation, live=False)
                outputs = [value.term for value in relation.outputs] if not outputs else [None for _ in outputs]
            self._read[id(tree)] = (outputs, whole)
        return self._read[id(tree)][0]

    def extreme(self, tree: exp.Expression, scope: Scope) -> Term | None:
        """Return the term of an aggregate that picks one of its instants: none of the rows' bounds is passed by it."""
        key = (id(tree), id(scope.relation))
        if key in self._extremes:
            return self._extremes[key]
        inner = scope.terms.of(tree.this) if isinstance(tree.this, exp.Expression) else None
        made = None
        if inner is not None and len(inner.nodes) == 1 and inner.nodes[0][1] == 1:
            node = inner.nodes[0][0]
            top = self.graph.node(f"{tree.key}({self.graph.nodes[node].label})", owner=self.graph.nodes[node].owner)
            scope.relation.bounds.add(top, node, EQUAL)
            if not isinstance(tree, exp.Min):
                scope.relation.maxima.append((node, top, frozenset()))
            made = Term(nodes=((top, 1),), low=inner.low, high=inner.high, grid=inner.grid)
        self._extremes[key] = made
        return made

    # --- SELECT --------------------------------------------------------------------------------------------------

    def _select(self, tree: exp.Select, outer: Scope, known: Mapping[str, object]) -> list[Relation]:
        ways = [Relation()]
        first = tree.args.get("from_") or tree.args.get("from")
        scope_line = outer.line_of(tree) or outer.line
        if first is not None:
            start = outer.inside(Relation(), tables=known, line=scope_line)
            ways = []
            for source, relation in self.source(first.this, start):
                relation.sources = [source]
                ways.append(relation)
        for join in [*(tree.args.get("laterals") or ()), *(tree.args.get("joins") or ())]:
            clause = join if isinstance(join, exp.Join) else exp.Join(this=join)
            ways = _few(
                [
                    made
                    for way in ways
                    for made in self._join(way, clause, outer.inside(way, tables=known, line=scope_line))
                ]
            )
        for way in ways:
            self._rest(tree, outer.inside(way, tables=known, line=scope_line, windows=tree.args.get("windows") or ()))
        return ways

    def _rest(self, tree: exp.Select, scope: Scope) -> None:
        """Read everything of a select but its FROM."""
        relation = scope.relation
        for clause in ("prewhere", "where"):
            if tree.args.get(clause) is not None:
                facts = scope.predicates.of(tree.args[clause].this)
                relation.bounds.add_all(facts.bounds)
                relation.hints |= facts.hints
                self._subqueries(tree.args[clause].this, scope)
        self._arrivals(relation)
        aggregates = is_aggregate(tree)
        for part in tree.expressions:
            self._subqueries(part, scope)
        for part in tree.find_all(exp.Window):
            if part.parent_select is tree and not in_windows_clause(part):
                add_window(part, relation, scope)
        self._exempt_guarded(tree, scope, aggregates=aggregates)
        self._outputs(tree, scope)
        if aggregates:
            self._group(tree, scope)
        for clause in ("having", "qualify"):
            if tree.args.get(clause) is not None:
                facts = scope.predicates.of(tree.args[clause].this)
                relation.bounds.add_all(facts.bounds)
                self._subqueries(tree.args[clause].this, scope)
        self._cut_off(tree, scope)

    def _arrivals(self, relation: Relation) -> None:
        """Enter that a row that arrived had happened: its event is no later than its arrival."""
        for number in relation.live:
            row = self.graph.instances[number]
            if row.role == "event" and row.time is not None:
                for name, node in self.graph.columns_of(number).items():
                    if node != row.time and (is_arrival(name) or self.roles.arrivals.get(row.table) == name):
                        relation.bounds.add(row.time, node, EQUAL)

    def _outputs(self, tree: exp.Select, scope: Scope) -> None:
        relation, columns, open_ones = scope.relation, {}, []
        hidden: set[str] = set()
        for at, part in enumerate(tree.expressions):
            if isinstance(part, exp.Star) or (isinstance(part, exp.Column) and isinstance(part.this, exp.Star)):
                star = part if isinstance(part, exp.Star) else part.this
                hidden |= {name.name.lower() for name in star.args.get("except_") or star.args.get("except") or ()}
                wanted = part.table.lower() if isinstance(part, exp.Column) else None
                for source in relation.sources:
                    if wanted in (None, source.alias):
                        open_ones.append(source)
                        columns.update({name: value for name, value in source.columns.items() if name not in columns})
                continue
            bare = part.this if isinstance(part, exp.Alias) else part
            name = part.alias_or_name.lower() or f"_{at}"
            rows = frozenset(
                scope.images.get((row, read.guards), row) for read in scope.reads(bare) for row in read.rows
            )
            value = Value(term=scope.terms.of(bare), rows=rows, facts=self._condition(bare, scope))
            columns[name] = value
            scope.aliases[name] = value
        relation.outputs = list(columns.values())
        relation.output = Source(alias="", columns=columns, beneath=open_ones, hidden=frozenset(hidden - set(columns)))

    def _exempt_guarded(self, tree: exp.Select, scope: Scope, *, aggregates: bool) -> None:
        """Look apart at rows that are read only under conditions of their own: ``SUM(CASE WHEN ... END)``."""
        relation = scope.relation
        parts = [part.this if isinstance(part, exp.Alias) else part for part in tree.expressions]
        reads = [read for part in parts for read in scope.reads(part)]
        reads += [Read(rows=rows) for part in parts for rows in starred(part, relation)]
        counted = aggregates and any(counts_rows(part) for part in parts)
        for number in sorted(relation.live):
            if self.graph.instances[number].role != "event":
                continue
            mine = [
                read
                for read in reads
                if number in read.rows and (read.guards or not self._is_key(read, scope, aggregates=aggregates))
            ]
            for guards in dict.fromkeys(read.guards for read in mine if read.guards):
                scope.images[number, guards] = self._guarded(number, guards, scope)
            shown = {row for read in reads for row in read.rows}
            guarded_below = not mine and any(self.graph.instances[row].image_of == number for row in shown)
            if not counted and (guarded_below or (mine and all(read.guards for read in mine))):
                relation.exempt.add(number)

    def _guarded(self, number: int, guards: Guards, scope: Scope) -> int:
        """Take in a row a second time, under conditions of its own."""
        facts = Facts()
        for guard in guards:
            facts.both(scope.predicates.of(guard))
        doubles, names = scope.relation.double(self.graph, {number}, {"how": "guarded", "line": scope.line})
        scope.relation.bounds.add_all(facts.bounds.renamed(names))
        return doubles[number]

    @staticmethod
    def _condition(tree: exp.Expression, scope: Scope) -> Facts | None:
        """Return what an output proves where it is true, of one that is a condition."""
        inner = tree
        while isinstance(inner, (exp.Paren, exp.Cast)):
            inner = inner.this
        if isinstance(inner, exp.Case) and len(inner.args.get("ifs") or ()) == 1 and inner.this is None:
            branch, other = inner.args["ifs"][0], inner.args.get("default")
            plain = branch.args.get("true") == exp.Literal.number(1) and other == exp.Literal.number(0)
            inner = branch.this if plain else inner
        return (
            scope.predicates.of(inner)
            if isinstance(inner, (*COMPARISONS, exp.And, exp.Or, exp.Not, exp.Between))
            else None
        )

    def _is_key(self, read: Read, scope: Scope, *, aggregates: bool) -> bool:
        """Whether a column equals one of the spine's, so that it tells nothing that the spine does not."""
        spines = {row.id for row in spine_rows(self.graph, scope.relation.live)}
        if read.column is None or not spines:
            return False
        alone = read.column.find_ancestor(*AGGREGATES, exp.Anonymous, exp.Select)
        if aggregates and read.rows & spines and isinstance(alone, exp.Select):
            return True  # what is beside aggregates is what the group goes by
        return scope.is_shared_key(read.column, spines)

    def _group(self, tree: exp.Select, scope: Scope) -> None:
        relation = scope.relation
        group = tree.args.get("group")
        given = list(group.expressions) if group is not None else []
        if group is not None and group.args.get("all"):
            given = [part for part in tree.expressions if part.find(*AGGREGATES) is None]
        keys: set[int] = set()
        for part in given:
            chosen = part
            if isinstance(part, exp.Literal) and not part.is_string and 0 < int(part.this) <= len(tree.expressions):
                chosen = tree.expressions[int(part.this) - 1]
            term = scope.terms.of(chosen.this if isinstance(chosen, exp.Alias) else chosen)
            keys |= set() if term is None else {node for node, _ in term.nodes}
        relation.maxima = [(node, top, known or frozenset(keys)) for node, top, known in relation.maxima]
        for number in relation.live:
            relation.grouped[number] = frozenset(keys)
            row = self.graph.instances[number]
            if not row.how:
                self.graph.update(as_row(row, "aggregate"))
        relation.live = {number for number in relation.live if self.graph.instances[number].role == "spine"}

    def _cut_off(self, tree: exp.Select, scope: Scope) -> None:
        """Rows among which DISTINCT ON or LIMIT chose are taken in as they were bound before."""
        distinct = tree.args.get("distinct")
        on = distinct.args.get("on") if distinct is not None else None
        limited = tree.args.get("limit") is not None and scope.depth > 0
        if on is None and not limited and tree.args.get("limit_by") is None:
            return
        rows = {number for number in scope.relation.live if self.graph.instances[number].role != "static"}
        words = "DISTINCT ON" if on is not None else "LIMIT"
        change: dict[str, object] = {
            "how": "limit",
            "line": scope.line,
            "reason": f"{words} chooses among rows that come later, too",
        }
        every = set(scope.relation.live) if rows else set()
        terms = [scope.terms.of(part) for part in (on.expressions if on is not None else ())]
        doubles, names = scope.relation.double(self.graph, every, change)
        spines = {row.id for row in spine_rows(self.graph, every)}
        for node in (node for term in terms if term is not None for node, _ in term.nodes):
            if node in names:
                scope.relation.bounds.equal(node, names[node])
        pin(list(on.expressions) if on is not None else [], scope.relation, scope, doubles)
        scope.relation.exempt |= {doubles[number] for number in spines}


def scope_of(scope: Scope, relation: Relation) -> Scope:
    """Return a scope like another one, of another relation."""
    return Scope(
        reader=scope.reader,
        relation=relation,
        parent=scope.parent,
        tables=scope.tables,
        line=scope.line,
        depth=scope.depth,
    )


def _few(ways: list[Relation]) -> list[Relation]:
    if len(ways) > MAX_WAYS:
        raise TooLarge
    return ways
