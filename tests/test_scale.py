"""The counts that a run scales."""

from __future__ import annotations

import os


def test_a_full_run_does_the_stated_count_and_a_daily_one_a_25th_but_at_least_twenty(scale) -> None:
    full = os.environ.get("TIMEWELL_TEST_SCALE", "1") == "10"
    wanted = [5, 20, 100, 500, 5_000] if full else [5, 20, 20, 20, 200]
    assert [scale(stated) for stated in (5, 20, 100, 500, 5_000)] == wanted
    assert scale(200, least=5) == (200 if full else 8)
