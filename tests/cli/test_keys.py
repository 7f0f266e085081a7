"""Entity keys as people type them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.cli.keys import parse_key
from timewell.errors import InvalidKey, TimewellError, UsageError

TYPES = {"id": "int64", "name": "string", "member": "bool", "day": "date"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("id=7", {"id": 7}),
        ("id=-7, name=a=b", {"id": -7, "name": "a=b"}),
        ("name=", {"name": ""}),
        ("member=true,day=2026-03-01", {"member": True, "day": date(2026, 3, 1)}),
        ('{"name": "a,b", "id": null}', {"name": "a,b", "id": None}),
        (' {"day": "2026-03-01"}', {"day": date(2026, 3, 1)}),
    ],
)
def test_a_key_is_read_with_the_types_of_its_parts(text, key) -> None:
    assert parse_key(text, TYPES) == key


@pytest.mark.parametrize("text", ["", "7", "id", "=7", "id=1,id=2", "id=1,", "no=1", "{", '{"no": 1}', "[1]", "{}}"])
def test_a_key_in_no_form_is_refused(text) -> None:
    with pytest.raises(UsageError):
        parse_key(text, TYPES)


@pytest.mark.parametrize("text", ["id=x", "id=1.5", "member=yes", "day=today", '{"id": "x"}'])
def test_a_value_of_another_type_is_refused_by_the_name_of_its_key(text) -> None:
    with pytest.raises(InvalidKey, match=text.strip('{"').partition("=")[0].partition('"')[0]):
        parse_key(text, TYPES)


@given(st.text() | st.text().map(lambda text: "{" + text) | st.text().map(lambda text: f"id={text}"))
def test_any_text_is_a_key_or_one_of_our_errors(text: str) -> None:
    try:
        parse_key(text, TYPES)
    except TimewellError as error:
        assert error.hint  # noqa: PT017  # either outcome is right; what counts is that nothing else is raised
