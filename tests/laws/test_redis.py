"""The online store in Redis under the laws, and what is its own: names, fences, what killed processes leave."""

from __future__ import annotations

import signal
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from time import monotonic

import pytest

from timewell import chance
from timewell.backends import redis
from timewell.backends.redis import changing, loading, names, scripts
from timewell.backends.redis.changing import Change, acts_of
from timewell.backends.redis.links import server_at
from timewell.errors import BuildMissing, ConfigError, StoreUnavailable, Superseded, Unsupported
from timewell.stores.online import ReadKeys
from timewell.testing.online_children import KEYS, mark_of
from timewell.testing.online_laws import GROUP, OnlineStoreLaws, text_key
from timewell.testing.redis_server import free_port, redis_url, running_server

SESSION = f"test-{chance.new_id()}-"
OPENER = "timewell.backends.redis:open"
WAIT_S = 5.0  # no test fails because the machine is busy


@pytest.fixture(scope="session")
def url():
    with redis_url(SESSION) as found:
        yield found


class TestRedis(OnlineStoreLaws):
    opener = OPENER

    @pytest.fixture(autouse=True)
    def _server(self, url) -> None:
        self.url = url

    def settings(self, place: Path) -> dict[str, object]:
        prefix = SESSION + blake2b(str(place).encode(), digest_size=8).hexdigest()
        return {"url": self.url, "prefix": prefix, "timeout_s": WAIT_S}


@pytest.fixture(scope="module")
def server():
    with running_server() as running:
        yield running


@pytest.fixture
def store(server):
    server.ask("FLUSHALL")
    opened = redis.open(server.url, prefix="shop", timeout_s=WAIT_S)
    yield opened
    opened.close()


def row(store, key=KEYS[0], build=GROUP):
    return store.read([ReadKeys(build, [key])])[0].rows[0]


def everything_in(server) -> bytes:
    """Return all names and values of a server as one text."""
    asking = server_at(server.url)
    found = server.ask("KEYS", "*")
    kinds = asking.run([(b"TYPE", name) for name in found], monotonic() + 60)
    reading = {b"string": b"GET", b"set": b"SMEMBERS", b"hash": b"HGETALL"}
    values = asking.run([(reading[kind], name) for kind, name in zip(kinds, found, strict=True)], monotonic() + 60)
    asking.close()
    return b"\n".join([*found, *(part for value in values for part in (value if isinstance(value, list) else [value]))])


# --- one round trip --------------------------------------------------------------------------------------------------


def test_a_request_over_several_builds_is_one_command(store, server) -> None:
    for build in ("a/v1/1", "b/v1/1", "c/v1/1"):
        store.load(build, [(key, build.encode()) for key in KEYS], mark_of(1))
    wanted = [ReadKeys(build, KEYS[:20]) for build in ("a/v1/1", "b/v1/1", "c/v1/1")]
    store.read(wanted)
    server.ask("CONFIG", "RESETSTAT")
    found = store.read(wanted)
    assert [set(rows) for _, rows in found] == [{b"a/v1/1"}, {b"b/v1/1"}, {b"c/v1/1"}]
    stats = server.ask("INFO", "commandstats").decode()
    assert "cmdstat_mget:calls=1," in stats
    assert stats.count("cmdstat_") == 2, "the MGET, and the RESETSTAT before it"


def test_no_row_expires(store, server) -> None:
    store.load(GROUP, [(key, b"row") for key in KEYS], mark_of(1))
    store.refresh(GROUP, [(text_key("new"), b"row")], [], mark_of(2))
    assert {server.ask("PTTL", name) for name in server.ask("KEYS", "*")} == {-1}


# --- emptied, evicted ------------------------------------------------------------------------------------------------


def test_an_emptied_store_has_no_builds_and_is_never_read_as_no_value(store, server) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    assert row(store) == b"1"
    server.ask("FLUSHALL")
    assert store.read([ReadKeys(GROUP, [KEYS[0]])]) == [(None, [None])]
    assert store.builds() == []
    with pytest.raises(BuildMissing):
        store.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2))
    assert store.mark(GROUP) is None, "a refresh must not make a build of some rows look whole"
    store.load(GROUP, [(KEYS[0], b"3")], mark_of(1))
    assert row(store) == b"3"


