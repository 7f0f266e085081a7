"""Replay: nothing differs on a quiet stream, and each planted fault is told by its cause."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.watch.replay_shop import FEATURES, Shop, group
from timewell.serve import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from timewell.watch.replay_report import ReplayReport

RIGHT = 0.95


def users_of(report: ReplayReport) -> set[object]:
    return {one.key["user_id"] for one in report.mismatches}


def share_right(report: ReplayReport, cause: str) -> float:
    """The share of the mismatches that have this cause; each is listed."""
    assert len(report.mismatches) == report.different > 0
    return report.causes.get(cause, 0) / report.different


def test_nothing_differs_on_a_quiet_stream(open_shop: Callable[..., Shop], scale: Callable[[int], int]) -> None:
    shop, hours = open_shop(), 5
    for _ in range(hours):
        shop.live_hours(1)
        shop.refresh()
        shop.serve(range(scale(1_000) // hours))
    report = shop.replayed()

    assert (report.different, report.lagging, report.replayed) == (0, 0, scale(1_000))
    assert report.compared == len(FEATURES) * report.replayed
    assert report.ok


def test_a_value_that_nobody_can_explain_is_found_and_said_to_be_unknown(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop()
    shop.rewrite([3], lambda _, values: {"payments_1d": 1_000})
    shop.serve(range(shop.users))
    report = shop.replayed()

    [one] = report.mismatches
    assert (one.feature, one.key, one.value) == ("paying:payments_1d@v1", {"user_id": 3}, 1_000)
    assert (one.cause, report.different, report.ok) == ("unknown", 1, False)


# --- lag -------------------------------------------------------------------------------------------------------------


def test_what_happened_since_the_build_is_lag_and_no_mismatch(
    open_shop: Callable[..., Shop], scale: Callable[[int], int]
) -> None:
    shop = open_shop()
    rows = shop.some_rows(shop.now, 30, shop.users // 4)
    shop.append(rows)
    shop.serve(range(shop.users), after="1800s")
    report = shop.replayed()

    paid = {user for user, _, amount, _ in rows if amount is not None}
    lagging = {one.feature: one.lagging for one in report.features}
    assert report.different == 0
    # nothing else changed: in half an hour little leaves a window of a user who paid nothing
    assert len(paid) <= lagging["paying:paid_3d@v1"] <= len(paid) + shop.users * 0.2
    assert report.features[0].oldest_us == 1800 * 1_000_000


def test_rows_that_a_refresh_left_as_they_were_lag(open_shop: Callable[..., Shop], scale: Callable[[int], int]) -> None:
    shop = open_shop()
    before = shop.stored()
    shop.live_hours(6)
    shop.refresh()
    left = [user for user in range(shop.users) if user % 3]
    shop.put({key: before[key] for user in left if (key := shop.key(user)) in before})
    shop.serve(range(shop.users))
    report = shop.replayed()

    assert users_of(report) <= set(left)
    assert share_right(report, "lag") >= RIGHT


# --- late data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_a_user", [1, 3])
def test_rows_that_came_after_the_build_are_late_data(
    open_shop: Callable[..., Shop], scale: Callable[[int], int], rows_a_user: int
) -> None:
    shop = open_shop()
    for _ in range(3):
        shop.live_hours(1)
        shop.refresh()
    shop.serve(range(shop.users))
    late = [user for user in range(shop.users) if user % 4 == 0]
    from_ = shop.now - timedelta(hours=30)
    made = [shop.some_rows(from_, 29 * 60, 1)[0] for _ in range(len(late) * rows_a_user)]
    shop.append([(late[number % len(late)], *row[1:]) for number, row in enumerate(made)])
    report = shop.replayed()

    assert users_of(report) <= set(late)
    assert len(users_of(report)) >= 0.9 * len(late)
    assert share_right(report, "late data") >= RIGHT


# --- version ---------------------------------------------------------------------------------------------------------


def test_rows_of_another_version_are_told_by_it(open_shop: Callable[..., Shop], scale: Callable[[int], int]) -> None:
    shop = open_shop()
    shop.live_hours(3)
    shop.refresh()
    former = shop.stored()
    shop.fs.register_group(group("v2", days=1))
    shop.fs.backfill("paying", days=1)
    shop.fs.validate_shadow_vs_prod("paying")
    shop.fs.promote_shadow("paying", force="windows are longer")
    shop.refresh()
    mixed = [user for user in range(shop.users) if user % 2]
    shop.put({key: former[key] for user in mixed if (key := shop.key(user)) in former})
    shop.serve(range(shop.users))
    report = shop.replayed()

    assert {one.feature.partition("@")[2] for one in report.mismatches} == {"v2"}
    assert users_of(report) <= set(mixed)
    assert share_right(report, "version") >= RIGHT
    assert shop.replayed(features="paying@v1").replayed == 0


# --- ttl -------------------------------------------------------------------------------------------------------------


def test_a_server_that_knows_no_ttl_is_told_by_it(
    open_shop: Callable[..., Shop], scale: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop()
    shop.clock.move(4 * 24 * 3600 * 1_000_000)
    half = shop.users // 2
    serve_at = f"{4.9 * 86_400}s"  # windows are alive, most of the latest values are not
    shop.serve(range(half, shop.users), after=serve_at)
    shop.fs._reader.close()
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "_ttl", lambda _: 1 << 60)
        shop.serve(range(half), after=serve_at)
    report = shop.replayed()

    assert users_of(report) <= set(range(half))
    assert share_right(report, "ttl") >= RIGHT


def test_a_server_with_a_shorter_ttl_is_told_by_it(
    open_shop: Callable[..., Shop], scale: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop()
    half = shop.users // 2
    shop.serve(range(half, shop.users), after="3600s")
    shop.fs._reader.close()
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "_ttl", lambda _: 3600 * 1_000_000)
        shop.serve(range(half), after="3600s")
    report = shop.replayed()

    assert users_of(report) <= set(range(half))
    assert share_right(report, "ttl") >= RIGHT


# --- null rule -------------------------------------------------------------------------------------------------------


def test_null_in_place_of_the_empty_value_is_told_by_its_rule(
    open_shop: Callable[..., Shop], scale: Callable[[int], int]
) -> None:
    shop = open_shop()
    swapped = [user for user in range(shop.users) if user % 2]
    shop.rewrite(swapped, lambda _, values: {"payments_1d": values[1] or None, "paid_3d": values[0] or None})
    shop.serve(range(shop.users))
    report = shop.replayed()

    assert users_of(report) <= set(swapped)
    assert {one.kind for one in report.mismatches} == {"missing"}
    assert share_right(report, "null rule") >= RIGHT


def test_nulls_that_count_as_zero_are_told_by_their_rule(
    open_shop: Callable[..., Shop], scale: Callable[[int], int]
) -> None:
    shop = open_shop()
    wrong = [user for user in range(shop.users) if user % 2]
    paid = _payments(shop)

    def with_zeros(user: int, values: list[object]) -> dict[str, object]:
        start = shop.now - timedelta(days=2)
        amounts = [amount or 0.0 for at, amount in paid[user] if at >= start]
        return {"mean_2d": sum(amounts) / len(amounts) if amounts else None}

    shop.rewrite(wrong, with_zeros)
    shop.serve(range(shop.users))
    report = shop.replayed()

    assert users_of(report) <= set(wrong)
    assert share_right(report, "null rule") >= RIGHT


def _payments(shop: Shop) -> dict[int, list[tuple[Any, float | None]]]:
    import pyarrow.parquet as pq

    found: dict[int, list[tuple[Any, float | None]]] = {user: [] for user in range(shop.users)}
    for path in (shop.fs.project.root / "rows").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            found[row["user_id"]].append((row["at"], row["amount"]))
    return found


# --- ties ------------------------------------------------------------------------------------------------------------


def test_the_other_row_of_a_tie_is_told_by_it(open_shop: Callable[..., Shop], scale: Callable[[int], int]) -> None:
    shop = open_shop(tied=True)
    other = _others_of_ties(shop)
    shop.rewrite(other, lambda user, _: {"last_amount": other[user]})
    shop.serve(range(shop.users))
    report = shop.replayed()

    assert users_of(report) <= set(other)
    assert share_right(report, "tie") >= RIGHT


def _others_of_ties(shop: Shop) -> dict[int, float | None]:
    """Users whose newest two payments are of one instant, and the amount that is not the last by the rule of content."""
    found: dict[int, float | None] = {}
    for user, payments in _payments(shop).items():
        newest = max((at for at, _ in payments), default=None)
        amounts = [amount for at, amount in payments if at == newest]
        if len(set(amounts)) == 2:
            key = shop.key(user)
            last = shop.fs.get_online_features(["last_amount"], [{"user_id": user}]).rows[0][0]
            assert key in shop.stored() or last is None
            found[user] = next(amount for amount in amounts if amount != last)
    return found


# --- all at once -----------------------------------------------------------------------------------------------------


def test_faults_of_one_build_are_told_apart(
    open_shop: Callable[..., Shop], scale: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop(tied=True)
    before = shop.stored()
    shop.live_hours(6)
    shop.refresh()
    kinds = ("none", "lag", "late data", "null rule", "tie", "ttl")
    of_kind = {kind: [user for user in range(shop.users) if user % len(kinds) == n] for n, kind in enumerate(kinds)}
    other = _others_of_ties(shop)
    shop.put({key: before[key] for user in of_kind["lag"] if (key := shop.key(user)) in before})
    shop.rewrite(
        of_kind["null rule"], lambda _, values: {"payments_1d": values[1] or None, "paid_3d": values[0] or None}
    )
    shop.rewrite(set(other) & set(of_kind["tie"]), lambda user, _: {"last_amount": other[user]})
    for kind in kinds[:-1]:
        shop.serve(of_kind[kind], after="3600s")
    shop.fs._reader.close()
    with monkeypatch.context() as patched:
        patched.setattr(prepare, "_ttl", lambda _: 3600 * 1_000_000)
        shop.serve(of_kind["ttl"], after="3600s")
    late = [shop.some_rows(shop.now - timedelta(hours=30), 29 * 60, 1)[0] for _ in of_kind["late data"]]
    shop.append([(user, *row[1:]) for user, row in zip(of_kind["late data"], late, strict=True)])
    report = shop.replayed()

    truth = {user: kind for kind, users in of_kind.items() for user in users}
    told = Counter((truth[int(str(one.key["user_id"]))], one.cause) for one in report.mismatches)
    assert {kind for kind, _ in told} == set(kinds) - {"none"}
    right = sum(count for (kind, cause), count in told.items() if kind == cause)
    assert right >= RIGHT * report.different, told
