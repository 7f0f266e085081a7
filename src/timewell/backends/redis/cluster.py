"""A Redis Cluster: each command goes to the node that has its slot; nodes are asked side by side.

Every build is cut into parts by the entity's key. The rows, the fence and the count of a part have one tag, so they lie
together and one script changes them. A read asks for the fences beside the rows: where a node lost what it had, its
fences are gone while the mark, on another node, may be there.
"""

from __future__ import annotations

import time
from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Final

from timewell.backends.redis.links import Command, Link, Reply, Server, packed
from timewell.backends.redis.names import PARTS
from timewell.backends.redis.wire import PATIENCE_S, checked
from timewell.errors import StoreUnavailable

_SLOTS: Final = 16_384
_PAUSE_S: Final = 0.002
_ELSEWHERE: Final = ("MOVED ", "ASK ", "TRYAGAIN")


class Cluster:
    """Asks the nodes of a cluster.

    Parameters
    ----------
    seed
        One of its nodes; the others are learned from it.
    """

    parts = PARTS

    def __init__(self, seed: Server) -> None:
        self._seed = seed
        self.name = f"{seed.name} and its cluster"
        self._nodes: dict[tuple[str, int], Server] = {(seed.host, seed.port): seed}
        self._by_slot: list[Server] | None = None

    def get_many(self, names: Sequence[bytes], until: float) -> list[bytes | None]:
        """Return the values of some names; those of one slot as they are at one moment."""
        slots: dict[int, list[int]] = {}
        for place, name in enumerate(names):
            slots.setdefault(slot_of(name), []).append(place)
        commands: list[Command] = [(b"MGET", *(names[place] for place in places)) for places in slots.values()]
        values: list[bytes | None] = [None] * len(names)
        replies = checked(self._routed(commands, until), self.name)
        for places, found in zip(slots.values(), replies, strict=True):
            for place, value in zip(places, found, strict=True):
                values[place] = value
        return values

    def run(self, commands: Sequence[Command], until: float | None = None) -> list[Reply]:
        """Run commands, in order where their keys lie together, in one round trip."""
        return checked(self._routed(commands, until or monotonic() + PATIENCE_S), self.name)

    def run_at_once(self, commands: Sequence[Command]) -> list[Reply]:
        """Nothing is at once on several nodes."""
        raise NotImplementedError

    def run_everywhere(self, command: Command) -> list[Reply]:
        """Run a command on every node that has slots."""
        until = monotonic() + PATIENCE_S
        return [checked(node.run([command], until), self.name)[0] for node in set(self._table(until))]

    def stream(self, batches: Iterable[Sequence[Command]]) -> Iterator[list[Reply]]:
        """Run batches of commands in order; yields the replies of each."""
        return (self.run(batch) for batch in batches)

    def close(self) -> None:
        """Close the connections."""
        for node in self._nodes.values():
            node.close()

    # --- where to ask ---

    def _table(self, until: float) -> list[Server]:
        """Return the node of every slot."""
        if self._by_slot is None:
            self._by_slot = self._learned(until)
        return self._by_slot

    def _learned(self, until: float) -> list[Server]:
        """Ask the nodes known so far, one after the other, who has which slots."""
        problem: Exception = StoreUnavailable(problem="no node of it answered", store=self.name)
        nodes = list(self._nodes.values())
        for place, node in enumerate(nodes):
            share_s = (until - monotonic()) / (len(nodes) - place)  # one that is silent must leave time for the others
            try:
                [ranges] = checked(node.run([(b"CLUSTER", b"SLOTS")], monotonic() + share_s), self.name)
            except StoreUnavailable as error:
                problem = error
                continue
            table: list[Server | None] = [None] * _SLOTS
            for first, last, (host, port, *_), *_ in ranges:
                owner = self._node(host.decode() if host else node.host, port)
                table[first : last + 1] = [owner] * (last + 1 - first)
            found = [owner for owner in table if owner is not None]
            if len(found) == _SLOTS:
                return found
            problem = StoreUnavailable(problem=f"{_SLOTS - len(found)} of its slots have no node", store=self.name)
        raise problem

    def _node(self, host: str, port: int) -> Server:
        place = (host, port)
        known = self._nodes.get(place)
        if known is None:  # two threads may make one; that of the first is used, the other never connects
            known = self._nodes.setdefault(place, self._seed.sibling(host, port))
        return known

    # --- asking ---

    def _routed(self, commands: Sequence[Command], until: float) -> list[Reply]:
        """Run commands where their keys are, again where slots are on the move."""
        replies: list[Reply] = [None] * len(commands)
        left = list(range(len(commands)))
        while True:
            table = self._table(until)
            groups: dict[Server, list[int]] = {}
            for place in left:
                groups.setdefault(table[slot_of(key_of(commands[place]))], []).append(place)
            self._ask(groups, commands, replies, until)
            left = [place for place in left if _is_elsewhere(replies[place])]
            for place in left:
                word, *where = str(replies[place]).split()
                if word == "MOVED":
                    self._by_slot = None
                elif word == "ASK":
                    host, _, port = where[1].rpartition(":")
                    node = self._node(host or self._seed.host, int(port))
                    replies[place] = node.run([(b"ASKING",), commands[place]], until)[1]
            left = [place for place in left if _is_elsewhere(replies[place])]
            if not left:
                return replies
            if monotonic() + _PAUSE_S > until:
                raise StoreUnavailable(problem=f"it said {replies[left[0]]}", store=self.name)
            time.sleep(_PAUSE_S)

    def _ask(
        self, groups: dict[Server, list[int]], commands: Sequence[Command], replies: list[Reply], until: float
    ) -> None:
        """Send to every node, then read from every node."""
        try:
            with ExitStack() as links:
                asked: list[tuple[Link, list[int]]] = []
                for node, places in groups.items():
                    link = links.enter_context(node.linked(until))
                    link.send(packed(commands[place] for place in places), until)
                    asked.append((link, places))
                for link, places in asked:
                    for place, reply in zip(places, link.receive(len(places), until), strict=True):
                        replies[place] = reply
        except StoreUnavailable:
            self._by_slot = None  # a replica may have taken over
            raise


def slot_of(name: bytes) -> int:
    """Return the slot of a key, by its tag if it has one."""
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return crc_hqx(name, 0) % _SLOTS


def key_of(command: Command) -> bytes:
    """Return the first key of a command."""
    key = command[3 if command[0] == b"EVAL" else 1]
    if not isinstance(key, bytes):
        raise TypeError(key)
    return key


def _is_elsewhere(reply: Reply) -> bool:
    return isinstance(reply, Exception) and str(reply).startswith(_ELSEWHERE)
