"""What can be registered and will hardly keep its promises: seen from the definition and what runs took so far.

Rule: a lint shows its numbers and stops nothing. What was never measured counts as nothing, and is said to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from timewell.catalog.cadence import online_cadence
from timewell.catalog.lookup import RegisteredGroup
from timewell.define.compiled import CompiledFeature
from timewell.plan.parts import Lint
from timewell.stores.project import Project
from timewell.stores.records import StoreSide
from timewell.stores.runs import RunRecord
from timewell.types import DAY_US, SECOND_US, format_duration

LONG_TTL: Final = 2
"""A window that is served for more than so many times its freshness SLA is served long after its promise broke."""


def find_lints(project: Project, groups: Iterable[RegisteredGroup]) -> tuple[Lint, ...]:
    """Return what is worth a look in some versions, registered or not."""
    runs = {(run.group, run.version, run.store): run for run in project.registry.runs.last()}
    found: list[Lint] = []
    for group in groups:
        for store in ("online", "offline"):
            run = runs.get((*group.key, store)) or RunRecord(group=group.key[0], version=group.key[1], store=store)
            found += _tight(group, run, warn_share=project.config.warn_share)
        found += _long_ttls(group)
    return tuple(found)


def _tight(group: RegisteredGroup, run: RunRecord, *, warn_share: float) -> Iterator[Lint]:
    """Find freshness SLAs that will warn though nothing is wrong: by how often a store is refreshed, and how long that takes."""
    step_us = _step_us(group, run, warn_share)
    if step_us is None:
        return
    compiled = group.compiled
    delay_us = compiled.source.delay or 0
    late_us = 0 if compiled.accuracy == "exact" else compiled.available_after_us
    for sla_us, share, names in _promised(_of(group, run.store), warn_share):
        used_us = step_us + run.p95_us + delay_us + late_us
        if used_us > share * sla_us:
            parts = [f"{format_duration(step_us)} between two refreshes", _took(run)]
            parts += [f"{format_duration(delay_us)} delay of the source"] if delay_us else []
            parts += [f"{format_duration(late_us)} available_after"] if late_us else []
            yield Lint(
                code="tight_sla",
                ref=compiled.ref,
                message=(
                    f"{', '.join(names)}: the freshness_sla of {format_duration(sla_us)} warns at {share:g} of it, "
                    f"{format_duration(int(share * sla_us))}, and data gets {_about(used_us)} old while nothing is wrong: "
                    + " + ".join(parts)
                ),
                hint="Refresh more often (refresh, every), or promise a longer freshness_sla.",
            )


def _took(run: RunRecord) -> str:
    """Say how long a run takes, as far as that is known."""
    if not run.took_last_us:
        return "0s run (never measured)"
    return f"{_about(run.p95_us)} run (95 % of the last {len(run.took_last_us)})"


def _about(span_us: int) -> str:
    """Write a span without what nobody reads of it: milliseconds beyond ten seconds."""
    unit_us = SECOND_US if span_us >= 10 * SECOND_US else SECOND_US // 1_000
    return format_duration(max(span_us // unit_us, 1) * unit_us)


def _step_us(group: RegisteredGroup, run: RunRecord, warn_share: float) -> int | None:
    """Return how far two refreshes of a store are apart; ``None`` where only somebody else knows."""
    if run.store == "offline":
        return group.compiled.every_us or DAY_US
    cadence = online_cadence(group, warn_share=warn_share, took_us=run.p95_us)
    return None if cadence is None else cadence.step_us


def _of(group: RegisteredGroup, store: StoreSide) -> list[CompiledFeature]:
    """Return the features whose promise a store has to keep."""
    if store == "online":
        return list(group.compiled.online_features)
    return [feature for feature in group.compiled.features if not feature.online]


def _promised(features: Sequence[CompiledFeature], warn_share: float) -> list[tuple[int, float, list[str]]]:
    """Return the different promises, with the share at which each warns and the names of those who make it."""
    found: dict[tuple[int, float], list[str]] = {}
    for feature in features:
        if feature.sla_us is not None:
            share = warn_share if feature.warn_share is None else feature.warn_share
            found.setdefault((feature.sla_us, share), []).append(feature.name)
    return [(sla_us, share, names) for (sla_us, share), names in found.items()]


def _long_ttls(group: RegisteredGroup) -> Iterator[Lint]:
    for feature in group.compiled.online_features:
        ttl_us, sla_us = feature.ttl_us, feature.sla_us
        if feature.window_us is None or ttl_us is None or sla_us is None or ttl_us <= LONG_TTL * sla_us:
            continue
        yield Lint(
            code="long_ttl",
            ref=group.compiled.ref,
            message=(
                f"{feature.name}: its ttl of {format_duration(ttl_us)} is {ttl_us / sla_us:.3g} times its freshness_sla of "
                f"{format_duration(sla_us)}: a window that nobody refreshes is served for {format_duration(ttl_us - sla_us)} "
                "after the promise broke"
            ),
            hint=f"A ttl of at most {format_duration(LONG_TTL * sla_us)}, or callers that ask with max_staleness.",
        )
