"""The registry in SQLite: its formats, its waiting, and what it says about damage."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from timewell.backends import sql
from timewell.backends.sql import migrate, schema
from timewell.errors import ConfigError, StateBusy, StateCorrupt, StateTooNew, StateTooOld, StateUnwritable, Unsupported
from timewell.testing.registry_records import BY, SPEND, file_record, group_record, promote, table

Open = Callable[..., sql.SqlRegistry]
FIRST = Path(__file__).with_name("registry_0001.sql")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry.db"


@pytest.fixture
def open_at() -> Iterator[Open]:
    """Open registries that are closed after the test."""
    opened: list[sql.SqlRegistry] = []

    def open_one(path: Path, **settings: float) -> sql.SqlRegistry:
        opened.append(sql.open(url=f"sqlite:///{path}", **settings))
        return opened[-1]

    yield open_one
    for registry in opened:
        registry.close()


@pytest.fixture
def registry(path: Path, open_at: Open) -> sql.SqlRegistry:
    made = open_at(path)
    made.state.create_or_check()
    return made


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def formats(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [found for (found,) in connection.execute("SELECT version_num FROM alembic_version")]


# --- what it costs to import and open ---------------------------------------------------------------------------------


def test_opening_and_making_a_registry_loads_no_alembic(path: Path) -> None:
    code = f"""
import sys
from timewell.backends import sql
registry = sql.open(url="sqlite:///{path}")
registry.state.create_or_check()
registry.state.create_or_check()
registry.close()
print("alembic" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "False"


def test_opening_makes_nothing(path: Path, open_at: Open) -> None:
    made = open_at(path)
    with pytest.raises(StateCorrupt, match="not there"):
        made.epoch()
    assert not path.parent.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://root:canary@host/db"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(Unsupported) as refused:
        sql.open(url=url)
    assert "canary" not in str(refused.value)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ConfigError):
        sql.open(url="registry.db")


def test_names_that_mean_something_in_a_url_are_taken_as_they_are(tmp_path: Path, open_at: Open) -> None:
    path = tmp_path / "100% #1 & más" / "registry.db"
    open_at(path).state.create_or_check()
    assert path.is_file()


# --- formats ----------------------------------------------------------------------------------------------------------


def shape(path: Path) -> dict[str, object]:
    """Return every table with its columns, keys and indexes (not the text that made it: ALTER TABLE writes its own)."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            asked = ("table_xinfo", "foreign_key_list")
            parts = [connection.execute(f"PRAGMA {what}('{table}')").fetchall() for what in asked]
            made = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? ORDER BY name"
            found[table] = [*parts, connection.execute(made, [table]).fetchall()]
    return found


def test_migrating_from_nothing_equals_making_anew(registry: sql.SqlRegistry, path: Path, tmp_path: Path) -> None:
    engines = [create_engine(f"sqlite:///{one}") for one in (path, tmp_path / "migrated.db")]
    with engines[0].connect() as made, engines[1].begin() as migrated:
        migrate.migrate(migrated)
        for one in (*schema.METADATA.sorted_tables, schema.FORMAT_TABLE):
            assert migrated.execute(one.select()).all() == made.execute(one.select()).all()
    for engine in engines:
        engine.dispose()
    assert shape(tmp_path / "migrated.db") == shape(path)


@pytest.fixture
def first(path: Path) -> Path:
    """Return a registry of the first format, as the program of that time wrote it."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST.read_text())
    return path


