"""Drills of jobs and stores: a backfill that was left half done, a store that does not answer in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from timewell.errors import StoreUnavailable
from timewell.practice.card import Check
from timewell.practice.ground import Ground
from timewell.practice.stage import Stage, Wanted
from timewell.run.refresher import refresh
from timewell.serve.budgets import latency
from timewell.stores.online import BuildRows, OnlineStore, ReadKeys

_DAYS: Final = 60
_REQUESTS: Final = 10
_PROMISE: Final = "20m"
_HEALTHY: Final = 2_000
USER: Final = [{"user_id": 1}]


class _Killed(Exception):  # it stands for a process that ends, which no part of ours may catch
    """The backfill ends here."""


def half_backfill(stage: Stage) -> Iterator[Check]:
    """Kill a backfill half way; whoever began it has gone home."""
    ground = stage.ground
    yield from stage.calm()
    live, epoch = ground.fs.offline_files("txn_count_7d"), ground.fs.project.registry.epoch()

    def killed(_: str, done: int, __: int) -> None:
        if done:
            raise _Killed

    with suppress(_Killed):
        ground.fs.backfill("transactions", days=_DAYS, progress=killed)
    [shadow] = ground.fs.project.registry.shadows.find("transactions", status="open")
    staged = len(ground.fs.project.registry.shadows.staged(shadow.id))
    yield Check(
        what="it is killed half way",
        passed=0 < staged < _DAYS,
        found=f"{staged} of {_DAYS} partitions are staged",
    )

    def refreshed() -> None:
        stage.load()
        stage.refresh()

    # a shadow may stand open for a day: 80 % of it are over at the 6th tick of 3.2 hours, a warning takes two
    wanted = Wanted(key="transactions@v1:unfinished", kind="warn", cause="LEFT_OPEN", within=7)
    told = yield from stage.fires(wanted, refreshed)
    if told is None:
        return
    yield Check(
        what="nobody who reads notices: the same epoch, the same table",
        passed=ground.fs.project.registry.epoch() == epoch and ground.fs.offline_files("txn_count_7d") == live,
        found=f"epoch {epoch}",
    )
    again = [f"timewell {verb} transactions" for verb in ("backfill", "validate", "promote")]
    yield from stage.walks(told, mend=lambda: None, mitigate=again)
    yield Check(
        what="it went on where it was: nothing was computed twice",
        passed=len(ground.fs.project.registry.files("transactions", "v1")) >= _DAYS,
        found=f"{_DAYS - staged} partitions were left",
    )


class _Stalled:
    """An online store behind a connection that takes longer for every read than it may."""

    def __init__(self, store: OnlineStore) -> None:
        self._store = store
        self.capabilities = replace(store.capabilities, remote=True)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read(self, wanted: Sequence[ReadKeys], *, timeout_s: float | None = None) -> list[BuildRows]:
        """End as a read does whose deadline is over; no time passes."""
        problem = f"no answer for {len(wanted)} builds within {timeout_s} s"
        raise StoreUnavailable(problem=problem, store="the store", cause="no_answer")


def slow_store(stage: Stage) -> Iterator[Check]:
    """Let the online store take longer than a request may wait for it."""
    ground = stage.ground

    def as_usual() -> None:
        stage.usual()
        _asked(ground, _REQUESTS)

    yield from stage.calm(as_usual)
    ground.reopen()
    project = ground.fs.project
    vars(project)["online"] = _Stalled(project.online)
    answered: list[bool] = []

    def goes_on() -> None:
        stage.load()
        answered.extend(_asked(ground, _REQUESTS))

    wanted = Wanted(key="transactions@v1:degraded", kind="breach", cause="ANSWERS_DEGRADED", within=1)
    told = yield from stage.fires(wanted, goes_on)
    if told is None:
        return
    causes = latency(project, "5m").rows[0].causes
    yield Check(
        what="no request hangs or fails: each answer is marked degraded, and after five the store is left alone",
        passed=answered == [True] * _REQUESTS
        and causes.get("no_answer") == 5
        and causes.get("breaker_open") == _REQUESTS - 5,
        found=", ".join(f"{cause} {count}" for cause, count in causes.items()),
    )

    def store_is_back() -> None:
        ground.reopen()  # the server is started anew
        whole.extend(not degraded for degraded in _asked(ground, _HEALTHY))

    whole: list[bool] = []
    yield from stage.walks(told, mend=store_is_back, mitigate=())
    yield Check(
        what="every request is answered from the store again",
        passed=all(whole) and len(whole) == _HEALTHY,
        found=f"{whole.count(False)} of {_HEALTHY:,} were degraded",
    )


def dead_refresher(stage: Stage) -> Iterator[Check]:
    """Let the refresher end, and nobody start it again; what watches goes on."""
    ground = stage.ground

    def alive() -> None:
        stage.load()
        refresh(ground.fs.project, promise=_PROMISE)

    yield from stage.calm(alive)
    # 80 % of the 20 minutes within which it promised the next turn are over at the 8th tick of 2 minutes
    wanted = Wanted(key="heartbeat", kind="warn", cause="NO_SIGN_OF_LIFE", within=9)
    told = yield from stage.fires(wanted, stage.load)
    if told is None:
        return
    fresh = ground.fs.freshness()
    yield Check(
        what="it is told while every promise of freshness is kept",
        passed=not fresh.stale,
        found=", ".join(f"{row.feature} {row.verdict.ratio or 0:.0%}" for row in fresh.rows if row.sla_us),
    )
    yield from stage.walks(told, mend=alive, mitigate=["timewell refresher --once"], goes_on=alive)


def _asked(ground: Ground, requests: int) -> list[bool]:
    """Ask for the features of a user so many times; returns of each answer whether it was degraded."""
    return [ground.fs.get_online_features("txn_count_7d", USER).degraded for _ in range(requests)]
