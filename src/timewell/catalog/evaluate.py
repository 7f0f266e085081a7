"""Values of a shared transform: over whole Arrow columns, and its twin for one row.

Rule: both call the same function with the same Python values. A null arrives as ``None``, whatever the annotations say, so
that a column is what calling the function row by row would give, cell for cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.define.dtypes import decimal_parts, element_of, is_float, is_integer
from timewell.define.expression import Expression
from timewell.define.forms import Lookup, form_of
from timewell.define.transform import Transform
from timewell.errors import TransformFailed, WrongColumnType
from timewell.stores.arrow import from_arrow_type, to_arrow_type
from timewell.stores.offline import EngineSession
from timewell.types import parse_instant, to_datetime

_BATCH = 65_536
_BITS = {"int32": 31, "int64": 63}
_WIDER = {("int32", "int64"), ("float32", "float64"), ("int32", "float64"), ("int64", "float64")}


def evaluate(
    transform: Transform,
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
    *,
    rows: int | None = None,
    session: EngineSession | None = None,
) -> pa.Array:
    """Return the transform's value for every row.

    Parameters
    ----------
    columns
        One column for each of its parameters, in the parameter's type or one that widens to it without loss.
    rows
        How many there are, for a transform without inputs.
    session
        An engine that may compute what is an expression.

    Raises
    ------
    TransformFailed
        The function raised, or returned what is not of its type (an integer too large for it included); with the inputs.
    WrongColumnType
    """
    given = {name: as_input(columns[name], dtype, name) for name, dtype in transform.parameters.items()}
    form = form_of(transform)
    if isinstance(form, Lookup) and (found := joined(transform, form, given)) is not None:
        return found
    if isinstance(form, Expression) and session is not None:
        found = _by_engine(transform, form, given, session)
        if found is not None:
            return found
    return by_function(transform, list(given.values()), rows)


def by_function(transform: Transform, given: Sequence[pa.Array], rows: int | None = None) -> pa.Array:
    """Return the value for every row by calling the function, whatever its form."""
    call, wanted = _positional(transform), to_arrow_type(transform.returns)
    if len(given) == 1 and _repeats(given[0]):  # the same input gives the same value: one call for each
        coded = given[0].dictionary_encode(null_encoding="encode")
        found = _called(transform, call, [coded.dictionary], wanted)
        return found.take(coded.indices)
    if not given:
        return pa.array([_one(transform, call, ())] * (rows or 0), wanted, from_pandas=False)
    parts = [
        _called(transform, call, [column.slice(start, _BATCH) for column in given], wanted)
        for start in range(0, len(given[0]), _BATCH)
    ]
    return pa.concat_arrays(parts) if parts else pa.array([], wanted)


def joined(transform: Transform, form: Lookup, given: Mapping[str, pa.Array]) -> pa.Array | None:
    """Return the value for every row by a join with the table; ``None`` where the table does not fit the types."""
    (column,) = given.values()
    wanted = to_arrow_type(transform.returns)
    try:
        keys = pa.array(list(form.table), column.type)
        found = [checked(value, transform.returns) for value in (*form.table.values(), form.default)]
        values = pa.array(found, wanted, from_pandas=False)
    except (pa.ArrowException, ValueError, TypeError, ArithmeticError):
        return None
    places = pc.index_in(column, value_set=keys)
    return values.take(pc.fill_null(places, len(keys)))  # the default stands behind the table


def _by_engine(
    transform: Transform, form: Expression, given: Mapping[str, pa.Array], session: EngineSession
) -> pa.Array | None:
    """Return the value for every row, by the engine where it can tell it and by the function where it cannot."""
    table = pa.table(dict(given))
    there = table.drop_null()
    found = session.derive(form, there)
    if found is None:
        return None
    if found.null_count == 0 and there.num_rows == table.num_rows:
        return found
    whole = np.ones(table.num_rows, np.bool_)
    for column in given.values():
        whole &= column.is_valid().to_numpy(zero_copy_only=False)
    places = np.full(table.num_rows, -1, np.int64)
    places[whole] = np.where(found.is_valid().to_numpy(zero_copy_only=False), np.arange(len(found)), -1)
    open_rows = np.flatnonzero(places < 0)  # with a null, or without a value of the engine's
    asked = table.take(pa.array(open_rows))
    called = by_function(transform, [column.combine_chunks() for column in asked.columns])
    places[open_rows] = len(found) + np.arange(len(open_rows))
    return pa.concat_arrays([found, called]).take(pa.array(places))


def evaluate_row(transform: Transform, row: Mapping[str, object]) -> object:
    """Return the transform's value for one row of Python values: the slow twin of :func:`evaluate`.

    Timestamps are timezone-aware ``datetime`` objects, decimals ``Decimal``; a null is ``None``.

    Raises
    ------
    TransformFailed
    """
    return row_function(transform)([row[name] for name in transform.parameters])


def row_function(transform: Transform) -> Callable[[Sequence[object]], object]:
    """Return what :func:`evaluate_row` does as a function of the inputs in the order of its parameters, found out once."""
    return partial(_one, transform, _positional(transform))


def widens(found: str, dtype: str) -> bool:
    """Whether values of one type become those of another without loss, or are refused one by one where they would not."""
    return (found, dtype) in _WIDER


def as_input(column: pa.Array | pa.ChunkedArray, dtype: str, name: str, *, table: str = "the inputs") -> pa.Array:
    """Return a column in a parameter's type.

    Raises
    ------
    WrongColumnType
        It is of another type, or does not fit without loss.
    """
    whole = column
    if isinstance(column, pa.ChunkedArray):
        whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    found, wanted = from_arrow_type(whole.type), to_arrow_type(dtype)
    if whole.type == wanted:
        return whole
    if is_float(found) and is_integer(dtype):  # pandas makes a float column of integers with missing values
        whole = pc.if_else(pc.is_nan(whole), pa.scalar(None, whole.type), whole)
    elif found not in {dtype, "null"} and not widens(found, dtype):
        raise WrongColumnType(table=table, column=name, found=found, wanted=dtype, hint=f"Cast it to {dtype}.")
    try:
        return whole.cast(wanted, safe=True)
    except pa.ArrowInvalid as problem:
        hint = f"Cast it to {dtype}: {problem}"
        raise WrongColumnType(table=table, column=name, found=found, wanted=dtype, hint=hint) from None


def as_python(column: pa.Array) -> list[Any]:
    """Return a column's values as Python has them: instants as ``datetime`` in UTC, nulls as ``None``."""
    if pa.types.is_timestamp(column.type):
        return [None if at is None else to_datetime(at) for at in column.cast(pa.int64()).to_pylist()]
    plain: list[Any] = column.to_pylist()
    return plain