def test_a_build_whose_store_was_emptied_while_it_was_written_is_not_published(store, server) -> None:
    def rows():
        for number in range(5_000):
            if number == 4_000:
                server.ask("FLUSHALL")
            yield text_key(f"{number:05}"), b"row"

    with pytest.raises(BuildMissing):
        store.load(GROUP, rows(), mark_of(1))
    assert store.mark(GROUP) is None
    assert store.builds() == []


def test_a_large_refresh_whose_store_was_emptied_in_the_middle_makes_no_build(store, server, monkeypatch) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    chunk = changing._Writer._chunk

    def emptied(self, part, acts):
        server.ask("FLUSHALL")
        return chunk(self, part, acts)

    monkeypatch.setattr(changing._Writer, "_chunk", emptied)
    with pytest.raises(BuildMissing):
        store.refresh(GROUP, [(text_key(f"{number}"), b"2") for number in range(1_500)], [], mark_of(2))
    assert server.ask("DBSIZE") == 0


def test_a_server_that_may_evict_rows_is_refused_before_anything_is_written(store, server) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "64mb", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Unsupported, match="allkeys-lru"):
            store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
        assert server.ask("DBSIZE") == 0
        server.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")


def test_a_full_server_says_so_and_what_was_live_stays(store, server) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for write in (
            lambda: store.load("new/v1/1", [(KEYS[0], b"2")], mark_of(2)),
            lambda: store.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2)),
        ):
            with pytest.raises(StoreUnavailable, match="OOM"):
                write()
        assert row(store) == b"1"
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")


# --- fences ----------------------------------------------------------------------------------------------------------


def overtaken(store, monkeypatch, meanwhile):
    """Refresh 1,500 rows as of 2; before its second chunk, let something else happen. Returns what it raised."""
    chunk, chunks = changing._Writer._chunk, []

    def interrupted(self, part, acts):
        chunks.append(part)
        if len(chunks) == 2:
            monkeypatch.setattr(changing._Writer, "_chunk", chunk)
            meanwhile()
        return chunk(self, part, acts)

    monkeypatch.setattr(changing._Writer, "_chunk", interrupted)
    many = [text_key(f"{number:05}") for number in range(1_500)]
    store.load(GROUP, [(key, b"1") for key in many], mark_of(1))
    with pytest.raises(Superseded):
        store.refresh(GROUP, [(key, b"2") for key in many], [], mark_of(2))
    return many


def test_a_late_chunk_of_an_older_refresh_changes_nothing(store, monkeypatch) -> None:
    last = text_key("01499")

    def meanwhile() -> None:
        store.refresh(GROUP, [(text_key("00000"), b"3")], [last], mark_of(3))

    many = overtaken(store, monkeypatch, meanwhile)
    rows = dict(store.scan(GROUP))
    assert last not in rows, "a deleted row does not come back"
    assert rows[many[1_400]] == b"1", "a row that the newer refresh found right stays"
    assert rows[many[0]] == b"3"
    assert store.mark(GROUP).as_of_us == 3
    assert store.mark(GROUP).rows == len(rows) == 1_499


def test_without_the_fence_that_check_fails(store, monkeypatch) -> None:
    broken = scripts.CHUNK.replace("part:sub(17, 32) ~= ARGV[1]", "false")
    assert broken != scripts.CHUNK
    monkeypatch.setattr(scripts, "CHUNK", broken)
    last = text_key("01499")
    overtaken(store, monkeypatch, lambda: store.refresh(GROUP, [], [last], mark_of(3)))
    assert row(store, last) == b"2", "the broken control must bring the deleted row back"


def test_a_refresh_that_an_erasure_interrupts_begins_again_unless_it_was_a_difference(store, monkeypatch) -> None:
    """What it was computed against is not there any more; its writer looks again."""
    gone = text_key("00007")
    chunk, chunks = changing._Writer._chunk, []

    def interrupted(self, part, acts):
        chunks.append(part)
        if len(chunks) == 2:
            store.erase(GROUP, [gone])
        return chunk(self, part, acts)

    many = [text_key(f"{number:05}") for number in range(1_500)]
    seq = store.load(GROUP, [(key, b"1") for key in many], mark_of(1)).mark.refresh_seq
    monkeypatch.setattr(changing._Writer, "_chunk", interrupted)
    with pytest.raises(Superseded):
        store.refresh(GROUP, [(key, b"2") for key in many[1:]], [], mark_of(2), base_seq=seq)
    assert store.mark(GROUP).as_of_us == 1


