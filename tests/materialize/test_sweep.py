"""A sweep removes every row that no later request can tell from an absent one, and no other."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

import timewell as tw
from timewell.catalog.layout import RowLayout
from timewell.cli import main
from timewell.clock import FrozenClock
from timewell.errors import NeverMaterialized, StateBusy
from timewell.materialize import sweep as module
from timewell.materialize.claim import claimed
from timewell.materialize.sweep import CLOCKS_DIFFER_US, sweep
from timewell.stores.online import BuildMark
from timewell.stores.registry import OnlineBuildRecord
from timewell.types import DAY_US, HOUR_US, format_instant, parse_instant

STATED_BUILDS = 400
USERS = 8
ABSENT = 99
START_US = parse_instant("2026-03-01T00:00:00Z")
NAMES = ("orders", "ticket", "last_a", "last_b", "last_or_zero")


def opened(place: Path) -> tw.FeatureStore:
    """Make a project with windows and latest values of several ttls, one of them with an ``empty`` value."""
    fs = tw.FeatureStore.init(place, now="2026-03-01T00:00:00Z")
    rows = pa.table(
        {"user_id": [1], "at": pa.array([START_US - HOUR_US], pa.timestamp("us", tz="UTC")), "amount": [1.5]}
    )
    fs.register_source(tw.Source(name="events", frame=rows, event_time="at"))
    features = [
        tw.Feature(name="orders", aggregation=tw.count(window="7d"), ttl="4d"),
        tw.Feature(name="ticket", aggregation=tw.mean("amount", window="7d"), ttl="2d"),
        tw.Feature(name="last_a", aggregation=tw.latest("amount"), ttl="3d"),
        tw.Feature(name="last_b", aggregation=tw.latest("amount"), ttl="9d"),
        tw.Feature(name="last_or_zero", aggregation=tw.latest("amount"), ttl="3d", empty=0),
    ]
    group = tw.FeatureGroup(
        name="g", entity="user_id", source="events", owner="a@b", ttl="30d", online=True, features=features
    )
    fs.register_group(group)
    return fs


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One build of random rows, published, and the clock set to the instant of the sweep."""

    names: tuple[str, ...]
    moments: list[int]


def draw_build(fs: tw.FeatureStore, seed: int) -> Drawn:
    draw = random.Random(seed)
    group = fs.catalog().live("g")
    names = tuple(name for name in NAMES if draw.random() < 0.5) or (draw.choice(NAMES),)
    layout = RowLayout.of(group, names)
    as_of_us = START_US + draw.randrange(48) * HOUR_US
    births = [as_of_us - draw.choice([0, 1, *range(0, 10 * DAY_US, DAY_US)]) for _ in range(3)]
    rows = []
    for user in range(USERS):
        key = layout.encode_key([user])
        assert key is not None
        values = [draw.choice([None, 0.0, 1.5]) for _ in names]
        values = [int(value or 0) if name == "orders" else value for name, value in zip(names, values, strict=True)]
        times = [draw.choice([None, *births]) for name in names if name.startswith("last")]
        if draw.random() < 0.9:
            rows.append((key, layout.codec.encode(values, times)))
    mark = BuildMark(
        as_of_us=as_of_us,
        lease_epoch=0,
        refresh_seq=0,
        rows=0,
        data_through_us=as_of_us,
        schema_hash=layout.codec.schema_hash,
    )
    build = f"g/v1/{seed}"
    mark = fs.project.online.load(build, rows, mark).mark
    record = OnlineBuildRecord(
        group="g",
        version="v1",
        build=build,
        features=names,
        as_of_us=as_of_us,
        data_through_us=as_of_us,
        refresh_seq=mark.refresh_seq,
        rows=mark.rows,
        run_end_us=as_of_us,
    )
    fs.project.registry.publish_build(record, actor="t", at_us=as_of_us)
    fs._reader.forget_epoch()
    ttls = [feature.ttl_us or 0 for feature in layout.features]
    deaths = sorted({birth + ttl + beside for birth in [as_of_us, *births] for ttl in ttls for beside in (-1, 0)})
    swept_us = draw.choice([as_of_us, *deaths, as_of_us + 30 * DAY_US]) + draw.choice([0, CLOCKS_DIFFER_US])
    swept_us = max(swept_us, as_of_us)
    cast("FrozenClock", fs.project.clock).set(format_instant(swept_us))
    from_us = swept_us - CLOCKS_DIFFER_US
    return Drawn(names=names, moments=[from_us, *(death for death in deaths if death > from_us), deaths[-1] + DAY_US])


