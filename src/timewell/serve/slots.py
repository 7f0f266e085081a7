"""Where measurements are kept: one small file per process and minute, merged by the hour, dropped after three days.

Rule: a file is replaced whole or not at all and belongs to one writer. Whoever merges files names them in what they
became, so that a merge cut short neither loses a request nor counts one twice: a file named there is read no more.

Layout below ``metrics/``: ``START-LENGTH-WRITER.slot``, start and length in seconds. Minutes are kept for one to two
hours, hours for a day and their counts alone for three; the counts of what is older stay in one file for ever, so that a
counter never falls.
"""

from __future__ import annotations

import fcntl
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from timewell import durable
from timewell.serve.tally import Tallies, Written
from timewell.types import DAY_US, HOUR_US, MINUTE_US, SECOND_US

log = logging.getLogger("timewell.serve")

SLOT_US: Final = MINUTE_US
KEPT_US: Final = DAY_US
COUNTED_US: Final = 3 * DAY_US
# so long after its day is over an hour is looked at; one that nobody saw then stays as it is
_THINNED_US: Final = 2 * HOUR_US
_FORMAT: Final = 1
_TRIES: Final = 20
_MANY: Final = 500
_NAME: Final = re.compile(r"(\d+)-(\d+)-[\w.-]+\.slot")


class States(NamedTuple):
    """What a process says of itself at an instant: name to state, of those that are not as usual."""

    states: Mapping[str, str]
    at_us: int


