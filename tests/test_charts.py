"""Pictures are whole in themselves, say in words what they show, and let no text become markup."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.charts import CSS, bars, lines

NASTY = "<script>alert(1)</script>&'\""
FLOATS = st.one_of(st.none(), st.floats())
SHARES = st.floats(0, 1)


@given(st.text(), st.lists(FLOATS, min_size=1), st.lists(FLOATS), st.one_of(st.none(), SHARES))
def test_any_series_gives_xml_that_parses_and_points_inside_the_picture(title, one, two, limit) -> None:
    drawn = lines(title.translate(dict.fromkeys(range(32))), one, two, limit=limit)
    for element in ET.fromstring(_parsable(drawn)).iter() if drawn else ():
        for point in element.get("points", "").split():
            x, y = map(float, point.split(","))
            assert -0.1 <= x <= 320.1
            assert 17.9 <= y <= 90


@given(st.lists(st.tuples(st.text(), SHARES, SHARES), min_size=1, max_size=30))
def test_any_two_distributions_give_two_bars_a_bucket_none_wider_than_the_widest(buckets) -> None:
    names, one, two = zip(*buckets, strict=True)
    drawn = bars("country", names, one, two)
    rects = [element for element in ET.fromstring(_parsable(drawn)).iter() if element.tag == "rect"]
    assert len(rects) == 2 * len(names)
    assert max(float(rect.get("width", "0")) for rect in rects) <= 150


def _parsable(drawn: str) -> str:
    """Without what no XML may hold, however it is written."""
    return "".join(one for one in drawn if one.isprintable() and one < "\ufffe")


def test_no_text_becomes_markup() -> None:
    for drawn in (lines(NASTY, [1.0, 2.0]), bars(NASTY, [NASTY], [0.5], [0.5])):
        assert "<script" not in drawn
        assert "&lt;script&gt;" in drawn


def test_nothing_to_draw_draws_nothing() -> None:
    assert lines("empty", [None, float("nan")]) == bars("empty", [], [], []) == ""


def test_what_is_shown_is_said_in_words() -> None:
    said = ET.fromstring(bars("country_id", ["US", "CA"], [0.7, 0.3], [0.6, 0.4])).get("aria-label")
    assert said == "country_id: US 70.0% and 60.0%, CA 30.0% and 40.0%"


@pytest.mark.parametrize("limit", [0.0, 10.0])
def test_a_limit_is_inside_the_picture_wherever_the_values_are(limit) -> None:
    [line] = [one for one in ET.fromstring(lines("distance", [5.0, 6.0], limit=limit)).iter() if one.tag == "line"]
    assert 18 <= float(line.get("y1", "0")) <= 90


def test_it_is_for_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in CSS
