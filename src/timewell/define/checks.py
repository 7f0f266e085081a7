"""What a group says of validating its shadows: which figures are compared, how far they may lie apart, and which way.

Rule: metadata. Nothing here can change a value, so nothing here goes into a version's hash.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from timewell.define.base import Definition, Name
from timewell.errors import DefinitionError

Direction = Literal["any", "up", "down", "same"]
KNOWN_CHECKS = ("count", "null_rate", "p50", "p95", "min", "max", "mean", "distinct", "distribution", "entity_diff")
DISTANCES = frozenset({"distribution", "entity_diff"})  # never below 0: they say how far, not which way
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,4})?)")


def quantile_of(check: str) -> float | None:
    """Return the share that a check such as ``p95`` asks for, else ``None``.

    Examples
    --------
    >>> quantile_of("p95"), quantile_of("p99.9"), quantile_of("mean")
    (0.95, 0.999, None)
    """
    found = _QUANTILE.fullmatch(check)
    return round(float(found[1]) / 100, 6) if found else None


def _known(name: str) -> str:
    if name not in KNOWN_CHECKS and quantile_of(name) is None:
        problem = f"{name!r} is no check; known are {', '.join(KNOWN_CHECKS)} and any pNN"
        raise DefinitionError(problem=problem, asked=name, known=list(KNOWN_CHECKS))
    return name


def _pair(given: object) -> object:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise DefinitionError(problem=f"expected is the lowest and the highest change, not {given!r}: [-0.3, -0.01].")
    return given


Share = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Check(Definition):
    """One figure of a shadow that is compared with the live one.

    Parameters
    ----------
    type
        ``count``, ``null_rate``, ``p50`` (any ``pNN``), ``min``, ``max``, ``mean``, ``distinct``, ``distribution`` or
        ``entity_diff``.
    feature
        Only for this feature of the group, instead of a check of the same type for all of them.
    tolerance
        How far the shadow may lie from the live value, as a share of it (as a difference where the live value is 0);
        for ``null_rate``, ``distribution`` and ``entity_diff``, which are shares themselves, always as a difference.
    direction
        ``up``, ``down``: it must not move the other way. ``same``: it must not move at all.
    expected
        Lowest and highest change that is expected, such as ``[-0.3, -0.01]`` for *1 to 30 % less*; in the unit of
        ``tolerance``. Either may be null.
    min_change, max_change
        The two bounds of ``expected`` by themselves.

    Examples
    --------
    >>> Check(type="mean", direction="down", expected=[-0.3, -0.01]).bounds
    (-0.3, -0.01)
    """

    type: Annotated[str, AfterValidator(_known)]
    feature: Name | None = None
    tolerance: Annotated[Share, Field(ge=0)] | None = None
    direction: Direction = "any"
    expected: Annotated[tuple[Share | None, Share | None], BeforeValidator(_pair)] | None = None
    min_change: Share | None = None
    max_change: Share | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        low, high = self.bounds
        if self.expected is not None and (self.min_change is not None or self.max_change is not None):
            raise DefinitionError(problem=f"check {self.type!r}: write expected, or min_change and max_change.")
        if low is not None and high is not None and low > high:
            raise DefinitionError(problem=f"check {self.type!r}: no change lies between {low:g} and {high:g}.")
        if self.direction in {"up", "down"} and self.type in DISTANCES:
            raise DefinitionError(problem=f"check {self.type!r} says how far, not which way: it has no direction.")
        against = {"up": high is not None and high < 0, "down": low is not None and low > 0}
        against["same"] = (low, high) != (None, None)
        if against.get(self.direction, False):
            raise DefinitionError(problem=f"check {self.type!r}: direction {self.direction!r} is not what is expected.")
        return self

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The lowest and the highest change that is expected; ``None`` where nothing is."""
        return self.expected if self.expected is not None else (self.min_change, self.max_change)

    @property
    def is_bare(self) -> bool:
        """Whether it says nothing but what to compare."""
        return self.tolerance is None and self.direction == "any" and self.bounds == (None, None)


def _named(given: object) -> object:
    return {"type": given} if isinstance(given, str) else given


AnyCheck = Annotated[Check, BeforeValidator(_named, json_schema_input_type=str | Check)]