def test_a_refresh_of_many_chunks_deletes_and_counts_as_a_small_one_does(store) -> None:
    many = [text_key(f"{number:05}") for number in range(3_500)]
    store.load(GROUP, [(key, b"1") for key in many[:3_000]], mark_of(1))
    report = store.refresh(GROUP, [(key, b"2") for key in many[1_000:]], many[:1_200], mark_of(2))
    assert (report.written, report.deleted, report.rows) == (2_500, 1_200, 2_500)
    assert dict(store.scan(GROUP)) == dict.fromkeys(many[1_000:], b"2")


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_after_a_killed_refresh_of_many_chunks_the_next_one_mends_rows_and_count(store, server, chunk) -> None:
    many = [text_key(f"{number:05}") for number in range(3_000)]
    store.load(GROUP, [(key, b"1") for key in many[:2_000]], mark_of(1))
    program = f"""
import os, signal
from timewell.backends.redis import changing, open
from timewell.testing.online_children import mark_of
from timewell.testing.online_laws import GROUP, text_key
chunks, make = [], changing._Writer._chunk
def killed(self, part, acts):
    chunks.append(part)
    if len(chunks) == {chunk}:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(self, part, acts)
changing._Writer._chunk = killed
many = [text_key(f"{{number:05}}") for number in range(3_000)]
open({server.url!r}, prefix="shop").refresh(GROUP, [(key, b"2") for key in many[1_000:]], many[:500], mark_of(2))
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    held, found = store.mark(GROUP), dict(store.scan(GROUP))
    assert held.as_of_us == 1
    assert set(found.values()) <= {b"1", b"2"}, "each row is one whole state of its entity"
    wanted = dict.fromkeys(many[500:], b"3")
    differing = [(key, row) for key, row in wanted.items() if found.get(key) != row]
    report = store.refresh(GROUP, differing, found.keys() - wanted.keys(), mark_of(3), base_seq=held.refresh_seq)
    assert dict(store.scan(GROUP)) == wanted
    assert report.rows == len(wanted)


@pytest.mark.parametrize("meanwhile", ["dropped", "replaced"])
def test_a_long_scan_whose_build_goes_away_says_so_instead_of_ending(store, meanwhile) -> None:
    rows = [(text_key(f"{number:05}"), b"1") for number in range(5_000)]
    store.load(GROUP, rows, mark_of(1))
    scan = store.scan(GROUP)
    next(scan)
    store.drop(GROUP) if meanwhile == "dropped" else store.load(GROUP, rows, mark_of(2))
    with pytest.raises(BuildMissing if meanwhile == "dropped" else Superseded):
        list(scan)


# --- loads -----------------------------------------------------------------------------------------------------------


def test_a_load_in_any_order_with_keys_again_and_again_keeps_the_last_and_counts_once(store) -> None:
    keys = [text_key(f"{number * 7_919 % 4_001:05}") for number in range(6_000)]
    rows = [(key, b"%d" % place) for place, key in enumerate(keys)]
    assert store.load(GROUP, rows, mark_of(1)).rows == 4_001
    found = list(store.scan(GROUP))
    assert len(found) == 4_001, "a scan yields a key once, on however many lists it is"
    assert dict(found) == dict(rows)


def test_rows_larger_than_a_command_should_be_are_split(store, monkeypatch) -> None:
    monkeypatch.setattr(loading, "_MOST_BYTES", 1_000)
    rows = {text_key(f"{number}"): bytes([number]) * 300 for number in range(50)}
    store.load(GROUP, rows.items(), mark_of(1))
    assert dict(store.scan(GROUP)) == rows


def test_a_killed_loaders_rows_are_swept_by_the_next_load(store, server) -> None:
    program = f"""
import os, signal
from timewell.backends.redis import open
from timewell.testing.online_children import mark_of
def rows():
    for number in range(5_000):
        if number == 4_500:
            os.kill(os.getpid(), signal.SIGKILL)
        yield b"%05d" % number, b"LEFT-BEHIND"
