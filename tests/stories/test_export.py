"""A promoted table is read by plain DuckDB, pandas and pyiceberg, without Timewell."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable

import timewell as tw
from timewell.cli import main
from timewell.errors import NeverMaterialized, UsageError

QUERY = "SELECT user_id, epoch_us(as_of), paid FROM {table} ORDER BY ALL"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tw.FeatureStore:
    fs = tw.FeatureStore.init(tmp_path / "shop", now="2026-01-10T00:00:00Z")
    at = pa.array([pd.Timestamp(f"2026-01-0{day}T12:00:00Z") for day in (1, 2, 3, 5)], pa.timestamp("us", tz="UTC"))
    fs.register_source(
        tw.Source(
            name="orders",
            frame=pa.table({"user_id": [1, 2, 1, 3], "at": at, "amount": [10, 20, 5, 7]}),
            event_time="at",
        )
    )
    features = [tw.Feature(name="paid", aggregation=tw.sum("amount", window="3d"))]
    features += [tw.Feature(name="newest", aggregation=tw.latest("amount"))]
    fs.register_group(tw.FeatureGroup(name="spend", entity="user_id", source="orders", owner="a@b", features=features))
    fs.materialize_offline("spend", start="2026-01-01", end="2026-01-09")
    monkeypatch.chdir(tmp_path)
    return fs


def expected(fs: tw.FeatureStore) -> list[tuple[object, ...]]:
    files = [str(path) for _, path in fs.offline_files("spend")]
    with duckdb.connect() as plain:
        return plain.execute(QUERY.format(table=f"read_parquet({files})")).fetchall()


def test_parquet_is_read_by_duckdb_and_pandas_and_replaced_as_a_whole(shop: tw.FeatureStore, tmp_path: Path) -> None:
    for _ in range(2):
        report = shop.export("spend", "parquet", tmp_path / "out")
    assert report.rows == len(expected(shop)) > 0
    with duckdb.connect() as plain:
        assert plain.execute(QUERY.format(table="read_parquet('out/**/*.parquet')")).fetchall() == expected(shop)
    frame = pd.read_parquet(tmp_path / "out", columns=["user_id", "paid"])
    assert sorted(frame["paid"]) == sorted(row[2] for row in expected(shop))


def test_a_view_shows_the_live_files(shop: tw.FeatureStore, tmp_path: Path) -> None:
    shop.export("spend", "view", tmp_path / "spend.sql")
    with duckdb.connect() as plain:
        plain.execute((tmp_path / "spend.sql").read_text())
        assert plain.execute(QUERY.format(table="spend")).fetchall() == expected(shop)


def test_iceberg_is_read_back_with_pyiceberg(shop: tw.FeatureStore, tmp_path: Path) -> None:
    assert main(["export", "iceberg", "spend", "--to", "lake", "--project", str(shop.project.root)]) == 0
    place = shop.export("spend", "iceberg", tmp_path / "lake").place
    catalog = SqlCatalog("timewell", uri=f"sqlite:///{tmp_path / 'lake' / 'catalog.db'}")
    found = catalog.load_table("features.spend").scan().to_arrow()
    catalog.engine.dispose()
    assert StaticTable.from_metadata(str(place)).scan().to_arrow().num_rows == found.num_rows
    rows = sorted(zip(*(found[name].to_pylist() for name in ("user_id", "as_of", "paid")), strict=True))
    assert [(user, paid) for user, _, paid in rows] == [(user, paid) for user, _, paid in expected(shop)]


def test_what_cannot_be_exported_is_refused(shop: tw.FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="no export wrote"):
        shop.export("spend", "parquet", tmp_path / "mine")
    with pytest.raises(UsageError, match=r"no \.sql file"):
        shop.export("spend", "view", tmp_path / "spend")
    shop.register_group(
        tw.FeatureGroup(
            name="other",
            entity="user_id",
            source="orders",
            owner="a@b",
            features=[tw.Feature(name="other_paid", aggregation=tw.sum("amount", window="3d"))],
        )
    )
    with pytest.raises(NeverMaterialized):
        shop.export("other", "parquet", tmp_path / "out")
