"""What counting every request and sampling one entity in a hundred cost: the same reads with and without.

The threads that sketch and write what was counted run beside the reads, as they do in a server, and what they take of the
interpreter is in the figures.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from child import Work
from serve_get import timewell
from serve_http import timewell as ask_timewell
from serve_unnoted import forget_notes

SAMPLES = Path(".timewell/samples")  # of the project that all ways share; each run begins with none


def in_process(*, state: str, noted: bool, place: str, requests: str, count: int, groups: int) -> Work:
    """Ask in process, as ``serve_get.timewell`` does."""
    if not noted:
        forget_notes()
    return _cleaned(timewell(place=place, requests=requests, count=count, groups=groups), state)


def over_http(*, state: str, noted: bool, place: str, load: dict[str, Any]) -> Work:
    """Ask a server, as ``serve_http.timewell`` does."""
    return _cleaned(ask_timewell(place=place, load=load, noted=noted), state)


def _cleaned(work: Work, state: str) -> Work:
    def after() -> None:
        work.after()
        shutil.rmtree(Path(state) / SAMPLES, ignore_errors=True)

    return replace(work, after=after)
