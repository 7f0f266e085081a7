"""The embedded online store under the laws, and what is its own: files, maps, pointers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest

from timewell.backends.lmdb import environments, places
from timewell.backends.lmdb.store import LmdbStore
from timewell.errors import StateCorrupt, StateUnwritable, Unsupported
from timewell.stores.online import ReadKeys
from timewell.testing.online_children import KEYS, child, flaw, mark_of, step
from timewell.testing.online_laws import GROUP, OnlineStoreLaws, text_key

OPENER = "timewell.backends.lmdb:open"


class TestLmdb(OnlineStoreLaws):
    opener = OPENER

    def settings(self, place: Path) -> dict[str, object]:
        return {"path": str(place)}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "online"


@pytest.fixture
def store(root):
    opened = LmdbStore(root)
    yield opened
    opened.close()


def generation(root: Path, build: str = GROUP) -> Path:
    found = places.live_generation(places.directory_of(root, build))
    assert found is not None
    return found


def row(store, key=KEYS[0], build=GROUP):
    return store.read([ReadKeys(build, [key])])[0].rows[0]


# --- forgetting ------------------------------------------------------------------------------------------------------


def found_in(root: Path, *needles: bytes) -> list[bytes]:
    files = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    return [needle for needle in needles if any(needle in content for content in files)]


def test_after_an_erasure_no_file_holds_the_keys_or_values_of_any_time(store, root) -> None:
    short, long = text_key("person-4711-short"), text_key("person-4711-" + "long" * 200)
    others = [(text_key(f"other {number:05d}"), b"kept %05d" % number * 9) for number in range(3_000)]
    store.load(GROUP, [*others, (short, b"SECRET-ONE" * 9), (long, b"SECRET-TWO" * 9)], mark_of(1))
    store.refresh(GROUP, [(short, b"SECRET-THREE" * 9), *others[::7]], [], mark_of(2))
    store.refresh(GROUP, others[::5], [long], mark_of(3))
    needles = (b"person-4711", b"SECRET-ONE", b"SECRET-TWO", b"SECRET-THREE")
    assert found_in(root, *needles) == [*needles], "the search must be able to find them (also those overwritten)"
    assert store.erase(GROUP, [short, long]) == 1
    assert found_in(root, *needles) == []
    assert store.mark(GROUP).rows == 3_000
    assert dict(store.scan(GROUP)) == dict(others)


def test_a_killed_writers_leftovers_go_with_the_next_write(store, root) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    directory = places.directory_of(root, GROUP)
    for orphan in (root / ".stage-0123", root / ".trash-0123", directory / "g00000099", directory / ".trash-01"):
        orphan.mkdir()
        (orphan / "data.mdb").write_bytes(b"SECRET")
    with places.staging(root) as busy:
        store.load(GROUP, [(KEYS[0], b"2")], mark_of(2))
        assert busy.is_dir(), "another writer's work in progress stays"
    assert found_in(root, b"SECRET") == []
    assert sorted(path.name for path in root.iterdir()) == [directory.name]
    assert row(store) == b"2"


# --- names -----------------------------------------------------------------------------------------------------------

ODD_IDS = [
    "../../outside",
    "/etc/x",
    "..",
    ".",
    "",
    "a\0b",
    "x" * 5_000,
    "é/ü",
    "A/b",
    "a/B",
    ".stage-1",
    "\ud800",
    "a\nb",
]


def test_no_build_id_leads_out_of_the_root_and_every_id_is_its_own(store, root, tmp_path) -> None:
    for number, build in enumerate(ODD_IDS):
        store.load(build, [(KEYS[0], b"%d" % number)], mark_of(1))
    assert store.builds() == sorted(ODD_IDS)
    assert [row(store, build=build) for build in ODD_IDS] == [b"%d" % number for number in range(len(ODD_IDS))]
    assert [path.name for path in tmp_path.iterdir()] == ["online"]
    assert {path.parent for path in root.glob("*")} == {root}
    for build in ODD_IDS:
        store.drop(build)
    assert list(root.iterdir()) == []


def test_a_pointer_that_was_bent_to_another_directory_is_not_followed(store, root, tmp_path) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    store.close()
    pointer = places.directory_of(root, GROUP) / places.POINTER
    pointer.unlink()
    pointer.symlink_to(tmp_path)
    assert store.mark(GROUP) is None


def test_one_file_reached_by_two_paths_is_opened_once(store, root, tmp_path) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    (tmp_path / "link").symlink_to(root)
    other = LmdbStore(tmp_path / "link")
    assert row(store) == row(other) == b"1"
    other.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2))
    assert row(store) == b"2"


# --- damage ----------------------------------------------------------------------------------------------------------


def _zero_head(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(bytes(8192))


DAMAGES = {
    "no meta pages": _zero_head,
    "cut in half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "cut by one page": lambda file: os.truncate(file, file.stat().st_size - 4096),
    "empty": lambda file: os.truncate(file, 0),
    "a few bytes": lambda file: os.truncate(file, 100),
    "another format": lambda file: file.write_bytes(b"PAR1" * 5000),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_a_load_mends_it(store, root, damage, monkeypatch) -> None:
    monkeypatch.setattr(environments, "_PATIENCE_S", 0.05)
    store.load(GROUP, [(text_key(f"{number}"), b"row" * 30) for number in range(2_000)], mark_of(5))
    store.close()
    DAMAGES[damage](generation(root) / places.DATA)
    with pytest.raises(StateCorrupt) as told:
        store.mark(GROUP)
    assert told.value.facts["file"].endswith("data.mdb")
    with pytest.raises(StateCorrupt):
        store.refresh(GROUP, [], [], mark_of(6))
    store.load(GROUP, [(KEYS[0], b"mended")], mark_of(5))
    assert row(store) == b"mended"


def test_pages_overwritten_with_zeros_are_named(store, root) -> None:
    store.load(GROUP, [(text_key(f"{number}"), b"row" * 30) for number in range(2_000)], mark_of(5))
    store.close()
    file = generation(root) / places.DATA
    with file.open("r+b") as opened:
        opened.seek(8192)
        opened.write(bytes(file.stat().st_size - 8192))
    with pytest.raises(StateCorrupt, match=r"data\.mdb"):
        row(store)


def test_a_short_file_whose_missing_pages_nobody_uses_is_sound(store, root) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    store.close()
    with lmdb.open(str(generation(root)), map_size=1 << 26) as env, env.begin(write=True) as txn:
        for number in range(500):
            txn.put(b"%d" % number, bytes(3_000))
        for number in range(500):
            txn.delete(b"%d" % number)
    file = generation(root) / places.DATA
    short = file.stat().st_size
    assert row(store) == b"1"
    store.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2))
    assert file.stat().st_size > short, "a writer pads it, so that the pages need not be walked again"
    assert row(store) == b"2"


# --- pointers --------------------------------------------------------------------------------------------------------


def soon(check, seconds=5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.01)
    return False


def test_a_swap_whose_writer_died_before_it_told_the_readers_is_noticed(store, root, monkeypatch) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    with child("read", OPENER, {"path": str(root)}) as reader:
        reader.answer()
        asked = [GROUP, [KEYS[0].hex()]]
        assert reader.ask(asked) == [1, [b"1".hex()]]
        monkeypatch.setattr(environments.Handle, "retire", lambda _: None)
        store.load(GROUP, [(KEYS[0], b"2")], mark_of(2))
        assert soon(lambda: reader.ask(asked) == [2, [b"2".hex()]])


def test_a_store_emptied_or_restored_by_hand_is_noticed(store, root, tmp_path) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    shutil.copytree(root, tmp_path / "backup", symlinks=True)
    store.refresh(GROUP, [(KEYS[0], b"2")], [], mark_of(2))
    assert row(store) == b"2"
    shutil.rmtree(root)
    assert soon(lambda: store.mark(GROUP) is None)
    shutil.copytree(tmp_path / "backup", root, symlinks=True)
    assert soon(lambda: row(store) == b"1")
    store.refresh(GROUP, [(KEYS[0], b"3")], [], mark_of(3))
    assert row(store) == b"3"


# --- size and place --------------------------------------------------------------------------------------------------


def test_a_full_map_is_rewritten_twice_as_large_under_readers(root) -> None:
    store = LmdbStore(root, smallest_map_bytes=1 << 16)
    store.load(GROUP, [(KEYS[0], b"first")], mark_of(1))
    before = generation(root)
    scan = store.scan(GROUP)
    next(scan)
    for turn in range(2, 9):
        report = store.refresh(
            GROUP, [(text_key(f"{turn}-{n}"), bytes(500)) for n in range(200)], [text_key("2-0")], mark_of(turn)
        )
        assert (report.written, report.deleted) == (200, int(turn == 3))
    assert list(scan) == []
    assert generation(root) != before
    assert (store.mark(GROUP).rows, store.mark(GROUP).refresh_seq, row(store)) == (1_400, 8, b"first")
    assert len([path for path in places.directory_of(root, GROUP).iterdir() if path.is_dir()]) == 2  # with the pointer


def test_a_full_disk_is_a_clear_error_and_touches_nothing_live(root) -> None:
    program = f"""
