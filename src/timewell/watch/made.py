"""Files that are made from the definitions and kept beside them: written, or compared with what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timewell import durable


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How a folder stands against what it should hold.

    Attributes
    ----------
    files
        Names of all that belongs there.
    changed
        Those that are not there, or differ; they are right now, unless it was only a check.
    left
        Files that an earlier run made and that belong there no longer; removed, unless it was only a check.
    """

    files: tuple[str, ...]
    changed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Whether nothing had to be written."""
        return not self.changed and not self.left


def keep(folder: Path, files: Mapping[str, str], *, mark: str, check: bool) -> Made:
    """Bring a folder's files to what they should be.

    Parameters
    ----------
    mark
        First line of every file that is made so: only such files are ever taken away.
    check
        Write nothing, only compare.

    Raises
    ------
    OSError
    """
    there = {path.name: path.read_text(encoding="utf-8") for path in _ours(folder, files, mark)}
    changed = tuple(name for name, text in files.items() if there.get(name) != text)
    left = tuple(sorted(set(there) - set(files)))
    if not check:
        for name in changed:
            durable.write_bytes(folder / name, files[name].encode())
        for name in left:
            (folder / name).unlink()
    return Made(files=tuple(files), changed=changed, left=left)


def _ours(folder: Path, files: Mapping[str, str], mark: str) -> list[Path]:
    """Return what stands in a folder that is, or was, made: by its name, or by its first line."""
    if not folder.is_dir():
        return []
    suffixes = {Path(name).suffix for name in files}
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in suffixes]
    return [path for path in found if path.name in files or _first_line(path) == mark]


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().rstrip("\n")
