"""The poison audit on functions as people write them: planted leaks are caught, clean ones are left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest

from tests.build.frame_builders import CLEAN, LEAKY
from timewell.leakage import PoisonReport, poison_audit

_USERS, _PAYMENTS, _LABELS, _DAYS = 6, 120, 30, 90


def world(seed: int) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Payments of some users over a quarter, their plans, and labels in no order with an index of their own."""
    chance = np.random.default_rng(seed)
    begin = pd.Timestamp("2026-01-01", tz="UTC")

    def instants(count: int, first_day: int = 0) -> pd.DatetimeIndex:
        seconds = chance.integers(first_day * 86_400, _DAYS * 86_400, count)
        return (begin + pd.to_timedelta(seconds, unit="s")).as_unit("us")

    paid = instants(_PAYMENTS)
    payments = pd.DataFrame(
        {
            "user_id": chance.integers(0, _USERS, _PAYMENTS),
            "paid_at": paid,
            "seen_at": (paid + pd.to_timedelta(chance.integers(0, 3 * 86_400, _PAYMENTS), unit="s")).as_unit("us"),
            "amount": chance.gamma(2, 20, _PAYMENTS).round(2),
            "kind": chance.choice(["card", "cash", "transfer"], _PAYMENTS),
        }
    )
    plans = pd.DataFrame(
        {
            "user_id": chance.integers(0, _USERS, 40),
            "valid_from": instants(40),
            "plan": chance.choice(["free", "pro", "team"], 40),
        }
    )
    labels = pd.DataFrame(
        {
            "user_id": chance.integers(0, _USERS + 1, _LABELS),  # of one there is no payment
            "label_ts": instants(_LABELS, first_day=20),
            "churned": chance.integers(0, 2, _LABELS),
        },
        index=chance.permutation(_LABELS),
    )
    return {"payments": payments, "plans": plans}, labels


def audit(build: Callable, seed: int) -> PoisonReport:
    sources, labels = world(seed)
    return poison_audit(
        build,
        sources,
        labels,
        event_times={"payments": "paid_at", "plans": "valid_from"},
        arrival_times={"payments": "seen_at"},
        closed={"payments": "left", "plans": "right"},
        spine_time="label_ts",
        rows=4,
        seed=seed,
    )


def test_there_are_twenty_of_either() -> None:
    assert min(len(LEAKY), len(CLEAN)) >= 20


def some_daily(names: Iterable[str]) -> list[object]:
    """Every fifth runs always, the others with the long sets."""
    return [
        name if number % 5 == 0 else pytest.param(name, marks=pytest.mark.slow) for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("name", some_daily(LEAKY))
def test_a_planted_leak_is_caught(name: str) -> None:
    report = audit(LEAKY[name], 1)
    assert report.leaks


@pytest.mark.parametrize("name", some_daily(CLEAN))
def test_a_clean_function_is_left_alone(name: str) -> None:
    report = audit(CLEAN[name], 1)
    assert report.ok, str(report)
