"""A function that fails for what it is given is told of to its owner, as any other reason for degraded answers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import timewell as tw
from timewell.cli import main


@tw.transform(version="v1")
def per_price(price: int) -> float:
    return 1 / price


def test_its_owner_is_told_and_has_a_runbook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(tw.FeatureStore.init(tmp_path / "shop")) as fs:
        fs.register_feature({"name": "per_price", "owner": "pricing@shop", "transform": per_price})
        for price in [0] * 30 + [1] * 30:
            fs.get_online_features(["per_price"], [{}], request={"price": price})
        notices = [turn.notice for turn in fs.watch().outcome.turns if turn.notice is not None]
        assert [(one.kind, *one.state.key[1:], one.state.owner) for one in notices] == [
            ("breach", "per_price", "v1", "degraded", "pricing@shop")
        ]
        assert "transform_failed 30" in str(notices[0])
    assert main(["--project", str(tmp_path / "shop"), "runbook", "per_price"]) == 0
    assert "transform_failed" in capsys.readouterr().out
