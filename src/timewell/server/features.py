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
from typing import Final, NamedTuple

from timewell.errors import UsageError
from timewell.serve.response import OnlineFeatures
from timewell.server.access import Granted
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


class Call(NamedTuple):
    """One request's body, the form it came in, the form the answer is wanted in, and what its caller may do."""

    body: bytes
    came_as: Media
    wanted_as: Media
    granted: Granted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is found out once about a list of features, at one epoch."""

    epoch: int
    groups: frozenset[str]
    inline: bool
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

    async def answer(self, call: Call) -> bytes:
        """Return the answer to a request; raises the typed errors of both, and ``GroupNotPermitted``."""
        asked, wanted_as = self._decoders[call.came_as](call.body), call.wanted_as
        while True:
            known, found = await self._find(asked, call.granted)
            same = found.epoch == known.epoch
            if not same:  # the next request of each list prepares itself in a thread again
                self._known = {}
                if wanted_as == ARROW or call.granted.groups is not None:
                    continue  # its names may mean other types and groups now
            if wanted_as == ARROW:
                return encode_frame(found, known.dtypes)
            return self._encoders[wanted_as].encode(found, known.floats if same else None)

    async def _find(self, asked: Asked, granted: Granted) -> tuple[_Known, OnlineFeatures]:
        known = self._known.get((asked.features, asked.service))
        if known is None:
            known = await self._learn((asked.features, asked.service), granted)
        granted.check_groups(known.groups)  # before anything is read
        entities = with_dates(asked.entities, known.dates)
        if known.inline and len(asked.entities) <= INLINE_ENTITIES:
            get = self._store.get_online_features
            return known, get(asked.features, entities, service=asked.service, max_staleness=asked.max_staleness)
        aget = self._store.aget_online_features
        return known, await aget(asked.features, entities, service=asked.service, max_staleness=asked.max_staleness)

    async def _learn(self, asked: _List, granted: Granted) -> _Known:
        """Prepare a list of features that was not asked for at this epoch yet."""
        async with self._first:
            known = self._known.get(asked)
            if known is None:
                known = await asyncio.to_thread(self._prepare, asked, granted)
                if len(self._known) >= _MOST_KNOWN:  # a caller that permutes its features must not fill the memory
                    self._known = {}
                self._known[asked] = known
            return known

    def _prepare(self, asked: _List, granted: Granted) -> _Known:
        features, service = asked
        catalog = self._store.catalog()
        try:
            resolved = catalog.resolve_all(features, service=service)
        except UsageError:
            granted.check_groups({None})  # who may not see a group is not told whether it is there
            raise
        names = frozenset(item.group.compiled.name for item in resolved)
        granted.check_groups(names)
        self._store.get_online_features(features, [], service=service)
        groups = {item.group.key: item.group for item in resolved}.values()
        dtypes = tuple(item.group.dtypes[item.feature.name] for item in resolved)
        return _Known(
            epoch=catalog.epochs.epoch,
            groups=names,
            inline=not self._store.project.online.capabilities.remote,
            dates=frozenset(
                name
                for group in groups
                for name, kind in zip(group.compiled.entity.key_names, group.key_types, strict=True)
                if kind == "date"
            ),
            dtypes=dtypes,
            floats=tuple(column for column, dtype in enumerate(dtypes) if "float" in dtype),
        )
