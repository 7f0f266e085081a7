"""The seed's mini project, risk scoring: three features, 90 days of training data, and what is served.

The expected values are folded in plain Python from the rows of the template's own files.
"""

from __future__ import annotations

import math
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.cli import main
from timewell.errors import NotOnline, UsageError
from timewell.templates import copy_template, template_names
from timewell.types import DAY_US, HOUR_US, format_instant, parse_instant

ROOT = Path(__file__).resolve().parents[2]
NOW = "2026-03-01T00:00:00Z"
NOW_US = parse_instant(NOW)
USERS = range(1_000)
NEVER_SEEN = 424_242
LONE_USER = 0  # paid once, eight days ago
THREE = ["last_transaction_amount", "txn_count_7d", "avg_ticket_30d"]


@dataclass(frozen=True, slots=True)
class Payments:
    """Each user's payments as (instant, amount), oldest first."""

    of_user: dict[int, list[tuple[int, float]]]

    def before(self, user: int, at_us: int, days: int = 10_000) -> list[tuple[int, float]]:
        """Give what happened in the days before an instant, strictly before it."""
        return [row for row in self.of_user[user] if at_us - days * DAY_US <= row[0] < at_us]

    def last_transaction_amount(self, user: int, at_us: int) -> float | None:
        earlier = self.before(user, at_us)
        # of payments at the same instant the greater amount is the newer one: any rule does, but it must be one
        newest = max(earlier, default=None)
        return None if newest is None or at_us - newest[0] >= 48 * HOUR_US else newest[1]

    def txn_count_7d(self, user: int, at_us: int) -> int:
        return len(self.before(user, at_us, 7))

    def avg_ticket_30d(self, user: int, at_us: int) -> float | None:
        amounts = [amount for _, amount in self.before(user, at_us, 30)]
        return math.fsum(amounts) / len(amounts) if amounts else None

    def value(self, feature: str, user: int, at_us: int) -> float | None:
        return {name: getattr(self, name) for name in THREE}[feature](user, at_us)


def micros(column: pa.ChunkedArray) -> list[int]:
    return column.cast(pa.int64()).to_pylist()


def same(found: object, expected: object) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9)
    return found == expected


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as the template makes it, its definitions applied."""
    root = tmp_path_factory.mktemp("risk") / "shop"
    store = tw.FeatureStore.init(root, now=NOW)
    copy_template("risk", root)
    environment = {**os.environ, "TIMEWELL_NOW": NOW}
    subprocess.run([sys.executable, "prepare.py"], cwd=root, env=environment, check=True, capture_output=True)
    report = store.apply()
    assert len(report.tests) == 6
    assert all(test.passed for test in report.tests)
    store.close()
    return root


@pytest.fixture
def shop_at(made: Path, tmp_path: Path) -> Callable[[str | int], tw.FeatureStore]:
    """Open this test's own copy of the project at an instant."""
    shutil.copytree(made, tmp_path / "shop")
    opened = []

    def at(now: str | int) -> tw.FeatureStore:
        store = tw.FeatureStore(tmp_path / "shop", now=format_instant(now) if isinstance(now, int) else now)
        opened.append(store)
        return store

    yield at
    for store in opened:
        store.close()


@pytest.fixture
def shop(shop_at) -> tw.FeatureStore:
    return shop_at(NOW)


@pytest.fixture(scope="module")
def transactions(made: Path) -> pa.Table:
    return pq.read_table(made / "data" / "transactions.parquet")


@pytest.fixture(scope="module")
def payments(transactions: pa.Table) -> Payments:
    of_user = defaultdict(list)
    columns = (transactions["user_id"].to_pylist(), micros(transactions["tx_ts"]), transactions["amount"].to_pylist())
    for user, at_us, amount in zip(*columns, strict=True):
        of_user[user].append((at_us, amount))
    return Payments(defaultdict(list, {user: sorted(rows) for user, rows in of_user.items()}))


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_payment_never_sees_itself_when_the_spine_is_the_transactions_table(shop, transactions, payments):
    trained = shop.get_historical_features(transactions, THREE[:2], event_time="tx_ts").to_arrow()
    assert trained.select(transactions.column_names).equals(transactions)
    previous = trained["last_transaction_amount"].to_pylist()
    counts = trained["txn_count_7d"].to_pylist()
    rows = zip(transactions["user_id"].to_pylist(), micros(transactions["tx_ts"]), strict=True)
    for number, (user, at_us) in enumerate(rows):
        assert previous[number] == payments.last_transaction_amount(user, at_us)
        assert counts[number] == payments.txn_count_7d(user, at_us)


