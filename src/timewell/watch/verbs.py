"""The verbs of the feature store that watch: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from timewell.build.checks import TestOutcome
from timewell.catalog.lookup import load_catalog
from timewell.watch.alerting import Evaluation
from timewell.watch.freshness import FreshnessReport, check_freshness, freshness
from timewell.watch.freshness_clocks import last_update_epoch
from timewell.watch.nightly.night import TOP, NightlyOrder, nightly
from timewell.watch.nightly.report import NightlyReport
from timewell.watch.replay_verbs import ReplayVerbs
from timewell.watch.round import watch
from timewell.watch.skew.verbs import SkewVerbs


class WatchVerbs(ReplayVerbs, SkewVerbs):
    """One method per verb, no logic of its own."""

    def get_last_update_epoch(self, feature: str) -> int | None:
        """Return until when (whole seconds since 1970) a feature's data is complete; ``None`` if never built."""
        return last_update_epoch(self.project, load_catalog(self.project), feature)

    def check_freshness(self) -> list[tuple[str, int | None, int]]:
        """Return the features at or past the warn share of their SLA: ``(feature, age, SLA)`` in whole seconds.

        The age of one that was never built, or of which it cannot be told, is ``None``.
        """
        return check_freshness(self.project)

    def freshness(self, features: str | Iterable[str] | None = None) -> FreshnessReport:
        """Report how fresh features (all by default) are: clocks, state, cause, and when a promise breaks."""
        return freshness(self.project, features)

    def watch(self, *, tested: Sequence[TestOutcome] = ()) -> Evaluation:
        """Measure everything once, and tell of it whom it concerns; the refresher does so by itself.

        Parameters
        ----------
        tested
            How tests went that were run just now, as ``fs.test()`` returns it: they read the sources, so this runs none.

        Raises
        ------
        StateBusy
        """
        return watch(self.project, tested=tested)

    def nightly(self, *, top: int = TOP, since: str = "24h", post: str | Sequence[str] = ()) -> NightlyReport:
        """Compare the features that are read most, offline against online; keep the night's page, post a summary.

        Parameters
        ----------
        top
            How many features.
        since
            Reads and samples of the last so long count.
        post
            Names of notifiers that get the summary, once a night.

        Raises
        ------
        UsageError, InvalidDuration, UnknownNotifier
        """
        to = (post,) if isinstance(post, str) else tuple(post)
        return nightly(self.project, NightlyOrder(top=top, since=since, post=to))
