"""What the readers of Python ask of one another: of a module, of an expression, of a call.

Rule: each reader imports only those beneath it (module > values > calls > columns) and is handed the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from timewell.audit.frames import Frame, Series

Thing = Frame | Series | exp.Expression | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a frame, as a loop or a row-wise function holds it."""

    frame: Frame
    alias: str


class ModuleReader(Protocol):
    """Reads a module, and knows its names and frames."""

    functions: dict[str, ast.FunctionDef]
    rows: dict[str, Row]
    used: dict[int, object]
    line_offset: int

    def lookup(self, name: str) -> Thing:
        """Return what a name holds."""

    def keep(self, made: Frame, *of: Frame) -> Frame:
        """Remember a frame, and that others went into it."""

    def settled(self, series: Series) -> exp.Expression:
        """Return a series as an expression, its window written out."""

    def time_of(self, frame: Frame) -> str | None:
        """Return the column by which a frame's rows lie in time."""

    def with_series(self, frame: Frame, name: str, series: Series, line: int) -> Frame:
        """Put a column into a frame."""

    def with_parameter(self, function: ast.Lambda, thing: Thing) -> Thing:
        """Return what a lambda gives of one thing."""

    def bound(self, node: ast.expr, frame: Frame) -> Thing:
        """Return the value of a new column of a frame."""

    def call(self, function: ast.FunctionDef, given: Sequence[Thing], named: dict[str, Thing]) -> Thing:
        """Read a function of the text as if it were called."""

    def row_wise(
        self, frame: Frame, arguments: ast.arguments, body: Sequence[ast.stmt], line: int, *, grouped: bool
    ) -> Thing:
        """Read a function that is applied to rows, or to groups."""

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        """Read a comprehension."""


class ExpressionReader(Protocol):
    """Reads one expression."""

    @property
    def reader(self) -> ModuleReader:
        """The module's."""

    def of(self, node: ast.expr) -> Thing:
        """Return what an expression is."""

    def line(self, node: ast.expr) -> int:
        """Return the line of an expression in the whole text."""

    def floor(self, series: Series, name: str, unit: str | None = None) -> Series | None:
        """Cut a column of instants."""

    def column_of(self, frame: Frame, name: str) -> Series:
        """Return a column of a frame."""

    def expression(self, thing: object) -> exp.Expression | None:
        """Return a value as an expression over columns."""

    def combined(self, kind: type[exp.Expression], left: Thing, right: Thing) -> Thing:
        """Put two sides together."""

    def query_text(self, frame: Frame, text: str, node: ast.expr) -> Frame:
        """Keep the rows of ``df.query("...")``."""

    def names(self, node: ast.expr | None) -> list[str]:
        """Return the names that a list, or a single text, holds."""

    def framed(self, series: Series, line: int) -> Frame:
        """Return a series as a frame of its own."""


class CallReader(Protocol):
    """Reads one call."""

    node: ast.Call
    named: dict[str, ast.expr]

    @property
    def by(self) -> ExpressionReader:
        """What reads its arguments."""

    @property
    def line(self) -> int:
        """The call's line."""

    def given(self, at: int, *names: str) -> ast.expr | None:
        """Return an argument by name or place."""

    def text(self, at: int, *names: str) -> str:
        """Return an argument that is written out as a text."""

    def keep(self, made: Frame, *of: Frame) -> Frame:
        """Remember a frame that is made."""


def first_number(given: Sequence[ast.expr], named: Mapping[str, ast.expr], name: str) -> float | None:
    """Return a number given first or by name, sign included; nothing where it is not written out."""
    node = named.get(name) or (given[0] if given else None)
    if node is None:
        return 1.0
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -1.0
    return sign * node.value if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) else None