def answers(fs: tw.FeatureStore, drawn: Drawn) -> dict[int, list[object]]:
    """Return, for each user and one who was never seen, every answer from the sweep on, statuses included."""
    clock, users = cast("FrozenClock", fs.project.clock), [*range(USERS), ABSENT]
    swept_us, told = clock.now_us(), {user: [] for user in users}
    for moment_us in drawn.moments:
        clock.set(format_instant(moment_us))
        for limit in (None, "1d"):
            found = fs.get_online_features(drawn.names, [{"user_id": user} for user in users], max_staleness=limit)
            for user, values, statuses in zip(users, found.to_dicts(), found.statuses, strict=True):
                told[user].append((moment_us, limit, values, statuses))
    clock.set(format_instant(swept_us))
    return told


def users_held(fs: tw.FeatureStore) -> set[int]:
    [record] = fs.project.registry.builds()
    encode = fs.catalog().live("g")
    keys = {RowLayout.of(encode).encode_key([user]): user for user in range(USERS)}
    return {keys[key] for key, _ in fs.project.online.scan(record.build)}


def differences(fs: tw.FeatureStore, seed: int) -> Iterator[str]:
    """Sweep one random build; yield every answer that changed, and every row that stayed for nothing."""
    drawn = draw_build(fs, seed)
    before, held = answers(fs, drawn), users_held(fs)
    [planned] = sweep(fs.project, dry_run=True)
    [done] = sweep(fs.project)
    [again] = sweep(fs.project)
    after, left = answers(fs, drawn), users_held(fs)
    for user, told in before.items():
        for old, new in zip(told, after[user], strict=True):
            if old != new:
                yield f"seed {seed}: user {user} was told {old}, and {new} after the sweep"
    useless = {user for user in held if before[user] == before[ABSENT]}
    if held - left != useless:
        yield f"seed {seed}: {held - left} went, {useless} could not be told from an absent row"
    counts = [(report.rows, report.removed) for report in (planned, done, again)]
    gone = len(held) - len(left)
    if counts != [(len(held), gone), (len(held), gone), (len(left), 0)] or planned.bytes != done.bytes:
        yield f"seed {seed}: {counts} were reported, {gone} of {len(held)} went"


def test_no_later_answer_changes_and_nothing_stays_for_nothing(tmp_path: Path, scale: Callable[[int], int]) -> None:
    fs = opened(tmp_path / "shop")
    found = [told for seed in range(scale(STATED_BUILDS)) for told in differences(fs, seed)]
    removed = sum(row.detail["removed"] for row in fs.audit_log(limit=10_000) if row.action == "sweep")
    fs.close()
    assert not found, found[:3]
    assert removed > scale(STATED_BUILDS) // 2, "the drawn builds hold too little that is dead"


@pytest.mark.parametrize("flaw", ["an expired value may go", "a build is older than it is", "one microsecond early"])
def test_a_sweep_that_changes_an_answer_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: str) -> None:
    honest = module.latest_rules

    def broken(layout, as_of_us, now_us):
        if flaw == "an expired value may go":
            rules = honest(layout, as_of_us, now_us)
            ttls = [feature.ttl_us for feature in layout.features if feature.is_latest]
            return rules and [rule._replace(youngest_us=now_us - ttl) for rule, ttl in zip(rules, ttls, strict=True)]
        if flaw == "one microsecond early":
            return honest(layout, as_of_us, now_us + 1)
        return honest(layout, as_of_us - 30 * DAY_US, now_us)

    monkeypatch.setattr(module, "latest_rules", broken)
    fs = opened(tmp_path / "shop")
    assert any(told for seed in range(40) for told in differences(fs, seed))
    fs.close()


def built(fs: tw.FeatureStore) -> tw.FeatureStore:
    fs.materialize_online()
    return fs


