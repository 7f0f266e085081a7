"""Write a new build, and take builds away.

Rule: a generation that no mark names is listed as loose from before its first row until after its last one is gone, so
whatever a killed process left is found; and one is only swept where nobody shows a sign of life and no mark names it,
after which its loader cannot publish it any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from timewell import chance
from timewell.backends.redis import scripts
from timewell.backends.redis.links import Command
from timewell.backends.redis.names import (
    Generation,
    Names,
    body_of,
    encode_page,
    label_of,
    number,
    order_from,
    order_of,
    part_of,
    read_mark,
)
from timewell.backends.redis.reading import CHUNK_ROWS, pages
from timewell.backends.redis.wire import Wire
from timewell.errors import BuildMissing, ConfigError, StoreUnavailable, Superseded, Unsupported
from timewell.stores.online import BuildMark, WriteReport
from timewell.types import format_instant

ALIVE_S: Final = 3_600  # a loader says so with each chunk of rows
_MOST_BYTES: Final = 4 << 20  # of rows in one command
_NO_TOKEN: Final = b"-" * 16

Pair = tuple[bytes, bytes]


def load(wire: Wire, names: Names, build: str, rows: Iterable[Pair], mark: BuildMark) -> WriteReport:
    """Write the rows of a new generation, which nobody reads yet; then let the build's mark name it.

    Raises
    ------
    Superseded
        The build exists already with a newer mark.
    BuildMissing
        The build was dropped, or the store emptied, while it was written.
    Unsupported
        The server may evict any key when its memory is full.
    """
    _refuse_evicting(wire)
    sweep(wire, names)
    label = label_of(build)
    new = names.generation(label, chance.new_id()[:8].encode())
    wire.run([_sign_of_life(names, new)])  # before it is listed: in a cluster the two are on different nodes
    held = wire.run(
        [
            (b"SADD", names.loose, new.member),
            (b"HSET", names.control(label), b"load:" + new.number, b"1"),
            (b"SADD", names.builds, build.encode("utf-8", "surrogatepass")),
            (b"GET", names.mark(label)),
        ]
    )[-1]
    try:
        counts = _write_rows(wire, names, new, rows)
        fences = _fences(new, mark, counts)
        if held:  # loose from now on: where this process is killed after the swap, the next load sweeps it
            fences.append((b"SADD", names.loose, names.generation(label, read_mark(held)[1]).member))
        wire.run(fences)
        marked, before = _swap(wire, names, build, new, mark, sum(counts))
    except BaseException:
        with suppress(StoreUnavailable):
            wire.run([(b"DEL", names.alive(new))])
            _sweep_one(wire, names, new)  # unless the answer to a swap that was done is all that failed
        raise
    wire.run([(b"SREM", names.loose, new.member), (b"DEL", names.alive(new))])
    if before:
        remove(wire, names, names.generation(label, read_mark(before)[1]))
    return WriteReport(written=marked.rows, deleted=0, rows=marked.rows, mark=marked)


def _fences(new: Generation, mark: BuildMark, counts: Sequence[int]) -> list[Command]:
    order = order_of(mark)
    return [(b"SET", new.part(part), order + _NO_TOKEN + number(rows)) for part, rows in enumerate(counts)]


def _swap(wire: Wire, names: Names, build: str, new: Generation, mark: BuildMark, rows: int) -> tuple[BuildMark, bytes]:
    """Let the build's mark name the new generation; returns it and the one before (empty if there was none)."""
    keys = (names.mark(new.label), names.control(new.label))
    offered = (order_of(mark), new.number, number(mark.refresh_seq), number(rows), body_of(mark))
    outcome, *more = wire.run([(b"EVAL", scripts.SWAP, 2, *keys, *offered)])[0]
    if outcome == b"older":
        raise superseded(build, more[0], mark)
    if outcome == b"missing":
        raise BuildMissing(build=build)
    return read_mark(more[0])[0], more[1]


def superseded(build: str, held: bytes, offered: BuildMark) -> Superseded:
    """Return the error of a write that is older than what is there."""
    as_of_us, lease_epoch = order_from(held)
    return Superseded(
        what=f"a write to online build {build!r}",
        held=f"as_of {format_instant(as_of_us)} under lease epoch {lease_epoch}",
        offered=f"as_of {format_instant(offered.as_of_us)} under lease epoch {offered.lease_epoch}",
    )


def claim(wire: Wire, names: Names, owner: str) -> None:
    """Make the prefix a project's own; raises ``ConfigError`` if it is another's, whose builds would look like garbage."""
    mine = owner.encode()
    held = wire.run([(b"SET", names.owner, mine, b"NX"), (b"GET", names.owner)])[1]
    if held == mine:
        return
    problem = f"online.prefix: what begins with {names.prefix!r} in {wire.name} belongs to another project"
    hint = "Set another prefix under [online] in timewell.toml. If that project is gone for good, take its place: "
    hint += f"redis-cli DEL {names.owner.decode()}"
    raise ConfigError(file="timewell.toml", problem=problem, hint=hint)


# --- rows ------------------------------------------------------------------------------------------------------------


