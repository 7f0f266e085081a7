"""A scan of a build in Redis while others write: what was not told yet is read anew."""

from __future__ import annotations

from timewell.backends import redis
from timewell.testing.online_children import KEYS, mark_of
from timewell.testing.online_laws import GROUP
from timewell.testing.redis_server import running_server


def test_a_short_scan_whose_build_is_refreshed_and_replaced_is_of_the_newer_load(monkeypatch) -> None:
    """A row comes after the lists of keys were read, and another load before anybody looks whether all were found."""
    with running_server() as server:
        store = redis.open(server.url, prefix="shop", timeout_s=5.0)
        store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
        wire = store._wire()
        get_many, calls = wire.get_many, []

        def between(found, until):
            calls.append(found)
            if len(calls) > 1:
                return get_many(found, until)
            store.refresh(GROUP, [(KEYS[1], b"2")], [], mark_of(2))
            answer = get_many(found, until)
            store.load(GROUP, [(KEYS[0], b"3"), (KEYS[1], b"3")], mark_of(3))
            return answer

        monkeypatch.setattr(wire, "get_many", between)
        assert dict(store.scan(GROUP)) == {KEYS[0]: b"3", KEYS[1]: b"3"}
        store.close()
