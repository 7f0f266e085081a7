"""A plan as text, Markdown and JSON: nothing a definition says can act as markup or drive a terminal."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser

import markdown
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewell.errors import UsageError
from timewell.plan.markdown import code
from timewell.plan.parts import Change, Consumer, FieldChange, Finding
from timewell.plan.plan import Plan

EVIL = "\n".join(  # noqa: FLY002  # one line each, to be read
    [
        "a | b `c` ``d`` <script>alert(1)</script> </code> </td>",
        "| x | y |",
        "# Title [click](javascript:alert(1)) ![i](http://evil.example/x.png)",
        "@everyone **bold** _it_ ~~no~~ &lt;b&gt; https://evil.example www.evil.example \\| \\` \x1b[31mred\r",
    ]
)
OURS = {"h3", "h4", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "br", "pre", "strong"}


class Tags(HTMLParser):
    """Collects the tags of a page, their attributes, and how many cells each row of a table has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[object] = []
        self.rows: list[int] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "tr":
            self.rows.append(0)
        if tag in {"td", "th"}:
            self.rows[-1] += 1


def read(text: str) -> Tags:
    found = Tags()
    found.feed(markdown.markdown(text, extensions=["tables"]))
    return found


def plan_with(text: str) -> Plan:
    fields = (FieldChange(field="description", old=text, new=[text]), FieldChange(field=text, old=None, new={text: 1}))
    change = Change(
        kind="group", name="g", version="v1", action="breaking", where=text, reason=text, owner=text, deprecated=text,
        fields=fields,
    )  # fmt: skip
    return Plan(
        folder=text or "features",
        made_us=0,
        epoch=1,
        registered="",
        definitions="",
        changes=(change,),
        missing=(change,),
        affected=(Consumer(kind="service", name=text, group="g", version="v1", effect=text),),
        findings=(Finding(code="x", message=text, hint=text, where=text),),
        commands=("timewell apply " + text,),
    )


def test_nothing_in_a_definition_acts_in_markdown() -> None:
    page = read(plan_with(EVIL).to_markdown())
    assert page.tags <= OURS
    assert page.attributes == []
    assert set(page.rows) <= {2, 3, 4}


@given(st.text() | st.text(alphabet="`|\\<>&*_[]()#!@\n\r\t -~a1"))
def test_any_text_is_one_piece_of_code(text: str) -> None:
    written = code(text)
    assert "\n" not in written
    assert written.isprintable()
    if written.startswith("`"):
        assert re.fullmatch(r"`[^`|\\<>&]+`", written)
    elif written:
        assert re.fullmatch(r"<code>(?:[A-Za-z0-9 ,]|&#\d+;)*</code>", written)


@given(st.text(alphabet="`|\\<>&*_[]()#!@\n\r\t -~a1", max_size=30))
def test_any_text_leaves_the_page_as_it_is_built(text: str) -> None:
    page, plain = (read(plan_with(part).to_markdown()) for part in (text, "x"))
    assert page.tags <= OURS
    assert page.attributes == []
    assert page.rows == plain.rows


@given(st.text(alphabet=st.characters()))
def test_no_text_drives_the_terminal(text: str) -> None:
    assert all(line.isprintable() for line in str(plan_with(text)).split("\n"))


def test_a_description_with_line_breaks_adds_no_lines() -> None:
    assert len(str(plan_with(EVIL)).split("\n")) == len(str(plan_with("x")).split("\n"))


def test_a_plan_is_json_and_reads_back_equal(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    shop.folder["groups"][1]["features"][0]["aggregation"]["window"] = "30mo"
    plan = shop.plan(bump=True, days=90)
    assert plan.work
    assert plan.findings
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_a_document_that_is_no_plan_is_refused() -> None:
    with pytest.raises(UsageError, match="no plan"):
        Plan.from_dict({"folder": 7})


def test_the_text_reads_like_a_plan(shop) -> None:
    shop.spending["filter"] = "amount > 3"
    text = str(shop.plan(bump=True, days=90))
    for line in (
        "plan of features with --bump, against epoch ",
        "  + group    spending@v2                      new version, against spending@v1  (all.yaml)",
        '        filter: none -> "amount > 3"',
        "        ! amount_30d: changed, int64",
        "affected\n  features       amount_30d, count_7d: another meaning from spending@v2 on",
        "to compute\n  spending@v2\n    computes   90 partitions of 1d, [2025-10-03T00:00:00Z, 2026-01-01T00:00:00Z)",
        "next\n  timewell apply --bump\n  timewell backfill spending@v2 --start 2025-10-03 --end 2025-12-31",
        "  timewell validate spending@v2\n  timewell promote spending@v2",
    ):
        assert line in text
    assert text.endswith("1 new version; 4 unchanged; 1 test run, 0 failed; nothing to mend first")


def test_many_training_sets_are_counted_not_listed() -> None:
    made = [Consumer(kind="training_set", name=f"t{n}", group="g", version="v1", effect="e") for n in range(12)]
    plan = dataclasses.replace(plan_with("x"), affected=tuple(made))
    assert "and 7 more" in str(plan)
    assert "and 7 more" in plan.to_markdown()
