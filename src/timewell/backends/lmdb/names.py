"""What is written under which name inside an environment.

Rule: a key of 1 to 400 bytes is its own name; every other name has more than 400 bytes (LMDB's limit is 511).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice, starmap
from operator import itemgetter
from typing import Final

import msgspec

from timewell.stores.online import BuildMark

LONGEST_PLAIN: Final = 400
CHUNK_ROWS: Final = 4_096
MARK: Final = bytes(LONGEST_PLAIN + 1)
TOMBSTONE: Final = b""  # in place of the mark: this generation is not the live one any more
_PADDING: Final = bytes(LONGEST_PLAIN)
_DIGEST_BYTES: Final = 32
_HEAD_BYTES: Final = 4

Pair = tuple[bytes, bytes]
by_name = itemgetter(0)

encode_mark = msgspec.msgpack.Encoder().encode
decode_mark = msgspec.msgpack.Decoder(BuildMark).decode


def name_of(key: bytes) -> bytes:
    """Return the name that a key is stored under: itself, or its digest if it is too long (or empty) for LMDB."""
    if 0 < len(key) <= LONGEST_PLAIN:
        return key
    return blake2b(key, digest_size=_DIGEST_BYTES).digest() + _PADDING


def to_stored(key: bytes, row: bytes) -> Pair:
    """Return name and content; a digest's content begins with the whole key, to be compared when read."""
    if 0 < len(key) <= LONGEST_PLAIN:
        return key, row
    return name_of(key), len(key).to_bytes(_HEAD_BYTES) + key + row


def all_to_stored(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Do as :func:`to_stored` for many; where no key is long, which is nearly always, without a call for each."""
    rest = iter(pairs)
    chunks = iter(lambda: list(islice(rest, CHUNK_ROWS)), [])
    return chain.from_iterable(map(_chunk_to_stored, chunks))


def _chunk_to_stored(chunk: list[Pair]) -> Iterable[Pair]:
    lengths = set(map(len, map(by_name, chunk)))
    return chunk if min(lengths) > 0 and max(lengths) <= LONGEST_PLAIN else starmap(to_stored, chunk)


def from_stored(name: bytes, content: bytes) -> Pair:
    """Return key and row."""
    if len(name) <= LONGEST_PLAIN:
        return name, content
    start = _HEAD_BYTES + int.from_bytes(content[:_HEAD_BYTES])
    return content[_HEAD_BYTES:start], content[start:]


def row_of(key: bytes, content: bytes | None) -> bytes | None:
    """Return the row if the content stored under a key's name is this very key's."""
    if content is None or 0 < len(key) <= LONGEST_PLAIN:
        return content
    found, row = from_stored(MARK, content)
    return row if found == key else None


def without_mark(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Leave the mark out."""
    return (pair for pair in pairs if pair[0] != MARK)


def all_from_stored(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Do as :func:`from_stored` for everything in an environment, the mark left out."""
    for pair in pairs:
        if len(pair[0]) <= LONGEST_PLAIN:
            yield pair
        elif pair[0] != MARK:
            yield from_stored(*pair)
