"""Forgetting reaches what is not live any more: replaced frames, earlier snapshots, files of killed runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.backends.files import ParquetTables
from timewell.errors import PromoteConflict, StateBusy, StateCorrupt, WrongColumnType
from timewell.stores.shadows import PromoteOrder, ShadowRecord, StagedPartition, staged_digest
from timewell.types import Interval

PERSON, OTHER = "anna@example.org", "otto@example.org"
GROUP = tw.FeatureGroup(
    name="payments",
    entity="email",
    source="payments",
    owner="t@company",
    features=[tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"))],
)


def rows(amount: int, time: str = "paid_at") -> pa.Table:
    instants = pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("us", tz="UTC"))
    return pa.table({"email": [PERSON, OTHER], time: instants, "amount": [amount] * 2})


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    return tw.FeatureStore.init(tmp_path / "shop", now="2026-02-01T00:00:00Z")


def holders(fs: tw.FeatureStore) -> list[str]:
    """Return every Parquet file below the state that names the person."""
    tables = {path: pq.read_table(path) for path in fs.project.state.rglob("*.parquet")}
    return [str(path) for path, table in tables.items() if PERSON in str(table.to_pylist())]


def test_no_frame_and_no_earlier_partition_holds_the_key(shop: tw.FeatureStore) -> None:
    for amount in (5, 7):  # the second frame replaces the first, and the partition made of it
        shop.register_source(tw.Source(name="payments", frame=rows(amount), event_time="paid_at"))
        shop.register_group(GROUP)
        shop.materialize_offline(start="2026-01-03", end="2026-01-03")
    (_, path), *_ = shop.offline_files("payments")
    pq.write_table(pq.read_table(path), path.with_name("2026-01-03T000000-killed.parquet"))
    assert len(holders(shop)) == 5

    report = shop.forget("email", {"email": PERSON})

    assert holders(shop) == []
    assert [finding for finding in shop.doctor() if not finding.sound] == []
    assert (report.partitions, report.earlier_files, report.snapshots, report.unnamed_files) == (1, 1, 1, 1)


def test_a_frame_that_an_old_version_still_reads_loses_the_key_and_stays_readable(shop: tw.FeatureStore) -> None:
    for amount, time in ((5, "paid_at"), (7, "booked_at")):
        shop.register_source(tw.Source(name="payments", frame=rows(amount, time), event_time=time))
        shop.register_group(GROUP, bump=True)

    shop.forget("email", {"email": PERSON})

    assert holders(shop) == []
    spine = pa.table({"email": ["otto@example.org"], "event_ts": ["2026-01-05T00:00:00Z"]})
    found = shop.get_historical_features(spine, ["paid_7d@v1", "paid_7d@v2"]).to_arrow()
    assert (found["paid_7d@v1"].to_pylist(), found["paid_7d@v2"].to_pylist()) == ([5], [7])


def test_an_entity_has_one_kind_of_key(shop: tw.FeatureStore) -> None:
    shop.register_source(tw.Source(name="payments", frame=rows(5), event_time="paid_at"))
    shop.register_group(GROUP)
    numbered = rows(5).set_column(0, "email", pa.array([1, 2]))
    shop.register_source(tw.Source(name="numbered", frame=numbered, event_time="paid_at"))
    feature = tw.Feature(name="other", aggregation=tw.count(window="7d"))

    with pytest.raises(WrongColumnType, match="string"):
        shop.register_group(GROUP.model_copy(update={"name": "g2", "source": "numbered", "features": (feature,)}))


@pytest.fixture
def built(shop: tw.FeatureStore) -> tw.FeatureStore:
    """A shop with one partition, whose file was replaced once."""
    for amount in (5, 7):
        shop.register_source(tw.Source(name="payments", frame=rows(amount), event_time="paid_at"))
        shop.register_group(GROUP)
        shop.materialize_offline(start="2026-01-03", end="2026-01-03")
    return shop


def replaced(fs: tw.FeatureStore) -> Path:
    """Return the place of the file that is not live any more."""
    live = {file.path for file, _ in fs.offline_files("payments")}
    [file] = [one for one in fs.project.registry.erasure.files("payments", "v1") if one.path not in live]
    return fs.project.tables.location(file)


def test_of_what_no_line_names_only_what_holds_the_key_or_cannot_be_read_is_deleted(built: tw.FeatureStore) -> None:
    [(_, path)] = built.offline_files("payments")
    held = pq.read_table(path)
    finished, torn, other, elsewhere = (
        path.with_name(".2026-01-03T000000-a.parquet.killed.tmp"),
        path.with_name(".2026-01-03T000000-b.parquet.killed.tmp"),
        path.with_name("2026-01-03T000000-other.parquet"),
        path.parent.parent.parent / "another" / "v1" / ".torn.tmp",
    )
    pq.write_table(held, finished)
    torn.write_bytes(path.read_bytes()[:-20])
    pq.write_table(held.slice(1), other)
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"of another entity")
    half_a_frame = built.project.state / "frames" / "..a.parquet.b.tmp"
    half_a_frame.write_bytes(PERSON.encode())

    report = built.forget("email", {"email": PERSON})

    assert report.unnamed_files == 2
    there = (finished.exists(), torn.exists(), other.exists(), elsewhere.exists(), half_a_frame.exists())
    assert there == (False, False, True, True, False)


def test_a_replaced_file_that_is_gone_holds_nobody(built: tw.FeatureStore) -> None:
    replaced(built).unlink()

    report = built.forget("email", {"email": PERSON})

    assert (report.partitions, report.earlier_files) == (1, 0)
    assert holders(built) == []


def test_from_a_damaged_file_nothing_can_be_erased_and_forgetting_says_which_and_then_completes(
    built: tw.FeatureStore,
) -> None:
    path = replaced(built)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(StateCorrupt, match=path.name) as damaged:
        built.forget("email", {"email": PERSON})

    assert "delete it, then forget again" in damaged.value.hint
    path.unlink()
    built.forget("email", {"email": PERSON})
    assert holders(built) == []


def test_two_people_are_forgotten_one_after_the_other(built: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tw.FeatureStore(built.project.root, now="2026-02-01T00:00:00Z")
    real, refused = ParquetTables.write, []

    def meanwhile(self: ParquetTables, *given: object) -> object:
        if not refused:
            with pytest.raises(StateBusy, match="forgetting stayed locked by another process"):
                second.forget("email", {"email": OTHER})
            refused.append(True)
        return real(self, *given)

    monkeypatch.setattr(ParquetTables, "write", meanwhile)
    built.forget("email", {"email": PERSON})
    second.forget("email", {"email": OTHER})
    second.close()

    assert refused
    assert holders(built) == []
    assert list((built.project.state / "offline").rglob("*.parquet")) == []
    assert [pq.read_table(path).num_rows for path in (built.project.state / "frames").iterdir()] == [0]


def test_what_was_computed_before_and_is_staged_afterwards_is_not_promoted(built: tw.FeatureStore) -> None:
    [(live, path)] = built.offline_files("payments")
    held = pq.read_table(path)

    built.forget("email", {"email": PERSON})

    shadows, by = built.project.registry.shadows, {"actor": "run@example.org", "at_us": 1}
    day = {"start_us": live.start_us, "end_us": live.end_us}
    shadows.open(ShadowRecord(id="late", group="payments", version="v1", kind="run", **day), **by)
    late = built.project.tables.write("payments", "v1", Interval(live.start_us, live.end_us), held)
    shadows.stage("late", [StagedPartition(file=late, base_file=live.id)])
    with pytest.raises(PromoteConflict):
        shadows.promote([PromoteOrder(shadow="late", staged_digest=staged_digest(shadows.staged("late")))], **by)
    assert built.forget("email", {"email": PERSON}).earlier_files == 1
    assert holders(built) == []
