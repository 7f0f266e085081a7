"""What to do about each rule's alerts, as data: every runbook, and the page on them, is made from these texts.

Rule: what is typed stands apart from what is said, as a whole command with places to fill in; a test types all of them.
A place is a name in braces: ``{key}``, ``{group}``, ``{source}``, ``{first_day}``, ``{last_day}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Whom = Literal["owner", "source", "operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Attributes
    ----------
    say
        What it is for, and what the answer means.
    type
        Commands; one that holds ``{group}`` is there once for each group that the runbook is about.
    causes
        Only for alerts of these causes; for all without any.
    needs
        Only of a group that has such features: ``online`` for stored ones, ``offline`` for a table.
    """

    say: str
    type: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    needs: Literal["", "online", "offline"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What to do about the alerts of a rule.

    Attributes
    ----------
    name
        The heading; its slug is what a rule calls its runbook.
    means
        What such an alert says, and whom it hurts.
    call
        Who is called if nothing of this helps.
    """

    name: str
    means: str
    diagnose: tuple[Step, ...]
    mitigate: tuple[Step, ...]
    verify: tuple[Step, ...]
    call: Whom = "owner"

    @property
    def slug(self) -> str:
        """The heading as links have it.

        Examples
        --------
        >>> PLAYS["source-late"].slug
        'source-late'
        """
        return self.name.lower().replace(" ", "-")


ACKNOWLEDGE: Final = Step(say="Say that you are on it, so that the others know.", type=("timewell alerts ack {key}",))
_HISTORY: Final = Step(
    say="When did it begin, and did it come and go?", type=("timewell alerts --history --key {key}",)
)
_EVALUATE: Final = Step(
    say="The alert ends with the next evaluation, and all who were told are told so.",
    type=("timewell watch", "timewell alerts list"),
)
_EVALUATE_TESTS: Final = Step(
    say="The alert ends with the next evaluation that runs the tests, and all who were told are told so.",
    type=("timewell watch --tests", "timewell alerts list"),
)
_SILENCE: Final = "timewell alerts silence {key} --for 4h --reason REASON --by NAME"

_FRESHNESS = Play(
    name="Freshness",
    means="Features are older than their `freshness_sla`, or will be soon: models decide on what was true before.",
    diagnose=(
        Step(
            say="How old is each feature, and whose fault is it? The last failed run stands below the table.",
            type=("timewell freshness {group}",),
        ),
        Step(
            say="Does anybody refresh, and what is due, running or failing? Exit code 1 where no refresher is alive.",
            type=("timewell refresher --status",),
        ),
        Step(say="Is a file, a build, the registry or a source damaged?", type=("timewell doctor",)),
        Step(
            say="What was changed lately, and by whom?",
            type=("timewell history {group}", "timewell audit-log --subject {group} --limit 10"),
        ),
    ),
    mitigate=(
        Step(
            say="`PIPELINE_LATE`: no run, or none that succeeded. Try one; its error says what is in the way.",
            type=("timewell materialize online {group}",),
            causes=("PIPELINE_LATE",),
            needs="online",
        ),
        Step(
            say="`PIPELINE_LATE` of the offline table: build the days that it lacks.",
            type=("timewell materialize offline {group} --start {first_day} --end {last_day}",),
            causes=("PIPELINE_LATE",),
            needs="offline",
        ),
        Step(
            say="`SOURCE_LATE`: runs succeed, and the source was not complete; whatever runs here does not help.",
            type=("timewell runbook {source}:source_late",),
            causes=("SOURCE_LATE",),
        ),
        Step(
            say="`GATE_BLOCKED`: the last run's values failed the group's own tests or broke its contracts.",
            type=("timewell runbook {group}:gate",),
            causes=("GATE_BLOCKED",),
        ),
        Step(say="It takes long, and those who use the features know: keep it quiet meanwhile.", type=(_SILENCE,)),
    ),
    verify=(Step(say="The promise is kept again: exit code 0.", type=("timewell freshness {group}",)), _EVALUATE),
)

_SOURCE_LATE = Play(
    name="Source late",
    means="A source is complete only up to a while ago. All that depends on it gets old, although its runs succeed.",
    diagnose=(
        Step(
            say="Up to when is it complete (`source_complete_through`), and who waits for it?",
            type=("timewell freshness {group} --json",),
        ),
        Step(say="Can it be read at all?", type=("timewell doctor",)),
    ),
    mitigate=(
        Step(say="Ask who loads the source: whatever runs here cannot make its rows come."),
        Step(say="It takes long, and those who use the features know: keep it quiet meanwhile.", type=(_SILENCE,)),
        Step(
            say="Once it has caught up, do not wait for the next run.",
            type=("timewell materialize online {group}",),
            needs="online",
        ),
    ),
    verify=(Step(say="The promises are kept again: exit code 0.", type=("timewell freshness {group}",)), _EVALUATE),
    call="source",
)

_LATENCY = Play(
    name="Latency",
    means="Requests take longer than the `latency_budget` of a group, or nearly: callers run into their own limits.",
    diagnose=(
        Step(
            say="One group or all? Are there failed or degraded answers, and of what cause?",
            type=("timewell latency --since 15m",),
        ),
        Step(say="Was something promoted when it began?", type=("timewell history {group}",)),
        Step(say="Where is each feature read: in memory, in the store, from its source?", type=("timewell tiers",)),
    ),
    mitigate=(
        Step(say="One group, since a promotion: take that back.", type=("timewell rollback {group}",)),
        Step(say="One group, always near its budget: `tier: hot` keeps its rows in the servers' memory."),
        Step(say="All groups: look at the machine's load and at the online store; `[server] workers` adds processes."),
    ),
    verify=(
        Step(say="No budget is broken any more: exit code 0.", type=("timewell latency --since 15m",)),
        _EVALUATE,
    ),
)

_ERROR_BUDGET = Play(
    name="Error budget",
    means=(
        "Requests fail so fast that what `[serving] availability` allows will be used up: within about two days "
        "(`error_budget_fast`), five (`error_budget_slow`), or before the month ends (`error_budget_drain`)."
    ),
    diagnose=(
        Step(say="Which causes have the failures, and of which groups?", type=("timewell latency --since 15m",)),
        Step(say="Does the online store answer, and does it hold its builds?", type=("timewell doctor",)),
        Step(say="Was something promoted when it began?", type=("timewell history",)),
    ),
    mitigate=(
        Step(
            say=(
                "`no_answer`, `breaker_open`, `crowded`: the online store is down, slow or asked too much; mend that. "
                "Meanwhile requests are answered as `[serving] on_unavailable` says."
            )
        ),
        Step(
            say="`emptied`, `rolled_back`: the store lost builds; fill it again.", type=("timewell materialize online",)
        ),
        Step(say="One group, since a promotion: take that back.", type=("timewell rollback {group}",)),
    ),
    verify=(
        Step(say="Requests are answered again: exit code 0.", type=("timewell latency --since 15m",)),
        _EVALUATE,
    ),
    call="operator",
)

_DEGRADED = Play(
    name="Degraded",
    means=(
        "More answers than `[serving] most_degraded` allows have fallbacks in place of a group's values: what was read before, what "
        "the caller gave as defaults, or null. Each is marked `degraded`; a model that does not look decides on them."
    ),
    diagnose=(
        Step(
            say="Of what cause, and of this group alone or of all?",
            type=("timewell latency --since 15m",),
        ),
        Step(say="Does the online store answer, and does it hold its builds?", type=("timewell doctor",)),
        Step(say="Was something promoted when it began?", type=("timewell history {group}",)),
    ),
    mitigate=(
        Step(
            say="`no_answer`, `breaker_open`: the online store is down or slow; mend that, reads begin again by themselves."
        ),
        Step(
            say="`crowded`: it is asked too much; add workers (`[server] workers`), or let callers ask for fewer at a time."
        ),
        Step(
            say="`emptied`, `rolled_back`: the store lost builds; fill it again.",
            type=("timewell materialize online {group}",),
            needs="online",
        ),
        Step(say="`not_computed`: what is computed on read could not be; the server's log names the group and why."),
        Step(
            say="`transform_failed`: the function of an on-demand feature raises for what it is given; the server's log "
            "names it. Correct it, and give it another version."
        ),
        Step(
            say='Decisions must not be made on fallbacks: `[serving] on_unavailable = "error"` refuses such requests instead.'
        ),
        Step(say="It takes long, and those who use the features know: keep it quiet meanwhile.", type=(_SILENCE,)),
    ),
    verify=(
        Step(
            say="Nothing is degraded any more, five minutes after the last fallback.",
            type=("timewell latency --since 5m",),
        ),
        _EVALUATE,
    ),
)

_QUALITY = Play(
    name="Quality",
    means="A test of the features fails on the values as they are: what models read is not what was promised.",
    diagnose=(
        Step(say="Which test, and by what number?", type=("timewell test {group}",)),
        Step(say="What are they, and what are they made from?", type=("timewell show {group}",)),
        Step(say="Was something promoted when it began?", type=("timewell history {group}",)),
    ),
    mitigate=(
        Step(say="Since a promotion: take that back.", type=("timewell rollback {group}",)),
        Step(say="The source is wrong: tell its owner, and keep it quiet meanwhile.", type=(_SILENCE,)),
        Step(
            say="The test is wrong: change it in its definition; that makes no new version.",
            type=("timewell plan --check", "timewell apply"),
        ),
    ),
    verify=(Step(say="Every test passes: exit code 0.", type=("timewell test {group}",)), _EVALUATE_TESTS),
)

_SKEW = Play(
    name="Skew",
    means=(
        "What is served of a feature lies farther from what training has for the same entities and instants than its `skew` "
        "allows: the model decides on something else than it was trained on."
    ),
    diagnose=(
        Step(
            say="Which feature, which buckets and keys, and what does it likely come from?",
            type=("timewell skew {group} --window 2h",),
        ),
        Step(say="Was something promoted when it began?", type=("timewell history {group}",)),
        Step(say="Is the build behind its source?", type=("timewell freshness {group}",)),
    ),
    mitigate=(
        Step(
            say="`VALUES`, `NULL`: another code path writes or answers values: stop it, and write the build anew.",
            type=("timewell materialize online {group}",),
            causes=("VALUES", "NULL"),
            needs="online",
        ),
        Step(
            say="`STALE`, `EXPIRED`: the build is too old for what its values are used for; bring it to the present.",
            type=("timewell materialize online {group}",),
            causes=("STALE", "EXPIRED"),
            needs="online",
        ),
        Step(say="`DEGRADED`: the online store is the problem; its alert's runbook helps.", causes=("DEGRADED",)),
        Step(
            say="`VERSION`: it was promoted meanwhile; if that was wrong, take it back, else wait for the next measurement.",
            type=("timewell rollback {group}",),
            causes=("VERSION",),
        ),
        Step(
            say="It is meant to be so: give the feature another `skew`, or keep it quiet meanwhile.", type=(_SILENCE,)
        ),
    ),
    verify=(
        Step(
            say="What is served since is what training has: exit code 0.", type=("timewell skew {group} --window 30m",)
        ),
        _EVALUATE,
    ),
)

_GATE = Play(
    name="Gate",
    means="New values were computed and not let in: what is live stays live, is served, and gets old.",
    diagnose=(
        Step(say="What did the last run fail with?", type=("timewell freshness {group}",)),
        Step(say="Which of the group's tests or contracts fails, and by what number?", type=("timewell test {group}",)),
    ),
    mitigate=(
        Step(
            say="The values are wrong: mend the source or the definition, and compute them again.",
            type=("timewell materialize offline {group} --start {first_day} --end {last_day}",),
        ),
        Step(say="Then bring the builds to now, too.", type=("timewell materialize online {group}",), needs="online"),
        Step(
            say="The values are right, the test or the contract is not: change it in the definition, and compute them again.",
            type=("timewell plan --check", "timewell apply"),
        ),
        Step(
            say="It was a backfill: see how it differs. It is meant to: let it in; the reason is audited.",
            type=("timewell validate {group}", "timewell promote {group} --force REASON"),
        ),
    ),
    verify=(
        Step(
            say="Every test passes, and the new values are in.",
            type=("timewell test {group}", "timewell freshness {group}"),
        ),
        _EVALUATE,
    ),
)

_UNFINISHED = Play(
    name="Unfinished",
    means=(
        "A backfill was begun, and neither promoted nor given up: what it computed gets old, and keeps its place on the disk."
    ),
    diagnose=(
        Step(say="What was done before, and by whom?", type=("timewell audit-log --subject {group} --limit 10",)),
        Step(say="What is left to compute?", type=("timewell backfill {group} --dry-run",)),
    ),
    mitigate=(
        Step(
            say="It is wanted: go on with it; what was computed is not computed again.",
            type=("timewell backfill {group}", "timewell validate {group}", "timewell promote {group}"),
        ),
        Step(say="It is not wanted: close it.", type=("timewell abandon {group} --yes",)),
    ),
    verify=(Step(say="It is live, if it was wanted.", type=("timewell history {group}",)), _EVALUATE),
)

_HEARTBEAT = Play(
    name="Heartbeat",
    means="What refreshes, watches or serves the features gives no sign of life: nothing gets fresher until it runs.",
    diagnose=(
        Step(
            say="Which refresher is silent, and what was it at? Its log says why it ended.",
            type=("timewell refresher --status",),
        ),
        Step(say="What gets old meanwhile, and when do promises break?", type=("timewell freshness",)),
        Step(say="Can it work at all: registry, files, disk, sources?", type=("timewell doctor",)),
    ),
    mitigate=(
        Step(say="Start it again the way it is run here; what was missed is caught up."),
        Step(say="Until it runs: do what is due by hand, or from cron.", type=("timewell refresher --once",)),
    ),
    verify=(Step(say="Everything is fresh: exit code 0.", type=("timewell freshness",)), _EVALUATE),
    call="operator",
)

_OTHER = Play(
    name="Other",
    means="An alert of a rule of your own: whoever sends its signals knows what it means.",
    diagnose=(_HISTORY,),
    mitigate=(Step(say="Ask who sends its signals; keep it quiet if it takes long.", type=(_SILENCE,)),),
    verify=(_EVALUATE,),
    call="operator",
)

PLAYS: Final[Mapping[str, Play]] = {
    play.slug: play
    for play in (
        _FRESHNESS,
        _SOURCE_LATE,
        _LATENCY,
        _ERROR_BUDGET,
        _DEGRADED,
        _QUALITY,
        _SKEW,
        _GATE,
        _UNFINISHED,
        _HEARTBEAT,
        _OTHER,
    )
}
"""By what rules call their runbook."""
