"""What must hold of a feature's values: run on register, by ``timewell test``, and before a promote."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from timewell.define.base import Definition, InstantUs
from timewell.errors import DefinitionError


class RangeTest(Definition):
    """Every non-null value lies in ``[min, max]``."""

    type: Literal["range"] = "range"
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            raise DefinitionError(problem="a range test needs min, max or both.")
        return self


class NullRateTest(Definition):
    """At most the share ``max`` of the entities has a null value."""

    type: Literal["null_rate"] = "null_rate"
    max: float = Field(ge=0, le=1)


class UniqueTest(Definition):
    """No two entities share a non-null value."""

    type: Literal["unique"] = "unique"


class CategoriesTest(Definition):
    """Every non-null value is one of those that are named: what a contract's ``categories`` come to."""

    type: Literal["categories"] = "categories"
    allowed: tuple[bool | int | float | str, ...]


class ExampleTest(Definition):
    """A worked example: these source rows, asked at this instant, give this value.

    Parameters
    ----------
    rows
        Source rows as mappings; columns that are left out are null.
    at
        The instant asked for.
    expect
        The value that must come out.
    entity
        Join keys to ask for; may be omitted where all rows share one.
    """

    type: Literal["example"] = "example"
    rows: tuple[dict[str, Any], ...]
    at: InstantUs
    expect: Any = None
    entity: dict[str, Any] | None = None


FeatureTest = Annotated[RangeTest | NullRateTest | UniqueTest | ExampleTest, Field(discriminator="type")]
