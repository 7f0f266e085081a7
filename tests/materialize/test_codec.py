"""Keys and rows as bytes: nothing collides, nothing is lost, bulk and single forms agree."""

from __future__ import annotations

import contextlib
import math
import struct
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from timewell.errors import InvalidKey, StateCorrupt, WrongColumnType
from timewell.stores.arrow import to_arrow_type
from timewell.stores.bulk import encode_keys, encode_pairs, encode_rows
from timewell.stores.codec import RowCodec, decode_key, encode_key, key_encoder

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    ["", "\0", "a", "ab", "x" * 1024, "é" * 512, "\x04\x00\x01"]
)
KEY_VALUES = {"int64": INT64, "string": TEXT, "bool": st.booleans(), "date": st.dates()}
KINDS = st.lists(st.sampled_from(sorted(KEY_VALUES)), min_size=1, max_size=4)


def values_of(kinds):
    return st.tuples(*(KEY_VALUES[kind] for kind in kinds))


# --- keys ------------------------------------------------------------------------------------------------------------


@given(st.data(), KINDS)
def test_a_key_is_decoded_to_what_was_encoded(data, kinds) -> None:
    values = data.draw(values_of(kinds))
    assert decode_key(encode_key(values, kinds), kinds) == values


@given(st.data(), KINDS, KINDS)
def test_different_keys_never_share_bytes_whatever_their_types(data, kinds, other_kinds) -> None:
    values, others = data.draw(values_of(kinds)), data.draw(values_of(other_kinds))
    assume((kinds, values) != (other_kinds, others))
    first, second = encode_key(values, kinds), encode_key(others, other_kinds)
    assert first != second
    if kinds == other_kinds:
        assert not first.startswith(second), "no key may be the beginning of another one"


@given(st.data(), st.sampled_from(["int64", "bool", "date"]))
def test_bytes_sort_as_values_do(data, kind) -> None:
    values = data.draw(st.lists(KEY_VALUES[kind], max_size=20))
    assert [encode_key([value], [kind]) for value in sorted(values)] == sorted(encode_key([v], [kind]) for v in values)


