"""A plan as text for a terminal: signs in the margin, details below, what to type at the end.

Rule: every text of a definition is written out (:func:`printable`), so that no value can drive the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from timewell.plan.parts import Change, Consumer, Content, FeatureChange
from timewell.plan.words import CONSUMERS, NOTHING_DELETED, SIGNS, difference, summary, title, work_lines

_TOLD = 5  # training sets named one by one; the rest are counted


def as_text(plan: Content) -> str:
    """Return a plan as lines of text."""
    lines = [f"plan of {plan.folder}{' with --bump' if plan.bump else ''}, against epoch {plan.epoch}", ""]
    shown = [change for change in plan.changes if change.action != "unchanged" or change.deprecated]
    for change in shown:
        lines += _change(change)
    if not shown:
        lines.append("  nothing would change")
    lines += _affected(plan.affected) + _work(plan)
    lines += _block(NOTHING_DELETED, (f"{change.kind} {change.ref}" for change in plan.missing))
    lines += _block(
        "to mend first", (line for finding in plan.findings for line in _two(finding.message, finding.hint))
    )
    lines += _block(
        "worth a look", (line for lint in plan.lints for line in _two(f"{lint.ref} {lint.message}", lint.hint))
    )
    lines += _block("next", plan.commands)
    lines += ["", summary(plan)]
    return "\n".join(printable(line).rstrip() for line in lines)


def printable(text: str) -> str:
    r"""Write out every character that a terminal would act upon, line breaks included.

    Examples
    --------
    >>> printable("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _change(change: Change) -> list[str]:
    place = f"  ({change.where})" if change.where else ""
    lines = [f"  {SIGNS[change.action]} {change.kind:<8} {change.ref:<32} {title(change)}{place}"]
    lines += [f"        {change.reason}"] if change.reason else []
    lines += [f"        deprecated: {change.deprecated}"] if change.deprecated else []
    lines += [f"        {difference(field)}" for field in change.fields]
    for feature in change.features:
        lines += _feature(feature, new_group=change.action == "added")
    return lines


def _feature(feature: FeatureChange, *, new_group: bool) -> list[str]:
    if feature.action == "unchanged" and not feature.fields:
        return [] if new_group else [f"          {feature.name}: unchanged"]
    sign = {"added": "+", "removed": "-", "changed": "!", "unchanged": "~"}[feature.action]
    dtype = feature.new_dtype or feature.old_dtype
    if feature.old_dtype and feature.new_dtype and feature.old_dtype != feature.new_dtype:
        dtype = f"{feature.old_dtype} -> {feature.new_dtype}"
    lines = [f"        {sign} {feature.name}: {feature.action}, {dtype}"]
    return lines + [f"            {difference(field)}" for field in feature.fields]


def _affected(affected: Sequence[Consumer]) -> list[str]:
    if not affected:
        return []
    lines = ["", "affected"]
    for kind, name in CONSUMERS.items():
        found = [consumer for consumer in affected if consumer.kind == kind]
        told = found[:_TOLD] if kind == "training_set" else found
        for effect, group in groupby(told, key=lambda consumer: consumer.effect):
            lines.append(f"  {name:<14} {', '.join(consumer.name for consumer in group)}: {effect}")
            name = ""  # noqa: PLW2901  # said once, above its lines
        if len(found) > len(told):
            lines.append(f"  {'':<14} and {len(found) - len(told):,} more")
    return lines


def _work(plan: Content) -> list[str]:
    if not plan.work:
        return []
    lines = ["", "to compute"]
    for work in plan.work:
        lines.append(f"  {work.ref}")
        lines += [f"    {name:<10} {text}" for name, text in work_lines(work)]
    return lines


def _two(first: str, second: str) -> Iterable[str]:
    return (first, f"  {second}") if second else (first,)


def _block(name: str, lines: Iterable[str]) -> list[str]:
    found = [f"  {line}" for line in lines]
    return ["", name, *found] if found else []
