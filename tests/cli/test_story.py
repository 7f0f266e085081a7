"""The second worked example as a person types it, and what the other verbs tell about the same project."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from timewell.store import FeatureStore

ORDER_AMOUNT = """\
sources:
  - {name: warehouse.orders, path: "orders.parquet", event_time: order_ts}
features:
  - name: order_amount_7d
    owner: growth-ml@company
    entity: user_id
    source: warehouse.orders
    aggregation: {type: sum, column: amount, window: 7d}
    ttl: 14d
    freshness_sla: 24h
    online: true
    version: v1
"""


def test_the_second_example_typed_as_commands(tmp_path, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIMEWELL_NOW", "2026-01-01T00:00:00Z")
    assert cli("init", "shop").out.splitlines()[0] == "made project shop in shop"
    monkeypatch.chdir("shop")
    days = [datetime(2025, 12, day, 12, tzinfo=UTC) for day in range(1, 32)]
    orders = {"user_id": [7] * 31, "order_ts": days, "amount": [float(day) for day in range(1, 32)]}
    pq.write_table(pa.table(orders), "orders.parquet")
    Path("features/orders.yaml").write_text(ORDER_AMOUNT, encoding="utf-8")

    assert cli("register").code == 0
    offline = cli("materialize", "offline", "order_amount_7d", "--start", "2025-01-01", "--end", "2025-12-31")
    assert "range [2025-01-01T00:00:00Z, 2026-01-01T00:00:00Z)" in offline.out
    assert " 365 " in offline.out
    online = cli("materialize", "online", "order_amount_7d", "--since", "2025-12-01")
    assert "order_amount_7d@v1  built" in online.out
    assert "range [2025-12-01T00:00:00Z, 2026-01-01T00:00:00Z)" in online.out

    got = cli("get", "order_amount_7d", "--entity", "user_id=7", "--entity", "user_id=8").out
    assert [line.split() for line in got.splitlines()[1:3]] == [
        ["user_id=7", "order_amount_7d", str(float(sum(range(25, 32)))), "present"],
        ["user_id=8", "order_amount_7d", "0.0", "not_found"],
    ]


def test_running_a_command_again_changes_nothing(shop, cli) -> None:
    applied = cli("apply", "--json").document["outcomes"]
    assert {outcome["action"] for outcome in applied} == {"unchanged"}
    command = ("materialize", "offline", "--start", "2025-12-25", "--end", "2025-12-31", "--json")
    assert cli(*command).code == 0  # the copy of the source is another file than the one of the first run
    groups = cli(*command).document["groups"]
    assert [(group["computed"], group["skipped"]) for group in groups] == [(0, 7), (0, 7)]
    online = cli("materialize", "online", "--json").document["groups"]
    assert {group["action"] for group in online} == {"unchanged"}
    assert cli("upgrade", "--json").document["changed"] is False


def test_a_dry_run_registers_nothing(shop, cli) -> None:
    file = shop / "features" / "orders.yaml"
    file.write_text(file.read_text().replace("window: 7d", "window: 9d"), encoding="utf-8")
    refused = cli("apply")
    assert (refused.code, "--bump" in refused.err) == (2, True)
    planned = cli("apply", "--bump", "--dry-run", "--json").document
    assert ("group", "order_amount_7d", "v2", "new_version") in {tuple(item.values()) for item in planned["outcomes"]}
    assert cli("show", "order_amount_7d", "--json").document["definition"]["version"] == "v1"
    assert [item["version"] for item in cli("show", "order_amount_7d", "--json").document["versions"]] == ["v1"]


def test_definitions_of_another_folder_join_the_same_registry(shop, cli, tmp_path) -> None:
    (tmp_path / "theirs").mkdir()
    more = "features:\n  - {name: orders_1d, owner: them@company, entity: user_id, source: warehouse.orders,"
    (tmp_path / "theirs" / "more.yaml").write_text(more + " aggregation: {type: count, window: 1d}}\n")
    assert cli("apply", "../theirs").code == 0
    features = cli("list", "--json").document["features"]
    owners = {item["name"]: item["owner"] for item in features}
    assert (owners["orders_1d"], owners["order_amount_7d"]) == ("them@company", "growth-ml@company")


def test_a_training_set_is_written_with_its_coverage_and_manifest(shop, cli) -> None:
    command = ("train", "spine.parquet", "--features", "order_amount_7d", "--event-time", "event_ts")
    said = cli(*command, "--as-of", "happened", "--out", "train.parquet", "--manifest")
    assert said.code == 0
    assert "3 rows, manifest " in said.out
    assert "order_amount_7d:order_amount_7d@v1" in said.out
    table = pq.read_table(shop / "train.parquet")
    assert table.column_names == ["user_id", "event_ts", "label", "order_amount_7d"]
    again = cli("train", "train.parquet", "--features", "order_amount_7d", "--out", "t.parquet", "--json")
    assert again.document["error"]["code"] == "name_collision"
    by_service = cli("train", "spine.parquet", "--service", "churn", "--out", "t.parquet", "--json").document
    assert by_service["rows"] == 3
    assert by_service["coverage"]["order_amount_7d"]["nulls"] == 0


def test_a_training_set_is_audited_as_it_is_written(shop, cli, monkeypatch) -> None:
    command = ("train", "spine.parquet", "--features", "order_amount_7d", "--out", "train.parquet", "--audit")
    said = cli(*command)
    assert said.code == 0
    assert "clean: 3 cells proven, no value knew the future (all 3 rows" in said.out
    assert cli(*command, "--json").document["audit"]["ok"] is True

    def suspicious(store, file, label, manifest):
        wrong = pq.read_table(file).to_pandas().assign(order_amount_7d=1.5)
        return audit(store, wrong, label, manifest=manifest)

    audit = FeatureStore.audit_leakage
    monkeypatch.setattr(FeatureStore, "audit_leakage", suspicious)
    found = cli(*command, "--json")
    assert found.code == 1
    assert found.document["audit"]["violations"][0]["feature"] == "order_amount_7d"


def test_a_training_set_with_a_label_is_scored_as_it_is_written(shop, cli) -> None:
    spine = pq.read_table(shop / "spine.parquet").to_pandas()
    many = spine.loc[spine.index.repeat(50)].reset_index(drop=True)
    many["churned"] = many.index % 3 == 0
    many["refunded"] = many["churned"] * 1.0  # what only who left gets
    many.to_parquet(shop / "labelled.parquet", index=False)
    command = ("train", "labelled.parquet", "--features", "order_amount_7d", "--out", "train.parquet")
    found = cli(*command, "--label", "churned")
    assert found.code == 1
    assert "SUSPICIOUS: refunded" in found.out
    scores = cli(*command, "--label", "churned", "--json").document["audit"]["scores"]
    assert [one["feature"] for one in scores["features"] if one["verdict"] == "too_good"] == ["refunded"]


def test_a_feature_shows_what_is_known_of_it(shop, cli) -> None:
    shown = cli("show", "order_amount_7d", "--json").document
    assert shown["join_keys"] == {"user_id": "int64"}
    assert (shown["dtype"], shown["closed"], shown["ttl"], shown["freshness_sla"]) == ("float64", "left", "14d", "1d")
    assert (shown["online_as_of"], shown["offline_partitions"]) == ("2026-01-01T00:00:00Z", 7)
    assert shown["lineage"]["source"] == "warehouse.orders"
    assert shown["lineage"]["services"] == ["churn@v1"]
    text = cli("show", "order_amount_7d").out
    for words in ("growth-ml@company", "strictly after it is visible", "7 partitions", "v1 (live)", "range min 0.0"):
        assert words in text


def test_a_group_and_a_service_can_be_shown_too(shop, cli) -> None:
    group = cli("show", "routes", "--json").document
    assert (group["kind"], [feature["name"] for feature in group["features"]]) == (
        "group",
        ["route_count_30d", "route_last_amount"],
    )
    service = cli("show", "churn", "--json").document
    assert (service["kind"], service["features"][0]["reference"]) == ("service", "order_amount_7d:order_amount_7d@v1")
    assert cli("show", "routes").code == cli("show", "churn").code == cli("show", "route_count_30d@v1").code == 0


def test_a_search_without_a_hit_says_so(shop, cli) -> None:
    assert "order_amount_7d" in cli("search", "order", "amount").out
    assert cli("search", "zebra").out == "no feature has all of: zebra\n"


def test_composite_keys_and_json_keys_are_typed_as_declared(shop, cli) -> None:
    command = ("get", "route_count_30d", "--entity", "origin=OSL,stops=0", "--json")
    assert cli(*command).document["rows"][0]["values"] == [30]
    command = ("get", "route_count_30d", "-e", '{"origin": "OSL", "stops": 0}', "-e", '{"origin": null, "stops": 0}')
    answer = cli(*command, "--json").document
    assert [row["statuses"] for row in answer["rows"]] == [["present"], ["not_found"]]


def test_a_stale_value_is_marked(shop, cli) -> None:
    command = ("--now", "2026-01-02T00:00:00Z", "get", "order_amount_7d", "-e", "user_id=7", "--max-staleness", "1h")
    assert cli(*command, "--json").document["rows"][0]["statuses"] == ["stale"]


def test_forgetting_shows_what_it_would_erase_and_needs_a_yes(shop, cli) -> None:
    refused = cli("forget", "user_id", "user_id=7")
    assert refused.code == 2
    assert "the online build of order_amount_7d@v1" in refused.err
    assert "the offline table of order_amount_7d@v1 (7 partitions)" in refused.err
    assert "--yes" in refused.err
    assert cli("get", "order_amount_7d", "-e", "user_id=7", "--json").document["rows"][0]["statuses"] == ["present"]
    report = cli("forget", "user_id", "user_id=7", "--yes", "--json").document["forgotten"][0]
    assert (report["online_rows"], report["offline_rows"]) == (1, 7)
    assert cli("get", "order_amount_7d", "-e", "user_id=7", "--json").document["rows"][0]["statuses"] == ["not_found"]


def test_a_backup_brings_everything_back_after_a_reset(shop, cli) -> None:
    assert cli("backup", "../shop.tar").code == 0
    assert cli("reset").code == 2
    assert cli("list", "--json").document["features"]
    assert cli("reset", "--yes").code == 0
    assert cli("list", "--json").document["features"] == []
    assert cli("restore", "../shop.tar").code == 2
    assert cli("restore", "../shop.tar", "--yes").code == 0
    assert len(cli("list", "--json").document["features"]) == 3


def test_the_audit_log_names_who_did_what(shop, cli, monkeypatch) -> None:
    monkeypatch.setenv("TIMEWELL_ACTOR", "ada")
    assert cli("materialize", "online", "--now", "2026-01-01T01:00:00Z").code == 0
    rows = cli("audit-log", "--limit", "1", "--json").document["rows"]
    assert len(rows) == 1
    assert {row["subject"] for row in cli("audit-log", "--subject", "routes", "--json").document["rows"]} == {"routes"}
    assert "the audit log has no such line" in cli("audit-log", "--subject", "nothing").out
