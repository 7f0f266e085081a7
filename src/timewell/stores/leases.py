"""The contract of leases: one holder of a name at a time, fenced by a number that only increases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from timewell.stores.records import Lease


class Leases(Protocol):
    """Claims on names by processes; the time is theirs, whatever a project's clock is set to."""

    def acquire(
        self, name: str, holder: str, *, now_us: int, ttl_us: int, is_gone: Callable[[str], bool] | None = None
    ) -> Lease | None:
        """Claim a name: a new epoch if it is free, expired or the holder's own; ``None`` while another holds it.

        ``is_gone`` tells of a holder that its process is known to have died: its claim then counts as expired.
        """
        ...

    def renew(self, lease: Lease, *, now_us: int, ttl_us: int) -> Lease | None:
        """Let a claim last until ``now_us + ttl_us``, under its epoch; ``None`` if another claim was made since."""
        ...

    def release(self, lease: Lease) -> None:
        """Give a claim back; nothing happens if it was taken over meanwhile."""
        ...
