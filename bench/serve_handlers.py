"""The handlers that our server is compared with, on the same uvicorn: ``python serve_handlers.py NAME PORT WORKERS [RAW]``.

``nothing`` reads the request and answers two bytes: what uvicorn itself takes. ``values`` is what a competent person writes
for one table of features and nothing else: the request decoded into typed structs by msgspec, one LMDB transaction, the
rows decoded from MessagePack, the values encoded as JSON by msgspec. It knows no statuses, epochs, TTLs, versions, limits,
deadlines, tokens or metrics, refuses nothing, and fails on a key that is not there. Both are bare ASGI functions: no
framework stands between them and uvicorn. ``values-lane`` is the same on the short way through uvicorn that Timewell's own
server takes (``timewell.server.lane``), which nobody would write for one table: it says what is left of our cost without it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import lmdb
import msgspec
import uvicorn
from serve_entities import GROUPS, bare_key
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from timewell.server.lane import with_lane
from timewell.server.wire import Whole

RAW, HANDLER = "BENCH_RAW", "BENCH_HANDLER"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Entity(msgspec.Struct):
    """One entity of a request."""

    user_id: int


class Request(msgspec.Struct):
    """What is asked."""

    features: list[str]
    entities: list[Entity]


async def body_of(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def nothing() -> Application:
    """Make the handler that answers nothing."""

    async def handle(_: Message, receive: Receive, send: Send) -> None:
        await body_of(receive)
        await answer(send, b"{}")

    return handle


@functools.cache  # LMDB opens a file once in a process
def answer_values() -> Callable[[bytes], bytes]:
    """Return what answers a request with values only."""
    environment = lmdb.open(os.environ[RAW], readonly=True)
    decode = msgspec.json.Decoder(Request).decode
    encode = msgspec.json.Encoder().encode
    unpack = msgspec.msgpack.Decoder(list).decode
    numbers = {group: number for number, group in enumerate(GROUPS)}

    def rows_of(asked: Request) -> list[list[object]]:
        groups = sorted({numbers[name[0]] for name in asked.features})
        with environment.begin() as txn:
            get = txn.get
            if len(groups) == 1:
                (number,) = groups
                return [unpack(get(bare_key(number, entity.user_id))) for entity in asked.entities]
            rows = []
            for entity in asked.entities:
                key, row = entity.user_id, []
                for number in groups:
                    row += unpack(get(bare_key(number, key)))
                rows.append(row)
            return rows

    def answer_one(body: bytes) -> bytes:
        asked = decode(body)
        return encode({"features": asked.features, "rows": rows_of(asked)})

    return answer_one


def values() -> Application:
    """Make the handler that answers values only."""
    answer_one = answer_values()

    async def handle(_: Message, receive: Receive, send: Send) -> None:
        await answer(send, answer_one(await body_of(receive)))

    return handle


def lane() -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with our server's short way to the same answers."""
    answer_one = answer_values()

    def answer_now(_: Message, body: bytes) -> Whole:
        found = answer_one(body)
        return Whole(200, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(found))], found)

    return with_lane(HttpToolsProtocol, answer_now)


def made() -> Application:
    """Make the handler that the environment names; each worker makes its own."""
    return nothing() if os.environ[HANDLER] == "nothing" else values()


def main() -> None:
    name, port, workers, raw = sys.argv[1:]
    os.environ |= {HANDLER: name, RAW: raw}
    uvicorn.run(
        made if workers == "1" else "serve_handlers:made",  # several workers import it
        factory=True,
        http=lane() if name == "values-lane" else "auto",
        host="127.0.0.1",
        port=int(port),
        workers=int(workers),
        access_log=False,
        log_level="warning",
        ws="none",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
