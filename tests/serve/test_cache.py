"""Kept rows answer only for the refresh they are of, for so long, and so many of them."""

from __future__ import annotations

from tests.serve.stores import key, mark
from timewell.serve.cache import HotRows
from timewell.stores.online import BuildRows, ReadKeys


class Seconds:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def wanted(*numbers: int, build: str = "b") -> list[ReadKeys]:
    return [ReadKeys(build, [key(number) for number in numbers])]


def found(*rows: bytes | None, seq: int = 1) -> list[BuildRows]:
    return [BuildRows(mark(seq), list(rows))]


def test_what_was_read_answers_until_its_age_also_that_there_is_no_row() -> None:
    clock = Seconds()
    kept = HotRows(10, 0.2, clock)
    assert kept.find(wanted(1, 2)) is None
    kept.keep(wanted(1, 2), found(b"one", None))
    assert kept.find(wanted(2, 1)) == [BuildRows(mark(1), [None, b"one"])]
    assert kept.find(wanted(1, 3)) is None
    clock.now += 0.3
    assert kept.find(wanted(1)) is None
    assert (kept.hits, kept.misses) == (1, 3)


def test_another_refresh_empties_what_was_kept_and_an_older_answer_changes_nothing() -> None:
    kept = HotRows(10, 0.2, Seconds())
    kept.keep(wanted(1, 2), found(b"one", b"two", seq=1))
    kept.keep(wanted(1), found(b"ONE", seq=2))
    assert kept.find(wanted(1, 2)) is None
    kept.keep(wanted(1, 2), found(b"one", b"two", seq=1))  # it was on its way for longer
    assert kept.find(wanted(1)) == found(b"ONE", seq=2)
    assert kept.find(wanted(2)) is None


def test_no_more_rows_are_kept_than_told_and_the_oldest_go() -> None:
    kept = HotRows(8, 60, Seconds())
    for number in range(20):
        kept.keep(wanted(number), found(b"row"))
    assert kept.find(wanted(0)) is None
    assert kept.find(wanted(19)) is not None
    known = kept.last_known("b", [key(number) for number in range(20)])
    assert known is not None
    assert len(known[1]) <= 8


def test_the_last_known_outlives_its_age_and_an_emptied_store_but_no_clearing() -> None:
    clock = Seconds()
    kept = HotRows(10, 0.2, clock)
    kept.keep(wanted(1), found(b"one"))
    clock.now += 3_600
    kept.keep(wanted(1), [BuildRows(None, [None])])
    assert kept.last_known("b", [key(1), None, key(2)]) == (mark(1), {key(1): b"one"})
    kept.clear()
    assert kept.last_known("b", [key(1)]) is None


def test_none_are_kept_where_none_are_wanted() -> None:
    kept = HotRows(0, 0.2)
    kept.keep(wanted(1), found(b"one"))
    assert kept.find(wanted(1)) is None
    assert kept.last_known("b", [key(1)]) is None
