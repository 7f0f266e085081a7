"""What is noted of every request: how long it took, whether it failed or was degraded, a sample, a span.

Rule: a good request that is neither sampled nor traced pays for one append.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from timewell.catalog.lookup import Catalog, Resolved
from timewell.errors import StoreUnavailable, TimewellError, UsageError
from timewell.serve.given import Request
from timewell.serve.guard import BreakerState, Lack, cause_of
from timewell.serve.latency import BREAKER, FOLDER, LatencyBook
from timewell.serve.prepare import Entities, Prepared
from timewell.serve.promises import Promises
from timewell.serve.response import OnlineFeatures
from timewell.serve.sample import EVERYONE, SampledRequest, Sampler, sampled_request
from timewell.serve.spans import open_spans
from timewell.stores.online import OnlineStore
from timewell.stores.project import Project
from timewell.types import SECOND_US

log = logging.getLogger("timewell.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A prepared request and where it is noted.

    Attributes
    ----------
    good
        Takes the nanoseconds of a request of which there is nothing else to note.
    features
        What it asks for, as ``group@version:name``.
    limit
        An entity whose key's CRC-32 is not below it leaves nothing else to note; 0 where nobody leaves more.
    """

    prepared: Prepared
    good: Callable[[int], None]
    features: tuple[str, ...]
    limit: int
    sampled: SampledRequest | None


class Asking(Protocol):
    """What is noted of what a caller wants."""

    @property
    def entities(self) -> Entities:
        """The entities it is about."""
        ...

    @property
    def request(self) -> Request | None:
        """What on-demand features take from the request."""
        ...


class Account:
    """Keeps the account of one reader.

    Attributes
    ----------
    plain
        Nothing but time is noted of a good request.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._builds: dict[str, str] = {}
        self.book = LatencyBook(project.state / FOLDER, ages_s=self.ages_s)
        sampling = project.config.serving.sample_rate > 0
        self._sampler = Sampler(project, Promises(self.book.follow)) if sampling else None
        self._spans = open_spans(project)
        self.plain = self._sampler is None and self._spans is None

    def of(self, prepared: Prepared, resolved: Sequence[Resolved], catalog: Catalog) -> Noted:
        """Return where a request is noted, found out once for all that are like it."""
        self._builds.update({group.ref: group.build for group in prepared.groups if group.computed is None})
        features = tuple(dict.fromkeys(f"{item.group.compiled.ref}:{item.feature.name}" for item in resolved))
        sampler_limit = 0 if self._sampler is None else self._sampler.limit
        return Noted(
            prepared=prepared,
            good=self.book.line(prepared.refs, prepared.service, features),
            features=features,
            limit=sampler_limit if self._spans is None else EVERYONE,
            sampled=None if self._sampler is None else _sampled(prepared, resolved, catalog),
        )

    def ages_s(self) -> dict[str, int]:
        """Return how old the data is of each group version that was served from a build, as far as the store tells."""
        # never opened for this: a state that was reset meanwhile must not come to be again
        store: OnlineStore | None = vars(self._project).get("online")
        if store is None:
            return {}
        now_us, found = self._project.clock.now_us(), {}
        try:
            for ref, build in list(self._builds.items()):
                mark = store.mark(build)
                if mark is not None:
                    found[ref] = max(0, now_us - mark.data_through_us) // SECOND_US
        except TimewellError as problem:
            log.debug("the ages of what is served are not known: %s", problem.code)
        return found

    def follow(self, counters: Mapping[str, Callable[[], int]], breaker: Callable[[], BreakerState]) -> None:
        """Keep counts that others make in this process, and the state of the breaker before its store."""
        for name, count in counters.items():
            self.book.follow(name, count)
        self.book.watch(BREAKER, breaker, usual="closed")

    def lacking(self, prepared: Prepared, lacking: Sequence[tuple[str, Lack]]) -> None:
        """Note why groups of a degraded answer are fallbacks; such an answer is noted by :meth:`answered`, too."""
        for cause in dict.fromkeys(cause for _, cause in lacking):
            groups = tuple(dict.fromkeys(ref for ref, why in lacking if why == cause))
            self.book.because(groups, prepared.service, cause)

    def answered(self, noted: Noted, ask: Asking, answer: OnlineFeatures, took_ns: int, now_us: int) -> None:
        """Note an answer that was degraded, or may be sampled or traced."""
        prepared = noted.prepared
        if answer.degraded:
            self.book.add(prepared.refs, prepared.service, took_ns, features=noted.features, degraded=True)
        else:
            noted.good(took_ns)
        if self._sampler is not None and noted.sampled is not None:
            self._sampler.offer(noted.sampled, ask.entities, answer, now_us, ask.request)
        if self._spans is not None:
            self._trace(noted, ask.entities, took_ns, degraded=answer.degraded, error="")

    def failed(self, noted: Noted, entities: Entities, problem: TimewellError, took_ns: int) -> None:
        """Note a request that got no answer; what the caller did wrong is no failure of ours."""
        prepared, ours = noted.prepared, not isinstance(problem, UsageError)
        self.book.add(prepared.refs, prepared.service, took_ns, features=noted.features, error=ours)
        if ours:
            why = cause_of(problem) if isinstance(problem, StoreUnavailable) else problem.code
            self.book.because(prepared.refs, prepared.service, why)
        if self._spans is not None:
            self._trace(noted, entities, took_ns, degraded=False, error=problem.code)

    def _trace(self, noted: Noted, entities: Entities, took_ns: int, *, degraded: bool, error: str) -> None:
        prepared = noted.prepared
        if self._spans is not None:
            self._spans.add(
                prepared.refs, prepared.service, took_ns, entities=len(entities), degraded=degraded, error=error
            )

    def write_samples(self) -> None:
        """Write the samples that wait."""
        if self._sampler is not None:
            self._sampler.flush()

    def close(self) -> None:
        """Write what was noted; noting goes on with the next request."""
        if self._sampler is not None:
            self._sampler.close()
        self.book.close()  # after what looks at samples: it counts


def _sampled(prepared: Prepared, resolved: Sequence[Resolved], catalog: Catalog) -> SampledRequest:
    given = () if prepared.on_demand is None else prepared.on_demand.given
    return sampled_request(resolved, prepared.service, registered=catalog.groups, given=given)
