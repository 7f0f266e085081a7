"""Features computed on read: never stored, and the same values, statuses and refusals as if they were."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.build.snapshot import filled_rows
from timewell.catalog.layout import RowLayout
from timewell.catalog.lookup import source_catalog
from timewell.clock import FrozenClock
from timewell.errors import (
    DefinitionError,
    InvalidKey,
    LimitExceeded,
    MissingColumn,
    MissingTtl,
    NotOnline,
    SourceUnreadable,
    StoreUnavailable,
)
from timewell.serve import computed
from timewell.serve.budgets import latency
from timewell.serve.computed import ComputedGroup, SharedSession

NOW = "2026-03-01T00:00:00Z"
PAID = ["paid_7d", "last_paid"]
USERS: list[dict[str, object]] = [{"user_id": 1}, {"user_id": 2}, {"user_id": 3}, {"user_id": None}]


def group(online: object = "computed", **changes: object) -> tw.FeatureGroup:
    fields = {"name": "payments", "entity": "user_id", "source": "payments", "owner": "risk@company", "ttl": "48h"}
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="last_paid", aggregation=tw.latest("amount")),
    ]
    return tw.FeatureGroup(**{**fields, "online": online, "features": features, **changes})


def paid(*rows: tuple[int, int, int | None]) -> pa.Table:
    """Payments as (user, day of February, amount)."""
    return pa.table(
        {
            "user_id": pa.array([user for user, _, _ in rows], pa.int64()),
            "event_time": [datetime(2026, 2, day, tzinfo=UTC) for _, day, _ in rows],
            "amount": pa.array([amount for _, _, amount in rows], pa.int64()),
        }
    )


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """User 1 paid 5 a day ago, user 2 paid 7 three days ago; nobody else paid anything."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    pq.write_table(paid((1, 28, 5), (2, 26, 7)), tmp_path / "shop" / "payments-1.parquet")
    fs.register_source(tw.Source(name="payments", path="payments-*.parquet", event_time="event_time"))
    return fs


def test_a_computed_feature_is_served_without_ever_being_materialized(shop: tw.FeatureStore) -> None:
    shop.register_group(group())

    answer = shop.get_online_features(PAID, USERS)

    assert answer.rows == [[5, 5], [7, None], [0, None], [0, None]]
    assert [list(row) for row in answer.row_statuses] == [
        ["present", "present"],
        ["present", "expired"],
        ["not_found", "not_found"],
        ["not_found", "not_found"],
    ]
    assert answer.as_of == {"payments": "2026-03-01T00:00:00Z"}
    assert not shop.project.online.builds()


def test_stored_and_computed_answer_alike_value_by_value_and_status_by_status(shop: tw.FeatureStore) -> None:
    shop.register_group(group())
    on_read = shop.get_online_features(PAID, USERS)
    shop.register_group(group(online=True))
    shop.materialize_online()

    stored = shop.get_online_features(PAID, USERS)

    assert on_read.rows == stored.rows
    assert [list(row) for row in on_read.row_statuses] == [list(row) for row in stored.row_statuses]


def test_each_read_sees_the_files_and_the_instant_of_the_moment(shop: tw.FeatureStore) -> None:
    shop.register_group(group())
    assert shop.get_online_features("paid_7d", USERS[:1]).rows == [[5]]

    pq.write_table(paid((1, 27, 100)), shop.project.root / "payments-2.parquet")
    assert shop.get_online_features("paid_7d", USERS[:1]).rows == [[105]]

    assert isinstance(shop.project.clock, FrozenClock)
    shop.project.clock.set("2026-03-07T00:00:00Z")
    assert shop.get_online_features("paid_7d", USERS[:1]).rows == [[5]]


