"""The outbox: messages that wait for their receivers, and the way there.

Rule: at least once. A message is in the registry before anybody is called, and is struck off after its receiver took it; a
process that dies in between leaves it to the next, under the same idempotency key. To one notifier messages go in their order:
a recovery never comes before the alert.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from timewell import chance
from timewell.clock import SystemClock
from timewell.config.notify import AnyNotifier
from timewell.errors import DeliveryFailed, DeliveryRefused, TimewellError
from timewell.stores.alerts import MessageRecord
from timewell.stores.project import Project
from timewell.stores.records import Lease
from timewell.types import DAY_US, MINUTE_US, SECOND_US, format_duration
from timewell.watch.notifiers import send
from timewell.watch.routes import notifiers_of

log = logging.getLogger("timewell.alerts")

LEASE: Final = "notify"
LEASE_US: Final = 5 * MINUTE_US
FIRST_PAUSE_US: Final = 10 * SECOND_US
LONGEST_PAUSE_US: Final = 5 * MINUTE_US
GIVEN_UP_US: Final = 3 * DAY_US
TRIES: Final = 20
REFUSALS: Final = 3
KEPT_US: Final = 30 * DAY_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a round of sending went.

    Attributes
    ----------
    busy
        Another process was sending: it sends these, too.
    """

    sent: int = 0
    failed: int = 0
    dead: int = 0
    busy: bool = False


def deliver(project: Project) -> Delivery:
    """Send what is due, notifier by notifier; a notifier that fails keeps the rest of its messages for later."""
    if not _due(project.registry.alerts.outbox("waiting"), project.clock.now_us()):
        return Delivery()
    with _line(project) as lease:
        if lease is None:
            return Delivery(busy=True)
        round_ = _Round(project, lease)
        waiting = project.registry.alerts.outbox("waiting")  # another process may just have sent some
        for name in dict.fromkeys(message.notifier for message in waiting):
            round_.send_all([message for message in waiting if message.notifier == name])
        project.registry.alerts.prune(project.clock.now_us() - KEPT_US)
        return Delivery(sent=round_.counts["sent"], failed=round_.counts["failed"], dead=round_.counts["dead"])


def _due(waiting: Sequence[MessageRecord], now_us: int) -> bool:
    """Whether the first message in line of any notifier is due."""
    first = {message.notifier: message for message in reversed(waiting)}
    return any(_is_due(message, now_us) for message in first.values())


def _is_due(message: MessageRecord, now_us: int) -> bool:
    # A clock that stands before the last try was set back: waiting for it would take as long as that.
    return not message.tried_us <= now_us < message.due_us


@contextmanager
def _line(project: Project) -> Iterator[Lease | None]:
    """Hold the one line in which messages are sent; ``None`` while another process does."""
    leases = project.registry.leases
    now_us = SystemClock().now_us()  # about processes, as every lease
    lease = leases.acquire(LEASE, project.new_holder(), now_us=now_us, ttl_us=LEASE_US, is_gone=project.is_gone)
    try:
        yield lease
    finally:
        if lease is not None:
            leases.release(lease)


class _Round:
    """One round of sending."""

    def __init__(self, project: Project, lease: Lease) -> None:
        self._project = project
        self._lease = lease
        self._notifiers = notifiers_of(project.config.notify)
        self.counts: Counter[str] = Counter()

    def send_all(self, messages: Sequence[MessageRecord]) -> None:
        """Send one notifier's messages in their order, until one has to wait."""
        for message in messages:
            now_us = self._project.clock.now_us()
            if not _is_due(message, now_us) or not self._renewed():
                return
            after = self._tried(message, now_us)
            self._project.registry.alerts.tried(after)
            self.counts[{"sent": "sent", "dead": "dead"}.get(after.state, "failed")] += 1
            if after.state == "waiting":
                return

    def _renewed(self) -> bool:
        now_us = SystemClock().now_us()
        return self._project.registry.leases.renew(self._lease, now_us=now_us, ttl_us=LEASE_US) is not None

    def _tried(self, message: MessageRecord, now_us: int) -> MessageRecord:
        """Try once; returns how it went."""
        tried = replace(message, attempts=message.attempts + 1, tried_us=now_us, error="")
        notifier = self._notifiers.get(message.notifier)
        if notifier is None:
            return replace(tried, state="dead", error="timewell.toml names no such notifier any more")
        problem = _problem(notifier, message, self._project)
        if problem is None:
            return replace(tried, state="sent")
        refused = isinstance(problem, DeliveryRefused) and tried.attempts >= REFUSALS
        # the clock alone decides nothing: one that was set forward by a year would give up at the first try
        given_up = refused or (tried.attempts >= TRIES and now_us - message.at_us >= GIVEN_UP_US)
        pause_us = _pause_us(tried.attempts)
        then = "it is given up" if given_up else f"next try in {format_duration(pause_us // SECOND_US * SECOND_US)}"
        log.warning("notifier %s: %s %s", message.notifier, problem, then)
        return replace(tried, state="dead" if given_up else "waiting", due_us=now_us + pause_us, error=str(problem))


def _problem(notifier: AnyNotifier, message: MessageRecord, project: Project) -> TimewellError | None:
    try:
        send(notifier, message.body, root=project.root)
    except TimewellError as problem:
        return problem
    except Exception as problem:  # one of the three loops that must survive: an alert must not end with its notifier
        log.exception("notifier %s failed in a way that nobody foresaw", message.notifier)
        return DeliveryFailed(receiver=message.notifier, problem=type(problem).__name__)
    return None


def _pause_us(attempts: int) -> int:
    """Return how long to wait after so many tries: doubled each time, a part of it by chance."""
    longest_us = min(LONGEST_PAUSE_US, FIRST_PAUSE_US << min(attempts - 1, 20))
    return int(longest_us * (0.75 + chance.share() / 4))
