"""How the store asks Redis, whether that is one server or a cluster of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from timewell.backends.redis.links import Command, Reply
from timewell.errors import StoreUnavailable

PATIENCE_S: Final = 30.0  # a writer's, for one batch


class Wire(Protocol):
    """Commands to where the keys lie.

    Attributes
    ----------
    parts
        Into how many parts a build is cut; the rows of one part lie together, so one script may change them.
    name
        What errors call it.
    """

    parts: int
    name: str

    def get_many(self, names: Sequence[bytes], until: float) -> list[bytes | None]:
        """Return the values of some names; those of equal Cluster tags as they are at one moment."""
        ...

    def run(self, commands: Sequence[Command], until: float | None = None) -> list[Reply]:
        """Run commands, in order where their keys lie together, in one round trip; in ``PATIENCE_S`` if need be."""
        ...

    def run_at_once(self, commands: Sequence[Command]) -> list[Reply]:
        """Run commands with nothing between them; only where there is one part."""
        ...

    def run_everywhere(self, command: Command) -> list[Reply]:
        """Run a command on every server."""
        ...

    def stream(self, batches: Iterable[Sequence[Command]]) -> Iterator[list[Reply]]:
        """Run batches of commands in order; yields the replies of each."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def checked(replies: list[Reply], store: str) -> list[Reply]:
    """Return the replies; raises ``StoreUnavailable`` if the server refused a command."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise StoreUnavailable(problem=f"it said {str(reply).rstrip('.')}", store=store)
    return replies
