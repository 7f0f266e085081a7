"""What a call sends and what an answer means, without any I/O: shared by both clients."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import httpx2
import msgspec

from timewell import chance, errors
from timewell.errors import RequestRefused, ServerFailed, ServerUnreachable, TimewellError
from timewell.serve.response import OnlineFeatures, Status
from timewell.types import parse_instant

PATH: Final = "/v1/features/get"
MEDIA: Final = "application/msgpack"
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_WORTH_ANOTHER: Final = (httpx2.NetworkError, httpx2.ConnectTimeout, httpx2.RemoteProtocolError)

Entity = Mapping[str, object]
Given = Mapping[str, object] | Sequence[Mapping[str, object]]


class Asked(NamedTuple):
    """Everything of a request but its entities: calls that agree in it can go together."""

    features: tuple[str, ...]
    service: str | None
    max_staleness: str | None
    defaults: bytes  # packed, so that calls with equal ones are alike


def asked_for(
    features: Sequence[str] | str,
    service: str | None,
    max_staleness: str | None,
    defaults: Mapping[str, object] | None,
) -> Asked:
    """Return what a call asks for."""
    names = (features,) if isinstance(features, str) else tuple(features)
    return Asked(names, service, max_staleness, _encode(defaults) if defaults else b"")


class _Row(msgspec.Struct, frozen=True):
    values: list[object]
    statuses: tuple[Status, ...]


class _Answer(msgspec.Struct, frozen=True):
    features: tuple[str, ...]
    rows: list[_Row]
    epoch: int
    as_of: dict[str, str]
    degraded: bool


class _Problem(msgspec.Struct, frozen=True):
    code: str
    message: str
    hint: str
    facts: dict[str, object]


class _ProblemAnswer(msgspec.Struct, frozen=True):
    error: _Problem


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Answer).decode
_decode_problem = msgspec.json.Decoder(_ProblemAnswer).decode
_instant = lru_cache(1_024)(parse_instant)

# the widest class of each code: a server's own kinds of it have the same meaning
_KINDS: Final[dict[str, type[TimewellError]]] = {}
for _kind in (getattr(errors, name) for name in errors.__all__):
    if isinstance(_kind, type) and issubclass(_kind, TimewellError):
        _held = _KINDS.setdefault(_kind.code, _kind)
        if len(_kind.__mro__) < len(_held.__mro__):
            _KINDS[_kind.code] = _kind


def headers_for(token: str | None) -> dict[str, str]:
    """Return the headers of every request."""
    headers = {"content-type": MEDIA, "accept": MEDIA, "user-agent": "timewell-client"}
    return headers if token is None else {**headers, "authorization": f"Bearer {token}"}


def write(asked: Asked, entities: Sequence[Entity], request: Given | None = None) -> bytes:
    """Return a request's body."""
    body: dict[str, object] = {"features": asked.features, "entities": entities}
    if request is not None:
        body["request"] = request
    if asked.service is not None:
        body["service"] = asked.service
    if asked.max_staleness is not None:
        body["max_staleness"] = asked.max_staleness
    if asked.defaults:
        body["defaults"] = msgspec.Raw(asked.defaults)
    return _encode(body)


def read(response: httpx2.Response) -> OnlineFeatures:
    """Return the vectors of an answer, or raise the error that it tells.

    Raises
    ------
    TimewellError
    """
    if response.status_code != 200:
        raise _told(response)
    try:
        answer = _decode(response.content)
    except msgspec.MsgspecError as problem:
        raise _failed(response, f"it answered with something else than vectors ({problem})") from None
    return OnlineFeatures(
        features=answer.features,
        rows=[row.values for row in answer.rows],
        row_statuses=[row.statuses for row in answer.rows],
        epoch=answer.epoch,
        as_of_us={group: _instant(text) for group, text in answer.as_of.items()},
        degraded=answer.degraded,
    )


def _told(response: httpx2.Response) -> TimewellError:
    """Return the error that an answer tells, as the class that the same call in process would raise."""
    try:
        problem = _decode_problem(response.content).error
    except msgspec.MsgspecError:
        return _failed(response, "it answered in a form that is not Timewell's; is there a proxy in between")
    kind = _KINDS.get(problem.code)
    if kind is not None:
        return kind(hint=problem.hint, **problem.facts)
    if response.status_code < 500:
        return RequestRefused(hint=problem.hint, answered=problem.code, problem=problem.message, told=problem.facts)
    return _failed(response, problem.message)


def _failed(response: httpx2.Response, problem: str) -> ServerFailed:
    request_id = response.headers.get("x-request-id", "unknown")
    return ServerFailed(status=response.status_code, problem=problem, request_id=request_id)


class Attempts:
    """The attempts of one call: how long each may take, and whether and when there is another.

    Parameters
    ----------
    timeout_s
        How long the call may take, all attempts and pauses together.
    retries
        How many attempts may follow the first.
    """

    def __init__(self, timeout_s: float, retries: int) -> None:
        self._until_s = time.monotonic() + timeout_s
        self._retries = retries
        self.made = 0

    def left_s(self) -> float:
        """Return how long the next attempt may take."""
        return max(0.001, self._until_s - time.monotonic())

    def pause_s(self, met: httpx2.Response | httpx2.TransportError) -> float | None:
        """Return how long to wait before another attempt; ``None`` if what was met shall be told to the caller.

        Another attempt is made after a 503 and after a connection that failed: a read can be repeated. A share of the
        longest pause is drawn by chance, so that callers that failed together do not come back together.
        """
        worth = met.status_code == 503 if isinstance(met, httpx2.Response) else isinstance(met, _WORTH_ANOTHER)
        self.made += 1
        if not worth or self.made > self._retries:
            return None
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**self.made) * (0.5 + chance.share() / 2)
        return pause_s if time.monotonic() + pause_s < self._until_s else None

    def unreachable(self, url: str, problem: httpx2.TransportError) -> ServerUnreachable:
        """Return the error of a call whose last attempt had no answer."""
        told = f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
        return ServerUnreachable(url=url, problem=told, attempts=self.made)
