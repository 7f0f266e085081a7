"""The audit of Python: the frames that it makes, and the SQL in its strings.

Rule: the text is parsed and never imported or run; a string with parts that are only known at run time is UNKNOWN where
those parts could matter.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from timewell.audit.frames import Frame
from timewell.audit.graph import TooLarge
from timewell.audit.interpret import Interpreter
from timewell.audit.judge import Judge
from timewell.audit.methods import SQL_CALLS
from timewell.audit.queries import Reader
from timewell.audit.roles import Roles, guess
from timewell.audit.sql import Auditor, make_roles
from timewell.audit.verdicts import Audit, Finding, Verdict
from timewell.audit.waivers import waive

log = logging.getLogger("timewell.audit")
MAX_CHARACTERS, MAX_RESULTS = 1_000_000, 200
_SQL = re.compile(
    r"^\s*(--[^\n]*\n\s*)*(select|with|create|insert|update|merge)\b.*\b(from|join)\b", re.IGNORECASE | re.DOTALL
)
_HOLE = "p_unknown_part"


def audit_python(
    text: str,
    *,
    event_times: Mapping[str, str] | None = None,
    spine: tuple[str, str] | None = None,
    dialect: str = "duckdb",
    closed: str | Mapping[str, str] | None = None,
) -> Audit:
    """Say whether the frames that Python code makes can know the future of their rows; nothing is run.

    Parameters
    ----------
    text
        Source code: merges, filters, groups and windows of pandas, polars or Spark, and SQL in strings.
    event_times, spine, dialect, closed
        As for :func:`timewell.audit.sql.audit_sql`; a table is a name that the code does not assign.

    Returns
    -------
    Audit
        Its ``verdict`` is SAFE, LEAK, UNBOUNDED or UNKNOWN.

    Examples
    --------
    >>> code = "train = pd.merge_asof(labels, tx, left_on='label_ts', right_on='ts', by='user_id', direction='forward')"
    >>> audit_python(code, event_times={"tx": "ts"}, spine=("labels", "label_ts")).verdict
    <Verdict.LEAK: 'LEAK'>
    """
    roles = make_roles(event_times, spine, closed)
    return PythonAuditor(roles=roles, dialect=dialect).text(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonAuditor:
    """Audits Python under one set of roles."""

    roles: Roles
    dialect: str = "duckdb"

    def text(self, text: str, *, path: str = "", first_line: int = 1) -> Audit:
        """Audit one module."""
        try:
            tree = _parsed(text)
            roles = self.roles.with_comments(text)
            found, count = self._frames(tree, roles, first_line)
            strings = [self._string(node, roles, path, first_line, asked) for node, asked in _sql_strings(tree)]
        except (TooLarge, RecursionError, MemoryError):
            return _unknown("too-large", "the text is too large to be followed", path, first_line)
        except (AttributeError, IndexError, KeyError, TypeError):
            log.debug("a text that the reader does not foresee", exc_info=True)
            return _unknown("not-understood", "the text has a form that is not foreseen", path, first_line)
        except (SyntaxError, ValueError) as error:
            line = (getattr(error, "lineno", None) or 1) + first_line - 1
            return _unknown("not-python", f"the text cannot be read as Python: {error}", path, line)
        findings = [replace(one, path=path) for one in found]
        for audit in strings:
            findings += audit.findings
            count += audit.statements
        findings.sort(key=lambda one: one.line)
        return Audit(findings=tuple(waive(findings, text, first_line=first_line, path=path)), statements=count)

    def _frames(self, tree: ast.Module, roles: Roles, first_line: int) -> tuple[list[Finding], int]:
        if not (roles.spine or roles.events):
            roles = replace(roles, guessed=True)
        reader = Interpreter(roles=_by_variables(tree, roles), line_offset=first_line - 1)
        reader.module(tree)
        findings: dict[tuple[object, ...], Finding] = {}
        count = 0
        for frame in list(reader.results())[:MAX_RESULTS]:
            count += 1
            for finding in self._judged(frame, reader.roles):
                findings.setdefault((finding.verdict, finding.code, finding.line, finding.reason), finding)
        return list(findings.values()), count

    @staticmethod
    def _judged(frame: Frame, roles: Roles) -> Iterator[Finding]:
        chosen = roles if roles.spine is not None and roles.events else guess(frame.query, roles)
        reader = Reader(chosen)
        found = []
        touched: set[str] = set()
        for way in reader.statement(frame.query, {}):
            found += list(Judge(graph=reader.graph, roles=chosen, relation=way).findings())
            touched |= {reader.graph.instances[number].role for number in way.rows}
        if not {"spine", "event"} & touched:
            return
        for one in found:
            line = frame.line if one.line <= 1 else one.line
            if one.code != "no-spine":  # a frame of its own: what it is joined to decides, and is judged there
                yield replace(one, line=line)
        whole = {"spine", "event"} <= touched or ("event" in touched and not chosen.guessed)
        if whole and not any(one.verdict in (Verdict.LEAK, Verdict.UNBOUNDED) for one in found):
            for what in dict.fromkeys(frame.unread):
                reason = f"{what} is not followed"
                yield Finding(
                    verdict=Verdict.UNKNOWN,
                    code="not-understood",
                    reason=reason,
                    line=frame.line,
                    guessed=chosen.guessed,
                )

    def _string(self, node: ast.expr, roles: Roles, path: str, first_line: int, asked: bool) -> Audit:  # noqa: FBT001  # one loop
        """Audit the SQL in one string; what a part of an f-string may hide makes a clean verdict UNKNOWN."""
        sql, holes = _written(node)
        line = node.lineno + first_line - 1
        found = Auditor(roles=roles, dialect=self.dialect, others=True).text(sql, path=path, first_line=line)
        if not asked and any(one.code == "not-sql" for one in found.findings):
            return Audit()  # a text that only begins like SQL
        if not holes:
            return found
        kept = [one for one in found.findings if one.verdict in (Verdict.LEAK, Verdict.UNKNOWN)]
        if any(one.verdict is Verdict.LEAK for one in kept):
            return replace(found, findings=tuple(kept))
        reason = "parts of this SQL are only known at run time"
        return replace(
            found,
            findings=(Finding(verdict=Verdict.UNKNOWN, code="unknown-parts", reason=reason, line=line, path=path),),
        )


def _parsed(text: str) -> ast.Module:
    if len(text) > MAX_CHARACTERS:
        raise TooLarge
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in somebody else's strings
        return ast.parse(text)


def _by_variables(tree: ast.Module, roles: Roles) -> Roles:
    """Guess spine and events by the names of variables, where nothing is declared."""
    if roles.spine is not None and roles.events:
        return roles
    from timewell.audit.variables import guess_variables  # noqa: PLC0415  # only where nothing is declared

    return guess_variables(tree, roles)


def _sql_strings(tree: ast.Module) -> Iterator[tuple[ast.expr, bool]]:
    """Yield the strings that hold SQL, and whether a call runs them: others only read like it."""
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    asked = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in SQL_CALLS:
            asked |= {
                id(part)
                for part in (*node.args[:1], *(word.value for word in node.keywords if word.arg in ("sql", "query")))
            }
    for node in ast.walk(tree):
        if id(node) in documented or id(node) in inside:
            continue
        if isinstance(node, (ast.Constant, ast.JoinedStr)) or (
            isinstance(node, ast.Call) and _called(node) == "format"
        ):
            text, _ = _written(node)
            if _SQL.search(text) and (id(node) in asked or text.count(" ") > 4):
                yield node, id(node) in asked


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _written(node: ast.AST) -> tuple[str, bool]:
    """Return a string's text, its unknown parts as a name, and whether there are any."""
    if isinstance(node, ast.Constant):
        return (node.value if isinstance(node.value, str) else ""), False
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else _HOLE for part in node.values]
        return "".join(str(part) for part in parts), _HOLE in parts
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        text, _ = _written(node.func.value)
        return re.sub(r"\{[^{}]*\}", _HOLE, text), "{" in text
    return "", False


def _unknown(code: str, reason: str, path: str, line: int) -> Audit:
    finding = Finding(verdict=Verdict.UNKNOWN, code=code, reason=reason, line=line, path=path)
    return Audit(findings=(finding,), statements=1)
