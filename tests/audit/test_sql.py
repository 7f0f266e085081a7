"""What the audit of SQL says of statements that the judged set does not have: each with its twin of the other verdict."""

from __future__ import annotations

import pytest

import timewell as tw
from timewell.errors import UsageError

EVENTS, SPINE = {"tx": "ts", "orders": "order_ts"}, ("labels", "label_ts")
BY_LABEL = "GROUP BY l.user_id, l.label_ts"
SUM = (
    "SELECT l.user_id, l.label_ts, SUM(t.amount) AS s FROM labels l LEFT JOIN tx t ON t.user_id = l.user_id AND {} "
    + BY_LABEL
)


def verdict(sql: str, *, dialect: str = "duckdb", **given) -> str:
    return str(tw.audit_sql(sql, **{"event_times": EVENTS, "spine": SPINE, **given}, dialect=dialect).verdict)


@pytest.mark.parametrize(
    ("dialect", "condition", "expected"),
    [
        ("duckdb", "t.ts < l.label_ts", "SAFE"),
        ("duckdb", "l.label_ts > t.ts", "SAFE"),
        ("duckdb", "l.label_ts >= t.ts", "LEAK"),
        ("duckdb", "NOT (t.ts > l.label_ts - INTERVAL '1 hour')", "SAFE"),
        ("duckdb", "t.ts > l.label_ts - INTERVAL '30 days'", "LEAK"),
        ("duckdb", "t.ts < least(l.label_ts, now())", "SAFE"),
        ("duckdb", "t.ts < greatest(l.label_ts, now())", "UNBOUNDED"),
        ("duckdb", "t.ts < now()", "UNBOUNDED"),
        ("duckdb", "year(t.ts) = year(l.label_ts)", "LEAK"),
        ("duckdb", "epoch_ms(t.ts) < epoch_ms(l.label_ts)", "SAFE"),
        ("duckdb", "t.ts < $cutoff", "UNKNOWN"),
        ("postgres", "(l.label_ts - t.ts) > interval '0'", "SAFE"),
        ("postgres", "to_char(t.ts, 'YYYY-MM') <= to_char(l.label_ts, 'YYYY-MM')", "LEAK"),
        ("spark", "date_format(t.ts, 'yyyy-MM-dd') < date_format(l.label_ts, 'yyyy-MM-dd')", "SAFE"),
        ("spark", "unix_timestamp(l.label_ts) - unix_timestamp(t.ts) BETWEEN 1 AND 86400", "SAFE"),
        ("bigquery", "DATE_DIFF(DATE(l.label_ts), DATE(t.ts), DAY) BETWEEN 1 AND 7", "SAFE"),
        ("bigquery", "DATE_DIFF(DATE(l.label_ts), DATE(t.ts), DAY) BETWEEN 0 AND 7", "LEAK"),
        ("snowflake", "t.ts < dateadd('day', -1, l.label_ts)", "SAFE"),
        ("snowflake", "t.ts < dateadd(day, 1, l.label_ts)", "LEAK"),
        ("tsql", "DATEDIFF(second, t.ts, l.label_ts) > 0", "SAFE"),
        ("mysql", "t.ts < l.label_ts AND t.ts >= DATE_SUB(l.label_ts, INTERVAL 30 DAY)", "SAFE"),
    ],
)
def test_a_bound_is_read_in_the_words_of_each_dialect(dialect, condition, expected) -> None:
    assert verdict(SUM.format(condition), dialect=dialect) == expected


DAILY = "WITH daily AS (SELECT user_id, date(ts) AS d, SUM(amount) AS s FROM tx GROUP BY 1, 2) "
TO_DAILY = "SELECT l.user_id, l.label_ts, SUM(s) AS s FROM labels l LEFT JOIN daily d ON d.user_id = l.user_id AND {} GROUP BY 1, 2"
GUARDED = (
    "SELECT user_id, label_ts, SUM(a) FROM (SELECT l.*, CASE WHEN {} THEN t.amount END AS a "
    "FROM labels l LEFT JOIN tx t ON t.user_id = l.user_id) GROUP BY 1, 2"
)
VALID = (
    "WITH f AS (SELECT user_id, ts AS since, LEAD(ts) OVER (PARTITION BY user_id ORDER BY ts) AS until, plan FROM tx) "
    "SELECT l.user_id, l.label_ts, f.plan {} FROM labels l LEFT JOIN f ON f.user_id = l.user_id AND f.since < l.label_ts "
    "AND (f.until >= l.label_ts OR f.until IS NULL)"
)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (DAILY + TO_DAILY.format("d.d < date(l.label_ts)"), "SAFE"),
        (DAILY + TO_DAILY.format("d.d <= date(l.label_ts)"), "LEAK"),
        (DAILY + TO_DAILY.format("d.d < l.label_ts"), "LEAK"),
        (VALID.format(""), "SAFE"),
        (VALID.format(", f.until"), "LEAK"),
        (
            GUARDED.format("t.ts < l.label_ts"),
            "SAFE",
        ),
        (GUARDED.format("t.ok"), "UNBOUNDED"),
        (GUARDED.format("date(t.ts) < date(l.label_ts)"), "SAFE"),
        (
            "CREATE TABLE agg AS SELECT user_id, AVG(amount) AS a FROM tx GROUP BY 1; SELECT l.*, a FROM labels l JOIN agg USING (user_id)",
            "UNBOUNDED",
        ),
        (
            "SELECT l.user_id, l.label_ts FROM labels l WHERE l.user_id IN (SELECT user_id FROM tx WHERE amount > 100)",
            "UNBOUNDED",
        ),
        ("SELECT user_id, label_ts, AVG(churned) OVER (PARTITION BY user_id ORDER BY label_ts) FROM labels", "LEAK"),
        ("SELECT user_id, label_ts, LAG(churned) OVER (PARTITION BY user_id ORDER BY label_ts) FROM labels", "SAFE"),
        ("SELECT l.user_id, l.label_ts, c.region FROM labels l JOIN countries c ON c.code = l.country", "SAFE"),
        (
            "UPDATE labels SET s = (SELECT SUM(amount) FROM tx WHERE tx.user_id = labels.user_id AND tx.ts < labels.label_ts)",
            "SAFE",
        ),
        ("UPDATE labels SET s = (SELECT SUM(amount) FROM tx WHERE tx.user_id = labels.user_id)", "UNBOUNDED"),
    ],
)
def test_what_is_chosen_cut_or_guarded_below_counts_above(sql, expected) -> None:
    assert verdict(sql) == expected


