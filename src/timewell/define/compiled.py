"""The one canonical form of a group: defaults applied, durations in microseconds, references resolved.

Rule: everything that can change a training cell, and nothing else, goes into ``content_hash``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from timewell.define.aggregation import ZERO_WHEN_EMPTY, Aggregation
from timewell.define.contract import Contract
from timewell.define.dtypes import ValueType
from timewell.define.entity import Entity
from timewell.define.feature import COMPUTED, Accuracy, Feature, FeatureGroup, LatencyBudget, Tier
from timewell.define.on_demand import TransformUse
from timewell.define.skew import SkewLimit
from timewell.define.source import Source
from timewell.define.tests import FeatureTest
from timewell.errors import MissingField, MissingTtl, TtlTooShort
from timewell.types import format_duration

SEMANTIC_SOURCE_FIELDS = (
    "name", "kind", "sql", "event_time", "arrival_time", "sequence", "unique_on", "timezone", "date_means",
    "closed_side", "arrival_trusted_from",
)  # fmt: skip
NOWHERE = Source.model_construct(name="", event_time="")
"""The source of a group that stores nothing."""
NOBODY = Entity.model_construct(name="")
"""The entity of a group that stores nothing: its features have no keys of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFeature:
    """A feature with its group's defaults applied; durations in microseconds.

    Attributes
    ----------
    online
        Whether it can be asked for online: true or ``computed`` if so.
    transform, inputs
        Of a feature that is computed on demand: which function, and where its parameters were said to come from.
    """

    name: str
    type: ValueType
    column: str | None
    window_us: int | None
    n: int | None
    empty: Any
    ttl_us: int | None
    sla_us: int | None
    warn_share: float | None
    online: bool | Literal["computed"]
    tier: Tier
    owner: str | None
    description: str
    tags: tuple[str, ...]
    tests: tuple[FeatureTest, ...]
    budget_us: Mapping[str, int]
    skew: SkewLimit | None = None
    transform: TransformUse | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    contract: Contract | None = None

    @property
    def is_latest(self) -> bool:
        """Whether the value is one row's, with that row's event time as value time."""
        return self.type == "latest"

    @property
    def stored(self) -> bool:
        """Whether its values lie in the online store, once it was materialized."""
        return bool(self.online) and not self.computed and self.transform is None

    @property
    def computed(self) -> bool:
        """Whether a read computes it from its source: said so by ``online``, or because its tier is ``cold``."""
        return self.transform is None and (self.online == COMPUTED or (bool(self.online) and self.tier == "cold"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledGroup:
    """A feature group ready for planning.

    Attributes
    ----------
    source, entity
        :data:`NOWHERE` and :data:`NOBODY` where nothing is stored.
    features
        Those whose values are computed from the source, in declared order.
    on_demand
        Those that a transform computes when they are asked for.
    content_hash
        Hex digest of the meaning: equal for equal meanings however they were written down.
    """

    name: str
    version: str
    entity: Entity
    source: Source
    filter: str | None
    accuracy: Accuracy
    every_us: int | None
    available_after_us: int
    features: tuple[CompiledFeature, ...]
    owner: str | None
    content_hash: str
    on_demand: tuple[CompiledFeature, ...] = ()

    @property
    def every_feature(self) -> tuple[CompiledFeature, ...]:
        """Those that are stored, then those on demand."""
        return (*self.features, *self.on_demand)

    @property
    def ref(self) -> str:
        """``group@version``."""
        return f"{self.name}@{self.version}"

    def feature(self, name: str) -> CompiledFeature:
        """Return the feature of that name; ``KeyError`` if the group has none."""
        for feature in self.every_feature:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @property
    def online_features(self) -> tuple[CompiledFeature, ...]:
        """The features that are materialized online, in declared order; those that a read computes are not."""
        return tuple(feature for feature in self.features if feature.stored)

    @property
    def hot(self) -> bool:
        """Whether servers are to keep the rows of its builds in memory: a feature of them is ``hot``."""
        return any(feature.tier == "hot" for feature in self.online_features)

    @property
    def lookback_us(self) -> int:
        """How far before an instant a row can lie and still be in a window; 0 without windows."""
        return max((feature.window_us or 0 for feature in self.features), default=0)

    def cut_off(self, instant_us: int) -> int:
        """Return the instant at which rows are looked at for an answer at another: the same one, or the last build's."""
        if self.accuracy == "exact" or self.every_us is None:
            return instant_us
        return (instant_us - self.available_after_us) // self.every_us * self.every_us


def compile_group(group: FeatureGroup, *, source: Source | None, entity: Entity | None = None) -> CompiledGroup:
    """Apply defaults and check what only the whole can show.

    Raises
    ------
    MissingTtl, TtlTooShort
        An online feature without ttl; a ttl that ends before the next build exists.
    """
    described = NOBODY if source is None else entity or Entity(name=str(group.entity))
    features = tuple(_compile_feature(feature, group) for feature in group.features)
    source = source or NOWHERE
    return CompiledGroup(
        name=group.name,
        version=group.version,
        entity=described,
        source=source,
        filter=group.filter.strip() if group.filter else None,
        accuracy=group.accuracy,
        every_us=group.every,
        available_after_us=group.available_after or 0,
        features=tuple(feature for feature in features if feature.transform is None),
        on_demand=tuple(feature for feature in features if feature.transform is not None),
        owner=group.owner,
        content_hash=_digest(semantics(group, features, source, described)),
    )


def _compile_feature(feature: Feature, group: FeatureGroup) -> CompiledFeature:
    def chosen(field: str) -> Any:  # noqa: ANN401  # one of many fields
        own = getattr(feature, field)
        return own if own is not None and own not in ("", ()) else getattr(group, field)

    if feature.transform is not None:
        return _on_demand(feature, group, chosen)
    ttl_us, online = chosen("ttl"), chosen("online") or False
    if online and ttl_us is None:
        raise MissingTtl(feature=feature.name)
    cadence_us = (group.every or 0) + (group.available_after or 0)
    if ttl_us is not None and group.every is not None and ttl_us <= cadence_us:
        raise TtlTooShort(feature=feature.name, ttl=format_duration(ttl_us), cadence=format_duration(cadence_us))
    aggregation, budget = _aggregation(feature), chosen("latency_budget")
    zero = 0 if aggregation.type in ZERO_WHEN_EMPTY else None
    return CompiledFeature(
        name=feature.name,
        type=aggregation.type,
        column=aggregation.column,
        window_us=aggregation.window,
        n=aggregation.n,
        empty=feature.empty if "empty" in feature.model_fields_set else zero,
        ttl_us=ttl_us,
        sla_us=chosen("freshness_sla"),
        warn_share=chosen("warn_share"),
        online=online,
        tier=chosen("tier") or "warm",
        owner=chosen("owner"),
        description=chosen("description"),
        tags=tuple(dict.fromkeys((*group.tags, *feature.tags))),
        tests=tuple(chosen("tests") or ()),
        budget_us=_given(budget),
        skew=chosen("skew"),
        contract=feature.contract,
    )


def _aggregation(feature: Feature) -> Aggregation:
    if feature.aggregation is None:
        raise MissingField(field="aggregation", where=feature.name)
    return feature.aggregation


def _given(budget: LatencyBudget | None) -> dict[str, int]:
    return {} if budget is None else {key: value for key, value in dict(budget).items() if value is not None}


def _on_demand(feature: Feature, group: FeatureGroup, chosen: Callable[[str], Any]) -> CompiledFeature:
    """Compile a feature with a transform: it has no rows of its own, hence no ttl; it can be asked for unless said."""
    said = chosen("online")
    return CompiledFeature(
        name=feature.name,
        type="on_demand",
        column=None,
        window_us=None,
        n=None,
        empty=None,
        ttl_us=None,
        sla_us=chosen("freshness_sla"),
        warn_share=chosen("warn_share"),
        online=True if said is None else bool(said),
        tier=chosen("tier") or "warm",
        owner=chosen("owner"),
        description=chosen("description"),
        tags=tuple(dict.fromkeys((*group.tags, *feature.tags))),
        tests=(),  # those of the group are about what it stores
        budget_us=_given(chosen("latency_budget")),
        skew=chosen("skew"),
        transform=feature.transform,
        inputs=feature.inputs,
        contract=feature.contract,
    )


def semantics(
    group: FeatureGroup, features: tuple[CompiledFeature, ...], source: Source, entity: Entity
) -> dict[str, Any]:
    """Return what the content hash covers, as plain data (also used to say *what* changed)."""
    described = {name: getattr(source, name) for name in SEMANTIC_SOURCE_FIELDS}
    return {
        "entity": [entity.name, *entity.key_names] if entity.name else [],
        "source": described | {"keys": {key: source.column_of(key) for key in entity.key_names}} if source.name else {},
        "filter": group.filter.strip() if group.filter else None,
        "accuracy": group.accuracy,
        "every": group.every,
        "available_after": group.available_after or 0,
        "features": {feature.name: _meaning(feature) for feature in sorted(features, key=lambda feature: feature.name)},
    }


def _meaning(feature: CompiledFeature) -> dict[str, Any]:
    if used := feature.transform:
        return {
            "type": feature.type,
            "transform": f"{used.name}@{used.version}",
            "transform_hash": used.hash,
            "parameters": used.parameters,
            "returns": used.returns,
            "inputs": {name: feature.inputs.get(name, name) for name in used.parameters},
        }
    return {
        "type": feature.type,
        "column": feature.column,
        "window": feature.window_us,
        "n": feature.n,
        "empty": feature.empty,
        "ttl": feature.ttl_us,
    }


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what differs between two semantics, as dotted paths in order."""
    changed: list[str] = []
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changed += changed_fields(before, after, f"{prefix}{name}.")
        elif json.dumps(before, default=str) != json.dumps(after, default=str):
            changed.append(f"{prefix}{name}")
    return changed
