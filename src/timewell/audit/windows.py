"""Which rows a window function takes in, as doubles of the rows it is computed over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlglot import exp

from timewell.audit.bounds import EQUAL
from timewell.audit.predicates import Facts
from timewell.audit.terms import Term, Terms, _number  # the value of a literal

if TYPE_CHECKING:
    from timewell.audit.relations import Relation
    from timewell.audit.scopes import Scope

Direction = Literal["past", "future", "unordered", "all"]
_RANKS = (exp.RowNumber, exp.Rank, exp.DenseRank)
_WHOLE = (exp.Ntile, exp.PercentRank, exp.CumeDist)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How far a frame reaches in the order of its rows, and whether it leaves the row itself out."""

    within: float = math.inf
    excludes_self: bool = False


def frame_of(tree: exp.Window, function: exp.Expression, terms: Terms, *, descending: bool) -> Frame:
    """Return how late the latest row of a window may be, after (or before) its own row, in microseconds."""
    if isinstance(function, _WHOLE):
        return Frame()
    if isinstance(function, _RANKS):
        return Frame() if descending else Frame(within=0.0, excludes_self=True)
    if isinstance(function, (exp.Lag, exp.Lead)):
        return _moved(function, descending=descending)
    spec = tree.args.get("spec")
    if isinstance(function, exp.FirstValue) and not descending:
        return (
            Frame(within=0.0) if spec is None or _is_endless(spec.args.get("start")) else _edge(spec, terms, descending)
        )
    if spec is None:
        return Frame() if descending else Frame(within=0.0)  # from the first row of the order to the row itself
    return _edge(spec, terms, descending)


def _moved(function: exp.Expression, *, descending: bool) -> Frame:
    offset = function.args.get("offset")
    steps = 1.0 if offset is None else _number(offset)
    if math.isnan(steps):
        return Frame()
    earlier = (steps > 0) == isinstance(function, exp.Lag)
    if steps == 0:
        return Frame(within=0.0)
    return Frame(within=0.0, excludes_self=True) if earlier != descending else Frame()


def _edge(spec: exp.Expression, terms: Terms, descending: bool) -> Frame:  # noqa: FBT001  # read beside its call
    """Return the later edge of a frame: its end, or its start where the order runs backwards."""
    side = "start" if descending else "end"
    edge, towards = spec.args.get(side), str(spec.args.get(f"{side}_side") or "").upper()
    without = str(spec.args.get("exclude") or "").upper() in ("CURRENT ROW", "GROUP", "TIES")
    without = without and "TIES" not in str(spec.args.get("exclude") or "").upper()
    if edge is None and not descending:
        return Frame(within=0.0, excludes_self=without)  # `ROWS 5 PRECEDING` ends at the row itself
    if isinstance(edge, str):
        if edge.upper() == "CURRENT ROW":
            return Frame(within=0.0, excludes_self=without)
        return Frame(excludes_self=without)
    back = (towards == "PRECEDING") != descending
    ranged = str(spec.args.get("kind") or "").upper() == "RANGE"
    if edge is not None and _number(edge) == 0:
        return Frame(within=0.0, excludes_self=without)
    if ranged:
        span: Term | None = terms.of(edge) if isinstance(edge, exp.Expression) else None
        if span is None or span.vague or span.nodes:
            return Frame(within=0.0, excludes_self=True) if back else Frame()
        return Frame(within=-span.low, excludes_self=True) if back else Frame(within=span.high)
    return Frame(within=0.0, excludes_self=True) if back else Frame()


def _is_endless(edge: object) -> bool:
    return isinstance(edge, str) and edge.upper() == "UNBOUNDED"


