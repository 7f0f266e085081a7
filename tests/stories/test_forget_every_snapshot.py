"""A person is forgotten in a project with a past: earlier snapshots, shadows, rollbacks, garbage. Every file is searched."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import PromoteRefused
from timewell.run.retire import retire

PERSON, CITY, STREET = "anna.forgetme@example.org", "Annaburg-on-Sea", "Annastrasse 9"
SECRETS = (PERSON, CITY, STREET)
RICH = 10**9  # what an order of hers costs at least, and no sum of anybody else's
OTHERS = [f"person-{number}@example.org" for number in range(5)]
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW, LATER = "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"
LOOSE = [{"type": "entity_diff", "tolerance": 1.0}]
Contents = dict[tuple[str, str, int | str], list[dict[str, object]]]


def orders(days: int, *, late: int = 0) -> pa.Table:
    """Two orders a day of everybody, and as many late ones of the first days as came in meanwhile."""
    draw = random.Random(16)
    rows = [
        (who, START + timedelta(days=day, hours=draw.randrange(24)), draw.randrange(1, 900), draw.random() < 0.2)
        for day in range(days)
        for who in (PERSON, *OTHERS)
        for _ in range(2)
    ]
    moment = START + timedelta(hours=5)
    rows += [(who, moment + timedelta(days=day), 1_000, False) for day in range(late) for who in (PERSON, *OTHERS)]
    who, at, amount, refund = zip(*rows, strict=True)
    hers = [one == PERSON for one in who]
    columns = {
        "email": who,
        "at": pa.array(at, pa.timestamp("us", tz="UTC")),
        "amount": [RICH + cost if mine else cost for cost, mine in zip(amount, hers, strict=True)],
        "refund": refund,
        "city": [CITY if one == PERSON else f"city of {one}" for one in who],
        "street": [STREET if one == PERSON else f"street of {one}" for one in who],
    }
    return pa.table(columns)


def feed(fs: tw.FeatureStore, rows: pa.Table) -> None:
    """Give the groups their orders: by a frame that Timewell keeps, and by a file of the user's own."""
    pq.write_table(rows, fs.project.root / "own.parquet")
    fs.register_source(tw.Source(name="kept", frame=rows, event_time="at"))
    fs.register_source(tw.Source(name="own", path="own.parquet", event_time="at"))


def group(name: str, version: str) -> tw.FeatureGroup:
    """``spend`` and ``trips`` have a sum and a place, ``paid`` the sum alone; from the second version on without refunds."""
    features = [tw.Feature(name=f"{name}_7d", aggregation=tw.sum("amount", window="7d"))]
    if name != "paid":
        where = tw.latest("city" if name == "spend" else "street")
        features.append(tw.Feature(name=f"{name}_where", aggregation=where))
    return tw.FeatureGroup(
        name=name,
        version=version,
        entity="email",
        source="own" if name == "trips" else "kept",
        owner="growth@company",
        ttl="60d",
        online=True,
        filter="not refund" if version != "v1" else None,
        features=features,
    )


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A shop with a past, on the second of February."""
    first = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    feed(first, orders(31))
    for name in ("spend", "trips", "paid"):
        first.register_group(group(name, "v1"))
    first.materialize_offline(start="2026-01-20", end="2026-01-31")
    first.materialize_online()
    first.close()

    fs = tw.FeatureStore(tmp_path / "shop", now=LATER)
    feed(fs, orders(32, late=25))  # the next daily run replaces days of the first
    fs.materialize_offline(start="2026-01-20", end="2026-02-01")
    fs.materialize_online()

    _promote_another_version(fs)
    _promote_days_twice(fs)
    _give_up_a_shadow(fs)
    fs.register_group(group("spend", "v2"))  # a backfill that stays open
    fs.backfill("spend", start="2026-01-20", end="2026-02-01")
    fs.validate_shadow_vs_prod("spend", LOOSE)
    fs.collect_garbage(wait="1h")  # what nobody needs is marked, and still there
    return fs


def _promote_another_version(fs: tw.FeatureStore) -> None:
    fs.register_group(group("trips", "v2"))
    fs.backfill("trips", start="2026-01-20", end="2026-02-01")
    fs.validate_shadow_vs_prod("trips", LOOSE)
    fs.promote_shadow("trips", force="refunds are out")
    fs.register_group(group("paid", "v2"))
    fs.backfill("paid", start="2026-01-30", end="2026-02-01")
    fs.promote_shadow("paid", force="refunds are out")
    retire(fs.project, "paid@v1", reason="refunds", yes=True)


def _promote_days_twice(fs: tw.FeatureStore) -> None:
    feed(fs, orders(32, late=29))
    fs.backfill("spend", start="2026-01-26", end="2026-01-28")
    fs.validate_shadow_vs_prod("spend", LOOSE)
    fs.promote_shadow("spend", force="late orders")
    fs.rollback("spend")
    fs.promote_shadow("spend", force="late orders after all")


def _give_up_a_shadow(fs: tw.FeatureStore) -> None:
    """A function of the user's own is wrong: the report says for whom, and the shadow is abandoned."""
    wrong = pa.table({"email": [PERSON, *OTHERS], "paid_7d": [RICH + 5, *range(5)]})
    fs.write_feature_partition("paid", "2026-01-31", wrong)
    report = fs.validate_shadow_vs_prod("paid", LOOSE)
    assert PERSON in str(report.to_dict())
    fs.abandon_shadow("paid")


