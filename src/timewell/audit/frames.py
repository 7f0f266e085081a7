"""Frames of pandas, polars and Spark as the selects that would give them, so that one judge judges both.

Rule: a frame is never computed. What a method does to the rows is written as a query; what is not understood is kept in
:attr:`Frame.unread` and makes the verdict UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlglot import exp

Reach = Literal["", "before", "upto", "after", "all"]
INNER = "_f"
NOWHERE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A table in the making.

    Attributes
    ----------
    query
        The select that gives it.
    line
        Where it was made.
    sorted_by, descending
        The order of its rows, where a call made one.
    keys
        Set by ``groupby``: what the next call groups by.
    grouped
        Whether the next call works on groups.
    chosen
        Columns chosen out of it.
    index
        Columns of its index, where they are known.
    unread
        What was done to it that is not followed.
    like
        The frame whose rows it has, one for one.
    """

    query: exp.Expression
    line: int
    sorted_by: str | None = None
    descending: bool = False
    keys: tuple[exp.Expression, ...] = ()
    grouped: bool = False
    chosen: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    like: Frame | None = None

    def over(self, query: exp.Expression, line: int, **changed: object) -> Frame:
        """Return the frame that a call makes of this one."""
        made = replace(self, query=query, line=line, keys=(), grouped=False, chosen=(), index=(), like=None)
        return replace(made, **changed)  # type: ignore[arg-type]  # names of its fields

    def unknown(self, what: str) -> Frame:
        """Return this frame after something that is not followed."""
        return replace(self, unread=(*self.unread, what))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A column in the making: an expression over the columns of a frame."""

    frame: Frame
    value: exp.Expression
    reach: Reach = ""
    name: str = ""
    keys: tuple[exp.Expression, ...] = ()
    grouped: bool = False
    rolling: bool = False

    def reaching(self, reach: Reach) -> Series:
        """Take in more rows: those before, those up to its own, later ones, or all of the group."""
        order: tuple[Reach, ...] = ("", "upto", "before", "after", "all")
        if {self.reach, reach} == {"upto", "before"}:
            return replace(self, reach="before")
        return replace(self, reach=max(self.reach, reach, key=order.index))


def table(name: str, line: int) -> Frame:
    """Return the frame of a table, which has its place where it is first joined."""
    made = exp.to_table(name)
    for identifier in made.find_all(exp.Identifier):
        identifier.meta["line"] = NOWHERE
    return Frame(query=exp.select("*").from_(made), line=line)


def column(name: str) -> exp.Expression:
    """Return a column by its name, whatever it holds."""
    return exp.column(exp.to_identifier(name))


def reach_named(name: str) -> Reach:
    """Return the reach in a placeholder's name, such as ``_reach_after``."""
    known: tuple[Reach, ...] = ("before", "upto", "after")
    return next((reach for reach in known if name.endswith(reach)), "all")


def aliased(tree: exp.Expression, name: str) -> exp.Alias:
    """Return an expression under a name."""
    return exp.Alias(this=tree, alias=exp.to_identifier(name))


def bare(tree: exp.Expression) -> exp.Expression:
    """Return an expression without its name."""
    inner = tree.this if isinstance(tree, exp.Alias) else tree
    return inner if isinstance(inner, exp.Expression) else tree


def sub(frame: Frame, alias: str = INNER) -> exp.Subquery:
    """Return a frame as what stands in FROM."""
    return exp.Subquery(this=frame.query.copy(), alias=exp.TableAlias(this=_placed(alias, frame.line)))


def _placed(name: str, line: int) -> exp.Identifier:
    made = exp.to_identifier(name)
    made.meta["line"] = line
    return made


def star(frame: Frame, *extra: exp.Expression) -> exp.Select:
    """Return ``SELECT *, extra FROM frame``."""
    return exp.select(exp.Star(), *extra, copy=False).from_(sub(frame), copy=False)


def filtered(frame: Frame, condition: exp.Expression, line: int) -> Frame:
    """Keep the rows that meet a condition."""
    query = star(frame).where(condition.copy(), copy=False)
    return frame.over(query, line, sorted_by=frame.sorted_by)


