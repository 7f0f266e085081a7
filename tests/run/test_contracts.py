"""What a feature promises is held: on register, in partitions, before a promote, and before anything is served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import timewell as tw
from timewell.define.contract import taken_back
from timewell.errors import (
    BuildRefused,
    ContractConflict,
    ContractMismatch,
    PromoteRefused,
    TestsFailed,
    TimewellError,
)
from timewell.watch.round import watch

NOW = "2026-01-10T00:00:00Z"
AT = 1_767_830_400_000_000  # 2026-01-08
DAY = 86_400_000_000


def write(fs: tw.FeatureStore, balances: list[float | None], tiers: list[str] | None = None) -> None:
    rows = len(balances)
    table = pa.table(
        {
            "user_id": list(range(rows)),
            "at": pa.array([AT + number for number in range(rows)], pa.timestamp("us", tz="UTC")),
            "balance": pa.array(balances, pa.float64()),
            "tier": tiers or ["gold"] * rows,
        }
    )
    pq.write_table(table, fs.project.root / "balances.parquet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tw.FeatureStore.init(tmp_path_factory.mktemp("made") / "bank", now=NOW)
    write(store, [1.0, 2.0, 3.0])
    store.register_source(tw.Source(name="balances", kind="snapshots", path="balances.parquet", event_time="at"))
    store.close()
    return store.project.root


@pytest.fixture
def fs(made: Path, tmp_path: Path) -> Iterator[tw.FeatureStore]:
    store = tw.FeatureStore(shutil.copytree(made, tmp_path / "bank", symlinks=True), now=NOW)
    yield store
    store.close()


def group(
    contract: object, *, version: str = "v1", tier: object = None, ttl: str = "30d", **more: object
) -> tw.FeatureGroup:
    features = [
        tw.Feature(name="balance", aggregation=tw.latest("balance"), contract=contract),
        tw.Feature(name="tier", aggregation=tw.latest("tier"), contract=tier),
    ]
    return tw.FeatureGroup(
        name="account", entity="user_id", source="balances", owner="bank@company", version=version, online=True,
        ttl=ttl, features=features, **more,
    )  # fmt: skip


def served(fs: tw.FeatureStore) -> list[object]:
    return [row[0] for row in fs.get_online_features(["balance"], [{"user_id": user} for user in range(3)]).rows]


# --- register --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        ({"dtype": "int64"}, "the contract says dtype int64, the definition gives float64"),
        ({"categories": ["a"]}, "its values are float64, and not all of the categories are"),
    ],
)
def test_a_contract_that_the_definition_cannot_keep_is_refused(
    fs: tw.FeatureStore, contract: object, said: str
) -> None:
    with pytest.raises(ContractMismatch, match=said):
        fs.register_group(group(contract))
    assert not fs.list_features()


def test_bounds_of_what_is_no_number_are_refused(fs: tw.FeatureStore) -> None:
    with pytest.raises(ContractMismatch, match="min and max are for numbers"):
        fs.register_group(group(None, tier={"min": 1}))


def test_the_value_of_an_empty_window_has_to_keep_the_contract(fs: tw.FeatureStore) -> None:
    feature = {"name": "n", "entity": "user_id", "source": "balances", "owner": "x", "contract": {"min": 1}}
    with pytest.raises(ContractMismatch, match="where no row counts its value is 0"):
        fs.register_feature({**feature, "aggregation": {"type": "count", "window": "7d"}})


@pytest.mark.parametrize(
    ("contract", "said"),
    [
        ({"min": 2, "unit": "EUR"}, r"balance contract range: 1 of 3 values not in at least 2 EUR, such as 1\.0"),
        ({"max": 2.5}, r"1 of 3 values not in at most 2\.5, such as 3\.0"),
        ({"categories": [1, 2.0]}, r"1 of 3 values none of the categories \(1, 2\.0\), such as 3\.0"),
    ],
)
def test_values_that_break_a_contract_refuse_the_registration(fs: tw.FeatureStore, contract: object, said: str) -> None:
    with pytest.raises(TestsFailed, match=said):
        fs.register_group(group(contract))
    assert not fs.list_features()


def test_nulls_are_found_and_nan_lies_in_no_bounds(fs: tw.FeatureStore) -> None:
    write(fs, [1.0, None, float("nan")])
    with pytest.raises(TestsFailed, match="balance contract nullable: 1 of 3 values are null"):
        fs.register_group(group({"nullable": False}))
    with pytest.raises(TestsFailed, match="1 of 3 values not in at least 0, such as nan"):
        fs.register_group(group({"min": 0}))


def test_a_policy_of_log_only_tells(fs: tw.FeatureStore) -> None:
    report = fs.register_group(group({"min": 2, "policy": "log"}))
    [outcome] = report.tests
    assert (outcome.passed, outcome.refuses, outcome.policy) == (False, False, "log")
    [online] = fs.materialize_online()
    assert online.told == ("balance contract range: 1 of 3 values not in at least 2, such as 1.0",)
    [offline] = fs.materialize_offline(start="2026-01-08", end="2026-01-08")
    assert "in partition 2026-01-08" in offline.told[0]
    assert not offline.failures
    assert served(fs) == [1.0, 2.0, 3.0]


def test_an_expired_value_is_no_null_that_was_promised_away(fs: tw.FeatureStore) -> None:
    contract = {"nullable": False}
    counted = tw.Feature(name="seen", aggregation=tw.count(window="30d"))
    one = group(contract, ttl="1d")
    fs.register_group(one.model_copy(update={"features": (*one.features, counted)}))
    [report] = fs.materialize_offline(start="2026-01-08", end="2026-01-09")
    assert not report.failures


# --- what may change -------------------------------------------------------------------------------------------------

FIRST = {"dtype": "float64", "min": 0, "max": 100, "unit": "EUR"}


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ({**FIRST, "unit": "cent"}, "unit was 'EUR', is 'cent'"),
        ({**FIRST, "dtype": None}, "dtype was 'float64', is None"),
        ({**FIRST, "max": 50}, "max was 100, is 50"),
        ({**FIRST, "min": 1}, "min was 0, is 1"),
        ({**FIRST, "nullable": False}, "nulls are refused now"),
        ({**FIRST, "categories": [1]}, "only 1 categories are allowed now"),
    ],
)
def test_what_takes_a_promise_back(later: dict[str, object], said: str) -> None:
    assert taken_back(tw.Contract(**FIRST), tw.Contract(**later)) == [said]


def test_a_promise_is_not_taken_back_under_its_version(fs: tw.FeatureStore) -> None:
    fs.register_group(group(FIRST))
    with pytest.raises(ContractConflict, match="dtype was 'float64', is None"):
        fs.register_group(group(None))

    accepted = fs.register_group(group(None), accept=True)
    assert [outcome.action for outcome in accepted.outcomes] == ["metadata"]


def test_a_promise_that_grows_needs_no_version(fs: tw.FeatureStore) -> None:
    fs.register_group(group(FIRST, tier={"categories": ["gold"]}))
    report = fs.register_group(group({**FIRST, "max": 200}, tier={"categories": ["gold", "silver"]}))
    assert [outcome.action for outcome in report.outcomes] == ["metadata"]


def test_fewer_categories_are_the_next_version_where_one_is_asked_for(fs: tw.FeatureStore) -> None:
    fs.register_group(group(None, tier={"categories": ["gold", "silver"]}))
    fewer = group(None, tier={"categories": ["gold"]})
    with pytest.raises(ContractConflict, match="tier: categories lose 'silver'") as refused:
        fs.register_group(fewer)
    assert "--accept" in refused.value.hint
    report = fs.register_group(fewer, bump=True)
    assert [(outcome.version, outcome.action) for outcome in report.outcomes] == [("v2", "new_version")]
    again = fs.register_group(fewer, bump=True)
    assert [(outcome.version, outcome.action) for outcome in again.outcomes] == [("v2", "unchanged")]


def test_a_plan_says_so_and_goes_on(fs: tw.FeatureStore) -> None:
    fs.register_group(group(FIRST))
    folder = fs.project.root / "features"
    written = group({**FIRST, "unit": "cent"}).dump()
    (folder / "account.yaml").write_text(yaml.safe_dump({"groups": [written]}))
    plan = fs.plan()
    assert [finding.code for finding in plan.findings] == ["contract_conflict"]
    assert [change.action for change in plan.changes] == ["metadata"]
    with pytest.raises(ContractConflict):
        fs.apply(plan)
    fs.apply(plan, accept=True)


# --- gates -----------------------------------------------------------------------------------------------------------

FLOOD: list[float | None] = [1.0, None, None]


@pytest.mark.parametrize("said", [{"contract": {"nullable": False}}, {"tests": [{"type": "null_rate", "max": 0.1}]}])
def test_a_flood_of_nulls_never_reaches_whoever_asks(fs: tw.FeatureStore, said: dict[str, object]) -> None:
    one = group(said.get("contract"))
    balance = one.features[0].model_copy(update={"tests": tw.Feature(**{**one.features[0].dump(), **said}).tests})
    fs.register_group(one.model_copy(update={"features": (balance, one.features[1])}))
    fs.materialize_online()
    build = fs.project.registry.epoch_map().builds

    write(fs, FLOOD)
    with pytest.raises(BuildRefused, match=r"balance .*2 of 3 values are null|balance null_rate: 66\.67%"):
        fs.materialize_online()

    assert served(fs) == [1.0, 2.0, 3.0]
    assert fs.project.registry.epoch_map().builds == build
    assert gates(fs) == [("breach", "GATE_BLOCKED")]

    write(fs, [4.0, 5.0, 6.0])
    fs.materialize_online()
    assert served(fs) == [4.0, 5.0, 6.0]
    assert gates(fs) == [("ok", "")]


def gates(fs: tw.FeatureStore) -> list[tuple[str, str]]:
    found = watch(fs.project).outcome.turns
    return [(turn.after.level, turn.after.cause) for turn in found if turn.after.key[3] == "gate"]


def test_one_group_that_is_refused_does_not_keep_the_others(fs: tw.FeatureStore) -> None:
    fs.register_group(group({"nullable": False}))
    other = {"name": "rows", "entity": "user_id", "source": "balances", "owner": "x", "online": True, "ttl": "9d"}
    fs.register_feature({**other, "aggregation": {"type": "count", "window": "30d"}})
    write(fs, FLOOD)
    with pytest.raises(BuildRefused, match="account@v1"):
        fs.materialize_online()
    assert fs.get_online_features(["rows"], [{"user_id": 1}]).rows == [[1]]


def test_a_partition_that_breaks_a_contract_is_not_promoted(fs: tw.FeatureStore) -> None:
    fs.register_group(group({"nullable": False}))
    fs.materialize_offline(start="2026-01-08", end="2026-01-08")
    held = fs.offline_files("balance")
    write(fs, FLOOD)
    with pytest.raises(PromoteRefused, match="balance contract nullable in partition 2026-01-08"):
        fs.materialize_offline(start="2026-01-08", end="2026-01-08")
    assert fs.offline_files("balance") == held
    assert gates(fs) == [("breach", "GATE_BLOCKED")]


def test_a_backfill_that_breaks_a_contract_fails_its_validation(fs: tw.FeatureStore) -> None:
    fs.register_group(group({"max": 10}))
    fs.materialize_offline(start="2026-01-08", end="2026-01-08")
    fs.register_group(group({"max": 2}, version="v2", filter="balance < 3"))
    write(fs, [1.0, 2.0, 2.5])
    fs.backfill("balance", start="2026-01-08", end="2026-01-08")
    report = fs.validate_shadow_vs_prod("balance", checks=["count"])
    assert not report.passed
    assert "balance contract range" in report.failures[0].detail


def test_a_promote_looks_at_the_contracts_that_hold_now(fs: tw.FeatureStore) -> None:
    fs.register_group(group({"max": 10}))
    fs.backfill("balance", start="2026-01-08", end="2026-01-08")
    assert fs.validate_shadow_vs_prod("balance").passed
    fs.register_group(group({"max": 20}))
    with pytest.raises(PromoteRefused, match="its contracts changed since it was validated"):
        fs.promote_shadow("balance")
    fs.validate_shadow_vs_prod("balance")
    assert fs.promote_shadow("balance")


def test_yaml_dict_and_python_say_the_same() -> None:
    said = {"dtype": "string", "categories": ["a", "b"], "nullable": False}
    by_python = tw.Feature(name="x", aggregation=tw.latest("c"), contract=tw.Contract(**said))
    by_dict = tw.Feature.read({"name": "x", "aggregation": {"type": "latest", "column": "c"}, "contract": said})
    assert by_python == by_dict
    with pytest.raises(TimewellError, match="Did you mean 'nullable'"):
        tw.Feature.read({"name": "x", "aggregation": {"type": "latest", "column": "c"}, "contract": {"nulable": True}})


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_contract_goes_to_a_file_and_is_held_against_what_is_registered(fs: tw.FeatureStore, tmp_path: Path) -> None:
    fs.register_group(group(FIRST, tier={"categories": ["gold", "silver"]}))
    written = fs.export_contracts(tmp_path / "kept")
    assert [file.name for file in written] == ["balance.yaml", "tier.yaml"]
    kept = fs.check_contracts(tmp_path / "kept")
    assert [(one.broken, one.changed) for one in kept] == [((), ())] * 2

    fs.register_group(group({**FIRST, "unit": "cent"}, tier={"categories": ["gold", "silver", "x"]}), accept=True)
    balance, tier = fs.check_contracts(tmp_path / "kept")
    assert balance.broken == ("unit was 'EUR', is 'cent'",)
    assert (tier.broken, len(tier.changed)) == ((), 1)


def test_a_file_of_a_feature_that_is_gone_is_broken_and_what_is_none_is_refused(
    fs: tw.FeatureStore, tmp_path: Path
) -> None:
    fs.register_group(group(FIRST))
    file = tmp_path / "old.yaml"
    file.write_text("{feature: balanse, version: v1}")
    [gone] = fs.check_contracts(file)
    assert gone.broken == ("No feature is called 'balanse'. Did you mean 'balance'?",)
    file.write_text("{feature: balance, version: v1, nulable: true}")
    with pytest.raises(TimewellError, match="Did you mean 'nullable'"):
        fs.check_contracts(file)


def test_a_feature_without_a_contract_promises_its_type(fs: tw.FeatureStore) -> None:
    fs.register_group(group(None))
    assert [(one.feature, one.dtype) for one in fs.contracts("balance")] == [("balance", "float64")]
