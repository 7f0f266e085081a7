"""What the audit of Python says, each leak with the way to write it right."""

from __future__ import annotations

import json

import pytest

import timewell as tw
from timewell.audit.notebooks import audit_notebook
from timewell.audit.python import PythonAuditor
from timewell.audit.roles import Roles
from timewell.audit.sql import Auditor

EVENTS, SPINE = {"tx": "ts"}, ("labels", "label_ts")
STRICT = "return pd.merge_asof(labels, tx, left_on='label_ts', right_on='ts', by='user_id', allow_exact_matches=False)"
GROUPED = "return m.groupby(['user_id', 'label_ts'])['amount'].sum().reset_index()"


def made(*lines: str) -> str:
    return "import pandas as pd\ndef make(labels, tx):\n" + "\n".join(f"    {line}" for line in lines)


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        ("SAFE", [STRICT]),
        ("LEAK", [STRICT.replace(", allow_exact_matches=False", "")]),
        ("LEAK", [STRICT.replace("allow_exact_matches=False", "direction='forward'")]),
        ("UNBOUNDED", [STRICT.replace("allow_exact_matches=False", "direction='nearest'")]),
        ("SAFE", ["m = labels.merge(tx, on='user_id')", "m = m[m.ts < m.label_ts]", GROUPED]),
        ("UNBOUNDED", ["m = labels.merge(tx, on='user_id')", GROUPED]),
        ("LEAK", ["m = labels.merge(tx, on='user_id')", "m = m[m.ts.dt.date <= m.label_ts.dt.date]", GROUPED]),
        ("SAFE", ["m = labels.merge(tx, on='user_id')", "m = m[m.ts.dt.date < m.label_ts.dt.date]", GROUPED]),
        (
            "SAFE",
            ["m = labels.merge(tx, on='user_id')", "m['amount'] = m['amount'].where(m['ts'] < m['label_ts'])", GROUPED],
        ),
        ("LEAK", ["tx = tx.sort_values('ts')", "tx['n'] = tx.groupby('user_id')['amount'].shift(-1)", STRICT]),
        ("SAFE", ["tx = tx.sort_values('ts')", "tx['n'] = tx.groupby('user_id')['amount'].shift(1)", STRICT]),
        (
            "LEAK",
            [
                "tx = tx.sort_values('ts', ascending=False)",
                "tx['n'] = tx.groupby('user_id')['amount'].shift(1)",
                STRICT,
            ],
        ),
        ("LEAK", ["tx['n'] = tx.groupby('user_id')['amount'].transform('mean')", STRICT]),
        ("SAFE", ["tx['n'] = tx.groupby('user_id')['amount'].transform(lambda s: s.rolling(3).mean())", STRICT]),
        ("LEAK", ["tx['n'] = tx['amount'].rolling(3, center=True).mean()", STRICT]),
        ("LEAK", ["tx['amount'] = tx['amount'].bfill()", STRICT]),
        ("LEAK", ["labels['rate'] = labels.groupby('user_id')['churned'].expanding().mean()", "return labels"]),
        (
            "SAFE",
            [
                "labels['rate'] = labels.groupby('user_id')['churned'].transform(lambda s: s.shift(1).expanding().mean())",
                "return labels",
            ],
        ),
        ("UNBOUNDED", ["labels['m'] = labels['user_id'].map(tx.groupby('user_id')['amount'].mean())", "return labels"]),
        ("SAFE", ["for r in labels.itertuples():", "    past = tx[(tx.user_id == r.user_id) & (tx.ts < r.label_ts)]"]),
        ("LEAK", ["for r in labels.itertuples():", "    past = tx[(tx.user_id == r.user_id) & (tx.ts <= r.label_ts)]"]),
        ("UNKNOWN", ["m = labels.merge(tx, on='user_id')", "m = m[m.ts < m.label_ts]", "return secret(m)"]),
    ],
)
def test_frames_are_judged_as_the_selects_they_stand_for(expected, lines) -> None:
    assert tw.audit_python(made(*lines), event_times=EVENTS, spine=SPINE).verdict == expected


def test_sql_in_strings_is_judged_and_unknown_parts_are_said() -> None:
    leak = "con.sql('SELECT l.id, t.amount FROM labels l JOIN tx t ON t.id = l.id AND t.ts >= l.label_ts')"
    audit = tw.audit_python(f"x = 1\n{leak}", event_times=EVENTS, spine=SPINE)
    assert (audit.verdict, audit.findings[0].line) == ("LEAK", 2)
    hidden = "con.sql(f'SELECT l.id, t.amount FROM labels l JOIN tx t ON t.id = l.id AND {bound}')"
    assert tw.audit_python(hidden, event_times=EVENTS, spine=SPINE).findings[0].code == "unknown-parts"


def test_variables_are_guessed_by_their_names() -> None:
    code = "train_labels['label_ts']\nout = pd.merge_asof(train_labels, orders, left_on='label_ts', right_on='order_ts', direction='forward')"
    audit = tw.audit_python(code)
    assert (audit.verdict, audit.findings[0].guessed) == ("LEAK", True)


@pytest.mark.parametrize(
    "text",
    ["def broken(:", "x = " + "(" * 3000 + "1" + ")" * 3000, "a" + ".b" * 30_000, "\0"],
    ids=["syntax", "deep", "chain", "zero"],
)
def test_text_that_is_no_python_is_unknown(text) -> None:
    assert tw.audit_python(text, event_times=EVENTS, spine=SPINE).verdict in {"UNKNOWN", "SAFE"}


def notebook(*cells: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]})


def audited(text: str):
    roles = Roles(events=EVENTS, spine=SPINE)
    return audit_notebook(text, PythonAuditor(roles=roles), Auditor(roles=roles), path="a.ipynb")


def test_a_notebook_is_read_cell_by_cell_and_names_stay() -> None:
    audit = audited(
        notebook(
            "%matplotlib inline\nimport pandas as pd",
            "m = labels.merge(tx, on='user_id')",
            "# later\nout = m.groupby('user_id').amount.sum()",
        )
    )
    assert [(one.path, one.line, str(one.verdict)) for one in audit.findings] == [("a.ipynb#cell-2", 1, "UNBOUNDED")]
    assert audited(notebook("m = labels.merge(tx, on='user_id')", "m = m[m.ts < m.label_ts]")).verdict == "SAFE"


def test_cells_of_sql_and_broken_cells_are_told_apart() -> None:
    audit = audited(notebook("%%sql\nSELECT l.id FROM labels l JOIN tx t ON t.ts > l.label_ts", "def broken(:"))
    assert {(one.path, one.code) for one in audit.findings} == {
        ("a.ipynb#cell-1", "future-rows"),
        ("a.ipynb#cell-2", "not-python"),
    }
    assert audited("[1, 2]").findings[0].code == "not-a-notebook"
