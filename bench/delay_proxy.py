"""A connection that takes longer: ``python delay_proxy.py PORT TARGET_PORT MILLISECONDS``.

Everything that comes back from the target arrives so much later, in its order; nothing is slowed otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_CHUNK = 1 << 16


async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(_CHUNK):
        sink.write(part)
    sink.close()


async def forward_late(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    """Pass on what comes, each part a fixed time after it came: the loop runs equal delays in the order of their calls."""
    loop = asyncio.get_running_loop()
    while part := await source.read(_CHUNK):
        loop.call_later(delay_s, sink.write, part)
    loop.call_later(delay_s, sink.close)


async def main(port: int, target: int, delay_s: float) -> None:
    async def connected(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        replies, questions = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(forward(client, questions), forward_late(replies, answers, delay_s))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1e3))
