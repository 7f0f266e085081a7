"""The online store in a Redis Cluster: the laws of rows, and what only a cluster can do: move slots, lose a node."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import pytest

from timewell.backends import redis
from timewell.backends.redis import loading
from timewell.backends.redis.cluster import Cluster, slot_of
from timewell.errors import BuildMissing, StoreUnavailable, Superseded
from timewell.stores.online import ReadKeys
from timewell.testing.online_children import mark_of
from timewell.testing.online_laws import GROUP, OnlineRowLaws, OnlineSharingLaws, text_key
from timewell.testing.redis_server import running_cluster

WAIT_S = 10.0
MANY = [text_key(f"{number:05}") for number in range(3_000)]


@pytest.fixture(scope="module")
def cluster():
    with running_cluster() as nodes:
        yield nodes


class TestRedisCluster(OnlineRowLaws):
    """Marks and rows lie on different nodes: the laws about one look at both are not among these."""

    test_another_process_sees_every_write = (
        OnlineSharingLaws.test_another_process_sees_every_write_as_soon_as_it_returned
    )
    test_writers_of_one_build_take_turns = OnlineSharingLaws.test_writers_of_one_build_take_turns
    test_of_concurrent_first_loads_the_newest_stays = OnlineSharingLaws.test_of_concurrent_first_loads_the_newest_stays

    opener = "timewell.backends.redis:open"

    @pytest.fixture(autouse=True)
    def _cluster(self, cluster) -> None:
        self.url = cluster[0].url

    def settings(self, place: Path) -> dict[str, object]:
        prefix = blake2b(str(place).encode(), digest_size=8).hexdigest()
        return {"url": self.url, "prefix": prefix, "timeout_s": WAIT_S}


@pytest.fixture
def store(cluster):
    for node in cluster:
        node.ask("FLUSHALL")
    opened = redis.open(cluster[1].url, prefix="shop", timeout_s=WAIT_S)
    opened.load(GROUP, [(key, b"1") for key in MANY], mark_of(1))
    yield opened
    opened.close()


def looked_up(store, keys=MANY):
    return store.read([ReadKeys(GROUP, keys)])[0]


def test_a_keys_slot_is_what_the_server_says(cluster) -> None:
    for name in (b"a", b"{a}b", b"x{a}b", b"{}a", b"{", b"}{a}", b"a{b}{c}", b"\xff{\0}"):
        assert cluster[0].ask("CLUSTER", "KEYSLOT", name) == slot_of(name)


def test_rows_lie_on_every_node_and_are_read_from_all(store, cluster) -> None:
    shares = [node.ask("DBSIZE") for node in cluster]
    assert min(shares) > len(MANY) / 5
    assert looked_up(store).rows == [b"1"] * len(MANY)
    report = store.refresh(GROUP, [(key, b"2") for key in MANY[:2_000]], MANY[2_500:], mark_of(2))
    assert (report.written, report.deleted, report.rows) == (2_000, 500, 2_500)
    assert Counter(looked_up(store).rows) == {b"2": 2_000, b"1": 500, None: 500}
    assert dict(store.scan(GROUP)) == {key: row for key, row in zip(MANY, looked_up(store).rows, strict=True) if row}
    store.drop(GROUP)
    assert sum(node.ask("DBSIZE") for node in cluster) == 0


@pytest.mark.parametrize("backwards", [False, True])
def test_a_sweep_between_any_two_nodes_of_a_load_leaves_it_alone(store, monkeypatch, backwards) -> None:
    """The nodes are asked one after the other here, in either order; another loader's sweep comes after each."""
    asked, remove = Cluster._ask, loading.remove
    swept, removed = set(), []

    def one_by_one(cluster, groups, commands, replies, until) -> None:
        for node in sorted(groups, key=lambda node: node.port, reverse=backwards):
            asked(cluster, {node: groups[node]}, commands, replies, until)
            swept.add(node.port)
            with monkeypatch.context() as plainly:
                plainly.setattr(Cluster, "_ask", asked)
                plainly.setattr(loading, "remove", lambda *gone: (removed.append(gone[-1]), remove(*gone)))
                loading.sweep(cluster, store._names)

    monkeypatch.setattr(Cluster, "_ask", one_by_one)
    for turn in range(8):  # whose generations lie on all nodes
        assert store.load(f"swept/{turn}", [(MANY[0], b"1")], mark_of(1)).rows == 1
    assert removed == []
    assert len(swept) == 3