import resource, signal
from pathlib import Path
from timewell.backends.lmdb import open
from timewell.errors import StateUnwritable
from timewell.testing.online_children import *
store = open(Path({str(root)!r}))
step(store, 5)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
many = [(b"%08d" % n, bytes(500)) for n in range(5_000)]
for write in (
    lambda: store.load(BUILD, many, mark_of(10)),
    lambda: store.refresh(BUILD, many, [], mark_of(10)),
    lambda: store.load("new", many, mark_of(10)),
):
    try:
        write()
    except StateUnwritable as error:
        print("refused:", error)
    assert flaw(store) is None, flaw(store)
step(store, 6)
assert flaw(store, scan=True) is None
assert store.builds() == [BUILD]
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("refused:") == 3
    assert not [path for path in root.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("mounts", "refused"),
    [
        ("/dev/sda1 / ext4 rw 0 0\n", False),
        ("/dev/sda1 / ext4 rw 0 0\nserver:/x {root} nfs4 rw 0 0\n", True),
        ("/dev/sda1 / ext4 rw 0 0\n//server/x {parent} cifs rw 0 0\n", True),
        ("me@host: {parent} fuse.sshfs rw 0 0\n/dev/sdb {root} xfs rw 0 0\n", False),
        ("server:/x {parent}/onl nfs rw 0 0\n", False),
    ],
)
def test_network_file_systems_are_refused(tmp_path, root, mounts, refused) -> None:
    table = tmp_path / "mounts"
    table.write_text(mounts.format(root=root, parent=tmp_path).replace(" " + str(root) + " ", f" {root} "))
    if refused:
        with pytest.raises(Unsupported, match=r"nfs4|cifs"):
            places.refuse_network(root, table)
    else:
        places.refuse_network(root, table)


def test_a_place_that_may_only_be_read_is_read(store, root, monkeypatch) -> None:
    store.load(GROUP, [(KEYS[0], b"1")], mark_of(1))
    store.close()
    monkeypatch.setattr(environments.os, "access", lambda *_: False)
    assert row(store) == b"1"
    with pytest.raises(StateUnwritable):
        store.refresh(GROUP, [], [], mark_of(2))


def open_files() -> int:
    listed = Path("/proc/self/fd")
    return sum(1 for _ in listed.iterdir()) if listed.exists() else 0


def test_open_files_do_not_pile_up(store, root) -> None:
    step(store, 5)
    assert flaw(store) is None
    count = open_files()
    for number in range(6, 60):
        step(store, number)
        assert flaw(store) is None
    assert open_files() <= count + 1
