"""The registry's leases: each method is one transaction of the functions beside this module."""

from __future__ import annotations

from collections.abc import Callable

from timewell.backends.sql import leases
from timewell.backends.sql.database import Database
from timewell.stores.registry import Lease


class SqlLeases:
    """Offers :class:`timewell.stores.leases.Leases`.

    Parameters
    ----------
    database
        The registry's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(
        self, name: str, holder: str, *, now_us: int, ttl_us: int, is_gone: Callable[[str], bool] | None = None
    ) -> Lease | None:
        """Claim a name: a new epoch if it is free, expired or the holder's own; ``None`` while another holds it."""
        wanted = Lease(name=name, holder=holder, epoch=0, expires_us=now_us + ttl_us)
        return self._database.write(
            lambda connection: leases.acquire(connection, wanted, now_us=now_us, is_gone=is_gone)
        )

    def renew(self, lease: Lease, *, now_us: int, ttl_us: int) -> Lease | None:
        """Let a claim last longer under its epoch; ``None`` if another claim was made since."""
        return self._database.write(lambda connection: leases.renew(connection, lease, until_us=now_us + ttl_us))

    def release(self, lease: Lease) -> None:
        """Give a claim back; nothing happens if it was taken over meanwhile."""
        self._database.write(lambda connection: leases.release(connection, lease))
