"""The plugin for pytest: cases are items, a copy of the project is a fixture, and whoever uses neither pays nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest_plugins = ["pytester"]
PLUGIN = ("-p", "timewell.testing.plugin", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider")
DEFINITIONS = """
sources:
  - {name: orders, kind: events, path: data/orders.parquet, event_time: at}
features:
  - name: orders_7d
    owner: a@b
    entity: user_id
    source: orders
    aggregation: {type: count, window: 7d}
    ttl: 14d
    online: true
  - name: orders_30d
    owner: a@b
    entity: user_id
    source: orders
    aggregation: {type: count, window: 7d}
"""
TEST = """
def test_the_copy_is_ready_and_its_clock_stands(timewell_project):
    assert [row.name for row in timewell_project.list_features()] == ["orders_30d", "orders_7d"]
    assert timewell_project.project.clock.now_us() == 1_768_003_200_000_000
    timewell_project.materialize_online()
    answer = timewell_project.get_online_features(["orders_7d"], [{"user_id": 1}])
    assert answer.rows == [[1]]
"""
INI = "[pytest]\ntimewell_now = 2026-01-10T00:00:00Z\n"


@pytest.fixture
def shop(pytester: pytest.Pytester) -> Path:
    root = pytester.path / "shop"
    (root / "features").mkdir(parents=True)
    (root / "data").mkdir()
    at = pa.array([1_767_830_400_000_000], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"user_id": [1], "at": at}), root / "data" / "orders.parquet")
    (root / "timewell.toml").write_text('project = "shop"\n[online]\nbackend = "redis"\nurl = "redis://127.0.0.1:1"\n')
    (root / "features" / "orders.yaml").write_text(DEFINITIONS)
    (pytester.path / "test_shop.py").write_text(TEST)
    (pytester.path / "pytest.ini").write_text(INI)
    return root


def ran(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run pytest in a process of its own: in this one it would import everything a second time."""
    command = [sys.executable, "-m", "pytest", *PLUGIN, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_cases_are_items_a_failure_says_what_differs_and_the_copy_is_a_fixture(shop: Path) -> None:
    code, said = ran(shop.parent, "--timewell", "shop", "-v")
    for name in ("orders_7d[window edges]", "orders_30d[clocks go back]", "its_clock_stands"):
        assert f"{name} PASSED" in said
    assert said.count("orders_7d[window edges]") == 1
    assert "orders_30d, its name: its name says 30d, its window is 7d" in said
    assert (code, " 1 failed, " in said, "Traceback" in said) == (1, True, False), said
    assert not (shop / ".timewell").exists()


def test_where_there_is_no_project_the_run_ends_at_once(shop: Path, pytester: pytest.Pytester) -> None:
    ran = pytester.runpytest_inprocess(*PLUGIN, "--timewell", "elsewhere")
    assert ran.ret == 4
    assert "there is no timewell.toml" in ran.stderr.str()


def test_unused_it_imports_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\n\ndef test_nothing():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('timewell'))\n"
        "    assert ours == ['timewell', 'timewell.testing', 'timewell.testing.plugin']\n"
        "    assert 'pyarrow' not in sys.modules\n"
    )
    (tmp_path / "timewell.toml").write_text("")
    code, said = ran(tmp_path)
    assert code == 0, said