def test_a_sweep_is_audited_and_keeps_the_figures_of_the_run(tmp_path: Path) -> None:
    fs = built(opened(tmp_path / "shop"))
    [before] = fs.project.registry.builds()
    cast("FrozenClock", fs.project.clock).set("2026-04-01T00:00:00Z")
    [report] = sweep(fs.project, "last_b")
    assert (report.group, report.version, report.rows, report.removed) == ("g", "v1", 1, 1)
    assert report.bytes > 0
    [after] = fs.project.registry.builds()
    assert (after.rows, after.refresh_seq) == (0, before.refresh_seq + 1)
    assert (after.as_of_us, after.run_end_us, after.build) == (before.as_of_us, before.run_end_us, before.build)
    [line] = [row for row in fs.audit_log(subject="g") if row.action == "sweep"]
    assert (line.detail["removed"], line.detail["build"]) == (1, before.build)
    sweep(fs.project)
    assert len([row for row in fs.audit_log() if row.action == "sweep"]) == 1, "nothing went the second time"
    fs.close()


def test_a_refresh_after_a_sweep_serves_what_it_would_have_served(tmp_path: Path) -> None:
    fs = built(opened(tmp_path / "shop"))
    cast("FrozenClock", fs.project.clock).set("2026-04-01T00:00:00Z")
    sweep(fs.project)
    [report] = fs.materialize_online()
    assert (report.action, report.written) == ("refreshed", 1)
    [told] = fs.get_online_features(["last_b"], [{"user_id": 1}]).statuses
    assert told == {"last_b": "expired"}
    fs.close()


def test_a_build_that_is_refreshed_in_time_is_not_even_read(tmp_path: Path) -> None:
    fs = built(opened(tmp_path / "shop"))
    [report] = sweep(fs.project)
    assert (report.rows, report.looked_at, report.removed) == (1, 0, 0)
    fs.close()


def test_a_build_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    fs = built(opened(tmp_path / "shop"))
    with claimed(fs.project, "g@v1"):
        assert [report.busy for report in sweep(fs.project)] == [True]
        with pytest.raises(StateBusy):
            sweep(fs.project, "g")
    fs.close()


def test_a_feature_without_an_online_build_is_named(tmp_path: Path) -> None:
    fs = opened(tmp_path / "shop")
    assert sweep(fs.project) == []
    with pytest.raises(NeverMaterialized, match="orders"):
        sweep(fs.project, "orders")
    fs.close()


def test_an_emptied_store_has_nothing_to_sweep(tmp_path: Path) -> None:
    fs = built(opened(tmp_path / "shop"))
    fs.project.online.drop(fs.project.online.builds()[0])
    [report] = sweep(fs.project)
    assert (report.rows, report.removed) == (0, 0)
    fs.close()


def test_a_key_that_is_erased_meanwhile_stays_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = opened(tmp_path / "shop")
    seed = next(seed for seed in range(100) if len(dead_and_alive(fs, seed)) >= 3)
    draw_build(fs, seed)
    first, *others = sorted(dead_and_alive(fs, seed))
    key = RowLayout.of(fs.catalog().live("g")).encode_key([first])
    assert key is not None
    honest, erased = module._batches, []

    def meanwhile(parts):
        for batch in honest(parts):
            if not erased:
                erased.append(fs.project.online.erase(fs.project.registry.builds()[0].build, [key]))
            yield batch

    monkeypatch.setattr(module, "_batches", meanwhile)
    [report] = sweep(fs.project)
    assert erased == [1]
    assert report.removed == len(others)
    assert first not in users_held(fs)
    fs.close()


def dead_and_alive(fs: tw.FeatureStore, seed: int) -> set[int]:
    """Return the users whose rows may go in a drawn build."""
    drawn = draw_build(fs, seed)
    told = answers(fs, drawn)
    return {user for user in users_held(fs) if told[user] == told[ABSENT]}


def test_the_command_counts_and_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built(opened(tmp_path / "shop")).close()
    options = ["--project", str(tmp_path / "shop"), "--now", "2026-04-01T00:00:00Z"]
    assert main(["sweep", "--dry-run", *options]) == 0
    assert "would go" in capsys.readouterr().out
    assert main(["sweep", "g", "--json", *options]) == 0
    [report] = json.loads(capsys.readouterr().out)["groups"]
    assert (report["group"], report["removed"], report["dry_run"]) == ("g", 1, False)
    assert main(["sweep", *options]) == 0
    assert main(["sweep", "nothing", *options]) == 2
