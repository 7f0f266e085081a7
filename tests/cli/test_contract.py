"""The verbs about contracts: what holds is shown, kept in files, and a promise that is taken back is a finding."""

from __future__ import annotations

from pathlib import Path

SUM = "{type: sum, column: amount, window: 7d}"


def promise(shop: Path, contract: str) -> None:
    file = shop / "features" / "orders.yaml"
    text = file.read_text(encoding="utf-8").split("\n    contract: ")
    rest = text[-1].partition("\n")[2] if len(text) > 1 else ""
    kept = text[0] + ("\n" + rest if rest else "")
    file.write_text(kept.replace(SUM, f"{SUM}\n    contract: {contract}"), encoding="utf-8")


def test_a_promise_is_shown_kept_and_held(shop, cli) -> None:
    promise(shop, "{nullable: false, min: 0, unit: EUR}")
    assert cli("apply").code == 0
    assert "unit: EUR" in cli("contract", "show", "order_amount_7d").out
    assert cli("contract", "export").code == 0
    assert cli("contract", "check", "contracts").code == 0

    promise(shop, "{nullable: false, min: 0, unit: cent}")
    refused = cli("apply")
    assert (refused.code, "unit was 'EUR', is 'cent'" in refused.err) == (2, True)
    assert cli("apply", "--accept").code == 0
    broken = cli("contract", "check", "contracts", "--json")
    assert (broken.code, broken.document["passed"]) == (1, False)
    assert "BROKEN" in cli("contract", "check", "contracts").out


def test_what_breaks_a_contract_is_told_or_keeps_a_build_out(shop, cli) -> None:
    promise(shop, "{max: 1, policy: log}")
    assert "breaks a contract (policy log)" in cli("apply").out
    tested = cli("test")
    assert (tested.code, "1 told (policy log)" in tested.out) == (0, True)
    assert "breaks a contract (policy log)" in cli("materialize", "online").out
    promise(shop, "{max: 1}")
    refused = cli("apply")
    assert (refused.code, "order_amount_7d contract range" in refused.err) == (1, True)


def test_files_that_are_none_are_usage(shop, cli) -> None:
    assert cli("contract", "check", "nowhere.yaml").code == 2
