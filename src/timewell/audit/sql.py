"""The audit of SQL: statements of a text, each judged with what those before it made.

Rule: nothing that is read is run, and a text that cannot be read is UNKNOWN with its place, never an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.dialects.dialect import Dialect, Dialects
from sqlglot.errors import SqlglotError

from timewell.audit.graph import TooLarge
from timewell.audit.judge import Judge
from timewell.audit.queries import Named, Reader
from timewell.audit.roles import Roles, guess, table_name
from timewell.audit.verdicts import Audit, Finding, Verdict
from timewell.audit.waivers import waive
from timewell.errors import UsageError

log = logging.getLogger("timewell.audit")
MAX_CHARACTERS = 250_000  # ten seconds of sqlglot's parser
MAX_DEPTH = 120  # parentheses; sqlglot's parser and ours call themselves for each
MAX_NODES = 50_000
_ALIASES = {
    "postgresql": "postgres", "pg": "postgres", "mssql": "tsql", "sqlserver": "tsql", "sparksql": "spark", "pyspark": "spark",
    "bq": "bigquery", "sf": "snowflake", "mariadb": "mysql",
}  # fmt: skip
OTHERS = ("duckdb", "postgres", "snowflake", "bigquery", "spark", "tsql", "clickhouse", "mysql")
_JINJA_REFERENCE = re.compile(
    r"""\{\{-?\s*(?:ref|source)\s*\(\s*(?:['"][^'"]*['"]\s*,\s*)?['"]([^'"]+)['"]\s*\)\s*-?\}\}"""
)
_JINJA = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_JINJA_BLOCK = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)


def audit_sql(
    sql: str,
    *,
    event_times: Mapping[str, str] | None = None,
    spine: tuple[str, str] | None = None,
    dialect: str = "duckdb",
    closed: str | Mapping[str, str] | None = None,
) -> Audit:
    """Say whether the features that SQL puts together can know the future of their rows; nothing is run.

    Parameters
    ----------
    sql
        One statement or several.
    event_times
        Table to the column of its event time; a table that is not named here has no times and is not looked at.
        Left out, tables and times are guessed by their names.
    spine
        Table of the labelled rows and the column of their instant.
    dialect
        Of sqlglot, such as ``postgres`` or ``bigquery``.
    closed
        ``right`` for snapshots, whose rows count from their own instant on; a mapping says it for single tables.
        Events (``left``) count strictly after.

    Returns
    -------
    Audit
        Its ``verdict`` is SAFE, LEAK, UNBOUNDED or UNKNOWN.

    Raises
    ------
    UsageError
        The dialect is not known.

    Examples
    --------
    >>> sql = '''
    ... SELECT l.user_id, SUM(t.amount) AS amount
    ... FROM labels l JOIN tx t ON t.user_id = l.user_id AND l.label_ts >= t.ts
    ... GROUP BY l.user_id, l.label_ts'''
    >>> print(audit_sql(sql, event_times={"tx": "ts"}, spine=("labels", "label_ts")))
    line 3: LEAK same-instant: tx.ts may equal labels.label_ts: an event at the very instant is not before it. Fix: Compare strictly: tx.ts < labels.label_ts.
    """
    roles = make_roles(event_times, spine, closed)
    return Auditor(roles=roles, dialect=dialect_name(dialect)).text(sql)


def make_roles(
    event_times: Mapping[str, str] | None, spine: tuple[str, str] | None, closed: str | Mapping[str, str] | None
) -> Roles:
    """Return the roles that arguments give."""
    events = dict(event_times or {})
    sides = dict.fromkeys(events, closed) if isinstance(closed, str) else dict(closed or {})
    for table, side in sides.items():
        if side not in ("left", "right"):
            raise UsageError(
                problem=f"closed is {side!r} for {table}.", hint="It is 'left' (events) or 'right' (snapshots)."
            )
    return Roles(events=events, spine=spine, closed=sides)


def dialect_name(asked: str) -> str:
    """Return sqlglot's name of a dialect."""
    name = _ALIASES.get(asked.lower(), asked.lower())
    known = sorted(one.value for one in Dialects if one.value)
    if name not in known:
        raise UsageError(
            asked=asked, known=known, problem=f"no SQL dialect is called {asked!r}.", hint=f"Known: {', '.join(known)}."
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Audits texts of SQL under one set of roles.

    Attributes
    ----------
    others
        Whether a text that is not of the dialect is tried in others.
    """

    roles: Roles
    dialect: str = "duckdb"
    others: bool = False

    def text(self, sql: str, *, path: str = "", first_line: int = 1) -> Audit:
        """Audit one text."""
        problem = _too_large(sql)
        if problem:
            return _unknown("too-large", problem, path, first_line)
        plain = _without_jinja(sql)
        try:
            trees = self._parse(plain)
        except (SqlglotError, ValueError) as error:
            line = _error_line(error) + first_line - 1
            return _unknown("not-sql", f"the text cannot be read as {self.dialect}: {_first_words(error)}", path, line)
        except RecursionError:
            return _unknown("too-large", "the text is nested too deeply", path, first_line)
        roles = self.roles.with_comments(sql)
        made: dict[str, object] = {}
        findings: list[Finding] = []
        count = 0
        for tree in trees:
            query = _query_of(tree)
            if query is None:
                continue
            count += 1
            findings += self._statement(query, tree, roles, made, first_line - 1)
            _remember(tree, query, made)
        placed = [replace(finding, path=path) for finding in findings]
        return Audit(findings=tuple(waive(placed, sql, first_line=first_line, path=path)), statements=count, files=0)

    def _parse(self, sql: str) -> list[exp.Expression]:
        logging.getLogger("sqlglot").setLevel(logging.ERROR)
        names = [self.dialect, *(name for name in OTHERS if name != self.dialect)] if self.others else [self.dialect]
        problem: Exception | None = None
        for name in names:
            try:
                parsed = sqlglot.parse(sql, dialect=Dialect.get_or_raise(name))
            except SqlglotError as error:
                problem = problem or error
                continue
            return [tree for tree in parsed if isinstance(tree, exp.Expression)]
        raise problem or ValueError("nothing to read")

    def _statement(
        self, query: exp.Expression, tree: exp.Expression, roles: Roles, made: Mapping[str, object], offset: int
    ) -> list[Finding]:
        try:
            _refuse_large(tree)
            chosen = roles if roles.spine is not None and roles.events else guess(query, roles)
            reader = Reader(chosen, line_offset=offset)
            ways = reader.statement(query, made)
            found = [
                finding for way in ways for finding in Judge(graph=reader.graph, roles=chosen, relation=way).findings()
            ]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            log.debug("a statement that the reader does not foresee", exc_info=True)
            reason = "the statement has a form that is not foreseen"
            return [Finding(verdict=Verdict.UNKNOWN, code="not-understood", reason=reason, line=offset + 1)]
        except (TooLarge, RecursionError):
            return [
                Finding(
                    verdict=Verdict.UNKNOWN,
                    code="too-large",
                    reason="the statement is too large to be followed",
                    line=offset + 1,
                )
            ]
        unique = {(finding.verdict, finding.code, finding.line, finding.reason): finding for finding in found}
        return sorted(unique.values(), key=lambda finding: finding.line)


def _refuse_large(tree: exp.Expression) -> None:
    if sum(1 for _ in tree.walk()) > MAX_NODES:
        raise TooLarge


def _query_of(tree: exp.Expression) -> exp.Expression | None:
    """Return the query that a statement runs, makes a table of, or inserts; nothing if there is none."""
    if isinstance(tree, (exp.Select, exp.SetOperation, exp.Subquery)):
        return tree
    if isinstance(tree, (exp.Create, exp.Insert)) and isinstance(
        tree.expression, (exp.Select, exp.SetOperation, exp.Subquery)
    ):
        return _with_outer(tree, tree.expression)
    if isinstance(tree, exp.Update):
        return _update(tree)
    if isinstance(tree, (exp.Copy, exp.Merge)):
        return tree.find(exp.Select)
    return None


def _with_outer(tree: exp.Expression, query: exp.Expression) -> exp.Expression:
    clause = tree.args.get("with_") or tree.args.get("with")
    if clause is not None and not (query.args.get("with_") or query.args.get("with")):
        query.set("with_", clause)
    return query


def _update(tree: exp.Update) -> exp.Expression | None:
    """Read ``UPDATE spine SET feature = (SELECT ...)`` as a select of what is set."""
    values = [part.expression for part in tree.expressions if isinstance(part, exp.EQ)]
    if not values or not isinstance(tree.this, exp.Table):
        return None
    made = exp.select(*values, exp.Star(), copy=False).from_(tree.this, copy=False)
    source = tree.args.get("from_") or tree.args.get("from")
    if source is not None:
        made.append("joins", exp.Join(this=source.this))
    if tree.args.get("where") is not None:
        made.set("where", tree.args["where"])
    return made


def _remember(tree: exp.Expression, query: exp.Expression, made: dict[str, object]) -> None:
    """Keep a table or view that a statement makes, for the statements after it."""
    if isinstance(tree, exp.Create):
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        if isinstance(target, exp.Table):
            name = table_name(target).lower()
            known = dict(made)
            made[name] = made[name.rsplit(".", 1)[-1]] = Named(query, known)


def _too_large(sql: str) -> str:
    if len(sql) > MAX_CHARACTERS:
        return f"the text has {len(sql):,} characters, more than {MAX_CHARACTERS:,}"
    depth = deepest = 0
    for character in sql:
        if character == "(":
            depth += 1
            deepest = max(deepest, depth)
        elif character == ")":
            depth -= 1
    return f"parentheses are nested {deepest} deep, more than {MAX_DEPTH}" if deepest > MAX_DEPTH else ""


def _without_jinja(sql: str) -> str:
    """Put names and parameters where a template has references and values; lines stay."""
    if "{" not in sql:
        return sql
    text = _JINJA_REFERENCE.sub(lambda found: found.group(1) + _lines(found), sql)
    return _JINJA.sub(lambda found: f":p_{len(found.group())}" + _lines(found), _JINJA_BLOCK.sub(_lines, text))


def _lines(found: re.Match[str]) -> str:
    """Return the line ends of what is taken out."""
    return "\n" * found.group().count("\n")


def _error_line(error: Exception) -> int:
    details = getattr(error, "errors", None) or [{}]
    return int(details[0].get("line") or 1)


def _first_words(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().split("\n", 1)[0]
    return text[:160]


def _unknown(code: str, reason: str, path: str, line: int) -> Audit:
    finding = Finding(verdict=Verdict.UNKNOWN, code=code, reason=reason, line=line, path=path)
    return Audit(findings=(finding,), statements=1)
