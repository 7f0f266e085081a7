"""Scalar expressions as instants: a column, plus or minus so many microseconds, perhaps cut to a unit.

Rule: an expression that is not surely such a form has no term. A term's ``low`` and ``high`` bound what is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlglot import exp

from timewell.audit.bounds import EQUAL, Bounds
from timewell.audit.graph import UNITS, ZERO, Graph, common_grid
from timewell.types import DAY_US, SECOND_US

_PASS_THROUGH = (
    exp.Paren, exp.AtTimeZone, exp.TimeStrToTime, exp.StrToTime, exp.UnixToTime, exp.ConvertTimezone, exp.TsOrDsToTimestamp,
    exp.Timestamp, exp.StrToUnix, exp.TimeToUnix, exp.Datetime, exp.FromTimeZone, exp.CurrentTimestamp, exp.UnixSeconds,
    exp.UnixMillis, exp.UnixMicros, exp.Collate, exp.Alias,
)  # fmt: skip
_SECONDS = (exp.StrToUnix, exp.TimeToUnix, exp.UnixSeconds)
_DAYS = (exp.Date, exp.TsOrDsToDate, exp.TsOrDsToDateStr)
_TRUNCATIONS = (exp.DateTrunc, exp.TimestampTrunc, exp.DatetimeTrunc)
_SHIFTS = {
    exp.DateAdd: 1, exp.DateSub: -1, exp.TsOrDsAdd: 1, exp.TimestampAdd: 1, exp.TimestampSub: -1, exp.DatetimeAdd: 1,
    exp.DatetimeSub: -1, exp.TimeAdd: 1, exp.TimeSub: -1,
}  # fmt: skip
_DIFFERENCES = (exp.DateDiff, exp.TimestampDiff, exp.DatetimeDiff, exp.TsOrDsDiff)
_NOW = (exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentDatetime, exp.CurrentTimestampLTZ)
_NAMED = {
    "age": "difference", "dateadd": "shift", "date_add": "shift", "timestampadd": "shift", "adddate": "shift",
    "subdate": "unshift", "date_sub": "unshift", "epoch": "seconds", "unix_timestamp": "seconds", "epoch_ms": "millis",
    "epoch_us": "micros", "todate": "day", "tostartofday": "day", "tostartofhour": "hour", "tostartofmonth": "month",
    "tostartofweek": "week", "tomonday": "week", "totimezone": "same", "to_timestamp": "same", "timestamp": "same",
    "todatetime": "same", "todatetime64": "same", "tounixtimestamp": "seconds", "from_unixtime": "same", "getdate": "now",
    "now": "now", "sysdate": "now", "to_timestamp_ntz": "same", "to_timestamp_tz": "same", "trunc": "cut",
    "unix_millis": "millis", "make_timestamp": "same", "strptime": "same", "to_utc_timestamp": "same",
    "from_utc_timestamp": "same", "sysdatetime": "now", "getutcdate": "now", "timezone": "last", "datetime": "same",
    "to_datetime": "same", "unixepoch": "seconds", "julianday": "days",
}  # fmt: skip
_SCALES = {"seconds": float(SECOND_US), "millis": 1000.0, "micros": 1.0, "days": float(DAY_US)}
_FORMATS = {"%Y": "year", "%m": "month", "%d": "day", "%H": "hour", "%M": "minute", "%S": "second"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A sum of nodes and a span.

    Attributes
    ----------
    nodes
        Node and sign.
    low, high
        Bounds of the span, microseconds.
    grid
        Unit on whose boundaries the value lies.
    scale
        Microseconds in one of the numbers that the value is given in; none for an instant.
    vague
        Whether more is added, of unknown size.
    """

    nodes: tuple[tuple[int, int], ...] = ()
    low: float = 0.0
    high: float = 0.0
    grid: str | None = None
    scale: float | None = None
    vague: bool = False

    def shifted(self, low: float, high: float, grid: str | None) -> Term:
        """Add a span."""
        return replace(self, low=self.low + low, high=self.high + high, grid=common_grid(self.grid, grid))

    def negative(self) -> Term:
        """Turn the sign."""
        nodes = tuple((node, -sign) for node, sign in self.nodes)
        return replace(self, nodes=nodes, low=-self.high, high=-self.low)

    def plus(self, other: Term) -> Term:
        """Add another term."""
        sums: dict[int, int] = {}
        for node, sign in (*self.nodes, *other.nodes):
            sums[node] = sums.get(node, 0) + sign
        return Term(
            nodes=tuple((node, sign) for node, sign in sums.items() if sign),
            low=self.low + other.low,
            high=self.high + other.high,
            grid=common_grid(self.grid, other.grid),
            scale=self.scale if self.scale is not None else other.scale,
            vague=self.vague or other.vague,
        )

    @property
    def lone(self) -> int | None:
        """The node, of a term that is one node and nothing else."""
        return (
            self.nodes[0][0]
            if len(self.nodes) == 1 and self.nodes[0][1] == 1 and not self.low and not self.high and not self.vague
            else None
        )


