"""The claim on a version's online build: who writes it, and for how long.

Rule: a claim is renewed for as long as its holder works, always under the one epoch that fences its writes; whoever has
lost it writes nothing more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from timewell.clock import SystemClock
from timewell.errors import StateBusy, Superseded, TimewellError
from timewell.stores.project import Project
from timewell.stores.registry import Lease
from timewell.types import MINUTE_US

log = logging.getLogger("timewell.materialize")

LEASE_US: Final = 10 * MINUTE_US
RENEW_EVERY_S: Final = 150.0  # three chances before it runs out


class Claim:
    """A lease on an online build that is being written; see :func:`claimed`.

    Attributes
    ----------
    lease
        Its epoch goes into the mark of whatever is written.
    """

    def __init__(self, project: Project, ref: str, lease: Lease) -> None:
        self.lease = lease
        self._project = project
        self._ref = ref
        self._lost = False

    def check(self) -> None:
        """Raise ``Superseded`` if another process has taken the build over."""
        if self._lost:
            what, offered = f"the claim on the online build of {self._ref}", f"lease epoch {self.lease.epoch}"
            raise Superseded(what=what, held="a later claim", offered=offered)

    def renew_until(self, stopped: Callable[[float], bool]) -> None:
        """Renew it every now and then until ``stopped``, which waits so many seconds, says so or it is lost."""
        while not self._lost and not stopped(RENEW_EVERY_S):
            now_us = SystemClock().now_us()
            try:
                self._lost = self._project.registry.leases.renew(self.lease, now_us=now_us, ttl_us=LEASE_US) is None
            except TimewellError as problem:  # a busy registry: there is time to try again
                log.warning("the claim on %s was not renewed: %s", self._ref, problem)


@contextmanager
def claimed(project: Project, ref: str) -> Iterator[Claim]:
    """Hold the online build of ``group@version``, renewed in the background, until the block ends.

    Raises
    ------
    StateBusy
        Another process is writing it.
    """
    lease = group_lease(project, ref)
    if lease is None:
        raise StateBusy(what=f"the online build of {ref}", waited_s=0)
    claim, done = Claim(project, ref, lease), threading.Event()
    renewing = threading.Thread(target=claim.renew_until, args=[done.wait], name=f"claim on {ref}", daemon=True)
    renewing.start()
    try:
        yield claim
    finally:
        done.set()
        renewing.join()
        project.registry.leases.release(lease)


def group_lease(project: Project, ref: str) -> Lease | None:
    """Claim the online build of ``group@version`` for ten minutes; ``None`` while another holds it."""
    now_us = SystemClock().now_us()  # about processes, not about data: a frozen clock must not hold a claim forever
    return project.registry.leases.acquire(
        f"online:{ref}", project.new_holder(), now_us=now_us, ttl_us=LEASE_US, is_gone=project.is_gone
    )
