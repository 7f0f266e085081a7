"""The shop of the stories about backfills beside refreshes, and its other processes.

``refresh_worker.py PROJECT refresh`` lets rows come late and refreshes the last days until a file ``stop`` is there;
``refresh_worker.py PROJECT promote NAME`` promotes, waiting for a file ``go`` just before the one transaction.
"""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import timewell as tw
from timewell.backfill import promote
from timewell.errors import PromoteConflict
from timewell.types import format_instant

START = datetime(2025, 7, 1, tzinfo=UTC)
DAYS = 184  # until the end of the year
REFRESHED = 14  # days that an hourly run looks at
NOW = "2026-01-01T00:30:00Z"
HOUR_US = 3_600_000_000
USERS = 15


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def text(start_us: int) -> str:
    return format_instant(start_us)


def group(version: str = "v1") -> tw.FeatureGroup:
    left_out = {"filter": "kind <> 'refund'"} if version == "v2" else {}
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="orders_7d", aggregation=tw.count(window="7d")),
    ]
    return tw.FeatureGroup(
        name="paid", entity="user_id", source="orders", owner="a@b", ttl="30d", version=version, features=features,
        **left_out,
    )  # fmt: skip


def make(place: Path, *, days: int) -> tw.FeatureStore:
    """Make a project whose first version is live for some days."""
    fs = tw.FeatureStore.init(place, now=NOW)
    draw = random.Random(11)
    rows = [
        (user, day(0) + timedelta(minutes=draw.randrange(days * 1_440)), draw.randrange(100, 1_000))
        for user in range(USERS)
        for _ in range(days)
    ]
    write(place, "history", rows)
    register(fs, place)
    fs.materialize_offline(start=day(0), end=day(days))
    return fs


def opened(place: Path, like: tw.FeatureStore, version: str) -> tw.FeatureStore:
    """Make an empty project over the rows of another, at its present."""
    fs = tw.FeatureStore.init(place, now=text(like.project.clock.now_us()))
    register(fs, like.project.root, version)
    return fs


def register(fs: tw.FeatureStore, rows: Path, version: str = "v1") -> None:
    fs.register_source(tw.Source(name="orders", path=str(rows / "rows" / "*.parquet"), event_time="at"))
    fs.register_group(group(version))


def write(place: Path, name: str, rows: list[tuple[int, datetime, int]]) -> None:
    """Put a file of rows where the source looks, whole or not at all."""
    folder = place / "rows"
    folder.mkdir(exist_ok=True)
    user, at, amount = zip(*rows, strict=True)
    kind = ["refund" if paid % 10 == 0 else "order" for paid in amount]
    table = pa.table(
        {"user_id": user, "at": pa.array(at, pa.timestamp("us", tz="UTC")), "amount": amount, "kind": kind}
    )
    pq.write_table(table, folder / f"{name}.tmp")
    (folder / f"{name}.tmp").replace(folder / f"{name}.parquet")


def correct(place: Path) -> None:
    """Put the whole past right: every amount was too low by one."""
    table = pq.read_table(place / "rows" / "history.parquet")
    rows = zip(
        table["user_id"].to_pylist(),
        table["at"].to_pylist(),
        [paid + 1 for paid in table["amount"].to_pylist()],
        strict=True,
    )
    write(place, "history", list(rows))


def late_rows(place: Path, number: int, days: int = DAYS) -> None:
    """Let a few rows of a past day come late; which day depends on the number."""
    at = day(days - 2 - number % 5) + timedelta(hours=number % 24)
    write(place, f"late-{number:03}", [(number % USERS, at, 200 + number), ((number + 1) % USERS, at, 300 + number)])


def refresh(fs: tw.FeatureStore) -> int:
    """Do what an hourly run does; returns how many days it computed."""
    [report] = fs.materialize_offline("paid", start=day(DAYS - REFRESHED), end=day(DAYS))
    return report.computed


def keep_refreshing(place: Path) -> None:
    """Refresh until told to stop; the rests grow, so that somebody else gets a turn on the slowest machine too."""
    fs = tw.FeatureStore(place, now=NOW)
    number, rest_s = 0, 0.05
    while not (place / "stop").exists():
        late_rows(place, number)
        computed = refresh(fs)
        number, rest_s = number + 1, rest_s * 1.2
        print(json.dumps({"number": number, "computed": computed}), flush=True)
        (place / "refreshed").write_text(str(number))
        time.sleep(rest_s)
    fs.close()


def promote_at_once(place: Path, name: str) -> None:
    """Promote at the moment when everybody does; whoever is refused rebases and promotes again."""
    real = promote._fill_online

    def wait(*given: object) -> None:
        real(*given)  # type: ignore[arg-type]
        (place / f"ready-{name}").touch()
        while not (place / "go").exists():
            time.sleep(0.001)

    promote._fill_online = wait  # type: ignore[assignment]
    fs = tw.FeatureStore(place, now=NOW)
    found: dict[str, object] = {"told": None}
    try:
        [done] = fs.promote_shadow("paid")
        found["promoted"] = done.partitions
    except PromoteConflict as refused:
        found["told"] = refused.facts["starts"]
        found["rebased"] = fs.backfill("paid", rebase=True).computed
        found["promoted"] = sum(done.partitions for done in fs.promote_shadow("paid"))
    print(json.dumps(found), flush=True)
    fs.close()


def main() -> None:
    place, what = Path(sys.argv[1]), sys.argv[2]
    if what == "refresh":
        keep_refreshing(place)
    else:
        promote_at_once(place, sys.argv[3])


if __name__ == "__main__":
    main()