def test_closed_on_the_right_every_payment_would_see_itself(shop, transactions, payments):
    source = {"name": "payments.inclusive", "path": "data/transactions.parquet", "event_time": "tx_ts"}
    shop.register_source({**source, "closed": "right"})
    feature = {"name": "own_amount", "owner": "risk@company", "entity": "user_id", "source": "payments.inclusive"}
    shop.register_feature({**feature, "aggregation": {"type": "latest", "column": "amount"}})
    leaking = shop.get_historical_features(transactions, ["own_amount"], event_time="tx_ts").to_arrow()
    rows = zip(transactions["user_id"].to_pylist(), micros(transactions["tx_ts"]), strict=True)
    at_that_instant = [max(amount for at, amount in payments.of_user[user] if at == at_us) for user, at_us in rows]
    assert leaking["own_amount"].to_pylist() == at_that_instant


def test_ninety_days_of_training_data_are_right_in_every_cell(shop, payments):
    trained = shop.get_historical_features("data/training_spine.parquet", THREE).to_arrow()
    spine = pq.read_table(shop.project.root / "data" / "training_spine.parquet")
    assert trained.select(spine.column_names).equals(spine)
    instants = micros(spine["event_ts"])
    assert (max(instants) - min(instants)) // DAY_US == 89
    wrong = [
        (name, user, at_us)
        for name in THREE
        for found, user, at_us in zip(trained[name].to_pylist(), spine["user_id"].to_pylist(), instants, strict=True)
        if not same(found, payments.value(name, user, at_us))
    ]
    assert wrong == []


def test_the_first_day_of_the_spine_looks_thirty_days_further_back(shop, payments):
    spine = pq.read_table(shop.project.root / "data" / "training_spine.parquet").sort_by("event_ts").slice(0, 100)
    rows = list(zip(spine["user_id"].to_pylist(), micros(spine["event_ts"]), strict=True))
    found = shop.get_historical_features(spine, ["avg_ticket_30d"]).to_arrow()["avg_ticket_30d"].to_pylist()
    day_1 = rows[0][1]
    reaching_back = [any(at < day_1 for at, _ in payments.before(user, at_us, 30)) for user, at_us in rows]
    assert sum(reaching_back) > 90
    assert all(value is not None for value, needed in zip(found, reaching_back, strict=True) if needed)


def test_a_fraud_counts_from_the_day_on_which_it_was_reported(shop):
    reports = pq.read_table(shop.project.root / "data" / "fraud_reports.parquet")
    columns = ("user_id", "tx_ts", "reported_ts", "is_fraud")
    cells = [micros(reports[name]) if name.endswith("_ts") else reports[name].to_pylist() for name in columns]
    rows = list(zip(*cells, strict=True))
    asked = {"known": 2, "happened": 1}  # the column that hides a row until then
    spine = pq.read_table(shop.project.root / "data" / "training_spine.parquet").slice(15_000, 300)
    totals = {}
    for as_of, visible in asked.items():
        made = shop.get_historical_features(spine, ["known_frauds_90d"], as_of=as_of).to_arrow()
        expected = [
            sum(row[3] for row in rows if row[0] == user and row[visible] < at_us and row[1] >= at_us - 90 * DAY_US)
            for user, at_us in zip(spine["user_id"].to_pylist(), micros(spine["event_ts"]), strict=True)
        ]
        assert made["known_frauds_90d"].to_pylist() == expected
        totals[as_of] = sum(expected)
    assert 0 < totals["known"] < totals["happened"]


# --- serving ----------------------------------------------------------------------------------------------------------


def test_online_the_last_amount_is_that_of_the_newest_payment(shop, payments):
    shop.materialize_online("transactions")
    paid_lately = [user for user in USERS if payments.before(user, NOW_US, 2)]
    found = shop.get_online_features("last_transaction_amount", [{"user_id": user} for user in paid_lately])
    assert [row[0] for row in found.rows] == [max(payments.of_user[user])[1] for user in paid_lately]
    assert len(paid_lately) > 100


