"""The online store in Redis under the laws, and what is its own: names, fences, what killed processes leave."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import pytest

from timewell.testing.online_laws import OnlineStoreLaws
from timewell.testing.redis_server import redis_url

OPENER = "timewell.backends.redis:open"


@pytest.fixture(scope="session")
def url():
    with redis_url() as found:
        yield found


class TestRedis(OnlineStoreLaws):
    opener = OPENER

    @pytest.fixture(autouse=True)
    def _server(self, url) -> None:
        self.url = url

    def settings(self, place: Path) -> dict[str, object]:
        return {"url": self.url, "prefix": blake2b(str(place).encode(), digest_size=8).hexdigest()}
