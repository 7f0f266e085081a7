"""Feature vectors for entities, from the online store, at one epoch.

Rule: a request pins one epoch, and each group is one consistent look at one build.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from time import perf_counter_ns
from typing import cast
from zlib import crc32

import msgspec

from timewell.catalog.lookup import load_catalog
from timewell.errors import InvalidRequest, NeverMaterialized, StateBusy, TimewellError
from timewell.serve.account import Account, Noted
from timewell.serve.fallback import fallback_vectors
from timewell.serve.given import Request
from timewell.serve.guard import Lack
from timewell.serve.lone import lone_answer, lone_key
from timewell.serve.origins import Origins
from timewell.serve.prepare import Entities, Keys, Prepared, PreparedGroup, check_entities, prepare
from timewell.serve.reads import Found, Reads, RemoteSettings, open_reads
from timewell.serve.response import OnlineFeatures
from timewell.serve.vectors import GroupVectors, Moment, side_by_side, vectors_of
from timewell.stores.online import ReadKeys
from timewell.stores.project import Project
from timewell.types import parse_duration

log = logging.getLogger("timewell.serve")
_POLL_NS = 200_000_000
_EXPECT_NS = 1_000_000_000
_NEVER = float("-inf")
_MOST_INLINE = 100  # entities: reading more of them holds up an event loop for longer than a hop to a thread
_MOST_PREPARED = 1024  # a caller that permutes its features must not fill the memory
_SECOND_US = 1_000_000


class Ask(msgspec.Struct, frozen=True):
    """What one caller wants; made for every request, hence no dataclass (1 us less).

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
    defaults
        Feature to the value that stands in when the store does not answer; null for those not named.
    request
        What on-demand features take from the request: see :func:`timewell.serve.given.given_columns`.
    """

    features: Sequence[str] | str
    entities: Entities
    service: str | None = None
    max_staleness_us: int | None = None
    defaults: Mapping[str, object] | None = None
    request: Request | None = None


class Reader:
    """Answers online requests of one project; safe to share between threads.

    Parameters
    ----------
    project
        The opened project.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._clock_us = project.clock.now_us
        self._noted: dict[tuple[tuple[str, ...], str | None], Noted] = {}
        self._epoch = -1
        self._polled_ns = _NEVER
        self._expected_ns = _NEVER

    @cached_property
    def _reads(self) -> Reads:
        """The way to the store, opened by the first request: who only registers needs none."""
        reads = open_reads(self._project.online, self._project.config.online.backend, _settings(self._project))
        self._account.follow(reads.counters(), reads.breaker)
        return reads

    @cached_property
    def _account(self) -> Account:
        return Account(self._project)

    @cached_property
    def _origins(self) -> Origins:
        """What is read from memory or computed."""
        return Origins(self._project)

    def forget_epoch(self) -> None:
        """Look at the registry again before the next request (this process changed something)."""
        self._polled_ns = _NEVER
        if "_reads" in self.__dict__:
            self._reads.clear()
        if "_origins" in self.__dict__:
            self._origins.clear()

    def write_samples(self) -> None:
        """Write the samples of what was served that wait; they are written by themselves, only later."""
        if (account := self.__dict__.get("_account")) is not None:
            account.write_samples()

    def close(self) -> None:
        """Release what reading holds; the reader may be used again."""
        if (reads := self.__dict__.pop("_reads", None)) is not None:
            reads.close()
        self._expected_ns = _NEVER
        if (account := self.__dict__.pop("_account", None)) is not None:
            account.close()
        self._noted = {}
        if (origins := self.__dict__.pop("_origins", None)) is not None:
            origins.close()

    def get(self, ask: Ask) -> OnlineFeatures:
        """Return the vectors of some entities.

        Raises
        ------
        UnknownFeature, UnknownService, NotOnline, NeverMaterialized, MissingKey, InvalidKey
        TransformMismatch, TransformUnavailable
            The code of an on-demand feature is not what was registered.
        MissingRequestValue, InvalidRequestValue
        InvalidRequest
            A default for a feature that is not asked for; more or fewer request values than entities.
        StoreUnavailable
            Only where ``[serving] on_unavailable = "error"``.
        """
        began_ns, now_us = perf_counter_ns(), self._clock_us()
        noted = self._prepare(_asked(ask), ask.service, began_ns)
        prepared, entities = noted.prepared, ask.entities
        try:
            if ask.defaults:
                _check_defaults(ask.defaults, prepared)
            lone = key = None
            if ask.max_staleness_us is None and type(entities) is list and len(entities) == 1:
                lone = prepared.lone
                key = None if lone is None else lone_key(lone, entities)
            keys: list[Keys]
            if lone is not None and key is not None:
                keys, wanted = [[key]], [ReadKeys(lone.build, [key])]
            else:
                keys, wanted = _keys(prepared, entities)
            found = self._reads.read(wanted) if prepared.stored else self._read(prepared, wanted, now_us)
            answer = None
            if lone is not None and key is not None and not self._reads.behind:
                answer = lone_answer(prepared, lone, found, now_us)
            if answer is None:
                answer = self._answer(ask, prepared, keys, found, now_us)
        except TimewellError as problem:
            self._account.failed(noted, entities, problem, perf_counter_ns() - began_ns)
            raise
        # what _note does, for one entity that is not sampled without a call: `./run bench serve observe`
        if key is not None and not answer.degraded and (not noted.limit or crc32(key) >= noted.limit):
            noted.good(perf_counter_ns() - began_ns)
        else:
            self._note(noted, ask, answer, began_ns, now_us)
        return answer

    async def aget(self, ask: Ask) -> OnlineFeatures:
        """Do as :meth:`get` does, without blocking the event loop while a remote store answers."""
        if not self._is_at_hand(ask) or len(ask.entities) > _MOST_INLINE:
            return await asyncio.to_thread(self.get, ask)
        began_ns, now_us = perf_counter_ns(), self._clock_us()
        noted = self._prepare(_asked(ask), ask.service, began_ns)
        try:
            if ask.defaults:
                _check_defaults(ask.defaults, noted.prepared)
            keys, wanted = _keys(noted.prepared, ask.entities)
            found = await self._aread(noted.prepared, wanted, now_us)
            answer = self._answer(ask, noted.prepared, keys, found, now_us)
        except TimewellError as problem:
            self._account.failed(noted, ask.entities, problem, perf_counter_ns() - began_ns)
            raise
        self._note(noted, ask, answer, began_ns, now_us)
        return answer

    def _read(self, prepared: Prepared, wanted: Sequence[ReadKeys], now_us: int) -> Found:
        if prepared.stored:
            return self._reads.read(wanted)
        return self._origins.read(prepared.groups, wanted, now_us, self._reads.read)

    async def _aread(self, prepared: Prepared, wanted: Sequence[ReadKeys], now_us: int) -> Found:
        if prepared.stored:
            return await self._reads.aread(wanted)
        held = self._origins.read_hot(wanted) if all(group.hot for group in prepared.groups) else None
        return held if held is not None else await asyncio.to_thread(self._read, prepared, wanted, now_us)

    def _note(self, noted: Noted, ask: Ask, answer: OnlineFeatures, began_ns: int, now_us: int) -> None:
        took_ns = perf_counter_ns() - began_ns
        if self._account.plain and not answer.degraded:
            noted.good(took_ns)
        else:
            self._account.answered(noted, ask, answer, took_ns, now_us)

    def _is_at_hand(self, ask: Ask) -> bool:
        """Whether a request can be answered on an event loop.

        Reading the registry's definitions takes 10 ms, and nobody knows how long somebody's function takes.
        """
        noted = self._noted.get((_asked(ask), ask.service))
        return noted is not None and noted.prepared.epoch == self._epoch and noted.prepared.on_demand is None

    def _answer(self, ask: Ask, prepared: Prepared, keys: list[Keys], found: Found, now_us: int) -> OnlineFeatures:
        on_demand = prepared.on_demand
        given = () if on_demand is None else on_demand.columns(ask.request, len(ask.entities))
        parts, as_of, lacking = self._parts(ask, prepared, keys, found, Moment(now_us, ask.max_staleness_us))
        values: Sequence[Sequence[object]]
        if parts or on_demand is None:
            values, statuses = side_by_side(prepared, parts)
        else:
            values, statuses = [()] * len(ask.entities), [()] * len(ask.entities)
        if on_demand is not None:
            made = on_demand.rows(values, statuses, given, now_us, ask.defaults or {})
            values, statuses = made.values, made.statuses
            lacking += [(ref, "transform_failed") for ref in made.failed]
            as_of = on_demand.as_of(as_of)
        if lacking:
            self._account.lacking(prepared, lacking)
        return OnlineFeatures(
            features=prepared.columns,
            rows=values,
            row_statuses=statuses,
            epoch=prepared.epoch,
            as_of_us=as_of,
            degraded=bool(lacking),
        )

    def _parts(
        self, ask: Ask, prepared: Prepared, keys: list[Keys], found: Found, moment: Moment
    ) -> tuple[list[GroupVectors], dict[str, int], list[tuple[str, Lack]]]:
        """Return each group's part, the instants they are of, and why some are fallbacks."""
        as_of: dict[str, int] = {}
        lacking: list[tuple[str, Lack]] = []
        parts: list[GroupVectors] = []
        for group, one in zip(prepared.groups, found, strict=True):
            mine = keys[group.entity]
            if isinstance(one, str):
                cause: Lack = one
            else:
                mark, rows = one
                if mark is not None and mark.schema_hash == group.schema_hash:
                    as_of[group.name] = min(mark.as_of_us, as_of.get(group.name, mark.as_of_us))
                    if group.build in self._reads.behind:
                        lacking.append((group.ref, "rolled_back"))
                    rows = rows if len(rows) == len(mine) else _expanded(mine, rows)
                    parts.append(vectors_of(group, mark, rows, moment))
                    continue
                if not self._reads.emptied():
                    raise _lost(group)
                cause = "emptied"
            lacking.append((group.ref, cause))
            remembered = self._reads.remember(group.build, mine)
            if remembered is not None:
                as_of[group.name] = remembered.mark.as_of_us
            parts.append(fallback_vectors(group, mine, remembered, moment, ask.defaults or {}))
        return parts, as_of, lacking

    def _prepare(self, asked: tuple[str, ...], service: str | None, now_ns: int) -> Noted:
        """Return the request prepared for the present epoch; the epoch is polled a few times a second."""
        if now_ns - self._polled_ns >= _POLL_NS:
            self._poll(now_ns)
        noted = self._noted.get((asked, service))
        # A thread that began before a switch may store what it prepared after it: never answer from before an epoch
        # that was answered already.
        if noted is None or noted.prepared.epoch < self._epoch:
            catalog = load_catalog(self._project)
            resolved = catalog.resolve_all(asked, service=service)
            self._origins.follow(catalog)
            compute = partial(self._origins.computed, catalog)
            noted = self._account.of(prepare(catalog, resolved, service, compute=compute), resolved, catalog)
            self._epoch = max(self._epoch, noted.prepared.epoch)
            if len(self._noted) >= _MOST_PREPARED:
                self._noted = {}
            self._noted[asked, service] = noted
        return noted

    def _poll(self, now_ns: int) -> None:
        try:
            epoch = self._project.registry.epoch()
            self._expect(now_ns)
        except StateBusy as busy:
            if self._epoch < 0:
                raise
            log.warning("the registry did not answer, the epoch before goes on being served (%s)", busy.code)
            self._polled_ns = now_ns
            return
        if epoch != self._epoch or self._polled_ns == _NEVER:
            self._noted = {}
        self._epoch, self._polled_ns = epoch, now_ns

    def _expect(self, now_ns: int) -> None:
        """Tell the way to the store what was written last: a store that was restored from a copy holds less.

        A refresh moves no epoch, so the registry is asked again and again. It is told of a write after the store, never
        before: what the store holds may be ahead of it, not behind.
        """
        if now_ns - self._expected_ns >= _EXPECT_NS and self._project.online.capabilities.remote:
            builds = self._project.registry.builds()
            self._reads.expect({one.build: (one.as_of_us, one.refresh_seq) for one in builds})
            self._expected_ns = now_ns


