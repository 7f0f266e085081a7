"""``POST /v1/features/get``: the hot path.

Rule: what is answered is what ``FeatureStore.get_online_features`` answers, by the same code; nothing here decides a
value or a status.

A small request reads the embedded store right on the event loop: a read takes tens of microseconds, a hop to a thread
costs more than that. What takes long goes to a thread: the first request for a list of features (about 10 ms to read
the registry), requests for many entities, and stores that a read waits for. One first request at a time, so that a
burst of them after a switch does the work once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from timewell.serve.response import OnlineFeatures
from timewell.server.answers import AnswerEncoder, JsonEncoder, MessagePackEncoder
from timewell.server.forms import Asked, RequestDecoder
from timewell.server.frames import encode_frame
from timewell.server.keys import with_dates
from timewell.server.limits import LIMITS, Limits
from timewell.server.media import ARROW, BODIES, Media
from timewell.store import FeatureStore

INLINE_ENTITIES: Final = 100
_MOST_KNOWN: Final = 1_024

_List = tuple[tuple[str, ...], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is found out once about a list of features, at one epoch."""

    epoch: int
    dates: frozenset[str]
    dtypes: tuple[str, ...]
    floats: tuple[int, ...]


class FeaturesEndpoint:
    """Answers requests for feature vectors.

    Parameters
    ----------
    store
        The store whose features are served.
    limits
        What one request may ask for.
    """

    def __init__(self, store: FeatureStore, limits: Limits = LIMITS) -> None:
        self._store = store
        self._decoders = {media: RequestDecoder(media, limits) for media in BODIES}
        self._encoders: dict[str, AnswerEncoder] = {kind.media: kind() for kind in (JsonEncoder, MessagePackEncoder)}
        self._known: dict[_List, _Known] = {}
        self._first = asyncio.Lock()

    async def answer(self, body: bytes, came_as: Media, wanted_as: Media) -> bytes:
        """Return the answer to a request; raises the typed errors of both."""
        asked = self._decoders[came_as](body)
        while True:
            known, found = await self._find(asked)
            same = found.epoch == known.epoch
            if not same:  # the next request of each list prepares itself in a thread again
                self._known = {}
            if wanted_as != ARROW:
                return self._encoders[wanted_as].encode(found, known.floats if same else None)
            if same:  # else its types may be others
                return encode_frame(found, known.dtypes)

    async def _find(self, asked: Asked) -> tuple[_Known, OnlineFeatures]:
        known = self._known.get((asked.features, asked.service))
        if known is None:
            known = await self._learn((asked.features, asked.service))
        if len(asked.entities) <= INLINE_ENTITIES and not self._store.project.online.capabilities.remote:
            found = self._read(asked, known)
        else:
            found = await asyncio.to_thread(self._read, asked, known)
        return known, found

    def _read(self, asked: Asked, known: _Known) -> OnlineFeatures:
        entities = with_dates(asked.entities, known.dates)
        return self._store.get_online_features(
            asked.features, entities, service=asked.service, max_staleness=asked.max_staleness
        )

    async def _learn(self, asked: _List) -> _Known:
        """Prepare a list of features that was not asked for at this epoch yet."""
        async with self._first:
            known = self._known.get(asked)
            if known is None:
                known = await asyncio.to_thread(self._prepare, asked)
                if len(self._known) >= _MOST_KNOWN:  # a caller that permutes its features must not fill the memory
                    self._known = {}
                self._known[asked] = known
            return known

    def _prepare(self, asked: _List) -> _Known:
        features, service = asked
        catalog = self._store.catalog()
        resolved = catalog.resolve_all(features, service=service)
        self._store.get_online_features(features, [], service=service)
        groups = {item.group.key: item.group for item in resolved}.values()
        dtypes = tuple(item.group.dtypes[item.feature.name] for item in resolved)
        return _Known(
            epoch=catalog.epochs.epoch,
            dates=frozenset(
                name
                for group in groups
                for name, kind in zip(group.compiled.entity.key_names, group.key_types, strict=True)
                if kind == "date"
            ),
            dtypes=dtypes,
            floats=tuple(column for column, dtype in enumerate(dtypes) if "float" in dtype),
        )
