"""``[refresher]`` of ``timewell.toml``: how the process that refreshes by itself goes about it."""

from __future__ import annotations

import msgspec


class RefresherConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[refresher]``.

    Attributes
    ----------
    tick
        How long it waits between two looks at what is due.
    jitter
        Jobs that are due at one instant are spread over at most so long.
    retry, longest_retry
        How long it waits after a run that failed; twice as long after each further one, up to the second.
    sweep
        How often dead rows are swept.
    late
        So far back behind the last partition a table's days are looked at again for late rows.
    longest_run
        A run that takes longer gives no sign of life any more, so that somebody has a look.
    """

    tick: str = "10s"
    jitter: str = "30s"
    retry: str = "1m"
    longest_retry: str = "1h"
    sweep: str = "1d"
    late: str = "3d"
    longest_run: str = "6h"


DURATIONS = tuple(("refresher", name) for name in RefresherConfig.__struct_fields__)
