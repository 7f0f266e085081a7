"""A function as one expression of its inputs, where an engine that follows its rules gives the same values as Python.

Rule: it stands for rows whose inputs are all there. Whole numbers are taken as exact, floats as IEEE doubles, text as
sequences of code points; what an engine cannot say of a row (a null, an overflow) the function is asked about.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from timewell.define.transform import Transform

Kind = Literal["int", "float", "bool", "string", "null"]
_KINDS: dict[str, Kind] = {
    "int32": "int",
    "int64": "int",
    "float32": "float",
    "float64": "float",
    "bool": "bool",
    "string": "string",
}
_EXACT = 2**53
_MOST_NODES = 400
_COMPARE = {ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One part of an expression.

    Attributes
    ----------
    op
        ``input`` and ``constant`` (with ``value``); ``+ - *``; ``/`` of floats; ``//`` and ``%`` by a positive constant,
        rounding down; ``negative``; ``= <> < <= > >=``; ``and or not``; ``case`` of a condition and two values.
    """

    op: str
    kind: Kind
    args: tuple[Node, ...] = ()
    value: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A whole function, and the type of its value."""

    node: Node
    returns: str

    def __str__(self) -> str:
        return "SQL expression"


class _Unsure(Exception):  # no error: the function is called instead
    """Something whose meaning elsewhere is not known to be the same."""


def expression_of(tree: ast.AST, made: Transform) -> Expression | None:
    """Return the expression that a function is, or ``None``."""
    wanted = _KINDS.get(made.returns)
    if not isinstance(tree, ast.FunctionDef) or wanted is None or made.returns == "float32":
        return None
    if not made.parameters or any(dtype not in _KINDS for dtype in made.parameters.values()):
        return None
    known = {name: Node(op="input", kind=_KINDS[dtype], value=name) for name, dtype in made.parameters.items()}
    try:
        node = _Reader(made, known).body(tree.body, known)
    except (_Unsure, RecursionError):
        return None
    return Expression(node=node, returns=made.returns) if node.kind == wanted and _size(node) <= _MOST_NODES else None


def _can_fail(node: Node) -> bool:
    """Whether Python can raise on the way to a value whose inputs are all there: only a division can."""
    return node.op == "/" or any(_can_fail(each) for each in node.args)


def _size(node: Node) -> int:
    return 1 + sum(_size(each) for each in node.args)


def _constant(value: object) -> Node:
    kinds: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "string", type(None): "null"}
    kind = kinds.get(type(value))
    if kind is None or (isinstance(value, float) and value - value != 0):
        raise _Unsure
    if kind == "int" and not -(2**62) < int(value) < 2**62:  # type: ignore[call-overload]  # an int by its kind
        raise _Unsure
    if isinstance(value, str) and not _is_text(value):
        raise _Unsure
    return Node(op="constant", kind=kind, value=value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _solid(node: Node) -> Node:
    """Return a node that is never null: Python raises where an engine would go on with a null."""
    if node.kind == "null":
        raise _Unsure
    for each in node.args[1:] if node.op == "case" else ():
        _solid(each)
    return node


def _same_kind(left: Node, right: Node) -> tuple[Node, Node]:
    """Return two nodes of one kind; a whole constant beside a float becomes one where it is exact."""
    _solid(left)
    _solid(right)
    if left.kind == right.kind:
        return left, right
    if {left.kind, right.kind} == {"int", "float"}:
        whole, other = (left, right) if left.kind == "int" else (right, left)
        if whole.op == "constant" and abs(int(str(whole.value))) <= _EXACT:
            made = Node(op="constant", kind="float", value=float(str(whole.value)))
            return (made, other) if whole is left else (other, made)
    raise _Unsure


class _Reader:
    """Turns Python's tree into nodes; whatever it does not know is unsure."""

    def __init__(self, made: Transform, inputs: Mapping[str, Node]) -> None:
        self._made = made
        self._inputs = inputs
        self._left = _MOST_NODES

    def body(self, statements: Sequence[ast.stmt], names: Mapping[str, Node]) -> Node:
        """Read statements; what falls off their end returns ``None``."""
        self._spend()
        names = dict(names)
        for place, statement in enumerate(statements):
            if isinstance(statement, ast.Return):
                return self.read(statement.value, names) if statement.value else _constant(None)
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                if not isinstance(target, ast.Name) or target.id in self._inputs:
                    raise _Unsure
                names[target.id] = self.read(statement.value, names)
                if _can_fail(names[target.id]):  # here, whatever becomes of the value
                    raise _Unsure
            elif isinstance(statement, ast.If):
                rest = statements[place + 1 :]
                then = self.body([*statement.body, *rest], names)
                other = self.body([*statement.orelse, *rest], names)
                return _case(self.read(statement.test, names), then, other)
            elif not isinstance(statement, ast.Pass):
                raise _Unsure
        return _constant(None)

    def read(self, node: ast.expr, names: Mapping[str, Node]) -> Node:
        """Read one expression."""
        self._spend()
        if isinstance(node, ast.Constant):
            return _constant(node.value)
        if isinstance(node, ast.Name):
            return names[node.id] if node.id in names else self._outside(node.id)
        if isinstance(node, ast.IfExp):
            test = self.read(node.test, names)
            return _case(test, self.read(node.body, names), self.read(node.orelse, names))
        if isinstance(node, ast.BoolOp):
            parts = [self.read(each, names) for each in node.values]
            return _logical("and" if isinstance(node.op, ast.And) else "or", parts)
        if isinstance(node, ast.UnaryOp):
            return _unary(node.op, self.read(node.operand, names))
        if isinstance(node, ast.BinOp):
            return _binary(node.op, self.read(node.left, names), self.read(node.right, names))
        if isinstance(node, ast.Compare):
            return self._compared(node, names)
        raise _Unsure

    def _spend(self) -> None:
        """Stop where branches that do not return make an expression too long."""
        self._left -= 1
        if self._left < 0:
            raise _Unsure

    def _outside(self, name: str) -> Node:
        """Read a constant of the module; it is in the digest."""
        outside, code = self._made.function.__globals__, self._made.function.__code__
        if name in {*code.co_freevars, *code.co_varnames} or name not in outside:
            raise _Unsure
        return _constant(outside[name])

    def _compared(self, node: ast.Compare, names: Mapping[str, Node]) -> Node:
        left, found = self.read(node.left, names), []
        for op, written in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, (ast.In, ast.NotIn)):
                found.append(self._among(op, left, written, names))
                if len(node.ops) > 1:
                    raise _Unsure
                continue
            right = self.read(written, names)
            found.append(_comparison(op, left, right))
            left = right
        return _logical("and", found)

    def _among(self, op: ast.cmpop, left: Node, written: ast.expr, names: Mapping[str, Node]) -> Node:
        if not isinstance(written, (ast.Tuple, ast.List, ast.Set)) or not written.elts or left.kind == "float":
            raise _Unsure  # a NaN is a member where it is the same object
        each = [_comparison(ast.Eq(), left, self.read(one, names)) for one in written.elts]
        among = _logical("or", each)
        return among if isinstance(op, ast.In) else _unary(ast.Not(), among)


