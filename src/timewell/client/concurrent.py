"""The client for asyncio."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import httpx2

from timewell.client.exchange import PATH, Asked, Attempts, Entity, Given, asked_for, headers_for, read, write
from timewell.client.merging import MergedTasks, Row, can_join
from timewell.serve.response import OnlineFeatures


class AsyncClient:
    """Reads features from a server, without blocking the event loop.

    Parameters
    ----------
    url, token, timeout_s, retries, coalesce, transport
        As of :class:`timewell.client.Client`.

    Examples
    --------
    >>> async def ask() -> None:
    ...     async with AsyncClient("http://127.0.0.1:6570", coalesce=True) as client:
    ...         await client.get(["order_amount_7d"], [{"user_id": 7}])
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:6570",
        *,
        token: str | None = None,
        timeout_s: float = 5.0,
        retries: int = 2,
        coalesce: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx2.AsyncClient(base_url=url, headers=headers_for(token), transport=transport)
        self._timeout_s = timeout_s
        self._retries = retries
        self._merged = MergedTasks(self._send) if coalesce else None

    async def get(
        self,
        features: Sequence[str] | str = (),
        entities: Sequence[Entity] = (),
        *,
        service: str | None = None,
        max_staleness: str | None = None,
        defaults: Mapping[str, object] | None = None,
        request: Given | None = None,
    ) -> OnlineFeatures:
        """Do as :meth:`timewell.client.Client.get`."""
        asked = asked_for(features, service, max_staleness, defaults)
        if self._merged is not None and len(entities) == 1 and can_join(request):
            return await self._merged.get(asked, Row(entities[0], request))
        return await self._send(asked, entities, request)

    aget_online_features = get  # as FeatureStore calls it: one can stand in for the other

    async def _send(self, asked: Asked, entities: Sequence[Entity], request: Given | None = None) -> OnlineFeatures:
        body = write(asked, entities, request)
        attempts = Attempts(self._timeout_s, self._retries)
        while True:
            try:
                met = await self._http.post(PATH, content=body, timeout=attempts.left_s())
            except httpx2.TransportError as problem:
                pause_s = attempts.pause_s(problem)
                if pause_s is None:
                    raise attempts.unreachable(str(self._http.base_url), problem) from None
            else:
                pause_s = attempts.pause_s(met)
                if pause_s is None:
                    return read(met)
            await sleep(pause_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
