"""A report is readable as text, survives JSON, and is a page that nothing can be injected into."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import pytest

from timewell.backfill.report import Curve, Outcome, ValidationReport
from timewell.types import DAY_US

EVIL = "<script>alert('x')</script>\"&"


def outcome(number: int = 0, **more: object) -> Outcome:
    given = {"feature": f"f{number}", "check": "mean", "shadow": 1.0, "live": 2.0, "difference": -1.0, "tolerance": 0.1}
    return Outcome(**{**given, "verdict": "pass", "detail": "mean of f is 1, live 2: -50.00%", **more})  # type: ignore[arg-type]


def report(*outcomes: Outcome, **more: object) -> ValidationReport:
    given = {"group": "spending", "version": "v2", "live_version": "v1", "start_us": 0, "end_us": 3 * DAY_US}
    return ValidationReport(**{**given, "partitions": 3, "compared": 3, "outcomes": outcomes, **more})  # type: ignore[arg-type]


class Parts(HTMLParser):
    """Collects the elements of a page, refusing any that is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_it_survives_json_without_nan() -> None:
    example = {"entity": {"user_id": "7"}, "partition": "2026-01-01T00:00:00Z", "shadow": "nan", "live": None}
    made = report(
        outcome(examples=(example,)),
        outcome(1, verdict="told", partition_us=DAY_US),
        checks=({"type": "mean", "expected": [-0.3, None]},),
        figures={"f0": Curve(figure="mean", shadow=(1.0, None, 2.0), live=(None, None, 3.0))},
        staged_digest="ab",
        created_us=5 * DAY_US,
    )
    text = json.dumps({**made.to_dict(), "failed": ["kept beside it"]}, allow_nan=False)
    assert ValidationReport.from_dict(json.loads(text)) == made


def test_infinities_become_nothing_in_json() -> None:
    made = report(
        outcome(shadow=math.nan, live=math.inf, difference=-math.inf),
        figures={"f0": Curve(figure="mean", shadow=(math.nan,), live=(math.inf,))},
    )
    plain = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert plain["outcomes"][0]["shadow"] is None
    assert plain["figures"]["f0"] == {"figure": "mean", "shadow": [None], "live": [None]}
    assert "<svg" not in made._repr_html_()


def test_the_text_has_failures_first_and_at_most_forty_lines() -> None:
    example = {"entity": {"user_id": "7"}, "partition": "2026-01-01T00:00:00Z", "shadow": None, "live": "3"}
    fails = [
        outcome(number, verdict="fail", detail="mean of f is out", examples=(example,) * 10) for number in range(40)
    ]
    passes = [outcome(number + 100) for number in range(60)]
    made = report(*passes, *fails)
    lines = made.text().splitlines()
    assert len(lines) <= 40
    assert str(made) == made.text()
    assert "FAILED: 40 of 100" in lines[0]
    assert lines[3].startswith("f0 ")
    assert "fail" in lines[3]
    assert "... and 72 more, 12 of which fail" in lines
    assert lines[-1] == "  f0, user_id 7, 2026-01-01T00:00:00Z: shadow nothing, live 3"


def test_the_page_escapes_every_name_and_word() -> None:
    example = {"entity": {EVIL: EVIL}, "partition": EVIL, "shadow": EVIL, "live": EVIL}
    made = report(
        Outcome(feature=EVIL, check=EVIL, verdict="fail", detail=EVIL, examples=(example,)),
        group=EVIL,
        version=EVIL,
        live_version=EVIL,
        figures={EVIL: Curve(figure=EVIL, shadow=(1.0, 2.0), live=(2.0, None))},
    )
    page = made._repr_html_()
    assert "<script" not in page
    parts = Parts()
    parts.feed(page)
    parts.close()
    assert not parts.open
    assert set(parts.seen) <= {
        "div", "style", "h3", "p", "svg", "text", "polyline", "circle", "table", "tr", "th", "td", "ul", "li",
    }  # fmt: skip
    assert "prefers-color-scheme: dark" in page


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ((1.0, 2.0, 3.0), {"polyline": 1, "circle": 0}),
        ((1.0, None, 3.0), {"polyline": 0, "circle": 2}),
        ((1.0, 2.0, None, 3.0, 4.0), {"polyline": 2, "circle": 0}),
        ((5.0, 5.0), {"polyline": 1, "circle": 0}),
        ((-1.7e308, 1.7e308), {"polyline": 1, "circle": 0}),
        ((5e-324, 0.0), {"polyline": 1, "circle": 0}),
        ((), {"polyline": 0, "circle": 0}),
    ],
)
def test_a_curve_is_drawn_with_its_gaps_inside_the_picture(values, drawn) -> None:
    page = report(
        outcome(), figures={"f0": Curve(figure="mean", shadow=values, live=(None,) * len(values))}
    )._repr_html_()
    assert {name: page.count(f"<{name} ") for name in drawn} == drawn
    for part in page.split("points='")[1:]:
        for point in part.split("'")[0].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 320
            assert 18 <= y <= 90


def test_a_first_build_says_so_and_so_does_another_meaning() -> None:
    assert "first build: nothing live to compare with" in report(outcome(verdict="no_live"), compared=0).text()
    assert "another meaning" in report(outcome()).text()
    assert "another meaning" not in report(outcome(), live_version="v2").text()


@pytest.mark.parametrize("verdict", ["pass", "no_live", "skipped", "told"])
def test_only_a_failure_keeps_it_from_passing(verdict) -> None:
    assert report(outcome(verdict=verdict)).passed
    assert not report(outcome(verdict=verdict), outcome(verdict="fail")).passed


def test_changes_are_said_as_people_say_them() -> None:
    assert outcome().change == "-50.00%"
    assert outcome(live=0.0, difference=0.25).change == "+0.25"
    assert outcome(check="null_rate", live=0.1, difference=0.02).change == "+0.02"
    assert outcome(live=None, difference=None).change == ""
