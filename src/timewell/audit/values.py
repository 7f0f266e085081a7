"""Python expressions over frames and columns, as the selects and conditions they stand for."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from timewell.audit import methods
from timewell.audit.calls import FrameCalls
from timewell.audit.frames import Frame, Series, aliased, column, filtered, star
from timewell.audit.graph import UNITS
from timewell.audit.methods import FUTURE
from timewell.audit.reading import ModuleReader, Row, Thing

_COMPARE: dict[type[ast.cmpop], type[exp.Expression]] = {
    ast.Lt: exp.LT, ast.LtE: exp.LTE, ast.Gt: exp.GT, ast.GtE: exp.GTE, ast.Eq: exp.EQ, ast.NotEq: exp.NEQ,
}  # fmt: skip
_BINARY: dict[type[ast.operator], type[exp.Expression]] = {
    ast.Add: exp.Add, ast.Sub: exp.Sub, ast.Mult: exp.Mul, ast.Div: exp.Div, ast.BitAnd: exp.And, ast.BitOr: exp.Or,
}  # fmt: skip
_LOCATORS = ("loc", "iloc", "at", "iat")


@dataclass(slots=True)
class Evaluator:
    """Reads one expression."""

    reader: ModuleReader

    def of(self, node: ast.expr) -> Thing:
        """Return what an expression is; nothing if it is not of frames."""
        if isinstance(node, ast.Name):
            return self.reader.lookup(node.id)
        if isinstance(node, ast.Constant):
            return _constant(node.value)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.Call):
            return FrameCalls(self).of(node)
        if isinstance(node, (ast.Compare, ast.BoolOp, ast.BinOp, ast.UnaryOp)):
            return self._operation(node)
        if isinstance(node, ast.IfExp):
            return self.of(node.body) or self.of(node.orelse)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            self.reader.comprehension(node)
        if isinstance(node, (ast.NamedExpr, ast.Await)):
            return self.of(node.value)
        return None

    def line(self, node: ast.expr) -> int:
        """Return the line of an expression in the whole text."""
        return node.lineno + self.reader.line_offset

    def _attribute(self, node: ast.Attribute) -> Thing:
        base = self.base(node.value)
        if isinstance(base, Row):
            return exp.column(node.attr, table=base.alias)
        if isinstance(base, Frame):
            if node.attr in _LOCATORS or node.attr in ("str", "dt", "values", "T", "index", "plot", "write"):
                return base
            return self.column_of(base, node.attr)
        if isinstance(base, Series):
            return self.floor(base, node.attr) or base
        if isinstance(base, exp.Expression):
            return base
        return None

    def base(self, node: ast.expr) -> object:
        """Return a value, a row of a loop included."""
        if isinstance(node, ast.Name) and isinstance(found := self.reader.rows.get(node.id), Row):
            return found
        return self.of(node)

    def floor(self, series: Series, name: str, unit: str | None = None) -> Series | None:
        """Cut a column of instants: ``.dt.floor("D")``, ``.dt.date``."""
        if name not in methods.FLOORS:
            return None
        chosen = unit or methods.FLOORS[name]
        if chosen not in UNITS:
            return None
        cut = exp.TimestampTrunc(this=series.value.copy(), unit=exp.var(chosen.upper()))
        return replace(series, value=cut)

    def column_of(self, frame: Frame, name: str) -> Series:
        """Return a column of a frame."""
        return Series(frame=frame, value=column(name), name=name, keys=frame.keys, grouped=frame.grouped)

    def _subscript(self, node: ast.Subscript) -> Thing:
        base, key = self.base(node.value), node.slice
        located = isinstance(node.value, ast.Attribute) and node.value.attr in _LOCATORS
        if isinstance(base, Row):
            return (
                exp.column(key.value, table=base.alias)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
                else None
            )
        if isinstance(base, Series):
            return self._masked_series(base, key) or base
        if not isinstance(base, Frame):
            return base if isinstance(base, exp.Expression) else None
        if located and isinstance(key, ast.Tuple) and len(key.elts) == 2:
            rows = self._picked(base, key.elts[0], node)
            return self._picked(rows, key.elts[1], node) if isinstance(rows, Frame) else rows
        return self._picked(base, key, node)

    def _masked_series(self, series: Series, key: ast.expr) -> Series | None:
        mask = self.expression(self.of(key)) if not isinstance(key, (ast.Constant, ast.Slice)) else None
        if mask is None:
            return None
        return replace(series, frame=self.reader.keep(filtered(series.frame, mask, series.frame.line), series.frame))

    def _picked(self, frame: Frame, key: ast.expr, node: ast.expr) -> Thing:
        if isinstance(key, ast.Constant):
            return self.column_of(frame, key.value) if isinstance(key.value, str) else frame
        if isinstance(key, (ast.List, ast.Tuple)) and all(isinstance(part, ast.Constant) for part in key.elts):
            names = tuple(str(part.value) for part in key.elts if isinstance(part, ast.Constant))
            if frame.grouped:
                return replace(frame, chosen=names)
            return self.reader.keep(replace(frame, chosen=names), frame)
        if isinstance(key, ast.Slice):
            backwards = isinstance(key.step, ast.UnaryOp)
            return self.reader.keep(replace(frame, descending=not frame.descending), frame) if backwards else frame
        mask = self.expression(self.of(key))
        if mask is None:
            return (
                frame
                if not self._reads_frames(key)
                else self.reader.keep(frame.unknown(f"the choice of rows in `{ast.unparse(key)}`"), frame)
            )
        return self.reader.keep(filtered(frame, mask, self.line(node)), frame)

    def _reads_frames(self, key: ast.expr) -> bool:
        return any(isinstance(part, (ast.Compare, ast.Call)) for part in ast.walk(key))

    def expression(self, thing: object) -> exp.Expression | None:
        """Return a value as an expression over columns."""
        if isinstance(thing, Series):
            return self.reader.settled(thing)
        if (
            isinstance(thing, Frame)
            and len(thing.query.expressions) == 1
            and not isinstance(thing.query.expressions[0], exp.Star)
        ):
            self.reader.used[id(thing)] = thing
            return exp.Subquery(this=thing.query.copy())
        return thing if isinstance(thing, exp.Expression) else None

    def _operation(self, node: ast.Compare | ast.BoolOp | ast.BinOp | ast.UnaryOp) -> Thing:
        if isinstance(node, ast.Compare):
            parts = [self.of(part) for part in (node.left, *node.comparators)]
            if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
                return None
            return self.combined(_COMPARE[type(node.ops[0])], *parts)
        if isinstance(node, ast.BoolOp):
            logical: type[exp.Expression] = exp.And if isinstance(node.op, ast.And) else exp.Or
            parts = [self.of(part) for part in node.values]
            made = parts[0]
            for part in parts[1:]:
                made = self.combined(logical, made, part)
            return made
        if isinstance(node, ast.UnaryOp):
            inner = self.of(node.operand)
            kind: type[exp.Expression] = exp.Not if isinstance(node.op, (ast.Invert, ast.Not)) else exp.Neg
            if isinstance(inner, Series):
                return replace(inner, value=kind(this=exp.paren(inner.value.copy())))
            return kind(this=inner.copy()) if isinstance(inner, exp.Expression) else None
        return self.combined(_BINARY.get(type(node.op), exp.Add), self.of(node.left), self.of(node.right))

    def combined(self, kind: type[exp.Expression], left: Thing, right: Thing) -> Thing:
        """Put two sides together; one that is not understood leaves what the other reads."""
        series = [part for part in (left, right) if isinstance(part, Series)]
        one, other = self.expression(left), self.expression(right)
        if one is None or other is None:
            if kind is exp.And and (one is not None or other is not None):
                return series[0] if series else (one if one is not None else other)
            known = one if one is not None else other
            if known is None:
                return None
            made: exp.Expression = exp.Anonymous(this="unread", expressions=[known.copy()])
        else:
            logical = kind in (exp.And, exp.Or)
            one, other = (exp.paren(part.copy()) if logical else part.copy() for part in (one, other))
            made = kind(this=one, expression=other)
        if not series:
            return made
        first = series[0]
        return Series(frame=first.frame, value=made, keys=first.keys, name=first.name, grouped=first.grouped)

    # --- what calls need -------------------------------------------------------------------------------------------

    def query_text(self, frame: Frame, text: str, node: ast.expr) -> Frame:
        """Keep the rows of ``df.query("...")``."""
        plain = text.replace("&", " and ").replace("|", " or ").replace("~", " not ").replace("@", " ")
        try:
            condition = sqlglot.parse_one(f"SELECT 1 WHERE {plain}", dialect="duckdb").args["where"].this
        except (SqlglotError, AttributeError, KeyError):
            return self.reader.keep(frame.unknown(f"the query {text!r}"), frame)
        return self.reader.keep(filtered(frame, condition, self.line(node)), frame)

    def names(self, node: ast.expr | None) -> list[str]:
        """Return the names that a list, or a single text, holds."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [name for part in node.elts for name in self.names(part)]
        found = self.of(node) if isinstance(node, ast.Call) else None
        if isinstance(found, exp.Column):
            return [found.name]
        return [found.name] if isinstance(found, Series) and found.name else []

    def later(self, series: Series, name: str) -> Series:
        """Return a series into which later rows come."""
        return series.reaching("after") if name in FUTURE else series.reaching("upto")

    def framed(self, series: Series, line: int) -> Frame:
        """Return a series as a frame of its own."""
        if isinstance(series.value, exp.Column) and not series.reach:
            return replace(series.frame, chosen=(series.name,)) if series.name else series.frame
        made = star(series.frame, aliased(self.reader.settled(series), series.name or "value"))
        return self.reader.keep(series.frame.over(made, line), series.frame)


def _constant(value: object) -> exp.Expression | None:
    if isinstance(value, bool):
        return exp.Boolean(this=value)
    if isinstance(value, (int, float)):
        return exp.Literal.number(value)
    return exp.Literal.string(value) if isinstance(value, str) else None
