"""``POST /v1/features/get``: the hot path.

Rule: what is answered is what ``FeatureStore.get_online_features`` answers, by the same code; nothing here decides a
value or a status.

A small request reads the embedded store right on the event loop: a read takes tens of microseconds, a hop to a thread
costs more than that. What takes long does not hold up the loop: the first request for a list of features (about 10 ms to
read the registry), requests for many entities, stores that a read waits for, features that are computed on read, and
functions of on-demand features, of which nobody knows how long they take. One first request at a time, so that a
burst of them after a switch does the work once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, NamedTuple

from timewell.catalog.on_demand import stored_parts
from timewell.errors import UsageError
from timewell.serve.response import OnlineFeatures
from timewell.server.access import Granted
from timewell.server.answers import AnswerEncoder, JsonEncoder, MessagePackEncoder
from timewell.server.forms import Asked, RequestDecoder
from timewell.server.frames import check_fit, encode_frame
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
    columns: tuple[str, ...]
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

    def answer_now(self, call: Call) -> bytes | None:
        """Return the answer to a request for which nothing takes long, ``None`` for any other.

        Raises the typed errors of a request and of a read, and ``GroupNotPermitted``.
        """
        asked = self._decoders[call.came_as](call.body)
        known = self._known.get((asked.features, asked.service))
        if known is None or not known.inline or len(asked.entities) > INLINE_ENTITIES:
            return None
        self._check(call, asked, known)
        found = self._store.get_online_features(
            asked.features,
            with_dates(asked.entities, known.dates),
            service=asked.service,
            max_staleness=asked.max_staleness,
            defaults=asked.defaults,
            request=asked.request,
        )
        return self._encoded(call, known, found)

    async def answer(self, call: Call) -> bytes:
        """Return the answer to any request; raises as :meth:`answer_now` does."""
        while True:
            answer = self.answer_now(call) or await self._answer_slowly(call)
            if answer is not None:
                return answer

    async def _answer_slowly(self, call: Call) -> bytes | None:
        asked = self._decoders[call.came_as](call.body)
        known = self._known.get((asked.features, asked.service))
        if known is None:
            await self._learn((asked.features, asked.service), call.granted)
            return None  # most lists can be answered at once then
        self._check(call, asked, known)
        found = await self._store.aget_online_features(
            asked.features,
            with_dates(asked.entities, known.dates),
            service=asked.service,
            max_staleness=asked.max_staleness,
            defaults=asked.defaults,
            request=asked.request,
        )
        return self._encoded(call, known, found)

    def _check(self, call: Call, asked: Asked, known: _Known) -> None:
        """Refuse a request that its answer could not be given to, before anything is read."""
        call.granted.check_groups(known.groups)
        if asked.defaults and call.wanted_as == ARROW:
            check_fit(asked.defaults, known.columns, known.dtypes)

    def _encoded(self, call: Call, known: _Known, found: OnlineFeatures) -> bytes | None:
        """Return the answer as bytes; ``None`` where what is known of its features was known of another epoch."""
        same = found.epoch == known.epoch
        if not same:  # the next request of each list prepares itself in a thread again
            self._known = {}
            if call.wanted_as == ARROW or call.granted.groups is not None:
                return None  # its names may mean other types and groups now
        if call.wanted_as == ARROW:
            return encode_frame(found, known.dtypes)
        return self._encoders[call.wanted_as].encode(found, known.floats if same and not found.degraded else None)

    async def _learn(self, asked: _List, granted: Granted) -> None:
        """Prepare a list of features that was not asked for at this epoch yet."""
        async with self._first:
            if asked not in self._known:
                known = await asyncio.to_thread(self._prepare, asked, granted)
                if len(self._known) >= _MOST_KNOWN:  # a caller that permutes its features must not fill the memory
                    self._known = {}
                self._known[asked] = known

    def _prepare(self, asked: _List, granted: Granted) -> _Known:
        features, service = asked
        catalog = self._store.catalog()
        try:
            resolved = catalog.resolve_all(features, service=service)
        except UsageError:
            granted.check_groups({None})  # who may not see a group is not told whether it is there
            raise
        needed = [*resolved, *(part for item in resolved for part in stored_parts(catalog, item))]
        names = frozenset(item.group.compiled.name for item in needed)
        granted.check_groups(names)
        self._store.get_online_features(features, [], service=service)
        groups = {item.group.key: item.group for item in needed}.values()
        dtypes = tuple(item.group.dtypes[item.feature.name] for item in resolved)
        return _Known(
            epoch=catalog.epochs.epoch,
            groups=names,
            columns=tuple(item.column for item in resolved),
            inline=not self._store.project.online.capabilities.remote
            and not any(item.feature.computed or item.feature.transform for item in resolved),
            dates=frozenset(
                name
                for group in groups
                for name, kind in zip(group.compiled.entity.key_names, group.key_types, strict=True)
                if kind == "date"
            ),
            dtypes=dtypes,
            floats=tuple(column for column, dtype in enumerate(dtypes) if "float" in dtype),
        )
