"""A share of what was served, kept to be compared with what training would say: chosen and queued here.

Rule: a request is never slowed or failed by it. A choice costs one checksum; what does not fit into the queue is
dropped and counted, and when a second has had its share (``[serving] sample_most``), its other requests are passed over
without a look: writing a vector takes as long as serving two.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from zlib import crc32

from timewell.catalog.lookup import RegisteredGroup, Resolved
from timewell.serve.background import Background
from timewell.serve.given import Column, Request, RequestInput, given_columns
from timewell.serve.prepare import Values, pack_int, picker
from timewell.serve.promises import Promises
from timewell.serve.response import OnlineFeatures
from timewell.serve.samplefiles import GroupKey, SampledGroup, SampledRow, SampleFiles, sampled_group
from timewell.stores.codec import INT_TAG, SIGN_64, KeyEncoder
from timewell.stores.project import Project
from timewell.types import parse_duration

EVERY_S: Final = 300.0  # a file of each group so often, sooner if many rows wait
MOST_WAITING: Final = 20_000  # rows, some 20 MB
EVERYONE: Final = 1 << 32  # no CRC-32 reaches it

Entities = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRequest:
    """What the sampler has to know of a request, once it is prepared.

    Attributes
    ----------
    groups
        Each with what takes its values, or their statuses, out of the answer's.
    key_names, encode
        The join keys of the first group's entity, by which entities are chosen; by chance where none is read.
    given
        What is taken from the request.
    int_key
        The only join key, where it is a whole number.
    """

    service: str | None
    groups: tuple[tuple[SampledGroup, Callable[[Values], Values]], ...]
    key_names: tuple[str, ...]
    encode: KeyEncoder | None
    int_key: str | None
    given: tuple[RequestInput, ...] = ()


def sampled_request(
    resolved: Sequence[Resolved],
    service: str | None = None,
    *,
    registered: Mapping[GroupKey, RegisteredGroup] | None = None,
    given: tuple[RequestInput, ...] = (),
) -> SampledRequest:
    """Find out once what samples of a request consist of.

    Parameters
    ----------
    resolved
        The features asked for, in the order of the answer's columns.
    registered
        Every group version, where some are computed on demand.
    given
        What those take from the request.
    """
    parts: dict[tuple[str, str], list[tuple[int, Resolved]]] = {}
    for place, item in enumerate(resolved):
        parts.setdefault(item.group.key, []).append((place, item))
    groups = tuple(
        (
            sampled_group(found[0][1].group, [item.feature.name for _, item in found], registered),
            picker([place for place, _ in found]),
        )
        for found in parts.values()
    )
    group, owner = next(((group, owner) for group, _ in groups for owner in group.owners), (None, None))
    keys = [] if group is None or owner is None else [group.keys[place] for place in owner.places]
    return SampledRequest(
        service=service,
        groups=groups,
        key_names=tuple(name for name, _ in keys),
        encode=None if owner is None else owner.encode,
        int_key=keys[0][0] if [dtype for _, dtype in keys] == ["int64"] else None,
        given=given,
    )


class _Served(NamedTuple):
    """One vector as it was served; not with its answer, which may hold a hundred others."""

    request: SampledRequest
    entity: Mapping[str, object]
    values: Sequence[object]
    statuses: Sequence[object]
    epoch: int
    as_of_us: Mapping[str, int]
    degraded: bool
    now_us: int
    given: Mapping[str, object]


class Sampler:
    """Chooses, queues and writes samples; safe to share between threads.

    Parameters
    ----------
    project
        Its ``[serving]`` says how much is kept, by what, and for how long.
    promises
        Looks whether samples keep the contracts of their features.

    Attributes
    ----------
    dropped
        Vectors that were chosen and did not fit into the queue.
    limit
        An entity whose key's CRC-32 is not below it is not sampled.
    passed_over
        Requests that were not looked at because their second had had its share.
    """

    def __init__(self, project: Project, promises: Promises | None = None) -> None:
        serving = project.config.serving
        self._promises = promises
        self.dropped = self.passed_over = 0
        self._files = SampleFiles(project, parse_duration(serving.sample_retention))
        self._by_request = serving.sample_by == "request"
        self._rate = serving.sample_rate
        self.limit = EVERYONE if self._by_request else round(serving.sample_rate * EVERYONE)
        self._drawn: Callable[[], float] = random.random  # no secret
        self._monotonic_s: Callable[[], float] = time.monotonic
        self._most, self._left, self._second_ends_s = serving.sample_most, 0, float("-inf")
        self._waiting: deque[_Served] = deque()
        self._background = Background(self.flush, every_s=EVERY_S, forked=self._forked)

    def offer(
        self,
        request: SampledRequest,
        entities: Entities,
        answer: OnlineFeatures,
        now_us: int,
        given: Request | None = None,
    ) -> None:
        """Keep what was answered to the entities that are sampled, if any is.

        Parameters
        ----------
        now_us
            The instant for which the request was answered.
        given
            The values that came with it.
        """
        # the commonest request, chosen without a call of ours: 0.1 us instead of 0.5
        if len(entities) == 1 and request.int_key is not None:
            number = entities[0].get(request.int_key)
            if (
                type(number) is int
                and -SIGN_64 <= number < SIGN_64
                and crc32(pack_int(INT_TAG, number + SIGN_64)) >= self.limit
            ):
                return
        if not self._has_room():
            self.passed_over += 1
        elif chosen := self._chosen(request, entities):
            self._keep(request, entities, answer, now_us, chosen, given)

    def _has_room(self) -> bool:
        now_s = self._monotonic_s()
        if now_s >= self._second_ends_s:
            self._second_ends_s, self._left = now_s + 1.0, self._most
        return self._left > 0

    def _chosen(self, request: SampledRequest, entities: Entities) -> Sequence[int]:
        if self._by_request:
            return range(len(entities)) if self._drawn() < self._rate else ()
        names, encode, limit = request.key_names, request.encode, self.limit
        if encode is None:
            return [place for place in range(len(entities)) if self._drawn() < self._rate]
        keys = [encode([entity[name] for name in names]) for entity in entities]
        return [place for place, key in enumerate(keys) if key is not None and crc32(key) < limit]

    def flush(self) -> None:
        """Write what waits."""
        waiting = self._waiting
        taken = [waiting.popleft() for _ in range(len(waiting))]
        if taken:
            rows = [row for served in taken for row in _rows_of(served)]
            if self._promises is not None:
                self._promises.look(rows)
            self._files.write(rows)

    def close(self) -> None:
        """Write what waits and stop; sampling begins again with the next vector that is chosen."""
        self._background.stop()

    def _keep(  # everything of one answer
        self,
        request: SampledRequest,
        entities: Entities,
        answer: OnlineFeatures,
        now_us: int,
        places: Sequence[int],
        given: Request | None,
    ) -> None:
        waiting = self._waiting
        self._left -= len(places)
        columns = given_columns(request.given, given, len(entities)) if request.given else ()
        for place in places:
            if len(waiting) >= MOST_WAITING:
                self.dropped += 1
                continue
            # copies: what was answered belongs to the caller, who may change it
            values, statuses = tuple(answer.rows[place]), answer.row_statuses[place]
            about = (answer.epoch, answer.as_of_us, answer.degraded, now_us, _at(place, request.given, columns))
            waiting.append(_Served(request, dict(entities[place]), values, statuses, *about))
        self._background.start()
        if len(waiting) >= MOST_WAITING // 2:
            self._background.wake()

    def _forked(self) -> None:
        """Begin anew in a forked child: what waits is written by the parent."""
        self._waiting.clear()
        self.dropped = self.passed_over = 0


def open_sampler(project: Project) -> Sampler | None:
    """Return a project's sampler, or ``None`` where its settings keep no samples."""
    return Sampler(project) if project.config.serving.sample_rate > 0 else None


def _at(place: int, given: Sequence[RequestInput], columns: Sequence[Column]) -> Mapping[str, object]:
    return {one.name: column[place] for one, column in zip(given, columns, strict=True)}


def _rows_of(served: _Served) -> list[SampledRow]:
    request, entity, values, statuses, epoch, as_of_us, degraded, now_us, given = served
    rows = []
    for group, pick in request.groups:
        key = tuple([entity.get(name) for name, _ in group.keys])
        about = (group, now_us, request.service, epoch, as_of_us.get(group.name), degraded)
        rows.append(SampledRow(*about, key, pick(values), pick(statuses), given))
    return rows
