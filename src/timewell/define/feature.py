"""A feature, the group it lives in, and services that name several."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator, model_validator

from timewell.define.aggregation import Aggregation
from timewell.define.base import Definition, DurationUs, Name, SourceName, Version
from timewell.define.cadence import Refresh
from timewell.define.checks import AnyCheck
from timewell.define.contract import Contract
from timewell.define.on_demand import AnyTransform
from timewell.define.skew import SkewLimit
from timewell.define.tests import FeatureTest
from timewell.errors import DefinitionError, DuplicateFeature, MissingField

Accuracy = Literal["exact", "snapshot"]
Tier = Literal["hot", "warm", "cold"]
ONLY_STORED = ("source", "filter", "every", "available_after", "refresh", "validation")
NOT_ON_DEMAND = ("aggregation", "ttl", "empty", "tests")
_OF_THE_VALUE = ("aggregation", "transform", "inputs", "empty", "contract")
COMPUTED: Literal["computed"] = "computed"
GROUP_ONLY = (
    "entity",
    "source",
    "version",
    "filter",
    "every",
    "accuracy",
    "available_after",
    "refresh",
    "deprecated",
    "validation",
)


def _online(value: object) -> object:
    """Take what pydantic takes for a bool, or ``computed``; say in one sentence what else there is."""
    if value == COMPUTED:
        return value
    try:
        return _BOOL.validate_python(value)
    except ValidationError:
        problem = f"{value!r} is none of true, false, {COMPUTED}."
        raise DefinitionError(problem=problem, asked=str(value), known=[COMPUTED]) from None


_BOOL = TypeAdapter(bool)
Online = Annotated[bool | Literal["computed"], BeforeValidator(_online)]


class LatencyBudget(Definition):
    """How long an online read may take, per quantile."""

    p50: DurationUs | None = None
    p95: DurationUs | None = None
    p99: DurationUs | None = None


class _Defaults(Definition):
    """Fields that a group sets for all its features and a feature may override."""

    owner: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    ttl: DurationUs | None = None
    freshness_sla: DurationUs | None = None
    warn_share: float | None = Field(default=None, gt=0, le=1)
    online: Online | None = None
    tier: Tier | None = None
    tests: tuple[FeatureTest, ...] | None = None
    latency_budget: LatencyBudget | None = None
    skew: SkewLimit | None = None

    @field_validator("tags", mode="before")
    @classmethod
    def _one_tag(cls, tags: object) -> object:
        return (tags,) if isinstance(tags, str) else tags


class Feature(_Defaults):
    """One value per entity.

    Inside a group, ``entity`` to ``validation`` belong to the group. A feature registered alone carries them
    itself and becomes a group of one under its own name.

    Parameters
    ----------
    name
        Unique in the project.
    aggregation
        Such as ``tw.sum("amount", window="7d")``.
    transform
        Instead of an aggregation: a function marked with ``tw.transform``, or ``module:function``. The value is computed
        on demand, offline and online by the same code.
    inputs
        Parameter of the transform to where its value comes from: a feature ``[group:]name[@version]``, ``request.name``,
        or ``now``. A bare name is a feature where one has it, else a value of the request. A parameter that is left out
        takes its own name.
    empty
        Value where no row counts, instead of the aggregate's own (0 for count, count_distinct and sum, else null).
    contract
        What its values promise: a :class:`Contract`.

    Examples
    --------
    >>> import timewell as tw
    >>> tw.Feature(name="txn_count_7d", aggregation=tw.count(window="7d")).name
    'txn_count_7d'
    """

    name: Name
    aggregation: Aggregation | None = None
    transform: AnyTransform | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    empty: Any = None
    contract: Contract | None = None
    entity: Name | None = None
    source: SourceName | None = None
    version: Version | None = None
    filter: str | None = None
    every: DurationUs | None = None
    accuracy: Accuracy | None = None
    available_after: DurationUs | None = None
    refresh: Refresh | None = None
    deprecated: str | None = Field(default=None, min_length=1)
    validation: tuple[AnyCheck, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.transform is None:
            if self.aggregation is None:
                raise MissingField(field="aggregation", where=self.name)
            if self.inputs:
                raise DefinitionError(problem=f"feature {self.name!r}: inputs belong to a transform.")
            return self
        stray = [
            field for field in NOT_ON_DEMAND if field in self.model_fields_set and getattr(self, field) is not None
        ]
        if stray:
            problem = f"feature {self.name!r} has a transform: it takes no {', '.join(stray)}."
            hint = "Its inputs have them: a transform sees values after the rules for ttl and empty. Test it as a function."
            raise DefinitionError(problem=problem, hint=hint)
        return self

    def alone(self) -> FeatureGroup:
        """Return the group of one that this feature makes when registered alone."""
        for field in () if self.transform else ("entity", "source"):
            if getattr(self, field) is None:
                raise MissingField(field=field, where=self.name)
        given = {field: getattr(self, field) for field in self.model_fields_set}
        inner = Feature.model_construct(
            **{field: given.pop(field) for field in _OF_THE_VALUE if field in given}, name=self.name
        )
        shared = {field: value for field, value in given.items() if value is not None}
        return FeatureGroup.model_construct(**shared, features=(inner,)).checked()


class FeatureGroup(_Defaults):
    """The versioned, owned, materialized unit: one entity, one source, one filter, several features.

    Parameters
    ----------
    entity
        Name of an entity; an undeclared one has a single join key of its name. A group whose features all have
        transforms needs none: it is for people there.
    source
        Name of a registered source; not in a group whose features all have transforms.
    features
        At least one :class:`Feature`.
    filter
        SQL condition on the source's rows; null counts as false.
    accuracy
        ``exact``: the value at the instant asked for. ``snapshot``: the exact value at the last build before it,
        ``floor(t - available_after, every)``.
    every, available_after
        The grid of builds and how long after its instant a build is there; only with ``accuracy: snapshot``
        does it change a value.
    refresh
        How often the refresher brings the online build up to date: a duration, a cron expression (UTC), or ``never``;
        without it, often enough for ``every`` and the freshness SLA.
    version
        Label of this meaning; a change of meaning needs another.
    deprecated
        Why this version should not be used any more, and what to use instead; whoever asks for it is told.
    validation
        How a shadow of this version is checked against what is live: names of checks, or a :class:`Check` each.
    """

    name: Name
    entity: Name | None = None
    source: SourceName | None = None
    features: tuple[Feature, ...]
    version: Version = "v1"
    filter: str | None = None
    every: DurationUs | None = None
    accuracy: Accuracy = "exact"
    available_after: DurationUs | None = None
    refresh: Refresh | None = None
    deprecated: str | None = Field(default=None, min_length=1)
    validation: tuple[AnyCheck, ...] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        return self.checked()

    def checked(self) -> Self:
        """Return the group itself, or raise ``DefinitionError`` where its fields do not go together."""
        if not self.features:
            raise DefinitionError(problem=f"group {self.name!r} has no features.")
        if any(feature.transform is None for feature in self.features):
            for field in ("entity", "source"):
                if getattr(self, field) is None:
                    raise MissingField(field=field, where=self.name)
        elif stray := [field for field in ONLY_STORED if getattr(self, field) is not None]:
            problem = (
                f"group {self.name!r} stores nothing, its features have transforms: it takes no {', '.join(stray)}."
            )
            raise DefinitionError(problem=problem, hint="Remove them.")
        if self.accuracy == "snapshot" and self.every is None:
            raise DefinitionError(problem="accuracy: snapshot needs every, such as every: 1d.")
        seen: set[str] = set()
        for feature in self.features:
            if feature.name in seen:
                raise DuplicateFeature(feature=feature.name, group=self.name)
            seen.add(feature.name)
            if stray := [field for field in GROUP_ONLY if getattr(feature, field) is not None]:
                raise DefinitionError(problem=f"feature {feature.name!r}: {', '.join(stray)} belongs to the group.")
        for check in self.validation or ():
            if check.feature is not None and check.feature not in seen:
                problem = f"check {check.type!r} names {check.feature!r}, which {self.name!r} does not have."
                raise DefinitionError(problem=problem, asked=check.feature, known=sorted(seen))
        return self


class FeatureService(Definition):
    """A named, versioned list of features that one model uses.

    Parameters
    ----------
    features
        References ``[group:]name[@version]``; bare names are resolved to versions when the service is registered.
    """

    name: Name
    version: Version = "v1"
    features: tuple[str, ...] = Field(min_length=1)
    owner: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
