"""What the case set calls leaky and safe is so: each statement is run with another future."""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import pytest

import timewell as tw
from tests.audit.cases import HALVES, Case, cases, snippets
from tests.audit.world import frames, in_duckdb, moved

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.audit.cases import Snippet

_SPINE_ROWS, _A_FEW = 12, 2


@pytest.mark.parametrize("half", HALVES)
def test_a_statement_is_leaky_if_and_only_if_its_rows_change_with_their_future(
    half: str, scale: Callable[[int], int]
) -> None:
    every = cases(half)
    count = scale(len(every))
    rows = _SPINE_ROWS if count == len(every) else _A_FEW
    drawn = every[:: len(every) // count][:count]
    with duckdb.connect(config={"threads": 1}) as connection:
        wrong = [case.id for case in drawn if moved(connection, case, rows) != (case.truth == "leaky")]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_a_snippet_is_leaky_if_and_only_if_the_poison_audit_says_so(half: str, tmp_path: Path) -> None:
    wrong = [snippet.id for snippet in snippets(half) if _leaks(snippet, tmp_path) != (snippet.truth == "leaky")]
    assert wrong == []


@pytest.mark.parametrize("half", HALVES)
def test_each_half_has_thirty_of_either_kind_and_five_dialects(half: str) -> None:
    every = cases(half)
    kinds = Counter(case.truth for case in every)
    assert min(kinds["leaky"], kinds["safe"]) >= 30
    assert {case.dialect for case in every} == {"bigquery", "duckdb", "postgres", "snowflake", "spark"}


def test_no_two_cases_share_a_name_or_a_statement() -> None:
    every = [case for half in HALVES for case in cases(half)]
    assert len({case.id for case in every}) == len({in_duckdb(case) for case in every}) == len(every)


def test_a_wrong_truth_is_found() -> None:
    leaky = Case(
        half="tuning",
        id="control",
        dialect="duckdb",
        event_times={"tx": "ts"},
        spine=("labels", "label_ts"),
        truth="safe",
        why="it is not",
        sql="SELECT user_id, label_ts, (SELECT sum(amount) FROM tx) AS amount FROM labels",
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        assert moved(connection, leaky, _A_FEW)


def _leaks(snippet: Snippet, folder: Path) -> bool:
    path = folder / f"{snippet.id}.py"
    path.write_text(snippet.python, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(snippet.id, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    spine, time = snippet.spine
    sources = {name: _of_utc(pd.DataFrame(rows)) for name, rows in frames(spine, snippet.event_times).items()}
    report = tw.leakage.poison_audit(
        lambda given, labels: module.make(labels, **given),
        {name: frame for name, frame in sources.items() if name != spine},
        sources[spine],
        event_times=snippet.event_times,
        spine_time=time,
        keys="user_id",
        rows=2 * _A_FEW,
    )
    assert report.leaks or not report.unproven
    return not report.ok


def _of_utc(frame: pd.DataFrame) -> pd.DataFrame:
    times = frame.select_dtypes("datetime").columns
    return frame.assign(**{name: frame[name].dt.tz_localize("UTC").dt.as_unit("us") for name in times})
