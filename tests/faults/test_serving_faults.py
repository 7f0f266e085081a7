"""What a caller of features gets while Redis is slow, stalled, cut, frozen, killed or restarted empty (G10, G11).

No exception, an answer within the deadline, and a word about what it is: degraded, remembered or a default.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

import timewell as tw
from timewell.errors import StoreUnavailable
from timewell.serve import reads
from timewell.serve.budgets import latency
from timewell.testing.fault_proxy import FaultProxy
from timewell.testing.redis_server import RedisServer, running_server
from timewell.types import HOUR_US

NOW = "2026-03-01T00:00:00Z"
SLACK_S = 1.0  # of a busy machine; how long a read takes on a quiet one is measured by bench/serve.py
HEALED_S = 20.0
FEATURES = ["paid_7d", "last_paid"]
USERS = 50


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, proxy: FaultProxy) -> Iterator[tw.FeatureStore]:
    """A project on Redis behind the proxy; user ``n`` paid ``n`` a day ago."""
    fs = opened(tmp_path / "shop", proxy)
    paid = pa.table(
        {
            "user_id": list(range(USERS)),
            "event_time": ["2026-02-28T00:00:00Z"] * USERS,
            "amount": list(range(USERS)),
        }
    )
    fs.register_source(tw.Source(name="payments", frame=paid, event_time="event_time"))
    fs.register_group(
        tw.FeatureGroup(
            name="payments", entity="user_id", source="payments", owner="risk@company", ttl="48h", online=True,
            features=[
                tw.Feature(name="paid_7d", aggregation=tw.sum("amount", window="7d")),
                tw.Feature(name="last_paid", aggregation=tw.latest("amount")),
            ],
        )
    )  # fmt: skip
    fs.materialize_online()
    assert ask(fs, 7).to_dicts() == [{"paid_7d": 7, "last_paid": 7}]
    yield fs
    proxy.heal()
    fs.close()


def opened(place: Path, proxy: FaultProxy, serving: str = "") -> tw.FeatureStore:
    if not place.exists():
        tw.FeatureStore.init(place, now=NOW).close()
    settings = place / "timewell.toml"
    plain = settings.read_text(encoding="utf-8").partition("\n[online]")[0]
    store = f'\n[online]\nbackend = "redis"\nurl = "redis://127.0.0.1:{proxy.port}/0"\ntimeout = "20s"\n'
    settings.write_text(f'{plain}{store}\n[serving]\ntimeout = "50ms"\n{serving}', encoding="utf-8")
    return tw.FeatureStore(place, now=NOW)


def ask(fs: tw.FeatureStore, *users: int) -> tw.OnlineFeatures:
    return fs.get_online_features(FEATURES, [{"user_id": user} for user in users], defaults={"paid_7d": -1})


def is_right(answer: tw.OnlineFeatures, *users: int) -> bool:
    return list(answer.rows) == [[user, user] for user in users]


FAULTS: dict[str, Callable[[RedisServer, FaultProxy], None]] = {
    "late": lambda _, proxy: proxy.delay(0.1),
    "stalled": lambda _, proxy: proxy.stall(),
    "cut": lambda _, proxy: proxy.cut_after(100),
    "refused": lambda _, proxy: proxy.refuse(),
    "frozen": lambda server, _: server.freeze(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_answer_comes_in_time_and_says_what_it_is(
    shop: tw.FeatureStore, server: RedisServer, proxy: FaultProxy, fault: str
) -> None:
    FAULTS[fault](server, proxy)
    time.sleep(0.25)  # the age of kept rows is on the machine's own clock: they must not answer for the store
    for round_ in range(12):  # more than open the breaker
        began = time.monotonic()
        answer = ask(shop, 7, 10 + round_)
        assert time.monotonic() - began < 0.05 + SLACK_S
        assert answer.degraded
        assert answer.rows[0] == [7, 7], "what was read before is remembered"
        assert answer.row_statuses[0] == ("present", "present")
        assert answer.rows[1] == [-1, None], "what was not is the caller's default, or null"
        assert answer.row_statuses[1] == ("default", "default")
    counts = shop._reader._reads.counters()
    assert counts["store_no_answer"]() >= 5
    assert counts["store_breaker_open"]() >= 1
    assert sum(causes(shop).values()) == 12, "each degraded answer has its cause"
    assert causes(shop)["breaker_open"] >= 1

    proxy.heal()
    server.thaw()
    end = time.monotonic() + HEALED_S
    while (answer := ask(shop, 30, 31)).degraded:
        assert time.monotonic() < end
    assert is_right(answer, 30, 31)
    assert all(is_right(ask(shop, user), user) for user in range(USERS)), "and no reply is shifted by one"


def test_an_emptied_store_is_noticed_by_the_next_request_and_the_next_refresh_fills_it(
    shop: tw.FeatureStore, server: RedisServer
) -> None:
    server.kill()
    server.start()
    time.sleep(0.25)
    end = time.monotonic() + HEALED_S
    while not (counts := shop._reader._reads.counters())["store_emptied"]():
        answer = ask(shop, 7, 8)
        assert answer.degraded
        assert answer.rows == [[7, 7], [-1, None]]
        assert answer.row_statuses[1] == ("default", "default"), "never passed off as an entity without events"
        assert time.monotonic() < end
    assert counts["store_emptied"]() >= 1
    assert causes(shop)["emptied"] >= 1
    [report] = shop.materialize_online()
    assert report.action == "built"
    answer = ask(shop, 7, 8)
    assert not answer.degraded
    assert is_right(answer, 7, 8)


def test_a_store_restarted_from_an_older_dump_is_noticed_by_every_process_and_the_next_refresh_mends_it(
    shop: tw.FeatureStore, server: RedisServer, proxy: FaultProxy
) -> None:
    server.ask("SAVE")
    shop.project.clock.move(HOUR_US)  # type: ignore[attr-defined]  # a frozen clock
    shop.materialize_online()
    newer = ask(shop, 7, 8)
    assert not newer.degraded
    server.kill()
    server.start()  # with what it had saved
    time.sleep(0.25)  # rows that are kept
    counts, end = shop._reader._reads.counters(), time.monotonic() + HEALED_S
    while not counts["store_rolled_back"]():
        assert ask(shop, 7, 8).degraded
        assert time.monotonic() < end
    answer = ask(shop, 7, 8)
    assert answer.degraded
    assert answer.as_of_us["payments"] == newer.as_of_us["payments"] - HOUR_US, "it says which"
    assert ask(shop, 9).degraded, "by the shortest way, too"
    other = opened(shop.project.root, proxy)
    assert ask(other, 7).degraded, "who never read what was newer goes by the registry"
    assert ask(other, 7).as_of_us == answer.as_of_us
    other.close()
    assert causes(shop)["rolled_back"] >= 4
    shop.project.clock.move(HOUR_US)  # type: ignore[attr-defined]
    shop.materialize_online()
    assert not ask(shop, 7, 8).degraded
    assert is_right(ask(shop, 7, 8, 9), 7, 8, 9)


@pytest.mark.parametrize("forgotten", ["_newest_of", "expect"])
def test_a_reader_that_remembers_no_state_or_does_not_ask_the_registry_is_caught(
    shop: tw.FeatureStore, server: RedisServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """The broken controls."""
    broken = {"_newest_of": lambda _, wanted: [None] * len(wanted), "expect": lambda _, states: None}
    monkeypatch.setattr(reads.RemoteReads, forgotten, broken[forgotten])
    with pytest.raises(AssertionError):
        test_a_store_restarted_from_an_older_dump_is_noticed_by_every_process_and_the_next_refresh_mends_it(
            shop, server, proxy
        )


def causes(fs: tw.FeatureStore) -> Mapping[str, int]:
    """Return why answers were degraded, as `timewell latency` tells it of the group."""
    [row] = [row for row in latency(fs.project).rows if row.name == "payments@v1"]
    return row.causes


def test_who_wants_no_fallback_is_told(shop: tw.FeatureStore, proxy: FaultProxy) -> None:
    strict = opened(shop.project.root, proxy, 'on_unavailable = "error"\n')
    assert is_right(ask(strict, 7), 7)
    proxy.refuse()
    time.sleep(0.25)
    with pytest.raises(StoreUnavailable):
        ask(strict, 8)
    strict.close()


def test_remembered_values_expire_as_any_others(shop: tw.FeatureStore, proxy: FaultProxy) -> None:
    proxy.refuse()
    time.sleep(0.25)
    shop.project.clock.move(24 * 3_600_000_000)  # type: ignore[attr-defined]  # a frozen clock
    answer = ask(shop, 7)
    assert (answer.rows[0], answer.row_statuses[0]) == ([7, None], ("present", "expired"))
    assert answer.degraded


def test_an_event_loop_is_not_held_up_and_gets_the_same(shop: tw.FeatureStore, proxy: FaultProxy) -> None:
    async def beside() -> tuple[list[tw.OnlineFeatures], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        asked = [shop.aget_online_features(FEATURES, [{"user_id": user}]) for user in range(40)]
        answers = await asyncio.gather(*asked)
        ticking.cancel()
        return answers, ticks

    proxy.delay(0.01)
    answers, ticks = asyncio.run(beside())
    assert [answer.rows for answer in answers] == [[[user, user]] for user in range(40)]
    assert ticks > 0
    proxy.stall()
    time.sleep(0.25)
    answers, _ = asyncio.run(beside())
    assert all(answer.degraded for answer in answers)


def test_a_reader_without_a_guard_is_caught(
    shop: tw.FeatureStore, server: RedisServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken control: the store's own failure reaches the caller."""
    monkeypatch.setattr(reads.RemoteReads, "read", lambda self, wanted: self._store.read(wanted, timeout_s=0.05))
    with pytest.raises(StoreUnavailable):
        test_every_answer_comes_in_time_and_says_what_it_is(shop, server, proxy, "refused")
