"""What every test may rely on: property-test profiles, counts that scale, and an environment without our settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = int(os.environ.get("TIMEWELL_TEST_SCALE", "1"))  # 10 under `./run test --all`
FULL_SCALE, DAILY_SHARE, LEAST = 10, 25, 20

# what a developer has set for the command line must not change what a test sees
for _name in [name for name in os.environ if name.startswith("TIMEWELL_")]:
    if not _name.startswith("TIMEWELL_TEST_"):
        del os.environ[_name]

# each process that a test starts would compile all of the package again: a third of what it costs
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

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
def scale() -> Callable[..., int]:
    """Turn a stated count into this run's: all of it under ``--all``, else a 25th but at least 20 (if stated).

    A second kind of the same thing, drawn beside twenty of another kind, may have a smaller ``least``.
    """

    def scaled(stated: int, *, least: int = LEAST) -> int:
        return stated if SCALE >= FULL_SCALE else min(stated, max(least, stated * SCALE // DAILY_SHARE))

    return scaled