def _comparison(op: ast.cmpop, left: Node, right: Node) -> Node:
    if isinstance(op, (ast.Is, ast.IsNot)):
        if {left.op, right.op} != {"input", "constant"} or "null" not in {left.kind, right.kind}:
            raise _Unsure
        return _constant(isinstance(op, ast.IsNot))  # the inputs are there
    if type(op) not in _COMPARE:
        raise _Unsure
    one, other = _same_kind(left, right)
    return Node(op=_COMPARE[type(op)], kind="bool", args=(one, other))


def _logical(op: str, parts: Sequence[Node]) -> Node:
    if any(_solid(part).kind != "bool" for part in parts):
        raise _Unsure
    if len(parts) == 1:
        return parts[0]
    decides = op == "or"
    kept = []
    for part in parts:
        if part.op != "constant":
            kept.append(part)
        elif part.value is decides:  # what comes after it is not looked at
            kept.append(part)
            break
    if not kept:
        return _constant(not decides)
    return kept[0] if len(kept) == 1 else Node(op=op, kind="bool", args=tuple(kept))


def _unary(op: ast.unaryop, value: Node) -> Node:
    _solid(value)
    if isinstance(op, ast.Not) and value.kind == "bool":
        return _constant(not value.value) if value.op == "constant" else Node(op="not", kind="bool", args=(value,))
    if isinstance(op, ast.USub) and value.kind in {"int", "float"}:
        return Node(op="negative", kind=value.kind, args=(value,))
    raise _Unsure


def _binary(op: ast.operator, left: Node, right: Node) -> Node:
    one, other = _same_kind(left, right)
    if one.kind not in {"int", "float"}:
        raise _Unsure
    if type(op) in _ARITHMETIC:
        return Node(op=_ARITHMETIC[type(op)], kind=one.kind, args=(one, other))
    if isinstance(op, ast.Div) and one.kind == "float":
        return Node(op="/", kind="float", args=(one, other))
    by_constant = one.kind == "int" and other.op == "constant" and int(str(other.value)) > 0
    if isinstance(op, (ast.FloorDiv, ast.Mod)) and by_constant:
        return Node(op="//" if isinstance(op, ast.FloorDiv) else "%", kind="int", args=(one, other))
    raise _Unsure


def _case(test: Node, then: Node, other: Node) -> Node:
    if _solid(test).kind != "bool":
        raise _Unsure
    if test.op == "constant":
        return then if test.value else other
    if "null" in {then.kind, other.kind}:
        kind = other.kind if then.kind == "null" else then.kind
        return Node(op="case", kind=kind, args=(test, then, other))
    one, another = (then, other) if then.kind == other.kind else (None, None)
    if (
        one is None or another is None
    ):  # a whole number on one way and a float on the other stay what they are in Python
        raise _Unsure
    return Node(op="case", kind=one.kind, args=(test, one, another))
