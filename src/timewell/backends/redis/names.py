"""What is written under which name in Redis, and how a mark is packed.

Rule: a row's Cluster hash tag is made from the entity's key alone, so all groups' rows of an entity lie together; and
no key, prefix or build's id can make one name look like another: braces and colons in names are ours alone.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from timewell.stores.online import BuildMark

PARTS: Final = 256
ORDER_BYTES: Final = 16
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./@-]{1,120}")
_LABEL_BYTES: Final = 12
_TAGS: Final = [b"{%02x}" % number for number in range(PARTS)]
_BIAS: Final = 1 << 63  # two's complement to an order of unsigned bytes
_order = Struct(">QQ").pack
_head = Struct(">QQ8s")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(BuildMark).decode

encode_page = _encode
decode_page = msgspec.msgpack.Decoder(list[bytes]).decode


def part_of(key: bytes) -> int:
    """Return the part of every build that a key's row lies in: the last byte of its CRC-16."""
    return crc_hqx(key, 0) & 0xFF


def label_of(text: str) -> str:
    """Return a name for a build or prefix without separators of ours: itself, or its digest."""
    if _PLAIN.fullmatch(text):
        return text
    return "~" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_LABEL_BYTES).hexdigest()


class Generation(NamedTuple):
    """The names of one writing of a build: its rows, and what lists them.

    A build that is loaded again gets a new generation, and its mark names the one to read.

    Attributes
    ----------
    label
        The build's label.
    number
        Eight characters that no other generation of the build has.
    head
        What every name begins with; the next byte tells the kind.
    """

    label: str
    number: bytes
    head: bytes

    @property
    def member(self) -> bytes:
        """How the set of loose generations calls it."""
        return self.label.encode() + b":" + self.number

    def rows(self, keys: Sequence[bytes]) -> list[bytes]:
        """Return the names of rows."""
        head, tags = self.head, _TAGS
        return [head + tags[crc_hqx(key, 0) & 0xFF] + key for key in keys]

    @property
    def key_offset(self) -> int:
        """Where the key begins in a row's name."""
        return len(self.head) + len(_TAGS[0])

    def page(self, number: int) -> bytes:
        """Return the name of a list of keys written by the load."""
        return self.head + b"page:%d" % number

    def added(self, part: int) -> bytes:
        """Return the name of the set of keys that refreshes added."""
        return self.head + b"+" + _TAGS[part]

    def part(self, part: int) -> bytes:
        """Return the name of a part's fence and count."""
        return self.head + b"=" + _TAGS[part]


class Names:
    """The names of one prefix.

    Parameters
    ----------
    prefix
        What keeps several projects apart in one Redis.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = label_of(prefix).encode()
        self.prefix = prefix
        self.owner = self._prefix + b":owner"
        self.builds = self._prefix + b":builds"
        self.loose = self._prefix + b":loose"

    def mark(self, label: str) -> bytes:
        """Return the name of a build's mark."""
        return b"%b:{%b}:mark" % (self._prefix, label.encode())

    def control(self, label: str) -> bytes:
        """Return the name of the hash that orders a build's writers."""
        return b"%b:{%b}:control" % (self._prefix, label.encode())

    def alive(self, generation: Generation) -> bytes:
        """Return the name of the sign of life of the process that loads a generation."""
        return b"%b:{%b}:alive:%b" % (self._prefix, generation.label.encode(), generation.number)

    def generation(self, label: str, number: bytes) -> Generation:
        """Return the names of a generation of a build."""
        return Generation(label, number, b"%b:%b:%b:" % (self._prefix, label.encode(), number))

    def of_member(self, member: bytes) -> Generation:
        """Return the generation that a member of the loose ones names."""
        label, _, number = member.rpartition(b":")
        return self.generation(label.decode(), number)


# --- marks -----------------------------------------------------------------------------------------------------------


def order_of(mark: BuildMark) -> bytes:
    """Return ``(as_of_us, lease_epoch)`` as bytes that sort as they do."""
    return _order(mark.as_of_us + _BIAS, mark.lease_epoch + _BIAS)


def order_from(packed: bytes) -> tuple[int, int]:
    """Return ``(as_of_us, lease_epoch)``."""
    return int.from_bytes(packed[:8]) - _BIAS, int.from_bytes(packed[8:16]) - _BIAS


def number(value: int) -> bytes:
    """Pack a count or sequence number as the scripts do."""
    return value.to_bytes(8)


def body_of(mark: BuildMark) -> bytes:
    """Pack what the store does not count itself."""
    return _encode(mark)


def read_mark(packed: bytes) -> tuple[BuildMark, bytes]:
    """Return a stored mark and the number of the generation to read."""
    seq, rows, generation = _head.unpack_from(packed)
    mark = _decode(packed[_head.size :])
    return msgspec.structs.replace(mark, refresh_seq=seq, rows=rows), generation
