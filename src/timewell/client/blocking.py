"""The client for threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import sleep
from types import TracebackType
from typing import Self

import httpx2

from timewell.client.exchange import PATH, Asked, Attempts, Entity, Given, asked_for, headers_for, read, write
from timewell.client.merging import MergedCalls, Row, can_join
from timewell.serve.response import OnlineFeatures


class Client:
    """Reads features from a server; safe to share between threads.

    Parameters
    ----------
    url
        Where the server is.
    token
        A token of ``timewell token create``.
    timeout_s
        How long a call may take, retries included.
    retries
        How often a call is tried again after a failed connection or a 503.
    coalesce
        Let calls for one entity each that threads make at the same time go together in one request. A call that is
        alone is sent at once; those that come while two requests are on their way wait for one of them to end.
    transport
        An ``httpx2`` transport instead of the network's, for tests.

    Examples
    --------
    Of a server that runs::

        with Client("http://127.0.0.1:6570", token="tw_...") as client:
            client.get(["order_amount_7d"], [{"user_id": 7}]).to_dicts()  # [{'order_amount_7d': 12.5}]
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:6570",
        *,
        token: str | None = None,
        timeout_s: float = 5.0,
        retries: int = 2,
        coalesce: bool = False,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._http = httpx2.Client(base_url=url, headers=headers_for(token), transport=transport)
        self._timeout_s = timeout_s
        self._retries = retries
        self._merged = MergedCalls(self._send) if coalesce else None

    def get(
        self,
        features: Sequence[str] | str = (),
        entities: Sequence[Entity] = (),
        *,
        service: str | None = None,
        max_staleness: str | None = None,
        defaults: Mapping[str, object] | None = None,
        request: Given | None = None,
    ) -> OnlineFeatures:
        """Return the present feature vectors of some entities, with a status for every value.

        Parameters
        ----------
        features
            References ``[group:]name[@version]``.
        entities
            One mapping of join key to value per vector wanted; a null key is an entity never seen.
        service
            A feature service instead of, or besides, ``features``.
        max_staleness
            A duration such as ``1h``: values of older builds are marked ``stale``.
        defaults
            Feature to the value that stands in where the server's store does not answer, or a function fails.
        request
            What on-demand features take from the request: one mapping of name to value, the value either one for all
            entities or a list of one for each; or a list with a mapping for each entity.

        Raises
        ------
        TimewellError
            As in process; ``ServerUnreachable`` if no answer came in time, ``RequestRefused`` and ``ServerFailed`` for
            what only a server says.
        """
        asked = asked_for(features, service, max_staleness, defaults)
        if self._merged is not None and len(entities) == 1 and can_join(request):
            return self._merged.get(asked, Row(entities[0], request))
        return self._send(asked, entities, request)

    get_online_features = get  # as FeatureStore calls it: one can stand in for the other

    def _send(self, asked: Asked, entities: Sequence[Entity], request: Given | None = None) -> OnlineFeatures:
        body = write(asked, entities, request)
        attempts = Attempts(self._timeout_s, self._retries)
        while True:
            try:
                met = self._http.post(PATH, content=body, timeout=attempts.left_s())
            except httpx2.TransportError as problem:
                pause_s = attempts.pause_s(problem)
                if pause_s is None:
                    raise attempts.unreachable(str(self._http.base_url), problem) from None
            else:
                pause_s = attempts.pause_s(met)
                if pause_s is None:
                    return read(met)
            sleep(pause_s)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