def test_a_registry_of_the_first_format_is_upgraded_with_all_it_holds(
    first: Path, open_at: Open, tmp_path: Path
) -> None:
    opened, backup = open_at(first), tmp_path / "backup.db"
    with pytest.raises(StateTooOld):
        opened.state.create_or_check()
    assert opened.state.upgrade(backup) == ("0001", NOW)
    opened.state.create_or_check()
    assert (formats(first), formats(backup)) == ([NOW], ["0001"])
    held = [(one.kind, one.name, one.version, one.revision) for one in opened.definitions()]
    assert held == [
        ("source", "shop.orders", "", 1),
        ("group", *SPEND, 2),
        ("group", "visits", "v1", 1),
        ("group", "spend", "v2", 1),
    ]
    pinned = opened.epoch_map()
    assert (pinned.epoch, pinned.live, pinned.builds) == (7, {"spend": "v1", "visits": "v1"}, {SPEND: "b1"})
    assert pinned.snapshots == {SPEND: 2, ("spend", "v2"): 3, ("visits", "v1"): 4}
    assert [line.action for line in opened.audit()][:2] == ["erase", "publish_build"]
    assert [one.id for one in opened.manifests()] == ["set"]
    assert opened.leases.acquire("refresh", "host:2", now_us=5, ttl_us=10) is None
    statuses = [line.status for line in opened.intervals(*SPEND, "offline")]
    assert (statuses, len(opened.audit())) == (["done"] * 4 + ["pending"], 12)
    assert (opened.shadows.find(), opened.shadows.promotions(), opened.garbage.pins()) == ([], [], [])
    assert opened.check() == []


def test_an_upgraded_registry_has_the_shape_of_a_new_one(first: Path, open_at: Open, tmp_path: Path) -> None:
    open_at(first).state.upgrade(tmp_path / "backup.db")
    open_at(tmp_path / "new.db").state.create_or_check()
    assert shape(first) == shape(tmp_path / "new.db")


def test_files_of_the_first_format_bring_their_lines_of_the_ledger_back(
    first: Path, open_at: Open, tmp_path: Path
) -> None:
    opened = open_at(first)
    opened.state.upgrade(tmp_path / "backup.db")
    before = opened.intervals(*SPEND, "offline")
    assert table(opened, snapshot=1) == {0: "first", 1: "first", 2: "first"}
    taken = promote(opened, "s1", 0, 1, content="third")
    assert table(opened) == {0: "third", 1: "third", 2: "first", 3: "second"}
    opened.shadows.roll_back(taken.id, **BY)
    assert table(opened) == {0: "first", 1: "second", 2: "first", 3: "second"}
    after = opened.intervals(*SPEND, "offline")
    assert after == [replace(line, status="held") for line in before[:2]] + before[2:]
    assert opened.check() == []


def test_the_known_formats_are_the_migrations() -> None:
    from alembic.script import ScriptDirectory

    steps = ScriptDirectory(str(migrate.FOLDER)).walk_revisions()
    assert tuple(reversed([step.revision for step in steps])) == schema.FORMATS


def test_a_registry_of_a_newer_program_is_left_alone(registry: sql.SqlRegistry, path: Path) -> None:
    registry.close()
    run_sql(path, "UPDATE alembic_version SET version_num = '9000'")
    before = path.read_bytes()
    with pytest.raises(StateTooNew) as refused:
        registry.state.create_or_check()
    assert refused.value.facts["found"] == "9000"
    with pytest.raises(StateTooNew):
        registry.state.upgrade(path.with_name("backup.db"))
    registry.close()
    assert path.read_bytes() == before
    assert not path.with_name("backup.db").exists()


NOW, LATER = schema.FORMAT, "9000"
NEXT = f'''"""A made-up next format."""

from alembic import op

revision = "{LATER}"
down_revision = "{NOW}"


def upgrade() -> None:
    op.execute("CREATE TABLE later (name TEXT PRIMARY KEY)")
    op.execute("INSERT INTO later SELECT name FROM definition")
'''


@pytest.fixture
def next_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this program know one more format than the registry has; returns the migration's file."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    step = folder / "versions" / "v9000_next.py"
    step.write_text(NEXT)
    monkeypatch.setattr(migrate, "FOLDER", folder)
    monkeypatch.setattr(schema, "FORMATS", (*schema.FORMATS, LATER))
    monkeypatch.setattr(schema, "FORMAT", LATER)
    return step


