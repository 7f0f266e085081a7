"""An expression of shared transforms as SQL, with Python's meanings where DuckDB's own differ.

Rule: whole numbers are hugeints, so that an overflow is an error and never a wrap; a NaN equals nothing and is neither less
nor greater; a division by zero is an error. Constants are bound.
"""

from __future__ import annotations

from timewell.backends.duckdb.sql import identifier
from timewell.define.expression import Expression, Node

_CASTS = {"int": "HUGEINT", "float": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}
_TYPES = {"int32": "INTEGER", "int64": "BIGINT", "float64": "DOUBLE", "bool": "BOOLEAN", "string": "VARCHAR"}


def derive_sql(expression: Expression, table: str) -> tuple[str, list[object]]:
    """Return a query for the expression's value in each row of a table, and the constants to bind."""
    bound: list[object] = []
    text = _sql(expression.node, bound)
    return f"SELECT CAST({text} AS {_TYPES[expression.returns]}) AS value FROM {table}", bound


def _sql(node: Node, bound: list[object]) -> str:
    if node.op == "input":
        return f"CAST({identifier(str(node.value))} AS {_CASTS[node.kind]})"
    if node.op == "constant":
        return _constant(node, bound)
    if node.op == "negative":
        return f"(-{_sql(node.args[0], bound)})"
    if node.op == "not":
        return f"(NOT {_sql(node.args[0], bound)})"
    if node.op in {"and", "or"}:
        return "(" + f" {node.op.upper()} ".join(_sql(each, bound) for each in node.args) + ")"
    if node.op == "case":
        test, then, other = (_sql(each, bound) for each in node.args)
        return f"(CASE WHEN {test} THEN {then} ELSE {other} END)"
    return _of_two(node, bound)


def _constant(node: Node, bound: list[object]) -> str:
    if node.kind == "null":
        return "NULL"
    bound.append(node.value)
    return f"CAST(${len(bound)} AS {_CASTS[node.kind]})"


def _of_two(node: Node, bound: list[object]) -> str:
    left, right = (_sql(each, bound) for each in node.args)
    if node.op == "/":
        return f"(CASE WHEN {right} = 0 THEN error('division by zero') ELSE {left} / {right} END)"
    if node.op in {"//", "%"}:
        below = f"(({left} % {right} + {right}) % {right})"  # DuckDB rounds towards zero
        return below if node.op == "%" else f"(({left} - {below}) // {right})"
    if node.op in {"=", "<>", "<", "<=", ">", ">="} and node.args[0].kind == "float":
        strange = f"isnan({left}) OR isnan({right})"
        return f"(CASE WHEN {strange} THEN {'TRUE' if node.op == '<>' else 'FALSE'} ELSE {left} {node.op} {right} END)"
    return f"({left} {node.op} {right})"
