"""Seed example 5, second half: the server's answer is what the program's own function gives, and both sides stay alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

import timewell as tw
from timewell.clock import FrozenClock
from timewell.define.load import run_file
from timewell.errors import TransformMismatch
from timewell.types import format_instant, parse_instant

NOW = "2026-03-01T12:00:00Z"

GEO = """\
import timewell as tw


# Shared transform used offline and online

@tw.transform(version="v1", returns="int64")
def country_to_id(country: str) -> int:
    lut = {
        'US': 1, 'CA': 2, 'GB': 3, 'DE': 4
    }
    return lut.get(country, 0)


country_id = tw.Feature(name="country_id", owner="growth-ml@company", transform=country_to_id)
"""

ONLINE = """
req['country_id'] = country_to_id(req['country'])
"""

CHECK = """
assert distribution_diff(
    sample_online('country_id'),
    sample_offline('country_id')
) < 0.05
"""


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[tw.FeatureStore]:
    """A project whose every answer is sampled."""
    tw.FeatureStore.init(tmp_path / "shop", now=NOW).close()
    with (tmp_path / "shop" / "timewell.toml").open("a") as file:
        file.write("\n[profile.sampling.serving]\nsample_rate = 1.0\nsample_most = 10000\n")
    (tmp_path / "shop" / "features" / "geo.py").write_text(GEO)
    with closing(tw.FeatureStore(tmp_path / "shop", profile="sampling", now=NOW)) as store:
        store.apply()
        yield store


@pytest.fixture
def country_to_id(fs: tw.FeatureStore) -> Callable[[Any], int]:
    function: Callable[[Any], int] = run_file(fs.project.root / "features" / "geo.py", "geo.py").country_to_id
    return function


def ask(fs: tw.FeatureStore, country: object) -> object:
    return fs.get_online_features(["country_id"], [{}], request={"country": country}).rows[0][0]


def test_the_programs_line_and_the_servers_answer_are_equal(
    fs: tw.FeatureStore, country_to_id: Callable[[Any], int]
) -> None:
    for country in ("US", "CA", "GB", "DE", "FR", "", "ドイツ", None):
        req: dict[str, Any] = {"country": country}
        exec(ONLINE, {"req": req, "country_to_id": country_to_id})  # the seed's own line
        assert req["country_id"] == ask(fs, country)


def test_the_seeds_assertion_holds_on_what_was_served(fs: tw.FeatureStore) -> None:
    draw, clock = random.Random(5), cast("FrozenClock", fs.project.clock)
    for minute in range(300):
        clock.set(format_instant(parse_instant(NOW) + minute * 60_000_000))
        ask(fs, draw.choice(["US", "US", "CA", "GB", "DE", "FR", None]))
    fs._reader.close()  # writes what was sampled
    verbs = {"sample_online": fs.sample_online, "sample_offline": fs.sample_offline}
    exec(CHECK, {"distribution_diff": tw.distribution_diff, **verbs})  # the seed's own lines
    assert len(fs.sample_online("country_id")) == 300
    assert list(fs.sample_online("country_id")) == list(fs.sample_offline("country_id"))


def test_a_table_that_changed_under_its_version_serves_nothing(
    fs: tw.FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(fs, "US") == 1
    (fs.project.root / "features" / "geo.py").write_text(GEO.replace("'US': 1", "'US': 10"))
    monkeypatch.setattr("timewell.define.transform._made", {})  # as in a process that starts anew
    with (
        closing(tw.FeatureStore(fs.project.root, now=NOW)) as other,
        pytest.raises(TransformMismatch, match="country_to_id@v1"),
    ):
        ask(other, "US")
