"""The window aggregates as their definitions read: exact rational arithmetic, rounded once at the end.

Rule: a scale says how far an engine's float may be off; it is 0 for everything that must be equal exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import cast

from timewell.define.compiled import CompiledFeature
from timewell.errors import ValueOverflow

Number = int | float | Decimal

_DECIMAL_DIGITS = 38


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """An aggregate's value and the scale of its tolerance."""

    value: object
    scale: float = 0.0


def fold(feature: CompiledFeature, taken: Sequence[object]) -> Folded:
    """Return an aggregate of at least one non-null value, oldest first.

    Raises
    ------
    ValueOverflow
        A sum does not fit int64 or 38 decimal digits.
    """
    if feature.type == "count":
        return Folded(value=len(taken))
    if feature.type == "count_distinct":
        return Folded(value=len({"NaN" if is_nan(value) else ("value", value) for value in taken}))
    if feature.type == "first":
        return Folded(value=taken[0])
    if feature.type == "last":
        return Folded(value=taken[-1])
    if feature.type == "last_n":
        return Folded(value=list(reversed(taken))[: feature.n])
    if feature.type in {"min", "max"}:
        return Folded(value=extreme(taken, greatest=feature.type == "max"))
    numbers = cast("Sequence[Number]", taken)
    if feature.type == "sum":
        return total(feature, numbers)
    if feature.type == "mean":
        return mean(numbers)
    return spread(numbers, root=feature.type == "stddev")


def extreme(taken: Sequence[object], *, greatest: bool) -> object:
    """Return the smallest or greatest value; NaN if any value is NaN."""
    if any(is_nan(value) for value in taken):
        return math.nan
    comparable = cast("Sequence[int]", taken)  # all of one type, which has an order
    return max(comparable) if greatest else min(comparable)


def total(feature: CompiledFeature, numbers: Sequence[Number]) -> Folded:
    """Return the sum: exact for integers and decimals."""
    if any(isinstance(number, float) for number in numbers):
        return Folded(value=_float_total(numbers), scale=_scale(numbers, 1))
    if any(isinstance(number, Decimal) for number in numbers):
        return Folded(value=_decimal_total(feature, numbers))
    whole = sum(cast("Sequence[int]", numbers))
    if not -(2**63) <= whole < 2**63:
        raise ValueOverflow(feature=feature.name, dtype="int64")
    return Folded(value=whole)


def mean(numbers: Sequence[Number]) -> Folded:
    """Return the arithmetic mean as a float."""
    if not _all_finite(numbers):
        return Folded(value=_float_total(numbers))
    count = len(numbers)
    return Folded(value=_rounded(_exact_total(numbers) / count), scale=_scale(numbers, 1) / count)


def spread(numbers: Sequence[Number], *, root: bool) -> Folded:
    """Return the sample variance or its root; null for fewer than two values."""
    if len(numbers) < 2:
        return Folded(value=None)
    if not _all_finite(numbers):
        return Folded(value=math.nan)
    middle = _exact_total(numbers) / len(numbers)
    squares = sum(((Fraction(number) - middle) ** 2 for number in numbers), Fraction(0))
    variance = _rounded(squares / (len(numbers) - 1))
    scale = _scale(numbers, 2)
    return (
        Folded(value=math.sqrt(variance), scale=_root_scale(variance, scale))
        if root
        else Folded(value=variance, scale=scale)
    )


def _root_scale(variance: float, scale: float) -> float:
    """Return the scale for a standard deviation: how far the root moves when the variance moves by its tolerance."""
    tolerance = 1e-9 * scale
    down = math.sqrt(variance) - math.sqrt(max(0.0, variance - tolerance))
    up = math.sqrt(variance + tolerance) - math.sqrt(variance)
    return max(down, up) * 1e9


def _float_total(numbers: Sequence[Number]) -> float:
    """Return the sum of floats, correctly rounded; NaN and infinities as IEEE 754 adds them."""
    if any(is_nan(number) for number in numbers) or {math.inf, -math.inf} <= set(numbers):
        return math.nan
    for infinite in (math.inf, -math.inf):
        if infinite in numbers:
            return infinite
    return _rounded(_exact_total(numbers))


def _decimal_total(feature: CompiledFeature, numbers: Sequence[Number]) -> Decimal:
    with localcontext() as context:
        context.prec = 2 * _DECIMAL_DIGITS  # enough for any sum of 38-digit numbers to be exact
        whole = sum((Decimal(number) for number in numbers), Decimal(0))
    scale = -cast("int", whole.as_tuple().exponent)
    if len(whole.as_tuple().digits) > _DECIMAL_DIGITS:
        raise ValueOverflow(feature=feature.name, dtype=f"decimal({_DECIMAL_DIGITS},{scale})")
    return whole


def _exact_total(numbers: Sequence[Number]) -> Fraction:
    return sum((Fraction(number) for number in numbers), Fraction(0))


def _scale(numbers: Sequence[Number], power: int) -> float:
    """Return the sum of the values' absolute powers, as far as they are finite."""
    finite = [abs(Fraction(number)) for number in numbers if math.isfinite(number)]
    return _rounded(sum((number**power for number in finite), Fraction(0)))


def _all_finite(numbers: Sequence[Number]) -> bool:
    return all(math.isfinite(number) for number in numbers)


def _rounded(exact: Fraction) -> float:
    """Return the nearest float; beyond the largest one, infinity."""
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def is_nan(value: object) -> bool:
    """Tell whether a value is a float's not-a-number."""
    return isinstance(value, float) and math.isnan(value)
