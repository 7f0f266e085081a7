"""What a transform's function is, where that can be told from its source: a look-up in a table, or one expression.

Rule: a form is only a faster way to the same values. Where the slightest thing is not known to be the same, there is none, and
the function itself is called.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType

from timewell.define.expression import Expression, expression_of
from timewell.define.transform import Transform

_KEYS: dict[str, type] = {"string": str, "int64": int, "int32": int, "date": date}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A function that finds its one input in a table.

    Attributes
    ----------
    table
        Input to value; of one kind of keys, which are equal only where they are the same.
    default
        The value where the table does not have the input.
    """

    table: Mapping[object, object]
    default: object

    def __str__(self) -> str:
        return f"join with a table of {len(self.table):,} rows"


def form_of(made: Transform) -> Lookup | Expression | None:
    """Return the form of a transform's function, if it has one."""
    if len(made.parameters) == 1 and (found := _lookup(made)):
        (dtype,) = made.parameters.values()
        return found if _is_exact(found, dtype) else None
    tree = made.tree
    return expression_of(tree, made) if tree is not None else None


def _is_exact(found: Lookup, dtype: str) -> bool:
    """Whether equal keys are the same keys, as a join sees them: ``True == 1 == 1.0`` in a dict."""
    wanted = _KEYS.get(dtype)
    return wanted is not None and all(type(key) is wanted and not isinstance(key, datetime) for key in found.table)


def _lookup(made: Transform) -> Lookup | None:
    """Recognize ``return TABLE.get(parameter, default)``; the table stands in it, just before it, or in its module."""
    if made.lookup is not None:
        return Lookup(table=made.lookup[0], default=made.lookup[1])
    tree = made.tree
    if not isinstance(tree, ast.FunctionDef) or not isinstance(tree.body[-1], ast.Return):
        return None
    call = tree.body[-1].value
    (parameter,) = made.parameters
    if not (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "get"
        and not call.keywords
        and len(call.args) in {1, 2}
        and isinstance(call.args[0], ast.Name)
        and call.args[0].id == parameter
    ):
        return None
    local: dict[str, ast.expr] = {}
    for statement in tree.body[:-1]:
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            return None
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or target.id in {*local, parameter}:
            return None
        local[target.id] = statement.value
    table = _value(call.func.value, local, made)
    default = _value(call.args[1], local, made) if len(call.args) == 2 else (None,)
    if table is None or default is None or type(table[0]) is not dict:
        return None
    return Lookup(table=MappingProxyType(dict(table[0])), default=default[0])


def _value(node: ast.expr, local: Mapping[str, ast.expr], made: Transform) -> tuple[object] | None:
    """Return the constant that an expression is, in a tuple; ``None`` where it is none."""
    if isinstance(node, ast.Name):
        if node.id in local:
            return _value(local[node.id], {}, made)
        outside = made.function.__globals__
        code = made.function.__code__
        shadowed = node.id in {*code.co_varnames, *code.co_freevars}
        return (outside[node.id],) if node.id in outside and not shadowed else None
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
