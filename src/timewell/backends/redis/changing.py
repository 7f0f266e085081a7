"""Change rows of a live build: refresh and erase.

A change of up to a thousand rows on one server is one transaction, seen whole. A larger one takes the build, writes its
chunks, and publishes the mark; whoever takes the build meanwhile ends it, and no chunk of it counts any more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from timewell import chance
from timewell.backends.redis import scripts
from timewell.backends.redis.links import Command, Reply
from timewell.backends.redis.loading import superseded
from timewell.backends.redis.names import (
    Generation,
    Names,
    body_of,
    encode_page,
    label_of,
    number,
    order_of,
    part_of,
    read_mark,
)
from timewell.backends.redis.reading import CHUNK_ROWS, TRIES, Looks, look_now, pages
from timewell.backends.redis.wire import Wire
from timewell.errors import BuildMissing, Superseded
from timewell.stores.online import BuildMark, WriteReport

_SCRIPT_ROWS: Final = 250  # reads wait while a script runs: well below a millisecond
_SIDE_BY_SIDE: Final = 32  # chunks on their way to the nodes of a cluster
_PAUSE_S: Final = 0.002

Act = tuple[bytes, bytes, bytes]  # a key, what to do (see scripts.CHUNK), its row


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done to a build.

    ``offered`` is ``None`` for a change that counts whatever its order; ``base_seq`` is the state it was computed
    against, ``None`` where it does not depend on one.
    """

    build: str
    acts: Sequence[Act]
    offered: BuildMark | None
    base_seq: int | None = None


class _Lost(Exception):
    """Another writer took the build, or loaded it again."""


def refresh(wire: Wire, names: Names, looks: Looks, change: Change) -> WriteReport:
    """Apply a change and publish its mark.

    Raises
    ------
    Superseded
        The store holds a newer mark or another state than the change was computed against.
    BuildMissing
        There is no such build.
    """
    deleted, mark = _apply(wire, names, looks, change)
    written = sum(act != b"delete" for _, act, _ in change.acts)
    return WriteReport(written=written, deleted=deleted, rows=mark.rows, mark=mark)


def acts_of(upserts: Iterable[tuple[bytes, bytes]], deletes: Iterable[bytes]) -> list[Act]:
    """Return what a refresh does, once per key; one that is both upserted and deleted is upserted."""
    rows, gone = dict(upserts), set(deletes)
    acts = [(key, b"both" if key in gone else b"upsert", row) for key, row in rows.items()]
    return [*acts, *((key, b"delete", b"") for key in gone - rows.keys())]


def erase(wire: Wire, names: Names, looks: Looks, build: str, keys: Sequence[bytes]) -> int:
    """Delete rows whatever their order, and their keys from what lists them; returns how many were there."""
    acts = [(key, b"delete", b"") for key in dict.fromkeys(keys)]
    try:
        deleted, _ = _apply(wire, names, looks, Change(build=build, acts=acts, offered=None))
    except BuildMissing:
        return 0
    generation, gone = looks.last(build).generation, set(keys)
    if generation is not None:
        for place, page in enumerate(pages(wire, generation)):
            if not gone.isdisjoint(page):
                left = encode_page([key for key in page if key not in gone])
                wire.run([(b"SET", generation.page(place), left)])
    return deleted


def _apply(wire: Wire, names: Names, looks: Looks, change: Change) -> tuple[int, BuildMark]:
    """Apply a change, again where a writer of no higher order came between; returns deleted rows and the new mark."""
    for attempt in range(TRIES):
        generation = looks.last(change.build).generation or look_now(wire, looks, change.build).generation
        if generation is None:
            break
        writer = _Writer(wire, names, looks, change, generation)
        try:
            return writer.write()
        except _Lost:
            time.sleep(_PAUSE_S * attempt * writer.luck)
    raise BuildMissing(build=change.build)


