"""The oracle against tables worked out by hand; instants are microseconds, so that each can be checked by eye."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from timewell.define.aggregation import Aggregation
from timewell.define.compiled import CompiledGroup, compile_group
from timewell.define.entity import Entity
from timewell.define.feature import Feature, FeatureGroup
from timewell.define.source import Source
from timewell.errors import ValueOverflow
from timewell.testing.oracle import before_ttl, cut_off, entities, equal, evaluate, online, read_columns
from timewell.types import to_datetime

NAN, INF = math.nan, math.inf
LATEST = {"type": "latest", "column": "v"}
COUNT_5 = {"type": "count", "window": "5us"}
BIG = 2**62


def source(**fields: object) -> Source:
    return Source(**{"name": "s", "path": "s.parquet", "event_time": "at", **fields})


def group(aggregation: dict[str, object], of: Source | None = None, *, entity=None, **fields) -> CompiledGroup:
    """One feature, called f."""
    own = {name: fields.pop(name) for name in ("empty",) if name in fields}
    feature = Feature(name="f", aggregation=Aggregation(**aggregation), **own)
    known = entity or Entity(name="user")
    made = FeatureGroup(name="g", entity=known.name, source="s", features=(feature,), **fields)
    return compile_group(made, source=of or source(), entity=known)


def rows(*table: tuple[object, ...], columns: str = "at v") -> list[dict[str, object]]:
    """Rows of user 1, from a table of values."""
    return [{"user": 1, **dict(zip(columns.split(), line, strict=True))} for line in table]


def ask(asked: CompiledGroup, given, *instants: int, key: object = 1, **how) -> list[object]:
    """The value of f at each instant."""
    return [cells["f"] for cells in evaluate(asked, given, [((key,), t) for t in instants], **how)]


def windowed(kind: str, *values: object, **fields: object) -> object:
    """The aggregate of values that happened at 1, 2, 3 ... over all of them."""
    aggregation = {"type": kind, "column": "v", "window": "100us"}
    aggregation |= {name: fields.pop(name) for name in ("n",) if name in fields}
    return ask(group(aggregation, **fields), rows(*enumerate(values, start=1)), 50)[0]


# --- visibility and windows ------------------------------------------------------------------------------------------


def test_an_event_does_not_see_itself_and_leaves_after_its_window() -> None:
    #                                               at 10     11 ... 15      16
    assert ask(group(COUNT_5), rows((10, 0)), 9, 10, 11, 14, 15, 16) == [0, 0, 1, 1, 1, 0]


def test_a_snapshot_counts_from_its_own_instant_and_leaves_at_the_end_of_its_window() -> None:
    states = source(kind="snapshots")
    assert ask(group(COUNT_5, states), rows((10, 0)), 9, 10, 11, 14, 15, 16) == [0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("kind", ["events", "snapshots"])
def test_closed_overrides_the_default_of_either_kind(kind) -> None:
    left, right = source(kind=kind, closed="left"), source(kind=kind, closed="right")
    assert ask(group(COUNT_5, left), rows((10, 0)), 10, 15, 16) == [0, 1, 0]
    assert ask(group(COUNT_5, right), rows((10, 0)), 10, 14, 15) == [1, 1, 0]


ARRIVING = source(arrival_time="seen")


@pytest.mark.parametrize(
    ("seen", "as_of", "expected"),
    [
        # t:               10 11 13 14 15 16
        (13, "known", [0, 0, 0, 1, 1, 0]),  # counts after 13; the window is judged by the event's own time
        (13, "happened", [0, 1, 1, 1, 1, 0]),
        (7, "known", [0, 1, 1, 1, 1, 0]),  # known before it happened: visible when it happens
        (10, "known", [0, 1, 1, 1, 1, 0]),
        (20, "known", [0, 0, 0, 0, 0, 0]),  # known too late for any window
        (None, "known", [0, 0, 0, 0, 0, 0]),
        (None, "happened", [0, 1, 1, 1, 1, 0]),
    ],
)
def test_a_row_counts_once_it_has_both_happened_and_arrived(seen, as_of, expected) -> None:
    given = rows((10, seen), columns="at seen")
    assert ask(group(COUNT_5, ARRIVING), given, 10, 11, 13, 14, 15, 16, as_of=as_of) == expected


def test_closed_right_counts_a_late_row_from_its_arrival() -> None:
    late = source(arrival_time="seen", closed="right")
    assert ask(group(COUNT_5, late), rows((10, 13), columns="at seen"), 12, 13, 14, 15) == [0, 1, 1, 0]


@pytest.mark.parametrize(("at", "seen", "expected"), [(9, 40, 1), (9, None, 1), (10, 40, 0), (10, None, 0)])
def test_arrival_is_ignored_on_rows_that_happened_before_it_can_be_trusted(at, seen, expected) -> None:
    trusted = source(arrival_time="seen", arrival_trusted_from=to_datetime(10))
    assert ask(group(COUNT_5, trusted), rows((at, seen), columns="at seen"), 12) == [expected]


def test_a_null_event_time_never_counts() -> None:
    given = rows((None, 1), (10, 1), columns="at seen")
    for of in (source(), ARRIVING):
        assert ask(group(COUNT_5, of), given, 12) == [1]
        assert ask(group(COUNT_5, of), given, 12, as_of="happened") == [1]


def test_a_row_in_the_future_is_held_and_counts_when_its_time_comes() -> None:
    assert ask(group(LATEST), rows((10, "now"), (99, "later")), 12, 100) == ["now", "later"]


# --- keys ------------------------------------------------------------------------------------------------------------


def test_rows_of_another_entity_do_not_count() -> None:
    given = [{"user": 1, "at": 10}, {"user": 2, "at": 10}, {"user": 2, "at": 11}]
    assert ask(group(COUNT_5), given, 12, key=2) == [2]
    assert ask(group(COUNT_5), given, 12, key=3) == [0]


PAIR = Entity(name="pair", join_keys={"user": None, "shop": None})


@pytest.mark.parametrize(("key", "expected"), [((1, "a"), 1), ((None, "a"), 0), ((1, None), 0), ((None, None), 0)])
def test_a_key_with_a_null_part_is_an_entity_never_seen(key, expected) -> None:
    given = [{"user": user, "shop": shop, "at": 10} for user in (1, None) for shop in ("a", None)]
    asked = group(COUNT_5, entity=PAIR)
    assert evaluate(asked, given, [(key, 12)]) == [{"f": expected}]


def test_keys_are_in_the_entitys_order_and_may_have_other_names_in_the_source() -> None:
    swapped = Entity(name="pair", join_keys={"shop": None, "user": None})
    asked = group(COUNT_5, source(keys={"user": "uid"}), entity=swapped)
    given = [{"uid": 1, "shop": "a", "user": 9, "at": 10}]
    assert evaluate(asked, given, [(("a", 1), 12), (("a", 9), 12)]) == [{"f": 1}, {"f": 0}]


# --- order and latest ------------------------------------------------------------------------------------------------

ORDERED = source(arrival_time="seen", sequence="no")


@pytest.mark.parametrize(
    ("lower", "greater"),
    [
        ((8, 9, 9, "z"), (9, 1, 1, "a")),  # event time first
        ((9, 3, 9, "z"), (9, 4, 1, "a")),  # then arrival
        ((9, 4, 1, "z"), (9, 4, 2, "a")),  # then sequence
        ((9, 4, None, "z"), (9, 4, 1, "a")),  # a null sequence is lowest
        ((9, 4, 2, "a"), (9, 4, 2, "b")),  # then content
        ((9, 4, 2, "B"), (9, 4, 2, "a")),  # by code points
        ((9, 4, 2, "\uffff"), (9, 4, 2, "\U0001f600")),  # not by UTF-16 units
        ((9, 4, 2, None), (9, 4, 2, "")),  # a null value is lowest
    ],
)
def test_latest_takes_the_greatest_row_whatever_the_order_of_the_file(lower, greater) -> None:
    given = rows(lower, greater, columns="at seen no v")
    for shuffled in (given, given[::-1]):
        assert ask(group(LATEST, ORDERED), shuffled, 50) == [greater[3]]


def test_in_content_nan_is_greatest_and_false_comes_before_true() -> None:
    assert math.isnan(ask(group(LATEST), rows((9, INF), (9, NAN), (9, 1.0)), 50)[0])
    assert ask(group(LATEST), rows((9, True), (9, False)), 50) == [True]


def test_arrival_orders_rows_even_where_it_does_not_hide_them() -> None:
    given = rows((9, 70, "arrived last"), (9, 60, "z"), (9, None, "zz"), columns="at seen v")
    assert ask(group(LATEST, ARRIVING), given, 10, as_of="happened") == ["arrived last"]
    trusted = source(arrival_time="seen", arrival_trusted_from=to_datetime(30))
    assert ask(group(LATEST, trusted), given, 10) == ["arrived last"]


def test_content_is_compared_by_column_name_over_all_columns_that_the_group_reads() -> None:
    given = rows((9, "kept", 1, 0), (9, "lost", 0, 9), columns="at v a unread")
    asked = group(LATEST, filter="a >= 0 AND v <> 'unread'")
    assert read_columns(asked, given) == ["a", "v"]
    assert ask(asked, given, 50, passes=lambda row: row["a"] >= 0) == ["kept"]


def test_latest_is_null_where_the_newest_value_is_null_and_empty_only_without_a_row() -> None:
    asked = group(LATEST, empty="none")
    assert ask(asked, rows((5, "old"), (9, None)), 5, 6, 10) == ["none", "old", None]


# --- superseding -----------------------------------------------------------------------------------------------------

SUM = {"type": "sum", "column": "v", "window": "50us"}


def test_without_unique_on_equal_events_are_two_facts() -> None:
    assert ask(group(SUM), rows((5, 3), (5, 3)), 9) == [6]


def test_a_correction_replaces_what_it_corrects_from_its_arrival_on() -> None:
    orders = source(arrival_time="seen", unique_on=("id",))
    given = rows((5, 6, 1, 100), (5, 20, 1, 7), (8, 8, 2, 1000), columns="at seen id v")
    # before 6: nothing; after 6: 100; after 8: 1100; after 20 the 100 has become 7
    assert ask(group(SUM, orders), given, 6, 7, 9, 20, 21) == [0, 100, 1100, 1100, 1007]


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        ((9, 4, 9, 9), (5, 5, 1, 1)),  # by arrival, not by event time
        ((9, 4, 1, 9), (5, 4, 2, 1)),  # then by sequence
        ((9, 4, None, 9), (5, 4, 1, 1)),
        ((9, 4, 2, 1), (5, 4, 2, 9)),  # then by content
        ((8, 4, 2, 9), (9, 4, 2, 9)),  # equal in all of these: the later event
    ],
)
def test_among_versions_of_a_fact_the_greatest_arrival_sequence_and_content_win(loser, winner) -> None:
    orders = source(arrival_time="seen", sequence="no", unique_on=("id",))
    given = [{**row, "id": 1} for row in rows(loser, winner, columns="at seen no v")]
    for shuffled in (given, given[::-1]):
        assert ask(group(SUM, orders), shuffled, 30) == [winner[3]]
        assert ask(group({**SUM, "window": "21us"}, orders), shuffled, 30) == [winner[3] if winner[0] >= 9 else 0]


def test_equal_nulls_in_unique_on_are_the_same_fact() -> None:
    orders = source(sequence="no", unique_on=("id",))
    given = rows((5, 1, None, 10), (5, 2, None, 20), (5, 1, 7, 100), columns="at no id v")
    assert ask(group(SUM, orders), given, 9) == [120]


def test_a_fact_that_moves_to_another_entity_leaves_the_first() -> None:
    orders = source(sequence="no", unique_on=("id",))
    given = [{"user": 1, "at": 5, "no": 1, "id": 7, "v": 3}, {"user": 2, "at": 5, "no": 2, "id": 7, "v": 3}]
    assert ask(group(SUM, orders), given, 9, key=1) == [0]
    assert ask(group(SUM, orders), given, 9, key=2) == [3]


def test_a_correction_with_a_null_key_or_time_corrects_nothing() -> None:
    orders = source(sequence="no", unique_on=("id",))
    stray = [{"user": None, "at": 5, "no": 8, "id": 7, "v": 30}, {"user": 1, "at": None, "no": 9, "id": 7, "v": 300}]
    given = [{"user": 1, "at": 5, "no": 1, "id": 7, "v": 3}, *stray]
    assert ask(group(SUM, orders), given, 9) == [3]


def test_snapshots_of_one_entity_and_time_supersede_each_other() -> None:
    states = source(kind="snapshots", arrival_time="seen")
    given = rows((5, 5, 10), (5, 8, 20), (6, 6, 100), columns="at seen v")
    assert ask(group(SUM, states), given, 5, 7, 8) == [10, 110, 120]
    assert ask(group({**COUNT_5, "window": "50us"}, states), given, 8) == [2]
    other = [{**row, "user": 2} for row in given]
    assert ask(group(SUM, states), given + other, 8) == [120]


def test_a_correction_that_the_filter_drops_still_replaces() -> None:
    orders = source(sequence="no", unique_on=("id",))
    given = rows((5, 1, 7, 10), (5, 2, 7, -1), columns="at no id v")
    asked = group(SUM, orders, filter="v > 0")
    assert ask(asked, given, 9, passes=lambda row: row["v"] > 0) == [0]


def test_a_filter_keeps_only_what_is_true() -> None:
    given = rows((5, 1), (6, 2), (7, None), (8, 4))
    asked = group({"type": "count", "window": "50us"}, filter="v > 1")
    assert ask(asked, given, 9, passes=lambda row: None if row["v"] is None else row["v"] > 1) == [2]
    latest = group(LATEST, filter="v < 4")
    assert ask(latest, given, 9, passes=lambda row: None if row["v"] is None else row["v"] < 4) == [2]


# --- aggregates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("sum", [1, None, 4], 5),
        ("sum", [2**53, 1, 2**53], 2**54 + 1),  # a float would lose the 1
        ("sum", [BIG, BIG, -BIG], BIG),  # only the result must fit
        ("sum", [Decimal("0.10"), Decimal("0.20")], Decimal("0.30")),
        ("sum", [Decimal("9" * 30), Decimal("0.01")], Decimal("9" * 30 + ".01")),
        ("sum", [1e16, 1.0, -1e16], 1.0),
        ("sum", [0.1] * 10, 1.0),
        ("sum", [1.0, NAN, INF], NAN),
        ("sum", [1.0, INF], INF),
        ("sum", [-INF, INF], NAN),
        ("count", [1, None, NAN], 2),
        ("mean", [1, None, 2], 1.5),
        ("mean", [2**62, 2**62, 2**62], float(2**62)),
        ("mean", [Decimal("0.10"), Decimal("0.20")], 0.15),
        ("mean", [1.0, NAN], NAN),
        ("mean", [1.0, -INF], -INF),
        ("min", [3, None, -2], -2),
        ("max", ["a", "B", None], "a"),
        ("max", ["\uffff", "\U0001f600"], "\U0001f600"),
        ("min", [True, False], False),
        ("min", [1.0, NAN], NAN),
        ("max", [NAN, INF], NAN),
        ("max", [1.0, INF], INF),
        ("variance", [1, 2, 3, None], 1.0),
        ("variance", [5.0, 5.0], 0.0),
        ("variance", [1e9 + 1, 1e9 + 2, 1e9 + 3], 1.0),
        ("variance", [Decimal(1), Decimal(3)], 2.0),
        ("variance", [1.0, 2.0, NAN], NAN),
        ("variance", [1.0, INF], NAN),
        ("variance", [5.0, None], None),
        ("stddev", [2, 4, 4, 4, 5, 5, 7, 9], math.sqrt(32 / 7)),
        ("stddev", [5], None),
        ("stddev", [NAN], None),
        ("count_distinct", [1, 2, 1, None], 2),
        ("count_distinct", [NAN, float("nan"), 1.0], 2),
        ("count_distinct", [0.0, -0.0], 1),
        ("count_distinct", ["a", "A", ""], 3),
        ("first", [None, "b", "c"], "b"),
        ("last", ["a", "b", None], "b"),
    ],
)
def test_a_window_aggregate_of_known_values(kind, values, expected) -> None:
    found = windowed(kind, *values)
    assert type(found) is type(expected)
    assert found == expected or (math.isnan(expected) and math.isnan(found))


def test_last_n_is_newest_first_without_nulls() -> None:
    assert windowed("last_n", 1, 2, None, 4, n=2) == [4, 2]
    assert windowed("last_n", 1, None, n=3) == [1]
    assert windowed("last_n", None, n=3) is None


def test_count_counts_rows_and_count_of_a_column_its_values() -> None:
    assert ask(group({"type": "count", "window": "50us"}), rows((1, None), (2, None)), 9) == [2]
    assert ask(group({"type": "count", "column": "v", "window": "50us"}), rows((1, None), (2, 1)), 9) == [1]


def test_first_and_last_break_ties_by_the_order_of_rows() -> None:
    given = rows((9, 4, 2, "b"), (9, 4, 1, "c"), (9, 3, 9, "d"), (9, 4, 2, "a"), columns="at seen no v")
    for kind, expected in {"first": "d", "last": "b"}.items():
        assert ask(group({"type": kind, "column": "v", "window": "50us"}, ORDERED), given, 20) == [expected]
    ordered = ask(group({"type": "last_n", "column": "v", "window": "50us", "n": 9}, ORDERED), given, 20)
    assert ordered == [["b", "a", "c", "d"]]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_a_sum_beyond_64_bits_is_an_error_that_names_the_feature(value) -> None:
    assert windowed("sum", value) == value
    with pytest.raises(ValueOverflow, match=r"'f'.*int64"):
        windowed("sum", value, 1 if value > 0 else -1)


def test_a_decimal_sum_beyond_38_digits_is_an_error() -> None:
    with pytest.raises(ValueOverflow, match=r"decimal\(38,1\)"):
        windowed("sum", Decimal("9" * 37 + ".9"), Decimal("0.1"))


# --- empty, ttl, accuracy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sum", "count", "count_distinct"])
def test_what_counts_or_adds_up_is_zero_when_empty(kind) -> None:
    assert windowed(kind) == 0
    assert windowed(kind, None, None) == 0
    assert windowed(kind, None, empty=-1) == -1
    assert windowed(kind, None, empty=None) is None
    assert windowed(kind, 5, empty=-1) == {"sum": 5}.get(kind, 1)


@pytest.mark.parametrize("kind", ["mean", "min", "max", "variance", "stddev", "first", "last"])
def test_every_other_aggregate_is_null_when_empty(kind) -> None:
    assert windowed(kind) is None
    assert windowed(kind, None) is None
    assert windowed(kind, None, empty=-1) == -1


def test_one_value_has_no_variance_and_that_is_not_empty() -> None:
    assert windowed("variance", 5, empty=-1) is None


def test_a_value_is_dead_at_exactly_its_ttl_whatever_empty_says() -> None:
    asked = group(LATEST, ttl="5us", empty="none")
    assert ask(asked, rows((10, "v")), 10, 11, 14, 15, 99) == ["none", "v", "v", None, None]


def test_the_ttl_of_latest_runs_from_the_event_not_from_its_arrival() -> None:
    given = rows((10, 13, "v"), columns="at seen v")
    assert ask(group(LATEST, ARRIVING, ttl="5us"), given, 13, 14, 15) == [None, "v", None]


def test_an_exact_window_never_expires_offline() -> None:
    assert ask(group({**COUNT_5, "window": "50us"}, ttl="1us"), rows((10, 0)), 11, 60) == [1, 1]


@pytest.mark.parametrize(
    ("t", "expected"), [(0, -10), (1, -10), (2, 0), (11, 0), (12, 10), (-1, -10), (-8, -10), (-9, -20), (21, 10)]
)
def test_snapshot_accuracy_cuts_off_at_the_last_build_that_was_there(t, expected) -> None:
    asked = group(COUNT_5, accuracy="snapshot", every="10us", available_after="2us")
    assert cut_off(asked, t) == expected
    assert cut_off(group(COUNT_5), t) == t


def test_snapshot_accuracy_is_the_exact_value_at_the_cut_off() -> None:
    asked = group(COUNT_5, ARRIVING, accuracy="snapshot", every="10us", available_after="2us")
    given = rows((6, 6), (8, 12), (10, 10), (15, 15), columns="at seen")
    #                         c = 0  c = 10: 6 is in; 8 not yet arrived; 10 not before 10    c = 20: 15
    assert ask(asked, given, 11, 12, 21, 22) == [0, 1, 1, 1]


def test_under_snapshot_accuracy_latest_expires_by_its_event_and_a_window_by_its_cut_off() -> None:
    fields = {"accuracy": "snapshot", "every": "10us", "ttl": "13us"}
    assert ask(group(LATEST, **fields), rows((9, "v")), 10, 19, 21, 22) == ["v", "v", "v", None]
    window = group({**COUNT_5, "window": "50us"}, **fields)
    assert ask(window, rows((9, 0)), 10, 19, 22) == [1, 1, 1]
    short = replace(window, features=(replace(window.features[0], ttl_us=5, empty=-1),))
    # dead from 5 us after the cut-off on, empty or not: -1 at 14 comes from the unseen entity's living window
    assert ask(short, rows((9, 0)), 14, 15, 19) == [1, None, None]
    assert ask(short, rows((9, 0)), 14, 15, key=2) == [-1, None]


# --- online, entities, equality --------------------------------------------------------------------------------------


def test_online_latest_lives_by_its_event_and_a_window_by_its_build() -> None:
    given = rows((10, 3))
    fields = {"as_of_us": 12}
    newest, window = group(LATEST, ttl="5us", empty=-1), group(SUM, ttl="5us")
    for now, expected in {12: [3, 3], 14: [3, 3], 15: [None, 3], 16: [None, 3], 17: [None, None]}.items():
        assert [online(asked, given, [(1,)], now_us=now, **fields)[0]["f"] for asked in (newest, window)] == expected


def test_online_an_entity_never_seen_is_empty_while_the_build_lives() -> None:
    for asked, value in ((group(LATEST, ttl="5us", empty=-1), -1), (group(SUM, ttl="5us"), 0)):
        found = [online(asked, rows((10, 3)), [(2,), (None,)], as_of_us=12, now_us=now) for now in (16, 17)]
        assert found == [[{"f": value}] * 2, [{"f": None}] * 2]


def test_online_does_not_see_what_came_after_its_build() -> None:
    asked = group(SUM, accuracy="snapshot", every="10us")
    assert online(asked, rows((10, 3), (12, 4)), [(1,)], as_of_us=12, now_us=99) == [{"f": 3}]


def test_the_entities_of_an_instant_are_those_with_a_value_that_is_not_empty() -> None:
    table = [(1, 10, 5), (2, 3, 5), (3, 12, 5), (4, 11, None), (None, 11, 5)]
    given = [{"user": user, "at": at, "v": v} for user, at, v in table]
    assert entities(group(COUNT_5), given, 12) == {(1,), (4,)}
    assert entities(group(SUM), given, 12) == {(1,), (2,)}  # a null in the window is no input
    assert entities(group(LATEST), given, 12) == {(1,), (2,), (4,)}
    assert entities(group(LATEST), given, 12, passes=lambda row: None if row["v"] is None else True) == {(1,), (2,)}


def test_before_the_ttl_an_answer_carries_its_value_and_value_time() -> None:
    found = before_ttl(group(LATEST, ttl="1us"), rows((10, 3)), [((1,), 40), ((2,), 40)])
    assert [(answers["f"].value, answers["f"].time_us) for answers in found] == [(3, 10), (None, None)]
    window = before_ttl(group(SUM, ttl="1us"), rows((10, 3)), [((1,), 40)])
    assert (window[0]["f"].value, window[0]["f"].time_us) == (3, 40)


@pytest.mark.parametrize(
    ("expected", "found", "scale", "same"),
    [
        (1.0, 1.0 + 1e-10, 1.0, True),
        (1.0, 1.0 + 1e-8, 1.0, False),
        (1.0, 1.0 + 1e-10, 0.0, False),
        (0.0, 5e-7, 1e3, True),
        (1, 2, 1e12, False),  # integers are exact whatever the scale
        (NAN, NAN, 0.0, True),
        (NAN, 1.0, 1.0, False),
        (INF, INF, 1.0, True),
        (INF, 1e308, 1e308, False),
        (None, None, 0.0, True),
        (None, 0, 1.0, False),
        (True, 1, 0.0, False),
        ("1", 1, 0.0, False),
        (Decimal("1.10"), Decimal("1.1"), 0.0, True),
        ([1.0, NAN], [1.0, NAN], 0.0, True),
        ([1, 2], [2, 1], 0.0, False),
        ([1], [1, 1], 0.0, False),
        ([], None, 0.0, False),
    ],
)
def test_equality_is_exact_but_for_floats_within_their_scale(expected, found, scale, same) -> None:
    assert equal(expected, found, scale) is same


@pytest.mark.parametrize(
    ("kind", "scale"), [("sum", 6.0), ("mean", 2.0), ("variance", 14.0), ("max", 0.0), ("last", 0.0), ("count", 0.0)]
)
def test_the_scale_of_a_float_result_is_the_sum_of_its_inputs(kind, scale) -> None:
    asked = group({"type": kind, "column": "v", "window": "50us"})
    cells = evaluate(asked, rows((1, 1.0), (2, -2.0), (3, 3.0)), [((1,), 9)], scales=True)
    assert cells[0]["f__scale"] == scale


def test_a_standard_deviation_may_move_as_far_as_its_variance() -> None:
    asked = group({"type": "stddev", "column": "v", "window": "50us"})
    for values in ((1e8, 1e8 + 1, 1e8 + 2), (1e8, 1e8), (1.0, 5.0)):
        cells = evaluate(asked, rows(*enumerate(values)), [((1,), 9)], scales=True)[0]
        deviation, scale = cells["f"], cells["f__scale"]
        off = 1e-9 * sum(value * value for value in values)
        assert equal(deviation, math.sqrt(deviation**2 + 0.99 * off), scale)
        assert not equal(deviation, math.sqrt(deviation**2 + 3 * off), scale) or deviation**2 < off
