"""Feature vectors for entities, from the online store, at one epoch.

Rule: a request pins one epoch, and each group is one consistent look at one build. Whether a value is expired is
decided at the moment of the request, never when it was written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved, load_catalog
from timewell.define.compiled import CompiledFeature
from timewell.errors import MissingKey, NeverMaterialized, NotOnline, UsageError
from timewell.serve.response import OnlineFeatures, Status
from timewell.stores.online import BuildMark, ReadKeys
from timewell.stores.project import Project

_POLL_S = 0.2
_MOST_PREPARED = 1024  # a caller that permutes its features must not fill the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One feature of a prepared request: where its value lies in the row and where it goes in the answer."""

    place: int
    column: int
    time_column: int
    ttl_us: int
    empty: object


@dataclass(frozen=True, slots=True, kw_only=True)
class _PreparedGroup:
    name: str
    entity: str
    build: str
    keys: tuple[str, ...]
    layout: RowLayout
    wanted: tuple[_Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A request with everything found out once: valid for one epoch."""

    epoch: int
    columns: tuple[str, ...]
    groups: tuple[_PreparedGroup, ...]


class Reader:
    """Answers online requests of one project; safe to share between threads.

    Parameters
    ----------
    project
        The opened project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._prepared: dict[tuple[tuple[str, ...], str | None], _Prepared] = {}
        self._epoch = -1
        self._polled_s = float("-inf")

    def forget_epoch(self) -> None:
        """Look at the registry again before the next request (this process changed something)."""
        self._polled_s = float("-inf")

    def get(
        self,
        features: Sequence[str] | str,
        entities: Sequence[Mapping[str, object]],
        *,
        service: str | None = None,
        max_staleness_us: int | None = None,
    ) -> OnlineFeatures:
        """Return the vectors of some entities.

        Parameters
        ----------
        features
            References ``[group:]name[@version]``.
        entities
            One mapping of join key to value per vector wanted; a null key is an entity never seen.
        service
            A feature service instead of, or besides, ``features``.
        max_staleness_us
            A value whose build is older is marked ``stale``; it is still carried.

        Raises
        ------
        UnknownFeature, UnknownService, NotOnline, NeverMaterialized, MissingKey, InvalidKey
        """
        asked = (features,) if isinstance(features, str) else tuple(features)
        prepared = self._prepare(asked, service)
        keys = [_keys(group, entities) for group in prepared.groups]
        wanted = [
            ReadKeys(group.build, [key for key in mine if key is not None])
            for group, mine in zip(prepared.groups, keys, strict=True)
        ]
        moment = _Moment(now_us=self._project.clock.now_us(), max_staleness_us=max_staleness_us)
        answer = _Answer(width=len(prepared.columns), height=len(entities))
        as_of: dict[str, int] = {}
        for group, mine, found in zip(prepared.groups, keys, self._project.online.read(wanted), strict=True):
            mark = _checked_mark(group, found.mark)
            as_of[group.name] = mark.as_of_us
            packed = iter(found.rows)
            rows = [None if key is None else next(packed) for key in mine]
            _fill(answer, group, mark, rows, moment)
        return OnlineFeatures(
            features=prepared.columns,
            rows=answer.values,
            row_statuses=answer.statuses,
            epoch=prepared.epoch,
            as_of_us=as_of,
        )

    def _prepare(self, asked: tuple[str, ...], service: str | None) -> _Prepared:
        """Return the request prepared for the present epoch; the epoch is polled a few times a second."""
        now_s = time.monotonic()
        if now_s - self._polled_s >= _POLL_S:
            epoch = self._project.registry.epoch()
            if epoch != self._epoch or self._polled_s == float("-inf"):
                self._prepared = {}
            self._epoch, self._polled_s = epoch, now_s
        ready = self._prepared.get((asked, service))
        # A thread that began before a switch may store what it prepared after it: never answer from before an epoch
        # that was answered already.
        if ready is None or ready.epoch < self._epoch:
            catalog = load_catalog(self._project)
            ready = _prepare(catalog, catalog.resolve_all(asked, service=service))
            self._epoch = max(self._epoch, ready.epoch)
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared = {}
            self._prepared[asked, service] = ready
        return ready


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    now_us: int
    max_staleness_us: int | None


class _Answer:
    """The grid of values and statuses being filled."""

    def __init__(self, *, width: int, height: int) -> None:
        self.values: list[list[object]] = [[None] * width for _ in range(height)]
        self.statuses: list[list[Status]] = [["not_found"] * width for _ in range(height)]


def _prepare(catalog: Catalog, resolved: Sequence[Resolved]) -> _Prepared:
    parts: dict[tuple[str, str], list[tuple[int, Resolved]]] = {}
    for column, item in enumerate(resolved):
        if not item.feature.online:
            raise NotOnline(feature=item.feature.name)
        parts.setdefault(item.group.key, []).append((column, item))
    groups = [_prepare_group(catalog, found) for found in parts.values()]
    columns = tuple(item.column for item in resolved)
    return _Prepared(epoch=catalog.epochs.epoch, columns=columns, groups=tuple(groups))


def _prepare_group(catalog: Catalog, items: Sequence[tuple[int, Resolved]]) -> _PreparedGroup:
    group: RegisteredGroup = items[0][1].group
    build = catalog.epochs.builds.get(group.key)
    held = catalog.epochs.layouts.get(group.key, ())
    absent = [item.feature.name for _, item in items if item.feature.name not in held]
    if build is None or absent:
        version = group.compiled.version
        pinned = "" if catalog.epochs.live.get(group.compiled.name) == version else f"@{version}"
        raise NeverMaterialized(feature=absent[0] + pinned)
    layout = RowLayout.of(group, held)
    places = {feature.name: place for place, feature in enumerate(layout.features)}
    latest = [feature.name for feature in layout.features if feature.is_latest]
    wanted = tuple(
        _Wanted(
            place=column,
            column=places[item.feature.name],
            time_column=len(layout.features) + latest.index(item.feature.name) if item.feature.is_latest else -1,
            ttl_us=_ttl(item.feature),
            empty=layout.empties[places[item.feature.name]],
        )
        for column, item in items
    )
    entity = group.compiled.entity
    return _PreparedGroup(
        name=group.compiled.name, entity=entity.name, build=build, keys=entity.key_names, layout=layout, wanted=wanted
    )


def _ttl(feature: CompiledFeature) -> int:
    if feature.ttl_us is None:  # registering refuses it; a definition cannot get here without one
        raise UsageError(problem=f"feature {feature.name!r} is online without a ttl")
    return feature.ttl_us


def _keys(group: _PreparedGroup, entities: Sequence[Mapping[str, object]]) -> list[bytes | None]:
    encode, names = group.layout.encode_key, group.keys
    keys = []
    if not isinstance(entities, (list, tuple)):
        raise _no_list(entities)
    for entity in entities:
        try:
            keys.append(encode([entity[name] for name in names]))
        except TypeError:
            raise _no_list(entity) from None
        except KeyError as missing:
            known = sorted(entity)
            raise MissingKey(table="the request", asked=missing.args[0], entity=group.entity, known=known) from None
    return keys


def _no_list(found: object) -> UsageError:
    hint = "Write one mapping of join key to value for each vector wanted: entities=[{'user_id': 7}]."
    return UsageError(problem=f"entities is no list of mappings: it is, or holds, a {type(found).__name__}", hint=hint)


def _checked_mark(group: _PreparedGroup, mark: BuildMark | None) -> BuildMark:
    if mark is None or mark.schema_hash != group.layout.codec.schema_hash:
        hint = f"The online store was emptied or restored: run `timewell materialize online {group.layout.group.compiled.ref}`."
        raise NeverMaterialized(feature=group.layout.features[0].name, hint=hint)
    return mark


def _fill(
    answer: _Answer, group: _PreparedGroup, mark: BuildMark, rows: Sequence[bytes | None], moment: _Moment
) -> None:
    """Put one group's values in their places, each with its status."""
    decode = group.layout.codec.decode
    build_age_us = moment.now_us - mark.as_of_us
    stale = moment.max_staleness_us is not None and build_age_us > moment.max_staleness_us
    for row, values, statuses in zip(rows, answer.values, answer.statuses, strict=True):
        found = None if row is None else decode(row)
        for feature in group.wanted:
            value, age_us = feature.empty, build_age_us
            known = found is not None
            if found is not None:
                value = found[feature.column]
                if feature.time_column >= 0:
                    value_time = found[feature.time_column]
                    known = isinstance(value_time, int)
                    # Without a row of its own a latest value is as old as the build that did not find one.
                    age_us = moment.now_us - value_time if isinstance(value_time, int) else build_age_us
            if age_us >= feature.ttl_us:
                values[feature.place], statuses[feature.place] = None, "expired"
                continue
            values[feature.place] = value
            if not known:
                statuses[feature.place] = "not_found"
            elif stale:
                statuses[feature.place] = "stale"
            else:
                statuses[feature.place] = "null" if value is None else "present"
