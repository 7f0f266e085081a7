"""The verbs of the feature store that serve: what :class:`timewell.FeatureStore` inherits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from timewell.serve.given import Request
from timewell.serve.reader import Ask, Reader
from timewell.serve.response import OnlineFeatures
from timewell.stores.project import Project
from timewell.types import parse_duration


class ServeVerbs:
    """One method per verb, no logic of its own."""

    project: Project

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.project)

    def get_online_features(
        self,
        features: Sequence[str] | str = (),
        entities: Sequence[Mapping[str, object]] = (),
        *,
        service: str | None = None,
        max_staleness: str | None = None,
        defaults: Mapping[str, object] | None = None,
        request: Request | None = None,
    ) -> OnlineFeatures:
        """Return the present feature vectors of some entities, with a status for every value.

        Parameters
        ----------
        features
            References ``[group:]name[@version]``.
        entities
            One mapping of join key to value per vector wanted; a null key is an entity never seen.
        service
            A feature service instead of, or besides, ``features``.
        max_staleness
            A duration such as ``1h``: values of older builds are marked ``stale``.
        defaults
            Feature to the value that stands in, marked ``default``, where the store does not answer or a function fails.
        request
            What on-demand features take from the request: a mapping of name to value, the value either one for all
            entities or a list of one for each; or a list with a mapping for each entity.
        """
        limit_us = None if max_staleness is None else parse_duration(max_staleness)
        return self._reader.get(Ask(features, entities, service, limit_us, defaults, request))

    async def aget_online_features(
        self,
        features: Sequence[str] | str = (),
        entities: Sequence[Mapping[str, object]] = (),
        *,
        service: str | None = None,
        max_staleness: str | None = None,
        defaults: Mapping[str, object] | None = None,
        request: Request | None = None,
    ) -> OnlineFeatures:
        """Do as :meth:`get_online_features` without blocking the event loop."""
        limit_us = None if max_staleness is None else parse_duration(max_staleness)
        return await self._reader.aget(Ask(features, entities, service, limit_us, defaults, request))
