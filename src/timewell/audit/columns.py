"""Calls on columns: shifts, rolling windows, fills, comparisons by name, cuts of instants."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from sqlglot import exp

from timewell.audit import methods
from timewell.audit.frames import Frame, Series, aggregated, aliased, column, joined, on_keys
from timewell.audit.reading import CallReader, Thing, first_number


@dataclass(slots=True)
class ColumnCalls:
    """Reads one call on a column."""

    call: CallReader

    def of(self, series: Series, name: str) -> Thing:
        """Return what the call gives."""
        by = self.call.by
        if name in methods.COMPARISONS and self.call.node.args:
            kind: type[exp.Expression] = getattr(exp, methods.COMPARISONS[name])
            return by.combined(kind, series, by.of(self.call.node.args[0]))
        if name == "between":
            return self._between(series)
        if name in methods.FLOORS:
            return by.floor(series, name, methods.frequency(self.call.text(0, "freq"))) or series
        if name in ("shift", "diff", "pct_change"):
            return self._moved(series, name)
        if name == "rolling":
            return self._rolling(series)
        if name in methods.FUTURE or (name in ("fillna", "fill_null") and self._backwards()):
            return series.reaching("after")
        if name in methods.CUMULATIVE:
            return replace(series.reaching("upto"), rolling=name in ("expanding", "ewm") or series.rolling)
        if name == "cumcount":
            return series.reaching("before")
        return self._other(series, name)

    def _other(self, series: Series, name: str) -> Thing:
        by = self.call.by
        if name in ("transform", "apply", "pipe"):
            return self._applied(series, name)
        if name in methods.WHOLE:
            return series.reaching("all")
        if name in ("fillna", "fill_null"):
            value = by.of(self.call.node.args[0]) if self.call.node.args else None
            return self._filled(series, value)
        if name in ("isna", "isnull", "notna", "notnull", "is_null", "is_not_null"):
            return replace(series, value=_null(series.value, negated="not" in name), reach="")
        if name == "over":
            return replace(series, keys=tuple(column(key) for key in by.names(self.call.given(0)))).reaching("all")
        if name == "map":
            return self._mapped(series)
        if name in ("rename", "alias", "to_frame") and self.call.text(0, "name"):
            return replace(series, name=self.call.text(0, "name"))
        if name in methods.AGGREGATES and not series.rolling:
            return self._aggregated(series)
        if name in ("where", "mask") and self.call.node.args:
            return self._where(series, name)
        if name == "isin":
            return replace(series, value=exp.Anonymous(this="unread", expressions=[series.value.copy()]))
        return series

    def _between(self, series: Series) -> Thing:
        by, given = self.call.by, self.call
        low, high = given.given(0, "left"), given.given(1, "right")
        inclusive = given.text(2, "inclusive") or "both"
        if low is None or high is None:
            return series
        lower = by.combined(exp.GTE if inclusive in ("both", "left") else exp.GT, series, by.of(low))
        upper = by.combined(exp.LTE if inclusive in ("both", "right") else exp.LT, series, by.of(high))
        return by.combined(exp.And, lower, upper)

    def _moved(self, series: Series, name: str) -> Series:
        steps = first_number(self.call.node.args, self.call.named, "periods")
        if "n" in self.call.named:
            steps = first_number([], self.call.named, "n")
        if steps is None:
            return replace(series, frame=series.frame.unknown(f"by how much `{name}` moves"))
        if steps < 0:
            return series.reaching("after")
        if name == "shift":
            return series.reaching("before") if steps else series
        timely = isinstance(series.value, exp.Column) and series.value.name == self.call.by.reader.time_of(series.frame)
        return series.reaching("before" if timely else "upto")

    def _rolling(self, series: Series) -> Series:
        named = self.call.named
        centered = named.get("center")
        if isinstance(centered, ast.Constant) and centered.value:
            return replace(series.reaching("after"), rolling=True)
        closed = self.call.text(-1, "closed")
        return replace(series.reaching("before" if closed in ("left", "neither") else "upto"), rolling=True)

    def _backwards(self) -> bool:
        return self.call.text(-1, "method") in methods.FUTURE or self.call.text(-1, "strategy") == "backward"

    def _filled(self, series: Series, value: object) -> Series:
        """Fill a column: with a number of the whole frame it reads all its rows."""
        if isinstance(value, Frame) and value.query.find(exp.Anonymous, exp.AggFunc):
            return series.reaching("all") if not series.reach else series
        if isinstance(value, Series) and value.reach:
            return series.reaching(value.reach)
        return series

    def _applied(self, series: Series, name: str) -> Thing:
        function = self.call.given(0, "func")
        if isinstance(function, ast.Lambda):
            found = self.call.by.reader.with_parameter(function, series)
            if isinstance(found, Series):
                return found
            if not series.grouped and not isinstance(found, Frame):
                return series
        if isinstance(function, ast.Constant) and function.value in ("cumsum", "cumcount", "ffill", "shift"):
            return series.reaching("before" if function.value in ("cumcount", "shift") else "upto")
        if name == "transform" or series.grouped:
            return series.reaching("all")
        return series

    def _aggregated(self, series: Series) -> Thing:
        """Aggregate a column: by the keys it is grouped by, or to one number."""
        frame = series.frame
        if series.reach and not series.grouped and not series.rolling:
            return series
        grouped = replace(frame, keys=series.keys, grouped=True)
        name = series.name or "value"
        values = [
            (word, series.value)
            for word in self.call.named
            if word not in ("q", "ddof", "axis", "numeric_only", "min_count")
        ] or [(name, series.value)]
        made = aggregated(grouped, values, self.call.line)
        return self.call.keep(made, frame)

    def _mapped(self, series: Series) -> Thing:
        """``key.map(values by key)`` is a join."""
        found = self.call.by.of(self.call.node.args[0]) if self.call.node.args else None
        if not isinstance(found, Frame) or not found.index:
            return (
                series
                if not isinstance(found, Frame)
                else replace(series, frame=series.frame.unknown("what `map` looks up"))
            )
        last = found.query.expressions[-1]
        key = series.value
        if not isinstance(key, exp.Column):
            return replace(series, frame=series.frame.unknown("what `map` looks up"))
        made = joined(series.frame, found, on_keys([key.name], [found.index[0]]), "left", self.call.line)
        whole = self.call.keep(replace(made, like=series.frame), series.frame, found)
        return Series(frame=whole, value=exp.column(last.alias_or_name, table=None), name=last.alias_or_name)

    def _where(self, series: Series, name: str) -> Thing:
        """``x.where(condition)`` keeps what meets it."""
        by = self.call.by
        condition = by.expression(by.of(self.call.node.args[0]))
        other = by.expression(by.of(self.call.node.args[1])) if len(self.call.node.args) > 1 else None
        if condition is None:
            return replace(series, frame=series.frame.unknown("a condition"))
        kept = condition if name == "where" else exp.Not(this=exp.paren(condition.copy()))
        made = exp.Case(
            ifs=[exp.If(this=kept.copy(), true=by.reader.settled(series))],
            default=other.copy() if other is not None else exp.null(),
        )
        return replace(series, value=made, reach="")


def _null(value: exp.Expression, *, negated: bool) -> exp.Expression:
    made = exp.Is(this=value.copy(), expression=exp.null())
    return exp.Not(this=made) if negated else made


def of_expression(call: CallReader, base: exp.Expression, name: str) -> Thing:
    """Return what a call on ``col("x")`` of polars or Spark gives."""
    by = call.by
    if name in methods.COMPARISONS and call.node.args:
        kind: type[exp.Expression] = getattr(exp, methods.COMPARISONS[name])
        other = by.expression(by.of(call.node.args[0]))
        return None if other is None else kind(this=base.copy(), expression=other.copy())
    if name in ("between", "is_between") and len(call.node.args) > 1:
        low, high = (by.expression(by.of(part)) for part in call.node.args[:2])
        closed = call.text(2, "closed") or "both"
        if low is None or high is None:
            return None
        upper = exp.LTE if closed in ("both", "right") else exp.LT
        return exp.And(
            this=exp.GTE(this=base.copy(), expression=low.copy()),
            expression=upper(this=base.copy(), expression=high.copy()),
        )
    if name in ("is_null", "is_not_null", "isNull", "isNotNull"):
        return _null(base, negated="ot" in name)
    if name == "over":
        return _over(call, base)
    if name in ("alias", "name"):
        return aliased(base.copy(), call.text(0)) if call.text(0) else base
    if name in methods.FLOORS or name == "truncate":
        unit = methods.frequency(call.text(0)) or methods.FLOORS.get(name)
        return exp.TimestampTrunc(this=base.copy(), unit=exp.var(unit.upper())) if unit else base
    reaching = ColumnCalls(call).of(
        Series(frame=Frame(query=exp.select("*").from_("_none"), line=call.line), value=base, rolling=True), name
    )
    if isinstance(reaching, Series) and reaching.reach:
        return exp.Anonymous(this=f"_reach_{reaching.reach}", expressions=[base.copy()])
    return base


def _over(call: CallReader, base: exp.Expression) -> exp.Expression:
    keys = [column(name) for name in call.by.names(call.given(0))]
    reach = next(
        (str(found.this)[7:] for found in base.find_all(exp.Anonymous) if str(found.this).startswith("_reach_")), "all"
    )
    inner = next(iter(base.find_all(exp.Column)), None)
    function: exp.Expression = exp.ArrayAgg(this=inner.copy()) if inner is not None else exp.Count(this=exp.Star())
    if reach == "all":
        return exp.Window(this=function, partition_by=keys)
    return exp.Anonymous(this=f"_reach_{reach}", expressions=[function, *keys])
