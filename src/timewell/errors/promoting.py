"""Errors about shadows: building beside what is live, and swapping it in or back."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


class PromoteRefused(TimewellError):
    """A shadow may not become live: it was not validated, or its validation failed."""

    code = "promote_refused"
    template = "{feature} was not promoted: {problem}."
    fix = "Look at the report: `timewell validate {feature}`. To overrule it: force='your reason' (it is audited)."


class BuildRefused(TimewellError):
    """New online values break the tests or contracts of their features; nothing was written."""

    code = "build_refused"
    template = "the online values of {group} were not written: {problem}."
    fix = (
        "What was served before goes on being served, until its ttl ends. Mend the source, or what is asked of it: "
        "`timewell test` shows each test."
    )
    exit_code = 1


class PromoteConflict(TimewellError):
    """Partitions changed between the staging of a shadow and its promote (or a promote and its rollback)."""

    code = "promote_conflict"
    template = "{feature}: {count} partitions changed since: {partitions}."
    fix = "Run `timewell backfill {feature} --rebase`: it computes and validates only those again."


class NoShadow(UsageError):
    """There is nothing staged for a feature."""

    code = "no_shadow"
    template = "{feature} has no open shadow."
    fix = "Build one: `timewell backfill {feature} --days 90`."


class ShadowClosed(TimewellError):
    """A shadow was promoted or abandoned already."""

    code = "shadow_closed"
    template = "shadow {shadow} is {status}."
    fix = "Open a new one with `timewell backfill`; `timewell history` shows who closed it."


class UnknownPromotion(UsageError):
    """There is no promotion to take back."""

    code = "unknown_promotion"
    template = "{feature} has no promotion to take back{detail}."
    fix = "`timewell history {feature}` shows what was promoted and taken back."


class StillUsed(TimewellError):
    """A version cannot be retired while something uses it."""

    code = "still_used"
    template = "{name}@{version} cannot be retired: {problem}."
    fix = "Move them to another version first; `timewell show {name}` names the versions."


class SnapshotCollected(TimewellError):
    """Files of an old snapshot were collected."""

    code = "snapshot_collected"
    template = "snapshot {snapshot} of {what} is gone: {count} of its files were collected."
    fix = "Keep snapshots longer: `[retention] snapshots` in timewell.toml; the values can be computed again from the sources."
