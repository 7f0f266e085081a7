"""The spliced bytes of an answer are those that the plain way gives."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.serve.response import OnlineFeatures
from timewell.server.answers import JsonEncoder, MessagePackEncoder
from timewell.server.frames import encode_frame

STATUSES = ("present", "null", "stale", "not_found", "expired", "default")
json_whole = msgspec.json.Encoder(decimal_format="string").encode
packed_whole = msgspec.msgpack.Encoder(decimal_format="string").encode


def spelled(value: object) -> object:
    if isinstance(value, float) and not isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return [spelled(part) for part in value] if isinstance(value, list) else value


def slow_json(answer: OnlineFeatures) -> bytes:
    """Encode an answer whole, after a look at every value."""
    whole = answer.to_dict()
    return json_whole({**whole, "rows": [{**row, "values": spelled(row["values"])} for row in whole["rows"]]})


floats = st.floats() | st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0])
values = st.one_of(
    floats,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(max_size=4) | st.just("null"),
    st.just(Decimal("1.10")),
    st.just(date(2026, 3, 1)),
    st.just(datetime(2026, 3, 1, 1, 2, 3, 4, tzinfo=UTC)),
    st.lists(floats | st.none(), max_size=2),
)


@st.composite
def answers(draw: st.DrawFn) -> OnlineFeatures:
    width, height = draw(st.integers(0, 4)), draw(st.integers(0, 20))
    shared = [tuple(draw(st.sampled_from(STATUSES)) for _ in range(width)) for _ in range(3)]
    rows, statuses = [], []
    for _ in range(height):
        states = draw(st.sampled_from(shared))
        rows.append([None if state in {"null", "expired"} else draw(values | st.none()) for state in states])
        statuses.append(states)
    return OnlineFeatures(
        features=tuple(f'f{number}"ü' for number in range(width)),
        rows=rows,
        row_statuses=statuses,
        epoch=draw(st.integers(0, 2**40)),
        as_of_us={f"group_{number}": draw(st.integers(0, 2**51)) for number in range(draw(st.integers(0, 3)))},
        degraded=draw(st.booleans()),
    )


@given(st.lists(answers(), min_size=1, max_size=3))
def test_an_answer_is_what_encoding_it_whole_gives_whatever_was_encoded_before(several) -> None:
    as_json, packed = JsonEncoder(), MessagePackEncoder()
    for answer in [*several, *several]:
        assert as_json.encode(answer) == slow_json(answer)
        assert packed.encode(answer) == packed_whole(answer.to_dict())


def test_what_is_kept_from_answers_before_is_bounded() -> None:
    encoder = JsonEncoder()
    for number in range(10_000):
        answer = OnlineFeatures(features=(f"f{number}",), rows=[], row_statuses=[], epoch=number, as_of_us={})
        encoder.encode(answer)
    assert max(len(encoder._heads), len(encoder._ends)) <= 4_096


@pytest.mark.parametrize("height", [0, 1, 15, 16, 65_535, 65_536])
def test_any_number_of_rows_is_packed(height) -> None:
    answer = OnlineFeatures(
        features=("a",), rows=[[1]] * height, row_statuses=[("present",)] * height, epoch=1, as_of_us={}
    )
    assert len(msgspec.msgpack.decode(MessagePackEncoder().encode(answer))["rows"]) == height


def test_a_column_told_to_hold_no_floats_is_not_looked_at() -> None:
    answer = OnlineFeatures(
        features=("a", "b"), rows=[[None, float("nan")]], row_statuses=[("stale", "present")], epoch=1, as_of_us={}
    )
    assert b'[null,"NaN"]' in JsonEncoder().encode(answer, (1,))
    assert b"[null,null]" in JsonEncoder().encode(answer, ())  # the caller's word counts: it knows the types


def test_a_frame_has_a_column_and_its_statuses_for_each_feature() -> None:
    answer = OnlineFeatures(
        features=("day", "many"),
        rows=[[date(2026, 3, 1), [1, None]], [None, None]],
        row_statuses=[("present", "present"), ("null", "expired")],
        epoch=7,
        as_of_us={"g": 0},
    )
    table = pa.ipc.open_stream(encode_frame(answer, ["date", "list<int64>"])).read_all()
    assert table.column_names == ["day", "day__status", "many", "many__status"]
    assert [str(table.schema.field(name).type) for name in ("day", "many")] == ["date32[day]", "list<item: int64>"]
    assert table.to_pylist()[1] == {"day": None, "day__status": "null", "many": None, "many__status": "expired"}
    assert table.schema.metadata == {b"epoch": b"7", b"as_of": b'{"g":"1970-01-01T00:00:00Z"}', b"degraded": b"false"}
    none = OnlineFeatures(features=answer.features, rows=[], row_statuses=[], epoch=7, as_of_us={})
    assert pa.ipc.open_stream(encode_frame(none, ["date", "list<int64>"])).read_all().num_rows == 0