class _Writer:
    """One attempt at a change."""

    def __init__(self, wire: Wire, names: Names, looks: Looks, change: Change, generation: Generation) -> None:
        self._wire = wire
        self._looks = looks
        self._change = change
        self._generation = generation
        label = label_of(change.build)
        self._keys = (names.mark(label), names.control(label))
        self._token = chance.new_id().encode()
        self.luck = self._token[0] % 16 / 16
        self._order = order_of(change.offered) if change.offered else b""
        self._body = body_of(change.offered) if change.offered else b""

    def write(self) -> tuple[int, BuildMark]:
        acts = self._change.acts
        if self._wire.parts == 1 and len(acts) <= CHUNK_ROWS:
            begun, taken, chunk, published = self._wire.run_at_once(
                [self._begin(), self._take(0), self._chunk(0, acts), self._publish()]
            )
            self._check(begun)
            self._check(taken)
            return self._check(chunk)[0], self._published(published)
        self._check(self._wire.run([self._begin()])[0])
        taken_parts = self._wire.run([self._take(part) for part in range(self._wire.parts)])
        rows = [int.from_bytes(self._check(reply)[0]) for reply in taken_parts]
        deleted = 0
        chunks = list(self._chunks())
        together = 1 if self._wire.parts == 1 else _SIDE_BY_SIDE
        batches = [chunks[start : start + together] for start in range(0, len(chunks), together)]
        replies = self._wire.stream([self._chunk(part, some) for part, some in batch] for batch in batches)
        for batch, found in zip(batches, replies, strict=True):
            for (part, _), reply in zip(batch, found, strict=True):
                gone, left = self._check(reply)
                deleted, rows[part] = deleted + gone, int.from_bytes(left)
        return deleted, self._published(self._wire.run([self._publish(sum(rows))])[0])

    def _chunks(self) -> Iterator[tuple[int, Sequence[Act]]]:
        parts: dict[int, list[Act]] = {}
        for act in self._change.acts:
            parts.setdefault(part_of(act[0]) if self._wire.parts > 1 else 0, []).append(act)
        for part, acts in parts.items():
            for start in range(0, len(acts), _SCRIPT_ROWS):
                yield part, acts[start : start + _SCRIPT_ROWS]

    # --- scripts ---

    def _begin(self) -> Command:
        base = b"" if self._change.base_seq is None else number(self._change.base_seq)
        return (b"EVAL", scripts.BEGIN, 2, *self._keys, self._order, self._token, self._generation.number, base)

    def _take(self, part: int) -> Command:
        keys = [self._generation.part(part), *([self._keys[1]] if self._wire.parts == 1 else [])]
        return (b"EVAL", scripts.TAKE, len(keys), *keys, self._order, self._token)

    def _chunk(self, part: int, acts: Sequence[Act]) -> Command:
        generation = self._generation
        upserts, both, deletes = ([one for one in acts if one[1] == act] for act in (b"upsert", b"both", b"delete"))
        ordered = [*upserts, *both, *deletes]
        names = generation.rows([key for key, _, _ in ordered])
        keys = (generation.part(part), generation.added(part), *names)
        rows = [row for _, _, row in ordered[: len(ordered) - len(deletes)]]
        counts = (len(upserts), len(both))
        return (b"EVAL", scripts.CHUNK, len(keys), *keys, self._token, generation.key_offset + 1, *counts, *rows)

    def _publish(self, rows: int | None = None) -> Command:
        keys = [*self._keys, *([self._generation.part(0)] if rows is None else [])]
        counted = b"" if rows is None else number(rows)
        return (b"EVAL", scripts.PUBLISH, len(keys), *keys, self._token, self._body, counted)

    # --- outcomes ---

    def _published(self, reply: Reply) -> BuildMark:
        packed = self._check(reply)[0]
        self._looks.keep(self._change.build, packed)
        return read_mark(packed)[0]

    def _check(self, reply: Reply) -> list[Reply]:
        """Return what a script answered; raises where it did nothing."""
        outcome: bytes = reply[0]
        more: list[Reply] = reply[1:]
        change = self._change
        if outcome == b"done":
            return more
        if outcome == b"older" and change.offered:
            raise superseded(change.build, more[0], change.offered)
        if outcome == b"moved":
            held, offered = f"refresh {read_mark(more[0])[0].refresh_seq}", f"changes to refresh {change.base_seq}"
            raise Superseded(what=f"a write to online build {change.build!r}", held=held, offered=offered)
        if outcome == b"replaced":
            self._looks.keep(change.build, more[0])
        if outcome == b"missing":
            self._looks.keep(change.build, None)
            raise BuildMissing(build=change.build)
        raise _Lost