def test_online_equals_offline_as_of_the_refresh_for_every_user(shop):
    shop.materialize_online()
    names = ["last_transaction_amount", "txn_count_7d", "balance_pti"]
    users = [*USERS, NEVER_SEEN]
    served = shop.get_online_features(names, [{"user_id": user} for user in users])
    spine = pa.table({"user_id": users, "at": pa.array([NOW_US] * len(users), pa.timestamp("us", tz="UTC"))})
    trained = shop.get_historical_features(spine, names).to_arrow().select(names).to_pylist()
    assert served.to_dicts() == trained
    assert {status for row in served.row_statuses for status in row} == {"present", "expired", "not_found"}


def test_a_count_falls_to_zero_without_a_new_event(shop_at, payments):
    before, after = shop_at(NOW), shop_at(NOW_US + 8 * DAY_US)
    everyone = [{"user_id": user} for user in USERS]
    before.materialize_online("transactions", since="2026-02-28")
    counts = [row[0] for row in before.get_online_features("txn_count_7d", everyone).rows]
    assert counts == [payments.txn_count_7d(user, NOW_US) for user in USERS]
    assert counts[LONE_USER] == 0
    assert sum(count > 0 for count in counts) > 300
    after.materialize_online("transactions", since=format_instant(NOW_US + 7 * DAY_US))
    assert [row[0] for row in after.get_online_features("txn_count_7d", everyone).rows] == [0] * len(USERS)


def test_a_count_that_nobody_refreshes_is_expired_at_exactly_its_ttl(shop_at):
    shop_at(NOW).materialize_online("transactions")
    user = [{"user_id": 1}, {"user_id": NEVER_SEEN}]
    alive = shop_at(NOW_US + 48 * HOUR_US - 1).get_online_features("txn_count_7d", user)
    dead = shop_at(NOW_US + 48 * HOUR_US).get_online_features("txn_count_7d", user)
    assert alive.rows[0][0] > 0
    assert alive.row_statuses == [("present",), ("not_found",)]
    assert dead.rows == [[None], [None]]
    assert dead.row_statuses == [("expired",), ("expired",)]


def test_the_mean_ticket_is_in_the_offline_table_and_refused_online(shop, payments):
    shop.materialize_offline("avg_ticket_30d", start="2026-02-01", end="2026-02-28")
    files = shop.offline_files("avg_ticket_30d")
    assert len(files) == 28
    draw = random.Random(1)
    for record, path in draw.sample(files, 3):
        rows = pq.read_table(path).to_pylist()  # a plain Parquet file: any program reads it
        assert len(rows) > 300
        for row in rows:
            assert same(row["avg_ticket_30d"], payments.avg_ticket_30d(row["user_id"], record.end_us))
    with pytest.raises(NotOnline, match=r"avg_ticket_30d.*online: false"):
        shop.materialize_online("avg_ticket_30d")
    shop.materialize_online()
    with pytest.raises(NotOnline, match=r"avg_ticket_30d.*online: false"):
        shop.get_online_features(["txn_count_7d", "avg_ticket_30d"], [{"user_id": 1}])


# --- the template -----------------------------------------------------------------------------------------------------


def test_a_template_overwrites_nothing(tmp_path):
    (tmp_path / "prepare.py").write_text("mine")
    with pytest.raises(UsageError, match=r"already holds prepare\.py"):
        copy_template("risk", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["prepare.py"]


def test_an_unknown_template_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UsageError, match="'risc'") as refused:
        copy_template("risc", tmp_path)
    assert "risk" in str(refused.value)
    assert template_names() == ["risk"]
    assert list(tmp_path.iterdir()) == []


def test_the_commands_of_the_readme_do_what_it_says(tmp_path, monkeypatch, capsys):
    text = (ROOT / "examples" / "risk" / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for line in [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]:
        command, _, remark = line.partition(" #")
        first, *rest = shlex.split(command)
        if first == "export":
            monkeypatch.setenv(*rest[0].split("=", 1))
        elif first == "cd":
            monkeypatch.chdir(rest[0])
        else:
            assert first == "timewell"
            assert main(rest) == (2 if "exit code 2" in remark else 0), line
    printed = "".join(capsys.readouterr())
    shown = [line for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    # the manifest's id holds the versions of the libraries
    missing = [line for line in shown if line.split(", manifest")[0] not in printed]
    assert missing == []
    assert len(shown) > 10
