"""Questions about the tree of a select that need no scope."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from timewell.audit.graph import Graph, Instance
from timewell.audit.relations import Relation, Source, Value

AGGREGATES = (exp.AggFunc, exp.AnonymousAggFunc, exp.CombinedAggFunc)
_AGGREGATE_NAMES = frozenset(
    [
        "sumif",
        "countif",
        "avgif",
        "minif",
        "maxif",
        "anyif",
        "uniq",
        "uniqexact",
        "arg_max",
        "arg_min",
        "argmax",
        "argmin",
        "max_by",
        "min_by",
        "list",
        "any",
        "last",
        "first",
        "string_agg",
        "approx_percentile",
        "percentile",
        "bool_or",
        "bool_and",
        "grouparray",
        "uniqif",
    ]
)


def as_row(row: Instance, how: str) -> Instance:
    """Return a row as it is read through something."""
    return Instance(
        id=row.id, table=row.table, role=row.role, time=row.time, line=row.line, depth=row.depth, how=how,
        reason=row.reason, excludes_self=row.excludes_self, direction=row.direction, image_of=row.image_of,
    )  # fmt: skip


def first(graph: Graph, sources: Sequence[Source], name: str) -> Value | None:
    """Return the value of a column of the first source that has it."""
    sure = [source for source in sources if source.surely_has(graph, name)] or [one for one in sources if one.is_open()]
    return sure[0].get(graph, name) if sure else None


def queries_in(tree: exp.Expression) -> list[exp.Expression]:
    """Return the outermost subqueries of an expression."""
    if isinstance(tree, (exp.Select, exp.SetOperation)):
        return [tree]
    found = []
    for part in tree.iter_expressions():
        found += queries_in(part)
    return found


def is_aggregate(tree: exp.Select) -> bool:
    """Whether a select gives groups."""
    if tree.args.get("group") is not None:
        return True
    parts = [*tree.expressions, *([tree.args["having"]] if tree.args.get("having") else [])]
    for part in parts:
        for found in part.find_all(*AGGREGATES, exp.Anonymous):
            if isinstance(found, exp.Anonymous) and str(found.this).lower() not in _AGGREGATE_NAMES:
                continue
            if found.parent_select is tree and not _in_window(found):
                return True
    return False


def starred(tree: exp.Expression, relation: Relation) -> list[frozenset[int]]:
    """Return the rows that a ``*`` shows."""
    if isinstance(tree, exp.Star):
        return [source.all_rows() for source in relation.sources]
    if isinstance(tree, exp.Column) and isinstance(tree.this, exp.Star):
        return [source.all_rows() for source in relation.sources if source.alias == tree.table.lower()]
    return []


def counts_rows(tree: exp.Expression) -> bool:
    """Whether an expression counts rows, whatever is in them."""
    counts = [found for found in tree.find_all(exp.Count) if isinstance(found.this, exp.Star) or found.this is None]
    return any(not isinstance(found.parent, (exp.Filter, exp.Window)) for found in counts)


def _in_window(tree: exp.Expression) -> bool:
    parent = tree.parent
    while isinstance(parent, (exp.IgnoreNulls, exp.RespectNulls, exp.Filter, exp.WithinGroup)):
        parent = parent.parent
    return isinstance(parent, exp.Window)


def in_windows_clause(tree: exp.Window) -> bool:
    """Whether a window stands in a WINDOW clause."""
    return tree.arg_key == "windows"
