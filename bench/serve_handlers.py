"""The handlers that our server is compared with, on the same uvicorn: ``python serve_handlers.py NAME PORT WORKERS [RAW]``.

``nothing`` reads the request and answers two bytes: what uvicorn itself takes. ``values`` is what a competent person writes
for one table of features and nothing else: the request decoded into typed structs by msgspec, one LMDB transaction, the
rows decoded from MessagePack, the values encoded as JSON by msgspec. It knows no statuses, epochs, TTLs, versions, limits,
deadlines, tokens or metrics, refuses nothing, and fails on a key that is not there. Both are bare ASGI functions: no
framework stands between them and uvicorn.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import lmdb
import msgspec
import uvicorn
from serve_entities import GROUPS, bare_key

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


def values() -> Application:
    """Make the handler that answers values only."""
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

    async def handle(_: Message, receive: Receive, send: Send) -> None:
        asked = decode(await body_of(receive))
        await answer(send, encode({"features": asked.features, "rows": rows_of(asked)}))

    return handle


def made() -> Application:
    """Make the handler that the environment names; each worker makes its own."""
    return {"nothing": nothing, "values": values}[os.environ[HANDLER]]()


def main() -> None:
    name, port, workers, raw = sys.argv[1:]
    os.environ |= {HANDLER: name, RAW: raw}
    uvicorn.run(
        "serve_handlers:made",
        factory=True,
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
