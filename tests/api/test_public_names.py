"""The public names are a promise: they change on purpose, in a reviewed file.

After a wanted change: ``TIMEWELL_TEST_WRITE_NAMES=1 ./run test tests/api/test_public_names.py``
"""

from __future__ import annotations

import os
from pathlib import Path

import timewell

SNAPSHOT = Path(__file__).with_name("public_names.txt")


def test_the_public_names_are_those_of_the_snapshot() -> None:
    names = sorted(timewell.__all__)
    if os.environ.get("TIMEWELL_TEST_WRITE_NAMES"):
        SNAPSHOT.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    assert names == SNAPSHOT.read_text(encoding="utf-8").split()


def test_every_public_name_can_be_had_and_is_listed() -> None:
    missing = [name for name in timewell.__all__ if not hasattr(timewell, name)]
    assert missing == []
    assert set(timewell.__all__) <= set(dir(timewell))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    assert not hasattr(timewell, "no_such_name")
