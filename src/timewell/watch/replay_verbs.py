"""The verbs that hold what was served against what it should have been: :class:`timewell.FeatureStore` inherits them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from timewell.serve.given import Request
from timewell.serve.reader import Reader
from timewell.stores.project import Project
from timewell.watch.replay import LIMIT, ReplayOrder, replay
from timewell.watch.replay_report import ReplayReport
from timewell.watch.why import why
from timewell.watch.why_on_demand import WhyOnDemand
from timewell.watch.why_report import Why


class ReplayVerbs:
    """One method per verb, no logic of its own."""

    project: Project

    def replay(
        self,
        features: Sequence[str] | str | None = None,
        *,
        since: str | None = None,
        limit: int | None = LIMIT,
        seed: int = 0,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> ReplayReport:
        """Recompute sampled served vectors at the served as_of and version, and say which values differ, and why.

        Parameters
        ----------
        features
            Features or groups, ``name@version`` for that version alone; all that were sampled by default.
        since
            A duration back from now; all samples that are kept by default.
        limit
            At most so many vectors, drawn evenly with ``seed``; ``None`` for all.
        progress
            Called with a label, the vectors done and all vectors.
        """
        reader = vars(self).get("_reader")
        if isinstance(reader, Reader):  # what this process served and did not write yet
            reader.write_samples()
        return replay(self.project, ReplayOrder(features=features, since=since, limit=limit, seed=seed), progress)

    def why(
        self, feature: str, entity: Mapping[str, object], at: object = None, *, request: Request | None = None
    ) -> Why | WhyOnDemand:
        """Explain one value: the rows it is made of and those that do not count, what is served, and any difference.

        Parameters
        ----------
        feature
            ``[group:]name[@version]``.
        entity
            Join key to value.
        at
            The instant; now by default.
        request
            Values that come with the request, of a feature that is computed on demand from them.
        """
        return why(self.project, feature, entity, at, request=request)
