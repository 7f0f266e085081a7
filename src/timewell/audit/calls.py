"""Calls on frames and columns: merges, filters, groups, windows."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from sqlglot import exp

from timewell.audit import methods
from timewell.audit.columns import ColumnCalls, of_expression
from timewell.audit.frames import (
    Frame,
    Series,
    aggregated,
    aliased,
    assigned,
    bare,
    chosen_first,
    column,
    filtered,
    joined,
    on_keys,
    renamed,
)
from timewell.audit.reading import ExpressionReader, Thing
from timewell.audit.roles import is_time

_SINKS = frozenset(
    [
        "print",
        "len",
        "display",
        "isinstance",
        "type",
        "list",
        "set",
        "sorted",
        "str",
        "repr",
        "append",
        "extend",
        "insert",
        "dict",
        "tuple",
        "float",
        "int",
    ]
)
_SPANS = ("Timedelta", "timedelta", "DateOffset", "to_timedelta", "duration", "Hour", "Day", "Minute")


@dataclass(slots=True)
class FrameCalls:
    """Reads one call."""

    by: ExpressionReader
    node: ast.Call = field(default_factory=lambda: ast.Call(func=ast.Name(id=""), args=[], keywords=[]))
    named: dict[str, ast.expr] = field(default_factory=dict)

    def of(self, node: ast.Call) -> Thing:
        """Return what a call gives."""
        self.node = node
        self.named = {word.arg: word.value for word in node.keywords if word.arg}
        if isinstance(node.func, ast.Name):
            return self._plain(node.func.id)
        if not isinstance(node.func, ast.Attribute):
            return None
        name = node.func.attr
        base = self.by.of(node.func.value)
        if base is None:
            return self._of_module(name)
        if isinstance(base, Frame):
            return self._on_frame(base, name)
        if isinstance(base, Series):
            return ColumnCalls(self).of(base, name)
        return of_expression(self, base, name)

    @property
    def line(self) -> int:
        """The call's line."""
        return self.by.line(self.node)

    def given(self, at: int, *names: str) -> ast.expr | None:
        """Return an argument by name or place."""
        found = next((self.named[name] for name in names if name in self.named), None)
        if found is not None:
            return found
        return self.node.args[at] if 0 <= at < len(self.node.args) else None

    def text(self, at: int, *names: str) -> str:
        """Return an argument that is written out as a text."""
        node = self.given(at, *names)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

    def keep(self, made: Frame, *of: Frame) -> Frame:
        """Remember a frame that is made."""
        return self.by.reader.keep(made, *of)

    # --- functions and modules ------------------------------------------------------------------------------------

    def _plain(self, name: str) -> Thing:
        function = self.by.reader.functions.get(name)
        things = [self.by.of(part) for part in self.node.args]
        if function is not None:
            return self.by.reader.call(function, things, {key: self.by.of(value) for key, value in self.named.items()})
        return self._of_module(name)

    def _of_module(self, name: str) -> Thing:
        if name in _SPANS:
            return self._span(name)
        if name in (
            "Timestamp",
            "to_datetime",
            "datetime",
            "lit",
            "to_timestamp",
            "to_date",
            "array",
            "asarray",
            "Series",
        ):
            return self.by.of(self.node.args[0]) if self.node.args else None
        if name in ("col", "column"):
            return column(self.text(0)) if self.text(0) else None
        if name in ("merge", "merge_asof", "merge_ordered") and self.node.args:
            left = self._frame_of(self.given(0, "left"))
            return None if left is None else self._join_call(left, name, 1)
        if name in ("where", "when"):
            return self._when()
        if name in methods.READERS and not isinstance(self.node.func, ast.Name):
            return None
        if name == "concat":
            return self._concat()
        frames = [
            found for part in (*self.node.args, *self.named.values()) if isinstance(found := self.by.of(part), Frame)
        ]
        if frames and name not in _SINKS and not name.startswith(("write", "to_", "save", "dump", "log", "plot")):
            return self.keep(frames[0].unknown(f"the call of `{name}`"), *frames)
        expressions = [
            found
            for part in self.node.args
            if isinstance(found := self.by.expression(self.by.of(part)), exp.Expression)
        ]
        return exp.Anonymous(this="unread", expressions=expressions) if expressions else None

    def _span(self, name: str) -> exp.Expression | None:
        word, value = next(iter(self.named.items()), ("", None))
        first = self.node.args[0] if self.node.args else None
        unit = word.rstrip("s")
        if isinstance(first, ast.Constant):
            value, unit = first, self.text(1, "unit") or ("day" if name in ("timedelta", "Day") else name.lower())
            if isinstance(first.value, str):
                parts = (
                    first.value.split()
                    if " " in first.value
                    else [first.value.rstrip("abcdefghijklmnopqrstuvwxyzDHMSW"), first.value.lstrip("0123456789.-")]
                )
                return exp.Interval(
                    this=exp.Literal.string(parts[0]),
                    unit=exp.var(methods.FREQUENCIES.get(parts[-1].lower().rstrip("s"), parts[-1].lower()) or "day"),
                )
        sign = "-" if isinstance(value, ast.UnaryOp) else ""
        value = value.operand if isinstance(value, ast.UnaryOp) else value
        amount = str(value.value) if isinstance(value, ast.Constant) else "?"
        return exp.Interval(
            this=exp.Literal.string(sign + amount), unit=exp.var(methods.FREQUENCIES.get(unit.lower(), unit) or "day")
        )

    def _when(self) -> Thing:
        parts = [self.by.of(part) for part in self.node.args[:3]]
        whole = [self.by.expression(part) for part in parts]
        if not whole or whole[0] is None:
            return None
        values = [part if part is not None else exp.null() for part in (*whole[1:], None, None)]
        made = exp.Case(ifs=[exp.If(this=whole[0].copy(), true=values[0].copy())], default=values[1].copy())
        series = next((part for part in parts if isinstance(part, Series)), None)
        return made if series is None else replace(series, value=made, reach="")

    def _concat(self) -> Thing:
        first = self.given(0, "objs")
        parts = [self._frame_of(part) for part in first.elts] if isinstance(first, (ast.List, ast.Tuple)) else []
        frames = [part for part in parts if part is not None]
        if not frames:
            return None
        made = frames[0]
        axis = self.named.get("axis")
        for other in frames[1:]:
            if isinstance(axis, ast.Constant) and axis.value in (1, "columns"):
                made = self.keep(joined(made, other, [], "left", self.line), made, other)
            else:
                union = exp.Union(this=made.query.copy(), expression=other.query.copy(), distinct=False)
                whole = exp.select("*").from_(
                    exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier("_u")))
                )
                made = self.keep(made.over(whole, self.line, unread=made.unread + other.unread), made, other)
        return made

    def _frame_of(self, node: ast.expr | None) -> Frame | None:
        found = None if node is None else self.by.of(node)
        if isinstance(found, Series):
            return self.by.framed(found, self.line)
        return found if isinstance(found, Frame) else None

    # --- joins ----------------------------------------------------------------------------------------------------

    def _join_call(self, left: Frame, name: str, at: int) -> Frame | None:
        right = self._frame_of(self.given(at, "right", "other"))
        if right is None:
            return self.keep(left.unknown(f"what `{name}` joins"), left)
        asof = "asof" in name
        on = self.by.names(self.given(at + 1, "on")) if "left_on" not in self.named else []
        lefts = self.by.names(self.named.get("left_on")) or on
        rights = self.by.names(self.named.get("right_on")) or on
        lefts = lefts or list(left.index) if not asof else lefts
        rights = rights or list(right.index) if not asof else rights
        given = self.given(at + 1, "on")
        condition = self.by.of(given) if not on and given is not None else None
        if asof:
            return self._asof(left, right, lefts, rights)
        if not lefts:
            lefts = rights  # by the index of the right one
        conditions = on_keys(lefts, rights)
        whole = self.by.expression(condition)
        if whole is not None:
            conditions.append(whole)
        how = self.text(at + 2, "how") or ("left" if name == "join" and not on else "inner")
        return self.keep(joined(left, right, conditions, how, self.line), left, right)

    def _asof(self, left: Frame, right: Frame, lefts: list[str], rights: list[str]) -> Frame:
        mine = self.by.names(self.named.get("by") or self.named.get("left_by"))
        theirs = self.by.names(self.named.get("by") or self.named.get("right_by"))
        conditions = on_keys(mine, theirs)
        direction = self.text(-1, "direction", "strategy") or "backward"
        exact = self.named.get("allow_exact_matches")
        strict = isinstance(exact, ast.Constant) and exact.value is False
        for one, other in zip(lefts, rights, strict=False):
            earlier, later = exp.column(other, table="_r"), exp.column(one, table="_l")
            if direction == "forward":
                earlier, later = later, earlier
            if direction in ("forward", "backward"):
                kind = exp.LT if strict else exp.LTE
                conditions.append(kind(this=earlier, expression=later))
        made = joined(left, right, conditions, "left", self.line)
        if direction not in ("forward", "backward", "nearest"):
            made = made.unknown("the direction of `merge_asof`")
        return self.keep(made, left, right)

    # --- methods of frames ---------------------------------------------------------------------------------------

    _BY_NAME: ClassVar[dict[str, str]] = {
        "merge": "_merge", "join": "_merge", "join_asof": "_merge", "merge_asof": "_merge", "query": "_query", "filter": "_filter", "where": "_filter",
        "groupby": "_groupby", "group_by": "_groupby", "groupBy": "_groupby", "sort_values": "_sort", "sort": "_sort", "orderBy": "_sort",
        "rename": "_rename", "drop_duplicates": "_first", "dropDuplicates": "_first", "assign": "_assign", "with_columns": "_assign",
        "withColumn": "_assign", "with_column": "_assign", "select": "_assign", "resample": "_resample", "unique": "_first",
        "apply": "_apply", "pipe": "_pipe", "eval": "_unread", "groupby_rolling": "_unread", "crossJoin": "_merge", "set_index": "_index",
        "fillna": "_fill", "iterrows": "_same", "itertuples": "_same", "withColumnRenamed": "_rename_one", "selectExpr": "_unread", "map": "_unread",
        "get": "_get", "reset_index": "_reset", "transform": "_apply", "between_time": "_same", "isin": "_same", "asof": "_unread",
    }  # fmt: skip

    def _on_frame(self, frame: Frame, name: str) -> Thing:
        action: Callable[[Frame], Thing] | None = (
            getattr(self, self._BY_NAME[name], None) if name in self._BY_NAME else None
        )
        if action is not None:
            return action(frame)
        if frame.grouped and (name in methods.AGGREGATES or name == "apply"):
            return self._aggregate(frame)
        whole = Series(frame=frame, value=exp.Star(), keys=frame.keys, grouped=frame.grouped)
        if (
            name in methods.FUTURE
            or name in methods.CUMULATIVE
            or name in ("shift", "diff", "pct_change", "rolling", "rank", "cumcount", "transform", "ngroup")
        ):
            chosen = (
                replace(whole, value=column(frame.chosen[0]))
                if frame.chosen
                else replace(whole, value=exp.Count(this=exp.Star()))
            )
            return ColumnCalls(self).of(chosen, name)
        if name in methods.AGGREGATES and name not in ("first", "last", "head", "tail"):
            return self._aggregate(frame)
        return frame

    def _same(self, frame: Frame) -> Frame:
        return frame

    def _reset(self, frame: Frame) -> Frame:
        """Make columns of the index: of one that has no name, the number of a row."""
        dropped = self.named.get("drop")
        if frame.index or frame.grouped or (isinstance(dropped, ast.Constant) and dropped.value):
            return frame
        made = assigned(frame, "index", column("index"), self.line)
        return self.keep(replace(made, sorted_by=frame.sorted_by, descending=frame.descending), frame)

    def _get(self, frame: Frame) -> Thing:
        return self.by.column_of(frame, self.text(0)) if self.text(0) else frame

    def _unread(self, frame: Frame) -> Frame:
        return self.keep(frame.unknown(f"`{ast.unparse(self.node.func)[-40:]}`"), frame)

    def _merge(self, frame: Frame) -> Thing:
        name = self.node.func.attr if isinstance(self.node.func, ast.Attribute) else "merge"
        return self._join_call(frame, name, 0)

    def _query(self, frame: Frame) -> Frame:
        text = self.text(0, "expr")
        return self.by.query_text(frame, text, self.node) if text else self._unread(frame)

    def _filter(self, frame: Frame) -> Frame:
        made = frame
        for part in self.node.args:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                made = self.by.query_text(made, part.value, self.node)
                continue
            condition = self.by.expression(self.by.of(part))
            made = self._unread(made) if condition is None else self.keep(filtered(made, condition, self.line), made)
        return made

    def _groupby(self, frame: Frame) -> Frame:
        keys: list[exp.Expression] = []
        for part in [*self.node.args, *(self.named[name] for name in ("by", "level") if name in self.named)]:
            for one in part.elts if isinstance(part, (ast.List, ast.Tuple)) else [part]:
                keys += self._key(one, frame)
        self.by.reader.used[id(frame)] = frame
        return replace(frame, keys=tuple(keys), grouped=True)

    def _key(self, node: ast.expr, frame: Frame) -> list[exp.Expression]:
        if isinstance(node, ast.Call) and "Grouper" in ast.unparse(node.func):
            inner = FrameCalls(self.by)
            inner.node, inner.named = node, {word.arg: word.value for word in node.keywords if word.arg}
            return [self.bucket(frame, inner.text(0, "key"), inner.text(-1, "freq"), inner.text(-1, "label"))]
        names = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
        if names:
            return [column(names[0])]
        found = self.by.of(node)
        value = self.by.expression(found)
        if value is None:
            return []
        return [
            aliased(value.copy(), found.name)
            if isinstance(found, Series) and found.name and not isinstance(value, exp.Column)
            else value.copy()
        ]

    def bucket(self, frame: Frame, name: str, freq: str, label: str = "") -> exp.Expression:
        """Return the instant that a bucket of time is called by."""
        name = name or self.by.reader.time_of(frame) or "ts"
        unit = methods.frequency(freq)
        if unit is None:
            return column(name)
        cut: exp.Expression = exp.TimestampTrunc(this=column(name), unit=exp.var(unit.upper()))
        if label == "right":
            cut = exp.Add(this=cut, expression=exp.Interval(this=exp.Literal.string("1"), unit=exp.var(unit)))
        return aliased(cut, name)

    def _resample(self, frame: Frame) -> Frame:
        key = self.bucket(frame, self.text(-1, "on"), self.text(0, "rule"), self.text(-1, "label"))
        self.by.reader.used[id(frame)] = frame
        return replace(frame, keys=(*frame.keys, key), grouped=True)

    def _aggregate(self, frame: Frame) -> Frame:
        values: list[tuple[str, exp.Expression]] = []
        for name, value in self.named.items():
            parts = self.by.names(value)
            if parts and name not in ("axis", "q", "n", "numeric_only", "ddof"):
                values.append((name, column(parts[0])))
        for part in self.node.args:
            if isinstance(part, ast.Dict):
                values += [(name, column(name)) for key in part.keys if key is not None for name in self.by.names(key)]
            elif isinstance(found := self.by.expression(self.by.of(part)), exp.Expression) and found.find(exp.Column):
                values.append((found.alias_or_name or f"value_{len(values)}", bare(found)))
        values = values or [(name, column(name)) for name in frame.chosen] or [("rows", exp.Count(this=exp.Star()))]
        return self.keep(aggregated(frame, values, self.line), frame)

    def _sort(self, frame: Frame) -> Frame:
        names = self.by.names(self.given(0, "by"))
        order = self.named.get("ascending") or self.named.get("descending")
        first = order.elts[0] if isinstance(order, (ast.List, ast.Tuple)) and order.elts else order
        times = [at for at, name in enumerate(names) if name == self.by.reader.time_of(frame) or self._is_time(name)]
        if isinstance(order, (ast.List, ast.Tuple)) and times and times[0] < len(order.elts):
            first = order.elts[times[0]]
        down = isinstance(first, ast.Constant) and first.value is ("descending" in self.named)
        by = names[times[0]] if times else (names[0] if names else None)
        return self.keep(replace(frame, sorted_by=by, descending=down), frame)

    @staticmethod
    def _is_time(name: str) -> bool:
        return is_time(name)

    def _rename(self, frame: Frame) -> Frame:
        given = self.named.get("columns") or (self.node.args[0] if self.node.args else None)
        if isinstance(given, ast.Dict):
            names = {
                str(key.value): str(value.value)
                for key, value in zip(given.keys, given.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            }
            return self.keep(renamed(frame, names, self.line), frame)
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            last = frame.query.expressions[-1] if frame.query.expressions else None
            if isinstance(last, exp.Alias) and not isinstance(last.this, exp.Star):
                made = renamed(frame, {last.alias: given.value}, self.line)
                return self.keep(replace(made, index=frame.index), frame)
        return frame

    def _rename_one(self, frame: Frame) -> Frame:
        return self.keep(renamed(frame, {self.text(0): self.text(1)}, self.line), frame)

    def _first(self, frame: Frame) -> Frame:
        names = self.by.names(self.given(0, "subset"))
        return self.keep(chosen_first(frame, names, self.line), frame) if names else frame

    def _index(self, frame: Frame) -> Frame:
        return self.keep(replace(frame, index=tuple(self.by.names(self.given(0, "keys")))), frame)

    def _assign(self, frame: Frame) -> Frame:
        made = frame
        names: list[tuple[str, ast.expr]] = list(self.named.items())
        if len(self.node.args) == 2 and self.text(0):
            names.append((self.text(0), self.node.args[1]))
        else:
            for part in self.node.args:
                names += [("", one) for one in (part.elts if isinstance(part, (ast.List, ast.Tuple)) else [part])]
        for name, node in names:
            value = self.by.reader.bound(node, made)
            if isinstance(value, Series):
                made = self.keep(
                    self.by.reader.with_series(made, name or value.name or "value", value, self.line), made
                )
            elif isinstance(value, exp.Expression) and not isinstance(value, exp.Literal):
                made = self.keep(assigned(made, name or value.alias_or_name or "value", bare(value), self.line), made)
        return made

    def _fill(self, frame: Frame) -> Thing:
        if self.text(-1, "method") in methods.FUTURE or self.text(-1, "strategy") == "backward":
            return self._on_frame(frame, "bfill")
        value = self.by.of(self.node.args[0]) if self.node.args else None
        return (
            self.keep(joined(frame, value, [], "left", self.line), frame, value) if isinstance(value, Frame) else frame
        )

    def _apply(self, frame: Frame) -> Thing:
        """Read a function of rows as a subquery in each row; of groups, as what it says of one."""
        function = self.given(0, "func")
        if not isinstance(function, ast.Lambda):
            named = self.by.reader.functions.get(function.id) if isinstance(function, ast.Name) else None
            if frame.grouped and named is None:
                return self._aggregate(frame)
            if named is None:
                return self._unread(frame)
            return self.by.reader.row_wise(frame, named.args, named.body, self.line, grouped=frame.grouped)
        body = [ast.copy_location(ast.Return(value=function.body), function.body)]
        return self.by.reader.row_wise(frame, function.args, body, self.line, grouped=frame.grouped)

    def _pipe(self, frame: Frame) -> Thing:
        function = self.given(0, "func")
        named = self.by.reader.functions.get(function.id) if isinstance(function, ast.Name) else None
        if named is None:
            return self._unread(frame)
        return self.by.reader.call(
            named,
            [frame, *(self.by.of(part) for part in self.node.args[1:])],
            {key: self.by.of(value) for key, value in self.named.items()},
        )