@pytest.mark.parametrize("null", [None, math.nan, np.float64("nan")], ids=["None", "nan", "numpy nan"])
def test_a_key_with_any_null_part_is_no_key(null) -> None:
    assert encode_key([7, null], ["int64", "string"]) is None
    assert encode_key([null, "x"], ["int64", "string"]) is None
    assert encode_key([null], ["int64"]) is None


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("int64", True, "of type bool"),
        ("int64", "7", "of type str"),
        ("int64", 7.0, "of type float"),
        ("int64", 2**63, "outside 64 bits"),
        ("int64", -(2**63) - 1, "outside 64 bits"),
        ("int64", [7], "of type list"),
        ("string", 7, "of type int"),
        ("string", b"x", "of type bytes"),
        ("string", "\ud800", "text that is not valid Unicode (a lone surrogate)"),
        ("string", "x" * 1025, "longer than 1024 bytes"),
        ("string", "é" * 513, "longer than 1024 bytes"),
        ("bool", 1, "of type int"),
        ("date", "2026-03-01", "of type str"),
        ("date", datetime(2026, 3, 1, tzinfo=UTC), "of type datetime"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_the_keys_name(kind, value, found) -> None:
    for kinds, names, values in (
        ([kind], ["user_id"], [value]),
        (["int64", kind], ["first", "user_id"], [1, value]),
        (["int64", kind], ["first", "user_id"], [None, value]),
    ):
        with pytest.raises(InvalidKey) as told:
            key_encoder(kinds, names)(values)
        assert told.value.facts == {"key": "user_id", "found": found, "wanted": kind}


def test_a_wrong_number_of_values_is_refused() -> None:
    for values in ([], [1, 2]):
        with pytest.raises(InvalidKey, match="user_id"):
            key_encoder(["int64"], ["user_id"])(values)
        with pytest.raises(InvalidKey, match="user_id"):
            key_encoder(["string"], ["user_id"])(values)


def test_numpys_integers_and_booleans_are_keys() -> None:
    assert encode_key([np.int32(7)], ["int64"]) == encode_key([7], ["int64"])
    assert encode_key([np.bool_(True)], ["bool"]) == encode_key([True], ["bool"])
    with pytest.raises(InvalidKey):
        encode_key([np.bool_(True)], ["int64"])


@given(st.binary(max_size=30), KINDS)
def test_bytes_that_are_no_key_are_told_so(noise, kinds) -> None:
    try:
        values = decode_key(noise, kinds)
    except StateCorrupt:
        return
    assert encode_key(values, kinds) == noise


@given(st.data(), KINDS)
def test_keys_encoded_in_bulk_are_the_same(data, kinds) -> None:
    rows = data.draw(st.lists(st.tuples(*(st.none() | KEY_VALUES[kind] for kind in kinds)), max_size=8))
    names = [f"k{place}" for place in range(len(kinds))]
    columns = [pa.array([row[place] for row in rows], to_arrow_type(kind)) for place, kind in enumerate(kinds)]
    table = pa.table(columns, names=names)
    encode = key_encoder(kinds, names)
    assert list(encode_keys(table, kinds, names)) == [encode(row) for row in rows]


def test_bulk_keys_take_narrow_large_and_dictionary_columns_and_many_chunks() -> None:
    numbers = list(range(-20_000, 20_000))
    table = pa.table(
        {
            "n": pa.chunked_array([pa.array(numbers[:7], pa.int16()), pa.array(numbers[7:], pa.int16())]),
            "s": pa.array([f"s{number % 9}" for number in numbers]).dictionary_encode(),
            "l": pa.array([f"s{number % 9}" for number in numbers], pa.large_string()),
        }
    )
    encode = key_encoder(["int64", "string", "string"])
    wanted = [encode([number, f"s{number % 9}", f"s{number % 9}"]) for number in numbers]
    assert list(encode_keys(table, ["int64", "string", "string"], ["n", "s", "l"])) == wanted
    assert list(encode_keys(table.slice(5, 40), ["int64"], ["n"])) == [
        encode_key([n], ["int64"]) for n in numbers[5:45]
    ]


def test_bulk_keys_refuse_what_single_ones_refuse() -> None:
    with pytest.raises(InvalidKey, match="'s'"):
        list(encode_keys(pa.table({"s": ["x", "x" * 1025]}), ["string"], ["s"]))
    with pytest.raises(WrongColumnType, match="'s'"):
        list(encode_keys(pa.table({"s": ["x"]}), ["int64"], ["s"]))
    with pytest.raises(WrongColumnType, match="'u'"):
        list(encode_keys(pa.table({"u": pa.array([2**63], pa.uint64())}), ["int64"], ["u"]))


# --- rows ------------------------------------------------------------------------------------------------------------

FLOATS = st.floats() | st.sampled_from([-0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308])
DECIMALS = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-10))
SMALL = st.integers(-(10**4) + 1, 10**4 - 1).map(lambda unscaled: Decimal(unscaled).scaleb(-4))
VALUES = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": INT64,
    "float32": st.floats(width=32),
    "float64": FLOATS,
    "string": TEXT,
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "decimal(4,4)": SMALL,
}
VALUES |= {f"list<{dtype}>": st.lists(st.none() | values, max_size=4) for dtype, values in VALUES.items()}
VALUES["list<list<date>>"] = st.lists(st.none() | VALUES["list<date>"], max_size=3)
LAYOUTS = st.lists(st.sampled_from(sorted(VALUES)), min_size=0, max_size=8)


def same(left, right) -> bool:
    """Equal in type and to the last bit; all NaNs are one."""
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        if math.isnan(left):
            return isinstance(right, float) and math.isnan(right)
        return type(right) is float and struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, Decimal):
        return isinstance(right, Decimal) and left.as_tuple() == right.as_tuple()
    return type(left) is type(right) and left == right


@st.composite
def rows(draw, count=1):
    types = draw(LAYOUTS)
    latest = sorted(draw(st.sets(st.integers(0, len(types) - 1), max_size=3))) if types else []
    codec = RowCodec(names=[f"f{place}" for place in range(len(types))], types=types, latest=latest)
    value_rows = [[draw(st.none() | VALUES[dtype]) for dtype in types] for _ in range(count)]
    times = [[draw(st.none() | INT64) for _ in latest] for _ in range(count)]
    return codec, value_rows, times


