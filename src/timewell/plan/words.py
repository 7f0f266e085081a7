"""How a plan's parts are said, whatever they are printed in."""

from __future__ import annotations

import json

from timewell.plan.cost import days_read
from timewell.plan.forecast import Forecast
from timewell.plan.parts import Change, Content, FieldChange, Work
from timewell.types import format_duration

SIGNS = {
    "added": "+",
    "version_bump": "+",
    "metadata": "~",
    "compatible": "~",
    "breaking": "!",
    "invalid": "!",
    "unchanged": " ",
    "missing_from_folder": " ",
}
TITLES = {
    "added": "added",
    "version_bump": "new version",
    "metadata": "words only",
    "compatible": "compatible",
    "breaking": "BREAKING",
    "invalid": "INVALID",
    "unchanged": "unchanged",
    "missing_from_folder": "not in the folder",
}
CONSUMERS = {
    "feature": "features",
    "service": "services",
    "training_set": "training sets",
    "online_build": "online builds",
}
NOTHING_DELETED = "not in the folder (nothing is deleted; `timewell retire NAME@VERSION` does it)"


def value(given: object) -> str:
    """Write a value as JSON, so that an empty text, a number in quotes and a line break can be told apart."""
    return "none" if given is None else json.dumps(given, ensure_ascii=False)


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> counted(1, "row"), counted(1_200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def difference(change: FieldChange) -> str:
    """Write one field, before and after."""
    return f"{change.field}: {value(change.old)} -> {value(change.new)}"


def title(change: Change) -> str:
    """Say what happens to a definition, in a few words."""
    if change.action == "version_bump":
        return f"new version, against {change.name}@{change.against}"
    return TITLES[change.action]


def work_lines(work: Work) -> list[tuple[str, str]]:
    """Say what a version has to compute, as names and texts."""
    lines = [("computes", _computes(work))]
    if work.intervals:
        lines.append(("reads", days_read(work) or "nothing: all of it is there"))
    lines.append(("writes", _writes(work)))
    lines.append(("time", time_text(work.seconds, work.time_basis)))
    if work.online_rows is not None:
        lines.append(
            ("online", f"a build beside the live one before the promote, about {counted(work.online_rows, 'row')}")
        )
    lines += [("checks" if number == 0 else "", text) for number, text in enumerate(work.checks)]
    return lines


def _computes(work: Work) -> str:
    if not work.intervals:
        return "nothing says which days are wanted: give --start and --end, or --days"
    every = ", ".join(str(interval) for interval in work.intervals)
    left = work.partitions - work.ready
    text = f"{counted(left, 'partition')} of {format_duration(work.step_us)}, {every}"
    text += f"; {work.ready:,} more are there already" if work.ready else ""
    return text + (f"; {work.pending:,} more are not complete yet" if work.pending else "")


def _writes(work: Work) -> str:
    return size_text(work.rows, work.bytes, work.basis)


def size_text(rows: int | None, size: int | None, basis: str) -> str:
    """Say how much is written, and where that is known from."""
    if rows is None or size is None:
        return f"unknown ({basis})"
    return f"about {counted(rows, 'row')}, {_size(size)} ({basis})"


def time_text(seconds: float | None, basis: str) -> str:
    """Say how long something takes, and where that is known from; where it is not known, only why.

    Examples
    --------
    >>> print(time_text(184 * 0.0138, "as the last 184 partitions computed 184 at once: 0.0138 s each"))
    about 2.5 s (as the last 184 partitions computed 184 at once: 0.0138 s each)
    """
    return basis if seconds is None else f"about {_span(seconds)} ({basis})"


def forecast_lines(cost: Forecast) -> list[str]:
    """Say what a dry run found: which intervals, how much is written, how long it takes."""
    if not cost.partitions:
        return ["nothing is to be computed"]
    return [
        f"intervals: {', '.join(str(interval) for interval in cost.intervals)}",
        f"writes: {size_text(cost.rows, cost.bytes, cost.basis)}",
        f"time: {time_text(cost.seconds, cost.time_basis)}",
    ]


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.3g} {unit}" if unit != "bytes" else f"{size} bytes"
        amount /= 1000
    return f"{amount:,.3g} TB"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0.001):.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:,.1f} h"


def summary(plan: Content) -> str:
    """Say in one line how much there is of what."""
    counts = plan.counts()
    parts = [f"{counts[action]} {TITLES[action].lower()}" for action in TITLES if counts.get(action)]
    parts += [f"{len(plan.missing)} not in the folder"] if plan.missing else []
    failed = sum(test.refuses for test in plan.tests)
    parts += [f"{counted(len(plan.tests), 'test')} run, {failed} failed"] if plan.tests else []
    parts.append(f"{len(plan.findings)} to mend first" if plan.findings else "nothing to mend first")
    return "; ".join(parts)