def _asked(ask: Ask) -> tuple[str, ...]:
    features = ask.features
    return (features,) if isinstance(features, str) else tuple(features)


def _check_defaults(defaults: Mapping[str, object], prepared: Prepared) -> None:
    """Refuse a default for what is not asked for: a misspelled one would be missed only when the store is down."""
    for name in defaults:
        if name not in prepared.columns:
            known = ", ".join(prepared.columns)
            raise InvalidRequest(problem=f"defaults names {name!r}, which is not among the features asked for: {known}")


def _keys(prepared: Prepared, entities: Entities) -> tuple[list[Keys], list[ReadKeys]]:
    """Return the keys of each kind of entity, and which of them to read from which build."""
    if not prepared.encoders:
        check_entities(entities)
    keys = [encode(entities) for encode in prepared.encoders]
    known = [
        cast("Sequence[bytes]", mine) if None not in mine else [key for key in mine if key is not None] for mine in keys
    ]
    return keys, [ReadKeys(group.build, known[group.entity]) for group in prepared.groups]


def _expanded(keys: Keys, rows: list[bytes | None]) -> list[bytes | None]:
    """Return a row for every key, none for those that have a null part."""
    packed = iter(rows)
    return [None if key is None else next(packed) for key in keys]


def _lost(group: PreparedGroup) -> NeverMaterialized:
    hint = f"The online store was emptied or restored: run `timewell materialize online {group.ref}`."
    return NeverMaterialized(feature=group.first_feature, hint=hint)


def _settings(project: Project) -> RemoteSettings:
    serving = project.config.serving
    return RemoteSettings(
        timeout_s=parse_duration(serving.timeout) / _SECOND_US,
        raises=serving.on_unavailable == "error",
        coalesce=serving.coalesce,
        cache_entries=serving.cache_entries,
        cache_age_s=parse_duration(serving.cache_age) / _SECOND_US,
    )
