"""What a feature promises of its values: type, nulls, bounds, categories, unit.

Rule: a contract changes no value, so it makes no version; but what was promised under a version is not taken back under
it: :func:`taken_back` says what a change would break.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import field_validator, model_validator

from timewell.define.base import Definition
from timewell.define.dtypes import SCALARS, is_known
from timewell.define.tests import CategoriesTest, FeatureTest, NullRateTest, RangeTest
from timewell.errors import DefinitionError

Policy = Literal["strict", "log"]
Category = bool | int | float | str


class Contract(Definition):
    """What holds of every value of a feature.

    Parameters
    ----------
    dtype
        Type of the value, as Timewell names it: ``int64``, ``float64``, ``string``, ...
    nullable
        Whether the value of an entity that is there may be null. That of one never seen, or expired, always may.
    min, max
        Bounds of numbers, themselves allowed; NaN lies in none.
    categories
        The only values that there are.
    unit
        What a number counts, such as ``EUR``: for people, and compared.
    policy
        ``strict``: a value that breaks it keeps the whole build out. ``log``: it is told and counted.

    Examples
    --------
    >>> import timewell as tw
    >>> contract = tw.Contract(dtype="int64", nullable=False, min=0, unit="payments")
    >>> [test.type for test in contract.tests()]
    ['null_rate', 'range']
    """

    dtype: str | None = None
    nullable: bool = True
    min: float | None = None
    max: float | None = None
    categories: tuple[Category, ...] | None = None
    unit: str | None = None
    policy: Policy = "strict"

    @field_validator("dtype")
    @classmethod
    def _known(cls, dtype: str | None) -> str | None:
        if dtype is not None and not is_known(dtype):
            known = [*sorted(SCALARS), "decimal(P,S)", "list<TYPE>"]
            raise DefinitionError(problem=f"{dtype!r} is none of {', '.join(known)}.", asked=dtype, known=known)
        return dtype

    @field_validator("categories", mode="before")
    @classmethod
    def _several(cls, categories: object) -> object:
        if isinstance(categories, str):
            raise DefinitionError(problem=f"{categories!r} is no list.", hint=f"Write categories: [{categories}].")
        return categories

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise DefinitionError(problem=f"min {self.min:g} lies above max {self.max:g}: no value could hold.")
        if self.categories is not None and not self.categories:
            raise DefinitionError(
                problem="categories is empty: no value could hold.", hint="Leave it out, or name them."
            )
        return self

    def tests(self) -> tuple[FeatureTest | CategoriesTest, ...]:
        """Return what it says of values, as the tests that look for it."""
        found: list[FeatureTest | CategoriesTest] = []
        if not self.nullable:
            found.append(NullRateTest(max=0))
        if self.min is not None or self.max is not None:
            found.append(RangeTest(min=self.min, max=self.max))
        if self.categories is not None:
            found.append(CategoriesTest(allowed=self.categories))
        return tuple(found)


def taken_back(old: Contract | None, new: Contract | None) -> list[str]:
    """Return what a contract promised, or allowed, and another does not: what makes one of the two sides break.

    Whoever reads relies on the type, the unit, and that there are no nulls; whoever writes relies on values that were
    allowed: narrower bounds, fewer categories, or nulls that are refused from now on would keep those out. Wider ones
    break neither.

    Examples
    --------
    >>> old = Contract(unit="EUR", categories=["a", "b"])
    >>> taken_back(old, Contract(unit="cent", categories=["b", "c"]))
    ["unit was 'EUR', is 'cent'", "categories lose 'a'"]
    >>> taken_back(old, Contract(unit="EUR", categories=["a", "b", "c"]))
    []
    """
    before, after = old or Contract(), new or Contract()
    found = [
        f"{name} was {getattr(before, name)!r}, is {getattr(after, name)!r}"
        for name in ("dtype", "unit")
        if getattr(before, name) is not None and getattr(before, name) != getattr(after, name)
    ]
    if old is None:  # nothing was promised: a first contract says how things are
        return found
    if before.nullable != after.nullable:
        found.append("nulls are allowed now" if after.nullable else "nulls are refused now")
    if after.min is not None and (before.min is None or after.min > before.min):
        found.append(f"min was {_bound(before.min)}, is {after.min:g}")
    if after.max is not None and (before.max is None or after.max < before.max):
        found.append(f"max was {_bound(before.max)}, is {after.max:g}")
    if after.categories is not None:
        found += _lost(before.categories, after.categories)
    return found


def _bound(bound: float | None) -> str:
    return "none" if bound is None else f"{bound:g}"


def _lost(before: Sequence[Category] | None, after: Sequence[Category]) -> list[str]:
    if before is None:
        return [f"only {len(after)} categories are allowed now"]
    # 1 and True are equal to Python, and other values here
    kept = {(type(value), value) for value in after}
    lost = [value for value in before if (type(value), value) not in kept]
    return [f"categories lose {', '.join(map(repr, lost))}"] if lost else []