def test_a_registry_of_an_older_program_asks_for_an_upgrade(registry: sql.SqlRegistry, next_format: Path) -> None:
    with pytest.raises(StateTooOld, match=rf"{NOW}.*{LATER}") as refused:
        registry.state.create_or_check()
    assert "timewell upgrade" in refused.value.hint


def test_an_upgrade_makes_a_backup_first(
    registry: sql.SqlRegistry, path: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    registry.put([group_record()], **BY)
    request.getfixturevalue("next_format")
    backup = tmp_path / "backups" / "registry.db"
    assert registry.state.upgrade(backup) == (NOW, LATER)
    registry.state.create_or_check()
    assert [record.name for record in registry.definitions()] == ["spend"]
    assert registry.check() == []
    assert (formats(path), formats(backup)) == ([LATER], [NOW])
    with closing(sqlite3.connect(path)) as upgraded:
        assert upgraded.execute("SELECT name FROM later").fetchall() == [("spend",)]
    assert registry.state.upgrade(tmp_path / "none.db") == (LATER, LATER)
    assert not (tmp_path / "none.db").exists()


def test_an_upgrade_that_fails_half_way_leaves_the_old_format_whole(
    registry: sql.SqlRegistry, path: Path, tmp_path: Path, next_format: Path
) -> None:
    next_format.write_text(NEXT + "    op.execute('SELECT * FROM no_such_table')\n")
    with pytest.raises(Exception, match="no_such_table"):
        registry.state.upgrade(tmp_path / "backup.db")
    assert formats(path) == [NOW]
    assert "later" not in shape(path)
    assert registry.check() == []


def test_a_migration_from_nothing_that_was_given_up_is_finished_by_an_upgrade(path: Path, open_at: Open) -> None:
    path.parent.mkdir()
    run_sql(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    begun = open_at(path)
    with pytest.raises(StateTooOld):
        begun.state.create_or_check()
    assert begun.state.upgrade(path.with_name("backup.db")) == ("none", NOW)
    begun.state.create_or_check()
    assert begun.check() == []


def test_what_is_no_registry_is_left_alone(tmp_path: Path, open_at: Open) -> None:
    foreign, text = tmp_path / "foreign.db", tmp_path / "text.db"
    run_sql(foreign, "CREATE TABLE guests (name TEXT)")
    text.write_text("to whom it may concern " * 1_000)
    for path in (foreign, text):
        before = path.read_bytes()
        with pytest.raises(StateCorrupt) as refused:
            open_at(path).state.create_or_check()
        assert str(path) in str(refused.value)
        assert path.read_bytes() == before


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_made_while_others_write_is_whole(registry: sql.SqlRegistry, tmp_path: Path, open_at: Open) -> None:
    registry.put([group_record()], **BY)
    stop = threading.Event()

    def write() -> None:
        day = 0
        while not stop.is_set():
            day += 1
            registry.commit_partitions([file_record(day)], [], action="materialize_offline", **BY)

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(5):
        registry.state.backup(tmp_path / f"{number}.db")
    stop.set()
    writer.join()
    for number in range(5):
        copied = open_at(tmp_path / f"{number}.db")
        assert copied.check() == []
        assert copied.epoch() == 1 + len(copied.files(*SPEND))


def test_a_copy_that_cannot_be_written_leaves_nothing_behind(registry: sql.SqlRegistry, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(StateUnwritable):
        registry.state.backup(tmp_path / "occupied" / "copy.db")
    (tmp_path / "folder" / "copy.db").mkdir(parents=True)
    with pytest.raises(StateUnwritable):
        registry.state.backup(tmp_path / "folder" / "copy.db")
    assert [one.name for one in (tmp_path / "folder").iterdir()] == ["copy.db"]


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lock(registry: sql.SqlRegistry, path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that holds the writer's lock."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_a_writer_that_waits_in_vain_is_told_so(lock: sqlite3.Connection, path: Path, open_at: Open) -> None:
    impatient = open_at(path, wait_s=0.3)
    with pytest.raises(StateBusy) as refused:
        impatient.put([group_record()], **BY)
    assert str(path) in str(refused.value)
    assert refused.value.facts["waited_s"] >= 0.3
    assert impatient.definitions() == []  # readers do not wait
    lock.execute("ROLLBACK")
    impatient.put([group_record()], **BY)


def test_a_writer_waits_its_turn(lock: sqlite3.Connection, registry: sql.SqlRegistry) -> None:
    release = threading.Timer(0.6, lock.execute, ["COMMIT"])
    release.start()
    started = time.monotonic()
    registry.put([group_record()], **BY)
    assert time.monotonic() - started > 0.5
    release.join()


def test_readers_see_one_moment(registry: sql.SqlRegistry) -> None:
    registry.put([group_record()], **BY)
    problems = []

    def write() -> None:
        for day in range(30):
            files = [file_record(day, f"{day}"), file_record(1_000, f"{day}")]
            registry.commit_partitions(files, [], action="materialize_offline", **BY)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        pinned = registry.epoch_map()
        size = len(registry.files(*SPEND, pinned.snapshots.get(SPEND, 0)))
        if size not in {0, pinned.epoch}:  # each commit adds one partition and one epoch, the first one two
            problems.append((pinned.epoch, size))
    writer.join()
    assert problems == []


# --- damage -----------------------------------------------------------------------------------------------------------

TAMPERING = {
    "a line changed": "UPDATE audit SET actor = 'nobody' WHERE id = 3",
    "its detail changed": "UPDATE audit SET detail = '{}' WHERE id = 3",
    "a line taken out": "DELETE FROM audit WHERE id = 3",
    "the first line taken out": "DELETE FROM audit WHERE id = 1",
    "the end cut off": "DELETE FROM audit WHERE id >= 4",
    "all taken out": "DELETE FROM audit",
    "two lines exchanged": "UPDATE audit SET id = CASE id WHEN 2 THEN -3 WHEN 3 THEN -2 END WHERE id IN (2, 3)",
    "a line added": "INSERT INTO audit SELECT 6, at_us, actor, action, subject, detail, digest FROM audit WHERE id = 5",
}


@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING.keys())
def test_a_tampered_audit_log_shows(registry: sql.SqlRegistry, path: Path, statement: str) -> None:
    for number in range(5):
        registry.note("look", "same", {"number": number}, **BY)
    assert registry.check() == []
    run_sql(path, statement, "UPDATE audit SET id = -id WHERE id < 0")
    (problem,) = registry.check()
    assert problem.startswith("audit log")


def test_a_missing_file_line_shows(registry: sql.SqlRegistry, path: Path) -> None:
    registry.put([group_record()], **BY)
    registry.commit_partitions([file_record(0)], [], action="materialize_offline", **BY)
    run_sql(path, "DELETE FROM data_file")
    assert registry.check() == ["table snapshot_file, row 1: what it points at in data_file is missing"]


def test_overwritten_pages_show(registry: sql.SqlRegistry, path: Path) -> None:
    for number in range(50):
        registry.note("look", "x" * 500, {"number": number}, **BY)
    registry.close()
    with path.open("r+b") as opened:
        opened.seek(path.stat().st_size // 2)
        opened.write(b"\xff" * 8192)
    try:
        found = registry.check()
    except StateCorrupt as problem:
        found = [str(problem)]
    assert found


def test_a_full_disk_is_told_and_nothing_is_half_written(registry: sql.SqlRegistry) -> None:
    registry.put([group_record()], **BY)
    before = registry.definitions()
    database = registry._database
    database.read(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 60").all())
    big = group_record("visits", body={"text": "x" * 1_000_000})
    with pytest.raises(StateUnwritable, match="full"):
        registry.put([group_record("clicks"), big], **BY)
    assert registry.definitions() == before
    assert registry.check() == []


def test_what_is_acknowledged_is_on_the_disk(registry: sql.SqlRegistry) -> None:
    def pragma(name: str) -> object:
        return registry._database.read(lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar())

    assert [pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys")] == ["wal", 2, 1]
