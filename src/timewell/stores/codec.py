"""Keys and rows as bytes: what every online store holds, whatever its make.

Keys are length-prefixed binary, so no two different keys meet; a row is a positional MessagePack array of the
features' values followed by the event times of its ``latest`` values.

Key: for each part one type tag (1 bool, 2 int64, 3 date, 4 string) and then one byte (bool), eight bytes (int64) or
four (date: days since 1970), big-endian with the sign bit flipped so that bytes sort as values do, or for a string
two bytes of length and its UTF-8. Every part says where it ends, so the parts of a key cannot run into each other.
A string sorts by its length first: nothing needs its order, and an escaped form would cost a scan of each byte.

Row: bool, integers, floats and strings are MessagePack's own and need no work per value. Dates travel as days and
timestamps as microseconds since 1970, decimals as text with all their digits; those columns alone are converted
after decoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from operator import index
from typing import Annotated, Final

import msgspec

from timewell.define.dtypes import decimal_parts, element_of
from timewell.errors import InvalidKey, StateCorrupt

KeyEncoder = Callable[[Sequence[object]], bytes | None]

LONGEST_PART_BYTES: Final = 1024
BOOL_TAG, INT_TAG, DATE_TAG, STRING_TAG = 1, 2, 3, 4
SIGN_64: Final = 1 << 63
SIGN_32: Final = 1 << 31

_pack_int = struct.Struct(">BQ").pack
_pack_date = struct.Struct(">BI").pack
_pack_string = struct.Struct(">BH").pack
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)

# --- keys ------------------------------------------------------------------------------------------------------------


def _bool_part(value: object) -> bytes:
    if value is True:
        return b"\x01\x01"
    if value is False:
        return b"\x01\x00"
    if type(value).__name__ in {"bool", "bool_"}:  # numpy's
        return b"\x01\x01" if value else b"\x01\x00"
    raise TypeError


def _int_part(value: object) -> bytes:
    if type(value) is not int:
        if isinstance(value, bool):
            raise TypeError
        value = index(value)  # type: ignore[arg-type]  # numpy's integers; a TypeError for anything else
    return _pack_int(INT_TAG, value + SIGN_64)


def _date_part(value: object) -> bytes:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError
    return _pack_date(DATE_TAG, value.toordinal() - _EPOCH_DAY + SIGN_32)


def _string_part(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    text = value.encode()
    if len(text) > LONGEST_PART_BYTES:
        raise OverflowError
    return _pack_string(STRING_TAG, len(text)) + text


_PARTS: Final[dict[str, Callable[[object], bytes]]] = {
    "bool": _bool_part,
    "int64": _int_part,
    "date": _date_part,
    "string": _string_part,
}


def is_null(value: object) -> bool:
    """Whether a key's part is null: ``None`` or a NaN, which is how frames write a missing value."""
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124  # NaN


def key_encoder(types: Sequence[str], names: Sequence[str] = ()) -> KeyEncoder:
    """Prepare the encoding of one entity's keys.

    Parameters
    ----------
    types
        ``bool``, ``int64``, ``date`` or ``string`` for each join key, in the entity's order.
    names
        The join keys' names, for errors.

    Returns
    -------
    callable
        Takes the values in the same order; returns the key, or ``None`` if any part is null (an entity never seen).
        It raises ``InvalidKey`` naming the join key whose value has the wrong type, does not fit 64 bits or is longer
        than 1,024 bytes.

    Examples
    --------
    >>> encode = key_encoder(["int64", "string"], ["user_id", "country"])
    >>> encode([7, "NO"]).hex()
    '0280000000000000070400024e4f'
    >>> encode([7, None]) is None
    True
    """
    kinds = tuple(types)
    labels = tuple(names) or tuple(f"key {place}" for place in range(1, len(kinds) + 1))
    parts = tuple(_PARTS[kind] for kind in kinds)

    def explain(values: Sequence[object]) -> bytes | None:
        """Find the null or the culprit; only called when the straight way failed."""
        if len(values) != len(kinds):
            raise InvalidKey(key=", ".join(labels), found=f"{len(values)} value(s)", wanted=f"{len(kinds)}")
        encoded, null = [], False
        for label, kind, part, value in zip(labels, kinds, parts, values, strict=True):
            if is_null(value):
                null = True
            else:
                encoded.append(_explained(label, kind, part, value))
        return None if null else b"".join(encoded)

    if kinds == ("int64",):

        def encode_int(values: Sequence[object]) -> bytes | None:
            try:
                (value,) = values
                if type(value) is int:
                    return _pack_int(INT_TAG, value + SIGN_64)
            except (ValueError, struct.error):
                pass
            return explain(values)

        return encode_int

    def encode(values: Sequence[object]) -> bytes | None:
        try:
            return b"".join([part(value) for part, value in zip(parts, values, strict=True)])
        except (TypeError, ValueError, OverflowError, struct.error):
            return explain(values)

    return encode


