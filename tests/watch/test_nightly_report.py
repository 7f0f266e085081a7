"""How a night is said: one chat message whatever was compared, a page that is whole in itself, and a document."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from timewell.types import DAY_US, parse_instant
from timewell.watch.nightly.page import page
from timewell.watch.nightly.report import MESSAGE_CHARS, NightlyReport, NightRow, Shares

END_US = parse_instant("2026-03-02T03:00:00Z")
NASTY = "<img src=x onerror=alert(1)>"


def row(name: str = "country_id", **given: object) -> NightRow:
    usual = {"owner": "risk@company", "reads": 1_200, "distance": 0.0, "limit": 0.05, "verdict": "same"}
    return NightRow(feature=f"profile@v1:{name}", **{**usual, **given})


def night(*rows: NightRow, **given: object) -> NightlyReport:
    usual = {"project": "shop", "start_us": END_US - DAY_US, "end_us": END_US, "online_features": 20}
    return NightlyReport(rows=rows, **{**usual, **given})


BAD = row(
    distance=0.12,
    verdict="differs",
    cause="other values are served than are computed",
    buckets=(Shares(bucket="1", online=0.6, offline=0.72), Shares(bucket="2", online=0.4, offline=0.28)),
    replayed=1_000,
    different=31,
    causes={"version": 30, "unknown": 1},
)


def test_a_quiet_night_says_so_in_a_line_a_feature() -> None:
    text = night(row(), row("amount_7d", reads=900), page="/srv/nights/2026-03-02.html").message()
    assert text == (
        "shop, night of 2026-03-02: 2 most read features offline against online, all agree\n"
        "- country_id: distance 0.000 of 0.05 allowed (same); 1,200 reads\n"
        "- amount_7d: distance 0.000 of 0.05 allowed (same); 900 reads\n"
        "Report: /srv/nights/2026-03-02.html"
    )


def test_what_needs_a_look_comes_first_with_its_cause_and_owner() -> None:
    title, first, *_ = night(row("amount_7d"), BAD).message().split("\n")
    assert title.endswith("1 need a look")
    assert first == (
        "x country_id: distance 0.120 of 0.05 allowed (differs: other values are served than are computed);"
        " 31 of 1,000 replayed values differ (30 version, 1 unknown); 1,200 reads; risk@company"
    )


def test_too_little_to_tell_is_neither_good_nor_bad() -> None:
    report = night(row(verdict="not enough data"), row("other", distance=None, verdict="nothing was sampled"))
    assert report.passed
    assert [one.state for one in report.rows] == ["unsure", "unsure"]
    assert report.title().endswith("no difference found")


@pytest.mark.parametrize("count", [1, 40, 500])
def test_a_message_fits_however_much_there_is_to_say(count: int) -> None:
    rows = [row(f"{'long_' * 30}{number}", distance=0.5, verdict="differs", cause="x" * 400) for number in range(count)]
    report = night(*rows, page="https://wiki.company/" + "p" * 200)
    lines = report.message().split("\n")
    assert len(report.message()) < MESSAGE_CHARS
    assert lines[-1].startswith("Report: https://wiki.company/")
    shown = len(lines) - 2 - any(line.startswith("and ") for line in lines)
    assert lines[-2] == f"and {count - shown} more" or shown == count


def test_a_report_is_made_again_from_its_document() -> None:
    report = night(
        BAD, row("amount_7d", distance=None), skipped={"profile@v1": "gone"}, earlier={BAD.feature: (0.1, None)}
    )
    assert NightlyReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


class Parts(HTMLParser):
    """Keeps the names of elements, and which are open."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_page_is_whole_in_itself_and_lets_no_text_become_markup() -> None:
    nasty = row(
        NASTY, owner=NASTY, verdict="differs", cause=NASTY, buckets=(Shares(bucket=NASTY, online=1, offline=0),)
    )
    text = page(night(nasty, project=NASTY, skipped={NASTY: NASTY}, earlier={nasty.feature: (0.1,)}))
    parts = Parts()
    parts.feed(text)
    assert parts.open == []
    assert not {"script", "img", "link", "iframe"} & set(parts.seen)
    assert "url(" not in text
    assert text.count("<svg") == 2
    assert "prefers-color-scheme: dark" in text