def holders(root: Path) -> list[str]:
    """Return every file below a directory in which anything of hers is found, as bytes or as decoded values."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and _names(path))


def _names(path: Path) -> bool:
    raw = path.read_bytes()
    if any(secret.encode() in raw for secret in SECRETS):
        return True
    if raw[:4] == b"PAR1":
        rows = pq.read_table(path, partitioning=None)
        sums = [name for name in rows.column_names if name.endswith("_7d") or name == "amount"]
        rich = any(pc.any(pc.greater_equal(rows[name], RICH)).as_py() for name in sums)
        return rich or any(secret in str(rows.to_pylist()) for secret in SECRETS)
    if raw[:6] == b"SQLite":
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as opened:
            return any(secret in "\n".join(opened.iterdump()) for secret in SECRETS)
    return False


def contents(fs: tw.FeatureStore, *, of: str = "") -> Contents:
    """Return what every snapshot and every shadow holds, of one person or of everybody else."""
    registry, found = fs.project.registry, Contents()
    with closing(sqlite3.connect(fs.project.state / "registry.db")) as opened:
        snapshots = opened.execute("select group_name, version, id from snapshot").fetchall()
    held = {(name, version, number): registry.files(name, version, number) for name, version, number in snapshots}
    for shadow in registry.shadows.find():
        held[shadow.group, shadow.version, shadow.id] = [part.file for part in registry.shadows.staged(shadow.id)]
    for place, files in held.items():
        rows = fs.project.tables.read(files).to_pylist()
        found[place] = [row for row in rows if (row["email"] == of if of else row["email"] != PERSON)]
    return found


def served(fs: tw.FeatureStore, *names: str) -> list[dict[str, object]]:
    return fs.get_online_features(list(names), [{"email": who} for who in OTHERS]).to_dicts()


def clean_own_file(fs: tw.FeatureStore) -> None:
    path = fs.project.root / "own.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.filter(pc.not_equal(rows["email"], PERSON)), path)


def test_nothing_of_hers_is_found_in_any_file_and_nobody_elses_values_change(shop: tw.FeatureStore) -> None:
    root = shop.project.root
    before, offline = contents(shop), served(shop, "spend_7d", "trips_7d", "trips_where")
    found = holders(root)
    for part in ("own.parquet", ".timewell/registry.db", ".timewell/frames/", ".timewell/online/"):
        assert any(path.startswith(part) for path in found), part
    every = list((shop.project.state / "offline").rglob("*.parquet"))
    assert len([path for path in found if "/offline/" in path]) == len(every)
    assert len([rows for rows in contents(shop, of=PERSON).values() if rows]) == len(before)

    clean_own_file(shop)
    report = shop.forget("email", {"email": PERSON})

    assert holders(root) == []
    assert contents(shop) == before
    assert served(shop, "spend_7d", "trips_7d", "trips_where") == offline
    assert [item for item in shop.doctor() if not item.sound] == []
    assert report.partitions + report.earlier_files == len(every)
    assert min(report.earlier_files, report.partitions) > 50
    assert report.snapshots > 3
    assert report.reports == 4
    assert report.shadows == ("spend@v2",)
    shop.close()
    assert holders(root) == []


def test_rollbacks_and_promotes_work_as_before_and_bring_nobody_back(shop: tw.FeatureStore) -> None:
    root = shop.project.root
    clean_own_file(shop)
    shop.forget("email", {"email": PERSON})
    now = {file.start_us: file.content_digest for file, _ in shop.offline_files("spend")}

    taken = shop.rollback("spend")  # within a version: three days are as they were before the late orders

    restored = {file.start_us: file.content_digest for file, _ in shop.offline_files("spend")}
    assert taken.promotion.partitions == sum(restored[day] != now[day] for day in now) == 3
    shop.rollback("trips")  # between versions: offline and online
    assert shop.project.registry.epoch_map().live["trips"] == "v1"
    answer = shop.get_online_features(["trips_7d", "spend_7d"], [{"email": who} for who in (PERSON, *OTHERS)])
    assert set(answer.statuses[0].values()) == {"not_found"}
    assert all(set(one.values()) == {"present"} for one in answer.statuses[1:])
    assert holders(root) == []

    for name in ("trips", "spend@v1", "spend"):  # what was validated are other files than those that are there now
        with pytest.raises(PromoteRefused, match="other files than those that were validated"):
            shop.promote_shadow(name)
        assert shop.validate_shadow_vs_prod(name, LOOSE).partitions
        shop.promote_shadow(name, force="looked at")
    assert shop.project.registry.epoch_map().live == {"spend": "v2", "trips": "v2", "paid": "v2"}
    shop.materialize_offline(start="2026-01-20", end="2026-02-01")
    shop.materialize_online()
    assert holders(root) == []
    assert [item for item in shop.doctor() if not item.sound] == []


def test_the_next_daily_run_finds_the_same_rows_and_keeps_the_files(shop: tw.FeatureStore) -> None:
    shop.materialize_offline(start="2026-01-20", end="2026-02-01")
    clean_own_file(shop)
    shop.forget("email", {"email": PERSON})
    live = shop.offline_files("trips")

    shop.materialize_offline(start="2026-01-20", end="2026-02-01")

    assert [path for _, path in shop.offline_files("trips")] == [path for _, path in live]
    assert all(run.computed == 0 for run in shop.materialize_offline(start="2026-01-20", end="2026-02-01"))


def test_forgetting_again_does_nothing(shop: tw.FeatureStore) -> None:
    clean_own_file(shop)
    shop.forget("email", {"email": PERSON})
    epoch = shop.project.registry.epoch()
    files = {path: path.stat().st_mtime_ns for path in (shop.project.state / "offline").rglob("*") if path.is_file()}

    report = shop.forget("email", {"email": PERSON})

    counts = (report.online_rows, report.offline_rows, report.partitions, report.earlier_files, report.snapshots)
    assert counts == (0, 0, 0, 0, 0)
    assert (report.unnamed_files, report.reports, report.frame_rows, report.shadows) == (0, 0, 0, ())
    assert shop.project.registry.epoch() == epoch
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_later_collection_finds_everything_in_order(shop: tw.FeatureStore) -> None:
    clean_own_file(shop)
    shop.forget("email", {"email": PERSON})

    shop.collect_garbage(wait="0")

    known = shop.project.registry.garbage.paths()
    root = shop.project.state / "offline"
    assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == known
    assert shop.project.registry.check() == []
    assert holders(shop.project.root) == []