def _explained(label: str, kind: str, part: Callable[[object], bytes], value: object) -> bytes:
    found: str
    hint: str | None = None
    try:
        return part(value)
    except TypeError:
        found = f"of type {type(value).__name__}"
    except UnicodeEncodeError:
        found = "text that is not valid Unicode (a lone surrogate)"
    except (OverflowError, struct.error):
        if kind == "string":
            found = f"longer than {LONGEST_PART_BYTES} bytes"
            hint = "Use a shorter key, such as a digest of the long one, in the source and in requests."
        else:
            found = "outside 64 bits"
    raise InvalidKey(key=label, found=found, wanted=kind, hint=hint) from None


def encode_key(values: Sequence[object], types: Sequence[str], names: Sequence[str] = ()) -> bytes | None:
    """Encode one key; :func:`key_encoder` is the same prepared for many."""
    return key_encoder(types, names)(values)


def decode_key(key: bytes, types: Sequence[str]) -> tuple[object, ...]:
    """Return the values of an encoded key.

    Raises
    ------
    StateCorrupt
        The bytes are not a key of these types.

    Examples
    --------
    >>> decode_key(encode_key([7, "NO"], ["int64", "string"]), ["int64", "string"])
    (7, 'NO')
    """
    values: list[object] = []
    place = 0
    try:
        for kind in types:
            value, place = _READERS[kind](key, place)
            values.append(value)
    except (struct.error, ValueError, OverflowError, IndexError):
        place = -1
    if place != len(key):
        raise StateCorrupt(file="a key in the online store", problem=f"it is not made of {', '.join(types)}")
    return tuple(values)


def _tagged(key: bytes, place: int, tag: int) -> int:
    if key[place] != tag:
        raise ValueError(tag)
    return place + 1


def _read_bool(key: bytes, place: int) -> tuple[object, int]:
    place = _tagged(key, place, BOOL_TAG)
    if key[place] > 1:
        raise ValueError(place)
    return key[place] == 1, place + 1


def _read_int(key: bytes, place: int) -> tuple[object, int]:
    place = _tagged(key, place, INT_TAG)
    return struct.unpack_from(">Q", key, place)[0] - SIGN_64, place + 8


def _read_date(key: bytes, place: int) -> tuple[object, int]:
    place = _tagged(key, place, DATE_TAG)
    return date.fromordinal(struct.unpack_from(">I", key, place)[0] - SIGN_32 + _EPOCH_DAY), place + 4


def _read_string(key: bytes, place: int) -> tuple[object, int]:
    place = _tagged(key, place, STRING_TAG)
    end = place + 2 + struct.unpack_from(">H", key, place)[0]
    return key[place + 2 : end].decode(), end


_READERS: Final[dict[str, Callable[[bytes, int], tuple[object, int]]]] = {
    "bool": _read_bool,
    "int64": _read_int,
    "date": _read_date,
    "string": _read_string,
}

# --- rows ------------------------------------------------------------------------------------------------------------


def _to_timestamp(wire: object) -> object:
    return _EPOCH + wire * _MICROSECOND  # type: ignore[operator]


def _to_date(wire: object) -> object:
    return date.fromordinal(wire + _EPOCH_DAY)  # type: ignore[operator]


def _from_timestamp(value: object) -> object:
    return (value - _EPOCH) // _MICROSECOND  # type: ignore[operator]


def _from_date(value: object) -> object:
    return value.toordinal() - _EPOCH_DAY  # type: ignore[attr-defined]


def _converters(dtype: str) -> tuple[Callable[[object], object], Callable[[object], object]] | None:
    """Return (to wire, from wire) for a type that MessagePack does not carry itself."""
    if element := element_of(dtype):
        inner = _converters(element)
        return (_each(inner[0]), _each(inner[1])) if inner else None
    if dtype == "timestamp":
        return _from_timestamp, _to_timestamp
    if dtype == "date":
        return _from_date, _to_date
    return (str, Decimal) if decimal_parts(dtype) else None  # type: ignore[return-value]


