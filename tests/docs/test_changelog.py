"""Changelog fragments have names that say where they go."""

from __future__ import annotations

import re
from pathlib import Path

FRAGMENTS = Path(__file__).resolve().parents[2] / "changelog.d"
NAME = re.compile(r"\d{4}-[a-z0-9-]+\.(added|changed|deprecated|removed|fixed|security)\.md")


def test_every_fragment_has_a_number_a_name_and_a_kind_and_says_something() -> None:
    fragments = [path for path in FRAGMENTS.iterdir() if path.name != "README.md"]
    assert fragments
    assert [path.name for path in fragments if not NAME.fullmatch(path.name)] == []
    assert [path.name for path in fragments if not path.read_text(encoding="utf-8").strip()] == []
