"""A refresh found by reading the build beside the new rows is the one that two dictionaries would give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.backends.lmdb.store import LmdbStore
from timewell.errors import Superseded
from timewell.materialize import difference as module
from timewell.materialize import write
from timewell.materialize.difference import difference, side_by_side
from timewell.materialize.write import load_rows, refresh_rows
from timewell.stores.codec import encode_key
from timewell.testing.online_children import mark_of
from timewell.testing.plain_load import changes_of

BUILD = "g/v1/1"
LONG = [encode_key(["x" * 500 + letter], ["string"]) for letter in "abcdefg"]
SHORT = [encode_key([f"{number}"], ["string"]) for number in range(40)]
KEYS = [key for key in [*LONG, *SHORT] if key is not None]
ROWS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from([b"1", b"2"]), max_size=30)


class Unordered(LmdbStore):
    """A store whose scan keeps no order, as a remote one's does not."""

    capabilities = replace(LmdbStore.capabilities, ordered_key_bytes=0)

    def scan(self, build: str) -> Iterator[tuple[bytes, bytes]]:
        yield from sorted(super().scan(build), key=lambda pair: pair[0][::-1])


class Misordered(Unordered):
    """One that promises an order and does not keep it: the broken control."""

    capabilities = LmdbStore.capabilities


def chunks(rows: dict[bytes, bytes], size: int) -> list[list[tuple[bytes, bytes]]]:
    pairs = sorted(rows.items())
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def loaded(store: LmdbStore, rows: dict[bytes, bytes]) -> None:
    store.load(BUILD, rows.items(), mark_of(1))


@pytest.fixture(params=[LmdbStore, Unordered], ids=["ordered", "unordered"])
def store(request, tmp_path):
    opened = request.param(tmp_path / "online")
    yield opened
    opened.close()


@given(held=ROWS, wanted=ROWS, size=st.integers(1, 9), scanned=st.integers(1, 9))
@pytest.mark.parametrize("kind", [LmdbStore, Unordered])
def test_the_difference_is_that_of_two_dictionaries(tmp_path_factory, kind, held, wanted, size, scanned) -> None:
    store = kind(tmp_path_factory.mktemp("online"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SCANNED_ROWS", scanned)
        loaded(store, held)
        found = difference(store, BUILD, lambda: chunks(wanted, size), most=len(KEYS) * 2)
    store.close()
    assert found is not None
    assert (dict(found.upserts), set(found.leavers)) == changes_of(held, wanted)
    assert len(found) == len(dict(found.upserts)) + len(set(found.leavers))


def test_a_scan_that_does_not_keep_its_order_is_caught(tmp_path: Path) -> None:
    store = Misordered(tmp_path)
    rows = dict.fromkeys(KEYS, b"1")
    loaded(store, rows)
    found = difference(store, BUILD, lambda: chunks(rows, 7), most=1_000)
    store.close()
    assert found is not None
    assert len(found) > 0


@given(ROWS, ROWS, st.integers(1, 9), st.integers(1, 9))
def test_two_streams_are_cut_where_they_cover_the_same_keys(left, right, size, other_size) -> None:
    parts = list(side_by_side(iter(chunks(left, size)), iter(chunks(right, other_size))))
    assert [pair for mine, _ in parts for pair in mine] == sorted(left.items())
    assert [pair for _, other in parts for pair in other] == sorted(right.items())
    assert all(len(mine) <= size and len(other) <= other_size for mine, other in parts)
    spans = [[key for key, _ in [*mine, *other]] for mine, other in parts]
    assert all(max(before) < min(after) for before, after in pairwise(spans))


@given(held=ROWS, wanted=ROWS, few=st.sampled_from([0, 3, 1_000]))
def test_a_refresh_ends_with_the_new_rows_whether_it_writes_some_or_all(tmp_path_factory, held, wanted, few) -> None:
    store = LmdbStore(tmp_path_factory.mktemp("online"))
    load_rows(store, BUILD, lambda: chunks(held, 5), mark_of(1))
    before = store.mark(BUILD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "FEW_CHANGES", few)
        done = refresh_rows(store, BUILD, lambda: chunks(wanted, 5), mark_of(2))
    after = store.mark(BUILD)
    assert before is not None
    assert after is not None
    assert dict(store.scan(BUILD)) == wanted
    assert (after.as_of_us, after.rows, done.rows) == (2, len(wanted), len(wanted))
    assert after.refresh_seq > before.refresh_seq
    upserts, leavers = changes_of(held, wanted)
    many = len(upserts) + len(leavers) > max(few, len(held) // 4)
    assert done.action == ("rewritten" if many else "refreshed")
    assert (done.written, done.deleted) == ((len(wanted), 0) if many else (len(upserts), len(leavers)))
    store.close()


def test_nothing_is_written_where_nothing_differs(store) -> None:
    rows = dict.fromkeys(KEYS, b"1")
    loaded(store, rows)
    before = store.mark(BUILD)
    done = refresh_rows(store, BUILD, lambda: chunks(rows, 7), mark_of(1, lease_epoch=2))
    assert (done.action, done.rows, done.written, done.deleted) == ("unchanged", len(KEYS), 0, 0)
    assert store.mark(BUILD) == before


def test_a_later_instant_is_published_also_where_no_row_differs(store) -> None:
    rows = dict.fromkeys(KEYS, b"1")
    loaded(store, rows)
    done = refresh_rows(store, BUILD, lambda: chunks(rows, 7), mark_of(2))
    assert (done.action, done.written, done.deleted) == ("refreshed", 0, 0)
    assert store.mark(BUILD).as_of_us == 2


def test_a_write_that_comes_between_is_looked_at_again(store, monkeypatch) -> None:
    rows = dict.fromkeys(SHORT, b"1")
    loaded(store, rows)
    honest, looks = module.difference, []

    def meanwhile(*given, **named):
        found = honest(*given, **named)
        if not looks:
            store.erase(BUILD, [SHORT[0]])
        looks.append(found)
        return found

    monkeypatch.setattr(write, "difference", meanwhile)
    done = refresh_rows(store, BUILD, lambda: chunks(rows, 7), mark_of(2))
    assert (len(looks), done.written) == (2, 1)
    assert dict(store.scan(BUILD)) == rows


def test_an_older_refresh_writes_nothing_neither_some_rows_nor_all(store, monkeypatch) -> None:
    store.load(BUILD, dict.fromkeys(SHORT, b"1").items(), mark_of(5))
    for few in (1_000, 0):
        monkeypatch.setattr(write, "FEW_CHANGES", few)
        with pytest.raises(Superseded):
            refresh_rows(store, BUILD, lambda: chunks(dict.fromkeys(SHORT, b"2"), 7), mark_of(4))
    assert set(dict(store.scan(BUILD)).values()) == {b"1"}