def test_a_snapshot_counts_from_its_own_instant_on_and_an_event_does_not() -> None:
    inclusive = SUM.format("t.ts <= l.label_ts")
    assert verdict(inclusive) == "LEAK"
    assert verdict(inclusive, closed="right") == "SAFE"
    assert verdict(inclusive, closed={"tx": "right"}) == "SAFE"
    with pytest.raises(UsageError, match="closed"):
        tw.audit_sql(inclusive, closed="both", event_times=EVENTS)


def test_a_finding_names_its_line_and_what_to_write() -> None:
    [finding] = tw.audit_sql(SUM.format("\n  t.ts\n  >= l.label_ts"), event_times=EVENTS, spine=SPINE).findings
    assert (finding.line, finding.code) == (1, "future-rows")
    assert "tx.ts < labels.label_ts" in finding.fix


def test_comments_declare_tables() -> None:
    sql = "-- timewell: spine people.born_on, event visits.seen\nSELECT p.id, COUNT(v.id) FROM people p JOIN visits v ON v.id = p.id GROUP BY 1"
    audit = tw.audit_sql(sql)
    assert [str(finding.verdict) for finding in audit.findings] == ["UNBOUNDED"]
    assert not audit.findings[0].guessed


def test_names_are_guessed_by_and_it_is_said() -> None:
    sql = "SELECT l.id, SUM(o.amount) FROM churn_labels l JOIN orders o ON o.user_id = l.user_id AND o.created_at > l.label_ts GROUP BY 1"
    audit = tw.audit_sql(sql)
    assert (audit.verdict, audit.findings[0].guessed) == ("LEAK", True)
    first = "SELECT a.id, COUNT(*) FROM visits a JOIN pages b ON b.id = a.page AND a.seen_at = a.seen_at WHERE b.read_at IS NOT NULL GROUP BY 1"
    assert tw.audit_sql(first).verdict != "UNBOUNDED"  # no table is called like a spine


def test_a_waiver_needs_a_reason() -> None:
    leak = SUM.format("t.ts >= l.label_ts")
    allowed = tw.audit_sql(
        f"-- timewell: allow LEAK because the label is drawn later\n{leak}", event_times=EVENTS, spine=SPINE
    )
    assert (allowed.ok, allowed.verdict, allowed.findings[0].waived) == (True, "SAFE", "the label is drawn later")
    refused = tw.audit_sql(f"-- timewell: allow LEAK\n{leak}", event_times=EVENTS, spine=SPINE)
    assert [finding.code for finding in refused.findings] == ["future-rows", "waiver-refused"]
    other = tw.audit_sql(f"-- timewell: allow UNBOUNDED because of that\n{leak}", event_times=EVENTS, spine=SPINE)
    assert not other.ok


def test_what_cannot_be_read_is_unknown_with_its_place() -> None:
    audit = tw.audit_sql("SELECT 1;\nSELECT FROM WHERE (", event_times=EVENTS, spine=SPINE)
    assert (audit.verdict, audit.findings[0].code, audit.findings[0].line) == ("UNKNOWN", "not-sql", 2)
    with pytest.raises(UsageError, match="no SQL dialect"):
        tw.audit_sql("SELECT 1", dialect="klingon")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 5000 + "1" + ")" * 5000,
        "SELECT 1 FROM labels l WHERE " + " OR ".join(["l.a = 1"] * 2_000),
        "SELECT * FROM " + "(SELECT * FROM " * 110 + "tx" + ")" * 110,
        "WITH "
        + ", ".join(
            f"c{i} AS (SELECT * FROM c{i - 1} a JOIN c{i - 1} b USING (x))" if i else "c0 AS (SELECT * FROM tx)"
            for i in range(40)
        )
        + " SELECT * FROM c39",
        "SELECT 1" + " UNION ALL SELECT ts FROM tx" * 500,
        "x" * 2_000_000,
    ],
    ids=["parentheses", "conditions", "subqueries", "doubling", "unions", "long"],
)
def test_a_text_made_to_exhaust_ends_as_unknown(sql) -> None:
    assert verdict(sql) in {"UNKNOWN", "SAFE"}


def test_a_table_that_is_called_a_snapshot_is_taken_for_one() -> None:
    sql = "SELECT l.id, b.amount FROM labels l ASOF JOIN {} b ON b.id = l.id AND b.ts <= l.label_ts"
    assert tw.audit_sql(sql.format("balance_snapshots")).verdict == "SAFE"
    assert tw.audit_sql(sql.format("payments")).verdict == "UNKNOWN"
