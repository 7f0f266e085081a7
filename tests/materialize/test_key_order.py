"""Rows in the order of their keys' bytes, as a store that appends wants them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.errors import WrongColumnType
from timewell.stores import bulk, order
from timewell.stores.arrow import to_arrow_type
from timewell.stores.codec import encode_key
from timewell.stores.order import in_key_order

VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["", "\0", "ÿ", "é" * 9]),
    "bool": st.booleans(),
    "date": st.dates(),
}
KINDS = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3)


@st.composite
def keyed(draw):
    kinds = draw(KINDS)
    rows = draw(st.lists(st.tuples(*(st.none() | VALUES[kind] for kind in kinds)), max_size=12, unique=True))
    if draw(st.booleans()):
        rows.sort(key=lambda row: encode_key(row, kinds) or b"")
    columns = [pa.array([row[place] for row in rows], to_arrow_type(kind)) for place, kind in enumerate(kinds)]
    table = pa.table([*columns, pa.array(range(len(rows)))], names=[*(f"k{n}" for n in range(len(kinds))), "place"])
    cut = draw(st.integers(0, len(rows)))
    return kinds, rows, pa.concat_tables([table.slice(0, cut), table.slice(cut)])


@given(keyed(), st.integers(1, 5))
def test_rows_come_in_the_order_of_their_encoded_keys(made, chunk_rows) -> None:
    kinds, rows, table = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "CHUNK_ROWS", chunk_rows)
        patch.setattr(bulk, "CHUNK_ROWS", chunk_rows)
        parts = list(in_key_order(table, kinds, [f"k{place}" for place in range(len(kinds))]))
    assert all(0 < part.num_rows <= chunk_rows for part in parts)
    places = [place for part in parts for place in part["place"].to_pylist()]
    assert sorted(places) == list(range(len(rows)))
    keys = [encode_key(rows[place], kinds) for place in places]
    found = [key for key in keys if key is not None]
    assert found == sorted(found)


def test_rows_in_order_already_are_not_copied() -> None:
    table = pa.table({"k": [1, 2, 3], "v": [0.5, 1.5, 2.5]})
    [part] = in_key_order(table, ["int64"], ["k"])
    assert part["v"].buffers()[1].address == table["v"].chunk(0).buffers()[1].address


def test_text_that_polars_hands_over_as_views_is_sorted_too() -> None:
    table = pa.table(
        {"k": pa.array(["bb", "a", "b"], pa.string_view()), "v": pa.array(["x", "y", "z"], pa.string_view())}
    )
    [part] = in_key_order(table, ["string"], ["k"])
    assert part["v"].to_pylist() == ["y", "z", "x"]


def test_a_key_of_another_type_is_refused() -> None:
    with pytest.raises(WrongColumnType, match="'k'"):
        list(in_key_order(pa.table({"k": ["x"]}), ["int64"], ["k"]))
