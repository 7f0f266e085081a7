"""``POST /v1/features/get``: the hot path.

Rule: what is answered is what ``FeatureStore.get_online_features`` answers, by the same code; nothing here decides a
value or a status.

A small request reads the embedded store right on the event loop: a read takes tens of microseconds, a hop to a thread
costs more than that. What takes long goes to a thread: the first request for a list of features (about 10 ms to read
the registry) and requests for many entities. One first request at a time, so that a burst of them after a switch does
the work once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from timewell.serve.response import OnlineFeatures
from timewell.server.forms import FeaturesRequest, decode_request
from timewell.server.limits import LIMITS, Limits
from timewell.server.values import encode_answer, with_dates
from timewell.store import FeatureStore

INLINE_ENTITIES: Final = 100
_MOST_KNOWN: Final = 1_024

_Asked = tuple[tuple[str, ...], str | None]


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
        self._limits = limits
        self._known: dict[_Asked, frozenset[str]] = {}
        self._epoch = -1
        self._first = asyncio.Lock()

    async def answer(self, body: bytes) -> bytes:
        """Return the JSON answer to a JSON request; raises the typed errors of both."""
        wanted = decode_request(body, self._limits)
        asked = (tuple(wanted.features), wanted.service)
        dates = self._known.get(asked)
        if dates is None:
            dates = await self._learn(asked)
        if len(wanted.entities) <= INLINE_ENTITIES:
            found, encoded = self._read(wanted, dates)
        else:
            found, encoded = await asyncio.to_thread(self._read, wanted, dates)
        if found.epoch != self._epoch:  # the next request of each list prepares itself in a thread again
            self._known, self._epoch = {}, found.epoch
        return encoded

    def _read(self, wanted: FeaturesRequest, dates: frozenset[str]) -> tuple[OnlineFeatures, bytes]:
        entities: Sequence[Mapping[str, object]] = with_dates(wanted.entities, dates)
        found = self._store.get_online_features(
            wanted.features, entities, service=wanted.service, max_staleness=wanted.max_staleness
        )
        return found, encode_answer(found)

    async def _learn(self, asked: _Asked) -> frozenset[str]:
        """Prepare a list of features that was not asked for at this epoch yet, and note its keys of type date."""
        async with self._first:
            dates = self._known.get(asked)
            if dates is None:
                dates = await asyncio.to_thread(self._prepare, asked)
                if len(self._known) >= _MOST_KNOWN:  # a caller that permutes its features must not fill the memory
                    self._known = {}
                self._known[asked] = dates
            return dates

    def _prepare(self, asked: _Asked) -> frozenset[str]:
        features, service = asked
        resolved = self._store.catalog().resolve_all(features, service=service)
        groups = {item.group.key: item.group for item in resolved}.values()
        self._store.get_online_features(features, [], service=service)
        return frozenset(
            name
            for group in groups
            for name, kind in zip(group.compiled.entity.key_names, group.key_types, strict=True)
            if kind == "date"
        )