open({server.url!r}, prefix="shop").load("orphan/v1/1", rows(), mark_of(1))
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert b"LEFT-BEHIND" in everything_in(server)
    assert store.builds() == []
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    assert b"LEFT-BEHIND" in everything_in(server), "it may only be slow: an hour's silence says that it is dead"
    for name in server.ask("KEYS", "*alive*"):
        server.ask("DEL", name)
    store.load(GROUP, [(KEYS[0], b"2")], mark_of(2))
    assert b"LEFT-BEHIND" not in everything_in(server)
    store.drop(GROUP)
    store.drop("orphan/v1/1")
    assert server.ask("DBSIZE") == 0, server.ask("KEYS", "*")


def test_a_loader_that_was_given_up_cannot_publish_what_was_swept(store, server) -> None:
    def rows():
        for number in range(5_000):
            if number == 4_000:
                for name in server.ask("KEYS", "*alive*"):
                    server.ask("DEL", name)
                store.load("other/v1/1", [], mark_of(1))
            yield text_key(f"{number:05}"), b"row"

    with pytest.raises(BuildMissing):
        store.load(GROUP, rows(), mark_of(1))
    assert store.builds() == ["other/v1/1"]


def test_nothing_is_left_of_a_load_that_failed_or_was_refused_or_was_replaced(store, server) -> None:
    store.load(GROUP, [(KEYS[0], b"held")], mark_of(5))

    def there() -> list[bytes]:
        return sorted(name for name in server.ask("KEYS", "*") if name != b"shop:loose")

    before = there()
    with pytest.raises(Superseded):
        store.load(GROUP, [(key, b"older") for key in KEYS], mark_of(4))
    with pytest.raises(ZeroDivisionError):
        store.load(GROUP, ((key, b"%d" % (1 // 0)) for key in KEYS), mark_of(6))
    assert there() == before
    store.load(GROUP, [(KEYS[0], b"new")], mark_of(6))
    assert len(there()) == len(before)


def test_a_load_whose_last_answer_was_lost_stays_where_it_was_done(store, monkeypatch) -> None:
    swap = loading._swap

    def cut(*arguments):
        swap(*arguments)
        raise StoreUnavailable(problem="it closed the connection", store="Redis")

    monkeypatch.setattr(loading, "_swap", cut)
    with pytest.raises(StoreUnavailable):
        store.load(GROUP, [(key, b"row") for key in KEYS], mark_of(1))
    assert store.read([ReadKeys(GROUP, KEYS)])[0].rows == [b"row"] * len(KEYS), "the mark names it: its rows stay"


# --- forgetting ------------------------------------------------------------------------------------------------------


def test_after_an_erasure_the_server_holds_neither_key_nor_value(store, server) -> None:
    loaded, added = text_key("person-4711-loaded"), text_key("person-4711-added")
    others = [(text_key(f"other {number:05d}"), b"kept") for number in range(2_500)]
    store.load(GROUP, [*others, (loaded, b"SECRET-ONE")], mark_of(1))
    store.refresh(GROUP, [(added, b"SECRET-TWO")], [], mark_of(2))
    needles = (b"person-4711-loaded", b"person-4711-added", b"SECRET-ONE", b"SECRET-TWO")
    assert all(needle in everything_in(server) for needle in needles), "the search must be able to find them"
    assert store.erase(GROUP, [loaded, added]) == 2
    assert not any(needle in everything_in(server) for needle in needles)
    assert dict(store.scan(GROUP)) == dict(others)


# --- names -----------------------------------------------------------------------------------------------------------

ODD_NAMES = ["{", "}", "{}", "a{b}c", ":", "a:b", "*", "", " ", "a\0b", "x" * 5_000, "é/ü", "A/b", "a/B", "\ud800", "~"]


def test_every_build_and_prefix_is_its_own_however_odd(server) -> None:
    server.ask("FLUSHALL")
    stores = {prefix: redis.open(server.url, prefix=prefix) for prefix in ODD_NAMES if prefix}
    for place, opened in enumerate(stores.values()):
        for number, build in enumerate(ODD_NAMES):
            opened.load(build, [(b"}:", b"%d %d" % (place, number))], mark_of(1))
    for place, opened in enumerate(stores.values()):
        assert opened.builds() == sorted(ODD_NAMES)
        rows = [row(opened, b"}:", build) for build in ODD_NAMES]
        assert rows == [b"%d %d" % (place, number) for number in range(len(ODD_NAMES))]
    for opened in stores.values():
        for build in ODD_NAMES:
            opened.drop(build)
        opened.close()
    assert server.ask("DBSIZE") == 0


def test_the_cluster_tag_of_a_row_is_the_entitys_alone() -> None:
    naming = names.Names("shop")
    keys = [*KEYS, b"", b"}", b"{}", b"{a}b", b"a}{b"]
    first, second = (naming.generation(label, b"00000000") for label in ("a/v1/1", "b/v2/1"))

    def tag(name: bytes) -> bytes:
        return name[name.index(b"{") + 1 : name.index(b"}")]  # what a cluster hashes

    assert [tag(name) for name in first.rows(keys)] == [tag(name) for name in second.rows(keys)]
    assert all(tag(name) for name in first.rows(keys)), "an empty tag would not be one"
    assert len(set(map(tag, first.rows([b"%d" % n for n in range(10_000)])))) == names.PARTS


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://127.0.0.1:port", "redis://h?colour=red", "redis://h?db=x"],
)
def test_an_url_that_is_none_is_refused_at_once_and_no_secret_is_shown(url) -> None:
    with pytest.raises(ConfigError) as refused:
        redis.open(url.replace("//", "//:SECRET@"))
    assert "SECRET" not in str(refused.value)


def test_a_dead_servers_name_is_told_and_its_password_is_not() -> None:
    with running_server() as gone:
        port = gone.port
    store = redis.open(f"redis://user:SECRET@127.0.0.1:{port}/0", timeout_s=WAIT_S)
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}") as told:
        store.mark(GROUP)
    assert "SECRET" not in f"{told.value} {told.value.hint} {told.value.facts}"


def test_a_wrong_password_is_told_as_what_it_is(server) -> None:
    with running_server("--requirepass", "right") as guarded:
        wrong = redis.open(guarded.url.replace("//", "//:wrong@"), timeout_s=WAIT_S)
        with pytest.raises(StoreUnavailable, match=r"(?i)password"):
            wrong.mark(GROUP)
        right = redis.open(guarded.url.replace("//", "//:right@"), timeout_s=WAIT_S)
        assert right.mark(GROUP) is None
        right.close()


def test_a_socket_file_and_tls_are_ways_to_a_server_too(tmp_path) -> None:
    key, certificate, socket_file = tmp_path / "key.pem", tmp_path / "certificate.pem", tmp_path / "redis.sock"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no", "--unixsocket", str(socket_file)]
    with running_server(*options) as server:
        rows = [(text_key(f"{number}"), bytes(1_000)) for number in range(3_000)]
        urls = [f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}", f"unix://{socket_file}?db=0", server.url]
        for place, url in enumerate(urls):
            store = redis.open(url, timeout_s=WAIT_S)
            store.load(f"build/{place}", rows, mark_of(1))
            for _ in range(3):
                assert (
                    store.read([ReadKeys(f"build/{place}", [key for key, _ in rows])])[0].rows == [bytes(1_000)] * 3_000
                )
            store.close()
        distrusting = redis.open(f"rediss://127.0.0.1:{port}/0", timeout_s=WAIT_S)
        with pytest.raises(StoreUnavailable, match="certificate"):
            distrusting.mark(GROUP)


def test_writes_are_ordered_by_numbers_not_by_letters(store) -> None:
    """Redis compares strings by its own locale; the scripts must not."""
    orders = [-5, 0, 1, 9, 10, 64, 91, 97, 127, 128, 200, 255, 256, 2**40, 2**52]
    for place, as_of in enumerate(orders):
        store.load(f"build/{place}", [(KEYS[0], b"held")], mark_of(as_of))
        for older in orders[:place]:
            with pytest.raises(Superseded):
                store.refresh(f"build/{place}", [(KEYS[0], b"older")], [], mark_of(older))


def test_a_change_says_each_key_once() -> None:
    acts = acts_of([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], [b"b", b"c", b"c"])
    assert sorted(acts) == [(b"a", b"upsert", b"3"), (b"b", b"both", b"2"), (b"c", b"delete", b"")]
    assert Change(build="b", acts=acts, offered=None).base_seq is None