def _write_rows(wire: Wire, names: Names, new: Generation, rows: Iterable[Pair]) -> list[int]:
    """Write rows in chunks; returns how many each part holds."""
    counts = [0] * wire.parts
    asked: list[list[tuple[int, list[bytes]]]] = []  # for each batch, the parts and keys that EXISTS counts

    def batches() -> Iterator[list[Command]]:
        rest, greatest = iter(rows), b""
        while chunk := dict(islice(rest, CHUNK_ROWS)):
            ascends = not asked or min(chunk) > greatest
            greatest = max(greatest, *chunk)
            page = new.page(len(asked))
            asked.append([])
            commands: list[Command] = [_sign_of_life(names, new), (b"SET", page, encode_page(list(chunk)))]
            for part, pairs in _by_part(wire, chunk):
                keys = list(pairs)
                counts[part] += len(keys)
                found = new.rows(keys)
                if not ascends:  # a key may be there already: the last one counts, and counts once
                    commands.append((b"EXISTS", *found))
                    asked[-1].append((part, keys))
                commands += _settings(found, list(pairs.values()))
            yield commands

    for batch, replies in enumerate(wire.stream(batches())):
        there = [reply for reply in replies if isinstance(reply, int)]
        for (part, keys), count in zip(asked[batch], there, strict=True):
            if count:  # some are on two pages: what is among the added ones is listed from there, once
                counts[part] -= count
                wire.run([(b"SADD", new.added(part), *keys)])
        asked[batch] = []
    return counts


def _by_part(wire: Wire, chunk: dict[bytes, bytes]) -> Iterable[tuple[int, dict[bytes, bytes]]]:
    if wire.parts == 1:
        return [(0, chunk)]
    parts: dict[int, dict[bytes, bytes]] = {}
    for key, row in chunk.items():
        parts.setdefault(part_of(key), {})[key] = row
    return parts.items()


def _settings(found: list[bytes], rows: list[bytes]) -> list[Command]:
    """Return the commands that set so many rows: one, if they are not too large for it."""
    if len(rows) > 1 and sum(map(len, rows)) > _MOST_BYTES:
        half = len(rows) // 2
        return _settings(found[:half], rows[:half]) + _settings(found[half:], rows[half:])
    words = [b"MSET"] * (1 + 2 * len(rows))
    words[1::2], words[2::2] = found, rows
    return [tuple(words)]


def _sign_of_life(names: Names, generation: Generation) -> Command:
    return (b"SET", names.alive(generation), b"1", b"EX", ALIVE_S)


# --- taking away -----------------------------------------------------------------------------------------------------


def drop(wire: Wire, names: Names, build: str) -> None:
    """Take a build's mark away, then its rows."""
    label = label_of(build)
    keys = (names.mark(label), names.control(label))
    while True:
        held = wire.run([(b"GET", keys[0])])[0]
        old = names.generation(label, read_mark(held)[1] if held else b"")
        if held:
            wire.run([(b"SADD", names.loose, old.member)])
        if wire.run([(b"EVAL", scripts.DROP, 2, *keys, old.number)])[0]:
            break
    wire.run([(b"SREM", names.builds, build.encode("utf-8", "surrogatepass"))])
    if held:
        remove(wire, names, old)


def sweep(wire: Wire, names: Names) -> None:
    """Remove the generations that killed processes left."""
    for member in wire.run([(b"SMEMBERS", names.loose)])[0]:
        _sweep_one(wire, names, names.of_member(member))


def _sweep_one(wire: Wire, names: Names, loose: Generation) -> None:
    """Remove a generation, unless its loader is alive or a mark names it; its loader cannot publish it after that."""
    keys = (names.mark(loose.label), names.control(loose.label), names.alive(loose))
    if wire.run([(b"EVAL", scripts.CLAIM, 3, *keys, loose.number)])[0]:
        remove(wire, names, loose)


def remove(wire: Wire, names: Names, loose: Generation) -> None:
    """Delete a generation that no mark names: what lists its rows goes last, so that this may be cut short.

    The fences go first: to a reader in a cluster they vouch for the rows beside them.
    """
    wire.run([(b"HDEL", names.control(loose.label), b"load:" + loose.number)])
    _unlink(wire, [loose.part(part) for part in range(wire.parts)])
    count = 0
    for page in pages(wire, loose):
        _unlink(wire, loose.rows(page))
        count += 1
    for part in range(wire.parts):
        added = wire.run([(b"SMEMBERS", loose.added(part))])[0]
        for start in range(0, len(added), CHUNK_ROWS):
            _unlink(wire, loose.rows(added[start : start + CHUNK_ROWS]))
    _unlink(wire, [loose.added(part) for part in range(wire.parts)])
    _unlink(wire, [loose.page(page) for page in reversed(range(count))])
    wire.run([(b"DEL", names.alive(loose)), (b"SREM", names.loose, loose.member)])


def _unlink(wire: Wire, found: Sequence[bytes]) -> None:
    if not found:
        return
    wire.run([(b"UNLINK", *found)] if wire.parts == 1 else [(b"UNLINK", name) for name in found])


def _refuse_evicting(wire: Wire) -> None:
    """Refuse a server on which a row may be gone while the mark stays: it would read as an entity never seen."""
    for reply in wire.run_everywhere((b"INFO", b"memory")):
        told = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
        policy = told.get("maxmemory_policy", "noeviction")
        if not policy.startswith("allkeys") or not int(told.get("maxmemory", "0")):
            continue
        hint = "Set maxmemory-policy noeviction (or volatile-*: no key of ours expires while it is needed)."
        raise Unsupported(what=f"maxmemory-policy {policy}", backend="the Redis online store", hint=hint)
