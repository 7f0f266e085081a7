"""Silences: who wants to hear nothing of what, why, and until when.

Rule: a silence ends by the clock or after the time that was asked for, whichever comes first: one that a clock set back makes
last longer would hide a breach.
"""

from __future__ import annotations

from collections.abc import Iterable

from timewell.stores.alerts import SilenceRecord
from timewell.watch.alerts import Key


def silence_of(key: Key, silences: Iterable[SilenceRecord], *, now_us: int, steady_us: int) -> SilenceRecord | None:
    """Return a silence that covers an alert and is not over: the one that lasts longest."""
    found = [
        silence
        for silence in silences
        if _covers(silence, key) and not is_over(silence, now_us=now_us, steady_us=steady_us)
    ]
    return max(found, key=lambda silence: silence.expires_us, default=None)


def is_over(silence: SilenceRecord, *, now_us: int, steady_us: int) -> bool:
    """Whether a silence has ended."""
    return now_us >= silence.expires_us or steady_us >= silence.steady_end_us


def _covers(silence: SilenceRecord, key: Key) -> bool:
    project, group, version, rule = key
    return (
        (silence.project, silence.group) == (project, group)
        and silence.version in {"", version}
        and silence.rule in {"", rule}
    )
