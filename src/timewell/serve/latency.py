"""Always-on account of online requests: how many, how long, how many failed or were degraded, by group and service.

Rule: a request pays for one append. Everything else (sketches, files) is done beside the requests; what is shown may be
:data:`EVERY_S` seconds old, and so much is lost with a process that is killed.
"""

from __future__ import annotations

import os
import threading
import weakref
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from timewell import chance
from timewell.clock import Clock, SystemClock
from timewell.serve.background import Background
from timewell.serve.slots import SLOT_US, SlotFiles, States
from timewell.serve.tally import ALL, Series, Tallies, Tally
from timewell.types import SECOND_US

FOLDER: Final = "metrics"
EVERY_S: Final = 5.0
STATES_US: Final = int(3 * EVERY_S * SECOND_US)  # for so long a process is taken to be what it said it is
BREAKER: Final = "store_breaker"
_MOST_SHAPES: Final = 4_096
_DEGRADED, _ERROR = "(degraded)", "(error)"  # no cause is written so

Shape = tuple[tuple[str, ...], str | None, tuple[str, ...]]  # group versions, service, features


class LatencyBook:
    """Counts the requests that this process answers; safe to share between threads.

    Parameters
    ----------
    folder
        Where the counts of all processes are kept: ``metrics`` below the state.
    clock
        When requests were; the machine's clock by default, since this is about processes and not about data.
    ages_s
        Tells how old the data of each group version is that is being served; asked beside the requests.

    Examples
    --------
    >>> import tempfile
    >>> book = LatencyBook(Path(tempfile.mkdtemp()))
    >>> book.add(("transactions@v1",), "fraud_model", 21_000)
    >>> book.flush()
    >>> SlotFiles(book.folder).totals()["group", "transactions@v1"].requests
    1
    """

    def __init__(
        self, folder: Path, clock: Clock | None = None, ages_s: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        self.folder = folder
        self._ages_s = ages_s
        self._clock = clock or SystemClock()
        self._files = SlotFiles(folder)
        self._followed: dict[str, Callable[[], int]] = {}
        self._seen: dict[str, int] = {}
        self._watched: dict[str, tuple[Callable[[], str], str]] = {}
        self._states: dict[str, str] = {}
        self._waiting: dict[Shape, array[int]] = {}
        self._begin()
        self._background = Background(self._round, every_s=EVERY_S, forked=self._forked)
        _BOOKS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # held for a moment, by requests too
        self._flushing = threading.Lock()
        self._marks: Counter[tuple[Shape, str]] = Counter()
        self._writer = f"{os.uname().nodename}.{os.getpid()}.{chance.new_id()}"
        self._slot = _Slot(start_us=-1, writer="")
        self._slots = 0

    # --- what requests call ------------------------------------------------------------------------------------------

    def add(
        self,
        groups: tuple[str, ...],
        service: str | None,
        took_ns: int,
        *,
        features: tuple[str, ...] = (),
        degraded: bool = False,
        error: bool = False,
    ) -> None:
        """Count a request.

        Parameters
        ----------
        groups
            The group versions it read (``name@version``); never a name that a caller made up.
        took_ns
            How long it took, in nanoseconds, failed or not.
        features
            The features it asked for (``group@version:name``); how often each was is :func:`reads_of`.
        degraded
            Some value was a fallback because the store did not answer.
        error
            It failed, and not by the caller's fault.
        """
        shape = groups, service, features
        waiting = self._waiting.get(shape)
        if waiting is None:
            waiting = self._first(shape)
        waiting.append(took_ns)
        if degraded:
            self._mark(shape, _DEGRADED)
        if error:
            self._mark(shape, _ERROR)

    def line(
        self, groups: tuple[str, ...], service: str | None, features: tuple[str, ...] = ()
    ) -> Callable[[int], None]:
        """Return what :meth:`add` does for a good request, as one call without a look-up: give it the nanoseconds."""
        return self._first((groups, service, features)).append

    def because(self, groups: tuple[str, ...], service: str | None, cause: str) -> None:
        """Count why a request, counted by :meth:`add` as well, failed or was degraded: ``breaker_open``, ``no_answer``."""
        self._mark((groups, service, ()), cause)

    def follow(self, name: str, count: Callable[[], int]) -> None:
        """Keep a count that something else makes in this process and that only grows, such as a cache's hits."""
        with self._lock:
            self._followed[name] = count
            self._seen.setdefault(name, 0)
        self._background.start()

    def watch(self, name: str, state: Callable[[], str], *, usual: str) -> None:
        """Tell the state of something in this process to whoever scrapes, while it is not as usual."""
        with self._lock:
            self._watched[name] = state, usual
        self._background.start()

    # --- beside the requests -----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what was counted, so that every process sees it."""
        with self._flushing:
            now_us = self._clock.now_us()
            if self._slots == 0:
                self._turn(now_us)
            self._take()  # into the minute of the last flush, when most of it happened
            self._write()
            self._turn(now_us)

    def _round(self) -> None:
        """Do what is due every few seconds; merging old files is left to processes that live for longer than a minute."""
        before = self._slots
        self.flush()
        if self._slots > before and (before or self._files.crowded()):
            self._files.compact(self._clock.now_us())

    def _turn(self, now_us: int) -> None:
        """Begin another file when a minute is over."""
        start_us = now_us - now_us % SLOT_US
        if start_us != self._slot.start_us:
            self._slots += 1  # no name twice, even if the clock is set back
            self._slot = _Slot(start_us=start_us, writer=f"{self._writer}.{self._slots}")

    def close(self) -> None:
        """Write what was counted and stop; counting begins again with the next request."""
        self._background.stop()

    def _first(self, shape: Shape) -> array[int]:
        """Return where requests of one kind wait to be counted."""
        with self._lock:
            if len(self._waiting) >= _MOST_SHAPES and shape not in self._waiting:
                shape = (), None, ()  # a caller that permutes features must not fill the memory
            waiting = self._waiting.setdefault(shape, array("q"))
        self._background.start()
        return waiting

    def _mark(self, shape: Shape, what: str) -> None:
        with self._lock:
            self._marks[shape, what] += 1

    def _take(self) -> None:
        """Move what waits into the slot."""
        with self._lock:
            lines = list(self._waiting.items())
            marks, self._marks = self._marks, Counter()
            followed, watched = dict(self._followed), dict(self._watched)
        ages_s = self._ages_s() if any(waiting for _, waiting in lines) else {}
        for shape, waiting in lines:
            count = len(waiting)
            if count:
                taken = waiting[:count]
                del waiting[:count]  # what another thread appended since stays
                tally = Tally()
                tally.add_times(taken)
                self._slot.add(shape, tally)
                self._slot.aged(shape, ages_s, count)
        for (shape, what), times in marks.items():
            self._slot.add(shape, _marked(what, times))
        for name, count_of in followed.items():
            seen, self._seen[name] = self._seen[name], count_of()
            if self._seen[name] > seen:
                self._slot.count(name, self._seen[name] - seen)
        before = self._states
        states = {name: (state_of(), usual) for name, (state_of, usual) in watched.items()}
        self._states = {name: state for name, (state, usual) in states.items() if state != usual}
        if self._states or before:  # said again and again while it lasts: the word of a dead process runs out
            self._slot.changed = True

    def _write(self) -> None:
        if self._slot.changed:
            states = States(self._states, self._clock.now_us())
            self._files.write(self._slot.start_us, self._slot.writer, self._slot.tallies.written(), states)
            self._slot.changed = False

    def _forked(self) -> None:
        """Begin anew in a forked child: what was counted so far is written by the parent."""
        for waiting in self._waiting.values():
            del waiting[:]
        self._begin()
        self._seen = {name: count() for name, count in self._followed.items()}
        self._states = {}


class _Slot:
    """What this process counted in one minute."""

    def __init__(self, *, start_us: int, writer: str) -> None:
        self.start_us = start_us
        self.writer = writer
        self.tallies = Tallies()
        self.changed = False

    def add(self, shape: Shape, tally: Tally) -> None:
        groups, service, features = shape
        series: list[Series] = [ALL, *(("group", group) for group in groups)]
        if service is not None:
            series.append(("service", service))
        for one in series:
            self.tallies.of(one).merge(tally)
        for feature in features:
            self.tallies.of(("feature", feature)).requests += tally.requests
        self.changed = True

    def aged(self, shape: Shape, ages_s: Mapping[str, int], requests: int) -> None:
        for group in shape[0]:
            if group in ages_s:
                self.tallies.of(("group", group)).add_age(ages_s[group], requests)

    def count(self, name: str, more: int) -> None:
        self.tallies.of(("count", name)).requests += more
        self.changed = True


def _marked(what: str, times: int) -> Tally:
    tally = Tally()
    if what == _ERROR:
        tally.errors = times
    elif what == _DEGRADED:
        tally.degraded = times
    else:
        tally.add_causes({what: times})
    return tally


def reads_of(tallies: Tallies) -> dict[str, int]:
    """Return how many requests asked for each feature (``group@version:name``), most asked for first."""
    found = {name: tally.requests for (kind, name), tally in tallies.items() if kind == "feature" and tally.requests}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def flush_books(folder: Path) -> None:
    """Write what this process counted for a directory and did not write yet."""
    for book in list(_BOOKS):
        if book.folder == folder:
            book.flush()


_BOOKS: weakref.WeakSet[LatencyBook] = weakref.WeakSet()
