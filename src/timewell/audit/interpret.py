"""Python read for the frames it makes: assignments and calls in their order, nothing run.

Rule: a branch, a loop or a `with` is read as if its body ran once. A name that is never assigned is a table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from timewell.audit.frames import Frame, Series, aliased, assigned, joined, on_keys, reach_named, table, window
from timewell.audit.reading import Row, Thing
from timewell.audit.roles import Roles, is_time
from timewell.audit.values import Evaluator

MAX_CALLS = 4
__all__ = ["Interpreter"]


@dataclass(slots=True)
class Interpreter:
    """Reads one module or cell after another; names stay."""

    roles: Roles
    names: dict[str, Thing] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    made: list[Frame] = field(default_factory=list)
    used: dict[int, object] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    depth: int = 0
    line_offset: int = 0
    imported: set[str] = field(default_factory=set)

    def module(self, tree: ast.Module) -> None:
        """Read a module: its statements, then each function that it does not call itself."""
        self._declare(tree)
        self.block(tree.body)
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        for function in _functions(tree):
            if function.name not in called:
                self.call(function, [], {})

    def _declare(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                self.functions.setdefault(node.name, node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imported |= {(name.asname or name.name).split(".")[0] for name in node.names}

    def block(self, body: Sequence[ast.stmt]) -> Thing:
        """Read statements; return what is returned first."""
        returned: Thing = None
        for statement in body:
            found = self._statement(statement)
            returned = returned if returned is not None else found
        return returned

    def _statement(self, node: ast.stmt) -> Thing:
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self._assign(target, value, node.lineno)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._assign(node.target, self.value(node.value), node.lineno)
        elif isinstance(node, ast.AugAssign):
            whole = ast.copy_location(ast.BinOp(left=_loaded(node.target), op=node.op, right=node.value), node)
            self._assign(node.target, self.value(whole), node.lineno)
        elif isinstance(node, ast.Return):
            return None if node.value is None else self._returned(node.value)
        elif isinstance(node, ast.Expr):
            self._in_place(node.value)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            return None
        else:
            return self._compound(node)
        return None

    def _returned(self, node: ast.expr) -> Thing:
        if isinstance(node, (ast.Tuple, ast.List)):
            return next((found for part in node.elts if (found := self.value(part)) is not None), None)
        return self.value(node)

    def _compound(self, node: ast.stmt) -> Thing:
        returned: Thing = None
        if isinstance(node, ast.For):
            return self._loop(node.target, node.iter, node.body)
        for part in ("test", "iter"):
            if isinstance(inner := getattr(node, part, None), ast.expr):
                self.value(inner)
        for part in ("body", "orelse", "handlers", "finalbody"):
            for inner in getattr(node, part, None) or ():
                body = inner.body if isinstance(inner, ast.ExceptHandler) else [inner]
                returned = returned or self.block(body)
        return returned

    def _loop(self, target: ast.expr, over: ast.expr, body: Sequence[ast.stmt]) -> Thing:
        """Read a loop: over the rows of a frame, what its body makes is made for each row."""
        frame = self.value(over)
        names = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        last = names[-1]
        if not isinstance(frame, Frame) or not isinstance(last, ast.Name):
            return self.block(body)
        if frame.grouped:
            self.names[last.id] = frame.over(exp.select("*").from_(_sub(frame)), frame.line)
            return self.block(body)
        alias, before = f"_row{len(self.made)}", len(self.made)
        self.rows[last.id] = Row(frame, alias)
        returned = self.block(body)
        self._per_row(frame, alias, before)
        return returned

    def _per_row(self, frame: Frame, alias: str, before: int) -> Frame | None:
        """Join what was made for one row to all rows."""
        found = [made for made in self.made[before:] if id(made) not in self.used]
        made: Frame | None = None
        for inner in found:
            lateral = exp.Lateral(
                this=exp.Subquery(this=inner.query.copy()), alias=exp.TableAlias(this=exp.to_identifier("_each"))
            )
            start = exp.Subquery(this=frame.query.copy(), alias=exp.TableAlias(this=exp.to_identifier(alias)))
            query = exp.select("*").from_(start)
            query.append("joins", exp.Join(this=lateral, side="LEFT", on=exp.true()))
            start_of, frame = frame, frame.over(query, inner.line, unread=frame.unread + inner.unread, like=frame)
            made = self.keep(frame, start_of, inner)
        return made

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """Read a comprehension as the loop that it is."""
        inner = node.value if isinstance(node, ast.DictComp) else node.elt
        first = node.generators[0]
        self._loop(first.target, first.iter, [ast.copy_location(ast.Expr(value=inner), inner)])

    def bound(self, node: ast.expr, frame: Frame) -> Thing:
        """Return the value of a new column: ``lambda d: d.x.shift()`` is given the frame."""
        if isinstance(node, ast.Lambda):
            return self.with_parameter(node, frame)
        found = self.value(node)
        if isinstance(found, exp.Expression):
            for reached in list(found.find_all(exp.Anonymous)):
                if str(reached.this).startswith("_reach_"):
                    read = next(reached.expressions[0].find_all(exp.Column), reached.expressions[0])
                    series = Series(frame=frame, value=read, keys=tuple(reached.expressions[1:]))
                    series = series.reaching(reach_named(str(reached.this)))
                    made = window(series, self.time_of(frame))
                    found = made if reached is found else found
                    if reached is not made and reached.parent is not None:
                        reached.replace(made)
        return found

    def with_parameter(self, function: ast.Lambda, thing: Thing) -> Thing:
        """Return what a lambda gives of one thing."""
        parameters = function.args.args
        if len(parameters) != 1 or self.depth >= MAX_CALLS:
            return None
        outer, self.names = self.names, {**self.names, parameters[0].arg: thing}
        self.depth += 1
        try:
            return self.value(function.body)
        finally:
            self.names = outer
            self.depth -= 1

    def row_wise(
        self, frame: Frame, arguments: ast.arguments, body: Sequence[ast.stmt], line: int, *, grouped: bool
    ) -> Thing:
        """Read a function that is applied to rows, or to the groups of a frame."""
        if not arguments.args or self.depth >= MAX_CALLS:
            return self.keep(frame.unknown("a function of rows"), frame)
        name = arguments.args[0].arg
        outer, self.depth = (dict(self.names), dict(self.rows)), self.depth + 1
        try:
            if grouped:
                self.names[name] = frame.over(exp.select("*").from_(_sub(frame)), line)
                found = self.block(body)
                whole = found if isinstance(found, Frame) else frame
                return self.keep(replace(whole, unread=(*whole.unread, "a function of groups")), frame, whole)
            self.names.pop(name, None)
            alias, before = f"_row{len(self.made)}", len(self.made)
            self.rows[name] = Row(frame, alias)
            self.block(body)
            made = self._per_row(frame, alias, before)
            return frame if made is None else made
        finally:
            self.names, self.rows = outer
            self.depth -= 1

    def _in_place(self, node: ast.expr) -> None:
        """Read a call by itself: it may change its frame, as ``df.sort_values("ts", inplace=True)`` does."""
        found = self.value(node)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            changed = any(
                word.arg == "inplace" and isinstance(word.value, ast.Constant) and word.value.value
                for word in node.keywords
            )
            if changed and isinstance(found, Frame):
                self.names[node.func.value.id] = found

    def _assign(self, target: ast.expr, value: Thing, line: int) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self._assign(part, None, line)
        elif isinstance(target, ast.Subscript):
            self._assign_column(target, value, line)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            self._put(target.value.id, target.attr, value, line)

    def _assign_column(self, target: ast.Subscript, value: Thing, line: int) -> None:
        base = target.value
        located = isinstance(base, ast.Attribute) and base.attr in ("loc", "iloc", "at")
        owner = base.value if located and isinstance(base, ast.Attribute) else base
        if not isinstance(owner, ast.Name):
            return
        names = target.slice
        if located and isinstance(names, ast.Tuple) and len(names.elts) == 2:
            names = names.elts[1]
        for part in names.elts if isinstance(names, (ast.List, ast.Tuple)) else [names]:
            if located and self._assign_some(owner.id, target.slice, names, value, line):
                continue
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                old = self.names.get(owner.id)
                if located and isinstance(old, Frame) and value is None:
                    continue  # some cells are blanked: what was read stays read
                self._put(owner.id, part.value, value, line)

    def _assign_some(self, owner: str, where: ast.expr, names: ast.expr, value: Thing, line: int) -> bool:
        """Read ``df.loc[mask, "x"] = constant``: elsewhere the column stays."""
        frame = self.lookup(owner)
        if not isinstance(frame, Frame) or not isinstance(where, ast.Tuple) or not isinstance(names, ast.Constant):
            return False
        by = Evaluator(self)
        mask = by.expression(by.of(where.elts[0]))
        if mask is None or isinstance(value, (Frame, Series)) or not isinstance(names.value, str):
            return False
        kept = exp.If(this=exp.Not(this=exp.paren(mask.copy())), true=exp.column(names.value))
        made = exp.Case(ifs=[kept], default=exp.null() if value is None else value.copy())
        self.names[owner] = self.keep(assigned(frame, names.value, made, line + self.line_offset), frame)
        return True

    def _put(self, owner: str, name: str, value: Thing, line: int) -> None:
        frame = self.lookup(owner)
        if not isinstance(frame, Frame):
            return
        line += self.line_offset
        if isinstance(value, Series):
            self.names[owner] = self.keep(self.with_series(frame, name, value, line), frame)
        elif isinstance(value, Frame) and value.like is not None:
            self.names[owner] = self.keep(value, frame)
        elif isinstance(value, Frame):
            keys = on_keys(value.index, value.index)
            self.names[owner] = self.keep(joined(frame, value, keys, "left", line), frame, value)
        elif isinstance(value, exp.Expression):
            self.names[owner] = self.keep(assigned(frame, name, value, line), frame)

    def with_series(self, frame: Frame, name: str, series: Series, line: int) -> Frame:
        """Put a column into a frame: one of its own rows, or one that was made of another frame."""
        made = self.settled(series)
        self.used[id(series.frame)] = series.frame
        if series.frame.like is not None:
            return assigned(series.frame, name, made, line)
        if series.frame is frame or _same_rows(frame, series.frame):
            whole = replace(frame, unread=tuple(dict.fromkeys((*frame.unread, *series.frame.unread))))
            return assigned(whole, name, made, line)
        other = series.frame.over(exp.select(aliased(made, name)).from_(_sub(series.frame)), line)
        return joined(frame, other, [], "left", line)

    def settled(self, series: Series) -> exp.Expression:
        """Return a series as an expression, its window written out."""
        return series.value if not series.reach else window(series, self.time_of(series.frame))

    def time_of(self, frame: Frame) -> str | None:
        """Return the column by which a frame's rows lie in time, if its tables say one."""
        times = [time for found in frame.query.find_all(exp.Table) if (time := self.roles.of(found.name)[1])]
        if times:
            return times[0]
        named = [found.name for found in frame.query.find_all(exp.Column) if is_time(found.name)]
        return named[0] if named else None

    # --- expressions ---------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Thing:
        """Return what an expression is."""
        return Evaluator(self).of(node)

    def lookup(self, name: str) -> Thing:
        """Return what a name holds; an unassigned name of a declared table is that table."""
        if name in self.names:
            return self.names[name]
        if self.roles.of(name)[0] != "static":
            self.names[name] = table(name, self.line_offset + 1)
            return self.names[name]
        return None

    def keep(self, made: Frame, *of: Frame) -> Frame:
        """Remember a frame, and that others went into it."""
        self.made.append(made)
        self.used.update({id(frame): frame for frame in of if frame is not made})
        return made

    def call(self, function: ast.FunctionDef, given: Sequence[Thing], named: dict[str, Thing]) -> Thing:
        """Read a function of the text as if it were called; a parameter that is not given is a table of its name."""
        if self.depth >= MAX_CALLS:
            return None
        outer, self.names = self.names, dict(self.names)
        self.depth += 1
        parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for at, parameter in enumerate(parameters):
            self.names.pop(parameter.arg, None)
            thing = given[at] if at < len(given) else named.get(parameter.arg)
            if thing is not None:
                self.names[parameter.arg] = thing
            elif not given and not named and self.roles.guessed and parameter.arg not in ("self", "cls"):
                self.names[parameter.arg] = table(parameter.arg, function.lineno + self.line_offset)
        try:
            return self.block(function.body)
        finally:
            self.names = outer
            self.depth -= 1

    def results(self) -> Iterator[Frame]:
        """Yield the frames that went into no other."""
        for frame in self.made:
            if id(frame) not in self.used:
                yield frame


def _same_rows(left: Frame, right: Frame) -> bool:
    """Whether two frames stem from the same row source, so that a column of one can stand in the other."""
    mine = {found.name for found in left.query.find_all(exp.Table)}
    theirs = {found.name for found in right.query.find_all(exp.Table)}
    return theirs <= mine


def _sub(frame: Frame) -> exp.Subquery:
    return exp.Subquery(this=frame.query.copy(), alias=exp.TableAlias(this=exp.to_identifier("_s")))


def _loaded(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Name):
        return ast.copy_location(ast.Name(id=node.id, ctx=ast.Load()), node)
    if isinstance(node, ast.Subscript):
        return ast.copy_location(ast.Subscript(value=node.value, slice=node.slice, ctx=ast.Load()), node)
    return node


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
