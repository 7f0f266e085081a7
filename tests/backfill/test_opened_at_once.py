"""Two backfills of one version that begin at the same time fill one shadow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories import refresh_worker as world
from timewell.backfill import make
from timewell.backfill.shadow import open_shadow


def test_the_shadow_that_was_opened_first_is_filled_by_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = world.make(tmp_path / "shop", days=4)
    first = fs.backfill("paid", start=world.day(0), end=world.day(2))
    monkeypatch.setattr(make, "open_shadow", lambda *_: None)  # it looked before the first was there
    second = fs.backfill("paid", start=world.day(0), end=world.day(4))
    monkeypatch.setattr(make, "open_shadow", open_shadow)
    assert second.shadow == first.shadow
    shadows = fs.project.registry.shadows
    assert [one.id for one in shadows.find("paid", status="open") if one.kind == "backfill"] == [first.shadow]
    assert [one.kind for one in shadows.find("paid", status="abandoned")] == ["backfill"]
    assert len(shadows.staged(first.shadow)) == 4
    fs.close()
