"""Conditions as what they prove: the differences that hold on every row that meets them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from timewell.audit.bounds import BEFORE, Bounds
from timewell.audit.graph import UNITS
from timewell.audit.terms import Term, Terms, compare

_FLIPPED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
    exp.EQ: exp.EQ,
}
_OPPOSITE: dict[type[exp.Expression], type[exp.Expression] | None] = {
    exp.LT: exp.GTE, exp.LTE: exp.GT, exp.GT: exp.LTE, exp.GTE: exp.LT, exp.EQ: None, exp.NEQ: exp.EQ,
    exp.NullSafeEQ: None, exp.NullSafeNEQ: exp.EQ,
}  # fmt: skip
COMPARISONS = (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)


@dataclass(slots=True)
class Facts:
    """What a condition proves, which nodes are null where it holds, and which pairs it speaks of without a proof."""

    bounds: Bounds = field(default_factory=Bounds)
    nulls: set[int] = field(default_factory=set)
    hints: set[tuple[int, int]] = field(default_factory=set)

    def both(self, other: Facts) -> Facts:
        """Add what a second condition proves."""
        self.bounds.add_all(other.bounds)
        self.nulls |= other.nulls
        self.hints |= other.hints
        return self

    def either(self, other: Facts, ends: Container[int] = ()) -> Facts:
        """Return what holds where one of two conditions does."""
        joined = self.bounds.either(other.bounds, self.nulls, other.nulls, ends)
        return Facts(bounds=joined, nulls=self.nulls & other.nulls, hints=self.hints | other.hints)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicates:
    """Reads conditions.

    Attributes
    ----------
    terms
        Reads their sides.
    outputs
        Gives the terms of a subquery's outputs: ``x IN (SELECT ...)``.
    flags
        Gives what a column that holds a condition proves where it is true.
    """

    terms: Terms
    outputs: Callable[[exp.Expression], Sequence[Term | None]]
    flags: Callable[[exp.Column], Facts | None]

    def of(self, tree: exp.Expression | None, *, negated: bool = False) -> Facts:
        """Return what a condition (or its opposite) proves."""
        if tree is None:
            return Facts()
        if isinstance(tree, (exp.And, exp.Or)):
            left, right = self.of(tree.this, negated=negated), self.of(tree.expression, negated=negated)
            return (
                left.both(right) if isinstance(tree, exp.And) != negated else left.either(right, self.terms.graph.ends)
            )
        if isinstance(tree, exp.Column):
            return (None if negated else self.flags(tree)) or Facts()
        if isinstance(tree, exp.Not):
            return self.of(tree.this, negated=not negated)
        if isinstance(tree, (exp.Paren, exp.Alias)):
            return self.of(tree.this, negated=negated)
        if isinstance(tree, exp.Between):
            return self.of(_between(tree), negated=negated)
        if isinstance(tree, exp.Is):
            return self._is(tree, negated=negated)
        if isinstance(tree, exp.In):
            return Facts() if negated else self._in(tree)
        if isinstance(tree, (exp.Coalesce, exp.Cast)) and isinstance(tree.this, exp.Expression):
            return self.of(tree.this, negated=negated)
        if isinstance(tree, COMPARISONS):
            return self._compare(tree, negated=negated)
        return Facts()

    def _is(self, tree: exp.Is, *, negated: bool) -> Facts:
        if isinstance(tree.expression, exp.Boolean):
            return self.of(tree.this, negated=negated == bool(tree.expression.this))
        term = self.terms.of(tree.this)
        lone = None if term is None else term.lone
        return Facts() if negated or lone is None else Facts(nulls={lone})

    def _in(self, tree: exp.In) -> Facts:
        query = tree.args.get("query")
        given = list(tree.this.expressions) if isinstance(tree.this, exp.Tuple) else [tree.this]
        facts = Facts()
        if query is None:
            return facts
        for part, found in zip(given, self.outputs(query), strict=False):
            term = self.terms.of(part)
            if term is not None and found is not None:
                proven, hint = compare(exp.EQ, term, found)
                facts.both(Facts(bounds=proven, hints={hint} if hint else set()))
        return facts

    def _compare(self, tree: exp.Expression, *, negated: bool) -> Facts:
        left, right = tree.this, tree.expression
        for one, other in ((left, right), (right, left)):
            if (
                isinstance(one, exp.Column)
                and other == exp.Literal.number(1)
                and isinstance(tree, exp.EQ)
                and not negated
            ):
                flagged = self.flags(one)
                if flagged is not None:
                    return flagged
            if isinstance(other, exp.Boolean) and isinstance(tree, (exp.EQ, exp.NEQ)):
                return self.of(one, negated=negated != (isinstance(tree, exp.EQ) != bool(other.this)))
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple) and isinstance(tree, exp.EQ) and not negated:
            facts = Facts()
            for one, other in zip(left.expressions, right.expressions, strict=False):
                facts.both(self._compare(exp.EQ(this=one.copy(), expression=other.copy()), negated=False))
            return facts
        kind = _OPPOSITE[type(tree)] if negated else type(tree)
        kind = exp.EQ if kind is exp.NullSafeEQ else kind
        if kind is None or kind not in _FLIPPED:
            return Facts()
        if kind in (exp.GT, exp.GTE):
            kind, left, right = _FLIPPED[kind], right, left
        return self._sides(kind, left, right)

    def _sides(self, kind: type[exp.Expression], left: exp.Expression, right: exp.Expression) -> Facts:
        """Compare, each of a GREATEST on the small side and of a LEAST on the large side by itself."""
        facts = Facts()
        smalls = [left.this, *left.expressions] if isinstance(left, exp.Greatest) and kind is not exp.EQ else [left]
        larges = [right.this, *right.expressions] if isinstance(right, exp.Least) and kind is not exp.EQ else [right]
        for small in smalls:
            for large in larges:
                one, other = self.terms.of(small), self.terms.of(large)
                if one is not None and other is not None:
                    proven, hint = compare(kind, one, other)
                    self._sharpen(proven)
                    facts.both(Facts(bounds=proven, hints={hint} if hint else set()))
        return facts

    def _sharpen(self, proven: Bounds) -> None:
        """Enter for months, which are not of one length, that one that begins before another ends by then."""
        graph = self.terms.graph
        for a, b, bound in list(proven):
            grid, base = graph.nodes[a].grid, graph.floors.get(a)
            uneven = grid in ("month", "quarter", "year") and graph.nodes[b].grid == grid
            if base is not None and grid is not None and uneven and bound[0] <= -UNITS[grid][0]:
                proven.add(base, b, BEFORE)


def _between(tree: exp.Between) -> exp.Expression:
    low = exp.GTE(this=tree.this.copy(), expression=tree.args["low"].copy())
    high = exp.LTE(this=tree.this.copy(), expression=tree.args["high"].copy())
    both: exp.Expression = exp.And(this=low, expression=high)
    if tree.args.get("symmetric"):
        back = exp.And(
            this=exp.GTE(this=tree.this.copy(), expression=tree.args["high"].copy()),
            expression=exp.LTE(this=tree.this.copy(), expression=tree.args["low"].copy()),
        )
        both = exp.Or(this=both, expression=back)
    return both
