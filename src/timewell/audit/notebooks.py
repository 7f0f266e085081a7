"""Notebooks as one text of Python, with the cell and line of each of its lines.

Rule: a notebook is read as the JSON that it is; outputs are not looked at, and nothing in it is run.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from timewell.audit.python import PythonAuditor
from timewell.audit.sql import Auditor
from timewell.audit.verdicts import Audit, Finding, Verdict

_OTHER_MAGIC = ("%%",)
_SQL_MAGIC = ("%%sql", "%%bigquery", "%%duckdb", "%%sparksql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The source of one code cell."""

    number: int
    text: str

    @property
    def is_sql(self) -> bool:
        """Whether a magic says that it is SQL."""
        return self.text.lstrip().startswith(_SQL_MAGIC)

    def python(self) -> str:
        """Return its Python, with magics and shell lines blanked."""
        if self.text.lstrip().startswith(_OTHER_MAGIC):
            return "\n" * self.text.count("\n")
        return "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in self.text.split("\n"))


def audit_notebook(text: str, python: PythonAuditor, sql: Auditor, *, path: str) -> Audit:
    """Audit a notebook: all its Python together, as names stay from cell to cell, and each cell of SQL."""
    try:
        cells = list(_cells(json.loads(text)))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        finding = Finding(
            verdict=Verdict.UNKNOWN, code="not-a-notebook", reason=f"no notebook is in it: {error}", path=path
        )
        return Audit(findings=(finding,), statements=1)
    findings: list[Finding] = []
    count = 0
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    for cell in cells:
        where = f"{path}#cell-{cell.number}"
        if cell.is_sql:
            found = sql.text("\n" + cell.text.partition("\n")[2], path=where)
            findings, count = [*findings, *found.findings], count + found.statements
            continue
        source = cell.python()
        problem = _problem(source)
        if problem:
            findings.append(
                Finding(
                    verdict=Verdict.UNKNOWN, code="not-python", reason=f"the cell cannot be read: {problem}", path=where
                )
            )
            continue
        for at, text_line in enumerate(source.split("\n"), 1):
            lines.append(text_line)
            places.append((cell.number, at))
    whole = python.text("\n".join(lines), path=path)
    for finding in whole.findings:
        number, line = places[min(finding.line, len(places)) - 1] if places else (0, 1)
        findings.append(replace(finding, path=f"{path}#cell-{number}", line=line))
    return Audit(findings=tuple(findings), statements=count + whole.statements)


def _cells(document: dict[str, object]) -> Iterator[Cell]:
    cells = document.get("cells")
    if not isinstance(cells, list):
        raise TypeError("it has no list of cells")
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", "")
            yield Cell(number=number, text="".join(map(str, source)) if isinstance(source, Sequence) else "")


def _problem(source: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes in somebody else's strings
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return ""