def _each(convert: Callable[[object], object]) -> Callable[[object], object]:
    def convert_all(values: object) -> object:
        return [None if value is None else convert(value) for value in values]  # type: ignore[attr-defined]

    return convert_all


_unpack_list: Final = msgspec.msgpack.Decoder(list).decode


class RowCodec:
    """Packs and unpacks the rows of one build.

    Parameters
    ----------
    names
        Feature names, in the row's order.
    types
        Their types (see :mod:`timewell.define.dtypes`).
    latest
        Positions of the ``latest`` features, ascending; the row carries the event time of each after all the values.

    Examples
    --------
    >>> codec = RowCodec(names=["amount", "day"], types=["float64", "date"], latest=[1])
    >>> codec.decode(codec.encode([12.5, date(2026, 3, 1)], [1_772_323_200_000_000]))
    [12.5, datetime.date(2026, 3, 1), 1772323200000000]
    """

    def __init__(self, *, names: Sequence[str], types: Sequence[str], latest: Sequence[int] = ()) -> None:
        self.names = tuple(names)
        self.types = tuple(types)
        self.latest = tuple(latest)
        self.width = len(self.types) + len(self.latest)
        found = [(place, _converters(dtype)) for place, dtype in enumerate(self.types)]
        self._to_wire = tuple((place, pair[0]) for place, pair in found if pair)
        self._from_wire = tuple((place, pair[1]) for place, pair in found if pair)
        self._pack = msgspec.msgpack.Encoder().encode
        exactly = msgspec.Meta(min_length=self.width, max_length=self.width)  # a row of another width is refused
        self._unpack: Callable[[bytes], list[object]] = msgspec.msgpack.Decoder(Annotated[list[object], exactly]).decode

    @property
    def schema_hash(self) -> str:
        """Digest of names, types and positions of event times; equal layouts have equal digests."""
        layout = msgspec.json.encode([1, self.names, self.types, self.latest])
        return blake2b(layout, digest_size=16).hexdigest()

    def encode(self, values: Sequence[object], times_us: Sequence[int | None] = ()) -> bytes:
        """Pack one row: the values in order, then one event time in microseconds for each ``latest`` position."""
        row: list[object] = [*values, *times_us]
        if len(row) != self.width or len(values) != len(self.types):
            problem = f"a row of {len(self.types)} values and {len(self.latest)} times was given {len(values)}"
            raise ValueError(f"{problem} and {len(times_us)}")
        for place, convert in self._to_wire:
            if row[place] is not None:
                row[place] = convert(row[place])
        return self._pack(row)

    @property
    def encode_wire(self) -> Callable[[Sequence[object]], bytes]:
        """Packs one row whose dates, timestamps and decimals are in wire form already; msgspec's own, for bulk writers."""
        return self._pack

    @property
    def unpack(self) -> Callable[[bytes], list[object]]:
        """What :meth:`decode` does, by msgspec alone where types allow, without words for what is wrong."""
        return self.decode if self._from_wire else self._unpack

    def decode(self, packed: bytes) -> list[object]:
        """Unpack one row: ``len(types)`` values, then one event time per ``latest`` position.

        Raises
        ------
        StateCorrupt
            The bytes are not a row of this layout.
        """
        try:
            row = self._unpack(packed)
            for place, convert in self._from_wire:
                if row[place] is not None:
                    row[place] = convert(row[place])
            return row
        except msgspec.ValidationError:
            problem = f"it does not have {self.width} places"
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError, ArithmeticError) as error:
            problem = f"it cannot be decoded ({type(error).__name__})"
        raise StateCorrupt(file="a row in the online store", problem=problem)

    def decode_many(self, packed: Sequence[bytes | None]) -> list[list[object] | None]:
        """Unpack the rows of one read, ``None`` where there is none; twice as fast as one by one for plain types.

        Raises
        ------
        StateCorrupt
            Some bytes are not a row of this layout.
        """
        if not self._from_wire:
            try:
                if None not in packed:
                    rows = list(map(_unpack_list, packed))  # type: ignore[arg-type]
                    if set(map(len, rows)) <= {self.width}:  # all at once: the decoder's own check costs a third more
                        return rows  # type: ignore[return-value]
                else:
                    return [None if row is None else self._unpack(row) for row in packed]
            except (msgspec.DecodeError, ValueError):
                pass  # the way below finds the words for it
        return [None if row is None else self.decode(row) for row in packed]
