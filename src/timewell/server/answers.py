"""Answers as bytes, row by row: what repeats between rows and between answers is written once and spliced in.

Rule: the bytes are those that encoding ``OnlineFeatures.to_dict()`` whole would give, but for floats that JSON does not
have: they are the strings ``NaN``, ``Infinity`` and ``-Infinity`` (the rule of Protocol Buffers' JSON form), so that no
value turns into another. ``slow_json`` is the plain way to the same bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import isfinite
from operator import add
from typing import ClassVar, Final, TypeVar

import msgspec

from timewell.serve.response import OnlineFeatures, Status, Statuses

_MOST_KEPT: Final = 4_096  # names and statuses that callers can permute must not fill the memory

_Key = TypeVar("_Key")
_Instants = tuple[int, bool, tuple[tuple[str, int], ...]]


class AnswerEncoder(ABC):
    """Writes answers in one form; it keeps what repeats, so each event loop has its own.

    A row's statuses are one of a few tuples, mostly one and the same object: their text is looked up, not made. That is
    most of an answer: a hundred rows of thirty features took 130 us in place of 280 us.

    Attributes
    ----------
    media
        The form's name.
    next_row
        What stands between the statuses of one row and the values of the next.
    """

    media: ClassVar[str]
    next_row: ClassVar[bytes]

    def __init__(self) -> None:
        self._heads: dict[tuple[str, ...], bytes] = {}
        self._statuses: dict[tuple[Status, ...], bytes] = {}
        self._ends: dict[_Instants, bytes] = {}

    @abstractmethod
    def encode(self, answer: OnlineFeatures, floats: Sequence[int] | None = None) -> bytes:
        """Return the bytes of an answer; ``floats`` are the columns that may hold floats, all if omitted."""

    def head_of(self, answer: OnlineFeatures) -> bytes:
        """Return what stands before the rows."""
        found = self._heads.get(answer.features)
        if found is None:
            found = self._make_head(answer)
            _keep(self._heads, answer.features, found)
        return found

    def statuses_of(self, statuses: tuple[Status, ...]) -> bytes:
        """Return what stands behind the values of one row."""
        found = self._statuses.get(statuses)
        if found is None:
            found = self._make_statuses(statuses)
            _keep(self._statuses, statuses, found)
        return found

    def joined(self, parts: Sequence[bytes], statuses: Sequence[Statuses]) -> tuple[bytes, bytes]:
        """Return rows made of their encoded values and their statuses, but for how the first begins; in two pieces."""
        first = statuses[0]
        if statuses.count(first) == len(statuses):
            behind = self.statuses_of(tuple(first))
            return (behind + self.next_row).join(parts), behind
        ends = [self.statuses_of(tuple(mine)) for mine in statuses]
        return self.next_row.join(map(add, parts, ends)), b""

    def end_of(self, answer: OnlineFeatures) -> bytes:
        """Return what stands behind the rows."""
        instants = (answer.epoch, answer.degraded, tuple(answer.as_of_us.items()))
        found = self._ends.get(instants)
        if found is None:
            found = self._make_end(answer)
            _keep(self._ends, instants, found)
        return found

    @abstractmethod
    def _make_head(self, answer: OnlineFeatures) -> bytes: ...

    @abstractmethod
    def _make_statuses(self, statuses: tuple[Status, ...]) -> bytes: ...

    @abstractmethod
    def _make_end(self, answer: OnlineFeatures) -> bytes: ...


def _keep(kept: dict[_Key, bytes], key: _Key, made: bytes) -> None:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = made


_N: Final = ord("n")  # one byte is looked for much faster than four
_json = msgspec.json.Encoder(decimal_format="string")
_packed = msgspec.msgpack.Encoder(decimal_format="string")


class JsonEncoder(AnswerEncoder):
    """Writes JSON.

    Examples
    --------
    >>> answer = OnlineFeatures(
    ...     features=("a", "b"),
    ...     rows=[[float("nan"), 1.5]],
    ...     row_statuses=[("present", "present")],
    ...     epoch=1,
    ...     as_of_us={"g": 0},
    ... )
    >>> JsonEncoder().encode(answer).decode()
    '{"features":["a","b"],"rows":[{"values":["NaN",1.5],"statuses":["present","present"]}],"epoch":1,"as_of":{"g":"1970-01-01T00:00:00Z"},"degraded":false}'
    """

    media = "application/json"
    next_row = b',{"values":'

    def encode(self, answer: OnlineFeatures, floats: Sequence[int] | None = None) -> bytes:
        """Return the JSON of an answer.

        The encoder writes a float that JSON does not have as ``null``; so a row without a ``null`` needs no second look.
        """
        rows, statuses = answer.rows, answer.row_statuses
        if not rows:
            return self.head_of(answer) + self.end_of(answer)
        parts = list(map(_json.encode, rows))
        columns = range(len(answer.features)) if floats is None else floats
        if columns and _N in b"".join(parts):
            parts = [
                _json.encode([_spelled(value) for value in row]) if b"null" in part and _any_odd(row, columns) else part
                for part, row in zip(parts, rows, strict=True)
            ]
        return b"".join((self.head_of(answer), self.next_row[1:], *self.joined(parts, statuses), self.end_of(answer)))

    def _make_head(self, answer: OnlineFeatures) -> bytes:
        return b'{"features":%b,"rows":[' % _json.encode(answer.features)

    def _make_statuses(self, statuses: tuple[Status, ...]) -> bytes:
        return b',"statuses":%b}' % _json.encode(statuses)

    def _make_end(self, answer: OnlineFeatures) -> bytes:
        told = {"epoch": answer.epoch, "as_of": answer.as_of, "degraded": answer.degraded}
        return b"]," + _json.encode(told)[1:]


class MessagePackEncoder(AnswerEncoder):
    """Writes the same document as MessagePack, each value in a type of its own."""

    media = "application/msgpack"
    next_row = b"\x82\xa6values"

    def encode(self, answer: OnlineFeatures, floats: Sequence[int] | None = None) -> bytes:
        """Return the MessagePack of an answer; it has every float, so none needs a second look."""
        del floats
        rows = answer.rows
        head = self.head_of(answer) + _array_of(len(rows))
        if not rows:
            return head + self.end_of(answer)
        joined = self.joined(list(map(_packed.encode, rows)), answer.row_statuses)
        return b"".join((head, self.next_row, *joined, self.end_of(answer)))

    def _make_head(self, answer: OnlineFeatures) -> bytes:
        return b"\x85\xa8features" + _packed.encode(answer.features) + b"\xa4rows"

    def _make_statuses(self, statuses: tuple[Status, ...]) -> bytes:
        return b"\xa8statuses" + _packed.encode(statuses)

    def _make_end(self, answer: OnlineFeatures) -> bytes:
        told = {"epoch": answer.epoch, "as_of": answer.as_of, "degraded": answer.degraded}
        return _packed.encode(told)[1:]


def _array_of(length: int) -> bytes:
    """Return what MessagePack writes before the parts of an array."""
    if length < 16:
        return bytes([0x90 | length])
    return b"\xdc" + length.to_bytes(2, "big") if length < 1 << 16 else b"\xdd" + length.to_bytes(4, "big")


def _any_odd(values: Sequence[object], columns: Sequence[int]) -> bool:
    """Whether any of the columns holds a float that JSON does not have."""
    for column in columns:
        value = values[column]
        if (type(value) is float and not isfinite(value)) or type(value) is list:
            return True
    return False


def _spelled(value: object) -> object:
    """Return a float that JSON does not have as text, anything else as it is."""
    if type(value) is float and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124  # NaN
    return [_spelled(part) for part in value] if type(value) is list else value
