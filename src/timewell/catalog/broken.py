"""Which values of a column break a test: what tests, contracts and samples of what was served are judged by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timewell.define.contract import Contract
from timewell.define.dtypes import element_of, is_integer, is_numeric
from timewell.define.tests import CategoriesTest, FeatureTest, NullRateTest, RangeTest
from timewell.stores.arrow import from_arrow_type, to_arrow_type, to_scalar

ValueTest = FeatureTest | CategoriesTest
_SHOWN = 60


def broken(test: ValueTest, column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return for each value whether it breaks a test by itself; that of a list is broken where an element is.

    Examples
    --------
    >>> broken(RangeTest(min=0), pa.array([1.0, -1.0, None, float("nan")])).to_pylist()
    [False, True, False, True]
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(test, NullRateTest):
        return pc.is_null(values)
    if pa.types.is_list(values.type):
        hit = np.zeros(len(values), bool)
        inner = broken(test, pc.list_flatten(values)).to_numpy(zero_copy_only=False)
        hit[pc.list_parent_indices(values).to_numpy()[inner]] = True
        return pa.array(hit)
    fits = _inside(test, values) if isinstance(test, RangeTest) else _named(test, values)
    return pc.and_(pc.is_valid(values), pc.invert(pc.fill_null(fits, True)))


def _inside(test: RangeTest, values: pa.Array) -> pa.Array:
    whole = pa.types.is_integer(values.type)
    numbers = values if whole else values.cast(pa.float64())
    fits = pc.is_valid(values)
    for bound, compare, rounded in ((test.min, pc.greater_equal, math.ceil), (test.max, pc.less_equal, math.floor)):
        if bound is not None:  # whole numbers are compared as such: a float has 53 bits
            exact = pa.scalar(rounded(bound)) if whole and abs(bound) < 2**63 else pa.scalar(float(bound))
            fits = pc.and_kleene(fits, compare(numbers, exact))
    return fits


def _named(test: ValueTest, values: pa.Array) -> pa.Array:
    if not isinstance(test, CategoriesTest):
        raise TypeError(test)
    return pc.is_in(values, value_set=allowed(test.allowed, from_arrow_type(values.type)))


def allowed(categories: tuple[object, ...], dtype: str) -> pa.Array:
    """Return categories as values of a type; raises ``pyarrow.ArrowException``, ``TypeError`` or the like if one is none."""
    if is_integer(dtype) and any(isinstance(one, float) and not one.is_integer() for one in categories):
        raise TypeError(categories)
    if dtype == "string" and not all(isinstance(one, str) for one in categories):
        raise TypeError(categories)
    if dtype == "bool" and not all(isinstance(one, bool) for one in categories):
        raise TypeError(categories)
    return pa.array([to_scalar(one, dtype).as_py() for one in categories], to_arrow_type(dtype))


def told(test: ValueTest, column: pa.ChunkedArray, contract: Contract) -> str:
    """Return in words how many values break a contract, with one of them; empty where none does."""
    hit = broken(test, column)
    count, total = int(pc.sum(hit).as_py() or 0), len(column)
    if not count:
        return ""
    of = f"{count:,} of {total:,} values"
    if isinstance(test, NullRateTest):
        return f"{of} {'is' if total == 1 else 'are'} null"
    value = shown(column.combine_chunks().filter(hit)[0].as_py())
    if isinstance(test, RangeTest):
        return f"{of} not in {bounds(test)}{' ' + contract.unit if contract.unit else ''}, such as {value}"
    named = test.allowed if isinstance(test, CategoriesTest) else ()
    few = ", ".join(map(str, named[:5])) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    return f"{of} none of the categories ({few}), such as {value}"


def bounds(test: RangeTest) -> str:
    """Return a test's bounds in words."""
    if test.min is None or test.max is None:
        return f"at most {test.max:g}" if test.min is None else f"at least {test.min:g}"
    return f"[{test.min:g}, {test.max:g}]"


def shown(value: Any) -> str:  # noqa: ANN401  # a value of any type
    """Return a value as a message has it: a long one is cut."""
    text = repr(value) if isinstance(value, (str, list, float)) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def unfit(contract: Contract, dtype: str) -> str:
    """Return why a contract cannot be one of values of a type; empty where it can."""
    if contract.dtype not in {None, dtype}:
        return f"the contract says dtype {contract.dtype}, the definition gives {dtype}"
    inner = element_of(dtype) or dtype
    if (contract.min is not None or contract.max is not None) and not is_numeric(inner):
        return f"min and max are for numbers, and its values are {dtype}"
    try:
        allowed(contract.categories or (), inner)
    except (pa.ArrowException, KeyError, ValueError, TypeError, ArithmeticError):
        return f"its values are {dtype}, and not all of the categories are"
    return ""
