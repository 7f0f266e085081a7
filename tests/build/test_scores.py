"""Features scored alone: what could not be known is found, and noise is left alone."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import timewell as tw
from timewell.errors import UsageError
from timewell.leakage import audit_scores

ROWS = 2_000
CHANCE = np.random.default_rng(3)
CHURNED = (CHANCE.random(ROWS) < 0.2).astype(int)
SPEND = CHANCE.gamma(2, size=ROWS)
SEGMENT = CHANCE.integers(0, 4, ROWS)
CITIES = CHANCE.choice(["rome", "oslo", "lima"], ROWS)


def noise() -> np.ndarray:
    return CHANCE.normal(size=ROWS)


# --- against what was known ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [CHURNED, CHURNED == 1, np.where(CHURNED, "yes", "no"), SEGMENT, SPEND])
def test_a_feature_that_gained_by_knowing_the_future_is_named_whatever_the_label(label: np.ndarray) -> None:
    codes = np.unique(label, return_inverse=True)[1]
    known = (codes > np.median(codes)) + 2 * noise()
    frame = pa.table({"honest": known, "leak": known + 3 * (codes > np.median(codes)), "label": label})
    report = audit_scores(frame, "label", strict=pa.table({"honest": known, "leak": known}))
    assert report.suspicious == ("leak",)
    assert not report.ok
    found = report["leak"]
    assert found.verdict == "jump"
    assert found.gain is not None
    assert found.gain > 4 * found.gain_error > 0
    assert report["honest"].gain == 0


def test_a_gain_that_noise_explains_is_no_finding(scale: Callable[[int], int]) -> None:
    """Two measurements of one thing, equally good, and columns that tell nothing, in frames of many kinds."""
    alarms = [name for seed in range(scale(500)) for name in _alarms(seed)]
    assert alarms == []


def _alarms(seed: int) -> tuple[str, ...]:
    chance = np.random.default_rng(seed)
    rows = (300, 1_000, 3_000)[seed % 3]
    label = (chance.random(rows) < 0.2, chance.gamma(1, size=rows), chance.integers(0, 5, rows))[seed // 3 % 3]
    signal = chance.normal(size=rows) + 0.6 * label.astype(float)

    def measured() -> dict[str, object]:
        values = signal + chance.normal(size=rows)
        return {
            "signal": signal + 0.5 * chance.normal(size=rows),
            "with_gaps": pa.array(values, mask=chance.random(rows) < 0.3),
            "noise": chance.normal(size=rows),
            "few": chance.poisson(1, rows),
            "names": [f"user {number}" for number in chance.integers(0, rows // 3, rows)],
            "constant_once": np.ones(rows) if chance.random() < 0.5 else chance.normal(size=rows),
        }

    return audit_scores(pa.table({**measured(), "y": label}), "y", strict=pa.table(measured())).suspicious


def test_a_feature_may_be_as_good_as_it_likes_if_it_was_known() -> None:
    perfect = CHURNED + 0.01 * noise()
    report = audit_scores({"perfect": perfect, "y": CHURNED}, "y", strict={"perfect": perfect})
    assert report.ok
    assert report["perfect"].score > 0.97


def test_integers_that_pandas_made_floats_are_the_same_values() -> None:
    frame = pd.DataFrame({"n": np.where(CHURNED, np.nan, SEGMENT), "y": CHURNED})
    strict = pa.table({"n": pa.array(SEGMENT, mask=CHURNED == 1)})
    assert audit_scores(frame, "y", strict=strict)["n"].why.endswith("as known")


def test_the_same_rows_are_compared_so_a_small_leak_is_found_in_a_noisy_feature() -> None:
    known = 0.3 * CHURNED + noise()
    leaked = known + 0.25 * CHURNED
    report = audit_scores({"x": leaked, "y": CHURNED}, "y", strict={"x": known})
    assert report.suspicious == ("x",)
    assert report["x"].gain < 4 * report["x"].error  # the scores' own errors would have hidden it


# --- alone -----------------------------------------------------------------------------------------------------------


def test_without_anything_to_compare_to_only_what_is_too_good_is_flagged() -> None:
    frame = pl.DataFrame({"strong": CHURNED + noise(), "copy": 5 * CHURNED + noise(), "y": CHURNED})
    report = audit_scores(frame, "y")
    assert report.suspicious == ("copy",)
    assert report["copy"].verdict == "too_good"
    assert audit_scores(frame, "y", too_good=0.999).ok


@pytest.mark.parametrize(
    "leak",
    [
        pa.array(noise(), mask=CHURNED == 1),  # missing for those who left
        pa.array(np.where(CHURNED, "left", CITIES)),
        pa.array(np.where(CHURNED, "left", CITIES)).dictionary_encode(),
        pa.array(np.abs(noise()) * np.where(CHURNED, 0, 1)),
        pa.array(np.where(CHURNED, CHANCE.choice([-9.0, 9.0], ROWS), noise())),  # not monotone
        pa.array([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=int(left)) for left in CHURNED]),
        pa.array(CHURNED == 1),
    ],
    ids=["nulls", "text", "dictionary", "zeros", "both ends", "times", "flags"],
)
def test_a_leak_shows_in_any_form(leak: pa.Array) -> None:
    assert audit_scores(pa.table({"leak": leak, "y": CHURNED}), "y").suspicious == ("leak",)


def test_values_that_never_repeat_tell_nothing() -> None:
    frame = {"id": [f"user {number}" for number in range(ROWS)], "y": CHURNED}
    report = audit_scores(pa.table(frame), "y")
    assert report["id"].score == pytest.approx(0.5, abs=0.01)


def test_rows_of_one_entity_count_as_one_piece_of_evidence() -> None:
    users = np.repeat(np.arange(ROWS // 20), 20)
    frame = {"user_id": users, "x": np.repeat(noise()[: ROWS // 20], 20), "y": CHURNED}
    apart, together = audit_scores(frame, "y", features=["x"]), audit_scores(frame, "y", entity="user_id")
    assert [one.feature for one in together.features] == ["x"]
    same = {**frame, "y": np.repeat(CHURNED[: ROWS // 20], 20)}
    assert audit_scores(same, "y", entity="user_id")["x"].error > 2 * audit_scores(same, "y", features=["x"])["x"].error
    assert together["x"].error < 2 * apart["x"].error


def test_rows_without_a_label_are_left_out_and_many_rows_are_sampled() -> None:
    label = pa.array(CHURNED, mask=np.arange(ROWS) % 2 == 0)
    report = audit_scores(pa.table({"x": noise(), "y": label}), "y", sample=500)
    assert (report.rows, report.rows_scored) == (ROWS, 500)
    assert audit_scores(pa.table({"x": noise(), "y": label}), "y").rows_scored == ROWS // 2
    assert audit_scores(pd.DataFrame({"x": noise(), "y": np.where(SEGMENT, SPEND, np.nan)}), "y").rows_scored < ROWS


def test_a_list_is_not_scored_and_said_so() -> None:
    report = audit_scores(pa.table({"last": [[1]] * ROWS, "x": noise(), "y": CHURNED}), "y")
    assert report.ok
    assert list(report.not_scored) == ["last"]
    assert not audit_scores(pa.table({"last": [[1]] * ROWS, "y": CHURNED}), "y").ok


def test_the_same_seed_gives_the_same_report() -> None:
    frame = pa.table({"x": noise(), "y": CHURNED})
    assert audit_scores(frame, "y") == audit_scores(frame, "y")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"label": "churnd"}, "no column 'churnd'"),
        ({"features": ["x", "z"]}, "no column 'z'"),
        ({"entity": "user"}, "no column 'user'"),
        ({"strict": {"x": [1, 2]}}, "strict has 2 rows, the frame 2,000"),
        ({"label": "same"}, "too few to score"),
        ({"sample": 30}, "30 rows with a 'churned' are too few"),
        ({"sample": 0}, "not 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(asked: dict, says: str) -> None:
    frame = pa.table({"x": noise(), "churned": CHURNED, "same": np.ones(ROWS)})
    with pytest.raises(UsageError, match=says):
        audit_scores(frame, **{"label": "churned", **asked})


def test_the_report_is_text_json_a_picture_and_a_table() -> None:
    frame = {"<copy>": 5 * CHURNED + noise(), "x": noise(), "y": CHURNED}
    report = audit_scores(pa.table(frame), "y", strict={"x": noise()})
    assert str(report).startswith("SUSPICIOUS: <copy> (AUC for y, 2,000 of 2,000 rows, against")
    assert "!! <copy>: " in str(report)
    assert json.loads(json.dumps(report.to_dict()))["features"][0]["verdict"] == "too_good"
    svg = report.to_svg()
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = [part.text for part in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<copy>", "x"} <= set(words)
    assert "prefers-color-scheme: dark" in svg
    assert "&lt;copy&gt;" in report._repr_html_()
    assert svg in report._repr_html_()


def test_only_so_many_features_are_drawn_and_the_picture_says_so() -> None:
    frame = pa.table({**{f"feature_{number}_{'x' * 60}": noise() for number in range(33)}, "y": CHURNED})
    svg = audit_scores(frame, "y").to_svg()
    ET.fromstring(svg)
    assert "3 more are not drawn" in svg


# --- a training set --------------------------------------------------------------------------------------------------

NOW = "2026-03-31T00:00:00Z"
MOMENT = pa.timestamp("us", tz="UTC")
USERS = 400


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tw.FeatureStore]:
    """Complaints are made before a user leaves, and read after."""
    fs = tw.FeatureStore.init(tmp_path_factory.mktemp("scores") / "shop", now=NOW)
    chance = np.random.default_rng(5)
    asked = [datetime(2026, 3, 10, tzinfo=UTC) + timedelta(hours=int(chance.integers(0, 200))) for _ in range(USERS)]
    left = chance.random(USERS) < 0.4
    rows = []
    for user in range(USERS):
        for _ in range(chance.poisson(1.0 + 0.4 * left[user])):
            at = asked[user] - timedelta(hours=int(chance.integers(48, 100)))
            rows.append((user, at, at + timedelta(hours=1), 5))
        if left[user]:
            rows.append((user, asked[user] - timedelta(hours=2), asked[user] + timedelta(days=1), 9))
        if left[user] or chance.random() < 0.2:
            rows.append((user, asked[user], asked[user], 7))  # at the very instant
    users, made, read, weight = zip(*rows, strict=True)
    table = {"user_id": users, "made_at": pa.array(made, MOMENT), "read_at": pa.array(read, MOMENT), "weight": weight}
    pq.write_table(pa.table(table), fs.project.root / "complaints.parquet")
    for name, closed in (("complaints", "left"), ("inclusive", "right")):
        fs.register_source(
            tw.Source(name=name, path="complaints.parquet", event_time="made_at", arrival_time="read_at", closed=closed)
        )
        fs.register_group(
            tw.FeatureGroup(
                name=f"{name}_7d",
                entity="user_id",
                source=name,
                owner="care@company",
                features=[tw.Feature(name=f"{name}_7d_count", aggregation=tw.count(window="7d"))],
            )
        )
    spine = {"user_id": range(USERS), "event_ts": pa.array(asked, MOMENT), "churned": left}
    pq.write_table(pa.table(spine), fs.project.root / "spine.parquet")
    yield fs
    fs.close()


def test_a_training_set_as_known_is_proven_and_its_scores_are_fine(shop: tw.FeatureStore) -> None:
    made = shop.get_historical_features("spine.parquet", ["complaints_7d_count"])
    report = shop.audit_leakage(made, label="churned")
    assert report.ok
    assert report.scores is not None
    assert report.scores["complaints_7d_count"].strict == report.scores["complaints_7d_count"].score
    assert [one.feature for one in report.scores.features] == ["complaints_7d_count"]


def test_arrival_times_ignored_show_as_a_jump_although_every_event_precedes_its_row(shop: tw.FeatureStore) -> None:
    made = shop.get_historical_features("spine.parquet", ["complaints_7d_count"], as_of="happened")
    assert shop.audit_leakage(made).ok
    report = shop.audit_leakage(made, label="churned")
    assert not report.ok
    assert report.cells_proven == USERS
    assert report.scores is not None
    assert report.scores.suspicious == ("complaints_7d_count",)
    assert report.to_svg() in report._repr_html_()
    assert "SUSPICIOUS: complaints_7d_count" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["scores"]["ok"] is False


def test_a_source_declared_inclusive_shows_as_a_jump_although_its_cells_are_as_defined(shop: tw.FeatureStore) -> None:
    made = shop.get_historical_features("spine.parquet", ["inclusive_7d_count"])
    report = shop.audit_leakage(made, "churned")
    assert not report.violations
    assert report.scores is not None
    assert report.scores.suspicious == ("inclusive_7d_count",)


def test_a_frame_that_does_not_say_what_it_is_made_of_is_scored_against_the_newest_set_that_fits(
    shop: tw.FeatureStore,
) -> None:
    made = shop.get_historical_features("spine.parquet", ["complaints_7d_count"])
    frame = made.to_pandas()
    frame["refund"] = 4 * frame["churned"] + CHANCE.normal(size=USERS)
    report = shop.audit_leakage(frame, "churned")
    assert not report.ok
    assert report.scores is not None
    assert report.scores.suspicious == ("refund",)
    assert report.scores["complaints_7d_count"].gain == 0
    assert str(report).startswith("only scored: nothing says what these 400 rows were made of, so no cell was proven")
    assert shop.audit_leakage(frame.drop(columns="refund"), "churned").ok


def test_a_frame_of_other_columns_is_scored_alone(shop: tw.FeatureStore) -> None:
    report = shop.audit_leakage(pd.DataFrame({"x": noise(), "y": CHURNED}), "y")
    assert report.ok
    assert report.scores is not None
    assert report.scores.against is None


def test_a_file_is_scored_in_parts_as_in_one(shop: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    target = shop.project.root / "train.parquet"
    shop.get_historical_features("spine.parquet", ["complaints_7d_count"], as_of="happened", to_parquet=target)
    whole = shop.audit_leakage(target, "churned").scores
    assert whole is not None
    assert whole.suspicious == ("complaints_7d_count",)
    monkeypatch.setattr("timewell.build.strict.SCORED_ROWS", 300)
    monkeypatch.setattr("timewell.build.strict._PIECE_ROWS", 90)
    part = shop.audit_leakage(target, "churned").scores
    assert part is not None
    assert (part.rows, part.rows_scored) == (USERS, 300)


def test_a_label_that_is_not_there_is_named(shop: tw.FeatureStore, tmp_path: Path) -> None:
    made = shop.get_historical_features("spine.parquet", ["complaints_7d_count"])
    with pytest.raises(UsageError, match="no column 'churnd'"):
        shop.audit_leakage(made, "churnd")
    with pytest.raises(UsageError, match="no scores to draw"):
        shop.audit_leakage(made).to_svg()
