"""The random worlds are good enough: they hold what goes wrong, and a broken oracle is told from the right one.

Each broken control changes one rule of the oracle by the least that makes it wrong. One that no world tells apart
would mean that an engine with the same fault passes.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from timewell.errors import ValueOverflow
from timewell.testing import aggregates, oracle
from timewell.testing.generators import MAX_GROUPS, MAX_PROBES, MAX_ROWS, World, WorldGroup, random_world

WORLDS = 100  # what an everyday run tries
RIGHT = {name: getattr(oracle, name) for name in dir(oracle) if callable(getattr(oracle, name))}


def cells(world: World) -> list[object]:
    """Every value of a world with its scale; an overflow as a word."""
    found: list[object] = []
    for group in world.groups:
        rows, probes, asked = world.rows(group), world.probes(group), {"passes": group.passes}
        try:
            offline = oracle.evaluate(group.compiled, rows, probes, as_of=world.as_of, scales=True, **asked)
            found += [(row[name], row[f"{name}__scale"]) for row in offline for name in group.dtypes]
        except ValueOverflow:
            found.append(("overflow", 0.0))
    return found


def differ(world: World, right: list[object]) -> bool:
    found = cells(world)
    return len(found) != len(right) or any(
        not oracle.equal(value, other, scale) for (value, scale), (other, _) in zip(right, found, strict=True)
    )


# --- broken controls -------------------------------------------------------------------------------------------------


def _inclusive(source, seen_us, at):
    return seen_us <= at


def _strict(source, seen_us, at):
    return seen_us < at


def _window_open_at_its_start(source, event_us, window_us, at):
    return at - window_us < event_us


def _window_closed_at_its_start(source, event_us, window_us, at):
    return at - window_us <= event_us


def _arrival_ignored(source, row, as_of):
    return RIGHT["visible_at"](source, row, "happened")


def _arrival_never_ignored(source, row, as_of):
    return RIGHT["visible_at"](source, row, "known")


def _arrival_trusted_always(source, row, as_of):
    return RIGHT["visible_at"](source.model_copy(update={"arrival_trusted_from": None}), row, as_of)


def _arrival_instead_of_the_later(source, row, as_of):
    seen = RIGHT["visible_at"](source, row, as_of)
    return row[source.arrival_time] if seen is not None and source.arrival_time and as_of == "known" else seen


def _null_arrival_visible(source, row, as_of):
    return RIGHT["visible_at"](source, row, as_of) or row.get(source.event_time)


def _without(part: int):
    """Leave one part out of the order of rows: 0 event time, 1 arrival, 2 sequence, 3 content."""

    def order(source, row, columns):
        parts = RIGHT["order"](source, row, columns)
        return (*parts[:part], *parts[part + 1 :])

    return order


def _version_without_arrival(group, row, columns):
    return RIGHT["version"](group, row, columns)[1:]


def _version_by_event_time(group, row, columns):
    return (row[group.source.event_time], *RIGHT["version"](group, row, columns))


def _first_version_wins(group, visible, columns):
    return RIGHT["winners"](group, visible[::-1], columns[:0])


def _nulls_highest(value):
    return (3,) if value is None else RIGHT["rank"](value)


def _filter_before_superseding(group, rows, key, at, as_of, passes):
    kept = [row for row in rows if oracle.is_kept(row, passes)]
    return RIGHT["counting_rows"](group, kept, key, at, as_of, None)


def _superseding_within_the_entity(group, row):
    fact = RIGHT["supersedes_by"](group, row)
    return fact if fact is None else (oracle.key_of(group, row), fact)


def _null_facts_are_each_their_own(group, row):
    source = group.source
    if any(row.get(column) is None for column in source.unique_on):
        return None
    return RIGHT["supersedes_by"](group, row)


def _alive_at_its_ttl(feature, time_us, now_us):
    return feature.ttl_us is None or time_us is None or now_us - time_us <= feature.ttl_us


def _ttl_a_microsecond_short(feature, time_us, now_us):
    return feature.ttl_us is None or time_us is None or now_us - time_us < feature.ttl_us - 1


def _latest_skips_nulls(feature, counting, source):
    return RIGHT["latest"](feature, [row for row in counting if row[feature.column] is not None], source)


def _null_latest_is_empty(feature, counting, source):
    answer = RIGHT["latest"](feature, counting, source)
    return replace(answer, value=feature.empty) if answer.value is None else answer


def _nulls_are_taken_in(feature, window):
    return (
        RIGHT["inputs"](replace(feature, column=None), window)
        if feature.type == "count"
        else oracle_inputs(feature, window)
    )


def oracle_inputs(feature, window):
    return RIGHT["inputs"](feature, window)


def _empty_is_always_null(feature, taken):
    return RIGHT["folded"](feature, taken) if taken else aggregates.Folded(value=None)


def _nulls_only_is_not_empty(feature, taken):
    zero = 0 if feature.type in {"sum", "count", "count_distinct"} else None
    return RIGHT["folded"](feature, taken) if taken else aggregates.Folded(value=zero)


def _towards_zero(group, t):
    if group.accuracy == "exact":
        return t
    return math.trunc((t - group.available_after_us) / group.every_us) * group.every_us


def _build_at_once(group, t):
    return RIGHT["cut_off"](replace(group, available_after_us=0), t)


def _null_keys_match(group, row):
    return tuple(row.get(group.source.column_of(name)) or 1 for name in group.entity.key_names)


def _fold(change):
    def fold(feature, taken):
        return change(feature, taken) or aggregates.fold(feature, taken)

    return fold


def _population_variance(feature, taken):
    if feature.type != "variance" or len(taken) < 2 or not all(map(math.isfinite, taken)):
        return None
    right = aggregates.fold(feature, taken)
    return replace(right, value=right.value * (len(taken) - 1) / len(taken))


def _nan_is_skipped(feature, taken):
    if feature.type not in {"sum", "min", "max"} or not any(map(aggregates.is_nan, taken)):
        return None
    left = [value for value in taken if not aggregates.is_nan(value)]
    return aggregates.fold(feature, left) if left else aggregates.Folded(value=feature.empty)


def _oldest_first(feature, taken):
    return aggregates.Folded(value=list(taken)[-feature.n :]) if feature.type == "last_n" else None


def _float_sums(feature, taken):
    if feature.type != "sum" or not all(isinstance(value, int) for value in taken):
        return None
    return aggregates.Folded(value=int(sum(map(float, taken))))


BROKEN = {
    "a row sees itself": ("is_visible", _inclusive),
    "a state does not count at its own instant": ("is_visible", _strict),
    "a window is open at its start": ("in_window", _window_open_at_its_start),
    "a window is closed at both ends": ("in_window", _window_closed_at_its_start),
    "arrival times are ignored": ("visible_at", _arrival_ignored),
    "arrival times hide rows although the question is what happened": ("visible_at", _arrival_never_ignored),
    "arrival times are trusted everywhere": ("visible_at", _arrival_trusted_always),
    "a row counts from its arrival alone": ("visible_at", _arrival_instead_of_the_later),
    "a row without arrival counts": ("visible_at", _null_arrival_visible),
    "ties are broken without the event time": ("order", _without(0)),
    "ties are broken without the arrival time": ("order", _without(1)),
    "ties are broken without the sequence": ("order", _without(2)),
    "ties are broken by the order of the file": ("order", _without(3)),
    "nulls are ordered last": ("rank", _nulls_highest),
    "nothing supersedes": ("supersedes_by", lambda group, row: None),
    "versions are chosen without the arrival time": ("version", _version_without_arrival),
    "versions are chosen by event time": ("version", _version_by_event_time),
    "versions are chosen by the order of the file": ("winners", _first_version_wins),
    "the filter comes before superseding": ("counting_rows", _filter_before_superseding),
    "facts do not move between entities": ("supersedes_by", _superseding_within_the_entity),
    "a null in unique_on is a fact of its own": ("supersedes_by", _null_facts_are_each_their_own),
    "an unknown filter keeps the row": ("is_kept", lambda row, passes: passes is None or passes(row) is not False),
    "a value lives at exactly its ttl": ("alive", _alive_at_its_ttl),
    "a ttl is a microsecond short": ("alive", _ttl_a_microsecond_short),
    "nothing expires": ("alive", lambda feature, time_us, now_us: True),
    "latest skips nulls": ("latest", _latest_skips_nulls),
    "latest takes a null for empty": ("latest", _null_latest_is_empty),
    "count of a column counts rows": ("inputs", _nulls_are_taken_in),
    "an empty window is null": ("folded", _empty_is_always_null),
    "empty cannot be overridden": ("folded", _nulls_only_is_not_empty),
    "the cut-off goes towards zero": ("cut_off", _towards_zero),
    "a build is there at once": ("cut_off", _build_at_once),
    "null keys match": ("key_of", _null_keys_match),
    "variance is the population's": ("fold", _fold(_population_variance)),
    "NaN is skipped": ("fold", _fold(_nan_is_skipped)),
    "last_n is oldest first": ("fold", _fold(_oldest_first)),
    "integers are summed as floats": ("fold", _fold(_float_sums)),
}


@pytest.fixture(scope="module")
def right() -> list[tuple[World, list[object]]]:
    return [(world, cells(world)) for world in map(random_world, range(WORLDS))]


@pytest.mark.parametrize("fault", BROKEN)
def test_the_worlds_of_an_everyday_run_find_the_fault(fault, right, monkeypatch) -> None:
    monkeypatch.setattr(oracle, *BROKEN[fault])
    found_by = [number for number, (world, expected) in enumerate(right) if differ(world, expected)]
    assert found_by, f"no world tells the oracle from one where {fault}"
    print(f"{fault}: {len(found_by)} of {len(right)} worlds, first {found_by[0]}")


def test_the_right_oracle_differs_from_itself_nowhere(right) -> None:
    assert not any(differ(world, expected) for world, expected in right)


# --- laws of the oracle itself ---------------------------------------------------------------------------------------


def test_the_order_of_a_file_changes_nothing(right) -> None:
    for world, expected in right:
        shuffled = {
            name: replace(drawn, rows=tuple(random.Random(0).sample(drawn.rows, len(drawn.rows))))
            for name, drawn in world.sources.items()
        }
        assert not differ(replace(world, sources=shuffled), expected)


def test_online_at_the_instant_of_its_build_is_offline(right) -> None:
    for world, _ in right[:50]:
        for group in (group for group in world.groups if group.compiled.accuracy == "exact"):
            rows, asked = world.rows(group), {"passes": group.passes}
            for key, t in world.probes(group):
                try:
                    offline = oracle.evaluate(group.compiled, rows, [(key, t)], **asked)[0]
                except ValueOverflow:
                    continue
                online = oracle.online(group.compiled, rows, [key], as_of_us=t, now_us=t, **asked)[0]
                assert all(oracle.equal(offline[name], online[name]) for name in offline)


# --- what the worlds hold --------------------------------------------------------------------------------------------


def traits(world: World) -> set[str]:
    """Name what there is in a world that engines get wrong."""
    found = {f"as of {world.as_of}"}
    if not world.spine:
        found.add("empty spine")
    for drawn in world.sources.values():
        found |= source_traits(drawn.source, drawn.rows)
    for group in world.groups:
        found |= group_traits(world, group)
    return found


def source_traits(source, rows) -> set[str]:
    found = {source.kind, f"closed {source.closed_side}"}
    found |= {
        name
        for name in ("arrival_time", "arrival_trusted_from", "sequence", "unique_on", "keys")
        if getattr(source, name)
    }
    if not rows:
        found.add("no rows")
    if source.arrival_time:
        times = [(row["event_ts"], row["arrived_ts"]) for row in rows]
        found |= {"late row" for event, seen in times if None not in (event, seen) and seen > event}
        found |= {"arrival before event" for event, seen in times if None not in (event, seen) and seen < event}
        found |= {"null arrival" for _, seen in times if seen is None}
    found |= {"null event time" for row in rows if row["event_ts"] is None}
    if any(count > 1 for count in Counter(tuple(map(repr, row.values())) for row in rows).values()):
        found.add("exact duplicate")
    values = [value for row in rows for value in row.values()]
    floats = [value for value in values if isinstance(value, float)]
    found |= {"NaN" for value in floats if math.isnan(value)} | {"infinity" for value in floats if math.isinf(value)}
    found |= {"-0.0" for value in floats if value == 0 and math.copysign(1, value) < 0}
    return found | {"null value" for value in values if value is None}


def group_traits(world: World, group: WorldGroup) -> set[str]:
    compiled, rows, probes = group.compiled, world.rows(group), world.probes(group)
    source = compiled.source
    found = {f"accuracy {compiled.accuracy}", "composite key" if len(compiled.entity.key_names) > 1 else "single key"}
    found |= {feature.type for feature in compiled.features}
    found |= {"ttl" for feature in compiled.features if feature.ttl_us is not None}
    found |= {"filter" for _ in [group.filter] if group.filter is not None}
    found |= {"unknown to the filter" for row in rows if group.passes is not None and group.passes(row) is None}
    found |= {"null key in spine" for key, _ in probes if None in key}
    found |= {"negative instant" for _, t in probes if t < 0}
    keyed = [(oracle.key_of(compiled, row), row) for row in rows]
    keyed = [(key, row) for key, row in keyed if key is not None and row["event_ts"] is not None]
    columns = oracle.read_columns(compiled, rows)
    ties = Counter((key, row["event_ts"]) for key, row in keyed)
    whole = Counter((key, oracle.order(source, row, columns)) for key, row in keyed)
    found |= {"tie in event time" for count in ties.values() if count > 1}
    found |= {"tie in everything" for count in whole.values() if count > 1}
    hot = Counter(key for key, _ in keyed).most_common(1)
    found |= {"hot key" for _, count in hot if count >= 8 and count > len(rows) / 2}
    return found | boundaries(world, group, keyed)


def boundaries(world: World, group: WorldGroup, keyed) -> set[str]:
    compiled, found = group.compiled, set()
    for key, t in world.probes(group):
        at = oracle.cut_off(compiled, t)
        for event in (row["event_ts"] for mine, row in keyed if mine == key):
            for feature in compiled.features:
                marks = {"t": at - event}
                marks |= {"t - w": at - event - feature.window_us} if feature.window_us else {}
                marks |= {"t - ttl": t - event - feature.ttl_us} if feature.is_latest and feature.ttl_us else {}
                found |= {f"exactly {name}" for name, off in marks.items() if off == 0}
                found |= {f"beside {name}" for name, off in marks.items() if abs(off) == 1}
    return found


LEAST_PERCENT = {
    "events": 50, "snapshots": 30, "closed left": 50, "closed right": 30, "arrival_time": 50, "sequence": 30,
    "unique_on": 20, "arrival_trusted_from": 10, "keys": 20, "as of known": 60, "as of happened": 10,
    "accuracy exact": 50, "accuracy snapshot": 40, "composite key": 40, "single key": 40, "ttl": 50, "filter": 50,
    "tie in event time": 80, "tie in everything": 50, "exact duplicate": 50, "late row": 50, "arrival before event": 30,
    "null arrival": 30, "null event time": 30, "null value": 80, "null key in spine": 40, "unknown to the filter": 30,
    "hot key": 30, "no rows": 2, "empty spine": 1, "negative instant": 20, "NaN": 20, "infinity": 10, "-0.0": 5,
    "exactly t": 60, "beside t": 60, "exactly t - w": 50, "beside t - w": 50, "exactly t - ttl": 20, "beside t - ttl": 20,
    "latest": 60, "sum": 15, "count": 15, "mean": 15, "min": 15, "max": 15, "stddev": 15, "variance": 15,
    "count_distinct": 15, "first": 15, "last": 15, "last_n": 15,
}  # fmt: skip


def test_the_worlds_are_biased_to_what_goes_wrong() -> None:
    worlds = [random_world(seed) for seed in range(300)]
    seen = Counter(trait for world in worlds for trait in traits(world))
    percent = {trait: 100 * seen[trait] / len(worlds) for trait in LEAST_PERCENT}
    print("\n".join(f"{trait:<24}{share:5.1f} %" for trait, share in sorted(percent.items())))
    rare = {trait: share for trait, share in percent.items() if share < LEAST_PERCENT[trait]}
    assert not rare


def test_the_worlds_stay_small() -> None:
    for world in map(random_world, range(100)):
        assert len(world.groups) <= MAX_GROUPS
        assert len(world.spine) <= MAX_PROBES
        assert all(len(drawn.rows) <= MAX_ROWS for drawn in world.sources.values())
        assert world.spine_table().num_rows == len(world.spine)
