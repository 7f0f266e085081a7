"""A project with notifiers, and receivers for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.watch.receivers import Receiver
from tests.watch.replay_shop import Shop
from timewell.clock import FrozenClock
from timewell.stores.project import Project
from timewell.watch.signal import Signal, Subject

NOW = "2026-03-01T00:00:00Z"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


@pytest.fixture(scope="session")
def made_shops(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, bool], Shop]:
    """Make a shop of so many users once; with ties or without. Its build is of the present."""
    made: dict[tuple[int, bool], Shop] = {}

    def shop(users: int, tied: bool) -> Shop:
        if (users, tied) not in made:
            made[users, tied] = Shop(tmp_path_factory.mktemp("made") / "shop", users=users, tied=tied)
            made[users, tied].refresh()
        return made[users, tied]

    return shop


@pytest.fixture
def open_shop(
    made_shops: Callable[[int, bool], Shop], tmp_path: Path, scale: Callable[[int], int]
) -> Callable[..., Shop]:
    """Open a shop of one's own, just refreshed, of a share of 1,000 users."""

    def opened(*, tied: bool = False) -> Shop:
        return made_shops(scale(1_000), tied).copied(tmp_path / "shop")

    return opened


@pytest.fixture
def open_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Open the project ``shop`` with these lines in its settings; again is another process's look at it."""
    opened: list[Project] = []

    def open_one(settings: str = "", *, clock: FrozenClock | None = None) -> Project:
        root = tmp_path / "shop"
        if not root.exists():
            root.mkdir()
            (root / "timewell.toml").write_text(f'project = "shop"\n{settings}', encoding="utf-8")
        project = Project(root, now=NOW)
        if clock is not None:
            project.clock = clock
        opened.append(project)
        return project

    yield open_one
    for project in opened:
        project.close()


def webhook(receiver: Receiver, *lines: str) -> str:
    """Settings of a webhook to a receiver of this machine."""
    allowed = ["[[notify]]", 'name = "hook"', 'type = "webhook"', f'url = "{receiver.url}"', 'allow = ["127.0.0.1"]']
    return "\n".join([*allowed, *lines, ""])


def late(group: str, value: float, at_us: int, *, owner: str = "risk@company", **given: object) -> Signal:
    """A freshness signal of a group."""
    state = "breached" if value >= 1 else "warning" if value >= 0.8 else "ok"
    return Signal(
        rule="freshness",
        subject=Subject(project="shop", group=group, version="v1"),
        value=value,
        state=state,
        cause="" if state == "ok" else "PIPELINE_LATE",
        owner=owner,
        details={"sla_s": 3_600, "age_s": int(3_600 * value), **given},
        at_us=at_us,
    )