def test_columns_of_one_request_come_from_a_build_and_from_the_source_in_the_order_asked_for(
    shop: tw.FeatureStore,
) -> None:
    mixed = group(
        online=True,
        features=[
            tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d"), online="computed"),
            tw.Feature(name="last_paid", aggregation=tw.latest("amount")),
            tw.Feature(name="paid_30d", aggregation=tw.sum("amount", window="30d"), online="computed"),
        ],
    )
    shop.register_group(mixed)
    [report] = shop.materialize_online()
    assert (report.action, report.rows) == ("built", 2)
    assert isinstance(shop.project.clock, FrozenClock)
    shop.project.clock.set("2026-03-01T01:00:00Z")
    pq.write_table(paid((1, 27, 100)), shop.project.root / "payments-2.parquet")

    answer = shop.get_online_features(["paid_30d", "last_paid", "paid_7d"], USERS[:1], max_staleness="1m")

    assert answer.rows == [[105, 5, 105]]
    assert list(answer.row_statuses[0]) == ["present", "stale", "present"]
    assert answer.as_of == {"payments": "2026-03-01T00:00:00Z"}, "the older of the two"


def test_snapshot_accuracy_serves_the_value_of_the_last_point_of_its_grid(shop: tw.FeatureStore) -> None:
    shop.register_group(group(accuracy="snapshot", every="1d", available_after="2h", ttl="72h"))
    assert isinstance(shop.project.clock, FrozenClock)
    shop.project.clock.set("2026-03-01T01:59:59Z")

    before = shop.get_online_features("paid_7d", USERS[:1], max_staleness="1h")
    shop.project.clock.set("2026-03-01T02:00:00Z")
    after = shop.get_online_features("paid_7d", USERS[:1], max_staleness="1h")

    assert (before.rows, list(before.row_statuses[0])) == ([[0]], ["not_found"])
    assert (after.rows, list(after.row_statuses[0])) == ([[5]], ["stale"])
    assert before.as_of == {"payments": "2026-02-28T00:00:00Z"}
    assert after.as_of == {"payments": "2026-03-01T00:00:00Z"}


