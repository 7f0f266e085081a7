"""What a person and a machine are told when something is wrong, and with which exit code."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("show", "order_amount_7dd"), "unknown_feature"),
        (("show", "order_amount_7d@v9"), "unknown_group"),
        (("get", "order_amount_7d", "-e", "user_id=x"), "invalid_key"),
        (("get", "order_amount_7d", "-e", "userid=7"), "usage"),
        (("get", "order_amount_7d", "-e", "7"), "usage"),
        (("get", "order_amount_7d", "-e", "{7"), "usage"),
        (("get", "route_count_30d", "-e", "origin=OSL"), "missing_key"),
        (("get", "route_last_amount", "-e", "origin=OSL,stops=0"), "not_online"),
        (("get", "-e", "user_id=7"), "nothing_asked"),
        (("apply", "no_such_folder"), "usage"),
        (("init", "."), "project_exists"),
        (("init", "new", "--template", "no_such_template"), "usage"),
        (("train", "spine.parquet", "--features", "order_amount_7d", "--out", "train.csv"), "usage"),
        (("materialize", "offline", "--start", "2025-12-31", "--end", "2025-12-01"), "invalid_range"),
        (("materialize", "online", "--as-of", "soon"), "invalid_instant"),
        (("forget", "account", "id=7", "--yes"), "unknown_entity"),
        (("reset",), "confirmation_needed"),
        (("list", "--now", "yesterday"), "invalid_instant"),
        (("list", "--profile", "production"), "config"),
        (("nope",), "usage"),
        (("list", "--nope"), "usage"),
        (("materialize",), "usage"),
        (("get", "order_amount_7d"), "missing_key"),
        (("audit-log", "--limit", "0"), "usage"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, tuple) else part,
)
def test_a_mistake_is_told_in_both_forms_with_exit_code_2(argv, code, shop, cli) -> None:
    for_people = cli(*argv)
    assert (for_people.code, for_people.out) == (2, "")
    lines = for_people.err.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in for_people.err
    for_machines = cli(*argv, "--json")
    assert (for_machines.code, for_machines.err) == (2, "")
    error = for_machines.document["error"]
    assert (set(error), error["code"]) == ({"code", "message", "hint", "facts"}, code)
    assert f"error: {error['message']}".splitlines()[0] == lines[0]


def test_no_project_here_is_said_with_what_to_type(tmp_path, cli, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = cli("list")
    assert ran.code == 2
    assert "timewell init" in ran.err


def test_a_near_verb_is_proposed(cli) -> None:
    assert "Did you mean 'list'?" in cli("listt").err


def test_json_after_two_dashes_is_an_argument_and_no_option(shop, cli) -> None:
    ran = cli("show", "--", "--json")
    assert (ran.code, ran.out) == (2, "")


def test_a_failing_test_of_a_feature_is_a_finding(shop, cli) -> None:
    file = shop / "features" / "orders.yaml"
    file.write_text(file.read_text().replace("{type: range, min: 0}", "{type: range, min: 1000}"))
    refused = cli("apply", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (1, "tests_failed")
    assert cli("test").code == 0


def test_a_registered_test_that_no_longer_holds_is_a_finding(shop, cli) -> None:
    file = shop / "features" / "orders.yaml"
    file.write_text(file.read_text().replace("{type: range, min: 0}", "{type: range, max: 200}"))
    assert cli("apply").code == 0
    assert cli("test", "--now", "2025-12-10T00:00:00Z").code == 0
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    orders = Path("data/orders.parquet")
    table = pq.read_table(orders)
    doubled = table.set_column(2, "amount", pc.multiply(table["amount"], pa.scalar(9.0)))
    pq.write_table(doubled, orders)
    ran = cli("test", "order_amount_7d")
    assert ran.code == 1
    assert "FAILED" in ran.out
    document = cli("test", "--json").document
    assert document["passed"] is False


def test_an_unsound_project_is_a_finding(shop, cli) -> None:
    assert cli("doctor").code == 0
    (shop / "data" / "orders.parquet").unlink()
    ran = cli("doctor")
    assert ran.code == 1
    assert "WRONG" in ran.out
    assert "hint: source warehouse.orders" in ran.out


def test_an_operational_failure_has_exit_code_3(shop, cli) -> None:
    (shop / "data" / "orders.parquet").write_bytes(b"not parquet")
    ran = cli("materialize", "online")
    assert (ran.code, ran.err.startswith("error: ")) == (3, True)
    assert cli("restore", "spine.parquet", "--yes").code == 3


def test_an_unforeseen_failure_is_told_without_a_traceback_until_it_is_asked_for(shop, cli, monkeypatch) -> None:
    def broken(self) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr("timewell.store.FeatureStore.list_features", broken)
    ran = cli("list")
    assert ran.code == 3
    assert ran.err.splitlines()[0] == "error: RuntimeError: what nobody thought of."
    assert "Traceback" not in ran.err
    assert "Traceback" in cli("list", "-v", "-v").err
    assert "what nobody thought of" in cli("list", "--json").document["error"]["message"]


def test_an_interrupt_ends_the_command_calmly(shop, cli, monkeypatch) -> None:
    def interrupted(self) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("timewell.store.FeatureStore.doctor", interrupted)
    ran = cli("doctor")
    assert ran.code == 130
    assert "Traceback" not in ran.err
