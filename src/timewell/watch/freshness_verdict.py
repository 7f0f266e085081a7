"""What the age of some data means: its state, whose fault it is, and when the promise breaks.

Rule: a verdict is made from clocks alone. It reads nothing and remembers nothing, so that it can be tried on any day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from timewell.errors import BuildRefused, PromoteRefused
from timewell.types import MINUTE_US, format_duration
from timewell.watch.freshness_clocks import Clocks

State = Literal["fresh", "warning", "breached", "never", "unknown", "unpromised"]
Cause = Literal["", "PIPELINE_LATE", "SOURCE_LATE", "SOURCE_QUIET", "GATE_BLOCKED"]

BETTER_FIRST: Final[tuple[State, ...]] = ("unpromised", "fresh", "warning", "unknown", "never", "breached")

CLOCKS_DIFFER_US: Final = MINUTE_US
"""So much may another machine's clock be ahead before an instant after now means that ours was set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How some data stands against its SLA.

    Attributes
    ----------
    state
        ``fresh``; ``warning`` from the warn share of the SLA on; ``breached`` from the SLA on; ``never`` built;
        ``unknown`` where it cannot be told; ``unpromised`` without an SLA. The limits themselves count.
    age_us
        Now less the instant up to which the data is complete, never below 0; ``None`` where there is none.
    ratio
        ``age_us`` as a share of the SLA.
    cause
        See :func:`cause_of`.
    breach_us
        When the promise breaks, or broke, if nothing is written any more; ``None`` where nothing has to be written.
    reason
        Why the state is ``unknown``.
    """

    state: State
    age_us: int | None = None
    ratio: float | None = None
    cause: Cause = ""
    breach_us: int | None = None
    reason: str = ""


def judge(clocks: Clocks, sla_us: int | None, *, now_us: int, warn_share: float = 0.8) -> Verdict:
    """Judge clocks at an instant.

    Parameters
    ----------
    sla_us
        The most that the data may be old; ``None`` where nothing is promised.
    warn_share
        Share of it from which on a warning is given.

    Examples
    --------
    >>> clocks = Clocks(group="spend", version="v1", store="online", data_through_us=0, as_of_us=0, run_us=0)
    >>> verdict = judge(clocks, 24 * 3_600_000_000, now_us=20 * 3_600_000_000)
    >>> verdict.state, round(verdict.ratio, 2), verdict.cause
    ('warning', 0.83, 'PIPELINE_LATE')
    """
    reason = clocks.trouble or _clock_trouble(clocks, now_us)
    through_us = clocks.data_through_us
    if reason:
        return Verdict(state="unknown" if sla_us else "unpromised", reason=reason)
    if sla_us is None:
        return Verdict(state="unpromised", age_us=None if through_us is None else max(0, now_us - through_us))
    if through_us is None:
        return Verdict(state="never", cause=cause_of(clocks, "never", sla_us, now_us))
    age_us = max(0, now_us - through_us)
    ratio = age_us / sla_us
    state: State = "breached" if age_us >= sla_us else "warning" if ratio >= warn_share else "fresh"
    moves = clocks.store == "source" and state != "breached" and through_us == clocks.as_of_us
    return Verdict(
        state=state,
        age_us=age_us,
        ratio=ratio,
        cause=cause_of(clocks, state, sla_us, now_us),
        breach_us=None if moves else through_us + sla_us,
    )


def _clock_trouble(clocks: Clocks, now_us: int) -> str:
    """Say so where the clock stands before what has happened: every age would be too small, and none is believed."""
    stamps = (clocks.run_us, clocks.failed_us, clocks.data_through_us)
    ahead_us = max((stamp for stamp in stamps if stamp is not None), default=now_us) - now_us
    if ahead_us <= CLOCKS_DIFFER_US:
        return ""
    return f"the clock stands {format_duration(ahead_us // 1_000_000 * 1_000_000)} before the last run"


def cause_of(clocks: Clocks, state: State, sla_us: int, now_us: int) -> Cause:
    """Name whose fault a state is.

    Of data that is late or was never there:

    ``GATE_BLOCKED``
        The last run computed it, and the group's own tests, its contracts or a validation refused it.
    ``SOURCE_LATE``
        The source held the last successful run up: it was not complete up to where the run could have gone, by more
        than has passed since that run. Runs that succeed over a dead source end here.
    ``PIPELINE_LATE``
        Everything else: runs fail, or do not happen.

    Of data that is fresh:

    ``SOURCE_QUIET``
        Nothing is wrong, and nothing has happened for as long as the SLA: the source says that it is complete. This is
        no fault; a source that declares nothing (``marker``, ``complete_sql``, ``delay``, ``quiet_after``) may have died
        all the same.
    """
    if state == "fresh":
        quiet = clocks.data_us is not None and now_us - clocks.data_us >= sla_us
        return "SOURCE_QUIET" if quiet else ""
    if state in {"unknown", "unpromised"}:
        return ""
    if clocks.failures and clocks.error in (PromoteRefused.code, BuildRefused.code):
        return "GATE_BLOCKED"
    return "SOURCE_LATE" if _held_up(clocks, now_us) else "PIPELINE_LATE"


def _held_up(clocks: Clocks, now_us: int) -> bool:
    """Whether the source has the greater part in how old the data is."""
    read_us, complete_us, through_us = clocks.read_us, clocks.complete_through_us, clocks.data_through_us
    if read_us is None or complete_us is None:
        return False
    if through_us is None:
        return complete_us < read_us  # a run found nothing that was complete
    bound = complete_us < through_us + max(clocks.step_us, 1)
    return bound and read_us - complete_us > now_us - read_us
