"""Registering: all or nothing, versions are immutable, tests run first, and two processes at once lose nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import (
    DuplicateFeature,
    MissingColumn,
    MissingOwner,
    MissingTtl,
    SchemaChanged,
    TestsFailed,
    VersionConflict,
)

NOW = "2026-02-01T00:00:00Z"


def payments(amounts: pa.Array) -> pa.Table:
    instants = [f"2026-01-{day:02}T00:00:00Z" for day in range(1, len(amounts) + 1)]
    return pa.table({"user_id": [1, 2] * (len(amounts) // 2), "paid_at": instants, "amount": amounts})


@pytest.fixture
def shop(tmp_path: Path) -> tw.FeatureStore:
    """A project with ten payments of two users in a Parquet file."""
    fs = tw.FeatureStore.init(tmp_path / "shop", now=NOW)
    pq.write_table(payments(pa.array([float(number) for number in range(10)])), fs.project.root / "payments.parquet")
    fs.register_source(tw.Source(name="payments", path="payments.parquet", event_time="paid_at"))
    return fs


def feature(**changes: object) -> tw.Feature:
    fields: dict[str, object] = {
        "name": "paid_30d",
        "owner": "risk@company",
        "entity": "user_id",
        "source": "payments",
        "aggregation": tw.sum("amount", window="30d"),
        "ttl": "48h",
        "online": True,
    }
    return tw.Feature(**{**fields, **changes})


def test_a_changed_column_type_blocks_the_run_and_the_old_data_stays_served(shop: tw.FeatureStore) -> None:
    shop.register_feature(feature())
    shop.materialize_offline("paid_30d", start="2026-01-30", end="2026-01-31")
    shop.materialize_online()
    served = shop.get_online_features(["paid_30d"], [{"user_id": 1}]).to_dicts()
    files = shop.offline_files("paid_30d")
    text = pa.array([str(number) for number in range(10)])
    pq.write_table(payments(text), shop.project.root / "payments.parquet")

    for run in (
        shop.materialize_online,
        lambda: shop.materialize_offline("paid_30d", start="2026-01-30", end="2026-01-31"),
        lambda: shop.get_historical_features(pa.table({"user_id": [1], "ts": [NOW]}), ["paid_30d"]),
    ):
        with pytest.raises(SchemaChanged) as refused:
            run()
        for fact in ("payments", "amount", "float64", "string", "paid_30d"):
            assert fact in str(refused.value)

    assert shop.get_online_features(["paid_30d"], [{"user_id": 1}]).to_dicts() == served
    assert shop.offline_files("paid_30d") == files


def test_the_same_meaning_again_is_unchanged_and_metadata_makes_no_version(shop: tw.FeatureStore) -> None:
    actions = [
        shop.register_feature(definition).outcomes[0].action
        for definition in (feature(), feature(), feature(owner="other@company"), feature(freshness_sla="24h"))
    ]

    assert actions == ["created", "unchanged", "metadata", "metadata"]
    assert shop.list_features()[0].freshness_sla == "1d"


def test_a_changed_meaning_needs_a_version_and_bump_writes_the_next(shop: tw.FeatureStore) -> None:
    shop.register_feature(feature())
    changed = feature(filter="amount > 3")

    with pytest.raises(VersionConflict, match="filter"):
        shop.register_feature(changed)
    report = shop.register_feature(changed, bump=True)

    assert (report.outcomes[0].version, report.outcomes[0].action) == ("v2", "new_version")
    assert shop.catalog().live("paid_30d").compiled.version == "v1"
    again = shop.register_feature(changed, bump=True)
    assert (again.outcomes[0].version, again.outcomes[0].action) == ("v2", "unchanged")
    spine = pa.table({"user_id": [1, 2], "ts": [NOW, NOW]})
    both = shop.get_historical_features(spine, ["paid_30d", "paid_30d@v2"]).to_arrow()
    assert both.column_names == ["user_id", "ts", "paid_30d", "paid_30d@v2"]
    assert (both["paid_30d"].to_pylist(), both["paid_30d@v2"].to_pylist()) == ([20.0, 25.0], [18.0, 21.0])


def test_a_source_that_changes_its_meaning_leaves_registered_versions_as_they_were(shop: tw.FeatureStore) -> None:
    shop.register_feature(feature())
    spine = pa.table({"user_id": [1], "ts": ["2026-01-09T00:00:00Z"]})
    before = shop.get_historical_features(spine, ["paid_30d"]).to_arrow()

    shop.register_source(tw.Source(name="payments", path="payments.parquet", event_time="paid_at", closed="right"))

    assert shop.get_historical_features(spine, ["paid_30d"]).to_arrow().equals(before)
    with pytest.raises(VersionConflict, match="closed"):
        shop.register_feature(feature())
    shop.register_feature(feature(), bump=True)
    now = shop.get_historical_features(spine, ["paid_30d@v2"]).to_arrow()
    assert now["paid_30d@v2"].to_pylist() == [before["paid_30d"].to_pylist()[0] + 8.0]


@pytest.mark.parametrize(
    ("changes", "error", "fact"),
    [
        ({"owner": None}, MissingOwner, "paid_30d"),
        ({"ttl": None}, MissingTtl, "paid_30d"),
        ({"aggregation": tw.sum("amont", window="30d")}, MissingColumn, "Did you mean 'amount'"),
        ({"entity": "usr_id"}, MissingColumn, "Did you mean 'user_id'"),
        ({"filter": "amont > 3"}, MissingColumn, "Did you mean 'amount'"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(
    shop: tw.FeatureStore, changes: dict[str, object], error: type[Exception], fact: str
) -> None:
    before = shop.audit_log()

    with pytest.raises(error, match=fact):
        shop.register_feature(feature(**changes))

    assert (shop.list_features(), shop.audit_log()) == ([], before)


def test_one_mistake_in_a_folder_registers_none_of_it(shop: tw.FeatureStore) -> None:
    (shop.project.root / "features" / "a.yaml").write_text(
        "features:\n"
        "  - {name: good, owner: a@b, entity: user_id, source: payments, aggregation: {type: latest, column: amount}}\n"
        "  - {name: bad, owner: a@b, entity: user_id, source: payments, aggregation: {type: latest, column: amout}}\n"
    )

    with pytest.raises(MissingColumn, match=r"a\.yaml.*Did you mean 'amount'"):
        shop.apply()
    assert shop.list_features() == []


def test_a_feature_name_belongs_to_one_group(shop: tw.FeatureStore) -> None:
    shop.register_feature(feature())
    other = tw.FeatureGroup(
        name="other",
        entity="user_id",
        source="payments",
        owner="a@b",
        features=[tw.Feature(name="paid_30d", aggregation=tw.latest("amount"))],
    )
    with pytest.raises(DuplicateFeature, match="paid_30d"):
        shop.register_group(other)


def test_tests_of_a_feature_run_before_it_is_registered(shop: tw.FeatureStore) -> None:
    rows = [{"user_id": 7, "paid_at": "2026-01-01T00:00:00Z", "amount": 2.5}]
    example = {"type": "example", "rows": rows, "at": "2026-01-02T00:00:00Z", "expect": 2.5}
    good = [{"type": "range", "min": 0, "max": 100}, {"type": "null_rate", "max": 0}, {"type": "unique"}, example]

    report = shop.register_feature(feature(tests=good))
    assert [(outcome.test, outcome.passed) for outcome in report.tests] == [
        ("range", True),
        ("null_rate", True),
        ("unique", True),
        ("example", True),
    ]
    assert all(outcome.passed for outcome in shop.test("paid_30d"))

    for bad, words in (
        ({"type": "range", "max": 10}, "values lie in"),
        ({**example, "expect": 2.0}, "expected 2.0"),
        ({**example, "at": "2026-01-01T00:00:00Z"}, "found|0.0, expected 2.5"),  # strictly before: not seen yet
    ):
        with pytest.raises(TestsFailed, match=words):
            shop.register_feature(feature(name="other", tests=[bad]))
    assert [row.name for row in shop.list_features()] == ["paid_30d"]


def test_a_service_pins_what_is_live_and_keeps_its_names(shop: tw.FeatureStore) -> None:
    shop.register_feature(feature())
    shop.register_service(tw.FeatureService(name="risk_model", owner="a@b", features=["paid_30d"]))
    spine = pa.table({"user_id": [1], "ts": [NOW]})

    assert shop.catalog().service_references("risk_model") == ("paid_30d:paid_30d@v1",)
    assert shop.get_historical_features(spine, service="risk_model").features == ["paid_30d"]
    shop.materialize_online()
    assert shop.get_online_features(service="risk_model", entities=[{"user_id": 1}]).features == ("paid_30d",)


def test_two_processes_registering_at_once_lose_nothing(shop: tw.FeatureStore, scale: Callable[[int], int]) -> None:
    each = scale(200)
    code = (
        "import sys, timewell as tw; name = sys.argv[1];"
        f"fs = tw.FeatureStore({str(shop.project.root)!r}, now={NOW!r});"
        f"[fs.register_feature(tw.Feature(name=f'{{name}}_{{n}}', owner='a@b', entity='user_id', source='payments',"
        f" aggregation=tw.sum('amount', window='30d'))) for n in range({each})]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in ("first", "second")]

    assert [process.wait(timeout=500) for process in running] == [0, 0]
    assert len(shop.list_features()) == 2 * each