def renamed(frame: Frame, names: dict[str, str], line: int) -> Frame:
    """Give columns other names."""
    hidden = [exp.to_identifier(old) for old in names]
    made = [aliased(column(old), new) for old, new in names.items()]
    query = exp.select(exp.Star(except_=hidden), *made, copy=False).from_(sub(frame), copy=False)
    by = names.get(frame.sorted_by or "", frame.sorted_by)
    return frame.over(query, line, sorted_by=by)


def assigned(frame: Frame, name: str, value: exp.Expression, line: int) -> Frame:
    """Add a column, or replace one."""
    hidden = [exp.to_identifier(name)]
    query = exp.select(exp.Star(except_=hidden), aliased(value.copy(), name), copy=False).from_(sub(frame), copy=False)
    return replace(frame.over(query, line), sorted_by=frame.sorted_by, descending=frame.descending)


def joined(left: Frame, right: Frame, conditions: Iterable[exp.Expression], how: str, line: int) -> Frame:
    """Join two frames; conditions name the left one ``_l`` and the right one ``_r``."""
    found = list(conditions)
    on = exp.and_(*found) if found else exp.true()
    sides = {"left": "LEFT", "right": "RIGHT", "outer": "FULL", "full": "FULL"}
    join = exp.Join(this=sub(right, "_r"), on=on, side=sides.get(how.lower()))
    if "semi" in how or "anti" in how:
        join.set("kind", "ANTI" if "anti" in how else "SEMI")
    query = exp.select(exp.Star(), copy=False).from_(sub(left, "_l"), copy=False)
    query.append("joins", join)
    for identifier in query.find_all(exp.Identifier):
        if identifier.meta.get("line") == NOWHERE:
            identifier.meta["line"] = line
    return left.over(query, line, unread=left.unread + right.unread)


def on_keys(lefts: Sequence[str], rights: Sequence[str]) -> list[exp.Expression]:
    """Return the equalities of join keys."""
    return [
        exp.EQ(this=exp.column(one, table="_l"), expression=exp.column(other, table="_r"))
        for one, other in zip(lefts, rights, strict=False)
    ]


def aggregated(frame: Frame, values: Sequence[tuple[str, exp.Expression]], line: int) -> Frame:
    """Group by the frame's keys and aggregate."""
    names = [(key, key.alias_or_name) for key in frame.keys]
    made = [aliased(key.copy(), name) if name else key.copy() for key, name in names]
    outputs = [
        aliased(
            exp.Anonymous(this="list", expressions=[value.copy()])
            if not isinstance(value, exp.AggFunc)
            else value.copy(),
            name,
        )
        for name, value in values
    ]
    query = exp.select(*made, *outputs, copy=False).from_(sub(frame), copy=False)
    query.set("group", exp.Group(expressions=[bare(key).copy() for key in frame.keys]) if frame.keys else None)
    index = tuple(name for _, name in names if name)
    return frame.over(query, line, index=index, sorted_by=None)


def chosen_first(frame: Frame, names: Sequence[str], line: int) -> Frame:
    """Keep one row for each value of some columns."""
    distinct = exp.Distinct(on=exp.Tuple(expressions=[column(name) for name in names]))
    query = star(frame)
    query.set("distinct", distinct)
    return frame.over(query, line)


def window(series: Series, time: str | None) -> exp.Expression:
    """Return the window function that takes in what a series does."""
    frame = series.frame
    keys = [bare(key).copy() for key in series.keys]
    reach: Reach = series.reach
    by = frame.sorted_by or time
    if frame.descending and reach in ("before", "upto", "after"):
        reach = "after" if reach in ("before", "upto") else "before"
    inner = series.value.copy()
    names = list(inner.find_all(exp.Column))
    function: exp.Expression = exp.ArrayAgg(this=inner) if names else exp.Count(this=exp.Star())
    order, spec = None, None
    if reach != "all" and by is not None:
        order = exp.Order(expressions=[exp.Ordered(this=column(by))])
        end = {"before": ("1", "PRECEDING"), "upto": ("CURRENT ROW", None), "after": ("UNBOUNDED", "FOLLOWING")}[reach]
        edge = exp.Literal.number(end[0]) if end[0] == "1" else end[0]
        spec = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end=edge, end_side=end[1])
    made = exp.Window(this=function, partition_by=keys, order=order, spec=spec)
    for found in made.find_all(exp.Identifier):
        found.meta["line"] = frame.line
    return made
