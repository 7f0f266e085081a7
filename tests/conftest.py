"""What every test may rely on: property-test profiles, counts that scale, and an environment without our settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = int(os.environ.get("TIMEWELL_TEST_SCALE", "1"))  # 10 under `./run test --all`
FULL_SCALE = 10

# what a developer has set for the command line must not change what a test sees
for _name in [name for name in os.environ if name.startswith("TIMEWELL_")]:
    if not _name.startswith("TIMEWELL_TEST_"):
        del os.environ[_name]

settings.register_profile(
    "default",
    max_examples=50 * SCALE,
    deadline=None,  # a time limit per example fails on a busy machine and finds nothing
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("default")


@pytest.fixture(scope="session")
def scale() -> Callable[[int], int]:
    """Turn a stated count into this run's: all of it under ``--all``, else a tenth but at least 20 (if stated)."""

    def scaled(stated: int) -> int:
        return min(stated, max(20, stated * SCALE // FULL_SCALE))

    return scaled