@given(rows())
def test_a_row_is_decoded_to_what_was_encoded(made) -> None:
    codec, (values,), (times,) = made
    packed = codec.encode(values, times)
    assert same(codec.decode(packed), values + times)
    assert same(codec.decode_many([packed, packed]), [values + times] * 2)
    assert codec.decode_many([None, packed])[0] is None


@given(rows(count=3))
def test_rows_encoded_in_bulk_are_the_same(made) -> None:
    codec, value_rows, times = made
    columns = [pa.array([row[p] for row in value_rows], to_arrow_type(dtype)) for p, dtype in enumerate(codec.types)]
    columns += [pa.array([row[p] for row in times], pa.int64()) for p in range(len(codec.latest))]
    table = pa.table(columns, names=[f"c{place}" for place in range(len(columns))])
    wanted = [codec.encode(*row) for row in zip(value_rows, times, strict=True)] if columns else []
    for part in (table, pa.concat_tables([table.slice(0, 1), table.slice(1)]), table.slice(1)):
        packed = list(encode_rows(part, codec))
        assert packed == wanted[len(wanted) - len(packed) :]
        assert len(packed) == part.num_rows


def test_the_rows_of_large_decimals_and_event_times_as_timestamps() -> None:
    codec = RowCodec(names=["d", "s"], types=["decimal(38,10)", "string"], latest=[1])
    values = [Decimal("9" * 28 + "." + "9" * 10), Decimal("-0E-10"), Decimal("1E-10"), None]
    table = pa.table(
        {
            "d": pa.array(values, pa.decimal128(38, 10)),
            "s": ["a", None, "c", "d"],
            "t": pa.array([1, None, 3, -4], pa.timestamp("us", tz="UTC")),
        }
    )
    decoded = [codec.decode(packed) for packed in encode_rows(table, codec)]
    assert [None if row[0] is None else f"{row[0]:f}" for row in decoded] == [
        "9" * 28 + "." + "9" * 10,
        "0.0000000000",
        "0.0000000001",
        None,
    ]
    assert [row[1:] for row in decoded] == [["a", 1], [None, None], ["c", 3], ["d", -4]]


def test_bulk_rows_refuse_a_column_that_would_change() -> None:
    codec = RowCodec(names=["n"], types=["int32"])
    with pytest.raises(WrongColumnType, match="'n'"):
        list(encode_rows(pa.table({"n": [2**40]}), codec))
    far = pa.table({"n": pa.array([2**62], pa.timestamp("us", tz="UTC"))})
    with pytest.raises(WrongColumnType, match="years"):
        list(encode_rows(far, RowCodec(names=["n"], types=["timestamp"])))


@given(st.binary(max_size=40), LAYOUTS)
def test_bytes_that_are_no_row_are_told_so(noise, types) -> None:
    codec = RowCodec(names=types, types=types)
    with contextlib.suppress(StateCorrupt):
        assert len(codec.decode(noise)) == codec.width


def test_a_row_of_another_layout_is_refused() -> None:
    codec = RowCodec(names=["a", "b"], types=["int64", "string"], latest=[0])
    for packed in (codec.encode([1, "x"], [5])[:-1], b"", b"\xc0", RowCodec(names=["a"], types=["int64"]).encode([1])):
        with pytest.raises(StateCorrupt):
            codec.decode(packed)
        with pytest.raises(StateCorrupt):
            codec.decode_many([None, packed])
    with pytest.raises(ValueError, match="2 values"):
        codec.encode([1], [5, 6])


def test_the_layouts_digest_tells_names_types_order_and_times_apart() -> None:
    layouts = [
        RowCodec(names=["a", "b"], types=["int64", "string"]),
        RowCodec(names=["b", "a"], types=["int64", "string"]),
        RowCodec(names=["a", "b"], types=["int64", "date"]),
        RowCodec(names=["a", "b"], types=["int64", "string"], latest=[0]),
        RowCodec(names=["a", "b"], types=["int64", "string"], latest=[1]),
        RowCodec(names=["a"], types=["int64"]),
    ]
    assert len({codec.schema_hash for codec in layouts}) == len(layouts)
    assert RowCodec(names=["a", "b"], types=["int64", "string"]).schema_hash == layouts[0].schema_hash


def test_pairs_leave_out_rows_without_a_key() -> None:
    assert list(encode_pairs([b"a", None, b"c"], [b"1", b"2", b"3"])) == [(b"a", b"1"), (b"c", b"3")]
