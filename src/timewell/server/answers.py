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

from timewell.serve.response import OnlineFeatures, Status

_MOST_KEPT: Final = 4_096  # names and statuses that callers can permute must not fill the memory
_VALUELESS: Final = frozenset({"null", "expired"})

_Key = TypeVar("_Key")
_Instants = tuple[int, bool, tuple[tuple[str, int], ...]]


class AnswerEncoder(ABC):
    """Writes answers in one form; it keeps what repeats, so each event loop has its own.

    A row's statuses are one of a few tuples, mostly one and the same object: their text is looked up, not made. That is
    most of an answer: a hundred rows of thirty features took 130 us in place of 280 us.
    """

    media: ClassVar[str]

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
_ROW_START, _NEXT_ROW, _ROW_END = b'{"values":[', b',{"values":[', b"],["
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

    def encode(self, answer: OnlineFeatures, floats: Sequence[int] | None = None) -> bytes:
        """Return the JSON of an answer.

        All values are encoded at once, then cut where a row ends, and what stands between rows is put in there: a
        third of the time that row after row takes. The encoder writes a float that JSON does not have as ``null``; so
        a row without a ``null`` needs no second look.
        """
        rows, statuses = answer.rows, answer.row_statuses
        if not rows:
            return self.head_of(answer) + self.end_of(answer)
        whole = _json.encode(rows)
        parts = whole[2:-2].split(_ROW_END)
        if len(parts) != len(rows):  # it stands in a value as well
            parts = [_json.encode(row)[1:-1] for row in rows]
        columns = range(len(answer.features)) if floats is None else floats
        if columns and _N in whole and b"null" in whole:
            parts = [
                _json.encode([_spelled(value) for value in row])[1:-1]
                if b"null" in part and _any_odd(row, mine, columns)
                else part
                for part, row, mine in zip(parts, rows, statuses, strict=True)
            ]
        first = statuses[0]
        if statuses.count(first) == len(statuses):
            behind = self.statuses_of(tuple(first))
            text = (behind + _NEXT_ROW).join(parts)
        else:
            ends = [self.statuses_of(tuple(mine)) for mine in statuses]
            text, behind = _NEXT_ROW.join(map(add, parts, ends)), b""
        return b"".join((self.head_of(answer), _ROW_START, text, behind, self.end_of(answer)))

    def _make_head(self, answer: OnlineFeatures) -> bytes:
        return b'{"features":%b,"rows":[' % _json.encode(answer.features)

    def _make_statuses(self, statuses: tuple[Status, ...]) -> bytes:
        return b'],"statuses":%b}' % _json.encode(statuses)

    def _make_end(self, answer: OnlineFeatures) -> bytes:
        told = {"epoch": answer.epoch, "as_of": answer.as_of, "degraded": answer.degraded}
        return b"]," + _json.encode(told)[1:]


class MessagePackEncoder(AnswerEncoder):
    """Writes the same document as MessagePack, each value in a type of its own."""

    media = "application/msgpack"

    def encode(self, answer: OnlineFeatures, floats: Sequence[int] | None = None) -> bytes:
        """Return the MessagePack of an answer; it has every float, so none needs a second look."""
        del floats
        buffer = bytearray(self.head_of(answer))
        buffer += _array_of(len(answer.rows))
        append, last, behind = _packed.encode_into, None, b""
        for values, statuses in zip(answer.rows, answer.row_statuses, strict=True):
            if statuses is not last:
                last, behind = statuses, self.statuses_of(tuple(statuses))
            buffer += b"\x82\xa6values"
            append(values, buffer, -1)
            buffer += behind
        buffer += self.end_of(answer)
        return bytes(buffer)

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


def _any_odd(values: Sequence[object], statuses: Sequence[Status], columns: Sequence[int]) -> bool:
    """Whether any of the columns holds a float that JSON does not have."""
    for column in columns:
        if statuses[column] not in _VALUELESS:
            value = values[column]
            if (type(value) is float and not isfinite(value)) or type(value) is list:
                return True
    return False


def _spelled(value: object) -> object:
    """Return a float that JSON does not have as text, anything else as it is."""
    if type(value) is float and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124  # NaN
    return [_spelled(part) for part in value] if type(value) is list else value
