"""What every registry remembers of skew: each measurement, the newest of each feature, and no more than is wanted."""

# ruff: noqa: D102 - the name of a law is its sentence

from __future__ import annotations

from dataclasses import replace

from timewell.stores.registry import RegistryBackend
from timewell.stores.skew import SkewRecord
from timewell.testing.registry_opened import Opened

MEASURED = SkewRecord(
    group="spend",
    version="v1",
    feature="country_id",
    at_us=10,
    distance=0.125,
    verdict="differs",
    online_rows=5_000,
    offline_rows=4_999,
    detail={"metric": "total_variation", "causes": {"null": 0.1}},
)


class SkewLaws(Opened):
    """The history of measurements."""

    def test_nothing_was_measured_yet(self, registry: RegistryBackend) -> None:
        registry.skew.add([])
        assert (registry.skew.history(), registry.skew.last(), registry.skew.prune(99)) == ([], [], 0)

    def test_what_was_measured_is_there_for_others_newest_first(
        self, registry: RegistryBackend, other: RegistryBackend
    ) -> None:
        later, elsewhere = replace(MEASURED, at_us=20, distance=0.0), replace(MEASURED, feature="spend_7d")
        registry.skew.add([MEASURED, elsewhere])
        registry.skew.add([later])
        assert [replace(one, id=0) for one in other.skew.history("country_id")] == [later, MEASURED]
        assert [one.feature for one in other.skew.history(limit=2)] == ["country_id", "spend_7d"]

    def test_the_newest_is_the_one_written_last_whatever_its_clock_says(self, registry: RegistryBackend) -> None:
        registry.skew.add([MEASURED, replace(MEASURED, at_us=5), replace(MEASURED, version="v2")])
        assert [(one.version, one.at_us) for one in registry.skew.last()] == [("v1", 5), ("v2", 10)]

    def test_old_ones_go_and_the_newest_of_each_feature_stays(self, registry: RegistryBackend) -> None:
        registry.skew.add([MEASURED, replace(MEASURED, at_us=20), replace(MEASURED, feature="spend_7d")])
        assert registry.skew.prune(before_us=100) == 1
        assert [(one.feature, one.at_us) for one in registry.skew.history()] == [("spend_7d", 10), ("country_id", 20)]
