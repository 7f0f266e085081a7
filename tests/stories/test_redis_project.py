"""A project whose online store is a Redis: the same verbs, answers and errors, and a build that is made again when it is gone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.backfill.collect import collect_garbage
from timewell.errors import ConfigError, MissingExtra, NeverMaterialized, StoreUnavailable
from timewell.run.doctor import doctor
from timewell.testing.redis_server import RedisServer, running_server

NOW = "2026-03-01T00:00:00Z"
TOML = """
project = "shop"

[online]
backend = "redis"
url = "redis://${env:SHOP_REDIS}/3"

[serving]
timeout = "10s"
on_unavailable = "error"
cache_entries = 0

[profile.lenient.serving]
on_unavailable = "default"
"""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_server("--requirepass", "s3cret") as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, monkeypatch) -> Iterator[tw.FeatureStore]:
    monkeypatch.setenv("SHOP_REDIS", f":s3cret@127.0.0.1:{server.port}")
    (tmp_path / "timewell.toml").write_text(TOML)
    fs = tw.FeatureStore(tmp_path, now=NOW)
    orders = pa.table({"user_id": [7, 8], "order_ts": ["2026-02-27T10:00:00Z"] * 2, "amount": [10, 20]})
    fs.register_source(tw.Source(name="orders", frame=orders, event_time="order_ts", timezone="UTC"))
    for name in ("order_amount_7d", "order_max_7d"):
        how = tw.sum if name == "order_amount_7d" else tw.max
        fs.register_feature(
            tw.Feature(
                name=name,
                owner="growth@company",
                entity="user_id",
                source="orders",
                aggregation=how("amount", window="7d"),
                ttl="14d",
                online=True,
            )
        )
    fs.materialize_online()
    yield fs
    fs.close()


def answered(fs: tw.FeatureStore) -> list[dict[str, object]]:
    return fs.get_online_features(["order_amount_7d", "order_max_7d"], [{"user_id": 7}, {"user_id": 9}]).to_dicts()


def test_features_are_served_refreshed_and_forgotten(shop: tw.FeatureStore, server: RedisServer) -> None:
    assert answered(shop) == [
        {"order_amount_7d": 10, "order_max_7d": 10},
        {"order_amount_7d": 0, "order_max_7d": None},
    ]
    later = tw.FeatureStore(shop.project.root, now="2026-03-08T00:00:00Z")
    reports = later.materialize_online()
    assert [(report.action, report.deleted) for report in reports] == [("refreshed", 2), ("refreshed", 2)]
    assert answered(later)[0] == {"order_amount_7d": 0, "order_max_7d": None}
    assert later.forget("user_id", {"user_id": 7}).online_rows == 0
    later.close()


def test_an_emptied_redis_is_told_and_mended_by_one_command(shop: tw.FeatureStore, server: RedisServer) -> None:
    answered(shop)
    server.kill()
    with pytest.raises(StoreUnavailable):
        answered(shop)
    assert [finding.subject for finding in doctor(shop.project) if not finding.sound] == ["online store"]
    lenient = tw.FeatureStore(shop.project.root, profile="lenient", now=NOW)
    answer = lenient.get_online_features(["order_amount_7d"], [{"user_id": 7}])
    assert (answer.degraded, answer.statuses) == (True, [{"order_amount_7d": "default"}])
    lenient.close()
    server.start()
    with pytest.raises(NeverMaterialized, match="never been materialized") as told:
        answered(shop)
    assert "timewell materialize online" in told.value.hint
    assert [report.action for report in shop.materialize_online()] == ["built", "built"]
    assert answered(shop)[0] == {"order_amount_7d": 10, "order_max_7d": 10}


def test_another_project_of_the_same_name_cannot_touch_its_builds(shop: tw.FeatureStore, tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    other.mkdir()
    (other / "timewell.toml").write_text((tmp_path / "timewell.toml").read_text())
    fs = tw.FeatureStore(other, now=NOW)
    with pytest.raises(ConfigError, match="belongs to another project") as told:
        collect_garbage(fs.project, wait="0s", dry_run=False)
    assert "prefix" in told.value.hint
    assert answered(shop)[0] == {"order_amount_7d": 10, "order_max_7d": 10}
    fs.close()


def test_the_password_is_in_no_error(shop: tw.FeatureStore, server: RedisServer) -> None:
    server.kill()
    with pytest.raises(StoreUnavailable) as told:
        answered(shop)
    assert "s3cret" not in f"{told.value.to_dict()}"
    assert str(server.port) in str(told.value.to_dict())


def test_without_the_package_the_error_says_what_to_install(shop: tw.FeatureStore, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "redis" or ".backends.redis" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra) as told:
        answered(tw.FeatureStore(shop.project.root, now=NOW))
    assert told.value.hint == "pip install 'timewell[redis]'"


def test_a_setting_that_the_back_end_has_no_use_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "timewell.toml").write_text('[online]\nurl = "redis://127.0.0.1:6379/0"\n')
    with pytest.raises(ConfigError, match="lmdb back end has no setting url") as told:
        _ = tw.FeatureStore(tmp_path).project.online
    assert told.value.hint
