"""A plan as Markdown for a pull request.

Rule: definitions are written by others. A text of theirs only ever appears as :func:`code`, in which no character can
act as markup, as a mention, as a link or as the edge of a table cell.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from timewell.plan.parts import Change, Content, FieldChange
from timewell.plan.text import printable
from timewell.plan.words import CONSUMERS, NOTHING_DELETED, TITLES, summary, value, work_lines

_HARMLESS = frozenset(string.ascii_letters + string.digits + " ,")
_SPAN = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_EDGES = frozenset("`|\\<>&")
_TOLD = 5


def as_markdown(plan: Content) -> str:
    """Return a plan as a Markdown document."""
    lines = [
        f"### Plan of {code(plan.folder)}{' with `--bump`' if plan.bump else ''}",
        "",
        summary(plan),
        "",
    ]
    if plan.findings:
        lines += ["#### To mend first", ""]
        lines += _table(("what", "how"), [(code(found.message), code(found.hint)) for found in plan.findings])
    if plan.lints:
        lines += ["#### Worth a look", ""]
        lines += _table(("", "what", "how"), [(code(one.ref), code(one.message), code(one.hint)) for one in plan.lints])
    shown = [change for change in plan.changes if change.action != "unchanged" or change.deprecated]
    if shown:
        lines += ["#### Changes", ""]
        lines += _table(("kind", "name", "what happens", "details"), [_row(change) for change in shown])
    if plan.affected:
        lines += ["#### Affected", "", *_affected(plan)]
    for work in plan.work:
        lines += [f"#### To compute: {code(work.ref)}", ""]
        lines += _table(("", "what"), [(name, code(text)) for name, text in work_lines(work)])
    if plan.missing:
        names = ", ".join(code(f"{change.kind} {change.ref}") for change in plan.missing)
        lines += [f"Registered, {NOTHING_DELETED}: {names}", ""]
    if plan.commands:
        lines += ["#### Next", "", *(f"    {printable(command)}" for command in plan.commands), ""]
    return "\n".join(lines).rstrip() + "\n"


def code(text: str) -> str:
    """Return any text as a piece of code on one line.

    Where a character could end it, each one that is no letter or digit is written as a number.

    Examples
    --------
    >>> code("orders@v1"), code("a|<b>")
    ('`orders@v1`', '<code>a&#124;&#60;b&#62;</code>')
    """
    if _SPAN.fullmatch(text) and not _EDGES.intersection(text):
        return f"`{text}`"
    safe = "".join(char if char in _HARMLESS else f"&#{ord(char)};" for char in printable(text))
    return f"<code>{safe}</code>" if safe.strip() else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table; its cells are Markdown already."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _row(change: Change) -> tuple[str, ...]:
    details = [code(change.reason)] if change.reason else []
    details += [f"deprecated: {code(change.deprecated)}"] if change.deprecated else []
    details += [_difference(field) for field in change.fields]
    for feature in change.features:
        dtype = " to ".join(dict.fromkeys(part for part in (feature.old_dtype, feature.new_dtype) if part))
        details.append(f"{code(feature.name)} {feature.action}, {code(dtype)}")
        details += [f"{code(feature.name)} {_difference(field)}" for field in feature.fields]
    what = f"**{TITLES[change.action]}**" if change.action in {"breaking", "invalid"} else TITLES[change.action]
    what += f", against {code(change.against)}" if change.against and change.action == "version_bump" else ""
    return change.kind, code(change.ref), what, "<br>".join(details)


def _difference(field: FieldChange) -> str:
    return f"{code(field.field)}: {code(value(field.old))} to {code(value(field.new))}"


def _affected(plan: Content) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for kind, name in CONSUMERS.items():
        found = [consumer for consumer in plan.affected if consumer.kind == kind]
        told = found[:_TOLD] if kind == "training_set" else found
        rows += [(name, code(consumer.name), code(consumer.effect)) for consumer in told]
        if len(found) > len(told):
            rows.append((name, f"and {len(found) - len(told):,} more", ""))
    return _table(("", "name", "what it means for it"), rows)
