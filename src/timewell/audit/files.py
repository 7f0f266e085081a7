"""The audit of files and folders: ``.sql``, ``.py`` and ``.ipynb``.

Rule: files are read as text, never imported or run; links are not followed out of a folder that is walked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from timewell.audit.notebooks import audit_notebook
from timewell.audit.python import PythonAuditor
from timewell.audit.roles import Roles
from timewell.audit.sql import Auditor, dialect_name
from timewell.audit.verdicts import Audit, Finding, Verdict
from timewell.errors import UsageError

SUFFIXES = (".sql", ".py", ".ipynb")
MAX_BYTES = 20_000_000
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


def audit_files(
    paths: Sequence[Path],
    *,
    roles: Roles | None = None,
    dialect: str = "duckdb",
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Audit files, and the files of those kinds in folders.

    Parameters
    ----------
    paths
        Files and folders.
    roles
        What is declared; comments in a file add to it, names are guessed by where nothing is.
    dialect
        That SQL is read in first; a file that it cannot be read in is tried in others.
    progress
        Called with ``files``, how many are done, and of how many.

    Raises
    ------
    UsageError
        A path is not there, or a file is of no kind that can be audited.
    """
    chosen = list(dict.fromkeys(file for path in paths for file in _files(path)))
    sql = Auditor(roles=roles or Roles(), dialect=dialect_name(dialect), others=True)
    python = PythonAuditor(roles=roles or Roles(), dialect=sql.dialect)
    findings: list[Finding] = []
    statements = 0
    for done, file in enumerate(chosen, 1):
        audit = _one(file, sql, python)
        findings += [finding for finding in audit.findings if not _is_noise(finding)]
        statements += audit.statements
        if progress is not None:
            progress("files", done, len(chosen))
    return Audit(findings=tuple(findings), statements=statements, files=len(chosen))


def _one(file: Path, sql: Auditor, python: PythonAuditor) -> Audit:
    path = file.as_posix()
    try:
        if file.stat().st_size > MAX_BYTES:
            return _unread(path, f"it has more than {MAX_BYTES:,} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return _unread(path, str(getattr(error, "strerror", None) or error))
    if file.suffix == ".sql":
        return sql.text(text, path=path)
    if file.suffix == ".py":
        return python.text(text, path=path)
    return audit_notebook(text, python, sql, path=path)


def _unread(path: str, problem: str) -> Audit:
    finding = Finding(verdict=Verdict.UNKNOWN, code="not-read", reason=f"the file is not read: {problem}", path=path)
    return Audit(findings=(finding,), statements=1)


def _is_noise(finding: Finding) -> bool:
    """Whether a finding is of a statement that no training row is in, as far as names can tell."""
    return finding.guessed and finding.code == "no-spine"


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for folder, names, files in os.walk(path):
            names[:] = sorted(name for name in names if not name.startswith(".") and name not in _SKIPPED)
            for name in sorted(files):
                file = Path(folder) / name
                if file.suffix in SUFFIXES and not file.is_symlink():
                    yield file
    elif not path.exists():
        raise UsageError(problem=f"there is no file or folder {path}.", hint="Name files or folders that are there.")
    elif path.suffix not in SUFFIXES:
        hint = f"It reads {', '.join(SUFFIXES)}; a folder is walked for those."
        raise UsageError(problem=f"{path} is of no kind that can be audited.", hint=hint)
    else:
        yield path