Resolve = Callable[[exp.Expression], Term | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Reads expressions; columns and subqueries are looked up by whoever knows the scope."""

    graph: Graph
    resolve: Resolve

    def of(self, tree: exp.Expression) -> Term | None:
        """Return the term of an expression, or nothing."""
        if isinstance(tree, (exp.Column, exp.Subquery, exp.Select, exp.Window, exp.AggFunc, exp.Dot, exp.Identifier)):
            return self.resolve(tree)
        if isinstance(tree, (exp.Parameter, exp.Placeholder, exp.SessionParameter, exp.Var)):
            name = tree.sql()
            return Term(nodes=((self.graph.node(f"the parameter {name}", "parameter", name), 1),))
        if isinstance(tree, _NOW):
            return Term(nodes=((self.graph.node("now", "now"), 1),))
        if isinstance(tree, exp.Literal):
            return self._literal(tree)
        if isinstance(tree, exp.Interval):
            low, high, grid = self.span(tree)
            return Term(low=low, high=high, grid=grid) if math.isfinite(low) else Term(vague=True)
        if isinstance(tree, (exp.Coalesce, exp.Nullif)):
            return self.of(tree.this)
        return self._arithmetic(tree) or self._call(tree)

    def _literal(self, tree: exp.Literal) -> Term | None:
        if not tree.is_string:
            return Term(low=float(tree.this), high=float(tree.this), scale=0.0)
        try:
            instant = datetime.fromisoformat(str(tree.this).strip())
        except ValueError:
            return None
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        at_us = instant.timestamp() * SECOND_US
        grid = "day" if at_us % DAY_US == 0 else None
        return Term(nodes=((ZERO, 1),), low=at_us, high=at_us, grid=grid)

    def _arithmetic(self, tree: exp.Expression) -> Term | None:
        if isinstance(tree, exp.Neg):
            inner = self.of(tree.this)
            return inner and inner.negative()
        if isinstance(tree, (exp.Add, exp.Sub)):
            left, right = self.of(tree.this), self.of(tree.expression)
            if left is None or right is None:
                known = left or right
                return None if known is None or not known.nodes else replace(known, vague=True, grid=None)
            left, right = _same_scale(left, right)
            return left.plus(right.negative() if isinstance(tree, exp.Sub) else right)
        if isinstance(tree, (exp.Mul, exp.Div)):
            return self._product(tree)
        return None

    def _product(self, tree: exp.Expression) -> Term | None:
        left, right = self.of(tree.this), self.of(tree.expression)
        for number, other, given in ((left, right, "right"), (right, left, "left")):
            if number is None or number.scale != 0.0 or number.nodes or other is None:
                continue
            factor = number.low
            if not other.nodes and isinstance(tree, exp.Mul):
                ends = sorted((other.low * factor, other.high * factor))
                return replace(other, low=ends[0], high=ends[1])
            if isinstance(tree, exp.Div) and given == "left" and factor > 0 and other.scale:
                return replace(other, scale=other.scale * factor, grid=None)
        spans = [part for part in (left, right) if part is not None and not part.nodes and part.scale is None]
        return Term(vague=True) if spans else None

    def _call(self, tree: exp.Expression) -> Term | None:
        if isinstance(tree, _DAYS):
            return self.cut(self.of(tree.this), "day")
        if isinstance(tree, (exp.Cast, exp.TryCast)):
            inner = self.of(tree.this)
            return self.cut(inner, "day") if tree.to.is_type("date", "date32") else inner
        if isinstance(tree, _TRUNCATIONS):
            return self.cut(self.of(tree.this), _unit(tree.args.get("unit")))
        if isinstance(tree, exp.TimeToStr):
            return self.cut(self.of(tree.this), _format_unit(tree.args.get("format")))
        if isinstance(tree, exp.Year):
            return self.cut(self.of(tree.this), "year")
        if isinstance(tree, exp.Extract):
            return self._extract(tree)
        for kind, sign in _SHIFTS.items():
            if isinstance(tree, kind):
                return self._shift(tree.this, tree.expression, tree.args.get("unit"), sign)
        if isinstance(tree, exp.AddMonths):
            return self._shift(tree.this, tree.expression, exp.var("month"), 1)
        if isinstance(tree, _DIFFERENCES):
            return self._difference(tree)
        if isinstance(tree, _PASS_THROUGH):
            inner = self.of(tree.this) if isinstance(tree.this, exp.Expression) else None
            return replace(inner, scale=float(SECOND_US)) if inner is not None and isinstance(tree, _SECONDS) else inner
        if isinstance(tree, exp.LastDay):
            inner = self.of(tree.this)
            return inner and replace(inner, low=inner.low - DAY_US, high=inner.high + 31 * DAY_US, grid="day")
        return self._named(tree) if isinstance(tree, (exp.Anonymous, exp.Func)) else None

    def _extract(self, tree: exp.Extract) -> Term | None:
        part = tree.this.name.lower()
        inner = self.of(tree.expression)
        if part == "epoch":
            return inner and replace(inner, scale=float(SECOND_US))
        if part in UNITS and inner is not None and sum(sign for _, sign in inner.nodes) == 0:
            unit = float(UNITS[part][0])  # whole units of a difference
            return replace(inner, low=inner.low - unit, high=inner.high + unit, scale=unit, grid=None)
        return self.cut(inner, "year") if part == "year" else None

    def _difference(self, tree: exp.Expression) -> Term | None:
        """Count the boundaries between two instants: the difference of both, cut to the unit."""
        unit = _unit(tree.args.get("unit")) or "day"
        later, earlier = self.cut(self.of(tree.this), unit), self.cut(self.of(tree.expression), unit)
        if later is None or earlier is None:
            return None
        return replace(later.plus(earlier.negative()), scale=float(UNITS[unit][0]), grid=unit)

    def _shift(
        self, base: exp.Expression, amount: exp.Expression | None, unit: exp.Expression | None, sign: int
    ) -> Term | None:
        inner = self.of(base)
        if inner is None or amount is None:
            return None
        if isinstance(amount, exp.Interval):
            low, high, grid = self.span(amount)
        else:
            low, high, grid = _scaled(_number(amount), _unit(unit) or "day")
        if not math.isfinite(low):
            return replace(inner, vague=True, grid=None)
        return inner.shifted(low, high, grid) if sign > 0 else inner.shifted(-high, -low, grid)

    def _named(self, tree: exp.Expression) -> Term | None:
        name = str(tree.this if isinstance(tree, exp.Anonymous) else tree.key).lower()
        given = list(tree.expressions) if isinstance(tree, exp.Anonymous) else [part for part in (tree.this,) if part]
        action = _NAMED.get(name, "")
        if action == "now":
            return Term(nodes=((self.graph.node("now", "now"), 1),))
        if not given or not action:
            return None
        if action == "difference" and len(given) == 2:
            left, right = self.of(given[0]), self.of(given[1])
            return None if left is None or right is None else left.plus(right.negative())
        if action in ("shift", "unshift"):
            return self._shift_call(given, 1 if action == "shift" else -1)
        inner = self.of(given[-1] if action == "last" else given[0])
        if action in _SCALES:
            return inner and replace(inner, scale=_SCALES[action])
        if action == "cut":
            return self.cut(inner, _unit(given[1]) if len(given) > 1 else "day")
        return self.cut(inner, action) if action in UNITS else inner

    def _shift_call(self, given: Sequence[exp.Expression], sign: int) -> Term | None:
        if len(given) == 3:
            return self._shift(given[2], given[1], given[0], sign)
        return self._shift(given[0], given[1], exp.var("day"), sign) if len(given) == 2 else None

    def cut(self, term: Term | None, unit: str | None) -> Term | None:
        """Cut a term down to a unit: what was no lone node becomes a range."""
        if term is None or unit is None:
            return None
        if term.grid is not None and common_grid(term.grid, unit) == unit:
            return term
        if len(term.nodes) != 1 or term.nodes[0][1] != 1 or term.vague:
            return replace(term, low=term.low - UNITS[unit][1], grid=unit)
        node = term.nodes[0][0]
        if term.low == term.high and term.low % UNITS[unit][0] == 0 and unit in ("day", "hour", "minute", "second"):
            return Term(nodes=((self.graph.floor(node, unit), 1),), low=term.low, high=term.high, grid=unit)
        if not term.low and not term.high:
            return Term(nodes=((self.graph.floor(node, unit), 1),), grid=unit)
        return replace(term, low=term.low - UNITS[unit][1], grid=unit)

    def span(self, tree: exp.Interval) -> tuple[float, float, str | None]:
        """Return how long an interval lasts, at least and at most; endless where that is not known."""
        unit = _unit(tree.args.get("unit"))
        if unit is None and isinstance(tree.this, exp.Literal):
            words = str(tree.this.this).split()
            if words == ["0"]:
                return 0.0, 0.0, None
            if len(words) == 2:
                return _scaled(_to_number(words[0]), _unit(exp.var(words[1])) or "")
            if len(words) == 1 and ":" in words[0]:
                hours, minutes = words[0].split(":")[:2]
                return _scaled(_to_number(hours) * 60 + _to_number(minutes), "minute")
        return _scaled(_number(tree.this), unit or "")


def _same_scale(left: Term, right: Term) -> tuple[Term, Term]:
    """Give a bare number the unit of the other side: days beside an instant."""
    if left.scale == 0.0 and right.scale != 0.0:
        right, left = _same_scale(right, left)
        return left, right
    if right.scale == 0.0 and left.scale != 0.0:
        unit = left.scale or float(DAY_US)
        grid = "day" if unit == DAY_US else left.grid
        right = replace(right, low=right.low * unit, high=right.high * unit, scale=left.scale, grid=grid)
    return left, right


def _scaled(number: float, unit: str) -> tuple[float, float, str | None]:
    if unit not in UNITS or not math.isfinite(number):
        return -math.inf, math.inf, None
    ends = sorted((number * UNITS[unit][0], number * UNITS[unit][1]))
    return ends[0], ends[1], unit


def _number(tree: exp.Expression | None) -> float:
    """Return the value of a literal number, or NaN."""
    if isinstance(tree, exp.Literal):
        return _to_number(str(tree.this))
    if isinstance(tree, exp.Neg):
        return -_number(tree.this)
    if isinstance(tree, (exp.Paren, exp.Cast)):
        return _number(tree.this)
    if isinstance(tree, exp.Mul):
        return _number(tree.this) * _number(tree.expression)
    return math.nan


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unit(tree: exp.Expression | None) -> str | None:
    """Return the name of a unit of time."""
    if tree is None:
        return None
    name = tree.name.lower().strip()
    short = {
        "mm": "month", "mon": "month", "month": "month", "yy": "year", "yyyy": "year", "dd": "day", "d": "day", "hh": "hour",
        "h": "hour", "mi": "minute", "n": "minute", "ss": "second", "s": "second", "q": "quarter", "qq": "quarter",
        "wk": "week", "ww": "week", "iw": "week", "isoweek": "week", "dayofyear": "day", "m": "minute", "min": "minute",
        "sec": "second", "us": "microsecond", "ms": "millisecond", "ddd": "day", "epoch": "second", "y": "year",
    }  # fmt: skip
    name = short.get(name, name.removesuffix("s"))
    name = "week" if name.startswith("week") else name
    return name if name in UNITS else None


def _format_unit(tree: exp.Expression | None) -> str | None:
    """Return the unit that a format cuts to, if its texts sort as the instants do."""
    text = "" if tree is None else tree.name.replace("strict", "")
    if text in ("%F", "%x"):
        return "day"
    parts = [text[at : at + 2] for at in range(len(text)) if text[at] == "%"]
    wanted = list(_FORMATS)[: len(parts)]
    return _FORMATS[parts[-1]] if parts and parts == wanted else None


def compare(kind: type[exp.Expression], left: Term, right: Term) -> tuple[Bounds, tuple[int, int] | None]:
    """Return what ``left < right`` (or ``<=``, ``=``) proves, and the pair of nodes it only hints at."""
    found = Bounds()
    if left.scale == 0.0 or right.scale == 0.0:
        left, right = _same_scale(left, right)
    grid = common_grid(left.grid or _any_grid(left), right.grid or _any_grid(right))
    hint = None
    sides = [(left, right)] if kind in (exp.LT, exp.LTE) else [(left, right), (right, left)]
    for small, large in sides:
        gap = small.plus(large.negative())
        plus = [node for node, sign in gap.nodes if sign == 1]
        minus = [node for node, sign in gap.nodes if sign == -1]
        if len(plus) + len(minus) != len(gap.nodes) or len(plus) > 1 or len(minus) > 1 or gap.vague:
            if plus and minus:
                hint = (plus[0], minus[0])
            continue
        if not gap.nodes:
            continue
        a, b = (plus or [ZERO])[0], (minus or [ZERO])[0]
        strict = kind is exp.LT
        if strict and grid is not None:
            found.add(a, b, (-gap.low - UNITS[grid][0], EQUAL[1]))
        else:
            found.add(a, b, (-gap.low, 0 if strict else 1))
    return found, hint


def _any_grid(term: Term) -> str | None:
    """Return the largest unit that divides a span that stands alone."""
    if term.nodes:
        return None
    return next(
        (
            unit
            for unit in ("year", "day", "hour", "minute", "second")
            if term.low == term.high and term.low % UNITS[unit][0] == 0
        ),
        None,
    )