def _repeats(column: pa.Array) -> bool:
    """Whether most values of a column were there before; not of floats, whose two zeros are equal and differ."""
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type) or len(column) < 64:
        return False
    look = column.slice(0, _BATCH)
    return len(look.unique()) * 2 < len(look)


def _positional(transform: Transform) -> Callable[..., Any]:
    """Return the function as one that takes its inputs by place."""
    names, known = list(transform.parameters), list(signature(transform.function).parameters.values())
    if [each.name for each in known[: len(names)]] == names and all(
        each.kind is not each.KEYWORD_ONLY for each in known[: len(names)]
    ):
        return transform.function
    return lambda *values: transform.function(**dict(zip(names, values, strict=True)))


def _called(
    transform: Transform, call: Callable[..., Any], columns: Sequence[pa.Array], wanted: pa.DataType
) -> pa.Array:
    """Call the function for each row of a batch."""
    rows: Iterable[tuple[Any, ...]] = zip(*map(as_python, columns), strict=True)
    given = list(rows)
    try:
        values = [call(*row) for row in given]
        if set(map(type, values)) <= _plain_types(transform.returns):
            return pa.array(values, wanted, from_pandas=False)
    except Exception:  # noqa: BLE001, S110  # any; told below, with the row that it is about
        pass
    return pa.array([_one(transform, call, row) for row in given], wanted, from_pandas=False)


def _plain_types(dtype: str) -> set[type]:
    """Return the types whose values Arrow takes for a type of ours without changing them."""
    plain = {"bool": bool, "int32": int, "int64": int, "float64": float, "string": str, "date": date}
    return {plain[dtype], type(None)} if dtype in plain else {type(None)}


def _one(transform: Transform, call: Callable[..., Any], row: Sequence[object]) -> object:
    """Call the function for one row and check what it returns."""
    try:
        value = call(*row)
    except Exception as error:
        raise _failed(transform, row, f"raised {type(error).__name__}: {error}") from error
    try:
        return checked(value, transform.returns)
    except (ValueError, TypeError, ArithmeticError) as problem:
        raise _failed(transform, row, f"returned {value!r}, which is no {transform.returns}: {problem}") from None


def _failed(transform: Transform, row: Sequence[object], problem: str) -> TransformFailed:
    given = ", ".join(f"{name}={value!r}" for name, value in zip(transform.parameters, row, strict=True))
    return TransformFailed(name=transform.name, version=transform.version, problem=problem, given=given)


def checked(value: object, dtype: str) -> object:
    """Return a value as its type has it; raises ``ValueError`` or ``TypeError`` where that would change it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if (check := _CHECKS.get(dtype)) is not None:  # most are; the others are told apart by their names
        return check(value, dtype)
    if (element := element_of(dtype)) and isinstance(value, (list, tuple)):
        return [checked(each, element) for each in value]
    if parts := decimal_parts(dtype):
        return pa.scalar(_decimal(value), pa.decimal128(*parts)).as_py()
    return _refuse(value)


def _refuse(value: object) -> object:
    raise TypeError(f"it is a {type(value).__name__}")


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise TypeError(f"it is a {type(value).__name__}")
    return Decimal(value)


def _integer(value: object, dtype: str) -> int:
    if not isinstance(value, int):
        raise TypeError(f"it is a {type(value).__name__}")
    if not -(1 << _BITS[dtype]) <= int(value) < 1 << _BITS[dtype]:
        raise ValueError("it does not fit")
    return int(value)


def _float(value: object, dtype: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"it is a {type(value).__name__}")
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        raise ValueError("it has more digits than a float")
    return float(np.float32(number)) if dtype == "float32" else number


def _text(value: object, _dtype: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"it is a {type(value).__name__}")
    str(value).encode()  # a lone half of a surrogate pair is no text
    return str.__str__(value)


def _bool(value: object, _dtype: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"it is a {type(value).__name__}")
    return value


def _date(value: object, _dtype: str) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError(f"it is a {type(value).__name__}")
    return value


def _timestamp(value: object, _dtype: str) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"it is a {type(value).__name__} without time zone")
    return to_datetime(parse_instant(value))


_CHECKS: dict[str, Callable[[Any, str], object]] = {
    "bool": _bool,
    "int32": _integer,
    "int64": _integer,
    "float32": _float,
    "float64": _float,
    "string": _text,
    "date": _date,
    "timestamp": _timestamp,
}
