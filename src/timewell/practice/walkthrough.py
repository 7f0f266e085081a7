"""The mini project, walked through: five steps of operating features for a risk model, each with what it must show.

Rule: the project itself is only defined and materialized, as its owner would do; what needs time to pass, or changes what is
live, happens on a copy of it. So it can be done again at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from timewell.backfill.run import OfflineReport
from timewell.errors import NotOnline, UsageError
from timewell.practice.card import Card, Check, score
from timewell.practice.ground import Ground
from timewell.run.refresher import refresh
from timewell.serve.budgets import latency
from timewell.store import FeatureStore
from timewell.types import DAY_US, HOUR_US, format_duration, format_instant

LAST, COUNT, MEAN = THREE = ("last_transaction_amount", "txn_count_7d", "avg_ticket_30d")
GROUP: Final = "transactions"
SPINE: Final = "data/training_spine.parquet"
PAYMENTS: Final = "data/transactions.parquet"
DAYS: Final = 90
TTL_US: Final = 48 * HOUR_US
SLA_US: Final = 24 * HOUR_US
TABLE_SLA_US: Final = 2 * SLA_US  # a table of whole days is a day old when the next day is over
_PROVEN_ROWS: Final = 2_000
_CONTROL_ROWS: Final = 200
_READS: Final = 200
_MOST_USERS: Final = 2_000

Told = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walkthrough:
    """What the walkthrough came to, one card for each step."""

    steps: tuple[Card, ...]

    @property
    def passed(self) -> bool:
        """Whether every step shows what it must."""
        return all(step.passed for step in self.steps)


def walkthrough(fs: FeatureStore, told: Told = lambda *_: None, only: Collection[int] = ()) -> Walkthrough:
    """Walk through the mini project in a project that ``timewell init --template risk`` made.

    Parameters
    ----------
    told
        Called before each step with its number, how many there are, and what it is about.
    only
        Numbers of steps; all without any.

    Raises
    ------
    UsageError
        The project is another one.
    """
    missing = [file for file in (SPINE, PAYMENTS) if not (fs.project.root / file).is_file()]
    if missing:
        problem = f"{fs.project.root} holds no {missing[0]}: it is not the mini project"
        raise UsageError(problem=problem, hint="Make one: `timewell init risk --template risk`, then `cd risk`.")
    cards = []
    for number, (title, step) in enumerate(STEPS, start=1):
        if not only or number in only:
            told(number, len(STEPS), title)
            cards.append(score(f"{number}. {title}", step(fs)))
    return Walkthrough(steps=tuple(cards))


def _define(fs: FeatureStore) -> Iterator[Check]:
    newest = pc.max(pq.read_table(fs.project.root / PAYMENTS, columns=["tx_ts"])["tx_ts"].cast(pa.int64())).as_py()
    yield Check(
        what="the payments reach up to the present",
        passed=fs.project.clock.now_us() - newest < 2 * DAY_US,
        found=f"the newest is of {format_instant(newest)}; `python prepare.py` makes them anew",
    )
    fs.apply()
    tests = fs.test()
    failed = [f"{one.feature} {one.test}: {one.detail}" for one in tests if not one.passed]
    found = "; ".join(failed) or f"{len(tests)} tests of {len({one.feature for one in tests})} features"
    yield Check(
        what="the definitions are registered and their tests pass", passed=bool(tests) and not failed, found=found
    )
    for name in THREE:
        group, feature = fs.catalog().resolve(name).group, fs.catalog().resolve(name).feature
        online = name != MEAN
        promised = (feature.ttl_us, feature.sla_us) == (TTL_US, SLA_US if online else TABLE_SLA_US)
        sla, ttl = (format_duration(us) if us else "none" for us in (feature.sla_us, feature.ttl_us))
        yield Check(
            what=f"{name} has an owner, a TTL and an SLA, and is {'online' if online else 'offline only'}",
            passed=bool(feature.owner) and promised and bool(feature.online) is online,
            found=f"{group.compiled.ref}, owner {feature.owner}, ttl {ttl}, freshness SLA {sla}",
        )


def _train(fs: FeatureStore) -> Iterator[Check]:
    spine = pq.read_table(fs.project.root / SPINE)
    instants = spine["event_ts"].cast(pa.int64())
    bounds = pc.min_max(instants)
    days = (bounds["max"].as_py() - bounds["min"].as_py()) / DAY_US
    made = fs.get_historical_features(SPINE, THREE)
    frame = made.to_arrow()
    whole = frame.select(spine.column_names).equals(spine)
    yield Check(
        what=f"a training set over {DAYS} days has the spine's rows, in order, and a column for each feature",
        passed=whole and set(THREE) <= set(frame.column_names) and round(days) >= DAYS - 1,
        found=f"{frame.num_rows:,} rows over {days:.1f} days, manifest {made.manifest.id}",
    )
    [table] = _build_table(fs)
    yield Check(
        what=f"the offline table of {MEAN} is built",
        passed=table.computed + table.skipped == 1 and bool(table.snapshot),
        found=f"{table.group}@{table.version} through {format_instant(table.wanted.end_us)}",
    )
    proof = fs.audit_leakage(made, sample=_PROVEN_ROWS)
    yield Check(
        what="no value knew the future: each is computed again from the rows that were visible at its instant",
        passed=proof.ok,
        found=f"{proof.cells_proven:,} of {proof.cells_checked:,} cells proven",
    )
    few = spine.slice(spine.num_rows - min(_CONTROL_ROWS, spine.num_rows))
    honest = fs.get_historical_features(few, THREE)
    later = pa.array(pc.add(few["event_ts"].cast(pa.int64()), DAY_US).combine_chunks(), pa.timestamp("us", tz="UTC"))
    ahead = fs.get_historical_features(few.set_column(few.column_names.index("event_ts"), "event_ts", later), THREE)
    leaking = ahead.to_arrow().set_column(few.column_names.index("event_ts"), "event_ts", few["event_ts"])
    caught = fs.audit_leakage(leaking, manifest=honest.manifest)
    yield Check(
        what="values of a day later in place of these are caught",
        passed=bool(caught.violations),
        found=f"{len(caught.violations):,} violations in {leaking.num_rows:,} rows",
    )


def _build_table(fs: FeatureStore) -> list[OfflineReport]:
    """Do as the nightly run does: build the last day that is over, unless it is there."""
    midnight_us = fs.project.clock.now_us() // DAY_US * DAY_US
    return fs.materialize_offline(MEAN, start=format_instant(midnight_us - DAY_US), end=format_instant(midnight_us))


def _serve(fs: FeatureStore) -> Iterator[Check]:
    reports = fs.materialize_online()
    rows = ", ".join(f"{one.group}@{one.version} {one.rows:,} rows" for one in reports)
    yield Check(what="online features are materialized", passed=any(one.rows for one in reports), found=rows)
    try:
        fs.get_online_features([MEAN], [{"user_id": 1}])
        found, refused = "it was answered", False
    except NotOnline as problem:
        found, refused = str(problem), True
    yield Check(what=f"{MEAN} is not served: it is for training", passed=refused, found=found)
    for user in range(_READS):
        fs.get_online_features([LAST, COUNT], [{"user_id": user}])
    row = next(one for one in latency(fs.project).rows if one.name.startswith(f"{GROUP}@") and one.p95_ms is not None)
    most_ms = row.budget_ms["p95"]
    yield Check(
        what=f"online reads keep their budget: p95 within {most_ms:g} ms",
        passed=row.p95_ms is not None and row.p95_ms <= most_ms,
        found=f"p95 {row.p95_ms:.3g} ms of {row.requests:,} requests in this process, without a network",
    )
    with Ground.copied(fs.project) as ground:
        yield from _serve_on(ground)


def _serve_on(ground: Ground) -> Iterator[Check]:
    fs, now_us = ground.fs, ground.clock.now_us()
    fs.apply()
    fs.materialize_online()
    users = pc.unique(pq.read_table(ground.root / SPINE, columns=["user_id"])["user_id"]).to_pylist()[:_MOST_USERS]
    served = fs.get_online_features([LAST, COUNT], [{"user_id": user} for user in users])
    at = pa.array([now_us] * len(users), pa.timestamp("us", tz="UTC"))
    frame = fs.get_historical_features(pa.table({"user_id": users, "at": at}), [LAST, COUNT]).to_arrow()
    same = served.to_dicts() == frame.select([LAST, COUNT]).to_pylist()
    yield Check(
        what="what is served equals what would be trained on at the same instant",
        passed=same and any(row[1] for row in served.rows),
        found=f"{len(users):,} users at {format_instant(now_us)}",
    )
    user = [{"user_id": next((user for user, row in zip(users, served.rows, strict=True) if row[1]), 0)}]
    ground.wait(TTL_US - 1)
    before = fs.get_online_features([COUNT], user).row_statuses[0][0]
    ground.wait(1)
    after = fs.get_online_features([COUNT], user).row_statuses[0][0]
    yield Check(
        what=f"a value that nobody refreshes is served until its TTL of {format_duration(TTL_US)}, and no longer",
        passed=(before, after) == ("present", "expired"),
        found=f"a microsecond before {before}, then {after}",
    )
    turn = refresh(fs.project)
    fresh = fs.get_online_features([COUNT], user)
    ran = ", ".join(f"{one.group}@{one.version} {one.kind} {one.state}" for one in turn.ran if one.group)
    yield Check(
        what="the refresher finds what is due and brings it to the present",
        passed=fresh.as_of_us[GROUP] == ground.clock.now_us() and fresh.row_statuses[0][0] == "present",
        found=ran,
    )


def _watch(fs: FeatureStore) -> Iterator[Check]:
    report = fs.freshness()
    stale = [f"{row.feature}: {row.state}" for row in report.stale]
    aged = [f"{row.feature} {row.verdict.ratio or 0:.0%} of its SLA" for row in report.rows if row.sla_us]
    yield Check(
        what="the probe shows every feature's age against its SLA, and all are fresh",
        passed=not stale and len(aged) >= len(THREE) - 1,
        found="; ".join(stale) or ", ".join(aged),
    )
    with Ground.copied(fs.project) as ground:
        yield from _watch_on(ground)


def _watch_on(ground: Ground) -> Iterator[Check]:
    """Let nobody refresh, and look at what is told when; then refresh."""
    fs = ground.fs
    fs.apply()
    key = f"{fs.catalog().resolve(COUNT).group.compiled.ref}:freshness"
    fs.materialize_online()
    told: dict[str, float] = {}
    for percent in (0, 40, 70, 79, 80, 85, 95):
        _at_share(ground, percent / 100)
        told |= {kind: percent / 100 for kind in _kinds(ground, key) if kind not in told}
    yield Check(
        what="nobody refreshes: the alert comes at 80 % of the SLA, before the promise is broken",
        passed=set(told) == {"warn"} and 0.8 <= told["warn"] < 1,
        found=", ".join(f"{kind} at {share:.0%}" for kind, share in told.items()) or "nothing was told",
    )
    _at_share(ground, 1.0)
    yield Check(
        what="at the SLA it is a breach", passed=_kinds(ground, key)[-1:] == ["breach"], found=_told(ground, key)
    )
    fs.materialize_online()
    ground.wait("5m")
    ground.watch()
    kinds = _kinds(ground, key)
    yield Check(
        what="a refresh ends it; each was told once",
        passed=kinds == ["warn", "breach", "resolved"],
        found=_told(ground, key),
    )


def _at_share(ground: Ground, share: float) -> None:
    """Put the clock where the features are so old, and evaluate the alerts."""
    [row] = ground.fs.freshness(COUNT).rows
    ground.wait(int(share * SLA_US) - (row.verdict.age_us or 0))
    _build_table(ground.fs)
    ground.watch()


def _kinds(ground: Ground, key: str) -> list[str]:
    return [str(line["kind"]) for line in ground.told() if line["key"] == key]


def _told(ground: Ground, key: str) -> str:
    lines = [line for line in ground.told() if line["key"] == key]
    return "; ".join(str(line["title"]) for line in lines) or "nothing was told"


def _recompute(fs: FeatureStore) -> Iterator[Check]:
    with Ground.copied(fs.project) as ground:
        fs = ground.fs
        fs.apply()
        days_us = ground.clock.now_us() // DAY_US * DAY_US
        fs.materialize_offline(GROUP, start=format_instant(days_us - DAYS * DAY_US), end=format_instant(days_us))
        fs.materialize_online(GROUP)
        ground.define(_without_refunds)
        plan = fs.plan(bump=True, days=DAYS)
        work = next(iter(plan.work), None)
        yield Check(
            what=f"the logic changes (refunds no longer count): a plan says what {DAYS} days cost and whom it touches",
            passed=plan.ok and work is not None and work.partitions == DAYS and bool(work.rows) and bool(plan.affected),
            found=f"{work.partitions} partitions, about {work.rows or 0:,} rows, {work.seconds or 0:.1f} s; "
            f"{len(plan.affected)} consumers, {len(work.checks)} checks"
            if work
            else str(plan),
        )
        before = _ask(fs)
        fs.apply(plan)
        done = fs.backfill(GROUP, days=DAYS)
        report = fs.validate_shadow_vs_prod(GROUP)
        yield Check(
            what="they are computed into a shadow that nobody sees, and compared with what is live",
            passed=report.passed and _ask(fs) == before,
            found=str(report).splitlines()[0],
        )
        again = fs.backfill(GROUP, days=DAYS)
        yield Check(
            what="doing it again computes nothing twice",
            passed=done.computed == DAYS and again.computed == 0,
            found=f"{done.computed} partitions at first, {again.computed} again",
        )
        [promotion] = fs.promote_shadow(GROUP)
        after = _ask(fs)
        yield Check(
            what="one swap makes it live, offline and online together",
            passed=fs.catalog().resolve(COUNT).group.compiled.version == promotion.to_version and after != before,
            found=f"{promotion.from_version} -> {promotion.to_version}, {promotion.partitions} partitions",
        )
        fs.rollback(GROUP)
        yield Check(
            what="and one swap takes it back", passed=_ask(fs) == before, found=f"{GROUP}@{promotion.from_version}"
        )


def _ask(fs: FeatureStore) -> list[dict[str, object]]:
    return fs.get_online_features([COUNT], [{"user_id": user} for user in range(500)]).to_dicts()


def _without_refunds(said: dict[str, Any]) -> None:
    for group in said.get("groups", ()):
        if group["name"] == GROUP:
            group["filter"] = "type is null or type <> 'refund'"


STEPS: Final[tuple[tuple[str, Callable[[FeatureStore], Iterator[Check]]], ...]] = (
    ("define three features: two online, one for training only", _define),
    ("retrieve 90 days of training data, point-in-time correct", _train),
    ("materialize the present with TTLs, and refresh it", _serve),
    ("probe the freshness, and alert at 80 % of the SLA", _watch),
    ("recompute 90 days when the logic changes", _recompute),
)