def test_first_calls_at_once_share_one_server_for_each_node(store, monkeypatch) -> None:
    """A second one for the same node would be dropped with its connections open."""
    cluster = store._wire()
    made, sibling = [], cluster._seed.sibling

    def slowly(host, port):
        time.sleep(0.01)
        made.append(sibling(host, port))
        return made[-1]

    monkeypatch.setattr(cluster._seed, "sibling", slowly)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: cluster._node("127.0.0.1", 1), range(4)))
        assert len(made) > 1
        assert len(set(map(id, found))) == 1
        store.close()
        assert len(set(threads.map(lambda _: id(store._wire()), range(4)))) == 1


def test_an_older_refresh_is_refused_on_every_node(store) -> None:
    store.refresh(GROUP, [], [MANY[0]], mark_of(5))
    with pytest.raises(Superseded):
        store.refresh(GROUP, [(key, b"older") for key in MANY], [], mark_of(4))
    assert Counter(looked_up(store).rows) == {b"1": len(MANY) - 1, None: 1}


def test_a_part_that_a_node_lost_is_never_read_as_no_value(store, cluster) -> None:
    next(node for node in cluster if not _has_mark(node)).ask("FLUSHALL")
    assert looked_up(store) == (None, [None] * len(MANY))
    assert store.mark(GROUP) is None
    with pytest.raises(BuildMissing):
        store.refresh(GROUP, [(MANY[0], b"2")], [], mark_of(2))
    store.load(GROUP, [(key, b"3") for key in MANY], mark_of(3))
    assert looked_up(store).rows == [b"3"] * len(MANY)


def _has_mark(node) -> bool:
    return any(name.endswith(b":mark") for name in node.ask("KEYS", "*"))


def test_slots_that_move_are_followed(store, cluster) -> None:
    assert looked_up(store).rows == [b"1"] * len(MANY)
    name = next(name for name in cluster[0].ask("KEYS", "*{*") if not name.endswith((b":mark", b":control")))
    slot = slot_of(name)
    source, target = cluster[0], cluster[2]
    ids = [node.ask("CLUSTER", "MYID") for node in (source, target)]
    target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[0])
    source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[1])
    keys = source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "10000")
    source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    assert looked_up(store).rows == [b"1"] * len(MANY), "asked where the slot goes to"
    for node in (target, source, cluster[1]):
        node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", ids[1])
    assert looked_up(store).rows == [b"1"] * len(MANY), "told that it has moved"
    assert store.refresh(GROUP, [(key, b"2") for key in MANY], [], mark_of(2)).written == len(MANY)


def test_a_frozen_node_holds_no_read_up(store, cluster) -> None:
    assert looked_up(store).rows == [b"1"] * len(MANY)
    cluster[2].freeze()
    try:
        with pytest.raises(StoreUnavailable):
            store.read([ReadKeys(GROUP, MANY)], timeout_s=0.05)
    finally:
        cluster[2].thaw()
    assert looked_up(store).rows == [b"1"] * len(MANY)


def test_a_dead_node_takes_nothing_with_it_but_its_own_rows(store, cluster) -> None:
    """Also where it is the one that the URL names; restarted empty, what it had is missing and not "no value"."""
    dead = next(node for node in cluster if not _has_mark(node))
    store = redis.open(dead.url, prefix="shop", timeout_s=WAIT_S)
    assert looked_up(store).rows == [b"1"] * len(MANY)
    own = {slot_of(name) for name in dead.ask("KEYS", "*{*")}
    names = store._looks.last(GROUP).generation.rows(MANY)
    there = [key for key, name in zip(MANY, names, strict=True) if slot_of(name) in own]
    others = [key for key in MANY if key not in set(there)]
    dead.kill()
    with pytest.raises(StoreUnavailable):
        looked_up(store, there)
    assert soon(lambda: looked_up(store, others).rows == [b"1"] * len(others))
    dead.start()
    assert soon(lambda: looked_up(store, there).mark is None)
    assert soon(lambda: store.load(GROUP, [(key, b"2") for key in MANY], mark_of(2)).rows == len(MANY))
    assert looked_up(store).rows == [b"2"] * len(MANY)
    store.close()


def soon(check) -> bool:
    """Whether something becomes true; a node that is down, or comes up, is told of by its errors meanwhile."""
    end = time.monotonic() + 6 * WAIT_S
    while time.monotonic() < end:
        with suppress(StoreUnavailable):
            if check():
                return True
        time.sleep(0.05)
    return False