def add_window(tree: exp.Window, relation: Relation, scope: Scope) -> None:
    """Take in what one window function reads."""
    function = tree.this
    while isinstance(function, (exp.IgnoreNulls, exp.RespectNulls, exp.Filter, exp.WithinGroup)):
        function = function.this
    named = _named(tree, scope)
    partition = list(tree.args.get("partition_by") or named.args.get("partition_by") or [])
    order = tree.args.get("order") or named.args.get("order")
    if "spec" in named.args and not tree.args.get("spec"):
        tree.set("spec", named.args["spec"])
    rows = _taken(function, relation, scope)
    if not rows:
        return
    graph = scope.reader.graph
    parts = [scope.terms.of(part) for part in partition]
    first = order.expressions[0] if order is not None and order.expressions else None
    descending = bool(first is not None and first.args.get("desc"))
    frame = frame_of(tree, function, scope.terms, descending=descending) if first is not None else Frame()
    if _less_itself(tree, function):
        frame = Frame(within=frame.within, excludes_self=True)
    by = None if first is None else scope.terms.of(first.this)
    direction: Direction = "all" if first is None else "past" if math.isfinite(frame.within) else "future"
    change: dict[str, object] = {
        "how": "window", "line": scope.line_of(tree) or scope.line, "reason": _words(tree, direction),
        "excludes_self": frame.excludes_self, "direction": direction,
    }  # fmt: skip
    guard = tree.this.expression if isinstance(tree.this, exp.Filter) else None
    held = Facts() if guard is None else scope.predicates.of(guard.this)
    every = set(relation.live)
    doubles, names = relation.double(graph, every, change)
    relation.exempt |= {doubles[number] for number in every - rows}
    _end(tree, function, scope, doubles)
    for part in parts:
        if part is not None:
            for node, _ in part.nodes:
                if node in names:
                    relation.bounds.equal(node, names[node])
    pin(partition, relation, scope, doubles)
    if by is not None and len(by.nodes) == 1 and by.nodes[0][0] in names and math.isfinite(frame.within):
        node = by.nodes[0][0]
        relation.bounds.add(names[node], node, (frame.within, EQUAL[1]))
        if frame.excludes_self and frame.within == 0 and by.lone is not None:
            relation.bounds.add(names[node], node, (0.0, 0))  # ties apart: two rows of one instant have no order
    relation.bounds.add_all(held.bounds.renamed(names))


def _less_itself(tree: exp.Window, function: exp.Expression) -> bool:
    """Whether a row's own value is taken off again: ``SUM(x) OVER (... ROWS ... CURRENT ROW) - x``."""
    spec, parent = tree.args.get("spec"), tree.parent
    by_rows = spec is not None and str(spec.args.get("kind") or "").upper() == "ROWS"
    summed = isinstance(function, (exp.Sum, exp.Count, exp.ArrayAgg))
    return (
        by_rows
        and summed
        and isinstance(parent, exp.Sub)
        and parent.this is tree
        and parent.expression == function.this
    )


def _end(tree: exp.Window, function: exp.Expression, scope: Scope, doubles: dict[int, int]) -> None:
    """Keep the instant until which a row holds: that of the row after it."""
    if not isinstance(function, exp.Lead) or len(function.args.get("this", exp.Null()).args) == 0:
        return
    term, graph = scope.terms.of(function.this), scope.reader.graph
    lone = None if term is None else term.lone
    owner = None if lone is None else graph.nodes[lone].owner
    if lone is not None and owner is not None and owner in doubles and lone == graph.instances[owner].time:
        end = graph.node(f"the end of {graph.nodes[lone].label}", owner=owner)
        graph.ends[end] = doubles[owner]
        scope.reader.window_terms[id(tree)] = Term(nodes=((end, 1),))


def _named(tree: exp.Window, scope: Scope) -> exp.Expression:
    """Return the window of a WINDOW clause that this one names."""
    name = tree.args.get("alias")
    wanted = name.name.lower() if name is not None else ""
    for window in scope.windows:
        if window.this is not None and window.this.name.lower() == wanted:
            return window
    return exp.Window()


def _taken(function: exp.Expression, relation: Relation, scope: Scope) -> set[int]:
    """Return the rows whose values a function reads; a count of rows, or a rank, reads all."""
    named: set[int] = set()
    for column in function.find_all(exp.Column):
        if column.name != "*":
            named |= scope.rows_of(column) & relation.live
    graph = scope.reader.graph
    if not named:
        named = set(relation.live)
        kinds = {graph.instances[number].role for number in named}
        if kinds <= {"spine", "static"} and isinstance(function, _RANKS) and scope.reader.roles.of_events_differ():
            return set()  # choosing rows of the spine
    return named


def pin(partition: list[exp.Expression], relation: Relation, scope: Scope, doubles: dict[int, int]) -> None:
    """Give doubles of the spine the time of their rows, where a partition is by what identifies one."""
    graph = scope.reader.graph
    for number, double in doubles.items():
        one, other = graph.instances[number], graph.instances[double]
        if one.role != "spine" or one.time is None or other.time is None:
            continue
        others = {row for row in relation.live if graph.instances[row].role == "event"}
        if not others:
            continue
        for part in partition:
            if isinstance(part, exp.Column) and number in scope.rows_of(part) and not scope.is_shared_key(part, others):
                relation.bounds.equal(one.time, other.time)


def _words(tree: exp.Window, direction: Direction) -> str:
    text = tree.sql()
    text = text if len(text) <= 90 else f"{text[:87]}..."
    if direction == "all":
        return f"{text} takes in the whole partition, later rows too"
    if direction == "future":
        return f"{text} takes in rows that come later"
    return f"{text} takes in rows up to its own"
