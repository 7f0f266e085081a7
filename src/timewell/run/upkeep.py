"""Look after a project's state as a whole: copy it, put it back, bring it to a new format, delete it."""

from __future__ import annotations

import shutil
import tarfile
from contextlib import suppress
from pathlib import Path

from timewell import chance, durable
from timewell.catalog.lookup import load_catalog
from timewell.errors import ConfirmationNeeded, ReplacementUnconfirmed, StateCorrupt, UsageError
from timewell.run.tokens import FOLDER as TOKENS
from timewell.stores.project import Project
from timewell.stores.registry import FileRecord
from timewell.types import format_instant

_REGISTRY = "registry.db"


def offline_files(project: Project, feature: str) -> list[tuple[FileRecord, Path]]:
    """Return the live files of a feature's table with the place of each."""
    group, _ = load_catalog(project).select(feature)[0]
    files = [file for file in project.registry.files(*group.key) if file.path]
    return [(file, project.tables.location(file)) for file in files]


def backup(project: Project, to: Path) -> Path:
    """Write registry, offline files, frames and manifests to one ``.tar`` file, whole or not at all.

    The registry is copied first: files are immutable, so every file that the copy names is there afterwards. Online
    builds are left out; ``timewell materialize online`` makes them again. Tokens are left out too.
    """
    if to.exists():
        raise UsageError(problem=f"{to} exists already", hint="Give another name: no backup is ever overwritten.")
    scratch = project.state / "tmp" / f"backup-{chance.new_id()}"
    scratch.mkdir(parents=True)
    try:
        project.registry_state.backup(scratch / _REGISTRY)
        with durable.replacing(to) as temporary, tarfile.open(temporary, "w") as archive:
            archive.add(scratch / _REGISTRY, arcname=_REGISTRY)
            for name in ("offline", "frames", "manifests", "secret"):
                for path in [project.state / name, *sorted((project.state / name).rglob("*"))]:
                    # What others write meanwhile vanishes when it gets its name; the registry's copy names none of it.
                    if not path.name.endswith(".tmp"):
                        with suppress(FileNotFoundError):
                            archive.add(path, arcname=str(path.relative_to(project.state)), recursive=False)
    finally:
        shutil.rmtree(scratch)
    return to


def _unpack(archive: tarfile.TarFile, to: Path) -> None:
    """Unpack files and directories, and nothing that would come to lie elsewhere."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(to, filter="data")
        return
    for member in archive.getmembers():  # Python before 3.11.4, as in Debian 12, has no filters
        inside = (to / member.name).resolve().is_relative_to(to.resolve())
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name} is no file of a backup")
    archive.extractall(to)  # noqa: S202  # every member was looked at


def restore(project: Project, source: Path, *, yes: bool) -> None:
    """Put a backup in the place of the state; the state that is there moves to ``<state>.before-restore-<time>``.

    The tokens that are there stay as they are.
    """
    if not source.is_file():
        hint = "Give the path of a file that `timewell backup` wrote."
        raise UsageError(problem=f"there is no backup at {source}", hint=hint)
    if not yes:
        raise ReplacementUnconfirmed(what="restore", items=f"{project.state} by {source}")
    unpacked = project.state.with_name(f"{project.state.name}.unpacking-{chance.new_id()}")
    try:
        with tarfile.open(source) as archive:
            _unpack(archive, unpacked)
        if not (unpacked / _REGISTRY).is_file():
            raise _no_backup(source, "it holds no registry")
    except tarfile.TarError as problem:
        shutil.rmtree(unpacked, ignore_errors=True)
        raise _no_backup(source, f"it cannot be unpacked ({type(problem).__name__})") from None
    except (OSError, StateCorrupt):
        shutil.rmtree(unpacked, ignore_errors=True)
        raise
    shutil.rmtree(unpacked / TOKENS, ignore_errors=True)
    tokens = project.state / TOKENS
    if tokens.is_dir():  # callers are not what was backed up: a token that was taken back must not come back
        shutil.copytree(tokens, unpacked / TOKENS)
    for path in unpacked.rglob("*"):
        if path.is_file():
            durable.sync_file(path)
    # From here on a folder of this name is a whole state: who opens the project between the renames is told of it.
    fresh = unpacked.with_name(unpacked.name.replace(".unpacking-", ".restoring-"))
    unpacked.rename(fresh)
    project.close()
    if project.state.exists():
        stamp = format_instant(project.clock.now_us()).replace(":", "")
        project.state.rename(project.state.with_name(f"{project.state.name}.before-restore-{stamp}-{chance.new_id()}"))
    fresh.rename(project.state)
    durable.sync_directory(project.state.parent)


def _no_backup(source: Path, problem: str) -> StateCorrupt:
    hint = "Give a file that `timewell backup` wrote; the project's state was not touched."
    return StateCorrupt(file=str(source), problem=problem, hint=hint)


def upgrade(project: Project) -> tuple[str, str]:
    """Bring the registry to this program's format after a backup."""
    stamp = format_instant(project.clock.now_us()).replace(":", "")
    to = project.state / "backups" / f"registry-{stamp}-{chance.new_id()}.db"
    to.parent.mkdir(parents=True, exist_ok=True)
    return project.registry_state.upgrade(to)


def reset(project: Project, *, yes: bool) -> None:
    """Delete the state directory."""
    if not yes:
        raise ConfirmationNeeded(what="reset", items=f"{project.state}: registry, offline tables, online builds")
    project.close()
    shutil.rmtree(project.state, ignore_errors=True)
