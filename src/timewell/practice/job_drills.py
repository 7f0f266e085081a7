"""Drills of jobs and stores: a backfill that was left half done, a store that does not answer in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from timewell.errors import StoreUnavailable
from timewell.practice.card import Check
from timewell.practice.ground import Ground
from timewell.practice.stage import Runbook, Stage, Wanted
from timewell.serve.budgets import latency
from timewell.stores.online import BuildRows, OnlineStore, ReadKeys

_DAYS: Final = 60
_REQUESTS: Final = 10
_HEALTHY: Final = 12_000
_SLOWER: Final = ("error_budget_slow", "error_budget_drain")
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
    # a shadow may stand open for a day: 80 % of it are over at the 6th tick of 3.2 hours, a warning takes two
    wanted = Wanted(key="transactions@v1:unfinished", kind="warn", cause="LEFT_OPEN", within=7)
    if (yield from stage.fires(wanted, stage.usual)) is None:
        return
    yield Check(
        what="nobody who reads notices: the same epoch, the same table",
        passed=ground.fs.project.registry.epoch() == epoch and ground.fs.offline_files("txn_count_7d") == live,
        found=f"epoch {epoch}",
    )
    runbook = Runbook(
        diagnose=("timewell history transactions", "timewell backfill transactions --dry-run"),
        mitigate=(
            "timewell backfill transactions",
            "timewell validate transactions",
            "timewell promote transactions",
        ),
        verify=("timewell doctor", "timewell freshness transactions"),
    )
    yield from stage.diagnoses(runbook)
    yield from stage.mitigates(runbook)
    yield Check(
        what="it went on where it was: nothing was computed twice",
        passed=len(ground.fs.project.registry.files("transactions", "v1")) >= _DAYS,
        found=f"{_DAYS - staged} partitions were left",
    )
    yield from stage.recovers(wanted, runbook)


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
    ground.configure('\n[serving]\non_unavailable = "error"\n')
    ground.reopen()

    def as_usual() -> None:
        stage.usual()
        _asked(ground, _REQUESTS)

    yield from stage.calm(as_usual)
    ground.reopen()
    project = ground.fs.project
    vars(project)["online"] = _Stalled(project.online)
    failed: list[StoreUnavailable] = []

    def goes_on() -> None:
        stage.load()
        failed.extend(_asked(ground, _REQUESTS))

    wanted = Wanted(key="error_budget_fast", kind="breach", cause="REQUESTS_FAIL", within=1, also=_SLOWER)
    if (yield from stage.fires(wanted, goes_on)) is None:
        return
    causes = latency(project, "5m").rows[0].causes
    yield Check(
        what="no request hangs: each fails with a typed error, and after five the store is left alone",
        passed=len(failed) == _REQUESTS
        and causes.get("no_answer") == 5
        and causes.get("breaker_open") == _REQUESTS - 5,
        found=", ".join(f"{cause} {count}" for cause, count in causes.items()),
    )
    runbook = Runbook(
        diagnose=("timewell latency --since 15m", "timewell doctor"),
        mitigate=("timewell get txn_count_7d --entity user_id=1",),
        verify=("timewell latency --since 15m",),
    )
    yield from stage.diagnoses(runbook)
    ground.reopen()  # the store answers again, and the server is started anew
    yield from stage.mitigates(runbook)
    yield Check(what="every request is answered again", passed=not _asked(ground, _HEALTHY))
    yield from stage.recovers(wanted, runbook)


def _asked(ground: Ground, requests: int) -> list[StoreUnavailable]:
    """Ask for the features of a user so many times; returns what failed."""
    failed, fs = [], ground.fs
    for _ in range(requests):
        try:
            fs.get_online_features("txn_count_7d", USER)
        except StoreUnavailable as problem:
            failed.append(problem)
    return failed
