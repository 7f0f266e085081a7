"""One server that holds everything: a request's marks and rows are one MGET, a small refresh is one transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Final

from timewell.backends.redis.links import Command, Reply, Server, packed
from timewell.backends.redis.wire import PATIENCE_S, checked

_AHEAD: Final = 2  # batches on their way while the server works on an earlier one


class Standalone:
    """Asks one server.

    Parameters
    ----------
    server
        The server.
    """

    parts = 1

    def __init__(self, server: Server) -> None:
        self._server = server
        self.name = server.name

    def get_many(self, names: Sequence[bytes], until: float) -> list[bytes | None]:
        """Return the values of some names as they are at one moment, in one round trip."""
        replies = self._server.ask(packed([(b"MGET", *names)]), 1, until)
        values: list[bytes | None] = checked(replies, self.name)[0]
        return values

    def run(self, commands: Sequence[Command], until: float | None = None) -> list[Reply]:
        """Run commands one after the other, in one round trip."""
        return checked(self._server.run(commands, until or monotonic() + PATIENCE_S), self.name)

    def run_at_once(self, commands: Sequence[Command]) -> list[Reply]:
        """Run commands with nothing between them, in one round trip."""
        replies: list[Reply] = self.run([(b"MULTI",), *commands, (b"EXEC",)])[-1]
        return checked(replies, self.name)

    def run_everywhere(self, command: Command) -> list[Reply]:
        """Run a command on the server."""
        return self.run([command])

    def stream(self, batches: Iterable[Sequence[Command]]) -> Iterator[list[Reply]]:
        """Run batches in order; the next is made and sent while the server works. Yields each batch's replies."""
        sent: deque[int] = deque()
        with self._server.linked(monotonic() + PATIENCE_S) as link:
            for batch in batches:
                link.send(packed(batch), monotonic() + PATIENCE_S)
                sent.append(len(batch))
                if len(sent) > _AHEAD:
                    yield checked(link.receive(sent.popleft(), monotonic() + PATIENCE_S), self.name)
            while sent:
                yield checked(link.receive(sent.popleft(), monotonic() + PATIENCE_S), self.name)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()
