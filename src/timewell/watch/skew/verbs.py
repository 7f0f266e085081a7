"""The verbs of the feature store that compare what is served with what is trained on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import overload

from timewell.stores.project import Project
from timewell.stores.skew import SkewRecord
from timewell.watch.skew.measure import Look, skew
from timewell.watch.skew.report import SkewReport
from timewell.watch.skew.samples import SIZE, Sample, sample_offline, sample_online


class SkewVerbs:
    """One method per verb, no logic of its own."""

    project: Project

    def sample_online(self, feature: str, *, window: str | None = None, size: int = SIZE) -> Sample:
        """Return what was served of a feature, as an array; where nothing was sampled, values of its online build.

        Parameters
        ----------
        window
            How far back to look, such as ``1d``; without it, at all samples that are kept.
        size
            Most values; an even draw, the same again for the same samples.

        Raises
        ------
        NothingSampled, UnknownFeature
        """
        return sample_online(self.project, feature, window=window, size=size)

    def sample_offline(
        self, feature: str, *, window: str | None = None, size: int = SIZE, training: object = None
    ) -> Sample:
        """Return what training has of a feature for the entities and instants of :meth:`sample_online`, as an array.

        With ``training``, a training set or frame, its column instead; without an online side, values of the newest
        partition of the offline table. Raises ``NothingSampled`` where there is none of these.
        """
        return sample_offline(self.project, feature, window=window, size=size, training=training)

    @overload
    def skew(  # type: ignore[overload-overlap]  # a text is not meant as its letters
        self, feature: str, *, window: str | None = None, size: int = SIZE, training: object = None
    ) -> SkewReport: ...

    @overload
    def skew(
        self,
        feature: Iterable[str] | None = None,
        *,
        window: str | None = None,
        size: int = SIZE,
        training: object = None,
    ) -> list[SkewReport]: ...

    def skew(
        self,
        feature: str | Iterable[str] | None = None,
        *,
        window: str | None = None,
        size: int = SIZE,
        training: object = None,
    ) -> SkewReport | list[SkewReport]:
        """Report how far what is served lies from what is trained on, where, and what it likely comes from.

        Of one feature one report; of a list, or of all that are online, a list (of a group, ``skew([group])``). The
        figures are kept: :meth:`skew_history`.
        """
        names = [feature] if isinstance(feature, str) else feature
        found = skew(self.project, names, Look(window=window, size=size, training=training))
        return found[0] if isinstance(feature, str) and len(found) == 1 else found

    def skew_history(self, feature: str | None = None, *, limit: int = 100) -> list[SkewRecord]:
        """Return what was measured of a feature, or of all, newest first."""
        return self.project.registry.skew.history(feature, limit=limit)