def test_a_request_is_one_query_however_many_entities_it_names(
    shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.register_group(group())
    asked: list[int] = []

    def counted(session: Any, query: Any, probes: pa.Table, **how: bool) -> pa.Table:
        asked.append(probes.num_rows)
        return filled_rows(session, query, probes, **how)

    monkeypatch.setattr(computed, "filled_rows", counted)
    answer = shop.get_online_features(PAID, [*USERS, *USERS])

    assert asked == [3], "each entity once, and none for a key with a null in it"
    assert answer.rows[:4] == answer.rows[4:]


def test_a_key_of_the_wrong_type_is_refused_as_for_a_stored_feature(shop: tw.FeatureStore) -> None:
    shop.register_group(group())
    with pytest.raises(InvalidKey, match="user_id"):
        shop.get_online_features("paid_7d", [{"user_id": "1"}])


def test_more_entities_than_one_read_may_compute_are_refused_before_any_work(
    shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.register_group(group())
    monkeypatch.setattr(computed, "MOST_KEYS", 2)
    with pytest.raises(LimitExceeded, match="payments is computed on read: 3 is over the limit of 2"):
        shop.get_online_features("paid_7d", USERS)
    assert shop.get_online_features("paid_7d", [*USERS[:2], *USERS[:2]]).rows == [[5], [7], [5], [7]]


def test_materializing_by_name_says_that_nothing_is_stored_and_all_passes_it_over(shop: tw.FeatureStore) -> None:
    shop.register_group(group())
    [report] = shop.materialize_online("paid_7d")
    assert (report.action, report.rows, report.written) == ("computed", 0, 0)
    assert shop.materialize_online() == []
    assert not shop.project.online.builds()


def test_what_is_computed_from_now_on_leaves_the_store_with_the_next_build(shop: tw.FeatureStore) -> None:
    shop.register_group(group(online=True))
    shop.materialize_online()
    [before] = shop.project.registry.builds()

    shop.register_group(group())
    assert shop.get_online_features(PAID, USERS[:1]).rows == [[5, 5]]
    [report] = shop.materialize_online()

    [after] = shop.project.registry.builds()
    assert (report.action, report.rows) == ("built", 0)
    assert (before.rows, before.features) == (2, ("paid_7d", "last_paid"))
    assert (after.rows, after.features) == (0, ())
    assert shop.materialize_online("payments")[0].action == "computed"
    assert shop.get_online_features(PAID, USERS[:1]).rows == [[5, 5]]


def test_how_a_feature_is_served_makes_no_version(shop: tw.FeatureStore) -> None:
    hashes = set()
    for online in (True, False, "computed"):
        shop.register_group(group(online=online))
        hashes.add(shop.catalog().live("payments").compiled.content_hash)
    assert len(hashes) == 1
    assert [row.online for row in shop.list_features()] == ["computed", "computed"]


def test_an_offline_feature_beside_it_is_still_offline(shop: tw.FeatureStore) -> None:
    features = [
        tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
        tw.Feature(name="last_paid", aggregation=tw.latest("amount"), online=False),
    ]
    shop.register_group(group(features=features))
    with pytest.raises(NotOnline, match="last_paid"):
        shop.get_online_features(PAID, USERS)


def test_a_definition_says_true_false_or_computed_and_needs_a_ttl(shop: tw.FeatureStore) -> None:
    with pytest.raises(DefinitionError, match=r"'compute' is none of true, false, computed\."):
        group(online="compute")
    with pytest.raises(MissingTtl, match="paid_7d"):
        shop.register_group(group(ttl=None))


def test_the_last_update_of_a_computed_feature_is_now_less_what_its_source_lags(shop: tw.FeatureStore) -> None:
    late = tw.Source(name="late", path="payments-*.parquet", event_time="event_time", delay="1h")
    shop.register_source(late)
    shop.register_group(group())
    other = tw.Feature(name="late_7d", aggregation=tw.sum("amount", window="7d"))
    shop.register_group(group(name="late", source="late", features=[other]))
    now_s = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
    assert shop.get_last_update_epoch("paid_7d") == now_s
    assert shop.get_last_update_epoch("late_7d") == now_s - 3600


def test_a_source_that_cannot_be_read_costs_its_group_an_honest_status_and_the_others_nothing(
    shop: tw.FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    shop.register_group(group())
    pq.write_table(paid((1, 28, 5)), shop.project.root / "stored.parquet")
    shop.register_source(tw.Source(name="stored", path="stored.parquet", event_time="event_time"))
    kept = tw.Feature(name="kept_7d", aggregation=tw.sum("amount", window="7d"))
    shop.register_group(group(online=True, name="kept", source="stored", features=[kept]))
    shop.materialize_online()
    (shop.project.root / "payments-1.parquet").write_bytes(b"no parquet")

    answer = shop.get_online_features(["paid_7d", "kept_7d"], USERS[:1], defaults={"paid_7d": -1})

    assert (answer.rows, list(answer.row_statuses[0])) == ([[-1, 5]], ["default", "present"])
    assert answer.degraded
    assert "payments@v1 could not be computed" in caplog.text
    causes = {row.name: row.causes for row in latency(shop.project).rows}
    assert causes == {"": {"not_computed": 1}, "payments@v1": {"not_computed": 1}, "kept@v1": {}}
    with (shop.project.root / "timewell.toml").open("a", encoding="utf-8") as file:
        file.write('[serving]\non_unavailable = "error"\n')
    strict = tw.FeatureStore(shop.project.root, now=NOW)
    with pytest.raises(SourceUnreadable, match="payments"):
        strict.get_online_features("paid_7d", USERS[:1])


def test_an_event_loop_is_not_blocked_by_what_is_computed(
    shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.register_group(group())
    threads: list[threading.Thread] = []

    def watched(*asked: Any, **how: Any) -> pa.Table:
        threads.append(threading.current_thread())
        return filled_rows(*asked, **how)

    monkeypatch.setattr(computed, "filled_rows", watched)
    for _ in range(2):
        assert asyncio.run(shop.aget_online_features(PAID, USERS[:1])).rows == [[5, 5]]
    assert len(threads) == 2
    assert threading.main_thread() not in threads


# --- the engine's session --------------------------------------------------------------------------------------------


@pytest.fixture
def reads(shop: tw.FeatureStore) -> ComputedGroup:
    shop.register_group(group())
    catalog = shop.catalog()
    session = SharedSession(shop.project, source_catalog(shop.project, catalog))
    return ComputedGroup(RowLayout.of(catalog.live("payments"), PAID), session)


def key(reads: ComputedGroup, user: int) -> bytes:
    encoded = reads.layout.encode_key([user])
    assert encoded is not None
    return encoded


def test_one_session_answers_read_after_read_until_a_file_changes(
    shop: tw.FeatureStore, reads: ComputedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _opened(shop, monkeypatch)
    now_us = shop.project.clock.now_us()
    for _ in range(3):
        assert [row is not None for row in reads.read([key(reads, 1), key(reads, 9)], now_us).rows] == [True, False]
    assert len(opened) == 1

    pq.write_table(paid((9, 27, 1)), shop.project.root / "payments-1.parquet")
    assert [row is not None for row in reads.read([key(reads, 1), key(reads, 9)], now_us).rows] == [False, True]
    assert len(opened) == 2


def _opened(shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    opened: list[object] = []
    honest = shop.project.engine.session

    def counted(*how: object) -> object:
        opened.append(how)
        return honest(*how)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.project.engine, "session", counted)
    return opened


def test_a_failed_read_leaves_nothing_behind_for_the_next(shop: tw.FeatureStore, reads: ComputedGroup) -> None:
    file = shop.project.root / "payments-1.parquet"
    now_us, kept = shop.project.clock.now_us(), file.read_bytes()
    assert reads.read([key(reads, 1)], now_us).rows != [None]

    file.write_bytes(b"no parquet")
    with pytest.raises(SourceUnreadable, match="payments"):
        reads.read([key(reads, 1)], now_us)
    pq.write_table(paid((1, 28, 5)).drop_columns(["amount"]), file)
    with pytest.raises(MissingColumn, match="amount"):
        reads.read([key(reads, 1)], now_us)
    file.write_bytes(kept)
    assert reads.read([key(reads, 1)], now_us).rows != [None]


def test_a_read_waits_for_another_no_longer_than_it_was_told(shop: tw.FeatureStore, reads: ComputedGroup) -> None:
    now_us = shop.project.clock.now_us()
    with reads.engine.looking_at(reads.layout.group), pytest.raises(StoreUnavailable, match="payments"):
        reads.read([key(reads, 1)], now_us, timeout_s=0)
    assert reads.read([key(reads, 1)], now_us, timeout_s=0).rows != [None]


def test_threads_share_the_session_one_after_the_other(shop: tw.FeatureStore, reads: ComputedGroup) -> None:
    now_us, found = shop.project.clock.now_us(), []
    threads = [
        threading.Thread(target=lambda user=user: found.append((user, reads.read([key(reads, user)], now_us).rows)))
        for user in [1, 2, 9, 1, 2, 9]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {user: rows == [None] for user, rows in found} == {1: False, 2: False, 9: True}
    assert len(found) == len(threads)


def test_a_forked_process_opens_a_session_of_its_own(shop: tw.FeatureStore, reads: ComputedGroup) -> None:
    now_us = shop.project.clock.now_us()
    reads.read([key(reads, 1)], now_us)
    assert reads.engine._kept is not None
    before, reads.engine._kept.pid = reads.engine._kept.session, os.getpid() + 1  # as it looks after a fork

    reads.read([key(reads, 1)], now_us)

    assert reads.engine._kept.session is not before


def test_a_database_among_the_sources_is_let_go_after_each_read(
    shop: tw.FeatureStore, reads: ComputedGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    with duckdb.connect(str(shop.project.root / "sales.db")) as database:
        database.execute("CREATE TABLE sales AS SELECT 1 AS user_id, TIMESTAMPTZ '2026-02-27T00:00:00Z' AS at, 3 AS n")
    shop.register_source(tw.Source(name="sales", database="sales.db", table="sales", event_time="at"))
    feature = tw.Feature(name="sold_7d", aggregation=tw.sum("n", window="7d"))
    shop.register_group(group(name="sales", source="sales", features=[feature]))

    assert shop.get_online_features("sold_7d", USERS[:1]).rows == [[3]]
    with duckdb.connect(str(shop.project.root / "sales.db")) as database:
        database.execute("INSERT INTO sales VALUES (1, TIMESTAMPTZ '2026-02-27T00:00:00Z', 4)")
    assert shop.get_online_features("sold_7d", USERS[:1]).rows == [[7]]
