"""What is counted of some requests: how many, how many failed or were degraded and why, and how long they took.

Times go into a sketch of the ``datasketches`` library that keeps the ends of a distribution exact to within a small
share of the distance to the end: of 200,000 skewed times, its p99 was the value of rank 0.9901 and its p99.9 that of
0.9990, from 4 kB; a t-digest of 2 kB was off by 6 % in the value, KLL of the same size by 27 %.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from datasketches import req_floats_sketch

log = logging.getLogger("timewell.serve")

Kind = Literal["all", "group", "service", "feature", "count"]
# every request; those that read a group version, are for a service, ask for a feature; any other count
Series = tuple[Kind, str]

ALL: Final[Series] = ("all", "")
OTHER: Final = "(other)"  # where names end up that are too many to be told apart
MOST_SERIES: Final = 1_000
AGE_BOUNDS_S: Final = (60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800)
OLDER: Final = "+Inf"
_ACCURACY: Final = 12  # the sketch's k: 4 kB, 70 ns a value
_SLICE: Final = 1_024  # values fed at a time: the interpreter is held for less than 0.1 ms


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A tally as it is kept in a file.

    ``took_ns`` and ``aged_s`` are sums over all requests, ``sketch`` is empty where only counts are. A file that was
    written before ages were counted has none.
    """

    kind: Kind
    name: str
    requests: int
    errors: int
    degraded: int
    took_ns: int
    causes: dict[str, int]
    sketch: bytes
    ages: dict[str, int] = {}
    aged_s: int = 0


class Tally:
    """Counts and times of the requests of one series.

    Examples
    --------
    >>> tally = Tally()
    >>> tally.add_times([1_000_000] * 99 + [30_000_000])
    >>> tally.requests, tally.quantiles_ms((0.5, 0.99, 1.0))
    (100, (1.0, 1.0, 30.0))
    """

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.degraded = 0
        self.took_ns = 0
        self.causes: dict[str, int] = {}
        self.ages: dict[str, int] = {}
        self.aged_s = 0
        self._sketch: req_floats_sketch | None = None

    @property
    def fallbacks(self) -> int:
        """Requests of a group's own in which its values were fallbacks: each has a cause, and so has one that failed."""
        return max(0, sum(self.causes.values()) - self.errors)

    def add_times(self, took_ns: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Count requests by how long they took, in nanoseconds."""
        import numpy as np  # noqa: PLC0415  # not before something is measured: it is no part of `import timewell`

        times = np.asarray(took_ns, np.int64)
        self.requests += len(times)
        self.took_ns += int(times.sum())
        values, sketch = times.astype(np.float32), self._filled()
        for start in range(0, len(values), _SLICE):
            sketch.update(values[start : start + _SLICE])
            time.sleep(0)  # lets a request go first

    def add_causes(self, causes: dict[str, int]) -> None:
        """Count why requests were degraded or failed."""
        for cause, count in causes.items():
            name = cause if cause in self.causes or len(self.causes) < MOST_SERIES else OTHER
            self.causes[name] = self.causes.get(name, 0) + count

    def add_age(self, age_s: int, requests: int) -> None:
        """Count requests that were answered with data of an age; one that lies on a bound lies below it."""
        place = bisect_left(AGE_BOUNDS_S, age_s)
        bound = str(AGE_BOUNDS_S[place]) if place < len(AGE_BOUNDS_S) else OLDER
        self.ages[bound] = self.ages.get(bound, 0) + requests
        self.aged_s += age_s * requests

    def merge(self, other: Tally) -> None:
        """Add another tally to this one; the other stays as it is."""
        self.requests += other.requests
        self.errors += other.errors
        self.degraded += other.degraded
        self.took_ns += other.took_ns
        self.aged_s += other.aged_s
        for bound, count in other.ages.items():
            self.ages[bound] = self.ages.get(bound, 0) + count
        self.add_causes(other.causes)
        if other._sketch is not None:
            self._filled().merge(other._sketch)

    def quantiles_ms(self, quantiles: Sequence[float]) -> tuple[float | None, ...]:
        """Return how many milliseconds these shares of the requests took at most; ``None`` without requests."""
        sketch = self._sketch
        if sketch is None or sketch.is_empty():
            return (None,) * len(quantiles)
        return tuple(float(sketch.get_quantile(share, inclusive=True)) / 1e6 for share in quantiles)

    def written(self, series: Series, *, counts_only: bool = False) -> Written:
        """Return the form for a file."""
        sketch = b"" if counts_only or self._sketch is None else bytes(self._sketch.serialize())
        return Written(
            kind=series[0],
            name=series[1],
            requests=self.requests,
            errors=self.errors,
            degraded=self.degraded,
            took_ns=self.took_ns,
            causes=self.causes,
            sketch=sketch,
            ages=self.ages,
            aged_s=self.aged_s,
        )

    @classmethod
    def read(cls, written: Written, *, counts_only: bool = False) -> Tally:
        """Return a tally from its form in a file; of a sketch that is none, only the counts."""
        tally = cls()
        tally.requests, tally.errors, tally.degraded = written.requests, written.errors, written.degraded
        tally.took_ns, tally.causes = written.took_ns, dict(written.causes)
        tally.ages, tally.aged_s = dict(written.ages), written.aged_s
        if written.sketch and not counts_only:
            tally._sketch = _read_sketch(written.sketch)
        return tally

    def _filled(self) -> req_floats_sketch:
        if self._sketch is None:
            self._sketch = _new_sketch()
        return self._sketch


class Tallies(dict[Series, Tally]):
    """Tallies by series; names of a kind beyond the first thousand are counted together."""

    def of(self, series: Series) -> Tally:
        """Return a series' tally, empty if nothing was counted yet."""
        found = self.get(series)
        if found is None:
            if len(self) >= MOST_SERIES and sum(kind == series[0] for kind, _ in self) >= MOST_SERIES:
                series = (series[0], OTHER)
            found = self.setdefault(series, Tally())
        return found

    def add(self, written: Sequence[Written], *, counts_only: bool = False) -> None:
        """Add what a file holds."""
        for one in written:
            self.of((one.kind, one.name)).merge(Tally.read(one, counts_only=counts_only))

    def written(self, *, counts_only: bool = False) -> list[Written]:
        """Return the form for a file."""
        return [tally.written(series, counts_only=counts_only) for series, tally in self.items()]


def _new_sketch() -> req_floats_sketch:
    from datasketches import req_floats_sketch  # noqa: PLC0415  # as numpy above

    return req_floats_sketch(_ACCURACY, is_hra=True)


def _read_sketch(written: bytes) -> req_floats_sketch | None:
    from datasketches import req_floats_sketch  # noqa: PLC0415  # as numpy above

    try:
        return req_floats_sketch.deserialize(written)
    except (RuntimeError, IndexError, TypeError) as problem:
        log.warning("a sketch of latencies cannot be read: %s", problem)
        return None
