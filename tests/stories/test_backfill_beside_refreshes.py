"""184 days are computed beside hourly refreshes of the same days, and still become live; so do two shadows at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import timewell as tw
from tests.stories import refresh_worker as world
from timewell.backfill import make
from timewell.errors import PromoteConflict
from timewell.stores.registry import FileRecord

WORKER = Path(world.__file__)
PATIENCE_S = 120
CHECKS = ("count", "null_rate", "mean")  # the correction touches every value a little

CHECKS_OF_A_CHANGE = (*CHECKS[:2], {"type": "mean", "direction": "down", "tolerance": 0.3})

Contents = dict[int, tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """184 days live in their first version."""
    fs = world.make(tmp_path / "shop", days=world.DAYS)
    yield fs
    fs.close()


def live(fs: tw.FeatureStore, version: str = "v1") -> Contents:
    """What every live partition holds: rows, digest of the rows, checksum of the file."""
    files = fs.project.registry.files("paid", version)
    return {file.start_us: (file.rows, file.content_digest, file.checksum) for file in files}


def fresh(fs: tw.FeatureStore, place: Path, days: int, version: str = "v1") -> Contents:
    """The same days, built by a new project that has never seen anything but the rows as they are now."""
    other = world.opened(place, fs, version)
    other.materialize_offline(start=world.day(0), end=world.day(days))
    found = live(other, version)
    other.close()
    return found


def staged(fs: tw.FeatureStore) -> dict[int, FileRecord]:
    [shadow] = [one for one in fs.project.registry.shadows.find("paid", status="open") if one.kind == "backfill"]
    return {part.file.start_us: part.file for part in fs.project.registry.shadows.staged(shadow.id)}


def differing(fs: tw.FeatureStore, first: Contents) -> list[str]:
    """The days whose live content moved since the first, and to something else than what is staged."""
    there, now = staged(fs), live(fs)
    moved = [start for start, content in now.items() if content != first[start]]
    return [world.text(start) for start in sorted(moved) if now[start][1] != there[start].content_digest]


class Hours:
    """Hours that pass while a backfill runs: in each, rows of past days come late and the hourly run notices them."""

    def __init__(self, fs: tw.FeatureStore) -> None:
        self.computed: list[int] = []
        self._fs, self._other = fs, tw.FeatureStore(fs.project.root, now=world.NOW)

    def progress(self, name: str, done: int, wanted: int) -> None:
        self.one()

    def one(self) -> None:
        for store in (self._fs, self._other):
            store.project.clock.move(world.HOUR_US)  # type: ignore[attr-defined]
        world.late_rows(self._fs.project.root, len(self.computed))
        self.computed.append(world.refresh(self._other))

    def close(self) -> None:
        self._other.close()


@pytest.fixture
def hours(shop: tw.FeatureStore) -> Iterator[Hours]:
    found = Hours(shop)
    yield found
    found.close()


def test_live_days_move_under_a_corrected_past_and_it_still_gets_promoted(shop, hours, tmp_path: Path) -> None:
    first = live(shop)
    world.correct(shop.project.root)
    report = shop.backfill("paid", start=world.day(0), end=world.day(world.DAYS), progress=hours.progress)
    assert (report.computed, report.skipped, report.pending) == (world.DAYS, 0, 0)
    assert len(hours.computed) > 5
    assert all(hours.computed), "every hour some live days changed"
    assert shop.validate_shadow_vs_prod("paid", CHECKS).passed

    with pytest.raises(PromoteConflict) as refused:
        shop.promote_shadow("paid")
    told = refused.value.facts["starts"]
    assert told == differing(shop, first)
    assert 0 < len(told) <= world.REFRESHED
    assert told[0] in str(refused.value)
    assert "--rebase" in refused.value.fix

    mended = shop.backfill("paid", rebase=True)
    assert (mended.computed, mended.skipped) == (len(told), world.DAYS - len(told))
    assert mended.validated is True
    again = shop.backfill("paid", rebase=True)
    assert (again.computed, again.skipped, again.validated) == (0, world.DAYS, None)

    hours.one()  # and once more between the rebase and the promote
    with pytest.raises(PromoteConflict) as refused:
        shop.promote_shadow("paid")
    told = refused.value.facts["starts"]
    assert told == differing(shop, first)
    assert shop.backfill("paid", rebase=True).computed == len(told)
    [done] = shop.promote_shadow("paid")

    assert (done.from_version, done.to_version) == ("v1", "v1")
    assert done.partitions == world.DAYS - world.REFRESHED, "what the hourly runs corrected is left as it lies"
    assert live(shop) == fresh(shop, tmp_path / "fresh", world.DAYS)
    [after] = shop.materialize_offline("paid", start=world.day(0), end=world.day(world.DAYS))
    assert (after.computed, after.skipped) == (0, world.DAYS)


def test_a_new_version_is_staged_beside_refreshes_of_the_old_one(shop, hours, tmp_path: Path) -> None:
    shop.register_group(world.group("v2"))
    report = shop.backfill("paid", start=world.day(0), end=world.day(world.DAYS), progress=hours.progress)
    assert (report.version, report.computed) == ("v2", world.DAYS)
    assert all(hours.computed)

    # rows that came late after their days had been staged: the same command computes those days again, and only those
    stale = shop.backfill("paid")
    assert 0 < stale.computed <= world.REFRESHED
    assert stale.computed + stale.skipped == world.DAYS
    assert shop.backfill("paid").computed == 0
    assert shop.validate_shadow_vs_prod("paid", CHECKS_OF_A_CHANGE).passed
    [done] = shop.promote_shadow("paid")
    assert (done.from_version, done.to_version, done.partitions) == ("v1", "v2", world.DAYS)
    assert live(shop, "v2") == fresh(shop, tmp_path / "fresh", world.DAYS, "v2")
    assert live(shop, "v1") == fresh(shop, tmp_path / "fresh_v1", world.DAYS, "v1"), "the hourly runs kept it fresh"

    hours.one()  # the hourly runs go on with the new version, and mend just what came late
    assert 0 < hours.computed[-1] <= 7
    assert live(shop, "v2") == fresh(shop, tmp_path / "later", world.DAYS, "v2")


def test_what_came_late_between_the_checks_and_the_promote_is_mended_by_the_next_hour(shop, hours, tmp_path) -> None:
    shop.register_group(world.group("v2"))
    shop.backfill("paid", start=world.day(0), end=world.day(world.DAYS))
    assert shop.validate_shadow_vs_prod("paid", CHECKS_OF_A_CHANGE).passed
    for _ in range(24):  # over midnight: a day more is complete, and the old version has it
        hours.one()
    [done] = shop.promote_shadow("paid")
    assert (done.to_version, done.partitions) == ("v2", world.DAYS), "no partition of the new version was refreshed"
    [report] = shop.materialize_offline("paid", start=world.day(0), end=world.day(world.DAYS + 1))
    assert 0 < report.computed < world.REFRESHED
    assert report.computed + report.skipped == world.DAYS + 1
    assert live(shop, "v2") == fresh(shop, tmp_path / "fresh", world.DAYS + 1, "v2")


def test_another_process_refreshes_all_the_while_and_it_still_gets_promoted(shop, tmp_path: Path) -> None:
    world.correct(shop.project.root)
    with started(shop, "refresh") as refreshing:
        waiting_for(shop, beyond=0)

        def progress(name: str, done: int, wanted: int) -> None:
            waiting_for(shop, beyond=refreshed(shop))  # at least one refresh between any two commits

        report = shop.backfill("paid", start=world.day(0), end=world.day(world.DAYS), progress=progress)
        assert report.computed == world.DAYS
        assert shop.validate_shadow_vs_prod("paid", CHECKS).passed
        done, told, rebased = None, [], []
        while done is None and len(rebased) < 40:
            try:
                [done] = shop.promote_shadow("paid")
            except PromoteConflict as refused:
                told.append(refused.facts["count"])
                rebased.append(shop.backfill("paid", rebase=True).computed)
        (shop.project.root / "stop").touch()
        out, _ = refreshing.communicate(timeout=PATIENCE_S)
    assert refreshing.returncode == 0
    assert done is not None, f"never promoted, though it was rebased {len(rebased)} times"
    assert rebased
    assert all(0 < count <= world.REFRESHED for count in told)
    assert all(computed <= world.REFRESHED for computed in rebased)
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) > 5
    assert all(line["computed"] for line in lines)
    assert live(shop) == fresh(shop, tmp_path / "fresh", world.DAYS)
    [after] = shop.materialize_offline("paid", start=world.day(0), end=world.day(world.DAYS))
    assert (after.computed, after.skipped) == (0, world.DAYS)
    assert all(finding.sound for finding in shop.doctor())


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_is_told_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = 40
    shop = world.make(tmp_path / "shop", days=days)
    first = live(shop)
    world.correct(shop.project.root)
    shop.backfill("paid", start=world.day(0), end=world.day(days))
    assert shop.validate_shadow_vs_prod("paid", CHECKS).passed
    with started(shop, "promote", "one") as one:
        until(shop.project.root / "ready-one")
        world.late_rows(shop.project.root, 0, days - 10)
        # two people who begin at the same moment find no open shadow, and each opens one
        monkeypatch.setattr(make, "open_shadow", lambda *_: None)
        assert shop.backfill("paid", start=world.day(0), end=world.day(days)).computed == days
        monkeypatch.undo()
        assert shop.validate_shadow_vs_prod("paid", CHECKS).passed
        with started(shop, "promote", "two") as two:
            until(shop.project.root / "ready-two")
            (shop.project.root / "go").touch()
            found = [json.loads(process.communicate(timeout=PATIENCE_S)[0]) for process in (one, two)]

    won, lost = sorted(found, key=lambda outcome: outcome["told"] is not None)
    assert (won["told"], won["promoted"]) == (None, days)
    week = sorted(first)[days - 12 : days - 5]
    assert lost["told"] == [world.text(start) for start in week], "just the days in whose windows the late rows are"
    assert lost["rebased"] == len(week)
    assert lost["promoted"] in {0, len(week)}, "none where the older rows had lost: what they become lies there already"
    assert live(shop) == fresh(shop, tmp_path / "fresh", days)
    promoted = [line for line in shop.history("paid") if line.partitions and line.shadow in backfills(shop)]
    assert sum(line.partitions for line in promoted) == days + lost["promoted"]
    assert shop.project.registry.shadows.find("paid", status="open") == []
    shop.close()


def backfills(fs: tw.FeatureStore) -> set[str]:
    return {shadow.id for shadow in fs.project.registry.shadows.find("paid") if shadow.kind == "backfill"}


def started(fs: tw.FeatureStore, *typed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", str(WORKER), str(fs.project.root), *typed]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def refreshed(fs: tw.FeatureStore) -> int:
    """How often the other process has refreshed."""
    told = fs.project.root / "refreshed"
    return int(told.read_text() or 0) if told.exists() else 0


def waiting_for(fs: tw.FeatureStore, *, beyond: int) -> None:
    ends = time.monotonic() + PATIENCE_S
    while refreshed(fs) <= beyond and time.monotonic() < ends:
        time.sleep(0.005)
    assert refreshed(fs) > beyond, "the other process does not refresh"


def until(place: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not place.exists() and time.monotonic() < ends:
        time.sleep(0.005)
    assert place.exists(), place
