"""The page on runbooks ends with what each runbook says, and fails here when it is stale.

After a change of a text: ``TIMEWELL_TEST_WRITE_RUNBOOKS=1 ./run test tests/docs/test_runbooks_page.py``
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from timewell.watch.plays import PLAYS
from timewell.watch.rules import RULES
from timewell.watch.runbook_pages import generic_sections

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGE = PAGES / "runbooks.md"
HEADING = "## The runbooks\n"


def test_the_page_on_runbooks_says_what_they_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, heading, rest = page.partition(HEADING)
    assert heading
    introduction = rest.partition("\n### ")[0].strip()
    made = f"{head}{HEADING}\n{introduction}\n\n{generic_sections().rstrip()}\n"
    if os.environ.get("TIMEWELL_TEST_WRITE_RUNBOOKS"):
        PAGE.write_text(made, encoding="utf-8")
        page = made
    assert page == made


def test_every_rule_leads_to_a_heading_of_the_page() -> None:
    headings = re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [heading.lower().replace(" ", "-") for heading in headings] == list(PLAYS)
    assert {rule.runbook for rule in RULES.values()} <= set(PLAYS)