class _Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One file. ``merged`` names the files that went into it; ``states`` are those of its process at ``at_us``."""

    format: int
    series: list[Written] = []
    merged: list[str] = []
    states: Mapping[str, str] = {}
    at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _File:
    start_us: int
    length_us: int
    path: Path

    @property
    def end_us(self) -> int:
        return self.start_us + self.length_us


class SlotFiles:
    """The files of one directory.

    Parameters
    ----------
    folder
        ``metrics`` below the state.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, start_us: int, writer: str, series: Sequence[Written], now: States | None = None) -> None:
        """Put a writer's file of the minute that begins at an instant in place; nothing where the state is gone."""
        if not self._is_there():
            return
        states, at_us = now or States({}, 0)
        slot = _Slot(format=_FORMAT, series=list(series), states=states, at_us=at_us)
        durable.write_bytes(self._path(start_us, SLOT_US, writer), msgspec.msgpack.encode(slot))

    def states(self, now_us: int, fresh_us: int) -> Counter[tuple[str, str]]:
        """Return how many processes told of each name and state, of those that wrote less than ``fresh_us`` ago.

        A writer is ``PROCESS.NUMBER``; the newest word of a process counts.
        """
        newest: dict[str, _Slot] = {}
        for file in self._files():
            # a slot is written once more after its minute, at the first flush of a later one
            if file.length_us != SLOT_US or file.end_us + SLOT_US + fresh_us < now_us:
                continue
            with suppress(FileNotFoundError):
                slot = _read(file.path)
                told_by = file.path.stem.split("-", 2)[2].rpartition(".")[0]
                if slot and abs(now_us - slot.at_us) < fresh_us:  # a clock set back must not make old words new
                    newest[told_by] = max(slot, newest.get(told_by, slot), key=lambda one: one.at_us)
        return Counter(state for slot in newest.values() for state in slot.states.items())

    def read(self, since_us: int, until_us: int, *, counts_only: bool = False) -> Tallies:
        """Return what was counted from ``since_us`` to ``until_us``, of whole minutes (hours, where it is older)."""
        files = self._consistent(lambda found: found.end_us > since_us and found.start_us < until_us)
        tallies = Tallies()
        for slot in files:
            tallies.add(slot.series, counts_only=counts_only)
        return tallies

    def totals(self) -> Tallies:
        """Return the counts of all times, without how long requests took one by one."""
        tallies = Tallies()
        for slot in self._consistent(lambda _: True):
            tallies.add(slot.series, counts_only=True)
        return tallies

    def compact(self, now_us: int) -> None:
        """Merge the minutes of past hours and drop what is too old; nothing if someone else is at it."""
        with self._alone() as alone:
            if alone:
                self._merge_hours(now_us)
                self._thin(now_us)
                self._drop_old(now_us)
                self._remove_unfinished(now_us)

    def crowded(self) -> bool:
        """Whether so many files lie here that reading them takes noticeably long."""
        return len(self._files()) > _MANY

    # --- reading -----------------------------------------------------------------------------------------------------

    def _consistent(self, wanted: Callable[[_File], bool]) -> list[_Slot]:
        """Read the files wanted, each request once: begin again where a merge came in between."""
        for _ in range(_TRIES):
            before = self._files()
            try:
                slots = {file.path.name: slot for file in before if wanted(file) and (slot := _read(file.path))}
            except FileNotFoundError:
                continue
            # a listing may miss a merge that appears while it is made, together with the minutes that go then
            if not {file.path for file in self._files() if file.length_us != SLOT_US}.difference(
                file.path for file in before
            ):
                merged = {name for slot in slots.values() for name in slot.merged}
                return [slot for name, slot in slots.items() if name not in merged]
        log.warning("measurements in %s were merged too often while they were read; none are shown", self._folder)
        return []

    def _files(self) -> list[_File]:
        try:
            found = [(path, _NAME.fullmatch(path.name)) for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted(
            _File(start_us=int(name[1]) * SECOND_US, length_us=int(name[2]) * SECOND_US, path=path)
            for path, name in found
            if name
        )

    def _path(self, start_us: int, length_us: int, writer: str) -> Path:
        return self._folder / f"{start_us // SECOND_US}-{length_us // SECOND_US}-{writer}.slot"

    # --- merging -----------------------------------------------------------------------------------------------------

    def _is_there(self) -> bool:
        """Make the directory, never the state that it is in: that was reset, or a restore is about to replace it."""
        try:
            self._folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        if not self._is_there():
            yield False
            return
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
            except BlockingIOError:
                yield False
                return
            yield True

    def _merge_hours(self, now_us: int) -> None:
        hours: dict[int, list[_File]] = {}
        for file in self._files():
            hour_us = file.start_us - file.start_us % HOUR_US
            if file.length_us == SLOT_US and hour_us + 2 * HOUR_US <= now_us:
                hours.setdefault(hour_us, []).append(file)
        for hour_us, minutes in hours.items():
            self._merge(minutes, self._path(hour_us, HOUR_US, "merged"))

    def _merge(self, files: Sequence[_File], into: Path, *, counts_only: bool = False) -> None:
        """Add files to another one, which names them, and remove them; those that cannot be read stay."""
        held = _read(into) if into.exists() else _Slot(format=_FORMAT)
        if held is None:
            return
        tallies, done = Tallies(), set(held.merged)
        tallies.add(held.series, counts_only=counts_only)
        fresh = []
        for file in files:
            slot = None if file.path.name in done else _read(file.path)
            if slot is not None:
                tallies.add(slot.series, counts_only=counts_only)
                fresh.append(file.path.name)
            time.sleep(0)  # lets a request go first
        if fresh:
            # the counts of all times would name every hour there was: it needs those that may still lie here
            merged = [*({file.path.name for file in files} if counts_only else done), *fresh]
            series = tallies.written(counts_only=counts_only)
            slot = _Slot(format=_FORMAT, series=series, merged=sorted(set(merged)))
            durable.write_bytes(into, msgspec.msgpack.encode(slot))
        for file in files:
            if file.path.name in done or file.path.name in fresh:
                file.path.unlink(missing_ok=True)

    def _thin(self, now_us: int) -> None:
        """Leave only the counts of an hour whose day is over: how long requests took is most of a file."""
        for file in self._files():
            over_us = now_us - (file.end_us + KEPT_US + HOUR_US)
            if file.length_us == HOUR_US and 0 <= over_us < _THINNED_US:
                slot = _read(file.path)
                if slot is not None and any(one.sketch for one in slot.series):
                    series = [msgspec.structs.replace(one, sketch=b"") for one in slot.series]
                    durable.write_bytes(file.path, msgspec.msgpack.encode(msgspec.structs.replace(slot, series=series)))

    def _drop_old(self, now_us: int) -> None:
        old = [file for file in self._files() if file.length_us and file.end_us + COUNTED_US + HOUR_US <= now_us]
        if old:
            self._merge(old, self._path(0, 0, "all"), counts_only=True)
            for file in old:
                file.path.unlink(missing_ok=True)  # what could not be read, too

    def _remove_unfinished(self, now_us: int) -> None:
        """Remove what writers left that were killed while they wrote."""
        for path in self._folder.glob(".*.tmp"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime * SECOND_US + HOUR_US < now_us:
                    path.unlink()


def _read(path: Path) -> _Slot | None:
    """Return a file's content, or ``None`` where it is of a newer program or is none."""
    content = path.read_bytes()
    try:
        slot = msgspec.msgpack.decode(content, type=_Slot)
    except msgspec.DecodeError as problem:
        log.warning("measurements in %s cannot be read: %s", path.name, problem)
        return None
    if slot.format > _FORMAT:
        log.warning("measurements in %s are of a newer version of timewell", path.name)
        return None
    return slot
