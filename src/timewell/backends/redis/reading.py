"""Read rows: what is known of a build's mark makes one round trip of a whole request.

A row's name holds the number of the build's generation, which the mark tells. It is kept from the last read; the mark
is read again beside the rows, so a build that was replaced meanwhile is noticed in the very reply and asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Final, NamedTuple

from timewell.backends.redis.names import Generation, Names, decode_page, label_of, part_of, read_mark
from timewell.backends.redis.wire import PATIENCE_S, Wire
from timewell.errors import BuildMissing, StoreUnavailable, Superseded
from timewell.stores.online import BuildMark, BuildRows, ReadKeys

TRIES: Final = 100
_PAGES: Final = 8
CHUNK_ROWS: Final = 1_000


class Look(NamedTuple):
    """A build's mark as it was last seen: packed, read, and which generation it names."""

    name: bytes
    packed: bytes | None = None
    mark: BuildMark | None = None
    generation: Generation | None = None


class Looks:
    """The marks that this process saw last, by build.

    Parameters
    ----------
    names
        The names of the store.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._looks: dict[str, Look] = {}

    def last(self, build: str) -> Look:
        """Return the last look at a build; an empty one if there was none."""
        return self._looks.get(build) or Look(self._names.mark(label_of(build)))

    def keep(self, build: str, packed: bytes | None) -> Look:
        """Return the look at a mark just read."""
        look = self.last(build)
        if packed == look.packed:
            return look
        if packed is None:
            self._looks.pop(build, None)
            return Look(look.name)
        mark, number = read_mark(packed)
        look = Look(look.name, packed, mark, self._names.generation(label_of(build), number))
        self._looks[build] = look
        return look

    def clear(self) -> None:
        """Forget all."""
        self._looks.clear()


class _Asked(NamedTuple):
    """What was asked of a build: its mark, then so many rows, then so many fences of parts."""

    look: Look
    rows: int
    fences: int


def read(wire: Wire, looks: Looks, wanted: Sequence[ReadKeys], until: float) -> list[BuildRows]:
    """Read several builds' keys, in one round trip if none of them is new to this process."""
    for attempt in range(TRIES):
        asked: list[_Asked] = []
        names: list[bytes] = []
        for build, keys in wanted:
            look = looks.last(build)
            names.append(look.name)
            rows = fences = 0
            if look.generation is not None:
                names += look.generation.rows(keys)
                rows = len(keys)
                if wire.parts > 1:
                    parts = {part_of(key) for key in keys}
                    names += map(look.generation.part, parts)
                    fences = len(parts)
            asked.append(_Asked(look, rows, fences))
        found = _sorted_out(looks, wanted, asked, wire.get_many(names, until), sure=attempt > 0)
        if found is not None:
            return found
    raise StoreUnavailable(problem="a build was replaced again and again while it was read", store=wire.name)


def _sorted_out(
    looks: Looks, wanted: Sequence[ReadKeys], asked: Sequence[_Asked], values: list[bytes | None], *, sure: bool
) -> list[BuildRows] | None:
    """Give each build its mark and rows.

    ``None`` if one has another generation than its rows were asked of, or lacks a fence (unless ``sure``: it is either
    being replaced, or was lost with its part of the rows).
    """
    found: list[BuildRows] = []
    again, start = False, 0
    for (build, keys), (look, count, fences) in zip(wanted, asked, strict=True):
        middle = start + 1 + count
        packed, rows = values[start], values[start + 1 : middle]
        start = middle + fences
        if fences and None in values[middle:start]:
            again = again or not sure
            packed = None
        if packed == look.packed and packed is not None:
            found.append(BuildRows(look.mark, rows))
            continue
        now = looks.keep(build, packed)
        if packed is None:
            found.append(BuildRows(None, [None] * len(keys)))
        elif not keys or now.generation == look.generation:
            found.append(BuildRows(now.mark, rows))
        else:
            again = True
    return None if again else found


def mark(wire: Wire, looks: Looks, build: str, until: float) -> BuildMark | None:
    """Return a build's mark; ``None`` also where a part of its rows was lost."""
    look = looks.last(build)
    while True:
        fences = [] if look.generation is None or wire.parts == 1 else map(look.generation.part, range(wire.parts))
        packed, *found = wire.get_many([look.name, *fences], until)
        now = looks.keep(build, packed)
        if now.generation == look.generation or wire.parts == 1:
            return None if None in found else now.mark
        look = now


# --- whole builds ----------------------------------------------------------------------------------------------------


def listed_keys(wire: Wire, generation: Generation) -> Iterator[bytes]:
    """Yield each key of a generation once; keys deleted by a refresh may be among them."""
    replies = wire.run([(b"SMEMBERS", generation.added(part)) for part in range(wire.parts)])
    added = {key for members in replies for key in members}
    yield from added
    for page in pages(wire, generation):
        yield from (key for key in page if key not in added) if added else page


def pages(wire: Wire, generation: Generation) -> Iterator[list[bytes]]:
    """Yield the lists of keys that the load wrote."""
    first = 0
    while True:
        found = wire.run([(b"GET", generation.page(first + number)) for number in range(_PAGES)])
        for page in found:
            if page is None:
                return
            yield decode_page(page)
        first += _PAGES


def scan(wire: Wire, looks: Looks, build: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield every (key, row) of a build; each chunk of keys is one look.

    Raises
    ------
    BuildMissing, Superseded
        The build was dropped, or replaced by another load, in the middle.
    """
    look = look_now(wire, looks, build)
    for _ in range(TRIES):
        if look.generation is None or look.mark is None:
            return
        given = 0
        waiting: list[tuple[bytes, bytes]] = []
        keys = listed_keys(wire, look.generation)
        now = held = look
        while now.generation == look.generation and (chunk := list(islice(keys, 2 * CHUNK_ROWS))):
            asked = [look.name, *look.generation.rows(chunk)]
            packed, *rows = wire.get_many(asked, monotonic() + PATIENCE_S)
            now = looks.keep(build, packed)
            if now.generation == look.generation:
                held = now  # a refresh since the first look counts other rows
                yield from waiting
                given += len(waiting)
                waiting = [(key, row) for key, row in zip(chunk, rows, strict=True) if row is not None]
        short = held.mark is None or given + len(waiting) < held.mark.rows
        if short:  # or the lists of keys were deleted under us
            now = look_now(wire, looks, build)
        if not short or now.generation == look.generation:
            yield from waiting
            return
        if given:  # what was told cannot be taken back; a build of one chunk is read anew
            break
        look = now
    raise _lost(build, looks.last(build))


def look_now(wire: Wire, looks: Looks, build: str) -> Look:
    """Read a build's mark."""
    return looks.keep(build, wire.run([(b"GET", looks.last(build).name)])[0])


def _lost(build: str, now: Look) -> BuildMissing | Superseded:
    if now.mark is None:
        return BuildMissing(build=build)
    return Superseded(what=f"a scan of online build {build!r}", held="another load of it", offered="the one before")


def builds(wire: Wire, names: Names, until: float) -> list[str]:
    """Return the ids of the builds that have a mark, sorted."""
    [members] = wire.run([(b"SMEMBERS", names.builds)], until)
    ids = [member.decode("utf-8", "surrogatepass") for member in members]
    there = wire.run([(b"EXISTS", names.mark(label_of(build))) for build in ids], until) if ids else []
    return sorted(build for build, found in zip(ids, there, strict=True) if found)
